/* What listeners report about nodes: capacity, usage, removal. A removed node fails the tasks that were on it. Called
 * by agent.c. */
#include <string.h>

#include "engine/agent_internal.h"
#include "store/repo_backend_end.h"

struct node_write {
    struct ticket *ticket;
    struct node_row row;    /* name and backend always; the rest as the message has it */
    strlist_t names;        /* node_hash */
    struct task_row *tasks; /* delete_resource: out */
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

static int node_post(struct agent_session *s, struct node_write *w, struct ticket *t, bool whole, store_fn run,
                     store_done_fn done) {
    int rc = w && whole ? store_post(s->e->store, NULL, run, done, w) : OSMO_ENOMEM;
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

static int keep_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct node_write *w = ctx;
    return repo_nodes_keep(db, w->row.backend, &w->names, err);
}

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
    return node_post(s, w, t, whole, keep_run, node_done);
}

/* ---- removal ---- */

/* The acknowledgement waits for the events of all tasks: replayed after a crash, the message finds what is still to
 * do. */
struct removal {
    struct ticket *ticket;
    pthread_mutex_t lock;
    size_t open;
    int rc;
    osmo_error_t err;
};

static void removal_step(void *ctx, int rc, const osmo_error_t *err) {
    struct removal *r = ctx;
    pthread_mutex_lock(&r->lock);
    if (rc < 0 && r->rc >= 0) {
        r->rc = rc;
        osmo_error_set(&r->err, rc, "%s", err ? err->text : "the store does not accept more work");
    }
    bool last = --r->open == 0;
    pthread_mutex_unlock(&r->lock);
    if (!last)
        return;
    ticket_done(r->ticket, r->rc, &r->err);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void fail_task(engine_t *e, const char *backend, const char *node, const struct task_row *row,
                      struct removal *r) {
    struct task_event ev = { .retry_id = row->sm.retry_id,
                             .status = STATUS_FAILED_BACKEND_ERROR,
                             .exit_code = EXIT_BACKEND };
    memcpy(ev.workflow_uuid, row->workflow_uuid, sizeof ev.workflow_uuid);
    memcpy(ev.task_uuid, row->uuid, sizeof ev.task_uuid);
    ev.message = str_printf("node %s was removed from the cluster", node);
    int rc = reactor_backend_event(e, backend, &ev, removal_step, r);
    if (rc < 0)
        removal_step(r, rc, NULL);
}

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

static void delete_done(void *ctx, int rc, const osmo_error_t *err) {
    struct node_write *w = ctx;
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
    pthread_mutex_init(&r->lock, NULL);
    r->ticket = w->ticket;
    r->open = w->ntasks;
    for (size_t i = 0; i < w->ntasks; i++)
        fail_task(e, w->row.backend, w->row.name, &w->tasks[i], r);
    node_write_free(w);
}

int agent_delete_resource(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    const char *name = body_text(body, "resource", err);
    if (!name) {
        ticket_done(t, 0, NULL);
        return OSMO_EINVAL;
    }
    struct node_write *w = node_write_new(s, name, t);
    return node_post(s, w, t, w != NULL, delete_run, delete_done);
}
