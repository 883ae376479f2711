/* Requests on their way to the web server of a task: their heads written anew, and bodies in chunks read strictly.
 * Pure. */
#ifndef SERVER_NET_REWRITE_H
#define SERVER_NET_REWRITE_H
#include "base/buf.h"
#include "server/net_head.h"

/* The head `raw`, of which `h` is what head_read() made: as it came, but for what is for us or for one hop only. It
 * asks for the end of the connection unless it upgrades to a websocket. 0, or the HTTP status of a refusal with
 * *why. */
int rewrite_head(const struct head *h, const char *raw, size_t size, const char *peer, bool tls, buf_t *out, const char **why);

struct chunks { /* zeroed at first */
    enum { CHUNKS_SIZE, CHUNKS_EXTENSION, CHUNKS_SIZE_LF, CHUNKS_DATA, CHUNKS_DATA_CR, CHUNKS_DATA_LF,
           CHUNKS_TRAILER, CHUNKS_TRAILER_NAME, CHUNKS_TRAILER_LF, CHUNKS_LAST_LF, CHUNKS_OVER } state;
    uint64_t left;
    unsigned digits;
    size_t idle; /* bytes of extensions and trailers so far */
};
enum { CHUNKS_MORE, CHUNKS_PIECE, CHUNKS_END };
/* Reads on: CHUNKS_PIECE with what it carries at *piece, CHUNKS_END when the body is complete (what is behind *used
 * belongs to nobody), or a negative HTTP status. *used is all of it for CHUNKS_MORE. */
int chunks_read(struct chunks *c, const char *data, size_t len, size_t *used, const char **piece, size_t *piece_len);
#endif
