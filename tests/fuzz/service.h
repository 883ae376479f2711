/* A service for fuzz entries: in development mode, on a temporary store that goes away with the process. */
#ifndef TESTS_FUZZ_SERVICE_H
#define TESTS_FUZZ_SERVICE_H
#include "osmo/service.h"
osmo_service_t *fuzz_service(void); /* the same one at every call */
#endif
