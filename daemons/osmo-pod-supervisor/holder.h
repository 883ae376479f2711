/* Inside of the holder (holder.c). */
#ifndef POD_HOLDER_H
#define POD_HOLDER_H
#include <sys/types.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "network.h"

#define NET_UPLINK "uplink"
/* Places in the pods' network that are not pods. The driver keeps clear of the first sixteen. */
enum { NET_GATEWAY = 1, NET_HOST_END = 2, NET_UPLINK_END = 3 };
/* What lies between the namespace and a helper. The helper answers questions for names at .3. */
#define NET_LINK "169.254.77"

struct holder {
    const char *dir;
    char *name, *nft, *cidr;     /* name: of our interface and table on the host; cidr: as asked for, or NULL */
    bool ours, joined, userns, by_host, forwarding_was_off; /* ours: nobody else holds this network */
    uint32_t base;
    int prefix;
    const char *kind;            /* nftables, slirp4netns or pasta */
    char resolver[64];           /* address of a name server that the host's resolv.conf does not name */
    char resolver_relay[32];     /* ADDRESS:PORT of the host's loopback at which pods shall ask for names, or "" */
    int lock_fd, users_fd, host_fd, cluster_fd, event_fd, helper_pipe;
    pid_t helper;
    struct nl nl;                /* in the cluster's namespace */
};

/* holder_nft.c */
int nft_obstacles(const struct holder *h, osmo_error_t *err); /* negative: this host drops what it should forward */
int nft_host_table(struct holder *h, osmo_error_t *err);
int nft_inner_table(struct holder *h, osmo_error_t *err);
void nft_host_undo(struct holder *h);

/* holder_helper.c */
int helper_prepare(struct holder *h, osmo_error_t *err); /* still outside */
int helper_go(struct holder *h, osmo_error_t *err);      /* the namespace is there */

/* resolver.c */
bool resolver_address(size_t i, uint32_t *out);          /* i-th name server of the host that is no loopback address */
/* The i-th "nameserver" of a resolv.conf that is (no) loopback address. */
bool resolver_find(const char *text, bool loopback, size_t i, uint32_t *out);
/* DIR/resolv.conf for the pods, where the host's leads them nowhere; removed where it does not. `server`: one that serves them, or NULL;
 * `relay`: what has to be relayed for it, or "" */
int resolver_write(const char *dir, const char *server, char relay[32], osmo_error_t *err);
#endif
