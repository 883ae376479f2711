/* Fuzz entry: sealed texts. The first byte says what the rest is: a sealed text for a fixed key; a change of a genuine one (place, length,
 * what comes instead); a secret to be sealed and opened; a key as JSON. Nothing that was changed is opened. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[] = "the one secret that was ever sealed";
static struct seal_key key = { .kid = "fixed" };
static buf_t genuine = BUF_INIT(1u << 16);

static void prepare(void) {
    if (genuine.len)
        return;
    for (size_t i = 0; i < SEAL_KEY_SIZE; i++)
        key.key[i] = (uint8_t)(i * 7 + 1);
    if (seal(&key, secret, sizeof secret - 1, &genuine, NULL) < 0)
        abort();
}

/* The committed inputs have texts that were sealed under the key, all of the same secret. */
static void open_text(const char *text, size_t len) {
    buf_t out = BUF_INIT(SEAL_TEXT_MAX);
    char kid[SEAL_KID_MAX];
    int known = sealed_kid(text, len, kid, NULL), rc = unseal(&key, text, len, &out, NULL);
    if (known >= 0 && memchr(kid, '\0', sizeof kid) == NULL)
        abort();
    if (rc >= 0 && (known < 0 || strcmp(kid, key.kid) || out.len != sizeof secret - 1 || memcmp(out.data, secret, out.len)))
        abort();
    if (rc < 0 && out.len)
        abort();
    buf_free(&out);
}

static void change(const uint8_t *data, size_t size) {
    buf_t text = BUF_INIT(1u << 20);
    if (size < 3)
        return;
    size_t at = ((size_t)data[0] << 8 | data[1]) % (genuine.len + 1), cut = data[2];
    if (cut > genuine.len - at)
        cut = genuine.len - at;
    buf_append(&text, genuine.data, at);
    buf_append(&text, data + 3, size - 3);
    buf_append(&text, genuine.data + at + cut, genuine.len - at - cut);
    if (!buf_failed(&text))
        open_text(buf_cstr(&text), text.len);
    buf_free(&text);
}

static void carry(const void *data, size_t size) {
    buf_t text = BUF_INIT(SEAL_TEXT_MAX * 2), back = BUF_INIT(SEAL_TEXT_MAX);
    struct seal_key other = key;
    if (seal(&key, data, size, &text, NULL) >= 0) {
        if (unseal(&key, text.data, text.len, &back, NULL) < 0 || back.len != size || (size && memcmp(back.data, data, size)))
            abort();
        other.key[0] ^= 1;
        if (unseal(&other, text.data, text.len, &back, NULL) >= 0)
            abort();
    }
    buf_free(&text);
    buf_free(&back);
}

static void read_key(const char *text, size_t len) {
    struct seal_key k, again;
    buf_t out = BUF_INIT(4096);
    if (seal_key_parse(text, len, &k, NULL) < 0)
        return;
    if (seal_key_write(&k, &out, NULL) < 0 || seal_key_parse(out.data, out.len, &again, NULL) < 0 || strcmp(k.kid, again.kid) ||
        memcmp(k.key, again.key, sizeof k.key))
        abort();
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    prepare();
    if (!size)
        return 0;
    const char *rest = (const char *)data + 1;
    switch (data[0] % 4) {
    case 0: open_text(rest, size - 1); break;
    case 1: change(data + 1, size - 1); break;
    case 2: carry(rest, size - 1); break;
    default: read_key(rest, size - 1); break;
    }
    return 0;
}
