/* Paths of rsync commands. Pure. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rsync.h"

#define PATH_LEN_MAX 4096

int rsync_split(const char *spec, char **first, char **second, osmo_error_t *err) {
    buf_t part[2] = { BUF_INIT(PATH_LEN_MAX), BUF_INIT(PATH_LEN_MAX) };
    int at = 0;
    *first = *second = NULL;
    for (const char *p = spec; *p; p++) {
        if (p[0] == '\\' && (p[1] == ':' || p[1] == '\\'))
            buf_putc(&part[at], *++p);
        else if (*p == ':' && at == 0)
            at = 1;
        else
            buf_putc(&part[at], *p);
    }
    int rc = OSMO_OK;
    if (buf_failed(&part[0]) || buf_failed(&part[1]))
        rc = osmo_error_set(err, OSMO_EINVAL, "a path is longer than %d bytes", PATH_LEN_MAX);
    else if (!part[0].len || !part[1].len)
        rc = osmo_error_set(err, OSMO_EINVAL, "'%s' is not two paths with a colon between them (write \\: for a colon of a path)", spec);
    if (rc == OSMO_OK && (!(*first = buf_steal(&part[0], NULL)) || !(*second = buf_steal(&part[1], NULL))))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    buf_free(&part[0]);
    buf_free(&part[1]);
    return rc;
}

/* How much of `remote` the allowed path is: its length, or 0. */
static size_t prefix_len(const char *remote, const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (strncmp(remote, path, n) != 0 || path[0] != '/')
        return 0;
    return n == 1 || remote[n] == '/' || !remote[n] ? n : 0;
}

static bool climbs(const char *path) {
    for (const char *p = path; (p = strstr(p, "/..")); p += 3) {
        if (p[3] == '/' || !p[3])
            return true;
    }
    return false;
}

int rsync_locate(const json_t *config, const char *remote, bool write, char **out, osmo_error_t *err) {
    const char *name = "osmo";
    size_t best = prefix_len(remote, RSYNC_WORKSPACE);
    bool writable = true;
    *out = NULL;
    if (remote[0] != '/' || climbs(remote))
        return osmo_error_set(err, OSMO_EINVAL,
            "'%s': paths in the task begin with a / and have no '..', as in " RSYNC_WORKSPACE "/data", remote);
    for (json_iter_t it = json_iter(json_get(config, "allowed_paths")); json_iter_next(&it);) {
        const char *path = json_get_str(it.value, "path");
        size_t n = path ? prefix_len(remote, path) : 0;
        if (n > best) {
            best = n;
            name = it.key;
            writable = json_get_bool(it.value, "writable", false);
        }
    }
    if (!best)
        return osmo_error_set(err, OSMO_EDENIED, "'%s' is not below " RSYNC_WORKSPACE " or another path that the service allows "
                              "(plugins_config.rsync.allowed_paths)", remote);
    if (write && !writable)
        return osmo_error_set(err, OSMO_EDENIED, "'%s' can be downloaded only: the service allows no writing there", remote);
    if (best == 1 && remote[0] == '/')
        best = 0; /* the root: all of it is the rest */
    *out = str_printf("%s%s", name, remote + best);
    return *out ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}
