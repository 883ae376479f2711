/* Command line and environment of osmo-service. For main.c only. */
#ifndef OSMO_SERVICE_OPTIONS_H
#define OSMO_SERVICE_OPTIONS_H
#include "osmo/service.h"

struct options {
    const char *listen, *database, *roles, *config_file, *base_url, *port_file, *admin_token, *admin_user;
    const char *replica_address;
    char data_dir[4096], storage[4096]; /* storage: "" = in the data directory */
    int workers, log_level;
    osmo_auth_mode_t auth;
    char host[256]; /* of --listen, without brackets */
};

/* 0 = go on, 1 = --help or --version was printed, -1 = usage error, printed. */
int options_read(struct options *o, int argc, char **argv);
#endif
