/* The public face of specifications (osmo/spec.h) over model/spec.h. */
#include <osmo/spec.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "model/spec.h"
#include "model/submission.h"

#define YAML_TEXT_MAX (256u << 20)

struct osmo_spec {
    struct spec *spec;
    const struct spec_task **tasks;     /* in document order */
    const struct spec_group **groups;   /* of each task */
    size_t ntasks;
};

static int render(const char *text, size_t len, const char *const *set, buf_t *out, osmo_error_t *err)
{
    struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    strlist_t variables = { 0 }, strings = { 0 };
    int rc = 0;

    for (size_t i = 0; set && set[i] && rc == 0; i++)
        if (strlist_add(&variables, set[i]) < 0)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0)
        rc = submission_render(text, len, &variables, &strings, &limits, out, err);
    strlist_free(&variables);
    return rc;
}

static int list_tasks(osmo_spec_t *s, osmo_error_t *err)
{
    size_t n = spec_task_count(s->spec);
    s->tasks = calloc(n + 1, sizeof(*s->tasks));
    s->groups = calloc(n + 1, sizeof(*s->groups));
    if (!s->tasks || !s->groups)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < s->spec->ngroups; i++)
        for (size_t k = 0; k < s->spec->groups[i].ntasks; k++) {
            s->groups[s->ntasks] = &s->spec->groups[i];
            s->tasks[s->ntasks++] = &s->spec->groups[i].tasks[k];
        }
    return 0;
}

int osmo_spec_parse(const char *text, size_t len, const char *const *set, osmo_spec_t **out, osmo_error_t *err)
{
    _cleanup_buf_ buf_t rendered = BUF_INIT(YAML_TEXT_MAX);
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    struct settings *settings = NULL;
    osmo_spec_t *s = NULL;

    int rc = render(text, len, set, &rendered, err);
    if (rc == 0)
        rc = yaml_parse(buf_cstr(&rendered), rendered.len, &limits, &doc, err);
    const yaml_node_t *workflow = rc == 0 && doc->kind == YAML_MAP ? yaml_get(doc, "workflow") : NULL;
    if (rc == 0 && !workflow)
        rc = osmo_error_set(err, OSMO_EUSER, "the text has no workflow section");
    if (rc == 0)
        rc = settings_default(&settings, err);
    if (rc == 0 && !(s = calloc(1, sizeof(*s))))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0)
        rc = spec_parse(workflow, settings, &s->spec, err);
    if (rc == 0)
        rc = list_tasks(s, err);
    settings_free(settings);
    if (rc < 0) {
        osmo_spec_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

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

int osmo_spec_write_yaml(const osmo_spec_t *spec, char **yaml, osmo_error_t *err)
{
    _cleanup_json_ json_t *plain = spec_to_json(spec->spec);
    _cleanup_json_ json_t *sorted = NULL;
    _cleanup_buf_ buf_t text = BUF_INIT(YAML_TEXT_MAX);

    if (!plain || json_sort_keys(plain, &sorted) < 0 || yaml_emit(sorted, &text) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while writing the workflow");
    char *out = buf_steal(&text, NULL);
    if (!out)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while writing the workflow");
    *yaml = out;
    return 0;
}
