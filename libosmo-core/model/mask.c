/* An Aho-Corasick automaton with lists of children: few bytes a state, and a table for the first byte, which is where almost all of a text
 * is looked at. See mask.h. */
#include "model/mask.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "model/redact.h"

struct state {
    uint32_t child, sibling; /* 0: none */
    uint32_t fail;
    uint32_t depth;
    uint32_t longest;        /* length of the longest value that ends here, with those that are its ends; 0: none */
    unsigned char byte;
};
struct mask {
    struct state *states;    /* the first is the root */
    uint32_t n, cap;
    uint32_t first[256];     /* children of the root */
};

struct mask *mask_new(void) {
    struct mask *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->cap = 1024;
    m->n = 1;
    m->states = calloc(m->cap, sizeof *m->states);
    if (m->states)
        return m;
    free(m);
    return NULL;
}

void mask_free(struct mask *m) {
    if (!m)
        return;
    crypto_wipe(m->states, m->n * sizeof *m->states);
    free(m->states);
    free(m);
}

bool mask_is_empty(const struct mask *m) { return !m || m->n == 1; }

/* ---- building ---- */

static uint32_t child_of(const struct mask *m, uint32_t at, unsigned char byte) {
    if (at == 0)
        return m->first[byte];
    uint32_t c = m->states[at].child;
    while (c && m->states[c].byte != byte)
        c = m->states[c].sibling;
    return c;
}

static int grow(struct mask *m) {
    if (m->n < m->cap)
        return 0;
    uint32_t cap = m->cap * 2;
    struct state *bigger = calloc(cap, sizeof *bigger); /* what is left behind is wiped */
    if (!bigger)
        return OSMO_ENOMEM;
    memcpy(bigger, m->states, m->n * sizeof *bigger);
    crypto_wipe(m->states, m->n * sizeof *bigger);
    free(m->states);
    m->states = bigger;
    m->cap = cap;
    return 0;
}

static int add_pattern(struct mask *m, const char *text, size_t len) {
    uint32_t at = 0;
    if (len < MASK_VALUE_MIN)
        return 0;
    if (len >= MASK_STATES_MAX || m->n + len > MASK_STATES_MAX)
        return OSMO_ELIMIT;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        uint32_t next = child_of(m, at, byte);
        if (!next) {
            if (grow(m) < 0)
                return OSMO_ENOMEM;
            next = m->n++;
            m->states[next] = (struct state){ .byte = byte, .depth = (uint32_t)i + 1, .sibling = at ? m->states[at].child : 0 };
            if (at)
                m->states[at].child = next;
            else
                m->first[byte] = next;
        }
        at = next;
    }
    m->states[at].longest = (uint32_t)len;
    return 0;
}

/* Without the last bytes that depend on what follows them. */
static int add_base64(struct mask *m, const char *value, size_t len, bool url) {
    _cleanup_buf_ buf_t text = BUF_SECRET(MASK_STATES_MAX * 2);
    if (len > MASK_STATES_MAX)
        return OSMO_ELIMIT;
    int rc = url ? crypto_base64url(value, len / 3 * 3, &text) : crypto_base64(value, len / 3 * 3, &text);
    return rc < 0 ? rc : add_pattern(m, buf_cstr(&text), text.len);
}

/* As it stands in a URL, or as a JSON text escapes it. */
static int add_escaped(struct mask *m, const char *value, size_t len, bool url) {
    _cleanup_buf_ buf_t text = BUF_SECRET(MASK_STATES_MAX * 3);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.~", c));
        if (url && !plain)
            buf_printf(&text, "%%%02X", c);
        else if (!url && (c == '"' || c == '\\'))
            buf_printf(&text, "\\%c", c);
        else if (!url && (c == '\n' || c == '\r' || c == '\t'))
            buf_printf(&text, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else
            buf_putc(&text, (char)c);
    }
    if (buf_failed(&text))
        return text.code;
    return text.len == len ? 0 : add_pattern(m, text.data, text.len);
}

