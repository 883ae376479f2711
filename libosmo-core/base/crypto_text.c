/* The half of base/crypto.h that needs no OpenSSL: base64, the parts of a JWT, wiping. A program that calls nothing
 * else (the command line client) neither loads nor links libcrypto. Everybody may call it. */
#include "base/crypto_text.h"
#include <string.h>
#include "base/cleanup.h"

void crypto_wipe(void *p, size_t len) {
    if (len)
        explicit_bzero(p, len);
}

static int base64_encode(const uint8_t *p, size_t len, const char *alphabet, bool pad, buf_t *out) {
    size_t whole = len / 3, rest = len % 3, tail = !rest ? 0 : pad ? 4 : rest + 1;
    if (buf_reserve(out, whole * 4 + tail) < 0)
        return out->code;
    char *to = out->data + out->len;
    for (size_t i = 0; i < whole; i++, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *to++ = alphabet[v >> 18];
        *to++ = alphabet[v >> 12 & 63];
        *to++ = alphabet[v >> 6 & 63];
        *to++ = alphabet[v & 63];
    }
    if (rest) {
        uint32_t v = (uint32_t)p[0] << 16 | (rest > 1 ? (uint32_t)p[1] << 8 : 0);
        const char group[4] = { alphabet[v >> 18], alphabet[v >> 12 & 63], rest > 1 ? alphabet[v >> 6 & 63] : '=', '=' };
        memcpy(to, group, tail);
        to += tail;
    }
    *to = '\0';
    out->len = (size_t)(to - out->data);
    return 0;
}

int crypto_base64(const void *data, size_t len, buf_t *out) {
    return base64_encode(data, len, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true, out);
}

