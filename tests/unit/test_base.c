/* base: buffers, strings, maps, times, files, queues, regular expressions, errors. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/file.h"
#include "base/map.h"
#include "base/queue.h"
#include "base/re.h"
#include "base/str.h"
#include "check.h"

static void buf_keeps_its_maximum(void) {
    buf_t b = BUF_INIT(5);
    CHECK_INT(buf_puts(&b, "abc"), 0);
    CHECK_INT(buf_puts(&b, "def"), OSMO_ELIMIT);
    CHECK_INT(buf_putc(&b, 'x'), OSMO_ELIMIT); /* sticky */
    CHECK_STR(buf_cstr(&b), "abc");
    CHECK(buf_steal(&b, NULL) == NULL);
    buf_reset(&b);
    CHECK_INT(buf_printf(&b, "%d-%s", 12, "ab"), 0);
    CHECK_STR(buf_cstr(&b), "12-ab");
    buf_consume(&b, 3);
    CHECK_STR(buf_cstr(&b), "ab");
    size_t n = 0;
    char *text = buf_steal(&b, &n);
    CHECK_STR(text, "ab");
    CHECK_INT(n, 2);
    free(text);
    buf_free(&b);
}

static void this_machine(void) {
    static const struct { const char *host; bool here; } cases[] = {
        { "localhost", true }, { "LocalHost", true }, { "localhost.", true }, { "127.0.0.1", true }, { "127.255.3.4", true },
        { "::1", true }, { "[::1]", true }, { "::ffff:127.0.0.1", true },
        { "", false }, { "127.evil.example", false }, { "127.0.0.1.evil.example", false }, { "127.0.0.1.", false }, { "127.1", false },
        { "127.0.0.256", false }, { "127.0.0.1x", false }, { "128.0.0.1", false }, { "27.0.0.1", false },
        { "localhost.evil.example", false },
        { "localhosts", false }, { "::2", false }, { "[::1", false }, { "[127.0.0.1]", false }, { "::ffff:10.0.0.1", false },
        { "::ffff:localhost", false }, { "0.0.0.0", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(host_is_loopback(cases[i].host, strlen(cases[i].host)), cases[i].here);
        if (host_is_loopback(cases[i].host, strlen(cases[i].host)) != cases[i].here)
            fprintf(stderr, "%s\n", cases[i].host);
    }
    CHECK(host_is_loopback("127.0.0.1:8000", 9) && !host_is_loopback("127.0.0.1:8000", 14));
}

static void strings(void) {
    strlist_t l = { 0 };
    CHECK_INT(strlist_split(&l, "a,,b", ','), 0);
    CHECK_INT(l.len, 3);
    CHECK_STR(l.items[1], "");
    CHECK(strlist_has(&l, "b"));
    strlist_free(&l);
    int64_t v;
    CHECK(str_to_i64("-12", &v) && v == -12);
    CHECK(!str_to_i64("12x", &v) && !str_to_i64("", &v) && !str_to_i64(" 1", &v) &&
          !str_to_i64("99999999999999999999", &v));
    CHECK(utf8_valid("a\xC3\xA9", 3) && !utf8_valid("\xC0\x80", 2) && !utf8_valid("\xED\xA0\x80", 3) &&
          !utf8_valid("\xC3", 1));
    static const char *const plain[] = { "a", "maya@example.org", "J\xC3\xBCrgen Klaus", "\xE5\xB1\xB1\xE7\x94\xB0", "\xF0\x9F\x98\x80" };
    static const char *const odd[] = { "", " a", "a ", "a\n", "a\x1B[2J", "a\x7F", "\xC2\x85", "a\xC2\xA0", "a\xE2\x80\x8B",
                                       "\xE2\x80\xAE" "a", "a\xEF\xBB\xBF", "a\xE3\x80\x80", "\xC3", "a\xF3\xA0\x81\x81", "a\xC2\xAD" };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        CHECK(str_is_plain(plain[i]));
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        CHECK(!str_is_plain(odd[i]));
    size_t n;
    char *fixed = utf8_repair("a\xFFz", 3, &n);
    CHECK_STR(fixed, "a\xEF\xBF\xBDz");
    CHECK_INT(n, 5);
    free(fixed);
}

static void map_holds_many_and_keeps_order(void) {
    map_t *m = map_new(free);
    char key[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        CHECK_INT(map_set(m, key, strdup(key)), 0);
    }
    for (int i = 0; i < 5000; i += 2) {
        snprintf(key, sizeof key, "k%d", i);
        CHECK(map_remove(m, key));
    }
    CHECK_INT(map_len(m), 2500);
    CHECK(!map_has(m, "k0"));
    CHECK_STR(map_get(m, "k4999"), "k4999");
    size_t it = 0;
    const char *k;
    void *v;
    int expect = 1;
    bool ordered = true;
    while (map_next(m, &it, &k, &v)) {
        snprintf(key, sizeof key, "k%d", expect);
        ordered = ordered && strcmp(k, key) == 0 && strcmp(v, key) == 0;
        expect += 2;
    }
    CHECK(ordered);
    map_free(m);
}

static void times(void) {
    char t[TIME_TEXT_MAX];
    CHECK_STR(time_iso(1772357400123456, t), "2026-03-01T09:30:00.123456");
    CHECK_STR(time_iso(1772357400000000, t), "2026-03-01T09:30:00");
    CHECK_STR(time_log(1772357400123456, t), "2026/03/01 09:30:00");
    CHECK_STR(time_rfc3339(-1, t), "1969-12-31T23:59:59.999999Z");
    static const struct {
        const char *text;
        int64_t us;
    } ok[] = {
        { "2026-03-01T09:30:00.123456", 1772357400123456 },
        { "2026-03-01 09:30:00", 1772357400000000 },
        { "2026-03-01T09:30:00.123456789Z", 1772357400123456 },
        { "2026-03-01T10:30:00+01:00", 1772357400000000 },
        { "2026-03-01", 1772323200000000 },
        { "1772357400.5", 1772357400500000 },
        { "2024-02-29T00:00:00Z", 1709164800000000 },
    };
    for (size_t i = 0; i < sizeof ok / sizeof ok[0]; i++) {
        int64_t us = 0;
        CHECK(time_parse(ok[i].text, &us));
        CHECK_INT(us, ok[i].us);
    }
    int64_t us;
    CHECK(!time_parse("yesterday", &us) && !time_parse("2026-13-01", &us) && !time_parse("2026-03-01T25:00:00", &us) &&
          !time_parse("", &us));
}

static void files(void) {
    char dir[] = "/tmp/osmo-test-base-XXXXXX";
    REQUIRE(mkdtemp(dir) != NULL);
    osmo_error_t err = OSMO_ERROR_INIT;
    char path[200], deep[200];
    snprintf(deep, sizeof deep, "%s/a/b/c", dir);
    snprintf(path, sizeof path, "%s/a/b/c/f", dir);
    CHECK_OK(dir_make(deep, 0755, &err), &err);
    CHECK_OK(dir_make(deep, 0755, &err), &err);
    CHECK_OK(file_write_atomic(path, "hello", 5, 0640, true, &err), &err);
    struct stat st;
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
    CHECK_INT(file_write_new(path, "other", 5, 0600, &err), OSMO_EEXISTS);
    buf_t b = BUF_INIT(5);
    CHECK_OK(file_read(path, &b, &err), &err);
    CHECK_STR(buf_cstr(&b), "hello");
    buf_free(&b);
    b.max = 4;
    CHECK_INT(file_read(path, &b, &err), OSMO_ELIMIT);
    buf_free(&b);
    CHECK_INT(file_read("/nonexistent/file", &b, &err), OSMO_ENOTFOUND);
    CHECK_CONTAINS(err.text, "/nonexistent/file");
    char copy[220];
    snprintf(copy, sizeof copy, "%s.copy", path);
    CHECK_OK(file_copy(path, copy, 0755, &err), &err);
    CHECK(symlink("/", copy + 0) != 0); /* exists */
    snprintf(copy, sizeof copy, "%s/link", deep);
    CHECK(symlink("/", copy) == 0);
    CHECK(chmod(deep, 0555) == 0);
    CHECK_OK(dir_remove_tree(dir, &err), &err);
    CHECK(!file_exists(dir) && file_exists("/"));
    CHECK_OK(dir_remove_tree(dir, &err), &err);
}

static void *producer(void *q) {
    for (intptr_t i = 1; i <= 1000; i++) {
        while (queue_push(q, (void *)i) == OSMO_EBUSY)
            usleep(10);
    }
    return NULL;
}

static void queue_passes_everything_in_order(void) {
    queue_t *q = queue_new(32);
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, producer, q) == 0);
    bool ordered = true;
    intptr_t next = 1;
    while (next <= 1000) {
        void *items[7];
        size_t n = queue_pop_many(q, items, 7, -1);
        for (size_t i = 0; i < n; i++)
            ordered = ordered && (intptr_t)items[i] == next++;
    }
    pthread_join(t, NULL);
    CHECK(ordered);
    CHECK(queue_pop(q, 0) == NULL);
    CHECK(queue_pop(q, 5) == NULL);
    queue_close(q);
    CHECK_INT(queue_push(q, q), OSMO_EUNAVAIL);
    CHECK(queue_pop(q, -1) == NULL);
    queue_free(q);
}

