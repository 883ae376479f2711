/* base/json_reader.c: tables of what it reads and refuses; whole documents against the trees of base/json.c; every cut
 * and every flipped byte. */
#include "base/json_reader.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "check.h"
#include "reader_walk.h"

static json_reader_t over(const char *text) {
    json_reader_t r;
    json_reader_init(&r, text, strlen(text));
    return r;
}

/* ---- tables ---- */

static void kinds(void) {
    static const struct { const char *text; enum json_kind kind; } cases[] = {
        {"", JSON_NULL}, {"  ", JSON_NULL}, {"null", JSON_NULL}, {"]", JSON_NULL}, {"x", JSON_NULL}, {" {}",
            JSON_OBJECT},
        {"\t[", JSON_ARRAY}, {"\"", JSON_STRING}, {"true", JSON_BOOL}, {"false", JSON_BOOL}, {"0", JSON_INT}, {"-12",
            JSON_INT},
        {"1.5", JSON_DOUBLE}, {"1e3", JSON_DOUBLE}, {"-", JSON_NULL}, {"01", JSON_NULL}, {"1.", JSON_NULL}, {"1e",
            JSON_NULL},
        {"-0.1E-2", JSON_DOUBLE}, {"+1", JSON_NULL}, {".5", JSON_NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_reader_t r = over(cases[i].text);
        CHECK_INT(json_reader_kind(&r), cases[i].kind);
        CHECK(!json_reader_failed(&r));
    }
}

static void numbers(void) {
    static const struct { const char *text; bool ok; int64_t v; } cases[] = {
        {"0", true, 0}, {"-0", true, 0}, {"7", true, 7}, {" -42 ", true, -42}, {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN}, {"9223372036854775808", false, 0}, {"-9223372036854775809", false,
            0},
        {"123456789012345678901234567890", false, 0}, {"1.0", false, 0}, {"1e2", false, 0}, {"\"1\"", false, 0},
            {"true", false, 0},
        {"null", false, 0}, {"[1]", false, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_reader_t r = over(cases[i].text);
        int64_t v = 0;
        CHECK_INT(json_reader_int(&r, &v), cases[i].ok);
        CHECK_INT(v, cases[i].v);
        CHECK(json_reader_at_end(&r));
    }
}

/* JSON text of a string → what is copied out, with room for `cap`. */
static void strings(void) {
    static const struct { const char *text, *want; size_t cap; } cases[] = {
        {"\"\"", "", 8},
        {"\"abc\"", "abc", 8},
        {"\"abc\"", "abc", 4},
        {"\"abc\"", "ab", 3},
        {"\"abc\"", "", 1},
        {"\"a\\\"b\\\\c\\/d\\b\\f\\n\\r\\t\"", "a\"b\\c/d\b\f\n\r\t", 64},
        {"\"\\u0041\\u00e4\\u20AC\"", "A\u00e4\u20ac", 64},
        {"\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!", 64},
        {"\"\\ud83d\\ude00!\"", "", 4},
        {"\"\\ud83d!\"", "\xef\xbf\xbd!", 64},
        {"\"\\ude00!\"", "\xef\xbf\xbd!", 64},
        {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd" "A", 64},
        {"\"a\\u0000b\"", "a\xef\xbf\xbd" "b", 64},
        {"\"\xc3\xa4\"", "\xc3\xa4", 64},
        {"\"x\xc3\xa4\"", "x", 3},
        {"\"\xff" "a\"", "\xef\xbf\xbd" "a", 64},
        {"\"\xc0\xaf\"", "\xef\xbf\xbd\xef\xbf\xbd", 64},
        {"\"\xe2\x82\"", "\xef\xbf\xbd\xef\xbf\xbd", 64},
        {"\"0123456789abcdef0123456789abcdef\\n\"", "0123456789abcdef0123456789abcdef\n", 64},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_reader_t r = over(cases[i].text);
        json_slice_t s;
        char out[64];
        REQUIRE(json_reader_string(&r, &s));
        CHECK_INT(json_slice_copy(&s, out, cases[i].cap), strlen(cases[i].want));
        CHECK_STR(out, cases[i].want);
        CHECK(json_reader_at_end(&r));
        out[0] = 'x';
        CHECK_INT(json_slice_copy(&s, out, 0), 0);
        CHECK(out[0] == 'x');
    }
}

#define PAD32 "                                "
static const char *const bad_texts[] = {
    "", " ", "tru", "truex", "nul", "fals", "nan", "'a'", "\"", "\"a", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"",
    "\"\n\"", "\"\x01\"",
    "{", "}", "[", "]", "{]", "[}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{\"a\" 1}",
    "{,}", "{\"a\":1 \"b\":2}",
    "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1}", "{\"a\":[1}", "01", "-", "1.", "1e", "1e+", "+1", "1 2", "{} {}",
    "[]]", "\"a\" b", "/**/1",
    "[\"" PAD32 PAD32 "\x02\"]", "{\"a\":[" PAD32 PAD32 "}]", "[" PAD32 PAD32, "[\\]", "[\"\\\"]",
};

static void refusals(void) {
    for (size_t i = 0; i < ARRAY_SIZE(bad_texts); i++) {
        json_t *tree = NULL;
        bool walks = reader_walk(bad_texts[i], strlen(bad_texts[i]), &tree);
        if (walks)
            fprintf(stderr, "taken: %s\n", bad_texts[i]);
        CHECK(!walks);
        json_free(tree);
    }
}

/* What is passed over is looked at less, but strings and brackets are always told apart and must fit. */
static void passing(void) {
    static const struct { const char *text; bool ok; } cases[] = {
        {"{}", true}, {"[]", true}, {"[[],{},[{}]]", true}, {"{\"}\":\"]\"}", true}, {"[\"\\\"]\"]", true},
            {"[\"\\\\\"]", true},
        {"{]", false}, {"[[]", false}, {"[\"]", false}, {"[\"\\\"]", false}, {"[\"a\nb\"]", false}, {"[\\]", false},
            {"[[}]", false},
        {"[\"" PAD32 PAD32 "]\\\\\"]", true}, {"[\"" PAD32 "                             \\\"]\"]", true},
        {"[\"" PAD32 "                            \\\\\"]", true}, {"[\"" PAD32 "                             \\\\\"]",
            true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool ok = reader_pass(cases[i].text, strlen(cases[i].text));
        if (ok != cases[i].ok)
            fprintf(stderr, "case %s\n", cases[i].text);
        CHECK_INT(ok, cases[i].ok);
    }
}

static void fill(char *text, char c, size_t n) {
    memset(text, c, n);
    text[n] = '\0';
}

static void depth(void) {
    char text[512];
    json_t *tree;
    fill(text, '[', JSON_MAX_DEPTH);
    fill(text + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    CHECK(reader_pass(text, strlen(text)));
    CHECK(reader_walk(text, strlen(text), &tree));
    json_free(tree);
    fill(text, '[', JSON_MAX_DEPTH + 1);
    fill(text + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH + 1);
    CHECK(!reader_pass(text, strlen(text)));
    CHECK(!reader_walk(text, strlen(text), &tree));
    /* what is open already counts */
    json_reader_t r = over(text);
    for (int i = 0; i < 10; i++)
        CHECK(json_reader_array(&r) && json_reader_element(&r));
    json_reader_skip(&r, NULL);
    CHECK(json_reader_failed(&r));
}

/* ---- the walk ---- */

static void walking(void) {
    static const char text[] = " { \"name\" : \"a\\nb\", \"skip\":{\"x\":[1,{\"y\":\"}\"}]} ,\"n\":[1, -2,\"3\",4.5,"
        "null],\"t\":true,\"s\":7} ";
    json_reader_t r = over(text);
    json_slice_t key, s, whole;
    int64_t sum = 0, v, members = 0;
    bool t = false;
    char name[16] = "";
    REQUIRE(json_reader_object(&r));
    while (json_reader_key(&r, &key)) {
        members++;
        if (json_slice_is(&key, "name") && json_reader_string(&r, &s)) {
            CHECK(s.escaped);
            json_slice_copy(&s, name, sizeof name);
        } else if (json_slice_is(&key, "n") && json_reader_array(&r)) {
            while (json_reader_element(&r))
                sum += json_reader_int(&r, &v) ? v : 100;
        } else if (json_slice_is(&key, "t")) {
            CHECK(json_reader_bool(&r, &t));
        } else if (json_slice_is(&key, "s")) {
            CHECK(!json_reader_string(&r, &s));
        } else {
            json_reader_skip(&r, &whole);
            CHECK_INT(whole.len, strlen("{\"x\":[1,{\"y\":\"}\"}]}"));
            CHECK(memcmp(whole.text, "{\"x\":", 5) == 0);
        }
    }
    CHECK(json_reader_at_end(&r));
    CHECK_STR(name, "a\nb");
    CHECK_INT(sum, 299);
    CHECK_INT(members, 5);
    CHECK(t);
}

static void other_kinds_are_skipped(void) {
    json_reader_t r = over("[\"s\",1,{\"a\":1},[2],true]");
    json_slice_t s;
    bool b;
    int64_t v;
    REQUIRE(json_reader_array(&r));
    CHECK(json_reader_element(&r) && !json_reader_object(&r));
    CHECK(json_reader_element(&r) && !json_reader_array(&r));
    CHECK(json_reader_element(&r) && !json_reader_string(&r, &s));
    CHECK(json_reader_element(&r) && !json_reader_bool(&r, &b));
    CHECK(json_reader_element(&r) && !json_reader_int(&r, &v));
    CHECK(!json_reader_element(&r));
    CHECK(json_reader_at_end(&r));
}

static void a_fault_ends_the_walk(void) {
    json_reader_t r = over("{\"a\":1,,\"b\":2}");
    json_slice_t s;
    int64_t v;
    bool b;
    REQUIRE(json_reader_object(&r));
    CHECK(json_reader_key(&r, &s) && json_reader_int(&r, &v));
    CHECK(!json_reader_key(&r, &s));
    CHECK(json_reader_failed(&r));
    CHECK(!json_reader_key(&r, &s) && !json_reader_element(&r) && !json_reader_object(&r) && !json_reader_array(&r));
    CHECK(!json_reader_string(&r, &s) && !json_reader_int(&r, &v) && !json_reader_bool(&r, &b));
    json_reader_skip(&r, &s);
    CHECK_INT(s.len, 0);
    CHECK(!json_reader_at_end(&r));
    CHECK_INT(json_reader_kind(&r), JSON_NULL);
}

/* A caller that reads no value between two keys is told, not led astray. */
static void a_value_left_unread(void) {
    json_reader_t r = over("{\"a\":1,\"b\":2}");
    json_slice_t key;
    REQUIRE(json_reader_object(&r));
    CHECK(json_reader_key(&r, &key));
    CHECK(!json_reader_key(&r, &key));
    CHECK(json_reader_failed(&r));
    r = over("]");
    CHECK(!json_reader_element(&r));
    CHECK(json_reader_failed(&r));
}

/* ---- documents ---- */

static uint64_t seed = 88172645463325252u;
static unsigned below(unsigned n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % n;
}

static void put_blanks(buf_t *b) {
    static const char blanks[] = " \n\t\r";
    for (unsigned n = below(6) ? 0 : below(20); n; n--)
        buf_putc(b, blanks[below(4)]);
}

static void put_string(buf_t *b) {
    static const char *const pieces[] = {"a", "{", "}", "[", "]", ",", ":", "\\\"", "\\\\", "\\n", "\\u00e9",
        "\xc3\xa9", "\\ud83d\\ude00",
                                         "f:metadata", "0123456789abcdefghij", "\xe2\x82\xac", "\\/", "'"};
    buf_putc(b, '"');
    for (unsigned n = below(12); n; n--)
        buf_puts(b, pieces[below(ARRAY_SIZE(pieces))]);
    buf_putc(b, '"');
}

static void put_value(buf_t *b, int levels) {
    static const char *const scalars[] = {"null", "true", "false", "0", "-1", "12345678901", "2.5", "-1e-3", "1E2",
        "9223372036854775807"};
    unsigned what = below(levels ? 8 : 4);
    put_blanks(b);
    if (what < 2) {
        buf_puts(b, scalars[below(ARRAY_SIZE(scalars))]);
    } else if (what < 4) {
        put_string(b);
    } else {
        bool object = what < 7;
        buf_putc(b, object ? '{' : '[');
        for (unsigned n = below(7), i = 0; i < n; i++) {
            if (i)
                buf_putc(b, ',');
            put_blanks(b);
            if (object) {
                put_string(b);
                put_blanks(b);
                buf_putc(b, ':');
            }
            put_value(b, levels - 1);
        }
        put_blanks(b);
        buf_putc(b, object ? '}' : ']');
    }
    put_blanks(b);
}

static void compare(const char *text, size_t len) {
    _cleanup_json_ json_t *walked = NULL, *parsed = NULL;
    bool parses = json_parse(text, len, &parsed, NULL) >= 0, walks = reader_walk(text, len, &walked),
        passes = reader_pass(text, len);
    /* json-c lets a few faults of numbers pass */
    bool fine = (passes || !walks) && (!walks || !parses || json_equal(parsed, walked));
    if (!fine)
        fprintf(stderr, "parser %d, walk %d, pass %d: %.*s\n", parses, walks, passes, (int)len, text);
    CHECK(fine);
}

/* The reader sees a copy of the exact size, so that a tool that watches memory sees it read beyond. */
static void compare_copy(const char *text, size_t len) {
    _cleanup_free_ char *copy = malloc(len ? len : 1);
    REQUIRE(copy);
    if (len)
        memcpy(copy, text, len);
    compare(copy, len);
}

static void random_documents(void) {
    for (int i = 0; i < 3000; i++) {
        buf_t b = BUF_INIT(1u << 20);
        put_value(&b, 1 + i % 6);
        REQUIRE(!buf_failed(&b));
        _cleanup_json_ json_t *tree = NULL;
        CHECK(reader_walk(b.data, b.len, &tree));
        compare_copy(b.data, b.len);
        buf_free(&b);
    }
}

static const char document[] =
    "{\"metadata\":{\"name\":\"a-b\",\"labels\":{\"osmo.task_uuid\":\"0123456789abcdef0123456789abcdef\",\"x\":\"\"},"
    "\"managedFields\":[{\"f\":"
    "{\"f:metadata\":{\".\":{},\"f:labels\":{\"f:a\\\"b\":{}}}}}]},\"spec\":{\"containers\":[{\"name\":\"c\\u00e9\","
    "\"n\":-12.5e3}]},\n"
    " \"status\":{\"phase\":\"Running\",\"ok\":true,\"none\":null,\"k\":[1,2,[],{}]}}";

static void every_cut(void) {
    size_t len = sizeof document - 1;
    for (size_t n = 0; n <= len; n++) {
        _cleanup_json_ json_t *tree = NULL;
        compare_copy(document, n);
        CHECK_INT(reader_walk(document, n, &tree), n == len);
        CHECK_INT(reader_pass(document, n), n == len);
    }
}

static void every_byte_flipped(void) {
    char text[sizeof document];
    size_t len = sizeof document - 1;
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(text, document, len);
            text[i] = (char)(text[i] ^ 1 << bit);
            compare_copy(text, len);
        }
    }
}

static const struct check_test tests[] = {
    {"kinds", kinds}, {"numbers", numbers}, {"strings", strings}, {"refusals", refusals}, {"passing", passing},
        {"depth", depth},
    {"walking", walking}, {"other kinds are skipped", other_kinds_are_skipped}, {"a fault ends the walk",
        a_fault_ends_the_walk},
    {"a value left unread", a_value_left_unread}, {"random documents", random_documents}, {"every cut", every_cut},
    {"every byte flipped", every_byte_flipped},
};
TEST_MAIN("json_reader", tests)
