/* Logs as segment files of one process: which are in memory, which have open files, and appending to them. Reading is
 * logstore_files_read.c. Reached through the driver's table only. The store's mutex guards the table and the order of
 * use; a log's own mutex its files. They are taken one after the other, never the store's inside of a log's. */
#include "store/logstore_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include "base/cleanup.h"
#include "base/file.h"

#define OPEN_MAX_LOGS 128           /* logs with open files */
#define KNOWN_MAX_LOGS 4096         /* logs whose sequences are remembered */
/* So many entries are looked through in about a millisecond. */
static const struct log_limits usual = { .bytes = 64u << 20, .entries = 64u << 10, .seal_from = 64u << 10,
                                         .block_bytes = 128u << 10, .block_entries = 4096 };

struct log_files {
    struct logstore base;
    char *dir;
    int dir_fd, lock_fd;
    pthread_mutex_t mutex;
    map_t *logs;                    /* id → struct wlog */
    struct wlog *newest, *oldest;   /* by last use */
    size_t open_logs;
    struct log_sealer *sealer;
};

static struct log_files *files_of(logstore_t *s) { return (struct log_files *)s; }

/* ---- opening ---- */

static int lock_dir(struct log_files *s, osmo_error_t *err) {
    s->lock_fd = openat(s->dir_fd, ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return osmo_error_set(err, errno == EACCES ? OSMO_EDENIED : OSMO_EIO,
                              "cannot lock log directory %s: %s", s->dir, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return osmo_error_set(err, OSMO_EBUSY, "log directory %s is in use by another osmo-service: stop it or "
                                               "choose another --data-dir", s->dir);
    return 0;
}

static int open_dir(struct log_files *s, osmo_error_t *err) {
    int rc = dir_make(s->dir, 0700, err);
    if (rc < 0)
        return rc;
    s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot open log directory %s: %s", s->dir, strerror(errno));
    return lock_dir(s, err);
}

static void files_close(logstore_t *base) {
    struct log_files *s = files_of(base);
    sealer_stop(s->sealer);
    while (s->newest) {
        struct wlog *w = s->newest;
        s->newest = w->older;
        wlog_free(w);
    }
    map_free(s->logs);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    pthread_mutex_destroy(&s->mutex);
    free(s->dir);
    free(s);
}

/* ---- the table of logs ---- */

static void unlink_log(struct log_files *s, struct wlog *w) {
    *(w->newer ? &w->newer->older : &s->newest) = w->older;
    *(w->older ? &w->older->newer : &s->oldest) = w->newer;
    w->newer = w->older = NULL;
}

static void link_newest(struct log_files *s, struct wlog *w) {
    w->older = s->newest;
    w->newer = NULL;
    *(s->newest ? &s->newest->newer : &s->oldest) = w;
    s->newest = w;
}

/* Nobody uses a log without users, so its files may be touched under the store's mutex alone. */
static void shrink(struct log_files *s) {
    for (struct wlog *w = s->oldest, *next; w; w = next) {
        if (s->open_logs <= OPEN_MAX_LOGS && map_len(s->logs) <= KNOWN_MAX_LOGS)
            return;
        next = w->newer;
        if (w->users)
            continue;
        if (w->open_counted) {
            wlog_close_files(w);
            w->open_counted = false;
            s->open_logs--;
        }
        if (map_len(s->logs) > KNOWN_MAX_LOGS) {
            unlink_log(s, w);
            map_remove(s->logs, w->id);
            wlog_free(w);
        }
    }
}

static struct wlog *find_or_add(struct log_files *s, const char *id) {
    struct wlog *w = map_get(s->logs, id);
    if (w) {
        unlink_log(s, w);
    } else {
        w = wlog_new(id, s->dir_fd);
        if (!w || map_set(s->logs, id, w) < 0) {
            wlog_free(w);
            return NULL;
        }
    }
    link_newest(s, w);
    w->users++;
    if (!w->open_counted) {
        w->open_counted = true;
        s->open_logs++;
    }
    shrink(s);
    return w;
}

int log_files_hold(struct log_files *s, const char *workflow_id, bool create, struct wlog **out, osmo_error_t *err) {
    *out = NULL;
    pthread_mutex_lock(&s->mutex);
    struct wlog *w = find_or_add(s, workflow_id);
    pthread_mutex_unlock(&s->mutex);
    if (!w)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_lock(&w->mutex);
    bool known = w->loaded;
    int rc = wlog_load(w, create, err);
    bool look = rc == 0 && !known && w->nsegments && !w->segments[w->ended ? w->nsegments - 1 : 0].sealed &&
        (w->nsegments > 1 || w->ended);
    if (rc < 0) {
        log_files_let_go(s, w);
        return rc;
    }
    if (look)
        sealer_look(s->sealer, workflow_id);
    *out = w;
    return 0;
}

void log_files_let_go(struct log_files *s, struct wlog *w) {
    pthread_mutex_unlock(&w->mutex);
    pthread_mutex_lock(&s->mutex);
    w->users--;
    shrink(s);
    pthread_mutex_unlock(&s->mutex);
}

/* ---- appending ---- */

struct append { const char *task; int64_t retry; uint32_t index; struct log_attempt *attempt; uint64_t seq;
                struct log_piece p; };

static int render(struct wlog *w, struct append *a, const struct log_entry *e, osmo_error_t *err) {
    uint8_t raw[LOG_RECORD_SIZE];
    struct log_record r;
    size_t before = a->p.text.len;
    int rc = logstore_render(w->id, a->task, a->retry, e, &a->p.text, &r, err);
    if (rc <= 0)
        return rc;
    r.offset = w->text_size + before;
    r.task = a->index;
    log_record_pack(&r, raw);
    if (e->seq)
        a->seq = e->seq;
    if (r.length && r.type < LOG_KINDS)
        a->p.lines[r.type]++;
    if (r.time_us > a->p.latest_us)
        a->p.latest_us = r.time_us;
    if (buf_append(&a->p.records, raw, sizeof(raw)) < 0)
        return osmo_error_set(err, OSMO_ELIMIT, "log of workflow %s: too many entries in one append", w->id);
    return 0;
}

static int write_entries(struct log_files *s, struct wlog *w, struct append *a, osmo_error_t *err) {
    struct log_limits limits = sealer_get_limits(s->sealer);
    bool full = false;
    int rc = wlog_write(w, &a->p, &limits, &full, err);
    if (full)
        sealer_look(s->sealer, w->id);
    if (rc < 0)
        return rc;
    for (int i = 0; i < LOG_KINDS; i++)
        a->attempt->lines[i] += a->p.lines[i];
    return 0;
}

static int append_entries(struct log_files *s, struct wlog *w, struct append *a, const struct log_entry *e, size_t n,
                          osmo_error_t *err) {
    int64_t known = wlog_task_index(w, a->task);
    int rc = 0;
    if (w->ended)
        return osmo_error_set(err, OSMO_EGONE, "log of workflow %s has ended", w->id);
    if (known >= 0)
        a->index = (uint32_t)known;
    else
        rc = wlog_task_add(w, a->task, &a->index, err);
    if (rc < 0)
        return rc;
    a->attempt = wlog_attempt(w, a->task, a->index, a->retry, true);
    if (!a->attempt)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    a->seq = a->attempt->seq;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!e[i].seq || e[i].seq > a->seq)
            rc = render(w, a, &e[i], err);
    }
    if (rc == 0 && a->p.records.len)
        rc = write_entries(s, w, a, err);
    if (rc == 0)
        a->attempt->seq = a->seq;
    return rc;
}

