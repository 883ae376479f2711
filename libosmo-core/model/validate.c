/* See validate.h. Called by submission. Every distinct request is evaluated once, and every distinct size of node. */
#include "model/validate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "model/node_match.h"
#include "model/pods_internal.h"
#include "model/template.h"

#define OPERAND_MAX 4096
#define KI 1024.0
#define GI 1073741824.0

/* What osmo-ctrl takes on a node when the platform's template does not say. */
static const struct validate_node ctrl_default = { NULL, 0.25, 0, GI, 3 * GI };
#define CTRL_STORAGE_UNSTATED GI /* an existing block of requests without storage */

struct rule { const char *op, *left, *right, *message; bool node; };
struct checks {
    struct rule *rules;
    size_t nrules;
    json_t *list;                  /* owns the texts */
    struct validate_node ctrl;
    struct validate_node *nodes;   /* distinct sizes, the share of osmo-ctrl taken off */
    size_t nnodes;
    size_t given;
    bool by_name;                  /* some rule looks at more than the amounts */
};
struct value { bool number; double n; char *text; };

/* ---- rules ---- */

static bool names_node(const char *text)
{
    static const char *const names[] = { "K8_CPU", "K8_GPU", "K8_MEMORY", "K8_STORAGE" };
    const char *open = strstr(text, "{{"), *close = open ? strstr(open, "}}") : NULL;
    for (size_t i = 0; close && i < ARRAY_SIZE(names); i++) {
        const char *at = strstr(open, names[i]);
        if (at && at < close)
            return true;
    }
    return false;
}

static int read_rules(struct checks *k, const char *json, osmo_error_t *err)
{
    int rc = json ? json_parse(json, strlen(json), &k->list, err) : 0;
    if (rc < 0)
        return rc;
    k->rules = calloc(json_len(k->list) + 1, sizeof(*k->rules));
    if (!k->rules)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < json_len(k->list); i++) {
        const json_t *o = json_at(k->list, i);
        struct rule *r = &k->rules[k->nrules];
        *r = (struct rule){ json_get_str(o, "operator"), json_get_str(o, "left_operand"),
                            json_get_str(o, "right_operand"), json_get_str(o, "assert_message"), false };
        if (!r->op || !r->left || !r->right || !r->message)
            continue;
        r->node = names_node(r->left) || names_node(r->right);
        const char *const texts[] = { r->left, r->right, r->message };
        for (size_t t = 0; t < ARRAY_SIZE(texts); t++)
            k->by_name |= strstr(texts[t], "WF_") || strstr(texts[t], "USER_CONTAINER");
        k->nrules++;
    }
    return 0;
}

/* Requests of osmo-ctrl in the platform's template. */
static void read_ctrl(struct checks *k, const struct platform *p)
{
    _cleanup_json_ json_t *template = NULL;
    k->ctrl = ctrl_default;
    if (!p->pod_template_json || json_parse(p->pod_template_json, strlen(p->pod_template_json), &template, NULL) < 0)
        return;
    const json_t *list = json_path(template, "spec", "containers", NULL);
    for (size_t i = 0; i < json_len(list); i++) {
        const json_t *c = json_at(list, i);
        const json_t *requests = json_path(c, "resources", "requests", NULL);
        if (!str_eq(json_get_str(c, "name"), "osmo-ctrl") || json_kind(requests) != JSON_OBJECT)
            continue;
        k->ctrl.cpu = node_quantity(requests, "cpu");
        k->ctrl.memory = node_quantity(requests, "memory");
        k->ctrl.storage = json_has(requests, "ephemeral-storage") ? node_quantity(requests, "ephemeral-storage")
                                                                  : CTRL_STORAGE_UNSTATED;
    }
}

/* ---- nodes ---- */

static double positive(double v)
{
    return v > 0 ? v : 0;
}

