/* Credentials in use: what a submission checks of them, what the pods of its groups are given, and images against a registry on this
 * machine, for backends that pull images. On both databases where the store matters. */
#include "engine_fixture.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/file.h"
#include "engine/credentials.h"

#define SECRET "v4lue-0f-a-credential"
#define DIGEST "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* ---- small things ---- */

static void store_credential(const char *user, const char *name, const char *body) {
    _cleanup_(credential_clear) struct credential c;
    _cleanup_json_ json_t *v = NULL;
    struct credential_fault fault;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(json_parse(body, strlen(body), &v, &err), &err);
    CHECK_OK(credential_read(v, &c, &fault, &err), &err);
    CHECK_OK(credentials_store(e, user, name, &c, &err), &err);
}

static int try_text(const char *text, struct submit_result *out, osmo_error_t *err) {
    struct submit_request rq = { .user = "alice", .pool = "default", .priority = "NORMAL", .text = text, .text_len = strlen(text) };
    char *id = NULL;
    int rc = engine_submit(e, &rq, out, &id, err);
    free(id);
    return rc;
}

/* One task with these members beside its name and command. */
static int try_task(const char *members, struct submit_result *out, osmo_error_t *err) {
    _cleanup_free_ char *text = str_printf("workflow:\n  name: use\n  tasks:\n  - {name: t, command: [a], %s}\n", members);
    return try_text(text, out, err);
}

static void expect(const char *members, int code, const char *words) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct submit_result out;
    int rc = try_task(members, &out, &err);
    if (!CHECK_INT(rc, code))
        fprintf(stderr, "%s: %s\n", members, err.text);
    if (words)
        CHECK_CONTAINS(err.text, words);
    CHECK(!strstr(err.text, SECRET));
    submit_result_clear(&out);
}

/* Is the secret in any file below the directory? */
static bool leaks(const char *needle) {
    char command[400];
    snprintf(command, sizeof command, "grep -raq -e '%s' %s", needle, test_dir);
    return system(command) == 0;
}

/* ---- what has to be there ---- */

static void checks(void) {
    REQUIRE(start_with("workflow:\n  credential_config: {disable_data_validation: [swift]}\n"));
    expect("image: u, credentials: {wandb: /x}", OSMO_ECREDENTIAL, "needs the credential 'wandb'");
    store_credential("bob", "wandb", "{\"generic_credential\":{\"credential\":{\"token\":\"b\"}}}");
    expect("image: u, credentials: {wandb: /x}", OSMO_ECREDENTIAL, "needs the credential 'wandb'");
    store_credential("alice", "wandb", "{\"generic_credential\":{\"credential\":{\"token\":\"" SECRET "\"}}}");
    expect("image: u, credentials: {wandb: /x}", 0, NULL);
    expect("image: u, credentials: {wandb: {A: token}}", 0, NULL);
    expect("image: u, credentials: {wandb: {A: password}}", OSMO_ECREDENTIAL, "the key 'password' of the credential 'wandb'");
    expect("image: u, credentials: {wandb: {A: token}, other: /y}", OSMO_ECREDENTIAL, "'other'");
    expect("image: u, inputs: [{url: 'gs://lab/x'}]", OSMO_ECREDENTIAL, "no data credential for gs://lab: ");
    store_credential("alice", "lab",
                     "{\"data_credential\":{\"endpoint\":\"gs://lab\",\"access_key_id\":\"i\",\"access_key\":\"" SECRET "\","
                     "\"override_url\":\"http://not.asked.invalid\"}}");
    expect("image: u, inputs: [{url: 'gs://lab/x'}]", 0, NULL);
    expect("image: u, outputs: [{url: 'gs://lab2/x'}]", OSMO_ECREDENTIAL, "gs://lab2");
    expect("image: u, outputs: [{url: 's3://anybody/x'}, {url: 'swift://h/a/c'}]", 0, NULL);
    /* any kind can be named; its keys are those that are kept */
    expect("image: u, credentials: {lab: {KEY: access_key}}", 0, NULL);
    expect("image: u, credentials: {lab: {KEY: endpoint}}", OSMO_ECREDENTIAL, "'endpoint'");
    osmo_error_t err = OSMO_ERROR_INIT;
    struct credential_row row = { 0 };
    CHECK_OK(credentials_remove(e, "alice", "wandb", &row, &err), &err);
    CHECK_STR(row.type, "GENERIC");
    CHECK(!row.payload);
    credential_row_clear(&row);
    expect("image: u, credentials: {wandb: /x}", OSMO_ECREDENTIAL, "'wandb'");
    CHECK_INT(credentials_remove(e, "alice", "wandb", &row, &err), OSMO_EUSER);
    if (!fixture_is_pgsql())
        CHECK(!leaks(SECRET));
    stop(true);
}

