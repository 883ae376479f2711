/* Parts of the pods' networks: names of places, resolv.conf, rtnetlink in a namespace of its own, and the relay under load. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "check.h"
#include "holder.h"

static void test_places(void)
{
    static const struct { const char *text; int family, port; } cases[] = {
        {"127.0.0.1:8000", AF_INET, 8000}, {"[::1]:65535", AF_INET6, 65535}, {"127.0.0.53:53", AF_INET, 53},
        {"localhost:80", 0, 0}, {"127.0.0.1", 0, 0}, {"127.0.0.1:", 0, 0}, {"127.0.0.1:0", 0, 0}, {"127.0.0.1:65536", 0, 0},
        {"[::1:80", 0, 0}, {"::1:80", 0, 0}, {"1.2.3:80", 0, 0}, {":80", 0, 0}, {"", 0, 0}, {NULL, 0, 0},
        {"127.0.0.1:80x", 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        union network_place p;
        socklen_t len = network_place(cases[i].text, &p);
        CHECK_INT(len ? p.any.sa_family : 0, cases[i].family);
        if (len)
            CHECK_INT(ntohs(len == sizeof(p.six) ? p.six.sin6_port : p.four.sin_port), cases[i].port);
    }
}

static void test_resolv_conf(void)
{
    static const struct { const char *text; bool loopback; size_t i; uint32_t want; } cases[] = {
        {"nameserver 9.8.7.6\n", false, 0, 0x09080706},
        {"# nameserver 1.1.1.1\nsearch a b\n nameserver\t9.8.7.6 # x\n", false, 0, 0x09080706},
        {"nameserver 127.0.0.53\nnameserver 9.8.7.6", false, 0, 0x09080706},
        {"nameserver 127.0.0.53\nnameserver 9.8.7.6", true, 0, 0x7f000035},
        {"nameserver 9.8.7.6\nnameserver fe80::1\nnameserver 9.8.7.5\n", false, 1, 0x09080705},
        {"nameserver 127.0.0.53\n", false, 0, 0},
        {"nameserver 0.0.0.0\nnameservers 9.8.7.6\nnameserver\n", false, 0, 0},
        {"", false, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t got = 0;
        bool found = resolver_find(cases[i].text, cases[i].loopback, cases[i].i, &got);
        CHECK_INT(found, cases[i].want != 0);
        CHECK_INT(found ? got : 0, cases[i].want);
    }
}

/* ---- rtnetlink ---- */

/* In a child, which alone is in the namespace. @return the step that failed, 0, or 77 where there are no such namespaces */
static int in_namespace(void)
{
    struct nl n;
    struct nl_route routes[16];
    if (unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return 77;
    if (nl_open(&n) < 0)
        return 1;
    int rc = nl_bridge(&n, "pods", 0x0a010001);
    if (rc == -EOPNOTSUPP || rc == -EPERM)
        return 77; /* a kernel without bridges */
    if (rc < 0 || nl_bridge(&n, "pods", 0x0a010001) != -EEXIST)
        return 2;
    int ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    struct nl_end end = {.name = "eth0", .ns = ns, .ip = 0x0a01aabb};
    if (nl_pair(&n, "p1", (int)if_nametoindex("pods"), &end, 9000) < 0)
        return 3;
    int index = (int)if_nametoindex("eth0");
    if (nl_up(&n, 1) < 0 || nl_up(&n, index) < 0 || nl_up(&n, (int)if_nametoindex("p1")) < 0 ||
        nl_up(&n, (int)if_nametoindex("pods")) < 0)
        return 4;
    if (nl_routes(&n, routes, 16) < 0 || nl_await_default(&n, 20) != -ETIMEDOUT)
        return 5;
    if (nl_address(&n, index, 0x0a01aabb, 16, 0) < 0 || nl_address(&n, index, 0x0a01aabb, 16, 0) < 0 ||
        nl_route(&n, 0, 0, 0x0a010001, index) < 0)
        return 6;
    if (nl_route(&n, 0, 0, 0x0a010001, index) != -EEXIST || nl_await_default(&n, 20) != 0)
        return 7;
    bool seen = false;
    for (int count = nl_routes(&n, routes, 16), i = 0; i < count; i++)
        seen |= routes[i].to == 0x0a010000 && routes[i].prefix == 16;
    if (!seen)
        return 8;
    if (nl_remove(&n, "p1") < 0 || if_nametoindex("eth0") != 0 || nl_remove(&n, "p1") == 0)
        return 9;
    close(ns);
    nl_close(&n);
    return 0;
}

static void test_rtnetlink(void)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_namespace());
    REQUIRE(waitpid(pid, &status, 0) == pid);
    int step = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (step == 77)
        printf("no network namespaces here\n");
    else
        CHECK_INT(step, 0);
}

/* ---- the relay ---- */

#define PAIRS 100
#define BYTES (256 * 1024)
static int echo_fd, echo_port, relay_port;

static int listen_somewhere(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 256) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return -1;
    *port = ntohs(a.sin_port);
    return fd;
}

