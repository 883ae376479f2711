/* Configuration that several services share: what one writes the others know. Two services in this process on one PostgreSQL, each behind
 * its own listener on the loopback. */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/access.h"
#include "engine/replica_internal.h"
#include "osmo/server.h"
#include "pgsql_fixture.h"
#include "service_fixture.h"
#include "signing_key.h"

#define LOOKS 3000 /* 10 ms apart */
#define POOL "/api/configs/pool"

struct side { struct fixture f; osmo_server_t *server; osmo_transport_t transport; char spool[96], base[64], storage[96], key[96]; };
static struct side one, two;

/* Connections of no server: what the service sends them is heard here. No server of these tests counts so far. */
#define CONTROL_CONN 2000000001u
#define POD_CONN 2000000002u
static struct { pthread_mutex_t lock; char rules[256]; int control_closed, pod_closed; } heard = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int send_or_hear(void *impl, uint64_t conn, const void *data, size_t len, int binary) {
    if (conn != CONTROL_CONN && conn != POD_CONN) {
        const osmo_transport_t *real = osmo_server_transport(((struct side *)impl)->server);
        return real->ws_send(real->impl, conn, data, len, binary);
    }
    pthread_mutex_lock(&heard.lock);
    if (conn == CONTROL_CONN)
        snprintf(heard.rules, sizeof heard.rules, "%.*s", (int)len, (const char *)data);
    pthread_mutex_unlock(&heard.lock);
    return 0;
}

static void close_or_hear(void *impl, uint64_t conn, int code, const char *reason) {
    if (conn != CONTROL_CONN && conn != POD_CONN) {
        const osmo_transport_t *real = osmo_server_transport(((struct side *)impl)->server);
        real->ws_close(real->impl, conn, code, reason);
        return;
    }
    pthread_mutex_lock(&heard.lock);
    *(conn == CONTROL_CONN ? &heard.control_closed : &heard.pod_closed) = code;
    pthread_mutex_unlock(&heard.lock);
}

static int open_parts(struct side *s, const struct side *first, const char *database, osmo_error_t *err) {
    osmo_server_options_t so = { .size = sizeof so, .listen = "127.0.0.1:0", .workers = 4, .spool_dir = s->spool };
    int rc = dir_make(s->spool, 0700, err);
    if (rc >= 0)
        rc = osmo_server_open(&so, &s->server, err);
    if (rc < 0)
        return rc;
    snprintf(s->base, sizeof s->base, "http://127.0.0.1:%d", osmo_server_port(s->server));
    s->transport = (osmo_transport_t){ .size = sizeof s->transport, .impl = s, .ws_send = send_or_hear, .ws_close = close_or_hear };
    s->f.options = (osmo_service_options_t){ .size = sizeof s->f.options, .data_dir = s->f.dir, .storage_dir = s->storage,
                                             .database = database, .auth = OSMO_AUTH_DEV, .base_url = s->base,
                                             .master_key_file = first ? first->key : NULL,
                                             .transport = &s->transport, .log_level = 30 };
    if (!fixture_reopen(&s->f))
        return osmo_error_set(err, OSMO_EIO, "the service did not open");
    rc = osmo_server_start(s->server, s->f.service, err);
    return rc < 0 ? rc : replicas_set_address(s->f.engine, s->base, err);
}

static bool side_open(struct side *s, const struct side *first, const char *database) {
    osmo_error_t err = OSMO_ERROR_INIT;
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->f.lock, NULL);
    pthread_cond_init(&s->f.changed, NULL);
    snprintf(s->f.dir, sizeof s->f.dir, "/tmp/osmo-test-XXXXXX");
    if (!mkdtemp(s->f.dir))
        return false;
    snprintf(s->spool, sizeof s->spool, "%s/spool", s->f.dir);
    snprintf(s->key, sizeof s->key, "%s/master-key.yaml", s->f.dir);
    snprintf(s->storage, sizeof s->storage, "%s/storage", first ? first->f.dir : s->f.dir);
    int rc = open_parts(s, first, database, &err);
    CHECK_OK(rc, &err);
    return rc >= 0;
}

