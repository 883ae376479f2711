/* Volumes of a pod are directories below its own: volumes/<name>. Called by local_plan.c at admission. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/crypto.h"
#include "base/file.h"
#include "cluster/local/local_int.h"

#define SECRET_MAX (4 * 1024 * 1024)

static const json_t *find_volume(const json_t *manifest, const char *name)
{
    const json_t *list = json_path(manifest, "spec", "volumes", NULL);
    for (size_t i = 0; i < json_len(list); i++)
        if (str_eq(json_get_str(json_at(list, i), "name"), name))
            return json_at(list, i);
    return NULL;
}

char *volume_source(const struct local *l, const struct pod *p, const json_t *manifest, const char *name)
{
    const json_t *v = find_volume(manifest, name);
    const char *host = json_get_str(json_get(v, "hostPath"), "path");
    if (host)
        return str_dup(host);
    return v && name_ok(name) ? str_printf("%s/pods/%s/volumes/%s", l->state_dir, p->name, name) : NULL;
}

static int write_key(const struct local *l, const struct pod *p, const char *dir, const char *file, const void *data,
                     size_t len, mode_t mode, osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/%s", dir, file);
    if (!path || strstr(file, "..") || file[0] == '/')
        return osmo_error_set(err, OSMO_EINVAL, "volume key \"%s\" is not a file name", file);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    int rc = dir_make(path, 0755, err);
    *slash = '/';
    _cleanup_free_ char *changed = NULL;
    if (str_eq(l->isolation, "plain") && !memchr(data, '\0', len)) { /* texts speak of /osmo and /tmp */
        _cleanup_free_ char *root = str_printf("%s/pods/%s/root/%s", l->state_dir, p->name, p->user);
        changed = root ? rewrite_text(data, len, root, &len) : NULL;
        if (!changed)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        data = changed;
    }
    _cleanup_close_ int fd = rc < 0 ? -1
                                    : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode & 0777);
    if (rc == 0 && (fd < 0 || fchmod(fd, mode & 0777) < 0 || fd_write_all(fd, data, len) < 0))
        rc = osmo_error_set(err, OSMO_EIO, "cannot write %s: %s", path, strerror(errno));
    if (rc == 0 && str_eq(l->isolation, "mapped") &&
        fchown(fd, LOCAL_UID_BASE + p->address, LOCAL_UID_BASE + p->address) < 0)
        rc = osmo_error_set(err, OSMO_EIO, "cannot hand over %s: %s", path, strerror(errno));
    return rc;
}

static int write_coded(const struct local *l, const struct pod *p, const char *dir, const char *file,
                       const json_t *value, bool coded, mode_t mode, osmo_error_t *err) {
    _cleanup_buf_ buf_t data = BUF_INIT(SECRET_MAX);
    if (!coded)
        return write_key(l, p, dir, file, json_str(value) ? json_str(value) : "", json_str_len(value), mode, err);
    int rc = crypto_base64_decode(json_str(value) ? json_str(value) : "", json_str_len(value), &data, err);
    if (rc == 0)
        rc = write_key(l, p, dir, file, buf_cstr(&data), data.len, mode, err);
    crypto_wipe(data.data, data.len);
    return rc;
}

/* Keys to files; "items" picks and renames. */
static int write_map(const struct local *l, const struct pod *p, const char *dir, const json_t *map, bool coded,
                     const json_t *volume, osmo_error_t *err) {
    const json_t *items = json_get(volume, "items");
    mode_t mode = (mode_t)json_get_int(volume, "defaultMode", 0644);
    json_iter_t it = json_iter(map);
    int rc = 0;
    while (rc == 0 && json_iter_next(&it)) {
        if (!items)
            rc = write_coded(l, p, dir, it.key, it.value, coded, mode, err);
        for (size_t i = 0; rc == 0 && i < json_len(items); i++) {
            const json_t *item = json_at(items, i);
            const char *path = json_get_str(item, "path");
            if (path && str_eq(json_get_str(item, "key"), it.key))
                rc = write_coded(l, p, dir, path, it.value, coded, (mode_t)json_get_int(item, "mode", mode), err);
        }
    }
    return rc;
}

static int fill(const struct local *l, const struct pod *p, const char *dir, const json_t *v, osmo_error_t *err)
{
    const json_t *secret = json_get(v, "secret"), *map = json_get(v, "configMap"), *source = secret ? secret : map;
    const char *name = json_get_str(source, secret ? "secretName" : "name");
    _cleanup_json_ json_t *o = NULL;
    if (!source)
        return 0;
    if (!name)
        return osmo_error_set(err, OSMO_EINVAL, "volume \"%s\" names no object", json_get_str(v, "name"));
    int rc = object_read(l, secret ? "Secret" : "ConfigMap", name, &o, err);
    if (rc == OSMO_ENOTFOUND && json_get_bool(source, "optional", false))
        return 0;
    if (rc == 0)
        rc = write_map(l, p, dir, json_get(o, secret ? "data" : "binaryData"), true, source, err);
    if (rc == 0)
        rc = write_map(l, p, dir, json_get(o, secret ? "stringData" : "data"), false, source, err);
    return rc;
}

int volumes_build(const struct local *l, const struct pod *p, const json_t *manifest, osmo_error_t *err)
{
    static const char *const known[] = {"name", "emptyDir", "secret", "configMap", "hostPath"};
    const json_t *list = json_path(manifest, "spec", "volumes", NULL);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_len(list); i++) {
        const json_t *v = json_at(list, i);
        const char *name = json_get_str(v, "name");
        json_iter_t it = json_iter(v);
        while (json_iter_next(&it)) {
            bool ok = false;
            for (size_t k = 0; k < ARRAY_SIZE(known); k++)
                ok |= str_eq(it.key, known[k]);
            if (!ok)
                return osmo_error_set(err, OSMO_EINVAL, "volume \"%s\": %s is not supported by the local cluster",
                                      name ? name : "", it.key);
        }
        _cleanup_free_ char *dir = name ? volume_source(l, p, manifest, name) : NULL;
        if (!dir)
            return osmo_error_set(err, OSMO_EINVAL, "volume %zu has a bad name", i);
        if (json_has(v, "hostPath"))
            continue;
        rc = dir_make(dir, 0777, err);
        if (rc == 0 &&
            (chmod(dir, 0777) < 0 || (str_eq(l->isolation, "mapped") &&
                                      chown(dir, LOCAL_UID_BASE + p->address, LOCAL_UID_BASE + p->address) < 0)))
            rc = osmo_error_set(err, OSMO_EIO, "volume \"%s\": %s", name, strerror(errno));
        if (rc == 0)
            rc = fill(l, p, dir, v, err);
    }
    return rc;
}
