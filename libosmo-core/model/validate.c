/* See validate.h. Called by submission. Every distinct request is evaluated once, and every distinct size of node. */
#include "model/validate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "model/node_match.h"
#include "model/pods_internal.h"
#include "model/spec_internal.h"
#include "model/template.h"

#define OPERAND_MAX 4096
#define TABLE_ROWS 20 /* the largest nodes */
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
    size_t *alike;                 /* how many have the size of nodes[i] */
    size_t nnodes;
    size_t given;
    bool by_name;                  /* some rule looks at more than the amounts */
    bool node_rules, nodes_known;
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
        k->node_rules |= r->node;
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
    k->nodes_known = p->nodes_known;
    k->nodes = calloc(p->nnodes + 1, sizeof(*k->nodes));
    k->alike = calloc(p->nnodes + 1, sizeof(*k->alike));
    if (!k->nodes || !k->alike)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < p->nnodes; i++)
        k->nodes[i] = usable(&p->nodes[i], &k->ctrl);
    qsort(k->nodes, p->nnodes, sizeof(*k->nodes), by_size);
    for (size_t i = 0; i < p->nnodes; i++) {
        if (!k->nnodes || by_size(&k->nodes[k->nnodes - 1], &k->nodes[i]))
            k->nodes[k->nnodes++] = k->nodes[i];
        k->alike[k->nnodes - 1]++;
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

static double gib_below(double bytes)
{
    return floor(bytes / GI * 10) / 10;
}

static void add_row(const struct checks *k, size_t i, const char *why, buf_t *table)
{
    const struct validate_node *n = &k->nodes[i];
    char name[120];

    if (i >= TABLE_ROWS)
        return;
    if (i == 0)
        buf_printf(table, "%-32s %6s %5s %10s %10s  %s", "NODE", "CPU", "GPU", "MEMORY", "STORAGE", "WHY NOT");
    snprintf(name, sizeof(name), "%.80s", n->name);
    if (k->alike[i] > 1)
        snprintf(name, sizeof(name), "%.60s and %zu alike", n->name, k->alike[i] - 1);
    buf_printf(table, "\n%-32s %6.0f %5.0f %8.1fGi %8.1fGi  %s", name, n->cpu, n->gpu, gib_below(n->memory),
               gib_below(n->storage), why);
    if (i == TABLE_ROWS - 1 && k->nnodes > TABLE_ROWS)
        buf_printf(table, "\nand %zu more kinds of nodes", k->nnodes - TABLE_ROWS);
}

static int refuse(const struct checks *k, const struct spec_task *t, const char *platform, const char *why,
                  osmo_error_t *err)
{
    const struct validate_node *n = k->nodes;
    return osmo_error_set(err, OSMO_ERESOURCE,
                          "task '%.80s', resource '%.80s' fits no node of platform '%.80s': %.1000s (the largest of "
                          "%zu, node %.80s, takes cpu %.0f, gpu %.0f, memory %.1fGi, storage %.1fGi)",
                          t->name, t->resource, platform, why, k->given, n->name, n->cpu, n->gpu,
                          gib_below(n->memory), gib_below(n->storage));
}

/* Some node satisfies all; otherwise the words are those of the node that fails the fewest rules, and the table has a
 * line for each kind of node. */
static int check_nodes(const struct checks *k, const struct spec_task *t, const char *platform, json_t *vars,
                       buf_t *table, osmo_error_t *err)
{
    _cleanup_buf_ buf_t best = BUF_INIT(1u << 20);
    size_t fewest = SIZE_MAX;
    if (k->nnodes == 0 && k->node_rules && k->nodes_known)
        return osmo_error_set(err, OSMO_ERESOURCE, "task '%.80s', resource '%.80s': platform '%.80s' has no nodes: "
                              "choose another platform, or ask an administrator to add nodes", t->name, t->resource,
                                  platform);
    for (size_t i = 0; i < k->nnodes; i++) {
        _cleanup_buf_ buf_t why = BUF_INIT(1u << 20);
        size_t failed;
        int rc = check_node(k, &k->nodes[i], vars, &failed, &why, err);
        if (rc < 0 || !failed)
            return rc;
        add_row(k, i, buf_cstr(&why), table);
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
    const struct spec *s;
    const struct pool *pool;
    const char *priority;
    map_t *platforms;  /* name → struct checks */
    map_t *seen;       /* signatures that were evaluated */
    bool *seen_entry;  /* the same for resource entries whose tasks all give the same outcome */
    bool rules_only, table_given;
    struct spec_findings *f;
};

static void checks_free(void *p)
{
    struct checks *k = p;
    json_free(k->list);
    free(k->rules);
    free(k->nodes);
    free(k->alike);
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

/* A failed check as a finding at the task. */
static void add_failure(struct run *run, size_t g, size_t t, int rc, const osmo_error_t *err)
{
    if (rc == OSMO_ENOMEM)
        run->f->oom = true;
    else if (rc < 0)
        spec_report_task(run->f, rc, run->s, g, t, "%s", err->text);
}

/* Whether the outcome for this request is known already; remembers it. */
static bool is_seen(struct run *run, const struct checks *k, const struct spec_task *t, const struct spec_resource *r)
{
    if (!k->by_name && !t->cache_size) { /* most tasks share few entries, which needs no signature */
        bool *entry = &run->seen_entry[r - run->s->resources];
        if (*entry)
            return true;
        *entry = true;
    }
    _cleanup_free_ char *key = signature(k, t, r);
    if (key && map_has(run->seen, key))
        return true;
    run->f->oom |= !key || map_set(run->seen, key, NULL) < 0;
    return false;
}

/* The rules of the platform, listed by the caller or not. NULL when there are none. */
static const struct checks *rules_of(struct run *run, const struct platform *p, size_t g, size_t t)
{
    const struct checks *k = map_get(run->platforms, p->name);
    if (!k) {
        const struct validate_platform unlisted = { .platform = p };
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = add_platform(run, &unlisted, &err);
        add_failure(run, g, t, rc, &err);
        k = rc < 0 ? NULL : map_get(run->platforms, p->name);
    }
    return k && k->nrules ? k : NULL;
}

/* The finding carries the table; one table is enough for an answer. */
static void check_task_nodes(struct run *run, const struct checks *k, size_t g, size_t i, const char *platform,
                             json_t *vars)
{
    _cleanup_buf_ buf_t table = BUF_INIT(1u << 20);
    osmo_error_t err = OSMO_ERROR_INIT;
    size_t before = run->f->len;
    int rc = check_nodes(k, &run->s->groups[g].tasks[i], platform, vars, &table, &err);

    add_failure(run, g, i, rc, &err);
    if (rc != OSMO_ERESOURCE || !table.len || run->table_given || run->f->len == before)
        return;
    run->table_given = true;
    run->f->items[before].nodes = buf_steal(&table, NULL);
}

static void check_task(struct run *run, size_t g, size_t i)
{
    const struct spec_task *t = &run->s->groups[g].tasks[i];
    const struct spec_resource *r = spec_find_resource(run->s, t->resource);
    const struct platform *p = r ? pool_platform(run->pool, r->platform) : NULL;
    const struct checks *k = p ? rules_of(run, p, g, i) : NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *vars = NULL;

    if (k && is_seen(run, k, t, r))
        k = NULL;
    if (k && !run->f->oom && !(vars = variables_of(t, r, run->pool, p, run->priority)))
        run->f->oom = true;
    int rc = vars ? check_static(k, t, vars, &err) : 0;
    add_failure(run, g, i, rc, &err);
    if (r && !run->rules_only)
        spec_check_task_platform(run->f, run->s, g, i, r, run->pool, p);
    if (vars && rc == 0)
        check_task_nodes(run, k, g, i, p->name, vars);
}

static void check_all(struct run *run, const struct validate_platform *platforms, size_t nplatforms)
{
    osmo_error_t err = OSMO_ERROR_INIT;

    for (size_t i = 0; i < nplatforms && !run->f->oom; i++) {
        int rc = add_platform(run, &platforms[i], &err);
        if (rc == OSMO_ENOMEM)
            run->f->oom = true;
        else if (rc < 0)
            spec_findings_add(run->f, rc, "workflow.resources", 0, 0, "platform '%.80s': %s",
                              platforms[i].platform->name,
                              err.text);
    }
    for (size_t g = 0; g < run->s->ngroups && !run->f->oom; g++)
        for (size_t t = 0; t < run->s->groups[g].ntasks && !run->f->oom; t++)
            check_task(run, g, t);
}

static int run_checks(struct run *run, const struct validate_platform *platforms, size_t nplatforms)
{
    run->platforms = map_new(checks_free);
    run->seen = map_new(NULL);
    run->seen_entry = calloc(run->s->nresources + 1, sizeof(*run->seen_entry));
    run->f->oom |= !run->platforms || !run->seen || !run->seen_entry;
    if (!run->f->oom)
        check_all(run, platforms, nplatforms);
    map_free(run->platforms);
    map_free(run->seen);
    free(run->seen_entry);
    return spec_findings_code(run->f);
}

int validate_tasks(const struct spec *s, const struct pool *pool, const char *priority,
                   const struct validate_platform *platforms, size_t nplatforms, struct spec_findings *f)
{
    struct run run = { .s = s, .pool = pool, .priority = priority, .f = f };
    spec_check_topology_sets(f, s);
    return run_checks(&run, platforms, nplatforms);
}

int validate_resources(const struct spec *s, const struct pool *pool, const char *priority,
                       const struct validate_platform *platforms, size_t nplatforms, osmo_error_t *err)
{
    _cleanup_findings_ struct spec_findings f = SPEC_FINDINGS_INIT;
    struct run run = { .s = s, .pool = pool, .priority = priority, .rules_only = true, .f = &f };
    run_checks(&run, platforms, nplatforms);
    return spec_findings_result(&f, "the resources of the workflow", err);
}
