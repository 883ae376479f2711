/* The local cluster driver run for real: pods of shell scripts under bubblewrap, their volumes, names, ends, removal
 * and restarts. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "check.h"
#include "cluster/local/local.h"

#define D (&local_cluster_driver)

struct seen { json_t *pod; bool deleted; char *phases; };
struct cluster {
    void *impl;
    map_t *pods;
    pthread_mutex_t lock;
    pthread_cond_t change;
    int nodes;
    char *events;
    char dir[64], log[256];
};
static struct cluster cl;
static char supervisor_path[4096];

static void seen_free(void *v)
{
    struct seen *s = v;
    json_free(s->pod);
    free(s->phases);
    free(s);
}

static void on_pod(void *ctx, osmo_change_t change, const char *json, size_t len)
{
    json_t *v = NULL;
    (void)ctx;
    if (json_parse(json, len, &v, NULL) < 0) {
        CHECK(!"pod is JSON");
        return;
    }
    const char *name = json_get_str(json_get(v, "metadata"), "name"),
               *phase = json_get_str(json_get(v, "status"), "phase");
    pthread_mutex_lock(&cl.lock);
    struct seen *s = map_get(cl.pods, name);
    if (!s) {
        s = calloc(1, sizeof(*s));
        s->phases = str_dup("");
        map_set(cl.pods, name, s);
    }
    char *phases = str_printf("%s%s ", s->phases, change == OSMO_CHANGE_DELETED ? "-" : phase);
    free(s->phases);
    s->phases = phases;
    json_free(s->pod);
    s->pod = v;
    s->deleted = change == OSMO_CHANGE_DELETED;
    pthread_cond_broadcast(&cl.change);
    pthread_mutex_unlock(&cl.lock);
}

static void on_node(void *ctx, osmo_change_t change, const char *json, size_t len)
{
    (void)ctx, (void)change, (void)json, (void)len;
    pthread_mutex_lock(&cl.lock);
    cl.nodes++;
    pthread_cond_broadcast(&cl.change);
    pthread_mutex_unlock(&cl.lock);
}

static void on_event(void *ctx, const char *json, size_t len)
{
    (void)ctx;
    pthread_mutex_lock(&cl.lock);
    char *all = str_printf("%s%.*s\n", cl.events ? cl.events : "", (int)len, json);
    free(cl.events);
    cl.events = all;
    pthread_mutex_unlock(&cl.lock);
}

static void on_log(void *ctx, int level, const char *text)
{
    (void)ctx, (void)level;
    snprintf(cl.log, sizeof(cl.log), "%s", text);
}

static int open_in(const char *extra, osmo_error_t *err)
{
    _cleanup_free_ char *sup = str_printf("supervisor=%s", supervisor_path);
    bool about_network = extra && str_starts(extra, "network=");
    const char *settings[] = {sup, about_network ? extra : "network=host", about_network ? NULL : extra, NULL};
    osmo_cluster_options_t o = {
        .size = sizeof(o), .name = "b", .namespace_ = "ns", .state_dir = cl.dir, .settings = settings
    };
    osmo_cluster_sink_t sink = {.size = sizeof(sink), .pod = on_pod, .node = on_node, .event = on_event, .log = on_log};
    cl.pods = map_new(seen_free);
    cl.nodes = 0;
    return D->open(&o, &sink, &cl.impl, err);
}

static bool begin(const char *extra)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    strcpy(cl.dir, "/tmp/test_local.XXXXXX");
    if (!mkdtemp(cl.dir))
        return false;
    pthread_mutex_init(&cl.lock, NULL);
    pthread_cond_init(&cl.change, NULL);
    int rc = open_in(extra, &err);
    CHECK_OK(rc, &err);
    return rc == 0;
}

static void shut(void)
{
    D->close(cl.impl);
    map_free(cl.pods);
    cl.impl = NULL;
}

/* Wait until the pod has this phase ("-" = deleted). A copy of it, or NULL after a time limit that only a bug reaches.
 */
