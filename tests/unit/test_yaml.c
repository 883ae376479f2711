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
    { "'='", "\"=\"" },
    { "{=: 1}", "{\"=\":1}" },
    { "1:90", "\"1:90\"" },
    { "-9223372036854775808", "-9223372036854775808" },
    { "9223372036854775807", "9223372036854775807" },
    { "yEs", "\"yEs\"" },
    { "nULL", "\"nULL\"" },
    { "FALSE", "false" },
    { "-0x_a", "-10" },
    { "0_", "0" },
    { "+0b1_0", "2" },
    { "190:20:30", "685230" },
    { "190:20:30.15", "685230.15" },
    { "1.5e3", "\"1.5e3\"" },
    { "-.5", "\"-.5\"" },
    { "+.5", "\"+.5\"" },
    { "1__0.2_5", "10.25" },
    { "2001-12-14t21:59:43.10-05:00", "\"2001-12-14T21:59:43.100000-05:00\"" },
    { "2001-12-15 2:59:43", "\"2001-12-15T02:59:43\"" },
    { "2001-1-1", "\"2001-1-1\"" },
    { "!!timestamp 2001-1-1", "\"2001-01-01\"" },
    { "!!int 0o17", "15" },
    { "!!int ' +5 '", "5" },
    { "!!float inf", "null" },
    { "!!float 1e5", "100000.0" },
    { "!!bool oFF", "false" },
    { "!!null x", "null" },
    { "!!binary aGVs bG8=", "\"hello\"" },
    { "! '5'", "5" },
    { "! |\n  12\n", "12" },
    { "!!str {=: 5}", "\"5\"" },
    { "!!set {a, b: 1}", "{\"a\":null,\"b\":null}" },
    { "!!omap [b: 1, a: 2]", "[[\"b\",1],[\"a\",2]]" },
    { "!!pairs [a: 1, a: 2]", "[[\"a\",1],[\"a\",2]]" },
    { "{a:[1]}", "{\"a\":[1]}" },
    { "|\n  \tx\n  y\n", "\"\\tx\\ny\\n\"" },
    { "\xEF\xBB\xBFx: 1", "{\"x\":1}" },
    { "{1: a, 1.0: b, yes: c, '1': d}", "{\"1\":\"d\"}" },
};

/* Texts, as Python's str() gives them, with what a kind alone does not tell. */
static const struct {
    const char *yaml, *text;
    enum yaml_kind kind;
    enum yaml_flavour flavour;
} flavours[] = {
    { "9223372036854775808", "9223372036854775808", YAML_INT, YAML_BIG },
    { "-9223372036854775809", "-9223372036854775809", YAML_INT, YAML_BIG },
    { "-9223372036854775808", "-9223372036854775808", YAML_INT, YAML_ORDINARY },
    { "0xFFFFFFFFFFFFFFFFFFFF", "1208925819614629174706175", YAML_INT, YAML_BIG },
    { "-0b1000000000000000000000000000000000000000000000000000000000000000", "-9223372036854775808", YAML_INT, YAML_ORDINARY },
    { "12:2:2:2:2:2:2:2:2:2:2:30:45", "26195177263728813561045", YAML_INT, YAML_BIG },
    { "123_456_789_012_345_678_901", "123456789012345678901", YAML_INT, YAML_BIG },
    { "2024-01-02", "2024-01-02", YAML_DATE, YAML_ORDINARY },
    { "2024-01-02 03:04:05.5", "2024-01-02 03:04:05.500000", YAML_DATE, YAML_DATETIME },
    { "2024-01-02T03:04:05Z", "2024-01-02 03:04:05+00:00", YAML_DATE, YAML_DATETIME_ZONED },
    { "!!binary aGk=", "hi", YAML_STRING, YAML_BINARY },
    { "1.0e+22", "1e+22", YAML_FLOAT, YAML_ORDINARY },
    { "~", "None", YAML_NULL, YAML_ORDINARY },
    { "on", "True", YAML_BOOL, YAML_ORDINARY },
};

