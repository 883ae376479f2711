/* See exec_fixture.h. */
#include "exec_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"

#define WAIT_MS 15000

char exec_dir[64], exec_socket[96];
int exec_listener, exec_conn;
pid_t exec_pid;
static buf_t in, frames;

static void open_socket(void) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    strcpy(exec_dir, "/tmp/osmo-test-exec-XXXXXX");
    CHECK(mkdtemp(exec_dir) != NULL);
    snprintf(exec_socket, sizeof exec_socket, "%s/s", exec_dir);
    strcpy(a.sun_path, exec_socket);
    exec_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(exec_listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(exec_listener, 64) == 0 && chmod(exec_socket, 0777) == 0);
}

void exec_start(const char *const *options, const char *const *words) {
    char program[512];
    const char *build = getenv("top_builddir");
    open_socket();
    const char *argv[64] = { "osmo_exec", "-socketPath", exec_socket, "-historyFilePath", "" };
    size_t n = 5;
    for (size_t i = 0; options && options[i]; i++)
        argv[n++] = options[i];
    for (size_t i = 0; words[i]; i++) {
        argv[n++] = i == 0 ? "-commands" : "-args";
        argv[n++] = words[i];
    }
    snprintf(program, sizeof program, "%s/osmo_exec", build ? build : ".");
    exec_pid = fork();
    if (exec_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGINT, SIG_IGN); /* as whatever a script runs behind itself has it */
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execv(program, (char *const *)argv);
        _exit(99);
    }
    exec_conn = accept4(exec_listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK(exec_conn >= 0);
    buf_free(&in);
    buf_free(&frames);
    buf_init(&in, 4u << 20);
    buf_init(&frames, 4u << 20);
}

void exec_tell(const char *type, const char *member, const char *text, const char *extra, const char *value) {
    buf_t out = BUF_INIT(1u << 20);
    link_message_with(&out, type, member, text ? text : "", text ? strlen(text) : 0, extra, value);
    CHECK_INT(write(exec_conn, out.data, out.len), out.len);
    buf_free(&out);
}

void exec_begin_ours(void) {
    exec_tell("ExecStart", "OutputFolder", exec_dir, "Extensions", LINK_EXTENSIONS);
    json_t *m = exec_next();
    CHECK_STR(json_get_str(m, "Type"), "Extensions");
    CHECK_STR(json_get_str(m, "Extensions"), LINK_EXTENSIONS);
    json_free(m);
}

/* false: nothing comes any more. */
static bool readable(int fd) {
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, WAIT_MS) > 0;
}

json_t *exec_next(void) {
    json_t *m = NULL;
    static char block[65536];
    while (link_next(&in, &m) != 1) {
        ssize_t n = readable(exec_conn) ? read(exec_conn, block, sizeof block) : 0;
        if (n <= 0)
            return NULL;
        buf_append(&in, block, (size_t)n);
    }
    return m;
}

json_t *exec_await(const char *type) {
    json_t *m;
    while ((m = exec_next())) {
        const char *got = json_get_str(m, "Type");
        if (got && strcmp(got, type) == 0)
            return m;
        json_free(m);
    }
    return NULL;
}

int exec_finish(void) {
    int status = 0;
    waitpid(exec_pid, &status, 0);
    close(exec_conn);
    close(exec_listener);
    dir_remove_tree(exec_dir, NULL);
    buf_free(&in);
    buf_free(&frames);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int exec_accept(json_t **greeting) {
    char line[LINK_GREETING_MAX] = "", c = '\0';
    size_t n = 0;
    int fd = readable(exec_listener) ? accept4(exec_listener, NULL, NULL, SOCK_CLOEXEC) : -1;
    if (fd < 0 || !greeting)
        return fd;
    while (n + 1 < sizeof line && c != '\n' && read(fd, &c, 1) == 1)
        line[n++] = c;
    *greeting = NULL;
    CHECK(n && json_parse(line, n - 1, greeting, NULL) == 0);
    buf_reset(&frames);
    return fd;
}

int exec_frame(int fd, struct link_frame *out) {
    static size_t used;
    char block[32768];
    int rc;
    buf_consume(&frames, used);
    used = 0;
    while ((rc = link_frame_next(frames.data, frames.len, out, &used)) == 0) {
        ssize_t n = readable(fd) ? read(fd, block, sizeof block) : 0;
        if (n <= 0)
            return 0;
        buf_append(&frames, block, (size_t)n);
    }
    CHECK_INT(rc, 1);
    return rc == 1;
}

void exec_say(int fd, char type, const void *data, size_t len) {
    buf_t out = BUF_INIT(4u << 20);
    link_frame_put(&out, type, data, len);
    CHECK(fd_write_all(fd, out.data, out.len) == 0);
    buf_free(&out);
}

static void add(char *out, size_t size, const struct link_frame *f) {
    size_t at = strlen(out);
    if (at + f->len < size) {
        memcpy(out + at, f->data, f->len);
        out[at + f->len] = '\0';
    }
}

int exec_drain(int fd, char *out, size_t size, char *err, size_t err_size, char extensions[64]) {
    struct link_frame f;
    int status = -1;
    while (exec_frame(fd, &f)) {
        CHECK_INT(status, -1); /* nothing comes behind it */
        if (f.type == 'O')
            add(out, size, &f);
        else if (f.type == 'E')
            add(err, err_size, &f);
        else if (f.type == 'H')
            snprintf(extensions, 64, "%.*s", (int)f.len, f.data);
        else if (f.type == 'X')
            status = atoi(f.data);
        else
            CHECK(!"a frame of a known type");
    }
    close(fd);
    return status;
}

bool exec_raw_until(int fd, char *out, size_t size, const char *part) {
    size_t at = strlen(out);
    while (!part || !strstr(out, part)) {
        ssize_t n = readable(fd) && at + 1 < size ? read(fd, out + at, size - at - 1) : 0;
        if (n <= 0)
            return !part && n <= 0;
        out[at += (size_t)n] = '\0';
    }
    return true;
}