static void *closer(void *q) {
    queue_close(q);
    return NULL;
}

static void queue_keeps_its_bound_and_drains_after_close(void) {
    int a, b;
    void *items[4];
    pthread_t t;
    queue_t *q = queue_new(2);
    REQUIRE(q);
    CHECK_INT(queue_push(q, &a), 0);
    CHECK_INT(queue_push(q, &b), 0);
    CHECK_INT(queue_push(q, &a), OSMO_EBUSY);
    CHECK_INT(queue_len(q), 2);
    queue_close(q);
    queue_close(q);
    CHECK_INT(queue_push(q, &a), OSMO_EUNAVAIL);
    CHECK(queue_pop(q, -1) == &a); /* what was there still comes */
    CHECK_INT(queue_pop_many(q, items, 4, -1), 1);
    CHECK(items[0] == &b);
    CHECK_INT(queue_pop_many(q, items, 4, -1), 0);
    queue_free(q);
    /* a close wakes the one that waits for ever */
    q = queue_new(1);
    REQUIRE(q && pthread_create(&t, NULL, closer, q) == 0);
    CHECK(queue_pop(q, -1) == NULL);
    pthread_join(t, NULL);
    CHECK_INT(queue_pop_many(q, items, 4, 0), 0);
    queue_free(q);
}

