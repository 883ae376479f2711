/* Which nodes serve which pools: a platform takes a node whose labels contain the platform's and whose taints it
 * tolerates. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "model/node_match.h"

int node_set_load(struct call *c, struct node_set *out, osmo_error_t *err) {
    db_t *db;
    memset(out, 0, sizeof *out);
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_node_list(db, NULL, &out->nodes, &out->n, err);
    if (rc < 0)
        return rc;
    out->labels = calloc(out->n + 1, sizeof(json_t *));
    out->taints = calloc(out->n + 1, sizeof(json_t *));
    if (!out->labels || !out->taints) {
        node_set_clear(out);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < out->n; i++) {
        out->labels[i] = json_from_text(out->nodes[i].labels_json, NULL);
        out->taints[i] = json_from_text(out->nodes[i].taints_json, NULL);
    }
    return 0;
}

void node_set_clear(struct node_set *s) {
    for (size_t i = 0; s->labels && i < s->n; i++)
        json_free(s->labels[i]);
    for (size_t i = 0; s->taints && i < s->n; i++)
        json_free(s->taints[i]);
    free(s->labels);
    free(s->taints);
    node_rows_free(s->nodes, s->n);
    memset(s, 0, sizeof *s);
}

bool node_serves_platform(const struct node_set *s, size_t node, const struct pool *p, const struct platform *pl) {
    const struct node_row *r = &s->nodes[node];
    if (!r->available || !str_eq(r->backend, p->backend))
        return false;
    _cleanup_json_ json_t *selector = json_from_text(pl->labels_json, NULL);
    _cleanup_json_ json_t *tolerations = json_from_text(pl->tolerations_json, NULL);
    return node_labels_match(s->labels[node], selector) && node_taints_tolerated(s->taints[node], tolerations);
}

bool node_serves_pool(const struct node_set *s, size_t node, const struct pool *p) {
    for (size_t i = 0; i < p->nplatforms; i++) {
        if (node_serves_platform(s, node, p, &p->platforms[i]))
            return true;
    }
    return false;
}
