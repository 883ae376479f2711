/* What a hint from another replica means here: a table from kinds to functions. Each does what the commit would have
 * done locally, by the *_here functions, which never tell others. Hints come on request threads (replica_channel.c)
 * and on the thread of the lease (replicas.c), which have no time: what reads the database waits, merged, for a
 * thread of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/access.h"
#include "engine/logs_internal.h"
#include "engine/replica_internal.h"
#include "engine/router.h"

#define CHECKS_MAX 65536 /* then everything is looked at */
#define AGAIN_US (1000LL * 1000) /* when memory was short */
#define LONGEST_WAIT_US (3600LL * 1000 * 1000)
#define GROUP_KEY 65 /* "<workflow uuid>/<group uuid>" */

struct looker {
    engine_t *e;
    pthread_t thread;
    bool started;
    struct waker waker;
    pthread_mutex_t lock;
    map_t *checks; /* CHECK_*, then the key of a group */
    bool all, members, config;
    bool ready; /* all parts that it looks at are open */
};
#define CHECK_BARRIER 'b'
#define CHECK_RESTART 'r'
#define CHECK_ACTIONS 'a'

/* ---- what takes no time ---- */

static void set(struct looker *l, bool *flag) {
    pthread_mutex_lock(&l->lock);
    *flag = true;
    pthread_mutex_unlock(&l->lock);
}

static void apply_workflow(engine_t *e, const char *key) { watch_workflow_here(e, key); }

static void apply_work(engine_t *e, const char *key) {
    (void)key;
    engine_wake_here(e, WAKE_WORK);
}

static void apply_timers(engine_t *e, const char *key) {
    (void)key;
    engine_wake_here(e, WAKE_TIMERS);
}

static void apply_archive(engine_t *e, const char *key) {
    (void)key;
    engine_wake_here(e, WAKE_ARCHIVE);
}

static void apply_access(engine_t *e, const char *key) {
    (void)key;
    access_changed_here(e);
}

static void check_later(struct looker *l, char kind, const char *key) {
    char text[GROUP_KEY + 2];
    if (strlen(key) != GROUP_KEY)
        return;
    snprintf(text, sizeof text, "%c%s", kind, key);
    pthread_mutex_lock(&l->lock);
    if (map_len(l->checks) >= CHECKS_MAX || map_set(l->checks, text, NULL) < 0)
        l->all = true;
    pthread_mutex_unlock(&l->lock);
    waker_wake(&l->waker);
}

static void apply_barrier(engine_t *e, const char *key) { check_later(e->channel->looker, CHECK_BARRIER, key); }

static void apply_restart(engine_t *e, const char *key) { check_later(e->channel->looker, CHECK_RESTART, key); }

static void apply_actions(engine_t *e, const char *key) { check_later(e->channel->looker, CHECK_ACTIONS, key); }

static void apply_config(engine_t *e, const char *key) {
    struct looker *l = e->channel->looker;
    (void)key;
    set(l, &l->config);
    waker_wake(&l->waker);
}

static void apply_all(engine_t *e, const char *key) {
    struct looker *l = e->channel->looker;
    (void)key;
    pthread_mutex_lock(&l->lock);
    l->all = true;
    pthread_mutex_unlock(&l->lock);
    waker_wake(&l->waker);
}

