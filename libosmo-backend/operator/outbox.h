/* Messages of one listener socket from the moment they exist until the service acknowledged them, in order. Not thread-safe:
 * the operator's loop owns it. */
#ifndef OPERATOR_OUTBOX_H
#define OPERATOR_OUTBOX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "model/messages.h"

typedef struct outbox outbox_t;
outbox_t *outbox_new(size_t window, size_t max);
void outbox_free(outbox_t *o);
/* Takes body. With a key, a waiting message of the same key is replaced where it stands.
 * OSMO_ELIMIT when full: with `drop_oldest` the oldest waiting message goes instead. */
int outbox_add(outbox_t *o, enum message_type type, const char *key, json_t *body, bool drop_oldest);
/* Forget waiting (not yet sent) messages of a key. */
void outbox_purge(outbox_t *o, const char *key);
/* Next message to send, or NULL when nothing waits or the window is full. It counts as sent after outbox_sent(). */
const buf_t *outbox_next(const outbox_t *o);
void outbox_sent(outbox_t *o);
/* False for an unknown uuid. */
bool outbox_ack(outbox_t *o, const char *uuid);
/* The connection is gone: everything unacknowledged will be sent again, in order. */
void outbox_rewind(outbox_t *o);
size_t outbox_len(const outbox_t *o);      /* waiting and unacknowledged */
size_t outbox_in_flight(const outbox_t *o);
void outbox_clear(outbox_t *o);
uint64_t outbox_dropped(const outbox_t *o);
#endif
