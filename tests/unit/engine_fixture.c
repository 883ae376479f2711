/* See engine_fixture.h. */
#include "engine_fixture.h"
#include "signing_key.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/file.h"
#include "base/seal.h"
#include "model/messages.h"
#include "pgsql_fixture.h"

#define WAIT_S 20

/* ---- a transport that records ---- */

struct test_net net = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static int net_send(void *impl, uint64_t conn, const void *data, size_t len, int binary) {
    (void)impl;
    pthread_mutex_lock(&net.lock);
    if (net.full == conn) {
        pthread_mutex_unlock(&net.lock);
        return OSMO_ELIMIT;
    }
    if (net.n < ARRAY_SIZE(net.sent)) {
        struct sent *s = &net.sent[net.n++];
        *s = (struct sent){ .conn = conn, .data = malloc(len + 1), .len = len, .binary = binary };
        memcpy(s->data, data, len);
        s->data[len] = '\0';
    }
    pthread_cond_broadcast(&net.cond);
    pthread_mutex_unlock(&net.lock);
    return 0;
}

static void net_close(void *impl, uint64_t conn, int code, const char *reason) {
    (void)impl;
    pthread_mutex_lock(&net.lock);
    if (net.closes < ARRAY_SIZE(net.ended)) {
        net.ended[net.closes].conn = conn;
        net.ended[net.closes].code = code;
        snprintf(net.ended[net.closes].reason, sizeof net.ended->reason, "%s", reason ? reason : "");
    }
    net.closes++;
    net.close_code = code;
    pthread_cond_broadcast(&net.cond);
    pthread_mutex_unlock(&net.lock);
}

static void net_wake(void *impl, uint64_t request) {
    (void)impl;
    (void)request;
    pthread_mutex_lock(&net.lock);
    net.wakes++;
    pthread_cond_broadcast(&net.cond);
    pthread_mutex_unlock(&net.lock);
}

/* A log line is news too: until() looks again. */
static void log_news(void *ctx, int level, const char *text) {
    if (level >= LOG_LEVEL_WARNING)
        log_stderr(ctx, level, text);
    net_wake(NULL, 0);
}

void (*_Atomic on_wake)(void);

static void stream_wake(void *impl, uint64_t request) {
    void (*also)(void) = on_wake;
    if (also)
        also();
    net_wake(impl, request);
}

static const osmo_transport_t transport = {
    .size = sizeof transport, .ws_send = net_send, .ws_close = net_close, .stream_wake = stream_wake
};

static size_t pools_told; /* jobs that session() has answered */

static void net_reset(void) {
    pthread_mutex_lock(&net.lock);
    for (size_t i = 0; i < net.n; i++)
        free(net.sent[i].data);
    net.n = net.wakes = net.closes = 0;
    pools_told = 0;
    net.full = 0;
    net.close_code = 0;
    pthread_mutex_unlock(&net.lock);
}

/* Waits on the transport's news; false at the end of the patience. The lock is held. */
static bool net_wait(const struct timespec *until) {
    return pthread_cond_timedwait(&net.cond, &net.lock, until) == 0;
}

static struct timespec patience(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += WAIT_S;
    return t;
}

/* Next untaken message of a connection, of the wanted kind, as JSON. NULL when none comes. */
json_t *net_take(uint64_t conn, int binary, const char *type) {
    struct timespec until = patience();
    json_t *found = NULL;
    pthread_mutex_lock(&net.lock);
    do {
        for (size_t i = 0; i < net.n && !found; i++) {
            struct sent *s = &net.sent[i];
            if (s->taken || s->conn != conn || s->binary != binary)
                continue;
            json_t *v = NULL;
            int rc = binary ? job_frame_unpack(s->data, s->len, &v, NULL) : json_parse(s->data, s->len, &v, NULL);
            if (rc < 0 || (type && !(json_get_str(v, "type") && strcmp(json_get_str(v, "type"), type) == 0))) {
                json_free(v);
                continue;
            }
            s->taken = true;
            found = v;
        }
    } while (!found && net_wait(&until));
    pthread_mutex_unlock(&net.lock);
    return found;
}

