/* Accounts: which names users may have, how long an access token may last, which roles it gets. Pure; called by api/. */
#ifndef MODEL_ACCOUNT_H
#define MODEL_ACCOUNT_H
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"
#include "osmo/error.h"

#define USER_NAME_MAX 256
#define TOKEN_TEXT_MAX 4096

/* Begins and ends with a letter or digit, with those and _ . @ - in between; not as the names of backends do. */
bool user_name_valid(const char *name);

/* A description: one line, no control characters, which would reach the terminals of those who list tokens. */
bool token_text_valid(const char *text);

/* date: YYYY-MM-DD, after the day of now_us and at most max_us after it, all UTC. The token is good until that day begins. OSMO_EUSER. */
int token_expiry(const char *date, int64_t now_us, int64_t max_us, int64_t *expires_us, osmo_error_t *err);

/* Roles of a new token: all that are wanted, or none of them wanted (NULL, empty) all that the owner holds. `limit`: what the token that
 * asks has itself, NULL when it is none or may do everything: no token makes one that may do more. OSMO_EUSER; OSMO_EDENIED beyond the
 * limit. */
int token_roles(const char *owner, const strlist_t *held, const strlist_t *wanted, const strlist_t *limit, strlist_t *out,
                osmo_error_t *err);
#endif