int crypto_base64url(const void *data, size_t len, buf_t *out) {
    return base64_encode(data, len, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", false, out);
}

/* Of each character its value, 64 for those that are none; both alphabets. */
static const uint8_t base64_values[256] = {
#define BAD16 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64
    BAD16, BAD16,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 62, 64, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
    64, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 63,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
    BAD16, BAD16, BAD16, BAD16, BAD16, BAD16, BAD16, BAD16,
#undef BAD16
};

/* Whole groups of four, until one has a bad character. Returns how many characters were good. */
static size_t decode_groups(const uint8_t *text, size_t len, uint8_t *out) {
    size_t i = 0;
    for (; i + 4 <= len; i += 4) {
        uint32_t a = base64_values[text[i]], b = base64_values[text[i + 1]], c = base64_values[text[i + 2]],
                 d = base64_values[text[i + 3]];
        if ((a | b | c | d) & 64)
            break;
        uint32_t v = a << 18 | b << 12 | c << 6 | d;
        *out++ = (uint8_t)(v >> 16);
        *out++ = (uint8_t)(v >> 8);
        *out++ = (uint8_t)v;
    }
    return i;
}

int crypto_base64_decode(const char *text, size_t len, buf_t *out, osmo_error_t *err) {
    const uint8_t *p = (const uint8_t *)text;
    size_t pads = 0;
    while (len > 0 && pads < 2 && text[len - 1] == '=') {
        len--;
        pads++;
    }
    if (len % 4 == 1 || (pads && (len + pads) % 4))
        return osmo_error_set(err, OSMO_EINVAL, "base64 text has an impossible length");
    size_t rest = len % 4, n = len / 4 * 3 + (rest ? rest - 1 : 0);
    if (buf_reserve(out, n) < 0)
        return osmo_error_set(err, out->code, "base64 text is too large");
    uint8_t *to = (uint8_t *)out->data + out->len;
    uint32_t v = 0;
    size_t i = decode_groups(p, len, to);
    for (size_t from = i; i < len; i++) { /* the last group, or the bad character */
        if (base64_values[p[i]] & 64)
            return osmo_error_set(err, OSMO_EINVAL, "base64 text has a bad character at position %zu", i);
        v |= (uint32_t)base64_values[p[i]] << (18 - 6 * (i - from));
    }
    /* Bits left over in the last group must be zero, or two texts would decode to the same bytes. */
    if (v & (rest == 2 ? 0xffffu : 0xffu))
        return osmo_error_set(err, OSMO_EINVAL, "base64 text has stray bits at its end");
    if (rest)
        to[n - (rest - 1)] = (uint8_t)(v >> 16);
    if (rest == 3)
        to[n - 1] = (uint8_t)(v >> 8);
    out->len += n;
    out->data[out->len] = '\0';
    return OSMO_OK;
}

int jwt_split(const char *token, size_t len, struct jwt_parts *p, osmo_error_t *err) {
    const char *first = len <= TOKEN_MAX ? memchr(token, '.', len) : NULL;
    const char *second = first ? memchr(first + 1, '.', len - (size_t)(first + 1 - token)) : NULL;
    if (!second || memchr(second + 1, '.', len - (size_t)(second + 1 - token)))
        return osmo_error_set(err, OSMO_EUNAUTH, "the token is not a signed JWT");
    *p = (struct jwt_parts){ .header = token, .header_len = (size_t)(first - token), .claims = first + 1,
                             .claims_len = (size_t)(second - first - 1), .signature = second + 1,
                             .signature_len = len - (size_t)(second + 1 - token) };
    return OSMO_OK;
}

int jwt_part(const char *text, size_t len, json_t **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t raw = BUF_INIT(TOKEN_MAX);
    json_t *v = NULL;
    if (crypto_base64_decode(text, len, &raw, NULL) < 0 || json_parse(buf_cstr(&raw), raw.len, &v, NULL) < 0 ||
        json_kind(v) != JSON_OBJECT) {
        json_free(v);
        return osmo_error_set(err, OSMO_EUNAUTH, "the token is not a well-formed JWT");
    }
    *out = v;
    return OSMO_OK;
}

static bool claim_time(const json_t *claims, const char *name, double *out) {
    const json_t *v = json_get(claims, name);
    enum json_kind kind = json_kind(v);
    if (kind != JSON_INT && kind != JSON_DOUBLE)
        return false;
    *out = json_as_double(v, 0);
    return true;
}

int jwt_check_times(const json_t *claims, int64_t now_s, int64_t skew_s, osmo_error_t *err) {
    double t;
    if (json_has(claims, "exp")) {
        if (!claim_time(claims, "exp", &t))
            return osmo_error_set(err, OSMO_EUNAUTH, "the token has a malformed exp claim");
        if ((double)(now_s - skew_s) >= t)
            return osmo_error_set(err, OSMO_EUNAUTH, "the token has expired");
    }
    if (json_has(claims, "nbf")) {
        if (!claim_time(claims, "nbf", &t))
            return osmo_error_set(err, OSMO_EUNAUTH, "the token has a malformed nbf claim");
        if ((double)(now_s + skew_s) < t)
            return osmo_error_set(err, OSMO_EUNAUTH, "the token is not valid yet");
    }
    return OSMO_OK;
}

int jwt_peek(const char *token, size_t len, json_t **claims, osmo_error_t *err) {
    struct jwt_parts p;
    int rc = jwt_split(token, len, &p, err);
    return rc < 0 ? rc : jwt_part(p.claims, p.claims_len, claims, err);
}

int jwt_kid(const char *token, size_t len, char *kid, size_t size, osmo_error_t *err) {
    struct jwt_parts p;
    _cleanup_json_ json_t *header = NULL;
    int rc = jwt_split(token, len, &p, err);
    if (rc < 0 || (rc = jwt_part(p.header, p.header_len, &header, err)) < 0)
        return rc;
    const char *text = json_get_str(header, "kid");
    if (text && strlen(text) >= size)
        return osmo_error_set(err, OSMO_ENOTFOUND, "the token names a key with too long a name");
    memcpy(kid, text ? text : "", text ? strlen(text) + 1 : 1);
    return 0;
}
