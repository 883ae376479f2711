/* Descriptors in the websocket client's loop: its own connections and those of others. Called in the loop's thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/ws_client_conn.h"

#define EVENTS_PER_TURN 128
#define MAX_FDS (1 << 20)

static void call(struct ws_loop *l, int fd, int events) {
    struct ws_watch *t = fd < l->nwatches ? &l->watches[fd] : NULL;
    if (t && (events &= t->events))
        t->fn(t->ctx, fd, events);
}

int watches_wait(struct ws_loop *l, int timeout_ms) {
    struct epoll_event ready[EVENTS_PER_TURN];
    int n = epoll_wait(l->epoll_fd, ready, EVENTS_PER_TURN, l->always ? 0 : timeout_ms);
    for (int i = 0; i < n; i++) { /* each is looked up again: the one before may have ended it */
        uint32_t e = ready[i].events;
        int events = e & (EPOLLERR | EPOLLHUP) ? WS_FD_READ | WS_FD_WRITE : 0;
        events |= (e & (EPOLLIN | EPOLLRDHUP) ? WS_FD_READ : 0) | (e & EPOLLOUT ? WS_FD_WRITE : 0);
        call(l, ready[i].data.fd, events);
    }
    for (int fd = 0; l->always && fd < l->nwatches; fd++) {
        if (l->watches[fd].always)
            call(l, fd, WS_FD_READ | WS_FD_WRITE);
    }
    return n;
}

static int room_for(struct ws_loop *l, int fd) {
    if (fd < l->nwatches)
        return OSMO_OK;
    int len = l->nwatches ? l->nwatches : 64;
    while (len <= fd)
        len *= 2;
    struct ws_watch *list = realloc(l->watches, (size_t)len * sizeof *list);
    if (!list)
        return OSMO_ENOMEM;
    memset(list + l->nwatches, 0, (size_t)(len - l->nwatches) * sizeof *list);
    l->watches = list;
    l->nwatches = len;
    return OSMO_OK;
}

static void end(struct ws_loop *l, int fd) {
    if (fd >= l->nwatches || !l->watches[fd].events)
        return;
    if (l->watches[fd].always)
        l->always--;
    else
        epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* it may be closed already, which ends it too */
    memset(&l->watches[fd], 0, sizeof l->watches[fd]);
}

/* 0 or errno. */
static int tell_epoll(struct ws_loop *l, int fd, bool known, struct epoll_event *e) {
    if (epoll_ctl(l->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, e) == 0)
        return 0;
    if (errno != EEXIST && errno != ENOENT)
        return errno;
    /* it was closed without a word, and a new one has its number */
    return epoll_ctl(l->epoll_fd, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, e) < 0 ? errno : 0;
}

int ws_loop_watch(ws_loop_t *l, int fd, int events, void (*fn)(void *ctx, int fd, int events), void *ctx) {
    if (fd < 0 || fd >= MAX_FDS || events & ~(WS_FD_READ | WS_FD_WRITE) || (events && !fn))
        return OSMO_EINVAL;
    if (!events) {
        end(l, fd);
        return OSMO_OK;
    }
    if (l->freed || room_for(l, fd) < 0)
        return OSMO_ENOMEM;
    struct ws_watch *t = &l->watches[fd];
    struct epoll_event e = { .data.fd = fd };
    e.events = (events & WS_FD_READ ? EPOLLIN : 0u) | (events & WS_FD_WRITE ? EPOLLOUT : 0u);
    bool same = events == t->events && fn == t->fn && ctx == t->ctx;
    int error = !same && !t->always ? tell_epoll(l, fd, t->events != 0, &e) : 0;
    if (error == EPERM) { /* a plain file: epoll does not know it, and it is always ready */
        t->always = true;
        l->always++;
    } else if (error) {
        return error == ENOMEM || error == ENOSPC ? OSMO_ENOMEM : OSMO_EINVAL;
    }
    t->events = events;
    t->fn = fn;
    t->ctx = ctx;
    return OSMO_OK;
}