static json_t *await(const char *name, const char *phase)
{
    struct timespec until;
    json_t *got = NULL;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 40;
    pthread_mutex_lock(&cl.lock);
    for (;;) {
        struct seen *s = map_get(cl.pods, name);
        const char *have = s ? s->deleted ? "-" : json_get_str(json_get(s->pod, "status"), "phase") : "";
        if (str_eq(have, phase)) {
            got = json_copy(s->pod);
            break;
        }
        if (pthread_cond_timedwait(&cl.change, &cl.lock, &until) == ETIMEDOUT) {
            fprintf(stderr, "pod %s is \"%s\", not %s\n", name, have, phase);
            break;
        }
    }
    pthread_mutex_unlock(&cl.lock);
    CHECK(got != NULL);
    return got;
}

static void finish(void)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    strlist_t names = {0};
    size_t it = 0;
    const char *name;
    void *v;
    CHECK(D->remove(cl.impl, "v1", "Pod", "", 1, &err) >= 0);
    pthread_mutex_lock(&cl.lock);
    while (map_next(cl.pods, &it, &name, &v))
        if (!((struct seen *)v)->deleted)
            strlist_add(&names, name);
    pthread_mutex_unlock(&cl.lock);
    for (size_t i = 0; i < names.len; i++)
        json_free(await(names.items[i], "-"));
    strlist_free(&names);
    shut();
    free(cl.events);
    cl.events = NULL;
    CHECK_OK(dir_remove_tree(cl.dir, &err), &err);
}

static int create(const char *json)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = D->create(cl.impl, json, strlen(json), &err);
    if (rc < 0)
        fprintf(stderr, "create: %s\n", err.text);
    return rc;
}

static json_t *script(const char *name, const char *text)
{
    json_t *c = json_object(), *command = json_array();
    json_add_str(command, "/bin/sh");
    json_add_str(command, "-c");
    json_add_str(command, text);
    json_set_str(c, "name", name);
    json_set_str(c, "image", "any");
    json_set(c, "command", command);
    return c;
}

static json_t *parse(const char *text)
{
    json_t *v = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(json_parse(text, strlen(text), &v, &err), &err);
    return v;
}

/* A pod of init script (may be NULL), user script and ctrl script (may be NULL); `more` is merged by hand by the
 * callers. */
static json_t *pod(const char *name, const char *init, const char *user, const char *ctrl)
{
    json_t *p = parse(
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"labels\":{\"app\":\"t\"}},"
        "\"spec\":{\"restartPolicy\":\"Never\","
        "\"terminationGracePeriodSeconds\":1,\"containers\":[],\"initContainers\":[],"
        "\"volumes\":[{\"name\":\"data\"}]}}");
    json_t *spec = json_get(p, "spec"), *mounts = parse("[{\"name\":\"data\",\"mountPath\":\"/osmo/data\"}]");
    json_set_str(json_get(p, "metadata"), "name", name);
    json_set_str(json_get(json_get(p, "metadata"), "labels"), "pod", name);
    json_t *c = script("user", user);
    json_set(c, "volumeMounts", json_copy(mounts));
    json_add(json_get(spec, "containers"), c);
    if (ctrl) {
        c = script("osmo-ctrl", ctrl);
        json_set(c, "volumeMounts", json_copy(mounts));
        json_add(json_get(spec, "containers"), c);
    }
    if (init) {
        c = script("osmo-init", init);
        json_set(c, "volumeMounts", json_copy(mounts));
        json_add(json_get(spec, "initContainers"), c);
    }
    json_free(mounts);
    return p;
}

static json_t *user_of(json_t *p)
{
    return json_at(json_path(p, "spec", "containers", NULL), 0);
}

static int submit(json_t *p)
{
    _cleanup_free_ char *text = json_to_text(p);
    int rc = create(text);
    json_free(p);
    return rc;
}

static int collect(void *ctx, const char *text, size_t len)
{
    return buf_append(ctx, text, len);
}

static void logs(const char *name, const char *container, buf_t *out)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_reset(out);
    CHECK_OK(D->logs(cl.impl, name, container, 0, collect, out, &err), &err);
    buf_cstr(out);
}

static const json_t *ended(const json_t *p, const char *list, size_t i)
{
    return json_get(json_get(json_at(json_path(p, "status", list, NULL), i), "state"), "terminated");
}

