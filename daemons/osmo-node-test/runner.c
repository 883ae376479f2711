/* Mode runner: a test of all nodes. Its pod runs on each of them as a DaemonSet, until every node has been told about every condition of
 * the test, or the time of the test is over; then what is missing is said to be unknown. Nothing of it stays. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"
#include "model/spec.h"
#include "node_test.h"

#define TIMEOUT_DEFAULT_S 300
#define VANISH_S 120
#define LOOK_S 5             /* conditions of nodes are looked at this often, or when a pod changes */

struct runner {
    osmo_kube_t *kube;
    const char *test, *namespace_, *prefix, *name_prefix, *service_account, *file, *kubeconfig;
    bool from_service;
    struct service service;
    json_t *config;
    char *name, *selector;
    strlist_t conditions;      /* whole names */
    int64_t started_us, timeout_s;
    char version[OSMO_KUBE_VERSION_MAX];
    map_t *nodes;              /* those of the pods */
};

static osmo_kube_target_t target(const struct runner *r, const char *version, const char *kind, const char *name) {
    return (osmo_kube_target_t){ .size = sizeof(osmo_kube_target_t), .api_version = version, .kind = kind, .namespace_ = r->namespace_,
                                 .name = name };
}

static int complain(const char *what, int rc, const osmo_error_t *err) {
    log_error(&node_test_log, "%s: %s", what, *err->text ? err->text : osmo_error_name(rc));
    return EXIT_TROUBLE;
}

/* ---- what there was before, and goes ---- */

static int take_name(void *ctx, const char *text, size_t len) {
    _cleanup_json_ json_t *pod = NULL;
    const char *name = json_parse(text, len, &pod, NULL) == 0 ? json_get_str(json_get(pod, "metadata"), "name") : NULL;
    return name && strlist_add(ctx, name) < 0;
}

/* One by one: the right to remove all that match is more than is needed. */
static int remove_pods(struct runner *r, osmo_error_t *err) {
    static const osmo_kube_delete_t soon = { .size = sizeof soon, .grace_s = -1, .propagation = "Background" };
    osmo_kube_target_t pods = target(r, "v1", "Pod", NULL);
    char version[OSMO_KUBE_VERSION_MAX] = "";
    strlist_t names = { 0 };
    pods.label_selector = r->selector;
    int rc = osmo_kube_list(r->kube, &pods, 0, version, take_name, &names, err);
    for (size_t i = 0; rc >= 0 && i < names.len; i++) {
        osmo_kube_target_t pod = target(r, "v1", "Pod", names.items[i]);
        rc = osmo_kube_remove(r->kube, &pod, &soon, err);
        rc = rc == OSMO_ENOTFOUND ? 0 : rc;
    }
    strlist_free(&names);
    return rc < 0 ? rc : 0;
}

static int remove_all(struct runner *r, osmo_error_t *err) {
    static const osmo_kube_delete_t whole = { .size = sizeof whole, .grace_s = -1, .propagation = "Foreground" };
    osmo_kube_target_t set = target(r, "apps/v1", "DaemonSet", r->name);
    int rc = osmo_kube_remove(r->kube, &set, &whole, err);
    return rc < 0 && rc != OSMO_ENOTFOUND ? rc : remove_pods(r, err);
}

static int is_gone(struct runner *r, osmo_error_t *err) {
    osmo_kube_target_t set = target(r, "apps/v1", "DaemonSet", r->name);
    _cleanup_free_ char *text = NULL;
    size_t len = 0;
    int rc = osmo_kube_get(r->kube, &set, &text, &len, err);
    return rc == OSMO_ENOTFOUND ? 1 : rc;
}

static int await_gone(struct runner *r, osmo_error_t *err) {
    int64_t until = clock_mono_us() + VANISH_S * INT64_C(1000000);
    int rc;
    while ((rc = is_gone(r, err)) == 0 && clock_mono_us() < until)
        if (!pause_ms(2000))
            return osmo_error_set(err, OSMO_ECONFLICT, "ended by a signal");
    return rc < 0 ? rc : rc ? 0 : osmo_error_set(err, OSMO_ETIMEOUT, "DaemonSet %s does not go away", r->name);
}

/* ---- the DaemonSet ---- */

static int label(json_t *object, const char *name) {
    json_t *labels = json_object();
    int rc = labels ? json_set_str(labels, "app", name) : OSMO_ENOMEM;
    return rc | (object ? json_set(object, "labels", labels) : OSMO_ENOMEM);
}

