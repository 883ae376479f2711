/* Regular expressions of inputs, outputs and checkpoints are Python's: whether one is valid is decided here by the
 * grammar of Python's re module, not by the library that we match with, whose language is another one (it has \p, \K,
 * recursion and verbs, and lacks \u and \N). \z is taken, as Python 3.14 does. Only checks; bounded in length, depth
 * and groups. Called by spec_task.c. Pure. */
#include <stdint.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/spec_internal.h"

#define PATTERN_MAX 8192
#define DEPTH_MAX 100
#define GROUPS_MAX 1000
#define REPEAT_MAX UINT64_C(4294967295)
#define WIDTH_MAX (UINT64_C(1) << 62)

struct width { uint64_t lo, hi; };
struct group { const char *name; size_t len; bool closed; struct width w; };
struct rx {
    const char *p, *why, *fail;
    int depth;
    bool verbose_all;          /* (?x) at the start */
    size_t look_groups;        /* groups when the outermost look-behind began, or SIZE_MAX */
    size_t highest, ngroups;   /* highest condition seen; groups begun, with the whole match */
    const char *highest_at;
    struct group groups[GROUPS_MAX];
};
enum item { ITEM_NONE, ITEM_AT, ITEM_REPEAT, ITEM_OTHER };
struct sequence { struct width w, last; enum item item; };

