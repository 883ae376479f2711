/* The network of the pods: whether each pod has one of its own, and the process that holds what they share (the holder, see
 * daemons/osmo-pod-supervisor/holder.c). Like the supervisors it outlives us and is found again. Called by local.c, and by the
 * driver's thread with the mutex held.
 *
 * The shared namespace lives as long as anybody has it open: the holder, we, and every supervisor. So when the holder is
 * killed, pods go on, and a new one joins what is there. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/log.h"
#include "cluster/local/local_int.h"

#define STATE_MAX (64 * 1024)
#define END_MS 5000
#define RESTARTS_MAX 5          /* of the holder, within the time below: then pods are left to what they have */
#define RESTARTS_US 60000000
#define HOLDER_AGAIN 2          /* its exit status when another cluster was faster */
#define STARTS_MAX 8
#define HELPER_MTU 65520        /* the helpers move whole buffers: the larger the better */
#define PROBE_PLACE 4           /* in the pods' network, behind those of holder.h */

static char *net_path(const struct local *l, const char *file)
{
    return str_printf("%s/network%s%s", l->state_dir, *file ? "/" : "", file);
}

static void say(const struct local *l, int level, const char *text)
{
    if (l->sink.log && text)
        l->sink.log(l->sink.ctx, level, text);
}

/* ---- what is there ---- */

static json_t *read_state(const struct local *l)
{
    _cleanup_free_ char *path = net_path(l, "state.json");
    _cleanup_buf_ buf_t text = BUF_INIT(STATE_MAX);
    json_t *v = NULL;
    return path && file_read(path, &text, NULL) == 0 && json_parse(buf_cstr(&text), text.len, &v, NULL) == 0 ? v : NULL;
}

/* Clear of the places where a program that we start finds them. */
static int keep(int fd)
{
    int high = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 10) : -1;
    if (fd >= 0)
        close(fd);
    return high;
}

static int open_same(const char *path, int64_t inode)
{
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &st) == 0 && (int64_t)st.st_ino == inode ? keep(STEAL_FD(fd)) : -1;
}

static bool open_spaces(struct local *l, const json_t *state, pid_t pid, const char *net, const char *user)
{
    char path[64];
    int64_t user_inode = json_get_int(state, "user", 0);
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, net);
    l->net.cluster_fd = open_same(path, json_get_int(state, "net", 0));
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, user);
    l->net.user_fd = user_inode ? open_same(path, user_inode) : -1;
    l->net.userns = user_inode != 0;
    if (l->net.cluster_fd >= 0 && (l->net.user_fd >= 0 || !user_inode))
        return true;
    cleanup_close_p(&l->net.cluster_fd);
    cleanup_close_p(&l->net.user_fd);
    l->net.cluster_fd = l->net.user_fd = -1;
    return false;
}

/* The process that holds a lock and wrote its id into it; 0 when nobody holds it. */
static pid_t lock_holder(const char *path)
{
    char text[24] = "";
    int64_t pid = 0;
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return str_to_i64(text, &pid) && pid > 0 ? (pid_t)pid : 0;
}

/* From a supervisor that still has them. */
static bool open_from_pods(struct local *l, const json_t *state)
{
    _cleanup_free_ char *pods = str_printf("%s/pods", l->state_dir);
    DIR *d = pods ? opendir(pods) : NULL;
    bool found = false;
    char fd_net[16], fd_user[16];
    snprintf(fd_net, sizeof(fd_net), "fd/%d", LOCAL_NET_FD);
    snprintf(fd_user, sizeof(fd_user), "fd/%d", LOCAL_USER_FD);
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        _cleanup_free_ char *lock = str_printf("%s/%s/lock", pods, e->d_name);
        pid_t pid = name_ok(e->d_name) && lock ? lock_holder(lock) : 0;
        found = pid > 0 && open_spaces(l, state, pid, fd_net, fd_user);
    }
    if (d)
        closedir(d);
    return found;
}

