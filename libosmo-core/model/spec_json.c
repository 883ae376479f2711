/* JSON forms of a specification: the normalised document and the stored group. What equals its default is left out.
 * Reading back goes through the same tables as a submission. Pure. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/spec_internal.h"

/* A builder whose first failure sticks, so that a sequence is checked once. */
struct out { json_t *v; bool failed; };

static void put(struct out *o, const char *key, json_t *v)
{
    if (!o->v || !v) {
        json_free(v);
        o->failed = true;
        return;
    }
    o->failed |= json_set(o->v, key, v) < 0;
}

static void put_text(struct out *o, const char *key, const char *text)
{
    if (text)
        put(o, key, json_string(text));
}

static void put_some(struct out *o, const char *key, const char *text)
{
    if (text && *text)
        put(o, key, json_string(text));
}

static void put_true(struct out *o, const char *key, bool value)
{
    if (value)
        put(o, key, json_bool_new(true));
}

static void put_texts(struct out *o, const char *key, const strlist_t *list, bool always)
{
    if (list->len == 0 && !always)
        return;
    json_t *array = json_array();
    for (size_t i = 0; i < list->len && array; i++)
        o->failed |= json_add_str(array, list->items[i]) < 0;
    put(o, key, array);
}

/* Adds the finished item to the array. */
static void add_item(struct out *o, json_t *array, struct out *item)
{
    if (item->failed || !array) {
        json_free(item->v);
        o->failed = true;
        return;
    }
    o->failed |= json_add(array, item->v) < 0;
}

static void put_inputs(struct out *o, const struct spec_task *t)
{
    json_t *array = t->ninputs ? json_array() : NULL;
    for (size_t i = 0; i < t->ninputs; i++) {
        const struct spec_input *in = &t->inputs[i];
        struct out item = { json_object(), false };
        _cleanup_free_ char *task = in->workflow ? str_printf("%s:%s", in->workflow, in->task) : str_dup(in->task);
        item.failed |= in->task && !task;
        put_text(&item, "task", task);
        put_text(&item, "url", in->url);
        put_some(&item, "regex", in->regex);
        add_item(o, array, &item);
    }
    if (t->ninputs)
        put(o, "inputs", array);
}

static void put_outputs(struct out *o, const struct spec_task *t)
{
    json_t *array = t->noutputs ? json_array() : NULL;
    for (size_t i = 0; i < t->noutputs; i++) {
        struct out item = { json_object(), false };
        put_text(&item, "url", t->outputs[i].url);
        put_some(&item, "regex", t->outputs[i].regex);
        add_item(o, array, &item);
    }
    if (t->noutputs)
        put(o, "outputs", array);
    array = t->nkpis ? json_array() : NULL;
    for (size_t i = 0; i < t->nkpis; i++) {
        struct out item = { json_object(), false };
        put_text(&item, "index", t->kpis[i].index);
        put_text(&item, "path", t->kpis[i].path);
        add_item(o, array, &item);
    }
    if (t->nkpis)
        put(o, "kpis", array);
}

static void put_files(struct out *o, const struct spec_task *t)
{
    json_t *array = t->nfiles ? json_array() : NULL;
    for (size_t i = 0; i < t->nfiles; i++) {
        struct out item = { json_object(), false };
        put_text(&item, "path", t->files[i].path);
        put_text(&item, "contents", t->files[i].contents);
        put_true(&item, "base64", t->files[i].base64);
        add_item(o, array, &item);
    }
    if (t->nfiles)
        put(o, "files", array);
}

static void put_checkpoints(struct out *o, const struct spec_task *t)
{
    json_t *array = t->ncheckpoints ? json_array() : NULL;
    for (size_t i = 0; i < t->ncheckpoints; i++) {
        const struct spec_checkpoint *c = &t->checkpoints[i];
        struct out item = { json_object(), false };
        char text[32];
        put_text(&item, "path", c->path);
        put_text(&item, "url", c->url);
        put_text(&item, "frequency", duration_text(c->frequency_us, text));
        put_some(&item, "regex", c->regex);
        add_item(o, array, &item);
    }
    if (t->ncheckpoints)
        put(o, "checkpoint", array);
}