static void life(const char *extra)
{
    _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
    REQUIRE(begin(extra));
    CHECK(strlen(D->uid(cl.impl)) == 36);
    CHECK_INT(submit(pod("a", "echo from-init > /osmo/data/f; mkdir /osmo/data/box",
                         "cat /osmo/data/f; echo out > /osmo/data/box/o; echo hi >&2",
                         "while ! [ -s /osmo/data/box/o ]; do sleep 0.05; done; cat /osmo/data/box/o")),
              0);
    _cleanup_json_ json_t *p = await("a", "Succeeded");
    REQUIRE(p);
    CHECK(json_len(json_path(p, "status", "containerStatuses", NULL)) == 2);
    CHECK_INT(json_get_int(ended(p, "containerStatuses", 0), "exitCode", -1), 0);
    CHECK_STR(json_get_str(ended(p, "containerStatuses", 1), "reason"), "Completed");
    CHECK_STR(json_get_str(ended(p, "initContainerStatuses", 0), "reason"), "Completed");
    CHECK(json_get_str(json_get(p, "spec"), "nodeName") != NULL);
    CHECK(str_starts(json_get_str(json_get(p, "status"), "podIP"), "127."));
    logs("a", "user", &out);
    CHECK_CONTAINS(out.data, "from-init");
    CHECK_CONTAINS(out.data, "hi");
    logs("a", "osmo-ctrl", &out);
    CHECK_STR(out.data, "out\n");
    CHECK_INT(submit(pod("a", NULL, "true", NULL)), OSMO_EEXISTS);
    finish();
}

static void test_life(void)
{
    life(NULL);
}

static void test_life_plain(void)
{
    life("no-sandbox");
}

