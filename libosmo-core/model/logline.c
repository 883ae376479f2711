/* The line of text a log entry becomes: identical live, stored and read again. Used by store/logstore and the
 * logger. */
#include "model/logline.h"
#include <string.h>
#include "base/clock.h"

static const struct { enum io_type type; const char *name; } io_names[] = {
    { IO_STDOUT, "STDOUT" }, { IO_STDERR, "STDERR" }, { IO_DOWNLOAD, "DOWNLOAD" }, { IO_UPLOAD, "UPLOAD" },
        { IO_OSMO_CTRL, "OSMO_CTRL" },
    { IO_DUMP, "DUMP" }, { IO_METRICS, "METRICS" }, { IO_BARRIER, "BARRIER" }, { IO_LOG_DONE, "LOG_DONE" },
};
#define IO_NAMES_LEN (sizeof(io_names) / sizeof(io_names[0]))

const char *io_type_name(enum io_type t) {
    for (size_t i = 0; i < IO_NAMES_LEN; i++) {
        if (io_names[i].type == t)
            return io_names[i].name;
    }
    return "";
}

enum io_type io_type_parse(const char *name) {
    for (size_t i = 0; name && i < IO_NAMES_LEN; i++) {
        if (strcmp(io_names[i].name, name) == 0)
            return io_names[i].type;
    }
    return IO_INVALID;
}

static void put_prefix(buf_t *out, int64_t time_us, const char *task, int64_t retry_id, bool osmo) {
    char when[TIME_TEXT_MAX];
    buf_puts(out, time_log(time_us, when));
    buf_puts(out, " [");
    buf_puts(out, task);
    if (retry_id > 0)
        buf_printf(out, " retry-%lld", (long long)retry_id);
    buf_puts(out, osmo ? "][osmo] " : "] ");
}

int logline_render(int64_t time_us, const char *task, int64_t retry_id, enum io_type type, const char *text,
                   size_t len, buf_t *out) {
    bool osmo = type == IO_DOWNLOAD || type == IO_UPLOAD || type == IO_OSMO_CTRL;
    if (!osmo && type != IO_STDOUT && type != IO_STDERR && type != IO_DUMP)
        return OSMO_EINVAL; /* control entries are not text */
    if (osmo && len == 0)
        return 0;
    if (len && text[len - 1] == '\n')
        len--;
    if (type != IO_DUMP)
        put_prefix(out, time_us, task, retry_id, osmo);
    buf_append(out, text, len);
    buf_putc(out, '\n');
    return out->code;
}
