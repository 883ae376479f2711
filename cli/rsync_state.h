/* What an rsync daemon leaves in the state directory: <state>/rsync/rsync_daemon_<workflow>_<task>.pid and .log. For
 * rsync_daemon.c and rsync_state.c. */
#ifndef OSMO_CLI_RSYNC_STATE_H
#define OSMO_CLI_RSYNC_STATE_H
#include "rsync.h"

struct rsync_state;
/* Locks the file; an exit code after printing when a daemon has it. */
int state_open(const struct rsync_daemon *d, struct rsync_state **out);
/* `gone`: the daemon's end, which takes its file away. */
void state_free(struct rsync_state *s, bool gone);
int state_write(struct rsync_state *s, const struct rsync_daemon *d, pid_t pid);
bool state_is_ours(const struct rsync_state *s);
int state_log(struct rsync_state *s);                       /* stdout and stderr are the log from here on; -1 on failure */
void state_rotate(struct rsync_state *s, int64_t max);
const char *state_log_path(const struct rsync_state *s);
void state_show_log(const struct rsync_state *s);           /* what was added since state_open(), on stderr */
#endif
