/* osmo up: the control plane and a local backend together on this machine, until SIGINT or SIGTERM. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "cli.h"

#define START_SECONDS 60
#define STOP_SECONDS 30

struct up {
    const char *data_dir, *listen, *config, *database, *overcommit, *network;
    strlist_t images;
    bool no_sandbox;
    char *data, *port_file, *token_file, *state, *url;
    pid_t service, backend;
    int signals;
};

static char *default_data_dir(void) {
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    return xdg && *xdg ? str_printf("%s/osmo", xdg)
                       : str_printf("%s/.local/share/osmo", home && *home ? home : "/var/lib/osmo");
}

/* Beside this program first (a build tree or an installation), then wherever PATH finds it. */
static char *program(const char *name) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        char *path = str_printf("%s/%s", self, name);
        if (path && access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return strdup(name);
}

static pid_t start(const strlist_t *words, osmo_error_t *err) {
    char **argv = calloc(words->len + 1, sizeof *argv);
    pid_t pid = -1;
    posix_spawnattr_t attr;
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    /* A group of its own: Ctrl-C reaches us first, and we stop them in order. */
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attr, &none);
    for (size_t i = 0; argv && i < words->len; i++)
        argv[i] = words->items[i];
    int e = argv ? posix_spawnp(&pid, argv[0], NULL, &attr, argv, environ) : ENOMEM;
    if (e) {
        osmo_error_set(err, OSMO_EIO, "cannot start %s: %s", words->items[0], strerror(e));
        pid = -1;
    }
    posix_spawnattr_destroy(&attr);
    free(argv);
    return pid;
}

static void add(strlist_t *l, const char *flag, const char *value) {
    if (value) {
        strlist_add(l, flag);
        strlist_add(l, value);
    }
}

static pid_t start_service(struct up *u, osmo_error_t *err) {
    strlist_t w = { 0 };
    _cleanup_free_ char *path = program("osmo-service");
    strlist_add(&w, path ? path : "osmo-service");
    add(&w, "--listen", u->listen);
    add(&w, "--data-dir", u->data);
    add(&w, "--port-file", u->port_file);
    add(&w, "--config", u->config);
    add(&w, "--database", u->database);
    pid_t pid = start(&w, err);
    strlist_free(&w);
    return pid;
}

static pid_t start_backend(struct up *u, osmo_error_t *err) {
    strlist_t w = { 0 };
    _cleanup_free_ char *path = program("osmo-backend");
    _cleanup_free_ char *config = config_dir();
    strlist_add(&w, path ? path : "osmo-backend");
    add(&w, "--service", u->url);
    add(&w, "--name", "default");
    add(&w, "--cluster", "local");
    add(&w, "--token-file", u->token_file);
    add(&w, "--state-dir", u->state);
    add(&w, "--hide", u->data);
    add(&w, "--hide", config);
    add(&w, "--cpu-overcommit", u->overcommit);
    add(&w, "--network", u->network);
    for (size_t i = 0; i < u->images.len; i++)
        add(&w, "--image", u->images.items[i]);
    if (u->no_sandbox)
        strlist_add(&w, "--no-sandbox");
    pid_t pid = start(&w, err);
    strlist_free(&w);
    return pid;
}

/* Wait for the port file while watching the service and our signals. 0 when it is there. */
static int await_port(struct up *u, osmo_error_t *err) {
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), rc = 1; /* 1: not decided yet */
    if (watch >= 0)
        inotify_add_watch(watch, u->data, IN_MOVED_TO | IN_CLOSE_WRITE | IN_CREATE);
    int64_t until = clock_mono_us() + START_SECONDS * 1000000ll;
    while (rc > 0) {
        buf_t port = BUF_INIT(64);
        int status;
        if (file_read(u->port_file, &port, NULL) == 0 && port.len) {
            u->url = str_printf("http://127.0.0.1:%d", atoi(port.data));
            rc = u->url ? 0 : OSMO_ENOMEM;
        } else if (waitpid(u->service, &status, WNOHANG) == u->service) {
            u->service = 0;
            rc = osmo_error_set(err, OSMO_EUNAVAIL, "osmo-service ended at once; its message is above");
        } else if (clock_mono_us() > until) {
            rc = osmo_error_set(err, OSMO_ETIMEOUT, "osmo-service did not start within %d seconds", START_SECONDS);
        } else {
            struct pollfd p[2] = { { .fd = watch, .events = POLLIN }, { .fd = u->signals, .events = POLLIN } };
            char events[4096];
            poll(p, 2, 200);
            while (p[0].revents && read(watch, events, sizeof events) > 0)
                continue;
            struct signalfd_siginfo info;
            if (p[1].revents && read(u->signals, &info, sizeof info) > 0 && info.ssi_signo != SIGCHLD)
                rc = osmo_error_set(err, OSMO_ETIMEOUT, "interrupted");
        }
        buf_free(&port);
    }
    if (watch >= 0)
        close(watch);
    return rc;
}

