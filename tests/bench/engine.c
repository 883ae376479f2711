/* Figures of the engine for tests/bench/engine.sh.
 *   engine submit PORT TOKEN SECONDS CONNECTIONS [same]   one-task submissions through HTTP to a running service
 *   engine transitions URL DIR WORKFLOWS TASKS            pod reports of WORKFLOWS x TASKS tasks, from SCHEDULING to COMPLETED,
 *                                                         given to the session of an operator; the commits of all are waited for
 *   engine latency URL DIR WORKFLOWS PER_SECOND SECONDS   from a pod report until a reader sees the new status
 *   engine memory URL DIR WORKFLOWS TASKS                 bytes of resident memory for each running task
 *   engine restart URL DIR WORKFLOWS TASKS                from the opening of the database of so many live tasks until it answers
 * The tasks have been handed to a worker before, which is what makes a report count; each must have changed its task.
 * All but the first open an engine of their own on the database URL, with DIR as its data directory. */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "model/messages.h"
#include "store/repo.h"

#define CONNECTIONS_MAX 1024
#define SAMPLES_MAX (1u << 20)
#define BUFFER 8192
#define SUBMITTERS 8
#define LISTENER 1
#define WORKER 2

static int usage(void) {
    fprintf(stderr, "usage: engine submit PORT TOKEN SECONDS CONNECTIONS [same]\n"
                    "       engine transitions URL DIR WORKFLOWS TASKS\n"
                    "       engine latency URL DIR WORKFLOWS PER_SECOND SECONDS\n"
                    "       engine memory|restart URL DIR WORKFLOWS TASKS\n");
    return 2;
}

static int fail(const char *what, const osmo_error_t *err) {
    fprintf(stderr, "engine: %s: %s\n", what, err ? err->text : strerror(errno));
    return 1;
}

/* ---- samples ---- */

struct samples {
    uint32_t *us;
    size_t n;
};

static void sample(struct samples *s, int64_t us) {
    if (s->n < SAMPLES_MAX)
        s->us[s->n++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile_ms(const struct samples *s, double q) {
    return s->n ? s->us[(size_t)((double)(s->n - 1) * q)] / 1000.0 : 0;
}

/* count per second, p50 and p99 in ms */
static void print_result(struct samples *s, double per_second) {
    qsort(s->us, s->n, sizeof *s->us, compare);
    printf("%.0f %.2f %.2f\n", per_second, quantile_ms(s, 0.5), quantile_ms(s, 0.99));
}

/* ---- submissions through HTTP ---- */

struct client {
    int fd;
    int64_t sent_us;
    size_t len;
    char buf[BUFFER];
};
struct load {
    int epoll, port;
    const char *token;
    bool same;
    uint64_t number;
    size_t ok, refused;
    struct samples samples;
};

static int send_request(struct load *l, struct client *c) {
    char body[1024], request[4096];
    char name[32];
    snprintf(name, sizeof name, l->same ? "bench" : "bench-%llu", (unsigned long long)++l->number);
    int n = snprintf(body, sizeof body,
                     "{\"file\":\"workflow:\\n  name: %s\\n  tasks:\\n  - name: hello\\n    image: ubuntu:22.04\\n"
                     "    command: [\\\"echo\\\", \\\"hello\\\"]\\n\"}", name);
    int len = snprintf(request, sizeof request,
                       "POST /api/pool/default/workflow HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
                       "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", l->port, l->token, n, body);
    c->len = 0;
    c->sent_us = clock_mono_us();
    return len < (int)sizeof request && send(c->fd, request, (size_t)len, MSG_NOSIGNAL) == len ? 0 : -1;
}

static int open_client(struct load *l, struct client *c) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)l->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) < 0)
        return -1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev);
}

