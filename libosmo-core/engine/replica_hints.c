/* What a hint from another replica means here: a table from kinds to functions, and the thread that looks at everything. Each does
 * what the commit would have done locally, by the *_here functions, which never tell others. Called by replica_channel.c on request
 * threads, and by replicas.c when a replica is gone. */
#include <stdio.h>
#include <string.h>

#include "engine/logs_internal.h"
#include "engine/replica_internal.h"

#define SWEEP_AGAIN_US (1000LL * 1000) /* memory was short */
#define LONGEST_WAIT_US (3600LL * 1000 * 1000)

static void apply_workflow(engine_t *e, const char *key) { watch_workflow_here(e, key); }

static void apply_work(engine_t *e, const char *key) {
    (void)key;
    engine_wake_here(e, WAKE_WORK);
}

static void apply_timers(engine_t *e, const char *key) {
    (void)key;
    engine_wake_here(e, WAKE_TIMERS);
}

/* ---- groups: the key is "<workflow uuid>/<group uuid>" ---- */

void replicas_hint_group(engine_t *e, enum hint h, const char *workflow_uuid, const char *group_uuid) {
    char key[66];
    snprintf(key, sizeof key, "%s/%s", workflow_uuid, group_uuid);
    replicas_hint(e, h, key);
}

static bool has_ctrl_here(engine_t *e, const char *group_uuid) {
    struct loggers *l = e->loggers;
    size_t it = 0;
    void *value;
    bool found = false;
    pthread_mutex_lock(&l->lock);
    while (!found && map_next(l->by_attempt, &it, NULL, &value))
        found = !strcmp(((const struct logger_session *)value)->group_uuid, group_uuid);
    pthread_mutex_unlock(&l->lock);
    return found;
}

/* Of a group that has a ctrl here: others need no look into the database. */
static bool group_of(engine_t *e, const char *key, char workflow_uuid[33], char group_uuid[33]) {
    if (strlen(key) != 65 || key[32] != '/')
        return false;
    memcpy(workflow_uuid, key, 32);
    memcpy(group_uuid, key + 33, 32);
    workflow_uuid[32] = group_uuid[32] = '\0';
    return has_ctrl_here(e, group_uuid);
}

static void apply_barrier(engine_t *e, const char *key) {
    char workflow_uuid[33], group_uuid[33];
    if (group_of(e, key, workflow_uuid, group_uuid))
        barrier_check_here(e, workflow_uuid, group_uuid);
}

static void apply_restart(engine_t *e, const char *key) {
    char workflow_uuid[33], group_uuid[33];
    if (group_of(e, key, workflow_uuid, group_uuid))
        restart_check_here(e, workflow_uuid, group_uuid);
}

/* May take a while, and callers have none. */
static void apply_all(engine_t *e, const char *key) {
    (void)key;
    waker_wake(&e->channel->sweep);
}

static const struct {
    const char *name;
    bool keyed;
    void (*apply)(engine_t *e, const char *key);
} kinds[HINT_COUNT] = {
    [HINT_WORKFLOW] = { "workflow", true, apply_workflow }, [HINT_WORK] = { "work", false, apply_work },
    [HINT_TIMERS] = { "timers", false, apply_timers },      [HINT_BARRIER] = { "barrier", true, apply_barrier },
    [HINT_RESTART] = { "restart", true, apply_restart },    [HINT_ALL] = { "all", false, apply_all },
};

const char *hint_name(enum hint h) { return (unsigned)h < HINT_COUNT ? kinds[h].name : NULL; }

enum hint hint_parse(const char *name) {
    for (unsigned h = 0; name && h < HINT_COUNT; h++)
        if (!strcmp(kinds[h].name, name))
            return (enum hint)h;
    return HINT_ALL;
}

void hint_apply(engine_t *e, enum hint h, const char *key) {
    if (!e->channel || (unsigned)h >= HINT_COUNT || (kinds[h].keyed && !key))
        return;
    kinds[h].apply(e, key);
}

/* ---- everything ---- */

/* The keys of the groups that have a ctrl here, each once. */
static int groups_here(engine_t *e, map_t *keys) {
    struct loggers *l = e->loggers;
    size_t it = 0;
    void *value;
    int rc = 0;
    pthread_mutex_lock(&l->lock);
    while (rc >= 0 && map_next(l->by_attempt, &it, NULL, &value)) {
        const struct logger_session *s = value;
        char key[66];
        snprintf(key, sizeof key, "%s/%s", s->workflow_uuid, s->group_uuid);
        rc = map_set(keys, key, NULL);
    }
    pthread_mutex_unlock(&l->lock);
    return rc;
}

static int look_at_everything(engine_t *e) {
    map_t *groups = map_new(NULL);
    size_t it = 0;
    const char *key;
    engine_wake_here(e, WAKE_WORK | WAKE_TIMERS);
    int rc = watch_all_here(e);
    if (rc >= 0)
        rc = groups ? groups_here(e, groups) : OSMO_ENOMEM;
    while (rc >= 0 && !waker_stopped(&e->channel->sweep) && map_next(groups, &it, &key, NULL)) {
        apply_restart(e, key);
        apply_barrier(e, key);
    }
    map_free(groups);
    return rc;
}

/* That it also looks when nobody asked does no harm. */
static void *sweeper_main(void *arg) {
    struct channel *c = arg;
    int64_t wait = LONGEST_WAIT_US;
    for (;;) {
        waker_wait(&c->sweep, wait);
        if (waker_stopped(&c->sweep))
            return NULL;
        wait = look_at_everything(c->e) < 0 ? SWEEP_AGAIN_US : LONGEST_WAIT_US;
    }
}

int sweeper_start(struct channel *c, osmo_error_t *err) {
    if (pthread_create(&c->sweeper, NULL, sweeper_main, c) != 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "cannot start a thread for hints: too many threads");
    c->sweeping = true;
    return 0;
}

void sweeper_stop(struct channel *c) {
    if (!c->sweeping)
        return;
    waker_stop(&c->sweep);
    pthread_join(c->sweeper, NULL);
    c->sweeping = false;
}
