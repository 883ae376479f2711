/**
 * @file osmo/error.h
 * @brief Error codes and the caller-owned error text that every fallible call fills.
 *
 * Convention: a fallible function returns 0 (or a non-negative result) on success and a
 * negative ::osmo_code_t on failure. The optional last argument receives the text. It is left
 * untouched on success; NULL is allowed when the caller does not want the text.
 */
#ifndef OSMO_ERROR_H
#define OSMO_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Marks a symbol as exported from the shared library. */
#ifndef OSMO_API
#if defined(__GNUC__)
#define OSMO_API __attribute__((visibility("default")))
#else
#define OSMO_API
#endif
#endif

/** Result codes. The values are part of the ABI and never change. */
typedef enum osmo_code {
    OSMO_OK = 0,           /**< success */
    OSMO_EINVAL = -1,      /**< argument or input malformed (HTTP 400, USER) */
    OSMO_ENOTFOUND = -2,   /**< named object does not exist (404, USER) */
    OSMO_EEXISTS = -3,     /**< object already exists (400, USER) */
    OSMO_EDENIED = -4,     /**< identity known, action not allowed (403, USER) */
    OSMO_EUNAUTH = -5,     /**< identity missing or not proven (401, USER) */
    OSMO_ECONFLICT = -6,   /**< state does not permit the action (409, USER) */
    OSMO_ELIMIT = -7,      /**< a documented maximum is exceeded (413, USER) */
    OSMO_EBUSY = -8,       /**< try again later (429, USER) */
    OSMO_ETIMEOUT = -9,    /**< deadline passed (504, SERVER) */
    OSMO_EUNAVAIL = -10,   /**< a needed service is down (503, SERVER) */
    OSMO_EIO = -11,        /**< input/output failed (500, SERVER) */
    OSMO_ENOMEM = -12,     /**< out of memory (500, SERVER) */
    OSMO_EINTERNAL = -13,  /**< a bug of ours (500, SERVER) */
    OSMO_EUSAGE = -14,     /**< workflow syntax or usage (400, USAGE) */
    OSMO_ERESOURCE = -15,  /**< resource specification cannot be met (400, RESOURCE) */
    OSMO_ECREDENTIAL = -16,/**< credential missing or refused (400, CREDENTIAL) */
    OSMO_EDATABASE = -17,  /**< workflow or task not found, store failure (400, DATABASE) */
    OSMO_ESUBMISSION = -18,/**< submission refers to something unusable (400, SUBMISSION) */
    OSMO_EUSER = -19,      /**< bad user input as OSMO names it (400, USER) */
    OSMO_EGONE = -20,      /**< object existed but is finished (410, USER) */
    OSMO_EEARLY = -21      /**< object is not running yet (425, USER) */
} osmo_code_t;

/** Largest error text including the terminating NUL, in bytes. */
#define OSMO_ERROR_TEXT_MAX 1020

/** Error text. Owned by the caller, usually on its stack. The fields never change. */
typedef struct osmo_error {
    int code;                       /**< an ::osmo_code_t; 0 when nothing was reported */
    char text[OSMO_ERROR_TEXT_MAX]; /**< one line of UTF-8, always NUL-terminated */
} osmo_error_t;

/** Static initializer of an osmo_error_t. */
#define OSMO_ERROR_INIT { 0, "" }

/**
 * Fill @p err (may be NULL) with a formatted text and return @p code, so that a failing function
 * can report and return in one statement. A text that does not fit is cut at a character boundary.
 * @return @p code
 */
OSMO_API int osmo_error_set(osmo_error_t *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** As osmo_error_set() with a va_list. @return @p code */
OSMO_API int osmo_error_setv(osmo_error_t *err, int code, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/**
 * Put "prefix: " before the text already in @p err (may be NULL).
 * @return the code stored in @p err, or ::OSMO_EINTERNAL when @p err is NULL or empty
 */
OSMO_API int osmo_error_prefix(osmo_error_t *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Short lower-case words for a code, for example "not found". Never NULL. */
OSMO_API const char *osmo_error_name(int code);

/** HTTP status that answers @p code, for example 404. 200 for ::OSMO_OK. */
OSMO_API int osmo_error_http_status(int code);

/** Wire error name of OSMO, for example "USAGE". Never NULL. */
OSMO_API const char *osmo_error_wire_name(int code);

#ifdef __cplusplus
}
#endif
#endif