static void side_close(struct side *s) {
    if (s->server)
        osmo_server_stop(s->server, 1000);
    fixture_close(&s->f);
    osmo_server_free(s->server);
}

static bool knows_other(struct side *s) {
    for (int i = 0; i < LOOKS; i++) {
        if (atomic_load(&s->f.engine->channel->others))
            return true;
        usleep(10000);
    }
    return false;
}

/* false where there is no PostgreSQL. */
static bool pair_open(char **url) {
    osmo_error_t err = OSMO_ERROR_INIT;
    *url = pgsql_fixture_url();
    if (!*url)
        return false;
    CHECK_OK(signing_key_seed(*url, &err), &err);
    bool good = side_open(&one, NULL, *url) && side_open(&two, &one, *url) && knows_other(&one) && knows_other(&two);
    CHECK(good);
    return good;
}

static void pair_close(char *url) {
    side_close(&two);
    side_close(&one);
    free(url);
}

static int write_pool(struct side *at, const char *method, const char *name) {
    _cleanup_free_ char *path = str_printf(POOL "/%s", name);
    struct answer a = ask(&at->f, method, path, "", "{\"configs\":{\"backend\":\"default\"}}", NULL);
    int status = a.status;
    if (status != 200)
        fprintf(stderr, "%s %s: %s\n", method, path, a.body);
    answer_free(&a);
    return status;
}

static bool has_pool(struct side *at, const char *name) {
    const struct settings *s = engine_settings(at->f.engine);
    bool there = settings_pool(s, name) != NULL;
    engine_settings_put(s);
    return there;
}

static bool learns(struct side *at, const char *name, bool there) {
    for (int i = 0; i < LOOKS; i++) {
        if (has_pool(at, name) == there)
            return true;
        usleep(10000);
    }
    return false;
}

static void test_change(void) {
    char *url;
    if (!pair_open(&url))
        return;
    CHECK_INT(write_pool(&one, "PUT", "east"), 200);
    CHECK(has_pool(&one, "east")); /* before the answer */
    CHECK(learns(&two, "east", true));
    CHECK(has_pool(&two, "default"));
    CHECK_INT(write_pool(&two, "PUT", "west"), 200);
    CHECK(has_pool(&two, "west") && has_pool(&two, "east"));
    CHECK(learns(&one, "west", true));
    CHECK_INT(write_pool(&two, "DELETE", "east"), 200);
    CHECK(learns(&one, "east", false));
    pair_close(url);
}

/* Both write at the same time: neither undoes what the other did. */
#define EACH 20
struct writer { pthread_t thread; struct side *at; const char *prefix; int failed; };

static void *write_many(void *arg) {
    struct writer *w = arg;
    for (int i = 0; i < EACH; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%d", w->prefix, i);
        w->failed += write_pool(w->at, "PUT", name) != 200;
    }
    return NULL;
}

