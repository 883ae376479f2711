/* Services for fuzz entries, on a temporary store that goes away with the process. */
#ifndef TESTS_FUZZ_SERVICE_H
#define TESTS_FUZZ_SERVICE_H
#include "osmo/service.h"
osmo_service_t *fuzz_service(void); /* the same one at every call */
/* One that requires proof, with a known administrator token and signing key (tests/unit/signing_key.h), a trusted gateway 192.0.2.1 and
 * without limits; a process has one of the two. For programs that link signing_key.c. */
#define FUZZ_ADMIN_TOKEN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
osmo_service_t *fuzz_guarded_service(void); /* service_guarded.c */
/* For the two: the directory that goes away (once), and what is common to both. */
const char *fuzz_dir(void);
osmo_service_t *fuzz_open(osmo_service_options_t *o);
#endif