static void put_maps(struct out *o, const struct spec_task *t)
{
    struct out env = { t->nenv ? json_object() : NULL, false };
    struct out actions = { t->nexit_actions ? json_object() : NULL, false };

    for (size_t i = 0; i < t->nenv; i++)
        put_text(&env, t->env[i].name, t->env[i].value);
    if (t->nenv)
        put(o, "environment", env.v);
    for (size_t i = 0; i < t->nexit_actions; i++)
        put_text(&actions, t->exit_actions[i].action, t->exit_actions[i].codes);
    if (t->nexit_actions)
        put(o, "exitActions", actions.v);
    if (t->credentials && json_len(t->credentials) > 0)
        put(o, "credentials", json_copy(t->credentials));
    o->failed |= env.failed || actions.failed;
}

json_t *spec_task_to_json(const struct spec_task *t)
{
    struct out o = { json_object(), false };

    put_text(&o, "name", t->name);
    put_text(&o, "image", t->image);
    put_texts(&o, "command", &t->command, true);
    put_texts(&o, "args", &t->args, false);
    put_maps(&o, t);
    put_files(&o, t);
    put_inputs(&o, t);
    put_outputs(&o, t);
    put_checkpoints(&o, t);
    if (t->resource && strcmp(t->resource, "default") != 0)
        put_text(&o, "resource", t->resource);
    put_true(&o, "lead", t->lead);
    put_texts(&o, "volumeMounts", &t->volume_mounts, false);
    put_true(&o, "privileged", t->privileged);
    put_true(&o, "hostNetwork", t->host_network);
    put_text(&o, "downloadType", t->download_type);
    put_text(&o, "cacheSize", t->cache_size);
    if (!o.failed)
        return o.v;
    json_free(o.v);
    return NULL;
}

static json_t *resource_to_json(const struct spec_resource *x)
{
    struct out o = { json_object(), false };
    json_t *topology = x->ntopology ? json_array() : NULL;

    if (x->has_cpu)
        put(&o, "cpu", json_int(x->cpu));
    if (x->has_gpu)
        put(&o, "gpu", json_int(x->gpu));
    put_text(&o, "memory", x->memory);
    put_text(&o, "storage", x->storage);
    put_text(&o, "platform", x->platform);
    put_texts(&o, "nodesExcluded", &x->nodes_excluded, false);
    for (size_t i = 0; i < x->ntopology; i++) {
        struct out item = { json_object(), false };
        put_text(&item, "key", x->topology[i].key);
        if (strcmp(x->topology[i].group, "default") != 0)
            put_text(&item, "group", x->topology[i].group);
        if (x->topology[i].preferred)
            put_text(&item, "requirementType", "preferred");
        add_item(&o, topology, &item);
    }
    if (x->ntopology)
        put(&o, "topology", topology);
    if (!o.failed)
        return o.v;
    json_free(o.v);
    return NULL;
}

static json_t *tasks_to_json(const struct spec_group *g)
{
    json_t *tasks = json_array();
    for (size_t i = 0; i < g->ntasks; i++) {
        json_t *task = spec_task_to_json(&g->tasks[i]);
        if (!task || json_add(tasks, task) < 0) { /* takes the task, also when there is no list */
            json_free(tasks);
            return NULL;
        }
    }
    return tasks;
}

static void put_groups(struct out *o, const struct spec *s)
{
    json_t *groups = json_array();
    for (size_t i = 0; i < s->ngroups; i++) {
        const struct spec_group *g = &s->groups[i];
        struct out item = { json_object(), false };
        put_text(&item, "name", g->name);
        if (!g->barrier)
            put(&item, "barrier", json_bool_new(false));
        if (!g->ignore_nonlead_status)
            put(&item, "ignoreNonleadStatus", json_bool_new(false));
        put(&item, "tasks", tasks_to_json(g));
        add_item(o, groups, &item);
    }
    put(o, "groups", groups);
}

static void put_timeout(struct out *o, const struct spec *s)
{
    struct out timeout = { json_object(), false };
    char text[32];
    const struct { const char *key; int64_t us; } members[] = {
        { "exec_timeout", s->given_exec_us }, { "queue_timeout", s->given_queue_us },
    };
    for (size_t i = 0; i < ARRAY_SIZE(members) && timeout.v; i++)
        o->failed |= json_set_str(timeout.v, members[i].key, members[i].us ? duration_text(members[i].us,
            text) : NULL) < 0;
    put(o, "timeout", timeout.v);
}

