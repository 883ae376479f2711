/* Growing byte buffer with a maximum; see buf.h. */
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(buf_t *b, size_t max) { *b = (buf_t)BUF_INIT(max); }

void buf_free(buf_t *b) {
    if (b->secret && b->cap)
        explicit_bzero(b->data, b->cap);
    free(b->data);
    *b = (buf_t){ .max = b->max, .secret = b->secret };
}

void buf_reset(buf_t *b) {
    b->len = 0;
    b->code = 0;
    if (b->data)
        b->data[0] = '\0';
}

/* realloc() would leave what was there where it was. */
static char *grow_secret(const buf_t *b, size_t cap) {
    char *data = malloc(cap);
    if (data && b->cap) {
        memcpy(data, b->data, b->len);
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    return data;
}

int buf_reserve(buf_t *b, size_t extra) {
    if (b->code)
        return b->code;
    if (extra > b->max || b->len > b->max - extra)
        return b->code = OSMO_ELIMIT;
    size_t need = b->len + extra + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *data = b->secret ? grow_secret(b, cap) : realloc(b->data, cap);
    if (!data)
        return b->code = OSMO_ENOMEM;
    b->data = data;
    b->cap = cap;
    b->data[b->len] = '\0';
    return 0;
}

int buf_append(buf_t *b, const void *data, size_t len) {
    int rc = buf_reserve(b, len);
    if (rc)
        return rc;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int buf_puts(buf_t *b, const char *text) { return buf_append(b, text, strlen(text)); }
int buf_putc(buf_t *b, char c) { return buf_append(b, &c, 1); }

int buf_vprintf(buf_t *b, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0)
        return b->code = OSMO_EINVAL;
    int rc = buf_reserve(b, (size_t)n);
    if (rc)
        return rc;
    vsnprintf(b->data + b->len, (size_t)n + 1, format, args);
    b->len += (size_t)n;
    return 0;
}

int buf_printf(buf_t *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int rc = buf_vprintf(b, format, args);
    va_end(args);
    return rc;
}

void buf_truncate(buf_t *b, size_t len) {
    if (len < b->len) {
        b->len = len;
        b->data[len] = '\0';
    }
}

void buf_consume(buf_t *b, size_t n) {
    if (n >= b->len) {
        buf_truncate(b, 0);
        return;
    }
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

const char *buf_cstr(buf_t *b) { return b->data ? b->data : ""; }

char *buf_steal(buf_t *b, size_t *len) {
    if (b->code || buf_reserve(b, 0))
        return NULL;
    char *data = b->data;
    if (len)
        *len = b->len;
    *b = (buf_t){ .max = b->max, .secret = b->secret };
    return data;
}
