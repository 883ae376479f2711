/* Secrets of a group: one per mounted file, named by a digest so that equal files are one object and names are stable
 * over retries; then the fixed ones. Called by pods.c. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "model/pods_internal.h"

#define SECRET_TEXT_MAX (64u << 20)

static json_t *opaque(struct pod_build *b, const char *name)
{
    json_t *secret = pods_manifest(b, "v1", "Secret", name);
    pods_put_text(b, secret, "type", "Opaque");
    pods_put(b, secret, "data", pods_object(b));
    pods_put(b, secret, "stringData", pods_object(b));
    return secret;
}

/* What the name of a secret is made of may be its contents. */
static void wipe_free(char **text)
{
    if (*text)
        crypto_wipe(*text, strlen(*text));
    free(*text);
}

/* The secret of one file, created unless this group has it already. `stable` names it instead of the contents.
 * Returns its name. */
static char *file_secret(struct pod_build *b, const char *base64, const char *path, const char *stable)
{
    char hex[65];
    _cleanup_(wipe_free) char *what = stable ? str_printf("custom-%s", stable) : str_printf("content-%s%s", base64,
        pods_base_name(path));
    char *name = NULL;

    if (what) {
        crypto_sha256_hex(what, strlen(what), hex);
        name = str_printf("osmo-%.16s-%.32s", b->c->group_uuid, hex);
    }
    if (!name || !b->secrets) {
        b->oom = true;
        free(name);
        return NULL;
    }
    if (map_has(b->secrets, name))
        return name;
    b->oom |= map_set(b->secrets, name, NULL) < 0;
    json_t *secret = opaque(b, name);
    pods_put_text(b, json_get(secret, "data"), pods_base_name(path), base64);
    pods_add(b, b->objects, secret);
    return name;
}

static char *text_secret(struct pod_build *b, const char *text, size_t len, const char *path, const char *stable)
{
    _cleanup_buf_ buf_t base64 = BUF_SECRET(SECRET_TEXT_MAX * 2);
    if (crypto_base64(text, len, &base64) < 0) {
        b->oom = true;
        return NULL;
    }
    return file_secret(b, buf_cstr(&base64), path, stable);
}

/* YAML with sorted keys: the names of these secrets are digests of their contents, so the spelling is part of them. */
static char *yaml_secret(struct pod_build *b, json_t *v, const char *path, const char *stable)
{
    _cleanup_buf_ buf_t text = BUF_SECRET(SECRET_TEXT_MAX);
    _cleanup_json_secret_ json_t *sorted = NULL;
    if (json_sort_keys(v, &sorted) < 0 || yaml_emit(sorted, &text) < 0) {
        b->oom = true;
        return NULL;
    }
    return text_secret(b, buf_cstr(&text), text.len, path, stable);
}

static void put_query(buf_t *out, const char *key, const char *value)
{
    buf_printf(out, "%s=", key);
    for (const char *p = value; *p; p++) {
        if (isalnum((unsigned char)*p) || strchr("-_.~", *p))
            buf_putc(out, *p);
        else
            buf_printf(out, "%%%02X", (unsigned char)*p);
    }
}

static char *refresh_url(struct pod_build *b, const struct pod_task *t)
{
    buf_t url = BUF_INIT(16384);
    char retry[24];

    snprintf(retry, sizeof(retry), "%lld", (long long)t->ids->retry_id);
    buf_printf(&url, "%s/api/auth/jwt/refresh_token?", b->c->service_base_url);
    put_query(&url, "workflow_id", b->c->workflow_id);
    put_query(&url, "&group_name", b->group->name);
    put_query(&url, "&task_name", t->spec.name);
    put_query(&url, "&retry_id", retry);
    char *text = buf_steal(&url, NULL);
    buf_free(&url);
    b->oom |= !text;
    return text;
}

/* What the client inside the pod logs in with. */
static json_t *login(struct pod_build *b, const struct pod_task *t)
{
    json_t *root = pods_object(b), *inner = pods_object(b);
    _cleanup_free_ char *url = NULL;

    if (b->c->dev_login) {
        pods_put_text(b, inner, "username", b->c->user);
        pods_put(b, root, "dev_login", inner);
        pods_put_text(b, root, "url", b->c->service_base_url);
        return root;
    }
    url = refresh_url(b, t);
    pods_put_text(b, inner, "id_token", t->ids->login_jwt ? t->ids->login_jwt : "");
    pods_put_text(b, inner, "refresh_url", url ? url : "");
    pods_put_text(b, inner, "refresh_token", t->ids->refresh_token ? t->ids->refresh_token : "");
    pods_put(b, root, "token_login", inner);
    pods_put_text(b, root, "url", b->c->service_base_url);
    pods_put(b, root, "osmo_token", json_bool_new(true));
    pods_put_text(b, root, "username", b->c->user);
    return root;
}

