/* Opening and closing a store, and the read connection each thread gets. The rest of store/ is reached through
 * what this opens. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "store/driver.h"
#include "store/writer.h"

#define PGSQL_WRITERS 8
#define WRITERS_MAX 64
#define READERS_MAX 1024

struct reader { db_t *db; struct store *store; struct reader *next; };

struct store {
    const struct db_driver *drv;
    char *url;
    logger_t log;
    int lock_fd;
    writers_t *writers;
    pthread_key_t key;       /* this thread's struct reader */
    bool have_key;
    pthread_mutex_t mutex;   /* guards the list of readers */
    struct reader *readers;
    size_t n_readers;
};

static struct db_target target_of(const store_t *s) { return (struct db_target){ .url = s->url, .log = &s->log }; }

/* ---- opening ---- */

/* What may be shown of a URL: no user, no password, no options. */
static char *shown_url(const char *url) {
    const char *at = strstr(url, "://");
    if (!at)
        return str_dup(url);
    const char *host = strrchr(at + 3, '@');
    host = host ? host + 1 : at + 3;
    return str_printf("%.*s%.*s", (int)(at + 3 - url), url, (int)strcspn(host, "?"), host);
}

static const struct db_driver *driver_for(const char *url) {
    if (url && str_starts(url, "sqlite:") && url[strlen("sqlite:")])
        return &db_sqlite;
    if (url && (str_starts(url, "postgresql://") || str_starts(url, "postgres://")))
        return &db_pgsql;
    return NULL;
}

static void close_connections(db_t **list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (list[i])
            list[i]->drv->close(list[i]);
    }
}

static int start_writers(store_t *s, const struct store_options *o, osmo_error_t *err) {
    int wanted = o->writers;
    db_t *list[WRITERS_MAX] = { NULL };
    struct db_target t = target_of(s);
    size_t n = !s->drv->pgsql ? 1 : wanted <= 0 ? PGSQL_WRITERS : wanted > WRITERS_MAX ? WRITERS_MAX : (size_t)wanted;
    _cleanup_free_ char *shown = shown_url(s->url);
    int rc = shown ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = s->drv->open(&t, true, &list[i], err);
        if (rc == 0 && i == 0)
            rc = store_migrate(list[0], shown, err);
    }
    if (rc < 0) {
        close_connections(list, n);
        return rc;
    }
    return writers_start(list, n, &s->log, &s->writers, err);
}

static void reader_gone(void *arg);

static int open_parts(store_t *s, const struct store_options *o, osmo_error_t *err) {
    struct db_target t = target_of(s);
    if (pthread_key_create(&s->key, reader_gone) != 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "too many stores are open in this process");
    s->have_key = true;
    int rc = s->drv->own ? s->drv->own(&t, &s->lock_fd, err) : 0;
    return rc < 0 ? rc : start_writers(s, o, err);
}

