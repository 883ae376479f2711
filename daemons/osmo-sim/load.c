/* Reading the description of a cluster and a trace. Called by main.c. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "model/spec.h"
#include "sim.h"

#define MAX_NODE_LABELS 64

static int bad(const yaml_node_t *n, osmo_error_t *err, const char *what) {
    return osmo_error_set(err, OSMO_EUSAGE, "line %d, column %d: %s", n->line, n->column, what);
}

static int read_number(const yaml_node_t *map, const char *key, double fallback, double *out, osmo_error_t *err) {
    const yaml_node_t *n = yaml_get(map, key);
    *out = fallback;
    if (!n)
        return 0;
    if (n->kind == YAML_INT)
        *out = (double)n->integer;
    else if (n->kind == YAML_FLOAT)
        *out = n->number;
    else
        return osmo_error_set(err, OSMO_EUSAGE, "line %d, column %d: %s has to be a number", n->line, n->column, key);
    if (!(*out >= 0 && *out <= 1e12))
        return osmo_error_set(err, OSMO_EUSAGE, "line %d, column %d: %s has to be between 0 and 1e12", n->line, n->column, key);
    return 0;
}

static int read_bytes(const yaml_node_t *map, const char *key, int64_t *out, osmo_error_t *err) {
    const yaml_node_t *n = yaml_get(map, key);
    double bytes = 0;
    if (!n)
        return 0;
    _cleanup_free_ char *text = yaml_scalar_text(n);
    if (!text || !quantity_bytes(text, &bytes) || bytes > 7e13)
        return osmo_error_set(err, OSMO_EUSAGE, "line %d, column %d: %s is no quantity such as 512Gi", n->line, n->column, key);
    *out = (int64_t)bytes;
    return 0;
}

/* cpu in cores, memory and storage as quantities, gpu as a count; what is not there keeps its value. */
static int read_amount(const yaml_node_t *map, osmo_sched_amount_t *out, osmo_error_t *err) {
    double cpu, gpu;
    int rc = read_number(map, "cpu", (double)out->of[OSMO_SCHED_CPU] / 1000, &cpu, err);
    if (rc == 0)
        rc = read_number(map, "gpu", (double)out->of[OSMO_SCHED_GPU], &gpu, err);
    if (rc < 0)
        return rc;
    out->of[OSMO_SCHED_CPU] = (int64_t)(cpu * 1000);
    out->of[OSMO_SCHED_GPU] = (int64_t)gpu;
    rc = read_bytes(map, "memory", &out->of[OSMO_SCHED_MEMORY], err);
    return rc < 0 ? rc : read_bytes(map, "storage", &out->of[OSMO_SCHED_STORAGE], err);
}

