/* Answers that go on for as long as a workflow runs, for callers whose rights may end before: before anything more is read, who asked and
 * what he may do is confirmed again, which costs nothing while nobody changed users, roles or tokens. Called by answer.c; reads come from
 * the workers of the server, which may wait for the store. */
#include <stdlib.h>

#include "api/route.h"
#include "base/cleanup.h"
#include "engine/access.h"

struct guarded { osmo_stream_t base; osmo_stream_t *inner; engine_t *engine; struct identity who; enum action action; char *resource; };

static void guarded_close(osmo_stream_t *base) {
    struct guarded *g = (struct guarded *)base;
    if (g->inner)
        g->inner->close(g->inner);
    identity_clear(&g->who);
    free(g->resource);
    free(g);
}

/* The connection breaks off: an end of the text would mean that there is no more of it. */
static ssize_t guarded_read(osmo_stream_t *base, char *data, size_t max) {
    struct guarded *g = (struct guarded *)base;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = auth_confirm(g->engine, &g->who, &err);
    if (rc >= 0 && access_decide(g->engine, &g->who, g->action, g->resource) != VERDICT_ALLOW)
        rc = osmo_error_set(&err, OSMO_EDENIED, "%s may not do %s on %s any more", g->who.user, action_name(g->action), g->resource);
    if (rc >= 0)
        return g->inner->read(g->inner, data, max);
    log_info(&g->engine->log, "following a workflow ends: %s", err.text);
    return rc;
}

int stream_guard(struct call *c, osmo_stream_t *stream, osmo_stream_t **out, osmo_error_t *err) {
    struct guarded *g = calloc(1, sizeof *g);
    if (!g) {
        stream->close(stream);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    g->base = (osmo_stream_t){ .read = guarded_read, .close = guarded_close };
    g->inner = stream;
    g->engine = c->engine;
    g->action = c->route->action;
    int rc = identity_copy(&c->who, &g->who) < 0 ? osmo_error_set(err, OSMO_ENOMEM, "out of memory")
                                                 : call_workflow_pool(c, &g->resource, err);
    g->who.stale = true; /* from the next piece on */
    if (rc < 0)
        guarded_close(&g->base);
    else
        *out = &g->base;
    return rc < 0 ? rc : 0;
}
