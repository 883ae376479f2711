/* The small server for probes: what it answers, and to what it does not listen; and the metrics as Prometheus reads them. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "check.h"
#include "operator/metrics.h"
#include "operator/probe.h"

static int answer(void *ctx, const char *path, const char **type, buf_t *out) {
    (*(int *)ctx)++;
    if (strcmp(path, "/ok") == 0)
        return buf_puts(out, "fine\n"), 200;
    if (strcmp(path, "/large") == 0)
        for (int i = 0; i < 40000; i++)
            buf_puts(out, "0123456789\n");
    if (strcmp(path, "/endless") == 0)
        for (int i = 0; i < 200000; i++)
            buf_puts(out, "0123456789\n");
    *type = "text/x";
    return buf_printf(out, "no %s\n", path), 503;
}

static int dial(int port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

/* Says it, and reads to the end. */
static const char *talk(int port, const char *text, size_t len) {
    static buf_t out = BUF_INIT(4u << 20);
    char piece[65536];
    ssize_t n;
    int fd = dial(port);
    buf_reset(&out);
    if (send(fd, text, len, MSG_NOSIGNAL) < 0)
        CHECK(false);
    while ((n = recv(fd, piece, sizeof piece, 0)) > 0)
        buf_append(&out, piece, (size_t)n);
    close(fd);
    return buf_cstr(&out);
}

static const char *ask(int port, const char *text) { return talk(port, text, strlen(text)); }

