/* The words of -checkpoint; see checkpoint.h. Pure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "checkpoint.h"

int checkpoint_parse(const char *text, struct checkpoint *out, char *why, size_t cap) {
    const char *url = strchr(text, ';'), *seconds = url ? strchr(url + 1, ';') : NULL;
    const char *regex = seconds ? strchr(seconds + 1, ';') : NULL;
    char number[24] = "";
    int64_t period = -1;
    *out = (struct checkpoint){ 0 };
    if (regex && (size_t)(regex - seconds) <= sizeof number) {
        memcpy(number, seconds + 1, (size_t)(regex - seconds - 1));
        if (!str_to_i64(number, &period))
            period = -1;
    }
    if (!regex || url == text || seconds == url + 1 || period < 0 || period > INT32_MAX) {
        snprintf(why, cap, "checkpoint '%s' is not understood and is left out: <path>;<url>;<seconds>;<regex> is expected", text);
        return -1;
    }
    out->path = strndup(text, (size_t)(url - text));
    out->url = strndup(url + 1, (size_t)(seconds - url - 1));
    out->regex = strdup(regex + 1);
    out->period_us = (period ? period : 1) * 1000000;
    if (out->path && out->url && out->regex)
        return 0;
    checkpoint_clear(out);
    snprintf(why, cap, "out of memory");
    return -1;
}

void checkpoint_clear(struct checkpoint *c) {
    free(c->path);
    free(c->url);
    free(c->regex);
    *c = (struct checkpoint){ 0 };
}
