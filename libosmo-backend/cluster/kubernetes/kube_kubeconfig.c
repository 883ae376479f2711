/* Kubeconfig files, read and merged as kubectl does: of equal names the first file's entry counts, relative paths begin at the file that
 * has them. What is refused is refused with the file, the entry and the remedy. Called by kube_config.c. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/file.h"
#include "base/http.h"
#include "base/yaml.h"
#include "cluster/kubernetes/kube_config.h"

#define FILES_MAX 32
#define FILE_BYTES_MAX (4u << 20)
#define EXEC_TIMEOUT_MS 60000
#define ENVIRONMENT_MAX 4096

struct kubeconfig { char *path; yaml_node_t *tree; };
struct merged { struct kubeconfig files[FILES_MAX]; size_t n; };
/* A named entry: which file has it, and its content. */
struct entry { const char *name; const struct kubeconfig *file; const yaml_node_t *content; char *where; };

void kube_entries_free(struct kube_entries *e) {
    char **secrets[] = {&e->ca_pem, &e->token, &e->password, &e->cert_pem, &e->key_pem, &e->proxy};
    char **plain[] = {&e->server, &e->namespace_, &e->server_name, &e->ca_file, &e->token_file, &e->user, &e->cert_file, &e->key_file,
                      &e->cluster_where, &e->user_where};
    for (size_t i = 0; i < ARRAY_SIZE(secrets); i++)
        kube_wipe(secrets[i]);
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        free(*plain[i]);
    strlist_free(&e->impersonate);
    kube_exec_free(e->exec);
    memset(e, 0, sizeof *e);
}

/* ---- files ---- */

static void wipe_tree(const yaml_node_t *n) {
    for (size_t i = 0; i < n->len && (n->kind == YAML_MAP || n->kind == YAML_LIST); i++)
        wipe_tree(n->values[i]);
    if (n->kind == YAML_STRING && n->text)
        crypto_wipe(n->text, n->text_len);
}

static void merged_clear(struct merged *m) {
    for (size_t i = 0; i < m->n; i++) {
        free(m->files[i].path);
        if (m->files[i].tree)
            wipe_tree(m->files[i].tree);
        yaml_free(m->files[i].tree);
    }
    m->n = 0;
}

static int read_file(const char *path, struct kubeconfig *out, osmo_error_t *err) {
    static const yaml_limits_t limits = {.max_bytes = FILE_BYTES_MAX, .max_depth = 50, .max_nodes = 200000};
    _cleanup_buf_ buf_t text = BUF_SECRET(FILE_BYTES_MAX);
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = file_read(path, &text, err);
    if (rc < 0)
        return rc;
    if (!(out->path = str_dup(path)))
        return no_memory(err);
    if ((rc = yaml_parse(buf_cstr(&text), text.len, &limits, &out->tree, &why)) < 0)
        return osmo_error_set(err, rc == OSMO_EUSAGE ? OSMO_EINVAL : rc, "the kubeconfig %s cannot be read: %s", path, why.text);
    if (out->tree->kind != YAML_MAP && out->tree->kind != YAML_NULL)
        return osmo_error_set(err, OSMO_EINVAL, "%s is no kubeconfig: it must be a mapping with clusters, users and contexts", path);
    return 0;
}

/* Of several files some may be missing, as with kubectl; all may not. */
static int read_files(const char *files, struct merged *m, osmo_error_t *err) {
    bool several = strchr(files, ':') != NULL;
    for (const char *p = files; *p;) {
        size_t len = strcspn(p, ":");
        _cleanup_free_ char *path = strndup(p, len);
        p += len + (p[len] == ':');
        if (!path)
            return no_memory(err);
        if (!len || (several && access(path, F_OK) < 0 && errno == ENOENT))
            continue;
        if (m->n == FILES_MAX)
            return osmo_error_set(err, OSMO_ELIMIT, "more than %d kubeconfig files are named: merge them", FILES_MAX);
        int rc = read_file(path, &m->files[m->n++], err);
        if (rc < 0)
            return rc;
    }
    return m->n ? 0 : osmo_error_set(err, OSMO_ENOTFOUND, "none of the kubeconfig files %s is there: check the names", files);
}

