/* Supervisors and the driver's thread. One epoll set: inotify on the status directory, a pidfd of every supervisor, an
 * eventfd for callers, a timer for supervisors that do not end when told to. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "cluster/local/local_int.h"

#define RECHECK_US 50000
#define STARTS_MAX 3              /* a supervisor that ends before it began is started again, but not for ever */
#define RUN_MS 20000              /* for what is asked of the supervisor's program at the start */
#define SUPERVISOR_SLACK_US 10000000 /* beyond the grace time before a supervisor is killed */

static const struct { const char *why, *remedy; } probe_hints[] = {
    {"No such file", "install the package bubblewrap"},
    {"ermission", "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0)"},
    {"", "see whether user namespaces and mounting /proc are allowed here"},
};

/* The pods' network, where it is looked for. Nothing else of ours: a supervisor outlives us. */
static void add_network(const struct local *l, posix_spawn_file_actions_t *fa)
{
    int from = LOCAL_NET_FD;
    if (l->net.cluster_fd >= 0) {
        posix_spawn_file_actions_adddup2(fa, l->net.cluster_fd, LOCAL_NET_FD);
        from = LOCAL_NET_FD + 1;
    }
    if (l->net.cluster_fd >= 0 && l->net.user_fd >= 0) {
        posix_spawn_file_actions_adddup2(fa, l->net.user_fd, LOCAL_USER_FD);
        from = LOCAL_USER_FD + 1;
    }
    posix_spawn_file_actions_addclosefrom_np(fa, from);
}

static int spawn(const struct local *l, char *const argv[], int out, const char *log, pid_t *pid)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    char *envp[] = {NULL};
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    if (out >= 0)
        posix_spawn_file_actions_adddup2(&fa, out, 1);
    else
        posix_spawn_file_actions_addopen(&fa, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (out >= 0 && log)
        posix_spawn_file_actions_addopen(&fa, 2, log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    else
        posix_spawn_file_actions_adddup2(&fa, 1, 2);
    add_network(l, &fa);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int rc = posix_spawn(pid, argv[0], &fa, &attr, argv, envp);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&attr);
    return rc;
}

/* Up to its end, or a whole line. Nothing here takes long; a program that hangs is given up. */
static void read_line(int fd, bool to_end, char *text, size_t max)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t len = 0;
    for (ssize_t n; len + 1 < max && (to_end || !memchr(text, '\n', len)) && poll(&p, 1, RUN_MS) > 0 &&
                    (n = read(fd, text + len, max - len - 1)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

int supervisor_run(const struct local *l, char *const argv[], const char *log, pid_t *pid, char *text, size_t max)
{
    int out[2], status = -1;
    pid_t child = 0;
    if (pipe2(out, O_CLOEXEC) < 0)
        return -1;
    int rc = spawn(l, argv, out[1], log, &child);
    close(out[1]);
    if (rc == 0)
        read_line(out[0], !pid, text, max);
    else
        snprintf(text, max, "%s", strerror(rc));
    close(out[0]);
    if (rc != 0)
        return -1;
    if (pid && str_eq(text, "ok")) {
        *pid = child;
        return 0;
    }
    if (pid && !*text)
        kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int probe_isolation(struct local *l, bool no_sandbox, osmo_error_t *err)
{
    char text[512] = "", option[] = "--probe";
    if (no_sandbox) {
        l->isolation = str_dup("plain");
        return l->isolation ? 0 : OSMO_ENOMEM;
    }
    char *argv[] = {l->supervisor, option, l->bwrap, NULL};
    if (supervisor_run(l, argv, NULL, NULL, text, sizeof(text)) == 0) {
        l->isolation = str_dup(text);
        return l->isolation ? 0 : OSMO_ENOMEM;
    }
    size_t i = 0;
    while (!strstr(text, probe_hints[i].why))
        i++;
    return osmo_error_set(err, OSMO_EUNAVAIL,
                          "tasks cannot be isolated with bubblewrap: %s; %s, or run plain processes with --no-sandbox",
                          text, probe_hints[i].remedy);
}

static void watch(struct local *l, struct pod *p)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = p};
    if (p->pidfd >= 0)
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, p->pidfd, &ev);
}

int supervisor_start(struct local *l, struct pod *p, osmo_error_t *err)
{
    _cleanup_free_ char *dir = pod_path(l, p, ""), *log = pod_path(l, p, "supervisor.log");
    _cleanup_free_ char *status = str_printf("%s/status/%s.json", l->state_dir, p->name);
    if (!dir || !log || !status)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!l->net.on && p->ip >> 24 != LOOPBACK_NET >> 24)
        return osmo_error_set(err, OSMO_EUNAVAIL, "the pods' network, for which it was planned, is gone");
    char *argv[] = {l->supervisor, dir, status, NULL};
    int rc = spawn(l, argv, -1, log, &p->pid);
    if (rc != 0)
        return osmo_error_set(err, OSMO_EIO, "cannot start %s: %s", l->supervisor, strerror(rc));
    p->starts++;
    p->pidfd = pidfd_open(p->pid, 0);
    if (p->pidfd < 0)
        p->recheck_at_us = clock_mono_us() + RECHECK_US; /* nothing will tell of its end: look */
    watch(l, p);
    return 0;
}