static bool fail(struct rx *x, const char *at, const char *why)
{
    if (!x->why) {
        x->why = why;
        x->fail = at;
    }
    return false;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_octal(char c) { return c >= '0' && c <= '7'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static bool take(struct rx *x, char c)
{
    if (*x->p != c)
        return false;
    x->p++;
    return true;
}

/* One character of UTF-8; the text is known to be valid. */
static uint32_t take_char(struct rx *x)
{
    unsigned char c = (unsigned char)*x->p++;
    uint32_t v = c < 0xC0 ? c : c < 0xE0 ? c & 0x1Fu : c < 0xF0 ? c & 0x0Fu : c & 0x07u;
    while (c >= 0xC0 && ((unsigned char)*x->p & 0xC0) == 0x80)
        v = v << 6 | ((unsigned char)*x->p++ & 0x3Fu);
    return v;
}

static uint64_t add(uint64_t a, uint64_t b) { return a + b < WIDTH_MAX ? a + b : WIDTH_MAX; }
static uint64_t times(uint64_t a, uint64_t b) { return a && b > WIDTH_MAX / a ? WIDTH_MAX : a * b; }

static void append(struct sequence *s, enum item item, struct width w)
{
    s->w = (struct width){ add(s->w.lo, w.lo), add(s->w.hi, w.hi) };
    s->last = w;
    s->item = item;
}

static const struct width one = { 1, 1 }, nothing = { 0, 0 };

/* ---- escapes ---- */

/* Exactly n hexadecimal digits. */
static bool hex_escape(struct rx *x, const char *begin, int n, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < n; i++, x->p++) {
        if (!is_hex(*x->p))
            return fail(x, begin, "incomplete escape");
        *value = *value * 16 + (uint32_t)(is_digit(*x->p) ? *x->p - '0' : (*x->p | 0x20) - 'a' + 10);
    }
    return *value <= 0x10FFFF || fail(x, begin, "bad escape");
}

static bool named_escape(struct rx *x, const char *begin)
{
    if (!take(x, '{'))
        return fail(x, begin, "missing { of a character name");
    size_t len = strspn(x->p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -()");
    if (len == 0 || x->p[len] != '}')
        return fail(x, begin, "bad character name");
    x->p += len + 1;
    return true;
}

/* What both kinds of places know. 1 done, 0 something else, -1 failed. */
static int common_escape(struct rx *x, const char *begin, char c, uint32_t *value)
{
    static const char names[] = "afnrtv\\", values[] = "\a\f\n\r\t\v\\";
    const char *known = c ? strchr(names, c) : NULL;

    if (known) {
        *value = (unsigned char)values[known - names];
        return 1;
    }
    if (c == 'x' || c == 'u' || c == 'U')
        return hex_escape(x, begin, c == 'x' ? 2 : c == 'u' ? 4 : 8, value) ? 1 : -1;
    if (c == 'N') {
        *value = 0;
        return named_escape(x, begin) ? 1 : -1;
    }
    return 0;
}

static bool group_reference(struct rx *x, const char *begin, size_t gid, struct width *w)
{
    if (gid >= x->ngroups)
        return fail(x, begin, "reference to a group that is not there yet");
    if (!x->groups[gid].closed)
        return fail(x, begin, "reference to a group that is still open");
    if (x->look_groups != SIZE_MAX && gid >= x->look_groups)
        return fail(x, begin, "reference to a group of the same look-behind");
    *w = x->groups[gid].w;
    return true;
}

static bool digit_escape(struct rx *x, const char *begin, char c, struct width *w)
{
    size_t gid = (size_t)(c - '0');
    *w = one;
    if (c == '0') {
        for (int i = 0; i < 2 && is_octal(*x->p); i++)
            x->p++;
        return true;
    }
    if (is_digit(*x->p)) {
        char second = *x->p++;
        if (is_octal(c) && is_octal(second) && is_octal(*x->p)) {
            x->p++;
            return c <= '3' || fail(x, begin, "octal escape above 0o377");
        }
        gid = gid * 10 + (size_t)(second - '0');
    }
    return group_reference(x, begin, gid, w);
}

static bool escape(struct rx *x, struct sequence *s)
{
    const char *begin = x->p - 1;
    uint32_t value;
    struct width w = one;

    if (!*x->p)
        return fail(x, begin, "backslash at the end");
    char c = *x->p;
    take_char(x);
    if (strchr("AbBZz", c)) {
        append(s, ITEM_AT, nothing);
        return true;
    }
    int known = strchr("dDsSwW", c) ? 1 : common_escape(x, begin, c, &value);
    if (known < 0)
        return false;
    if (known == 0 && is_digit(c)) {
        if (!digit_escape(x, begin, c, &w))
            return false;
    } else if (known == 0 && is_letter(c)) {
        return fail(x, begin, "unknown escape");
    }
    append(s, ITEM_OTHER, w);
    return true;
}

/* Inside [...]; *literal is false for a class such as \d. */
static bool class_escape(struct rx *x, bool *literal, uint32_t *value)
{
    const char *begin = x->p - 1;
    *literal = true;
    if (!*x->p)
        return fail(x, begin, "unterminated character set");
    char c = *x->p;
    if (strchr("dDsSwW", c)) {
        x->p++;
        *literal = false;
        return true;
    }
    if (is_octal(c)) {
        *value = 0;
        for (int i = 0; i < 3 && is_octal(*x->p); i++)
            *value = *value * 8 + (uint32_t)(*x->p++ - '0');
        return *value <= 0377 || fail(x, begin, "octal escape above 0o377");
    }
    *value = take_char(x);
    if (c == 'b')
        return true;
    int known = common_escape(x, begin, c, value);
    if (known < 0)
        return false;
    return known || !(is_digit(c) || is_letter(c)) || fail(x, begin, "unknown escape");
}

static bool set_item(struct rx *x, const char *begin, bool *literal, uint32_t *value)
{
    if (!*x->p)
        return fail(x, begin, "unterminated character set");
    if (take(x, '\\'))
        return class_escape(x, literal, value);
    *literal = true;
    *value = take_char(x);
    return true;
}

static bool set(struct rx *x, struct sequence *s)
{
    const char *begin = x->p - 1;
    take(x, '^');
    for (bool any = false;; any = true) {
        bool low_literal, high_literal;
        uint32_t low = 0, high = 0;
        const char *from = x->p;
        if (any && take(x, ']'))
            break;
        if (!set_item(x, begin, &low_literal, &low))
            return false;
        if (!take(x, '-'))
            continue;
        if (take(x, ']'))
            break;
        if (!set_item(x, begin, &high_literal, &high))
            return false;
        if (!low_literal || !high_literal || high < low)
            return fail(x, from, "bad character range");
    }
    append(s, ITEM_OTHER, one);
    return true;
}

/* ---- repeats ---- */

static uint64_t repeat_number(struct rx *x)
{
    uint64_t n = 0;
    while (is_digit(*x->p)) {
        n = n * 10 + (uint64_t)(*x->p++ - '0');
        n = n > REPEAT_MAX ? REPEAT_MAX : n;
    }
    return n;
}

/* {m,n}; false when the brace is an ordinary character, at which x->p then stays behind. */
static bool braces(struct rx *x, struct width *times_of)
{
    const char *here = x->p;
    if (*here == '}')
        return false;
    bool low = is_digit(*x->p);
    uint64_t lo = repeat_number(x), hi = lo;
    if (take(x, ',')) {
        bool high = is_digit(*x->p);
        hi = repeat_number(x);
        hi = high ? hi : REPEAT_MAX - 1;
    } else if (!low) {
        hi = REPEAT_MAX - 1;
    }
    if (!take(x, '}')) {
        x->p = here;
        return false;
    }
    *times_of = (struct width){ lo, hi };
    return true;
}

static bool repeat(struct rx *x, char c, struct sequence *s)
{
    const char *begin = x->p - 1;
    struct width n = { c == '+', c == '?' ? 1 : REPEAT_MAX - 1 };

    if (c == '{' && !braces(x, &n)) {
        append(s, ITEM_OTHER, one);
        return true;
    }
    if (n.lo >= REPEAT_MAX || n.hi >= REPEAT_MAX)
        return fail(x, begin, "too large a repeat");
    if (n.hi < n.lo)
        return fail(x, begin, "a repeat whose least number is above the most");
    if (s->item == ITEM_NONE || s->item == ITEM_AT)
        return fail(x, begin, "nothing to repeat");
    if (s->item == ITEM_REPEAT)
        return fail(x, begin, "a repeat of a repeat");
    if (!take(x, '?'))
        take(x, '+');
    /* The repeated item is already counted once in the lower and upper bound. */
    struct width all = { times(s->last.lo, n.lo), times(s->last.hi, n.hi) };
    s->w = (struct width){ add(s->w.lo - s->last.lo, all.lo), s->w.hi >= WIDTH_MAX ? WIDTH_MAX
                                                             : add(s->w.hi - s->last.hi, all.hi) };
    s->last = all;
    s->item = ITEM_REPEAT;
    return true;
}

/* ---- groups ---- */

static bool branches(struct rx *x, bool verbose, bool top, struct width *w);
static bool sequence(struct rx *x, bool verbose, bool first, struct width *w);

/* A name up to `end`. */
static bool group_name(struct rx *x, char end, const char **name, size_t *len)
{
    const char *begin = x->p, *stop = strchr(begin, end);
    if (!stop || stop == begin)
        return fail(x, begin, stop ? "missing group name" : "unterminated group name");
    *name = begin;
    *len = (size_t)(stop - begin);
    x->p = stop + 1;
    for (size_t i = 0; i < *len; i++)
        if (!is_letter(begin[i]) && begin[i] != '_' && (signed char)begin[i] >= 0 && (i == 0 || !is_digit(begin[i])))
            return fail(x, begin, "bad character in group name");
    return true;
}

static size_t find_group(const struct rx *x, const char *name, size_t len)
{
    for (size_t i = 1; i < x->ngroups; i++)
        if (x->groups[i].name && x->groups[i].len == len && memcmp(x->groups[i].name, name, len) == 0)
            return i;
    return 0;
}

static bool close_paren(struct rx *x, const char *begin)
{
    return take(x, ')') || fail(x, begin, "missing ) of a group");
}

static bool look(struct rx *x, const char *begin, bool behind, bool verbose, struct sequence *s)
{
    size_t before = x->look_groups;
    struct width w;
    if (behind && before == SIZE_MAX)
        x->look_groups = x->ngroups;
    if (!branches(x, verbose, false, &w))
        return false;
    x->look_groups = before;
    if (behind && w.lo != w.hi)
        return fail(x, begin, "a look-behind needs a fixed width");
    append(s, ITEM_OTHER, nothing);
    return close_paren(x, begin);
}

/* (?(1)yes|no) */
static bool conditional(struct rx *x, const char *begin, bool verbose, struct sequence *s)
{
    const char *name = x->p;
    struct width yes, no = nothing;
    size_t len, gid = 0;

    if (is_digit(*name)) {
        for (; is_digit(*x->p); x->p++)
            gid = gid < GROUPS_MAX ? gid * 10 + (size_t)(*x->p - '0') : gid;
        if (!take(x, ')'))
            return fail(x, name, "bad group number");
        if (gid == 0 || gid >= GROUPS_MAX)
            return fail(x, name, "bad group number");
        if (gid > x->highest) {
            x->highest = gid;
            x->highest_at = name;
        }
    } else {
        if (!group_name(x, ')', &name, &len))
            return false;
        gid = find_group(x, name, len);
        if (gid == 0)
            return fail(x, name, "unknown group name");
    }
    if (x->look_groups != SIZE_MAX && gid >= x->look_groups)
        return fail(x, name, "reference to a group of the same look-behind");
    if (!sequence(x, verbose, false, &yes))
        return false;
    if (take(x, '|') && !sequence(x, verbose, false, &no))
        return false;
    if (*x->p == '|')
        return fail(x, begin, "a condition has at most two branches");
    append(s, ITEM_OTHER, (struct width){ yes.lo < no.lo ? yes.lo : no.lo, yes.hi > no.hi ? yes.hi : no.hi });
    return close_paren(x, begin);
}

/* Letters before ':' or ')': *on_x and *off_x tell about x. False with nothing failed: flags of the whole expression. */
static bool flags(struct rx *x, const char *begin, bool *whole, bool *on_x, bool *off_x)
{
    static const char known[] = "aimsux";
    unsigned on = 0, off = 0;
    const char *p;

    for (; *x->p && (p = strchr(known, *x->p)); x->p++)
        on |= 1u << (p - known);
    if ((on & 1) && (on & 1u << 4))
        return fail(x, begin, "the flags a and u exclude each other");
    *on_x = on & 1u << 5;
    *off_x = false;
    *whole = on && take(x, ')');
    if (*whole || (on && take(x, ':')))
        return true;
    if (!take(x, '-'))
        return fail(x, x->p, "unknown flag, or - : or ) is missing");
    for (; *x->p && (p = strchr("imsx", *x->p)); x->p++)
        off |= 1u << (strchr(known, *p) - known);
    *off_x = off & 1u << 5;
    if (!off || !take(x, ':'))
        return fail(x, x->p, "unknown flag, or : is missing");
    return !(on & off) || fail(x, begin, "a flag is turned on and off");
}

/* Behind "(" and what opens the group; gid 0: none is captured. */
static bool group_body(struct rx *x, const char *begin, size_t gid, bool verbose, struct sequence *s)
{
    struct width w;
    if (!branches(x, verbose, false, &w) || !close_paren(x, begin))
        return false;
    if (gid) {
        x->groups[gid].closed = true;
        x->groups[gid].w = w;
    }
    append(s, ITEM_OTHER, w);
    return true;
}

static bool open_group(struct rx *x, const char *begin, const char *name, size_t len, bool verbose, struct sequence *s)
{
    if (x->ngroups == GROUPS_MAX)
        return fail(x, begin, "more than 999 groups");
    if (name && find_group(x, name, len))
        return fail(x, name, "the group name is used twice");
    size_t gid = x->ngroups++;
    x->groups[gid] = (struct group){ .name = name, .len = len };
    return group_body(x, begin, gid, verbose, s);
}

static bool named(struct rx *x, const char *begin, bool verbose, struct sequence *s)
{
    const char *name;
    size_t len;
    struct width w;

    if (take(x, '<'))
        return group_name(x, '>', &name, &len) && open_group(x, begin, name, len, verbose, s);
    if (!take(x, '='))
        return fail(x, begin, "unknown extension behind (?P");
    if (!group_name(x, ')', &name, &len))
        return false;
    size_t gid = find_group(x, name, len);
    if (gid == 0)
        return fail(x, name, "unknown group name");
    if (!group_reference(x, name, gid, &w))
        return false;
    append(s, ITEM_OTHER, w);
    return true;
}

/* Behind "(?". *verbose may be changed for what follows. */
static bool extension(struct rx *x, const char *begin, bool *verbose, bool first, struct sequence *s)
{
    bool whole, on_x, off_x;

    if (take(x, 'P'))
        return named(x, begin, *verbose, s);
    if (take(x, ':') || take(x, '>'))
        return group_body(x, begin, 0, *verbose, s);
    if (take(x, '#')) {
        const char *end = strchr(x->p, ')');
        if (!end)
            return fail(x, begin, "unterminated comment");
        x->p = end + 1;
        return true;
    }
    if (take(x, '=') || take(x, '!'))
        return look(x, begin, false, *verbose, s);
    if (take(x, '<'))
        return take(x, '=') || take(x, '!') ? look(x, begin, true, *verbose, s)
                                            : fail(x, begin, "unknown extension behind (?<");
    if (take(x, '('))
        return conditional(x, begin, *verbose, s);
    if (!*x->p || !strchr("aimsux-", *x->p))
        return fail(x, begin, *x->p ? "unknown extension behind (?" : "unexpected end");
    if (!flags(x, begin, &whole, &on_x, &off_x))
        return false;
    if (!whole)
        return group_body(x, begin, 0, (*verbose || on_x) && !off_x, s);
    if (!first || s->item != ITEM_NONE)
        return fail(x, begin, "flags of the whole expression belong at its start");
    x->verbose_all |= on_x;
    *verbose = x->verbose_all;
    return true;
}

static bool atom(struct rx *x, bool *verbose, bool first, struct sequence *s)
{
    const char *begin = x->p;
    switch (*x->p) {
    case '\\': x->p++; return escape(x, s);
    case '[': x->p++; return set(x, s);
    case '*': case '+': case '?': case '{': x->p++; return repeat(x, *begin, s);
    case '^': case '$': x->p++; append(s, ITEM_AT, nothing); return true;
    case '(':
        x->p++;
        return take(x, '?') ? extension(x, begin, verbose, first, s) : open_group(x, begin, NULL, 0, *verbose, s);
    default: take_char(x); append(s, ITEM_OTHER, one); return true;
    }
}

static bool sequence(struct rx *x, bool verbose, bool first, struct width *w)
{
    struct sequence s = { { 0, 0 }, { 0, 0 }, ITEM_NONE };
    while (*x->p && *x->p != '|' && *x->p != ')') {
        if (verbose && strchr(" \t\n\r\v\f", *x->p)) {
            x->p++;
        } else if (verbose && *x->p == '#') {
            x->p += strcspn(x->p, "\n");
        } else if (!atom(x, &verbose, first, &s)) {
            return false;
        }
    }
    *w = s.w;
    return true;
}

static bool branches(struct rx *x, bool verbose, bool top, struct width *w)
{
    if (++x->depth > DEPTH_MAX)
        return fail(x, x->p, "groups nested more than 100 deep");
    for (bool first = true;; first = false) {
        struct width own;
        if (!sequence(x, verbose, top && first, &own))
            return false;
        *w = first ? own : (struct width){ own.lo < w->lo ? own.lo : w->lo, own.hi > w->hi ? own.hi : w->hi };
        if (!take(x, '|'))
            break;
        verbose = top ? x->verbose_all : verbose;
    }
    x->depth--;
    return true;
}

bool spec_regex_valid(const char *pattern, const char **why, size_t *at)
{
    struct width w;
    *at = 0;
    if (strlen(pattern) > PATTERN_MAX) {
        *why = "more than 8192 bytes";
        return false;
    }
    if (strcspn(pattern, "\\[{()*+?") == strlen(pattern)) /* most are plain */
        return true;
    _cleanup_free_ struct rx *x = malloc(sizeof(*x)); /* large: groups are set when they are opened */
    if (!x)
        return true; /* not the moment to refuse it */
    memset(x, 0, offsetof(struct rx, groups));
    x->groups[0] = (struct group){ .closed = false };
    x->p = pattern;
    x->look_groups = SIZE_MAX;
    x->ngroups = 1;
    if (branches(x, false, true, &w)) {
        if (*x->p)
            fail(x, x->p, "unbalanced )");
        else if (x->highest >= x->ngroups)
            fail(x, x->highest_at, "reference to a group that is not there");
    }
    for (const char *p = pattern; x->why && p < x->fail; p++)
        *at += ((unsigned char)*p & 0xC0) != 0x80;
    *why = x->why;
    return !x->why;
}
