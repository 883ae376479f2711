/* Ten specifications and what OSMO 6.4 makes of each, fact by fact: specifications, tasks, arguments, labels, resources. The
 * texts are tests/golden/specs/s01 to s10, so that the golden files are more than a record of what is. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "check.h"
#include "golden_fixture.h"

/* Loads one of the ten; the test ends when it is not accepted. */
static bool load(struct golden *g, const char *name, const char *options)
{
    _cleanup_free_ char *path = golden_path("specs/%s.yaml", name);
    _cleanup_free_ char *text = path ? golden_read(path, NULL) : NULL;
    _cleanup_free_ char *whole = text ? str_printf("%s%s", options, text) : NULL;
    *g = (struct golden){ .rc = OSMO_ENOMEM };
    if (whole)
        golden_build(g, whole, strlen(whole));
    CHECK_OK(g->rc, &g->err);
    return g->rc == 0;
}

static json_t *stored(const struct golden *g)
{
    return spec_to_json(g->spec);
}

static void check_json(const json_t *v, const char *want, unsigned line)
{
    _cleanup_free_ char *text = v ? json_to_text(v) : str_dup("nothing");
    check_str(text, want, "JSON", __FILE__, line);
}
#define CHECK_JSON(v, want) check_json((v), (want), __LINE__)

static json_t *first_task(const json_t *document, size_t group, size_t task)
{
    return json_at(json_get(json_at(json_path(document, "workflow", "groups", NULL), group), "tasks"), task);
}

static const char *label(const json_t *object, const char *key)
{
    return json_str(json_path(object, "metadata", "labels", key, NULL));
}

static char *args_of(const struct golden *g, const char *group, const char *task, size_t container)
{
    return golden_words(json_get(golden_container(golden_pod(g, group, task), container), "args"));
}

static char *text_of(const json_t *v, const char *key)
{
    const json_t *member = json_get(v, key);
    return member ? json_to_text(member) : str_dup("");
}

static void test_minimal(void)
{
    struct golden g;
    if (!load(&g, "s01-minimal", "")) {
        golden_free(&g);
        return;
    }
    _cleanup_json_ json_t *document = stored(&g);
    CHECK_JSON(first_task(document, 0, 0), "{\"name\":\"greet\",\"image\":\"busybox:1.36\",\"command\":[\"printf\"],"
               "\"args\":[\"3\",\"2.5\",\"no-thanks\"],\"lead\":true}");
    CHECK_JSON(json_path(document, "workflow", "resources", NULL), "{\"default\":{\"platform\":\"cpu\"}}");
    CHECK_INT(g.spec->exec_timeout_us, INT64_C(60) * 86400 * 1000000);
    CHECK_INT(g.spec->queue_timeout_us, INT64_C(60) * 86400 * 1000000);
    CHECK_INT(g.spec->groups[0].nupstream, 0);
    const json_t *pod = golden_pod(&g, "greet-group", "greet"), *user = golden_container(pod, 0);
    CHECK(!json_has(json_get(pod, "spec"), "hostname") && !json_has(json_get(pod, "spec"), "subdomain"));
    CHECK(golden_object(&g, "greet-group", "Service", 0) == NULL);
    static const char amounts[] = "{\"cpu\":\"1\",\"memory\":\"1Gi\",\"nvidia.com/gpu\":\"0\",\"ephemeral-storage\":\"1Gi\"}";
    CHECK_JSON(json_path(user, "resources", "limits", NULL), amounts);
    CHECK_JSON(json_path(user, "resources", "requests", NULL), amounts);
    _cleanup_free_ char *env = text_of(user, "env"), *ctrl = args_of(&g, "greet-group", "greet", 1);
    _cleanup_free_ char *ctrl_env = text_of(golden_container(pod, 1), "env");
    CHECK_CONTAINS(env, "{\"name\":\"NVIDIA_VISIBLE_DEVICES\",\"value\":\"\"}");
    CHECK_CONTAINS(ctrl, "-outputs task:s3://svc-bucket/wf/First_Steps-1/greet");
    CHECK(strstr(ctrl, "-barrier") == NULL && strstr(ctrl_env, "CPU_COUNT") == NULL);
    golden_free(&g);
}