static struct validate_node usable(const struct validate_node *n, const struct validate_node *ctrl)
{
    return (struct validate_node){ n->name, floor(positive(n->cpu - ctrl->cpu)), floor(positive(n->gpu)),
                                   positive(n->memory - ctrl->memory), positive(n->storage - ctrl->storage) };
}

static int by_size(const void *a, const void *b)
{
    const struct validate_node *x = a, *y = b;
    const double pairs[][2] = { { x->gpu, y->gpu }, { x->memory, y->memory }, { x->cpu, y->cpu },
                                { x->storage, y->storage } };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] > pairs[i][1] ? -1 : 1;
    }
    return 0;
}

/* Largest first; one of each size, as a cluster has few. */
static int read_nodes(struct checks *k, const struct validate_platform *p, osmo_error_t *err)
{
    k->given = p->nnodes;
    k->nodes = calloc(p->nnodes + 1, sizeof(*k->nodes));
    if (!k->nodes)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < p->nnodes; i++)
        k->nodes[i] = usable(&p->nodes[i], &k->ctrl);
    qsort(k->nodes, p->nnodes, sizeof(*k->nodes), by_size);
    for (size_t i = 0; i < p->nnodes; i++) {
        if (!k->nnodes || by_size(&k->nodes[k->nnodes - 1], &k->nodes[i]))
            k->nodes[k->nnodes++] = k->nodes[i];
    }
    return 0;
}

static void put_node(json_t *vars, const struct validate_node *n, bool *oom)
{
    char text[40], number[32];
    const struct { const char *name; double v; bool ki; } rows[] = {
        { "K8_CPU", n->cpu, false }, { "K8_GPU", n->gpu, false },
        { "K8_MEMORY", n->memory / KI, true }, { "K8_STORAGE", n->storage / KI, true },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].ki)
            snprintf(text, sizeof(text), "%sKi", double_repr(rows[i].v, number));
        else
            snprintf(text, sizeof(text), "%.0f", rows[i].v);
        *oom |= json_set_str(vars, rows[i].name, text) < 0;
    }
}

/* ---- evaluation ---- */

static int render(const char *text, const json_t *vars, buf_t *out, osmo_error_t *err)
{
    const struct template_limits limits = { .max_steps = 100000, .max_depth = 50, .max_output = OPERAND_MAX,
                                            .max_values = 100000 };
    int rc = template_render_text(text, strlen(text), vars, &limits, out, err);
    return rc < 0 ? osmo_error_prefix(err, "resource rule '%.80s'", text) : 0;
}

static bool plain_number(const char *p)
{
    size_t whole = strspn(p, "0123456789");
    p += whole;
    if (whole && *p == '.' && strspn(p + 1, "0123456789"))
        p += 1 + strspn(p + 1, "0123456789");
    return whole && !*p;
}

