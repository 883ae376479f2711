/* Environment of a container, as Kubernetes builds it: literal values with $(NAME) expansion, secret and ConfigMap
 * keys, fields of the pod. Called by local_plan.c. */
#include <string.h>
#include "base/crypto.h"
#include "cluster/local/local_int.h"

#define ENV_VALUE_MAX (1024 * 1024)
#define ENV_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* $(NAME) becomes the value when NAME is defined, $$ an escaped dollar, everything else stays. */
char *env_expand(const json_t *env, const char *text)
{
    _cleanup_buf_ buf_t out = BUF_INIT(ENV_VALUE_MAX);
    buf_puts(&out, "");
    for (const char *p = text; *p;) {
        const char *end = p[0] == '$' && p[1] == '(' ? strchr(p, ')') : NULL;
        char name[256];
        if (p[0] == '$' && p[1] == '$') {
            buf_putc(&out, '$');
            p += 2;
        } else if (end && (size_t)(end - p - 2) < sizeof(name)) {
            memcpy(name, p + 2, (size_t)(end - p - 2));
            name[end - p - 2] = '\0';
            const char *value = json_get_str(env, name);
            if (value)
                buf_puts(&out, value);
            else
                buf_append(&out, p, (size_t)(end + 1 - p));
            p = end + 1;
        } else {
            buf_putc(&out, *p++);
        }
    }
    return buf_steal(&out, NULL);
}

int secret_value(const struct local *l, const char *kind, const json_t *ref, bool *found, buf_t *out, osmo_error_t *err)
{
    const char *name = json_get_str(ref, "name"), *key = json_get_str(ref, "key");
    bool optional = json_get_bool(ref, "optional", false), config_map = str_eq(kind, "ConfigMap");
    _cleanup_json_ json_t *v = NULL;
    *found = false;
    if (!name || !key)
        return osmo_error_set(err, OSMO_EINVAL, "a reference to a %s needs name and key", kind);
    int rc = object_read(l, kind, name, &v, err);
    if (rc < 0)
        return optional && rc == OSMO_ENOTFOUND ? 0 : rc;
    json_t *plain = json_get(json_get(v, config_map ? "data" : "stringData"), key);
    json_t *coded = json_get(json_get(v, config_map ? "binaryData" : "data"), key);
    *found = plain || coded;
    if (plain)
        rc = buf_append(out, json_str(plain), json_str_len(plain));
    else if (coded)
        rc = crypto_base64_decode(json_str(coded), json_str_len(coded), out, err);
    else if (!optional)
        rc = osmo_error_set(err, OSMO_ENOTFOUND, "%s \"%s\" has no key \"%s\"", kind, name, key);
    return rc;
}

static const char *field_value(const struct local *l, const struct pod *p, const char *path, char address[20])
{
    address_text(p->ip, address);
    if (str_eq(path, "spec.nodeName"))
        return l->node_name;
    if (str_eq(path, "status.podIP"))
        return address;
    if (str_eq(path, "status.hostIP"))
        return "127.0.0.1";
    if (str_eq(path, "metadata.name"))
        return p->name;
    if (str_eq(path, "metadata.namespace"))
        return l->namespace_;
    if (str_eq(path, "metadata.uid"))
        return p->uid;
    if (path && str_starts(path, "metadata.labels['") && str_ends(path, "']")) {
        _cleanup_free_ char *key = str_printf("%.*s", (int)(strlen(path) - 19), path + 17);
        return key ? json_get_str(p->labels, key) : NULL;
    }
    return NULL;
}

static int add_from(const struct local *l, const struct pod *p, const json_t *item, json_t *env, osmo_error_t *err)
{
    const json_t *from = json_get(item, "valueFrom");
    const char *name = json_get_str(item, "name"), *path = json_get_str(json_get(from, "fieldRef"), "fieldPath");
    bool secret = json_has(from, "secretKeyRef"), found = false;
    _cleanup_buf_ buf_t value = BUF_INIT(ENV_VALUE_MAX);
    char address[20];
    if (path) {
        const char *text = field_value(l, p, path, address);
        return text ? json_set_str(env, name, text)
                    : osmo_error_set(err, OSMO_EINVAL, "env %s: field %s is not known here", name, path);
    }
    if (!secret && !json_has(from, "configMapKeyRef"))
        return osmo_error_set(err, OSMO_EINVAL, "env %s: this kind of valueFrom is not supported by the local cluster",
                              name);
    int rc = secret_value(l, secret ? "Secret" : "ConfigMap",
                          json_get(from, secret ? "secretKeyRef" : "configMapKeyRef"), &found, &value, err);
    if (rc == 0 && found)
        rc = json_set(env, name, json_string_n(buf_cstr(&value), value.len));
    crypto_wipe(value.data, value.len);
    return rc < 0 && err && !err->code ? osmo_error_set(err, rc, "env %s: %s", name, osmo_error_name(rc)) : rc;
}

int env_build(const struct local *l, const struct pod *p, const json_t *manifest, const json_t *container, bool runtime,
              json_t **out, osmo_error_t *err) {
    _cleanup_json_ json_t *env = json_object();
    const json_t *list = json_get(container, "env");
    bool plain = str_eq(l->isolation, "plain");
    _cleanup_free_ char *dir = plain ? str_dup(l->runtime_dir) : str_dup("/osmo_runtime");
    _cleanup_free_ char *path = str_printf("%s%s%s", runtime && dir ? dir : "", runtime && dir ? ":" : "", ENV_PATH);
    _cleanup_free_ char *home = plain ? pod_path(l, p, "home") : str_dup("/root");
    char address[20];
    int rc = 0;
    (void)manifest;
    address_text(p->ip, address);
    json_set_str(env, "PATH", path);
    json_set_str(env, "HOME", home);
    json_set_str(env, "HOSTNAME", p->hostname ? p->hostname : p->name);
    json_set_str(env, "POD_IP", address);
    if (runtime) { /* osmo_ctrl shares it out between the command and what has to be done after it */
        char grace[24];
        snprintf(grace, sizeof grace, "%lld", (long long)p->grace_s);
        json_set_str(env, "OSMO_TERMINATION_GRACE_SECONDS", grace);
    }
    if (runtime && l->ca_file)
        json_set_str(env, "SSL_CERT_FILE", plain ? l->ca_file : CA_IN_POD);
    for (size_t i = 0; rc == 0 && i < json_len(list); i++) {
        const json_t *item = json_at(list, i);
        const char *name = json_get_str(item, "name"), *value = json_get_str(item, "value");
        if (!name || !*name || strchr(name, '='))
            return osmo_error_set(err, OSMO_EINVAL, "an environment variable needs a name without \"=\"");
        if (json_has(item, "valueFrom")) {
            rc = add_from(l, p, item, env, err);
        } else {
            _cleanup_free_ char *full = env_expand(env, value ? value : "");
            rc = full ? json_set_str(env, name, full) : osmo_error_set(err, OSMO_ELIMIT, "env %s is too long", name);
        }
    }
    if (rc == 0)
        *out = STEAL(env);
    return rc;
}