static void tells_flavours(void) {
    for (size_t i = 0; i < sizeof flavours / sizeof flavours[0]; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        yaml_node_t *n = NULL;
        CHECK_OK(yaml_parse(flavours[i].yaml, strlen(flavours[i].yaml), NULL, &n, &err), &err);
        if (!n)
            continue;
        char *text = yaml_scalar_text(n);
        CHECK_STR(text, flavours[i].text);
        CHECK_INT(n->kind, flavours[i].kind);
        CHECK_INT(n->flavour, flavours[i].flavour);
        json_t *v = NULL;
        CHECK_INT(yaml_to_json(n, &v, &err), n->flavour == YAML_BIG ? OSMO_EUSAGE : 0);
        CHECK(n->flavour != YAML_BIG || strstr(err.text, "64 bits"));
        json_free(v);
        free(text);
        yaml_free(n);
    }
}

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
    const char *yaml, *json;
} merges[] = {
    { "<<: {a: 1, b: 2}\nb: 3\nc: 4", "{\"a\":1,\"b\":3,\"c\":4}" },
    { "b: 3\n<<: {a: 1, b: 2}", "{\"a\":1,\"b\":3}" },                                 /* merged pairs come first */
    { "<<: [{x: 1}, {x: 2, z: 3}]", "{\"x\":1,\"z\":3}" },                                /* earlier ones win */
    { "<<: {x: 1}\n<<: {x: 2, y: 3}", "{\"x\":2,\"y\":3}" },                             /* later keys win */
    { "<<: {<<: {a: 1, b: 1}, b: 2}\nc: 3", "{\"a\":1,\"b\":2,\"c\":3}" },
    { "<<: []\na: 1", "{\"a\":1}" },
    { "<<: !x {a: 1}", "{\"a\":1}" },                                                     /* the source has no value of its own */
    { "!!merge x: {a: 1}", "{\"a\":1}" },
    { "a: &a {p: 1}\nb: &b {<<: *a, q: 2}\nc: {<<: *b}", "{\"a\":{\"p\":1},\"b\":{\"p\":1,\"q\":2},\"c\":{\"p\":1,\"q\":2}}" },
    { "{a: 1, b: 2, a: 3}", "{\"a\":3,\"b\":2}" },
    { "{~: 1, null: 2, 2001-01-01: 3, 2001-01-01: 4}", "{\"None\":2,\"2001-01-01\":4}" },
};

static void merges_maps(void) {
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        char *got = to_json(merges[i].yaml, &err);
        CHECK_STR(got, merges[i].json);
        free(got);
    }
}

/* Long enough for the index; each key twice, and looked up. */
static void finds_in_long_maps(void) {
    enum { KEYS = 5000 };
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t text = BUF_INIT(1u << 20);
    yaml_node_t *n = NULL;
    for (int i = 0; i < 2 * KEYS; i++)
        buf_printf(&text, "key-%d: %d\n", i % KEYS, i);
    CHECK_OK(yaml_parse(buf_cstr(&text), text.len, NULL, &n, &err), &err);
    REQUIRE(n);
    CHECK_INT(n->len, KEYS);
    CHECK(yaml_tree_bytes(n) < 200u * 4 * KEYS);
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%d", i);
        const yaml_node_t *v = yaml_get(n, key);
        CHECK(v && v->integer == KEYS + i && v == n->values[i]);
    }
    CHECK(!yaml_get(n, "key-5000") && !yaml_get(n, "") && !yaml_get(n->values[0], "x"));
    yaml_free(n);
    buf_free(&text);
}

