/* Log sink handed to the libraries at creation. Libraries never print; main programs install log_stderr. */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include <stdarg.h>
enum log_level { LOG_LEVEL_DEBUG = 10, LOG_LEVEL_INFO = 20, LOG_LEVEL_WARNING = 30, LOG_LEVEL_ERROR = 40 };
typedef void (*log_fn)(void *ctx, int level, const char *text);
typedef struct logger { log_fn fn; void *ctx; int level; } logger_t; /* fn NULL = silent */
void log_write(const logger_t *l, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "2026-03-01T09:30:00.123Z NAME [LEVEL] text" on stderr in one write; ctx is the program name. */
void log_stderr(void *ctx, int level, const char *text);
int log_level_parse(const char *name); /* DEBUG INFO WARNING ERROR, any case; -1 unknown */
#define log_debug(l, ...) log_write((l), LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(l, ...) log_write((l), LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(l, ...) log_write((l), LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(l, ...) log_write((l), LOG_LEVEL_ERROR, __VA_ARGS__)
#endif
