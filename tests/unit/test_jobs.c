/* Jobs of the operator against a cluster made of this file: objects of a kind are made side by side and kinds one after another, what
 * passes is waited for and what does not is told in the server's words, and a name that another one has is not taken for ours. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "check.h"
#include "operator/jobs.h"
#include "operator/labels.h"

/* ---- the cluster ---- */

static struct cluster {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    map_t *objects;            /* kind/name → text */
    buf_t order;               /* kinds, as they were created */
    int together, most;        /* create calls at once */
    int meet;                  /* a create call of a Pod waits until so many are there; 0 = not */
    const char *bad;           /* name that fails with `code`, `times` times (-1 = always) */
    int code, times;
    const char *message;
    bool lost;                 /* what failed was made all the same: its answer was lost */
    int creates, lists, waits, list_code;
    int acts;                  /* so many times it may be acted, then no more; 0 = always */
    bool stopped;
    buf_t removed;             /* kinds that were to be removed */
} C = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static char *key_of(const json_t *v) {
    return str_printf("%s/%s", json_get_str(v, "kind"), json_get_str(json_get(v, "metadata"), "name"));
}

/* Creating takes until all that may run together do: a run that is not parallel would wait for ever, so the wait is bounded. */
static void meet(const char *kind) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += 20;
    C.together++;
    C.most = C.together > C.most ? C.together : C.most;
    pthread_cond_broadcast(&C.cond);
    while (C.meet && strcmp(kind, "Pod") == 0 && C.most < C.meet && pthread_cond_timedwait(&C.cond, &C.lock, &ts) == 0)
        ;
    C.together--;
}

static int fake_create(void *impl, const char *text, size_t len, osmo_error_t *err) {
    (void)impl;
    json_t *v = NULL;
    CHECK(json_parse(text, len, &v, NULL) == 0);
    const char *kind = json_get_str(v, "kind");
    char *key = key_of(v);
    bool fails = C.bad && str_eq(json_get_str(json_get(v, "metadata"), "name"), C.bad);
    pthread_mutex_lock(&C.lock);
    C.creates++;
    meet(kind);
    fails = fails && C.times != 0;
    C.times -= fails && C.times > 0;
    int rc = fails ? osmo_error_set(err, C.code, "%s", C.message) : 0;
    if (!fails || C.lost) {
        bool there = map_has(C.objects, key);
        if (there && !fails)
            rc = osmo_error_set(err, OSMO_EEXISTS, "%s already exists", key);
        if (!there) {
            map_set(C.objects, key, strndup(text, len));
            buf_printf(&C.order, "%s ", kind);
        }
    }
    pthread_mutex_unlock(&C.lock);
    free(key);
    json_free(v);
    return rc;
}

static int fake_list(void *impl, const char *api_version, const char *kind, const char *selector, osmo_cluster_object_fn fn, void *ctx,
                     osmo_error_t *err) {
    size_t it = 0;
    const char *key;
    void *text;
    (void)impl, (void)api_version;
    pthread_mutex_lock(&C.lock);
    C.lists++;
    while (!C.list_code && map_next(C.objects, &it, &key, &text)) {
        json_t *v = NULL;
        CHECK(json_parse(text, strlen(text), &v, NULL) == 0);
        const char *group = json_get_str(json_path(v, "metadata", "labels", NULL), "osmo.group_uuid");
        _cleanup_free_ char *mine = str_printf("osmo.group_uuid=%s", group ? group : "");
        if (str_eq(json_get_str(v, "kind"), kind) && strcmp(mine, selector) == 0)
            fn(ctx, text, strlen(text));
        json_free(v);
    }
    int rc = C.list_code ? osmo_error_set(err, C.list_code, "not for you") : 0;
    pthread_mutex_unlock(&C.lock);
    return rc;
}

