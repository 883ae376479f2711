/* The public face of specifications (osmo/spec.h) over model/spec.h. Programs come in through here; nothing inside
 * calls it. */
#include <osmo/spec.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "model/spec_internal.h"
#include "model/submission.h"
#include "model/validate.h"

#define YAML_TEXT_MAX (256u << 20)

struct osmo_spec {
    struct spec *spec;
    const struct spec_task **tasks;     /* in document order */
    const struct spec_group **groups;   /* of each task */
    size_t ntasks;
};

struct osmo_spec_findings {
    struct spec_findings f;
    strlist_t warnings;
};

/* ---- reading ---- */

static int no_memory(osmo_error_t *err)
{
    return osmo_error_set(err, OSMO_ENOMEM, "out of memory while reading the workflow");
}

static int list_of(const char *const *items, strlist_t *out, osmo_error_t *err)
{
    for (size_t i = 0; items && items[i]; i++)
        if (strlist_add(out, items[i]) < 0)
            return no_memory(err);
    return 0;
}

static int check_options(const osmo_spec_options_t *o, osmo_error_t *err)
{
    if (o->size < sizeof(*o))
        return osmo_error_set(err, OSMO_EINVAL, "the options are not initialised: use OSMO_SPEC_OPTIONS_INIT");
    if (o->priority && !str_eq(o->priority, "HIGH") && !str_eq(o->priority, "NORMAL") && !str_eq(o->priority, "LOW"))
        return osmo_error_set(err, OSMO_EINVAL, "priority '%.40s' must be HIGH, NORMAL or LOW", o->priority);
    return 0;
}

static int render(const char *text, size_t len, const osmo_spec_options_t *o, const struct settings *settings,
                  buf_t *out,
                  osmo_error_t *err)
{
    struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    strlist_t set = { 0 }, strings = { 0 };

    if (settings && settings->template_max_bytes > 0 && (uint64_t)settings->template_max_bytes < limits.max_output)
        limits.max_output = (size_t)settings->template_max_bytes;
    int rc = list_of(o->set, &set, err);
    if (rc == 0)
        rc = list_of(o->set_string, &strings, err);
    if (rc == 0)
        rc = submission_render(text, len, &set, &strings, &limits, out, err);
    strlist_free(&set);
    strlist_free(&strings);
    return rc;
}

int osmo_spec_render(const char *text, size_t len, const osmo_spec_options_t *options, char **rendered,
                     osmo_error_t *err)
{
    static const osmo_spec_options_t none = OSMO_SPEC_OPTIONS_INIT;
    _cleanup_buf_ buf_t out = BUF_INIT(YAML_TEXT_MAX);
    const osmo_spec_options_t *o = options ? options : &none;

    int rc = check_options(o, err);
    if (rc == 0)
        rc = render(text, len, o, NULL, &out, err);
    if (rc < 0)
        return rc;
    char *result = buf_steal(&out, NULL);
    if (!result)
        return no_memory(err);
    *rendered = result;
    return 0;
}

static int read_document(const char *text, size_t len, const osmo_spec_options_t *o, const struct settings *settings,
                         yaml_node_t **doc, const yaml_node_t **workflow, osmo_error_t *err)
{
    _cleanup_buf_ buf_t rendered = BUF_INIT(YAML_TEXT_MAX);
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;

    int rc = render(text, len, o, settings, &rendered, err);
    if (rc == 0)
        rc = yaml_parse(buf_cstr(&rendered), rendered.len, &limits, doc, err);
    if (rc < 0)
        return rc;
    *workflow = (*doc)->kind == YAML_MAP ? yaml_get(*doc, "workflow") : NULL;
    return *workflow ? 0 : osmo_error_set(err, OSMO_EUSER, "the text has no workflow section");
}

