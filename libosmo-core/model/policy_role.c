/* Role documents: reading, writing, and the roles that every installation begins with. See policy.h. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/policy.h"

#define NAME_MAX_BYTES 253
#define TEXT_MAX_BYTES 4096

static const char *const sync_words[] = { [ROLE_SYNC_IMPORT] = "import", [ROLE_SYNC_FORCE] = "force", [ROLE_SYNC_IGNORE] = "ignore" };

void role_clear(struct role *r) {
    for (size_t i = 0; i < r->npolicies; i++) {
        strlist_free(&r->policies[i].actions);
        strlist_free(&r->policies[i].resources);
    }
    free(r->policies);
    free(r->name);
    free(r->description);
    strlist_free(&r->external_roles);
    *r = (struct role){ 0 };
}

/* ---- reading ---- */

struct place { const char *role, *member; size_t policy; osmo_error_t *err; };

static int wrong(const struct place *at, const char *what) {
    return osmo_error_set(at->err, OSMO_EUSER, at->policy ? "role %.60s: %s of policy %zu %s" : "role %.60s: %s%.0zu %s",
                          at->role, at->member, at->policy, what);
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Sorted, each once. */
static int add_text(const struct place *at, const char *text, strlist_t *out) {
    if (!text || !*text || strlen(text) > POLICY_TEXT_MAX)
        return wrong(at, "must be texts of 1 to 512 bytes");
    if (strlist_has(out, text))
        return 0;
    return strlist_add(out, text) < 0 ? osmo_error_set(at->err, OSMO_ENOMEM, "out of memory") : 0;
}

static int read_texts(const struct place *at, const json_t *v, strlist_t *out) {
    if (json_kind(v) == JSON_STRING)
        return add_text(at, json_str(v), out);
    if (v && json_kind(v) != JSON_ARRAY)
        return wrong(at, "must be a list of texts");
    if (json_len(v) > POLICY_TEXTS_MAX)
        return wrong(at, "must be 1024 texts or less");
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < json_len(v); i++)
        rc = add_text(at, json_str(json_at(v, i)), out);
    if (rc >= 0 && out->len)
        qsort(out->items, out->len, sizeof *out->items, by_bytes);
    return rc;
}

static bool is_word(const char *p, size_t n, bool capital) {
    if (n == 1 && *p == '*')
        return true;
    for (size_t i = 0; i < n; i++) {
        bool upper = p[i] >= 'A' && p[i] <= 'Z', lower = p[i] >= 'a' && p[i] <= 'z';
        if (capital ? !(i ? upper || lower : upper) : !lower)
            return false;
    }
    return n > 0;
}

/* <word>:<Word>, each of which may be "*"; or "*". */
static bool is_action(const char *text) {
    size_t n = strcspn(text, ":");
    return str_eq(text, "*") || (text[n] && is_word(text, n, false) && is_word(text + n + 1, strlen(text + n + 1), true));
}

static int read_policy(struct place *at, const json_t *v, struct policy *out) {
    const char *effect = json_has(v, "effect") ? json_get_str(v, "effect") : "Allow";
    at->member = "effect";
    if (json_kind(v) != JSON_OBJECT || (!str_eq(effect, "Allow") && !str_eq(effect, "Deny")))
        return wrong(at, "must be Allow or Deny");
    out->deny = str_eq(effect, "Deny");
    at->member = "actions";
    int rc = read_texts(at, json_get(v, "actions"), &out->actions);
    for (size_t i = 0; rc >= 0 && i < out->actions.len; i++)
        if (!is_action(out->actions.items[i]))
            rc = wrong(at, "must look like workflow:Create, workflow:* or *:*");
    at->member = "resources";
    return rc < 0 ? rc : read_texts(at, json_get(v, "resources"), &out->resources);
}

static int read_policies(struct place *at, const json_t *v, struct role *out) {
    size_t n = json_len(v);
    at->member = "policies";
    if (json_kind(v) != JSON_ARRAY || n > ROLE_POLICIES_MAX)
        return wrong(at, "must be a list of at most 256 policies");
    out->policies = calloc(n + 1, sizeof *out->policies);
    if (!out->policies)
        return osmo_error_set(at->err, OSMO_ENOMEM, "out of memory");
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        at->policy = i + 1;
        out->npolicies = i + 1;
        rc = read_policy(at, json_at(v, i), &out->policies[i]);
    }
    at->policy = 0;
    return rc;
}

static int read_sync(struct place *at, const json_t *document, struct role *out) {
    const char *mode = json_has(document, "sync_mode") ? json_get_str(document, "sync_mode") : "import";
    at->member = "sync_mode";
    for (size_t i = 0; i < ARRAY_SIZE(sync_words); i++)
        if (str_eq(mode, sync_words[i])) {
            out->sync_mode = (enum role_sync)i;
            return 0;
        }
    return wrong(at, "must be import, force or ignore");
}

static int read_members(struct place *at, const json_t *document, struct role *out) {
    const char *description = json_get_str(document, "description");
    at->member = "description";
    if (!description || strlen(description) > TEXT_MAX_BYTES)
        return wrong(at, "must be a text of at most 4096 bytes");
    out->description = str_dup(description);
    if (!out->description)
        return osmo_error_set(at->err, OSMO_ENOMEM, "out of memory");
    at->member = "immutable";
    if (json_has(document, "immutable") && json_kind(json_get(document, "immutable")) != JSON_BOOL)
        return wrong(at, "must be true or false");
    out->immutable = json_get_bool(document, "immutable", false);
    out->has_external = json_get(document, "external_roles") != NULL;
    int rc = read_policies(at, json_get(document, "policies"), out);
    if (rc >= 0)
        rc = read_sync(at, document, out);
    at->member = "external_roles";
    return rc < 0 ? rc : read_texts(at, json_get(document, "external_roles"), &out->external_roles);
}

