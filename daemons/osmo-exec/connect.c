/* Waiting for osmo_ctrl's socket: the directory is watched, so the connection is made the moment the socket listens
 * (osmo_ctrl changes its mode after listen(), which shows as an attribute change). */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "exec.h"
#include "runtime/link.h"

static int try_connect(const char *path) {
    struct sockaddr_un address;
    int dir;
    if (link_address(path, &address, &dir))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof address);
    int e = errno;
    if (dir >= 0)
        close(dir);
    if (rc && fd >= 0)
        close(fd);
    errno = e;
    return rc ? -1 : fd;
}

int connect_socket(const char *path, long timeout_s, int interrupt_fd) {
    char dir[PATH_MAX];
    strncpy(dir, path, sizeof dir - 1);
    dir[sizeof dir - 1] = '\0';
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch >= 0)
        inotify_add_watch(watch, slash ? dir : ".", IN_CREATE | IN_ATTRIB | IN_MOVED_TO);
    int64_t until = clock_mono_us() + (int64_t)timeout_s * 1000000;
    int fd;
    while ((fd = try_connect(path)) < 0 && (errno == ENOENT || errno == ECONNREFUSED || errno == EACCES) &&
           clock_mono_us() < until) {
        struct pollfd p[2] = { { .fd = interrupt_fd, .events = POLLIN }, { .fd = watch, .events = POLLIN } };
        char events[4096];
        poll(p, 2, 500); /* the limit covers a watch that could not be set */
        if (p[0].revents) {
            errno = EINTR;
            break;
        }
        while (p[1].revents && read(watch, events, sizeof events) > 0)
            continue;
    }
    int e = errno;
    if (watch >= 0)
        close(watch);
    errno = e;
    return fd;
}
