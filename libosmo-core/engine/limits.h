/* How often one may ask: a bucket of requests a caller, and one of refused proofs of identity a peer (settings: request_rate,
 * request_burst, refused_rate; 0 = not limited). Tables of fixed size; who owes least makes room. Tasks and backends have buckets beside
 * their user's. An IPv6 peer is its network of 64 bits. Thread-safe, never blocks. */
#ifndef ENGINE_LIMITS_H
#define ENGINE_LIMITS_H
#include "engine/engine.h"

int limits_open(engine_t *e, osmo_error_t *err);
void limits_close(engine_t *e);
/* May this caller ask now? Otherwise false, and after how many seconds (at least 1). */
bool limits_take(engine_t *e, const struct identity *who, int64_t *retry_after_s);
/* Before a proof of identity is looked at: has the peer had too many refused? Neighbours on loopback count like others. */
bool limits_may_prove(engine_t *e, const char *peer, int64_t *retry_after_s);
void limits_refused(engine_t *e, const char *peer);
/* For tests: another clock than the steady one, in microseconds. */
void limits_clock(engine_t *e, int64_t (*mono_us)(void));
#endif
