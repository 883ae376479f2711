/* Admission: which pods may run now, their addresses and their hosts file. Called by the driver's thread,
 * mutex held.
 *
 * Each pod has an address of its own, in the pods' network (local_net.c) or else in 127.0.0.0/8, and the pods of one headless
 * service find each other by name in a hosts file they share. Where the network is the host's, a task that binds to its own
 * name is alone on its port, but two tasks that bind the same port on the wildcard address (0.0.0.0) clash: the second one
 * gets "address in use". */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "cluster/local/local_int.h"

static bool loopback_place_ok(uint32_t place)
{
    uint32_t last = place & 255;
    return place >= 0x010000 && place < 0xff0000 && last != 0 && last != 255;
}

/* The same name gets the same address again where possible, so that a rescheduled pod stays where its peers look for
 * it. */
static int address_take(struct local *l, struct pod *p)
{
    uint32_t h = 2166136261u;
    for (const char *c = p->name; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    uint32_t mask = l->net.on ? (1u << (32 - l->net.prefix)) - 1 : 0xffffff;
    for (uint32_t i = 0; i <= mask; i++) {
        uint32_t a = (h + i) & mask;
        if (!(l->net.on ? net_place_ok(l, a) : loopback_place_ok(a)) || l->addresses[a / 8] & (1u << (a % 8)))
            continue;
        l->addresses[a / 8] |= (uint8_t)(1u << (a % 8));
        p->address = a;
        p->ip = (l->net.on ? l->net.base : LOOPBACK_NET) | a;
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
    address_text(p->ip, address);
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
    p->reason[0] = '\0';
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

static void on_bind(void *ctx, const char *name, const char *node)
{
    struct local *l = ctx;
    (void)node;
    l->bound[l->nbound++] = map_get(l->pods, name);
}

static void on_preempt(void *ctx, const char *name, const char *message)
{
    struct local *l = ctx;
    pod_preempt(l, map_get(l->pods, name), message);
}

static void on_wait(void *ctx, const char *name, const char *reason)
{
    struct local *l = ctx;
    pod_set_unschedulable(l, map_get(l->pods, name), reason);
}

static int bound_reserve(struct local *l)
{
    size_t n = map_len(l->pods);
    if (n <= l->cap_bound)
        return 0;
    struct pod **grown = realloc(l->bound, 2 * n * sizeof(*grown));
    if (!grown)
        return OSMO_ENOMEM;
    l->bound = grown;
    l->cap_bound = 2 * n;
    return 0;
}

/* All addresses first: peers must be able to name each other from their first instruction. */
static void start_bound(struct local *l)
{
    for (size_t i = 0; i < l->nbound; i++)
        if (address_take(l, l->bound[i]) < 0) {
            pod_fail(l, l->bound[i], "StartError", "there is no free address", false);
            l->bound[i--] = l->bound[--l->nbound];
        }
    for (size_t i = 0; i < l->nbound; i++)
        if (i == 0 || !l->bound[i]->subdomain || !str_eq(l->bound[i]->subdomain, l->bound[i - 1]->subdomain))
            hosts_write(l, l->bound[i], NULL);
    for (size_t i = 0; i < l->nbound; i++) {
        admit(l, l->bound[i]);
        start(l, l->bound[i]);
    }
}

void place_all(struct local *l)
{
    const struct place_sink sink = {.ctx = l, .bind = on_bind, .preempt = on_preempt, .wait = on_wait};
    l->nbound = 0;
    l->place_needed = false;
    if (bound_reserve(l) < 0 || place_run(l->place, &sink, NULL) < 0) {
        start_bound(l); /* what was decided holds; the rest is looked at again with the next event */
        return;
    }
    start_bound(l);
    l->place_needed |= l->nbound > 0;
}
