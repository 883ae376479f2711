/* The kubernetes driver over an API server in memory: settings, objects, those of KAI where there is none, removal that hits
 * nothing else and goes on, finalizers that keep no pod, who is told what. tests/conformance/ has what every driver does, on a real
 * cluster. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "check.h"
#include "cluster/kubernetes/kept.h"
#include "cluster/kubernetes/kubernetes.h"
#include "fake_kube.h"

#define D (&kubernetes_cluster_driver)
#define FINALIZER "\"finalizers\":[\"osmo.nvidia.com/cleanup\"]"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static buf_t told = BUF_INIT(1u << 20);
static int states;
static void *impl;

static void say(char what, osmo_change_t change, const char *json, size_t len) {
    json_t *v = NULL;
    CHECK_INT(json_parse(json, len, &v, NULL), 0);
    pthread_mutex_lock(&lock);
    buf_printf(&told, "%c%c%s ", what, "?+~-"[change], json_get_str(json_get(v, "metadata"), "name"));
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
    json_free(v);
}

static void on_pod(void *ctx, osmo_change_t c, const char *json, size_t len) { (void)ctx, say('p', c, json, len); }
static void on_node(void *ctx, osmo_change_t c, const char *json, size_t len) { (void)ctx, say('n', c, json, len); }
static void on_event(void *ctx, const char *json, size_t len) { (void)ctx, say('e', OSMO_CHANGE_ADDED, json, len); }

static void on_state(void *ctx) {
    (void)ctx;
    pthread_mutex_lock(&lock);
    states++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

static void on_nodes_told(void *ctx) {
    (void)ctx;
    pthread_mutex_lock(&lock);
    buf_puts(&told, "all-nodes ");
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

static int try_open(const char *const *settings, osmo_error_t *err) {
    const osmo_cluster_sink_t sink = { .size = sizeof sink, .pod = on_pod, .node = on_node, .event = on_event, .state = on_state,
                                       .nodes_told = on_nodes_told };
    const osmo_cluster_options_t o = { .size = sizeof o, .name = "b", .namespace_ = "ns", .settings = settings };
    buf_reset(&told);
    return D->open(&o, &sink, &impl, err);
}

static void begin(const char *setting) {
    const char *const settings[] = { "finalizer-patience-ms=30", setting, NULL };
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(try_open(settings, &err), &err);
}

static void end(void) { D->close(impl); }

static void expect_told(const char *part) {
    pthread_mutex_lock(&lock);
    while (!strstr(buf_cstr(&told), part))
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
}

static int create(const char *text, osmo_error_t *err) { return D->create(impl, text, strlen(text), err); }

static bool has(const char *kind, const char *name, const char *part) {
    _cleanup_free_ char *text = fake_kube_text(kind, name);
    return text && strstr(text, part);
}

static char *pod_text(const char *name, const char *meta, const char *spec) {
    return str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"labels\":{"
                      "\"osmo.task_uuid\":\"t\",\"osmo.workflow_uuid\":\"w\",\"n\":\"%s\"}%s},\"spec\":{%s}}", name, name, meta, spec);
}

static void put_pod(const char *name, const char *meta, const char *spec) {
    _cleanup_free_ char *text = pod_text(name, meta, spec);
    fake_kube_put(text);
}

/* ---- opening ---- */