static json_t *metadata(struct pod_build *b, const struct pod_task *t)
{
    json_t *root = pods_object(b), *inner = pods_object(b), *inputs = pods_array(b);
    for (size_t i = 0; i < t->spec.ninputs; i++)
        if (t->spec.inputs[i].url)
            pods_add_text(b, inputs, t->spec.inputs[i].url);
    pods_put(b, inner, "input_data", inputs);
    pods_put_text(b, inner, "wfid", b->c->workflow_id);
    pods_put_text(b, inner, "created_by", b->c->user);
    pods_put(b, root, "default", inner);
    return root;
}

/* The secret of a text that is the same for every task: made once, its name kept in *first. */
static char *shared_secret(struct pod_build *b, const char *text, const char *path, char **first)
{
    if (!*first)
        *first = text_secret(b, text, strlen(text), path, NULL);
    char *name = *first ? str_dup(*first) : NULL;
    b->oom |= !name;
    return name;
}

/* Names a secret with a token: the same however often the attempt is sent. Later attempts have their own, because their
 * tokens speak for them and the secrets of the attempts before are still there. */
static char *token_secret_key(const struct pod_task *t, const char *what)
{
    long long retry = (long long)t->ids->retry_id;
    return retry ? str_printf("%s-%s-%lld", t->ids->uuid, what, retry) : str_printf("%s-%s", t->ids->uuid, what);
}

int pods_task_secrets(struct pod_build *b, struct pod_task *t)
{
    _cleanup_json_ json_t *meta = metadata(b, t);
    _cleanup_json_secret_ json_t *log_in = login(b, t);
    _cleanup_free_ char *login_key = token_secret_key(t, "login");
    _cleanup_free_ char *token_key = token_secret_key(t, "refresh-token");
    const char *token = t->ids->refresh_token ? t->ids->refresh_token : "";

    for (size_t i = 0; i < t->nfiles && !b->oom; i++) {
        struct pod_file *f = &t->files[i];
        f->secret = f->base64 ? file_secret(b, f->contents, f->path, NULL) :
                    text_secret(b, f->contents, strlen(f->contents), f->path, NULL);
        b->oom |= !f->secret;
    }
    if (b->oom || !login_key || !token_key)
        return OSMO_ENOMEM;
    t->own[FILE_SERVICE_CONFIG] = shared_secret(b, b->service_config, "service_config.yaml", &b->service_secret);
    t->own[FILE_METADATA] = yaml_secret(b, meta, "default_metadata.yaml", NULL);
    t->own[FILE_REFRESH_TOKEN] = text_secret(b, token, strlen(token), ".refresh_token", token_key);
    t->own[FILE_LOGIN] = yaml_secret(b, log_in, "login.yaml", login_key);
    t->own[FILE_USER_CONFIG] = shared_secret(b, b->user_config, "user_config.yaml", &b->user_secret);
    return b->oom ? OSMO_ENOMEM : 0;
}

/* Takes auths. */
static void add_pull_secret(struct pod_build *b, const char *suffix, char *auths)
{
    _cleanup_free_ char *name = str_printf("%s-%s", b->c->group_uuid, suffix);
    _cleanup_(wipe_free) char *text = auths;
    json_t *pull = pods_manifest(b, "v1", "Secret", name), *data = pods_object(b);

    pods_put_text(b, data, ".dockerconfigjson", text);
    pods_put_text(b, pull, "type", "kubernetes.io/dockerconfigjson");
    pods_put(b, pull, "data", data);
    pods_add(b, b->objects, pull);
}

void pods_group_secrets(struct pod_build *b)
{
    _cleanup_free_ char *dir_name = str_printf("%s-file-dir", b->c->group_uuid);
    _cleanup_free_ char *user_name = str_printf("%s-user-secrets", b->c->group_uuid);

    if (!dir_name || !user_name) {
        b->oom = true;
        return;
    }
    json_t *dir = opaque(b, dir_name);
    pods_put_text(b, json_get(dir, "stringData"), "fileDir", "/osmo/login/config");
    pods_add(b, b->objects, dir);
    if (json_len(b->user_secrets) > 0) {
        json_t *secret = opaque(b, user_name);
        pods_put(b, secret, "stringData", json_ref(b->user_secrets));
        pods_add(b, b->objects, secret);
    }
    add_pull_secret(b, "user", pods_user_auths(b));
    if (pods_image_credential(b))
        add_pull_secret(b, "osmo", pods_service_auths(b));
}
