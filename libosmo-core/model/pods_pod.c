/* One pod before the pool's templates: containers, volumes, mounts, arguments in OSMO's order. Called by pods.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/pods_internal.h"

#define DATA_OUTPUT "/osmo/data/output/"

struct mount { const char *volume, *path, *sub_path; bool read_only; };

static void add_mount(struct pod_build *b, json_t *mounts, const struct mount *m)
{
    json_t *v = pods_object(b);
    pods_put_text(b, v, "name", m->volume);
    pods_put_text(b, v, "mountPath", m->path);
    if (m->sub_path)
        pods_put_text(b, v, "subPath", m->sub_path);
    if (m->read_only)
        pods_put(b, v, "readOnly", json_bool_new(true));
    pods_add(b, mounts, v);
}

static void add_mounts(struct pod_build *b, json_t *mounts, const struct mount *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_mount(b, mounts, &list[i]);
}

static void mount_user_files(struct pod_build *b, const struct pod_task *t, json_t *mounts, bool outputs_only)
{
    for (size_t i = 0; i < t->nfiles; i++) {
        const char *path = t->files[i].path;
        struct mount m = { t->files[i].secret, path, pods_base_name(path), false };
        if (!outputs_only || str_starts(path, DATA_OUTPUT))
            add_mount(b, mounts, &m);
    }
}

static bool is_default_mount(const struct pod_task *t, const char *src)
{
    return strlist_has(&t->platform->default_mounts, src);
}

/* Source and destination of a volumeMounts item; false when the platform mounts it anyway. */
static bool split_mount(struct pod_build *b, const struct pod_task *t, size_t i, char **src, const char **dst)
{
    const char *text = t->spec.volume_mounts.items[i], *colon = strchr(text, ':');
    *src = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
    *dst = colon ? colon + 1 : text;
    b->oom |= !*src;
    return *src && !is_default_mount(t, *src);
}

static void mount_host_paths(struct pod_build *b, const struct pod_task *t, json_t *mounts)
{
    for (size_t i = 0; i < t->spec.volume_mounts.len; i++) {
        _cleanup_free_ char *src = NULL;
        char name[48];
        struct mount m = { name, NULL, NULL, false };
        snprintf(name, sizeof(name), "host-mount-%zu", i);
        if (split_mount(b, t, i, &src, &m.path))
            add_mount(b, mounts, &m);
    }
}

static json_t *env_value(struct pod_build *b, const char *name, const char *value)
{
    json_t *v = pods_object(b);
    pods_put_text(b, v, "name", name);
    pods_put_text(b, v, "value", value);
    return v;
}

static json_t *env_from(struct pod_build *b, const char *name, const char *kind, json_t *source)
{
    json_t *v = pods_object(b), *from = pods_object(b);
    pods_put(b, from, kind, source);
    pods_put_text(b, v, "name", name);
    pods_put(b, v, "valueFrom", from);
    return v;
}

static json_t *env_secret(struct pod_build *b, const char *name, const char *suffix, const char *key)
{
    json_t *ref = pods_object(b);
    _cleanup_free_ char *secret = str_printf("%s-%s", b->c->group_uuid, suffix);
    pods_put_text(b, ref, "name", secret);
    pods_put_text(b, ref, "key", key);
    return env_from(b, name, "secretKeyRef", ref);
}

static json_t *env_config_dir(struct pod_build *b)
{
    return env_secret(b, "OSMO_CONFIG_FILE_DIR", "file-dir", "fileDir");
}

static void add_option(struct pod_build *b, json_t *args, const char *name, const char *value)
{
    pods_add_text(b, args, name);
    pods_add_text(b, args, value);
}

static void add_format(struct pod_build *b, json_t *args, const char *name, char *value)
{
    if (value)
        add_option(b, args, name, value);
    else
        b->oom = true;
    free(value);
}

