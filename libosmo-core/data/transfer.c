/* What other layers ask for: uploads, downloads, lists, removals, checks of access; see transfer.h. */
#include "data/transfer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"
#include "data/files.h"
#include "data/session.h"

static int compile(const char *regex, re_t **out, osmo_error_t *err) {
    *out = NULL;
    return regex && *regex ? re_compile(regex, out, err) : 0;
}

/* An object that bears the URI's own name is all there is; otherwise what is below it. */
int each_object(struct remote *r, struct data_conn *c, bool deep, remote_entry_fn fn, void *ctx, size_t *skip, osmo_error_t *err) {
    struct remote_info info;
    osmo_error_t why = OSMO_ERROR_INIT;
    const char *path = r->driver->keyed ? r->uri.path : "";
    bool file = r->uri.scheme == DATA_FILE;
    if (*path && deep) {
        int rc = r->driver->stat(c, r, path, &info, &why);
        if (!rc) {
            struct remote_entry e = { .key = path, .etag = info.etag, .md5 = *info.md5 ? info.md5 : NULL,
                                      .size = info.size, .modified_us = info.modified_us, .mode = info.mode };
            const char *slash = strrchr(path, '/');
            *skip = slash ? (size_t)(slash - path) + 1 : 0;
            rc = fn(ctx, &e, err);
            return rc > 0 ? 0 : rc;
        }
        /* who may list but not read, and buckets elsewhere, answer a HEAD with little: the list tells more */
        if (rc != OSMO_ENOTFOUND && rc != OSMO_EDENIED && rc != OSMO_EIO)
            return osmo_error_set(err, rc, "%s", why.text);
    }
    _cleanup_free_ char *prefix = str_printf("%s%s", path, *path && !file ? "/" : "");
    if (!prefix)
        return no_memory(err);
    *skip = strlen(prefix) + (file && !str_eq(path, "/"));
    return r->driver->list(c, r, prefix, deep, fn, ctx, err);
}

/* ---- uploads ---- */

static int publish_feed(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err) {
    struct remote *r = run_remote(run);
    (void)ctx;
    return r->driver->publish(c, r, err);
}

static int upload(data_session_t *s, const char *uri, struct upload_source *source, struct data_totals *totals, osmo_error_t *err) {
    _cleanup_(remote_closep) struct remote *r = NULL;
    struct data_totals mine = { 0 };
    int rc = remote_open(s, uri, &r, err);
    if (!rc)
        rc = run_all(s, r, upload_feed, source, &mine, err);
    if (!rc && r->driver->publish && mine.files)
        rc = run_all(s, r, publish_feed, NULL, NULL, err);
    if (totals)
        *totals = mine;
    return rc;
}

int data_upload(data_session_t *s, const char *uri, const char *const *paths, size_t npaths, const char *regex, struct data_totals *totals,
                osmo_error_t *err) {
    struct upload_source source = { .paths = paths, .npaths = npaths };
    int rc = compile(regex, &source.re, err);
    if (!rc)
        rc = upload(s, uri, &source, totals, err);
    re_free(source.re);
    return rc;
}

int data_upload_files(data_session_t *s, const char *uri, const struct data_file *files, size_t n,
                      int (*open)(void *ctx, size_t i), void *ctx,
                      struct data_totals *totals, osmo_error_t *err) {
    struct upload_source source = { .files = files, .nfiles = n, .open = open, .ctx = ctx };
    return upload(s, uri, &source, totals, err);
}

/* ---- downloads ---- */

int data_download(data_session_t *s, const char *uri, const char *regex, const char *folder, bool resume, struct data_totals *totals,
                  osmo_error_t *err) {
    _cleanup_(remote_closep) struct remote *r = NULL;
    struct download d = { .folder = folder, .resume = resume };
    if (totals)
        memset(totals, 0, sizeof *totals);
    int rc = compile(regex, &d.re, err);
    if (!rc)
        rc = remote_open(s, uri, &r, err);
    if (!rc)
        rc = run_all(s, r, download_feed, &d, totals, err);
    re_free(d.re);
    return rc;
}

/* ---- lists ---- */

struct listing {
    data_session_t *s;
    re_t *re;
    int (*fn)(void *ctx, const struct data_object *o);
    void *ctx;
    size_t skip, told;
};

static int list_one(void *ctx, const struct remote_entry *e, osmo_error_t *err) {
    struct listing *l = ctx;
    size_t n = strlen(e->key);
    if (n <= l->skip)
        return 0;
    struct data_object o = { .key = e->key, .relative = e->key + l->skip, .size = e->size, .modified_us = e->modified_us, .etag = e->etag,
                             .is_prefix = e->is_prefix };
    if (l->re && !re_match_start(l->re, o.relative, strlen(o.relative)))
        return 0;
    l->told++;
    pthread_mutex_lock(&l->s->callbacks);
    int rc = l->fn(l->ctx, &o);
    pthread_mutex_unlock(&l->s->callbacks);
    return rc < 0 ? osmo_error_set(err, rc, "the list was ended") : 0;
}

