/* Reads JSON in place, without a tree: for texts of which little is needed, in great numbers (what a Kubernetes API
 * server sends). A reader stands before a value; every function moves it behind what it returned. Strict where it looks
 * (RFC 8259, depth, UTF-8 of what is copied out), quick where it skips: in a container that is passed over, strings,
 * control characters, brackets and depth are looked at, and nothing else. A key that stands there twice is told twice.
 * The first fault ends the walk: from there on everything answers "nothing more", and json_reader_failed() tells. Nothing
 * allocates memory. Slices point into the text. */
#ifndef BASE_JSON_READER_H
#define BASE_JSON_READER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/json.h"

typedef struct json_reader { const char *p, *end; int depth; bool failed, first; } json_reader_t;
/* A string without its quotation marks, escapes as they stand; or a whole value. */
typedef struct json_slice { const char *text; size_t len; bool escaped; } json_slice_t;

void json_reader_init(json_reader_t *r, const char *text, size_t len);
bool json_reader_failed(const json_reader_t *r);
/* Kind of the value it stands before; JSON_NULL also when there is none. */
enum json_kind json_reader_kind(json_reader_t *r);

/* Walk an object: if (json_reader_object(&r)) while (json_reader_key(&r, &key)) { … read or skip the value … }
 * A value that is no object (or array) is skipped, and the answer is false. json_reader_key() passes the closing brace. */
bool json_reader_object(json_reader_t *r);
bool json_reader_key(json_reader_t *r, json_slice_t *key);
/* Walk an array: if (json_reader_array(&r)) while (json_reader_element(&r)) { … } */
bool json_reader_array(json_reader_t *r);
bool json_reader_element(json_reader_t *r);

/* A value of another kind is skipped, and the answer is false. */
bool json_reader_string(json_reader_t *r, json_slice_t *out);
bool json_reader_int(json_reader_t *r, int64_t *out); /* a number without fraction that fits */
bool json_reader_bool(json_reader_t *r, bool *out);
/* Any value; *whole (may be NULL) is its text. */
void json_reader_skip(json_reader_t *r, json_slice_t *whole);
/* Nothing but blanks is left. */
bool json_reader_at_end(json_reader_t *r);

bool json_slice_is(const json_slice_t *s, const char *text); /* compares the text as it stands: for keys and enumerations */
/* Unescaped, valid UTF-8, NUL-terminated into `out`, cut at whole characters when it does not fit; returns the length. */
size_t json_slice_copy(const json_slice_t *s, char *out, size_t cap);
#endif
