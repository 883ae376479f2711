/* Membership of the services that share a database: see replicas.h. A row with a lease for each, renewed over a connection of its
 * own, so that no queue of writes comes before it; a thread that renews, looks who else is there, and gives back what a dead one had.
 *
 * Dead is who has let the lease end by the database's clock and has also been quiet for nearly as long by this machine's: the former
 * may be set, the latter knows nothing of other machines. Whoever is buried alive (it was stopped, or cut off from the database) finds
 * that its row has ended: nothing that it had taken is its own any more. It gives up what is left of it, asks its operators to connect
 * again, and goes on under the same id: results of items that it had taken before change nothing, as their owner is another one or
 * none. Used by engine.c; nothing of this on an embedded database. */
#include "engine/replicas.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/file.h"
#include "engine/agent_internal.h"
#include "engine/replica_internal.h"
#include "model/router_key.h"
#include "osmo/version.h"
#include "store/repo_replica.h"

#define LOOK_REST_US (50LL * 1000) /* between looks, whoever is heard of */
#define NEWS_TURNS 3 /* after so many looks everybody knows of a new one */
#define SWEEP_US (1000LL * 1000) /* a lost hint is made good after this */
#define HOST_MAX 255
#define STORAGE_ID_FILE ".storage-id"
#define LAST_ID_FILE "replica"

static int64_t lease_time = REPLICA_LEASE_US, renew_time = REPLICA_RENEW_US;

void replicas_times(int64_t lease_us, int64_t renew_us) {
    lease_time = lease_us ? lease_us : REPLICA_LEASE_US;
    renew_time = renew_us ? renew_us : REPLICA_RENEW_US;
}

/* Another one as this thread knows it. */
struct member {
    char id[33];
    char *address;
    int64_t started_us;              /* by the database's clock */
    int64_t lease_until_us, seen_us; /* seen: when its lease was last found changed, by the steady clock of this machine */
    unsigned roles;
    bool live;
};

/* What one transaction does for the thread, and what it finds. */
struct turn {
    char dead[REPLICAS_MAX][33]; /* in */
    size_t ndead;
    bool lost; /* out: others have given back what this one had */
    struct replica_row *rows;
    size_t n, buried;
    int64_t db_us;
    int rc;
    osmo_error_t err;
    int64_t began_us;
    bool busy, done; /* under the lock */
};

struct replicas {
    engine_t *e;
    bool shared;
    char id[33];
    int64_t lease_us, renew_us;
    int lock_fd; /* of the data directory */
    store_t *store;
    struct waker waker;
    pthread_t thread;
    bool started;
    atomic_bool open; /* the rest of the engine is there */
    atomic_bool look_now;
    pthread_mutex_t lock;
    struct replica_row self; /* its address under the lock, and started_us, which is 0 until it is known */
    struct turn turn;
    struct member *members; /* changed by the thread, under the lock */
    size_t n;
    int64_t began_us;   /* by the steady clock, as the following ones */
    int64_t renewed_us;
    int64_t looked_us;  /* without a break since then */
    bool registered, lapsed;
};

bool replicas_shared(const engine_t *e) { return e->replicas && e->replicas->shared; }
const char *replicas_id(const engine_t *e) { return e->replicas->id; }

int64_t replicas_longest_wait(const engine_t *e, int64_t alone_us) {
    return replicas_shared(e) && alone_us > SWEEP_US ? SWEEP_US : alone_us;
}

/* ---- others ---- */

void replica_list_free(struct replica *r, size_t n) {
    for (size_t i = 0; r && i < n; i++)
        free(r[i].address);
    free(r);
}

int replicas_others(engine_t *e, struct replica **out, size_t *n, osmo_error_t *err) {
    struct replicas *r = e->replicas;
    struct replica *list = calloc(REPLICAS_MAX, sizeof *list);
    int rc = list ? 0 : no_memory(err);
    *out = list;
    *n = 0;
    if (!replicas_shared(e) || rc < 0)
        return rc;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; rc >= 0 && i < r->n && *n < REPLICAS_MAX; i++) {
        if (!r->members[i].live || !*r->members[i].address)
            continue;
        memcpy(list[*n].id, r->members[i].id, sizeof list[*n].id);
        list[*n].roles = r->members[i].roles;
        list[*n].address = str_dup(r->members[i].address);
        rc = list[(*n)++].address ? 0 : no_memory(err);
    }
    pthread_mutex_unlock(&r->lock);
    if (rc < 0) {
        replica_list_free(list, *n);
        *out = NULL;
        *n = 0;
    }
    return rc;
}

