/* Command line and environment of osmo-backend. For main.c only. */
#ifndef OSMO_BACKEND_OPTIONS_H
#define OSMO_BACKEND_OPTIONS_H
#include <stdbool.h>
#include "base/str.h"

#define PROGRAM "osmo-backend"
#define EXIT_USAGE 2

struct settings {
    const char *service, *name, *cluster, *namespace_, *token_file, *token, *user, *state_dir, *runtime_dir, *ca_file;
    const char *kubeconfig, *lease, *agent_namespace, *test_namespace, *test_image, *test_template_file, *condition_prefix;
    const char *health_listen, *metrics_port;
    bool metrics, node_labels;
    strlist_t driver;          /* "key=value" */
    strlist_t owned;           /* what others point into */
    int log_level;
};

/* 0 = go on, 1 = --help or --version was printed, negative = usage error, printed. */
int options_read(struct settings *s, int argc, char **argv);
int options_add(struct settings *s, const char *key, const char *value);
void options_free(struct settings *s);
#endif
