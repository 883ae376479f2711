/* Size objects and escapes; see escapes.h. */
#include "escapes.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "runtime/link.h"

#define CELLS_MAX 10000
#define SIGNAL_MAX 31

/* Members are found whatever their case, as OSMO's runtime does. */
static const json_t *member(const json_t *o, const char *name) {
    json_iter_t it = json_iter(o);
    while (json_iter_next(&it)) {
        if (strcasecmp(it.key, name) == 0)
            return it.value;
    }
    return NULL;
}

static int cells(const json_t *o, const char *name) {
    int64_t n = json_as_int(member(o, name), 0);
    return n < 0 ? 0 : n > CELLS_MAX ? CELLS_MAX : (int)n;
}

/* Of what is asked for, what we can do, in our order. */
static void grant(const char *asked, char *out, size_t cap) {
    static const char *const known[] = { "exit", "pipe", "signal" };
    out[0] = '\0';
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t used = strlen(out);
        if (link_has_word(asked, known[i]))
            snprintf(out + used, cap - used, "%s%s", used ? "," : "", known[i]);
    }
}

int size_take(buf_t *in, bool ours, struct session_size *out, char *why, size_t cap) {
    json_t *o = NULL;
    int rc = link_next(in, &o);
    if (rc == 0 && in->len > SIZE_OBJECT_MAX)
        rc = OSMO_ELIMIT;
    if (rc < 0)
        snprintf(why, cap, "the session must begin with its size, as {\"Rows\":24,\"Cols\":80}");
    if (rc <= 0)
        return rc < 0 ? -1 : 0;
    *out = (struct session_size){ .rows = cells(o, "rows"), .cols = cells(o, "cols") };
    if (ours)
        grant(json_str(member(o, "extensions")), out->extensions, sizeof out->extensions);
    out->tty = json_as_bool(member(o, "tty"), true) || !link_has_word(out->extensions, "pipe");
    json_free(o);
    return 1;
}

enum match { MATCH_NO, MATCH_MORE, MATCH_RESIZE, MATCH_SIGNAL };

static enum match match_word(const char *text, size_t len, const char *word, enum match whole) {
    size_t n = strlen(word);
    if (memcmp(text, word, len < n ? len : n) != 0)
        return MATCH_NO;
    return len < n || !memchr(text, '}', len) ? MATCH_MORE : whole;
}

/* text begins behind the NUL. */
static enum match match_escape(const struct escapes *e, const char *text, size_t len) {
    enum match m = match_word(text, len, "RESIZE:", MATCH_RESIZE);
    if (m == MATCH_NO && e->signals)
        m = match_word(text, len, "SIGNAL:", MATCH_SIGNAL);
    return m;
}

static void carry_out(enum match m, const char *text, size_t len, const struct escape_sink *sink) {
    json_t *o = NULL;
    if (json_parse(text, len, &o, NULL) || json_kind(o) != JSON_OBJECT) {
        json_free(o);
        return; /* an escape all the same: no input for the command */
    }
    int64_t number = json_as_int(member(o, "signal"), 0);
    if (m == MATCH_RESIZE)
        sink->resize(sink->ctx, cells(o, "rows"), cells(o, "cols"));
    else if (number > 0 && number <= SIGNAL_MAX)
        sink->signal(sink->ctx, (int)number);
    json_free(o);
}

/* The NUL at `data` is followed by `len` - 1 bytes. How many bytes are dealt with; 0: more are needed. */
static size_t take_escape(const struct escapes *e, const char *data, size_t len, const struct escape_sink *sink) {
    if (len > ESCAPE_MAX)
        len = ESCAPE_MAX; /* as if the bytes came one by one */
    enum match m = match_escape(e, data + 1, len - 1);
    if (m == MATCH_MORE && len < ESCAPE_MAX)
        return 0;
    if (m == MATCH_NO || m == MATCH_MORE) {
        sink->bytes(sink->ctx, data, 1);
        return 1;
    }
    const char *end = memchr(data, '}', len);
    size_t word = strlen("RESIZE:") + 1;
    carry_out(m, data + word, (size_t)(end + 1 - data) - word, sink);
    return (size_t)(end + 1 - data);
}

/* Everything up to what may be the begin of an escape; how many bytes were dealt with. */
static size_t scan(const struct escapes *e, const char *data, size_t len, const struct escape_sink *sink) {
    size_t at = 0;
    while (at < len) {
        const char *nul = memchr(data + at, '\0', len - at);
        size_t plain = nul ? (size_t)(nul - (data + at)) : len - at;
        if (plain)
            sink->bytes(sink->ctx, data + at, plain);
        at += plain;
        size_t taken = nul ? take_escape(e, data + at, len - at, sink) : 0;
        if (!taken)
            break;
        at += taken;
    }
    return at;
}

void escapes_feed(struct escapes *e, const char *data, size_t len, const struct escape_sink *sink) {
    while (e->len && len) { /* the carried begin and as much as can decide about it */
        size_t more = ESCAPE_MAX - e->len < len ? ESCAPE_MAX - e->len : len;
        memcpy(e->carry + e->len, data, more);
        size_t whole = e->len + more, taken = scan(e, e->carry, whole, sink);
        data += more;
        len -= more;
        e->len = whole - taken;
        memmove(e->carry, e->carry + taken, e->len);
    }
    size_t taken = len ? scan(e, data, len, sink) : 0;
    if (taken < len) {
        memcpy(e->carry, data + taken, len - taken); /* shorter than ESCAPE_MAX, else it were no begin */
        e->len = len - taken;
    }
}

void escapes_flush(struct escapes *e, const struct escape_sink *sink) {
    if (e->len)
        sink->bytes(sink->ctx, e->carry, e->len);
    e->len = 0;
}
