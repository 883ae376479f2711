/* pool list and resource list. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli.h"

static int get_and_show(struct api *a, const char *path, const char *format, const char *mode,
                        void (*show)(const json_t *answer, bool free_mode)) {
    json_t *answer = NULL;
    int code = api_call(a, "GET", path, NULL, &answer);
    if (!code && str_eq(format, "json"))
        print_json(answer, 4);
    else if (!code)
        show(answer, str_eq(mode, "free"));
    json_free(answer);
    return code;
}

/* ---- pool list ---- */

static void usage_cells(struct table *t, const json_t *usage, bool free_mode, bool shared) {
    static const char *const used[] = { "quota_used", "quota_limit", "total_usage", "total_capacity" };
    static const char *const left[] = { "quota_free", "total_free" };
    size_t n = free_mode ? 2 : 4;
    for (size_t i = 0; i < n; i++) {
        bool total = free_mode ? i == 1 : i == 3;
        table_add(t, total && shared ? "(shared)" : json_get_str(usage, free_mode ? left[i] : used[i]));
    }
}

static void show_pools(const json_t *answer, bool free_mode) {
    struct table t = { .columns = free_mode ? 5 : 7, .summary_rows = 1 };
    static const char *const top_used[] = { "", "", "", "GPU [#]", "", "", "" };
    static const char *const top_free[] = { "", "", "", "GPU [#]", "" };
    static const char *const used[] = { "Pool",        "Description", "Status",        "Quota Used",
                                        "Quota Limit", "Total Usage", "Total Capacity" };
    static const char *const left[] = { "Pool", "Description", "Status", "Quota Free", "Total Free" };
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, free_mode ? top_free[i] : top_used[i]);
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, free_mode ? left[i] : used[i]);
    const json_t *sets = json_get(answer, "node_sets");
    for (size_t i = 0; i < json_len(sets); i++) {
        const json_t *pools = json_get(json_at(sets, i), "pools");
        for (size_t j = 0; j < json_len(pools); j++) {
            const json_t *p = json_at(pools, j);
            table_add(&t, json_get_str(p, "name"));
            table_add(&t, json_get_str(p, "description"));
            table_add(&t, json_get_str(p, "status"));
            usage_cells(&t, json_get(p, "resource_usage"), free_mode, j > 0);
        }
    }
    table_add(&t, "Total");
    table_add(&t, "");
    table_add(&t, "");
    usage_cells(&t, json_get(answer, "resource_sum"), free_mode, false);
    table_print(&t, 2);
}

static int pool_list(int argc, char **argv) {
    const char *mode = "used", *format = "text";
    strlist_t pools = { 0 };
    const struct opt opts[] = { { "--pool -p", OPT_LIST, &pools, "POOL", "only these pools", NULL },
                                { "--mode -m", OPT_CHOICE, &mode, "MODE", "what to count", "used free" },
                                FORMAT_OPTION(&format) };
    const struct usage u = { "pool list", "List pools with their use.", opts, 3, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        buf_t path = BUF_INIT(1u << 16);
        buf_puts(&path, "/api/pool_quota");
        query_add(&path, "all_pools", pools.len ? "False" : "True");
        query_add_all(&path, "pools", &pools);
        code = get_and_show(&a, buf_cstr(&path), format, mode, show_pools);
        buf_free(&path);
        api_close(&a);
    }
    strlist_free(&pools);
    return code;
}

/* ---- resource list ---- */

/* Kubernetes quantity to a number of units (1 for counts, 2^30 for Gi). */
static double quantity(const char *text, double unit) {
    if (!text)
        return 0;
    char *end;
    double v = strtod(text, &end);
    static const struct {
        const char *suffix;
        double factor;
    } units[] = {
        { "Ki", 1024.0 }, { "Mi", 1048576.0 }, { "Gi", 1073741824.0 }, { "Ti", 1099511627776.0 }, { "m", 0.001 },
        { "K", 1024.0 },  { "M", 1048576.0 },  { "G", 1073741824.0 },  { "T", 1099511627776.0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(end, units[i].suffix) == 0)
            v *= units[i].factor;
    }
    return v / unit;
}

struct amounts { double used[4], total[4]; };
static const struct {
    const char *key;
    double unit;
} kinds[] = { { "storage", 1073741824.0 }, { "cpu", 1 }, { "memory", 1073741824.0 }, { "gpu", 1 } };

