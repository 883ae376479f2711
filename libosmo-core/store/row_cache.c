/* A hash table of packed rows, found by their key and by their number, the least recently used dropped first; see
 * row_cache.h. */
#include "store/row_cache.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 16384u /* a power of two */
#define TYPES 4

struct entry {
    struct entry *next_key, *next_rowid; /* chains */
    struct entry *older, *newer;
    const struct row_type *type;
    int64_t number, rowid;
    size_t size;
    char uuid[33];
    _Alignas(8) char row[]; /* the row, and its texts behind it */
};

struct row_cache {
    size_t bytes, bytes_max;
    const struct row_type *types[TYPES]; /* that it has seen */
    struct entry *oldest, *newest;
    struct entry *by_key[BUCKETS], *by_rowid[BUCKETS];
};

row_cache_t *row_cache_new(size_t bytes_max) {
    row_cache_t *c = calloc(1, sizeof(*c));
    if (c)
        c->bytes_max = bytes_max;
    return c;
}

size_t row_cache_bytes(const row_cache_t *c) { return c->bytes; }

/* ---- places ---- */

static struct entry **key_bucket(row_cache_t *c, const char *uuid, int64_t number) {
    uint64_t head = 0, tail = 0;
    size_t len = strlen(uuid), n = len < sizeof(head) ? len : sizeof(head);
    memcpy(&head, uuid, n); /* a uuid is random throughout */
    memcpy(&tail, uuid + len - n, n);
    uint64_t h = (head ^ (uint64_t)number) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 32 ^ tail) * 0x9e3779b97f4a7c15u;
    return &c->by_key[(h >> 40) & (BUCKETS - 1)];
}

static struct entry **rowid_bucket(row_cache_t *c, int64_t rowid) {
    return &c->by_rowid[((uint64_t)rowid * 0x9e3779b97f4a7c15u >> 40) & (BUCKETS - 1)];
}

static void unlink_age(row_cache_t *c, struct entry *e) {
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    e->older = e->newer = NULL;
}