static void test_defaults(void)
{
    struct golden g;
    if (load(&g, "s02-template-defaults", "")) {
        _cleanup_json_ json_t *document = stored(&g);
        CHECK_STR(g.spec->name, "bea-sweep");
        CHECK_INT(g.spec->ngroups, 3); /* rounds=3 of the request beats the default 2 */
        CHECK_STR(g.spec->groups[1].name, "trial-1-group");
        CHECK_JSON(json_get(first_task(document, 0, 0), "environment"), "{\"VERBOSE\":\"True\"}");
        CHECK(!json_has(first_task(document, 1, 0), "environment"));
        CHECK_JSON(json_get(first_task(document, 0, 0), "args"),
                   "[\"echo trial 0 of 3 as {{workflow_id}} > {{output}}/t0\"]");
        CHECK_JSON(json_get(first_task(document, 0, 0), "image"), "\"python:3.1\""); /* 3.10 is a number */
        _cleanup_free_ char *user = args_of(&g, "trial-2-group", "trial-2", 0);
        CHECK_CONTAINS(user, "-commands sh -commands -c -args echo trial 2 of 3 as bea-sweep-1 > /osmo/data/output/t2");
    }
    golden_free(&g);
    if (load(&g, "s02-template-defaults", "# golden: set=rounds=1\n# golden: set-string=version=3.10\n")) {
        CHECK_INT(g.spec->ngroups, 3); /* the text's own line came last */
        CHECK_STR(g.spec->groups[0].tasks[0].image, "python:3.10");
    }
    golden_free(&g);
}

static void test_chain(void)
{
    static const struct { const char *group, *task, *ctrl, *user; } want[] = {
        { "pull-group", "pull", "-outputs task:s3://svc-bucket/wf/pipeline-1/pull "
          "-outputs url:s3://bkt/dump/pipeline-1,.*\\.json$ -userConfig", "-commands sh" },
        { "sift-group", "sift", "-inputs task:0,s3://svc-bucket/wf/pipeline-1/pull, -inputs url:1,s3://bkt/known,b.* "
          "-outputs task:s3://svc-bucket/wf/pipeline-1/sift -userConfig",
          "-commands sh -commands /osmo/data/input/0 -commands /osmo/data/input/0" },
        { "sum-group", "sum", "-inputs task:0,s3://svc-bucket/wf/pipeline-1/sift, "
          "-inputs task:1,s3://svc-bucket/wf/pipeline-1/pull, -outputs task:s3://svc-bucket/wf/pipeline-1/sum "
          "-outputs kpi:s3://svc-bucket/wf/pipeline-1/sum/out,out/score.json -userConfig", "-commands sh" },
    };
    struct golden g;
    if (load(&g, "s03-serial-data", "")) {
        for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
            _cleanup_free_ char *ctrl = args_of(&g, want[i].group, want[i].task, 1);
            _cleanup_free_ char *user = args_of(&g, want[i].group, want[i].task, 0);
            CHECK_CONTAINS(ctrl, want[i].ctrl);
            CHECK_CONTAINS(user, want[i].user);
        }
        CHECK_INT(g.spec->groups[0].ndownstream, 2);
        CHECK_INT(g.spec->groups[2].nupstream, 2);
        CHECK_STR(g.spec->groups[2].tasks[0].kpis[0].index, "7");
        _cleanup_buf_ buf_t text = BUF_INIT(1 << 16);
        const json_t *secret;
        for (size_t i = 0; (secret = golden_object(&g, "sift-group", "Secret", i)) != NULL; i++) {
            const char *base64 = json_get_str(json_get(secret, "data"), "default_metadata.yaml");
            if (base64)
                CHECK_INT(crypto_base64_decode(base64, strlen(base64), &text, NULL), 0);
        }
        CHECK_STR(buf_cstr(&text), "default:\n  created_by: ana@example.com\n  input_data:\n  - s3://bkt/known\n"
                  "  wfid: pipeline-1\n");
    }
    golden_free(&g);
}