static void test_settings(void) {
    static const struct { const char *setting, *part; } bad[] = {
        { "colour=red", "no setting \"colour\"" },    { "usage=some", "usage must be namespace or cluster" },
        { "scheduler=x", "scheduler must be" },       { "qps=fast", "qps must be a number" },
        { "page-size=-1", "page-size must be" },      { "burst=many", "burst must be a whole number" },
        { "scheduler=kai", "KAI scheduler is not installed" },
    };
    static const char *const good[] = { "qps=20.5", "burst=30", "page-size=100", "usage=namespace", "context=", "kubeconfig=/x",
                                        "service-host=h", "service-port=1", "include-namespace=a", "test-namespace=t", NULL };
    fake_kube_reset(false);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *const settings[] = { bad[i].setting, NULL };
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK(try_open(settings, &err) < 0);
        CHECK_CONTAINS(err.text, bad[i].part);
    }
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(try_open(good, &err), &err);
    CHECK_INT(D->width(impl), 8);
    end();
    fake_kube_fail("get", OSMO_EDENIED, "namespaces \"kube-system\" is forbidden", 1);
    CHECK_INT(try_open(NULL, &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "give the operator's account a ClusterRole");
    fake_kube_fail("get", OSMO_EUNAVAIL, "connection refused", 1);
    CHECK_INT(try_open(NULL, &err), OSMO_EUNAVAIL);
    CHECK_CONTAINS(err.text, "https://fake: connection refused");
}

static void test_describe(void) {
    char text[1024];
    fake_kube_reset(false);
    begin(NULL);
    CHECK_INT(strlen(D->uid(impl)), 36);
    D->describe(impl, text, sizeof text);
    CHECK_STR(text, "groups are placed by osmo-backend: the KAI scheduler is not installed");
    fake_kube_fail("watch", OSMO_EDENIED, "forbidden", 1000);
    fake_kube_cut();
    pthread_mutex_lock(&lock);
    while (!states)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
    D->describe(impl, text, sizeof text);
    CHECK_CONTAINS(text, "cannot be watched: forbidden");
    CHECK_INT(D->describe(impl, text, 10), 0); /* room for little */
    end();
    fake_kube_reset(true);
    begin("usage=namespace");
    D->describe(impl, text, sizeof text);
    CHECK_STR(text, "");
    end();
    begin("scheduler=osmo");
    D->describe(impl, text, sizeof text);
    CHECK_STR(text, "groups are placed by osmo-backend: scheduler=osmo is set");
    end();
    fake_kube_put("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"podgroup.g\",\"namespace\":\"ns\","
                  "\"labels\":{\"osmo.kind\":\"PodGroup\"}}}");
    begin("usage=cluster");
    D->describe(impl, text, sizeof text);
    CHECK_CONTAINS(text, "made before the KAI scheduler was installed");
    end();
    begin("scheduler=kai");
    D->describe(impl, text, sizeof text);
    CHECK_STR(text, "");
    end();
}

/* ---- what is told ---- */

static void test_watches(void) {
    fake_kube_reset(true);
    put_pod("ours", "", "");
    fake_kube_put("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"else\",\"namespace\":\"other\"}}");
    fake_kube_put("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"bare\",\"namespace\":\"ns\"}}");
    fake_kube_put("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node\"}}");
    fake_kube_put("{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"old\",\"namespace\":\"ns\"}}");
    begin(NULL);
    expect_told("p+ours ");
    expect_told("p+else ");
    expect_told("p+bare ");
    expect_told("n+node ");
    expect_told("all-nodes ");
    CHECK(strstr(told.data, "n+node ") < strstr(told.data, "all-nodes "));
    fake_kube_end("else", "Succeeded"); /* what has ended takes up no room */
    expect_told("p-else ");
    fake_kube_end("ours", "Succeeded");
    expect_told("p~ours ");
    for (int i = 0; !strstr(buf_cstr(&told), "e+"); i++) { /* from when the watch began; that is seen by nothing else */
        _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"new%d\",\"namespace\":"
                                               "\"ns\"}}", i);
        struct timespec ts;
        fake_kube_put(text);
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_nsec = (ts.tv_nsec + 10000000) % 1000000000;
        pthread_mutex_lock(&lock);
        if (!strstr(buf_cstr(&told), "e+"))
            pthread_cond_timedwait(&cond, &lock, &ts);
        pthread_mutex_unlock(&lock);
    }
    end();
    CHECK(!strstr(told.data, "e+old"));
    CHECK(strstr(told.data, "p+ours p+ours") == NULL);
    begin("usage=namespace");
    expect_told("p+ours ");
    end();
    CHECK(!strstr(told.data, "bare"));
}

/* ---- objects ---- */

