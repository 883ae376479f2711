/* Who carries to whom: lines of bytes that wait, joining, and how connections end together. Called by net_relay.c,
 * net_tunnel.c, net_elsewhere.c and net_ws.c on the network thread; reading and writing is in net_carry_io.c. */
#include "server/net_carry.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/crypto.h"

#define CHUNK_MIN (4096 - sizeof(struct chunk))

/* ---- lines ---- */

struct chunk *line_add(struct osmo_server *s, struct line *l, const void *data, size_t len) {
    struct chunk *last = l->tail;
    if (!last || last->cap - last->len < len) {
        size_t cap = len > CHUNK_MIN ? len : CHUNK_MIN;
        last = malloc(sizeof *last + cap);
        if (!last)
            return NULL;
        *last = (struct chunk){ .cap = cap };
        if (l->tail)
            l->tail->next = last;
        else
            l->head = last;
        l->tail = last;
        l->bytes += sizeof *last + cap;
        s->carried_bytes += sizeof *last + cap;
    }
    memcpy(last->data + last->len, data, len);
    last->len += len;
    return last;
}

void line_drop(struct osmo_server *s, struct line *l) {
    struct chunk *first = l->head;
    l->head = first->next;
    if (!l->head)
        l->tail = NULL;
    l->cut = false;
    l->bytes -= sizeof *first + first->cap;
    s->carried_bytes -= sizeof *first + first->cap;
    crypto_wipe(first->data, first->len); /* somebody may have typed a password */
    free(first);
}

static void line_clear(struct osmo_server *s, struct line *l) {
    while (l->head)
        line_drop(s, l);
}

/* What has been begun is finished; what is behind it goes. */
static void line_shorten(struct osmo_server *s, struct line *l) {
    struct line rest = *l;
    if (l->head && (l->head->sent || l->cut)) {
        rest.head = l->head->next;
        l->head->next = NULL;
        l->tail = l->head;
        l->bytes = sizeof *l->head + l->head->cap;
        rest.bytes -= l->bytes;
    } else {
        *l = (struct line){ 0 };
    }
    line_clear(s, &rest);
}

static void line_move(struct line *to, struct line *from) {
    if (!from->head)
        return;
    if (to->tail)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    to->bytes += from->bytes;
    *from = (struct line){ 0 };
}

static size_t limit(const struct osmo_server *s) { return s->carried_bytes > CARRY_TOTAL ? CARRY_LOW : CARRY_LIMIT; }

bool carry_waits_long(const struct osmo_server *s, const struct conn *c) { return c->carry->out.bytes > limit(s) / 2; }

/* ---- begin, hold, pass ---- */

bool carry_full(const struct osmo_server *s) { return s->carried >= CARRY_MAX; }

int carry_begin(struct osmo_server *s, struct conn *c, enum carry_kind kind) {
    struct carry *k = calloc(1, sizeof *k);
    if (!k)
        return OSMO_ENOMEM;
    k->kind = kind;
    k->wrote_ms = net_now_ms();
    c->carry = k;
    c->kill_ms = c->body_since_ms = 0;
    s->carried++;
    return OSMO_OK;
}

static bool hold(struct osmo_server *s, struct conn *c, const void *data, size_t len, unsigned messages) {
    struct carry *k = c->carry;
    struct chunk *last = line_add(s, &k->held, data, len);
    if (!last)
        return false;
    k->held_messages += messages;
    if (k->held.bytes > limit(s) || k->held_messages >= CARRY_MESSAGES) {
        k->paused = true;
        carry_reading(s, c);
    }
    return true;
}

/* It has to be closed, but not from within what goes on in its peer. */
static void give_up(struct osmo_server *s, struct conn *c) {
    c->carry->broken = true;
    carry_wants_write(s, c);
}

bool carry_pass(struct osmo_server *s, struct conn *c, const void *data, size_t len, unsigned messages) {
    struct carry *k = c->carry;
    const unsigned char *from = data;
    size_t left = len;
    if (len == 0 || (!k->peer && k->joined))
        return true;
    if (!k->peer)
        return hold(s, c, data, len, messages);
    struct carry *to = k->peer->carry;
    if (!to->out.head && !to->broken) {
        ssize_t n = carry_write(s, k->peer, from, left);
        if (n < 0) {
            give_up(s, k->peer);
            return true;
        }
        from += n;
        left -= (size_t)n;
        to->out.cut = n > 0 && left > 0;
    }
    if (left == 0 || to->broken)
        return true;
    if (!line_add(s, &to->out, from, left))
        return false;
    carry_wants_write(s, k->peer);
    if (to->out.bytes > limit(s)) {
        k->paused = true;
        carry_reading(s, c);
    }
    return true;
}

