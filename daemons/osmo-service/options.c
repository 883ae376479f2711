/* Command line and environment of osmo-service. For main.c only. */
#include "options.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "osmo/version.h"

static const char help[] =
    "Usage: osmo-service [OPTION]...\n"
    "The OSMO control plane: HTTP API, websockets for backends and tasks, workflow engine.\n"
    "\n"
    "      --listen ADDR:PORT   where to listen; port 0 takes any free one (127.0.0.1:8000)\n"
    "      --data-dir DIR       database, logs and task data ($XDG_DATA_HOME/osmo or ~/.local/share/osmo)\n"
    "      --database URL       sqlite:PATH or postgresql://... (an SQLite file in the data directory)\n"
    "      --storage DIR        task data; services that share a PostgreSQL database share it (DATA_DIR/storage)\n"
    "      --replica-address URL  where the other services of the database reach this one (http://<listen address>)\n"
    "      --roles LIST         parts to run, separated by commas (all)\n"
    "      --config FILE        configuration in ConfigMap form, YAML (built-in defaults)\n"
    "      --auth MODE          required, or dev: loopback only, the x-osmo-user header is trusted (required)\n"
    "      --tls-cert FILE      speak HTTPS: PEM certificate of this service, its chain behind it\n"
    "      --tls-key FILE       PEM key of the certificate, not encrypted\n"
    "      --base-url URL       under which clients and tasks reach this service (http(s)://<listen address>)\n"
    "      --trusted-gateways LIST  addresses and CIDR blocks of gateways whose x-osmo-* headers say who asks (none)\n"
    "      --backend-token-dir DIR  one directory a backend, with the files token and previous-token (none)\n"
    "      --master-key FILE    keys under which secrets are stored, YAML (DATA_DIR/master-key.yaml, made when missing)\n"
    "      --audit-log FILE     who did what, one JSON object a line (DATA_DIR/audit.jsonl)\n"
    "      --workers N          request threads, at most (64; 16 on PostgreSQL)\n"
    "      --port-file FILE     write the bound port here once requests are served\n"
    "      --log-level LEVEL    debug, info, warning or error (info)\n"
    "      --version            print the version and exit\n"
    "  -h, --help               print this and exit\n"
    "\n"
    "Environment, which wins over the options:\n"
    "  OSMO_CONFIG_FILE             as --config\n"
    "  OSMO_DEFAULT_ADMIN_USERNAME  name of the administrator (admin)\n"
    "  OSMO_DEFAULT_ADMIN_PASSWORD  access token of the administrator, 43 characters; without it one is made at the first\n"
    "                               start, printed once and kept in DATA_DIR/admin-token\n"
    "  OSMO_MASTER_KEY_FILE         as --master-key\n"
    "  OSMO_BACKEND_TOKEN_DIRECTORY as --backend-token-dir\n"
    "  SSL_CERT_FILE, SSL_CERT_DIR  whose certificates the service believes in when it asks others (those of the system)\n"
    "\n"
    "Signals: SIGTERM and SIGINT drain and stop, a second one stops at once; SIGHUP reads configuration, certificate and\n"
    "master key again and opens the audit log anew.\n"
    "Exit status: 0 stopped, 1 cannot run, 2 wrong usage.\n";

enum { OPT_LISTEN = 256, OPT_DATA_DIR, OPT_DATABASE, OPT_ROLES, OPT_CONFIG, OPT_AUTH, OPT_BASE_URL, OPT_WORKERS, OPT_PORT_FILE,
       OPT_STORAGE, OPT_REPLICA_ADDRESS, OPT_LOG_LEVEL, OPT_VERSION, OPT_TLS_CERT, OPT_TLS_KEY, OPT_GATEWAYS, OPT_TOKEN_DIR,
       OPT_MASTER_KEY, OPT_AUDIT_LOG };

static const struct option longs[] = {
    { "listen", required_argument, NULL, OPT_LISTEN }, { "data-dir", required_argument, NULL, OPT_DATA_DIR },
    { "database", required_argument, NULL, OPT_DATABASE }, { "roles", required_argument, NULL, OPT_ROLES },
    { "storage", required_argument, NULL, OPT_STORAGE }, { "replica-address", required_argument, NULL, OPT_REPLICA_ADDRESS },
    { "config", required_argument, NULL, OPT_CONFIG }, { "auth", required_argument, NULL, OPT_AUTH },
    { "base-url", required_argument, NULL, OPT_BASE_URL }, { "workers", required_argument, NULL, OPT_WORKERS },
    { "port-file", required_argument, NULL, OPT_PORT_FILE }, { "log-level", required_argument, NULL, OPT_LOG_LEVEL },
    { "tls-cert", required_argument, NULL, OPT_TLS_CERT }, { "tls-key", required_argument, NULL, OPT_TLS_KEY },
    { "trusted-gateways", required_argument, NULL, OPT_GATEWAYS }, { "backend-token-dir", required_argument, NULL, OPT_TOKEN_DIR },
    { "master-key", required_argument, NULL, OPT_MASTER_KEY }, { "audit-log", required_argument, NULL, OPT_AUDIT_LOG },
    { "version", no_argument, NULL, OPT_VERSION }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
};

static int usage(const char *what, const char *value) {
    fprintf(stderr, "osmo-service: %s%s%s; try osmo-service --help\n", what, value ? ": " : "", value ? value : "");
    return -1;
}

/* Absolute, because the service keeps paths into it. */
static int set_dir(char *dir, size_t size, const char *path) {
    char here[2048];
    int n;
    if (*path == '/')
        n = snprintf(dir, size, "%s", path);
    else if (!getcwd(here, sizeof here))
        return usage("the current directory is gone: give absolute directories, not", path);
    else
        n = snprintf(dir, size, "%s/%s", here, path);
    return n > 0 && n < 3800 ? 0 : usage("a directory with too long a name", NULL);
}

