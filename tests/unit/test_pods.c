/* Objects of a group: names, labels, argument order and secrets, against vectors; what is refused; retries and cleanup.
 * Whole objects are compared by test_golden.c. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "check.h"
#include "model/pods.h"
#include "model/spec_internal.h"

#define WF "00112233445566778899aabbccddeeff"
#define GROUP "0123456789abcdef0123456789abcdef"
#define TASK_A "fedcba9876543210fedcba9876543210"
#define TASK_B "aaaabbbbccccddddaaaabbbbccccdddd"
#define TASK_C "11112222333344441111222233334444"

static const char config[] =
    "pools:\n  p:\n    backend: be\n    default_platform: cpu\n"
    "    topology_keys: [{key: zone, label: topology.kubernetes.io/zone}, {key: rack, label: example.com/rack}]\n"
    "    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 1Gi, USER_STORAGE: 1Gi}\n"
    "    common_pod_template: [default_ctrl, default_user, extra]\n    common_group_templates: [cm]\n    "
        "platforms:\n      cpu: {}\n"
    "      gpu: {override_pod_template: [gpu], allowed_mounts: [/dev/shm, /opt], privileged_allowed: true, "
        "host_network_allowed: true}\n"
    "pod_templates:\n  gpu: {spec: {nodeSelector: {kind: gpu}}}\n"
    "  extra: {metadata: {labels: {osmo.pool: stolen, mine: '{{WF_TASK_NAME}}', cache: '{{USER_CACHE}}', "
    "val: '{{USER_MEMORY_VAL}}{{USER_MEMORY_UNIT}}', lead: '{{WF_LEAD_CONTAINER|default(\"no\")}}'}}}\n"
    "group_templates:\n  cm: {apiVersion: v1, kind: ConfigMap, metadata: {name: 'c-{{WF_GROUP_UUID}}'}, data: "
        "{who: '{{WF_SUBMITTED_BY|default(\"nobody\")}}'}}\n";

/* What build() gives the builder beside the specification. */
static struct { const char *only, *image; const struct pod_credential *credentials; size_t ncredentials; int64_t retry; } extra;

struct fixture {
    struct settings *settings;
    struct spec *spec, *group;
    json_t *objects;
    osmo_error_t err;
    int rc;
};

static void fixture_free(struct fixture *f)
{
    settings_free(f->settings);
    spec_free(f->spec);
    spec_free(f->group);
    json_free(f->objects);
}

static void build(struct fixture *f, const char *body, size_t index, const char *user, bool dev, const char *base_url)
{
    static const char *const uuids[] = { TASK_A, TASK_B, TASK_C };
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    struct pod_task_ids ids[3];

    *f = (struct fixture){ .rc = -1 };
    _cleanup_free_ char *text = extra.image ? str_printf("%sworkflow: {backend_images: {init: '%s', client: '%s'}}\n", config, extra.image,
        extra.image) : str_dup(config);
    CHECK_OK(settings_parse(text, strlen(text), "test", &f->settings, &f->err), &f->err);
    CHECK_OK(yaml_parse(body, strlen(body), &limits, &doc, &f->err), &f->err);
    REQUIRE(doc && f->settings);
    CHECK_OK(spec_parse(doc, f->settings, &f->spec, &f->err), &f->err);
    REQUIRE(f->spec);
    const struct pool *pool = settings_pool(f->settings, "p");
    CHECK_OK(spec_resolve(f->spec, f->settings, pool, &f->err), &f->err);
    _cleanup_json_ json_t *stored = spec_group_to_json(f->spec, index);
    CHECK_OK(spec_group_from_json(stored, &f->group, &f->err), &f->err);
    REQUIRE(f->group && f->group->groups[0].ntasks <= 3);
    for (size_t i = 0; i < f->group->groups[0].ntasks; i++)
        ids[i] = (struct pod_task_ids){ f->group->groups[0].tasks[i].name, uuids[i], extra.retry,
                                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "head.body.sig" };
    struct pod_context c = { .workflow_id = "w-1", .workflow_uuid = WF, .group_uuid = GROUP, .user = user,
        .priority = "HIGH",
        .tasks = ids, .ntasks = f->group->groups[0].ntasks, .settings = f->settings, .pool = pool,
            .backend_namespace = "ns",
        .scheduler_name = "kai-scheduler", .service_base_url = base_url, .dev_login = dev,
        .data_endpoint = "s3://svc-bucket/wf/", .workflow_labels = f->spec->labels,
        .credentials = extra.credentials, .ncredentials = extra.ncredentials, .only_task = extra.only };
    f->rc = pods_build_group(&c, f->group, &f->objects, &f->err);
}

