/* Tests of nodes as administrators write them and operators read them: /api/configs/backend_test. A backend runs those that its `tests`
 * name. */
#include <stdlib.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/backends.h"
#include "engine/config_objects.h"

int get_config_tests(struct call *c, osmo_error_t *err) {
    (void)err;
    _cleanup_json_ json_t *o = json_object();
    const struct settings *s = engine_settings(c->engine);
    bool failed = !o;
    for (size_t i = 0; !failed && i < s->ntests; i++) {
        json_t *one = backend_test_json(&s->tests[i]);
        failed = !one || json_set(o, s->tests[i].name, one) < 0;
    }
    engine_settings_put(s);
    return failed ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

int get_config_test(struct call *c, osmo_error_t *err) {
    const struct settings *s = engine_settings(c->engine);
    const struct backend_test *t = settings_test(s, c->params[0]);
    json_t *o = t ? backend_test_json(t) : NULL;
    engine_settings_put(s);
    if (!t)
        return osmo_error_set(err, OSMO_EUSER, "Test %s does not exist; osmo config list BACKEND_TEST shows the tests", c->params[0]);
    return o ? answer_json(c, 200, o) : OSMO_ENOMEM;
}

/* ---- changes ---- */

static int read_payload(struct call *c, const char *member, json_t **body, json_t **payload, osmo_error_t *err) {
    int rc = config_writable(c->engine, err);
    return rc < 0 ? rc : config_payload(c, member, JSON_OBJECT, body, payload, err);
}

int put_config_tests(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    json_t *payload = NULL;
    int rc = read_payload(c, "configs", &body, &payload, err);
    struct test_edit e = { .kind = TESTS_PUT, .document = payload };
    if (rc >= 0)
        rc = tests_change(c->engine, &e, err);
    return rc < 0 ? rc : answer_null(c);
}

int put_config_test(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL, *tests = json_object();
    json_t *payload = NULL;
    int rc = tests ? read_payload(c, "configs", &body, &payload, err) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set(tests, c->params[0], json_ref(payload));
    struct test_edit e = { .kind = TESTS_PUT, .document = tests };
    if (rc >= 0)
        rc = tests_change(c->engine, &e, err);
    return rc < 0 ? rc : answer_null(c);
}

int patch_config_test(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    json_t *payload = NULL;
    int rc = read_payload(c, "configs_dict", &body, &payload, err);
    struct test_edit e = { .kind = TEST_PATCH, .test = c->params[0], .document = payload };
    if (rc >= 0)
        rc = tests_change(c->engine, &e, err);
    return rc < 0 ? rc : get_config_test(c, err);
}

int delete_config_test(struct call *c, osmo_error_t *err) {
    struct test_edit e = { .kind = TEST_DELETE, .test = c->params[0] };
    int rc = config_writable(c->engine, err);
    if (rc >= 0)
        rc = config_remark(c, err);
    if (rc >= 0)
        rc = tests_change(c->engine, &e, err);
    return rc < 0 ? rc : answer_null(c);
}