static void test_exit_codes(void)
{
    static const struct { const char *name, *user; int code; const char *reason; } cases[] = {
        {"seven", "exit 7", 7, "Error"},
        {"killed", "sh -c 'kill -9 $$$$'; exit $?", 137, "Error"},
        {"message", "echo '{\"code\":12}' > /dev/termination-log; exit 3", 3, "Error"},
    };
    REQUIRE(begin(NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        CHECK_INT(submit(pod(cases[i].name, NULL, cases[i].user, "true")), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *p = await(cases[i].name, "Failed");
        const json_t *t = ended(p, "containerStatuses", 0);
        CHECK_INT(json_get_int(t, "exitCode", -1), cases[i].code);
        CHECK_STR(json_get_str(t, "reason"), cases[i].reason);
        if (i == 2)
            CHECK_STR(json_get_str(t, "message"), "{\"code\":12}\n");
    }
    json_t *p = pod("noexec", NULL, "true", "sleep 1000");
    json_set(user_of(p), "command", parse("[\"/no/such/program\"]"));
    CHECK_INT(submit(p), 0);
    p = await("noexec", "Failed");
    CHECK_STR(json_get_str(json_get(p, "status"), "reason"), "StartError");
    CHECK_STR(json_get_str(ended(p, "containerStatuses", 0), "reason"), "StartError");
    CHECK_CONTAINS(json_get_str(json_get(p, "status"), "message"), "No such file");
    json_free(p);
    CHECK_INT(submit(pod("badinit", "exit 4", "true", NULL)), 0);
    p = await("badinit", "Failed");
    CHECK_INT(json_get_int(ended(p, "initContainerStatuses", 0), "exitCode", -1), 4);
    json_free(p);
    finish();
}

static void test_isolation(void)
{
    _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
    REQUIRE(begin(NULL));
    _cleanup_free_ char *text = str_printf(
        "id -u; hostname; grep CapEff /proc/self/status; ls %s 2>&1 | wc -l; ls /home /root /run | grep -v ':$' | tr "
        "-d '\\n'; echo;"
        "cat /etc/shadow 2>&1 | grep -c '^root:'; touch /usr/x 2>/dev/null && echo wrote; touch /tmp/mine && echo "
        "tmp-ok; echo $$$$;"
        "touch /root/h && echo home-ok; [ \"$HOME\" = /root ] && echo home-set",
        cl.dir);
    json_t *p = pod("iso", NULL, text, NULL);
    json_set_str(json_get(p, "spec"), "hostname", "h1");
    CHECK_INT(submit(p), 0);
    json_free(await("iso", "Succeeded"));
    logs("iso", "user", &out);
    CHECK_STR(out.data, "0\nh1\nCapEff:\t0000000000000000\n1\n\n0\ntmp-ok\n1\nhome-ok\nhome-set\n");
    finish();
}

static void test_files(void)
{
    _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
    static const char *const paths[] = { "/tmp/run.sh",         "/osmo/x/y.txt",       "/opt/some/where/f",
                                         "/etc/brand-new.conf", "/usr/local/lib/zz/f", "/data/in/f",
                                         "/etc/hostname",       "/osmo/data/deep/f" };
    REQUIRE(begin(NULL));
    CHECK_INT(
        create("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s1\",\"labels\":{\"app\":\"t\"}},"
               "\"data\":{\"f\":\"aGVsbG8K\"},\"stringData\":{\"k.v\":\"s3cret\"}}"),
        0);
    json_t *p = pod(
        "files", NULL,
        "cat \"$@\"; ls /etc | wc -l; [ -e /etc/passwd ] && echo kept; ls /usr/local/bin >/dev/null && echo bin",
        "echo $TOKEN $EXPANDED $NODE; echo more > /osmo/data/w");
    json_t *mounts = json_get(user_of(p), "volumeMounts"), *args = json_array();
    json_add_str(args, "sh");
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        json_t *m = json_object();
        json_set_str(m, "name", "sec");
        json_set_str(m, "mountPath", paths[i]);
        json_set_str(m, "subPath", "f");
        json_set_bool(m, "readOnly", true);
        json_add(mounts, m);
        json_add_str(args, paths[i]);
    }
    json_set(user_of(p), "args", args);
    json_add(json_path(p, "spec", "volumes", NULL), parse("{\"name\":\"sec\",\"secret\":{\"secretName\":\"s1\"}}"));
    json_set(
        json_at(json_path(p, "spec", "containers", NULL), 1), "env",
        parse(
            "[{\"name\":\"TOKEN\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s1\",\"key\":\"k.v\"}}},"
            "{\"name\":\"EXPANDED\",\"value\":\"<$(TOKEN)-$$(TOKEN)-$(NO)>\"},"
            "{\"name\":\"NODE\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}]"));
    CHECK_INT(submit(p), 0);
    p = await("files", "Succeeded");
    logs("files", "user", &out);
    CHECK_CONTAINS(out.data, "hello\nhello\nhello\nhello\nhello\nhello\nhello\nhello\n");
    CHECK_CONTAINS(out.data, "kept\nbin\n");
    logs("files", "osmo-ctrl", &out);
    CHECK_STR(out.data, "s3cret <s3cret-$(TOKEN)-$(NO)> files\n");
    json_free(p);
    CHECK_INT(D->remove(cl.impl, "v1", "Secret", "app=t", 0, NULL), 1);
    CHECK_INT(D->remove(cl.impl, "v1", "Secret", "app=t", 0, NULL), 0);
    p = pod("nosecret", NULL, "true", NULL);
    json_add(json_path(p, "spec", "volumes", NULL), parse("{\"name\":\"sec\",\"secret\":{\"secretName\":\"s1\"}}"));
    CHECK_INT(submit(p), 0);
    p = await("nosecret", "Failed");
    CHECK_CONTAINS(json_get_str(json_get(p, "status"), "message"), "s1");
    json_free(p);
    finish();
}

static void test_gang(void)
{
    _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
    static const char *const names[] = {"g1", "g2"};
    REQUIRE(begin(NULL));
    CHECK_INT(
        create(
            "{\"apiVersion\":\"scheduling.run.ai/v2alpha2\",\"kind\":\"PodGroup\",\"metadata\":{\"name\":\"gg\"},"
            "\"spec\":{\"minMember\":2,\"priorityClassName\":\"osmo-high\"}}"),
        0);
    for (size_t i = 0; i < 2; i++) {
        json_t *p = pod(
            names[i], NULL,
            "grep -c sub.ns.svc.cluster.local /etc/hosts; getent hosts g1.sub.ns.svc.cluster.local g2.sub | wc -l",
            NULL);
        json_set(json_get(p, "metadata"), "annotations", parse("{\"pod-group-name\":\"gg\"}"));
        json_set_str(json_get(p, "spec"), "hostname", names[i]);
        json_set_str(json_get(p, "spec"), "subdomain", "sub");
        CHECK_INT(submit(p), 0);
        if (i == 0)
            json_free(await("g1", "Pending"));
    }
    for (size_t i = 0; i < 2; i++) {
        json_free(await(names[i], "Succeeded"));
        logs(names[i], "user", &out);
        CHECK_STR(out.data, "2\n2\n");
    }
    finish();
}

static json_t *worker(const char *name, const char *priority, int percent, const char *text)
{
    json_t *p = pod(name, NULL, text, NULL), *labels = json_get(json_get(p, "metadata"), "labels");
    _cleanup_free_ char *resources =
        str_printf("{\"requests\":{\"cpu\":\"%ldm\"}}", sysconf(_SC_NPROCESSORS_ONLN) * 10 * percent);
    json_set(user_of(p), "resources", parse(resources));
    json_set_str(labels, "osmo.priority", priority);
    json_set_str(labels, "kai.scheduler/queue", "q");
    return p;
}

static const char *condition(const json_t *p, const char *type, const char *key)
{
    const json_t *list = json_path(p, "status", "conditions", NULL);
    for (size_t i = 0; i < json_len(list); i++)
        if (str_eq(json_get_str(json_at(list, i), "type"), type))
            return json_get_str(json_at(list, i), key);
    return NULL;
}

/* Two of low priority fill the machine; one of high priority takes the place of the later one, which does not obey and is
 * killed in the end; what became of it is known after a restart. */
static void test_preemption(void)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    static const char wait[] = "while :; do sleep 0.1; done", deaf[] = "trap '' TERM; while :; do sleep 0.1; done";
    REQUIRE(begin("cpu-overcommit=1"));
    CHECK_INT(submit(worker("low1", "low", 40, wait)), 0);
    json_free(await("low1", "Running"));
    CHECK_INT(submit(worker("low2", "low", 40, deaf)), 0);
    json_free(await("low2", "Running"));
    CHECK_INT(submit(worker("normal", "normal", 30, "exit 0")), 0);
    json_free(await("normal", "Succeeded"));
    json_t *p = await("low2", "Failed");
    CHECK_STR(condition(p, "DisruptionTarget", "reason"), "PreemptionByScheduler");
    CHECK_STR(condition(p, "DisruptionTarget", "message"),
              "preempted for group normal: a gang of higher priority needs its place");
    json_free(p);
    p = await("low1", "Running");
    CHECK(condition(p, "DisruptionTarget", "reason") == NULL);
    json_free(p);
    pthread_mutex_lock(&cl.lock);
    CHECK_CONTAINS(cl.events, "\"Preempted\"");
    pthread_mutex_unlock(&cl.lock);
    shut();
    CHECK_OK(open_in("cpu-overcommit=1", &err), &err);
    p = await("low2", "Failed");
    CHECK_STR(condition(p, "DisruptionTarget", "reason"), "PreemptionByScheduler");
    json_free(p);
    json_free(await("low1", "Running"));
    CHECK_INT(submit(worker("high", "high", 50, "exit 0")), 0); /* low1 counts again after the restart */
    json_free(await("high", "Succeeded"));
    p = await("low1", "Running");
    json_free(p);
    finish();
}