/* ---- entries ---- */

static void entry_clear(struct entry *e) { free(e->where); }

/* kind is "cluster", "user" or "context"; the list has an s. */
static int find_entry(const struct merged *m, const char *kind, const char *name, struct entry *out, osmo_error_t *err) {
    char list[16];
    snprintf(list, sizeof list, "%ss", kind);
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < m->n && !out->file; i++) {
        const yaml_node_t *all = yaml_get(m->files[i].tree, list);
        for (size_t j = 0; all && all->kind == YAML_LIST && j < all->len && !out->file; j++) {
            const yaml_node_t *its = yaml_get(all->values[j], "name");
            if (its && its->kind == YAML_STRING && !strcmp(its->text, name))
                *out = (struct entry){.name = name, .file = &m->files[i], .content = yaml_get(all->values[j], kind)};
        }
    }
    if (!out->file)
        return osmo_error_set(err, OSMO_ENOTFOUND, "the kubeconfig %s has no %s \"%s\": see kubectl config view%s", m->files[0].path, kind,
                              name, m->n > 1 ? " (and neither have the others)" : "");
    if (!(out->where = str_printf("%s \"%s\" in %s", kind, name, out->file->path)))
        return no_memory(err);
    if (out->content && out->content->kind != YAML_MAP && out->content->kind != YAML_NULL)
        return osmo_error_set(err, OSMO_EINVAL, "%s is no mapping: see kubectl config set-%s", out->where, kind);
    return 0;
}

/* NULL when it is absent or empty. */
static int get_text(const struct entry *e, const yaml_node_t *map, const char *key, char **out, osmo_error_t *err) {
    const yaml_node_t *v = map ? yaml_get(map, key) : NULL;
    if (!v || v->kind == YAML_NULL || (v->kind == YAML_STRING && !v->text_len))
        return 0;
    if (v->kind != YAML_STRING || strlen(v->text) != v->text_len)
        return osmo_error_set(err, OSMO_EINVAL, "%s of %s must be text: put it in quotes", key, e->where);
    return (*out = str_dup(v->text)) ? 0 : no_memory(err);
}

static int get_flag(const struct entry *e, const yaml_node_t *map, const char *key, bool *out, osmo_error_t *err) {
    const yaml_node_t *v = yaml_get(map, key);
    if (v && v->kind != YAML_BOOL && v->kind != YAML_NULL)
        return osmo_error_set(err, OSMO_EINVAL, "%s of %s must be true or false", key, e->where);
    *out = v && v->kind == YAML_BOOL && v->boolean;
    return 0;
}

static int get_path(const struct entry *e, const char *key, char **out, osmo_error_t *err) {
    _cleanup_free_ char *text = NULL;
    int rc = get_text(e, e->content, key, &text, err);
    if (rc < 0 || !text)
        return rc;
    const char *slash = strrchr(e->file->path, '/');
    if (text[0] == '/' || !slash)
        *out = STEAL(text);
    else
        *out = str_printf("%.*s/%s", (int)(slash - e->file->path), e->file->path, text);
    return *out ? 0 : no_memory(err);
}

/* The text behind KEY-data, or the path behind KEY; the text comes first. */
static int get_data(const struct entry *e, const char *key, char **text, char **file, osmo_error_t *err) {
    char data_key[64];
    char *encoded = NULL;
    snprintf(data_key, sizeof data_key, "%s-data", key);
    int rc = get_text(e, e->content, data_key, &encoded, err);
    if (rc == 0 && !encoded)
        return get_path(e, key, file, err);
    if (rc < 0)
        return rc;
    _cleanup_buf_ buf_t pem = BUF_SECRET(FILE_BYTES_MAX);
    if (crypto_base64_decode(encoded, strlen(encoded), &pem, NULL) < 0 || !strstr(buf_cstr(&pem), "-----BEGIN ") ||
        strlen(buf_cstr(&pem)) != pem.len)
        rc = osmo_error_set(err, OSMO_EINVAL, "%s of %s is no PEM in base64: make it with base64 -w0 FILE", data_key, e->where);
    else if (!(*text = str_dup(pem.data)))
        rc = no_memory(err);
    kube_wipe(&encoded);
    return rc;
}

