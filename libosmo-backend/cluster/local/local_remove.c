/* How a pod leaves the disk. Called by local_run.c and local_pod.c with the driver's mutex held.
 *
 * A supervisor may begin late: one that was started by an osmo-backend which was killed right after. It must never find a
 * directory that is half removed, begin with what another supervisor had, or make its lock anew where the pod just was. So
 * whoever calls a pod over takes the pod's lock, writes in it, and moves the directory away in one step before anything of
 * it is removed: the late one finds the lock held, something in it, or nothing at all. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <unistd.h>
#include "base/file.h"
#include "cluster/local/local_int.h"

#define TRASH_TRIES 1000 /* names that are taken by what could not be removed */

/* Still one that lives when the pod is over: it began late, and nobody waits for what it does. */
static void end_late(int lock)
{
    char text[24] = "";
    int64_t pid = 0;
    if (pread(lock, text, sizeof(text) - 1, 0) <= 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    _cleanup_close_ int fd = str_to_i64(text, &pid) && pid > 0 ? pidfd_open((pid_t)pid, 0) : -1;
    if (fd >= 0 && flock(lock, LOCK_EX | LOCK_NB) < 0)
        pidfd_send_signal(fd, SIGQUIT, NULL, 0);
}

/* @return the lock of the pod in `dir`, held and marked; -1 when it cannot even be made, as on a full disk, where no
 * supervisor can make it either; -2 while a supervisor has it */
static int lock_take(const char *dir, bool over)
{
    _cleanup_free_ char *path = str_printf("%s/lock", dir);
    char c;
    _cleanup_close_ int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (over)
            end_late(fd);
        return -2;
    }
    if (pread(fd, &c, 1, 0) == 0 && pwrite(fd, "0\n", 2, 0) < 0)
        return -1;
    return STEAL_FD(fd);
}

bool supervisor_claim(const struct local *l, const struct pod *p)
{
    _cleanup_free_ char *dir = pod_path(l, p, "");
    _cleanup_close_ int fd = dir ? lock_take(dir, false) : -1;
    return fd != -2;
}

bool dir_discard(struct local *l, const char *dir, const char *status)
{
    _cleanup_free_ char *trash = NULL;
    _cleanup_close_ int fd = lock_take(dir, true);
    int rc = -1;
    if (fd == -2)
        return false;
    if (status)
        unlink(status); /* before the move: nobody would look for it after a crash */
    for (int i = 0; rc < 0 && i < TRASH_TRIES; i++) {
        free(trash);
        trash = str_printf("%s/trash/%lld", l->state_dir, (long long)l->next_trash++);
        rc = trash ? rename(dir, trash) : -1;
        if (rc < 0 && errno != EEXIST && errno != ENOTEMPTY)
            break;
    }
    dir_remove_tree(rc == 0 ? trash : dir, NULL); /* what cannot be removed costs space, nothing else */
    return true;
}

int trash_empty(const struct local *l, osmo_error_t *err)
{
    _cleanup_free_ char *path = str_printf("%s/trash", l->state_dir);
    if (path)
        dir_remove_tree(path, NULL);
    return path ? dir_make(path, 0700, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}
