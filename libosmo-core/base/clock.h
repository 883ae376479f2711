/* Times are int64 microseconds since the Unix epoch, UTC. 0 means "not set".
 * The formatting half is pure; only clock_now_us and clock_mono_us read a clock (never call them from model/). */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

int64_t clock_now_us(void);   /* CLOCK_REALTIME */
int64_t clock_mono_us(void);  /* CLOCK_MONOTONIC */

#define TIME_TEXT_MAX 40
/* "2026-03-01T09:30:00.123456", without a fraction when it is zero: the naive UTC form of the OSMO API. */
const char *time_iso(int64_t us, char out[TIME_TEXT_MAX]);
/* "2026/03/01 09:30:00": the log line form. */
const char *time_log(int64_t us, char out[TIME_TEXT_MAX]);
/* "2026-03-01T09:30:00.123456Z" */
const char *time_rfc3339(int64_t us, char out[TIME_TEXT_MAX]);
/* ISO-8601 with T or blank, optional fraction (up to ns), optional Z or ±hh:mm; or a number of epoch seconds. */
bool time_parse(const char *text, int64_t *us);
#endif
