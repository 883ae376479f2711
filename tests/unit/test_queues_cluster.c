/* The pools in a cluster: the job that brings Queues and Topologies in line, against a driver that keeps objects, and placement by what
 * the control plane sends: a pool's guarantee and maximum of GPUs are kept, and a group that waits for them is explained so. */
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "check.h"
#include "cluster/place.h"
#include "model/explain.h"
#include "model/pods_queues.h"
#include "operator/jobs.h"

static json_t *parse(const char *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *v = NULL;
    CHECK_OK(json_parse(text, strlen(text), &v, &err), &err);
    return v;
}

/* ---- a cluster that keeps what it is given and writes down what is done ---- */

static map_t *objects; /* kind/name → text */
static buf_t done = BUF_INIT(1u << 16);
static int fails, times;    /* what the next so many calls answer */
static const char *no_kind; /* which it does not know */

static char *key_of(const char *text, size_t len) {
    json_t *v = NULL;
    char *key = NULL;
    if (json_parse(text, len, &v, NULL) == 0)
        key = str_printf("%s/%s", json_get_str(v, "kind"), json_get_str(json_get(v, "metadata"), "name"));
    json_free(v);
    return key;
}

static int put(const char *what, const char *text, size_t len, bool exists, osmo_error_t *err) {
    _cleanup_free_ char *key = key_of(text, len);
    if (times > 0 && times--)
        return osmo_error_set(err, fails, "it is out of order");
    if (map_has(objects, key) != exists)
        return osmo_error_set(err, exists ? OSMO_ENOTFOUND : OSMO_EEXISTS, "it is there or not");
    buf_printf(&done, "%s %s\n", what, key);
    return map_set(objects, key, str_dup(text));
}

static int fake_create(void *impl, const char *text, size_t len, osmo_error_t *err) {
    (void)impl;
    return put("create", text, len, false, err);
}

static int fake_replace(void *impl, const char *text, size_t len, osmo_error_t *err) {
    (void)impl;
    return put("replace", text, len, true, err);
}

static int fake_erase(void *impl, const char *api_version, const char *kind, const char *name, osmo_error_t *err) {
    _cleanup_free_ char *key = str_printf("%s/%s", kind, name);
    (void)impl, (void)err;
    CHECK(api_version[0]);
    buf_printf(&done, "erase %s\n", key);
    map_remove(objects, key);
    return 0;
}

static int fake_list(void *impl, const char *api_version, const char *kind, const char *selector, osmo_cluster_object_fn fn, void *ctx,
                     osmo_error_t *err) {
    size_t it = 0;
    const char *key;
    void *text;
    (void)impl;
    CHECK(api_version[0]);
    if (str_eq(no_kind, kind))
        return osmo_error_set(err, OSMO_ENOTFOUND, "no such kind");
    while (map_next(objects, &it, &key, &text)) {
        json_t *v = parse(text);
        const char *ns = json_get_str(json_path(v, "metadata", "labels", NULL), "osmo.namespace");
        _cleanup_free_ char *label = str_printf("osmo.namespace=%s", ns ? ns : "");
        if (str_starts(key, kind) && str_eq(label, selector))
            fn(ctx, text, strlen(text));
        json_free(v);
    }
    return 0;
}

static const osmo_cluster_driver_t driver = { .size = sizeof driver, .name = "fake", .create = fake_create, .list = fake_list,
                                              .replace = fake_replace, .erase = fake_erase };
static const osmo_cluster_driver_t poor_driver = { .size = sizeof driver, .name = "poor", .create = fake_create, .list = fake_list };
static const logger_t quiet;

static bool no_wait(void *ctx, int64_t ms) { (void)ctx, (void)ms; return true; }

static int acts = -1; /* so many objects may be looked at before another replica has the lease; -1 = all */
static bool may_act(void *ctx) {
    (void)ctx;
    acts -= acts > 0;
    return acts != 0;
}

/* What the operator does about the pools of a configuration, as lines. */
static const char *sync_with(const osmo_cluster_driver_t *d, const char *yaml, enum job_outcome want, const char *message) {
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *job = NULL;
    struct job_env env = { .driver = d, .namespace_ = "ns", .log = &quiet, .wait = no_wait, .may_act = may_act };
    struct job_result r = { 0 };
    CHECK_OK(settings_parse(yaml, strlen(yaml), "f", &s, &err), &err);
    CHECK_OK(pods_queues(s, "b", "ns", &job, &err), &err);
    json_set_str(job, "job_type", "BackendSynchronizeQueues");
    buf_reset(&done);
    job_run(&env, job, &r);
    CHECK_STR(job_outcome_name(r.outcome), job_outcome_name(want));
    CHECK_STR(buf_cstr(&r.message), message);
    buf_free(&r.message);
    json_free(job);
    settings_free(s);
    return buf_cstr(&done);
}

