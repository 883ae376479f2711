/* The terminal in raw mode, which is itself again however the program ends: by exit(), a signal, abort(), while it is
 * stopped, and before whoever runs it goes on. One terminal a process. For cmd_exec.c. */
#ifndef OSMO_CLI_TERMINAL_H
#define OSMO_CLI_TERMINAL_H
#include <stdbool.h>
#include "osmo/error.h"

/* Rows and columns; false when it has none or is no terminal. */
bool terminal_size(int fd, int *rows, int *cols);
/* Raw mode from here on. While the process is stopped (SIGTSTP, SIGSTOP) the terminal is the shell's. OSMO_EIO. */
int terminal_raw(int fd, osmo_error_t *err);
/* As it was. Any number of times, also from handlers of signals. */
void terminal_restore(void);
/* A descriptor that is readable after the size may have changed (terminal_size_read() clears it); -1 on failure. Process-wide. */
int terminal_size_fd(void);
void terminal_size_clear(void);

/* The same thing as fd under a number of its own, and, where the system allows it, with flags of its own: making it non-blocking changes
 * nothing for the others who have it open, such as the shell. Where it does not, the flags are put back at the end. -1 on failure. */
int terminal_own(int fd, bool for_writing);
#endif
