/* Rows as tables of columns: one list of (kind, SQL name, field) per noun makes its SELECT, INSERT, UPDATE and
 * its reading, so they cannot drift apart. Used by the repo_*.c files only. */
#ifndef STORE_ROWS_H
#define STORE_ROWS_H
#include "base/str.h"
#include "store/store.h"

enum col_kind { COL_TEXT /* char * */, COL_UUID /* char[33] */, COL_I64, COL_BOOL, COL_ENUM, COL_REAL };
struct col { enum col_kind kind; const char *name; size_t offset; };
struct row_type { const char *table; size_t size; const struct col *cols;
                  size_t n_stored /* written by INSERT */, n /* read by SELECT */; };

/* A list is a macro LIST(F, N) over entries X(kind, column, field): F for its first entry, N for the others. */
#define COL_SELECT_F(kind, column, field) "t." #column
#define COL_SELECT_N(kind, column, field) ", t." #column
#define COL_SET_F(kind, column, field) #column " = ?"
#define COL_SET_N(kind, column, field) ", " #column " = ?"
#define COL_ENTRY(type, kind, column, field) { COL_##kind, #column, offsetof(struct type, field) },

#define ROWS_MAX 1000000
#define ROW_COLS_MAX 48

/* Arguments for the n columns from `cols` of one row. */
void row_args(const struct col *cols, size_t n, const void *row, struct db_arg *args);
int row_fetch(const struct row_type *t, db_rows_t *rows, void *row, osmo_error_t *err);
void row_clear(const struct row_type *t, void *row);
void row_list_free(const struct row_type *t, void *rows, size_t n);

/* All rows of a query. */
int rows_select(db_t *db, const struct row_type *t, const char *sql, const struct db_arg *args, size_t n_args,
                void **out, size_t *n, osmo_error_t *err);
/* The only row, or OSMO_ENOTFOUND with the text "<what> does not exist". */
int row_select(db_t *db, const struct row_type *t, const char *sql, const struct db_arg *args, size_t n_args,
               void *out, osmo_error_t *err, const char *what_format, ...) __attribute__((format(printf, 8, 9)));
int rows_insert(db_t *db, const struct row_type *t, const void *rows, size_t n, osmo_error_t *err);
/* The UPDATE as row_update() wants it: a server fails where nothing is updated, so that nobody has to wait for the count. */
#define ONE_ROW(db, update) \
    (db_is_pgsql(db) ? "WITH changed AS (" update " RETURNING 1) SELECT 1 / COUNT(*) FROM changed" : update)
/* UPDATE of one row that must exist: OSMO_ENOTFOUND otherwise. `where` are its last arguments; `what` and `key` name the row. */
int row_update(db_t *db, const char *sql, const struct col *cols, size_t n_cols, const void *row,
               const struct db_arg *where, size_t n_where, const char *key, const char *what, osmo_error_t *err);

/* First column of every row as text. */
int strings_select(db_t *db, const char *sql, const struct db_arg *args, size_t n_args, size_t columns,
                   strlist_t *out, osmo_error_t *err);
/* First column of the first row; `fallback` when there is none or it is NULL. */
int int_select(db_t *db, const char *sql, const struct db_arg *args, size_t n_args, int64_t fallback,
               int64_t *out, osmo_error_t *err);
#endif
