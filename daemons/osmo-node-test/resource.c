/* Mode resource: has this node what it should have? Its allocatable resources and labels are compared with what is expected. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "model/spec.h"
#include "node_test.h"

enum { GPU, NICS, MEMORY, STORAGE, MODE, PRODUCT, COUNT };
static const struct { const char *condition, *key; bool label; } rows[COUNT] = {
    [GPU] = { "GpuLessThanTotal", "nvidia.com/gpu", false },
    [NICS] = { "NicsLessThanTotal", "nvidia.com/mlnxnics", false },
    [MEMORY] = { "MemoryLessThanTotal", "memory", false },
    [STORAGE] = { "StorageLessThanTotal", "ephemeral-storage", false },
    [MODE] = { "GpuIncorrectMode", "nvidia.com/gpu.mode", true },
    [PRODUCT] = { "GpuIncorrectProduct", "nvidia.com/gpu.product", true },
};

struct resource {
    struct validator v;
    const char *wanted[COUNT], *names[COUNT];
    struct condition conditions[COUNT];
};

static void unknown(struct resource *r, const char *why) {
    for (size_t i = 0; i < COUNT; i++) {
        condition_say(&r->conditions[i], true, "NodeNotReadable", "node %s cannot be read: %s", r->v.node, why);
        r->conditions[i].status = "Unknown";
    }
}

static bool check_amount(struct condition *c, const char *key, const json_t *node, const char *wanted) {
    const json_t *value = json_get(json_path(node, "status", "allocatable", NULL), key);
    char number[24];
    const char *text = json_str(value);
    double has = 0, needs = 0;
    if (!text && json_kind(value) == JSON_INT) {
        snprintf(number, sizeof number, "%lld", (long long)json_as_int(value, 0));
        text = number;
    }
    quantity_bytes(wanted, &needs);
    bool enough = text && quantity_bytes(text, &has) && has >= needs;
    condition_say(c, !enough, enough ? "EnoughAllocatable" : "LessAllocatable", "%s: %s allocatable, %s expected", key,
                  text ? text : "nothing", wanted);
    return enough;
}

static bool check_label(struct condition *c, const char *key, const json_t *node, const char *wanted) {
    const char *value = json_get_str(json_path(node, "metadata", "labels", NULL), key);
    bool same = str_eq(value, wanted);
    condition_say(c, !same, same ? "LabelAsExpected" : "LabelDiffers", "label %s: %s, %s expected", key, value ? value : "none", wanted);
    return same;
}

static bool check(void *ctx) {
    struct resource *r = ctx;
    _cleanup_json_ json_t *node = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (node_read(r->v.kube, r->v.node, &node, &err) < 0) {
        unknown(r, err.text);
        return false;
    }
    bool good = true;
    for (size_t i = 0; i < COUNT; i++) {
        struct condition *c = &r->conditions[i];
        good &= rows[i].label ? check_label(c, rows[i].key, node, r->wanted[i]) : check_amount(c, rows[i].key, node, r->wanted[i]);
    }
    return good;
}

static int prepare(struct resource *r) {
    for (size_t i = 0; i < COUNT; i++) {
        double n;
        if (!rows[i].label && !quantity_bytes(r->wanted[i], &n)) {
            fprintf(stderr, PROGRAM ": \"%s\" is no quantity: write for instance 8 or 10Gi\n", r->wanted[i]);
            return EXIT_BAD_USAGE;
        }
        r->conditions[i].type = str_printf("%s%s", r->v.prefix, r->names[i]);
        if (!r->conditions[i].type)
            return EXIT_TROUBLE;
    }
    return 0;
}

static void forget(struct resource *r) {
    for (size_t i = 0; i < COUNT; i++) {
        free((char *)(uintptr_t)r->conditions[i].type);
        free(r->conditions[i].reason);
        free(r->conditions[i].message);
    }
    osmo_kube_free(r->v.kube);
}

int run_resource(int argc, char **argv) {
    struct resource r = { .v = VALIDATOR_DEFAULTS, .wanted = { "8", "8", "1850Gi", "10Gi", "compute", "NVIDIA-H100-80GB-HBM3" } };
    for (size_t i = 0; i < COUNT; i++)
        r.names[i] = rows[i].condition;
    const struct option_row options[] = {
        VALIDATOR_ROWS(r.v),
        { "gpu_count", NULL, OPTION_TEXT, &r.wanted[GPU] }, { "gpu_count_condition_name", NULL, OPTION_TEXT, &r.names[GPU] },
        { "nic_count", NULL, OPTION_TEXT, &r.wanted[NICS] }, { "nic_count_condition_name", NULL, OPTION_TEXT, &r.names[NICS] },
        { "memory", NULL, OPTION_TEXT, &r.wanted[MEMORY] }, { "memory_condition_name", NULL, OPTION_TEXT, &r.names[MEMORY] },
        { "storage", NULL, OPTION_TEXT, &r.wanted[STORAGE] }, { "storage_condition_name", NULL, OPTION_TEXT, &r.names[STORAGE] },
        { "gpu_mode", NULL, OPTION_TEXT, &r.wanted[MODE] }, { "gpu_mode_condition_name", NULL, OPTION_TEXT, &r.names[MODE] },
        { "gpu_product", NULL, OPTION_TEXT, &r.wanted[PRODUCT] }, { "gpu_product_condition_name", NULL, OPTION_TEXT, &r.names[PRODUCT] },
    };
    int rc = options_parse(options, ARRAY_SIZE(options), argc, argv);
    if (rc == 0)
        rc = validator_begin(&r.v);
    if (rc == 0)
        rc = prepare(&r);
    if (rc == 0)
        rc = validator_run(&r.v, check, &r, r.conditions, COUNT);
    forget(&r);
    return rc;
}
