/* Bounded multi-producer multi-consumer queue of pointers between threads. */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef struct queue queue_t;
queue_t *queue_new(size_t max);
void queue_free(queue_t *q);                        /* must be empty or its items are leaked: drain first */
int queue_push(queue_t *q, void *item);             /* OSMO_EBUSY when full, OSMO_EUNAVAIL when closed */
void *queue_pop(queue_t *q, int64_t timeout_ms);    /* -1 = wait for ever; NULL on timeout or when closed and empty */
/* waits for the first, takes what is there */
size_t queue_pop_many(queue_t *q, void **items, size_t max,
                      int64_t timeout_ms);
size_t queue_len(queue_t *q);
void queue_close(queue_t *q);                       /* wakes all; pops drain the rest */
#endif
