/* What kinds the API server has and under which names, asked for group by group when first needed and remembered. A kind that is not there
 * is looked for again, at most once a second, so that definitions that come later are found; a group whose own server is down is nobody
 * else's trouble. Called by kube_target.c and embedders. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json_reader.h"
#include "cluster/kubernetes/kube_int.h"

#define GROUPS_MAX 1000
#define KINDS_MAX 5000
#define KIND_MAX 96
#define ANSWER_MAX (16u << 20)
#define ASK_AGAIN_US 1000000

struct kube_kind { char kind[KIND_MAX], plural[96]; bool namespaced; };
struct kube_group {
    struct kube_kind *kinds;
    size_t n;
    bool asking;              /* somebody does, without the lock; the others wait */
    int64_t asked_us;         /* 0 = never, or doubted */
    int code;                 /* of the last time it was asked */
    osmo_error_t err;
};

static void free_group(void *p) {
    struct kube_group *g = p;
    free(g->kinds);
    free(g);
}

int kube_discovery_init(struct kube_discovery *d) {
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->told, NULL);
    return (d->groups = map_new(free_group)) ? 0 : OSMO_ENOMEM;
}

void kube_discovery_clear(struct kube_discovery *d) {
    map_free(d->groups);
    pthread_cond_destroy(&d->told);
    pthread_mutex_destroy(&d->lock);
}

void kube_discovery_doubt(struct kube_discovery *d, const char *api_version) {
    pthread_mutex_lock(&d->lock);
    struct kube_group *g = map_get(d->groups, api_version);
    if (g && !g->asking && clock_mono_us() - g->asked_us >= ASK_AGAIN_US)
        g->n = 0; /* a miss, so that the next one asks */
    pthread_mutex_unlock(&d->lock);
}

/* ---- reading ---- */

static bool read_kind(json_reader_t *r, struct kube_kind *out) {
    json_slice_t key, name = {0}, kind = {0};
    bool namespaced = false;
    if (!json_reader_object(r))
        return false;
    while (json_reader_key(r, &key)) {
        if (json_slice_is(&key, "name"))
            json_reader_string(r, &name);
        else if (json_slice_is(&key, "kind"))
            json_reader_string(r, &kind);
        else if (json_slice_is(&key, "namespaced"))
            json_reader_bool(r, &namespaced);
        else
            json_reader_skip(r, NULL);
    }
    if (!name.len || !kind.len || name.len >= sizeof out->plural || kind.len >= sizeof out->kind)
        return false;
    json_slice_copy(&name, out->plural, sizeof out->plural);
    json_slice_copy(&kind, out->kind, sizeof out->kind);
    out->namespaced = namespaced;
    return !strpbrk(out->plural, "/?#%& "); /* pods/status and the like are no kinds of their own */
}

static int read_kinds(const char *json, size_t len, struct kube_kind **out, size_t *n, osmo_error_t *err) {
    json_reader_t r;
    json_slice_t key;
    struct kube_kind one;
    size_t cap = 0;
    *n = 0;
    *out = NULL;
    json_reader_init(&r, json, len);
    bool whole = json_reader_kind(&r) == JSON_OBJECT && json_reader_object(&r);
    while (whole && json_reader_key(&r, &key)) {
        if (!json_slice_is(&key, "resources")) {
            json_reader_skip(&r, NULL);
        } else if (json_reader_array(&r)) {
            while (json_reader_element(&r)) {
                if (!read_kind(&r, &one) || *n >= KINDS_MAX)
                    continue;
                if (*n == cap) {
                    cap = cap ? 2 * cap : 32;
                    struct kube_kind *more = reallocarray(*out, cap, sizeof **out);
                    if (!more)
                        return no_memory(err);
                    *out = more;
                }
                (*out)[(*n)++] = one;
            }
        }
    }
    return whole && !json_reader_failed(&r) && json_reader_at_end(&r) ? 0
           : osmo_error_set(err, OSMO_EIO, "the Kubernetes API server's list of kinds is no list: is something else at its address?");
}

static int path_of(const char *api_version, char out[160], osmo_error_t *err) {
    const char *slash = strchr(api_version, '/');
    if (!*api_version || strspn(api_version, "abcdefghijklmnopqrstuvwxyz0123456789.-/") != strlen(api_version) || *api_version == '/' ||
        *api_version == '.' || (slash && (strchr(slash + 1, '/') || !slash[1] || slash[1] == '.')) || strlen(api_version) > 140)
        return osmo_error_set(err, OSMO_EINVAL, "\"%.100s\" is no apiVersion: it is v1 or GROUP/VERSION", api_version);
    snprintf(out, 160, "%s/%s", slash ? "/apis" : "/api", api_version);
    return 0;
}

