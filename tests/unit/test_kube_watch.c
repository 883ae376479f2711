/* Watches of the Kubernetes client: lines cut at every byte, bookmarks, errors as events and as answers, silence, stopping. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "cluster/kubernetes/kube_int.h"
#include "kube_server.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* steps of scripts name what matters */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/test_kube_watch_XXXXXX";
static struct kube_server server;

struct told { char text[1024]; int n, stop_at; };

static int on_change(void *ctx, osmo_kube_change_t change, const char *json, size_t len) {
    static const char *const names[] = {"?", "added", "modified", "deleted", "bookmark"};
    struct told *t = ctx;
    size_t have = strlen(t->text);
    snprintf(t->text + have, sizeof t->text - have, "%s %.*s;", names[change], (int)len, json);
    return ++t->n == t->stop_at;
}

#define STATUS(code, reason, message, details) \
    "{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"" message "\",\"reason\":\"" reason "\",\"details\":{" details "}," \
    "\"code\":" #code "}"
#define EVENTS                                                                                              \
    "{\"type\":\"ADDED\",\"object\":{\"a\":\"\\n}\"}}\n\n{\"object\":{\"b\":[{}]},\"type\":\"MODIFIED\"}\r\n" \
    "{\"type\":\"DELETED\",\"object\":{}}\n{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n"
#define TOLD "added {\"a\":\"\\n}\"};modified {\"b\":[{}]};deleted {};bookmark {\"metadata\":{\"resourceVersion\":\"9\"}};"

/* ---- the splitter alone ---- */

static void feed(const char *text, size_t first, size_t piece, struct told *out, int *rc, osmo_error_t *err) {
    struct kube_stream s;
    size_t len = strlen(text);
    kube_stream_init(&s, false, on_change, out);
    for (size_t at = 0; at < len;) {
        size_t n = at ? piece : first;
        n = n > len - at ? len - at : n;
        char *copy = malloc(n); /* so that reading behind it shows */
        memcpy(copy, text + at, n);
        bool going = kube_stream_feed(&s, copy, n);
        free(copy);
        at += n;
        if (!going)
            break;
    }
    *rc = kube_stream_end(&s, err);
    kube_stream_clear(&s);
}

static void test_every_cut(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc;
    for (size_t first = 1; first <= strlen(EVENTS); first++) {
        struct told whole = {.n = 0};
        feed(EVENTS, first, strlen(EVENTS), &whole, &rc, &err);
        CHECK_INT(rc, 0);
        CHECK_STR(whole.text, TOLD);
    }
    for (size_t piece = 1; piece < 40; piece++) {
        struct told got = {.n = 0};
        feed(EVENTS, piece, piece, &got, &rc, &err);
        CHECK_INT(rc, 0);
        CHECK_STR(got.text, TOLD);
    }
}

static void test_frames(void) {
    static const struct { const char *text; int stop_at, rc; const char *told, *error; } cases[] = {
        {"", 0, 0, "", ""},
        {" \r\n\t\n", 0, 0, "", ""},
        {EVENTS, 2, 0, "added {\"a\":\"\\n}\"};modified {\"b\":[{}]};", ""},
        {"{\"type\":\"ADDED\",\"object\":{}}", 0, 0, "added {};", ""},                    /* the last line may lack its end */
        {"{\"type\":\"ADDED\",\"object\":{}}\n{\"type\":\"AD", 0, OSMO_EIO, "added {};", "no watch event"},
        {"{\"type\":\"ERROR\",\"object\":" STATUS(410, "Expired", "too old resource version: 1 (2)", "") "}\n" EVENTS, 0, OSMO_EGONE, "",
         "too old resource version: 1 (2)"},
        {"{\"type\":\"ERROR\",\"object\":" STATUS(0, "Gone", "gone", "") "}\n", 0, OSMO_EGONE, "", "gone"},
        {"{\"type\":\"ERROR\",\"object\":" STATUS(504, "Timeout", "Too large resource version: 9, current: 3", "\"retryAfterSeconds\":1")
         "}\n", 0, OSMO_EUNAVAIL, "", "Too large resource version"},
        {"{\"type\":\"ERROR\",\"object\":" STATUS(500, "InternalError", "etcd", "") "}\n", 0, OSMO_EUNAVAIL, "", "etcd"},
        {"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Pod\"}}\n", 0, OSMO_EIO, "", "no Status"},
        {"{\"type\":\"RENAMED\",\"object\":{}}\n", 0, OSMO_EIO, "", "nobody knows"},
        {"{\"type\":\"ADDED\",\"object\":[]}\n", 0, OSMO_EIO, "", "no watch event"},
        {"{\"type\":\"ADDED\",\"object\":null}\n", 0, OSMO_EIO, "", "no watch event"},
        {"{\"type\":\"ADDED\"}\n", 0, OSMO_EIO, "", "no watch event"},
        {"{\"type\":\"ADDED\",\"object\":{}} {}\n", 0, OSMO_EIO, "", "no watch event"},
        {"{\"type\":\"ADDED\",\"object\":{}\n", 0, OSMO_EIO, "", "no watch event"},
        {"<html>\n", 0, OSMO_EIO, "", "no watch event"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t piece = 1; piece < 200; piece += 66) {
            struct told got = {.stop_at = cases[i].stop_at};
            osmo_error_t err = OSMO_ERROR_INIT;
            int rc;
            feed(cases[i].text, piece, piece, &got, &rc, &err);
            CHECK_INT(rc, cases[i].rc);
            CHECK_STR(got.text, cases[i].told);
            CHECK_CONTAINS(err.text, cases[i].error);
        }
    }
}