/* A Queue that the control plane makes limits the pods that name it, and no others. */
static void test_queue(void)
{
    REQUIRE(begin("cpu-overcommit=1"));
    _cleanup_free_ char *queue =
        str_printf("{\"apiVersion\":\"scheduling.run.ai/v2\",\"kind\":\"Queue\",\"metadata\":{\"name\":\"q\",\"labels\":{\"a\":\"b\"}},"
                   "\"spec\":{\"resources\":{\"cpu\":{\"quota\":%ld,\"limit\":-1}}}}",
                   sysconf(_SC_NPROCESSORS_ONLN) * 200);
    CHECK_INT(create(queue), 0);
    CHECK_INT(submit(worker("firm", "normal", 30, "exit 0")), 0);
    CHECK_INT(submit(worker("lent", "low", 30, "exit 0")), 0); /* borrows */
    json_free(await("lent", "Succeeded"));
    json_t *p = await("firm", "Pending");
    CHECK_CONTAINS(condition(p, "PodScheduled", "message"), "queue q is guaranteed");
    json_free(p);
    CHECK_INT(D->remove(cl.impl, "scheduling.run.ai/v2", "Queue", "a=b", 0, NULL), 1);
    json_free(await("firm", "Succeeded"));
    finish();
}

static void test_unschedulable(void)
{
    REQUIRE(begin(NULL));
    json_t *p = pod("big", NULL, "true", NULL);
    json_set(user_of(p), "resources", parse("{\"requests\":{\"memory\":\"900Ti\"}}"));
    CHECK_INT(submit(p), 0);
    CHECK_INT(submit(pod("small", NULL, "true", NULL)), 0);
    json_free(await("small", "Succeeded"));
    p = await("big", "Pending");
    const json_t *c = json_at(json_path(p, "status", "conditions", NULL), 0);
    CHECK_STR(json_get_str(c, "reason"), "Unschedulable");
    CHECK_CONTAINS(json_get_str(c, "message"), "needs 900Ti memory");
    json_free(p);
    pthread_mutex_lock(&cl.lock);
    CHECK_CONTAINS(cl.events, "FailedScheduling");
    pthread_mutex_unlock(&cl.lock);
    CHECK_INT(D->remove(cl.impl, "v1", "Pod", "pod=big", 0, NULL), 1);
    json_free(await("big", "-"));
    finish();
}

