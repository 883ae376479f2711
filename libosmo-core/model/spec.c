/* The workflow specification: the document, its groups, names and dependencies. Entry for everybody is spec_parse();
 * tasks are read by spec_task.c, resources and labels by spec_resource.c. Pure. */
#include "model/spec.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/map.h"
#include "model/spec_internal.h"

#define AT(type, member) offsetof(type, member)

void spec_group_clear(struct spec_group *g)
{
    free(g->name);
    for (size_t i = 0; i < g->ntasks; i++)
        spec_task_clear(&g->tasks[i]);
    free(g->tasks);
    free(g->upstream);
    free(g->downstream);
    *g = (struct spec_group){ 0 };
}

static void spec_clear(struct spec *s)
{
    free(s->name);
    json_free(s->labels);
    for (size_t i = 0; i < s->ngroups; i++)
        spec_group_clear(&s->groups[i]);
    free(s->groups);
    for (size_t i = 0; i < s->nresources; i++)
        spec_resource_clear(&s->resources[i]);
    free(s->resources);
    map_free(s->by_name);
    *s = (struct spec){ 0 };
}

void spec_free(struct spec *s)
{
    if (!s)
        return;
    spec_clear(s);
    free(s);
}

size_t spec_task_count(const struct spec *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->ngroups; i++)
        n += s->groups[i].ntasks;
    return n;
}

const struct spec_resource *spec_find_resource(const struct spec *s, const char *name)
{
    return s->by_name ? map_get(s->by_name, name) : NULL;
}

/* Entries must not move from here on. */
void spec_index_resources(struct reader *r, struct spec *s)
{
    map_free(s->by_name);
    s->by_name = map_new(NULL);
    r->oom |= !s->by_name;
    for (size_t i = 0; i < s->nresources && s->by_name; i++)
        r->oom |= map_set(s->by_name, s->resources[i].name, &s->resources[i]) < 0;
}

/* ---- groups ---- */

static void read_group_tasks(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_group *g = object;
    g->tasks = read_list(r, n, at, sizeof(*g->tasks), &g->ntasks, spec_read_task);
    if (n->kind == YAML_LIST && n->len == 0)
        read_report(r, at, n, "must hold at least one task");
}

static const struct read_field group_fields[] = {
    { "name", READ_TEXT, READ_REQUIRED, AT(struct spec_group, name), NULL },
    { "barrier", READ_BOOL, 0, AT(struct spec_group, barrier), NULL },
    { "ignoreNonleadStatus", READ_BOOL, 0, AT(struct spec_group, ignore_nonlead_status), NULL },
    { "tasks", READ_CUSTOM, READ_REQUIRED, 0, read_group_tasks },
};
static const struct read_table group_table = READ_TABLE(group_fields, false);

void spec_read_group(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_group *g = object;
    size_t leads = 0;

    g->barrier = true;
    g->ignore_nonlead_status = true;
    g->line = n->line;
    g->column = n->column;
    read_mapping(r, n, at, &group_table, g);
    if (g->name && !spec_name_valid(g->name)) {
        struct read_path name = { at, "name", 0 };
        read_report(r, &name, spec_member(n, "name"), SPEC_NAME_RULE, g->name);
    }
    for (size_t i = 0; i < g->ntasks; i++)
        leads += g->tasks[i].lead;
    if (g->ntasks == 1)
        g->tasks[0].lead = true;
    else if (g->ntasks > 1 && leads != 1) {
        struct read_path tasks = { at, "tasks", 0 };
        read_report(r, &tasks, spec_member(n, "tasks"), leads ? "%zu tasks have lead: true, exactly one must" :
                    "none of %zu tasks has lead: true, exactly one must", leads ? leads : g->ntasks);
    }
}

static void name_group(struct reader *r, struct spec_group *g, const char *task)
{
    static const char suffix[] = "-group";
    size_t len = strlen(task);
    g->name = malloc(len + sizeof(suffix));
    r->oom |= !g->name;
    if (!g->name)
        return;
    memcpy(g->name, task, len);
    memcpy(g->name + len, suffix, sizeof(suffix));
}

/* Each entry of `tasks` becomes a group of its own. Moves the tasks. */
static void groups_from_tasks(struct reader *r, struct spec *s, struct spec_task *tasks, size_t n)
{
    s->groups = n ? calloc(n, sizeof(*s->groups)) : NULL;
    for (size_t i = 0; i < n; i++) {
        struct spec_group *g = s->groups ? &s->groups[i] : NULL;
        struct spec_task *task = g ? malloc(sizeof(*task)) : NULL;
        if (!task) {
            r->oom = true;
            spec_task_clear(&tasks[i]);
            continue;
        }
        *task = tasks[i];
        task->lead = true;
        *g = (struct spec_group){ .barrier = true, .ignore_nonlead_status = true, .line = task->line,
                                  .column = task->column, .tasks = task, .ntasks = 1 };
        s->ngroups = i + 1;
        if (task->name)
            name_group(r, g, task->name);
    }
}

