/* Several osmo-services on one PostgreSQL: who is alive, and what they tell each other. On SQLite there is one replica and every
 * function here is cheap and does nothing.
 *
 * Who is alive is the table `replicas` (id, internal address, lease), renewed by replicas.c on the database's clock. What a commit
 * of one replica means for the sessions, followers and threads of the others are hints: they carry no state, only where to look, so
 * that each may arrive twice. Hints wait, merged, until the other replica has acknowledged them; one that dies takes its hints with
 * it, one that overflows is told to look at everything (HINT_ALL), and so does everybody when a replica stops answering and when its lease
 * ends, for it may have committed without telling. Called by engine/ and by the internal route of api/. */
#ifndef ENGINE_REPLICAS_H
#define ENGINE_REPLICAS_H
#include "base/buf.h"
#include "engine/engine.h"

#define REPLICA_LEASE_US (10LL * 1000 * 1000) /* work of a dead replica is free after this */
#define REPLICA_RENEW_US (2LL * 1000 * 1000)
#define REPLICAS_MAX 64

enum hint {
    HINT_WORKFLOW, /* key: public workflow id. A status changed or the log grew */
    HINT_WORK,     /* no key: outbox items */
    HINT_TIMERS,   /* no key */
    HINT_ARCHIVE,  /* no key: outbox items of the archive */
    HINT_BARRIER,  /* key: "<workflow uuid>/<group uuid>": release the ctrls that are connected here */
    HINT_RESTART,  /* the same: tell the ctrls that are connected here to begin again */
    HINT_ACTIONS,  /* the same: there is something in their mailbox */
    HINT_CONFIG,   /* no key: configuration objects of the store */
    HINT_ACCESS,   /* no key: users, roles or tokens (engine/access.h) */
    HINT_ALL,      /* no key: look at everything once */
    HINT_COUNT
};

struct replica {
    char id[33];
    char *address; /* http://HOST:PORT as the others reach it */
    unsigned roles;
};

/* ---- replicas.c: membership ---- */
/* Before everything that claims or recovers work; on PostgreSQL it registers this process and starts the thread that renews. */
int replicas_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err);
/* Everything else is open now: from here on it learns of changes, and the channel of the others. */
void replicas_start(engine_t *e);
/* The listener's address is known now: from here on the others send hints. */
int replicas_set_address(engine_t *e, const char *address, osmo_error_t *err);
void replicas_stop(engine_t *e);  /* ends the threads, gives the lease back */
void replicas_close(engine_t *e); /* frees */
/* Is the store one that several processes share? */
bool replicas_shared(const engine_t *e);
/* 32 hex digits; owners of leases begin with it: "<replica id>/…" */
const char *replicas_id(const engine_t *e);
/* Live replicas other than this one with an address; at most REPLICAS_MAX. From memory, renewed with the lease. Caller frees with
 * replica_list_free. */
int replicas_others(engine_t *e, struct replica **out, size_t *n, osmo_error_t *err);
void replica_list_free(struct replica *r, size_t n);
/* A live replica by the first 32 bits of its id (router_key_replica()). From memory: for the thread of the connections. On an embedded
 * database every number is this one, also that of a start before this. */
enum replica_is { REPLICA_GONE, REPLICA_HERE, REPLICA_ELSEWHERE };
struct replica_found { char id[33], address[300]; };
enum replica_is replicas_by_number(engine_t *e, uint32_t number, struct replica_found *out);
/* One with this role that everybody knows: this one, unless it has only just begun; then the one that began first. */
enum replica_is replicas_with_role(engine_t *e, unsigned role, struct replica_found *out);
/* Somebody has spoken who has the key of the replicas: one that is not known is looked for at once. */
void replicas_heard_of(engine_t *e, const char *id);
/* Is it one of which this one knows that it lives no more? */
bool replicas_is_dead(engine_t *e, const char *id);
/* Live others that can be reached. */
size_t replicas_count(engine_t *e);
/* How long a thread may sleep that another replica has to wake: a hint that was lost is made good after a second. `alone_us` when
 * there can be no other replica. */
int64_t replicas_longest_wait(const engine_t *e, int64_t alone_us);
/* For tests, before engine_open: other times than REPLICA_LEASE_US and REPLICA_RENEW_US; 0 for those. */
void replicas_times(int64_t lease_us, int64_t renew_us);

/* ---- replica_channel.c: hints and questions between them ---- */
#define REPLICA_PATH "/api/internal/replica"
#define REPLICA_BODY_MAX (2u << 20)
/* After replicas_open, auth_open, watch_open and logs_open; before what commits. Nothing unless the store is shared. */
int channel_open(engine_t *e, osmo_error_t *err);
/* After the reactor has drained: tells once more what waits, then ends the threads. Before replicas_stop. */
void channel_stop(engine_t *e);
/* After logs_close, whose last writes may still call replicas_hint. */
void channel_close(engine_t *e);
/* After a commit, from any thread, never blocks. key may be NULL. Does nothing when there is no other replica. */
void replicas_hint(engine_t *e, enum hint h, const char *key);
/* HINT_BARRIER, HINT_RESTART, HINT_ACTIONS */
void replicas_hint_group(engine_t *e, enum hint h, const char *workflow_uuid, const char *group_uuid);
/* The membership changed (called by replicas.c, without its own lock): connect to the new, forget the gone. Any number of
 * calls does no harm; nothing before channel_open and after channel_stop. A new member is told HINT_ALL first. */
void channel_members_changed(engine_t *e);
/* Asks every other live replica whether a ctrl of the workflow is connected there; an unreachable one counts as no, unless its
 * lease lives: then OSMO_EUNAVAIL. */
int replicas_ctrl_connected(engine_t *e, const char *workflow_id, bool *connected, osmo_error_t *err);
/* The same of an interactive session of a web server, by its key. */
int replicas_webserver_alive(engine_t *e, const char *key, bool *alive, osmo_error_t *err);
/* It did not answer the last time. */
bool channel_is_failing(engine_t *e, const char *id);
/* For what one replica says to another by other ways: HMAC of the text, cut to 32 hex digits; "" where there is no channel. */
void channel_mac(engine_t *e, const char *text, char mac[33]);
/* Body of POST /api/internal/replica; `authorization` is that header. OSMO_EUNAUTH. */
int channel_receive(engine_t *e, const char *authorization, const void *body, size_t len, buf_t *answer, osmo_error_t *err);

/* ---- replica_hints.c ---- */
/* What a hint from another replica means here. Never sends hints on. HINT_ALL is carried out by a thread of its own, so this
 * returns soon; nothing before channel_open. */
void hint_apply(engine_t *e, enum hint h, const char *key);
#endif