int mask_add(struct mask *m, const char *value) {
    size_t len = strlen(value);
    int rc = 0;
    /* logs come in lines */
    for (const char *p = value; *p && rc >= 0;) {
        size_t line = strcspn(p, "\r\n");
        rc = add_pattern(m, p, line);
        p += line;
        p += strspn(p, "\r\n");
    }
    if (len < MASK_VALUE_MIN)
        return rc;
    if (rc >= 0)
        rc = add_base64(m, value, len, false);
    if (rc >= 0)
        rc = add_base64(m, value, len, true);
    if (rc >= 0)
        rc = add_escaped(m, value, len, true);
    return rc < 0 ? rc : add_escaped(m, value, len, false);
}

static uint32_t step(const struct mask *m, uint32_t at, unsigned char byte) {
    for (;;) {
        uint32_t next = child_of(m, at, byte);
        if (next || !at)
            return next;
        at = m->states[at].fail;
    }
}

/* Breadth first: where to go on when no child fits, and what ends there as well. */
int mask_build(struct mask *m) {
    uint32_t *queue = calloc(m->n, sizeof *queue), head = 0, tail = 0;
    if (!queue)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < 256; i++)
        if (m->first[i])
            queue[tail++] = m->first[i];
    while (head < tail) {
        uint32_t at = queue[head++];
        struct state *s = &m->states[at];
        uint32_t inherited = m->states[s->fail].longest;
        if (inherited > s->longest)
            s->longest = inherited;
        for (uint32_t c = s->child; c; c = m->states[c].sibling) {
            m->states[c].fail = step(m, s->fail, m->states[c].byte);
            queue[tail++] = c;
        }
    }
    free(queue);
    return 0;
}

/* ---- applying ---- */

/* Stretches of the text that are masked, in order, none touching the next. */
struct stretch { size_t begin, end; };
struct stretches { struct stretch *list; size_t n, cap; };

static int add_stretch(struct stretches *s, size_t begin, size_t end) {
    while (s->n && s->list[s->n - 1].end >= begin) { /* ends only grow */
        begin = s->list[s->n - 1].begin < begin ? s->list[s->n - 1].begin : begin;
        s->n--;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 8;
        struct stretch *bigger = realloc(s->list, cap * sizeof *bigger);
        if (!bigger)
            return OSMO_ENOMEM;
        s->list = bigger;
        s->cap = cap;
    }
    s->list[s->n++] = (struct stretch){ begin, end };
    return 0;
}

static int find(const struct mask *m, const char *text, size_t len, uint32_t *state, bool cut, struct stretches *out) {
    uint32_t at = *state;
    int rc = 0;
    for (size_t i = 0; i < len && rc >= 0; i++) {
        unsigned char byte = (unsigned char)text[i];
        at = at ? step(m, at, byte) : m->first[byte];
        size_t longest = at ? m->states[at].longest : 0;
        if (longest) /* the beginning may be in the text before */
            rc = add_stretch(out, longest > i + 1 ? 0 : i + 1 - longest, i + 1);
    }
    size_t begun = cut ? m->states[at].depth : 0;
    if (rc >= 0 && begun && len)
        rc = add_stretch(out, begun > len ? 0 : len - begun, len);
    *state = cut ? at : 0;
    return rc;
}

int mask_apply(const struct mask *m, const char *text, size_t len, uint32_t *state, bool cut, buf_t *out, bool *changed) {
    struct stretches s = { 0 };
    uint32_t none = 0;
    int rc = mask_is_empty(m) ? 0 : find(m, text, len, state ? state : &none, cut, &s);
    size_t at = 0;
    *changed = rc >= 0 && s.n;
    for (size_t i = 0; i < s.n && rc >= 0; i++) {
        buf_append(out, text + at, s.list[i].begin - at);
        rc = buf_puts(out, REDACTED);
        at = s.list[i].end;
    }
    if (rc >= 0 && s.n)
        rc = buf_append(out, text + at, len - at);
    free(s.list);
    return rc;
}
