/* Interactive sessions, checkpoints and the rsync server of a real osmo_exec: the test plays osmo_ctrl, ours and one that says OSMO's nine
 * members only. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"
#include "exec_fixture.h"

#define SIZE "{\"Rows\":24,\"Cols\":80}"
#define OURS "{\"Rows\":24,\"Cols\":80,\"Extensions\":\"exit,pipe,signal,new\"}"
#define PIPES "{\"Rows\":24,\"Cols\":80,\"Extensions\":\"pipe,exit\",\"Tty\":false}"

static char out[1 << 16], err[1 << 14], extensions[64];
static const char *const sleeper[] = { "sh", "-c", "echo begun; exec sleep 1000", NULL };

static void clear(void) { out[0] = err[0] = extensions[0] = '\0'; }

static void begin_ours(const char *const *options) {
    exec_start(options, sleeper);
    exec_begin_ours();
}

static void end(void) {
    kill(exec_pid, SIGTERM);
    json_free(exec_await("ExecFailed"));
    CHECK_INT(exec_finish(), 128 + SIGTERM);
}

/* A session of ours that has said its size. */
static int open_ours(const char *command, const char *size) {
    json_t *greeting = NULL;
    exec_tell("UserExecStart", "Command", command, "Session", "42");
    int fd = exec_accept(&greeting);
    CHECK_STR(json_get_str(greeting, "Session"), "42");
    json_free(greeting);
    exec_say(fd, 'I', size, strlen(size));
    clear();
    return fd;
}

static int drain(int fd) { return exec_drain(fd, out, sizeof out, err, sizeof err, extensions); }

/* ---- with our osmo_ctrl ---- */

static void statuses(void) {
    static const struct { const char *command, *size, *out, *err, *granted; int status; } cases[] = {
        { "sh -c 'stty size; echo $TERM $HISTSIZE; exit 3'", OURS, "24 80\r\nxterm 1000\r\n", "", "exit,pipe,signal", 3 },
        { "sh -c 'kill -9 $$'", OURS, "", "", "exit,pipe,signal", 137 },
        { "echo 'a b' c\\ d \"e\\\"f\"", SIZE, "a b c d e\"f\r\n", "", "", 0 },
        { "sh -c 'echo out; echo err >&2; exit 5'", PIPES, "out\n", "err\n", "exit,pipe", 5 },
        { "sh -c 'test -t 0 || echo no terminal'", PIPES, "no terminal\n", "", "exit,pipe", 0 },
        { "sh -c 'test -t 0 && echo a terminal'", "{\"rows\":1,\"COLS\":2,\"Tty\":false}", "a terminal\r\n", "", "", 0 },
        { " ", OURS, "the entry command is empty: give a program to run, for example /bin/bash\r\n", "", "exit,pipe,signal", 126 },
        { "/no/such", PIPES, "", "cannot run '/no/such': No such file or directory\n", "exit,pipe", 127 },
        { "/etc", PIPES, "", "cannot run '/etc': Permission denied\n", "exit,pipe", 126 },
        { "a 'b", PIPES, "", "the entry command cannot be split into words: a ' is not closed\n", "exit,pipe", 126 },
        { "cat", "[1]", "the session must begin with its size, as {\"Rows\":24,\"Cols\":80}\r\n", "", "", 126 },
    };
    begin_ours(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = open_ours(cases[i].command, cases[i].size);
        CHECK_INT(drain(fd), cases[i].status);
        CHECK_STR(out, cases[i].out);
        CHECK_STR(err, cases[i].err);
        CHECK_STR(extensions, cases[i].granted);
    }
    end();
}

