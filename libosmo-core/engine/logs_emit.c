/* Lines as they leave a stream: filtered by regular expressions, as text, server-sent events or JSON. Pure. For logs_stream.c and
 * api/log_routes.c. */
#include "engine/logs_emit.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"

static size_t without_end(const char *text, size_t len) { return len && text[len - 1] == '\n' ? len - 1 : len; }

/* Each of the entry's lines that matches, with its end; into the buffer itself where there is nothing else to be done. */
static void put_matching(const struct line_emit *e, const char *text, size_t len, buf_t *out) {
    const char *p = text, *end = text + len;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = nl ? (size_t)(nl - p) : (size_t)(end - p);
        if (re_find(e->regex, p, n))
            buf_append(out, p, n + (nl != NULL));
        p += n + (nl != NULL);
    }
}

/* A field of an event ends with its line, so every line of the entry is one; a carriage return ends a line, too. */
static void put_sse(buf_t *out, uint64_t line, const char *text, size_t len) {
    const char *p = text, *end = text + without_end(text, len);
    if (line)
        buf_printf(out, "id: %" PRIu64 "\n", line);
    do {
        size_t n = 0;
        while (p + n < end && p[n] != '\n' && p[n] != '\r')
            n++;
        buf_puts(out, "data: ");
        buf_append(out, p, n);
        buf_putc(out, '\n');
        p += n;
        if (p < end && *p == '\r' && p + 1 < end && p[1] == '\n')
            p++;
    } while (p++ < end);
    buf_putc(out, '\n');
}

static void put_json(buf_t *out, uint64_t line, const char *text, size_t len) {
    json_t *s = json_string_n(text, len);
    if (line)
        buf_printf(out, "{\"line\":%" PRIu64 ",\"text\":", line);
    else
        buf_puts(out, "{\"line\":null,\"text\":");
    if (!s || json_print(s, 0, out) < 0)
        out->code = out->code ? out->code : OSMO_ENOMEM;
    json_free(s);
    buf_puts(out, "}\n");
}

void emit_line(const struct line_emit *e, uint64_t line, const char *text, size_t len, buf_t *out) {
    buf_t some = BUF_INIT(len + 1);
    if (e->grep && !re_find(e->grep, text, without_end(text, len)))
        return;
    if (e->regex && e->format == LINES_TEXT) {
        put_matching(e, text, len, out);
        return;
    }
    if (e->regex) {
        put_matching(e, text, len, &some);
        if (buf_failed(&some))
            out->code = some.code;
        text = buf_cstr(&some);
        len = some.len;
    }
    if (!e->regex || len) {
        if (e->format == LINES_TEXT)
            buf_append(out, text, len);
        else
            (e->format == LINES_SSE ? put_sse : put_json)(out, line, text, len);
    }
    buf_free(&some);
}

void emit_end(const struct line_emit *e, buf_t *out) {
    if (e->format == LINES_SSE)
        buf_puts(out, "event: end\ndata: \n\n");
}

void emit_beat(const struct line_emit *e, buf_t *out) {
    if (e->format != LINES_TEXT)
        buf_puts(out, e->format == LINES_SSE ? ": keep-alive\n\n" : "\n");
}

int emit_open(struct line_emit *e, const struct line_options *o, osmo_error_t *err) {
    *e = (struct line_emit){ .format = o->format };
    int rc = o->regex ? re_compile(o->regex, &e->regex, err) : 0;
    return rc >= 0 && o->grep ? re_compile(o->grep, &e->grep, err) : rc;
}

void emit_close(struct line_emit *e) {
    re_free(e->regex);
    re_free(e->grep);
    e->regex = e->grep = NULL;
}
