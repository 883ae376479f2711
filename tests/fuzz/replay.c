/* Gives a fuzz entry its main where libFuzzer is not linked: replays the files named, or all files of the directories named, once each.
 * A crash, a sanitizer's report or a broken invariant ends the program; `make check` runs the committed corpora this way. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE (4u << 20)
#define MAX_DEPTH 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Some entries prepare themselves; libFuzzer calls this by the same name. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static unsigned long replayed;

static bool replay_file(FILE *f) {
    uint8_t *whole = malloc(MAX_FILE), *exact = NULL;
    size_t n = whole ? fread(whole, 1, MAX_FILE, f) : 0;
    /* a block of just its size, so that reading past the end is seen */
    bool ok = whole && !ferror(f) && (exact = malloc(n ? n : 1));
    if (ok) {
        memcpy(exact, whole, n);
        LLVMFuzzerTestOneInput(exact, n);
        replayed++;
    }
    free(exact);
    free(whole);
    return ok;
}

static bool replay(const char *path, int depth) {
    DIR *dir = depth < MAX_DEPTH ? opendir(path) : NULL;
    bool ok = true;
    if (!dir) {
        FILE *f = fopen(path, "re");
        ok = f && replay_file(f);
        if (!ok)
            perror(path);
        if (f)
            fclose(f);
        return ok;
    }
    for (struct dirent *e; ok && (e = readdir(dir));) {
        char child[4096];
        if (e->d_name[0] == '.')
            continue;
        if (snprintf(child, sizeof child, "%s/%s", path, e->d_name) < (int)sizeof child)
            ok = replay(child, depth + 1);
    }
    closedir(dir);
    return ok;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE|DIRECTORY...\n", argv[0]);
        return 2;
    }
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        if (!replay(argv[i], 0))
            return 1;
    printf("%lu inputs replayed\n", replayed);
    return 0;
}