static void test_removal(void)
{
    REQUIRE(begin(NULL));
    CHECK_INT(submit(pod("deaf", NULL, "trap '' TERM; while :; do sleep 1; done", "sleep 1000")), 0);
    CHECK_INT(submit(pod("polite", NULL, "trap 'exit 0' TERM; while :; do sleep 0.1; done", NULL)), 0);
    json_free(await("deaf", "Running"));
    json_free(await("polite", "Running"));
    CHECK_INT(D->remove(cl.impl, "v1", "Pod", "app=t,pod=polite", 0, NULL), 1);
    json_free(await("polite", "-"));
    CHECK_INT(D->remove(cl.impl, "v1", "Pod", "pod=deaf", 0, NULL), 1);
    json_free(await("deaf", "-"));
    CHECK_INT(submit(pod("deaf", NULL, "exit 0", NULL)), 0); /* the name is free again */
    json_free(await("deaf", "Succeeded"));
    _cleanup_free_ char *left = str_printf("%s/pods/polite", cl.dir);
    CHECK(!file_exists(left));
    finish();
}

/* The supervisor with this directory, to its end. */
static int supervise(const char *dir)
{
    _cleanup_free_ char *status = str_printf("%s/status/late.json", cl.dir);
    char *argv[] = {(char *)supervisor_path, (char *)dir, status, NULL}, *envp[] = {NULL};
    int ended = -1;
    pid_t pid = -1;
    CHECK(posix_spawn(&pid, supervisor_path, NULL, NULL, argv, envp) == 0);
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR)
        ;
    CHECK(!file_exists(status));
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
}

