/* A table with open addressing of one block for each object; see known.h. */
#include "cluster/kubernetes/known.h"

#include <stdlib.h>
#include <string.h>

struct known { struct known_one **slots; size_t len, cap; /* a power of two, at most three quarters full */ };

known_t *known_new(void) { return calloc(1, sizeof(known_t)); }

void known_free(known_t *k) {
    for (size_t i = 0; k && i < k->cap; i++)
        free(k->slots[i]);
    if (k)
        free(k->slots);
    free(k);
}

size_t known_len(const known_t *k) { return k->len; }

static size_t find(const known_t *k, uint64_t hash, const char *key) {
    size_t i = hash & (k->cap - 1);
    while (k->slots[i] && (k->slots[i]->hash != hash || strcmp(k->slots[i]->key, key) != 0))
        i = (i + 1) & (k->cap - 1);
    return i;
}

struct known_one *known_get(const known_t *k, const char *key) {
    return k->cap ? k->slots[find(k, meta_hash(key, strlen(key)), key)] : NULL;
}

static int resize(known_t *k, size_t cap) {
    struct known_one **old = k->slots;
    size_t n = k->cap;
    struct known_one **slots = calloc(cap, sizeof *slots);
    if (!slots)
        return OSMO_ENOMEM;
    k->slots = slots;
    k->cap = cap;
    for (size_t i = 0; i < n; i++)
        if (old[i])
            slots[find(k, old[i]->hash, old[i]->key)] = old[i];
    free(old);
    return 0;
}

struct known_one *known_add(known_t *k, const char *key, const struct meta *m, uint32_t round) {
    unsigned char uid[16] = { 0 };
    size_t len = strlen(key);
    bool odd = !meta_uuid(&m->uid, uid);
    if (4 * (k->len + 1) > 3 * k->cap && resize(k, k->cap ? 2 * k->cap : 64) < 0)
        return NULL;
    struct known_one *one = malloc(sizeof *one + len + 1 + (odd ? m->uid.len + 1 : 0));
    if (!one)
        return NULL;
    *one = (struct known_one){ .hash = meta_hash(key, len), .version = meta_hash(m->version.text, m->version.len), .round = round };
    one->odd = odd;
    memcpy(one->uid, uid, sizeof uid);
    memcpy(one->key, key, len + 1);
    if (odd) {
        if (m->uid.len)
            memcpy(one->key + len + 1, m->uid.text, m->uid.len);
        one->key[len + 1 + m->uid.len] = '\0';
    }
    k->slots[find(k, one->hash, key)] = one;
    k->len++;
    return one;
}

/* Those behind it move up, so that no search ends too early. */
static void take_out(known_t *k, size_t hole) {
    size_t mask = k->cap - 1;
    for (size_t i = (hole + 1) & mask; k->slots[i]; i = (i + 1) & mask) {
        size_t home = k->slots[i]->hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        k->slots[hole] = k->slots[i];
        hole = i;
    }
    k->slots[hole] = NULL;
    k->len--;
}

void known_remove(known_t *k, const char *key) {
    if (!k->cap)
        return;
    size_t i = find(k, meta_hash(key, strlen(key)), key);
    struct known_one *one = k->slots[i];
    if (one)
        take_out(k, i);
    free(one);
}

bool known_is(const struct known_one *one, const struct meta *m) {
    unsigned char uid[16];
    if (one->odd) {
        const char *text = one->key + strlen(one->key) + 1;
        return strlen(text) == m->uid.len && memcmp(text, m->uid.len ? m->uid.text : "", m->uid.len) == 0;
    }
    return meta_uuid(&m->uid, uid) && memcmp(uid, one->uid, sizeof uid) == 0;
}

void known_text(const struct known_one *one, buf_t *out) {
    const char *slash = strchr(one->key, '/');
    buf_puts(out, "{\"metadata\":{");
    if (slash != one->key)
        buf_printf(out, "\"namespace\":\"%.*s\",", (int)(slash - one->key), one->key);
    buf_printf(out, "\"name\":\"%s\",\"uid\":\"", slash + 1);
    if (one->odd)
        buf_puts(out, one->key + strlen(one->key) + 1);
    for (size_t i = 0; !one->odd && i < sizeof one->uid; i++)
        buf_printf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", one->uid[i]);
    buf_puts(out, "\"}}");
}

/* After a hole was closed its place is looked at again. What moves past the end of the table is one that was looked at already. */
struct known_one *known_stale(known_t *k, uint32_t round, size_t *it) {
    for (; *it < k->cap; ++*it) {
        struct known_one *one = k->slots[*it];
        if (one && one->round != round) {
            take_out(k, *it);
            return one;
        }
    }
    return NULL;
}

void known_drop(struct known_one *one) { free(one); }
