/* See compress.h. */
#include "store/compress.h"

#include <zstd.h>

#define LEVEL 3 /* logs become a tenth; higher levels cost more than they save */



static ZSTD_CCtx *context(struct compressor *c) { return (ZSTD_CCtx *)c; }

struct compressor *compressor_new(void) {
    ZSTD_CCtx *c = ZSTD_createCCtx();
    if (c && (ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, LEVEL)) ||
              ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1)))) {
        ZSTD_freeCCtx(c);
        return NULL;
    }
    return (struct compressor *)c;
}

void compressor_free(struct compressor *c) { ZSTD_freeCCtx(context(c)); }

int compress_block(struct compressor *c, const void *data, size_t len, buf_t *out, osmo_error_t *err) {
    size_t room = ZSTD_compressBound(len);
    if (len > COMPRESS_BLOCK_MAX || buf_reserve(out, room) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    size_t n = ZSTD_compress2(context(c), out->data + out->len, room, data, len);
    if (ZSTD_isError(n))
        return osmo_error_set(err, OSMO_EIO, "cannot compress: %s", ZSTD_getErrorName(n));
    out->len += n;
    out->data[out->len] = '\0';
    return 0;
}

int decompress_block(const void *data, size_t size, void *out, size_t len, osmo_error_t *err) {
    size_t n = ZSTD_decompress(out, len, data, size);
    if (ZSTD_isError(n))
        return osmo_error_set(err, OSMO_EIO, "cannot decompress: %s", ZSTD_getErrorName(n));
    return n == len ? 0 : osmo_error_set(err, OSMO_EIO, "a compressed block has %zu bytes instead of %zu", n, len);
}
