/* Values of credentials in what tasks say: lines of either kind of ctrl, lines in pieces, another user's tasks, changes of what is stored;
 * error logs, messages and events; over both databases. */
#include "logs_fixture.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/credentials.h"
#include "engine/masks.h"

#define SECRET "v4lue-0f-a-credential"

static void store_credential(struct fixture *f, const char *user, const char *name, const char *body) {
    _cleanup_(credential_clear) struct credential c;
    _cleanup_json_ json_t *v = NULL;
    struct credential_fault fault;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(json_parse(body, strlen(body), &v, &err), &err);
    CHECK_OK(credential_read(v, &c, &fault, &err), &err);
    CHECK_OK(credentials_store(f->engine, user, name, &c, &err), &err);
}

static bool in_files(const struct fixture *f, const char *needle) {
    char command[400];
    snprintf(command, sizeof command, "grep -raq -e '%s' %s", needle, f->dir);
    return system(command) == 0;
}

/* The text of one line again and again until it is as long as a piece. */
static char *long_text(const char *end, size_t len) {
    char *text = malloc(len + 1);
    if (!text)
        return NULL;
    memset(text, '.', len);
    memcpy(text + len - strlen(end), end, strlen(end));
    text[len] = '\0';
    return text;
}

static void lines(void) {
    struct fixture f;
    struct seed s, other;
    const char *extensions;
    int status;
    bool ended;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    store_credential(&f, "alice", "api", "{\"generic_credential\":{\"credential\":{\"pass\":\"" SECRET "\",\"user\":\"shorter\"}}}");
    store_credential(&f, "alice", "reg", "{\"registry_credential\":{\"registry\":\"localhost:1\",\"username\":\"me\","
                                         "\"auth\":\"pull-token-1\"}}");
    store_credential(&f, "alice", "lab", "{\"data_credential\":{\"endpoint\":\"s3://lab\",\"access_key_id\":\"identifier\","
                                         "\"access_key\":\"storage-key-1\"}}");
    CHECK(seed_workflow(&f, "wf", "alice", 2, &s));
    CHECK(seed_workflow(&f, "other", "bob", 1, &other));
    osmo_ws_t *ws = plain(&f, &s, "t0", 1), *bob = plain(&f, &other, "t0", 2),
              *batches = connect_ctrl(&f, s.id, "t1", 0, 3, "logs", &extensions, &status);
    REQUIRE(ws && bob && batches);
    send_double(ws, LINE("STDOUT", "pass " SECRET " of shorter"));
    send_single(ws, LINE("STDERR", "pull-token-1 storage-key-1 identifier bWU6cHVsbC10b2tlbi0x"));
    send_single(ws, LINE("OSMO_CTRL", SECRET));
    send_double(bob, LINE("STDOUT", "bob may say " SECRET));
    send_single(batches, "{\"IOType\":\"LOG_BATCH\",\"entries\":["
                "{\"seq\":1,\"Time\":\"2026-03-01T09:00:00Z\",\"IOType\":\"STDOUT\",\"Text\":\"one\"},"
                "{\"seq\":2,\"Time\":\"2026-03-01T09:00:01Z\",\"IOType\":\"STDERR\",\"Text\":\"" SECRET SECRET "\"},"
                "{\"seq\":3,\"Time\":\"2026-03-01T09:00:02Z\",\"IOType\":\"STDOUT\",\"Text\":\"three\"}]}");
    CHECK_INT(fixture_count(&f, 3, "{\"action\":\"log_ack\",\"seq\":3}", 0), 1);
    osmo_ws_closed(ws);
    osmo_ws_closed(bob);
    _cleanup_free_ char *text = logs_of(&f, &s, "", &ended), *bobs = logs_of(&f, &other, "", &ended);
    CHECK_CONTAINS(text, "[t0] pass [MASKED] of shorter\n");
    CHECK_CONTAINS(text, "[t0] [MASKED] [MASKED] identifier [MASKED]\n");
    CHECK_CONTAINS(text, "[t0][osmo] [MASKED]\n");
    CHECK_CONTAINS(text, "[t1] one\n");
    CHECK_CONTAINS(text, "[t1] [MASKED]\n");
    CHECK_CONTAINS(text, "[t1] three\n");
    CHECK_CONTAINS(bobs, "bob may say " SECRET);
    osmo_ws_closed(batches);
    fixture_close(&f);
}