/* ---- the document ---- */

struct raw {
    struct spec spec;
    const yaml_node_t *tasks, *groups;
};

static void keep_tasks(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    (void)r;
    (void)at;
    ((struct raw *)object)->tasks = n;
}

static void keep_groups(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    (void)r;
    (void)at;
    ((struct raw *)object)->groups = n;
}

static void read_labels(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    spec_read_labels(r, n, at, &((struct raw *)object)->spec.labels);
}

static void read_resources(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    spec_read_resources(r, n, at, &((struct raw *)object)->spec);
}

static void read_unused_text(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    _cleanup_free_ char *unused = NULL;
    (void)object;
    read_text(r, n, at, false, &unused);
}

static const struct read_field timeout_fields[] = {
    { "exec_timeout", READ_DURATION, READ_NULLABLE, AT(struct spec, given_exec_us), NULL },
    { "queue_timeout", READ_DURATION, READ_NULLABLE, AT(struct spec, given_queue_us), NULL },
};
static const struct read_table timeout_table = READ_TABLE(timeout_fields, false);

static void read_timeout(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec *s = &((struct raw *)object)->spec;
    s->has_timeout = true;
    read_mapping(r, n, at, &timeout_table, s);
    s->exec_timeout_us = s->given_exec_us;
    s->queue_timeout_us = s->given_queue_us;
}

static const struct read_field workflow_fields[] = {
    { "name", READ_TEXT, READ_REQUIRED, AT(struct raw, spec.name), NULL },
    { "labels", READ_CUSTOM, 0, 0, read_labels },
    { "pool", READ_CUSTOM, 0, 0, read_unused_text },    /* the pool of the request counts */
    { "backend", READ_CUSTOM, 0, 0, read_unused_text }, /* and its backend */
    { "tasks", READ_CUSTOM, 0, 0, keep_tasks },
    { "groups", READ_CUSTOM, 0, 0, keep_groups },
    { "resources", READ_CUSTOM, 0, 0, read_resources },
    { "timeout", READ_CUSTOM, 0, 0, read_timeout },
};
static const struct read_table workflow_table = READ_TABLE(workflow_fields, false);

static void read_groups(struct reader *r, struct raw *raw, const yaml_node_t *workflow, const struct read_path *at)
{
    struct read_path tasks_at = { at, "tasks", 0 }, groups_at = { at, "groups", 0 };
    const yaml_node_t *tasks = raw->tasks, *groups = raw->groups;
    bool has_tasks = tasks && (tasks->kind != YAML_LIST || tasks->len > 0);
    bool has_groups = groups && (groups->kind != YAML_LIST || groups->len > 0);

    if (has_tasks && has_groups && tasks->kind == YAML_LIST && groups->kind == YAML_LIST)
        read_report(r, at, groups, "has both tasks and groups: move the tasks into groups, or drop one of the two");
    if (!has_tasks && !has_groups)
        read_report(r, at, workflow, "needs tasks or groups with at least one entry");
    raw->spec.implicit_groups = has_tasks;
    if (has_tasks && has_groups && groups->kind != YAML_LIST) {
        size_t none; /* only to say that it is no list */
        free(read_list(r, groups, &groups_at, sizeof(*raw->spec.groups), &none, spec_read_group));
    }
    if (has_tasks) {
        size_t n;
        struct spec_task *list = read_list(r, tasks, &tasks_at, sizeof(*list), &n, spec_read_task);
        groups_from_tasks(r, &raw->spec, list, n);
        free(list);
    } else if (has_groups) {
        raw->spec.groups = read_list(r, groups, &groups_at, sizeof(*raw->spec.groups), &raw->spec.ngroups,
            spec_read_group);
    }
}

/* Only when the document says nothing: an empty mapping is one without a default. */
static void add_default_resource(struct reader *r, struct spec *s)
{
    s->resources = calloc(1, sizeof(*s->resources));
    if (s->resources)
        s->resources[0].name = str_dup("default");
    if (!s->resources || !s->resources[0].name) {
        r->oom = true;
        return;
    }
    s->nresources = 1;
}

/* ---- names ---- */

struct names {
    struct reader *r;
    map_t *seen;               /* canonical name → spelling first used */
};

