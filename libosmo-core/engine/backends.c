/* See backends.h. A deletion marks the backend first: from then on it takes no sessions and is not seen any more. Then its workflows end,
 * one by one, and at last everything that bears its name goes in one transaction. The monitor goes on where a service was cut off. */
#include "engine/backends.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "engine/access.h"
#include "engine/config_objects.h"
#include "engine/engine_internal.h"
#include "engine/reactor_internal.h"
#include "store/repo_backend_end.h"

#define WORKFLOWS_PER_PAGE 64

static int unknown(const char *name, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUSER, "Backend %s does not exist; osmo backend list shows those there are, and a backend appears when "
                                           "its operator first connects", name);
}

/* ---- changes ---- */

struct update { const char *name; const json_t *patch; };

static int edit_backend(db_t *db, json_t *document, void *ctx, osmo_error_t *err) {
    const struct update *u = ctx;
    json_t *backends = json_get(document, "backends"), *next = NULL;
    const char *uid = NULL, *prefix = NULL;
    bool found = false;
    int rc = backend_config_cluster(u->patch, &uid, &prefix, err);
    if (rc >= 0)
        rc = repo_backend_identity(db, u->name, uid && *uid ? uid : NULL, prefix, &found, err);
    if (rc >= 0 && !found && !json_has(backends, u->name))
        rc = unknown(u->name, err);
    if (rc >= 0)
        rc = backend_config_patch(json_get(backends, u->name), u->patch, &next, err);
    if (rc >= 0 && json_set(backends, u->name, next) < 0)
        rc = no_memory(err);
    return rc;
}

int backend_update(engine_t *e, const char *name, const json_t *patch, osmo_error_t *err) {
    struct update u = { name, patch };
    return config_edit(e, edit_backend, &u, err);
}

static int edit_tests(db_t *db, json_t *document, void *ctx, osmo_error_t *err) {
    (void)db;
    return tests_edit(document, ctx, err);
}

int tests_change(engine_t *e, const struct test_edit *edit, osmo_error_t *err) {
    struct test_edit copy = *edit;
    return config_edit(e, edit_tests, &copy, err);
}

/* ---- deletion: the mark ---- */

struct removal { const char *name; bool force; bool marked; /* out */ };

static int check_idle(db_t *db, const char *name, osmo_error_t *err) {
    int64_t workflows = 0, groups = 0;
    int rc = repo_backend_owed(db, name, &workflows, &groups, err);
    if (rc < 0)
        return rc;
    bool one = workflows == 1;
    if (workflows)
        return osmo_error_set(err, OSMO_EUSER,
                              "Backend %s has %lld unfinished workflow%s: cancel %s and wait until %s cleaned up, or force the deletion,"
                              " which fails %s and leaves %s objects in the cluster", name, (long long)workflows, one ? "" : "s",
                              one ? "it" : "them", one ? "it is" : "they are", one ? "it" : "them", one ? "its" : "their");
    if (groups)
        return osmo_error_set(err, OSMO_EUSER,
                              "Backend %s still has the objects of %lld group%s of finished workflows to clean up: wait, or force the"
                              " deletion, which leaves them in the cluster", name, (long long)groups, groups == 1 ? "" : "s");
    return 0;
}

static int edit_removal(db_t *db, json_t *document, void *ctx, osmo_error_t *err) {
    struct removal *r = ctx;
    json_t *backends = json_get(document, "backends");
    int rc = repo_backend_end_begin(db, r->name, &r->marked, err);
    if (rc >= 0 && !r->marked && !json_has(backends, r->name))
        rc = unknown(r->name, err);
    if (rc >= 0 && !r->force)
        rc = check_idle(db, r->name, err);
    if (rc >= 0)
        json_del(backends, r->name);
    return rc;
}

/* ---- deletion: its workflows ---- */

struct ending { const char *backend, *cause; int64_t after; bool more; int64_t last; };