static void test_objects(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    fake_kube_reset(true);
    begin(NULL);
    CHECK_OK(create("{\"kind\":\"Queue\",\"apiVersion\":\"scheduling.run.ai/v2\",\"metadata\":{\"name\":\"q\"},\"spec\":{"
        "\"a\":1}}", &err), &err);
    CHECK_INT(fake_kube_count("Queue"), 1);
    CHECK_INT(fake_kube_count("ConfigMap"), 0);
    static const char other[] = "{\"kind\":\"Queue\",\"apiVersion\":\"scheduling.run.ai/v2\",\"metadata\":{\"name\":\"q\"},"
        "\"spec\":{\"a\":2}}";
    fake_kube_fail("replace", OSMO_ECONFLICT, "somebody was faster", 3);
    CHECK_OK(D->replace(impl, other, strlen(other), &err), &err);
    CHECK(has("Queue", "q", "\"a\":2"));
    fake_kube_fail("replace", OSMO_ECONFLICT, "somebody was faster", 100);
    CHECK_INT(D->replace(impl, other, strlen(other), &err), OSMO_EBUSY);
    CHECK_INT(create("{\"kind\":\"Unheard\",\"apiVersion\":\"x/v1\",\"metadata\":{\"name\":\"q\"}}", &err), OSMO_ENOTFOUND);
    CHECK_INT(create("{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"q\",\"namespace\":"
        "\"missing\"}}", &err), OSMO_ENOTFOUND);
    CHECK_STR(err.text, "the cluster has no namespace missing: create it");
    CHECK_INT(create("{\"kind\":\"Secret\"}", &err), OSMO_EINVAL);
    CHECK_INT(D->erase(impl, "v1", "Pod", "x", &err), OSMO_EINVAL);
    CHECK_INT(D->replace(impl, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"}}", 39, &err), OSMO_EINVAL);
    CHECK_INT(D->remove(impl, "v1", "Secret", "", 0, &err), OSMO_EINVAL);
    CHECK_OK(create("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c\",\"namespace\":\"test\","
        "\"labels\":{\"x\":\"y\"}}}", &err),
             &err);
    CHECK_INT(D->remove(impl, "v1", "ConfigMap", "x=y", 0, &err), 0); /* it is in another namespace */
    end();
}

static int collect(void *ctx, const char *json, size_t len) { return buf_append(ctx, json, len) < 0; }

static void test_kept(void) {
    static const char group[] = "{\"apiVersion\":\"scheduling.run.ai/v2alpha2\",\"kind\":\"PodGroup\",\"metadata\":{\"name\":"
        "\"g\",\"labels\":{"
                                "\"l\":\"m\"}},\"spec\":{\"minMember\":2,\"queue\":\"\\u00e4\\\"\"}}";
    static const char changed[] = "{\"apiVersion\":\"scheduling.run.ai/v2alpha2\",\"kind\":\"PodGroup\",\"metadata\":{"
        "\"name\":\"g\",\"labels\":{"
                                  "\"l\":\"m\"}},\"spec\":{\"minMember\":3}}";
    const char *version = "scheduling.run.ai/v2alpha2";
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t list = BUF_INIT(65536);
    fake_kube_reset(false);
    begin(NULL);
    CHECK_OK(create(group, &err), &err);
    CHECK_INT(create(group, &err), OSMO_EEXISTS);
    CHECK_INT(fake_kube_count("PodGroup"), 0);
    CHECK(has("ConfigMap", "podgroup.g", "\"osmo.kind\":\"PodGroup\"") && has("ConfigMap", "podgroup.g", "\"l\":\"m\""));
    CHECK_OK(D->list(impl, version, "PodGroup", "l=m", collect, &list, &err), &err);
    CHECK_STR(buf_cstr(&list), "{\"apiVersion\":\"scheduling.run.ai/v2alpha2\",\"kind\":\"PodGroup\",\"metadata\":{\"name\":"
        "\"g\",\"labels\":{"
                               "\"l\":\"m\"}},\"spec\":{\"minMember\":2,\"queue\":\"ä\\\"\"}}");
    CHECK_OK(D->replace(impl, changed, strlen(changed), &err), &err);
    CHECK(has("ConfigMap", "podgroup.g", "minMember\\\":3"));
    buf_reset(&list);
    CHECK_OK(D->list(impl, version, "PodGroup", "l=other", collect, &list, &err), &err);
    CHECK_INT(list.len, 0);
    CHECK_INT(D->patch(impl, version, "PodGroup", "g", "{}", 2, &err), OSMO_EINVAL);
    CHECK_OK(D->erase(impl, version, "PodGroup", "g", &err), &err);
    CHECK_INT(D->erase(impl, version, "PodGroup", "g", &err), OSMO_ENOTFOUND);
    CHECK_OK(create(group, &err), &err);
    CHECK_INT(D->remove(impl, version, "PodGroup", "l=m", 0, &err), 1);
    CHECK_INT(fake_kube_count("ConfigMap"), 0);
    CHECK_INT(create("{\"apiVersion\":\"other.io/v1\",\"kind\":\"Queue\",\"metadata\":{\"name\":\"q\"}}", &err), OSMO_EDENIED);
    CHECK_INT(fake_kube_count("ConfigMap"), 0); /* somebody else's kind of that name, which is in no namespace */
    buf_free(&list);
    end();
}

