/* Every allocation of the Kubernetes client's reading half fails once: kubeconfigs and logins, pages, watches. It must answer with an
 * error, or give what it gives otherwise. Leaks show in builds with AddressSanitizer. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "check.h"
#include "cluster/kubernetes/kube_int.h"
#include "failing_alloc.h"

#define MAX_ALLOCATIONS 20000

static char dir[] = "/tmp/test_oom_kube_XXXXXX";
static const logger_t quiet = {.fn = NULL};

/* Negative, or 0 with what was made, in words. */
typedef int scenario_fn(buf_t *said, osmo_error_t *err);

static void fail_each(scenario_fn *run, bool onwards) {
    _cleanup_buf_ buf_t want = BUF_INIT(1u << 16);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(run(&want, &err), &err);
    bool failed = true;
    for (size_t n = 1; failed && n < MAX_ALLOCATIONS; n++) {
        _cleanup_buf_ buf_t said = BUF_INIT(1u << 16);
        buf_reserve(&said, 1u << 12); /* the test's own allocation */
        err = (osmo_error_t)OSMO_ERROR_INIT;
        alloc_fail_at(n, onwards);
        int rc = run(&said, &err);
        failed = alloc_failed();
        alloc_fail_at(0, false);
        CHECK(rc < 0 || !strcmp(buf_cstr(&said), buf_cstr(&want)));
        CHECK(rc >= 0 || failed);
        CHECK(rc >= 0 || err.text[0]);
    }
}

static void check_scenario(scenario_fn *run) {
    fail_each(run, false);
    fail_each(run, true);
}

static int kubeconfigs(buf_t *said, osmo_error_t *err) {
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "A=b", NULL};
    char path[256];
    struct kube_entries e;
    snprintf(path, sizeof path, "%s/exec", dir);
    int rc = kubeconfig_read(path, NULL, environment, &e, err);
    if (rc < 0)
        return rc;
    buf_printf(said, "%s %s %s %s %s %zu %zu %zu %s", e.server, e.namespace_, e.proxy, e.ca_pem ? "ca" : "", e.exec->command,
               e.exec->args.len, e.exec->environment.len, e.impersonate.len, e.exec->cluster_config ? "config" : "");
    kube_entries_free(&e);
    return 0;
}

static int logins(buf_t *said, osmo_error_t *err) {
    char path[256];
    kube_config_t *c = NULL;
    kube_login_t *l = NULL, *again = NULL;
    snprintf(path, sizeof path, "%s/files", dir);
    const osmo_kube_options_t o = {.size = sizeof o, .kubeconfig = path};
    int rc = kube_config_open(&o, &quiet, &c, err);
    if (rc == 0)
        rc = kube_config_login(c, 0, &l, err);
    if (rc == 0)
        rc = kube_config_login(c, l->number, &again, err); /* keeps the old one when memory is short */
    if (rc == 0)
        buf_printf(said, "%s %s %s %d", l->headers.items[0], l->ca_pem, l->key_pem, l == again);
    kube_login_unref(c, l);
    kube_login_unref(c, again);
    kube_config_free(c);
    return rc;
}

static int on_item(void *ctx, const char *json, size_t len) { return buf_append(ctx, json, len) < 0; }

static int pages(buf_t *said, osmo_error_t *err) {
    static const char json[] = "{\"items\":[{\"a\":1},{}],\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"abc\"}}";
    struct kube_page page;
    int rc = kube_page_read(json, strlen(json), on_item, said, &page, err);
    if (rc == 0)
        buf_printf(said, " %s %s", page.version, buf_cstr(&page.next));
    buf_free(&page.next);
    return rc;
}

static int on_change(void *ctx, osmo_kube_change_t change, const char *json, size_t len) {
    (void)change;
    return buf_append(ctx, json, len) < 0;
}

static int watches(buf_t *said, osmo_error_t *err) {
    static const char json[] = "{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n{\"type\":\"DELETED\",\"object\":{\"b\":1}}\n";
    struct kube_stream s;
    kube_stream_init(&s, true, on_change, said);
    for (size_t i = 0; i < strlen(json) && kube_stream_feed(&s, json + i, 1); i++)
        ;
    int rc = kube_stream_end(&s, err);
    kube_stream_clear(&s);
    return rc;
}

static void test_kubeconfigs(void) { check_scenario(kubeconfigs); }
static void test_logins(void) { check_scenario(logins); }
static void test_pages(void) { check_scenario(pages); }
static void test_watches(void) { check_scenario(watches); }

static const struct check_test tests[] = {
    {"kubeconfigs", test_kubeconfigs},
    {"logins", test_logins},
    {"pages", test_pages},
    {"watches", test_watches},
};

#define CERT "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==" /* -----BEGIN CERTIFICATE----- */
#define CONFIG(cluster, user)                                                                                     \
    "clusters: [{name: c, cluster: {server: 'https://h:1', " cluster "}}]\nusers: [{name: u, user: {" user "}}]\n" \
    "contexts: [{name: x, context: {cluster: c, user: u, namespace: n}}]\ncurrent-context: x\n"

static bool put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return file_write_atomic(path, text, strlen(text), 0600, false, NULL) == 0;
}

int main(int argc, char **argv) {
    if (!mkdtemp(dir) || !put("token", "t") ||
        !put("exec", CONFIG("proxy-url: 'http://p:1', certificate-authority-data: " CERT ", extensions: [{name: "
                            "client.authentication.k8s.io/exec, extension: {a: [1]}}]",
                            "as: me, as-groups: [g], exec: {command: sh, apiVersion: client.authentication.k8s.io/v1, args: [a, b], "
                            "env: [{name: A, value: c}, {name: D, value: e}], provideClusterInfo: true}")) ||
        !put("files", CONFIG("certificate-authority-data: " CERT,
                             "tokenFile: token, client-certificate-data: " CERT ", client-key-data: " CERT)))
        return 1;
    int rc = check_main("oom_kube", tests, sizeof tests / sizeof tests[0], argc, argv);
    dir_remove_tree(dir, NULL);
    return rc;
}
