/* operator/pod_facts.c: what is read of a pod, in any order, and that nothing odd stops it; operator/pod_table.c and
 * pod_ids.c below it. */
#include "operator/pod_facts.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "check.h"
#include "operator/pod_ids.h"
#include "operator/pod_table.h"

#define TASK "0123456789abcdef0123456789abcdef"

/* The text is gone when the facts are looked at. */
static pod_facts_t *read_n(const char *text, size_t len) {
    pod_facts_t *f = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    char *copy = malloc(len ? len : 1);
    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, text, len);
    int rc = pod_facts_read(copy, len, &f, &err);
    free(copy);
    CHECK((rc == 0) == (f != NULL));
    CHECK(rc == 0 || err.text[0]);
    return f;
}

static pod_facts_t *read_text(const char *text) { return read_n(text, strlen(text)); }

static const char whole[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"name\":\"not this\"},"
    "\"creationTimestamp\":\"2026-01-01T00:00:00Z\","
    "\"deletionTimestamp\":\"2026-01-01T01:00:00Z\",\"finalizers\":[\"other/one\",\"osmo.nvidia.com/cleanup\"],"
    "\"labels\":{\"app\":\"x\","
    "\"osmo.group_uuid\":\"g\",\"osmo.installation\":\"i\",\"osmo.retry_id\":\"3\",\"osmo.task_name\":\"train\","
    "\"osmo.task_uuid\":\"" TASK "\","
    "\"osmo.workflow_uuid\":\"w\"},\"managedFields\":[{\"fieldsV1\":{\"f:metadata\":{\"f:name\":{}}}}],"
    "\"name\":\"pod\",\"namespace\":\"ns\","
    "\"ownerReferences\":[{\"name\":\"owner\",\"uid\":\"9\"}],\"uid\":\"6f1c7e0a-0000-4000-8000-0123456789ab\"},"
    "\"spec\":{\"containers\":[{\"name\":\"train\",\"env\":[{\"name\":\"X\",\"value\":\"y\"}],"
    "\"resources\":{\"limits\":{\"cpu\":\"9\"},\"requests\":{"
    "\"cpu\":\"1500m\",\"memory\":\"1Gi\",\"nvidia.com/gpu\":2,\"other\":\"5\"}}},{\"name\":\"osmo-ctrl\","
    "\"resources\":{\"requests\":{\"cpu\":\"250m\","
    "\"ephemeral-storage\":\"1k\"}}}],\"hostNetwork\":true,\"initContainers\":[{\"name\":\"osmo-init\","
    "\"resources\":{\"requests\":{\"cpu\":\"64\"}}}],"
    "\"nodeName\":\"node-1\",\"overhead\":{\"cpu\":\"1\"}},"
    "\"status\":{\"conditions\":[{\"lastProbeTime\":null,\"lastTransitionTime\":\"t1\",\"message\":\"m\\u00e4h\","
    "\"reason\":\"r\",\"status\":\"False\","
    "\"type\":\"Ready\"},{\"lastProbeTime\":\"t2\",\"status\":\"True\",\"type\":\"PodScheduled\"}],"
    "\"containerStatuses\":[{\"image\":\"i\",\"lastState\":{"
    "\"terminated\":{\"exitCode\":99}},\"name\":\"train\",\"state\":{\"running\":{\"startedAt\":\"t\"}}},"
    "{\"name\":\"osmo-ctrl\",\"state\":{\"terminated\":{"
    "\"exitCode\":1,\"message\":\"{\\\"code\\\": 12}\",\"reason\":\"Error\"}}}],\"hostIP\":\"10.0.0.1\","
    "\"initContainerStatuses\":[{\"name\":\"osmo-init\","
    "\"state\":{\"waiting\":{\"message\":\"w\",\"reason\":\"PodInitializing\"}}}],\"message\":\"pm\","
    "\"phase\":\"Running\",\"podIP\":\"10.1.2.3\","
    "\"podIPs\":[{\"ip\":\"10.1.2.4\"}],\"reason\":\"pr\"}}";

static void check_whole(const pod_facts_t *f) {
    CHECK_STR(f->name, "pod");
    CHECK_STR(f->namespace_, "ns");
    CHECK_STR(f->uid, "6f1c7e0a-0000-4000-8000-0123456789ab");
    CHECK_STR(f->created, "2026-01-01T00:00:00Z");
    CHECK_STR(f->deleted, "2026-01-01T01:00:00Z");
    CHECK_STR(f->labels[LABEL_TASK], TASK);
    CHECK_STR(f->labels[LABEL_WORKFLOW], "w");
    CHECK_STR(f->labels[LABEL_GROUP], "g");
    CHECK_STR(f->labels[LABEL_TASK_NAME], "train");
    CHECK_STR(f->labels[LABEL_INSTALLATION], "i");
    CHECK_INT(pod_facts_retry(f), 3);
    CHECK_STR(f->node, "node-1");
    CHECK_STR(f->ip, "10.1.2.3");
    CHECK_STR(f->container, "train");
    CHECK_STR(f->phase, "Running");
    CHECK_STR(f->reason, "pr");
    CHECK_STR(f->message, "pm");
    CHECK(f->host_network && f->finalizer);
    CHECK_INT(f->use[USE_CPU], 1750);
    CHECK_INT(f->use[USE_MEMORY], 1 << 30);
    CHECK_INT(f->use[USE_STORAGE], 1000);
    CHECK_INT(f->use[USE_GPU], 2);
}

static void check_states(const pod_facts_t *f) {
    REQUIRE(f->nconditions == 2 && f->ninit == 1 && f->nmain == 2);
    CHECK_STR(f->conditions[0].type, "Ready");
    CHECK_STR(f->conditions[0].status, "False");
    CHECK_STR(f->conditions[0].reason, "r");
    CHECK_STR(f->conditions[0].message, "m\xc3\xa4h");
    CHECK_STR(f->conditions[0].time, "t1");
    CHECK(f->conditions[1].reason == NULL && f->conditions[1].message == NULL);
    CHECK_STR(f->conditions[1].time, "t2");
    CHECK_INT(f->init[0].state, CONTAINER_WAITING);
    CHECK_STR(f->init[0].name, "osmo-init");
    CHECK_STR(f->init[0].reason, "PodInitializing");
    CHECK_STR(f->init[0].message, "w");
    CHECK_INT(f->main[0].state, CONTAINER_RUNNING);
    CHECK_INT(f->main[1].state, CONTAINER_TERMINATED);
    CHECK_INT(f->main[1].exit_code, 12);
    CHECK_STR(f->main[1].reason, "Error");
}

static void everything(void) {
    pod_facts_t *f = read_text(whole);
    REQUIRE(f != NULL);
    check_whole(f);
    check_states(f);
    CHECK(f->size < 2048);
    pod_facts_free(pod_facts_ref(f));
    CHECK_STR(f->name, "pod");
    pod_facts_free(f);
}

/* The order of members is nobody's promise. */
static void any_order(void) {
    pod_facts_t *f = read_text("{\"status\":{\"containerStatuses\":[{\"state\":{\"terminated\":{"
        "\"message\":\"{\\\"code\\\":5}\",\"reason\":\"Error\","
        "\"exitCode\":1}},\"name\":\"osmo-ctrl\"}],\"phase\":\"Failed\"},\"spec\":{\"nodeName\":\"n\"},"
        "\"metadata\":{\"uid\":\"u\",\"name\":\"p\"}}");
    REQUIRE(f != NULL);
    CHECK_STR(f->name, "p");
    CHECK_STR(f->node, "n");
    REQUIRE(f->nmain == 1);
    CHECK_INT(f->main[0].exit_code, 5);
    pod_facts_free(f);
}

static void only_who_it_was(void) {
    pod_facts_t *f = read_text("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u\"}}");
    REQUIRE(f != NULL);
    CHECK_STR(f->name, "p");
    CHECK_STR(f->uid, "u");
    CHECK(!f->phase && !f->node && !f->labels[LABEL_TASK] && !f->nmain && !f->finalizer && !f->deleted);
    pod_facts_free(f);
}

/* Odd kinds where texts, objects and lists are expected: as if they were not there, and what stands beside them is
 * read. */
static void odd_kinds(void) {
    static const char *const members[] = {
        "\"containers\":5", "\"containers\":{}", "\"containers\":[1,null,[],{\"name\":7}]",
        "\"containers\":[{\"resources\":[]}]",
        "\"containers\":[{\"resources\":{\"requests\":\"x\"}}]", "\"hostNetwork\":\"yes\"",
        "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":[1]}}}]",
    };
    static const char *const statuses[] = {
        "\"conditions\":{}", "\"conditions\":[7,[],{},{\"type\":1}]", "\"containerStatuses\":\"x\"",
        "\"containerStatuses\":[null,{\"state\":3}]",
        "\"containerStatuses\":[{\"state\":{\"waiting\":null,\"running\":5,\"terminated\":\"x\"}}]", "\"message\":{}",
        "\"podIP\":4",
        "\"containerStatuses\":[{\"name\":\"osmo-ctrl\",\"state\":{\"terminated\":{\"exitCode\":\"1\","
        "\"message\":7}}}]",
    };
    for (size_t i = 0; i < ARRAY_SIZE(members) * ARRAY_SIZE(statuses); i++) {
        char text[1024];
        snprintf(text, sizeof text, "{\"metadata\":{\"labels\":[1],\"finalizers\":{\"a\":1},\"name\":\"p\",\"uid\":7},"
            "\"spec\":{%s,\"nodeName\":\"n\"},"
                 "\"status\":{%s,\"phase\":\"Running\"}}", members[i % ARRAY_SIZE(members)],
                 statuses[i / ARRAY_SIZE(members)]);
        pod_facts_t *f = read_text(text);
        REQUIRE(f != NULL);
        CHECK_STR(f->name, "p");
        CHECK(f->uid == NULL);
        CHECK_STR(f->node, "n");
        CHECK_STR(f->phase, "Running");
        CHECK_INT(f->use[USE_CPU], 0);
        pod_facts_free(f);
    }
    static const char *const none[] = {"", "[]", "{}", "5", "{\"metadata\":[]}", "{\"metadata\":{}} x",
        "{\"metadata\":{\"name\":\"p\"}", "null"};
    for (size_t i = 0; i < ARRAY_SIZE(none); i++)
        CHECK(read_text(none[i]) == NULL);
}

