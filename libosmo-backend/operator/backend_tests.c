/* The job that brings the tests of a backend's nodes in line: for each a CronJob, made from a template, and a ConfigMap with what it is to
 * test. What is as wanted stays, so that a test that runs is not disturbed; what no test stands for is removed. Called by jobs.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/map.h"
#include "base/str.h"
#include "base/yaml.h"
#include "model/spec.h"
#include "model/template.h"
#include "operator/backend_tests_template.h"
#include "operator/jobs.h"
#include "osmo/backend/kube.h"

#define TESTS_MAX 1000u
#define TEMPLATE_OUTPUT_MAX (1u << 20)
#define DIGEST "osmo.digest"  /* annotation: of the object as it was made, which the server adds to */
#define SERVICE_ACCOUNT "osmo-node-test"
#define FILE_NAME "test_config.json"
#define TIMEOUT_DEFAULT_S 300
#define ROOM_S 600            /* for what a runner does beside waiting */

struct sync {
    const struct job_env *env;
    const struct job_tests *tests;
    struct job_result *result;
    const json_t *configs;
    const char *prefix;
    const char *batch;         /* the version of CronJobs that the server has */
    enum job_outcome worst;
};

/* The two kinds, in the order in which they are made. */
enum { KIND_CONFIG, KIND_CRON, KIND_COUNT };
static const struct { const char *kind, *component; } kinds[KIND_COUNT] = {
    [KIND_CONFIG] = { "ConfigMap", "backend-test-config" },
    [KIND_CRON] = { "CronJob", "backend-test" },
};

static const char *version_of(const struct sync *s, int kind) { return kind == KIND_CRON ? s->batch : "v1"; }

static void fails(struct sync *s, enum job_outcome o, const char *what, int kind, const char *name, int rc, const osmo_error_t *err) {
    job_fail(s->result, o, "%s %s %s in namespace %s: %s", what, kinds[kind].kind, name, s->tests->namespace_,
             *err->text ? err->text : osmo_error_name(rc));
    s->worst = o > s->worst ? o : s->worst;
}

static void request_fails(struct sync *s, const char *what, int kind, const char *name, int rc, const osmo_error_t *err) {
    if (rc < 0)
        fails(s, job_error_may_pass(rc) ? JOB_FAILED_RETRY : JOB_FAILED_NO_RETRY, what, kind, name, rc, err);
}

static osmo_kube_target_t target(const struct sync *s, int kind, const char *name) {
    return (osmo_kube_target_t){ .size = sizeof(osmo_kube_target_t), .api_version = version_of(s, kind), .kind = kinds[kind].kind,
                                 .namespace_ = s->tests->namespace_, .name = name };
}

/* ---- what is there ---- */

static int note(void *ctx, const char *text, size_t len) {
    _cleanup_json_ json_t *v = NULL;
    if (json_parse(text, len, &v, NULL) < 0)
        return 0;
    const json_t *meta = json_get(v, "metadata");
    const char *name = json_get_str(meta, "name"), *digest = json_get_str(json_get(meta, "annotations"), DIGEST);
    char *value = str_dup(digest ? digest : "");
    if (!name)
        free(value);
    return !value || (name && map_set(ctx, name, value) < 0);
}

/* Name → digest. */
static int list_kind(struct sync *s, int kind, map_t *out, osmo_error_t *err) {
    _cleanup_free_ char *selector = str_printf("%scomponent=%s,%sbackend=%s", s->prefix, kinds[kind].component, s->prefix,
                                               s->tests->backend);
    osmo_kube_target_t t = target(s, kind, NULL);
    char version[OSMO_KUBE_VERSION_MAX] = "";
    t.label_selector = selector;
    if (!selector)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return osmo_kube_list(s->tests->kube, &t, 0, version, note, out, err);
}

/* ---- what ought to be ---- */

static char *digest_of(json_t *object) {
    _cleanup_json_ json_t *sorted = NULL;
    _cleanup_free_ char *text = json_sort_keys(object, &sorted) == 0 ? json_to_text(sorted) : NULL;
    char sum[65];
    if (!text)
        return NULL;
    crypto_sha256_hex(text, strlen(text), sum);
    return str_dup(sum);
}

