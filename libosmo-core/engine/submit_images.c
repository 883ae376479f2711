/* Images against their registries, with the credentials of the user, where the backend of the pool pulls images at all. A registry that
 * refuses is an error of the submission; one that cannot be asked is a warning, unless the site is strict. What a registry reports of an
 * image is what its tasks run: the digest is added to its name. Called by submit_checks.c, last, because others have to be waited for. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "engine/credentials.h"
#include "engine/registry.h"
#include "engine/submit_internal.h"

#define IMAGES_MAX 256 /* different ones of one submission that are asked for */

struct image_use {
    struct image_check check;
    const char *task; /* the first that has it */
    char *scope, *host;
};
struct images {
    struct image_use *list;
    size_t n;
    map_t *by_name; /* → list index + 1 */
    bool more;      /* than are asked for */
};

static void images_clear(struct images *im) {
    for (size_t i = 0; i < im->n; i++) {
        free(im->list[i].scope);
        free(im->list[i].host);
    }
    free(im->list);
    map_free(im->by_name);
}

/* A backend that nobody knows yet may be of any kind. */
static int backend_pulls(const struct submission *s, bool *pulls, osmo_error_t *err) {
    struct backend_row row = { 0 };
    db_t *db;
    *pulls = false;
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = repo_backend_get(db, s->pool->backend, &row, err);
    if (rc >= 0)
        *pulls = row.pulls_images;
    backend_row_clear(&row);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static int add_image(const struct submission *s, struct images *im, const struct spec_task *t, osmo_error_t *err) {
    if (!t->image || map_has(im->by_name, t->image))
        return 0;
    if (im->n == IMAGES_MAX) {
        im->more = true;
        return 0;
    }
    char *scope = registry_image_scope(t->image);
    if (!scope || !registry_is_checked(s->settings, scope)) {
        bool failed = !scope;
        free(scope);
        return failed ? no_memory(err) : 0;
    }
    struct image_use *u = &im->list[im->n];
    *u = (struct image_use){ .check.image = t->image, .task = t->name, .scope = scope, .host = strndup(scope, strcspn(scope, "/")) };
    im->n++;
    return u->host && map_set(im->by_name, t->image, (void *)(uintptr_t)im->n) >= 0 ? 0 : no_memory(err);
}

static int collect(const struct submission *s, struct images *im, osmo_error_t *err) {
    int rc = 0;
    im->list = calloc(IMAGES_MAX, sizeof *im->list);
    im->by_name = map_new(NULL);
    if (!im->list || !im->by_name)
        return no_memory(err);
    for (size_t g = 0; rc >= 0 && g < s->spec->ngroups; g++)
        for (size_t t = 0; rc >= 0 && t < s->spec->groups[g].ntasks; t++)
            rc = add_image(s, im, &s->spec->groups[g].tasks[t], err);
    return rc;
}

static bool is_registry(const void *ctx, const struct credential_row *row) {
    (void)ctx;
    return str_eq(row->type, credential_kind_name(CREDENTIAL_REGISTRY));
}

static int ask(const struct submission *s, struct images *im, osmo_error_t *err) {
    struct credentials own = { 0 };
    db_t *db;
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = credentials_open(s->e, db, s->rq->user, is_registry, NULL, &own, err);
    const char **scopes = calloc(own.n + 1, sizeof *scopes);
    struct image_check *checks = calloc(im->n, sizeof *checks);
    if (rc >= 0 && (!scopes || !checks))
        rc = no_memory(err);
    for (size_t i = 0; rc >= 0 && i < own.n; i++)
        scopes[i] = own.list[i].profile;
    for (size_t i = 0; rc >= 0 && i < im->n; i++) {
        int best = registry_best_scope(scopes, own.n, im->list[i].scope);
        if (best >= 0) {
            im->list[i].check.username = credentials_value(&own.list[best], "username");
            im->list[i].check.auth = credentials_value(&own.list[best], "auth");
        }
        checks[i] = im->list[i].check;
    }
    if (rc >= 0)
        registry_check_images(s->e, checks, im->n);
    for (size_t i = 0; rc >= 0 && i < im->n; i++) {
        im->list[i].check = checks[i];
        im->list[i].check.username = im->list[i].check.auth = NULL; /* wiped now */
    }
    free(checks);
    free(scopes);
    credentials_wipe(&own);
    return rc;
}

/* One warning a registry. */
static int warn(struct submission *s, const struct image_use *u, strlist_t *told, osmo_error_t *err) {
    if (strlist_has(told, u->host))
        return 0;
    _cleanup_free_ char *text = str_printf("registry %s was not asked for image %s of task %s: %s; whether it can be pulled shows when "
                                           "the task starts", u->host, u->check.image, u->task, u->check.why);
    return text && strlist_add(told, u->host) >= 0 && strlist_add(&s->warnings, text) >= 0 ? 0 : no_memory(err);
}

static int judge(struct submission *s, const struct images *im, osmo_error_t *err) {
    strlist_t told = { 0 };
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < im->n; i++) {
        const struct image_use *u = &im->list[i];
        if (u->check.rc == OSMO_ECREDENTIAL)
            rc = osmo_error_set(err, OSMO_ECREDENTIAL, "task %s: registry %s does not give image %s: %s; correct the image, or store a "
                                "login for %s (osmo credential set NAME --type REGISTRY)", u->task, u->host, u->check.image,
                                u->check.why, u->host);
        else if (u->check.rc < 0 && s->settings->strict_registries)
            rc = osmo_error_set(err, OSMO_ECREDENTIAL, "task %s: registry %s cannot be asked for image %s: %s; this site wants every "
                                "image checked, try again later", u->task, u->host, u->check.image, u->check.why);
    }
    for (size_t i = 0; rc >= 0 && i < im->n; i++)
        if (im->list[i].check.rc < 0)
            rc = warn(s, &im->list[i], &told, err);
    strlist_free(&told);
    if (rc >= 0 && im->more) {
        _cleanup_free_ char *text = str_printf("registries were asked for the first %d images only", IMAGES_MAX);
        rc = text && strlist_add(&s->warnings, text) >= 0 ? 0 : no_memory(err);
    }
    return rc;
}

/* name:tag becomes name:tag@digest. */
static int pin(struct submission *s, const struct images *im, osmo_error_t *err) {
    for (size_t g = 0; g < s->spec->ngroups; g++)
        for (size_t t = 0; t < s->spec->groups[g].ntasks; t++) {
            struct spec_task *task = &s->spec->groups[g].tasks[t];
            size_t at = task->image ? (size_t)(uintptr_t)map_get(im->by_name, task->image) : 0;
            const struct image_check *c = at ? &im->list[at - 1].check : NULL;
            if (!c || c->rc < 0 || !c->digest[0] || strchr(task->image, '@'))
                continue;
            char *pinned = str_printf("%s@%s", task->image, c->digest);
            if (!pinned)
                return no_memory(err);
            free(task->image);
            task->image = pinned;
        }
    return 0;
}

int submission_check_images(struct submission *s, osmo_error_t *err) {
    _cleanup_(images_clear) struct images im = { 0 };
    bool pulls;
    int rc = backend_pulls(s, &pulls, err);
    if (rc < 0 || !pulls)
        return rc;
    rc = collect(s, &im, err);
    if (rc < 0 || !im.n)
        return rc;
    rc = ask(s, &im, err);
    if (rc >= 0)
        rc = judge(s, &im, err);
    return rc < 0 ? rc : pin(s, &im, err);
}
