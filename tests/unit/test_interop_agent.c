/* Operators of OSMO 6.4 at our agent: what they send, message by message, as the protocol has it; what they may be sent; and what
 * becomes of
 * messages that they never send. They offer no extensions. On SQLite, and on PostgreSQL where there is one. The frames themselves and the
 * upgrade are in test_interop_upgrade.c. */
#include <errno.h>
#include <time.h>

#include "engine_fixture.h"
#include "model/messages.h"

#define PATIENCE_S 20
enum { CONTROL = 11, POD, NODE, EVENT, HEART, MESSAGE, WORK, };

static unsigned uuids;

/* ---- sockets ---- */

static agent_session_t *sock_of(const char *backend, enum agent_socket kind, uint64_t conn) {
    agent_session_t *s = NULL;
    const char *accepted = "x";
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(agent_open(e, kind, backend, conn, NULL, &s, &accepted, &err), &err);
    CHECK(accepted == NULL);
    agent_opened(s);
    return s;
}
static agent_session_t *sock(enum agent_socket kind, uint64_t conn) { return sock_of("default", kind, conn); }

static void raw(agent_session_t *s, const char *text) { agent_message(s, text, strlen(text), false); }

/* The number that is its uuid. */
static unsigned tell(agent_session_t *s, const char *type, const char *body) {
    _cleanup_free_ char *text = str_printf("{\"type\":\"%s\",\"body\":%s,\"uuid\":\"%032x\"}", type, body, ++uuids);
    raw(s, text);
    return uuids;
}

#define INIT(uid, prefix) \
    "{\"k8s_uid\":\"" uid "\",\"k8s_namespace\":\"wf-ns\",\"version\":\"6.4.0\",\"node_condition_prefix\":\"" prefix "\"}"
#define LOG "{\"type\":20,\"text\":\"connected\",\"workflow_uuid\":null}"

/* As each listener socket and the worker begin: a line, INIT. */
static agent_session_t *hello(enum agent_socket kind, uint64_t conn) {
    agent_session_t *s = sock(kind, conn);
    tell(s, "logging", LOG);
    tell(s, "init", INIT("u1", ""));
    return s;
}

static struct { enum agent_socket kind; uint64_t conn; } const listeners[] = {
    { AGENT_POD, POD }, { AGENT_NODE, NODE }, { AGENT_EVENT, EVENT }, { AGENT_HEARTBEAT, HEART }, { AGENT_MESSAGE, MESSAGE },
};

/* ---- what came back ---- */

static size_t acks_of(uint64_t conn, unsigned *out, size_t max) { /* in their order; lock held */
    size_t n = 0;
    for (size_t i = 0; i < net.n; i++) {
        const char *body = net.sent[i].conn == conn && !net.sent[i].binary ? strstr(net.sent[i].data, "\"type\":\"ack\"") : NULL;
        const char *uuid = body ? strstr(body, "\"body\":{\"uuid\":\"") : NULL;
        if (uuid && n < max)
            out[n++] = (unsigned)strtoul(uuid + 16 + 24, NULL, 16);
    }
    return n;
}

/* Exactly these, in this order, once the last has come. */
static bool acked(uint64_t conn, const unsigned *want, size_t n) {
    unsigned got[2048];
    struct timespec until;
    size_t have;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&net.lock);
    while ((have = acks_of(conn, got, ARRAY_SIZE(got))) < n && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&net.cond, &net.lock, &until);
    pthread_mutex_unlock(&net.lock);
    bool good = have == n && (!n || memcmp(got, want, n * sizeof *want) == 0);
    if (!good)
        fprintf(stderr, "%zu acknowledgements, expected %zu; the first %x, expected %x\n", have, n, have ? got[0] : 0, n ? want[0] : 0);
    return good;
}

/* 0: not closed. */
static int closed_with(uint64_t conn) {
    int code = 0;
    pthread_mutex_lock(&net.lock);
    for (size_t i = 0; i < net.closes && i < ARRAY_SIZE(net.ended); i++)
        if (net.ended[i].conn == conn)
            code = net.ended[i].code;
    pthread_mutex_unlock(&net.lock);
    return code;
}

static void pause_10ms(void) {
    struct timespec t = { 0, 10000000 };
    nanosleep(&t, NULL);
}

static bool soon(bool (*holds)(void)) {
    for (int i = 0; i < PATIENCE_S * 100 && !holds(); i++)
        pause_10ms();
    return holds();
}

static bool wait_closed(uint64_t conn, int code) {
    for (int i = 0; i < PATIENCE_S * 100 && !closed_with(conn); i++)
        pause_10ms();
    return closed_with(conn) == code;
}

static bool one_of(const char *key, const char *const *known) {
    for (; *known; known++)
        if (str_eq(*known, key))
            return true;
    return false;
}

/* Every member is known; those before "|" must be there. */
static bool has_only(const json_t *o, const char *const *known) {
    bool good = json_kind(o) == JSON_OBJECT, required = true;
    for (json_iter_t it = json_iter(o); json_iter_next(&it);) {
        bool one = one_of(it.key, known);
        if (!one)
            fprintf(stderr, "unknown member %s\n", it.key);
        good &= one;
    }
    for (; *known; known++) {
        if (str_eq(*known, "|"))
            required = false;
        else if (required && !json_has(o, *known)) {
            fprintf(stderr, "no member %s\n", *known);
            good = false;
        }
    }
    return good;
}