/* The lock tells whether it lives, without trust in process ids; its content tells which process, and whether one ever
 * began. */
bool supervisor_alive(const struct local *l, const struct pod *p, pid_t *pid, bool *began)
{
    _cleanup_free_ char *path = pod_path(l, p, "lock");
    char text[24] = "";
    int64_t number = 0;
    *began = false;
    _cleanup_close_ int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    if (n > 0) {
        text[strcspn(text, "\n")] = '\0';
        *began = true;
    }
    if (pid)
        *pid = str_to_i64(text, &number) ? (pid_t)number : 0;
    return held;
}

void supervisor_signal(struct pod *p, int sig)
{
    if (p->pidfd >= 0 && p->signalled != sig)
        pidfd_send_signal(p->pidfd, sig, NULL, 0);
    p->signalled = sig;
}

/* A pod that was started and has no final status: watch its supervisor, start it if none ever began, or call it lost.
 */
void supervisor_adopt(struct local *l, struct pod *p)
{
    bool began;
    pid_t pid = 0;
    osmo_error_t err = OSMO_ERROR_INIT;
    bool alive = supervisor_alive(l, p, &pid, &began), start = !began && !p->deleting && !p->preempted;
    p->exited = false;
    if (p->pidfd >= 0)
        close(STEAL_FD(p->pidfd));
    if (alive && pid > 0) {
        p->pid = pid;
        p->pidfd = pidfd_open(pid, 0); /* a reused id is impossible while the lock is held by its writer */
        watch(l, p);
        if (p->pidfd < 0)
            p->recheck_at_us = clock_mono_us() +
                               RECHECK_US; /* just dead; a child that it was starting holds the lock a moment longer */
    } else if (alive) {
        p->changed = true; /* just starting: its first status brings us back here */
    } else if (start && p->starts < STARTS_MAX && supervisor_start(l, p, &err) == 0) {
        return;
    } else if (!supervisor_claim(l, p)) {
        p->recheck_at_us = clock_mono_us() + RECHECK_US; /* started before us, and begins right now */
    } else if (start) {
        pod_fail(l, p, "StartError", err.text[0] ? err.text
                 : "the pod's supervisor cannot begin: see its supervisor.log, and whether the disk is full", false);
    } else {
        pod_read_status(l, p);
        if (p->state != POD_ENDED)
            pod_fail(l, p, "SupervisorVanished",
                     "supervisor vanished: the process that ran this pod ended without recording a result", true);
    }
}

static void on_exit_of(struct local *l, struct pod *p)
{
    if (p->pidfd >= 0) {
        epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, p->pidfd, NULL);
        close(STEAL_FD(p->pidfd));
    }
    if (p->pid > 0)
        waitpid(p->pid, NULL, WNOHANG); /* ours, unless it was adopted */
    p->pid = 0;
    p->exited = false;
    p->recheck_at_us = 0;
    pod_read_status(l, p);
    if (p->state == POD_STARTED)
        supervisor_adopt(l, p);
}

static void on_status_files(struct local *l)
{
    char data[16 * 1024] __attribute__((aligned(8)));
    ssize_t n;
    while ((n = read(l->inotify_fd, data, sizeof(data))) > 0) {
        for (char *at = data; at < data + n;) {
            struct inotify_event *e = (struct inotify_event *)(void *)at;
            at += sizeof(*e) + e->len;
            size_t it = 0, len = e->len ? strlen(e->name) : 0;
            const char *name;
            void *v;
            if (e->mask & IN_Q_OVERFLOW) /* events were lost: look at every pod */
                while (map_next(l->pods, &it, &name, &v))
                    pod_read_status(l, v);
            if (len < 6 || !str_ends(e->name, ".json"))
                continue;
            e->name[len - 5] = '\0';
            struct pod *p = map_get(l->pods, e->name);
            if (!p || p->state != POD_STARTED)
                continue;
            pod_read_status(l, p);
            if (p->pidfd < 0 && p->state == POD_STARTED)
                supervisor_adopt(l, p);
        }
    }
}

static bool remove_files(struct local *l, struct pod *p)
{
    _cleanup_free_ char *dir = pod_path(l, p, ""), *status = str_printf("%s/status/%s.json", l->state_dir, p->name);
    _cleanup_free_ char *hosts = hosts_path(l, p);
    if (!dir || !status || !hosts || !dir_discard(l, dir, status))
        return false;
    l->addresses[p->address / 8] &= (uint8_t)~(1u << (p->address % 8));
    bool last = true;
    size_t it = 0;
    const char *name;
    void *v;
    while (p->subdomain && last && map_next(l->pods, &it, &name, &v))
        last = v == p || !str_eq(((struct pod *)v)->subdomain, p->subdomain);
    if (last)
        unlink(hosts);
    return true;
}