static void quantities(void) {
    static const struct { const char *cpu, *memory; int64_t want_cpu, want_memory; } cases[] = {
        {"\"1\"", "\"1k\"", 1000, 1000}, {"\"0.5\"", "\"1P\"", 500, INT64_C(1000000000000000)}, {"2", "\"1E\"", 2000,
            INT64_C(1000000000000000000)},
        {"\"1e2\"", "\"1e9\"", 100000, 1000000000}, {"\"+3\"", "\"12E-1\"", 3000, 2}, {"\"-1\"", "\"-5Gi\"", 0, 0},
            {"\"x\"", "\"128Mi\"", 0, 134217728},
        {"\"\"", "\"1GB\"", 0, 0}, {"1.5", "1048576", 1500, 1048576}, {"null", "true", 0, 0}, {"\"100n\"",
            "\"9999999999999999999999E\"", 1, INT64_MAX},
        {"{\"a\":1}", "\"1Ki\"", 0, 1024},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"metadata\":{},"
            "\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":%s,\"memory\":%s}}}]}}",
                 cases[i].cpu, cases[i].memory);
        pod_facts_t *f = read_text(text);
        REQUIRE(f != NULL);
        CHECK_INT(f->use[USE_CPU], cases[i].want_cpu);
        CHECK_INT(f->use[USE_MEMORY], cases[i].want_memory);
        pod_facts_free(f);
    }
}

