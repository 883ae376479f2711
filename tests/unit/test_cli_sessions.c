/* The pure parts of the client's interactive commands, the terminal's guard and the watch of a tree. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "exec_session.h"
#include "rsync.h"
#include "terminal.h"

static void test_port_lists(void) {
    static const struct { const char *spec, *want; } cases[] = {
        { "8000", "8000:8000" }, { "8000:80", "8000:80" }, { "9000-9002", "9000:9000 9001:9001 9002:9002" },
        { "9000-9001:80-81", "9000:80 9001:81" }, { "1,2:3,4-5:6-7", "1:1 2:3 4:6 5:7" }, { " 1 , 2 ", "1:1 2:2" }, { "65535",
            "65535:65535" },
        { "7:9,8:9", "7:9 8:9" },
        { "", NULL }, { "0", NULL }, { "65536", NULL }, { "a", NULL }, { "1:", NULL }, { ":1", NULL }, { "1-", NULL }, { "2-1",
            NULL }, { "1,", NULL },
        { "1-3:1-2", NULL }, { "1:2:3", NULL }, { "1,1", NULL }, { "1-2000", NULL }, { "-1", NULL }, { "99999999999999999999", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct port_pair *list = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        buf_t text = BUF_INIT(4096);
        size_t n = 0;
        int rc = forward_spec_parse(cases[i].spec, &list, &n, &err);
        for (size_t k = 0; rc == 0 && k < n; k++)
            buf_printf(&text, "%s%d:%d", k ? " " : "", list[k].local, list[k].remote);
        CHECK_STR(rc == 0 ? buf_cstr(&text) : NULL, cases[i].want);
        CHECK((rc < 0) == (err.text[0] != '\0'));
        buf_free(&text);
        free(list);
    }
}

static void test_paths(void) {
    static const struct { const char *spec, *first, *second; } splits[] = {
        { "a:/b", "a", "/b" }, { "a\\:b:/c", "a:b", "/c" }, { "a:/b:c", "a", "/b:c" }, { "a\\\\:/b", "a\\", "/b" }, { "a\\b:/c",
            "a\\b", "/c" },
        { "a", NULL, NULL }, { ":/b", NULL, NULL }, { "a:", NULL, NULL }, { "", NULL, NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(splits); i++) {
        char *first, *second;
        CHECK_INT(rsync_split(splits[i].spec, &first, &second, NULL), splits[i].first ? 0 : OSMO_EINVAL);
        CHECK_STR(first, splits[i].first);
        CHECK_STR(second, splits[i].second);
        free(first);
        free(second);
    }
    static const char config[] = "{\"allowed_paths\": {"
        "\"etc\": {\"path\": \"/etc\", \"writable\": false}, \"deep\": {\"path\": \"/etc/deep/\", "
                                 "\"writable\": true}, \"inner\": {\"path\": \"/osmo/run/workspace/in\"}, \"odd\": {\"path\": 5}}}";
    static const struct { const char *remote; bool write; int rc; const char *want; } cases[] = {
        { "/osmo/run/workspace", true, 0, "osmo" }, { "/osmo/run/workspace/", true, 0, "osmo/" }, { "/osmo/run/workspace/a b", true,
            0, "osmo/a b" },
        { "/osmo/run/workspaces", true, OSMO_EDENIED, NULL }, { "/osmo/run", false, OSMO_EDENIED, NULL }, { "/", false,
            OSMO_EDENIED, NULL },
        { "/etc/passwd", false, 0, "etc/passwd" }, { "/etc/passwd", true, OSMO_EDENIED, NULL }, { "/etc/deep/x", true, 0, "deep/x" },
        { "/etc/deeper", true, OSMO_EDENIED, NULL }, { "/osmo/run/workspace/in/x", false, 0, "inner/x" },
        { "/osmo/run/workspace/in/x", true, OSMO_EDENIED, NULL }, { "relative", false, OSMO_EINVAL, NULL },
        { "/osmo/run/workspace/../x", false, OSMO_EINVAL, NULL }, { "/osmo/run/workspace/..", false, OSMO_EINVAL, NULL },
        { "/osmo/run/workspace/..x", false, 0, "osmo/..x" },
    };
    json_t *o = NULL, *root = NULL;
    REQUIRE(json_parse(config, sizeof config - 1, &o, NULL) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *out;
        CHECK_INT(rsync_locate(o, cases[i].remote, cases[i].write, &out, NULL), cases[i].rc);
        CHECK_STR(out, cases[i].want);
        free(out);
    }
    static const char all[] = "{\"allowed_paths\": {\"all\": {\"path\": \"/\"}}}";
    char *out;
    REQUIRE(json_parse(all, sizeof all - 1, &root, NULL) == 0);
    CHECK_INT(rsync_locate(root, "/usr/lib", false, &out, NULL), 0);
    CHECK_STR(out, "all/usr/lib");
    free(out);
    json_free(root);
    json_free(o);
}

static void test_exec_wire(void) {
    char out[160];
    size_t n = exec_size_frame(out, 24, 80, true, false);
    CHECK_INT(n, strlen("{\"Rows\":24,\"Cols\":80,\"Extensions\":\"exit,pipe,signal\"}"));
    CHECK(memcmp(out, "{\"Rows\":24,\"Cols\":80,\"Extensions\":\"exit,pipe,signal\"}", n) == 0);
    n = exec_size_frame(out, 1, 2, false, false);
    CHECK(n > 12 && memcmp(out + n - 13, ",\"Tty\":false}", 13) == 0);
    n = exec_size_frame(out, 41, 123, true, true);
    static const char resize[] = "\0RESIZE:{\"Rows\":41,\"Cols\":123}", term[] = "\0SIGNAL:{\"Signal\":15}";
    CHECK(n == sizeof resize - 1 && memcmp(out, resize, n) == 0);
    n = exec_signal_frame(out, 15);
    CHECK(n == sizeof term - 1 && memcmp(out, term, n) == 0);
    static const struct { const char *reason; int status; } reasons[] = {
        { "exit 0", 0 }, { "exit 255", 255 }, { "exit 256", -1 }, { "exit -1", -1 }, { "exit", -1 }, { "exit x", -1 }, { "", -1 },
            { "bye", -1 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        CHECK_INT(exec_status_of(reasons[i].reason), reasons[i].status);
    static const struct { const char *entry; bool interactive; } entries[] = {
        { "/bin/bash", true }, { "bash", true }, { " sh ", true }, { "/usr/bin/zsh", true }, { "bash -c 'x'", false }, { "./run.sh",
            false },
        { "echo", false }, { "/bin/", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
        CHECK_INT(exec_is_interactive(entries[i].entry), entries[i].interactive);
}

static void test_sessions(void) {
    static const struct { const char *set_cookie, *want; } cookies[] = {
        { "", "" }, { "a=b", "a=b" }, { "a=b; Path=/; Secure", "a=b" }, { "a=b; Path=/, c=d; SameSite=Lax", "a=b; c=d" },
        { "a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT, c=d", "a=b; c=d" }, { "a=b ; x", "a=b" }, { "none; Path=/", "" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cookies); i++) {
        _cleanup_free_ char *got = cookie_pairs(cookies[i].set_cookie);
        CHECK_STR(got, cookies[i].want);
    }
    CHECK(session_is_ours("EXEC-abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst"));
    CHECK(!session_is_ours("EXEC-0123456789abcdef0123456789abcdef"));
    CHECK(!session_is_ours("EXEC-ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRST"));
    CHECK(!session_is_ours("nothing"));
    static const struct { const char *address, *want; } urls[] = {
        { "ws://localhost:8000", "http://k.localhost:8000/" }, { "wss://osmo.example.com", "https://k.osmo.example.com/" },
        { "https://a.b/c", "https://k.a.b/" }, { "ws://127.0.0.1:80/", "http://k.localhost:80/" },
        { "ws://[::1]:80", "http://k.localhost:80/" }, { "ws://127.example.com", "http://k.127.example.com/" }, { "ws://[::2]:80",
            NULL }, { "ftp://x", NULL }, { "ws://", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        _cleanup_free_ char *got = webserver_url(urls[i].address, "k");
        CHECK_STR(got, urls[i].want);
    }
    CHECK_INT(port_wait_ms(0, 0), 1000);
    CHECK_INT(port_wait_ms(3, 5000), 13000);
    CHECK_INT(port_wait_ms(90, 5001), 32000);
    CHECK_INT(session_exit_code(1000, 0), 0);
    CHECK_INT(session_exit_code(4000, 0), EXIT_USER);
    CHECK_INT(session_exit_code(1006, 403), EXIT_USER);
    CHECK_INT(session_exit_code(1006, 429), EXIT_TRY_LATER);
    CHECK_INT(session_exit_code(1006, 503), EXIT_SERVER_DOWN);
    CHECK_INT(session_exit_code(1006, 0), EXIT_SERVER_DOWN);
}

/* ---- the terminal ---- */