static struct member *member_find(const struct replicas *r, const char *id) {
    for (size_t i = 0; i < r->n; i++)
        if (str_eq(r->members[i].id, id))
            return &r->members[i];
    return NULL;
}

/* The one with the number, or (role) the oldest with the role; *older: than this one. */
static enum replica_is find_member(struct replicas *r, uint32_t number, unsigned role, struct replica_found *out, bool *older) {
    const struct member *found = NULL;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n; i++) {
        const struct member *m = &r->members[i];
        bool wanted = role ? m->roles & role : router_key_replica(m->id) == number;
        if (wanted && m->live && *m->address && (!found || m->started_us < found->started_us))
            found = m;
    }
    if (found) {
        memcpy(out->id, found->id, sizeof out->id);
        snprintf(out->address, sizeof out->address, "%s", found->address);
    }
    *older = found && (!r->self.started_us || found->started_us < r->self.started_us);
    pthread_mutex_unlock(&r->lock);
    return found ? REPLICA_ELSEWHERE : REPLICA_GONE;
}

enum replica_is replicas_by_number(engine_t *e, uint32_t number, struct replica_found *out) {
    struct replicas *r = e->replicas;
    bool unused;
    *out = (struct replica_found){ .address = "" };
    memcpy(out->id, r->id, sizeof out->id);
    return !replicas_shared(e) || router_key_replica(r->id) == number ? REPLICA_HERE : find_member(r, number, 0, out, &unused);
}

enum replica_is replicas_with_role(engine_t *e, unsigned role, struct replica_found *out) {
    struct replicas *r = e->replicas;
    *out = (struct replica_found){ .address = "" };
    memcpy(out->id, r->id, sizeof out->id);
    struct replica_found self;
    bool able = e->roles & role, older;
    /* the others look for new ones as often as they renew their lease */
    bool known = !replicas_shared(e) || clock_mono_us() - r->began_us > NEWS_TURNS * r->renew_us;
    if (able && known)
        return REPLICA_HERE;
    self = *out;
    enum replica_is is = find_member(r, 0, role, out, &older);
    if (!able || (is == REPLICA_ELSEWHERE && older && !channel_is_failing(e, out->id)))
        return is;
    *out = self;
    return REPLICA_HERE;
}

void replicas_heard_of(engine_t *e, const char *id) {
    struct replicas *r = e->replicas;
    if (!id || !r->started)
        return;
    pthread_mutex_lock(&r->lock);
    bool known = member_find(r, id) != NULL;
    pthread_mutex_unlock(&r->lock);
    if (known || atomic_exchange(&r->look_now, true))
        return;
    waker_wake(&r->waker);
}

bool replicas_is_dead(engine_t *e, const char *id) {
    struct replicas *r = e->replicas;
    bool dead = false;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n && !dead; i++)
        dead = str_eq(r->members[i].id, id) && !r->members[i].live;
    pthread_mutex_unlock(&r->lock);
    return dead;
}

size_t replicas_count(engine_t *e) {
    struct replicas *r = e->replicas;
    size_t n = 0;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n; i++)
        n += r->members[i].live && *r->members[i].address;
    pthread_mutex_unlock(&r->lock);
    return n;
}

static void members_free(struct member *m, size_t n) {
    for (size_t i = 0; m && i < n; i++)
        free(m[i].address);
    free(m);
}

/* ---- the transaction ---- */

static int put_self(struct replicas *r, db_t *db, osmo_error_t *err) {
    struct replica_row self = r->self;
    pthread_mutex_lock(&r->lock);
    _cleanup_free_ char *address = str_dup(r->self.address); /* the thread of the connections must not wait for the database */
    pthread_mutex_unlock(&r->lock);
    self.address = address;
    return address ? repo_replica_put(db, &self, r->lease_us, err) : no_memory(err);
}

/* This one was taken for dead: its claims are void, and so is what it thought of the time. */
static int come_back(struct replicas *r, db_t *db, osmo_error_t *err) {
    int rc = put_self(r, db, err);
    if (rc >= 0)
        rc = repo_work_release_replica(db, r->id, err);
    return rc < 0 ? rc : engine_clock_join(r->e, db, err);
}

