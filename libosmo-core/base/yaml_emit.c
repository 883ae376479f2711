/* Block YAML text of a JSON tree, quoted so that PyYAML reads back the same values. */
#include <string.h>

#include "base/yaml_internal.h"

static bool is_control(unsigned char c) { return (c < 0x20 && c != '\t' && c != '\n') || c == 0x7f; }

/* U+FFFE and U+FFFF: no YAML text holds them as they are. */
static bool is_noncharacter(const char *s, size_t len) {
    return len >= 3 && memcmp(s, "\xEF\xBF", 2) == 0 && (unsigned char)s[2] >= 0xBE;
}

static bool has_control(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (is_control((unsigned char)s[i]) || is_noncharacter(s + i, len - i))
            return true;
        /* NEL, LS, PS and the byte order mark are line breaks or non-printable to YAML readers */
        if ((unsigned char)s[i] == 0xC2 && (unsigned char)s[i + 1] >= 0x80 && (unsigned char)s[i + 1] < 0xA0)
            return true;
        if (memcmp(s + i, "\xE2\x80\xA8", len - i < 3 ? len - i : 3) == 0 ||
            memcmp(s + i, "\xE2\x80\xA9", len - i < 3 ? len - i : 3) == 0 ||
            memcmp(s + i, "\xEF\xBB\xBF", len - i < 3 ? len - i : 3) == 0)
            return true;
    }
    return false;
}

static bool is_plain(const char *s, size_t len) {
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+ @:$()=";
    if (!len || strspn(s, safe) != len || strchr("-:@= ", s[0]) || s[len - 1] == ' ' || s[len - 1] == ':' ||
        strstr(s, ": ") || strncmp(s, "...", 3) == 0) /* that ends a document */
        return false;
    return yaml_implicit_tag(s, len) == TAG_STR;
}

static void double_quoted(const char *s, size_t len, buf_t *out) {
    buf_putc(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n')
            buf_puts(out, "\\n");
        else if (c == '\t')
            buf_puts(out, "\\t");
        else if (c == 0xC2 && (unsigned char)s[i + 1] >= 0x80 && (unsigned char)s[i + 1] < 0xA0)
            buf_printf(out, "\\x%02X", (unsigned char)s[++i]);
        else if (len - i >= 3 && c == 0xE2 && (unsigned char)s[i + 1] == 0x80 &&
                 ((unsigned char)s[i + 2] & 0xFE) == 0xA8) {
            buf_printf(out, "\\u20%02X", (unsigned char)s[i + 2] == 0xA8 ? 0x28 : 0x29);
            i += 2;
        } else if (len - i >= 3 && memcmp(s + i, "\xEF\xBB\xBF", 3) == 0) {
            buf_puts(out, "\\uFEFF");
            i += 2;
        } else if (is_noncharacter(s + i, len - i)) {
            buf_printf(out, "\\uFFF%c", (unsigned char)s[i + 2] == 0xBE ? 'E' : 'F');
            i += 2;
        } else if (is_control(c))
            buf_printf(out, "\\x%02X", c);
        else
            buf_putc(out, (char)c);
    }
    buf_putc(out, '"');
}

static void single_quoted(const char *s, size_t len, buf_t *out) {
    buf_putc(out, '\'');
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\'')
            buf_putc(out, '\'');
        buf_putc(out, s[i]);
    }
    buf_putc(out, '\'');
}

static void inline_string(const char *s, size_t len, buf_t *out) {
    if (is_plain(s, len))
        buf_append(out, s, len);
    else if (has_control(s, len) || memchr(s, '\n', len) || memchr(s, '\t', len))
        double_quoted(s, len, out);
    else
        single_quoted(s, len, out);
}

static void spaces(int n, buf_t *out) {
    while (n-- > 0)
        buf_putc(out, ' ');
}

/* Literal block: exact text, trailing newlines by the chomping mark, an indentation mark when the first line starts
 * blank. */
