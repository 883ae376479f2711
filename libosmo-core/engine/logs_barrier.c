/* Group barriers: a task joins by name, and when enough members have joined every one of them is released. A barrier
 * stays joined after its release (a rescheduled member re-triggers all; those already running ignore it).
 *
 * Which barriers a group has is kept beside the members, under the empty barrier name, as ":COUNT:NAME" (task names
 * have no colon), so a check needs nothing but the group and survives a restart of the service.
 *
 * These rows are the mailbox of the ctrls. That a barrier is open is a state, not a message: whoever finds it open
 * releases the members that are connected to it, as often as it looks, and who was released already ignores it. It is
 * looked at where a join or an end was committed, in the other replicas because of a hint (which names the group
 * only), where a ctrl connects, and everywhere when a replica is gone. So nothing is lost with a connection or a
 * process, and nothing has to be handed from one to another. */
#include "engine/logs_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/replicas.h"

#define BARRIER_ACTION "{\"action\":\"barrier\"}"
#define MAX_BARRIER_NAME 128

/* Latest attempts of the group's tasks; loaded when a barrier looks open only, as every join and many ends ask. */
struct group_view {
    struct task_row *tasks;
    size_t n;
    map_t *by_name; /* NULL: not loaded */
    int64_t unfinished;
    bool released;
};

static void view_clear(struct group_view *v) {
    map_free(v->by_name);
    task_rows_free(v->tasks, v->n);
}

static int view_load(db_t *db, const char *group_uuid, struct group_view *v, osmo_error_t *err) {
    if (v->by_name)
        return 0;
    int rc = repo_tasks_of_group(db, group_uuid, false, &v->tasks, &v->n, err);
    if (rc < 0)
        return rc;
    v->by_name = map_new(NULL);
    for (size_t i = 0; v->by_name && rc >= 0 && i < v->n; i++)
        rc = map_set(v->by_name, v->tasks[i].name, &v->tasks[i]);
    v->unfinished = 0;
    for (size_t i = 0; i < v->n; i++)
        v->unfinished += !status_is_task_finished(v->tasks[i].sm.status);
    return v->by_name && rc >= 0 ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

/* count > 0: that many members; otherwise every unfinished task of the group. */
static bool barrier_is_open(const struct group_view *v, const strlist_t *members, int64_t count) {
    int64_t waiting = 0;
    if (count > 0)
        return (int64_t)members->len >= count;
    for (size_t i = 0; i < members->len; i++) {
        const struct task_row *t = map_get(v->by_name, members->items[i]);
        waiting += t && !status_is_task_finished(t->sm.status);
    }
    return v->unfinished > 0 && waiting >= v->unfinished;
}

/* The lead first: what the others look for in it has a chance to be there. */
static void release(engine_t *e, const char *workflow_id, struct group_view *v, const strlist_t *members,
                    const char *only_task) {
    static const struct ctrl_action released = { BARRIER_ACTION, NULL };
    v->released = true;
    for (int lead = 1; lead >= 0; lead--)
        for (size_t i = 0; i < members->len; i++) {
            const struct task_row *t = map_get(v->by_name, members->items[i]);
            if (t && t->sm.lead == lead && (!only_task || !strcmp(only_task, t->name)))
                (void)logs_send_action(e, workflow_id, t->name, t->sm.retry_id, &released, NULL);
        }
}

static int check_barrier(engine_t *e, db_t *db, const char *workflow_id, const char *group_uuid, const char *index,
                         struct group_view *v, const char *only_task, osmo_error_t *err) {
    strlist_t members = { 0 };
    int64_t joined = 0;
    char *name;
    if (*index != ':')
        return 0;
    int64_t count = strtoll(index + 1, &name, 10);
    if (*name++ != ':')
        return 0;
    int rc = repo_barrier_count(db, group_uuid, name, &joined, err);
    if (rc < 0 || joined == 0 || joined < (count > 0 ? count : v->unfinished))
        return rc;
    rc = view_load(db, group_uuid, v, err);
    if (rc >= 0)
        rc = repo_barrier_members(db, group_uuid, name, &members, err);
    if (rc >= 0 && barrier_is_open(v, &members, count))
        release(e, workflow_id, v, &members, only_task);
    strlist_free(&members);
    return rc;
}

/* *released tells whether any of its barriers is open. */
static int check_group(engine_t *e, const char *workflow_id, const char *group_uuid, const char *only_task,
                       bool *released, osmo_error_t *err) {
    strlist_t index = { 0 };
    struct group_view v = { 0 };
    struct group_row g = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_barrier_members(db, group_uuid, BARRIER_INDEX, &index, err);
    if (rc >= 0 && index.len)
        rc = repo_group_state(db, group_uuid, &g, err);
    v.unfinished = g.sm.unfinished;
    for (size_t i = 0; rc >= 0 && i < index.len; i++)
        rc = check_barrier(e, db, workflow_id, group_uuid, index.items[i], &v, only_task, err);
    *released = v.released;
    group_row_clear(&g);
    view_clear(&v);
    strlist_free(&index);
    return rc;
}

bool barrier_check_here(engine_t *e, const char *workflow_uuid, const char *group_uuid) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct workflow_row w = { 0 };
    bool released = false;
    db_t *db;
    int rc = store_reader(e->store, &db, &err);
    if (rc >= 0)
        rc = repo_workflow_get(db, workflow_uuid, &w, &err);
    if (rc >= 0)
        rc = check_group(e, w.id, group_uuid, NULL, &released, &err);
    if (rc < 0)
        log_warning(&e->log, "barrier of group %s: %s", group_uuid, err.text);
    workflow_row_clear(&w);
    return rc < 0 || released;
}

