/* The only door to PCRE2. Match and depth limits are set on every match. */
#ifndef BASE_RE_H
#define BASE_RE_H
#include <stdbool.h>
#include <stddef.h>
#include "osmo/error.h"
typedef struct re re_t;
/* UTF-8; OSMO_EUSAGE names the pattern and position */
int re_compile(const char *pattern, re_t **out,
               osmo_error_t *err);
void re_free(re_t *re);
bool re_find(const re_t *re, const char *text, size_t len);       /* anywhere */
bool re_match_start(const re_t *re, const char *text, size_t len); /* anchored at the start only, as Python re.match */
bool re_fullmatch(const re_t *re, const char *text, size_t len);
#endif