static int fake_patch(void *impl, const char *api_version, const char *kind, const char *name, const char *json, size_t len,
                      osmo_error_t *err) {
    (void)impl;
    CHECK(str_eq(api_version, "v1") && str_eq(kind, "Node") && str_eq(name, "n1"));
    pthread_mutex_lock(&C.lock);
    buf_append(&C.order, json, len);
    int rc = C.code ? osmo_error_set(err, C.code, "%s", C.message) : 0;
    pthread_cond_broadcast(&C.cond);
    pthread_mutex_unlock(&C.lock);
    return rc;
}

static bool fake_wait(void *ctx, int64_t ms) {
    (void)ctx, (void)ms;
    pthread_mutex_lock(&C.lock);
    C.waits++;
    bool goes_on = !C.stopped;
    pthread_mutex_unlock(&C.lock);
    return goes_on;
}

static int fake_remove(void *impl, const char *api_version, const char *kind, const char *selector, int force, osmo_error_t *err) {
    (void)impl, (void)api_version, (void)selector, (void)force, (void)err;
    buf_printf(&C.removed, "%s ", kind);
    return 0;
}

static int fake_logs(void *impl, const char *pod, const char *container, int tail, osmo_cluster_object_fn fn, void *ctx,
                     osmo_error_t *err) {
    (void)impl, (void)pod, (void)container, (void)tail, (void)fn, (void)ctx;
    C.creates++;
    return osmo_error_set(err, C.code, "its node does not answer");
}

static bool fake_pod_log(void *ctx, void *job_ctx, json_t *body) {
    (void)ctx, (void)job_ctx;
    buf_puts(&C.order, json_get_str(body, "text"));
    json_free(body);
    return true;
}

static void fake_cleaning(void *ctx, const json_t *labels) { (void)ctx, (void)labels; }

/* A replica that lost its lease in the middle of a job. */
static bool fake_may_act(void *ctx) {
    (void)ctx;
    pthread_mutex_lock(&C.lock);
    bool may = C.acts == 0 || C.acts-- > 1;
    if (!may)
        C.acts = 1;
    pthread_mutex_unlock(&C.lock);
    return may;
}

static const osmo_cluster_driver_t driver = { .size = sizeof driver, .name = "fake", .create = fake_create, .list = fake_list,
                                              .patch = fake_patch, .remove = fake_remove, .logs = fake_logs };
static const logger_t quiet;

static void begin(void) {
    C = (struct cluster){ .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .objects = map_new(free),
                          .order = BUF_INIT(1u << 20), .removed = BUF_INIT(4096) };
    REQUIRE(C.objects != NULL);
}

static void end(void) {
    map_free(C.objects);
    buf_free(&C.order);
    buf_free(&C.removed);
}

/* ---- a job ---- */

#define LABELS(group, retry) "\"labels\":{\"osmo.group_uuid\":\"" group "\",\"osmo.retry_id\":\"" retry "\"}"
#define OBJECT(kind, name, labels) "{\"apiVersion\":\"v1\",\"kind\":\"" kind "\",\"metadata\":{\"name\":\"" name "\"," labels "}}"
#define POD(name) OBJECT("Pod", name, LABELS("g", "0"))

static char last[JOB_MESSAGE_MAX];

static enum job_outcome run_with(crew_t *crew, const char *type, const char *members) {
    struct job_env env = { .driver = &driver, .namespace_ = "ns", .log = &quiet, .wait = fake_wait, .crew = crew,
                           .may_act = fake_may_act, .cleaning = fake_cleaning, .pod_log = fake_pod_log };
    struct job_result r = { 0 };
    json_t *job = NULL;
    _cleanup_free_ char *text = str_printf("{\"job_type\":\"%s\",%s}", type, members);
    CHECK(json_parse(text, strlen(text), &job, NULL) == 0);
    job_run(&env, job, &r);
    snprintf(last, sizeof last, "%s", buf_cstr(&r.message));
    buf_free(&r.message);
    json_free(job);
    return r.outcome;
}

static int patience = 600; /* seconds; no wait takes any here */

