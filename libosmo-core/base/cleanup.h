/* Cleanup attributes and steal macros for code inside the libraries and programs.
 * Never demanded of users of the public API. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

static inline void cleanup_free_p(void *p) { free(*(void **)p); }
static inline void cleanup_close_p(int *fd) { if (*fd >= 0) close(*fd); }
static inline void cleanup_fclose_p(FILE **f) { if (*f) fclose(*f); }

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(cleanup_free_p)
#define _cleanup_close_ _cleanup_(cleanup_close_p)
#define _cleanup_fclose_ _cleanup_(cleanup_fclose_p)

/* Define `static inline void type_freep(type **p)` for use with _cleanup_(). */
#define DEFINE_CLEANUP(type, func) \
    static inline void func##p(type **p) { if (*p) func(*p); }

/* Take a pointer out of its variable, leaving NULL, so a cleanup attribute lets go of it. */
#define STEAL(p)                                                                                                       \
    __extension__({                                                                                                    \
        __typeof__(p) *steal_pp_ = &(p);                                                                               \
        __typeof__(p) steal_v_ = *steal_pp_;                                                                           \
        *steal_pp_ = NULL;                                                                                             \
        steal_v_;                                                                                                      \
    })
#define STEAL_FD(fd) __extension__({ int *steal_fp_ = &(fd); int steal_f_ = *steal_fp_; *steal_fp_ = -1; steal_f_; })
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif
