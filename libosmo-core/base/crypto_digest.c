/* Digests of what comes in pieces, by OpenSSL; declared in crypto.h. Everybody may call it; one digest belongs to one thread at a time. */
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/error.h"

struct crypto_digest { EVP_MD *md; EVP_MD_CTX *ctx; };

int crypto_digest_new(enum crypto_digest_kind kind, crypto_digest_t **out, osmo_error_t *err) {
    static const char *const names[] = { [CRYPTO_MD5] = "MD5", [CRYPTO_SHA256] = "SHA256" };
    crypto_digest_t *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return no_memory(err);
    d->md = EVP_MD_fetch(NULL, names[kind], NULL);
    d->ctx = EVP_MD_CTX_new();
    if (!d->md || !d->ctx || !EVP_DigestInit_ex(d->ctx, d->md, NULL)) {
        crypto_digest_free(d);
        return osmo_error_set(err, OSMO_EUNAVAIL, "OpenSSL on this system does not offer %s", names[kind]);
    }
    *out = d;
    return 0;
}

void crypto_digest_free(crypto_digest_t *d) {
    if (!d)
        return;
    EVP_MD_CTX_free(d->ctx);
    EVP_MD_free(d->md);
    free(d);
}

void crypto_digest_add(crypto_digest_t *d, const void *data, size_t len) {
    if (!EVP_DigestUpdate(d->ctx, data, len))
        abort(); /* a wrong digest must never leave this file */
}

size_t crypto_digest_take(crypto_digest_t *d, uint8_t out[32]) {
    unsigned len = 0;
    if (!EVP_DigestFinal_ex(d->ctx, out, &len) || !EVP_DigestInit_ex(d->ctx, d->md, NULL))
        abort();
    return len;
}
