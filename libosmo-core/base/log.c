/* Log sink; see log.h. log_stderr is for main programs. */
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"

static const struct {
    int level;
    const char *name;
} levels[] = {
    { LOG_LEVEL_DEBUG, "DEBUG" },
    { LOG_LEVEL_INFO, "INFO" },
    { LOG_LEVEL_WARNING, "WARNING" },
    { LOG_LEVEL_ERROR, "ERROR" },
};

void log_write(const logger_t *l, int level, const char *format, ...) {
    if (!l || !l->fn || level < l->level)
        return;
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *p = text; *p; p++) { /* one line each: a control character must not forge another */
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    }
    l->fn(l->ctx, level, text);
}

void log_stderr(void *ctx, int level, const char *text) {
    char when[TIME_TEXT_MAX], line[2304];
    const char *name = "INFO";
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (level >= levels[i].level)
            name = levels[i].name;
    }
    int n = snprintf(line, sizeof line, "%s %s [%s] %s\n", time_rfc3339(clock_now_us(), when),
                     ctx ? (const char *)ctx : "osmo", name, text);
    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    line[len - 1] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
}

int log_level_parse(const char *name) {
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcasecmp(name, levels[i].name) == 0)
            return levels[i].level;
    }
    return -1;
}