static const char *sync_pools(const char *yaml) { return sync_with(&driver, yaml, JOB_SUCCESS, ""); }

static void begin(void) {
    objects = map_new(free);
    times = 0;
    no_kind = NULL;
    REQUIRE(objects != NULL);
}

static void end(void) {
    map_free(objects);
    buf_free(&done);
}

#define A1 "  a: {backend: b, resources: {gpu: {maximum: 1}}}\n"
#define A2 "  a: {backend: b, resources: {gpu: {maximum: 2}}}\n"
#define T(label) "  t: {backend: b, topology_keys: [{key: rack, label: " label "}]}\n"

static void objects_are_brought_in_line(void) {
    begin();
    map_set(objects, "Queue/theirs", str_dup("{\"kind\":\"Queue\",\"apiVersion\":\"x\",\"metadata\":{\"name\":\"theirs\","
                                             "\"labels\":{\"osmo.namespace\":\"other\"}}}"));
    CHECK_STR(sync_pools("pools:\n" A1 T("r")), "create Queue/osmo-default-ns\ncreate Queue/osmo-pool-ns-a\ncreate Queue/osmo-pool-ns-t\n"
                                              "create Topology/osmo-pool-ns-t-topology\n");
    CHECK_STR(sync_pools("pools:\n" A1 T("r")), ""); /* twice is as good as once */
    CHECK_STR(sync_pools("pools:\n" A2 T("r")), "replace Queue/osmo-pool-ns-a\n");
    CHECK_STR(sync_pools("pools:\n" A2 T("s")), "erase Topology/osmo-pool-ns-t-topology\ncreate Topology/osmo-pool-ns-t-topology\n");
    CHECK_STR(sync_pools("pools:\n" A2), "erase Queue/osmo-pool-ns-t\nerase Topology/osmo-pool-ns-t-topology\n");
    CHECK_STR(sync_pools("pools: {}\n"), "erase Queue/osmo-pool-ns-a\n");
    CHECK(map_has(objects, "Queue/theirs"));
    /* one that lost its label is taken over; a cluster without topologies does without */
    map_set(objects, "Queue/osmo-pool-ns-a", str_dup("{\"kind\":\"Queue\",\"metadata\":{\"name\":\"osmo-pool-ns-a\"}}"));
    no_kind = "Topology";
    CHECK_STR(sync_pools("pools:\n" A1 T("r")), "replace Queue/osmo-pool-ns-a\ncreate Queue/osmo-pool-ns-t\n");
    no_kind = NULL;
    fails = OSMO_ECONFLICT;
    times = 3; /* another writer was faster, some times */
    CHECK_STR(sync_pools("pools:\n" A2 T("r")), "replace Queue/osmo-pool-ns-a\ncreate Topology/osmo-pool-ns-t-topology\n");
    CHECK_STR(sync_pools("pools:\n" A1), "replace Queue/osmo-pool-ns-a\nerase Queue/osmo-pool-ns-t\n"
                                         "erase Topology/osmo-pool-ns-t-topology\n");
    CHECK_STR(sync_pools("pools:\n" A1 "  t: {backend: b}\n"), "create Queue/osmo-pool-ns-t\n");
    times = 7; /* and always: the rest is done all the same, and this one the next time */
    CHECK_STR(sync_with(&driver, "pools:\n" A2 T("r"), JOB_FAILED_RETRY, "replacing Queue osmo-pool-ns-a: it is out of order"),
              "create Topology/osmo-pool-ns-t-topology\n");
    CHECK_STR(sync_pools("pools:\n" A2 T("r")), "replace Queue/osmo-pool-ns-a\n");
    CHECK_STR(sync_with(&poor_driver, "pools:\n" A1 "  c: {backend: b}\n", JOB_SUCCESS, ""), "create Queue/osmo-pool-ns-c\n");
    CHECK_CONTAINS(sync_pools("pools:\n" A1 "  c: {backend: b}\n"), "replace Queue/osmo-pool-ns-a\n");
    /* what the server writes down of an object is more than what it was told, and the numbers look otherwise */
    map_set(objects, "Queue/osmo-pool-ns-c", str_dup("{\"kind\":\"Queue\",\"apiVersion\":\"scheduling.run.ai/v2\",\"metadata\":"
            "{\"name\":\"osmo-pool-ns-c\",\"labels\":{\"osmo.namespace\":\"ns\",\"own\":\"x\"}},\"spec\":{\"parentQueue\":"
            "\"osmo-default-ns\",\"priority\":1,\"resources\":{\"cpu\":{\"quota\":-1.0,\"limit\":-1,\"overQuotaWeight\":1,\"of\":0},"
            "\"memory\":{\"quota\":-1,\"limit\":-1,\"overQuotaWeight\":1},\"gpu\":{\"quota\":-1,\"limit\":-1,"
            "\"overQuotaWeight\":1.0}}},\"status\":{}}"));
    CHECK_STR(sync_pools("pools:\n" A1 "  c: {backend: b}\n"), "");
    end();
}

