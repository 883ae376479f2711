/* The operator against a service made of this file: base/ws_client.h is implemented here, in memory, so that order,
 * windows,
 * lost connections and extensions can be commanded. The cluster is the scripted driver. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "base/ws_client.h"
#include "check.h"
#include "model/messages.h"
#include "osmo/backend/operator.h"

/* ---- the fake transport and service ---- */

enum { EV_OPEN, EV_MESSAGE, EV_CLOSE, EV_CALL };
struct event {
    struct event *next;
    int kind;
    uint64_t conn;
    char *data;
    size_t len;
    bool binary;
    void (*fn)(void *);
    void *ctx;
};
struct timer { uint64_t id; int64_t due_us; void (*fn)(void *); void *ctx; };
struct record { char path[32]; uint64_t conn; char *text; };
struct conn { uint64_t id; char path[32]; void *ctx; bool open; char extensions[32]; };

static struct fake {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct event *first, **last;
    struct timer timers[64];
    size_t ntimers;
    struct record records[8192];
    size_t nrecords;
    struct conn conns[256];
    size_t nconns;
    ws_handlers_t handlers;
    uint64_t next_id;
    bool stop, accept_jobs;
    char mute[32];             /* stream whose messages are not acknowledged */
} F = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static int64_t mono_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

static void post(struct event e) { /* lock held */
    struct event *copy = malloc(sizeof *copy);
    *copy = e;
    copy->next = NULL;
    *F.last = copy;
    F.last = &copy->next;
    pthread_cond_broadcast(&F.cond);
}

int ws_loop_new(ws_loop_t **out, osmo_error_t *err) {
    (void)err;
    *out = (ws_loop_t *)&F;
    return 0;
}
void ws_loop_free(ws_loop_t *l) { (void)l; }
void ws_loop_stop(ws_loop_t *l) {
    (void)l;
    pthread_mutex_lock(&F.lock);
    F.stop = true;
    pthread_cond_broadcast(&F.cond);
    pthread_mutex_unlock(&F.lock);
}
int ws_loop_wake(ws_loop_t *l, void (*fn)(void *), void *ctx) {
    (void)l;
    pthread_mutex_lock(&F.lock);
    post((struct event){ .kind = EV_CALL, .fn = fn, .ctx = ctx });
    pthread_mutex_unlock(&F.lock);
    return 0;
}
uint64_t ws_loop_after(ws_loop_t *l, int64_t delay_ms, void (*fn)(void *), void *ctx) {
    (void)l;
    F.timers[F.ntimers++] = (struct timer){ ++F.next_id, mono_us() + delay_ms * 100, fn,
        ctx }; /* time runs ten times faster */
    return F.next_id;
}
void ws_loop_cancel(ws_loop_t *l, uint64_t timer) {
    (void)l;
    for (size_t i = 0; i < F.ntimers; i++) {
        if (F.timers[i].id == timer)
            F.timers[i--] = F.timers[--F.ntimers];
    }
}
int ws_connect(ws_loop_t *l, const ws_options_t *o, const ws_handlers_t *h, void *ctx, uint64_t *conn,
    osmo_error_t *err) {
    (void)l, (void)err;
    const char *p = strstr(o->url, "/api/agent/"), *end = strstr(o->url, "/backend/");
    pthread_mutex_lock(&F.lock);
    struct conn *c = &F.conns[F.nconns++];
    *c = (struct conn){ .id = ++F.next_id, .ctx = ctx, .open = true };
    snprintf(c->path, sizeof c->path, "%.*s", (int)(end - p - 11), p + 11);
    if (o->extensions && F.accept_jobs)
        snprintf(c->extensions, sizeof c->extensions, "%s", o->extensions);
    F.handlers = *h;
    *conn = c->id;
    post((struct event){ .kind = EV_OPEN, .conn = c->id });
    pthread_mutex_unlock(&F.lock);
    return 0;
}

static struct conn *conn_by_id(uint64_t id) {
    for (size_t i = 0; i < F.nconns; i++) {
        if (F.conns[i].id == id)
            return &F.conns[i];
    }
    return NULL;
}

static struct conn *conn_by_path(const char *path) {
    for (size_t i = F.nconns; i > 0; i--) {
        if (F.conns[i - 1].open && strcmp(F.conns[i - 1].path, path) == 0)
            return &F.conns[i - 1];
    }
    return NULL;
}

