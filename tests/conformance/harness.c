/* See harness.h. The program: conformance DRIVER [OPTION]… [KEY=VALUE]…, the latter being settings of the driver. */
#include "harness.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/map.h"
#include "base/str.h"

#define WAIT_S 90
#define TIME_LIMIT_S 900
#define SAYS "the word is conformance"

static const struct traits all_traits[] = {
    { "scripted", .keeps = false },
    { "local", .keeps = true, .gangs = true, .events = true },
    { "kubernetes", .keeps = true, .gangs = true, .typed = true, .events = true },
};
static const char script[] = "tasks:\n"
                             "  ok: {duration_ms: 100, log: \"" SAYS "\\n\"}\n"
                             "  fail: {duration_ms: 100, exit_code: 7}\n"
                             "  long: {duration_ms: 3600000}\n"
                             "  never: {event: unschedulable}\n";

const struct traits *traits;
const osmo_cluster_driver_t *driver;
void *cluster;
char run_id[9];
int checks_failed;

static const char *image = "busybox", *namespace_ = "conformance";
static char *state_dir;
static strlist_t settings;

void check_that(bool holds, const char *file, int line, const char *format, ...) {
    va_list args;
    if (holds)
        return;
    checks_failed++;
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- the sink ---- */

struct seen { char *text; bool gone; };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static map_t *pods, *nodes, *events;
static bool prints;

static void seen_free(void *v) {
    free(((struct seen *)v)->text);
    free(v);
}

static void note(map_t *to, osmo_change_t change, const char *json, size_t len) {
    json_t *v = NULL;
    if (json_parse(json, len, &v, NULL) < 0) {
        EXPECT(false, "what the sink is told is not JSON: %.*s", (int)len, json);
        return;
    }
    const char *name = json_get_str(json_get(v, "metadata"), "name");
    struct seen *s = calloc(1, sizeof *s);
    pthread_mutex_lock(&lock);
    const struct seen *was = map_get(to, name);
    EXPECT(change != OSMO_CHANGE_MODIFIED || (was && !was->gone), "%s is told to be changed before it was told to be there", name);
    EXPECT(change != OSMO_CHANGE_ADDED || !was || was->gone, "%s is told to be new twice", name);
    *s = (struct seen){ .text = strndup(json, len), .gone = change == OSMO_CHANGE_DELETED };
    map_set(to, name, s);
    if (prints) {
        printf("%c%s\n", "?+~-"[change], name);
        fflush(stdout);
    }
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
    json_free(v);
}

static void on_pod(void *ctx, osmo_change_t change, const char *json, size_t len) {
    (void)ctx;
    note(pods, change, json, len);
}

static void on_node(void *ctx, osmo_change_t change, const char *json, size_t len) {
    (void)ctx;
    note(nodes, change, json, len);
}

static void on_event(void *ctx, const char *json, size_t len) {
    json_t *v = NULL;
    (void)ctx;
    int rc = json_parse(json, len, &v, NULL);
    const char *pod = json_get_str(json_get(v, "involvedObject"), "name");
    pthread_mutex_lock(&lock);
    EXPECT(rc == 0 && pod, "an event is no JSON, or of nothing: %.*s", (int)len, json);
    if (pod)
        map_set(events, pod, "");
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
    json_free(v);
}

static void on_log(void *ctx, int level, const char *text) {
    (void)ctx;
    if (level >= 20)
        fprintf(stderr, "  [%s] %s\n", traits->driver, text);
}

void forget(void) {
    pthread_mutex_lock(&lock);
    map_free(pods);
    map_free(nodes);
    map_free(events);
    pods = map_new(seen_free);
    nodes = map_new(seen_free);
    events = map_new(NULL);
    pthread_mutex_unlock(&lock);
}

bool cluster_open(osmo_error_t *err) {
    const osmo_cluster_sink_t sink = { .size = sizeof sink, .pod = on_pod, .node = on_node, .event = on_event, .log = on_log };
    const osmo_cluster_options_t options = { .size = sizeof options, .name = "conformance", .namespace_ = namespace_,
                                             .state_dir = state_dir, .settings = (const char *const *)settings.items };
    return driver->open(&options, &sink, &cluster, err) == 0;
}

void cluster_close(void) {
    if (driver->stop)
        driver->stop(cluster);
    driver->close(cluster);
    cluster = NULL;
}

/* ---- what was told ---- */

static bool has_cause(const json_t *pod) {
    const json_t *list = json_path(pod, "status", "conditions", NULL);
    for (size_t i = 0; i < json_len(list); i++) {
        const json_t *c = json_at(list, i);
        const char *message = json_get_str(c, "message");
        if (str_eq(json_get_str(c, "type"), "PodScheduled") && str_eq(json_get_str(c, "status"), "False") &&
            str_eq(json_get_str(c, "reason"), "Unschedulable") && message && *message)
            return true;
    }
    return false;
}

static bool holds(const char *name, enum wanted what) {
    static const char *const phases[] = { "Pending", "Running", "Succeeded", "Failed" };
    const struct seen *s = map_get(pods, name);
    _cleanup_json_ json_t *pod = NULL;
    if (!s || what == GONE)
        return s && s->gone;
    if (json_parse(s->text, strlen(s->text), &pod, NULL) < 0 || s->gone)
        return false;
    return str_eq(json_get_str(json_get(pod, "status"), "phase"), phases[what]) && (what != PENDING_WITH_CAUSE || has_cause(pod));
}

static void deadline(struct timespec *ts) {
    clock_gettime(CLOCK_REALTIME, ts);
    ts->tv_sec += WAIT_S;
}

bool wait_pod(const char *name, enum wanted what) {
    struct timespec ts;
    int rc = 0;
    deadline(&ts);
    pthread_mutex_lock(&lock);
    while (!holds(name, what) && rc == 0)
        rc = pthread_cond_timedwait(&cond, &lock, &ts);
    bool ok = holds(name, what);
    const struct seen *s = map_get(pods, name);
    if (!ok)
        fprintf(stderr, "pod %s is last known as %s%s\n", name, s ? s->text : "nothing", s && s->gone ? " (gone)" : "");
    pthread_mutex_unlock(&lock);
    return ok;
}

json_t *pod_state(const char *name) {
    json_t *pod = NULL;
    pthread_mutex_lock(&lock);
    const struct seen *s = map_get(pods, name);
    if (s)
        json_parse(s->text, strlen(s->text), &pod, NULL);
    pthread_mutex_unlock(&lock);
    return pod;
}

int pod_exit_code(const char *name) {
    _cleanup_json_ json_t *pod = pod_state(name);
    const json_t *one = json_at(json_path(pod, "status", "containerStatuses", NULL), 0);
    return (int)json_get_int(json_path(one, "state", "terminated", NULL), "exitCode", -1);
}

bool wait_node(void) {
    struct timespec ts;
    int rc = 0;
    deadline(&ts);
    pthread_mutex_lock(&lock);
    while (!map_len(nodes) && rc == 0)
        rc = pthread_cond_timedwait(&cond, &lock, &ts);
    pthread_mutex_unlock(&lock);
    return rc == 0;
}

bool wait_event(const char *pod) {
    struct timespec ts;
    int rc = 0;
    deadline(&ts);
    pthread_mutex_lock(&lock);
    while (!map_has(events, pod) && rc == 0)
        rc = pthread_cond_timedwait(&cond, &lock, &ts);
    pthread_mutex_unlock(&lock);
    return rc == 0;
}

char *some_node(void) {
    size_t it = 0;
    const char *name = NULL;
    void *value;
    pthread_mutex_lock(&lock);
    char *copy = map_next(nodes, &it, &name, &value) ? str_dup(name) : NULL;
    pthread_mutex_unlock(&lock);
    return copy;
}

/* ---- objects ---- */

const char *id(const char *word, char out[64]) {
    snprintf(out, 64, "%s-%s", word, run_id);
    return out;
}

int make(const char *text, osmo_error_t *err) { return driver->create(cluster, text, strlen(text), err); }

static char *labels(const char *group, const char *more) {
    return str_printf("{\"osmo.workflow_uuid\":\"w-%s\",\"osmo.group_uuid\":\"%s-%s\"%s}", run_id, group, run_id, more);
}

char *group_selector(const char *group) { return str_printf("osmo.workflow_uuid=w-%s,osmo.group_uuid=%s-%s", run_id, group, run_id); }

void make_group(const char *group, int members) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *marks = labels(group, "");
    _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"scheduling.run.ai/v2alpha2\",\"kind\":\"PodGroup\",\"metadata\":{\"name\":"
        "\"%s-%s\",\"namespace\":\"%s\",\"labels\":%s},\"spec\":{\"queue\":\"none\",\"priorityClassName\":\"osmo-normal\","
        "\"minMember\":%d}}",
        group, run_id, namespace_, marks, members);
    int rc = make(text, &err);
    EXPECT(rc == 0, "group %s: %s", group, err.text);
}