int role_read(const json_t *document, struct role *out, osmo_error_t *err) {
    const char *name = json_get_str(document, "name");
    *out = (struct role){ 0 };
    if (!name || !*name || strlen(name) > NAME_MAX_BYTES || strpbrk(name, ", ") || !str_is_plain(name))
        return osmo_error_set(err, OSMO_EUSER, "a role needs a name of 1 to 253 bytes without blanks, commas and what is not seen");
    struct place at = { .role = name, .err = err };
    out->name = str_dup(name);
    int rc = out->name ? read_members(&at, document, out) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc < 0)
        role_clear(out);
    return rc;
}

/* ---- writing ---- */

static json_t *policy_json(const struct policy *p) {
    json_t *o = json_object();
    int rc = o ? json_set_str(o, "effect", p->deny ? "Deny" : "Allow") : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_strs(o, "actions", &p->actions);
    if (rc >= 0 && p->resources.len)
        rc = json_set_strs(o, "resources", &p->resources);
    if (rc >= 0)
        return o;
    json_free(o);
    return NULL;
}

json_t *role_json(const struct role *r) {
    json_t *o = json_object(), *list = json_array();
    int rc = o && list ? json_set_str(o, "name", r->name) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(o, "description", r->description);
    for (size_t i = 0; rc >= 0 && i < r->npolicies; i++) {
        json_t *p = policy_json(&r->policies[i]);
        rc = p ? json_add(list, p) : OSMO_ENOMEM;
    }
    if (rc >= 0)
        rc = json_set(o, "policies", STEAL(list));
    if (rc >= 0)
        rc = json_set_bool(o, "immutable", r->immutable);
    if (rc >= 0)
        rc = json_set_str(o, "sync_mode", sync_words[r->sync_mode]);
    if (rc >= 0)
        rc = json_set_strs(o, "external_roles", &r->external_roles);
    if (rc >= 0)
        return o;
    json_free(list);
    json_free(o);
    return NULL;
}

/* ---- the roles to begin with ---- */

static const char *const defaults[] = {
    "{\"name\": \"osmo-admin\", \"description\": \"Administrators: everything\", \"immutable\": true,"
    " \"policies\": [{\"actions\": \"*:*\", \"resources\": \"*\"}]}",
    "{\"name\": \"osmo-user\", \"description\": \"Users: their workflows in pool default\", \"policies\": ["
    "{\"actions\": [\"app:*\", \"auth:Token\", \"credentials:*\", \"mcp:Access\", \"pool:List\", \"profile:Read\", \"profile:Update\","
    " \"resources:Read\", \"user:List\", \"workflow:List\", \"workflow:Read\"], \"resources\": \"*\"},"
    "{\"actions\": \"workflow:*\", \"resources\": \"pool/default\"}]}",
    "{\"name\": \"osmo-backend\", \"description\": \"Operators of backends\", \"immutable\": true, \"policies\": ["
    "{\"actions\": [\"internal:Operator\", \"pool:List\", \"config:Read\"],"
    " \"resources\": [\"backend/*\", \"pool/*\", \"config/backend\", \"config/backend_test\"]}]}",
    "{\"name\": \"osmo-ctrl\", \"description\": \"What runs beside a task\", \"immutable\": true, \"policies\": ["
    "{\"actions\": [\"internal:Logger\", \"internal:Router\"], \"resources\": \"*\"}]}",
    "{\"name\": \"osmo-default\", \"description\": \"Everybody\", \"immutable\": true, \"policies\": ["
    "{\"actions\": [\"system:Health\", \"system:Version\", \"auth:Login\", \"auth:Refresh\", \"auth:Token\","
    " \"profile:*\"], \"resources\": \"*\"}]}",
};

const char *role_default(size_t i) { return i < ARRAY_SIZE(defaults) ? defaults[i] : NULL; }

static bool same_texts(const strlist_t *a, const strlist_t *b) {
    bool same = a->len == b->len;
    for (size_t i = 0; same && i < a->len; i++)
        same = strlist_has(b, a->items[i]);
    return same;
}

/* The policy that speaks of the same resources with the same effect; made when there is none. NULL when memory is short. */
static struct policy *twin(struct role *r, const struct policy *p) {
    for (size_t i = 0; i < r->npolicies; i++)
        if (r->policies[i].deny == p->deny && same_texts(&r->policies[i].resources, &p->resources))
            return &r->policies[i];
    struct policy *grown = realloc(r->policies, (r->npolicies + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    r->policies = grown;
    struct policy *made = &grown[r->npolicies++];
    *made = (struct policy){ .deny = p->deny };
    for (size_t i = 0; i < p->resources.len; i++)
        if (strlist_add(&made->resources, p->resources.items[i]) < 0)
            return NULL;
    return made;
}

int role_complete(struct role *have, const struct role *standard, bool *changed, osmo_error_t *err) {
    *changed = false;
    for (size_t i = 0; i < standard->npolicies; i++) {
        const struct policy *p = &standard->policies[i];
        struct policy *mine = twin(have, p);
        for (size_t k = 0; mine && k < p->actions.len; k++) {
            if (strlist_has(&mine->actions, p->actions.items[k]))
                continue;
            *changed = true;
            if (strlist_add(&mine->actions, p->actions.items[k]) < 0)
                mine = NULL;
        }
        if (!mine)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        if (mine->actions.len)
            qsort(mine->actions.items, mine->actions.len, sizeof *mine->actions.items, by_bytes);
    }
    return 0;
}
