/* Which nodes serve which pools: a platform takes a node whose labels contain the platform's and whose taints it
 * tolerates. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "model/spec.h"

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

static bool labels_contain(const json_t *have, const char *wanted_json) {
    _cleanup_json_ json_t *wanted = json_from_text(wanted_json, NULL);
    json_iter_t it = json_iter(wanted);
    while (json_iter_next(&it)) {
        const char *value = json_get_str(have, it.key);
        if (!value || !str_eq(value, json_str(it.value)))
            return false;
    }
    return true;
}

static bool tolerates(const json_t *toleration, const json_t *taint) {
    const char *key = json_get_str(toleration, "key"), *effect = json_get_str(toleration, "effect");
    if (key && *key && !str_eq(key, json_get_str(taint, "key")))
        return false;
    if (effect && *effect && !str_eq(effect, json_get_str(taint, "effect")))
        return false;
    if (str_eq(json_get_str(toleration, "operator"), "Exists"))
        return true;
    const char *a = json_get_str(toleration, "value"), *b = json_get_str(taint, "value");
    return !strcmp(a ? a : "", b ? b : "");
}

static bool taints_covered(const json_t *taints, const char *tolerations_json) {
    _cleanup_json_ json_t *tolerations = json_from_text(tolerations_json, NULL);
    for (size_t i = 0; i < json_len(taints); i++) {
        const json_t *taint = json_at(taints, i);
        bool covered = str_eq(json_get_str(taint, "effect"), "PreferNoSchedule");
        for (size_t j = 0; !covered && j < json_len(tolerations); j++)
            covered = tolerates(json_at(tolerations, j), taint);
        if (!covered)
            return false;
    }
    return true;
}

bool node_serves_platform(const struct node_set *s, size_t node, const struct pool *p, const struct platform *pl) {
    const struct node_row *r = &s->nodes[node];
    return r->available && str_eq(r->backend, p->backend) && labels_contain(s->labels[node], pl->labels_json) &&
           taints_covered(s->taints[node], pl->tolerations_json);
}

bool node_serves_pool(const struct node_set *s, size_t node, const struct pool *p) {
    for (size_t i = 0; i < p->nplatforms; i++) {
        if (node_serves_platform(s, node, p, &p->platforms[i]))
            return true;
    }
    return false;
}

double quantity_of(const json_t *resources, const char *name) {
    const json_t *v = json_get(resources, name);
    const char *text = json_str(v);
    char *end;
    double n = 0;
    if (!text)
        return json_as_double(v, 0);
    if (!strcmp(name, "cpu")) {
        n = strtod(text, &end);
        return *end == 'm' ? n / 1000 : n;
    }
    return quantity_bytes(text, &n) ? n : 0;
}
