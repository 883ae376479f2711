/* One submission for `make bench`, measured from the first byte of the request to the last of the answer.
 *   size submit PORT PID SHAPE TASKS    SHAPE: tasks (each a group), groups (of 1000) or chain (each needs the one before)
 *   size get PORT PID PATH              any GET
 * Prints milliseconds, the peak memory of the service (PID) in MiB, and the bytes received. Status 1 unless answered 200. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define GROUP_TASKS 1000

/* Inside a JSON string, so quotes are escaped. */
static void write_spec(buf_t *b, const char *shape, long tasks) {
    int groups = strcmp(shape, "groups") == 0, chain = strcmp(shape, "chain") == 0;
    buf_printf(b, "{\"file\":\"workflow:\\n  name: size\\n  %s:\\n", groups ? "groups" : "tasks");
    for (long i = 0; i < tasks; i++) {
        if (groups && i % GROUP_TASKS == 0)
            buf_printf(b, "  - name: g%ld\\n    tasks:\\n", i / GROUP_TASKS);
        buf_printf(b, "%s  - {name: t%ld, image: debian, command: [echo, \\\"%ld\\\"]", groups ? "  " : "", i, i);
        if (groups && i % GROUP_TASKS == 0)
            buf_puts(b, ", lead: true");
        if (chain && i)
            buf_printf(b, ", inputs: [{task: t%ld}]", i - 1);
        buf_puts(b, "}\\n");
    }
    buf_puts(b, "\"}");
}

static int write_all(int fd, const char *data, size_t len) {
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Returns the bytes of the answer, -1 when it is not a 200. */
static long ask(int port, const char *request, size_t len) {
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    static char piece[1 << 16];
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0 || write_all(fd, request, len) < 0)
        return -1;
    long total = 0;
    int fine = 0;
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0; total += n)
        if (total == 0) {
            fine = n > 12 && memcmp(piece + 9, "200", 3) == 0;
            if (!fine)
                fprintf(stderr, "size: answered %.*s\n", n > 500 ? 500 : (int)n, piece);
        }
    return fine ? total : -1;
}

static double peak_mib(const char *pid) {
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%.20s/status", pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib / 1024;
}

int main(int argc, char **argv) {
    _cleanup_buf_ buf_t body = BUF_INIT(1u << 30), request = BUF_INIT(1u << 30);
    static const char common[] = "Host: 127.0.0.1\r\nx-osmo-user: bench\r\nConnection: close\r\n";
    if (argc == 6 && !strcmp(argv[1], "submit")) {
        write_spec(&body, argv[4], atol(argv[5]));
        buf_printf(&request, "POST /api/pool/default/workflow HTTP/1.1\r\n%sContent-Type: application/json\r\n"
                             "Content-Length: %zu\r\n\r\n", common, body.len);
        buf_append(&request, body.data, body.len);
    } else if (argc == 5 && !strcmp(argv[1], "get")) {
        buf_printf(&request, "GET %s HTTP/1.1\r\n%s\r\n", argv[4], common);
    } else {
        fprintf(stderr, "usage: size submit PORT PID SHAPE TASKS | size get PORT PID PATH\n");
        return 2;
    }
    if (buf_failed(&body) || buf_failed(&request))
        return 1;
    int64_t from = clock_mono_us();
    long got = ask(atoi(argv[2]), request.data, request.len);
    if (got < 0)
        return 1;
    printf("%.0f %.0f %ld\n", (double)(clock_mono_us() - from) / 1000, peak_mib(argv[3]), got);
    return 0;
}
