/* Table reader over YAML nodes: see spec_read.h. Callers: model/spec*.c, model/settings*.c. */
#include "model/spec_read.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "model/spec.h"

void reader_init(struct reader *r, int code)
{
    *r = (struct reader){ .code = code };
    r->f = &r->own;
}

void reader_init_to(struct reader *r, int code, struct spec_findings *f)
{
    *r = (struct reader){ .code = code, .f = f };
}

void reader_clear(struct reader *r)
{
    spec_findings_clear(&r->own);
}

static void path_print(const struct read_path *at, buf_t *out)
{
    if (!at)
        return;
    path_print(at->up, out);
    if (at->up)
        buf_putc(out, '.');
    if (at->key)
        buf_printf(out, "%.200s", at->key);
    else
        buf_printf(out, "%zu", at->index);
}

char *read_path_text(const struct read_path *at)
{
    _cleanup_buf_ buf_t path = BUF_INIT(4096);
    path_print(at, &path);
    return buf_steal(&path, NULL);
}

static void report(struct reader *r, int code, const struct read_path *at, const yaml_node_t *n, const char *format,
                   va_list args) __attribute__((format(printf, 5, 0)));
static void report(struct reader *r, int code, const struct read_path *at, const yaml_node_t *n, const char *format,
                   va_list args)
{
    bool kept = r->f->len < SPEC_FINDINGS_MAX;
    _cleanup_free_ char *path = kept ? read_path_text(at) : NULL;
    r->oom |= kept && !path;
    spec_findings_addv(r->f, code, true, path, n ? n->line : 0, n ? n->column : 0, format, args);
}

void read_report(struct reader *r, const struct read_path *at, const yaml_node_t *n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(r, r->code, at, n, format, args);
    va_end(args);
}

void read_report_code(struct reader *r, int code, const struct read_path *at, const yaml_node_t *n,
    const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(r, code, at, n, format, args);
    va_end(args);
}

int reader_result(struct reader *r, const char *what, osmo_error_t *err)
{
    r->f->oom |= r->oom;
    return spec_findings_result(r->f, what, err);
}

static bool wrong(struct reader *r, const yaml_node_t *n, const struct read_path *at, const char *wanted)
{
    read_report(r, at, n, "must be %s, not %s", wanted, yaml_kind_name(n));
    return false;
}

static char *copy_text(struct reader *r, const yaml_node_t *n)
{
    char *text = n->kind == YAML_STRING ? malloc(n->text_len + 1) : yaml_scalar_text(n);
    r->oom |= !text;
    if (text && n->kind == YAML_STRING)
        memcpy(text, n->text, n->text_len + 1);
    return text;
}

bool read_text(struct reader *r, const yaml_node_t *n, const struct read_path *at, bool lax, char **out)
{
    bool number = n->kind == YAML_INT || n->kind == YAML_FLOAT;
    if (n->kind != YAML_STRING && !(lax && number))
        return wrong(r, n, at, "text");
    if (n->kind == YAML_STRING && strlen(n->text) != n->text_len) {
        read_report(r, at, n, "contains a NUL character");
        return false;
    }
    char *text = copy_text(r, n);
    if (!text)
        return false;
    free(*out);
    *out = text;
    return true;
}

bool read_bool(struct reader *r, const yaml_node_t *n, const struct read_path *at, bool *out)
{
    static const struct { const char *text; bool value; } words[] = {
        { "true", true }, { "t", true }, { "yes", true }, { "y", true }, { "on", true }, { "1", true },
        { "false", false }, { "f", false }, { "no", false }, { "n", false }, { "off", false }, { "0", false },
    };

    if (n->kind == YAML_BOOL) {
        *out = n->boolean;
        return true;
    }
    if (n->kind == YAML_INT && (n->integer == 0 || n->integer == 1)) {
        *out = n->integer == 1;
        return true;
    }
    if (n->kind == YAML_FLOAT && (fpclassify(n->number) == FP_ZERO || (n->number >= 1.0 && n->number <= 1.0))) {
        *out = n->number > 0.5;
        return true;
    }
    for (size_t i = 0; n->kind == YAML_STRING && i < ARRAY_SIZE(words); i++) {
        if (strlen(words[i].text) == n->text_len && strcasecmp(words[i].text, n->text) == 0) {
            *out = words[i].value;
            return true;
        }
    }
    return wrong(r, n, at, "true or false");
}

/* As upstream reads a number out of text: blanks around, a sign, single underscores between digits, zeros behind a
 * decimal point. */
