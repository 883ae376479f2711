/* Freed memory is overwritten in this program, by whichever library it was used: requests, jobs and answers carry tokens and credentials
 * through buffers of many owners (JSON, HTTP, databases), and a core file would show them for a long time afterwards. The libraries wipe
 * what they know to be secret wherever they run; this is for the rest. It costs about three percent of the processor's time.
 *
 * Takes the place of two functions of the C library: of glibc only, and not where a sanitizer already does. */
#include <features.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

void __libc_free(void *p);
void *__libc_malloc(size_t size);
void *__libc_realloc(void *p, size_t size);

/* A flag in the size before each block, since the first glibc: pages of its own, which go back to the system whole. Most of them may never
 * have been touched, and should not be for this. */
static bool has_own_pages(const void *p) { return ((const size_t *)p)[-1] & 2; }

EXPORT void free(void *p) {
    if (p && !has_own_pages(p))
        explicit_bzero(p, malloc_usable_size(p));
    __libc_free(p);
}

/* That of the library would leave a copy where the memory was. */
EXPORT void *realloc(void *p, size_t size) {
    if (!p || has_own_pages(p))
        return __libc_realloc(p, size);
    size_t have = malloc_usable_size(p);
    if (!size) {
        free(p);
        return NULL;
    }
    if (size <= have && size >= have / 2)
        return p;
    void *now = __libc_malloc(size);
    if (!now)
        return NULL;
    memcpy(now, p, size < have ? size : have);
    free(p);
    return now;
}
#else
typedef int nothing_to_wipe;
#endif
