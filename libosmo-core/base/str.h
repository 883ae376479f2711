/* Small string helpers and the owned list of strings. */
#ifndef BASE_STR_H
#define BASE_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct strlist {
    char **items;   /* each malloc'ed */
    size_t len, cap;
} strlist_t;

int strlist_add(strlist_t *l, const char *text);             /* copies; 0 or OSMO_ENOMEM */
int strlist_addn(strlist_t *l, const char *text, size_t n);
void strlist_free(strlist_t *l);                              /* frees items and zeroes */
bool strlist_has(const strlist_t *l, const char *text);
int strlist_split(strlist_t *l, const char *text, char sep);  /* appends the pieces, empty ones too */

bool str_eq(const char *a, const char *b);        /* NULL equals NULL only */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
char *str_printf(const char *format, ...) __attribute__((format(printf, 1, 2))); /* malloc'ed or NULL */
char *str_dup(const char *s);                     /* NULL stays NULL */
bool str_to_i64(const char *s, int64_t *out);     /* whole string, base 10 */
/* Does the text of an address or the name mean this machine? localhost, 127.0.0.0/8 as a dotted quad, ::1 with or without brackets, and
 * IPv4 in IPv6's form. A name such as 127.evil.example is none of them. */
bool host_is_loopback(const char *host, size_t len);
bool utf8_valid(const char *s, size_t len);
/* A name that people can tell from others: UTF-8 without control characters, without those that are not seen or turn the text round, and
 * without blanks at its ends. */
bool str_is_plain(const char *s);
/* Copies s replacing every invalid byte sequence by U+FFFD; malloc'ed. */
char *utf8_repair(const char *s, size_t len, size_t *out_len);
#endif
