/* Memory for keys: pages of their own that are not swapped out where the system allows it, and that no core file holds. Everybody may
 * call it. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H
#include <stddef.h>

/* Zeroed; NULL when memory is short. */
void *secret_alloc(size_t size);
/* Overwrites it first; size as it was asked for. NULL is fine. */
void secret_free(void *p, size_t size);
#endif