/* A supervisor that begins late, of an osmo-backend that was killed: as soon as it has the lock, or after the end. */
static void test_late_supervisor(void)
{
    REQUIRE(begin(NULL));
    CHECK_INT(submit(pod("late", NULL, "exit 0", NULL)), 0);
    json_free(await("late", "Succeeded"));
    _cleanup_free_ char *dir = str_printf("%s/pods/late", cl.dir), *lock = str_printf("%s/lock", dir);
    _cleanup_free_ char *trash = str_printf("%s/trash", cl.dir);
    _cleanup_close_ int fd = open(lock, O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    while (flock(fd, LOCK_EX) < 0 && errno == EINTR) /* until the supervisor ended */
        ;
    CHECK_INT(ftruncate(fd, 0), 0); /* as it looks before a supervisor has written its id */
    CHECK_INT(D->remove(cl.impl, "v1", "Pod", "pod=late", 0, NULL), 1);
    CHECK_INT(submit(pod("late", NULL, "exit 0", NULL)), OSMO_EBUSY);
    CHECK(file_exists(lock)); /* the removal waits */
    CHECK_INT(flock(fd, LOCK_UN), 0);
    json_free(await("late", "-"));
    char mark = 0;
    CHECK(pread(fd, &mark, 1, 0) == 1); /* whoever has the lock open sees that it is over */
    CHECK(!file_exists(dir));
    CHECK_INT(supervise(dir), 3);
    CHECK(!file_exists(dir));
    CHECK_INT(rmdir(trash), 0); /* nothing is in it */
    CHECK_INT(mkdir(trash, 0700), 0);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(dir_make(dir, 0700, &err), &err); /* the same name again, not yet planned */
    CHECK_INT(supervise(dir), 3);
    _cleanup_buf_ buf_t text = BUF_INIT(64);
    CHECK(!file_exists(lock) || (file_read(lock, &text, NULL) == 0 && text.len == 0));
    shut();
    CHECK_OK(open_in(NULL, &err), &err); /* a nameless directory goes with the next start */
    CHECK(!file_exists(dir));
    finish();
}

static void restart(const char *extra)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(begin(extra));
    CHECK_INT(submit(pod("stay", NULL, "while ! [ -e /osmo/data/go ]; do sleep 0.05; done; exit 5", NULL)), 0);
    CHECK_INT(submit(pod("done", NULL, "exit 6", NULL)), 0);
    json_t *p = await("stay", "Running");
    _cleanup_free_ char *ip = str_dup(json_get_str(json_get(p, "status"), "podIP"));
    json_free(p);
    json_free(await("done", "Failed"));
    shut();
    CHECK_OK(open_in(extra, &err), &err);
    p = await("stay", "Running");
    CHECK_STR(json_get_str(json_get(p, "status"), "podIP"), ip);
    json_free(p);
    p = await("done", "Failed");
    CHECK_INT(json_get_int(ended(p, "containerStatuses", 0), "exitCode", -1), 6);
    json_free(p);
    _cleanup_free_ char *go = str_printf("%s/pods/stay/volumes/data/go", cl.dir);
    CHECK_OK(file_write_atomic(go, "", 0, 0644, false, &err), &err);
    p = await("stay", "Failed");
    CHECK_INT(json_get_int(ended(p, "containerStatuses", 0), "exitCode", -1), 5);
    json_free(p);
    finish();
}

static void test_restart(void)
{
    restart(NULL);
}

static void test_restart_plain(void)
{
    restart("no-sandbox=1");
}

/* Wait until a pod has made a file in its volume, or a time limit that only a bug reaches. */
static void await_file(const char *name, const char *file)
{
    _cleanup_free_ char *path = str_printf("%s/pods/%s/volumes/data/%s", cl.dir, name, file);
    for (int i = 0; i < 4000 && !file_exists(path); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    CHECK(file_exists(path));
}

static void test_vanished(void)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    static const char *const names[] = {"v0", "v1"};
    REQUIRE(begin(NULL));
    for (int i = 0; i < 2; i++) { /* while we watch, and while we are away */
        _cleanup_buf_ buf_t text = BUF_INIT(64);
        CHECK_INT(submit(pod(names[i], NULL, "touch /osmo/data/up; exec sleep 1000", NULL)), 0);
        json_free(await(names[i], "Running"));
        await_file(names[i], "up"); /* killed any earlier, the sandbox would be half made */
        _cleanup_free_ char *lock = str_printf("%s/pods/%s/lock", cl.dir, names[i]);
        CHECK_OK(file_read(lock, &text, &err), &err);
        if (i == 1)
            shut();
        int pid = atoi(buf_cstr(&text));
        REQUIRE(pid > 1);
        CHECK_INT(kill(pid, SIGKILL), 0);
        if (i == 1)
            CHECK_OK(open_in(NULL, &err), &err);
        _cleanup_json_ json_t *p = await(names[i], "Failed");
        CHECK_STR(json_get_str(json_get(p, "status"), "reason"), "SupervisorVanished");
        const json_t *list = json_path(p, "status", "conditions", NULL), *last = json_at(list, json_len(list) - 1);
        CHECK_STR(json_get_str(last, "type"), "DisruptionTarget");
        CHECK_STR(json_get_str(last, "status"), "True");
    }
    finish();
}

