/* Credential plugins of kubeconfigs: a program is run without a shell and without a terminal, and answers with an ExecCredential. Time and
 * output are limited. Called by kube_config.c. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/error.h"
#include "cluster/kubernetes/kube_config.h"

#define OUTPUT_MAX (1u << 20)
#define COMPLAINT_MAX 4096u /* of stderr is kept; the rest is read and dropped */
#define COMPLAINT_SHOWN 300

void kube_wipe(char **text) {
    if (*text)
        crypto_wipe(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void kube_credential_clear(struct kube_credential *c) {
    kube_wipe(&c->token);
    kube_wipe(&c->cert_pem);
    kube_wipe(&c->key_pem);
    c->expires_us = 0;
}

void kube_exec_free(struct kube_exec *x) {
    if (!x)
        return;
    free(x->command);
    free(x->api_version);
    free(x->hint);
    strlist_free(&x->args);
    for (size_t i = 0; i < x->environment.len; i++)
        crypto_wipe(x->environment.items[i], strlen(x->environment.items[i]));
    strlist_free(&x->environment);
    json_free(x->cluster_config);
    free(x);
}

static const char *path_of(const strlist_t *environment) {
    for (size_t i = 0; i < environment->len; i++) {
        if (str_starts(environment->items[i], "PATH="))
            return environment->items[i] + 5;
    }
    return "/usr/local/bin:/usr/bin:/bin";
}

/* 0, OSMO_ENOTFOUND: cannot be executed, OSMO_ENOMEM. */
static int try_path(char *path, char **out) {
    if (!path)
        return OSMO_ENOMEM;
    if (access(path, X_OK) < 0) {
        free(path);
        return OSMO_ENOTFOUND;
    }
    *out = path;
    return 0;
}

int kube_exec_find(const char *command, const char *dir, const strlist_t *environment, char **out) {
    int rc = OSMO_ENOTFOUND;
    if (strchr(command, '/'))
        return try_path(command[0] == '/' ? str_dup(command) : str_printf("%s/%s", dir, command), out);
    for (const char *p = path_of(environment); *p && rc == OSMO_ENOTFOUND;) {
        size_t len = strcspn(p, ":");
        if (len && p[0] == '/') /* never from where we happen to be */
            rc = try_path(str_printf("%.*s/%s", (int)len, p, command), out);
        p += len + (p[len] == ':');
    }
    return rc;
}

/* ---- running ---- */

struct child { pid_t pid; int pidfd, out, err; };

static void end_child(struct child *c) {
    if (c->pid > 0) {
        kill(-c->pid, SIGKILL); /* with whatever it started: nobody is left to need it */
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (c->pidfd >= 0)
        close(c->pidfd);
    if (c->out >= 0)
        close(c->out);
    if (c->err >= 0)
        close(c->err);
}

static int spawn(const struct kube_exec *x, char *const argv[], char *const envp[], int out, int complaints, pid_t *pid) {
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, out, 1);
    posix_spawn_file_actions_adddup2(&fa, complaints, 2);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int rc = posix_spawn(pid, x->command, &fa, &attr, argv, envp);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&attr);
    return rc;
}

static int start_child(const struct kube_exec *x, const char *info, struct child *c, osmo_error_t *err) {
    int out[2] = {-1, -1}, complaints[2] = {-1, -1};
    _cleanup_free_ char **argv = calloc(x->args.len + 2, sizeof *argv), **envp = calloc(x->environment.len + 2, sizeof *envp);
    if (!argv || !envp)
        return no_memory(err);
    argv[0] = x->command;
    for (size_t i = 0; i < x->args.len; i++)
        argv[i + 1] = x->args.items[i];
    for (size_t i = 0; i < x->environment.len; i++)
        envp[i] = x->environment.items[i];
    envp[x->environment.len] = (char *)info;
    int rc = pipe2(out, O_CLOEXEC) < 0 || pipe2(complaints, O_CLOEXEC) < 0 ? errno : 0;
    if (rc == 0)
        rc = spawn(x, argv, envp, out[1], complaints[1], &c->pid);
    if (out[1] >= 0)
        close(out[1]);
    if (complaints[1] >= 0)
        close(complaints[1]);
    c->out = out[0];
    c->err = complaints[0];
    if (rc == 0 && (c->pidfd = pidfd_open(c->pid, 0)) < 0)
        rc = errno;
    return rc == 0 ? 0 : osmo_error_set(err, OSMO_EUNAUTH, "the credential plugin %s cannot be started: %s", x->command, strerror(rc));
}

/* One read; false at the end of the stream. What does not fit is dropped, and *over set. */
static bool take(int fd, buf_t *b, bool *over) {
    char piece[4096];
    ssize_t n = read(fd, piece, sizeof piece);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n > 0 && buf_append(b, piece, (size_t)n) < 0)
        *over = true;
    crypto_wipe(piece, sizeof piece);
    return n > 0;
}

