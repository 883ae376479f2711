/* Sessions as osmo_ctrl carries them: a real osmo_ctrl and a real osmo_exec, the logger and the router are played. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/file.h"
#include "check.h"
#include "ctrl_fixture.h"

#define SIZE "{\"Rows\":24,\"Cols\":80}"
#define OURS "{\"Rows\":24,\"Cols\":80,\"Extensions\":\"exit,pipe,signal\"}"
#define PIPES "{\"Rows\":24,\"Cols\":80,\"Extensions\":\"exit,pipe,signal\",\"Tty\":false}"

static char request[4096], out[1 << 16], text[8192], reason[256];
/* The command waits until the test lets it end. */
static const char *const waits[] = { "sh", "-c", "echo begun; while ! [ -e \"$0\" ]; do sleep 0.02; done", NULL, NULL };
static char end_file[128];

static void say(int fd, const char *data) { CHECK(ws_peer_write(fd, PEER_BINARY, data, strlen(data))); }

static const char *const *waiting_command(void) {
    static const char *words[5];
    /* the directory is not known yet: the file lies beside it */
    snprintf(end_file, sizeof end_file, "/tmp/osmo-test-end-%d", (int)getpid());
    unlink(end_file);
    memcpy(words, waits, sizeof words);
    words[3] = end_file;
    return words;
}

static bool begin(const struct ctrl_start *s) { return ctrl_begin(s) && ctrl_await_line("begun"); }

static bool begin_usual(void) { return begin(&(struct ctrl_start){ .command = waiting_command() }); }

static void end_usual(void) {
    CHECK(file_write_atomic(end_file, "", 0, 0600, false, NULL) == 0);
    CHECK_INT(ctrl_end(), 0);
    unlink(end_file);
}

static int all(int fd) { return router_read_all(fd, out, sizeof out, text, sizeof text, reason, sizeof reason); }

/* ---- exec ---- */

static void test_exec(void) {
    REQUIRE(begin_usual());
    ctrl_action("exec", "EXEC-abc", ",\"entry_command\":\"sh -c 'stty size; exit 7'\",\"id\":\"11\"");
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    CHECK_CONTAINS(request, "GET /api/router/exec/wf%201/backend/EXEC-abc HTTP/1.1");
    CHECK_CONTAINS(request, "Cookie: a=b; Path=/\r\n");
    CHECK_CONTAINS(request, "Authorization: Bearer eyJ");
    say(fd, OURS);
    CHECK_INT(all(fd), 1000);
    CHECK_STR(reason, "exit 7");
    CHECK_STR(out, "24 80\r\n");
    CHECK_STR(text, "{\"extensions\":\"exit,pipe,signal\"}");
    CHECK(ctrl_await_done("11"));
    end_usual();
}

static void test_exec_of_osmos_client(void) {
    REQUIRE(begin_usual());
    ctrl_action("exec", "EXEC-abc", ",\"entry_command\":\"sh\"");
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    say(fd, SIZE "echo hi $((2*3))\n");
    out[0] = '\0';
    CHECK(router_read_until(fd, out, sizeof out, "hi 6\r\n"));
    CHECK(ws_peer_write(fd, PEER_BINARY, "\0RESIZE:{\"Rows\":5,", 18)); /* in two pieces */
    say(fd, "\"Cols\":6}stty size; exit 3\n");
    CHECK_INT(all(fd), 1000);
    CHECK_CONTAINS(out, "5 6\r\n");
    CHECK_STR(reason, "");
    CHECK_STR(text, ""); /* no TEXT frame may come to OSMO's router */
    end_usual();
}

static void test_pipes(void) {
    REQUIRE(begin_usual());
    ctrl_action("exec", "EXEC-abc", ",\"entry_command\":\"sh -c 'cat; echo trouble >&2; kill -9 $$'\"");
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    say(fd, PIPES);
    CHECK(ws_peer_write(fd, PEER_BINARY, "a\0b", 3));
    CHECK(ws_peer_write(fd, PEER_BINARY, "", 0));
    CHECK_INT(all(fd), 1000);
    CHECK_STR(reason, "exit 137");
    CHECK(memcmp(out, "a\0b", 4) == 0);
    CHECK_CONTAINS(text, "{\"stderr\":\"dHJvdWJsZQo=\"}");
    end_usual();
}

