/* Filters that write whole values: tojson and pprint. A new one is a function and a row. Looked up by template_filter.c. */
#include <math.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

/* ---- tojson: Python's json.dumps with sorted keys, then & < > ' as escapes ---- */
struct dump { struct tpl_rt *rt; buf_t *out; const char *indent; size_t indent_len; bool pretty; int level; };

static void json_text(const char *s, size_t len, buf_t *out) {
    static const char plain[] = "\b\f\n\r\t\"\\", letter[] = "bfnrt\"\\";
    buf_putc(out, '"');
    for (const char *end = s + len; s < end;) {
        size_t n;
        uint32_t c = tpl_char_get(s, end, &n);
        const char *hit = c && c < 0x80 ? strchr(plain, (int)c) : NULL;
        if (hit)
            buf_printf(out, "\\%c", letter[hit - plain]);
        else if (c >= 0x10000)
            buf_printf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
        else if (c < 0x20 || c >= 0x7f || c == '&' || c == '<' || c == '>' || c == '\'')
            buf_printf(out, "\\u%04x", c);
        else
            buf_putc(out, (char)c);
        s += n;
    }
    buf_putc(out, '"');
}

/* Text that stands outside of strings, with the escapes that make JSON safe inside of HTML. */
static void json_safe(const char *s, size_t len, buf_t *out) {
    for (const char *end = s + len; s < end; s++) {
        if (*s && strchr("<>&'", *s))
            buf_printf(out, "\\u%04x", (unsigned)*s);
        else
            buf_putc(out, *s);
    }
}

static void json_float(double v, buf_t *out) {
    char text[40];
    tpl_float_repr(v, text);
    buf_puts(out, isnan(v) ? "NaN" : isinf(v) ? (v < 0 ? "-Infinity" : "Infinity") : text);
}

static void json_line(const struct dump *d) {
    if (!d->pretty)
        return;
    buf_putc(d->out, '\n');
    for (int i = 0; i < d->level; i++)
        buf_append(d->out, d->indent, d->indent_len);
}

static int json_value(struct dump *d, const tpl_value_t *v);

static int json_list(struct dump *d, const struct tpl_list *l) {
    buf_putc(d->out, '[');
    d->level++;
    for (size_t i = 0; i < l->len; i++) {
        if (i)
            buf_puts(d->out, d->pretty ? "," : ", ");
        json_line(d);
        if (json_value(d, &l->items[i]) < 0)
            return -1;
    }
    d->level--;
    if (l->len)
        json_line(d);
    buf_putc(d->out, ']');
    return 0;
}

static int json_key(struct dump *d, const tpl_value_t *key) {
    tpl_value_t t;
    switch (key->kind) {
    case V_STR: json_text(key->u.s, key->len, d->out); return 0;
    case V_NONE: buf_puts(d->out, "\"null\""); return 0;
    case V_BOOL: buf_puts(d->out, key->u.i ? "\"true\"" : "\"false\""); return 0;
    case V_FLOAT:
        buf_putc(d->out, '"');
        json_float(key->u.f, d->out);
        buf_putc(d->out, '"');
        return 0;
    case V_INT: case V_BIG:
        if (tpl_text(d->rt, key, &t) < 0)
            return -1;
        json_text(t.u.s, t.len, d->out);
        return 0;
    default: return tpl_type_error(d->rt, "filter 'tojson': a %s cannot be a key in JSON", tpl_type_name(key));
    }
}

/* Positions of the pairs of a dictionary in the order of its keys. */
static int sorted_pairs(struct tpl_rt *rt, const struct tpl_dict *dict, uint32_t **order) {
    tpl_value_t *keys = tpl_alloc(rt, (dict->len + 1) * sizeof(*keys));
    *order = keys ? tpl_alloc(rt, (dict->len + 1) * sizeof(**order)) : NULL;
    if (!*order)
        return -1;
    for (size_t i = 0; i < dict->len; i++)
        keys[i] = dict->pairs[i].key;
    return tpl_sort(rt, keys, dict->len, true, false, *order);
}

static int json_dict(struct dump *d, const struct tpl_dict *dict) {
    uint32_t *order;
    if (sorted_pairs(d->rt, dict, &order) < 0)
        return -1;
    buf_putc(d->out, '{');
    d->level++;
    for (size_t i = 0; i < dict->len; i++) {
        const struct tpl_pair *p = &dict->pairs[order[i]];
        if (i)
            buf_puts(d->out, d->pretty ? "," : ", ");
        json_line(d);
        if (json_key(d, &p->key) < 0)
            return -1;
        buf_puts(d->out, ": ");
        if (json_value(d, &p->value) < 0)
            return -1;
    }
    d->level--;
    if (dict->len)
        json_line(d);
    buf_putc(d->out, '}');
    return 0;
}