/* A line of more than 32768 bytes comes in pieces; stdout and stderr go on by themselves. */
static void pieces(void) {
    struct fixture f;
    struct seed s;
    bool ended;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    store_credential(&f, "alice", "api", "{\"generic_credential\":{\"credential\":{\"pass\":\"" SECRET "\"}}}");
    CHECK(seed_workflow(&f, "wf", "alice", 1, &s));
    osmo_ws_t *ws = plain(&f, &s, "t0", 1);
    REQUIRE(ws);
    _cleanup_free_ char *piece = long_text("v4lue-0f", 32768), *line = NULL;
    REQUIRE(piece && asprintf(&line, "{\"IOType\":\"STDOUT\",\"Text\":\"%s\"}", piece) > 0);
    send_single(ws, line);
    send_single(ws, LINE("STDERR", "-a-credential is no secret here"));
    send_single(ws, LINE("STDOUT", "-a-credential and more"));
    send_single(ws, LINE("STDOUT", "-a-credential again"));
    osmo_ws_closed(ws);
    _cleanup_free_ char *text = logs_of(&f, &s, "", &ended);
    CHECK(!strstr(text, "v4lue"));
    CHECK_CONTAINS(text, ".[MASKED]\n");
    CHECK_CONTAINS(text, "[t0] -a-credential is no secret here\n");
    CHECK_CONTAINS(text, "[t0] [MASKED] and more\n");
    CHECK_CONTAINS(text, "[t0] -a-credential again\n");
    fixture_close(&f);
}

/* What is stored later counts for those that connect later; one mask is shared while nothing changes. */
static void changes(void) {
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    db_t *db;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK_INT(store_reader(f.engine->store, &db, &err), 0);
    struct user_mask *none, *first, *again, *later;
    CHECK_OK(masks_get(f.engine, db, "alice", &none, &err), &err);
    CHECK(!none);
    store_credential(&f, "alice", "short", "{\"generic_credential\":{\"credential\":{\"pass\":\"short\"}}}");
    CHECK_OK(masks_get(f.engine, db, "alice", &none, &err), &err);
    CHECK(!none);
    store_credential(&f, "alice", "api", "{\"generic_credential\":{\"credential\":{\"pass\":\"" SECRET "\"}}}");
    CHECK_OK(masks_get(f.engine, db, "alice", &first, &err), &err);
    CHECK_OK(masks_get(f.engine, db, "alice", &again, &err), &err);
    CHECK(first && first == again);
    store_credential(&f, "alice", "api", "{\"generic_credential\":{\"credential\":{\"pass\":\"another-value\"}}}");
    CHECK_OK(masks_get(f.engine, db, "alice", &later, &err), &err);
    CHECK(later && later != first);
    char *text;
    size_t len;
    CHECK_INT(masks_apply(first, SECRET " another-value", strlen(SECRET) + 14, NULL, false, &text, &len), 0);
    CHECK_STR(text, "[MASKED] another-value");
    CHECK_INT(len, strlen("[MASKED] another-value"));
    free(text);
    CHECK_INT(masks_apply(later, SECRET " another-value", strlen(SECRET) + 14, NULL, false, &text, &len), 0);
    CHECK_STR(text, SECRET " [MASKED]");
    free(text);
    masks_put(first);
    masks_put(again);
    masks_put(later);
    for (int i = 0; i < 300; i++) { /* more users than are kept */
        char user[16];
        snprintf(user, sizeof user, "user%d", i);
        if (i % 100 == 0)
            store_credential(&f, user, "api", "{\"generic_credential\":{\"credential\":{\"pass\":\"" SECRET "\"}}}");
        CHECK_OK(masks_get(f.engine, db, user, &first, &err), &err);
        CHECK_INT(first != NULL, i % 100 == 0);
        masks_put(first);
    }
    struct seed s;
    CHECK(seed_workflow(&f, "wf", "alice", 1, &s));
    char *message = strdup("exec: \"another-value\": not found"), *nobody = strdup("another-value"), *nothing = NULL;
    masks_workflow_text(f.engine, s.uuid, &message);
    CHECK_STR(message, "exec: \"[MASKED]\": not found");
    masks_workflow_text(f.engine, "00000000000000000000000000000000", &nobody);
    CHECK_STR(nobody, "another-value");
    masks_text(f.engine, db, "alice", &nothing);
    CHECK(!nothing);
    free(message);
    free(nobody);
    if (!on_pgsql)
        CHECK(!in_files(&f, SECRET) && !in_files(&f, "another-value"));
    fixture_close(&f);
}

static void on_server(void) {
    on_pgsql = true;
    lines();
    pieces();
    changes();
    on_pgsql = false;
}

static const struct check_test tests[] = {
    { "lines", lines }, { "pieces", pieces }, { "changes", changes }, { "postgresql", on_server },
};
TEST_MAIN("logs_masks", tests)
