/* Keeps what we prove ourselves with fresh: token and certificate files are read again each minute, plugins are asked again when what
 * they gave expires, and both at once when the server refuses it. Logins are handed out by reference, so that a request keeps the one it
 * began with. Called by kube_client.c. */
#include "cluster/kubernetes/kube_config.h"
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/file.h"
#include "base/http.h"

#define SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"
#define REREAD_US (60 * INT64_C(1000000))
#define EXPIRY_SLACK_US (10 * INT64_C(1000000)) /* a plugin is asked so long before its answer expires */
#define TOKEN_MAX (64u << 10)
#define PEM_MAX (4u << 20)
#define NAMESPACE_MAX 256u

struct kube_config {
    struct kube_entries entries;
    const logger_t *log;
    json_t *cluster;          /* what plugins are told about it */
    int stop_fd;
    pthread_mutex_t lock;     /* held while files are read and plugins run: who needs a login has to wait for that anyway */
    kube_login_t *current;
    int64_t reread_at_us;     /* by the monotonic clock */
    bool complained;
};

/* ---- opening ---- */

static int service_account(const osmo_kube_options_t *o, struct kube_entries *e, osmo_error_t *err) {
    const char *dir = o->service_account_dir ? o->service_account_dir : SERVICE_ACCOUNT_DIR;
    const char *host = o->service_host, *port = o->service_port && *o->service_port ? o->service_port : "443";
    _cleanup_buf_ buf_t name = BUF_INIT(NAMESPACE_MAX);
    if (!host || !*host)
        return osmo_error_set(err, OSMO_EINVAL, "there is no kubeconfig, and this is no pod (KUBERNETES_SERVICE_HOST is not set): name a "
                              "kubeconfig");
    bool literal = strchr(host, ':') && host[0] != '[';
    e->server = str_printf("https://%s%s%s:%s", literal ? "[" : "", host, literal ? "]" : "", port);
    e->ca_file = str_printf("%s/ca.crt", dir);
    e->token_file = str_printf("%s/token", dir);
    e->cluster_where = str_printf("the service account in %s", dir);
    e->user_where = str_dup(e->cluster_where);
    _cleanup_free_ char *path = str_printf("%s/namespace", dir);
    if (!e->server || !e->ca_file || !e->token_file || !e->user_where || !path)
        return no_memory(err);
    if (file_read(path, &name, NULL) == 0) {
        size_t len = strcspn(buf_cstr(&name), " \t\r\n");
        if (len && !(e->namespace_ = strndup(name.data, len)))
            return no_memory(err);
    }
    url_parts_t u;
    const char *rest;
    if (url_parse_origin(e->server, &u, &rest, NULL) < 0)
        return osmo_error_set(err, OSMO_EINVAL, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT (%s, %s) are no address and port",
                              host, port);
    return 0;
}

/* A password, a token or a certificate in the clear is only for our own machine (kubectl proxy, sidecars). */
static int check_clear(const struct kube_entries *e, osmo_error_t *err) {
    url_parts_t u;
    const char *rest;
    bool proves = e->token || e->token_file || e->user || e->exec;
    if (!proves || url_parse_origin(e->server, &u, &rest, NULL) < 0 || !strcmp(u.scheme, "https") ||
        host_is_loopback(u.host, strlen(u.host)))
        return 0;
    return osmo_error_set(err, OSMO_EINVAL, "server of %s is http://, and %s would be sent there in the clear: write https://",
                          e->cluster_where, e->user_where);
}

static int read_pem(const char *file, const char *text, const char *where, char **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t b = BUF_SECRET(PEM_MAX);
    *out = NULL;
    if (text)
        return (*out = str_dup(text)) ? 0 : no_memory(err);
    if (!file)
        return 0;
    int rc = file_read(file, &b, err);
    if (rc < 0) {
        osmo_error_prefix(err, "%s", where);
        return rc;
    }
    if (!strstr(buf_cstr(&b), "-----BEGIN ") || strlen(b.data) != b.len)
        return osmo_error_set(err, OSMO_EINVAL, "%s: %s is no PEM file", where, file);
    return (*out = str_dup(b.data)) ? 0 : no_memory(err);
}