static bool take_state(struct local *l, const json_t *state)
{
    const char *cidr = json_get_str(state, "cidr");
    size_t n = strcspn(cidr ? cidr : "", "/");
    char host[32];
    struct in_addr a;
    int64_t prefix;
    if (!cidr || n >= sizeof(host) || !cidr[n] || !str_to_i64(cidr + n + 1, &prefix) || prefix < 8 || prefix > 24)
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)n, cidr);
    if (inet_pton(AF_INET, host, &a) != 1)
        return false;
    l->net.base = ntohl(a.s_addr);
    l->net.prefix = (int)prefix;
    l->net.mtu = json_get_bool(state, "by_host", false) ? 0 : HELPER_MTU;
    const char *resolver = json_get_str(state, "resolver");
    if (resolver && !strlist_has(&l->net.relays, resolver) && strlist_add(&l->net.relays, resolver) < 0)
        return false;
    snprintf(l->net.what, sizeof(l->net.what), "%s by %s", cidr, json_get_str(state, "kind") ? json_get_str(state, "kind") : "?");
    return true;
}

/* ---- the holder ---- */

static int write_plan(const struct local *l, osmo_error_t *err)
{
    static const char *const places[] = {"/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft", "/usr/bin/nft"};
    _cleanup_free_ char *path = net_path(l, "plan.json");
    _cleanup_json_ json_t *o = json_object();
    uint8_t hash[32];
    char name[16];
    size_t i = 0;
    while (i + 1 < ARRAY_SIZE(places) && access(places[i], X_OK) < 0)
        i++;
    crypto_sha256(l->state_dir, strlen(l->state_dir), hash);
    snprintf(name, sizeof(name), "osmo%02x%02x%02x%02x", hash[0], hash[1], hash[2], hash[3]);
    json_set_str(o, "name", name);
    json_set_str(o, "nft", l->net.nft ? l->net.nft : places[i]);
    if (l->net.cidr)
        json_set_str(o, "cidr", l->net.cidr);
    _cleanup_free_ char *text = path ? json_to_text(o) : NULL;
    return text ? file_write_atomic(path, text, strlen(text), 0600, false, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

/* 0, or why not. */
static int holder_start(struct local *l, const char *option, osmo_error_t *err)
{
    _cleanup_free_ char *dir = net_path(l, ""), *log = net_path(l, "holder.log");
    char word[] = "--network", text[512] = "";
    _cleanup_free_ char *extra = option ? str_dup(option) : NULL;
    char *argv[] = {l->supervisor, word, dir, extra, NULL};
    pid_t pid = 0;
    int rc = write_plan(l, err);
    if (rc < 0)
        return rc;
    rc = supervisor_run(l, argv, log, &pid, text, sizeof(text));
    if (rc == 0 && str_eq(text, "ok")) {
        l->net.pid = pid;
        l->net.pidfd = pidfd_open(pid, 0);
        return 0;
    }
    return osmo_error_set(err, rc == HOLDER_AGAIN ? OSMO_EBUSY : OSMO_EUNAVAIL, "%s",
                          *text ? text : "the process that holds the network ended without a word");
}

static void watch_holder(struct local *l)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &l->net.pidfd};
    if (l->net.pidfd >= 0 && l->epoll_fd >= 0)
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->net.pidfd, &ev);
}

/* One that was started by an osmo-backend which did not live to see it ready has written no state, or another's. */
static bool find_holder(struct local *l, const json_t *state)
{
    _cleanup_free_ char *lock = net_path(l, "holder.lock");
    pid_t pid = lock ? lock_holder(lock) : 0;
    if (pid <= 0)
        return false;
    l->net.pidfd = pidfd_open(pid, 0);
    if (state && json_get_int(state, "pid", 0) == pid && open_spaces(l, state, pid, "ns/net", "ns/user"))
        return true;
    struct pollfd p = {.fd = l->net.pidfd, .events = POLLIN};
    if (l->net.pidfd >= 0 && pidfd_send_signal(l->net.pidfd, SIGKILL, NULL, 0) == 0)
        poll(&p, 1, END_MS);
    cleanup_close_p(&l->net.pidfd);
    l->net.pidfd = -1;
    return false;
}

static int take_new(struct local *l, osmo_error_t *err)
{
    _cleanup_json_ json_t *state = read_state(l);
    if (!state || !take_state(l, state) ||
        (l->net.cluster_fd < 0 && !open_spaces(l, state, (pid_t)json_get_int(state, "pid", 0), "ns/net", "ns/user")))
        return osmo_error_set(err, OSMO_EUNAVAIL, "the process that holds the network is gone again");
    return 0;
}

