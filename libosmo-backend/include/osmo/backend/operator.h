/**
 * @file osmo/backend/operator.h
 * @brief The backend operator: five listener sockets and one worker socket towards a service, always dialing out.
 */
#ifndef OSMO_BACKEND_OPERATOR_H
#define OSMO_BACKEND_OPERATOR_H
#include <osmo/backend/cluster.h>
#ifdef __cplusplus
extern "C" {
#endif
/** A running operator. */
typedef struct osmo_operator osmo_operator_t;
/** Options of osmo_operator_open(). Zero-initialise and set size. */
typedef struct osmo_operator_options {
    size_t size;                  /**< sizeof(osmo_operator_options_t) */
    const char *service_url;      /**< http(s)://host:port */
    const char *backend;          /**< backend name */
    const char *namespace_;       /**< NULL = "default" */
    const char *token_file;       /**< access token, re-read at every connect; NULL = dev mode */
    const char *user;             /**< x-osmo-user in dev mode; NULL = "osmo-backend" */
    const char *driver;           /**< "local", "kubernetes" or "scripted" */
    const char *state_dir;        /**< private directory; NULL is fine for kubernetes */
    const char *const *settings;  /**< for the driver, see osmo_cluster_options_t */
    void (*log)(void *ctx, int level, const char *text); /**< where log lines go; NULL = nowhere */
    void *log_ctx;                /**< first argument of log */
    int log_level;                /**< lines below this level are not made: 10 debug, 20 info, 30 warning, 40 error */
    /** Whose certificates are believed in: a PEM file, a directory, or both; NULL, NULL = those of the system. For the whole process. */
    const char *ca_file;
    const char *ca_dir;           /**< beside or instead of ca_file */
    const char *node_condition_prefix; /**< of the conditions that tests of nodes set; NULL = "osmo.nvidia.com/" */
    const char *health_listen;    /**< ADDRESS:PORT for /healthz, /readyz and /metrics; NULL = none */
    /** kubernetes: name of the Lease that only one of several replicas holds and works under; NULL = this one is the only one. */
    const char *lease;
    const char *agent_namespace;  /**< of the lease; NULL = that of the pod or of the kubeconfig's context */
    const char *identity;         /**< of this replica, in the lease; needed with one */
    const char *test_namespace;   /**< kubernetes: where tests of nodes run; NULL = "osmo-test" */
    const char *test_image;       /**< kubernetes: image of osmo-node-test; NULL = osmo/backend:VERSION */
    const char *test_template;    /**< kubernetes: template of their CronJob, as YAML; NULL = the one built in */
    const char *const *environment; /**< as in osmo_cluster_options_t */
    const char *token;            /**< the access token itself, when there is no token_file */
    int label_nodes;              /**< 1 = whether a node is available is written to its label PREFIXverified */
} osmo_operator_options_t;
/** Open the driver and prepare. 0 or a negative code with text. */
OSMO_API int osmo_operator_open(const osmo_operator_options_t *options, osmo_operator_t **out, osmo_error_t *err);
/**
 * Connect and work in the calling thread until osmo_operator_stop(). With a lease it waits for that first, and ends with ::OSMO_EGONE when
 * it is lost: free the operator and open a new one to stand by again.
 */
OSMO_API int osmo_operator_run(osmo_operator_t *op, osmo_error_t *err);
/** End osmo_operator_run() soon; any thread. Running pods stay. */
OSMO_API void osmo_operator_stop(osmo_operator_t *op);
/** Free an operator whose osmo_operator_run() has returned. NULL is fine. */
OSMO_API void osmo_operator_free(osmo_operator_t *op);
#ifdef __cplusplus
}
#endif
#endif
