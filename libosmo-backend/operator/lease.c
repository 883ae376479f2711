/* See lease.h. */
#include "operator/lease.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/json.h"
#include "base/str.h"

#define DURATION_S 15
#define AGAIN_MS 1000
#define HOLDER_MAX 256

struct lease {
    osmo_kube_t *k;
    char *name, *namespace_, *identity;
    int duration_s;
    int64_t renew_ms;
    const logger_t *log;
    void *ctx;
    void (*lost)(void *ctx);
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;     /* held, lost, stop */
    bool started, interrupted, stop;
    bool held, over;           /* over: it was held and is lost; nothing follows */
    int64_t renewed_us;        /* when the request that renewed it last was begun */
    char holder[HOLDER_MAX];   /* of the lease as it was seen last */
    char trouble[256];
    /* of the thread alone */
    json_t *object;            /* as the server gave it last */
    char seen[OSMO_KUBE_VERSION_MAX]; /* version of another one's lease, since when, and for how long it is good */
    int64_t seen_us, good_us;
};

/* The lease ends `duration` after it was renewed; what is done under it must be over by then. */
static int64_t safe_us(const lease_t *l) { return l->duration_s * INT64_C(1000000) * 2 / 3; }

static osmo_kube_target_t target(const lease_t *l, bool one) {
    return (osmo_kube_target_t){ .size = sizeof(osmo_kube_target_t), .api_version = "coordination.k8s.io/v1", .kind = "Lease",
                                 .namespace_ = l->namespace_, .name = one ? l->name : NULL };
}

/* ---- waiting ---- */

/* False when it is to stop. */
static bool rest(lease_t *l, int64_t us) {
    int64_t until = clock_mono_us() + us;
    pthread_mutex_lock(&l->lock);
    while (!l->stop && cond_wait_until(&l->change, &l->lock, until))
        ;
    bool goes_on = !l->stop;
    pthread_mutex_unlock(&l->lock);
    return goes_on;
}

static void note(lease_t *l, const char *holder, const char *trouble) {
    bool news = false;
    pthread_mutex_lock(&l->lock);
    if (holder)
        snprintf(l->holder, sizeof l->holder, "%s", holder);
    if (trouble) {
        news = strncmp(l->trouble, trouble, sizeof l->trouble - 1) != 0;
        snprintf(l->trouble, sizeof l->trouble, "%s", trouble);
    }
    pthread_mutex_unlock(&l->lock);
    if (news && *trouble)
        log_warning(l->log, "lease %s: %s", l->name, trouble);
}

/* ---- what the lease says ---- */

static void micro_time(char out[40]) {
    int64_t us = clock_now_us();
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 40 - n, ".%06dZ", (int)(us % 1000000));
}

/* The object as it is, or a new one, with this replica as the holder, or with none. */
static char *written(const lease_t *l, bool mine, bool changes_hands) {
    _cleanup_json_ json_t *v = l->object ? json_copy(l->object) : json_object();
    char now[40];
    micro_time(now);
    int rc = v ? json_set_str(v, "apiVersion", "coordination.k8s.io/v1") : OSMO_ENOMEM;
    rc |= v ? json_set_str(v, "kind", "Lease") : OSMO_ENOMEM;
    if (rc == 0 && !json_get(v, "metadata"))
        rc = json_set(v, "metadata", json_object());
    if (rc == 0 && !json_get(v, "spec"))
        rc = json_set(v, "spec", json_object());
    json_t *meta = json_get(v, "metadata"), *spec = json_get(v, "spec");
    if (rc == 0)
        rc = json_set_str(meta, "name", l->name) | json_set_str(meta, "namespace", l->namespace_);
    if (rc == 0)
        rc = json_set_str(spec, "holderIdentity", mine ? l->identity : "") | json_set_str(spec, "renewTime", now) |
             json_set_int(spec, "leaseDurationSeconds", mine ? l->duration_s : 1);
    if (rc == 0 && changes_hands)
        rc = json_set_str(spec, "acquireTime", now) |
             json_set_int(spec, "leaseTransitions", json_get_int(spec, "leaseTransitions", -1) + 1);
    return rc ? NULL : json_to_text(v);
}

static int keep(lease_t *l, const char *text, osmo_error_t *err) {
    json_free(l->object);
    l->object = NULL;
    return json_parse(text, strlen(text), &l->object, err);
}

static int write_down(lease_t *l, bool mine, bool changes_hands, osmo_error_t *err) {
    bool new = !l->object;
    osmo_kube_target_t t = target(l, !new);
    _cleanup_free_ char *text = written(l, mine, changes_hands), *answer = NULL;
    if (!text)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = new ? osmo_kube_create(l->k, &t, text, strlen(text), &answer, err)
                 : osmo_kube_replace(l->k, &t, text, strlen(text), &answer, err);
    return rc < 0 ? rc : keep(l, answer ? answer : "{}", err);
}