static enum job_outcome create(const char *objects) {
    _cleanup_free_ char *members = str_printf("\"backend_k8s_timeout\":%d,\"k8s_resources\":[%s]", patience, objects);
    return run_with(NULL, "CreateGroup", members);
}

static void kinds_in_order(void) {
    begin();
    crew_t *crew = crew_new(3);
    REQUIRE(crew != NULL);
    C.meet = 4;
    CHECK_INT(run_with(crew, "CreateGroup", "\"k8s_resources\":[" OBJECT("Secret", "a", "\"x\":1") "," OBJECT("Secret", "b", "\"x\":1") ","
                       OBJECT("Service", "s", "\"x\":1") "," POD("p0") "," POD("p1") "," POD("p2") "," POD("p3") "," POD("p4") ","
                       OBJECT("PodGroup", "pg", "\"x\":1") "]"), JOB_SUCCESS);
    CHECK_STR(last, "");
    CHECK_STR(buf_cstr(&C.order), "Secret Secret Service Pod Pod Pod Pod Pod PodGroup ");
    CHECK_INT(C.most, 4);
    CHECK_INT(C.lists, 0);
    CHECK_CONTAINS(map_get(C.objects, "Pod/p4"), "\"namespace\":\"ns\"");
    crew_free(crew);
    end();
}

/* Several executors with large jobs share a crew. */
struct side { crew_t *crew; char name; };

static void *side_main(void *ctx) {
    struct side *s = ctx;
    buf_t text = BUF_INIT(1u << 20);
    buf_puts(&text, "\"k8s_resources\":[");
    for (int i = 0; i < 300; i++)
        buf_printf(&text, "%s{\"kind\":\"Pod\",\"metadata\":{\"name\":\"%c%d\"}}", i ? "," : "", s->name, i);
    buf_puts(&text, "]");
    struct job_env env = { .driver = &driver, .namespace_ = "ns", .log = &quiet, .wait = fake_wait, .crew = s->crew };
    struct job_result r = { 0 };
    json_t *job = NULL;
    _cleanup_free_ char *whole = str_printf("{\"job_type\":\"CreateGroup\",%s}", buf_cstr(&text));
    if (json_parse(whole, strlen(whole), &job, NULL) == 0)
        job_run(&env, job, &r);
    buf_free(&text);
    buf_free(&r.message);
    json_free(job);
    return NULL;
}

static void jobs_share_a_crew(void) {
    begin();
    crew_t *crew = crew_new(4);
    struct side sides[6];
    pthread_t threads[6];
    for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
        sides[i] = (struct side){ crew, (char)('a' + i) };
        REQUIRE(pthread_create(&threads[i], NULL, side_main, &sides[i]) == 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(sides); i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(map_len(C.objects), 6 * 300);
    CHECK_INT(C.creates, 6 * 300);
    CHECK(C.most <= 10);
    crew_free(crew);
    end();
}

static void what_passes_is_waited_for(void) {
    static const int codes[] = { OSMO_EBUSY, OSMO_EUNAVAIL, OSMO_ETIMEOUT, OSMO_ECONFLICT, OSMO_EUNAUTH };
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        begin();
        C.bad = "p1";
        C.code = codes[i];
        C.times = 20; /* more often than a fixed number of attempts would allow */
        C.message = "the server is busy";
        CHECK_INT(create(POD("p0") "," POD("p1") "," POD("p2")), JOB_SUCCESS);
        CHECK_STR(last, "");
        CHECK_INT(C.waits, 20);
        CHECK_INT(C.creates, 23);
        end();
    }
    begin();
    C.bad = "p1";
    C.code = OSMO_EIO; /* perhaps a connection that was lost, perhaps a full disk */
    C.times = 5;
    C.message = "something is broken";
    CHECK_INT(create(POD("p1")), JOB_SUCCESS);
    C.times = -1;
    CHECK_INT(create(POD("p1")), JOB_FAILED_RETRY);
    CHECK_STR(last, "creating Pod p1: something is broken");
    end();
}

