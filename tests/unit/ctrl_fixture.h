/* A real osmo_ctrl against a logger and a router that a test plays, and either a real osmo_exec or one that the test plays too. */
#ifndef TESTS_CTRL_FIXTURE_H
#define TESTS_CTRL_FIXTURE_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/json.h"
#include "ws_peer.h"

struct ctrl_start {
    const char *extensions;       /* what the logger accepts; NULL: what ours does; "": OSMO's logger */
    const char *const *command;   /* of a real osmo_exec; NULL: the test dials the socket itself */
    const char *const *exec_args; /* more of its options; NULL-terminated; may be NULL */
    const char *const *ctrl_args;
    bool barrier;                 /* released by ctrl_release() */
    int refusals;                 /* so many upgrades of the router are answered by 503 */
};

extern char ctrl_dir[64], ctrl_socket[96];
extern pid_t ctrl_pid, ctrl_exec_pid;

bool ctrl_begin(const struct ctrl_start *s);
/* Wait for its end; its exit status, or 1000 + the signal. The code in the termination message is checked against it. */
int ctrl_end(void);
/* Wait until the command has begun: its first line is there. */
bool ctrl_await_line(const char *part);
bool ctrl_has_line(const char *part);
/* One message to osmo_ctrl, BINARY. */
void ctrl_tell(const char *text);
/* With router_address and cookie. more: further members, each after a comma, or "". */
void ctrl_action(const char *kind, const char *key, const char *more);
void ctrl_release(void);
void ctrl_drop_logger(void);      /* cut its connection; osmo_ctrl dials again */
/* Wait until it confirmed this id. */
bool ctrl_await_done(const char *id);
int ctrl_done_count(void);
/* Descriptors that osmo_ctrl has open, and whether they come down to this many. */
int ctrl_descriptors(void);
bool ctrl_await_descriptors(int n);

/* The next connection to the router, within ten seconds; -1. Its request line and headers in `request`. */
int router_next(char *request, size_t size);
/* None comes for a moment. */
bool router_silent(void);
/* Read frames until a close: all BINARY into out, all TEXT into text; its code, with the reason. */
int router_read_all(int fd, char *out, size_t size, char *text, size_t text_size, char *reason, size_t reason_size);
/* Until the BINARY bytes so far contain this. */
bool router_read_until(int fd, char *out, size_t size, const char *part);
int router_read_close(const char *data, size_t len, char *reason, size_t size);
#endif