static void test_plain_paths(void)
{
    _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
    REQUIRE(begin("no-sandbox"));
    CHECK_INT(
        create(
            "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\"},\"stringData\":{\"f\":\"cat /osmo/data/x; echo "
            "http://h/osmo/y\"}}"),
        0);
    for (int i = 0; i < 2; i++) {
        json_t *p = pod(i ? "bad" : "good", "echo via > /osmo/data/x", "sh /tmp/run.sh", NULL);
        json_add(json_path(p, "spec", "volumes", NULL), parse("{\"name\":\"sec\",\"secret\":{\"secretName\":\"s\"}}"));
        json_t *m = parse("{\"name\":\"sec\",\"subPath\":\"f\"}");
        json_set_str(m, "mountPath", i ? "/opt/run.sh" : "/tmp/run.sh");
        json_add(json_get(user_of(p), "volumeMounts"), m);
        CHECK_INT(submit(p), 0);
    }
    json_free(await("good", "Succeeded"));
    logs("good", "user", &out);
    CHECK_STR(out.data, "via\nhttp://h/osmo/y\n");
    _cleanup_json_ json_t *p = await("bad", "Failed");
    CHECK_CONTAINS(json_get_str(json_get(p, "status"), "message"), "/opt/run.sh");
    finish();
}

static void test_settings(void)
{
    static const char *const bad[] = { "nonsense=1",     "cpu-overcommit=0", "cpu-overcommit=x",
                                       "image=justname", "bwrap=/no/bwrap",  "supervisor=/no/such",
                                       "network=some" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        strcpy(cl.dir, "/tmp/test_local.XXXXXX");
        REQUIRE(mkdtemp(cl.dir));
        cl.impl = NULL;
        CHECK(open_in(bad[i], &err) < 0);
        CHECK(err.text[0] && !strchr(err.text, '\n'));
        map_free(cl.pods);
        dir_remove_tree(cl.dir, NULL);
    }
}

/* The supervisor lies in the top of the build directory, some levels above this program. */
static bool find_supervisor(void)
{
    ssize_t n = readlink("/proc/self/exe", supervisor_path, sizeof(supervisor_path) - 32);
    for (int up = 0; n > 0 && up < 5; up++) {
        supervisor_path[n] = '\0';
        char *slash = strrchr(supervisor_path, '/');
        if (!slash)
            return false;
        n = slash - supervisor_path;
        strcpy(slash, "/osmo-pod-supervisor");
        if (access(supervisor_path, X_OK) == 0)
            return true;
    }
    return false;
}

/* Where a pod has a network of its own it has an address there, and nothing remains of it; elsewhere the driver says why not. */
static void test_network(void)
{
    _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
    REQUIRE(begin("network=auto"));
    bool own = str_starts(cl.log, "each pod has a network of its own: ");
    CHECK(own || str_starts(cl.log, "pods share this machine's network: "));
    CHECK_INT(submit(pod("n", NULL, "cat /etc/hosts; echo at $POD_IP; cat /proc/net/route", NULL)), 0);
    _cleanup_json_ json_t *p = await("n", "Succeeded");
    REQUIRE(p);
    const char *ip = json_get_str(json_get(p, "status"), "podIP");
    logs("n", "user", &out);
    char text[256] = "";
    CHECK(D->describe(cl.impl, text, sizeof(text)) >= 0);
    CHECK_STR(text, cl.log);
    _cleanup_free_ char *at = str_printf("at %s\n", ip), *host = str_printf("%s\tn\n", ip);
    CHECK_CONTAINS(out.data, at);
    CHECK_CONTAINS(out.data, host);
    CHECK_INT(str_starts(ip, "127."), !own);
    if (own)
        CHECK_CONTAINS(out.data, "eth0\t00000000\t");
    _cleanup_free_ char *state = str_printf("%s/network/state.json", cl.dir);
    CHECK_INT(file_exists(state), own);
    shut();
    CHECK(!file_exists(state));
    dir_remove_tree(cl.dir, NULL);
}

static void test_supervisor_found(void)
{
    CHECK(find_supervisor());
}

static const struct check_test tests[] = {
    { "supervisor is built", test_supervisor_found },
    { "settings", test_settings },
    { "network", test_network },
    { "life", test_life },
    { "life without sandbox", test_life_plain },
    { "exit codes", test_exit_codes },
    { "isolation", test_isolation },
    { "files", test_files },
    { "gang", test_gang },
    { "preemption", test_preemption },
    { "queue", test_queue },
    { "unschedulable", test_unschedulable },
    { "removal", test_removal },
    { "late supervisor", test_late_supervisor },
    { "restart", test_restart },
    { "restart without sandbox", test_restart_plain },
    { "vanished", test_vanished },
    { "paths without sandbox", test_plain_paths },
};

int main(int argc, char **argv)
{
    find_supervisor();
    return check_main("local", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