static void answers(void) {
    static const struct { const char *request, *head, *tail; } cases[] = {
        { "GET /ok HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n",
          "\r\n\r\nfine\n" },
        { "GET /ok?a=b HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n", "fine\n" },
        { "HEAD /ok HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "close\r\n\r\n" },
        { "GET /other HTTP/1.1\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/x\r\n", "no /other\n" },
        { "GET /endless HTTP/1.1\r\n\r\n", "HTTP/1.1 500 Internal Server Error\r\n", "\n" },
        { "POST /ok HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n", "\n" },
        { "GET ok HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "\n" },
        { "GET /ok\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "\n" },
        { "GET  /ok HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "\n" },
        { "GET /o\tk HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "\n" },
        { "GET /ok HTTP/2.0\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n", "\n" },
        { "\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "\n" },
    };
    osmo_error_t err = OSMO_ERROR_INIT;
    probe_t *p = NULL;
    int asked = 0;
    REQUIRE(probe_open("127.0.0.1:0", answer, &asked, &p, &err) == 0);
    int port = probe_port(p);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *got = ask(port, cases[i].request);
        bool head = strncmp(got, cases[i].head, strlen(cases[i].head)) == 0;
        bool tail = strlen(got) >= strlen(cases[i].tail) && strcmp(got + strlen(got) - strlen(cases[i].tail), cases[i].tail) == 0;
        if (!head || !tail)
            fprintf(stderr, "case %zu: %s\n", i, got);
        CHECK(head && tail);
    }
    CHECK_INT(asked, 5);
    CHECK_INT(strlen(strstr(ask(port, "GET /large HTTP/1.1\r\n\r\n"), "\r\n\r\n")), 4 + 440000 + strlen("no /large\n"));
    CHECK_CONTAINS(talk(port, "GET /ok\0 HTTP/1.1\r\n\r\n", 22), "400 Bad Request");
    probe_close(p);
}

static void limits(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    probe_t *p = NULL;
    int asked = 0, idle[40];
    REQUIRE(probe_open("127.0.0.1:0", answer, &asked, &p, &err) == 0);
    int port = probe_port(p);
    _cleanup_buf_ buf_t large = BUF_INIT(1u << 20);
    buf_puts(&large, "GET /ok HTTP/1.1\r\n");
    for (int i = 0; i < 500; i++)
        buf_puts(&large, "X: 0123456789012345\r\n");
    CHECK_CONTAINS(ask(port, buf_cstr(&large)), "HTTP/1.1 431 ");
    CHECK_INT(asked, 0);
    for (size_t i = 0; i < 20; i++) { /* those who only look do not keep others out */
        idle[i] = dial(port);
        if (send(idle[i], "GET /", 5, MSG_NOSIGNAL) < 0)
            CHECK(false);
    }
    CHECK_CONTAINS(ask(port, "GET /ok HTTP/1.1\r\n\r\n"), "200 OK");
    for (size_t i = 20; i < 40; i++) /* not even when there are more of them than places, after a while */
        idle[i] = dial(port);
    CHECK_CONTAINS(ask(port, "GET /ok HTTP/1.1\r\n\r\n"), "200 OK");
    probe_close(p); /* with open connections */
    for (size_t i = 0; i < 40; i++)
        close(idle[i]);
}

static void addresses(void) {
    static const char *const bad[] = { "", "9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http", "localhost:0", "::1:x",
                                       "[::1", "300.1.1.1:80" };
    static const char *const good[] = { "127.0.0.1:0", "0.0.0.0:0", ":0" };
    osmo_error_t err = OSMO_ERROR_INIT;
    probe_t *p = NULL, *q = NULL;
    int asked = 0;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK_INT(probe_open(bad[i], answer, &asked, &p, &err), OSMO_EINVAL);
        CHECK_CONTAINS(err.text, "write ADDRESS:PORT, for instance 127.0.0.1:9464");
    }
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        REQUIRE(probe_open(good[i], answer, &asked, &p, &err) == 0);
        CHECK(probe_port(p) > 0);
        probe_close(p);
    }
    REQUIRE(probe_open("127.0.0.1:0", answer, &asked, &p, &err) == 0);
    char same[32];
    snprintf(same, sizeof same, "127.0.0.1:%d", probe_port(p));
    CHECK_INT(probe_open(same, answer, &asked, &q, &err), OSMO_EIO);
    CHECK_CONTAINS(err.text, "choose another port");
    probe_close(p);
}

static void metrics_text(void) {
    struct metrics m = { 0 };
    _cleanup_buf_ buf_t out = BUF_INIT(1u << 20);
    static const char *const many[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13" };
    REQUIRE(metrics_open(&m) == 0);
    metrics_count(&m, METRIC_WATCHED, "pod");
    metrics_count(&m, METRIC_WATCHED, "pod");
    metrics_count(&m, METRIC_WATCHED, "node");
    metrics_time(&m, METRIC_JOB_TIME, "CreateGroup", 2000000);
    metrics_time(&m, METRIC_JOB_TIME, "CreateGroup", 400);
    metrics_print(&m, "n\"s", &out);
    CHECK_CONTAINS(buf_cstr(&out), "# TYPE kb_event_watch_count counter\nkb_event_watch_count{event_type=\"pod\",namespace=\"n\\\"s\"} 2\n"
                                   "kb_event_watch_count{event_type=\"node\",namespace=\"n\\\"s\"} 1\n");
    CHECK_CONTAINS(buf_cstr(&out), "# TYPE backend_job_execution_time histogram\n");
    CHECK_CONTAINS(buf_cstr(&out), "backend_job_execution_time_bucket{job_type=\"CreateGroup\",namespace=\"n\\\"s\",le=\"0.0001\"} 0\n");
    CHECK_CONTAINS(buf_cstr(&out), "le=\"0.0005\"} 1\n");
    CHECK_CONTAINS(buf_cstr(&out), "le=\"1\"} 1\n");
    CHECK_CONTAINS(buf_cstr(&out), "le=\"5\"} 2\n");
    CHECK_CONTAINS(buf_cstr(&out), "le=\"+Inf\"} 2\n");
    CHECK_CONTAINS(buf_cstr(&out), "backend_job_execution_time_sum{job_type=\"CreateGroup\",namespace=\"n\\\"s\"} 2.000400\n");
    CHECK_CONTAINS(buf_cstr(&out), "backend_job_execution_time_count{job_type=\"CreateGroup\",namespace=\"n\\\"s\"} 2\n");
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        metrics_count(&m, METRIC_QUEUED, many[i]);
    buf_reset(&out);
    metrics_print(&m, "ns", &out);
    CHECK_CONTAINS(buf_cstr(&out), "backend_listener_queue_event_count{event_type=\"other\",namespace=\"ns\"} 3\n");
    metrics_close(&m);
}

static const struct check_test tests[] = {
    { "answers", answers }, { "limits", limits }, { "addresses", addresses }, { "metrics", metrics_text },
};
TEST_MAIN("probe", tests)
