/* See golden_fixture.h. */
#include "golden_fixture.h"

#include <stdarg.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "check.h"
#include "model/submission.h"

/* ---- files ---- */

char *golden_path(const char *format, ...)
{
    const char *top = getenv("srcdir");
    char rest[300];
    va_list args;
    va_start(args, format);
    vsnprintf(rest, sizeof(rest), format, args);
    va_end(args);
    return str_printf("%s/%s/%s", top ? top : ".", GOLDEN_TREE, rest);
}

char *golden_read(const char *path, size_t *len)
{
    buf_t text = BUF_INIT(64u << 20);
    char block[8192];
    FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    buf_cstr(&text);
    for (size_t n; (n = fread(block, 1, sizeof(block), f)) > 0;)
        buf_append(&text, block, n);
    fclose(f);
    char *out = buf_steal(&text, len);
    buf_free(&text);
    return out;
}

/* ---- options ---- */

struct options {
    strlist_t set, set_string, env;
    char *pool, *user, *priority, *url, *only, *prefix;
    bool credentials, rsync, images, own_storage, dev;
    int64_t retry;
};

static void options_free(struct options *o)
{
    strlist_free(&o->set);
    strlist_free(&o->set_string);
    strlist_free(&o->env);
    char *texts[] = { o->pool, o->user, o->priority, o->url, o->only, o->prefix };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
}

static void read_option(struct options *o, const char *key, const char *value)
{
    const struct { const char *key; strlist_t *list; } lists[] = {
        { "set", &o->set }, { "set-string", &o->set_string }, { "env", &o->env },
    };
    const struct { const char *key; char **text; } texts[] = {
        { "pool", &o->pool }, { "user", &o->user }, { "priority", &o->priority }, { "url", &o->url }, { "only", &o->only },
        { "prefix", &o->prefix },
    };
    const struct { const char *key; bool *flag; } flags[] = {
        { "credentials", &o->credentials }, { "rsync", &o->rsync }, { "images", &o->images },
        { "own-storage", &o->own_storage }, { "dev", &o->dev },
    };
    bool known = str_eq(key, "retry") && str_to_i64(value, &o->retry);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        if (str_eq(key, lists[i].key))
            known = strlist_add(lists[i].list, value) == 0;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (str_eq(key, texts[i].key)) {
            free(*texts[i].text);
            known = (*texts[i].text = str_dup(value)) != NULL;
        }
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (str_eq(key, flags[i].key))
            known = *flags[i].flag = true;
    if (!known)
        fprintf(stderr, "unknown option '%s=%s'\n", key, value);
    CHECK(known);
}

static void read_options(struct options *o, const char *text)
{
    static const char mark[] = "# golden: ";
    for (const char *p = text; *p == '#' || *p == '\n'; p += strcspn(p, "\n"), p += *p == '\n') {
        if (!str_starts(p, mark))
            continue;
        size_t len = strcspn(p, "\n") - (sizeof(mark) - 1);
        _cleanup_free_ char *line = strndup(p + sizeof(mark) - 1, len);
        char *equal = line ? strchr(line, '=') : NULL;
        if (equal)
            *equal = '\0';
        CHECK(equal != NULL);
        if (equal)
            read_option(o, line, equal + 1);
    }
}

/* ---- what the service and the user have ---- */