/* ---- clusters ---- */

static int check_server(const struct entry *e, struct kube_entries *out, osmo_error_t *err) {
    osmo_error_t why = OSMO_ERROR_INIT;
    const char *rest;
    url_parts_t u;
    if (!out->server)
        return osmo_error_set(err, OSMO_EINVAL, "%s has no server: write server: https://HOST:PORT", e->where);
    if (url_parse_origin(out->server, &u, &rest, &why) < 0 || strncmp(u.scheme, "http", 4) || strpbrk(rest, "?#"))
        return osmo_error_set(err, OSMO_EINVAL, "server of %s is no usable URL%s%s: write https://HOST:PORT", e->where,
                              why.text[0] ? ": " : "", why.text);
    for (size_t n = strlen(out->server); n && out->server[n - 1] == '/'; n--)
        out->server[n - 1] = '\0';
    if (out->insecure && (out->ca_file || out->ca_pem))
        return osmo_error_set(err, OSMO_EINVAL, "%s has a certificate-authority and insecure-skip-tls-verify: remove one of them",
                              e->where);
    return 0;
}

static int check_proxy(const struct entry *e, const char *proxy, osmo_error_t *err) {
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    for (size_t i = 0; proxy && i < ARRAY_SIZE(schemes); i++) {
        if (str_starts(proxy, schemes[i]))
            return 0;
    }
    return !proxy ? 0 : osmo_error_set(err, OSMO_EINVAL, "proxy-url of %s must begin with http://, https:// or socks5://", e->where);
}

static int read_cluster(const struct entry *e, struct kube_entries *out, osmo_error_t *err) {
    int rc = get_text(e, e->content, "server", &out->server, err);
    if (rc == 0 && e->content)
        rc = get_flag(e, e->content, "insecure-skip-tls-verify", &out->insecure, err);
    if (rc == 0)
        rc = get_text(e, e->content, "tls-server-name", &out->server_name, err);
    if (rc == 0)
        rc = get_text(e, e->content, "proxy-url", &out->proxy, err);
    if (rc == 0)
        rc = get_data(e, "certificate-authority", &out->ca_pem, &out->ca_file, err);
    if (rc == 0)
        rc = check_proxy(e, out->proxy, err);
    if (rc == 0)
        rc = check_server(e, out, err);
    if (rc == 0 && !(out->cluster_where = str_dup(e->where)))
        rc = no_memory(err);
    return rc;
}

/* What the cluster tells plugins, in its extension "client.authentication.k8s.io/exec". */
static int read_plugin_config(const struct entry *cluster, struct kube_exec *x, osmo_error_t *err) {
    const yaml_node_t *all = cluster->content ? yaml_get(cluster->content, "extensions") : NULL;
    for (size_t i = 0; all && all->kind == YAML_LIST && i < all->len; i++) {
        const yaml_node_t *name = yaml_get(all->values[i], "name"), *v = yaml_get(all->values[i], "extension");
        if (name && name->kind == YAML_STRING && !strcmp(name->text, "client.authentication.k8s.io/exec") && v && !x->cluster_config) {
            int rc = yaml_to_json(v, &x->cluster_config, err);
            if (rc < 0) {
                osmo_error_prefix(err, "extension client.authentication.k8s.io/exec of %s", cluster->where);
                return rc;
            }
        }
    }
    return 0;
}

/* ---- users ---- */

