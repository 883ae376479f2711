/* osmo: nouns, verbs, help, and the version command. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli.h"

static const struct noun nouns[] = {
    { "login", "log in to a service", NULL, 0, cmd_login },
    { "logout", "forget the login", NULL, 0, cmd_logout },
    { "version", "versions of client and service", NULL, 0, cmd_version },
    { "workflow", "submit and watch workflows", workflow_commands, WORKFLOW_COMMANDS, NULL },
    { "work", "work items that ran out of attempts", work_commands, WORK_COMMANDS, NULL },
    { "task", "tasks of many workflows", task_commands, TASK_COMMANDS, NULL },
    { "token", "access tokens", token_commands, TOKEN_COMMANDS, NULL },
    { "resource", "nodes", resource_commands, RESOURCE_COMMANDS, NULL },
    { "profile", "your settings", profile_commands, PROFILE_COMMANDS, NULL },
    { "data", "files in object storage", data_commands, DATA_COMMANDS, NULL },
    { "credential", "what workflows log in with", NULL, 0, cmd_credential },
    { "pool", "pools", pool_commands, POOL_COMMANDS, NULL },
    { "backend", "clusters, for administrators", backend_commands, BACKEND_COMMANDS, NULL },
    { "user", "users and their roles, for administrators", user_commands, USER_COMMANDS, NULL },
    { "config", "pools, roles and backends, for administrators", config_commands, CONFIG_COMMANDS, NULL },
    { "keys", "keys of the service, for administrators", keys_commands, KEYS_COMMANDS, NULL },
    { "up", "run a whole OSMO on this machine", NULL, 0, cmd_up },
};

static const struct noun *find_noun(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(nouns); i++) {
        if (strcmp(nouns[i].name, name) == 0)
            return &nouns[i];
    }
    return NULL;
}

static int help(FILE *to) {
    fprintf(to, "usage: osmo [-h] [--log-level LEVEL] COMMAND ...\n\nThe OSMO command line client.\n\ncommands:\n");
    for (size_t i = 0; i < ARRAY_SIZE(nouns); i++)
        fprintf(to, "  %-10s %s\n", nouns[i].name, nouns[i].summary);
    fprintf(to, "\n'osmo COMMAND --help' tells more.\n");
    return to == stdout ? 0 : EXIT_USER;
}

static int noun_help(const struct noun *n, FILE *to) {
    fprintf(to, "usage: osmo %s [-h] COMMAND ...\n\ncommands:\n", n->name);
    for (size_t i = 0; i < n->ncommands; i++)
        fprintf(to, "  %-10s %s\n", n->commands[i].name, n->commands[i].summary);
    return to == stdout ? 0 : EXIT_USER;
}

static int run_noun(const struct noun *n, int argc, char **argv) {
    if (n->run)
        return n->run(argc, argv);
    if (argc && (strcmp(argv[0], "-h") == 0 || strcmp(argv[0], "--help") == 0))
        return noun_help(n, stdout);
    for (size_t i = 0; argc && i < n->ncommands; i++) {
        if (strcmp(n->commands[i].name, argv[0]) == 0)
            return n->commands[i].run(argc - 1, argv + 1);
    }
    noun_help(n, stderr);
    if (argc)
        fprintf(stderr, "osmo %s: error: invalid choice: '%s'\n", n->name, argv[0]);
    else
        fprintf(stderr, "osmo %s: error: a command is needed\n", n->name);
    return EXIT_USER;
}

static void version_text(const json_t *v, buf_t *out) {
    const char *hash = json_get_str(v, "hash");
    buf_printf(out, "%s.%s.%s%s%s", json_get_str(v, "major"), json_get_str(v, "minor"), json_get_str(v, "revision"),
               hash && *hash ? "." : "", hash ? hash : "");
}

/* An unreachable service is not an error here. */
static json_t *service_version(void) {
    struct login l;
    json_t *v = NULL;
    http_client_t *http = NULL;
    if (login_load(&l, NULL))
        return NULL;
    _cleanup_free_ char *url = str_printf("%s/api/version", l.url);
    static const char *const headers[] = { "Content-Type: application/json", NULL };
    http_request_t rq = {
        .method = "GET", .url = url, .headers = headers, .timeout_ms = 10000, .connect_timeout_ms = 3000
    };
    http_response_t rs = { 0 };
    if (url && http_client_new("osmo-cli/" CLIENT_VERSION, &http, NULL) == 0 &&
        http_perform(http, &rq, &rs, NULL) == 0 && rs.status == 200 &&
        json_parse(rs.body.data ? rs.body.data : "", rs.body.len, &v, NULL))
        v = NULL;
    http_response_free(&rs);
    http_client_free(http);
    login_clear(&l);
    return v;
}

int cmd_version(int argc, char **argv) {
    const char *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct usage u = { "version", "Versions of the client and of the service.", opts, 1, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    json_t *service = service_version();
    if (str_eq(format, "json")) {
        json_t *o = json_object(), *client = json_object();
        json_set_str(client, "major", "6");
        json_set_str(client, "minor", "4");
        json_set_str(client, "revision", "0");
        json_set_str(client, "hash", "");
        json_set(o, "client", client);
        if (service)
            json_set(o, "service", service);
        print_json(o, 4);
        json_free(o);
        return 0;
    }
    printf("OSMO client version:  %s\n", CLIENT_VERSION);
    if (service) {
        buf_t text = BUF_INIT(256);
        version_text(service, &text);
        printf("OSMO service version: %s\n", buf_cstr(&text));
        buf_free(&text);
    }
    json_free(service);
    return 0;
}

static void interrupted(int number) {
    (void)number;
    _exit(EXIT_INTERRUPTED);
}

int main(int argc, char **argv) {
    int i = 1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, interrupted);
    if (http_trust(getenv("SSL_CERT_FILE"), getenv("SSL_CERT_DIR")) < 0)
        return 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)
            return help(stdout);
        if (strcmp(argv[i], "--version") == 0)
            return printf("osmo %s (OSMO %s)\n", OSMO_VERSION, CLIENT_VERSION) < 0;
        if (strcmp(argv[i], "--log-level") == 0 && i + 1 < argc) {
            i++; /* accepted: this client writes no log */
        } else if (strncmp(argv[i], "--log-level=", 12) != 0) {
            fprintf(stderr, "osmo: error: unrecognized arguments: %s\n", argv[i]);
            return EXIT_USER;
        }
    }
    if (i >= argc)
        return help(stdout);
    const struct noun *n = find_noun(argv[i]);
    if (!n) {
        help(stderr);
        fprintf(stderr, "osmo: error: invalid choice: '%s'\n", argv[i]);
        return EXIT_USER;
    }
    return run_noun(n, argc - i - 1, argv + i + 1);
}