#define COMMON "super_type", "job_type", "job_id", "job_uuid", "backend"
#define FRONTEND COMMON, "workflow_uuid", "user", "workflow_id"
static const struct { const char *type; const char *keys[20]; } jobs[] = {
    { "CreateGroup", { FRONTEND, "group_name", "k8s_resources", "backend_k8s_timeout", "scheduler_settings" } },
    { "CleanupGroup", { FRONTEND, "group_name", "cleanup_specs", "error_log_spec", "force_delete", "max_log_lines" } },
    { "RescheduleTask", { FRONTEND, "retry_id", "task_name", "lead_task", "create_job", "cleanup_job" } },
    { "LabelNode", { COMMON, "workflow_uuid", "user", "node_name", "labels" } },
    { "BackendSynchronizeQueues", { COMMON, "k8s_resources", "cleanup_specs", "immutable_kinds" } },
    { "BackendSynchronizeBackendTest", { COMMON, "test_configs", "node_condition_prefix" } },
};

static bool job_is_known(const json_t *job) {
    const char *type = json_get_str(job, "job_type");
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
        if (!str_eq(jobs[i].type, type))
            continue;
        bool good = has_only(job, jobs[i].keys);
        const json_t *parts[] = { json_get(job, "create_job"), json_get(job, "cleanup_job") };
        for (size_t k = 0; k < ARRAY_SIZE(parts); k++)
            good &= !parts[k] || job_is_known(parts[k]);
        return good;
    }
    fprintf(stderr, "unknown job %s\n", type ? type : "-");
    return false;
}

/* Not a member more than the receiver knows, for it would drop the connection; a listener takes less than 1 MiB. */
static bool frame_is_known(const struct sent *f) {
    static const char *const envelope[] = { "type", "body", "uuid", NULL }, *const ack[] = { "uuid", NULL },
                      *const rules[] = { "rules", NULL };
    _cleanup_json_ json_t *v = NULL;
    if (f->binary)
        return f->len <= 16u << 20 && job_frame_unpack(f->data, f->len, &v, NULL) >= 0 && job_is_known(v);
    if (f->len >= 1u << 20 || json_parse(f->data, f->len, &v, NULL) < 0)
        return false;
    if (f->conn == WORK || f->conn == WORKER)
        return str_eq(f->data, "{\"type\":\"heartbeat\"}");
    const char *type = json_get_str(v, "type"), *uuid = json_get_str(v, "uuid");
    bool good = has_only(v, envelope) && uuid && strlen(uuid) == 32 && strspn(uuid, "0123456789abcdef") == 32;
    if (str_eq(type, "ack"))
        return good && f->conn != CONTROL && has_only(json_get(v, "body"), ack);
    return good && f->conn == CONTROL && str_eq(type, "node_conditions") && has_only(json_get(v, "body"), rules);
}

static void check_frames(void) {
    pthread_mutex_lock(&net.lock);
    for (size_t i = 0; i < net.n; i++) {
        bool good = frame_is_known(&net.sent[i]);
        if (!good && !net.sent[i].binary)
            fprintf(stderr, "to %u: %s\n", (unsigned)net.sent[i].conn, net.sent[i].data);
        CHECK(good);
    }
    pthread_mutex_unlock(&net.lock);
}

static void finish(void) {
    check_frames();
    stop(true);
}

/* The next job of a worker, which has no other before it is answered. */
static json_t *take_job(uint64_t conn, const char *type) {
    json_t *j = net_take(conn, 1, NULL);
    CHECK_STR(json_get_str(j, "job_type"), type);
    return j;
}

#define DONE "{\"status\":\"SUCCESS\",\"message\":null}"

static agent_session_t *work(void) {
    agent_session_t *s = hello(AGENT_WORKER, WORK);
    json_free(take_job(WORK, "BackendSynchronizeQueues"));
    tell(s, "job_status", DONE);
    return s;
}

/* ---- the beginning ---- */

/* Neither what comes before INIT nor INIT itself is acknowledged, everything after it is; the worker's never. */
static void beginnings(void) {
    REQUIRE(start_with(NULL));
    for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
        agent_session_t *s = sock(listeners[i].kind, listeners[i].conn);
        unsigned want[3];
        tell(s, "logging", LOG);
        tell(s, "logging", "{\"type\":10,\"text\":\"\"}");
        tell(s, "init", INIT("u1", "osmo.nvidia.com/"));
        want[0] = tell(s, "logging", LOG);
        want[1] = tell(s, "heartbeat", "{\"time\":\"2025-11-02T10:00:00.000001\"}");
        want[2] = tell(s, "logging", "{\"type\":40,\"text\":\"x\",\"workflow_uuid\":\"1f0e\"}");
        CHECK(acked(listeners[i].conn, want, 3));
        CHECK_INT(closed_with(listeners[i].conn), 0);
        agent_closed(s);
    }
    agent_session_t *s = hello(AGENT_WORKER, WORK);
    tell(s, "logging", LOG);
    json_free(take_job(WORK, "BackendSynchronizeQueues")); /* INIT is committed */
    _cleanup_json_ json_t *beat = net_take(WORK, 0, "heartbeat"); /* at once: probes of the operator need the first one */
    CHECK_INT(json_len(beat), 1);
    CHECK(acked(WORK, NULL, 0));
    agent_closed(s);
    struct backend_row b = { 0 };
    CHECK_INT(repo_backend_get(reader(), "default", &b, NULL), 0);
    CHECK_STR(b.node_prefix, ""); /* as the last INIT has it */
    CHECK_STR(b.k8s_namespace, "wf-ns");
    CHECK_STR(b.version, "6.4.0");
    backend_row_clear(&b);
    finish();
}

