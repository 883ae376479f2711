/* Filters for markup and addresses: escape, forceescape, safe, striptags, xmlattr, urlencode, urlize. A new one is a
 * function and a row. Looked up by template_filter.c. */
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

/* ---- escape ---- */
static void escape_append(buf_t *b, const char *s, size_t len) {
    for (const char *end = s + len; s < end; s++) {
        switch (*s) {
        case '&': buf_puts(b, "&amp;"); break;
        case '<': buf_puts(b, "&lt;"); break;
        case '>': buf_puts(b, "&gt;"); break;
        case '\'': buf_puts(b, "&#39;"); break;
        case '"': buf_puts(b, "&#34;"); break;
        default: buf_putc(b, *s);
        }
    }
}

int tpl_escape(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out) {
    OUT_BUF(b);
    tpl_value_t t;
    if (v->kind == V_STR && (v->flags & V_FLAG_SAFE)) {
        *out = *v;
        return 0;
    }
    if (tpl_text(rt, v, &t) < 0)
        return -1;
    escape_append(&b, t.u.s, t.len);
    if (tpl_str_take(rt, &b, out) < 0)
        return -1;
    out->flags = V_FLAG_SAFE;
    return 0;
}

static FILTER(f_escape) { return tpl_escape(rt, &c->self, out); }

static FILTER(f_forceescape) {
    if (tpl_text(rt, &c->self, &c->self) < 0)
        return -1;
    return tpl_escape(rt, &c->self, out);
}

static FILTER(f_safe) {
    if (tpl_text(rt, &c->self, out) < 0)
        return -1;
    out->flags = V_FLAG_SAFE;
    return 0;
}

/* ---- striptags ---- */
/* Cuts out everything from `open` to the next `close`, again and again. */
static int cut_out(struct tpl_rt *rt, tpl_value_t *text, const char *open, const char *close) {
    OUT_BUF(b);
    const char *s = text->u.s, *end = s + text->len, *from, *to;
    size_t n_open = strlen(open), n_close = strlen(close);
    while ((from = tpl_find(s, (size_t)(end - s), open, n_open)) &&
           (to = tpl_find(from + n_open, (size_t)(end - from) - n_open, close, n_close))) {
        buf_append(&b, s, (size_t)(from - s));
        s = to + n_close;
    }
    buf_append(&b, s, (size_t)(end - s));
    return tpl_str_take(rt, &b, text);
}

static FILTER(f_striptags) {
    _cleanup_buf_ OUT_BUF(words);
    OUT_BUF(plain);
    tpl_value_t t;
    if (tpl_text(rt, &c->self, &t) < 0 || cut_out(rt, &t, "<!--", "-->") < 0 || cut_out(rt, &t, "<", ">") < 0)
        return -1;
    for (const char *s = t.u.s, *end = s + t.len; s < end;) {
        size_t n = tpl_space_len(s, end), word = 0;
        while (!n && s + word < end && !tpl_space_len(s + word, end))
            word += tpl_char_len(s + word, end);
        if (word && words.len)
            buf_putc(&words, ' ');
        buf_append(&words, s, word);
        s += n + word;
    }
    if (tpl_buf_check(rt, &words) < 0 || tpl_charge(rt, t.len / 16) < 0)
        return -1;
    tpl_unescape(&plain, buf_cstr(&words), words.len);
    return tpl_str_take(rt, &plain, out);
}

/* ---- xmlattr ---- */
static int attribute_append(struct tpl_rt *rt, const struct tpl_pair *p, buf_t *b) {
    tpl_value_t key, value;
    if (p->value.kind == V_NONE || p->value.kind == V_UNDEF)
        return 0;
    if (tpl_want_text(rt, "filter 'xmlattr': the name of an attribute", &p->key) < 0)
        return -1;
    for (uint32_t i = 0; i < p->key.len; i++) {
        char ch = p->key.u.s[i];
        if (ch == ' ' || (ch >= '\t' && ch <= '\r') || ch == '/' || ch == '>' || ch == '=')
            return tpl_type_error(rt, "filter 'xmlattr': the name of an attribute holds a blank, '/', '>' or '='");
    }
    if (tpl_escape(rt, &p->key, &key) < 0 || tpl_escape(rt, &p->value, &value) < 0)
        return -1;
    if (b->len)
        buf_putc(b, ' ');
    buf_append(b, key.u.s, key.len);
    buf_puts(b, "=\"");
    buf_append(b, value.u.s, value.len);
    buf_putc(b, '"');
    return tpl_buf_check(rt, b);
}

