/* See ctrl_fixture.h. */
#include "ctrl_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"

#define WAIT_S 10
#define FRAME (1u << 20)
#define LOGGERS_MAX 256

char ctrl_dir[64], ctrl_socket[96];
pid_t ctrl_pid, ctrl_exec_pid;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t acceptor, loggers[LOGGERS_MAX];
    size_t nloggers;            /* of the acceptor, until it has ended */
    int listener, port, logger; /* logger: its newest connection */
    int refusals;
    bool barrier, barrier_asked, released;
    atomic_bool ending;
    const char *extensions;
    buf_t lines;                /* '\n' between */
    strlist_t done;
    struct waiting { int fd; char request[4096]; } router[64];
    size_t nrouter;
} f;

static void lock(void) { pthread_mutex_lock(&f.lock); }
static void unlock(void) { pthread_cond_broadcast(&f.changed), pthread_mutex_unlock(&f.lock); }

static struct timespec deadline(int seconds) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += seconds;
    return t;
}

/* ---- the logger ---- */

static void release_if_asked(void) {
    if (f.barrier_asked && f.released && f.logger >= 0) {
        f.barrier_asked = false;
        ws_peer_write(f.logger, PEER_BINARY, "{\"action\":\"barrier\"}", 20);
    }
}

static void add_line(const json_t *entry) {
    const char *text = json_get_str(entry, "Text");
    buf_puts(&f.lines, text ? text : "");
    buf_putc(&f.lines, '\n');
}

static void on_batch(int fd, const json_t *o) {
    const json_t *entries = json_get(o, "entries");
    char ack[64];
    int64_t seq = 0;
    for (size_t i = 0; i < json_len(entries); i++) {
        add_line(json_at(entries, i));
        seq = json_get_int(json_at(entries, i), "seq", 0);
    }
    snprintf(ack, sizeof ack, "{\"action\":\"log_ack\",\"seq\":%lld}", (long long)seq);
    ws_peer_write(fd, PEER_TEXT, ack, strlen(ack));
}

static void on_frame(int fd, const char *data, size_t len) {
    json_t *o = NULL, *inner = NULL;
    if (json_parse(data, len, &o, NULL))
        return;
    if (json_kind(o) == JSON_STRING && json_parse(json_str(o), json_str_len(o), &inner, NULL) == 0) {
        json_free(o);
        o = inner;
    }
    const char *type = json_get_str(o, "IOType");
    lock();
    if (type && strcmp(type, "LOG_BATCH") == 0) {
        on_batch(fd, o);
    } else if (type && strcmp(type, "LOG_DONE") == 0) {
        ws_peer_write(fd, PEER_TEXT, "{\"action\":\"log_done\"}", 21);
    } else if (type && strcmp(type, "BARRIER") == 0) {
        f.barrier_asked = true;
        release_if_asked();
    } else if (type && strcmp(type, "ACTION_DONE") == 0) {
        strlist_add(&f.done, json_get_str(o, "Id"));
    } else if (type && strcmp(type, "METRICS") == 0) {
        char *text = json_to_text(json_get(o, "Metric"));
        buf_printf(&f.lines, "metric %s\n", text);
        free(text);
    } else if (json_has(o, "Text")) {
        add_line(o);
    }
    unlock();
    json_free(o);
}

static void *logger_main(void *arg) {
    int fd = (int)(intptr_t)arg;
    char *data = malloc(FRAME);
    size_t len;
    int op;
    while (data && (op = ws_peer_read(fd, data, FRAME, &len)) >= 0) {
        if (op == PEER_TEXT)
            on_frame(fd, data, len);
        else if (op == PEER_PING)
            ws_peer_write(fd, PEER_PONG, data, len);
        else if (op == PEER_CLOSE)
            break;
    }
    lock();
    if (f.logger == fd)
        f.logger = -1;
    unlock();
    close(fd);
    free(data);
    return NULL;
}

static void new_logger(int fd) {
    if (f.nloggers == LOGGERS_MAX) {
        close(fd);
        return;
    }
    lock();
    f.logger = fd;
    if (strstr(f.extensions, "logs"))
        ws_peer_write(fd, PEER_TEXT, "{\"action\":\"log_ack\",\"seq\":0}", 28);
    unlock();
    if (pthread_create(&f.loggers[f.nloggers], NULL, logger_main, (void *)(intptr_t)fd) == 0)
        f.nloggers++;
}

/* ---- who connects ---- */

