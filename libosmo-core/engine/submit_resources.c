/* What the tasks ask of their platforms: the resource rules of the pool against the nodes that its backend has
 * reported, permissions and mounts. A platform without known nodes refuses nothing: its tasks wait, as the backend may
 * be connected later. Called by submit_checks.c. */
#include <string.h>

#include "engine/submit_internal.h"
#include "model/node_match.h"
#include "model/validate.h"

struct node_facts {
    struct node_row *rows;
    size_t n;
    json_t **labels, **taints;
    struct validate_node *sizes; /* name NULL: it has not reported its capacity */
};

static json_t *tree(const char *text) {
    json_t *v = NULL;
    return text && json_parse(text, strlen(text), &v, NULL) >= 0 ? v : NULL;
}

static void facts_clear(struct node_facts *f) {
    for (size_t i = 0; i < f->n; i++) {
        if (f->labels)
            json_free(f->labels[i]);
        if (f->taints)
            json_free(f->taints[i]);
    }
    free(f->labels);
    free(f->taints);
    free(f->sizes);
    node_rows_free(f->rows, f->n);
}

/* What pods of others use is not there for tasks. Also of a node that is not available now: it may come back. */
static struct validate_node size_of(const struct node_row *r) {
    _cleanup_json_ json_t *all = tree(r->allocatable_json), *foreign = tree(r->foreign_usage_json);
    static const char *const names[] = { "cpu", "nvidia.com/gpu", "memory", "ephemeral-storage" };
    double left[ARRAY_SIZE(names)];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        left[i] = node_quantity(all, names[i]) - node_quantity(foreign, names[i]);
    bool known = json_has(all, names[0]) && json_has(all, names[2]) && json_has(all, names[3]);
    return (struct validate_node){ known ? r->name : NULL, left[0], left[1], left[2], left[3] };
}

static int facts_load(struct submission *s, struct node_facts *f, osmo_error_t *err) {
    db_t *db;
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = repo_node_list(db, s->pool->backend, &f->rows, &f->n, err);
    if (rc < 0)
        return rc;
    f->labels = calloc(f->n + 1, sizeof *f->labels);
    f->taints = calloc(f->n + 1, sizeof *f->taints);
    f->sizes = calloc(f->n + 1, sizeof *f->sizes);
    if (!f->labels || !f->taints || !f->sizes)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < f->n; i++) {
        f->labels[i] = tree(f->rows[i].labels_json);
        f->taints[i] = tree(f->rows[i].taints_json);
        f->sizes[i] = size_of(&f->rows[i]);
    }
    return 0;
}

/* Nodes that serve the platform, into an array of its own. */
static int platform_nodes(const struct node_facts *f, const struct platform *p, struct validate_platform *out) {
    _cleanup_json_ json_t *selector = tree(p->labels_json), *tolerations = tree(p->tolerations_json);
    struct validate_node *nodes = calloc(f->n + 1, sizeof *nodes);
    *out = (struct validate_platform){ .platform = p, .nodes = nodes };
    for (size_t i = 0; nodes && i < f->n; i++)
        if (f->sizes[i].name && node_labels_match(f->labels[i], selector) &&
            node_taints_tolerated(f->taints[i], tolerations))
            nodes[out->nnodes++] = f->sizes[i];
    return nodes ? 0 : OSMO_ENOMEM;
}

int submission_check_resources(struct submission *s, osmo_error_t *err) {
    _cleanup_(facts_clear) struct node_facts f = { 0 };
    struct spec_findings found = SPEC_FINDINGS_INIT;
    size_t n = s->pool->nplatforms;
    submission_step(s, true, FAILURE_ID_NONE);
    int rc = facts_load(s, &f, err);
    if (rc < 0)
        return rc;
    _cleanup_free_ struct validate_platform *platforms = calloc(n + 1, sizeof *platforms);
    if (!platforms)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; rc >= 0 && i < n; i++)
        if (platform_nodes(&f, &s->pool->platforms[i], &platforms[i]) < 0)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0) {
        validate_tasks(s->spec, s->pool, submission_priority(s), platforms, n, &found);
        if (found.len && found.items[0].nodes) /* upstream names the workflow in this case only */
            submission_step(s, true, FAILURE_ID_NAME);
        rc = submission_findings(s, &found, err);
    }
    for (size_t i = 0; i < n; i++)
        free((void *)platforms[i].nodes);
    return rc;
}