static void test_hosts(void)
{
    char group[33], chief[33], aide[33];
    struct golden g;
    golden_uuid("group", "Twin_B", group);
    golden_uuid("task", "chief", chief);
    golden_uuid("task", "aide", aide);
    if (load(&g, "s04-group-hosts", "")) {
        _cleanup_json_ json_t *document = stored(&g);
        const json_t *stored_group = json_at(json_path(document, "workflow", "groups", NULL), 0);
        CHECK(json_has(stored_group, "barrier") && !json_get_bool(stored_group, "barrier", true));
        CHECK(!json_get_bool(stored_group, "ignoreNonleadStatus", true));
        CHECK(!json_has(first_task(document, 0, 1), "lead"));
        _cleanup_free_ char *peer = str_printf("-commands --peer -commands %s.osmo-%s.ns.svc.cluster.local", aide, group);
        _cleanup_free_ char *hosts = str_printf("-args %s.osmo-%s.ns.svc.cluster.local -args {{host:nobody}}", chief, group);
        _cleanup_free_ char *first = args_of(&g, "Twin_B", "chief", 0), *second = args_of(&g, "Twin_B", "aide", 0);
        _cleanup_free_ char *ctrl = args_of(&g, "Twin_B", "chief", 1), *domain = str_printf("osmo-%s", group);
        CHECK_CONTAINS(first, peer);
        CHECK_CONTAINS(second, hosts);
        CHECK(strstr(ctrl, "-barrier") == NULL);
        const json_t *a = golden_pod(&g, "Twin_B", "chief"), *b = golden_pod(&g, "Twin_B", "aide");
        CHECK_STR(json_get_str(json_get(a, "spec"), "hostname"), chief);
        CHECK_STR(json_get_str(json_get(b, "spec"), "hostname"), aide);
        CHECK_STR(json_get_str(json_get(b, "spec"), "subdomain"), domain);
        CHECK_STR(json_get_str(json_get(golden_object(&g, "Twin_B", "Service", 0), "metadata"), "name"), domain);
        CHECK(golden_object(&g, "Twin_B", "Service", 1) == NULL);
        CHECK_INT(json_get_int(json_get(golden_object(&g, "Twin_B", "PodGroup", 0), "spec"), "minMember", 0), 2);
        CHECK_STR(label(a, "osmo.lead_container"), "true");
        CHECK(label(b, "osmo.lead_container") == NULL);
        CHECK_STR(label(b, "osmo.group_name"), "Twin_B");
    }
    golden_free(&g);
}

static void test_sizes(void)
{
    struct golden g;
    if (load(&g, "s05-resources-mounts", "")) {
        _cleanup_json_ json_t *document = stored(&g);
        _cleanup_free_ char *resources = json_to_text(json_path(document, "workflow", "resources", NULL));
        CHECK_CONTAINS(resources, "\"memory\":\"2097152.0Ki\"");
        CHECK_CONTAINS(resources, "\"nodesExcluded\":[\"n1\",\"22\"]");
        const json_t *light = golden_pod(&g, "light-group", "light"), *heavy = golden_pod(&g, "heavy-group", "heavy");
        const json_t *user = golden_container(heavy, 0), *spec = json_get(heavy, "spec");
        CHECK_JSON(json_path(golden_container(light, 0), "resources", "limits", NULL), "{\"cpu\":\"1\",\"memory\":"
                   "\"2097152.0Ki\",\"nvidia.com/gpu\":\"0\",\"ephemeral-storage\":\"256Mi\"}");
        CHECK_JSON(json_path(user, "resources", "requests", NULL),
                   "{\"cpu\":\"8.0\",\"memory\":\"2.5Gi\",\"nvidia.com/gpu\":\"4\",\"ephemeral-storage\":\"80Gi\"}");
        CHECK(json_get_bool(spec, "hostNetwork", false));
        CHECK(json_get_bool(json_get(user, "securityContext"), "privileged", false));
        _cleanup_free_ char *env = text_of(user, "env"), *ctrl = text_of(golden_container(heavy, 1), "env");
        _cleanup_free_ char *volumes = text_of(spec, "volumes"), *mounts = text_of(user, "volumeMounts");
        CHECK(strstr(env, "NVIDIA_VISIBLE_DEVICES") == NULL);
        CHECK_CONTAINS(ctrl, "{\"name\":\"CPU_COUNT\",\"value\":\"8\"}");
        CHECK_CONTAINS(volumes, "{\"name\":\"host-mount-0\",\"hostPath\":{\"path\":\"/dev/shm\"}},"
                       "{\"name\":\"host-mount-1\",\"hostPath\":{\"path\":\"/opt\"}}");
        CHECK_CONTAINS(mounts, "{\"name\":\"host-mount-0\",\"mountPath\":\"/dev/shm\"},"
                       "{\"name\":\"host-mount-1\",\"mountPath\":\"/mnt/tools\"}");
    }
    golden_free(&g);
}

