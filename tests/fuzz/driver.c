/* Stands in for libFuzzer where the compiler has none: replays files, or the files of directories, through a fuzz entry
 * and then runs mutations of them, the same ones for the same seed. An input that crashes, leaks or hangs is saved
 * under --save. fuzz_x [--seconds N] [--runs N] [--seed N] [--save DIR] [--max-len N] [--hang SECONDS] FILE|DIR... */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILE (1u << 20)
#define MAX_SEEDS 4096
#define EXIT_FOUND 70 /* a leak or a hang; crashes end by their signal or by the sanitizer's code */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Present when the program is built with AddressSanitizer. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));
__attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                                                    void (*on_free)(const volatile void *));

struct seed {
    uint8_t *data;
    size_t len;
};
static struct seed seeds[MAX_SEEDS];
static size_t nseeds;

static struct {
    long seconds;
    uint64_t runs, random;
    const char *save;
    size_t max_len;
    unsigned hang;
} options = { .random = 1, .save = ".", .max_len = 4096, .hang = 10 };

/* ---- what is running now ---- */

static const uint8_t *current;
static size_t current_len;
static char save_path[4096];
static size_t save_prefix;
static uint64_t mallocs, frees;

static void count_malloc(const volatile void *p, size_t n) {
    (void)p, (void)n;
    __atomic_fetch_add(&mallocs, 1, __ATOMIC_RELAXED);
}

static void count_free(const volatile void *p) {
    if (p)
        __atomic_fetch_add(&frees, 1, __ATOMIC_RELAXED);
}

/* Called from signal handlers: only plain system calls. */
static void save_current(void) {
    uint64_t hash = 14695981039346656037u;
    if (!current)
        return;
    for (size_t i = 0; i < current_len; i++)
        hash = (hash ^ current[i]) * 1099511628211u;
    for (int i = 0; i < 16; i++)
        save_path[save_prefix + (size_t)i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    save_path[save_prefix + 16] = '\0';
    int fd = open(save_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd >= 0 && write(fd, current, current_len) == (ssize_t)current_len) {
        (void)!write(2, "input saved: ", 13);
        (void)!write(2, save_path, strlen(save_path));
        (void)!write(2, "\n", 1);
    }
    if (fd >= 0)
        close(fd);
    current = NULL;
}

static void on_signal(int sig) {
    if (sig == SIGALRM)
        (void)!write(2, "hang\n", 5);
    save_current();
    if (sig == SIGALRM)
        _exit(EXIT_FOUND);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* Leaks are looked for only after an input that took more memory than it gave back, and a few times a second at most:
 * the look is slow, and caches that fill are no leaks. The check at exit sees the rest. */
static void check_leak(uint64_t taken) {
    static int64_t next_ms;
    struct timespec now;
    if (!taken || !__lsan_do_recoverable_leak_check)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (ms < next_ms)
        return;
    next_ms = ms + 250;
    if (__lsan_do_recoverable_leak_check()) {
        save_current();
        _exit(EXIT_FOUND);
    }
}

static void run(const uint8_t *data, size_t len) {
    uint64_t before = mallocs - frees;
    uint8_t *exact = malloc(len ? len : 1); /* reads past the end show */
    if (!exact)
        exit(1);
    memcpy(exact, data, len);
    current = exact;
    current_len = len;
    alarm(options.hang);
    LLVMFuzzerTestOneInput(exact, len);
    alarm(0);
    /* the copy itself is one that was taken */
    check_leak(mallocs - frees - before > 1 ? 1 : 0);
    current = NULL;
    free(exact);
}

/* ---- inputs ---- */

static bool add_file(const char *path) {
    static uint8_t data[MAX_FILE];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return false;
    }
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    if (nseeds == MAX_SEEDS)
        return true;
    struct seed *s = &seeds[nseeds];
    s->data = malloc(n ? n : 1);
    if (!s->data)
        return false;
    memcpy(s->data, data, n);
    s->len = n;
    nseeds++;
    return true;
}

static bool add_path(const char *path) {
    bool ok = true;
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort); /* sorted: the same seed gives the same run everywhere */
    if (n < 0)
        return add_file(path);
    for (int i = 0; i < n; i++) {
        char full[4096];
        snprintf(full, sizeof full, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            ok = add_file(full) && ok;
        free(entries[i]);
    }
    free(entries);
    return ok;
}

/* ---- mutations ---- */

static uint64_t state;

static uint64_t draw(uint64_t below) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return below ? (state * 2685821657736338717u >> 11) % below : 0;
}

static const char *const words[] = {
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "\n",
    "\n  ",
    ": ",
    "- ",
    "<<: *a",
    "&a ",
    "*a",
    "!!int ",
    "\"",
    "'",
    "\\u0000",
    "\\ud800",
    "\\",
    "null",
    "true",
    "[",
    "]",
    "{",
    "}",
    ",",
    "0",
    "-1",
    "1e999",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "0.5",
    "1.5Gi",
    "100m",
    "%00",
    "%",
    "/",
    "..",
    "\x80",
    "\xff",
    "\xe2\x82",
    "|\n",
    ">-\n",
    "| length",
    "range(99)",
    " for x in y ",
    "NaN",
    "1_0",
    "12:30:45",
    "2020-01-01",
    "\t",
    "\r\n",
    "#",
};
static const uint8_t bytes[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '\\', '\n', ' ', '{', '}', '0', '9', '-' };

