/* Identities that were proved, by the digest of what proved them, so that a caller pays for a signature and for the store once. A table
 * of fixed size in sets of four; the one that was asked for least recently makes room. Called by auth_identify.c and auth_lookup.c. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/identity_internal.h"

#define SETS 1024
#define WAYS 4

struct entry { uint8_t hash[32]; int64_t until_s; uint64_t used; struct identity who; bool full; };
struct set { pthread_mutex_t lock; uint64_t clock; struct entry ways[WAYS]; };
struct cache { struct set sets[SETS]; };

int cache_new(struct cache **out) {
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < SETS; i++)
        pthread_mutex_init(&c->sets[i].lock, NULL);
    *out = c;
    return 0;
}

void cache_free(struct cache *c) {
    if (!c)
        return;
    for (size_t i = 0; i < SETS; i++) {
        for (size_t k = 0; k < WAYS; k++)
            identity_clear(&c->sets[i].ways[k].who);
        pthread_mutex_destroy(&c->sets[i].lock);
    }
    free(c);
}

static struct set *set_of(struct cache *c, const uint8_t hash[32]) {
    return &c->sets[(hash[0] | (size_t)hash[1] << 8) % SETS];
}

static struct entry *find(struct set *s, const uint8_t hash[32]) {
    for (size_t i = 0; i < WAYS; i++) {
        if (s->ways[i].full && !memcmp(s->ways[i].hash, hash, 32))
            return &s->ways[i];
    }
    return NULL;
}

bool cache_get(struct cache *c, const uint8_t hash[32], int64_t now_s, struct identity *out, int64_t *until_s) {
    struct set *s = set_of(c, hash);
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(s, hash);
    bool found = e && now_s < e->until_s && identity_copy(&e->who, out) >= 0;
    if (found) {
        e->used = ++s->clock;
        *until_s = e->until_s;
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void cache_drop(struct cache *c, enum identity_kind kind) {
    for (size_t i = 0; i < SETS; i++) {
        struct set *s = &c->sets[i];
        pthread_mutex_lock(&s->lock);
        for (size_t k = 0; k < WAYS; k++) {
            if (s->ways[k].full && s->ways[k].who.kind == kind) {
                identity_clear(&s->ways[k].who);
                s->ways[k].full = false;
            }
        }
        pthread_mutex_unlock(&s->lock);
    }
}

void cache_put(struct cache *c, const uint8_t hash[32], int64_t until_s, const struct identity *who) {
    struct set *s = set_of(c, hash);
    struct identity copy;
    if (identity_copy(who, &copy) < 0)
        return; /* the next request proves itself again */
    pthread_mutex_lock(&s->lock);
    struct entry *victim = find(s, hash);
    if (victim && victim->who.confirmed_us > copy.confirmed_us) {
        pthread_mutex_unlock(&s->lock); /* somebody was faster and knows better */
        identity_clear(&copy);
        return;
    }
    for (size_t i = 0; !victim && i < WAYS; i++) {
        if (!s->ways[i].full)
            victim = &s->ways[i];
    }
    if (!victim) {
        victim = &s->ways[0];
        for (size_t i = 1; i < WAYS; i++) {
            if (s->ways[i].used < victim->used)
                victim = &s->ways[i];
        }
    }
    identity_clear(&victim->who);
    victim->who = copy;
    memcpy(victim->hash, hash, 32);
    victim->until_s = until_s;
    victim->full = true;
    victim->used = ++s->clock;
    pthread_mutex_unlock(&s->lock);
}
