/* What roles permit, prepared so that a decision costs a few comparisons however many roles, policies and actions there are: for each
 * action the texts and prefixes of resources that are denied and allowed, sorted, and without those that a shorter one covers. See
 * policy.h. */
#include "model/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define POLICY_ACTION_NAME(id, name) name,
static const char *const names[ACTION_COUNT] = { POLICY_ACTIONS(POLICY_ACTION_NAME) };

const char *action_name(enum action a) { return names[a]; }

enum action action_parse(const char *text) {
    for (int a = 1; a < ACTION_COUNT; a++)
        if (str_eq(names[a], text))
            return (enum action)a;
    return ACTION_NONE;
}

/* ---- patterns ---- */

struct pattern { const char *text; size_t len; bool prefix; };
struct rules {
    bool plain;                             /* a request without a resource */
    bool everything;                        /* any resource */
    struct pattern *prefixes; size_t nprefixes; /* none begins with another */
    struct pattern *exact; size_t nexact;   /* none begins with a prefix of the list above */
};
struct grants { struct rules allow[ACTION_COUNT], deny[ACTION_COUNT]; char **texts; size_t ntexts; };

/* "workflow:Create" by itself, "*", "*:*", "workflow:*" or "*:Create". Unregistered actions have no parts. */
static bool action_matches(const char *pattern, const char *action) {
    if (str_eq(pattern, "*") || str_eq(pattern, "*:*"))
        return true;
    if (!*action)
        return false;
    if (str_eq(pattern, action))
        return true;
    size_t len = strlen(pattern), word = strcspn(action, ":");
    if (len > 2 && str_eq(pattern + len - 2, ":*"))
        return word == len - 2 && !memcmp(pattern, action, word);
    return !strncmp(pattern, "*:", 2) && action[word] && str_eq(pattern + 2, action + word + 1);
}

