/* What the operator wants to know of a pod, read from its JSON in one go into one block of memory. Read in the driver's
 * thread, handed to the loop, and used there by the decision table (pod_status.c), the trackers (pods.c, nodes.c) and
 * the snapshot. */
#ifndef OPERATOR_POD_FACTS_H
#define OPERATOR_POD_FACTS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "osmo/error.h"

#define POD_FINALIZER "osmo.nvidia.com/cleanup"

/* What requests are summed of: thousandths of cores, bytes, bytes, pieces. */
enum { USE_CPU, USE_MEMORY, USE_STORAGE, USE_GPU, USE_COUNT };
extern const struct use_kind { const char *name; int scale; } use_kinds[USE_COUNT];

/* Labels of OSMO that say whose a pod is. */
enum { LABEL_WORKFLOW, LABEL_GROUP, LABEL_TASK, LABEL_TASK_NAME, LABEL_RETRY, LABEL_KEPT,
    LABEL_INSTALLATION = LABEL_KEPT, LABEL_COUNT };
extern const char *const label_names[LABEL_COUNT];

enum container_state { CONTAINER_NONE, CONTAINER_WAITING, CONTAINER_RUNNING, CONTAINER_TERMINATED };
struct container_facts {
    const char *name, *reason, *message; /* of the state */
    int64_t exit_code;                   /* osmo-ctrl: the "code" of its message, when it left one */
    enum container_state state;
};
struct condition_facts { const char *type, *status, *reason, *message, *time; };

/* Texts that are not there are NULL; long ones are cut. Ids that are too long to be any are not there. */
typedef struct pod_facts {
    int refs;
    size_t size;                         /* of the block */
    const char *name, *namespace_, *uid, *created, *deleted;
    const char *labels[LABEL_COUNT];
    const char *node, *ip, *container;   /* container: the first regular one */
    const char *phase, *reason, *message;
    const struct condition_facts *conditions;
    const struct container_facts *init, *main;
    size_t nconditions, ninit, nmain;
    int64_t use[USE_COUNT];              /* requests of the regular containers */
    bool host_network, finalizer;
} pod_facts_t;

/* OSMO_EINVAL when it is no object with metadata. Values of odd kinds are as if they were not there, odd quantities
 * count as 0. */
int pod_facts_read(const char *json, size_t len, pod_facts_t **out, osmo_error_t *err);
pod_facts_t *pod_facts_ref(pod_facts_t *f); /* not for several threads at once */
void pod_facts_free(pod_facts_t *f);        /* drops one reference */
static inline void pod_facts_freep(pod_facts_t **f) { pod_facts_free(*f); }
#define _cleanup_facts_ __attribute__((cleanup(pod_facts_freep)))
int64_t pod_facts_retry(const pod_facts_t *f); /* 0 when the label is no number */
/* "" for NULL. */
static inline const char *fact_text(const char *s) { return s ? s : ""; }
#endif