static void acknowledge(const struct conn *c, const char *text, size_t len) { /* lock held */
    struct message m;
    if (message_parse(text, len, &m, NULL) < 0)
        return;
    if (m.type != MSG_INIT && strcmp(c->path, "worker") != 0 && strcmp(c->path, F.mute) != 0) {
        buf_t ack = BUF_INIT(4096);
        message_build_ack(m.uuid, "0123456789abcdef0123456789abcdef", &ack);
        size_t n = ack.len;
        post((struct event){ .kind = EV_MESSAGE, .conn = c->id, .data = buf_steal(&ack, NULL), .len = n });
    }
    message_clear(&m);
}

int ws_conn_send(ws_loop_t *l, uint64_t conn, const void *data, size_t len, bool binary) {
    (void)l, (void)binary;
    pthread_mutex_lock(&F.lock);
    struct conn *c = conn_by_id(conn);
    int rc = c && c->open ? 0 : OSMO_ENOTFOUND;
    if (rc == 0 && F.nrecords < 8192) {
        struct record *r = &F.records[F.nrecords++];
        memcpy(r->path, c->path, sizeof r->path);
        r->conn = conn;
        r->text = strndup(data, len);
        acknowledge(c, data, len);
    }
    pthread_cond_broadcast(&F.cond);
    pthread_mutex_unlock(&F.lock);
    return rc;
}
void ws_conn_close(ws_loop_t *l, uint64_t conn, int code, const char *reason) { (void)l, (void)conn, (void)code,
    (void)reason; }
size_t ws_conn_queued(ws_loop_t *l, uint64_t conn) {
    (void)l, (void)conn;
    return 0;
}

static void dispatch(struct event *e) {
    pthread_mutex_lock(&F.lock);
    struct conn *c = e->kind == EV_CALL ? NULL : conn_by_id(e->conn);
    bool open = c && c->open;
    if (open && e->kind == EV_CLOSE)
        c->open = false;
    pthread_mutex_unlock(&F.lock);
    if (e->kind == EV_CALL)
        e->fn(e->ctx);
    else if (open && e->kind == EV_OPEN)
        F.handlers.opened(c->ctx, c->id, c->extensions);
    else if (open && e->kind == EV_MESSAGE)
        F.handlers.message(c->ctx, c->id, e->data, e->len, e->binary);
    else if (open)
        F.handlers.closed(c->ctx, c->id, 1006, 0, "");
    free(e->data);
    free(e);
}

static bool fire_timer(void) {
    for (size_t i = 0; i < F.ntimers; i++) {
        if (F.timers[i].due_us <= mono_us()) {
            struct timer t = F.timers[i];
            F.timers[i] = F.timers[--F.ntimers];
            t.fn(t.ctx);
            return true;
        }
    }
    return false;
}

int ws_loop_run(ws_loop_t *l) {
    (void)l;
    for (;;) {
        pthread_mutex_lock(&F.lock);
        if (!F.first && !F.stop) {
            struct timespec ts;
            clock_gettime(CLOCK_REALTIME, &ts);
            ts.tv_nsec += 5000000;
            ts.tv_sec += ts.tv_nsec / 1000000000;
            ts.tv_nsec %= 1000000000;
            pthread_cond_timedwait(&F.cond, &F.lock, &ts);
        }
        struct event *e = F.first;
        if (e && !(F.first = e->next))
            F.last = &F.first;
        bool stop = F.stop;
        pthread_mutex_unlock(&F.lock);
        if (e)
            dispatch(e);
        if (stop)
            return 0;
        while (fire_timer()) {
        }
    }
}

/* ---- steering ---- */

static bool record_is(const struct record *r, const char *path, const char *part) {
    return strcmp(r->path, path) == 0 && strstr(r->text, part);
}

static size_t count_locked(const char *path, const char *part) {
    size_t n = 0;
    for (size_t i = 0; i < F.nrecords; i++)
        n += record_is(&F.records[i], path, part);
    return n;
}

static size_t count_of(const char *path, const char *part) {
    pthread_mutex_lock(&F.lock);
    size_t n = count_locked(path, part);
    pthread_mutex_unlock(&F.lock);
    return n;
}

/* The text of the nth such message (from 1), waiting for it; NULL when it does not come. */
static const char *await(const char *path, const char *part, size_t nth) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += 20;
    const char *text = NULL;
    pthread_mutex_lock(&F.lock);
    while (count_locked(path, part) < nth && pthread_cond_timedwait(&F.cond, &F.lock, &ts) == 0) {
    }
    for (size_t i = 0, n = 0; i < F.nrecords && !text; i++) {
        if (record_is(&F.records[i], path, part) && ++n == nth)
            text = F.records[i].text;
    }
    pthread_mutex_unlock(&F.lock);
    if (!text)
        fprintf(stderr, "no message %zu with %s on %s\n", nth, part, path);
    return text;
}