static int by_text(const void *a, const void *b) {
    const struct pattern *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = memcmp(x->text, y->text, n);
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

static bool covers(const struct pattern *prefix, const char *text, size_t len) {
    return len >= prefix->len && !memcmp(prefix->text, text, prefix->len);
}

/* The one prefix that the text may begin with: the last that is not behind it, for no prefix begins with another. */
static bool any_prefix(const struct rules *r, const char *text, size_t len) {
    size_t lo = 0, hi = r->nprefixes;
    const struct pattern key = { text, len, false };
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (by_text(&r->prefixes[mid], &key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo && covers(&r->prefixes[lo - 1], text, len);
}

static bool any_exact(const struct rules *r, const char *text, size_t len) {
    const struct pattern key = { text, len, false };
    return r->nexact && bsearch(&key, r->exact, r->nexact, sizeof *r->exact, by_text);
}

/* Splits what was collected in `exact` and leaves out what says nothing more. */
static int rules_arrange(struct rules *r) {
    struct pattern *all = r->exact;
    size_t n = r->nexact, kept = 0;
    r->exact = NULL;
    r->nexact = 0;
    if (n)
        qsort(all, n, sizeof *all, by_text);
    r->prefixes = n ? calloc(n, sizeof *r->prefixes) : NULL;
    if (n && !r->prefixes) {
        free(all);
        return OSMO_ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        if (all[i].prefix && !(r->nprefixes && covers(&r->prefixes[r->nprefixes - 1], all[i].text, all[i].len)))
            r->prefixes[r->nprefixes++] = all[i];
    for (size_t i = 0; i < n; i++)
        if (!all[i].prefix && !any_prefix(r, all[i].text, all[i].len) && (!kept || by_text(&all[kept - 1], &all[i])))
            all[kept++] = all[i];
    r->exact = all;
    r->nexact = kept;
    return 0;
}

/* ---- putting roles together ---- */

static int keep_text(grants_t *g, const char *text, const char **out) {
    char **grown = realloc(g->texts, (g->ntexts + 1) * sizeof *grown);
    if (!grown)
        return OSMO_ENOMEM;
    g->texts = grown;
    if (!(grown[g->ntexts] = str_dup(text)))
        return OSMO_ENOMEM;
    *out = grown[g->ntexts++];
    return 0;
}

/* `narrow`: what is said of everything does not count. */
static int rules_add(struct rules *r, const struct policy *p, const char *const *texts, bool plain, bool narrow) {
    r->plain |= plain;
    struct pattern *grown = p->resources.len ? realloc(r->exact, (r->nexact + p->resources.len) * sizeof *grown) : r->exact;
    if (p->resources.len && !grown)
        return OSMO_ENOMEM;
    r->exact = grown;
    for (size_t i = 0; i < p->resources.len; i++) {
        size_t len = strlen(texts[i]);
        bool prefix = len && texts[i][len - 1] == '*';
        if (narrow && prefix && len == 1)
            continue;
        r->everything |= prefix && len == 1;
        r->exact[r->nexact++] = (struct pattern){ texts[i], len - prefix, prefix };
    }
    return 0;
}

static bool is_universal(const char *pattern) { return str_eq(pattern, "*") || str_eq(pattern, "*:*"); }

/* The widest pattern that the action matches; NULL when none. */
static const char *policy_action(const struct policy *p, enum action a) {
    const char *found = NULL;
    for (size_t i = 0; i < p->actions.len && !(found && is_universal(found)); i++)
        if (action_matches(p->actions.items[i], names[a]))
            found = p->actions.items[i];
    return found;
}

/* What is allowed is read narrowly where a slip would make an administrator of everybody: requests outside of the registry are for those
 * who may do everything on everything, and tokens of others for those who may do everything, or whose policies speak of users. */
static bool is_plain(const struct policy *p, enum action a) {
    return p->deny || a != ACTION_NONE || strlist_has(&p->resources, "*");
}

static bool is_narrow(const struct policy *p, enum action a, const char *pattern) {
    return !p->deny && a == ACTION_AUTH_TOKEN && !is_universal(pattern);
}

static int add_rule(grants_t *g, enum action a, const struct policy *p, const char *const *texts) {
    const char *pattern = policy_action(p, a);
    if (!pattern)
        return 0;
    return rules_add(p->deny ? &g->deny[a] : &g->allow[a], p, texts, is_plain(p, a), is_narrow(p, a, pattern));
}

static int add_policy(grants_t *g, const struct policy *p) {
    const char **texts = calloc(p->resources.len + 1, sizeof *texts);
    int rc = texts ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < p->resources.len; i++)
        rc = keep_text(g, p->resources.items[i], &texts[i]);
    for (int a = 0; rc >= 0 && a < ACTION_COUNT; a++)
        rc = add_rule(g, (enum action)a, p, texts);
    free(texts);
    return rc;
}

int grants_new(const struct role *const *roles, size_t n, grants_t **out, osmo_error_t *err) {
    grants_t *g = calloc(1, sizeof *g);
    int rc = g ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < n; i++)
        for (size_t k = 0; rc >= 0 && k < roles[i]->npolicies; k++)
            rc = add_policy(g, &roles[i]->policies[k]);
    for (int a = 0; rc >= 0 && a < ACTION_COUNT; a++) {
        rc = rules_arrange(&g->allow[a]);
        if (rc >= 0)
            rc = rules_arrange(&g->deny[a]);
    }
    if (rc < 0) {
        grants_free(g);
        return osmo_error_set(err, rc, "out of memory");
    }
    *out = g;
    return 0;
}

void grants_free(grants_t *g) {
    if (!g)
        return;
    for (int a = 0; a < ACTION_COUNT; a++) {
        free(g->allow[a].prefixes);
        free(g->allow[a].exact);
        free(g->deny[a].prefixes);
        free(g->deny[a].exact);
    }
    for (size_t i = 0; i < g->ntexts; i++)
        free(g->texts[i]);
    free(g->texts);
    free(g);
}

/* ---- deciding ---- */

static bool rules_match(const struct rules *r, const char *resource, size_t len) {
    if (!len)
        return r->plain;
    return r->everything || any_prefix(r, resource, len) || any_exact(r, resource, len);
}

enum policy_verdict grants_decide(const grants_t *g, enum action a, const char *resource) {
    size_t len = resource ? strlen(resource) : 0;
    if (rules_match(&g->deny[a], resource, len))
        return VERDICT_DENY;
    return rules_match(&g->allow[a], resource, len) ? VERDICT_ALLOW : VERDICT_NONE;
}

bool grants_allow_every(const grants_t *g, enum action a, const char *kind) {
    const struct rules *allow = &g->allow[a];
    return !g->deny[a].plain && (allow->everything || any_prefix(allow, kind, strlen(kind)));
}

bool grants_allow_some(const grants_t *g, enum action a, const char *kind) {
    const struct rules *allow = &g->allow[a], *deny = &g->deny[a];
    size_t len = strlen(kind);
    const struct pattern under = { kind, len, true };
    if (deny->everything || any_prefix(deny, kind, len))
        return false;
    if (allow->everything || any_prefix(allow, kind, len))
        return true;
    for (size_t i = 0; i < allow->nprefixes; i++)
        if (covers(&under, allow->prefixes[i].text, allow->prefixes[i].len) &&
            !any_prefix(deny, allow->prefixes[i].text, allow->prefixes[i].len))
            return true;
    for (size_t i = 0; i < allow->nexact; i++)
        if (covers(&under, allow->exact[i].text, allow->exact[i].len) && !rules_match(deny, allow->exact[i].text, allow->exact[i].len))
            return true;
    return false;
}

/* ---- one policy ---- */

bool policy_matches(const struct policy *p, enum action a, const char *resource, struct policy_match *out) {
    size_t len = resource ? strlen(resource) : 0;
    *out = (struct policy_match){ policy_action(p, a), NULL };
    if (!out->action)
        return false;
    if (!len)
        return is_plain(p, a);
    for (size_t i = 0; i < p->resources.len; i++) {
        const char *text = p->resources.items[i];
        size_t n = strlen(text);
        bool prefix = text[n - 1] == '*';
        if (prefix && n == 1 && is_narrow(p, a, out->action))
            continue;
        if (prefix ? len >= n - 1 && !memcmp(text, resource, n - 1) : str_eq(text, resource)) {
            out->resource = text;
            return true;
        }
    }
    return false;
}