static void what_does_not_is_told(void) {
    static const struct { int code; const char *message; enum job_outcome outcome; } cases[] = {
        { OSMO_EDENIED, "pods \"p1\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2",
          JOB_FAILED_NO_RETRY },
        { OSMO_EINVAL, "admission webhook \"w.example.org\" denied the request: no", JOB_FAILED_NO_RETRY },
        { OSMO_ENOTFOUND, "the server has no kind Pod of v1", JOB_FAILED_NO_RETRY },
        { OSMO_ENOMEM, "out of memory", JOB_FAILED_RETRY },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin();
        C.bad = "p1";
        C.code = cases[i].code;
        C.times = -1;
        C.message = cases[i].message;
        _cleanup_free_ char *want = str_printf("creating Pod p1: %s", cases[i].message);
        CHECK_INT(create(POD("p0") "," POD("p1") "," POD("p2") "," OBJECT("Service", "s", "\"x\":1")), cases[i].outcome);
        CHECK_STR(last, want);
        CHECK_INT(C.creates, 2); /* what would come later is not begun, and what was made stays for the cleanup */
        CHECK(map_has(C.objects, "Pod/p0"));
        end();
    }
}

/* The time is over that nothing could be made in: the service decides whether to try again. */
static void patience_ends(void) {
    begin();
    C.bad = "p0";
    C.code = OSMO_EBUSY;
    C.times = -1;
    C.message = "too many requests";
    C.stopped = true; /* the operator ends: the wait says so, and that is the same as an end of patience */
    CHECK_INT(create(POD("p0")), JOB_FAILED_RETRY);
    CHECK_STR(last, "creating Pod p0: too many requests");
    CHECK_INT(C.waits, 1);
    C.stopped = false;
    C.waits = 0;
    patience = 1; /* less than what comes next */
    CHECK_INT(create(POD("p0")), JOB_FAILED_RETRY);
    patience = 600;
    CHECK_STR(last, "creating Pod p0: too many requests");
    CHECK(C.waits > 1);
    end();
}

static void names_that_are_taken(void) {
    begin();
    CHECK_INT(create(POD("p0") "," POD("p1")), JOB_SUCCESS);
    CHECK_INT(create(POD("p0") "," POD("p1")), JOB_SUCCESS); /* the job came twice */
    CHECK_STR(last, "AlreadyExists");
    CHECK_INT(C.lists, 1);
    CHECK_INT(create(POD("p0") "," OBJECT("Pod", "p1", LABELS("g", "1"))), JOB_FAILED_RETRY); /* of the attempt before */
    CHECK_STR(last, "a pod of an earlier attempt is still there");
    CHECK_INT(create(OBJECT("Pod", "p1", LABELS("other", "0"))), JOB_FAILED_NO_RETRY);
    CHECK_STR(last, "creating Pod p1: there is another one of this name in the namespace, which does not belong to the group: remove it "
              "and submit the workflow again");
    C.list_code = OSMO_EDENIED; /* who may not ask believes */
    CHECK_INT(create(OBJECT("Pod", "p1", LABELS("other", "0"))), JOB_SUCCESS);
    CHECK_INT(create(OBJECT("Pod", "p1", "\"x\":1")), JOB_SUCCESS);
    C.list_code = OSMO_EBUSY;
    C.waits = 0;
    CHECK_INT(create(POD("p1")), JOB_FAILED_RETRY);
    CHECK_STR(last, "creating Pod p1: not for you");
    end();
}

/* The answer to a request was lost, and by the second try the object is there: it was not listed when the one before it was compared. */
static void answers_that_were_lost(void) {
    begin();
    CHECK_INT(create(POD("p0")), JOB_SUCCESS);
    C.bad = "p1";
    C.code = OSMO_EIO;
    C.times = 1;
    C.message = "the connection was cut";
    C.lost = true;
    CHECK_INT(create(POD("p0") "," POD("p1")), JOB_SUCCESS);
    CHECK_STR(last, "AlreadyExists");
    CHECK_INT(C.lists, 2);
    end();
}