/* The others are told also when every member seems to be connected here: a connection may be dead, and its ctrl with
 * another. */
void logger_barrier_check(engine_t *e, const char *workflow_uuid, const char *group_uuid) {
    if (barrier_check_here(e, workflow_uuid, group_uuid))
        replicas_hint_group(e, HINT_BARRIER, workflow_uuid, group_uuid);
}

void barrier_check_one(struct logger_session *s) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool released;
    if (check_group(s->engine, s->workflow_id, s->group_uuid, s->task, &released, &err) < 0)
        log_warning(&s->engine->log, "barrier of task %s of %s: %s", s->task, s->workflow_id, err.text);
}

/* ---- joining ---- */

struct join { engine_t *engine; char workflow_uuid[33], group_uuid[33]; char *name, *index, *task; int64_t retry_id;
    bool confirms; };

static void join_free(struct join *j) {
    free(j->name);
    free(j->index);
    free(j->task);
    free(j);
}

/* Is this attempt the one that goes on? A ctrl may ask late, when its group has ended or its task began again. The
 * lock keeps the end from passing between the look and the join. */
static int may_join(db_t *db, const struct join *j, bool *may, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct task_row t = { 0 };
    int rc = repo_workflow_lock(db, j->workflow_uuid, &w, err);
    if (rc >= 0)
        rc = repo_task_by_name(db, j->workflow_uuid, j->task, -1, &t, err);
    *may = rc >= 0 && t.sm.retry_id == j->retry_id && !status_is_task_finished(t.sm.status);
    workflow_row_clear(&w);
    task_row_clear(&t);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static int join_fn(db_t *db, void *ctx, osmo_error_t *err) {
    const struct join *j = ctx;
    bool may = false;
    int rc = may_join(db, j, &may, err);
    if (rc < 0 || !may)
        return rc;
    if (!j->confirms)
        rc = restart_answered(db, j->group_uuid, j->task, j->retry_id, err);
    if (rc >= 0)
        rc = repo_barrier_join(db, j->group_uuid, BARRIER_INDEX, j->index, err);
    return rc < 0 ? rc : repo_barrier_join(db, j->group_uuid, j->name, j->task, err);
}

static void join_done(void *ctx, int rc, const osmo_error_t *err) {
    struct join *j = ctx;
    if (rc < 0)
        log_warning(&j->engine->log, "task %s could not join barrier %s: %s", j->task, j->name, err ? err->text : "");
    else
        logger_barrier_check(j->engine, j->workflow_uuid, j->group_uuid);
    logs_write_end(j->engine);
    join_free(j);
}

void barrier_join(struct logger_session *s, const char *name, int64_t count) {
    if ((unsigned char)*name <= ' ' || strlen(name) > MAX_BARRIER_NAME) {
        logs_close_session(s, CLOSE_APPLICATION, "a barrier needs a name of at most 128 bytes that begins with a letter");
        return;
    }
    struct join *j = calloc(1, sizeof *j);
    if (!j)
        return;
    j->engine = s->engine;
    memcpy(j->workflow_uuid, s->workflow_uuid, sizeof j->workflow_uuid);
    memcpy(j->group_uuid, s->group_uuid, sizeof j->group_uuid);
    j->name = str_dup(name);
    j->task = str_dup(s->task);
    j->retry_id = s->retry_id;
    j->confirms = s->answers;
    j->index = str_printf(":%lld:%s", (long long)(count > 0 ? count : -1), name);
    logs_write_begin(s->engine);
    int rc = OSMO_ENOMEM;
    if (j->name && j->task && j->index)
        rc = store_post(s->engine->store, s->workflow_uuid, join_fn, join_done, j);
    if (rc < 0) {
        logs_write_end(s->engine);
        log_warning(&s->engine->log, "task %s could not join barrier %s: %s", s->task, name, osmo_error_name(rc));
        join_free(j);
        logs_close_session(s, CLOSE_INTERNAL, "the barrier cannot be joined now");
    }
}
