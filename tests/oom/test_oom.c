/* Every allocation of base/ and model/ fails once: each scenario runs again and again, the n-th allocation failing at
 * the n-th run, alone and with all behind it. It must answer with an error, or give what it gives otherwise: nothing
 * crashes, and nothing is quietly left out. Leaks show in builds with AddressSanitizer and under valgrind. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/map.h"
#include "base/queue.h"
#include "base/re.h"
#include "base/yaml.h"
#include "check.h"
#include "failing_alloc.h"
#include "model/logline.h"
#include "model/messages.h"
#include "model/pods.h"
#include "model/submission.h"
#include "osmo/scheduler.h"

#define MAX_ALLOCATIONS 200000
/* All of the first ones, then samples that thin out: the loops that many allocations stand for look alike. */
#define EVERY 250
#define THINNING 24

/* Negative, or 0 with *text: what was made, in words. */
typedef int scenario_fn(char **text, osmo_error_t *err);

static void fail_each(scenario_fn *run, bool onwards) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char *want = NULL;
    CHECK_OK(run(&want, &err), &err);
    REQUIRE(want);
    size_t n = 1, quiet = 0;
    for (bool failed = true; failed && n < MAX_ALLOCATIONS; n += failed ? 1 + (n > EVERY ? n / THINNING : 0) : 0) {
        char *got = NULL;
        err = (osmo_error_t)OSMO_ERROR_INIT;
        alloc_fail_at(n, onwards);
        int rc = run(&got, &err);
        failed = alloc_failed();
        alloc_fail_at(0, false);
        if (rc >= 0 && (!got || strcmp(got, want))) {
            fprintf(stderr, "allocation %zu of %s fails unnoticed: %s\n", n, onwards ? "all behind" : "one",
                    got ? got : "nothing");
            quiet++;
        }
        if (rc < 0 && !failed)
            fprintf(stderr, "without a failure: %s\n", err.text);
        CHECK(rc < 0 || failed || got);
        free(got);
    }
    CHECK_INT(quiet, 0);
    free(want);
}

static void check_scenario(scenario_fn *run) {
    fail_each(run, false);
    fail_each(run, true);
}

static int words_of(const strlist_t *l, char **text) {
    buf_t out = BUF_INIT(1u << 20);
    for (size_t i = 0; i < l->len; i++)
        buf_printf(&out, "%s,", l->items[i]);
    *text = buf_steal(&out, NULL);
    return 0;
}

/* ---- base ---- */

static int buffers(char **text, osmo_error_t *err) {
    _cleanup_buf_ buf_t b = BUF_INIT(1u << 20);
    (void)err;
    for (int i = 0; i < 40; i++) {
        buf_printf(&b, "%d ", i);
        buf_append(&b, "0123456789", 10);
        buf_putc(&b, '\n');
    }
    buf_reserve(&b, 5000);
    buf_printf(&b, "%0600d", 7);
    if (buf_failed(&b))
        return b.code;
    *text = buf_steal(&b, NULL);
    alloc_stop();
    return *text ? 0 : OSMO_ENOMEM;
}

static int maps(char **text, osmo_error_t *err) {
    map_t *m = map_new(free);
    strlist_t seen = { 0 };
    int rc = m ? 0 : OSMO_ENOMEM;
    (void)err;
    for (int i = 0; rc == 0 && i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i % 30);
        char *value = str_printf("v%d", i);
        rc = value ? map_set(m, key, value) : OSMO_ENOMEM;
        if (i % 7 == 0)
            map_remove(m, key);
    }
    alloc_stop();
    const char *key;
    void *value;
    for (size_t it = 0; m && map_next(m, &it, &key, &value);)
        strlist_add(&seen, value);
    if (rc == 0)
        words_of(&seen, text);
    strlist_free(&seen);
    map_free(m);
    return rc;
}

static int lists(char **text, osmo_error_t *err) {
    strlist_t l = { 0 };
    size_t n;
    (void)err;
    int rc = strlist_split(&l, "a,b,,c,d,e,f,g,h,i", ',');
    _cleanup_free_ char *repaired = rc == 0 ? utf8_repair("x\xff", 2, &n) : NULL, *copy = str_dup("y");
    if (rc == 0)
        rc = repaired && copy ? strlist_add(&l, repaired) : OSMO_ENOMEM;
    alloc_stop();
    if (rc == 0)
        words_of(&l, text);
    strlist_free(&l);
    return rc;
}