static void before_init(void) {
    static const struct { const char *type, *body; } cases[] = {
        { "update_pod", "{}" },   { "resource", "{}" },          { "resource_usage", "{}" }, { "delete_resource", "{}" },
        { "node_hash", "{}" },    { "task_list", "{}" },         { "container_node", "{}" }, { "monitor_pod", "{}" },
        { "heartbeat", "{}" },    { "pod_conditions", "{}" },    { "metrics", "{}" },        { "pod_event", "{}" },
        { "job_status", "{}" },   { "pod_log", "{}" },           { "ack", "{}" },            { "node_conditions", "{}" },
        { "init", "{}" },         { "init", "{\"k8s_uid\":\"u\",\"k8s_namespace\":\"n\",\"version\":\"6\"}" },
    };
    REQUIRE(start_with(NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        agent_session_t *s = sock(i % 2 ? AGENT_WORKER : AGENT_POD, 100 + i);
        tell(s, cases[i].type, cases[i].body);
        CHECK_INT(closed_with(100 + i), 1008);
        tell(s, "init", INIT("u1", "")); /* too late */
        CHECK(acked(100 + i, NULL, 0));
        agent_closed(s);
    }
    struct backend_row b = { 0 };
    CHECK_INT(repo_backend_get(reader(), "default", &b, NULL), OSMO_ENOTFOUND);
    backend_row_clear(&b);
    stop(true);
}

/* A second cluster under the same name: on whichever socket it comes. */
static void another_cluster(void) {
    static const enum agent_socket kinds[] = { AGENT_POD, AGENT_NODE, AGENT_EVENT, AGENT_HEARTBEAT, AGENT_MESSAGE, AGENT_WORKER };
    REQUIRE(start_with(NULL));
    agent_session_t *first = hello(AGENT_POD, POD);
    unsigned want = tell(first, "heartbeat", "{\"time\":\"2025-11-02T10:00:00Z\"}");
    CHECK(acked(POD, &want, 1));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        agent_session_t *s = sock(kinds[i], 100 + i);
        tell(s, "init", INIT("u2", ""));
        tell(s, "node_hash", "{\"node_hashes\":[]}");
        CHECK(wait_closed(100 + i, 4000));
        agent_closed(s);
    }
    CHECK_INT(closed_with(POD), 0);
    agent_closed(first);
    stop(true);
}

/* It says things that nobody reads, as operators do. */
static void control(void) {
    REQUIRE(start_with(NULL));
    agent_session_t *s = hello(AGENT_CONTROL, CONTROL);
    raw(s, "nonsense");
    _cleanup_json_ json_t *m = net_take(CONTROL, 0, "node_conditions");
    CHECK_STR(json_get_str(json_path(m, "body", "rules", NULL), "Ready"), "True");
    CHECK(acked(CONTROL, NULL, 0));
    CHECK_INT(closed_with(CONTROL), 0);
    agent_closed(s);
    finish();
}

/* ---- the catalogue ---- */

static const char single[] = "workflow:\n  name: one\n  tasks:\n  - {name: t, image: ubuntu, command: ['true']}\n";

/* $W and $T are the workflow's and the task's. `twice`: from the event, another socket. */
static char *filled(const char *body) {
    char task[33];
    buf_t out = BUF_INIT(1u << 16);
    task_status("t", task);
    for (const char *p = body; *p; p++) {
        if (*p == '$' && (p[1] == 'W' || p[1] == 'T'))
            buf_puts(&out, *++p == 'W' ? wf_uuid : task);
        else
            buf_putc(&out, *p);
    }
    char *text = buf_steal(&out, NULL);
    buf_free(&out);
    return text;
}

#define REF "\"workflow_uuid\":\"$W\",\"task_uuid\":\"$T\",\"retry_id\":0"
#define COND(type, status) "{\"reason\":null,\"message\":null,\"timestamp\":\"2025-11-02T10:00:00Z\",\"status\":\"" status "\"," \
    "\"type\":\"" type "\"}"
