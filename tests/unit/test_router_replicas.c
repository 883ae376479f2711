/* Interactive sessions where several services share a database: the mailbox reaches the ctrl wherever it is, a connection is carried to the
 * service that its key names, and who carries it is believed, once. Two services with listeners of their own, on PostgreSQL. */
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "engine/replica_internal.h"
#include "engine/router_internal.h"
#include "engine/vault_internal.h"
#include "osmo/server.h"
#include "router_fixture.h"
#include "signing_key.h"

#define PATIENCE_S 30
static const struct as jane = { .user = "jane" }, task = { .user = "task" };

struct side {
    struct fixture f;
    osmo_server_t *server; /* for what the services say to each other */
    char spool[80], base[64];
};
static struct side one, two;

static bool side_open(struct side *s, const char *database, const char *roles) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool made;
    static char storage[200], key[200];
    snprintf(storage, sizeof storage, "%s/storage", fixture_dir());
    snprintf(key, sizeof key, "%s/master-key.yaml", fixture_dir());
    memset(s, 0, sizeof *s);
    if (master_file_make(key, &made, &err) < 0 || !fixture_open(&s->f, OSMO_AUTH_DEV, ADMIN_TOKEN))
        return false;
    snprintf(s->spool, sizeof s->spool, "%s/spool", s->f.dir);
    osmo_server_options_t so = { .size = sizeof so, .listen = "127.0.0.1:0", .workers = 4, .spool_dir = s->spool };
    int rc = dir_make(s->spool, 0700, &err);
    if (rc >= 0)
        rc = osmo_server_open(&so, &s->server, &err);
    CHECK_OK(rc, &err);
    if (rc < 0)
        return false;
    snprintf(s->base, sizeof s->base, "http://127.0.0.1:%d", osmo_server_port(s->server));
    s->f.options.database = database;
    s->f.options.storage_dir = storage;
    s->f.options.master_key_file = key;
    s->f.options.roles = roles;
    router_fixture_transport(&s->f);
    if (!fixture_reopen(&s->f))
        return false;
    rc = osmo_server_start(s->server, s->f.service, &err);
    if (rc >= 0)
        rc = replicas_set_address(s->f.engine, s->base, &err);
    CHECK_OK(rc, &err);
    return rc >= 0;
}

static void side_close(struct side *s) {
    if (s->server)
        osmo_server_stop(s->server, 1000);
    fixture_close(&s->f);
    osmo_server_free(s->server);
    memset(s, 0, sizeof *s);
}

/* It knows the other, and is no newcomer any more. */
static bool knows(struct side *s) {
    struct replica_found at;
    unsigned role = s->f.engine->roles & ROLE_ROUTER ? ROLE_ROUTER : ROLE_CORE;
    for (int i = 0; i < PATIENCE_S * 100; i++) {
        if (replicas_count(s->f.engine) == 1 && atomic_load(&s->f.engine->channel->others) &&
            replicas_with_role(s->f.engine, role, &at) == REPLICA_HERE)
            return true;
        usleep(10000);
    }
    return false;
}

static bool pair_open(const char *roles_of_two) {
    osmo_error_t err = OSMO_ERROR_INIT;
    static char *url;
    replicas_times(2500 * 1000, 100 * 1000);
    free(url);
    url = pgsql_fixture_url();
    if (!url)
        return false;
    bool open = signing_key_seed(url, &err) >= 0 && side_open(&one, url, NULL) && side_open(&two, url, roles_of_two) &&
        knows(&one) && knows(&two);
    CHECK(open);
    return open;
}

static void pair_close(void) {
    side_close(&two);
    side_close(&one);
}

/* ---- the mailbox ---- */

static void test_mailbox(void) {
    struct seed s;
    const char *extensions;
    int status, binary;
    if (!pair_open(NULL))
        return;
    REQUIRE(seed_workflow(&one.f, "wf", "jane", 1, &s));
    osmo_ws_t *ctrl = connect_ctrl(&two.f, s.id, "t0", 0, 5, "actions", &extensions, &status);
    CHECK_STR(extensions, "actions");
    _cleanup_free_ char *key = begin(&one.f, jane, s.id, "exec/task/t0", "entry_command=bash");
    _cleanup_json_ json_t *o = message_to(&two.f, 5, 0, &binary);
    CHECK_STR(json_get_str(o, "key"), key);
    CHECK(json_get_str(o, "cookie") && str_starts(json_get_str(o, "cookie"), ROUTER_COOKIE "="));
    CHECK(json_get_str(o, "id") != NULL);
    osmo_ws_closed(ctrl);
    pair_close();
}