static void bad_jobs(void) {
    static const struct { const char *job, *message; } cases[] = {
        { "{}", "k8s_resources must be an array of at most 100000 objects" },
        { "{\"k8s_resources\":[{\"kind\":\"Queue\"}]}", "k8s_resources[0] needs a kind and a metadata.name" },
        { "{\"k8s_resources\":[],\"cleanup_specs\":[{\"generic_api\":{\"api_version\":\"v\",\"kind\":\"Queue\"}}]}",
          "a cleanup spec needs a kind and labels" },
    };
    begin();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct job_env env = { .driver = &driver, .log = &quiet, .wait = no_wait };
        struct job_result r = { 0 };
        json_t *job = parse(cases[i].job);
        json_set_str(job, "job_type", "BackendSynchronizeQueues");
        job_run(&env, job, &r);
        CHECK_INT(r.outcome, JOB_FAILED_NO_RETRY);
        CHECK_STR(buf_cstr(&r.message), cases[i].message);
        buf_free(&r.message);
        json_free(job);
    }
    end();
}

/* ---- placement by them ---- */

static place_t *place;
static buf_t said = BUF_INIT(1u << 16);

static void on_bind(void *ctx, const char *pod, const char *node) { (void)node; buf_printf(ctx, "%s runs\n", pod); }
static void on_preempt(void *ctx, const char *pod, const char *message) { (void)message; buf_printf(ctx, "%s leaves\n", pod); }
static void on_wait(void *ctx, const char *pod, const char *reason) { buf_printf(ctx, "%s: %s\n", pod, reason); }

static const char *run(void) {
    const struct place_sink sink = { &said, on_bind, on_preempt, on_wait };
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_reset(&said);
    CHECK(place_run(place, &sink, &err) >= 0);
    return buf_cstr(&said);
}

static void tell_queues(const char *yaml) {
    struct settings *s = NULL;
    json_t *v = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(settings_parse(yaml, strlen(yaml), "f", &s, &err), &err);
    CHECK_OK(pods_queues(s, "b", "ns", &v, &err), &err);
    const json_t *list = json_get(v, "k8s_resources");
    for (size_t i = 0; i < json_len(list); i++)
        CHECK_OK(place_object(place, json_at(list, i), &err), &err);
    json_free(v);
    settings_free(s);
}

static int64_t arrivals;

/* A group of one pod. */
static void pod(const char *name, const char *pool, const char *priority, int gpus) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *group = str_printf("{\"kind\":\"PodGroup\",\"metadata\":{\"name\":\"g-%s\"},\"spec\":{\"queue\":"
                                            "\"osmo-pool-ns-%s\",\"priorityClassName\":\"osmo-%s\",\"minMember\":1}}",
                                            name, pool, priority);
    _cleanup_free_ char *text = str_printf("{\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"annotations\":{\"pod-group-name\":"
                                           "\"g-%s\"}},\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\","
                                           "\"nvidia.com/gpu\":\"%d\"}}}]}}", name, name, gpus);
    _cleanup_json_ json_t *g = parse(group), *p = parse(text);
    CHECK_OK(place_object(place, g, &err), &err);
    CHECK_OK(place_pod(place, p, ++arrivals, NULL, &err), &err);
}

