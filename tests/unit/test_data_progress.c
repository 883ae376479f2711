/* data/progress: sizes, when a log gets a line, and what is in it. */
#include <string.h>

#include "check.h"
#include "data/progress.h"

#define S 1000000LL
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static void test_sizes(void) {
    static const struct { uint64_t bytes; const char *text; } cases[] = {
        { 0, "0 B" }, { 1023, "1023 B" }, { 1024, "1.00 KiB" }, { 1536, "1.50 KiB" }, { 10 * 1024, "10.0 KiB" },
        { 100 * MIB, "100 MiB" }, { GIB - 1, "1.00 GiB" }, { 3 * GIB / 2, "1.50 GiB" }, { UINT64_MAX, "16.0 EiB" },
    };
    char text[DATA_SIZE_TEXT_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_STR(data_size_text(cases[i].bytes, text), cases[i].text);
}

static void test_due(void) {
    struct data_meter m;
    struct data_progress p = { .bytes_total = 100 * MIB };
    data_meter_start(&m, 0);
    p.bytes_done = 50 * MIB;
    CHECK(!data_meter_due(&m, &p, S / 5)); /* too soon */
    CHECK(data_meter_due(&m, &p, S));
    p.bytes_done = 59 * MIB;
    CHECK(!data_meter_due(&m, &p, 3 * S)); /* less than a tenth */
    p.bytes_done = 60 * MIB;
    CHECK(data_meter_due(&m, &p, 4 * S));
    CHECK(!data_meter_due(&m, &p, 303 * S));
    CHECK(data_meter_due(&m, &p, 304 * S)); /* five minutes of silence */
    data_meter_start(&m, 0);
    p = (struct data_progress){ .bytes_total = 1000 * GIB, .bytes_done = 10 * GIB };
    CHECK(data_meter_due(&m, &p, S));
    p.bytes_done += 10 * GIB - 1;
    CHECK(!data_meter_due(&m, &p, 2 * S));
    p = (struct data_progress){ .bytes_total = 10, .bytes_done = 10, .listing = true };
    data_meter_start(&m, 0);
    CHECK(!data_meter_due(&m, &p, 2 * S)); /* a tenth of what is not known yet */
    p = (struct data_progress){ 0 };
    CHECK(!data_meter_due(&m, &p, 2 * S));
}

static void test_lines(void) {
    char text[DATA_METER_TEXT_MAX], name[3000];
    struct data_meter m;
    struct data_progress p = { .files_done = 3, .files_total = 8, .bytes_done = 100 * MIB, .bytes_total = 200 * MIB, .current = "a/b\nc" };
    data_meter_start(&m, 5 * S);
    CHECK_STR(data_meter_log(&m, &p, 15 * S, text), " 50%| 100 MiB/200 MiB [00:10<00:10, 10.0 MiB/s, file_name=a/b?c]");
    CHECK_STR(data_meter_screen(&m, &p, 15 * S, 200, text), " 50%  100 MiB of 200 MiB, 3 of 8 files, 10.0 MiB/s, 00:10 left  a/b?c");
    data_meter_screen(&m, &p, 15 * S, 30, text);
    CHECK_INT(strlen(text), 30);
    p.listing = true;
    CHECK_STR(data_meter_log(&m, &p, 15 * S, text), "100 MiB/200 MiB+ [00:10<?, 10.0 MiB/s, file_name=a/b?c]");
    p = (struct data_progress){ 0 };
    CHECK_STR(data_meter_log(&m, &p, 5 * S, text), "100%| 0 B/0 B [00:00<?, 0 B/s]");
    p = (struct data_progress){ .bytes_done = 1, .bytes_total = UINT64_MAX };
    CHECK_STR(data_meter_log(&m, &p, 3605 * S, text), "  0%| 1 B/16.0 EiB [1:00:00<?, 0 B/s]");
    p.bytes_done = 3600 * 10;
    CHECK(strstr(data_meter_log(&m, &p, 3605 * S, text), "<99:59:59"));
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    p.current = name;
    CHECK(strlen(data_meter_log(&m, &p, 6 * S, text)) < DATA_METER_TEXT_MAX);
    CHECK(text[strlen(text) - 1] == ']');
    /* no half character at a cut */
    p = (struct data_progress){ .current = "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4" };
    for (size_t columns = 60; columns < 75; columns++) {
        size_t n = strlen(data_meter_screen(&m, &p, 6 * S, columns, text));
        CHECK(n <= columns && (unsigned char)text[n - 1] != 0xc3);
    }
}

static const struct check_test tests[] = { { "sizes", test_sizes }, { "when a line is due", test_due }, { "lines", test_lines } };
TEST_MAIN("data_progress", tests)