/* ---- places ---- */

struct request { char host[120], path[200], cookie[200], carried[512]; const char *headers[12]; osmo_request_t rq; };

/* Fills r, which has to stay where it is. */
static const osmo_request_t *request(struct request *r, const char *path, const char *host, const char *cookie, const char *carried_by) {
    size_t n = 0;
    memset(r, 0, sizeof *r);
    snprintf(r->path, sizeof r->path, "%s", path);
    snprintf(r->host, sizeof r->host, "%s", host ? host : "127.0.0.1:8000");
    snprintf(r->cookie, sizeof r->cookie, "%s", cookie ? cookie : "");
    const char *pairs[] = { "host", r->host, "upgrade", host ? NULL : "websocket", "cookie", cookie ? r->cookie : NULL,
                            "x-osmo-user", "jane", ROUTER_PEER_HEADER, carried_by ? r->carried : NULL };
    if (carried_by)
        snprintf(r->carried, sizeof r->carried, "%s", carried_by);
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i += 2)
        if (pairs[i + 1]) {
            r->headers[n++] = pairs[i];
            r->headers[n++] = pairs[i + 1];
        }
    r->rq = (osmo_request_t){ .size = sizeof r->rq, .id = 9, .method = "GET", .path = r->path, .query = "", .headers = r->headers,
                              .peer = "127.0.0.2" };
    return &r->rq;
}

static osmo_place_t place(struct side *s, const char *path, const char *host, const char *cookie, osmo_elsewhere_t *where) {
    struct request r;
    memset(where, 0, sizeof *where);
    return osmo_service_place(s->f.service, request(&r, path, host, cookie, NULL), where);
}

static void expect_at(struct side *s, const osmo_elsewhere_t *where) {
    CHECK_STR(where->host, "127.0.0.1");
    CHECK_INT(where->port, osmo_server_port(s->server));
    CHECK(str_starts(where->header, ROUTER_PEER_HEADER ": "));
}

static char *header_value(const osmo_elsewhere_t *where) { return str_dup(where->header + strlen(ROUTER_PEER_HEADER ": ")); }

static void test_places(void) {
    struct seed s;
    osmo_elsewhere_t where;
    if (!pair_open(NULL))
        return;
    REQUIRE(seed_workflow(&one.f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&one.f, jane, s.id, "exec/task/t0", "entry_command=bash");
    _cleanup_free_ char *web = begin(&one.f, jane, s.id, "webserver/t0", "task_port=80");
    _cleanup_free_ char *client = str_printf("//api/router//exec/%s/client/%s", s.id, key);
    _cleanup_free_ char *ctrl = str_printf("/api/router/exec/%s/backend/%s", s.id, key), *below = str_printf("%s-3", ctrl);
    _cleanup_free_ char *host = str_printf("%s.osmo.example", web), *cookie = NULL;
    const char *invented = "/api/router/portforward/wf-1/client/PORTFORWARD-00112233445566778899aabbccddeeff";
    const char *const paths[] = { client, ctrl, below };
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        CHECK_INT(place(&one, paths[i], NULL, NULL, &where), OSMO_PLACE_HERE);
        CHECK_INT(place(&two, paths[i], NULL, NULL, &where), OSMO_PLACE_ELSEWHERE);
        expect_at(&one, &where);
    }
    CHECK_INT(place(&two, "/anything", host, NULL, &where), OSMO_PLACE_ELSEWHERE);
    expect_at(&one, &where);
    CHECK_INT(place(&one, "/anything", host, NULL, &where), OSMO_PLACE_TUNNEL);
    struct answer a = ask(&one.f, "GET", "/api/router/version", NULL, NULL, NULL);
    CHECK_STR(a.rs.headers ? a.rs.headers[0] : NULL, "set-cookie");
    cookie = a.rs.headers ? str_dup(a.rs.headers[1]) : NULL;
    answer_free(&a);
    CHECK_CONTAINS(cookie ? cookie : "", ROUTER_COOKIE "=");
    CHECK_INT(place(&two, invented, NULL, NULL, &where), OSMO_PLACE_HERE);
    CHECK_INT(place(&two, invented, NULL, cookie, &where), OSMO_PLACE_ELSEWHERE); /* as it is, attributes and all */
    expect_at(&one, &where);
    CHECK_INT(place(&one, invented, NULL, cookie, &where), OSMO_PLACE_HERE);
    _cleanup_free_ char *among = str_printf("a=b; x" ROUTER_COOKIE "=ffffffff, %s", cookie);
    CHECK_INT(place(&two, invented, NULL, among, &where), OSMO_PLACE_ELSEWHERE);
    CHECK_INT(place(&two, invented, NULL, ROUTER_COOKIE "=nothing!", &where), OSMO_PLACE_HERE);
    CHECK_INT(place(&two, invented, NULL, ROUTER_COOKIE "=00000000", &where), OSMO_PLACE_HERE); /* nobody has this number */
    pair_close();
}