static json_t *pod_template(struct runner *r) {
    const json_t *from = json_get(r->config, "parsed_pod_template");
    json_t *template = json_object(), *spec = json_copy(json_get(from, "spec")), *meta = json_copy(json_get(from, "metadata"));
    if (!meta)
        meta = json_object();
    json_t *labels = json_get(meta, "labels");
    int rc = json_kind(labels) == JSON_OBJECT ? json_set_str(labels, "app", r->name) : label(meta, r->name);
    rc |= spec ? json_set_str(spec, "serviceAccountName", r->service_account) : OSMO_ENOMEM;
    rc |= template ? json_set(template, "metadata", meta) | json_set(template, "spec", spec) : OSMO_ENOMEM;
    if (rc == 0)
        return template;
    json_free(template);
    return NULL;
}

static json_t *daemon_set(struct runner *r) {
    _cleanup_json_ json_t *v = json_object();
    json_t *meta = json_object(), *spec = json_object(), *selector = json_object(), *match = json_object(), *template = pod_template(r);
    int rc = v && meta && spec && selector && match && template ? 0 : OSMO_ENOMEM;
    if (rc == 0)
        rc = json_set_str(v, "apiVersion", "apps/v1") | json_set_str(v, "kind", "DaemonSet") | json_set_str(meta, "name", r->name) |
             json_set_str(meta, "namespace", r->namespace_) | label(meta, r->name) | json_set_str(match, "app", r->name);
    if (rc != 0) {
        json_free(meta), json_free(spec), json_free(selector), json_free(match), json_free(template);
        return NULL;
    }
    rc = json_set(selector, "matchLabels", match) | json_set(spec, "selector", selector) | json_set(spec, "template", template) |
         json_set(v, "metadata", meta) | json_set(v, "spec", spec);
    return rc ? NULL : STEAL(v);
}

static int create(struct runner *r, osmo_error_t *err) {
    _cleanup_json_ json_t *v = daemon_set(r);
    _cleanup_free_ char *text = v ? json_to_text(v) : NULL;
    osmo_kube_target_t sets = target(r, "apps/v1", "DaemonSet", NULL);
    if (!text)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = osmo_kube_create(r->kube, &sets, text, strlen(text), NULL, err);
    return rc == OSMO_EEXISTS ? 0 : rc;
}

/* ---- how far it is ---- */

static int take_pod(void *ctx, const char *text, size_t len) {
    struct runner *r = ctx;
    _cleanup_json_ json_t *pod = NULL;
    if (json_parse(text, len, &pod, NULL) < 0)
        return 0;
    const char *node = json_get_str(json_get(pod, "spec"), "nodeName");
    if (node && !json_has(json_get(pod, "metadata"), "deletionTimestamp"))
        map_set(r->nodes, node, NULL);
    return 0;
}

/* 1 = as many pods are ready as there are nodes for them. */
static int all_ready(struct runner *r, osmo_error_t *err) {
    osmo_kube_target_t set = target(r, "apps/v1", "DaemonSet", r->name), pods = target(r, "v1", "Pod", NULL);
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *v = NULL;
    size_t len = 0;
    int rc = osmo_kube_get(r->kube, &set, &text, &len, err);
    if (rc == 0)
        rc = json_parse(text, len, &v, err);
    pods.label_selector = r->selector;
    map_free(r->nodes);
    r->nodes = map_new(NULL);
    *r->version = '\0';
    if (rc == 0)
        rc = r->nodes ? osmo_kube_list(r->kube, &pods, 0, r->version, take_pod, r, err) : OSMO_ENOMEM;
    if (rc < 0)
        return rc;
    const json_t *status = json_get(v, "status");
    int64_t desired = json_get_int(status, "desiredNumberScheduled", 0);
    return desired > 0 && desired == json_get_int(status, "numberReady", 0) && (int64_t)map_len(r->nodes) >= desired;
}

/* Was it told since the runner began? Nodes write whole seconds. */
static bool is_fresh(const struct runner *r, const json_t *node, const char *type) {
    const json_t *c = condition_of(node, type);
    const char *text = json_get_str(c, "lastHeartbeatTime");
    int64_t us = 0;
    return text && time_parse(text, &us) && us >= r->started_us / 1000000 * 1000000 &&
           !str_eq(json_get_str(c, "reason"), "DaemonSetTimeout");
}

