/* The only door to zstd: blocks of bytes that are compressed one by one, so that any of them can be had alone. For the segments of
 * the log store. */
#ifndef STORE_COMPRESS_H
#define STORE_COMPRESS_H
#include <stddef.h>
#include "base/buf.h"
#include "osmo/error.h"

struct compressor; /* of one thread */
struct compressor *compressor_new(void);
void compressor_free(struct compressor *c);
/* Appends the block in its compressed form, which carries a checksum; at most COMPRESS_BLOCK_MAX bytes. */
#define COMPRESS_BLOCK_MAX (256u << 20)
int compress_block(struct compressor *c, const void *data, size_t len, buf_t *out, osmo_error_t *err);
/* OSMO_EIO when it is not a block of exactly `len` bytes. */
int decompress_block(const void *data, size_t size, void *out, size_t len, osmo_error_t *err);
#endif
