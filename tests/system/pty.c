/* A user at a terminal, for tests: `pty COMMAND…` runs it at a terminal of 24 rows and 80 columns and plays the
 * lines of its standard input:
 *
 *   expect TEXT     wait until it is printed, behind what was expected before
 *   send TEXT       type it; both know \n, \r, \t, \\ and \xHH
 *   size ROWS COLS  resize the terminal
 *   raw             wait until the terminal is in raw mode
 *   same            wait until the terminal is as it was at first
 *   kill NUMBER     a signal to the command
 *   stopped         wait until the command has stopped; whoever is between it and us has the terminal then, as a shell would
 *   continue        let it go on, in the foreground
 *   end STATUS      wait for its end; 128 + number for a signal
 *
 * What is printed goes to the standard output. Exits 0 when all of it happened, otherwise 1 with a line that says what did not. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

#define LIMIT_MS 30000
#define STEP_MS 20

static int master, slave;
static pid_t shell, child; /* between: whoever starts and continues the command */
static struct termios before;
static char seen[1 << 20];
static size_t len, at;

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

static void read_some(int wait_ms) {
    struct pollfd p = { .fd = master, .events = POLLIN };
    char data[4096];
    ssize_t n = poll(&p, 1, wait_ms) == 1 ? read(master, data, sizeof data) : 0;
    if (n <= 0)
        return;
    fwrite(data, 1, (size_t)n, stdout);
    fflush(stdout);
    if (len + (size_t)n > sizeof seen) { /* what is old is forgotten */
        memmove(seen, seen + len / 2, len - len / 2);
        at = at > len / 2 ? at - len / 2 : 0;
        len -= len / 2;
    }
    memcpy(seen + len, data, (size_t)n);
    len += (size_t)n;
}

static size_t unescape(char *text) {
    char *to = text;
    for (char *p = text; *p; p++) {
        char c = *p;
        if (c == '\\' && p[1]) {
            c = *++p;
            if (c == 'x') {
                char hex[3] = { p[1], p[1] ? p[2] : 0, 0 };
                c = (char)strtol(hex, NULL, 16);
                p += strlen(hex);
            } else {
                c = c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
            }
        }
        *to++ = c;
    }
    return (size_t)(to - text);
}

static bool found(const char *text, size_t n) {
    char *p = memmem(seen + at, len - at, text, n);
    if (p)
        at = (size_t)(p - seen) + n;
    return p != NULL;
}

static bool is_raw(void) {
    struct termios t;
    return tcgetattr(slave, &t) == 0 && !(t.c_lflag & (ICANON | ECHO | ISIG));
}

static bool is_same(void) {
    struct termios t;
    return tcgetattr(slave, &t) == 0 && t.c_lflag == before.c_lflag && t.c_iflag == before.c_iflag && t.c_oflag == before.c_oflag &&
           t.c_cflag == before.c_cflag && memcmp(t.c_cc, before.c_cc, sizeof t.c_cc) == 0;
}

static int ended = -1;

static bool has_ended(void) {
    int status;
    if (ended < 0 && waitpid(shell, &status, WNOHANG) == shell)
        ended = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return ended >= 0;
}

static bool until(bool (*fn)(void)) {
    for (int64_t end = now_ms() + LIMIT_MS; !fn(); read_some(STEP_MS)) {
        if (now_ms() > end)
            return false;
    }
    return true;
}

static bool expect(const char *text, size_t n) {
    for (int64_t end = now_ms() + LIMIT_MS; !found(text, n); read_some(STEP_MS)) {
        if (now_ms() > end || (has_ended() && !found(text, n)))
            return false;
    }
    return true;
}

static bool play(char *line) {
    char *rest = strchr(line, ' ');
    rest = rest ? rest + 1 : line + strlen(line);
    size_t word = strcspn(line, " ");
    if (strncmp(line, "expect", word) == 0)
        return expect(rest, unescape(rest));
    if (strncmp(line, "send", word) == 0) {
        size_t n = unescape(rest);
        return write(master, rest, n) == (ssize_t)n;
    }
    if (strncmp(line, "size", word) == 0) {
        struct winsize w = { 0 };
        return sscanf(rest, "%hu %hu", &w.ws_row, &w.ws_col) == 2 && ioctl(master, TIOCSWINSZ, &w) == 0;
    }
    if (strncmp(line, "raw", word) == 0)
        return until(is_raw);
    if (strncmp(line, "same", word) == 0)
        return until(is_same);
    if (strncmp(line, "kill", word) == 0)
        return kill(child, atoi(rest)) == 0;
    if (strncmp(line, "stopped", word) == 0)
        return expect("(stopped)", 9);
    if (strncmp(line, "continue", word) == 0)
        return kill(shell, SIGUSR1) == 0;
    if (strncmp(line, "end", word) == 0) {
        bool ok = until(has_ended);
        read_some(STEP_MS);
        if (ok && ended != atoi(rest))
            fprintf(stderr, "pty: it ended with %d\n", ended);
        return ok && ended == atoi(rest);
    }
    return false;
}

static void go_on(int number) { (void)number; }

/* The leader of the terminal's session, and the least of a shell. */
static int be_shell(char **command, int tell) {
    sigset_t ours, before_it;
    int status;
    sigemptyset(&ours);
    sigaddset(&ours, SIGUSR1);
    sigaddset(&ours, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ours, &before_it);
    signal(SIGUSR1, go_on);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        tcsetpgrp(STDIN_FILENO, getpid());
        signal(SIGUSR1, SIG_DFL);
        sigprocmask(SIG_SETMASK, &before_it, NULL);
        execvp(command[0], command);
        _exit(127);
    }
    setpgid(pid, pid);
    tcsetpgrp(STDIN_FILENO, pid);
    if (write(tell, &pid, sizeof pid) != sizeof pid)
        return 126;
    while (waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status)) {
        int number;
        tcsetpgrp(STDIN_FILENO, getpgrp());
        dprintf(STDOUT_FILENO, "(stopped)\r\n");
        sigset_t usr1;
        sigemptyset(&usr1);
        sigaddset(&usr1, SIGUSR1);
        sigwait(&usr1, &number);
        tcsetpgrp(STDIN_FILENO, pid);
        kill(-pid, SIGCONT);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
    struct winsize size = { .ws_row = 24, .ws_col = 80 };
    char line[4096];
    int told[2];
    if (argc < 2 || openpty(&master, &slave, NULL, NULL, &size) < 0 || tcgetattr(slave, &before) < 0 || pipe2(told, O_CLOEXEC) < 0)
        return 2;
    fcntl(master, F_SETFD, FD_CLOEXEC);
    shell = fork();
    if (shell == 0) {
        login_tty(dup(slave));
        close(slave);
        _exit(be_shell(argv + 1, told[1]));
    }
    if (read(told[0], &child, sizeof child) != sizeof child)
        return 2;
    while (fgets(line, sizeof line, stdin)) {
        char shown[4096];
        line[strcspn(line, "\n")] = '\0';
        memcpy(shown, line, sizeof shown);
        if (line[0] && !play(line)) {
            fprintf(stderr, "\npty: did not happen: %s\n", shown);
            kill(child, SIGKILL);
            return 1;
        }
    }
    if (!has_ended())
        kill(child, SIGHUP);
    return 0;
}
