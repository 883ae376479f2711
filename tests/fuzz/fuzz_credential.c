/* Fuzz entry: what users and registries say of credentials. By the first byte: the body of a request, an image or scope, the challenge of a
 * registry, values and a text to be masked (values on lines, an empty line, the text). What is read is within its limits, scopes stay what
 * they are when they are read again, and no value is left in a masked text, in one piece or two. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/credential.h"
#include "model/mask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

static void form(const char *text, size_t len) {
    _cleanup_json_ json_t *body = NULL;
    _cleanup_(credential_clear) struct credential c = { 0 };
    struct credential_fault fault;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (json_parse_secret(text, len, &body, NULL) < 0)
        return;
    int rc = credential_read(body, &c, &fault, &err);
    if (rc == OSMO_EINVAL)
        require(fault.field[0] && fault.type && fault.message[0]);
    else if (rc < 0)
        require(err.text[0] && !c.pairs);
    else
        require(json_kind(c.pairs) == JSON_OBJECT && json_len(c.pairs) <= CREDENTIAL_PAIRS_MAX &&
                (c.kind == CREDENTIAL_GENERIC) == !c.profile);
}

static void names(const char *text) {
    _cleanup_free_ char *scope = registry_scope(text), *image = registry_image_scope(text), *again = scope ? registry_scope(scope) : NULL;
    _cleanup_(image_reference_clear) struct image_reference r = { 0 };
    const char *why;
    require(scope && image && again);
    if (registry_scope_valid(scope)) {
        require(strcmp(scope, again) == 0);
        require(registry_scope_covers(scope, scope));
        const char *const one = scope;
        (void)registry_best_scope(&one, 1, image);
    }
    if (image_reference_parse(text, &r) >= 0)
        require(*r.host && *r.repository && *r.reference);
    require(data_profile_len(text) <= strlen(text));
    if (data_endpoint_valid(text, &why))
        require(data_profile_len(text) > 0);
    (void)data_profile_covers(text, text);
    (void)credential_name_valid(text);
}

static void challenge(const char *text) {
    _cleanup_(bearer_challenge_clear) struct bearer_challenge c = { 0 };
    if (bearer_challenge_parse(text, &c) >= 0)
        require(*c.realm);
    else
        require(!c.realm && !c.service && !c.scope);
}

static void apply(const struct mask *m, const char *text, size_t len, uint32_t *state, bool cut, buf_t *out) {
    bool changed;
    require(mask_apply(m, text, len, state, cut, out, &changed) >= 0);
    if (!changed)
        buf_append(out, text, len);
}

/* What masks put there may look like a value. */
static bool is_special(const char *value) { return strstr("[MASKED][MASKED][MASKED]", value) != NULL; }

static void masks(char *text, size_t len) {
    char *values[8], *p = text;
    size_t n = 0;
    struct mask *m = mask_new();
    while (m && n < 8 && *p && *p != '\n') {
        char *end = p + strcspn(p, "\n");
        bool last = !*end;
        *end = '\0';
        values[n++] = p;
        require(mask_add(m, p) >= 0);
        p = last ? end : end + 1;
    }
    p += *p == '\n';
    size_t rest = len - (size_t)(p - text), half = rest / 2;
    require(m && mask_build(m) >= 0);
    _cleanup_buf_ buf_t whole = BUF_INIT(1u << 20), first = BUF_INIT(1u << 20), second = BUF_INIT(1u << 20);
    uint32_t state = 0;
    apply(m, p, rest, NULL, false, &whole);
    apply(m, p, half, &state, true, &first);
    apply(m, p + half, rest - half, &state, false, &second);
    require(state == 0);
    for (size_t i = 0; i < n; i++) {
        if (strlen(values[i]) < MASK_VALUE_MIN || is_special(values[i]) || strpbrk(values[i], "\r[]"))
            continue;
        require(!memmem(buf_cstr(&whole), whole.len, values[i], strlen(values[i])));
        require(!memmem(buf_cstr(&first), first.len, values[i], strlen(values[i])));
        require(!memmem(buf_cstr(&second), second.len, values[i], strlen(values[i])));
    }
    mask_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 65536)
        return 0;
    _cleanup_free_ char *text = strndup((const char *)data + 1, size - 1);
    require(text);
    switch (data[0] % 4) {
    case 0: form((const char *)data + 1, size - 1); break;
    case 1: names(text); break;
    case 2: challenge(text); break;
    default: masks(text, strlen(text));
    }
    return 0;
}
