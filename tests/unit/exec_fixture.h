/* A real osmo_exec whose osmo_ctrl a test plays. */
#ifndef TESTS_EXEC_FIXTURE_H
#define TESTS_EXEC_FIXTURE_H
#include <stdbool.h>
#include <sys/types.h>

#include "runtime/link.h"

extern char exec_dir[64], exec_socket[96];
extern int exec_listener, exec_conn;
extern pid_t exec_pid;

/* `words` is the command, `options` come before it and may be NULL; both end with NULL. Waits until it is connected. */
void exec_start(const char *const *options, const char *const *words);
/* A message with one member set (NULL: none), and one of ours beside OSMO's nine (NULL: none). */
void exec_tell(const char *type, const char *member, const char *text, const char *extra, const char *value);
/* ExecStart of our osmo_ctrl; its answer is checked. */
void exec_begin_ours(void);
/* Next message, or NULL at the end of the connection. */
json_t *exec_next(void);
/* The next message of this type, within a time; those before it are dropped. */
json_t *exec_await(const char *type);
/* Its exit status, or 1000 + the signal. */
int exec_finish(void);

/* The next connection that it makes; with `greeting` its first line is read and returned (free), else NULL. */
int exec_accept(json_t **greeting);
/* A session's frames: 1 and the next, 0 at the end. Its bytes are valid until the next call. */
int exec_frame(int fd, struct link_frame *out);
void exec_say(int fd, char type, const void *data, size_t len);
/* Read until the end: all output, all error output, and the status, -1 without. */
int exec_drain(int fd, char *out, size_t size, char *err, size_t err_size, char extensions[64]);
/* Read raw bytes until `part` is in them, or (NULL) to the end; appended to out. */
bool exec_raw_until(int fd, char *out, size_t size, const char *part);
#endif
