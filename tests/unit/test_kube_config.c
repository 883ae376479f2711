/* Where the Kubernetes API is and how to log in there: kubeconfigs good and bad, service accounts, credential plugins. */
#include "check.h"
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "cluster/kubernetes/kube_config.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/test_kube_config_XXXXXX";
static const logger_t quiet = {.fn = NULL};

static void put(const char *name, const char *text, mode_t mode) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    CHECK(file_write_atomic(path, text, strlen(text), mode, false, NULL) == 0);
}

/* Names of files in the test's directory, as they come in cases: "a:b". */
static char *paths_of(const char *names) {
    buf_t b = BUF_INIT(4096);
    strlist_t l = {0};
    strlist_split(&l, names, ':');
    for (size_t i = 0; i < l.len; i++)
        buf_printf(&b, "%s%s%s%s", i ? ":" : "", l.items[i][0] ? dir : "", l.items[i][0] ? "/" : "", l.items[i]);
    strlist_free(&l);
    return buf_steal(&b, NULL);
}

static int open_config(const char *names, const char *context, const char *const *environment, kube_config_t **c, osmo_error_t *err) {
    _cleanup_free_ char *paths = paths_of(names);
    const osmo_kube_options_t o = {.size = sizeof o, .kubeconfig = paths, .context = context, .environment = environment};
    *c = NULL;
    return kube_config_open(&o, &quiet, c, err);
}

#define CERT "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==" /* -----BEGIN CERTIFICATE----- */
#define CONFIG(cluster, user) \
    "clusters: [{name: c, cluster: {" cluster "}}]\nusers: [{name: u, user: {" user "}}]\n" \
    "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
#define HTTPS "server: 'https://h:1'"
#define EXEC(rest) "exec: {apiVersion: client.authentication.k8s.io/v1, " rest "}"

