/* A text in the user's editor: $VISUAL, $EDITOR, else vi or nano. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli.h"

#define EDIT_MAX (16u << 20)

static const char *from_environment(void) {
    const char *e = getenv("VISUAL");
    if (!e || !*e)
        e = getenv("EDITOR");
    return e && *e ? e : NULL;
}

/* The variable may hold options, so a shell reads it; the path is an argument of its own. */
static void run(const char *editor, const char *path) {
    if (editor) {
        _cleanup_free_ char *command = str_printf("%s \"$1\"", editor);
        if (command)
            execl("/bin/sh", "sh", "-c", command, "sh", path, (char *)NULL);
    } else {
        execlp("vi", "vi", path, (char *)NULL);
        execlp("nano", "nano", path, (char *)NULL);
    }
    _exit(127);
}

static int wait_for(pid_t pid, osmo_error_t *err) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return osmo_error_set(err, OSMO_EUSER, "no editor can be run: set EDITOR, or give the document with --file");
    return osmo_error_set(err, OSMO_EUSER, "the editor failed, nothing is changed");
}

static int edit_file(const char *path, osmo_error_t *err) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot start the editor: %s", strerror(errno));
    if (pid == 0)
        run(from_environment(), path);
    return wait_for(pid, err);
}

int edit_text(const char *text, char **path, buf_t *out, osmo_error_t *err) {
    const char *dir = getenv("TMPDIR");
    *path = str_printf("%s/osmo-config-XXXXXX.json", dir && *dir ? dir : "/tmp");
    if (!*path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    _cleanup_close_ int fd = mkostemps(*path, 5, O_CLOEXEC);
    if (fd < 0) {
        int rc = osmo_error_set(err, OSMO_EIO, "cannot write %s: %s", *path, strerror(errno));
        free(*path);
        *path = NULL;
        return rc;
    }
    int rc = fd_write_all(fd, text, strlen(text));
    if (rc < 0)
        osmo_error_set(err, rc, "cannot write %s: is the disk full?", *path);
    else
        rc = edit_file(*path, err);
    return rc < 0 ? rc : file_read(*path, out, err);
}