static const json_t *find(const json_t *objects, const char *kind, size_t nth)
{
    for (size_t i = 0; i < json_len(objects); i++)
        if (str_eq(json_get_str(json_at(objects, i), "kind"), kind) && nth-- == 0)
            return json_at(objects, i);
    return NULL;
}

static char *words(const json_t *array)
{
    buf_t b = BUF_INIT(1u << 20);
    for (size_t i = 0; i < json_len(array); i++)
        buf_printf(&b, "%s%s", i ? " " : "", json_str(json_at(array, i)));
    buf_cstr(&b);
    return buf_steal(&b, NULL);
}

static char *args_of(const json_t *pod, size_t container)
{
    return words(json_get(json_at(json_path(pod, "spec", "containers", NULL), container), "args"));
}

static void test_single(void)
{
    static const char body[] = "name: one\ntasks: [{name: say, image: 'alpine:3.20', command: [echo], args: [7]}]\n";
    struct fixture f;

    build(&f, body, 0, "a", true, "http://127.0.0.1:8000");
    CHECK_OK(f.rc, &f.err);
    const json_t *pod = find(f.objects, "Pod", 0);
    CHECK(!find(f.objects, "Service", 0));
    CHECK(!json_has(json_get(pod, "spec"), "hostname"));
    CHECK(!json_path(pod, "metadata", "labels", "osmo.submitted_by", NULL));
    const json_t *limits = json_path(json_at(json_path(pod, "spec", "containers", NULL), 0), "resources", "limits",
        NULL);
    _cleanup_free_ char *text = json_to_text(limits);
    CHECK_STR(text, "{\"cpu\":\"1\",\"memory\":\"1Gi\",\"nvidia.com/gpu\":\"0\",\"ephemeral-storage\":\"1Gi\"}");
    _cleanup_free_ char *user = args_of(pod, 0), *ctrl = args_of(pod, 1);
    CHECK_STR(user, "-socketPath /osmo/data/socket/data.sock -userBinPath /osmo/usr/bin -commands echo -args 7");
    CHECK_STR(ctrl, "-socketPath /osmo/data/socket/data.sock -inputPath /osmo/data/input/ -outputPath "
        "/osmo/data/output/ "
              "-metadataFile /osmo/data/default_metadata.yaml -timeout 1440 -dataTimeout 10 -workflow w-1 "
                  "-groupName say-group "
              "-retryId 0 -logSource say -host 127.0.0.1 -port 8000 -scheme ws -refreshToken /osmo/.refresh_token "
              "-refreshScheme http -outputs task:s3://svc-bucket/wf/w-1/say -userConfig /osmo/user_config.yaml "
              "-serviceConfig /osmo/service_config.yaml");
    fixture_free(&f);
}

static const char *policy_of(const json_t *pod, const char *list, size_t container)
{
    return json_get_str(json_at(json_path(pod, "spec", list, NULL), container), "imagePullPolicy");
}

