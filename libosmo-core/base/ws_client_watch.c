/* Descriptors of others in the websocket client's loop: one epoll descriptor for all of them, which the loop watches. That way it makes no
 * difference whether the loop is libev or the library's own poll. Called by ws_client.c, in the loop's thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/ws_client_conn.h"

#define EVENTS_PER_TURN 64
#define MAX_FDS (1 << 20)

struct watch {
    int events;             /* 0: nobody watches it */
    bool always;            /* a plain file: epoll does not know it, and it is always ready */
    void (*fn)(void *ctx, int fd, int events);
    void *ctx;
};

struct watches {
    int epoll_fd, always_fd; /* the latter is readable while there is a descriptor that is always ready */
    struct watch *fds;       /* by descriptor */
    int len, always;
    ev_io io;
};

static void call(struct watches *w, int fd, int events) {
    struct watch *t = fd < w->len ? &w->fds[fd] : NULL;
    if (t && t->events && (events & t->events))
        t->fn(t->ctx, fd, events & t->events);
}

static void call_always(struct watches *w) {
    for (int fd = 0; fd < w->len && w->always; fd++) {
        if (w->fds[fd].always)
            call(w, fd, WS_FD_READ | WS_FD_WRITE);
    }
}

void watches_ready(struct ws_loop *l) {
    struct epoll_event ready[EVENTS_PER_TURN];
    struct watches *w = l->watches;
    int n = w ? epoll_wait(w->epoll_fd, ready, EVENTS_PER_TURN, 0) : 0;
    for (int i = 0; i < n; i++) { /* each is looked up again: the one before may have ended it */
        uint32_t e = ready[i].events;
        int events = e & (EPOLLERR | EPOLLHUP) ? WS_FD_READ | WS_FD_WRITE : 0;
        events |= (e & (EPOLLIN | EPOLLRDHUP) ? WS_FD_READ : 0) | (e & EPOLLOUT ? WS_FD_WRITE : 0);
        if (ready[i].data.fd == w->always_fd)
            call_always(w);
        else
            call(w, ready[i].data.fd, events);
    }
}

static void on_ev_io(struct ev_loop *ev, ev_io *io, int events) {
    (void)ev, (void)events;
    watches_ready(io->data);
}

/* The library closes what it has adopted: it gets a descriptor of its own. */
static bool adopt(struct ws_loop *l, int epoll_fd) {
    lws_sock_file_fd_type fd = { .filefd = dup(epoll_fd) };
    struct lws_vhost *vhost = lws_get_vhost_by_name(l->plain, "default");
    if (fd.filefd < 0)
        return false;
    if (vhost && lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_RAW_FILE_DESC, fd, "osmo", NULL))
        return true;
    close(fd.filefd);
    return false;
}

static int begin(struct ws_loop *l) {
    struct watches *w = calloc(1, sizeof *w);
    if (!w)
        return OSMO_ENOMEM;
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->always_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event e = { .events = EPOLLIN, .data.fd = w->always_fd };
    bool ok = w->epoll_fd >= 0 && w->always_fd >= 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->always_fd, &e) == 0;
    l->watches = w;
    if (ok && l->base.ev) {
        ev_io_init(&w->io, on_ev_io, w->epoll_fd, EV_READ);
        w->io.data = l;
        ev_io_start(l->base.ev, &w->io);
    } else if (!ok || !adopt(l, w->epoll_fd)) {
        watches_free(l);
        return OSMO_ENOMEM;
    }
    return OSMO_OK;
}

void watches_free(struct ws_loop *l) {
    struct watches *w = l->watches;
    if (!w)
        return;
    l->watches = NULL;
    if (l->base.ev)
        ev_io_stop(l->base.ev, &w->io);
    if (w->epoll_fd >= 0)
        close(w->epoll_fd);
    if (w->always_fd >= 0)
        close(w->always_fd);
    free(w->fds);
    free(w);
}

static int room_for(struct watches *w, int fd) {
    if (fd < w->len)
        return OSMO_OK;
    int len = w->len ? w->len : 64;
    while (len <= fd)
        len *= 2;
    struct watch *fds = realloc(w->fds, (size_t)len * sizeof *fds);
    if (!fds)
        return OSMO_ENOMEM;
    memset(fds + w->len, 0, (size_t)(len - w->len) * sizeof *fds);
    w->fds = fds;
    w->len = len;
    return OSMO_OK;
}

static void set_always(struct watches *w, struct watch *t, bool on) {
    uint64_t one = 1, was;
    if (t->always == on)
        return;
    t->always = on;
    w->always += on ? 1 : -1;
    ssize_t n = on ? write(w->always_fd, &one, sizeof one) : w->always ? 0 : read(w->always_fd, &was, sizeof was);
    (void)n; /* it is readable, or it is not, already */
}

static void end(struct watches *w, int fd) {
    if (fd >= w->len || !w->fds[fd].events)
        return;
    if (w->fds[fd].always)
        set_always(w, &w->fds[fd], false);
    else
        epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* it may be closed already, which ends it too */
    memset(&w->fds[fd], 0, sizeof w->fds[fd]);
}

int ws_loop_watch(ws_loop_t *l, int fd, int events, void (*fn)(void *ctx, int fd, int events), void *ctx) {
    if (fd < 0 || fd >= MAX_FDS || events & ~(WS_FD_READ | WS_FD_WRITE) || (events && !fn))
        return OSMO_EINVAL;
    if (!events) {
        if (l->watches)
            end(l->watches, fd);
        return OSMO_OK;
    }
    if (l->freed || (!l->watches && begin(l) < 0) || room_for(l->watches, fd) < 0)
        return OSMO_ENOMEM;
    struct watches *w = l->watches;
    struct watch *t = &w->fds[fd];
    struct epoll_event e = { .data.fd = fd };
    e.events = (events & WS_FD_READ ? EPOLLIN : 0u) | (events & WS_FD_WRITE ? EPOLLOUT : 0u);
    if (events != t->events && !t->always && epoll_ctl(w->epoll_fd, t->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0) {
        if (errno == EPERM)
            set_always(w, t, true);
        else if (errno == EEXIST || errno == ENOENT) /* closed without a word, and a new one has its number */
            errno = epoll_ctl(w->epoll_fd, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0 ? EINVAL : 0;
        if (!t->always && errno)
            return errno == ENOMEM || errno == ENOSPC ? OSMO_ENOMEM : OSMO_EINVAL;
    }
    t->events = events;
    t->fn = fn;
    t->ctx = ctx;
    return OSMO_OK;
}
