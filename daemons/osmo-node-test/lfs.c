/* Mode lfs: can this node mount what pods of workflows mount? A pod that mounts the volumes of a file is started on the node, and has to
 * end well in time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "base/yaml.h"
#include "node_test.h"

#define FILE_MAX (1u << 20)
#define MOUNTS_MAX 50u
#define LOOK_S 5

struct lfs {
    struct validator v;
    const char *file, *namespace_, *image, *condition;
    int64_t timeout_s;
    json_t *mounts;
    char *pod;
    struct condition told;
};

/* {"name", "persistentVolumeClaim" or "csi" or another volume source of Kubernetes, "mountPath"} of each entry. */
static int read_mounts(struct lfs *l, osmo_error_t *err) {
    static const yaml_limits_t limits = { .max_bytes = FILE_MAX, .max_depth = 20, .max_nodes = 10000 };
    _cleanup_buf_ buf_t text = BUF_INIT(FILE_MAX);
    _cleanup_yaml_ yaml_node_t *tree = NULL;
    int rc = file_read(l->file, &text, err);
    if (rc == 0)
        rc = yaml_parse(buf_cstr(&text), text.len, &limits, &tree, err);
    if (rc == 0)
        rc = yaml_to_json(tree, &l->mounts, err);
    if (rc < 0)
        return rc;
    if (json_kind(l->mounts) != JSON_ARRAY || !json_len(l->mounts) || json_len(l->mounts) > MOUNTS_MAX)
        return osmo_error_set(err, OSMO_EUSAGE, "%s must be a list of 1 to %u volumes", l->file, MOUNTS_MAX);
    for (size_t i = 0; i < json_len(l->mounts); i++)
        if (!json_get_str(json_at(l->mounts, i), "mountPath"))
            return osmo_error_set(err, OSMO_EUSAGE, "%s: entry %zu has no mountPath", l->file, i + 1);
    return 0;
}

static osmo_kube_target_t target(const struct lfs *l, bool one) {
    return (osmo_kube_target_t){ .size = sizeof(osmo_kube_target_t), .api_version = "v1", .kind = "Pod", .namespace_ = l->namespace_,
                                 .name = one ? l->pod : NULL };
}

static int add_mount(json_t *volumes, json_t *mounts, const json_t *entry, size_t i) {
    _cleanup_json_ json_t *volume = json_copy(entry), *mount = json_object();
    char name[32];
    snprintf(name, sizeof name, "volume-%zu", i);
    json_del(volume, "mountPath");
    int rc = volume && mount ? json_set_str(volume, "name", name) | json_set_str(mount, "name", name) |
                                   json_set_str(mount, "mountPath", json_get_str(entry, "mountPath"))
                             : OSMO_ENOMEM;
    return rc ? OSMO_ENOMEM : json_add(volumes, STEAL(volume)) | json_add(mounts, STEAL(mount));
}

/* With an end of its own in mind: it looks at each volume once. Kubernetes' words are in its template, ours are the volumes. */
static char *pod_text(const struct lfs *l) {
    static const char template[] =
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{},\"spec\":{\"restartPolicy\":\"Never\","
        "\"automountServiceAccountToken\":false,\"tolerations\":[{\"operator\":\"Exists\"}],\"nodeSelector\":{},"
        "\"containers\":[{\"name\":\"test\",\"command\":[\"sh\",\"-c\","
        "\"for p in \\\"$@\\\"; do ls \\\"$p\\\" > /dev/null || exit 1; done\",\"test\"]}]}}";
    _cleanup_json_ json_t *v = NULL;
    json_t *volumes = json_array(), *mounts = json_array();
    if (json_parse(template, sizeof template - 1, &v, NULL) < 0)
        return NULL;
    json_t *spec = json_get(v, "spec"), *container = json_at(json_get(spec, "containers"), 0), *command = json_get(container, "command");
    int rc = json_set_str(json_get(v, "metadata"), "name", l->pod) | json_set_str(container, "image", l->image) |
             json_set_str(json_get(spec, "nodeSelector"), "kubernetes.io/hostname", l->v.node);
    for (size_t i = 0; i < json_len(l->mounts); i++)
        rc |= add_mount(volumes, mounts, json_at(l->mounts, i), i) |
              json_add_str(command, json_get_str(json_at(l->mounts, i), "mountPath"));
    rc |= json_set(container, "volumeMounts", mounts) | json_set(spec, "volumes", volumes);
    return rc ? NULL : json_to_text(v);
}