/* What a plugin may know about the cluster. */
static int describe_cluster(kube_config_t *c, osmo_error_t *err) {
    const struct kube_entries *e = &c->entries;
    char *pem = NULL;
    if (!e->exec || !e->exec->wants_cluster)
        return 0;
    int rc = read_pem(e->ca_file, e->ca_pem, e->cluster_where, &pem, err);
    if (rc < 0)
        return rc;
    c->cluster = json_object();
    rc = json_set_str(c->cluster, "server", e->server);
    if (pem) {
        _cleanup_buf_ buf_t text = BUF_INIT(2 * PEM_MAX);
        rc |= crypto_base64(pem, strlen(pem), &text) | json_set_str(c->cluster, "certificate-authority-data", buf_cstr(&text));
    }
    if (e->server_name)
        rc |= json_set_str(c->cluster, "tls-server-name", e->server_name);
    if (e->insecure)
        rc |= json_set_bool(c->cluster, "insecure-skip-tls-verify", true);
    if (e->proxy)
        rc |= json_set_str(c->cluster, "proxy-url", e->proxy);
    if (e->exec->cluster_config)
        rc |= json_set(c->cluster, "config", json_ref(e->exec->cluster_config));
    free(pem);
    return rc == 0 ? 0 : no_memory(err);
}

