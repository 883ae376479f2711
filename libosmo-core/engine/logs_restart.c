/* Restarts of commands: when the attempt of one task ends and begins again, the others of its group begin their
 * command again in the pods they have. The reactor leaves a mark for each of them; here they are told, at once or as
 * soon as their ctrl connects, to whichever replica. As with barriers (logs_barrier.c) the marks are the mailbox, and
 * a hint to the other replicas only says where to look.
 *
 * A ctrl with the extension "restarts" is told the number of its mark as often as it may be necessary, begins again
 * once for each number, and confirms it; then that mark goes. To others a restart is one word: their marks go when
 * they join a barrier again or, in groups without barriers, once they have been told. */
#include "engine/logs_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/replicas.h"

#define RESTART_ACTION "{\"action\":\"restart\"}"
#define NUMBERED_ACTION "{\"action\":\"restart\",\"id\":\"%lld\"}"

/* "RETRY:TASK:NUMBER"; task names have no colon. */
struct mark {
    int64_t retry_id, number;
    char *task; /* malloc'ed */
};

static bool mark_parse(const char *text, struct mark *m) {
    char *task;
    m->retry_id = strtoll(text, &task, 10);
    const char *colon = *task == ':' ? strchr(task + 1, ':') : NULL;
    m->task = colon && str_to_i64(colon + 1, &m->number) ? strndup(task + 1, (size_t)(colon - task - 1)) : NULL;
    return m->task != NULL;
}

/* ---- a mark that goes ---- */

struct told {
    engine_t *engine;
    char group_uuid[33];
    char *mark;
};

static void told_free(struct told *t) {
    free(t->mark);
    free(t);
}

static int told_fn(db_t *db, void *ctx, osmo_error_t *err) {
    const struct told *t = ctx;
    int64_t left = 0;
    return repo_barrier_leave(db, t->group_uuid, t->mark, &left, err);
}

static void told_done(void *ctx, int rc, const osmo_error_t *err) {
    struct told *t = ctx;
    if (rc < 0)
        log_warning(&t->engine->log, "restart %s may be told twice: %s", t->mark, err ? err->text : "");
    logs_write_end(t->engine);
    told_free(t);
}

/* In the background: this may run on a writer thread. */
static void mark_remove(engine_t *e, const char *workflow_uuid, const char *group_uuid, const char *mark) {
    struct told *t = calloc(1, sizeof *t);
    if (t) {
        *t = (struct told){ .engine = e, .mark = str_dup(mark) };
        snprintf(t->group_uuid, sizeof t->group_uuid, "%s", group_uuid);
    }
    logs_write_begin(e);
    int rc = t && t->mark ? store_post(e->store, workflow_uuid, told_fn, told_done, t) : OSMO_ENOMEM;
    if (rc >= 0)
        return;
    logs_write_end(e);
    log_warning(&e->log, "restart %s may be told twice: %s", mark, osmo_error_name(rc));
    if (t)
        told_free(t);
}

void restart_confirmed(struct logger_session *s, const char *id) {
    int64_t number;
    _cleanup_free_ char *mark = NULL;
    if (!id || !str_to_i64(id, &number))
        return;
    mark = str_printf("%lld:%s:%lld", (long long)s->retry_id, s->task, (long long)number);
    if (mark)
        mark_remove(s->engine, s->workflow_uuid, s->group_uuid, mark);
}

int restart_answered(db_t *db, const char *group_uuid, const char *task, int64_t retry_id, osmo_error_t *err) {
    strlist_t marks = { 0 };
    int rc = repo_barrier_members(db, group_uuid, RESTART_UNTIL_JOIN, &marks, err);
    for (size_t i = 0; rc >= 0 && i < marks.len; i++) {
        struct mark m = { 0 };
        int64_t left = 0;
        if (mark_parse(marks.items[i], &m) && m.retry_id == retry_id && str_eq(m.task, task))
            rc = repo_barrier_leave(db, group_uuid, marks.items[i], &left, err);
        free(m.task);
    }
    strlist_free(&marks);
    return rc;
}

/* ---- telling ---- */

struct telling {
    engine_t *engine;
    const char *workflow_uuid, *workflow_id, *group_uuid;
    const struct logger_session *only; /* its attempt; NULL = all */
    bool marked;                       /* there was somebody to tell */
};

static void tell_one(struct telling *w, const struct mark *m, const char *text, bool once) {
    char numbered[96];
    bool answers = false;
    if (w->only && (m->retry_id != w->only->retry_id || !str_eq(m->task, w->only->task)))
        return;
    w->marked = true;
    snprintf(numbered, sizeof numbered, NUMBERED_ACTION, (long long)m->number);
    const struct ctrl_action restart = { RESTART_ACTION, numbered };
    bool sent = logs_send_action(w->engine, w->workflow_id, m->task, m->retry_id, &restart, &answers);
    if (sent && !answers && once)
        mark_remove(w->engine, w->workflow_uuid, w->group_uuid, text);
}

static int tell_marked(struct telling *w, db_t *db, const char *kind, osmo_error_t *err) {
    strlist_t marks = { 0 };
    int rc = repo_barrier_members(db, w->group_uuid, kind, &marks, err);
    for (size_t i = 0; rc >= 0 && i < marks.len; i++) {
        struct mark m = { 0 };
        if (mark_parse(marks.items[i], &m))
            tell_one(w, &m, marks.items[i], strcmp(kind, RESTART_ONCE) == 0);
        free(m.task);
    }
    strlist_free(&marks);
    return rc;
}

static int tell(struct telling *w, db_t *db, osmo_error_t *err) {
    int rc = tell_marked(w, db, RESTART_UNTIL_JOIN, err);
    return rc < 0 ? rc : tell_marked(w, db, RESTART_ONCE, err);
}

bool restart_check_here(engine_t *e, const char *workflow_uuid, const char *group_uuid) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct workflow_row w = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, &err);
    if (rc >= 0)
        rc = repo_workflow_get(db, workflow_uuid, &w, &err);
    struct telling t = { e, workflow_uuid, w.id, group_uuid, NULL, false };
    if (rc >= 0)
        rc = tell(&t, db, &err);
    if (rc < 0)
        log_warning(&e->log, "restart of group %s: %s", group_uuid, err.text);
    workflow_row_clear(&w);
    return rc < 0 || t.marked;
}

void logger_restart(engine_t *e, const char *workflow_uuid, const char *group_uuid) {
    if (restart_check_here(e, workflow_uuid, group_uuid))
        replicas_hint_group(e, HINT_RESTART, workflow_uuid, group_uuid);
}

void restart_check_one(struct logger_session *s) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct telling t = { s->engine, s->workflow_uuid, s->workflow_id, s->group_uuid, s, false };
    db_t *db;
    int rc = store_reader(s->engine->store, &db, &err);
    if (rc >= 0)
        rc = tell(&t, db, &err);
    if (rc < 0)
        log_warning(&s->engine->log, "restart of task %s of %s: %s", s->task, s->workflow_id, err.text);
}
