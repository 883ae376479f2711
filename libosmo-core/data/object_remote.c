/* Objects in storage: s3, gs, azure, swift and tos URLs as stores of object_store.h, over the drivers of transfers.
 * An object is collected in memory up to a piece; more than that is sent in parts, and appears when they are put
 * together. */
#include "data/object_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "data/remote.h"
#include "data/session.h"

#define PIECE (8u << 20)
#define PIECE_LATER (64u << 20)  /* so that all parts of the largest object are few enough */
#define PIECES_SMALL 1000
#define PARTS_MAX 10000
#define CONNS_MAX 64
#define PATIENCE_MS 60000
#define READ_AHEAD (512u << 10)
#define TIDY_AGE_US (24 * 3600 * INT64_C(1000000))

struct remote_store {
    object_store_t base;
    data_session_t *session;
    data_credentials_t *credentials;
    struct remote *remote;
    pthread_mutex_t lock;        /* of which connections are in use */
    pthread_cond_t returned;
    bool used[CONNS_MAX];
};
struct remote_writer {
    object_writer_t base;
    struct remote_store *store;
    char *key, *data;
    size_t len, cap;
    char id[REMOTE_ID_MAX];      /* "" until the first part is sent */
    struct part *parts;
    size_t nparts;
};
struct remote_reader {
    object_reader_t base;
    struct remote_store *store;
    char *key, *ahead;
    struct remote_info info;
    uint64_t at;                 /* of what is read ahead */
    size_t have;
};

/* ---- the store ---- */

static int borrow(struct remote_store *s, size_t *i, struct data_conn **c, osmo_error_t *err) {
    pthread_mutex_lock(&s->lock);
    for (;;) {
        for (*i = 0; *i < CONNS_MAX && s->used[*i]; ++*i)
            ;
        if (*i < CONNS_MAX)
            break;
        pthread_cond_wait(&s->returned, &s->lock);
    }
    s->used[*i] = true;
    pthread_mutex_unlock(&s->lock);
    return session_conn(s->session, *i, c, err);
}

static void give_back(struct remote_store *s, size_t i) {
    pthread_mutex_lock(&s->lock);
    s->used[i] = false;
    pthread_cond_signal(&s->returned);
    pthread_mutex_unlock(&s->lock);
}

static void remote_store_close(object_store_t *base) {
    struct remote_store *s = (struct remote_store *)base;
    remote_close(s->remote);
    data_session_free(s->session);
    data_credentials_free(s->credentials);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->returned);
    free(s);
}

static int remote_store_open(const char *url, const struct object_options *o, object_store_t **out, osmo_error_t *err) {
    struct remote_store *s = calloc(1, sizeof *s);
    if (!s)
        return no_memory(err);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->returned, NULL);
    int rc = data_credentials_copy(o->credentials, &s->credentials, err);
    struct data_options options = { .credentials = s->credentials, .retry_for_ms = o->retry_for_ms ? o->retry_for_ms : PATIENCE_MS,
                                    .stall_ms = PATIENCE_MS };
    if (!rc)
        rc = data_session_new(&options, &s->session, err);
    if (!rc)
        rc = remote_open(s->session, url, &s->remote, err);
    if (rc < 0) {
        remote_store_close(&s->base);
        return rc == OSMO_EUSER ? osmo_error_set(err, OSMO_EINVAL, "%s", err ? err->text : "") : rc;
    }
    *out = &s->base;
    return 0;
}

/* ---- writing ---- */

static void writer_free(struct remote_writer *w) {
    free(w->key);
    free(w->data);
    free(w->parts);
    free(w);
}

static int remote_put(object_store_t *base, const char *name, object_writer_t **out, osmo_error_t *err) {
    struct remote_store *s = (struct remote_store *)base;
    struct remote_writer *w = calloc(1, sizeof *w);
    if (!w || !(w->key = remote_key(s->remote, name))) {
        free(w);
        return no_memory(err);
    }
    w->store = s;
    *out = &w->base;
    return 0;
}

static int sum_up(struct data_conn *c, const struct remote_store *s, struct source *src, osmo_error_t *err) {
    return digests_of(c, -1, src->memory, 0, src->len, !s->remote->signs_payload, s->remote->signs_payload, &src->sums, err);
}

