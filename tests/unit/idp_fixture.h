/* An identity provider on the loopback, as far as verification needs one: a discovery document and a key set, which a test may change,
 * break or withhold while it runs. Counts what it was asked. */
#ifndef TESTS_IDP_FIXTURE_H
#define TESTS_IDP_FIXTURE_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct idp {
    int listen_fd, port;
    char issuer[64]; /* http://127.0.0.1:PORT */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char *keys, *discovery, *cache_control; /* answers; discovery NULL: one that is right */
    int status;                             /* of the answers for keys, 200 */
    bool silent;                            /* takes requests and does not answer */
    bool stop;
    unsigned discoveries, key_requests;
    int held[64];
    size_t nheld;
};
bool idp_start(struct idp *p);
void idp_stop(struct idp *p);
/* {"keys": [a, b]}; b may be NULL. Takes neither. */
void idp_keys(struct idp *p, const char *a, const char *b);
/* Anything instead of a key set, or of the discovery document; NULL: what is right. */
void idp_say(struct idp *p, const char *keys, const char *discovery);
void idp_status(struct idp *p, int status, bool silent);
/* Waits (bounded) until the keys were asked for this often. */
bool idp_wait(struct idp *p, unsigned key_requests);
#endif
