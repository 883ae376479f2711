/* Lists and watches that break in every way: what the sink is told is what happened, each thing once and in order. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "check.h"
#include "cluster/kubernetes/known.h"
#include "cluster/kubernetes/reflector.h"
#include "fake_kube.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static buf_t said = BUF_INIT(1u << 20);
static int syncs, blocked;
static char trouble[512];
static const logger_t silent;

static void on_change(void *ctx, osmo_change_t change, const char *json, size_t len) {
    struct meta m;
    (void)ctx;
    meta_read(json, len, false, &m);
    pthread_mutex_lock(&lock);
    buf_printf(&said, "%c%.*s ", "?+~-"[change], meta_len(&m.name), m.name.text);
    pthread_cond_broadcast(&cond);
    while (blocked)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
}

static void on_synced(void *ctx) {
    (void)ctx;
    pthread_mutex_lock(&lock);
    syncs++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

static void on_state(void *ctx, const char *text) {
    (void)ctx;
    pthread_mutex_lock(&lock);
    snprintf(trouble, sizeof trouble, "%s", text ? text : "");
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

/* ---- a reflector of pods in "ns" ---- */

static osmo_kube_t *client;
static reflector_t *reflector;

static void begin(const char *labels, bool from_now, bool optional) {
    const struct reflector_options o = { .what = { .size = sizeof o.what, .api_version = "v1", .kind = "Pod", .namespace_ = "ns",
                                                   .label_selector = labels },
                                         .from_now = from_now, .optional = optional, .pause_max_ms = 20, .log = &silent,
                                         .change = on_change, .synced = on_synced, .state = on_state };
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_reset(&said);
    syncs = 0;
    *trouble = '\0';
    client = fake_kube_client();
    CHECK_OK(reflector_start(client, &o, &reflector, &err), &err);
}

static void end(void) {
    osmo_kube_stop(client);
    reflector_stop(reflector);
    osmo_kube_free(client);
}

static void pod(const char *name) {
    _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\","
                                           "\"labels\":{\"a\":\"b\"}},\"spec\":{}}", name);
    fake_kube_put(text);
}

/* Until everything that is expected was said; the program's time limit ends a wait in vain. */
static void expect_said(const char *text) {
    pthread_mutex_lock(&lock);
    while (!str_eq(buf_cstr(&said), text) && said.len < strlen(text))
        pthread_cond_wait(&cond, &lock);
    CHECK_STR(buf_cstr(&said), text);
    buf_reset(&said);
    pthread_mutex_unlock(&lock);
}

static void expect_trouble(const char *part) {
    pthread_mutex_lock(&lock);
    while (*part ? !strstr(trouble, part) : *trouble)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
}

static void expect_syncs(int n) {
    pthread_mutex_lock(&lock);
    while (syncs < n)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
}

/* Nothing but this comes, as the change of a pod made after it is told next. */
static void expect_nothing_else(const char *text) {
    _cleanup_free_ char *all = str_printf("%s+zz ", text);
    pod("zz");
    expect_said(all);
    fake_kube_vanish("Pod", "zz", false);
    expect_said("-zz ");
}

/* ---- cases ---- */

static void test_follows(void) {
    fake_kube_reset(false);
    pod("a");
    pod("b");
    begin("a", false, false);
    expect_said("+a +b ");
    expect_syncs(1);
    pod("c");
    fake_kube_merge("Pod", "a", "{\"status\":{\"phase\":\"Running\"}}");
    fake_kube_vanish("Pod", "b", false);
    expect_said("+c ~a -b ");
    fake_kube_merge("Pod", "c", "{\"metadata\":{\"labels\":{\"a\":null}}}"); /* it leaves the selection */
    expect_said("-c ");
    end();
}

static void test_resumes(void) {
    fake_kube_reset(false);
    pod("a");
    begin(NULL, false, false);
    expect_said("+a ");
    for (int i = 0; i < 5; i++) {
        fake_kube_cut();
        fake_kube_merge("Pod", "a", "{\"spec\":{\"x\":\"y\"}}");
        expect_said("~a ");
    }
    expect_nothing_else("");
    CHECK_INT(syncs, 1); /* one list was enough */
    end();
}