static void terminal_input(void) {
    begin_ours(NULL);
    struct link_frame f;
    int fd = open_ours("sh", OURS "stty size\n"); /* what follows the size in the same frame is input */
    while (!strstr(out, "24 80\r\n") && exec_frame(fd, &f))
        snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s", (int)f.len, f.data);
    static const char resize[] = "\0RESIZE:{\"Rows\":10,\"Cols\":20}stty size\n";
    for (size_t i = 0; i < sizeof resize - 1; i++)
        exec_say(fd, 'I', resize + i, 1);
    static const char foreground[] = "sh -c 'echo run''ning; exec sleep 1000'\n"; /* in the foreground once it says so */
    exec_say(fd, 'I', foreground, sizeof foreground - 1);
    while (!(strstr(out, "10 20\r\n") && strstr(out, "running\r\n")) && exec_frame(fd, &f))
        snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s", (int)f.len, f.data);
    exec_say(fd, 'I', "\003", 1); /* Ctrl-C ends what runs in the shell, not the shell */
    exec_say(fd, 'I', "exit 6\n", 7);
    CHECK_INT(drain(fd), 6);
    end();
}

static void window_change_is_told(void) {
    begin_ours(NULL);
    int fd = open_ours("sh -c 'trap \"stty size; exit 0\" WINCH; echo up; while :; do sleep 0.02; done'", OURS);
    struct link_frame f;
    while (!strstr(out, "up\r\n") && exec_frame(fd, &f))
        snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s", (int)f.len, f.data);
    exec_say(fd, 'I', "\0RESIZE:{\"Rows\":7,\"Cols\":9}", 28);
    CHECK_INT(drain(fd), 0);
    CHECK_CONTAINS(out, "7 9\r\n");
    end();
}

static void end_of_input_and_bytes(void) {
    begin_ours(NULL);
    int fd = open_ours("od -An -c", PIPES);
    exec_say(fd, 'I', "x\0y\0RESIZE", 10); /* no escapes, or not whole ones */
    exec_say(fd, 'Z', "", 0);
    CHECK_INT(drain(fd), 0);
    CHECK_STR(out, "   x  \\0   y  \\0   R   E   S   I   Z   E\n");
    end();
}

static void signals_of_the_client(void) {
    begin_ours(NULL);
    int fd = open_ours("sh -c 'trap \"echo got; exit 9\" INT; echo up; while :; do sleep 0.02; done'", OURS);
    struct link_frame f;
    while (!strstr(out, "up\r\n") && exec_frame(fd, &f))
        snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s", (int)f.len, f.data);
    exec_say(fd, 'I', "\0SIGNAL:{\"Signal\":2}", 20);
    CHECK_INT(drain(fd), 9);
    CHECK_CONTAINS(out, "got\r\n");
    end();
}

static bool gone(pid_t pid) {
    for (int i = 0; i < 700 && kill(pid, 0) == 0; i++)
        poll(NULL, 0, 20);
    return kill(pid, 0) != 0;
}

/* Children of osmo_exec that ended and were not waited for. */
static int zombies(void) {
    char path[64], text[512];
    int n = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *e; (e = readdir(proc));) {
        int parent = 0;
        char state = 0;
        snprintf(path, sizeof path, "/proc/%.20s/stat", e->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        text[len > 0 ? len : 0] = '\0';
        const char *p = strrchr(text, ')');
        n += p && sscanf(p + 1, " %c %d", &state, &parent) == 2 && state == 'Z' && parent == exec_pid;
    }
    closedir(proc);
    return n;
}

static void departure(void) {
    static const char *const commands[] = { "sh -c 'echo $$; sleep 1000'", "sh -c 'trap \"\" HUP; echo $$; while :; do sleep 0.1; done'" };
    static const char *const sizes[] = { OURS, PIPES };
    begin_ours(NULL);
    for (int i = 0; i < 3; i++) { /* a terminal, pipes, and one that does not listen and has ten seconds */
        struct link_frame f;
        int fd = open_ours(commands[i == 2], sizes[i == 1]);
        while (!strchr(out, '\n') && exec_frame(fd, &f)) {
            if (f.type == 'O')
                snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s", (int)f.len, f.data);
        }
        pid_t pid = (pid_t)atoi(out);
        CHECK(pid > 1);
        close(fd);
        CHECK(gone(pid));
    }
    end();
}