static json_t *member(json_t *object, const char *key) {
    json_t *v = json_get(object, key);
    if (json_kind(v) != JSON_OBJECT && json_set(object, key, json_object()) == 0)
        v = json_get(object, key);
    return json_kind(v) == JSON_OBJECT ? v : NULL;
}

static int set_label(json_t *labels, const char *prefix, const char *key, const char *value) {
    _cleanup_free_ char *name = str_printf("%s%s", prefix, key);
    return name && labels ? json_set_str(labels, name, value) : OSMO_ENOMEM;
}

/* Whatever the template says, the object can be found again by these. */
static int finish(struct sync *s, int kind, const char *name, json_t *object) {
    json_t *meta = member(object, "metadata"), *labels = meta ? member(meta, "labels") : NULL;
    int rc = labels ? json_set_str(meta, "name", name) : OSMO_ENOMEM;
    if (rc == 0)
        rc = json_set_str(object, "apiVersion", version_of(s, kind)) | json_set_str(meta, "namespace", s->tests->namespace_) |
             set_label(labels, s->prefix, "component", kinds[kind].component) | set_label(labels, s->prefix, "backend", s->tests->backend);
    _cleanup_free_ char *digest = rc == 0 ? digest_of(object) : NULL;
    json_t *notes = digest ? member(meta, "annotations") : NULL;
    return notes ? json_set_str(notes, DIGEST, digest) : OSMO_ENOMEM;
}

static int64_t timeout_of(const json_t *config) {
    const char *text = json_get_str(config, "test_timeout");
    int64_t seconds = text ? duration_seconds(text) : -1;
    return seconds > 0 ? seconds : TIMEOUT_DEFAULT_S;
}

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789-."
#define PREFIX_LETTERS NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ_/"

/* They come from the service and go into the text of the template, and the prefix into selectors: they must not become more there than
 * the values that they are. */
static int check_texts(const char *test, const json_t *config, osmo_error_t *err) {
    const char *schedule = json_get_str(config, "cron_schedule");
    if (!*test || strspn(test, NAME_LETTERS) != strlen(test))
        return osmo_error_set(err, OSMO_EINVAL, "\"%.100s\" cannot be the name of an object: use a-z, 0-9, '-' and '.'", test);
    for (const char *p = schedule ? schedule : ""; *p; p++)
        if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\' || *p == 127)
            return osmo_error_set(err, OSMO_EINVAL, "cron_schedule cannot be \"%.100s\": write five fields", schedule);
    return OSMO_OK;
}

static json_t *variables(const struct sync *s, const char *test, const char *config_name, const json_t *config) {
    json_t *v = json_object();
    if (!v)
        return NULL;
    const char *schedule = json_get_str(config, "cron_schedule");
    int rc = json_set_str(v, "backend_name", s->tests->backend) | json_set_str(v, "test_name", test) |
             json_set_str(v, "resource_name", test) | json_set_str(v, "configmap_name", config_name) |
             json_set_str(v, "cron_schedule", schedule ? schedule : "") | json_set_str(v, "node_condition_prefix", s->prefix) |
             json_set_str(v, "namespace", s->tests->namespace_) | json_set_str(v, "image", s->tests->image) |
             json_set_str(v, "service_account", SERVICE_ACCOUNT) |
             json_set_int(v, "active_deadline_seconds", timeout_of(config) + ROOM_S);
    if (rc == 0)
        return v;
    json_free(v);
    return NULL;
}

