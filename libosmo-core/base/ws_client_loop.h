/* libwebsockets contexts on a libev loop of our own, for the server's network thread. Only server/net*.c may include
 * this. All functions belong to the loop's thread.
 * Timers of libwebsockets can be late on a libev loop (it re-arms its one timer only after socket events), so the alarm
 * here is a timer of the loop itself. Without the libev plugin everything runs on the library's poll loop. */
#ifndef BASE_WS_CLIENT_LOOP_H
#define BASE_WS_CLIENT_LOOP_H
#include <ev.h>
#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct lwsloop {
    struct ev_loop *ev;          /* NULL: the poll loop of the first context is used */
    struct lws_context *first;   /* the context that wakes the loop */
    bool stopping;
    ev_timer timer;
    struct { lws_sorted_usec_list_t sul; struct lwsloop *owner; } poll_timer;
    void (*on_alarm)(void *ctx); /* set before lwsloop_alarm */
    void *alarm_ctx;
} lwsloop_t;

/* Create a context; `info` is filled by the caller but for its loop options. The first one decides whether libev is
 * used; a second one is possible only with libev (NULL otherwise). */
struct lws_context *lwsloop_context(lwsloop_t *l, struct lws_context_creation_info *info);
void lwsloop_run(lwsloop_t *l);       /* until lwsloop_break */
void lwsloop_break(lwsloop_t *l);     /* from a callback */
void lwsloop_alarm(lwsloop_t *l, int64_t delay_ms); /* one alarm; setting it again moves it */
void lwsloop_free(lwsloop_t *l);      /* after the contexts are destroyed */
#endif
