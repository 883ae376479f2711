/* The group-commit writer. A thread drains what is queued, runs it in one transaction, commits once and then reports in
 * order. A function that fails leaves no trace: each has a savepoint of its own. Savepoints are dear in an embedded database,
 * which keeps a copy of every page changed since, so there the batch runs without any first, and again with them when a
 * function fails that has written something. An embedded database has one thread; a server has
 * several, and there only functions of the same key share a transaction, because a lock held for another
 * workflow's sake could deadlock. */
#include "store/writer.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/cond.h"
#include "base/hash.h"
#include "base/queue.h"

#define QUEUE_MAX 65536
#define BATCH_MAX 512
#define RACE_ATTEMPTS 10             /* lost serialisation races of one transaction */
#define LOSS_PATIENCE_US 30000000    /* how long a batch waits for a lost server */
#define BACKOFF_FIRST_US 20000
#define BACKOFF_MAX_US 2000000

struct item {
    store_fn fn;
    void *fn_ctx;
    store_done_fn done;
    void *done_ctx;
    uint64_t hash;
    bool finished;      /* reported */
    int rc;
    osmo_error_t *err;  /* NULL: rc only */
    char key[];         /* "" = any */
};

struct writer {
    struct writers *all;
    db_t *db;
    queue_t *queue;
    pthread_t thread;
    bool started;
    unsigned seed;
};

struct writers {
    struct writer *list;
    size_t n;
    const logger_t *log;
    atomic_uint next;        /* where the next keyless item goes */
    pthread_mutex_t mutex;   /* guards closing, for the waits between attempts */
    pthread_cond_t wake;
    bool closing;
};

static _Thread_local bool on_writer;
bool writers_is_writer(void) { return on_writer; }

/* ---- items ---- */

static void item_free(struct item *it) {
    free(it->err);
    free(it);
}

static void item_result(struct item *it, int rc, const osmo_error_t *err) {
    it->rc = rc;
    free(it->err);
    it->err = NULL;
    if (rc < 0 && err && (it->err = malloc(sizeof(*it->err))))
        *it->err = *err;
}

static void report(struct item *it) {
    osmo_error_t bare = { .code = it->rc };
    if (it->rc < 0 && !it->err)
        osmo_error_set(&bare, it->rc, "%s", osmo_error_name(it->rc));
    it->finished = true;
    if (it->done)
        it->done(it->done_ctx, it->rc < 0 ? it->rc : 0, it->err ? it->err : &bare);
}

/* ---- one transaction ---- */

/* How much a function that fails can take back. */
enum care { CARE_NONE /* the transaction is its own */, CARE_CHANGES /* nothing, if it changed something */,
            CARE_SAVEPOINT };

/* A failing function leaves no trace. <0: the transaction itself is broken; 1: it has to run again with savepoints. */
static int run_item(struct writer *w, struct item *it, enum care care, osmo_error_t *err) {
    const struct db_driver *drv = w->db->drv;
    osmo_error_t mine = OSMO_ERROR_INIT;
    int rc = care == CARE_SAVEPOINT ? drv->savepoint(w->db, err) : 0;
    if (rc < 0)
        return rc;
    int64_t before = care == CARE_CHANGES ? drv->changes(w->db) : 0;
    db_forget_failure(w->db);
    int item_rc = it->fn(w->db, it->fn_ctx, &mine);
    if (item_rc >= 0 && care == CARE_SAVEPOINT && drv->settle)
        item_rc = drv->settle(w->db, &mine);
    /* A failed statement may have ended the whole transaction, so what follows must not go on as if it had not. */
    if (care == CARE_CHANGES && (w->db->failed || (item_rc < 0 && drv->changes(w->db) != before)))
        return 1;
    if (item_rc >= 0 && w->db->failed) /* it went on after a failed statement: half of it would be kept */
        item_rc = osmo_error_set(&mine, OSMO_EDATABASE, "a statement of a write failed");
    if (w->db->trouble != DB_FINE) {
        if (err)
            *err = mine;
        return mine.code < 0 ? mine.code : OSMO_EUNAVAIL;
    }
    db_forget_failure(w->db);
    item_result(it, item_rc < 0 ? item_rc : 0, &mine);
    if (care != CARE_SAVEPOINT)
        return 0;
    return item_rc < 0 ? drv->undo(w->db, err) : drv->release(w->db, err);
}

enum outcome { TX_FINISHED, TX_CAREFUL, TX_RACE, TX_LOST, TX_LOST_AT_COMMIT };

