/* Rows of who may do what: users, their roles, access tokens, role documents, stored credentials, keys, and configuration objects that
 * were written through the API. Implemented in store/repo_auth*.c and repo_identity.c; called by engine/ and api/. Rows are cleared by
 * their _clear, lists by their _free. What is secret in a row is sealed (engine/vault.h) before it comes here. */
#ifndef STORE_REPO_AUTH_H
#define STORE_REPO_AUTH_H
#include "base/str.h"
#include "store/repo.h"

/* -- users -- */
struct user_row { char *name, *created_by; int64_t created_us; };
void user_row_clear(struct user_row *r);
void user_rows_free(struct user_row *r, size_t n);
int repo_user_get(db_t *db, const char *name, struct user_row *out, osmo_error_t *err); /* OSMO_ENOTFOUND */
int repo_user_add(db_t *db, const struct user_row *r, osmo_error_t *err);               /* OSMO_EEXISTS */
/* Newest first, from the 0-based `offset`; users with any of `roles` (NULL or empty: all) whose name begins with `prefix` (NULL: any).
 * *total is how many there are. */
int repo_user_list(db_t *db, const char *prefix, const strlist_t *roles, int64_t offset, int64_t limit, struct user_row **out, size_t *n,
                   int64_t *total, osmo_error_t *err);
/* Until the end of the transaction nobody else changes its roles, tokens or credentials, or deletes it. OSMO_ENOTFOUND. */
int repo_user_lock(db_t *db, const char *name, osmo_error_t *err);
/* With roles, tokens, credentials, profile and keys. OSMO_ENOTFOUND. What the user submitted stays. */
int repo_user_delete(db_t *db, const char *name, osmo_error_t *err);

/* -- roles of users -- */
struct assignment_row { char *user, *role, *assigned_by; int64_t assigned_us; };
void assignment_row_clear(struct assignment_row *r);
void assignment_rows_free(struct assignment_row *r, size_t n);
/* By role (user NULL: of all users who have `role`, newest first), by user (role NULL: sorted by role). */
int repo_assignment_list(db_t *db, const char *user, const char *role, struct assignment_row **out, size_t *n, osmo_error_t *err);
#define USER_ROLES_MAX 200 /* fewer than what is looked at in a token */
/* OSMO_EUSER: too many. Keeps an assignment that is there; *out is what is there now, *added whether it is new; either may be NULL. */
int repo_assignment_add(db_t *db, const char *user, const char *role, const char *by, int64_t now_us, struct assignment_row *out,
                        bool *added, osmo_error_t *err);
/* Also from the user's tokens. 0 when there was none. */
int repo_assignment_delete(db_t *db, const char *user, const char *role, osmo_error_t *err);

/* -- access tokens: struct token_row of store/repo.h, whose reads do not fill the hash -- */
/* OSMO_EEXISTS when the user has a token of this name. */
int repo_token_add(db_t *db, const struct token_row *r, const strlist_t *roles, const char *by, osmo_error_t *err);
int repo_token_list(db_t *db, const char *user, struct token_row **out, size_t *n, osmo_error_t *err); /* by name */
void token_rows_free(struct token_row *r, size_t n);
int repo_token_get(db_t *db, const char *user, const char *name, struct token_row *out, osmo_error_t *err); /* OSMO_ENOTFOUND */
/* Sorted by role; assignment_row.user is the token's owner. */
int repo_token_roles(db_t *db, const char *user, const char *name, struct assignment_row **out, size_t *n, osmo_error_t *err);
int repo_token_count(db_t *db, const char *user, int64_t *count, osmo_error_t *err);
/* Names of those that its owner has, which is what the token may do. The other: those of all tokens of the user, as token, role, … by
 * name. */
int repo_tokens_held(db_t *db, const char *user, strlist_t *pairs, osmo_error_t *err);
int repo_token_held(db_t *db, const char *user, const char *name, strlist_t *roles, osmo_error_t *err);

