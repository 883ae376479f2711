/* Fuzz entry: the small readers of one value: tokens, base64, URLs, times, numbers, patterns, log lines. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/http.h"
#include "base/re.h"
#include "base/str.h"
#include "model/logline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const rsa_key_t *key(void) {
    static rsa_key_t *k;
    if (!k && rsa_key_generate(2048, &k, NULL) < 0)
        abort();
    return k;
}

/* As a token; and what is a JSON object as claims, which the signature must carry. */
static void token(const char *text, size_t len) {
    json_t *claims = NULL, *back = NULL;
    buf_t jwt = BUF_INIT(1u << 20);
    if (jwt_verify(key(), text, len, 0, 0, &claims, NULL) >= 0)
        abort(); /* nobody signs by chance */
    if (jwt_peek(text, len, &claims, NULL) >= 0)
        json_free(claims);
    claims = NULL;
    if (json_parse(text, len, &claims, NULL) >= 0 && json_kind(claims) == JSON_OBJECT &&
        jwt_sign(key(), claims, &jwt, NULL) >= 0) {
        if (jwt_verify(key(), jwt.data, jwt.len, 0, INT32_MAX, &back, NULL) >= 0 && !json_equal(claims, back))
            abort();
    }
    json_free(back);
    json_free(claims);
    buf_free(&jwt);
}

static void same(const buf_t *b, const char *text, size_t len, int rc) {
    if (rc < 0 || b->len != len || (len && memcmp(b->data, text, len)))
        abort();
}

static void codings(const char *text, size_t len) {
    buf_t coded = BUF_INIT(1u << 20), back = BUF_INIT(1u << 20);
    crypto_base64_decode(text, len, &back, NULL);
    buf_reset(&back);
    crypto_base64url(text, len, &coded);
    int rc = crypto_base64_decode(buf_cstr(&coded), coded.len, &back, NULL);
    same(&back, text, len, rc);
    buf_reset(&back);
    buf_reset(&coded);
    url_decode(text, len, true, &back);
    if (!memchr(text, '\0', len)) {
        char *whole = strndup(text, len);
        buf_reset(&back);
        rc = whole ? url_encode(whole, &coded) : -1;
        if (rc >= 0)
            rc = url_decode(buf_cstr(&coded), coded.len, true, &back);
        same(&back, text, len, rc);
        free(whole);
    }
    buf_free(&coded);
    buf_free(&back);
}

static void values(const char *text) {
    url_parts_t url;
    int64_t n, us;
    url_parse(text, &url, NULL);
    time_parse(text, &us);
    str_to_i64(text, &n);
}

static void pattern(const char *text, size_t len) {
    re_t *re = NULL;
    if (re_compile(text, &re, NULL) < 0)
        return;
    re_find(re, text, len);
    re_fullmatch(re, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 32);
    re_free(re);
}

static void line(const char *text, size_t len) {
    buf_t out = BUF_INIT(1u << 20);
    size_t n;
    char *clean = utf8_repair(text, len, &n);
    if (!clean || !utf8_valid(clean, n))
        abort();
    io_type_parse(clean);
    for (int type = IO_STDOUT; type <= IO_DUMP; type++)
        if (logline_render(0, "task", type % 3, type, text, len, &out) < 0 || out.data[out.len - 1] != '\n')
            abort();
    buf_free(&out);
    free(clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = strndup((const char *)data, size);
    if (!text)
        return 0;
    token((const char *)data, size);
    codings((const char *)data, size);
    values(text);
    pattern(text, strlen(text));
    line((const char *)data, size);
    free(text);
    return 0;
}
