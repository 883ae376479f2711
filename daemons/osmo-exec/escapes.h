/* What a client says in the input of an interactive session beside the bytes for the command: the size object at its begin and the escapes
 * later; see runtime/link.h. Pure. Used by session.c and by tests. */
#ifndef OSMO_EXEC_ESCAPES_H
#define OSMO_EXEC_ESCAPES_H
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define SIZE_OBJECT_MAX 4096
#define ESCAPE_MAX 128

struct session_size {
    int rows, cols;
    bool tty;
    char extensions[48];  /* granted; "" for OSMO's clients */
};
/* Take the size object off the front of `in`; what follows it stays. `ours`: osmo_ctrl can do what we can. 1, or 0 when more bytes are
 * needed, or -1 with the reason. */
int size_take(buf_t *in, bool ours, struct session_size *out, char *why, size_t cap);

struct escapes {
    bool signals;            /* NUL SIGNAL is an escape too */
    char carry[ESCAPE_MAX];  /* the begin of what may become one */
    size_t len;
};
struct escape_sink {
    void (*bytes)(void *ctx, const char *data, size_t len);
    void (*resize)(void *ctx, int rows, int cols);
    void (*signal)(void *ctx, int number);
    void *ctx;
};
void escapes_feed(struct escapes *e, const char *data, size_t len, const struct escape_sink *sink);
/* Nothing followed for a while: a NUL that somebody typed. */
void escapes_flush(struct escapes *e, const struct escape_sink *sink);
#endif