/* ---- what pods get ---- */

static const json_t *object_named(const json_t *objects, const char *suffix) {
    for (size_t i = 0; i < json_len(objects); i++) {
        const char *name = json_get_str(json_get(json_at(objects, i), "metadata"), "name");
        if (name && str_ends(name, suffix))
            return json_at(objects, i);
    }
    return NULL;
}

/* The file of this name in any secret, decoded. */
static char *file_of(const json_t *objects, const char *name) {
    for (size_t i = 0; i < json_len(objects); i++) {
        const char *text = json_get_str(json_get(json_at(objects, i), "data"), name);
        buf_t out = BUF_INIT(1u << 20);
        if (text && crypto_base64_decode(text, strlen(text), &out, NULL) >= 0)
            return buf_steal(&out, NULL);
        buf_free(&out);
    }
    return NULL;
}

static void given(void) {
    REQUIRE(start_with("workflow:\n  backend_images: {credential: {registry: nvcr.io, username: s, auth: sites}}\n"));
    store_credential("alice", "api", "{\"generic_credential\":{\"credential\":{\"user\":\"u\",\"pass\":\"" SECRET "\"}}}");
    store_credential("alice", "unused", "{\"generic_credential\":{\"credential\":{\"other\":\"nobody-asks-for-it\"}}}");
    store_credential("alice", "lab",
                     "{\"data_credential\":{\"endpoint\":\"s3://lab\",\"access_key_id\":\"i\",\"access_key\":\"data-key\"}}");
    store_credential("alice", "team", "{\"registry_credential\":{\"registry\":\"ghcr.io/team\",\"username\":\"me\",\"auth\":\"pull\"}}");
    store_credential("alice", "quay", "{\"registry_credential\":{\"registry\":\"quay.io\",\"auth\":\"never\"}}");
    backend_connect("jobs");
    REQUIRE(submit("workflow:\n  name: use\n  tasks:\n  - name: t\n    image: ghcr.io/team/x:1\n    command: [a]\n"
                   "    credentials: {api: {API_PASS: pass}, lab: /keys}\n"));
    _cleanup_json_ json_t *sent = net_take(WORKER, 1, NULL);
    const json_t *objects = json_get(sent, "k8s_resources");
    CHECK_STR(json_get_str(json_get(object_named(objects, "-user-secrets"), "stringData"), "api.pass"), SECRET);
    CHECK_INT(json_len(json_get(object_named(objects, "-user-secrets"), "stringData")), 1);
    _cleanup_free_ char *key = file_of(objects, "access_key"), *config = file_of(objects, "user_config.yaml"),
                        *auths = NULL, *own = NULL, *whole = json_to_text(sent);
    CHECK_STR(key, "data-key");
    CHECK_CONTAINS(config, "s3://lab:");
    CHECK_CONTAINS(config, "access_key: data-key");
    const char *const pulls[] = { "-user", "-osmo" };
    for (size_t i = 0; i < ARRAY_SIZE(pulls); i++) {
        const char *text = json_get_str(json_get(object_named(objects, pulls[i]), "data"), ".dockerconfigjson");
        buf_t out = BUF_INIT(1u << 20);
        CHECK(text && crypto_base64_decode(text, strlen(text), &out, NULL) >= 0);
        *(i ? &own : &auths) = buf_steal(&out, NULL);
    }
    CHECK_STR(auths, "{\"auths\": {\"ghcr.io/team\": {\"auth\": \"bWU6cHVsbA==\"}}}");
    CHECK_STR(own, "{\"auths\": {\"nvcr.io\": {\"auth\": \"czpzaXRlcw==\"}}}");
    CHECK(!strstr(whole, "nobody-asks-for-it") && !strstr(whole, "never"));
    answer(sent, "SUCCESS");
    if (!fixture_is_pgsql()) {
        CHECK(!leaks(SECRET));
        CHECK(!leaks("data-key"));
    }
    stop(true);
}