static json_t *container(struct pod_build *b, const char *name, const char *image, const char *command, json_t *args)
{
    json_t *v = pods_object(b), *words = pods_array(b);
    pods_add_text(b, words, command);
    pods_put_text(b, v, "name", name);
    pods_put_text(b, v, "image", image);
    pods_put_text(b, v, "imagePullPolicy", "Always");
    pods_put(b, v, "command", words);
    pods_put(b, v, "args", args);
    return v;
}

/* ---- the user's container ---- */

static void rsync_args(struct pod_build *b, json_t *args)
{
    const struct pod_rsync *r = b->c->rsync;
    _cleanup_buf_ buf_t paths = BUF_INIT(1u << 20);

    if (!r)
        return;
    pods_add_text(b, args, "-enableRsync");
    add_format(b, args, "-rsyncReadLimit", str_printf("%lld", (long long)r->read_limit));
    add_format(b, args, "-rsyncWriteLimit", str_printf("%lld", (long long)r->write_limit));
    for (size_t i = 0; i < r->npaths; i++)
        buf_printf(&paths, "%s%s:%s:%s", i ? "," : "", r->paths[i].module, r->paths[i].path,
                   r->paths[i].writable ? "true" : "false");
    b->oom |= buf_failed(&paths);
    if (r->npaths > 0)
        add_option(b, args, "-rsyncPathAllowList", buf_cstr(&paths));
}

static json_t *user_args(struct pod_build *b, const struct pod_task *t)
{
    json_t *args = pods_array(b);
    for (size_t i = 0; i < t->spec.ncheckpoints; i++) {
        const struct spec_checkpoint *c = &t->spec.checkpoints[i];
        add_format(b, args, "-checkpoint", str_printf("%s%s;%s;%lld;%s", c->path[0] == '/' ? "" : "/", c->path, c->url,
                                                      (long long)(c->frequency_us / 1000000), c->regex));
    }
    add_option(b, args, "-socketPath", "/osmo/data/socket/data.sock");
    add_option(b, args, "-userBinPath", "/osmo/usr/bin");
    rsync_args(b, args);
    for (size_t i = 0; i < t->spec.command.len; i++)
        add_option(b, args, "-commands", t->spec.command.items[i]);
    for (size_t i = 0; i < t->spec.args.len; i++)
        add_option(b, args, "-args", t->spec.args.items[i]);
    return args;
}

static json_t *user_env(struct pod_build *b, const struct pod_task *t)
{
    json_t *env = pods_array(b);
    for (size_t i = 0; i < t->spec.nenv; i++)
        pods_add(b, env, env_value(b, t->spec.env[i].name, t->spec.env[i].value));
    for (json_iter_t it = json_iter(t->spec.credentials); json_iter_next(&it);)
        for (json_iter_t in = json_iter(it.value); json_iter_next(&in);) {
            _cleanup_free_ char *key = str_printf("%s.%s", it.key, json_str(in.value));
            b->oom |= !key;
            pods_add(b, env, env_secret(b, in.key, "user-secrets", key));
        }
    pods_add(b, env, env_config_dir(b));
    if (!t->resource->has_gpu || t->resource->gpu <= 0)
        pods_add(b, env, env_value(b, "NVIDIA_VISIBLE_DEVICES", ""));
    return env;
}

static json_t *user_container(struct pod_build *b, const struct pod_task *t)
{
    static const struct mount fixed[] = {
        { "osmo", "/osmo/bin/osmo_exec", "osmo/osmo_exec", true },
        { "osmo-data", "/osmo/data/socket", "socket", false },
        { "osmo-data", "/osmo/data/input", "input", false },
        { "osmo-data", "/osmo/data/output", "output", false },
        { "osmo-data", "/osmo/data/benchmarks", "benchmarks", false },
        { "osmo-login", "/osmo/login/config", "user/config", false },
        { "osmo-usr-bin", "/osmo/usr/bin", NULL, true },
        { "osmo-run", "/osmo/run", NULL, false },
    };
    char name[64];
    json_t *security = pods_object(b), *mounts = pods_array(b);

    kube_name(t->spec.name, name);
    json_t *v = container(b, name, t->spec.image, "/osmo/bin/osmo_exec", user_args(b, t));
    add_mounts(b, mounts, fixed, ARRAY_SIZE(fixed));
    mount_user_files(b, t, mounts, false);
    mount_host_paths(b, t, mounts);
    pods_put(b, security, "privileged", json_bool_new(t->spec.privileged));
    pods_put(b, v, "env", user_env(b, t));
    pods_put(b, v, "volumeMounts", mounts);
    pods_put(b, v, "securityContext", security);
    return v;
}

