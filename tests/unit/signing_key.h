/* See signing_key.c. */
#ifndef TESTS_SIGNING_KEY_H
#define TESTS_SIGNING_KEY_H
#include "osmo/error.h"
/* database: sqlite:PATH or postgresql://…, not open elsewhere. */
int signing_key_seed(const char *database, osmo_error_t *err);
/* The private key itself, as PEM. */
const char *signing_key_pem(void);
#endif
