/* The holder of a cluster's network:
 *     osmo-pod-supervisor --network DIR [--join] [--helper]   started by the local driver of libosmo-backend
 * One process a cluster, which like the supervisors outlives osmo-backend. It makes the namespace in which the pods' bridge is,
 * connects it outwards, writes DIR/state.json, says "ok" on its output or what is wrong, and stays until neither osmo-backend
 * nor a supervisor holds DIR/users.lock. With --join the namespace is there already (in the descriptors of network.h), because
 * its former holder was killed; what is missing in it is made again.
 *
 * Outwards there are two ways. Root without obstacles: a pair of interfaces to the host, where a table of our own (holder_nft.c)
 * masquerades. Otherwise, in a user namespace if need be, a helper program that opens the connections as the host's own:
 * slirp4netns or pasta (holder_helper.c). All that is made in the namespace vanishes with it; on the host only the table and the
 * switch for forwarding have to be undone. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "holder.h"

#define READY_MS 5000
#define ROUTES_MAX 4096

/* ---- the plan ---- */

static int load(struct holder *h, osmo_error_t *err)
{
    _cleanup_free_ char *path = str_printf("%s/plan.json", h->dir);
    _cleanup_buf_ buf_t text = BUF_INIT(64 * 1024);
    _cleanup_json_ json_t *plan = NULL;
    int rc = path ? file_read(path, &text, err) : OSMO_ENOMEM;
    if (rc == 0)
        rc = json_parse(buf_cstr(&text), text.len, &plan, err);
    if (rc < 0)
        return rc;
    h->name = str_dup(json_get_str(plan, "name"));
    h->nft = str_dup(json_get_str(plan, "nft"));
    h->cidr = str_dup(json_get_str(plan, "cidr"));
    if (!h->name || strlen(h->name) >= IFNAMSIZ || !h->nft)
        return osmo_error_set(err, OSMO_EINVAL, "%s: not a plan of a network", path);
    return 0;
}

static bool overlap(uint32_t a, int a_prefix, uint32_t b, int b_prefix)
{
    int prefix = a_prefix < b_prefix ? a_prefix : b_prefix;
    return prefix > 0 && (a ^ b) >> (32 - prefix) == 0;
}

static bool parse_cidr(const char *text, uint32_t *base, int *prefix)
{
    char host[32];
    int64_t bits;
    size_t n = strcspn(text, "/");
    if (n >= sizeof(host) || !text[n] || !str_to_i64(text + n + 1, &bits) || bits < 8 || bits > 24)
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)n, text);
    if (network_address(host, base) < 0)
        return false;
    *prefix = (int)bits;
    *base &= ~0u << (32 - bits);
    return true;
}

/* Whether the host itself goes there for something: then pods could not, or the host could not any more. */
static bool taken(const struct nl_route *routes, int count, uint32_t base, int prefix)
{
    for (int i = 0; i < count; i++)
        if (routes[i].prefix > 0 && overlap(routes[i].to, routes[i].prefix, base, prefix))
            return true;
    for (size_t i = 0; i < 3; i++) { /* name servers are often reached by the default route alone */
        uint32_t server;
        if (resolver_address(i, &server) && overlap(server, 32, base, prefix))
            return true;
    }
    return false;
}

/* Where networks of 16 bits are looked for: private ranges, those parts first that others choose seldom. */
static const struct { uint32_t first; unsigned count; } ranges[] = {
    {10u << 24 | 192u << 16, 63}, {172u << 24 | 20u << 16, 12}, {100u << 24 | 96u << 16, 32},
};

static int choose_cidr(struct holder *h, bool join, osmo_error_t *err)
{
    static struct nl_route routes[ROUTES_MAX];
    struct nl host;
    unsigned hash = 0;
    if (join) /* the route that is there is its own */
        return h->cidr && parse_cidr(h->cidr, &h->base, &h->prefix) ? 0 : osmo_error_set(err, OSMO_EIO, "state.json names no network");
    int count = nl_open(&host);
    if (count == 0)
        count = nl_routes(&host, routes, ROUTES_MAX);
    nl_close(&host);
    if (count < 0)
        return osmo_error_set(err, OSMO_EIO, "the routes of this machine cannot be read: %s", strerror(-count));
    if (h->cidr) {
        if (!parse_cidr(h->cidr, &h->base, &h->prefix))
            return osmo_error_set(err, OSMO_EINVAL, "--pod-cidr %s: say a network of 8 to 24 bits, such as 10.217.0.0/16", h->cidr);
        if (taken(routes, count, h->base, h->prefix))
            return osmo_error_set(err, OSMO_EINVAL, "--pod-cidr %s: this machine has a route there; choose another", h->cidr);
        return 0;
    }
    for (const char *c = h->name; *c; c++)
        hash = hash * 31 + (unsigned char)*c;
    h->prefix = 16;
    for (size_t r = 0; r < ARRAY_SIZE(ranges); r++)
        for (unsigned i = 0; i < ranges[r].count; i++) {
            h->base = ranges[r].first + ((hash + i) % ranges[r].count << 16);
            if (!taken(routes, count, h->base, h->prefix))
                return 0;
        }
    return osmo_error_set(err, OSMO_EUNAVAIL, "no network is free: give one with --pod-cidr");
}