json_t *spec_to_json(const struct spec *s)
{
    struct out root = { json_object(), false }, workflow = { json_object(), false };
    struct out resources = { json_object(), false };

    put_text(&workflow, "name", s->name);
    put_groups(&workflow, s);
    for (size_t i = 0; i < s->nresources; i++)
        put(&resources, s->resources[i].name, resource_to_json(&s->resources[i]));
    put(&workflow, "resources", resources.v);
    if (s->has_timeout)
        put_timeout(&workflow, s);
    if (s->labels && json_len(s->labels) > 0)
        put(&workflow, "labels", json_copy(s->labels));
    put(&root, "version", json_int(2));
    put(&root, "workflow", workflow.v);
    if (!root.failed && !workflow.failed && !resources.failed)
        return root.v;
    json_free(root.v);
    return NULL;
}

json_t *spec_group_to_json(const struct spec *s, size_t group)
{
    const struct spec_group *g = &s->groups[group];
    struct out o = { json_object(), false }, resources = { json_object(), false };

    put_text(&o, "name", g->name);
    put(&o, "barrier", json_bool_new(g->barrier));
    put(&o, "ignoreNonleadStatus", json_bool_new(g->ignore_nonlead_status));
    put(&o, "tasks", tasks_to_json(g));
    for (size_t i = 0; i < g->ntasks; i++) {
        const struct spec_resource *x = json_has(resources.v, g->tasks[i].resource) ? NULL :
                                        spec_find_resource(s, g->tasks[i].resource);
        if (x)
            put(&resources, x->name, resource_to_json(x));
    }
    put(&o, "resources", resources.v);
    put(&o, "hasDownstream", json_bool_new(g->has_downstream));
    if (!o.failed && !resources.failed)
        return o.v;
    json_free(o.v);
    return NULL;
}

int spec_task_from_json(const json_t *task, struct spec_task *out, osmo_error_t *err)
{
    yaml_node_t *tree __attribute__((cleanup(yaml_from_json_freep))) = NULL;
    struct read_path at = { NULL, "task", 0 };
    struct reader r;

    if (yaml_from_json(task, &tree) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *out = (struct spec_task){ 0 };
    reader_init(&r, OSMO_EUSAGE);
    spec_read_task(&r, tree, &at, out);
    int rc = reader_result(&r, "the task", err);
    reader_clear(&r);
    if (rc < 0)
        spec_task_clear(out);
    return rc;
}

/* The group's own keys and the two that only the stored form has. */
static void read_stored(struct reader *r, const json_t *group, yaml_node_t *tree, struct spec *s)
{
    struct read_path at = { NULL, "group", 0 }, resources = { &at, "resources", 0 };
    const yaml_node_t *x = yaml_get(tree, "resources");

    s->groups = calloc(1, sizeof(*s->groups));
    if (!s->groups) {
        r->oom = true;
        return;
    }
    s->ngroups = 1;
    if (x)
        spec_read_resources(r, x, &resources, s);
    /* Whatever order the store keeps keys in: the ones a submitted group may have go to the front. */
    yaml_node_t own = { .kind = YAML_MAP, .keys = tree->keys, .values = tree->values };
    for (size_t i = 0; i < tree->len; i++) {
        if (str_eq(tree->keys[i]->text, "resources") || str_eq(tree->keys[i]->text, "hasDownstream"))
            continue;
        yaml_node_t *key = tree->keys[i], *value = tree->values[i];
        tree->keys[i] = tree->keys[own.len];
        tree->values[i] = tree->values[own.len];
        tree->keys[own.len] = key;
        tree->values[own.len++] = value;
    }
    spec_read_group(r, &own, &at, &s->groups[0]);
    s->groups[0].has_downstream = json_get_bool(group, "hasDownstream", false);
}

int spec_group_from_json(const json_t *group, struct spec **out, osmo_error_t *err)
{
    yaml_node_t *tree __attribute__((cleanup(yaml_from_json_freep))) = NULL;
    struct reader r;

    if (json_kind(group) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EINVAL, "a stored group must be an object");
    struct spec *s = calloc(1, sizeof(*s));
    if (!s || yaml_from_json(group, &tree) < 0) {
        free(s);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    reader_init(&r, OSMO_EINVAL);
    read_stored(&r, group, tree, s);
    spec_index_resources(&r, s);
    int rc = reader_result(&r, "the stored group", err);
    reader_clear(&r);
    if (rc < 0) {
        spec_free(s);
        return rc;
    }
    *out = s;
    return 0;
}
