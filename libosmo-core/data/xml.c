/* A small reader of XML; see xml.h. */
#include "data/xml.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#define TEXT_MAX (64u << 10)

void xml_begin(xml_reader_t *r, const char *text, size_t len) {
    memset(r, 0, sizeof *r);
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) /* Azure begins with a mark of byte order */
        text += 3, len -= 3;
    r->p = text;
    r->end = text + len;
}

bool xml_is(const struct xml_name *n, const char *text) { return strlen(text) == n->len && !memcmp(n->text, text, n->len); }

static bool at(const xml_reader_t *r, const char *what) {
    size_t n = strlen(what);
    return (size_t)(r->end - r->p) >= n && !memcmp(r->p, what, n);
}

/* Behind the next `what`; false when there is none. */
static bool pass(xml_reader_t *r, const char *what) {
    const char *found = memmem(r->p, (size_t)(r->end - r->p), what, strlen(what));
    if (!found)
        return false;
    r->p = found + strlen(what);
    return true;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static void skip_blanks(xml_reader_t *r) {
    while (r->p < r->end && is_blank(*r->p))
        r->p++;
}

static bool read_name(xml_reader_t *r, struct xml_name *n) {
    const char *start = r->p;
    while (r->p < r->end && !is_blank(*r->p) && !memchr("/>=<&'\"!?", *r->p, 9) && (unsigned char)*r->p > ' ')
        r->p++;
    *n = (struct xml_name){ start, (size_t)(r->p - start) };
    return n->len > 0;
}

static void local(const struct xml_name *full, struct xml_name *out) {
    const char *colon = memchr(full->text, ':', full->len);
    *out = *full;
    if (colon) {
        out->text = colon + 1;
        out->len = full->len - (size_t)(colon + 1 - full->text);
    }
}

/* name="value" … up to the end of the tag; *empty: it was "/>". */
static bool read_attributes(xml_reader_t *r, bool *empty) {
    struct xml_name n;
    for (;;) {
        skip_blanks(r);
        if (at(r, "/>") || at(r, ">")) {
            *empty = *r->p == '/';
            r->p += *empty ? 2 : 1;
            return true;
        }
        if (!read_name(r, &n))
            return false;
        skip_blanks(r);
        if (!at(r, "="))
            return false;
        r->p++;
        skip_blanks(r);
        if (r->p >= r->end || (*r->p != '"' && *r->p != '\''))
            return false;
        const char *close = memchr(r->p + 1, *r->p, (size_t)(r->end - r->p - 1));
        if (!close || memchr(r->p, '<', (size_t)(close - r->p)))
            return false;
        r->p = close + 1;
    }
}

static enum xml_event fault(xml_reader_t *r) {
    r->p = r->end;
    r->depth = -1;
    return XML_FAULT;
}

static enum xml_event open_element(xml_reader_t *r, struct xml_name *name) {
    struct xml_name full;
    bool empty;
    r->p++;
    if (r->depth >= XML_DEPTH_MAX || (r->depth == 0 && r->seen_root) || !read_name(r, &full) || !read_attributes(r, &empty))
        return fault(r);
    r->names[r->depth++] = full;
    r->seen_root = true;
    r->closing = empty;
    local(&full, name);
    return XML_OPEN;
}

static enum xml_event close_element(xml_reader_t *r, struct xml_name *name) {
    struct xml_name full;
    r->p += 2;
    if (r->depth == 0 || !read_name(r, &full))
        return fault(r);
    skip_blanks(r);
    const struct xml_name *open = &r->names[r->depth - 1];
    if (!at(r, ">") || full.len != open->len || memcmp(full.text, open->text, full.len) != 0)
        return fault(r);
    r->p++;
    r->depth--;
    local(&full, name);
    return XML_CLOSE;
}

/* Text up to the next mark; outside of the root blanks alone may stand. */
static bool pass_text(xml_reader_t *r) {
    const char *mark = memchr(r->p, '<', (size_t)(r->end - r->p));
    const char *to = mark ? mark : r->end;
    if (r->depth == 0)
        for (const char *q = r->p; q < to; q++)
            if (!is_blank(*q))
                return false;
    r->p = to;
    return true;
}

enum xml_event xml_next(xml_reader_t *r, struct xml_name *name) {
    if (r->depth < 0)
        return XML_FAULT;
    if (r->closing) {
        r->closing = false;
        local(&r->names[--r->depth], name);
        return XML_CLOSE;
    }
    for (;;) {
        if (!pass_text(r))
            return fault(r);
        if (r->p >= r->end)
            return r->depth == 0 && r->seen_root ? XML_END : fault(r);
        if (at(r, "</"))
            return close_element(r, name);
        bool passed = at(r, "<!--")                          ? (r->p += 4, pass(r, "-->"))
                      : at(r, "<![CDATA[") && r->depth > 0   ? (r->p += 9, pass(r, "]]>"))
                      : at(r, "<?")                          ? (r->p += 2, pass(r, "?>"))
                                                             : false;
        if (passed)
            continue;
        if (at(r, "<!") || at(r, "<?") || r->p >= r->end || *r->p != '<')
            return fault(r);
        return open_element(r, name);
    }
}

/* ---- text ---- */

static void put_utf8(buf_t *out, uint32_t c) {
    if (c < 0x80) {
        buf_putc(out, (char)c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    buf_putc(out, (char)((more == 1 ? 0xc0u : more == 2 ? 0xe0u : 0xf0u) | c >> (6 * more)));
    for (int i = more - 1; i >= 0; i--)
        buf_putc(out, (char)(0x80u | (c >> (6 * i) & 0x3f)));
}

static bool put_number(buf_t *out, const char *p, size_t len) {
    bool hex = len && *p == 'x';
    uint32_t c = 0;
    if (len < (hex ? 2u : 1u) || len > 8)
        return false;
    for (size_t i = hex; i < len; i++) {
        int digit = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : hex && (p[i] | 32) >= 'a' && (p[i] | 32) <= 'f' ? (p[i] | 32) - 'a' + 10 : -1;
        if (digit < 0 || (c = c * (hex ? 16 : 10) + (uint32_t)digit) > 0x10ffff)
            return false;
    }
    if (c == 0 || (c >= 0xd800 && c < 0xe000))
        return false;
    put_utf8(out, c);
    return true;
}

static bool put_entity(buf_t *out, const char *p, size_t len) {
    static const struct { const char *name; char c; } known[] = {
        { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' }, { "apos", '\'' }
    };
    if (len && *p == '#')
        return put_number(out, p + 1, len - 1);
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strlen(known[i].name) == len && !memcmp(known[i].name, p, len)) {
            buf_putc(out, known[i].c);
            return true;
        }
    return false;
}

static bool put_text(buf_t *out, const char *p, const char *to) {
    while (p < to) {
        const char *mark = memchr(p, '&', (size_t)(to - p));
        buf_append(out, p, (size_t)((mark ? mark : to) - p));
        if (!mark)
            break;
        const char *end = memchr(mark, ';', (size_t)(to - mark));
        if (!end || !put_entity(out, mark + 1, (size_t)(end - mark - 1)))
            return false;
        p = end + 1;
    }
    return true;
}

/* Text and character data that begin here and end where an element does. */
static bool take_text(xml_reader_t *r, buf_t *out) {
    for (;;) {
        const char *mark = memchr(r->p, '<', (size_t)(r->end - r->p));
        if (!mark || !put_text(out, r->p, mark))
            return false;
        r->p = mark;
        if (at(r, "<!--")) {
            r->p += 4;
            if (!pass(r, "-->"))
                return false;
        } else if (at(r, "<![CDATA[")) {
            const char *start = r->p += 9;
            if (!pass(r, "]]>"))
                return false;
            buf_append(out, start, (size_t)(r->p - 3 - start));
        } else {
            return true;
        }
    }
}

int xml_text(xml_reader_t *r, buf_t *out) {
    int depth = r->depth;
    struct xml_name name;
    if (depth <= 0)
        return OSMO_EINVAL;
    while (r->depth >= depth) {
        if (!r->closing && r->depth == depth && !take_text(r, out)) {
            fault(r);
            return OSMO_EINVAL;
        }
        enum xml_event e = xml_next(r, &name);
        if (e == XML_FAULT || e == XML_END)
            return OSMO_EINVAL;
    }
    return out->code;
}

int xml_skip(xml_reader_t *r) {
    int depth = r->depth;
    struct xml_name name;
    while (depth > 0 && r->depth >= depth) {
        enum xml_event e = xml_next(r, &name);
        if (e == XML_FAULT || e == XML_END)
            return OSMO_EINVAL;
    }
    return depth > 0 ? 0 : OSMO_EINVAL;
}

char *xml_find(const char *text, size_t len, const char *name) {
    xml_reader_t r;
    struct xml_name n;
    enum xml_event e;
    xml_begin(&r, text, len);
    while ((e = xml_next(&r, &n)) == XML_OPEN || e == XML_CLOSE) {
        if (e != XML_OPEN || !xml_is(&n, name))
            continue;
        _cleanup_buf_ buf_t b = BUF_INIT(TEXT_MAX);
        buf_cstr(&b);
        if (xml_text(&r, &b) < 0)
            return NULL;
        return b.data ? buf_steal(&b, NULL) : strdup("");
    }
    return NULL;
}

int xml_escape(const char *text, buf_t *out) {
    for (; *text; text++) {
        switch (*text) {
        case '&': buf_puts(out, "&amp;"); break;
        case '<': buf_puts(out, "&lt;"); break;
        case '>': buf_puts(out, "&gt;"); break;
        case '"': buf_puts(out, "&quot;"); break;
        default:
            if ((unsigned char)*text < ' ' || *text == 0x7f)
                buf_printf(out, "&#x%x;", (unsigned char)*text);
            else
                buf_putc(out, *text);
        }
    }
    return out->code;
}
