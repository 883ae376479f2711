/* Lines as they leave a stream. See logs_emit.c. */
#ifndef ENGINE_LOGS_EMIT_H
#define ENGINE_LOGS_EMIT_H
#include "base/re.h"
#include "engine/engine.h"

struct line_emit { enum line_format format; re_t *regex, *grep; };
/* OSMO_EUSAGE names the expression. emit_close() either way. */
int emit_open(struct line_emit *e, const struct line_options *o, osmo_error_t *err);
void emit_close(struct line_emit *e);
/* One entry with its newline, if all of it or some of its lines match; line 0: it has no number. Failures are in `out`. */
void emit_line(const struct line_emit *e, uint64_t line, const char *text, size_t len, buf_t *out);
void emit_end(const struct line_emit *e, buf_t *out);
/* Nothing was said for a while. */
void emit_beat(const struct line_emit *e, buf_t *out);
#endif
