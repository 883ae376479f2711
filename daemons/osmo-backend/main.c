/* osmo-backend: a shell around libosmo-backend. Reads the command line and the environment, prints, handles signals. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "osmo/backend/operator.h"
#include "options.h"

#define TEMPLATE_MAX (1u << 20)

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

struct watch { osmo_operator_t *op; atomic_bool over; bool asked; };

static void watched_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR1); /* of run() */
}

static void *wait_for_signal(void *ctx) {
    struct watch *w = ctx;
    sigset_t set;
    int number;
    watched_signals(&set);
    while (sigwait(&set, &number) != 0 || (number == SIGUSR1 && !w->over))
        ;
    w->asked = number != SIGUSR1;
    osmo_operator_stop(w->op);
    return NULL;
}

/* EGONE: the lease is lost, and nobody asked for an end. */
static int run(osmo_operator_t *op, osmo_error_t *err) {
    struct watch w = { .op = op };
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_signal, &w) != 0)
        return osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: raise the limit of processes (ulimit -u)");
    int rc = osmo_operator_run(op, err);
    w.over = true;
    pthread_kill(thread, SIGUSR1); /* wakes the thread when the loop ended by itself; harmless when it is gone already */
    pthread_join(thread, NULL);
    return rc == OSMO_EGONE && w.asked ? OSMO_OK : rc;
}

static void block_signals(void) {
    sigset_t set;
    watched_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before any thread, so that all inherit it */
    signal(SIGPIPE, SIG_IGN);
}

/* ---- what is worked out before ---- */

static int find_directories(struct settings *s, char **state, osmo_error_t *err) {
    bool kubernetes = strcmp(s->cluster, "kubernetes") == 0;
    *state = s->state_dir ? str_dup(s->state_dir) : kubernetes ? NULL : default_state_dir(s->name);
    if (!*state && !kubernetes)
        return osmo_error_set(err, OSMO_EINVAL, "no place for state: set HOME, use a --name without '/', or give --state-dir DIR");
    if (strcmp(s->cluster, "local") != 0)
        return OSMO_OK;
    _cleanup_free_ char *runtime = s->runtime_dir ? str_dup(s->runtime_dir) : default_runtime_dir();
    if (!runtime || options_add(s, "runtime-dir", runtime) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return OSMO_OK;
}

static int find_certificates(struct settings *s, char **ca_file, osmo_error_t *err) {
    const char *trusted = s->ca_file ? s->ca_file : getenv("SSL_CERT_FILE");
    *ca_file = trusted && *trusted ? realpath(trusted, NULL) : NULL;
    if (trusted && *trusted && !*ca_file)
        return osmo_error_set(err, OSMO_ENOTFOUND, "the certificates in %s cannot be read: %m; check --ca-file and SSL_CERT_FILE", trusted);
    if (*ca_file && strcmp(s->cluster, "local") == 0 && options_add(s, "ca-file", *ca_file) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return OSMO_OK;
}

/* Pods are named after their host; the rest tells two containers of one pod apart. */
static int make_identity(char out[256], osmo_error_t *err) {
    char host[128] = "", random[33];
    const char *pod = getenv("POD_NAME");
    if (gethostname(host, sizeof host - 1) != 0 || crypto_random_hex32(random) < 0)
        return osmo_error_set(err, OSMO_EIO, "no name for this replica");
    snprintf(out, 256, "%.127s_%.8s", pod && *pod ? pod : host, random);
    return OSMO_OK;
}

/* A lost lease is no end: it stands by until it has it again. */
static int serve(const osmo_operator_options_t *o, osmo_error_t *err) {
    int rc;
    do {
        osmo_operator_t *op = NULL;
        *err = (osmo_error_t)OSMO_ERROR_INIT;
        rc = osmo_operator_open(o, &op, err);
        if (rc == 0)
            rc = run(op, err);
        osmo_operator_free(op);
    } while (rc == OSMO_EGONE);
    return rc;
}

static int start(struct settings *s, osmo_error_t *err) {
    _cleanup_free_ char *state = NULL, *ca_file = NULL;
    _cleanup_buf_ buf_t template = BUF_INIT(TEMPLATE_MAX);
    char identity[256];
    int rc = find_directories(s, &state, err);
    if (rc == 0)
        rc = find_certificates(s, &ca_file, err);
    if (rc == 0)
        rc = make_identity(identity, err);
    if (rc == 0 && s->test_template_file && (rc = file_read(s->test_template_file, &template, err)) < 0)
        osmo_error_prefix(err, "--test-cronjob-template");
    _cleanup_free_ const char **list = calloc(s->driver.len + 1, sizeof *list);
    if (rc == 0 && !list)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < s->driver.len; i++)
        list[i] = s->driver.items[i];
    extern char **environ;
    osmo_operator_options_t o = { .size = sizeof o, .service_url = s->service, .backend = s->name, .namespace_ = s->namespace_,
                                  .token_file = s->token_file, .token = s->token, .user = s->user, .driver = s->cluster, .state_dir = state,
                                  .settings = list, .log = log_stderr, .log_ctx = (void *)(uintptr_t)PROGRAM,
                                  .log_level = s->log_level, .ca_file = ca_file,
                                  .ca_dir = s->ca_file ? NULL : getenv("SSL_CERT_DIR"), .node_condition_prefix = s->condition_prefix,
                                  .health_listen = s->health_listen, .lease = s->lease, .agent_namespace = s->agent_namespace,
                                  .identity = identity, .test_namespace = s->test_namespace, .test_image = s->test_image,
                                  .test_template = s->test_template_file ? buf_cstr(&template) : NULL, .label_nodes = s->node_labels,
                                  .environment = (const char *const *)environ };
    return serve(&o, err);
}

int main(int argc, char **argv) {
    struct settings s = { .name = "default", .cluster = "local", .log_level = LOG_LEVEL_INFO };
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = options_read(&s, argc, argv);
    if (rc == 0) {
        block_signals();
        rc = start(&s, &err);
        if (rc < 0)
            fprintf(stderr, PROGRAM ": %s\n", err.text);
        rc = rc < 0 ? -1 : 0;
    }
    options_free(&s);
    return rc == -EXIT_USAGE ? EXIT_USAGE : rc < 0;
}
