/* See options.h. Every option is a row; names that OSMO's own operator has are rows too, where they mean the same, so that its values can
 * be kept. The command line wins over the environment. */
#include "options.h"
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "osmo/error.h"
#include "osmo/version.h"

enum { OPT_NO_SANDBOX = 256, OPT_IMAGE, OPT_OVERCOMMIT, OPT_LOG_LEVEL, OPT_INCLUDE, OPT_NODE_LABELS, OPT_METHOD, OPT_LOGIN_METHOD,
       OPT_METRICS, OPT_VERSION, OPT_HELP, OPT_TEXT = 512, OPT_SETTING = 1024 };

/* Options that are a text of the settings. */
static const struct { const char *name; size_t offset; } texts[] = {
    { "service", offsetof(struct settings, service) }, { "host", offsetof(struct settings, service) },
    { "name", offsetof(struct settings, name) }, { "backend", offsetof(struct settings, name) },
    { "cluster", offsetof(struct settings, cluster) }, { "namespace", offsetof(struct settings, namespace_) },
    { "token-file", offsetof(struct settings, token_file) }, { "token_file", offsetof(struct settings, token_file) },
    { "token", offsetof(struct settings, token) },
    { "user", offsetof(struct settings, user) }, { "username", offsetof(struct settings, user) },
    { "state-dir", offsetof(struct settings, state_dir) }, { "runtime-dir", offsetof(struct settings, runtime_dir) },
    { "ca-file", offsetof(struct settings, ca_file) }, { "kubeconfig", offsetof(struct settings, kubeconfig) },
    { "lease", offsetof(struct settings, lease) }, { "agent-namespace", offsetof(struct settings, agent_namespace) },
    { "test-namespace", offsetof(struct settings, test_namespace) },
    { "test_runner_namespace", offsetof(struct settings, test_namespace) },
    { "test-image", offsetof(struct settings, test_image) },
    { "test-cronjob-template", offsetof(struct settings, test_template_file) },
    { "test_runner_cronjob_spec_file", offsetof(struct settings, test_template_file) },
    { "node-condition-prefix", offsetof(struct settings, condition_prefix) },
    { "node_condition_prefix", offsetof(struct settings, condition_prefix) },
    { "health-listen", offsetof(struct settings, health_listen) },
    { "metrics_prometheus_port", offsetof(struct settings, metrics_port) },
};

/* Options that are handed to the driver as they are. */
static const struct { const char *name, *key; } driver_settings[] = {
    { "script", "script" }, { "hide", "hide" }, { "network", "network" }, { "pod-cidr", "pod-cidr" }, { "relay", "relay" },
     { "context", "context" }, { "usage", "usage" }, { "scheduler", "scheduler" },
    { "page-size", "page-size" }, { "list_pods_page_size", "page-size" }, { "api-qps", "qps" }, { "api_qps", "qps" },
    { "api-burst", "burst" }, { "api_burst", "burst" },
};

static const struct { const char *name; int has_arg, option; } others[] = {
    { "no-sandbox", no_argument, OPT_NO_SANDBOX }, { "image", required_argument, OPT_IMAGE },
    { "cpu-overcommit", required_argument, OPT_OVERCOMMIT }, { "log-level", required_argument, OPT_LOG_LEVEL },
    { "log_level", required_argument, OPT_LOG_LEVEL }, { "include-namespace", required_argument, OPT_INCLUDE },
    { "include_namespace_usage", required_argument, OPT_INCLUDE }, { "enable-node-label-update", optional_argument, OPT_NODE_LABELS },
    { "enable_node_label_update", optional_argument, OPT_NODE_LABELS }, { "method", required_argument, OPT_METHOD },
    { "login_method", required_argument, OPT_LOGIN_METHOD }, { "metrics_otel_enable", optional_argument, OPT_METRICS },
    { "version", no_argument, OPT_VERSION }, { "help", no_argument, OPT_HELP },
};

