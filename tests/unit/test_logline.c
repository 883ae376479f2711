/* The text form of log entries. */
#include "model/logline.h"
#include "check.h"

#define T0 1772357400000000LL /* 2026-03-01 09:30:00 UTC */

static void renders(void) {
    static const struct { int64_t retry; enum io_type type; const char *text, *want; } cases[] = {
        { 0, IO_STDOUT, "hello", "2026/03/01 09:30:00 [train] hello\n" },
        { 0, IO_STDERR, "oops", "2026/03/01 09:30:00 [train] oops\n" },
        { 2, IO_STDOUT, "hello", "2026/03/01 09:30:00 [train retry-2] hello\n" },
        { 0, IO_OSMO_CTRL, "up", "2026/03/01 09:30:00 [train][osmo] up\n" },
        { 1, IO_DOWNLOAD, "10%", "2026/03/01 09:30:00 [train retry-1][osmo] 10%\n" },
        { 0, IO_UPLOAD, "a\nb", "2026/03/01 09:30:00 [train][osmo] a\nb\n" },
        { 0, IO_OSMO_CTRL, "", "" },
        { 0, IO_UPLOAD, "", "" },
        { 0, IO_STDOUT, "", "2026/03/01 09:30:00 [train] \n" },
        { 0, IO_STDOUT, "with newline\n", "2026/03/01 09:30:00 [train] with newline\n" },
        { 3, IO_DUMP, "raw %s [x]", "raw %s [x]\n" },
        { 0, IO_DUMP, "raw\n", "raw\n" },
        { 0, IO_DUMP, "", "\n" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buf_t out = BUF_INIT(1000);
        CHECK_INT(logline_render(T0 + 999999, "train", cases[i].retry, cases[i].type, cases[i].text,
                                 strlen(cases[i].text), &out), 0);
        CHECK_STR(buf_cstr(&out), cases[i].want);
        buf_free(&out);
    }
}

static void refuses(void) {
    buf_t out = BUF_INIT(10);
    CHECK_INT(logline_render(T0, "train", 0, IO_METRICS, "x", 1, &out), OSMO_EINVAL);
    CHECK_INT(logline_render(T0, "train", 0, IO_INVALID, "x", 1, &out), OSMO_EINVAL);
    CHECK_INT(out.len, 0);
    CHECK_INT(logline_render(T0, "train", 0, IO_STDOUT, "longer than ten bytes", 21, &out), OSMO_ELIMIT);
    buf_free(&out);
}

static void names(void) {
    for (int t = IO_STDOUT; t <= IO_DUMP; t++)
        CHECK_INT(io_type_parse(io_type_name((enum io_type)t)), t);
    for (int t = IO_METRICS; t <= IO_LOG_DONE; t++)
        CHECK_INT(io_type_parse(io_type_name((enum io_type)t)), t);
    CHECK_INT(io_type_parse("stdout"), IO_INVALID);
    CHECK_INT(io_type_parse(NULL), IO_INVALID);
    CHECK_STR(io_type_name(IO_INVALID), "");
}

static const struct check_test tests[] = { { "renders", renders }, { "refuses", refuses }, { "names", names } };
TEST_MAIN("logline", tests)
