/* Replays files, or the files of directories, through a fuzz entry: for compilers without libFuzzer and for the corpus in CI. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_FILE (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    static uint8_t data[MAX_FILE];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    LLVMFuzzerTestOneInput(data, n);
    return 0;
}

static int replay_dir(const char *path, DIR *d, size_t *count) {
    int failed = 0;
    for (struct dirent *e; (e = readdir(d));) {
        char full[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(full, sizeof full, "%s/%s", path, e->d_name);
        failed |= replay_file(full);
        ++*count;
    }
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    size_t count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (d) {
            failed |= replay_dir(argv[i], d, &count);
            closedir(d);
        } else {
            failed |= replay_file(argv[i]);
            count++;
        }
    }
    printf("%zu inputs replayed\n", count);
    return failed || !count;
}