/* ---- join ---- */

/* What was held goes to the other, in its form. */
static void hand_over(struct osmo_server *s, struct conn *from, struct conn *to) {
    struct carry *k = from->carry, *other = to->carry;
    if (k->kind == CARRY_WS && other->kind != CARRY_WS)
        relay_strip(&k->held);
    for (struct chunk *p = k->held.head; p && other->kind == CARRY_TUNNEL; p = p->next)
        tunnel_answered(s, to, p->data, p->len);
    line_move(&other->out, &k->held);
    k->held_messages = 0;
    k->paused = other->out.bytes > limit(s);
    if (from->session && to->session)
        ws_count_out(to->session, from->session->traffic_in);
}

void carry_join(struct osmo_server *s, struct conn *a, struct conn *b) {
    struct conn *both[2] = { a, b };
    for (int i = 0; i < 2; i++) {
        struct carry *k = both[i]->carry;
        k->peer = both[1 - i];
        k->joined = true;
        carry_own_io(s, both[i]);
        if (k->kind == CARRY_WS)
            ws_queued(s, both[i], &k->out); /* what the service had to say before */
    }
    hand_over(s, a, b);
    hand_over(s, b, a);
    for (int i = 0; i < 2; i++) {
        if (both[i]->carry->kind == CARRY_TUNNEL)
            tunnel_joined(s, both[i]);
        carry_reading(s, both[i]);
        carry_wants_write(s, both[i]);
    }
    for (int i = 0; i < 2; i++) {
        struct carry *k = both[i]->carry;
        if (!k->farewell)
            continue;
        carry_ended(s, both[i], k->code, k->reason);
        carry_echo(s, both[i], k->code);
    }
}

/* ---- the end ---- */

void carry_end(struct osmo_server *s, struct conn *c, int code, const char *reason) {
    struct carry *k = c->carry;
    if (k->ending || c->closing)
        return;
    k->ending = k->deaf = c->frames.deaf = true;
    k->paused = false;
    k->code = code;
    snprintf(k->reason, sizeof k->reason, "%s", reason);
    c->kill_ms = net_now_ms() + net_patience.stall_ms;
    carry_reading(s, c); /* a websocket answers our goodbye */
    carry_wants_write(s, c);
}

void carry_ended(struct osmo_server *s, struct conn *c, int code, const char *reason) {
    struct carry *k = c->carry;
    struct conn *p = k->peer;
    k->deaf = true;
    if (!p)
        return;
    k->peer = p->carry->peer = NULL;
    p->carry->spoilt = k->spoilt;
    carry_end(s, p, code, reason);
}

void carry_echo(struct osmo_server *s, struct conn *c, int code) {
    struct carry *k = c->carry;
    line_shorten(s, &k->out);
    k->ending = k->deaf = k->echo_due = true;
    k->code = code;
    c->kill_ms = net_now_ms() + net_patience.stall_ms;
    carry_wants_write(s, c);
}

void carry_left(struct osmo_server *s, struct conn *c) {
    struct carry *k = c->carry;
    if (!k)
        return;
    if (!k->joined && c->session)
        ws_join_due(s, c);
    if (!k->joined)
        elsewhere_left(s, c);
    carry_ended(s, c, 1001, k->kind == CARRY_WS ? "the other end is gone without a goodbye" : "the client is gone");
    carry_own_io_end(s, c);
    line_clear(s, &k->held);
    line_clear(s, &k->out);
    tunnel_free(k->tunnel);
    c->carry = NULL;
    s->carried--;
    free(k);
}

bool carry_at_boundary(const struct conn *c) {
    const struct line *l = &c->carry->out;
    return (!l->head || (!l->head->sent && !l->cut)) && !lws_partial_buffered(c->wsi);
}

/* Whoever is not read from is asked whether it is there at all. */
int carry_sweep(struct osmo_server *s, struct conn *c, int64_t now_ms) {
    struct carry *k = c->carry;
    struct pollfd fd = { .fd = lws_get_socket_fd(c->wsi), .events = POLLRDHUP };
    (void)s;
    if (c->lingers || (k->own_io ? ev_is_active(&k->readable) : c->reading) || poll(&fd, 1, 0) <= 0)
        return 0;
    if (fd.revents & (POLLERR | POLLNVAL) || (fd.revents & POLLHUP && !k->fin_sent)) {
        k->spoilt = true;
        return -1;
    }
    if (k->kind == CARRY_WS)
        return k->joined ? 0 : -1; /* a held one that has said all: nobody is there to be joined with */
    return k->kind == CARRY_TUNNEL && k->deaf && !k->ending && now_ms - k->wrote_ms > net_patience.stall_ms ? -1 : 0;
}
