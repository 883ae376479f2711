/* A log that is written through one service and followed through another, on one database: every line wakes the follower by a word from the
 * other, not by looking again; numbers go on when the follower comes back at the other service. */
#include <unistd.h>

#include "engine/logs_internal.h"
#include "engine/replicas.h"
#include "replicas_fixture.h"

#define LINES 300

static osmo_stream_t *follow(engine_t *at, uint64_t request, uint64_t from_line) {
    struct line_options o = { .log = { .retry_id = -1, .from_line = from_line }, .format = LINES_SSE };
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_stream_t *s = NULL;
    CHECK_OK(lines_stream(at, wf_id, false, &o, request, &s, &err), &err);
    return s;
}

static buf_t got;
static osmo_stream_t *follower;
static ssize_t last;

static bool has(const char *what) {
    char piece[4096];
    while (follower && (last = follower->read(follower, piece, sizeof piece)) > 0)
        buf_append(&got, piece, (size_t)last);
    return strstr(buf_cstr(&got), what) != NULL;
}

static char wanted[32];
static bool has_line(void) { return has(wanted); }
static bool has_end(void) { return has("event: end\n"); }

static void put(engine_t *at, int n) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char text[32];
    snprintf(text, sizeof text, "number %d", n);
    struct log_entry entry = { 1772357400000000LL, IO_STDOUT, text, strlen(text), (uint64_t)n };
    CHECK_OK(logstore_append(at->logs, wf_id, "t", 0, &entry, 1, &err), &err);
}

/* until() looks when something was told, and not before: without the word it would take its whole patience. */
static void lines_are_pushed(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    REQUIRE(submit(single_task));
    buf_init(&got, 1u << 20);
    follower = follow(second, 7001, 0);
    REQUIRE(follower != NULL);
    CHECK(!has("id:") && last == 0);
    for (int n = 1; n <= LINES; n++) {
        put(n % 3 ? e : second, n);
        snprintf(wanted, sizeof wanted, "id: %d\n", n);
        if (n % 10 == 0)
            CHECK(until(has_line));
    }
    CHECK(until(has_line));
    for (int n = 1, wrong = 0; n <= LINES; n++) {
        char line[64];
        snprintf(line, sizeof line, "id: %d\ndata: 2026/03/01 09:30:00 [t] number %d\n\n", n, n);
        wrong += strstr(got.data, line) == NULL;
        CHECK_INT(wrong, 0);
    }
    follower->close(follower);
    buf_reset(&got);
    follower = follow(e, 7002, LINES);
    REQUIRE(follower != NULL);
    CHECK(has("id: 300\n"));
    CHECK_OK(logstore_end(second->logs, wf_id, &err), &err);
    CHECK(until(has_end));
    CHECK_INT(last, OSMO_EGONE);
    follower->close(follower);
    follower = NULL;
    buf_free(&got);
    stop_pair();
}

static const struct check_test tests[] = { { "lines are pushed", lines_are_pushed } };

int main(int argc, char **argv) {
    use_pgsql = true;
    replicas_times(LEASE_US, RENEW_US);
    return check_main("logs_replicas", tests, ARRAY_SIZE(tests), argc, argv);
}