/* Where the service keeps task data by a login of its own. */
static void of_the_site(void) {
    REQUIRE(start_with("workflow:\n  workflow_data:\n"
                       "    credential: {endpoint: 's3://site/data', access_key_id: id, access_key: site-key,\n"
                       "                 region: r, override_url: null, addressing_style: path}\n"));
    backend_connect("jobs");
    REQUIRE(submit("workflow:\n  name: use\n  tasks:\n  - {name: t, image: u, command: [a]}\n"));
    _cleanup_json_ json_t *sent = net_take(WORKER, 1, NULL);
    _cleanup_free_ char *config = file_of(json_get(sent, "k8s_resources"), "service_config.yaml"),
                        *user = file_of(json_get(sent, "k8s_resources"), "user_config.yaml");
    CHECK_STR(config, "auth:\n  data:\n    s3://site:\n      access_key: site-key\n      access_key_id: id\n      addressing_style: path\n"
                      "      endpoint: s3://site/data\n      region: r\n");
    CHECK_STR(user, "auth:\n  data: {}\n");
    answer(sent, "SUCCESS");
    stop(true);
}

/* Gone between the submission and its turn: the group says so. */
static void gone(void) {
    struct credential_row row = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(start_with(NULL));
    store_credential("alice", "api", "{\"generic_credential\":{\"credential\":{\"pass\":\"" SECRET "\"}}}");
    REQUIRE(submit("workflow:\n  name: use\n  tasks:\n  - {name: t, image: u, command: [a], credentials: {api: /x}}\n"));
    CHECK_OK(credentials_remove(e, "alice", "api", &row, &err), &err);
    credential_row_clear(&row);
    backend_connect("jobs");
    CHECK(until(is_finished));
    char *message = NULL;
    CHECK_STR(status_name(workflow_status(&message)), "FAILED_SERVER_ERROR");
    CHECK_CONTAINS(message, "credential 'api'");
    free(message);
    stop(true);
}

/* ---- a registry ---- */

struct registry {
    int fd, port;
    pthread_t thread;
    unsigned heads, tokens; /* read when the submission is over */
};
static struct registry registry;

static void registry_answer(int fd, const char *got) {
    static const char ok[] = "HTTP/1.1 200 OK\r\nDocker-Content-Digest: " DIGEST "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    char text[600];
    const char *say = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    bool token = strstr(got, "Authorization: Bearer good") != NULL;
    registry.heads += !strncmp(got, "HEAD ", 5);
    if (!strncmp(got, "GET /token?service=reg&scope=repository%3Aprivate%2Fx%3Apull", 60)) {
        bool known = strstr(got, "Authorization: Basic bWU6cHVsbA==") != NULL, anonymous = !strstr(got, "Authorization:");
        const char *body = known ? "{\"token\":\"good\"}" : "{\"access_token\":\"anonymous\"}";
        registry.tokens++;
        snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                 known || anonymous ? "200 OK" : "401 No", strlen(body), body);
        say = text;
    } else if (strstr(got, "HEAD /v2/open/x/manifests/") == got || (strstr(got, "HEAD /v2/private/x/manifests/") == got && token)) {
        say = ok;
    } else if (strstr(got, "HEAD /v2/private/x/manifests/") == got) {
        snprintf(text, sizeof text, "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:%d/token\",service=\"reg\"\r\n"
                 "Content-Length: 0\r\nConnection: close\r\n\r\n", registry.port);
        say = text;
    } else if (strstr(got, "HEAD /v2/busy/x/manifests/") == got) {
        say = "HTTP/1.1 503 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    }
    (void)!send(fd, say, strlen(say), MSG_NOSIGNAL);
}

