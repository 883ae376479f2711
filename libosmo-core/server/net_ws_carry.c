/* Websocket sessions whose messages are not for the service: held until it joins them with another. Network thread
 * unless marked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "server/net_carry.h"

int ws_join(struct osmo_server *s, uint64_t a, uint64_t b) { /* any thread */
    pthread_mutex_lock(&s->lock);
    struct session *first = ws_find(s, a), *second = ws_find(s, b);
    int rc = OSMO_OK;
    if (!first || !second || first->gone || second->gone || first->close_wanted || second->close_wanted)
        rc = OSMO_ENOTFOUND;
    else if (first == second || !first->held || !second->held || (first->tunnel && second->tunnel))
        rc = OSMO_EINVAL;
    else if (first->join_with || second->join_with)
        rc = OSMO_ECONFLICT;
    if (rc == OSMO_OK) {
        first->join_with = b;
        second->join_with = a;
        ws_kick(s, first);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int ws_traffic(struct osmo_server *s, uint64_t id, osmo_traffic_t *out) { /* any thread */
    pthread_mutex_lock(&s->lock);
    const struct session *w = ws_find(s, id);
    bool there = w != NULL; /* also while osmo_ws_closed() runs for it */
    if (there) {
        out->in = w->traffic_in;
        out->out = w->traffic_out;
        out->last_us = w->traffic_us;
    }
    pthread_mutex_unlock(&s->lock);
    return there ? OSMO_OK : OSMO_ENOTFOUND;
}

static void count(_Atomic uint64_t *sum, struct session *w, size_t payload) { /* only this thread writes them */
    if (payload == 0)
        return;
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + payload, memory_order_relaxed);
    atomic_store_explicit(&w->traffic_us, clock_mono_us(), memory_order_relaxed);
}

void ws_count_in(struct session *w, size_t payload) { count(&w->traffic_in, w, payload); }

void ws_count_out(struct session *w, size_t payload) { count(&w->traffic_out, w, payload); }

void ws_join_due(struct osmo_server *s, struct conn *c) {
    struct session *w = c->session;
    if (!w || !c->carry || c->carry->joined)
        return;
    pthread_mutex_lock(&s->lock);
    bool wanted = w->join_with;
    struct session *other = wanted ? ws_find(s, w->join_with) : NULL;
    struct conn *peer = other ? other->conn : NULL;
    pthread_mutex_unlock(&s->lock);
    if (peer && peer->carry && !peer->carry->joined)
        carry_join(s, c, peer);
    else if (wanted)
        ws_close_to(s, w->id, 1001, "the other end is gone");
}

void ws_hold(struct osmo_server *s, struct conn *c) {
    c->frames.pieces = true;
    if (carry_full(s) || carry_begin(s, c, CARRY_WS) < 0)
        ws_close_to(s, c->session->id, 1013, "too many sessions are open: try again later");
}

void ws_queued(struct osmo_server *s, struct conn *c, struct line *to) {
    struct session *w = c->session;
    pthread_mutex_lock(&s->lock);
    struct message *m = w->out_head;
    w->out_head = w->out_tail = NULL;
    w->out_bytes = 0;
    pthread_mutex_unlock(&s->lock);
    while (m) {
        struct message *next = m->next;
        unsigned char *payload = m->data + LWS_PRE + m->sent;
        unsigned char *p = relay_head(payload, m->len - m->sent, m->sent ? OP_CONTINUE : m->binary ? OP_BINARY : OP_TEXT, true);
        if (!line_add(s, to, p, (size_t)(payload - p) + m->len - m->sent))
            c->carry->broken = true;
        ws_free_message(m);
        m = next;
    }
}

void ws_pinged(struct osmo_server *s, struct conn *c) {
    memcpy(c->pong, c->frames.control, c->pong_len = c->frames.control_len);
    c->pong_due = true;
    carry_wants_write(s, c);
}

int ws_say_goodbye(struct osmo_server *s, struct conn *c) {
    struct carry *k = c->carry;
    if (!k->echo_due)
        return ws_cut(s, c, k->code, k->reason);
    const unsigned char code[2] = { (unsigned char)(k->code >> 8), (unsigned char)k->code };
    if (ws_control(s, c, OP_CLOSE, code, k->code ? 2 : 0) < 0)
        return -1;
    ws_left(s, c);
    return net_linger(s, c);
}

/* It says goodbye, first or in answer: the other hears of it, with the same words. */
int ws_carried_closes(struct osmo_server *s, struct conn *c) {
    const struct frames *f = &c->frames;
    char reason[FRAME_CONTROL_MAX];
    size_t n = f->control_len > 2 ? f->control_len - 2 : 0;
    int code = f->control_len >= 2 ? f->control[0] << 8 | f->control[1] : 0;
    memcpy(reason, f->control + 2, n);
    reason[n] = '\0';
    ws_join_due(s, c);
    if (!c->closing && !c->carry->joined && c->session->patient) {
        c->carry->farewell = c->frames.deaf = true; /* answered when that one has come, or the client has waited long enough */
        c->carry->code = code;
        snprintf(c->carry->reason, sizeof c->carry->reason, "%.123s", reason);
        return 0;
    }
    if (!c->closing)
        carry_ended(s, c, code, reason);
    if (c->closing || carry_at_boundary(c))
        return 1;
    carry_echo(s, c, code);
    return 0;
}
