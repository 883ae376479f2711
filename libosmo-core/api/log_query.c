/* What can be asked of a log, its events and its error logs: parameters of OSMO's clients, and ours beside them. For log_routes.c. */
#include "api/log_query.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "model/spec.h"

#define GREP_MAX 1000      /* bytes of an expression */
#define LINE_MAX_NUMBER ((int64_t)1 << 53)

/* Time, or how long ago. */
static int read_since(struct call *c, int64_t *out, osmo_error_t *err) {
    const char *text = query_get(c, "since");
    int64_t seconds, us;
    if (!text)
        return 0;
    bool good = time_parse(text, &us);
    if (!good && (seconds = duration_seconds(text)) >= 0 && seconds < INT64_MAX / 2000000) {
        us = clock_now_us() - seconds * 1000000;
        good = true;
    }
    if (!good)
        return osmo_error_set(err, OSMO_EUSER, "since is a time such as 2026-03-01T09:30:00Z, or how long ago: 10m, 2h30m, 1d");
    *out = us > 0 ? us : 1;
    return 0;
}

static int read_format(struct call *c, enum line_format *out, osmo_error_t *err) {
    const char *format = query_get(c, "format"), *accept = request_header(c->rq, "accept");
    *out = accept && strstr(accept, "text/event-stream") ? LINES_SSE : LINES_TEXT;
    if (!format)
        return 0;
    if (!strcmp(format, "text"))
        *out = LINES_TEXT;
    else if (!strcmp(format, "sse"))
        *out = LINES_SSE;
    else if (!strcmp(format, "json"))
        *out = LINES_JSON;
    else
        return osmo_error_set(err, OSMO_EUSER, "format is text, sse or json");
    return 0;
}

static int read_stream(struct call *c, unsigned *out, osmo_error_t *err) {
    const char *stream = query_get(c, "stream");
    if (!stream)
        return 0;
    if (!strcmp(stream, "stdout"))
        *out = 1u << IO_STDOUT;
    else if (!strcmp(stream, "stderr"))
        *out = 1u << IO_STDERR;
    else if (!strcmp(stream, "osmo"))
        *out = 1u << IO_DOWNLOAD | 1u << IO_UPLOAD | 1u << IO_OSMO_CTRL;
    else
        return osmo_error_set(err, OSMO_EUSER, "stream is stdout, stderr or osmo");
    return 0;
}

/* After a break the browser tells the last number it has seen. */
static int read_from_line(struct call *c, struct line_options *o, osmo_error_t *err) {
    const char *last = o->format == LINES_SSE ? request_header(c->rq, "last-event-id") : NULL;
    int64_t n = 0;
    if (last && *last) {
        if (!str_to_i64(last, &n) || n < 0 || n >= LINE_MAX_NUMBER)
            return osmo_error_set(err, OSMO_EUSER, "Last-Event-ID is not the number of a line");
        o->log.from_line = (uint64_t)n + 1;
        o->log.last_n = 0;
        return 0;
    }
    int rc = query_int(c, "from_line", 1, &n, err);
    if (rc < 0 || !query_get(c, "from_line"))
        return rc;
    if (n < 1 || n > LINE_MAX_NUMBER)
        return osmo_error_set(err, OSMO_EUSER, "from_line is the number of a line, from 1 on");
    if (o->log.last_n)
        return osmo_error_set(err, OSMO_EUSER, "from_line and last_n_lines exclude each other");
    o->log.from_line = (uint64_t)n;
    return 0;
}

int log_query_read(struct call *c, struct line_options *o, osmo_error_t *err) {
    bool follow = true;
    o->grep = query_get(c, "grep");
    if (o->grep && strlen(o->grep) > GREP_MAX)
        return osmo_error_set(err, OSMO_EUSER, "grep is longer than %d bytes", GREP_MAX);
    int rc = query_bool(c, "follow", true, &follow, err);
    o->to_present = !follow;
    if (rc >= 0)
        rc = read_since(c, &o->log.since_us, err);
    if (rc >= 0)
        rc = read_format(c, &o->format, err);
    if (rc >= 0)
        rc = read_stream(c, &o->log.kinds, err);
    return rc < 0 ? rc : read_from_line(c, o, err);
}

int log_query_events(const struct line_options *o, osmo_error_t *err) {
    return o->log.kinds ? osmo_error_set(err, OSMO_EUSER, "events have no streams: leave out the parameter stream") : 0;
}

int log_query_error_logs(const struct line_options *o, osmo_error_t *err) {
    if (o->log.kinds)
        return osmo_error_set(err, OSMO_EUSER, "error logs have no streams: leave out the parameter stream");
    return o->log.since_us ? osmo_error_set(err, OSMO_EUSER, "lines of error logs have no times: leave out the parameter since") : 0;
}

int log_query_answer(struct call *c, const struct line_options *o, osmo_stream_t *stream, osmo_error_t *err) {
    int rc = answer_stream(c, log_query_type(o), stream, err);
    if (rc >= 0 && o->format == LINES_SSE)
        (void)answer_header(c, "Cache-Control", "no-cache"); /* proxies pass it on as it comes */
    return rc;
}

const char *log_query_type(const struct line_options *o) {
    switch (o->format) {
    case LINES_SSE:
        return "text/event-stream; charset=utf-8";
    case LINES_JSON:
        return "application/x-ndjson";
    default:
        return LOG_TEXT_TYPE;
    }
}
