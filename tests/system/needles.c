/* Searches files, and the memory of a running process as a core file would hold it, for secrets. Usage: needles [-p PID] [FILE…] with
 * lines "NAME HEX" on the standard input: the bytes of a secret, looked for as they are, in hexadecimal digits and in both forms of
 * base64. Prints where each was found; exit status 0 when none was, 1 when one was, 2 when something could not be read. */
#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRETS_MAX 64
#define FORMS 5
#define BYTES_MAX 4096
#define CHUNK (4u << 20)

struct needle { char *name; const char *form; uint8_t *bytes; size_t len; };
static struct needle needles[SECRETS_MAX * FORMS];
static size_t nneedles;
static bool found, unreadable;

static void add(const char *name, const char *form, const void *bytes, size_t len) {
    if (len < 8) { /* would be found everywhere */
        fprintf(stderr, "needles: %s is too short to be looked for\n", name);
        exit(2);
    }
    struct needle *n = &needles[nneedles++];
    *n = (struct needle){ strdup(name), form, malloc(len), len };
    if (!n->name || !n->bytes)
        exit(2);
    memcpy(n->bytes, bytes, len);
}

static void add_base64(const char *name, const char *form, const char *alphabet, const uint8_t *p, size_t len) {
    char text[BYTES_MAX * 2];
    size_t n = 0;
    for (size_t i = 0; i + 3 <= len; i += 3) { /* whole groups: whatever follows */
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
        for (int k = 18; k >= 0; k -= 6)
            text[n++] = alphabet[v >> k & 63];
    }
    add(name, form, text, n);
}

static void add_secret(const char *name, const uint8_t *p, size_t len) {
    char low[2 * BYTES_MAX + 1], high[2 * BYTES_MAX + 1];
    for (size_t i = 0; i < len; i++) {
        snprintf(low + 2 * i, 3, "%02x", p[i]);
        snprintf(high + 2 * i, 3, "%02X", p[i]);
    }
    add(name, "as it is", p, len);
    add(name, "in hexadecimal", low, 2 * len);
    add(name, "in hexadecimal", high, 2 * len);
    add_base64(name, "in base64", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", p, len);
    add_base64(name, "in base64url", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", p, len);
}

static void read_secrets(void) {
    char name[64], hex[2 * BYTES_MAX + 1];
    uint8_t bytes[BYTES_MAX];
    int n;
    while ((n = scanf("%63s %8192s", name, hex)) == 2) {
        size_t len = strlen(hex) / 2;
        if (nneedles + FORMS > SECRETS_MAX * FORMS || strspn(hex, "0123456789abcdefABCDEF") != strlen(hex) || strlen(hex) % 2) {
            fprintf(stderr, "needles: %s is not in hexadecimal, or there are too many\n", name);
            exit(2);
        }
        for (size_t i = 0; i < len; i++) {
            unsigned byte;
            sscanf(hex + 2 * i, "%2x", &byte);
            bytes[i] = (uint8_t)byte;
        }
        add_secret(name, bytes, len);
    }
    if (!nneedles) {
        fprintf(stderr, "needles: nothing to look for\n");
        exit(2);
    }
}

/* What is around it, so that its owner can be recognised: everything but the secret. */
static void print_around(const uint8_t *data, size_t len, size_t at, size_t n) {
    size_t from = at > 160 ? at - 160 : 0, to = at + n + 160 < len ? at + n + 160 : len;
    printf("    ");
    for (size_t i = from; i < to; i++) {
        if (i == at)
            printf("<SECRET>");
        if (i < at || i >= at + n)
            putchar(isprint(data[i]) ? data[i] : '.');
    }
    putchar('\n');
}

static void look(const char *where, unsigned long base, const uint8_t *data, size_t len) {
    for (size_t i = 0; i < nneedles; i++) {
        const struct needle *n = &needles[i];
        const uint8_t *p = data;
        int shown = 0;
        while (shown < 3 && (p = memmem(p, len - (size_t)(p - data), n->bytes, n->len))) {
            printf("%s %s in %s at %#lx\n", n->name, n->form, where, base + (unsigned long)(p - data));
            print_around(data, len, (size_t)(p - data), n->len);
            found = true;
            shown++;
            p++;
        }
    }
}

static void look_in_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    uint8_t *data = size >= 0 ? malloc((size_t)size + 1) : NULL;
    if (!data || pread(fd, data, (size_t)size, 0) != size) {
        perror(path);
        unreadable = true;
    } else
        look(path, 0, data, (size_t)size);
    free(data);
    if (fd >= 0)
        close(fd);
}

/* ---- memory ---- */

/* Overlapping pieces, for a secret may lie across two. */
static size_t look_in_range(int mem, const char *name, unsigned long from, unsigned long to) {
    static uint8_t data[CHUNK + BYTES_MAX * 2];
    size_t seen = 0;
    for (unsigned long at = from; at < to; at += CHUNK) {
        size_t want = to - at < sizeof data ? to - at : sizeof data;
        ssize_t got = pread(mem, data, want, (off_t)at);
        if (got <= 0)
            return seen;
        look(name, at, data, (size_t)got);
        seen += (size_t)got < CHUNK ? (size_t)got : CHUNK;
    }
    return seen;
}

static void look_in_process(long pid) {
    char path[64], line[1024], name[768] = "";
    unsigned long from = 0, to = 0;
    size_t seen = 0, kept = 0;
    snprintf(path, sizeof path, "/proc/%ld/smaps", pid);
    FILE *maps = fopen(path, "re");
    snprintf(path, sizeof path, "/proc/%ld/mem", pid);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    if (!maps || mem < 0) {
        perror(path);
        unreadable = true;
    }
    while (maps && mem >= 0 && fgets(line, sizeof line, maps)) {
        unsigned long a, b;
        char flags[8], rest[768];
        int n = sscanf(line, "%lx-%lx %7s %*s %*s %*s %767[^\n]", &a, &b, flags, rest);
        if (n >= 3) {
            from = a;
            to = b;
            snprintf(name, sizeof name, "%s", n == 4 ? rest : "memory");
        } else if (!strncmp(line, "VmFlags:", 8)) {
            /* dd: not in a core file; io and pf: no memory of the process */
            bool skip = strstr(line, " dd") || strstr(line, " io") || strstr(line, " pf") || !strncmp(name, "[v", 2);
            kept += strstr(line, " dd") ? to - from : 0;
            if (!skip)
                seen += look_in_range(mem, name, from, to);
        }
    }
    printf("%zu KiB of memory searched, %zu KiB are in no core file\n", seen / 1024, kept / 1024);
    unreadable |= !seen;
    if (maps)
        fclose(maps);
    if (mem >= 0)
        close(mem);
}

int main(int argc, char **argv) {
    int opt;
    long pid = 0;
    while ((opt = getopt(argc, argv, "p:")) != -1) {
        if (opt != 'p')
            return 2;
        pid = atol(optarg);
    }
    read_secrets();
    if (pid)
        look_in_process(pid);
    for (int i = optind; i < argc; i++)
        look_in_file(argv[i]);
    return unreadable ? 2 : found;
}
