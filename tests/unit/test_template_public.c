/* osmo/template.h as a program sees it: this one links libosmo-core alone and includes nothing of ours but public headers. */
#include <osmo/template.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

static osmo_template_t *compile(const char *text)
{
    osmo_template_t *t = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(osmo_template_compile(text, strlen(text), &t, &err), &err);
    return t;
}

static void test_render(void)
{
    static const char *const pairs[] = { "who", "ana", "n", "2", NULL }, *const odd[] = { "who", NULL };
    osmo_template_t *t = compile("{% for x in who %}{{ x }}{{ n }}{% endfor %}\n");
    osmo_error_t err = OSMO_ERROR_INIT;
    char *text = NULL;
    size_t len = 0;
    REQUIRE(t);
    CHECK_OK(osmo_template_render(t, "{\"who\": [1, \"b\"], \"n\": null}", NULL, &text, &len, &err), &err);
    CHECK_STR(text, "1NonebNone");
    CHECK_INT(len, 10);
    free(text);
    CHECK_OK(osmo_template_render_pairs(t, pairs, NULL, &text, NULL, &err), &err);
    CHECK_STR(text, "a2n2a2");
    free(text);
    text = NULL;
    CHECK_INT(osmo_template_render(t, NULL, NULL, &text, &len, &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, "line 1: 'who' is undefined");
    CHECK_INT(osmo_template_render(t, "[1]", NULL, &text, &len, &err), OSMO_EINVAL);
    CHECK_INT(osmo_template_render(t, "{", NULL, &text, &len, &err), OSMO_EINVAL);
    CHECK_INT(osmo_template_render_pairs(t, odd, NULL, &text, &len, &err), OSMO_EINVAL);
    CHECK(!text);
    osmo_template_free(t);
    t = compile("");
    REQUIRE(t);
    CHECK_OK(osmo_template_render(t, NULL, NULL, &text, &len, &err), &err);
    CHECK_STR(text, "");
    CHECK_INT(len, 0);
    free(text);
    osmo_template_free(t);
    t = NULL;
    CHECK_INT(osmo_template_compile("\n{% if %}", 9, &t, &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, "line 2: expected an expression");
    CHECK(!t);
    osmo_template_free(NULL);
    osmo_template_limits_free(NULL);
}

static bool third_time(void *arg)
{
    return ++*(int *)arg == 3;
}

static void check_refused(const char *text, const osmo_template_limits_t *limits, const char *why)
{
    osmo_template_t *t = compile(text);
    osmo_error_t err = OSMO_ERROR_INIT;
    char *out = NULL;
    REQUIRE(t);
    CHECK_INT(osmo_template_render(t, NULL, limits, &out, NULL, &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, why);
    CHECK(!out);
    free(out);
    osmo_template_free(t);
}

static void test_limits(void)
{
    static const char loops[] = "{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}";
    osmo_template_limits_t *limits = NULL;
    int asked = 0;
    REQUIRE(osmo_template_limits_new(&limits) == 0);
    osmo_template_limits_set_expired(limits, third_time, &asked);
    check_refused(loops, limits, "too long");
    CHECK_INT(asked, 3);
    osmo_template_limits_set_expired(limits, NULL, NULL);
    osmo_template_limits_set_steps(limits, 5000);
    check_refused(loops, limits, "5000 steps");
    osmo_template_limits_set_steps(limits, UINT64_MAX);
    osmo_template_limits_set_output(limits, 1000);
    check_refused("{{ 'a' * 1001 }}", limits, "too often");
    check_refused("{{ 'x'.rjust(1000000000) }}", limits, "1000 bytes");
    check_refused("{% for i in range(999) %}ab{% endfor %}", limits, "1000 bytes");
    osmo_template_limits_set_values(limits, 50);
    check_refused("{{ range(100)|list }}", limits, "50 values");
    osmo_template_limits_set_depth(limits, 20);
    check_refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", limits, "20 deep");
    osmo_template_limits_free(limits);
}

static const struct check_test tests[] = { { "renders", test_render }, { "limits", test_limits } };
TEST_MAIN("template_public", tests)
