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
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0u);
        char group[4] = { alphabet[v >> 18], alphabet[v >> 12 & 63], alphabet[v >> 6 & 63], alphabet[v & 63] };
        if (n < 3)
            group[3] = '=';
        if (n < 2)
            group[2] = '=';
        buf_append(out, group, pad ? 4 : n + 1);
    }
    buf_append(out, "", 0);
    return out->code;
}

int crypto_base64(const void *data, size_t len, buf_t *out) {
    return base64_encode(data, len, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true, out);
}

int crypto_base64url(const void *data, size_t len, buf_t *out) {
    return base64_encode(data, len, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", false, out);
}

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

int crypto_base64_decode(const char *text, size_t len, buf_t *out, osmo_error_t *err) {
    size_t pads = 0;
    while (len > 0 && pads < 2 && text[len - 1] == '=') {
        len--;
        pads++;
    }
    if (len % 4 == 1 || (pads && (len + pads) % 4))
        return osmo_error_set(err, OSMO_EINVAL, "base64 text has an impossible length");
    uint32_t v = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = base64_value(text[i]);
        if (digit < 0)
            return osmo_error_set(err, OSMO_EINVAL, "base64 text has a bad character at position %zu", i);
        v = v << 6 | (uint32_t)digit;
        if (i % 4)
            buf_putc(out, (char)(uint8_t)(v >> (6 - 2 * (i % 4))));
    }
    /* Bits left over in the last group must be zero, or two texts would decode to the same bytes. */
    if ((len % 4 == 2 && (v & 15)) || (len % 4 == 3 && (v & 3)))
        return osmo_error_set(err, OSMO_EINVAL, "base64 text has stray bits at its end");
    return out->code ? osmo_error_set(err, out->code, "base64 text is too large") : OSMO_OK;
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
