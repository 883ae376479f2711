/* Keeps up with one kind of objects: list, watch from there, and again from where it got to; relist when the server forgot that version. A
 * thread of its own calls the sink with what changed, in order, and with the difference after a relist: nothing that happened meanwhile is
 * missed, deletions included. Of each object it keeps name, uid and version only. Called by the driver (kubernetes.c, gang.c). */
#ifndef KUBERNETES_REFLECTOR_H
#define KUBERNETES_REFLECTOR_H
#include <stdbool.h>
#include "base/log.h"
#include "osmo/backend/cluster.h"
#include "osmo/backend/kube.h"

struct reflector_options {
    osmo_kube_target_t what;    /* its strings are copied */
    int page_size;
    bool optional;              /* a kind the server does not have is looked for again each minute, without noise: there are none of it */
    bool from_now;              /* what is there at the start is not told, deletions never are; nothing is kept of the objects */
    int64_t pause_max_ms;       /* between two tries; 0 = 30000 */
    const logger_t *log;
    void *ctx;
    /* The bytes of a deleted object are its last state, or {"metadata":{name,namespace,uid}} when only a relist told of it. */
    void (*change)(void *ctx, osmo_change_t change, const char *json, size_t len);
    void (*synced)(void *ctx);  /* after each whole list; may be NULL */
    /* Something is wrong, or right again (NULL): for the backend's status. May be NULL. */
    void (*state)(void *ctx, const char *trouble);
};
typedef struct reflector reflector_t;
int reflector_start(osmo_kube_t *k, const struct reflector_options *o, reflector_t **out, osmo_error_t *err);
/* Call osmo_kube_stop() first. */
void reflector_stop(reflector_t *r);
#endif
