/* Lines of ctrls that do not number them, on their way into a log store that commits. A commit takes as long as a disk needs, and
 * such a ctrl sends each line in a frame of its own: if every frame waited for its commit, a few talkative tasks would hold all
 * request workers. So the lines queue up in their session, and threads of this file write all that a session has at once. Who
 * needs them written before it goes on writes them itself: a session that has no room left, the end of a session, of a task's log,
 * of a workflow's log. Called by logs.c and logs_session.c.
 *
 * What is queued is lost when the process is killed. So are lines on the wire: a ctrl that does not number its lines keeps none
 * of what it has sent, and is promised nothing before LOG_DONE is answered. Whoever needs more offers the extension "logs", whose
 * lines are acknowledged once they are committed and do not come here. */
#include "engine/logs_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

#define THREADS 4                 /* as many as the log store has writers */
#define QUEUE_BYTES (256u << 10)  /* of one session; a longer line goes alone */
#define TEXT_BYTES (64u << 20)
#define LINE_COST 64              /* of a line without text */

struct line_writers {
    pthread_mutex_t lock;         /* everything below, and the lines of all sessions */
    pthread_cond_t work;          /* a session has lines, and nobody writes them */
    pthread_cond_t written;
    struct logger_session *first, *last; /* those that have lines, or whose lines are being written */
    uint64_t time;                /* counts the lines that ever came */
    bool stop;
    pthread_t threads[THREADS];
    size_t n;
};

/* ---- the list of sessions; all with the lock held ---- */

static void list_add(struct line_writers *w, struct logger_session *s) {
    s->lines.next = NULL;
    s->lines.prev = w->last;
    if (w->last)
        w->last->lines.next = s;
    else
        w->first = s;
    w->last = s;
    s->lines.listed = true;
}

static void list_remove(struct line_writers *w, struct logger_session *s) {
    if (s->lines.prev)
        s->lines.prev->lines.next = s->lines.next;
    else
        w->first = s->lines.next;
    if (s->lines.next)
        s->lines.next->lines.prev = s->lines.prev;
    else
        w->last = s->lines.prev;
    s->lines.listed = false;
}

static struct logger_session *next_to_write(const struct line_writers *w) {
    struct logger_session *s = w->first;
    while (s && s->lines.writing)
        s = s->lines.next;
    return s;
}

/* ---- writing ---- */

/* Lines after the end of the workflow's log are dropped: nobody can read them any more. */
static void append_all(struct logger_session *s, struct log_entry *entries, size_t n, const char *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    for (size_t i = 0; i < n; i++) {
        entries[i].text = text;
        text += entries[i].len;
    }
    int rc = logstore_append(s->engine->logs, s->workflow_id, s->task, s->retry_id, entries, n, &err);
    if (rc >= 0 || rc == OSMO_EGONE)
        return;
    log_error(&s->engine->log, "log of %s, task %s: lines are lost, %zu: %s", s->workflow_id, s->task, n, err.text);
    logs_close_session(s, CLOSE_INTERNAL, "the lines cannot be stored");
}

/* Writes what the session has; lock held, but not while writing. Nobody else writes this session's lines meanwhile, which keeps
 * them in order, and the session stays. */
static void write_out(struct line_writers *w, struct logger_session *s) {
    struct session_lines *l = &s->lines;
    struct log_entry *entries = l->entries;
    size_t n = l->n;
    buf_t text = l->text;
    l->entries = NULL;
    l->n = l->cap = 0;
    l->text = (buf_t)BUF_INIT(TEXT_BYTES);
    l->writing = true;
    l->writing_since = l->oldest;
    pthread_mutex_unlock(&w->lock);
    append_all(s, entries, n, buf_cstr(&text));
    free(entries);
    buf_free(&text);
    pthread_mutex_lock(&w->lock);
    l->writing = false;
    list_remove(w, s);
    if (l->n) { /* the others get their turn */
        list_add(w, s);
        pthread_cond_signal(&w->work);
    }
    pthread_cond_broadcast(&w->written);
}

static void *writer_main(void *arg) {
    struct line_writers *w = arg;
    pthread_setname_np(pthread_self(), "osmo-lines");
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct logger_session *s = next_to_write(w);
        if (s)
            write_out(w, s);
        else if (w->stop)
            break;
        else
            pthread_cond_wait(&w->work, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- queueing ---- */

static size_t used(const struct session_lines *l) {
    return l->text.len + l->n * LINE_COST;
}

static int push(struct session_lines *l, const struct log_entry *entry) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        struct log_entry *more = realloc(l->entries, cap * sizeof *more);
        if (!more)
            return OSMO_ENOMEM;
        l->entries = more;
        l->cap = cap;
    }
    size_t before = l->text.len;
    l->text.max = TEXT_BYTES;
    int rc = buf_append(&l->text, entry->text, entry->len);
    if (rc < 0) {
        l->text.code = 0; /* this line alone has failed */
        buf_truncate(&l->text, before);
        return rc;
    }
    l->entries[l->n++] = *entry;
    return 0;
}

int lines_put(struct logger_session *s, const struct log_entry *entry) {
    struct line_writers *w = s->engine->loggers->lines;
    struct session_lines *l = &s->lines;
    pthread_mutex_lock(&w->lock);
    while (l->n && used(l) + entry->len + LINE_COST > QUEUE_BYTES) {
        if (l->writing)
            pthread_cond_wait(&w->written, &w->lock); /* so the ctrl is not read from, and has to wait, too */
        else
            write_out(w, s);
    }
    int rc = push(l, entry);
    w->time++;
    if (rc >= 0 && l->n == 1)
        l->oldest = w->time;
    if (rc >= 0 && !l->listed) {
        list_add(w, s);
        pthread_cond_signal(&w->work);
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

void lines_flush(struct logger_session *s) {
    struct line_writers *w = s->engine->loggers->lines;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    while (s->lines.listed) {
        if (s->lines.writing)
            pthread_cond_wait(&w->written, &w->lock);
        else
            write_out(w, s);
    }
    pthread_mutex_unlock(&w->lock);
}

/* A session of the workflow with lines that came until then. */
static struct logger_session *with_lines(const struct line_writers *w, const char *workflow_id, uint64_t until) {
    struct logger_session *s = w->first;
    while (s) {
        const struct session_lines *l = &s->lines;
        bool old = (l->n && l->oldest <= until) || (l->writing && l->writing_since <= until);
        if (old && !strcmp(s->workflow_id, workflow_id))
            break;
        s = l->next;
    }
    return s;
}

void lines_flush_workflow(engine_t *e, const char *workflow_id) {
    struct line_writers *w = e->loggers->lines;
    struct logger_session *s;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    uint64_t until = w->time;
    while ((s = with_lines(w, workflow_id, until))) {
        if (s->lines.writing)
            pthread_cond_wait(&w->written, &w->lock);
        else
            write_out(w, s);
    }
    pthread_mutex_unlock(&w->lock);
}

/* ---- life ---- */

int lines_open(engine_t *e, osmo_error_t *err) {
    sigset_t all, before;
    struct line_writers *w = calloc(1, sizeof *w);
    if (!w)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->written, NULL);
    e->loggers->lines = w;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (w->n < THREADS && pthread_create(&w->threads[w->n], NULL, writer_main, w) == 0)
        w->n++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->n == THREADS ? 0 : osmo_error_set(err, OSMO_EUNAVAIL, "cannot start threads that write log lines");
}

void lines_close(engine_t *e) {
    struct line_writers *w = e->loggers->lines;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->n; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->written);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    free(w);
    e->loggers->lines = NULL;
}