static bool text_to_int(const char *p, int64_t *out)
{
    char digits[24];
    size_t n = 0;

    p += strspn(p, " \t\r\n\f\v");
    if (*p == '+' || *p == '-')
        digits[n++] = *p++;
    for (bool digit = false;; p++) {
        if (*p == '_' && digit && p[1] >= '0' && p[1] <= '9')
            continue;
        if (*p < '0' || *p > '9')
            break;
        digit = true;
        if (n == sizeof(digits) - 1)
            return false;
        digits[n++] = *p;
    }
    digits[n] = '\0';
    if (*p == '.' && p[1] == '0' && n > 0)
        p += 1 + strspn(p + 1, "0");
    p += strspn(p, " \t\r\n\f\v");
    return *p == '\0' && n > 0 && str_to_i64(digits, out);
}

bool read_int(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *out)
{
    switch (n->kind) {
    case YAML_BOOL:
        *out = n->boolean;
        return true;
    case YAML_INT:
        if (n->flavour == YAML_BIG) {
            read_report(r, at, n, "%.60s is too large a number", n->text);
            return false;
        }
        *out = n->integer;
        return true;
    case YAML_FLOAT:
        if (fabs(n->number) < 9e15 && !(floor(n->number) < n->number)) {
            *out = (int64_t)n->number;
            return true;
        }
        read_report(r, at, n, "must be a whole number");
        return false;
    case YAML_STRING:
        if (strlen(n->text) == n->text_len && text_to_int(n->text, out))
            return true;
        read_report(r, at, n, "must be a whole number, not '%.40s'", n->text);
        return false;
    default:
        return wrong(r, n, at, "a whole number");
    }
}

bool read_texts(struct reader *r, const yaml_node_t *n, const struct read_path *at, strlist_t *out)
{
    if (n->kind != YAML_LIST)
        return wrong(r, n, at, "a list of texts");
    char **items = n->len ? realloc(out->items, (out->len + n->len) * sizeof(*items)) : out->items;
    if (n->len && !items) {
        r->oom = true;
        return false;
    }
    bool good = true;
    out->items = items;
    out->cap = out->len + n->len > out->cap ? out->len + n->len : out->cap;
    for (size_t i = 0; i < n->len; i++) {
        struct read_path item = { at, NULL, i };
        char *text = NULL;
        if (read_text(r, n->values[i], &item, true, &text))
            out->items[out->len++] = text;
        else
            good = false;
    }
    return good;
}

bool read_duration(struct reader *r, const yaml_node_t *n, const struct read_path *at, bool allow_bool, int64_t *us)
{
    osmo_error_t why = OSMO_ERROR_INIT;
    double seconds;

    if (n->kind == YAML_STRING && strlen(n->text) == n->text_len) {
        if (duration_parse(n->text, us, &why) == 0)
            return true;
        read_report(r, at, n, "%s", why.text);
        return false;
    }
    if (n->kind == YAML_INT)
        seconds = (double)n->integer;
    else if (n->kind == YAML_FLOAT)
        seconds = n->number;
    else if (n->kind == YAML_BOOL && allow_bool)
        seconds = n->boolean;
    else
        return wrong(r, n, at, "a duration such as 30m, or a number of seconds");
    if (!(fabs(seconds) < 9e12)) {
        read_report(r, at, n, "%.60s seconds is too long a duration, at most 9000000000000 are allowed", n->text);
        return false;
    }
    *us = (int64_t)llround(seconds * 1e6);
    return true;
}

bool read_loose(struct reader *r, const yaml_node_t *n, const struct read_path *at, char **out)
{
    if (n->kind != YAML_BOOL)
        return read_text(r, n, at, true, out);
    *out = yaml_scalar_text(n);
    r->oom |= !*out;
    return *out != NULL;
}

char *read_key(struct reader *r, const yaml_node_t *key, const struct read_path *at)
{
    if (key->kind == YAML_LIST || key->kind == YAML_MAP) {
        read_report(r, at, key, "a key must be text");
        return NULL;
    }
    if (key->kind == YAML_STRING && memchr(key->text, '\0', key->text_len)) {
        read_report(r, at, key, "a key contains a NUL character");
        return NULL;
    }
    return copy_text(r, key);
}

char *read_text_key(struct reader *r, const yaml_node_t *key, const struct read_path *at)
{
    if (key->kind == YAML_STRING)
        return read_key(r, key, at);
    read_report(r, at, key, "a key must be text, not %s: quote it", yaml_kind_name(key));
    return NULL;
}

