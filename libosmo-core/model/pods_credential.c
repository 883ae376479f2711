/* Credentials of the user and of the service inside a group's objects: files and secret values that tasks ask for,
 * storage configuration files, pull secrets. Their values go into secrets only, never into texts. Called by pods*.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "model/credential.h"
#include "model/pods_internal.h"

#define CONFIG_MAX (16u << 20)

static const char *pair_value(const struct pod_credential *c, const char *key)
{
    for (size_t i = 0; c && i < c->npairs; i++)
        if (str_eq(c->pairs[i].key, key))
            return c->pairs[i].value;
    return NULL;
}

/* ---- storage configuration ---- */

static json_t *data_entry(struct pod_build *b, const struct pod_credential *c, const char *endpoint)
{
    json_t *v = pods_object(b);
    pods_put_text(b, v, "endpoint", endpoint);
    for (size_t i = 0; i < c->npairs; i++)
        if (c->pairs[i].value && *c->pairs[i].value)
            pods_put_text(b, v, c->pairs[i].key, c->pairs[i].value);
    return v;
}

/* {auth: {data: {profile: …}}} as YAML with sorted keys. Takes data. */
static char *config_text(struct pod_build *b, json_t *data)
{
    _cleanup_json_secret_ json_t *root = pods_object(b), *sorted = NULL;
    buf_t text = BUF_SECRET(CONFIG_MAX);
    json_t *auth = pods_object(b);

    pods_put(b, auth, "data", data);
    pods_put(b, root, "auth", auth);
    b->oom |= json_sort_keys(root, &sorted) < 0 || yaml_emit(sorted, &text) < 0;
    char *out = buf_steal(&text, NULL);
    buf_free(&text);
    b->oom |= !out;
    return out;
}

int pods_credentials_prepare(struct pod_build *b)
{
    const struct pod_context *c = b->c;
    json_t *user = pods_object(b), *service = pods_object(b);

    b->credentials = map_new(NULL);
    b->user_secrets = pods_object(b);
    b->oom |= !b->credentials;
    for (size_t i = 0; i < c->ncredentials && !b->oom; i++) {
        const struct pod_credential *one = &c->credentials[i];
        if (one->name)
            b->oom |= map_set(b->credentials, one->name, (void *)(uintptr_t)one) < 0;
        if (one->type == POD_CREDENTIAL_DATA && one->profile)
            pods_put(b, user, one->profile, data_entry(b, one, one->profile));
    }
    if (c->data_credential) {
        _cleanup_free_ char *profile = strndup(b->endpoint, data_profile_len(b->endpoint));
        if (profile)
            pods_put(b, service, profile, data_entry(b, c->data_credential, b->endpoint));
        else
            b->oom = true;
    }
    b->user_config = config_text(b, user);
    b->service_config = config_text(b, service);
    return b->oom ? OSMO_ENOMEM : 0;
}

/* ---- what a task asks for ---- */

static int add_file(struct pod_build *b, struct pod_task *t, struct pod_file file)
{
    struct pod_file *grown = realloc(t->files, (t->nfiles + 1) * sizeof(*grown));
    if (!grown) {
        free(file.own_path);
        b->oom = true;
        return OSMO_ENOMEM;
    }
    t->files = grown;
    t->files[t->nfiles++] = file;
    return 0;
}

static int add_directory(struct pod_build *b, struct pod_task *t, const struct pod_credential *c, const char *dir)
{
    int rc = 0;
    for (size_t i = 0; i < c->npairs && rc == 0; i++) {
        char *path = str_printf("%s/%s", dir, c->pairs[i].key);
        if (!path)
            return OSMO_ENOMEM;
        rc = add_file(b, t, (struct pod_file){ path, c->pairs[i].value, false, path, NULL });
    }
    return rc;
}

