/* The rsync server of a task: osmo_exec listens on the loopback and starts `rsync` for each connection, as inetd would, so there is nothing
 * that could die between two of them. Used by main.c. */
#ifndef OSMO_EXEC_RSYNC_H
#define OSMO_EXEC_RSYNC_H
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

#define RSYNC_PORT 16000
#define RSYNC_CONNECTIONS_MAX 16

struct rsync_options {
    const char *run_location, *allow_list, *user_bin_path;
    int64_t read_limit, write_limit; /* bytes a second that a connection brings, and takes away; 0 = any number */
};
struct rsync_server {
    int listener;           /* -1: not there */
    char *program, *config;
    int64_t read_limit, write_limit;
    pid_t running[RSYNC_CONNECTIONS_MAX];
};
/* The daemon's configuration. Entries of the allow list that cannot be are told through say() and left out. */
int rsync_config(const struct rsync_options *o, buf_t *out, void (*say)(void *ctx, const char *text), void *ctx);
/* 0, or -1 with the reason. */
int rsync_open(struct rsync_server *r, const struct rsync_options *o, void (*say)(void *ctx, const char *text), void *ctx, char *why,
               size_t cap);
/* A connection waits. */
void rsync_accept(struct rsync_server *r);
void rsync_reaped(struct rsync_server *r, pid_t pid);
#endif