static const char json_text[] =
    "{\"b\":[1,2.5,\"x\",null,true,{\"c\":\"d\"}],\"a\":{\"k\":\"yes\",\"m\":\"l1\\nl2\\n\"},\"e\":[],\"f\":{}}";

static int json_trees(char **text, osmo_error_t *err) {
    _cleanup_json_ json_t *v = NULL, *sorted = NULL, *copy = NULL;
    _cleanup_buf_ buf_t out = BUF_INIT(1u << 20);
    int rc = json_parse(json_text, strlen(json_text), &v, err);
    if (rc == 0)
        rc = json_sort_keys(v, &sorted);
    if (rc == 0)
        rc = (copy = json_copy(sorted)) ? 0 : OSMO_ENOMEM;
    if (rc == 0)
        rc = json_set_str(copy, "new", "text");
    if (rc == 0)
        rc = json_set_int(copy, "n", 1);
    if (rc == 0)
        rc = json_add_str(json_get(copy, "b"), "z");
    if (rc == 0)
        rc = json_print(copy, 2, &out);
    if (rc == 0)
        rc = yaml_emit(copy, &out);
    if (rc == 0)
        *text = json_to_text(copy);
    alloc_stop();
    if (rc < 0 || !*text)
        return rc < 0 ? rc : OSMO_ENOMEM;
    char *all = str_printf("%s%s", *text, buf_cstr(&out));
    free(*text);
    *text = all;
    return 0;
}

static int yaml_trees(char **text, osmo_error_t *err) {
    static const char doc[] = "a: &x {k: 1, l: [a, b], 2: c}\nb: {<<: *x, k: 2}\nc: [*x, *x, ~, 1.5, 2020-01-01]\n"
                              "d:\n  <<: [{p: 1}, {q: 2}]\n  r: |\n    t\ne: !!str 5\ne: last\n";
    _cleanup_yaml_ yaml_node_t *n = NULL;
    _cleanup_json_ json_t *v = NULL;
    int rc = yaml_parse(doc, sizeof doc - 1, NULL, &n, err);
    if (rc == 0)
        rc = yaml_to_json(n, &v, err);
    alloc_stop();
    if (rc == 0)
        *text = json_to_text(v);
    return rc;
}

static int codings(char **text, osmo_error_t *err) {
    _cleanup_buf_ buf_t out = BUF_INIT(1u << 20), back = BUF_INIT(1u << 20);
    re_t *re = NULL;
    int rc = crypto_base64url("some longer text to be coded, for more than one growth of the buffer", 68, &out);
    if (rc == 0)
        rc = crypto_base64_decode(buf_cstr(&out), out.len, &back, err);
    if (rc == 0)
        rc = logline_render(0, "t", 1, IO_UPLOAD, "a", 1, &back);
    if (rc == 0)
        rc = re_compile("a(b|c)+", &re, err);
    re_free(re);
    alloc_stop();
    if (rc == 0)
        *text = buf_steal(&back, NULL);
    return rc;
}

static int queues(char **text, osmo_error_t *err) {
    queue_t *q = queue_new(4);
    (void)err;
    if (!q)
        return OSMO_ENOMEM;
    int rc = queue_push(q, q);
    queue_pop(q, 0);
    queue_free(q);
    alloc_stop();
    if (rc == 0)
        *text = str_dup("passed");
    return rc;
}

static int files(char **text, osmo_error_t *err) {
    char dir[] = "/tmp/osmo-oom-XXXXXX", path[64];
    _cleanup_buf_ buf_t b = BUF_INIT(1u << 20);
    if (!mkdtemp(dir))
        return OSMO_EIO;
    snprintf(path, sizeof path, "%s/a/b", dir);
    int rc = dir_make(path, 0700, err);
    snprintf(path, sizeof path, "%s/a/b/c", dir);
    if (rc == 0)
        rc = file_write_atomic(path, json_text, sizeof json_text, 0600, false, err);
    if (rc == 0)
        rc = file_read(path, &b, err);
    alloc_stop();
    if (rc == 0)
        *text = buf_steal(&b, NULL);
    dir_remove_tree(dir, NULL);
    return rc;
}

/* ---- model ---- */