static FILTER(f_xmlattr) {
    _cleanup_buf_ OUT_BUF(b);
    OUT_BUF(all);
    bool space;
    if (c->self.kind == V_UNDEF)
        return tpl_undefined_error(rt, &c->self);
    if (c->self.kind != V_DICT)
        return tpl_type_error(rt, "filter 'xmlattr' needs a mapping, not a value of type '%s'", tpl_type_name(&c->self));
    for (size_t i = 0; i < c->self.u.dict->len; i++) {
        if (tpl_charge(rt, 1) < 0 || attribute_append(rt, &c->self.u.dict->pairs[i], &b) < 0)
            return -1;
    }
    if (tpl_arg_bool(rt, &c->a[0], true, &space) < 0)
        return -1;
    if (space && b.len)
        buf_putc(&all, ' ');
    buf_append(&all, buf_cstr(&b), b.len);
    if (tpl_str_take(rt, &all, out) < 0)
        return -1;
    out->flags = rt->autoescape ? V_FLAG_SAFE : 0;
    return 0;
}

/* ---- urlencode ---- */
static int quote_append(struct tpl_rt *rt, const tpl_value_t *v, bool query, buf_t *b) {
    tpl_value_t t;
    if (tpl_text(rt, v, &t) < 0)
        return -1;
    for (uint32_t i = 0; i < t.len; i++) {
        unsigned char ch = (unsigned char)t.u.s[i];
        if ((ch < 0x80 && tpl_is_word(ch)) || ch == '-' || ch == '.' || ch == '~' || (ch == '/' && !query))
            buf_putc(b, (char)ch);
        else if (ch == ' ' && query)
            buf_putc(b, '+');
        else
            buf_printf(b, "%%%02X", ch);
    }
    return tpl_buf_check(rt, b) < 0 ? -1 : tpl_charge(rt, t.len / 16);
}

static int query_pair(struct tpl_rt *rt, const tpl_value_t *key, const tpl_value_t *value, buf_t *b) {
    if (b->len)
        buf_putc(b, '&');
    if (quote_append(rt, key, true, b) < 0)
        return -1;
    buf_putc(b, '=');
    return quote_append(rt, value, true, b);
}

static FILTER(f_urlencode) {
    _cleanup_buf_ OUT_BUF(b);
    struct tpl_iter it;
    tpl_value_t item, pair;
    int rc = 0;
    bool plain = c->self.kind == V_STR || !tpl_is_iterable(&c->self);
    if (plain && quote_append(rt, &c->self, false, &b) < 0)
        return -1;
    for (size_t i = 0; c->self.kind == V_DICT && i < c->self.u.dict->len; i++) {
        if (query_pair(rt, &c->self.u.dict->pairs[i].key, &c->self.u.dict->pairs[i].value, &b) < 0)
            return -1;
    }
    if (!plain && c->self.kind != V_DICT) {
        if (tpl_iter_init(rt, &c->self, &it) < 0)
            return -1;
        while ((rc = tpl_iter_step(rt, &it, &item)) > 0) {
            if (tpl_to_list(rt, &item, &pair) < 0)
                return -1;
            if (pair.u.list->len != 2)
                return tpl_type_error(rt, "filter 'urlencode' needs pairs, not an item of length %zu", pair.u.list->len);
            if (query_pair(rt, &pair.u.list->items[0], &pair.u.list->items[1], &b) < 0)
                return -1;
        }
    }
    return rc < 0 ? -1 : tpl_str_take(rt, &b, out);
}

const struct tpl_row tpl_html_filters[] = {
    { "escape", f_escape, "", 0 }, { "e", f_escape, "", 0 }, { "forceescape", f_forceescape, "", 0 },
    { "safe", f_safe, "", 0 }, { "striptags", f_striptags, "", 0 }, { "xmlattr", f_xmlattr, "autospace", 0 },
    { "urlencode", f_urlencode, "", 0 }, { 0 },
};