#define OPTIONS (ARRAY_SIZE(texts) + ARRAY_SIZE(driver_settings) + ARRAY_SIZE(others))

static void make_table(struct option table[OPTIONS + 1]) {
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        table[n++] = (struct option){ texts[i].name, required_argument, NULL, OPT_TEXT + (int)i };
    for (size_t i = 0; i < ARRAY_SIZE(driver_settings); i++)
        table[n++] = (struct option){ driver_settings[i].name, required_argument, NULL, OPT_SETTING + (int)i };
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        table[n++] = (struct option){ others[i].name, others[i].has_arg, NULL, others[i].option };
    table[n] = (struct option){ NULL, 0, NULL, 0 };
}

static void print_help(void) {
    printf("Usage: osmo-backend --service URL [OPTION]...\n"
           "Run the tasks of an OSMO service on this machine or another cluster.\n\n"
           "  --service URL           the service, http(s)://HOST:PORT\n"
           "  --name NAME             name of this backend (default: default)\n"
           "  --cluster DRIVER        local (processes on this machine, the default), kubernetes or scripted\n"
           "  --namespace NS          namespace of workflow objects (default: default)\n"
           "  --token-file FILE       access token of the backend, read again at every connect\n"
           "  --ca-file FILE          PEM certificates of the authorities to believe in; also for the pods of a local cluster\n"
           "                          (default: $SSL_CERT_FILE and $SSL_CERT_DIR, else those of the system)\n"
           "  --user USER             user name for a service in development mode (default: osmo-backend)\n"
           "  --state-dir DIR         private directory (default: $XDG_STATE_HOME/osmo/backend-NAME)\n"
           "  --health-listen A:P     answer /healthz, /readyz and /metrics there (default: nowhere)\n"
           "  --log-level LEVEL       DEBUG, INFO, WARNING or ERROR (default: INFO)\n"
           "\nA Kubernetes cluster:\n"
           "  --kubeconfig FILE       how to reach it (default: the pod's account, else $KUBECONFIG, else ~/.kube/config)\n"
           "  --context NAME          of the kubeconfig (default: its current one)\n"
           "  --lease NAME            work while this Lease is held, stand by otherwise (default in a pod: osmo-backend-NAME;\n"
           "                          none: no lease)\n"
           "  --agent-namespace NS    of the Lease (default: the pod's)\n"
           "  --usage SCOPE           cluster (count what all pods use) or namespace (only those of workflows; default: cluster)\n"
           "  --include-namespace NS  its pods count as those of workflows; repeatable\n"
           "  --scheduler WHO         who places pods: kai, osmo (this program), or auto (the default): kai where it is installed\n"
           "  --test-namespace NS     where tests of nodes run (default: osmo-test)\n"
           "  --test-image IMAGE      that osmo-node-test is in (default: osmo/backend:VERSION)\n"
           "  --test-cronjob-template FILE  template of the CronJob of a test (default: built in)\n"
           "  --node-condition-prefix PREFIX  of the conditions that tests set (default: osmo.nvidia.com/)\n"
           "  --enable-node-label-update  label nodes PREFIXverified=True or False\n"
           "  --api-qps N, --api-burst N  limits of requests a second, and at once (default: none)\n"
           "  --page-size N           objects in one answer of the cluster (default: 500)\n"
           "\nA local cluster:\n"
           "  --runtime-dir DIR       where osmo_ctrl, osmo_exec and osmo-pod-supervisor are\n"
           "  --image NAME=ROOTFS     directory to use for a container image; repeatable\n"
           "  --cpu-overcommit N      offer N times the processors of this machine\n"
           "  --no-sandbox            run tasks without bubblewrap\n"
           "  --hide PATH             keep a path out of sight of tasks; repeatable\n"
           "  --network KIND          pod (a network of its own for each pod), host (this machine's) or auto (pod where it works;\n"
           "                          the default)\n"
           "  --pod-cidr NETWORK      of the pods, of 8 to 24 bits (default: a free one, such as 10.217.0.0/16)\n"
           "  --relay ADDRESS:PORT    let pods reach this loopback port of the machine as they do the service's; repeatable\n"
           "\nA scripted cluster:\n"
           "  --script FILE           what happens to pods\n"
           "\n  --version, --help\n");
}

