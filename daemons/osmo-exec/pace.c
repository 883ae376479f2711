/* See pace.h. */
#include "osmo-exec/pace.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define PIECE (64u << 10)
#define PIECES_A_SECOND 20 /* so that a slow rate is even, too */
#define SECOND_US 1000000LL

/* ---- how fast ---- */

size_t pace_piece(const struct pace *p, size_t most) {
    int64_t piece = p->rate / PIECES_A_SECOND;
    return p->rate <= 0 || piece > (int64_t)most ? most : piece > 0 ? (size_t)piece : 1;
}

int64_t pace_wait_us(const struct pace *p, int64_t now_us) { return p->ready_us > now_us ? p->ready_us - now_us : 0; }

/* Time in which nothing came is not made up for. */
void pace_took(struct pace *p, int64_t now_us, size_t bytes) {
    int64_t begin = p->ready_us > now_us ? p->ready_us : now_us;
    if (p->rate > 0)
        p->ready_us = begin + (int64_t)bytes * SECOND_US / p->rate;
}

/* ---- carrying ---- */

struct way {
    int from, to;
    struct pace pace;
    char data[PIECE];
    size_t at, len;
    bool ended, over; /* no more comes; it has been passed on that no more comes */
};

static bool fails(ssize_t n) { return n < 0 && errno != EAGAIN && errno != EINTR; }

static int take(struct way *w, int64_t now) {
    ssize_t n = recv(w->from, w->data, pace_piece(&w->pace, sizeof w->data), MSG_DONTWAIT);
    if (n > 0) {
        w->at = 0;
        w->len = (size_t)n;
        pace_took(&w->pace, now, w->len);
    }
    w->ended = n == 0;
    return fails(n) ? -1 : 0;
}

static int give(struct way *w) {
    ssize_t n = send(w->to, w->data + w->at, w->len - w->at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        w->at += (size_t)n;
    return fails(n) ? -1 : 0;
}

static bool is_full(const struct way *w) { return w->at < w->len; }

/* What it waits for: one of the two descriptors, or the time, which lowers *timeout_ms. */
static struct pollfd waits_for(const struct way *w, int64_t now, int *timeout_ms) {
    int64_t wait = pace_wait_us(&w->pace, now);
    if (is_full(w))
        return (struct pollfd){ .fd = w->to, .events = POLLOUT };
    if (w->ended)
        return (struct pollfd){ .fd = -1 };
    if (wait == 0)
        return (struct pollfd){ .fd = w->from, .events = POLLIN };
    int ms = (int)(wait / 1000) + 1;
    if (*timeout_ms < 0 || ms < *timeout_ms)
        *timeout_ms = ms;
    return (struct pollfd){ .fd = -1 };
}

static int step(struct way *w, const struct pollfd *p, int64_t now) {
    int rc = p->fd < 0 || !p->revents ? 0 : is_full(w) ? give(w) : take(w, now);
    if (rc == 0 && w->ended && !is_full(w) && !w->over) {
        w->over = true;
        shutdown(w->to, SHUT_WR);
    }
    return rc;
}

void pace_carry(int client, int server, int64_t from_client, int64_t to_client) {
    static struct way ways[2];
    memset(ways, 0, sizeof ways);
    ways[0].from = ways[1].to = client;
    ways[0].to = ways[1].from = server;
    ways[0].pace.rate = from_client;
    ways[1].pace.rate = to_client;
    for (int rc = 0; rc == 0 && !(ways[0].over && ways[1].over);) {
        int timeout_ms = -1;
        int64_t now = clock_mono_us();
        struct pollfd fds[2] = { waits_for(&ways[0], now, &timeout_ms), waits_for(&ways[1], now, &timeout_ms) };
        if (poll(fds, 2, timeout_ms) < 0 && errno != EINTR)
            break;
        now = clock_mono_us();
        rc = step(&ways[0], &fds[0], now) < 0 || step(&ways[1], &fds[1], now) < 0 ? -1 : 0;
    }
    close(client);
    close(server);
}

int pace_pair(int fds[2]) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } }, peer, own;
    socklen_t len = sizeof a, peer_len = sizeof peer, own_len = sizeof own;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[0] = fds[1] = -1;
    if (listener >= 0 && bind(listener, (struct sockaddr *)&a, len) == 0 && listen(listener, 1) == 0 &&
        getsockname(listener, (struct sockaddr *)&a, &len) == 0)
        fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fds[0] >= 0 && connect(fds[0], (struct sockaddr *)&a, sizeof a) == 0)
        fds[1] = accept4(listener, (struct sockaddr *)&peer, &peer_len, SOCK_CLOEXEC);
    /* somebody else of this machine may have been quicker */
    bool ours = fds[1] >= 0 && getsockname(fds[0], (struct sockaddr *)&own, &own_len) == 0 && own.sin_port == peer.sin_port;
    int why = fds[1] >= 0 && !ours ? ECONNREFUSED : errno;
    for (int i = 0; i < 2 && !ours; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (listener >= 0)
        close(listener);
    errno = why;
    return ours ? 0 : -1;
}
