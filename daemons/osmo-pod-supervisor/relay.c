/* Connections from inside a pod to services on the loopback address of the host. A thread of its own: whatever the pod does
 * here cannot keep the supervisor from its containers. Bytes go through pipes inside the kernel (splice), each way is held up
 * by its receiver alone, and the end of one way leaves the other open. Used by main.c.
 *
 * Events are edge triggered: a connection is worked on until nothing moves, but only for a while at a time; one that could go
 * on waits in `busy` for its next turn. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "network.h"

#define EVENTS 64
#define CHUNK (64 * 1024)
#define ROUNDS 16               /* of one chunk each, then others have their turn */
#define FILES_EACH 6            /* two sockets, two pipes */
#define FILES_OTHERS 256        /* what the supervisor needs for its containers, generously */

struct way { int from, to, pipe[2]; size_t held; bool ended, over; };
struct connection {
    struct connection *next;    /* in `busy` or `dead` */
    struct way ways[2];         /* out of the pod, into it */
    bool busy, dead;
};
struct listener { int fd; union network_place to; socklen_t len; };
struct relay {
    int epoll_fd;
    struct listener listeners[NET_RELAYS_MAX];
    size_t nlisteners, count, max;
    bool full;
    struct connection *busy, *dead;
};

static void close_both(int *a, int *b)
{
    cleanup_close_p(a);
    cleanup_close_p(b);
    *a = *b = -1;
}

static void connection_free(struct connection *c)
{
    close_both(&c->ways[0].from, &c->ways[0].to);
    close_both(&c->ways[0].pipe[0], &c->ways[0].pipe[1]);
    close_both(&c->ways[1].pipe[0], &c->ways[1].pipe[1]);
    free(c);
}

static void bury(struct relay *r, struct connection *c)
{
    if (c->dead)
        return;
    c->dead = true;
    if (!c->busy) { /* otherwise its turn comes */
        c->next = r->dead;
        r->dead = c;
    }
}

/* What is read is written before more is read: so the pipe is empty whenever the source is asked. @return -1 on an error, 1 when it
 * could go on, 0 when it has to wait */
