/* The local cluster driver: a small kubelet for one machine. It runs the very pod manifests that the control plane
 * builds for Kubernetes. Each pod has a supervisor process that outlives us (osmo-pod-supervisor); this driver decides
 * what may run, prepares directories, and reports. See local_int.h for the threads and local_place.c for what a shared
 * network means.
 *
 * Settings: runtime-dir=DIR (osmo_init, osmo_ctrl, osmo_exec), supervisor=PATH, bwrap=PATH, cpu-overcommit=N,
 * image=NAME=ROOTFS, runtime-image=NAME, hide=PATH, ca-file=PATH (whose certificates the programs of a pod believe in),
 * no-sandbox[=1], network=pod|host|auto, pod-cidr=A.B.C.D/N, relay=ADDRESS:PORT (of the host's loopback, for pods with networks of
 * their own), nft=PATH. image, runtime-image, hide and relay may be repeated. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "base/crypto.h"
#include "base/file.h"
#include "cluster/local/local_int.h"

#define DEFAULT_OVERCOMMIT 8
#define RELAYS_MAX 6 /* and one for names, one for the service */

static void local_close(void *impl)
{
    struct local *l = impl;
    if (!l)
        return;
    if (l->thread_started) {
        pthread_mutex_lock(&l->lock);
        l->stop = true;
        pthread_mutex_unlock(&l->lock);
        loop_wake(l);
        pthread_join(l->thread, NULL);
    }
    net_close(l);
    for (size_t i = 0; i < l->nreports; i++)
        free(l->reports[i].text);
    free(l->reports);
    map_free(l->pods);
    map_free(l->objects);
    place_free(l->place);
    free(l->bound);
    json_free(l->node);
    strlist_free(&l->images);
    strlist_free(&l->hide);
    strlist_free(&l->runtime_images);
    free(l->state_dir), free(l->namespace_), free(l->runtime_dir), free(l->ca_file), free(l->supervisor), free(l->bwrap),
        free(l->isolation);
    free(l->node_name), free(l->cluster_uid), free(l->addresses);
    int fds[] = {l->lock_fd, l->epoll_fd, l->inotify_fd, l->event_fd, l->timer_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static int set_text(char **to, const char *value)
{
    free(*to);
    *to = str_dup(value);
    return *to ? 0 : OSMO_ENOMEM;
}

/* @return 1 when it is none of the network's */
static int read_net_setting(struct local *l, const char *key, const char *value, osmo_error_t *err)
{
    static const char *const wants[] = {"auto", "pod", "host"};
    size_t i = 0;
    if (str_eq(key, "pod-cidr"))
        return set_text(&l->net.cidr, value);
    if (str_eq(key, "nft"))
        return set_text(&l->net.nft, value);
    if (str_eq(key, "relay"))
        return l->net.relays.len >= RELAYS_MAX ? osmo_error_set(err, OSMO_ELIMIT, "at most %d relays are possible", RELAYS_MAX)
               : strlist_has(&l->net.relays, value) ? 0 : strlist_add(&l->net.relays, value);
    if (!str_eq(key, "network"))
        return 1;
    while (i < ARRAY_SIZE(wants) && !str_eq(value, wants[i]))
        i++;
    if (i == ARRAY_SIZE(wants))
        return osmo_error_set(err, OSMO_EINVAL, "network must be pod, host or auto, not \"%s\"", value);
    l->net.want = i;
    return 0;
}

static int read_setting(struct local *l, const char *setting, bool *no_sandbox, osmo_error_t *err)
{
    char key[32];
    size_t n = strcspn(setting, "=");
    const char *value = setting[n] ? setting + n + 1 : "1";
    int rc = 0;
    snprintf(key, sizeof(key), "%.*s", (int)n, setting);
    if (str_eq(key, "runtime-dir"))
        rc = set_text(&l->runtime_dir, value);
    else if (str_eq(key, "supervisor"))
        rc = set_text(&l->supervisor, value);
    else if (str_eq(key, "bwrap"))
        rc = set_text(&l->bwrap, value);
    else if (str_eq(key, "image"))
        rc = strchr(value, '=') ? strlist_add(&l->images, value)
                                : osmo_error_set(err, OSMO_EINVAL, "image %s: say NAME=DIRECTORY", value);
    else if (str_eq(key, "runtime-image"))
        rc = strlist_add(&l->runtime_images, value);
    else if (str_eq(key, "ca-file"))
        rc = set_text(&l->ca_file, value);
    else if (str_eq(key, "hide"))
        rc = strlist_add(&l->hide, value);
    else if (str_eq(key, "no-sandbox"))
        *no_sandbox = !str_eq(value, "0") && !str_eq(value, "false");
    else if ((rc = read_net_setting(l, key, value, err)) <= 0)
        return rc;
    else if (rc = 0, !str_eq(key, "cpu-overcommit"))
        rc = osmo_error_set(err, OSMO_EINVAL, "the local cluster has no setting \"%s\"", key);
    else if (!str_to_i64(value, &l->cpu_overcommit) || l->cpu_overcommit < 1 || l->cpu_overcommit > 1000)
        rc = osmo_error_set(err, OSMO_EINVAL, "cpu-overcommit must be a whole number from 1 to 1000, not \"%s\"",
                            value);
    return rc;
}

/* The supervisor lies with the in-pod programs, or beside the running program. */
static int find_programs(struct local *l, osmo_error_t *err)
{
    static const char *const places[] = {"/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"};
    for (size_t i = 0; !l->bwrap && i < ARRAY_SIZE(places); i++)
        if (access(places[i], X_OK) == 0 && set_text(&l->bwrap, places[i]) < 0)
            return OSMO_ENOMEM;
    if (!l->bwrap && set_text(&l->bwrap, places[0]) < 0)
        return OSMO_ENOMEM;
    if (!l->supervisor && l->runtime_dir) {
        _cleanup_free_ char *path = str_printf("%s/osmo-pod-supervisor", l->runtime_dir);
        if (path && access(path, X_OK) == 0)
            l->supervisor = STEAL(path);
    }
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (!l->supervisor && n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        l->supervisor = str_printf("%s/osmo-pod-supervisor", self);
    }
    if (!l->supervisor || access(l->supervisor, X_OK) < 0)
        return osmo_error_set(
            err, OSMO_EUNAVAIL,
            "cannot run osmo-pod-supervisor: it is neither in the runtime directory nor beside this program");
    return 0;
}

static int make_dirs(const struct local *l, osmo_error_t *err)
{
    static const char *const dirs[] = {"pods", "status", "objects", "hosts"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(dirs); i++) {
        _cleanup_free_ char *path = str_printf("%s/%s", l->state_dir, dirs[i]);
        rc = path ? dir_make(path, 0700, err) : OSMO_ENOMEM;
    }
    return rc;
}

static int take_state_dir(struct local *l, osmo_error_t *err)
{
    _cleanup_free_ char *lock = str_printf("%s/driver.lock", l->state_dir);
    l->lock_fd = lock ? open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (l->lock_fd < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot write in %s: %s", l->state_dir, strerror(errno));
    if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return osmo_error_set(err, OSMO_EBUSY,
                              "another osmo-backend uses %s: stop it, or give this one a state directory of its own",
                              l->state_dir);
    return 0;
}

static int load_uid(struct local *l, osmo_error_t *err)
{
    _cleanup_free_ char *path = str_printf("%s/uid", l->state_dir);
    _cleanup_buf_ buf_t text = BUF_INIT(256);
    char hex[33], uid[40];
    if (path && file_read(path, &text, NULL) == 0 && text.len >= 36) {
        buf_truncate(&text, 36);
        return set_text(&l->cluster_uid, buf_cstr(&text));
    }
    int rc = path ? crypto_random_hex32(hex) : OSMO_ENOMEM;
    if (rc < 0)
        return osmo_error_set(err, rc, "cannot make an identity for the cluster");
    snprintf(uid, sizeof(uid), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    rc = file_write_atomic(path, uid, strlen(uid), 0600, true, err);
    return rc < 0 ? rc : set_text(&l->cluster_uid, uid);
}

static int open_watches(struct local *l, osmo_error_t *err)
{
    _cleanup_free_ char *status = str_printf("%s/status", l->state_dir);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    l->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->epoll_fd < 0 || l->inotify_fd < 0 || !status || inotify_add_watch(l->inotify_fd, status, IN_MOVED_TO) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot watch %s: %s", status ? status : "", strerror(errno));
    return 0;
}

static int prepare(struct local *l, const osmo_cluster_options_t *o, osmo_error_t *err)
{
    /* What came later does not pass by, or a large group would wait for ever; and every pod has to do with the one node. */
    const struct place_options placement = {.any_node = true, .strict_order = true};
    bool no_sandbox = false;
    char host[256] = "localhost";
    int rc = 0;
    gethostname(host, sizeof(host) - 1);
    l->namespace_ = str_dup(o->namespace_ ? o->namespace_ : "default");
    l->node_name = str_dup(host);
    l->state_dir = realpath(o->state_dir, NULL);
    l->pods = map_new(pod_free);
    l->objects = map_new(object_free);
    l->addresses = calloc(1, 1u << 21);
    if (!l->namespace_ || !l->node_name || !l->pods || !l->objects || !l->addresses)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!l->state_dir)
        return osmo_error_set(err, OSMO_EIO, "cannot use %s: %s", o->state_dir, strerror(errno));
    rc = place_new(&placement, &l->place, err);
    for (const char *const *s = o->settings; rc == 0 && s && *s; s++)
        rc = read_setting(l, *s, &no_sandbox, err);
    if (rc == 0)
        rc = find_programs(l, err);
    if (rc == 0)
        rc = take_state_dir(l, err);
    if (rc == 0)
        rc = make_dirs(l, err);
    if (rc == 0)
        rc = trash_empty(l, err);
    if (rc == 0)
        rc = probe_isolation(l, no_sandbox, err);
    if (rc == 0)
        rc = load_uid(l, err);
    if (rc == 0)
        rc = node_init(l, err);
    if (rc == 0)
        rc = open_watches(l, err);
    if (rc == 0)
        rc = net_open(l, err);
    return rc;
}

static int local_open(const osmo_cluster_options_t *o, const osmo_cluster_sink_t *sink, void **impl, osmo_error_t *err)
{
    if (!o->state_dir)
        return osmo_error_set(err, OSMO_EINVAL, "the local cluster needs a state directory");
    int rc = dir_make(o->state_dir, 0700, err);
    struct local *l = rc < 0 ? NULL : calloc(1, sizeof(*l));
    if (!l)
        return rc < 0 ? rc : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    l->lock_fd = l->epoll_fd = l->inotify_fd = l->event_fd = l->timer_fd = -1;
    l->net.cluster_fd = l->net.user_fd = l->net.users_fd = l->net.pidfd = -1;
    l->cpu_overcommit = DEFAULT_OVERCOMMIT;
    l->sink = *sink;
    pthread_mutex_init(&l->lock, NULL);
    rc = prepare(l, o, err);
    if (rc == 0)
        rc = object_load_all(l, err);
    if (rc == 0) {
        char *text = json_to_text(l->node);
        report_push(l, REPORT_NODE, OSMO_CHANGE_ADDED, text, text ? strlen(text) : 0);
        rc = pods_load(l, err);
    }
    if (rc == 0)
        rc = loop_start(l, err);
    if (rc < 0) {
        local_close(l);
        return rc;
    }
    if (str_eq(l->isolation, "plain") && l->sink.log)
        l->sink.log(l->sink.ctx, 30,
                    "tasks run as plain processes without a sandbox: they can read and change what this user can");
    *impl = l;
    return 0;
}

static const char *local_uid(void *impl)
{
    return ((struct local *)impl)->cluster_uid;
}

static int create_pod(struct local *l, const char *name, json_t *v, osmo_error_t *err)
{
    struct pod *p = map_get(l->pods, name), *fresh = NULL;
    if (p)
        return osmo_error_set(err, p->deleting ? OSMO_EBUSY : OSMO_EEXISTS,
                              p->deleting ? "pod %s is being removed" : "pod %s already exists", name);
    if (json_len(json_path(v, "spec", "containers", NULL)) == 0)
        return osmo_error_set(err, OSMO_EINVAL, "pod %s has no containers", name);
    if (map_len(l->pods) >= LOCAL_MAX_PODS)
        return osmo_error_set(err, OSMO_ELIMIT, "the local cluster holds at most %d pods", LOCAL_MAX_PODS);
    json_set_int(json_get(v, "metadata"), "generation", ++l->next_seq);
    int rc = pod_new(l, v, &fresh, err);
    if (rc < 0)
        return rc;
    fresh->seq = l->next_seq;
    _cleanup_free_ char *dir = pod_path(l, fresh, ""), *stale = str_printf("%s/status/%s.json", l->state_dir, name);
    if (stale)
        unlink(stale); /* of a removal that a crash cut short */
    rc = dir ? dir_make(dir, 0700, err) : OSMO_ENOMEM;
    if (rc == 0)
        rc = pod_save(l, fresh, true, err);
    if (rc == 0)
        rc = place_pod(l->place, v, fresh->seq, NULL, err);
    if (rc < 0) {
        if (dir)
            dir_discard(l, dir, NULL);
        pod_free(fresh);
        return rc;
    }
    l->place_needed = true;
    rc = map_set(l->pods, name, fresh);
    if (rc < 0)
        place_pod_gone(l->place, name);
    return rc;
}

static int put(struct local *l, const char *json, size_t len, bool exists, osmo_error_t *err)
{
    _cleanup_json_ json_t *v = NULL;
    int rc = json_parse(json, len, &v, err);
    if (rc < 0)
        return rc;
    const char *kind = json_get_str(v, "kind"), *name = json_get_str(json_get(v, "metadata"), "name");
    if (!name_ok(kind) || !name_ok(name))
        return osmo_error_set(err, OSMO_EINVAL, "an object needs a kind and a metadata.name");
    if (exists && str_eq(kind, "Pod"))
        return osmo_error_set(err, OSMO_EINVAL, "a Pod cannot be replaced");
    pthread_mutex_lock(&l->lock);
    rc = str_eq(kind, "Pod") ? create_pod(l, name, v, err) : object_put(l, kind, name, v, exists, err);
    pthread_mutex_unlock(&l->lock);
    if (rc == 0)
        loop_wake(l);
    return rc;
}

static int local_create(void *impl, const char *json, size_t len, osmo_error_t *err)
{
    return put(impl, json, len, false, err);
}

static int local_replace(void *impl, const char *json, size_t len, osmo_error_t *err)
{
    return put(impl, json, len, true, err);
}

static int local_erase(void *impl, const char *api_version, const char *kind, const char *name, osmo_error_t *err)
{
    struct local *l = impl;
    (void)api_version;
    if (!name_ok(kind) || !name_ok(name) || str_eq(kind, "Pod"))
        return osmo_error_set(err, OSMO_EINVAL, "a kind, other than Pod, and a name are needed");
    pthread_mutex_lock(&l->lock);
    int rc = object_erase(l, kind, name, err);
    pthread_mutex_unlock(&l->lock);
    loop_wake(l);
    return rc;
}

static int remove_pods(struct local *l, const char *selector, bool force)
{
    size_t it = 0;
    const char *name;
    void *v;
    int n = 0;
    while (map_next(l->pods, &it, &name, &v)) {
        struct pod *p = v;
        if (!selector_match(p->labels, selector) || (p->deleting && (p->force || !force)))
            continue;
        _cleanup_free_ char *mark = pod_path(l, p, "deleting");
        const char *how = force ? "force" : "grace";
        if (mark)
            file_write_atomic(mark, how, strlen(how), 0600, false, NULL); /* so that a restart goes on with it */
        n += !p->deleting;
        p->deleting = true;
        p->force = force;
        p->kill_at_us = 0;
        if (p->state == POD_PENDING)
            place_pod_gone(l->place, p->name);
        l->place_needed = true;
    }
    return n;
}

static int local_remove(void *impl, const char *api_version, const char *kind, const char *selector, int force,
                        osmo_error_t *err) {
    struct local *l = impl;
    (void)api_version;
    if (!name_ok(kind))
        return osmo_error_set(err, OSMO_EINVAL, "a kind is needed");
    pthread_mutex_lock(&l->lock);
    int rc = str_eq(kind, "Pod") ? remove_pods(l, selector, force) : object_remove_all(l, kind, selector, err);
    pthread_mutex_unlock(&l->lock);
    loop_wake(l);
    return rc;
}

/* Texts of what matches, so that the callback runs without the mutex. */
static int snapshot(struct local *l, const char *kind, const char *selector, strlist_t *out)
{
    size_t it = 0, len;
    const char *name;
    void *v;
    int rc = 0;
    if (str_eq(kind, "Node")) {
        _cleanup_free_ char *text = json_to_text(l->node);
        return selector_match(json_path(l->node, "metadata", "labels", NULL), selector)
                   ? strlist_add(out, text ? text : "{}")
                   : 0;
    }
    if (str_eq(kind, "Pod")) {
        while (rc == 0 && map_next(l->pods, &it, &name, &v)) {
            struct pod *p = v;
            _cleanup_free_ char *text = selector_match(p->labels, selector) ? pod_text(p, &len) : NULL;
            if (text)
                rc = strlist_add(out, text);
        }
        return rc;
    }
    while (rc == 0 && map_next(l->objects, &it, &name, &v)) {
        struct object *o = v;
        _cleanup_json_ json_t *tree = NULL;
        if (!str_eq(o->kind, kind) || !selector_match(o->labels, selector) ||
            object_read(l, kind, o->name, &tree, NULL) < 0)
            continue;
        _cleanup_free_ char *text = json_to_text(tree);
        if (text)
            rc = strlist_add(out, text);
    }
    return rc;
}

static int local_list(void *impl, const char *api_version, const char *kind, const char *selector,
                      osmo_cluster_object_fn fn, void *ctx, osmo_error_t *err) {
    struct local *l = impl;
    strlist_t found = {0};
    (void)api_version;
    if (!name_ok(kind))
        return osmo_error_set(err, OSMO_EINVAL, "a kind is needed");
    pthread_mutex_lock(&l->lock);
    int rc = snapshot(l, kind, selector, &found);
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; rc == 0 && i < found.len; i++)
        if (fn(ctx, found.items[i], strlen(found.items[i])) != 0)
            break;
    strlist_free(&found);
    return rc < 0 ? osmo_error_set(err, rc, "cannot list %s", kind) : 0;
}

static int local_logs(void *impl, const char *pod, const char *container, int tail, osmo_cluster_object_fn fn,
                      void *ctx, osmo_error_t *err) {
    struct local *l = impl;
    _cleanup_buf_ buf_t text = BUF_INIT(4 * 1024 * 1024);
    if (!name_ok(pod) || !name_ok(container))
        return osmo_error_set(err, OSMO_EINVAL, "a pod and a container are needed");
    pthread_mutex_lock(&l->lock);
    bool known = map_has(l->pods, pod);
    pthread_mutex_unlock(&l->lock);
    if (!known)
        return osmo_error_set(err, OSMO_ENOTFOUND, "there is no pod %s", pod);
    _cleanup_free_ char *old = str_printf("%s/pods/%s/logs/%s.log.1", l->state_dir, pod, container);
    _cleanup_free_ char *now = str_printf("%s/pods/%s/logs/%s.log", l->state_dir, pod, container);
    if (!old || !now)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    file_read(old, &text, NULL); /* neither has to exist */
    file_read(now, &text, NULL);
    size_t from = text.len;
    for (int lines = 0; from > 0 && tail > 0; from--)
        if (text.data[from - 1] == '\n' && from != text.len && ++lines == tail)
            break;
    if (tail <= 0)
        from = 0;
    while (from < text.len) {
        size_t n = text.len - from < 65536 ? text.len - from : 65536;
        if (fn(ctx, text.data + from, n) != 0)
            break;
        from += n;
    }
    return 0;
}

static int patch_pod(struct local *l, const char *name, const json_t *patch, osmo_error_t *err)
{
    struct pod *p = map_get(l->pods, name);
    _cleanup_json_ json_t *m = p ? pod_manifest(p) : NULL;
    if (!p)
        return osmo_error_set(err, OSMO_ENOTFOUND, "there is no pod %s", name);
    int rc = m ? json_merge_patch(m, patch) : OSMO_ENOMEM;
    if (rc == 0)
        rc = pod_set_manifest(p, m);
    if (rc == 0)
        rc = pod_save(l, p, false, err);
    p->changed = true;
    return rc;
}

static int local_patch(void *impl, const char *api_version, const char *kind, const char *name, const char *json,
                       size_t len, osmo_error_t *err) {
    struct local *l = impl;
    _cleanup_json_ json_t *patch = NULL;
    int rc = json_parse(json, len, &patch, err);
    (void)api_version;
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&l->lock);
    if (str_eq(kind, "Pod")) {
        rc = patch_pod(l, name, patch, err);
    } else if (str_eq(kind, "Node")) {
        rc = str_eq(name, l->node_name) ? json_merge_patch(l->node, patch)
                                        : osmo_error_set(err, OSMO_ENOTFOUND, "there is no node %s", name);
        if (rc == 0)
            rc = place_node(l->place, l->node, err);
        l->place_needed = true;
        char *text = rc == 0 ? json_to_text(l->node) : NULL;
        if (text)
            report_push(l, REPORT_NODE, OSMO_CHANGE_MODIFIED, text, strlen(text));
    } else {
        rc = osmo_error_set(err, OSMO_EINVAL, "the local cluster patches pods and nodes only, not %s", kind);
    }
    pthread_mutex_unlock(&l->lock);
    loop_wake(l);
    return rc;
}

static int local_describe(void *impl, char *out, size_t cap)
{
    const struct local *l = impl;
    snprintf(out, cap, "%s", l->net.shown ? l->net.shown : "");
    return 0;
}

const osmo_cluster_driver_t local_cluster_driver = {
    .size = sizeof(osmo_cluster_driver_t),
    .name = "local",
    .open = local_open,
    .uid = local_uid,
    .create = local_create,
    .remove = local_remove,
    .list = local_list,
    .logs = local_logs,
    .patch = local_patch,
    .close = local_close,
    .replace = local_replace,
    .erase = local_erase,
    .describe = local_describe,
};
