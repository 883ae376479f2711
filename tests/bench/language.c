/* Times the stages that a submission goes through before anything is stored. Asked by language.py, once a process:
 *   language whole FILE RUNS     render, parse, validate, expand: a JSON line with the median of each stage in ms, and peak memory
 *   language render FILE RUNS    the template alone: compile and render, render only
 *   language load FILE RUNS      render and parse YAML: what the peer does */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/yaml.h"
#include "model/settings.h"
#include "model/spec.h"
#include "model/submission.h"
#include "model/validate.h"

#define RUNS_MAX 101
#define TEXT_MAX ((size_t)512 << 20)

enum stage { RENDER, PARSE, READ, CHECK, EXPAND, RELEASE, STAGES };
static const char *const stage_names[] = { "render", "yaml", "read", "validate", "expand", "release" };
static double ms[STAGES + 1][RUNS_MAX];
static size_t tasks, rendered_bytes, expanded_bytes;

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof(*v), compare);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Of this process: other ones on the machine do not count. */
static int64_t cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Time since the last call, as a figure of `stage`. */
static void lap(int64_t *since, enum stage stage, int run) {
    int64_t now = cpu_us();
    ms[stage][run] = (double)(now - *since) / 1000;
    ms[STAGES][run] += ms[stage][run];
    *since = now;
}

static int check_all(struct spec *s, const struct settings *settings, const struct pool *pool, osmo_error_t *err) {
    struct spec_findings f = SPEC_FINDINGS_INIT;
    struct strlist warnings = { 0 };
    spec_set_timeouts(s, settings, pool);
    spec_place(s, pool, &f);
    spec_check_count(s, settings, &f);
    spec_check_labels(s->labels, settings, &warnings, &f);
    spec_check_names(s, settings, &f);
    spec_check_guarantee(s, pool, "NORMAL", &f);
    validate_tasks(s, pool, "NORMAL", NULL, 0, &f);
    spec_check_addresses(s, &f);
    strlist_free(&warnings);
    int rc = spec_findings_result(&f, "the workflow", err);
    spec_findings_clear(&f);
    return rc;
}

/* Everything that is stored: the normalised document and each group. */
static int expand(const struct spec *s, osmo_error_t *err) {
    _cleanup_buf_ buf_t out = BUF_INIT(TEXT_MAX);
    int rc = spec_write_yaml(s, &out);
    for (size_t g = 0; rc == 0 && g < s->ngroups; g++)
        rc = spec_group_write(s, g, &out);
    expanded_bytes = out.len;
    return rc < 0 ? osmo_error_set(err, rc, "cannot write the specification") : 0;
}

static int run_once(const buf_t *text, const struct settings *settings, const struct pool *pool, bool whole, int run,
                    osmo_error_t *err) {
    static const struct template_limits limits = {
        .max_steps = 1000u * 1000 * 1000, .max_depth = 100, .max_output = TEXT_MAX, .max_values = 100u * 1000 * 1000 };
    static const yaml_limits_t yaml_limits = {
        .max_bytes = TEXT_MAX, .max_depth = 100, .max_nodes = 100u * 1000 * 1000 };
    _cleanup_buf_ buf_t rendered = BUF_INIT(TEXT_MAX);
    yaml_node_t *document = NULL;
    struct spec *spec = NULL;
    struct spec_findings f = SPEC_FINDINGS_INIT;
    int64_t since = cpu_us();
    ms[STAGES][run] = 0;
    int rc = submission_render(text->data, text->len, NULL, NULL, &limits, &rendered, err);
    lap(&since, RENDER, run);
    rendered_bytes = rendered.len;
    if (rc == 0)
        rc = yaml_parse(buf_cstr(&rendered), rendered.len, &yaml_limits, &document, err);
    lap(&since, PARSE, run);
    if (rc == 0 && whole) {
        if (spec_read(yaml_get(document, "workflow"), &spec, NULL, &f) < 0)
            rc = spec_findings_result(&f, "the workflow", err);
        lap(&since, READ, run);
        rc = rc == 0 ? check_all(spec, settings, pool, err) : rc;
        lap(&since, CHECK, run);
        rc = rc == 0 ? expand(spec, err) : rc;
        lap(&since, EXPAND, run);
        tasks = rc == 0 ? spec_task_count(spec) : 0;
    }
    spec_findings_clear(&f);
    spec_free(spec);
    yaml_free(document);
    lap(&since, RELEASE, run);
    return rc;
}

static int run_template(const buf_t *text, int runs, osmo_error_t *err) {
    static double both[RUNS_MAX], only[RUNS_MAX];
    json_t *none = json_object();
    struct sections parts;
    int rc = submission_split(text->data, text->len, &parts, err);
    for (int i = -1; rc == 0 && i < runs; i++) { /* the first is a warm-up */
        _cleanup_buf_ buf_t out = BUF_INIT(TEXT_MAX);
        template_t *t = NULL;
        int64_t from = cpu_us(), compiled;
        if ((rc = template_compile(parts.workflow, parts.workflow_len, &t, err)) < 0)
            break;
        compiled = cpu_us();
        rc = template_render(t, none, NULL, &out, err);
        int64_t done = cpu_us();
        template_free(t);
        if (i >= 0) {
            both[i] = (double)(done - from) / 1000;
            only[i] = (double)(done - compiled) / 1000;
        }
        rendered_bytes = out.len;
    }
    json_free(none);
    if (rc == 0)
        printf("{\"compile_and_render\": %.3f, \"render_only\": %.3f, \"bytes\": %zu}\n", median(both, runs),
               median(only, runs), rendered_bytes);
    return rc;
}

static void print_stages(int runs) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("{\"tasks\": %zu, \"rendered_bytes\": %zu, \"expanded_bytes\": %zu, \"peak_mib\": %.1f", tasks, rendered_bytes,
           expanded_bytes, (double)use.ru_maxrss / 1024);
    for (int i = 0; i < STAGES; i++)
        printf(", \"%s\": %.3f", stage_names[i], median(ms[i], runs));
    printf(", \"total\": %.3f}\n", median(ms[STAGES], runs));
}

int main(int argc, char **argv) {
    _cleanup_buf_ buf_t text = BUF_INIT(TEXT_MAX);
    struct settings *settings = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int runs = argc == 4 ? atoi(argv[3]) : 0;
    if (runs < 1 || runs >= RUNS_MAX) {
        fprintf(stderr, "usage: language whole|load|render FILE RUNS\n");
        return 2;
    }
    int rc = file_read(argv[2], &text, &err);
    if (rc == 0)
        rc = settings_default(&settings, &err);
    if (rc == 0 && strcmp(argv[1], "render") == 0) {
        rc = run_template(&text, runs, &err);
    } else if (rc == 0) {
        bool whole = strcmp(argv[1], "whole") == 0;
        int warm_up = runs > 1;
        for (int i = -warm_up; rc == 0 && i < runs; i++)
            rc = run_once(&text, settings, settings_pool(settings, "default"), whole, i < 0 ? runs : i, &err);
        if (rc == 0)
            print_stages(runs);
    }
    settings_free(settings);
    if (rc < 0)
        fprintf(stderr, "language: %s\n", err.text);
    return rc < 0 ? 1 : 0;
}
