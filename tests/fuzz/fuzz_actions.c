/* Fuzz entry: what the service and the other end of a session tell osmo_ctrl. What is accepted must be fit for a URL and a header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "osmo-ctrl/action_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < ' ')
            abort();
    }
}

static void action(const json_t *o) {
    struct action a;
    if (action_parse(o, &a, NULL))
        return;
    check_line(a.at.router_address);
    check_line(a.at.key);
    check_line(a.at.cookie);
    if (strpbrk(a.at.key, "/?# %") || (a.kind == ACTION_EXEC ? !a.command : a.port < 1 || a.port > 65535))
        abort();
    action_clear(&a);
}

static void announcement(const char *text, size_t len) {
    struct announcement a;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (announcement_parse(text, len, &a, &err))
        return;
    check_line(a.key);
    check_line(a.cookie);
    if (a.websocket) {
        check_line(a.path);
        if (a.path[0] != '/' || a.headers.len > 64)
            abort();
    }
    for (size_t i = 0; i < a.headers.len; i++)
        check_line(a.headers.items[i]);
    announcement_clear(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *o = NULL;
    if (json_parse((const char *)data, size, &o, NULL) == 0)
        action(o);
    json_free(o);
    announcement((const char *)data, size);
    return 0;
}