/* ---- contending ---- */

static void take(lease_t *l, int64_t begun_us) {
    pthread_mutex_lock(&l->lock);
    l->held = true;
    l->renewed_us = begun_us;
    *l->trouble = '\0';
    snprintf(l->holder, sizeof l->holder, "%s", l->identity);
    pthread_cond_broadcast(&l->change);
    pthread_mutex_unlock(&l->lock);
    log_info(l->log, "this replica (%s) holds the lease %s and works", l->identity, l->name);
}

static int read_lease(lease_t *l, osmo_error_t *err) {
    osmo_kube_target_t t = target(l, true);
    _cleanup_free_ char *text = NULL;
    size_t len = 0;
    int rc = osmo_kube_get(l->k, &t, &text, &len, err);
    if (rc == OSMO_ENOTFOUND) {
        json_free(l->object);
        l->object = NULL;
        return OSMO_OK;
    }
    return rc < 0 ? rc : keep(l, text, err);
}

/* How long another one's lease is good, from now; 0 when it may be taken. */
static int64_t good_for(lease_t *l) {
    const json_t *spec = json_get(l->object, "spec");
    const char *holder = json_get_str(spec, "holderIdentity");
    const char *version = json_get_str(json_get(l->object, "metadata"), "resourceVersion");
    int64_t now = clock_mono_us(), duration = json_get_int(spec, "leaseDurationSeconds", l->duration_s);
    note(l, holder ? holder : "", NULL);
    if (!holder || !*holder || strcmp(holder, l->identity) == 0)
        return 0;
    if (!version || strncmp(version, l->seen, sizeof l->seen - 1) != 0) {
        snprintf(l->seen, sizeof l->seen, "%s", version ? version : "");
        l->seen_us = now;
        l->good_us = (duration < 1 ? 1 : duration > 3600 ? 3600 : duration) * 1000000;
    }
    return l->seen_us + l->good_us > now ? l->seen_us + l->good_us - now : 0;
}

static int any_change(void *ctx, osmo_kube_change_t change, const char *json, size_t len) {
    (void)json, (void)len;
    *(bool *)ctx = change != OSMO_KUBE_BOOKMARK;
    return *(bool *)ctx;
}

/* Until the lease changes or may be taken. A watch that is refused is made up for by asking more often. */
static void watch(lease_t *l, int64_t us) {
    _cleanup_free_ char *field = str_printf("metadata.name=%s", l->name);
    osmo_kube_target_t t = target(l, false);
    t.field_selector = field;
    osmo_error_t err = OSMO_ERROR_INIT;
    bool changed = false;
    int64_t until = clock_mono_us() + us;
    if (field)
        osmo_kube_watch(l->k, &t, l->seen, (int)((us + 999999) / 1000000), any_change, &changed, &err);
    int64_t left = until - clock_mono_us();
    if (!changed && left > 0)
        rest(l, left < AGAIN_MS * 1000 ? left : AGAIN_MS * 1000);
}

static void contend(lease_t *l) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t begun = clock_mono_us();
    int rc = read_lease(l, &err);
    int64_t us = rc == 0 && l->object ? good_for(l) : 0;
    if (rc == 0 && us > 0) {
        note(l, NULL, "");
        watch(l, us);
        return;
    }
    if (rc == 0) {
        begun = clock_mono_us();
        rc = write_down(l, true, true, &err);
    }
    if (rc == 0) {
        take(l, begun);
    } else if (rc != OSMO_ECONFLICT && rc != OSMO_EEXISTS) { /* another one was faster: look again at once */
        note(l, NULL, *err.text ? err.text : osmo_error_name(rc));
        rest(l, AGAIN_MS * 1000);
    }
}

/* ---- holding ---- */

static void lose(lease_t *l, const char *why) {
    log_error(l->log, "lease %s is lost, this replica stops working: %s", l->name, why);
    pthread_mutex_lock(&l->lock);
    l->held = false;
    l->over = true;
    snprintf(l->trouble, sizeof l->trouble, "%s", why);
    pthread_cond_broadcast(&l->change);
    pthread_mutex_unlock(&l->lock);
    if (l->lost)
        l->lost(l->ctx);
}

static bool is_ours(const lease_t *l) {
    return str_eq(json_get_str(json_get(l->object, "spec"), "holderIdentity"), l->identity);
}

/* A conflict is somebody who wrote into the lease, or our own request whose answer was lost. */
static int renew(lease_t *l, osmo_error_t *err) {
    int64_t begun = clock_mono_us();
    int rc = write_down(l, true, false, err);
    if (rc == OSMO_ECONFLICT || rc == OSMO_ENOTFOUND) {
        rc = read_lease(l, err);
        if (rc == 0 && l->object && !is_ours(l))
            return OSMO_EGONE;
        begun = clock_mono_us();
        if (rc == 0)
            rc = write_down(l, true, false, err);
    }
    if (rc == 0) {
        pthread_mutex_lock(&l->lock);
        l->renewed_us = begun;
        *l->trouble = '\0';
        pthread_mutex_unlock(&l->lock);
    }
    return rc;
}