static int templates(char **text, osmo_error_t *err) {
    static const char body[] =
        "{% set x = [1, 'two', {'k': 3}] %}"
        "{% for i in range(3) %}{{ loop.index }}{% if i > 1 %}!{% else %}?{% endif %}{% endfor %}{{ x|join(',') }}{{ "
        "s|upper ~ n }}"
        "{{ list|length }}{{ s.replace('e', 'E') }}{{ s.split('e')[0] }}{{ s[1:] }}{% raw %}{{ r }}{% endraw %}"
        "{% macro m(a, b=2) %}{{ a }}{{ varargs }}{{ kwargs }}{{ caller(b) if caller is defined else '-' }}{% endmacro %}"
        "{{ m(1, 5, 6, q=7) }}"
        "{% call(v) m(n) %}[{{ v }}]{% endcall %}{% filter upper %}f{{ s }}{% endfilter %}{% set b %}block{% endset %}{{ b }}"
        "{% for i in [[1, [2]], 3] recursive %}{{ loop(i) if i is iterable else i }}{% endfor %}{% block q %}{{ n }}{% endblock %}"
        "{% set ns = namespace(c=0) %}{% for i in list %}{% set ns.c = ns.c + loop.index %}{% endfor %}{{ ns.c }}"
        "{{ x|map('string')|sort|list }}{{ list|groupby('a', default=0)|list }}{{ list|tojson }}{{ [3, 1, 2]|sort(reverse=true) }}"
        "{{ '{:>8}{!r}'.format(s, n) }}{{ '%05d %s' % (n, s) }}{{ 10 ** 30 }}{{ list|batch(2)|list }}{{ s|wordwrap(2)|indent }}"
        "{{ ['a', 'A', 'b']|unique|list }}{{ list|selectattr('a', 'defined')|list }}{{ {'a': 1, 'b': 2}|dictsort }}{{ '<'|e }}";
    static const char tree_text[] = "{\"{{n}}\":[\"{{ s }}\",\"ARRAY:[a,{{ n }}]\",5,{\"x\":\"{{s}}{{ n }}\"}]}";
    static const char vars[] = "{\"n\":3,\"s\":\"text\",\"list\":[1,[2],{\"a\":1.5}]}";
    static const struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    _cleanup_json_ json_t *v = NULL, *tree = NULL, *replaced = NULL, *in = NULL;
    _cleanup_buf_ buf_t out = BUF_INIT(1u << 20);
    template_t *t = NULL;
    int rc = json_parse(vars, sizeof vars - 1, &v, err);
    if (rc == 0)
        rc = template_compile(body, sizeof body - 1, &t, err);
    if (rc == 0)
        rc = template_render(t, v, &limits, &out, err);
    template_free(t);
    if (rc == 0)
        rc = json_parse(tree_text, sizeof tree_text - 1, &in, err);
    if (rc == 0)
        rc = template_render_json(in, v, &limits, &tree, err);
    if (rc == 0)
        rc = template_replace_tokens_json(in, v, &replaced);
    alloc_stop();
    if (rc == 0) {
        _cleanup_free_ char *a = json_to_text(tree), *b = json_to_text(replaced);
        *text = str_printf("%s%s%s", buf_cstr(&out), a, b);
    }
    return rc;
}

static int submissions(char **text, osmo_error_t *err) {
    static const char doc[] = "default-values:\n  n: 2\n  name: a\n  s: b\nworkflow:\n  name: '{{ name }}-{{output}}'\n"
                              "  tasks:\n  {% for i in range(n) %}\n  - name: t{{ i }}-{{ s }}\n  {% endfor %}\n";
    static const struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    strlist_t set = { 0 }, set_string = { 0 };
    _cleanup_buf_ buf_t out = BUF_INIT(1u << 20);
    int rc = strlist_add(&set, "n=3");
    if (rc == 0)
        rc = strlist_add(&set_string, "s=true");
    if (rc == 0)
        rc = submission_render(doc, sizeof doc - 1, &set, &set_string, &limits, &out, err);
    alloc_stop();
    strlist_free(&set);
    strlist_free(&set_string);
    if (rc == 0)
        *text = buf_steal(&out, NULL);
    return rc;
}

