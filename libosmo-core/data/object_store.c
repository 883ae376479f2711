/* The door to the drivers of object_store.h: chooses one by the scheme of the URL and lets only good names through. */
#include "data/object_store.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#define PART_MAX 240 /* what a file system takes, less a little */

static const struct object_driver *const drivers[] = {
    &object_file_driver, &object_s3_driver, &object_gs_driver, &object_azure_driver, &object_swift_driver, &object_tos_driver
};

/* ---- stores ---- */

static int find_driver(const char *url, const struct object_driver **out, osmo_error_t *err) {
    const char *end = url ? strstr(url, "://") : NULL;
    size_t len = end ? (size_t)(end - url) : 0;
    for (size_t i = 0; end && i < ARRAY_SIZE(drivers); i++) {
        if (strlen(drivers[i]->scheme) == len && memcmp(drivers[i]->scheme, url, len) == 0) {
            *out = drivers[i];
            return 0;
        }
    }
    if (!len)
        return osmo_error_set(err, OSMO_EINVAL, "'%.200s' is not a URL of a place for objects: use "
                                                "file:///ABSOLUTE/DIRECTORY or s3://BUCKET/PATH",
                              url ? url : "");
    return osmo_error_set(err, OSMO_EINVAL, "places for objects with the scheme %.*s:// are not supported by this version: "
                                            "use file:///ABSOLUTE/DIRECTORY or s3://BUCKET/PATH", (int)(len < 40 ? len : 40), url);
}

int object_store_open(const char *url, const struct object_options *o, object_store_t **out, osmo_error_t *err) {
    static const struct object_options none = { 0 };
    const struct object_driver *d = NULL;
    *out = NULL;
    int rc = find_driver(url, &d, err);
    if (rc >= 0)
        rc = d->open(url, o ? o : &none, out, err);
    if (rc >= 0)
        (*out)->driver = d;
    return rc;
}

void object_store_close(object_store_t *s) {
    if (s)
        s->driver->close(s);
}

/* ---- names ---- */

static bool part_is_good(const char *part, size_t len) {
    if (!len || len > PART_MAX || part[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)part[i] < ' ' || part[i] == 0x7f)
            return false;
    return true;
}

/* Parts beginning with a dot are the drivers' own. */
static int check_name(const char *name, osmo_error_t *err) {
    size_t len = name ? strlen(name) : 0;
    bool good = len > 0 && len <= OBJECT_NAME_MAX;
    for (const char *p = name; good; ) {
        const char *slash = strchr(p, '/');
        good = part_is_good(p, slash ? (size_t)(slash - p) : strlen(p));
        if (!slash)
            break;
        p = slash + 1;
    }
    return good ? 0 : osmo_error_set(err, OSMO_EINVAL, "'%.80s' cannot be the name of an object: it must be a relative path of at "
                                                       "most %d bytes, its parts not empty, not beginning with a dot, without "
                                                       "control characters and at most %d bytes long",
                                     name ? name : "", OBJECT_NAME_MAX, PART_MAX);
}

/* ---- objects ---- */

int object_put(object_store_t *s, const char *name, object_writer_t **out, osmo_error_t *err) {
    *out = NULL;
    int rc = check_name(name, err);
    if (rc >= 0)
        rc = s->driver->put(s, name, out, err);
    if (rc >= 0)
        (*out)->driver = s->driver;
    return rc;
}

int object_write(object_writer_t *w, const void *data, size_t len, osmo_error_t *err) {
    return w->driver->write(w, data, len, err);
}

int object_commit(object_writer_t *w, osmo_error_t *err) { return w->driver->commit(w, err); }

void object_discard(object_writer_t *w) {
    if (w)
        w->driver->discard(w);
}

int object_put_bytes(object_store_t *s, const char *name, const void *data, size_t len, osmo_error_t *err) {
    object_writer_t *w = NULL;
    int rc = object_put(s, name, &w, err);
    if (rc < 0)
        return rc;
    rc = object_write(w, data, len, err);
    if (rc >= 0)
        return object_commit(w, err);
    object_discard(w);
    return rc;
}

int object_get(object_store_t *s, const char *name, object_reader_t **out, uint64_t *size, osmo_error_t *err) {
    *out = NULL;
    int rc = check_name(name, err);
    if (rc >= 0)
        rc = s->driver->get(s, name, out, size, err);
    if (rc >= 0)
        (*out)->driver = s->driver;
    return rc;
}

ssize_t object_read(object_reader_t *r, uint64_t offset, void *data, size_t max, osmo_error_t *err) {
    return r->driver->read(r, offset, data, max, err);
}

void object_done(object_reader_t *r) {
    if (r)
        r->driver->done(r);
}

struct listing { object_list_fn fn; void *ctx; };

/* What nobody could have put there is none of ours. */
static int list_one(void *ctx, const char *name, uint64_t size, osmo_error_t *err) {
    const struct listing *l = ctx;
    return check_name(name, NULL) < 0 ? 0 : l->fn(l->ctx, name, size, err);
}

int object_list(object_store_t *s, const char *prefix, object_list_fn fn, void *ctx, osmo_error_t *err) {
    struct listing l = { fn, ctx };
    int rc = check_name(prefix, err);
    return rc < 0 ? rc : s->driver->list(s, prefix, list_one, &l, err);
}

int object_remove(object_store_t *s, const char *name, osmo_error_t *err) {
    int rc = check_name(name, err);
    return rc < 0 ? rc : s->driver->remove(s, name, err);
}

int object_tidy(object_store_t *s, const char *prefix, osmo_error_t *err) {
    int rc = check_name(prefix, err);
    return rc < 0 ? rc : s->driver->tidy(s, prefix, err);
}
