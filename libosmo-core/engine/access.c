/* Decisions about requests, from a picture of all roles in memory, and the thread that renews the picture when another replica changed
 * something. See access.h. */
#include "engine/access.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/access_internal.h"
#include "engine/replicas.h"

#define AGAIN_US (1000LL * 1000)
#define LONGEST_WAIT_US (30LL * 1000 * 1000) /* the word of another replica may get lost */
#define KEY_ON_STACK 512

/* ---- the picture ---- */

static int picture_renew(engine_t *e, osmo_error_t *err) {
    struct access *a = e->access;
    struct picture *fresh = NULL;
    pthread_mutex_lock(&a->loading);
    int rc = access_load(e, &fresh, err);
    if (rc >= 0) {
        pthread_rwlock_wrlock(&a->lock);
        struct picture *old = a->picture;
        a->picture = fresh;
        pthread_rwlock_unlock(&a->lock);
        picture_free(old);
    }
    pthread_mutex_unlock(&a->loading);
    return rc;
}

/* A database that does not answer is asked again; until then the old picture counts. */
static void *renewer_main(void *arg) {
    engine_t *e = arg;
    struct access *a = e->access;
    bool failed = false;
    for (;;) {
        osmo_error_t err = OSMO_ERROR_INIT;
        waker_wait(&a->waker, failed ? AGAIN_US : LONGEST_WAIT_US);
        if (waker_stopped(&a->waker))
            return NULL;
        int rc = picture_renew(e, &err);
        if (rc < 0 && !failed)
            log_warning(&e->log, "roles cannot be read, those known before count on: %s", err.text);
        failed = rc < 0;
        if (!failed)
            identities_changed(e);
    }
}

/* ---- decisions ---- */

/* One text for a set of roles; their order is part of it, which costs a second entry and no sort. */
static int set_key(const strlist_t *names, char *fixed, char **out) {
    size_t len = 1;
    for (size_t i = 0; i < names->len; i++)
        len += strlen(names->items[i]) + 1;
    char *key = len <= KEY_ON_STACK ? fixed : malloc(len), *w = key;
    if (!key)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < names->len; i++) {
        w = stpcpy(w, names->items[i]);
        *w++ = ','; /* no name has one: role_read */
    }
    *w = '\0';
    *out = key;
    return 0;
}

typedef bool (*ask_fn)(const grants_t *g, void *ctx);

/* Asks what the roles together permit, under the lock. False also without memory. */
static bool with_grants(engine_t *e, const strlist_t *roles, ask_fn ask, void *ctx) {
    struct access *a = e->access;
    char fixed[KEY_ON_STACK], *key;
    if (set_key(roles, fixed, &key) < 0)
        return false;
    pthread_rwlock_rdlock(&a->lock);
    const grants_t *g = picture_known(a->picture, key);
    bool said = g && ask(g, ctx);
    pthread_rwlock_unlock(&a->lock);
    if (!g) {
        pthread_rwlock_wrlock(&a->lock);
        g = picture_known(a->picture, key);
        if (g || picture_prepare(a->picture, key, roles, &g, NULL) >= 0)
            said = ask(g, ctx);
        pthread_rwlock_unlock(&a->lock);
    }
    if (key != fixed)
        free(key);
    return said;
}

/* What those that are bound to a task or a backend may do at all, whatever their roles say: a task reads what is its user's and is heard
 * about itself, an operator serves its backend. Neither acts as a user: no tokens, no credentials, no workflows. Which task it is, the
 * caller compares. */
static bool bound_may(const struct identity *who, enum action a, const char *resource) {
    switch (a) {
    case ACTION_SYSTEM_HEALTH:
    case ACTION_SYSTEM_VERSION:
    case ACTION_AUTH_LOGIN:
    case ACTION_AUTH_REFRESH:
    case ACTION_POOL_LIST:
        return true;
    case ACTION_WORKFLOW_LIST:
    case ACTION_WORKFLOW_READ:
    case ACTION_APP_READ:
    case ACTION_RESOURCES_READ:
    case ACTION_PROFILE_READ:
    case ACTION_INTERNAL_LOGGER:
    case ACTION_INTERNAL_ROUTER:
        return !who->backend;
    case ACTION_INTERNAL_OPERATOR:
        return who->backend && !who->workflow_id && resource && str_starts(resource, "backend/") && str_eq(resource + 8, who->backend);
    case ACTION_CONFIG_READ:
        return who->backend && !who->workflow_id && (str_eq(resource, "config/backend") || str_eq(resource, "config/backend_test"));
    default:
        return false;
    }
}

static bool may(const struct identity *who, enum action a, const char *resource) {
    return (!who->workflow_id && !who->backend) || bound_may(who, a, resource);
}

struct question { enum action a; const char *resource; enum policy_verdict verdict; };

static bool ask_verdict(const grants_t *g, void *ctx) {
    struct question *q = ctx;
    q->verdict = grants_decide(g, q->a, q->resource);
    return true;
}

static bool ask_every(const grants_t *g, void *ctx) {
    const struct question *q = ctx;
    return grants_allow_every(g, q->a, q->resource);
}

static bool ask_some(const grants_t *g, void *ctx) {
    const struct question *q = ctx;
    return grants_allow_some(g, q->a, q->resource);
}

/* Is it denied by a role of the user that the token does not have? A denial on any resource is one of requests without a resource. */
static bool is_left_out(engine_t *e, const struct identity *who, enum action a, const char *resource) {
    struct question q = { .a = a, .resource = resource };
    return who->left_out.len && (!with_grants(e, &who->left_out, ask_verdict, &q) || q.verdict == VERDICT_DENY);
}

