/* osmo_ctrl with an osmo_exec that says OSMO's nine members only (the test plays it), with one of ours whose checkpoints
 * it uploads, and the codes it ends with. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"
#include "ctrl_fixture.h"
#include "peer.h"
#include "runtime/link.h"

#define SIZE "{\"Rows\":24,\"Cols\":80}"

static char request[4096], out[1 << 16], text[8192], reason[256];
static int conn;
static buf_t in;

/* As OSMO's does: it dials until somebody listens. */
static int dial(void) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    strcpy(a.sun_path, ctrl_socket);
    for (int i = 0; i < 500; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
            return fd;
        close(fd);
        poll(NULL, 0, 20);
    }
    return -1;
}

static void tell(const char *type, const char *member, const char *value) {
    buf_t b = BUF_INIT(65536);
    link_message(&b, type, member, value ? value : "", value ? strlen(value) : 0);
    CHECK_INT(write(conn, b.data, b.len), b.len);
    buf_free(&b);
}

static json_t *hear(const char *type) {
    json_t *m = NULL;
    char block[8192];
    while (link_next(&in, &m) != 1) {
        struct pollfd p = { .fd = conn, .events = POLLIN };
        ssize_t n = poll(&p, 1, 15000) > 0 ? read(conn, block, sizeof block) : 0;
        if (n <= 0)
            break;
        buf_append(&in, block, (size_t)n);
    }
    CHECK_STR(json_get_str(m, "Type"), type);
    return m;
}

static bool begin_scripted(const struct ctrl_start *s) {
    buf_free(&in);
    buf_init(&in, 1u << 20);
    if (!ctrl_begin(s) || (conn = dial()) < 0)
        return false;
    json_t *m = hear("ExecStart");
    static const char *const members[] = { "Type",          "MessageOut", "MessageErr", "MessageOps", "OutputFolder",
                                           "RouterAddress", "Command",    "TaskPort",   "RsyncRunning" };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        CHECK(json_has(m, members[i]));
    json_free(m);
    tell("MessageOut", "MessageOut", "begun");
    return ctrl_await_line("begun");
}

static void end_scripted(void) {
    tell("ExecFinished", NULL, NULL);
    CHECK_INT(ctrl_end(), 0);
    close(conn);
}

static void say(int fd, const char *data) { CHECK(ws_peer_write(fd, PEER_BINARY, data, strlen(data))); }

/* ---- an osmo_exec of OSMO ---- */

static void test_raw_sessions_by_order(void) {
    char data[64];
    REQUIRE(begin_scripted(&(struct ctrl_start){ 0 }));
    ctrl_action("exec", "EXEC-0", ",\"entry_command\":\"one\"");
    ctrl_action("exec", "EXEC-1", ",\"entry_command\":\"two\"");
    for (int i = 0; i < 2; i++) { /* the second is asked for when the first has come: they are told apart by nothing else */
        json_t *m = hear("UserExecStart");
        CHECK_STR(json_get_str(m, "Command"), i ? "two" : "one");
        CHECK(!json_has(m, "Session"));
        json_free(m);
        int fd = dial(), ws;
        REQUIRE(fd >= 0 && (ws = router_next(request, sizeof request)) >= 0);
        CHECK_CONTAINS(request, i ? "EXEC-1" : "EXEC-0");
        say(ws, SIZE "x");
        for (size_t at = 0; at < sizeof SIZE;)
            at += (size_t)read(fd, data + at, sizeof data - at);
        CHECK(memcmp(data, SIZE "x", sizeof SIZE) == 0);
        CHECK(write(fd, "output", 6) == 6);
        close(fd);
        CHECK_INT(router_read_all(ws, out, sizeof out, text, sizeof text, reason, sizeof reason), 1000);
        CHECK_STR(out, "output");
        CHECK_STR(text, "");
        CHECK_STR(reason, "");
    }
    end_scripted();
}

static void test_rsync(void) {
    REQUIRE(begin_scripted(&(struct ctrl_start){ 0 }));
    ctrl_action("rsync", "RSYNC-0", "");
    int ws = router_next(request, sizeof request);
    REQUIRE(ws >= 0);
    CHECK_INT(router_read_all(ws, out, sizeof out, text, sizeof text, reason, sizeof reason), 4000);
    CHECK_CONTAINS(reason, "rsync server of this task does not run");
    buf_t b = BUF_INIT(4096);
    link_rsync_status(&b, true);
    CHECK_INT(write(conn, b.data, b.len), b.len);
    buf_free(&b);
    tell("MessageOut", "MessageOut", "told");
    CHECK(ctrl_await_line("told"));
    ctrl_action("rsync", "RSYNC-1", "");
    ws = router_next(request, sizeof request);
    REQUIRE(ws >= 0);
    CHECK_CONTAINS(request, "/api/router/rsync/wf%201/backend/RSYNC-1 ");
    say(ws, "{\"key\":\"RSYNC-1-1\",\"cookie\":\"c\"}");
    int data = router_next(request, sizeof request);
    REQUIRE(data >= 0);
    CHECK_CONTAINS(request, "/api/router/portforward/wf%201/backend/RSYNC-1-1 ");
    close(data);
    ws_peer_close(ws, 1000, "");
    end_scripted();
}

static void test_restart(void) {
    REQUIRE(begin_scripted(&(struct ctrl_start){ .barrier = false }));
    ctrl_tell("{\"action\":\"restart\",\"id\":\"1\"}");
    json_free(hear("UserStop"));
    tell("UserStopFinished", NULL, NULL);
    json_free(hear("UserStart"));
    end_scripted();
}

