/* Connections whose bytes are carried to another one: held and joined sessions, tunnels to the web servers of tasks,
 * connections for other replicas. net_carry.c (queues, joining, the end), net_carry_io.c (reading and writing),
 * net_relay.c (frames of websockets), net_tunnel.c, net_elsewhere.c. Network thread unless marked.
 *
 * What comes is brought into the form of the one it is for, and either written at once or appended to that one's
 * line; as long as there is nobody it is for, it is held. Lines are bounded: whoever is not read from stops whoever
 * sends. */
#ifndef SERVER_NET_CARRY_H
#define SERVER_NET_CARRY_H
#include "server/net.h"

#define CARRY_ROOM 16              /* before what was read: for the head of a frame */
#define CARRY_READ NET_PIECE
#define CARRY_LIMIT (256u << 10)   /* bytes that wait for one before the other is not read from any more */
#define CARRY_LOW (32u << 10)      /* instead, when all together wait for more than this: */
#define CARRY_TOTAL (256u << 20)
#define CARRY_MESSAGES 64          /* that are held at most */
#define CARRY_MAX 49152            /* connections */

struct chunk { struct chunk *next; size_t len, sent, cap; unsigned char data[]; };
/* Chunks end where frames do. */
struct line { struct chunk *head, *tail; size_t bytes; bool cut; /* its first chunk begins within a frame */ };

enum carry_kind { CARRY_WS, CARRY_TUNNEL, CARRY_RAW };

struct carry {
    enum carry_kind kind;
    struct conn *peer;             /* NULL: there is none yet, or no more */
    struct line held, out;         /* what came from it and has no way to go; what is to be written to it */
    unsigned held_messages;
    bool own_io;                   /* its descriptor is watched here and not by the library */
    ev_io readable, writable;
    bool joined;                   /* it has, or had, a peer */
    bool paused, waits;            /* not read from: its peer has to take what waits; until it is answered */
    bool deaf;                     /* nothing more of it is wanted */
    bool fin_due, fin_sent;        /* raw: its peer will send no more */
    bool ending, broken, spoilt;   /* ends when all is written; cannot be written to; must not look complete when it ends */
    bool said;                     /* something of the peer's was written */
    bool farewell;                 /* it has said goodbye before its peer is there, who is to hear of it */
    bool echo_due;                 /* the goodbye to be written is the answer to its own */
    int code;                      /* of the end, 0 = none */
    char reason[124];
    int64_t wrote_ms;              /* when something could be written last */
    struct tunnel *tunnel;
};

/* net_carry.c */
int carry_begin(struct osmo_server *s, struct conn *c, enum carry_kind kind); /* 0, or a negative code */
bool carry_full(const struct osmo_server *s);
/* `data` is in the form of whom it is for. True when it was taken, also if it is dropped because nobody wants it. */
bool carry_pass(struct osmo_server *s, struct conn *c, const void *data, size_t len, unsigned messages);
void carry_join(struct osmo_server *s, struct conn *a, struct conn *b);
/* It ends with this code and reason as soon as everything is written to it; nothing more of it is wanted. */
void carry_end(struct osmo_server *s, struct conn *c, int code, const char *reason);
/* What comes from it has ended so; its peer ends the same way. */
void carry_ended(struct osmo_server *s, struct conn *c, int code, const char *reason);
void carry_left(struct osmo_server *s, struct conn *c); /* it is gone, or lingers */
int carry_sweep(struct osmo_server *s, struct conn *c, int64_t now_ms); /* -1: it is to be closed */
void carry_echo(struct osmo_server *s, struct conn *c, int code); /* its own goodbye is answered when what was begun is written */
bool carry_waits_long(const struct osmo_server *s, const struct conn *c); /* too long a line to let its peer go on */
bool carry_at_boundary(const struct conn *c);   /* a control frame may be written */
struct chunk *line_add(struct osmo_server *s, struct line *l, const void *data, size_t len); /* NULL: no memory */
void line_drop(struct osmo_server *s, struct line *l);

/* net_carry_io.c: 0, or -1 when the connection is to be closed */
int carry_writable(struct osmo_server *s, struct conn *c);
int carry_library_read(struct osmo_server *s, struct conn *c, const void *data, size_t len);
int carry_input(struct osmo_server *s, struct conn *c); /* what has come into c->in before */
void carry_own_io(struct osmo_server *s, struct conn *c);
void carry_own_io_end(struct osmo_server *s, struct conn *c);
void carry_reading(struct osmo_server *s, struct conn *c); /* read from it or not, as it says */
void carry_wants_write(struct osmo_server *s, struct conn *c);
ssize_t carry_write(struct osmo_server *s, struct conn *c, const void *data, size_t len); /* what was taken */

/* net_relay.c */
int relay_received(struct osmo_server *s, struct conn *c, unsigned char *data, size_t len);
unsigned char *relay_head(unsigned char *payload, size_t len, unsigned op, bool fin); /* written before it; where it begins */
void relay_strip(struct line *l);               /* frames become the payloads of binary messages */

/* net_tunnel.c */
bool tunnel_meant(const struct head *h);        /* its Host looks like the key of a web server */
int tunnel_begin(struct osmo_server *s, struct conn *c, size_t size); /* c->in begins with the head of c->ex, of this size */
int tunnel_received(struct osmo_server *s, struct conn *c, unsigned char *data, size_t len);
int tunnel_input_ended(struct osmo_server *s, struct conn *c);
void tunnel_joined(struct osmo_server *s, struct conn *c);
void tunnel_answered(struct osmo_server *s, struct conn *c, const unsigned char *data, size_t len); /* it is about to be written */
void tunnel_over(struct osmo_server *s, struct conn *c); /* neither side will say more */
int tunnel_finish(struct osmo_server *s, struct conn *c);
void tunnel_free(struct tunnel *t);

/* net_elsewhere.c */
int elsewhere_begin(struct osmo_server *s, struct conn *c, const osmo_elsewhere_t *where, size_t size);
void elsewhere_ready(struct osmo_server *s);    /* names that were looked up */
void elsewhere_left(struct osmo_server *s, struct conn *c);
int elsewhere_writable(struct osmo_server *s, struct conn *c); /* the connection is there, or failed */
int elsewhere_late(struct osmo_server *s, struct conn *c);
void elsewhere_close(struct osmo_server *s);
#endif