/* A number, a quantity (as whole Ki), else text. */
static int evaluate(const char *operand, const json_t *vars, struct value *out, osmo_error_t *err)
{
    _cleanup_buf_ buf_t text = BUF_INIT(OPERAND_MAX);
    double bytes;
    int rc = render(operand, vars, &text, err);
    if (rc < 0)
        return rc;
    const char *p = buf_cstr(&text);
    *out = (struct value){ .number = true };
    if (plain_number(p)) {
        out->n = strtod(p, NULL);
    } else if (quantity_bytes(p, &bytes)) {
        out->n = floor(bytes / KI);
    } else {
        out->number = false;
        out->text = str_dup(p);
        if (!out->text)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return 0;
}

static bool holds(const char *op, int order)
{
    return str_eq(op, "GT") ? order > 0 : str_eq(op, "GE") ? order >= 0 : str_eq(op, "LT") ? order < 0
         : str_eq(op, "LE") ? order <= 0 : order == 0;
}

/* 1 it holds, 0 it does not. */
static int check_rule(const struct rule *r, const json_t *vars, osmo_error_t *err)
{
    struct value a = { 0 }, b = { 0 };
    int rc = evaluate(r->left, vars, &a, err);
    if (rc >= 0)
        rc = evaluate(r->right, vars, &b, err);
    if (rc >= 0 && a.number != b.number)
        rc = str_eq(r->op, "EQ") ? 0
           : osmo_error_set(err, OSMO_EUSAGE, "resource rule '%.80s' %s '%.80s' compares a number with the text "
                                              "'%.80s': give the value in the resource or in the pool's variables",
                            r->left, r->op, r->right, a.number ? b.text : a.text);
    else if (rc >= 0 && a.number)
        rc = holds(r->op, (a.n > b.n) - (a.n < b.n));
    else if (rc >= 0)
        rc = holds(r->op, strcmp(a.text, b.text));
    free(a.text);
    free(b.text);
    return rc;
}

static int check_static(const struct checks *k, const struct spec_task *t, const json_t *vars, osmo_error_t *err)
{
    for (size_t i = 0; i < k->nrules; i++) {
        _cleanup_buf_ buf_t words = BUF_INIT(OPERAND_MAX);
        if (k->rules[i].node)
            continue;
        int rc = check_rule(&k->rules[i], vars, err);
        if (rc > 0)
            continue;
        if (rc == 0)
            rc = render(k->rules[i].message, vars, &words, err);
        return rc < 0 ? rc : osmo_error_set(err, OSMO_EUSER, "task '%.80s', resource '%.80s': %.1000s", t->name,
                                            t->resource, buf_cstr(&words));
    }
    return 0;
}

/* Words of every rule that the node fails, joined; empty when it passes. */
static int check_node(const struct checks *k, const struct validate_node *n, json_t *vars, size_t *failed, buf_t *why,
                      osmo_error_t *err)
{
    bool oom = false;
    *failed = 0;
    put_node(vars, n, &oom);
    for (size_t i = 0; !oom && i < k->nrules; i++) {
        _cleanup_buf_ buf_t words = BUF_INIT(OPERAND_MAX);
        if (!k->rules[i].node)
            continue;
        int rc = check_rule(&k->rules[i], vars, err);
        if (rc == 0)
            rc = render(k->rules[i].message, vars, &words, err);
        else if (rc > 0)
            continue;
        if (rc < 0)
            return rc;
        buf_printf(why, "%s%.400s", (*failed)++ ? "; " : "", buf_cstr(&words));
    }
    return oom ? osmo_error_set(err, OSMO_ENOMEM, "out of memory") : 0;
}

static int refuse(const struct checks *k, const struct spec_task *t, const char *platform, const char *why,
                  osmo_error_t *err)
{
    const struct validate_node *n = k->nodes;
    return osmo_error_set(err, OSMO_ERESOURCE,
                          "task '%.80s', resource '%.80s' fits no node of platform '%.80s': %.1000s (the largest of "
                          "%zu, node %.80s, takes cpu %.0f, gpu %.0f, memory %.1fGi, storage %.1fGi)",
                          t->name, t->resource, platform, why, k->given, n->name, n->cpu, n->gpu,
                          floor(n->memory / GI * 10) / 10, floor(n->storage / GI * 10) / 10);
}

/* Some node satisfies all; otherwise the words are those of the node that fails the fewest rules. */
static int check_nodes(const struct checks *k, const struct spec_task *t, const char *platform, json_t *vars,
                       osmo_error_t *err)
{
    _cleanup_buf_ buf_t best = BUF_INIT(1u << 20);
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; i < k->nnodes; i++) {
        _cleanup_buf_ buf_t why = BUF_INIT(1u << 20);
        size_t failed;
        int rc = check_node(k, &k->nodes[i], vars, &failed, &why, err);
        if (rc < 0 || !failed)
            return rc;
        if (failed < fewest) {
            fewest = failed;
            buf_reset(&best);
            buf_append(&best, buf_cstr(&why), why.len);
        }
    }
    return k->nnodes ? refuse(k, t, platform, buf_cstr(&best), err) : 0;
}

/* ---- tasks ---- */

