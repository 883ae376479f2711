/* The version of the library as text. */
#include "osmo/version.h"

const char *osmo_version(void) { return OSMO_VERSION; }