void *read_list(struct reader *r, const yaml_node_t *n, const struct read_path *at, size_t size, size_t *count,
    read_fn fn)
{
    *count = 0;
    if (n->kind != YAML_LIST) {
        wrong(r, n, at, "a list");
        return NULL;
    }
    if (n->len == 0)
        return NULL;
    char *items = calloc(n->len, size);
    if (!items) {
        r->oom = true;
        return NULL;
    }
    *count = n->len;
    for (size_t i = 0; i < n->len; i++) {
        struct read_path item = { at, NULL, i };
        fn(r, n->values[i], &item, items + i * size);
    }
    return items;
}

/* Number of single-character edits between two short words, or 9 when they are long. */
static size_t edits(const char *a, const char *b)
{
    size_t row[33], la = strlen(a), lb = strlen(b);
    if (la > 32 || lb > 32)
        return 9;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[lb];
}

static void report_unknown(struct reader *r, const yaml_node_t *key, const struct read_path *at,
    const struct read_table *t)
{
    const char *near = NULL;
    for (size_t i = 0; r->f->len < SPEC_FINDINGS_MAX && i < t->len && !near; i++) {
        size_t distance = edits(at->key, t->fields[i].key);
        if (distance <= 2 || (strlen(at->key) >= 3 && str_starts(t->fields[i].key, at->key)))
            near = t->fields[i].key;
    }
    if (near)
        read_report(r, at, key, "unknown key, did you mean %s?", near);
    else
        read_report(r, at, key, "unknown key");
}

static void read_json_text(struct reader *r, const yaml_node_t *n, const struct read_path *at,
    const struct read_field *f,
                           char **out)
{
    _cleanup_json_ json_t *v = NULL;
    osmo_error_t why = OSMO_ERROR_INIT;
    bool object = f->kind == READ_OBJECT;

    if (n->kind != (object ? YAML_MAP : YAML_LIST)) {
        wrong(r, n, at, object ? "a mapping" : "a list");
        return;
    }
    int rc = yaml_to_json(n, &v, &why);
    if (rc < 0) {
        r->oom |= rc == OSMO_ENOMEM;
        read_report(r, at, n, "%s", why.text);
        return;
    }
    free(*out);
    *out = json_to_text(v);
    r->oom |= !*out;
}

static void read_field(struct reader *r, const yaml_node_t *n, const struct read_path *at, const struct read_field *f,
                       void *object)
{
    void *p = (char *)object + f->offset;

    if (n->kind == YAML_NULL && (f->flags & READ_NULLABLE))
        return;
    switch (f->kind) {
    case READ_TEXT: read_text(r, n, at, false, p); break;
    case READ_TEXT_LAX: read_text(r, n, at, true, p); break;
    case READ_BOOL: read_bool(r, n, at, p); break;
    case READ_INT: read_int(r, n, at, p); break;
    case READ_TEXTS:
        strlist_free(p);
        read_texts(r, n, at, p);
        break;
    case READ_DURATION: read_duration(r, n, at, true, p); break;
    case READ_OBJECT:
    case READ_ARRAY: read_json_text(r, n, at, f, p); break;
    case READ_IGNORE: break;
    case READ_CUSTOM: f->fn(r, n, at, object); break;
    }
}

/* The field of that name. Keys mostly come in no order, so a search, but one that looks at first letters. */
static const struct read_field *find_field(const struct read_table *t, const yaml_node_t *key, const char *name)
{
    if (key->kind != YAML_STRING)
        return NULL;
    for (size_t k = 0; k < t->len; k++)
        if (t->fields[k].key[0] == name[0] && strcmp(name, t->fields[k].key) == 0)
            return &t->fields[k];
    return NULL;
}

void read_mapping(struct reader *r, const yaml_node_t *n, const struct read_path *at, const struct read_table *t,
    void *object)
{
    uint64_t seen = 0; /* tables have fewer fields than it has bits */

    if (n->kind != YAML_MAP) {
        wrong(r, n, at, "a mapping");
        return;
    }
    for (size_t i = 0; i < n->len; i++) {
        const yaml_node_t *key = n->keys[i];
        bool plain = key->kind == YAML_STRING && strlen(key->text) == key->text_len;
        _cleanup_free_ char *made = plain ? NULL : read_key(r, key, at);
        const char *name = plain ? key->text : made;
        if (!name)
            continue;
        const struct read_field *f = find_field(t, key, name);
        struct read_path member = { at, name, 0 };
        if (f) {
            seen |= UINT64_C(1) << (f - t->fields);
            read_field(r, n->values[i], &member, f, object);
        } else if (!t->open) {
            report_unknown(r, key, &member, t);
        }
    }
    for (size_t k = 0; k < t->len; k++) {
        struct read_path member = { at, t->fields[k].key, 0 };
        if ((t->fields[k].flags & READ_REQUIRED) && !(seen & UINT64_C(1) << k))
            read_report(r, &member, n, "is missing");
    }
}
