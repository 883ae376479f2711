/* See router_fixture.h. */
#include "router_fixture.h"

#include <errno.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"

struct joined joins[JOINS_MAX];
size_t njoins;
int join_answer;
static osmo_traffic_t carried;

static int fake_join(void *impl, uint64_t a, uint64_t b) {
    struct fixture *f = impl;
    pthread_mutex_lock(&f->lock);
    if (njoins < JOINS_MAX)
        joins[njoins++] = (struct joined){ a, b };
    pthread_mutex_unlock(&f->lock);
    return join_answer;
}

static int fake_traffic(void *impl, uint64_t conn, struct osmo_traffic *out) {
    struct fixture *f = impl;
    (void)conn;
    pthread_mutex_lock(&f->lock);
    *out = carried;
    pthread_mutex_unlock(&f->lock);
    return 0;
}

void router_fixture_carried(struct fixture *f, uint64_t in, uint64_t out, int64_t last_us) {
    pthread_mutex_lock(&f->lock);
    carried = (osmo_traffic_t){ .size = sizeof carried, .in = in, .out = out, .last_us = last_us };
    pthread_mutex_unlock(&f->lock);
}

void router_fixture_transport(struct fixture *f) {
    f->transport.join = fake_join;
    f->transport.traffic = fake_traffic;
    njoins = 0;
    join_answer = 0;
    carried = (osmo_traffic_t){ .size = sizeof carried };
}

bool router_fixture_open(struct fixture *f, osmo_auth_mode_t mode, const char *config) {
    static char path[100];
    if (!open_fixture(f, mode, ADMIN_TOKEN))
        return false;
    router_fixture_transport(f);
    if (!config)
        return true;
    snprintf(path, sizeof path, "%s/config.yaml", f->dir);
    f->options.config_file = path;
    return file_write_atomic(path, config, strlen(config), 0600, false, NULL) >= 0 && fixture_reopen(f);
}

void router_fixture_close(struct fixture *f) { fixture_close(f); }

/* ---- requests ---- */

osmo_ws_t *dial(struct fixture *f, struct as as, const char *path, const char *query, uint64_t conn, int *status) {
    char *bearer = str_printf("Bearer %s", as.token ? as.token : "");
    const char *headers[8] = { "host", "127.0.0.1:8000", "upgrade", "websocket" }, *extensions;
    headers[4] = as.token ? "authorization" : as.user ? "x-osmo-user" : NULL;
    headers[5] = as.token ? bearer : as.user;
    osmo_request_t rq = { .size = sizeof rq, .id = conn, .method = "GET", .path = path, .query = query ? query : "", .headers = headers,
                          .peer = "127.0.0.1" };
    osmo_response_t rs;
    osmo_ws_t *ws;
    osmo_service_ws_open(f->service, &rq, conn, &ws, &extensions, &rs);
    *status = ws ? 101 : rs.status;
    osmo_response_clear(&rs);
    free(bearer);
    if (ws)
        osmo_ws_opened(ws);
    return ws;
}

static osmo_ws_t *dial_end(struct fixture *f, struct as as, const char *action, const char *workflow, const char *end, const char *key,
                           uint64_t conn) {
    _cleanup_free_ char *path = str_printf("/api/router/%s/%s/%s/%s", action, workflow, end, key);
    int status;
    osmo_ws_t *ws = dial(f, as, path, NULL, conn, &status);
    CHECK_INT(status, 101);
    return ws;
}

osmo_ws_t *dial_client(struct fixture *f, struct as as, const char *action, const char *workflow, const char *key, uint64_t conn) {
    return dial_end(f, as, action, workflow, "client", key, conn);
}

osmo_ws_t *dial_ctrl(struct fixture *f, struct as as, const char *action, const char *workflow, const char *key, uint64_t conn) {
    return dial_end(f, as, action, workflow, "backend", key, conn);
}

struct answer post_as(struct fixture *f, struct as as, const char *workflow, const char *what, const char *query) {
    _cleanup_free_ char *path = str_printf("/api/workflow/%s/%s", workflow, what);
    const char *headers[] = { "x-osmo-user", as.user ? as.user : "testuser", NULL };
    return as.token ? ask_as(f, as.token, "POST", path, query, NULL) : ask(f, "POST", path, query, NULL, headers);
}

