/* List and watch of one kind of objects; see reflector.h.
 *
 * The version that is gone on from is that of the last object or bookmark, and that of the list before the first of them. 410, as a status
 * or as an event, leads to a new list, whose difference to what is known is told. So does a server whose history has gone back (a store
 * brought back from a copy): it is known by a bookmark that is older than what was seen, or by "Too large resource version" that does not
 * end. Every failure is followed by a pause that grows with each further one; what counts as success is a watch that lasts. */
#include "cluster/kubernetes/reflector.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/error.h"
#include "base/str.h"
#include "cluster/kubernetes/known.h"

#define WATCH_SECONDS 240       /* to twice that: connections are spread, and a lost one is found out some time */
#define PAUSE_MIN_MS 200
#define PAUSE_MAX_MS 30000
#define OPTIONAL_PAUSE_MS 60000
#define LASTING_US 1000000      /* a watch that ends before that is a failure */
#define TOO_LARGE_MAX 5         /* times that a version is said to be from the future before a new list is made */
#define TELL_AFTER 2            /* failures in a row before something is said to be wrong */

struct reflector {
    osmo_kube_t *k;
    struct reflector_options o;
    char *strings[6];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool stop;
    /* of the thread alone */
    known_t *known;
    char version[OSMO_KUBE_VERSION_MAX];
    bool listed, begun;         /* version is good; a first list was made */
    bool came, back;            /* in this watch: anything; a bookmark older than what was seen */
    uint32_t round;
    unsigned failures, too_large, seed;
    bool oom;
    int told;                   /* the code of the trouble that was told, 0 = none */
};

static bool is_stopping(reflector_t *r) {
    pthread_mutex_lock(&r->lock);
    bool stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    return stop;
}

/* ---- versions ---- */

/* They are numbers wherever they are compared here; anything else is not older and not newer. */
static int compare_versions(const char *a, size_t alen, const char *b, size_t blen) {
    for (size_t i = 0; i < alen; i++)
        if (a[i] < '0' || a[i] > '9')
            return 0;
    for (size_t i = 0; i < blen; i++)
        if (b[i] < '0' || b[i] > '9')
            return 0;
    if (!alen || !blen)
        return 0;
    return alen != blen ? (alen < blen ? -1 : 1) : memcmp(a, b, alen);
}

static void keep_version(reflector_t *r, const struct meta *m) {
    if (m->version.len && m->version.len < sizeof r->version) {
        memcpy(r->version, m->version.text, m->version.len);
        r->version[m->version.len] = '\0';
    }
}

/* ---- one object ---- */

static void tell(reflector_t *r, osmo_change_t change, const char *json, size_t len) { r->o.change(r->o.ctx, change, json, len); }

static void tell_gone(reflector_t *r, const struct known_one *one) {
    buf_t text = BUF_INIT(4096);
    known_text(one, &text);
    if (buf_failed(&text))
        r->oom = true;
    else
        tell(r, OSMO_CHANGE_DELETED, text.data, text.len);
    buf_free(&text);
}

static void is_there(reflector_t *r, const char *key, const struct meta *m, const char *json, size_t len) {
    struct known_one *one = known_get(r->known, key);
    if (one && !known_is(one, m)) { /* another one of the same name: the old one went unseen */
        tell_gone(r, one);
        known_remove(r->known, key);
        one = NULL;
    }
    if (!one) {
        if (known_add(r->known, key, m, r->round))
            tell(r, OSMO_CHANGE_ADDED, json, len);
        else
            r->oom = true;
        return;
    }
    uint64_t version = meta_hash(m->version.text, m->version.len);
    one->round = r->round;
    if (one->version == version)
        return;
    one->version = version;
    tell(r, OSMO_CHANGE_MODIFIED, json, len);
}

static void is_gone(reflector_t *r, const char *key, const struct meta *m, const char *json, size_t len) {
    const struct known_one *one = known_get(r->known, key);
    if (!one)
        return;
    if (known_is(one, m))
        tell(r, OSMO_CHANGE_DELETED, json, len);
    else
        tell_gone(r, one);
    known_remove(r->known, key);
}

static bool read_object(reflector_t *r, const char *json, size_t len, struct meta *m, char key[META_KEY_MAX]) {
    if (meta_read(json, len, false, m) && meta_key(m, key))
        return true;
    log_warning(r->o.log, "an object of kind %s cannot be read: it is left out", r->o.what.kind);
    return false;
}

/* ---- the list ---- */