static const struct { const char *type, *body; } catalogue[] = {
    /* nodes */
    { "resource", "{\"hostname\":\"gpu-07\",\"available\":true,\"conditions\":[\"Ready\"],\"processed_fields\":{},\"allocatable_fields\":"
                  "{\"cpu\":\"63\",\"memory\":\"527000000Ki\",\"nvidia.com/gpu\":\"8\",\"pods\":\"110\"},\"label_fields\":"
                  "{\"kubernetes.io/hostname\":\"gpu-07\"},\"taints\":[{\"effect\":\"NoSchedule\",\"key\":\"nvidia.com/gpu\","
                  "\"time_added\":null,\"value\":\"present\"}]}" },
    { "resource", "{\"hostname\":\"-\",\"available\":false,\"conditions\":[],\"processed_fields\":{},\"allocatable_fields\":{},"
                  "\"label_fields\":{},\"taints\":[]}" },
    { "resource_usage", "{\"hostname\":\"gpu-07\",\"usage_fields\":{\"cpu\":\"41\",\"memory\":\"104857600Ki\",\"ephemeral-storage\":"
                        "\"2097152Ki\",\"nvidia.com/gpu\":\"4\"},\"non_workflow_usage_fields\":{\"cpu\":\"2\",\"memory\":\"1048576Ki\","
                        "\"ephemeral-storage\":\"0Ki\",\"nvidia.com/gpu\":\"0\"}}" },
    { "resource_usage", "{\"hostname\":\"phantom\",\"usage_fields\":{},\"non_workflow_usage_fields\":{}}" },
    { "node_hash", "{\"node_hashes\":[\"gpu-07\"]}" },
    { "container_node", "{}" },
    { "container_node", "{\"whatever\":[1]}" },
    { "metrics", "{\"type\":\"COUNTER\",\"value\":1.5,\"name\":\"n\",\"unit\":\"1\",\"description\":\"d\"}" },
    { "metrics", "{\"type\":\"HISTOGRAM\",\"value\":0,\"name\":\"n\",\"unit\":\"s\",\"description\":\"\"}" },
    /* pods: members that may be null, those that may be absent, numbers as text */
    { "update_pod", "{" REF ",\"container\":\"c\",\"node\":null,\"pod_ip\":null,\"message\":\"\",\"status\":\"SCHEDULING\","
        "\"exit_code\":null,"
                    "\"backend\":\"default\",\"conditions\":[" COND("PodScheduled", "False") "]}" },
    { "update_pod", "{" REF ",\"container\":\"c\",\"status\":\"SCHEDULING\",\"backend\":\"default\"}" },
    { "update_pod", "{\"workflow_uuid\":\"$W\",\"task_uuid\":\"$T\",\"retry_id\":\"0\",\"container\":\"c\",\"node\":\"gpu-07\","
        "\"pod_ip\":null,"
                    "\"message\":\"\",\"status\":\"INITIALIZING\",\"exit_code\":null,\"backend\":\"default\",\"conditions\":[]}" },
    { "monitor_pod", "{" REF ",\"message\":\"\"}" },
    { "monitor_pod", "{" REF "}" },
    { "pod_conditions", "{" REF ",\"conditions\":[]}" },
    { "pod_conditions", "{" REF ",\"conditions\":[{\"reason\":\"Unschedulable\",\"message\":\"0/3 nodes fit\",\"timestamp\":"
                        "\"2025-11-02T09:59:00Z\",\"status\":\"False\",\"type\":\"PodScheduled\"}," COND("ContainersReady", "True") ","
                        COND("Ready", "False") "," COND("Initialized", "True") "," COND("Ready", "True") "]}" },
    { "pod_event", "{\"pod_name\":\"none-of-ours\",\"reason\":\"Pulled\",\"message\":\"m\",\"timestamp\":\"2025-11-02T10:00:01Z\"}" },
    { "update_pod", "{" REF ",\"container\":\"c\",\"node\":\"gpu-07\",\"pod_ip\":\"10.2.3.4\",\"message\":\"\",\"status\":\"RUNNING\","
                    "\"exit_code\":null,\"backend\":\"default\",\"conditions\":[" COND("Ready", "True") "]}" },
    { "update_pod", "{" REF ",\"container\":\"c\",\"node\":\"gpu-07\",\"pod_ip\":\"10.2.3.4\",\"message\":\"\",\"status\":\"SCHEDULING\","
                    "\"exit_code\":null,\"backend\":\"default\",\"conditions\":[]}" }, /* backwards: harmless */
    { "task_list", "{\"task_list\":[\"$T\"]}" },
    /* times as they come */
    { "heartbeat", "{\"time\":\"2025-11-02T10:00:05.123456\"}" },
    { "heartbeat", "{\"time\":\"2025-11-02T10:00:05\"}" },
    { "heartbeat", "{\"time\":\"2025-11-02T10:00:05Z\"}" },
    { "heartbeat", "{\"time\":\"2031-11-02T10:00:05+02:00\"}" }, /* clocks may be wrong */
    { "logging", "{\"type\":10,\"text\":\"debug\",\"workflow_uuid\":null}" },
    { "logging", "{\"type\":\"30\",\"text\":\"w\",\"workflow_uuid\":\"$W\"}" },
    { "logging", "{\"type\":20,\"text\":\"\"}" },
    { "init", INIT("u1", "") }, /* again: nothing new */
    { "ack", "{\"uuid\":\"x\"}" }, { "node_conditions", "{\"rules\":null}" }, { "job_status", "{}" }, { "pod_log", "{}" }, /* not theirs */
};

static int64_t number(const char *sql) {
    db_rows_t *rows = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t n = -1;
    if (db_query(reader(), sql, NULL, 0, &rows, &err) >= 0 && db_next(rows, &err) == 1)
        n = db_int(rows, 0);
    db_rows_free(rows);
    return n;
}

