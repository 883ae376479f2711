/* A specification against limits and against its pool, stage by stage as OSMO 6.4 does, each with all its findings.
 * Called by spec.c, spec_resolve.c, validate.c and submission. Pure. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/map.h"
#include "model/spec_internal.h"

/* ---- places ---- */

char *spec_task_path(const struct spec *s, size_t group, size_t task)
{
    return s->implicit_groups ? str_printf("workflow.tasks.%zu", group)
                              : str_printf("workflow.groups.%zu.tasks.%zu", group, task);
}

static void report_at(struct spec_findings *f, int code, char *path, int line, int column, const char *format,
                      va_list args) __attribute__((format(printf, 6, 0)));
/* Takes path. */
static void report_at(struct spec_findings *f, int code, char *path, int line, int column, const char *format,
                      va_list args)
{
    f->oom |= !path;
    spec_findings_addv(f, code, false, path, line, column, format, args);
    free(path);
}

void spec_report_task(struct spec_findings *f, int code, const struct spec *s, size_t group, size_t task,
                      const char *format, ...)
{
    const struct spec_task *t = &s->groups[group].tasks[task];
    va_list args;
    va_start(args, format);
    report_at(f, code, spec_task_path(s, group, task), t->line, t->column, format, args);
    va_end(args);
}

/* ---- limits ---- */

int spec_check_count(const struct spec *s, const struct settings *limits, struct spec_findings *f)
{
    size_t n = spec_task_count(s);
    if ((int64_t)n > limits->max_num_tasks)
        spec_findings_add(f, OSMO_EUSER, "workflow", 0, 0, "the workflow has %zu tasks, at most %lld are allowed: "
                          "split it, or ask an administrator to raise workflow.max_num_tasks", n,
                              (long long)limits->max_num_tasks);
    return spec_findings_code(f);
}

static void check_length(struct spec_findings *f, const char *name, int64_t most, const char *what, char *path,
                         int line,
                         int column)
{
    _cleanup_free_ char *own = path;
    if ((int64_t)strlen(name) > most)
        spec_findings_add(f, OSMO_EUSER, own, line, column, "'%.80s' has %zu characters, at most %lld are "
                          "allowed%s", name,
                          strlen(name), (long long)most, what);
}

int spec_check_names(const struct spec *s, const struct settings *limits, struct spec_findings *f)
{
    int64_t most = limits->max_name_length;

    if ((int64_t)strlen(s->name) > most)
        check_length(f, s->name, most, "", str_dup("workflow.name"), 0, 0);
    for (size_t i = 0; i < s->ngroups; i++) {
        const struct spec_group *g = &s->groups[i];
        if (!s->implicit_groups && (int64_t)strlen(g->name) > most)
            check_length(f, g->name, most, "", str_printf("workflow.groups.%zu.name", i), g->line, g->column);
        for (size_t k = 0; k < g->ntasks; k++) {
            const struct spec_task *t = &g->tasks[k];
            if (s->implicit_groups && (int64_t)strlen(t->name) > most - 6)
                check_length(f, t->name, most - 6, " under tasks, because its group is called <task>-group",
                             str_printf("workflow.tasks.%zu.name", i), t->line, t->column);
            else if ((int64_t)strlen(t->name) > most)
                check_length(f, t->name, most, "", str_printf("workflow.groups.%zu.tasks.%zu.name", i, k), t->line,
                             t->column);
        }
    }
    return spec_findings_code(f);
}

/* ---- platforms ---- */

/* `src` or `src:dst`. */
static void check_mount(struct spec_findings *f, const struct spec *s, size_t group, size_t task, const char *mount,
                        const struct platform *p)
{
    const struct spec_task *t = &s->groups[group].tasks[task];
    const char *colon = strchr(mount, ':');
    if (colon && (colon[1] == '\0' || strchr(colon + 1, ':'))) {
        spec_report_task(f, OSMO_ERESOURCE, s, group, task, "task '%.80s': volumeMounts item '%.200s' must be SOURCE "
                         "or SOURCE:DESTINATION", t->name, mount);
        return;
    }
    _cleanup_free_ char *src = colon ? strndup(mount, (size_t)(colon - mount)) : strdup(mount);
    f->oom |= !src;
    if (!src || strlist_has(&p->allowed_mounts, src))
        return;
    if (strlist_has(&p->default_mounts, src))
        spec_report_task(f, OSMO_ERESOURCE, s, group, task, "task '%.80s': '%.200s' is already mounted on platform "
                         "'%.80s': remove it from volumeMounts", t->name, src, p->name);
    else
        spec_report_task(f, OSMO_ERESOURCE, s, group, task, "task '%.80s' may not mount '%.200s' on platform "
                         "'%.80s': an administrator can add it to allowed_mounts", t->name, src, p->name);
}

/* A percentage of the storage, as float() reads it, or a size. */
static bool cache_size_valid(const char *text)
{
    size_t len = strlen(text);
    double value;
    char *end;

    if (len == 0 || text[len - 1] != '%')
        return quantity_bytes(text, &value);
    if (strspn(text, "0123456789.eE+- \t") != len - 1)
        return false;
    value = strtod(text, &end);
    end += strspn(end, " \t");
    return end == text + len - 1 && end > text && floor(value) >= 0 && floor(value) <= 100;
}

