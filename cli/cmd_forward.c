/* workflow port-forward, and workflow webserver, which leaves the forwarding to the service. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "forward.h"

#define TIMEOUT_MAX_S 3600
#define AWAIT_MS 10000
#define AWAIT_STEP_MS 50

/* ---- port-forward ---- */

struct forwarding { ws_loop_t *loop; struct forward_options o; int code; };

static void on_ready(void *ctx, int local_port) {
    const struct forwarding *r = ctx;
    const struct forward_options *o = &r->o;
    for (size_t i = 0; i < o->nports; i++) {
        if (o->ports[i].local == local_port)
            printf("Forwarding %s:%d to port %d of %s%s\n", o->host, local_port, o->ports[i].remote, o->task, o->udp ? ", UDP" : "");
    }
    fflush(stdout);
}

static void on_failed(void *ctx, int code) {
    struct forwarding *r = ctx;
    r->code = code;
    ws_loop_stop(r->loop);
}

static void on_signal(void *ctx, int number) {
    struct forwarding *r = ctx;
    r->code = number == SIGINT ? EXIT_INTERRUPTED : 128 + number;
    ws_loop_stop(r->loop);
}

static int run_forward(struct forwarding *r) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct forward *f = NULL;
    if (ws_loop_new(&r->loop, &err) < 0)
        return api_fail(false, 0, err.text, EXIT_SERVER_DOWN);
    r->o.loop = r->loop;
    r->o.ready = on_ready;
    r->o.failed = on_failed;
    r->o.ctx = r;
    r->code = forward_start(&r->o, &f);
    if (!r->code && loop_signals(r->loop, on_signal, r) == 0)
        ws_loop_run(r->loop);
    forward_stop(f);
    ws_loop_free(r->loop);
    forward_free(f);
    return r->code;
}

int cmd_port_forward(int argc, char **argv) {
    struct forwarding r = { .o = { .family = "portforward", .host = "localhost", .timeout_s = 60 } };
    const char *spec = NULL;
    struct port_pair *ports = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    const struct opt opts[] = {
        { "--port -p", OPT_VALUE, &spec, "SPEC", "LOCAL[:REMOTE], ranges FIRST-LAST[:FIRST-LAST], or a list of these with commas", NULL },
        { "--host", OPT_VALUE, &r.o.host, "HOST", "the address to listen on; default localhost", NULL },
        { "--udp", OPT_FLAG, &r.o.udp, NULL, "datagrams instead of connections", NULL },
        { "--connect-timeout", OPT_INT, &r.o.timeout_s, "SECONDS", "how long to wait for the task to answer; default 60", NULL },
    };
    const struct arg args[] = { { "ID", "workflow id", &r.o.workflow, NULL, false }, { "TASK", "a task of it", &r.o.task, NULL, false } };
    static const char summary[] = "Carry connections to local ports to ports of a running task, until it ends or ^C.";
    const struct usage u = { "workflow port-forward", summary, opts, ARRAY_SIZE(opts), args, ARRAY_SIZE(args) };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    if (!spec)
        return opt_error(&u, "the following arguments are required: --port");
    if (r.o.timeout_s < 1 || r.o.timeout_s > TIMEOUT_MAX_S)
        return opt_error(&u, "--connect-timeout is from 1 to %d seconds", TIMEOUT_MAX_S);
    if (forward_spec_parse(spec, &ports, &r.o.nports, &err) < 0)
        return opt_error(&u, "argument --port: %s", err.text);
    r.o.ports = ports;
    code = run_forward(&r);
    free(ports);
    return code;
}

/* ---- webserver ---- */

/* This machine, whose names end with "localhost": browsers need no name server for those. */
static size_t loopback_len(const char *host) {
    size_t digits = strspn(host, "0123456789.");
    if (str_starts(host, "127.") && strchr(":/?#", host[digits]))
        return digits;
    return str_starts(host, "[::1]") ? 5 : 0;
}

