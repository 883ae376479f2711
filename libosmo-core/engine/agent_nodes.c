/* What listeners report about nodes: capacity, usage, removal. A removed node fails the tasks that were on it. Called
 * by agent.c. */
#include <string.h>

#include "engine/agent_internal.h"
#include "store/repo_backend_end.h"

struct node_write {
    struct ticket *ticket;
    struct node_row row;    /* name and backend always; the rest as the message has it */
    strlist_t names;        /* node_hash */
    struct task_row *tasks; /* delete_resource, node_hash: out, tasks on nodes that are gone */
    size_t ntasks;
};

static void node_write_free(struct node_write *w) {
    node_row_clear(&w->row);
    strlist_free(&w->names);
    task_rows_free(w->tasks, w->ntasks);
    free(w);
}

static void node_done(void *ctx, int rc, const osmo_error_t *err) {
    struct node_write *w = ctx;
    ticket_done(w->ticket, rc, err);
    node_write_free(w);
}

static struct node_write *node_write_new(struct agent_session *s, const char *name, struct ticket *t) {
    struct node_write *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->ticket = t;
    w->row.name = str_dup(name);
    w->row.backend = str_dup(s->backend);
    if (w->row.name && w->row.backend)
        return w;
    node_write_free(w);
    return NULL;
}

/* In the order in which they came, and behind the INIT of their session: what is said about a node that was removed must not come after. */
static int node_post(struct agent_session *s, struct node_write *w, struct ticket *t, bool whole, store_fn run,
                     store_done_fn done) {
    int rc = w && whole ? store_post(s->e->store, s->backend, run, done, w) : OSMO_ENOMEM;
    if (rc >= 0)
        return 0;
    osmo_error_t busy = OSMO_ERROR_INIT;
    osmo_error_set(&busy, rc, "the store does not accept more work");
    if (w)
        node_done(w, rc, &busy);
    else
        ticket_done(t, rc, &busy);
    return 0;
}

static char *member_text(const json_t *body, const char *key, const char *fallback) {
    const json_t *v = json_get(body, key);
    return v ? json_to_text(v) : str_dup(fallback);
}

/* Nothing is written for a backend that was deleted meanwhile. */
static int resource_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct node_row *r = &((struct node_write *)ctx)->row;
    bool accepts = false;
    int rc = repo_backend_accepts(db, r->backend, &accepts, err);
    return rc < 0 || !accepts ? rc : repo_node_upsert(db, r, err);
}

int agent_resource(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    const char *name = body_text(body, "hostname", err);
    if (!name) {
        ticket_done(t, 0, NULL);
        return OSMO_EINVAL;
    }
    struct node_write *w = node_write_new(s, name, t);
    if (!w)
        return node_post(s, NULL, t, false, NULL, NULL);
    w->row.available = json_get_bool(body, "available", false);
    w->row.allocatable_json = member_text(body, "allocatable_fields", "{}");
    w->row.labels_json = member_text(body, "label_fields", "{}");
    w->row.taints_json = member_text(body, "taints", "[]");
    w->row.conditions_json = member_text(body, "conditions", "[]");
    bool whole = w->row.allocatable_json && w->row.labels_json && w->row.taints_json && w->row.conditions_json;
    return node_post(s, w, t, whole, resource_run, node_done);
}

static int usage_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct node_row *r = &((struct node_write *)ctx)->row;
    bool accepts = false;
    int rc = repo_backend_accepts(db, r->backend, &accepts, err);
    return rc < 0 || !accepts ? rc : repo_node_usage(db, r->backend, r->name, r->usage_json, r->foreign_usage_json, err);
}

int agent_resource_usage(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    const char *name = body_text(body, "hostname", err);
    if (!name) {
        ticket_done(t, 0, NULL);
        return OSMO_EINVAL;
    }
    struct node_write *w = node_write_new(s, name, t);
    if (!w)
        return node_post(s, NULL, t, false, NULL, NULL);
    w->row.usage_json = member_text(body, "usage_fields", "{}");
    w->row.foreign_usage_json = member_text(body, "non_workflow_usage_fields", "{}");
    return node_post(s, w, t, w->row.usage_json && w->row.foreign_usage_json, usage_run, node_done);
}

/* ---- removal ---- */

/* The acknowledgement waits for the events of all tasks: replayed after a crash, the message finds what is still to
 * do. */
struct removal {
    struct ticket *ticket;
    struct node_write *then; /* node_hash: what is left to do when they are stored; NULL: nothing */
    pthread_mutex_t lock;
    size_t open;
    int rc;
    osmo_error_t err;
};

static int keep_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct node_write *w = ctx;
    return repo_nodes_keep(db, w->row.backend, &w->names, err);
}

