/* osmo-backend: a shell around libosmo-backend. Reads the command line and the environment, prints, handles signals. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "osmo/backend/operator.h"
#include "osmo/version.h"

#define PROGRAM "osmo-backend"
#define EXIT_USAGE 2

enum { OPT_SERVICE = 256, OPT_NAME, OPT_CLUSTER, OPT_NAMESPACE, OPT_TOKEN_FILE, OPT_USER, OPT_STATE_DIR, OPT_IMAGE,
       OPT_OVERCOMMIT, OPT_NO_SANDBOX, OPT_RUNTIME_DIR, OPT_SCRIPT, OPT_HIDE, OPT_CA_FILE, OPT_LOG_LEVEL, OPT_VERSION, OPT_HELP };

static const struct option options[] = {
    {"service", required_argument, NULL, OPT_SERVICE}, {"name", required_argument, NULL, OPT_NAME},
    {"cluster", required_argument, NULL, OPT_CLUSTER}, {"namespace", required_argument, NULL, OPT_NAMESPACE},
    {"token-file", required_argument, NULL, OPT_TOKEN_FILE}, {"user", required_argument, NULL, OPT_USER},
    {"state-dir", required_argument, NULL, OPT_STATE_DIR}, {"image", required_argument, NULL, OPT_IMAGE},
    {"cpu-overcommit", required_argument, NULL, OPT_OVERCOMMIT}, {"no-sandbox", no_argument, NULL, OPT_NO_SANDBOX},
    {"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR}, {"script", required_argument, NULL, OPT_SCRIPT},
    {"hide", required_argument, NULL, OPT_HIDE}, {"ca-file", required_argument, NULL, OPT_CA_FILE},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"version", no_argument, NULL, OPT_VERSION}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0},
};

struct settings {
    const char *service, *name, *cluster, *namespace_, *token_file, *user, *state_dir, *runtime_dir, *ca_file;
    strlist_t driver;          /* "key=value" */
    int log_level;
};

static void print_help(void) {
    printf("Usage: osmo-backend --service URL [OPTION]...\n"
           "Run the tasks of an OSMO service on this machine or another cluster.\n\n"
           "  --service URL           the service, http(s)://HOST:PORT\n"
           "  --name NAME             name of this backend (default: default)\n"
           "  --cluster DRIVER        local (processes on this machine, the default) or scripted\n"
           "  --namespace NS          namespace of workflow objects (default: default)\n"
           "  --token-file FILE       access token of the backend, read again at every connect\n"
           "  --ca-file FILE          PEM certificates of the authorities to believe in; also for the pods of a local cluster\n"
           "                          (default: $SSL_CERT_FILE and $SSL_CERT_DIR, else those of the system)\n"
           "  --user USER             user name for a service in development mode (default: osmo-backend)\n"
           "  --state-dir DIR         private directory (default: $XDG_STATE_HOME/osmo/backend-NAME)\n"
           "  --runtime-dir DIR       where osmo_ctrl, osmo_exec and osmo-pod-supervisor are\n"
           "  --image NAME=ROOTFS     local: directory to use for a container image; repeatable\n"
           "  --cpu-overcommit N      local: offer N times the processors of this machine\n"
           "  --no-sandbox            local: run tasks without bubblewrap\n"
           "  --hide PATH             local: keep a path out of sight of tasks; repeatable\n"
           "  --script FILE           scripted: what happens to pods\n"
           "  --log-level LEVEL       DEBUG, INFO, WARNING or ERROR (default: INFO)\n"
           "  --version, --help\n");
}

static int usage(const char *text, const char *what) {
    fprintf(stderr, PROGRAM ": %s%s; try osmo-backend --help\n", text, what);
    return -EXIT_USAGE;
}

static int add_setting(struct settings *s, const char *key, const char *value) {
    _cleanup_free_ char *text = str_printf("%s=%s", key, value);
    return text ? strlist_add(&s->driver, text) : OSMO_ENOMEM;
}

static int add_image(struct settings *s, const char *value) {
    const char *eq = strchr(value, '=');
    if (!eq || eq == value || !eq[1])
        return usage("--image needs NAME=ROOTFS, not ", value);
    return add_setting(s, "image", value);
}

static int add_overcommit(struct settings *s, const char *value) {
    char *end;
    double n = strtod(value, &end);
    if (*end || !(n >= 1 && n <= 1000))
        return usage("--cpu-overcommit needs a number from 1 to 1000, not ", value);
    return add_setting(s, "cpu-overcommit", value);
}

static int take_option(struct settings *s, int option) {
    switch (option) {
    case OPT_SERVICE: s->service = optarg; return 0;
    case OPT_NAME: s->name = optarg; return 0;
    case OPT_CLUSTER: s->cluster = optarg; return 0;
    case OPT_NAMESPACE: s->namespace_ = optarg; return 0;
    case OPT_TOKEN_FILE: s->token_file = optarg; return 0;
    case OPT_USER: s->user = optarg; return 0;
    case OPT_STATE_DIR: s->state_dir = optarg; return 0;
    case OPT_RUNTIME_DIR: s->runtime_dir = optarg; return 0;
    case OPT_IMAGE: return add_image(s, optarg);
    case OPT_OVERCOMMIT: return add_overcommit(s, optarg);
    case OPT_NO_SANDBOX: return add_setting(s, "no-sandbox", "1");
    case OPT_SCRIPT: return add_setting(s, "script", optarg);
    case OPT_CA_FILE: s->ca_file = optarg; return 0;
    case OPT_HIDE: return add_setting(s, "hide", optarg);
    case OPT_LOG_LEVEL:
        s->log_level = log_level_parse(optarg);
        return s->log_level < 0 ? usage("--log-level must be DEBUG, INFO, WARNING or ERROR, not ", optarg) : 0;
    case OPT_VERSION:
        printf(PROGRAM " %s (OSMO %s)\n", osmo_version(), OSMO_WIRE_VERSION);
        return 1;
    case OPT_HELP:
        print_help();
        return 1;
    default:
        fprintf(stderr, "try osmo-backend --help\n"); /* getopt named the option */
        return -EXIT_USAGE;
    }
}

