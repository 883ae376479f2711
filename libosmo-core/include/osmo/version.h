/**
 * @file osmo/version.h
 * @brief Versions: of this library, and of the OSMO interface it speaks.
 */
#ifndef OSMO_VERSION_H
#define OSMO_VERSION_H
#include <osmo/error.h>
#ifdef __cplusplus
extern "C" {
#endif
#define OSMO_WIRE_MAJOR 6     /**< OSMO interface version spoken on the wire */
#define OSMO_WIRE_MINOR 4     /**< see ::OSMO_WIRE_MAJOR */
#define OSMO_WIRE_REVISION 0  /**< see ::OSMO_WIRE_MAJOR */
#define OSMO_WIRE_VERSION "6.4.0" /**< the same as text */
/** Version of the library, for example "0.1.0". Static. */
OSMO_API const char *osmo_version(void);
#ifdef __cplusplus
}
#endif
#endif
