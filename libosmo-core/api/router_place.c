/* What the network front asks about interactive access where no part of the service answers it: every connection belongs here, no
 * session is held, there are no tunnels. Called by server/; replaced by whoever defines these strongly. */
#include "osmo/service.h"

__attribute__((weak)) int osmo_ws_held(const osmo_ws_t *ws) {
    (void)ws;
    return 0;
}

__attribute__((weak)) osmo_place_t osmo_service_place(osmo_service_t *service, const osmo_request_t *request, osmo_elsewhere_t *where) {
    (void)service, (void)request, (void)where;
    return OSMO_PLACE_HERE;
}

__attribute__((weak)) void osmo_service_tunnel_open(osmo_service_t *service, const osmo_request_t *request, uint64_t conn, osmo_ws_t **ws,
                                                    osmo_response_t *response) {
    (void)service, (void)request, (void)conn;
    *ws = NULL;
    response->status = 404;
}
