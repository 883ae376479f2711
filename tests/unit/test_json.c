/* base/json: what is accepted, what is refused, how values print. */
#include <stdlib.h>

#include "base/json.h"
#include "base/cleanup.h"
#include "check.h"

static const struct { const char *in, *out; } good[] = {
    { "{\"a\":1,\"b\":[1.5,2.0,1e-5,24.10,1e16,null,true]}", "{\"a\":1,\"b\":[1.5,2.0,1e-05,24.1,1e+16,null,true]}" },
    { " \"x\\u0001\\n/\\\"\" ", "\"x\\u0001\\n/\\\"\"" },
    /* pairs of escapes, those that json-c takes for halves among them */
    { "\"\\ud83d\\ude00\\uD836\\udc00\\ud837\\udfff\\\\ud836\"", "\"\xF0\x9F\x98\x80\xF0\x9D\xA0\x80\xF0\x9D\xBF\xBF\\\\ud836\"" },
    { "9223372036854775807", "9223372036854775807" }, { "-9223372036854775808", "-9223372036854775808" },
    { "{\"a\":-1.5e3}", "{\"a\":-1500.0}" }, { "[]", "[]" }, { "{}", "{}" }, { "null", "null" },
};

static void accepts(void) {
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        json_t *v = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_OK(json_parse(good[i].in, strlen(good[i].in), &v, &err), &err);
        char *text = json_to_text(v);
        CHECK_STR(text, good[i].out);
        free(text);
        json_free(v);
    }
}

static const char *const bad[] = { "",        "{'a':1}", "NaN",       "Infinity", "-Infinity", "9223372036854775808",
                                   "[1",      "[1] x",   "{\"a\" 1}", "\"\xff\"", "\"a\nb\"",  "{\"a\":1,}",
                                   "// c\n1", "[1,]",    "tru",       "[1e999]",  "{\"m\xC1\xB8\":1}" };

static void refuses(void) {
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *v = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(json_parse(bad[i], strlen(bad[i]), &v, &err), OSMO_EINVAL);
        if (v)
            fprintf(stderr, "accepted: %s\n", bad[i]);
        json_free(v);
    }
    json_t *v = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    char deep[400];
    memset(deep, '[', 200);
    memset(deep + 200, ']', 200);
    CHECK_INT(json_parse(deep, sizeof deep, &v, &err), OSMO_EINVAL);
    CHECK_INT(json_parse("1\0002", 3, &v, &err), OSMO_EINVAL);
}

static void builds_and_reads(void) {
    json_t *o = json_object();
    CHECK_INT(json_set_str(o, "s", "x"), 0);
    CHECK_INT(json_set_int(o, "i", 5), 0);
    CHECK_INT(json_set_double(o, "d", 1.0 / 3), 0);
    CHECK_INT(json_set_bool(o, "b", true), 0);
    CHECK_INT(json_set_str(o, "n", NULL), 0);
    json_t *a = json_array();
    CHECK_INT(json_add_str(a, "e"), 0);
    CHECK_INT(json_set(o, "a", a), 0);
    CHECK_STR(json_get_str(o, "s"), "x");
    CHECK(json_get_str(o, "i") == NULL);
    CHECK_INT(json_get_int(o, "s", -7), -7);
    CHECK(json_has(o, "n") && json_get(o, "n") == NULL);
    CHECK_STR(json_str(json_at(json_path(o, "a", NULL), 0)), "e");
    json_t *copy = json_copy(o), *sorted = NULL;
    CHECK(json_equal(copy, o));
    json_del(copy, "s");
    CHECK(!json_equal(copy, o));
    CHECK_INT(json_sort_keys(o, &sorted), 0);
    char *text = json_to_text(sorted);
    CHECK_STR(text, "{\"a\":[\"e\"],\"b\":true,\"d\":0.3333333333333333,\"i\":5,\"n\":null,\"s\":\"x\"}");
    free(text);
    buf_t pretty = BUF_INIT(1000);
    json_print(json_get(o, "a"), 2, &pretty);
    CHECK_STR(buf_cstr(&pretty), "[\n  \"e\"\n]");
    buf_free(&pretty);
    json_free(sorted);
    json_free(copy);
    json_free(o);
}

/* A string with a NUL byte has no C text, and no length beside that; its bytes are there and print. */
static void keeps_nul_bytes_apart(void) {
    json_t *v = NULL, *none = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    size_t len = 9;
    CHECK_OK(json_parse("\"a\\u0000b\"", 10, &v, &err), &err);
    CHECK(json_str(v) == NULL);
    CHECK_INT(json_str_len(v), 0);
    const char *bytes = json_bytes(v, &len);
    CHECK_INT(len, 3);
    CHECK(bytes && memcmp(bytes, "a\0b", 3) == 0);
    char *text = json_to_text(v);
    CHECK_STR(text, "\"a\\u0000b\"");
    free(text);
    CHECK(json_bytes(NULL, &len) == NULL);
    CHECK_INT(len, 0);
    CHECK_INT(json_parse(NULL, 0, &none, &err), OSMO_EINVAL);
    json_free(v);
}

/* The same results, whatever is overwritten on the way. */
static void secrets(void) {
    static const char *const texts[] = {
        "{\"a\":\"secret\",\"list\":[\"x\",1,null,{\"deep\":\"\\u00e4\\n\"}]}", "\"\"", "[]", "null", "{\"a\":\"b\\u0000c\"}",
        "{\"a\":\"b\"} x", "{\"a\":", "", "{\"a\":\"\\ud835\\udfce\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        json_t *a = NULL, *b = NULL;
        osmo_error_t one = OSMO_ERROR_INIT, two = OSMO_ERROR_INIT;
        CHECK_INT(json_parse_secret(texts[i], strlen(texts[i]), &a, &one), json_parse(texts[i], strlen(texts[i]), &b, &two));
        CHECK_STR(one.text, two.text);
        CHECK(json_equal(a, b));
        json_free_secret(a);
        json_free(b);
    }
    json_t *kept = json_string("kept"), *o = json_object(), *same = json_ref(kept);
    json_set(o, "k", kept);
    json_free_secret(o);
    size_t len = 0;
    const char *bytes = json_bytes(same, &len); /* still a string for who has a reference */
    CHECK(bytes && len == 4 && !memcmp(bytes, "\0\0\0\0", 4));
    json_free(same);
}

static const struct check_test tests[] = { { "accepts and prints", accepts },
                                           { "refuses", refuses },
                                           { "builds and reads", builds_and_reads },
                                           { "NUL bytes", keeps_nul_bytes_apart },
                                           { "secrets", secrets } };
TEST_MAIN("json", tests)
