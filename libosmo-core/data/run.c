/* Many files at once; see run.h. Threads, each with a blocking connection, rather than one loop over many: sums and TLS then use all
 * processors, a slow disk holds up one file only, and retrying is a loop. */
#include "data/run.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "data/session.h"

#define STACK_BYTES (1u << 20)
#define QUEUE_FOR_EACH 8
#define TICK_MS 100
#define PROGRESS_MS 250
#define ORPHANS_MAX 1000

struct orphan { struct orphan *next; char *key, *id; };
struct run {
    data_session_t *s;
    struct remote *remote;
    run_feed feed;
    void *feed_ctx;
    struct job *head, *tail;
    size_t queued;
    struct big *bigs;
    bool fed, over, cancelled;
    size_t idle, busy, alive, nthreads;
    pthread_t threads[REMOTE_CONNECTIONS_MAX];
    struct orphan *orphans;
    size_t norphans, failed, unfinished;
    osmo_error_t first;
    struct data_totals totals;
    struct data_progress seen;
    char current[256], last_parent[4096];
};
struct worker { struct run *run; size_t index; };

struct remote *run_remote(const struct run *run) { return run->remote; }

const struct data_options *run_options(const struct run *run) { return &run->s->o; }

/* With the lock held. What ended because all ends is no failure of its own. */
static void note_failure(struct run *run, const char *name, const osmo_error_t *err) {
    if (run->over || session_stopped(run->s)) {
        run->unfinished++;
        return;
    }
    run->failed++;
    if (name)
        osmo_error_set(&run->first, err->code < 0 ? err->code : OSMO_EINTERNAL, "%.300s: %.680s", name, err->text);
    else
        run->first = *err;
    if (run->first.code >= 0)
        run->first.code = OSMO_EINTERNAL;
    run->over = true;
}

/* Without the lock. After a failure, requests of other threads are cut off, so that nobody goes on waiting for storage in vain. */
static void leave(struct run *run) {
    pthread_mutex_lock(&run->s->lock);
    bool over = run->over;
    pthread_mutex_unlock(&run->s->lock);
    if (over)
        session_stop(run->s);
}

/* ---- workers ---- */

static struct big *big_with_work(const struct run *run) {
    for (struct big *b = run->bigs; b; b = b->next)
        if (b->taken < b->nparts)
            return b;
    return NULL;
}

static void unlink_big(struct run *run, struct big *b) {
    for (struct big **p = &run->bigs; *p; p = &(*p)->next)
        if (*p == b) {
            *p = b->next;
            return;
        }
}

/* With the lock held before and after. */
static void work_on_part(struct run *run, struct data_conn *c, struct big *b) {
    osmo_error_t err = OSMO_ERROR_INIT;
    unsigned i = b->taken++;
    pthread_mutex_unlock(&run->s->lock);
    int rc = b->part(run, c, b, i, &err);
    pthread_mutex_lock(&run->s->lock);
    if (rc < 0) {
        note_failure(run, b->name, &err);
        return;
    }
    if (++b->done < b->nparts)
        return;
    unlink_big(run, b);
    pthread_mutex_unlock(&run->s->lock);
    rc = b->finish(run, c, b, &err);
    pthread_mutex_lock(&run->s->lock);
    if (rc > 0) { /* once more, all of it */
        b->taken = b->done = 0;
        b->next = run->bigs;
        run->bigs = b;
        pthread_cond_broadcast(&run->s->changed);
        return;
    }
    if (rc < 0)
        note_failure(run, b->name, &err);
    pthread_mutex_unlock(&run->s->lock);
    b->free(run, b);
    pthread_mutex_lock(&run->s->lock);
}

static void work_on_job(struct run *run, struct data_conn *c) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct job *j = run->head;
    run->head = j->next;
    if (!run->head)
        run->tail = NULL;
    run->queued--;
    snprintf(run->current, sizeof run->current, "%s", j->name);
    if (run->queued == (size_t)run->s->o.connections * QUEUE_FOR_EACH / 2) /* not for every single one: waking costs more than that */
        pthread_cond_signal(&run->s->room);
    pthread_mutex_unlock(&run->s->lock);
    int rc = j->work(run, c, j, &err);
    pthread_mutex_lock(&run->s->lock);
    if (rc < 0)
        note_failure(run, j->name, &err);
    j->free(j);
}

