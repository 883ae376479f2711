/* Without a sandbox: every container has a directory root/<container> in the pod's directory in which its mounts are symbolic
 * links. The driver has rewritten the paths in arguments, environment and files to point there. Used by run.c. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include "base/file.h"
#include "supervisor.h"

int plain_prepare(const struct supervisor *s, struct container *c, osmo_error_t *err)
{
    for (size_t i = 0; i < c->nmounts; i++) {
        struct mount *m = &c->mounts[i];
        _cleanup_free_ char *link = str_printf("%s/root/%s%s", s->pod_dir, c->name, m->target);
        _cleanup_free_ char *to = str_printf("%s%s%s", m->source, m->sub && *m->sub ? "/" : "", m->sub ? m->sub : "");
        if (!link || !to)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        char *slash = strrchr(link, '/');
        *slash = '\0';
        int rc = dir_make(link, 0755, err);
        *slash = '/';
        if (rc < 0)
            return rc;
        if (symlink(to, link) < 0 && errno != EEXIST)
            return osmo_error_set(err, OSMO_EIO, "mount %s: %s", m->target, strerror(errno));
    }
    return 0;
}

void plain_exec(const struct supervisor *s, struct container *c)
{
    _cleanup_free_ char **argv = calloc(c->argv.len + 1, sizeof(char *));
    _cleanup_free_ char **envp = calloc(c->env.len + 1, sizeof(char *));
    if (!argv || !envp)
        return;
    memcpy(argv, c->argv.items, c->argv.len * sizeof(char *));
    memcpy(envp, c->env.items, c->env.len * sizeof(char *));
    const char *dir = str_eq(c->cwd, "/") ? s->pod_dir : c->cwd;
    umask(022);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(dir) < 0) {
        dprintf(STDERR_FILENO, "cannot enter %s: %s\n", dir, strerror(errno));
        return;
    }
    environ = envp; /* execvp searches the PATH of the container, not ours */
    execvp(argv[0], argv);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
}
