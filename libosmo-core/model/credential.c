/* Reading of a credential: one of three shapes, its keys, its limits. */
#include "model/credential.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define NAME_MAX_LEN 128
#define PROFILE_MAX 1024

static const char *const kind_names[CREDENTIAL_KINDS] = { "GENERIC", "REGISTRY", "DATA" };

const char *credential_kind_name(enum credential_kind kind) { return kind_names[kind]; }

int credential_kind_parse(const char *name) {
    for (int i = 0; i < CREDENTIAL_KINDS; i++)
        if (str_eq(name, kind_names[i]))
            return i;
    return -1;
}

bool credential_name_valid(const char *name) {
    size_t n = name ? strlen(name) : 0;
    if (n < 1 || n > NAME_MAX_LEN || !isalpha((unsigned char)name[0]) || !isalnum((unsigned char)name[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
            return false;
    return true;
}

void credential_clear(struct credential *c) {
    free(c->profile);
    json_free_secret(c->pairs);
    *c = (struct credential){ 0 };
}

/* ---- the form ---- */

static int bad_form(struct credential_fault *f, const char *in, const char *field, const char *type, const char *message) {
    snprintf(f->field, sizeof f->field, "%.40s%s%.80s", in, field ? "." : "", field ? field : "");
    f->type = type;
    snprintf(f->message, sizeof f->message, "%s", message);
    return OSMO_EINVAL;
}

/* Copies the text member `key`. */
static int take(struct credential *c, const json_t *from, const char *in, const char *key, const char *fallback,
                struct credential_fault *f) {
    const json_t *v = json_get(from, key);
    if (!v && !fallback && json_has(from, key))
        return bad_form(f, in, key, "string_type", "Input should be a valid string");
    if (!v && !fallback)
        return bad_form(f, in, key, "missing", "Field required");
    const char *text = v ? json_str(v) : fallback;
    if (!text)
        return bad_form(f, in, key, "string_type", "Input should be a valid string without NUL characters");
    return json_set_str(c->pairs, key, text);
}

static int take_optional(struct credential *c, const json_t *from, const char *in, const char *key,
                         struct credential_fault *f) {
    return json_get(from, key) ? take(c, from, in, key, NULL, f) : 0;
}

/* ---- the three ---- */

static int read_registry(const json_t *from, struct credential *c, struct credential_fault *f, osmo_error_t *err) {
    static const char in[] = "registry_credential";
    static const char *const known[] = { "registry", "username", "auth" };
    for (json_iter_t it = json_iter(from); json_iter_next(&it);) {
        bool found = false;
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            found |= str_eq(it.key, known[i]);
        if (!found)
            return bad_form(f, in, it.key, "extra_forbidden", "Extra inputs are not permitted");
    }
    const json_t *registry = json_get(from, "registry");
    if (registry && !json_str(registry))
        return bad_form(f, in, "registry", "string_type", "Input should be a valid string");
    int rc = take(c, from, in, "username", "", f);
    if (rc >= 0)
        rc = take(c, from, in, "auth", NULL, f);
    if (rc < 0)
        return rc;
    c->profile = registry_scope(registry ? json_str(registry) : "");
    if (!c->profile)
        return OSMO_ENOMEM;
    if (strchr(c->profile, '@')) /* not told again: it is half a login */
        return osmo_error_set(err, OSMO_ECREDENTIAL, "the registry holds a login: give it as username and auth");
    if (strlen(c->profile) > PROFILE_MAX || !registry_scope_valid(c->profile))
        return osmo_error_set(err, OSMO_ECREDENTIAL, "registry '%.200s' is none: it is HOST[:PORT][/PATH], such as nvcr.io or "
                              "ghcr.io/team", c->profile);
    return 0;
}

static int read_data(const json_t *from, struct credential *c, struct credential_fault *f, osmo_error_t *err) {
    static const char in[] = "data_credential";
    static const char *const optional[] = { "region", "override_url", "addressing_style" };
    const char *endpoint = json_get_str(from, "endpoint"), *why = NULL, *style;
    if (!endpoint)
        return bad_form(f, in, "endpoint", json_has(from, "endpoint") ? "string_type" : "missing",
                        json_has(from, "endpoint") ? "Input should be a valid string" : "Field required");
    int rc = take(c, from, in, "access_key_id", NULL, f);
    if (rc >= 0)
        rc = take(c, from, in, "access_key", NULL, f);
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(optional); i++)
        rc = take_optional(c, from, in, optional[i], f);
    if (rc < 0)
        return rc;
    style = json_get_str(c->pairs, "addressing_style");
    if (style && !str_eq(style, "virtual") && !str_eq(style, "path") && !str_eq(style, "auto"))
        return bad_form(f, in, "addressing_style", "literal_error", "Input should be 'virtual', 'path' or 'auto'");
    if (strchr(endpoint, '@'))
        return osmo_error_set(err, OSMO_ECREDENTIAL, "the endpoint holds a login: give it as access_key_id and access_key");
    if (strlen(endpoint) > PROFILE_MAX || !data_endpoint_valid(endpoint, &why))
        return osmo_error_set(err, OSMO_ECREDENTIAL, "endpoint '%.200s' %s", endpoint, why ? why : "is too long");
    c->profile = str_dup(endpoint);
    for (size_t n = c->profile ? strlen(c->profile) : 0; n && c->profile[n - 1] == '/'; n--)
        c->profile[n - 1] = '\0';
    return c->profile ? 0 : OSMO_ENOMEM;
}

/* Keys become names of files and of members of a Secret. */
static bool key_valid(const char *key) {
    size_t n = strlen(key);
    return n >= 1 && n <= 200 && strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._") == n &&
           !str_eq(key, ".") && !str_eq(key, "..");
}

static int read_generic(const json_t *from, struct credential *c, struct credential_fault *f, osmo_error_t *err) {
    static const char in[] = "generic_credential";
    const json_t *pairs = json_get(from, "credential");
    if (!json_has(from, "credential"))
        return bad_form(f, in, "credential", "missing", "Field required");
    if (json_kind(pairs) != JSON_OBJECT)
        return bad_form(f, in, "credential", "dict_type", "Input should be a valid dictionary");
    if (json_len(pairs) > CREDENTIAL_PAIRS_MAX)
        return osmo_error_set(err, OSMO_EUSER, "a credential has at most %d keys, this one has %zu: store several",
                              CREDENTIAL_PAIRS_MAX, json_len(pairs));
    int rc = 0;
    for (json_iter_t it = json_iter(pairs); rc >= 0 && json_iter_next(&it);) {
        if (!key_valid(it.key))
            return osmo_error_set(err, OSMO_EUSER, "key '%.80s' of the credential cannot be used: a key is 1 to 200 letters, "
                                  "digits and -._", it.key);
        if (!json_str(it.value))
            return bad_form(f, in, it.key, "string_type", "Input should be a valid string without NUL characters");
        rc = json_set_str(c->pairs, it.key, json_str(it.value));
    }
    return rc;
}

static int check_size(const struct credential *c, osmo_error_t *err) {
    size_t total = 0;
    for (json_iter_t it = json_iter(c->pairs); json_iter_next(&it);) {
        size_t len = json_str_len(it.value);
        total += len;
        if (len > CREDENTIAL_VALUE_MAX)
            return osmo_error_set(err, OSMO_EUSER, "key '%.80s' of the credential holds %zu bytes, at most %u are kept", it.key, len,
                                  CREDENTIAL_VALUE_MAX);
    }
    return total <= CREDENTIAL_TOTAL_MAX ? 0 : osmo_error_set(err, OSMO_EUSER, "the credential holds %zu bytes, at most %u are kept",
                                                              total, CREDENTIAL_TOTAL_MAX);
}

int credential_read(const json_t *body, struct credential *out, struct credential_fault *fault, osmo_error_t *err) {
    static const struct {
        const char *member;
        enum credential_kind kind;
        int (*read)(const json_t *, struct credential *, struct credential_fault *, osmo_error_t *);
    } shapes[] = {
        { "registry_credential", CREDENTIAL_REGISTRY, read_registry },
        { "data_credential", CREDENTIAL_DATA, read_data },
        { "generic_credential", CREDENTIAL_GENERIC, read_generic },
    };
    size_t given = 0, shape = 0;
    *out = (struct credential){ 0 };
    *fault = (struct credential_fault){ 0 };
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        const json_t *v = json_get(body, shapes[i].member);
        if (v && json_kind(v) != JSON_OBJECT)
            return bad_form(fault, shapes[i].member, NULL, "model_attributes_type", "Input should be a JSON object");
        shape = v ? i : shape;
        given += v != NULL;
    }
    if (given != 1)
        return osmo_error_set(err, OSMO_EUSER, "%s given: exactly one of registry_credential, data_credential and "
                              "generic_credential is needed", given ? "several credentials are" : "no credential is");
    out->kind = shapes[shape].kind;
    out->pairs = json_object();
    int rc = out->pairs ? shapes[shape].read(json_get(body, shapes[shape].member), out, fault, err) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = check_size(out, err);
    if (rc < 0)
        credential_clear(out);
    return rc == OSMO_ENOMEM ? osmo_error_set(err, rc, "out of memory") : rc;
}