static void drop(const char *path) {
    pthread_mutex_lock(&F.lock);
    struct conn *c = conn_by_path(path);
    if (c)
        post((struct event){ .kind = EV_CLOSE, .conn = c->id });
    pthread_mutex_unlock(&F.lock);
}

static void say(const char *path, const char *text) {
    pthread_mutex_lock(&F.lock);
    struct conn *c = conn_by_path(path);
    if (c)
        post((struct event){ .kind = EV_MESSAGE, .conn = c->id, .data = strdup(text), .len = strlen(text) });
    pthread_mutex_unlock(&F.lock);
}

static void say_job(const char *text) {
    json_t *v = NULL;
    buf_t frame = BUF_INIT(1 << 20);
    CHECK(json_parse(text, strlen(text), &v, NULL) == 0 && job_frame_pack(v, &frame, NULL) == 0);
    json_free(v);
    pthread_mutex_lock(&F.lock);
    struct conn *c = conn_by_path("worker");
    size_t len = frame.len;
    if (c)
        post((struct event){ .kind = EV_MESSAGE, .conn = c->id, .data = buf_steal(&frame, NULL), .len = len,
            .binary = true });
    pthread_mutex_unlock(&F.lock);
    buf_free(&frame);
}

static void say_part(buf_t *part) {
    size_t len = part->len;
    pthread_mutex_lock(&F.lock);
    struct conn *c = conn_by_path("worker");
    if (c)
        post((struct event){ .kind = EV_MESSAGE, .conn = c->id, .data = buf_steal(part, NULL), .len = len, .binary = true });
    pthread_mutex_unlock(&F.lock);
}

struct bench { osmo_operator_t *op; pthread_t thread; char dir[64]; };

static void *bench_main(void *ctx) {
    osmo_operator_run(ctx, NULL);
    return NULL;
}

static osmo_operator_options_t options_for(const struct bench *b, const char *const *settings) {
    return (osmo_operator_options_t){ .size = sizeof(osmo_operator_options_t), .service_url = "http://127.0.0.1:1",
        .backend = "b",
                                      .driver = "scripted", .state_dir = b->dir, .settings = settings };
}

static const char *health; /* where the next operator answers probes */

static bool bench_open(struct bench *b, const char *script, bool jobs) {
    static char setting[96];
    const char *settings[] = {setting, NULL};
    snprintf(b->dir, sizeof b->dir, "/tmp/test_operator.XXXXXX");
    if (!mkdtemp(b->dir))
        return false;
    char path[80];
    snprintf(path, sizeof path, "%s/script", b->dir);
    snprintf(setting, sizeof setting, "script=%s", path);
    F.last = &F.first;
    F.stop = false;
    F.accept_jobs = jobs;
    F.mute[0] = '\0';
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_operator_options_t o = options_for(b, settings);
    o.health_listen = health;
    int rc = file_write_atomic(path, script, strlen(script), 0600, false, &err);
    if (rc == 0)
        rc = osmo_operator_open(&o, &b->op, &err);
    CHECK_OK(rc, &err);
    return rc == 0 && pthread_create(&b->thread, NULL, bench_main, b->op) == 0;
}

static void bench_close(struct bench *b) {
    osmo_operator_stop(b->op);
    pthread_join(b->thread, NULL);
    osmo_operator_free(b->op);
    dir_remove_tree(b->dir, NULL);
    for (struct event *e = F.first, *next; e; e = next) {
        next = e->next;
        free(e->data);
        free(e);
    }
    F.first = NULL;
    for (size_t i = 0; i < F.nrecords; i++)
        free(F.records[i].text);
    F.nrecords = F.nconns = F.ntimers = 0;
}

#define LABELS "\"osmo.workflow_uuid\":\"w1\",\"osmo.group_uuid\":\"g1\""
static void add_pod(buf_t *out, const char *name, const char *task, int retry) {
    buf_printf(out, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"labels\":{" LABELS
               ",\"osmo.task_uuid\":\"u-%s\",\"osmo.task_name\":\"%s\",\"osmo.retry_id\":\"%d\"}},"
                   "\"spec\":{\"initContainers\":[{\"name\":\"osmo-init\"}],\"containers\":["
               "{\"name\":\"main\",\"resources\":{\"requests\":{\"cpu\":\"1500m\",\"memory\":\"1Gi\"}}},"
                   "{\"name\":\"osmo-ctrl\"}]}}",
               name, name, task, retry);
}

