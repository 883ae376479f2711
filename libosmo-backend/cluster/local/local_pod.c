/* Records of pods: their manifest, status and what is reported about them. Used by the files of the local driver, mutex held.
 *
 * A pod's directory, in the order in which things appear (a crash between two of them converges at the next open):
 *   pod.json    the manifest, durable before create() answers
 *   plan.json   what to run, written when the pod is admitted; holds the address
 *   lock        held by the supervisor for its life, with its process id inside
 *   deleting    the pod is to go ("force" or "grace")
 * and status/<pod>.json beside it, written by the supervisor. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "cluster/local/local_int.h"

void pod_free(void *v)
{
    struct pod *p = v;
    if (p->pidfd >= 0)
        close(p->pidfd);
    free(p->name), free(p->uid), free(p->hostname), free(p->subdomain), free(p->user);
    free(p->manifest), free(p->status), free(p->preempted);
    json_free(p->labels);
    free(p);
}

char *pod_path(const struct local *l, const struct pod *p, const char *file)
{
    return str_printf("%s/pods/%s%s%s", l->state_dir, p->name, *file ? "/" : "", file);
}

int pod_set_manifest(struct pod *p, json_t *manifest)
{
    json_del(manifest, "status");
    char *text = json_to_text(manifest);
    if (!text)
        return OSMO_ENOMEM;
    text[strlen(text) - 1] = '\0'; /* the closing brace: pod_text() puts the status behind */
    free(p->manifest);
    p->manifest = text;
    const json_t *labels = json_path(manifest, "metadata", "labels", NULL);
    json_free(p->labels);
    p->labels = labels ? json_copy(labels) : json_object();
    return p->labels ? 0 : OSMO_ENOMEM;
}

json_t *pod_manifest(const struct pod *p)
{
    json_t *v = NULL;
    _cleanup_free_ char *text = str_printf("%s}", p->manifest);
    return text && json_parse(text, strlen(text), &v, NULL) == 0 ? v : NULL;
}

char *pod_text(const struct pod *p, size_t *len)
{
    char *text = str_printf("%s,\"status\":%s}", p->manifest, p->status);
    *len = text ? strlen(text) : 0;
    return text;
}

int pod_save(const struct local *l, const struct pod *p, bool durable, osmo_error_t *err)
{
    _cleanup_free_ char *path = pod_path(l, p, "pod.json");
    _cleanup_free_ char *text = str_printf("%s}", p->manifest);
    if (!path || !text)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return file_write_atomic(path, text, strlen(text), 0600, durable, err);
}

