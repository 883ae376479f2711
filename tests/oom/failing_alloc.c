/* See failing_alloc.h. */
#include "failing_alloc.h"

#include <json-c/json.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* Threads of the code under test allocate as well; which of them meets the failure does not matter. */
static _Atomic size_t count_down;
static _Atomic bool all_behind, has_failed;

void alloc_fail_at(size_t n, bool onwards) {
    all_behind = onwards;
    has_failed = false;
    count_down = n;
}

void alloc_stop(void) {
    count_down = 0;
}

bool alloc_failed(void) {
    return has_failed;
}

static bool fails(void) {
    size_t left = count_down;
    do {
        if (!left)
            return false;
        if (left == 1 && all_behind)
            break;
    } while (!atomic_compare_exchange_weak(&count_down, &left, left - 1));
    if (left > 1)
        return false;
    has_failed = true;
    return true;
}

/* A function that gives a pointer, and its wrapper. */
#define WRAP_POINTER(type, name, parameters, arguments)  \
    type __real_##name parameters;                       \
    type __wrap_##name parameters;                       \
    type __wrap_##name parameters {                      \
        return fails() ? NULL : __real_##name arguments; \
    }
/* A function of json-c that gives 0 or -1. */
#define WRAP_CODE(name, parameters, arguments)         \
    int __real_##name parameters;                      \
    int __wrap_##name parameters;                      \
    int __wrap_##name parameters {                     \
        return fails() ? -1 : __real_##name arguments; \
    }

WRAP_POINTER(void *, malloc, (size_t n), (n))
WRAP_POINTER(void *, calloc, (size_t n, size_t size), (n, size))
WRAP_POINTER(void *, realloc, (void *p, size_t n), (p, n))
WRAP_POINTER(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP_POINTER(char *, strdup, (const char *s), (s))
WRAP_POINTER(char *, strndup, (const char *s, size_t n), (s, n))
WRAP_POINTER(json_object *, json_object_new_object, (void), ())
WRAP_POINTER(json_object *, json_object_new_array, (void), ())
WRAP_POINTER(json_object *, json_object_new_string, (const char *s), (s))
WRAP_POINTER(json_object *, json_object_new_string_len, (const char *s, int len), (s, len))
WRAP_POINTER(json_object *, json_object_new_int64, (int64_t v), (v))
WRAP_POINTER(json_object *, json_object_new_boolean, (json_bool v), (v))
WRAP_POINTER(json_object *, json_object_new_double, (double v), (v))
WRAP_POINTER(json_tokener *, json_tokener_new_ex, (int depth), (depth))
WRAP_CODE(json_object_object_add, (json_object * o, const char *key, json_object *v), (o, key, v))
WRAP_CODE(json_object_array_add, (json_object * o, json_object *v), (o, v))
WRAP_CODE(json_object_array_put_idx, (json_object * o, size_t i, json_object *v), (o, i, v))

int __real_json_object_deep_copy(json_object *from, json_object **to, json_c_shallow_copy_fn *copy);
int __wrap_json_object_deep_copy(json_object *from, json_object **to, json_c_shallow_copy_fn *copy);
int __wrap_json_object_deep_copy(json_object *from, json_object **to, json_c_shallow_copy_fn *copy) {
    return fails() ? -1 : __real_json_object_deep_copy(from, to, copy);
}

int __real_vasprintf(char **out, const char *format, va_list args);
int __wrap_vasprintf(char **out, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
int __wrap_vasprintf(char **out, const char *format, va_list args) {
    return fails() ? -1 : __real_vasprintf(out, format, args);
}

int __real_yaml_parser_initialize(yaml_parser_t *parser);
int __wrap_yaml_parser_initialize(yaml_parser_t *parser);
int __wrap_yaml_parser_initialize(yaml_parser_t *parser) {
    return fails() ? 0 : __real_yaml_parser_initialize(parser);
}