static void test_files(void)
{
    static const struct { const char *path, *contents; bool ctrl; } files[] = {
        { "/tmp/start.sh", "ls /osmo/data/output\n", false }, { "/tmp/blob.dat", "hello", false },
        { "/osmo/data/output/about.yaml", "kind: demo", true }, { "/root/.secrets/k1", "v1", false },
        { "/root/.secrets/k2", "v2", false },
    };
    static const char *const names[] = { "COUNT", "True", "RATIO", "QUOTED", "OCTAL", "SERVICE_USER", "SERVICE_PASS",
        "OSMO_CONFIG_FILE_DIR", "NVIDIA_VISIBLE_DEVICES" };
    char group[33];
    struct golden g;
    golden_uuid("group", "t-group", group);
    if (load(&g, "s06-files-credentials", "")) {
        const json_t *pod = golden_pod(&g, "t-group", "t"), *env = json_get(golden_container(pod, 0), "env");
        _cleanup_free_ char *secret = str_printf("%s-user-secrets", group), *all = json_to_text(env);
        _cleanup_free_ char *from = str_printf("{\"name\":\"SERVICE_PASS\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"%s\","
                                               "\"key\":\"api.pass\"}}}", secret);
        CHECK_INT(json_len(env), ARRAY_SIZE(names));
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
            CHECK_STR(json_get_str(json_at(env, i), "name"), names[i]);
        CHECK_CONTAINS(all, "{\"name\":\"True\",\"value\":\"True\"},{\"name\":\"RATIO\",\"value\":\"2.5\"},"
                       "{\"name\":\"QUOTED\",\"value\":\"010\"},{\"name\":\"OCTAL\",\"value\":\"8\"}");
        CHECK_CONTAINS(all, from);
        CHECK_JSON(json_get(golden_named(&g, "t-group", secret), "stringData"), "{\"api.user\":\"u\",\"api.pass\":\"p\"}");
        const json_t *mounts = json_get(golden_container(pod, 0), "volumeMounts");
        _cleanup_free_ char *ctrl = text_of(golden_container(pod, 1), "volumeMounts");
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
            const json_t *m = json_at(mounts, 8 + i), *file = golden_named(&g, "t-group", json_get_str(m, "name"));
            const char *base64 = json_get_str(json_get(file, "data"), json_get_str(m, "subPath"));
            _cleanup_buf_ buf_t text = BUF_INIT(4096);
            CHECK_STR(json_get_str(m, "mountPath"), files[i].path);
            CHECK_INT(base64 ? crypto_base64_decode(base64, strlen(base64), &text, NULL) : -1, 0);
            CHECK_STR(buf_cstr(&text), files[i].contents);
            CHECK_INT(strstr(ctrl, files[i].path) != NULL, files[i].ctrl);
        }
    }
    golden_free(&g);
}

