/* libwebsockets on a libev loop, or on its own poll loop where the plugin is missing. For
 * server/net*.c. */
#include "base/ws_client_loop.h"
#include <stddef.h>
#include <string.h>

static void on_ev_timer(struct ev_loop *ev, ev_timer *timer, int events) {
    (void)ev, (void)events;
    lwsloop_t *l = timer->data;
    l->on_alarm(l->alarm_ctx);
}

static void on_poll_timer(lws_sorted_usec_list_t *sul) {
    lwsloop_t *l = *(lwsloop_t **)((char *)sul + offsetof(__typeof__(((lwsloop_t *)0)->poll_timer), owner));
    l->on_alarm(l->alarm_ctx);
}

struct lws_context *lwsloop_context(lwsloop_t *l, struct lws_context_creation_info *info) {
    struct lws_context *c = NULL;
    lws_set_log_level(0, NULL);
    if (!l->first) {
        /* NOSIGMASK: the loop must not touch the signal mask that the program has set up. */
        l->ev = ev_loop_new(EVFLAG_NOSIGMASK);
        if (l->ev) {
            ev_timer_init(&l->timer, on_ev_timer, 0., 0.);
            l->timer.data = l;
        }
        l->poll_timer.owner = l;
    }
    void *loops[1] = { l->ev };
    if (l->ev) {
        info->options |= LWS_SERVER_OPTION_LIBEV;
        info->foreign_loops = loops;
        c = lws_create_context(info);
        info->options &= ~(uint64_t)LWS_SERVER_OPTION_LIBEV;
        info->foreign_loops = NULL;
    }
    if (!c && !l->first) {
        if (l->ev)
            ev_loop_destroy(l->ev);
        l->ev = NULL;
        c = lws_create_context(info);
    }
    if (!l->first)
        l->first = c;
    return c;
}

void lwsloop_run(lwsloop_t *l) {
    lws_cancel_service(l->first); /* makes the library look at what was scheduled before the loop ran */
    while (!l->stopping) {
        if (l->ev)
            ev_run(l->ev, 0);
        else if (lws_service(l->first, 0) < 0)
            break;
    }
}

void lwsloop_break(lwsloop_t *l) {
    l->stopping = true;
    if (l->ev)
        ev_break(l->ev, EVBREAK_ALL);
    else
        lws_cancel_service(l->first); /* its timers run before it polls: do not let it fall asleep after this */
}

void lwsloop_alarm(lwsloop_t *l, int64_t delay_ms) {
    if (delay_ms < 0)
        delay_ms = 0;
    if (!l->ev) {
        lws_sul_schedule(l->first, 0, &l->poll_timer.sul, on_poll_timer, delay_ms * 1000 + 1);
        return;
    }
    ev_timer_stop(l->ev, &l->timer);
    ev_now_update(l->ev);
    ev_timer_set(&l->timer, (double)delay_ms / 1000., 0.);
    ev_timer_start(l->ev, &l->timer);
}

void lwsloop_free(lwsloop_t *l) {
    if (l->ev) {
        ev_timer_stop(l->ev, &l->timer);
        ev_loop_destroy(l->ev);
    }
    memset(l, 0, sizeof *l);
}
