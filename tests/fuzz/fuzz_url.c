/* Fuzz entry: addresses as others write them: whole URLs, percent-encoding, query strings, and paths on their way to a route. A path that
 * was made canonical stays as it is, names one route whatever its slashes, and no parameter that stands for one segment holds a slash. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "api/router.h"
#include "base/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static router_t *routes;

static void prepare(void) {
    if (routes)
        return;
    routes = router_new();
    for (size_t i = 0; routes && i < api_route_count; i++)
        if (router_add(routes, api_routes[i].method, api_routes[i].pattern, api_routes[i].flags & ROUTE_REST, &api_routes[i]) < 0)
            abort();
}

static void check_match(const struct router_match *m) {
    const struct route *row = m->row;
    if (row && m->nparams > ROUTE_MAX_PARAMS)
        abort();
    for (size_t i = 0; i < m->nparams; i++) {
        bool rest = row && row->flags & ROUTE_REST && i + 1 == m->nparams;
        if (!m->params[i] || !*m->params[i] || (!rest && strchr(m->params[i], '/')))
            abort();
    }
}

static const void *route_of(const char *method, const char *path) {
    struct router_match m;
    if (router_find(routes, method, path, &m) < 0)
        abort();
    const void *row = m.row;
    check_match(&m);
    router_match_clear(&m);
    return row;
}

static void path(const char *text) {
    static const char *const methods[] = { "GET", "PUT", "POST", "PATCH", "DELETE" };
    char *once = path_canonical(text), *twice = once ? path_canonical(once) : NULL;
    char *doubled = once ? malloc(2 * strlen(once) + 2) : NULL, *w = doubled;
    if (!once || !twice || !doubled || strcmp(once, twice) || once[0] != '/' || strstr(once, "//"))
        abort();
    for (const char *p = once; *p; p++) {
        *w++ = *p;
        if (*p == '/')
            *w++ = '/';
    }
    strcpy(w, "/");
    char *again = path_canonical(doubled);
    if (!again || strcmp(once, again))
        abort();
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (route_of(methods[i], once) != route_of(methods[i], again))
            abort();
    free(once);
    free(twice);
    free(doubled);
    free(again);
}

static void query(const char *text) {
    struct map *m = NULL;
    if (query_parse(text, &m, NULL) >= 0) {
        size_t it = 0;
        const char *name;
        void *values;
        while (map_next(m, &it, &name, &values)) {
            const strlist_t *l = values;
            if (!l || !l->len || !utf8_valid(name, strlen(name)))
                abort();
        }
    }
    map_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = strndup((const char *)data, size);
    buf_t decoded = BUF_INIT(1u << 20);
    url_parts_t url;
    prepare();
    if (!text)
        return 0;
    if (url_parse(text, &url, NULL) >= 0)
        path(url.path);
    path(text);
    query(text);
    if (url_decode(text, strlen(text), false, &decoded) >= 0) {
        if (memchr(buf_cstr(&decoded), '\0', decoded.len))
            abort();
        path(buf_cstr(&decoded));
    }
    buf_free(&decoded);
    free(text);
    return 0;
}
