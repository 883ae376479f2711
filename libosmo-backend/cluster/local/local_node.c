/* The one node of the local cluster: this machine. Memory is counted against the machine and storage against the free disk; CPU
 * is overcommitted by a factor, because tasks seldom use what they ask for. Nothing is enforced: requests are only counted. */
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include "base/clock.h"
#include "cluster/local/local_int.h"
#include "operator/quantity.h"

#define MEMORY_RESERVE (512ll << 20) /* for the control plane and the system */
#define STORAGE_RESERVE (1ll << 30)
#define MAX_RUNNING 1000
#define OTHER_FILES 64 /* descriptors that are not supervisors' */

/* Each running pod costs this process a descriptor. */
static int64_t pods_at_once(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= MAX_RUNNING + OTHER_FILES)
        return MAX_RUNNING;
    return r.rlim_cur > OTHER_FILES + 10 ? (int64_t)r.rlim_cur - OTHER_FILES : 10;
}

static int measure(struct local *l, osmo_error_t *err)
{
    struct sysinfo si;
    struct statvfs fs;
    if (sysinfo(&si) < 0 || statvfs(l->state_dir, &fs) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot measure the machine or the file system of %s", l->state_dir);
    int64_t memory = (int64_t)si.totalram * si.mem_unit, disk = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    l->allocatable = (osmo_sched_amount_t){ {
        [OSMO_SCHED_CPU] = (cores < 1 ? 1 : cores) * 1000 * l->cpu_overcommit,
        [OSMO_SCHED_MEMORY] = memory > 2 * MEMORY_RESERVE ? memory - MEMORY_RESERVE : memory / 2,
        [OSMO_SCHED_STORAGE] = disk > 2 * STORAGE_RESERVE ? disk - STORAGE_RESERVE : disk / 2,
        [OSMO_SCHED_PODS] = pods_at_once(),
    } };
    return 0;
}

static void set_amount(json_t *o, const char *key, int64_t value, const char *unit)
{
    _cleanup_free_ char *text = str_printf("%lld%s", (long long)value, unit);
    json_set_str(o, key, text);
}

int node_init(struct local *l, osmo_error_t *err)
{
    int rc = measure(l, err);
    if (rc < 0)
        return rc;
    char now[TIME_TEXT_MAX];
    json_t *meta = json_object(), *labels = json_object(), *status = json_object(), *all = json_object();
    l->node = json_object();
    time_rfc3339(clock_now_us() / 1000000 * 1000000, now);
    json_set_str(labels, "kubernetes.io/hostname", l->node_name);
    json_set_str(labels, "kubernetes.io/os", "linux");
    json_set_str(meta, "name", l->node_name);
    json_set_str(meta, "creationTimestamp", now);
    json_set(meta, "labels", labels);
    set_amount(all, "cpu", l->allocatable.of[OSMO_SCHED_CPU] / 1000, "");
    set_amount(all, "memory", l->allocatable.of[OSMO_SCHED_MEMORY] / 1024, "Ki");
    set_amount(all, "ephemeral-storage", l->allocatable.of[OSMO_SCHED_STORAGE] / 1024, "Ki");
    set_amount(all, "pods", l->allocatable.of[OSMO_SCHED_PODS], "");
    set_amount(all, "nvidia.com/gpu", 0, "");
    json_set(status, "allocatable", all);
    json_set(status, "capacity", json_copy(all));
    condition_add(status, "Ready", true, "LocalClusterReady", NULL);
    json_t *addresses = json_array(), *address = json_object();
    json_set_str(address, "type", "InternalIP");
    json_set_str(address, "address", "127.0.0.1");
    json_add(addresses, address);
    json_set(status, "addresses", addresses);
    json_set_str(l->node, "apiVersion", "v1");
    json_set_str(l->node, "kind", "Node");
    json_set(l->node, "metadata", meta);
    json_set(l->node, "spec", json_object());
    return json_set(l->node, "status", status);
}

static void add_requests(const json_t *container, osmo_sched_amount_t *sum)
{
    static const struct { const char *name; int scale, at; } kinds[] = {
        {"cpu", 3, OSMO_SCHED_CPU},
        {"memory", 0, OSMO_SCHED_MEMORY},
        {"ephemeral-storage", 0, OSMO_SCHED_STORAGE},
        {"nvidia.com/gpu", 0, OSMO_SCHED_GPU},
    };
    const json_t *requests = json_path(container, "resources", "requests", NULL);
    const json_t *limits = json_path(container, "resources", "limits", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const json_t *v = json_get(json_has(requests, kinds[i].name) ? requests : limits, kinds[i].name);
        int64_t n = 0, *to = &sum->of[kinds[i].at];
        char number[32];
        if (json_kind(v) == JSON_INT)
            snprintf(number, sizeof(number), "%lld", (long long)json_as_int(v, 0));
        const char *text = json_kind(v) == JSON_INT ? number : json_str(v);
        if (text && quantity_parse(text, kinds[i].scale, &n) && n > 0 && __builtin_add_overflow(*to, n, to))
            *to = INT64_MAX;
    }
}

/* What is used on the machine grows or shrinks by a pod. */
void used_add(struct local *l, const struct pod *p, int sign)
{
    for (int r = 0; r < OSMO_SCHED_RESOURCES; r++)
        l->used.of[r] += sign * p->request.of[r];
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* As Kubernetes counts: all containers together, or the largest init container if that is more. */
void pod_request(const json_t *spec, osmo_sched_amount_t *out)
{
    osmo_sched_amount_t sum = { { 0 } };
    const json_t *list = json_get(spec, "containers"), *inits = json_get(spec, "initContainers");
    for (size_t i = 0; i < json_len(list); i++)
        add_requests(json_at(list, i), &sum);
    for (size_t i = 0; i < json_len(inits); i++) {
        osmo_sched_amount_t one = { { 0 } };
        add_requests(json_at(inits, i), &one);
        for (int r = 0; r < OSMO_SCHED_RESOURCES; r++)
            sum.of[r] = larger(sum.of[r], one.of[r]);
    }
    sum.of[OSMO_SCHED_PODS] = 1;
    *out = sum;
}
