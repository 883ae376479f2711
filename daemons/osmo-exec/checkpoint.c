/* One run of a checkpoint: walk the path, open each file, pass the descriptors to osmo_ctrl; see runtime/link.h.
 * Symbolic links to files are followed, those to directories are not (so there are no cycles); what vanishes meanwhile
 * was not there; what cannot be read is named. */
#include "checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "exec.h"
#include "runtime/link.h"
#include "session.h"

#define DEPTH_MAX 64
#define DIAL_S 10
#define BATCHES_AHEAD 2
#define NAMES_MAX (LINK_FRAME_MAX - PATH_MAX)

struct run {
    int fd;
    int files[LINK_BATCH_FILES];
    size_t nfiles, ahead;
    buf_t names;
    bool failed;                /* osmo_ctrl takes nothing more */
};

/* The head carries the descriptors, the rest follows. */
static bool send_frame(struct run *r, char type, const void *data, size_t len, const int *fds, size_t nfds) {
    buf_t frame = BUF_INIT(LINK_FRAME_MAX + LINK_FRAME_HEAD);
    union { char bytes[CMSG_SPACE(sizeof(int) * LINK_BATCH_FILES)]; struct cmsghdr align; } control;
    bool ok = link_frame_put(&frame, type, data, len) == 0;
    struct iovec part = { frame.data, ok ? LINK_FRAME_HEAD : 0 };
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
    if (nfds) {
        memset(&control, 0, sizeof control);
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    ssize_t n = -1;
    while (ok && (n = sendmsg(r->fd, &m, MSG_NOSIGNAL)) < 0 && errno == EINTR)
        continue;
    ok = ok && n == LINK_FRAME_HEAD && fd_write_all(r->fd, frame.data + n, frame.len - (size_t)n) == 0;
    buf_free(&frame);
    r->failed = r->failed || !ok;
    return ok;
}

static void await_answer(struct run *r) {
    char head[LINK_FRAME_HEAD];
    size_t got = 0;
    while (!r->failed && got < sizeof head) {
        ssize_t n = read(r->fd, head + got, sizeof head - got);
        if (n > 0)
            got += (size_t)n;
        else if (n == 0 || errno != EINTR)
            r->failed = true;
    }
    r->ahead--;
}

static void send_batch(struct run *r) {
    if (r->nfiles && !r->failed && send_frame(r, 'F', r->names.data, r->names.len, r->files, r->nfiles))
        r->ahead++;
    for (size_t i = 0; i < r->nfiles; i++)
        close(r->files[i]);
    r->nfiles = 0;
    buf_reset(&r->names);
    while (!r->failed && r->ahead >= BATCHES_AHEAD)
        await_answer(r);
}

static void left_out(struct run *r, const char *name, const char *why) {
    char text[PATH_MAX + 256];
    snprintf(text, sizeof text, "%s: %s", name, why);
    if (!r->failed)
        send_frame(r, 'L', text, strlen(text), NULL, 0);
}

static void add_file(struct run *r, int dir, const char *name, const char *key) {
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd < 0 && errno != ENOENT)
            left_out(r, key, strerror(errno));
        if (fd >= 0)
            close(fd);
        return;
    }
    r->files[r->nfiles++] = fd;
    buf_append(&r->names, key, strlen(key) + 1);
    if (r->nfiles == LINK_BATCH_FILES || r->names.len > NAMES_MAX)
        send_batch(r);
}

static void walk(struct run *r, int dir, const char *prefix, int depth);

static void add_entry(struct run *r, int dir, const char *name, const char *prefix, int depth) {
    char key[PATH_MAX];
    struct stat st, target;
    if (snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "/" : "", name) >= (int)sizeof key) {
        left_out(r, prefix, "a name below it is too long");
        return;
    }
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return;
    if (S_ISDIR(st.st_mode)) {
        int sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (sub >= 0)
            walk(r, sub, key, depth + 1);
        else if (errno != ENOENT)
            left_out(r, key, strerror(errno));
    } else if (S_ISREG(st.st_mode)) {
        add_file(r, dir, name, key);
    } else if (S_ISLNK(st.st_mode) && fstatat(dir, name, &target, 0) == 0 && S_ISREG(target.st_mode)) {
        add_file(r, dir, name, key);
    }
}

/* Takes the descriptor. */
static void walk(struct run *r, int dir, const char *prefix, int depth) {
    DIR *d = depth < DEPTH_MAX ? fdopendir(dir) : NULL;
    if (!d) {
        left_out(r, prefix, depth < DEPTH_MAX ? strerror(errno) : "directories are nested too deep");
        close(dir);
        return;
    }
    for (struct dirent *e; !r->failed && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            add_entry(r, dirfd(d), e->d_name, prefix, depth);
    }
    closedir(d);
}

/* The path's own name is the first part of the keys; of "dir/" and a star it is not. */
static void walk_path(struct run *r, const char *given) {
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s", given);
    size_t len = strlen(path);
    bool contents = len >= 2 && strcmp(path + len - 2, "/*") == 0;
    if (contents)
        path[len -= 2] = '\0';
    while (len > 1 && path[len - 1] == '/')
        path[--len] = '\0';
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int fd = open(*path ? path : "/", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st)) {
        left_out(r, given, strerror(errno));
        if (fd >= 0)
            close(fd);
    } else if (S_ISDIR(st.st_mode)) {
        walk(r, fd, contents ? "" : name, 0);
    } else {
        close(fd);
        add_file(r, AT_FDCWD, path, name);
    }
}

static bool greet(struct run *r, const struct checkpoint *c) {
    buf_t line = BUF_INIT(LINK_GREETING_MAX);
    json_t *inner = json_object(), *outer = json_object();
    int rc = json_set_str(inner, "Path", c->path);
    if (!rc)
        rc = json_set_str(inner, "Url", c->url);
    if (!rc)
        rc = json_set_str(inner, "Regex", c->regex);
    json_set(outer, "Checkpoint", inner);
    if (!rc)
        rc = json_print(outer, 0, &line);
    buf_putc(&line, '\n');
    rc = rc || buf_failed(&line) || fd_write_all(r->fd, line.data, line.len);
    json_free(outer);
    buf_free(&line);
    return rc == 0;
}

void checkpoint_main(const struct checkpoint *c, const char *socket_path) {
    static struct run r;
    sigset_t none;
    close_inherited();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGTERM, SIG_IGN); /* it is meant for the command; the run ends with osmo_ctrl's word, or with osmo_exec */
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    buf_init(&r.names, LINK_FRAME_MAX);
    r.fd = connect_socket(socket_path, DIAL_S, -1);
    if (r.fd < 0 || !greet(&r, c))
        _exit(1);
    walk_path(&r, c->path);
    send_batch(&r);
    if (!r.failed && send_frame(&r, 'D', "", 0, NULL, 0))
        r.ahead++;
    while (!r.failed && r.ahead)
        await_answer(&r);
    _exit(r.failed);
}
