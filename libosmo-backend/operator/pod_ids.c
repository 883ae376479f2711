/* Packed ids; see pod_ids.h. One byte for each says how it is kept: its length, 0 = none, or HEX for 16 bytes that
 * stand for 32 digits. */
#include "operator/pod_ids.h"
#include <string.h>
#include "base/hash.h"
#include "base/str.h"

#define HEX 0xffu

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool to_binary(const char *text, uint8_t out[16]) {
    for (int i = 0; i < 16; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

struct pod_ids pod_ids_of(const pod_facts_t *pod) {
    struct pod_ids ids = { .retry = pod_facts_retry(pod) };
    for (int i = 0; i < LABEL_KEPT; i++)
        ids.label[i] = pod->labels[i];
    return ids;
}

size_t pod_ids_pack(const pod_facts_t *pod, uint8_t out[POD_IDS_MAX]) {
    size_t used = 0;
    for (int i = 0; i < LABEL_KEPT; i++) {
        const char *text = fact_text(pod->labels[i]);
        size_t len = strlen(text);
        if (len == 32 && to_binary(text, out + used + 1)) {
            out[used] = HEX;
            used += 17;
        } else {
            out[used] = (uint8_t)len; /* at most 253 */
            memcpy(out + used + 1, text, len);
            used += 1 + len;
        }
    }
    return used;
}

struct pod_ids pod_ids_unpack(const uint8_t *packed, size_t len, struct pod_unpacked *texts) {
    static const char digits[] = "0123456789abcdef";
    struct pod_ids ids = { .retry = 0 };
    const uint8_t *p = packed, *end = packed + len;
    for (int i = 0; i < LABEL_KEPT && p < end; i++) {
        char *to = texts->text[i];
        size_t n = *p++;
        if (n == HEX) {
            for (n = 0; n < 32; n++)
                to[n] = digits[p[n / 2] >> (n % 2 ? 0 : 4) & 15];
            p += 16;
        } else {
            memcpy(to, p, n);
            p += n;
        }
        to[n] = '\0';
        ids.label[i] = n ? to : NULL;
    }
    if (!ids.label[LABEL_RETRY] || !str_to_i64(ids.label[LABEL_RETRY], &ids.retry))
        ids.retry = 0;
    return ids;
}

uint64_t pod_ids_mix(uint64_t hash, const char *text) {
    hash = text ? hash_bytes(hash ^ HASH_START, text, strlen(text)) : hash ^ 7809847782465536322u;
    hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9u;
    return hash ? hash : 1;
}

uint64_t pod_ids_hash(const char *text) { return text ? pod_ids_mix(0, text) : 0; }
