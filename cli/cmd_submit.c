/* workflow submit, validate and restart. The user's own text is sent, comments and all; it is re-written only when
 * local files have to be put in. */
#include <ctype.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/yaml.h"
#include "cli.h"
#include "rsync.h"

#define SPEC_MAX (64u << 20)

struct submission {
    const char *file, *pool, *priority, *format, *rsync;
    strlist_t set, set_string, set_env, labels;
    bool dry_run, follow, validate;
};

bool spec_is_template(const char *text) {
    return strstr(text, "{%") || strstr(text, "{{") || strstr(text, "{#") || strstr(text, "default-values");
}

bool spec_is_workflow_id(const char *text) {
    const char *dash = strrchr(text, '-');
    if (!dash || dash == text || !isalnum((unsigned char)dash[-1]) || !dash[1] ||
        dash[1 + strspn(dash + 1, "0123456789")])
        return false;
    for (const char *p = dash - 1; p >= text && (isalnum((unsigned char)*p) || *p == '-' || *p == '_'); p--) {
        if (isalpha((unsigned char)*p))
            return true;
    }
    return false;
}

static int inline_file(json_t *file, const char *spec_path, osmo_error_t *err) {
    const char *local = json_get_str(file, "localpath");
    if (!local)
        return 0;
    if (json_has(file, "contents"))
        return osmo_error_set(err, OSMO_EUSAGE, "a file has both contents and localpath %s: keep one", local);
    _cleanup_free_ char *copy = strdup(spec_path);
    _cleanup_free_ char *path = NULL;
    if (copy)
        path = *local == '/' ? strdup(local) : str_printf("%s/%s", dirname(copy), local);
    buf_t text = BUF_INIT(SPEC_MAX);
    int rc = path ? file_read(path, &text, err) : OSMO_ENOMEM;
    if (!rc && !utf8_valid(text.data ? text.data : "", text.len))
        rc = osmo_error_set(err, OSMO_EUSAGE, "%s is not UTF-8 text: use contents with base64: true", path);
    if (!rc) {
        json_del(file, "localpath");
        rc = json_set(file, "contents", json_string_n(text.data ? text.data : "", text.len));
    }
    buf_free(&text);
    return rc;
}

static int inline_tasks(const json_t *tasks, const char *spec_path, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < json_len(tasks); i++) {
        const json_t *files = json_get(json_at(tasks, i), "files");
        for (size_t j = 0; !rc && j < json_len(files); j++)
            rc = inline_file(json_at(files, j), spec_path, err);
    }
    return rc;
}

int spec_inline_files(const char *text, const char *spec_path, char **out, osmo_error_t *err) {
    *out = NULL;
    if (!strstr(text, "localpath"))
        return 0;
    yaml_node_t *n = NULL;
    json_t *doc = NULL;
    int rc = yaml_parse(text, strlen(text), NULL, &n, err);
    if (!rc)
        rc = yaml_to_json(n, &doc, err);
    const json_t *workflow = json_get(doc, "workflow"), *groups = json_get(workflow, "groups");
    if (!rc)
        rc = inline_tasks(json_get(workflow, "tasks"), spec_path, err);
    for (size_t i = 0; !rc && i < json_len(groups); i++)
        rc = inline_tasks(json_get(json_at(groups, i), "tasks"), spec_path, err);
    buf_t b = BUF_INIT(SPEC_MAX);
    if (!rc && !(rc = yaml_emit(doc, &b)))
        *out = buf_steal(&b, NULL);
    buf_free(&b);
    json_free(doc);
    yaml_free(n);
    return rc;
}

static json_t *text_list(const strlist_t *l) {
    json_t *a = json_array();
    for (size_t i = 0; i < l->len; i++)
        json_add_str(a, l->items[i]);
    return a;
}

static json_t *make_body(const struct submission *s, const char *text, const char *template_text) {
    json_t *body = json_object();
    json_set_str(body, "file", text);
    json_set(body, "set_variables", text_list(&s->set));
    json_set(body, "set_string_variables", text_list(&s->set_string));
    json_set_str(body, "uploaded_templated_spec", template_text);
    return body;
}

static char *make_path(const struct submission *s, const char *pool, const char *workflow_id, int dry_run) {
    buf_t b = BUF_INIT(1u << 20);
    buf_puts(&b, "/api/pool/");
    url_encode(pool, &b);
    buf_puts(&b, "/workflow");
    if (workflow_id)
        query_add(&b, "workflow_id", workflow_id);
    if (dry_run >= 0)
        query_add(&b, "dry_run", dry_run ? "True" : "False");
    if (s->validate)
        query_add(&b, "validation_only", "True");
    if (s->priority)
        query_add(&b, "priority", s->priority);
    query_add_all(&b, "label", &s->labels);
    if (dry_run <= 0)
        query_add_all(&b, "env_vars", &s->set_env);
    char *path = buf_steal(&b, NULL);
    buf_free(&b);
    return path;
}

