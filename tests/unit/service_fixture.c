/* See service_fixture.h. */
#include "service_fixture.h"
#include "signing_key.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"

/* ---- transport ---- */

static void record(struct fixture *f, struct sent s) {
    pthread_mutex_lock(&f->lock);
    if (f->nsent < MAX_SENT)
        f->sent[f->nsent++] = s;
    else
        free(s.text);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static int fake_send(void *impl, uint64_t conn, const void *data, size_t len, int binary) {
    record(impl, (struct sent){ .conn = conn, .text = strndup(data, len), .len = len, .binary = binary });
    return 0;
}

static void fake_close(void *impl, uint64_t conn, int code, const char *reason) {
    record(impl, (struct sent){ .conn = conn, .text = strdup(reason), .len = strlen(reason), .close_code = code });
}

size_t fixture_nsent(struct fixture *f) {
    pthread_mutex_lock(&f->lock);
    size_t n = f->nsent;
    pthread_mutex_unlock(&f->lock);
    return n;
}

int fixture_wakes(struct fixture *f) {
    pthread_mutex_lock(&f->lock);
    int n = f->wakes;
    pthread_mutex_unlock(&f->lock);
    return n;
}

static void fake_wake(void *impl, uint64_t request) {
    struct fixture *f = impl;
    (void)request;
    pthread_mutex_lock(&f->lock);
    f->wakes++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

bool fixture_wait_sent(struct fixture *f, size_t n) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    int rc = 0;
    pthread_mutex_lock(&f->lock);
    while (f->nsent < n && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    bool enough = f->nsent >= n;
    pthread_mutex_unlock(&f->lock);
    return enough;
}

size_t fixture_count(struct fixture *f, uint64_t conn, const char *text, int binary) {
    size_t n = 0;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->nsent; i++)
        n += f->sent[i].conn == conn && !f->sent[i].close_code && f->sent[i].binary == binary &&
            !strcmp(f->sent[i].text, text);
    pthread_mutex_unlock(&f->lock);
    return n;
}

/* ---- service ---- */

static void print_log(void *ctx, int level, const char *text) {
    (void)ctx, (void)level;
    fprintf(stderr, "# %s\n", text);
}

bool fixture_reopen(struct fixture *f) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_service_close(f->service);
    f->service = NULL;
    if (osmo_service_open(&f->options, &f->service, &err) < 0) {
        fprintf(stderr, "service: %s\n", err.text);
        return false;
    }
    f->engine = f->service->engine;
    return true;
}

