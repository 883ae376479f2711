/* The only door to json-c (rules and measured traps: single quotes, NaN, integer clamping, invalid
 * UTF-8 and NUL are refused here; depth and size are capped; slashes are not escaped; doubles print
 * shortest round trip as Python does). A tree belongs to one thread at a time; bytes cross threads. */
#ifndef BASE_JSON_H
#define BASE_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"
#include "osmo/error.h"

typedef struct json_object json_t; /* JSON null is the NULL pointer */
enum json_kind { JSON_NULL, JSON_BOOL, JSON_INT, JSON_DOUBLE, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

#define JSON_MAX_DEPTH 64
/* Parse exactly one value; trailing garbage is an error (OSMO_EINVAL with the offset). */
int json_parse(const char *text, size_t len, json_t **out, osmo_error_t *err);
/* The same for texts with secrets: the parser leaves nothing of them behind in memory that it frees. */
int json_parse_secret(const char *text, size_t len, json_t **out, osmo_error_t *err);
/* indent 0 = compact with ", " and ": " absent; >0 = pretty with that many blanks per level. */
int json_print(const json_t *v, int indent, buf_t *out);
char *json_to_text(const json_t *v);               /* compact, malloc'ed, NULL on ENOMEM */
json_t *json_ref(json_t *v);
void json_free(json_t *v);                         /* drops one reference; NULL is fine */
static inline void json_freep(json_t **v) { json_free(*v); }
#define _cleanup_json_ __attribute__((cleanup(json_freep)))
/* Overwrites every string first; for the last reference to a tree with secrets. Keys are not secret. */
void json_free_secret(json_t *v);
static inline void json_free_secretp(json_t **v) { json_free_secret(*v); }
#define _cleanup_json_secret_ __attribute__((cleanup(json_free_secretp)))

json_t *json_new_object(void);
#define json_object() json_new_object() /* json-c owns the name as a type */
json_t *json_array(void);
json_t *json_string(const char *s);                /* NULL s gives JSON null */
json_t *json_string_n(const char *s, size_t len);
json_t *json_int(int64_t v);
json_t *json_double(double v);
json_t *json_bool_new(bool v);

/* The setters take the reference of `v`, also when they fail. 0 or OSMO_ENOMEM. Replaces an existing key. */
int json_set(json_t *object, const char *key, json_t *v);
int json_set_str(json_t *object, const char *key, const char *s); /* NULL s sets null */
int json_set_int(json_t *object, const char *key, int64_t v);
int json_set_bool(json_t *object, const char *key, bool v);
int json_set_double(json_t *object, const char *key, double v);
int json_set_strs(json_t *object, const char *key, const strlist_t *list); /* an array of strings */
int json_add(json_t *array, json_t *v);
int json_add_str(json_t *array, const char *s);
void json_del(json_t *object, const char *key);

/* Borrowed look-ups; wrong types behave like absence. */
enum json_kind json_kind(const json_t *v);
json_t *json_get(const json_t *object, const char *key);
bool json_has(const json_t *object, const char *key); /* true for an explicit null */
/* Walk: json_path(v, "spec", "containers", NULL) */
json_t *json_path(const json_t *v, ...) __attribute__((sentinel));
const char *json_get_str(const json_t *object, const char *key); /* NULL unless a string without NUL */
int64_t json_get_int(const json_t *object, const char *key, int64_t fallback);
double json_get_double(const json_t *object, const char *key, double fallback);
bool json_get_bool(const json_t *object, const char *key, bool fallback);
const char *json_str(const json_t *v);             /* NULL unless a string */
/* Length of what json_str() gives: 0 when that is NULL, so that the two can be used as a pair. */
size_t json_str_len(const json_t *v);
const char *json_bytes(const json_t *v, size_t *len); /* of a string, NUL bytes included; NULL unless a string */
int64_t json_as_int(const json_t *v, int64_t fallback);
double json_as_double(const json_t *v, double fallback);
bool json_as_bool(const json_t *v, bool fallback);
size_t json_len(const json_t *v);                  /* members or elements; 0 otherwise */
json_t *json_at(const json_t *array, size_t i);

/* An object in insertion order: json_iter_t it = json_iter(o); while (json_iter_next(&it)) use it.key, it.value */
typedef struct json_iter { const char *key; json_t *value; void *cursor; } json_iter_t;
json_iter_t json_iter(const json_t *object);
bool json_iter_next(json_iter_t *it);

json_t *json_copy(const json_t *v);                /* deep */
bool json_equal(const json_t *a, const json_t *b); /* deep, key order ignored */
int json_sort_keys(json_t *v, json_t **out);       /* deep copy with keys sorted bytewise */
/* Text of a double as Python's repr prints it, e.g. 24.1, 1e-05, 2.0. */
const char *double_repr(double v, char out[32]);
#endif