/* The router says 503 to the next ones. */
static bool refuse_one(void) {
    char peek[4096];
    struct pollfd p = { .fd = f.listener, .events = POLLIN };
    lock();
    bool refuse = f.refusals > 0;
    unlock();
    if (!refuse || poll(&p, 1, -1) <= 0)
        return false;
    int fd = accept4(f.listener, NULL, NULL, SOCK_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : recv(fd, peek, sizeof peek - 1, 0);
    if (n > 0) {
        static const char answer[] = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
        send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
        lock();
        f.refusals--;
        unlock();
    }
    if (fd >= 0)
        close(fd);
    return true;
}

static void *acceptor_main(void *arg) {
    char request[4096], more[128] = "";
    bool logger_seen = false;
    (void)arg;
    if (*f.extensions)
        snprintf(more, sizeof more, "X-Osmo-Extensions: %s\r\n", f.extensions);
    while (!f.ending) {
        if (logger_seen && refuse_one())
            continue;
        int fd = ws_peer_accept(f.listener, request, sizeof request, more);
        if (fd < 0)
            continue;
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (strstr(request, "/api/logger/")) {
            logger_seen = true;
            new_logger(fd);
            continue;
        }
        lock();
        if (f.nrouter < sizeof f.router / sizeof f.router[0]) {
            f.router[f.nrouter].fd = fd;
            strcpy(f.router[f.nrouter++].request, request);
        }
        unlock();
    }
    return NULL;
}

int router_next(char *request, size_t size) {
    struct timespec until = deadline(WAIT_S);
    int fd = -1;
    lock();
    while (!f.nrouter && pthread_cond_timedwait(&f.changed, &f.lock, &until) == 0)
        continue;
    if (f.nrouter) {
        fd = f.router[0].fd;
        snprintf(request, size, "%s", f.router[0].request);
        memmove(f.router, f.router + 1, --f.nrouter * sizeof f.router[0]);
    }
    unlock();
    return fd;
}

bool router_silent(void) {
    struct timespec until = deadline(1);
    lock();
    while (!f.nrouter && pthread_cond_timedwait(&f.changed, &f.lock, &until) == 0)
        continue;
    bool silent = !f.nrouter;
    unlock();
    return silent;
}

int router_read_close(const char *data, size_t len, char *reason, size_t size) {
    snprintf(reason, size, "%.*s", len > 2 ? (int)(len - 2) : 0, data + (len > 2 ? 2 : 0));
    return len >= 2 ? (unsigned char)data[0] << 8 | (unsigned char)data[1] : 0;
}

int router_read_all(int fd, char *out, size_t size, char *text, size_t text_size, char *reason, size_t reason_size) {
    static char data[FRAME];
    size_t len, at = 0, text_at = 0;
    int op;
    out[0] = text[0] = reason[0] = '\0';
    while ((op = ws_peer_read(fd, data, sizeof data, &len)) >= 0) {
        if (op == PEER_BINARY && at + len < size) {
            memcpy(out + at, data, len);
            out[at += len] = '\0';
        } else if (op == PEER_TEXT && text_at + len < text_size) {
            memcpy(text + text_at, data, len);
            text[text_at += len] = '\0';
        } else if (op == PEER_CLOSE) {
            int code = router_read_close(data, len, reason, reason_size);
            ws_peer_write(fd, PEER_CLOSE, data, len);
            close(fd);
            return code;
        }
    }
    close(fd);
    return -1;
}

bool router_read_until(int fd, char *out, size_t size, const char *part) {
    size_t len, at = strlen(out);
    while (!strstr(out, part)) {
        int op = ws_peer_read(fd, out + at, size - at - 1, &len);
        if (op < 0 || op == PEER_CLOSE)
            return false;
        if (op != PEER_BINARY)
            continue;
        for (size_t i = 0; i < len; i++) /* a NUL must not hide the rest */
            out[at + i] = out[at + i] ? out[at + i] : '0';
        out[at += len] = '\0';
    }
    return true;
}

/* ---- what the test says ---- */

void ctrl_tell(const char *text) {
    struct timespec until = deadline(WAIT_S);
    lock();
    while (f.logger < 0 && pthread_cond_timedwait(&f.changed, &f.lock, &until) == 0)
        continue;
    CHECK(f.logger >= 0 && ws_peer_write(f.logger, PEER_BINARY, text, strlen(text)));
    unlock();
}

void ctrl_action(const char *kind, const char *key, const char *more) {
    char text[1024];
    snprintf(text, sizeof text, "{\"action\":\"%s\",\"router_address\":\"ws://127.0.0.1:%d\",\"key\":\"%s\",\"cookie\":\"a=b; Path=/\"%s}",
             kind, f.port, key, more);
    ctrl_tell(text);
}

void ctrl_release(void) {
    lock();
    f.released = true;
    release_if_asked();
    unlock();
}

void ctrl_drop_logger(void) {
    lock();
    if (f.logger >= 0)
        shutdown(f.logger, SHUT_RDWR);
    f.logger = -1;
    unlock();
}

static bool await(bool (*ready)(const char *what), const char *what) {
    struct timespec until = deadline(WAIT_S);
    lock();
    while (!ready(what) && pthread_cond_timedwait(&f.changed, &f.lock, &until) == 0)
        continue;
    bool ok = ready(what);
    unlock();
    return ok;
}

static bool line_there(const char *part) { return strstr(buf_cstr(&f.lines), part) != NULL; }
static bool id_there(const char *id) { return strlist_has(&f.done, id); }

bool ctrl_await_line(const char *part) { return await(line_there, part); }
bool ctrl_await_done(const char *id) { return await(id_there, id); }

bool ctrl_has_line(const char *part) {
    lock();
    bool there = line_there(part);
    unlock();
    return there;
}

int ctrl_done_count(void) {
    lock();
    int n = (int)f.done.len;
    unlock();
    return n;
}

int ctrl_descriptors(void) {
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)ctrl_pid);
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