/* Our own images: one that is said to be on the nodes already, as builders of images name what no registry has, is not asked for. */
static void relax_pull_policy(struct pod_build *b, json_t *container)
{
    const char *image = json_get_str(container, "image");
    if (image && str_starts(image, "localhost/"))
        pods_put_text(b, container, "imagePullPolicy", "IfNotPresent");
}

/* ---- osmo-ctrl ---- */

static void add_inputs(struct pod_build *b, const struct pod_task *t, json_t *args)
{
    for (size_t i = 0; i < t->spec.ninputs; i++) {
        const struct spec_input *in = &t->spec.inputs[i];
        if (in->task)
            add_format(b, args, "-inputs", str_printf("task:%zu,%s/%s/%s,%s", i, b->endpoint,
                                                      in->workflow ? in->workflow : b->c->workflow_id, in->task,
                                                          in->regex));
        else
            add_format(b, args, "-inputs", str_printf("url:%zu,%s,%s", i, in->url, in->regex));
    }
}

static void add_outputs(struct pod_build *b, const struct pod_task *t, json_t *args)
{
    if (b->group->has_downstream || t->spec.noutputs == 0)
        add_format(b, args, "-outputs", str_printf("task:%s", t->data_url));
    for (size_t i = 0; i < t->spec.nkpis; i++) {
        const char *path = t->spec.kpis[i].path, *slash = strrchr(path, '/');
        add_format(b, args, "-outputs", str_printf("kpi:%s%s%.*s,%s", t->data_url, slash ? "/" : "",
                                                   slash ? (int)(slash - path) : 0, path, path));
    }
    for (size_t i = 0; i < t->spec.noutputs; i++)
        add_format(b, args, "-outputs", str_printf("url:%s,%s", t->spec.outputs[i].url, t->spec.outputs[i].regex));
}

static json_t *ctrl_args(struct pod_build *b, const struct pod_task *t)
{
    const struct settings *s = b->c->settings;
    json_t *args = pods_array(b);

    add_option(b, args, "-socketPath", "/osmo/data/socket/data.sock");
    add_option(b, args, "-inputPath", "/osmo/data/input/");
    add_option(b, args, "-outputPath", DATA_OUTPUT);
    add_option(b, args, "-metadataFile", "/osmo/data/default_metadata.yaml");
    add_format(b, args, "-timeout", str_printf("%lld", (long long)s->websocket_timeout_min));
    add_format(b, args, "-dataTimeout", str_printf("%lld", (long long)s->data_timeout_min));
    add_option(b, args, "-workflow", b->c->workflow_id);
    add_option(b, args, "-groupName", b->group->name);
    add_format(b, args, "-retryId", str_printf("%lld", (long long)t->ids->retry_id));
    add_option(b, args, "-logSource", t->spec.name);
    add_option(b, args, "-host", b->host);
    add_format(b, args, "-port", str_printf("%d", b->port));
    add_option(b, args, "-scheme", b->tls ? "wss" : "ws");
    add_option(b, args, "-refreshToken", "/osmo/.refresh_token");
    add_option(b, args, "-refreshScheme", b->tls ? "https" : "http");
    if (b->group->ntasks >= 2 && b->group->barrier)
        add_option(b, args, "-barrier", "osmo-group-ready");
    add_inputs(b, t, args);
    add_outputs(b, t, args);
    add_option(b, args, "-userConfig", "/osmo/user_config.yaml");
    add_option(b, args, "-serviceConfig", "/osmo/service_config.yaml");
    return args;
}

