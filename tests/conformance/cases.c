/* What every cluster driver has to do, in one table. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "harness.h"

#define CROWD 12

static int no_pods(const char *group) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *selector = group_selector(group);
    return count("v1", "Pod", selector, NULL, &err);
}

/* Pods, then what is left of the group. */
static void clean_up(const char *group, bool force) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = remove_group(group, "Pod", force, &err);
    EXPECT(rc >= 0, "removing pods of %s: %s", group, err.text);
    rc = remove_group(group, "PodGroup", false, &err);
    EXPECT(rc == 1, "removing PodGroup %s: %d %s", group, rc, err.text);
}

static void start(const char *group, const char *word, const char *task, char name[64]) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = make_pod(group, id(word, name), task, &err);
    EXPECT(rc == 0, "pod %s: %s", name, err.text);
}

/* ---- identity ---- */

static void test_identity(void) {
    char before[64];
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(before, sizeof before, "%s", driver->uid(cluster));
    EXPECT(strlen(before) == 36, "the identity %s is no UUID", before);
    cluster_close();
    forget();
    EXPECT(cluster_open(&err), "it opens again: %s", err.text);
    EXPECT(str_eq(before, driver->uid(cluster)), "the identity was %s and is %s", before, driver->uid(cluster));
    EXPECT(wait_node(), "no node is told");
}

/* ---- one pod ---- */

static int take_text(void *ctx, const char *text, size_t len) { return buf_append(ctx, text, len) < 0; }

static void test_succeeds(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char name[64];
    buf_t log = BUF_INIT(65536);
    _cleanup_free_ char *selector = group_selector("good"), *text = NULL;
    make_group("good", 1);
    start("good", "good", "ok", name);
    EXPECT(wait_pod(name, SUCCEEDED), "it does not succeed");
    EXPECT(pod_exit_code(name) == 0, "its exit code is %d", pod_exit_code(name));
    EXPECT(!traits->events || wait_event(name), "no event of it is told");
    _cleanup_json_ json_t *pod = pod_state(name), *listed = NULL;
    EXPECT(json_get_str(json_get(pod, "spec"), "nodeName") != NULL, "it ran on no node");
    EXPECT_RC(driver->logs(cluster, name, "main", 10, take_text, &log, &err), 0, &err);
    EXPECT(strstr(buf_cstr(&log), "the word is conformance") != NULL, "it said: %s", buf_cstr(&log));
    EXPECT_RC(count("v1", "Pod", selector, &text, &err), 1, &err);
    EXPECT(text && json_parse(text, strlen(text), &listed, NULL) == 0 && str_eq(json_get_str(listed, "kind"), "Pod") &&
               str_eq(json_get_str(listed, "apiVersion"), "v1"), "the list has: %s", text ? text : "nothing");
    clean_up("good", false);
    EXPECT(wait_pod(name, GONE), "that it is gone is not told");
    EXPECT(no_pods("good") == 0, "%d are left", no_pods("good"));
    buf_free(&log);
}

static void test_fails(void) {
    char name[64];
    make_group("bad", 1);
    start("bad", "bad", "fail", name);
    EXPECT(wait_pod(name, FAILED), "it does not fail");
    EXPECT(pod_exit_code(name) == 7, "its exit code is %d", pod_exit_code(name));
    clean_up("bad", false);
    EXPECT(wait_pod(name, GONE), "that it is gone is not told");
}

static void test_exists(void) {
    char name[64];
    osmo_error_t err = OSMO_ERROR_INIT;
    make_group("twice", 1);
    start("twice", "twice", "long", name);
    EXPECT_RC(make_pod("twice", name, "long", &err), OSMO_EEXISTS, &err);
    EXPECT(wait_pod(name, RUNNING), "it does not run");
    EXPECT_RC(make_pod("twice", name, "long", &err), OSMO_EEXISTS, &err);
    clean_up("twice", true);
    EXPECT(wait_pod(name, GONE), "that it is gone is not told");
}

static void remove_running(const char *group, bool force) {
    char name[64];
    make_group(group, 1);
    start(group, group, "long", name);
    EXPECT(wait_pod(name, RUNNING), "it does not run");
    clean_up(group, force);
    EXPECT(wait_pod(name, GONE), "that it is gone is not told");
    EXPECT(no_pods(group) == 0, "%d are left", no_pods(group));
}

static void test_remove(void) { remove_running("gracious", false); }
static void test_remove_force(void) { remove_running("forced", true); }

static void test_remove_starting(void) {
    char name[CROWD][64], word[16];
    osmo_error_t err = OSMO_ERROR_INIT;
    make_group("hasty", 1);
    for (int i = 0; i < 4; i++) {
        snprintf(word, sizeof word, "hasty-%d", i);
        start("hasty", word, "long", name[i]);
        int rc = remove_group("hasty", "Pod", i % 2, &err);
        EXPECT(rc >= 0, "removing: %s", err.text);
    }
    clean_up("hasty", true);
    for (int i = 0; i < 4; i++)
        EXPECT(wait_pod(name[i], GONE), "that %s is gone is not told", name[i]);
    EXPECT(no_pods("hasty") == 0, "%d are left", no_pods("hasty"));
}