static void test_resilient(void)
{
    struct golden g;
    if (load(&g, "s07-exit-checkpoint-timeouts", "")) {
        _cleanup_json_ json_t *document = stored(&g);
        const json_t *task = first_task(document, 0, 0);
        CHECK_INT(g.spec->exec_timeout_us, INT64_C(5400) * 1000000);
        CHECK_INT(g.spec->queue_timeout_us, INT64_C(1800) * 1000000);
        CHECK_JSON(json_get(task, "exitActions"), "{\"Complete\":\"0,20-22\",\"reschedule\":\"7\",\"FAIL\":\"1-6\"}");
        _cleanup_free_ char *user = args_of(&g, "learn-group", "learn", 0);
        CHECK_STR(user, "-checkpoint /state/ck;s3://bkt/ck;75; -checkpoint /osmo/data/output/ck;gs://bkt/ck;10800;.*ckpt "
                  "-socketPath /osmo/data/socket/data.sock -userBinPath /osmo/usr/bin -commands sh");
    }
    golden_free(&g);
}

static void test_tagged(void)
{
    struct golden g;
    if (load(&g, "s08-labels", "")) {
        _cleanup_json_ json_t *document = stored(&g);
        CHECK_JSON(json_path(document, "workflow", "labels", NULL),
                   "{\"squad\":\"vision\",\"example.com/phase\":\"test\",\"osmo.workflow_id\":\"forged\"}");
        CHECK(!json_has(json_get(document, "workflow"), "pool") && !json_has(json_get(document, "workflow"), "backend"));
        CHECK_JSON(json_path(document, "workflow", "resources", NULL), "{\"default\":{\"platform\":\"cpu\"}}");
        const json_t *pod = golden_pod(&g, "t-group", "t");
        CHECK_STR(label(pod, "squad"), "vision");
        CHECK_STR(label(pod, "example.com/phase"), "test");
        CHECK_STR(label(pod, "osmo.workflow_id"), "labelled-1");
        CHECK(label(golden_object(&g, "t-group", "PodGroup", 0), "squad") == NULL);
        const json_t *secret;
        for (size_t i = 0; (secret = golden_object(&g, "t-group", "Secret", i)) != NULL; i++)
            CHECK(label(secret, "squad") == NULL);
    }
    golden_free(&g);
}

static void test_followup(void)
{
    struct golden g;
    if (load(&g, "s09-other-workflow", "")) {
        _cleanup_free_ char *user = args_of(&g, "reuse-group", "reuse", 0), *ctrl = args_of(&g, "reuse-group", "reuse", 1);
        CHECK_INT(g.spec->groups[0].nupstream, 0);
        CHECK_CONTAINS(user, "-commands cat -commands /osmo/data/input/0/f -commands /osmo/data/input/0/f");
        CHECK_CONTAINS(ctrl, "-inputs task:0,s3://svc-bucket/wf/pipeline-12/part, -outputs");
    }
    golden_free(&g);
}

#define LEVEL(kind, label, pool) "{\"" kind "TopologyLevel\":\"" label "\",\"topology\":\"osmo-pool-ns-" pool "-topology\"}"
#define QUEUE(pool) "{\"queue\":\"osmo-pool-ns-" pool "\",\"priorityClassName\":\"osmo-normal\","