static void *echo_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char data[16384];
    ssize_t n;
    while ((n = read(fd, data, sizeof(data))) > 0) /* until the other's end of file: half open from then on */
        for (ssize_t at = 0, w; at < n && (w = write(fd, data + at, (size_t)(n - at))) > 0;)
            at += w;
    if (n == 0)
        n = write(fd, "end", 3);
    close(fd);
    return NULL;
}

static void *echo(void *arg)
{
    (void)arg;
    for (int fd; (fd = accept4(echo_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        pthread_t t;
        if (pthread_create(&t, NULL, echo_one, (void *)(intptr_t)fd) == 0)
            pthread_detach(t);
    }
    return NULL;
}

static int dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void *send_all(void *arg)
{
    int fd = (int)(intptr_t)arg;
    static char data[BYTES];
    for (size_t at = 0; at < sizeof(data);) {
        ssize_t n = write(fd, data + at, sizeof(data) - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

static size_t read_to_end(int fd)
{
    char data[16384];
    size_t all = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (ssize_t n; poll(&p, 1, 20000) > 0 && (n = read(fd, data, sizeof(data))) > 0;)
        all += (size_t)n;
    return all;
}

static bool relay_up(struct network *n, int target)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    char to[32];
    snprintf(to, sizeof(to), "127.0.0.1:%d", target);
    n->listeners[0] = listen_somewhere(&relay_port);
    n->nlisteners = 1;
    if (n->listeners[0] < 0 || fcntl(n->listeners[0], F_SETFL, O_NONBLOCK) < 0 || strlist_add(&n->relays, to) < 0)
        return false;
    return relay_start(n, &err) == 0;
}

static void test_relay(void)
{
    struct network n = NETWORK_INIT;
    pthread_t server, senders[PAIRS];
    int fds[PAIRS];
    echo_fd = listen_somewhere(&echo_port);
    REQUIRE(echo_fd >= 0 && relay_up(&n, echo_port));
    REQUIRE(pthread_create(&server, NULL, echo, NULL) == 0);
    for (size_t i = 0; i < PAIRS; i++) {
        fds[i] = dial(relay_port);
        REQUIRE(fds[i] >= 0);
    }
    for (size_t i = 0; i < PAIRS; i++)
        REQUIRE(pthread_create(&senders[i], NULL, send_all, (void *)(intptr_t)fds[i]) == 0);
    for (size_t i = 0; i < PAIRS; i++) {
        CHECK_INT(read_to_end(fds[i]), BYTES + 3); /* all of it, and what was said after our end */
        pthread_join(senders[i], NULL);
        close(fds[i]);
    }
    /* One that reads nothing holds up itself alone. */
    int stuck = dial(relay_port), other = dial(relay_port);
    pthread_t sender;
    REQUIRE(stuck >= 0 && other >= 0);
    static char flood[65536];
    fcntl(stuck, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 2000 && (write(stuck, flood, sizeof(flood)) > 0 || errno == EAGAIN); i++)
        if (errno == EAGAIN && poll(&(struct pollfd){.fd = stuck, .events = POLLOUT}, 1, 50) == 0)
            break; /* everything is full */
    REQUIRE(pthread_create(&sender, NULL, send_all, (void *)(intptr_t)other) == 0);
    CHECK_INT(read_to_end(other), BYTES + 3);
    pthread_join(sender, NULL);
    close(stuck), close(other);
    network_free(&n);
}

/* Nobody there: the connection ends at once. And more connections than are taken wait for their turn. */
static void test_relay_limits(void)
{
    struct network n = NETWORK_INIT, more = NETWORK_INIT;
    int gone = listen_somewhere(&(int){0}), port, fds[64];
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    REQUIRE(gone >= 0 && getsockname(gone, (struct sockaddr *)&a, &len) == 0);
    port = ntohs(a.sin_port);
    close(gone);
    REQUIRE(relay_up(&n, port));
    int fd = dial(relay_port);
    CHECK(fd >= 0);
    CHECK_INT(read_to_end(fd), 0);
    close(fd);
    network_free(&n);
    struct rlimit old, few;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
    few = (struct rlimit){.rlim_cur = 256, .rlim_max = old.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
    REQUIRE(relay_up(&more, echo_port));
    CHECK_INT(more.files.rlim_cur, 256); /* what containers get back */
    for (size_t i = 0; i < 64; i++)
        fds[i] = dial(relay_port);
    for (size_t i = 0; i < 64; i++) {
        CHECK(write(fds[i], "x", 1) == 1);
        shutdown(fds[i], SHUT_WR);
        CHECK_INT(read_to_end(fds[i]), 4);
        close(fds[i]);
    }
    setrlimit(RLIMIT_NOFILE, &old);
    network_free(&more);
}

static const struct check_test tests[] = {
    { "places", test_places },       { "resolv.conf", test_resolv_conf }, { "rtnetlink", test_rtnetlink },
    { "relay", test_relay },         { "relay's limits", test_relay_limits },
};

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    return check_main("podnet", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
