/* A command of an interactive session with its terminal, or with pipes. Used by session.c. */
#ifndef OSMO_EXEC_PTY_H
#define OSMO_EXEC_PTY_H
#include <stdbool.h>
#include <sys/types.h>

#include "base/str.h"

struct spawned {
    pid_t pid;          /* leader of its own session and process group */
    int in, out, err;   /* ours, not blocking; of a terminal in and out are the same descriptor and err is -1 */
};
/* Start it on a terminal of this size, or with three pipes. 0, or the exit status that says it (126, 127) with the reason in `why`. */
int spawn_command(const strlist_t *words, bool tty, int rows, int cols, struct spawned *out, char *why, size_t cap);
void terminal_resize(int terminal, int rows, int cols);
/* Kill whatever belongs to the session of this leader. */
void session_kill(pid_t leader);
#endif