/* Every shape of the tree whose outcome upstream was seen to give. */
static void test_topology(void)
{
    static const struct { const char *spec, *want, *pods; } shapes[] = {
        { "s10-topology", QUEUE("p") "\"topologyConstraint\":" LEVEL("required", "topology.kubernetes.io/zone", "p")
          ",\"subGroups\":[{\"name\":\"whole-left\",\"minMember\":2,\"topologyConstraint\":"
          LEVEL("required", "example.com/rack", "p") "},{\"name\":\"whole-right\",\"minMember\":1,\"topologyConstraint\":"
          LEVEL("preferred", "example.com/rack", "p") "}]}", "whole-left whole-left whole-right" },
        { "topo-one-clique", QUEUE("racks") "\"topologyConstraint\":" LEVEL("required", "example.com/rack", "racks")
          ",\"minMember\":3}", "- - -" },
        { "topo-two-cliques", QUEUE("racks") "\"subGroups\":[{\"name\":\"c1\",\"minMember\":2,\"topologyConstraint\":"
          LEVEL("required", "example.com/rack", "racks") "},{\"name\":\"c2\",\"minMember\":2,\"topologyConstraint\":"
          LEVEL("preferred", "example.com/rack", "racks") "}]}", "c1 c2 c1 c2" },
        { "topo-zone-racks", QUEUE("racks") "\"topologyConstraint\":" LEVEL("required", "topology.kubernetes.io/zone", "racks")
          ",\"subGroups\":[{\"name\":\"w-m1\",\"minMember\":1,\"topologyConstraint\":"
          LEVEL("required", "example.com/rack", "racks") "},{\"name\":\"w-m2\",\"minMember\":1,\"topologyConstraint\":"
          LEVEL("required", "example.com/rack", "racks") "}]}", "w-m1 w-m2" },
        { "topo-tree", QUEUE("racks") "\"subGroups\":[{\"name\":\"a-r1\",\"minMember\":1,\"topologyConstraint\":"
          LEVEL("required", "example.com/rack", "racks") "},{\"name\":\"b\",\"minMember\":2,\"topologyConstraint\":"
          LEVEL("required", "topology.kubernetes.io/zone", "racks") "},{\"name\":\"b-r1\",\"minMember\":1,"
          "\"topologyConstraint\":" LEVEL("required", "example.com/rack", "racks") ",\"parent\":\"b\"},{\"name\":\"b-r2\","
          "\"minMember\":1,\"topologyConstraint\":" LEVEL("preferred", "example.com/rack", "racks") ",\"parent\":\"b\"}]}",
          "a-r1 b-r1 b-r2" },
        { "topo-mixed", QUEUE("racks") "\"subGroups\":[{\"name\":\"n1\",\"minMember\":1,\"topologyConstraint\":"
          LEVEL("required", "kubernetes.io/hostname", "racks") "},{\"name\":\"n2\",\"minMember\":1,\"topologyConstraint\":"
          LEVEL("required", "kubernetes.io/hostname", "racks") "}]}", "- n1 n2" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        _cleanup_buf_ buf_t pods = BUF_INIT(4096);
        const json_t *pod;
        struct golden g;
        if (load(&g, shapes[i].spec, "")) {
            CHECK_JSON(json_get(golden_object(&g, "g", "PodGroup", 0), "spec"), shapes[i].want);
            for (size_t k = 0; (pod = golden_object(&g, "g", "Pod", k)) != NULL; k++) {
                const char *subgroup = label(pod, "kai.scheduler/subgroup-name");
                buf_printf(&pods, "%s%s", k ? " " : "", subgroup ? subgroup : "-");
            }
            CHECK_STR(buf_cstr(&pods), shapes[i].pods);
            _cleanup_free_ char *ctrl = args_of(&g, "g", "a", 1);
            CHECK_CONTAINS(ctrl, "-refreshScheme https -barrier osmo-group-ready -outputs");
        }
        golden_free(&g);
    }
}

/* Variables of pod templates as OSMO prints them: annotations of the pods in pool tpl. */
static void test_variables(void)
{
    static const struct { const char *task, *annotation, *want; } values[] = {
        { "plain", "cpu", "1/0" },                       /* defaults, as they are written */
        { "plain", "memory", "1Gi None None" },          /* parts and units come from the request only */
        { "plain", "storage", "None None None None" },
        { "plain", "cache", "0MiB" }, { "plain", "excluded", "not on ARRAY:[]" }, { "plain", "own", "1.5 None True" },
        { "plain", "size", "none" },
        { "Sized_One", "cpu", "4.0/2" },                 /* a request is a float */
        { "Sized_One", "memory", "8Gi 8 Gi" },
        { "Sized_One", "memory-units", "0.0078125 8.0 8192.0 8388608.0 8589934592.0 8796093022208.0" },
        { "Sized_One", "storage", "100Gi 100 Gi 100.0" }, { "Sized_One", "cache", "90Gi" },
        { "Sized_One", "excluded", "not on ARRAY:[n1,n2]" }, { "Sized_One", "container", "sized-one" },
        { "Sized_One", "place", "tpl plain normal" }, { "Sized_One", "size", "4" }, { "Sized_One", "who", "ana" },
        { "bytes", "memory", "0.0048828125Ki 0.0048828125 Ki" }, { "bytes", "storage", "1.5Ti 1.5 Ti 1536.0" },
        { "bytes", "cache", "0Ti" }, { "cached", "cache", "20Gi" }, { "raw", "cache", "1.5Ki" },
        { "share", "cache", "12Gi" }, { "none", "cache", "0None" },
    };
    struct golden g;
    if (load(&g, "pod-template-variables", ""))
        for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
            _cleanup_free_ char *group = str_printf("%s-group", values[i].task);
            const json_t *pod = golden_pod(&g, group, values[i].task);
            CHECK_STR(json_str(json_path(pod, "metadata", "annotations", values[i].annotation, NULL)), values[i].want);
            CHECK_STR(label(pod, "osmo.pool"), "tpl");                        /* the template's own is overruled */
            CHECK_STR(label(pod, "kai.scheduler/queue"), "osmo-pool-ns-tpl");
            CHECK_STR(label(pod, "team"), "core");
        }
    golden_free(&g);
}