static int post(struct api *a, const struct submission *s, const char *pool, const char *text,
                const char *template_text, int dry_run, json_t **answer) {
    _cleanup_free_ char *path = make_path(s, pool, NULL, dry_run);
    json_t *body = make_body(s, text, template_text);
    int code = api_call(a, "POST", path, body, answer);
    json_free(body);
    return code;
}

/* Template: the service renders first, then gets the rendered text with local files put in. */
static int send_text(struct api *a, const struct submission *s, const char *pool, const char *text, json_t **answer) {
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *rendered = NULL;
    bool templated = spec_is_template(text);
    const char *body = text;
    int code = 0;
    if (templated || s->dry_run) {
        code = post(a, s, pool, text, NULL, 1, &rendered);
        const char *spec = json_get_str(rendered, "spec");
        if (!code && s->dry_run) {
            fputs(spec ? spec : "", stdout);
            json_free(rendered);
            return -1;
        }
        body = spec ? spec : text;
    }
    _cleanup_free_ char *filled = NULL;
    if (!code && spec_inline_files(body, s->file, &filled, &err))
        code = api_fail(a->json_errors, 0, err.text, EXIT_SUBMISSION);
    if (!code)
        code = post(a, s, pool, filled ? filled : body, templated ? text : NULL, templated ? 0 : -1, answer);
    json_free(rendered);
    return code;
}

static void show_warnings(const json_t *answer) {
    const json_t *warnings = json_get(answer, "warnings");
    for (size_t i = 0; i < json_len(warnings); i++)
        printf("WARNING: %s\n", json_str(json_at(warnings, i)));
}

static void show(const struct submission *s, const json_t *answer) {
    const char *logs = json_get_str(answer, "logs");
    if (str_eq(s->format, "json")) {
        print_json(answer, 4);
        return;
    }
    if (s->validate) {
        puts(logs ? logs : "Workflow validation succeeded.");
        show_warnings(answer);
        return;
    }
    const char *dashboard = json_get_str(answer, "dashboard_url");
    printf("Workflow submit successful.\nWorkflow ID        - %s\nWorkflow Overview  - %s\n",
           json_get_str(answer, "name"), json_get_str(answer, "overview"));
    if (dashboard)
        printf("Workflow Dashboard - %s\n", dashboard);
    show_warnings(answer);
    if (str_eq(s->priority, "LOW"))
        puts("Note: a workflow of priority LOW may be preempted.");
    fflush(stdout);
}

static int read_spec(struct api *a, const char *path, char **text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t b = BUF_INIT(SPEC_MAX);
    int rc = file_read(path, &b, &err);
    if (!rc && !utf8_valid(buf_cstr(&b), b.len))
        rc = osmo_error_set(&err, OSMO_EUSAGE, "%s is not UTF-8 text", path);
    *text = rc ? NULL : buf_steal(&b, NULL);
    buf_free(&b);
    return *text ? 0 : api_fail(a->json_errors, 0, err.text, EXIT_SUBMISSION);
}

static int submit(struct submission *s) {
    struct api a;
    int code = api_open(&a, str_eq(s->format, "json"));
    a.submission = true;
    _cleanup_free_ char *text = NULL;
    _cleanup_free_ char *pool = NULL;
    json_t *answer = NULL;
    bool by_id = !s->validate && !file_exists(s->file) && spec_is_workflow_id(s->file);
    if (!code && by_id && (s->dry_run || s->set.len || s->set_string.len)) {
        fprintf(stderr, "--dry-run and --set do not go with a workflow id: nothing was submitted\n");
        api_close(&a);
        return 0;
    }
    if (!code && !by_id)
        code = read_spec(&a, s->file, &text);
    if (!code)
        code = api_pool(&a, s->pool, &pool);
    if (!code && by_id) {
        _cleanup_free_ char *path = make_path(s, pool, s->file, -1);
        code = api_call(&a, "POST", path, NULL, &answer);
    } else if (!code) {
        code = send_text(&a, s, pool, text, &answer);
    }
    if (!code) {
        show(s, answer);
        if (s->rsync)
            code = rsync_for_submission(&a, json_get_str(answer, "name"), s->rsync);
        if (!code && s->follow)
            code = follow_workflow(&a, json_get_str(answer, "name"));
    }
    json_free(answer);
    api_close(&a);
    return code == -1 ? 0 : code;
}

