/* Where roles come from and go to: the table of the store, or the configuration file, which the table then follows so that users can be
 * given its roles. Default roles are added and completed at every start. See access.h. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "engine/access_internal.h"
#include "store/repo_auth.h"

static int read_text(const char *text, struct role *out, osmo_error_t *err) {
    _cleanup_json_ json_t *v = NULL;
    int rc = json_parse(text, strlen(text), &v, err);
    return rc < 0 ? rc : role_read(v, out, err);
}

/* As it is stored: without the names that providers have for it. NULL when memory is short. */
static char *document_of(const struct role *r) {
    _cleanup_json_ json_t *v = role_json(r);
    if (!v)
        return NULL;
    json_del(v, "external_roles");
    return json_to_text(v);
}

/* ---- the default roles ---- */

/* The one of this name; OSMO_ENOTFOUND. */
static int standard_read(const char *name, struct role *out, osmo_error_t *err) {
    for (size_t i = 0; role_default(i); i++) {
        int rc = read_text(role_default(i), out, err);
        if (rc < 0 || str_eq(out->name, name))
            return rc;
        role_clear(out);
    }
    return OSMO_ENOTFOUND;
}

/* What an installation cannot do without: such a role is not deleted, keeps what it permits, and denies nothing. */
static int check_built_in(const struct role *r, osmo_error_t *err) {
    struct role standard, copy = { 0 };
    bool less = false;
    int rc = standard_read(r->name, &standard, err);
    if (rc == OSMO_ENOTFOUND)
        return 0;
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *v = standard.immutable ? role_json(r) : NULL;
    if (standard.immutable && !v)
        rc = no_memory(err);
    if (rc >= 0 && v)
        rc = role_read(v, &copy, err);
    if (rc >= 0 && v)
        rc = role_complete(&copy, &standard, &less, err);
    for (size_t i = 0; v && i < r->npolicies; i++)
        less |= r->policies[i].deny;
    if (rc >= 0 && v && less)
        rc = osmo_error_set(err, OSMO_EUSER, "role %s is built in: it may be given more, but keeps what it permits and denies nothing; use "
                                             "another role for that", r->name);
    role_clear(&copy);
    role_clear(&standard);
    return rc;
}

static bool is_built_in(const char *name) {
    struct role standard;
    if (standard_read(name, &standard, NULL) < 0)
        return false;
    bool built_in = standard.immutable;
    role_clear(&standard);
    return built_in;
}

/* ---- reading ---- */

/* Providers know a role by its own name when its document does not say otherwise. */
static int known_as(struct role *r) { return r->external_roles.len ? 0 : strlist_add(&r->external_roles, r->name); }

static int load_file(const struct settings *s, struct picture *p, osmo_error_t *err) {
    struct role r;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && role_default(i); i++) { /* what nobody can do without; the file may say more of them */
        rc = read_text(role_default(i), &r, err);
        if (rc >= 0 && r.immutable && known_as(&r) < 0)
            rc = no_memory(err);
        if (rc >= 0 && r.immutable)
            rc = picture_add(p, &r, err);
        else if (rc >= 0)
            role_clear(&r);
    }
    for (size_t i = 0; rc >= 0 && i < s->roles.len; i++) {
        rc = read_text(s->roles.items[i], &r, err);
        if (rc >= 0 && known_as(&r) < 0)
            rc = no_memory(err);
        if (rc >= 0)
            rc = picture_add(p, &r, err);
    }
    return rc;
}

static int load_rows(store_t *store, struct picture *p, osmo_error_t *err) {
    struct role_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int rc = store_reader(store, &db, err);
    if (rc >= 0)
        rc = repo_role_list(db, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        struct role r;
        rc = read_text(rows[i].document, &r, err);
        if (rc < 0)
            break;
        strlist_free(&r.external_roles);
        r.external_roles = rows[i].external;
        rows[i].external = (strlist_t){ 0 };
        r.has_external = true;
        rc = picture_add(p, &r, err);
    }
    role_rows_free(rows, n);
    return rc;
}

int access_load(engine_t *e, struct picture **out, osmo_error_t *err) {
    struct picture *p = picture_new();
    if (!p)
        return no_memory(err);
    const struct settings *s = engine_settings(e);
    int rc = s->has_roles ? load_file(s, p, err) : load_rows(e->store, p, err);
    p->from_file = s->has_roles;
    engine_settings_put(s);
    if (rc < 0)
        picture_free(p);
    else
        *out = p;
    return rc;
}

/* ---- seeding ---- */

struct table { struct role_row *rows; size_t n; };

static const struct role_row *row_of(const struct table *t, const char *name) {
    for (size_t i = 0; i < t->n; i++)
        if (str_eq(t->rows[i].name, name))
            return &t->rows[i];
    return NULL;
}

static int put(db_t *db, const struct role *r, const strlist_t *external, osmo_error_t *err) {
    _cleanup_free_ char *document = document_of(r);
    return document ? repo_role_put(db, r->name, document, external, err) : no_memory(err);
}

static int seed_default(db_t *db, const struct table *t, const struct role *standard, osmo_error_t *err) {
    const struct role_row *row = row_of(t, standard->name);
    struct role have;
    bool changed = false;
    if (!row)
        return put(db, standard, NULL, err);
    int rc = read_text(row->document, &have, err);
    if (rc < 0)
        return rc;
    rc = role_complete(&have, standard, &changed, err);
    changed |= have.immutable != standard->immutable;
    have.immutable = standard->immutable;
    if (rc >= 0 && changed)
        rc = put(db, &have, NULL, err);
    role_clear(&have);
    return rc;
}

