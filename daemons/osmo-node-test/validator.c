/* What the validators share; see node_test.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "node_test.h"

#define PREFIX_END "osmo.nvidia.com/"

int validator_begin(struct validator *v) {
    if (!v->node || !*v->node) {
        fprintf(stderr, PROGRAM ": --node_name (or OSMO_NODE_NAME) is needed: which node to test\n");
        return EXIT_BAD_USAGE;
    }
    if (!v->prefix || !str_ends(v->prefix, PREFIX_END)) {
        fprintf(stderr, PROGRAM ": --node_condition_prefix (or OSMO_NODE_CONDITION_PREFIX) must end in %s, \"%s\" does not\n", PREFIX_END,
                v->prefix ? v->prefix : "");
        return EXIT_BAD_USAGE;
    }
    if (v->max_retries > 100 || v->base_wait_s > 3600) {
        fprintf(stderr, PROGRAM ": --max_retries must be at most 100, --base_wait_seconds at most 3600\n");
        return EXIT_BAD_USAGE;
    }
    return open_cluster(v->kubeconfig, &v->kube);
}

/* False when it is to end. */
static bool wait_before(const struct validator *v, int64_t attempt) {
    int64_t s = v->base_wait_s;
    for (int64_t i = 1; i < attempt && s < 3600; i++)
        s *= 2;
    return pause_ms((s < 3600 ? s : 3600) * 1000);
}

static void print(const struct condition *c, size_t n) {
    for (size_t i = 0; i < n; i++)
        log_write(&node_test_log, strcmp(c[i].status, "True") == 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "%s is %s: %s", c[i].type,
                  c[i].status, c[i].message ? c[i].message : "");
}

static int write_all(struct validator *v, const struct condition *c, size_t n) {
    for (int64_t attempt = 0;; attempt++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = conditions_write(v->kube, v->node, v->prefix, c, n, &err);
        if (rc == 0)
            return EXIT_DONE;
        log_error(&node_test_log, "the conditions of node %s cannot be written: %s", v->node, err.text);
        if (attempt >= v->max_retries || !wait_before(v, attempt + 1))
            return EXIT_TROUBLE;
    }
}

int validator_write(struct validator *v, const struct condition *conditions, size_t n) {
    print(conditions, n);
    int rc = write_all(v, conditions, n);
    if (rc == EXIT_DONE && !v->exit_after)
        pause_ms(-1); /* the DaemonSet wants its pods ready */
    return rc;
}

int validator_run(struct validator *v, bool (*check)(void *ctx), void *ctx, struct condition *conditions, size_t n) {
    bool ends = false;
    for (int64_t attempt = 0; !check(ctx) && attempt < v->max_retries && !ends; attempt++)
        ends = !wait_before(v, attempt + 1);
    return ends ? EXIT_TROUBLE : validator_write(v, conditions, n);
}