/* Takes spec, also when it fails. */
static int wrap(struct spec *spec, osmo_spec_t **out, osmo_error_t *err)
{
    osmo_spec_t *s = calloc(1, sizeof(*s));
    size_t n = spec_task_count(spec);
    if (!s) {
        spec_free(spec);
        return no_memory(err);
    }
    s->spec = spec;
    s->tasks = calloc(n + 1, sizeof(*s->tasks));
    s->groups = calloc(n + 1, sizeof(*s->groups));
    if (!s->tasks || !s->groups) {
        osmo_spec_free(s);
        return no_memory(err);
    }
    for (size_t i = 0; i < spec->ngroups; i++)
        for (size_t k = 0; k < spec->groups[i].ntasks; k++) {
            s->groups[s->ntasks] = &spec->groups[i];
            s->tasks[s->ntasks++] = &spec->groups[i].tasks[k];
        }
    *out = s;
    return 0;
}

int osmo_spec_parse(const char *text, size_t len, const char *const *set, osmo_spec_t **out, osmo_error_t *err)
{
    osmo_spec_options_t options = OSMO_SPEC_OPTIONS_INIT;
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    const yaml_node_t *workflow;
    struct settings *settings = NULL;
    struct spec *spec = NULL;

    options.set = set;
    int rc = settings_default(&settings, err);
    if (rc == 0)
        rc = read_document(text, len, &options, NULL, &doc, &workflow, err);
    if (rc == 0)
        rc = spec_parse(workflow, settings, &spec, err);
    settings_free(settings);
    return rc < 0 ? rc : wrap(spec, out, err);
}

/* ---- validation ---- */

static int find_pool(const struct settings *settings, const char *name, const struct pool **out, osmo_error_t *err)
{
    *out = settings_pool(settings, name ? name : "default");
    if (!*out && !name && settings->npools == 1)
        *out = &settings->pools[0];
    if (*out)
        return 0;
    if (name)
        return osmo_error_set(err, OSMO_EUSER, "pool '%.80s' does not exist in the configuration", name);
    return osmo_error_set(err, OSMO_EUSER, "the configuration has %zu pools and none is called default: name one",
                          settings->npools);
}

static int overlay(struct spec *s, const osmo_spec_options_t *o, struct spec_findings *f)
{
    strlist_t env = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = list_of(o->env, &env, &err);
    if (rc == 0)
        rc = spec_overlay_env(s, &env, &err);
    strlist_free(&env);
    if (rc == OSMO_ENOMEM)
        f->oom = true;
    else if (rc < 0)
        spec_findings_add(f, rc, "environment", 0, 0, "%s", err.text);
    return spec_findings_code(f);
}

static int merge_labels(const yaml_node_t *workflow, const osmo_spec_options_t *o, json_t **labels,
                        struct spec_findings *f)
{
    strlist_t overrides = { 0 };
    if (list_of(o->labels, &overrides, NULL) < 0)
        f->oom = true;
    spec_labels_merge(workflow->kind == YAML_MAP ? yaml_get(workflow, "labels") : NULL, NULL, &overrides, labels, f);
    strlist_free(&overrides);
    return spec_findings_code(f);
}

/* All stages; *out is set as soon as there is a specification. */
static int run_stages(const yaml_node_t *workflow, const osmo_spec_options_t *o, const struct settings *settings,
                      const struct pool *pool, struct spec **out, osmo_spec_findings_t *found)
{
    const char *priority = o->priority ? o->priority : "NORMAL";
    struct spec_findings *f = &found->f;
    json_t *labels = NULL;

    int rc = merge_labels(workflow, o, &labels, f);
    if (rc == 0)
        rc = spec_read(workflow, out, NULL, f);
    if (rc < 0) {
        json_free(labels);
        return rc;
    }
    struct spec *s = *out;
    json_free(s->labels);
    s->labels = labels;
    rc = overlay(s, o, f);
    rc = rc ? rc : spec_place(s, pool, f);
    rc = rc ? rc : spec_check_count(s, settings, f);
    rc = rc ? rc : spec_check_labels(s->labels, settings, &found->warnings, f);
    rc = rc ? rc : spec_check_names(s, settings, f);
    rc = rc ? rc : spec_check_guarantee(s, pool, priority, f);
    rc = rc ? rc : validate_tasks(s, pool, priority, NULL, 0, f); /* without nodes: rules that need none */
    rc = rc ? rc : spec_check_addresses(s, f);
    spec_set_timeouts(s, settings, pool);
    return rc;
}

