/* One session of `osmo workflow exec`: what OSMO's wire says about it, and ours beyond that. Called by cmd_exec.c. */
#ifndef OSMO_CLI_EXEC_SESSION_H
#define OSMO_CLI_EXEC_SESSION_H
#include "base/ws_pump.h"
#include "router.h"

/* Pure: what the wire's texts look like. */
#define EXEC_EXTENSIONS "exit,pipe,signal"
/* The first frame, {"Rows":…}, as a terminal's size, or a resize escape (NUL RESIZE:{…}) when `escape`. Its length. */
size_t exec_size_frame(char out[160], int rows, int cols, bool tty, bool escape);
size_t exec_signal_frame(char out[64], int number);
/* The status in the reason of a close, "exit N"; -1 when it has none. */
int exec_status_of(const char *reason);
/* May `entry` be run without anybody at a terminal? Not when its program is a shell and nothing is said to that. */
bool exec_is_interactive(const char *entry);

struct exec_hooks {
    /* The first word of the other side; it may be late or not come, then it is called after some seconds. */
    void (*began)(void *ctx);
    /* NULL: output goes to the descriptors. */
    void (*output)(void *ctx, const char *data, size_t len, bool is_error);
    /* status: of the command, -1 unknown; code and http_status as in ws_handlers_t.closed, 0 when we ended it. The session is gone. */
    void (*ended)(void *ctx, int status, int code, int http_status, const char *reason);
    void *ctx;
};
struct exec_session;
/* in, out, err: descriptors, or -1; tty: `in` is a terminal whose size is given. d is used and may be cleared. */
int exec_session_start(ws_loop_t *l, const struct dial *d, const struct exec_hooks *h, int in, int out, int err, bool tty, int rows,
    int cols,
                       struct exec_session **session, osmo_error_t *error);
void exec_session_resize(struct exec_session *s, int rows, int cols);
/* False when the other side has no way to take it. */
bool exec_session_signal(struct exec_session *s, int number);
void exec_session_close(struct exec_session *s);
/* Has the other side said anything? */
bool exec_session_began(const struct exec_session *s);
#endif
