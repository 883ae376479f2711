/* osmo_exec: runs the user's command inside the user container and speaks with osmo_ctrl over the pod's unix socket.
 * Static and small, because it runs inside any image. Single-threaded: one poll loop over the socket, the command's two
 * pipes, a signal descriptor and the rsync server's listener. Interactive sessions and runs of checkpoints are processes of their own
 * (session.h, checkpoint.h). */
#ifndef OSMO_EXEC_H
#define OSMO_EXEC_H
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"
#include "checkpoint.h"
#include "rsync.h"

#define LINE_PIECE_MAX 32768       /* a longer line is cut into pieces of this size, as OSMO's runtime does */
#define PIPE_READ 65536
#define SESSIONS_MAX 32
#define CHECKPOINTS_AT_ONCE 4
#define OUTGOING_MAX (8u << 20)
#define OUTGOING_PAUSE (256u << 10) /* while this much waits for osmo_ctrl the pipes are not read: the writer blocks */

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
/* A child was reaped; true when it was the command. */
bool command_reaped(struct command *c, pid_t pid, int status);

/* In a child: no signal is blocked or ignored, whoever started osmo_exec. */
void signals_reset(void);

/* Connect to the socket osmo_ctrl makes; waits for it without polling. -1 after timeout_s, or with EINTR when
 * interrupt_fd (-1 = none) becomes readable. */
int connect_socket(const char *path, long timeout_s, int interrupt_fd);

struct options {
    strlist_t commands, args, checkpoints;
    const char *socket_path, *user_bin_path, *history_path, *run_location, *allow_list, *completion;
    int64_t unix_timeout_min, read_limit, write_limit;
    bool enable_rsync;
};

struct exec {
    struct options o;
    struct command command;
    int socket, signals;
    buf_t in, out;
    char *output_folder;
    bool started, stopping, refused; /* refused: osmo_ctrl failed before the start */
    bool ours, terminated;           /* osmo_ctrl can do what we can; we were asked to end */
    bool ended;                      /* the command has, for good: what is left are last checkpoints */
    pid_t sessions[SESSIONS_MAX];
    struct checkpoint checkpoints[CHECKPOINTS_MAX];
    size_t ncheckpoints;
    struct rsync_server rsync;
};

/* ---- helpers.c: the processes beside the command ---- */
void say_ops(void *exec, const char *text);
void open_session(struct exec *x, const char *command, const char *id);
/* Read the -checkpoint options, and start their clocks. */
void checkpoints_begin(struct exec *x);
/* Start what is due. After the command: the last run of each. */
void checkpoints_run(struct exec *x);
/* Milliseconds until the next is due; -1 = none. */
int checkpoints_wait_ms(const struct exec *x);
bool checkpoints_done(const struct exec *x);
void rsync_begin(struct exec *x);
/* A child ended that is not the command. */
void helper_reaped(struct exec *x, pid_t pid, int status);
/* The files that shells of sessions use. */
void prepare_shells(const struct options *o);
#endif