bool fixture_open(struct fixture *f, osmo_auth_mode_t mode, const char *admin_token) {
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    snprintf(f->dir, sizeof f->dir, "/tmp/osmo-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return false;
    char database[160];
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(database, sizeof database, "sqlite:%s/osmo.db", f->dir);
    if (signing_key_seed(database, &err) < 0) {
        fprintf(stderr, "signing key: %s\n", err.text);
        return false;
    }
    f->transport = (osmo_transport_t){ .size = sizeof f->transport, .impl = f, .ws_send = fake_send, .ws_close = fake_close,
                                       .stream_wake = fake_wake };
    f->options = (osmo_service_options_t){ .size = sizeof f->options, .data_dir = f->dir, .auth = mode,
        .admin_token = admin_token,
                                           .base_url = "http://127.0.0.1:8000", .transport = &f->transport,
                                               .log = print_log, .log_level = 30 };
    return fixture_reopen(f);
}

void fixture_close(struct fixture *f) {
    osmo_service_close(f->service);
    for (size_t i = 0; i < f->nsent; i++)
        free(f->sent[i].text);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    dir_remove_tree(f->dir, NULL);
}

/* ---- requests ---- */

struct answer ask(struct fixture *f, const char *method, const char *path, const char *query, const char *body,
                  const char *const *headers) {
    static atomic_uint_fast64_t next_id;
    const char *all[32] = { "host", "127.0.0.1:8000", "content-type", "application/json" };
    size_t n = 4;
    for (size_t i = 0; headers && headers[i] && n < 30; i++)
        all[n++] = headers[i];
    osmo_request_t rq = { .size = sizeof rq,
                          .id = ++next_id,
                          .method = method,
                          .path = path,
                          .query = query ? query : "",
                          .headers = all,
                          .body = body,
                          .body_len = body ? strlen(body) : 0,
                          .peer = "127.0.0.1" };
    struct answer a = { 0 };
    osmo_service_handle(f->service, &rq, &a.rs);
    a.status = a.rs.status;
    a.body = a.rs.body;
    if (a.body)
        (void)json_parse(a.body, a.rs.body_len, &a.json, NULL);
    return a;
}

struct answer ask_as(struct fixture *f, const char *token, const char *method, const char *path, const char *query,
                     const char *body) {
    _cleanup_free_ char *value = str_printf("Bearer %s", token);
    const char *headers[] = { "authorization", value, NULL };
    return ask(f, method, path, query, body, headers);
}

void answer_free(struct answer *a) {
    json_free(a->json);
    osmo_response_clear(&a->rs);
    memset(a, 0, sizeof *a);
    a->rs.body_fd = -1;
}

char *drain(struct answer *a, bool *ended) {
    buf_t text = BUF_INIT(16u << 20);
    char chunk[512];
    ssize_t n = 0;
    while (a->rs.stream && (n = osmo_stream_read(a->rs.stream, chunk, sizeof chunk)) > 0)
        buf_append(&text, chunk, (size_t)n);
    *ended = n == OSMO_EGONE;
    char *out = strdup(buf_cstr(&text));
    buf_free(&text);
    return out;
}

/* ---- rows ---- */

struct seed_ctx { struct seed *s; const char *name, *user; size_t ntasks,
    task; enum status status; const char *message; };

static int insert_tasks(db_t *db, const struct seed_ctx *c, osmo_error_t *err) {
    struct task_row rows[8] = { 0 };
    char names[8][24];
    for (size_t i = 0; i < c->ntasks; i++) {
        snprintf(names[i], sizeof names[i], "t%zu", i);
        crypto_random_hex32(rows[i].key);
        crypto_random_hex32(c->s->tasks[i]);
        memcpy(rows[i].uuid, c->s->tasks[i], 33);
        memcpy(rows[i].workflow_uuid, c->s->uuid, 33);
        memcpy(rows[i].group_uuid, c->s->group_uuid, 33);
        rows[i].name = names[i];
        rows[i].exit_actions_json = (char *)"{}";
        rows[i].pod_name = (char *)"pod";
        rows[i].ordinal = (int64_t)i;
        rows[i].cpu = 1;
        rows[i].memory_gib = 2;
        rows[i].sm = (struct sm_task){ .status = STATUS_RUNNING, .lead = i == 0, .exit_code = EXIT_CODE_NONE,
            .start_us = clock_now_us() };
    }
    return repo_tasks_insert(db, rows, c->ntasks, err);
}

static int insert_all(db_t *db, void *ctx, osmo_error_t *err) {
    struct seed_ctx *c = ctx;
    struct workflow_row w = { .name = strdup(c->name), .user = strdup(c->user), .pool = strdup("default"),
        .backend = strdup("default"),
                              .priority = strdup("NORMAL"), .outputs = strdup(""), .labels_json = strdup("{}"),
                                  .submit_us = clock_now_us() };
    struct group_row g = { .name = (char *)"g", .spec_json = (char *)"{}" };
    crypto_random_hex32(c->s->uuid);
    crypto_random_hex32(c->s->group_uuid);
    memcpy(w.uuid, c->s->uuid, 33);
    w.sm = (struct sm_workflow){ .status = STATUS_RUNNING, .total = 1, .unfinished = 1, .running = 1,
        .start_us = clock_now_us() };
    w.groups_uncleaned = 1;
    memcpy(g.uuid, c->s->group_uuid, 33);
    memcpy(g.workflow_uuid, c->s->uuid, 33);
    g.sm = (struct sm_group){ .status = STATUS_RUNNING, .total = (int64_t)c->ntasks, .unfinished = (int64_t)c->ntasks };
    int rc = repo_workflow_insert(db, &w, err);
    if (rc >= 0)
        rc = repo_groups_insert(db, &g, 1, err);
    if (rc >= 0)
        rc = insert_tasks(db, c, err);
    if (rc >= 0)
        snprintf(c->s->id, sizeof c->s->id, "%s", w.id);
    workflow_row_clear(&w);
    return rc;
}

static bool write_now(struct fixture *f, store_fn fn, struct seed_ctx *c) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = store_write(f->engine->store, NULL, fn, c, &err);
    if (rc < 0)
        fprintf(stderr, "seed: %s\n", err.text);
    return rc >= 0;
}

bool seed_workflow(struct fixture *f, const char *name, const char *user, size_t ntasks, struct seed *out) {
    struct seed_ctx c = { .s = out, .name = name, .user = user, .ntasks = ntasks };
    memset(out, 0, sizeof *out);
    return write_now(f, insert_all, &c);
}

static int set_task(db_t *db, void *ctx, osmo_error_t *err) {
    struct seed_ctx *c = ctx;
    struct task_row t = { 0 };
    struct group_row g = { 0 };
    int rc = repo_task_get(db, c->s->uuid, c->s->tasks[c->task], 0, &t, err);
    if (rc >= 0)
        rc = repo_group_get(db, t.group_uuid, &g, err);
    sm_group_count(&g.sm, t.sm.lead, t.sm.status, c->status); /* as the engine keeps it */
    t.sm.status = c->status;
    if (rc >= 0)
        rc = repo_task_update(db, &t, err);
    if (rc >= 0)
        rc = repo_group_update(db, &g, err);
    group_row_clear(&g);
    task_row_clear(&t);
    return rc;
}

bool seed_task_status(struct fixture *f, const struct seed *s, size_t task, enum status status) {
    struct seed_ctx c = { .s = (struct seed *)s, .task = task, .status = status };
    return write_now(f, set_task, &c);
}

static int set_workflow(db_t *db, void *ctx, osmo_error_t *err) {
    struct seed_ctx *c = ctx;
    struct workflow_row w = { 0 };
    int rc = repo_workflow_get(db, c->s->uuid, &w, err);
    w.sm.status = c->status;
    free(w.failure_message);
    w.failure_message = c->message ? strdup(c->message) : NULL;
    if (rc >= 0)
        rc = repo_workflow_update(db, &w, err);
    workflow_row_clear(&w);
    return rc;
}

bool seed_workflow_status(struct fixture *f, const struct seed *s, enum status status, const char *message) {
    struct seed_ctx c = { .s = (struct seed *)s, .status = status, .message = message };
    return write_now(f, set_workflow, &c);
}
