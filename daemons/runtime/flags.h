/* Go-style flags of the in-pod programs: -name value, -name=value, --name; names and meaning are OSMO's. */
#ifndef RUNTIME_FLAGS_H
#define RUNTIME_FLAGS_H
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum flag_kind { FLAG_TEXT, FLAG_INT, FLAG_LIST, FLAG_SWITCH };
struct flag { const char *name; enum flag_kind kind; void *value; /* const char **, int64_t *, strlist_t *, bool * */ };
/* 0, or -1 after printing what is wrong to stderr. Texts point into argv. */
int flags_parse(const char *program, const struct flag *flags, size_t n, int argc, char **argv);
#endif
