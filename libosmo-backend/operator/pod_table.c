/* Table of pods; see pod_table.h. An open index of item numbers over one array of keys and items; the last item fills
 * the hole of one that goes. */
#include "operator/pod_table.h"
#include <stdlib.h>
#include <string.h>
#include "operator/pod_ids.h"

#define FIRST 16u
#define MAX_COUNT (1u << 24)

struct pod_table {
    size_t stride, count, cap; /* of the items: key, then what the caller keeps */
    unsigned char *items;
    uint32_t *index;           /* item number + 1, 0 = empty */
    size_t slots;              /* a power of two, or 0 */
};

/* ---- keys ---- */

static int digit(char c) {
    c |= 0x20;
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 8-4-4-4-12 hexadecimal digits. */
static bool read_uuid(const char *s, struct pod_key *out) {
    uint64_t half[2] = { 0 };
    int n = 0;
    if (strlen(s) != 36)
        return false;
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (s[i] != '-')
                return false;
            continue;
        }
        int d = digit(s[i]);
        if (d < 0)
            return false;
        half[n / 16] = half[n / 16] << 4 | (uint64_t)d;
        n++;
    }
    *out = (struct pod_key){ half[0], half[1] };
    return true;
}

bool pod_key_of(const pod_facts_t *pod, struct pod_key *out) {
    if (pod->uid && read_uuid(pod->uid, out))
        return true;
    if (!pod->uid && !pod->name)
        return false;
    const char *first = pod->uid ? pod->uid : fact_text(pod->namespace_), *second = pod->uid ? NULL : pod->name;
    out->a = pod_ids_mix(pod_ids_mix(1, first), second);
    out->b = pod_ids_mix(pod_ids_mix(2, second), first);
    return true;
}

/* ---- the table ---- */

pod_table_t *pod_table_new(size_t item_size) {
    pod_table_t *t = calloc(1, sizeof *t);
    if (t)
        t->stride = sizeof(struct pod_key) + (item_size + 7) / 8 * 8;
    return t;
}

void pod_table_free(pod_table_t *t) {
    if (!t)
        return;
    free(t->items);
    free(t->index);
    free(t);
}

size_t pod_table_count(const pod_table_t *t) { return t ? t->count : 0; }

static struct pod_key *key_at(const pod_table_t *t,
    size_t i) { return (struct pod_key *)(void *)(t->items + i * t->stride); }

void *pod_table_at(const pod_table_t *t, size_t i) { return key_at(t, i) + 1; }

static size_t home(const pod_table_t *t, struct pod_key key) {
    return (size_t)((key.a ^ key.b * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u >> 24) & (t->slots - 1);
}

/* The slot of a key, or the empty one where it would be. */
static size_t find(const pod_table_t *t, struct pod_key key) {
    size_t s = home(t, key);
    for (; t->index[s]; s = (s + 1) & (t->slots - 1)) {
        const struct pod_key *k = key_at(t, t->index[s] - 1);
        if (k->a == key.a && k->b == key.b)
            break;
    }
    return s;
}

void *pod_table_get(const pod_table_t *t, struct pod_key key) {
    size_t s = t->slots ? find(t, key) : 0;
    return t->slots && t->index[s] ? pod_table_at(t, t->index[s] - 1) : NULL;
}

static bool grow_index(pod_table_t *t) {
    if (t->slots && (t->count + 1) * 4 <= t->slots * 3)
        return true;
    uint32_t *index = calloc(t->slots ? t->slots * 2 : FIRST * 2, sizeof *index);
    if (!index)
        return false;
    free(t->index);
    t->index = index;
    t->slots = t->slots ? t->slots * 2 : FIRST * 2;
    for (size_t i = 0; i < t->count; i++)
        t->index[find(t, *key_at(t, i))] = (uint32_t)i + 1;
    return true;
}

static bool resize_items(pod_table_t *t, size_t cap) {
    unsigned char *items = realloc(t->items, cap * t->stride);
    if (!items)
        return false;
    t->items = items;
    t->cap = cap;
    return true;
}

void *pod_table_add(pod_table_t *t, struct pod_key key) {
    if (t->count >= MAX_COUNT || !grow_index(t) || (t->count == t->cap && !resize_items(t,
        t->cap + t->cap / 4 + FIRST)))
        return NULL;
    t->index[find(t, key)] = (uint32_t)t->count + 1;
    *key_at(t, t->count) = key;
    return memset(pod_table_at(t, t->count++), 0, t->stride - sizeof key);
}

/* Empties a slot; those behind it that would not be found any more move up. */
static void empty_slot(pod_table_t *t, size_t hole) {
    size_t mask = t->slots - 1;
    for (size_t s = (hole + 1) & mask; t->index[s]; s = (s + 1) & mask) {
        size_t from = home(t, *key_at(t, t->index[s] - 1));
        if (((s - from) & mask) >= ((s - hole) & mask)) {
            t->index[hole] = t->index[s];
            hole = s;
        }
    }
    t->index[hole] = 0;
}

void pod_table_remove(pod_table_t *t, struct pod_key key) {
    size_t s = t->slots ? find(t, key) : 0;
    if (!t->slots || !t->index[s])
        return;
    size_t i = t->index[s] - 1, last = t->count - 1;
    empty_slot(t, s);
    if (i != last) {
        t->index[find(t, *key_at(t, last))] = (uint32_t)i + 1;
        memcpy(key_at(t, i), key_at(t, last), t->stride);
    }
    t->count = last;
    if (t->cap > 4 * FIRST && t->count < t->cap / 4)
        resize_items(t, t->cap / 2);
}