/* 1 whole answer, 0 more to come, -1 broken */
static int receive(struct load *l, struct client *c) {
    ssize_t n = recv(c->fd, c->buf + c->len, BUFFER - 1 - c->len, 0);
    if (n <= 0)
        return -1;
    c->len += (size_t)n;
    c->buf[c->len] = '\0';
    const char *end = strstr(c->buf, "\r\n\r\n"), *length = strstr(c->buf, "Content-Length: ");
    if (!end)
        return 0;
    if (!length || length > end)
        return -1;
    if (c->len < (size_t)(end + 4 - c->buf) + strtoul(length + 16, NULL, 10))
        return 0;
    bool ok = strncmp(c->buf, "HTTP/1.1 200", 12) == 0;
    if (!ok && !l->refused++)
        fprintf(stderr, "engine: refused: %.600s\n", c->buf);
    l->ok += ok;
    return 1;
}

/* Answers that come after the end still count against the time. */
static int run_load(struct load *l, struct client *clients, size_t n, int64_t end_us) {
    size_t open = n;
    for (size_t i = 0; i < n; i++)
        if (open_client(l, &clients[i]) < 0 || send_request(l, &clients[i]) < 0)
            return -1;
    while (open) {
        struct epoll_event events[64];
        int k = epoll_wait(l->epoll, events, 64, 60000);
        if (k <= 0)
            return -1;
        for (int i = 0; i < k; i++) {
            struct client *c = events[i].data.ptr;
            int rc = receive(l, c);
            if (rc == 0)
                continue;
            int64_t now = clock_mono_us();
            if (rc > 0)
                sample(&l->samples, now - c->sent_us);
            if (rc < 0 || (now < end_us && send_request(l, c) < 0))
                return -1;
            if (now >= end_us) {
                epoll_ctl(l->epoll, EPOLL_CTL_DEL, c->fd, NULL);
                open--;
            }
        }
    }
    return 0;
}

static int run_submit(char **argv, bool same) {
    int n = atoi(argv[3]);
    struct load l = { .port = atoi(argv[0]), .token = argv[1], .same = same, .epoll = epoll_create1(EPOLL_CLOEXEC) };
    if (n < 1 || n > CONNECTIONS_MAX)
        return usage();
    _cleanup_free_ struct client *clients = calloc((size_t)n, sizeof *clients);
    _cleanup_free_ uint32_t *us = malloc(SAMPLES_MAX * sizeof *us);
    l.samples.us = us;
    if (!clients || !us || l.epoll < 0)
        return fail("start", NULL);
    int64_t from = clock_mono_us();
    int rc = run_load(&l, clients, (size_t)n, from + atoi(argv[2]) * INT64_C(1000000));
    double seconds = (double)(clock_mono_us() - from) / 1e6;
    for (int i = 0; i < n; i++)
        if (clients[i].fd > 0)
            close(clients[i].fd);
    close(l.epoll);
    if (rc < 0)
        return fail("the service closed a connection", NULL);
    print_result(&l.samples, (double)l.ok / seconds);
    return l.refused ? 1 : 0;
}

/* ---- an engine with the session of an operator ---- */

struct task {
    char workflow_uuid[33], uuid[33];
    enum status reported;
    int64_t reported_us;
};
struct bench {
    engine_t *e;
    agent_session_t *listener;
    struct task *tasks;
    size_t ntasks, per_workflow;
    atomic_size_t next;        /* workflow to be submitted */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t acks, wanted;       /* wanted: the waiter wants to hear of */
    struct frame *jobs;        /* handed out, not answered yet */
};
struct frame {
    struct frame *next;
    size_t len;
    char data[];
};
static struct bench bench = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static void keep_job(const void *data, size_t len) {
    struct frame *f = malloc(sizeof *f + len);
    if (!f)
        exit(fail("out of memory", NULL));
    f->len = len;
    memcpy(f->data, data, len);
    pthread_mutex_lock(&bench.lock);
    f->next = bench.jobs;
    bench.jobs = f;
    pthread_cond_signal(&bench.cond);
    pthread_mutex_unlock(&bench.lock);
}