static int json_value(struct dump *d, const tpl_value_t *v) {
    int rc = 0;
    if (tpl_descend(d->rt) < 0 || tpl_buf_check(d->rt, d->out) < 0)
        return -1;
    switch (v->kind) {
    case V_NONE: buf_puts(d->out, "null"); break;
    case V_BOOL: buf_puts(d->out, v->u.i ? "true" : "false"); break;
    case V_INT: case V_BIG: rc = tpl_print(d->rt, v, d->out); break;
    case V_FLOAT: json_float(v->u.f, d->out); break;
    case V_STR:
        json_text(v->u.s, v->len, d->out);
        rc = tpl_charge(d->rt, v->len / 64);
        break;
    case V_DICT: rc = json_dict(d, v->u.dict); break;
    case V_UNDEF: rc = tpl_undefined_error(d->rt, v); break;
    default:
        if (tpl_is_list(v) && !v->u.list->view)
            rc = json_list(d, v->u.list);
        else
            rc = tpl_type_error(d->rt, "filter 'tojson': a value of type '%s' has no form in JSON", tpl_type_name(v));
    }
    d->rt->depth--;
    return rc;
}

static FILTER(f_tojson) {
    _cleanup_buf_ buf_t b = BUF_INIT(rt->limits.max_output), pad = BUF_INIT(rt->limits.max_output);
    struct dump d = { .rt = rt, .out = &b, .pretty = tpl_set(&c->a[0]), .indent = "" };
    int64_t n = 0;
    if (d.pretty && c->a[0].kind == V_STR) {
        json_safe(c->a[0].u.s, c->a[0].len, &pad);
    } else if (d.pretty) {
        if (c->self.kind != V_STR && tpl_as_int(rt, &c->a[0], "filter 'tojson': the indent", &n) < 0)
            return -1;
        if (n > 0 && (uint64_t)n > rt->limits.max_output)
            return tpl_fail(rt, OSMO_EUSAGE, "filter 'tojson' makes more than %zu bytes of text", rt->limits.max_output);
        for (int64_t i = 0; i < n; i++)
            buf_putc(&pad, ' ');
    }
    d.indent = buf_cstr(&pad);
    d.indent_len = pad.len;
    if (tpl_buf_check(rt, &pad) < 0 || tpl_charge(rt, d.indent_len / 64) < 0 || json_value(&d, &c->self) < 0 || tpl_buf_check(rt, &b) < 0 ||
        tpl_str_copy(rt, buf_cstr(&b), b.len, out) < 0)
        return -1;
    out->flags = V_FLAG_SAFE;
    return 0;
}

/* ---- pprint: Python's pprint.pformat, 80 columns ---- */
struct pretty { struct tpl_rt *rt; buf_t *out; };
#define WIDTH 80

/* Where Python has no order between two keys, it goes by the names of their types. */
static int type_rank(const tpl_value_t *key) {
    return key->kind == V_NONE ? 0 : tpl_is_any_number(key) ? 1 : key->kind == V_STR ? 2 : key->kind == V_TUPLE ? 3 : 4;
}

static int ranked_pairs(struct tpl_rt *rt, const struct tpl_dict *dict, uint32_t **order) {
    tpl_value_t *keys = tpl_alloc(rt, (dict->len + 1) * sizeof(*keys));
    uint32_t *from = keys ? tpl_alloc(rt, (dict->len + 1) * sizeof(*from)) : NULL;
    uint32_t *part = from ? tpl_alloc(rt, (dict->len + 1) * sizeof(*part)) : NULL;
    size_t done = 0;
    *order = part ? tpl_alloc(rt, (dict->len + 1) * sizeof(**order)) : NULL;
    if (!*order)
        return -1;
    for (int rank = 0; rank <= 4 && done < dict->len; rank++) {
        size_t n = 0;
        for (size_t i = 0; i < dict->len; i++) {
            if (type_rank(&dict->pairs[i].key) == rank) {
                keys[n] = dict->pairs[i].key;
                from[n++] = (uint32_t)i;
            }
        }
        if (rank == 4) { /* no order at all: as they came */
            for (size_t i = 0; i < n; i++)
                part[i] = (uint32_t)i;
        } else if (tpl_sort(rt, keys, n, false, false, part) < 0) {
            return -1;
        }
        for (size_t i = 0; i < n; i++)
            (*order)[done + i] = from[part[i]];
        done += n;
    }
    return 0;
}

