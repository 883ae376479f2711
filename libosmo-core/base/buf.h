/* Growing byte buffer that is born with a maximum. Always NUL-terminated behind its length, so
 * `data` can be used as a C string once anything was appended (or after buf_cstr()).
 * The first failure is sticky: later appends return the same code, so a sequence of appends can be
 * checked once at its end with buf_failed(). A secret buffer leaves nothing behind where it was, neither when it grows nor when
 * it is freed. */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include "osmo/error.h"

typedef struct buf {
    char *data;
    size_t len, cap, max;
    int code; /* 0, or the first OSMO_ELIMIT / OSMO_ENOMEM */
    bool secret;
} buf_t;

#define BUF_INIT(maximum) { .data = NULL, .len = 0, .cap = 0, .max = (maximum), .code = 0 }
#define BUF_SECRET(maximum) { .data = NULL, .len = 0, .cap = 0, .max = (maximum), .code = 0, .secret = true }

void buf_init(buf_t *b, size_t max);
void buf_free(buf_t *b);              /* frees and zeroes; keeps max; safe on a zeroed struct */
void buf_reset(buf_t *b);             /* length 0 and no failure, memory kept */
int buf_append(buf_t *b, const void *data, size_t len);
int buf_puts(buf_t *b, const char *text);
int buf_putc(buf_t *b, char c);
int buf_printf(buf_t *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(buf_t *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
int buf_reserve(buf_t *b, size_t extra); /* room for `extra` more bytes */
void buf_truncate(buf_t *b, size_t len);
void buf_consume(buf_t *b, size_t n);    /* drop n bytes from the front (memmove) */
const char *buf_cstr(buf_t *b);          /* never NULL */
char *buf_steal(buf_t *b, size_t *len);  /* malloc'ed, NUL-terminated; NULL if failed; b becomes empty */
static inline bool buf_failed(const buf_t *b) { return b->code != 0; }
#define _cleanup_buf_ __attribute__((cleanup(buf_free)))
#endif