static void say_create(const char *id, const char *pod, const char *task, int count) {
    buf_t text = BUF_INIT(1 << 20);
    buf_printf(&text, "{\"job_type\":\"CreateGroup\",\"job_id\":\"%s\",\"job_uuid\":\"x-%s\",\"workflow_uuid\":\"w1\","
               "\"group_name\":\"g-%s\",\"k8s_resources\":[", id, id, pod);
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, count > 1 ? "%s-%d" : "%s", pod, i);
        if (i)
            buf_putc(&text, ',');
        add_pod(&text, name, task, 0);
    }
    buf_puts(&text, "]}");
    say_job(buf_cstr(&text));
    buf_free(&text);
}

/* ---- tests ---- */

static void init_comes_first(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks: {}\n", true));
    static const char *const paths[] = {"listener/control", "listener/pod", "listener/node", "listener/event",
                                        "listener/heartbeat", "worker"};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        CHECK(await(paths[i], "\"type\":\"init\"", 1) != NULL);
        bool first = true;
        pthread_mutex_lock(&F.lock);
        for (size_t r = 0; r < F.nrecords; r++) {
            if (strcmp(F.records[r].path, paths[i]) == 0) {
                CHECK(!first || strstr(F.records[r].text, "\"type\":\"init\""));
                first = false;
            }
        }
        pthread_mutex_unlock(&F.lock);
    }
    CHECK(await("listener/heartbeat", "\"type\":\"heartbeat\"", 1) != NULL);
    CHECK_CONTAINS(await("listener/node", "\"type\":\"resource\"", 1),
        "\"hostname\":\"scripted-node\",\"available\":true");
    CHECK_CONTAINS(await("listener/node", "\"type\":\"node_hash\"", 1), "[\"scripted-node\"]");
    CHECK(await("listener/node", "\"type\":\"resource_usage\"", 1) != NULL);
    say("listener/control", "{\"type\":\"node_conditions\",\"body\":{\"rules\":{\"^Ready$\":\"False\"}},"
        "\"uuid\":\"1\"}");
    say("listener/control", "{\"type\":\"node_conditions\",\"body\":{\"rules\":{\"^Rea\":\"True\",\"^R\":\"True\"}},"
        "\"uuid\":\"2\"}");
    bench_close(&b);
}

static void statuses_in_order(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks:\n  bad: {exit_code: 7, message: oh}\n", true));
    CHECK(await("worker", "init", 1) != NULL);
    say_create("j1", "p1", "good", 1);
    say_create("j2", "p2", "bad", 1);
    const char *done = await("worker", "\"job_id\":\"j1\"", 1);
    CHECK_CONTAINS(done, "\"status\":\"SUCCESS\"");
    CHECK_CONTAINS(done, "\"job_uuid\":\"x-j1\"");
    CHECK_CONTAINS(await("listener/pod", "COMPLETED", 1), "\"exit_code\":0");
    CHECK_CONTAINS(await("listener/pod", "\"status\":\"FAILED\"", 1), "\"exit_code\":7");
    static const char *const order[] = {"SCHEDULING", "INITIALIZING", "RUNNING", "COMPLETED"};
    size_t at = 0;
    pthread_mutex_lock(&F.lock);
    for (size_t i = 0; i < F.nrecords; i++) {
        if (!record_is(&F.records[i], "listener/pod", "update_pod") || !strstr(F.records[i].text, "u-p1"))
            continue;
        CHECK(at < 4 && strstr(F.records[i].text, order[at]));
        at++;
    }
    pthread_mutex_unlock(&F.lock);
    CHECK_INT(at, 4);
    CHECK_INT(count_of("listener/pod", "monitor_pod"), 2); /* once per task, though it was seen initializing */
    bench_close(&b);
}