static int files_append(logstore_t *base, const char *workflow_id, const char *task, int64_t retry_id,
                        const struct log_entry *e, size_t n, bool *grew, osmo_error_t *err) {
    struct log_files *s = files_of(base);
    struct append a = { .task = task, .retry = retry_id, .p = { .text = BUF_INIT(LOG_APPEND_TEXT_MAX),
                        .records = BUF_INIT(LOG_APPEND_TEXT_MAX), .latest_us = INT64_MIN } };
    struct wlog *w = NULL;
    int rc = log_files_hold(s, workflow_id, true, &w, err);
    if (rc < 0)
        return rc;
    rc = append_entries(s, w, &a, e, n, err);
    *grew = rc == 0 && a.p.records.len > 0;
    log_files_let_go(s, w);
    buf_free(&a.p.text);
    buf_free(&a.p.records);
    return rc;
}

static int files_last_seq(logstore_t *base, const char *workflow_id, const char *task, int64_t retry_id, uint64_t *seq,
                          osmo_error_t *err) {
    struct log_files *s = files_of(base);
    struct wlog *w = NULL;
    int rc = log_files_hold(s, workflow_id, false, &w, err);
    if (rc < 0)
        return rc;
    struct log_attempt *a = wlog_attempt(w, task, 0, retry_id, false);
    *seq = a ? a->seq : 0;
    log_files_let_go(s, w);
    return 0;
}

