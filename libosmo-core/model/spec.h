/* The workflow specification as C structs: parsed from YAML, validated, normalised to groups. Pure.
 * Facts: OSMO 6.4 workflow grammar (version 2). All strings are owned by the struct. */
#ifndef MODEL_SPEC_H
#define MODEL_SPEC_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "base/yaml.h"
#include "model/settings.h"
#include "model/spec_findings.h"
#include "osmo/error.h"

struct spec_topology { char *key, *group; bool preferred; };
struct spec_resource {
    char *name;
    bool has_cpu, has_gpu;
    int64_t cpu, gpu;
    char *memory, *storage;          /* quantity text as it goes to the pod; NULL = unset */
    char *platform;                  /* filled by spec_resolve */
    strlist_t nodes_excluded;
    struct spec_topology *topology; size_t ntopology;
    int line, column;
};
struct spec_input { char *workflow, *task, *url, *regex; };
    /* task inputs: task set, workflow only for wf:task; else url */
struct spec_output { char *url, *regex; };
struct spec_kpi { char *index, *path; };
struct spec_file { char *path, *contents; bool base64; };
struct spec_checkpoint { char *path, *url, *regex; int64_t frequency_us; };
struct spec_env { char *name, *value; };
struct spec_exit_action { char *action, *codes; };            /* spelling as written */
struct spec_task {
    char *name, *image;
    strlist_t command, args;
    struct spec_env *env; size_t nenv;
    struct spec_file *files; size_t nfiles;
    struct spec_input *inputs; size_t ninputs;
    struct spec_output *outputs; size_t noutputs;
    struct spec_kpi *kpis; size_t nkpis;
    json_t *credentials;                                       /* object or NULL: name → mount dir or {ENV: key} */
    char *resource;                                            /* default "default" */
    bool lead, privileged, host_network;
    strlist_t volume_mounts;
    struct spec_exit_action *exit_actions; size_t nexit_actions;
    struct spec_checkpoint *checkpoints; size_t ncheckpoints;
    char *download_type, *cache_size;
    int line, column;
};
struct spec_group {
    char *name;
    bool barrier, ignore_nonlead_status;
    bool has_downstream;                     /* some later group consumes it; survives spec_group_from_json */
    int line, column;
    struct spec_task *tasks; size_t ntasks;
    size_t *upstream; size_t nupstream;      /* indexes of groups this one consumes, ascending, no repeats */
    size_t *downstream; size_t ndownstream;
};
struct spec {
    char *name;
    json_t *labels;                          /* object of strings, may be NULL */
    struct spec_group *groups; size_t ngroups;
    struct spec_resource *resources; size_t nresources; /* "default" alone when the document has no resources */
    struct map *by_name;                     /* resource name → entry; see spec_find_resource() */
    bool implicit_groups;                    /* the document has tasks, each became a group */
    bool has_timeout;                        /* the user gave a timeout mapping */
    int64_t given_exec_us, given_queue_us;   /* as the user wrote them, 0 = not given; what is stored */
    int64_t exec_timeout_us, queue_timeout_us; /* 0 = unset; after spec_resolve the effective values */
};

/* ---- the stages of a submission, in OSMO 6.4's order ----
 * Each adds all its findings to f and returns 0, or f's code when f holds findings (OSMO_ENOMEM when memory ran out).
 * A stage is only meaningful when those before it found nothing. spec_findings_result() makes an error of them,
 * spec_findings_write() the whole text. Paths are those of the document: `workflow.tasks.0.command`. */

/* Schema of the value of the `workflow` section (OSMO_EUSAGE; a malformed size gives OSMO_ERESOURCE), then implicit
 * groups and dependencies (OSMO_EUSAGE, OSMO_ESUBMISSION: an input names an unknown task). *schema_failed (may be
 * NULL) tells the two apart. */
int spec_read(const yaml_node_t *workflow, struct spec **out, bool *schema_failed, struct spec_findings *f);
/* Platforms filled in, topology keys of the pool, resources of tasks. OSMO_ERESOURCE, OSMO_ESUBMISSION. */
int spec_place(struct spec *s, const struct pool *pool, struct spec_findings *f);
/* max_num_tasks. OSMO_EUSER. */
int spec_check_count(const struct spec *s, const struct settings *limits, struct spec_findings *f);
/* Label policies over the final labels (NULL = none): OSMO_EUSAGE for `enforce`; the words of `warn` go to warnings.
 * Also labels that become invalid behind pod_label_prefix. */
