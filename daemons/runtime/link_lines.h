/* The lines of a command among osmo_exec's messages, taken without building a tree of each: there may be hundreds of thousands in
 * a second. */
#ifndef RUNTIME_LINK_LINES_H
#define RUNTIME_LINK_LINES_H
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* `type` is MessageOut, MessageErr or MessageOps. */
typedef void (*link_line_fn)(void *ctx, const char *type, const char *text, size_t len);
/* Takes whole messages from the front of `in` as long as they are lines; link_next() goes on with what it leaves. */
void link_take_lines(buf_t *in, link_line_fn fn, void *ctx);
#endif
