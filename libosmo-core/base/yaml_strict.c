/* What libyaml takes and PyYAML's own scanner does not: tabs outside of quotes, comments and block text; a comment
 * that touches the header of a block scalar; question marks in unquoted text inside of brackets. Each event's place
 * in the text is looked at, and what lies between the last event and this one. For yaml.c only. */
#include "base/yaml_internal.h"

#include <string.h>

void yaml_places_init(struct yaml_places *p, const char *text, size_t len) {
    *p = (struct yaml_places){ .text = text, .len = len, .tabs = memchr(text, '\t', len) != NULL };
}

static bool is_ascii(const char *s, size_t len) {
    uint64_t word, all = 0;
    for (; len >= 8; s += 8, len -= 8) {
        memcpy(&word, s, 8);
        all |= word;
    }
    for (; len; s++, len--)
        all |= (unsigned char)*s;
    return !(all & 0x8080808080808080u);
}

static bool continues(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

size_t yaml_byte_at(struct yaml_places *p, size_t index) {
    if (!p->measured) {
        p->ascii = is_ascii(p->text, p->len);
        p->measured = true;
    }
    if (p->ascii)
        return index < p->len ? index : p->len;
    while (p->index > index && p->byte) {
        p->byte--;
        p->index -= !continues(p->text[p->byte]);
    }
    while (p->index < index && p->byte < p->len) {
        p->byte++;
        while (p->byte < p->len && continues(p->text[p->byte]))
            p->byte++;
        p->index++;
    }
    return p->byte;
}

static int fail_at_byte(struct yaml_reader *r, const struct yaml_places *p, size_t at, const char *what) {
    yaml_node_t here = { .line = 1, .column = 1 };
    for (size_t i = 0; i < at; i++) {
        if (p->text[i] == '\n') {
            here.line++;
            here.column = 1;
        } else if (!continues(p->text[i])) {
            here.column++;
        }
    }
    return yaml_fail(r, &here, "%s", what);
}

static bool breaks(char c) { return c == '\n' || c == '\r' || c == '\0'; }

/* Indicators, blanks and comments: no tab but in comments. */
static int check_gap(struct yaml_reader *r, const struct yaml_places *p, size_t from, size_t to) {
    if (!p->tabs)
        return 0;
    for (size_t i = from; i < to; i++) {
        if (p->text[i] == '\t')
            return fail_at_byte(r, p, i, "a tab between the parts of the document; use spaces, not a tab");
        if (p->text[i] == '#') {
            while (i < to && !breaks(p->text[i]))
                i++;
        }
    }
    return 0;
}

/* Where the node itself begins behind its tag and anchor. */
static size_t skip_properties(const struct yaml_places *p, size_t at, size_t end, unsigned properties) {
    for (; properties && at < end && (p->text[at] == '&' || p->text[at] == '!'); properties--) {
        while (at < end && !strchr(" \t\r\n", p->text[at]))
            at++;
        while (at < end && strchr(" \t\r\n#", p->text[at])) {
            if (p->text[at] != '#') {
                at++;
                continue;
            }
            while (at < end && !breaks(p->text[at]))
                at++;
        }
    }
    return at;
}

/* Behind | or > and its marks stands a blank or the end of the line, and no tab before a comment. */
static int check_header(struct yaml_reader *r, const struct yaml_places *p, size_t at) {
    for (at++; at < p->len && strchr("+-0123456789", p->text[at]) && p->text[at]; at++)
        ;
    if (at < p->len && p->text[at] == '#')
        return fail_at_byte(r, p, at, "a comment right behind | or >; put a blank before the #");
    while (at < p->len && p->text[at] == ' ')
        at++;
    if (at < p->len && p->text[at] == '\t')
        return fail_at_byte(r, p, at, "a tab behind | or >; use spaces, not a tab");
    return 0;
}

int yaml_strict_event(struct yaml_reader *r, struct yaml_places *p, const struct yaml_span *e) {
    bool question = e->style == SPAN_PLAIN && e->flow;
    if (!p->tabs && !question && e->style != SPAN_BLOCK)
        return 0;
    size_t start = yaml_byte_at(p, e->start), end = yaml_byte_at(p, e->end), at = start;
    int rc = start > p->seen ? check_gap(r, p, p->seen, start) : 0;
    if (!rc && e->properties) {
        at = skip_properties(p, start, e->style == SPAN_OTHER ? p->len : end, e->properties);
        rc = check_gap(r, p, start, at);
    }
    if (!rc && e->style == SPAN_BLOCK)
        rc = check_header(r, p, at);
    if (!rc && e->style == SPAN_PLAIN && p->tabs) {
        const char *tab = at < end ? memchr(p->text + at, '\t', end - at) : NULL;
        if (tab)
            rc = fail_at_byte(r, p, (size_t)(tab - p->text),
                              "a tab inside of unquoted text; use blanks, or quote the text");
    }
    const char *mark = question && at < end ? memchr(p->text + at, '?', end - at) : NULL;
    if (!rc && mark)
        rc = fail_at_byte(r, p, (size_t)(mark - p->text), "a ? in unquoted text inside of [ ] or { }; quote the text");
    end = e->style == SPAN_OTHER ? at : end;
    if (end > p->seen)
        p->seen = end;
    return rc;
}
