/**
 * @file osmo/backend/kube.h
 * @brief A client of the Kubernetes API: objects as JSON bytes, typed errors, one pool of connections.
 *
 * Every function may be called by several threads at once, and blocks. What cannot be reached, is overloaded (429, 5xx) or was cut is
 * tried again with backoff and jitter, a Retry-After honoured, until the request's time is over; so is what a server forbids that has
 * just started and is not ready. A 401 makes it look for a newer token, certificate or answer of the plugin at once, and try once more
 * with that. Codes: ::OSMO_EUNAUTH 401, ::OSMO_EDENIED 403, ::OSMO_ENOTFOUND 404 (and kinds the server does not have), ::OSMO_EEXISTS 409
 * with reason AlreadyExists, ::OSMO_ECONFLICT other 409, ::OSMO_EGONE 410, ::OSMO_EINVAL 400 and 422, ::OSMO_EBUSY 429, ::OSMO_EUNAVAIL
 * 5xx or no connection, ::OSMO_ETIMEOUT, ::OSMO_EIO. The error's text is the server's own message. Source: the Kubernetes API
 * conventions, API concepts.
 */
#ifndef OSMO_BACKEND_KUBE_H
#define OSMO_BACKEND_KUBE_H
#include <stddef.h>
#include <stdint.h>
#include <osmo/error.h>
#ifdef __cplusplus
extern "C" {
#endif
/** A client. */
typedef struct osmo_kube osmo_kube_t;
/** Options of osmo_kube_open(). Zero-initialise and set size. */
typedef struct osmo_kube_options {
    size_t size;                     /**< sizeof(osmo_kube_options_t) */
    const char *kubeconfig;          /**< file, or several with ':' between them; NULL = the pod's service account */
    const char *context;             /**< NULL = the kubeconfig's current-context */
    const char *service_host;        /**< without a kubeconfig: what $KUBERNETES_SERVICE_HOST says */
    const char *service_port;        /**< $KUBERNETES_SERVICE_PORT; NULL = 443 */
    const char *service_account_dir; /**< NULL = /var/run/secrets/kubernetes.io/serviceaccount; its token is read again each minute */
    const char *user_agent;          /**< NULL = "osmo-backend/VERSION" */
    double qps;                      /**< requests a second on average; 0 = no limit */
    int burst;                       /**< requests at once beyond that; 0 = 1.5 times qps */
    int64_t timeout_ms;              /**< of one try; 0 = 30000. A page of a list has four times that, logs have none while they come */
    int64_t retry_ms;                /**< how long a request is tried again in all; 0 = 60000; -1 = one try */
    int max_connections;             /**< 0 = 16; watches have their own */
    void (*log)(void *ctx, int level, const char *text); /**< where log lines go; NULL = nowhere */
    void *log_ctx;                   /**< first argument of log */
    const char *const *environment;  /**< "NAME=VALUE" and a NULL: what credential plugins get, and whose PATH they are looked for in;
                                          NULL = none */
    int64_t idle_ms;                 /**< a watch that is silent for so long is taken for dead once the server has shown that it sends
                                          bookmarks; 0 = 180000 */
} osmo_kube_options_t;
/**
 * Read the configuration; asks the server nothing yet. 0 or negative with a text that names file, entry and remedy. Of kubeconfigs
 * everything counts that kubectl takes, but auth-provider, as-user-extra and plugins that need a terminal, which are refused. A login is
 * not sent to an http:// server unless that is on this machine.
 */
OSMO_API int osmo_kube_open(const osmo_kube_options_t *options, osmo_kube_t **out, osmo_error_t *err);
/** All requests that run, and all later ones, end at once with ::OSMO_ECONFLICT. For the way down; any thread. */
OSMO_API void osmo_kube_stop(osmo_kube_t *k);
/** Free a client that nobody uses any more. NULL is fine. */
OSMO_API void osmo_kube_free(osmo_kube_t *k);
/** Namespace of the context or of the service account, or NULL. Borrowed. */
OSMO_API const char *osmo_kube_get_namespace(const osmo_kube_t *k);
/** "https://host:port". Borrowed. */
OSMO_API const char *osmo_kube_get_server(const osmo_kube_t *k);

/** What a server has under a kind's name. */
typedef struct osmo_kube_resource {
    char path[160];                  /**< "/api/v1" or "/apis/GROUP/VERSION" */
    char plural[96];                 /**< as in a URL */
    int namespaced;                  /**< 1 or 0 */
} osmo_kube_resource_t;
/**
 * Find out by discovery, remembered; asked again when the kind is not there, at most once a second. Only the group itself is asked for,
 * so that another group whose server is down does no harm. ::OSMO_ENOTFOUND when the server has none.
 */
OSMO_API int osmo_kube_discover(osmo_kube_t *k, const char *api_version, const char *kind, osmo_kube_resource_t *out, osmo_error_t *err);

/** Which objects: a kind in a namespace (NULL = all, or the kind has none), optionally one by name. */
typedef struct osmo_kube_target {
    size_t size;                     /**< sizeof(osmo_kube_target_t) */
    const char *api_version;         /**< "v1", "batch/v1" … */
    const char *kind;                /**< "Pod" … */
    const char *namespace_;          /**< NULL = all namespaces, or none */
    const char *name;                /**< one object; NULL = the collection */
    const char *subresource;         /**< "status", "log", "binding" …; NULL = the object */
    const char *label_selector;      /**< collections: NULL = all */
    const char *field_selector;      /**< collections: NULL = all */
} osmo_kube_target_t;
/** Called for each object; return non-zero to stop. Not NUL-terminated. Items of lists come without apiVersion and kind. */
typedef int (*osmo_kube_object_fn)(void *ctx, const char *json, size_t len);

/** Size of a resourceVersion with its NUL. */
#define OSMO_KUBE_VERSION_MAX 64
/**
 * Every object, page by page (@p page_size 0 = 500), never more than one page in memory. @p version may be NULL or "" (the newest), "0"
 * (whatever the server has at hand, which it may give as a single page) or another (not older than that); on success it becomes the
 * list's resourceVersion. ::OSMO_EGONE when it expired half way: begin again. ::OSMO_ELIMIT for a page of more than 256 MiB that cannot
 * be made smaller.
 */
OSMO_API int osmo_kube_list(osmo_kube_t *k, const osmo_kube_target_t *what, int page_size, char version[OSMO_KUBE_VERSION_MAX],
                            osmo_kube_object_fn fn, void *ctx, osmo_error_t *err);
/** What a watch tells. */
typedef enum osmo_kube_change {
    OSMO_KUBE_ADDED = 1,     /**< it is there */
    OSMO_KUBE_MODIFIED = 2,  /**< it changed */
    OSMO_KUBE_DELETED = 3,   /**< it is gone; its last state */
    OSMO_KUBE_BOOKMARK = 4   /**< nothing but metadata.resourceVersion: everything up to there was told */
} osmo_kube_change_t;
/** Called in the thread of osmo_kube_watch(); return non-zero to stop. */
typedef int (*osmo_kube_change_fn)(void *ctx, osmo_kube_change_t change, const char *json, size_t len);
/**
 * Watch from a resourceVersion on, with bookmarks, on a connection of its own, for some time between half of @p seconds and all of it, so
 * that watches do not end together. 0 when the server ended it or @p fn did; ::OSMO_EGONE when the version is too old, whether as a
 * status or as an event; ::OSMO_ETIMEOUT when the server went silent; ::OSMO_ELIMIT for an event of more than 16 MiB. Not tried again:
 * the caller knows how far it got; but when the server asked to wait (429, "too large resource version"), that time is over on return.
 */
OSMO_API int osmo_kube_watch(osmo_kube_t *k, const osmo_kube_target_t *what, const char *version, int seconds, osmo_kube_change_fn fn,
                             void *ctx, osmo_error_t *err);

/** One object. *json is malloc'ed. */
OSMO_API int osmo_kube_get(osmo_kube_t *k, const osmo_kube_target_t *what, char **json, size_t *len, osmo_error_t *err);
/**
 * POST to the collection (or the subresource of a name). A request that was cut is sent again, so an object may be found to exist that
 * the first try made: ::OSMO_EEXISTS (a binding: ::OSMO_ECONFLICT). An object without metadata.name is not sent again. @p out_json may be
 * NULL.
 */
OSMO_API int osmo_kube_create(osmo_kube_t *k, const osmo_kube_target_t *what, const char *json, size_t len, char **out_json,
                              osmo_error_t *err);
/** PUT. With a metadata.resourceVersion in it: ::OSMO_ECONFLICT when somebody was faster. */
OSMO_API int osmo_kube_replace(osmo_kube_t *k, const osmo_kube_target_t *what, const char *json, size_t len, char **out_json,
                               osmo_error_t *err);
/** Kinds of patches. */
typedef enum osmo_kube_patch { OSMO_KUBE_PATCH_MERGE = 1, OSMO_KUBE_PATCH_STRATEGIC = 2, OSMO_KUBE_PATCH_JSON = 3 } osmo_kube_patch_t;
/** PATCH. @p field_manager may be NULL. A JSON patch that was cut is not sent again: it may count twice. */
OSMO_API int osmo_kube_patch(osmo_kube_t *k, const osmo_kube_target_t *what, osmo_kube_patch_t type, const char *json, size_t len,
                             const char *field_manager, osmo_error_t *err);
/** How to delete. */
typedef struct osmo_kube_delete {
    size_t size;                     /**< sizeof(osmo_kube_delete_t) */
    int64_t grace_s;                 /**< -1 = the object's own */
    const char *propagation;         /**< "Foreground", "Background", "Orphan" or NULL */
    const char *uid;                 /**< only this one: ::OSMO_ECONFLICT for another of the name; NULL = any */
} osmo_kube_delete_t;
/**
 * DELETE one object, or with a NULL name the whole selection, which must have a namespace or a selector. @p how may be NULL. What was cut
 * is sent again, so ::OSMO_ENOTFOUND can also mean that the first try did it.
 */
OSMO_API int osmo_kube_remove(osmo_kube_t *k, const osmo_kube_target_t *what, const osmo_kube_delete_t *how, osmo_error_t *err);
/** The last @p tail lines (0 = all) of a container's output, in pieces as they come. Once some came, a cut is ::OSMO_EIO. */
OSMO_API int osmo_kube_logs(osmo_kube_t *k, const char *namespace_, const char *pod, const char *container, int tail,
                            osmo_kube_object_fn fn, void *ctx, osmo_error_t *err);
#ifdef __cplusplus
}
#endif
#endif
