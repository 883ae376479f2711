/* operator/nodes.c and rules.c by themselves: what counts on which node, under which name it is told, availability and
 * its label. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "check.h"
#include "operator/nodes.h"
#include "operator/rules.h"

static struct told { buf_t text, labels; } told;
static nodes_t *nodes;

static void emit(void *ctx, enum message_type type, const char *key, json_t *body) {
    _cleanup_free_ char *text = json_to_text(body);
    (void)ctx;
    buf_printf(&told.text, "%s %s %s\n", key, message_type_name(type), text);
    json_free(body);
}

static void set_label(void *ctx, const char *node, const char *label, const char *value) {
    (void)ctx;
    buf_printf(&told.labels, "%s %s=%s\n", node, label, value);
}

static bool begin(void) {
    static const logger_t log;
    told = (struct told){ BUF_INIT(1 << 20), BUF_INIT(1 << 16) };
    nodes = nodes_new("ns", emit, NULL, &log);
    CHECK(nodes != NULL);
    return nodes != NULL;
}

static void end(void) {
    nodes_free(nodes);
    buf_free(&told.text);
    buf_free(&told.labels);
}

static const char *taken(buf_t *b) {
    static char copy[8192];
    snprintf(copy, sizeof copy, "%s", buf_cstr(b));
    buf_reset(b);
    return copy;
}
static const char *said(void) { return taken(&told.text); }

static json_t *parsed(const char *text) {
    json_t *v = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(json_parse(text, strlen(text), &v, &err), &err);
    return v;
}

static void node(const char *name, const char *host, const char *labels, const char *spec, const char *ready) {
    char text[1024];
    snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubernetes.io/hostname\":\"%s\"%s}},"
        "\"spec\":{%s},\"status\":{"
             "\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"}]}}", name, host, labels, spec, ready);
    json_t *v = parsed(text);
    nodes_apply(nodes, v);
    json_free(v);
}

static void node_gone(const char *name) {
    char text[128];
    snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"%s\"}}", name);
    json_t *v = parsed(text);
    nodes_remove(nodes, v);
    json_free(v);
}

static pod_facts_t *pod_facts(const char *ns, const char *name, const char *on, const char *phase,
    const char *requests) {
    char text[1024];
    pod_facts_t *f = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int n = snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},"
        "\"spec\":{\"nodeName\":\"%s\",\"initContainers\":[{\"resources\":"
                     "{\"requests\":{\"cpu\":\"50\"}}}],\"containers\":[{\"resources\":{\"requests\":{%s}}},{}]},"
                     "\"status\":{\"phase\":\"%s\"}}",
                     name, ns, on, requests, phase);
    CHECK_OK(pod_facts_read(text, (size_t)n, &f, &err), &err);
    return f;
}

static void pod(const char *ns, const char *name, const char *on, const char *phase, const char *requests) {
    pod_facts_t *f = pod_facts(ns, name, on, phase, requests);
    nodes_apply_pod(nodes, f);
    pod_facts_free(f);
}

static void pod_gone(const char *ns, const char *name) {
    pod_facts_t *f = pod_facts(ns, name, "", "", "");
    nodes_remove_pod(nodes, f);
    pod_facts_free(f);
}

static const char *usage(void) {
    nodes_flush_usage(nodes);
    return said();
}

#define USAGE(host, cpu, memory, gpu, other) \
    "usage:" host " resource_usage {\"hostname\":\"" host "\",\"usage_fields\":{\"cpu\":\"" cpu "\"," \
    "\"memory\":\"" memory "\"," \
    "\"ephemeral-storage\":\"0Ki\",\"nvidia.com/gpu\":\"" gpu "\"}," \
    "\"non_workflow_usage_fields\":{\"cpu\":\"" other "\",\"memory\":\"0Ki\"," \
    "\"ephemeral-storage\":\"0Ki\",\"nvidia.com/gpu\":\"0\"}}\n"

/* ---- usage ---- */

