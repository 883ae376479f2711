/* What workflow_routes.c and task_routes.c show of a workflow. */
#ifndef API_WORKFLOW_VIEW_H
#define API_WORKFLOW_VIEW_H
#include "api/handlers.h"

struct workflow_view {
    const struct workflow_row *w;
    const struct group_row *groups; size_t ngroups;
    const struct task_row *tasks; size_t ntasks; /* in the order of their groups */
    const strlist_t *edges;              /* group names: upstream, downstream, upstream, … */
    const strlist_t *tags;
    const char *base;                    /* URL without trailing slash */
    int64_t now_us, url_lines;           /* lines that the log URLs ask for */
};
/* The answer as text. OSMO_ELIMIT when it is larger than out's maximum. */
int workflow_view_write(const struct workflow_view *v, buf_t *out);
int view_set_durations(json_t *o, int64_t submit_us, int64_t start_us, int64_t end_us, int64_t now_us);
int view_set_apps(json_t *o);
int json_set_url(json_t *o, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
#endif