/* Replace `gone` bytes at `at` by `n` bytes of `from`, within the maximum. Returns the new length. */
static size_t replace(uint8_t *data, size_t len, size_t at, size_t gone, const uint8_t *from, size_t n) {
    if (len - gone + n > options.max_len)
        n = gone < options.max_len - (len - gone) ? gone : options.max_len - (len - gone);
    memmove(data + at + n, data + at + gone, len - at - gone);
    memmove(data + at, from, n);
    return len - gone + n;
}

/* A length that is mostly short. */
static size_t draw_length(size_t most) {
    return most ? 1 + draw(draw(4) ? (most < 16 ? most : 16) : most) : 0;
}

static size_t mutate_length(uint8_t *data, size_t len, size_t at, size_t n) {
    static uint8_t copy[MAX_FILE];
    memcpy(copy, data + at, n);
    switch (draw(4)) {
    case 0: return replace(data, len, at, n, copy, 0);
    case 1: return replace(data, len, draw(len + 1), 0, copy, n);
    case 2:
        for (uint64_t i = draw_length(64); i--;)
            len = replace(data, len, at, 0, copy, n);
        return len;
    default: return at;
    }
}

static size_t mutate_once(uint8_t *data, size_t len) {
    size_t at = draw(len + 1), n = draw_length(len - at);
    const struct seed *other = &seeds[draw(nseeds)];
    switch (draw(8)) {
    case 0:
        if (at < len)
            data[at] ^= (uint8_t)(1u << draw(8));
        return len;
    case 1:
        if (at < len)
            data[at] = draw(2) ? (uint8_t)draw(256) : bytes[draw(sizeof bytes)];
        return len;
    case 2:
    case 3: {
        const char *w = words[draw(sizeof words / sizeof words[0])];
        return replace(data, len, at, draw(2) ? n : 0, (const uint8_t *)w, strlen(w));
    }
    case 4:
    case 5: {
        size_t from = draw(other->len + 1);
        return replace(data, len, at, draw(2) ? n : 0, other->data + from, draw_length(other->len - from));
    }
    default: return mutate_length(data, len, at, n);
    }
}

static uint64_t mutate_all(void) {
    static uint8_t data[MAX_FILE];
    time_t end = time(NULL) + options.seconds;
    uint64_t runs = 0;
    state = options.random * 0x9E3779B97F4A7C15u | 1;
    while (options.runs ? runs < options.runs : time(NULL) < end) {
        const struct seed *s = &seeds[draw(nseeds)];
        size_t len = s->len < options.max_len ? s->len : options.max_len;
        memcpy(data, s->data, len);
        for (uint64_t i = 1 + draw(8); i--;)
            len = mutate_once(data, len);
        run(data, len);
        runs++;
    }
    return runs;
}

static int usage(void) {
    fputs("usage: fuzz_x [--seconds N] [--runs N] [--seed N] [--save DIR] [--max-len N] [--hang SECONDS] FILE|DIR...\n",
          stderr);
    return 2;
}

static bool read_option(const char *name, const char *value) {
    uint64_t n = strtoull(value, NULL, 10);
    if (!strcmp(name, "--seconds"))
        options.seconds = (long)n;
    else if (!strcmp(name, "--runs"))
        options.runs = n;
    else if (!strcmp(name, "--seed"))
        options.random = n;
    else if (!strcmp(name, "--save"))
        options.save = value;
    else if (!strcmp(name, "--max-len"))
        options.max_len = n && n <= MAX_FILE ? n : MAX_FILE;
    else if (!strcmp(name, "--hang"))
        options.hang = (unsigned)n;
    else
        return false;
    return true;
}

static void catch_ends(const char *program) {
    static const int signals[] = { SIGALRM, SIGABRT, SIGTRAP, SIGILL, SIGFPE };
    const char *slash = strrchr(program, '/');
    int n = snprintf(save_path, sizeof save_path - 32, "%s/%s-", options.save, slash ? slash + 1 : program);
    save_prefix = n > 0 && (size_t)n < sizeof save_path - 32 ? (size_t)n : 0;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        signal(signals[i], on_signal);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(save_current);
    else
        signal(SIGSEGV, on_signal);
    if (__sanitizer_install_malloc_and_free_hooks)
        __sanitizer_install_malloc_and_free_hooks(count_malloc, count_free);
}

int main(int argc, char **argv) {
    bool ok = true;
    int i = 1;
    for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
        if (!read_option(argv[i], argv[i + 1]))
            return usage();
    }
    catch_ends(argv[0]);
    for (; i < argc; i++)
        ok = add_path(argv[i]) && ok;
    if (!nseeds)
        return usage();
    for (size_t s = 0; s < nseeds; s++)
        run(seeds[s].data, seeds[s].len);
    uint64_t runs = options.runs || options.seconds ? mutate_all() : 0;
    printf("%zu inputs replayed, %" PRIu64 " mutated\n", nseeds, runs);
    for (size_t s = 0; s < nseeds; s++)
        free(seeds[s].data);
    return !ok;
}
