/* Thin shim over CUnit: assertions that print the values, a main per test program, a filter by test name
 * (argv[1]) and a time limit per program, so that a hang is a failure. Non-fatal by design: CUnit's fatal asserts leave
 * by longjmp and skip cleanup attributes; REQUIRE returns instead. */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H
#include <CUnit/CUnit.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct check_test { const char *name; void (*run)(void); };
int check_main(const char *suite, const struct check_test *tests, size_t n, int argc, char **argv);
bool check_int(int64_t got, int64_t want, const char *expr, const char *file, unsigned line);
bool check_str(const char *got, const char *want, const char *expr, const char *file, unsigned line);
bool check_contains(const char *got, const char *part, const char *expr, const char *file, unsigned line);

#define CHECK(e) CU_assertImplementation(!!(e), __LINE__, #e, __FILE__, "", CU_FALSE)
#define CHECK_INT(got, want) check_int((int64_t)(got), (int64_t)(want), #got, __FILE__, __LINE__)
#define CHECK_STR(got, want) check_str((got), (want), #got, __FILE__, __LINE__)
#define CHECK_CONTAINS(got, part) check_contains((got), (part), #got, __FILE__, __LINE__)
/* A TCP listener on a free loopback port; -1 when there is none. */
int check_listen(int *port);

/* An osmo_error_t's code and text in the message when rc is negative. */
#define CHECK_OK(rc, err)                                                                                              \
    do {                                                                                                               \
        int rc_ = (rc);                                                                                                \
        if (rc_ < 0)                                                                                                   \
            fprintf(stderr, "%s:%d: %s: %d: %s\n", __FILE__, __LINE__, #rc, rc_, (err)->text);                         \
        CHECK(rc_ >= 0);                                                                                               \
    } while (0)
#define REQUIRE(e)                                                                                                     \
    do {                                                                                                               \
        bool ok_ = !!(e);                                                                                              \
        CU_assertImplementation(ok_, __LINE__, #e, __FILE__, "", CU_FALSE);                                            \
        if (!ok_)                                                                                                      \
            return;                                                                                                    \
    } while (0)
/* static const struct check_test tests[] = { {"what it does", fn}, … }; TEST_MAIN("module", tests) */
#define TEST_MAIN(suite, tests)                                                                                        \
    int main(int argc, char **argv) { return check_main(suite, tests, sizeof(tests) / sizeof((tests)[0]), argc, argv); }
#endif
