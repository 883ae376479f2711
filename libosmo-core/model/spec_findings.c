/* See spec_findings.h. Called by model/spec*.c, model/settings*.c, model/validate.c and what answers users. */
#include "model/spec_findings.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"

#define ERROR_LIST_MAX 860 /* leaves room in an osmo_error_t for the count and the tail */

void spec_findings_clear(struct spec_findings *f)
{
    for (size_t i = 0; i < f->len; i++) {
        free(f->items[i].path);
        free(f->items[i].text);
        free(f->items[i].nodes);
    }
    free(f->items);
    *f = (struct spec_findings){ 0 };
}

void spec_findings_addv(struct spec_findings *f, int code, bool outranks, const char *path, int line, int column,
                        const char *format, va_list args)
{
    _cleanup_buf_ buf_t words = BUF_INIT(SPEC_FINDING_TEXT_MAX);

    f->total++;
    if (!f->code || (outranks && code == OSMO_ERESOURCE && f->code == OSMO_EUSAGE))
        f->code = code;
    if (f->len == SPEC_FINDINGS_MAX)
        return;
    if (!f->items)
        f->items = calloc(SPEC_FINDINGS_MAX, sizeof(*f->items));
    if (!f->items) {
        f->oom = true;
        return;
    }
    struct spec_finding one = { .code = code, .line = line, .column = column, .path = str_dup(path ? path : "") };
    if (buf_vprintf(&words, format, args) == OSMO_ELIMIT) { /* too much to say: what fits is kept */
        buf_reset(&words);
        buf_puts(&words, "the value is not valid, and too long to be shown");
    }
    one.text = buf_steal(&words, NULL);
    if (!one.path || !one.text) {
        free(one.path);
        free(one.text);
        f->oom = true;
        return;
    }
    f->items[f->len++] = one;
}

void spec_findings_add(struct spec_findings *f, int code, const char *path, int line, int column, const char *format,
                       ...)
{
    va_list args;
    va_start(args, format);
    spec_findings_addv(f, code, false, path, line, column, format, args);
    va_end(args);
}

/* As many as fit below `most` bytes, the first one in any case. Returns how many. */
static size_t list(const struct spec_findings *f, size_t most, buf_t *out)
{
    size_t begin = out->len;
    for (size_t i = 0; i < f->len; i++) {
        const struct spec_finding *one = &f->items[i];
        size_t before = out->len;
        if (i > 0)
            buf_puts(out, "; ");
        if (*one->path)
            buf_printf(out, "%s: ", one->path);
        buf_puts(out, one->text);
        if (one->line > 0)
            buf_printf(out, " (line %d, column %d)", one->line, one->column);
        if (i > 0 && out->len - begin > most) {
            buf_truncate(out, before);
            return i;
        }
    }
    return f->len;
}

int spec_findings_result(const struct spec_findings *f, const char *what, osmo_error_t *err)
{
    _cleanup_buf_ buf_t text = BUF_INIT(1u << 20);
    char tail[64] = "";

    if (f->oom)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while reading %s", what);
    if (f->total == 0)
        return 0;
    size_t shown = list(f, ERROR_LIST_MAX, &text);
    if (buf_failed(&text))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while reading %s", what);
    if (shown < f->total)
        snprintf(tail, sizeof(tail), "; and %zu more", f->total - shown);
    return osmo_error_set(err, f->code, "%zu error%s in %s: %.*s%s", f->total, f->total == 1 ? "" : "s", what,
                          ERROR_LIST_MAX, buf_cstr(&text), tail);
}

int spec_findings_write(const struct spec_findings *f, const char *what, buf_t *out)
{
    buf_printf(out, "%zu error%s in %s: ", f->total, f->total == 1 ? "" : "s", what);
    size_t shown = list(f, SIZE_MAX, out);
    if (shown < f->total)
        buf_printf(out, "; and %zu more", f->total - shown);
    for (size_t i = 0; i < f->len; i++)
        if (f->items[i].nodes)
            buf_printf(out, "\n%s", f->items[i].nodes);
    return out->code;
}