static void limits(void) {
    buf_t b = BUF_INIT(8u << 20);
    buf_puts(&b, "{\"metadata\":{\"name\":\"");
    for (int i = 0; i < 254; i++)
        buf_putc(&b, 'n');
    buf_puts(&b, "\",\"uid\":\"u\"},\"status\":{\"message\":\"");
    for (int i = 0; i < 20000; i++)
        buf_puts(&b, "\xe2\x82\xac");
    buf_puts(&b, "\",\"containerStatuses\":[");
    for (int i = 0; i < 300; i++)
        buf_printf(&b, "%s{\"name\":\"c%d\",\"state\":{\"running\":{}}}", i ? "," : "", i);
    buf_puts(&b, "],\"conditions\":[");
    for (int i = 0; i < 300; i++)
        buf_printf(&b, "%s{\"type\":\"t%d\",\"status\":\"True\"}", i ? "," : "", i);
    buf_puts(&b, "]}}");
    pod_facts_t *f = read_n(b.data, b.len);
    REQUIRE(f != NULL);
    CHECK(f->name == NULL); /* half an id is none */
    CHECK_STR(f->uid, "u");
    CHECK(strlen(f->message) > 8000 && strlen(f->message) <= 16384 && strlen(f->message) % 3 == 0);
    CHECK(f->nmain >= 64 && f->nmain < 300 && f->nconditions >= 16 && f->nconditions < 300);
    pod_facts_free(f);
    buf_free(&b);
}

