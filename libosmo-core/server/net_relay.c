/* Frames of websockets whose messages are carried: unmasked where they lie, their heads replaced, each piece a
 * fragment of its message, so that nothing has to be whole before it goes on. Control frames are answered here.
 * Network thread. */
#include <string.h>
#include "server/net_carry.h"

unsigned char *relay_head(unsigned char *payload, size_t len, unsigned op, bool fin) {
    unsigned char *p = payload;
    int more = len < 126 ? 0 : len < 65536 ? 2 : 8;
    for (int i = 0; i < more; i++)
        *--p = (unsigned char)((uint64_t)len >> 8 * i);
    *--p = more == 0 ? (unsigned char)len : more == 2 ? 126 : 127;
    *--p = (unsigned char)((fin ? 0x80 : 0) | op);
    return p;
}

static size_t head_len(size_t len) { return len < 126 ? 2 : len < 65536 ? 4 : 10; }

/* What has been made of the bytes that came, in their place: from `start` to `end`. */
struct made { unsigned char *start, *end; unsigned messages; size_t payload; bool raw, fin; };

/* A client's head is longer than ours by its mask, and there is room before the first: what is made never reaches
 * what is still to be read. */
static void make_piece(struct made *m, const struct frames *f) {
    unsigned char *piece = (unsigned char *)f->piece;
    size_t head = m->raw ? 0 : head_len(f->piece_len);
    m->messages += f->piece_fin;
    m->payload += f->piece_len;
    if (m->raw && !f->binary) /* bytes come in binary messages only */
        return;
    if (m->raw && f->piece_fin && !f->piece_len && f->piece_op == OP_BINARY)
        m->fin = true;
    if (!m->start)
        m->start = m->end = piece - head;
    unsigned char *to = m->end + head;
    if (to != piece)
        memmove(to, piece, f->piece_len);
    if (head)
        relay_head(to, f->piece_len, f->piece_op, f->piece_fin);
    m->end = to + f->piece_len;
}

static bool pass(struct osmo_server *s, struct conn *c, const struct made *m) {
    struct carry *k = c->carry;
    size_t len = m->start ? (size_t)(m->end - m->start) : 0;
    ws_count_in(c->session, m->payload);
    if (k->peer && k->peer->session)
        ws_count_out(k->peer->session, m->payload);
    if (m->raw && len && k->peer->carry->kind == CARRY_TUNNEL)
        tunnel_answered(s, k->peer, m->start, len);
    if (!carry_pass(s, c, m->start, len, m->messages))
        return false;
    if (m->fin && k->peer) {
        k->peer->carry->fin_due = true;
        carry_wants_write(s, k->peer);
    }
    return true;
}

int relay_received(struct osmo_server *s, struct conn *c, unsigned char *data, size_t len) {
    struct frames *f = &c->frames;
    struct made m = { .raw = c->carry->peer && c->carry->peer->carry->kind != CARRY_WS };
    int what = FRAMES_MORE;
    for (size_t at = 0; at < len && what >= 0 && what != FRAMES_CLOSE;) {
        size_t used = 0;
        what = frames_read(f, (char *)data + at, len - at, &used);
        at += used;
        if (what == FRAMES_PIECE)
            make_piece(&m, f);
        else if (what == FRAMES_PING)
            ws_pinged(s, c);
    }
    if (!pass(s, c, &m)) {
        carry_ended(s, c, 1011, "the service is out of memory");
        return ws_break_off(s, c, 1011, "out of memory");
    }
    if (what == FRAMES_CLOSE)
        return ws_peer_closes(s, c);
    return what < 0 ? ws_break_off(s, c, -what, what == -1009 ? "the frame is larger than 16 MiB" : f->why) : 0;
}

/* ---- frames that have been made, for somebody who wants bytes ---- */

static void strip_chunk(struct chunk *p, bool *binary) {
    size_t to = 0;
    for (size_t at = 0; at + 2 <= p->len;) {
        const unsigned char *h = p->data + at;
        unsigned op = h[0] & 0x0f;
        size_t more = h[1] == 126 ? 2 : h[1] == 127 ? 8 : 0, n = more ? 0 : h[1];
        for (size_t i = 0; i < more; i++)
            n = n << 8 | h[2 + i];
        if (op != OP_CONTINUE)
            *binary = op == OP_BINARY;
        at += 2 + more;
        if (*binary) {
            memmove(p->data + to, p->data + at, n);
            to += n;
        }
        at += n;
    }
    p->len = to;
}

void relay_strip(struct line *l) {
    bool binary = false;
    for (struct chunk *p = l->head; p; p = p->next)
        strip_chunk(p, &binary);
}
