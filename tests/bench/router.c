/* A joined pair of websockets against `socat` doing the same hop over TCP: router [RUNS] [MiB]. In one run,
 * alternating; medians. A sender, a receiver and what is between them, each a process of its own; one-way throughput
 * with writes of 32 KiB, and the round trip of 64 bytes. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../unit/server_fixture.h"
#include "../unit/ws_raw.h"

enum { PIECE = 32 << 10, ROUNDS = 10000, SMALL = 64, MAX_RUNS = 25, IDLE_PAIRS = 1000 };
enum { JOINED, SOCAT_8K, SOCAT_64K, WAYS };
static const char *const names[] = { "joined websockets", "socat, buffers of 8 KiB (its default)", "socat, buffers of 64 KiB" };
static size_t total = 512u << 20;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int listen_port(int *port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 8) < 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        die("cannot listen");
    *port = ntohs(a.sin_port);
    return fd;
}

static int dial_port(int port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (int i = 0; i < 500; i++, usleep(10000)) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
            return fd;
        close(fd);
    }
    die("cannot connect");
    return -1;
}

/* Two connected ends with the way between them. */
struct pair { int a, b; bool ws; pid_t pid; };

static void no_delay(int fd) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static pid_t start_socat(const char *buffer, int from, int to) {
    char listen_text[96], connect_text[96];
    snprintf(listen_text, sizeof listen_text, "TCP-LISTEN:%d,bind=127.0.0.1,reuseaddr,nodelay", from);
    snprintf(connect_text, sizeof connect_text, "TCP:127.0.0.1:%d,nodelay", to);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("socat", "socat", "-b", buffer, listen_text, connect_text, (char *)NULL);
        die("socat (package socat)");
    }
    return pid;
}

static struct pair open_pair(int way, int nth) {
    struct pair p = { .ws = way == JOINED };
    if (p.ws) {
        char path[32], name[16];
        snprintf(name, sizeof name, "b%d", nth);
        snprintf(path, sizeof path, "/held/%s", name);
        p.a = dial();
        p.b = dial();
        if (ws_raw_upgrade(p.a, path, "x") != 101 || ws_raw_upgrade(p.b, path, "x") != 101 || join_held(name) != 0)
            die("cannot join");
    } else {
        int from, to, listener = listen_port(&to);
        close(listen_port(&from));
        p.pid = start_socat(way == SOCAT_8K ? "8192" : "65536", from, to);
        p.a = dial_port(from);
        p.b = accept(listener, NULL, NULL);
        close(listener);
    }
    no_delay(p.a);
    no_delay(p.b);
    return p;
}

static void close_pair(struct pair *p) {
    close(p->a);
    close(p->b);
    if (p->pid > 0) {
        kill(p->pid, SIGTERM);
        waitpid(p->pid, NULL, 0);
    }
}

/* A masked frame of PIECE bytes, or just the bytes. */
static size_t make_piece(unsigned char *to, bool ws, size_t len) {
    static const unsigned char mask[4] = { 0x9a, 0x11, 0x5c, 0xe7 };
    size_t at = 0;
    if (ws) {
        to[at++] = 0x82;
        to[at++] = (unsigned char)(0x80 | (len < 126 ? len : 126));
        if (len >= 126) {
            to[at++] = (unsigned char)(len >> 8);
            to[at++] = (unsigned char)len;
        }
        memcpy(to + at, mask, 4);
        at += 4;
    }
    for (size_t i = 0; i < len; i++)
        to[at + i] = (unsigned char)(ws ? i ^ mask[i & 3] : i);
    return at + len;
}

static void send_all(int fd, bool ws) {
    static unsigned char piece[PIECE + 16];
    size_t len = make_piece(piece, ws, PIECE);
    for (size_t at = 0; at < total; at += PIECE) {
        if (!write_exactly(fd, piece, len))
            exit(1);
    }
}

/* Bytes of payload in what was read; frames are walked over. */
struct walk { unsigned char head[10]; size_t head_len; uint64_t left; };

static size_t payload_of(struct walk *w, const unsigned char *data, size_t len) {
    size_t sum = 0;
    for (size_t at = 0; at < len;) {
        if (w->left) {
            size_t n = len - at < w->left ? len - at : (size_t)w->left;
            w->left -= n;
            sum += n;
            at += n;
            continue;
        }
        w->head[w->head_len++] = data[at++];
        size_t more = w->head_len < 2 ? 0 : w->head[1] == 126 ? 2 : w->head[1] == 127 ? 8 : 0;
        if (w->head_len < 2 || w->head_len < 2 + more)
            continue;
        w->left = more ? 0 : w->head[1];
        for (size_t i = 0; i < more; i++)
            w->left = w->left << 8 | w->head[2 + i];
        w->head_len = 0;
    }
    return sum;
}