static void link_newest(row_cache_t *c, struct entry *e) {
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop(row_cache_t *c, struct entry *e) {
    struct entry **p = key_bucket(c, e->uuid, e->number);
    while (*p != e)
        p = &(*p)->next_key;
    *p = e->next_key;
    p = rowid_bucket(c, e->rowid);
    while (*p != e)
        p = &(*p)->next_rowid;
    *p = e->next_rowid;
    unlink_age(c, e);
    c->bytes -= e->size;
    free(e);
}

void row_cache_reset(row_cache_t *c) {
    for (struct entry *e = c->oldest, *next; e; e = next) {
        next = e->newer;
        free(e);
    }
    size_t bytes_max = c->bytes_max;
    memset(c, 0, sizeof(*c));
    c->bytes_max = bytes_max;
}

void row_cache_free(row_cache_t *c) {
    if (c)
        row_cache_reset(c);
    free(c);
}

/* Most rows that change are of other tables. */
static const struct row_type *type_of(const row_cache_t *c, const char *table) {
    for (size_t i = 0; i < TYPES && c->types[i]; i++)
        if (strcmp(c->types[i]->table, table) == 0)
            return c->types[i];
    return NULL;
}

void row_cache_changed(row_cache_t *c, const char *table, int64_t rowid) {
    const struct row_type *t = type_of(c, table);
    struct entry *e = t ? *rowid_bucket(c, rowid) : NULL;
    while (e && (e->rowid != rowid || e->type != t))
        e = e->next_rowid;
    if (e)
        drop(c, e);
}

static struct entry *find(row_cache_t *c, const struct row_type *t, const char *uuid, int64_t number) {
    struct entry *e = *key_bucket(c, uuid, number);
    while (e && (e->type != t || e->number != number || strcmp(e->uuid, uuid) != 0))
        e = e->next_key;
    return e;
}

const void *row_cache_find(row_cache_t *c, const struct row_type *t, const char *uuid, int64_t number, int64_t *rowid) {
    struct entry *e = find(c, t, uuid, number);
    if (!e)
        return NULL;
    if (c->newest != e) {
        unlink_age(c, e);
        link_newest(c, e);
    }
    *rowid = e->rowid;
    return e->row;
}

/* ---- rows ---- */

static char **text_of(const struct row_type *t, size_t i, void *row) {
    return t->cols[i].kind == COL_TEXT ? (char **)(void *)((char *)row + t->cols[i].offset) : NULL;
}

static size_t texts_size(const struct row_type *t, const void *row) {
    size_t size = 0;
    for (size_t i = 0; i < t->n; i++) {
        char **text = text_of(t, i, (void *)(uintptr_t)row);
        size += text && *text ? strlen(*text) + 1 : 0;
    }
    return size;
}

static bool note_type(row_cache_t *c, const struct row_type *t) {
    size_t i = 0;
    while (i < TYPES && c->types[i] && c->types[i] != t)
        i++;
    if (i < TYPES)
        c->types[i] = t;
    return i < TYPES;
}

void row_cache_put(row_cache_t *c, const struct row_type *t, const char *uuid, int64_t number, int64_t rowid, const void *row) {
    struct entry *e = find(c, t, uuid, number);
    if (e)
        drop(c, e);
    size_t size = sizeof(*e) + t->size + texts_size(t, row);
    if (strlen(uuid) >= sizeof(e->uuid) || size > c->bytes_max || !note_type(c, t) || !(e = malloc(size)))
        return;
    *e = (struct entry){ .type = t, .number = number, .rowid = rowid, .size = size };
    memcpy(e->uuid, uuid, strlen(uuid) + 1);
    memcpy(e->row, row, t->size);
    char *at = e->row + t->size;
    for (size_t i = 0; i < t->n; i++) {
        char **text = text_of(t, i, e->row);
        if (!text || !*text)
            continue;
        size_t len = strlen(*text) + 1;
        *text = memcpy(at, *text, len);
        at += len;
    }
    struct entry **bucket = key_bucket(c, uuid, number);
    e->next_key = *bucket;
    *bucket = e;
    bucket = rowid_bucket(c, rowid);
    e->next_rowid = *bucket;
    *bucket = e;
    link_newest(c, e);
    c->bytes += size;
    while (c->bytes > c->bytes_max)
        drop(c, c->oldest);
}

int row_copy(const struct row_type *t, const void *from, void *to, osmo_error_t *err) {
    memcpy(to, from, t->size);
    bool short_of_memory = false;
    for (size_t i = 0; i < t->n; i++) {
        char **text = text_of(t, i, to);
        if (text && *text) {
            *text = str_dup(*text);
            short_of_memory |= !*text;
        }
    }
    if (!short_of_memory)
        return 0;
    row_clear(t, to);
    return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

bool row_same(const struct col *cols, size_t n, const void *a, const void *b) {
    for (size_t i = 0; i < n; i++) {
        const char *x = (const char *)a + cols[i].offset, *y = (const char *)b + cols[i].offset;
        bool same = true;
        switch (cols[i].kind) {
        case COL_TEXT: {
            const char *s = *(char *const *)(const void *)x, *u = *(char *const *)(const void *)y;
            same = s && u ? strcmp(s, u) == 0 : s == u;
            break;
        }
        case COL_UUID: same = strcmp(x, y) == 0; break;
        case COL_I64: same = memcmp(x, y, sizeof(int64_t)) == 0; break;
        case COL_BOOL: same = *(const bool *)x == *(const bool *)y; break;
        case COL_ENUM: same = memcmp(x, y, sizeof(unsigned)) == 0; break;
        case COL_REAL: same = memcmp(x, y, sizeof(double)) == 0; break;
        }
        if (!same)
            return false;
    }
    return true;
}

int row_select_cached(db_t *db, const struct row_type *t, struct row_key key, const char *sql, const struct db_arg *args,
                      size_t n_args, void *out, osmo_error_t *err, const char *what_format, ...) {
    row_cache_t *c = db_row_cache(db);
    int64_t rowid;
    memset(out, 0, t->size);
    const void *row = row_cache_find(c, t, key.uuid, key.number, &rowid);
    if (row)
        return row_copy(t, row, out, err);
    _cleanup_rows_ db_rows_t *rows = NULL;
    int rc = db_query(db, sql, args, n_args, &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) < 0)
        return rc;
    if (rc == 1) {
        rc = row_fetch(t, rows, out, err);
        if (rc == 0)
            row_cache_put(c, t, key.uuid, key.number, db_int(rows, (int)t->n), out);
        return rc;
    }
    char what[320];
    va_list list;
    va_start(list, what_format);
    vsnprintf(what, sizeof(what), what_format, list);
    va_end(list);
    return osmo_error_set(err, OSMO_ENOTFOUND, "%s does not exist", what);
}