static json_t *ctrl_env(struct pod_build *b, const struct pod_task *t)
{
    json_t *env = pods_array(b), *field = pods_object(b);
    char cpus[24];
    pods_add(b, env, env_config_dir(b));
    pods_put_text(b, field, "fieldPath", "spec.nodeName");
    pods_add(b, env, env_from(b, "OSMO_NODE_NAME", "fieldRef", field));
    if (t->resource->has_cpu && t->resource->cpu != 0) {
        snprintf(cpus, sizeof(cpus), "%lld", (long long)t->resource->cpu);
        pods_add(b, env, env_value(b, "CPU_COUNT", cpus));
    }
    return env;
}

static json_t *ctrl_container(struct pod_build *b, const struct pod_task *t)
{
    static const struct mount fixed[] = {
        { "osmo", "/osmo/bin/osmo_ctrl", "osmo/osmo_ctrl", true },
        { "osmo-data", "/osmo/data/socket", "socket", false },
        { "osmo-data", "/osmo/data/benchmarks", "benchmarks", false },
        { "osmo-data", "/osmo/data/input", "input", false },
        { "osmo-data", "/osmo/data/output", "output", true },
        { "osmo-login", "/osmo/login/config", "ctrl/config", false },
    };
    const struct mount own[] = {
        { t->own[FILE_USER_CONFIG], "/osmo/user_config.yaml", "user_config.yaml", false },
        { t->own[FILE_SERVICE_CONFIG], "/osmo/service_config.yaml", "service_config.yaml", false },
        { t->own[FILE_METADATA], "/osmo/data/default_metadata.yaml", "default_metadata.yaml", false },
        { t->own[FILE_REFRESH_TOKEN], "/osmo/.refresh_token", ".refresh_token", false },
    };
    json_t *mounts = pods_array(b);
    json_t *v = container(b, "osmo-ctrl", b->c->settings->client_image, "/osmo/bin/osmo_ctrl", ctrl_args(b, t));
    relax_pull_policy(b, v);

    add_mounts(b, mounts, fixed, ARRAY_SIZE(fixed));
    mount_user_files(b, t, mounts, true);
    add_mounts(b, mounts, own, ARRAY_SIZE(own));
    pods_put(b, v, "env", ctrl_env(b, t));
    pods_put(b, v, "volumeMounts", mounts);
    return v;
}

/* ---- osmo-init ---- */

static json_t *amounts(struct pod_build *b, const char *cpu, const char *storage)
{
    json_t *v = pods_object(b);
    pods_put_text(b, v, "cpu", cpu);
    pods_put_text(b, v, "ephemeral-storage", storage);
    return v;
}

static json_t *init_container(struct pod_build *b, const struct pod_task *t)
{
    const struct mount mounts_list[] = {
        { "osmo", "/osmo_binaries", NULL, false },
        { "osmo-data", "/osmo/data", NULL, false },
        { "osmo-login", "/osmo/login", NULL, false },
        { "osmo-usr-bin", "/osmo/usr/bin", NULL, false },
        { "osmo-run", "/osmo/run", NULL, false },
        { t->own[FILE_LOGIN], "/osmo/login.yaml", "login.yaml", false },
        { t->own[FILE_USER_CONFIG], "/osmo/user_config.yaml", "user_config.yaml", false },
    };
    json_t *args = pods_array(b), *mounts = pods_array(b), *resources = pods_object(b);

    add_option(b, args, "--data_location", "/osmo/data");
    add_option(b, args, "--login_location", "/osmo/login");
    add_option(b, args, "--user_bin_location", "/osmo/usr/bin");
    add_option(b, args, "--run_location", "/osmo/run");
    if (b->c->rsync)
        pods_add_text(b, args, "--enable_rsync");
    json_t *v = container(b, "osmo-init", b->c->settings->init_image, "osmo_init", args);
    relax_pull_policy(b, v);
    add_mounts(b, mounts, mounts_list, ARRAY_SIZE(mounts_list));
    pods_put(b, resources, "requests", amounts(b, "250m", "1Gi"));
    pods_put(b, resources, "limits", amounts(b, "500m", "1Gi"));
    pods_put(b, v, "volumeMounts", mounts);
    pods_put(b, v, "resources", resources);
    return v;
}