size_t jobs_sent(void) {
    size_t n = 0;
    pthread_mutex_lock(&net.lock);
    for (size_t i = 0; i < net.n; i++)
        n += net.sent[i].binary != 0;
    n -= pools_told;
    pthread_mutex_unlock(&net.lock);
    return n;
}

/* ---- engine and backend ---- */

char test_dir[64];
bool use_pgsql, without_key;
osmo_auth_mode_t test_auth = OSMO_AUTH_DEV;
static char *database;
engine_t *e;
agent_session_t *listener, *worker;
static unsigned uuids;

void say(agent_session_t *s, const char *type, const char *body) {
    char *text = NULL;
    int n = asprintf(&text, "{\"type\":\"%s\",\"body\":%s,\"uuid\":\"%032x\"}", type, body, ++uuids);
    if (n > 0)
        agent_message(s, text, (size_t)n, false);
    free(text);
}

/* Send on the listener socket and wait for the acknowledgement: the commit is done then. */
bool report(const char *type, const char *body) {
    char want[33];
    say(listener, type, body);
    snprintf(want, sizeof want, "%032x", uuids);
    _cleanup_json_ json_t *ack = net_take(LISTENER, 0, "ack");
    const char *got = json_get_str(json_get(ack, "body"), "uuid");
    CHECK_STR(got, want);
    return got != NULL;
}

bool knows_pools = true, pulls_images;

static bool pools_known(void) {
    _cleanup_free_ char *digest = NULL;
    return repo_kv_get(reader(), "queues/default", &digest, NULL) >= 0;
}

/* They come before everything else. */
static void learn_pools(agent_session_t *s, uint64_t conn) {
    _cleanup_json_ json_t *told = net_take(conn, 1, NULL);
    char body[400];
    CHECK_STR(json_get_str(told, "job_type"), "BackendSynchronizeQueues");
    pthread_mutex_lock(&net.lock);
    pools_told++;
    pthread_mutex_unlock(&net.lock);
    snprintf(body, sizeof body, "{\"status\":\"SUCCESS\",\"message\":null,\"job_id\":\"%s\",\"job_uuid\":\"%s\"}",
             json_get_str(told, "job_id"), json_get_str(told, "job_uuid"));
    say(s, "job_status", body);
    CHECK(until(pools_known));
}

agent_session_t *session(enum agent_socket kind, uint64_t conn, const char *extensions) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool tell = kind == AGENT_WORKER && knows_pools && !pools_known();
    const char *accepted = NULL;
    agent_session_t *s = NULL;
    char offered[100];
    snprintf(offered, sizeof offered, "%s%s%s", extensions ? extensions : "", extensions && !pulls_images ? ", " : "",
             pulls_images ? "" : "own-images");
    CHECK_OK(agent_open(e, kind, "default", conn, offered, &s, &accepted, &err), &err);
    CHECK_STR(accepted, extensions);
    agent_opened(s);
    say(s, "init",
        "{\"k8s_uid\":\"u1\",\"k8s_namespace\":\"ns\",\"version\":\"6.4.0\",\"node_condition_prefix\":\"osmo/\"}");
    if (tell)
        learn_pools(s, conn);
    return s;
}

void backend_connect(const char *extensions) {
    listener = session(AGENT_MESSAGE, LISTENER, NULL);
    worker = session(AGENT_WORKER, WORKER, extensions);
}

void backend_gone(void) {
    if (listener)
        agent_closed(listener);
    if (worker)
        agent_closed(worker);
    listener = worker = NULL;
}

/* One for all services of the database, those that open at once too. */
static int master_key_write(osmo_error_t *err) {
    struct seal_key k;
    _cleanup_buf_ buf_t jwk = BUF_INIT(4096), text = BUF_INIT(8192);
    char path[128];
    snprintf(path, sizeof path, "%s/master-key.yaml", test_dir);
    int rc = seal_key_new(&k);
    if (rc >= 0)
        rc = seal_key_write(&k, &jwk, err);
    buf_printf(&text, "currentMek: \"%s\"\nmeks:\n  \"%s\": ", k.kid, k.kid);
    if (rc >= 0)
        rc = crypto_base64(jwk.data, jwk.len, &text);
    buf_putc(&text, '\n');
    return rc < 0 ? rc : file_write_atomic(path, buf_cstr(&text), text.len, 0600, false, err);
}

