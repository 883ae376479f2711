/* Stored credentials: each value sealed by itself under its user's key, in the writer's transaction. See credentials.h. */
#include "base/error.h"
#include "engine/credentials.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "engine/vault.h"

#define PAYLOAD_MAX (4u << 20)

/* ---- storing ---- */

struct storing {
    engine_t *e;
    const char *user, *name;
    const struct credential *c;
};

/* {key: sealed text} */
static int seal_pairs(const struct storing *s, db_t *db, char **out, osmo_error_t *err) {
    _cleanup_json_ json_t *sealed = json_object();
    int rc = sealed ? 0 : no_memory(err);
    for (json_iter_t it = json_iter(s->c->pairs); rc >= 0 && json_iter_next(&it);) {
        _cleanup_buf_ buf_t text = BUF_INIT(PAYLOAD_MAX);
        size_t len;
        const char *value = json_bytes(it.value, &len);
        rc = vault_seal_for(s->e, db, s->user, value ? value : "", len, &text, err);
        if (rc >= 0 && json_set_str(sealed, it.key, buf_cstr(&text)) < 0)
            rc = no_memory(err);
    }
    if (rc < 0)
        return rc;
    *out = json_to_text(sealed);
    return *out ? 0 : no_memory(err);
}

/* Is there room for it beside those that it does not replace? */
static int check_room(const struct storing *s, db_t *db, const char *payload, osmo_error_t *err) {
    struct credential_row *rows = NULL;
    size_t n = 0, others = 0, bytes = strlen(payload);
    int rc = repo_credential_list(db, s->user, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        if (str_eq(rows[i].name, s->name) || (s->c->profile && str_eq(rows[i].profile, s->c->profile)))
            continue;
        others++;
        bytes += strlen(rows[i].payload ? rows[i].payload : "");
    }
    credential_rows_free(rows, n);
    if (rc >= 0 && others >= CREDENTIALS_PER_USER)
        return osmo_error_set(err, OSMO_EUSER, "you have %d credentials, more are not kept: delete one", CREDENTIALS_PER_USER);
    if (rc >= 0 && bytes > CREDENTIALS_BYTES)
        return osmo_error_set(err, OSMO_EUSER, "your credentials would take %zu bytes together, at most %u are kept: delete one", bytes,
                              CREDENTIALS_BYTES);
    return rc;
}

static int store_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct storing *s = ctx;
    _cleanup_free_ char *payload = NULL;
    int rc = repo_user_ensure(db, s->user, s->user, clock_now_us(), err);
    if (rc >= 0)
        rc = seal_pairs(s, db, &payload, err);
    if (rc >= 0)
        rc = check_room(s, db, payload, err);
    struct credential_row row = { .user = (char *)s->user,
                                  .name = (char *)s->name,
                                  .type = (char *)credential_kind_name(s->c->kind),
                                  .profile = s->c->profile,
                                  .payload = payload,
                                  .created_us = clock_now_us() };
    return rc < 0 ? rc : repo_credential_put(db, &row, err);
}

int credentials_store(engine_t *e, const char *user, const char *name, const struct credential *c, osmo_error_t *err) {
    struct storing s = { e, user, name, c };
    return store_write(e->store, user, store_run, &s, err);
}

struct removing {
    const char *user, *name;
    struct credential_row row;
};

static int remove_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct removing *r = ctx;
    credential_row_clear(&r->row);
    r->row = (struct credential_row){ 0 };
    return repo_credential_take(db, r->user, r->name, &r->row, err);
}

int credentials_remove(engine_t *e, const char *user, const char *name, struct credential_row *out, osmo_error_t *err) {
    struct removing r = { .user = user, .name = name };
    int rc = store_write(e->store, user, remove_run, &r, err);
    if (rc == OSMO_ENOTFOUND)
        rc = osmo_error_set(err, OSMO_EUSER, "you have no credential '%.128s': osmo credential list shows yours", name);
    free(r.row.payload);
    r.row.payload = NULL;
    if (rc < 0)
        credential_row_clear(&r.row);
    else
        *out = r.row;
    return rc;
}

/* ---- opening ---- */

const char *credentials_value(const struct pod_credential *c, const char *key) {
    for (size_t i = 0; c && i < c->npairs; i++)
        if (str_eq(c->pairs[i].key, key))
            return c->pairs[i].value;
    return NULL;
}

static int open_value(engine_t *e, db_t *db, const struct credential_row *row, const json_t *sealed, const char **out,
                      osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(CREDENTIAL_TOTAL_MAX + 1);
    const char *from = json_str(sealed);
    int rc = from ? vault_unseal_for(e, db, row->user, from, strlen(from), &text, err)
                  : osmo_error_set(err, OSMO_EINVAL, "its stored form is damaged");
    if (rc < 0)
        return rc;
    *out = text.len ? buf_steal(&text, NULL) : str_dup("");
    return *out ? 0 : no_memory(err);
}

