/* Compiled index over route patterns: a tree of path segments, static segments before parameters before "the rest".
 * Used by api/service.c and api/ws.c. Immutable once built, so it is shared between threads. */
#ifndef API_ROUTER_H
#define API_ROUTER_H
#include <stdbool.h>
#include <stddef.h>

#define ROUTER_MAX_PARAMS 6
typedef struct router router_t;
struct router_match {
    const void *row;                       /* NULL when nothing matched */
    bool other_method;                     /* the path exists, the method does not */
    char *params[ROUTER_MAX_PARAMS];       /* malloc'ed */
    size_t nparams;
};
router_t *router_new(void);
void router_free(router_t *r);
/* Pattern "/api/workflow/{}/logs"; with `rest` its last "{}" takes everything that follows. 0, OSMO_ENOMEM or
 * OSMO_EEXISTS. */
int router_add(router_t *r, const char *method, const char *pattern, bool rest, const void *row);
/* `path` is canonical. 0 also when nothing matches; OSMO_ENOMEM. Release with router_match_clear. */
int router_find(const router_t *r, const char *method, const char *path, struct router_match *out);
void router_match_clear(struct router_match *m);
/* Slashes collapsed, one leading, none trailing; malloc'ed, NULL on no memory. */
char *path_canonical(const char *path);
#endif