int store_open(const struct store_options *o, store_t **out, osmo_error_t *err) {
    *out = NULL;
    const struct db_driver *drv = driver_for(o->url);
    if (!drv)
        return osmo_error_set(err, OSMO_EINVAL, "the database URL must be sqlite:PATH or postgresql://HOST/NAME");
    store_t *s = calloc(1, sizeof(*s));
    if (!s || !(s->url = str_dup(o->url))) {
        free(s);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    s->drv = drv;
    s->lock_fd = -1;
    if (o->log)
        s->log = *o->log;
    pthread_mutex_init(&s->mutex, NULL);
    int rc = open_parts(s, o, err);
    if (rc < 0) {
        store_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

/* Nobody may use the store any more, and threads that read from it are either gone or stay for good. */
void store_close(store_t *s) {
    if (!s)
        return;
    writers_stop(s->writers);
    if (s->have_key)
        pthread_key_delete(s->key);
    while (s->readers) {
        struct reader *r = s->readers;
        s->readers = r->next;
        r->db->drv->close(r->db);
        free(r);
    }
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->mutex);
    free(s->url);
    free(s);
}

bool store_is_pgsql(const store_t *s) { return s->drv->pgsql; }

/* ---- reading ---- */

/* A thread ended: its connection goes with it. */
static void reader_gone(void *arg) {
    struct reader *r = arg;
    struct store *s = r->store;
    pthread_mutex_lock(&s->mutex);
    for (struct reader **p = &s->readers; *p; p = &(*p)->next) {
        if (*p == r) {
            *p = r->next;
            s->n_readers--;
            break;
        }
    }
    pthread_mutex_unlock(&s->mutex);
    r->db->drv->close(r->db);
    free(r);
}

static int reader_new(store_t *s, struct reader **out, osmo_error_t *err) {
    struct db_target t = target_of(s);
    struct reader *r = calloc(1, sizeof(*r));
    if (!r)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    r->store = s;
    int rc = s->drv->open(&t, false, &r->db, err);
    if (rc < 0) {
        free(r);
        return rc;
    }
    pthread_mutex_lock(&s->mutex);
    bool full = s->n_readers >= READERS_MAX;
    if (!full) {
        r->next = s->readers;
        s->readers = r;
        s->n_readers++;
    }
    pthread_mutex_unlock(&s->mutex);
    if (full) {
        r->db->drv->close(r->db);
        free(r);
        return osmo_error_set(err, OSMO_EBUSY, "more than %d threads read from the database", READERS_MAX);
    }
    *out = r;
    return 0;
}

int store_reader(store_t *s, db_t **out, osmo_error_t *err) {
    struct reader *r = pthread_getspecific(s->key);
    *out = NULL;
    if (!r) {
        int rc = reader_new(s, &r, err);
        if (rc < 0)
            return rc;
        if (pthread_setspecific(s->key, r) != 0) {
            reader_gone(r);
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        }
    }
    *out = r->db;
    return 0;
}

/* ---- writing ---- */

int store_post(store_t *s, const char *key, store_fn fn, store_done_fn done, void *ctx) {
    return writers_post(s->writers, key, fn, ctx, done, ctx);
}

/* A semaphore and not a condition: the writer wakes many, one after another, and none of them should find it still holding
 * a lock. */
struct waiter {
    sem_t finished;
    int rc;
    osmo_error_t *err;
};

static void waiter_done(void *ctx, int rc, const osmo_error_t *err) {
    struct waiter *w = ctx;
    w->rc = rc;
    if (rc < 0 && w->err)
        *w->err = *err;
    sem_post(&w->finished); /* the waiter's stack frame may end right after it */
}

static int post_error(int rc, osmo_error_t *err) {
    switch (rc) {
    case OSMO_EBUSY: return osmo_error_set(err, rc, "too many writes are waiting for the database: try again later");
    case OSMO_EUNAVAIL: return osmo_error_set(err, rc, "the store is closing");
    default: return osmo_error_set(err, rc, "%s", osmo_error_name(rc));
    }
}

int writers_write(writers_t *writers, const char *key, store_fn fn, void *ctx, osmo_error_t *err) {
    struct waiter w = { .err = err };
    if (writers_is_writer())
        return osmo_error_set(err, OSMO_EINTERNAL, "a writer thread cannot wait for a write");
    sem_init(&w.finished, 0, 0);
    int rc = writers_post(writers, key, fn, ctx, waiter_done, &w);
    if (rc < 0) {
        rc = post_error(rc, err);
    } else {
        while (sem_wait(&w.finished) < 0 && errno == EINTR)
            ;
        rc = w.rc;
    }
    sem_destroy(&w.finished);
    return rc;
}

int store_write(store_t *s, const char *key, store_fn fn, void *ctx, osmo_error_t *err) {
    return writers_write(s->writers, key, fn, ctx, err);
}

int store_more_writers(store_t *s, size_t n, writers_t **out, osmo_error_t *err) {
    db_t *list[WRITERS_MAX] = { NULL };
    struct db_target t = target_of(s);
    int rc = 0;
    n = n < WRITERS_MAX ? n : WRITERS_MAX;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = s->drv->open(&t, true, &list[i], err);
    if (rc < 0) {
        close_connections(list, n);
        return rc;
    }
    return writers_start(list, n, &s->log, out, err);
}
