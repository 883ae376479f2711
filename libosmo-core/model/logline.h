/* Entries of the ctrl → logger protocol and the text line they become. Pure. */
#ifndef MODEL_LOGLINE_H
#define MODEL_LOGLINE_H
#include <stdint.h>
#include "base/buf.h"
#include "osmo/error.h"
enum io_type { IO_INVALID = 0, IO_STDOUT = 1, IO_STDERR = 2, IO_DOWNLOAD = 3, IO_UPLOAD = 4, IO_OSMO_CTRL = 5, IO_DUMP = 6,
               IO_METRICS = 20, IO_BARRIER = 21, IO_LOG_DONE = 22 };
const char *io_type_name(enum io_type t);
enum io_type io_type_parse(const char *name);
/* "2026/03/01 09:30:00 [task] text\n", "[task retry-1]", a second "[osmo]" for DOWNLOAD UPLOAD OSMO_CTRL (skipped when text is
 * empty); DUMP is the text verbatim. Appends exactly one trailing newline. */
int logline_render(int64_t time_us, const char *task, int64_t retry_id, enum io_type type, const char *text, size_t len, buf_t *out);
#endif
