/* Command line and environment of osmo-service. For main.c only. */
#ifndef OSMO_SERVICE_OPTIONS_H
#define OSMO_SERVICE_OPTIONS_H
#include <stdbool.h>
#include "osmo/service.h"

struct options {
    const char *listen, *database, *roles, *config_file, *base_url, *port_file, *admin_token, *admin_user;
    const char *replica_address, *master_key, *audit_log, *backend_token_dir, *trusted_gateways;
    const char *tls_cert, *tls_key, *ca_file, *ca_dir;
    char data_dir[4096], storage[4096]; /* storage: "" = in the data directory */
    int workers, log_level;
    osmo_auth_mode_t auth;
    char host[256]; /* of --listen, without brackets */
    bool loopback;  /* nobody else reaches that */
};

/* 0 = go on, 1 = --help or --version was printed, -1 = usage error, printed. */
int options_read(struct options *o, int argc, char **argv);
#endif
