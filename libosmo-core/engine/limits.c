/* How often one may ask; see limits.h. A bucket is one number: the time at which it would be full again if nothing more came (the
 * generic cell rate algorithm). Of a set of buckets the one that is full, or will be soonest, makes room, so that nobody gets rid of
 * what he owes by asking under many names. */
#include "engine/limits.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"

#define SETS 2048
#define WAYS 8
#define LOCKS 64
#define NS INT64_C(1000000000)
#define MAX_BURST 1000000

struct bucket { uint64_t key; int64_t full_ns; };
struct table {
    pthread_mutex_t locks[LOCKS];
    struct bucket sets[SETS][WAYS];
};
struct limits {
    uint64_t secret[2]; /* names are chosen by others: they must not be able to choose their bucket */
    int64_t (*clock)(void);
    struct table callers, peers;
};

/* ---- the arithmetic ---- */

/* One more at `now`, unless that makes more than `burst` at once: then how long until it does not. */
static bool take(struct bucket *b, int64_t now, int64_t each_ns, int64_t burst, int64_t *wait_ns) {
    int64_t full = b->full_ns > now ? b->full_ns : now;
    *wait_ns = full + each_ns - burst * each_ns - now;
    if (*wait_ns > 0)
        return false;
    b->full_ns = full + each_ns;
    return true;
}

static int64_t seconds_up(int64_t ns) {
    int64_t s = (ns + NS - 1) / NS;
    return s > 0 ? s : 1;
}

/* ---- the table ---- */

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void mix(uint64_t v[4], int rounds) {
    for (int i = 0; i < rounds; i++) {
        v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
        v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
    }
}

/* SipHash-1-3 of the parts, each with its length. */
static uint64_t key_of(const struct limits *l, const void *const *parts, const size_t *lens, size_t n) {
    uint64_t v[4] = { l->secret[0] ^ 0x736f6d6570736575u, l->secret[1] ^ 0x646f72616e646f6du,
                      l->secret[0] ^ 0x6c7967656e657261u, l->secret[1] ^ 0x7465646279746573u };
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = parts[i];
        size_t left = lens[i];
        do {
            uint64_t word = 0;
            size_t here = left < 7 ? left : 7;
            if (here)
                memcpy(&word, p, here);
            word |= (uint64_t)(here + (left > 7)) << 56; /* the last word of a part is told from the others */
            v[3] ^= word;
            mix(v, 1);
            v[0] ^= word;
            left -= here;
            p += here;
        } while (left > 0);
    }
    v[2] ^= 0xff;
    mix(v, 3);
    uint64_t key = v[0] ^ v[1] ^ v[2] ^ v[3];
    return key ? key : 1; /* 0 is a bucket that nobody has had */
}

static pthread_mutex_t *lock_of(struct table *t, uint64_t key) { return &t->locks[key % SETS % LOCKS]; }

/* Locked: the bucket of the key, or the one that gives way to it. */
static struct bucket *bucket_of(struct table *t, uint64_t key) {
    struct bucket *set = t->sets[key % SETS], *best = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].full_ns < best->full_ns)
            best = &set[i];
    }
    *best = (struct bucket){ .key = key };
    return best;
}

static void table_init(struct table *t) {
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&t->locks[i], NULL);
}

static void table_destroy(struct table *t) {
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&t->locks[i]);
}

int limits_open(engine_t *e, osmo_error_t *err) {
    struct limits *l = calloc(1, sizeof *l);
    if (!l)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    table_init(&l->callers);
    table_init(&l->peers);
    l->clock = clock_mono_us;
    e->limits = l;
    return crypto_random(l->secret, sizeof l->secret) < 0 ? osmo_error_set(err, OSMO_EIO, "no random numbers to be had") : 0;
}

void limits_close(engine_t *e) {
    struct limits *l = STEAL(e->limits);
    if (!l)
        return;
    table_destroy(&l->callers);
    table_destroy(&l->peers);
    free(l);
}

