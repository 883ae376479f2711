/* A small table of prepared statements: most texts are constants and found by their address; for the others a scan over the
 * hashes of a few dozen is enough. */
#include "base/hash.h"
#include "store/stmt_cache.h"
#include <stdlib.h>
#include <string.h>

static uint64_t text_hash(const char *text) { return hash_bytes(HASH_START, text, strlen(text)); }

void stmt_cache_init(struct stmt_cache *c, void (*drop)(void *ctx, void *handle), void *ctx) {
    memset(c, 0, sizeof(*c));
    c->drop = drop;
    c->ctx = ctx;
}

static struct stmt **place_of(struct stmt_cache *c, const char *text) {
    uint64_t address = (uintptr_t)text;
    return &c->by_address[(address * 0x9e3779b97f4a7c15u >> 32) % STMT_CACHE_ADDRESSES];
}

static struct stmt *find_text(struct stmt_cache *c, const char *text) {
    uint64_t h = text_hash(text);
    for (size_t i = 0; i < c->n; i++) {
        struct stmt *s = c->slots[i];
        if (s->hash == h && strcmp(s->text, text) == 0)
            return s;
    }
    return NULL;
}

struct stmt *stmt_cache_find(struct stmt_cache *c, const char *text) {
    struct stmt **place = place_of(c, text);
    if (!*place || strcmp((*place)->text, text) != 0) {
        struct stmt *s = find_text(c, text);
        if (!s)
            return NULL;
        *place = s;
    }
    (*place)->used = ++c->tick;
    return *place;
}

static void free_at(struct stmt_cache *c, size_t i) {
    struct stmt *s = c->slots[i];
    for (size_t k = 0; k < STMT_CACHE_ADDRESSES; k++)
        if (c->by_address[k] == s)
            c->by_address[k] = NULL;
    c->drop(c->ctx, s->handle);
    free(s->text);
    free(s);
    c->slots[i] = c->slots[--c->n];
}

static bool evict_oldest(struct stmt_cache *c) {
    size_t oldest = c->n;
    for (size_t i = 0; i < c->n; i++) {
        if (!c->slots[i]->busy && (oldest == c->n || c->slots[i]->used < c->slots[oldest]->used))
            oldest = i;
    }
    if (oldest == c->n)
        return false;
    free_at(c, oldest);
    return true;
}

struct stmt *stmt_cache_add(struct stmt_cache *c, const char *text, void *handle) {
    if (c->n == STMT_CACHE_MAX && !evict_oldest(c))
        return NULL;
    struct stmt *s = calloc(1, sizeof(*s));
    char *copy = strdup(text);
    if (!s || !copy) {
        free(s);
        free(copy);
        return NULL;
    }
    *s = (struct stmt){ .hash = text_hash(text), .used = ++c->tick, .text = copy, .handle = handle };
    c->slots[c->n++] = s;
    return s;
}

void stmt_cache_clear(struct stmt_cache *c) {
    while (c->n)
        free_at(c, c->n - 1);
}