static void test_gap(void) {
    fake_kube_reset(false);
    pod("a");
    pod("b");
    pod("same");
    begin(NULL, false, false);
    expect_said("+a +b +same ");
    fake_kube_vanish("Pod", "a", true);
    fake_kube_vanish("Pod", "b", true);
    pthread_mutex_lock(&lock); /* the reflector waits at the first thing it wants to say */
    pod("b");                  /* another one of that name */
    pod("d");
    fake_kube_compact();
    fake_kube_cut();
    pthread_mutex_unlock(&lock);
    pthread_mutex_lock(&lock);
    while (!strstr(buf_cstr(&said), "-a "))
        pthread_cond_wait(&cond, &lock);
    CHECK(strstr(buf_cstr(&said), "-b +b ") != NULL);
    CHECK(strstr(buf_cstr(&said), "+d ") != NULL);
    CHECK(strstr(buf_cstr(&said), "same") == NULL);
    buf_reset(&said);
    pthread_mutex_unlock(&lock);
    expect_nothing_else("");
    end();
}

static void test_list_expires(void) {
    fake_kube_reset(false);
    for (int i = 0; i < 4; i++) {
        char name[2] = { (char)('a' + i), '\0' };
        pod(name);
    }
    fake_kube_expire_list();
    begin(NULL, false, false);
    expect_said("+a +b +c +d "); /* two by the list that expired, the others by the next */
    expect_syncs(1);
    CHECK_INT(fake_kube_calls("list"), 2);
    expect_nothing_else("");
    end();
}

static void test_too_large(void) {
    fake_kube_reset(false);
    pod("a");
    fake_kube_fail("watch", OSMO_EUNAVAIL, "Too large resource version: 99, current: 12", 3);
    begin(NULL, false, false);
    expect_said("+a ");
    expect_nothing_else("");
    CHECK_INT(syncs, 1); /* it waited until the server had caught up */
    end();
    fake_kube_reset(false);
    pod("a");
    fake_kube_fail("watch", OSMO_EUNAVAIL, "Too large resource version: 99, current: 12", 20);
    begin(NULL, false, false);
    expect_said("+a ");
    expect_syncs(2); /* the server will not catch up */
    expect_nothing_else("");
    end();
}

static void test_goes_back(void) {
    fake_kube_reset(false);
    pod("a");
    begin(NULL, false, false);
    expect_said("+a ");
    expect_syncs(1);
    fake_kube_bookmark("3"); /* the store was brought back from a copy */
    expect_syncs(2);
    expect_nothing_else("");
    end();
}

static void test_trouble(void) {
    fake_kube_reset(false);
    pod("a");
    fake_kube_fail("list", OSMO_EDENIED, "pods is forbidden", 4);
    begin(NULL, false, false);
    expect_trouble("Pod cannot be watched: pods is forbidden");
    expect_said("+a ");
    pod("b");
    expect_said("+b ");
    expect_trouble("");
    fake_kube_fail("watch", OSMO_EUNAVAIL, "connection refused", 6);
    fake_kube_cut();
    expect_trouble("connection refused");
    expect_trouble(""); /* although nothing happens there */
    expect_nothing_else("");
    end();
}

static void test_optional(void) {
    fake_kube_reset(false);
    pod("a");
    begin(NULL, false, true);
    expect_said("+a ");
    fake_kube_without("Pod");
    fake_kube_compact();
    fake_kube_cut();
    expect_said("-a "); /* the kind is gone, and so are all of it */
    CHECK_STR(trouble, "");
    fake_kube_without("");
    expect_said("+a ");
    end();
}

static void test_from_now(void) {
    fake_kube_reset(false);
    pod("old");
    begin(NULL, true, false);
    expect_syncs(1);
    pod("a");
    expect_said("+a ");
    fake_kube_vanish("Pod", "a", false);
    fake_kube_compact();
    pod("b");
    fake_kube_cut();
    pod("c");
    pthread_mutex_lock(&lock);
    while (said.len < 6)
        pthread_cond_wait(&cond, &lock);
    CHECK(strstr(buf_cstr(&said), "+b ") && strstr(buf_cstr(&said), "+c ") && !strstr(buf_cstr(&said), "old"));
    pthread_mutex_unlock(&lock);
    end();
}