/* A failure before there is a document is a finding as well; its place is in the words. */
static int validate_text(const char *text, size_t len, const osmo_spec_options_t *o, const struct settings *settings,
                         const struct pool *pool, struct spec **out, osmo_spec_findings_t *found)
{
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    const yaml_node_t *workflow;
    osmo_error_t err = OSMO_ERROR_INIT;

    int rc = read_document(text, len, o, settings, &doc, &workflow, &err);
    if (rc == 0)
        return run_stages(workflow, o, settings, pool, out, found);
    if (rc == OSMO_ENOMEM)
        found->f.oom = true;
    else
        spec_findings_add(&found->f, rc, "", 0, 0, "%s", err.text);
    return spec_findings_code(&found->f);
}

static int load_settings(const osmo_spec_options_t *o, struct settings **out, osmo_error_t *err)
{
    return o->settings ? settings_parse(o->settings, o->settings_len, "of the options", out, err)
                       : settings_default(out, err);
}

int osmo_spec_validate(const char *text, size_t len, const osmo_spec_options_t *options, osmo_spec_t **out,
                       osmo_spec_findings_t **findings, osmo_error_t *err)
{
    static const osmo_spec_options_t none = OSMO_SPEC_OPTIONS_INIT;
    const osmo_spec_options_t *o = options ? options : &none;
    osmo_spec_findings_t *found = NULL;
    struct settings *settings = NULL;
    const struct pool *pool = NULL;
    struct spec *spec = NULL;
    osmo_spec_t *whole = NULL;

    if (findings)
        *findings = NULL;
    int rc = check_options(o, err);
    if (rc == 0)
        rc = load_settings(o, &settings, err);
    if (rc == 0)
        rc = find_pool(settings, o->pool, &pool, err);
    if (rc == 0 && !(found = calloc(1, sizeof(*found))))
        rc = no_memory(err);
    if (rc == 0) {
        validate_text(text, len, o, settings, pool, &spec, found);
        rc = spec_findings_result(&found->f, "the workflow", err);
    }
    settings_free(settings);
    if (rc == 0)
        rc = wrap(STEAL(spec), &whole, err);
    spec_free(spec);
    if (rc == 0 && out)
        *out = STEAL(whole);
    osmo_spec_free(whole);
    if (findings && rc != OSMO_ENOMEM)
        *findings = STEAL(found);
    osmo_spec_findings_free(found);
    return rc;
}

/* ---- findings ---- */

void osmo_spec_findings_free(osmo_spec_findings_t *findings)
{
    if (!findings)
        return;
    spec_findings_clear(&findings->f);
    strlist_free(&findings->warnings);
    free(findings);
}

size_t osmo_spec_findings_get_count(const osmo_spec_findings_t *findings)
{
    return findings->f.len;
}

size_t osmo_spec_findings_get_total(const osmo_spec_findings_t *findings)
{
    return findings->f.total;
}

static const struct spec_finding *finding(const osmo_spec_findings_t *findings, size_t index)
{
    return index < findings->f.len ? &findings->f.items[index] : NULL;
}

int osmo_spec_findings_get_code(const osmo_spec_findings_t *findings, size_t index)
{
    const struct spec_finding *one = finding(findings, index);
    return one ? one->code : 0;
}

const char *osmo_spec_findings_get_path(const osmo_spec_findings_t *findings, size_t index)
{
    const struct spec_finding *one = finding(findings, index);
    return one ? one->path : NULL;
}

int osmo_spec_findings_get_line(const osmo_spec_findings_t *findings, size_t index)
{
    const struct spec_finding *one = finding(findings, index);
    return one ? one->line : 0;
}

int osmo_spec_findings_get_column(const osmo_spec_findings_t *findings, size_t index)
{
    const struct spec_finding *one = finding(findings, index);
    return one ? one->column : 0;
}

const char *osmo_spec_findings_get_text(const osmo_spec_findings_t *findings, size_t index)
{
    const struct spec_finding *one = finding(findings, index);
    return one ? one->text : NULL;
}

size_t osmo_spec_findings_get_warning_count(const osmo_spec_findings_t *findings)
{
    return findings->warnings.len;
}