static void *worker_main(void *arg) {
    struct worker w = *(struct worker *)arg;
    struct run *run = w.run;
    struct data_conn *c = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    free(arg);
    int rc = session_conn(run->s, w.index, &c, &err);
    pthread_mutex_lock(&run->s->lock);
    if (rc < 0)
        note_failure(run, NULL, &err);
    while (!rc && !run->over && !session_stopped(run->s)) {
        struct big *b = big_with_work(run);
        if (b || run->head) {
            run->busy++;
            if (b)
                work_on_part(run, c, b);
            else
                work_on_job(run, c);
            run->busy--;
        } else if (run->fed && !run->busy) {
            break;
        } else {
            run->idle++;
            pthread_cond_wait(&run->s->changed, &run->s->lock);
            run->idle--;
        }
    }
    if (--run->alive == 0)
        pthread_cond_signal(&run->s->ended);
    pthread_cond_broadcast(&run->s->changed);
    pthread_mutex_unlock(&run->s->lock);
    leave(run);
    return NULL;
}

static int start_thread(struct run *run, void *(*main)(void *), void *arg) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int rc = pthread_create(&run->threads[run->nthreads], &attr, main, arg);
    pthread_attr_destroy(&attr);
    if (rc)
        return OSMO_ENOMEM;
    run->nthreads++;
    run->alive++;
    return 0;
}

/* With the lock held: somebody must be there to take one more thing. */
static int call_worker(struct run *run, osmo_error_t *err) {
    if (run->idle) {
        pthread_cond_signal(&run->s->changed);
        return 0;
    }
    if (run->nthreads > (size_t)run->s->o.connections) /* the feeder is one of them */
        return 0;
    struct worker *w = malloc(sizeof *w);
    if (!w)
        return no_memory(err);
    *w = (struct worker){ run, run->nthreads };
    if (start_thread(run, worker_main, w) == 0)
        return 0;
    free(w);
    return run->nthreads > 1 ? 0 : osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: too many processes or too little memory");
}

/* ---- what is to be done ---- */

int run_push(struct run *run, struct job *j, uint64_t size, osmo_error_t *err) {
    size_t max = (size_t)run->s->o.connections * QUEUE_FOR_EACH;
    pthread_mutex_lock(&run->s->lock);
    bool full = run->queued >= max;
    while (full && run->queued > max / 2 && !run->over && !session_stopped(run->s))
        pthread_cond_wait(&run->s->room, &run->s->lock);
    int rc = run->over || session_stopped(run->s) ? session_cancelled(err) : call_worker(run, err);
    if (!rc) {
        j->next = NULL;
        if (run->tail)
            run->tail->next = j;
        else
            run->head = j;
        run->tail = j;
        run->queued++;
        run->seen.files_total++;
        run->seen.bytes_total += size;
    }
    pthread_mutex_unlock(&run->s->lock);
    if (rc < 0)
        j->free(j);
    return rc;
}

int run_push_big(struct run *run, struct big *b, osmo_error_t *err) {
    int rc = 0;
    pthread_mutex_lock(&run->s->lock);
    b->next = run->bigs;
    run->bigs = b;
    for (unsigned i = 1; !rc && i < b->nparts && i < (unsigned)run->s->o.connections; i++)
        rc = call_worker(run, err);
    pthread_cond_broadcast(&run->s->changed);
    pthread_mutex_unlock(&run->s->lock);
    return rc;
}

void run_count(struct run *run, const char *name, uint64_t carried, bool skipped) {
    (void)name;
    pthread_mutex_lock(&run->s->lock);
    run->seen.files_done++;
    run->totals.skipped += skipped;
    run->totals.files += !skipped;
    run->totals.bytes += carried;
    pthread_mutex_unlock(&run->s->lock);
}

void run_bytes(struct run *run, uint64_t bytes) {
    pthread_mutex_lock(&run->s->lock);
    run->seen.bytes_done += bytes;
    pthread_mutex_unlock(&run->s->lock);
}

void run_orphan(struct run *run, const char *key, const char *id) {
    struct orphan *o = calloc(1, sizeof *o);
    if (o && (o->key = strdup(key)) && (o->id = strdup(id))) {
        pthread_mutex_lock(&run->s->lock);
        o->next = run->orphans;
        run->orphans = o;
        run->norphans++;
        pthread_mutex_unlock(&run->s->lock);
        return;
    }
    if (o)
        free(o->key);
    free(o);
}

int run_make_parent(struct run *run, const char *path, osmo_error_t *err) {
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (!n || n >= sizeof run->last_parent)
        return n ? osmo_error_set(err, OSMO_ELIMIT, "the path is too long") : 0;
    pthread_mutex_lock(&run->s->lock);
    bool there = strlen(run->last_parent) == n && !memcmp(run->last_parent, path, n);
    pthread_mutex_unlock(&run->s->lock);
    if (there)
        return 0;
    _cleanup_free_ char *dir = strndup(path, n);
    int rc = dir ? dir_make(dir, 0777, err) : no_memory(err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&run->s->lock);
    memcpy(run->last_parent, dir, n + 1);
    pthread_mutex_unlock(&run->s->lock);
    return 0;
}

/* ---- the whole ---- */