enum { BY_EXIT, BY_SIGNAL, BY_ABORT, BY_RETURN };

/* In a process of its own, which leads the terminal's session. */
static void guarded(int slave, int how, int ready) {
    if (setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
        _exit(99);
    osmo_error_t err = OSMO_ERROR_INIT;
    if (terminal_raw(slave, &err) < 0 || write(ready, "r", 1) != 1)
        _exit(98);
    if (how == BY_EXIT)
        exit(7);
    if (how == BY_ABORT)
        abort();
    if (how == BY_RETURN) {
        terminal_restore();
        terminal_restore();
        _exit(7);
    }
    for (;;)
        pause();
}

static void one_end(int how, int number, int want) {
    struct termios before, raw, after;
    int master, slave, ready[2], status = 0;
    char c;
    REQUIRE(openpty(&master, &slave, NULL, NULL, NULL) == 0 && pipe2(ready, O_CLOEXEC) == 0 && tcgetattr(slave, &before) == 0);
    pid_t pid = fork();
    if (pid == 0)
        guarded(slave, how, ready[1]);
    CHECK_INT(read(ready[0], &c, 1), 1);
    if (how == BY_SIGNAL) {
        CHECK(tcgetattr(slave, &raw) == 0 && !(raw.c_lflag & (ICANON | ECHO | ISIG)));
        kill(pid, number);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), want);
    CHECK(tcgetattr(slave, &after) == 0 && after.c_lflag == before.c_lflag && after.c_iflag == before.c_iflag &&
        after.c_oflag == before.c_oflag);
    close(ready[0]);
    close(ready[1]);
    close(master);
    close(slave);
}

