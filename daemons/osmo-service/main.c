/* osmo-service: the control plane as one program. Reads options, binds the port, opens the service, serves until a signal. */
#include <dirent.h>
#include <netdb.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "options.h"
#include "osmo/server.h"

#define DRAIN_MS 10000

static char program[] = "osmo-service";
static logger_t logger = { log_stderr, program, LOG_LEVEL_INFO };

static int fail(const osmo_error_t *err) {
    fprintf(stderr, "osmo-service: %s\n", err->text);
    return -1;
}

/* Tell systemd; silent without it. */
static void notify(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof a.sun_path || (*path != '/' && *path != '@'))
        return;
    memcpy(a.sun_path, path, len);
    if (*path == '@')
        a.sun_path[0] = '\0';
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        log_warning(&logger, "the service manager cannot be told: %m");
}

/* Bodies of uploads become task data by being renamed, so they are written beside it. A directory of storage that several services
 * share has a spool for each, the same after a restart. */
static void name_spool(const struct options *o, char *spool, size_t size) {
    char host[256] = "";
    if (!o->storage[0]) {
        snprintf(spool, size, "%s/spool", o->data_dir);
        return;
    }
    if (gethostname(host, sizeof host - 1) < 0)
        host[0] = '\0';
    uint64_t h = hash_bytes(HASH_START, o->data_dir, strlen(o->data_dir));
    snprintf(spool, size, "%s/.spool-%s-%016llx", o->storage, host, (unsigned long long)h);
}

/* The data directory and the spool; bodies left by a crash are removed. */
static int prepare_dirs(const struct options *o, char *spool, size_t size) {
    osmo_error_t err = OSMO_ERROR_INIT;
    name_spool(o, spool, size);
    if (dir_make(o->data_dir, 0700, &err) < 0)
        return fail(&err);
    if (access(o->data_dir, W_OK | X_OK) < 0) {
        fprintf(stderr, "osmo-service: the data directory %s is not writable: choose another with --data-dir DIR\n", o->data_dir);
        return -1;
    }
    if (dir_make(spool, 0700, &err) < 0)
        return fail(&err);
    DIR *d = opendir(spool);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (str_starts(e->d_name, "body-"))
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
    return 0;
}

/* Where others reach us: the wildcard address is no destination, our host name is, if it resolves. */
static void make_base_url(const struct options *o, int port, char *out, size_t size) {
    char name[256];
    struct addrinfo *found = NULL;
    const char *host = o->host;
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0) {
        bool usable = gethostname(name, sizeof name) == 0 && getaddrinfo(name, NULL, NULL, &found) == 0;
        if (usable)
            freeaddrinfo(found);
        host = usable ? name : "127.0.0.1";
    }
    const char *scheme = o->tls_cert ? "https" : "http";
    snprintf(out, size, strchr(host, ':') ? "%s://[%s]:%d" : "%s://%s:%d", scheme, host, port);
}

static int write_port(const struct options *o, int port) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char text[16];
    if (!o->port_file)
        return 0;
    int len = snprintf(text, sizeof text, "%d\n", port);
    return file_write_atomic(o->port_file, text, (size_t)len, 0644, false, &err) < 0 ? fail(&err) : 0;
}

static void free_token(char **token) {
    if (*token)
        explicit_bzero(*token, strlen(*token));
    free(*token);
}

/* A token that was made now is shown once and kept where only its owner can read it; printf would leave a copy of it on the stack. */
static int keep_admin_token(const struct options *o, osmo_service_t *service) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char path[4200];
    _cleanup_(free_token) char *token = osmo_service_take_admin_token(service);
    if (!token)
        return 0;
    snprintf(path, sizeof path, "%s/admin-token", o->data_dir);
    if (file_write_atomic(path, token, strlen(token), 0600, true, &err) < 0)
        return fail(&err);
    fprintf(stderr, "osmo-service: access token of %s, shown once and kept in %s:\n", o->admin_user ? o->admin_user : "admin", path);
    (void)(fd_write_all(STDERR_FILENO, token, strlen(token)) || fd_write_all(STDERR_FILENO, "\n", 1));
    return 0;
}