static void test_signals_and_many(void) {
    enum { N = 8 };
    int fds[N];
    char key[32];
    REQUIRE(begin_usual());
    int before = ctrl_descriptors();
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "EXEC-%d", i);
        ctrl_action("exec", key, ",\"entry_command\":\"sh -c 'trap \\\"echo got; exit 4\\\" USR1; echo up; "
                                 "while :; do sleep 0.02; done'\"");
    }
    for (int i = 0; i < N; i++) {
        REQUIRE((fds[i] = router_next(request, sizeof request)) >= 0);
        say(fds[i], PIPES);
    }
    for (int i = 0; i < N; i++) {
        out[0] = '\0';
        CHECK(router_read_until(fds[i], out, sizeof out, "up\n"));
        CHECK(ws_peer_write(fds[i], PEER_BINARY, "\0SIGNAL:{\"Signal\":10}", 21));
    }
    for (int i = 0; i < N; i++) {
        CHECK_INT(all(fds[i]), 1000);
        CHECK_STR(reason, "exit 4");
        CHECK_CONTAINS(out, "got\n");
    }
    CHECK(ctrl_await_descriptors(before));
    end_usual();
}

static void test_bad_commands_are_explained(void) {
    static const struct { const char *command, *want, *reason; } cases[] = {
        { "", "entry command is empty", "exit 126" },
        { "sh -c 'open", "is not closed", "exit 126" },
        { "/no/such/thing", "cannot run '/no/such/thing'", "exit 127" },
    };
    REQUIRE(begin_usual());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char more[128];
        snprintf(more, sizeof more, ",\"entry_command\":\"%s\"", cases[i].command);
        ctrl_action("exec", "EXEC-abc", more);
        int fd = router_next(request, sizeof request);
        REQUIRE(fd >= 0);
        say(fd, OURS);
        CHECK_INT(all(fd), 1000);
        CHECK_CONTAINS(out, cases[i].want);
        CHECK_STR(reason, cases[i].reason);
    }
    end_usual();
}

static void test_before_the_start(void) {
    REQUIRE(ctrl_begin(&(struct ctrl_start){ .command = waiting_command(), .barrier = true }));
    REQUIRE(ctrl_await_line("Waiting for the other tasks"));
    ctrl_action("exec", "EXEC-abc", ",\"entry_command\":\"echo early\",\"id\":\"1\"");
    ctrl_action("rsync", "RSYNC-abc", ",\"id\":\"2\"");
    CHECK(ctrl_await_done("1") && ctrl_await_done("2")); /* held, but nothing waits for it */
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    CHECK_CONTAINS(request, "/api/router/rsync/wf%201/backend/RSYNC-abc ");
    CHECK_INT(all(fd), 4000);
    CHECK_CONTAINS(reason, "has not started its command yet");
    ctrl_release();
    fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    CHECK_CONTAINS(request, "EXEC-abc");
    say(fd, OURS);
    CHECK_INT(all(fd), 1000);
    CHECK_CONTAINS(out, "early");
    end_usual();
}

static void test_each_id_once(void) {
    REQUIRE(begin_usual());
    ctrl_action("exec", "EXEC-abc", ",\"entry_command\":\"echo once\",\"id\":\"5\"");
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    CHECK(ctrl_await_done("5"));
    ctrl_drop_logger();
    ctrl_action("exec", "EXEC-abc", ",\"entry_command\":\"echo once\",\"id\":\"5\""); /* on the next connection */
    ctrl_tell("{\"action\":\"whatever\",\"id\":\"6\"}");
    CHECK(ctrl_await_done("6"));
    CHECK_INT(ctrl_done_count(), 3);
    CHECK(router_silent());
    say(fd, OURS);
    CHECK_INT(all(fd), 1000);
    end_usual();
}

/* Whoever is in the user container may dial the socket, and say what he likes. */
static void test_strangers_on_the_socket(void) {
    static const char *const words[] = { "", "garbage\n", "{\"Session\":\"1\"}\n", "{\"Checkpoint\":{}}\n", "{\"Session\":" };
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fds[100];
    REQUIRE(begin_usual());
    strcpy(a.sun_path, ctrl_socket);
    for (int i = 0; i < 100; i++) {
        const char *word = words[i % 5];
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(connect(fds[i], (struct sockaddr *)&a, sizeof a) == 0);
        send(fds[i], word, strlen(word), MSG_NOSIGNAL);
    }
    ctrl_action("exec", "EXEC-abc", ",\"entry_command\":\"echo there\"");
    for (int i = 0; i < 100; i++)
        close(fds[i]);
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    say(fd, OURS);
    CHECK_INT(all(fd), 1000);
    CHECK_CONTAINS(out, "there");
    end_usual();
}

static void test_departure_hangs_up(void) {
    char command[256];
    REQUIRE(begin_usual());
    snprintf(command, sizeof command, ",\"entry_command\":\"sh -c 'trap \\\"echo hup > %s/hup; exit\\\" HUP; echo up; "
             "while :; do sleep 0.02; done'\"", ctrl_dir);
    ctrl_action("exec", "EXEC-abc", command);
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    say(fd, SIZE);
    out[0] = '\0';
    CHECK(router_read_until(fd, out, sizeof out, "up\r\n"));
    ws_peer_close(fd, 1000, "");
    char path[128];
    snprintf(path, sizeof path, "%s/hup", ctrl_dir);
    for (int i = 0; i < 500 && !file_exists(path); i++)
        poll(NULL, 0, 20);
    CHECK(file_exists(path));
    end_usual();
}

static void test_router_is_tried_again(void) {
    REQUIRE(begin(&(struct ctrl_start){ .command = waiting_command(), .refusals = 2 }));
    ctrl_action("exec", "EXEC-abc", ",\"entry_command\":\"echo there\"");
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    say(fd, OURS);
    CHECK_INT(all(fd), 1000);
    CHECK_CONTAINS(out, "there");
    end_usual();
}

static void test_much_output_waits_for_a_slow_reader(void) {
    REQUIRE(begin_usual());
    ctrl_action("exec", "EXEC-abc", ",\"entry_command\":\"sh -c 'head -c 3000000 /dev/zero; exit 9'\"");
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    say(fd, PIPES);
    static char data[1 << 20];
    size_t len, total = 0;
    int op;
    while ((op = ws_peer_read(fd, data, sizeof data, &len)) >= 0 && op != PEER_CLOSE) {
        total += op == PEER_BINARY ? len : 0;
        CHECK(len <= 1 << 16);
        if (total < 200000)
            poll(NULL, 0, 5);
    }
    CHECK_INT(total, 3000000);
    router_read_close(data, len, reason, sizeof reason);
    CHECK_STR(reason, "exit 9");
    ws_peer_write(fd, PEER_CLOSE, data, len);
    close(fd);
    end_usual();
}

/* ---- forwards ---- */

static void *echo_main(void *arg) {
    int fd, listener = *(int *)arg;
    char data[8192];
    ssize_t n;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        while ((n = read(fd, data, sizeof data)) > 0 && write(fd, data, (size_t)n) == n && data[n - 1] != '!')
            continue;
        close(fd);
    }
    return NULL;
}

