/* How requests to Azure's storage are signed (Shared Key), and what a connection string says. Pure. Used by azure.c and tests. */
#ifndef DATA_AZURE_SIGN_H
#define DATA_AZURE_SIGN_H
#include "base/buf.h"
#include "data/sigv4.h"
#include "osmo/error.h"

/* Each malloc'ed or NULL. */
struct azure_connection { char *account, *key, *sas, *endpoint; }; /* key: base64; sas: without question mark; endpoint: of blobs */
/* "Name=value;…"; OSMO_ECREDENTIAL, never with the text. */
int azure_connection_parse(const char *text, struct azure_connection *out, osmo_error_t *err);
void azure_connection_clear(struct azure_connection *c); /* wipes */

struct azure_input {
    const char *method, *account, *key;              /* key: base64 */
    const char *path;                                /* as sent: percent-encoded */
    const struct sigv4_pair *query; size_t nquery;   /* decoded */
    const char *const *headers;                      /* "Name: value"; NULL ends */
    uint64_t length;                                 /* of the body */
};
int azure_string_to_sign(const struct azure_input *in, buf_t *out); /* appends */
int azure_authorization(const struct azure_input *in, buf_t *out, osmo_error_t *err); /* the header's value; appends */
#endif