static int start_new(struct local *l, osmo_error_t *err)
{
    osmo_error_t second = OSMO_ERROR_INIT;
    int rc = OSMO_EBUSY;
    for (int i = 0; rc == OSMO_EBUSY && i < STARTS_MAX; i++)
        rc = holder_start(l, NULL, err);
    if (rc < 0 && geteuid() == 0 && holder_start(l, "--helper", &second) == 0)
        rc = 0;
    return rc;
}

static int connect_pods(struct local *l, osmo_error_t *err)
{
    _cleanup_free_ char *dir = net_path(l, ""), *users = net_path(l, "users.lock");
    int rc = dir && users ? dir_make(dir, 0700, err) : OSMO_ENOMEM;
    l->net.users_fd = rc == 0 ? open(users, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (l->net.users_fd < 0 || flock(l->net.users_fd, LOCK_SH) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot write in %s", dir ? dir : "the state directory");
    _cleanup_json_ json_t *state = read_state(l);
    if (find_holder(l, state))
        return take_state(l, state) ? 0 : osmo_error_set(err, OSMO_EIO, "network/state.json cannot be understood");
    rc = state && open_from_pods(l, state) ? holder_start(l, "--join", err) : start_new(l, err);
    return rc == 0 ? take_new(l, err) : rc;
}

/* A pod's network like any other, and a sandbox in it. */
static int try_out(struct local *l, osmo_error_t *err)
{
    struct pod probe = {.ip = l->net.base + PROBE_PLACE, .address = PROBE_PLACE};
    _cleanup_json_ json_t *plan = net_plan(l, &probe);
    _cleanup_free_ char *json = plan ? json_to_text(plan) : NULL;
    char option[] = "--probe", text[512] = "";
    char *argv[] = {l->supervisor, option, l->bwrap, json, NULL};
    if (!json)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (supervisor_run(l, argv, NULL, NULL, text, sizeof(text)) != 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "%s", text);
    return str_eq(text, l->isolation) ? 0 : osmo_error_set(err, OSMO_EUNAVAIL, "there the sandbox is weaker");
}

static void drop(struct local *l)
{
    int *fds[] = {&l->net.users_fd, &l->net.pidfd, &l->net.cluster_fd, &l->net.user_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        cleanup_close_p(fds[i]);
        *fds[i] = -1;
    }
    l->net.on = false;
}

int net_open(struct local *l, osmo_error_t *err)
{
    osmo_error_t why = OSMO_ERROR_INIT;
    _cleanup_free_ char *resolv = net_path(l, "resolv.conf");
    int rc = 0;
    if (l->net.want == NET_WANT_HOST) {
        l->net.shown = str_dup("pods share this machine's network: --network host");
        return 0;
    }
    if (str_eq(l->isolation, "plain"))
        rc = osmo_error_set(&why, OSMO_EUNAVAIL, "without a sandbox nothing separates them");
    if (rc == 0)
        rc = connect_pods(l, &why);
    l->net.on = rc == 0;
    if (rc == 0)
        rc = try_out(l, &why);
    if (rc == 0) {
        l->net.shown = str_printf("each pod has a network of its own: %s", l->net.what);
        l->net.resolv = resolv && file_exists(resolv) ? STEAL(resolv) : NULL;
        watch_holder(l);
        say(l, LOG_LEVEL_INFO, l->net.shown);
        return 0;
    }
    drop(l);
    if (l->net.want == NET_WANT_POD)
        return osmo_error_set(err, rc, "pods cannot have networks of their own: %s; or say --network host", why.text);
    l->net.shown = str_printf("pods share this machine's network: %s", why.text);
    say(l, LOG_LEVEL_WARNING, l->net.shown);
    return 0;
}

/* Killed, or its helper ended. What it made is still there. */
void net_holder_gone(struct local *l)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t now = clock_mono_us();
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, l->net.pidfd, NULL);
    close(STEAL_FD(l->net.pidfd));
    if (l->net.pid > 0)
        waitpid(l->net.pid, NULL, WNOHANG);
    l->net.pid = 0;
    if (now - l->net.restarts_since_us > RESTARTS_US)
        l->net.restarts = 0, l->net.restarts_since_us = now;
    int rc = l->net.restarts++ < RESTARTS_MAX ? holder_start(l, "--join", &err)
                                              : osmo_error_set(&err, OSMO_EUNAVAIL, "it ended %d times", RESTARTS_MAX);
    _cleanup_free_ char *text = rc < 0 ? str_printf("the process that holds the pods' network ended and cannot be replaced: %s; "
                                                    "restart osmo-backend", err.text) : NULL;
    say(l, LOG_LEVEL_WARNING, rc < 0 ? text : "the process that holds the pods' network ended and was replaced");
    watch_holder(l);
}