static int set_variable(strlist_t *environment, const char *name, const char *value) {
    size_t len = strlen(name);
    char *text = str_printf("%s=%s", name, value);
    if (!text)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < environment->len; i++) {
        if (!strncmp(environment->items[i], name, len) && environment->items[i][len] == '=') {
            kube_wipe(&environment->items[i]);
            environment->items[i] = text;
            return 0;
        }
    }
    int rc = strlist_add(environment, text);
    kube_wipe(&text);
    return rc;
}

static int read_environment(const struct entry *e, const yaml_node_t *exec, const char *const *base, strlist_t *out, osmo_error_t *err) {
    const yaml_node_t *env = yaml_get(exec, "env");
    for (size_t i = 0; base && base[i] && i < ENVIRONMENT_MAX; i++) {
        if (strlist_add(out, base[i]) < 0)
            return no_memory(err);
    }
    for (size_t i = 0; env && env->kind == YAML_LIST && i < env->len; i++) {
        char *name = NULL, *value = NULL;
        int rc = get_text(e, env->values[i], "name", &name, err);
        if (rc == 0)
            rc = get_text(e, env->values[i], "value", &value, err);
        if (rc == 0 && (!name || strchr(name, '=')))
            rc = osmo_error_set(err, OSMO_EINVAL, "env of exec of %s has a variable without a usable name", e->where);
        if (rc == 0 && set_variable(out, name, value ? value : "") < 0)
            rc = no_memory(err);
        free(name);
        kube_wipe(&value);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_args(const struct entry *e, const yaml_node_t *exec, strlist_t *out, osmo_error_t *err) {
    const yaml_node_t *args = yaml_get(exec, "args");
    for (size_t i = 0; args && args->kind == YAML_LIST && i < args->len; i++) {
        if (args->values[i]->kind != YAML_STRING)
            return osmo_error_set(err, OSMO_EINVAL, "args of exec of %s must be texts: put them in quotes", e->where);
        if (strlist_add(out, args->values[i]->text) < 0)
            return no_memory(err);
    }
    return 0;
}

static int find_command(const struct entry *e, const char *command, struct kube_exec *x, osmo_error_t *err) {
    const char *slash = strrchr(e->file->path, '/');
    _cleanup_free_ char *dir = slash ? strndup(e->file->path, (size_t)(slash - e->file->path)) : str_dup(".");
    if (!dir)
        return no_memory(err);
    int rc = kube_exec_find(command, dir, &x->environment, &x->command);
    if (rc != OSMO_ENOTFOUND)
        return rc == 0 ? 0 : no_memory(err);
    return osmo_error_set(err, OSMO_ENOTFOUND, "the credential plugin %s of %s is not there, or cannot be executed: %s", command, e->where,
                          x->hint ? x->hint : "install it, or write its whole path");
}

static int check_exec(const struct entry *e, const char *command, const char *mode, const struct kube_exec *x, osmo_error_t *err) {
    if (!command)
        return osmo_error_set(err, OSMO_EINVAL, "exec of %s has no command", e->where);
    if (!x->api_version || (strcmp(x->api_version, "client.authentication.k8s.io/v1") &&
                            strcmp(x->api_version, "client.authentication.k8s.io/v1beta1")))
        return osmo_error_set(err, OSMO_EINVAL, "apiVersion of exec of %s must be client.authentication.k8s.io/v1 or v1beta1%s: update the "
                              "plugin and have it write the entry again", e->where, x->api_version ? ", not what it is" : "");
    if (mode && !strcmp(mode, "Always"))
        return osmo_error_set(err, OSMO_EINVAL, "exec of %s wants a terminal (interactiveMode: Always), and there is none: use a service "
                              "account's token instead", e->where);
    return 0;
}

static int read_exec(const struct entry *e, const struct entry *cluster, const yaml_node_t *exec, const char *const *environment,
                     struct kube_entries *out, osmo_error_t *err) {
    _cleanup_free_ char *command = NULL, *mode = NULL;
    struct kube_exec *x = out->exec = calloc(1, sizeof *x);
    if (!x)
        return no_memory(err);
    if (exec->kind != YAML_MAP)
        return osmo_error_set(err, OSMO_EINVAL, "exec of %s is no mapping", e->where);
    x->timeout_ms = EXEC_TIMEOUT_MS;
    int rc = get_text(e, exec, "command", &command, err);
    if (rc == 0)
        rc = get_text(e, exec, "apiVersion", &x->api_version, err);
    if (rc == 0)
        rc = get_text(e, exec, "installHint", &x->hint, err);
    for (char *p = x->hint; p && *p; p++)
        *p = (unsigned char)*p < ' ' ? ' ' : *p; /* error texts are one line */
    if (rc == 0)
        rc = get_text(e, exec, "interactiveMode", &mode, err);
    if (rc == 0)
        rc = get_flag(e, exec, "provideClusterInfo", &x->wants_cluster, err);
    if (rc == 0)
        rc = check_exec(e, command, mode, x, err);
    if (rc == 0)
        rc = read_args(e, exec, &x->args, err);
    if (rc == 0)
        rc = read_environment(e, exec, environment, &x->environment, err);
    if (rc == 0)
        rc = read_plugin_config(cluster, x, err);
    return rc == 0 ? find_command(e, command, x, err) : rc;
}

static int add_impersonation(struct kube_entries *out, const struct entry *e, const char *header, const char *value, osmo_error_t *err) {
    for (const char *p = value; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 127)
            return osmo_error_set(err, OSMO_EINVAL, "whom %s acts as has a control character in its name", e->where);
    }
    _cleanup_free_ char *text = str_printf("%s: %s", header, value);
    return text && strlist_add(&out->impersonate, text) == 0 ? 0 : no_memory(err);
}

static int read_impersonation(const struct entry *e, struct kube_entries *out, osmo_error_t *err) {
    _cleanup_free_ char *as = NULL, *uid = NULL;
    const yaml_node_t *groups = e->content ? yaml_get(e->content, "as-groups") : NULL;
    const yaml_node_t *extra = e->content ? yaml_get(e->content, "as-user-extra") : NULL;
    int rc = get_text(e, e->content, "as", &as, err);
    if (rc == 0)
        rc = get_text(e, e->content, "as-uid", &uid, err);
    if (rc == 0 && extra && extra->len)
        rc = osmo_error_set(err, OSMO_EINVAL, "as-user-extra of %s is not supported: remove it", e->where);
    if (rc == 0 && !as && (uid || (groups && groups->len)))
        rc = osmo_error_set(err, OSMO_EINVAL, "%s has as-uid or as-groups, but not as: name the user", e->where);
    if (rc == 0 && as)
        rc = add_impersonation(out, e, "Impersonate-User", as, err);
    if (rc == 0 && uid)
        rc = add_impersonation(out, e, "Impersonate-Uid", uid, err);
    for (size_t i = 0; rc == 0 && groups && groups->kind == YAML_LIST && i < groups->len; i++)
        rc = groups->values[i]->kind == YAML_STRING ? add_impersonation(out, e, "Impersonate-Group", groups->values[i]->text, err)
             : osmo_error_set(err, OSMO_EINVAL, "as-groups of %s must be texts: put them in quotes", e->where);
    return rc;
}

static int check_user(const struct entry *e, const struct kube_entries *out, osmo_error_t *err) {
    const yaml_node_t *old = e->content ? yaml_get(e->content, "auth-provider") : NULL;
    if (old && old->kind != YAML_NULL) {
        const yaml_node_t *name = yaml_get(old, "name");
        const char *text = name && name->kind == YAML_STRING ? name->text : "?";
        return osmo_error_set(err, OSMO_EINVAL, "%s uses the auth-provider \"%s\", which Kubernetes has dropped: replace it by an exec "
                              "plugin (%s)", e->where, text, !strcmp(text, "gcp") ? "gke-gcloud-auth-plugin"
                              : !strcmp(text, "azure") ? "kubelogin" : "kubectl oidc-login get-token");
    }
    bool token = out->token || out->token_file, basic = out->user || out->password, cert = out->cert_pem || out->cert_file;
    if (token + basic + (out->exec != NULL) > 1)
        return osmo_error_set(err, OSMO_EINVAL, "%s has more than one of token, username and exec: remove all but one", e->where);
    if (cert != (out->key_pem || out->key_file))
        return osmo_error_set(err, OSMO_EINVAL, "%s has %s: add %s", e->where, cert ? "a client-certificate without its key"
                              : "a client-key without its certificate", cert ? "client-key" : "client-certificate");
    return 0;
}

static int read_user(const struct entry *e, const struct entry *cluster, const char *const *environment, struct kube_entries *out,
                     osmo_error_t *err) {
    const yaml_node_t *exec = e->content ? yaml_get(e->content, "exec") : NULL;
    int rc = get_text(e, e->content, "token", &out->token, err);
    if (rc == 0)
        rc = get_path(e, "tokenFile", &out->token_file, err);
    if (rc == 0)
        rc = get_text(e, e->content, "username", &out->user, err);
    if (rc == 0)
        rc = get_text(e, e->content, "password", &out->password, err);
    if (rc == 0)
        rc = get_data(e, "client-certificate", &out->cert_pem, &out->cert_file, err);
    if (rc == 0)
        rc = get_data(e, "client-key", &out->key_pem, &out->key_file, err);
    if (rc == 0 && exec && exec->kind != YAML_NULL)
        rc = read_exec(e, cluster, exec, environment, out, err);
    if (rc == 0)
        rc = read_impersonation(e, out, err);
    if (rc == 0 && !(out->user_where = str_dup(e->where)))
        rc = no_memory(err);
    return rc == 0 ? check_user(e, out, err) : rc;
}

/* ---- contexts ---- */

static const char *current_context(const struct merged *m) {
    for (size_t i = 0; i < m->n; i++) {
        const yaml_node_t *v = yaml_get(m->files[i].tree, "current-context");
        if (v && v->kind == YAML_STRING && v->text_len)
            return v->text;
    }
    return NULL;
}

static int read_context(const struct merged *m, const char *name, const char *const *environment, struct kube_entries *out,
                        osmo_error_t *err) {
    _cleanup_(entry_clear) struct entry context = {0}, cluster = {0}, user = {0};
    _cleanup_free_ char *cluster_name = NULL, *user_name = NULL;
    int rc = find_entry(m, "context", name, &context, err);
    if (rc == 0)
        rc = get_text(&context, context.content, "cluster", &cluster_name, err);
    if (rc == 0)
        rc = get_text(&context, context.content, "user", &user_name, err);
    if (rc == 0)
        rc = get_text(&context, context.content, "namespace", &out->namespace_, err);
    if (rc == 0 && !cluster_name)
        rc = osmo_error_set(err, OSMO_EINVAL, "%s names no cluster: see kubectl config set-context", context.where);
    if (rc == 0)
        rc = find_entry(m, "cluster", cluster_name, &cluster, err);
    if (rc == 0)
        rc = read_cluster(&cluster, out, err);
    if (rc == 0 && user_name) /* without one it is anybody, as with kubectl */
        rc = find_entry(m, "user", user_name, &user, err);
    return rc == 0 && user_name ? read_user(&user, &cluster, environment, out, err) : rc;
}

int kubeconfig_read(const char *files, const char *context, const char *const *environment, struct kube_entries *out, osmo_error_t *err) {
    _cleanup_(merged_clear) struct merged m = {.n = 0};
    memset(out, 0, sizeof *out);
    int rc = read_files(files, &m, err);
    if (rc == 0 && !context && !(context = current_context(&m)))
        rc = osmo_error_set(err, OSMO_EINVAL, "the kubeconfig %s has no current-context: name one of its contexts (kubectl config "
                            "get-contexts), or set it with kubectl config use-context", m.files[0].path);
    if (rc == 0)
        rc = read_context(&m, context, environment, out, err);
    if (rc < 0)
        kube_entries_free(out);
    return rc;
}