/* Each is refused with file, entry and remedy. */
static void test_bad(void) {
    static const struct { const char *text; int rc; const char *says[3]; } cases[] = {
        {"a: [", OSMO_EINVAL, {"/bad cannot be read", "line "}},
        {"- a\n", OSMO_EINVAL, {"/bad is no kubeconfig", "clusters, users and contexts"}},
        {"", OSMO_EINVAL, {"/bad has no current-context", "use-context"}},
        {"current-context: y\n", OSMO_ENOTFOUND, {"/bad has no context \"y\"", "kubectl config view"}},
        {"current-context: x\ncontexts: [{name: x, context: {user: u}}]\n", OSMO_EINVAL, {"context \"x\" in ", "names no cluster"}},
        {"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\n", OSMO_ENOTFOUND, {"/bad has no cluster \"c\""}},
        {"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {" HTTPS "}}]",
         OSMO_ENOTFOUND, {"/bad has no user \"u\""}},
        {CONFIG("", ""), OSMO_EINVAL, {"cluster \"c\" in ", "has no server", "https://HOST:PORT"}},
        {CONFIG("server: 'h:1'", ""), OSMO_EINVAL, {"server of cluster \"c\" in ", "must begin with http"}},
        {CONFIG("server: 'ws://h:1'", ""), OSMO_EINVAL, {"server of cluster \"c\" in ", "https://HOST:PORT"}},
        {CONFIG("server: 'https://u:p@h:1'", ""), OSMO_EINVAL, {"server of cluster \"c\" in "}},
        {CONFIG("server: 12", ""), OSMO_EINVAL, {"server of cluster \"c\" in ", "quotes"}},
        {CONFIG("server: 'http://h:1'", "token: t"), OSMO_EINVAL, {"cluster \"c\" in ", "in the clear", "https://"}},
        {CONFIG(HTTPS ", insecure-skip-tls-verify: yes please", ""), OSMO_EINVAL, {"insecure-skip-tls-verify of cluster", "true or false"}},
        {CONFIG(HTTPS ", insecure-skip-tls-verify: true, certificate-authority: ca", ""), OSMO_EINVAL, {"cluster \"c\"", "remove one"}},
        {CONFIG(HTTPS ", certificate-authority: none.pem", ""), OSMO_ENOTFOUND, {"cluster \"c\" in ", "none.pem"}},
        {CONFIG(HTTPS ", certificate-authority: bad", ""), OSMO_EINVAL, {"cluster \"c\" in ", "/bad is no PEM file"}},
        {CONFIG(HTTPS ", certificate-authority-data: '!!!'", ""), OSMO_EINVAL,
         {"certificate-authority-data of cluster \"c\" in ", "base64"}},
        {CONFIG(HTTPS ", proxy-url: 'ftp://p'", ""), OSMO_EINVAL, {"proxy-url of cluster \"c\" in ", "socks5://"}},
        {CONFIG(HTTPS, "token: 12"), OSMO_EINVAL, {"token of user \"u\" in ", "quotes"}},
        {CONFIG(HTTPS, "token: ' '"), OSMO_EUNAUTH, {"user \"u\" in ", "is empty"}},
        {CONFIG(HTTPS, "tokenFile: none"), OSMO_ENOTFOUND, {"user \"u\" in ", "/none"}},
        {CONFIG(HTTPS, "token: a, username: b"), OSMO_EINVAL, {"user \"u\" in ", "more than one", "remove"}},
        {CONFIG(HTTPS, "client-certificate-data: " CERT), OSMO_EINVAL, {"user \"u\" in ", "add client-key"}},
        {CONFIG(HTTPS, "client-key-data: " CERT), OSMO_EINVAL, {"user \"u\" in ", "add client-certificate"}},
        {CONFIG(HTTPS, "auth-provider: {name: gcp}"), OSMO_EINVAL, {"user \"u\" in ", "\"gcp\"", "gke-gcloud-auth-plugin"}},
        {CONFIG(HTTPS, "auth-provider: {name: azure}"), OSMO_EINVAL, {"kubelogin"}},
        {CONFIG(HTTPS, "auth-provider: {name: oidc}"), OSMO_EINVAL, {"oidc-login"}},
        {CONFIG(HTTPS, "token: t, as-groups: [g]"), OSMO_EINVAL, {"user \"u\" in ", "name the user"}},
        {CONFIG(HTTPS, "token: t, as: \"a\\nb\""), OSMO_EINVAL, {"user \"u\" in ", "control character"}},
        {CONFIG(HTTPS, "token: t, as: a, as-user-extra: {b: [c]}"), OSMO_EINVAL, {"as-user-extra of user \"u\" in ", "remove"}},
        {CONFIG(HTTPS, "exec: {command: true, apiVersion: client.authentication.k8s.io/v1}"), OSMO_EINVAL, {"command of user", "quotes"}},
        {CONFIG(HTTPS, "exec: {command: a, apiVersion: client.authentication.k8s.io/v1alpha1}"), OSMO_EINVAL,
         {"user \"u\" in ", "v1beta1", "update"}},
        {CONFIG(HTTPS, EXEC("args: []")), OSMO_EINVAL, {"user \"u\" in ", "has no command"}},
        {CONFIG(HTTPS, EXEC("command: a, interactiveMode: Always")), OSMO_EINVAL, {"user \"u\" in ", "terminal", "service account"}},
        {CONFIG(HTTPS, EXEC("command: no-such-program, installHint: \"get it\\nhere\"")), OSMO_ENOTFOUND,
         {"no-such-program of user \"u\" in ", "get it here"}},
        {CONFIG(HTTPS, EXEC("command: ./bad")), OSMO_ENOTFOUND, {"./bad of user \"u\" in ", "install it"}},
        {CONFIG(HTTPS, EXEC("command: sh, args: [1]")), OSMO_EINVAL, {"args of exec of user \"u\"", "quotes"}},
        {CONFIG(HTTPS, EXEC("command: sh, env: [{value: x}]")), OSMO_EINVAL, {"env of exec of user \"u\"", "name"}},
        {CONFIG(HTTPS, "exec: sh"), OSMO_EINVAL, {"exec of user \"u\""}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        kube_config_t *c;
        osmo_error_t err = OSMO_ERROR_INIT;
        put("bad", cases[i].text, 0600);
        CHECK_INT(open_config("bad", NULL, NULL, &c, &err), cases[i].rc);
        CHECK_INT(err.code, cases[i].rc);
        for (size_t j = 0; j < 3 && cases[i].says[j]; j++)
            CHECK_CONTAINS(err.text, cases[i].says[j]);
        kube_config_free(c);
    }
    kube_config_t *c;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(open_config("none", NULL, NULL, &c, &err), OSMO_ENOTFOUND);
    CHECK_CONTAINS(err.text, "/none");
    CHECK_INT(open_config("none:nothing", NULL, NULL, &c, &err), OSMO_ENOTFOUND);
}

static void test_good(void) {
    static const struct { const char *text, *server, *header; bool tls; } cases[] = {
        {CONFIG("server: 'https://h:1/'", "token: t"), "https://h:1", "Authorization: Bearer t", false},
        {CONFIG("server: 'https://[::1]:1/k8s/c'", "token: \"t\\n\""), "https://[::1]:1/k8s/c", "Authorization: Bearer t", false},
        {CONFIG("server: 'http://127.0.0.1:1'", "token: t"), "http://127.0.0.1:1", "Authorization: Bearer t", false},
        {CONFIG("server: 'http://h:1'", ""), "http://h:1", NULL, false},
        {CONFIG(HTTPS ", certificate-authority-data: " CERT, "client-certificate-data: " CERT ", client-key-data: " CERT), "https://h:1",
         NULL, true},
        {CONFIG(HTTPS, "tokenFile: sub/token, token: old"), "https://h:1", "Authorization: Bearer below", false},
        {CONFIG(HTTPS, "tokenFile: none, token: old"), "https://h:1", "Authorization: Bearer old", false},
        {"{\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"https://h:1\"}}],\"users\":null,\"contexts\":[{\"name\":\"x\","
         "\"context\":{\"cluster\":\"c\",\"user\":\"\"}}],\"current-context\":\"x\"}", "https://h:1", NULL, false},
    };
    char sub[256];
    snprintf(sub, sizeof sub, "%s/sub", dir);
    CHECK(dir_make(sub, 0700, NULL) == 0);
    put("sub/token", "\n below \n", 0600);
    for (size_t i = 0; i < COUNT(cases); i++) {
        kube_config_t *c;
        kube_login_t *l = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        put("good", cases[i].text, 0600);
        CHECK_OK(open_config("good", NULL, NULL, &c, &err), &err);
        REQUIRE(c);
        CHECK_STR(kube_config_entries(c)->server, cases[i].server);
        CHECK_OK(kube_config_login(c, 0, &l, &err), &err);
        REQUIRE(l);
        CHECK_STR(l->headers.len ? l->headers.items[0] : NULL, cases[i].header);
        CHECK_STR(l->key_pem, cases[i].tls ? "-----BEGIN CERTIFICATE-----\n" : NULL);
        CHECK_STR(l->ca_pem, cases[i].tls ? "-----BEGIN CERTIFICATE-----\n" : NULL);
        kube_login_unref(c, l);
        kube_config_free(c);
    }
}

/* Of equal names the first file's entry counts; missing files are passed; paths begin where the file is. */
static void test_merge(void) {
    static const struct { const char *files, *context, *server, *namespace_, *header; } cases[] = {
        {"one:two", NULL, "https://one:1", "n1", "Authorization: Bearer one"},
        {"two:one", NULL, "https://two:1", "n2", "Authorization: Bearer two"},
        {"none:one::two:", NULL, "https://one:1", "n1", "Authorization: Bearer one"},
        {"one:two", "only", "https://only:1", NULL, "Authorization: Bearer one"},
        {"three:two", NULL, "https://two:1", "n2", "Authorization: Bearer two"},
    };
    put("one", "clusters: [{name: c, cluster: {server: 'https://one:1'}}]\nusers: [{name: u, user: {token: one}}]\n"
               "contexts: [{name: x, context: {cluster: c, user: u, namespace: n1}}]\ncurrent-context: x\n", 0600);
    put("two", "clusters: [{name: c, cluster: {server: 'https://two:1'}}, {name: only, cluster: {server: 'https://only:1'}}]\n"
               "users: [{name: u, user: {token: two}}]\ncontexts: [{name: x, context: {cluster: c, user: u, namespace: n2}}, "
               "{name: only, context: {cluster: only, user: u}}]\ncurrent-context: other\n", 0600);
    put("three", "current-context: x\n", 0600);
    for (size_t i = 0; i < COUNT(cases); i++) {
        kube_config_t *c;
        kube_login_t *l = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        /* "two" alone names a context that nobody has */
        CHECK_OK(open_config(cases[i].files, !strcmp(cases[i].files, "two:one") ? "x" : cases[i].context, NULL, &c, &err), &err);
        REQUIRE(c);
        CHECK_STR(kube_config_entries(c)->server, cases[i].server);
        CHECK_STR(kube_config_entries(c)->namespace_, cases[i].namespace_);
        CHECK_OK(kube_config_login(c, 0, &l, &err), &err);
        CHECK_STR(l->headers.items[0], cases[i].header);
        kube_login_unref(c, l);
        kube_config_free(c);
    }
}

/* ---- service accounts ---- */

static void test_service_account(void) {
    static const struct { const char *host, *port, *server; int rc; } cases[] = {
        {"10.0.0.1", "6443", "https://10.0.0.1:6443", 0},
        {"fd00::1", NULL, "https://[fd00::1]:443", 0},
        {"[fd00::1]", "", "https://[fd00::1]:443", 0},
        {NULL, NULL, NULL, OSMO_EINVAL},
        {"", "443", NULL, OSMO_EINVAL},
        {"10.0.0.1", "none", NULL, OSMO_EINVAL},
    };
    put("token", "first", 0600);
    put("ca.crt", "-----BEGIN CERTIFICATE-----\n", 0600);
    put("namespace", "osmo\n", 0600);
    for (size_t i = 0; i < COUNT(cases); i++) {
        kube_config_t *c = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        const osmo_kube_options_t o = {.size = sizeof o, .service_host = cases[i].host, .service_port = cases[i].port,
                                       .service_account_dir = dir};
        CHECK_INT(kube_config_open(&o, &quiet, &c, &err), cases[i].rc);
        CHECK(cases[i].rc == 0 || strstr(err.text, "KUBERNETES_SERVICE_HOST"));
        if (!c)
            continue;
        CHECK_STR(kube_config_entries(c)->server, cases[i].server);
        CHECK_STR(kube_config_entries(c)->namespace_, "osmo");
        kube_config_free(c);
    }
}

static void test_renewal(void) {
    kube_config_t *c = NULL;
    kube_login_t *a = NULL, *b = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    const osmo_kube_options_t o = {.size = sizeof o, .service_host = "h", .service_account_dir = dir};
    put("token", "first", 0600);
    REQUIRE(kube_config_open(&o, &quiet, &c, &err) == 0);
    CHECK_OK(kube_config_login(c, 0, &a, &err), &err);
    put("token", "second", 0600);
    CHECK_OK(kube_config_login(c, 0, &b, &err), &err); /* not yet a minute later */
    CHECK(a == b);
    kube_login_unref(c, b);
    CHECK_OK(kube_config_login(c, a->number, &b, &err), &err);
    CHECK(b->number > a->number);
    CHECK_INT(b->tls_number, a->tls_number);
    CHECK_STR(a->headers.items[0], "Authorization: Bearer first"); /* who began with it keeps it */
    CHECK_STR(b->headers.items[0], "Authorization: Bearer second");
    kube_login_unref(c, a);
    CHECK_OK(kube_config_login(c, b->number - 1, &a, &err), &err); /* somebody else's refusal of the old one: there is a newer one */
    CHECK(a == b);
    kube_login_unref(c, a);
    put("ca.crt", "-----BEGIN CERTIFICATE-----\nx", 0600);
    CHECK_OK(kube_config_login(c, b->number, &a, &err), &err);
    CHECK(a->tls_number > b->tls_number);
    kube_login_unref(c, b);
    char path[256];
    snprintf(path, sizeof path, "%s/token", dir);
    unlink(path);
    CHECK_OK(kube_config_login(c, a->number, &b, &err), &err); /* a volume that is being remounted */
    CHECK(a == b);
    kube_login_unref(c, a);
    kube_login_unref(c, b);
    kube_config_free(c);
}

/* ---- plugins ---- */

#define SAYS(status) \
    "#!/bin/sh\necho '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{" status "}}'\n"

static void test_plugin_answers(void) {
    static const struct { const char *script; int rc; const char *text; } cases[] = {
        {SAYS("\"token\":\"t0\""), 0, NULL},
        {SAYS("\"clientCertificateData\":\"-----BEGIN C\",\"clientKeyData\":\"-----BEGIN K\""), 0, NULL},
        {SAYS("\"clientCertificateData\":\"-----BEGIN C\""), OSMO_EUNAUTH, "half of a certificate"},
        {SAYS("\"token\":\"\""), OSMO_EUNAUTH, "without a token"},
        {SAYS("\"token\":\"t\",\"expirationTimestamp\":\"soon\""), OSMO_EUNAUTH, "no time"},
        {"#!/bin/sh\necho '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\"}'\n", OSMO_EUNAUTH,
         "another apiVersion"},
        {"#!/bin/sh\necho '{\"kind\":\"Pod\"}'\n", OSMO_EUNAUTH, "no ExecCredential"},
        {"#!/bin/sh\necho topsecret\n", OSMO_EUNAUTH, "no JSON object"},
        {"#!/bin/sh\nexit 0\n", OSMO_EUNAUTH, "no JSON object"},
        {"#!/bin/sh\necho topsecret; echo 'log in first' >&2; exit 3\n", OSMO_EUNAUTH, "exit code 3: log in first; see the manual"},
        {"#!/bin/sh\nkill -9 $$\n", OSMO_EUNAUTH, "signal 9"},
        {"#!/bin/sh\nexec yes topsecret\n", OSMO_EUNAUTH, "wrote more than"},
        {"#!/bin/sh\nread x || echo eof >&2; exit 1\n", OSMO_EUNAUTH, "eof"},
        {"#!/no/such/interpreter\n", OSMO_EUNAUTH, "cannot be started"},
        /* a child that holds the pipe open does not hold us up */
        {"#!/bin/sh\nsleep 3 & echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":"
         "\"t\"}}'\n", 0, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        kube_config_t *c;
        kube_login_t *l = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        put("plugin", cases[i].script, 0700);
        put("exec", CONFIG(HTTPS, EXEC("command: ./plugin, installHint: see the manual")), 0600);
        CHECK_OK(open_config("exec", NULL, (const char *const[]){"PATH=/usr/bin:/bin", NULL}, &c, &err), &err);
        REQUIRE(c);
        CHECK_INT(kube_config_login(c, 0, &l, &err), cases[i].rc);
        CHECK(!strstr(err.text, "topsecret"));
        if (cases[i].text)
            CHECK_CONTAINS(err.text, cases[i].text);
        kube_login_unref(c, l);
        kube_config_free(c);
    }
}

/* What it gets, and when it is asked again. */
static void test_plugin_life(void) {
    static const char script[] =
        "#!/bin/sh\nread n < count; n=$((n + 1)); echo $n > count\n"
        "printf '%s\\n' \"$KUBERNETES_EXEC_INFO\" \"$A$B\" \"$HOME\" \"$*\" > saw\n"
        "case $n in 1) when=2001-01-01T00:00:00Z;; *) when=2999-01-01T00:00:00Z;; esac\n"
        "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"status\":{\"token\":\"t'$n'\","
        "\"expirationTimestamp\":\"'$when'\"}}'\n";
    kube_config_t *c;
    kube_login_t *l[4] = {NULL};
    char path[256], env[256];
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_buf_ buf_t saw = BUF_INIT(8192);
    snprintf(env, sizeof env, "PATH=%s:/usr/bin:/bin", dir);
    put("count", "0\n", 0600);
    put("plug in", script, 0700);
    put("exec", "clusters: [{name: c, cluster: {server: 'https://h:1', tls-server-name: s, certificate-authority-data: " CERT ", "
                "extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: 7}}]}}]\n"
                "users: [{name: u, user: {exec: {command: plug in, "
                "apiVersion: client.authentication.k8s.io/v1beta1, args: [a, '$(b)'], provideClusterInfo: true, "
                "env: [{name: A, value: one}, {name: B}, {name: HOME, value: '/x'}]}}}]\n"
                "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", 0600);
    CHECK_OK(open_config("exec", NULL, (const char *const[]){env, "HOME=/root", "B=two", NULL}, &c, &err), &err);
    REQUIRE(c && chdir(dir) == 0);
    CHECK_OK(kube_config_login(c, 0, &l[0], &err), &err); /* expired already */
    CHECK_OK(kube_config_login(c, 0, &l[1], &err), &err); /* good for long */
    CHECK_OK(kube_config_login(c, 0, &l[2], &err), &err);
    REQUIRE(l[0] && l[1] && l[2]);
    CHECK_OK(kube_config_login(c, l[2]->number, &l[3], &err), &err); /* the server does not take it */
    REQUIRE(l[3]);
    static const char *const want[] = {"Authorization: Bearer t1", "Authorization: Bearer t2", "Authorization: Bearer t2",
                                       "Authorization: Bearer t3"};
    for (size_t i = 0; i < 4; i++) {
        CHECK_STR(l[i]->headers.items[0], want[i]);
        kube_login_unref(c, l[i]);
    }
    snprintf(path, sizeof path, "%s/saw", dir);
    CHECK_OK(file_read(path, &saw, &err), &err);
    CHECK_STR(buf_cstr(&saw), "{\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"kind\":\"ExecCredential\",\"spec\":{"
              "\"interactive\":false,"
              "\"cluster\":{\"server\":\"https://h:1\",\"certificate-authority-data\":\"" CERT "\",\"tls-server-name\":\"s\",\"config\":"
              "{\"audience\":7}}}}\none\n/x\na $(b)\n");
    kube_config_free(c);
}

/* Neither its time nor the client's end is waited out. */
static void test_plugin_ends(void) {
    struct kube_exec x = {.api_version = "client.authentication.k8s.io/v1", .timeout_ms = 50};
    struct kube_credential got;
    char command[256];
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(command, sizeof command, "%s/slow", dir);
    put("slow", "#!/bin/sh\nexec sleep 1000\n", 0700);
    x.command = command;
    CHECK_INT(kube_exec_run(&x, NULL, -1, &got, &err), OSMO_EUNAUTH);
    CHECK_CONTAINS(err.text, "did not answer within");
    x.timeout_ms = 600000;
    int stop = eventfd(1, EFD_CLOEXEC);
    CHECK_INT(kube_exec_run(&x, NULL, stop, &got, &err), OSMO_ECONFLICT);
    close(stop);
}

static const struct check_test tests[] = {
    {"bad kubeconfigs", test_bad},
    {"good kubeconfigs", test_good},
    {"several kubeconfigs", test_merge},
    {"service accounts", test_service_account},
    {"renewal", test_renewal},
    {"answers of plugins", test_plugin_answers},
    {"a plugin's life", test_plugin_life},
    {"the end of plugins", test_plugin_ends},
};

int main(int argc, char **argv) {
    if (!mkdtemp(dir))
        return 1;
    int rc = check_main("kube_config", tests, COUNT(tests), argc, argv);
    dir_remove_tree(dir, NULL);
    return rc;
}