/* The own row first, which may have to be waited for, with nothing in hand; then nothing that is waited for. */
static int turn_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct replicas *r = ctx;
    struct turn *t = &r->turn;
    replica_rows_free(t->rows, t->n);
    t->rows = NULL;
    t->n = t->buried = 0;
    int rc = repo_replica_renew(db, r->id, r->lease_us, &t->lost, err);
    if (rc >= 0 && t->lost)
        rc = come_back(r, db, err);
    for (size_t i = 0; rc >= 0 && i < t->ndead; i++) {
        bool gone = false;
        rc = repo_replica_bury(db, t->dead[i], &gone, err);
        t->buried += gone;
    }
    if (rc >= 0)
        rc = repo_clock(db, &t->db_us, err);
    return rc < 0 ? rc : repo_replica_list(db, REPLICAS_MAX + 1, &t->rows, &t->n, err);
}

static void turn_done(void *ctx, int rc, const osmo_error_t *err) {
    struct replicas *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->turn.rc = rc;
    if (rc < 0)
        r->turn.err = *err;
    r->turn.busy = false;
    r->turn.done = true;
    pthread_mutex_unlock(&r->lock);
    waker_wake(&r->waker);
}

static void turn_begin(struct replicas *r) {
    r->turn.began_us = clock_mono_us();
    pthread_mutex_lock(&r->lock);
    r->turn.busy = true;
    pthread_mutex_unlock(&r->lock);
    int rc = store_post(r->store, NULL, turn_run, turn_done, r);
    if (rc < 0) {
        osmo_error_t err = OSMO_ERROR_INIT;
        osmo_error_set(&err, rc, "the store does not accept more work");
        turn_done(r, rc, &err);
    }
}

/* ---- what it found ---- */

/* Nearly as long as the lease: what is between two looks is not seen. */
static bool is_quiet(const struct replicas *r, int64_t seen_us) {
    int64_t patience = r->lease_us - 2 * r->renew_us;
    return clock_mono_us() - seen_us >= (patience > 0 ? patience : 0);
}

/* What changed. */
struct news {
    bool members; /* somebody to connect to or to forget */
    bool ended;   /* somebody died or left */
    bool dead;    /* somebody whose work is to be given back, and was not known to be dead */
};

static int member_from(const struct replicas *r, const struct replica_row *row, int64_t db_us, struct member *m, struct news *news) {
    const struct member *old = member_find(r, row->id);
    *m = (struct member){ .lease_until_us = row->lease_until_us, .started_us = row->started_us, .seen_us = clock_mono_us(),
                          .address = str_dup(row->address), .roles = (unsigned)row->roles };
    memcpy(m->id, row->id, sizeof m->id);
    if (old && old->lease_until_us == row->lease_until_us)
        m->seen_us = old->seen_us > r->looked_us ? old->seen_us : r->looked_us;
    m->live = !row->ended && !(row->lease_until_us <= db_us && is_quiet(r, m->seen_us));
    news->members |= m->live ? !old || !old->live || !str_eq(old->address, row->address) : old && old->live;
    news->ended |= !m->live && (!old || old->live);
    news->dead |= !m->live && (!old || old->live);
    return m->address ? 0 : OSMO_ENOMEM;
}

static int members_update(struct replicas *r, struct turn *t, struct news *news) {
    struct member *list = calloc(t->n + 1, sizeof *list);
    size_t n = 0;
    int rc = list ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < t->n; i++)
        if (!str_eq(t->rows[i].id, r->id))
            rc = member_from(r, &t->rows[i], t->db_us, &list[n++], news);
    if (rc < 0) {
        members_free(list, n);
        return rc;
    }
    for (size_t i = 0; i < r->n; i++) {
        bool stays = false;
        for (size_t k = 0; k < n && !stays; k++)
            stays = str_eq(list[k].id, r->members[i].id);
        news->members |= !stays && r->members[i].live;
        news->ended |= !stays && r->members[i].live;
    }
    pthread_mutex_lock(&r->lock);
    struct member *before = r->members;
    size_t nbefore = r->n;
    r->members = list;
    r->n = n;
    pthread_mutex_unlock(&r->lock);
    members_free(before, nbefore);
    return 0;
}

