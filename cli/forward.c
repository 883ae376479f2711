/* The beginning and the end of forwarding; see forward.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "forward.h"

#define PORTS_PER_CALL 30     /* the service takes no more at once, unless told otherwise */
#define SPARE_DESCRIPTORS 64
#define CONNECTIONS_MAX 4000  /* of those that one loop carries, some are left for the sessions */

char *forward_path(const struct forward *f, const struct port_pair *ports, size_t n) {
    buf_t query = BUF_INIT(64u << 10);
    if (str_eq(f->o.family, "rsync"))
        return session_path(f->o.workflow, "rsync/task", f->o.task, "");
    for (size_t i = 0; i < n; i++)
        buf_printf(&query, "%ctask_ports=%d", i ? '&' : '?', ports[i].remote);
    buf_printf(&query, "&use_udp=%s", f->o.udp ? "True" : "False");
    char *path = session_path(f->o.workflow, "portforward", f->o.task, buf_cstr(&query));
    buf_free(&query);
    return path;
}

/* The first sessions, of as many ports at once as the service takes. */
static int ask(struct forward *f, size_t from, size_t n) {
    json_t *answer = NULL;
    struct port_pair pairs[PORTS_PER_CALL];
    for (size_t i = 0; i < n; i++)
        pairs[i] = f->ports[from + i].pair;
    _cleanup_free_ char *path = forward_path(f, pairs, n);
    int code = path ? api_call(&f->api, "POST", path, NULL, &answer) : api_fail(false, 0, "out of memory", EXIT_USER);
    bool list = json_kind(answer) == JSON_ARRAY;
    if (!code && (list ? json_len(answer) : 1) != n)
        code = api_fail(false, 0, "The service answered for another number of ports than it was asked for", EXIT_SERVER_DOWN);
    for (size_t i = 0; !code && i < n; i++)
        code = session_read(&f->api, list ? json_at(answer, i) : answer, &f->ports[from + i].session);
    json_free(answer);
    return code;
}

/* Two descriptors a connection. */
static size_t room_for_connections(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 256;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    size_t n = limit.rlim_cur > SPARE_DESCRIPTORS + 2 ? (size_t)(limit.rlim_cur - SPARE_DESCRIPTORS) / 2 : 1;
    return n < CONNECTIONS_MAX ? n : CONNECTIONS_MAX;
}

static int start(struct forward *f) {
    int code = api_open(&f->api, false);
    if (code)
        return code;
    for (size_t i = 0; i < f->o.nports; i++) {
        f->ports[i].f = f;
        f->ports[i].pair = f->o.ports[i];
    }
    for (size_t i = 0; !code && !f->o.patient && i < f->o.nports; i += PORTS_PER_CALL)
        code = ask(f, i, f->o.nports - i < PORTS_PER_CALL ? f->o.nports - i : PORTS_PER_CALL);
    if (!code && !f->o.patient)
        f->cookie = router_cookie(&f->api, f->ports[0].session.address);
    for (size_t i = 0; !code && i < f->o.nports; i++)
        code = f->o.udp ? udp_listen(&f->ports[i]) : tcp_listen(&f->ports[i]);
    for (size_t i = 0; !code && i < f->o.nports; i++)
        code = f->o.patient ? port_renew(&f->ports[i]) : port_connect(&f->ports[i]);
    return code;
}

int forward_start(const struct forward_options *o, struct forward **out) {
    struct forward *f = calloc(1, sizeof *f);
    if (f)
        f->ports = calloc(o->nports, sizeof *f->ports);
    if (!f || !f->ports) {
        free(f);
        return api_fail(false, 0, "out of memory", EXIT_USER);
    }
    f->o = *o;
    f->max_connections = room_for_connections();
    *out = f; /* what it holds when it fails is the caller's to stop and free all the same */
    return start(f);
}

void forward_stop(struct forward *f) {
    if (!f)
        return;
    f->stopping = true;
    for (size_t i = 0; i < f->o.nports; i++) {
        port_end(&f->ports[i]);
        tcp_end(&f->ports[i]);
        udp_end(&f->ports[i]);
    }
}

void forward_free(struct forward *f) {
    if (!f)
        return;
    for (size_t i = 0; i < f->o.nports; i++)
        session_clear(&f->ports[i].session);
    free(f->cookie);
    api_close(&f->api);
    free(f->ports);
    free(f);
}