static void test_both(void) {
    char *url;
    if (!pair_open(&url))
        return;
    struct writer w[] = { { .at = &one, .prefix = "a" }, { .at = &two, .prefix = "b" }, { .at = &one, .prefix = "c" },
                          { .at = &two, .prefix = "d" } };
    for (size_t i = 0; i < ARRAY_SIZE(w); i++)
        REQUIRE(pthread_create(&w[i].thread, NULL, write_many, &w[i]) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
        pthread_join(w[i].thread, NULL);
        CHECK_INT(w[i].failed, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(w) * EACH; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%zu", w[i / EACH].prefix, i % EACH);
        CHECK(learns(&one, name, true) && learns(&two, name, true));
    }
    pair_close(url);
}

/* ---- roles ---- */

static int write_role(struct side *at, const char *method, const char *body) {
    struct answer a = ask(&at->f, method, "/api/configs/role/team", "", body, NULL);
    int status = a.status;
    answer_free(&a);
    return status;
}

static bool permits(struct side *at, bool want) {
    struct identity who = { .kind = IDENTITY_TOKEN };
    bool yes = !want;
    CHECK_INT(strlist_add(&who.roles, "team"), 0);
    for (int i = 0; i < LOOKS && yes != want; i++) {
        if (i)
            usleep(10000);
        yes = access_decide(at->f.engine, &who, ACTION_WORKFLOW_CREATE, "pool/east") == VERDICT_ALLOW;
    }
    strlist_free(&who.roles);
    return yes == want;
}

/* The picture of the roles comes first, then what was concluded by the one before counts no more. */
static bool generation_passes(struct side *at, uint64_t before) {
    for (int i = 0; i < LOOKS; i++) {
        if (access_generation(at->f.engine) > before)
            return true;
        usleep(10000);
    }
    return false;
}

/* What a role permits, and that it does not any more, is known to the other service by the word of the first. */
static void test_roles(void) {
    char *url;
    if (!pair_open(&url))
        return;
    uint64_t before = access_generation(two.f.engine);
    CHECK_INT(write_role(&one, "PUT", "{\"configs\":{\"description\":\"\",\"policies\":[{\"actions\":\"workflow:*\","
                                      "\"resources\":\"pool/east\"}]}}"), 200);
    CHECK(permits(&one, true)); /* before the answer */
    CHECK(permits(&two, true));
    CHECK(generation_passes(&two, before));
    CHECK_INT(write_role(&two, "DELETE", NULL), 200);
    CHECK(permits(&two, false));
    CHECK(permits(&one, false));
    pair_close(url);
}

/* ---- backends ---- */

static bool hears(const char *part, int closed) {
    bool yes = false;
    for (int i = 0; i < LOOKS && !yes; i++) {
        if (i)
            usleep(10000);
        pthread_mutex_lock(&heard.lock);
        yes = strstr(heard.rules, part) && heard.control_closed == closed && heard.pod_closed == closed;
        pthread_mutex_unlock(&heard.lock);
    }
    return yes;
}

static int write_backend(const char *method, const char *body) {
    struct answer a = ask(&one.f, method, "/api/configs/backend/east", "", body, NULL);
    int status = a.status;
    answer_free(&a);
    return status;
}

static agent_session_t *operator_at(engine_t *engine, enum agent_socket kind, uint64_t conn) {
    static const char init[] = "{\"type\":\"init\",\"uuid\":\"0123456789abcdef0123456789abcdef\",\"body\":{\"k8s_uid\":\"u\","
        "\"k8s_namespace\":"
                               "\"n\",\"version\":\"6.4.0\",\"node_condition_prefix\":\"\"}}";
    agent_session_t *s = NULL;
    const char *accepted;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(agent_open(engine, kind, "east", conn, NULL, &s, &accepted, &err), &err);
    agent_opened(s);
    if (kind != AGENT_CONTROL)
        agent_message(s, init, sizeof init - 1, false);
    return s;
}

/* Its operator is connected to the other service: rules reach it there, and its sessions there end with the backend. */
static void test_backend(void) {
    char *url;
    int status = 0;
    if (!pair_open(&url))
        return;
    engine_t *there = two.f.engine;
    agent_session_t *pod = operator_at(there, AGENT_POD, POD_CONN), *control = operator_at(there, AGENT_CONTROL, CONTROL_CONN);
    for (int i = 0; i < LOOKS && status != 200; i++) {
        usleep(10000);
        status = write_backend("POST", "{\"configs\":{\"node_conditions\":{\"rules\":{\"Gpu\":\"False\"}}}}");
    }
    CHECK_INT(status, 200);
    CHECK(hears("{\"Gpu\":\"False\"}", 0));
    CHECK_INT(write_backend("DELETE", "{}"), 200);
    CHECK(hears("", 4000));
    agent_closed(pod);
    agent_closed(control);
    pair_close(url);
}

static const struct check_test tests[] = {
    { "a change is known to the other service", test_change },
    { "two services write at once", test_both },
    { "roles are known to the other service", test_roles },
    { "a backend with its operator at the other service", test_backend },
};
TEST_MAIN("config_replicas", tests)
