/* A few threads that do the pieces of many batches at once: a batch of a thousand objects and one of three share them, and the small one
 * does not wait for the large one. Called by jobs that create objects (create.c); operator.c owns the crew. */
#ifndef OPERATOR_CREW_H
#define OPERATOR_CREW_H
#include <stdbool.h>
#include <stddef.h>

#define CREW_MAX 64

typedef struct crew crew_t;
/* `threads` beside the callers, at most CREW_MAX; 0 is fine. NULL without memory or threads. */
crew_t *crew_new(int threads);
/* Nobody may be in crew_do() any more. */
void crew_free(crew_t *crew);
/* Do pieces 0 … n-1, each once, in the calling thread and in those of the crew; returns when all that were begun are done. `piece`
 * returns false when no further one is to be begun. crew may be NULL: one after another. */
void crew_do(crew_t *crew, size_t n, bool (*piece)(void *ctx, size_t index), void *ctx);
#endif