static void window_and_replay(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks: {}\n", true));
    CHECK(await("worker", "init", 1) != NULL);
    pthread_mutex_lock(&F.lock);
    snprintf(F.mute, sizeof F.mute, "listener/pod");
    pthread_mutex_unlock(&F.lock);
    say_create("j1", "p", "t", 60); /* 300 messages */
    CHECK(await("worker", "\"job_id\":\"j1\"", 1) != NULL);
    CHECK(await("listener/pod", "\"uuid\":", 101) != NULL); /* INIT and a full window */
    CHECK(await("listener/event", "\"u-p-59\"", 1) != NULL);
    size_t before = count_of("listener/pod", "\"uuid\":");
    CHECK_INT(before, 101);
    pthread_mutex_lock(&F.lock);
    F.mute[0] = '\0';
    pthread_mutex_unlock(&F.lock);
    drop("listener/pod");
    CHECK(await("listener/pod", "COMPLETED", 60) != NULL);
    pthread_mutex_lock(&F.lock);
    const char *sent[512];
    size_t n = 0;
    for (size_t i = 0; i < F.nrecords && n < 512; i++) {
        if (strcmp(F.records[i].path, "listener/pod") == 0)
            sent[n++] = F.records[i].text;
    }
    CHECK(n > 202 && strstr(sent[101], "\"type\":\"init\""));
    for (size_t i = 1; n > 202 && i <= 100; i++)
        CHECK_STR(sent[101 + i], sent[i]);
    pthread_mutex_unlock(&F.lock);
    bench_close(&b);
}

/* A create job in parts, one of which is cut: the job is answered once, when it is complete. */
static void job_in_parts(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks: {}\n", true));
    buf_t text = BUF_INIT(16u << 20), packed = BUF_INIT(16u << 20), part = BUF_INIT(2u << 20);
    json_t *job = NULL;
    uint32_t noise = 1;
    buf_puts(&text, "{\"job_type\":\"CreateGroup\",\"job_id\":\"large\",\"job_uuid\":\"u\",\"k8s_resources\":[],\"pad\":\"");
    for (size_t i = 0; i < 4u << 20; i++) { /* does not compress well */
        noise = noise * 1664525u + 1013904223u;
        buf_putc(&text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[noise >> 26]);
    }
    buf_puts(&text, "\"}");
    REQUIRE(json_parse(text.data, text.len, &job, NULL) == 0 && job_pack(job, JOB_TOTAL_MAX, &packed, NULL) == 0);
    CHECK(packed.len > 2 * JOB_PART_MAX);
    CHECK(await("worker", "\"type\":\"init\"", 1) != NULL);
    for (int round = 0; round < 2; round++) /* the first is cut off by the second */
        for (size_t at = 0; at < (round ? packed.len : JOB_PART_MAX); at += JOB_PART_MAX) {
            buf_reset(&part);
            REQUIRE(job_part_write(&packed, at, &part) == 0);
            say_part(&part);
        }
    CHECK(await("worker", "\"large\"", 1) != NULL);
    CHECK_INT(count_of("worker", "job_status"), 1);
    json_free(job);
    buf_free(&text);
    buf_free(&packed);
    buf_free(&part);
    bench_close(&b);
}

static void without_extension(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks: {}\n", false));
    CHECK(await("worker", "init", 1) != NULL);
    say("worker", "{\"type\":\"heartbeat\"}");
    say_create("j1", "p1", "t", 1);
    say_create("j1", "p1", "t", 1);
    say_job("{\"job_type\":\"BakeCake\",\"job_id\":\"j3\"}");
    const char *first = await("worker", "job_status", 1), *second = await("worker", "job_status", 2);
    CHECK_CONTAINS(first, "\"message\":null");
    CHECK_CONTAINS(second, "AlreadyExists");
    CHECK_CONTAINS(second, "SUCCESS");
    CHECK_CONTAINS(await("worker", "job_status", 3), "FAILED_NO_RETRY");
    CHECK_INT(count_of("worker", "job_id"), 0);
    bench_close(&b);
}

#define CLEANUP "\"max_log_lines\":10,\"error_log_spec\":{\"resource_type\":\"Pod\",\"labels\":{" LABELS "}}," \
    "\"cleanup_specs\":[{\"generic_api\":{\"api_version\":\"v1\",\"kind\":\"Pod\"},\"labels\":{" LABELS "}}]"

static void cleanup_sends_last_words(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks:\n  bad: {exit_code: 7, log: \"last words\"}\n  slow: {duration_ms: 1000000}\n",
        true));
    CHECK(await("worker", "init", 1) != NULL);
    say_create("j1", "p1", "bad", 1);
    say_create("j2", "p2", "slow", 1);
    CHECK(await("listener/pod", "\"status\":\"FAILED\"", 1) != NULL);
    CHECK(await("listener/pod", "RUNNING", 2) != NULL);
    say_job("{\"job_type\":\"CleanupGroup\",\"job_id\":\"j3\",\"workflow_uuid\":\"w1\",\"group_name\":\"g\","
        CLEANUP "}");
    CHECK_CONTAINS(await("worker", "\"job_id\":\"j3\"", 1), "SUCCESS");
    CHECK_INT(count_of("worker", "pod_log"), 7); /* header and trailer for three containers, words for one */
    CHECK_CONTAINS(await("worker", "last words", 1), "\"mask\":true");
    say_create("j4", "p1", "slow", 1); /* its news come after those of the removal */
    CHECK(await("listener/pod", "RUNNING", 3) != NULL);
    CHECK_INT(count_of("listener/pod", "is gone from cluster b: it was deleted outside of OSMO"), 0);
    bench_close(&b);
}