int spec_check_labels(const json_t *labels, const struct settings *settings, strlist_t *warnings,
                      struct spec_findings *f);
/* Lengths of the names of workflow, groups and tasks. OSMO_EUSER. */
int spec_check_names(const struct spec *s, const struct settings *limits, struct spec_findings *f);
/* GPUs of each group against what the pool guarantees, unless the priority is LOW. OSMO_EUSAGE. */
int spec_check_guarantee(const struct spec *s, const struct pool *pool, const char *priority, struct spec_findings *f);
/* One set of topology keys in the whole workflow; then for each task: platform, privileged, hostNetwork, mounts,
 * cacheSize. OSMO_ERESOURCE. validate_tasks() (model/validate.h) does the same with the resource rules in between. */
int spec_check_platforms(const struct spec *s, const struct pool *pool, struct spec_findings *f);
/* Images and storage addresses. OSMO_EUSAGE. */
int spec_check_addresses(const struct spec *s, struct spec_findings *f);
/* Effective timeouts: given, else of the pool, else of the settings; lowered to the maximum. */
void spec_set_timeouts(struct spec *s, const struct settings *settings, const struct pool *pool);

/* Labels of a document (node of `labels`, NULL = none) or of a stored workflow (base, NULL = none; used when there is
 * no node), overlaid by "key=value" items. *out is NULL when there are none at all. The merged map is checked: at most
 * 16, text to text, valid keys and values. OSMO_EUSAGE. */
int spec_labels_merge(const yaml_node_t *labels, const json_t *base, const strlist_t *overrides, json_t **out,
                      struct spec_findings *f);

/* ---- the same in two calls ---- */

/* spec_read(), and with limits spec_check_count() and spec_check_names(). err->text starts with the number of findings
 * and lists as many as it holds. */
int spec_parse(const yaml_node_t *workflow, const struct settings *limits, struct spec **out, osmo_error_t *err);
/* spec_place(), spec_set_timeouts(), spec_check_platforms(), spec_check_addresses(). */
int spec_resolve(struct spec *s, const struct settings *settings, const struct pool *pool, osmo_error_t *err);
/* env_vars query items "K=V" laid over every task; the value is everything behind the first '='. OSMO_EUSAGE when one
 * has no '=' or no name. */
int spec_overlay_env(struct spec *s, const strlist_t *env_vars, osmo_error_t *err);
void spec_free(struct spec *s);
static inline void spec_freep(struct spec **s) { spec_free(*s); }
size_t spec_task_count(const struct spec *s);
const struct spec_resource *spec_find_resource(const struct spec *s, const char *name);
/* The normalised document {version: 2, workflow: {name, groups, resources, timeout?, labels?}} as upstream stores it. */
json_t *spec_to_json(const struct spec *s);
/* One group with its tasks and the resource entries they use, complete enough to build its pods:
 * {name, barrier, ignoreNonleadStatus, tasks: [...], resources: {...}, hasDownstream: bool}. What the store keeps. */
json_t *spec_group_to_json(const struct spec *s, size_t group);
/* The same two as text, written directly: compact JSON of one group, sorted YAML of the document. They read back as
 * the trees above do and cost a fraction of them. 0, OSMO_ELIMIT (out's maximum) or OSMO_ENOMEM. */
int spec_group_write(const struct spec *s, size_t group, buf_t *out);
int spec_write_yaml(const struct spec *s, buf_t *out);
/* Inverse of spec_group_to_json: a spec with that single group. */
int spec_group_from_json(const json_t *group, struct spec **out, osmo_error_t *err);
/* Seconds text or ISO 8601 duration as OSMO accepts it ("30m", "PT1H", "500ms"). OSMO_EUSAGE. */
int duration_parse(const char *text, int64_t *us, osmo_error_t *err);
/* "90s", "1h30m", with s, m, h and d; -1 when it is none. */
int64_t duration_seconds(const char *text);
/* Shortest single-unit text that parses back: "90m", "3600s" style, so that resubmission works. */
const char *duration_text(int64_t us, char out[32]);
/* Kubernetes-safe container name: cut to 63, trailing -/_ removed, lower case, _ to -. */
void kube_name(const char *name, char out[64]);
/* Kubernetes/OSMO quantity text to bytes (binary units, "m" = byte/1024). false when malformed. */
bool quantity_bytes(const char *text, double *bytes);
#endif