static void add_amounts(struct table *t, const struct amounts *m, bool free_mode) {
    char cell[64];
    for (size_t k = 0; k < 4; k++) {
        if (free_mode)
            snprintf(cell, sizeof cell, "%.0f", floor(m->total[k]) - ceil(m->used[k]));
        else
            snprintf(cell, sizeof cell, "%.0f/%.0f", ceil(m->used[k]), floor(m->total[k]));
        table_add(t, cell);
    }
}

static void add_node(struct table *t, const json_t *r, bool free_mode, struct amounts *sum) {
    struct amounts m;
    for (size_t k = 0; k < 4; k++) {
        m.used[k] = quantity(json_get_str(json_get(r, "usage_fields"), kinds[k].key), kinds[k].unit);
        m.total[k] = quantity(json_get_str(json_get(r, "allocatable_fields"), kinds[k].key), kinds[k].unit);
        sum->used[k] += m.used[k];
        sum->total[k] += m.total[k];
    }
    const json_t *labels = json_get(r, "pool_platform_labels");
    bool any = false;
    for (json_iter_t it = json_iter(labels); json_iter_next(&it);) {
        for (size_t i = 0; i < json_len(it.value); i++, any = true) {
            table_add(t, json_get_str(r, "hostname"));
            table_add(t, it.key);
            table_add(t, json_str(json_at(it.value, i)));
            table_add(t, json_get_str(r, "resource_type"));
            add_amounts(t, &m, free_mode);
        }
    }
    if (!any) {
        table_add(t, json_get_str(r, "hostname"));
        table_add(t, "-");
        table_add(t, "-");
        table_add(t, json_get_str(r, "resource_type"));
        add_amounts(t, &m, free_mode);
    }
}

static void show_resources(const json_t *answer, bool free_mode) {
    struct table t = { .columns = 8, .summary_rows = 1 };
    struct amounts sum = { { 0 }, { 0 } };
    static const char *const heads[] = { "Node",         "Pool",    "Platform",    "Type",
                                         "Storage [Gi]", "CPU [#]", "Memory [Gi]", "GPU [#]" };
    for (size_t i = 0; i < 8; i++)
        table_add(&t, heads[i]);
    const json_t *nodes = json_get(answer, "resources");
    for (size_t i = 0; i < json_len(nodes); i++)
        add_node(&t, json_at(nodes, i), free_mode, &sum);
    table_add(&t, "Total");
    for (size_t i = 0; i < 3; i++)
        table_add(&t, "");
    add_amounts(&t, &sum, free_mode);
    table_print(&t, 1);
}

static int resource_list(int argc, char **argv) {
    const char *mode = "used", *format = "text";
    strlist_t pools = { 0 }, platforms = { 0 };
    bool all = false;
    const struct opt opts[] = {
        { "--pool -p", OPT_LIST, &pools, "POOL", "nodes of these pools", NULL },
        { "--platform", OPT_LIST, &platforms, "PLATFORM", "nodes of these platforms", NULL },
        { "--all -a", OPT_FLAG, &all, NULL, "nodes of every pool", NULL },
        FORMAT_OPTION(&format),
        { "--mode -m", OPT_CHOICE, &mode, "MODE", "what to count", "used free" },
    };
    const struct usage u = { "resource list", "List nodes with their use.", opts, ARRAY_SIZE(opts), NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        buf_t path = BUF_INIT(1u << 16);
        _cleanup_free_ char *pool = NULL;
        buf_puts(&path, "/api/resources");
        if (!all && !pools.len)
            code = api_pool(&a, NULL, &pool);
        if (pool)
            query_add(&path, "pools", pool);
        query_add_all(&path, "pools", &pools);
        query_add(&path, "all_pools", all ? "True" : "False");
        query_add_all(&path, "platforms", &platforms);
        if (!code)
            code = get_and_show(&a, buf_cstr(&path), format, mode, show_resources);
        buf_free(&path);
        api_close(&a);
    }
    strlist_free(&pools);
    strlist_free(&platforms);
    return code;
}

const struct command pool_commands[POOL_COMMANDS] = { { "list", "list pools", pool_list } };
const struct command resource_commands[RESOURCE_COMMANDS] = { { "list", "list nodes", resource_list } };
