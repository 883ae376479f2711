/* Which service a connection is for. Both ends of a session meet where its key says; a connection that reaches another service is carried
 * there as bytes (osmo_service_place()), with a header by which the other believes who the peer is: identities by gateways, limits and the
 * audit log are about that one. The header is signed with the key of the replicas, for one service and one request, and counts once.
 *
 * Clients that invent keys of connections (upstream's) are led by a cookie: it names the service that answered them first, in the clear,
 * for all it can do is choose among services that all check the same. Nothing here blocks. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/http.h"
#include "engine/replicas.h"
#include "engine/router_internal.h"

#define WINDOW_US (30 * SECOND_US)
#define SEGMENTS_MAX 6

/* The n-th header of this name. */
static const char *header_of(const osmo_request_t *rq, const char *name, size_t n) {
    for (const char *const *h = rq->headers; h && h[0] && h[1]; h += 2)
        if (strcmp(h[0], name) == 0 && n-- == 0)
            return h[1];
    return NULL;
}

/* ---- cookies ---- */

char *router_cookie_of(engine_t *e, uint32_t replica) {
    return replicas_count(e) ? str_printf(ROUTER_COOKIE "=%08x; Path=/", replica) : str_dup("");
}

char *router_cookie(engine_t *e) {
    if (!replicas_count(e) || !(e->roles & ROLE_ROUTER))
        return NULL;
    return str_printf(ROUTER_COOKIE "=%08x; Path=/; HttpOnly; SameSite=Lax", router_key_replica(replicas_id(e)));
}

/* Clients give back what they got in many ways: with its attributes, or several cookies behind one another. */
static bool cookie_value(const char *text, uint32_t *number) {
    size_t len = strlen(ROUTER_COOKIE "=");
    for (const char *at = text; (at = strstr(at, ROUTER_COOKIE "=")) != NULL; at += len) {
        bool begins = at == text || strchr("; ,\t", at[-1]);
        const char *value = at + len;
        if (!begins || strspn(value, "0123456789abcdef") != 8)
            continue;
        *number = router_key_replica(value);
        return true;
    }
    return false;
}

static bool cookie_of_request(const osmo_request_t *rq, uint32_t *number) {
    const char *text;
    for (size_t i = 0; (text = header_of(rq, "cookie", i)) != NULL; i++)
        if (cookie_value(text, number))
            return true;
    return false;
}

/* ---- the header ---- */

static void make_mac(engine_t *e, const osmo_request_t *rq, const char *to, const char *from, const char *stamp, const char *nonce,
                     const char *peer, char mac[33]) {
    char digest[65], text[400];
    _cleanup_free_ char *request = str_printf("%s\n%s\n%s", rq->method ? rq->method : "", rq->path ? rq->path : "",
                                              rq->query ? rq->query : "");
    *mac = '\0';
    if (!request)
        return;
    crypto_sha256_hex(request, strlen(request), digest);
    int n = snprintf(text, sizeof text, "peer\n%s\n%s\n%s\n%s\n%s\n%s", to, from, stamp, nonce, peer, digest);
    if (n > 0 && (size_t)n < sizeof text)
        channel_mac(e, text, mac);
}

/* "x-osmo-replica-peer: FROM MICROSECONDS NONCE PEER MAC" */
static bool make_header(engine_t *e, const osmo_request_t *rq, const char *to, char *out, size_t size) {
    char stamp[24], nonce[33], mac[33];
    const char *peer = rq->peer && *rq->peer ? rq->peer : "-";
    if (strlen(peer) > 63 || strpbrk(peer, " \t\r\n") || crypto_random_hex32(nonce) < 0)
        return false;
    snprintf(stamp, sizeof stamp, "%lld", (long long)engine_now(e));
    make_mac(e, rq, to, replicas_id(e), stamp, nonce, peer, mac);
    int n = snprintf(out, size, ROUTER_PEER_HEADER ": %s %s %s %s %s", replicas_id(e), stamp, nonce, peer, mac);
    return *mac && n > 0 && (size_t)n < size;
}

/* What has been accepted, by 64 bits of its MAC, until its window is over. */
#define SEEN_WAYS 8
#define SEEN_SETS 8192
struct peers_seen { struct { uint64_t mac; int64_t until_us; } of[SEEN_SETS][SEEN_WAYS]; };

int peers_seen_new(struct peers_seen **out) {
    *out = calloc(1, sizeof **out);
    return *out ? 0 : OSMO_ENOMEM;
}

void peers_seen_free(struct peers_seen *p) { free(p); }

/* False: it has been accepted before, or there is no room to remember it. */
static bool is_first(struct router_table *t, const char *mac, int64_t now) {
    char *end, head[17];
    snprintf(head, sizeof head, "%.16s", mac);
    uint64_t value = strtoull(head, &end, 16);
    size_t set = (size_t)(value % SEEN_SETS), room = SEEN_WAYS;
    bool known = false;
    pthread_mutex_lock(&t->peers_lock);
    for (size_t i = 0; i < SEEN_WAYS; i++) {
        bool counts = t->peers->of[set][i].until_us > now;
        known |= counts && t->peers->of[set][i].mac == value;
        room = counts ? room : i;
    }
    if (!known && room < SEEN_WAYS) {
        t->peers->of[set][room].mac = value;
        t->peers->of[set][room].until_us = now + 2 * WINDOW_US;
    }
    pthread_mutex_unlock(&t->peers_lock);
    return !known && room < SEEN_WAYS;
}