/* Until it ended: its children may hold the pipes open for longer. */
static int follow(const struct kube_exec *x, struct child *c, int stop_fd, buf_t *out, buf_t *complaints, osmo_error_t *err) {
    int64_t deadline = clock_mono_us() + x->timeout_ms * 1000;
    bool over = false, dropped = false, ended = false;
    fcntl(c->out, F_SETFL, O_NONBLOCK);
    fcntl(c->err, F_SETFL, O_NONBLOCK);
    struct pollfd p[4] = {{.fd = c->out, .events = POLLIN}, {.fd = c->err, .events = POLLIN}, {.fd = c->pidfd, .events = POLLIN},
                          {.fd = stop_fd, .events = POLLIN}};
    while (!over) {
        int64_t left = (deadline - clock_mono_us() + 999) / 1000;
        if (left <= 0)
            return osmo_error_set(err, OSMO_EUNAUTH, "the credential plugin %s did not answer within %d s: run it by hand to see what it "
                                  "waits for", x->command, (int)((x->timeout_ms + 999) / 1000));
        int n = poll(p, 4, ended ? 0 : (int)left);
        if (n < 0 && errno != EINTR)
            return osmo_error_set(err, OSMO_EIO, "cannot wait for the credential plugin %s: %s", x->command, strerror(errno));
        if (n == 0 && ended)
            return 0;
        if (n > 0 && p[3].revents)
            return osmo_error_set(err, OSMO_ECONFLICT, "the client is being stopped");
        ended = n > 0 && p[2].revents;
        if (n > 0 && p[0].revents && !take(c->out, out, &over))
            p[0].fd = -1;
        if (n > 0 && p[1].revents && !take(c->err, complaints, &dropped))
            p[1].fd = -1;
        if (ended && (p[0].fd < 0 || !p[0].revents) && (p[1].fd < 0 || !p[1].revents))
            return 0;
    }
    return osmo_error_set(err, OSMO_EUNAUTH, "the credential plugin %s wrote more than %u bytes", x->command, OUTPUT_MAX);
}

/* First line of what it complained about, as far as it can be shown. */
static const char *complaint(buf_t *b, char out[COMPLAINT_SHOWN + 1]) {
    const char *p = buf_cstr(b);
    size_t n = 0;
    p += strspn(p, " \t\r\n");
    for (; *p && *p != '\n' && n < COMPLAINT_SHOWN; p++)
        out[n++] = (unsigned char)*p < ' ' || (unsigned char)*p > 126 ? '?' : *p;
    out[n] = '\0';
    return n ? out : "it said nothing on its standard error";
}

