/* Batches of log entries as osmo-ctrl sends them. See logs_batch.c. */
#ifndef ENGINE_LOGS_BATCH_H
#define ENGINE_LOGS_BATCH_H
#include <stdbool.h>
#include <stddef.h>
#include "store/logstore.h"

#define BATCH_ENTRIES_MAX 262144 /* the frame itself is capped by the transport */

struct log_batch {
    struct log_entry *entries; /* their text is in the frame, or in `room` */
    size_t n;
    uint64_t last;             /* sequence of the last one */
    char *room;
};
/* Does the frame begin as a batch of ours does? Others are read the general way. */
bool batch_is_one(const char *data, size_t len);
/* OSMO_EINVAL says what is wrong with the frame; nothing is left to be cleared then. now_us: of entries without a time. */
int batch_read(const char *data, size_t len, int64_t now_us, struct log_batch *out, osmo_error_t *err);
void batch_clear(struct log_batch *b);
#endif
