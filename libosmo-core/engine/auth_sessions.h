/* Websockets by whom they were opened: see auth_sessions.c. Used by api/ws.c. */
#ifndef ENGINE_AUTH_SESSIONS_H
#define ENGINE_AUTH_SESSIONS_H
#include "engine/engine.h"
#include "model/policy.h"

struct auth_session;
/* On the thread of the connections, for an identity of auth_identify_now(); the action is what it was let in for, on a resource, or on one
 * at least of a kind ("pool/"). Copies. */
int auth_session_new(engine_t *e, uint64_t conn, const struct identity *who, enum action a, const char *resource,
                     struct auth_session **out, osmo_error_t *err);
/* On a worker, before anything is done for the session: confirms the identity and that it is still allowed. False: it is being closed
 * with 4000 and a reason. */
bool auth_session_opened(struct auth_session *s);
/* Who it is now, after auth_session_opened(). 0 or OSMO_ENOMEM; the caller clears it. */
int auth_session_identity(struct auth_session *s, struct identity *out);
/* On which resource it is, when that was not known at first: from here on it ends with the right to that one. Copies. */
int auth_session_narrow(struct auth_session *s, const char *resource);
/* It is being closed: nothing it says counts. */
bool auth_session_ended(const struct auth_session *s);
void auth_session_free(struct auth_session *s); /* NULL is fine */
#endif