/* ---- the namespace ---- */

static int fail(osmo_error_t *err, const char *what, int code)
{
    return osmo_error_set(err, OSMO_EUNAVAIL, "%s: %s", what, strerror(code));
}

static int write_proc(const char *path, const char *text)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/* One id, the caller's own: programs that are started in here have no rights by their number. */
static int map_user(uid_t uid, gid_t gid, osmo_error_t *err)
{
    char text[64];
    if (write_proc("/proc/self/setgroups", "deny") < 0)
        return fail(err, "user namespace", errno);
    snprintf(text, sizeof(text), "%u %u 1", (unsigned)gid, (unsigned)gid);
    if (write_proc("/proc/self/gid_map", text) < 0)
        return fail(err, "user namespace", errno);
    snprintf(text, sizeof(text), "%u %u 1", (unsigned)uid, (unsigned)uid);
    return write_proc("/proc/self/uid_map", text) < 0 ? fail(err, "user namespace", errno) : 0;
}

static int enter(struct holder *h, bool join, osmo_error_t *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (join) {
        if ((h->userns && setns(NET_USER_FD, CLONE_NEWUSER) < 0) || setns(NET_CLUSTER_FD, CLONE_NEWNET) < 0)
            return fail(err, "the pods' network", errno);
        return 0;
    }
    if (unshare((h->userns ? CLONE_NEWUSER : 0) | CLONE_NEWNET) < 0)
        return fail(err, h->userns ? "user namespaces are not allowed" : "network namespaces are not allowed", errno);
    return h->userns ? map_user(uid, gid, err) : 0;
}

static int make_bridge(struct holder *h, osmo_error_t *err)
{
    int rc = nl_bridge(&h->nl, NET_BRIDGE, h->base + NET_GATEWAY), index;
    if (rc < 0 && rc != -EEXIST)
        return fail(err, "no bridge can be made", -rc);
    index = (int)if_nametoindex(NET_BRIDGE);
    if ((rc = nl_up(&h->nl, 1)) < 0 || (rc = nl_up(&h->nl, index)) < 0 ||
        (rc = nl_address(&h->nl, index, h->base + NET_GATEWAY, h->prefix, 0)) < 0)
        return fail(err, "the bridge cannot be set up", -rc);
    if (write_proc("/proc/sys/net/ipv4/ip_forward", "1") < 0)
        return fail(err, "forwarding cannot be switched on", errno);
    return 0;
}

/* ---- to the host, as root ---- */

/* Addresses of the two ends are the pods' network's own: one route on the host says it all. */
static int make_uplink(struct holder *h, osmo_error_t *err)
{
    struct nl host;
    uint32_t there = h->base + NET_HOST_END, here = h->base + NET_UPLINK_END;
    struct nl_end end = {.name = h->name, .ns = h->host_fd, .ip = there};
    int rc = nl_pair(&h->nl, NET_UPLINK, 0, &end, 0), index = 0;
    if (rc < 0 && rc != -EEXIST)
        return fail(err, "no connection to the host can be made", -rc);
    index = (int)if_nametoindex(NET_UPLINK);
    if (!index || (rc = nl_up(&h->nl, index)) < 0 || (rc = nl_address(&h->nl, index, here, 32, there)) < 0)
        return fail(err, "the connection to the host cannot be set up", index ? -rc : EEXIST);
    if (setns(h->host_fd, CLONE_NEWNET) < 0)
        return fail(err, "the host's network", errno);
    rc = nl_open(&host);
    index = (int)if_nametoindex(h->name);
    if (rc == 0 && (rc = nl_up(&host, index)) == 0 && (rc = nl_address(&host, index, there, 32, here)) == 0)
        rc = nl_route(&host, h->base, h->prefix, here, index);
    nl_close(&host);
    int back = setns(h->cluster_fd, CLONE_NEWNET);
    if (rc == -EEXIST && !h->joined) /* seen free, and taken since: by a cluster that started at the same moment */
        return osmo_error_set(err, OSMO_EBUSY, "another cluster took the same network");
    if (rc == 0 || rc == -EEXIST)
        rc = nl_route(&h->nl, 0, 0, there, (int)if_nametoindex(NET_UPLINK));
    if (back < 0 || (rc < 0 && rc != -EEXIST))
        return fail(err, "the connection to the host cannot be set up", back < 0 ? errno : -rc);
    return 0;
}

