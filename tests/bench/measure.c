/* Whole-process measurements for `make bench`.
 *   measure exec RUNS COMMAND…          wall time and peak memory of a command, median over RUNS
 *   measure start RUNS PORT COMMAND…    time from exec of a server to its first 200 on /health, and its
 *                                       resident memory one second later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define RUNS_MAX 100

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, compare);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static pid_t spawn(char **argv, int quiet) {
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        if (quiet) {
            dup2(null, 1);
            dup2(null, 2);
        }
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static int run_exec(int runs, char **argv) {
    double wall[RUNS_MAX], rss[RUNS_MAX];
    for (int i = -1; i < runs; i++) { /* the first is a warm-up */
        int64_t from = clock_mono_us();
        pid_t pid = spawn(argv, 1);
        int status;
        struct rusage use;
        wait4(pid, &status, 0, &use);
        if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            fprintf(stderr, "measure: %s failed\n", argv[0]);
            return 1;
        }
        if (i >= 0) {
            wall[i] = (double)(clock_mono_us() - from) / 1000;
            rss[i] = (double)use.ru_maxrss / 1024;
        }
    }
    printf("%.1f %.1f\n", median(wall, runs), median(rss, runs));
    return 0;
}

static int healthy(int port) {
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    static const char request[] = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    char answer[64] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int ok = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
             write(fd, request, sizeof request - 1) > 0 && read(fd, answer, sizeof answer - 1) > 0 &&
             strstr(answer, " 200 ") != NULL;
    if (fd >= 0)
        close(fd);
    return ok;
}

static double resident_mib(pid_t pid) {
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = atof(line + 6);
    }
    if (f)
        fclose(f);
    return kib / 1024;
}

static int run_start(int runs, int port, char **argv) {
    double wall[RUNS_MAX], rss[RUNS_MAX];
    for (int i = -1; i < runs; i++) {
        int64_t from = clock_mono_us();
        pid_t pid = spawn(argv, 1);
        while (!healthy(port)) {
            if (waitpid(pid, NULL, WNOHANG) == pid || clock_mono_us() - from > 30000000) {
                fprintf(stderr, "measure: %s does not serve on port %d\n", argv[0], port);
                return 1;
            }
            poll(NULL, 0, 1);
        }
        if (i >= 0)
            wall[i] = (double)(clock_mono_us() - from) / 1000;
        poll(NULL, 0, 1000);
        if (i >= 0)
            rss[i] = resident_mib(pid);
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
    }
    printf("%.1f %.1f\n", median(wall, runs), median(rss, runs));
    return 0;
}

int main(int argc, char **argv) {
    int runs = argc > 2 ? atoi(argv[2]) : 0;
    if (argc > 3 && strcmp(argv[1], "exec") == 0 && runs > 0 && runs <= RUNS_MAX)
        return run_exec(runs, argv + 3);
    if (argc > 4 && strcmp(argv[1], "start") == 0 && runs > 0 && runs <= RUNS_MAX)
        return run_start(runs, atoi(argv[3]), argv + 4);
    fprintf(stderr, "usage: measure exec RUNS COMMAND... | measure start RUNS PORT COMMAND...\n");
    return 2;
}
