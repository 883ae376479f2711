/* Credentials for storage, as config.yaml keeps them (auth.data.<profile or longer prefix>), found by the longest prefix of a URI. */
#ifndef DATA_DATA_CREDENTIALS_H
#define DATA_DATA_CREDENTIALS_H
#include "data/uri.h"
#include "osmo/error.h"

enum data_addressing { DATA_ADDRESS_AUTO, DATA_ADDRESS_VIRTUAL, DATA_ADDRESS_PATH };
struct data_credential {
    char *access_key_id, *access_key, *session_token, *region, *override_url; /* NULL where not given; secrets are wiped when freed */
    enum data_addressing addressing;
    bool keyless;               /* an entry without keys: what the environment has */
};
typedef struct data_credentials data_credentials_t;
/* From a file; OSMO_ENOTFOUND when there is none. Errors never quote what the file says. */
int data_credentials_load(const char *path, data_credentials_t **out, osmo_error_t *err);
int data_credentials_parse(const char *yaml, size_t len, data_credentials_t **out, osmo_error_t *err);
void data_credentials_free(data_credentials_t *c);
/* NULL gives an empty one. */
int data_credentials_copy(const data_credentials_t *from, data_credentials_t **out, osmo_error_t *err);
/* One more, empty and keyless, until the next is added; NULL when memory ran out. */
struct data_credential *data_credentials_add(data_credentials_t *c, const char *prefix);
/* Borrowed; NULL when nothing fits. */
const struct data_credential *data_credentials_find(const data_credentials_t *c, const struct data_uri *u);
#endif