static const struct {
    const char *name;
    bool keyed;
    void (*apply)(engine_t *e, const char *key);
} kinds[HINT_COUNT] = {
    [HINT_WORKFLOW] = { "workflow", true, apply_workflow }, [HINT_WORK] = { "work", false, apply_work },
    [HINT_TIMERS] = { "timers", false, apply_timers },      [HINT_ARCHIVE] = { "archive", false, apply_archive },
    [HINT_BARRIER] = { "barrier", true, apply_barrier },    [HINT_RESTART] = { "restart", true, apply_restart },
    [HINT_ACTIONS] = { "actions", true, apply_actions },    [HINT_CONFIG] = { "config", false, apply_config },
    [HINT_ACCESS] = { "access", false, apply_access },
    [HINT_ALL] = { "all", false, apply_all },
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

void replicas_hint_group(engine_t *e, enum hint h, const char *workflow_uuid, const char *group_uuid) {
    char key[GROUP_KEY + 1];
    snprintf(key, sizeof key, "%s/%s", workflow_uuid, group_uuid);
    replicas_hint(e, h, key);
}

/* ---- the thread ---- */

/* Groups without a ctrl here need no look into the database. */
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

static void check(engine_t *e, const char *text) {
    char workflow_uuid[33], group_uuid[33];
    snprintf(workflow_uuid, sizeof workflow_uuid, "%s", text + 1);
    snprintf(group_uuid, sizeof group_uuid, "%s", text + 34);
    if (!has_ctrl_here(e, group_uuid))
        return;
    if (text[0] == CHECK_RESTART)
        restart_check_here(e, workflow_uuid, group_uuid);
    else if (text[0] == CHECK_ACTIONS)
        (void)actions_check_here(e, workflow_uuid, group_uuid);
    else
        barrier_check_here(e, workflow_uuid, group_uuid);
}

/* All that wait; NULL when there are none, or no memory for those that come. */
static map_t *take_checks(struct looker *l) {
    map_t *fresh = map_new(NULL), *taken = NULL;
    pthread_mutex_lock(&l->lock);
    if (fresh && map_len(l->checks)) {
        taken = l->checks;
        l->checks = fresh;
        fresh = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    map_free(fresh);
    return taken;
}

static bool has_more(struct looker *l) {
    pthread_mutex_lock(&l->lock);
    bool more = l->all || l->members || l->config || map_len(l->checks);
    pthread_mutex_unlock(&l->lock);
    return more;
}

/* The groups that have a ctrl here, each once. */
static int groups_here(engine_t *e, map_t *keys) {
    struct loggers *l = e->loggers;
    size_t it = 0;
    void *value;
    int rc = 0;
    pthread_mutex_lock(&l->lock);
    while (rc >= 0 && map_next(l->by_attempt, &it, NULL, &value)) {
        const struct logger_session *s = value;
        char key[GROUP_KEY + 1];
        snprintf(key, sizeof key, "%s/%s", s->workflow_uuid, s->group_uuid);
        rc = map_set(keys, key, NULL);
    }
    pthread_mutex_unlock(&l->lock);
    return rc;
}

static int look_at_everything(struct looker *l) {
    map_t *groups = map_new(NULL);
    size_t it = 0;
    const char *key;
    engine_wake_here(l->e, WAKE_WORK | WAKE_TIMERS | WAKE_ARCHIVE);
    access_changed_here(l->e);
    router_workflow_changed(l->e, NULL);
    int rc = watch_all_here(l->e);
    if (config_follow(l->e) < 0)
        set(l, &l->config);
    if (rc >= 0)
        rc = groups ? groups_here(l->e, groups) : OSMO_ENOMEM;
    for (; rc >= 0 && !waker_stopped(&l->waker) && map_next(groups, &it, &key, NULL);) {
        char text[GROUP_KEY + 2];
        snprintf(text, sizeof text, "%c%s", CHECK_RESTART, key);
        check(l->e, text);
        text[0] = CHECK_BARRIER;
        check(l->e, text);
        text[0] = CHECK_ACTIONS;
        check(l->e, text);
    }
    map_free(groups);
    return rc;
}

static bool take(struct looker *l, bool *flag) {
    pthread_mutex_lock(&l->lock);
    bool was = *flag;
    *flag = false;
    pthread_mutex_unlock(&l->lock);
    return was;
}

/* Itself it tries again after its wait. */
void looker_members(struct channel *c) {
    set(c->looker, &c->looker->members);
    if (!pthread_equal(pthread_self(), c->looker->thread))
        waker_wake(&c->looker->waker);
}

static bool is_ready(struct looker *l) {
    pthread_mutex_lock(&l->lock);
    bool ready = l->ready;
    pthread_mutex_unlock(&l->lock);
    return ready;
}

void looker_ready(struct channel *c) {
    set(c->looker, &c->looker->ready);
    waker_wake(&c->looker->waker);
}

static void *looker_main(void *arg) {
    struct looker *l = arg;
    for (;;) {
        waker_wait(&l->waker, has_more(l) ? AGAIN_US : LONGEST_WAIT_US);
        if (!is_ready(l) && !waker_stopped(&l->waker))
            continue; /* what came until then waits */
        map_t *checks = take_checks(l);
        size_t it = 0;
        const char *text;
        while (!waker_stopped(&l->waker) && map_next(checks, &it, &text, NULL))
            check(l->e, text);
        map_free(checks);
        if (waker_stopped(&l->waker))
            return NULL;
        if (take(l, &l->config) && config_follow(l->e) < 0)
            set(l, &l->config);
        if (take(l, &l->all) && look_at_everything(l) < 0)
            set(l, &l->all);
        if (take(l, &l->members))
            channel_members_changed(l->e);
    }
}

int looker_start(struct channel *c, osmo_error_t *err) {
    struct looker *l = calloc(1, sizeof *l);
    if (!l)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    l->e = c->e;
    pthread_mutex_init(&l->lock, NULL);
    waker_init(&l->waker);
    c->looker = l;
    l->checks = map_new(NULL);
    if (!l->checks)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (pthread_create(&l->thread, NULL, looker_main, l) != 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "cannot start a thread for hints: too many threads");
    l->started = true;
    return 0;
}

void looker_stop(struct channel *c) {
    struct looker *l = c->looker;
    if (!l || !l->started)
        return;
    waker_stop(&l->waker);
    pthread_join(l->thread, NULL);
    l->started = false;
}

void looker_free(struct channel *c) {
    struct looker *l = c->looker;
    if (!l)
        return;
    map_free(l->checks);
    waker_destroy(&l->waker);
    pthread_mutex_destroy(&l->lock);
    c->looker = NULL;
    free(l);
}