static int remove_pod(const struct lfs *l, osmo_error_t *err) {
    static const osmo_kube_delete_t now = { .size = sizeof now, .grace_s = 0, .propagation = "Background" };
    osmo_kube_target_t t = target(l, true);
    int rc = osmo_kube_remove(l->v.kube, &t, &now, err);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

/* *phase is malloc'ed; *version is where a watch begins. */
static int look(const struct lfs *l, char **phase, char version[OSMO_KUBE_VERSION_MAX], osmo_error_t *err) {
    osmo_kube_target_t t = target(l, true);
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *v = NULL;
    size_t len = 0;
    int rc = osmo_kube_get(l->v.kube, &t, &text, &len, err);
    if (rc == 0)
        rc = json_parse(text, len, &v, err);
    const char *found = json_get_str(json_get(v, "status"), "phase"), *at = json_get_str(json_get(v, "metadata"), "resourceVersion");
    free(*phase);
    *phase = str_dup(found ? found : "Pending");
    snprintf(version, OSMO_KUBE_VERSION_MAX, "%s", at ? at : "");
    return rc;
}

static int any_change(void *ctx, osmo_kube_change_t change, const char *json, size_t len) {
    (void)ctx, (void)json, (void)len;
    return change != OSMO_KUBE_BOOKMARK;
}

/* Until the pod changes, or some seconds. */
static bool rest(const struct lfs *l, const char *version) {
    osmo_kube_target_t t = target(l, false);
    _cleanup_free_ char *field = str_printf("metadata.name=%s", l->pod);
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t begun = clock_mono_us();
    t.field_selector = field;
    int rc = *version && field ? osmo_kube_watch(l->v.kube, &t, version, LOOK_S, any_change, NULL, &err) : OSMO_EGONE;
    return pause_ms(rc < 0 || clock_mono_us() - begun < 100000 ? 1000 : 0);
}

static int await_end(const struct lfs *l, char **phase, osmo_error_t *err) {
    int64_t until = clock_mono_us() + l->timeout_s * 1000000;
    char version[OSMO_KUBE_VERSION_MAX];
    int rc;
    do {
        rc = look(l, phase, version, err);
        if (rc < 0 || str_eq(*phase, "Succeeded") || str_eq(*phase, "Failed"))
            return rc;
    } while (rest(l, version) && clock_mono_us() < until);
    return rc;
}

static bool check(void *ctx) {
    struct lfs *l = ctx;
    osmo_kube_target_t pods = target(l, false);
    _cleanup_free_ char *text = pod_text(l), *phase = NULL;
    osmo_error_t err = OSMO_ERROR_INIT, ignored = OSMO_ERROR_INIT;
    int rc = text ? remove_pod(l, &err) : osmo_error_set(&err, OSMO_ENOMEM, "out of memory");
    if (rc == 0)
        rc = osmo_kube_create(l->v.kube, &pods, text, strlen(text), NULL, &err);
    if (rc == 0)
        rc = await_end(l, &phase, &err);
    remove_pod(l, &ignored);
    bool good = rc == 0 && str_eq(phase, "Succeeded");
    if (rc < 0)
        condition_say(&l->told, true, "TestNotPossible", "pod %s: %s", l->pod, err.text);
    else
        condition_say(&l->told, !good, good ? "Mounted" : "NotMounted", "pod %s is %s after up to %lld seconds", l->pod, phase,
                      (long long)l->timeout_s);
    return good;
}

static int prepare(struct lfs *l) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!l->file || !l->namespace_) {
        fprintf(stderr, PROGRAM ": --config_file (a list of volumes) and --namespace (NAMESPACE) are needed\n");
        return EXIT_BAD_USAGE;
    }
    int rc = read_mounts(l, &err);
    if (rc < 0) {
        fprintf(stderr, PROGRAM ": %s\n", err.text);
        return rc == OSMO_EUSAGE || rc == OSMO_ENOTFOUND ? EXIT_BAD_USAGE : EXIT_TROUBLE;
    }
    l->pod = str_printf("lfs-test-%s", l->v.node);
    l->told.type = str_printf("%s%s", l->v.prefix, l->condition);
    return l->pod && l->told.type ? 0 : EXIT_TROUBLE;
}

int run_lfs(int argc, char **argv) {
    struct lfs l = { .v = VALIDATOR_DEFAULTS, .image = "busybox", .condition = "LFSMountFailure", .timeout_s = 120 };
    const struct option_row options[] = {
        VALIDATOR_ROWS(l.v),
        { "config_file", "OSMO_LFS_CONFIG_FILE", OPTION_TEXT, &l.file }, { "namespace", "NAMESPACE", OPTION_TEXT, &l.namespace_ },
        { "image", NULL, OPTION_TEXT, &l.image }, { "condition_name", NULL, OPTION_TEXT, &l.condition },
        { "timeout_seconds", NULL, OPTION_NUMBER, &l.timeout_s },
    };
    int rc = options_parse(options, ARRAY_SIZE(options), argc, argv);
    if (rc == 0)
        rc = validator_begin(&l.v);
    if (rc == 0)
        rc = prepare(&l);
    if (rc == 0)
        rc = validator_run(&l.v, check, &l, &l.told, 1);
    json_free(l.mounts);
    free(l.pod);
    free((char *)(uintptr_t)l.told.type);
    free(l.told.reason);
    free(l.told.message);
    osmo_kube_free(l.v.kube);
    return rc;
}