/* Each on every socket, for they share a reader; everything is acknowledged, in order, and nothing ends a connection. */
static void every_message(void) {
    REQUIRE(start_with(NULL));
    agent_session_t *worker_socket = work();
    REQUIRE(submit(single));
    json_free(take_job(WORK, "CreateGroup"));
    tell(worker_socket, "job_status", DONE);
    for (size_t k = 0; k < ARRAY_SIZE(listeners); k++) {
        agent_session_t *s = hello(listeners[k].kind, listeners[k].conn);
        unsigned want[ARRAY_SIZE(catalogue)];
        for (size_t i = 0; i < ARRAY_SIZE(catalogue); i++) {
            _cleanup_free_ char *body = filled(catalogue[i].body);
            want[i] = tell(s, catalogue[i].type, body);
        }
        CHECK(acked(listeners[k].conn, want, ARRAY_SIZE(catalogue)));
        CHECK_INT(closed_with(listeners[k].conn), 0);
        CHECK_STR(status_name(task_status("t", NULL)), "RUNNING");
        agent_closed(s);
    }
    CHECK_INT(number("SELECT COUNT(*) FROM nodes"), 1); /* node_hash leaves those that it names */
    CHECK_INT(number("SELECT COUNT(*) FROM timers WHERE kind LIKE '%start%'") >= 0, 1);
    CHECK_INT(number("SELECT COUNT(*) FROM events"), 3); /* PodScheduled, Initialized, Ready: each once, of the same second too */
    struct backend_row b = { 0 };
    CHECK_INT(repo_backend_get(reader(), "default", &b, NULL), 0);
    CHECK(b.heartbeat_us <= engine_now(e) && b.heartbeat_us > engine_now(e) - 3600000000LL); /* by our own clock */
    backend_row_clear(&b);
    struct task_row t = { 0 };
    repo_task_by_name(reader(), wf_uuid, "t", -1, &t, NULL);
    CHECK_STR(t.node_name, "gpu-07");
    CHECK_STR(t.pod_ip, "10.2.3.4");
    task_row_clear(&t);
    agent_closed(worker_socket);
    finish();
}

/* ---- messages that are none ---- */

#define U "\"uuid\":\"000000000000000000000000000000aa\""
static const struct { const char *text; bool ack; } broken[] = {
    { "{\"type\":\"heartbeat\",\"body\":{\"time\":\"2025-11-02T10:00:05\"}," U ",\"seq\":1}", true }, /* a member that nobody knows */
    { "{\"type\":\"no_such\",\"body\":{}," U "}", true },
    { "{\"type\":7,\"body\":{}," U "}", true },
    { "{\"body\":{}," U "}", true },
    { "{\"type\":\"heartbeat\"," U "}", true },
    { "{\"type\":\"heartbeat\",\"body\":[]," U "}", true },
    { "{\"type\":\"heartbeat\",\"body\":null," U "}", true },
    { "{\"type\":\"heartbeat\",\"body\":{},\"uuid\":7}", false },
    { "{\"type\":\"heartbeat\",\"body\":{},\"uuid\":\"000000000000000000000000000000000\"}", false },
    { "[]", false },
    { "\"x\"", false },
    { "{\"type\":", false },
    { "", false },
    { "\xff\xfe", false },
};

/* An operator repeats what is not acknowledged after each connection, for ever: what names itself is acknowledged and goes no further,
 * what does not ends the connection. Nothing of it is lost that was behind it. */
static void envelopes(void) {
    REQUIRE(start_with(NULL));
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        agent_session_t *s = sock(AGENT_POD, 100 + i);
        tell(s, "init", INIT("u1", ""));
        raw(s, broken[i].text);
        unsigned behind = tell(s, "heartbeat", "{\"time\":\"2025-11-02T10:00:05\"}");
        const unsigned want[] = { 0xaa, behind };
        CHECK_INT(closed_with(100 + i), broken[i].ack ? 0 : 1008);
        CHECK(acked(100 + i, want, broken[i].ack ? 2 : 0));
        agent_closed(s);
    }
    agent_session_t *s = hello(AGENT_POD, POD);
    agent_message(s, "x\x9c", 2, true);
    CHECK_INT(closed_with(POD), 1008);
    agent_closed(s);
    stop(true);
}

static const struct { const char *type, *body; } wrong[] = {
    { "update_pod", "{}" },
    { "update_pod", "{" REF ",\"status\":\"NO_SUCH\"}" },
    { "update_pod", "{" REF ",\"status\":\"SUBMITTING\"}" },
    { "update_pod", "{" REF ",\"status\":null}" },
    { "update_pod", "{\"workflow_uuid\":\"$W\",\"task_uuid\":\"$T\",\"retry_id\":\"x\",\"status\":\"FAILED\"}" },
    { "update_pod", "{\"workflow_uuid\":\"$W\",\"task_uuid\":\"00000000000000000000000000000000\",\"retry_id\":0,\"status\":\"FAILED\"}" },
    { "update_pod", "{\"workflow_uuid\":\"00000000000000000000000000000000\",\"task_uuid\":\"$T\",\"retry_id\":0,\"status\":\"FAILED\"}" },
    { "update_pod", "{\"workflow_uuid\":\"$W\",\"task_uuid\":\"$T\",\"retry_id\":9,\"status\":\"FAILED\"}" },
    { "monitor_pod", "{\"workflow_uuid\":\"nonsense\"}" },
    { "pod_conditions", "{" REF "}" },
    { "pod_conditions", "{\"workflow_uuid\":\"$W\"}" },
    { "pod_event", "{}" },
    { "resource", "{}" },
    { "resource_usage", "{\"usage_fields\":{}}" },
    { "delete_resource", "{}" },
    { "delete_resource", "{\"resource\":\"never-seen\"}" },
    { "node_hash", "{\"node_hashes\":\"x\"}" },
    { "task_list", "{}" },
    { "logging", "{}" },
    { "heartbeat", "{}" },
};

