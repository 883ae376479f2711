/* base/yaml: YAML 1.1 scalars as PyYAML resolves them, merges, duplicates, marks, limits, and emitting. */
#include <stdlib.h>

#include "base/yaml.h"
#include "check.h"

static char *to_json(const char *text, osmo_error_t *err) {
    yaml_node_t *n = NULL;
    if (yaml_parse(text, strlen(text), NULL, &n, err))
        return NULL;
    json_t *v = NULL;
    char *out = yaml_to_json(n, &v, err) ? NULL : json_to_text(v);
    json_free(v);
    yaml_free(n);
    return out;
}

static const struct {
    const char *yaml, *json;
} scalars[] = {
    { "yes", "true" },
    { "On", "true" },
    { "OFF", "false" },
    { "y", "\"y\"" },
    { "010", "8" },
    { "0o17", "\"0o17\"" },
    { "0x1F", "31" },
    { "0b101", "5" },
    { "1e3", "\"1e3\"" },
    { "1.0e+3", "1000.0" },
    { "1_000", "1000" },
    { "1:30", "90" },
    { "12:30:45", "45045" },
    { "2024-01-01", "\"2024-01-01\"" },
    { "~", "null" },
    { "", "null" },
    { "'null'", "\"null\"" },
    { ".5", "0.5" },
    { "1.", "1.0" },
    { "1.50", "1.5" },
    { "-012", "-10" },
    { "089", "\"089\"" },
    { "+7", "7" },
    { "!!str 5", "\"5\"" },
    { "!!float 5", "5.0" },
    { "1.2.3", "\"1.2.3\"" },
    { "ubuntu:24.04", "\"ubuntu:24.04\"" },
    { "=", "\"=\"" },
    { "1:90", "\"1:90\"" },
    { "-9223372036854775808", "-9223372036854775808" },
    { "12:2:2:2:2:2:2:2:2:2:2:30:45", "9223372036854775807" },
};

static void resolves_scalars(void) {
    for (size_t i = 0; i < sizeof scalars / sizeof scalars[0]; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        char *got = to_json(scalars[i].yaml, &err);
        CHECK_STR(got, scalars[i].json);
        free(got);
    }
}

static void maps(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char *got = to_json("base: &b {x: 1, y: 2}\nm:\n  <<: *b\n  y: 3\nd: 1\nd: 2\nON: 1\n", &err);
    CHECK_STR(got, "{\"base\":{\"x\":1,\"y\":2},\"m\":{\"x\":1,\"y\":3},\"d\":2,\"True\":1}");
    free(got);
    got = to_json("a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b]}", &err);
    CHECK_STR(got, "{\"a\":{\"x\":1},\"b\":{\"x\":2,\"z\":3},\"c\":{\"x\":1,\"z\":3}}");
    free(got);
    got = to_json("'<<': {x: 1}\n!!str <<: 2\n", &err); /* text, not a merge */
    CHECK_STR(got, "{\"<<\":2}");
    free(got);
}

static const struct {
    const char *yaml, *part;
    int code;
} broken[] = {
    { "a: [1", "line", OSMO_EUSAGE },
    { "a: 1\n\tb: 2", "line 2", OSMO_EUSAGE },
    { "a: {{ x }}", "key", OSMO_EUSAGE },
    { "*x", "alias", OSMO_EUSAGE },
    { "--- 1\n--- 2", "more than one", OSMO_EUSAGE },
    { "!!python/object:x 1", "tag", OSMO_EUSAGE },
    { "<<: 1", "merge", OSMO_EUSAGE },
    { "a: \"x\\0y\"", "NUL", OSMO_EUSAGE },
};

static void refuses(void) {
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        yaml_node_t *n = NULL;
        CHECK_INT(yaml_parse(broken[i].yaml, strlen(broken[i].yaml), NULL, &n, &err), broken[i].code);
        CHECK_CONTAINS(err.text, broken[i].part);
        yaml_free(n);
    }
}

