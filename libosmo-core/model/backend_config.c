/* See backend_config.h. */
#include "model/backend_config.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"
#include "model/pool_config.h"

static const char *const backend_members[] = { "description", "dashboard_url",  "grafana_url", "tests",      "scheduler_settings",
                                               "node_conditions", "router_address", "offline",  "job_timeout" };
static const char *const test_members[] = { "description",     "cron_schedule",       "test_timeout",
                                            "node_conditions", "common_pod_template" };

/* Takes v. */
static int put(json_t *object, const char *key, json_t *v, osmo_error_t *err) {
    return json_set(object, key, v) < 0 ? no_memory(err) : 0;
}

static json_t *only(const json_t *document, const char *const *members, size_t n) {
    json_t *out = json_object();
    for (size_t i = 0; out && i < n; i++) {
        json_t *v = json_get(document, members[i]), *copy = json_copy(v);
        if (v && (!copy || json_set(out, members[i], copy) < 0)) {
            json_free(out);
            return NULL;
        }
    }
    return out;
}

/* ---- backends ---- */

/* The prefix is what the operator says. Without rules there are those that every backend has. */
static int put_conditions(json_t *out, const json_t *given, osmo_error_t *err) {
    if (json_kind(given) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EUSAGE, "node_conditions must be an object");
    if (!json_has(given, "rules"))
        return 0;
    json_t *rules = json_get(given, "rules"), *conditions = rules ? json_object() : NULL;
    json_del(out, "node_conditions");
    if (!rules)
        return 0;
    int rc = conditions ? json_set(conditions, "rules", json_ref(rules)) : OSMO_ENOMEM;
    if (rc < 0) {
        json_free(conditions);
        return no_memory(err);
    }
    return put(out, "node_conditions", conditions, err);
}

static int merge_scheduler(json_t *out, const json_t *given, osmo_error_t *err) {
    json_t *merged = json_copy(json_get(out, "scheduler_settings"));
    if (json_kind(given) != JSON_OBJECT) {
        json_free(merged);
        return osmo_error_set(err, OSMO_EUSAGE, "scheduler_settings must be an object");
    }
    if (json_kind(merged) != JSON_OBJECT) {
        json_free(merged);
        merged = json_object();
    }
    for (json_iter_t it = json_iter(given); merged && json_iter_next(&it);)
        if (it.value && json_set(merged, it.key, json_ref(it.value)) < 0) {
            json_free(merged);
            merged = NULL;
        }
    return merged ? put(out, "scheduler_settings", merged, err) : no_memory(err);
}

int backend_config_patch(const json_t *base, const json_t *patch, json_t **out, osmo_error_t *err) {
    _cleanup_json_ json_t *o = only(base, backend_members, ARRAY_SIZE(backend_members));
    int rc = o ? 0 : no_memory(err);
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(backend_members); i++) {
        const char *key = backend_members[i];
        json_t *v = json_get(patch, key);
        if (!v)
            continue;
        rc = str_eq(key, "node_conditions")      ? put_conditions(o, v, err)
             : str_eq(key, "scheduler_settings") ? merge_scheduler(o, v, err)
                                                 : put(o, key, json_ref(v), err);
    }
    *out = rc < 0 ? NULL : STEAL(o);
    return rc;
}

static int text_member(const json_t *object, const char *key, const char *what, const char **out, osmo_error_t *err) {
    const json_t *v = json_get(object, key);
    *out = json_get_str(object, key);
    return v && !*out ? osmo_error_set(err, OSMO_EUSAGE, "%s must be text", what) : 0;
}

int backend_config_cluster(const json_t *patch, const char **k8s_uid, const char **node_prefix, osmo_error_t *err) {
    int rc = text_member(patch, "k8s_uid", "k8s_uid", k8s_uid, err);
    return rc < 0 ? rc : text_member(json_get(patch, "node_conditions"), "prefix", "node_conditions.prefix", node_prefix, err);
}