static void test_port_forward(void) {
    int port, listener = check_listen(&port);
    pthread_t thread;
    char more[128];
    REQUIRE(listener >= 0 && pthread_create(&thread, NULL, echo_main, &listener) == 0 && begin_usual());
    snprintf(more, sizeof more, ",\"task_port\":%d,\"enable_telemetry\":true", port);
    int before = ctrl_descriptors();
    ctrl_action("portforward", "PORTFORWARD-c", more);
    int control = router_next(request, sizeof request);
    REQUIRE(control >= 0);
    CHECK_CONTAINS(request, "/api/router/portforward/wf%201/backend/PORTFORWARD-c ");
    say(control, "no announcement");
    say(control, "{\"key\":\"bad key\"}");
    for (int i = 0; i < 3; i++) {
        char frame[96], want[64];
        snprintf(frame, sizeof frame, "{\"key\":\"PORTFORWARD-c-%d\",\"cookie\":\"c=%d\"}", i, i);
        say(control, frame);
        int fd = router_next(request, sizeof request);
        REQUIRE(fd >= 0);
        snprintf(want, sizeof want, "/backend/PORTFORWARD-c-%d ", i);
        CHECK_CONTAINS(request, want);
        snprintf(want, sizeof want, "Cookie: c=%d\r\n", i);
        CHECK_CONTAINS(request, want);
        out[0] = '\0';
        say(fd, "hello");
        CHECK(router_read_until(fd, out, sizeof out, "hello"));
        if (i == 0) { /* the user's end leaves */
            ws_peer_close(fd, 1000, "");
        } else { /* the server's end does */
            say(fd, "bye!");
            CHECK_INT(all(fd), 1000);
            CHECK_STR(out, "bye!");
        }
    }
    ws_peer_close(control, 1000, "");
    CHECK(ctrl_await_descriptors(before));
    CHECK(ctrl_await_line("\"type\":\"PORTFORWARD_INPUT\"") && ctrl_await_line("\"size_in_bytes\":9,"));
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
    end_usual();
}

static void test_nobody_listens(void) {
    int port, listener = check_listen(&port);
    char more[64];
    close(listener);
    REQUIRE(begin_usual());
    snprintf(more, sizeof more, ",\"task_port\":%d", port);
    ctrl_action("portforward", "PORTFORWARD-c", more);
    int control = router_next(request, sizeof request);
    REQUIRE(control >= 0);
    say(control, "{\"key\":\"PORTFORWARD-d\",\"cookie\":\"\"}");
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    CHECK(strstr(request, "Cookie") == NULL);
    CHECK_INT(all(fd), 4000);
    CHECK_CONTAINS(reason, "nothing in the task answers on port");
    ws_peer_close(control, 1000, "");
    end_usual();
}

static void test_udp(void) {
    int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } }, from[2];
    socklen_t len = sizeof a, from_len = sizeof from[0];
    char more[64], data[256];
    size_t n;
    REQUIRE(bind(server, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(server, (struct sockaddr *)&a, &len) == 0 && begin_usual());
    snprintf(more, sizeof more, ",\"task_port\":%d,\"use_udp\":true", ntohs(a.sin_port));
    ctrl_action("portforward", "PORTFORWARD-u", more);
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    say(fd, "short");
    say(fd, "AAAAppone");
    say(fd, "BBBBpptwo");
    for (int i = 0; i < 2; i++) {
        CHECK_INT(recvfrom(server, data, sizeof data, 0, (struct sockaddr *)&from[i], &from_len), 3);
        CHECK(memcmp(data, i ? "two" : "one", 3) == 0);
    }
    CHECK(from[0].sin_port != from[1].sin_port); /* the server tells its clients apart */
    CHECK(sendto(server, "to two", 6, 0, (struct sockaddr *)&from[1], from_len) == 6);
    CHECK_INT(ws_peer_read(fd, data, sizeof data, &n), PEER_BINARY);
    CHECK_INT(n, 12);
    CHECK(memcmp(data, "BBBBppto two", 12) == 0);
    ws_peer_close(fd, 1000, "");
    close(server);
    end_usual();
}