static void test_osmos_exec_ends_at_once_when_told_to(void) {
    REQUIRE(begin_scripted(&(struct ctrl_start){ 0 }));
    kill(ctrl_pid, SIGTERM);
    close(conn);
    CHECK_INT(ctrl_end(), 1);
}

/* ---- a logger of OSMO ---- */

static void test_osmos_logger(void) {
    REQUIRE(begin_scripted(&(struct ctrl_start){ .extensions = "" }));
    ctrl_action("exec", "EXEC-0", ",\"entry_command\":\"one\",\"id\":\"7\"");
    json_free(hear("UserExecStart"));
    int fd = dial();
    REQUIRE(router_next(request, sizeof request) >= 0);
    CHECK_INT(ctrl_done_count(), 0); /* it would not understand */
    close(fd);
    end_scripted();
}

/* ---- checkpoints ---- */

#define OK "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static void test_checkpoint_is_uploaded(void) {
    static const char *const answers[] = { OK, OK, NULL };
    static const char *const command[] = { "sh", "-c", "echo begun", NULL };
    static struct peer s3;
    char config[64], yaml[512], dir[] = "/tmp/osmo-test-up-XXXXXX", path[128], checkpoint[256];
    REQUIRE(peer_start(&s3, answers) && mkdtemp(dir));
    snprintf(path, sizeof path, "%s/model", dir);
    REQUIRE(mkdir(path, 0755) == 0);
    static const char *const names[] = { "a.pt", "b.pt", "skipped.log" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/model/%s", dir, names[i]);
        CHECK(file_write_atomic(path, names[i], 4, 0644, false, NULL) == 0);
    }
    snprintf(config, sizeof config, "%s/config.yaml", dir);
    snprintf(yaml, sizeof yaml,
             "auth:\n  data:\n    s3://bucket:\n      access_key_id: id\n      access_key: secret\n      region: us-east-1\n"
             "      addressing_style: path\n      override_url: http://127.0.0.1:%d\n", s3.port);
    CHECK(file_write_atomic(config, yaml, strlen(yaml), 0600, false, NULL) == 0);
    snprintf(checkpoint, sizeof checkpoint, "%s/model;s3://bucket/run 1;3600;.*\\.pt$", dir);
    const char *const exec_args[] = { "-checkpoint", checkpoint, NULL }, *const ctrl_args[] = { "-userConfig", config, NULL };
    REQUIRE(ctrl_begin(&(struct ctrl_start){ .command = command, .exec_args = exec_args, .ctrl_args = ctrl_args }));
    CHECK(ctrl_await_line("Checkpoint of")); /* the last one, after the command */
    CHECK(ctrl_has_line("uploaded 2 files, 8 B, to s3://bucket/run 1"));
    CHECK_INT(ctrl_end(), 0);
    peer_end(&s3);
    CHECK_CONTAINS(s3.got, "PUT /bucket/run%201/model/a.pt HTTP/1.1");
    CHECK_CONTAINS(s3.got, "PUT /bucket/run%201/model/b.pt HTTP/1.1");
    CHECK(strstr(s3.got, "skipped") == NULL);
    dir_remove_tree(dir, NULL);
}

static void test_checkpoints_never_end_the_task(void) {
    static const struct { const char *checkpoint, *line; } cases[] = {
        { "/tmp/osmo-no-such;s3://bucket/a;60;", "not uploaded: /tmp/osmo-no-such: No such file" },
        { "/etc/hostname;s3://bucket/a;60;(", "failed: " },
        { "/etc/hostname;file:///tmp/x;60;", "cannot be used by a task" },
        { "/etc/hostname;http://127.0.0.1:1/x;60;", "cannot be used by a task" },
        { "/etc/hostname;gs://bucket/a;60;", "failed: " }, /* without a credential */
    };
    static const char *const command[] = { "sh", "-c", "echo begun", NULL };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const exec_args[] = { "-checkpoint", cases[i].checkpoint, NULL };
        REQUIRE(ctrl_begin(&(struct ctrl_start){ .command = command, .exec_args = exec_args }));
        CHECK(ctrl_await_line(cases[i].line));
        CHECK_INT(ctrl_end(), 0);
    }
}

/* ---- codes ---- */

static void test_codes(void) {
    static const char blank[] = "/tmp/osmo-test-blank-token";
    static const struct { const char *args[3]; int code; } cases[] = {
        { { "-inputs", "nonsense", NULL }, 30 },
        { { "-unixTimeout", "0", NULL }, 23 },
        { { "-spoolPath", "/no/such/dir/spool", NULL }, 32 },
        { { "-refreshToken", blank, NULL }, 20 },
        { { "-noSuchFlag", "1", NULL }, 30 },
    };
    static const char *const command[] = { "true", NULL };
    CHECK(file_write_atomic(blank, "\n", 1, 0600, false, NULL) == 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        REQUIRE(ctrl_begin(&(struct ctrl_start){ .command = cases[i].code == 30 && i == 0 ? command : NULL, .ctrl_args = cases[i].args }));
        CHECK_INT(ctrl_end(), cases[i].code);
    }
    unlink(blank);
}

static const struct check_test tests[] = {
    { "raw sessions by order", test_raw_sessions_by_order },
    { "rsync", test_rsync },
    { "restart", test_restart },
    { "OSMO's osmo_exec ends at once", test_osmos_exec_ends_at_once_when_told_to },
    { "OSMO's logger", test_osmos_logger },
    { "a checkpoint is uploaded", test_checkpoint_is_uploaded },
    { "checkpoints never end the task", test_checkpoints_never_end_the_task },
    { "codes", test_codes },
};
TEST_MAIN("ctrl_peers", tests)