char *begin(struct fixture *f, struct as as, const char *workflow, const char *what, const char *query) {
    struct answer a = post_as(f, as, workflow, what, query);
    const json_t *o = json_kind(a.json) == JSON_ARRAY ? json_at(a.json, 0) : a.json;
    char *key = a.status == 200 ? str_dup(json_get_str(o, "key")) : NULL;
    if (!key)
        fprintf(stderr, "%s: %d %s\n", what, a.status, a.body ? a.body : "");
    CHECK_INT(a.status, 200);
    answer_free(&a);
    return key;
}

/* ---- what came ---- */

static bool wait_news(struct fixture *f, const struct timespec *until) {
    return pthread_cond_timedwait(&f->changed, &f->lock, until) != ETIMEDOUT;
}

static struct timespec patience(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 20;
    return t;
}

json_t *message_to(struct fixture *f, uint64_t conn, size_t n, int *binary) {
    struct timespec until = patience();
    json_t *found = NULL;
    bool more = true;
    pthread_mutex_lock(&f->lock);
    while (!found && more) {
        size_t k = 0;
        for (size_t i = 0; i < f->nsent && !found; i++) {
            struct sent *s = &f->sent[i];
            if (s->conn != conn || s->close_code || k++ != n)
                continue;
            if (binary)
                *binary = s->binary;
            (void)json_parse(s->text, s->len, &found, NULL);
        }
        more = found || wait_news(f, &until);
    }
    pthread_mutex_unlock(&f->lock);
    return found;
}

size_t messages_to(struct fixture *f, uint64_t conn) {
    size_t n = 0;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->nsent; i++)
        n += f->sent[i].conn == conn && !f->sent[i].close_code;
    pthread_mutex_unlock(&f->lock);
    return n;
}

static int find_close(struct fixture *f, uint64_t conn, char **reason) {
    for (size_t i = 0; i < f->nsent; i++) {
        if (f->sent[i].conn != conn || !f->sent[i].close_code)
            continue;
        if (reason)
            *reason = str_dup(f->sent[i].text);
        return f->sent[i].close_code;
    }
    return 0;
}

osmo_ws_t *browse(struct fixture *f, const char *key, uint64_t conn, int *status) {
    _cleanup_free_ char *host = str_printf("%s.osmo.example:8443", key);
    const char *headers[] = { "host", host, NULL };
    osmo_request_t rq = { .size = sizeof rq, .id = conn, .method = "GET", .path = "/index.html", .query = "", .headers = headers,
                          .peer = "203.0.113.9" };
    osmo_response_t rs;
    osmo_ws_t *ws;
    osmo_elsewhere_t where;
    CHECK_INT(osmo_service_place(f->service, &rq, &where), OSMO_PLACE_TUNNEL);
    osmo_service_tunnel_open(f->service, &rq, conn, &ws, &rs);
    *status = ws ? 0 : rs.status;
    osmo_response_clear(&rs);
    if (ws)
        osmo_ws_opened(ws);
    return ws;
}

int closed_with(struct fixture *f, uint64_t conn, char **reason) {
    struct timespec until = patience();
    int code = 0;
    if (reason)
        *reason = NULL;
    pthread_mutex_lock(&f->lock);
    while (!(code = find_close(f, conn, reason)) && wait_news(f, &until))
        ;
    pthread_mutex_unlock(&f->lock);
    return code;
}

bool is_closed(struct fixture *f, uint64_t conn) {
    pthread_mutex_lock(&f->lock);
    int code = find_close(f, conn, NULL);
    pthread_mutex_unlock(&f->lock);
    return code != 0;
}

bool joined_last(uint64_t client, uint64_t ctrl) {
    if (!njoins || joins[njoins - 1].client != client || joins[njoins - 1].ctrl != ctrl) {
        fprintf(stderr, "%zu joins, the last of %llu and %llu\n", njoins, njoins ? (unsigned long long)joins[njoins - 1].client : 0,
                njoins ? (unsigned long long)joins[njoins - 1].ctrl : 0);
        return false;
    }
    return true;
}