enum policy_verdict access_decide(engine_t *e, const struct identity *who, enum action a, const char *resource) {
    struct question q = { .a = a, .resource = resource };
    if (!may(who, a, resource))
        return VERDICT_DENY;
    if (is_left_out(e, who, a, resource))
        return VERDICT_DENY;
    return with_grants(e, &who->roles, ask_verdict, &q) ? q.verdict : VERDICT_NONE;
}

bool access_allows_all(engine_t *e, const struct identity *who, enum action a, const char *kind) {
    struct question q = { .a = a, .resource = kind };
    return may(who, a, NULL) && !is_left_out(e, who, a, NULL) && with_grants(e, &who->roles, ask_every, &q);
}

bool access_allows_some(engine_t *e, const struct identity *who, enum action a, const char *kind) {
    struct question q = { .a = a, .resource = kind };
    return may(who, a, NULL) && !is_left_out(e, who, a, kind) && with_grants(e, &who->roles, ask_some, &q);
}

struct pool_question { const struct settings *s; strlist_t *pools; int rc; };

static bool ask_pools(const grants_t *g, void *ctx) {
    struct pool_question *q = ctx;
    for (size_t i = 0; q->rc >= 0 && i < q->s->npools; i++) {
        _cleanup_free_ char *resource = str_printf("pool/%s", q->s->pools[i].name);
        if (!resource)
            q->rc = OSMO_ENOMEM;
        else if (grants_allow(g, ACTION_WORKFLOW_CREATE, resource))
            q->rc = strlist_add(q->pools, q->s->pools[i].name);
    }
    return q->rc >= 0;
}

static int drop_left_out(engine_t *e, const struct identity *who, strlist_t *pools) {
    strlist_t kept = { 0 };
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < pools->len; i++) {
        _cleanup_free_ char *resource = str_printf("pool/%s", pools->items[i]);
        if (!resource || (!is_left_out(e, who, ACTION_WORKFLOW_CREATE, resource) && strlist_add(&kept, pools->items[i]) < 0))
            rc = OSMO_ENOMEM;
    }
    strlist_free(pools);
    *pools = kept;
    return rc;
}

int access_pools(engine_t *e, const struct identity *who, strlist_t *pools, osmo_error_t *err) {
    struct pool_question q = { engine_settings(e), pools, 0 };
    bool said = with_grants(e, &who->roles, ask_pools, &q) && (!who->left_out.len || drop_left_out(e, who, pools) >= 0);
    engine_settings_put(q.s);
    return said ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

/* ---- changes ---- */

uint64_t access_generation(engine_t *e) { return atomic_load(&e->access->generation); }

void access_changed_here(engine_t *e) {
    atomic_fetch_add(&e->access->generation, 1);
    waker_wake(&e->access->waker); /* which then tells identities */
}

void access_changed(engine_t *e) {
    osmo_error_t err = OSMO_ERROR_INIT;
    atomic_fetch_add(&e->access->generation, 1);
    if (picture_renew(e, &err) < 0)
        waker_wake(&e->access->waker);
    identities_changed(e);
    replicas_hint(e, HINT_ACCESS, NULL);
}

void access_settings_changed(engine_t *e) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (access_seed(e, &err) < 0)
        log_warning(&e->log, "roles of the configuration file cannot be stored, so that they cannot be given to users: %s", err.text);
    atomic_fetch_add(&e->access->generation, 1);
    if (picture_renew(e, &err) < 0)
        waker_wake(&e->access->waker);
    identities_changed(e);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct role *const *)a)->name, (*(const struct role *const *)b)->name);
}

static int roles_json(const struct picture *p, json_t *out) {
    const struct role **sorted = calloc(map_len(p->roles) + 1, sizeof *sorted);
    size_t n = 0, it = 0;
    void *role;
    int rc = sorted ? 0 : OSMO_ENOMEM;
    while (sorted && map_next(p->roles, &it, NULL, &role))
        sorted[n++] = role;
    if (n)
        qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        json_t *v = role_json(sorted[i]);
        rc = v ? json_add(out, v) : OSMO_ENOMEM;
    }
    free(sorted);
    return rc;
}

int access_roles_json(engine_t *e, json_t **out, osmo_error_t *err) {
    _cleanup_json_ json_t *list = json_array();
    pthread_rwlock_rdlock(&e->access->lock);
    int rc = list ? roles_json(e->access->picture, list) : OSMO_ENOMEM;
    pthread_rwlock_unlock(&e->access->lock);
    if (rc < 0)
        return osmo_error_set(err, rc, "out of memory");
    *out = STEAL(list);
    return 0;
}

/* ---- life ---- */

int access_open(engine_t *e, osmo_error_t *err) {
    struct access *a = calloc(1, sizeof *a);
    if (!a)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr); /* a change must not wait until nobody asks */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&a->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&a->loading, NULL);
    waker_init(&a->waker);
    e->access = a;
    int rc = access_seed(e, err);
    if (rc >= 0)
        rc = picture_renew(e, err);
    if (rc < 0)
        return rc;
    if (pthread_create(&a->thread, NULL, renewer_main, e) != 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "cannot start a thread for roles: too many threads");
    a->started = true;
    return 0;
}

void access_stop(engine_t *e) {
    struct access *a = e->access;
    if (!a || !a->started)
        return;
    waker_stop(&a->waker);
    pthread_join(a->thread, NULL);
    a->started = false;
}

void access_close(engine_t *e) {
    struct access *a = e->access;
    if (!a)
        return;
    access_stop(e);
    picture_free(a->picture);
    waker_destroy(&a->waker);
    pthread_mutex_destroy(&a->loading);
    pthread_rwlock_destroy(&a->lock);
    e->access = NULL;
    free(a);
}
