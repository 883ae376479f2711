/* Inside of the local cluster driver; included by the files of this directory only.
 * One mutex guards everything below. Callers' threads add pods and mark them for removal; the driver's thread does the rest and
 * reports, with the mutex released. */
#ifndef CLUSTER_LOCAL_INT_H
#define CLUSTER_LOCAL_INT_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/local/local.h"
#include "cluster/place.h"

#define LOCAL_JSON_MAX (32 * 1024 * 1024)
#define LOCAL_MAX_PODS 100000
#define LOCAL_GRACE_DEFAULT_S 5
#define LOCAL_UID_BASE 1900000000u /* a pod's user id under ISO_MAPPED: this plus its place */
#define LOOPBACK_NET (127u << 24)  /* of the pods that share the host's network */
/* Where a supervisor finds the namespaces of the pods' network, as in daemons/osmo-pod-supervisor/network.h. */
#define LOCAL_NET_FD 3
#define LOCAL_USER_FD 4

enum pod_state { POD_PENDING, POD_STARTED, POD_ENDED };

struct pod {
    char *name, *uid, *hostname, *subdomain, *user; /* user: name of the first container */
    json_t *labels;
    char *manifest;          /* JSON object without its closing brace and without status */
    char *status;            /* JSON */
    int64_t seq, grace_s;
    enum pod_state state;
    bool reported, changed, deleting, force, exited;
    int signalled;           /* 0, SIGTERM or SIGQUIT */
    int starts;              /* supervisors that we started for it */
    int64_t recheck_at_us;   /* monotonic: look again whether the supervisor lives; 0 = no need */
    int64_t kill_at_us;      /* monotonic: when the supervisor itself is killed; 0 = never */
    char reason[320];        /* why it is not scheduled */
    char *preempted;         /* it has to end so that others can run, and why */
    uint32_t address;        /* its place, a number of at most 24 bits; 0 = none yet */
    uint32_t ip;             /* that place in the pods' network, or in 127.0.0.0/8; host order */
    pid_t pid; int pidfd;    /* of the supervisor; -1 */
};

struct object { char *kind, *name; json_t *labels; };

struct report { int what; osmo_change_t change; char *text; size_t len; };
enum { REPORT_POD, REPORT_NODE, REPORT_EVENT };

#define CA_IN_POD "/osmo_ca.pem" /* where the programs of a pod find ca_file */

/* The network of the pods. Descriptors are -1 when there is none. */
struct local_net {
    enum { NET_WANT_AUTO, NET_WANT_POD, NET_WANT_HOST } want;
    char *cidr, *nft, *resolv; /* as asked for, or NULL; resolv: what pods get for /etc/resolv.conf, or NULL */
    strlist_t relays;          /* ADDRESS:PORT of the host's loopback that pods reach */
    bool on, userns;
    uint32_t base;
    int prefix, mtu;
    int cluster_fd, user_fd, users_fd, pidfd; /* two namespaces; the lock of its users; the holder */
    pid_t pid;                 /* of the holder, if it is our child */
    int restarts; int64_t restarts_since_us;
    char what[96];
    char *shown;               /* how it is with the network, a line; constant once we are open */
};

struct local {
    char *state_dir, *namespace_, *runtime_dir, *ca_file, *supervisor, *bwrap, *isolation, *node_name, *cluster_uid;
    strlist_t images, hide, runtime_images; /* images: NAME=ROOTFS */
    int64_t cpu_overcommit;
    osmo_cluster_sink_t sink;
    pthread_mutex_t lock;
    pthread_t thread;
    bool thread_started, stop;
    int lock_fd, epoll_fd, inotify_fd, event_fd, timer_fd;
    map_t *pods, *objects;   /* name → struct pod; "Kind/name" → struct object */
    json_t *node;            /* the node as reported */
    osmo_sched_amount_t allocatable;
    place_t *place;          /* who may run when: follows the pods and objects here */
    struct pod **bound;      /* placed by the run that is going on */
    size_t nbound, cap_bound;
    int64_t next_seq, next_trash;
    bool place_needed;
    uint8_t *addresses;      /* bit map of places */
    struct local_net net;
    struct report *reports; size_t nreports, reports_cap;
};

/* local_store.c */
bool selector_match(const json_t *labels, const char *selector);
/* A new one, or another one in the place of that which exists. */
int object_put(struct local *l, const char *kind, const char *name, json_t *v, bool exists, osmo_error_t *err);
int object_erase(struct local *l, const char *kind, const char *name, osmo_error_t *err);
int object_remove_all(struct local *l, const char *kind, const char *selector, osmo_error_t *err);
int object_read(const struct local *l, const char *kind, const char *name, json_t **out, osmo_error_t *err);
int object_load_all(struct local *l, osmo_error_t *err);
void object_free(void *o);
bool name_ok(const char *name);
int json_merge_patch(json_t *target, const json_t *patch);