/* 0 = go on, 1 = done, negative = exit status. */
static int read_options(int argc, char **argv, struct settings *s) {
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int rc = take_option(s, option);
        if (rc)
            return rc;
    }
    if (optind < argc)
        return usage("unexpected argument ", argv[optind]);
    if (!s->service)
        return usage("--service URL is needed", "");
    return *s->name ? 0 : usage("--name must not be empty", "");
}

/* NULL when the environment tells no place, or the name would lead out of it. */
static char *default_state_dir(const char *name) {
    const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (strchr(name, '/'))
        return NULL;
    if (base && *base == '/')
        return str_printf("%s/osmo/backend-%s", base, name);
    return home && *home == '/' ? str_printf("%s/.local/state/osmo/backend-%s", home, name) : NULL;
}

/* In a build tree the programs of a pod are beside this one (or above libtool's .libs), installed ones are in libexec. */
static char *default_runtime_dir(void) {
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    for (int up = 0; n > 0 && up < 2; up++) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        if (!slash)
            break;
        *slash = '\0';
        n = slash - self;
        _cleanup_free_ char *probe = str_printf("%s/osmo-pod-supervisor", self);
        if (probe && access(probe, X_OK) == 0)
            return str_dup(self);
    }
    return str_dup(OSMO_LIBEXECDIR);
}

/* ---- signals ---- */

static void *wait_for_signal(void *ctx) {
    sigset_t set;
    int signal_number;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigwait(&set, &signal_number);
    osmo_operator_stop(ctx);
    return NULL;
}

static int run(osmo_operator_t *op, osmo_error_t *err) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_signal, op) != 0)
        return osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: raise the limit of processes (ulimit -u)");
    int rc = osmo_operator_run(op, err);
    pthread_kill(thread, SIGTERM); /* wakes the thread when the loop ended by itself; harmless when it is gone already */
    pthread_join(thread, NULL);
    return rc;
}

static void block_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before any thread, so that all inherit it */
    signal(SIGPIPE, SIG_IGN);
}

static int start(struct settings *s, osmo_error_t *err) {
    _cleanup_free_ char *state = s->state_dir ? str_dup(s->state_dir) : default_state_dir(s->name);
    _cleanup_free_ char *runtime = s->runtime_dir ? str_dup(s->runtime_dir) : default_runtime_dir();
    if (!state)
        return osmo_error_set(err, OSMO_EINVAL, "no place for state: set HOME, use a --name without '/', or give --state-dir DIR");
    if (!runtime || add_setting(s, "runtime-dir", runtime) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    const char *trusted = s->ca_file ? s->ca_file : getenv("SSL_CERT_FILE");
    _cleanup_free_ char *ca_file = trusted && *trusted ? realpath(trusted, NULL) : NULL;
    if (trusted && *trusted && !ca_file)
        return osmo_error_set(err, OSMO_ENOTFOUND, "the certificates in %s cannot be read: %m; check --ca-file and SSL_CERT_FILE", trusted);
    if (ca_file && strcmp(s->cluster, "local") == 0 && add_setting(s, "ca-file", ca_file) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    const char **list = calloc(s->driver.len + 1, sizeof *list);
    if (!list)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < s->driver.len; i++)
        list[i] = s->driver.items[i];
    osmo_operator_options_t o = { .size = sizeof o, .service_url = s->service, .backend = s->name, .namespace_ = s->namespace_,
                                  .token_file = s->token_file, .user = s->user, .driver = s->cluster, .state_dir = state,
                                  .settings = list, .log = log_stderr, .log_ctx = (void *)(uintptr_t)PROGRAM,
                                  .log_level = s->log_level, .ca_file = ca_file,
                                  .ca_dir = s->ca_file ? NULL : getenv("SSL_CERT_DIR") };
    osmo_operator_t *op = NULL;
    int rc = osmo_operator_open(&o, &op, err);
    free(list);
    if (rc == 0)
        rc = run(op, err);
    osmo_operator_free(op);
    return rc;
}

int main(int argc, char **argv) {
    struct settings s = { .name = "default", .cluster = "local", .log_level = LOG_LEVEL_INFO };
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = read_options(argc, argv, &s);
    if (rc == 0) {
        block_signals();
        rc = start(&s, &err);
        if (rc < 0)
            fprintf(stderr, PROGRAM ": %s\n", err.text);
        rc = rc < 0 ? -1 : 0;
    }
    strlist_free(&s.driver);
    return rc == -EXIT_USAGE ? EXIT_USAGE : rc < 0;
}