static int go_by_host(struct holder *h, osmo_error_t *err)
{
    h->kind = "nftables";
    int rc = make_uplink(h, err);
    return rc < 0 ? rc : nft_host_table(h, err);
}

static int go_by_helper(struct holder *h, osmo_error_t *err)
{
    int rc = helper_go(h, err);
    if (rc == 0 && (rc = nl_await_default(&h->nl, READY_MS)) < 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "%s does not connect: see network/holder.log; is /dev/net/tun open to this user?",
                              h->kind);
    return rc < 0 ? rc : nft_inner_table(h, err);
}

static int make_all(struct holder *h, bool join, osmo_error_t *err)
{
    int rc = choose_cidr(h, join, err);
    h->host_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (rc == 0 && access(h->nft, X_OK) < 0)
        rc = osmo_error_set(err, OSMO_EUNAVAIL, "the program nft is missing: install the package nftables");
    if (rc == 0 && h->by_host)
        rc = nft_obstacles(h, err);
    if (rc == 0 && !h->by_host)
        rc = helper_prepare(h, err);
    if (rc == 0)
        rc = enter(h, join, err);
    if (rc == 0 && (h->cluster_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0)
        rc = fail(err, "network namespace", errno);
    if (rc == 0 && (rc = nl_open(&h->nl)) < 0)
        rc = fail(err, "rtnetlink", -rc);
    if (rc == 0)
        rc = make_bridge(h, err);
    if (rc == 0)
        rc = h->by_host ? go_by_host(h, err) : go_by_helper(h, err);
    return rc;
}

/* ---- its life ---- */

static int64_t inode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_ino : 0;
}