int make_pod(const char *group, const char *name, const char *task, osmo_error_t *err) {
    const char *command = str_eq(task, "ok") ? "echo " SAYS : str_eq(task, "fail") ? "exit 7" : "trap 'exit 0' TERM; sleep 3600 & wait";
    _cleanup_free_ char *more = str_printf(",\"osmo.task_uuid\":\"t-%s\",\"osmo.task_name\":\"%s\",\"osmo.retry_id\":\"0\"", name, task);
    _cleanup_free_ char *marks = labels(group, more);
    _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\","
        "\"labels\":%s,\"annotations\":{\"pod-group-name\":\"%s-%s\"},\"finalizers\":[\"osmo.nvidia.com/cleanup\"]},"
        "\"spec\":{\"restartPolicy\":\"Never\",\"schedulerName\":\"kai-scheduler\",\"terminationGracePeriodSeconds\":5,\"containers\":["
        "{\"name\":\"main\",\"image\":\"%s\",\"imagePullPolicy\":\"IfNotPresent\",\"command\":[\"sh\",\"-c\",\"%s\"],\"resources\":"
        "{\"requests\":{\"cpu\":\"%s\",\"memory\":\"16Mi\"}}}]}}", name, namespace_, marks, group, run_id, image, command,
        str_eq(task, "never") ? "100000" : "1m");
    return make(text, err);
}

