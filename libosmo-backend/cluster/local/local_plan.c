/* From a pod's manifest to what its supervisor runs: directories, volumes and plan.json. Called at admission, mutex
 * held. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "cluster/local/local_int.h"

static bool is_runtime_image(const struct local *l, const char *image)
{
    return image && (strstr(image, "osmo/runtime") || strstr(image, "osmo/init-container") ||
                     strstr(image, "osmo/client") || strlist_has(&l->runtime_images, image));
}

/* The directory given for an image: by its full reference, else by its name without tag and digest. */
static const char *rootfs_of(const struct local *l, const char *image)
{
    size_t full = strlen(image ? image : ""), bare = strcspn(image ? image : "", "@");
    const char *slash = memrchr(image ? image : "", '/', bare), *colon = memrchr(image ? image : "", ':', bare);
    if (colon && (!slash || colon > slash))
        bare = (size_t)(colon - image);
    const char *found = "/";
    for (size_t i = 0; image && i < l->images.len; i++) {
        const char *given = l->images.items[i];
        size_t n = strcspn(given, "=");
        if (n == full && memcmp(given, image, n) == 0)
            return given + n + 1;
        if (n == bare && memcmp(given, image, n) == 0)
            found = given + n + 1;
    }
    return found;
}

static int private_file(const struct local *l, const struct pod *p, const char *kind, const char *name, bool dir,
                        osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/pods/%s/%s/%s", l->state_dir, p->name, kind, name);
    _cleanup_close_ int fd = -1;
    mode_t mode = dir ? 01777 : 0666;
    uid_t uid = LOCAL_UID_BASE + p->address;
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *strrchr(path, '/') = '\0';
    int rc = dir_make(path, 0711, err);
    path[strlen(path)] = '/';
    if (rc == 0 && dir)
        rc = dir_make(path, mode, err);
    else if (rc == 0 && (fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode)) < 0)
        rc = osmo_error_set(err, OSMO_EIO, "cannot make %s: %s", path, strerror(errno));
    if (rc == 0 && (chmod(path, mode) < 0 || (str_eq(l->isolation, "mapped") && chown(path, uid, uid) < 0)))
        rc = osmo_error_set(err, OSMO_EIO, "cannot open up %s: %s", path, strerror(errno));
    return rc;
}

static void add_mount(json_t *list, const char *source, const char *sub, const char *target, bool ro)
{
    json_t *m = json_object();
    json_set_str(m, "source", source);
    if (sub)
        json_set_str(m, "sub", sub);
    json_set_str(m, "target", target);
    json_set_bool(m, "ro", ro);
    json_add(list, m);
}

static size_t depth(const char *path)
{
    size_t n = 0;
    for (; *path; path++)
        n += *path == '/' && path[1] && path[1] != '/';
    return n;
}

/* Parents before children; equal depths keep their order. */
static json_t *sort_mounts(const json_t *mounts)
{
    json_t *out = json_array();
    for (size_t d = 0, done = 0; done < json_len(mounts) && d < 64; d++)
        for (size_t i = 0; i < json_len(mounts); i++)
            if (depth(json_get_str(json_at(mounts, i), "target")) == d) {
                json_add(out, json_ref(json_at(mounts, i)));
                done++;
            }
    return out;
}

static int add_volume_mounts(const struct local *l, const struct pod *p, const json_t *manifest,
                             const json_t *container, json_t *list, osmo_error_t *err) {
    const json_t *mounts = json_get(container, "volumeMounts");
    for (size_t i = 0; i < json_len(mounts); i++) {
        const json_t *m = json_at(mounts, i);
        const char *name = json_get_str(m, "name"), *at = json_get_str(m, "mountPath"),
                   *sub = json_get_str(m, "subPath");
        _cleanup_free_ char *source = name ? volume_source(l, p, manifest, name) : NULL;
        if (!at || at[0] != '/' || strstr(at, "/../") || str_ends(at, "/.."))
            return osmo_error_set(err, OSMO_EINVAL, "a volumeMount needs an absolute mountPath");
        if (!source)
            return osmo_error_set(err, OSMO_EINVAL, "mount %s: there is no volume \"%s\"", at, name ? name : "");
        if (str_eq(l->isolation, "plain") && !rewrite_possible(at))
            return osmo_error_set(
                err, OSMO_EINVAL,
                "%s cannot be provided without a sandbox: use a path below /osmo or /tmp, or install bubblewrap", at);
        _cleanup_free_ char *clean = str_dup(at);
        for (size_t n = clean ? strlen(clean) : 0; n > 1 && clean[n - 1] == '/'; n--)
            clean[n - 1] = '\0';
        if (!clean)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        add_mount(list, source, sub, clean, json_get_bool(m, "readOnly", false));
    }
    return 0;
}