static int open_row(engine_t *e, db_t *db, const struct credential_row *row, json_t **payload, struct pod_credential *out,
                    osmo_error_t *err) {
    static const enum pod_credential_type types[CREDENTIAL_KINDS] = {
        [CREDENTIAL_GENERIC] = POD_CREDENTIAL_GENERIC,
        [CREDENTIAL_REGISTRY] = POD_CREDENTIAL_REGISTRY,
        [CREDENTIAL_DATA] = POD_CREDENTIAL_DATA,
    };
    int kind = credential_kind_parse(row->type);
    int rc = row->payload ? json_parse(row->payload, strlen(row->payload), payload, err) : OSMO_EINVAL;
    if (rc >= 0 && (kind < 0 || json_kind(*payload) != JSON_OBJECT))
        rc = osmo_error_set(err, OSMO_EINVAL, "its stored form is damaged");
    struct pod_pair *pairs = rc < 0 ? NULL : calloc(json_len(*payload) + 1, sizeof *pairs);
    if (rc >= 0 && !pairs)
        return no_memory(err);
    *out = (struct pod_credential){ .name = row->name, .profile = row->profile, .pairs = pairs };
    if (rc >= 0)
        out->type = types[kind];
    for (json_iter_t it = json_iter(*payload); rc >= 0 && json_iter_next(&it);) {
        pairs[out->npairs].key = it.key;
        rc = open_value(e, db, row, it.value, &pairs[out->npairs].value, err);
        out->npairs += rc >= 0;
    }
    return rc;
}

static void wipe_pairs(struct pod_credential *c) {
    struct pod_pair *pairs = (struct pod_pair *)c->pairs;
    for (size_t k = 0; k < c->npairs; k++) {
        crypto_wipe((char *)pairs[k].value, strlen(pairs[k].value));
        free((char *)pairs[k].value);
    }
    free(pairs);
    *c = (struct pod_credential){ 0 };
}

void credentials_wipe(struct credentials *c) {
    for (size_t i = 0; i < c->n; i++)
        wipe_pairs(&c->list[i]);
    for (size_t i = 0; c->payloads && i < c->nrows; i++)
        json_free(c->payloads[i]);
    credential_rows_free(c->rows, c->nrows);
    free(c->payloads);
    free(c->list);
    *c = (struct credentials){ 0 };
}

/* skip: those that cannot be opened are left out. */
static int open_rows(engine_t *e, db_t *db, const char *user, credentials_wanted_fn wanted, const void *ctx, bool skip,
                     struct credentials *out, osmo_error_t *err) {
    *out = (struct credentials){ 0 };
    int rc = repo_credential_list(db, user, &out->rows, &out->nrows, err);
    if (rc < 0 || !out->nrows)
        return rc < 0 ? rc : 0;
    out->list = calloc(out->nrows, sizeof *out->list);
    out->payloads = calloc(out->nrows, sizeof *out->payloads);
    rc = out->list && out->payloads ? 0 : no_memory(err);
    for (size_t i = 0; rc >= 0 && i < out->nrows; i++) {
        if (wanted && !wanted(ctx, &out->rows[i]))
            continue;
        rc = open_row(e, db, &out->rows[i], &out->payloads[i], &out->list[out->n++], err);
        if (skip && (rc == OSMO_EDENIED || rc == OSMO_EINVAL)) {
            wipe_pairs(&out->list[--out->n]);
            rc = 0;
        } else if (rc == OSMO_EDENIED || rc == OSMO_EINVAL) {
            osmo_error_prefix(err, "credential '%.128s' of %.200s cannot be opened", out->rows[i].name, user);
            if (err)
                err->code = OSMO_ECREDENTIAL;
            rc = OSMO_ECREDENTIAL;
        }
    }
    if (rc < 0)
        credentials_wipe(out);
    return rc;
}

int credentials_open(engine_t *e, db_t *db, const char *user, credentials_wanted_fn wanted, const void *ctx,
                     struct credentials *out, osmo_error_t *err) {
    return open_rows(e, db, user, wanted, ctx, false, out, err);
}

int credentials_open_readable(engine_t *e, db_t *db, const char *user, struct credentials *out, osmo_error_t *err) {
    return open_rows(e, db, user, NULL, NULL, true, out, err);
}

/* Other generic ones stay sealed. */
static bool group_wants(const void *ctx, const struct credential_row *row) {
    const struct spec *s = ctx;
    if (!str_eq(row->type, credential_kind_name(CREDENTIAL_GENERIC)))
        return true;
    for (size_t g = 0; g < s->ngroups; g++)
        for (size_t t = 0; t < s->groups[g].ntasks; t++)
            if (json_has(s->groups[g].tasks[t].credentials, row->name))
                return true;
    return false;
}

int credentials_of_group(engine_t *e, db_t *db, const char *user, const struct spec *group, struct credentials *out,
                         osmo_error_t *err) {
    return credentials_open(e, db, user, group_wants, group, out, err);
}