void spec_check_task_platform(struct spec_findings *f, const struct spec *s, size_t group, size_t task,
                              const struct spec_resource *x, const struct pool *pool, const struct platform *p)
{
    const struct spec_task *t = &s->groups[group].tasks[task];

    if (!p) {
        _cleanup_buf_ buf_t known = BUF_INIT(1200);
        for (size_t i = 0; i < pool->nplatforms && known.len < 300; i++)
            buf_printf(&known, "%s%.80s", i ? ", " : "", pool->platforms[i].name);
        spec_report_task(f, OSMO_ERESOURCE, s, group, task, "task '%.80s' asks for platform '%.80s', which pool "
                         "'%.80s' does not have (it has: %s)", t->name, x->platform, pool->name, buf_cstr(&known));
        return;
    }
    if (t->privileged && !p->privileged_allowed)
        spec_report_task(f, OSMO_ERESOURCE, s, group, task, "task '%.80s' may not be privileged on platform '%.80s': "
                         "drop privileged, or choose a platform that allows it", t->name, p->name);
    if (t->host_network && !p->host_network_allowed)
        spec_report_task(f, OSMO_ERESOURCE, s, group, task, "task '%.80s' may not use hostNetwork on platform '%.80s': "
                         "drop it, or choose a platform that allows it", t->name, p->name);
    for (size_t i = 0; i < t->volume_mounts.len; i++)
        check_mount(f, s, group, task, t->volume_mounts.items[i], p);
    if (t->cache_size && !cache_size_valid(t->cache_size))
        spec_report_task(f, OSMO_ERESOURCE, s, group, task, "task '%.80s': cacheSize '%.60s' is neither a percentage "
                         "from 0%% to 100%% nor a size such as 8Gi", t->name, t->cache_size);
}

/* ---- topology ---- */

static bool same_keys(const struct spec_resource *a, const struct spec_resource *b)
{
    for (size_t i = 0; i < a->ntopology; i++) {
        bool found = false;
        for (size_t k = 0; k < b->ntopology && !found; k++)
            found = strcmp(a->topology[i].key, b->topology[k].key) == 0;
        if (!found)
            return false;
    }
    return true;
}

void spec_check_topology_sets(struct spec_findings *f, const struct spec *s)
{
    const struct spec_resource *first = NULL;
    _cleanup_free_ bool *seen = calloc(s->nresources + 1, sizeof(*seen));

    f->oom |= !seen;
    for (size_t i = 0; seen && i < s->ngroups; i++) {
        for (size_t k = 0; k < s->groups[i].ntasks; k++) {
            const struct spec_resource *x = spec_find_resource(s, s->groups[i].tasks[k].resource);
            if (!x || x->ntopology == 0 || seen[x - s->resources])
                continue;
            seen[x - s->resources] = true;
            if (!first)
                first = x;
            else if (!same_keys(first, x) || !same_keys(x, first))
                spec_report_task(f, OSMO_ERESOURCE, s, i, k, "resources '%.80s' and '%.80s' use different topology "
                                 "keys: all tasks of a workflow that state a topology must use the same keys",
                                     first->name,
                                 x->name);
        }
    }
}

int spec_check_platforms(const struct spec *s, const struct pool *pool, struct spec_findings *f)
{
    spec_check_topology_sets(f, s);
    for (size_t i = 0; i < s->ngroups; i++)
        for (size_t k = 0; k < s->groups[i].ntasks; k++) {
            const struct spec_resource *x = spec_find_resource(s, s->groups[i].tasks[k].resource);
            if (x)
                spec_check_task_platform(f, s, i, k, x, pool, pool_platform(pool, x->platform));
        }
    return spec_findings_code(f);
}

/* ---- quotas ---- */

int spec_check_guarantee(const struct spec *s, const struct pool *pool, const char *priority, struct spec_findings *f)
{
    if (pool->gpu_guarantee < 0 || str_eq(priority, "LOW"))
        return spec_findings_code(f);
    for (size_t i = 0; i < s->ngroups; i++) {
        const struct spec_group *g = &s->groups[i];
        int64_t gpus = 0;
        for (size_t k = 0; k < g->ntasks; k++) {
            const struct spec_resource *x = spec_find_resource(s, g->tasks[k].resource);
            if (x && x->has_gpu && __builtin_add_overflow(gpus, x->gpu, &gpus))
                gpus = INT64_MAX;
        }
        if (gpus > pool->gpu_guarantee)
            spec_findings_add(f, OSMO_EUSAGE, "workflow", g->line, g->column, "group '%.80s' asks for %lld GPUs, pool "
                              "'%.80s' guarantees %lld: submit with priority LOW, or ask for fewer", g->name,
                              (long long)gpus, pool->name, (long long)pool->gpu_guarantee);
    }
    return spec_findings_code(f);
}

/* ---- addresses ---- */

int spec_check_addresses(const struct spec *s, struct spec_findings *f)
{
    for (size_t i = 0; i < s->ngroups; i++) {
        for (size_t k = 0; k < s->groups[i].ntasks; k++) {
            const struct spec_task *t = &s->groups[i].tasks[k];
            if (!spec_image_valid(t->image))
                spec_report_task(f, OSMO_EUSAGE, s, i, k, "task '%.80s': '%.200s' is no image reference "
                                 "([host[:port]/]name[:tag][@digest], the name in lower case)", t->name, t->image);
            for (size_t m = 0; m < t->ninputs; m++)
                if (t->inputs[m].url && !spec_url_valid(t->inputs[m].url))
                    spec_report_task(f, OSMO_EUSAGE, s, i, k, "task '%.80s', input %zu: " SPEC_URL_RULE, t->name, m,
                                     t->inputs[m].url);
            for (size_t m = 0; m < t->noutputs; m++)
                if (!spec_url_valid(t->outputs[m].url))
                    spec_report_task(f, OSMO_EUSAGE, s, i, k, "task '%.80s', output %zu: " SPEC_URL_RULE, t->name, m,
                                     t->outputs[m].url);
        }
    }
    return spec_findings_code(f);
}