static const char config[] =
    "service: {service_base_url: 'http://h'}\nworkflow: {max_num_tasks: 20}\n"
    "pools:\n  p:\n    backend: be\n    default_platform: cpu\n    topology_keys: [{key: zone, label: "
    "topology.kubernetes.io/zone}]\n"
    "    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 1Gi, USER_STORAGE: 1Gi}\n"
    "    common_pod_template: [default_ctrl, default_user, extra]\n    common_group_templates: [cm]\n"
    "    platforms:\n      cpu: {allowed_mounts: [/opt]}\n      gpu: {override_pod_template: [gpu], "
    "privileged_allowed: true}\n"
    "pod_templates:\n  gpu: {spec: {nodeSelector: {kind: gpu}}}\n  extra: {metadata: {labels: {mine: "
    "'{{WF_TASK_NAME}}'}}}\n"
    "group_templates:\n  cm: {apiVersion: v1, kind: ConfigMap, metadata: {name: 'c-{{WF_GROUP_UUID}}'}}\n"
    "backends:\n  be: {description: d}\n";

static int configurations(char **text, osmo_error_t *err) {
    struct settings *s = NULL;
    int rc = settings_parse(config, sizeof config - 1, "test", &s, err);
    alloc_stop();
    const struct pool *p = rc == 0 ? settings_pool(s, "p") : NULL;
    if (rc == 0)
        *text = p ? str_printf("%s %s %s %s %s %zu %zu", p->platforms[0].pod_template_json,
                               p->platforms[p->nplatforms - 1].pod_template_json, p->platforms[0].variables_json,
                               p->topology_keys_json, p->group_templates_json, p->nplatforms, s->nbackends)
                  : str_dup("no pool");
    settings_free(s);
    return rc;
}

static const char workflow[] =
    "name: both\nlabels: {a: b}\ntimeout: {exec_timeout: 5m}\nresources:\n  default: {cpu: 1, memory: 1Gi, storage: "
    "2Gi}\n"
    "groups:\n- name: g\n  tasks:\n  - name: lead\n    lead: true\n    image: i\n    command: [sh, '{{output}}']\n    "
    "args: [x]\n"
    "    environment: {A: b}\n    files: [{path: /tmp/x, contents: 'text {{workflow_id}}'}]\n"
    "    outputs: [{url: 's3://bucket/b', regex: '.*'}]\n    exitActions: {COMPLETE: 1-5}\n"
    "    checkpoint: [{path: /p, url: 's3://a/b', frequency: 30s}]\n"
    "  - name: other\n    image: j\n    command: [y, '{{host:lead}}']\n    volumeMounts: [/opt:/b]\n"
    "- name: last\n  tasks:\n  - {name: end, image: i, command: [z], inputs: [{task: lead}, {url: 's3://bucket/a'}]}\n";

static int read_spec(const struct settings *settings, struct spec **out, osmo_error_t *err) {
    _cleanup_yaml_ yaml_node_t *n = NULL;
    int rc = yaml_parse(workflow, sizeof workflow - 1, NULL, &n, err);
    return rc < 0 ? rc : spec_parse(n, settings, out, err);
}

/* Not part of what fails; made once per run. */
static struct settings *settings_p(osmo_error_t *err) {
    struct settings *s = NULL;
    return settings_parse(config, sizeof config - 1, "test", &s, err) < 0 ? NULL : s;
}

static struct settings *shared_settings;

static int specs(char **text, osmo_error_t *err) {
    struct spec *s = NULL, *group = NULL;
    strlist_t env = { 0 };
    int rc = read_spec(shared_settings, &s, err);
    if (rc == 0)
        rc = strlist_add(&env, "K=V");
    if (rc == 0)
        rc = spec_overlay_env(s, &env, err);
    if (rc == 0)
        rc = spec_resolve(s, shared_settings, settings_pool(shared_settings, "p"), err);
    _cleanup_json_ json_t *all = rc == 0 ? spec_to_json(s) : NULL, *one = rc == 0 ? spec_group_to_json(s, 0) : NULL;
    if (rc == 0 && (!all || !one))
        rc = OSMO_ENOMEM;
    if (rc == 0)
        rc = spec_group_from_json(one, &group, err);
    alloc_stop();
    if (rc == 0) {
        _cleanup_json_ json_t *again = spec_group_to_json(group, 0);
        _cleanup_free_ char *a = json_to_text(all), *b = json_to_text(one), *c = json_to_text(again);
        *text = str_printf("%s%s%s", a, b, c);
    }
    strlist_free(&env);
    spec_free(s);
    spec_free(group);
    return rc;
}

