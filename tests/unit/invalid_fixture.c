/* See invalid_fixture.h. */
#include "invalid_fixture.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"

/* Pools that refuse for one reason each. */
static const char pools[] =
    "workflow: {max_num_tasks: 20}\n"
    "resource_validations:\n"
    "  odd: [{operator: GT, left_operand: '{{NO_SUCH}}', right_operand: '0', assert_message: never}]\n"
    "pools:\n"
    "  default: &all\n"
    "    backend: default\n"
    "    default_platform: cpu\n"
    "    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 1Gi, USER_STORAGE: 1Gi}\n"
    "    common_pod_template: [default_ctrl, default_user]\n"
    "    common_resource_validations: [default_cpu, default_memory, default_storage]\n"
    "    topology_keys: [{key: zone, label: example.com/zone}, {key: rack, label: example.com/rack}]\n"
    "    platforms: {cpu: {}, gpu: {privileged_allowed: true, allowed_mounts: [/opt]}}\n"
    "  closed: {<<: *all, enable_maintenance: true}\n"
    "  sized: {<<: *all, backend: sized}\n"
    "  odd: {<<: *all, common_resource_validations: [odd]}\n"
    "  guarded: {<<: *all, resources: {gpu: {guarantee: 4}}}\n"
    "  unset: {<<: *all, common_default_variables: {}}\n"
    "  homeless: {backend: default, platforms: {cpu: {}}}\n";

static bool open_with(struct fixture *f, const char *config, osmo_auth_mode_t mode) {
    osmo_error_t err = OSMO_ERROR_INIT;
    static char path[128]; /* outlives this call in the options */
    if (!fixture_open(f, mode, ADMIN_TOKEN))
        return false;
    snprintf(path, sizeof path, "%s/osmo.yaml", f->dir);
    f->options.config_file = path;
    bool good = file_write_atomic(path, config, strlen(config), 0600, false, &err) >= 0 && fixture_reopen(f);
    if (!good)
        fprintf(stderr, "configuration: %s\n", err.text);
    return good;
}

bool invalid_open(struct fixture *f, const char *config) {
    return open_with(f, config ? config : pools, OSMO_AUTH_DEV);
}

bool invalid_open_required(struct fixture *f, const char *config) {
    return open_with(f, config, OSMO_AUTH_REQUIRED);
}

struct answer invalid_ask(struct fixture *f, const struct invalid *c) {
    _cleanup_json_ json_t *body = json_object();
    _cleanup_free_ char *path = str_printf("/api/pool/%s/workflow", c->pool ? c->pool : "default");
    json_set_str(body, "file", c->text);
    if (c->set) {
        json_t *list = json_array();
        json_add_str(list, c->set);
        json_set(body, "set_variables", list);
    }
    _cleanup_free_ char *text = json_to_text(body);
    return ask(f, "POST", path, c->query, text, NULL);
}

static struct answer list_failed(struct fixture *f) {
    return ask(f, "GET", "/api/workflow", "statuses=FAILED_SUBMISSION&all_pools=true&all_users=true&limit=1000&order=DESC",
               NULL, NULL);
}

size_t failed_submissions(struct fixture *f) {
    struct answer a = list_failed(f);
    size_t n = json_len(json_get(a.json, "workflows"));
    answer_free(&a);
    return n;
}

static bool is_uuid(const char *p) { return strlen(p) == 32 && strspn(p, "0123456789abcdef") == 32; }

static bool id_matches(const json_t *body, const char *want) {
    const char *got = json_get_str(body, "workflow_id");
    if (!json_has(body, "workflow_id") || !want || !got)
        return json_has(body, "workflow_id") && !want && !got;
    if (!strcmp(want, ID_UUID))
        return is_uuid(got);
    if (!strcmp(want, ID_FAILED))
        return str_starts(got, "failed-") && is_uuid(got + 7);
    return !strcmp(got, want);
}

/* What the row is called: as the text calls the workflow, or failed-<uuid> when it does not. */
static bool name_matches(const char *name, const char *id) {
    if (id && (!strcmp(id, ID_UUID) || !strcmp(id, ID_FAILED)))
        return str_starts(name, "failed-") && is_uuid(name + 7);
    return id ? !strcmp(name, id) : name[0] == 'w';
}

static bool row_matches(struct fixture *f, const struct invalid *c, const char *message) {
    struct answer a = list_failed(f);
    const json_t *list = json_get(a.json, "workflows");
    bool found = false;
    for (size_t i = 0; !found && i < json_len(list); i++) {
        struct workflow_row w = { 0 };
        db_t *db = NULL;
        const char *id = json_get_str(json_at(list, i), "name");
        found = id && store_reader(f->engine->store, &db, NULL) >= 0 && repo_workflow_get(db, id, &w, NULL) >= 0 &&
                str_eq(w.failure_message, message) && name_matches(w.name, c->id);
        workflow_row_clear(&w);
    }
    answer_free(&a);
    return found;
}

static void check_refusal(struct fixture *f, const struct invalid *c, const struct answer *a, size_t before) {
    const char *message = json_get_str(a->json, "message");
    size_t after = failed_submissions(f);
    bool good = a->status == 400 && str_eq(json_get_str(a->json, "error_code"), c->code) &&
                id_matches(a->json, c->id) && message && strstr(message, c->names) &&
                after == before + c->recorded && (!c->recorded || row_matches(f, c, message));
    if (!good)
        fprintf(stderr, "row %d: want %s, id %s, %zu rows, '%s'\n  file: %s\n  got %d: %s, %zu rows\n", c->row, c->code,
                c->id ? c->id : "null", before + c->recorded, c->names, c->text, a->status, a->body ? a->body : "", after);
    CHECK(good);
}

static void check_acceptance(const struct invalid *c, const struct answer *a, size_t before, size_t after) {
    const char *spec = json_get_str(a->json, "spec");
    bool good = a->status == 200 && before == after && (!c->names || (spec && strstr(spec, c->names)));
    if (!good)
        fprintf(stderr, "row %d: want 200, '%s'\n  file: %s\n  got %d: %s\n", c->row, c->names ? c->names : "", c->text,
                a->status, a->body ? a->body : "");
    CHECK(good);
}

void invalid_run(struct fixture *f, const struct invalid *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t before = failed_submissions(f);
        struct answer a = invalid_ask(f, &cases[i]);
        if (cases[i].code)
            check_refusal(f, &cases[i], &a, before);
        else
            check_acceptance(&cases[i], &a, before, failed_submissions(f));
        answer_free(&a);
    }
}
