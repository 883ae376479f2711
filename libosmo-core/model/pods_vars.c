/* Variables that pod templates and group templates see. Called by pods.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/pods_internal.h"

/* A value the user gave beats the default variable of that name; none leaves the default, or null. */
static void put_value(struct pod_build *b, json_t *vars, const char *name, json_t *v)
{
    if (v)
        pods_put(b, vars, name, v);
    else if (!json_has(vars, name))
        b->oom |= json_set(vars, name, NULL) < 0;
}

static void put_number(struct pod_build *b, json_t *vars, const char *name, bool set, double value)
{
    put_value(b, vars, name, set ? json_double(value) : NULL);
}

/* USER_MEMORY, its number and unit, and its value in every unit. */
static void put_quantity(struct pod_build *b, json_t *vars, const char *name, const char *text)
{
    static const struct { const char *unit; double bytes; } units[] = {
        { "Ti", 1099511627776.0 }, { "Gi", 1073741824.0 }, { "Mi", 1048576.0 }, { "Ki", 1024.0 }, { "B", 1.0 },
        { "m", 1.0 / 1024 },
    };
    double bytes = 0;
    bool set = text && quantity_bytes(text, &bytes);
    size_t digits = text ? strspn(text, "0123456789.") : 0;
    char key[64];

    put_value(b, vars, name, text ? json_string(text) : NULL);
    snprintf(key, sizeof(key), "%s_VAL", name);
    put_value(b, vars, key, text ? json_string_n(text, digits) : NULL);
    snprintf(key, sizeof(key), "%s_UNIT", name);
    put_value(b, vars, key, text ? json_string(text + digits) : NULL);
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        snprintf(key, sizeof(key), "%s_%s", name, units[i].unit);
        put_number(b, vars, key, set, bytes / units[i].bytes);
    }
}

/* A share of the storage that was asked for, in whole percent (nine tenths unless stated), or the size as written.
 * Without storage the share is "0None", as OSMO prints it. */
static char *cache_size(const char *cache, const char *storage)
{
    size_t digits = storage ? strspn(storage, "0123456789.") : 0, len = cache ? strlen(cache) : 0;
    double amount = storage ? strtod(storage, NULL) : 0, bytes;
    char number[32];

    if (!len)
        return str_printf("%.0f%s", floor(amount * 0.9), storage ? storage + digits : "MiB");
    if (cache[len - 1] == '%')
        return str_printf("%.0f%s", floor(amount * (floor(strtod(cache, NULL)) / 100)),
                          storage ? storage + digits : "None");
    if (quantity_bytes(cache, &bytes) && cache[len - 1] >= '0' && cache[len - 1] <= '9')
        return str_printf("%sKi", double_repr(bytes / 1024, number));
    return str_dup(cache);
}

static void put_excluded(struct pod_build *b, json_t *vars, const struct spec_resource *x)
{
    _cleanup_buf_ buf_t text = BUF_INIT(1u << 20);
    buf_puts(&text, "ARRAY:[");
    for (size_t i = 0; x && i < x->nodes_excluded.len; i++)
        buf_printf(&text, "%s%s", i ? "," : "", x->nodes_excluded.items[i]);
    buf_puts(&text, "]");
    b->oom |= buf_failed(&text);
    pods_put_text(b, vars, "USER_EXCLUDED_NODES", buf_cstr(&text));
}

static void put_workflow(struct pod_build *b, json_t *vars)
{
    static const struct { const char *label, *name; } names[] = {
        { "osmo.workflow_id", "WF_ID" }, { "osmo.workflow_uuid", "WF_UUID" }, { "osmo.group_name", "WF_GROUP_NAME" },
        { "osmo.group_uuid", "WF_GROUP_UUID" }, { "osmo.submitted_by", "WF_SUBMITTED_BY" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *value = json_get_str(b->labels, names[i].label);
        if (value)
            pods_put_text(b, vars, names[i].name, value);
    }
    pods_put_text(b, vars, "WF_POOL", b->c->pool->name);
}

json_t *pods_group_variables(struct pod_build *b)
{
    json_t *vars = pods_object(b);
    put_workflow(b, vars);
    return vars;
}

json_t *pods_task_variables(struct pod_build *b, const struct pod_task *t)
{
    const struct spec_resource *x = t->resource;
    json_t *vars = NULL;
    char name[64], task[64], retry[24];
    _cleanup_free_ char *cache = cache_size(t->spec.cache_size, x ? x->storage : NULL);

    if (t->shared)
        b->oom |= !(vars = json_copy(t->shared->variables));
    else if (!t->platform || !t->platform->variables_json)
        vars = pods_object(b);
    else /* written by ourselves: only memory can be short */
        b->oom |= json_parse(t->platform->variables_json, strlen(t->platform->variables_json), &vars, NULL) < 0;
    put_number(b, vars, "USER_CPU", x && x->has_cpu && x->cpu, x ? (double)x->cpu : 0);
    put_value(b, vars, "USER_GPU", x && x->has_gpu && x->gpu ? json_int(x->gpu) : NULL);
    put_quantity(b, vars, "USER_MEMORY", x ? x->memory : NULL);
    put_quantity(b, vars, "USER_STORAGE", x ? x->storage : NULL);
    put_excluded(b, vars, x);
    pods_put_text(b, vars, "USER_CACHE", cache);
    kube_name(t->spec.name, name);
    pods_put_text(b, vars, "USER_CONTAINER_NAME", name);
    put_workflow(b, vars);
    pods_label_text(t->spec.name, task);
    pods_put_text(b, vars, "WF_TASK_NAME", task);
    pods_put_text(b, vars, "WF_TASK_UUID", t->ids->uuid);
    snprintf(retry, sizeof(retry), "%lld", (long long)t->ids->retry_id);
    pods_put_text(b, vars, "WF_RETRY_ID", retry);
    pods_put_text(b, vars, "WF_PLATFORM", t->platform ? t->platform->name : "");
    pods_put_text(b, vars, "WF_PRIORITY", pods_priority(b));
    if (t->spec.lead)
        pods_put_text(b, vars, "WF_LEAD_CONTAINER", "true");
    return vars;
}
