/* The forms of credentials, the scopes of registries and the endpoints of storage, as tables. */
#include "model/credential.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "check.h"

static json_t *parse(const char *text) {
    json_t *v = NULL;
    CHECK_INT(json_parse(text, strlen(text), &v, NULL), 0);
    return v;
}

/* ---- forms ---- */

static void forms(void) {
    static const struct {
        const char *body;
        int rc;
        const char *text;    /* profile, or part of the error, or "field type" of a fault */
        const char *pairs;
    } cases[] = {
        { "{\"registry_credential\":{\"registry\":\"https://NVCR.io/\",\"username\":\"$oauthtoken\",\"auth\":\"k\"}}", 0, "nvcr.io",
          "{\"username\":\"$oauthtoken\",\"auth\":\"k\"}" },
        { "{\"registry_credential\":{\"auth\":\"k\"},\"data_credential\":null}", 0, "registry-1.docker.io",
          "{\"username\":\"\",\"auth\":\"k\"}" },
        { "{\"registry_credential\":{\"registry\":\"ghcr.io/team\",\"auth\":\"k\"}}", 0, "ghcr.io/team",
          "{\"username\":\"\",\"auth\":\"k\"}" },
        { "{\"registry_credential\":{\"registry\":\"nvcr.io\"}}", OSMO_EINVAL, "registry_credential.auth missing", NULL },
        { "{\"registry_credential\":{\"auth\":\"k\",\"password\":\"k\"}}", OSMO_EINVAL,
          "registry_credential.password extra_forbidden", NULL },
        { "{\"registry_credential\":{\"auth\":5}}", OSMO_EINVAL, "registry_credential.auth string_type", NULL },
        { "{\"registry_credential\":{\"auth\":null}}", OSMO_EINVAL, "registry_credential.auth string_type", NULL },
        { "{\"registry_credential\":{\"auth\":\"a\\u0000b\"}}", OSMO_EINVAL, "registry_credential.auth string_type", NULL },
        { "{\"registry_credential\":{\"auth\":\"k\",\"registry\":\"a b\"}}", OSMO_ECREDENTIAL, "registry 'a b' is none", NULL },
        { "{\"registry_credential\":{\"auth\":\"k\",\"registry\":\"ghcr.io/../x\"}}", OSMO_ECREDENTIAL, "is none", NULL },
        { "{\"registry_credential\":{\"auth\":\"k\",\"registry\":\"https://me:pw@ghcr.io\"}}", OSMO_ECREDENTIAL, "holds a login: ",
          NULL },
        { "{\"data_credential\":{\"endpoint\":\"s3://k:s@lab\",\"access_key_id\":\"i\",\"access_key\":\"k\"}}", OSMO_ECREDENTIAL,
          "holds a login: ", NULL },
        { "{\"registry_credential\":[]}", OSMO_EINVAL, "registry_credential model_attributes_type", NULL },
        { "{\"data_credential\":{\"endpoint\":\"s3://lab//\",\"access_key_id\":\"i\",\"access_key\":\"k\",\"region\":\"r\",\"x\":1}}", 0,
          "s3://lab", "{\"access_key_id\":\"i\",\"access_key\":\"k\",\"region\":\"r\"}" },
        { "{\"data_credential\":{\"endpoint\":\"swift://h/acc\",\"access_key_id\":\"i\",\"access_key\":\"k\",\"override_url\":\"u\","
          "\"addressing_style\":\"path\"}}", 0, "swift://h/acc",
          "{\"access_key_id\":\"i\",\"access_key\":\"k\",\"override_url\":\"u\",\"addressing_style\":\"path\"}" },
        { "{\"data_credential\":{\"endpoint\":\"https://x/y\",\"access_key_id\":\"i\",\"access_key\":\"k\"}}", OSMO_ECREDENTIAL,
          "override_url", NULL },
        { "{\"data_credential\":{\"endpoint\":\"tos://h\",\"access_key_id\":\"i\",\"access_key\":\"k\"}}", OSMO_ECREDENTIAL, "tos://h",
          NULL },
        { "{\"data_credential\":{\"endpoint\":\"s3://lab\",\"access_key_id\":\"i\"}}", OSMO_EINVAL, "data_credential.access_key missing",
          NULL },
        { "{\"data_credential\":{\"access_key\":\"i\"}}", OSMO_EINVAL, "data_credential.endpoint missing", NULL },
        { "{\"data_credential\":{\"endpoint\":\"s3://a\",\"access_key_id\":\"i\",\"access_key\":\"k\",\"addressing_style\":\"odd\"}}",
          OSMO_EINVAL, "data_credential.addressing_style literal_error", NULL },
        { "{\"generic_credential\":{\"credential\":{\"user\":\"u\",\"pass.word\":\"\"}}}", 0, NULL, "{\"user\":\"u\",\"pass.word\":\"\"}" },
        { "{\"generic_credential\":{\"credential\":{}}}", 0, NULL, "{}" },
        { "{\"generic_credential\":{\"credential\":{\"a/b\":\"u\"}}}", OSMO_EUSER, "key 'a/b'", NULL },
        { "{\"generic_credential\":{\"credential\":{\"..\":\"u\"}}}", OSMO_EUSER, "key '..'", NULL },
        { "{\"generic_credential\":{\"credential\":{\"a\":1}}}", OSMO_EINVAL, "generic_credential.a string_type", NULL },
        { "{\"generic_credential\":{\"credential\":\"x\"}}", OSMO_EINVAL, "generic_credential.credential dict_type", NULL },
        { "{\"generic_credential\":{}}", OSMO_EINVAL, "generic_credential.credential missing", NULL },
        { "{}", OSMO_EUSER, "no credential is given", NULL },
        { "{\"generic_credential\":{\"credential\":{}},\"registry_credential\":{\"auth\":\"k\"}}", OSMO_EUSER,
          "several credentials", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *body = parse(cases[i].body);
        _cleanup_(credential_clear) struct credential c;
        struct credential_fault fault;
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = credential_read(body, &c, &fault, &err);
        if (!CHECK_INT(rc, cases[i].rc))
            fprintf(stderr, "case %zu: %s %s\n", i, err.text, fault.message);
        if (rc == OSMO_EINVAL) {
            _cleanup_free_ char *got = str_printf("%s %s", fault.field, fault.type);
            CHECK_STR(got, cases[i].text);
        } else if (rc < 0) {
            CHECK_CONTAINS(err.text, cases[i].text);
            CHECK(!c.pairs && !c.profile);
        } else {
            _cleanup_free_ char *pairs = json_to_text(c.pairs);
            CHECK_STR(pairs, cases[i].pairs);
            CHECK_STR(c.profile, cases[i].text);
        }
    }
}

static void limits(void) {
    json_t *body = json_object(), *generic = json_object(), *pairs = json_object();
    json_set(body, "generic_credential", generic);
    json_set(generic, "credential", pairs);
    char key[16];
    _cleanup_(credential_clear) struct credential c;
    struct credential_fault fault;
    osmo_error_t err = OSMO_ERROR_INIT;
    for (int i = 0; i < CREDENTIAL_PAIRS_MAX; i++) {
        snprintf(key, sizeof key, "k%d", i);
        json_set_str(pairs, key, "v");
    }
    CHECK_OK(credential_read(body, &c, &fault, &err), &err);
    credential_clear(&c);
    json_set_str(pairs, "more", "v");
    CHECK_INT(credential_read(body, &c, &fault, &err), OSMO_EUSER);
    CHECK_CONTAINS(err.text, "at most 256 keys");
    json_del(pairs, "more");
    _cleanup_free_ char *large = malloc(CREDENTIAL_VALUE_MAX + 2);
    REQUIRE(large);
    memset(large, 'q', CREDENTIAL_VALUE_MAX + 1);
    large[CREDENTIAL_VALUE_MAX + 1] = '\0';
    json_set_str(pairs, "k0", large);
    CHECK_INT(credential_read(body, &c, &fault, &err), OSMO_EUSER);
    CHECK_CONTAINS(err.text, "key 'k0'");
    CHECK(!strstr(err.text, "qqq"));
    large[CREDENTIAL_VALUE_MAX] = '\0';
    json_set_str(pairs, "k0", large);
    CHECK_OK(credential_read(body, &c, &fault, &err), &err);
    credential_clear(&c);
    json_set_str(pairs, "k1", large);
    CHECK_INT(credential_read(body, &c, &fault, &err), OSMO_EUSER);
    json_free(body);
}

static void names(void) {
    static const struct { const char *name; bool valid; } cases[] = {
        { "ngc", true }, { "a", true }, { "My-key_2", true }, { "1a", false }, { "a-", false }, { "a.b", false }, { "", false },
        { "_a", false }, { "a b", false }, { "a/b", false },
    };
    char longest[131];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        CHECK_INT(credential_name_valid(cases[i].name), cases[i].valid);
    memset(longest, 'a', 129);
    longest[129] = '\0';
    CHECK(!credential_name_valid(longest));
    longest[128] = '\0';
    CHECK(credential_name_valid(longest));
    CHECK(!credential_name_valid(NULL));
    for (int k = 0; k < CREDENTIAL_KINDS; k++)
        CHECK_INT(credential_kind_parse(credential_kind_name((enum credential_kind)k)), k);
    CHECK_INT(credential_kind_parse("generic"), -1);
    CHECK_INT(credential_kind_parse(NULL), -1);
}

/* ---- registries ---- */

static void scopes(void) {
    static const struct { const char *given, *scope; bool valid; } cases[] = {
        { "", "registry-1.docker.io", true },
        { "  docker.io ", "registry-1.docker.io", true },
        { "https://index.docker.io/v1/", "registry-1.docker.io", true },
        { "ghcr.io/v1", "ghcr.io/v1", true },
        { "docker.io/team", "registry-1.docker.io/team", true },
        { "nvcr.io", "nvcr.io", true },
        { "https://nvcr.io:443/org//", "nvcr.io/org", true },
        { "http://localhost:5000", "localhost:5000", true },
        { "GHCR.io/team/sub", "ghcr.io/team/sub", true },
        { "ghcr.io/Team", "ghcr.io/Team", false },
        { "a b", "a b", false },
        { "host:port", "host:port", false },
        { "host:443:443", "host:443:443", false },
        { "host:123456", "host:123456", false },
        { "host/", "host", true },
        { "host//x", "host//x", false },
        { "user@host", "user@host", false },
        { "-host", "-host", false },
        { "host/..", "host/..", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *scope = registry_scope(cases[i].given);
        CHECK_STR(scope, cases[i].scope);
        CHECK_INT(registry_scope_valid(scope), cases[i].valid);
    }
}

static void images(void) {
    static const struct { const char *image, *scope, *host, *repository, *reference; bool pinned; } cases[] = {
        { "ubuntu", "registry-1.docker.io/library/ubuntu", "registry-1.docker.io", "library/ubuntu", "latest", false },
        { "ubuntu:24.04", "registry-1.docker.io/library/ubuntu", "registry-1.docker.io", "library/ubuntu", "24.04", false },
        { "team/tool:1", "registry-1.docker.io/team/tool", "registry-1.docker.io", "team/tool", "1", false },
        { "docker.io/ubuntu", "registry-1.docker.io/ubuntu", "registry-1.docker.io", "library/ubuntu", "latest", false },
        { "nvcr.io/nvidia/cuda:12@sha256:ab", "nvcr.io/nvidia/cuda", "nvcr.io", "nvidia/cuda", "sha256:ab", true },
        { "localhost:5000/a/b", "localhost:5000/a/b", "localhost:5000", "a/b", "latest", false },
        { "localhost/a", "localhost/a", "localhost", "a", "latest", false },
        { "host.example:443/a:t", "host.example/a", "host.example", "a", "t", false },
        { "a/b@sha256:cd", "registry-1.docker.io/a/b", "registry-1.docker.io", "a/b", "sha256:cd", true },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *scope = registry_image_scope(cases[i].image);
        _cleanup_(image_reference_clear) struct image_reference r;
        CHECK_STR(scope, cases[i].scope);
        CHECK_INT(image_reference_parse(cases[i].image, &r), 0);
        CHECK_STR(r.host, cases[i].host);
        CHECK_STR(r.repository, cases[i].repository);
        CHECK_STR(r.reference, cases[i].reference);
        CHECK_INT(r.pinned, cases[i].pinned);
    }
    struct image_reference r;
    CHECK_INT(image_reference_parse("", &r), OSMO_EINVAL);
    image_reference_clear(&r);
    CHECK_INT(image_reference_parse("host.x/", &r), OSMO_EINVAL);
    image_reference_clear(&r);
}

static void matching(void) {
    static const char *const kept[] = { "nvcr.io", "nvcr.io/org", NULL, "nvcr.io/org/team", "registry-1.docker.io", "ghcr.io/t" };
    static const struct { const char *image; int best; } cases[] = {
        { "nvcr.io/org/team/x:1", 3 }, { "nvcr.io/org/teams/x", 1 }, { "nvcr.io/other/x", 0 }, { "nvcr.iox/org", -1 },
        { "ubuntu", 4 }, { "ghcr.io/t/x", 5 }, { "ghcr.io/tt/x", -1 }, { "quay.io/x/y", -1 }, { "nvcr.io/org@sha256:aa", 1 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *scope = registry_image_scope(cases[i].image);
        CHECK_INT(registry_best_scope(kept, ARRAY_SIZE(kept), scope), cases[i].best);
    }
    CHECK(!registry_scope_covers("", "nvcr.io/x"));
}

static void challenges(void) {
    static const struct { const char *header, *realm, *service, *scope; } cases[] = {
        { "Bearer realm=\"https://auth.example/token\",service=\"registry.example\"", "https://auth.example/token",
          "registry.example", NULL },
        { "bearer service=r, scope=\"repository:a/b:pull,push\" ,realm=\"https://x/?a=\\\"b\"", "https://x/?a=\"b", "r",
          "repository:a/b:pull,push" },
        { "Bearer realm=https://x", "https://x", NULL, NULL },
        { "Bearer realm=\"first\",realm=\"second\"", "first", NULL, NULL },
        { "Basic realm=\"x\"", NULL, NULL, NULL },
        { "Bearer service=\"x\"", NULL, NULL, NULL },
        { "Bearer realm=\"open", NULL, NULL, NULL },
        { "Bearer", NULL, NULL, NULL },
        { "Bearer ,,,=", NULL, NULL, NULL },
        { "Bearer realm=\"\"", NULL, NULL, NULL },
        { "", NULL, NULL, NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(bearer_challenge_clear) struct bearer_challenge c;
        CHECK_INT(bearer_challenge_parse(cases[i].header, &c), cases[i].realm ? 0 : OSMO_EINVAL);
        CHECK_STR(c.realm, cases[i].realm);
        CHECK_STR(c.service, cases[i].service);
        CHECK_STR(c.scope, cases[i].scope);
    }
}

/* ---- storage ---- */

static void endpoints(void) {
    static const struct { const char *endpoint; bool valid; } cases[] = {
        { "s3://a", true },       { "s3://a/", true },        { "s3://a/b/c", true },  { "s3://", false },
        { "s3:///a", false },     { "s3://a//b", false },     { "s3://a,b", false },   { "gs://a/b*", false },
        { "gs://a", true },       { "azure://acc", true },    { "tos://h", false },    { "tos://h/b", true },
        { "swift://h", false },   { "swift://h/a/c", true },  { "http://a/b", false }, { "HTTPS://a/b", false },
        { "file:///a", false },   { "", false },              { "s3", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *why = NULL;
        if (!CHECK_INT(data_endpoint_valid(cases[i].endpoint, &why), cases[i].valid))
            fprintf(stderr, "%s\n", cases[i].endpoint);
        CHECK(why);
    }
    static const struct { const char *profile, *url; bool covers, needed; } urls[] = {
        { "s3://a", "s3://a/b/c", true, false },      { "s3://a", "s3://ab/c", false, false },
        { "s3://a/b", "s3://a/b/c", false, false },   { "gs://a", "gs://a", true, true },
        { "tos://h/b", "tos://h/b/x", true, true },   { "tos://h/b", "tos://h/bb/x", false, true },
        { "swift://h/a", "swift://h/a/c", true, true }, { "azure://acc", "azure://acc/c/x", true, false },
        { "s3://a", "http://a/b", false, false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        CHECK_INT(data_profile_covers(urls[i].profile, urls[i].url), urls[i].covers);
        CHECK_INT(data_needs_credential(urls[i].url), urls[i].needed);
    }
}

static const struct check_test tests[] = {
    { "three forms", forms },         { "limits", limits },         { "names", names },
    { "scopes of registries", scopes }, { "images", images },       { "the most specific scope", matching },
    { "challenges", challenges },     { "endpoints", endpoints },
};
TEST_MAIN("credential", tests)