/* A sink that does not come back does not keep the end from coming once it does. */
static void *let_go(void *ctx) {
    (void)ctx;
    pthread_mutex_lock(&lock);
    blocked = 0;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void test_stop_while_blocked(void) {
    pthread_t thread;
    fake_kube_reset(false);
    for (int i = 0; i < 50; i++) {
        _cleanup_free_ char *name = str_printf("p%d", i);
        pod(name);
    }
    blocked = 1;
    begin(NULL, false, false);
    pthread_mutex_lock(&lock);
    while (!said.len)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
    osmo_kube_stop(client);
    pthread_create(&thread, NULL, let_go, NULL);
    reflector_stop(reflector);
    pthread_join(thread, NULL);
    osmo_kube_free(client);
    fake_kube_reset(false); /* and one that is in a pause */
    fake_kube_fail("list", OSMO_EUNAVAIL, "out of order", 1000000);
    begin(NULL, false, false);
    expect_trouble("out of order");
    end();
}

/* ---- the table ---- */

static struct meta meta_of(const char *uid, const char *version) {
    return (struct meta){ .uid = { .text = uid, .len = strlen(uid) }, .version = { .text = version, .len = strlen(version) } };
}

static void test_known(void) {
    const struct meta uuid = meta_of("01234567-89ab-cdef-0123-456789abcdef", "1"), odd = meta_of("a static "
        "pod", "1"), none = meta_of("", "");
    buf_t text = BUF_INIT(1024);
    known_t *k = known_new();
    char key[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "ns/p%d", i);
        CHECK(known_add(k, key, i % 3 ? &uuid : &odd, (uint32_t)(i % 2)) != NULL);
    }
    for (int i = 0; i < 3000; i += 5) {
        snprintf(key, sizeof key, "ns/p%d", i);
        known_remove(k, key);
    }
    CHECK_INT(known_len(k), 2400);
    known_text(known_get(k, "ns/p1"), &text);
    CHECK_STR(text.data, "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"p1\",\"uid\":\"01234567-89ab-cdef-0123-456789abcdef\"}}");
    buf_reset(&text);
    known_text(known_get(k, "ns/p3"), &text);
    CHECK_STR(text.data, "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"p3\",\"uid\":\"a static pod\"}}");
    buf_reset(&text);
    known_add(k, "/node", &none, 1);
    known_text(known_get(k, "/node"), &text);
    CHECK_STR(text.data, "{\"metadata\":{\"name\":\"node\",\"uid\":\"\"}}");
    CHECK(known_is(known_get(k, "ns/p1"), &uuid) && !known_is(known_get(k, "ns/p1"), &odd));
    CHECK(known_is(known_get(k, "ns/p3"), &odd) && !known_is(known_get(k, "ns/p3"), &uuid) && known_is(known_get(k, "/node"), &none));
    size_t gone = 0;
    struct known_one *one;
    for (size_t it = 0; (one = known_stale(k, 1, &it)); gone++)
        known_drop(one);
    CHECK_INT(gone, 1200);
    CHECK_INT(known_len(k), 1201);
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "ns/p%d", i);
        CHECK((known_get(k, key) != NULL) == (i % 2 == 1 && i % 5 != 0));
    }
    buf_free(&text);
    known_free(k);
}

static void test_meta(void) {
    static const char full[] = "{\"metadata\":{\"name\":\"n\",\"namespace\":\"s\",\"uid\":\"u\",\"resourceVersion\":\"7\",\"finalizers\":"
        "[\"x\",\"osmo.nvidia.com/cleanup\"],\"deletionTimestamp\":\"t\",\"deletionGracePeriodSeconds\":30,\"labels\":{\"a\":\"b\"}},"
        "\"kind\":\"Pod\",\"spec\":{\"y\":[]}}";
    static const char *const bad[] = { "", "[]", "{", "{}", "{\"metadata\":{}}", "{\"metadata\":{\"name\":7}}", "{\"metadata\":[]}",
                                       "{\"metadata\":{\"name\":\"a" };
    struct meta m;
    CHECK(meta_read(full, strlen(full), true, &m));
    CHECK(json_slice_is(&m.name, "n") && json_slice_is(&m.namespace_, "s") && json_slice_is(&m.kind, "Pod") && m.finalizer);
    CHECK(m.grace_s == 30 && m.deleted.len == 1 && json_slice_is(&m.labels, "{\"a\":\"b\"}") && json_slice_is(&m.spec, "{\"y\":[]}"));
    CHECK(meta_read(full, strlen(full), false, &m) && !m.kind.len && !m.spec.len);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!meta_read(bad[i], strlen(bad[i]), true, &m));
}

static const struct check_test tests[] = {
    { "who an object is", test_meta },
    { "what is known", test_known },
    { "list and watch", test_follows },
    { "a cut watch goes on", test_resumes },
    { "what happened in a gap", test_gap },
    { "a list expires half way", test_list_expires },
    { "a version from the future", test_too_large },
    { "a history that went back", test_goes_back },
    { "trouble and its end", test_trouble },
    { "a kind that comes and goes", test_optional },
    { "from now on", test_from_now },
    { "the end, while blocked", test_stop_while_blocked },
};
TEST_MAIN("reflector", tests)