static void usage_by_namespace(void) {
    REQUIRE(begin());
    CHECK_INT(nodes_include_namespace(nodes, "more"), 0);
    node("n1", "h1", "", "", "True");
    CHECK_CONTAINS(said(), "resource:h1 resource {\"hostname\":\"h1\",\"available\":true");
    CHECK_STR(usage(), USAGE("h1", "0", "0Ki", "0", "0"));
    pod("ns", "a", "n1", "Running", "\"cpu\":\"1500m\",\"memory\":\"1Mi\",\"nvidia.com/gpu\":\"2\"");
    pod("more", "a", "n1", "Pending", "\"cpu\":\"1\",\"memory\":\"1025\"");
    pod("kube-system", "a", "n1", "Running", "\"cpu\":\"2100m\"");
    CHECK_STR(usage(), USAGE("h1", "3", "1026Ki", "2", "3"));
    pod("kube-system", "a", "n1", "Running", "\"cpu\":\"2900m\"");
    CHECK_STR(usage(), ""); /* rounded, it is the same */
    pod("ns", "a", "n1", "Succeeded", "\"cpu\":\"1500m\",\"memory\":\"1Mi\",\"nvidia.com/gpu\":\"2\"");
    CHECK_STR(usage(), USAGE("h1", "1", "2Ki", "0", "3"));
    pod_gone("more", "a");
    pod_gone("more", "a");
    pod_gone("kube-system", "a");
    CHECK_STR(usage(), USAGE("h1", "0", "0Ki", "0", "0"));
    end();
}

/* Odd amounts of one pod stop nobody, and leave nothing behind. */
static void odd_quantities(void) {
    REQUIRE(begin());
    node("n1", "h1", "", "", "True");
    pod("other", "x", "n1", "Running", "\"cpu\":\"many\",\"memory\":\"1GB\",\"nvidia.com/gpu\":\"1e99\"");
    pod("other", "y", "n1", "Running", "\"cpu\":\"-3\",\"nvidia.com/gpu\":\"9E\"");
    pod("ns", "z", "n1", "Running", "\"cpu\":\"1k\"");
    CHECK_CONTAINS(usage(), "\"usage_fields\":{\"cpu\":\"1000\"");
    pod_gone("other", "x");
    pod_gone("other", "y");
    pod_gone("ns", "z");
    CHECK_STR(usage(), USAGE("h1", "0", "0Ki", "0", "0"));
    end();
}

/* Pods name their node by its name; on the wire is the hostname. Either may come first. */
static void names_of_nodes(void) {
    REQUIRE(begin());
    pod("ns", "a", "n1", "Running", "\"cpu\":\"1\"");
    CHECK_STR(usage(), "");
    node("n1", "h1", "", "", "True");
    said();
    CHECK_STR(usage(), USAGE("h1", "1", "0Ki", "0", "0"));
    end();
}

static void nodes_come_and_go(void) {
    REQUIRE(begin());
    pod("ns", "a", "n1", "Running", "\"cpu\":\"1\"");
    node("n1", "h1", "", "", "True");
    said();
    usage();
    node_gone("n1");
    CHECK_STR(said(), "delete:h1 delete_resource {\"resource\":\"h1\"}\n");
    node_gone("n1");
    CHECK_STR(said(), "");
    node("n1", "h1", "", "", "True");
    CHECK_CONTAINS(said(), "resource:h1 resource");
    CHECK_STR(usage(), USAGE("h1", "1", "0Ki", "0", "0")); /* its pods were not forgotten */
    node("n1", "h2", "", "", "True");
    CHECK_CONTAINS(said(), "delete:h1 delete_resource");
    CHECK_STR(usage(), USAGE("h2", "1", "0Ki", "0", "0"));
    node_gone("n1");
    pod_gone("ns", "a");
    said();
    node("n2", "h2", "", "", "True");
    said();
    pod("ns", "b", "n2", "Running", "\"cpu\":\"4\"");
    pod("ns", "b", "n3", "Running", "\"cpu\":\"4\""); /* never in Kubernetes, and nothing breaks */
    CHECK_STR(usage(), USAGE("h2", "0", "0Ki", "0", "0"));
    nodes_resend(nodes);
    CHECK_CONTAINS(said(), "node_hash node_hash {\"node_hashes\":[\"h2\"]}");
    end();
}

/* ---- availability ---- */

