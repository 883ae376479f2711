/* The audit log: who did what to what, one JSON object a line, append-only, mode 0600 (<data directory>/audit.jsonl unless given).
 * Every request that changes something, every refusal (401, 403, 429) and every exchange of tokens; never a token, a body or a query.
 *
 * Members: time (RFC 3339, UTC, microseconds), replica, request (number), peer, user, token_name, workflow_id (of a task's token),
 * backend, how (identity kind), method, path (as matched, with the names in it), action, resource, allowed (bool), status, and of
 * interactive sessions session, bytes_in, bytes_out and seconds; the path is without the key then. Lines are
 * written by a thread in bulk; a queue that is full makes the request wait, and what is in it is written before the service ends.
 * A file that cannot be written is said in the service's log once, and /health tells; nobody waits then: what has no room is counted,
 * and a line {time, replica, lost} says how many when the file can be written again. Members without a value are left out. */
#ifndef ENGINE_AUDIT_H
#define ENGINE_AUDIT_H
#include "engine/engine.h"

struct audit_event {
    const osmo_request_t *rq;
    const struct identity *who; /* may be empty */
    const char *action, *resource; /* may be NULL */
    bool allowed;
    bool must_not_wait; /* on the thread of the connections */
    int status;
    const char *session; /* "opened", "refused" or "closed", of an interactive session; else NULL */
    uint64_t in, out;    /* closed: bytes from the user and to it, and how long it was */
    int64_t lasted_us;
};
int audit_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err);
void audit_close(engine_t *e);
void audit_write(engine_t *e, const struct audit_event *ev); /* copies */
void audit_reopen(engine_t *e);                              /* SIGHUP: somebody has moved the file */
bool audit_is_well(engine_t *e);
#endif