static int receive_frame(void *impl, uint64_t conn, const void *data, size_t len, int binary) {
    (void)impl;
    if (conn == WORKER && binary)
        keep_job(data, len);
    if (conn != LISTENER || !memmem(data, len, "\"ack\"", 5))
        return 0;
    pthread_mutex_lock(&bench.lock);
    if (++bench.acks >= bench.wanted)
        pthread_cond_signal(&bench.cond);
    pthread_mutex_unlock(&bench.lock);
    return 0;
}

static void wait_acks(size_t n) {
    pthread_mutex_lock(&bench.lock);
    bench.wanted = n;
    while (bench.acks < n)
        pthread_cond_wait(&bench.cond, &bench.lock);
    pthread_mutex_unlock(&bench.lock);
}

static void ignore_close(void *impl, uint64_t conn, int code, const char *reason) {
    (void)impl, (void)conn;
    fprintf(stderr, "engine: the session was closed: %d %s\n", code, reason);
    exit(1);
}

static void ignore_wake(void *impl, uint64_t request) { (void)impl, (void)request; }

static void say(agent_session_t *to, const char *type, const char *body) {
    static unsigned number;
    char text[1200];
    int n = snprintf(text, sizeof text, "{\"type\":\"%s\",\"body\":%s,\"uuid\":\"%032x\"}", type, body, ++number);
    agent_message(to, text, (size_t)n, false);
}

static void report(struct task *t, enum status status) {
    char body[800];
    t->reported = status;
    t->reported_us = clock_mono_us();
    snprintf(body, sizeof body,
             "{\"workflow_uuid\":\"%s\",\"task_uuid\":\"%s\",\"retry_id\":0,\"container\":\"hello\",\"node\":\"node-1\","
             "\"pod_ip\":\"10.0.0.1\",\"message\":\"\",\"status\":\"%s\",\"exit_code\":%s,\"backend\":\"default\","
             "\"conditions\":[]}", t->workflow_uuid, t->uuid, status_name(status), status == STATUS_COMPLETED ? "0" : "null");
    say(bench.listener, "update_pod", body);
}

static int open_session(enum agent_socket kind, uint64_t conn, const char *extensions, agent_session_t **out,
                        osmo_error_t *err) {
    const char *accepted;
    char offered[64]; /* nothing is asked of registries */
    snprintf(offered, sizeof offered, "own-images%s%s", extensions ? ", " : "", extensions ? extensions : "");
    int rc = agent_open(bench.e, kind, "default", conn, offered, out, &accepted, err);
    if (rc < 0)
        return rc;
    agent_opened(*out);
    say(*out, "init", "{\"k8s_uid\":\"u\",\"k8s_namespace\":\"n\",\"version\":\"6.4.0\",\"node_condition_prefix\":\"osmo/\"}");
    return 0;
}

static int open_engine(const char *url, const char *dir, osmo_error_t *err) {
    static const osmo_transport_t transport = { .size = sizeof transport, .ws_send = receive_frame, .ws_close = ignore_close,
                                                .stream_wake = ignore_wake };
    osmo_service_options_t o = { .size = sizeof o, .data_dir = dir, .database = url, .base_url = "http://127.0.0.1:1/",
                                 .auth = OSMO_AUTH_DEV, .transport = &transport, .log = log_stderr,
                                 .log_ctx = (void *)(uintptr_t)"engine", .log_level = LOG_LEVEL_ERROR };
    int rc = engine_open(&o, &bench.e, err);
    return rc < 0 ? rc : open_session(AGENT_MESSAGE, LISTENER, NULL, &bench.listener, err);
}

static void close_engine(void) {
    if (bench.listener)
        agent_closed(bench.listener);
    if (bench.e)
        engine_close(bench.e);
    bench.listener = NULL;
    bench.e = NULL;
    free(bench.tasks);
    bench.tasks = NULL;
}

