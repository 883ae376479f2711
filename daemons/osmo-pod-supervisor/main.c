/* osmo-pod-supervisor: runs the containers of one pod of the local cluster.
 *     osmo-pod-supervisor POD_DIR STATUS_FILE   started by the local driver of libosmo-backend
 *     osmo-pod-supervisor --probe BWRAP [JSON]  says which isolation works here (in a pod's network)
 *     osmo-pod-supervisor --network DIR ...     holds the network of a cluster's pods, see holder.c
 * It holds a lock on POD_DIR/lock for its life, so that whether it lives is known without trusting process ids. SIGTERM ends
 * the pod with a grace time, SIGQUIT at once. osmo-backend may come and go meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "supervisor.h"

#define END_PAUSE_MS 1000
#define END_TRIES 600

/* We may begin late, when the pod was removed; and another one of its name may be there, not yet planned. */
static bool still_meant(const struct supervisor *s, const char *lock)
{
    _cleanup_free_ char *plan = str_printf("%s/plan.json", s->pod_dir);
    struct stat held, there;
    return plan && fstat(s->lock_fd, &held) == 0 && stat(lock, &there) == 0 && held.st_ino == there.st_ino &&
           access(plan, R_OK) == 0;
}

/* The lock file also holds our process id: empty means that no supervisor ever began with this pod. */
static int take_lock(struct supervisor *s)
{
    _cleanup_free_ char *path = str_printf("%s/lock", s->pod_dir);
    char text[24];
    s->lock_fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (s->lock_fd < 0 || flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return -1;
    if (pread(s->lock_fd, text, 1, 0) != 0)
        return -1; /* a supervisor before us began and vanished: what it started must not be started again; or it is over */
    if (!still_meant(s, path))
        return -1;
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    return pwrite(s->lock_fd, text, (size_t)n, 0) == n ? 0 : -1;
}

static size_t running(const struct supervisor *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->ncontainers; i++)
        n += s->containers[i].state == RUN_RUNNING;
    return n;
}

static void signal_all(struct supervisor *s, int sig)
{
    for (size_t i = 0; i < s->ncontainers; i++)
        container_signal(s, &s->containers[i], sig);
}

static void stop(struct supervisor *s, bool now)
{
    if (now)
        signal_all(s, SIGKILL);
    else if (!s->stopping)
        signal_all(s, SIGTERM);
    if (!s->stopping)
        s->kill_at_us = clock_mono_us() + (now ? 0 : s->grace_us);
    s->stopping = true;
}

static void give_up(struct supervisor *s, const struct container *c)
{
    if (!s->reason) {
        s->reason = str_dup("StartError");
        s->message = str_printf("container %s could not be started: %s", c->name, c->message ? c->message : "");
    }
    signal_all(s, SIGKILL);
}

/* Reap everything that ended. Without a sandbox orphans of the containers become our children. @return containers that ended */
static size_t reap(struct supervisor *s)
{
    size_t ended = 0;
    for (;;) {
        siginfo_t info = {0};
        struct container *c = NULL;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return ended;
        for (size_t i = 0; i < s->ncontainers; i++)
            if (s->containers[i].state == RUN_RUNNING && s->containers[i].pid == info.si_pid)
                c = &s->containers[i];
        if (!c) {
            waitpid(info.si_pid, NULL, 0);
            continue;
        }
        container_ended(s, c);
        if (!c->init && str_eq(c->reason, "StartError"))
            give_up(s, c);
        ended++;
    }
}

static void on_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            stop(s, false);
        else if (info.ssi_signo == SIGQUIT)
            stop(s, true);
    }
}