static int on_listed(void *ctx, const char *json, size_t len) {
    reflector_t *r = ctx;
    struct meta m;
    char key[META_KEY_MAX];
    if (!read_object(r, json, len, &m, key))
        return is_stopping(r);
    if (!r->o.from_now)
        is_there(r, key, &m, json, len);
    else if (!json_slice_is(&m.version, r->version) &&
             compare_versions(m.version.text, m.version.len, r->version, strlen(r->version)) >= 0)
        tell(r, OSMO_CHANGE_ADDED, json, len); /* it is younger than where the last watch got to */
    return r->oom || is_stopping(r);
}

static void drop_stale(reflector_t *r) {
    struct known_one *one;
    for (size_t it = 0; (one = known_stale(r->known, r->round, &it));) {
        tell_gone(r, one);
        known_drop(one);
    }
}

static void list_is_whole(reflector_t *r) {
    drop_stale(r);
    r->begun = true;
    if (r->o.synced)
        r->o.synced(r->o.ctx);
}

static int relist(reflector_t *r, osmo_error_t *err) {
    char version[OSMO_KUBE_VERSION_MAX] = "";
    osmo_kube_target_t what = r->o.what;
    if (r->o.from_now && !r->begun)
        what.field_selector = "metadata.name=none"; /* the version is all that is asked for */
    r->round++;
    r->oom = false;
    int rc = osmo_kube_list(r->k, &what, r->o.page_size, version, on_listed, r, err);
    if (rc < 0)
        return rc;
    if (r->oom)
        return no_memory(err);
    if (is_stopping(r))
        return osmo_error_set(err, OSMO_ECONFLICT, "stopped");
    if (!*version)
        return osmo_error_set(err, OSMO_EIO, "the list of %s has no resourceVersion", r->o.what.kind);
    memcpy(r->version, version, sizeof r->version);
    r->listed = true;
    r->too_large = 0;
    list_is_whole(r);
    return 0;
}

/* ---- the watch ---- */

static void clear_trouble(reflector_t *r) {
    r->failures = 0;
    r->too_large = 0;
    if (r->told && r->o.state)
        r->o.state(r->o.ctx, NULL);
    r->told = 0;
}

static int on_change(void *ctx, osmo_kube_change_t change, const char *json, size_t len) {
    reflector_t *r = ctx;
    struct meta m;
    char key[META_KEY_MAX];
    if (change == OSMO_KUBE_BOOKMARK) {
        meta_read(json, len, false, &m); /* it has a version and no name */
        r->back = compare_versions(m.version.text, m.version.len, r->version, strlen(r->version)) < 0;
    } else if (read_object(r, json, len, &m, key)) {
        if (!r->o.from_now && change == OSMO_KUBE_DELETED)
            is_gone(r, key, &m, json, len);
        else if (!r->o.from_now)
            is_there(r, key, &m, json, len);
        else if (change != OSMO_KUBE_DELETED)
            tell(r, (osmo_change_t)change, json, len);
    }
    if (!r->back && !r->oom)
        keep_version(r, &m);
    r->came = true;
    if (r->told)
        clear_trouble(r);
    return r->back || r->oom || is_stopping(r);
}

static int watch(reflector_t *r, osmo_error_t *err) {
    int64_t since = clock_mono_us();
    r->came = r->back = r->oom = false;
    int rc = osmo_kube_watch(r->k, &r->o.what, r->version, WATCH_SECONDS + rand_r(&r->seed) % WATCH_SECONDS, on_change, r, err);
    bool lasted = clock_mono_us() - since >= LASTING_US;
    if (r->back)
        return osmo_error_set(err, OSMO_EGONE, "the history of the server has gone back");
    if (r->oom)
        return no_memory(err);
    if (lasted && (rc >= 0 || r->came))
        clear_trouble(r);
    else if (r->came)
        r->failures = 0; /* and this one */
    if (rc >= 0 && !lasted)
        return osmo_error_set(err, OSMO_EUNAVAIL, "the server ends each watch at once");
    return rc;
}

/* ---- failures ---- */

static void pause_ms(reflector_t *r, int64_t ms) {
    int64_t until = clock_mono_us() + ms * 1000;
    pthread_mutex_lock(&r->lock);
    while (!r->stop && cond_wait_until(&r->cond, &r->lock, until))
        ;
    pthread_mutex_unlock(&r->lock);
}

static bool is_too_large(const osmo_error_t *err) { return strstr(err->text, "oo large resource version") != NULL; }

/* Half of it by chance, so that many who lost the same server do not come back together. */
static int64_t pause_length(reflector_t *r, int rc, const osmo_error_t *err) {
    int64_t max = r->o.pause_max_ms ? r->o.pause_max_ms : PAUSE_MAX_MS, ms = PAUSE_MIN_MS;
    for (unsigned i = 1; i < r->failures && ms < max; i++)
        ms *= 2;
    if (rc == OSMO_EDENIED || rc == OSMO_EUNAUTH)
        ms = max;
    if (is_too_large(err) && ms < 1000)
        ms = 1000; /* what servers tell to wait */
    if (ms > max)
        ms = max;
    return ms / 2 + rand_r(&r->seed) % (ms / 2 + 1);
}

