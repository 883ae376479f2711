/* Messages between osmo_ctrl and osmo_exec on their unix socket: concatenated JSON objects of nine members (OSMO 6.4
 * runtime). */
#ifndef RUNTIME_LINK_H
#define RUNTIME_LINK_H
#include <sys/un.h>

#include "base/buf.h"
#include "base/json.h"

/* Address of a unix socket. A path beyond the 107 bytes an address holds is reached through a descriptor of its
 * directory, left in *dir_fd (else -1) for the caller to close after use. 0 or -1 with errno. */
int link_address(const char *path, struct sockaddr_un *address, int *dir_fd);
/* One object with all nine members; `field` (NULL for none) is the one that carries `text`. Newline-terminated. */
int link_message(buf_t *out, const char *type, const char *field, const char *text, size_t len);
/* Take the next complete object from the front of `in`. 1 and *out, 0 when more bytes are needed, negative when the
 * bytes are no JSON object. */
int link_next(buf_t *in, json_t **out);
/* Longest object: a line piece of 32 KiB, escaped six-fold, and the frame around it. */
#define LINK_MESSAGE_MAX (1u << 20)
#endif