static void reload(osmo_server_t *server, osmo_service_t *service) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (osmo_server_reload_tls(server, &err) < 0)
        log_error(&logger, "the certificate was not reloaded, the old one stays: %s", err.text);
    if (osmo_service_reload(service, &err) < 0)
        log_error(&logger, "the configuration was not reloaded, the old one stays: %s", err.text);
    else
        log_info(&logger, "the configuration was reloaded");
}

static void wait_for_end(osmo_server_t *server, osmo_service_t *service, const sigset_t *signals) {
    int number;
    while (sigwait(signals, &number) != 0 || number == SIGHUP) {
        if (number == SIGHUP)
            reload(server, service);
    }
    log_info(&logger, "stopping on signal %d", number);
    /* A second one takes its default course: it ends the process at once. */
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &ending, NULL);
}

static int serve(const struct options *o, osmo_server_t *server, osmo_service_t *service, const char *url, const sigset_t *signals) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (keep_admin_token(o, service) < 0)
        return -1;
    if (osmo_server_start(server, service, &err) < 0)
        return fail(&err);
    int rc = write_port(o, osmo_server_port(server));
    if (rc == 0) {
        log_info(&logger, "serving %s", url);
        notify("READY=1\n");
        wait_for_end(server, service, signals);
        notify("STOPPING=1\n");
    }
    osmo_server_stop(server, DRAIN_MS);
    return rc;
}

#define PGSQL_WORKERS 16

/* Each reads over a connection of its own, and a server takes a hundred as it is delivered: enough for three services. */
static int worker_count(const struct options *o) {
    return o->workers ? o->workers : o->database && !strncmp(o->database, "postgres", 8) ? PGSQL_WORKERS : 0;
}

/* A proxy that speaks TLS may stand before us, as upstream has it. */
static void warn_of_plain_text(const struct options *o) {
    bool behind = o->trusted_gateways || (o->base_url && strncmp(o->base_url, "https://", 8) == 0);
    if (!o->tls_cert && !o->loopback && !behind)
        log_warning(&logger, "tokens come to %s unencrypted: give --tls-cert and --tls-key, or name the proxy that speaks TLS before this "
                    "service with --base-url https://HOST", o->listen);
}

static int run(const struct options *o, const sigset_t *signals) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char spool[4600], url[512];
    osmo_server_t *server = NULL;
    osmo_service_t *service = NULL;
    if (prepare_dirs(o, spool, sizeof spool) < 0)
        return -1;
    osmo_server_options_t so = { .size = sizeof so, .listen = o->listen, .workers = worker_count(o), .spool_dir = spool,
                                 .log = log_stderr, .log_ctx = program, .log_level = o->log_level, .cert_file = o->tls_cert,
                                 .key_file = o->tls_key };
    if (osmo_server_open(&so, &server, &err) < 0)
        return fail(&err);
    make_base_url(o, osmo_server_port(server), url, sizeof url); /* for other services too, whatever stands before them */
    osmo_service_options_t vo = {
        .size = sizeof vo, .data_dir = o->data_dir, .database = o->database, .config_file = o->config_file, .roles = o->roles,
        .base_url = o->base_url ? o->base_url : url, .auth = o->auth, .admin_token = o->admin_token, .admin_user = o->admin_user,
        .transport = osmo_server_transport(server), .log = log_stderr, .log_ctx = program, .log_level = o->log_level,
        .storage_dir = o->storage[0] ? o->storage : NULL, .replica_address = o->replica_address ? o->replica_address : url,
        .master_key_file = o->master_key, .audit_file = o->audit_log, .backend_token_dir = o->backend_token_dir,
        .trusted_gateways = o->trusted_gateways, .ca_file = o->ca_file, .ca_dir = o->ca_dir,
    };
    warn_of_plain_text(o);
    int rc = osmo_service_open(&vo, &service, &err);
    if (o->admin_token)
        explicit_bzero((char *)o->admin_token, strlen(o->admin_token)); /* the environment has no more use for it */
    rc = rc < 0 ? fail(&err) : serve(o, server, service, vo.base_url, signals);
    osmo_service_close(service);
    osmo_server_free(server);
    return rc;
}

int main(int argc, char **argv) {
    struct options o;
    sigset_t signals;
    int rc = options_read(&o, argc, argv);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    logger.level = o.log_level;
    umask(077);
    prctl(PR_SET_DUMPABLE, 0); /* no core file, and no other process of the same user looks into this one */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread exists */
    return run(&o, &signals) < 0 ? 1 : 0;
}