static int note_tasks(const char *id, struct task *out, osmo_error_t *err) {
    struct workflow_row wf = { 0 };
    struct task_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int rc = store_reader(bench.e->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, id, &wf, err);
    if (rc >= 0)
        rc = repo_tasks_of_workflow(db, wf.uuid, false, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n && i < bench.per_workflow; i++) {
        memcpy(out[i].workflow_uuid, wf.uuid, 33);
        memcpy(out[i].uuid, rows[i].uuid, 33);
    }
    task_rows_free(rows, n);
    workflow_row_clear(&wf);
    return rc;
}

static int submit_one(const char *text, struct task *out, osmo_error_t *err) {
    struct submit_request rq = { .user = "bench", .pool = "default", .priority = "NORMAL", .text = text,
                                 .text_len = strlen(text) };
    struct submit_result result;
    char *id = NULL;
    int rc = engine_submit(bench.e, &rq, &result, &id, err);
    free(id);
    if (rc < 0)
        return rc;
    rc = note_tasks(result.name, out, err);
    submit_result_clear(&result);
    return rc;
}

/* Workflows are taken by whichever thread is free. */
static void *submit_some(void *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    for (size_t i; (i = atomic_fetch_add(&bench.next, 1)) * bench.per_workflow < bench.ntasks;)
        if (submit_one(text, &bench.tasks[i * bench.per_workflow], &err) < 0)
            exit(fail("submission", &err));
    return NULL;
}