static const struct {
    const char *yaml, *part;
    int code;
} broken[] = {
    { "a: [1", "close the [ with ]", OSMO_EUSAGE },
    { "a: {b: 1", "close the { with }", OSMO_EUSAGE },
    { "a: [1\nb: 2", "line 2", OSMO_EUSAGE },
    { "a: 1\n\tb: 2", "use spaces, not a tab (line 2, column 1)", OSMO_EUSAGE },
    { "a:\tb", "spaces, not a tab (line 1, column 3)", OSMO_EUSAGE },
    { "a: b\tc", "a tab inside of unquoted text; use blanks, or quote the text (line 1, column 5)", OSMO_EUSAGE },
    { "a: |\t\n  b", "tab", OSMO_EUSAGE },
    { "a: |#c\n  b", "put a blank before the #", OSMO_EUSAGE },
    { "[a?b]", "quote the text (line 1, column 3)", OSMO_EUSAGE },
    { "a: {{ x }}", "cannot be a key; quote text that starts with { or [ (line 1, column 5)", OSMO_EUSAGE },
    { "[1]: 2", "a list cannot be a key", OSMO_EUSAGE },
    { "a: *x", "unknown alias *x; define it before as &x, or quote text that starts with * (line 1, column 4)", OSMO_EUSAGE },
    { "&a [*a]", "the alias *a is inside of what it stands for", OSMO_EUSAGE },
    { "- &a 1\n- &a 2", "the anchor &a is taken since line 1", OSMO_EUSAGE },
    { "--- 1\n--- 2", "more than one document; remove the --- line", OSMO_EUSAGE },
    { "!!python/object:x 1", "unsupported tag tag:yaml.org,2002:python/object:x", OSMO_EUSAGE },
    { "a: !x {b: 1}", "unsupported tag !x", OSMO_EUSAGE },
    { "<<: 1", "the merge key << needs a mapping or a list of mappings, not an integer", OSMO_EUSAGE },
    { "<<: [1]", "the merge key <<", OSMO_EUSAGE },
    { "a: <<", "<< has a meaning as a key only", OSMO_EUSAGE },
    { "a: =", "quote it", OSMO_EUSAGE },
    { "a: \"x\\0y\"", "NUL", OSMO_EUSAGE },
    { "a: \"x\\qy\"", "write \\\\ for a backslash", OSMO_EUSAGE },
    { "a: \"x", "close the quote", OSMO_EUSAGE },
    { "a: b: c", "quote text that contains \": \"", OSMO_EUSAGE },
    { "a: @b", "quote text that starts with %, @ or `", OSMO_EUSAGE },
    { "a: 1\nb\nc: 2", "end the key with", OSMO_EUSAGE },
    { "a: x\x07y", "control characters are not allowed; remove the character, or write it as an escape", OSMO_EUSAGE },
    { "a: 1\nb: \xFFx", "save the text as UTF-8 (line 2, column 4", OSMO_EUSAGE },
    { "a: 2024-13-45", "\"2024-13-45\" is not a valid date or time; quote it to mean text (line 1, column 4)", OSMO_EUSAGE },
    { "a: 2023-02-29", "not a valid date", OSMO_EUSAGE },
    { "a: 2001-12-14 24:00:00", "not a valid date", OSMO_EUSAGE },
    { "a: 2001-12-14 21:59:43 +24:00", "not a valid date", OSMO_EUSAGE },
    { "a: 0x_", "not a valid integer", OSMO_EUSAGE },
    { "!!int x", "not a valid integer", OSMO_EUSAGE },
    { "!!float ''", "not a valid float", OSMO_EUSAGE },
    { "!!bool 1", "not a valid boolean", OSMO_EUSAGE },
    { "!!binary a", "not a valid base64", OSMO_EUSAGE },
    { "!!binary /+8=", "not text in UTF-8", OSMO_EUSAGE },
    { "!!omap [{a: 1, b: 2}]", "mappings of one key each", OSMO_EUSAGE },
    { "!!omap [{a: 1, a: 2}]", "mappings of one key each", OSMO_EUSAGE },
    { "!!seq {a: 1}", "does not fit its tag", OSMO_EUSAGE },
    { "!!int [1]", "does not fit its tag", OSMO_EUSAGE },
};

static void refuses(void) {
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        yaml_node_t *n = NULL;
        CHECK_INT(yaml_parse(broken[i].yaml, strlen(broken[i].yaml), NULL, &n, &err), broken[i].code);
        CHECK_CONTAINS(err.text, broken[i].part);
        CHECK(strstr(err.text, "(line ") && !strchr(err.text, '\n'));
        CHECK(!n);
        yaml_free(n);
    }
}