/* What is carried is for the peer that is named, once, for that request and that service only. */
static void test_carried(void) {
    struct seed s;
    struct request r;
    osmo_elsewhere_t where;
    osmo_error_t err = OSMO_ERROR_INIT;
    char peer[64] = "";
    if (!pair_open(NULL))
        return;
    REQUIRE(seed_workflow(&one.f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&one.f, jane, s.id, "exec/task/t0", "entry_command=bash");
    _cleanup_free_ char *path = str_printf("/api/router/exec/%s/client/%s", s.id, key), *value = NULL, *bad = NULL;
    CHECK_INT(place(&two, path, NULL, NULL, &where), OSMO_PLACE_ELSEWHERE);
    value = header_value(&where);
    CHECK_INT(router_peer(two.f.engine, request(&r, path, NULL, NULL, value), peer, &err), OSMO_EDENIED); /* not for this one */
    CHECK_INT(router_peer(one.f.engine, request(&r, "/api/version", NULL, NULL, value), peer, &err), OSMO_EDENIED);
    bad = str_dup(value);
    bad[strlen(bad) - 1] = bad[strlen(bad) - 1] == '0' ? '1' : '0';
    CHECK_INT(router_peer(one.f.engine, request(&r, path, NULL, NULL, bad), peer, &err), OSMO_EDENIED);
    CHECK_INT(osmo_service_place(one.f.service, request(&r, path, NULL, NULL, value), &where), OSMO_PLACE_HERE);
    CHECK_INT(router_peer(one.f.engine, request(&r, path, NULL, NULL, value), peer, &err), 1);
    CHECK_STR(peer, "127.0.0.2");
    CHECK_INT(router_peer(one.f.engine, request(&r, path, NULL, NULL, value), peer, &err), OSMO_EDENIED); /* again */
    CHECK_INT(router_peer(one.f.engine, request(&r, path, NULL, NULL, NULL), peer, &err), 0);
    /* and the whole door */
    osmo_ws_t *ws = NULL;
    const char *extensions;
    osmo_response_t rs;
    osmo_service_ws_open(one.f.service, request(&r, path, NULL, NULL, value), 30, &ws, &extensions, &rs);
    CHECK(ws == NULL);
    CHECK_INT(rs.status, 403);
    osmo_response_clear(&rs);
    CHECK_INT(place(&two, path, NULL, NULL, &where), OSMO_PLACE_ELSEWHERE);
    _cleanup_free_ char *fresh = header_value(&where);
    osmo_service_ws_open(one.f.service, request(&r, path, NULL, NULL, fresh), 31, &ws, &extensions, &rs);
    REQUIRE(ws);
    osmo_response_clear(&rs);
    osmo_ws_opened(ws);
    osmo_ws_t *ctrl = dial_ctrl(&one.f, task, "exec", s.id, key, 32);
    CHECK(joined_last(31, 32));
    osmo_ws_closed(ws);
    osmo_ws_closed(ctrl);
    pair_close();
}

/* A service that is gone takes its sessions with it; its keys say so. */
static void test_gone(void) {
    struct seed s;
    osmo_elsewhere_t where;
    int status;
    if (!pair_open(NULL))
        return;
    REQUIRE(seed_workflow(&one.f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&two.f, jane, s.id, "exec/task/t0", "entry_command=bash");
    _cleanup_free_ char *path = str_printf("/api/router/exec/%s/client/%s", s.id, key);
    CHECK_INT(place(&one, path, NULL, NULL, &where), OSMO_PLACE_ELSEWHERE);
    side_close(&two);
    for (int i = 0; i < PATIENCE_S * 100 && replicas_count(one.f.engine); i++)
        usleep(10000);
    CHECK_INT(place(&one, path, NULL, NULL, &where), OSMO_PLACE_HERE);
    CHECK(dial(&one.f, jane, path, NULL, 40, &status) == NULL);
    CHECK_INT(status, 503);
    struct answer a = ask(&one.f, "GET", "/api/router/version", NULL, NULL, NULL); /* alone again */
    CHECK(a.rs.headers == NULL);
    answer_free(&a);
    side_close(&one);
}

/* Of a service that has just begun the others may not know yet: it lets one of them carry its sessions. */
static void test_newcomer(void) {
    struct seed s;
    struct router_key k;
    if (!pair_open(NULL))
        return;
    REQUIRE(seed_workflow(&one.f, "wf", "jane", 1, &s));
    replicas_times(0, 0);
    osmo_server_stop(two.server, 1000);
    CHECK(fixture_reopen(&two.f));
    osmo_server_free(two.server);
    two.server = NULL;
    for (int i = 0; i < PATIENCE_S * 100 && replicas_count(two.f.engine) == 0; i++)
        usleep(10000);
    _cleanup_free_ char *key = begin(&two.f, jane, s.id, "exec/task/t0", "entry_command=bash");
    CHECK(key && router_key_parse(key, &k));
    CHECK_INT(k.replica, router_key_replica(replicas_id(one.f.engine)));
    pair_close();
}

/* A web server's session is found from everywhere. */
static void test_web_server(void) {
    struct seed s;
    if (!pair_open(NULL))
        return;
    REQUIRE(seed_workflow(&one.f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&one.f, jane, s.id, "webserver/t0", "task_port=80");
    _cleanup_free_ char *path = str_printf("/api/router/webserver/%s", key);
    osmo_ws_t *server = dial_ctrl(&one.f, task, "webserver", s.id, key, 50);
    struct side *const sides[] = { &one, &two };
    for (int alive = 1; alive >= 0; alive--) {
        for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
            struct answer a = ask(&sides[i]->f, "GET", path, NULL, NULL, NULL);
            CHECK_INT(a.status, 200);
            CHECK_STR(a.body, alive ? "true" : "false");
            answer_free(&a);
        }
        if (server)
            osmo_ws_closed(server);
        server = NULL;
    }
    pair_close();
}

/* Not every service is a router: a key names one that is, and the others carry there whatever comes. */
static void test_roles(void) {
    struct seed s;
    struct router_key k;
    osmo_elsewhere_t where;
    const char *invented = "/api/router/portforward/wf-1/client/PORTFORWARD-00112233445566778899aabbccddeeff";
    if (!pair_open("core,logger,worker,agent,delayed-job-monitor"))
        return;
    REQUIRE(seed_workflow(&one.f, "wf", "jane", 1, &s));
    for (int i = 0; i < 4; i++) {
        _cleanup_free_ char *key = begin(&two.f, jane, s.id, "exec/task/t0", "entry_command=bash");
        CHECK(router_key_parse(key, &k));
        CHECK_INT(k.replica, router_key_replica(replicas_id(one.f.engine)));
    }
    CHECK_INT(place(&two, invented, NULL, NULL, &where), OSMO_PLACE_ELSEWHERE);
    expect_at(&one, &where);
    pair_close();
}

static const struct check_test tests[] = {
    { "a mailbox elsewhere", test_mailbox },
    { "places", test_places },
    { "what is carried", test_carried },
    { "a service that is gone", test_gone },
    { "a service that is new", test_newcomer },
    { "a web server", test_web_server },
    { "services without routers", test_roles },
};
TEST_MAIN("router_replicas", tests)