static void *feeder_main(void *arg) {
    struct run *run = arg;
    struct data_conn *c = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = session_conn(run->s, 0, &c, &err);
    if (!rc)
        rc = run->feed(run, c, run->feed_ctx, &err);
    pthread_mutex_lock(&run->s->lock);
    if (rc < 0)
        note_failure(run, NULL, &err);
    run->fed = true;
    if (--run->alive == 0)
        pthread_cond_signal(&run->s->ended);
    pthread_cond_broadcast(&run->s->changed);
    pthread_mutex_unlock(&run->s->lock);
    leave(run);
    return NULL;
}

static void show(struct run *run, bool listing) {
    struct data_progress p;
    char current[sizeof run->current];
    if (!run->s->o.progress)
        return;
    pthread_mutex_lock(&run->s->lock);
    p = run->seen;
    for (size_t i = 0; i < REMOTE_CONNECTIONS_MAX; i++)
        if (run->s->conns[i])
            p.bytes_done += atomic_load_explicit(&run->s->conns[i]->in_flight, memory_order_relaxed);
    memcpy(current, run->current, sizeof current);
    pthread_mutex_unlock(&run->s->lock);
    p.current = current;
    p.listing = listing;
    if (p.bytes_done > p.bytes_total && !listing)
        p.bytes_done = p.bytes_total;
    pthread_mutex_lock(&run->s->callbacks);
    run->s->o.progress(run->s->o.ctx, &p);
    pthread_mutex_unlock(&run->s->callbacks);
}

static bool asked_to_end(struct run *run) {
    if (!run->s->o.cancelled)
        return false;
    pthread_mutex_lock(&run->s->callbacks);
    bool yes = run->s->o.cancelled(run->s->o.ctx);
    pthread_mutex_unlock(&run->s->callbacks);
    return yes;
}

static void watch(struct run *run) {
    int64_t shown = clock_mono_us();
    pthread_mutex_lock(&run->s->lock);
    while (run->alive) {
        if (cond_wait_until(&run->s->ended, &run->s->lock, clock_mono_us() + TICK_MS * 1000))
            continue;
        bool listing = !run->fed;
        pthread_mutex_unlock(&run->s->lock);
        if (!run->cancelled && asked_to_end(run)) {
            run->cancelled = true;
            session_stop(run->s);
        }
        if (clock_mono_us() - shown >= PROGRESS_MS * 1000) {
            show(run, listing);
            shown = clock_mono_us();
        }
        pthread_mutex_lock(&run->s->lock);
    }
    pthread_mutex_unlock(&run->s->lock);
}

/* Connections that were cancelled are of no more use. */
static void refresh(data_session_t *s) {
    if (!atomic_load(&s->stop))
        return;
    session_drop_conns(s);
    atomic_store(&s->stop, false);
}

static void forget_orphans(struct run *run) {
    struct data_conn *c = NULL;
    size_t n = 0;
    for (struct orphan *o = run->orphans, *next; o; o = next) {
        next = o->next;
        if (n++ < ORPHANS_MAX && (c || session_conn(run->s, 0, &c, NULL) == 0) &&
            run->remote->driver->abandon(c, run->remote, o->key, o->id, NULL) < 0)
            n = ORPHANS_MAX; /* it does not answer */
        free(o->key);
        free(o->id);
        free(o);
    }
}

static void drop_rest(struct run *run) {
    for (struct job *j = run->head, *next; j; j = next) {
        next = j->next;
        run->unfinished++;
        j->free(j);
    }
    for (struct big *b = run->bigs, *next; b; b = next) {
        next = b->next;
        b->free(run, b);
    }
}

static int outcome(struct run *run, osmo_error_t *err) {
    if (run->cancelled && !run->failed)
        return session_cancelled(err);
    if (!run->failed)
        return 0;
    if (!run->unfinished)
        return osmo_error_set(err, run->first.code, "%s", run->first.text);
    return osmo_error_set(err, run->first.code, "%.880s (%llu files done, at least %zu not)", run->first.text,
                          (unsigned long long)run->seen.files_done, run->failed + run->unfinished);
}

int run_all(data_session_t *s, struct remote *r, run_feed feed, void *ctx, struct data_totals *totals, osmo_error_t *err) {
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return no_memory(err);
    refresh(s);
    run->s = s;
    run->remote = r;
    run->feed = feed;
    run->feed_ctx = ctx;
    pthread_mutex_lock(&s->lock);
    int rc = start_thread(run, feeder_main, run);
    pthread_mutex_unlock(&s->lock);
    if (rc < 0) {
        free(run);
        return osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: too many processes or too little memory");
    }
    watch(run);
    for (size_t i = 0; i < run->nthreads; i++)
        pthread_join(run->threads[i], NULL);
    drop_rest(run);
    refresh(s);
    forget_orphans(run);
    rc = outcome(run, err);
    if (!rc && run->seen.files_total)
        show(run, false);
    if (totals)
        *totals = run->totals;
    free(run);
    return rc;
}