/* What is refused tells the number that was exceeded. */
static void refuse_limit(const char *text, const yaml_limits_t *limits, const char *part) {
    osmo_error_t err = OSMO_ERROR_INIT;
    yaml_node_t *n = NULL;
    CHECK_INT(yaml_parse(text, strlen(text), limits, &n, &err), OSMO_ELIMIT);
    CHECK_CONTAINS(err.text, part);
    yaml_free(n);
}

static void keeps_limits(void) {
    char deep[301];
    memset(deep, '[', 300);
    deep[300] = '\0';
    refuse_limit(deep, NULL, "deeper than 100 levels (line 1, column 101)");
    memset(deep + 100, ']', 100);
    deep[200] = '\0';
    osmo_error_t err = OSMO_ERROR_INIT;
    yaml_node_t *n = NULL;
    CHECK_OK(yaml_parse(deep, 200, NULL, &n, &err), &err);
    yaml_free(n);
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    limits.max_nodes = 5;
    refuse_limit("[1, 2, 3, 4, 5]", &limits, "more than 5 nodes");
    limits.max_bytes = 3;
    refuse_limit("a: 1", &limits, "4 bytes is larger than the limit of 3 bytes");
    CHECK_INT(yaml_parse(deep, (64u << 20) + 1, NULL, &n, &err), OSMO_ELIMIT); /* not even looked at */
    CHECK_CONTAINS(err.text, "67108864");
}

static void keeps_bombs_small(void) {
    static const char laughs[] =
        "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    static const char merged[] =
        "a: &a {p: 1, q: 2, r: 3}\nb: &b {<<: [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]}\nc: &c {<<: [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]}\n"
        "d: &d {<<: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]}\ne: {<<: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]}\n";
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    limits.max_nodes = 50000;
    refuse_limit(laughs, &limits, "aliases expand to more than 50000 nodes");
    refuse_limit(merged, &limits, "aliases expand to more than 50000 nodes");
    osmo_error_t err = OSMO_ERROR_INIT;
    yaml_node_t *n = NULL;
    CHECK_OK(yaml_parse(merged, sizeof merged - 1, NULL, &n, &err), &err); /* what fits the usual limit stays small */
    REQUIRE(n);
    CHECK_INT(yaml_get(n, "e")->len, 3);
    CHECK(yaml_tree_bytes(n) < 100000);
    yaml_free(n);
    limits.max_depth = 5;
    CHECK_OK(yaml_parse("- &a [x]\n- &b [*a]\n- &c [*b]\n", 29, &limits, &n, &err), &err); /* no deeper than 5 */
    yaml_free(n);
    refuse_limit("- &a [x]\n- &b [*a]\n- &c [*b]\n- [*c]\n", &limits, "by aliases deeper than 5 levels");
}

/* Aliases share nodes, and memory is a fixed sum a node. */
static void uses_little_memory(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    size_t bytes[2] = { 0 };
    for (int k = 0; k < 2; k++) {
        buf_t text = BUF_INIT(8u << 20);
        yaml_node_t *n = NULL;
        for (int i = 0; i < 20000 * (k + 1); i++)
            buf_printf(&text, "- {name: task-%d, image: ubuntu, n: %d}\n", i, i);
        CHECK_OK(yaml_parse(buf_cstr(&text), text.len, NULL, &n, &err), &err);
        bytes[k] = n ? yaml_tree_bytes(n) : 0;
        CHECK(n && bytes[k] < 200u * n->weight);
        yaml_free(n);
        buf_free(&text);
    }
    CHECK(bytes[1] < 3 * bytes[0]);
    yaml_node_t *n = NULL;
    CHECK_OK(yaml_parse("[&a [1], *a]", 12, NULL, &n, &err), &err);
    CHECK(n && n->values[0] == n->values[1]);
    yaml_free(n);
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
    { "flavours", tells_flavours },
    { "merge keys and duplicates", maps },
    { "merge keys in detail", merges_maps },
    { "long maps", finds_in_long_maps },
    { "refuses broken text", refuses },
    { "depth, size and node limits", keeps_limits },
    { "alias and merge bombs", keeps_bombs_small },
    { "memory", uses_little_memory },
    { "marks lines", marks_lines },
    { "emitting round trip", emits_what_it_reads },
    { "emits long keys", emits_long_keys },
};
TEST_MAIN("yaml", tests)