static void test_translation(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char name[KEPT_NAME_MAX];
    char *text = NULL, *long_name = calloc(1, 301);
    CHECK(kept_is("scheduling.run.ai/v2", "Queue") && kept_is("kai.scheduler/v1alpha1", "Topology"));
    CHECK(!kept_is("v1", "Pod") && !kept_is("batch/v1", "Queue") && !kept_is(NULL, "Queue") && !kept_is("kai.scheduler/v1", "PodGroup"));
    memset(long_name, 'a', 300);
    CHECK(!kept_name("Queue", long_name, name));
    CHECK_INT(kept_wrap("{\"kind\":\"Queue\"}", 16, "ns", &text, &err), OSMO_EINVAL);
    CHECK_INT(kept_wrap("{", 1, "ns", &text, &err), OSMO_EINVAL);
    static const char *const none[] = { "{}", "[]", "{\"data\":{}}", "{\"data\":{\"object\":7}}", "{\"data\":{\"object\":\"" };
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        CHECK_INT(kept_unwrap(none[i], strlen(none[i]), &text), 0);
        CHECK(text == NULL);
    }
    free(long_name);
}

static void test_scheduler_name(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    static const struct { const char *annotations, *spec, *becomes; } rows[] = {
        { "\"annotations\":{\"pod-group-name\":\"g\"}", "\"schedulerName\":\"kai-scheduler\",\"x\":1", "\"schedulerName\":"
            "\"osmo-scheduler\",\"x\":1" },
        { "\"annotations\":{\"pod-group-name\":\"g\"}", "\"schedulerName\":\"default-scheduler\"", "\"schedulerName\":"
            "\"default-scheduler\"" },
        { "\"annotations\":{}", "\"schedulerName\":\"kai-scheduler\"", "\"schedulerName\":\"kai-scheduler\"" },
        { "\"annotations\":{\"pod-group-name\":\"g\"}", "\"x\":{\"schedulerName\":\"y\"}", "\"x\":{\"schedulerName\":\"y\"}" },
    };
    for (int kai = 0; kai < 2; kai++) {
        fake_kube_reset(kai != 0);
        begin(NULL);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
            char name[8];
            snprintf(name, sizeof name, "p%zu", i);
            _cleanup_free_ char *meta = str_printf(",%s", rows[i].annotations), *text = pod_text(name, meta, rows[i].spec);
            CHECK_OK(create(text, &err), &err);
            CHECK(has("Pod", name, kai ? rows[i].spec : rows[i].becomes));
        }
        end();
    }
}

/* ---- removal ---- */