void limits_clock(engine_t *e, int64_t (*mono_us)(void)) { e->limits->clock = mono_us; }

/* ---- callers ---- */

static uint64_t caller_key(const struct limits *l, const struct identity *who) {
    const char *names[] = { who->user, who->workflow_id, who->backend };
    const void *parts[ARRAY_SIZE(names)];
    size_t lens[ARRAY_SIZE(names)];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        parts[i] = names[i];
        lens[i] = names[i] ? strlen(names[i]) : 0;
    }
    return key_of(l, parts, lens, ARRAY_SIZE(names));
}

bool limits_take(engine_t *e, const struct identity *who, int64_t *retry_after_s) {
    const struct settings *s = engine_settings(e);
    int64_t rate = s->request_rate, burst = s->request_burst, wait_ns;
    engine_settings_put(s);
    *retry_after_s = 0;
    if (rate <= 0)
        return true;
    struct limits *l = e->limits;
    uint64_t key = caller_key(l, who);
    int64_t each_ns = rate < NS ? NS / rate : 1;
    burst = burst < 1 ? 1 : burst < MAX_BURST ? burst : MAX_BURST;
    pthread_mutex_lock(lock_of(&l->callers, key));
    bool may = take(bucket_of(&l->callers, key), l->clock() * 1000, each_ns, burst, &wait_ns);
    pthread_mutex_unlock(lock_of(&l->callers, key));
    if (!may)
        *retry_after_s = seconds_up(wait_ns);
    return may;
}

/* ---- peers ---- */

/* Of IPv6 the network: an end user has that many addresses. */
static uint64_t peer_key(const struct limits *l, const char *peer) {
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
    unsigned char address[16];
    const void *part = address;
    size_t len = 4;
    peer = peer ? peer : "";
    if (inet_pton(AF_INET, peer, address) == 1) {
        len = 4;
    } else if (inet_pton(AF_INET6, peer, address) == 1) {
        bool is_v4 = memcmp(address, mapped, sizeof mapped) == 0, is_self = strcmp(peer, "::1") == 0;
        part = is_v4 ? address + 12 : address;
        len = is_v4 ? 4 : is_self ? 16 : 8;
    } else {
        part = peer;
        len = strlen(peer);
    }
    return key_of(l, &part, &len, 1);
}

static int64_t refused_rate(engine_t *e) {
    const struct settings *s = engine_settings(e);
    int64_t rate = s->refused_rate;
    engine_settings_put(s);
    return rate;
}

bool limits_may_prove(engine_t *e, const char *peer, int64_t *retry_after_s) {
    int64_t rate = refused_rate(e), wait_ns;
    *retry_after_s = 0;
    if (rate <= 0 || auth_trusts_gateway(e, peer)) /* behind a gateway one guesser would lock out everybody */
        return true;
    struct limits *l = e->limits;
    uint64_t key = peer_key(l, peer);
    pthread_mutex_lock(lock_of(&l->peers, key));
    struct bucket look = { 0 };
    for (size_t i = 0; i < WAYS; i++) {
        if (l->peers.sets[key % SETS][i].key == key)
            look = l->peers.sets[key % SETS][i];
    }
    pthread_mutex_unlock(lock_of(&l->peers, key));
    bool may = take(&look, l->clock() * 1000, 60 * NS / rate, rate, &wait_ns);
    if (!may)
        *retry_after_s = seconds_up(wait_ns);
    return may;
}

void limits_refused(engine_t *e, const char *peer) {
    int64_t rate = refused_rate(e), wait_ns;
    if (rate <= 0)
        return;
    struct limits *l = e->limits;
    uint64_t key = peer_key(l, peer);
    pthread_mutex_lock(lock_of(&l->peers, key));
    (void)take(bucket_of(&l->peers, key), l->clock() * 1000, 60 * NS / rate, rate, &wait_ns); /* full is full */
    pthread_mutex_unlock(lock_of(&l->peers, key));
}