static void *registry_main(void *unused) {
    (void)unused;
    char got[8192];
    for (int fd; (fd = accept(registry.fd, NULL, NULL)) >= 0; close(fd)) {
        size_t len = 0;
        ssize_t n = 1;
        for (got[0] = '\0'; !strstr(got, "\r\n\r\n") && n > 0 && len < sizeof got - 1; got[len] = '\0') {
            n = read(fd, got + len, sizeof got - 1 - len);
            len += n > 0 ? (size_t)n : 0;
        }
        if (n > 0)
            registry_answer(fd, got);
    }
    return NULL;
}

static bool registry_start(void) {
    registry = (struct registry){ 0 };
    registry.fd = check_listen(&registry.port);
    return registry.fd >= 0 && pthread_create(&registry.thread, NULL, registry_main, NULL) == 0;
}

static void registry_stop(void) {
    shutdown(registry.fd, SHUT_RDWR);
    pthread_join(registry.thread, NULL);
    close(registry.fd);
}

static int with_image(const char *repository, struct submit_result *out, osmo_error_t *err) {
    char members[200];
    snprintf(members, sizeof members, "image: '127.0.0.1:%d/%s'", registry.port, repository);
    return try_task(members, out, err);
}

static char *stored_image(const char *id) {
    struct workflow_row w = { 0 };
    char *text = NULL, *image = NULL;
    size_t len;
    if (repo_workflow_get(reader(), id, &w, NULL) >= 0 && repo_file_get(reader(), w.uuid, "workflow_spec.yaml", &text, &len, NULL) >= 0) {
        const char *at = strstr(text, "image: ");
        at += at ? strlen("image: ") + (at[strlen("image: ")] == '"') : 0;
        image = at ? strndup(at, strcspn(at, "\"\n")) : NULL;
    }
    workflow_row_clear(&w);
    free(text);
    return image;
}

static void images(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct submit_result out;
    char want[200];
    REQUIRE(registry_start());
    pulls_images = true;
    REQUIRE(start_with(NULL));
    /* nobody knows yet what the backend is */
    CHECK_OK(with_image("open/x:1", &out, &err), &err);
    CHECK_INT(out.warnings.len, 0);
    submit_result_clear(&out);
    CHECK_INT(registry.heads, 0);
    backend_connect("jobs");
    CHECK_OK(with_image("open/x:1", &out, &err), &err);
    CHECK_INT(out.warnings.len, 0);
    _cleanup_free_ char *image = stored_image(out.name);
    snprintf(want, sizeof want, "127.0.0.1:%d/open/x:1@" DIGEST, registry.port);
    CHECK_STR(image, want);
    submit_result_clear(&out);
    CHECK_INT(registry.heads, 1);
    CHECK_OK(with_image("open/x:1", &out, &err), &err); /* known from a moment ago */
    submit_result_clear(&out);
    CHECK_INT(registry.heads, 1);
    CHECK_INT(with_image("nowhere/x", &out, &err), OSMO_ECREDENTIAL);
    CHECK_CONTAINS(err.text, "/nowhere/x: it is not there (HTTP 404)");
    submit_result_clear(&out);
    CHECK_INT(with_image("private/x", &out, &err), OSMO_ECREDENTIAL);
    CHECK_CONTAINS(err.text, "may not be read without a login (HTTP 401)");
    submit_result_clear(&out);
    snprintf(want, sizeof want, "{\"registry_credential\":{\"registry\":\"127.0.0.1:%d/private\",\"username\":\"me\",\"auth\":\"wrong\"}}",
             registry.port);
    store_credential("alice", "local", want);
    CHECK_INT(with_image("private/x", &out, &err), OSMO_ECREDENTIAL);
    CHECK_CONTAINS(err.text, "refuses the stored login (HTTP 401)");
    CHECK(!strstr(err.text, "wrong"));
    submit_result_clear(&out);
    snprintf(want, sizeof want, "{\"registry_credential\":{\"registry\":\"127.0.0.1:%d/private\",\"username\":\"me\",\"auth\":\"pull\"}}",
             registry.port);
    store_credential("alice", "local", want);
    CHECK_OK(with_image("private/x", &out, &err), &err);
    submit_result_clear(&out);
    CHECK_OK(with_image("private/x@" DIGEST, &out, &err), &err);
    submit_result_clear(&out);
    CHECK_INT(registry.tokens, 4);
    CHECK_OK(with_image("busy/x", &out, &err), &err);
    CHECK_INT(out.warnings.len, 1);
    CHECK_CONTAINS(out.warnings.len ? out.warnings.items[0] : "", "was not asked for image");
    submit_result_clear(&out);
    stop(true);
    pulls_images = false;
    registry_stop();
}

