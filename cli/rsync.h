/* What the files behind `osmo workflow rsync` share. Paths are pure; a transfer is the system's rsync, which dials a forwarded port. */
#ifndef OSMO_CLI_RSYNC_H
#define OSMO_CLI_RSYNC_H
#include <sys/types.h>

#include "forward.h"

#define RSYNC_WORKSPACE "/osmo/run/workspace" /* of every task, under the module name "osmo" */

/* ---- rsync_paths.c: pure ---- */
/* Two paths with a colon between them; one that belongs to a path has a backslash before it. malloc'ed. */
int rsync_split(const char *spec, char **first, char **second, osmo_error_t *err);
/* MODULE/REST of an absolute path in the task, by the longest of the allowed paths (plugins_config.rsync of the service); malloc'ed.
 * OSMO_EINVAL, or OSMO_EDENIED when there is none, or none that may be written. */
int rsync_locate(const json_t *config, const char *remote, bool write, char **out, osmo_error_t *err);

/* ---- rsync_run.c ---- */
struct rsync_job {
    const char *workflow, *task;
    const char *local;         /* as rsync gets it */
    const char *remote;        /* MODULE/REST */
    bool upload, progress, verbose;
    int64_t timeout_s;
    uint64_t rate;             /* bytes a second; 0 = all that go */
};
/* Starts the system's rsync at a forwarded port; output to `out`, or to ours when it is -1. Its pid and a descriptor that is readable when
 * it has ended. 0, or an exit code after printing. */
int rsync_spawn(const struct rsync_job *j, int port, int out, pid_t *pid, int *pidfd);
/* An exit code of what waitpid() says about it. */
int rsync_result(int wait_status);
/* Ends one that runs (0: none does), and closes pidfd. After the loop is freed: it says goodbye over connections
 * that nobody carries any more. */
void rsync_end(pid_t pid, int pidfd);
/* One transfer; an exit code. */
int rsync_once(const struct rsync_job *j);

/* ---- rsync_watch.c: a directory tree, or a file, that may change ---- */
#define WATCH_MAX 65536
struct tree_watch;
int tree_watch_open(const char *path, struct tree_watch **out, osmo_error_t *err);
void tree_watch_free(struct tree_watch *w);
int tree_watch_fd(const struct tree_watch *w);      /* readable when something changed */
bool tree_watch_read(struct tree_watch *w);         /* what; true when something did */
bool tree_watch_complete(const struct tree_watch *w); /* false: not everything can be watched, or events were lost */

/* ---- rsync_daemon.c ---- */
struct rsync_daemon {
    struct rsync_job job;
    double debounce_s, poll_s, reconcile_s;
    int64_t max_log;           /* bytes */
    bool wait_for_start;       /* the workflow need not run yet */
};
/* Detaches a process that keeps the task's copy up to date; returns when it works (or is told to wait). An exit code. */
int rsync_daemon_start(const struct rsync_daemon *d);
int rsync_daemon_status(void);
/* of one workflow, one task of it, or all (NULL); asks unless `yes`. */
int rsync_daemon_stop(const char *workflow, const char *task, bool yes);

/* ---- cmd_rsync.c ---- */
/* After a submission: the daemon for "local:remote" and the lead task. An exit code. */
int rsync_for_submission(struct api *a, const char *workflow, const char *spec);
#endif