/* Registries are asked each time, but for the runtime's own images, which are said to be on the nodes when none are configured. */
static void test_pull_policy(void)
{
    static const char body[] = "name: one\ntasks: [{name: say, image: 'localhost/mine:1', command: [echo]}]\n";
    static const struct { const char *image, *policy; } cases[] = {
        { NULL, "IfNotPresent" }, { "localhost/osmo/runtime:2", "IfNotPresent" }, { "localhost:5000/osmo/runtime:2", "Always" },
        { "osmo/runtime:2", "Always" }, { "example.com/localhost/runtime", "Always" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        extra.image = cases[i].image;
        build(&f, body, 0, "a", true, "http://127.0.0.1:8000");
        extra.image = NULL;
        CHECK_OK(f.rc, &f.err);
        const json_t *pod = find(f.objects, "Pod", 0);
        CHECK_STR(policy_of(pod, "containers", 0), "Always");
        CHECK_STR(policy_of(pod, "containers", 1), cases[i].policy);
        CHECK_STR(policy_of(pod, "initContainers", 0), cases[i].policy);
        fixture_free(&f);
    }
}

/* Digests of the secret names, as the other implementation computes them. */
static void test_digests(void)
{
    static const char body[] = "name: d\ntasks: [{name: t, image: a, command: [x], files: [{path: /tmp/run.sh, "
        "contents: ZWNobyBoaQo=, "
        "base64: true}, {path: /other/run.sh, contents: \"echo hi\\n\"}]}]\n";
    static const char *const names[] = {
        "osmo-0123456789abcdef-e87c523a0171978449554d5d60a03676",
            "osmo-0123456789abcdef-6aa1cfaade3d348768e40e1cceed059b",
        "osmo-0123456789abcdef-b394c4875fa6f4987cc0381143fa3112",
    };
    struct fixture f;

    build(&f, body, 0, "ana", false, "http://h");
    CHECK_OK(f.rc, &f.err);
    const json_t *pod = find(f.objects, "Pod", 0), *volumes = json_path(pod, "spec", "volumes", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        size_t secrets = 0, declared = 0;
        const json_t *secret;
        for (size_t k = 0; (secret = find(f.objects, "Secret", k)) != NULL; k++)
            secrets += str_eq(json_get_str(json_get(secret, "metadata"), "name"), names[i]);
        for (size_t k = 0; k < json_len(volumes); k++)
            declared += str_eq(json_get_str(json_at(volumes, k), "name"), names[i]);
        CHECK_INT(secrets, 1);
        CHECK_INT(declared, 1);
    }
    /* the same contents at two places: one volume, two mounts */
    const json_t *mounts = json_get(json_at(json_path(pod, "spec", "containers", NULL), 0), "volumeMounts");
    size_t mounted = 0;
    for (size_t k = 0; k < json_len(mounts); k++)
        mounted += str_eq(json_get_str(json_at(mounts, k), "name"), names[0]);
    CHECK_INT(mounted, 2);
    fixture_free(&f);
}

static void test_data_flow(void)
{
    static const char body[] = "name: chain\ntasks:\n"
        "- {name: fetch, image: c, command: [sh], outputs: [{url: 's3://bkt/raw/{{workflow_id}}', regex: "
            "'.*\\.csv$'}]}\n"
        "- {name: clean, image: c, command: [sh, '{{input:0}}', '{{input:fetch}}', '{{input:9}}'],\n"
        "   inputs: [{task: fetch}, {url: 's3://bkt/ref', regex: 'a.*'}]}\n"
        "- {name: report, image: c, command: [sh], inputs: [{task: clean}, {task: 'chain-4:old'}], kpis: [{index: "
            "3, path: out/kpi.json}]}\n";
    static const struct { const char *ctrl, *user; } want[] = {
        { "-outputs task:s3://svc-bucket/wf/w-1/fetch -outputs url:s3://bkt/raw/w-1,.*\\.csv$ -userConfig",
            "-commands sh" },
        { "-inputs task:0,s3://svc-bucket/wf/w-1/fetch, -inputs url:1,s3://bkt/ref,a.* -outputs "
            "task:s3://svc-bucket/wf/w-1/clean -userConfig",
          "-commands sh -commands /osmo/data/input/0 -commands /osmo/data/input/0 -commands {{input:9}}" },
        { "-inputs task:0,s3://svc-bucket/wf/w-1/clean, -inputs task:1,s3://svc-bucket/wf/chain-4/old, "
          "-outputs task:s3://svc-bucket/wf/w-1/report -outputs kpi:s3://svc-bucket/wf/w-1/report/out,out/kpi.json "
              "-userConfig", "-commands sh" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        struct fixture f;
        build(&f, body, i, "ana", false, "https://osmo.example.com");
        CHECK_OK(f.rc, &f.err);
        _cleanup_free_ char *user = args_of(find(f.objects, "Pod", 0), 0), *ctrl = args_of(find(f.objects, "Pod",
            0), 1);
        CHECK_CONTAINS(ctrl, want[i].ctrl);
        CHECK_CONTAINS(ctrl, "-host osmo.example.com -port 443 -scheme wss");
        CHECK_CONTAINS(user, want[i].user);
        fixture_free(&f);
    }
}

static void test_resources(void)
{
    static const char body[] = "name: sizes\nresources:\n"
        "  big: {cpu: 4, gpu: 2, memory: 1.5Gi, storage: 40Gi, platform: gpu, nodesExcluded: [n7, 8]}\n"
        "tasks: [{name: large, image: a, command: [x], resource: big, cacheSize: 25%, volumeMounts: [/dev/shm, "
            "'/opt:/mnt/o'],\n"
        "  privileged: true, hostNetwork: true, checkpoint: [{path: work/ck, url: 's3://bkt/ck', frequency: 90},\n"
        "  {path: '{{output}}/ck', url: 'gs://bkt/ck', frequency: PT2H, regex: '.*pt'}]}]\n";
    struct fixture f;

    build(&f, body, 0, "ana", false, "https://osmo.example.com:9443/");
    CHECK_OK(f.rc, &f.err);
    const json_t *pod = find(f.objects, "Pod", 0), *spec = json_get(pod, "spec");
    const json_t *user = json_at(json_get(spec, "containers"), 0), *labels = json_path(pod, "metadata", "labels", NULL);
    _cleanup_free_ char *limits = json_to_text(json_path(user, "resources", "limits", NULL));
    CHECK_STR(limits, "{\"cpu\":\"4.0\",\"memory\":\"1.5Gi\",\"nvidia.com/gpu\":\"2\",\"ephemeral-storage\":\"40Gi\"}");
    CHECK(json_get_bool(spec, "hostNetwork", false));
    CHECK(json_get_bool(json_get(user, "securityContext"), "privileged", false));
    CHECK_STR(json_get_str(labels, "cache"), "10Gi");
    CHECK_STR(json_get_str(labels, "val"), "1.5Gi");
    CHECK_STR(json_get_str(labels, "mine"), "large");
    CHECK_STR(json_get_str(labels, "lead"), "true");
    CHECK_STR(json_get_str(labels, "osmo.pool"), "p");   /* the template may not take it */
    CHECK_STR(json_get_str(labels, "kind"), "gpu");      /* the platform's node selector */
    CHECK_STR(json_get_str(labels, "osmo.priority"), "high");
    _cleanup_free_ char *args = args_of(pod, 0), *ctrl = args_of(pod, 1), *env = json_to_text(json_get(user, "env"));
    CHECK_CONTAINS(args, "-checkpoint /work/ck;s3://bkt/ck;90; -checkpoint "
        "/osmo/data/output/ck;gs://bkt/ck;7200;.*pt -socketPath");
    CHECK_CONTAINS(ctrl, "-port 9443");
    CHECK(strstr(env, "NVIDIA_VISIBLE_DEVICES") == NULL);
    _cleanup_free_ char *volumes = json_to_text(json_get(spec, "volumes"));
    CHECK_CONTAINS(volumes, "{\"name\":\"host-mount-0\",\"hostPath\":{\"path\":\"/dev/shm\"}},"
                   "{\"name\":\"host-mount-1\",\"hostPath\":{\"path\":\"/opt\"}}");
    _cleanup_free_ char *mounts = json_to_text(json_get(user, "volumeMounts"));
    CHECK_CONTAINS(mounts, "{\"name\":\"host-mount-1\",\"mountPath\":\"/mnt/o\"}");
    _cleanup_free_ char *ctrl_env = json_to_text(json_get(json_at(json_get(spec, "containers"), 1), "env"));
    CHECK_CONTAINS(ctrl_env, "{\"name\":\"CPU_COUNT\",\"value\":\"4\"}");
    fixture_free(&f);
}

static void test_topology(void)
{
    static const char body[] = "name: topo\nresources:\n"
        "  m1: {topology: [{key: rack, group: m1}, {key: zone, group: all}]}\n"
        "  m2: {topology: [{key: zone, group: all}, {key: rack, group: m2, requirementType: preferred}]}\n"
        "groups:\n- name: g\n  tasks:\n  - {name: a, lead: true, image: i, command: [x], resource: m1}\n"
        "  - {name: b, image: i, command: [x], resource: m1}\n  - {name: c, image: i, command: [x], resource: m2}\n";
    static const char want[] =
        "{\"queue\":\"osmo-pool-ns-p\",\"priorityClassName\":\"osmo-high\",\"topologyConstraint\":{"
        "\"requiredTopologyLevel\":\"topology.kubernetes.io/zone\",\"topology\":\"osmo-pool-ns-p-topology\"},"
        "\"subGroups\":["
        "{\"name\":\"all-m1\",\"minMember\":2,\"topologyConstraint\":{\"requiredTopologyLevel\":"
        "\"example.com/rack\",\"topology\":\"osmo-pool-ns-p-topology\"}},{\"name\":\"all-m2\",\"minMember\":1,\"topologyConstraint\":{"
        "\"preferredTopologyLevel\":\"example.com/rack\",\"topology\":\"osmo-pool-ns-p-topology\"}}]}";
    static const char *const groups[] = { "all-m1", "all-m1", "all-m2" };
    struct fixture f;

    build(&f, body, 0, "ana", false, "http://h");
    CHECK_OK(f.rc, &f.err);
    _cleanup_free_ char *got = json_to_text(json_get(find(f.objects, "PodGroup", 0), "spec"));
    CHECK_STR(got, want);
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        CHECK_STR(json_str(json_path(find(f.objects, "Pod", i), "metadata", "labels",
            "kai.scheduler/subgroup-name", NULL)), groups[i]);
    fixture_free(&f);
}

/* Whatever cannot become pods says why. */
static void test_refused(void)
{
    static const struct pod_pair pairs[] = { { "user", "u" }, { "pass", "hidden" } };
    static const struct pod_pair slash[] = { { "d/", "hidden" } };
    static const struct pod_credential stored[] = {
        { "api", POD_CREDENTIAL_GENERIC, NULL, pairs, ARRAY_SIZE(pairs) },
        { "odd", POD_CREDENTIAL_GENERIC, NULL, slash, ARRAY_SIZE(slash) },
    };
    static const struct { const char *task, *base_url; int code; const char *text; } cases[] = {
        { "credentials: {other: /root}", "http://h", OSMO_ECREDENTIAL, "task 't' names credential 'other', which is not" },
        { "credentials: {api: {X: nokey}}", "http://h", OSMO_ECREDENTIAL, "key 'nokey' of credential 'api'" },
        { "credentials: {api: /k}, files: [{path: /k/user, contents: x}]", "http://h", OSMO_EUSAGE, "mounted at '/k/user'" },
        { "credentials: {odd: /k}", "http://h", OSMO_EUSAGE, "'/k/d/' names a directory" },
        { "outputs: [{url: 'gs://b/x'}]", "http://h", OSMO_ECREDENTIAL, "task 't' writes to gs://b, for which" },
        { "args: []", "osmo.example.com", OSMO_EINVAL, "must begin with http:// or https://" },
        { "args: []", "http://h:99999", OSMO_EINVAL, "has no valid port" },
    };
    extra.credentials = stored;
    extra.ncredentials = ARRAY_SIZE(stored);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *body = str_printf("name: c\ntasks: [{name: t, image: a, command: [x], %s}]\n", cases[i].task);
        struct fixture f;
        build(&f, body, 0, "ana", false, cases[i].base_url);
        CHECK_INT(f.rc, cases[i].code);
        CHECK_CONTAINS(f.err.text, cases[i].text);
        CHECK(strstr(f.err.text, "hidden") == NULL);
        fixture_free(&f);
    }
    extra.credentials = NULL;
    extra.ncredentials = 0;
}

/* The pool may change between submission and start. */
static void test_pool_changed(void)
{
    static const char *const settings[] = {
        "pools: {p: {backend: be, platforms: {gpu: {}}}}\n", "pools: {p: {backend: be, platforms: {other: {}}}}\n",
        "pools: {p: {backend: be, common_pod_template: [t], platforms: {gpu: {privileged_allowed: true}}}}\n"
        "pod_templates: {t: {metadata: {labels: text}}}\n",
        "pools: {p: {backend: be, common_pod_template: [t], platforms: {gpu: {privileged_allowed: true}}}}\n"
        "pod_templates: {t: {spec: '{{ NOWHERE }}'}}\n",
        "pools: {p: {backend: be, common_pod_template: [t], platforms: {gpu: {privileged_allowed: true}}}}\n"
        "pod_templates: {t: {spec: text}}\n",
    };
    static const char *const want[] = {
        "does not allow privileged containers", "pool 'p' has no platform 'gpu'", "metadata.labels must be a mapping",
        "'NOWHERE' is undefined", "spec must be a mapping",
    };
    static const char body[] = "name: c\nresources: {default: {platform: gpu}}\n"
        "tasks: [{name: t, image: a, command: [x], privileged: true}]\n";
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        struct settings *changed = NULL;
        struct pod_task_ids ids = { "t", TASK_A, 0, "r", "j" };
        json_t *objects = NULL;
        struct fixture f;
        build(&f, body, 0, "ana", false, "http://h");
        CHECK_OK(f.rc, &f.err);
        CHECK_OK(settings_parse(settings[i], strlen(settings[i]), "changed", &changed, &f.err), &f.err);
        if (changed && f.group) {
            struct pod_context c = { .workflow_id = "w-1", .workflow_uuid = WF, .group_uuid = GROUP, .user = "ana",
                .tasks = &ids, .ntasks = 1, .settings = changed, .pool = settings_pool(changed, "p"),
                .backend_namespace = "ns", .service_base_url = "http://h", .data_endpoint = "s3://b" };
            CHECK(pods_build_group(&c, f.group, &objects, &f.err) < 0);
            CHECK_CONTAINS(f.err.text, want[i]);
        }
        settings_free(changed);
        fixture_free(&f);
    }
}