static int end_group(struct txn *x, struct group_row *g, const char *cause) {
    bool sent = group_was_sent(g);
    int rc = 0;
    if (!status_is_group_finished(g->sm.status) && g->sm.remaining_upstream == 0)
        rc = txn_group_fail(x, g, STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, cause);
    return rc >= 0 && sent ? txn_group_cleaned(x, g) : rc;
}

static int decide_end(struct txn *x, void *arg) {
    struct ending *n = arg;
    struct group_row *groups = NULL;
    size_t len = 0;
    n->more = false;
    if (!str_eq(x->wf.backend, n->backend))
        return 0;
    int rc = repo_groups_after(x->db, x->wf.uuid, n->after, GROUPS_PER_TXN, &groups, &len, x->err);
    for (size_t i = 0; rc >= 0 && i < len; i++)
        rc = end_group(x, &groups[i], n->cause);
    n->last = len ? groups[len - 1].ordinal : n->after;
    n->more = len == GROUPS_PER_TXN;
    group_rows_free(groups, len);
    return rc;
}

static int end_workflow(engine_t *e, const char *uuid, struct ending *n, osmo_error_t *err) {
    int rc;
    n->after = -1;
    do {
        rc = reactor_run(e, uuid, decide_end, n, err);
        n->after = n->last;
    } while (rc >= 0 && n->more);
    return gone_is_fine(rc);
}

static int end_workflows(engine_t *e, const char *backend, bool (*stopped)(void *), void *ctx, osmo_error_t *err) {
    char after[33] = "";
    size_t ended = 0;
    _cleanup_free_ char *cause = str_printf("backend %s was deleted", backend);
    struct ending n = { .backend = backend, .cause = cause };
    db_t *db;
    int rc = cause ? store_reader(e->store, &db, err) : no_memory(err);
    for (bool more = true; rc >= 0 && more && !(stopped && stopped(ctx));) {
        strlist_t uuids = { 0 };
        rc = repo_backend_workflows(db, backend, after, WORKFLOWS_PER_PAGE, &uuids, err);
        more = uuids.len == WORKFLOWS_PER_PAGE;
        for (size_t i = 0; rc >= 0 && i < uuids.len && !(stopped && stopped(ctx)); i++) {
            rc = end_workflow(e, uuids.items[i], &n, err);
            snprintf(after, sizeof after, "%s", uuids.items[i]);
            ended++;
        }
        strlist_free(&uuids);
    }
    if (ended)
        log_warning(&e->log, "backend %s was deleted with %zu workflows that had not ended there: objects labelled osmo.workflow_uuid"
                             " may be left in its cluster", backend, ended);
    return rc;
}

/* ---- deletion: the rest ---- */

struct last { const char *name; bool again; int64_t tokens; };

static int last_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct last *l = ctx;
    return repo_backend_end(db, l->name, &l->again, &l->tokens, err);
}

static int end_backend(engine_t *e, const char *name, bool (*stopped)(void *), void *ctx, osmo_error_t *err) {
    struct last l = { .name = name };
    int rc;
    do {
        rc = end_workflows(e, name, stopped, ctx, err);
        if (rc < 0 || (stopped && stopped(ctx)))
            return rc;
        rc = store_write(e->store, NULL, last_run, &l, err);
    } while (rc >= 0 && l.again);
    if (rc < 0)
        return rc;
    if (l.tokens)
        access_changed(e);
    log_info(&e->log, "backend %s is deleted, and %lld access tokens with it", name, (long long)l.tokens);
    return 0;
}

int backend_delete(engine_t *e, const char *name, bool force, osmo_error_t *err) {
    struct removal r = { .name = name, .force = force };
    int rc = config_edit(e, edit_removal, &r, err);
    return rc < 0 || !r.marked ? rc : end_backend(e, name, NULL, NULL, err);
}

int backends_end_turn(engine_t *e, bool (*stopped)(void *ctx), void *ctx, osmo_error_t *err) {
    strlist_t names = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_backends_ending(db, &names, err);
    for (size_t i = 0; rc >= 0 && i < names.len && !stopped(ctx); i++)
        rc = end_backend(e, names.items[i], stopped, ctx, err);
    strlist_free(&names);
    return rc;
}
