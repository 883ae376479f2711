/* The filter urlize: addresses in a text become links. Looked up by template_filter.c. */
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

struct urlize {
    struct tpl_rt *rt;
    tpl_value_t limit, rel, target; /* rel and target: escaped, or empty */
    tpl_value_t schemes; /* list */
};
struct part { const char *s, *end; };

static bool starts(const struct part *p, const char *with) {
    size_t n = strlen(with);
    return (size_t)(p->end - p->s) >= n && memcmp(p->s, with, n) == 0;
}
static bool starts_nocase(const char *s, const char *end, const char *with) {
    size_t n = strlen(with);
    return (size_t)(end - s) >= n && strncasecmp(s, with, n) == 0;
}

/* Length of the run of \w, '%' and, if asked for, '-' at s; *chars: how many characters. */
static size_t label_len(const char *s, const char *end, bool hyphen, size_t *chars) {
    const char *p = s;
    for (*chars = 0; p < end; ++*chars) {
        size_t n;
        uint32_t c = tpl_char_get(p, end, &n);
        if (!tpl_is_word(c) && c != '%' && !(hyphen && c == '-'))
            break;
        p += n;
    }
    return (size_t)(p - s);
}

/* A name ending of letters only, or of the internationalized kind. */
static bool is_tld(const char *s, const char *end) {
    size_t chars, n = (size_t)(end - s);
    if (starts_nocase(s, end, "xn--"))
        return label_len(s + 4, end, false, &chars) == n - 4 && chars >= 2 && chars <= 59;
    for (const char *p = s; p < end; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')))
            return false;
    }
    return n >= 2 && n <= 63;
}