bool supervisor_end(struct pod *p)
{
    if (p->state != POD_STARTED || p->pidfd < 0)
        return false;
    supervisor_signal(p, p->force ? SIGQUIT : SIGTERM);
    if (!p->kill_at_us)
        p->kill_at_us = clock_mono_us() + (p->force ? 0 : p->grace_s * 1000000) + SUPERVISOR_SLACK_US;
    if (clock_mono_us() >= p->kill_at_us)
        supervisor_signal(p, SIGKILL);
    return true;
}

/* @return true when the pod is gone */
static bool advance_removal(struct local *l, struct pod *p)
{
    if (supervisor_end(p))
        return false;
    if (p->pidfd >= 0 || (p->state == POD_STARTED && supervisor_alive(l, p, NULL, &(bool){false})))
        return false; /* its exit brings us back */
    pod_finish(l, p);
    if (!remove_files(l, p)) {
        p->recheck_at_us = clock_mono_us() + RECHECK_US;
        return false;
    }
    place_pod_gone(l->place, p->name);
    pod_report(l, p, OSMO_CHANGE_DELETED);
    return true;
}

static void set_timer(struct local *l, int64_t at_us)
{
    struct itimerspec t = {0};
    int64_t left = at_us ? at_us - clock_mono_us() : 0;
    if (at_us)
        t.it_value = (struct timespec){ .tv_sec = left > 0 ? left / 1000000 : 0,
                                        .tv_nsec = left > 0 ? left % 1000000 * 1000 : 1 };
    if (at_us && left > 0 && !t.it_value.tv_sec && !t.it_value.tv_nsec)
        t.it_value.tv_nsec = 1;
    timerfd_settime(l->timer_fd, 0, &t, NULL);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return !a || (b && b < a) ? b : a; /* 0 = never */
}

/* Bring every pod forward, then hand out capacity. */
static void work(struct local *l)
{
    size_t it = 0;
    const char *name;
    void *v;
    int64_t next = 0;
    while (map_next(l->pods, &it, &name, &v)) {
        struct pod *p = v;
        if (p->exited || (p->recheck_at_us && clock_mono_us() >= p->recheck_at_us))
            on_exit_of(l, p);
        if (p->changed || !p->reported)
            pod_report(l, p, OSMO_CHANGE_MODIFIED);
        if (p->deleting && advance_removal(l, p)) {
            map_remove(l->pods, name);
            continue;
        }
        if (p->preempted)
            supervisor_end(p);
    }
    if (l->place_needed)
        place_all(l);
    for (it = 0; map_next(l->pods, &it, &name, &v);) {
        struct pod *p = v;
        if (p->changed)
            pod_report(l, p, OSMO_CHANGE_MODIFIED);
        next = earlier(earlier(next, p->kill_at_us), p->recheck_at_us);
    }
    set_timer(l, next);
}

static void deliver(const struct local *l, struct report *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct report *r = &list[i];
        if (r->what == REPORT_POD && l->sink.pod)
            l->sink.pod(l->sink.ctx, r->change, r->text, r->len);
        else if (r->what == REPORT_NODE && l->sink.node)
            l->sink.node(l->sink.ctx, r->change, r->text, r->len);
        else if (r->what == REPORT_EVENT && l->sink.event)
            l->sink.event(l->sink.ctx, r->text, r->len);
        free(r->text);
    }
    free(list);
}

static void drain(int fd)
{
    uint64_t n;
    while (read(fd, &n, sizeof(n)) > 0)
        ;
}

static void *loop(void *arg)
{
    struct local *l = arg;
    struct epoll_event events[64];
    for (;;) {
        pthread_mutex_lock(&l->lock);
        bool stop = l->stop;
        if (!stop)
            work(l);
        bool again = l->place_needed;
        struct report *list = STEAL(l->reports);
        size_t n_reports = l->nreports;
        l->nreports = l->reports_cap = 0;
        pthread_mutex_unlock(&l->lock);
        deliver(l, list, n_reports);
        if (stop)
            return NULL;
        int n = epoll_wait(l->epoll_fd, events, ARRAY_SIZE(events), again ? 0 : -1);
        pthread_mutex_lock(&l->lock);
        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;
            if (what == &l->inotify_fd)
                on_status_files(l);
            else if (what == &l->net.pidfd)
                net_holder_gone(l);
            else if (what == &l->event_fd || what == &l->timer_fd)
                drain(*(int *)what);
            else
                ((struct pod *)what)->exited = true;
        }
        pthread_mutex_unlock(&l->lock);
    }
}

void loop_wake(struct local *l)
{
    uint64_t one = 1;
    if (write(l->event_fd, &one, sizeof(one)) < 0)
        return; /* only when the counter is full: then it is awake already */
}

int loop_start(struct local *l, osmo_error_t *err)
{
    int *fds[] = {&l->inotify_fd, &l->event_fd, &l->timer_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = fds[i]};
        if (*fds[i] < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, *fds[i], &ev) < 0)
            return osmo_error_set(err, OSMO_EIO, "cannot watch the pods: %s", strerror(errno));
    }
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are for the program's own threads */
    int rc = pthread_create(&l->thread, NULL, loop, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    l->thread_started = rc == 0;
    return rc ? osmo_error_set(err, OSMO_EIO, "cannot start a thread: %s", strerror(rc)) : 0;
}