static void test_templates(void)
{
    struct golden g;
    if (load(&g, "pod-template-merge", "")) {
        const json_t *pod = golden_pod(&g, "Deep_Learner-group", "Deep_Learner"), *spec = json_get(pod, "spec");
        CHECK_STR(label(pod, "accelerator"), "a100");       /* node selectors are labels too, unrendered */
        CHECK_STR(label(pod, "zone"), "{{TEAM}}");
        CHECK_STR(label(pod, "team"), "vision");            /* template over workflow */
        CHECK_STR(label(pod, "other"), "kept");
        CHECK_STR(label(pod, "osmo.priority"), "low");
        CHECK_STR(json_get_str(spec, "schedulerName"), "kai-scheduler");
        CHECK_STR(json_get_str(spec, "restartPolicy"), "OnFailure");
        CHECK_JSON(json_get(spec, "nodeSelector"), "{\"accelerator\":\"a100\",\"zone\":\"vision\"}");
        CHECK_INT(json_len(json_get(spec, "tolerations")), 3);
        CHECK_INT(json_len(json_get(spec, "containers")), 3);
        CHECK_STR(json_get_str(golden_container(pod, 1), "name"), "osmo-ctrl");
        CHECK_JSON(json_get(golden_container(pod, 2), "securityContext"), "{\"runAsUser\":0}");
    }
    golden_free(&g);
    if (load(&g, "pod-template-excluded", "")) {
        static const char *const tasks[][3] = {
            { "away-group", "away", "[\"bad-1\",\"bad-2\",\"3\"]" }, { "anywhere-group", "anywhere", "[\"\"]" },
        };
        for (size_t i = 0; i < ARRAY_SIZE(tasks); i++) {
            _cleanup_free_ char *want = str_printf("\"values\":%s}", tasks[i][2]);
            _cleanup_free_ char *affinity = text_of(json_get(golden_pod(&g, tasks[i][0], tasks[i][1]), "spec"), "affinity");
            CHECK_CONTAINS(affinity, want);
        }
    }
    golden_free(&g);
    if (load(&g, "group-templates", "")) {
        const json_t *first = json_at(json_get(g.groups, "both"), 0), *second = json_at(json_get(g.groups, "both"), 1);
        CHECK_STR(json_get_str(first, "kind"), "ConfigMap");
        CHECK_STR(json_get_str(second, "kind"), "ComputeDomain");
        CHECK_STR(label(first, "team"), "theirs");
        CHECK_STR(label(first, "kept"), "yes-really");
        CHECK_STR(label(first, "osmo.group_name"), "both");
        CHECK_STR(json_str(json_path(first, "data", "pool", NULL)), "in grp");
        CHECK_STR(json_str(json_path(first, "metadata", "annotations", "by", NULL)), "both");
        CHECK_STR(label(golden_object(&g, "both", "Pod", 0), "team"), "ours");
    }
    golden_free(&g);
}