static int make_cron(struct sync *s, const char *test, const char *config_name, const json_t *config, json_t **out, osmo_error_t *err) {
    static const struct template_limits limits = { .max_steps = 1000000, .max_depth = 50, .max_output = TEMPLATE_OUTPUT_MAX,
                                                   .max_values = 1000000 };
    static const yaml_limits_t yaml_limits = { .max_bytes = TEMPLATE_OUTPUT_MAX, .max_depth = 50, .max_nodes = 100000 };
    const char *text = s->tests->template_ ? s->tests->template_ : builtin_template;
    _cleanup_buf_ buf_t rendered = BUF_INIT(TEMPLATE_OUTPUT_MAX);
    _cleanup_json_ json_t *v = variables(s, test, config_name, config);
    _cleanup_yaml_ yaml_node_t *tree = NULL;
    _cleanup_json_ json_t *object = NULL;
    int rc = check_texts(test, config, err);
    if (rc == 0)
        rc = v ? template_render_text(text, strlen(text), v, &limits, &rendered, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0)
        rc = yaml_parse(buf_cstr(&rendered), rendered.len, &yaml_limits, &tree, err);
    if (rc == 0)
        rc = yaml_to_json(tree, &object, err);
    if (rc == 0 && !str_eq(json_get_str(object, "kind"), kinds[KIND_CRON].kind))
        rc = osmo_error_set(err, OSMO_EINVAL, "the template gives no CronJob");
    if (rc < 0)
        return rc;
    const char *name = json_get_str(json_get(object, "metadata"), "name");
    _cleanup_free_ char *kept = str_dup(name ? name : test);
    if (!kept || finish(s, KIND_CRON, kept, object) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *out = STEAL(object);
    return OSMO_OK;
}

static int make_config(struct sync *s, const char *name, const json_t *config, json_t **out) {
    _cleanup_json_ json_t *object = json_object();
    _cleanup_free_ char *text = json_to_text(config);
    int rc = object && text ? json_set_str(object, "kind", kinds[KIND_CONFIG].kind) : OSMO_ENOMEM;
    json_t *data = rc == 0 ? member(object, "data") : NULL;
    if (!data || json_set_str(data, FILE_NAME, text) < 0 || finish(s, KIND_CONFIG, name, object) < 0)
        return OSMO_ENOMEM;
    *out = STEAL(object);
    return OSMO_OK;
}

/* ---- the way there ---- */

/* `there` loses the name: what is left in it at the end belongs to no test. */
static void bring(struct sync *s, int kind, const json_t *object, map_t *there) {
    const json_t *meta = json_get(object, "metadata");
    const char *name = json_get_str(meta, "name"), *found = map_get(there, name);
    bool same = str_eq(found, json_get_str(json_get(meta, "annotations"), DIGEST)), exists = found != NULL;
    map_remove(there, name);
    if (same)
        return;
    _cleanup_free_ char *text = json_to_text(object);
    osmo_kube_target_t all = target(s, kind, NULL), one = target(s, kind, name);
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = !text ? OSMO_ENOMEM : exists ? OSMO_EEXISTS : osmo_kube_create(s->tests->kube, &all, text, strlen(text), NULL, &err);
    if (rc == OSMO_EEXISTS) {
        err = (osmo_error_t)OSMO_ERROR_INIT;
        rc = osmo_kube_replace(s->tests->kube, &one, text, strlen(text), NULL, &err);
    }
    if (rc == OSMO_ENOTFOUND && exists) /* removed meanwhile */
        rc = osmo_kube_create(s->tests->kube, &all, text, strlen(text), NULL, &err);
    request_fails(s, "storing", kind, name, rc, &err);
}

static void bring_test(struct sync *s, const char *test, const json_t *config, map_t *there[KIND_COUNT]) {
    _cleanup_free_ char *config_name = str_printf("%s-config", test);
    _cleanup_json_ json_t *config_map = NULL, *cron = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = config_name ? make_config(s, config_name, config, &config_map) : OSMO_ENOMEM;
    if (rc == 0)
        rc = make_cron(s, test, config_name, config, &cron, &err);
    if (rc < 0) {
        fails(s, rc == OSMO_ENOMEM ? JOB_FAILED_RETRY : JOB_FAILED_NO_RETRY, "making", KIND_CRON, test, rc, &err);
        map_remove(there[KIND_CRON], test); /* the old one rather than none */
        map_remove(there[KIND_CONFIG], config_name ? config_name : "");
        return;
    }
    bring(s, KIND_CONFIG, config_map, there[KIND_CONFIG]);
    bring(s, KIND_CRON, cron, there[KIND_CRON]);
}

static void remove_rest(struct sync *s, int kind, map_t *there) {
    static const osmo_kube_delete_t how = { .size = sizeof how, .grace_s = -1, .propagation = "Background" };
    size_t it = 0;
    const char *name;
    while (map_next(there, &it, &name, NULL)) {
        osmo_kube_target_t t = target(s, kind, name);
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = osmo_kube_remove(s->tests->kube, &t, &how, &err);
        request_fails(s, "removing", kind, name, rc == OSMO_ENOTFOUND ? 0 : rc, &err);
    }
}

static int find_batch(struct sync *s, osmo_error_t *err) {
    osmo_kube_resource_t resource;
    s->batch = "batch/v1";
    int rc = osmo_kube_discover(s->tests->kube, s->batch, kinds[KIND_CRON].kind, &resource, err);
    if (rc != OSMO_ENOTFOUND)
        return rc;
    s->batch = "batch/v1beta1";
    return osmo_kube_discover(s->tests->kube, s->batch, kinds[KIND_CRON].kind, &resource, err);
}

/* An operator that was not given the right to do this and has nothing to do is fine. */
static int look(struct sync *s, map_t *there[KIND_COUNT], osmo_error_t *err) {
    int rc = find_batch(s, err);
    for (int kind = 0; rc >= 0 && kind < KIND_COUNT; kind++) {
        there[kind] = map_new(free);
        rc = there[kind] ? list_kind(s, kind, there[kind], err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return rc;
}

static void bring_all(struct sync *s, map_t *there[KIND_COUNT]) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = look(s, there, &err);
    if (rc < 0 && json_len(s->configs) == 0 && (rc == OSMO_EDENIED || rc == OSMO_ENOTFOUND)) {
        log_debug(s->env->log, "there are no tests of nodes, and none that may be looked for: %s", err.text);
        return;
    }
    if (rc < 0) {
        s->worst = job_fail(s->result, job_error_may_pass(rc) || rc == OSMO_ENOMEM ? JOB_FAILED_RETRY : JOB_FAILED_NO_RETRY,
                            "tests of nodes cannot be listed in namespace %s: %s", s->tests->namespace_,
                            *err.text ? err.text : osmo_error_name(rc));
        return;
    }
    json_iter_t it = json_iter(s->configs);
    while (job_may_act(s->env) && json_iter_next(&it))
        bring_test(s, it.key, it.value, there);
    if (!job_may_act(s->env)) {
        s->worst = job_fail(s->result, JOB_FAILED_RETRY, JOB_NO_LEASE);
        return;
    }
    remove_rest(s, KIND_CRON, there[KIND_CRON]);
    remove_rest(s, KIND_CONFIG, there[KIND_CONFIG]);
}

enum job_outcome job_backend_tests(const struct job_env *env, const json_t *job, struct job_result *result) {
    const char *prefix = json_get_str(job, "node_condition_prefix");
    struct sync s = { .env = env, .tests = env->tests, .result = result, .configs = json_get(job, "test_configs"),
                      .prefix = prefix ? prefix : "" };
    map_t *there[KIND_COUNT] = { NULL };
    if (!env->tests || !env->tests->kube) {
        log_debug(env->log, "a %s cluster runs no tests of nodes", env->driver->name);
        return JOB_SUCCESS;
    }
    if (json_kind(s.configs) != JSON_OBJECT || json_len(s.configs) > TESTS_MAX)
        return job_fail(result, JOB_FAILED_NO_RETRY, "test_configs must be an object of at most %u tests", TESTS_MAX);
    if (strspn(s.prefix, PREFIX_LETTERS) != strlen(s.prefix))
        return job_fail(result, JOB_FAILED_NO_RETRY, "node_condition_prefix \"%.100s\" cannot begin a label", s.prefix);
    bring_all(&s, there);
    for (int kind = 0; kind < KIND_COUNT; kind++)
        map_free(there[kind]);
    return s.worst;
}