static int parse_and_submit(int argc, char **argv, bool validate) {
    struct submission s = { .format = "text", .validate = validate };
    const struct opt opts[] = {
        /* of both */
        { "--set", OPT_LIST, &s.set, "KEY=VALUE", "template variables; numbers are recognised", NULL },
        { "--set-string", OPT_LIST, &s.set_string, "KEY=VALUE", "template variables as text", NULL },
        { "--pool -p", OPT_VALUE, &s.pool, "POOL", "pool to run in", NULL },
        { "--label", OPT_LIST, &s.labels, "KEY=VALUE", "workflow labels", NULL },
        { "--set-env", OPT_LIST, &s.set_env, "KEY=VALUE", "environment of every task", NULL },
        { "--priority", OPT_CHOICE, &s.priority, "PRIORITY", "scheduling priority", "HIGH NORMAL LOW high normal low" },
        { "--dry-run", OPT_FLAG, &s.dry_run, NULL, "print the rendered spec and submit nothing", NULL },
        FORMAT_OPTION(&s.format),
        /* of submit */
        { "--follow", OPT_FLAG, &s.follow, NULL,
          "print the log until the end, then the status; exit 20 when the workflow failed", NULL },
        { "--rsync", OPT_VALUE, &s.rsync, "LOCAL:REMOTE", "keep a local directory in step with the task", NULL },
    };
    const struct arg args[] = {
        { validate ? "FILE" : "FILE|ID",
          validate ? "workflow file" : "workflow file, or an earlier workflow's id to run again", &s.file, NULL,
          false },
    };
    static const struct { const char *command, *summary; } names[] = {
        { "workflow submit", "Submit a workflow." },
        { "workflow validate", "Check a workflow file without submitting it." },
    };
    const struct usage u = {
        names[validate].command, names[validate].summary, opts, validate ? 8 : ARRAY_SIZE(opts), args, 1
    };
    int code = opt_parse(&u, argc, argv);
    char upper[16];
    if (code < 0) {
        if (s.priority) {
            snprintf(upper, sizeof upper, "%s", s.priority);
            for (char *p = upper; *p; p++)
                *p = (char)toupper((unsigned char)*p);
            s.priority = upper;
        }
        code = submit(&s);
    }
    strlist_free(&s.set);
    strlist_free(&s.set_string);
    strlist_free(&s.set_env);
    strlist_free(&s.labels);
    return code;
}

int cmd_submit(int argc, char **argv) { return parse_and_submit(argc, argv, false); }
int cmd_validate(int argc, char **argv) { return parse_and_submit(argc, argv, true); }

/* ---- restart ---- */

/* The pool of the earlier workflow, unless one is chosen. */
static int restart_pool(struct api *a, const char *id, const char *chosen, char **pool) {
    _cleanup_free_ char *path = workflow_path(id, "");
    json_t *w = NULL;
    int code = chosen ? 0 : api_call(a, "GET", path, NULL, &w);
    const char *name = chosen ? chosen : json_get_str(w, "pool");
    if (!code && !(*pool = str_dup(name)))
        code = api_fail(a->json_errors, 0, "the workflow has no pool: give one with --pool", EXIT_USER);
    json_free(w);
    return code;
}

static int restart(struct submission *s, const char *id) {
    struct api a;
    _cleanup_free_ char *pool = NULL;
    json_t *answer = NULL;
    int code = api_open(&a, str_eq(s->format, "json"));
    a.submission = true;
    if (!code)
        code = restart_pool(&a, id, s->pool, &pool);
    if (!code) {
        buf_t path = BUF_INIT(1u << 16);
        buf_puts(&path, "/api/pool/");
        url_encode(pool, &path);
        buf_puts(&path, "/workflow/");
        url_encode(id, &path);
        buf_puts(&path, "/restart");
        code = api_call(&a, "POST", buf_cstr(&path), NULL, &answer);
        buf_free(&path);
    }
    if (!code)
        show(s, answer);
    json_free(answer);
    api_close(&a);
    return code;
}

int cmd_restart(int argc, char **argv) {
    struct submission s = { .format = "text" };
    const char *id = NULL;
    const struct opt opts[] = {
        { "--pool -p", OPT_VALUE, &s.pool, "POOL", "pool to run in; else the one of the workflow", NULL },
        FORMAT_OPTION(&s.format),
    };
    const struct arg args[] = { { "ID", "a failed workflow", &id, NULL, false } };
    const struct usage u = {
        "workflow restart", "Run again what failed of a workflow.", opts, ARRAY_SIZE(opts), args, 1
    };
    int code = opt_parse(&u, argc, argv);
    return code < 0 ? restart(&s, id) : code;
}