static void test_successor(void) {
    char name[64];
    make_group("heir", 1);
    start("heir", "heir", "fail", name);
    EXPECT(wait_pod(name, FAILED), "it does not fail");
    clean_up("heir", true);
    EXPECT(wait_pod(name, GONE), "that it is gone is not told");
    make_group("heir", 1);
    start("heir", "heir", "ok", name);
    EXPECT(wait_pod(name, SUCCEEDED), "another one of the name does not succeed");
    clean_up("heir", true);
    EXPECT(wait_pod(name, GONE), "that it is gone is not told");
}

static void test_never_fits(void) {
    char name[64];
    make_group("large", 1);
    start("large", "large", "never", name);
    EXPECT(wait_pod(name, PENDING_WITH_CAUSE), "it is not said why it waits");
    clean_up("large", false);
    EXPECT(wait_pod(name, GONE), "that it is gone is not told");
}

/* ---- several ---- */

static void test_gang(void) {
    char a[64], b[64];
    make_group("gang", 2);
    start("gang", "gang-a", "ok", a);
    if (traits->gangs)
        EXPECT(wait_pod(a, PENDING_WITH_CAUSE), "it does not say that it waits for the other");
    start("gang", "gang-b", "ok", b);
    EXPECT(wait_pod(a, SUCCEEDED) && wait_pod(b, SUCCEEDED), "they do not succeed");
    clean_up("gang", false);
    EXPECT(wait_pod(a, GONE) && wait_pod(b, GONE), "that they are gone is not told");
}

static void *make_some(void *ctx) {
    char name[64], word[16];
    for (int i = 0; i < CROWD / 4; i++) {
        snprintf(word, sizeof word, "crowd-%d", *(int *)ctx * (CROWD / 4) + i);
        start("crowd", word, "ok", name);
    }
    return NULL;
}

static void test_crowd(void) {
    pthread_t threads[4];
    int numbers[4];
    char name[64], word[16];
    make_group("crowd", CROWD);
    for (int i = 0; i < 4; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, make_some, &numbers[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CROWD; i++) {
        snprintf(word, sizeof word, "crowd-%d", i);
        EXPECT(wait_pod(id(word, name), SUCCEEDED), "%s does not succeed", name);
    }
    EXPECT(no_pods("crowd") == CROWD, "%d are listed", no_pods("crowd"));
    clean_up("crowd", false);
    for (int i = 0; i < CROWD; i++) {
        snprintf(word, sizeof word, "crowd-%d", i);
        EXPECT(wait_pod(id(word, name), GONE), "that %s is gone is not told", name);
    }
}

static void test_restart(void) {
    char running[64], ended[64], waiting[64];
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!traits->keeps)
        return;
    make_group("kept", 1);
    make_group("kept-large", 1);
    start("kept", "kept-long", "long", running);
    start("kept", "kept-ok", "ok", ended);
    start("kept-large", "kept-never", "never", waiting);
    EXPECT(wait_pod(running, RUNNING) && wait_pod(ended, SUCCEEDED), "they do not come as far as expected");
    EXPECT(wait_pod(waiting, PENDING_WITH_CAUSE), "it is not said why it waits");
    cluster_close();
    forget();
    EXPECT(cluster_open(&err), "it opens again: %s", err.text);
    EXPECT(wait_pod(running, RUNNING) && wait_pod(ended, SUCCEEDED) && wait_pod(waiting, PENDING_WITH_CAUSE), "they are not told again");
    EXPECT(no_pods("kept") == 2, "%d are listed", no_pods("kept"));
    clean_up("kept", false);
    clean_up("kept-large", false);
    EXPECT(wait_pod(running, GONE) && wait_pod(ended, GONE) && wait_pod(waiting, GONE), "that they are gone is not told");
}

/* ---- other objects ---- */

static void test_objects(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char name[64];
    _cleanup_free_ char *selector = group_selector("things"), *text = NULL;
    _cleanup_free_ char *secret = str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"%s\",\"labels\":"
        "{\"osmo.workflow_uuid\":\"w-%s\",\"osmo.group_uuid\":\"things-%s\"}},\"type\":\"Opaque\",\"stringData\":{\"a\":\"b\"}}",
        id("secret", name), run_id, run_id);
    _cleanup_json_ json_t *listed = NULL;
    EXPECT_RC(make(secret, &err), 0, &err);
    EXPECT_RC(make(secret, &err), OSMO_EEXISTS, &err);
    EXPECT_RC(count("v1", "Secret", selector, &text, &err), 1, &err);
    EXPECT(text && json_parse(text, strlen(text), &listed, NULL) == 0 && str_eq(json_get_str(listed, "kind"), "Secret") &&
               str_eq(json_get_str(json_get(listed, "metadata"), "name"), name), "the list has: %s", text ? text : "nothing");
    EXPECT_RC(remove_group("nothing", "Secret", false, &err), 0, &err);
    EXPECT_RC(remove_group("things", "Secret", false, &err), 1, &err);
    EXPECT_RC(remove_group("things", "Secret", false, &err), 0, &err);
    EXPECT_RC(count("v1", "Secret", selector, NULL, &err), 0, &err);
}

