/* Programs that take the pods' connections outwards without rights on the host. One is forked while we still are outside, and
 * executed when the namespace is there. Used by holder.c. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "holder.h"

/* slirp4netns first: it needs no default route on the host, and lets pods reach the host's own addresses. */
static const struct { const char *kind, *path; bool root_too; } helpers[] = {
    {"slirp4netns", "/usr/bin/slirp4netns", true},
    {"slirp4netns", "/usr/local/bin/slirp4netns", true},
    {"pasta", "/usr/bin/pasta", false},
    {"pasta", "/usr/local/bin/pasta", false},
};

static void run(const struct holder *h, const char *path, pid_t holder) __attribute__((noreturn));
static void run(const struct holder *h, const char *path, pid_t holder)
{
    char pid[16], ns[64];
    snprintf(pid, sizeof(pid), "%d", (int)holder);
    snprintf(ns, sizeof(ns), "/proc/%d/ns/net", (int)holder);
    const char *const by_pid[] = {path, "-c", "--mtu=65520", "--disable-host-loopback", "--cidr=" NET_LINK ".0/24", pid, NET_TAP, NULL};
    const char *const by_path[] = {path, "-c", "--mtu=65520", "--disable-host-loopback", "--cidr=" NET_LINK ".0/24",
                                   "--netns-type=path", ns, NET_TAP, NULL};
    /* no ports of the host in here, none of here on the host */
    const char *const pasta[] = {path, "--config-net", "-4", "-f", "-q", "-I", NET_TAP, "-a", NET_LINK ".100", "-n", "24", "-g",
                                 NET_LINK ".2", "--no-map-gw", "-t", "none", "-u", "none", "-T", "none", "-U", "none",
                                 "--dns-forward", NET_LINK ".3", pid, NULL};
    const char *const *argv = str_eq(h->kind, "pasta") ? pasta : h->userns ? by_pid : by_path;
    char *envp[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, NULL};
    execve(path, (char *const *)(uintptr_t)argv, envp);
    dprintf(2, "%s: %s\n", path, strerror(errno));
    _exit(127);
}

int helper_prepare(struct holder *h, osmo_error_t *err)
{
    size_t i = 0;
    int word[2];
    pid_t holder = getpid();
    while (i < ARRAY_SIZE(helpers) && (access(helpers[i].path, X_OK) < 0 || (!h->userns && !helpers[i].root_too)))
        i++;
    if (i == ARRAY_SIZE(helpers))
        return osmo_error_set(err, OSMO_EUNAVAIL, "no program connects networks outwards without root: install the package slirp4netns%s",
                              h->userns ? " or passt" : "");
    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "/dev/net/tun cannot be used by this user: %s", strerror(errno));
    h->kind = helpers[i].kind;
    if (pipe2(word, O_CLOEXEC) < 0)
        return osmo_error_set(err, OSMO_EIO, "%s: %s", h->kind, strerror(errno));
    h->helper = fork();
    if (h->helper == 0) {
        char c;
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(word[1]);
        if (getppid() != holder || read(word[0], &c, 1) != 1)
            _exit(126);
        run(h, helpers[i].path, holder);
    }
    close(word[0]);
    h->helper_pipe = word[1];
    return h->helper < 0 ? osmo_error_set(err, OSMO_EIO, "%s: %s", h->kind, strerror(errno)) : 0;
}

int helper_go(struct holder *h, osmo_error_t *err)
{
    if (write(h->helper_pipe, "g", 1) != 1)
        return osmo_error_set(err, OSMO_EIO, "%s: %s", h->kind, strerror(errno));
    close(STEAL_FD(h->helper_pipe));
    snprintf(h->resolver, sizeof(h->resolver), "%s.3", NET_LINK);
    return 0;
}
