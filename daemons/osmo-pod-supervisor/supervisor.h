/* The pod supervisor: one small process per pod of the local cluster. It outlives osmo-backend, runs the containers of its
 * pod and records how they ended. Shared by the files of this program only. */
#ifndef POD_SUPERVISOR_H
#define POD_SUPERVISOR_H
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "network.h"
#include "osmo/error.h"

#define SUP_MAX_CONTAINERS 16
#define SUP_MAX_MOUNTS 256
#define SUP_LOG_HALF (512 * 1024)  /* a log is at most two files of this size */
#define SUP_TERM_MAX 4096          /* bytes of a termination message, as Kubernetes has it */
#define SUP_START_ERROR_CODE 128   /* exit code of a container that could not be started */

/* How strong the walls are; the driver's probe picks the first that works. */
enum isolation {
    ISO_MAPPED, /* root: each pod is an unprivileged user id of its own, seen as root inside a user namespace */
    ISO_ROOT,   /* root where user namespaces are not available: uid 0 without capabilities, password files hidden */
    ISO_USER,   /* normal user: a user namespace with one id, the caller's */
    ISO_PLAIN   /* no sandbox: plain processes in the pod's directory */
};

struct mount {
    char *source, *sub, *target; /* absolute source, path below it, where the container sees it */
    bool ro;
    bool is_dir;  /* filled by mounts_open */
    int fd;       /* O_PATH on source/sub, or -1 */
    char *dest;   /* target with the symlinks of the root file system resolved */
};

enum run_state { RUN_WAITING, RUN_RUNNING, RUN_ENDED };

struct container {
    char *name, *image, *rootfs, *cwd;
    bool init;
    strlist_t argv, env;
    struct mount *mounts;
    size_t nmounts;
    char *term_path;         /* file on the host with the termination message */
    char *log_path;
    /* while it runs */
    enum run_state state;
    const char *wait_reason;
    pid_t pid;               /* bwrap, or the process itself without a sandbox */
    pid_t inner_pid;         /* pid 1 of the container, 0 until bwrap told it */
    int inner_pidfd;         /* the same, or -1 */
    int out_fd, report_fd;   /* output of the container; bwrap's JSON status */
    buf_t report;
    bool exec_seen;          /* bwrap reported an exit code: the command was really started */
    int log_fd; size_t log_len;
    char last_line[512]; size_t last_len;
    /* how it ended */
    int exit_code;
    const char *reason;
    char *message;
    int64_t started_us, finished_us;
};

struct supervisor {
    char *pod_dir, *status_path, *pod_name, *hostname, *bwrap, *reason, *message;
    enum isolation isolation;
    uid_t uid;               /* ISO_MAPPED: the pod's own id */
    int64_t grace_us;
    strlist_t hide;
    json_t *base_status;     /* podIP, hostIP, startTime and the PodScheduled condition */
    struct container *containers;
    size_t ncontainers;
    bool initialized;
    int64_t initialized_us;
    int64_t kill_at_us;      /* monotonic deadline of SIGKILL; 0 = none */
    bool stopping;
    int signal_fd, lock_fd;
    struct network net;      /* the pod's, if it has one of its own */
    pid_t pid;               /* our own; children check that they still have this parent */
};

/* plan.c */
int plan_load(struct supervisor *s, osmo_error_t *err);
void plan_free(struct supervisor *s);
const char *isolation_name(enum isolation i);
int isolation_parse(const char *name);

/* mounts.c: find out where mounts go and what has to be made for them */
struct root_plan { strlist_t explode; };
/* Path below `root` ("" = the host) with symlinks followed inside it. `*missing` is set to the part of `out` that does not exist. */
int root_resolve(const char *root, const char *path, char out[PATH_MAX], char **missing);
bool path_under(const char *path, const char *dir); /* equal or below */
int mounts_open(struct container *c, uid_t owner, osmo_error_t *err);
int mounts_place(struct container *c, struct root_plan *plan, osmo_error_t *err);
void mounts_close(struct container *c);
int mounts_open_beneath(int dir, const char *path); /* O_PATH, never through a symlink; -1 and errno */
/* Make `path` below `dir`: directories, and an empty file at its end unless `leaf_is_dir`; made things belong to `owner` unless 0. */
int mounts_make_beneath(int dir, const char *path, bool leaf_is_dir, uid_t owner);
bool is_private(const char *path); /* below a directory that every container has for itself */

/* sandbox.c: never returns on success; called in the forked child, writes its complaint to stderr */
void sandbox_exec(const struct supervisor *s, struct container *c, const struct root_plan *plan, int report_fd);
void sandbox_fail(const char *what) __attribute__((noreturn)); /* complains with errno and ends the process */
bool sandbox_replaces(const char *path);        /* a top-level name that never comes from the image */
/* Try the kinds of isolation, in a pod's network if `network` (JSON) is not NULL, and print the first that works. The exit status of
 * the program. */
int sandbox_probe(const char *bwrap, const char *network);

/* stage.c: ISO_MAPPED, still as root: a mount namespace in which STAGE_ROOT is the whole root file system of the container but /proc */
#define STAGE_DIR "/tmp/m"
#define STAGE_ROOT STAGE_DIR "/root"
#define STAGE_IMAGE STAGE_DIR "/image"
void stage_build(const struct supervisor *s, struct container *c, const struct root_plan *plan);

/* plain.c */
int plain_prepare(const struct supervisor *s, struct container *c, osmo_error_t *err);
void plain_exec(const struct supervisor *s, struct container *c);

/* run.c */
void container_start(struct supervisor *s, struct container *c);
void container_report(struct container *c);   /* report_fd is readable */
void container_output(struct container *c);   /* out_fd is readable */
void container_ended(struct supervisor *s, struct container *c);
void container_signal(const struct supervisor *s, struct container *c, int sig);
void container_fail(struct container *c, const char *text); /* could not be started */

/* status.c */
int status_write(const struct supervisor *s, bool final, osmo_error_t *err);
#endif