static int list_feed(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err) {
    struct listing *l = ctx;
    return each_object(run_remote(run), c, false, list_one, l, &l->skip, err);
}

static int list_deep_feed(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err) {
    struct listing *l = ctx;
    return each_object(run_remote(run), c, true, list_one, l, &l->skip, err);
}

int data_list(data_session_t *s, const char *uri, const char *regex, bool recursive,
              int (*fn)(void *ctx, const struct data_object *o), void *ctx,
              osmo_error_t *err) {
    _cleanup_(remote_closep) struct remote *r = NULL;
    struct listing l = { .s = s, .fn = fn, .ctx = ctx };
    int rc = compile(regex, &l.re, err);
    if (!rc)
        rc = remote_open(s, uri, &r, err);
    if (!rc)
        rc = run_all(s, r, recursive ? list_deep_feed : list_feed, &l, NULL, err);
    if (!rc && !recursive && !l.told && r->driver->keyed && *r->uri.path) /* it may name an object */
        rc = run_all(s, r, list_deep_feed, &l, NULL, err);
    re_free(l.re);
    return rc;
}

/* ---- removals ---- */

struct removing { struct run *run; re_t *re; size_t skip; struct batch *batch; };
struct batch { struct job job; char **keys; size_t n, max; };

static void batch_free(struct job *job) {
    struct batch *b = (struct batch *)job;
    for (size_t i = 0; i < b->n; i++)
        free(b->keys[i]);
    free(b->keys);
    free(b->job.name);
    free(b);
}

static int batch_work(struct run *run, struct data_conn *c, struct job *job, osmo_error_t *err) {
    struct batch *b = (struct batch *)job;
    struct remote *r = run_remote(run);
    int rc = r->driver->remove(c, r, b->keys, b->n, err);
    for (size_t i = 0; !rc && i < b->n; i++)
        run_count(run, b->job.name, 0, false);
    return rc;
}

static int push_batch(struct removing *d, osmo_error_t *err) {
    struct batch *b = STEAL(d->batch);
    return b ? run_push(d->run, &b->job, 0, err) : 0;
}

static int remove_found(void *ctx, const struct remote_entry *e, osmo_error_t *err) {
    struct removing *d = ctx;
    size_t max = run_remote(d->run)->driver->delete_batch;
    if (e->is_prefix || strlen(e->key) < d->skip || (d->re && !re_match_start(d->re, e->key + d->skip, strlen(e->key + d->skip))))
        return 0;
    if (!d->batch) {
        struct batch *b = calloc(1, sizeof *b);
        if (!b || !(b->keys = calloc(max, sizeof *b->keys)) || !(b->job.name = str_dup("removing"))) {
            if (b)
                free(b->keys);
            free(b);
            return no_memory(err);
        }
        b->job.work = batch_work;
        b->job.free = batch_free;
        d->batch = b;
    }
    if (!(d->batch->keys[d->batch->n] = strdup(e->key)))
        return no_memory(err);
    return ++d->batch->n == max ? push_batch(d, err) : 0;
}

static int remove_feed(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err) {
    struct removing *d = ctx;
    d->run = run;
    int rc = each_object(run_remote(run), c, true, remove_found, d, &d->skip, err);
    if (!rc)
        rc = push_batch(d, err);
    if (d->batch)
        batch_free(&STEAL(d->batch)->job);
    return rc;
}

int data_delete(data_session_t *s, const char *uri, const char *regex, struct data_totals *totals, osmo_error_t *err) {
    _cleanup_(remote_closep) struct remote *r = NULL;
    struct removing d = { 0 };
    if (totals)
        memset(totals, 0, sizeof *totals);
    int rc = compile(regex, &d.re, err);
    if (!rc)
        rc = remote_open(s, uri, &r, err);
    if (!rc)
        rc = run_all(s, r, remove_feed, &d, totals, err);
    re_free(d.re);
    return rc;
}

/* ---- access ---- */

struct checking { enum data_access access; };

static int check_feed(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err) {
    struct checking *k = ctx;
    struct remote *r = run_remote(run);
    return r->driver->check(c, r, k->access, err);
}

int data_check(data_session_t *s, const char *uri, enum data_access access, osmo_error_t *err) {
    _cleanup_(remote_closep) struct remote *r = NULL;
    struct checking k = { access };
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = remote_open(s, uri, &r, &why);
    if (!rc)
        rc = run_all(s, r, check_feed, &k, NULL, &why);
    return rc < 0 ? osmo_error_set(err, rc == OSMO_ECREDENTIAL ? OSMO_EDENIED : rc, "%s", why.text) : 0;
}