static int build_mounts(const struct local *l, const struct pod *p, const json_t *manifest, const json_t *container,
                        bool runtime, json_t **out, osmo_error_t *err) {
    const char *name = json_get_str(container, "name"), *term = json_get_str(container, "terminationMessagePath");
    bool plain = str_eq(l->isolation, "plain");
    _cleanup_json_ json_t *list = json_array();
    _cleanup_free_ char *tmp = str_printf("%s/pods/%s/tmp/%s", l->state_dir, p->name, name);
    _cleanup_free_ char *message = str_printf("%s/pods/%s/term/%s", l->state_dir, p->name, name);
    _cleanup_free_ char *hosts = hosts_path(l, p);
    if (!list || !tmp || !message || !hosts)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    add_mount(list, tmp, NULL, "/tmp", false);
    if (!plain) {
        add_mount(list, message, NULL, term && term[0] == '/' ? term : "/dev/termination-log", false);
        add_mount(list, hosts, NULL, "/etc/hosts", true);
        if (net_has(l, p) && l->net.resolv)
            add_mount(list, l->net.resolv, NULL, "/etc/resolv.conf", true);
        if (runtime)
            add_mount(list, l->runtime_dir, NULL, "/osmo_runtime", true);
        if (runtime && l->ca_file)
            add_mount(list, l->ca_file, NULL, CA_IN_POD, true);
    }
    int rc = add_volume_mounts(l, p, manifest, container, list, err);
    if (rc == 0)
        *out = sort_mounts(list);
    return rc;
}

static int add_words(const struct local *l, const json_t *words, const json_t *env, const char *root, json_t *argv,
                     osmo_error_t *err) {
    for (size_t i = 0; i < json_len(words); i++) {
        const char *word = json_str(json_at(words, i));
        _cleanup_free_ char *full = word ? env_expand(env, word) : NULL;
        _cleanup_free_ char *moved = full && str_eq(l->isolation, "plain")
                                         ? rewrite_text(full, strlen(full), root, NULL)
                                         : NULL;
        if (!full)
            return osmo_error_set(err, OSMO_EINVAL, "command and args must be texts of at most 1 MiB");
        json_add_str(argv, moved ? moved : full);
    }
    return 0;
}

static int build_argv(const struct local *l, const json_t *container, const json_t *env, const char *root, json_t *argv,
                      osmo_error_t *err) {
    const json_t *command = json_get(container, "command");
    const char *program = json_str(json_at(command, 0));
    if (!program)
        return osmo_error_set(err, OSMO_EINVAL,
                              "container %s has no command: the local cluster does not know the entry points of images",
                              json_get_str(container, "name"));
    int rc = add_words(l, command, env, root, argv, err);
    if (rc == 0)
        rc = add_words(l, json_get(container, "args"), env, root, argv, err);
    if (rc == 0 && str_eq(l->isolation, "plain") && (str_eq(program, "osmo_init") || str_ends(program, "/osmo_init"))) {
        /* two places it knows without being told */
        _cleanup_free_ char *binaries = str_printf("%s/osmo_binaries", root), *secrets = str_printf("%s/osmo", root);
        json_add_str(argv, "--binaries_location");
        json_add_str(argv, binaries);
        json_add_str(argv, "--secrets_location");
        json_add_str(argv, secrets);
    }
    return rc;
}

static json_t *env_words(const struct local *l, const json_t *env, const char *root)
{
    json_t *list = json_array();
    json_iter_t it = json_iter(env);
    while (json_iter_next(&it)) {
        const char *value = json_str(it.value);
        bool of_host = str_eq(it.key, "PATH") || (l->ca_file && str_eq(it.key, "SSL_CERT_FILE") && str_eq(value, l->ca_file));
        _cleanup_free_ char *moved = value && str_eq(l->isolation, "plain") && !of_host
                                         ? rewrite_text(value, strlen(value), root, NULL)
                                         : NULL;
        _cleanup_free_ char *word = str_printf("%s=%s", it.key, moved ? moved : value ? value : "");
        json_add_str(list, word);
    }
    return list;
}