/* A retried pod is what it was, but for its tokens: its files of credentials and its place in the topology included. */
static void test_retry(void)
{
    static const struct pod_pair pairs[] = { { "k", "v" } };
    static const struct pod_credential keys = { "keys", POD_CREDENTIAL_GENERIC, NULL, pairs, ARRAY_SIZE(pairs) };
    static const char body[] = "name: topo\nresources:\n  m1: {topology: [{key: rack, group: m1}]}\n"
        "  m2: {topology: [{key: rack, group: m2}]}\ngroups:\n- name: g\n  tasks:\n"
        "  - {name: a, lead: true, image: i, command: [x], resource: m1}\n"
        "  - {name: b, image: i, command: [x], resource: m2, credentials: {keys: /keys}}\n";
    struct fixture all, one;

    extra.credentials = &keys;
    extra.ncredentials = 1;
    build(&all, body, 0, "ana", false, "http://h");
    extra.only = "b";
    extra.retry = 3;
    build(&one, body, 0, "ana", false, "http://h");
    struct fixture other;
    extra.only = "c";
    build(&other, body, 0, "ana", false, "http://h");
    CHECK_INT(other.rc, OSMO_EINTERNAL);
    CHECK_CONTAINS(other.err.text, "group 'g' has no task 'c'");
    fixture_free(&other);
    extra.only = NULL;
    extra.retry = 0;
    extra.credentials = NULL;
    extra.ncredentials = 0;
    CHECK_OK(all.rc, &all.err);
    CHECK_OK(one.rc, &one.err);
    CHECK(!find(one.objects, "PodGroup", 0) && !find(one.objects, "Service", 0) && !find(one.objects, "ConfigMap", 0));
    const json_t *first = find(all.objects, "Pod", 1), *again = find(one.objects, "Pod", 0);
    CHECK(!find(one.objects, "Pod", 1));
    const json_t *before = json_path(first, "spec", "volumes", NULL), *after = json_path(again, "spec", "volumes", NULL);
    size_t own = 0;
    CHECK_INT(json_len(before), json_len(after));
    for (size_t i = 0; i < json_len(before); i++) {
        bool same = json_equal(json_at(before, i), json_at(after, i));
        CHECK(same || json_get(json_at(after, i), "secret"));
        own += !same;
    }
    CHECK_INT(own, 2); /* its tokens are its own */
    CHECK_STR(json_str(json_path(again, "metadata", "labels", "kai.scheduler/subgroup-name", NULL)), "m2");
    CHECK_STR(json_str(json_path(again, "metadata", "labels", "osmo.retry_id", NULL)), "3");
    CHECK_STR(json_str(json_path(first, "metadata", "name", NULL)), json_str(json_path(again, "metadata", "name", NULL)));
    const json_t *volumes = json_path(again, "spec", "volumes", NULL);
    for (size_t i = 0; i < json_len(volumes); i++) {
        const char *name = json_get_str(json_get(json_at(volumes, i), "secret"), "secretName");
        bool found = !name;
        const json_t *secret;
        for (size_t k = 0; (secret = find(one.objects, "Secret", k)) != NULL; k++)
            found |= str_eq(json_get_str(json_get(secret, "metadata"), "name"), name);
        CHECK(found);
    }
    fixture_free(&all);
    fixture_free(&one);
}