static int usage(const char *text, const char *what) {
    fprintf(stderr, PROGRAM ": %s%s; try osmo-backend --help\n", text, what);
    return -EXIT_USAGE;
}

int options_add(struct settings *s, const char *key, const char *value) {
    _cleanup_free_ char *text = str_printf("%s=%s", key, value);
    return text ? strlist_add(&s->driver, text) : OSMO_ENOMEM;
}

static int add_image(struct settings *s, const char *value) {
    const char *eq = strchr(value, '=');
    if (!eq || eq == value || !eq[1])
        return usage("--image needs NAME=ROOTFS, not ", value);
    return options_add(s, "image", value);
}

static int add_overcommit(struct settings *s, const char *value) {
    char *end;
    double n = strtod(value, &end);
    if (*end || !(n >= 1 && n <= 1000))
        return usage("--cpu-overcommit needs a number from 1 to 1000, not ", value);
    return options_add(s, "cpu-overcommit", value);
}

/* One, or several with commas. */
static int add_namespaces(struct settings *s, const char *value) {
    strlist_t list = { 0 };
    int rc = strlist_split(&list, value, ',');
    for (size_t i = 0; rc == 0 && i < list.len; i++)
        if (*list.items[i])
            rc = options_add(s, "include-namespace", list.items[i]);
    strlist_free(&list);
    return rc;
}

/* 1, 0, or -1 when it is neither. */
static int truth_of(const char *value) {
    static const char *const words[] = { "false", "true", "False", "True", "0", "1", "no", "yes" };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(value, words[i]) == 0)
            return i % 2;
    return -1;
}

static int read_bool(const char *name, const char *value, bool *out) {
    int truth = value ? truth_of(value) : 1;
    if (truth >= 0) {
        *out = truth;
        return 0;
    }
    fprintf(stderr, PROGRAM ": %s is true or false, not %s; try osmo-backend --help\n", name, value);
    return -EXIT_USAGE;
}

static int take_method(const char *value, const char *only, const char *remedy) {
    if (strcmp(value, only) == 0)
        return 0;
    fprintf(stderr, PROGRAM ": this operator has no login by \"%s\": %s; try osmo-backend --help\n", value, remedy);
    return -EXIT_USAGE;
}

static int take_log_level(struct settings *s, const char *value) {
    s->log_level = log_level_parse(value);
    return s->log_level < 0 ? usage("--log-level must be DEBUG, INFO, WARNING or ERROR, not ", value) : 0;
}

