/* AWS Signature Version 4 in the Authorization header. Pure: the time comes in. Used by s3*.c of this directory and tests. */
#ifndef DATA_SIGV4_H
#define DATA_SIGV4_H
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "osmo/error.h"

#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD" /* where the connection itself guards the body: TLS */
#define SIGV4_DATE_MAX 17

struct sigv4_pair { const char *name, *value; };
struct sigv4_input {
    const char *method;
    const char *path;                                /* as sent: percent-encoded once */
    const struct sigv4_pair *query; size_t nquery;   /* decoded */
    const char *const *headers;                      /* "Name: value", all of them are signed, Host among them; NULL ends */
    const char *payload;                             /* SHA-256 of the body in hex, or SIGV4_UNSIGNED */
    const char *date;                                /* as of sigv4_date() */
    const char *region, *service, *access_key_id, *access_key;
};
/* "20150830T123600Z" */
void sigv4_date(int64_t now_us, char out[SIGV4_DATE_MAX]);
/* Both append. 0 or what the buffer says: OSMO_ENOMEM, OSMO_ELIMIT. */
int sigv4_canonical(const struct sigv4_input *in, buf_t *out);
int sigv4_authorization(const struct sigv4_input *in, buf_t *out); /* the header's value */
/* name=value&…, encoded as it is signed; sorted. Appends. */
int sigv4_query(const struct sigv4_pair *query, size_t n, buf_t *out);
#endif