/* local_node.c */
int node_init(struct local *l, osmo_error_t *err);

/* local_pod.c */
int pod_new(struct local *l, json_t *manifest, struct pod **out, osmo_error_t *err);
void pod_free(void *p);
int pod_set_manifest(struct pod *p, json_t *manifest); /* drops status from it */
json_t *pod_manifest(const struct pod *p);
char *pod_text(const struct pod *p, size_t *len);
char *pod_path(const struct local *l, const struct pod *p, const char *file); /* "" = its directory */
int pod_save(const struct local *l, const struct pod *p, bool durable, osmo_error_t *err);
int pods_load(struct local *l, osmo_error_t *err);
void pod_report(struct local *l, struct pod *p, osmo_change_t change);
void pod_event(struct local *l, const struct pod *p, const char *type, const char *reason, const char *message);
void report_push(struct local *l, int what, osmo_change_t change, char *text, size_t len);
void pod_set_status(struct pod *p, json_t *status);
void pod_read_status(struct local *l, struct pod *p);
void pod_fail(struct local *l, struct pod *p, const char *reason, const char *message, bool disrupted);
void pod_finish(struct local *l, struct pod *p);     /* its capacity is free again */
void pod_preempt(struct local *l, struct pod *p, const char *message); /* marked as such, and told to end */
void pod_set_unschedulable(struct local *l, struct pod *p, const char *text);
json_t *status_scheduled(const struct local *l, const struct pod *p, const json_t *manifest, bool with_containers);
void address_text(uint32_t ip, char out[20]);
void condition_add(json_t *status, const char *type, bool on, const char *reason, const char *message);

/* local_plan.c: from the manifest to volumes and plan.json */
int plan_build(struct local *l, struct pod *p, osmo_error_t *err);
/* local_env.c */
int env_build(const struct local *l, const struct pod *p, const json_t *manifest, const json_t *container, bool runtime, json_t **out,
              osmo_error_t *err);
char *env_expand(const json_t *env, const char *text);
int secret_value(const struct local *l, const char *kind, const json_t *ref, bool *found, buf_t *out, osmo_error_t *err);
/* local_volumes.c */
int volumes_build(const struct local *l, const struct pod *p, const json_t *manifest, osmo_error_t *err);
char *volume_source(const struct local *l, const struct pod *p, const json_t *manifest, const char *name);
/* local_rewrite.c: paths of a container without a sandbox */
bool rewrite_possible(const char *path);
char *rewrite_text(const char *text, size_t len, const char *root, size_t *out_len);

/* local_place.c */
void place_all(struct local *l);
int hosts_write(struct local *l, const struct pod *p, osmo_error_t *err);
char *hosts_path(const struct local *l, const struct pod *p);

/* local_net.c */
int net_open(struct local *l, osmo_error_t *err); /* after the isolation was found; says in the log what became of it */
void net_close(struct local *l);
void net_holder_gone(struct local *l);
bool net_has(const struct local *l, const struct pod *p); /* a network of its own */
json_t *net_plan(const struct local *l, const struct pod *p);
bool net_place_ok(const struct local *l, uint32_t place);

/* local_remove.c */
bool supervisor_claim(const struct local *l, const struct pod *p); /* no supervisor begins any more; false: one has it */
/* A pod's directory, and its status file if not NULL. @return false while a supervisor lives in it: then later again */
bool dir_discard(struct local *l, const char *dir, const char *status);
int trash_empty(const struct local *l, osmo_error_t *err);

/* local_run.c: supervisors, and the thread */
int supervisor_start(struct local *l, struct pod *p, osmo_error_t *err);
void supervisor_adopt(struct local *l, struct pod *p);
bool supervisor_alive(const struct local *l, const struct pod *p, pid_t *pid, bool *began);
void supervisor_signal(struct pod *p, int sig);
bool supervisor_end(struct pod *p);    /* within its grace period; true: its exit will tell */
/* Run the supervisor's program with the pods' network at hand, its complaints in the file `log` if not NULL. With `pid` until its first
 * line, and on if that is "ok"; otherwise to its end. @return its exit status; what it said, one line, in `text` */
int supervisor_run(const struct local *l, char *const argv[], const char *log, pid_t *pid, char *text, size_t max);
int probe_isolation(struct local *l, bool no_sandbox, osmo_error_t *err);
int loop_start(struct local *l, osmo_error_t *err);
void loop_wake(struct local *l);
#endif
