/* Options of osmo-node-test; see node_test.h. Their names are those of OSMO's programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "node_test.h"

static int bad(const char *name, const char *what) {
    fprintf(stderr, PROGRAM ": --%s %s; try osmo-node-test --help\n", name, what);
    return EXIT_BAD_USAGE;
}

static int store(const struct option_row *row, const char *value) {
    static const char *const words[] = { "false", "true", "False", "True", "0", "1", "no", "yes" };
    if (row->kind == OPTION_TEXT) {
        *(const char **)row->value = value;
        return 0;
    }
    if (row->kind == OPTION_NUMBER)
        return str_to_i64(value, row->value) && *(int64_t *)row->value >= 0 ? 0 : bad(row->name, "needs a number that is not negative");
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(words[i], value) == 0) {
            *(bool *)row->value = i % 2;
            return 0;
        }
    return bad(row->name, "is true or false");
}

static const struct option_row *find(const struct option_row *rows, size_t n, const char *name, size_t len) {
    for (size_t i = 0; i < n; i++) {
        bool same = strlen(rows[i].name) == len;
        for (size_t j = 0; same && j < len; j++)
            same = rows[i].name[j] == (name[j] == '-' ? '_' : name[j]);
        if (same)
            return &rows[i];
    }
    return NULL;
}

int options_parse(const struct option_row *rows, size_t n, int argc, char **argv) {
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *value = rows[i].variable ? getenv(rows[i].variable) : NULL;
        if (value && *value)
            rc = store(&rows[i], value);
    }
    for (int i = 1; i < argc && rc == 0; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            fprintf(stderr, PROGRAM ": unexpected argument %s; try osmo-node-test --help\n", argv[i]);
            return EXIT_BAD_USAGE;
        }
        const char *name = argv[i] + 2;
        size_t len = strcspn(name, "=");
        const struct option_row *row = find(rows, n, name, len);
        if (!row) {
            fprintf(stderr, PROGRAM ": there is no option --%.*s; try osmo-node-test --help\n", (int)len, name);
            return EXIT_BAD_USAGE;
        }
        bool alone = !name[len] && (i + 1 >= argc || strncmp(argv[i + 1], "--", 2) == 0);
        const char *value = name[len] ? name + len + 1 : !alone ? argv[++i] : row->kind == OPTION_BOOL ? "true" : NULL;
        rc = value ? store(row, value) : bad(row->name, "needs a value");
    }
    return rc;
}

static void on_log(void *ctx, int level, const char *text) { log_write(ctx, level, "%s", text); }

int open_cluster(const char *kubeconfig, osmo_kube_t **out) {
    extern char **environ;
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *named = getenv("KUBECONFIG");
    osmo_kube_options_t o = { .size = sizeof o, .kubeconfig = kubeconfig, .service_host = host,
                              .service_port = getenv("KUBERNETES_SERVICE_PORT"), .user_agent = PROGRAM, .max_connections = 4,
                              .log = on_log, .log_ctx = (void *)(uintptr_t)&node_test_log, .environment = (const char *const *)environ };
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!o.kubeconfig && !(host && *host))
        o.kubeconfig = named && *named ? named : NULL;
    if (!o.kubeconfig && !(host && *host)) {
        fprintf(stderr, PROGRAM ": there is no way to the cluster: run it in a pod, or give --kubeconfig FILE\n");
        return EXIT_BAD_USAGE;
    }
    if (osmo_kube_open(&o, out, &err) == 0)
        return 0;
    fprintf(stderr, PROGRAM ": %s\n", err.text);
    return EXIT_TROUBLE;
}