static void add_name(struct names *names, const struct read_path *at, const char *name, int line, int column)
{
    char small[256];
    size_t len = strlen(name);
    _cleanup_free_ char *large = len < sizeof(small) ? NULL : malloc(len + 1);
    char *key = len < sizeof(small) ? small : large;
    yaml_node_t place = { .line = line, .column = column };
    struct read_path member = { at, "name", 0 };

    if (!key) {
        names->r->oom = true;
        return;
    }
    for (size_t i = 0; i <= len; i++)
        key[i] = name[i] == '_' ? '-' : (name[i] >= 'A' && name[i] <= 'Z') ? (char)(name[i] - 'A' + 'a') : name[i];
    const char *other = map_get(names->seen, key);
    if (other)
        read_report(names->r, &member, &place, "'%.80s' collides with the name '%.80s': task and group names must "
                    "differ in more than case and '_' or '-'", name, other);
    else if (map_set(names->seen, key, (void *)(uintptr_t)name) < 0)
        names->r->oom = true;
}

/* Names the user wrote. */
static void check_names(struct names *names, const struct spec *s, const struct read_path *at)
{
    struct read_path list = { at, s->implicit_groups ? "tasks" : "groups", 0 };

    for (size_t i = 0; i < s->ngroups && names->seen; i++) {
        const struct spec_group *g = &s->groups[i];
        struct read_path group = { &list, NULL, i }, tasks = { &group, "tasks", 0 };
        if (g->name && !s->implicit_groups)
            add_name(names, &group, g->name, g->line, g->column);
        for (size_t k = 0; k < g->ntasks; k++) {
            struct read_path task = { &tasks, NULL, k };
            if (g->tasks[k].name)
                add_name(names, s->implicit_groups ? &group : &task, g->tasks[k].name, g->tasks[k].line,
                         g->tasks[k].column);
        }
    }
}

/* Names of implicit groups among them, which upstream only sees after the schema. */
static void check_implicit_names(struct names *names, const struct spec *s, const struct read_path *at)
{
    struct read_path list = { at, "tasks", 0 };
    for (size_t i = 0; i < s->ngroups && names->seen; i++) {
        struct read_path group = { &list, NULL, i };
        add_name(names, &group, s->groups[i].name, s->groups[i].line, s->groups[i].column);
    }
}

static void read_document(struct reader *r, const yaml_node_t *workflow, const struct read_path *at, struct raw *raw,
                          struct names *names)
{
    read_mapping(r, workflow, at, &workflow_table, raw);
    if (workflow->kind != YAML_MAP)
        return;
    read_groups(r, raw, workflow, at);
    if (!yaml_get(workflow, "resources"))
        add_default_resource(r, &raw->spec);
    if (raw->spec.name && !spec_name_valid(raw->spec.name)) {
        struct read_path name = { at, "name", 0 };
        read_report(r, &name, spec_member(workflow, "name"), SPEC_NAME_RULE, raw->spec.name);
    }
    check_names(names, &raw->spec, at);
}

int spec_read(const yaml_node_t *workflow, struct spec **out, bool *schema_failed, struct spec_findings *f)
{
    struct raw raw = { 0 };
    struct read_path at = { NULL, "workflow", 0 };
    struct spec *s = NULL;
    struct reader r;

    reader_init_to(&r, OSMO_EUSAGE, f);
    struct names names = { &r, map_new(NULL) };
    r.oom |= !names.seen;
    read_document(&r, workflow, &at, &raw, &names);
    bool schema = f->total > 0;
    if (!schema && !r.oom) {
        spec_index_resources(&r, &raw.spec);
        if (raw.spec.implicit_groups)
            check_implicit_names(&names, &raw.spec, &at);
        if (f->total == 0 && !r.oom)
            spec_link_groups(&r, &raw.spec, &at);
    }
    map_free(names.seen);
    if (schema_failed)
        *schema_failed = schema;
    f->oom |= r.oom;
    if (f->total == 0 && !f->oom) {
        s = malloc(sizeof(*s));
        f->oom |= !s;
    }
    if (!s) {
        spec_clear(&raw.spec);
        return f->oom ? OSMO_ENOMEM : f->code;
    }
    *s = raw.spec;
    *out = s;
    return 0;
}

int spec_parse(const yaml_node_t *workflow, const struct settings *limits, struct spec **out, osmo_error_t *err)
{
    _cleanup_findings_ struct spec_findings f = SPEC_FINDINGS_INIT;
    struct spec *s = NULL;
    int rc = spec_read(workflow, &s, NULL, &f);

    if (rc == 0 && limits)
        rc = spec_check_count(s, limits, &f);
    if (rc == 0 && limits)
        rc = spec_check_names(s, limits, &f);
    if (rc == 0) {
        *out = s;
        return 0;
    }
    spec_free(s);
    return spec_findings_result(&f, "the workflow", err);
}