static void regular_expressions(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    re_t *re = NULL;
    REQUIRE(re_compile("a.*\\.csv", &re, &err) == 0);
    CHECK(re_find(re, "xa.csv", 6) && !re_match_start(re, "xa.csv", 6) && re_match_start(re, "a.csvx", 6) &&
          !re_fullmatch(re, "a.csvx", 6));
    re_free(re);
    CHECK_INT(re_compile("a(", &re, &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, "a(");
    REQUIRE(re_compile("(a+)+$", &re, &err) == 0);
    char evil[64];
    memset(evil, 'a', sizeof evil);
    evil[63] = 'b';
    CHECK(!re_find(re, evil, sizeof evil)); /* ends by the step limit, does not hang */
    re_free(re);
}

static void errors(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(osmo_error_set(&err, OSMO_ENOTFOUND, "no %s", "pool"), OSMO_ENOTFOUND);
    CHECK_INT(osmo_error_prefix(&err, "submit"), OSMO_ENOTFOUND);
    CHECK_STR(err.text, "submit: no pool");
    CHECK_INT(osmo_error_set(NULL, OSMO_EIO, "x"), OSMO_EIO);
    CHECK_INT(osmo_error_http_status(OSMO_EUSAGE), 400);
    CHECK_STR(osmo_error_wire_name(OSMO_EUSAGE), "USAGE");
    CHECK_INT(osmo_error_http_status(-999), 500);
    char longer[3000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    osmo_error_set(&err, OSMO_EIO, "%s", longer);
    CHECK_INT(strlen(err.text), OSMO_ERROR_TEXT_MAX - 1);
}

struct bell { pthread_mutex_t lock; pthread_cond_t rings; bool rung; };

static void *ring(void *ctx) {
    struct bell *b = ctx;
    pthread_mutex_lock(&b->lock);
    b->rung = true;
    pthread_cond_signal(&b->rings);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static void waits_end_when_signalled_or_in_time(void) {
    struct bell b = { .lock = PTHREAD_MUTEX_INITIALIZER };
    pthread_t thread;
    int64_t until = clock_mono_us() + 20000;
    CHECK_INT(cond_init(&b.rings), 0);
    pthread_mutex_lock(&b.lock);
    CHECK(!cond_wait_until(&b.rings, &b.lock, 0));
    CHECK(!cond_wait_until(&b.rings, &b.lock, -5));
    while (cond_wait_until(&b.rings, &b.lock, until)) /* without a reason */
        ;
    CHECK(clock_mono_us() >= until);
    REQUIRE(pthread_create(&thread, NULL, ring, &b) == 0);
    while (!b.rung)
        CHECK(cond_wait_until(&b.rings, &b.lock, COND_FOR_EVER));
    pthread_mutex_unlock(&b.lock);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&b.rings);
}

static const struct check_test tests[] = {
    { "buffers are born with a maximum", buf_keeps_its_maximum }, { "string helpers", strings },
    { "this machine", this_machine },
    { "map keeps insertion order over growth and removal", map_holds_many_and_keeps_order }, { "time texts", times },
    { "files and trees", files }, { "waits end when signalled, or in time", waits_end_when_signalled_or_in_time },
    { "queue passes everything in order", queue_passes_everything_in_order },
    { "queue bound and close", queue_keeps_its_bound_and_drains_after_close },
    { "regular expressions", regular_expressions }, { "errors", errors },
};
TEST_MAIN("base", tests)
