/* osmo_init: the init container. Lays out the pod's volumes, copies the in-pod programs where the other containers find
 * them, and puts the login files in place. Flags and paths are OSMO's. Exit 1 on any failure, with one line that says
 * what failed. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "runtime/flags.h"

struct places { const char *data, *login, *user_bin, *run, *binaries, *secrets; bool rsync; };

/* What is made last. A restarted init container finds it, and its work done. */
#define LAST_MADE "socket"

static bool already_laid_out(const char *data) {
    _cleanup_free_ char *last = str_printf("%s/" LAST_MADE, data);
    return last && file_exists(last);
}

static int make_open_dir(const char *base, const char *name, osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/%s", base, name);
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = dir_make(path, 0777, err);
    if (!rc && chmod(path, 0777)) /* past the umask: the user container may run as anyone */
        rc = osmo_error_set(err, OSMO_EIO, "cannot open up %s: %s", path, strerror(errno));
    return rc;
}

static int copy_as(const char *from_dir, const char *from, const char *to_dir, const char *to, mode_t mode, bool needed,
                   osmo_error_t *err) {
    _cleanup_free_ char *source = str_printf("%s/%s", from_dir, from);
    _cleanup_free_ char *target = str_printf("%s/%s", to_dir, to);
    if (!source || !target)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!needed && !file_exists(source))
        return 0;
    int rc = dir_make(to_dir, 0777, err);
    return rc ? rc : file_copy(source, target, mode, err);
}

/* The client as an image brings it: a directory of its own with all it needs, and a link to what starts it. */
static int copy_client(const char *self, const char *user_bin, osmo_error_t *err) {
    _cleanup_free_ char *from = str_printf("%s/osmo_cli.d", self);
    _cleanup_free_ char *to = str_printf("%s/osmo_cli", user_bin);
    _cleanup_free_ char *link = str_printf("%s/osmo", user_bin);
    if (!from || !to || !link)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    DIR *d = opendir(from);
    if (!d) /* as on a machine without images: the client itself, which finds its libraries there */
        return copy_as(self, "osmo", user_bin, "osmo", 0755, false, err);
    int rc = 0;
    for (struct dirent *e; !rc && (e = readdir(d));) {
        if (e->d_name[0] != '.')
            rc = copy_as(from, e->d_name, to, e->d_name, 0755, true, err);
    }
    closedir(d);
    if (!rc && symlink("osmo_cli/start", link) && errno != EEXIST)
        rc = osmo_error_set(err, OSMO_EIO, "cannot make the link %s: %s", link, strerror(errno));
    return rc;
}

static int own_directory(char *out, size_t cap, osmo_error_t *err) {
    ssize_t n = readlink("/proc/self/exe", out, cap - 1);
    char *slash;
    if (n <= 0 || (out[n] = '\0', !(slash = strrchr(out, '/'))))
        return osmo_error_set(err, OSMO_EIO, "cannot find my own directory: %s", strerror(errno));
    *slash = '\0';
    return 0;
}

static int lay_out(const struct places *p, osmo_error_t *err) {
    char self[4096];
    int rc = own_directory(self, sizeof self, err);
    _cleanup_free_ char *programs = str_printf("%s/osmo", p->binaries);
    _cleanup_free_ char *ctrl_config = str_printf("%s/ctrl/config", p->login);
    _cleanup_free_ char *user_config = str_printf("%s/user/config", p->login);
    if (!rc && (!programs || !ctrl_config || !user_config))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!rc)
        rc = copy_as(self, "osmo_ctrl", programs, "osmo_ctrl", 0777, true, err);
    if (!rc)
        rc = copy_as(self, "osmo_exec", programs, "osmo_exec", 0777, true, err);
    if (!rc)
        rc = make_open_dir(p->run, "workspace", err);
    if (!rc)
        rc = copy_client(self, p->user_bin, err);
    if (!rc && p->rsync) /* where osmo_exec looks first; without one in the image, that of the user's will do */
        rc = copy_as(self, "rsync", p->user_bin, "rsync", 0755, false, err);
    if (!rc)
        rc = copy_as(p->secrets, "login.yaml", ctrl_config, "login.yaml", 0644, false, err);
    if (!rc)
        rc = copy_as(p->secrets, "login.yaml", user_config, "login.yaml", 0644, false, err);
    if (!rc)
        rc = copy_as(p->secrets, "user_config.yaml", user_config, "config.yaml", 0644, false, err);
    static const char *const data_dirs[] = { "benchmarks", "input", "output", LAST_MADE };
    for (size_t i = 0; !rc && i < ARRAY_SIZE(data_dirs); i++)
        rc = make_open_dir(p->data, data_dirs[i], err);
    return rc;
}

int main(int argc, char **argv) {
    struct places p = { "/osmo/data", "/osmo/login", "/osmo/usr/bin", "/osmo/run", "/osmo_binaries", "/osmo", false };
    const struct flag flags[] = {
        { "data_location", FLAG_TEXT, &p.data },         { "login_location", FLAG_TEXT, &p.login },
        { "user_bin_location", FLAG_TEXT, &p.user_bin }, { "run_location", FLAG_TEXT, &p.run },
        { "enable_rsync", FLAG_SWITCH, &p.rsync },  { "binaries_location", FLAG_TEXT, &p.binaries },
        { "secrets_location", FLAG_TEXT, &p.secrets },
    };
    if (flags_parse("osmo_init", flags, ARRAY_SIZE(flags), argc, argv))
        return 1;
    umask(0);
    if (already_laid_out(p.data))
        return 0;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (lay_out(&p, &err)) {
        fprintf(stderr, "osmo_init: %s\n", err.text);
        return 1;
    }
    return 0;
}
