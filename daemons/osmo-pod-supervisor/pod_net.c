/* The network namespace of one pod: made by a short-lived child, which alone enters the cluster's namespaces, and held by the
 * supervisor, with whom it ends. Used by main.c, run.c and the probe. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "network.h"

#define BACKLOG 256

int network_address(const char *text, uint32_t *out)
{
    struct in_addr a;
    if (!text || inet_pton(AF_INET, text, &a) != 1)
        return -1;
    *out = ntohl(a.s_addr);
    return 0;
}

socklen_t network_place(const char *text, union network_place *out)
{
    char host[64];
    int64_t port = 0;
    const char *colon = text ? strrchr(text, ':') : NULL;
    bool six = text && text[0] == '[';
    size_t len = colon ? (size_t)(colon - text) : 0;
    memset(out, 0, sizeof(*out));
    if (!colon || len < 3 || len >= sizeof(host) || (six && colon[-1] != ']') || !str_to_i64(colon + 1, &port) || port < 1 ||
        port > 65535)
        return 0;
    snprintf(host, sizeof(host), "%.*s", (int)(six ? len - 2 : len), text + six);
    if (inet_pton(six ? AF_INET6 : AF_INET, host, six ? (void *)&out->six.sin6_addr : (void *)&out->four.sin_addr) != 1)
        return 0;
    out->any.sa_family = six ? AF_INET6 : AF_INET;
    *(six ? &out->six.sin6_port : &out->four.sin_port) = htons((uint16_t)port);
    return six ? sizeof(out->six) : sizeof(out->four);
}

int network_load(struct network *n, const json_t *plan, osmo_error_t *err)
{
    const json_t *relays = json_get(plan, "relays");
    const char *users = json_get_str(plan, "users");
    n->on = plan != NULL;
    if (!n->on)
        return 0;
    n->userns = json_get_bool(plan, "userns", false);
    n->port = str_dup(json_get_str(plan, "port"));
    n->prefix = (int)json_get_int(plan, "prefix", 0);
    n->mtu = (int)json_get_int(plan, "mtu", 0);
    n->cluster_fd = NET_CLUSTER_FD;
    fcntl(NET_CLUSTER_FD, F_SETFD, FD_CLOEXEC);
    if (n->userns) {
        n->user_fd = NET_USER_FD;
        fcntl(NET_USER_FD, F_SETFD, FD_CLOEXEC);
    }
    for (size_t i = 0; i < json_len(relays); i++)
        if (strlist_add(&n->relays, json_str(json_at(relays, i))) < 0)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    n->users_fd = users ? open(users, O_RDWR | O_CLOEXEC) : -1;
    n->dir = users && strrchr(users, '/') ? str_printf("%.*s", (int)(strrchr(users, '/') - users), users) : NULL;
    if (!n->port || !n->dir || network_address(json_get_str(plan, "ip"), &n->ip) < 0 || n->prefix < 1 || n->prefix > 30 ||
        network_address(json_get_str(plan, "gateway"), &n->gateway) < 0 || n->relays.len > NET_RELAYS_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "not a plan of a network");
    /* As long as one of these locks is held, the holder stays. */
    if (n->users_fd < 0 || flock(n->users_fd, LOCK_SH) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot use the pods' network: %s: %s", users ? users : "", strerror(errno));
    return 0;
}

void network_free(struct network *n)
{
    int fds[] = {n->cluster_fd, n->user_fd, n->pod_fd, n->users_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    for (size_t i = 0; i < n->nlisteners; i++)
        close(n->listeners[i]);
    free(n->dir), free(n->port);
    strlist_free(&n->relays);
    *n = (struct network)NETWORK_INIT;
}

/* ---- in the child ---- */

static void give_up(int report, const char *what, int code)
{
    dprintf(report, "%s: %s", what, strerror(code));
    _exit(1);
}

/* Tasks are root in their sandbox, or so they believe: nothing keeps them from port 80 in a network of their own. */
static void open_low_ports(void)
{
    _cleanup_close_ int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)!write(fd, "0", 1);
}

static int make_listener(const char *where)
{
    union network_place a;
    socklen_t len = network_place(where, &a);
    int on = 1, fd = len ? socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 || bind(fd, &a.any, len) < 0 ||
        listen(fd, BACKLOG) < 0) {
        cleanup_close_p(&fd);
        return -1;
    }
    return fd;
}