/* Why explain says the group of a pod waits, when the scheduler says this. */
static const char *explained(const char *reason) {
    static char out[40];
    _cleanup_free_ char *text = str_printf("2026-01-01 00:00:00+00:00 [t] FailedScheduling: %s", reason);
    struct explain_event event = { text, 1 };
    struct explain_task t = { .name = "t", .status = STATUS_SCHEDULING, .events = &event, .nevents = 1 };
    struct explain_group g = { .name = "t-group", .status = STATUS_SCHEDULING, .sent = true, .tasks_total = 1, .tasks_unfinished = 1,
                               .tasks = &t, .ntasks = 1 };
    struct explain_snapshot s = { .id = "w-1", .status = STATUS_PENDING, .backend = "b", .backend_known = true, .link = LINK_UP,
                                  .groups_total = 1, .groups_unfinished = 1, .groups = &g, .ngroups = 1 };
    struct explain x;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(explain_workflow(&s, &x, &err), &err);
    CHECK_INT(x.ngroups, 1);
    bool one = x.ngroups == 1 && x.groups[0].n == 1;
    CHECK(one);
    snprintf(out, sizeof out, "%s", one ? explain_why_name(x.groups[0].reasons[0].why) : "");
    if (one)
        CHECK_CONTAINS(x.groups[0].reasons[0].text, reason);
    explain_clear(&x);
    return out;
}

static const char limits[] = "pools:\n"
                             "  small: {backend: b, resources: {gpu: {guarantee: 2, maximum: 4}}}\n"
                             "  free: {backend: b}\n";

#define GUARANTEE \
    "queue osmo-pool-ns-small is guaranteed 2 gpu, of which 2 are used and 1 asked; a lower priority may borrow"
#define MAXIMUM "queue osmo-pool-ns-small has a maximum of 4 gpu, of which 4 are used and 1 asked"

/* NORMAL and HIGH stay within the guarantee, LOW goes up to the maximum, and only GPUs count. */
static void limits_are_kept(void) {
    const struct place_options o = { .any_node = true };
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *node = parse("{\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"},\"status\":{\"allocatable\":"
                                        "{\"cpu\":\"100\",\"memory\":\"8Gi\",\"nvidia.com/gpu\":\"8\",\"pods\":\"100\"}}}");
    REQUIRE(place_new(&o, &place, &err) == 0);
    CHECK_OK(place_node(place, node, &err), &err);
    tell_queues(limits);
    pod("firm", "small", "normal", 2);
    CHECK_STR(run(), "firm runs\n");
    pod("second", "small", "high", 1);
    CHECK_STR(run(), "second: " GUARANTEE "\n");
    CHECK_STR(explained(GUARANTEE), "quota");
    pod("without", "small", "normal", 0);
    pod("lent", "small", "low", 2);
    pod("over", "small", "low", 1);
    CHECK_STR(run(), "without runs\nlent runs\nover: " MAXIMUM "\n");
    CHECK_STR(explained(MAXIMUM), "quota");
    pod("elsewhere", "free", "normal", 4); /* the node has room for it */
    CHECK_STR(run(), "elsewhere runs\n");
    place_pod_ended(place, "lent");
    CHECK_STR(run(), "over runs\n");
    tell_queues("pools:\n  small: {backend: b, resources: {gpu: {guarantee: 3, maximum: 4}}}\n  free: {backend: b}\n");
    CHECK_STR(run(), "second runs\n"); /* the pool was given more */
    place_free(place);
    buf_free(&said);
}

/* What another replica has brought in line with newer pools must not become what it was before. */
static void another_has_the_lease(void) {
    begin();
    acts = 2;
    CHECK_STR(sync_with(&driver, "pools:\n" A1 T("l1"), JOB_FAILED_RETRY, "this replica does not hold the lease any more"),
              "create Queue/osmo-default-ns\n");
    acts = 2;
    map_set(objects, "Queue/old", str_dup("{\"apiVersion\":\"v1\",\"kind\":\"Queue\",\"metadata\":{\"name\":\"old\",\"labels\":"
                                          "{\"osmo.namespace\":\"ns\"}}}"));
    CHECK_STR(sync_with(&driver, "pools:\n" A1 T("l1"), JOB_FAILED_RETRY, "this replica does not hold the lease any more"), "");
    acts = -1;
    end();
}

static const struct check_test tests[] = {
    { "objects are brought in line", objects_are_brought_in_line },
    { "bad jobs", bad_jobs },
    { "limits are kept", limits_are_kept },
    { "another has the lease", another_has_the_lease },
};
TEST_MAIN("queues in a cluster", tests)