static void fail_all(struct item **items, size_t n, int rc, const osmo_error_t *err) {
    for (size_t i = 0; i < n; i++)
        item_result(items[i], rc < 0 ? rc : OSMO_EDATABASE, err);
}

static enum outcome trouble_of(const db_t *db) {
    return db->trouble == DB_LOST ? TX_LOST : db->trouble == DB_RETRY ? TX_RACE : TX_FINISHED;
}

/* Every item has its result when this returns TX_FINISHED. TX_CAREFUL: nothing happened, savepoints are needed. */
static enum outcome transact(struct writer *w, struct item **items, size_t n, bool careful, osmo_error_t *err) {
    const struct db_driver *drv = w->db->drv;
    enum care care = n == 1 ? CARE_NONE : careful ? CARE_SAVEPOINT : CARE_CHANGES;
    size_t good = 0;
    db_forget_failure(w->db);
    int rc = drv->begin(w->db, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = run_item(w, items[i], care, err);
        good += items[i]->rc >= 0;
    }
    if (rc > 0) {
        drv->rollback(w->db);
        return TX_CAREFUL;
    }
    if (rc == 0 && good) {
        rc = drv->commit(w->db, err);
        if (rc < 0 && w->db->trouble == DB_LOST)
            return TX_LOST_AT_COMMIT;
    }
    if (rc == 0 && good)
        return TX_FINISHED;
    enum outcome o = rc < 0 ? trouble_of(w->db) : TX_FINISHED;
    drv->rollback(w->db);
    if (rc < 0)
        fail_all(items, n, rc, err);
    return o;
}

/* ---- trying again ---- */

/* Waits with jitter, growing; false when the store is closing. */
static bool back_off(struct writer *w, int64_t *pause_us) {
    int64_t us = *pause_us / 2 + rand_r(&w->seed) % (*pause_us / 2 + 1);
    *pause_us = *pause_us * 2 > BACKOFF_MAX_US ? BACKOFF_MAX_US : *pause_us * 2;
    int64_t until = clock_mono_us() + us;
    pthread_mutex_lock(&w->all->mutex);
    while (!w->all->closing && cond_wait_until(&w->all->wake, &w->all->mutex, until))
        ;
    bool go_on = !w->all->closing;
    pthread_mutex_unlock(&w->all->mutex);
    return go_on;
}

/* The answer to COMMIT was lost: ask the server what became of it. true: it is settled, *committed says how. */
static bool settle_commit(struct writer *w, int64_t give_up_us, bool *committed, osmo_error_t *err) {
    int64_t pause_us = BACKOFF_FIRST_US;
    w->db->drv->rollback(w->db);
    for (;;) {
        db_forget_failure(w->db);
        int rc = w->db->drv->outcome(w->db, err);
        if (rc >= 0) {
            *committed = rc == 1;
            return true;
        }
        if (clock_mono_us() > give_up_us || !back_off(w, &pause_us))
            return false;
    }
}

static void log_loss(struct writer *w, bool *logged, const osmo_error_t *err) {
    if (!*logged)
        log_warning(w->all->log, "%s; writes wait for it", err->text);
    *logged = true;
}

static void forget_results(struct item **items, size_t n) {
    for (size_t i = 0; i < n; i++)
        item_result(items[i], 0, NULL);
}

/* Runs the items in a transaction until it is settled. */
static void run_transaction(struct writer *w, struct item **items, size_t n) {
    int64_t pause_us = BACKOFF_FIRST_US, give_up_us = clock_mono_us() + LOSS_PATIENCE_US;
    bool logged = false, careful = !w->db->drv->changes;
    for (unsigned races = 0;;) {
        osmo_error_t err = OSMO_ERROR_INIT;
        enum outcome o = transact(w, items, n, careful, &err);
        bool committed = false;
        if (o == TX_FINISHED)
            return;
        if (o == TX_CAREFUL) {
            careful = true;
            forget_results(items, n);
            continue;
        }
        if (o != TX_RACE)
            log_loss(w, &logged, &err);
        if (o == TX_LOST_AT_COMMIT) {
            if (!settle_commit(w, give_up_us, &committed, &err)) {
                fail_all(items, n, OSMO_EUNAVAIL, &err);
                return;
            }
            if (committed)
                return;
        }
        bool tired = o == TX_RACE ? ++races >= RACE_ATTEMPTS : clock_mono_us() > give_up_us;
        bool closing = !tired && !back_off(w, &pause_us);
        if (tired || (closing && o != TX_RACE)) { /* closing drains, but waits for no server */
            fail_all(items, n, OSMO_EUNAVAIL, &err);
            return;
        }
        forget_results(items, n);
    }
}