static int read_text(const yaml_node_t *map, const char *key, const char *fallback, char **out, osmo_error_t *err) {
    const yaml_node_t *n = yaml_get(map, key);
    if (n && (n->kind == YAML_LIST || n->kind == YAML_MAP || n->kind == YAML_NULL))
        return osmo_error_set(err, OSMO_EUSAGE, "line %d, column %d: %s has to be a text", n->line, n->column, key);
    *out = n ? yaml_scalar_text(n) : str_dup(fallback);
    return *out || (!n && !fallback) ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

/* A list of mappings, each given to `read`. */
static int each(const yaml_node_t *doc, const char *key, struct sim *sim,
                int (*read)(struct sim *sim, const yaml_node_t *item, osmo_error_t *err), osmo_error_t *err) {
    const yaml_node_t *list = yaml_get(doc, key);
    if (!list)
        return 0;
    if (list->kind != YAML_LIST)
        return osmo_error_set(err, OSMO_EUSAGE, "line %d, column %d: %s has to be a list", list->line, list->column, key);
    for (size_t i = 0; i < list->len; i++) {
        int rc = list->values[i]->kind == YAML_MAP ? read(sim, list->values[i], err) : bad(list->values[i], err, "expected a mapping");
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- nodes ---- */

/* A label is a text, or {prefix: r, every: 16}: r0 for the first sixteen nodes of the entry, r1 for the next. */
static int label_value(const yaml_node_t *v, size_t index, char **out, osmo_error_t *err) {
    double every;
    _cleanup_free_ char *prefix = NULL;
    if (v->kind != YAML_MAP) {
        *out = yaml_scalar_text(v);
        return *out ? 0 : bad(v, err, "a label has to be a text or {prefix, every}");
    }
    int rc = read_number(v, "every", 1, &every, err);
    if (rc == 0)
        rc = read_text(v, "prefix", "", &prefix, err);
    if (rc < 0)
        return rc;
    *out = str_printf("%s%zu", prefix, index / (every < 1 ? 1 : (size_t)every));
    return *out ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int add_node(struct sim *sim, const char *name, const osmo_sched_amount_t *capacity, const yaml_node_t *labels, size_t index,
                    osmo_error_t *err) {
    osmo_sched_pair_t pairs[MAX_NODE_LABELS] = { { 0 } };
    char *values[MAX_NODE_LABELS] = { 0 };
    osmo_sched_node_t n = { .size = sizeof n, .name = name, .capacity = *capacity, .labels = pairs };
    int rc = 0;
    for (size_t i = 0; labels && rc == 0 && i < labels->len; i++) {
        rc = labels->len > MAX_NODE_LABELS || !labels->keys[i]->text ? bad(labels, err, "at most 64 labels, their names are texts") : 0;
        if (rc == 0)
            rc = label_value(labels->values[i], index, &values[i], err);
        if (rc == 0)
            pairs[n.nlabels++] = (osmo_sched_pair_t){ labels->keys[i]->text, values[i] };
    }
    if (rc == 0)
        rc = osmo_scheduler_set_node(sim->scheduler, &n, err);
    for (size_t i = 0; i < MAX_NODE_LABELS; i++)
        free(values[i]);
    sim->nnodes += rc == 0;
    sim->gpus += capacity->of[OSMO_SCHED_GPU];
    sim->cpus += capacity->of[OSMO_SCHED_CPU] / 1000;
    return rc;
}

static int read_node(struct sim *sim, const yaml_node_t *item, osmo_error_t *err) {
    _cleanup_free_ char *name = NULL;
    osmo_sched_amount_t capacity = { { 0 } };
    const yaml_node_t *labels = yaml_get(item, "labels");
    double count, pods;
    int rc = read_text(item, "name", "node", &name, err);
    if (rc == 0)
        rc = read_number(item, "count", 1, &count, err);
    if (rc == 0)
        rc = read_number(item, "pods", 110, &pods, err);
    if (rc == 0)
        rc = read_amount(item, &capacity, err);
    if (rc == 0 && labels && labels->kind != YAML_MAP)
        rc = bad(labels, err, "labels have to be a mapping");
    if (rc < 0)
        return rc;
    capacity.of[OSMO_SCHED_PODS] = (int64_t)pods;
    for (size_t i = 0; rc == 0 && i < (size_t)count; i++) {
        _cleanup_free_ char *full = count > 1 ? str_printf("%s-%zu", name, i) : str_dup(name);
        rc = full ? add_node(sim, full, &capacity, labels, i, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return rc;
}

/* ---- queues ---- */

static int read_queue(struct sim *sim, const yaml_node_t *item, osmo_error_t *err) {
    _cleanup_free_ char *name = NULL;
    osmo_sched_queue_t q = { .size = sizeof q };
    double gpu[2];
    const yaml_node_t *limits[2] = { yaml_get(item, "guarantee"), yaml_get(item, "maximum") };
    osmo_sched_amount_t *amounts[2] = { &q.guarantee, &q.maximum };
    int rc = read_text(item, "name", NULL, &name, err);
    if (rc == 0 && !name)
        rc = bad(item, err, "a queue needs a name");
    if (rc == 0)
        rc = read_number(item, "weight", 1, &q.weight, err);
    for (int k = 0; rc == 0 && k < 2; k++) {
        for (int r = 0; r < OSMO_SCHED_RESOURCES; r++)
            amounts[k]->of[r] = -1;
        if (!limits[k])
            continue;
        rc = limits[k]->kind == YAML_MAP ? read_number(limits[k], "gpu", -1, &gpu[k], err) : bad(limits[k], err, "expected {gpu: N}");
        if (rc == 0)
            amounts[k]->of[OSMO_SCHED_GPU] = (int64_t)gpu[k];
    }
    q.name = name;
    return rc < 0 ? rc : osmo_scheduler_set_queue(sim->scheduler, &q, err);
}

/* ---- the trace ---- */

static int read_priority(const yaml_node_t *item, struct sim_gang *g, osmo_error_t *err) {
    static const struct { const char *name; int priority; bool preemptible; } known[] = { { "HIGH", 125, false },
                                                                                          { "NORMAL", 100, false },
                                                                                          { "LOW", 50, true } };
    _cleanup_free_ char *text = NULL;
    int rc = read_text(item, "priority", "NORMAL", &text, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(known); i++)
        if (str_eq(text, known[i].name)) {
            g->priority = known[i].priority;
            g->preemptible = known[i].preemptible;
            return 0;
        }
    return rc < 0 ? rc : bad(item, err, "priority is HIGH, NORMAL or LOW");
}

static int read_level(const struct sim *sim, const yaml_node_t *item, struct sim_gang *g, osmo_error_t *err) {
    const yaml_node_t *n = yaml_get(item, "level");
    for (size_t i = 0; n && sim->levels[i]; i++)
        if (str_eq(sim->levels[i], n->text))
            g->level = sim->levels[i];
    return !n || g->level ? 0 : bad(n, err, "this level is not in the list of levels");
}

static int read_times(const yaml_node_t *item, struct sim_gang *g, double *count, double *every, osmo_error_t *err) {
    double pods;
    int rc = read_number(item, "count", 1, count, err);
    if (rc == 0)
        rc = read_number(item, "every", 0, every, err);
    if (rc == 0)
        rc = read_number(item, "at", 0, &g->at, err);
    if (rc == 0)
        rc = read_number(item, "duration", 60, &g->duration, err);
    if (rc == 0)
        rc = read_number(item, "pods", 1, &pods, err);
    if (rc == 0)
        g->npods = (size_t)pods;
    return rc;
}

static int reserve(struct sim *sim, size_t more, osmo_error_t *err) {
    if (sim->ngangs + more > SIM_MAX_GANGS)
        return osmo_error_set(err, OSMO_ELIMIT, "the trace has %zu gangs, at most %d are possible", sim->ngangs + more, SIM_MAX_GANGS);
    struct sim_gang *grown = reallocarray(sim->gangs, sim->ngangs + more, sizeof *grown);
    if (!grown)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    sim->gangs = grown;
    return 0;
}

static int read_gang(struct sim *sim, const yaml_node_t *item, osmo_error_t *err) {
    struct sim_gang g = { .placed_at = -1, .ended_at = -1 };
    _cleanup_free_ char *name = NULL, *queue = NULL, *user = NULL;
    double count = 1, every = 0;
    int rc = read_text(item, "name", "gang", &name, err);
    if (rc == 0)
        rc = read_text(item, "queue", "default", &queue, err);
    if (rc == 0)
        rc = read_text(item, "user", "", &user, err);
    if (rc == 0)
        rc = read_amount(item, &g.request, err);
    if (rc == 0)
        rc = read_times(item, &g, &count, &every, err);
    if (rc == 0)
        rc = read_priority(item, &g, err);
    if (rc == 0)
        rc = read_level(sim, item, &g, err);
    if (rc == 0)
        rc = reserve(sim, (size_t)count, err);
    for (size_t i = 0; rc == 0 && i < (size_t)count; i++, g.at += every) {
        struct sim_gang *to = &sim->gangs[sim->ngangs];
        *to = g;
        to->name = str_printf("%s-%zu", name, sim->ngangs);
        to->queue = str_dup(queue);
        to->user = str_dup(user);
        sim->ngangs++;
        sim->npods += g.npods;
        if (!to->name || !to->queue || !to->user)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        else if (sim->npods > SIM_MAX_PODS)
            rc = osmo_error_set(err, OSMO_ELIMIT, "the trace has more than %d pods", SIM_MAX_PODS);
    }
    return rc;
}

static int read_levels(struct sim *sim, const yaml_node_t *doc, osmo_error_t *err) {
    const yaml_node_t *list = yaml_get(doc, "levels");
    if (list && (list->kind != YAML_LIST || list->len > 8))
        return bad(list, err, "levels have to be a list of at most 8 labels");
    for (size_t i = 0; list && i < list->len; i++)
        if (!(sim->levels[i] = yaml_scalar_text(list->values[i])))
            return bad(list->values[i], err, "a level has to be a label");
    return 0;
}

int sim_load(const char *text, size_t len, struct sim *sim, osmo_error_t *err) {
    const yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    int rc = yaml_parse(text, len, &limits, &doc, err);
    if (rc == 0 && doc->kind != YAML_MAP)
        rc = bad(doc, err, "expected a mapping with nodes, queues and gangs");
    if (rc == 0)
        rc = read_levels(sim, doc, err);
    if (rc == 0)
        rc = read_number(doc, "grace", 30, &sim->grace, err);
    if (rc < 0)
        return rc;
    osmo_scheduler_options_t o = { .size = sizeof o, .levels = (const char *const *)sim->levels };
    rc = osmo_scheduler_new(&o, &sim->scheduler, err);
    if (rc == 0)
        rc = each(doc, "nodes", sim, read_node, err);
    if (rc == 0)
        rc = each(doc, "queues", sim, read_queue, err);
    return rc < 0 ? rc : each(doc, "gangs", sim, read_gang, err);
}

void sim_free(struct sim *sim) {
    for (size_t i = 0; i < sim->ngangs; i++) {
        free(sim->gangs[i].name);
        free(sim->gangs[i].queue);
        free(sim->gangs[i].user);
    }
    free(sim->gangs);
    for (size_t i = 0; sim->levels[i]; i++)
        free(sim->levels[i]);
    osmo_scheduler_free(sim->scheduler);
}