/* ---- volumes ---- */

/* A secret volume carries its secret's name; one that is already there is mounted again, not declared again. */
static void add_secret_volume(struct pod_build *b, json_t *volumes, map_t *seen, const char *name)
{
    if (map_has(seen, name))
        return;
    b->oom |= map_set(seen, name, NULL) < 0;
    json_t *v = pods_object(b), *secret = pods_object(b);
    pods_put_text(b, secret, "secretName", name);
    pods_put_text(b, v, "name", name);
    pods_put(b, v, "secret", secret);
    pods_add(b, volumes, v);
}

static json_t *volumes(struct pod_build *b, const struct pod_task *t)
{
    static const char *const plain[] = { "osmo", "osmo-data", "osmo-login", "osmo-usr-bin", "osmo-run" };
    static const enum pod_own_file order[] = { FILE_LOGIN, FILE_USER_CONFIG, FILE_SERVICE_CONFIG, FILE_METADATA,
        FILE_REFRESH_TOKEN };
    json_t *list = pods_array(b);
    map_t *seen = map_new(NULL);

    b->oom |= !seen;
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
        json_t *v = pods_object(b);
        pods_put_text(b, v, "name", plain[i]);
        pods_add(b, list, v);
    }
    for (size_t i = 0; i < t->nfiles && seen; i++)
        add_secret_volume(b, list, seen, t->files[i].secret);
    for (size_t i = 0; i < t->spec.volume_mounts.len; i++) {
        _cleanup_free_ char *src = NULL;
        const char *dst;
        char name[48];
        if (!split_mount(b, t, i, &src, &dst))
            continue;
        json_t *v = pods_object(b), *host = pods_object(b);
        snprintf(name, sizeof(name), "host-mount-%zu", i);
        pods_put_text(b, host, "path", src);
        pods_put_text(b, v, "name", name);
        pods_put(b, v, "hostPath", host);
        pods_add(b, list, v);
    }
    for (size_t i = 0; i < ARRAY_SIZE(order) && seen; i++)
        add_secret_volume(b, list, seen, t->own[order[i]]);
    map_free(seen);
    return list;
}

static void add_pull(struct pod_build *b, json_t *pulls, const char *suffix)
{
    json_t *pull = pods_object(b);
    _cleanup_free_ char *name = str_printf("%s-%s", b->c->group_uuid, suffix);
    pods_put_text(b, pull, "name", name);
    pods_add(b, pulls, pull);
}

json_t *pods_pod(struct pod_build *b, struct pod_task *t)
{
    json_t *spec = pods_object(b), *pulls = pods_array(b);
    json_t *containers = pods_array(b), *inits = pods_array(b);
    _cleanup_free_ char *domain = str_printf("osmo-%s", b->c->group_uuid);

    add_pull(b, pulls, "user");
    if (pods_image_credential(b))
        add_pull(b, pulls, "osmo");
    pods_add(b, containers, user_container(b, t));
    pods_add(b, containers, ctrl_container(b, t));
    pods_add(b, inits, init_container(b, t));
    pods_put_text(b, spec, "restartPolicy", "Never");
    pods_put(b, spec, "imagePullSecrets", pulls);
    pods_put(b, spec, "hostNetwork", json_bool_new(t->spec.host_network));
    pods_put(b, spec, "containers", containers);
    pods_put(b, spec, "initContainers", inits);
    pods_put(b, spec, "volumes", volumes(b, t));
    if (b->group->ntasks >= 2) {
        pods_put_text(b, spec, "hostname", t->ids->uuid);
        pods_put_text(b, spec, "subdomain", domain);
    }
    return spec;
}