static const struct pod_pair api[] = { { "user", "u" }, { "pass", "p" } }, keys[] = { { "k1", "v1" }, { "k2", "v2" } };
static const struct pod_pair team[] = { { "username", "$oauthtoken" }, { "auth", "team-secret" } };
static const struct pod_pair hub[] = { { "username", "ana" }, { "auth", "hub-secret" } };
static const struct pod_pair bucket[] = { { "access_key_id", "AK1" }, { "access_key", "sk-one" }, { "region", "eu-1" } };
static const struct pod_pair cloud[] = { { "access_key_id", "AK2" }, { "access_key", "sk-two" } };
static const struct pod_pair service[] = { { "access_key_id", "SVC" }, { "access_key", "sk-svc" }, { "region", "us-1" } };
static const struct pod_pair images[] = { { "username", "robot" }, { "auth", "image-secret" } };
#define PAIRS(list) list, ARRAY_SIZE(list)
static const struct pod_credential user_credentials[] = {
    { "api", POD_CREDENTIAL_GENERIC, NULL, PAIRS(api) },
    { "keys", POD_CREDENTIAL_GENERIC, NULL, PAIRS(keys) },
    { "hub", POD_CREDENTIAL_REGISTRY, "registry-1.docker.io", PAIRS(hub) },
    { "host", POD_CREDENTIAL_REGISTRY, "reg.example.com", PAIRS(hub) },
    { "team", POD_CREDENTIAL_REGISTRY, "reg.example.com/team", PAIRS(team) },
    { "lab", POD_CREDENTIAL_DATA, "s3://bkt", PAIRS(bucket) },
    { "gcs", POD_CREDENTIAL_DATA, "gs://bkt", PAIRS(cloud) },
    { "tos", POD_CREDENTIAL_DATA, "tos://tos.example.com/bkt", PAIRS(cloud) },
};
static const struct pod_credential data_credential = { "data", POD_CREDENTIAL_DATA, NULL, PAIRS(service) };
static const struct pod_credential image_credential = { "images", POD_CREDENTIAL_REGISTRY, "images.example.com", PAIRS(images) };
static const struct pod_rsync_path rsync_paths[] = { { "code", "/workspace/code", true }, { "data", "/data", false } };
static const struct pod_rsync rsync = { 2621440, 1048576, rsync_paths, ARRAY_SIZE(rsync_paths) };

/* ---- building ---- */

void golden_uuid(const char *kind, const char *name, char out[33])
{
    char hex[65];
    _cleanup_free_ char *text = str_printf("%s:%s", kind, name);
    crypto_sha256_hex(text ? text : "", text ? strlen(text) : 0, hex);
    memcpy(out, hex, 32);
    out[32] = '\0';
}

static int load_settings(struct golden *g)
{
    _cleanup_free_ char *path = golden_path("settings.yaml");
    size_t len = 0;
    _cleanup_free_ char *text = path ? golden_read(path, &len) : NULL;
    if (!text)
        return osmo_error_set(&g->err, OSMO_ENOTFOUND, "cannot read %s", path ? path : "the settings");
    return settings_parse(text, len, "settings.yaml", &g->settings, &g->err);
}

/* The text becomes a resolved specification. */
static int make_spec(struct golden *g, const struct options *o, const char *text, size_t len)
{
    _cleanup_buf_ buf_t rendered = BUF_INIT(64u << 20);
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;

    int rc = submission_render(text, len, &o->set, &o->set_string, NULL, &rendered, &g->err);
    if (rc == 0)
        rc = yaml_parse(buf_cstr(&rendered), rendered.len, &limits, &doc, &g->err);
    const yaml_node_t *workflow = rc == 0 ? yaml_get(doc, "workflow") : NULL;
    if (rc == 0 && !workflow)
        rc = osmo_error_set(&g->err, OSMO_EUSAGE, "no workflow in the rendered text");
    if (rc == 0)
        rc = spec_parse(workflow, g->settings, &g->spec, &g->err);
    if (rc == 0 && o->env.len > 0)
        rc = spec_overlay_env(g->spec, &o->env, &g->err);
    return rc == 0 ? spec_resolve(g->spec, g->settings, g->pool, &g->err) : rc;
}

struct ids { char uuid[33], token[64], jwt[80]; };

static int build_group(struct golden *g, struct pod_context *c, size_t index, int64_t retry)
{
    _cleanup_json_ json_t *stored = spec_group_to_json(g->spec, index);
    struct spec *group = NULL;
    json_t *objects = NULL;
    char group_uuid[33];
    size_t n = g->spec->groups[index].ntasks;
    struct pod_task_ids *ids = calloc(n, sizeof(*ids));
    struct ids *texts = calloc(n, sizeof(*texts));
    int rc = stored && ids && texts ? spec_group_from_json(stored, &group, &g->err) : OSMO_ENOMEM;

    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *name = g->spec->groups[index].tasks[i].name;
        golden_uuid("task", name, texts[i].uuid);
        snprintf(texts[i].token, sizeof(texts[i].token), "%.32sAAAAAAAAAAA", texts[i].uuid);
        snprintf(texts[i].jwt, sizeof(texts[i].jwt), "head.%.32s.sig", texts[i].uuid);
        ids[i] = (struct pod_task_ids){ name, texts[i].uuid, retry, texts[i].token, texts[i].jwt };
    }
    golden_uuid("group", g->spec->groups[index].name, group_uuid);
    c->group_uuid = group_uuid;
    c->tasks = ids;
    c->ntasks = n;
    if (rc == 0)
        rc = pods_build_group(c, group, &objects, &g->err);
    if (rc == 0)
        rc = json_set(g->groups, g->spec->groups[index].name, objects);
    spec_free(group);
    free(ids);
    free(texts);
    return rc;
}

