/* osmo_exec as a program: this test plays osmo_ctrl on the socket. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "runtime/link.h"

static char dir[64], socket_path[96];
static int listener, conn;
static pid_t child;
static buf_t in;

static void open_socket(void) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    strcpy(dir, "/tmp/osmo-test-exec-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(socket_path, sizeof socket_path, "%s/s", dir);
    strcpy(a.sun_path, socket_path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(listener, 4) == 0 &&
          chmod(socket_path, 0777) == 0);
}

static void start(const char *const *words) {
    open_socket();
    const char *argv[32] = { "osmo_exec", "-socketPath", socket_path };
    size_t n = 3;
    for (size_t i = 0; words[i]; i++) {
        argv[n++] = i == 0 ? "-commands" : "-args";
        argv[n++] = words[i];
    }
    char program[512];
    const char *build = getenv("top_builddir");
    snprintf(program, sizeof program, "%s/osmo_exec", build ? build : ".");
    child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execv(program, (char *const *)argv);
        _exit(99);
    }
    conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK(conn >= 0);
    buf_init(&in, 4u << 20);
}

static void tell(const char *type, const char *folder) {
    buf_t out = BUF_INIT(4096);
    link_message(&out, type, folder ? "OutputFolder" : NULL, folder ? folder : "", folder ? strlen(folder) : 0);
    CHECK_INT(write(conn, out.data, out.len), out.len);
    buf_free(&out);
}

/* Next message, or NULL at the end of the connection. */
static json_t *next(void) {
    json_t *m;
    static char block[65536];
    while (link_next(&in, &m) != 1) {
        ssize_t n = read(conn, block, sizeof block);
        if (n <= 0)
            return NULL;
        buf_append(&in, block, (size_t)n);
    }
    return m;
}

static int finish(void) {
    int status = 0;
    waitpid(child, &status, 0);
    close(conn);
    close(listener);
    unlink(socket_path);
    rmdir(dir);
    buf_free(&in);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Run to the end: all out and err lines joined by '|', and the last message's type. */
static void collect(char *lines, size_t cap, char *last, size_t last_cap) {
    json_t *m;
    lines[0] = last[0] = '\0';
    while ((m = next())) {
        const char *type = json_get_str(m, "Type");
        snprintf(last, last_cap, "%s", type);
        const char *text = strcmp(type, "MessageErr") == 0   ? json_get_str(m, "MessageErr")
                           : strcmp(type, "MessageOut") == 0 ? json_get_str(m, "MessageOut")
                                                             : NULL;
        if (text)
            snprintf(lines + strlen(lines), cap - strlen(lines), "%s%s|", strcmp(type, "MessageErr") == 0 ? "!" : "",
                     text);
        json_free(m);
    }
}

static void run_case(const char *script, const char *want_lines, const char *want_last, int want_code) {
    static char lines[300000];
    char last[64];
    start((const char *const[]){ "sh", "-c", script, NULL });
    tell("ExecStart", dir);
    collect(lines, sizeof lines, last, sizeof last);
    if (want_lines)
        CHECK_STR(lines, want_lines);
    CHECK_STR(last, want_last);
    CHECK_INT(finish(), want_code);
}

static void lines_and_exit_codes(void) {
    run_case("echo one; printf 'two\\r\\n'; printf three", "one|two|three|", "ExecFinished", 0);
    run_case("exit 3", "", "ExecFailed", 3);
    run_case("kill -9 $$", "", "ExecFailed", 137);
    run_case("echo bad >&2; exit 255", "!bad|", "ExecFailed", 255);
    run_case("printf 'a\\377b\\n'", "a\xEF\xBF\xBD" "b|", "ExecFinished", 0);
}

static void a_child_left_behind_does_not_keep_the_task(void) {
    static char lines[300000];
    char last[64];
    start((const char *const[]){ "sh", "-c", "sleep 100 & echo $!", NULL });
    tell("ExecStart", dir);
    collect(lines, sizeof lines, last, sizeof last);
    CHECK_STR(last, "ExecFinished");
    CHECK_INT(finish(), 0);
    int pid = atoi(lines);
    CHECK(pid > 1 && kill(pid, SIGKILL) == 0); /* it is there still, and must not outlive this test */
}

static void long_lines_come_in_pieces(void) {
    static char lines[300000];
    char last[64];
    start((const char *const[]){ "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end", NULL });
    tell("ExecStart", dir);
    collect(lines, sizeof lines, last, sizeof last);
    size_t total = 0, longest = 0, run = 0;
    for (char *p = lines; *p; p++) {
        run = *p == 'x' ? run + 1 : 0;
        longest = run > longest ? run : longest;
        total += *p == 'x';
    }
    CHECK_INT(total, 100000);
    CHECK_INT(longest, 32768);
    CHECK_CONTAINS(lines, "|end|");
    CHECK_INT(finish(), 0);
}

static void missing_program_is_named(void) {
    static char lines[4096];
    char last[64];
    start((const char *const[]){ "/no/such/program", NULL });
    tell("ExecStart", dir);
    collect(lines, sizeof lines, last, sizeof last);
    CHECK_CONTAINS(lines, "/no/such/program");
    CHECK_STR(last, "ExecFailed");
    CHECK_INT(finish(), 127);
}

static void signals_reach_the_command(void) {
    static char lines[4096];
    char last[64];
    start((const char *const[]){ "sh", "-c",
                                 "trap 'echo got term; exit 9' TERM; echo ready; while :; do sleep 0.05; done", NULL });
    tell("ExecStart", dir);
    json_t *m = next();
    CHECK_STR(json_get_str(m, "MessageOut"), "ready");
    json_free(m);
    kill(child, SIGTERM);
    collect(lines, sizeof lines, last, sizeof last);
    CHECK_CONTAINS(lines, "got term|"); /* the shell may tell of its own child too */
    CHECK_INT(finish(), 9);
}

static void stop_and_start_again(void) {
    start((const char *const[]){ "sh", "-c", "echo run; sleep 1000", NULL });
    tell("ExecStart", dir);
    for (int i = 0; i < 2; i++) {
        json_t *m = next();
        CHECK_STR(json_get_str(m, "MessageOut"), "run");
        json_free(m);
        tell("UserStop", NULL);
        m = next();
        CHECK_STR(json_get_str(m, "Type"), "UserStopFinished");
        json_free(m);
        if (i == 0)
            tell("UserStart", NULL);
    }
    shutdown(conn, SHUT_RDWR); /* osmo_ctrl vanishes */
    CHECK_INT(finish(), 2);
}

static void ctrl_failure_before_the_start(void) {
    start((const char *const[]){ "sh", "-c", "echo never", NULL });
    CHECK_INT(write(conn, "{\"Type\":\"CtrlFailed\"}", 21), 21);
    CHECK(next() == NULL);
    CHECK_INT(finish(), 0);
}

static const struct check_test tests[] = {
    { "lines and exit codes", lines_and_exit_codes },
    { "a child left behind", a_child_left_behind_does_not_keep_the_task },
    { "long lines come in pieces", long_lines_come_in_pieces },
    { "a missing program is named", missing_program_is_named },
    { "signals reach the command", signals_reach_the_command },
    { "stop and start again", stop_and_start_again },
    { "osmo_ctrl fails before the start", ctrl_failure_before_the_start },
};
TEST_MAIN("exec", tests)
