/* Checkpoints: osmo_exec passes the descriptors of the files, here they are uploaded with the credentials of the user; runtime/link.h says
 * how. Each run has a thread for its time, because a transfer blocks. What goes wrong is a line in the log and never ends the task. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/re.h"
#include "runtime/link.h"
#include "transfer.h"

#define RUNS_AT_ONCE 8
#define CONNECTIONS 8
#define LEFT_OUT_LINES 10

static atomic_int runs;

struct run {
    struct ctrl *c;
    int fd;
    char *path, *url, *regex;
    re_t *re;
    struct transfer t;
    struct data_totals totals;
    size_t left_out;
};

struct batch {
    int fds[LINK_BATCH_FILES];
    struct data_file files[LINK_BATCH_FILES];
    size_t nfds, n;
    char payload[LINK_FRAME_MAX + 1];
};

/* ---- what osmo_exec sends ---- */

static bool read_exactly(int fd, char *data, size_t len) {
    while (len) {
        ssize_t n = read(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* The first byte of a frame brings its descriptors. */
static bool read_first(int fd, char *byte, struct batch *b) {
    union { char bytes[CMSG_SPACE(sizeof(int) * LINK_BATCH_FILES)]; struct cmsghdr align; } control;
    struct iovec part = { byte, 1 };
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t n;
    while ((n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        continue;
    for (struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; h; h = CMSG_NXTHDR(&m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        b->nfds = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(b->fds, CMSG_DATA(h), b->nfds * sizeof(int));
    }
    return n == 1 && !(m.msg_flags & MSG_CTRUNC);
}

static bool read_frame(const struct run *r, struct batch *b, struct link_frame *f) {
    char head[LINK_FRAME_HEAD];
    size_t used;
    b->nfds = b->n = 0;
    if (!read_first(r->fd, head, b) || !read_exactly(r->fd, head + 1, sizeof head - 1))
        return false;
    *f = (struct link_frame){ .type = head[0], .data = b->payload };
    f->len = (size_t)(unsigned char)head[1] << 16 | (size_t)(unsigned char)head[2] << 8 | (unsigned char)head[3];
    if (f->len > LINK_FRAME_MAX || !read_exactly(r->fd, b->payload, f->len))
        return false;
    b->payload[f->len] = '\0';
    /* a frame without payload has been parsed by its head alone: hold it to the same rules */
    return f->len || link_frame_next(head, sizeof head, f, &used) == 1;
}

static void close_files(struct batch *b) {
    for (size_t i = 0; i < b->nfds; i++)
        close(b->fds[i]);
    b->nfds = b->n = 0;
}

/* ---- uploading ---- */

static void leave_out(struct run *r, const char *what) {
    if (++r->left_out <= LEFT_OUT_LINES)
        ctrl_say(r->c, IO_OSMO_CTRL, "checkpoint of %s: not uploaded: %s", r->path, what);
}

/* Of the files that came those that belong to it; their descriptors move to the front. false: the frame is none. */
static bool choose(struct run *r, struct batch *b, size_t len) {
    size_t at = 0, came = 0;
    for (; at < len && came < b->nfds; came++) {
        const char *name = b->payload + at;
        struct stat st;
        at += strlen(name) + 1;
        if (fstat(b->fds[came], &st) || !S_ISREG(st.st_mode))
            return false;
        if (r->re && !re_match_start(r->re, name, strlen(name)))
            continue;
        if (!utf8_valid(name, strlen(name)) || !data_relative_is_safe(name)) {
            leave_out(r, "a file whose name cannot be a key");
            continue;
        }
        int fd = b->fds[came];
        b->fds[came] = b->fds[b->n];
        b->fds[b->n] = fd;
        b->files[b->n++] = (struct data_file){ .relative = name, .size = (uint64_t)st.st_size };
    }
    return at == len && came == b->nfds;
}

struct opener { const struct batch *b; size_t from; };

static int open_file(void *ctx, size_t i) {
    const struct opener *o = ctx;
    int fd = fcntl(o->b->fds[o->from + i], F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? OSMO_EIO : fd;
}

static int upload_some(struct run *r, const struct batch *b, size_t from, size_t n, osmo_error_t *err) {
    struct opener o = { b, from };
    struct data_totals totals = { 0 };
    int rc = data_upload_files(r->t.session, r->url, b->files + from, n, open_file, &o, &totals, err);
    r->totals.files += totals.files;
    r->totals.bytes += totals.bytes;
    return rc;
}

/* A file that is written to all the time keeps nobody else out. */
static int upload_one_by_one(struct run *r, const struct batch *b, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < b->n; i++) {
        rc = upload_some(r, b, i, 1, err);
        if (rc != OSMO_EBUSY)
            continue;
        leave_out(r, err->text);
        rc = 0;
    }
    return rc;
}

static int upload(struct run *r, const struct batch *b, osmo_error_t *err) {
    const struct data_totals before = r->totals;
    int rc = b->n ? upload_some(r, b, 0, b->n, err) : 0;
    if (rc != OSMO_EBUSY)
        return rc;
    r->totals = before; /* all of them again */
    return upload_one_by_one(r, b, err);
}

static bool answer(const struct run *r) {
    const char frame[LINK_FRAME_HEAD] = { 'A' };
    return send(r->fd, frame, sizeof frame, MSG_NOSIGNAL) == (ssize_t)sizeof frame;
}

static void tell_result(struct run *r) {
    char size[DATA_SIZE_TEXT_MAX];
    if (r->left_out > LEFT_OUT_LINES)
        ctrl_say(r->c, IO_OSMO_CTRL, "checkpoint of %s: %zu files were not uploaded", r->path, r->left_out);
    ctrl_say(r->c, IO_OSMO_CTRL, "Checkpoint of %s: uploaded %llu files, %s, to %s", r->path, (unsigned long long)r->totals.files,
             data_size_text(r->totals.bytes, size), r->url);
}

/* 0 when there is more, 1 at the end, or an error. */
static int next_frame(struct run *r, struct batch *b, osmo_error_t *err) {
    struct link_frame f;
    int rc = 0;
    if (!read_frame(r, b, &f))
        return osmo_error_set(err, OSMO_EIO, "the user container stopped sending files");
    switch (f.type) {
    case 'F':
        rc = choose(r, b, f.len) ? upload(r, b, err) : osmo_error_set(err, OSMO_EINVAL, "osmo_exec sent what is no list of files");
        break;
    case 'L': leave_out(r, b->payload); return 0;
    case 'D': tell_result(r); rc = 1; break;
    default: rc = osmo_error_set(err, OSMO_EINVAL, "osmo_exec sent what is not known"); break;
    }
    if (rc >= 0 && !answer(r) && rc == 0)
        rc = osmo_error_set(err, OSMO_EIO, "the user container is gone");
    return rc;
}

static int check_place(const char *url, osmo_error_t *err) {
    struct data_uri uri;
    int rc = data_uri_parse(url, &uri, err);
    if (rc)
        return rc;
    if (uri.scheme == DATA_FILE || uri.scheme == DATA_SERVICE)
        rc = osmo_error_set(err, OSMO_EUSER, "%s cannot be used by a task: only s3, gs, azure, swift and tos addresses can", url);
    data_uri_clear(&uri);
    return rc;
}

static int run_checkpoint(struct run *r, osmo_error_t *err) {
    struct batch *b = calloc(1, sizeof *b);
    int rc = b ? check_place(r->url, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!rc && *r->regex)
        rc = re_compile(r->regex, &r->re, err);
    if (!rc)
        rc = transfer_begin(r->c, OWNER_USER, IO_OSMO_CTRL, CONNECTIONS, &r->t, err);
    while (!rc) {
        rc = next_frame(r, b, err);
        close_files(b);
    }
    if (r->t.session)
        transfer_end(&r->t);
    free(b);
    return rc;
}

static void run_free(struct run *r) {
    close(r->fd);
    re_free(r->re);
    free(r->path);
    free(r->url);
    free(r->regex);
    free(r);
    atomic_fetch_sub(&runs, 1);
}

static void *checkpoint_thread(void *arg) {
    struct run *r = arg;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!termination_is_over(r->c) && run_checkpoint(r, &err) < 0)
        ctrl_say(r->c, IO_OSMO_CTRL, "Checkpoint of %s to %s failed: %s", r->path, r->url, err.text);
    run_free(r);
    return NULL;
}

bool checkpoint_take(struct ctrl *c, int fd, const json_t *what) {
    const char *path = json_get_str(what, "Path"), *url = json_get_str(what, "Url"), *regex = json_get_str(what, "Regex");
    pthread_t thread;
    pthread_attr_t attr;
    struct run *r = path && url && regex && atomic_load(&runs) < RUNS_AT_ONCE ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return false;
    atomic_fetch_add(&runs, 1);
    *r = (struct run){ .c = c, .fd = fd, .path = strdup(path), .url = strdup(url), .regex = strdup(regex), .t = { .label = "checkpoint" } };
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int failed = !r->path || !r->url || !r->regex || pthread_create(&thread, &attr, checkpoint_thread, r);
    pthread_attr_destroy(&attr);
    if (failed)
        run_free(r);
    return true; /* the descriptor is taken either way */
}