static void stop(pid_t *pid) {
    if (*pid <= 0)
        return;
    kill(*pid, SIGTERM);
    int64_t until = clock_mono_us() + STOP_SECONDS * 1000000ll;
    int status;
    while (waitpid(*pid, &status, WNOHANG) == 0) {
        if (clock_mono_us() > until) {
            kill(*pid, SIGKILL);
            until = INT64_MAX;
        }
        poll(NULL, 0, 10);
    }
    *pid = 0;
}

/* Until a signal, or until one of the two ends. */
static int watch_over(struct up *u) {
    for (;;) {
        struct signalfd_siginfo info;
        struct pollfd p = { .fd = u->signals, .events = POLLIN };
        if (poll(&p, 1, -1) < 0 || read(u->signals, &info, sizeof info) <= 0)
            continue;
        if (info.ssi_signo != SIGCHLD)
            return 0;
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
            bool service = pid == u->service;
            if (!service && pid != u->backend)
                continue;
            fprintf(stderr, "osmo up: %s ended unexpectedly; its message is above\n",
                    service ? "osmo-service" : "osmo-backend");
            *(service ? &u->service : &u->backend) = 0;
            return EXIT_SERVER_DOWN;
        }
    }
}

static int login_here(struct up *u) {
    char *argv[] = { u->url, "--method", "token", "--token-file", u->token_file };
    return cmd_login(5, argv);
}

static int run(struct up *u) {
    osmo_error_t err = OSMO_ERROR_INIT;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    u->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    unlink(u->port_file); /* of an earlier run */
    int code = 0;
    if ((u->service = start_service(u, &err)) < 0 || await_port(u, &err))
        code = api_fail(false, 0, err.text, EXIT_SERVER_DOWN);
    if (!code && !file_exists(u->token_file))
        code = api_fail(false, 0,
                        "the data directory was made by another administrator: there is no admin-token file in it",
                        EXIT_USER);
    if (!code)
        code = login_here(u);
    if (!code && (u->backend = start_backend(u, &err)) < 0)
        code = api_fail(false, 0, err.text, EXIT_SERVER_DOWN);
    if (!code) {
        printf("OSMO is up at %s (data in %s)\n"
               "In another terminal:  osmo workflow submit FILE.yaml --follow\nCtrl-C stops it.\n",
               u->url, u->data);
        fflush(stdout);
        code = watch_over(u);
    }
    stop(&u->backend);
    stop(&u->service);
    return code;
}

int cmd_up(int argc, char **argv) {
    struct up u = { .listen = "127.0.0.1:8000" };
    const struct opt opts[] = {
        { "--data-dir", OPT_VALUE, &u.data_dir, "DIR",
          "where everything is kept; default $XDG_DATA_HOME/osmo or ~/.local/share/osmo", NULL },
        { "--listen", OPT_VALUE, &u.listen, "ADDR:PORT", "address of the service", NULL },
        { "--config", OPT_VALUE, &u.config, "FILE", "pools, platforms and limits", NULL },
        { "--database", OPT_VALUE, &u.database, "URL", "sqlite:PATH or postgresql://…", NULL },
        { "--image", OPT_LIST, &u.images, "NAME=ROOTFS", "directory to use as root file system of an image", NULL },
        { "--cpu-overcommit", OPT_VALUE, &u.overcommit, "N", "CPUs offered per real one", NULL },
        { "--network", OPT_VALUE, &u.network, "KIND", "pod, host or auto: whether each pod has a network of its own", NULL },
        { "--no-sandbox", OPT_FLAG, &u.no_sandbox, NULL, "run tasks as plain processes", NULL },
    };
    static const char summary[] = "Run the control plane and a local backend on this machine.";
    const struct usage usage = { "up", summary, opts, ARRAY_SIZE(opts), NULL, 0 };
    int code = opt_parse(&usage, argc, argv);
    if (code >= 0)
        return code;
    osmo_error_t err = OSMO_ERROR_INIT;
    char real[PATH_MAX];
    _cleanup_free_ char *wanted = u.data_dir ? strdup(u.data_dir) : default_data_dir();
    if (!wanted || dir_make(wanted, 0700, &err) || !realpath(wanted, real))
        return api_fail(false, 0, err.text[0] ? err.text : "no data directory", EXIT_USER);
    u.data = strdup(real);
    u.port_file = str_printf("%s/port", real);
    u.token_file = str_printf("%s/admin-token", real);
    u.state = str_printf("%s/backend", real);
    code = u.data && u.port_file && u.token_file && u.state ? run(&u) : EXIT_USER;
    strlist_free(&u.images);
    free(u.data);
    free(u.port_file);
    free(u.token_file);
    free(u.state);
    free(u.url);
    return code;
}