static void literal(const char *s, size_t len, int indent, buf_t *out) {
    size_t newlines = 0;
    while (newlines < len && s[len - 1 - newlines] == '\n')
        newlines++;
    buf_putc(out, '|');
    if (s[0] == ' ' || s[0] == '\n' || s[0] == '\t')
        buf_putc(out, '2');
    buf_puts(out, newlines == 0 ? "-" : newlines == 1 ? "" : "+");
    for (size_t i = 0; i < len;) {
        const char *end = memchr(s + i, '\n', len - i);
        size_t n = end ? (size_t)(end - (s + i)) : len - i;
        buf_putc(out, '\n');
        if (n) {
            spaces(indent, out);
            buf_append(out, s + i, n);
        }
        i += n + 1;
    }
    buf_putc(out, '\n');
}

static bool fits_literal(const char *s, size_t len) {
    if (!memchr(s, '\n', len) || has_control(s, len))
        return false;
    for (size_t i = 0; i < len; i++) { /* text of blanks and newlines only would be eaten */
        if (s[i] != '\n' && s[i] != ' ' && s[i] != '\t')
            return true;
    }
    return false;
}

static void number(double v, buf_t *out) {
    char text[32];
    double_repr(v, text);
    char *e = strchr(text, 'e');
    if (strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0 || strcmp(text, "nan") == 0)
        buf_printf(out, "%s.%s", text[0] == '-' ? "-" : "", text + (text[0] == '-'));
    else if (e && !strchr(text, '.'))
        buf_printf(out, "%.*s.0%s", (int)(e - text), text, e); /* a YAML 1.1 float needs a dot */
    else
        buf_puts(out, text);
}

static void node(const json_t *v, int indent, bool in_list, buf_t *out);

static void scalar(const json_t *v, int indent, buf_t *out) {
    enum json_kind k = json_kind(v);
    if (k == JSON_STRING) {
        size_t len;
        const char *s = json_bytes(v, &len);
        if (fits_literal(s, len)) {
            literal(s, len, indent, out);
            return;
        }
        inline_string(s, len, out);
    } else if (k == JSON_INT) {
        buf_printf(out, "%lld", (long long)json_as_int(v, 0));
    } else if (k == JSON_DOUBLE) {
        number(json_as_double(v, 0), out);
    } else if (k == JSON_BOOL) {
        buf_puts(out, json_as_bool(v, false) ? "true" : "false");
    } else {
        buf_puts(out, k == JSON_OBJECT ? "{}" : k == JSON_ARRAY ? "[]" : "null");
    }
    buf_putc(out, '\n');
}

static bool is_block(const json_t *v) {
    return (json_kind(v) == JSON_OBJECT || json_kind(v) == JSON_ARRAY) && json_len(v);
}

/* Readers look no further than 1024 characters for the colon behind a key; a longer key is announced. */
static void key(const char *text, int indent, buf_t *out) {
    size_t len = strlen(text);
    bool announced = len > 160;
    if (announced)
        buf_puts(out, "? ");
    inline_string(text, len, out);
    if (announced) {
        buf_putc(out, '\n');
        spaces(indent, out);
    }
}

static void map_block(const json_t *v, int indent, bool in_list, buf_t *out) {
    bool first = true;
    for (json_iter_t it = json_iter(v); json_iter_next(&it); first = false) {
        if (!(first && in_list))
            spaces(indent, out);
        key(it.key, indent, out);
        buf_putc(out, ':');
        if (!is_block(it.value)) {
            buf_putc(out, ' ');
            scalar(it.value, indent + 2, out);
        } else {
            buf_putc(out, '\n');
            node(it.value, json_kind(it.value) == JSON_ARRAY ? indent : indent + 2, false, out);
        }
    }
}

static void node(const json_t *v, int indent, bool in_list, buf_t *out) {
    if (!is_block(v)) {
        scalar(v, indent, out);
        return;
    }
    if (json_kind(v) == JSON_OBJECT) {
        map_block(v, indent, in_list, out);
        return;
    }
    for (size_t i = 0; i < json_len(v); i++) {
        if (!(i == 0 && in_list))
            spaces(indent, out);
        buf_puts(out, "- ");
        node(json_at(v, i), indent + 2, true, out);
    }
}

int yaml_emit(const json_t *v, buf_t *out) {
    node(v, is_block(v) ? 0 : 2, false, out);
    return out->code;
}
