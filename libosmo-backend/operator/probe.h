/* A small HTTP/1.1 server for probes: GET and HEAD, one answer a connection, a few connections at a time, each with little room and little
 * time. A thread of its own, so that it answers whatever the rest of the program does. Called by health.c. */
#ifndef OPERATOR_PROBE_H
#define OPERATOR_PROBE_H
#include "base/buf.h"
#include "osmo/error.h"

typedef struct probe probe_t;
/* Called in the thread of the probe for each request, without the query. Returns the HTTP status; out holds up to a MiB. */
typedef int (*probe_fn)(void *ctx, const char *path, const char **content_type, buf_t *out);

/* listen: ADDRESS:PORT, [ADDRESS]:PORT or :PORT (all addresses of the machine). */
int probe_open(const char *listen, probe_fn fn, void *ctx, probe_t **out, osmo_error_t *err);
int probe_port(const probe_t *p);
void probe_close(probe_t *p);
#endif
