/* Where a Kubernetes API server is and how we prove ourselves there: the pod's service account, or kubeconfig files as kubectl merges
 * them. Called by kube_client.c; kube_config.c keeps the proofs fresh, kube_kubeconfig.c reads the files, kube_exec.c runs plugins. */
#ifndef KUBERNETES_KUBE_CONFIG_H
#define KUBERNETES_KUBE_CONFIG_H
#include <stdbool.h>
#include <stdint.h>
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "osmo/backend/kube.h"

/* A program that gives credentials (client.authentication.k8s.io). */
struct kube_exec {
    char *command;          /* absolute; looked for in PATH already */
    char *api_version, *hint;
    strlist_t args, environment; /* the whole environment, "NAME=value" */
    bool wants_cluster;
    json_t *cluster_config; /* of the cluster's extension; may be NULL */
    int64_t timeout_ms;
};
/* What it said; free with kube_credential_clear(). */
struct kube_credential { char *token, *cert_pem, *key_pem; int64_t expires_us; };
/* `cluster` may be NULL. stop_fd: readable when it must end at once (-1: never). OSMO_EUNAUTH, OSMO_ECONFLICT when stopped. */
int kube_exec_run(const struct kube_exec *x, const json_t *cluster, int stop_fd, struct kube_credential *out, osmo_error_t *err);
void kube_credential_clear(struct kube_credential *c);
void kube_exec_free(struct kube_exec *x);
/* Path of a command: with a slash in it, below dir; else in the PATH of the environment. OSMO_ENOTFOUND when it cannot be executed. */
int kube_exec_find(const char *command, const char *dir, const strlist_t *environment, char **out);

/* What a service account or the entries of a kubeconfig say. Paths are absolute or relative to our own directory. */
struct kube_entries {
    char *server, *namespace_, *proxy, *server_name;
    bool insecure;
    char *ca_file, *ca_pem;
    char *token, *token_file, *user, *password, *cert_file, *cert_pem, *key_file, *key_pem;
    strlist_t impersonate;  /* headers */
    struct kube_exec *exec;
    char *cluster_where, *user_where; /* "cluster \"x\" in FILE", for error texts */
};
void kube_entries_free(struct kube_entries *e);
/* `files` has ':' between its names. `environment` is what plugins get. */
int kubeconfig_read(const char *files, const char *context, const char *const *environment, struct kube_entries *out, osmo_error_t *err);
/* Frees a secret without leaving it behind. */
void kube_wipe(char **text);

/* What a request proves itself with at some moment: never changed, only replaced. */
typedef struct kube_login {
    unsigned refs;
    uint64_t number, tls_number; /* grow when anything, and when a certificate, was replaced */
    strlist_t headers;      /* "Authorization: …" and who we act for */
    char *ca_pem, *cert_pem, *key_pem;
    int64_t expires_us;     /* 0 = unknown */
} kube_login_t;

typedef struct kube_config kube_config_t;
int kube_config_open(const osmo_kube_options_t *o, const logger_t *log, kube_config_t **out, osmo_error_t *err);
/* Plugins that run are ended, and none is begun. Any thread. */
void kube_config_stop(kube_config_t *c);
void kube_config_free(kube_config_t *c);
const struct kube_entries *kube_config_entries(const kube_config_t *c);
/* `refused`: number of a login that the server did not take (0 = none): what can be read or asked for again, is. The answer may have that
 * number still: then there is nothing better. Thread-safe; free with kube_login_unref(). */
int kube_config_login(kube_config_t *c, uint64_t refused, kube_login_t **out, osmo_error_t *err);
void kube_login_unref(kube_config_t *c, kube_login_t *l);
#endif
