/* Shared by replica_channel.c (what is sent to other replicas and received from them) and replica_hints.c (what it
 * means here). */
#ifndef ENGINE_REPLICA_INTERNAL_H
#define ENGINE_REPLICA_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>
#include "base/http.h"
#include "engine/engine_internal.h"
#include "engine/replicas.h"

#define HINT_KEY_MAX 255

struct peer;
struct channel {
    engine_t *e;
    uint8_t key[32];              /* of the signatures; all replicas derive the same */
    atomic_bool others;           /* is there anybody to tell? */
    pthread_mutex_t members_lock; /* one change of the membership at a time */
    pthread_mutex_t lock;         /* the lists, and what waits for each peer */
    struct peer *peers, *gone;    /* gone: their threads are ending */
    bool stopped;
    pthread_mutex_t ask_lock;
    http_client_t *asker;
    struct looker *looker;        /* replica_hints.c */
};

/* On the wire. NULL for what is no hint. */
const char *hint_name(enum hint h);
/* A name that this version does not know may mean anything: HINT_ALL. */
enum hint hint_parse(const char *name);

/* The thread that does what hints ask for and takes time: reads of the database, looks at everything. */
int looker_start(struct channel *c, osmo_error_t *err);
void looker_ready(struct channel *c); /* everything is open: it may look */
/* The members could not all be connected to: once more, a moment later. */
void looker_members(struct channel *c);
void looker_stop(struct channel *c);
void looker_free(struct channel *c); /* nobody calls hint_apply any more */
#endif