static void availability(void) {
    static const struct { const char *rules, *conditions; bool ok; } cases[] = {
        {"{}", "Ready=True", true}, {"{}", "Ready=False", false}, {"{}", "Ready=Unknown", false}, {"{}", "", true},
        {"{}", "Ready=True,MemoryPressure=True", true},                              /* nobody speaks of it */
        {"{\"MemoryPressure\":\"False\"}", "Ready=True,MemoryPressure=True", false},
        {"{\"MemoryPressure\":\"False\"}", "Ready=False,MemoryPressure=False", false}, /* Ready is added */
        {"{\"Pressure\":\"False\"}", "Ready=True,MemoryPressure=True", true},        /* anchored at the start */
        {"{\"Memory\":\"False\"}", "Ready=True,MemoryPressure=True", false},         /* and there only */
        {"{\"^Gpu.*$\":\"Fal\"}", "Ready=True,GpuLost=False", false},                /* the whole status */
        {"{\"^Gpu.*$\":\"False|Unknown\"}", "Ready=True,GpuLost=Unknown", true},
        {"{\"A\":\"True\",\"A.*\":\"False\"}", "AB=False", true},                    /* one that allows is enough */
        {"{\"A\":\"True\",\"A.*\":\"False\"}", "AB=Unknown", false},
        {"{\"(\":\"True\",\"B\":\"[\"}", "Ready=True,B=x", true}, /* patterns that are none are left out */
        {"{\"Ready\":\"True\"}", "Ready=True", true}, {"{\".*\":\"True\"}", "Ready=True,X=False", false},
        {"null", "Ready=True", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *rules = parsed(cases[i].rules), *list = json_array();
        _cleanup_free_ char *text = str_dup(cases[i].conditions);
        rules_t *r = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_OK(rules_new(rules, &r, &err), &err);
        for (char *rest = text, *one; rest && (one = strsep(&rest, ",")) && *one;) {
            json_t *c = json_object();
            json_set_str(c, "type", strsep(&one, "="));
            json_set_str(c, "status", one);
            json_add(list, c);
        }
        bool ok = r && rules_allow(r, list);
        if (ok != cases[i].ok)
            fprintf(stderr, "rules %s, conditions %s\n", cases[i].rules, cases[i].conditions);
        CHECK_INT(ok, cases[i].ok);
        rules_free(r);
    }
}

static void bad_rules(void) {
    static const char *const sets[] = {"{\"Ready\":\"False\"}", "{\"Rea\":\"True|False\"}", "{\".*\":\"False\"}", "[]",
        "5", "\"x\"", "{\"^Ready$\":\"\"}"};
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        _cleanup_json_ json_t *rules = parsed(sets[i]);
        rules_t *r = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(rules_new(rules, &r, &err), OSMO_EINVAL);
        CHECK(err.text[0] && !r);
    }
}

static void label_of_availability(void) {
    REQUIRE(begin());
    node("n0", "h0", "", "", "True");
    CHECK_STR(taken(&told.labels), ""); /* nobody asked for it */
    CHECK_INT(nodes_label_with(nodes, "osmo.nvidia.com/", set_label, NULL), 0);
    node("n1", "h1", "", "", "True");
    CHECK_STR(taken(&told.labels), "n1 osmo.nvidia.com/verified=True\n");
    node("n1", "h1", ",\"x\":\"y\"", "", "True"); /* asked for already */
    CHECK_STR(taken(&told.labels), "");
    node("n1", "h1", ",\"osmo.nvidia.com/verified\":\"True\"", "", "True");
    CHECK_STR(taken(&told.labels), "");
    node("n1", "h1", ",\"osmo.nvidia.com/verified\":\"True\"", "\"unschedulable\":true", "True");
    CHECK_STR(taken(&told.labels), "n1 osmo.nvidia.com/verified=False\n");
    node("n1", "h1", ",\"osmo.nvidia.com/verified\":\"True\"", "", "True"); /* back before it was written */
    node("n1", "h1", ",\"osmo.nvidia.com/verified\":\"False\"", "", "True");
    CHECK_STR(taken(&told.labels), "n1 osmo.nvidia.com/verified=True\n");
    node("n1", "h1", "", "", "True"); /* somebody took it away */
    CHECK_STR(taken(&told.labels), "n1 osmo.nvidia.com/verified=True\n");
    node("n1", "h1", ",\"osmo.nvidia.com/verified\":\"True\"", "", "True");
    json_t *rules = parsed("{\"Ready\":\"True\",\"Rea\":\"True\"}");
    CHECK_INT(nodes_set_rules(nodes, rules, NULL), 0);
    json_free(rules);
    CHECK_STR(taken(&told.labels), "");
    node("n1", "h1", ",\"osmo.nvidia.com/verified\":\"True\"", "", "False");
    CHECK_STR(taken(&told.labels), "n1 osmo.nvidia.com/verified=False\n");
    end();
}

static const struct check_test tests[] = {
    {"usage by namespace", usage_by_namespace}, {"odd quantities", odd_quantities}, {"names of nodes", names_of_nodes},
    {"nodes come and go", nodes_come_and_go}, {"availability", availability}, {"bad rules", bad_rules},
    {"label of availability", label_of_availability},
};
TEST_MAIN("nodes", tests)
