/* The audit log; see audit.h. Requests make their lines and leave them in a buffer; a thread writes what has come together and
 * hands the buffer's bytes on until the file has them, so that a full disk tears no line. */
#include "engine/audit.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "engine/replicas.h"

#define QUEUE_BYTES (1u << 20)
#define RESERVE_BYTES (1u << 20) /* beyond, for those who must not wait */
#define MAX_LINE (64u << 10)
#define RETRY_S 1

struct audit {
    pthread_mutex_t lock;
    pthread_cond_t wake, room;
    pthread_t thread;
    bool started, stop, reopen, well;
    bool misplaced; /* it could not be opened again: lines go to where it was */
    uint64_t lost;  /* lines that had no room since the last one that says so */
    buf_t waiting;
    char *path;
    char replica[33];
    const logger_t *log;
    int fd;         /* the thread's */
    bool torn;      /* the thread's: the file ends within a line that is none of ours */
    size_t partial; /* the thread's: bytes of the first line of what it writes that are in the file */
};

static const char *const kinds[] = { "", "development", "token", "task", "backend", "provider", "gateway" };

/* ---- the file ---- */

/* Existing files keep their owner and lose what others may. Pipes and terminals are taken as they are. */
static int open_file(struct audit *a, int *fd, osmo_error_t *err) {
    struct stat st;
    *fd = open(a->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (*fd < 0) /* what cannot be read: a pipe, standard error */
        *fd = open(a->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (*fd < 0)
        return osmo_error_set(err, errno == ENOENT ? OSMO_ENOTFOUND : errno == EACCES ? OSMO_EDENIED : OSMO_EIO,
                              "the audit log %s cannot be opened: %s; choose another file", a->path, strerror(errno));
    if (fstat(*fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    if (st.st_mode & 077 && fchmod(*fd, st.st_mode & 0700) < 0)
        log_warning(a->log, "others may read the audit log %s, and that cannot be changed: %m", a->path);
    char last = '\n';
    a->torn = st.st_size > 0 && pread(*fd, &last, 1, st.st_size - 1) == 1 && last != '\n'; /* a crash in the middle of a line */
    return 0;
}

/* Takes from the front of `b` the lines that could be written. */
static bool write_some(struct audit *a, buf_t *b) {
    if (a->torn && write(a->fd, "\n", 1) == 1)
        a->torn = false;
    size_t done = a->partial, lines = 0;
    while (!a->torn && done < b->len) {
        ssize_t n = write(a->fd, b->data + done, b->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    int why = errno;
    const char *end = done ? memrchr(b->data, '\n', done) : NULL;
    if (end)
        lines = (size_t)(end + 1 - b->data);
    a->partial = done - lines;
    bool all = !a->torn && done == b->len;
    buf_consume(b, lines);
    errno = why;
    return all;
}

static void note_lost(struct audit *a, buf_t *b) { /* locked */
    char when[TIME_TEXT_MAX];
    if (a->lost)
        buf_printf(b, "{\"time\":\"%s\",\"replica\":\"%s\",\"lost\":%llu}\n", time_rfc3339(clock_now_us(), when), a->replica,
                   (unsigned long long)a->lost);
    a->lost = 0;
}

/* Locked on entry and exit. The old file stays until there is a new one. */
static void open_again(struct audit *a) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int fd;
    a->reopen = false;
    pthread_mutex_unlock(&a->lock);
    bool torn = a->torn;
    int rc = open_file(a, &fd, &err);
    if (rc >= 0) {
        close(a->fd);
        a->fd = fd;
        a->partial = 0; /* the new one gets the line whole */
    } else {
        a->torn = torn;
        log_error(a->log, "%s; the lines go to the file that was open", err.text);
    }
    pthread_mutex_lock(&a->lock);
    a->misplaced = rc < 0;
}

static void set_well(struct audit *a, bool well, int why) { /* locked */
    if (a->well && !well)
        log_error(a->log, "the audit log %s cannot be written: %s", a->path, strerror(why));
    if (!a->well && well)
        log_info(a->log, "the audit log %s is written again", a->path);
    a->well = well;
    if (!well)
        pthread_cond_broadcast(&a->room);
}

static void *audit_main(void *arg) {
    struct audit *a = arg;
    buf_t writing = BUF_INIT(2 * (QUEUE_BYTES + RESERVE_BYTES));
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (!a->stop && !a->reopen && !a->waiting.len && !writing.len)
            pthread_cond_wait(&a->wake, &a->lock);
        if (a->reopen)
            open_again(a);
        if (!writing.len) {
            buf_t empty = writing;
            writing = a->waiting;
            a->waiting = empty;
            note_lost(a, &writing);
            pthread_cond_broadcast(&a->room);
        }
        bool last = a->stop;
        pthread_mutex_unlock(&a->lock);
        bool all = write_some(a, &writing);
        int why = errno;
        if (all && writing.cap > QUEUE_BYTES)
            buf_free(&writing);
        else if (all)
            buf_reset(&writing);
        pthread_mutex_lock(&a->lock);
        set_well(a, all, why);
        if (last && (!all || !a->waiting.len))
            break;
        if (all)
            continue;
        int64_t until = clock_mono_us() + RETRY_S * INT64_C(1000000);
        while (!a->stop && !a->reopen && cond_wait_until(&a->wake, &a->lock, until))
            ;
    }
    pthread_mutex_unlock(&a->lock);
    buf_free(&writing);
    return NULL;
}

/* ---- life ---- */

int audit_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err) {
    struct audit *a = calloc(1, sizeof *a);
    if (!a)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    e->audit = a;
    pthread_mutex_init(&a->lock, NULL);
    cond_init(&a->wake);
    cond_init(&a->room);
    buf_init(&a->waiting, 2 * (QUEUE_BYTES + RESERVE_BYTES));
    a->fd = -1;
    a->well = true;
    a->log = &e->log;
    snprintf(a->replica, sizeof a->replica, "%s", replicas_id(e));
    a->path = o->audit_file ? str_dup(o->audit_file) : str_printf("%s/audit.jsonl", e->data_dir);
    if (!a->path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = open_file(a, &a->fd, err);
    if (rc < 0)
        return rc;
    if (pthread_create(&a->thread, NULL, audit_main, a) != 0)
        return osmo_error_set(err, OSMO_ENOMEM, "cannot start the thread of the audit log");
    a->started = true;
    return 0;
}

void audit_close(engine_t *e) {
    struct audit *a = e->audit;
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->wake);
    pthread_mutex_unlock(&a->lock);
    if (a->started)
        pthread_join(a->thread, NULL);
    e->audit = NULL;
    if (a->fd >= 0)
        close(a->fd);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->wake);
    pthread_cond_destroy(&a->room);
    buf_free(&a->waiting);
    free(a->path);
    free(a);
}

void audit_reopen(engine_t *e) {
    pthread_mutex_lock(&e->audit->lock);
    e->audit->reopen = true;
    pthread_cond_signal(&e->audit->wake);
    pthread_mutex_unlock(&e->audit->lock);
}

bool audit_is_well(engine_t *e) {
    pthread_mutex_lock(&e->audit->lock);
    bool well = e->audit->well && !e->audit->misplaced;
    pthread_mutex_unlock(&e->audit->lock);
    return well;
}

/* ---- lines ---- */

static void put_text(buf_t *b, const char *key, const char *text) {
    if (!text || !*text)
        return;
    buf_printf(b, ",\"%s\":\"", key);
    size_t len;
    _cleanup_free_ char *clean = utf8_valid(text, strlen(text)) ? NULL : utf8_repair(text, strlen(text), &len);
    for (const char *p = clean ? clean : text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_printf(b, "\\u%04x", c);
        else
            buf_putc(b, *p);
    }
    buf_putc(b, '"');
}

static void make_line(const struct audit *a, const struct audit_event *ev, buf_t *b) {
    static const struct identity nobody;
    const struct identity *who = ev->who ? ev->who : &nobody;
    char when[TIME_TEXT_MAX];
    buf_printf(b, "{\"time\":\"%s\",\"replica\":\"%s\",\"request\":%llu", time_rfc3339(clock_now_us(), when), a->replica,
               (unsigned long long)ev->rq->id);
    put_text(b, "peer", ev->rq->peer);
    put_text(b, "user", who->user);
    put_text(b, "token_name", who->token_name);
    put_text(b, "workflow_id", who->workflow_id);
    put_text(b, "backend", who->backend);
    put_text(b, "how", (size_t)who->kind < ARRAY_SIZE(kinds) ? kinds[who->kind] : NULL);
    put_text(b, "method", ev->rq->method);
    put_text(b, "path", ev->rq->path);
    put_text(b, "action", ev->action);
    put_text(b, "resource", ev->resource);
    put_text(b, "session", ev->session);
    if (ev->session && strcmp(ev->session, "closed") == 0)
        buf_printf(b, ",\"bytes_in\":%llu,\"bytes_out\":%llu,\"seconds\":%.3f", (unsigned long long)ev->in,
                   (unsigned long long)ev->out, (double)ev->lasted_us / 1e6);
    buf_printf(b, ",\"allowed\":%s,\"status\":%d}\n", ev->allowed ? "true" : "false", ev->status);
}

/* Locked. While the file cannot be written nobody waits for it: what has no room is counted. */
static bool wait_for_room(struct audit *a, const struct audit_event *ev, size_t len) {
    size_t most = QUEUE_BYTES + (ev->must_not_wait ? RESERVE_BYTES : 0);
    while (a->well && !ev->must_not_wait && a->waiting.len + len > most)
        pthread_cond_wait(&a->room, &a->lock);
    return a->waiting.len + len <= most;
}

void audit_write(engine_t *e, const struct audit_event *ev) {
    struct audit *a = e->audit;
    _cleanup_buf_ buf_t line = BUF_INIT(MAX_LINE);
    make_line(a, ev, &line);
    pthread_mutex_lock(&a->lock);
    if (buf_failed(&line) || !wait_for_room(a, ev, line.len) || buf_append(&a->waiting, line.data, line.len) < 0)
        a->lost++;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
}