int remove_group(const char *group, const char *kind, bool force, osmo_error_t *err) {
    _cleanup_free_ char *selector = group_selector(group);
    const char *version = str_eq(kind, "PodGroup") ? "scheduling.run.ai/v2alpha2" : "v1";
    return driver->remove(cluster, version, kind, selector, force, err);
}

struct counting { int n; char **text; };

static int take(void *ctx, const char *json, size_t len) {
    struct counting *c = ctx;
    c->n++;
    if (c->text) {
        free(*c->text);
        *c->text = strndup(json, len);
    }
    return 0;
}

int count(const char *api_version, const char *kind, const char *selector, char **text, osmo_error_t *err) {
    struct counting c = { .text = text };
    int rc = driver->list(cluster, api_version, kind, selector, take, &c, err);
    return rc < 0 ? rc : c.n;
}

/* ---- the program ---- */

static int usage(void) {
    fprintf(stderr, "usage: conformance DRIVER [--image IMAGE] [--namespace NS] [--state-dir DIR] [--case NAME]... [--hold] "
                    "[KEY=VALUE]...\n");
    return 2;
}

static bool prepare(char dir[64]) {
    char hex[33];
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(dir, 64, "%s", "/tmp/osmo-conformance.XXXXXX");
    if (!state_dir && !mkdtemp(dir))
        return false;
    state_dir = state_dir ? state_dir : dir;
    if (crypto_random_hex32(hex) < 0)
        return false;
    snprintf(run_id, sizeof run_id, "%.8s", hex);
    if (str_eq(traits->driver, "scripted")) {
        _cleanup_free_ char *path = str_printf("%s/script", state_dir), *setting = str_printf("script=%s", path);
        if (file_write_atomic(path, script, sizeof script - 1, 0600, false, &err) < 0)
            return false;
        strlist_add(&settings, setting);
    }
    strlist_add(&settings, ""); /* room for the end of the list */
    free(settings.items[--settings.len]);
    settings.items[settings.len] = NULL;
    return true;
}

/* The driver alone, until standard input ends: for tests that do things to the cluster. Says what it is told. */
static int hold(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char byte;
    prints = true;
    forget();
    if (!cluster_open(&err)) {
        fprintf(stderr, "cannot open the %s cluster: %s\n", traits->driver, err.text);
        return 1;
    }
    puts("open");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    cluster_close();
    return 0;
}

static int run_all(const strlist_t *only) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int failed = 0;
    forget();
    if (!cluster_open(&err)) {
        fprintf(stderr, "cannot open the %s cluster: %s\n", traits->driver, err.text);
        return 1;
    }
    for (int i = 0; i < ncases; i++) {
        if (only->len && !strlist_has(only, cases[i].name))
            continue;
        checks_failed = 0;
        cases[i].run();
        printf("%s %s: %s\n", checks_failed ? "FAILED" : "ok", traits->driver, cases[i].name);
        fflush(stdout);
        failed += checks_failed != 0;
    }
    cluster_close();
    printf("%s: %s\n", traits->driver, failed ? "does not conform" : "conforms");
    return failed != 0;
}

int main(int argc, char **argv) {
    strlist_t only = { 0 };
    char dir[64];
    bool holds_only = false;
    for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(all_traits); i++)
        if (str_eq(argv[1], all_traits[i].driver))
            traits = &all_traits[i];
    for (int i = 2; i < argc; i++) {
        bool option = str_starts(argv[i], "--");
        if (str_eq(argv[i], "--hold")) {
            holds_only = true;
            continue;
        }
        if (option && i + 1 >= argc)
            return usage();
        if (str_eq(argv[i], "--image"))
            image = argv[++i];
        else if (str_eq(argv[i], "--namespace"))
            namespace_ = argv[++i];
        else if (str_eq(argv[i], "--state-dir"))
            state_dir = argv[++i];
        else if (str_eq(argv[i], "--case"))
            strlist_add(&only, argv[++i]);
        else if (option)
            return usage();
        else
            strlist_add(&settings, argv[i]);
    }
    driver = traits ? osmo_cluster_driver_find(traits->driver) : NULL;
    if (!driver || !prepare(dir))
        return usage();
    alarm(TIME_LIMIT_S);
    int rc = holds_only ? hold() : run_all(&only);
    if (state_dir == dir)
        dir_remove_tree(dir, NULL);
    map_free(pods);
    map_free(nodes);
    map_free(events);
    strlist_free(&only);
    strlist_free(&settings);
    return rc;
}