const char *osmo_spec_findings_get_warning(const osmo_spec_findings_t *findings, size_t index)
{
    return index < findings->warnings.len ? findings->warnings.items[index] : NULL;
}

/* ---- contents ---- */

void osmo_spec_free(osmo_spec_t *spec)
{
    if (!spec)
        return;
    spec_free(spec->spec);
    free(spec->tasks);
    free(spec->groups);
    free(spec);
}

const char *osmo_spec_get_name(const osmo_spec_t *spec)
{
    return spec->spec->name;
}

size_t osmo_spec_get_task_count(const osmo_spec_t *spec)
{
    return spec->ntasks;
}

const char *osmo_spec_get_task_name(const osmo_spec_t *spec, size_t index)
{
    return index < spec->ntasks ? spec->tasks[index]->name : NULL;
}

const char *osmo_spec_get_task_group(const osmo_spec_t *spec, size_t index)
{
    return index < spec->ntasks ? spec->groups[index]->name : NULL;
}

const char *osmo_spec_get_task_image(const osmo_spec_t *spec, size_t index)
{
    return index < spec->ntasks ? spec->tasks[index]->image : NULL;
}

const char *osmo_spec_get_task_platform(const osmo_spec_t *spec, size_t index)
{
    const struct spec_resource *x =
        index < spec->ntasks ? spec_find_resource(spec->spec, spec->tasks[index]->resource) : NULL;
    return x ? x->platform : NULL;
}

static const struct spec_group *group_at(const osmo_spec_t *spec, size_t group)
{
    return group < spec->spec->ngroups ? &spec->spec->groups[group] : NULL;
}

size_t osmo_spec_get_group_count(const osmo_spec_t *spec)
{
    return spec->spec->ngroups;
}

const char *osmo_spec_get_group_name(const osmo_spec_t *spec, size_t group)
{
    const struct spec_group *g = group_at(spec, group);
    return g ? g->name : NULL;
}

size_t osmo_spec_get_group_task_count(const osmo_spec_t *spec, size_t group)
{
    const struct spec_group *g = group_at(spec, group);
    return g ? g->ntasks : 0;
}

size_t osmo_spec_get_group_upstream_count(const osmo_spec_t *spec, size_t group)
{
    const struct spec_group *g = group_at(spec, group);
    return g ? g->nupstream : 0;
}

size_t osmo_spec_get_group_upstream(const osmo_spec_t *spec, size_t group, size_t index)
{
    const struct spec_group *g = group_at(spec, group);
    return g && index < g->nupstream ? g->upstream[index] : SIZE_MAX;
}

size_t osmo_spec_get_input_count(const osmo_spec_t *spec, size_t task)
{
    return task < spec->ntasks ? spec->tasks[task]->ninputs : 0;
}

static const struct spec_input *input_at(const osmo_spec_t *spec, size_t task, size_t index)
{
    return index < osmo_spec_get_input_count(spec, task) ? &spec->tasks[task]->inputs[index] : NULL;
}

const char *osmo_spec_get_input_task(const osmo_spec_t *spec, size_t task, size_t index)
{
    const struct spec_input *in = input_at(spec, task, index);
    return in ? in->task : NULL;
}

const char *osmo_spec_get_input_workflow(const osmo_spec_t *spec, size_t task, size_t index)
{
    const struct spec_input *in = input_at(spec, task, index);
    return in ? in->workflow : NULL;
}

const char *osmo_spec_get_input_url(const osmo_spec_t *spec, size_t task, size_t index)
{
    const struct spec_input *in = input_at(spec, task, index);
    return in ? in->url : NULL;
}

int osmo_spec_write_yaml(const osmo_spec_t *spec, char **yaml, osmo_error_t *err)
{
    _cleanup_buf_ buf_t text = BUF_INIT(YAML_TEXT_MAX);
    int rc = spec_write_yaml(spec->spec, &text);
    if (rc == OSMO_ELIMIT)
        return osmo_error_set(err, OSMO_ELIMIT, "the normalised workflow has more than %u bytes", YAML_TEXT_MAX);
    char *out = rc < 0 ? NULL : buf_steal(&text, NULL);
    if (!out)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while writing the workflow");
    *yaml = out;
    return 0;
}
