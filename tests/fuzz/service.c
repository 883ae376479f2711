/* See service.h. */
#include "service.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

static osmo_service_t *service;
static char dir[] = "/tmp/osmo-fuzz-XXXXXX";

/* The peer of every connection: takes what it is sent. */
static int ws_send(void *impl, uint64_t conn, const void *data, size_t len, int binary) {
    (void)impl, (void)conn, (void)data, (void)len, (void)binary;
    return 0;
}

static void ws_close(void *impl, uint64_t conn, int code, const char *reason) {
    (void)impl, (void)conn, (void)code, (void)reason;
}
static void stream_wake(void *impl, uint64_t request) {
    (void)impl, (void)request;
}

static void close_service(void) {
    osmo_service_close(service);
    service = NULL;
    dir_remove_tree(dir, NULL);
}

static int join(void *impl, uint64_t a, uint64_t b) {
    (void)impl, (void)a, (void)b;
    return 0;
}

static int traffic(void *impl, uint64_t conn, struct osmo_traffic *out) {
    (void)impl, (void)conn, (void)out;
    return OSMO_ENOTFOUND;
}

static const osmo_transport_t transport = { .size = sizeof transport, .ws_send = ws_send, .ws_close = ws_close, .stream_wake = stream_wake,
                                            .join = join, .traffic = traffic };

osmo_service_t *fuzz_open(osmo_service_options_t *o) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (service)
        return service;
    o->size = sizeof *o;
    o->data_dir = dir;
    o->base_url = "http://127.0.0.1:1";
    o->transport = &transport;
    if (osmo_service_open(o, &service, &err) < 0 || atexit(close_service)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return service;
}

const char *fuzz_dir(void) {
    if (!service && !mkdtemp(dir))
        abort();
    return dir;
}

osmo_service_t *fuzz_service(void) {
    osmo_service_options_t o = { .auth = OSMO_AUTH_DEV };
    if (service)
        return service;
    fuzz_dir();
    return fuzz_open(&o);
}