char *webserver_url(const char *address, const char *key) {
    static const struct { const char *scheme, *instead; } schemes[] = {
        { "ws://", "http" }, { "wss://", "https" }, { "http://", "http" }, { "https://", "https" }
    };
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
        const char *host = address + strlen(schemes[i].scheme);
        if (!str_starts(address, schemes[i].scheme))
            continue;
        size_t here = loopback_len(host), len = strcspn(host, "/?#");
        if (here)
            return str_printf("%s://%s.localhost%.*s/", schemes[i].instead, key, (int)(len - here), host + here);
        if (len && host[0] != '[')
            return str_printf("%s://%s.%.*s/", schemes[i].instead, key, (int)len, host);
    }
    return NULL;
}

/* Does the name below it lead anywhere? Other addresses have none. */
static bool is_address(const char *address) {
    const char *host = strstr(address, "://");
    host = host ? host + 3 : address;
    size_t len = strcspn(host, ":/?#");
    return !loopback_len(host) && (host[0] == '[' || strspn(host, "0123456789.") == len);
}

static void show_webserver(const struct session *s, const char *url, const char *format) {
    if (str_eq(format, "json")) {
        json_t *o = json_object();
        json_set_str(o, "url", url);
        json_set_str(o, "key", s->key);
        print_json(o, 2);
        json_free(o);
        return;
    }
    printf("%s\n", url);
    printf("It is good until the task ends, or nobody has used it for half an hour. Whoever knows the address can use it.\n");
    if (is_address(s->address))
        printf("A browser finds it where the names below %s lead to the service: see osmo(1), webserver.\n", strstr(s->address, "://") + 3);
}

/* The task comes to the router a moment later; a browser that is sooner is told that there is nothing. An old router
 * that cannot say does not keep us. */
static void await_task(struct api *a, const char *key) {
    _cleanup_free_ char *path = str_printf("/api/router/webserver/%s", key);
    for (int i = 0; path && i < AWAIT_MS / AWAIT_STEP_MS; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        json_t *alive = NULL;
        bool wait = api_try(a, "GET", path, &alive, &err) == OSMO_OK && json_kind(alive) == JSON_BOOL && !json_as_bool(alive, true);
        json_free(alive);
        if (!wait)
            return;
        poll(NULL, 0, AWAIT_STEP_MS);
    }
}

int cmd_webserver(int argc, char **argv) {
    const char *workflow = NULL, *task = NULL, *format = "text";
    int64_t port = 0;
    const struct opt opts[] = { { "--port -p", OPT_INT, &port, "PORT", "where the task's web server listens", NULL },
        FORMAT_OPTION(&format) };
    const struct arg args[] = { { "ID", "workflow id", &workflow, NULL, false }, { "TASK", "a task of it", &task, NULL, false } };
    static const char summary[] = "Open a web server of a running task to browsers, and print its address.";
    const struct usage u = { "workflow webserver", summary, opts, ARRAY_SIZE(opts), args, ARRAY_SIZE(args) };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    if (port < 1 || port > 65535)
        return opt_error(&u, "--port is needed, from 1 to 65535");
    struct api a;
    json_t *answer = NULL;
    struct session s = { 0 };
    char query[32];
    snprintf(query, sizeof query, "?task_port=%d", (int)port);
    code = api_open(&a, str_eq(format, "json"));
    if (!code)
        code = session_post(&a, workflow, "webserver", task, query, &answer);
    if (!code)
        code = session_read(&a, answer, &s);
    _cleanup_free_ char *url = code ? NULL : webserver_url(s.address, s.key);
    if (!code && !url)
        code = api_fail(a.json_errors, 0, "The address of the router has no host name: its administrator can set router_address",
            EXIT_USER);
    if (!code) {
        await_task(&a, s.key);
        show_webserver(&s, url, format);
    }
    session_clear(&s);
    json_free(answer);
    api_close(&a);
    return code;
}
