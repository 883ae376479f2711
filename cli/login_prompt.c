/* A secret typed at the terminal, which is not shown. The terminal is itself again however the program ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "login.h"

#define LINE_MAX_BYTES 4096

/* Bytes until the line ends, or until a signal comes: its number. */
static int read_line(int tty, int signals, buf_t *line) {
    for (;;) {
        struct pollfd p[2] = { { .fd = tty, .events = POLLIN }, { .fd = signals, .events = POLLIN } };
        struct signalfd_siginfo info;
        char c;
        if (poll(p, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return 0;
        }
        if (p[1].revents && read(signals, &info, sizeof info) == (ssize_t)sizeof info)
            return (int)info.ssi_signo;
        if (!p[0].revents)
            continue;
        if (read(tty, &c, 1) != 1 || c == '\n' || buf_putc(line, c))
            return 0;
    }
}

int secret_prompt(const char *prompt, char **out, osmo_error_t *err) {
    _cleanup_close_ int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before, silent;
    sigset_t ending, mask;
    if (tty < 0 || tcgetattr(tty, &before))
        return osmo_error_set(err, OSMO_EUNAVAIL, "there is no terminal to ask at");
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigaddset(&ending, SIGQUIT);
    sigaddset(&ending, SIGTSTP);
    sigprocmask(SIG_BLOCK, &ending, &mask);
    _cleanup_close_ int signals = signalfd(-1, &ending, SFD_CLOEXEC);
    _cleanup_buf_ buf_t line = BUF_SECRET(LINE_MAX_BYTES);
    silent = before;
    silent.c_lflag = (silent.c_lflag & ~(tcflag_t)ECHO) | ECHONL | ICANON;
    int number = 0;
    if (tcsetattr(tty, TCSAFLUSH, &silent) == 0) {
        fd_write_all(tty, prompt, strlen(prompt));
        number = read_line(tty, signals, &line);
        tcsetattr(tty, TCSAFLUSH, &before);
    }
    if (number) {
        fd_write_all(tty, "\n", 1);
        raise(number); /* pending until the mask is back */
    }
    sigprocmask(SIG_SETMASK, &mask, NULL);
    buf_cstr(&line);
    if (number || !line.len || strlen(line.data) != line.len)
        return osmo_error_set(err, OSMO_EINVAL, "nothing was entered");
    return (*out = buf_steal(&line, NULL)) ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}
