/* backend: the clusters, whether their operators are heard of, and taking one away. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli.h"

#define BACKENDS "/api/configs/backend"

static char *backend_path(const char *name, const char *query) {
    buf_t b = BUF_INIT(8192);
    buf_puts(&b, BACKENDS "/");
    url_encode(name, &b);
    buf_puts(&b, query);
    char *path = buf_steal(&b, NULL);
    buf_free(&b);
    return path;
}

static const char *or_dash(const char *text) { return text && *text ? text : "-"; }

static const char *state_of(const json_t *backend) { return json_get_bool(backend, "online", false) ? "ONLINE" : "OFFLINE"; }

/* ---- list ---- */

/* To the second. */
static void add_time(struct table *t, const char *text) {
    char cell[20];
    snprintf(cell, sizeof cell, "%.19s", or_dash(text));
    for (char *p = cell; *p; p++)
        if (*p == 'T')
            *p = ' ';
    table_add(t, cell);
}

static void show_backends(const json_t *answer) {
    static const char *const heads[] = { "Backend", "Status", "Version", "Last Heartbeat", "Description" };
    struct table t = { .columns = ARRAY_SIZE(heads) };
    const json_t *list = json_get(answer, "backends");
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
        table_add(&t, heads[i]);
    for (size_t i = 0; i < json_len(list); i++) {
        const json_t *b = json_at(list, i);
        table_add(&t, json_get_str(b, "name"));
        table_add(&t, state_of(b));
        table_add(&t, or_dash(json_get_str(b, "version")));
        add_time(&t, json_get_str(b, "last_heartbeat"));
        table_add(&t, or_dash(json_get_str(b, "description")));
    }
    table_print(&t, 1);
}

static int backend_list(int argc, char **argv) {
    const char *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct usage u = { "backend list", "List backends.", opts, 1, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, str_eq(format, "json"))))
        return code;
    json_t *answer = NULL;
    code = api_call(&a, "GET", BACKENDS, NULL, &answer);
    if (!code && str_eq(format, "json"))
        print_json(answer, 2);
    else if (!code)
        show_backends(answer);
    json_free(answer);
    api_close(&a);
    return code;
}

/* ---- show ---- */

static void show_line(const char *name, const char *value) { printf("%-15s %s\n", name, or_dash(value)); }

static void show_json(const char *name, const json_t *value) {
    _cleanup_free_ char *text = json_len(value) ? json_to_text(value) : NULL;
    show_line(name, text);
}

static void show_backend(const json_t *b) {
    static const char *const lines[][2] = {
        { "Description", "description" },   { "Version", "version" },       { "Cluster", "k8s_uid" },
        { "Namespace", "k8s_namespace" },   { "Registered", "created_date" }, { "Last Heartbeat", "last_heartbeat" },
        { "Router", "router_address" },     { "Dashboard", "dashboard_url" }, { "Grafana", "grafana_url" },
    };
    const json_t *conditions = json_get(b, "node_conditions");
    show_line("Backend", json_get_str(b, "name"));
    show_line("Status", state_of(b));
    show_line("Operator says", json_get_str(b, "status"));
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        show_line(lines[i][0], json_get_str(b, lines[i][1]));
    show_line("Scheduler", json_get_str(json_get(b, "scheduler_settings"), "scheduler_name"));
    show_json("Node rules", json_get(conditions, "rules"));
    show_line("Node prefix", json_get_str(conditions, "prefix"));
    show_json("Tests", json_get(b, "tests"));
}

static int backend_show(int argc, char **argv) {
    const char *name = NULL, *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct arg args[] = { { "NAME", "which", &name, NULL, false } };
    const struct usage u = { "backend show", "Show a backend.", opts, 1, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, str_eq(format, "json"))))
        return code;
    _cleanup_free_ char *path = backend_path(name, "");
    json_t *answer = NULL;
    code = path ? api_call(&a, "GET", path, NULL, &answer) : EXIT_USER;
    if (!code && str_eq(format, "json"))
        print_json(answer, 2);
    else if (!code)
        show_backend(answer);
    json_free(answer);
    api_close(&a);
    return code;
}

/* ---- delete ---- */

static int backend_delete(int argc, char **argv) {
    const char *name = NULL;
    bool force = false;
    const struct opt opts[] = { { "--force -f", OPT_FLAG, &force, NULL,
                                  "even with unfinished workflows: they fail, and their objects stay in the cluster", NULL } };
    const struct arg args[] = { { "NAME", "which", &name, NULL, false } };
    const struct usage u = { "backend delete", "Take a backend away, with its nodes, its configuration and the access tokens that serve it "
                             "alone. Stop its operator first: one that still may connect registers the backend again.", opts, 1, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, false)))
        return code;
    _cleanup_free_ char *path = backend_path(name, "");
    json_t *body = json_object();
    code = path && body && json_set_bool(body, "force", force) >= 0 ? api_call(&a, "DELETE", path, body, NULL) : EXIT_USER;
    if (!code)
        printf("Backend %s is deleted.\n", name);
    json_free(body);
    api_close(&a);
    return code;
}

const struct command backend_commands[BACKEND_COMMANDS] = {
    { "list", "list backends", backend_list },
    { "show", "show one, and what its operator says", backend_show },
    { "delete", "take one away", backend_delete },
};