static int set_data_dir(struct options *o, const char *path) { return set_dir(o->data_dir, sizeof o->data_dir, path); }

static int set_replica_address(struct options *o, const char *url) {
    o->replica_address = url;
    size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
    return scheme && url[scheme] && url[strlen(url) - 1] != '/'
               ? 0 : usage("--replica-address is http(s)://HOST:PORT without a slash at its end, not", url);
}

static int default_data_dir(struct options *o) {
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char path[3072];
    if (xdg && *xdg == '/')
        snprintf(path, sizeof path, "%s/osmo", xdg);
    else if (home && *home == '/')
        snprintf(path, sizeof path, "%s/.local/share/osmo", home);
    else
        return usage("neither HOME nor XDG_DATA_HOME is set: give --data-dir DIR", NULL);
    return set_data_dir(o, path);
}

static int set_number(int *out, const char *text) {
    char *end;
    long n = strtol(text, &end, 10);
    if (!*text || *end || n < 1 || n > 256)
        return usage("--workers is a number from 1 to 256, not", text);
    *out = (int)n;
    return 0;
}

/* Texts that are taken as they are; NULL for other options. */
static const char **text_of(struct options *o, int opt) {
    switch (opt) {
    case OPT_LISTEN: return &o->listen;
    case OPT_DATABASE: return &o->database;
    case OPT_ROLES: return &o->roles;
    case OPT_CONFIG: return &o->config_file;
    case OPT_BASE_URL: return &o->base_url;
    case OPT_PORT_FILE: return &o->port_file;
    case OPT_TLS_CERT: return &o->tls_cert;
    case OPT_TLS_KEY: return &o->tls_key;
    case OPT_GATEWAYS: return &o->trusted_gateways;
    case OPT_TOKEN_DIR: return &o->backend_token_dir;
    case OPT_MASTER_KEY: return &o->master_key;
    case OPT_AUDIT_LOG: return &o->audit_log;
    default: return NULL;
    }
}

static int set_one(struct options *o, int opt, const char *value) {
    const char **text = text_of(o, opt);
    if (text) {
        *text = value;
        return 0;
    }
    switch (opt) {
    case OPT_DATA_DIR:
        return set_data_dir(o, value);
    case OPT_STORAGE:
        return set_dir(o->storage, sizeof o->storage, value);
    case OPT_REPLICA_ADDRESS:
        return set_replica_address(o, value);
    case OPT_WORKERS:
        return set_number(&o->workers, value);
    case OPT_AUTH:
        if (strcmp(value, "required") != 0 && strcmp(value, "dev") != 0)
            return usage("--auth is required or dev, not", value);
        o->auth = strcmp(value, "dev") == 0 ? OSMO_AUTH_DEV : OSMO_AUTH_REQUIRED;
        return 0;
    case OPT_LOG_LEVEL:
        o->log_level = log_level_parse(value);
        return o->log_level < 0 ? usage("--log-level is debug, info, warning or error, not", value) : 0;
    default:
        return usage("unknown option", NULL);
    }
}

static const char *env_or(const char *name, const char *fallback) {
    const char *v = getenv(name);
    return v && *v ? v : fallback;
}

static int split_host(struct options *o) {
    const char *colon = strrchr(o->listen, ':'), *start = o->listen, *end = colon;
    if (colon && *start == '[' && colon[-1] == ']') {
        start++;
        end--;
    }
    if (!colon || end <= start || (size_t)(end - start) >= sizeof o->host)
        return usage("--listen is ADDR:PORT, for example 127.0.0.1:8000, not", o->listen);
    snprintf(o->host, sizeof o->host, "%.*s", (int)(end - start), start);
    o->loopback = host_is_loopback(o->host, strlen(o->host));
    if (o->auth == OSMO_AUTH_DEV && !o->loopback)
        return usage("--auth dev trusts everybody and needs a loopback address in --listen, not", o->host);
    return 0;
}

int options_read(struct options *o, int argc, char **argv) {
    int opt;
    *o = (struct options){ .listen = "127.0.0.1:8000", .log_level = LOG_LEVEL_INFO };
    opterr = 0;
    while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 1;
        }
        if (opt == OPT_VERSION) {
            printf("osmo-service %s (OSMO interface %s)\n", osmo_version(), OSMO_WIRE_VERSION);
            return 1;
        }
        if (opt == '?')
            return usage("unknown option or missing value", argv[optind - 1]);
        if (set_one(o, opt, optarg) < 0)
            return -1;
    }
    if (optind < argc)
        return usage("unexpected argument", argv[optind]);
    if (!o->data_dir[0] && default_data_dir(o) < 0)
        return -1;
    o->config_file = env_or("OSMO_CONFIG_FILE", o->config_file);
    o->admin_user = env_or("OSMO_DEFAULT_ADMIN_USERNAME", NULL);
    o->admin_token = env_or("OSMO_DEFAULT_ADMIN_PASSWORD", NULL);
    o->master_key = env_or("OSMO_MASTER_KEY_FILE", o->master_key);
    o->backend_token_dir = env_or("OSMO_BACKEND_TOKEN_DIRECTORY", o->backend_token_dir);
    o->ca_file = env_or("SSL_CERT_FILE", NULL);
    o->ca_dir = env_or("SSL_CERT_DIR", NULL);
    if (!o->tls_cert != !o->tls_key)
        return usage("--tls-cert and --tls-key belong together", NULL);
    return split_host(o);
}