static char *queue_text(const char *name, int gpus) {
    return str_printf("{\"apiVersion\":\"scheduling.run.ai/v2\",\"kind\":\"Queue\",\"metadata\":{\"name\":\"%s\",\"labels\":"
                      "{\"osmo.namespace\":\"of-%s\"}},\"spec\":{\"resources\":{\"gpu\":{\"quota\":%d,\"limit\":-1,"
                      "\"overQuotaWeight\":1}}}}",
                      name, run_id, gpus);
}

static void test_queues(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char name[64];
    const char *version = "scheduling.run.ai/v2";
    _cleanup_free_ char *selector = str_printf("osmo.namespace=of-%s", run_id), *text = NULL;
    _cleanup_free_ char *queue = queue_text(id("queue", name), 1), *other = queue_text(name, 2);
    _cleanup_json_ json_t *listed = NULL;
    EXPECT_RC(driver->replace(cluster, queue, strlen(queue), &err), OSMO_ENOTFOUND, &err);
    EXPECT_RC(make(queue, &err), 0, &err);
    EXPECT_RC(make(queue, &err), OSMO_EEXISTS, &err);
    EXPECT_RC(driver->replace(cluster, other, strlen(other), &err), 0, &err);
    EXPECT_RC(count(version, "Queue", selector, &text, &err), 1, &err);
    EXPECT(text && json_parse(text, strlen(text), &listed, NULL) == 0 && str_eq(json_get_str(listed, "kind"), "Queue") &&
               str_eq(json_get_str(listed, "apiVersion"), version) &&
               json_get_int(json_path(listed, "spec", "resources", "gpu", NULL), "quota", -1) == 2,
           "the list has: %s", text ? text : "nothing");
    EXPECT_RC(driver->erase(cluster, version, "Queue", name, &err), 0, &err);
    EXPECT_RC(driver->erase(cluster, version, "Queue", name, &err), OSMO_ENOTFOUND, &err);
    EXPECT_RC(count(version, "Queue", selector, NULL, &err), 0, &err);
}

static void test_bad(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t log = BUF_INIT(1024);
    static const char unheard[] = "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Unheard\",\"metadata\":{\"name\":\"x\"},\"spec\":{}}";
    EXPECT_RC(make("{", &err), OSMO_EINVAL, &err);
    EXPECT_RC(make("{\"kind\":\"Pod\"}", &err), OSMO_EINVAL, &err);
    EXPECT_RC(driver->logs(cluster, "nobody", "main", 1, take_text, &log, &err), OSMO_ENOTFOUND, &err);
    EXPECT_RC(driver->patch(cluster, "v1", "Node", "nowhere", "{}", 2, &err), OSMO_ENOTFOUND, &err);
    if (traits->typed) {
        EXPECT_RC(make(unheard, &err), OSMO_ENOTFOUND, &err);
        EXPECT(strstr(err.text, "Unheard") != NULL, "the text does not name the kind: %s", err.text);
        EXPECT_RC(count("example.com/v1", "Unheard", "a=b", NULL, &err), OSMO_ENOTFOUND, &err);
    }
    buf_free(&log);
}

static void test_label_node(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    EXPECT(wait_node(), "no node is told");
    _cleanup_free_ char *node = some_node();
    _cleanup_free_ char *set = str_printf("{\"metadata\":{\"labels\":{\"osmo.conformance\":\"%s\"}}}", run_id);
    _cleanup_free_ char *selector = str_printf("osmo.conformance=%s", run_id);
    static const char unset[] = "{\"metadata\":{\"labels\":{\"osmo.conformance\":null}}}";
    EXPECT_RC(driver->patch(cluster, "v1", "Node", node, set, strlen(set), &err), 0, &err);
    EXPECT_RC(count("v1", "Node", selector, NULL, &err), 1, &err);
    EXPECT_RC(driver->patch(cluster, "v1", "Node", node, unset, strlen(unset), &err), 0, &err);
    EXPECT_RC(count("v1", "Node", selector, NULL, &err), 0, &err);
}

const struct test_case cases[] = {
    { "identity", test_identity },
    { "bad", test_bad },
    { "objects", test_objects },
    { "queues", test_queues },
    { "label-node", test_label_node },
    { "succeeds", test_succeeds },
    { "fails", test_fails },
    { "exists", test_exists },
    { "remove", test_remove },
    { "remove-force", test_remove_force },
    { "remove-starting", test_remove_starting },
    { "successor", test_successor },
    { "never-fits", test_never_fits },
    { "gang", test_gang },
    { "crowd", test_crowd },
    { "restart", test_restart },
};
const int ncases = (int)ARRAY_SIZE(cases);
