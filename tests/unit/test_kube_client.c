/* The Kubernetes client against a server that plays what API servers do: overload, failures, cut connections, tokens that ran out, pages,
 * conflicts. */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "kube_server.h"
#include "osmo/backend/kube.h"
#include "tls_fixture.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* steps of scripts name what matters */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/test_kube_client_XXXXXX";
static struct kube_server server;

static bool write_text(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return file_write_atomic(path, text, strlen(text), 0600, false, NULL) == 0;
}

/* A kubeconfig for the server; `cluster` and `user` are YAML flow members. */
static osmo_kube_t *client_with(const char *cluster, const char *user, osmo_kube_options_t *o) {
    char path[256];
    osmo_kube_t *k = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    char *text = str_printf("clusters: [{name: c, cluster: {server: '%s'%s%s}}]\nusers: [{name: u, user: {%s}}]\n"
                            "contexts: [{name: x, context: {cluster: c, user: u, namespace: here}}]\ncurrent-context: x\n", server.url,
                            cluster ? ", " : "", cluster ? cluster : "", user);
    snprintf(path, sizeof path, "%s/config", dir);
    o->size = sizeof *o;
    o->kubeconfig = path;
    if (text && write_text("config", text))
        CHECK_OK(osmo_kube_open(o, &k, &err), &err);
    free(text);
    return k;
}

static osmo_kube_t *client(int64_t retry_ms) {
    osmo_kube_options_t o = {.retry_ms = retry_ms, .timeout_ms = 20000};
    return client_with(NULL, "token: sesame", &o);
}

#define POD_A {.size = sizeof(osmo_kube_target_t), .api_version = "v1", .kind = "Pod", .namespace_ = "n", .name = "a"}
static const osmo_kube_target_t pod = POD_A;

/* ---- errors and retries ---- */

#define STATUS(code, reason, message, details)                                                                                         \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"" message "\",\"reason\":\"" reason \
    "\",\"details\":{" details "},\"code\":" #code "}\n"

