/* Secrets at rest: a master key that lives outside of the database, keys of users under it, and what is sealed under those (compact JWE,
 * base/seal.h). Opened after the store and before auth. Thread-safe. Keys in memory are kept out of core files and wiped.
 *
 * The master keys come from a file in upstream's form (YAML: currentMek, meks: {id: base64 of a JWK}); without one it is made at the
 * first start as <data directory>/master-key.yaml, mode 0600. A directory of a database that was made with another master key is refused
 * with the remedy. */
#ifndef ENGINE_VAULT_H
#define ENGINE_VAULT_H
#include "base/buf.h"
#include "base/json.h"
#include "engine/engine.h"

int vault_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err);
void vault_close(engine_t *e);
/* The file again (SIGHUP), as long as it has the key that is in use; otherwise what was read before stays. */
int vault_read_again(engine_t *e, osmo_error_t *err);

/* Under the current master key itself: secrets of the service. Appends to *out. */
int vault_seal(engine_t *e, const void *data, size_t len, buf_t *out, osmo_error_t *err);
/* By whichever master key it was sealed under. The caller wipes *out (crypto_wipe). */
int vault_unseal(engine_t *e, const char *text, size_t len, buf_t *out, osmo_error_t *err);

/* Under the user's own key, which is made when it is the first; inside a transaction (db) of the writer. */
int vault_seal_for(engine_t *e, db_t *db, const char *user, const void *data, size_t len, buf_t *out, osmo_error_t *err);
/* Any connection will do. OSMO_EDENIED when the key is not there any more. */
int vault_unseal_for(engine_t *e, db_t *db, const char *user, const char *text, size_t len, buf_t *out, osmo_error_t *err);

/* Reads the file again: a new currentMek counts from here on, for every service of the database. Then wraps under it what is wrapped under
 * another, in pieces; may be stopped at any point and asked for again. When everything is under the current key already, a file that the
 * service has made gets a new one; otherwise OSMO_ECONFLICT says what the operator has to add. Former keys may leave the file when this has
 * returned 0. *left says what could not be opened any more, one line each. */
int vault_rotate(engine_t *e, strlist_t *left, osmo_error_t *err);
#endif
