/* The service's own storage of task data over HTTP, and who may use it: a task writes its own tree and reads those of its
 * workflow and of its user's other workflows; users read their own; administrators everything. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/storage.h"

static bool same_user(const struct call *c, const struct workflow_row *w) {
    return w->user && c->who.user && !strcmp(w->user, c->who.user);
}

/* The workflow of the path, if the caller may read it. */
static int readable(struct call *c, struct workflow_row *w, osmo_error_t *err) {
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, c->params[0], w, err);
    if (rc == OSMO_ENOTFOUND)
        return osmo_error_set(err, rc, "Workflow %s not found", c->params[0]);
    if (rc < 0 || call_may_all(c) || same_user(c, w))
        return rc;
    return osmo_error_set(err, OSMO_EDENIED, "access denied: workflow %s belongs to another user", w->id);
}

static int own_task(struct call *c, const struct workflow_row *w, const struct task_row *t, osmo_error_t *err) {
    if (call_may_all(c))
        return 0;
    if (!str_eq(c->who.workflow_id, w->id) || !str_eq(c->who.task_name, t->name))
        return osmo_error_set(err, OSMO_EDENIED, "access denied: only task %s of workflow %s may write its data",
                              t->name, w->id);
    if (c->who.retry_id != t->sm.retry_id)
        return osmo_error_set(err, OSMO_ECONFLICT, "attempt %lld of task %s was replaced by attempt %lld",
                              (long long)c->who.retry_id, t->name, (long long)t->sm.retry_id);
    return 0;
}

static int writable(struct call *c, struct workflow_row *w, osmo_error_t *err) {
    struct task_row t = { 0 };
    db_t *db;
    int rc = readable(c, w, err);
    if (rc >= 0)
        rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_task_by_name(db, w->uuid, c->params[1], -1, &t, err);
    if (rc == OSMO_ENOTFOUND)
        osmo_error_set(err, rc, "Workflow %s has no task %s", w->id, c->params[1]);
    if (rc >= 0)
        rc = own_task(c, w, &t, err);
    task_row_clear(&t);
    return rc;
}

int get_storage_list(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    json_t *list = NULL;
    bool wanted;
    int rc = query_bool(c, "list", false, &wanted, err);
    if (rc >= 0 && !wanted)
        rc = osmo_error_set(err, OSMO_EINVAL, "add list=true to list the objects, or the path of one object");
    if (rc >= 0)
        rc = readable(c, &w, err);
    if (rc >= 0)
        rc = storage_list(c->engine, w.id, c->params[1], &list, err);
    workflow_row_clear(&w);
    if (rc < 0)
        return rc;
    json_t *o = json_object();
    if (!o) {
        json_free(list);
        return OSMO_ENOMEM;
    }
    rc = json_set(o, "objects", list);
    if (rc >= 0)
        return answer_json(c, 200, o);
    json_free(o);
    return rc;
}

int get_storage_object(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    _cleanup_close_ int fd = -1;
    uint64_t size = 0;
    mode_t mode = 0;
    char text[16];
    int rc = readable(c, &w, err);
    if (rc >= 0)
        rc = storage_get(c->engine, w.id, c->params[1], c->params[2], &fd, &size, &mode, err);
    workflow_row_clear(&w);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof text, "%04o", (unsigned)mode);
    rc = answer_header(c, "x-osmo-mode", text);
    c->rs->content_type = str_dup("application/octet-stream");
    if (rc < 0 || !c->rs->content_type)
        return OSMO_ENOMEM;
    c->rs->status = 200;
    c->rs->body_fd = STEAL_FD(fd);
    c->rs->body_fd_len = size;
    return 0;
}

static int read_mode(struct call *c, mode_t *mode) {
    const char *text = query_get(c, "mode");
    *mode = 0644;
    if (!text)
        return 0;
    size_t len = strlen(text);
    if (!len || len > 5 || strspn(text, "01234567") != len) {
        int rc = answer_unprocessable(c, "query", "mode", "mode_parsing",
                                      "Input should be a file mode in octal, such as 0644");
        return rc < 0 ? rc : OSMO_EINVAL;
    }
    *mode = (mode_t)strtoul(text, NULL, 8) & 0777;
    return 0;
}

static int upload_id(struct call *c, const char *name, const char **id) {
    *id = query_get(c, name);
    if (storage_upload_valid(*id))
        return 0;
    int rc = answer_unprocessable(c, "query", name, *id ? "string_pattern_mismatch" : "missing",
                                  "Input should be 32 lower-case hexadecimal digits");
    return rc < 0 ? rc : OSMO_EINVAL;
}

int put_storage_object(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct storage_body body = { .data = c->rq->body, .len = c->rq->body_len, .file = c->rq->body_file };
    const char *upload;
    char sha[65];
    uint64_t size = 0;
    mode_t mode;
    int rc = upload_id(c, "upload", &upload);
    if (rc >= 0)
        rc = read_mode(c, &mode);
    if (rc >= 0)
        rc = writable(c, &w, err);
    if (rc >= 0)
        rc = storage_put(c->engine, w.id, c->params[1], upload, c->params[2], mode, &body, &size, sha, err);
    workflow_row_clear(&w);
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *o = json_object();
    if (!o || json_set_int(o, "size", (int64_t)size) < 0 || json_set_str(o, "sha256", sha) < 0)
        return OSMO_ENOMEM;
    return answer_json(c, 200, STEAL(o));
}

int post_storage_commit(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    const char *upload;
    int64_t objects = 0;
    int rc = upload_id(c, "commit", &upload);
    if (rc >= 0)
        rc = writable(c, &w, err);
    if (rc >= 0)
        rc = storage_commit(c->engine, w.id, c->params[1], upload, &objects, err);
    workflow_row_clear(&w);
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *o = json_object();
    if (!o || json_set_int(o, "objects", objects) < 0)
        return OSMO_ENOMEM;
    return answer_json(c, 200, STEAL(o));
}
