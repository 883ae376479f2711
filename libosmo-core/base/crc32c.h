/* CRC-32C (Castagnoli) of bytes; starts with 0, goes on with what came before. By the processor's instruction where it has one. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t before, const void *data, size_t len);
#endif
