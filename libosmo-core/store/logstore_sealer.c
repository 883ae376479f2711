/* The thread that compresses segments which are full, or whose log has ended. It is told of logs that may have some, works with
 * low priority and gives way to whoever removes a log. What it does not come to is found again when the log is loaded the next
 * time. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "store/logstore_file.h"

#define WAITING_MAX 4096
#define NICE 10

struct log_sealer {
    struct log_files *files;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    strlist_t waiting;
    char *busy;            /* the log that is looked at */
    _Atomic bool cancelled;
    bool stop, started;
    struct log_limits limits;
};

/* The next segment of the log that is worth it; 1, 0 = none. The sealed ones come first. */
static int find_job(struct wlog *w, const struct log_limits *l, struct seal_job *j) {
    size_t i = 0;
    while (i < w->nsegments && w->segments[i].sealed)
        i++;
    bool last = i + 1 == w->nsegments;
    if (i == w->nsegments || !w->segments[i].records || (last && (!w->ended || w->segments[i].bytes < l->seal_from)))
        return 0;
    j->number = i;
    j->segment = w->segments[i];
    j->ended = last;
    j->limits = *l;
    return 1;
}

static int seal_next(struct log_sealer *s, const char *id, osmo_error_t *err) {
    struct log_limits limits = sealer_get_limits(s);
    struct seal_job j = { .id = id, .cancelled = &s->cancelled };
    struct wlog *w = NULL;
    int rc = log_files_hold(s->files, id, false, &w, err);
    if (rc < 0)
        return rc;
    j.dir_fd = w->dir_fd;
    rc = find_job(w, &limits, &j);
    if (rc == 1) {
        pthread_mutex_unlock(&w->mutex); /* the log stays: we are one of its users */
        rc = seal_write(&j, err);
        pthread_mutex_lock(&w->mutex);
        /* whoever failed to write it may have had it loaded anew meanwhile, but a full segment does not change */
        if (rc == 0 && w->loaded && j.number < w->nsegments && w->segments[j.number].bytes == j.segment.bytes)
            rc = seal_install(w, &j, err);
        rc = rc < 0 ? rc : 1;
    }
    log_files_let_go(s->files, w);
    return rc;
}

/* ---- the thread ---- */

static void *sealer_main(void *arg) {
    struct log_sealer *s = arg;
    pthread_setname_np(pthread_self(), "osmo-seal");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        if (!s->waiting.len) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        s->busy = STEAL(s->waiting.items[0]);
        memmove(s->waiting.items, s->waiting.items + 1, --s->waiting.len * sizeof *s->waiting.items);
        pthread_mutex_unlock(&s->lock);
        osmo_error_t err = OSMO_ERROR_INIT;
        while (!atomic_load(&s->cancelled) && seal_next(s, s->busy, &err) == 1)
            ;
        pthread_mutex_lock(&s->lock);
        free(STEAL(s->busy));
        atomic_store(&s->cancelled, s->stop);
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void forget(struct log_sealer *s, const char *id) {
    size_t kept = 0;
    for (size_t i = 0; i < s->waiting.len; i++) {
        if (strcmp(s->waiting.items[i], id) == 0)
            free(s->waiting.items[i]);
        else
            s->waiting.items[kept++] = s->waiting.items[i];
    }
    s->waiting.len = kept;
}

void sealer_look(struct log_sealer *s, const char *id) {
    pthread_mutex_lock(&s->lock);
    bool known = s->waiting.len >= WAITING_MAX;
    for (size_t i = 0; !known && i < s->waiting.len; i++)
        known = strcmp(s->waiting.items[i], id) == 0;
    if (!known && strlist_add(&s->waiting, id) == 0)
        pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void sealer_leave(struct log_sealer *s, const char *id) {
    pthread_mutex_lock(&s->lock);
    forget(s, id);
    while (s->busy && strcmp(s->busy, id) == 0) {
        atomic_store(&s->cancelled, true);
        pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

void sealer_wait(struct log_sealer *s) {
    pthread_mutex_lock(&s->lock);
    while (s->busy || s->waiting.len)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

struct log_limits sealer_get_limits(struct log_sealer *s) {
    pthread_mutex_lock(&s->lock);
    struct log_limits l = s->limits;
    pthread_mutex_unlock(&s->lock);
    return l;
}

void sealer_limits(struct log_sealer *s, const struct log_limits *l) {
    pthread_mutex_lock(&s->lock);
    s->limits = *l;
    pthread_mutex_unlock(&s->lock);
}

int sealer_start(struct log_files *files, const struct log_limits *l, struct log_sealer **out, osmo_error_t *err) {
    sigset_t all, before;
    struct log_sealer *s = *out = calloc(1, sizeof *s);
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    s->files = files;
    s->limits = *l;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->started = pthread_create(&s->thread, NULL, sealer_main, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return s->started ? 0 : osmo_error_set(err, OSMO_EUNAVAIL, "cannot start the thread that compresses logs");
}

void sealer_stop(struct log_sealer *s) {
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    atomic_store(&s->cancelled, true);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->started)
        pthread_join(s->thread, NULL);
    strlist_free(&s->waiting);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