static void test_codes(void) {
    static const struct { struct kube_step step; int rc; const char *text; } cases[] = {
        {{400, NULL, STATUS(400, "BadRequest", "bad \\\"thing\\\"", "")}, OSMO_EINVAL, "bad \"thing\""},
        {{403, NULL, STATUS(403, "Forbidden", "pods is forbidden", "")}, OSMO_EDENIED, "pods is forbidden"},
        {{404, NULL, STATUS(404, "NotFound", "pods \\\"a\\\" not found", "")}, OSMO_ENOTFOUND, "pods \"a\" not found"},
        {{409, NULL, STATUS(409, "AlreadyExists", "there already", "")}, OSMO_EEXISTS, "there already"},
        {{409, NULL, STATUS(409, "Conflict", "modified", "")}, OSMO_ECONFLICT, "modified"},
        {{410, NULL, STATUS(410, "Expired", "too old", "")}, OSMO_EGONE, "too old"},
        {{413, NULL, STATUS(413, "RequestEntityTooLarge", "large", "")}, OSMO_ELIMIT, "large"},
        {{415, NULL, "unsupported"}, OSMO_EINVAL, "the Kubernetes API server answered 415: unsupported"},
        {{422, NULL, STATUS(422, "Invalid", "line one\\nline two", "")}, OSMO_EINVAL, "line one line two"},
        {{429, NULL, STATUS(429, "TooManyRequests", "later", "\"retryAfterSeconds\":9")}, OSMO_EBUSY, "later"},
        {{429, "Retry-After: 9\r\n", "Too many requests, please try again later.\n"}, OSMO_EBUSY,
         "the Kubernetes API server answered 429: Too many requests, please try again later."},
        {{500, NULL, STATUS(500, "InternalError", "webhook failed", "")}, OSMO_EUNAVAIL, "webhook failed"},
        {{502, NULL, "<html>Bad Gateway</html>"}, OSMO_EUNAVAIL, "the Kubernetes API server answered 502"},
        {{504, NULL, STATUS(504, "Timeout", "Too large resource version", "\"retryAfterSeconds\":1")}, OSMO_EUNAVAIL,
         "Too large resource version"},
        {{302, "Location: http://127.0.0.1:1/\r\n", ""}, OSMO_EIO, "the Kubernetes API server answered 302"},
        {{418, NULL, STATUS(418, "", "", "")}, OSMO_EIO, "the Kubernetes API server answered 418 "},
        {{200, NULL, "<html>log in first</html>"}, OSMO_EIO, "is no object"},
        {{200, NULL, ""}, OSMO_EIO, "is no object"},
        {{.how = PLAY_NOTHING}, OSMO_EIO, "was lost"},
        {{200, NULL, "{\"kind\":\"Pod\"}", PLAY_CUT}, OSMO_EIO, "127.0.0.1"},
    };
    REQUIRE(kube_server_start(&server, NULL, 0, NULL, NULL, NULL));
    osmo_kube_t *k = client(-1);
    REQUIRE(k);
    CHECK_STR(osmo_kube_get_namespace(k), "here");
    CHECK_STR(osmo_kube_get_server(k), server.url);
    for (size_t i = 0; i < COUNT(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        char *json = NULL;
        const struct kube_step steps[] = {cases[i].step, cases[i].step};
        /* on a connection that was kept, libcurl takes it for one that had ended before, and repeats the GET */
        size_t n = cases[i].step.how == PLAY_NOTHING ? 2 : 1;
        kube_server_play(&server, steps, n);
        CHECK_INT(osmo_kube_get(k, &pod, &json, NULL, &err), cases[i].rc);
        CHECK_INT(err.code, cases[i].rc);
        CHECK_CONTAINS(err.text, cases[i].text);
        CHECK(!strstr(err.text, "osmo-service"));
        CHECK_INT(kube_server_count(&server), n);
        free(json);
    }
    osmo_kube_free(k);
    kube_server_stop(&server);
}

#define DONE {200, NULL, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}"}

static void test_retries(void) {
    static const struct { struct kube_step steps[6]; size_t n; bool nameless; int rc; } cases[] = {
        {{{500}, {500}, {500}, DONE}, 4, false, 0},
        {{{429}, {429, "Retry-After: 0\r\n"}, {503}, DONE}, 4, true, 0},
        {{{502}, {504}, {.how = PLAY_NOTHING}, DONE}, 4, false, 0},
        {{{200, NULL, "{\"kind\":\"Pod\",\"x\":\"y\"}", PLAY_CUT}, DONE}, 2, false, 0},
        {{{201, NULL, "{\"kind\":\"Pod\"}", PLAY_CHUNKS, 1}}, 1, false, 0},
        {{{500}}, 1, true, OSMO_EUNAVAIL},                     /* without a name it could be made twice */
        {{{.how = PLAY_NOTHING}}, 1, true, OSMO_EIO},
        {{{501}}, 1, false, OSMO_EUNAVAIL},
        {{{409, NULL, STATUS(409, "Conflict", "c", "")}}, 1, false, OSMO_ECONFLICT},
        {{{403}}, 1, false, OSMO_EDENIED},
    };
    const osmo_kube_target_t all = {.size = sizeof all, .api_version = "v1", .kind = "Pod", .namespace_ = "n"};
    REQUIRE(kube_server_start(&server, NULL, 0, NULL, NULL, NULL));
    osmo_kube_t *k = client(0);
    REQUIRE(k);
    for (size_t i = 0; i < COUNT(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        char *json = NULL;
        const char *body = cases[i].nameless ? "{\"metadata\":{\"generateName\":\"a\"}}" : "{\"metadata\":{\"name\":\"a\"}}";
        kube_server_play(&server, cases[i].steps, cases[i].n);
        int rc = osmo_kube_create(k, &all, body, strlen(body), &json, &err);
        CHECK_INT(rc, cases[i].rc);
        CHECK_INT(kube_server_count(&server), cases[i].n);
        if (rc == 0)
            CHECK_CONTAINS(json, "Pod");
        const struct kube_seen *last = kube_server_seen(&server, cases[i].n - 1);
        CHECK(last && !strcmp(last->body, body) && !strcmp(last->method, "POST") && !strcmp(last->path, "/api/v1/namespaces/n/pods"));
        free(json);
    }
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* A server that is starting forbids what it allows a moment later; one that is ready means it. */
static void test_starting(void) {
#define NO {403, NULL, STATUS(403, "Forbidden", "pods is forbidden", "")}
#define GONE {.how = PLAY_NOTHING, .discovery = true}
#define READYZ(status) {status, "Content-Type: text/plain\r\n", "x", PLAY_WHOLE, 0, true}
    static const struct { struct kube_step steps[8]; size_t n; int rc; } cases[] = {
        {{NO, READYZ(500), NO, READYZ(500), DONE}, 5, 0},
        {{NO, READYZ(503), NO, READYZ(429), NO, READYZ(200), DONE}, 7, 0},               /* ready in between: once more */
        {{{500}, NO, READYZ(200), NO}, 4, OSMO_EDENIED},                /* and it was asked after it was ready */
        {{NO, GONE, GONE, DONE}, 4, 0},                                 /* libcurl itself tries a kept connection's GET again */
        {{NO, READYZ(403)}, 2, OSMO_EDENIED},                           /* it does not tell us */
        {{{503}, NO, READYZ(403), NO, READYZ(200), NO}, 6, OSMO_EDENIED}, /* except that it is still starting */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        char *json = NULL;
        REQUIRE(kube_server_start(&server, cases[i].steps, cases[i].n, NULL, NULL, NULL));
        osmo_kube_t *k = client(0);
        REQUIRE(k);
        CHECK_INT(osmo_kube_get(k, &pod, &json, NULL, &err), cases[i].rc);
        CHECK_INT(kube_server_count(&server), cases[i].n);
        if (cases[i].rc)
            CHECK_CONTAINS(err.text, "pods is forbidden");
        free(json);
        osmo_kube_free(k);
        kube_server_stop(&server);
    }
}

/* Asked to wait for longer than there is time: at once the error. */
static void test_no_time(void) {
    static const struct kube_step steps[] = {{429, "Retry-After: 250\r\n", ""}};
    REQUIRE(kube_server_start(&server, steps, 1, NULL, NULL, NULL));
    osmo_kube_t *k = client(30000);
    REQUIRE(k);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(osmo_kube_get(k, &pod, &(char *){NULL}, NULL, &err), OSMO_EBUSY);
    CHECK_INT(kube_server_count(&server), 1);
    osmo_kube_free(k);
    kube_server_stop(&server);
    k = client(-1); /* nobody listens there now */
    REQUIRE(k);
    CHECK_INT(osmo_kube_get(k, &pod, &(char *){NULL}, NULL, &err), OSMO_EUNAVAIL);
    CHECK_CONTAINS(err.text, "connection refused by 127.0.0.1:");
    CHECK_CONTAINS(err.text, "is the Kubernetes API server up");
    osmo_kube_free(k);
}

/* ---- what is sent ---- */

static void test_requests(void) {
    static const struct kube_step ok[] = {{200, NULL, "{}"}};
    static const char body[] = "{\"metadata\":{\"name\":\"a\"}}";
    enum verb { GET, CREATE, BIND, REPLACE, MERGE, STRATEGIC, JSON, REMOVE, REMOVE_ALL, LIST };
    static const struct { enum verb verb; osmo_kube_target_t what; osmo_kube_delete_t how; const char *method, *path, *type, *body; }
    cases[] = {
        {GET, POD_A, {0}, "GET", "/api/v1/namespaces/n/pods/a", "", ""},
        {GET, {.size = sizeof pod, .api_version = "v1", .kind = "Node", .name = "w 1", .namespace_ = "ignored"}, {0}, "GET",
         "/api/v1/nodes/w%201", "", ""},
        {GET, {.size = sizeof pod, .api_version = "batch/v1", .kind = "Job", .namespace_ = "n", .name = "j", .subresource = "status"}, {0},
         "GET", "/apis/batch/v1/namespaces/n/jobs/j/status", "", ""},
        {CREATE, {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .namespace_ = "n", .name = "a"}, {0}, "POST",
         "/api/v1/namespaces/n/pods", "application/json", body},
        {BIND, {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .namespace_ = "n", .name = "a", .subresource = "binding"}, {0},
         "POST", "/api/v1/namespaces/n/pods/a/binding", "application/json", body},
        {REPLACE, POD_A, {0}, "PUT", "/api/v1/namespaces/n/pods/a", "application/json", body},
        {MERGE, POD_A, {0}, "PATCH", "/api/v1/namespaces/n/pods/a", "application/merge-patch+json", body},
        {STRATEGIC, POD_A, {0}, "PATCH", "/api/v1/namespaces/n/pods/a?fieldManager=osmo%2Fx", "application/strategic-merge-patch+json",
         body},
        {JSON, POD_A, {0}, "PATCH", "/api/v1/namespaces/n/pods/a", "application/json-patch+json", body},
        {REMOVE, POD_A, {.size = sizeof(osmo_kube_delete_t), .grace_s = 0, .propagation = "Foreground", .uid = "u-1"}, "DELETE",
         "/api/v1/namespaces/n/pods/a", "application/json", "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0,"
         "\"propagationPolicy\":\"Foreground\",\"preconditions\":{\"uid\":\"u-1\"}}"},
        {REMOVE, POD_A, {.size = sizeof(osmo_kube_delete_t), .grace_s = -1}, "DELETE", "/api/v1/namespaces/n/pods/a", "application/json",
         "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"}"},
        {REMOVE_ALL, {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .namespace_ = "n", .label_selector = "a in (b,c),d!=é"}, {0},
         "DELETE", "/api/v1/namespaces/n/pods?labelSelector=a%20in%20%28b%2Cc%29%2Cd%21%3D%C3%A9", "application/json",
         "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"}"},
    };
    REQUIRE(kube_server_start(&server, ok, 1, NULL, NULL, NULL));
    osmo_kube_t *k = client(-1);
    REQUIRE(k);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const osmo_kube_target_t *what = &cases[i].what;
        const osmo_kube_delete_t *how = cases[i].how.size ? &cases[i].how : NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        char *json = NULL;
        size_t len = strlen(body);
        int rc = OSMO_EINTERNAL;
        kube_server_play(&server, ok, 1);
        switch (cases[i].verb) {
        case GET: rc = osmo_kube_get(k, what, &json, &len, &err); break;
        case CREATE: case BIND: rc = osmo_kube_create(k, what, body, len, NULL, &err); break;
        case REPLACE: rc = osmo_kube_replace(k, what, body, len, &json, &err); break;
        case MERGE: rc = osmo_kube_patch(k, what, OSMO_KUBE_PATCH_MERGE, body, len, NULL, &err); break;
        case STRATEGIC: rc = osmo_kube_patch(k, what, OSMO_KUBE_PATCH_STRATEGIC, body, len, "osmo/x", &err); break;
        case JSON: rc = osmo_kube_patch(k, what, OSMO_KUBE_PATCH_JSON, body, len, NULL, &err); break;
        default: rc = osmo_kube_remove(k, what, how, &err); break;
        }
        CHECK_OK(rc, &err);
        const struct kube_seen *seen = kube_server_seen(&server, 0);
        REQUIRE(seen);
        CHECK_STR(seen->method, cases[i].method);
        CHECK_STR(seen->path, cases[i].path);
        CHECK_STR(seen->type, cases[i].type);
        CHECK_STR(seen->body, cases[i].body);
        CHECK_STR(seen->authorization, "Bearer sesame");
        CHECK_CONTAINS(seen->more, "User-Agent: osmo-backend/");
        free(json);
    }
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* A name that would make it a request for something else never leaves. */
static void test_refused_targets(void) {
    static const osmo_kube_target_t cases[] = {
        {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .namespace_ = "n", .name = ""},
        {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .namespace_ = "n", .name = ".."},
        {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .namespace_ = "n", .name = "a/b"},
        {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .namespace_ = "n", .name = "a%2e"},
        {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .namespace_ = "..", .name = "a"},
        {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .name = "a"},
        {.size = sizeof pod, .api_version = "v1", .kind = "Pod"},
        {.size = sizeof pod, .api_version = "v1", .kind = "Pod", .namespace_ = ""},
        {.size = sizeof pod, .api_version = "v1", .kind = "Node"},
        {.size = sizeof pod, .api_version = "v1", .name = "a"},
        {.size = sizeof pod, .api_version = "../v1", .kind = "Pod", .namespace_ = "n", .name = "a"},
        {.size = sizeof pod, .api_version = "a/b/c", .kind = "Pod", .namespace_ = "n", .name = "a"},
        {.size = sizeof pod, .api_version = "v1?x", .kind = "Pod", .namespace_ = "n", .name = "a"},
    };
    REQUIRE(kube_server_start(&server, NULL, 0, NULL, NULL, NULL));
    osmo_kube_t *k = client(-1);
    REQUIRE(k);
    for (size_t i = 0; i < COUNT(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(osmo_kube_remove(k, &cases[i], NULL, &err), OSMO_EINVAL);
        CHECK(err.text[0]);
    }
    CHECK_INT(kube_server_count(&server), 0);
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* ---- secrets ---- */

static void test_secrets(void) {
    static const struct kube_step steps[] = {
        {400, NULL, STATUS(400, "BadRequest", "Secret in version \\\"v1\\\" cannot be handled: illegal base64 data, error found in #10 "
                           "byte of ...|a\\\":\\\"hunter2\\\"}|...", "")},
        {500, NULL, "hunter2 is what was sent"},
    };
    const osmo_kube_target_t secret = {.size = sizeof secret, .api_version = "v1", .kind = "Secret", .namespace_ = "n", .name = "s"};
    static const char body[] = "{\"metadata\":{\"name\":\"s\"},\"data\":{\"a\":\"hunter2\"}}";
    REQUIRE(kube_server_start(&server, steps, COUNT(steps), NULL, NULL, NULL));
    osmo_kube_t *k = client(-1);
    REQUIRE(k);
    for (size_t i = 0; i < COUNT(steps); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK(osmo_kube_create(k, &secret, body, strlen(body), NULL, &err) < 0);
        CHECK(err.text[0] && !strstr(err.text, "hunter2") && !strstr(err.text, "sesame"));
    }
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* ---- lists ---- */

struct items { char text[512]; int n, stop_at; };

static int on_item(void *ctx, const char *json, size_t len) {
    struct items *i = ctx;
    size_t have = strlen(i->text);
    snprintf(i->text + have, sizeof i->text - have, "%.*s;", (int)len, json);
    return ++i->n == i->stop_at;
}

static void test_list(void) {
    static const struct kube_step pages[] = {
        {200, NULL, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"77\",\"continue\":\"a+b/c==\","
                    "\"remainingItemCount\":3},\"items\":[{\"metadata\":{\"name\":\"]}\\\"\"}} , {\"b\":[1]}]}"},
        {500},
        {200, NULL, "{\"apiVersion\":\"v1\",\"items\":[{\"c\":2}],\"kind\":\"PodList\",\"metadata\":{\"continue\":\"\",\"resourceVersion\":"
                    "\"77\"}}", PLAY_CHUNKS, 3},
    };
    static const struct kube_step empty[] = {{200, NULL, "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":null}"}};
    static const struct kube_step expired[] = {
        {200, NULL, "{\"metadata\":{\"resourceVersion\":\"77\",\"continue\":\"x\"},\"items\":[{}]}"},
        {410, NULL, STATUS(410, "Expired", "the provided continue parameter is too old", "")},
    };
    static const struct { const struct kube_step *steps; size_t n; const char *version; int stop_at, rc; const char *items, *end, *query; }
    cases[] = {
        {pages, 3, "", 0, 0, "{\"metadata\":{\"name\":\"]}\\\"\"}};{\"b\":[1]};{\"c\":2};", "77", "?labelSelector=a%3Db&limit=500"},
        {pages, 1, "0", 1, 0, "{\"metadata\":{\"name\":\"]}\\\"\"}};", "0", "?labelSelector=a%3Db&limit=500&resourceVersion=0"},
        {empty, 1, "5", 0, 0, "", "9", "?labelSelector=a%3Db&limit=500&resourceVersion=5&resourceVersionMatch=NotOlderThan"},
        {expired, 2, "", 0, OSMO_EGONE, "{};", "", "?labelSelector=a%3Db&limit=500"},
    };
    static const char *const broken[] = {"", "{}", "[]", "{\"items\":[{}", "{\"items\":[}]}", "{\"items\":[]} x", "{\"items\":{}",
                                         "<html>"};
    osmo_kube_target_t what = {.size = sizeof what, .api_version = "v1", .kind = "Pod", .namespace_ = "n", .label_selector = "a=b"};
    REQUIRE(kube_server_start(&server, NULL, 0, NULL, NULL, NULL));
    osmo_kube_t *k = client(0);
    REQUIRE(k);
    for (size_t i = 0; i < COUNT(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        struct items got = {.stop_at = cases[i].stop_at};
        char version[OSMO_KUBE_VERSION_MAX];
        snprintf(version, sizeof version, "%s", cases[i].version);
        kube_server_play(&server, cases[i].steps, cases[i].n);
        CHECK_INT(osmo_kube_list(k, &what, 0, version, on_item, &got, &err), cases[i].rc);
        CHECK_STR(got.text, cases[i].items);
        CHECK_STR(version, cases[i].end);
        CHECK_INT(kube_server_count(&server), cases[i].n);
        CHECK_STR(kube_server_seen(&server, 0)->path + strlen("/api/v1/namespaces/n/pods"), cases[i].query);
        if (cases[i].n == 3)
            CHECK_STR(kube_server_seen(&server, 2)->path,
                      "/api/v1/namespaces/n/pods?labelSelector=a%3Db&limit=500&continue=a%2Bb%2Fc%3D%3D");
    }
    for (size_t i = 0; i < COUNT(broken); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        struct items got = {.stop_at = 0};
        const struct kube_step step = {200, NULL, broken[i], PLAY_WHOLE, 0, false};
        kube_server_play(&server, &step, 1);
        CHECK_INT(osmo_kube_list(k, &what, 1, NULL, on_item, &got, &err), OSMO_EIO);
    }
    osmo_kube_free(k);
    kube_server_stop(&server);
}

static void test_logs(void) {
    static const struct kube_step steps[] = {
        {500}, {200, NULL, "one\ntwo\n", PLAY_CHUNKS, 5}, {400, NULL, STATUS(400, "BadRequest", "container c is waiting", "")},
        {200, NULL, "one\ntwo\n", PLAY_CUT}, {200, NULL, "one\n", PLAY_HOLD},
    };
    REQUIRE(kube_server_start(&server, steps, COUNT(steps), NULL, NULL, NULL));
    osmo_kube_t *k = client(0);
    REQUIRE(k);
    osmo_error_t err = OSMO_ERROR_INIT;
    struct items got = {.stop_at = 0};
    CHECK_OK(osmo_kube_logs(k, "n", "a", "c", 2, on_item, &got, &err), &err);
    CHECK_STR(got.text, "one\nt;wo\n;");
    CHECK_STR(kube_server_seen(&server, 1)->path, "/api/v1/namespaces/n/pods/a/log?container=c&tailLines=2");
    CHECK_INT(osmo_kube_logs(k, "n", "a", NULL, 0, on_item, &got, &err), OSMO_EINVAL);
    CHECK_STR(err.text, "container c is waiting");
    CHECK_STR(kube_server_seen(&server, 2)->path, "/api/v1/namespaces/n/pods/a/log");
    CHECK_INT(osmo_kube_logs(k, "n", "a", NULL, 0, on_item, &got, &err), OSMO_EIO); /* some was given already: not again */
    CHECK_INT(kube_server_count(&server), 4);
    got = (struct items){.stop_at = 1};
    CHECK_OK(osmo_kube_logs(k, "n", "a", NULL, 0, on_item, &got, &err), &err); /* the reader had enough */
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* ---- discovery ---- */

#define KINDS(list) {200, NULL, "{\"kind\":\"APIResourceList\",\"resources\":[" list "]}", PLAY_WHOLE, 0, true}

static void test_discovery(void) {
    static const struct kube_step later[] = {
        {404, NULL, "404 page not found", PLAY_WHOLE, 0, true}, READYZ(200),
        KINDS("{\"name\":\"podgroups\",\"kind\":\"PodGroup\",\"namespaced\":true},{\"name\":\"podgroups/status\",\"kind\":\"PodGroup\"}"),
    };
    static const struct kube_step down[] = {{503, NULL, "service unavailable", PLAY_WHOLE, 0, true},
                                            KINDS("{\"name\":\"pods\",\"kind\":\"PodMetrics\",\"namespaced\":true}")};
    REQUIRE(kube_server_start(&server, later, COUNT(later), NULL, NULL, NULL));
    osmo_kube_t *k = client(-1);
    REQUIRE(k);
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_kube_resource_t r;
    const char *group = "scheduling.run.ai/v2alpha2";
    CHECK_INT(osmo_kube_discover(k, group, "PodGroup", &r, &err), OSMO_ENOTFOUND);
    CHECK_CONTAINS(err.text, "PodGroup in scheduling.run.ai/v2alpha2");
    CHECK_INT(osmo_kube_discover(k, group, "PodGroup", &r, &err), OSMO_ENOTFOUND); /* within a second: from memory */
    CHECK_INT(kube_server_count(&server), 2);
    int rc = OSMO_ENOTFOUND;
    for (int i = 0; i < 100 && rc == OSMO_ENOTFOUND; i++, poll(NULL, 0, 100))
        rc = osmo_kube_discover(k, group, "PodGroup", &r, &err);
    CHECK_OK(rc, &err);
    CHECK_STR(r.path, "/apis/scheduling.run.ai/v2alpha2");
    CHECK_STR(r.plural, "podgroups");
    CHECK_INT(r.namespaced, 1);
    kube_server_play(&server, down, 2);
    CHECK_INT(osmo_kube_discover(k, "metrics.k8s.io/v1", "PodMetrics", &r, &err), OSMO_EUNAVAIL); /* its own server's trouble only */
    CHECK_OK(osmo_kube_discover(k, "metrics.k8s.io/v1", "PodMetrics", &r, &err), &err); /* a failure is not remembered */
    CHECK_OK(osmo_kube_discover(k, "v1", "Node", &r, &err), &err);
    CHECK_STR(r.plural, "nodes");
    CHECK_INT(r.namespaced, 0);
    CHECK_OK(osmo_kube_discover(k, "batch/v1", "Job", &r, &err), &err);
    CHECK_INT(kube_server_count(&server), 2);
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* A server that is starting does not know yet what was added to it. */
static void test_early_discovery(void) {
    static const struct kube_step steps[] = {
        {404, NULL, "404 page not found", PLAY_WHOLE, 0, true}, READYZ(500),
        {404, NULL, "404 page not found", PLAY_WHOLE, 0, true}, READYZ(200),
        KINDS("{\"name\":\"things\",\"kind\":\"Thing\",\"namespaced\":true}"),
    };
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_kube_resource_t r;
    REQUIRE(kube_server_start(&server, steps, COUNT(steps), NULL, NULL, NULL));
    osmo_kube_t *k = client(0);
    REQUIRE(k);
    CHECK_OK(osmo_kube_discover(k, "tests/v1", "Thing", &r, &err), &err);
    CHECK_INT(kube_server_count(&server), COUNT(steps));
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* ---- logins ---- */

static void test_token_file(void) {
    static const struct kube_step steps[] = {DONE, {401}, DONE, {401}, {401}};
    char user[256];
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_kube_options_t o = {.retry_ms = -1};
    snprintf(user, sizeof user, "tokenFile: %s/token", dir);
    REQUIRE(write_text("token", "first\n") && kube_server_start(&server, steps, COUNT(steps), NULL, NULL, NULL));
    osmo_kube_t *k = client_with(NULL, user, &o);
    REQUIRE(k);
    char *json = NULL;
    CHECK_OK(osmo_kube_get(k, &pod, &json, NULL, &err), &err);
    free(json);
    CHECK(write_text("token", "second"));
    CHECK_OK(osmo_kube_get(k, &pod, &json, NULL, &err), &err); /* 401: read again at once */
    free(json);
    CHECK_INT(osmo_kube_get(k, &pod, &json, NULL, &err), OSMO_EUNAUTH); /* nothing newer is there: not sent again */
    CHECK_INT(kube_server_count(&server), 4);
    CHECK(write_text("token", "bad\ntoken"));
    CHECK_INT(osmo_kube_get(k, &pod, &json, NULL, &err), OSMO_EUNAUTH);
    CHECK(!strstr(err.text, "bad"));
    static const char *const want[] = {"Bearer first", "Bearer first", "Bearer second", "Bearer second", "Bearer second"};
    for (size_t i = 0; i < COUNT(want); i++)
        CHECK_STR(kube_server_seen(&server, i) ? kube_server_seen(&server, i)->authorization : NULL, want[i]);
    osmo_kube_free(k);
    kube_server_stop(&server);
}

static void test_ways_to_log_in(void) {
    static const struct { const char *user, *header, *more; } cases[] = {
        {"token: ' t '", "Bearer t", ""},
        {"username: me, password: 'p:w'", "Basic bWU6cDp3", ""},
        {"{}", "", ""},
        {"token: t, as: you, as-uid: '7', as-groups: [g, h]", "Bearer t",
         "Impersonate-User: you\r\nImpersonate-Uid: 7\r\nImpersonate-Group: g\r\nImpersonate-Group: h\r\n"},
    };
    static const struct kube_step ok[] = {DONE};
    REQUIRE(kube_server_start(&server, ok, 1, NULL, NULL, NULL));
    for (size_t i = 0; i < COUNT(cases); i++) {
        osmo_kube_options_t o = {.retry_ms = -1};
        osmo_kube_t *k = client_with(NULL, strcmp(cases[i].user, "{}") ? cases[i].user : "", &o);
        REQUIRE(k);
        char *json = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        kube_server_play(&server, ok, 1);
        CHECK_OK(osmo_kube_get(k, &pod, &json, NULL, &err), &err);
        free(json);
        const struct kube_seen *seen = kube_server_seen(&server, 0);
        REQUIRE(seen);
        CHECK_STR(seen->authorization, cases[i].header);
        CHECK_CONTAINS(seen->more, cases[i].more);
        osmo_kube_free(k);
    }
    kube_server_stop(&server);
}

/* ---- TLS ---- */

static void test_tls(void) {
    static const struct { const char *server, *client; bool demand; const char *cluster, *user; int rc; const char *text; } cases[] = {
        {"good", NULL, false, "certificate-authority: ca.pem", "token: t", 0, NULL},
        {"good", NULL, false, "insecure-skip-tls-verify: true", "token: t", 0, NULL},
        {"good", NULL, false, NULL, "token: t", OSMO_EIO, "give its authority as certificate-authority"},
        {"good", NULL, false, "certificate-authority: other/ca.pem", "token: t", OSMO_EIO, "is not believed to be itself"},
        {"named", NULL, false, "certificate-authority: ca.pem", "token: t", OSMO_EIO, "is not believed to be itself"},
        {"named", NULL, false, "certificate-authority: ca.pem, tls-server-name: kubernetes.default", "token: t", 0, NULL},
        {"old", NULL, false, "certificate-authority: ca.pem", "token: t", OSMO_EIO, "expired"},
        {"good", NULL, true, "certificate-authority: ca.pem", "client-certificate: me.pem, client-key: me.key", 0, NULL},
        {"good", NULL, true, "certificate-authority: ca.pem", "token: t", OSMO_EIO, "certificate required"},
        {"good", NULL, true, "certificate-authority: ca.pem", "client-certificate: me.pem, client-key: good.key", OSMO_EINVAL,
         "that belong together"},
    };
    char other[128];
    static const struct kube_step ok[] = {DONE};
    snprintf(other, sizeof other, "%s/other", dir);
    REQUIRE(dir_make(other, 0700, NULL) == 0);
    if (!tls_make_ca(dir) || !tls_make_ca(other))
        return;
    CHECK(tls_make_cert(dir, "good", "IP:127.0.0.1", 5) && tls_make_cert(dir, "named", "DNS:kubernetes.default", 5) &&
          tls_make_cert(dir, "old", "IP:127.0.0.1", -1) && tls_make_cert(dir, "me", "DNS:me", 5));
    for (size_t i = 0; i < COUNT(cases); i++) {
        char cert[128], key[128], ca[128];
        osmo_error_t err = OSMO_ERROR_INIT;
        osmo_kube_options_t o = {.retry_ms = -1};
        snprintf(cert, sizeof cert, "%s/%s.pem", dir, cases[i].server);
        snprintf(key, sizeof key, "%s/%s.key", dir, cases[i].server);
        snprintf(ca, sizeof ca, "%s/ca.pem", dir);
        REQUIRE(kube_server_start(&server, ok, 1, cert, key, cases[i].demand ? ca : NULL));
        osmo_kube_t *k = client_with(cases[i].cluster, cases[i].user, &o);
        REQUIRE(k);
        char *json = NULL;
        CHECK_INT(osmo_kube_get(k, &pod, &json, NULL, &err), cases[i].rc);
        if (cases[i].text)
            CHECK_CONTAINS(err.text, cases[i].text);
        if (cases[i].rc == 0) {
            char host[64];
            snprintf(host, sizeof host, "Host: 127.0.0.1:%d\r\n", server.port);
            CHECK_CONTAINS(kube_server_seen(&server, 0)->more, host);
        }
        free(json);
        osmo_kube_free(k);
        kube_server_stop(&server);
    }
}

/* Through the proxy that the kubeconfig names, whatever the environment says: it is asked for the whole URL. */
static void test_proxy(void) {
    static const struct kube_step steps[] = {
        {200, NULL, "{\"resources\":[{\"name\":\"pods\",\"kind\":\"Pod\",\"namespaced\":true}]}"}, DONE,
    };
    char path[256], *json = NULL;
    osmo_kube_t *k = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(kube_server_start(&server, steps, COUNT(steps), NULL, NULL, NULL));
    char *text = str_printf("clusters: [{name: c, cluster: {server: 'http://kubernetes.invalid:1', proxy-url: '%s'}}]\n"
                            "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n", server.url);
    REQUIRE(text && write_text("config", text));
    free(text);
    snprintf(path, sizeof path, "%s/config", dir);
    const osmo_kube_options_t o = {.size = sizeof o, .kubeconfig = path, .retry_ms = -1};
    setenv("no_proxy", "*", 1);
    CHECK_OK(osmo_kube_open(&o, &k, &err), &err);
    CHECK_OK(osmo_kube_get(k, &pod, &json, NULL, &err), &err);
    unsetenv("no_proxy");
    free(json);
    CHECK_STR(kube_server_seen(&server, 1) ? kube_server_seen(&server, 1)->path : NULL,
              "http://kubernetes.invalid:1/api/v1/namespaces/n/pods/a");
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* ---- many at once ---- */

struct job { osmo_kube_t *k; pthread_t thread; int rc; };

static void *get_pod(void *arg) {
    struct job *j = arg;
    char *json = NULL;
    j->rc = osmo_kube_get(j->k, &pod, &json, NULL, NULL);
    free(json);
    return NULL;
}

/* More threads than connections: all are served, over no more connections than there may be. */
static void test_pool(void) {
    static struct kube_step steps[64];
    struct job jobs[16];
    osmo_kube_options_t o = {.max_connections = 3, .qps = 2000, .burst = 1};
    for (size_t i = 0; i < COUNT(steps); i++)
        steps[i] = (struct kube_step)DONE;
    REQUIRE(kube_server_start(&server, steps, COUNT(steps), NULL, NULL, NULL));
    osmo_kube_t *k = client_with(NULL, "token: t", &o);
    REQUIRE(k);
    for (size_t i = 0; i < COUNT(jobs); i++) {
        jobs[i].k = k;
        REQUIRE(pthread_create(&jobs[i].thread, NULL, get_pod, &jobs[i]) == 0);
    }
    for (size_t i = 0; i < COUNT(jobs); i++) {
        pthread_join(jobs[i].thread, NULL);
        CHECK_INT(jobs[i].rc, 0);
    }
    CHECK_INT(kube_server_count(&server), COUNT(jobs));
    CHECK(server.connections <= 3);
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* Whatever is going on when the client is stopped ends: a request, one that waits for a connection, one that waits to be repeated. */
static void test_stop(void) {
    static const struct kube_step cases[][1] = {{{.how = PLAY_SILENCE}}, {{200, NULL, "{}", PLAY_HOLD}}, {{429, "Retry-After: 50\r\n"}}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job jobs[2];
        osmo_kube_options_t o = {.max_connections = 1, .timeout_ms = 600000, .retry_ms = 600000};
        REQUIRE(kube_server_start(&server, cases[i], 1, NULL, NULL, NULL));
        osmo_kube_t *k = client_with(NULL, "token: t", &o);
        REQUIRE(k);
        for (size_t j = 0; j < 2; j++) {
            jobs[j].k = k;
            REQUIRE(pthread_create(&jobs[j].thread, NULL, get_pod, &jobs[j]) == 0);
            if (!j)
                kube_server_wait(&server, 1);
        }
        osmo_kube_stop(k);
        for (size_t j = 0; j < 2; j++) {
            pthread_join(jobs[j].thread, NULL);
            CHECK(jobs[j].rc == OSMO_ECONFLICT || (i == 2 && j)); /* the other one may have come through */
        }
        CHECK_INT(osmo_kube_get(k, &pod, &(char *){NULL}, NULL, NULL), OSMO_ECONFLICT);
        osmo_kube_free(k);
        kube_server_stop(&server);
    }
}

static const struct check_test tests[] = {
    {"codes and the server's own words", test_codes},
    {"what is tried again", test_retries},
    {"a server that is starting", test_starting},
    {"no time to wait", test_no_time},
    {"what is sent", test_requests},
    {"targets that are refused", test_refused_targets},
    {"secrets stay out of errors", test_secrets},
    {"lists", test_list},
    {"logs", test_logs},
    {"discovery", test_discovery},
    {"discovery while the server starts", test_early_discovery},
    {"a token that changes", test_token_file},
    {"ways to log in", test_ways_to_log_in},
    {"TLS", test_tls},
    {"a proxy", test_proxy},
    {"more threads than connections", test_pool},
    {"stopping", test_stop},
};

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(dir))
        return 1;
    int rc = check_main("kube_client", tests, COUNT(tests), argc, argv);
    dir_remove_tree(dir, NULL);
    return rc;
}
