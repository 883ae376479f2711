/* Objects that are not pods (secrets, services, PodGroups, …): one private file each, their labels in memory. Called by local.c
 * and local_plan.c with the driver's mutex held. */
#include <dirent.h>
#include <string.h>
#include "base/file.h"
#include "cluster/local/local_int.h"

bool name_ok(const char *name)
{
    if (!name || !*name || strlen(name) > 253 || name[0] == '.')
        return false;
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-._", *p)))
            return false;
    return true;
}

bool selector_match(const json_t *labels, const char *selector)
{
    while (selector && *selector) {
        char key[320];
        size_t n = strcspn(selector, ","), k = strcspn(selector, "=,");
        if (k >= sizeof(key) || k >= n)
            return false;
        memcpy(key, selector, k);
        key[k] = '\0';
        const char *value = selector + k + 1, *have = json_get_str(labels, key);
        size_t len = n - k - 1;
        if (!have || strlen(have) != len || memcmp(have, value, len) != 0)
            return false;
        selector += n + (selector[n] == ',');
    }
    return true;
}

void object_free(void *v)
{
    struct object *o = v;
    free(o->kind);
    free(o->name);
    json_free(o->labels);
    free(o);
}

static int object_remember(struct local *l, const char *key, const char *kind, const char *name, const json_t *v)
{
    struct object *o = calloc(1, sizeof(*o));
    const json_t *labels = json_path(v, "metadata", "labels", NULL);
    if (!o)
        return OSMO_ENOMEM;
    o->kind = str_dup(kind);
    o->name = str_dup(name);
    o->labels = labels ? json_copy(labels) : json_object();
    return map_set(l->objects, key, o);
}

static char *object_path(const struct local *l, const char *kind, const char *name)
{
    return str_printf("%s/objects/%s/%s.json", l->state_dir, kind, name);
}

int object_put(struct local *l, const char *kind, const char *name, json_t *v, bool exists, osmo_error_t *err)
{
    _cleanup_free_ char *key = str_printf("%s/%s", kind, name);
    _cleanup_free_ char *path = object_path(l, kind, name);
    _cleanup_free_ char *dir = str_printf("%s/objects/%s", l->state_dir, kind);
    _cleanup_free_ char *text = json_to_text(v);
    if (!key || !path || !dir || !text)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (map_has(l->objects, key) != exists)
        return exists ? osmo_error_set(err, OSMO_ENOTFOUND, "there is no %s %s", kind, name)
                      : osmo_error_set(err, OSMO_EEXISTS, "%s %s already exists", kind, name);
    if (map_len(l->objects) >= 10 * LOCAL_MAX_PODS)
        return osmo_error_set(err, OSMO_ELIMIT, "the local cluster holds too many objects");
    int rc = dir_make(dir, 0700, err);
    if (rc == 0)
        rc = file_write_atomic(path, text, strlen(text), 0600, false, err);
    if (rc == 0)
        rc = object_remember(l, key, kind, name, v);
    if (rc == 0)
        rc = place_object(l->place, v, err);
    l->place_needed = true;
    return rc;
}

int object_read(const struct local *l, const char *kind, const char *name, json_t **out, osmo_error_t *err)
{
    _cleanup_buf_ buf_t text = BUF_INIT(LOCAL_JSON_MAX);
    if (!name_ok(name))
        return osmo_error_set(err, OSMO_EINVAL, "%s has a bad name", kind);
    _cleanup_free_ char *path = object_path(l, kind, name);
    int rc = path ? file_read(path, &text, NULL) : OSMO_ENOMEM;
    if (rc == 0)
        rc = json_parse(buf_cstr(&text), text.len, out, NULL);
    return rc < 0 ? osmo_error_set(err, rc, "%s \"%s\": %s", kind, name, osmo_error_name(rc)) : 0;
}

static void object_drop(struct local *l, const char *key)
{
    struct object *o = map_get(l->objects, key);
    _cleanup_free_ char *path = object_path(l, o->kind, o->name);
    if (path)
        unlink(path);
    place_object_gone(l->place, o->kind, o->name);
    l->place_needed = true;
    map_remove(l->objects, key);
}

int object_erase(struct local *l, const char *kind, const char *name, osmo_error_t *err)
{
    _cleanup_free_ char *key = str_printf("%s/%s", kind, name);
    if (!key)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!map_has(l->objects, key))
        return osmo_error_set(err, OSMO_ENOTFOUND, "there is no %s %s", kind, name);
    object_drop(l, key);
    return 0;
}

int object_remove_all(struct local *l, const char *kind, const char *selector, osmo_error_t *err)
{
    size_t it = 0;
    const char *key;
    void *value;
    int n = 0;
    (void)err;
    while (map_next(l->objects, &it, &key, &value)) {
        struct object *o = value;
        if (!str_eq(o->kind, kind) || !selector_match(o->labels, selector))
            continue;
        object_drop(l, key);
        n++;
    }
    return n;
}

static int load_kind(struct local *l, const char *kind)
{
    _cleanup_free_ char *dir = str_printf("%s/objects/%s", l->state_dir, kind);
    DIR *d = dir ? opendir(dir) : NULL;
    int rc = 0;
    for (struct dirent *e; d && rc == 0 && (e = readdir(d));) {
        _cleanup_json_ json_t *v = NULL;
        size_t n = strlen(e->d_name);
        if (e->d_name[0] == '.' || !str_ends(e->d_name, ".json"))
            continue;
        _cleanup_free_ char *name = str_printf("%.*s", (int)(n - 5), e->d_name);
        _cleanup_free_ char *key = str_printf("%s/%s", kind, name ? name : "");
        if (!name || !key)
            rc = OSMO_ENOMEM;
        else if (object_read(l, kind, name, &v, NULL) == 0)
            rc = object_remember(l, key, kind, name, v);
        if (rc == 0 && v)
            rc = place_object(l->place, v, NULL);
    }
    if (d)
        closedir(d);
    return rc;
}

int object_load_all(struct local *l, osmo_error_t *err)
{
    _cleanup_free_ char *path = str_printf("%s/objects", l->state_dir);
    DIR *d = path ? opendir(path) : NULL;
    int rc = d ? 0 : osmo_error_set(err, OSMO_EIO, "cannot read %s", path ? path : "objects");
    for (struct dirent *e; rc == 0 && (e = readdir(d));)
        if (e->d_name[0] != '.')
            rc = load_kind(l, e->d_name);
    if (d)
        closedir(d);
    return rc;
}

/* RFC 7386: null removes, objects merge, everything else replaces. */
int json_merge_patch(json_t *target, const json_t *patch)
{
    json_iter_t it = json_iter(patch);
    int rc = 0;
    while (rc == 0 && json_iter_next(&it)) {
        json_t *old = json_get(target, it.key);
        if (json_kind(it.value) == JSON_NULL)
            json_del(target, it.key);
        else if (json_kind(it.value) == JSON_OBJECT && json_kind(old) == JSON_OBJECT)
            rc = json_merge_patch(old, it.value);
        else
            rc = json_set(target, it.key, json_copy(it.value));
    }
    return rc;
}