static bool same_texts(const strlist_t *a, const strlist_t *b) {
    bool same = a->len == b->len;
    for (size_t i = 0; same && i < a->len; i++)
        same = strlist_has(b, a->items[i]);
    return same;
}

static int seed_from_file(db_t *db, const struct table *t, const struct role *r, osmo_error_t *err) {
    const struct role_row *row = row_of(t, r->name);
    _cleanup_free_ char *document = document_of(r);
    if (!document)
        return no_memory(err);
    if (row && str_eq(row->document, document) && same_texts(&row->external, &r->external_roles))
        return 0;
    return repo_role_put(db, r->name, document, &r->external_roles, err);
}

struct seeding { const struct picture *file; /* or NULL */ };

static int seed_table(db_t *db, const struct seeding *s, const struct table *t, osmo_error_t *err) {
    struct role standard;
    size_t it = 0;
    void *role;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && role_default(i); i++) {
        rc = read_text(role_default(i), &standard, err);
        if (rc < 0)
            break;
        if (!s->file || !picture_role(s->file, standard.name))
            rc = seed_default(db, t, &standard, err);
        role_clear(&standard);
    }
    while (rc >= 0 && s->file && map_next(s->file->roles, &it, NULL, &role))
        rc = seed_from_file(db, t, role, err);
    return rc;
}

static int seed(db_t *db, void *ctx, osmo_error_t *err) {
    struct table t = { 0 };
    int rc = repo_role_list(db, &t.rows, &t.n, err);
    if (rc >= 0)
        rc = seed_table(db, ctx, &t, err);
    role_rows_free(t.rows, t.n);
    return rc;
}

int access_seed(engine_t *e, osmo_error_t *err) {
    struct picture *file = NULL;
    const struct settings *s = engine_settings(e);
    bool has_roles = s->has_roles;
    engine_settings_put(s);
    int rc = has_roles ? access_load(e, &file, err) : 0;
    struct seeding seeding = { file };
    if (rc >= 0)
        rc = store_write(e->store, NULL, seed, &seeding, err);
    picture_free(file);
    return rc;
}

/* ---- changes ---- */

static int refuse_file_mode(engine_t *e, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    bool from_file = s->has_roles;
    engine_settings_put(s);
    return from_file ? osmo_error_set(err, OSMO_ECONFLICT, "roles come from the configuration file; change them there") : 0;
}

struct change { const struct role *const *roles; size_t n; const char *name; };

static int put_all(db_t *db, void *ctx, osmo_error_t *err) {
    const struct change *ch = ctx;
    struct table t = { 0 };
    int rc = repo_role_list(db, &t.rows, &t.n, err);
    size_t fresh = 0;
    for (size_t i = 0; i < ch->n; i++)
        fresh += !row_of(&t, ch->roles[i]->name);
    if (rc >= 0 && fresh && t.n + fresh > ROLES_MAX)
        rc = osmo_error_set(err, OSMO_EUSER, "there can be at most %d roles; delete some", ROLES_MAX);
    role_rows_free(t.rows, t.n);
    for (size_t i = 0; rc >= 0 && i < ch->n; i++)
        rc = put(db, ch->roles[i], ch->roles[i]->has_external ? &ch->roles[i]->external_roles : NULL, err);
    return rc;
}

/* Built-in roles are immutable whatever a document says. */
static int put_checked(engine_t *e, const struct role *const *roles, size_t n, osmo_error_t *err) {
    struct role *copies = calloc(n + 1, sizeof *copies);
    const struct role **list = calloc(n + 1, sizeof *list);
    struct change ch = { (const struct role *const *)list, n, NULL };
    int rc = copies && list ? 0 : no_memory(err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        copies[i] = *roles[i];
        copies[i].immutable |= is_built_in(roles[i]->name);
        list[i] = &copies[i];
        rc = check_built_in(roles[i], err);
    }
    if (rc >= 0)
        rc = store_write(e->store, NULL, put_all, &ch, err);
    free(copies);
    free(list);
    return rc;
}

int access_put_roles(engine_t *e, const struct role *const *roles, size_t n, osmo_error_t *err) {
    int rc = refuse_file_mode(e, err);
    if (rc >= 0)
        rc = put_checked(e, roles, n, err);
    if (rc >= 0)
        access_changed(e);
    return rc;
}

static int delete_one(db_t *db, void *ctx, osmo_error_t *err) {
    const struct change *ch = ctx;
    struct table t = { 0 };
    struct role r = { 0 };
    int rc = repo_role_list(db, &t.rows, &t.n, err);
    const struct role_row *row = rc >= 0 ? row_of(&t, ch->name) : NULL;
    if (rc >= 0 && !row)
        rc = osmo_error_set(err, OSMO_EUSER, "Role %.100s does not exist; osmo config list ROLE shows the roles", ch->name);
    if (rc >= 0)
        rc = read_text(row->document, &r, err);
    if (rc >= 0 && r.immutable)
        rc = osmo_error_set(err, OSMO_EUSER, "Role %.100s is immutable and cannot be deleted", ch->name);
    role_clear(&r);
    role_rows_free(t.rows, t.n);
    return rc < 0 ? rc : repo_role_delete(db, ch->name, err);
}

int access_delete_role(engine_t *e, const char *name, osmo_error_t *err) {
    struct change ch = { .name = name };
    int rc = refuse_file_mode(e, err);
    if (rc >= 0)
        rc = store_write(e->store, NULL, delete_one, &ch, err);
    if (rc >= 0)
        access_changed(e);
    return rc;
}
