/* What --port means. Pure. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "forward.h"

struct range { int first, last; };

/* Up to `end`, without blanks. */
static int port_of(const char *text, size_t len, int *out) {
    int n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || (n = n * 10 + text[i] - '0') > 65535)
            return OSMO_EINVAL;
    }
    *out = n;
    return len && n ? OSMO_OK : OSMO_EINVAL;
}

static int range_of(const char *text, size_t len, struct range *out, osmo_error_t *err) {
    const char *dash = memchr(text, '-', len);
    size_t first = dash ? (size_t)(dash - text) : len;
    if (port_of(text, first, &out->first) < 0 || (dash && port_of(dash + 1, len - first - 1, &out->last) < 0))
        return osmo_error_set(err, OSMO_EINVAL, "'%.*s' is no port: ports are numbers from 1 to 65535, ranges FIRST-LAST", (int)len, text);
    if (!dash)
        out->last = out->first;
    if (out->last < out->first)
        return osmo_error_set(err, OSMO_EINVAL, "'%.*s' ends before it begins", (int)len, text);
    return OSMO_OK;
}

static int add(struct port_pair **list, size_t *n, struct range l, struct range r, osmo_error_t *err) {
    size_t more = (size_t)(l.last - l.first) + 1;
    if (*n + more > FORWARD_PORTS_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "more than %d ports", FORWARD_PORTS_MAX);
    struct port_pair *p = realloc(*list, (*n + more) * sizeof *p);
    if (!p)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *list = p;
    for (size_t i = 0; i < more; i++) {
        int local = l.first + (int)i;
        for (size_t k = 0; k < *n; k++) {
            if (p[k].local == local)
                return osmo_error_set(err, OSMO_EINVAL, "local port %d is given twice", local);
        }
        p[(*n)++] = (struct port_pair){ local, r.first + (int)i };
    }
    return OSMO_OK;
}

static int item(const char *text, size_t len, struct port_pair **list, size_t *n, osmo_error_t *err) {
    const char *colon = memchr(text, ':', len);
    size_t first = colon ? (size_t)(colon - text) : len;
    struct range local, remote;
    int rc = range_of(text, first, &local, err);
    remote = local;
    if (rc == OSMO_OK && colon)
        rc = range_of(colon + 1, len - first - 1, &remote, err);
    if (rc == OSMO_OK && local.last - local.first != remote.last - remote.first)
        rc = osmo_error_set(err, OSMO_EINVAL, "'%.*s': the two ranges are not of the same length", (int)len, text);
    return rc < 0 ? rc : add(list, n, local, remote, err);
}

int forward_spec_parse(const char *spec, struct port_pair **out, size_t *n, osmo_error_t *err) {
    struct port_pair *list = NULL;
    size_t count = 0;
    for (const char *p = spec;; p++) {
        size_t len = strcspn(p, ",");
        const char *from = p;
        size_t cut = len;
        while (cut && *from == ' ') {
            from++;
            cut--;
        }
        while (cut && from[cut - 1] == ' ')
            cut--;
        int rc = item(from, cut, &list, &count, err);
        if (rc < 0) {
            free(list);
            return rc;
        }
        p += len;
        if (!*p)
            break;
    }
    *out = list;
    *n = count;
    return OSMO_OK;
}