static void test_large_frame(void) {
    struct told got = {.n = 0};
    struct kube_stream s;
    osmo_error_t err = OSMO_ERROR_INIT;
    char *piece = malloc(1u << 20);
    REQUIRE(piece);
    memset(piece, 'x', 1u << 20);
    kube_stream_init(&s, true, on_change, &got);
    bool going = true;
    int n = 0;
    for (; going && n < 40; n++)
        going = kube_stream_feed(&s, piece, 1u << 20);
    CHECK(!going && n < 20);
    CHECK_INT(kube_stream_end(&s, &err), OSMO_ELIMIT);
    CHECK(!kube_stream_feed(&s, "\n", 1));
    kube_stream_clear(&s);
    free(piece);
}

/* ---- over HTTP ---- */

static osmo_kube_t *client(int64_t idle_ms) {
    char path[256];
    osmo_kube_t *k = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    char *text = str_printf("clusters: [{name: c, cluster: {server: '%s'}}]\nusers: [{name: u, user: {tokenFile: token}}]\n"
                            "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", server.url);
    snprintf(path, sizeof path, "%s/token", dir);
    CHECK(file_write_atomic(path, "t", 1, 0600, false, NULL) == 0);
    snprintf(path, sizeof path, "%s/config", dir);
    osmo_kube_options_t o = {.size = sizeof o, .kubeconfig = path, .idle_ms = idle_ms};
    if (text && file_write_atomic(path, text, strlen(text), 0600, false, NULL) == 0)
        CHECK_OK(osmo_kube_open(&o, &k, &err), &err);
    free(text);
    return k;
}

static const osmo_kube_target_t pods = {.size = sizeof pods, .api_version = "v1", .kind = "Pod", .label_selector = "a=b",
                                        .name = "ignored"};