static void list_dead(struct replicas *r) {
    r->turn.ndead = 0;
    for (size_t i = 0; i < r->n && r->turn.ndead < REPLICAS_MAX; i++)
        if (!r->members[i].live)
            memcpy(r->turn.dead[r->turn.ndead++], r->members[i].id, sizeof r->turn.dead[0]);
}

static void tell(struct replicas *r, const struct news *news) {
    if (!atomic_load(&r->open))
        return;
    if (news->members)
        channel_members_changed(r->e);
    if (news->ended) /* it may have committed without telling */
        hint_apply(r->e, HINT_ALL, NULL);
    if (r->turn.buried)
        engine_wake(r->e, WAKE_WORK | WAKE_TIMERS);
}

/* What it had may be with others by now, or is for sure: also what came after it had noticed the former. */
static void lapse(struct replicas *r, bool sure) {
    if (r->lapsed && !sure)
        return;
    if (!r->lapsed)
        log_warning(&r->e->log,
                    "this service has not reached its database for %lld s and counts as dead: backends are asked to connect again",
                    (long long)(r->lease_us / 1000000));
    r->lapsed = true;
    if (atomic_load(&r->open))
        agents_disconnect(r->e);
}

/* A clock that only a delayed-job monitor would follow. */
static void follow_clock(struct replicas *r) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool stepped = false;
    if (r->e->roles & ROLE_MONITOR)
        return;
    if (engine_clock_follow(r->e, r->store, &stepped, &err) < 0)
        log_warning(&r->e->log, "the clock of the database cannot be followed: %s", err.text);
    if (stepped && atomic_load(&r->open))
        engine_wake(r->e, WAKE_WORK | WAKE_TIMERS);
}

/* Nobody is quiet while this one does not look: the others may have waited for the same database. */
static void note_look(struct replicas *r, const struct turn *t) {
    int64_t now = clock_mono_us();
    if (now - r->renewed_us > 3 * r->renew_us)
        r->looked_us = now;
    r->renewed_us = t->began_us;
}

static void note_self(struct replicas *r, const struct turn *t) {
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < t->n; i++)
        if (str_eq(t->rows[i].id, r->id))
            r->self.started_us = t->rows[i].started_us;
    pthread_mutex_unlock(&r->lock);
}

/* Returns when the next turn is due. */
static int64_t turn_take(struct replicas *r) {
    struct turn *t = &r->turn;
    struct news news = { .ended = t->lost }; /* nobody told this one anything for a while */
    int64_t next = t->began_us + r->renew_us;
    if (t->rc < 0) {
        log_warning(&r->e->log, "the lease of this service was not renewed: %s", t->err.text);
        return clock_mono_us() + r->renew_us / 2;
    }
    if (t->lost)
        lapse(r, true);
    r->lapsed = false;
    note_look(r, t);
    if (t->buried)
        log_warning(&r->e->log, "%zu other service%s of this database ended without a word: %s work was given back", t->buried,
                    t->buried > 1 ? "s" : "", t->buried > 1 ? "their" : "its");
    if (members_update(r, t, &news) < 0)
        return next; /* memory was short */
    note_self(r, t);
    list_dead(r);
    tell(r, &news);
    for (size_t i = 0; i < r->n; i++) { /* a lease that ends sooner */
        int64_t left = r->members[i].lease_until_us - t->db_us;
        if (r->members[i].live && left > 0 && t->began_us + left < next)
            next = t->began_us + left;
    }
    follow_clock(r);
    return news.dead ? 0 : next;
}

/* ---- the thread ---- */

static bool turn_is(struct replicas *r, const bool *what) {
    pthread_mutex_lock(&r->lock);
    bool yes = *what;
    pthread_mutex_unlock(&r->lock);
    return yes;
}

static void *replicas_main(void *arg) {
    struct replicas *r = arg;
    int64_t next = clock_mono_us(); /* who else is there */
    while (!waker_stopped(&r->waker)) {
        if (atomic_exchange(&r->look_now, false) && clock_mono_us() - r->renewed_us > LOOK_REST_US)
            next = 0;
        if (turn_is(r, &r->turn.done)) {
            r->turn.done = false; /* nobody else looks while none is under way */
            next = turn_take(r);
        }
        int64_t now = clock_mono_us();
        bool busy = turn_is(r, &r->turn.busy);
        if (now - r->renewed_us >= r->lease_us)
            lapse(r, false);
        if (!busy && now >= next) {
            turn_begin(r);
            continue;
        }
        int64_t end = r->renewed_us + r->lease_us, until = busy ? INT64_MAX : next;
        if (!r->lapsed && end < until)
            until = end;
        waker_wait(&r->waker, until == INT64_MAX ? r->lease_us : until > now ? until - now : 0);
    }
    return NULL;
}