static double throughput(int way, int nth) { /* MB/s */
    static unsigned char got[256 << 10];
    struct pair p = open_pair(way, nth);
    struct walk w = { .head_len = 0 };
    double began = now_s();
    pid_t pid = fork();
    if (pid == 0) {
        send_all(p.a, p.ws);
        _exit(0);
    }
    for (size_t sum = 0; sum < total;) {
        ssize_t n = recv(p.b, got, sizeof got, 0);
        if (n <= 0)
            die("the way has ended");
        sum += p.ws ? payload_of(&w, got, (size_t)n) : (size_t)n;
    }
    double took = now_s() - began;
    waitpid(pid, NULL, 0);
    close_pair(&p);
    return (double)total / took / 1e6;
}

static void echo(const struct pair *p, size_t in, const unsigned char *reply, size_t reply_len) {
    unsigned char data[128];
    while (read_exactly(p->b, data, in) && write_exactly(p->b, reply, reply_len))
        ;
    _exit(0);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, compare);
    return n & 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double round_trip(int way, int nth) { /* microseconds: the middle one of all */
    static double trips[ROUNDS];
    unsigned char piece[128], data[128];
    struct pair p = open_pair(way, nth);
    size_t len = make_piece(piece, p.ws, SMALL), in = SMALL + (p.ws ? 2 : 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(p.a);
        echo(&p, in, piece, len);
    }
    for (int i = -ROUNDS / 10; i < ROUNDS; i++) {
        double began = now_s();
        if (!write_exactly(p.a, piece, len) || !read_exactly(p.a, data, in))
            die("the way has ended");
        trips[i < 0 ? 0 : i] = (now_s() - began) * 1e6;
    }
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    close_pair(&p);
    return median(trips, ROUNDS);
}

static void measure(const char *what, const char *unit, double (*run)(int, int), int runs, int *nth, double out[WAYS]) {
    static double values[WAYS][MAX_RUNS];
    for (int i = 0; i < runs; i++) {
        for (int way = 0; way < WAYS; way++)
            values[way][i] = run(way, (*nth)++);
    }
    for (int way = 0; way < WAYS; way++) {
        out[way] = median(values[way], runs);
        printf("| %-10s | %-38s | %9.1f %-4s |\n", what, names[way], out[way], unit);
    }
}

static long resident_kb(void) {
    char line[128];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", &kb);
    if (f)
        fclose(f);
    return kb;
}

/* What this process, the server, holds for each session that is joined and has been used. */
static void idle(int count, int *nth) {
    struct pair *pairs = calloc((size_t)count, sizeof *pairs);
    unsigned char piece[128], data[128];
    size_t len = make_piece(piece, true, SMALL);
    long before = resident_kb();
    for (int i = 0; i < count; i++) {
        pairs[i] = open_pair(JOINED, (*nth)++);
        if (!write_exactly(pairs[i].a, piece, len) || !read_exactly(pairs[i].b, data, SMALL + 2))
            die("the way has ended");
    }
    double each = (double)(resident_kb() - before) / (2 * count);
    printf("| %-10s | %-38s | %9.1f %-4s |\n", "memory", "an idle session (2 make a pair)", each, "KiB");
    printf("%.0f thousand idle sessions a GB of the service's memory\n", 1e9 / 1024 / each / 1e3);
    for (int i = 0; i < count; i++)
        close_pair(&pairs[i]);
    free(pairs);
}

static void start_server(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_server_options_t o = { .size = sizeof o, .listen = "127.0.0.1:0", .workers = 2 };
    if (osmo_server_open(&o, &server, &err) < 0)
        die(err.text);
    service.transport = osmo_server_transport(server);
    if (osmo_server_start(server, &service, &err) < 0)
        die(err.text);
}

int main(int argc, char **argv) {
    int runs = argc > 1 ? atoi(argv[1]) : 5, nth = 0;
    double rate[WAYS], trip[WAYS];
    if (argc > 2)
        total = (size_t)atoi(argv[2]) << 20;
    if (runs < 1 || runs > MAX_RUNS || total < PIECE) {
        fprintf(stderr, "usage: router [RUNS (1-%d)] [MiB]\n", MAX_RUNS);
        return 2;
    }
    struct rlimit files = { 0 };
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    start_server();
    printf("medians of %d runs, %zu MiB one way, %d round trips of %d bytes\n", runs, total >> 20, ROUNDS, SMALL);
    measure("throughput", "MB/s", throughput, runs, &nth, rate);
    measure("round trip", "us", round_trip, runs, &nth, trip);
    idle(IDLE_PAIRS, &nth);
    printf("throughput: %.0f %% of socat's, %.0f %% of its with 64 KiB (aim: 60 %%); round trip: %.2f times socat's (aim: 2)\n",
           100 * rate[JOINED] / rate[SOCAT_8K], 100 * rate[JOINED] / rate[SOCAT_64K], trip[JOINED] / trip[SOCAT_8K]);
    osmo_server_stop(server, 1000);
    osmo_server_free(server);
    return 0;
}
