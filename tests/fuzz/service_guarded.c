/* See service.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/signing_key.h"
#include "base/file.h"
#include "service.h"

static const char config[] = "service: {service_auth: {request_rate: 0, refused_rate: 0}}\n";

osmo_service_t *fuzz_guarded_service(void) {
    static osmo_service_t *service;
    static char path[128], audit[] = "/dev/null";
    char database[128];
    osmo_error_t err = OSMO_ERROR_INIT;
    if (service)
        return service;
    snprintf(path, sizeof path, "%s/osmo.yaml", fuzz_dir());
    snprintf(database, sizeof database, "sqlite:%.*s/osmo.db", (int)(strrchr(path, '/') - path), path);
    if (file_write_atomic(path, config, sizeof config - 1, 0600, false, &err) < 0 || signing_key_seed(database, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    osmo_service_options_t o = { .auth = OSMO_AUTH_REQUIRED, .config_file = path, .admin_token = FUZZ_ADMIN_TOKEN, .audit_file = audit,
                                 .trusted_gateways = "192.0.2.1" };
    service = fuzz_open(&o);
    return service;
}
