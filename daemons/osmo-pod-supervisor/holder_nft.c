/* Firewall tables of a cluster's network, loaded by the program nft: one on the host when the pods go out through it, one in the
 * cluster's namespace when a helper takes them out. Loading is idempotent: the table is made anew in one transaction. Used by
 * holder.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "holder.h"

#define FORWARDING "/proc/sys/net/ipv4/ip_forward"
#define SAID_MAX (1024 * 1024)

/* In a user namespace we are not root by number: the right to change the firewall has to be handed on by name. */
static void pass_right(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &head, data) < 0)
        return;
    data[0].inheritable |= 1u << CAP_NET_ADMIN;
    if (syscall(SYS_capset, &head, data) == 0)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
}

static void run_nft(const struct holder *h, char *const argv[], int in, int out, bool on_host) __attribute__((noreturn));
static void run_nft(const struct holder *h, char *const argv[], int in, int out, bool on_host)
{
    char *envp[] = {(char[]){"LC_ALL=C"}, NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (h->userns)
        pass_right();
    if ((on_host && setns(h->host_fd, CLONE_NEWNET) < 0) || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    execve(h->nft, argv, envp);
    dprintf(2, "%s: %s", h->nft, strerror(errno));
    _exit(127);
}

/* @return its exit status; what it said is in `said` */
static int nft(const struct holder *h, const char *script, const char *list, bool on_host, buf_t *said)
{
    char *load[] = {h->nft, (char[]){"-f"}, (char[]){"-"}, NULL};
    _cleanup_free_ char *kind = str_dup(list ? list : "");
    char *show[] = {h->nft, (char[]){"list"}, kind, (char[]){"ip"}, NULL};
    int out[2], status = -1;
    char data[4096];
    _cleanup_close_ int in = memfd_create("rules", MFD_CLOEXEC);
    if (in < 0 || (script && fd_write_all(in, script, strlen(script)) < 0) || lseek(in, 0, SEEK_SET) < 0 ||
        pipe2(out, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        run_nft(h, list ? show : load, in, out[1], on_host);
    close(out[1]);
    for (ssize_t n; (n = read(out[0], data, sizeof(data))) > 0;)
        buf_append(said, data, (size_t)n);
    close(out[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int load(const struct holder *h, const char *script, bool on_host, osmo_error_t *err)
{
    _cleanup_buf_ buf_t said = BUF_INIT(SAID_MAX);
    int code = script ? nft(h, script, NULL, on_host, &said) : -1;
    if (code == 0)
        return 0;
    const char *text = said.len ? buf_cstr(&said) : "it ended without a word";
    return osmo_error_set(err, OSMO_EUNAVAIL, "nft cannot load our table: %.*s", (int)strcspn(text, "\n"), text);
}

/* Whatever we accept, a policy of others that drops has the last word (Docker's, for one). */
int nft_obstacles(const struct holder *h, osmo_error_t *err)
{
    _cleanup_buf_ buf_t said = BUF_INIT(SAID_MAX);
    if (nft(h, NULL, "chains", true, &said) != 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "nft cannot list the firewall: %.200s", said.len ? buf_cstr(&said) : "");
    const char *text = said.len ? buf_cstr(&said) : "";
    for (const char *hook = text; (hook = strstr(hook, "hook forward")); hook++) {
        const char *drop = memmem(hook, strcspn(hook, "\n"), "policy drop", strlen("policy drop"));
        if (drop)
            return osmo_error_set(err, OSMO_EUNAVAIL, "the firewall of this machine drops what is forwarded");
    }
    return 0;
}

static int read_forwarding(void)
{
    char c = 0;
    _cleanup_close_ int fd = open(FORWARDING, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, &c, 1) == 1 ? c : -1;
}

/* The switch is one for the whole host; the files of /proc/sys/net show the namespace of who opens them. */
static int set_forwarding(const struct holder *h, char to)
{
    int rc = -1;
    if (setns(h->host_fd, CLONE_NEWNET) < 0)
        return -1;
    int was = read_forwarding();
    _cleanup_close_ int fd = was != to ? open(FORWARDING, O_WRONLY | O_CLOEXEC) : -1;
    if (was == to || (fd >= 0 && write(fd, &to, 1) == 1))
        rc = was == to ? 0 : 1;
    return setns(h->cluster_fd, CLONE_NEWNET) < 0 ? -1 : rc;
}

static char *cidr_text(const struct holder *h)
{
    uint32_t b = h->base;
    return str_printf("%u.%u.%u.%u/%d", b >> 24, b >> 16 & 255, b >> 8 & 255, b & 255, h->prefix);
}

/* Nobody outside begins connections to pods but the host itself. Where forwarding was off, others get no more than they had. */
int nft_host_table(struct holder *h, osmo_error_t *err)
{
    int changed = set_forwarding(h, '1');
    if (changed < 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "forwarding cannot be switched on: %s", strerror(errno));
    h->forwarding_was_off |= changed == 1;
    _cleanup_free_ char *cidr = cidr_text(h);
    _cleanup_free_ char *script =
        cidr ? str_printf("table ip %s {}\ndelete table ip %s\ntable ip %s {\n"
                          "chain out { type nat hook postrouting priority 100; ip saddr %s oifname != \"%s\" masquerade; }\n"
                          "chain through { type filter hook forward priority 0;\n"
                          "iifname \"%s\" ip saddr != %s drop;\n"
                          "oifname \"%s\" ct state established,related accept;\n"
                          "oifname \"%s\" drop;\n%s}\n"
                          "chain here { type filter hook input priority 0; iifname \"%s\" ip saddr != %s drop; }\n}\n",
                          h->name, h->name, h->name, cidr, h->name, h->name, cidr, h->name, h->name,
                          h->forwarding_was_off ? "iifname != \"osmo*\" oifname != \"osmo*\" drop;\n" : "", h->name, cidr)
             : NULL;
    return load(h, script, true, err);
}

int nft_inner_table(struct holder *h, osmo_error_t *err)
{
    _cleanup_free_ char *cidr = cidr_text(h);
    _cleanup_free_ char *script =
        cidr ? str_printf("table ip osmo {}\ndelete table ip osmo\ntable ip osmo {\n"
                          "chain out { type nat hook postrouting priority 100; ip saddr %s oifname \"" NET_TAP "\" masquerade; }\n"
                          "chain through { type filter hook forward priority 0;\n"
                          "iifname \"" NET_BRIDGE "\" ip saddr != %s drop;\n"
                          "iifname \"" NET_TAP "\" ct state established,related accept;\n"
                          "iifname \"" NET_TAP "\" drop; }\n}\n", cidr, cidr)
             : NULL;
    return load(h, script, false, err);
}

void nft_host_undo(struct holder *h)
{
    _cleanup_buf_ buf_t said = BUF_INIT(SAID_MAX), tables = BUF_INIT(SAID_MAX);
    _cleanup_free_ char *script = str_printf("table ip %s {}\ndelete table ip %s\n", h->name, h->name);
    if (script)
        nft(h, script, NULL, true, &said);
    if (h->forwarding_was_off && nft(h, NULL, "tables", true, &tables) == 0 && !strstr(buf_cstr(&tables), "table ip osmo"))
        set_forwarding(h, '0');
}