static int send_part(struct remote_writer *w, struct data_conn *c, osmo_error_t *err) {
    struct remote *r = w->store->remote;
    struct source src = { .fd = -1, .memory = w->data, .len = w->len };
    int rc = 0;
    if (!w->parts && !(w->parts = calloc(PARTS_MAX, sizeof *w->parts)))
        return no_memory(err);
    if (w->nparts == PARTS_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "the object is too large");
    if (!w->id[0])
        rc = r->driver->begin(c, r, w->key, w->id, err);
    if (rc < 0) {
        w->id[0] = '\0';
        return rc;
    }
    rc = sum_up(c, w->store, &src, err);
    struct part *p = &w->parts[w->nparts];
    if (!rc)
        rc = r->driver->part(c, r, w->key, w->id, (unsigned)w->nparts + 1, &src, p->etag, err);
    if (rc < 0)
        return rc;
    p->number = (unsigned)++w->nparts;
    p->size = w->len;
    w->len = 0;
    return 0;
}

static int make_room(struct remote_writer *w, size_t max, size_t more) {
    size_t cap = w->cap ? w->cap : 64u << 10;
    while (cap < w->len + more && cap < max)
        cap *= 2;
    cap = cap < max ? cap : max;
    if (cap <= w->cap)
        return 0;
    char *data = realloc(w->data, cap);
    if (!data)
        return OSMO_ENOMEM;
    w->data = data;
    w->cap = cap;
    return 0;
}

static int flush(struct remote_writer *w, osmo_error_t *err) {
    struct data_conn *c;
    size_t i;
    int rc = borrow(w->store, &i, &c, err);
    if (!rc)
        rc = send_part(w, c, err);
    give_back(w->store, i);
    return rc;
}

