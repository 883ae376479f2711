/* Pages for keys; see secret.h. */
#include "base/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t whole_pages(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

void *secret_alloc(size_t size) {
    size_t len = whole_pages(size);
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    /* Best effort: kernels without the first, and limits below the second, are no reason to refuse. */
    madvise(p, len, MADV_DONTDUMP);
    mlock(p, len);
    return p;
}

void secret_free(void *p, size_t size) {
    if (!p)
        return;
    explicit_bzero(p, size);
    munmap(p, whole_pages(size));
}
