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
    used_add(l, p, 1);
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

/* ---- which pods may run ---- */

/* A gang whose pods wait; `index` of the pods of a set says which gang is theirs. */
struct waiting { const char *name; int priority; int64_t arrival, minimum; size_t npods; char reason[160]; bool placed; };
struct gang_set {
    struct waiting *gangs;
    struct pod **pods;
    size_t *gang_of;
    size_t ngangs, npods;
    map_t *by_name; /* index + 1 */
};

static void gang_set_free(struct gang_set *s)
{
    free(s->gangs), free(s->pods), free(s->gang_of);
    map_free(s->by_name);
}

static int gang_set_alloc(struct gang_set *s, size_t n)
{
    s->gangs = calloc(n + 1, sizeof(*s->gangs));
    s->pods = calloc(n + 1, sizeof(*s->pods));
    s->gang_of = calloc(n + 1, sizeof(*s->gang_of));
    s->by_name = map_new(NULL);
    return s->gangs && s->pods && s->gang_of && s->by_name ? 0 : OSMO_ENOMEM;
}

/* Which gang a waiting pod belongs to; a pod without a PodGroup is a gang of its own. */
static size_t gang_index(const struct local *l, struct gang_set *s, const struct pod *p)
{
    _cleanup_free_ char *key = str_printf("PodGroup/%s", p->group ? p->group : "");
    const struct object *group = p->group && key ? map_get(l->objects, key) : NULL;
    const char *name = group ? p->group : p->name;
    uintptr_t known = (uintptr_t)map_get(s->by_name, name);
    if (known)
        return known - 1;
    struct waiting *g = &s->gangs[s->ngangs];
    *g = (struct waiting){.name = name,
                          .priority = group ? group->priority : p->priority,
                          .arrival = p->seq,
                          .minimum = group ? group->min_member : 1};
    map_set(s->by_name, name, (void *)(uintptr_t)(s->ngangs + 1));
    return s->ngangs++;
}

static int collect(struct local *l, struct gang_set *s)
{
    size_t it = 0;
    const char *name;
    void *v;
    int rc = gang_set_alloc(s, map_len(l->pods));
    while (rc == 0 && map_next(l->pods, &it, &name, &v)) {
        struct pod *p = v;
        if (p->state != POD_PENDING || p->deleting)
            continue;
        struct waiting *g = &s->gangs[s->gang_of[s->npods] = gang_index(l, s, p)];
        g->npods++;
        if (p->seq < g->arrival)
            g->arrival = p->seq;
        s->pods[s->npods++] = p;
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

static const char *amount_text(int r, int64_t amount, char out[48])
{
    static const struct { const char *name; double unit; bool binary; } kinds[OSMO_SCHED_RESOURCES] = {
        {"CPUs", 1000, false}, {"memory", 1, true}, {"storage", 1, true}, {"GPUs", 1, false}, {"pods", 1, false}};
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
    double n = (double)amount / kinds[r].unit;
    size_t u = 0;
    while (kinds[r].binary && n >= 1024 && u + 1 < ARRAY_SIZE(units))
        n /= 1024, u++;
    snprintf(out, 48, "%.4g%s %s", n, units[u], kinds[r].name);
    return out;
}

/* A gang that is not whole, or that this machine could not run even if it were empty, holds nobody up. */
static bool may_ever_run(const struct local *l, struct waiting *g, const osmo_sched_pod_t *pods)
{
    int64_t have = g->minimum > (int64_t)g->npods ? members(l, g->name) : g->minimum;
    if (have < g->minimum) {
        snprintf(g->reason, sizeof(g->reason), "waits for %lld more pods of its group", (long long)(g->minimum - have));
        return false;
    }
    for (int r = 0; r < OSMO_SCHED_RESOURCES; r++) {
        int64_t sum = 0;
        char asked[48], whole[48];
        for (size_t i = 0; i < g->npods; i++)
            if (__builtin_add_overflow(sum, pods[i].request.of[r], &sum))
                sum = INT64_MAX;
        if (sum > l->allocatable.of[r]) {
            snprintf(g->reason, sizeof(g->reason), "needs %s, node %s has %s in all", amount_text(r, sum, asked), l->node_name,
                     amount_text(r, l->allocatable.of[r], whole));
            return false;
        }
    }
    return true;
}

static void on_place(void *ctx, const char *gang, const char *const *nodes, size_t npods)
{
    struct gang_set *s = ctx;
    (void)nodes, (void)npods;
    s->gangs[(uintptr_t)map_get(s->by_name, gang) - 1].placed = true;
}

static void on_wait(void *ctx, const char *gang, const char *reason)
{
    struct gang_set *s = ctx;
    struct waiting *g = &s->gangs[(uintptr_t)map_get(s->by_name, gang) - 1];
    snprintf(g->reason, sizeof(g->reason), "%s", reason);
}

static int submit_gangs(const struct local *l, struct gang_set *s, osmo_scheduler_t *sched)
{
    osmo_sched_pod_t *pods = calloc(s->npods + 1, sizeof(*pods));
    int rc = pods ? 0 : OSMO_ENOMEM;
    for (size_t g = 0; rc == 0 && g < s->ngangs; g++) {
        struct waiting *w = &s->gangs[g];
        osmo_error_t err = OSMO_ERROR_INIT;
        size_t n = 0;
        for (size_t i = 0; i < s->npods; i++)
            if (s->gang_of[i] == g)
                pods[n++] = (osmo_sched_pod_t){.request = s->pods[i]->request, .scope = -1};
        osmo_sched_gang_t gang = {.size = sizeof(gang), .name = w->name, .priority = w->priority, .arrival = w->arrival,
                                  .pods = pods, .npods = n};
        if (may_ever_run(l, w, pods) && osmo_scheduler_submit(sched, &gang, &err) < 0)
            snprintf(w->reason, sizeof(w->reason), "%.150s", err.text);
    }
    free(pods);
    return rc;
}

/* The order is kept: what came later does not pass by, or a large gang would wait for ever. */
static int decide(struct local *l, struct gang_set *s)
{
    const osmo_scheduler_options_t options = {.size = sizeof(options), .strict_order = 1, .no_preemption = 1};
    const osmo_sched_sink_t sink = {.size = sizeof(sink), .ctx = s, .place = on_place, .wait = on_wait};
    osmo_sched_node_t node = {.size = sizeof(node), .name = l->node_name};
    osmo_scheduler_t *sched = NULL;
    for (int r = 0; r < OSMO_SCHED_RESOURCES; r++) {
        int64_t idle = l->allocatable.of[r] - l->used.of[r];
        node.capacity.of[r] = idle > 0 ? idle : 0;
    }
    int rc = osmo_scheduler_new(&options, &sched, NULL);
    if (rc == 0)
        rc = osmo_scheduler_set_node(sched, &node, NULL);
    if (rc == 0)
        rc = submit_gangs(l, s, sched);
    if (rc == 0)
        rc = osmo_scheduler_run(sched, 0, &sink, NULL) < 0 ? OSMO_ENOMEM : 0;
    osmo_scheduler_free(sched);
    return rc;
}

void place_all(struct local *l)
{
    struct gang_set s = {0};
    l->place_needed = false;
    if (collect(l, &s) == 0 && s.npods && decide(l, &s) == 0) {
        size_t n = 0;
        for (size_t i = 0; i < s.npods; i++) {
            const struct waiting *g = &s.gangs[s.gang_of[i]];
            if (!g->placed)
                pod_set_unschedulable(l, s.pods[i], *g->reason ? g->reason : "waits for its turn");
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
}