static int add_variables(struct pod_build *b, const struct pod_task *t, const struct pod_credential *c,
                         const json_t *wanted)
{
    for (json_iter_t it = json_iter(wanted); json_iter_next(&it);) {
        const char *key = json_str(it.value), *value = key ? pair_value(c, key) : NULL;
        _cleanup_free_ char *name = key ? str_printf("%s.%s", c->name, key) : NULL;
        if (!value)
            return osmo_error_set(b->err, OSMO_ECREDENTIAL, "task '%.80s' wants key '%.80s' of credential '%.80s', "
                "which has no such key: correct the key or store the credential with it", t->spec.name,
                key ? key : it.key, c->name);
        if (!name)
            return OSMO_ENOMEM;
        pods_put_text(b, b->user_secrets, name, value);
    }
    return 0;
}

/* Two files at one place cannot be mounted. */
static int check_paths(struct pod_build *b, const struct pod_task *t)
{
    map_t *seen = t->nfiles ? map_new(NULL) : NULL;
    int rc = t->nfiles && !seen ? OSMO_ENOMEM : 0;

    for (size_t i = 0; i < t->nfiles && rc == 0; i++) {
        const char *path = t->files[i].path;
        if (!*pods_base_name(path))
            rc = osmo_error_set(b->err, OSMO_EUSAGE, "task '%.80s': file path '%.200s' names a directory: end it with "
                "the name of a file", t->spec.name, path);
        else if (map_has(seen, path))
            rc = osmo_error_set(b->err, OSMO_EUSAGE, "task '%.80s': two files or credentials are mounted at '%.200s'",
                t->spec.name, path);
        else
            rc = map_set(seen, path, NULL);
    }
    map_free(seen);
    return rc;
}

/* Buckets of s3 and azure may be open to all; the other schemes need a stored credential. */
static int check_outputs(struct pod_build *b, const struct pod_task *t)
{
    for (size_t i = 0; i < t->spec.noutputs; i++) {
        const char *url = t->spec.outputs[i].url;
        size_t len = data_profile_len(url), scheme = strcspn(url, ":");
        bool known = !data_needs_credential(url);
        const strlist_t *unchecked = &b->c->settings->unchecked_schemes;

        for (size_t k = 0; k < unchecked->len && !known; k++)
            known = strlen(unchecked->items[k]) == scheme && strncmp(url, unchecked->items[k], scheme) == 0;
        for (size_t k = 0; k < b->c->ncredentials && !known; k++) {
            const struct pod_credential *c = &b->c->credentials[k];
            known = c->type == POD_CREDENTIAL_DATA && c->profile && data_profile_covers(c->profile, url);
        }
        if (!known)
            return osmo_error_set(b->err, OSMO_ECREDENTIAL, "task '%.80s' writes to %.*s, for which there is no data "
                "credential: store one", t->spec.name, (int)(len < 200 ? len : 200), url);
    }
    return 0;
}

int pods_task_credentials(struct pod_build *b, struct pod_task *t)
{
    int rc = 0;
    for (size_t i = 0; i < t->spec.nfiles && rc == 0; i++) {
        const struct spec_file *f = &t->spec.files[i];
        rc = add_file(b, t, (struct pod_file){ f->path, f->contents, f->base64, NULL, NULL });
    }
    for (json_iter_t it = json_iter(t->spec.credentials); rc == 0 && json_iter_next(&it);) {
        const struct pod_credential *c = map_get(b->credentials, it.key);
        if (!c)
            rc = osmo_error_set(b->err, OSMO_ECREDENTIAL, "task '%.80s' names credential '%.80s', which is not stored: "
                "store it, or remove it from the task", t->spec.name, it.key);
        else if (json_str(it.value))
            rc = add_directory(b, t, c, json_str(it.value));
        else
            rc = add_variables(b, t, c, it.value);
    }
    if (rc == 0)
        rc = check_paths(b, t);
    return rc == 0 ? check_outputs(b, t) : rc;
}

/* ---- pull secrets ---- */

