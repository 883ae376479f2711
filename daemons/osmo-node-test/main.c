/* osmo-node-test: tests of nodes of a Kubernetes cluster. runner starts a DaemonSet and waits for what its pods say of their nodes;
 * the others run in such pods. Called by the name of one of OSMO's programs it is that one. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "node_test.h"
#include "osmo/version.h"

const logger_t node_test_log = { .fn = log_stderr, .ctx = (void *)(uintptr_t)PROGRAM, .level = LOG_LEVEL_INFO };

static const struct mode { const char *name, *alias; int (*run)(int argc, char **argv); } modes[] = {
    { "runner", "backend_test_runner", run_runner },
    { "resource", "resource_validator", run_resource },
    { "connection", "connection_validator", run_connection },
    { "lfs", "lfs_validator", run_lfs },
};

bool pause_ms(int64_t ms) {
    sigset_t set;
    struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    int got;
    while ((got = ms < 0 ? sigwaitinfo(&set, NULL) : sigtimedwait(&set, NULL, &left)) < 0 && errno == EINTR)
        ;
    if (got > 0)
        raise(got); /* stays pending, so that the next look sees it too */
    return got < 0;
}

static void print_help(void) {
    printf("Usage: osmo-node-test runner --backend_test_name NAME --namespace NS [OPTION]...\n"
           "       osmo-node-test resource --node_name NODE --node_condition_prefix PREFIX [OPTION]...\n"
           "       osmo-node-test connection --node_name NODE --node_condition_prefix PREFIX --config_file FILE [OPTION]...\n"
           "       osmo-node-test lfs --node_name NODE --node_condition_prefix PREFIX --namespace NS --config_file FILE [OPTION]...\n"
           "Test the nodes of a Kubernetes cluster; see osmo-node-test(1).\n\n"
           "  --version, --help\n");
}

static const struct mode *find_mode(const char *name, bool alias) {
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
        if (str_eq(alias ? modes[i].alias : modes[i].name, name))
            return &modes[i];
    return NULL;
}

int main(int argc, char **argv) {
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const struct mode *mode = argc > 0 ? find_mode(slash ? slash + 1 : argv[0], true) : NULL;
    bool named = mode != NULL;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return print_help(), EXIT_DONE;
        if (strcmp(argv[i], "--version") == 0)
            return printf(PROGRAM " %s (OSMO %s)\n", osmo_version(), OSMO_WIRE_VERSION), EXIT_DONE;
    }
    if (!mode && argc > 1)
        mode = find_mode(argv[1], false);
    if (!mode) {
        fprintf(stderr, PROGRAM ": the mode must be runner, resource, connection or lfs; try osmo-node-test --help\n");
        return EXIT_BAD_USAGE;
    }
    return mode->run(named ? argc : argc - 1, named ? argv : argv + 1);
}
