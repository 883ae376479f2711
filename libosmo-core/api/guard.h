/* Around every request: how often one may ask (engine/limits.h), and the audit log (engine/audit.h). Called by api/. */
#ifndef API_GUARD_H
#define API_GUARD_H
#include "api/route.h"

typedef int (*identify_fn)(engine_t *e, const osmo_request_t *rq, struct identity *out, osmo_error_t *err);
/* Proves by `identify` who asks, unless its peer was refused too often, or it asks too often: OSMO_EBUSY, c->retry_after_s is set. */
int guard_identify(struct call *c, identify_fn identify, osmo_error_t *err);
/* For routes that take a token in their body or query: before they look at it, and when it was refused. */
int guard_may_prove(struct call *c, osmo_error_t *err);
void guard_refused(struct call *c);
/* A path as it may be written down: canonical, and without the key of an interactive session. Caller frees; NULL: no memory. */
char *guard_shown_path(const char *path);
/* A line of the audit log, when the answer is worth one. `action` of the route, upgrade: of a websocket, on the thread of the
 * connections. */
void guard_record(struct call *c, const osmo_request_t *rq, enum action action, bool upgrade);
#endif
