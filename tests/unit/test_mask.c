/* Known values in texts: tables, cut texts, and random texts against a plain search. */
#include "model/mask.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "check.h"

static struct mask *mask_of(const char *const *values, size_t n) {
    struct mask *m = mask_new();
    for (size_t i = 0; m && i < n && values[i]; i++)
        CHECK_INT(mask_add(m, values[i]), 0);
    CHECK_INT(mask_build(m), 0);
    return m;
}

static void expect(const struct mask *m, const char *text, const char *want) {
    _cleanup_buf_ buf_t out = BUF_INIT(1u << 20);
    bool changed;
    CHECK_INT(mask_apply(m, text, strlen(text), NULL, false, &out, &changed), 0);
    CHECK_INT(changed, strcmp(text, want) != 0);
    CHECK_STR(changed ? buf_cstr(&out) : text, want);
}

static void texts(void) {
    static const struct { const char *values[4], *text, *want; } cases[] = {
        { { "hunter22-secret" }, "my password is hunter22-secret!", "my password is [MASKED]!" },
        { { "hunter22-secret" }, "hunter22-secre hunter22", "hunter22-secre hunter22" },
        { { "short" }, "short is no secret", "short is no secret" },
        { { "exactly8" }, "exactly8", "[MASKED]" },
        { { "aaaaaaaa" }, "aaaaaaaaa", "[MASKED]" },                        /* overlapping matches are one */
        { { "abcdefgh", "cdefghij" }, "xabcdefghijx", "x[MASKED]x" },
        { { "abcdefgh", "abcdefghij" }, "abcdefghij abcdefghi", "[MASKED] [MASKED]i" },
        { { "zabcdefgh9", "abcdefgh" }, "zabcdefgh8", "z[MASKED]8" },       /* a value inside of another that fails */
        { { "first-line-1\nsecond-line" }, "second-line and first-line-1", "[MASKED] and [MASKED]" },
        { { "tok en/with+odd" }, "?t=tok%20en%2Fwith%2Bodd&x", "?t=[MASKED]&x" },
        { { "quo\"te\\and" }, "{\"a\":\"quo\\\"te\\\\and\"}", "{\"a\":\"[MASKED]\"}" },
        { { "hunter22-secret" }, "aHVudGVyMjItc2VjcmV0Cg== aHVudGVyMjItc2VjcmV0", "[MASKED]Cg== [MASKED]" },
        { { "\xff\xfe\xfd\xff\xfe\xfd\xff\xfe\xfd" }, "__79__79__79", "[MASKED]" }, /* base64 of URLs */
        { { "one-value", "two-value", "three-val" }, "two-value one-valueone-value three-va", "[MASKED] [MASKED] three-va" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mask *m = mask_of(cases[i].values, 4);
        expect(m, cases[i].text, cases[i].want);
        mask_free(m);
    }
    struct mask *none = mask_new();
    CHECK(mask_is_empty(none) && mask_is_empty(NULL));
    CHECK_INT(mask_build(none), 0);
    expect(none, "anything at all", "anything at all");
    expect(NULL, "anything at all", "anything at all");
    mask_free(none);
    mask_free(NULL);
}

/* In pieces, as a line that is too long comes: nothing of the value is left in any of them, wherever it was cut. (Other words would be
 * masked at the end of a piece if they were a beginning.) */
static void pieces(void) {
    static const char *const values[] = { "hunter22-secret" };
    static const char text[] = "before hunter22-secret is over";
    struct mask *m = mask_of(values, 1);
    for (size_t at = 1; at < sizeof text - 1; at++) {
        _cleanup_buf_ buf_t out = BUF_INIT(4096);
        const char *parts[] = { text, text + at };
        size_t lens[] = { at, sizeof text - 1 - at };
        uint32_t state = 0;
        for (size_t i = 0; i < 2; i++) {
            bool changed;
            size_t before = out.len;
            CHECK_INT(mask_apply(m, parts[i], lens[i], &state, i == 0, &out, &changed), 0);
            if (!changed) {
                CHECK_INT(out.len, before);
                buf_append(&out, parts[i], lens[i]);
            }
        }
        CHECK_INT(state, 0);
        const char *got = buf_cstr(&out);
        if (!CHECK(str_starts(got, "before ") && str_ends(got, " is over") && strstr(got, "[MASKED]") && !strstr(got, "hunt") &&
                   !strstr(got, "secret") && !strstr(got, "ret is")))
            fprintf(stderr, "cut at %zu: %s\n", at, got);
    }
    mask_free(m);
}

static void limits(void) {
    struct mask *m = mask_new();
    char *large = malloc(MASK_STATES_MAX + 1);
    REQUIRE(m && large);
    memset(large, 'x', MASK_STATES_MAX);
    large[MASK_STATES_MAX] = '\0';
    CHECK_INT(mask_add(m, large), OSMO_ELIMIT);
    CHECK_INT(mask_add(m, "a-value-of-usual-length"), 0);
    CHECK_INT(mask_build(m), 0);
    expect(m, "a-value-of-usual-length", "[MASKED]");
    free(large);
    mask_free(m);
}

/* Values and texts of two letters: every position against memcmp. */
static void against_search(void) {
    unsigned seed = 12345;
    for (int round = 0; round < 300; round++) {
        char values[5][20], text[201], want[201];
        const char *list[5];
        for (size_t v = 0; v < 5; v++) {
            size_t len = 8 + (seed = seed * 1103515245 + 12345) / 65536 % 8;
            for (size_t i = 0; i < len; i++)
                values[v][i] = (seed = seed * 1103515245 + 12345) / 65536 % 3 ? 'a' : 'b';
            values[v][len] = '\0';
            list[v] = values[v];
        }
        for (size_t i = 0; i < 200; i++)
            text[i] = (seed = seed * 1103515245 + 12345) / 65536 % 3 ? 'a' : 'b';
        text[200] = '\0';
        memcpy(want, text, sizeof want);
        for (size_t v = 0; v < 5; v++)
            for (size_t i = 0; i + strlen(values[v]) <= 200; i++)
                if (!memcmp(text + i, values[v], strlen(values[v])))
                    memset(want + i, '*', strlen(values[v]));
        buf_t squeezed = BUF_INIT(8192);
        for (size_t i = 0; i < 200; i++)
            if (want[i] != '*')
                buf_putc(&squeezed, want[i]);
            else if (i == 0 || want[i - 1] != '*')
                buf_puts(&squeezed, "[MASKED]");
        struct mask *m = mask_of(list, 5);
        expect(m, text, buf_cstr(&squeezed));
        mask_free(m);
        buf_free(&squeezed);
    }
}

static const struct check_test tests[] = {
    { "texts", texts }, { "pieces", pieces }, { "limits", limits }, { "against a plain search", against_search },
};
TEST_MAIN("mask", tests)