/* The decoded .dockerconfigjson of a pull secret. */
static void check_pull(const struct golden *g, const char *group, const char *suffix, const char *want)
{
    char uuid[33];
    golden_uuid("group", group, uuid);
    _cleanup_free_ char *name = str_printf("%s-%s", uuid, suffix);
    const char *base64 = json_str(json_path(golden_named(g, group, name), "data", ".dockerconfigjson", NULL));
    _cleanup_buf_ buf_t text = BUF_INIT(4096);
    CHECK_INT(base64 ? crypto_base64_decode(base64, strlen(base64), &text, NULL) : -1, 0);
    CHECK_STR(buf_cstr(&text), want);
}

static void test_registries(void)
{
    struct golden g;
    if (load(&g, "registries", "")) {
        check_pull(&g, "all", "user", "{\"auths\": {\"reg.example.com/team\": {\"auth\": \"JG9hdXRodG9rZW46dGVhbS1zZWNyZXQ=\"}, "
                   "\"reg.example.com\": {\"auth\": \"YW5hOmh1Yi1zZWNyZXQ=\"}, \"registry-1.docker.io\": {\"auth\": "
                   "\"YW5hOmh1Yi1zZWNyZXQ=\"}}}");
        check_pull(&g, "plain", "user", "{\"auths\": {}}");
        check_pull(&g, "plain", "osmo", "{\"auths\": {\"images.example.com\": {\"auth\": \"cm9ib3Q6aW1hZ2Utc2VjcmV0\"}}}");
    }
    golden_free(&g);
}

static void test_service(void)
{
    static const struct { const char *spec, *group, *task; size_t container; const char *want; } args[] = {
        { "rsync", "dev-group", "dev", 0, "-userBinPath /osmo/usr/bin -enableRsync -rsyncReadLimit 2621440 -rsyncWriteLimit "
          "1048576 -rsyncPathAllowList code:/workspace/code:true,data:/data:false -commands sleep -args infinity" },
        { "rsync", "dev-group", "dev", 2, "--run_location /osmo/run --enable_rsync" },
        { "service-port", "t-group", "t", 1, "-host 2001:db8::7 -port 9443 -scheme wss" },
        { "own-storage-dev", "make-group", "make", 1, "-host 127.0.0.1 -port 8000 -scheme ws -refreshToken "
          "/osmo/.refresh_token -refreshScheme http -outputs task:https://osmo.example.com/api/storage/local-1/make "
          "-outputs kpi:https://osmo.example.com/api/storage/local-1/make,plain.json "
          "-outputs kpi:https://osmo.example.com/api/storage/local-1/make/a/b,a/b/c.json "
          "-outputs kpi:https://osmo.example.com/api/storage/local-1/make/,/rooted.json -userConfig" },
        { "groups-chain", "prepare", "watch", 1, "-barrier osmo-group-ready -outputs "
          "task:s3://svc-bucket/wf/stages-1/watch -outputs url:s3://bkt/watch, -userConfig" },
        { "diamond", "bottom-group", "bottom", 1, "-inputs task:2,s3://svc-bucket/wf/diamond-1/top, -outputs "
          "url:s3://bkt/b, -userConfig" },
        { "barrier-single", "solo", "only", 1, "-refreshScheme https -outputs" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(args); i++) {
        struct golden g;
        if (load(&g, args[i].spec, "")) {
            _cleanup_free_ char *got = args_of(&g, args[i].group, args[i].task, args[i].container);
            CHECK_CONTAINS(got, args[i].want);
        }
        golden_free(&g);
    }
}

static const struct check_test tests[] = {
    { "minimal", test_minimal }, { "template with defaults", test_defaults }, { "serial data", test_chain },
    { "hosts of a group", test_hosts }, { "resources and mounts", test_sizes }, { "files and credentials", test_files },
    { "exit actions and checkpoints", test_resilient }, { "labels", test_tagged },
    { "another workflow's output", test_followup }, { "topology", test_topology },
    { "template variables", test_variables }, { "templates", test_templates }, { "pull secrets", test_registries },
    { "arguments", test_service },
};
TEST_MAIN("pods_specs", tests)