static void keeps_limits(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    yaml_node_t *n = NULL;
    char deep[301];
    memset(deep, '[', 300);
    deep[300] = '\0';
    CHECK_INT(yaml_parse(deep, 300, NULL, &n, &err), OSMO_ELIMIT);
    static const char laughs[] =
        "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    limits.max_nodes = 50000;
    CHECK_INT(yaml_parse(laughs, sizeof laughs - 1, &limits, &n, &err), OSMO_ELIMIT);
    limits.max_depth = 5;
    CHECK_INT(yaml_parse("- &a [x]\n- &b [*a]\n- &c [*b]\n", 29, &limits, &n, &err), 0); /* no deeper than 5 */
    yaml_free(n);
    CHECK_INT(yaml_parse("- &a [x]\n- &b [*a]\n- &c [*b]\n- [*c]\n", 36, &limits, &n, &err), OSMO_ELIMIT);
    limits.max_bytes = 3;
    CHECK_INT(yaml_parse("a: 1", 4, &limits, &n, &err), OSMO_ELIMIT);
}

static void marks_lines(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    yaml_node_t *n = NULL;
    const char *text = "a: 1\nb:\n  - x\n  - y: 2\n";
    REQUIRE(yaml_parse(text, strlen(text), NULL, &n, &err) == 0);
    const yaml_node_t *b = yaml_get(n, "b");
    CHECK_INT(b->values[1]->line, 4);
    CHECK_INT(b->values[1]->column, 5);
    yaml_free(n);
}

/* Beyond what a reader takes for a key without being told. */
static void emits_long_keys(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char name[2000];
    memset(name, 'k', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    json_t *list = json_array(), *inner = json_object(), *v = json_array(), *back = NULL;
    CHECK_INT(json_set_str(inner, name, "a\nb"), 0);
    CHECK_INT(json_add(list, json_copy(inner)), 0);
    json_t *outer = json_object();
    CHECK_INT(json_set(outer, name, list), 0);
    CHECK_INT(json_set(outer, "short", inner), 0);
    CHECK_INT(json_add(v, outer), 0);
    buf_t out = BUF_INIT(100000);
    yaml_node_t *n = NULL;
    CHECK_INT(yaml_emit(v, &out), 0);
    CHECK_OK(yaml_parse(buf_cstr(&out), out.len, NULL, &n, &err), &err);
    CHECK(n && yaml_to_json(n, &back, &err) == 0 && json_equal(v, back));
    json_free(back);
    yaml_free(n);
    buf_free(&out);
    json_free(v);
}

/* What is emitted reads back as the same value. */
static void emits_what_it_reads(void) {
    static const char *const values[] = {
        "{\"a\":\"yes\",\"b\":\"010\",\"c\":\"it's\",\"d\":\"x: y\",\"e\":\"#c\",\"f\":\"\",\"g\":null,\"h\":true,"
        "\"i\":1e+22,\"j\":[],\"k\":{}}",
        "{\"m\":\"line one\\nline two\\n\",\"n\":\"  lead\\nx\",\"o\":\"a\\n\\n\\n\",\"p\":\"\\n\","
        "\"q\":\"tab\\there\",\"r\":\"\\u0001\",\"s\":\"a \\nb\"}",
        "[[1,2],[{\"a\":[{\"b\":1}]}],\"- x\",\"2024-01-01\",\"1:30\",\"<<\",\"=\",\"~\"]",
        "\"just text\"",
        "\"...\"",
        "[\"\xEF\xBF\xBE\",\"a\xEF\xBF\xBF\\n\"]",
        "{\"<<\":{\"a\":1},\"...\":\"... x\"}",
        "{\"k: y\":{\"1\":2}}",
        "{\"u\":\"\\u2028x\",\"v\":\"\xC2\x85 y\",\"w\":\"caf\xC3\xA9 \\n z\"}",
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        json_t *v = NULL;
        REQUIRE(json_parse(values[i], strlen(values[i]), &v, &err) == 0);
        char *want = json_to_text(v);
        buf_t out = BUF_INIT(10000);
        CHECK_INT(yaml_emit(v, &out), 0);
        char *got = to_json(buf_cstr(&out), &err);
        CHECK_STR(got, want);
        if (!got)
            fprintf(stderr, "%s in:\n%s\n", err.text, buf_cstr(&out));
        free(got);
        free(want);
        buf_free(&out);
        json_free(v);
    }
}

static const struct check_test tests[] = {
    { "scalars resolve as YAML 1.1", resolves_scalars },
    { "merge keys and duplicates", maps },
    { "refuses broken text", refuses },
    { "depth, size and alias limits", keeps_limits },
    { "marks lines", marks_lines },
    { "emitting round trip", emits_what_it_reads },
    { "emits long keys", emits_long_keys },
};
TEST_MAIN("yaml", tests)
