/* JSON in place; see json_reader.h. Strings are searched 16 bytes at a time and whole containers are passed 64 bytes at
 * a time: one bit per byte tells quotes, escapes and brackets apart, so that nothing between them is looked at. */
#include "base/json_reader.h"

#include <string.h>

#include "base/str.h"

/* ---- bytes as bits ---- */

struct marks { uint64_t quotes, slashes, controls, brackets; }; /* of 64 bytes; bit 0 is the first */

#if defined __SSE2__ && !defined JSON_READER_PORTABLE /* which a test sets */
typedef char bytes16 __attribute__((vector_size(16)));
typedef unsigned char ubytes16 __attribute__((vector_size(16)));

static inline ubytes16 load16(const char *p) {
    ubytes16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t bits16(ubytes16 matches) {
    return (unsigned)__builtin_ia32_pmovmskb128((bytes16)matches) & 0xffffu;
}

static inline void mark64(const char *p, struct marks *m) {
    *m = (struct marks){ 0 };
    for (int i = 0; i < 64; i += 16) {
        ubytes16 v = load16(p + i), lower = v | 0x20; /* [ and {, ] and } differ in that bit */
        m->quotes |= bits16((ubytes16)(v == '"')) << i;
        m->slashes |= bits16((ubytes16)(v == '\\')) << i;
        m->controls |= bits16((ubytes16)((v & 0xe0) == 0)) << i;
        m->brackets |= bits16((ubytes16)(lower == '{') | (ubytes16)(lower == '}')) << i;
    }
}

/* The next quote, backslash or control character, or where there is no whole group of bytes any more. */
static inline const char *find_special(const char *p, const char *end) {
    for (; end - p >= 16; p += 16) {
        ubytes16 v = load16(p);
        uint64_t bits = bits16((ubytes16)(v == '"') | (ubytes16)(v == '\\') | (ubytes16)((v & 0xe0) == 0));
        if (bits)
            return p + __builtin_ctzll(bits);
    }
    return p;
}
#else
#define EACH(byte) ((byte) * UINT64_C(0x0101010101010101))

/* Eight bytes, the first one lowest. */
static inline uint64_t load8(const char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* One bit for each byte that is zero. */
static inline uint64_t zeros8(uint64_t v) {
    v = ~(((v & EACH(0x7f)) + EACH(0x7f)) | v | EACH(0x7f));
    return (v >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static inline void mark64(const char *p, struct marks *m) {
    *m = (struct marks){ 0 };
    for (int i = 0; i < 64; i += 8) {
        uint64_t v = load8(p + i), lower = v | EACH(0x20);
        m->quotes |= zeros8(v ^ EACH('"')) << i;
        m->slashes |= zeros8(v ^ EACH('\\')) << i;
        m->controls |= zeros8(v & EACH(0xe0)) << i;
        m->brackets |= (zeros8(lower ^ EACH('{')) | zeros8(lower ^ EACH('}'))) << i;
    }
}

static inline const char *find_special(const char *p, const char *end) {
    for (; end - p >= 8; p += 8) {
        uint64_t v = load8(p), bits = zeros8(v ^ EACH('"')) | zeros8(v ^ EACH('\\')) | zeros8(v & EACH(0xe0));
        if (bits)
            return p + __builtin_ctzll(bits);
    }
    return p;
}
#endif

/* ---- the walk's state ---- */

void json_reader_init(json_reader_t *r, const char *text, size_t len) {
    *r = (json_reader_t){ .p = text, .end = text + len };
}

bool json_reader_failed(const json_reader_t *r) { return r->failed; }

static bool fail(json_reader_t *r) {
    r->failed = true;
    r->p = r->end;
    return false;
}

/* The next byte that is no blank, or 0 at the end (and a NUL byte is a fault everywhere). */
static inline char peek(json_reader_t *r) {
    const char *p = r->p;
    while (p < r->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    r->p = p;
    return p < r->end ? *p : '\0';
}

bool json_reader_at_end(json_reader_t *r) {
    peek(r);
    return r->p == r->end && !r->failed;
}

/* ---- strings ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \u, or -1. */
static int hex4(const char *p, const char *end) {
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int d = hex_digit(p[i]);
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

/* Length of the escape whose backslash p points to; 0 when it is none. */
static size_t escape_len(const char *p, const char *end) {
    if (end - p < 2)
        return 0;
    if (p[1] == 'u')
        return hex4(p + 2, end) >= 0 ? 6 : 0;
    return p[1] && strchr("\"\\/bfnrt", p[1]) ? 2 : 0;
}

/* It stands on the opening quote. */
static bool read_string(json_reader_t *r, json_slice_t *out) {
    const char *start = ++r->p, *p = start;
    bool escaped = false;
    for (;;) {
        p = find_special(p, r->end);
        if (p >= r->end || (unsigned char)*p < 0x20)
            return fail(r);
        if (*p == '"')
            break;
        size_t step = *p == '\\' ? escape_len(p, r->end) : 1;
        if (!step)
            return fail(r);
        escaped = escaped || *p == '\\';
        p += step;
    }
    *out = (json_slice_t){ start, (size_t)(p - start), escaped };
    r->p = p + 1;
    return true;
}

bool json_slice_is(const json_slice_t *s, const char *text) {
    size_t len = strlen(text);
    return s->len == len && memcmp(s->text, text, len) == 0;
}

/* ---- passing containers ---- */

/* Bits of the bytes that an escape protects. *carry: the first byte of the block, or of the next one, is protected. */
static uint64_t escaped_bits(uint64_t slashes, bool *carry) {
    uint64_t escaped = *carry;
    slashes &= ~escaped;
    *carry = false;
    while (slashes) {
        int i = __builtin_ctzll(slashes);
        if (i == 63) {
            *carry = true;
            break;
        }
        escaped |= UINT64_C(2) << i;
        slashes &= ~(UINT64_C(3) << i);
    }
    return escaped;
}

/* Bit n: number of bits set up to n is odd. */
static uint64_t running_parity(uint64_t bits) {
    for (int shift = 1; shift < 64; shift *= 2)
        bits ^= bits << shift;
    return bits;
}

/* kinds: the open ones, 1 = object, innermost in bit 0 */
struct pass { uint64_t kinds; int depth, limit; bool in_string, protect; };

/* Brackets outside of strings, in order. Returns the number of bytes up to the end of the container, 0 when it goes on,
 * or -1. */
static int pass_brackets(struct pass *s, const char *block, uint64_t brackets) {
    for (; brackets; brackets &= brackets - 1) {
        int i = __builtin_ctzll(brackets);
        char c = block[i];
        unsigned object = c >= '{';
        if ((c | 0x20) == '{') {
            if (++s->depth > s->limit)
                return -1;
            s->kinds = s->kinds << 1 | object;
        } else {
            if ((s->kinds & 1) != object)
                return -1;
            s->kinds >>= 1;
            if (--s->depth == 0)
                return i + 1;
        }
    }
    return 0;
}

static int pass_block(struct pass *s, const char *block) {
    struct marks m;
    mark64(block, &m);
    uint64_t quotes = m.quotes;
    if (m.slashes || s->protect)
        quotes &= ~escaped_bits(m.slashes, &s->protect);
    uint64_t inside = running_parity(quotes) ^ (s->in_string ? ~UINT64_C(0) : 0);
    s->in_string = inside >> 63;
    int n = pass_brackets(s, block, m.brackets & ~inside);
    uint64_t seen = n > 0 && n < 64 ? (UINT64_C(1) << n) - 1 : ~UINT64_C(0);
    return (m.controls & inside & seen) || (m.slashes & ~inside & seen) ? -1 : n;
}

static bool skip_container(json_reader_t *r) {
    struct pass s = { .limit = JSON_MAX_DEPTH - r->depth };
    int n = 0;
    for (; r->end - r->p >= 64; r->p += 64) {
        n = pass_block(&s, r->p);
        if (n)
            break;
    }
    if (!n) {
        char rest[64]; /* blanks behind the end of the text */
        size_t len = (size_t)(r->end - r->p);
        memset(rest, ' ', sizeof rest);
        memcpy(rest, r->p, len);
        n = pass_block(&s, rest);
        if (n > (int)len)
            n = -1;
    }
    if (n <= 0)
        return fail(r);
    r->p += n;
    return true;
}

/* ---- scalars ---- */

static const char *digits_end(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Behind the number that begins at p, or NULL. *integer: it has neither fraction nor exponent. */
static const char *number_end(const char *p, const char *end, bool *integer) {
    p += p < end && *p == '-';
    const char *digits = p;
    p = digits_end(p, end);
    if (p == digits || (*digits == '0' && p - digits > 1))
        return NULL;
    *integer = true;
    if (p < end && *p == '.') {
        digits = ++p;
        p = digits_end(p, end);
        *integer = false;
        if (p == digits)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        digits = p;
        p = digits_end(p, end);
        *integer = false;
        if (p == digits)
            return NULL;
    }
    return p;
}

static bool is_number_start(char c) { return c == '-' || (c >= '0' && c <= '9'); }

enum json_kind json_reader_kind(json_reader_t *r) {
    char c = peek(r);
    bool integer = false;
    switch (c) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't':
    case 'f': return JSON_BOOL;
    default: break;
    }
    if (!is_number_start(c) || !number_end(r->p, r->end, &integer))
        return JSON_NULL;
    return integer ? JSON_INT : JSON_DOUBLE;
}

static bool skip_word(json_reader_t *r, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(r->end - r->p) < len || memcmp(r->p, word, len) != 0)
        return fail(r);
    r->p += len;
    return true;
}

static bool skip_value(json_reader_t *r) {
    json_slice_t s;
    bool integer;
    char c = peek(r);
    switch (c) {
    case '"': return read_string(r, &s);
    case '{':
    case '[': return skip_container(r);
    case 't': return skip_word(r, "true");
    case 'f': return skip_word(r, "false");
    case 'n': return skip_word(r, "null");
    default: break;
    }
    const char *end = is_number_start(c) ? number_end(r->p, r->end, &integer) : NULL;
    if (!end)
        return fail(r);
    r->p = end;
    return true;
}

void json_reader_skip(json_reader_t *r, json_slice_t *whole) {
    peek(r);
    const char *start = r->p;
    bool ok = skip_value(r);
    if (whole)
        *whole = ok ? (json_slice_t){ start, (size_t)(r->p - start), false } : (json_slice_t){ "", 0, false };
}

bool json_reader_string(json_reader_t *r, json_slice_t *out) {
    if (peek(r) == '"')
        return read_string(r, out);
    skip_value(r);
    return false;
}

bool json_reader_int(json_reader_t *r, int64_t *out) {
    char c = peek(r);
    bool integer = false;
    const char *p = r->p, *end = is_number_start(c) ? number_end(p, r->end, &integer) : NULL;
    if (!end || !integer) {
        skip_value(r);
        return false;
    }
    r->p = end;
    bool negative = *p == '-';
    int64_t v = 0;
    for (p += negative; p < end; p++) {
        int digit = *p - '0';
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, negative ? -digit : digit, &v))
            return false;
    }
    *out = v;
    return true;
}

bool json_reader_bool(json_reader_t *r, bool *out) {
    char c = peek(r);
    bool ok = skip_value(r) && (c == 't' || c == 'f');
    if (ok)
        *out = c == 't';
    return ok;
}

/* ---- containers ---- */

static bool enter(json_reader_t *r, char bracket) {
    if (peek(r) != bracket) {
        skip_value(r);
        return false;
    }
    if (r->depth >= JSON_MAX_DEPTH)
        return fail(r);
    r->depth++;
    r->p++;
    r->first = true;
    return true;
}

bool json_reader_object(json_reader_t *r) { return enter(r, '{'); }
bool json_reader_array(json_reader_t *r) { return enter(r, '['); }

/* To the next member; false behind the closing bracket, or after a fault. */
static bool next_member(json_reader_t *r, char closing) {
    char c = peek(r);
    if (c == closing && r->depth) {
        r->p++;
        r->depth--;
        r->first = false; /* of what is around it, a member has just been read */
        return false;
    }
    if (!c)
        return fail(r);
    if (!r->first) {
        if (c != ',')
            return fail(r);
        r->p++;
    }
    r->first = false;
    return true;
}

bool json_reader_element(json_reader_t *r) { return next_member(r, ']'); }

bool json_reader_key(json_reader_t *r, json_slice_t *key) {
    if (!next_member(r, '}'))
        return false;
    if (peek(r) != '"')
        return fail(r);
    if (!read_string(r, key))
        return false;
    if (peek(r) != ':')
        return fail(r);
    r->p++;
    return true;
}

/* ---- copying out ---- */

#define REPLACEMENT 0xFFFD

static size_t encode(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

/* The character of an escape, and how long that is; halves of pairs that stand alone, and NUL, cannot be in our texts.
 * */
static size_t decode_escape(const char *p, const char *end, uint32_t *c) {
    static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
    size_t len = escape_len(p, end);
    *c = REPLACEMENT;
    if (!len)
        return 1;
    if (len == 2) {
        const char *name = strchr(names, p[1]);
        *c = name ? (uint32_t)values[name - names] : (uint32_t)p[1];
        return 2;
    }
    int high = hex4(p + 2, end);
    int low = high >= 0xd800 && high < 0xdc00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, end) : -1;
    if (low >= 0xdc00 && low < 0xe000) {
        *c = 0x10000u + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
        return 12;
    }
    if (high && (high < 0xd800 || high > 0xdfff))
        *c = (uint32_t)high;
    return 6;
}

/* Length of the valid character at p, 0 when the byte begins none. */
static size_t utf8_len(const char *p, const char *end) {
    unsigned char c = (unsigned char)*p;
    if (c < 0x80)
        return c != 0;
    size_t n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return (size_t)(end - p) >= n && utf8_valid(p, n) ? n : 0;
}

/* Bytes at the beginning that are copied as they are, eight at a time: not those of a longer character, no escape. */
static size_t plain_run(const char *p, const char *end) {
    const char *from = p;
    for (uint64_t v; end - p >= 8; p += 8) {
        memcpy(&v, p, 8);
        uint64_t x = v ^ UINT64_C(0x5c5c5c5c5c5c5c5c);
        if ((v | ((x - UINT64_C(0x0101010101010101)) & ~x)) & UINT64_C(0x8080808080808080))
            break;
    }
    return (size_t)(p - from);
}

size_t json_slice_copy(const json_slice_t *s, char *out, size_t cap) {
    const char *p = s->text, *end = p + s->len;
    size_t len = 0;
    if (!cap)
        return 0;
    while (p < end) {
        char buffer[4];
        size_t run = plain_run(p, end);
        run = run < cap - len ? run : cap - len - 1;
        memcpy(out + len, p, run);
        len += run;
        p += run;
        if (p == end || len + 1 == cap)
            break;
        const char *from = p;
        uint32_t c = REPLACEMENT;
        size_t n = *p == '\\' && s->escaped ? 0 : utf8_len(p, end);
        if (n) {
            p += n;
        } else {
            p += *p == '\\' && s->escaped ? decode_escape(p, end, &c) : 1;
            n = encode(c, buffer);
            from = buffer;
        }
        if (n >= cap - len)
            break;
        memcpy(out + len, from, n);
        len += n;
    }
    out[len] = '\0';
    return len;
}