static void hold(lease_t *l, int64_t *next_us) {
    if (!rest(l, *next_us))
        return;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = renew(l, &err);
    *next_us = rc < 0 && l->renew_ms > AGAIN_MS ? AGAIN_MS * 1000 : l->renew_ms * 1000;
    if (rc == OSMO_EGONE) {
        char why[HOLDER_MAX + 40];
        snprintf(why, sizeof why, "%s took it", json_get_str(json_get(l->object, "spec"), "holderIdentity"));
        lose(l, why);
    } else if (rc < 0) {
        const char *why = *err.text ? err.text : osmo_error_name(rc);
        note(l, NULL, why);
        if (clock_mono_us() - l->renewed_us >= safe_us(l))
            lose(l, why);
    }
}

static void give_back(lease_t *l) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (write_down(l, false, false, &err) < 0)
        log_info(l->log, "lease %s could not be given back, it ends by itself: %s", l->name, err.text);
}

static void *lease_main(void *ctx) {
    lease_t *l = ctx;
    int64_t next_us = l->renew_ms * 1000;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        bool held = l->held, over = l->over;
        pthread_mutex_unlock(&l->lock);
        if (over)
            rest(l, INT64_C(3600) * 1000000);
        else if (held)
            hold(l, &next_us);
        else
            contend(l);
        pthread_mutex_lock(&l->lock);
    }
    bool held = l->held;
    pthread_mutex_unlock(&l->lock);
    if (held)
        give_back(l);
    return NULL;
}

/* ---- for others ---- */

int lease_open(osmo_kube_t *k, const struct lease_options *o, lease_t **out, osmo_error_t *err) {
    lease_t *l = calloc(1, sizeof *l);
    if (!l) {
        osmo_kube_free(k);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    l->k = k;
    l->name = str_dup(o->name);
    l->namespace_ = str_dup(o->namespace_);
    l->identity = str_dup(o->identity);
    l->duration_s = o->duration_s > 0 ? o->duration_s : DURATION_S;
    l->renew_ms = o->renew_ms > 0 ? o->renew_ms : l->duration_s * INT64_C(1000) / 3;
    l->log = o->log;
    l->ctx = o->ctx;
    l->lost = o->lost;
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->change);
    bool ok = l->name && l->namespace_ && l->identity;
    l->started = ok && pthread_create(&l->thread, NULL, lease_main, l) == 0;
    if (!l->started) {
        lease_close(l);
        return osmo_error_set(err, OSMO_ENOMEM, "no memory or threads for a lease");
    }
    *out = l;
    return OSMO_OK;
}

int lease_wait(lease_t *l) {
    pthread_mutex_lock(&l->lock);
    while (!l->held && !l->over && !l->interrupted)
        pthread_cond_wait(&l->change, &l->lock);
    int rc = l->interrupted ? OSMO_ECONFLICT : l->held ? OSMO_OK : OSMO_EGONE;
    pthread_mutex_unlock(&l->lock);
    return rc;
}

void lease_interrupt(lease_t *l) {
    pthread_mutex_lock(&l->lock);
    l->interrupted = true;
    pthread_cond_broadcast(&l->change);
    pthread_mutex_unlock(&l->lock);
}

bool lease_is_held(lease_t *l) {
    pthread_mutex_lock(&l->lock);
    bool held = l->held && clock_mono_us() - l->renewed_us < safe_us(l);
    pthread_mutex_unlock(&l->lock);
    return held;
}

void lease_describe(lease_t *l, char *out, size_t cap) {
    pthread_mutex_lock(&l->lock);
    if (l->held)
        snprintf(out, cap, "holds the lease %s", l->name);
    else if (*l->trouble)
        snprintf(out, cap, "stands by: the lease %s cannot be had: %s", l->name, l->trouble);
    else
        snprintf(out, cap, "stands by: %s holds the lease %s", *l->holder ? l->holder : "nobody", l->name);
    pthread_mutex_unlock(&l->lock);
}

void lease_close(lease_t *l) {
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    bool waits = !l->held; /* perhaps in a watch */
    pthread_cond_broadcast(&l->change);
    pthread_mutex_unlock(&l->lock);
    if (waits)
        osmo_kube_stop(l->k);
    if (l->started)
        pthread_join(l->thread, NULL);
    osmo_kube_free(l->k);
    json_free(l->object);
    pthread_cond_destroy(&l->change);
    pthread_mutex_destroy(&l->lock);
    free(l->name);
    free(l->namespace_);
    free(l->identity);
    free(l);
}
