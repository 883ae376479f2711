/* CRC-32C; see crc32c.h. Everybody may call it. */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t (*best)(uint32_t crc, const uint8_t *p, size_t len);

/* Eight bytes a step: byte i of them has its own table. */
static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t len) {
    for (; len >= 8; p += 8, len -= 8)
        crc = table[7][(crc ^ p[0]) & 255] ^ table[6][((crc >> 8) ^ p[1]) & 255] ^ table[5][((crc >> 16) ^ p[2]) & 255] ^
              table[4][(crc >> 24) ^ p[3]] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    for (; len; p++, len--)
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_processor(uint32_t crc, const uint8_t *p, size_t len) {
    uint64_t wide = crc, word;
    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    for (crc = (uint32_t)wide; len; p++, len--)
        crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}
static bool processor_can(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
static uint32_t by_processor(uint32_t crc, const uint8_t *p, size_t len) {
    uint64_t word;
    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&word, p, 8);
        crc = __crc32cd(crc, word);
    }
    for (; len; p++, len--)
        crc = __crc32cb(crc, *p);
    return crc;
}
static bool processor_can(void) { return true; }
#else
#define by_processor by_table
static bool processor_can(void) { return false; }
#endif

static void prepare(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
    best = processor_can() ? by_processor : by_table;
}

uint32_t crc32c(uint32_t before, const void *data, size_t len) {
    pthread_once(&once, prepare);
    return ~best(~before, data, len);
}