/* Many at once, of which several tasks share some: each is asked for once. */
static void many(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct submit_result out;
    buf_t text = BUF_INIT(1u << 20);
    REQUIRE(registry_start());
    pulls_images = true;
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    buf_puts(&text, "workflow:\n  name: many\n  tasks:\n");
    for (int i = 0; i < 40; i++)
        buf_printf(&text, "  - {name: t%d, image: '127.0.0.1:%d/open/x:%d', command: [a]}\n", i, registry.port, i % 20);
    CHECK_OK(try_text(buf_cstr(&text), &out, &err), &err);
    CHECK_INT(out.warnings.len, 0);
    CHECK_INT(registry.heads, 20);
    submit_result_clear(&out);
    buf_free(&text);
    stop(true);
    pulls_images = false;
    registry_stop();
}

/* A registry that nobody answers for, as the site wants it; and one that the site does not have checked. */
static void unreachable(void) {
    static const struct { const char *config; int code; size_t warnings; const char *words; } cases[] = {
        { "{}", 0, 1, "there is no connection to it" },
        { "{strict_registry_validation: true}", OSMO_ECREDENTIAL, 0, "this site wants every image checked" },
        { "{strict_registry_validation: true, disable_registry_validation: ['http://localhost:1/']}", 0, 0, NULL },
        { "{strict_registry_validation: true, disable_registry_validation: ['localhost:1/b']}", OSMO_ECREDENTIAL, 0, "localhost:1" },
        { "{disable_registry_validation: ['localhost:1/a']}", 0, 0, NULL },
    };
    pulls_images = true;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        struct submit_result out;
        char config[300];
        snprintf(config, sizeof config, "workflow:\n  credential_config: %s\n", cases[i].config);
        REQUIRE(start_with(config));
        backend_connect("jobs");
        CHECK_INT(try_task("image: 'localhost:1/a/x'", &out, &err), cases[i].code);
        CHECK_INT(out.warnings.len, cases[i].warnings);
        const char *text = out.warnings.len ? out.warnings.items[0] : err.text;
        if (cases[i].words)
            CHECK_CONTAINS(text, cases[i].words);
        submit_result_clear(&out);
        stop(true);
    }
    pulls_images = false;
}

static void on_pgsql(void) {
    use_pgsql = true;
    checks();
    given();
    use_pgsql = false;
}

static const struct check_test tests[] = {
    { "what has to be there", checks },   { "what pods get", given },
    { "of the site", of_the_site },       { "gone meanwhile", gone }, { "images", images },
    { "many images", many },              { "unreachable", unreachable }, { "postgresql", on_pgsql },
};
TEST_MAIN("submit_credentials", tests)