/* repr() with the keys of dictionaries in order. */
static int flat(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out);

static int flat_dict(struct tpl_rt *rt, const struct tpl_dict *d, buf_t *out) {
    uint32_t *order;
    if (ranked_pairs(rt, d, &order) < 0)
        return -1;
    buf_putc(out, '{');
    for (size_t i = 0; i < d->len; i++) {
        if (i)
            buf_puts(out, ", ");
        if (flat(rt, &d->pairs[order[i]].key, out) < 0)
            return -1;
        buf_puts(out, ": ");
        if (flat(rt, &d->pairs[order[i]].value, out) < 0)
            return -1;
    }
    buf_putc(out, '}');
    return 0;
}

static int flat_list(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    const struct tpl_list *l = v->u.list;
    bool tuple = v->kind == V_TUPLE;
    buf_putc(out, tuple ? '(' : '[');
    for (size_t i = 0; i < l->len; i++) {
        if (i)
            buf_puts(out, ", ");
        if (flat(rt, &l->items[i], out) < 0)
            return -1;
    }
    buf_puts(out, tuple ? (l->len == 1 ? ",)" : ")") : "]");
    return 0;
}

static bool plain_list(const tpl_value_t *v) { return tpl_is_list(v) && !v->u.list->view && !v->u.list->group; }

static int flat(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    if (tpl_descend(rt) < 0)
        return -1;
    int rc = v->kind == V_DICT ? flat_dict(rt, v->u.dict, out)
           : plain_list(v)     ? flat_list(rt, v, out)
                               : tpl_repr(rt, v, out);
    rt->depth--;
    return rc < 0 ? -1 : tpl_buf_check(rt, out);
}

static int64_t chars_of(const buf_t *b) { return (int64_t)tpl_char_count(b->data, b->len); }

static void new_line(const struct pretty *p, int64_t indent) {
    buf_putc(p->out, '\n');
    for (; indent > 0; indent--)
        buf_putc(p->out, ' ');
}

static int pretty_value(struct pretty *p, const tpl_value_t *v, int64_t indent, int64_t allowance, int level);

static int pretty_items(struct pretty *p, const struct tpl_list *l, int64_t indent, int64_t allowance, int level) {
    for (size_t i = 0; i < l->len; i++) {
        if (i) {
            buf_putc(p->out, ',');
            new_line(p, indent);
        }
        if (pretty_value(p, &l->items[i], indent, i + 1 == l->len ? allowance : 1, level) < 0)
            return -1;
    }
    return 0;
}

static int pretty_dict(struct pretty *p, const struct tpl_dict *d, int64_t indent, int64_t allowance, int level) {
    uint32_t *order;
    if (ranked_pairs(p->rt, d, &order) < 0)
        return -1;
    for (size_t i = 0; i < d->len; i++) {
        const struct tpl_pair *pair = &d->pairs[order[i]];
        _cleanup_buf_ buf_t key = BUF_INIT(p->rt->limits.max_output);
        if (i) {
            buf_putc(p->out, ',');
            new_line(p, indent);
        }
        if (flat(p->rt, &pair->key, &key) < 0)
            return -1;
        buf_append(p->out, buf_cstr(&key), key.len);
        buf_puts(p->out, ": ");
        if (pretty_value(p, &pair->value, indent + chars_of(&key) + 2, i + 1 == d->len ? allowance : 1, level) < 0)
            return -1;
    }
    return 0;
}

/* ---- long texts: one literal a line, cut behind blanks ---- */
struct pieces { struct pretty *p; int64_t indent, width, allowance; int count; bool parens; };

static int put_piece(struct pieces *k, const char *s, size_t len) {
    if (k->count++ == 0 && k->parens)
        buf_putc(k->p->out, '(');
    else if (k->count > 1)
        new_line(k->p, k->indent);
    tpl_repr_str(s, len, k->p->out);
    return tpl_buf_check(k->p->rt, k->p->out) < 0 ? -1 : tpl_charge(k->p->rt, 1 + len / 64);
}

