/* Table-driven reading and writing of rows; see rows.h. */
#include "store/rows.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"

#define BLOCK_ROWS 2048 /* whose arguments are in memory at a time */

static struct db_arg arg_of(const struct col *c, const void *row) {
    const char *field = (const char *)row + c->offset;
    switch (c->kind) {
    case COL_TEXT: return db_text_arg(*(char *const *)(const void *)field);
    case COL_UUID: return db_text_arg(field);
    case COL_I64: return DB_I(*(const int64_t *)(const void *)field);
    case COL_BOOL: return DB_I(*(const bool *)field);
    case COL_ENUM: return DB_I(*(const unsigned *)(const void *)field);
    case COL_REAL: return DB_D(*(const double *)(const void *)field);
    }
    return (struct db_arg){ .type = DB_NULL };
}

void row_args(const struct col *cols, size_t n, const void *row, struct db_arg *args) {
    for (size_t i = 0; i < n; i++)
        args[i] = arg_of(&cols[i], row);
}

static int fetch_one(const struct col *c, db_rows_t *rows, int i, char *field) {
    switch (c->kind) {
    case COL_TEXT: {
        char *text = db_is_null(rows, i) ? NULL : str_dup(db_text(rows, i));
        if (!text && !db_is_null(rows, i))
            return OSMO_ENOMEM;
        memcpy(field, &text, sizeof(text));
        return 0;
    }
    case COL_UUID: {
        const char *text = db_text(rows, i);
        size_t len = strnlen(text, 32);
        memcpy(field, text, len);
        field[len] = '\0';
        return 0;
    }
    case COL_I64: *(int64_t *)(void *)field = db_int(rows, i); return 0;
    case COL_BOOL: *(bool *)field = db_int(rows, i) != 0; return 0;
    case COL_ENUM: *(unsigned *)(void *)field = (unsigned)db_int(rows, i); return 0;
    case COL_REAL: *(double *)(void *)field = db_real(rows, i); return 0;
    }
    return 0;
}

int row_fetch(const struct row_type *t, db_rows_t *rows, void *row, osmo_error_t *err) {
    memset(row, 0, t->size);
    for (size_t i = 0; i < t->n; i++) {
        if (fetch_one(&t->cols[i], rows, (int)i, (char *)row + t->cols[i].offset) < 0) {
            row_clear(t, row);
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        }
    }
    return 0;
}

void row_clear(const struct row_type *t, void *row) {
    for (size_t i = 0; row && i < t->n; i++) {
        if (t->cols[i].kind == COL_TEXT)
            free(*(char **)(void *)((char *)row + t->cols[i].offset));
    }
    if (row)
        memset(row, 0, t->size);
}

void row_list_free(const struct row_type *t, void *rows, size_t n) {
    for (size_t i = 0; rows && i < n; i++)
        row_clear(t, (char *)rows + i * t->size);
    free(rows);
}

static int make_room(const struct row_type *t, char **list, size_t len, size_t *cap, osmo_error_t *err) {
    if (len < *cap)
        return 0;
    if (len >= ROWS_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "more than %d rows in table %s match: ask for fewer", ROWS_MAX,
                              t->table);
    size_t more = *cap ? *cap * 2 : 8;
    char *grown = realloc(*list, more * t->size);
    if (!grown)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *list = grown;
    *cap = more;
    return 0;
}

int rows_select(db_t *db, const struct row_type *t, const char *sql, const struct db_arg *args, size_t n_args,
                void **out, size_t *n, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    char *list = NULL;
    size_t len = 0, cap = 0;
    *out = NULL;
    *n = 0;
    int rc = db_query(db, sql, args, n_args, &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        rc = make_room(t, &list, len, &cap, err);
        if (rc == 0)
            rc = row_fetch(t, rows, list + len * t->size, err);
        if (rc == 0)
            len++;
    }
    if (rc < 0) {
        row_list_free(t, list, len);
        return rc;
    }
    *out = list;
    *n = len;
    return 0;
}

int row_select(db_t *db, const struct row_type *t, const char *sql, const struct db_arg *args, size_t n_args,
               void *out, osmo_error_t *err, const char *what_format, ...) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    memset(out, 0, t->size);
    int rc = db_query(db, sql, args, n_args, &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) < 0)
        return rc;
    if (rc == 1)
        return row_fetch(t, rows, out, err);
    char what[320];
    va_list list;
    va_start(list, what_format);
    vsnprintf(what, sizeof(what), what_format, list);
    va_end(list);
    return osmo_error_set(err, OSMO_ENOTFOUND, "%s does not exist", what);
}

int rows_insert(db_t *db, const struct row_type *t, const void *rows, size_t n, osmo_error_t *err) {
    _cleanup_buf_ buf_t columns = BUF_INIT(1u << 16);
    struct db_insert into = { .table = t->table, .width = t->n_stored };
    size_t block = n < BLOCK_ROWS ? n : BLOCK_ROWS;
    _cleanup_free_ struct db_arg *args = malloc((block ? block : 1) * into.width * sizeof(*args));
    for (size_t i = 0; i < into.width; i++) {
        buf_puts(&columns, i ? ", " : "");
        buf_puts(&columns, t->cols[i].name);
    }
    if (!args || buf_failed(&columns))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    into.columns = buf_cstr(&columns);
    for (size_t at = 0; at < n; at += block) {
        size_t k = n - at < block ? n - at : block;
        for (size_t i = 0; i < k; i++)
            row_args(t->cols, into.width, (const char *)rows + (at + i) * t->size, args + i * into.width);
        int rc = db_insert(db, &into, args, k, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int row_update(db_t *db, const char *sql, const struct col *cols, size_t n_cols, const void *row,
               const struct db_arg *where, size_t n_where, const char *key, const char *what, osmo_error_t *err) {
    struct db_arg args[ROW_COLS_MAX];
    int64_t changed = 0;
    if (n_cols + n_where > ROW_COLS_MAX)
        return osmo_error_set(err, OSMO_EINTERNAL, "too many columns");
    row_args(cols, n_cols, row, args);
    memcpy(args + n_cols, where, n_where * sizeof(*args));
    bool counts = !db_is_pgsql(db);
    int rc = db_exec(db, sql, args, n_cols + n_where, counts ? &changed : NULL, err);
    if (rc == 0 && counts && changed == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "%s %s does not exist", what, key);
    return rc;
}

int strings_select(db_t *db, const char *sql, const struct db_arg *args, size_t n_args, size_t columns,
                   strlist_t *out, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    int rc = db_query(db, sql, args, n_args, &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        for (size_t i = 0; i < columns; i++) {
            if (out->len >= 2 * ROWS_MAX)
                return osmo_error_set(err, OSMO_ELIMIT, "too many rows match");
            if (strlist_add(out, db_text(rows, (int)i)) < 0)
                return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        }
    }
    return rc;
}

int int_select(db_t *db, const char *sql, const struct db_arg *args, size_t n_args, int64_t fallback,
               int64_t *out, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    *out = fallback;
    int rc = db_query(db, sql, args, n_args, &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) < 0)
        return rc;
    if (rc == 1 && !db_is_null(rows, 0))
        *out = db_int(rows, 0);
    return 0;
}
