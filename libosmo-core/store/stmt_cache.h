/* Prepared statements of one connection, found again by the text of their SQL, least recently used leaving
 * first. Used by the two drivers only. The address of the text is where to look first; the text is compared all
 * the same: built texts may share an address over time. */
#ifndef STORE_STMT_CACHE_H
#define STORE_STMT_CACHE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STMT_CACHE_MAX 192
#define STMT_CACHE_ADDRESSES 512

struct stmt {
    uint64_t hash, used;
    char *text;
    void *handle;    /* the driver's */
    unsigned busy;   /* rows are being read: neither reusable nor evictable */
};
struct stmt_cache {
    struct stmt *slots[STMT_CACHE_MAX];
    struct stmt *by_address[STMT_CACHE_ADDRESSES]; /* where a text at this address was found last */
    size_t n;
    uint64_t tick;
    void (*drop)(void *ctx, void *handle);
    void *ctx;
};

void stmt_cache_init(struct stmt_cache *c, void (*drop)(void *ctx, void *handle), void *ctx);
/* The cached statement for a text, or NULL. A busy one is returned too: the caller looks at `busy`. */
struct stmt *stmt_cache_find(struct stmt_cache *c, const char *text);
/* Takes the handle; evicts when full. NULL on no memory or when every slot is busy: the caller keeps the handle. */
struct stmt *stmt_cache_add(struct stmt_cache *c, const char *text, void *handle);
void stmt_cache_clear(struct stmt_cache *c);
#endif