static int take_option(struct settings *s, int option) {
    if (option >= OPT_SETTING)
        return options_add(s, driver_settings[option - OPT_SETTING].key, optarg);
    if (option >= OPT_TEXT) {
        *(const char **)((char *)s + texts[option - OPT_TEXT].offset) = optarg;
        return 0;
    }
    switch (option) {
    case OPT_NO_SANDBOX: return options_add(s, "no-sandbox", "1");
    case OPT_IMAGE: return add_image(s, optarg);
    case OPT_OVERCOMMIT: return add_overcommit(s, optarg);
    case OPT_LOG_LEVEL: return take_log_level(s, optarg);
    case OPT_INCLUDE: return add_namespaces(s, optarg);
    case OPT_NODE_LABELS: return read_bool("--enable-node-label-update", optarg, &s->node_labels);
    case OPT_METRICS: return read_bool("--metrics_otel_enable", optarg, &s->metrics);
    case OPT_METHOD: return take_method(optarg, "dev", "leave --method out and give --token-file, or write dev");
    case OPT_LOGIN_METHOD: return take_method(optarg, "token", "give a backend's access token by --token-file");
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

/* ---- the environment ---- */

static const char *variable(const char *name) {
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

/* Before the command line, which wins. Of several settings of one key the driver takes the last. */
static int read_environment(struct settings *s) {
    static const struct { const char *name, *key; } numbers[] = {
        { "LIST_PODS_PAGE_SIZE", "page-size" }, { "OSMO_API_QPS", "qps" }, { "OSMO_API_BURST", "burst" },
    };
    s->name = variable("BACKEND") ? variable("BACKEND") : s->name;
    s->token = variable("OSMO_LOGIN_TOKEN");
    s->test_template_file = variable("TEST_RUNNER_CRONJOB_SPEC_FILE");
    s->metrics_port = variable("METRICS_PROMETHEUS_PORT");
    int rc = 0;
    if (variable("METRICS_OTEL_ENABLE"))
        rc = read_bool("METRICS_OTEL_ENABLE", getenv("METRICS_OTEL_ENABLE"), &s->metrics);
    if (rc == 0 && variable("ENABLE_NODE_LABEL_UPDATE"))
        rc = read_bool("ENABLE_NODE_LABEL_UPDATE", getenv("ENABLE_NODE_LABEL_UPDATE"), &s->node_labels);
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(numbers); i++)
        if (variable(numbers[i].name))
            rc = options_add(s, numbers[i].key, getenv(numbers[i].name));
    return rc;
}

/* ---- what follows from others ---- */

static const char *keep(struct settings *s, char *text) {
    int rc = text ? strlist_add(&s->owned, text) : OSMO_ENOMEM;
    free(text);
    return rc == 0 ? s->owned.items[s->owned.len - 1] : NULL;
}

/* In a pod by its account; elsewhere as kubectl does. */
static int find_cluster(struct settings *s) {
    const char *host = variable("KUBERNETES_SERVICE_HOST"), *port = variable("KUBERNETES_SERVICE_PORT");
    bool in_pod = !s->kubeconfig && host;
    if (!s->kubeconfig && !in_pod)
        s->kubeconfig = variable("KUBECONFIG");
    if (!s->kubeconfig && !in_pod && variable("HOME"))
        s->kubeconfig = keep(s, str_printf("%s/.kube/config", getenv("HOME")));
    if (!s->kubeconfig && !in_pod)
        return usage("there is no way to the cluster: give --kubeconfig FILE", "");
    int rc = s->kubeconfig ? options_add(s, "kubeconfig", s->kubeconfig) : options_add(s, "service-host", host);
    if (rc == 0 && in_pod && port)
        rc = options_add(s, "service-port", port);
    if (in_pod && !s->lease)
        s->lease = keep(s, str_printf("osmo-backend-%s", s->name));
    if (s->lease && (!*s->lease || strcmp(s->lease, "none") == 0))
        s->lease = NULL;
    return rc;
}

static int settle(struct settings *s) {
    if (!s->service)
        return usage("--service URL is needed", "");
    if (!*s->name)
        return usage("--name must not be empty", "");
    if (s->token_file)
        s->token = NULL;
    if (s->metrics && !s->health_listen)
        s->health_listen = keep(s, str_printf("0.0.0.0:%s", s->metrics_port ? s->metrics_port : "9464"));
    if (strcmp(s->cluster, "kubernetes") == 0)
        return find_cluster(s);
    return s->lease ? usage("--lease is for --cluster kubernetes", "") : 0;
}

int options_read(struct settings *s, int argc, char **argv) {
    struct option table[OPTIONS + 1];
    int option, rc = read_environment(s);
    make_table(table);
    while (rc == 0 && (option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        bool may_have = option == OPT_NODE_LABELS || option == OPT_METRICS;
        if (may_have && !optarg && optind < argc && truth_of(argv[optind]) >= 0)
            optarg = argv[optind++]; /* "--name true" is fine too */
        rc = take_option(s, option);
    }
    if (rc)
        return rc;
    return optind < argc ? usage("unexpected argument ", argv[optind]) : settle(s);
}

void options_free(struct settings *s) {
    strlist_free(&s->driver);
    strlist_free(&s->owned);
}
