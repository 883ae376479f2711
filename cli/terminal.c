/* See terminal.h. What handlers of signals touch is set before they can run, and tcsetattr() and fcntl() may be called by them. */
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"

#define SHARED_MAX 3

static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGPIPE, SIGXCPU, SIGALRM };

static struct termios before;
static volatile sig_atomic_t raw_fd = -1;   /* in raw mode, or to be in it again when we go on */
static volatile sig_atomic_t is_raw;
static volatile sig_atomic_t size_fd = -1;
static volatile sig_atomic_t nshared;       /* descriptors whose flags are to be put back */
static struct { int fd, flags; } shared[SHARED_MAX];
static bool at_exit;

/* Only who is in front may change it: whoever else is there now has set it up for himself. */
static void set_mode(const struct termios *t) {
    int saved = errno, fd = raw_fd;
    sigset_t ttou, mask;
    if (fd < 0 || tcgetpgrp(fd) != getpgrp())
        return;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, &mask);
    tcsetattr(fd, TCSADRAIN, t);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    errno = saved;
}

static void go_raw(void) {
    struct termios t = before;
    cfmakeraw(&t);
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    is_raw = 1;
    set_mode(&t);
}

static void leave_raw(void) {
    if (is_raw)
        set_mode(&before);
    is_raw = 0;
}

static void give_flags_back(void) {
    for (int i = 0; i < nshared; i++)
        fcntl(shared[i].fd, F_SETFL, shared[i].flags);
}

void terminal_restore(void) {
    leave_raw();
    raw_fd = -1;
    give_flags_back();
}

static void announce_size(void) {
    uint64_t one = 1;
    int saved = errno;
    ssize_t n = size_fd >= 0 ? write(size_fd, &one, sizeof one) : 0;
    (void)n;
    errno = saved;
}

/* The action is the default one again when this runs (SA_RESETHAND). */
static void on_ending(int number) {
    terminal_restore();
    if (number == SIGINT)
        _exit(EXIT_INTERRUPTED);
    raise(number);
}

static void install(int number, void (*handler)(int), int flags) {
    struct sigaction a = { .sa_handler = handler, .sa_flags = flags };
    sigemptyset(&a.sa_mask);
    sigaction(number, &a, NULL);
}

static void on_stop(int number) {
    int saved = errno;
    sigset_t this, mask;
    leave_raw();
    install(number, SIG_DFL, 0);
    sigemptyset(&this);
    sigaddset(&this, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &this, &mask); /* here we stop */
    sigprocmask(SIG_SETMASK, &mask, NULL);
    install(number, on_stop, SA_RESTART);
    errno = saved;
}

/* Whoever went on without us may have changed everything. */
static void on_continue(int number) {
    (void)number;
    if (raw_fd >= 0)
        go_raw();
    announce_size();
}

static void on_resize(int number) {
    (void)number;
    announce_size();
}

bool terminal_size(int fd, int *rows, int *cols) {
    struct winsize w;
    if (ioctl(fd, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
        return false;
    *rows = w.ws_row;
    *cols = w.ws_col;
    return true;
}

static void arrange_exit(void) {
    if (!at_exit)
        at_exit = atexit(terminal_restore) == 0;
}

int terminal_raw(int fd, osmo_error_t *err) {
    if (raw_fd < 0 && tcgetattr(fd, &before) < 0)
        return osmo_error_set(err, OSMO_EIO, "the terminal cannot be used: %s", strerror(errno));
    raw_fd = fd;
    arrange_exit();
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        struct sigaction now;
        if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            install(ending[i], on_ending, (int)SA_RESETHAND);
    }
    install(SIGTSTP, on_stop, SA_RESTART);
    install(SIGTTIN, on_stop, SA_RESTART);
    install(SIGTTOU, on_stop, SA_RESTART);
    install(SIGCONT, on_continue, SA_RESTART);
    go_raw();
    return OSMO_OK;
}

int terminal_size_fd(void) {
    if (size_fd < 0) {
        size_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        install(SIGWINCH, on_resize, SA_RESTART);
    }
    return size_fd;
}

void terminal_size_clear(void) {
    uint64_t n;
    ssize_t got = size_fd >= 0 ? read(size_fd, &n, sizeof n) : 0;
    (void)got;
}

int terminal_own(int fd, bool for_writing) {
    char path[64];
    int flags = fcntl(fd, F_GETFL), own = -1;
    bool file = lseek(fd, 0, SEEK_CUR) >= 0 && !isatty(fd); /* its position is shared, and has to be */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (flags < 0)
        return -1;
    if (!file)
        own = open(path, (for_writing ? O_WRONLY : O_RDONLY) | (flags & O_APPEND) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own >= 0)
        return own;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own >= 0 && nshared < SHARED_MAX) {
        shared[nshared].fd = fd;
        shared[nshared].flags = flags;
        nshared = nshared + 1;
        arrange_exit();
    }
    return own;
}