void net_close(struct local *l)
{
    size_t it = 0;
    const char *name;
    void *v;
    bool pods = false;
    while (l->pods && map_next(l->pods, &it, &name, &v))
        pods |= ((struct pod *)v)->state == POD_STARTED && ((struct pod *)v)->pidfd >= 0; /* supervisors of others are about to end */
    struct pollfd p = {.fd = l->net.pidfd, .events = POLLIN};
    cleanup_close_p(&l->net.users_fd);
    l->net.users_fd = -1;
    if (l->net.on && !pods && l->net.pidfd >= 0)
        poll(&p, 1, END_MS); /* it was for us alone: nothing of it is left when we end */
    if (l->net.pid > 0)
        waitpid(l->net.pid, NULL, WNOHANG);
    drop(l);
    free(l->net.cidr), free(l->net.nft), free(l->net.resolv), free(l->net.shown);
    strlist_free(&l->net.relays);
}

/* ---- for one pod ---- */

/* Where the pod's own program finds the service. The service put it there, in pairs of option and value; what users may say comes
 * later, and in the place of a value. */
static const char *ctrl_option(const json_t *manifest, const char *name)
{
    const json_t *list = json_path(manifest, "spec", "containers", NULL);
    for (size_t i = 0; i < json_len(list); i++) {
        const json_t *args = json_get(json_at(list, i), "args");
        for (size_t k = 0; str_eq(json_get_str(json_at(list, i), "name"), "osmo-ctrl") && k + 1 < json_len(args); k += 2)
            if (str_eq(json_str(json_at(args, k)), name))
                return json_str(json_at(args, k + 1));
    }
    return NULL;
}

/* A service on the loopback address of this machine is out of a pod's reach, unless it is brought there. */
static char *service_relay(const struct pod *p)
{
    _cleanup_json_ json_t *manifest = p->manifest ? pod_manifest(p) : NULL;
    const char *host = ctrl_option(manifest, "-host"), *port = ctrl_option(manifest, "-port");
    if (!host || !port)
        return NULL;
    if (str_eq(host, "::1"))
        return str_printf("[::1]:%s", port);
    return str_eq(host, "localhost") || str_starts(host, "127.")
               ? str_printf("%s:%s", str_eq(host, "localhost") ? "127.0.0.1" : host, port) : NULL;
}

json_t *net_plan(const struct local *l, const struct pod *p)
{
    json_t *o = json_object(), *relays = json_array();
    _cleanup_free_ char *users = net_path(l, "users.lock"), *service = service_relay(p);
    char ip[20], gateway[20], port[16];
    address_text(p->ip, ip);
    address_text(l->net.base + 1, gateway);
    snprintf(port, sizeof(port), "p%06x", (unsigned)p->address);
    json_set_str(o, "ip", ip);
    json_set_str(o, "gateway", gateway);
    json_set_str(o, "port", port);
    json_set_str(o, "users", users);
    json_set_int(o, "prefix", l->net.prefix);
    json_set_int(o, "mtu", l->net.mtu);
    json_set_bool(o, "userns", l->net.userns);
    for (size_t i = 0; i < l->net.relays.len; i++)
        json_add_str(relays, l->net.relays.items[i]);
    if (service && !strlist_has(&l->net.relays, service))
        json_add_str(relays, service);
    json_set(o, "relays", relays);
    return o;
}

bool net_has(const struct local *l, const struct pod *p)
{
    return l->net.on && p->ip >> 24 != LOOPBACK_NET >> 24;
}

/* The places of a pod in the network: the first sixteen are not for pods, and of larger networks neither is what looks like the
 * address of a network or of everybody. */
bool net_place_ok(const struct local *l, uint32_t place)
{
    uint32_t last = place & 255, end = (1u << (32 - l->net.prefix)) - 1;
    return place >= 16 && place < end && last != 0 && last != 255;
}
