/* osmo_cli: starts the client inside a task's container, whatever that has for a C library, or none. The init container of an image puts
 * it into a directory with the client, the client's libraries, their loader and certificates (packaging/images/collect.sh), and links
 * /osmo/usr/bin/osmo to it. Static, as osmo_exec is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_ROOM 4096
#define WORDS_OF_OURS 7

/* DIRECTORY/NAME, where our own file lies. */
static char *beside(const char *directory, const char *name) {
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s/%s", directory, name);
    return path;
}

/* An image may have no certificates, or have them in another place; one that names its own is believed. */
static void name_certificates(const char *directory) {
    char *path = beside(directory, "certificates.pem");
    if (path && !getenv("SSL_CERT_FILE") && !getenv("SSL_CERT_DIR") && access(path, R_OK) == 0)
        setenv("SSL_CERT_FILE", path, 1);
    free(path);
}

int main(int argc, char **argv) {
    char directory[PATH_ROOM];
    ssize_t n = readlink("/proc/self/exe", directory, sizeof directory - 1);
    char *slash = n > 0 ? (directory[n] = '\0', strrchr(directory, '/')) : NULL;
    if (!slash) {
        fprintf(stderr, "osmo: cannot find its own directory: %s; is /proc mounted?\n", strerror(errno));
        return 1;
    }
    *slash = '\0';
    char *loader = beside(directory, "ld.so"), *client = beside(directory, "osmo");
    char **words = calloc((size_t)argc + WORDS_OF_OURS + 1, sizeof *words);
    if (!loader || !client || !words) {
        fprintf(stderr, "osmo: out of memory\n");
        return 1;
    }
    char *ours[WORDS_OF_OURS] = { loader, "--inhibit-cache", "--argv0", "osmo", "--library-path", directory, client };
    memcpy(words, ours, sizeof ours);
    if (argc > 1)
        memcpy(words + WORDS_OF_OURS, argv + 1, ((size_t)argc - 1) * sizeof *argv);
    name_certificates(directory);
    unsetenv("LD_PRELOAD"); /* libraries of the image, made for another C library */
    execv(loader, words);
    fprintf(stderr, "osmo: cannot start %s: %s\n", loader, strerror(errno));
    return 1;
}