static int write_state(const struct holder *h, osmo_error_t *err)
{
    _cleanup_json_ json_t *o = json_object();
    _cleanup_free_ char *path = str_printf("%s/state.json", h->dir);
    char cidr[32];
    uint32_t b = h->base;
    snprintf(cidr, sizeof(cidr), "%u.%u.%u.%u/%d", b >> 24, b >> 16 & 255, b >> 8 & 255, b & 255, h->prefix);
    json_set_int(o, "pid", getpid());
    json_set_int(o, "net", inode_of("/proc/self/ns/net"));
    json_set_int(o, "user", h->userns ? inode_of("/proc/self/ns/user") : 0);
    json_set_str(o, "cidr", cidr);
    json_set_str(o, "kind", h->kind);
    json_set_bool(o, "by_host", h->by_host);
    json_set_bool(o, "forwarding_was_off", h->forwarding_was_off);
    if (h->resolver_relay[0])
        json_set_str(o, "resolver", h->resolver_relay);
    _cleanup_free_ char *text = path ? json_to_text(o) : NULL;
    return text ? file_write_atomic(path, text, strlen(text), 0600, false, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

/* A lock that nobody else has any more: the cluster has no pods and no osmo-backend. */
static void *wait_for_users(void *arg)
{
    const struct holder *h = arg;
    uint64_t one = 1;
    while (flock(h->users_fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    (void)!write(h->event_fd, &one, sizeof(one));
    return NULL;
}

/* @return 0 when nobody needs it any more, 1 when its helper ended */
static int hold(struct holder *h, int signal_fd)
{
    pthread_t thread;
    h->event_fd = eventfd(0, EFD_CLOEXEC);
    if (h->event_fd < 0 || pthread_create(&thread, NULL, wait_for_users, h) != 0)
        return 1;
    for (;;) {
        struct pollfd p[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = h->event_fd, .events = POLLIN}};
        struct signalfd_siginfo info;
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return 1;
        if (p[1].revents)
            return 0;
        while (p[0].revents && read(signal_fd, &info, sizeof(info)) > 0)
            if (info.ssi_signo == SIGTERM)
                return 0;
        for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;)
            if (pid == h->helper)
                return 1;
    }
}

static int take_locks(struct holder *h, osmo_error_t *err)
{
    _cleanup_free_ char *own = str_printf("%s/holder.lock", h->dir), *users = str_printf("%s/users.lock", h->dir);
    char text[24];
    h->lock_fd = own ? open(own, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    h->users_fd = users ? open(users, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (h->lock_fd < 0 || h->users_fd < 0 || flock(h->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return osmo_error_set(err, OSMO_EEXISTS, "the network has a holder already");
    h->ours = true;
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(h->lock_fd, 0) < 0 || pwrite(h->lock_fd, text, (size_t)n, 0) != n)
        return osmo_error_set(err, OSMO_EIO, "%s cannot be written: %s", own, strerror(errno));
    return 0;
}

/* What the former holder found on the host, if it was killed and cannot undo it. */
static void load_state(struct holder *h, bool join)
{
    _cleanup_free_ char *path = str_printf("%s/state.json", h->dir);
    _cleanup_buf_ buf_t text = BUF_INIT(64 * 1024);
    _cleanup_json_ json_t *o = NULL;
    if (!path || file_read(path, &text, NULL) < 0 || json_parse(buf_cstr(&text), text.len, &o, NULL) < 0)
        return;
    h->forwarding_was_off = json_get_bool(o, "forwarding_was_off", false);
    if (!join)
        return;
    free(h->cidr);
    h->cidr = str_dup(json_get_str(o, "cidr"));
    h->by_host = json_get_bool(o, "by_host", h->by_host);
}

static void undo(struct holder *h)
{
    _cleanup_free_ char *path = str_printf("%s/state.json", h->dir);
    if (path)
        unlink(path);
    if (h->helper > 0 && kill(h->helper, SIGKILL) == 0)
        waitpid(h->helper, NULL, 0);
    nl_remove(&h->nl, NET_UPLINK);
    if (h->by_host)
        nft_host_undo(h);
}

static void forget(struct holder *h)
{
    int *fds[] = {&h->lock_fd, &h->users_fd, &h->host_fd, &h->helper_pipe};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        cleanup_close_p(fds[i]);
    free(h->name), free(h->nft), free(h->cidr);
}

void holder_undo(const char *dir)
{
    struct holder h = {.dir = dir, .lock_fd = -1, .users_fd = -1, .host_fd = -1, .helper_pipe = -1, .nl = {.fd = -1}};
    _cleanup_free_ char *state = str_printf("%s/state.json", dir);
    /* Otherwise there is nothing to undo, or it does it itself. */
    if (state && file_exists(state) && take_locks(&h, NULL) == 0 && load(&h, NULL) == 0) {
        load_state(&h, true);
        h.host_fd = h.cluster_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        undo(&h);
    }
    forget(&h);
}

static void say(int fd, const char *text)
{
    dprintf(fd, "%s\n", text);
    close(fd);
}

int holder_main(const char *dir, bool join, bool by_helper)
{
    struct holder h = {.dir = dir, .userns = geteuid() != 0, .lock_fd = -1, .users_fd = -1, .host_fd = -1, .cluster_fd = -1,
                       .helper_pipe = -1, .nl = {.fd = -1}};
    osmo_error_t err = OSMO_ERROR_INIT;
    sigset_t mask;
    h.by_host = !h.userns && !by_helper;
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10), rc;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    int signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* what helpers say goes to the log */
    rc = load(&h, &err);
    if (rc == 0)
        rc = take_locks(&h, &err);
    if (rc == 0) {
        load_state(&h, join);
        h.joined = join;
        rc = make_all(&h, join, &err);
    }
    if (rc == 0)
        rc = resolver_write(dir, h.resolver[0] ? h.resolver : NULL, h.resolver_relay, &err);
    if (rc == 0)
        rc = write_state(&h, &err);
    if (rc < 0) {
        fprintf(stderr, "%s\n", err.text);
        if (h.ours && !join)
            undo(&h);
        say(out, err.text[0] ? err.text : "out of memory");
        forget(&h);
        return rc == OSMO_EBUSY ? 2 : 1; /* 2: try again */
    }
    say(out, "ok");
    rc = hold(&h, signal_fd);
    if (rc == 0)
        undo(&h);
    forget(&h);
    return rc;
}