static int remote_write(object_writer_t *base, const void *data, size_t len, osmo_error_t *err) {
    struct remote_writer *w = (struct remote_writer *)base;
    const char *p = data;
    while (len) {
        size_t max = w->nparts < PIECES_SMALL ? PIECE : PIECE_LATER;
        if (make_room(w, max, len) < 0)
            return no_memory(err);
        size_t n = max - w->len < len ? max - w->len : len;
        n = n < w->cap - w->len ? n : w->cap - w->len;
        memcpy(w->data + w->len, p, n);
        w->len += n;
        p += n;
        len -= n;
        int rc = w->len == max && len ? flush(w, err) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void remote_discard(object_writer_t *base) {
    struct remote_writer *w = (struct remote_writer *)base;
    struct remote *r = w->store->remote;
    struct data_conn *c;
    size_t i;
    if (w->id[0]) {
        if (borrow(w->store, &i, &c, NULL) == 0)
            (void)r->driver->abandon(c, r, w->key, w->id, NULL); /* what stays is tidied up later */
        give_back(w->store, i);
    }
    writer_free(w);
}

static int put_small(struct remote_writer *w, struct data_conn *c, osmo_error_t *err) {
    struct remote *r = w->store->remote;
    struct source src = { .fd = -1, .memory = w->data ? w->data : "", .len = w->len, .mode = 0600 };
    int rc = sum_up(c, w->store, &src, err);
    return rc ? rc : r->driver->put(c, r, w->key, &src, err);
}

static int remote_commit(object_writer_t *base, osmo_error_t *err) {
    struct remote_writer *w = (struct remote_writer *)base;
    struct remote *r = w->store->remote;
    struct data_conn *c;
    size_t i;
    int rc = borrow(w->store, &i, &c, err);
    if (!rc && !w->id[0])
        rc = put_small(w, c, err);
    else if (!rc) {
        rc = w->len ? send_part(w, c, err) : 0;
        if (!rc)
            rc = r->driver->finish(c, r, w->key, w->id, w->parts, w->nparts, err);
        if (!rc)
            w->id[0] = '\0';
    }
    give_back(w->store, i);
    if (rc < 0 && w->id[0])
        remote_discard(base);
    else
        writer_free(w);
    return rc;
}

/* ---- reading ---- */

static void remote_done(object_reader_t *base) {
    struct remote_reader *rd = (struct remote_reader *)base;
    free(rd->key);
    free(rd->ahead);
    free(rd);
}

static int remote_get(object_store_t *base, const char *name, object_reader_t **out, uint64_t *size, osmo_error_t *err) {
    struct remote_store *s = (struct remote_store *)base;
    struct remote_reader *rd = calloc(1, sizeof *rd);
    struct data_conn *c;
    size_t i;
    if (!rd || !(rd->key = remote_key(s->remote, name))) {
        free(rd);
        return no_memory(err);
    }
    rd->store = s;
    int rc = borrow(s, &i, &c, err);
    if (!rc)
        rc = s->remote->driver->stat(c, s->remote, rd->key, &rd->info, err);
    give_back(s, i);
    if (rc < 0) {
        remote_done(&rd->base);
        return rc;
    }
    *size = rd->info.size;
    *out = &rd->base;
    return 0;
}

static int fetch(struct remote_reader *rd, uint64_t offset, void *data, size_t len, osmo_error_t *err) {
    struct remote *r = rd->store->remote;
    struct sink s = { .fd = -1, .memory = data, .offset = offset, .len = len, .etag = rd->info.etag, .whole = len == rd->info.size };
    struct data_conn *c;
    size_t i;
    int rc = borrow(rd->store, &i, &c, err);
    if (!rc)
        rc = r->driver->get(c, r, rd->key, &s, err);
    give_back(rd->store, i);
    return rc;
}

/* Small pieces one after another are fetched together. */
static ssize_t remote_read(object_reader_t *base, uint64_t offset, void *data, size_t max, osmo_error_t *err) {
    struct remote_reader *rd = (struct remote_reader *)base;
    uint64_t left = offset < rd->info.size ? rd->info.size - offset : 0;
    size_t n = max < left ? max : (size_t)left;
    if (!n)
        return 0;
    if (n >= READ_AHEAD) {
        int rc = fetch(rd, offset, data, n, err);
        return rc < 0 ? rc : (ssize_t)n;
    }
    if (offset < rd->at || offset + n > rd->at + rd->have) {
        if (!rd->ahead && !(rd->ahead = malloc(READ_AHEAD)))
            return no_memory(err);
        rd->have = 0;
        size_t want = left < READ_AHEAD ? (size_t)left : READ_AHEAD;
        int rc = fetch(rd, offset, rd->ahead, want, err);
        if (rc < 0)
            return rc;
        rd->at = offset;
        rd->have = want;
    }
    memcpy(data, rd->ahead + (offset - rd->at), n);
    return (ssize_t)n;
}

/* ---- many ---- */

struct listing { size_t skip; object_list_fn fn; void *ctx; };

static int list_one(void *ctx, const struct remote_entry *e, osmo_error_t *err) {
    const struct listing *l = ctx;
    if (e->is_prefix || strlen(e->key) <= l->skip)
        return 0;
    return l->fn(l->ctx, e->key + l->skip, e->size, err);
}

static int remote_list(object_store_t *base, const char *prefix, object_list_fn fn, void *ctx, osmo_error_t *err) {
    struct remote_store *s = (struct remote_store *)base;
    _cleanup_free_ char *root = remote_key(s->remote, ""), *key = remote_key(s->remote, prefix);
    _cleanup_free_ char *below = key ? str_printf("%s/", key) : NULL;
    struct listing l = { 0, fn, ctx };
    struct data_conn *c;
    size_t i;
    if (!root || !below)
        return no_memory(err);
    l.skip = strlen(root) + (*root != '\0');
    int rc = borrow(s, &i, &c, err);
    if (!rc)
        rc = s->remote->driver->list(c, s->remote, below, false, list_one, &l, err);
    give_back(s, i);
    return rc;
}

static int remote_remove(object_store_t *base, const char *name, osmo_error_t *err) {
    struct remote_store *s = (struct remote_store *)base;
    _cleanup_free_ char *key = remote_key(s->remote, name);
    struct data_conn *c;
    size_t i;
    if (!key)
        return no_memory(err);
    int rc = borrow(s, &i, &c, err);
    if (!rc)
        rc = s->remote->driver->remove(c, s->remote, &key, 1, err);
    give_back(s, i);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static int remote_tidy(object_store_t *base, const char *prefix, osmo_error_t *err) {
    struct remote_store *s = (struct remote_store *)base;
    _cleanup_free_ char *key = remote_key(s->remote, prefix);
    _cleanup_free_ char *below = key ? str_printf("%s/", key) : NULL;
    struct data_conn *c;
    size_t i;
    if (!below)
        return no_memory(err);
    if (!s->remote->driver->tidy)
        return 0;
    int rc = borrow(s, &i, &c, err);
    if (!rc)
        rc = s->remote->driver->tidy(c, s->remote, below, clock_now_us() - TIDY_AGE_US, err);
    give_back(s, i);
    return rc;
}

#define REMOTE_DRIVER(name) \
    { \
        .scheme = name, .open = remote_store_open, .close = remote_store_close, .put = remote_put, .write = remote_write, \
        .commit = remote_commit, .discard = remote_discard, .get = remote_get, .read = remote_read, .done = remote_done, \
        .list = remote_list, .remove = remote_remove, .tidy = remote_tidy \
    }
const struct object_driver object_s3_driver = REMOTE_DRIVER("s3");
const struct object_driver object_gs_driver = REMOTE_DRIVER("gs");
const struct object_driver object_azure_driver = REMOTE_DRIVER("azure");
const struct object_driver object_swift_driver = REMOTE_DRIVER("swift");
const struct object_driver object_tos_driver = REMOTE_DRIVER("tos");
