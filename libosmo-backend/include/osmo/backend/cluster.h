/**
 * @file osmo/backend/cluster.h
 * @brief The cluster driver: what libosmo-backend needs of a place that runs pods.
 *
 * Objects are Kubernetes manifests as JSON bytes. A driver instance is used by several threads at once and reports changes
 * through its sink from threads of its own. Three drivers ship: local, kubernetes and scripted.
 */
#ifndef OSMO_BACKEND_CLUSTER_H
#define OSMO_BACKEND_CLUSTER_H
#include <stdint.h>
#include <osmo/error.h>
#ifdef __cplusplus
extern "C" {
#endif
/** Kind of change, as a Kubernetes watch names it. */
typedef enum osmo_change {
    OSMO_CHANGE_ADDED = 1,    /**< the object is new, or was there when the watch began */
    OSMO_CHANGE_MODIFIED = 2, /**< it changed */
    OSMO_CHANGE_DELETED = 3   /**< it is gone; the last known state is reported */
} osmo_change_t;
/** Where a driver reports. Called from the driver's thread; the callee copies. JSON texts are not NUL-terminated. */
typedef struct osmo_cluster_sink {
    size_t size; /**< sizeof(osmo_cluster_sink_t) */
    void *ctx;   /**< first argument of every function */
    /** Pod with metadata, spec, status. */
    void (*pod)(void *ctx, osmo_change_t change, const char *json, size_t len);
    /** Node with metadata, spec, status. */
    void (*node)(void *ctx, osmo_change_t change, const char *json, size_t len);
    /** A core/v1 Event. */
    void (*event)(void *ctx, const char *json, size_t len);
    /** Log line: 10 debug, 20 info, 30 warning, 40 error. */
    void (*log)(void *ctx, int level, const char *text);
    /** What describe() says may be something else now. */
    void (*state)(void *ctx);
    /** All nodes that were there have been told by node(); again after each list of them. */
    void (*nodes_told)(void *ctx);
} osmo_cluster_sink_t;
/** Options common to drivers; driver-specific ones are "key=value" strings. */
typedef struct osmo_cluster_options {
    size_t size;                      /**< sizeof(osmo_cluster_options_t) */
    const char *name;                 /**< backend name */
    const char *namespace_;           /**< namespace of workflow objects */
    const char *state_dir;            /**< private directory of the driver */
    /**
     * "key=value", NULL-terminated. local: runtime-dir, cpu-overcommit, image (NAME=ROOTFS, repeatable), no-sandbox,
     * hide (path, repeatable). scripted: script. kubernetes: kubeconfig, context, service-host, service-port, usage (cluster, or
     * namespace: count only pods of workflows), include-namespace (its pods count as workflows', repeatable), test-namespace, qps, burst,
     * page-size, scheduler (auto, kai, or osmo: place pods ourselves).
     */
    const char *const *settings;
    /** "NAME=VALUE" and a NULL: what programs that the driver runs get; NULL = none. Outlives the driver. */
    const char *const *environment;
} osmo_cluster_options_t;
/** Called for each object found; return non-zero to stop. */
typedef int (*osmo_cluster_object_fn)(void *ctx, const char *json, size_t len);
/** Driver vtable. A NULL member means unsupported. */
typedef struct osmo_cluster_driver {
    size_t size;      /**< sizeof(osmo_cluster_driver_t) */
    const char *name; /**< as osmo_cluster_driver_find() takes it */
    /**
     * Open, start the watch; existing objects are reported as ADDED. 0 or negative with a text that says what to install
     * or change.
     */
    int (*open)(const osmo_cluster_options_t *options, const osmo_cluster_sink_t *sink, void **impl, osmo_error_t *err);
    /** Identity of the cluster: a UUID text that stays the same over restarts, at most 63 characters. */
    const char *(*uid)(void *impl);
    /** Create one object. ::OSMO_EEXISTS when it exists, ::OSMO_EBUSY, ::OSMO_EUNAVAIL, ::OSMO_ETIMEOUT, ::OSMO_ECONFLICT,
     * ::OSMO_EUNAUTH and ::OSMO_EIO may pass; others are permanent. */
    int (*create)(void *impl, const char *json, size_t len, osmo_error_t *err);
    /**
     * Remove every object of a kind that matches "k=v,k=v"; strips the cleanup finalizer of pods. force: no grace.
     * @return number removed or negative
     */
    int (*remove)(void *impl, const char *api_version, const char *kind, const char *selector, int force,
                  osmo_error_t *err);
    /** Every object of a kind that matches the selector. */
    int (*list)(void *impl, const char *api_version, const char *kind, const char *selector, osmo_cluster_object_fn fn,
                void *ctx, osmo_error_t *err);
    /** Last @p tail lines of a container's output, in pieces. */
    int (*logs)(void *impl, const char *pod, const char *container, int tail, osmo_cluster_object_fn fn, void *ctx,
                osmo_error_t *err);
    /** Merge-patch labels or other fields of a named object. */
    int (*patch)(void *impl, const char *api_version, const char *kind, const char *name, const char *json, size_t len,
                 osmo_error_t *err);
    /** Stop reporting and free. Running pods stay (local: their supervisors go on). */
    void (*close)(void *impl);
    /** Put one object in the place of the one of its kind and name; not for pods. ::OSMO_ENOTFOUND when there is none. */
    int (*replace)(void *impl, const char *json, size_t len, osmo_error_t *err);
    /** Remove one object by its name; not for pods. ::OSMO_ENOTFOUND when there is none. */
    int (*erase)(void *impl, const char *api_version, const char *kind, const char *name, osmo_error_t *err);
    /** How many create() calls may usefully run at once; NULL = 1. */
    int (*width)(void *impl);
    /** One line about how the cluster works or what is wrong with it now ("" when nothing is to be said), for the status of the backend. */
    int (*describe)(void *impl, char *out, size_t cap);
    /**
     * Calls that run, and all later ones, end at once with ::OSMO_ECONFLICT; before close(), from any thread. NULL = no call takes
     * long.
     */
    void (*stop)(void *impl);
} osmo_cluster_driver_t;
/** Driver by name ("local", "kubernetes", "scripted"), or NULL. Static. */
OSMO_API const osmo_cluster_driver_t *osmo_cluster_driver_find(const char *name);
#ifdef __cplusplus
}
#endif
#endif