static json_t *variables_of(const struct spec_task *t, const struct spec_resource *r, const struct pool *pool,
                            const struct platform *p, const char *priority)
{
    const struct pod_task_ids ids = { .name = t->name, .uuid = "" };
    const struct pod_context c = { .pool = pool, .priority = priority };
    struct pod_task task = { .spec = *t, .ids = &ids, .resource = r, .platform = p };
    struct pod_build b = { .c = &c };
    json_t *vars = pods_task_variables(&b, &task);
    if (!b.oom && vars)
        return vars;
    json_free(vars);
    return NULL;
}

/* What the outcome depends on. */
static char *signature(const struct checks *k, const struct spec_task *t, const struct spec_resource *r)
{
    _cleanup_buf_ buf_t out = BUF_INIT(1u << 20);
    buf_printf(&out, "%d:%lld,%d:%lld,%s,%s,%s,%s,%s", r->has_cpu, (long long)r->cpu, r->has_gpu, (long long)r->gpu,
               r->memory ? r->memory : "", r->storage ? r->storage : "", r->platform ? r->platform : "",
               t->cache_size ? t->cache_size : "", k->by_name ? t->name : "");
    for (size_t i = 0; i < r->nodes_excluded.len; i++)
        buf_printf(&out, ",%s", r->nodes_excluded.items[i]);
    return buf_steal(&out, NULL);
}

struct run {
    const struct pool *pool;
    const char *priority;
    map_t *platforms; /* name → struct checks */
    map_t *passed;    /* signatures */
    map_t *resources; /* name → struct spec_resource, borrowed */
};

static int check_task(const struct run *run, const struct spec_task *t, osmo_error_t *err)
{
    const struct spec_resource *r = map_get(run->resources, t->resource);
    const struct platform *p = r ? pool_platform(run->pool, r->platform) : NULL;
    const struct checks *k = p ? map_get(run->platforms, p->name) : NULL;
    if (!k || !k->nrules)
        return 0;
    _cleanup_free_ char *seen = signature(k, t, r);
    if (seen && map_has(run->passed, seen))
        return 0;
    _cleanup_json_ json_t *vars = seen ? variables_of(t, r, run->pool, p, run->priority) : NULL;
    if (!vars)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = check_static(k, t, vars, err);
    if (rc >= 0)
        rc = check_nodes(k, t, p->name, vars, err);
    if (rc >= 0 && map_set(run->passed, seen, NULL) < 0)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return rc;
}

static void checks_free(void *p)
{
    struct checks *k = p;
    json_free(k->list);
    free(k->rules);
    free(k->nodes);
    free(k);
}

static int add_platform(struct run *run, const struct validate_platform *p, osmo_error_t *err)
{
    struct checks *k = calloc(1, sizeof(*k));
    int rc = k ? map_set(run->platforms, p->platform->name, k) : OSMO_ENOMEM;
    if (rc < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    rc = read_rules(k, p->platform->validations_json, err);
    if (rc < 0)
        return rc;
    read_ctrl(k, p->platform);
    return read_nodes(k, p, err);
}

int validate_resources(const struct spec *s, const struct pool *pool, const char *priority,
                       const struct validate_platform *platforms, size_t nplatforms, osmo_error_t *err)
{
    struct run run = { pool, priority, map_new(checks_free), map_new(NULL), map_new(NULL) };
    int rc = run.platforms && run.passed && run.resources ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; rc >= 0 && i < nplatforms; i++)
        rc = add_platform(&run, &platforms[i], err);
    for (size_t i = 0; rc >= 0 && i < s->nresources; i++)
        if (map_set(run.resources, s->resources[i].name, &s->resources[i]) < 0)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t g = 0; rc >= 0 && g < s->ngroups; g++)
        for (size_t t = 0; rc >= 0 && t < s->groups[g].ntasks; t++)
            rc = check_task(&run, &s->groups[g].tasks[t], err);
    map_free(run.platforms);
    map_free(run.passed);
    map_free(run.resources);
    return rc < 0 ? rc : 0;
}
