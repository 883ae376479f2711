/* Insertion-ordered hash map; see map.h. Open addressing over an index of entries, tombstones in the entry list. */
#include "base/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "osmo/error.h"

struct entry { char *key; void *value; uint32_t hash; };
struct map {
    struct entry *entries;      /* key NULL: removed */
    size_t used, cap, live;
    uint32_t *index;            /* entry number + 1, 0 empty */
    size_t slots;               /* power of two */
    void (*free_value)(void *);
};

static uint32_t hash_of(const char *key) { /* FNV-1a */
    uint32_t h = 2166136261u;
    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 16777619u;
    return h;
}

map_t *map_new(void (*free_value)(void *)) {
    map_t *m = calloc(1, sizeof *m);
    if (m)
        m->free_value = free_value;
    return m;
}

void map_free(map_t *m) {
    if (!m)
        return;
    for (size_t i = 0; i < m->used; i++) {
        if (m->entries[i].key && m->free_value && m->entries[i].value)
            m->free_value(m->entries[i].value);
        free(m->entries[i].key);
    }
    free(m->entries);
    free(m->index);
    free(m);
}

static struct entry *find(const map_t *m, const char *key, uint32_t hash) {
    if (!m || !m->slots)
        return NULL;
    for (size_t s = hash & (m->slots - 1);; s = (s + 1) & (m->slots - 1)) {
        if (!m->index[s])
            return NULL;
        struct entry *e = &m->entries[m->index[s] - 1];
        if (e->key && e->hash == hash && strcmp(e->key, key) == 0)
            return e;
    }
}

/* Compact the entries and rebuild the index with room for one more. */
static int rebuild(map_t *m) {
    size_t want = m->live + 1, slots = 8;
    while (slots < want * 2)
        slots *= 2;
    uint32_t *index = calloc(slots, sizeof *index);
    struct entry *entries = calloc(slots, sizeof *entries);
    if (!index || !entries) {
        free(index);
        free(entries);
        return OSMO_ENOMEM;
    }
    size_t n = 0;
    for (size_t i = 0; i < m->used; i++) {
        if (!m->entries[i].key)
            continue;
        entries[n] = m->entries[i];
        size_t s = entries[n].hash & (slots - 1);
        while (index[s])
            s = (s + 1) & (slots - 1);
        index[s] = (uint32_t)++n;
    }
    free(m->entries);
    free(m->index);
    m->entries = entries;
    m->index = index;
    m->used = n;
    m->cap = slots / 2 + slots / 4;
    m->slots = slots;
    return 0;
}

int map_set(map_t *m, const char *key, void *value) {
    uint32_t hash = hash_of(key);
    struct entry *e = find(m, key, hash);
    if (e) {
        if (m->free_value && e->value && e->value != value)
            m->free_value(e->value);
        e->value = value;
        return 0;
    }
    char *copy = strdup(key);
    if (!copy || (m->used >= m->cap && rebuild(m))) {
        free(copy);
        if (m->free_value && value)
            m->free_value(value);
        return OSMO_ENOMEM;
    }
    m->entries[m->used] = (struct entry){ copy, value, hash };
    size_t s = hash & (m->slots - 1);
    while (m->index[s])
        s = (s + 1) & (m->slots - 1);
    m->index[s] = (uint32_t)++m->used;
    m->live++;
    return 0;
}

void *map_get(const map_t *m, const char *key) {
    struct entry *e = find(m, key, hash_of(key));
    return e ? e->value : NULL;
}

bool map_has(const map_t *m, const char *key) { return find(m, key, hash_of(key)) != NULL; }

void *map_take(map_t *m, const char *key) {
    struct entry *e = find(m, key, hash_of(key));
    if (!e)
        return NULL;
    void *value = e->value;
    free(e->key);
    *e = (struct entry){ NULL, NULL, 0 };
    m->live--;
    return value;
}

bool map_remove(map_t *m, const char *key) {
    if (!map_has(m, key))
        return false;
    void *value = map_take(m, key);
    if (m->free_value && value)
        m->free_value(value);
    return true;
}

size_t map_len(const map_t *m) { return m ? m->live : 0; }

bool map_next(const map_t *m, size_t *it, const char **key, void **value) {
    while (m && *it < m->used) {
        const struct entry *e = &m->entries[(*it)++];
        if (!e->key)
            continue;
        if (key)
            *key = e->key;
        if (value)
            *value = e->value;
        return true;
    }
    return false;
}
