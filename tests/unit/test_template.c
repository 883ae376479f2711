/* Template engine: tables of templates with the text Jinja gives for them, refusals, budgets, pod templates, tokens. */
#include "template_cases.h"
#include "base/cleanup.h"
#include "model/template.h"

static const char variables[] =
    "{\"n\":3,\"name\":\"bob\",\"f\":24.1,\"t\":true,\"none\":null,\"xs\":[1,2,3],"
    "\"d\":{\"a\":1.0,\"b\":[true,null,\"it's\"]},\"empty\":[]}";

static const struct template_case good[] = {
    { "plain\n", "plain" },
    { "a\r\nb\r\n\r\n", "a\nb\n" },
    { "{{ n }}-{{ name }}", "3-bob" },
    { "{{ f }} {{ t }} {{ none }}", "24.1 True None" },
    { "{{ d }}", "{'a': 1.0, 'b': [True, None, \"it's\"]}" },
    { "{{ d.a }} {{ d['b'][2] }}", "1.0 it's" },
    { "{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }}", "7 3 -4 2 3.5" },
    { "{{ 2 ** 3 ** 2 }}", "64" },
    { "{{ 'a' ~ 1 ~ none }}", "a1None" },
    { "{{ 1 < 2 < 3 }} {{ 2 in xs }} {{ 9 not in xs }}", "True True True" },
    { "{{ 'y' if n == 3 else 'z' }}", "y" },
    { "{{ xs[1:] }} {{ name[::-1] }} {{ (1,) }}", "[2, 3] bob (1,)" },
    { "{% for i in range(3) %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}", "0,1,2" },
    { "{% for k, v in d.items() if k == 'a' %}{{ k }}={{ v }}{% else %}none{% endfor %}", "a=1.0" },
    { "{% for x in empty %}{% else %}nothing{% endfor %}", "nothing" },
    { "{% set a = 1 %}{% for i in xs %}{{ a }}{% set a = 9 %}{{ a }} {% endfor %}{{ a }}", "19 19 19 1" },
    { "{% set ns = namespace(n=0) %}{% for i in xs %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "6" },
    { "{% set b %}x{{ n }}{% endset %}{{ b|upper }}", "X3" },
    { "{% with a=2, b=3 %}{{ a * b }}{% endwith %}", "6" },
    { "{% if n == 1 %}a{% elif n == 3 %}b{% else %}c{% endif %}", "b" },
    { "{% if n == 1 %}a{% else %}{% if t %}x{% endif %}y{% endif %}", "xy" },
    { "a {%- if t -%} b {%- endif -%} c", "abc" },
    { "{% raw %}{{ x }}{% endraw %}{# gone #}", "{{ x }}" },
    { "{{ missing|default('q') }} {{ missing is defined }} {{ n is odd }}", "q False True" },
    { "{{ xs|join('-') }} {{ xs|length }} {{ '42.7'|int }} {{ 'a b'|title }}", "1-2-3 3 42 A B" },
    { "{{ '%s-%03d' % ('a', 7) }} {{ 'a,b'.split(',') }}", "a-007 ['a', 'b']" },
    { "{{ {'x': {'y': 1}}.x.y }}", "1" },
    { "{{ \"\\u00e9\\n\" }}|{{ ['\\n'] }}", "\xc3\xa9\n|['\\n']" },
    { "{{ range(3) }} {{ 1e-5 }} {{ 1e16 }}", "range(0, 3) 1e-05 1e+16" },
    { "{% filter upper %}a{{ name }}{% endfilter %}", "ABOB" },
    { "{{ loop is defined }}", "False" },
    { "{{ -1|int }} {{ not t }}", "-1 False" },
};
static const struct template_case bad[] = {
    { "\n\n{{ nope }}", "line 3: 'nope' is undefined" },
    { "{{ ''.__class__ }}", "refused" },
    { "{{ ''['__class__'] }}", "refused" },
    { "{{ 1 / 0 }}", "division by zero" },
    { "{{ 'a' + 1 }}", "'+' is not supported between 'str' and 'int'" },
    { "a\n{{ xs|random }}", "line 2: filter 'random' is not supported" },
    { "{% include 'x' %}", "tag 'include' is not supported" },
    { "{{ range(200000) }}", "limited to 100000" },
    { "${#x}", "comment" },
    { "{{ }}", "expected an expression" },
    { "{{ a", "missing" },
    { "{% if t %}", "endif" },
    { "{{ 2 ** 99999 }}", "65536 bits" },
    { "{{ input:0 }}", "expected" },
    { "{% nope %}", "nope" },
    { "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "steps" },
    { "{{ d.zz }}", "no attribute 'zz'" },
    { "{% set x = 'aaaaaaaa' %}{% set ns = namespace(x=x) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "" },
    { "{% set l = [1] %}{% set q = l.append(l) %}{{ l }}", "nested" },
};

static int render(const char *text, buf_t *out, osmo_error_t *err) { return render_case(variables, text, out, err); }

static void test_good(void) { check_renders(variables, good, ARRAY_SIZE(good)); }

static void test_bad(void) {
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(render(bad[i].text, &out, &err), OSMO_EUSAGE);
        CHECK_CONTAINS(err.text, bad[i].want);
    }
}

static void test_trees(void) {
    static const char in[] = "{\"a\":\"{{ n }}\",\"l\":[\"ARRAY:[x,y]\",5,true],\"e\":\"ARRAY:[]\"}";
    _cleanup_json_ json_t *vars = NULL, *tree = NULL, *out = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(json_parse("{\"n\":4.0,\"output\":\"/o\"}", 23, &vars, &err), &err);
    CHECK_OK(json_parse(in, sizeof(in) - 1, &tree, &err), &err);
    CHECK_OK(template_render_json(tree, vars, NULL, &out, &err), &err);
    _cleanup_free_ char *text = json_to_text(out);
    CHECK_STR(text, "{\"a\":\"4.0\",\"l\":[[\"x\",\"y\"],5,true],\"e\":[\"\"]}");
    _cleanup_json_ json_t *odd = NULL, *rendered = NULL, *replaced = NULL;
    CHECK_OK(json_parse("[\"a\\u0000{{n}}\"]", 16, &odd, &err), &err); /* NUL bytes pass through */
    CHECK_OK(template_render_json(odd, vars, NULL, &rendered, &err), &err);
    _cleanup_free_ char *odd_text = json_to_text(rendered);
    CHECK_STR(odd_text, "[\"a\\u00004.0\"]");
    CHECK_INT(template_replace_tokens_json(odd, vars, &replaced), 0);
    CHECK(json_equal(odd, replaced));
    _cleanup_buf_ buf_t b = BUF_INIT(1000);
    static const char tokens[] = "{{output}} {{ output }} {{input:9}} {{{output}}";
    CHECK_INT(template_replace_tokens(tokens, sizeof(tokens) - 1, vars, &b), 0);
    CHECK_STR(buf_cstr(&b), "/o /o {{input:9}} {/o");
}

static const struct check_test tests[] = { { "renders", test_good },
                                           { "refuses", test_bad },
                                           { "trees and tokens", test_trees } };
TEST_MAIN("template", tests)