static void labels_of_nodes(void) {
    static const struct { int code; enum job_outcome outcome; const char *message; } cases[] = {
        { 0, JOB_SUCCESS, "" },
        { OSMO_EDENIED, JOB_FAILED_NO_RETRY, "node n1 may not be labelled by this operator: allow it to patch nodes (forbidden)" },
        { OSMO_ENOTFOUND, JOB_FAILED_NO_RETRY, "labelling node n1: forbidden" },
        { OSMO_EUNAVAIL, JOB_FAILED_RETRY, "labelling node n1: forbidden" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin();
        C.code = cases[i].code;
        C.message = "forbidden";
        CHECK_INT(run_with(NULL, "LabelNode", "\"node_name\":\"n1\",\"labels\":{\"a\":\"b\"}"), cases[i].outcome);
        CHECK_STR(last, cases[i].message);
        CHECK_STR(buf_cstr(&C.order), "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
        end();
    }
}

/* Stopped for half a minute in the middle of it: what another replica has cleaned up since must not be made again. */
static void nothing_is_made_without_the_lease(void) {
    begin();
    C.acts = 3;
    CHECK_INT(create(POD("p0") "," POD("p1") "," POD("p2") "," POD("p3")), JOB_FAILED_RETRY);
    CHECK_INT(C.creates, 2);
    CHECK_CONTAINS(last, "creating Pod p2: this replica does not hold the lease any more");
    end();
}

/* What a service says is not believed so far that it could reach into other namespaces. */
static void a_job_stays_in_its_namespace(void) {
    static const struct { const char *type, *members; } cases[] = {
        { "CleanupGroup", "\"cleanup_specs\":[{\"resource_type\":\"kube-system/Secret\",\"labels\":{\"a\":\"b\"}}]" },
        { "CleanupGroup", "\"cleanup_specs\":{\"generic_api\":{\"api_version\":\"v1\",\"kind\":\"other/Pod\"},"
                          "\"labels\":{\"a\":\"b\"}}" },
        { "BackendSynchronizeQueues", "\"k8s_resources\":[],\"cleanup_specs\":[{\"resource_type\":\"kube-system/Secret\","
                                      "\"labels\":{\"a\":\"b\"}}]" },
        { "BackendSynchronizeQueues", "\"k8s_resources\":[{\"apiVersion\":\"v1\",\"kind\":\"kube-system/Secret\","
                                      "\"metadata\":{\"name\":\"s\"}}],\"cleanup_specs\":[]" },
        { "BackendSynchronizeQueues", "\"k8s_resources\":[{\"apiVersion\":\"v1\",\"kind\":\"Secret\","
                                      "\"metadata\":{\"name\":\"s\",\"namespace\":\"kube-system\"}}],\"cleanup_specs\":[]" },
        { "CreateGroup", "\"k8s_resources\":[{\"apiVersion\":\"v1\",\"kind\":\"other/Pod\",\"metadata\":{\"name\":\"s\"}}]" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin();
        CHECK_INT(run_with(NULL, cases[i].type, cases[i].members), JOB_FAILED_NO_RETRY);
        CHECK_INT(C.creates, 0);
        CHECK_INT(C.lists, 0);
        CHECK_INT(C.removed.len, 0);
        CHECK_CONTAINS(last, "namespace");
        end();
    }
    begin();
    CHECK_INT(run_with(NULL, "CleanupGroup", "\"cleanup_specs\":[{\"resource_type\":\"Secret\",\"labels\":{\"a\":\"b\"}}]"), JOB_SUCCESS);
    CHECK_STR(buf_cstr(&C.removed), "Secret ");
    end();
}

/* Whether nodes are available, written by a thread of its own; a node that is gone is left, and what waits at the end too. */
static void labels_of_availability(void) {
    begin();
    labels_t *l = labels_new(&driver, NULL, &quiet);
    REQUIRE(l != NULL);
    C.code = OSMO_ENOTFOUND;
    C.message = "there is no n1";
    labels_set(l, "n1", "x/verified", "False");
    pthread_mutex_lock(&C.lock);
    while (!C.order.len)
        pthread_cond_wait(&C.cond, &C.lock);
    CHECK_STR(buf_cstr(&C.order), "{\"metadata\":{\"labels\":{\"x/verified\":\"False\"}}}");
    buf_reset(&C.order);
    C.code = OSMO_EDENIED;
    pthread_mutex_unlock(&C.lock);
    labels_set(l, "n1", "x/verified", "True");
    pthread_mutex_lock(&C.lock);
    while (!C.order.len)
        pthread_cond_wait(&C.cond, &C.lock);
    CHECK_STR(buf_cstr(&C.order), "{\"metadata\":{\"labels\":{\"x/verified\":\"True\"}}}");
    pthread_mutex_unlock(&C.lock);
    labels_free(l);
    end();
}

/* A label that cannot be asked for is not left out: more would match, such as the pods of all attempts. */
static void labels_count_all(void) {
    static const char *const bad[] = { "{\"a\":\"b\",\"osmo.retry_id\":3}", "{\"a\":\"b\",\"osmo.retry_id\":null}", "{}", "[]" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        begin();
        _cleanup_free_ char *members = str_printf("\"cleanup_specs\":[{\"resource_type\":\"Pod\",\"labels\":%s}]", bad[i]);
        CHECK_INT(run_with(NULL, "CleanupGroup", members), JOB_FAILED_NO_RETRY);
        CHECK_INT(C.removed.len, 0);
        end();
    }
}

/* Each container of a node that is lost takes a minute to find that out: a group of many would never be cleaned up. */
static void logs_of_lost_nodes(void) {
    static const struct { int code, reads; } cases[] = { { OSMO_EUNAVAIL, 3 }, { OSMO_ETIMEOUT, 3 }, { OSMO_ENOTFOUND, 20 } };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin();
        for (int p = 0; p < 20; p++) {
            char key[16];
            snprintf(key, sizeof key, "Pod/p%d", p);
            map_set(C.objects, key, str_printf("{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p%d\",\"labels\":{\"osmo.group_uuid\":\"g\","
                "\"osmo.task_uuid\":\"t%d\"}},\"spec\":{\"containers\":[{\"name\":\"c\"}]},\"status\":{\"containerStatuses\":"
                "[{\"state\":{\"terminated\":{\"exitCode\":1}}}]}}", p, p));
        }
        C.code = cases[i].code;
        CHECK_INT(run_with(NULL, "CleanupGroup", "\"cleanup_specs\":[{\"resource_type\":\"Pod\",\"labels\":{\"a\":\"b\"}}],"
                           "\"error_log_spec\":{\"labels\":{\"osmo.group_uuid\":\"g\"}}"), JOB_SUCCESS);
        CHECK_INT(C.creates, cases[i].reads);
        CHECK_CONTAINS(buf_cstr(&C.order), "No output could be read from container c: its node does not answer");
        CHECK_STR(buf_cstr(&C.removed), "Pod ");
        end();
    }
}

static const struct check_test tests[] = {
    { "kinds in order", kinds_in_order },
    { "jobs share a crew", jobs_share_a_crew },
    { "what passes is waited for", what_passes_is_waited_for },
    { "what does not is told", what_does_not_is_told },
    { "patience ends", patience_ends },
    { "names that are taken", names_that_are_taken },
    { "answers that were lost", answers_that_were_lost },
    { "labels of nodes", labels_of_nodes },
    { "labels of availability", labels_of_availability },
    { "nothing is made without the lease", nothing_is_made_without_the_lease },
    { "a job stays in its namespace", a_job_stays_in_its_namespace },
    { "logs of lost nodes", logs_of_lost_nodes },
    { "labels count all", labels_count_all },
};
TEST_MAIN("jobs of the operator", tests)
