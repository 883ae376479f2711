/* Asking object storage whether credentials are good for what they are to be used for. Outside of any transaction; it waits for other
 * machines, a few seconds at most. For api/, submit_data.c and archive.c. Places that users name are asked over https only, over http where
 * they are on this machine: the service is no way into the network around it. Texts of errors never quote what is secret. */
#ifndef ENGINE_DATA_ACCESS_H
#define ENGINE_DATA_ACCESS_H
#include "data/transfer.h"
#include "engine/engine.h"
#include "model/credential.h"

struct storage_login { const char *access_key_id, *access_key, *region, *override_url, *addressing_style; }; /* each may be NULL */
/* One more entry, for addresses below the prefix. OSMO_ENOMEM. */
int storage_login_add(data_credentials_t *c, const char *prefix, const struct storage_login *l);

#define DATA_WHY_MAX OSMO_ERROR_TEXT_MAX
/* 0, OSMO_ECREDENTIAL (the storage says no), OSMO_EUNAVAIL (it could not be found out), OSMO_ENOMEM; why: of the two in the middle. */
int data_access_ask(const data_credentials_t *c, const char *uri, enum data_access access, int64_t deadline_us, char why[DATA_WHY_MAX]);
/* Does the site have this scheme checked, and may the place be asked? */
bool data_access_is_checked(const struct settings *s, const char *uri, const char *override_url);
/* Of a credential that is being stored. 0 also when it is not checked; OSMO_ECREDENTIAL. */
int data_access_check_login(engine_t *e, const struct credential *c, osmo_error_t *err);
#endif