static bool is_common_tld(const char *s, const char *end) {
    static const char *const names[] = { "com", "net", "int", "edu", "gov", "org", "info", "mil" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if ((size_t)(end - s) == strlen(names[i]) && strncasecmp(s, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

/* Labels between dots; without a scheme each of them has 2 to 63 characters and the last is a common ending. */
static bool is_host(const char *s, const char *end, bool scheme) {
    for (;;) {
        const char *dot = memchr(s, '.', (size_t)(end - s));
        size_t chars;
        if (!dot)
            break;
        if (label_len(s, dot, true, &chars) != (size_t)(dot - s) || chars < (scheme ? 1 : 2) || (!scheme && chars > 63))
            return false;
        s = dot + 1;
    }
    return scheme ? is_tld(s, end) : is_common_tld(s, end);
}

static bool is_ipv4(const char *s, const char *end) {
    for (int i = 0; i < 4; i++) {
        int digits = 0;
        for (size_t n; s < end && digits < 3 && tpl_digit(tpl_char_get(s, end, &n)) >= 0; digits++)
            s += n;
        if (!digits || (i < 3 && (s == end || *s++ != '.')))
            return false;
    }
    return s == end;
}

static size_t hex_len(const char *s, const char *end) {
    size_t n = 0;
    while (s + n < end && n < 4 && strchr("0123456789abcdefABCDEF", s[n]) && s[n])
        n++;
    return n;
}

/* Two groups of up to four hexadecimal digits and a colon, then one to six whose colon may be missing. */
static bool ipv6_tail(const char *s, const char *end, int groups) {
    size_t n = hex_len(s, end);
    for (size_t take = n + 1; groups > 0 && take-- > 0;) {
        const char *p = s + take;
        if (p == end || (p < end && *p == ':' && (p + 1 == end || ipv6_tail(p + 1, end, groups - 1))) ||
            (take > 0 && ipv6_tail(p, end, groups - 1)))
            return true;
    }
    return false;
}

static bool is_ipv6(const char *s, const char *end) {
    if (end - s < 2 || *s != '[' || end[-1] != ']' )
        return false;
    s++;
    end--;
    for (int i = 0; i < 2; i++) {
        s += hex_len(s, end);
        if (s == end || *s++ != ':')
            return false;
    }
    return ipv6_tail(s, end, 6);
}

/* Port, path, query and fragment may follow the host; gives where the host ends, NULL if something else follows. */
static const char *host_end(const char *s, const char *end) {
    const char *p = s, *q;
    if (p < end && *p == '[') {
        while (p < end && *p != ']')
            p++;
        p += p < end;
    }
    while (p < end && *p != ':' && *p != '/' && *p != '?' && *p != '#')
        p++;
    q = p;
    if (q < end && *q == ':') {
        int digits = 0;
        q++;
        for (size_t n; q < end && digits < 5 && tpl_digit(tpl_char_get(q, end, &n)) >= 0; digits++)
            q += n;
        if (!digits)
            return NULL;
    }
    return q == end || *q == '/' || *q == '?' || *q == '#' ? p : NULL;
}

static bool is_address(const struct part *m) {
    const char *s = m->s, *end = host_end(s, m->end);
    size_t scheme = starts_nocase(s, m->end, "http://") ? 7 : starts_nocase(s, m->end, "https://") ? 8 : 0;
    if (scheme) {
        end = host_end(s += scheme, m->end);
        return end && (is_host(s, end, true) || is_ipv4(s, end) || is_ipv6(s, end));
    }
    return end && ((starts_nocase(s, m->end, "www.") && is_host(s + 4, end, true)) || is_host(s, end, false));
}

/* name@host.ending, where the host begins with a word character and the ending has only those. */
static bool is_mail(const char *s, const char *end) {
    for (const char *at = end; at-- > s;) {
        const char *dot = NULL;
        size_t n, chars;
        if (*at != '@' || at == s || at + 1 == end || !tpl_is_word(tpl_char_get(at + 1, end, &n)))
            continue;
        bool ok = true;
        for (const char *p = at + 1; ok && p < end; p += n) {
            uint32_t c = tpl_char_get(p, end, &n);
            ok = tpl_is_word(c) || c == '.' || c == '-';
            dot = c == '.' && p > at + 1 ? p : dot;
        }
        if (ok && dot && dot + 1 < end && label_len(dot + 1, end, false, &chars) == (size_t)(end - dot - 1) &&
            !memchr(dot, '%', (size_t)(end - dot)))
            return true;
    }
    return false;
}

/* ---- what surrounds an address ---- */
static size_t count_of(const struct part *p, const char *what) {
    size_t n = 0, len = strlen(what);
    for (const char *s = p->s; (s = tpl_find(s, (size_t)(p->end - s), what, len)); s += len)
        n++;
    return n;
}

/* Brackets in front and marks behind stay outside of the link, unless a bracket closes one inside. */
static void cut_word(struct part *head, struct part *middle, struct part *tail) {
    static const char *const pairs[][2] = { { "(", ")" }, { "<", ">" }, { "&lt;", "&gt;" } };
    head->s = middle->s;
    while (middle->s < middle->end && (*middle->s == '(' || *middle->s == '<' || starts(middle, "&lt;")))
        middle->s += *middle->s == '&' ? 4 : 1;
    head->end = middle->s;
    tail->end = middle->end;
    while (middle->end > middle->s) {
        if (strchr(")>.,", middle->end[-1]) && middle->end[-1])
            middle->end--;
        else if (middle->end - middle->s >= 4 && memcmp(middle->end - 4, "&gt;", 4) == 0)
            middle->end -= 4;
        else
            break;
    }
    tail->s = middle->end;
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        size_t opened = count_of(middle, pairs[i][0]), closing = count_of(tail, pairs[i][1]);
        if (opened <= count_of(middle, pairs[i][1]))
            continue;
        for (size_t k = opened < closing ? opened : closing; k > 0; k--) {
            const char *hit = tpl_find(tail->s, (size_t)(tail->end - tail->s), pairs[i][1], strlen(pairs[i][1]));
            middle->end = tail->s = hit + strlen(pairs[i][1]);
        }
    }
}

static void put(buf_t *b, const struct part *p) { buf_append(b, p->s, (size_t)(p->end - p->s)); }

static void put_attribute(buf_t *b, const char *name, const tpl_value_t *v) {
    if (!v->len)
        return;
    buf_puts(b, name);
    buf_append(b, v->u.s, v->len);
    buf_putc(b, '"');
}

static void put_link(const struct urlize *u, buf_t *b, const char *scheme, const struct part *m, bool trim) {
    buf_printf(b, "<a href=\"%s", scheme);
    put(b, m);
    buf_putc(b, '"');
    put_attribute(b, " rel=\"", &u->rel);
    put_attribute(b, " target=\"", &u->target);
    buf_putc(b, '>');
    size_t len = (size_t)(m->end - m->s);
    int64_t chars = (int64_t)tpl_char_count(m->s, len), limit = chars;
    if (trim && u->limit.kind != V_NONE) /* a wrong one is an error only if there is a link to cut */
        tpl_as_int(u->rt, &u->limit, "filter 'urlize': the limit", &limit);
    if (chars > limit) {
        int64_t keep = limit < 0 ? limit + chars : limit;
        buf_append(b, m->s, tpl_char_offset(m->s, len, keep < 0 ? 0 : (size_t)keep));
        buf_puts(b, "...");
    } else {
        put(b, m);
    }
    buf_puts(b, "</a>");
}

static void put_mail(buf_t *b, const char *scheme, const struct part *m, size_t skip) {
    buf_printf(b, "<a href=\"%s", scheme);
    put(b, m);
    buf_puts(b, "\">");
    buf_append(b, m->s + skip, (size_t)(m->end - m->s) - skip);
    buf_puts(b, "</a>");
}

static void put_word(const struct urlize *u, buf_t *b, const char *s, const char *end) {
    struct part head, m = { s, end }, tail;
    cut_word(&head, &m, &tail);
    put(b, &head);
    size_t len = (size_t)(m.end - m.s);
    bool mail = memchr(m.s, '@', len) != NULL;
    if (is_address(&m)) {
        put_link(u, b, starts(&m, "https://") || starts(&m, "http://") ? "" : "https://", &m, true);
    } else if (mail && starts(&m, "mailto:") && is_mail(m.s + 7, m.end)) {
        put_mail(b, "", &m, 7);
    } else if (mail && !starts(&m, "www.") && !memchr(m.s, ':', len) && is_mail(m.s, m.end)) {
        put_mail(b, "mailto:", &m, 0);
    } else {
        const tpl_value_t *hit = NULL;
        tpl_charge(u->rt, u->schemes.u.list->len);
        for (size_t i = 0; i < u->schemes.u.list->len && !hit; i++) {
            const tpl_value_t *x = &u->schemes.u.list->items[i];
            hit = len > x->len && memcmp(m.s, x->u.s, x->len) == 0 ? x : NULL;
        }
        if (hit)
            put_link(u, b, "", &m, false);
        else
            put(b, &m);
    }
    put(b, &tail);
}

/* ---- arguments ---- */
/* The words of `rel`, of nofollow and of the policy, once each and in order. */
static int rel_words(struct tpl_rt *rt, const tpl_value_t *rel, bool nofollow, tpl_value_t *out) {
    OUT_BUF(b);
    tpl_value_t words;
    uint32_t order[66];
    if (tpl_new_list(rt, V_LIST, 0, &words) < 0 || tpl_list_add(rt, words.u.list, tpl_str("noopener", 8)) < 0 ||
        (nofollow && tpl_list_add(rt, words.u.list, tpl_str("nofollow", 8)) < 0))
        return -1;
    for (const char *s = tpl_set(rel) ? rel->u.s : "", *end = s + (tpl_set(rel) ? rel->len : 0); s < end;) {
        const char *from = s;
        while (s < end && !tpl_space_len(s, end))
            s += tpl_char_len(s, end);
        if (s > from && (tpl_charge(rt, 1) < 0 || tpl_list_add(rt, words.u.list, tpl_str(from, (size_t)(s - from))) < 0))
            return -1;
        s += tpl_space_len(s, end);
    }
    if (words.u.list->len > ARRAY_SIZE(order))
        return tpl_type_error(rt, "filter 'urlize' takes at most %zu words in rel", ARRAY_SIZE(order) - 2);
    if (tpl_sort(rt, words.u.list->items, words.u.list->len, false, false, order) < 0)
        return -1;
    for (size_t i = 0; i < words.u.list->len; i++) {
        const tpl_value_t *w = &words.u.list->items[order[i]];
        if (i && tpl_equal(rt, w, &words.u.list->items[order[i - 1]]))
            continue;
        if (i)
            buf_putc(&b, ' ');
        buf_append(&b, w->u.s, w->len);
    }
    return tpl_str_take(rt, &b, out) < 0 ? -1 : tpl_escape(rt, out, out);
}

/* At least two of word characters, '.', '+' and '-', a colon, and up to two slashes. */
static int check_scheme(struct tpl_rt *rt, const tpl_value_t *v) {
    const char *s, *end;
    size_t chars = 0;
    if (tpl_want_text(rt, "filter 'urlize': a scheme", v) < 0)
        return -1;
    s = v->u.s;
    end = s + v->len;
    for (size_t n; s < end; s += n, chars++) {
        uint32_t c = tpl_char_get(s, end, &n);
        if (!tpl_is_word(c) && c != '.' && c != '+' && c != '-')
            break;
    }
    bool ok = chars >= 2 && s < end && *s == ':' && end - s <= 3;
    for (s++; ok && s < end; s++)
        ok = *s == '/';
    return ok ? 0 : tpl_type_error(rt, "filter 'urlize': '%.*s' is no scheme: write it like 'tel:' or 'ftp://'",
                                   (int)(v->len > 100 ? 100 : v->len), v->u.s);
}

static int urlize_args(struct tpl_rt *rt, struct tpl_call *c, struct urlize *u) {
    bool nofollow, truth = false;
    if (tpl_arg_bool(rt, &c->a[1], false, &nofollow) < 0)
        return -1;
    u->limit = tpl_set(&c->a[0]) ? c->a[0] : tpl_none();
    if ((tpl_given(&c->a[3]) && tpl_truth(rt, &c->a[3], &truth) < 0) ||
        (truth && tpl_want_text(rt, "filter 'urlize': rel", &c->a[3]) < 0) ||
        rel_words(rt, truth ? &c->a[3] : &(tpl_value_t){ 0 }, nofollow, &u->rel) < 0)
        return -1;
    truth = false;
    if (tpl_given(&c->a[2]) && tpl_truth(rt, &c->a[2], &truth) < 0)
        return -1;
    if (truth && tpl_escape(rt, &c->a[2], &u->target) < 0)
        return -1;
    if (tpl_new_list(rt, V_LIST, 0, &u->schemes) < 0 || (tpl_set(&c->a[4]) && tpl_to_list(rt, &c->a[4], &u->schemes) < 0))
        return -1;
    for (size_t i = 0; i < u->schemes.u.list->len; i++) {
        if (check_scheme(rt, &u->schemes.u.list->items[i]) < 0)
            return -1;
    }
    return 0;
}

static FILTER(f_urlize) {
    OUT_BUF(b);
    struct urlize u = { .rt = rt };
    tpl_value_t t;
    if (urlize_args(rt, c, &u) < 0 || tpl_escape(rt, &c->self, &t) < 0 || tpl_charge(rt, t.len / 4) < 0)
        return -1;
    for (const char *s = t.u.s, *end = s + t.len; s < end;) {
        const char *from = s;
        while (s < end && !tpl_space_len(s, end))
            s += tpl_char_len(s, end);
        if (s > from)
            put_word(&u, &b, from, s);
        size_t n = tpl_space_len(s, end);
        buf_append(&b, s, n);
        s += n;
        if (buf_failed(&b) || tpl_charge(rt, 1) < 0)
            break;
    }
    if (tpl_str_take(rt, &b, out) < 0 || rt->code)
        return -1;
    out->flags = rt->autoescape ? V_FLAG_SAFE : 0;
    return 0;
}

const struct tpl_row tpl_urlize_filters[] = {
    { "urlize", f_urlize, "trim_url_limit,nofollow,target,rel,extra_schemes", 0 }, { 0 },
};
