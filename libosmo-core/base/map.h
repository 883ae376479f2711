/* Hash map from copied strings to borrowed or owned pointers, in insertion order when iterated. */
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include <stdbool.h>
#include <stddef.h>

typedef struct map map_t;
map_t *map_new(void (*free_value)(void *));           /* free_value may be NULL: values are borrowed */
void map_free(map_t *m);
int map_set(map_t *m, const char *key, void *value);  /* replaces; 0 or OSMO_ENOMEM (value then freed) */
void *map_get(const map_t *m, const char *key);
bool map_has(const map_t *m, const char *key);
bool map_remove(map_t *m, const char *key);           /* frees the value */
void *map_take(map_t *m, const char *key);            /* removes without freeing */
size_t map_len(const map_t *m);
/* Iterate: size_t it = 0; while (map_next(m, &it, &key, &value)) …  Removing the current key is allowed. */
bool map_next(const map_t *m, size_t *it, const char **key, void **value);
#endif