static void configure(const struct network *n, struct nl *cluster, int bridge, int report)
{
    struct nl pod;
    int rc = nl_open(&pod);
    _cleanup_close_ int ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (rc < 0 || ns < 0)
        give_up(report, "network namespace", rc < 0 ? -rc : errno);
    struct nl_end end = {.name = "eth0", .ns = ns, .ip = n->ip};
    rc = nl_pair(cluster, n->port, bridge, &end, (uint32_t)n->mtu);
    if (rc == -EEXIST && nl_remove(cluster, n->port) == 0) /* of a pod that just ended */
        rc = nl_pair(cluster, n->port, bridge, &end, (uint32_t)n->mtu);
    if (rc < 0)
        give_up(report, "connection to the bridge", -rc);
    int index = (int)if_nametoindex("eth0");
    if ((rc = nl_up(&pod, 1)) < 0 || (rc = nl_up(&pod, index)) < 0 ||
        (rc = nl_address(&pod, index, n->ip, n->prefix, 0)) < 0 || (rc = nl_route(&pod, 0, 0, n->gateway, index)) < 0)
        give_up(report, "address", -rc);
    nl_close(&pod);
}

static void port_up(const struct network *n, struct nl *cluster, int report)
{
    if (setns(n->cluster_fd, CLONE_NEWNET) < 0)
        give_up(report, "the cluster's network", errno);
    int rc = nl_up(cluster, (int)if_nametoindex(n->port));
    if (rc < 0)
        give_up(report, "connection to the bridge", -rc);
}

static void send_all(int report, const int *fds, size_t count)
{
    char word[] = "ok", control[CMSG_SPACE(sizeof(int) * (1 + NET_RELAYS_MAX))] __attribute__((aligned(8))) = {0};
    struct iovec part = {.iov_base = word, .iov_len = 2};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
    if (sendmsg(report, &m, MSG_NOSIGNAL) < 0)
        give_up(report, "descriptors", errno);
}

static void child(const struct network *n, int report) __attribute__((noreturn));
static void child(const struct network *n, int report)
{
    struct nl cluster;
    int fds[1 + NET_RELAYS_MAX];
    size_t count = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if ((n->userns && setns(n->user_fd, CLONE_NEWUSER) < 0) || setns(n->cluster_fd, CLONE_NEWNET) < 0)
        give_up(report, "the cluster's network", errno);
    int rc = nl_open(&cluster), bridge = (int)if_nametoindex(NET_BRIDGE);
    if (rc < 0 || !bridge)
        give_up(report, "the cluster's bridge", rc < 0 ? -rc : errno);
    if (unshare(CLONE_NEWNET) < 0)
        give_up(report, "network namespace", errno);
    configure(n, &cluster, bridge, report);
    open_low_ports();
    fds[count++] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < n->relays.len; i++)
        if ((fds[count] = make_listener(n->relays.items[i])) < 0)
            give_up(report, n->relays.items[i], errno);
        else
            count++;
    port_up(n, &cluster, report);
    send_all(report, fds, count);
    _exit(0);
}

/* ---- in the supervisor ---- */

static int receive(struct network *n, int from, osmo_error_t *err)
{
    char text[256] = "", control[CMSG_SPACE(sizeof(int) * (1 + NET_RELAYS_MAX))] __attribute__((aligned(8)));
    struct iovec part = {.iov_base = text, .iov_len = sizeof(text) - 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t got;
    while ((got = recvmsg(from, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    size_t count = c && c->cmsg_type == SCM_RIGHTS ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    if (count != 1 + n->relays.len)
        return osmo_error_set(err, OSMO_EIO, "the pod's network cannot be made: %s", *text ? text : "its maker was killed");
    memcpy(&n->pod_fd, CMSG_DATA(c), sizeof(int));
    n->nlisteners = count - 1;
    memcpy(n->listeners, CMSG_DATA(c) + sizeof(int), n->nlisteners * sizeof(int));
    return 0;
}

int network_make(struct network *n, osmo_error_t *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return osmo_error_set(err, OSMO_EIO, "the pod's network cannot be made: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        child(n, pair[1]);
    close(pair[1]);
    int rc = pid < 0 ? osmo_error_set(err, OSMO_EIO, "the pod's network cannot be made: %s", strerror(errno))
                     : receive(n, pair[0], err);
    close(pair[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return rc;
}

/* The namespace would take the port with it, but connections that nobody answers keep it for minutes. */
static void drop_port(const struct network *n)
{
    struct nl cluster;
    if ((n->userns && setns(n->user_fd, CLONE_NEWUSER) < 0) || setns(n->cluster_fd, CLONE_NEWNET) < 0 || nl_open(&cluster) < 0)
        _exit(1);
    _exit(nl_remove(&cluster, n->port) < 0);
}

void network_leave(struct network *n)
{
    pid_t pid = n->pod_fd >= 0 ? fork() : -1;
    if (pid == 0)
        drop_port(n);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (n->on && !n->userns && n->users_fd >= 0 && flock(n->users_fd, LOCK_EX | LOCK_NB) == 0)
        holder_undo(n->dir);
}

int network_join(const struct network *n)
{
    if (!n->on)
        return 0;
    if (n->userns && setns(n->user_fd, CLONE_NEWUSER) < 0)
        return -1;
    return setns(n->pod_fd, CLONE_NEWNET);
}