static int submit_all(size_t workflows, size_t tasks) {
    _cleanup_buf_ buf_t text = BUF_INIT(1u << 20);
    pthread_t threads[SUBMITTERS];
    bench.per_workflow = tasks;
    bench.ntasks = workflows * tasks;
    bench.tasks = calloc(bench.ntasks, sizeof *bench.tasks);
    buf_puts(&text, "workflow:\n  name: bench\n  tasks:\n");
    for (size_t i = 0; i < tasks; i++)
        buf_printf(&text, "  - {name: t%zu, image: ubuntu, command: [\"true\"]}\n", i);
    if (!bench.tasks || buf_failed(&text))
        return fail("out of memory", NULL);
    for (size_t i = 0; i < SUBMITTERS; i++)
        if (pthread_create(&threads[i], NULL, submit_some, (void *)(uintptr_t)buf_cstr(&text)) != 0)
            return fail("threads", NULL);
    for (size_t i = 0; i < SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

/* ---- the worker ---- */

static struct frame *next_job(void) {
    pthread_mutex_lock(&bench.lock);
    while (!bench.jobs)
        pthread_cond_wait(&bench.cond, &bench.lock);
    struct frame *f = bench.jobs;
    bench.jobs = f->next;
    pthread_mutex_unlock(&bench.lock);
    return f;
}

/* 1 when it was a create job: the backend is told of its pools first. */
static int answer_job(agent_session_t *worker, const struct frame *f, osmo_error_t *err) {
    json_t *job = NULL;
    char body[800];
    int rc = job_frame_unpack(f->data, f->len, &job, err);
    if (rc < 0)
        return rc;
    snprintf(body, sizeof body, "{\"job_id\":\"%s\",\"job_uuid\":\"%s\",\"status\":\"SUCCESS\",\"message\":\"\"}",
             json_get_str(job, "job_id"), json_get_str(job, "job_uuid"));
    int create = str_eq(json_get_str(job, "job_type"), "CreateGroup");
    json_free(job);
    say(worker, "job_status", body);
    return create;
}

/* Takes the create jobs of all groups, one of each task, and leaves: nobody asks for the cleanup jobs. */
static int hand_out(size_t groups, osmo_error_t *err) {
    agent_session_t *worker;
    int rc = open_session(AGENT_WORKER, WORKER, "jobs", &worker, err);
    for (size_t i = 0; rc >= 0 && i < groups; i += rc > 0) {
        struct frame *f = next_job();
        rc = answer_job(worker, f, err);
        free(f);
    }
    agent_closed(worker);
    return rc < 0 ? rc : 0;
}

static int prepare(char **argv, size_t workflows, size_t tasks) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (open_engine(argv[0], argv[1], &err) < 0)
        return fail("open", &err);
    if (submit_all(workflows, tasks) != 0)
        return 1;
    return hand_out(workflows * tasks, &err) < 0 ? fail("worker", &err) : 0;
}

/* ---- transitions ---- */

static const enum status life[] = { STATUS_SCHEDULING, STATUS_INITIALIZING, STATUS_RUNNING, STATUS_COMPLETED };

/* Every task must have ended: a report that changed nothing is no transition. */
static int check_ends(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    db_t *db;
    int rc = store_reader(bench.e->store, &db, &err);
    for (size_t i = 0; rc >= 0 && i < bench.ntasks; i++) {
        struct task_row row = { 0 };
        rc = repo_task_get(db, bench.tasks[i].workflow_uuid, bench.tasks[i].uuid, 0, &row, &err);
        if (rc >= 0 && row.sm.status != STATUS_COMPLETED)
            rc = osmo_error_set(&err, OSMO_EINTERNAL, "task %s is %s", row.name, status_name(row.sm.status));
        task_row_clear(&row);
    }
    return rc < 0 ? fail("the end", &err) : 0;
}

static int run_transitions(char **argv) {
    size_t workflows = strtoul(argv[2], NULL, 10), tasks = strtoul(argv[3], NULL, 10);
    if (!workflows || !tasks)
        return usage();
    if (prepare(argv, workflows, tasks) != 0)
        return 1;
    size_t before = bench.acks, sent = 0;
    int64_t from = clock_mono_us();
    for (size_t s = 0; s < ARRAY_SIZE(life); s++)
        for (size_t k = 0; k < tasks; k++) /* one task of every workflow, as events come: not workflow by workflow */
            for (size_t w = 0; w < workflows; w++, sent++)
                report(&bench.tasks[w * tasks + k], life[s]);
    wait_acks(before + sent);
    double seconds = (double)(clock_mono_us() - from) / 1e6;
    int rc = check_ends();
    if (rc == 0)
        printf("%.0f\n", (double)sent / seconds);
    close_engine();
    return rc;
}

/* ---- latency ---- */

static int wait_for(struct task *t, struct samples *s, osmo_error_t *err) {
    db_t *db;
    struct task_row row = { 0 };
    int rc = store_reader(bench.e->store, &db, err);
    if (rc >= 0)
        rc = repo_task_get(db, t->workflow_uuid, t->uuid, 0, &row, err);
    if (rc >= 0 && row.sm.status != t->reported)
        rc = osmo_error_set(err, OSMO_EINTERNAL, "an acknowledged status is not there");
    task_row_clear(&row);
    sample(s, clock_mono_us() - t->reported_us);
    return rc;
}

struct reading {
    struct samples samples;
    struct task **order; /* as reported */
    size_t total, first_ack;
};

/* Acknowledgements come in the order of the reports, after the commit. */
static void *read_back(void *arg) {
    struct reading *r = arg;
    osmo_error_t err = OSMO_ERROR_INIT;
    for (size_t i = 0; i < r->total; i++) {
        wait_acks(r->first_ack + i + 1);
        if (wait_for(r->order[i], &r->samples, &err) < 0)
            exit(fail("read", &err));
    }
    return NULL;
}

static void sleep_until(int64_t mono_us) {
    struct timespec t = { .tv_sec = mono_us / 1000000, .tv_nsec = mono_us % 1000000 * 1000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static int run_latency(char **argv) {
    size_t workflows = strtoul(argv[2], NULL, 10), rate = strtoul(argv[3], NULL, 10);
    struct reading r = { .total = rate * strtoul(argv[4], NULL, 10) };
    pthread_t thread;
    if (!workflows || !rate || !r.total || r.total > workflows * ARRAY_SIZE(life))
        return usage(); /* a task has so many statuses only */
    if (prepare(argv, workflows, 1) != 0)
        return 1;
    r.samples.us = malloc(SAMPLES_MAX * sizeof *r.samples.us);
    r.order = calloc(r.total, sizeof *r.order);
    r.first_ack = bench.acks;
    for (size_t i = 0; r.order && i < r.total; i++)
        r.order[i] = &bench.tasks[i % workflows];
    if (!r.samples.us || !r.order || pthread_create(&thread, NULL, read_back, &r) != 0)
        return fail("out of memory", NULL);
    int64_t from = clock_mono_us();
    for (size_t i = 0; i < r.total; i++) {
        sleep_until(from + (int64_t)(i * 1000000 / rate));
        report(r.order[i], life[i / workflows]);
    }
    pthread_join(thread, NULL);
    print_result(&r.samples, (double)r.total * 1e6 / (double)(clock_mono_us() - from));
    close_engine();
    free(r.samples.us);
    free(r.order);
    return 0;
}

/* ---- memory and restart ---- */

static double resident(void) {
    unsigned long pages = 0;
    malloc_trim(0);
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%*u %lu", &pages) != 1)
        exit(fail("statm", NULL));
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int run_memory(char **argv) {
    size_t workflows = strtoul(argv[2], NULL, 10), tasks = strtoul(argv[3], NULL, 10);
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!workflows || !tasks)
        return usage();
    if (open_engine(argv[0], argv[1], &err) < 0)
        return fail("open", &err);
    double before = resident();
    if (submit_all(workflows, tasks) != 0)
        return 1;
    if (hand_out(workflows * tasks, &err) < 0)
        return fail("worker", &err);
    size_t acks = bench.acks, sent = 0;
    for (size_t s = 0; life[s] != STATUS_COMPLETED; s++)
        for (size_t i = 0; i < bench.ntasks; i++, sent++)
            report(&bench.tasks[i], life[s]);
    wait_acks(acks + sent);
    double mine = (double)(bench.ntasks * sizeof *bench.tasks);
    printf("%.0f\n", (resident() - before - mine) / (double)bench.ntasks);
    close_engine();
    return 0;
}

static int run_restart(char **argv) {
    size_t workflows = strtoul(argv[2], NULL, 10), tasks = strtoul(argv[3], NULL, 10);
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!workflows || !tasks)
        return usage();
    if (open_engine(argv[0], argv[1], &err) < 0)
        return fail("open", &err);
    if (submit_all(workflows, tasks) != 0)
        return 1;
    struct task known = bench.tasks[bench.ntasks - 1];
    close_engine();
    int64_t from = clock_mono_us();
    db_t *db;
    struct task_row row = { 0 };
    int rc = open_engine(argv[0], argv[1], &err);
    if (rc >= 0)
        rc = store_reader(bench.e->store, &db, &err);
    if (rc >= 0)
        rc = repo_task_get(db, known.workflow_uuid, known.uuid, 0, &row, &err);
    if (rc < 0)
        return fail("restart", &err);
    printf("%.0f\n", (double)(clock_mono_us() - from) / 1000);
    task_row_clear(&row);
    close_engine();
    return 0;
}

int main(int argc, char **argv) {
    if ((argc == 6 || argc == 7) && !strcmp(argv[1], "submit"))
        return run_submit(argv + 2, argc == 7);
    if (argc == 6 && !strcmp(argv[1], "transitions"))
        return run_transitions(argv + 2);
    if (argc == 6 && !strcmp(argv[1], "memory"))
        return run_memory(argv + 2);
    if (argc == 6 && !strcmp(argv[1], "restart"))
        return run_restart(argv + 2);
    if (argc == 7 && !strcmp(argv[1], "latency"))
        return run_latency(argv + 2);
    return usage();
}