/* ---- directories ---- */

/* An id that a shared directory has once, whoever comes first. */
static int storage_id(const char *dir, char **id, osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/" STORAGE_ID_FILE, dir), *fresh = NULL;
    _cleanup_buf_ buf_t text = BUF_INIT(64);
    char made[33];
    int rc = 0;
    if (!path || crypto_random_hex32(made) < 0 || !(fresh = str_printf("%s.%s", path, made)))
        return no_memory(err);
    if (!file_exists(path)) {
        rc = file_write_atomic(fresh, made, strlen(made), 0600, true, err);
        if (rc >= 0 && link(fresh, path) < 0 && errno != EEXIST)
            rc = osmo_error_set(err, OSMO_EIO, "storage directory %s cannot be marked: %s", dir, strerror(errno));
        unlink(fresh);
    }
    if (rc >= 0)
        rc = file_read(path, &text, err);
    *id = rc < 0 ? NULL : str_dup(buf_cstr(&text));
    return rc < 0 || *id ? rc : no_memory(err);
}

/* Keeps others out of the data directory. Who had it before is dead, then: *last. What registers is remembered for the next. */
static int take_data_dir(struct replicas *r, char last[33], osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/" LAST_ID_FILE, r->e->data_dir);
    if (!path)
        return no_memory(err);
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (r->lock_fd < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot open %s: %s", path, strerror(errno));
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return osmo_error_set(err, OSMO_EBUSY, "data directory %s is in use by another osmo-service: stop it or give each its own "
                                               "with --data-dir", r->e->data_dir);
    ssize_t n = pread(r->lock_fd, last, 32, 0);
    last[n == 32 ? 32 : 0] = '\0';
    return 0;
}

/* ---- life ---- */

struct entry {
    struct replicas *r;
    const char *last; /* what was here before, or "" */
};

static int check_others(struct replicas *r, db_t *db, osmo_error_t *err) {
    struct replica_row *rows = NULL;
    size_t n = 0;
    int rc = repo_replica_list(db, REPLICAS_MAX, &rows, &n, err);
    if (rc >= 0 && n == REPLICAS_MAX)
        rc = osmo_error_set(err, OSMO_ELIMIT, "%d services use this database already: stop one of them", REPLICAS_MAX);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        if (!rows[i].ended && !str_eq(rows[i].storage, r->self.storage))
            rc = osmo_error_set(err, OSMO_ECONFLICT,
                                "another service of this database (pid %lld on %s) keeps task data in another directory: give all "
                                "of them one directory that they share, with --storage; one that was killed counts for %lld s more",
                                (long long)rows[i].pid, rows[i].host, (long long)(r->lease_us / 1000000));
    replica_rows_free(rows, n);
    return rc;
}

static int register_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct entry *in = ctx;
    int rc = repo_replica_lock(db, err);
    if (rc >= 0 && *in->last)
        rc = repo_replica_delete(db, in->last, err);
    if (rc >= 0)
        rc = repo_replica_delete_ended(db, err);
    if (rc >= 0)
        rc = check_others(in->r, db, err);
    if (rc >= 0)
        rc = put_self(in->r, db, err);
    if (rc >= 0)
        rc = repo_work_recover(db, err);
    return rc < 0 ? rc : engine_clock_join(in->r->e, db, err);
}

static int describe_self(struct replicas *r, const osmo_service_options_t *o, osmo_error_t *err) {
    char host[HOST_MAX + 1] = "";
    if (gethostname(host, sizeof host - 1) < 0)
        snprintf(host, sizeof host, "an unknown host");
    memcpy(r->self.id, r->id, sizeof r->self.id);
    r->self.host = str_dup(host);
    r->self.version = str_dup(osmo_version());
    r->self.address = str_dup(o->replica_address ? o->replica_address : "");
    r->self.pid = getpid();
    r->self.roles = r->e->roles;
    return r->self.host && r->self.version && r->self.address ? storage_id(r->e->storage_dir, &r->self.storage, err)
                                                              : no_memory(err);
}

