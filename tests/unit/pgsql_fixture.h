/* Databases for tests: a fresh SQLite file, and a fresh database of a private PostgreSQL server that is
 * started on first use and stopped when the test program ends in whatever way. Used by the store's tests. */
#ifndef TESTS_PGSQL_FIXTURE_H
#define TESTS_PGSQL_FIXTURE_H
#include "store/store.h"

/* URL of a new, empty database; caller frees. NULL when PostgreSQL is not installed (says SKIP once). */
char *pgsql_fixture_url(void);
/* Scratch directory of this program, removed at its end. */
const char *fixture_dir(void);
char *sqlite_fixture_url(void);
/* Runs the body on an open store over each database there is. */
void fixture_each(void (*body)(store_t *s, const char *url));
#endif