static int build_container(struct local *l, const struct pod *p, const json_t *manifest, const json_t *container,
                           bool init, json_t *list, osmo_error_t *err) {
    const char *name = json_get_str(container, "name"), *image = json_get_str(container, "image"),
               *cwd = json_get_str(container, "workingDir");
    bool runtime = is_runtime_image(l, image) && l->runtime_dir;
    _cleanup_json_ json_t *env = NULL, *c = json_object(), *argv = json_array(), *mounts = NULL;
    if (!name_ok(name))
        return osmo_error_set(err, OSMO_EINVAL, "a container has a bad name");
    _cleanup_free_ char *root = str_printf("%s/pods/%s/root/%s", l->state_dir, p->name, name);
    if (!c || !argv || !root)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = private_file(l, p, "tmp", name, true, err);
    if (rc == 0)
        rc = private_file(l, p, "term", name, false, err);
    if (rc == 0)
        rc = env_build(l, p, manifest, container, runtime, &env, err);
    if (rc == 0)
        rc = build_argv(l, container, env, root, argv, err);
    if (rc == 0)
        rc = build_mounts(l, p, manifest, container, runtime, &mounts, err);
    if (rc < 0)
        return rc;
    _cleanup_free_ char *moved = cwd && str_eq(l->isolation, "plain") ? rewrite_text(cwd, strlen(cwd), root, NULL)
                                                                      : NULL;
    json_set_str(c, "name", name);
    json_set_str(c, "image", image ? image : "");
    json_set_bool(c, "init", init);
    json_set_str(c, "rootfs", runtime ? "/" : rootfs_of(l, image));
    json_set_str(c, "cwd", moved ? moved : cwd ? cwd : "/");
    json_set(c, "argv", STEAL(argv));
    json_set(c, "env", env_words(l, env, root));
    json_set(c, "mounts", STEAL(mounts));
    return json_add(list, STEAL(c));
}

static int build_containers(struct local *l, const struct pod *p, const json_t *manifest, json_t *list,
                            osmo_error_t *err) {
    static const char *const keys[] = {"initContainers", "containers"};
    int rc = 0;
    for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
        const json_t *from = json_path(manifest, "spec", keys[k], NULL);
        for (size_t i = 0; rc == 0 && i < json_len(from); i++)
            rc = build_container(l, p, manifest, json_at(from, i), k == 0, list, err);
    }
    return rc;
}

static json_t *hide_list(const struct local *l)
{
    json_t *list = json_array();
    json_add_str(list, l->state_dir);
    for (size_t i = 0; i < l->hide.len; i++)
        json_add_str(list, l->hide.items[i]);
    return list;
}

int plan_build(struct local *l, struct pod *p, osmo_error_t *err)
{
    static const char *const dirs[] = {"logs", "home", "volumes"};
    _cleanup_json_ json_t *manifest = pod_manifest(p), *plan = json_object(), *list = json_array();
    _cleanup_free_ char *path = pod_path(l, p, "plan.json");
    if (!manifest || !plan || !list || !path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(dirs); i++) {
        _cleanup_free_ char *dir = pod_path(l, p, dirs[i]);
        rc = dir_make(dir, 0700, err);
    }
    if (rc == 0)
        rc = volumes_build(l, p, manifest, err);
    if (rc == 0)
        rc = build_containers(l, p, manifest, list, err);
    if (rc < 0)
        return rc;
    json_set_str(plan, "name", p->name);
    json_set_str(plan, "hostname", p->hostname ? p->hostname : p->name);
    json_set_str(plan, "isolation", l->isolation);
    json_set_str(plan, "bwrap", l->bwrap);
    json_set_int(plan, "address", p->address);
    json_set_int(plan, "ip", p->ip);
    if (net_has(l, p))
        json_set(plan, "network", net_plan(l, p));
    json_set_int(plan, "uid", (int64_t)LOCAL_UID_BASE + p->address);
    json_set_int(plan, "grace", p->grace_s);
    json_set(plan, "hide", hide_list(l));
    json_set(plan, "status", status_scheduled(l, p, manifest, false));
    json_set(plan, "containers", STEAL(list));
    _cleanup_free_ char *text = json_to_text(plan);
    return text ? file_write_atomic(path, text, strlen(text), 0600, false, err)
                : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}