bool prepare(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char path[128];
    if (test_dir[0])
        return true;
    if (use_pgsql)
        database = pgsql_fixture_url();
    snprintf(test_dir, sizeof test_dir, "/tmp/osmo-engine-XXXXXX");
    if (!mkdtemp(test_dir))
        return false;
    if (database)
        CHECK_OK(master_key_write(&err), &err);
    snprintf(path, sizeof path, "sqlite:%s/osmo.db", test_dir);
    if (!without_key)
        CHECK_OK(signing_key_seed(database ? database : path, &err), &err);
    return true;
}

bool fixture_is_pgsql(void) { return database != NULL; }

static const char *config_path(char path[128], const char *config) {
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(path, 128, "%s/config.yaml", test_dir);
    return config && file_write_atomic(path, config, strlen(config), 0600, false, &err) < 0 ? NULL : path;
}

static osmo_service_options_t options_for(const char *dir, const char *config) {
    return (osmo_service_options_t){ .size = sizeof(osmo_service_options_t),
                                     .data_dir = dir,
                                     .database = database,
                                     .base_url = "http://127.0.0.1:8000/",
                                     .auth = test_auth,
                                     .transport = &transport,
                                     .config_file = config,
                                     .log = log_news,
                                     .log_ctx = (void *)"test_engine",
                                     .log_level = LOG_LEVEL_INFO };
}

bool start_with(const char *config) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char path[128];
    if (!prepare())
        return false;
    if (!config_path(path, config))
        return false;
    osmo_service_options_t o = options_for(test_dir, config ? path : NULL);
    int rc = engine_open(&o, &e, &err);
    CHECK_OK(rc, &err);
    return rc >= 0;
}

engine_t *start_another(const char *name, const char *config, osmo_error_t *err) {
    char dir[128], path[128], storage[128], key[128];
    engine_t *another = NULL;
    snprintf(dir, sizeof dir, "%s/%s", test_dir, name);
    snprintf(storage, sizeof storage, "%s/storage", test_dir);
    if (!config_path(path, config) || dir_make(dir, 0700, err) < 0)
        return NULL;
    osmo_service_options_t o = options_for(dir, config ? path : NULL);
    o.storage_dir = storage;
    snprintf(key, sizeof key, "%s/master-key.yaml", test_dir);
    o.master_key_file = key;
    return engine_open(&o, &another, err) < 0 ? NULL : another;
}

void stop(bool remove) {
    backend_gone();
    engine_close(e);
    e = NULL;
    net_reset();
    if (remove) {
        dir_remove_tree(test_dir, NULL);
        test_dir[0] = '\0';
        free(database);
        database = NULL;
    }
}

/* ---- the workflow under test ---- */

char wf_id[80], wf_uuid[33];

db_t *reader(void) {
    db_t *db = NULL;
    store_reader(e->store, &db, NULL);
    return db;
}

bool submit(const char *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct submit_request rq = {
        .user = "alice", .pool = "default", .priority = "NORMAL", .text = text, .text_len = strlen(text)
    };
    struct submit_result out;
    char *id = NULL;
    int rc = engine_submit(e, &rq, &out, &id, &err);
    CHECK_OK(rc, &err);
    free(id);
    if (rc < 0)
        return false;
    snprintf(wf_id, sizeof wf_id, "%s", out.name);
    submit_result_clear(&out);
    struct workflow_row w = { 0 };
    rc = repo_workflow_get(reader(), wf_id, &w, &err);
    memcpy(wf_uuid, w.uuid, 33);
    workflow_row_clear(&w);
    return rc >= 0;
}

enum status workflow_status(char **message) {
    struct workflow_row w = { 0 };
    repo_workflow_get(reader(), wf_uuid, &w, NULL);
    enum status s = w.sm.status;
    if (message) {
        *message = w.failure_message;
        w.failure_message = NULL;
    }
    workflow_row_clear(&w);
    return s;
}