static int wait_for(const struct kube_exec *x, struct child *c, buf_t *complaints, osmo_error_t *err) {
    int status = 0;
    char shown[COMPLAINT_SHOWN + 1];
    pid_t pid;
    while ((pid = waitpid(c->pid, &status, 0)) < 0 && errno == EINTR)
        ;
    if (pid < 0)
        status = 0; /* a host that reaps all children itself: what was written decides */
    c->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return osmo_error_set(err, OSMO_EUNAUTH, "the credential plugin %s ended with %s %d: %s%s%s", x->command,
                          WIFSIGNALED(status) ? "signal" : "exit code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                          complaint(complaints, shown), x->hint ? "; " : "", x->hint ? x->hint : "");
}

/* ---- what it is told, and what it answers ---- */

static char *exec_info(const struct kube_exec *x, const json_t *cluster) {
    _cleanup_json_ json_t *v = json_object();
    json_t *spec = json_object();
    int rc = json_set_str(v, "apiVersion", x->api_version) | json_set_str(v, "kind", "ExecCredential");
    rc |= spec ? json_set_bool(spec, "interactive", false) : -1;
    if (cluster && spec) {
        json_t *copy = json_copy(cluster);
        rc |= copy ? json_set(spec, "cluster", copy) : -1;
    }
    rc |= spec ? json_set(v, "spec", spec) : 0;
    _cleanup_free_ char *text = v && rc == 0 ? json_to_text(v) : NULL;
    return text ? str_printf("KUBERNETES_EXEC_INFO=%s", text) : NULL;
}

static int bad_answer(const struct kube_exec *x, const char *what, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUNAUTH, "the credential plugin %s answered %s: check that it is meant for Kubernetes (%s)", x->command,
                          what, x->api_version);
}

static int read_answer(const struct kube_exec *x, const buf_t *text, struct kube_credential *out, osmo_error_t *err) {
    _cleanup_json_secret_ json_t *v = NULL;
    if (json_parse_secret(text->data ? text->data : "", text->len, &v, NULL) < 0 || json_kind(v) != JSON_OBJECT)
        return bad_answer(x, "something that is no JSON object", err);
    if (!str_eq(json_get_str(v, "kind"), "ExecCredential"))
        return bad_answer(x, "no ExecCredential", err);
    if (!str_eq(json_get_str(v, "apiVersion"), x->api_version))
        return bad_answer(x, "in another apiVersion than the kubeconfig names", err);
    const json_t *status = json_get(v, "status");
    const char *token = json_get_str(status, "token"), *expires = json_get_str(status, "expirationTimestamp");
    const char *cert = json_get_str(status, "clientCertificateData"), *key = json_get_str(status, "clientKeyData");
    token = token && *token ? token : NULL;
    cert = cert && *cert ? cert : NULL;
    key = key && *key ? key : NULL;
    if (!cert != !key)
        return bad_answer(x, "with half of a certificate and its key", err);
    if (!token && !cert)
        return bad_answer(x, "without a token or a certificate", err);
    if (expires && !time_parse(expires, &out->expires_us))
        return bad_answer(x, "with an expirationTimestamp that is no time", err);
    out->token = str_dup(token);
    out->cert_pem = str_dup(cert);
    out->key_pem = str_dup(key);
    return (token && !out->token) || (cert && !out->cert_pem) || (key && !out->key_pem) ? no_memory(err) : 0;
}

int kube_exec_run(const struct kube_exec *x, const json_t *cluster, int stop_fd, struct kube_credential *out, osmo_error_t *err) {
    _cleanup_buf_ buf_t answer = BUF_SECRET(OUTPUT_MAX), complaints = BUF_INIT(COMPLAINT_MAX);
    struct child c = {.pid = 0, .pidfd = -1, .out = -1, .err = -1};
    _cleanup_free_ char *info = exec_info(x, x->wants_cluster ? cluster : NULL);
    memset(out, 0, sizeof *out);
    if (!info)
        return no_memory(err);
    int rc = start_child(x, info, &c, err);
    if (rc == 0)
        rc = follow(x, &c, stop_fd, &answer, &complaints, err);
    if (rc == 0)
        rc = wait_for(x, &c, &complaints, err);
    end_child(&c);
    if (rc == 0)
        rc = read_answer(x, &answer, out, err);
    if (rc < 0)
        kube_credential_clear(out);
    return rc;
}
