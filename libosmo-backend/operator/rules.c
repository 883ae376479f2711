/* Availability of a node by its conditions; used by nodes.c alone. Patterns on the type match at the start, patterns on the
 * status match whole; a condition no rule speaks of is ignored, a rule whose condition is absent has no effect. */
#include "operator/rules.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/re.h"

#define RULES_MAX 256

struct rules { size_t len; struct rule { re_t *type, *status; } items[]; };

void rules_free(rules_t *r) {
    for (size_t i = 0; r && i < r->len; i++) {
        re_free(r->items[i].type);
        re_free(r->items[i].status);
    }
    free(r);
}
DEFINE_CLEANUP(rules_t, rules_free)

/* 1 when the pattern speaks of Ready, 0 when not, negative when it must be refused. A pattern that does not compile is skipped. */
static int add_rule(rules_t *r, const char *type, const char *status, osmo_error_t *err) {
    re_t *t = NULL, *s = NULL;
    int rc = re_compile(type, &t, NULL);
    if (rc == 0)
        rc = re_compile(status, &s, NULL);
    if (rc < 0) {
        re_free(t);
        return rc == OSMO_ENOMEM ? osmo_error_set(err, rc, "no memory for node condition rules") : 0;
    }
    bool ready = re_match_start(t, "Ready", 5);
    r->items[r->len++] = (struct rule){ t, s };
    if (ready && strcmp(status, "True") != 0)
        return osmo_error_set(err, OSMO_EINVAL, "node condition rule \"%.100s\" matches Ready and allows \"%.100s\": only True "
                              "is possible there", type, status);
    return ready;
}

int rules_new(const json_t *rules, rules_t **out, osmo_error_t *err) {
    size_t n = json_len(rules);
    if (json_kind(rules) != JSON_OBJECT && json_kind(rules) != JSON_NULL)
        return osmo_error_set(err, OSMO_EINVAL, "node condition rules must be an object");
    if (n > RULES_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "%zu node condition rules, the limit is %d", n, RULES_MAX);
    _cleanup_(rules_freep) rules_t *r = calloc(1, sizeof *r + (n + 1) * sizeof r->items[0]);
    if (!r)
        return osmo_error_set(err, OSMO_ENOMEM, "no memory for node condition rules");
    bool ready = false;
    json_iter_t it = json_iter(rules);
    while (n && json_iter_next(&it)) {
        const char *status = json_str(it.value);
        int rc = status ? add_rule(r, it.key, status, err) : 0;
        if (rc < 0)
            return rc;
        ready = ready || rc;
    }
    if (!ready) {
        int rc = add_rule(r, "^Ready$", "True", err);
        if (rc < 0)
            return rc;
    }
    *out = STEAL(r);
    return OSMO_OK;
}

static bool allows(const rules_t *r, const char *type, const char *status) {
    bool spoken = false;
    for (size_t i = 0; i < r->len; i++) {
        if (!re_match_start(r->items[i].type, type, strlen(type)))
            continue;
        spoken = true;
        if (re_fullmatch(r->items[i].status, status, strlen(status)))
            return true;
    }
    return !spoken;
}

bool rules_allow(const rules_t *r, const json_t *conditions) {
    for (size_t i = 0; i < json_len(conditions); i++) {
        const char *type = json_get_str(json_at(conditions, i), "type");
        const char *status = json_get_str(json_at(conditions, i), "status");
        if (type && !allows(r, type, status ? status : ""))
            return false;
    }
    return true;
}
