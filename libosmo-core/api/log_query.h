/* What can be asked of a log, its events and its error logs. See log_query.c. */
#ifndef API_LOG_QUERY_H
#define API_LOG_QUERY_H
#include "api/route.h"

#define LOG_TEXT_TYPE "text/plain; charset=us-ascii"   /* what clients expect; the bytes are UTF-8 */

/* since, from_line (or Last-Event-ID), grep, stream, format (or Accept), follow; what OSMO's own parameters say is there already.
 * OSMO_EUSER tells what is wrong. */
int log_query_read(struct call *c, struct line_options *o, osmo_error_t *err);
/* OSMO_EUSER for what these do not have. */
int log_query_events(const struct line_options *o, osmo_error_t *err);
int log_query_error_logs(const struct line_options *o, osmo_error_t *err);
/* Takes the stream. */
int log_query_answer(struct call *c, const struct line_options *o, osmo_stream_t *stream, osmo_error_t *err);
const char *log_query_type(const struct line_options *o);
#endif
