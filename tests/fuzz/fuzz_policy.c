/* Fuzz entry: roles and what they permit. The first line is a resource, each further line a role document. What is read is written and
 * read as the same; a role that permits nothing changes no decision, one that denies everything leaves nothing allowed, and without
 * roles nothing is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "model/policy.h"

#define ROLES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct role nothing, denial;

static bool read_role(const char *text, size_t len, struct role *out) {
    json_t *document = NULL;
    bool good = json_parse(text, len, &document, NULL) >= 0 && role_read(document, out, NULL) >= 0;
    json_free(document);
    return good;
}

static void prepare(void) {
    static const char none[] = "{\"name\":\"none\",\"description\":\"\",\"policies\":[]}";
    static const char all[] = "{\"name\":\"deny\",\"description\":\"\",\"policies\":"
                              "[{\"effect\":\"Deny\",\"actions\":\"*:*\",\"resources\":\"*\"}]}";
    if (!nothing.name && (!read_role(none, sizeof none - 1, &nothing) || !read_role(all, sizeof all - 1, &denial)))
        abort();
}

/* Written, read, written: the same. */
static void carry(const struct role *r) {
    json_t *first = role_json(r), *second = NULL;
    struct role again = { 0 };
    if (!first || role_read(first, &again, NULL) < 0 || !(second = role_json(&again)) || !json_equal(first, second))
        abort();
    role_clear(&again);
    json_free(first);
    json_free(second);
}

static grants_t *grants(const struct role *const *roles, size_t n) {
    grants_t *g = NULL;
    return grants_new(roles, n, &g, NULL) < 0 ? NULL : g;
}

static void decide(const struct role *roles, size_t n, const char *resource) {
    const struct role *list[ROLES + 1];
    for (size_t i = 0; i < n; i++)
        list[i] = &roles[i];
    grants_t *plain = grants(list, n), *empty = grants(list, 0);
    list[n] = &nothing;
    grants_t *more = grants(list, n + 1);
    list[n] = &denial;
    grants_t *denied = grants(list, n + 1);
    for (int a = ACTION_NONE; plain && empty && more && denied && a < ACTION_COUNT; a++) {
        const char *const on[] = { resource, NULL, "pool/default", "*" };
        for (size_t i = 0; i < sizeof on / sizeof on[0]; i++) {
            enum policy_verdict v = grants_decide(plain, (enum action)a, on[i]);
            if (v != grants_decide(more, (enum action)a, on[i]) || grants_decide(denied, (enum action)a, on[i]) == VERDICT_ALLOW ||
                grants_decide(empty, (enum action)a, on[i]) != VERDICT_NONE)
                abort();
        }
        if (grants_allow_every(plain, (enum action)a, "pool/") && !grants_allow(plain, (enum action)a, "pool/default"))
            abort();
        if (grants_allow(plain, (enum action)a, "pool/default") && !grants_allow_some(plain, (enum action)a, "pool/"))
            abort();
    }
    grants_free(plain);
    grants_free(empty);
    grants_free(more);
    grants_free(denied);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct role roles[ROLES];
    size_t n = 0;
    char *text = malloc(size + 1);
    prepare();
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *nl = strchr(text, '\n');
    if (nl)
        *nl = '\0';
    for (char *line = nl ? nl + 1 : NULL; line && *line && n < ROLES;) {
        char *end = strchr(line, '\n');
        memset(&roles[n], 0, sizeof roles[n]);
        if (read_role(line, end ? (size_t)(end - line) : strlen(line), &roles[n]))
            carry(&roles[n++]);
        line = end ? end + 1 : NULL;
    }
    decide(roles, n, text);
    for (size_t i = 0; i < n; i++)
        role_clear(&roles[i]);
    free(text);
    return 0;
}
