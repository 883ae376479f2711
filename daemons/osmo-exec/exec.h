/* osmo_exec: runs the user's command inside the user container and speaks with osmo_ctrl over the pod's unix socket.
 * Static and small, because it runs inside any image. Single-threaded: one poll loop over the socket, the command's two
 * pipes and a signal descriptor. */
#ifndef OSMO_EXEC_H
#define OSMO_EXEC_H
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"

#define LINE_PIECE_MAX 32768       /* a longer line is cut into pieces of this size, as OSMO's runtime does */
#define PIPE_READ 65536

struct command {
    strlist_t argv;                /* command followed by its arguments */
    pid_t pid;                     /* leader of its own process group; 0 = not running */
    int out, err;                  /* read ends, -1 when closed */
    int exit_code;                 /* valid once pid is 0 again */
    buf_t out_line, err_line;      /* bytes of an unfinished line */
};
/* Start it. On failure exit_code is 127 (not found) or 126 and `why` says what is wrong. */
int command_start(struct command *c, char *why, size_t cap);
/* Read what a pipe holds and turn it into messages; false when the pipe ended. */
bool command_read(struct command *c, bool is_err, buf_t *messages);
/* After the end: last unterminated lines. */
void command_flush(struct command *c, buf_t *messages);
void command_signal(const struct command *c, int signal_number);
/* Reap every ended child; true when the command itself ended. */
bool command_reap(struct command *c);

/* Connect to the socket osmo_ctrl makes; waits for it without polling. -1 after timeout_s, or with EINTR when
 * interrupt_fd becomes readable. */
int connect_socket(const char *path, long timeout_s, int interrupt_fd);
#endif
