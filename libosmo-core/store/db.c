/* The db_* functions of store.h: dispatch to the connection's driver, and what both drivers share. */
#include "store/driver.h"
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "store/row_cache.h"

struct db_arg db_text_arg(const char *s) {
    if (!s)
        return (struct db_arg){ .type = DB_NULL };
    return (struct db_arg){ .type = DB_TEXT, .p = s, .len = strlen(s) };
}

int db_fail(db_t *db, enum db_trouble trouble, int code, osmo_error_t *err, const char *text) {
    db->failed = true;
    if (trouble > db->trouble)
        db->trouble = trouble;
    return osmo_error_set(err, code, "%s", text);
}

void db_forget_failure(db_t *db) {
    db->failed = false;
    db->trouble = DB_FINE;
}

/* Text from outside (pod messages, log tails) may hold broken UTF-8, which one database refuses and the other
 * keeps: both get the repaired form. NULL in *repaired when nothing had to change. */
struct repaired { struct db_arg *args; char **texts; size_t n; };

static void repaired_free(struct repaired *r) {
    for (size_t i = 0; r->texts && i < r->n; i++)
        free(r->texts[i]);
    free(r->texts);
    free(r->args);
}

static int repair_args(const struct db_arg *args, size_t n, struct repaired *out, osmo_error_t *err) {
    size_t i = 0;
    while (i < n && (args[i].type != DB_TEXT || utf8_valid(args[i].p, args[i].len)))
        i++;
    if (i == n)
        return 0;
    out->args = malloc(n * sizeof(*args));
    out->texts = calloc(n, sizeof(*out->texts));
    out->n = n;
    if (!out->args || !out->texts)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    memcpy(out->args, args, n * sizeof(*args));
    for (; i < n; i++) {
        if (args[i].type != DB_TEXT || utf8_valid(args[i].p, args[i].len))
            continue;
        out->texts[i] = utf8_repair(args[i].p, args[i].len, &out->args[i].len);
        if (!out->texts[i])
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        out->args[i].p = out->texts[i];
    }
    return 0;
}

int db_exec(db_t *db, const char *sql, const struct db_arg *args, size_t n, int64_t *changed, osmo_error_t *err) {
    struct repaired fixed = { 0 };
    int rc = repair_args(args, n, &fixed, err);
    if (rc == 0)
        rc = db->drv->exec(db, sql, fixed.args ? fixed.args : args, n, changed, err);
    repaired_free(&fixed);
    return rc;
}

int db_insert(db_t *db, const struct db_insert *into, const struct db_arg *args, size_t n_rows, osmo_error_t *err) {
    struct repaired fixed = { 0 };
    int rc = repair_args(args, into->width * n_rows, &fixed, err);
    if (rc == 0 && n_rows)
        rc = db->drv->insert(db, into, fixed.args ? fixed.args : args, n_rows, err);
    repaired_free(&fixed);
    return rc;
}

int db_query(db_t *db, const char *sql, const struct db_arg *args, size_t n, db_rows_t **out, osmo_error_t *err) {
    struct repaired fixed = { 0 };
    *out = NULL;
    int rc = repair_args(args, n, &fixed, err);
    if (rc == 0)
        rc = db->drv->query(db, sql, fixed.args ? fixed.args : args, n, out, err);
    repaired_free(&fixed);
    return rc;
}

int db_next(db_rows_t *r, osmo_error_t *err) { return r->db->drv->next(r, err); }

void db_rows_free(db_rows_t *r) {
    if (r)
        r->db->drv->rows_free(r);
}

int64_t db_int(db_rows_t *r, int col) { return r->db->drv->get_int(r, col); }
double db_real(db_rows_t *r, int col) { return r->db->drv->get_real(r, col); }
const char *db_text(db_rows_t *r, int col) { return r->db->drv->get_text(r, col); }
bool db_is_null(db_rows_t *r, int col) { return r->db->drv->get_null(r, col); }
const void *db_blob(db_rows_t *r, int col, size_t *len) { return r->db->drv->get_blob(r, col, len); }
bool db_is_pgsql(const db_t *db) { return db->drv->pgsql; }
row_cache_t *db_row_cache(db_t *db) { return db->rows; }