/* Calls `missing` for each node with conditions that were not told; returns how many there are. */
static int each_missing(struct runner *r, int (*missing)(struct runner *r, const char *name, const json_t *node, osmo_error_t *err),
                        osmo_error_t *err) {
    size_t it = 0;
    const char *name;
    int n = 0;
    while (r->nodes && map_next(r->nodes, &it, &name, NULL)) {
        _cleanup_json_ json_t *node = NULL;
        int rc = node_read(r->kube, name, &node, err);
        bool whole = rc == 0;
        for (size_t i = 0; whole && i < r->conditions.len; i++)
            whole = is_fresh(r, node, r->conditions.items[i]);
        if (rc == OSMO_ENOTFOUND)
            continue;
        n += !whole;
        if (rc < 0 || (!whole && missing && (rc = missing(r, name, node, err)) < 0))
            return rc;
    }
    return n;
}

static int say_unknown(struct runner *r, const char *name, const json_t *node, osmo_error_t *err) {
    struct condition *list = calloc(r->conditions.len, sizeof *list);
    size_t n = 0;
    if (!list)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < r->conditions.len; i++) {
        if (is_fresh(r, node, r->conditions.items[i]))
            continue;
        log_warning(&node_test_log, "node %s did not tell %s in %lld seconds", name, r->conditions.items[i], (long long)r->timeout_s);
        list[n] = (struct condition){ .type = r->conditions.items[i] };
        condition_say(&list[n], true, "DaemonSetTimeout", "test %s did not tell it within %lld seconds", r->test, (long long)r->timeout_s);
        list[n++].status = "Unknown";
    }
    int rc = conditions_write(r->kube, name, r->name, list, n, err);
    for (size_t i = 0; i < n; i++) {
        free(list[i].reason);
        free(list[i].message);
    }
    free(list);
    return rc;
}

static int any_change(void *ctx, osmo_kube_change_t change, const char *json, size_t len) {
    (void)ctx, (void)json, (void)len;
    return change != OSMO_KUBE_BOOKMARK;
}

/* Until a pod changes or some seconds are over; false when it is to end. */
static bool rest(struct runner *r) {
    osmo_kube_target_t pods = target(r, "v1", "Pod", NULL);
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t begun = clock_mono_us();
    pods.label_selector = r->selector;
    int rc = *r->version ? osmo_kube_watch(r->kube, &pods, r->version, LOOK_S, any_change, NULL, &err) : OSMO_EGONE;
    return pause_ms(rc < 0 || clock_mono_us() - begun < 100000 ? 1000 : 0);
}

/* EXIT_DONE, EXIT_UNFINISHED or EXIT_TROUBLE. */
static int await(struct runner *r) {
    int64_t until = clock_mono_us() + r->timeout_s * 1000000;
    int missing = 0;
    do {
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = all_ready(r, &err);
        missing = rc == 1 ? each_missing(r, NULL, &err) : 1;
        if (rc < 0 || missing < 0)
            log_warning(&node_test_log, "test %s: %s", r->test, err.text);
        if (rc == 1 && missing == 0)
            return EXIT_DONE;
        if (!rest(r)) {
            log_error(&node_test_log, "test %s is ended by a signal", r->test);
            return EXIT_TROUBLE;
        }
    } while (clock_mono_us() < until);
    return EXIT_UNFINISHED;
}

/* ---- the whole ---- */

static int perform(struct runner *r) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = remove_all(r, &err);
    if (rc == 0)
        rc = await_gone(r, &err);
    if (rc == 0)
        rc = create(r, &err);
    if (rc < 0)
        return complain("the test cannot begin", rc, &err);
    log_info(&node_test_log, "test %s runs as DaemonSet %s for up to %lld seconds", r->test, r->name, (long long)r->timeout_s);
    int code = await(r);
    if (code == EXIT_UNFINISHED) {
        if (!r->nodes || !map_len(r->nodes))
            log_warning(&node_test_log, "no node took a pod of test %s", r->test);
        rc = each_missing(r, say_unknown, &err);
        if (rc < 0)
            code = complain("conditions cannot be written", rc, &err);
    }
    err = (osmo_error_t)OSMO_ERROR_INIT;
    rc = remove_all(r, &err);
    if (rc < 0)
        return complain("what the test made cannot be removed", rc, &err);
    log_info(&node_test_log, "test %s: %s", r->test, code == EXIT_DONE ? "every node was tested" : "not every node was tested");
    return code;
}