bool ctrl_await_descriptors(int n) {
    for (int i = 0; i < 500 && ctrl_descriptors() > n; i++)
        poll(NULL, 0, 20);
    return ctrl_descriptors() <= n;
}

/* ---- processes ---- */

static pid_t spawn(const char *name, char *const argv[]) {
    char program[512];
    const char *build = getenv("top_builddir");
    snprintf(program, sizeof program, "%s/%s", build ? build : ".", name);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!getenv("OSMO_TEST_NOISE")) {
            int null = open("/dev/null", O_WRONLY);
            dup2(null, 1);
            dup2(null, 2);
        }
        execv(program, argv);
        _exit(99);
    }
    return pid;
}

static void write_login(void) {
    static const char login[] = "token_login:\n  id_token: "
                                "eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.c2ln\n";
    char path[128];
    snprintf(path, sizeof path, "%s/login.yaml", ctrl_dir);
    CHECK(file_write_atomic(path, login, sizeof login - 1, 0600, false, NULL) == 0);
}

static void spawn_ctrl(const struct ctrl_start *s) {
    static char port[8], login[96], spool[96], message[96], refresh[96];
    snprintf(port, sizeof port, "%d", f.port);
    snprintf(login, sizeof login, "%s/login.yaml", ctrl_dir);
    snprintf(spool, sizeof spool, "%s/spool", ctrl_dir);
    snprintf(message, sizeof message, "%s/message", ctrl_dir);
    snprintf(refresh, sizeof refresh, "%s/none", ctrl_dir);
    const char *argv[64] = { "osmo_ctrl",  "-workflow", "wf 1",     "-logSource", "task",     "-socketPath",  ctrl_socket,
                             "-host",      "127.0.0.1", "-port",    port,         "-loginFile", login,       "-spoolPath",
                             spool,        "-terminationLog", message, "-refreshToken", refresh };
    size_t n = 19;
    if (s->barrier)
        argv[n++] = "-barrier", argv[n++] = "ready";
    for (size_t i = 0; s->ctrl_args && s->ctrl_args[i]; i++)
        argv[n++] = s->ctrl_args[i];
    ctrl_pid = spawn("osmo_ctrl", (char *const *)argv);
}

static void spawn_exec(const struct ctrl_start *s) {
    const char *argv[64] = { "osmo_exec", "-socketPath", ctrl_socket, "-historyFilePath", "" };
    size_t n = 5;
    for (size_t i = 0; s->exec_args && s->exec_args[i]; i++)
        argv[n++] = s->exec_args[i];
    for (size_t i = 0; s->command[i]; i++) {
        argv[n++] = i == 0 ? "-commands" : "-args";
        argv[n++] = s->command[i];
    }
    ctrl_exec_pid = spawn("osmo_exec", (char *const *)argv);
}

bool ctrl_begin(const struct ctrl_start *s) {
    memset(&f, 0, sizeof f);
    pthread_mutex_init(&f.lock, NULL);
    pthread_cond_init(&f.changed, NULL);
    buf_init(&f.lines, 8u << 20);
    f.logger = -1;
    f.barrier = s->barrier;
    f.refusals = s->refusals;
    f.extensions = s->extensions ? s->extensions : "logs, restarts, actions";
    f.listener = check_listen(&f.port);
    strcpy(ctrl_dir, "/tmp/osmo-test-ctrl-XXXXXX");
    if (f.listener < 0 || !mkdtemp(ctrl_dir))
        return false;
    fcntl(f.listener, F_SETFD, FD_CLOEXEC);
    snprintf(ctrl_socket, sizeof ctrl_socket, "%s/s", ctrl_dir);
    write_login();
    if (pthread_create(&f.acceptor, NULL, acceptor_main, NULL))
        return false;
    spawn_ctrl(s);
    ctrl_exec_pid = 0;
    if (s->command)
        spawn_exec(s);
    return ctrl_pid > 0;
}

static int status_of(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int ctrl_end(void) {
    int code = status_of(ctrl_pid);
    if (ctrl_exec_pid)
        status_of(ctrl_exec_pid);
    f.ending = true;
    shutdown(f.listener, SHUT_RDWR);
    pthread_join(f.acceptor, NULL);
    for (size_t i = 0; i < f.nloggers; i++) /* the other end of each has ended with osmo_ctrl */
        pthread_join(f.loggers[i], NULL);
    close(f.listener);
    char path[128], want[32];
    buf_t message = BUF_INIT(4096);
    snprintf(path, sizeof path, "%s/message", ctrl_dir);
    snprintf(want, sizeof want, "{\"code\":%d}", code);
    CHECK(file_read(path, &message, NULL) == 0);
    CHECK_STR(buf_cstr(&message), want);
    buf_free(&message);
    lock();
    for (size_t i = 0; i < f.nrouter; i++)
        close(f.router[i].fd);
    buf_free(&f.lines);
    strlist_free(&f.done);
    unlock();
    dir_remove_tree(ctrl_dir, NULL);
    return code;
}