/* ---- tests ---- */

static int take_test(json_t *tests, const char *name, const json_t *document, osmo_error_t *err) {
    if (json_kind(document) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EUSAGE, "backend_tests.%.200s must be an object", name);
    const json_t *inner = json_get(document, "name");
    if (inner && !str_eq(json_str(inner), name))
        return osmo_error_set(err, OSMO_EUSER, "the document is of test '%.100s', to be stored as '%.100s': they must be the same",
                              json_str(inner) ? json_str(inner) : "", name);
    json_t *test = only(document, test_members, ARRAY_SIZE(test_members));
    return test ? put(tests, name, test, err) : no_memory(err);
}

static int check_unused(const json_t *document, const char *test, osmo_error_t *err) {
    for (json_iter_t it = json_iter(json_get(document, "backends")); json_iter_next(&it);) {
        const json_t *tests = json_get(it.value, "tests");
        for (size_t i = 0; i < json_len(tests); i++)
            if (str_eq(json_str(json_at(tests, i)), test))
                return osmo_error_set(err, OSMO_EUSER, "Test %s is run by backend %s: take it out of the tests of the backend first", test,
                                      it.key);
    }
    return 0;
}

int tests_edit(json_t *document, const struct test_edit *edit, osmo_error_t *err) {
    json_t *tests = json_get(document, "backend_tests");
    _cleanup_json_ json_t *v = NULL;
    int rc = 0;
    if (edit->kind == TESTS_PUT) {
        for (json_iter_t it = json_iter(edit->document); rc >= 0 && json_iter_next(&it);)
            rc = take_test(tests, it.key, it.value, err);
        return rc;
    }
    if (edit->kind == TEST_DELETE) {
        rc = check_unused(document, edit->test, err);
        if (rc >= 0)
            json_del(tests, edit->test);
        return rc;
    }
    if (!json_has(tests, edit->test))
        return osmo_error_set(err, OSMO_EUSER, "Test %s does not exist; osmo config list BACKEND_TEST shows the tests", edit->test);
    rc = config_patch(json_get(tests, edit->test), edit->document, &v, err);
    return rc < 0 ? rc : take_test(tests, edit->test, v, err);
}

json_t *backend_test_json(const struct backend_test *t) {
    _cleanup_json_ json_t *o = json_object();
    json_t *template = NULL;
    if (!o || json_parse(t->pod_template_json, strlen(t->pod_template_json), &template, NULL) < 0)
        return NULL;
    int failed = json_set(o, "parsed_pod_template", template);
    failed |= json_set_str(o, "name", t->name);
    failed |= json_set_str(o, "description", t->description);
    failed |= json_set_str(o, "cron_schedule", t->cron_schedule);
    failed |= json_set_str(o, "test_timeout", t->test_timeout);
    failed |= json_set_strs(o, "node_conditions", &t->node_conditions);
    failed |= json_set_strs(o, "common_pod_template", &t->pod_templates);
    return failed ? NULL : STEAL(o);
}

int backend_tests_objects(const struct settings *s, const char *backend, const char *node_prefix, json_t **out, osmo_error_t *err) {
    const struct backend_settings *b = settings_backend(s, backend);
    _cleanup_json_ json_t *o = json_object();
    json_t *configs = json_object();
    int rc = o && configs && json_set(o, "test_configs", configs) >= 0 ? 0 : no_memory(err);
    for (size_t i = 0; rc >= 0 && b && i < b->tests.len; i++) {
        const struct backend_test *t = settings_test(s, b->tests.items[i]);
        json_t *one = t ? backend_test_json(t) : NULL;
        if (t && (!one || json_set(configs, t->name, one) < 0))
            rc = no_memory(err);
    }
    if (rc >= 0 && json_set_str(o, "node_condition_prefix", node_prefix ? node_prefix : "") < 0)
        rc = no_memory(err);
    *out = rc < 0 ? NULL : STEAL(o);
    return rc;
}
