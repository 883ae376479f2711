/**
 * @file osmo/backend/pod_status.h
 * @brief From a Kubernetes pod to an OSMO task status: the decision table with exit code offsets. Pure.
 */
#ifndef OSMO_BACKEND_POD_STATUS_H
#define OSMO_BACKEND_POD_STATUS_H
#include <stdint.h>
#include <osmo/error.h>
#ifdef __cplusplus
extern "C" {
#endif
/** Outcome of osmo_pod_status(). Owned by the caller; free message with osmo_pod_status_clear(). */
typedef struct osmo_pod_status {
    const char *status;   /**< task status name, static, or NULL when the pod's phase is Unknown: ignore it */
    int64_t exit_code;    /**< -1 = none */
    char *message;        /**< cause in words, "" when there is none */
    int monitor;          /**< 1 when a start timeout should be armed (pending but not in the queue) */
} osmo_pod_status_t;
/** Decide. @p now_us is used by the rules with a grace time. ::OSMO_EINVAL when the JSON is not a pod. */
OSMO_API int osmo_pod_status(const char *pod_json, size_t len, int64_t now_us, osmo_pod_status_t *out, osmo_error_t *err);
/** Free the message of a result. */
OSMO_API void osmo_pod_status_clear(osmo_pod_status_t *s);
#ifdef __cplusplus
}
#endif
#endif
