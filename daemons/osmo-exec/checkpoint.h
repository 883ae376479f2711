/* Checkpoints: at intervals the files below a path go to a URL. osmo_exec finds and opens them, osmo_ctrl uploads them. Each run is a
 * process of its own that ends when osmo_ctrl has said how it went. Used by main.c. */
#ifndef OSMO_EXEC_CHECKPOINT_H
#define OSMO_EXEC_CHECKPOINT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHECKPOINTS_MAX 64

struct checkpoint {
    char *path, *url, *regex;
    int64_t period_us, due_us;
    pid_t pid;                 /* of the run that is under way; 0 = none */
    bool last_done;            /* the run after the command was started */
};
/* ---- checkpoint_parse.c ---- */
/* <path>;<url>;<seconds>;<regex>: the regex may hold semicolons. 0, or -1 with what is wrong. Pure. */
int checkpoint_parse(const char *text, struct checkpoint *out, char *why, size_t cap);
void checkpoint_clear(struct checkpoint *c);
/* ---- checkpoint.c ---- */
/* In a child of its own; never returns. */
void checkpoint_main(const struct checkpoint *c, const char *socket_path) __attribute__((noreturn));
#endif