static void removal_end(struct removal *r) {
    struct node_write *w = r->then;
    if (w && r->rc >= 0)
        node_post(r->ticket->s, w, r->ticket, w->row.backend != NULL, keep_run, node_done);
    else
        ticket_done(r->ticket, r->rc, &r->err);
    if (w && r->rc < 0)
        node_write_free(w);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void removal_step(void *ctx, int rc, const osmo_error_t *err) {
    struct removal *r = ctx;
    pthread_mutex_lock(&r->lock);
    if (rc < 0 && r->rc >= 0) {
        r->rc = rc;
        osmo_error_set(&r->err, rc, "%s", err ? err->text : "the store does not accept more work");
    }
    bool last = --r->open == 0;
    pthread_mutex_unlock(&r->lock);
    if (last)
        removal_end(r);
}

static void fail_task(engine_t *e, const char *backend, const struct task_row *row, struct removal *r) {
    struct task_event ev = { .retry_id = row->sm.retry_id,
                             .status = STATUS_FAILED_BACKEND_ERROR,
                             .exit_code = EXIT_BACKEND };
    memcpy(ev.workflow_uuid, row->workflow_uuid, sizeof ev.workflow_uuid);
    memcpy(ev.task_uuid, row->uuid, sizeof ev.task_uuid);
    ev.message = str_printf("node %s was removed from the cluster", row->node_name ? row->node_name : "-");
    int rc = reactor_backend_event(e, backend, &ev, removal_step, r);
    if (rc < 0)
        removal_step(r, rc, NULL);
}

/* After the tasks of the nodes were found. `again`: the nodes themselves go behind the events, so that a crash in between loses none. */
static void fail_found(struct node_write *w, int rc, const osmo_error_t *err, bool again) {
    struct removal *r = rc >= 0 && w->ntasks ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        osmo_error_t memory = OSMO_ERROR_INIT;
        if (rc >= 0 && w->ntasks) {
            rc = osmo_error_set(&memory, OSMO_ENOMEM, "out of memory");
            err = &memory;
        }
        node_done(w, rc, err);
        return;
    }
    engine_t *e = w->ticket->s->e;
    struct task_row *tasks = STEAL(w->tasks);
    size_t n = w->ntasks;
    _cleanup_free_ char *backend = STEAL(w->row.backend);
    pthread_mutex_init(&r->lock, NULL);
    r->ticket = w->ticket;
    r->open = n;
    w->ntasks = 0;
    if (again) {
        w->row.backend = str_dup(backend);
        r->then = w;
    } else {
        node_write_free(w);
    }
    for (size_t i = 0; i < n; i++)
        fail_task(e, backend, &tasks[i], r);
    task_rows_free(tasks, n);
}

/* ---- nodes that are not there any more ---- */

static int add_tasks(db_t *db, struct node_write *w, const char *node, osmo_error_t *err) {
    struct task_row *more = NULL;
    size_t n = 0;
    int rc = repo_tasks_by_node(db, w->row.backend, node, &more, &n, err);
    if (rc < 0 || !n)
        return rc;
    struct task_row *all = realloc(w->tasks, (w->ntasks + n) * sizeof *all);
    if (!all) {
        task_rows_free(more, n);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    memcpy(all + w->ntasks, more, n * sizeof *all);
    free(more);
    w->tasks = all;
    w->ntasks += n;
    return 0;
}

/* A node that went while nobody looked takes its tasks with it. Rows that are only known from usage may be other names of nodes that
 * are there; and a cluster without any node has lost its list sooner than its nodes. */
static int hash_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct node_write *w = ctx;
    strlist_t gone = { 0 };
    task_rows_free(w->tasks, w->ntasks);
    w->tasks = NULL;
    w->ntasks = 0;
    int rc = w->names.len ? repo_nodes_missing(db, w->row.backend, &w->names, true, &gone, err) : 0;
    for (size_t i = 0; rc >= 0 && i < gone.len; i++)
        rc = add_tasks(db, w, gone.items[i], err);
    strlist_free(&gone);
    return rc < 0 || w->ntasks ? rc : keep_run(db, w, err);
}

static void hash_done(void *ctx, int rc, const osmo_error_t *err) { fail_found(ctx, rc, err, true); }

int agent_node_hash(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    const json_t *list = json_get(body, "node_hashes");
    if (json_kind(list) != JSON_ARRAY) {
        ticket_done(t, 0, NULL);
        return osmo_error_set(err, OSMO_EINVAL, "node_hashes is missing or no list");
    }
    struct node_write *w = node_write_new(s, "", t);
    bool whole = w != NULL;
    for (size_t i = 0; whole && i < json_len(list); i++) {
        const char *name = json_str(json_at(list, i));
        whole = !name || strlist_add(&w->names, name) >= 0;
    }
    return node_post(s, w, t, whole, hash_run, hash_done);
}

/* ---- one that is removed ---- */

static int delete_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct node_write *w = ctx;
    task_rows_free(w->tasks, w->ntasks);
    w->tasks = NULL;
    w->ntasks = 0;
    int rc = repo_tasks_by_node(db, w->row.backend, w->row.name, &w->tasks, &w->ntasks, err);
    if (rc >= 0)
        rc = repo_node_delete(db, w->row.backend, w->row.name, err);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static void delete_done(void *ctx, int rc, const osmo_error_t *err) { fail_found(ctx, rc, err, false); }

int agent_delete_resource(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    const char *name = body_text(body, "resource", err);
    if (!name) {
        ticket_done(t, 0, NULL);
        return OSMO_EINVAL;
    }
    struct node_write *w = node_write_new(s, name, t);
    return node_post(s, w, t, w != NULL, delete_run, delete_done);
}