int kube_config_open(const osmo_kube_options_t *o, const logger_t *log, kube_config_t **out, osmo_error_t *err) {
    kube_login_t *first = NULL;
    kube_config_t *c = calloc(1, sizeof *c);
    if (!c)
        return no_memory(err);
    c->log = log;
    pthread_mutex_init(&c->lock, NULL);
    c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = c->stop_fd < 0 ? osmo_error_set(err, OSMO_EIO, "cannot make an eventfd: %m")
             : o->kubeconfig && *o->kubeconfig ? kubeconfig_read(o->kubeconfig, o->context, o->environment, &c->entries, err)
             : service_account(o, &c->entries, err);
    if (rc == 0)
        rc = check_clear(&c->entries, err);
    if (rc == 0)
        rc = describe_cluster(c, err);
    if (rc == 0 && !c->entries.exec) /* what is wrong with files is told at once; a plugin may take its time */
        rc = kube_config_login(c, 0, &first, err);
    kube_login_unref(c, first);
    if (rc < 0) {
        kube_config_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

static void free_login(kube_login_t *l) {
    for (size_t i = 0; i < l->headers.len; i++)
        crypto_wipe(l->headers.items[i], strlen(l->headers.items[i]));
    strlist_free(&l->headers);
    kube_wipe(&l->ca_pem);
    kube_wipe(&l->cert_pem);
    kube_wipe(&l->key_pem);
    free(l);
}

void kube_config_stop(kube_config_t *c) { eventfd_write(c->stop_fd, 1); }

void kube_config_free(kube_config_t *c) {
    if (!c)
        return;
    if (c->current)
        free_login(c->current);
    if (c->stop_fd >= 0)
        close(c->stop_fd);
    kube_entries_free(&c->entries);
    json_free(c->cluster);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

const struct kube_entries *kube_config_entries(const kube_config_t *c) { return &c->entries; }

/* ---- logins ---- */

/* Bearer TOKEN, which must not be able to end the header. */
static int add_token(kube_login_t *l, const char *token, const char *where, osmo_error_t *err) {
    size_t len = strlen(token);
    for (; len && strchr(" \t\r\n", token[len - 1]); len--)
        ;
    for (; len && strchr(" \t\r\n", token[0]); len--)
        token++;
    if (!len)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token of %s is empty", where);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)token[i] <= ' ' || (unsigned char)token[i] > 126)
            return osmo_error_set(err, OSMO_EUNAUTH, "the token of %s has a blank or a control character in it: it is one line of text",
                                  where);
    }
    char *header = str_printf("Authorization: Bearer %.*s", (int)len, token);
    int rc = header && strlist_add(&l->headers, header) == 0 ? 0 : no_memory(err);
    kube_wipe(&header);
    return rc;
}

static int add_password(kube_login_t *l, const struct kube_entries *e, osmo_error_t *err) {
    _cleanup_buf_ buf_t pair = BUF_SECRET(TOKEN_MAX), header = BUF_SECRET(2 * TOKEN_MAX);
    buf_printf(&pair, "%s:%s", e->user ? e->user : "", e->password ? e->password : "");
    buf_puts(&header, "Authorization: Basic ");
    if (!buf_failed(&pair))
        crypto_base64(pair.data, pair.len, &header);
    return !buf_failed(&pair) && !buf_failed(&header) && strlist_add(&l->headers, buf_cstr(&header)) == 0 ? 0 : no_memory(err);
}

static int add_token_file(kube_login_t *l, const struct kube_entries *e, osmo_error_t *err) {
    _cleanup_buf_ buf_t b = BUF_SECRET(TOKEN_MAX);
    _cleanup_free_ char *where = str_printf("%s (%s)", e->user_where, e->token_file);
    int rc = where ? file_read(e->token_file, &b, err) : no_memory(err);
    if (rc == OSMO_ENOTFOUND && e->token)
        return add_token(l, e->token, e->user_where, err);
    if (rc < 0) {
        osmo_error_prefix(err, "%s", e->user_where);
        return rc;
    }
    return add_token(l, buf_cstr(&b), where, err);
}

static int ask_plugin(kube_config_t *c, kube_login_t *l, osmo_error_t *err) {
    struct kube_credential got;
    int rc = kube_exec_run(c->entries.exec, c->cluster, c->stop_fd, &got, err);
    if (rc == 0 && got.token)
        rc = add_token(l, got.token, c->entries.user_where, err);
    if (rc == 0 && got.cert_pem) {
        l->cert_pem = STEAL(got.cert_pem);
        l->key_pem = STEAL(got.key_pem);
    }
    l->expires_us = got.expires_us;
    kube_credential_clear(&got);
    if (rc < 0 && rc != OSMO_ECONFLICT)
        osmo_error_prefix(err, "%s", c->entries.user_where);
    return rc;
}

static int make_login(kube_config_t *c, kube_login_t *l, osmo_error_t *err) {
    const struct kube_entries *e = &c->entries;
    int rc = read_pem(e->ca_file, e->ca_pem, e->cluster_where, &l->ca_pem, err);
    if (rc == 0)
        rc = read_pem(e->cert_file, e->cert_pem, e->user_where, &l->cert_pem, err);
    if (rc == 0)
        rc = read_pem(e->key_file, e->key_pem, e->user_where, &l->key_pem, err);
    if (rc == 0 && e->token_file)
        rc = add_token_file(l, e, err);
    else if (rc == 0 && e->token)
        rc = add_token(l, e->token, e->user_where, err);
    else if (rc == 0 && (e->user || e->password))
        rc = add_password(l, e, err);
    else if (rc == 0 && e->exec)
        rc = ask_plugin(c, l, err);
    for (size_t i = 0; rc == 0 && i < e->impersonate.len; i++)
        rc = strlist_add(&l->headers, e->impersonate.items[i]) == 0 ? 0 : no_memory(err);
    return rc;
}

static bool same_tls(const kube_login_t *a, const kube_login_t *b) {
    return str_eq(a->ca_pem, b->ca_pem) && str_eq(a->cert_pem, b->cert_pem) && str_eq(a->key_pem, b->key_pem);
}

static bool same_headers(const kube_login_t *a, const kube_login_t *b) {
    bool same = a->headers.len == b->headers.len;
    for (size_t i = 0; same && i < a->headers.len; i++)
        same = str_eq(a->headers.items[i], b->headers.items[i]);
    return same;
}

static void drop(kube_login_t *l) {
    if (l && --l->refs == 0)
        free_login(l);
}

static int64_t next_look(const kube_config_t *c) {
    const struct kube_entries *e = &c->entries;
    bool files = e->token_file || e->ca_file || e->cert_file || e->key_file;
    return files && !e->exec ? clock_mono_us() + REREAD_US : INT64_MAX;
}

/* Called with the lock. A login that is made again but says the same stays the same one. */
static int renew(kube_config_t *c, osmo_error_t *err) {
    kube_login_t *fresh = calloc(1, sizeof *fresh), *old = c->current;
    int rc = fresh ? make_login(c, fresh, err) : no_memory(err);
    if (rc < 0) {
        if (fresh)
            free_login(fresh);
        return rc;
    }
    c->complained = false;
    c->reread_at_us = next_look(c);
    if (old && same_tls(old, fresh) && same_headers(old, fresh)) {
        old->expires_us = fresh->expires_us;
        free_login(fresh);
        return 0;
    }
    fresh->refs = 1;
    fresh->number = old ? old->number + 1 : 1;
    fresh->tls_number = !old ? 1 : old->tls_number + !same_tls(old, fresh);
    c->current = fresh;
    drop(old);
    return 0;
}

int kube_config_login(kube_config_t *c, uint64_t refused, kube_login_t **out, osmo_error_t *err) {
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    const kube_login_t *l = c->current;
    bool expired = l && l->expires_us && clock_now_us() >= l->expires_us - EXPIRY_SLACK_US;
    bool forced = l && refused == l->number;
    if (!l || expired || forced || clock_mono_us() >= c->reread_at_us)
        rc = renew(c, &why);
    if (rc < 0 && c->current && !expired && !c->entries.exec) { /* files are gone for a moment: what they said may still do */
        if (!c->complained)
            log_warning(c->log, "%s; going on with what was read before", why.text);
        c->complained = true;
        c->reread_at_us = next_look(c);
        rc = 0;
    }
    if (rc == 0) {
        *out = c->current;
        (*out)->refs++;
    } else {
        osmo_error_set(err, rc, "%s", why.text);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void kube_login_unref(kube_config_t *c, kube_login_t *l) {
    if (!l)
        return;
    pthread_mutex_lock(&c->lock);
    drop(l);
    pthread_mutex_unlock(&c->lock);
}