/* ---- asking ---- */

static int ask(osmo_kube_t *k, const char *path, struct kube_kind **kinds, size_t *n, osmo_error_t *err) {
    _cleanup_buf_ buf_t answer = {0};
    const struct kube_call call = {.method = "GET", .path = path, .max = ANSWER_MAX, .repeatable = true, .discovery = true};
    *kinds = NULL;
    *n = 0;
    int rc = kube_request(k, &call, &answer, err);
    if (rc == 0)
        rc = read_kinds(answer.data ? answer.data : "", answer.len, kinds, n, err);
    if (rc < 0) {
        free(*kinds);
        *kinds = NULL;
        *n = 0;
    }
    return rc;
}

/* Called with the lock, which it lets go of while it asks. */
static void refresh(osmo_kube_t *k, struct kube_group *g, const char *path) {
    struct kube_kind *kinds;
    size_t n;
    osmo_error_t why = OSMO_ERROR_INIT;
    g->asking = true;
    pthread_mutex_unlock(&k->discovery.lock);
    int rc = ask(k, path, &kinds, &n, &why);
    pthread_mutex_lock(&k->discovery.lock);
    g->asking = false;
    g->asked_us = clock_mono_us();
    g->code = rc;
    g->err = why;
    if (rc == 0 || rc == OSMO_ENOTFOUND) { /* otherwise what was known is as good as before */
        free(g->kinds);
        g->kinds = kinds;
        g->n = n;
    }
    pthread_cond_broadcast(&k->discovery.told);
}

static const struct kube_kind *find_kind(const struct kube_group *g, const char *kind) {
    for (size_t i = 0; g && i < g->n; i++) {
        if (!strcmp(g->kinds[i].kind, kind))
            return &g->kinds[i];
    }
    return NULL;
}

static int group_of(struct kube_discovery *d, const char *api_version, struct kube_group **out, osmo_error_t *err) {
    if ((*out = map_get(d->groups, api_version)))
        return 0;
    if (map_len(d->groups) >= GROUPS_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "more than %d apiVersions were asked for", GROUPS_MAX);
    *out = calloc(1, sizeof **out);
    return *out && map_set(d->groups, api_version, *out) == 0 ? 0 : no_memory(err);
}

static int not_there(const struct kube_group *g, const char *api_version, const char *kind, osmo_error_t *err) {
    if (g->code < 0 && g->code != OSMO_ENOTFOUND)
        return osmo_error_set(err, g->code, "%s", g->err.text);
    return osmo_error_set(err, OSMO_ENOTFOUND, "the Kubernetes API server has no %s in %s: is its CustomResourceDefinition installed?",
                          kind, api_version);
}

int osmo_kube_discover(osmo_kube_t *k, const char *api_version, const char *kind, osmo_kube_resource_t *out, osmo_error_t *err) {
    struct kube_discovery *d = &k->discovery;
    char path[160];
    int rc = path_of(api_version, path, err);
    if (rc < 0)
        return rc;
    struct kube_group *g = NULL;
    const struct kube_kind *found = NULL;
    bool asked = false;
    pthread_mutex_lock(&d->lock);
    rc = group_of(d, api_version, &g, err);
    while (rc == 0 && !(found = find_kind(g, kind)) && !atomic_load(&k->pool.stopped)) {
        bool known = g->asked_us && (g->code == 0 || g->code == OSMO_ENOTFOUND) && clock_mono_us() - g->asked_us < ASK_AGAIN_US;
        if (g->asking)
            pthread_cond_wait(&d->told, &d->lock);
        else if (asked || known)
            break;
        else
            refresh(k, g, path);
        asked = true; /* by us or meanwhile */
    }
    if (found) {
        memset(out, 0, sizeof *out);
        memcpy(out->path, path, sizeof out->path);
        memcpy(out->plural, found->plural, sizeof out->plural);
        out->namespaced = found->namespaced;
    }
    if (rc == 0 && !found)
        rc = atomic_load(&k->pool.stopped) ? kube_stopped(err) : not_there(g, api_version, kind, err);
    pthread_mutex_unlock(&d->lock);
    return rc;
}
