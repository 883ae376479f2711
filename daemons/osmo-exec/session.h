/* An interactive session: a process of its own between a connection to osmo_ctrl and the command, so that nothing that happens in one
 * reaches the task. Started by main.c. */
#ifndef OSMO_EXEC_SESSION_H
#define OSMO_EXEC_SESSION_H
#include <stdbool.h>

struct session_plan {
    const char *socket_path, *command;
    const char *id;             /* as osmo_ctrl numbered it; NULL: an osmo_ctrl that knows raw bytes only */
    const char *history_path;   /* "" = none */
    const char *refusal;        /* say this and end; NULL = none */
};
/* In a child of its own, with signals blocked; never returns. */
void session_main(const struct session_plan *plan) __attribute__((noreturn));
/* Close everything but the standard descriptors: what a forked child inherits and has no use for. */
void close_inherited(void);
#endif