static int build_groups(struct golden *g, const struct options *o)
{
    _cleanup_free_ char *id = str_printf("%s-1", g->spec->name);
    struct pod_context c = {
        .workflow_id = id, .workflow_uuid = GOLDEN_WORKFLOW, .user = o->user ? o->user : "ana@example.com",
        .priority = o->priority ? o->priority : "NORMAL", .settings = g->settings, .pool = g->pool,
        .backend_namespace = "ns", .service_base_url = o->url ? o->url : "https://osmo.example.com", .dev_login = o->dev,
        .data_endpoint = o->own_storage ? "https://osmo.example.com/api/storage" : "s3://svc-bucket/wf",
        .workflow_labels = g->spec->labels, .credentials = user_credentials,
        .ncredentials = o->credentials ? ARRAY_SIZE(user_credentials) : 0,
        .data_credential = o->own_storage ? NULL : &data_credential,
        .image_credential = o->images ? &image_credential : NULL, .rsync = o->rsync ? &rsync : NULL,
        .only_task = o->only,
    };
    int rc = id ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; i < g->spec->ngroups && rc == 0; i++)
        rc = build_group(g, &c, i, o->retry);
    return rc;
}

void golden_build(struct golden *g, const char *text, size_t len)
{
    struct options o = { 0 };

    *g = (struct golden){ .groups = json_object() };
    read_options(&o, text);
    g->rc = g->groups ? load_settings(g) : OSMO_ENOMEM;
    if (g->rc == 0) {
        g->pool = settings_pool(g->settings, o.pool ? o.pool : "p");
        if (!g->pool)
            g->rc = osmo_error_set(&g->err, OSMO_ENOTFOUND, "no pool %s", o.pool ? o.pool : "p");
        if (o.prefix) {
            free(g->settings->pod_label_prefix);
            g->settings->pod_label_prefix = str_dup(o.prefix);
        }
    }
    if (g->rc == 0)
        g->rc = make_spec(g, &o, text, len);
    if (g->rc == 0)
        g->rc = build_groups(g, &o);
    options_free(&o);
}

void golden_free(struct golden *g)
{
    json_free(g->groups);
    spec_free(g->spec);
    settings_free(g->settings);
}

/* ---- looking at it ---- */

const json_t *golden_object(const struct golden *g, const char *group, const char *kind, size_t nth)
{
    const json_t *objects = json_get(g->groups, group);
    for (size_t i = 0; i < json_len(objects); i++)
        if (str_eq(json_get_str(json_at(objects, i), "kind"), kind) && nth-- == 0)
            return json_at(objects, i);
    return NULL;
}

const json_t *golden_named(const struct golden *g, const char *group, const char *name)
{
    const json_t *objects = json_get(g->groups, group);
    for (size_t i = 0; i < json_len(objects); i++)
        if (str_eq(json_get_str(json_get(json_at(objects, i), "metadata"), "name"), name))
            return json_at(objects, i);
    return NULL;
}

const json_t *golden_pod(const struct golden *g, const char *group, const char *task)
{
    const json_t *pod;
    for (size_t i = 0; (pod = golden_object(g, group, "Pod", i)) != NULL; i++)
        if (str_eq(json_str(json_path(pod, "metadata", "labels", "osmo.task_name", NULL)), task))
            return pod;
    return NULL;
}

const json_t *golden_container(const json_t *pod, size_t i)
{
    if (i == 2)
        return json_at(json_path(pod, "spec", "initContainers", NULL), 0);
    return json_at(json_path(pod, "spec", "containers", NULL), i);
}

char *golden_words(const json_t *array)
{
    buf_t b = BUF_INIT(1u << 20);
    for (size_t i = 0; i < json_len(array); i++)
        buf_printf(&b, "%s%s", i ? " " : "", json_str(json_at(array, i)));
    buf_cstr(&b);
    return buf_steal(&b, NULL);
}