static int pods(char **text, osmo_error_t *err) {
    static struct spec *s, *group;
    static const char uuid[] = "0123456789abcdef0123456789abcdef", second[] = "fedcba9876543210fedcba9876543210";
    static const struct pod_task_ids ids[] = { { "lead", uuid, 0, "token", "jwt" },
                                               { "other", second, 1, "token", "jwt" } };
    static const struct pod_pair pairs[] = { { "username", "u" }, { "auth", "secret" } };
    static const struct pod_credential credentials[] = {
        { "hub", POD_CREDENTIAL_REGISTRY, "registry-1.docker.io", pairs, 2 },
        { "lab", POD_CREDENTIAL_DATA, "s3://b", pairs, 2 },
    };
    static const struct pod_rsync_path path = { "code", "/code", true };
    static const struct pod_rsync rsync = { 1, 2, &path, 1 };
    _cleanup_json_ json_t *objects = NULL, *cleanup = NULL, *made = NULL, *kinds = NULL;
    if (!text) { /* once before the first run, and once behind the last */
        spec_free(s);
        spec_free(group);
        s = group = NULL;
        return 0;
    }
    if (!group) {
        CHECK_OK(read_spec(shared_settings, &s, err), err);
        CHECK_OK(spec_resolve(s, shared_settings, settings_pool(shared_settings, "p"), err), err);
        made = spec_group_to_json(s, 0);
        CHECK_OK(spec_group_from_json(made, &group, err), err);
        alloc_fail_at(0, false);
    }
    struct pod_context c = { .workflow_id = "w-1",
                             .workflow_uuid = uuid,
                             .group_uuid = second,
                             .user = "u",
                             .priority = "NORMAL",
                             .tasks = ids,
                             .ntasks = 2,
                             .settings = shared_settings,
                             .pool = settings_pool(shared_settings, "p"),
                             .backend_namespace = "ns",
                             .scheduler_name = "s",
                             .service_base_url = "http://127.0.0.1:1",
                             .data_endpoint = "s3://b/data",
                             .credentials = credentials,
                             .ncredentials = 2,
                             .data_credential = &credentials[1],
                             .image_credential = &credentials[0],
                             .rsync = &rsync };
    int rc = pods_build_group(&c, group, &objects, err);
    if (rc == 0)
        rc = (kinds = pods_template_kinds(c.pool)) && (cleanup = pods_cleanup_specs(uuid, second, kinds)) ? 0 : OSMO_ENOMEM;
    alloc_stop();
    if (rc == 0) {
        _cleanup_free_ char *a = json_to_text(objects), *b = json_to_text(cleanup);
        *text = str_printf("%s%s", a, b);
    }
    return rc;
}

static int operator_messages(char **text, osmo_error_t *err) {
    _cleanup_buf_ buf_t out = BUF_INIT(1u << 20), frame = BUF_INIT(1u << 20);
    _cleanup_json_ json_t *job = NULL;
    struct message m = { 0 };
    int rc = message_build_ack("0123456789abcdef0123456789abcdef", "ab", &out);
    if (rc == 0)
        rc = message_parse(buf_cstr(&out), out.len, &m, err);
    if (rc == 0)
        rc = job_frame_pack(m.body, &frame, err);
    if (rc == 0)
        rc = job_frame_unpack(frame.data, frame.len, &job, err);
    alloc_stop();
    if (rc == 0)
        *text = json_to_text(job);
    message_clear(&m);
    return rc;
}

static void said_place(void *ctx, const char *gang, const char *const *nodes, size_t npods) {
    buf_printf(ctx, "%s on %s (%zu);", gang, nodes[0], npods);
}
static void said_evict(void *ctx, const char *gang, const char *for_gang, const char *reason) {
    buf_printf(ctx, "%s leaves for %s: %s;", gang, for_gang, reason);
}
static void said_wait(void *ctx, const char *gang, const char *reason) {
    buf_printf(ctx, "%s waits: %s;", gang, reason);
}

static int add_gang(osmo_scheduler_t *s, const char *name, int priority, int64_t cpu, const char *level, osmo_error_t *err) {
    static const osmo_sched_pair_t selector[] = { { "arch", "x" } }, tolerations[] = { { "t", NULL } };
    osmo_sched_pod_t pods[2] = { { .request = { { cpu, 10, 0, 0, 0 } }, .selector = selector, .nselector = 1, .scope = -1 },
                                 { .request = { { cpu, 10, 0, 0, 0 } }, .tolerations = tolerations, .ntolerations = 1, .scope = 0 } };
    static const osmo_sched_scope_t scopes[] = { { -1, "rack", 1 } };
    osmo_sched_gang_t g = { .size = sizeof g, .name = name, .queue = "q", .user = "u", .priority = priority, .preemptible = priority < 9,
                            .level = level, .scopes = scopes, .nscopes = 1, .pods = pods, .npods = 2 };
    return osmo_scheduler_submit(s, &g, err);
}

