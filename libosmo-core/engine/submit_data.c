/* The addresses of a specification against their storage, with the credentials of the user. Storage that refuses is an error of the
 * submission, storage that cannot be asked a warning. Called by submit_checks.c, behind what a look at the store tells. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/map.h"
#include "engine/credentials.h"
#include "engine/data_access.h"
#include "engine/registry.h"
#include "engine/submit_internal.h"

#define PLACES_MAX 64 /* different ones of one submission that are asked for */
#define ASK_US (6LL * 1000 * 1000)

struct place {
    char *uri;
    const char *task; /* the first that has it */
    enum data_access access;
};
struct places {
    struct place list[PLACES_MAX];
    size_t n;
    map_t *seen;
    bool more;
};

static void places_clear(struct places *p) {
    for (size_t i = 0; i < p->n; i++)
        free(p->list[i].uri);
    map_free(p->seen);
}

static bool is_data(const void *ctx, const struct credential_row *row) {
    (void)ctx;
    return str_eq(row->type, credential_kind_name(CREDENTIAL_DATA));
}

static const struct pod_credential *credential_of(const struct credentials *own, const char *uri) {
    for (size_t i = 0; i < own->n; i++)
        if (own->list[i].profile && data_profile_covers(own->list[i].profile, uri))
            return &own->list[i];
    return NULL;
}

/* What is known only when the task runs is cut off, with its part of the path. */
static char *known_part(const char *url) {
    const char *token = strstr(url, "{{"), *end = token ? token : url + strlen(url);
    while (token && end > url && end[-1] != '/')
        end--;
    return strndup(url, (size_t)(end - url));
}

static int add_place(const struct submission *s, const struct credentials *own, struct places *p, const char *task, const char *url,
                     enum data_access access, osmo_error_t *err) {
    const struct pod_credential *c = url ? credential_of(own, url) : NULL;
    if (!c || !data_access_is_checked(s->settings, url, credentials_value(c, "override_url")))
        return 0;
    _cleanup_free_ char *uri = known_part(url);
    _cleanup_free_ char *key = uri ? str_printf("%d %s", access, uri) : NULL;
    if (!key)
        return no_memory(err);
    if (strlen(uri) < data_profile_len(url) || map_has(p->seen, key))
        return 0;
    if (p->n == PLACES_MAX) {
        p->more = true;
        return 0;
    }
    p->list[p->n++] = (struct place){ STEAL(uri), task, access };
    return map_set(p->seen, key, NULL) < 0 ? no_memory(err) : 0;
}

static int collect(const struct submission *s, const struct credentials *own, struct places *p, osmo_error_t *err) {
    int rc = 0;
    p->seen = map_new(NULL);
    if (!p->seen)
        return no_memory(err);
    for (size_t g = 0; g < s->spec->ngroups; g++)
        for (size_t t = 0; t < s->spec->groups[g].ntasks; t++) {
            const struct spec_task *task = &s->spec->groups[g].tasks[t];
            for (size_t i = 0; rc >= 0 && i < task->ninputs; i++)
                rc = add_place(s, own, p, task->name, task->inputs[i].url, DATA_READ, err);
            for (size_t i = 0; rc >= 0 && i < task->noutputs; i++)
                rc = add_place(s, own, p, task->name, task->outputs[i].url, DATA_WRITE, err);
        }
    return rc;
}

static int credentials_for(const struct credentials *own, data_credentials_t **out, osmo_error_t *err) {
    int rc = data_credentials_parse("", 0, out, err);
    for (size_t i = 0; rc >= 0 && i < own->n; i++) {
        const struct pod_credential *c = &own->list[i];
        const struct storage_login l = { credentials_value(c, "access_key_id"), credentials_value(c, "access_key"),
                                         credentials_value(c, "region"), credentials_value(c, "override_url"),
                                         credentials_value(c, "addressing_style") };
        if (c->profile && storage_login_add(*out, c->profile, &l) < 0)
            rc = no_memory(err);
    }
    return rc;
}