static void test_remove(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    fake_kube_reset(true);
    put_pod("a", "," FINALIZER, "\"nodeName\":\"n\"");
    put_pod("b", "," FINALIZER, "");
    put_pod("c", "", "");
    begin(NULL);
    expect_told("p+a ");
    CHECK_INT(D->remove(impl, "v1", "Pod", "osmo.workflow_uuid=w", 0, &err), 3);
    CHECK_INT(fake_kube_calls("patch"), 2); /* what has no finalizer needs no patch */
    CHECK_INT(fake_kube_count("Pod"), 1);   /* it has its grace */
    CHECK(!has("Pod", "a", "osmo.nvidia.com/cleanup"));
    fake_kube_end("a", "Failed");
    CHECK_INT(fake_kube_count("Pod"), 0);
    expect_told("p-a ");
    put_pod("a", "," FINALIZER, "\"nodeName\":\"n\"");
    CHECK_INT(D->remove(impl, "v1", "Pod", "osmo.workflow_uuid=w", 1, &err), 1);
    CHECK_INT(fake_kube_count("Pod"), 0);
    CHECK_INT(D->remove(impl, "v1", "Pod", "osmo.workflow_uuid=w", 1, &err), 0);
    end();
}

static void test_remove_goes_on(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    fake_kube_reset(true);
    for (int i = 0; i < 30; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        put_pod(name, "," FINALIZER, "");
    }
    begin(NULL);
    fake_kube_fail("remove", OSMO_EDENIED, "that is forbidden", 2);
    fake_kube_fail("patch", OSMO_EUNAVAIL, "overloaded", 1);
    CHECK_INT(D->remove(impl, "v1", "Pod", "osmo.workflow_uuid=w", 0, &err), OSMO_EUNAVAIL); /* the one that may pass */
    CHECK_STR(err.text, "3 of 30: overloaded");
    CHECK_INT(fake_kube_count("Pod"), 3);
    fake_kube_fail("patch", OSMO_ENOTFOUND, "gone", 1);
    fake_kube_fail("patch", OSMO_ECONFLICT, "changed meanwhile", 1);
    int rc = D->remove(impl, "v1", "Pod", "osmo.workflow_uuid=w", 0, &err);
    CHECK(rc >= 2);
    fake_kube_fail("list", OSMO_EUNAVAIL, "overloaded", 1);
    CHECK_INT(D->remove(impl, "v1", "Pod", "a=b", 0, &err), OSMO_EUNAVAIL);
    end();
}

/* Between the list and the patch another one took the name: it is left alone. */
static void test_successor(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    fake_kube_reset(true);
    put_pod("a", "," FINALIZER, "");
    begin(NULL);
    fake_kube_fail("patch", OSMO_ECONFLICT, "Precondition failed: UID in precondition", 1);
    fake_kube_fail("get", OSMO_ENOTFOUND, "gone", 1);
    CHECK_INT(D->remove(impl, "v1", "Pod", "n=a", 0, &err), 1); /* the delete has its own condition */
    put_pod("b", "", "");
    fake_kube_fail("remove", OSMO_ECONFLICT, "the UID in the precondition does not match", 1);
    fake_kube_fail("get", OSMO_ENOTFOUND, "gone", 1);
    CHECK_INT(D->remove(impl, "v1", "Pod", "n=b", 0, &err), 0);
    CHECK(has("Pod", "b", "metadata") && !has("Pod", "b", "deletionTimestamp"));
    end();
}

/* An operator may have more rights than it needs; who tells it what to do does not get them. */
static void test_outside(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    fake_kube_reset(true);
    begin(NULL);
    static const char node[] = "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n1\",\"labels\":{\"a\":\"b\"}}}";
    CHECK_INT(create(node, &err), OSMO_EDENIED);
    CHECK_STR(err.text, "a Node is in no namespace: of such objects the operator only makes and removes queues and topologies");
    CHECK_INT(fake_kube_count("Node"), 0);
    fake_kube_put(node);
    CHECK_INT(D->replace(impl, node, strlen(node), &err), OSMO_EDENIED);
    CHECK_INT(D->erase(impl, "v1", "Node", "n1", &err), OSMO_EDENIED);
    CHECK_INT(D->remove(impl, "v1", "Node", "a=b", 0, &err), OSMO_EDENIED);
    CHECK_INT(fake_kube_count("Node"), 1);
    CHECK_INT(D->patch(impl, "v1", "Namespace", "kube-system", "{}", 2, &err), OSMO_EDENIED);
    CHECK_OK(D->patch(impl, "v1", "Node", "n1", "{\"metadata\":{\"labels\":{\"c\":\"d\"}}}", 33, &err), &err);
    end();
}