static void add_poll(struct pollfd *fds, nfds_t *n, int fd)
{
    fds[(*n)++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

/* Wait for something to happen and handle it. @return containers that ended */
static size_t turn(struct supervisor *s)
{
    struct pollfd fds[1 + 2 * SUP_MAX_CONTAINERS];
    nfds_t n = 0;
    struct timespec ts = {0};
    int64_t left = s->kill_at_us ? s->kill_at_us - clock_mono_us() : -1;
    if (left > 0)
        ts = (struct timespec){.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
    add_poll(fds, &n, s->signal_fd);
    for (size_t i = 0; i < s->ncontainers; i++) {
        add_poll(fds, &n, s->containers[i].out_fd);
        add_poll(fds, &n, s->containers[i].report_fd);
    }
    if (ppoll(fds, n, s->kill_at_us ? &ts : NULL, NULL) < 0 && errno != EINTR)
        return 0;
    for (size_t i = 0; i < s->ncontainers; i++) {
        struct container *c = &s->containers[i];
        if (c->out_fd >= 0 && fds[1 + 2 * i].revents)
            container_output(c);
        if (c->report_fd >= 0 && fds[2 + 2 * i].revents)
            container_report(c);
    }
    on_signals(s);
    if (s->kill_at_us && clock_mono_us() >= s->kill_at_us) {
        signal_all(s, SIGKILL);
        s->kill_at_us = clock_mono_us() + 1000000; /* a container that was still being built gets it again */
    }
    return reap(s);
}

static bool run_inits(struct supervisor *s)
{
    for (size_t i = 0; i < s->ncontainers; i++) {
        struct container *c = &s->containers[i];
        if (!c->init)
            continue;
        if (!s->stopping)
            container_start(s, c);
        while (running(s))
            turn(s);
        if (s->stopping || c->state != RUN_ENDED || c->exit_code != 0) {
            if (str_eq(c->reason, "StartError"))
                give_up(s, c);
            return false;
        }
    }
    s->initialized = true;
    s->initialized_us = clock_now_us();
    return true;
}

static void run_all(struct supervisor *s)
{
    for (size_t i = 0; i < s->ncontainers && !s->reason; i++) {
        struct container *c = &s->containers[i];
        if (c->init)
            continue;
        container_start(s, c);
        if (c->state == RUN_ENDED)
            give_up(s, c);
    }
    bool changed = true;
    while (running(s)) {
        if (changed)
            status_write(s, false, NULL);
        changed = turn(s) > 0;
    }
}

/* Without a sandbox: processes that outlived their container are our children now. */
static void kill_orphans(void)
{
    for (int round = 0; round < 100; round++) {
        siginfo_t info = {0};
        _cleanup_fclose_ FILE *f = fopen("/proc/thread-self/children", "re");
        int pid;
        while (f && fscanf(f, "%d", &pid) == 1)
            kill(pid, SIGKILL);
        if (waitid(P_ALL, 0, &info, WEXITED) < 0)
            return;
    }
}

/* The result must not be lost because the disk is full: give back what is ours, then try again for a while. Nothing tells of free space. */
static int record_end(struct supervisor *s)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = status_write(s, true, &err);
    for (int i = 0; rc < 0 && i < END_TRIES; i++) {
        for (size_t c = 0; i == 0 && c < s->ncontainers; c++) {
            _cleanup_free_ char *old = str_printf("%s.1", s->containers[c].log_path);
            if (old)
                unlink(old);
        }
        poll(NULL, 0, i ? END_PAUSE_MS : 0);
        rc = status_write(s, true, &err);
    }
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", s->pod_name, err.text);
    return rc;
}

static int supervise(struct supervisor *s)
{
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = plan_load(s, &err);
    if (rc < 0) {
        s->reason = str_dup("StartError");
        s->message = str_dup(err.text);
        if (!s->pod_name)
            s->pod_name = str_dup("pod");
    } else {
        if (s->isolation == ISO_PLAIN)
            prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (s->net.on && ((rc = network_make(&s->net, &err)) < 0 || (rc = relay_start(&s->net, &err)) < 0)) {
            s->reason = str_dup("NetworkError");
            s->message = str_dup(err.text);
        } else if (run_inits(s)) {
            run_all(s);
        }
        if (s->isolation == ISO_PLAIN)
            kill_orphans();
    }
    /* A container that never ran must not look as if it were about to. */
    for (size_t i = 0; i < s->ncontainers; i++)
        if (s->containers[i].state == RUN_WAITING)
            s->containers[i].wait_reason = "NotStarted";
    if (s->stopping && !s->message)
        s->message = str_dup("the pod was deleted");
    return record_end(s) < 0 ? 1 : 0;
}

static bool has_word(int argc, char **argv, const char *word)
{
    for (int i = 3; i < argc; i++)
        if (str_eq(argv[i], word))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    struct supervisor s = {.signal_fd = -1, .lock_fd = -1, .net = NETWORK_INIT, .pid = getpid()};
    sigset_t mask;
    if (argc >= 3 && str_eq(argv[1], "--probe"))
        return sandbox_probe(argv[2], argv[3]);
    if (argc >= 3 && str_eq(argv[1], "--network"))
        return holder_main(argv[2], has_word(argc, argv, "--join"), has_word(argc, argv, "--helper"));
    if (argc != 3) {
        fprintf(stderr, "usage: osmo-pod-supervisor POD_DIR STATUS_FILE (the local cluster driver starts it)\n");
        return 2;
    }
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGQUIT);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    s.signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    s.pod_dir = str_dup(argv[1]);
    s.status_path = str_dup(argv[2]);
    int rc = 3; /* somebody else has this pod */
    if (s.signal_fd >= 0 && s.pod_dir && s.status_path && take_lock(&s) == 0)
        rc = supervise(&s);
    network_leave(&s.net);
    plan_free(&s);
    return rc;
}