/* By whom and with what, of which nothing can be read from it. */
static char *question(const struct credentials *own, const struct place *p) {
    const struct pod_credential *c = credential_of(own, p->uri);
    const char *id = credentials_value(c, "access_key_id"), *key = credentials_value(c, "access_key");
    const char *where = credentials_value(c, "override_url");
    char hash[65];
    char *text = str_printf("%d\n%s\n%s\n%s\n%s", p->access, p->uri, id ? id : "", where ? where : "", key ? key : "");
    if (!text)
        return NULL;
    crypto_sha256_hex(text, strlen(text), hash);
    crypto_wipe(text, strlen(text));
    free(text);
    return str_printf("data %s", hash);
}

/* What was answered a moment ago is not asked again: sweeps are many submissions of the same. */
static int ask_one(engine_t *e, const struct credentials *own, const struct place *p, const data_credentials_t *c, int64_t deadline_us,
                   char why[DATA_WHY_MAX]) {
    _cleanup_free_ char *what = question(own, p);
    if (!what)
        return OSMO_ENOMEM;
    if (registry_knows(e, what))
        return 0;
    int rc = data_access_ask(c, p->uri, p->access, deadline_us, why);
    if (rc >= 0)
        registry_note(e, what);
    return rc;
}

/* Storage that cannot be asked is told of once. */
static int ask_all(struct submission *s, const struct credentials *own, const struct places *p, const data_credentials_t *c,
                   osmo_error_t *err) {
    int64_t deadline_us = clock_mono_us() + ASK_US;
    bool told = false;
    for (size_t i = 0; i < p->n; i++) {
        const struct place *one = &p->list[i];
        char why[DATA_WHY_MAX] = "";
        int rc = ask_one(s->e, own, one, c, deadline_us, why);
        if (rc == OSMO_ENOMEM)
            return no_memory(err);
        if (rc == OSMO_ECREDENTIAL)
            return osmo_error_set(err, rc, "task %s: your credential does not let you %s %s: %s; correct the address, or the "
                                  "credential (osmo credential set NAME --type DATA)", one->task,
                                  one->access == DATA_READ ? "read" : "write", one->uri, why);
        if (rc == OSMO_EUNAVAIL && !told) {
            _cleanup_free_ char *text = str_printf("storage was not asked whether task %s may %s %s: %s; that shows when the task starts",
                                                   one->task, one->access == DATA_READ ? "read" : "write", one->uri, why);
            if (!text || strlist_add(&s->warnings, text) < 0)
                return no_memory(err);
            told = true;
        }
    }
    if (p->more) {
        _cleanup_free_ char *text = str_printf("storage was asked for the first %d addresses only", PLACES_MAX);
        return text && strlist_add(&s->warnings, text) >= 0 ? 0 : no_memory(err);
    }
    return 0;
}

int submission_check_data(struct submission *s, osmo_error_t *err) {
    _cleanup_(credentials_wipe) struct credentials own = { 0 };
    _cleanup_(places_clear) struct places p = { 0 };
    data_credentials_t *c = NULL;
    db_t *db;
    bool any = false;
    for (size_t g = 0; g < s->spec->ngroups && !any; g++)
        for (size_t t = 0; t < s->spec->groups[g].ntasks && !any; t++) {
            const struct spec_task *task = &s->spec->groups[g].tasks[t];
            any = task->noutputs > 0;
            for (size_t i = 0; i < task->ninputs; i++)
                any = any || task->inputs[i].url;
        }
    if (!any)
        return 0;
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = credentials_open(s->e, db, s->rq->user, is_data, NULL, &own, err);
    if (rc >= 0 && own.n)
        rc = collect(s, &own, &p, err);
    if (rc >= 0 && p.n)
        rc = credentials_for(&own, &c, err);
    if (rc >= 0 && p.n)
        rc = ask_all(s, &own, &p, c, err);
    data_credentials_free(c);
    return rc;
}