/* {"auth": base64 of user:secret} under the scope. */
static void put_auth(struct pod_build *b, json_t *auths, const struct pod_credential *c)
{
    const char *user = pair_value(c, "username"), *secret = pair_value(c, "auth");
    _cleanup_free_ char *plain = str_printf("%s:%s", user ? user : "", secret ? secret : "");
    _cleanup_buf_ buf_t base64 = BUF_SECRET(CONFIG_MAX);
    json_t *entry = pods_object(b);

    if (!plain || crypto_base64(plain, strlen(plain), &base64) < 0)
        b->oom = true;
    if (plain)
        crypto_wipe(plain, strlen(plain));
    pods_put_text(b, entry, "auth", buf_cstr(&base64));
    pods_put(b, auths, c->profile, entry);
}

/* {"auths": …} spelled as Python's json.dumps spells it, so that equal input gives equal bytes. Scopes are ASCII. */
static char *auths_text(struct pod_build *b, const json_t *auths)
{
    _cleanup_buf_ buf_t text = BUF_SECRET(CONFIG_MAX), base64 = BUF_SECRET(CONFIG_MAX);
    const char *comma = "";

    buf_puts(&text, "{\"auths\": {");
    for (json_iter_t it = json_iter(auths); json_iter_next(&it); comma = ", ") {
        _cleanup_json_ json_t *scope = json_string(it.key);
        buf_puts(&text, comma);
        b->oom |= !scope || json_print(scope, 0, &text) < 0;
        buf_printf(&text, ": {\"auth\": \"%s\"}", json_get_str(it.value, "auth"));
    }
    buf_puts(&text, "}}");
    if (buf_failed(&text) || crypto_base64(buf_cstr(&text), text.len, &base64) < 0)
        b->oom = true;
    char *out = b->oom ? NULL : buf_steal(&base64, NULL);
    b->oom |= !out;
    return out;
}

static int by_length(const void *a, const void *b)
{
    size_t x = strlen((*(const struct pod_credential *const *)a)->profile);
    size_t y = strlen((*(const struct pod_credential *const *)b)->profile);
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Registry credentials, the most specific scope first. */
static const struct pod_credential **registries(struct pod_build *b, size_t *n)
{
    const struct pod_credential **list = calloc(b->c->ncredentials + 1, sizeof(*list));
    *n = 0;
    b->oom |= !list;
    for (size_t i = 0; list && i < b->c->ncredentials; i++)
        if (b->c->credentials[i].type == POD_CREDENTIAL_REGISTRY && b->c->credentials[i].profile)
            list[(*n)++] = &b->c->credentials[i];
    if (*n > 1)
        qsort(list, *n, sizeof(*list), by_length);
    return list;
}

char *pods_user_auths(struct pod_build *b)
{
    size_t n;
    const struct pod_credential **list = registries(b, &n);
    _cleanup_json_secret_ json_t *auths = pods_object(b);
    map_t *seen = map_new(NULL);

    b->oom |= !seen;
    for (size_t i = 0; i < b->group->ntasks && n > 0 && !b->oom; i++) {
        const char *image = b->tasks[i].spec.image;
        if (!image || map_has(seen, image))
            continue;
        _cleanup_free_ char *scope = registry_image_scope(image);
        b->oom |= !scope || map_set(seen, image, NULL) < 0;
        for (size_t k = 0; scope && k < n; k++)
            if (registry_scope_covers(list[k]->profile, scope) && !json_has(auths, list[k]->profile))
                put_auth(b, auths, list[k]);
    }
    map_free(seen);
    free(list);
    return auths_text(b, auths);
}

bool pods_image_credential(const struct pod_build *b)
{
    const struct pod_credential *c = b->c->image_credential;
    const char *user = pair_value(c, "username"), *secret = pair_value(c, "auth");
    return c && c->profile && *c->profile && user && *user && secret && *secret;
}

char *pods_service_auths(struct pod_build *b)
{
    _cleanup_json_secret_ json_t *auths = pods_object(b);
    put_auth(b, auths, b->c->image_credential);
    return auths_text(b, auths);
}
