/* Backends and their tests as the configuration routes take and show them, and the job that tells a backend of its tests. What is in
 * the members is checked by model/settings.h when the whole is read. Called by engine/ and api/. Pure. */
#ifndef MODEL_BACKEND_CONFIG_H
#define MODEL_BACKEND_CONFIG_H
#include "base/json.h"
#include "model/settings.h"
#include "osmo/error.h"

/* The members of `patch` that are not null laid over what is there (NULL: nothing); what no backend has is dropped. Node conditions replace
 * those before, scheduler settings are merged. *out is new. OSMO_EUSAGE: a member of the wrong kind that nobody else looks at. */
int backend_config_patch(const json_t *base, const json_t *patch, json_t **out, osmo_error_t *err);
/* What such a patch says of the cluster itself, which is no matter of the configuration; NULL where it says nothing. */
int backend_config_cluster(const json_t *patch, const char **k8s_uid, const char **node_prefix, osmo_error_t *err);

enum test_edit_kind {
    TESTS_PUT,  /* document: name → test; the others stay */
    TEST_PATCH, /* test, document */
    TEST_DELETE /* test; nothing when it is not there */
};
struct test_edit { enum test_edit_kind kind; const char *test; const json_t *document; };
/* Changes the section backend_tests of `document` (engine/config_objects.h). OSMO_EUSER: no such test, or backends run it. */
int tests_edit(json_t *document, const struct test_edit *edit, osmo_error_t *err);

/* {name, description, cron_schedule, test_timeout, node_conditions, common_pod_template, parsed_pod_template}; NULL when memory is
 * short. */
json_t *backend_test_json(const struct backend_test *t);
/* {test_configs, node_condition_prefix} of a BackendSynchronizeBackendTest job: the tests that the backend names. */
int backend_tests_objects(const struct settings *s, const char *backend, const char *node_prefix, json_t **out, osmo_error_t *err);
#endif
