/* The small grammars of a specification, by tables: regular expressions as Python reads them, coercions of scalars, labels
 * with their overlay and policies, images and addresses, and how findings are kept and shown. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "check.h"
#include "model/spec_internal.h"

static yaml_node_t *tree(const char *text)
{
    static const yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    yaml_node_t *n = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(yaml_parse(text, strlen(text), &limits, &n, &err), &err);
    return n;
}

static void test_regex(void)
{
    static const char *const good[] = {
        "", ".*\\.csv$", "a|b", "(?P<n>a)(?P=n)", "(?i)a", "(?i)(?m)a", "(?x) a # comment\n+", "(?i:a)", "(?-i:a)", "(?i-s:a)",
        "a*+", "a++b", "a?+", "(?>ab)", "(?<=ab)c", "(?<!a|b)c", "(?=a)", "(?!a)", "(?#x)a", "(a)(?(1)b|c)", "(?P<n>a)?(?(n)b)",
        "a{2}", "a{,3}", "a{2,}", "a{2,3}?", "a{", "a{x}", "{}", "[]a]", "[^]a]", "[a-z\\d_-]", "[\\b]", "\\Z", "\\A\\b\\B",
        "\\u0041\\U00000041\\x41", "\\N{DIGIT ONE}", "\\0\\07", "\\101", "[[:alpha:]]", "é+", "[à-é]", "a]", "a}", "\\.\\-\\é",
        "(a)\\1", "(?:)*", "()*", "(?=a)*", "x(?s:.)", "(?<=a{2})b", "(a)(?<=\\1)",
    };
    static const struct { const char *pattern, *why; size_t at; } bad[] = {
        { "(", "missing )", 0 }, { "a)", "unbalanced )", 1 }, { "*a", "nothing to repeat", 0 }, { "a**", "a repeat of a repeat", 2 },
        { "^*", "nothing to repeat", 1 }, { "\\b+", "nothing to repeat", 2 }, { "a{3,2}", "least number", 1 },
        { "[a", "unterminated character set", 0 }, { "[]", "unterminated", 0 }, { "[z-a]", "bad character range", 1 },
        { "[a-\\d]", "bad character range", 1 }, { "\\", "backslash at the end", 0 }, { "\\p{L}", "unknown escape", 0 },
        { "\\K", "unknown escape", 0 }, { "\\h", "unknown escape", 0 }, { "\\Qa\\E", "unknown escape", 0 },
        { "\\x{41}", "incomplete escape", 0 }, { "\\u12", "incomplete escape", 0 }, { "\\400", "octal", 0 },
        { "\\1", "not there yet", 0 }, { "(a\\1)", "still open", 2 }, { "(?<n>a)", "unknown extension", 0 },
        { "(?P>n)", "unknown extension", 0 }, { "(?R)", "unknown extension", 0 }, { "(?1)", "unknown extension", 0 },
        { "(?|a)", "unknown extension", 0 }, { "(*FAIL)", "nothing to repeat", 1 }, { "a(?i)", "at its start", 1 },
        { "(?P<1>a)", "bad character in group name", 4 }, { "(?P<n>a)(?P<n>b)", "used twice", 12 }, { "(?P=x)", "unknown group", 4 },
        { "(?<=a+)b", "fixed width", 0 }, { "(?<=a|bc)d", "fixed width", 0 }, { "(?(1)a|b|c)", "at most two branches", 0 },
        { "(?(2)a)(b)", "not there", 3 }, { "(?L)a", "unknown extension", 0 }, { "(?i-i:a)", "on and off", 0 },
        { "(?au)", "exclude", 0 }, { "é(", "missing )", 1 }, { "(?#", "unterminated comment", 0 }, { "[\\8]", "unknown escape", 1 },
    };
    const char *why = NULL;
    size_t at;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        bool valid = spec_regex_valid(good[i], &why, &at);
        CHECK(valid);
        if (!valid)
            fprintf(stderr, "'%s': %s at %zu\n", good[i], why, at);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!spec_regex_valid(bad[i].pattern, &why, &at));
        CHECK_CONTAINS(why, bad[i].why);
        CHECK_INT(at, bad[i].at);
        if (at != bad[i].at)
            fprintf(stderr, "'%s'\n", bad[i].pattern);
    }
    char deep[1000];
    memset(deep, '(', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    CHECK(!spec_regex_valid(deep, &why, &at));
    CHECK_CONTAINS(why, "nested");
}

/* One scalar in a field of each kind: what it becomes, NULL when it is refused. */
static void test_coercions(void)
{
    static const struct { const char *value, *text, *flag, *number, *loose; } cases[] = {
        { "abc", "abc", NULL, NULL, "abc" }, { "1", "1", "1", "1", "1" }, { "0", "0", "0", "0", "0" }, { "2", "2", NULL, "2", "2" },
        { "1.0", "1.0", "1", "1", "1.0" }, { "1.50", "1.5", NULL, NULL, "1.5" }, { "010", "8", NULL, "8", "8" },
        { "0x1F", "31", NULL, "31", "31" }, { "12:30:00", "45000", NULL, "45000", "45000" }, { "1e3", "1e3", NULL, NULL, "1e3" },
        { "1.0e+3", "1000.0", NULL, "1000", "1000.0" }, { "1.0e-5", "1e-05", NULL, NULL, "1e-05" },
        { "1.0e+16", "1e+16", NULL, NULL, "1e+16" }, { ".inf", "inf", NULL, NULL, "inf" }, { ".nan", "nan", NULL, NULL, "nan" },
        { "true", NULL, "1", "1", "True" }, { "off", NULL, "0", "0", "False" }, { "'yes'", "yes", "1", NULL, "yes" },
        { "'T'", "T", "1", NULL, "T" }, { "y", "y", "1", NULL, "y" }, { "' true'", " true", NULL, NULL, " true" },
        { "'1'", "1", "1", "1", "1" }, { "' 2 '", " 2 ", NULL, "2", " 2 " }, { "'+2.00'", "+2.00", NULL, "2", "+2.00" },
        { "'1_000'", "1_000", NULL, "1000", "1_000" }, { "'1__0'", "1__0", NULL, NULL, "1__0" }, { "'2.'", "2.", NULL, NULL, "2." },
        { "'2.5'", "2.5", NULL, NULL, "2.5" }, { "500m", "500m", NULL, NULL, "500m" }, { "''", "", NULL, NULL, "" },
        { "null", NULL, NULL, NULL, NULL }, { "2024-01-02", NULL, NULL, NULL, NULL }, { "[a]", NULL, NULL, NULL, NULL },
        { "{a: b}", NULL, NULL, NULL, NULL }, { "99999999999999999999", "99999999999999999999", NULL, NULL, "99999999999999999999" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_yaml_ yaml_node_t *n = tree(cases[i].value);
        _cleanup_free_ char *text = NULL, *loose = NULL;
        struct reader r;
        bool flag = false;
        int64_t number = 0;
        REQUIRE(n);
        reader_init(&r, OSMO_EUSAGE);
        CHECK_INT(read_text(&r, n, NULL, true, &text), cases[i].text != NULL);
        CHECK_STR(text, cases[i].text);
        CHECK_INT(read_loose(&r, n, NULL, &loose), cases[i].loose != NULL);
        CHECK_STR(loose, cases[i].loose);
        bool is_flag = read_bool(&r, n, NULL, &flag), is_number = read_int(&r, n, NULL, &number);
        CHECK_INT(is_flag, cases[i].flag != NULL);
        CHECK(!is_flag || !cases[i].flag || flag == (cases[i].flag[0] == '1'));
        CHECK_INT(is_number, cases[i].number != NULL);
        CHECK(!is_number || !cases[i].number || number == atoll(cases[i].number));
        if (is_flag != (cases[i].flag != NULL) || is_number != (cases[i].number != NULL))
            fprintf(stderr, "%s\n", cases[i].value);
        reader_clear(&r);
    }
}

/* Free maps: keys become text, and equal ones are one with the last value in the place of the first. */
static void test_keys(void)
{
    _cleanup_yaml_ yaml_node_t *n = tree("name: w\ntasks:\n- name: t\n  image: i\n  command: [x]\n  environment: {1: a, B: b, "
                                         "'1': c, on: d, 'True': e, ~: f, 1.0: g}\n");
    _cleanup_(spec_freep) struct spec *s = NULL;
    static const char *const want[] = { "1", "c", "B", "b", "True", "e", "None", "f", "1.0", "g" };
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(spec_parse(n, NULL, &s, &err), &err);
    REQUIRE(s && s->groups[0].tasks[0].nenv >= 4);
    const struct spec_task *t = &s->groups[0].tasks[0];
    for (size_t i = 0; i < t->nenv && i < ARRAY_SIZE(want) / 2; i++) {
        CHECK_STR(t->env[i].name, want[2 * i]);
        CHECK_STR(t->env[i].value, want[2 * i + 1]);
    }
}

static void test_labels(void)
{
    static const struct { const char *own, *base, *overrides, *want; } cases[] = {
        { NULL, NULL, NULL, NULL }, { "{a: b}", NULL, NULL, "{\"a\":\"b\"}" }, { "{a: b}", "{\"c\":\"d\"}", NULL, "{\"a\":\"b\"}" },
        { NULL, "{\"c\":\"d\"}", "c=e|x.io/f=g", "{\"c\":\"e\",\"x.io/f\":\"g\"}" }, { NULL, NULL, "a=b", "{\"a\":\"b\"}" },
        { "{}", NULL, NULL, "{}" }, { "{a: b}", NULL, "a=c|a=d", "{\"a\":\"d\"}" },
        /* refused: the words */
        { "{a: b}", NULL, "nothing", "!'nothing' must be written KEY=VALUE" }, { NULL, NULL, "-a=b|c= ", "!2 errors" },
        { "{a: 1, b: ''}", NULL, "x", "!3 errors" }, { NULL, NULL, "a=b=c", "!'b=c' is no valid label value" },
        { "[a]", NULL, NULL, "!workflow.labels: must be a mapping" },
        { "{a0: b, a1: b, a2: b, a3: b, a4: b, a5: b, a6: b, a7: b, a8: b, a9: b, b0: b, b1: b, b2: b, b3: b, b4: b, b5: b}",
          NULL, "new=x", "!has 17 labels together with those of the request, at most 16" },
        { "{a0: b, a1: b, a2: b, a3: b, a4: b, a5: b, a6: b, a7: b, a8: b, a9: b, b0: b, b1: b, b2: b, b3: b, b4: b, b5: b}",
          NULL, "a0=x", "{\"a0\":\"x\",\"a1\":\"b\",\"a2\":\"b\",\"a3\":\"b\",\"a4\":\"b\",\"a5\":\"b\",\"a6\":\"b\",\"a7\":\"b\","
          "\"a8\":\"b\",\"a9\":\"b\",\"b0\":\"b\",\"b1\":\"b\",\"b2\":\"b\",\"b3\":\"b\",\"b4\":\"b\",\"b5\":\"b\"}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_yaml_ yaml_node_t *own = cases[i].own ? tree(cases[i].own) : NULL;
        _cleanup_json_ json_t *base = NULL, *got = NULL;
        _cleanup_findings_ struct spec_findings f = SPEC_FINDINGS_INIT;
        strlist_t overrides = { 0 };
        osmo_error_t err = OSMO_ERROR_INIT;
        if (cases[i].base)
            CHECK_INT(json_parse(cases[i].base, strlen(cases[i].base), &base, NULL), 0);
        if (cases[i].overrides)
            strlist_split(&overrides, cases[i].overrides, '|');
        int rc = spec_labels_merge(own, base, &overrides, &got, &f);
        strlist_free(&overrides);
        if (cases[i].want && cases[i].want[0] == '!') {
            CHECK_INT(rc, OSMO_EUSAGE);
            CHECK_INT(spec_findings_result(&f, "the labels", &err), OSMO_EUSAGE);
            CHECK_CONTAINS(err.text, cases[i].want + 1);
            continue;
        }
        _cleanup_free_ char *text = got ? json_to_text(got) : NULL;
        CHECK_INT(rc, 0);
        CHECK_STR(text, cases[i].want);
    }
}

static void test_policies(void)
{
    static const char config[] = "workflow:\n  labels_config:\n    pod_label_prefix: site.example.com-\n    policy:\n"
                                 "    - {key: team, allow_list: [a, b], enforcement: enforce}\n"
                                 "    - {key: stage, allow_list: [dev], enforcement: warn, assert_message: ask us}\n"
                                 "    - {key: cost, enforcement: warn}\n    - {key: any, enforcement: off}\n";
    static const struct { const char *labels; size_t errors, warnings; const char *error, *warning; } cases[] = {
        { "{\"team\":\"a\",\"stage\":\"dev\",\"cost\":\"7\"}", 0, 0, NULL, NULL },
        { "{\"team\":\"c\"}", 1, 2, "label 'team' has the value 'c', allowed are: a, b",
          "label 'stage' is missing, allowed values are: dev (ask us)" },
        { NULL, 1, 2, "label 'team' is missing", "label 'stage' is missing" },
        { "{\"team\":\"a\",\"stage\":\"prod\",\"cost\":\"1\"}", 0, 1, NULL, "label 'stage' has the value 'prod'" },
        { "{\"team\":\"a\",\"stage\":\"dev\",\"cost\":\"1\",\"x.io/y\":\"z\"}", 0, 0, NULL, NULL },
        { "{\"team\":\"a\",\"stage\":\"dev\",\"cost\":\"1\",\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffff\":\"z\"}", 1, 0,
          "becomes 'site.example.com-aaaaaaaaaabbb", NULL },
    };
    struct settings *settings = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(settings_parse(config, sizeof(config) - 1, "test", &settings, &err), &err);
    REQUIRE(settings);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *labels = NULL;
        _cleanup_findings_ struct spec_findings f = SPEC_FINDINGS_INIT;
        strlist_t warnings = { 0 };
        if (cases[i].labels)
            CHECK_INT(json_parse(cases[i].labels, strlen(cases[i].labels), &labels, NULL), 0);
        CHECK_INT(spec_check_labels(labels, settings, &warnings, &f), cases[i].errors ? OSMO_EUSAGE : 0);
        CHECK_INT(f.total, cases[i].errors);
        CHECK_INT(warnings.len, cases[i].warnings);
        if (cases[i].error && f.len)
            CHECK_CONTAINS(f.items[0].text, cases[i].error);
        if (cases[i].warning && warnings.len)
            CHECK_CONTAINS(warnings.items[0], cases[i].warning);
        strlist_free(&warnings);
    }
    settings_free(settings);
}

static void test_grammars(void)
{
    static const struct { const char *text; bool image, url, name; } cases[] = {
        { "alpine", true, false, true }, { "alpine:3.20", true, false, false }, { "a/b/c@sha256:0aF", true, false, false },
        { "localhost/a", true, false, false }, { "host:5000/a", true, false, false }, { "10.0.0.1/a:b", true, false, false },
        { "Host.io/a", true, false, false }, { "Host/a", false, false, false }, { "a_b.c/d", true, false, false },
        { "a/", false, false, false }, { "/a", false, false, false }, { "a//b", false, false, false }, { "a:", false, false, false },
        { "a:.b", false, false, false }, { "a:B_c.d-e", true, false, false }, { "a@sha256", false, false, false },
        { "a@sha256:xyz", false, false, false }, { "-a", false, false, false }, { "a-", false, false, false },
        { "a b", false, false, false }, { "A_b-9", false, false, true }, { "9a", true, false, false }, { "a.b", true, false, false },
        { "s3://b", false, true, false }, { "s3://b/p/q/", false, true, false }, { "s3://b//q", false, false, false },
        { "s3://b///", false, true, false }, { "s3://", false, false, false }, { "s3:///b", false, false, false },
        { "gs://b/{{workflow_id}}", false, true, false }, { "azure://a", false, false, false }, { "azure://a/c", false, true, false },
        { "tos://e/b", false, true, false }, { "swift://h/a", false, false, false }, { "swift://h/a/c", false, true, false },
        { "s3://a,b", false, false, false }, { "s3://a;b", false, false, false }, { "s3://a*", false, false, false },
        { "S3://b", false, false, false }, { "file:///x", false, false, false }, { "", false, false, false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool good = spec_image_valid(cases[i].text) == cases[i].image && spec_url_valid(cases[i].text) == cases[i].url &&
                    spec_name_valid(cases[i].text) == cases[i].name;
        CHECK(good);
        if (!good)
            fprintf(stderr, "'%s': image %d url %d name %d\n", cases[i].text, spec_image_valid(cases[i].text),
                    spec_url_valid(cases[i].text), spec_name_valid(cases[i].text));
    }
}

/* The first hundred are kept and shown, all are counted; an error text holds what fits. */
static void test_findings(void)
{
    _cleanup_buf_ buf_t text = BUF_INIT(1u << 20), all = BUF_INIT(1u << 20);
    _cleanup_findings_ struct spec_findings f = SPEC_FINDINGS_INIT;
    struct spec *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    bool schema = false;

    buf_puts(&text, "name: w\ntasks:\n");
    for (int i = 0; i < 250; i++)
        buf_printf(&text, "- {name: t%d, image: a}\n", i);
    _cleanup_yaml_ yaml_node_t *n = tree(buf_cstr(&text));
    CHECK_INT(spec_read(n, &s, &schema, &f), OSMO_EUSAGE);
    CHECK(!s && schema);
    CHECK_INT(f.total, 250);
    CHECK_INT(f.len, 100);
    CHECK_STR(f.items[99].path, "workflow.tasks.99.command");
    CHECK_STR(f.items[99].text, "is missing");
    CHECK_INT(f.items[99].line, 102);
    CHECK_INT(f.items[99].column, 3);
    CHECK_INT(spec_findings_write(&f, "the workflow", &all), 0);
    CHECK(str_starts(buf_cstr(&all), "250 errors in the workflow: workflow.tasks.0.command: is missing (line 3, column 3); "));
    CHECK(str_ends(buf_cstr(&all), "workflow.tasks.99.command: is missing (line 102, column 3); and 150 more"));
    CHECK_INT(spec_findings_result(&f, "the workflow", &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, "; and 2");
    CHECK(str_ends(err.text, " more"));
}

static const struct check_test tests[] = {
    { "regular expressions", test_regex }, { "coercions", test_coercions }, { "keys of free maps", test_keys },
    { "labels", test_labels }, { "label policies", test_policies }, { "names, images, addresses", test_grammars },
    { "findings", test_findings },
};
TEST_MAIN("spec_values", tests)