/* ---- the thread ---- */

static bool same_key(const struct item *a, const struct item *b) {
    return a->key[0] && a->hash == b->hash && strcmp(a->key, b->key) == 0;
}

static void run_and_report(struct writer *w, struct item **items, size_t n) {
    run_transaction(w, items, n);
    for (size_t i = 0; i < n; i++)
        report(items[i]);
}

/* A server: items of one key keep their order and share a transaction. */
static void run_by_key(struct writer *w, struct item **items, size_t n) {
    struct item *same[BATCH_MAX];
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        if (items[i]->finished)
            continue;
        same[k++] = items[i];
        for (size_t j = i + 1; j < n; j++) {
            if (!items[j]->finished && same_key(items[i], items[j]))
                same[k++] = items[j];
        }
        run_and_report(w, same, k);
    }
}

static void *writer_main(void *arg) {
    struct writer *w = arg;
    void *batch[BATCH_MAX];
    struct item *items[BATCH_MAX];
    size_t n;
    on_writer = true;
    pthread_setname_np(pthread_self(), "osmo-writer");
    while ((n = queue_pop_many(w->queue, batch, BATCH_MAX, -1)) > 0) {
        for (size_t i = 0; i < n; i++)
            items[i] = batch[i];
        if (w->db->drv->pgsql)
            run_by_key(w, items, n);
        else
            run_and_report(w, items, n);
        for (size_t i = 0; i < n; i++)
            item_free(items[i]);
    }
    return NULL;
}

/* ---- the whole ---- */

static uint64_t key_hash(const char *key) {
    uint64_t h = hash_bytes(HASH_START, key, strlen(key));
    return h ^ h >> 32;
}

int writers_post(writers_t *w, const char *key, store_fn fn, void *fn_ctx, store_done_fn done, void *done_ctx) {
    size_t len = key ? strlen(key) : 0;
    struct item *it = calloc(1, sizeof(*it) + len + 1);
    if (!it)
        return OSMO_ENOMEM;
    *it = (struct item){ .fn = fn, .fn_ctx = fn_ctx, .done = done, .done_ctx = done_ctx };
    if (len)
        memcpy(it->key, key, len);
    it->hash = len ? key_hash(it->key) : atomic_fetch_add(&w->next, 1);
    int rc = queue_push(w->list[it->hash % w->n].queue, it);
    if (rc < 0)
        item_free(it);
    return rc;
}

static int start_thread(struct writer *w) {
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->started = pthread_create(&w->thread, NULL, writer_main, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->started ? 0 : OSMO_EUNAVAIL;
}

static int writers_init(writers_t *w, db_t **connections, size_t n, const logger_t *log) {
    cond_init(&w->wake);
    pthread_mutex_init(&w->mutex, NULL);
    w->log = log;
    w->n = n;
    for (size_t i = 0; i < n; i++) {
        w->list[i] = (struct writer){ .all = w, .db = connections[i],
                                      .seed = (unsigned)(clock_mono_us() + (int64_t)i) };
        connections[i] = NULL;
    }
    for (size_t i = 0; i < n; i++) {
        w->list[i].queue = queue_new(QUEUE_MAX / n);
        if (!w->list[i].queue || start_thread(&w->list[i]) < 0)
            return OSMO_EUNAVAIL;
    }
    return 0;
}

int writers_start(db_t **connections, size_t n, const logger_t *log, writers_t **out, osmo_error_t *err) {
    writers_t *w = calloc(1, sizeof(*w));
    if (!w || !(w->list = calloc(n, sizeof(*w->list)))) {
        free(w);
        for (size_t i = 0; i < n; i++)
            connections[i]->drv->close(connections[i]);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    if (writers_init(w, connections, n, log) < 0) {
        writers_stop(w);
        return osmo_error_set(err, OSMO_EUNAVAIL, "cannot start the threads that write to the database");
    }
    *out = w;
    return 0;
}

void writers_stop(writers_t *w) {
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->closing = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    for (size_t i = 0; i < w->n; i++) {
        if (w->list[i].queue)
            queue_close(w->list[i].queue);
    }
    for (size_t i = 0; i < w->n; i++) {
        if (w->list[i].started)
            pthread_join(w->list[i].thread, NULL);
    }
    for (size_t i = 0; i < w->n; i++) { /* done functions may post to any queue until the last thread is gone */
        if (w->list[i].queue)
            queue_free(w->list[i].queue);
        w->list[i].db->drv->close(w->list[i].db);
    }
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w->list);
    free(w);
}
