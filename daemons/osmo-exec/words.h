/* The entry command of an interactive session, taken apart. Used by session.c and by tests. */
#ifndef OSMO_EXEC_WORDS_H
#define OSMO_EXEC_WORDS_H
#include <stddef.h>

#include "base/str.h"

/* At least one word, the first of them not empty; 0, or -1 with what is wrong in `why`. */
int words_split(const char *text, strlist_t *out, char *why, size_t cap);
#endif