static void tell_trouble(reflector_t *r, int rc, const osmo_error_t *err) {
    char text[OSMO_ERROR_TEXT_MAX + 64];
    bool serious = rc == OSMO_EDENIED || rc == OSMO_EUNAUTH || rc == OSMO_ENOTFOUND;
    if (rc == OSMO_EGONE || (r->failures < TELL_AFTER && !serious))
        return;
    snprintf(text, sizeof text, "%s cannot be watched: %s", r->o.what.kind, *err->text ? err->text : osmo_error_name(rc));
    if (!r->told)
        log_warning(r->o.log, "%s", text);
    r->told = rc;
    if (r->o.state)
        r->o.state(r->o.ctx, text);
}

static void failed(reflector_t *r, int rc, const osmo_error_t *err) {
    if (is_stopping(r))
        return;
    if (rc == OSMO_ECONFLICT) { /* the client was stopped; this thread is about to be */
        pause_ms(r, PAUSE_MAX_MS);
        return;
    }
    if (rc == OSMO_ENOTFOUND && r->o.optional) {
        r->listed = false;
        r->round++;
        list_is_whole(r);
        pause_ms(r, r->o.pause_max_ms ? r->o.pause_max_ms : OPTIONAL_PAUSE_MS);
        return;
    }
    r->failures++;
    if (is_too_large(err) && ++r->too_large < TOO_LARGE_MAX)
        rc = OSMO_EUNAVAIL;
    else if (is_too_large(err) || rc == OSMO_EGONE || rc == OSMO_ENOTFOUND || rc == OSMO_ENOMEM)
        r->listed = false;
    log_debug(r->o.log, "%s: %s", r->o.what.kind, *err->text ? err->text : osmo_error_name(rc));
    tell_trouble(r, rc, err);
    pause_ms(r, pause_length(r, rc, err));
}

static int stop_at_first(void *ctx, const char *json, size_t len) {
    (void)ctx, (void)json, (void)len;
    return 1;
}

/* A watch that has come about says nothing for up to a minute. Whether the server is back is asked. */
static int look_again(reflector_t *r, osmo_error_t *err) {
    char version[OSMO_KUBE_VERSION_MAX] = "";
    if (r->told != OSMO_EUNAVAIL && r->told != OSMO_ETIMEOUT && r->told != OSMO_EIO)
        return 0;
    int rc = osmo_kube_list(r->k, &r->o.what, 1, version, stop_at_first, NULL, err);
    if (rc >= 0) {
        r->told = 0;
        if (r->o.state)
            r->o.state(r->o.ctx, NULL);
    }
    return rc;
}

static void *reflector_main(void *ctx) {
    reflector_t *r = ctx;
    while (!is_stopping(r)) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = r->listed ? look_again(r, &err) : relist(r, &err);
        if (rc >= 0)
            rc = watch(r, &err);
        if (rc < 0)
            failed(r, rc, &err);
    }
    return NULL;
}

/* ---- making and freeing ---- */

static int copy_strings(reflector_t *r) {
    osmo_kube_target_t *t = &r->o.what;
    const char **fields[] = { &t->api_version, &t->kind, &t->namespace_, &t->label_selector, &t->field_selector };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (!*fields[i])
            continue;
        if (!(r->strings[i] = str_dup(*fields[i])))
            return OSMO_ENOMEM;
        *fields[i] = r->strings[i];
    }
    return 0;
}

static void reflector_free(reflector_t *r) {
    for (size_t i = 0; i < sizeof r->strings / sizeof r->strings[0]; i++)
        free(r->strings[i]);
    known_free(r->known);
    pthread_cond_destroy(&r->cond);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

int reflector_start(osmo_kube_t *k, const struct reflector_options *o, reflector_t **out, osmo_error_t *err) {
    reflector_t *r = calloc(1, sizeof *r);
    if (!r)
        return no_memory(err);
    r->k = k;
    r->o = *o;
    r->seed = (unsigned)(clock_mono_us() ^ (intptr_t)r);
    pthread_mutex_init(&r->lock, NULL);
    cond_init(&r->cond);
    r->known = known_new();
    int rc = r->known && copy_strings(r) == 0 ? 0 : no_memory(err);
    if (rc == 0 && pthread_create(&r->thread, NULL, reflector_main, r) != 0)
        rc = osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: raise the limit of processes (ulimit -u)");
    if (rc < 0) {
        reflector_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void reflector_stop(reflector_t *r) {
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->cond);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    reflector_free(r);
}
