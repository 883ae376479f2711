/* How far a transfer is, in words: the line that a terminal redraws, and whole lines for a log in the form of OSMO's data client. Pure: the
 * time comes in. For cli/cmd_data.c and osmo_ctrl. */
#ifndef DATA_PROGRESS_H
#define DATA_PROGRESS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "data/transfer.h"

#define DATA_SIZE_TEXT_MAX 16
#define DATA_METER_TEXT_MAX 1400 /* a name is shortened to fit */

/* "17 B", "1.50 GiB" */
const char *data_size_text(uint64_t bytes, char out[DATA_SIZE_TEXT_MAX]);

struct data_meter { int64_t started_us, shown_us; uint64_t shown_bytes; };
void data_meter_start(struct data_meter *m, int64_t now_us);
/* Is a line of a log worth writing: a tenth of the bytes, or 10 GiB, have come since the last, or five minutes? Remembers that it was. */
bool data_meter_due(struct data_meter *m, const struct data_progress *p, int64_t now_us);
/* " 45%| 1.20 GiB/2.67 GiB [00:12<00:15, 102 MiB/s, file_name=a/b.bin]"; without a percentage while the sum is not known. */
const char *data_meter_log(const struct data_meter *m, const struct data_progress *p, int64_t now_us, char out[DATA_METER_TEXT_MAX]);
/* The same for people, in at most `columns` bytes. */
const char *data_meter_screen(const struct data_meter *m, const struct data_progress *p, int64_t now_us, size_t columns,
                              char out[DATA_METER_TEXT_MAX]);
#endif