static void test_over_http(void) {
    static const struct { struct kube_step step; int stop_at, rc; const char *told, *error; } cases[] = {
        {{200, NULL, EVENTS, PLAY_CHUNKS, 1}, 0, 0, TOLD, ""},
        {{200, NULL, EVENTS, PLAY_CHUNKS}, 0, 0, TOLD, ""},
        {{200, NULL, EVENTS, PLAY_WHOLE}, 0, 0, TOLD, ""},
        {{200, NULL, EVENTS, PLAY_HOLD}, 4, 0, TOLD, ""},
        {{200, NULL, EVENTS EVENTS, PLAY_CUT}, 0, OSMO_EIO, TOLD, "127.0.0.1"},
        {{410, NULL, STATUS(410, "Expired", "too old", "")}, 0, OSMO_EGONE, "", "too old"},
        {{200, NULL, "{\"type\":\"ERROR\",\"object\":" STATUS(410, "Expired", "too old", "") "}\n", PLAY_HOLD}, 0, OSMO_EGONE, "",
         "too old"},
        {{200, NULL, "{\"type\":\"ERROR\",\"object\":" STATUS(504, "Timeout", "Too large resource version", "\"retryAfterSeconds\":1")
          "}\n", PLAY_CHUNKS}, 0, OSMO_EUNAVAIL, "", "Too large"},
        {{429, "Retry-After: 1\r\n", ""}, 0, OSMO_EBUSY, "", "429"},
        {{500}, 0, OSMO_EUNAVAIL, "", "500"},
        {{.how = PLAY_NOTHING}, 0, OSMO_EIO, "", "was lost"},
        {{403, NULL, STATUS(403, "Forbidden", "no", "")}, 0, OSMO_EDENIED, "", "no"},
    };
    REQUIRE(kube_server_start(&server, NULL, 0, NULL, NULL, NULL));
    osmo_kube_t *k = client(0);
    REQUIRE(k);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct told got = {.stop_at = cases[i].stop_at};
        osmo_error_t err = OSMO_ERROR_INIT;
        kube_server_play(&server, &cases[i].step, 1);
        CHECK_INT(osmo_kube_watch(k, &pods, "42", 300, on_change, &got, &err), cases[i].rc);
        CHECK_STR(got.text, cases[i].told);
        CHECK_CONTAINS(err.text, cases[i].error);
        CHECK_INT(kube_server_count(&server), 1); /* never repeated */
        const char *path = kube_server_seen(&server, 0)->path, *at = strstr(path, "timeoutSeconds=");
        CHECK_CONTAINS(path, "/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=42&timeoutSeconds=");
        CHECK(at && atoi(at + 15) >= 150 && atoi(at + 15) <= 300);
        CHECK_CONTAINS(path, "&labelSelector=a%3Db");
    }
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* A server that has sent a bookmark and then nothing more is gone, though its connection stands. */
static void test_silence(void) {
    static const struct kube_step steps[] = {{200, NULL, EVENTS, PLAY_HOLD}};
    REQUIRE(kube_server_start(&server, steps, 1, NULL, NULL, NULL));
    osmo_kube_t *k = client(50);
    REQUIRE(k);
    struct told got = {.n = 0};
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(osmo_kube_watch(k, &pods, "1", 600, on_change, &got, &err), OSMO_ETIMEOUT);
    CHECK_STR(got.text, TOLD);
    osmo_kube_free(k);
    kube_server_stop(&server);
}

/* A token that ran out: the file's new one at once, and the watch goes on. */
static void test_new_token(void) {
    static const struct kube_step steps[] = {{401}, {200, NULL, EVENTS}, {401}};
    char path[256];
    REQUIRE(kube_server_start(&server, steps, COUNT(steps), NULL, NULL, NULL));
    osmo_kube_t *k = client(0);
    REQUIRE(k);
    struct told got = {.n = 0};
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(path, sizeof path, "%s/token", dir);
    CHECK(file_write_atomic(path, "t2\n", 3, 0600, false, NULL) == 0);
    CHECK_OK(osmo_kube_watch(k, &pods, NULL, 1, on_change, &got, &err), &err);
    CHECK_STR(got.text, TOLD);
    CHECK_STR(kube_server_seen(&server, 1)->authorization, "Bearer t2");
    CHECK(!strstr(kube_server_seen(&server, 1)->path, "resourceVersion="));
    CHECK_INT(osmo_kube_watch(k, &pods, NULL, 1, on_change, &got, &err), OSMO_EUNAUTH);
    osmo_kube_free(k);
    kube_server_stop(&server);
}

struct watcher { osmo_kube_t *k; struct told got; osmo_error_t err; int rc; };

static void *watch_it(void *arg) {
    struct watcher *w = arg;
    w->rc = osmo_kube_watch(w->k, &pods, "1", 3600, on_change, &w->got, &w->err);
    return NULL;
}

static void test_stop(void) {
    static const struct kube_step cases[][1] = {{{200, NULL, "", PLAY_HOLD}}, {{.how = PLAY_SILENCE}}, {{429, "Retry-After: 200\r\n"}}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct watcher w = {.rc = 1};
        pthread_t thread;
        REQUIRE(kube_server_start(&server, cases[i], 1, NULL, NULL, NULL));
        REQUIRE((w.k = client(0)));
        REQUIRE(pthread_create(&thread, NULL, watch_it, &w) == 0);
        kube_server_wait(&server, 1);
        osmo_kube_stop(w.k);
        pthread_join(thread, NULL);
        CHECK_INT(w.rc, OSMO_ECONFLICT);
        osmo_kube_free(w.k);
        kube_server_stop(&server);
    }
}

static const struct check_test tests[] = {
    {"lines cut at every byte", test_every_cut},
    {"frames", test_frames},
    {"a frame without end", test_large_frame},
    {"over HTTP", test_over_http},
    {"silence", test_silence},
    {"a new token", test_new_token},
    {"stopping", test_stop},
};

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(dir))
        return 1;
    int rc = check_main("kube_watch", tests, COUNT(tests), argc, argv);
    dir_remove_tree(dir, NULL);
    return rc;
}
