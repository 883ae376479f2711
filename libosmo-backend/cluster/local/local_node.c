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
    rc = json_set(l->node, "status", status);
    return rc < 0 ? osmo_error_set(err, rc, "out of memory") : place_node(l->place, l->node, err);
}