static void test_terminal(void) {
    static const int signals[] = { SIGHUP, SIGQUIT, SIGTERM, SIGALRM };
    one_end(BY_EXIT, 0, 7);
    one_end(BY_RETURN, 0, 7);
    one_end(BY_ABORT, 0, 128 + SIGABRT);
    one_end(BY_SIGNAL, SIGINT, EXIT_INTERRUPTED);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        one_end(BY_SIGNAL, signals[i], 128 + signals[i]);
}

/* Made non-blocking for us, and for nobody else who has it. */
static void test_own_descriptors(void) {
    int pair[2];
    REQUIRE(pipe2(pair, O_CLOEXEC) == 0);
    int own = terminal_own(pair[0], false);
    CHECK(own >= 0 && own != pair[0]);
    CHECK(fcntl(own, F_GETFL) & O_NONBLOCK);
    CHECK(!(fcntl(pair[0], F_GETFL) & O_NONBLOCK));
    CHECK_INT(write(pair[1], "x", 1), 1);
    char c;
    CHECK_INT(read(own, &c, 1), 1);
    close(own);
    close(pair[0]);
    close(pair[1]);
    char name[] = "/tmp/osmo-test-XXXXXX";
    int file = mkstemp(name);
    CHECK_INT(write(file, "abc", 3), 3);
    own = terminal_own(file, true);
    CHECK_INT(write(own, "def", 3), 3); /* behind what is there */
    CHECK_INT(lseek(file, 0, SEEK_CUR), 6);
    close(own);
    close(file);
    unlink(name);
}

/* ---- a tree ---- */

static bool changed(struct tree_watch *w) {
    struct pollfd p = { .fd = tree_watch_fd(w), .events = POLLIN };
    return poll(&p, 1, 5000) == 1 && tree_watch_read(w);
}

static bool quiet(struct tree_watch *w) {
    struct pollfd p = { .fd = tree_watch_fd(w), .events = POLLIN };
    return poll(&p, 1, 0) == 0 || !tree_watch_read(w);
}

static void put(const char *dir, const char *name) {
    _cleanup_free_ char *path = str_printf("%s/%s", dir, name);
    CHECK_INT(file_write_atomic(path, "x", 1, 0600, false, NULL), 0);
}

static void test_tree(void) {
    char dir[] = "/tmp/osmo-test-XXXXXX";
    struct tree_watch *w = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(mkdtemp(dir) != NULL);
    _cleanup_free_ char *below = str_printf("%s/a/b", dir), *fresh = str_printf("%s/a/c/d", dir), *moved = str_printf("%s/e", dir);
    _cleanup_free_ char *from = str_printf("%s/a/c", dir), *file = str_printf("%s/one", dir);
    CHECK_INT(dir_make(below, 0700, NULL), 0);
    CHECK_OK(tree_watch_open(dir, &w, &err), &err);
    CHECK(tree_watch_complete(w));
    CHECK(quiet(w));
    put(below, "x");
    CHECK(changed(w));
    CHECK_INT(dir_make(fresh, 0700, NULL), 0);
    CHECK(changed(w));
    put(fresh, "y"); /* in what was not there when it began */
    CHECK(changed(w));
    CHECK_INT(rename(from, moved), 0);
    CHECK(changed(w));
    put(moved, "z");
    CHECK(changed(w));
    tree_watch_free(w);
    put(dir, "one");
    CHECK_OK(tree_watch_open(file, &w, &err), &err);
    put(dir, "two");
    CHECK(quiet(w));
    put(dir, "one"); /* replaced by another */
    CHECK(changed(w));
    tree_watch_free(w);
    CHECK_INT(tree_watch_open("/nonexistent/x", &w, &err), OSMO_EINVAL);
    tree_watch_free(NULL);
    dir_remove_tree(dir, NULL);
}

static const struct check_test tests[] = {
    { "lists of ports", test_port_lists }, { "paths", test_paths }, { "what exec says", test_exec_wire }, { "sessions", test_sessions },
    { "terminal", test_terminal }, { "own descriptors", test_own_descriptors }, { "tree", test_tree },
};
TEST_MAIN("cli_sessions", tests)