static void cuts_and_flips(void) {
    char text[sizeof whole];
    size_t len = sizeof whole - 1;
    for (size_t n = 0; n < len; n++)
        CHECK(read_n(whole, n) == NULL);
    for (size_t i = 0; i < len; i++) {
        memcpy(text, whole, len);
        text[i] = (char)(text[i] ^ 1 << i % 8);
        pod_facts_free(read_n(text, len)); /* taken or refused, and nothing read beyond */
    }
}

/* ---- ids and tables ---- */

static void packed_ids(void) {
    pod_facts_t f = { .labels = { [LABEL_WORKFLOW] = TASK, [LABEL_TASK] = "0123456789ABCDEF0123456789abcdef",
        [LABEL_GROUP] = "short",
                                  [LABEL_RETRY] = "7" } };
    uint8_t packed[POD_IDS_MAX];
    struct pod_unpacked texts;
    size_t len = pod_ids_pack(&f, packed);
    CHECK_INT(len, 17 + 33 + 6 + 1 + 2); /* capital digits are not what they would come back as */
    struct pod_ids ids = pod_ids_unpack(packed, len, &texts);
    CHECK_STR(ids.label[LABEL_WORKFLOW], TASK);
    CHECK_STR(ids.label[LABEL_TASK], "0123456789ABCDEF0123456789abcdef");
    CHECK_STR(ids.label[LABEL_GROUP], "short");
    CHECK(ids.label[LABEL_TASK_NAME] == NULL);
    CHECK_INT(ids.retry, 7);
    CHECK(pod_ids_mix(1, NULL) != pod_ids_mix(1, ""));
    CHECK_INT(pod_ids_hash(NULL), 0);
}

static void keys(void) {
    static const struct { const char *uid, *ns, *name; } pods[] = {
        {"6f1c7e0a-0000-4000-8000-0123456789ab", "a", "p"}, {"6f1c7e0a-0000-4000-8000-0123456789ac", "a", "p"}, {"odd",
            "a", "p"}, {NULL, "a", "p"},
        {NULL, "b", "p"}, {NULL, "a", "q"}, {NULL, NULL, "p"}, {NULL, "p", "a"},
    };
    struct pod_key found[ARRAY_SIZE(pods)];
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        pod_facts_t f = { .uid = pods[i].uid, .namespace_ = pods[i].ns, .name = pods[i].name };
        CHECK(pod_key_of(&f, &found[i]));
        for (size_t j = 0; j < i; j++)
            CHECK(found[i].a != found[j].a || found[i].b != found[j].b);
    }
    pod_facts_t renamed = { .uid = pods[0].uid, .name = "other" }, nobody = { .node = "n" };
    struct pod_key key;
    CHECK(pod_key_of(&renamed, &key) && key.a == found[0].a && key.b == found[0].b);
    CHECK(!pod_key_of(&nobody, &key));
}

/* Against an array that says who is in. Few keys and bad ones, so that slots meet. */
static void table_in_and_out(void) {
    enum { KEYS = 400 };
    static int64_t in[KEYS];
    pod_table_t *t = pod_table_new(sizeof(int64_t));
    uint64_t seed = 42, count = 0;
    memset(in, 0, sizeof in);
    for (int64_t i = 1; i <= 40000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t k = seed >> 33 & 0xffff;
        k = i / 8000 % 2 ? k % 20 : k % KEYS; /* it fills and empties */
        struct pod_key key = { k % 7, k };
        int64_t *item = pod_table_get(t, key);
        CHECK((item != NULL) == (in[k] != 0) && (!item || *item == in[k]));
        if (item) {
            pod_table_remove(t, key);
            in[k] = 0;
            count--;
        } else if ((item = pod_table_add(t, key))) {
            CHECK(*item == 0);
            *item = in[k] = i;
            count++;
        }
        CHECK_INT(pod_table_count(t), count);
    }
    for (size_t k = 0; k < KEYS; k++) {
        struct pod_key key = { k % 7, k };
        const int64_t *item = pod_table_get(t, key);
        CHECK(item ? *item == in[k] : in[k] == 0);
        pod_table_remove(t, key);
        pod_table_remove(t, key);
    }
    CHECK_INT(pod_table_count(t), 0);
    pod_table_free(t);
    pod_table_free(NULL);
}

static const struct check_test tests[] = {
    {"everything", everything}, {"any order", any_order}, {"only who it was", only_who_it_was}, {"odd kinds",
        odd_kinds}, {"quantities", quantities},
    {"limits", limits}, {"cuts and flips", cuts_and_flips}, {"packed ids", packed_ids}, {"keys", keys}, {"table in and "
        "out", table_in_and_out},
};
TEST_MAIN("pod_facts", tests)
