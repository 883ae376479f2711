/* Known secret values in texts that programs wrote: each becomes REDACTED, in one pass however many there are (an automaton of all of
 * them). Also what is easily made of a value: its lines, its base64, its form in URLs and in JSON. Immutable once built, so it is shared
 * between threads. Pure. */
#ifndef MODEL_MASK_H
#define MODEL_MASK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

#define MASK_VALUE_MIN 8          /* shorter ones are no secrets: everything would be masked */
#define MASK_STATES_MAX (1u << 18) /* bytes of all values and their forms, common beginnings once */

struct mask;
struct mask *mask_new(void);       /* NULL when memory ran out */
/* A value that is wiped behind it is gone from here only with the mask. 0; OSMO_ELIMIT: it is not masked, there are too many. */
int mask_add(struct mask *m, const char *value);
int mask_build(struct mask *m);    /* after the last mask_add */
void mask_free(struct mask *m);    /* wipes */
bool mask_is_empty(const struct mask *m);

/* Appends the text to out, masked; *changed says whether anything was (nothing is appended otherwise). `state` (may be NULL) carries what
 * a text that was cut has begun into the next one: 0 at the beginning, and `cut` says that this one goes on in the next. What may be the
 * beginning of a value is masked at the end of a text that is cut. */
int mask_apply(const struct mask *m, const char *text, size_t len, uint32_t *state, bool cut, buf_t *out, bool *changed);
#endif