static int set_uid(json_t *meta)
{
    char hex[33], uid[40], now[TIME_TEXT_MAX];
    if (json_get_str(meta, "uid"))
        return 0;
    int rc = crypto_random_hex32(hex);
    snprintf(uid, sizeof(uid), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    if (rc == 0)
        rc = json_set_str(meta, "uid", uid);
    if (rc == 0)
        rc = json_set_str(meta, "creationTimestamp", time_rfc3339(clock_now_us() / 1000000 * 1000000, now));
    return rc;
}

int pod_new(struct local *l, json_t *manifest, struct pod **out, osmo_error_t *err)
{
    json_t *meta = json_get(manifest, "metadata"), *spec = json_get(manifest, "spec");
    const char *name = json_get_str(meta, "name");
    struct pod *p = calloc(1, sizeof(*p));
    if (!p || set_uid(meta) < 0 || json_set_str(meta, "namespace", l->namespace_) < 0) {
        free(p);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    p->pidfd = -1;
    p->name = str_dup(name);
    p->uid = str_dup(json_get_str(meta, "uid"));
    p->hostname = str_dup(json_get_str(spec, "hostname"));
    p->subdomain = str_dup(json_get_str(spec, "subdomain"));
    p->user = str_dup(json_get_str(json_at(json_get(spec, "containers"), 0), "name"));
    p->grace_s = json_get_int(spec, "terminationGracePeriodSeconds", LOCAL_GRACE_DEFAULT_S);
    p->status = str_dup("{\"phase\":\"Pending\"}");
    if (p->grace_s < 0 || p->grace_s > 3600)
        p->grace_s = p->grace_s < 0 ? 0 : 3600;
    if (!p->name || !p->uid || !p->status || pod_set_manifest(p, manifest) < 0) {
        pod_free(p);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    *out = p;
    return 0;
}

void address_text(uint32_t ip, char out[20])
{
    snprintf(out, 20, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

void condition_add(json_t *status, const char *type, bool on, const char *reason, const char *message)
{
    char now[TIME_TEXT_MAX];
    json_t *list = json_get(status, "conditions"), *c = json_object();
    if (!list)
        json_set(status, "conditions", list = json_array());
    json_set_str(c, "type", type);
    json_set_str(c, "status", on ? "True" : "False");
    if (reason)
        json_set_str(c, "reason", reason);
    if (message)
        json_set_str(c, "message", message);
    json_set_str(c, "lastTransitionTime", time_rfc3339(clock_now_us() / 1000000 * 1000000, now));
    json_add(list, c);
}

static json_t *waiting_list(const json_t *containers)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_len(containers); i++) {
        json_t *c = json_object(), *state = json_object(), *waiting = json_object();
        json_set_str(waiting, "reason", "PodInitializing");
        json_set(state, "waiting", waiting);
        json_set_str(c, "name", json_get_str(json_at(containers, i), "name"));
        json_set_str(c, "image", json_get_str(json_at(containers, i), "image"));
        json_set(c, "state", state);
        json_set_bool(c, "ready", false);
        json_set_int(c, "restartCount", 0);
        json_add(list, c);
    }
    return list;
}

json_t *status_scheduled(const struct local *l, const struct pod *p, const json_t *manifest, bool with_containers)
{
    char address[20], now[TIME_TEXT_MAX];
    json_t *st = json_object(), *ips = json_array(), *ip = json_object();
    const json_t *spec = json_get(manifest, "spec"), *inits = json_get(spec, "initContainers");
    (void)l;
    address_text(p->ip, address);
    json_set_str(ip, "ip", address);
    json_add(ips, ip);
    json_set_str(st, "phase", "Pending");
    condition_add(st, "PodScheduled", true, NULL, NULL);
    json_set_str(st, "hostIP", "127.0.0.1");
    json_set_str(st, "podIP", address);
    json_set(st, "podIPs", ips);
    json_set_str(st, "startTime", time_rfc3339(clock_now_us() / 1000000 * 1000000, now));
    if (with_containers) {
        if (json_len(inits))
            json_set(st, "initContainerStatuses", waiting_list(inits));
        json_set(st, "containerStatuses", waiting_list(json_get(spec, "containers")));
    }
    return st;
}

void pod_set_status(struct pod *p, json_t *status)
{
    char *text = json_to_text(status);
    if (text) {
        free(p->status);
        p->status = text;
    }
    json_free(status);
}

void report_push(struct local *l, int what, osmo_change_t change, char *text, size_t len)
{
    if (l->nreports == l->reports_cap) {
        size_t cap = l->reports_cap ? l->reports_cap * 2 : 64;
        struct report *more = realloc(l->reports, cap * sizeof(*more));
        if (!more) {
            free(text);
            return;
        }
        l->reports = more;
        l->reports_cap = cap;
    }
    if (text)
        l->reports[l->nreports++] = (struct report){what, change, text, len};
}

void pod_report(struct local *l, struct pod *p, osmo_change_t change)
{
    size_t len;
    char *text = pod_text(p, &len);
    p->changed = false;
    report_push(l, REPORT_POD, p->reported ? change : OSMO_CHANGE_ADDED, text, len);
    p->reported = true;
}

void pod_event(struct local *l, const struct pod *p, const char *type, const char *reason, const char *message)
{
    char now[TIME_TEXT_MAX];
    _cleanup_json_ json_t *e = json_object();
    json_t *meta = json_object(), *object = json_object(), *source = json_object();
    _cleanup_free_ char *name = str_printf("%s.%llx", p->name, (unsigned long long)clock_now_us());
    time_rfc3339(clock_now_us() / 1000000 * 1000000, now);
    json_set_str(meta, "name", name);
    json_set_str(meta, "namespace", l->namespace_);
    json_set_str(meta, "creationTimestamp", now);
    json_set_str(object, "kind", "Pod");
    json_set_str(object, "apiVersion", "v1");
    json_set_str(object, "name", p->name);
    json_set_str(object, "namespace", l->namespace_);
    json_set_str(object, "uid", p->uid);
    json_set_str(source, "component", "osmo-local");
    json_set_str(e, "apiVersion", "v1");
    json_set_str(e, "kind", "Event");
    json_set(e, "metadata", meta);
    json_set(e, "involvedObject", object);
    json_set(e, "source", source);
    json_set_str(e, "type", type);
    json_set_str(e, "reason", reason);
    json_set_str(e, "message", message);
    json_set_str(e, "firstTimestamp", now);
    json_set_str(e, "lastTimestamp", now);
    json_set_int(e, "count", 1);
    char *text = json_to_text(e);
    report_push(l, REPORT_EVENT, OSMO_CHANGE_ADDED, text, text ? strlen(text) : 0);
}

void pod_finish(struct local *l, struct pod *p)
{
    p->state = POD_ENDED;
    p->kill_at_us = 0;
    place_pod_ended(l->place, p->name);
    l->place_needed = true;
}

/* Over whatever its supervisor reports. */
static void show_preempted(struct pod *p)
{
    json_t *st = NULL;
    if (json_parse(p->status, strlen(p->status), &st, NULL) < 0 || !st)
        st = json_object();
    condition_add(st, "DisruptionTarget", true, "PreemptionByScheduler", p->preempted);
    pod_set_status(p, st);
}

void pod_preempt(struct local *l, struct pod *p, const char *message)
{
    _cleanup_free_ char *mark = pod_path(l, p, "preempted");
    if (p->preempted || p->state != POD_STARTED || !(p->preempted = str_dup(message)))
        return;
    if (mark)
        file_write_atomic(mark, message, strlen(message), 0600, true, NULL); /* so that a restart knows */
    show_preempted(p);
    p->changed = true;
    pod_event(l, p, "Warning", "Preempted", message);
    supervisor_end(p);
}

static bool phase_is_final(const json_t *status)
{
    const char *phase = json_get_str(status, "phase");
    return str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

void pod_read_status(struct local *l, struct pod *p)
{
    _cleanup_free_ char *path = str_printf("%s/status/%s.json", l->state_dir, p->name);
    _cleanup_buf_ buf_t text = BUF_INIT(LOCAL_JSON_MAX);
    _cleanup_json_ json_t *v = NULL;
    if (p->state == POD_ENDED || !path || file_read(path, &text, NULL) < 0 || json_parse(buf_cstr(&text), text.len, &v, NULL) < 0)
        return;
    free(p->status);
    p->status = buf_steal(&text, NULL);
    if (!p->status)
        p->status = str_dup("{}");
    p->changed = true;
    if (p->preempted)
        show_preempted(p);
    if (phase_is_final(v))
        pod_finish(l, p);
}

void pod_fail(struct local *l, struct pod *p, const char *reason, const char *message, bool disrupted)
{
    _cleanup_free_ char *path = str_printf("%s/status/%s.json", l->state_dir, p->name);
    json_t *st = NULL;
    if (json_parse(p->status, strlen(p->status), &st, NULL) < 0 || !st)
        st = json_object();
    json_del(st, "initContainerStatuses"); /* what they show may be long past */
    json_del(st, "containerStatuses");
    json_set_str(st, "phase", "Failed");
    json_set_str(st, "reason", reason);
    json_set_str(st, "message", message);
    if (disrupted)
        condition_add(st, "DisruptionTarget", true, reason, message);
    pod_set_status(p, st);
    if (path)
        file_write_atomic(path, p->status, strlen(p->status), 0600, true, NULL);
    pod_finish(l, p);
    p->changed = true;
    pod_event(l, p, "Warning", reason, message);
}

void pod_set_unschedulable(struct local *l, struct pod *p, const char *text)
{
    size_t same = strcspn(text, ",");
    if (p->reason[0] && strncmp(p->reason, text, same) == 0)
        return; /* only the free amount differs: no news */
    snprintf(p->reason, sizeof(p->reason), "%s", text);
    json_t *st = json_object();
    json_set_str(st, "phase", "Pending");
    condition_add(st, "PodScheduled", false, "Unschedulable", text);
    pod_set_status(p, st);
    p->changed = true;
    pod_event(l, p, "Warning", "FailedScheduling", text);
}

/* A pod that was admitted before: its address, its status, and whether its supervisor lives. */
static int restore_started(struct local *l, struct pod *p, json_t *manifest, const json_t *plan)
{
    int rc = place_pod(l->place, manifest, p->seq, l->node_name, NULL);
    if (rc < 0)
        return rc;
    p->address = (uint32_t)json_get_int(plan, "address", 0) & 0xffffff;
    p->ip = (uint32_t)json_get_int(plan, "ip", LOOPBACK_NET | p->address);
    l->addresses[p->address / 8] |= (uint8_t)(1u << (p->address % 8));
    json_t *st = json_get(plan, "status");
    pod_set_status(p, st ? json_copy(st) : json_object());
    p->state = POD_STARTED;
    if (p->preempted) {
        place_pod_leaving(l->place, p->name);
        show_preempted(p);
    }
    if (json_set_str(json_get(manifest, "spec"), "nodeName", l->node_name) == 0)
        pod_set_manifest(p, manifest);
    pod_read_status(l, p);
    if (p->state == POD_STARTED)
        supervisor_adopt(l, p);
    return 0;
}

static int restore(struct local *l, struct pod *p, json_t *manifest)
{
    _cleanup_free_ char *path = pod_path(l, p, "plan.json");
    _cleanup_buf_ buf_t text = BUF_INIT(LOCAL_JSON_MAX);
    _cleanup_json_ json_t *plan = NULL;
    if (path && file_read(path, &text, NULL) >= 0 && json_parse(buf_cstr(&text), text.len, &plan, NULL) == 0)
        return restore_started(l, p, manifest, plan);
    return p->deleting ? 0 : place_pod(l->place, manifest, p->seq, NULL, NULL);
}

static int load_one(struct local *l, const char *name, osmo_error_t *err)
{
    _cleanup_free_ char *path = str_printf("%s/pods/%s/pod.json", l->state_dir, name);
    _cleanup_buf_ buf_t text = BUF_INIT(LOCAL_JSON_MAX);
    _cleanup_json_ json_t *v = NULL;
    struct pod *p;
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (file_read(path, &text, NULL) < 0 || json_parse(buf_cstr(&text), text.len, &v, NULL) < 0 || !json_get(v, "metadata")) {
        *strrchr(path, '/') = '\0'; /* a create that was never acknowledged, or a removal that was cut short */
        dir_discard(l, path, NULL);
        return 0;
    }
    int rc = pod_new(l, v, &p, err);
    if (rc < 0)
        return rc;
    p->seq = json_get_int(json_get(v, "metadata"), "generation", 0);
    if (p->seq >= l->next_seq)
        l->next_seq = p->seq + 1;
    _cleanup_free_ char *mark = pod_path(l, p, "deleting"), *preempted = pod_path(l, p, "preempted");
    _cleanup_buf_ buf_t how = BUF_INIT(64), why = BUF_INIT(4096);
    if (mark && file_read(mark, &how, NULL) == 0) {
        p->deleting = true;
        p->force = str_eq(buf_cstr(&how), "force");
    }
    if (preempted && file_read(preempted, &why, NULL) == 0)
        p->preempted = str_dup(buf_cstr(&why));
    rc = map_set(l->pods, name, p);
    if (rc == 0)
        rc = restore(l, p, v);
    return rc < 0 ? osmo_error_set(err, rc, "out of memory") : 0;
}

static bool is_subdomain(const struct local *l, const char *text)
{
    size_t it = 0;
    const char *name;
    void *v;
    while (map_next(l->pods, &it, &name, &v))
        if (str_eq(((struct pod *)v)->subdomain, text))
            return true;
    return false;
}

/* Files beside the pods' directories that a crash left behind. A pod's name is in front of `suffix`. */
static void sweep(const struct local *l, const char *kind, const char *suffix)
{
    _cleanup_free_ char *path = str_printf("%s/%s", l->state_dir, kind);
    DIR *d = path ? opendir(path) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *end = *suffix ? strstr(e->d_name, suffix) : NULL;
        _cleanup_free_ char *name = str_printf("%.*s", (int)(end ? (size_t)(end - e->d_name) : strlen(e->d_name)), e->d_name);
        if (e->d_name[0] != '.' && name && !map_has(l->pods, name) && !is_subdomain(l, name))
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
}

int pods_load(struct local *l, osmo_error_t *err)
{
    _cleanup_free_ char *path = str_printf("%s/pods", l->state_dir);
    DIR *d = path ? opendir(path) : NULL;
    int rc = d ? 0 : osmo_error_set(err, OSMO_EIO, "cannot read %s: %s", path ? path : "pods", strerror(errno));
    for (struct dirent *e; rc == 0 && (e = readdir(d));)
        if (name_ok(e->d_name))
            rc = load_one(l, e->d_name, err);
    if (d)
        closedir(d);
    if (rc == 0)
        sweep(l, "status", ".json"), sweep(l, "hosts", "");
    l->place_needed = true;
    return rc;
}