static void deleted_pod_is_told(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks:\n  gone: {event: delete}\n", true));
    CHECK(await("worker", "init", 1) != NULL);
    say_create("j1", "p1", "gone", 1);
    const char *text = await("listener/pod", "is gone from cluster b: it was deleted outside of OSMO", 1);
    CHECK_CONTAINS(text, "FAILED_BACKEND_ERROR");
    CHECK_CONTAINS(text, "\"exit_code\":3001");
    bench_close(&b);
}

/* A reschedule whose cleanup matches nothing waits for the old pod; its connection is lost meanwhile. */
static void results_of_old_connections_are_dropped(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks:\n  slow: {duration_ms: 1000000}\n", true));
    CHECK(await("worker", "init", 1) != NULL);
    say_create("j1", "p1", "slow", 1);
    CHECK(await("listener/pod", "RUNNING", 1) != NULL);
    buf_t job = BUF_INIT(65536);
    buf_puts(&job, "{\"job_type\":\"RescheduleTask\",\"job_id\":\"j2\",\"job_uuid\":\"r\",\"workflow_uuid\":\"w1\","
        "\"retry_id\":1,"
             "\"cleanup_job\":{\"cleanup_specs\":[{\"resource_type\":\"Pod\",\"labels\":{\"none\":\"x\"}}]},"
             "\"create_job\":{\"group_name\":\"other\",\"k8s_resources\":[");
    add_pod(&job, "p1", "slow", 1);
    buf_puts(&job, "]}}");
    say_job(buf_cstr(&job));
    buf_free(&job);
    say_create("j3", "p3", "slow", 1); /* runs beside it */
    CHECK(await("worker", "\"job_id\":\"j3\"", 1) != NULL);
    drop("worker");
    CHECK(await("worker", "init", 2) != NULL);
    say_job("{\"job_type\":\"CleanupGroup\",\"job_id\":\"j4\",\"workflow_uuid\":\"w1\",\"group_name\":\"g\","
        CLEANUP "}");
    CHECK(await("worker", "\"job_id\":\"j4\"", 1) != NULL);
    /* The removal lets the reschedule go on: its pod of retry 1 appears, its result reaches nobody. */
    CHECK(await("listener/pod", "\"retry_id\":1", 1) != NULL);
    say_create("j5", "p5", "slow", 1);
    CHECK(await("worker", "\"job_id\":\"j5\"", 1) != NULL);
    CHECK_INT(count_of("worker", "\"job_id\":\"j2\""), 0);
    bench_close(&b);
}

/* The attempt before the wanted one never had a pod: an older one is removed. */
static void reschedule_removes_older_attempts(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks:\n  slow: {duration_ms: 1000000}\n", true));
    CHECK(await("worker", "init", 1) != NULL);
    say_create("j1", "p1", "slow", 1);
    CHECK(await("listener/pod", "RUNNING", 1) != NULL);
    buf_t job = BUF_INIT(65536);
    buf_puts(&job, "{\"job_type\":\"RescheduleTask\",\"job_id\":\"j2\",\"job_uuid\":\"r\",\"workflow_uuid\":\"w1\","
                   "\"group_name\":\"g-p1\",\"retry_id\":2,\"cleanup_job\":{\"cleanup_specs\":[{\"resource_type\":\"Pod\","
                   "\"labels\":{\"osmo.task_uuid\":\"u-p1\",\"osmo.retry_id\":\"1\"}}]},"
                   "\"create_job\":{\"group_name\":\"g-p1\",\"k8s_resources\":[");
    add_pod(&job, "p1", "slow", 2);
    buf_puts(&job, "]}}");
    say_job(buf_cstr(&job));
    buf_free(&job);
    CHECK_CONTAINS(await("worker", "\"job_id\":\"j2\"", 1), "SUCCESS");
    CHECK(await("listener/pod", "\"retry_id\":2", 1) != NULL);
    CHECK_INT(count_of("listener/pod", "is gone from cluster b: it was deleted outside of OSMO"), 0);
    bench_close(&b);
}

