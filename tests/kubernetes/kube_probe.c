/* Drives the Kubernetes client from outside: reads a JSON object a line that says what to do, does it with one client, and writes each
 * object that comes as a line "+ …", then "= CODE TEXT". For tests/kubernetes/test_client.py, which runs it against a real API server.
 *
 *   kube_probe KUBECONFIG | kube_probe --in-cluster HOST PORT DIRECTORY */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "osmo/backend/kube.h"

extern char **environ;

struct out { int64_t left; bool bookmarks; }; /* 0 = no end */

static int on_object(void *ctx, const char *json, size_t len) {
    struct out *o = ctx;
    printf("+ %.*s\n", (int)len, json);
    fflush(stdout);
    return o->left && --o->left == 0;
}

static int on_log(void *ctx, const char *text, size_t len) {
    (void)ctx;
    fwrite(text, 1, len, stdout);
    return 0;
}

static int on_change(void *ctx, osmo_kube_change_t change, const char *json, size_t len) {
    static const char *const names[] = {"?", "ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
    struct out *o = ctx;
    if (change == OSMO_KUBE_BOOKMARK && !o->bookmarks)
        return 0;
    printf("%s ", names[change]);
    return on_object(ctx, json, len);
}

static void print_object(char *json) {
    for (char *p = json; p && *p; p++)
        *p = *p == '\n' ? ' ' : *p;
    if (json)
        printf("+ %s\n", json);
    free(json);
}

static int discover(osmo_kube_t *k, const osmo_kube_target_t *what, osmo_error_t *err) {
    osmo_kube_resource_t r;
    int rc = osmo_kube_discover(k, what->api_version, what->kind, &r, err);
    if (rc == 0)
        printf("+ {\"path\":\"%s\",\"plural\":\"%s\",\"namespaced\":%d}\n", r.path, r.plural, r.namespaced);
    return rc;
}

static int list(osmo_kube_t *k, const osmo_kube_target_t *what, const json_t *v, osmo_error_t *err) {
    struct out o = {.left = json_get_int(v, "count", 0)};
    char version[OSMO_KUBE_VERSION_MAX];
    snprintf(version, sizeof version, "%s", json_get_str(v, "version") ? json_get_str(v, "version") : "");
    int rc = osmo_kube_list(k, what, (int)json_get_int(v, "page", 0), version, on_object, &o, err);
    printf("version %s\n", version);
    return rc;
}

static int watch(osmo_kube_t *k, const osmo_kube_target_t *what, const json_t *v, osmo_error_t *err) {
    struct out o = {.left = json_get_int(v, "count", 0), .bookmarks = json_get_bool(v, "bookmarks", false)};
    return osmo_kube_watch(k, what, json_get_str(v, "version"), (int)json_get_int(v, "seconds", 60), on_change, &o, err);
}

static int remove_it(osmo_kube_t *k, const osmo_kube_target_t *what, const json_t *v, osmo_error_t *err) {
    const osmo_kube_delete_t how = {.size = sizeof how, .grace_s = json_get_int(v, "grace", -1),
                                    .propagation = json_get_str(v, "propagation"), .uid = json_get_str(v, "uid")};
    return osmo_kube_remove(k, what, &how, err);
}

static int run(osmo_kube_t *k, const json_t *v, osmo_error_t *err) {
    const osmo_kube_target_t what = {.size = sizeof what, .api_version = json_get_str(v, "apiVersion"), .kind = json_get_str(v, "kind"),
                                     .namespace_ = json_get_str(v, "namespace"), .name = json_get_str(v, "name"),
                                     .subresource = json_get_str(v, "subresource"), .label_selector = json_get_str(v, "labels"),
                                     .field_selector = json_get_str(v, "fields")};
    const char *verb = json_get_str(v, "verb");
    _cleanup_free_ char *body = json_has(v, "body") ? json_to_text(json_get(v, "body")) : NULL;
    size_t len = body ? strlen(body) : 0;
    char *json = NULL;
    int rc = OSMO_EINVAL;
    if (str_eq(verb, "discover"))
        rc = discover(k, &what, err);
    else if (str_eq(verb, "get"))
        rc = osmo_kube_get(k, &what, &json, &len, err);
    else if (str_eq(verb, "create"))
        rc = osmo_kube_create(k, &what, body, len, &json, err);
    else if (str_eq(verb, "replace"))
        rc = osmo_kube_replace(k, &what, body, len, &json, err);
    else if (str_eq(verb, "patch"))
        rc = osmo_kube_patch(k, &what, (osmo_kube_patch_t)json_get_int(v, "type", 0), body, len, json_get_str(v, "manager"), err);
    else if (str_eq(verb, "remove"))
        rc = remove_it(k, &what, v, err);
    else if (str_eq(verb, "list"))
        rc = list(k, &what, v, err);
    else if (str_eq(verb, "watch"))
        rc = watch(k, &what, v, err);
    else if (str_eq(verb, "logs"))
        rc = osmo_kube_logs(k, what.namespace_, what.name, json_get_str(v, "container"), (int)json_get_int(v, "tail", 0), on_log, NULL,
                            err);
    else
        osmo_error_set(err, rc, "unknown verb");
    print_object(json);
    return rc;
}

static void on_line(void *ctx, int level, const char *text) {
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s\n", text);
}

int main(int argc, char **argv) {
    osmo_kube_options_t o = {.size = sizeof o, .log = on_line, .environment = (const char *const *)environ};
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_kube_t *k = NULL;
    _cleanup_free_ char *line = NULL;
    size_t cap = 0;
    signal(SIGPIPE, SIG_IGN);
    if (argc == 5 && str_eq(argv[1], "--in-cluster")) {
        o.service_host = argv[2];
        o.service_port = argv[3];
        o.service_account_dir = argv[4];
    } else if (argc == 2) {
        o.kubeconfig = argv[1];
    } else {
        fprintf(stderr, "usage: kube_probe KUBECONFIG | kube_probe --in-cluster HOST PORT DIRECTORY\n");
        return 2;
    }
    int rc = osmo_kube_open(&o, &k, &err);
    printf("= %d %s\n", rc, err.text);
    fflush(stdout);
    while (rc == 0 && getline(&line, &cap, stdin) > 0) {
        _cleanup_json_ json_t *v = NULL;
        err = (osmo_error_t)OSMO_ERROR_INIT;
        int code = json_parse(line, strlen(line), &v, &err);
        if (code == 0)
            code = run(k, v, &err);
        printf("= %d %s\n", code, err.text);
        fflush(stdout);
    }
    osmo_kube_free(k);
    return rc < 0;
}
