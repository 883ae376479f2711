/* The shim behind check.h. Used by every unit test program. */
#include "check.h"
#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static bool report(bool ok, const char *text, const char *file, unsigned line) {
    CU_assertImplementation(ok, line, text, file, "", CU_FALSE);
    return ok;
}

bool check_int(int64_t got, int64_t want, const char *expr, const char *file, unsigned line) {
    char text[512];
    snprintf(text, sizeof text, "%s = %" PRId64 ", expected %" PRId64, expr, got, want);
    return report(got == want, text, file, line);
}

bool check_str(const char *got, const char *want, const char *expr, const char *file, unsigned line) {
    bool same = got == want || (got && want && strcmp(got, want) == 0);
    if (!same)
        fprintf(stderr, "%s:%u: %s\n  got:      %s\n  expected: %s\n", file, line, expr, got ? got : "(null)",
                want ? want : "(null)");
    return report(same, expr, file, line);
}

bool check_contains(const char *got, const char *part, const char *expr, const char *file, unsigned line) {
    bool found = got && strstr(got, part);
    if (!found)
        fprintf(stderr, "%s:%u: %s\n  got:      %s\n  expected to contain: %s\n", file, line, expr,
                got ? got : "(null)", part);
    return report(found, expr, file, line);
}

int check_listen(int *port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 8) ||
                    getsockname(fd, (struct sockaddr *)&a, &len))) {
        close(fd);
        fd = -1;
    }
    *port = fd < 0 ? 0 : ntohs(a.sin_port);
    return fd;
}

int check_main(const char *suite_name, const struct check_test *tests, size_t n, int argc, char **argv) {
    const char *only = argc > 1 ? argv[1] : NULL;
    const char *limit = getenv("CHECK_SECONDS"); /* an instrumented run takes its time */
    alarm(limit ? (unsigned)atoi(limit) : 300);
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 99;
    CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
    size_t added = 0;
    for (size_t i = 0; suite && i < n; i++) {
        if (!only || strstr(tests[i].name, only))
            added += CU_add_test(suite, tests[i].name, tests[i].run) != NULL;
    }
    if (!added) {
        fprintf(stderr, "%s: no test matches %s\n", suite_name, only ? only : "");
        return 99;
    }
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    unsigned ran = CU_get_number_of_tests_run();
    CU_cleanup_registry();
    return failures || !ran ? 1 : 0;
}