/* Acknowledged, ignored, and the connection stays: upstream acknowledges too, and drops it. */
static void bodies(void) {
    REQUIRE(start_with(NULL));
    agent_session_t *worker_socket = work(), *s = hello(AGENT_POD, POD);
    REQUIRE(submit(single));
    json_free(take_job(WORK, "CreateGroup"));
    tell(worker_socket, "job_status", DONE);
    unsigned want[ARRAY_SIZE(wrong) + 1];
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        _cleanup_free_ char *body = filled(wrong[i].body);
        want[i] = tell(s, wrong[i].type, body);
    }
    _cleanup_free_ char *running = filled("{" REF ",\"container\":\"c\",\"status\":\"RUNNING\",\"backend\":\"default\"}");
    want[ARRAY_SIZE(wrong)] = tell(s, "update_pod", running);
    CHECK(acked(POD, want, ARRAY_SIZE(want)));
    CHECK_INT(closed_with(POD), 0);
    CHECK_STR(status_name(task_status("t", NULL)), "RUNNING");
    raw(s, "{\"type\":\"heartbeat\",\"body\":{\"time\":\"2025-11-02T10:00:05\"}}"); /* no uuid: nothing that could be acknowledged */
    CHECK(acked(POD, want, ARRAY_SIZE(want)));
    agent_closed(s);
    agent_closed(worker_socket);
    finish();
}

/* ---- replay ---- */

/* After a restart an operator says everything again; after a lost connection what was not acknowledged, in order, and the last of it
 * twice. */
static void replay(void) {
    static const char *const course[] = { "SCHEDULING", "INITIALIZING", "RUNNING", "COMPLETED" };
    char texts[8][700];
    REQUIRE(start_with(NULL));
    agent_session_t *worker_socket = work(), *s = hello(AGENT_POD, POD);
    REQUIRE(submit(single));
    json_free(take_job(WORK, "CreateGroup"));
    tell(worker_socket, "job_status", DONE);
    unsigned want[64], n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(course); i++) {
        _cleanup_free_ char *ref = filled(REF);
        snprintf(texts[i], sizeof texts[i], "{%s,\"container\":\"c\",\"node\":null,\"pod_ip\":null,\"message\":\"\",\"status\":\"%s\","
            "\"exit_code\":%s,"
                 "\"backend\":\"default\",\"conditions\":[]}", ref, course[i], i == 3 ? "0" : "null");
        want[n++] = tell(s, "update_pod", texts[i]);
    }
    CHECK(acked(POD, want, n));
    json_free(take_job(WORK, "CleanupGroup"));
    tell(worker_socket, "job_status", DONE);
    CHECK(soon(is_archived));
    agent_closed(s);
    int64_t history = number("SELECT COUNT(*) FROM history");
    for (int round = 0; round < 3; round++) {
        s = hello(AGENT_POD, 200 + (uint64_t)round);
        n = 0;
        for (size_t i = 0; i < ARRAY_SIZE(course); i++)
            want[n++] = tell(s, "update_pod", texts[i]);
        want[n++] = tell(s, "update_pod", texts[3]);
        CHECK(acked(200 + (uint64_t)round, want, n));
        agent_closed(s);
    }
    CHECK_INT(number("SELECT COUNT(*) FROM history"), history);
    CHECK_STR(status_name(workflow_status(NULL)), "COMPLETED");
    agent_closed(worker_socket);
    finish();
}

/* More than an operator keeps unacknowledged, without a pause: all of them, in order. */
static void flood(void) {
    static unsigned want[1500];
    REQUIRE(start_with(NULL));
    agent_session_t *s = hello(AGENT_NODE, NODE);
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"hostname\":\"n%zu\",\"usage_fields\":{\"cpu\":\"%zu\"},\"non_workflow_usage_fields\":{}}",
            i % 7, i);
        want[i] = tell(s, "resource_usage", body);
    }
    CHECK(acked(NODE, want, ARRAY_SIZE(want)));
    char text[100] = "";
    db_rows_t *rows = NULL;
    if (db_query(reader(), "SELECT usage_json FROM nodes WHERE name = 'n1'", NULL, 0, &rows, NULL) >= 0 && db_next(rows, NULL) == 1)
        snprintf(text, sizeof text, "%s", db_text(rows, 0));
    db_rows_free(rows);
    CHECK_STR(text, "{\"cpu\":\"1499\"}"); /* the last word counts, not the last that was written by some thread */
    agent_closed(s);
    finish();
}

/* ---- jobs ---- */

static bool nothing_owed(void) { return number("SELECT COUNT(*) FROM work WHERE backend = 'default'") == 0; }

/* One at a time; answers name no job, and may have members that nobody knows. */
static void one_by_one(void) {
    REQUIRE(start_with(NULL));
    agent_session_t *s = work(), *pods = hello(AGENT_POD, POD);
    REQUIRE(submit(single) && submit(single) && submit(single));
    static const char *const answers[] = { "{\"status\":\"SUCCESS\",\"message\":null}", "{\"status\":\"SUCCESS\","
        "\"message\":\"AlreadyExists\",\"extra\":1}",
                                           "{}" }; /* SUCCESS when nothing is said */
    for (size_t i = 0; i < 3; i++) {
        _cleanup_json_ json_t *j = take_job(WORK, "CreateGroup");
        CHECK_INT(jobs_sent(), i + 2); /* no other before this one is answered */
        tell(s, "job_status", answers[i]);
    }
    CHECK(soon(nothing_owed));
    CHECK_INT(number("SELECT COUNT(*) FROM placements WHERE snapshot > 0"), 3);
    tell(s, "job_status", DONE); /* of nothing */
    tell(s, "pod_log", "{\"text\":\"lost\",\"task\":\"x\",\"retry_id\":0,\"mask\":true}");
    tell(s, "no_such", "{}");
    CHECK_INT(closed_with(WORK), 1008); /* a message that is none ends it, as upstream; the others did not */
    agent_closed(pods);
    agent_closed(s);
    finish();
}