static void test_websocket_server(void) {
    int port, listener = check_listen(&port);
    char more[128], data[256];
    size_t n;
    REQUIRE(listener >= 0 && begin_usual());
    snprintf(more, sizeof more, ",\"task_port\":%d", port);
    ctrl_action("webserver", "webserver-w", more);
    int control = router_next(request, sizeof request);
    REQUIRE(control >= 0);
    CHECK_CONTAINS(request, "/api/router/webserver/wf%201/backend/webserver-w ");
    static const char announced[] = "{\"key\":\"webserver-w-1\",\"cookie\":\"\",\"type\":\"ws\",\"payload\":{\"path\":\"/kernel?a=b\","
                                    "\"headers\":{\"X-One\":\"1\",\"Host\":\"evil\",\"Sec-WebSocket-Key\":\"x\"}}}";
    CHECK(ws_peer_write(control, PEER_TEXT, announced, sizeof announced - 1));
    int server = ws_peer_accept(listener, request, sizeof request, "");
    REQUIRE(server >= 0);
    CHECK_CONTAINS(request, "GET /kernel?a=b HTTP/1.1");
    CHECK_CONTAINS(request, "X-One: 1\r\n");
    CHECK(strstr(request, "evil") == NULL);
    int fd = router_next(request, sizeof request);
    REQUIRE(fd >= 0);
    CHECK_CONTAINS(request, "/api/router/portforward/wf%201/backend/webserver-w-1 ");
    CHECK(ws_peer_write(fd, PEER_TEXT, "question", 8));
    CHECK_INT(ws_peer_read(server, data, sizeof data, &n), PEER_TEXT);
    CHECK(ws_peer_write(server, PEER_BINARY, "answer", 6));
    CHECK_INT(ws_peer_read(fd, data, sizeof data, &n), PEER_BINARY);
    CHECK_INT(n, 6);
    ws_peer_close(server, 1001, "over");
    CHECK_INT(all(fd), 1001);
    CHECK_STR(reason, "over");
    ws_peer_close(control, 1000, "");
    close(listener);
    end_usual();
}

/* ---- the end ---- */

static void test_termination(void) {
    static const char *const command[] = { "sh", "-c", "trap 'echo saved; exit 0' TERM; echo begun; while :; do sleep 0.02; done", NULL };
    REQUIRE(begin(&(struct ctrl_start){ .command = command }));
    kill(ctrl_pid, SIGTERM);
    kill(ctrl_exec_pid, SIGTERM);
    CHECK(ctrl_await_line("saved\n"));
    CHECK_INT(ctrl_end(), 1);
}

static void test_termination_of_who_does_not_listen(void) {
    static const char *const command[] = { "sh", "-c", "trap '' TERM; echo begun; while :; do sleep 0.02; done", NULL };
    setenv("OSMO_TERMINATION_GRACE_SECONDS", "2", 1);
    REQUIRE(begin(&(struct ctrl_start){ .command = command }));
    unsetenv("OSMO_TERMINATION_GRACE_SECONDS");
    kill(ctrl_pid, SIGTERM);
    kill(ctrl_exec_pid, SIGTERM);
    CHECK_INT(ctrl_end(), 1); /* and the command is gone: else its osmo_exec would not be */
}

static void test_termination_at_the_barrier(void) {
    REQUIRE(ctrl_begin(&(struct ctrl_start){ .command = waiting_command(), .barrier = true }));
    REQUIRE(ctrl_await_line("Waiting for the other tasks"));
    kill(ctrl_pid, SIGTERM);
    CHECK_INT(ctrl_end(), 1);
}

static const struct check_test tests[] = {
    { "exec", test_exec },
    { "exec of OSMO's client", test_exec_of_osmos_client },
    { "pipes", test_pipes },
    { "signals, and many at once", test_signals_and_many },
    { "bad commands are explained", test_bad_commands_are_explained },
    { "before the start", test_before_the_start },
    { "each id once", test_each_id_once },
    { "strangers on the socket", test_strangers_on_the_socket },
    { "a departure hangs up", test_departure_hangs_up },
    { "the router is tried again", test_router_is_tried_again },
    { "much output", test_much_output_waits_for_a_slow_reader },
    { "port-forward", test_port_forward },
    { "nobody listens", test_nobody_listens },
    { "UDP", test_udp },
    { "a websocket server", test_websocket_server },
    { "termination", test_termination },
    { "termination of who does not listen", test_termination_of_who_does_not_listen },
    { "termination at the barrier", test_termination_at_the_barrier },
};
TEST_MAIN("ctrl_actions", tests)