static void state_directory_has_one_owner(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks: {}\n", true));
    osmo_operator_options_t o = options_for(&b, NULL);
    osmo_operator_t *second = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(osmo_operator_open(&o, &second, &err), OSMO_EBUSY);
    CHECK_CONTAINS(err.text, "in use by another");
    bench_close(&b);
}

/* ---- snapshots ---- */

static void ask_snapshot(int64_t number) {
    char text[160];
    snprintf(text, sizeof text, "{\"type\":\"task_list\",\"body\":{\"snapshot\":%lld},\"uuid\":\"%032llx\"}", (long long)number,
             (long long)number);
    say("listener/pod", text);
}

/* Pods of all parts of a snapshot, up to the last one. */
static json_t *take_snapshot(int64_t number, size_t *parts) {
    char want[64], last[80];
    json_t *pods = json_array();
    snprintf(want, sizeof want, "\"snapshot\":%lld", (long long)number);
    snprintf(last, sizeof last, "%s,\"last\":true", want);
    *parts = 0;
    CHECK(await("listener/pod", last, 1) != NULL);
    pthread_mutex_lock(&F.lock);
    for (size_t i = 0; i < F.nrecords; i++) {
        struct message m;
        if (!record_is(&F.records[i], "listener/pod", want) ||
            message_parse(F.records[i].text, strlen(F.records[i].text), &m, NULL) < 0)
            continue;
        const json_t *some = json_get(m.body, "pods");
        for (size_t k = 0; k < json_len(some); k++)
            json_add(pods, json_copy(json_at(some, k)));
        ++*parts;
        message_clear(&m);
    }
    pthread_mutex_unlock(&F.lock);
    return pods;
}

static void snapshots(void) {
    struct bench b;
    size_t parts;
    REQUIRE(bench_open(&b, "tasks:\n  slow: {duration_ms: 3600000}\n  bad: {exit_code: 3}\n", true));
    CHECK(await("worker", "init", 1) != NULL);
    ask_snapshot(4);
    json_t *none = take_snapshot(4, &parts);
    CHECK_INT(json_len(none), 0);
    CHECK_INT(parts, 1);
    json_free(none);
    buf_t job = BUF_INIT(1 << 20);
    buf_puts(&job, "{\"job_type\":\"CreateGroup\",\"job_id\":\"j1\",\"job_uuid\":\"x\",\"workflow_uuid\":\"w1\","
                   "\"group_name\":\"g\",\"installation\":\"abc\",\"k8s_resources\":[");
    add_pod(&job, "p0", "bad", 2);
    buf_puts(&job, "]}");
    say_job(buf_cstr(&job));
    buf_free(&job);
    CHECK(await("listener/pod", "\"FAILED\"", 1) != NULL);
    say_create("j2", "q", "slow", 450);
    CHECK(await("listener/pod", "RUNNING", 451) != NULL);
    drop("listener/pod"); /* what was asked on one connection is answered on the next, and told apart by its number */
    CHECK(await("listener/pod", "\"type\":\"init\"", 2) != NULL);
    ask_snapshot(5);
    json_t *pods = take_snapshot(5, &parts);
    CHECK_INT(json_len(pods), 451);
    CHECK_INT(parts, 3);
    size_t failed = 0, running = 0;
    for (size_t i = 0; i < json_len(pods); i++) {
        const json_t *p = json_at(pods, i);
        bool bad = str_eq(json_get_str(p, "task_uuid"), "u-p0");
        CHECK_STR(json_get_str(p, "workflow_uuid"), "w1");
        CHECK_STR(json_get_str(p, "group_uuid"), "g1");
        CHECK_STR(json_get_str(p, "installation"), bad ? "abc" : NULL);
        CHECK_INT(json_get_int(p, "retry_id", -1), bad ? 2 : 0);
        CHECK_INT(json_get_int(p, "exit_code", -1), bad ? 3 : -1);
        failed += str_eq(json_get_str(p, "status"), "FAILED");
        running += str_eq(json_get_str(p, "status"), "RUNNING");
    }
    CHECK_INT(failed, 1);
    CHECK_INT(running, 450);
    json_free(pods);
    bench_close(&b);
}