/* -- role documents -- */
struct role_row { char *name, *document; strlist_t external; }; /* document: JSON text without external_roles */
void role_row_clear(struct role_row *r);
void role_rows_free(struct role_row *r, size_t n);
int repo_role_list(db_t *db, struct role_row **out, size_t *n, osmo_error_t *err); /* by name */
/* OSMO_ENOTFOUND. keep: in a transaction, until whose end it stays. */
int repo_role_check(db_t *db, const char *name, bool keep, osmo_error_t *err);
/* external NULL: the mappings stay, and a new role is mapped from its own name. */
int repo_role_put(db_t *db, const char *name, const char *document, const strlist_t *external, osmo_error_t *err);
int repo_role_delete(db_t *db, const char *name, osmo_error_t *err); /* with assignments; OSMO_ENOTFOUND */
/* Roles of a user that a provider knows by `external` names (and ROLE_OF_EVERYBODY), by the sync mode of each role: import adds, force
 * also takes away, ignore leaves. Added ones are assigned by "idp-sync". *roles: what the user has then. `modes` has a role's name and its
 * mode each (model/policy.h: enum role_sync). In a transaction that holds the user (repo_user_lock, repo_user_add). */
struct role_mode { const char *role; int mode; };
int repo_user_sync(db_t *db, const char *user, const strlist_t *external, const struct role_mode *modes, size_t nmodes, int64_t now_us,
                   strlist_t *roles, bool *changed, osmo_error_t *err);

/* -- stored credentials; the payload is a JSON object of sealed texts -- */
struct credential_row { char *user, *name, *type /* REGISTRY DATA GENERIC */, *profile /* or NULL */, *payload; int64_t created_us; };
void credential_row_clear(struct credential_row *r);
void credential_rows_free(struct credential_row *r, size_t n);
/* DATA, REGISTRY, GENERIC; each by name */
int repo_credential_list(db_t *db, const char *user, struct credential_row **out, size_t *n, osmo_error_t *err);
/* Replaces the one of the same name, and the one of the same profile. */
int repo_credential_put(db_t *db, const struct credential_row *r, osmo_error_t *err);
int repo_credential_take(db_t *db, const char *user, const char *name, struct credential_row *out, osmo_error_t *err); /* OSMO_ENOTFOUND */

/* -- keys -- */
struct user_key_row { char *user, *kid, *sealed; bool current; };
void user_key_row_clear(struct user_key_row *r);
void user_key_rows_free(struct user_key_row *r, size_t n);
int repo_user_keys(db_t *db, const char *user /* NULL: of all */, struct user_key_row **out, size_t *n, osmo_error_t *err);
int repo_user_key_put(db_t *db, const struct user_key_row *r, osmo_error_t *err); /* the others are not current any more if it is */
struct signing_key_row { char *kid, *sealed; int64_t created_us, retired_us; }; /* retired_us 0: the one that signs, or will */
void signing_key_row_clear(struct signing_key_row *r);
void signing_key_rows_free(struct signing_key_row *r, size_t n);
int repo_signing_keys(db_t *db, struct signing_key_row **out, size_t *n, osmo_error_t *err); /* newest first */
int repo_signing_key_put(db_t *db, const struct signing_key_row *r, osmo_error_t *err);      /* replaces the one of its kid */
int repo_signing_key_delete(db_t *db, const char *kid, osmo_error_t *err);

/* -- configuration objects written through the API: a kind ("pool"), a name, a JSON text -- */
struct config_row { char *kind, *name, *body; };
void config_row_clear(struct config_row *r);
void config_rows_free(struct config_row *r, size_t n);
int repo_config_list(db_t *db, const char *kind /* NULL: all */, struct config_row **out, size_t *n, osmo_error_t *err); /* by kind, name */
int repo_config_put(db_t *db, const char *kind, const char *name, const char *body, osmo_error_t *err);
int repo_config_delete(db_t *db, const char *kind, const char *name, bool *there, osmo_error_t *err);
#endif
