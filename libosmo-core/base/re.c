/* PCRE2 behind re.h. */
#include "base/re.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#define MATCH_STEPS_MAX 10000000u
#define MATCH_DEPTH_MAX 10000u

struct re { pcre2_code *code; };

int re_compile(const char *pattern, re_t **out, osmo_error_t *err) {
    int number;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &number, &at, NULL);
    if (!code) {
        PCRE2_UCHAR text[160];
        pcre2_get_error_message(number, text, sizeof text);
        return osmo_error_set(err, OSMO_EUSAGE, "invalid regular expression '%s' at position %zu: %s", pattern,
                              (size_t)at, (const char *)text);
    }
    re_t *re = malloc(sizeof *re);
    if (!re) {
        pcre2_code_free(code);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    re->code = code;
    *out = re;
    return 0;
}

void re_free(re_t *re) {
    if (re)
        pcre2_code_free(re->code);
    free(re);
}

static bool run(const re_t *re, const char *text, size_t len, uint32_t options) {
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(re->code, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    int rc = PCRE2_ERROR_NOMEMORY;
    if (data && limits) {
        pcre2_set_match_limit(limits, MATCH_STEPS_MAX);
        pcre2_set_depth_limit(limits, MATCH_DEPTH_MAX);
        rc = pcre2_match(re->code, (PCRE2_SPTR)text, len, 0, options, data, limits);
    }
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    return rc > 0;
}

bool re_find(const re_t *re, const char *text, size_t len) { return run(re, text, len, 0); }
bool re_match_start(const re_t *re, const char *text, size_t len) { return run(re, text, len, PCRE2_ANCHORED); }
bool re_fullmatch(const re_t *re, const char *text, size_t len) {
    return run(re, text, len, PCRE2_ANCHORED | PCRE2_ENDANCHORED);
}
