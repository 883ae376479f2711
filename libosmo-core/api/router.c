/* The route index: see router.h. Look-up costs one binary search a segment, whatever the number of routes. */
#include "api/router.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "osmo/error.h"

struct leaf { const char *method; const void *row; };
struct node {
    const char *segment;                   /* borrowed from the pattern */
    size_t len;
    struct node **children; size_t nchildren; /* sorted by segment */
    struct node *param, *rest;
    struct leaf *leaves; size_t nleaves;
};
struct router { struct node root; };
struct span { const char *p; size_t n; };
struct search { const char *method; const void *row; bool other_method; struct span params[ROUTER_MAX_PARAMS]; size_t nparams; };

static int segment_order(const char *a, size_t an, const char *b, size_t bn) {
    int c = memcmp(a, b, an < bn ? an : bn);
    return c ? c : (an > bn) - (an < bn);
}

/* Index of the child or, when absent, where it belongs. */
static bool child_at(const struct node *n, const char *segment, size_t len, size_t *at) {
    size_t lo = 0, hi = n->nchildren;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = segment_order(segment, len, n->children[mid]->segment, n->children[mid]->len);
        if (!c) {
            *at = mid;
            return true;
        }
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    *at = lo;
    return false;
}

static struct node *child_make(struct node *n, const char *segment, size_t len) {
    size_t at;
    if (child_at(n, segment, len, &at))
        return n->children[at];
    struct node **grown = realloc(n->children, (n->nchildren + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    n->children = grown;
    struct node *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->segment = segment;
    made->len = len;
    memmove(grown + at + 1, grown + at, (n->nchildren - at) * sizeof *grown);
    grown[at] = made;
    n->nchildren++;
    return made;
}

static struct node *slot_make(struct node **slot) {
    if (!*slot)
        *slot = calloc(1, sizeof **slot);
    return *slot;
}

static void node_clear(struct node *n) {
    struct node *slots[] = { n->param, n->rest };
    for (size_t i = 0; i < n->nchildren; i++) {
        node_clear(n->children[i]);
        free(n->children[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
        if (slots[i]) {
            node_clear(slots[i]);
            free(slots[i]);
        }
    }
    free(n->children);
    free(n->leaves);
}

router_t *router_new(void) {
    return calloc(1, sizeof(router_t));
}

void router_free(router_t *r) {
    if (!r)
        return;
    node_clear(&r->root);
    free(r);
}

static int leaf_add(struct node *n, const char *method, const void *row) {
    for (size_t i = 0; i < n->nleaves; i++) {
        if (str_eq(n->leaves[i].method, method))
            return OSMO_EEXISTS;
    }
    struct leaf *grown = realloc(n->leaves, (n->nleaves + 1) * sizeof *grown);
    if (!grown)
        return OSMO_ENOMEM;
    n->leaves = grown;
    grown[n->nleaves++] = (struct leaf){ method, row };
    return 0;
}

int router_add(router_t *r, const char *method, const char *pattern, bool rest, const void *row) {
    struct node *n = &r->root;
    for (const char *p = pattern; *p == '/';) {
        const char *segment = ++p;
        p += strcspn(p, "/");
        size_t len = (size_t)(p - segment);
        if (len == 2 && !memcmp(segment, "{}", 2))
            n = slot_make(rest && !*p ? &n->rest : &n->param);
        else
            n = child_make(n, segment, len);
        if (!n)
            return OSMO_ENOMEM;
    }
    return leaf_add(n, method, row);
}

static bool leaf_find(const struct node *n, struct search *s) {
    for (size_t i = 0; i < n->nleaves; i++) {
        if (str_eq(n->leaves[i].method, s->method)) {
            s->row = n->leaves[i].row;
            return true;
        }
    }
    s->other_method |= n->nleaves > 0;
    return false;
}

/* Depth is bounded by the longest pattern: every recursion steps down one node. */
static bool node_find(const struct node *n, const char *p, struct search *s) {
    if (!*p)
        return leaf_find(n, s);
    const char *segment = p + 1;
    size_t len = strcspn(segment, "/"), at, params = s->nparams;
    if (child_at(n, segment, len, &at) && node_find(n->children[at], segment + len, s))
        return true;
    if (!len || params >= ROUTER_MAX_PARAMS)
        return false;
    if (n->param) {
        s->params[params] = (struct span){ segment, len };
        s->nparams = params + 1;
        if (node_find(n->param, segment + len, s))
            return true;
    }
    if (n->rest) {
        s->params[params] = (struct span){ segment, strlen(segment) };
        s->nparams = params + 1;
        if (leaf_find(n->rest, s))
            return true;
    }
    s->nparams = params;
    return false;
}

int router_find(const router_t *r, const char *method, const char *path, struct router_match *out) {
    struct search s = { .method = method };
    memset(out, 0, sizeof *out);
    if (!node_find(&r->root, path, &s)) {
        out->other_method = s.other_method;
        return 0;
    }
    for (size_t i = 0; i < s.nparams; i++) {
        out->params[i] = strndup(s.params[i].p, s.params[i].n);
        if (!out->params[i]) {
            router_match_clear(out);
            return OSMO_ENOMEM;
        }
        out->nparams = i + 1;
    }
    out->row = s.row;
    return 0;
}

void router_match_clear(struct router_match *m) {
    for (size_t i = 0; i < m->nparams; i++)
        free(m->params[i]);
    memset(m, 0, sizeof *m);
}

char *path_canonical(const char *path) {
    char *out = malloc(strlen(path) + 2), *w = out;
    if (!out)
        return NULL;
    *w++ = '/';
    for (const char *p = path; *p; p++) {
        if (*p != '/' || w[-1] != '/')
            *w++ = *p;
    }
    if (w > out + 1 && w[-1] == '/')
        w--;
    *w = '\0';
    return out;
}