static void orphans_are_reaped(void) {
    begin_ours(NULL);
    int fd = open_ours("sh -c 'sh -c \"sleep 0.05 & sleep 0.06 &\"'", PIPES);
    CHECK_INT(drain(fd), 0);
    poll(NULL, 0, 300);
    for (int i = 0; i < 200 && zombies(); i++)
        poll(NULL, 0, 20);
    CHECK_INT(zombies(), 0);
    end();
}

static void back_pressure(void) {
    begin_ours(NULL);
    int fd = open_ours("sh -c 'head -c 3000000 /dev/zero; echo done >&2'", PIPES);
    struct link_frame f;
    size_t total = 0;
    int status = -1;
    poll(NULL, 0, 200); /* nobody reads meanwhile */
    while (exec_frame(fd, &f)) {
        total += f.type == 'O' ? f.len : 0;
        CHECK(f.len <= 16384);
        status = f.type == 'X' ? atoi(f.data) : status;
    }
    close(fd);
    CHECK_INT(total, 3000000);
    CHECK_INT(status, 0);
    end();
}

static void too_many_sessions(void) {
    int fds[33];
    begin_ours(NULL);
    for (int i = 0; i < 33; i++)
        fds[i] = open_ours("cat", PIPES);
    CHECK_INT(drain(fds[32]), 126);
    CHECK_CONTAINS(err, "too many sessions");
    for (int i = 0; i < 32; i++) {
        exec_say(fds[i], 'Z', "", 0);
        clear();
        CHECK_INT(drain(fds[i]), 0);
    }
    end();
}

/* ---- with OSMO's osmo_ctrl ---- */

static void raw_sessions(void) {
    int fds[2];
    exec_start(NULL, sleeper);
    exec_tell("ExecStart", "OutputFolder", exec_dir, NULL, NULL);
    json_t *m = exec_next();
    CHECK_STR(json_get_str(m, "Type"), "MessageOut"); /* not a word about extensions */
    json_free(m);
    exec_tell("UserExecStart", "Command", "sh -c 'echo one; cat; exit 3'", NULL, NULL);
    exec_tell("UserExecStart", "Command", "sh -c 'echo one; cat; exit 3'", NULL, NULL); /* in one read */
    for (int i = 0; i < 2; i++) {
        fds[i] = exec_accept(NULL);
        CHECK(write(fds[i], PIPES, sizeof PIPES - 1) > 0);
    }
    for (int i = 0; i < 2; i++) {
        clear();
        CHECK(exec_raw_until(fds[i], out, sizeof out, "one\r\n"));
        CHECK(write(fds[i], "text\n\004", 6) == 6);
        CHECK(exec_raw_until(fds[i], out, sizeof out, NULL));
        CHECK_STR(out, "one\r\ntext\r\ntext\r\n");
        close(fds[i]);
    }
    exec_tell("UserExecStart", "Command", "", NULL, NULL);
    fds[0] = exec_accept(NULL);
    CHECK(write(fds[0], SIZE, sizeof SIZE - 1) > 0);
    clear();
    CHECK(exec_raw_until(fds[0], out, sizeof out, NULL));
    CHECK_CONTAINS(out, "entry command is empty");
    close(fds[0]);
    end();
}

static void checkpoints_need_our_ctrl(void) {
    static const char *const options[] = { "-checkpoint", "/tmp;s3://b/c;60;", NULL };
    exec_start(options, (const char *const[]){ "true", NULL });
    exec_tell("ExecStart", "OutputFolder", exec_dir, NULL, NULL);
    json_t *m = exec_next();
    CHECK_CONTAINS(json_get_str(m, "MessageOps"), "checkpoints are not transferred");
    json_free(m);
    m = exec_next();
    CHECK_STR(json_get_str(m, "Type"), "ExecFinished");
    json_free(m);
    CHECK_INT(exec_finish(), 0);
}

/* ---- checkpoints ---- */