/* A conflict that is about something else, above all that the client is stopped, is not a removal: the job would be told as done. */
static void test_remove_conflicts(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    fake_kube_reset(true);
    put_pod("a", "", "");
    put_pod("b", "," FINALIZER, "");
    begin(NULL);
    fake_kube_fail("remove", OSMO_ECONFLICT, "the Kubernetes client is being stopped", 1);
    fake_kube_fail("get", OSMO_ECONFLICT, "the Kubernetes client is being stopped", 1);
    CHECK_INT(D->remove(impl, "v1", "Pod", "n=a", 0, &err), OSMO_ECONFLICT);
    fake_kube_fail("remove", OSMO_ECONFLICT, "something else is in the way", 1);
    CHECK_INT(D->remove(impl, "v1", "Pod", "n=a", 0, &err), OSMO_EBUSY);
    fake_kube_fail("patch", OSMO_ECONFLICT, "changed meanwhile", 8); /* as often as is tried */
    CHECK(D->remove(impl, "v1", "Pod", "n=b", 0, &err) < 0);
    CHECK(has("Pod", "b", "osmo.nvidia.com/cleanup"));
    CHECK_INT(D->remove(impl, "v1", "Pod", "n=a", 0, &err), 1);
    end();
}

/* ---- finalizers ---- */

static void remove_as_others_do(const char *name) {
    osmo_kube_t *k = fake_kube_client();
    osmo_error_t err = OSMO_ERROR_INIT;
    const osmo_kube_target_t t = { .size = sizeof t, .kind = "Pod", .name = name };
    const osmo_kube_delete_t how = { .size = sizeof how, .grace_s = 0 };
    CHECK_OK(osmo_kube_remove(k, &t, &how, &err), &err);
    osmo_kube_free(k);
}

static void test_finalizers(void) {
    fake_kube_reset(true);
    put_pod("early", "," FINALIZER, "\"nodeName\":\"n\"");
    remove_as_others_do("early"); /* while no operator was there */
    begin(NULL);
    expect_told("p-early ");
    put_pod("running", "," FINALIZER, "\"nodeName\":\"n\"");
    put_pod("waiting", "," FINALIZER, "");
    put_pod("other", ",\"finalizers\":[\"somebody/else\"]", "\"nodeName\":\"n\"");
    put_pod("alive", "," FINALIZER, "\"nodeName\":\"n\"");
    remove_as_others_do("waiting");
    expect_told("p-waiting "); /* nothing can be learned of it: at once */
    remove_as_others_do("running");
    remove_as_others_do("other");
    expect_told("p-running ");
    CHECK_INT(fake_kube_count("Pod"), 2); /* another's finalizer is another's */
    CHECK(has("Pod", "alive", "osmo.nvidia.com/cleanup"));
    end();
}

static const struct check_test tests[] = {
    { "settings", test_settings },
    { "what is said of the cluster", test_describe },
    { "watches", test_watches },
    { "objects", test_objects },
    { "objects of KAI without KAI", test_kept },
    { "their translation", test_translation },
    { "whose pods they are", test_scheduler_name },
    { "removal", test_remove },
    { "conflicts of a removal", test_remove_conflicts },
    { "what is in no namespace", test_outside },
    { "removal goes on", test_remove_goes_on },
    { "removal and successors", test_successor },
    { "finalizers", test_finalizers },
};
TEST_MAIN("kubernetes", tests)