static int move(struct way *w)
{
    for (int i = 0; i < ROUNDS; i++) {
        ssize_t n;
        if (w->held == 0 && !w->ended) {
            n = splice(w->from, NULL, w->pipe[1], NULL, CHUNK, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (n < 0)
                return errno == EAGAIN || errno == EINTR || errno == ENOTCONN ? 0 : -1;
            w->ended = n == 0;
            w->held = (size_t)n;
        }
        if (w->held == 0) {
            if (!w->over && shutdown(w->to, SHUT_WR) < 0)
                return errno == ENOTCONN ? 0 : -1;
            w->over = true;
            return 0;
        }
        n = splice(w->pipe[0], NULL, w->to, NULL, w->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR || errno == ENOTCONN ? 0 : -1;
        w->held -= (size_t)n;
    }
    return 1;
}

static void work(struct relay *r, struct connection *c)
{
    int out = move(&c->ways[0]), in = out < 0 ? out : move(&c->ways[1]);
    if (out < 0 || in < 0 || (c->ways[0].over && c->ways[1].over)) {
        bury(r, c);
    } else if ((out || in) && !c->busy) {
        c->busy = true;
        c->next = r->busy;
        r->busy = c;
    }
}

/* The pod sees the end of the connection at once, as it would see a service that is not there. */
static void refuse(int fd)
{
    struct linger now = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

static struct connection *connection_new(const struct listener *l, int fd)
{
    struct connection *c = calloc(1, sizeof(*c));
    int on = 1;
    if (!c)
        return NULL;
    int to = socket(l->to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    c->ways[0] = (struct way){.from = -1, .to = to, .pipe = {-1, -1}};
    c->ways[1] = (struct way){.from = to, .to = -1, .pipe = {-1, -1}};
    if (to < 0 || pipe2(c->ways[0].pipe, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(c->ways[1].pipe, O_CLOEXEC | O_NONBLOCK) < 0 ||
        (connect(to, &l->to.any, l->len) < 0 && errno != EINPROGRESS)) {
        connection_free(c);
        return NULL;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->ways[0].from = c->ways[1].to = fd;
    return c;
}

static void watch_listeners(const struct relay *r, bool on)
{
    for (size_t i = 0; i < r->nlisteners; i++) {
        struct epoll_event e = {.events = on ? EPOLLIN : 0, .data.ptr = (void *)(uintptr_t)&r->listeners[i]};
        epoll_ctl(r->epoll_fd, EPOLL_CTL_MOD, r->listeners[i].fd, &e);
    }
}

static void take(struct relay *r, const struct listener *l)
{
    while (r->count < r->max) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        struct connection *c = connection_new(l, fd);
        if (!c) {
            refuse(fd);
            continue;
        }
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        r->count++;
        if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ||
            epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, c->ways[0].to, &e) < 0)
            bury(r, c);
    }
    r->full = true;
    watch_listeners(r, false);
}

static bool is_listener(const struct relay *r, const void *what)
{
    for (size_t i = 0; i < r->nlisteners; i++)
        if (what == &r->listeners[i])
            return true;
    return false;
}

static void turn_busy(struct relay *r)
{
    struct connection *list = r->busy;
    r->busy = NULL;
    while (list) {
        struct connection *c = list;
        list = c->next;
        c->busy = false;
        if (c->dead) {
            c->dead = false;
            bury(r, c);
        } else {
            work(r, c);
        }
    }
}

/* Only after all events of a round: the other socket may be among them. */
static void sweep(struct relay *r)
{
    while (r->dead) {
        struct connection *c = r->dead;
        r->dead = c->next;
        connection_free(c);
        r->count--;
    }
    if (r->full && r->count < r->max) {
        r->full = false;
        watch_listeners(r, true);
    }
}

static void *relay_main(void *arg)
{
    struct relay *r = arg;
    struct epoll_event events[EVENTS];
    for (;;) {
        int n = epoll_wait(r->epoll_fd, events, EVENTS, r->busy ? 0 : -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (is_listener(r, c))
                take(r, events[i].data.ptr);
            else if (!c->dead && (events[i].events & EPOLLERR))
                bury(r, c);
            else if (!c->dead && !c->busy)
                work(r, c);
        }
        turn_busy(r);
        sweep(r);
    }
    return NULL;
}

/* The containers keep the limit that we were started with. */
static size_t raise_limit(struct network *n)
{
    rlim_t want = FILES_OTHERS + FILES_EACH * RELAY_CONNECTIONS;
    struct rlimit more;
    if (getrlimit(RLIMIT_NOFILE, &n->files) < 0)
        return 16;
    n->limited = true;
    more = n->files;
    if (more.rlim_cur < want)
        more.rlim_cur = more.rlim_max < want ? more.rlim_max : want;
    setrlimit(RLIMIT_NOFILE, &more);
    size_t fit = more.rlim_cur > FILES_OTHERS ? (size_t)(more.rlim_cur - FILES_OTHERS) / FILES_EACH : 16;
    return fit < 16 ? 16 : fit > RELAY_CONNECTIONS ? RELAY_CONNECTIONS : fit;
}

int relay_start(struct network *n, osmo_error_t *err)
{
    if (n->nlisteners == 0)
        return 0;
    struct relay *r = calloc(1, sizeof(*r)); /* for as long as this process lives */
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, old;
    if (!r || (r->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        free(r);
        return osmo_error_set(err, OSMO_EIO, "cannot relay to the service: %s", strerror(errno));
    }
    r->max = raise_limit(n);
    for (size_t i = 0; i < n->nlisteners; i++) {
        struct listener *l = &r->listeners[r->nlisteners++];
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = l};
        l->fd = n->listeners[i];
        l->len = network_place(n->relays.items[i], &l->to);
        epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, l->fd, &e);
    }
    n->nlisteners = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    int rc = pthread_create(&thread, &attr, relay_main, r);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc ? osmo_error_set(err, OSMO_EIO, "cannot relay to the service: %s", strerror(rc)) : 0;
}