static bool is_good(engine_t *e, const osmo_request_t *rq, const strlist_t *parts) {
    char mac[33];
    int64_t at = 0, now = engine_now(e);
    if (parts->len != 5 || strlen(parts->items[0]) != 32 || strlen(parts->items[2]) != 32 || strlen(parts->items[3]) > 63 ||
        strlen(parts->items[4]) != 32 || !str_to_i64(parts->items[1], &at))
        return false;
    if (replicas_is_dead(e, parts->items[0])) /* one that is not known yet may be new: what counts is that it has the key */
        return false;
    make_mac(e, rq, replicas_id(e), parts->items[0], parts->items[1], parts->items[2], parts->items[3], mac);
    return *mac && crypto_equal(mac, parts->items[4], 32) && at > now - WINDOW_US && at < now + WINDOW_US && is_first(e->router, mac, now);
}

int router_peer(engine_t *e, const osmo_request_t *rq, char peer[64], osmo_error_t *err) {
    const char *text = header_of(rq, ROUTER_PEER_HEADER, 0);
    strlist_t parts = { 0 };
    if (!text)
        return 0;
    int rc = strlen(text) < 512 ? strlist_split(&parts, text, ' ') : OSMO_EINVAL;
    bool good = rc >= 0 && !header_of(rq, ROUTER_PEER_HEADER, 1) && is_good(e, rq, &parts);
    if (good)
        snprintf(peer, 64, "%s", str_eq(parts.items[3], "-") ? "" : parts.items[3]);
    strlist_free(&parts);
    return good ? 1 : osmo_error_set(err, OSMO_EDENIED, "the connection says that another service of this installation carries it here, "
                                                        "which is not so, or the clocks of the services differ");
}

/* ---- places ---- */

static osmo_place_t at(engine_t *e, const osmo_request_t *rq, const struct replica_found *to, osmo_place_t otherwise,
                       osmo_elsewhere_t *where) {
    url_parts_t url;
    if (url_parse(to->address, &url, NULL) < 0 || strlen(url.host) >= sizeof where->host ||
        !make_header(e, rq, to->id, where->header, sizeof where->header))
        return otherwise;
    snprintf(where->host, sizeof where->host, "%s", url.host);
    where->port = url.port;
    return OSMO_PLACE_ELSEWHERE;
}

/* "/api/router/exec/WORKFLOW/client/KEY": its segments, of a path with any number of slashes between them. */
static size_t split(const char *path, const char *segment[SEGMENTS_MAX], size_t len[SEGMENTS_MAX]) {
    size_t n = 0;
    while (*(path += strspn(path, "/"))) {
        if (n == SEGMENTS_MAX)
            return SEGMENTS_MAX + 1;
        segment[n] = path;
        len[n] = strcspn(path, "/");
        path += len[n++];
    }
    return n;
}

static bool is(const char *segment, size_t len, const char *word) { return strlen(word) == len && memcmp(segment, word, len) == 0; }

static bool session_key(const char *path, struct router_key *k) {
    const char *segment[SEGMENTS_MAX];
    size_t len[SEGMENTS_MAX];
    enum router_action a;
    char text[ROUTER_KEY_MAX];
    if (!path || split(path, segment, len) != SEGMENTS_MAX || !is(segment[0], len[0], "api") || !is(segment[1], len[1], "router") ||
        !router_action_parse(segment[2], len[2], &a) || len[5] >= sizeof text ||
        !(is(segment[4], len[4], "client") || is(segment[4], len[4], "backend")))
        return false;
    snprintf(text, sizeof text, "%.*s", (int)len[5], segment[5]);
    return router_key_parse(text, k);
}

/* Services without routers have none of these paths, but know who has. */
static enum replica_is place_of(engine_t *e, const osmo_request_t *rq, const struct router_key *k, struct replica_found *to) {
    uint32_t number = k->replica;
    enum replica_is is_at = REPLICA_GONE;
    if (k->form != ROUTER_KEY_INVENTED || cookie_of_request(rq, &number))
        is_at = replicas_by_number(e, number, to);
    if (k->form == ROUTER_KEY_INVENTED && is_at != REPLICA_ELSEWHERE)
        is_at = replicas_with_role(e, ROLE_ROUTER, to);
    return is_at;
}

osmo_place_t router_place(engine_t *e, const osmo_request_t *rq, osmo_elsewhere_t *where) {
    struct replica_found to;
    struct router_key k;
    char text[ROUTER_KEY_MAX];
    const char *upgrade = header_of(rq, "upgrade", 0);
    bool carried = header_of(rq, ROUTER_PEER_HEADER, 0) != NULL; /* once is enough */
    /* Never the service itself: what a task serves must not be of the same origin. */
    if (router_key_of_host(header_of(rq, "host", 0), &k, text))
        return !carried && replicas_by_number(e, k.replica, &to) == REPLICA_ELSEWHERE ? at(e, rq, &to, OSMO_PLACE_TUNNEL, where)
                                                                                      : OSMO_PLACE_TUNNEL;
    /* Nothing else may travel over a connection that the other service takes for one of the peer's. */
    if (carried || !upgrade || !session_key(rq->path, &k))
        return OSMO_PLACE_HERE;
    return place_of(e, rq, &k, &to) == REPLICA_ELSEWHERE ? at(e, rq, &to, OSMO_PLACE_HERE, where) : OSMO_PLACE_HERE;
}
