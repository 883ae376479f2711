/* Restarts of commands: when the attempt of one task ends and begins again, the others of its group begin their
 * command again in the pods they have. The reactor leaves a mark for each of them; here they are told, at once or as
 * soon as their ctrl connects, to whichever replica. As with barriers (logs_barrier.c) the marks are the mailbox, and
 * a hint to the other replicas only says where to look. A mark goes when its task confirms it or joins a barrier
 * again; where neither can be (the ctrl does not have the extension "restarts", the group has no barriers), once it
 * has been told. */
#include "engine/logs_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/replicas.h"

#define RESTART_ACTION "{\"action\":\"restart\"}"

static char *mark_of(const char *task, int64_t retry_id) { return str_printf("%lld:%s", (long long)retry_id, task); }

int restart_answered(db_t *db, const char *group_uuid, const char *task, int64_t retry_id, osmo_error_t *err) {
    _cleanup_free_ char *mark = mark_of(task, retry_id);
    int64_t left = 0;
    return mark ? repo_barrier_leave(db, group_uuid, mark, &left, err)
                : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

/* ---- told once ---- */

struct told {
    engine_t *engine;
    char group_uuid[33];
    int64_t retry_id;
    char *task;
};

static void told_free(struct told *t) {
    free(t->task);
    free(t);
}

static int told_fn(db_t *db, void *ctx, osmo_error_t *err) {
    const struct told *t = ctx;
    return restart_answered(db, t->group_uuid, t->task, t->retry_id, err);
}

static void told_done(void *ctx, int rc, const osmo_error_t *err) {
    struct told *t = ctx;
    if (rc < 0)
        log_warning(&t->engine->log, "task %s may be restarted twice: %s", t->task, err ? err->text : "");
    logs_write_end(t->engine);
    told_free(t);
}

/* Takes the mark away in the background: this may run on a writer thread. */
static void told_once(engine_t *e, const char *workflow_uuid, const char *group_uuid, const char *task,
                      int64_t retry_id) {
    struct told *t = calloc(1, sizeof *t);
    if (t) {
        *t = (struct told){ .engine = e, .retry_id = retry_id, .task = str_dup(task) };
        snprintf(t->group_uuid, sizeof t->group_uuid, "%s", group_uuid);
    }
    logs_write_begin(e);
    int rc = t && t->task ? store_post(e->store, workflow_uuid, told_fn, told_done, t) : OSMO_ENOMEM;
    if (rc >= 0)
        return;
    logs_write_end(e);
    log_warning(&e->log, "task %s may be restarted twice: %s", task, osmo_error_name(rc));
    if (t)
        told_free(t);
}

/* ---- telling ---- */

struct telling {
    engine_t *engine;
    const char *workflow_uuid, *workflow_id, *group_uuid;
    const char *only_mark; /* of one attempt; NULL = all */
    bool marked;           /* there was somebody to tell */
};

static int tell_marked(struct telling *w, db_t *db, const char *kind, osmo_error_t *err) {
    strlist_t marks = { 0 };
    int rc = repo_barrier_members(db, w->group_uuid, kind, &marks, err);
    for (size_t i = 0; rc >= 0 && i < marks.len; i++) {
        char *task;
        int64_t retry = strtoll(marks.items[i], &task, 10);
        if (*task++ != ':' || (w->only_mark && strcmp(w->only_mark, marks.items[i]) != 0))
            continue;
        w->marked = true;
        bool answers = false;
        bool sent = logs_send_action(w->engine, w->workflow_id, task, retry, RESTART_ACTION, &answers);
        if (sent && !answers && strcmp(kind, RESTART_ONCE) == 0)
            told_once(w->engine, w->workflow_uuid, w->group_uuid, task, retry);
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
    _cleanup_free_ char *mark = mark_of(s->task, s->retry_id);
    struct telling t = { s->engine, s->workflow_uuid, s->workflow_id, s->group_uuid, mark, false };
    db_t *db;
    int rc = mark ? store_reader(s->engine->store, &db, &err) : osmo_error_set(&err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0)
        rc = tell(&t, db, &err);
    if (rc < 0)
        log_warning(&s->engine->log, "restart of task %s of %s: %s", s->task, s->workflow_id, err.text);
}

void restart_confirmed(struct logger_session *s) {
    told_once(s->engine, s->workflow_uuid, s->group_uuid, s->task, s->retry_id);
}