/* Subgroup names are joined with '-', so two different places may come to one name. */
static void test_topology_names(void)
{
    static const char body[] = "name: topo\nresources:\n  x: {topology: [{key: zone, group: a}, {key: rack, group: b-c}]}\n"
        "  y: {topology: [{key: zone, group: a-b}, {key: rack, group: c}]}\ngroups:\n- name: g\n  tasks:\n"
        "  - {name: a, lead: true, image: i, command: [x], resource: x}\n  - {name: b, image: i, command: [x], resource: y}\n";
    struct fixture f;
    build(&f, body, 0, "ana", false, "http://h");
    CHECK_INT(f.rc, OSMO_ERESOURCE);
    CHECK_CONTAINS(f.err.text, "two topology groups of group 'g' would both be called 'a-b-c'");
    fixture_free(&f);
}

static void test_submitters(void)
{
    static const struct { const char *user, *label; } cases[] = {
        { "ana", "ana" }, { "a", NULL }, { "ab", "ab" }, { "ana@example.com", "ana" }, { "a@example.com", NULL },
        { "ana_b.c-d", "ana_b.c-d" }, { "-ana", NULL }, { "ana-", NULL }, { "ana maria", NULL }, { "", NULL },
        { "x23456789012345678901234567890123456789012345678901234567890123",
          "x23456789012345678901234567890123456789012345678901234567890123" },
        { "x234567890123456789012345678901234567890123456789012345678901234", NULL },
        { "x2345678901234567890123456789012345678901234567890123456789012345@e", NULL }, { "@example.com", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        build(&f, "name: u\ntasks: [{name: t, image: a, command: [x]}]\n", 0, cases[i].user, false, "http://h");
        CHECK_OK(f.rc, &f.err);
        CHECK_STR(json_str(json_path(find(f.objects, "Pod", 0), "metadata", "labels", "osmo.submitted_by", NULL)),
                  cases[i].label);
        CHECK_STR(json_str(json_path(find(f.objects, "ConfigMap", 0), "data", "who", NULL)),
                  cases[i].label ? cases[i].label : "nobody");
        fixture_free(&f);
    }
}

static void test_merge(void)
{
    static const struct { const char *target, *overlay, *want; } cases[] = {
        { "{}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}" },
        { "{\"a\":{\"b\":1}}", "{\"a\":{}}", "{\"a\":{\"b\":1}}" },
        { "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":2,\"c\":3}}", "{\"a\":{\"b\":2,\"c\":3}}" },
        { "{\"a\":{\"b\":1}}", "{\"a\":null}", "{\"a\":null}" },
        { "{\"a\":{\"b\":1}}", "{\"a\":\"x\"}", "{\"a\":\"x\"}" },
        { "{\"a\":1}", "{\"a\":[1]}", "{\"a\":[1]}" },
        { "{\"a\":1}", "{\"a\":{\"b\":2}}", "{\"a\":{\"b\":2}}" },
        { "{\"a\":[\"x\"]}", "{\"a\":[\"x\",\"y\"]}", "{\"a\":[\"x\",\"x\",\"y\"]}" },
        { "{\"a\":[1]}", "{\"a\":[\"--name\",2,null]}", "{\"a\":[1,\"--name\",2,null]}" },
        { "{\"a\":[{\"name\":\"n\",\"v\":1},{\"key\":\"k\"}]}", "{\"a\":[{\"name\":\"n\",\"v\":2,\"l\":[1]},{\"key\":\"k\"}]}",
          "{\"a\":[{\"name\":\"n\",\"v\":2,\"l\":[1]},{\"key\":\"k\"},{\"key\":\"k\"}]}" },
        { "{\"a\":[{\"name\":\"n\",\"e\":[{\"name\":\"m\",\"v\":1}]}]}", "{\"a\":[{\"name\":\"n\",\"e\":[{\"name\":\"m\",\"v\":2}]}]}",
          "{\"a\":[{\"name\":\"n\",\"e\":[{\"name\":\"m\",\"v\":2}]}]}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *target = NULL;
        _cleanup_json_ json_t *overlay = NULL;
        CHECK_INT(json_parse(cases[i].target, strlen(cases[i].target), &target, NULL), 0);
        CHECK_INT(json_parse(cases[i].overlay, strlen(cases[i].overlay), &overlay, NULL), 0);
        CHECK_INT(pods_merge(target, overlay), 0);
        _cleanup_free_ char *text = json_to_text(target);
        CHECK_STR(text, cases[i].want);
    }
}

static void test_cleanup(void)
{
    static const char config_text[] = "pools: {p: {backend: be, common_group_templates: [a, b, c], platforms: {x: {}}}}\n"
        "group_templates:\n  a: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n"
        "  b: {apiVersion: resource.nvidia.com/v1beta1, kind: ComputeDomain, metadata: {name: b}}\n"
        "  c: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n";
    static const char *const kinds[][2] = {
        { "v1", "Secret" }, { "v1", "Service" }, { "v1", "Pod" }, { "scheduling.run.ai/v2alpha2", "PodGroup" },
        { "v1", "ConfigMap" }, { "resource.nvidia.com/v1beta1", "ComputeDomain" },
    };
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    char name[40];

    CHECK_OK(settings_parse(config_text, sizeof(config_text) - 1, "test", &s, &err), &err);
    REQUIRE(s != NULL);
    _cleanup_json_ json_t *extra_kinds = pods_template_kinds(settings_pool(s, "p"));
    _cleanup_json_ json_t *specs = pods_cleanup_specs("wu", "gu", extra_kinds);
    _cleanup_json_ json_t *plain = pods_cleanup_specs("wu", "gu", NULL);
    _cleanup_json_ json_t *none = pods_template_kinds(NULL);
    CHECK_INT(json_len(specs), ARRAY_SIZE(kinds));
    CHECK_INT(json_len(plain), 4);
    CHECK(none && json_len(none) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        _cleanup_free_ char *text = json_to_text(json_at(specs, i));
        _cleanup_free_ char *want = str_printf("{\"labels\":{\"osmo.workflow_uuid\":\"wu\",\"osmo.group_uuid\":\"gu\"},"
            "\"generic_api\":{\"api_version\":\"%s\",\"kind\":\"%s\"}}", kinds[i][0], kinds[i][1]);
        CHECK_STR(text, want);
    }
    pod_name(WF, TASK_A, name);
    CHECK_STR(name, "0011223344556677-fedcba9876543210");
    settings_free(s);
}

static const struct check_test tests[] = {
    { "a single task", test_single }, { "pull policy", test_pull_policy }, { "digests", test_digests }, { "data flow",
        test_data_flow },
    { "resources", test_resources }, { "topology", test_topology }, { "refused", test_refused },
    { "a pool that changed", test_pool_changed }, { "retry", test_retry }, { "names of subgroups", test_topology_names },
    { "submitters", test_submitters }, { "merge", test_merge }, { "cleanup",
        test_cleanup },
};
TEST_MAIN("pods", tests)