struct taken { char names[8192]; char texts[8192]; int batches, files, left_out; };

/* One F frame with its descriptors; false at the D frame. */
static bool take_batch(int fd, struct taken *t) {
    char head[4], payload[65537];
    union { char bytes[CMSG_SPACE(sizeof(int) * 64)]; struct cmsghdr align; } control;
    struct iovec part = { head, sizeof head };
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    CHECK_INT(recvmsg(fd, &m, MSG_CMSG_CLOEXEC), 4);
    size_t len = (size_t)(unsigned char)head[2] << 8 | (unsigned char)head[3], at = 0;
    while (at < len)
        at += (size_t)read(fd, payload + at, len - at);
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    size_t n = h ? (h->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    at = 0;
    for (size_t i = 0; i < n; i++) {
        char text[64] = "";
        int file;
        memcpy(&file, CMSG_DATA(h) + i * sizeof file, sizeof file);
        ssize_t got = pread(file, text, sizeof text - 1, 0);
        close(file);
        snprintf(t->names + strlen(t->names), sizeof t->names - strlen(t->names), "%s=%.*s|", payload + at, got > 0 ? (int)got : 0, text);
        at += strlen(payload + at) + 1;
    }
    t->files += (int)n;
    t->batches += head[0] == 'F';
    t->left_out += head[0] == 'L';
    if (head[0] == 'F' || head[0] == 'D')
        CHECK(write(fd, "A\0\0", 4) == 4);
    return head[0] != 'D';
}

static void make_file(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", exec_dir, name);
    CHECK(file_write_atomic(path, text, strlen(text), 0644, false, NULL) == 0);
}

/* The next run of a checkpoint, whole. */
static void take_run(struct taken *t, const char *url, const char *regex) {
    json_t *greeting = NULL;
    int fd = exec_accept(&greeting);
    const json_t *c = json_get(greeting, "Checkpoint");
    memset(t, 0, sizeof *t);
    CHECK_STR(json_get_str(c, "Url"), url);
    CHECK_STR(json_get_str(c, "Regex"), regex);
    json_free(greeting);
    while (take_batch(fd, t))
        continue;
    close(fd);
}

static void checkpoints(void) {
    static struct taken t;
    static const char *const options[] = { "-checkpoint", "ck;s3://bucket/a;1;.*;x", "-checkpoint", "no checkpoint", NULL };
    /* the paths are relative to the directory that this test works in */
    char before[512], path[256];
    CHECK(getcwd(before, sizeof before) != NULL);
    char build[1024];
    const char *top = getenv("top_builddir");
    snprintf(build, sizeof build, "%s%s%s", top && top[0] == '/' ? "" : before, top && top[0] == '/' ? "" : "/", top ? top : ".");
    setenv("top_builddir", build, 1);
    char dir[] = "/tmp/osmo-test-ck-XXXXXX";
    REQUIRE(mkdtemp(dir) && chdir(dir) == 0);
    exec_start(options, (const char *const[]){ "sh", "-c", "while ! [ -e stop ]; do sleep 0.02; done; exit 3", NULL });
    snprintf(path, sizeof path, "%s/ck/deep", dir);
    CHECK(dir_make(path, 0755, NULL) == 0);
    snprintf(exec_dir, sizeof exec_dir, "%s", dir); /* for make_file */
    make_file("ck/one", "1");
    make_file("ck/deep/two", "22");
    make_file("outside", "link");
    CHECK(symlink("../outside", "ck/link") == 0 && symlink("gone", "ck/dangling") == 0 && symlink("..", "ck/loop") == 0 &&
          mkfifo("ck/fifo", 0600) == 0);
    exec_begin_ours();
    json_t *m = exec_next();
    CHECK_CONTAINS(json_get_str(m, "MessageOps"), "checkpoint 'no checkpoint' is not understood");
    json_free(m);
    take_run(&t, "s3://bucket/a", ".*;x");
    CHECK_INT(t.files, 3);
    CHECK_CONTAINS(t.names, "ck/one=1|");
    CHECK_CONTAINS(t.names, "ck/deep/two=22|");
    CHECK_CONTAINS(t.names, "ck/link=link|");
    for (int i = 0; i < 150; i++) {
        char name[32];
        snprintf(name, sizeof name, "ck/deep/%d", i);
        make_file(name, "x");
    }
    make_file("stop", "");
    take_run(&t, "s3://bucket/a", ".*;x"); /* by the clock, or already the last */
    if (t.files < 153)
        take_run(&t, "s3://bucket/a", ".*;x");
    CHECK_INT(t.files, 153);
    CHECK_INT(t.batches, 3);
    m = exec_await("ExecFailed"); /* only after the last run */
    CHECK(m != NULL || kill(exec_pid, 0) == 0);
    json_free(m);
    CHECK_INT(exec_finish(), 3);
    CHECK(chdir(before) == 0);
    dir_remove_tree(dir, NULL);
}

/* ---- rsync ---- */

static bool have_rsync(void) { return access("/usr/bin/rsync", X_OK) == 0; }

static void rsync_server(void) {
    static char run[96], allow[256], command[512];
    if (!have_rsync())
        return;
    char dir[] = "/tmp/osmo-test-rs-XXXXXX";
    REQUIRE(mkdtemp(dir) != NULL);
    snprintf(run, sizeof run, "%s/run", dir);
    CHECK(dir_make(run, 0755, NULL) == 0);
    snprintf(allow, sizeof allow, "extra:%s:false,bad,extra:%s:true,none:/no/such/dir:true", dir, dir);
    const char *const options[] = { "-enableRsync", "-runLocation", run, "-rsyncPathAllowList", allow, NULL };
    begin_ours(options);
    int lines = 0;
    json_t *m;
    while ((m = exec_next()) && strcmp(json_get_str(m, "Type"), "UserRsyncStatus") != 0) {
        lines += strstr(json_get_str(m, "MessageOps"), "is left out") != NULL;
        json_free(m);
    }
    CHECK_INT(lines, 3);
    bool running = json_get_bool(m, "RsyncRunning", false);
    json_free(m);
    if (running) { /* else something else of this machine has the port */
        snprintf(command, sizeof command, "rsync -a %s/hello rsync://127.0.0.1:16000/osmo/sub/ && "
                 "rsync rsync://127.0.0.1:16000/ >%s/list && "
                 "! rsync -a %s/hello rsync://127.0.0.1:16000/extra/copy 2>/dev/null", dir, dir, dir);
        char path[160];
        snprintf(path, sizeof path, "%s/hello", dir);
        CHECK(file_write_atomic(path, "hello", 5, 0644, false, NULL) == 0);
        CHECK_INT(system(command), 0);
        snprintf(path, sizeof path, "%s/run/workspace/sub/hello", dir);
        CHECK(file_exists(path));
        buf_t list = BUF_INIT(4096);
        snprintf(path, sizeof path, "%s/list", dir);
        CHECK(file_read(path, &list, NULL) == 0);
        CHECK_CONTAINS(buf_cstr(&list), "osmo");
        CHECK_CONTAINS(buf_cstr(&list), "extra");
        buf_free(&list);
    }
    end();
    dir_remove_tree(dir, NULL);
}

static const struct check_test tests[] = {
    { "statuses", statuses },
    { "input of a terminal", terminal_input },
    { "a change of the window", window_change_is_told },
    { "end of input", end_of_input_and_bytes },
    { "signals", signals_of_the_client },
    { "departure", departure },
    { "orphans", orphans_are_reaped },
    { "back-pressure", back_pressure },
    { "too many", too_many_sessions },
    { "raw sessions", raw_sessions },
    { "checkpoints need our osmo_ctrl", checkpoints_need_our_ctrl },
    { "checkpoints", checkpoints },
    { "rsync", rsync_server },
};
TEST_MAIN("exec_sessions", tests)
