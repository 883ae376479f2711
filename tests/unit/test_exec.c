/* osmo_exec as a program: this test plays osmo_ctrl on the socket. */
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "exec_fixture.h"


static void start(const char *const *words) { exec_start(NULL, words); }

static void tell(const char *type, const char *folder) { exec_tell(type, folder ? "OutputFolder" : NULL, folder, NULL, NULL); }

/* Run to the end: all out and err lines joined by '|', and the last message's type. */
static void collect(char *lines, size_t cap, char *last, size_t last_cap) {
    json_t *m;
    lines[0] = last[0] = '\0';
    while ((m = exec_next())) {
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
    tell("ExecStart", exec_dir);
    collect(lines, sizeof lines, last, sizeof last);
    if (want_lines)
        CHECK_STR(lines, want_lines);
    CHECK_STR(last, want_last);
    CHECK_INT(exec_finish(), want_code);
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
    tell("ExecStart", exec_dir);
    collect(lines, sizeof lines, last, sizeof last);
    CHECK_STR(last, "ExecFinished");
    CHECK_INT(exec_finish(), 0);
    int pid = atoi(lines);
    CHECK(pid > 1 && kill(pid, SIGKILL) == 0); /* it is there still, and must not outlive this test */
}

static void long_lines_come_in_pieces(void) {
    static char lines[300000];
    char last[64];
    start((const char *const[]){ "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end", NULL });
    tell("ExecStart", exec_dir);
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
    CHECK_INT(exec_finish(), 0);
}

static void missing_program_is_named(void) {
    static char lines[4096];
    char last[64];
    start((const char *const[]){ "/no/such/program", NULL });
    tell("ExecStart", exec_dir);
    collect(lines, sizeof lines, last, sizeof last);
    CHECK_CONTAINS(lines, "/no/such/program");
    CHECK_STR(last, "ExecFailed");
    CHECK_INT(exec_finish(), 127);
}

static void signals_reach_the_command(void) {
    static char lines[4096];
    char last[64];
    start((const char *const[]){ "sh", "-c",
                                 "trap 'echo got term; exit 9' TERM; echo ready; while :; do sleep 0.05; done", NULL });
    tell("ExecStart", exec_dir);
    json_t *m = exec_next();
    CHECK_STR(json_get_str(m, "MessageOut"), "ready");
    json_free(m);
    kill(exec_pid, SIGTERM);
    collect(lines, sizeof lines, last, sizeof last);
    CHECK_CONTAINS(lines, "got term|"); /* the shell may tell of its own child too */
    CHECK_INT(exec_finish(), 9);
}

static void stop_and_start_again(void) {
    start((const char *const[]){ "sh", "-c", "echo run; sleep 1000", NULL });
    tell("ExecStart", exec_dir);
    for (int i = 0; i < 2; i++) {
        json_t *m = exec_next();
        CHECK_STR(json_get_str(m, "MessageOut"), "run");
        json_free(m);
        tell("UserStop", NULL);
        m = exec_next();
        CHECK_STR(json_get_str(m, "Type"), "UserStopFinished");
        json_free(m);
        if (i == 0)
            tell("UserStart", NULL);
    }
    shutdown(exec_conn, SHUT_RDWR); /* osmo_ctrl vanishes */
    CHECK_INT(exec_finish(), 2);
}

static void ctrl_failure_before_the_start(void) {
    start((const char *const[]){ "sh", "-c", "echo never", NULL });
    CHECK_INT(write(exec_conn, "{\"Type\":\"CtrlFailed\"}", 21), 21);
    CHECK(exec_next() == NULL);
    CHECK_INT(exec_finish(), 0);
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
