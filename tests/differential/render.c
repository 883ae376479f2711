/* Renders templates for the differential test: JSON lines in, JSON lines out, in one process.
 *   in   {"template": text, "variables": {…}, "protect": bool}
 *   out  {"output": text} or {"error": text, "code": "USAGE"}
 * With "protect" the special tokens survive, as they do in a submitted workflow. Run by template_compare.py and filter tests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "model/template_internal.h"

#define LINE_MAX_BYTES ((size_t)64 << 20)

static const char *code_name(int code) {
    switch (code) {
    case OSMO_ELIMIT: return "LIMIT";
    case OSMO_EINVAL: return "INVALID";
    case OSMO_ENOMEM: return "NOMEM";
    case OSMO_EINTERNAL: return "INTERNAL";
    default: return osmo_error_wire_name(code);
    }
}

/* Budgets small enough that a runaway document costs a moment, as upstream's half second and 100 MiB do. */
static const struct template_limits limits = { .max_steps = 5u * 1000 * 1000, .max_depth = 100, .max_output = 8u << 20,
                                               .max_values = 2u * 1000 * 1000 };

static int bind_variables(struct tpl_rt *rt, const json_t *variables) {
    json_iter_t it = json_iter(variables);
    while (json_kind(variables) == JSON_OBJECT && json_iter_next(&it)) {
        tpl_value_t v;
        if (!tpl_rt_uses(rt, it.key, strlen(it.key)))
            continue;
        if (tpl_from_json(rt, it.value, &v) < 0)
            return rt->code;
        tpl_rt_bind(rt, it.key, strlen(it.key), v);
    }
    return 0;
}

/* With protected tokens, as submission_render() does it; there is no public way to ask for them without sections. */
static int render_protected(const char *text, size_t len, const json_t *variables, buf_t *out, osmo_error_t *err) {
    static const struct tpl_options options = { .protect_tokens = true, .first_line = 1 };
    struct tpl_rt rt;
    template_t *t;
    int rc = tpl_compile(text, len, &options, &t, err);
    if (rc < 0)
        return rc;
    rc = tpl_rt_init(&rt, t, &limits, err);
    if (rc == 0)
        rc = bind_variables(&rt, variables);
    if (rc == 0)
        rc = tpl_rt_run(&rt, out);
    tpl_rt_free(&rt);
    template_free(t);
    return rc;
}

static int render(const json_t *document, buf_t *out, osmo_error_t *err) {
    size_t len;
    const char *text = json_bytes(json_get(document, "template"), &len);
    const json_t *variables = json_get(document, "variables");
    if (!text)
        return osmo_error_set(err, OSMO_EINVAL, "no template");
    if (json_get_bool(document, "protect", false))
        return render_protected(text, len, variables, out, err);
    return template_render_text(text, len, variables, &limits, out, err);
}

static int answer(const char *line, size_t len) {
    _cleanup_json_ json_t *document = NULL, *reply = json_object();
    _cleanup_buf_ buf_t out = BUF_INIT(LINE_MAX_BYTES), printed = BUF_INIT(LINE_MAX_BYTES);
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = json_parse(line, len, &document, &err);
    if (rc == 0)
        rc = render(document, &out, &err);
    if (rc < 0) {
        json_set_str(reply, "error", err.text);
        json_set_str(reply, "code", code_name(rc));
    } else {
        json_set(reply, "output", json_string_n(buf_cstr(&out), out.len));
    }
    if (json_print(reply, 0, &printed) < 0)
        return -1;
    fwrite(printed.data, 1, printed.len, stdout);
    fputc('\n', stdout);
    fflush(stdout); /* the asker learns from the last line which document ended the program */
    return 0;
}

int main(void) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int rc = 0;
    while (rc == 0 && (n = getline(&line, &cap, stdin)) >= 0) {
        if (n && line[n - 1] == '\n')
            line[--n] = '\0';
        if ((size_t)n > LINE_MAX_BYTES) {
            fprintf(stderr, "render: a line is longer than %zu bytes\n", LINE_MAX_BYTES);
            rc = -1;
        } else if (n) {
            rc = answer(line, (size_t)n);
        }
    }
    free(line);
    return rc < 0 ? 1 : 0;
}
