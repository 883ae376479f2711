/* Fuzz entry: any bytes through the reader in place. It must stay inside of them, and read what base/json.c reads
 * wherever both take the text: the tree is the same, and what the walk takes passing over it takes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reader_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Characters that a C string cannot hold, and halves of pairs, are replaced: in how many pieces is not promised. */
static bool has_odd_escapes(const char *text, size_t size) {
    for (size_t i = 0; i + 6 <= size; i++) {
        if (text[i] == '\\' && text[i + 1] == 'u' && (memcmp(text + i + 2, "0000",
            4) == 0 || (text[i + 2] | 0x20) == 'd'))
            return true;
    }
    return false;
}

static void must_copy_cut(const char *text, size_t size) {
    json_reader_t r;
    json_slice_t s;
    json_reader_init(&r, text, size);
    if (!json_reader_string(&r, &s))
        return;
    for (size_t cap = 0; cap <= s.len + 1 && cap < 64; cap++) {
        char out[64];
        memset(out, 'x', sizeof out);
        size_t len = json_slice_copy(&s, out, cap);
        if (cap && (len >= cap || out[len] || strlen(out) != len || !utf8_valid(out, len)))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size ? size : 1); /* of its exact size, for the address sanitizer */
    json_t *parsed = NULL, *walked = NULL;
    if (!text)
        return 0;
    memcpy(text, data, size);
    bool parses = json_parse(text, size, &parsed, NULL) >= 0, walks = reader_walk(text, size, &walked);
    if (walks && !reader_pass(text, size))
        abort();
    if (parses && walks && !has_odd_escapes(text, size) && !json_equal(parsed, walked))
        abort();
    must_copy_cut(text, size);
    json_free(parsed);
    json_free(walked);
    free(text);
    return 0;
}