static int64_t repr_len(struct tpl_rt *rt, const char *s, size_t len) {
    _cleanup_buf_ OUT_BUF(b);
    tpl_repr_str(s, len, &b);
    return tpl_charge(rt, 1 + len / 64) < 0 || tpl_buf_check(rt, &b) < 0 ? -1 : chars_of(&b);
}

/* One line of the text that is too long for one literal. */
static int cut_line(struct pieces *k, const char *s, const char *end, bool last_line) {
    const char *from = s, *to = s;
    while (to < end) {
        const char *next = to;
        while (next < end && !tpl_space_len(next, end))
            next += tpl_char_len(next, end);
        for (size_t n; (n = tpl_space_len(next, end)); )
            next += n;
        int64_t room = k->width - (next == end && last_line ? k->allowance : 0);
        int64_t len = repr_len(k->p->rt, from, (size_t)(next - from));
        if (len < 0)
            return -1;
        if (len > room) {
            if (to > from && put_piece(k, from, (size_t)(to - from)) < 0)
                return -1;
            from = to;
        }
        to = next;
    }
    return to > from ? put_piece(k, from, (size_t)(to - from)) : 0;
}

static int pretty_text(struct pretty *p, const tpl_value_t *v, int64_t indent, int64_t allowance, int level) {
    bool outer = level == 1;
    struct pieces k = { p, indent + outer, WIDTH - indent - outer, allowance + outer, 0, outer };
    for (int pass = 0; pass < 2; pass++) { /* first only counting: a single literal gets no parentheses */
        _cleanup_buf_ buf_t count = BUF_INIT(p->rt->limits.max_output);
        struct pretty counting = { p->rt, &count };
        k.p = pass ? p : &counting;
        k.parens = outer && pass && k.count > 1;
        k.count = 0;
        for (const char *s = v->u.s, *end = s + v->len, *next; s < end; s = next) {
            tpl_line_len(s, end, &next);
            int64_t len = repr_len(p->rt, s, (size_t)(next - s));
            if (len < 0 || (len <= k.width - (next == end ? k.allowance : 0) ? put_piece(&k, s, (size_t)(next - s))
                                                                             : cut_line(&k, s, next, next == end)) < 0)
                return -1;
        }
    }
    if (k.parens)
        buf_putc(p->out, ')');
    return tpl_buf_check(p->rt, p->out);
}

static int pretty_wrapped(struct pretty *p, const tpl_value_t *v, int64_t indent, int64_t allowance, int level) {
    const char *close = v->kind == V_DICT ? "}" : v->kind == V_LIST ? "]" : v->u.list->len == 1 ? ",)" : ")";
    allowance += (int64_t)strlen(close);
    buf_putc(p->out, v->kind == V_DICT ? '{' : v->kind == V_LIST ? '[' : '(');
    if ((v->kind == V_DICT ? pretty_dict(p, v->u.dict, indent + 1, allowance, level)
                           : pretty_items(p, v->u.list, indent + 1, allowance, level)) < 0)
        return -1;
    return buf_puts(p->out, close) < 0 ? tpl_buf_check(p->rt, p->out) : 0;
}

static int pretty_value(struct pretty *p, const tpl_value_t *v, int64_t indent, int64_t allowance, int level) {
    _cleanup_buf_ buf_t line = BUF_INIT(p->rt->limits.max_output);
    if (tpl_descend(p->rt) < 0 || flat(p->rt, v, &line) < 0)
        return -1;
    int rc = 0;
    bool wide = chars_of(&line) > WIDTH - indent - allowance;
    if (wide && (v->kind == V_DICT || plain_list(v)))
        rc = pretty_wrapped(p, v, indent, allowance, level + 1);
    else if (wide && v->kind == V_STR && v->len && !(v->flags & V_FLAG_SAFE))
        rc = pretty_text(p, v, indent, allowance, level + 1);
    else
        buf_append(p->out, buf_cstr(&line), line.len);
    p->rt->depth--;
    return rc < 0 ? -1 : tpl_buf_check(p->rt, p->out);
}

static FILTER(f_pprint) {
    _cleanup_buf_ OUT_BUF(b);
    struct pretty p = { rt, &b };
    if (pretty_value(&p, &c->self, 0, 0, 0) < 0)
        return -1;
    return tpl_str_take(rt, &b, out);
}

const struct tpl_row tpl_dump_filters[] = { { "tojson", f_tojson, "indent", 0 }, { "pprint", f_pprint, "", 0 }, { 0 } };