static void failures(void) {
    REQUIRE(start_with(NULL));
    agent_session_t *s = work(), *pods = hello(AGENT_POD, POD);
    REQUIRE(submit(single));
    json_free(take_job(WORK, "CreateGroup"));
    tell(s, "job_status", "{\"status\":\"FAILED_RETRY\",\"message\":\"cut off\"}");
    json_free(take_job(WORK, "CreateGroup")); /* after a moment */
    tell(s, "job_status", "{\"status\":\"FAILED_NO_RETRY\",\"message\":\"pods is forbidden\"}");
    CHECK(soon(is_finished));
    expect_end(STATUS_FAILED_SERVER_ERROR, "group t-group could not be created: pods is forbidden");
    json_free(take_job(WORK, "CleanupGroup"));
    tell(s, "job_status", "{\"status\":\"FAILED_RETRY\",\"message\":null}");
    json_free(take_job(WORK, "CleanupGroup"));
    tell(s, "job_status", DONE);
    CHECK(soon(is_archived));
    agent_closed(pods);
    agent_closed(s);
    finish();
}

/* Logs of failed pods come within the job that collects them, in pieces; those of other jobs are dropped. The job may have to be done
 * again after that, and finds no pods then. */
enum again { NOT_AGAIN, FAILED_AGAIN, CUT_OFF };
static void error_logs_of(enum again again) {
    REQUIRE(start_with(NULL));
    agent_session_t *s = work(), *pods = hello(AGENT_POD, POD);
    REQUIRE(submit(single));
    json_free(take_job(WORK, "CreateGroup"));
    _cleanup_free_ char *early = filled("{\"text\":\"outside\",\"task\":\"$T\",\"retry_id\":0,\"mask\":true}");
    tell(s, "pod_log", early);
    tell(s, "job_status", DONE);
    _cleanup_free_ char *failed = filled("{" REF ",\"container\":\"c\",\"node\":\"n\",\"pod_ip\":null,\"message\":\"it broke\","
        "\"status\":\"FAILED\","
                                         "\"exit_code\":\"1\",\"backend\":\"default\",\"conditions\":[]}");
    unsigned want = tell(pods, "update_pod", failed);
    CHECK(acked(POD, &want, 1));
    _cleanup_json_ json_t *j = take_job(WORK, "CleanupGroup");
    CHECK_STR(json_get_str(json_get(j, "error_log_spec"), "resource_type"), "Pod");
    static const char *const pieces[] = {
        "{\"text\":\"head\\n\",\"task\":\"$T\",\"retry_id\":0,\"mask\":false}", "{\"text\":\"half a li\",\"task\":\"$T\","
            "\"retry_id\":\"0\",\"mask\":true}",
        "{\"text\":\"ne\\n\",\"task\":\"$T\",\"retry_id\":0}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        _cleanup_free_ char *body = filled(pieces[i]);
        tell(s, "pod_log", body);
    }
    tell(s, "logging", "{\"type\":20,\"text\":\"Deleting pods\",\"workflow_uuid\":null}");
    if (again == FAILED_AGAIN) {
        tell(s, "job_status", "{\"status\":\"FAILED_RETRY\",\"message\":\"removing Secret objects: overloaded\"}");
        json_free(take_job(WORK, "CleanupGroup"));
    } else if (again == CUT_OFF) {
        agent_closed(s);
        s = hello(AGENT_WORKER, WORKER);
        tell(s, "job_status", DONE); /* late, and of the connection before */
        json_free(take_job(WORKER, "CleanupGroup"));
    }
    tell(s, "job_status", DONE);
    CHECK(soon(is_archived));
    char *text = NULL;
    size_t len = 0;
    CHECK_INT(repo_file_get(reader(), wf_uuid, "t_error_logs.txt", &text, &len, NULL), 0);
    CHECK_STR(text, "head\nhalf a line\n");
    free(text);
    agent_closed(pods);
    agent_closed(s);
    finish();
}

static void error_logs(void) {
    for (enum again again = NOT_AGAIN; again <= CUT_OFF; again++)
        error_logs_of(again);
}

/* The connection breaks while a job runs, which may not be known yet. The answer comes on the next one, where it must not be taken for that
 * of the next job. */
static void late_answer_of(bool known) {
    REQUIRE(start_with(NULL));
    agent_session_t *first = work();
    REQUIRE(submit(single));
    json_free(take_job(WORK, "CreateGroup"));
    if (known)
        agent_closed(first);
    agent_session_t *s = hello(AGENT_WORKER, WORKER);
    if (!known)
        agent_closed(first);
    tell(s, "job_status", "{\"status\":\"FAILED_NO_RETRY\",\"message\":\"of the other connection\"}");
    json_free(take_job(WORKER, "CreateGroup")); /* again, and only now */
    tell(s, "job_status", DONE);
    CHECK(soon(nothing_owed));
    CHECK_STR(status_name(workflow_status(NULL)), "PENDING");
    CHECK_INT(number("SELECT COUNT(*) FROM placements WHERE snapshot > 0"), 1);
    agent_closed(s);
    finish();
}

static void late_answer(void) {
    late_answer_of(true);
    late_answer_of(false);
}

