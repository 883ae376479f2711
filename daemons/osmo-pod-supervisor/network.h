/* Networks of pods. Each pod of the local cluster has a network namespace of its own; they meet on a bridge in one more
 * namespace, the cluster's, which a process called the holder makes and joins to the outside (holder.c). The pod's
 * supervisor stays in the network of the host: it makes the pod's namespace (pod_net.c), lends it to the containers, and
 * relays connections to services on the host's loopback address (relay.c). Shared by the files of this program only. */
#ifndef POD_NETWORK_H
#define POD_NETWORK_H
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "base/json.h"
#include "base/str.h"
#include "osmo/error.h"

#define NET_BRIDGE "pods"
#define NET_TAP "tap0"
#define NET_RELAYS_MAX 8
/* Where the driver puts the cluster's namespaces into a program that it starts; both keep them alive. */
#define NET_CLUSTER_FD 3
#define NET_USER_FD 4

/* ---- netlink.c: what is needed of rtnetlink. Addresses are in host order; results are 0 or -errno. ---- */
struct nl { int fd; uint32_t seq; size_t len; char data[1024] __attribute__((aligned(8))); };
struct nl_route { uint32_t to; int prefix; };

int nl_open(struct nl *n); /* in the network namespace of the caller, where it stays */
void nl_close(struct nl *n);
int nl_bridge(struct nl *n, const char *name, uint32_t ip); /* its hardware address follows from `ip`, too */
/* A pair: `name` here, as a port of bridge `master` unless 0, and `peer` in the namespace `peer_ns` with a hardware address that
 * follows from `ip`, so that a pod which comes back under its address is found by those who knew the old one. */
struct nl_end { const char *name; int ns; uint32_t ip; };
int nl_pair(struct nl *n, const char *name, int master, const struct nl_end *peer, uint32_t mtu); /* mtu: 0 = as usual */
int nl_remove(struct nl *n, const char *name);
int nl_up(struct nl *n, int index);
int nl_address(struct nl *n, int index, uint32_t ip, int prefix, uint32_t peer); /* peer: 0, or the other end */
int nl_route(struct nl *n, uint32_t to, int prefix, uint32_t gateway, int index);
/* The destinations of all routes; at most `max`. @return how many, or -errno */
int nl_routes(struct nl *n, struct nl_route *out, size_t max);
int nl_await_default(struct nl *n, int timeout_ms); /* until there is a default route: 0, -ETIMEDOUT, -errno */

/* ---- pod_net.c ---- */
struct network {
    bool on, userns;
    int cluster_fd, user_fd, pod_fd, users_fd;
    char *dir;                    /* of the cluster's network */
    char *port;                   /* name of the pod's end at the bridge */
    uint32_t ip, gateway;
    int prefix, mtu;
    strlist_t relays;             /* ADDRESS:PORT on the host's loopback, the same inside */
    int listeners[NET_RELAYS_MAX];
    size_t nlisteners;
    bool limited;
    struct rlimit files;          /* what the containers get: we need more */
};
#define NETWORK_INIT { .cluster_fd = -1, .user_fd = -1, .pod_fd = -1, .users_fd = -1 }

int network_load(struct network *n, const json_t *plan, osmo_error_t *err); /* plan: NULL for the host's network */
void network_free(struct network *n);
/* Make the pod's namespace and its listening sockets. */
int network_make(struct network *n, osmo_error_t *err);
int network_join(const struct network *n); /* in a forked child; -1 and errno */
/* No container runs any more. The last user of a network whose holder was killed undoes what the holder cannot. */
void network_leave(struct network *n);
int network_address(const char *text, uint32_t *out); /* dotted numbers */
union network_place { struct sockaddr any; struct sockaddr_in four; struct sockaddr_in6 six; };
socklen_t network_place(const char *text, union network_place *out); /* ADDRESS:PORT or [ADDRESS]:PORT; 0: it is neither */

/* ---- relay.c ---- */
int relay_start(struct network *n, osmo_error_t *err); /* a thread; takes the listeners */
#define RELAY_CONNECTIONS 512

/* ---- holder.c ---- */
int holder_main(const char *dir, bool join, bool by_helper); /* the exit status of the program */
void holder_undo(const char *dir); /* in the place of a holder that was killed; nobody uses the network, and nobody may begin to */
#endif
