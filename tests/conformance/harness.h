/* What the cases of the conformance suite see of a cluster driver: a cluster that is opened and closed, what its sink was told, and objects
 * as the control plane makes them. */
#ifndef CONFORMANCE_HARNESS_H
#define CONFORMANCE_HARNESS_H
#include <stdbool.h>
#include "base/json.h"
#include "osmo/backend/cluster.h"

/* In what the drivers are allowed to differ. */
struct traits {
    const char *driver;
    bool keeps;  /* objects outlive close() */
    bool gangs;  /* a PodGroup starts together */
    bool typed;  /* it knows which kinds there are */
    bool events; /* it tells of Events */
};
extern const struct traits *traits;
extern const osmo_cluster_driver_t *driver;
extern void *cluster;
extern char run_id[9]; /* distinguishes the objects of this run */

/* ---- checks: a case goes on after one that fails ---- */
extern int checks_failed;
void check_that(bool holds, const char *file, int line, const char *format, ...) __attribute__((format(printf, 4, 5)));
#define EXPECT(holds, ...) check_that((holds), __FILE__, __LINE__, __VA_ARGS__)
#define EXPECT_RC(call, want, err)                                                                                                     \
    do {                                                                                                                               \
        int rc_ = (call);                                                                                                              \
        check_that(rc_ == (want), __FILE__, __LINE__, "%s is %d (%s), not %d", #call, rc_, rc_ < 0 ? (err)->text : "", (int)(want));     \
    } while (0)

/* ---- the cluster ---- */
bool cluster_open(osmo_error_t *err);
void cluster_close(void);

/* ---- what was told of a pod ---- */
enum wanted { PENDING_WITH_CAUSE, RUNNING, SUCCEEDED, FAILED, GONE };
/* False after a minute and a half. */
bool wait_pod(const char *name, enum wanted what);
/* Its last state; the caller frees. NULL when nothing was told. */
json_t *pod_state(const char *name);
int pod_exit_code(const char *name);
char *some_node(void);
bool wait_node(void);
bool wait_event(const char *pod);
/* Forget what was told, for a restart. */
void forget(void);

/* ---- objects ---- */
/* What it does is the name of a task of the script: "ok" says so and ends well, "fail" ends with 7, "long" runs, "never" fits nowhere. */
void make_group(const char *group, int members);
int make_pod(const char *group, const char *name, const char *task, osmo_error_t *err);
int make(const char *text, osmo_error_t *err);
char *group_selector(const char *group); /* of everything that belongs to it */
int remove_group(const char *group, const char *kind, bool force, osmo_error_t *err);
/* Number of objects, or negative; *text (may be NULL) is the last of them. */
int count(const char *api_version, const char *kind, const char *selector, char **text, osmo_error_t *err);
const char *id(const char *word, char out[64]); /* word-RUN */

struct test_case { const char *name; void (*run)(void); };
extern const struct test_case cases[];
extern const int ncases;
#endif
