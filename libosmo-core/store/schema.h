/* The compiled-in migrations, oldest first. Used by migrate.c alone. A released migration never changes:
 * append a new one. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H
#include <stddef.h>

/* The SQL is common but for these words, which stand in braces:
 *   {id}    a 64-bit key the database counts up and never hands out twice
 *   {blob}  bytes          {real}  a double
 *   {end}   what closes a CREATE TABLE */
enum migration_on { ON_BOTH, ON_SQLITE, ON_PGSQL };
struct migration { int version; const char *sql; enum migration_on on; };
extern const struct migration store_migrations[];
extern const size_t store_migrations_len;
#endif
