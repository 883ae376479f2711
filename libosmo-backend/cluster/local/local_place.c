/* Admission: which pods may run now, their loopback addresses and their hosts file. Called by the driver's thread,
 * mutex held.
 *
 * Each pod has an address of its own in 127.0.0.0/8, and the pods of one headless service find each other by name in a
 * hosts file they share. The network itself is the host's: a task that binds to its own name is alone on its port, two
 * tasks that bind the same port on the wildcard address (0.0.0.0) clash, and the second one gets "address in use". */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "cluster/local/local_int.h"

/* The same name gets the same address again where possible, so that a rescheduled pod stays where its peers look for
 * it. */
static int address_take(struct local *l, struct pod *p)
{
    uint32_t h = 2166136261u;
    for (const char *c = p->name; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    for (uint32_t i = 0; i < 1u << 24; i++) {
        uint32_t a = (h + i) & 0xffffff, last = a & 255;
        if (a < 0x010000 || a >= 0xff0000 || last == 0 || last == 255 || l->addresses[a / 8] & (1u << (a % 8)))
            continue;
        l->addresses[a / 8] |= (uint8_t)(1u << (a % 8));
        p->address = a;
        return 0;
    }
    return OSMO_ELIMIT;
}

char *hosts_path(const struct local *l, const struct pod *p)
{
    return str_printf("%s/hosts/%s", l->state_dir, p->subdomain && name_ok(p->subdomain) ? p->subdomain : p->name);
}

static void add_host(const struct local *l, const struct pod *p, buf_t *out)
{
    char address[20];
    const char *host = p->hostname ? p->hostname : p->name;
    address_text(p->address, address);
    if (p->subdomain)
        buf_printf(out, "%s\t%s.%s.%s.svc.cluster.local %s.%s %s\n", address, host, p->subdomain, l->namespace_, host,
                   p->subdomain, host);
    else
        buf_printf(out, "%s\t%s\n", address, host);
}

/* Written in place: containers have this very file mounted. */
int hosts_write(struct local *l, const struct pod *p, osmo_error_t *err)
{
    _cleanup_free_ char *path = hosts_path(l, p);
    _cleanup_buf_ buf_t text = BUF_INIT(16 * 1024 * 1024);
    const char *name;
    void *v;
    size_t it = 0;
    buf_puts(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    if (!p->subdomain)
        add_host(l, p, &text);
    while (p->subdomain && map_next(l->pods, &it, &name, &v)) {
        const struct pod *peer = v;
        if (peer->address && str_eq(peer->subdomain, p->subdomain))
            add_host(l, peer, &text);
    }
    _cleanup_close_ int fd = path && !buf_failed(&text) ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd < 0 || fchmod(fd, 0644) < 0 || fd_write_all(fd, text.data, text.len) < 0 ||
        ftruncate(fd, (off_t)text.len) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot write the hosts file: %s", strerror(errno));
    return 0;
}

static void admit(struct local *l, struct pod *p)
{
    _cleanup_json_ json_t *m = pod_manifest(p);
    p->state = POD_STARTED;
    p->counted = true;
    l->used.cpu_milli += p->request.cpu_milli;
    l->used.memory += p->request.memory;
    l->used.storage += p->request.storage;
    l->used.gpu += p->request.gpu;
    l->used.pods += p->request.pods;
    if (m && json_set_str(json_get(m, "spec"), "nodeName", l->node_name) == 0 && pod_set_manifest(p, m) == 0)
        pod_set_status(p, status_scheduled(l, p, m, true));
    p->changed = true;
}

static void start(struct local *l, struct pod *p)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *text = str_printf("Successfully assigned %s/%s to %s", l->namespace_, p->name, l->node_name);
    pod_event(l, p, "Normal", "Scheduled", text ? text : "Scheduled");
    pod_report(l, p, OSMO_CHANGE_MODIFIED);
    int rc = plan_build(l, p, &err);
    if (rc == 0)
        rc = supervisor_start(l, p, &err);
    if (rc < 0)
        pod_fail(l, p, "StartError", err.text, false);
}

struct gang_set {
    struct sched_gang *gangs;
    struct pod **pods;
    struct sched_pod *slots;
    size_t *gang_of;
    int64_t *minimum;
    size_t ngangs, npods;
};

static void gang_set_free(struct gang_set *s)
{
    free(s->gangs), free(s->pods), free(s->slots), free(s->gang_of), free(s->minimum);
}

static int gang_set_alloc(struct gang_set *s, size_t n)
{
    s->gangs = calloc(n + 1, sizeof(*s->gangs));
    s->pods = calloc(n + 1, sizeof(*s->pods));
    s->slots = calloc(n + 1, sizeof(*s->slots));
    s->gang_of = calloc(n + 1, sizeof(*s->gang_of));
    s->minimum = calloc(n + 1, sizeof(*s->minimum));
    return s->gangs && s->pods && s->slots && s->gang_of && s->minimum ? 0 : OSMO_ENOMEM;
}

/* Which gang a waiting pod belongs to; a pod without a PodGroup is a gang of its own. */
static size_t gang_index(const struct local *l, struct gang_set *s, map_t *index, const struct pod *p)
{
    _cleanup_free_ char *key = str_printf("PodGroup/%s", p->group ? p->group : "");
    const struct object *group = p->group && key ? map_get(l->objects, key) : NULL;
    uintptr_t known = group ? (uintptr_t)map_get(index, p->group) : 0;
    if (known)
        return known - 1;
    size_t g = s->ngangs++;
    s->gangs[g].name = p->group ? p->group : p->name;
    s->gangs[g].priority = group ? group->priority : p->priority;
    s->gangs[g].arrival = p->seq;
    s->minimum[g] = group ? group->min_member : 1;
    if (group)
        map_set(index, p->group, (void *)(uintptr_t)(g + 1));
    return g;
}

static int collect(struct local *l, struct gang_set *s, map_t *index)
{
    size_t it = 0, n = 0, at = 0;
    const char *name;
    void *v;
    int rc = gang_set_alloc(s, map_len(l->pods));
    while (rc == 0 && map_next(l->pods, &it, &name, &v)) {
        struct pod *p = v;
        if (p->state != POD_PENDING || p->deleting)
            continue;
        s->gang_of[n] = gang_index(l, s, index, p);
        s->gangs[s->gang_of[n]].npods++;
        if (p->seq < s->gangs[s->gang_of[n]].arrival)
            s->gangs[s->gang_of[n]].arrival = p->seq;
        s->pods[n++] = p;
    }
    s->npods = n;
    for (size_t g = 0; rc == 0 && g < s->ngangs; g++) {
        s->gangs[g].pods = s->slots + at;
        at += s->gangs[g].npods;
        s->gangs[g].npods = 0;
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct sched_gang *g = &s->gangs[s->gang_of[i]];
        g->pods[g->npods++] = (struct sched_pod){.request = s->pods[i]->request, .node = -1};
    }
    return rc;
}

static int64_t members(const struct local *l, const char *group)
{
    size_t it = 0;
    const char *name;
    void *v;
    int64_t n = 0;
    while (map_next(l->pods, &it, &name, &v))
        n += str_eq(((struct pod *)v)->group, group) && !((struct pod *)v)->deleting;
    return n;
}

/* Take out gangs that are not complete, or that this machine could not run even if it were empty. */
static void sort_out(const struct local *l, struct gang_set *s)
{
    for (size_t g = 0; g < s->ngangs; g++) {
        struct sched_node whole = {.name = l->node_name, .free = l->allocatable};
        struct sched_gang *gang = &s->gangs[g];
        int64_t have = s->minimum[g] > (int64_t)gang->npods ? members(l, gang->name) : s->minimum[g];
        if (have < s->minimum[g])
            snprintf(gang->reason, sizeof(gang->reason), "waits for %lld more pods of its group",
                     (long long)(s->minimum[g] - have));
        else
            schedule_place(&whole, 1, gang, 1, 0);
    }
}

static void place_gangs(struct local *l, struct gang_set *s)
{
    struct sched_node node = {.name = l->node_name, .free = l->allocatable};
    struct sched_gang *ready = calloc(s->ngangs + 1, sizeof(*ready));
    size_t *from = calloc(s->ngangs + 1, sizeof(*from)), n = 0;
    node.free.cpu_milli -= l->used.cpu_milli;
    node.free.memory -= l->used.memory;
    node.free.storage -= l->used.storage;
    node.free.gpu -= l->used.gpu;
    node.free.pods -= l->used.pods;
    sort_out(l, s);
    for (size_t g = 0; ready && from && g < s->ngangs; g++) {
        if (s->gangs[g].reason[0])
            continue;
        from[n] = g;
        ready[n++] = s->gangs[g];
    }
    if (n)
        schedule_place(&node, 1, ready, n, 1);
    for (size_t i = 0; i < n; i++)
        s->gangs[from[i]] = ready[i];
    free(ready);
    free(from);
}

void place_all(struct local *l)
{
    struct gang_set s = {0};
    map_t *index = map_new(NULL);
    l->place_needed = false;
    if (index && collect(l, &s, index) == 0 && s.npods) {
        place_gangs(l, &s);
        size_t n = 0;
        for (size_t i = 0; i < s.npods; i++) {
            const struct sched_gang *g = &s.gangs[s.gang_of[i]];
            if (g->reason[0])
                pod_set_unschedulable(l, s.pods[i], g->reason);
            else if (address_take(l, s.pods[i]) == 0)
                s.pods[n++] = s.pods[i];
        }
        /* All addresses first: peers must be able to name each other from their first instruction. */
        for (size_t i = 0; i < n; i++)
            if (i == 0 || !s.pods[i]->subdomain || !str_eq(s.pods[i]->subdomain, s.pods[i - 1]->subdomain))
                hosts_write(l, s.pods[i], NULL);
        for (size_t i = 0; i < n; i++) {
            admit(l, s.pods[i]);
            start(l, s.pods[i]);
        }
    }
    gang_set_free(&s);
    map_free(index);
}
