/* See link_lines.h. */
#include "runtime/link_lines.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_reader.h"

static const char *const types[] = { "MessageOut", "MessageErr", "MessageOps" };
#define TYPES (sizeof types / sizeof types[0])

/* The number of its type, or TYPES: it is no line. */
static size_t read_line(const char *message, size_t len, json_slice_t *text) {
    json_slice_t key, type = { 0 }, found[TYPES] = { { 0 } };
    json_reader_t r;
    json_reader_init(&r, message, len);
    if (!json_reader_object(&r))
        return TYPES;
    while (json_reader_key(&r, &key)) {
        size_t i = 0;
        while (i < TYPES && !json_slice_is(&key, types[i]))
            i++;
        json_slice_t *slice = i < TYPES ? &found[i] : json_slice_is(&key, "Type") ? &type : NULL;
        if (slice)
            *slice = (json_slice_t){ 0 }; /* of a key that stands there twice the last one counts, whatever it is */
        if (slice)
            json_reader_string(&r, slice);
        else
            json_reader_skip(&r, NULL);
    }
    if (json_reader_failed(&r) || !json_reader_at_end(&r) || !type.text)
        return TYPES;
    for (size_t i = 0; i < TYPES; i++) {
        if (json_slice_is(&type, types[i])) {
            *text = found[i];
            return found[i].text ? i : TYPES;
        }
    }
    return TYPES;
}

void link_take_lines(buf_t *in, link_line_fn fn, void *ctx) {
    size_t done = 0, cap = 0;
    char *plain = NULL;
    const char *nl;
    while (done < in->len && (nl = memchr(in->data + done, '\n', in->len - done))) {
        json_slice_t text;
        size_t len = (size_t)(nl - in->data) - done, type = len ? read_line(in->data + done, len, &text) : TYPES;
        if (len && type == TYPES)
            break;
        done += len + 1;
        if (!len)
            continue; /* the end of what link_next() took */
        if (text.len + 1 > cap) {
            char *bigger = realloc(plain, text.len + 1);
            if (!bigger) {
                done -= len + 1; /* link_next() will tell */
                break;
            }
            plain = bigger;
            cap = text.len + 1;
        }
        size_t n = json_slice_copy(&text, plain, cap);
        fn(ctx, types[type], plain, n);
    }
    free(plain);
    buf_consume(in, done);
}