static int join(struct replicas *r, const osmo_service_options_t *o, osmo_error_t *err) {
    char last[33] = "";
    struct store_options so = { .url = o->database, .log = &r->e->log, .writers = 1 };
    struct entry in = { r, last };
    int rc = describe_self(r, o, err);
    if (rc >= 0)
        rc = take_data_dir(r, last, err);
    if (rc >= 0)
        rc = store_open(&so, &r->store, err);
    r->began_us = r->renewed_us = clock_mono_us();
    if (rc >= 0)
        rc = store_write(r->store, NULL, register_run, &in, err);
    r->registered = rc >= 0;
    if (rc >= 0 && pwrite(r->lock_fd, r->id, 32, 0) != 32)
        rc = osmo_error_set(err, OSMO_EIO, "cannot write %s/" LAST_ID_FILE ": %s", r->e->data_dir, strerror(errno));
    if (rc < 0)
        return rc;
    r->started = pthread_create(&r->thread, NULL, replicas_main, r) == 0;
    return r->started ? 0 : osmo_error_set(err, OSMO_EUNAVAIL, "cannot start the thread that renews the lease: too many threads");
}

static int recover_run(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return repo_work_recover(db, err);
}

int replicas_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err) {
    struct replicas *r = calloc(1, sizeof *r);
    if (!r)
        return no_memory(err);
    r->e = e;
    r->lock_fd = -1;
    r->lease_us = lease_time;
    r->renew_us = renew_time;
    r->shared = store_is_pgsql(e->store);
    pthread_mutex_init(&r->lock, NULL);
    waker_init(&r->waker);
    e->replicas = r;
    if (crypto_random_hex32(r->id) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    /* Only one process can own an embedded database, so every lease found in it belongs to a process that is gone. */
    return r->shared ? join(r, o, err) : store_write(e->store, NULL, recover_run, NULL, err);
}

void replicas_start(engine_t *e) {
    struct replicas *r = e->replicas;
    if (!r || !r->started)
        return;
    atomic_store(&r->open, true);
    if (e->channel)
        looker_ready(e->channel);
    channel_members_changed(e);
}

struct address {
    const char *id, *address;
};

static int address_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct address *a = ctx;
    return repo_replica_address(db, a->id, a->address, err);
}

int replicas_set_address(engine_t *e, const char *address, osmo_error_t *err) {
    struct replicas *r = e->replicas;
    char *copy = str_dup(address);
    if (!copy)
        return no_memory(err);
    pthread_mutex_lock(&r->lock);
    char *before = r->self.address;
    r->self.address = copy;
    pthread_mutex_unlock(&r->lock);
    free(before);
    struct address a = { r->id, address };
    return r->store ? store_write(r->store, NULL, address_run, &a, err) : 0;
}

static int leave_run(db_t *db, void *ctx, osmo_error_t *err) {
    return repo_replica_delete(db, ((struct replicas *)ctx)->id, err);
}

static void leave_done(void *ctx, int rc, const osmo_error_t *err) {
    struct replicas *r = ctx;
    if (rc < 0)
        log_warning(&r->e->log, "the lease of this service was not given back, it ends by itself: %s", err->text);
}

/* Closing the store waits for what is under way, but for no server that is lost. */
void replicas_stop(engine_t *e) {
    struct replicas *r = e->replicas;
    if (!r)
        return;
    atomic_store(&r->open, false);
    waker_stop(&r->waker);
    if (r->started)
        pthread_join(r->thread, NULL);
    if (r->registered && store_post(r->store, NULL, leave_run, leave_done, r) < 0)
        log_warning(&e->log, "the lease of this service was not given back, it ends by itself");
    r->started = r->registered = false;
    store_close(r->store);
    r->store = NULL;
}

void replicas_close(engine_t *e) {
    struct replicas *r = e->replicas;
    if (!r)
        return;
    replicas_stop(e);
    e->replicas = NULL;
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    members_free(r->members, r->n);
    replica_rows_free(r->turn.rows, r->turn.n);
    replica_row_clear(&r->self);
    waker_destroy(&r->waker);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
