/* Tables of short templates, rendered within small limits: shared by the tests of the template engine. */
#ifndef TESTS_UNIT_TEMPLATE_CASES_H
#define TESTS_UNIT_TEMPLATE_CASES_H
#include <string.h>

#include "base/json.h"
#include "check.h"
#include "model/template.h"

struct template_case { const char *text, *want; };

static inline int render_case(const char *variables, const char *text, buf_t *out, osmo_error_t *err) {
    static const struct template_limits limits = {
        .max_steps = 200000, .max_depth = 60, .max_output = 1 << 20, .max_values = 100000
    };
    _cleanup_json_ json_t *vars = NULL;
    int rc = json_parse(variables, strlen(variables), &vars, err);
    return rc < 0 ? rc : template_render_text(text, strlen(text), vars, &limits, out, err);
}

static inline void check_renders(const char *variables, const struct template_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_OK(render_case(variables, cases[i].text, &out, &err), &err);
        CHECK_STR(buf_cstr(&out), cases[i].want);
    }
}
#endif
