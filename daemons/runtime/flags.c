/* Go-style flag parsing; see flags.h. */
#include "flags.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct flag *find(const struct flag *flags, size_t n, const char *name, size_t len) {
    for (size_t i = 0; i < n; i++) {
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
            return &flags[i];
    }
    return NULL;
}

static int store(const struct flag *f, const char *value) {
    switch (f->kind) {
    case FLAG_TEXT: *(const char **)f->value = value; return 0;
    case FLAG_INT: return str_to_i64(value, f->value) ? 0 : -1;
    case FLAG_LIST: return strlist_add(f->value, value) ? -1 : 0;
    case FLAG_SWITCH: *(bool *)f->value = !str_eq(value, "false") && !str_eq(value, "0"); return 0;
    }
    return -1;
}

int flags_parse(const char *program, const struct flag *flags, size_t n, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (arg[0] != '-' || !arg[1]) {
            fprintf(stderr, "%s: unexpected argument '%s'\n", program, arg);
            return -1;
        }
        arg += arg[1] == '-' ? 2 : 1;
        const char *equals = strchr(arg, '=');
        size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
        const struct flag *f = find(flags, n, arg, len);
        if (!f) {
            fprintf(stderr, "%s: unknown flag '-%.*s'\n", program, (int)len, arg);
            return -1;
        }
        const char *value = equals ? equals + 1 : f->kind == FLAG_SWITCH ? "true" : ++i < argc ? argv[i] : NULL;
        if (!value || store(f, value)) {
            fprintf(stderr, "%s: flag -%s: %s\n", program, f->name, value ? "bad value" : "needs a value");
            return -1;
        }
    }
    return 0;
}