enum status task_status(const char *name, char uuid[33]) {
    struct task_row t = { 0 };
    repo_task_by_name(reader(), wf_uuid, name, -1, &t, NULL);
    enum status s = t.sm.status;
    if (uuid)
        memcpy(uuid, t.uuid, 33);
    task_row_clear(&t);
    return s;
}

enum status group_status(const char *name) {
    struct group_row *g = NULL;
    size_t n = 0;
    enum status s = STATUS_NONE;
    repo_groups_of(reader(), wf_uuid, false, &g, &n, NULL);
    for (size_t i = 0; i < n; i++)
        if (strcmp(g[i].name, name) == 0)
            s = g[i].sm.status;
    group_rows_free(g, n);
    return s;
}

/* Report a pod status of a task attempt and wait for the acknowledgement. */
void pod_of(const char *task, int64_t retry_id, const char *status, int code) {
    char uuid[33], body[600], exit_code[16] = "null";
    task_status(task, uuid);
    if (code >= 0)
        snprintf(exit_code, sizeof exit_code, "%d", code);
    snprintf(body, sizeof body,
             "{\"workflow_uuid\":\"%s\",\"task_uuid\":\"%s\",\"retry_id\":%lld,\"container\":\"c\",\"node\":\"n1\","
             "\"pod_ip\":null,"
             "\"message\":\"%s\",\"status\":\"%s\",\"exit_code\":%s,\"backend\":\"default\",\"conditions\":[]}",
             wf_uuid, uuid, (long long)retry_id, code > 0 ? "it broke" : "", status, exit_code);
    report("update_pod", body);
}

void pod(const char *task, const char *status, int code) {
    struct task_row t = { 0 };
    repo_task_by_name(reader(), wf_uuid, task, -1, &t, NULL);
    pod_of(task, t.sm.retry_id, status, code);
    task_row_clear(&t);
}

void run_pod(const char *task, const char *end, int code) {
    pod(task, "SCHEDULING", -1);
    pod(task, "INITIALIZING", -1);
    pod(task, "RUNNING", -1);
    pod(task, end, code);
}

void answer(const json_t *job, const char *status) {
    char *body = NULL;
    if (asprintf(&body, "{\"status\":\"%s\",\"message\":null,\"job_id\":\"%s\",\"job_uuid\":\"%s\"}", status,
                 json_get_str(job, "job_id"), json_get_str(job, "job_uuid")) > 0)
        say(worker, "job_status", body);
    free(body);
}

/* Take the next job, check its type and group, answer it. */
void job(const char *type, const char *group, const char *status) {
    _cleanup_json_ json_t *j = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(j, "job_type"), type);
    const char *named = json_get_str(j, "group_name"); /* a retry's, to an operator without extensions, in its parts only */
    CHECK_STR(named ? named : json_get_str(json_get(j, "create_job"), "group_name"), group);
    CHECK_STR(json_get_str(j, "workflow_id"), wf_id);
    if (j)
        answer(j, status);
}

/* Wait until the condition holds; woken by the transport's stream_wake. */
bool until(bool (*holds)(void)) {
    struct timespec end = patience();
    bool ok = holds();
    while (!ok) {
        pthread_mutex_lock(&net.lock);
        unsigned seen = net.wakes;
        pthread_mutex_unlock(&net.lock);
        if ((ok = holds()))
            break;
        pthread_mutex_lock(&net.lock);
        bool more = true;
        while (net.wakes == seen && more)
            more = net_wait(&end);
        pthread_mutex_unlock(&net.lock);
        if (!more)
            return holds();
    }
    return true;
}

bool is_archived(void) {
    struct workflow_row w = { 0 };
    repo_workflow_get(reader(), wf_uuid, &w, NULL);
    bool yes = w.archived;
    workflow_row_clear(&w);
    return yes;
}

bool is_finished(void) { return status_is_workflow_finished(workflow_status(NULL)); }

void expect_end(enum status status, const char *cause) {
    char *message = NULL;
    CHECK_STR(status_name(workflow_status(&message)), status_name(status));
    CHECK_STR(message, cause);
    free(message);
}