static int schedule(osmo_scheduler_t *s, buf_t *said, osmo_error_t *err) {
    const osmo_sched_sink_t sink = { .size = sizeof sink, .ctx = said, .place = said_place, .evict = said_evict, .wait = said_wait };
    int64_t n = osmo_scheduler_run(s, 0, &sink, err);
    return n < 0 ? (int)n : 0;
}

static int placement(char **text, osmo_error_t *err) {
    static const char *const levels[] = { "rack", NULL };
    static const osmo_sched_pair_t labels[] = { { "arch", "x" }, { "rack", "r" } }, taints[] = { { "t", "v" } };
    const osmo_scheduler_options_t o = { .size = sizeof o, .levels = levels };
    osmo_sched_node_t n = { .size = sizeof n, .labels = labels, .nlabels = 2, .capacity = { { 2000, 1 << 20, 0, 0, 10 } } };
    const osmo_sched_amount_t none = { { -1, -1, -1, -1, -1 } };
    osmo_sched_queue_t q = { .size = sizeof q, .name = "q", .guarantee = none, .maximum = none };
    buf_t said = BUF_INIT(1u << 20);
    osmo_scheduler_t *s = NULL;
    int rc = osmo_scheduler_new(&o, &s, err);
    for (int i = 0; rc == 0 && i < 3; i++) {
        n.name = (const char *[]){ "n0", "n1", "n2" }[i];
        n.taints = taints;
        n.ntaints = i == 2;
        rc = osmo_scheduler_set_node(s, &n, err);
    }
    if (rc == 0)
        rc = osmo_scheduler_set_queue(s, &q, err);
    if (rc == 0)
        rc = add_gang(s, "low", 1, 1500, "rack", err);
    if (rc == 0)
        rc = schedule(s, &said, err);
    if (rc == 0)
        rc = add_gang(s, "high", 9, 1500, NULL, err);
    if (rc == 0)
        rc = add_gang(s, "big", 1, 2500, NULL, err);
    if (rc == 0)
        rc = schedule(s, &said, err);
    if (rc == 0)
        rc = osmo_scheduler_remove(s, "low");
    if (rc == 0)
        rc = schedule(s, &said, err);
    alloc_stop();
    osmo_scheduler_free(s);
    if (rc == 0)
        *text = buf_steal(&said, NULL);
    buf_free(&said);
    return rc == 0 && !*text ? OSMO_ENOMEM : rc;
}

static void base_buffers(void) {
    check_scenario(buffers);
}
static void base_maps(void) {
    check_scenario(maps);
}
static void base_lists(void) {
    check_scenario(lists);
}
static void base_json(void) {
    check_scenario(json_trees);
}
static void base_yaml(void) {
    check_scenario(yaml_trees);
}
static void base_codings(void) {
    check_scenario(codings);
}
static void base_queues(void) {
    check_scenario(queues);
}
static void base_files(void) {
    check_scenario(files);
}
static void model_template(void) {
    check_scenario(templates);
}
static void model_submission(void) {
    check_scenario(submissions);
}
static void model_settings(void) {
    check_scenario(configurations);
}

static void with_settings(scenario_fn *run) {
    osmo_error_t err = OSMO_ERROR_INIT;
    shared_settings = settings_p(&err);
    CHECK_OK(shared_settings ? 0 : -1, &err);
    if (shared_settings)
        check_scenario(run);
    settings_free(shared_settings);
}

static void model_spec(void) {
    with_settings(specs);
}
static void model_messages(void) {
    check_scenario(operator_messages);
}
static void model_schedule(void) {
    check_scenario(placement);
}

static void model_pods(void) {
    with_settings(pods);
    pods(NULL, NULL);
}

static const struct check_test tests[] = {
    { "buffers", base_buffers },
    { "maps", base_maps },
    { "lists of strings", base_lists },
    { "JSON", base_json },
    { "YAML", base_yaml },
    { "codings", base_codings },
    { "queues", base_queues },
    { "files", base_files },
    { "templates", model_template },
    { "submissions", model_submission },
    { "settings", model_settings },
    { "specifications", model_spec },
    { "pods", model_pods },
    { "messages", model_messages },
    { "placement", model_schedule },
};
TEST_MAIN("allocations that fail", tests)