/* A preflight test that failed takes its node out of service. */
static void preflight(void) {
    REQUIRE(start_with(NULL));
    agent_session_t *s = work(), *pods = hello(AGENT_POD, POD);
    REQUIRE(submit(single));
    json_free(take_job(WORK, "CreateGroup"));
    tell(s, "job_status", DONE);
    _cleanup_free_ char *failed = filled("{" REF ",\"container\":\"c\",\"node\":\"gpu-07\",\"pod_ip\":null,\"message\":\"\","
        "\"status\":\"FAILED\","
                                         "\"exit_code\":1001,\"backend\":\"default\",\"conditions\":[]}");
    unsigned want[2] = { tell(pods, "update_pod", failed), tell(pods, "update_pod", failed) };
    CHECK(acked(POD, want, 2));
    bool labelled = false, cleaned = false;
    for (int i = 0; i < 2; i++) {
        _cleanup_json_ json_t *j = net_take(WORK, 1, NULL);
        labelled |= str_eq(json_get_str(j, "job_type"), "LabelNode") && str_eq(json_get_str(j, "node_name"), "gpu-07") &&
                    str_eq(json_get_str(json_get(j, "labels"), "osmo.verified"), "False") &&
                    str_eq(json_get_str(json_get(j, "labels"), "osmo.reason"), "PreflightTestFailed") &&
                    str_eq(json_get_str(json_get(j, "labels"), "osmo.reserved"), "preflight") &&
                    strlen(json_get_str(json_get(j, "labels"), "osmo.last-labeled")) == 10;
        cleaned |= str_eq(json_get_str(j, "job_type"), "CleanupGroup");
        tell(s, "job_status", DONE);
    }
    CHECK(labelled && cleaned);
    CHECK(soon(nothing_owed));
    agent_closed(pods);
    agent_closed(s);
    finish();
}

/* ---- nodes that go ---- */

/* INITIALIZING is an end too; and a node that went while nobody looked takes its tasks with it, a phantom of usage does not. */
static void nodes_that_go(void) {
    static const struct { const char *status, *type, *body; bool fails; } cases[] = {
        { "SCHEDULING", "delete_resource", "{\"resource\":\"n1\"}", true },
        { "INITIALIZING", "delete_resource", "{\"resource\":\"n1\"}", true },
        { "RUNNING", "delete_resource", "{\"resource\":\"n1\"}", true },
        { "RUNNING", "delete_resource", "{\"resource\":\"n2\"}", false },
        { "RUNNING", "node_hash", "{\"node_hashes\":[\"n2\"]}", true },
        { "RUNNING", "node_hash", "{\"node_hashes\":[\"n1\",\"n2\"]}", false },
        { "RUNNING", "node_hash", "{\"node_hashes\":[]}", false }, /* a list that was lost sooner than all nodes */
    };
    REQUIRE(start_with(NULL));
    agent_session_t *s = work(), *pods = hello(AGENT_MESSAGE, MESSAGE);
    size_t n = 0;
    unsigned want[ARRAY_SIZE(cases) * 4 + 4];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        REQUIRE(submit(single));
        json_free(take_job(WORK, "CreateGroup"));
        tell(s, "job_status", DONE);
        want[n++] = tell(pods, "resource", "{\"hostname\":\"n1\",\"available\":true,\"conditions\":[],\"processed_fields\":{},"
                                           "\"allocatable_fields\":{\"cpu\":\"1\"},\"label_fields\":{},\"taints\":[]}");
        _cleanup_free_ char *ref = filled(REF);
        char body[500];
        snprintf(body, sizeof body, "{%s,\"container\":\"c\",\"node\":\"n1\",\"pod_ip\":null,\"message\":\"\",\"status\":\"%s\","
            "\"exit_code\":null,"
                 "\"backend\":\"default\",\"conditions\":[]}", ref, cases[i].status);
        want[n++] = tell(pods, "update_pod", body);
        CHECK(acked(MESSAGE, want, n)); /* nothing is in order across what is told of pods and of nodes */
        want[n++] = tell(pods, cases[i].type, cases[i].body);
        CHECK(acked(MESSAGE, want, n));
        CHECK_STR(status_name(task_status("t", NULL)), cases[i].fails ? "FAILED_BACKEND_ERROR" : cases[i].status);
        if (!cases[i].fails) { /* the next case's node goes without it */
            snprintf(body, sizeof body, "{%s,\"container\":\"c\",\"status\":\"COMPLETED\",\"exit_code\":0,\"backend\":\"default\"}", ref);
            want[n++] = tell(pods, "update_pod", body);
        }
        json_free(take_job(WORK, "CleanupGroup"));
        tell(s, "job_status", DONE);
    }
    CHECK(acked(MESSAGE, want, n));
    agent_closed(pods);
    agent_closed(s);
    finish();
}

/* ---- both databases ---- */

#define CASES(T) \
    T(beginnings) T(before_init) T(another_cluster) T(control) T(every_message) T(envelopes) T(bodies) T(replay) \
    T(flood) T(one_by_one) T(failures) T(error_logs) T(late_answer) T(preflight) T(nodes_that_go)

static void on_pgsql(void) {
#define RUN(name) name,
    static void (*const all[])(void) = { CASES(RUN) };
    use_pgsql = true;
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        all[i]();
    use_pgsql = false;
}

static const struct check_test tests[] = {
#define ROW(name) { #name, name },
    CASES(ROW) { "the same on PostgreSQL", on_pgsql },
};
TEST_MAIN("interop_agent", tests)