/* A service that takes nothing keeps the parts waiting, and the end of the operator does not wait for it. */
static void snapshots_wait(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks:\n  slow: {duration_ms: 3600000}\n", true));
    CHECK(await("worker", "init", 1) != NULL);
    pthread_mutex_lock(&F.lock);
    snprintf(F.mute, sizeof F.mute, "listener/pod");
    pthread_mutex_unlock(&F.lock);
    say_create("j1", "q", "slow", 300);
    CHECK(await("worker", "\"job_id\":\"j1\"", 1) != NULL);
    CHECK(await("listener/pod", "\"uuid\":", 101) != NULL);
    ask_snapshot(9);
    ask_snapshot(10);
    CHECK_INT(count_of("listener/pod", "\"last\":true"), 0);
    bench_close(&b);
}

/* One line about the cluster with each heartbeat, for a service that asked for it and for none else. */
static void status_in_heartbeats(void) {
    struct bench b;
    REQUIRE(bench_open(&b, "tasks: {}\n", true));
    CHECK_CONTAINS(await("listener/heartbeat", "\"type\":\"heartbeat\"", 1), "\"status\":\"\"");
    bench_close(&b);
    REQUIRE(bench_open(&b, "tasks: {}\n", false));
    const char *heartbeat = await("listener/heartbeat", "\"type\":\"heartbeat\"", 1);
    CHECK(heartbeat && !strstr(heartbeat, "status"));
    bench_close(&b);
}

/* ---- probes ---- */

static const char *probe(int port, const char *path) {
    static char out[1 << 18];
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t len = 0;
    ssize_t n;
    _cleanup_free_ char *request = str_printf("GET %s HTTP/1.1\r\n\r\n", path);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
        while ((n = recv(fd, out + len, sizeof out - 1 - len, 0)) > 0)
            len += (size_t)n;
    out[len] = '\0';
    close(fd);
    return out;
}

static void answers_probes(void) {
    struct bench b;
    char address[32];
    int port = 0, fd = check_listen(&port);
    REQUIRE(fd >= 0);
    close(fd);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    health = address;
    bool open = bench_open(&b, "tasks:\n  ok: {}\n", true);
    health = NULL;
    REQUIRE(open);
    CHECK(await("worker", "init", 1) != NULL);
    say_create("j1", "p", "ok", 3);
    CHECK(await("listener/pod", "COMPLETED", 3) != NULL);
    while (!strstr(probe(port, "/readyz"), "200 OK")) /* as soon as everything there was is confirmed */
        usleep(1000);
    CHECK_CONTAINS(probe(port, "/readyz"), "\r\n\r\nconnected\n");
    CHECK_CONTAINS(probe(port, "/healthz"), "HTTP/1.1 200 OK");
    const char *metrics = probe(port, "/metrics");
    /* pods may be sooner */
    while (!strstr(metrics, "backend_job_execution_time_count{job_type=\"CreateGroup\",namespace=\"default\"} 1\n")) {
        usleep(1000);
        metrics = probe(port, "/metrics");
    }
    CHECK_CONTAINS(metrics, "backend_listener_queue_length{queue_type=\"unack_pod_messages\",namespace=\"default\"} 0\n");
    CHECK_CONTAINS(metrics, "kb_event_watch_count{event_type=\"pod\",namespace=\"default\"} ");
    CHECK_CONTAINS(metrics, "event_processing_times_count{event_type=\"pod\",namespace=\"default\"} ");
    CHECK_CONTAINS(metrics, "\nosmo_backend_ready 1\n");
    CHECK_CONTAINS(probe(port, "/other"), "HTTP/1.1 404 Not Found");
    drop("listener/node");
    while (!strstr(probe(port, "/metrics"), "websocket_disconnect_count{event_type=\"node\",namespace=\"default\"} 1\n"))
        usleep(1000);
    bench_close(&b);
    CHECK_STR(probe(port, "/healthz"), "");
}

static const struct check_test tests[] = {
    {"INIT comes first on every socket", init_comes_first}, {"statuses in order, once", statuses_in_order},
    {"window and replay", window_and_replay}, {"without the jobs extension", without_extension},
    {"a job in parts", job_in_parts},
    {"cleanup sends last words", cleanup_sends_last_words}, {"a deleted pod is told", deleted_pod_is_told},
    {"results of old connections are dropped", results_of_old_connections_are_dropped},
    {"reschedule removes older attempts", reschedule_removes_older_attempts},
    {"one owner of a state directory", state_directory_has_one_owner},
    {"snapshots", snapshots}, {"snapshots wait", snapshots_wait},
    {"status in heartbeats", status_in_heartbeats}, {"answers probes", answers_probes},
};
TEST_MAIN("operator", tests)
