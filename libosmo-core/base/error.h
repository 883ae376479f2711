/* Errors that are reported alike everywhere; the rest is osmo/error.h. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H
#include "osmo/error.h"

static inline int no_memory(osmo_error_t *err) { return osmo_error_set(err, OSMO_ENOMEM, "out of memory"); }
#endif