static int files_end(logstore_t *base, const char *workflow_id, osmo_error_t *err) {
    struct log_files *s = files_of(base);
    struct wlog *w = NULL;
    int rc = log_files_hold(s, workflow_id, true, &w, err);
    if (rc < 0)
        return rc;
    if (!w->ended)
        rc = wlog_finish(w, err);
    log_files_let_go(s, w);
    if (rc == 0)
        sealer_look(s->sealer, workflow_id);
    if (rc == 0) /* also when it had ended: the one that did it may have failed behind its last write */
        logstore_notify(base, workflow_id);
    return rc;
}

static int files_has_ended(logstore_t *base, const char *workflow_id, bool *ended, osmo_error_t *err) {
    struct log_files *s = files_of(base);
    struct wlog *w = NULL;
    int rc = log_files_hold(s, workflow_id, false, &w, err);
    if (rc < 0)
        return rc;
    *ended = w->ended;
    log_files_let_go(s, w);
    return 0;
}

/* Under the store's mutex, so that nobody opens the log meanwhile. */
static int files_remove(logstore_t *base, const char *workflow_id, osmo_error_t *err) {
    struct log_files *s = files_of(base);
    _cleanup_free_ char *path = str_printf("%s/%s", s->dir, workflow_id);
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc;
    sealer_leave(s->sealer, workflow_id);
    pthread_mutex_lock(&s->mutex);
    struct wlog *w = map_get(s->logs, workflow_id);
    if (w && w->users) {
        rc = osmo_error_set(err, OSMO_EBUSY, "the log of workflow %s is in use", workflow_id);
    } else {
        if (w) {
            s->open_logs -= w->open_counted;
            unlink_log(s, w);
            map_remove(s->logs, w->id);
            wlog_free(w);
        }
        rc = dir_remove_tree(path, err);
    }
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

void log_files_set_limits(logstore_t *base, const struct log_limits *l) {
    struct log_files *s = files_of(base);
    if (l)
        sealer_limits(s->sealer, l);
    else
        sealer_wait(s->sealer);
}

/* ---- the driver ---- */

static const struct logstore_driver files_driver = {
    .close = files_close, .append = files_append, .last_seq = files_last_seq, .end = files_end,
    .has_ended = files_has_ended, .remove = files_remove, .read = log_files_read,
};

int logstore_open(const char *dir, log_notify_fn notify, void *notify_ctx, logstore_t **out, osmo_error_t *err) {
    *out = NULL;
    struct log_files *s = calloc(1, sizeof(*s));
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    s->base = (struct logstore){ .drv = &files_driver, .notify = notify, .notify_ctx = notify_ctx };
    s->dir_fd = s->lock_fd = -1;
    pthread_mutex_init(&s->mutex, NULL);
    s->dir = str_dup(dir);
    s->logs = map_new(NULL);
    int rc = s->dir && s->logs ? open_dir(s, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0)
        rc = sealer_start(s, &usual, &s->sealer, err);
    if (rc < 0) {
        files_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return 0;
}