static int read_config(struct runner *r, osmo_error_t *err) {
    int rc = r->file ? config_read_file(r->file, &r->config, err) : config_ask(&r->service, r->test, &r->config, err);
    if (rc < 0)
        return rc;
    const json_t *list = json_get(r->config, "node_conditions");
    for (size_t i = 0; rc == 0 && i < json_len(list); i++) {
        const char *text = json_str(json_at(list, i));
        _cleanup_free_ char *name = text ? str_printf("%s%s", strchr(text, '/') ? "" : r->prefix, text) : NULL;
        rc = name ? strlist_add(&r->conditions, name) : OSMO_EINVAL;
    }
    if (rc < 0 || !r->conditions.len || json_kind(json_path(r->config, "parsed_pod_template", "spec", NULL)) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EUSAGE, "test %s needs node_conditions and a parsed_pod_template with a spec", r->test);
    const char *timeout = json_get_str(r->config, "test_timeout");
    if (!timeout)
        timeout = json_get_str(r->config, "timeout");
    r->timeout_s = timeout ? duration_seconds(timeout) : TIMEOUT_DEFAULT_S;
    if (r->timeout_s <= 0)
        return osmo_error_set(err, OSMO_EUSAGE, "test %s: the time \"%s\" is none: write for instance 300s or 10m", r->test, timeout);
    return 0;
}

static int prepare(struct runner *r) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!r->test || !r->namespace_) {
        fprintf(stderr, PROGRAM ": --backend_test_name (BACKEND_TEST_NAME) and --namespace (NAMESPACE) are needed\n");
        return EXIT_BAD_USAGE;
    }
    if (!r->file && !r->from_service) {
        fprintf(stderr, PROGRAM ": --read_from_file is needed when --read_from_osmo is false\n");
        return EXIT_BAD_USAGE;
    }
    r->name = str_printf("%s-%s", r->name_prefix, r->test);
    r->selector = r->name ? str_printf("app=%s", r->name) : NULL;
    int rc = r->selector ? read_config(r, &err) : OSMO_ENOMEM;
    if (rc < 0) {
        fprintf(stderr, PROGRAM ": %s\n", *err.text ? err.text : osmo_error_name(rc));
        return rc == OSMO_EUSAGE ? EXIT_BAD_USAGE : EXIT_TROUBLE;
    }
    return open_cluster(r->kubeconfig, &r->kube);
}

int run_runner(int argc, char **argv) {
    struct runner r = { .prefix = "", .name_prefix = "osmo", .service_account = "test-runner", .from_service = true,
                        .service = { .host = "http://127.0.0.1:8000" }, .started_us = clock_now_us() };
    const char *backend = NULL;
    const struct option_row options[] = {
        { "backend_test_name", "BACKEND_TEST_NAME", OPTION_TEXT, &r.test }, { "namespace", "NAMESPACE", OPTION_TEXT, &r.namespace_ },
        { "node_condition_prefix", "NODE_CONDITION_PREFIX", OPTION_TEXT, &r.prefix }, { "prefix", "PREFIX", OPTION_TEXT, &r.name_prefix },
        { "read_from_osmo", NULL, OPTION_BOOL, &r.from_service }, { "read_from_file", NULL, OPTION_TEXT, &r.file },
        { "service_account", "SERVICE_ACCOUNT", OPTION_TEXT, &r.service_account }, { "kubeconfig", NULL, OPTION_TEXT, &r.kubeconfig },
        { "host", NULL, OPTION_TEXT, &r.service.host }, { "method", NULL, OPTION_TEXT, &r.service.method },
        { "username", NULL, OPTION_TEXT, &r.service.username }, { "token_file", NULL, OPTION_TEXT, &r.service.token_file },
        { "login_method", NULL, OPTION_TEXT, &r.service.login_method }, { "backend", "BACKEND", OPTION_TEXT, &backend },
    };
    int rc = options_parse(options, ARRAY_SIZE(options), argc, argv);
    if (rc == 0)
        rc = prepare(&r);
    if (rc == 0)
        rc = perform(&r);
    osmo_kube_free(r.kube);
    map_free(r.nodes);
    json_free(r.config);
    strlist_free(&r.conditions);
    free(r.name);
    free(r.selector);
    return rc;
}
