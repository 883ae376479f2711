/* The channel between replicas: what others are to be told, questions to them, and what comes in from them. One
 * thread for each live other replica sends batches over a connection that stays open; what is noted while a batch is
 * under way is merged by kind and key and makes the next one, so that a quiet channel answers in one round trip and a
 * busy one grows by what is new, not by how often it is said. A batch is dropped once the other has answered 200;
 * else it is given back and tried again, as long as the other is a member. A new member is told to look at everything
 * first: what was committed before it was known here was not told to it. Somebody who has nothing to tell asks once a
 * second whether the other is still there, for that one takes with it what it had to tell.
 *
 * Requests carry no identity of a user. They are signed with a key derived from the master secret, which all
 * processes on one database have, over the path, the time, the replica that is meant and the body. Called by engine/
 * and api/replica_routes.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/map.h"
#include "engine/auth_internal.h"
#include "engine/logs_internal.h"
#include "engine/replica_internal.h"
#include "engine/router.h"

#define KEY_PURPOSE "replica-channel:1"
#define SCHEME "OSMO-Replica "
#define WINDOW_US (60LL * 1000 * 1000)
#define PENDING_MAX 65536
#define BATCH_MAX 4096
#define ANSWER_MAX (64u << 10)
#define CONNECT_MS 1000
#define TIMEOUT_MS 3000
#define BACKOFF_FIRST_US (50LL * 1000)
#define BACKOFF_MAX_US (1000LL * 1000)
#define FAILURES_TOLD 6 /* more than a second */
#define PING_US (1000LL * 1000)
#define REST_MAX_US (50LL * 1000)
#define MAC_HEX 64

struct peer {
    struct channel *c;
    struct peer *next;
    char id[33];
    char *address;
    pthread_t thread;
    pthread_cond_t news; /* on CLOCK_MONOTONIC, with the channel's lock */
    map_t *pending;      /* a letter for the kind, then the key */
    bool all;            /* instead of what is pending */
    int failures;        /* in a row */
    bool leaving, finished;
};

/* ---- signatures ---- */

static void hex(const uint8_t *bytes, size_t n, char *out) {
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* The receiver is part of what is signed: what one replica was told is no use with another. */
static int sign(const struct channel *c, const char *to, const char *stamp, const void *body, size_t len,
                char out[MAC_HEX + 1]) {
    char digest[65], text[256];
    uint8_t mac[32];
    crypto_sha256_hex(body, len, digest);
    int n = snprintf(text, sizeof text, "POST\n%s\n%s\n%s\n%s", REPLICA_PATH, stamp, to, digest);
    if (n < 0 || (size_t)n >= sizeof text)
        return OSMO_EINVAL;
    crypto_hmac_sha256(c->key, sizeof c->key, text, (size_t)n, mac);
    hex(mac, sizeof mac, out);
    crypto_wipe(mac, sizeof mac);
    return 0;
}

/* "OSMO-Replica <microseconds>:<mac>" */
static bool signature_is_good(struct channel *c, const char *authorization, const void *body, size_t len) {
    char stamp[24], mac[MAC_HEX + 1];
    int64_t at;
    if (!authorization || !str_starts(authorization, SCHEME))
        return false;
    const char *text = authorization + strlen(SCHEME), *colon = strchr(text, ':');
    size_t digits = colon ? (size_t)(colon - text) : 0;
    if (!digits || digits >= sizeof stamp || strlen(colon + 1) != MAC_HEX)
        return false;
    memcpy(stamp, text, digits);
    stamp[digits] = '\0';
    if (!str_to_i64(stamp, &at) || sign(c, replicas_id(c->e), stamp, body, len, mac) < 0)
        return false;
    int64_t now = engine_now(c->e);
    bool recent = at > now - WINDOW_US && at < now + WINDOW_US;
    return crypto_equal(mac, colon + 1, MAC_HEX) && recent;
}

/* ---- one request ---- */

struct target {
    const char *id, *address;
};

static int check_answer(const struct target *to, const http_response_t *rs, json_t **answer, osmo_error_t *err) {
    if (rs->status == 401)
        return osmo_error_set(err, OSMO_EUNAUTH, "it refuses the signature; are the clocks of the machines set?");
    if (rs->status != 200)
        return osmo_error_set(err, OSMO_EUNAVAIL, "%s answers with status %d", to->address, rs->status);
    return answer ? json_parse(rs->body.data ? rs->body.data : "", rs->body.len, answer, err) : 0;
}

static int post(struct channel *c, http_client_t **http, const struct target *to, const char *body, json_t **answer,
                osmo_error_t *err) {
    char stamp[24], mac[MAC_HEX + 1];
    size_t len = strlen(body);
    snprintf(stamp, sizeof stamp, "%lld", (long long)engine_now(c->e));
    int rc = sign(c, to->id, stamp, body, len, mac);
    _cleanup_free_ char *url = str_printf("%s%s", to->address, REPLICA_PATH);
    _cleanup_free_ char *header = str_printf("Authorization: " SCHEME "%s:%s", stamp, mac);
    if (rc < 0 || !url || !header)
        return osmo_error_set(err, rc < 0 ? rc : OSMO_ENOMEM, "cannot make a message");
    if (!*http && (rc = http_client_new("osmo-replica", http, err)) < 0)
        return rc;
    const char *headers[] = { header, "Content-Type: application/json", NULL };
    http_request_t rq = { .method = "POST", .url = url, .headers = headers, .body = body, .body_len = len,
                          .direct = true, .connect_timeout_ms = CONNECT_MS, .timeout_ms = TIMEOUT_MS,
                          .max_response = ANSWER_MAX };
    http_response_t rs;
    rc = http_perform(*http, &rq, &rs, err);
    if (rc >= 0)
        rc = check_answer(to, &rs, answer, err);
    http_response_free(&rs);
    return rc;
}

/* ---- what waits for a peer; under the channel's lock ---- */

static void pending_clear(struct peer *p) {
    size_t it = 0;
    const char *key;
    while (map_next(p->pending, &it, &key, NULL))
        map_remove(p->pending, key);
}

static void note(struct peer *p, char kind, const char *key) {
    char text[HINT_KEY_MAX + 2];
    if (p->all)
        return;
    snprintf(text, sizeof text, "%c%s", kind, key);
    if (kind == 'a' + HINT_ALL || (map_len(p->pending) >= PENDING_MAX && !map_has(p->pending, text)) ||
        map_set(p->pending, text, NULL) < 0) {
        p->all = true;
        pending_clear(p);
    }
}

void replicas_hint(engine_t *e, enum hint h, const char *key) {
    struct channel *c = e->channel;
    if (!c || !atomic_load(&c->others) || !hint_name(h))
        return;
    key = key ? key : "";
    if (strlen(key) > HINT_KEY_MAX) {
        h = HINT_ALL;
        key = "";
    }
    pthread_mutex_lock(&c->lock);
    for (struct peer *p = c->peers; p; p = p->next) {
        note(p, (char)('a' + h), key);
        pthread_cond_signal(&p->news);
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- the thread of a peer ---- */

struct batch {
    bool all;
    strlist_t items; /* as in `pending` */
};

static void batch_clear(struct batch *b) {
    strlist_free(&b->items);
    b->all = false;
}

/* Waits for something to tell, or until it is time to see whether the other is still there; false when the thread is
 * to end. What is pending when the service stops is tried once. */
static bool batch_take(struct peer *p, struct batch *b) {
    struct channel *c = p->c;
    int64_t until = clock_mono_us() + PING_US;
    pthread_mutex_lock(&c->lock);
    while (!p->all && !map_len(p->pending) && !p->leaving && !c->stopped && cond_wait_until(&p->news, &c->lock, until))
        ;
    bool some = p->all || map_len(p->pending);
    bool go = !p->leaving && (!c->stopped || (some && !p->failures));
    size_t it = 0;
    const char *key;
    b->all = go && p->all;
    p->all = p->all && !go;
    while (go && !b->all && b->items.len < BATCH_MAX && map_next(p->pending, &it, &key, NULL)) {
        if (strlist_add(&b->items, key) < 0)
            break;
        map_remove(p->pending, key);
    }
    if (go && some && !b->all && !b->items.len) { /* no memory for the list */
        b->all = true;
        pending_clear(p);
    }
    pthread_mutex_unlock(&c->lock);
    return go;
}

static void batch_give_back(struct peer *p, const struct batch *b) {
    pthread_mutex_lock(&p->c->lock);
    if (b->all)
        note(p, 'a' + HINT_ALL, "");
    for (size_t i = 0; i < b->items.len; i++)
        note(p, b->items.items[i][0], b->items.items[i] + 1);
    pthread_mutex_unlock(&p->c->lock);
}

static int add_hint(json_t *list, enum hint h, const char *key) {
    json_t *pair = json_array();
    int rc = pair ? json_add_str(pair, hint_name(h)) : OSMO_ENOMEM;
    if (rc >= 0 && *key)
        rc = json_add_str(pair, key);
    if (rc < 0) {
        json_free(pair);
        return rc;
    }
    return json_add(list, pair);
}

static char *batch_text(struct channel *c, const struct batch *b) {
    _cleanup_json_ json_t *body = json_object();
    json_t *list = json_array();
    int rc = list ? 0 : OSMO_ENOMEM;
    if (rc >= 0 && b->all)
        rc = add_hint(list, HINT_ALL, "");
    for (size_t i = 0; rc >= 0 && i < b->items.len; i++)
        rc = add_hint(list, (enum hint)(b->items.items[i][0] - 'a'), b->items.items[i] + 1);
    if (rc < 0 || !body) {
        json_free(list);
        return NULL;
    }
    rc = json_set(body, "hints", list);
    if (rc >= 0)
        rc = json_set_str(body, "from", replicas_id(c->e));
    return rc < 0 ? NULL : json_to_text(body);
}

static int deliver(struct peer *p, http_client_t **http, const struct batch *b, osmo_error_t *err) {
    _cleanup_free_ char *text = batch_text(p->c, b);
    struct target to = { p->id, p->address };
    return text ? post(p->c, http, &to, text, NULL, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static void rest(struct peer *p, int64_t us) {
    struct channel *c = p->c;
    int64_t until = clock_mono_us() + us;
    pthread_mutex_lock(&c->lock);
    while (!p->leaving && !c->stopped && cond_wait_until(&p->news, &c->lock, until))
        ;
    pthread_mutex_unlock(&c->lock);
}

/* Who does not answer any more may have died behind a commit that it told nobody. That is looked for now, and once more
 * when its lease ends; that one does not answer for a moment is nothing to log. */
static void count_failure(struct peer *p, bool failed, const osmo_error_t *err) {
    logger_t *log = &p->c->e->log;
    pthread_mutex_lock(&p->c->lock);
    int before = p->failures;
    p->failures = !failed ? 0 : before < FAILURES_TOLD ? before + 1 : before;
    int now = p->failures;
    pthread_mutex_unlock(&p->c->lock);
    if (now == 1)
        hint_apply(p->c->e, HINT_ALL, NULL);
    if (now == FAILURES_TOLD && before < now)
        log_warning(log, "the service %.8s of this database cannot be told what changes, trying again as long as its "
                         "lease is renewed: %s", p->id, err->text);
    if (before == FAILURES_TOLD && !now)
        log_info(log, "the service %.8s of this database is told again what changes", p->id);
}

static void *peer_main(void *arg) {
    struct peer *p = arg;
    struct batch b = { 0 };
    http_client_t *http = NULL;
    int64_t backoff = BACKOFF_FIRST_US;
    while (batch_take(p, &b)) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int64_t began = clock_mono_us();
        int rc = deliver(p, &http, &b, &err);
        int64_t took = clock_mono_us() - began;
        if (rc < 0)
            batch_give_back(p, &b);
        batch_clear(&b);
        count_failure(p, rc < 0, &err);
        /* At most half of the time goes into telling, so that what changes all the time is merged. */
        rest(p, rc < 0 ? backoff : took < REST_MAX_US ? took : REST_MAX_US);
        backoff = rc >= 0 ? BACKOFF_FIRST_US : backoff * 2 < BACKOFF_MAX_US ? backoff * 2 : BACKOFF_MAX_US;
    }
    http_client_free(http);
    pthread_mutex_lock(&p->c->lock);
    p->finished = true;
    pthread_mutex_unlock(&p->c->lock);
    return NULL;
}

/* ---- members ---- */

static void peer_free(struct peer *p) {
    pthread_cond_destroy(&p->news);
    map_free(p->pending);
    free(p->address);
    free(p);
}

static int peer_start(struct channel *c, const struct replica *r, struct peer **out, osmo_error_t *err) {
    struct peer *p = calloc(1, sizeof *p);
    if (!p)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    cond_init(&p->news);
    p->c = c;
    p->all = true;
    memcpy(p->id, r->id, sizeof p->id);
    p->address = str_dup(r->address);
    p->pending = map_new(NULL);
    int rc = p->address && p->pending ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0 && pthread_create(&p->thread, NULL, peer_main, p) != 0)
        rc = osmo_error_set(err, OSMO_EUNAVAIL, "too many threads");
    if (rc < 0) {
        peer_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

static bool is_listed(const char *id, const char *address, const struct replica *list, size_t n) {
    bool found = false;
    for (size_t i = 0; i < n && !found; i++)
        found = str_eq(list[i].id, id) && str_eq(list[i].address, address);
    return found;
}

static void forget_gone(struct channel *c, const struct replica *list, size_t n) {
    pthread_mutex_lock(&c->lock);
    for (struct peer **at = &c->peers; *at;) {
        struct peer *p = *at;
        if (is_listed(p->id, p->address, list, n)) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        p->next = c->gone;
        c->gone = p;
        p->leaving = true;
        pthread_cond_signal(&p->news);
    }
    pthread_mutex_unlock(&c->lock);
}

/* `wait`: also for those that are not finished yet. */
static void reap(struct channel *c, bool wait) {
    struct peer *done = NULL;
    pthread_mutex_lock(&c->lock);
    for (struct peer **at = &c->gone; *at;) {
        struct peer *p = *at;
        if (!wait && !p->finished) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        p->next = done;
        done = p;
    }
    pthread_mutex_unlock(&c->lock);
    while (done) {
        struct peer *p = done;
        done = p->next;
        pthread_join(p->thread, NULL);
        peer_free(p);
    }
}

static bool is_peer(struct channel *c, const struct replica *r) {
    const struct peer *p = c->peers; /* changed under members_lock only, which the caller holds */
    while (p && !(str_eq(p->id, r->id) && str_eq(p->address, r->address)))
        p = p->next;
    return p != NULL;
}

static int add_peer(struct channel *c, const struct replica *r, osmo_error_t *err) {
    struct peer *p = NULL;
    int rc = peer_start(c, r, &p, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&c->lock);
    p->next = c->peers;
    c->peers = p;
    atomic_store(&c->others, true);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

void channel_members_changed(engine_t *e) {
    struct channel *c = e->channel;
    struct replica *list = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    size_t n = 0;
    if (!c)
        return;
    pthread_mutex_lock(&c->members_lock);
    int rc = c->stopped ? OSMO_EGONE : replicas_others(e, &list, &n, &err);
    if (rc >= 0)
        forget_gone(c, list, n);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        if (!is_peer(c, &list[i]))
            rc = add_peer(c, &list[i], &err);
    if (rc >= 0)
        atomic_store(&c->others, n > 0);
    if (rc < 0 && !c->stopped) {
        log_error(&e->log, "not all services of this database can be told what changes, trying again: %s", err.text);
        looker_members(c);
    }
    reap(c, false);
    replica_list_free(list, n);
    pthread_mutex_unlock(&c->members_lock);
}

/* ---- questions ---- */

struct question {
    const char *name, *about, *value; /* "ctrl_connected", "workflow", its id */
    const char *answer;               /* a bool */
};

static int ask(struct channel *c, const struct replica *r, const struct question *q, bool *connected, osmo_error_t *err) {
    _cleanup_json_ json_t *question = json_object(), *answer = NULL;
    struct target to = { r->id, r->address };
    int rc = question ? json_set_str(question, "from", replicas_id(c->e)) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(question, "ask", q->name);
    if (rc >= 0)
        rc = json_set_str(question, q->about, q->value);
    _cleanup_free_ char *text = rc < 0 ? NULL : json_to_text(question);
    if (!text)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    rc = post(c, &c->asker, &to, text, &answer, err);
    if (rc >= 0)
        *connected = json_get_bool(answer, q->answer, false);
    return rc;
}

/* Others are not kept waiting for one that does not answer anyhow. */
static bool is_failing(struct channel *c, const char *id) {
    pthread_mutex_lock(&c->lock);
    const struct peer *p = c->peers;
    while (p && !str_eq(p->id, id))
        p = p->next;
    bool failing = p && p->failures;
    pthread_mutex_unlock(&c->lock);
    return failing;
}

bool channel_is_failing(engine_t *e, const char *id) { return e->channel && is_failing(e->channel, id); }

static int ask_all(engine_t *e, const struct question *q, bool *connected, osmo_error_t *err) {
    struct channel *c = e->channel;
    struct replica *list = NULL;
    osmo_error_t why = OSMO_ERROR_INIT;
    size_t n = 0;
    *connected = false;
    osmo_error_set(&why, OSMO_EUNAVAIL, "it does not answer");
    if (!c || !atomic_load(&c->others))
        return 0;
    int rc = replicas_others(e, &list, &n, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&c->ask_lock);
    for (size_t i = 0; i < n && !*connected; i++)
        if (is_failing(c, list[i].id) || ask(c, &list[i], q, connected, &why) < 0)
            rc = osmo_error_set(err, OSMO_EUNAVAIL, "the service %.8s of this database cannot be asked: %s",
                                list[i].id, why.text);
    pthread_mutex_unlock(&c->ask_lock);
    replica_list_free(list, n);
    return *connected ? 0 : rc;
}

int replicas_ctrl_connected(engine_t *e, const char *workflow_id, bool *connected, osmo_error_t *err) {
    return ask_all(e, &(struct question){ "ctrl_connected", "workflow", workflow_id, "connected" }, connected, err);
}

int replicas_webserver_alive(engine_t *e, const char *key, bool *alive, osmo_error_t *err) {
    return ask_all(e, &(struct question){ "webserver_alive", "key", key, "alive" }, alive, err);
}

void channel_mac(engine_t *e, const char *text, char mac[33]) {
    uint8_t whole[32];
    *mac = '\0';
    if (!e->channel)
        return;
    crypto_hmac_sha256(e->channel->key, sizeof e->channel->key, text, strlen(text), whole);
    hex(whole, 16, mac);
    crypto_wipe(whole, sizeof whole);
}

/* ---- from others ---- */

static int receive_hints(engine_t *e, const json_t *list, osmo_error_t *err) {
    size_t n = json_len(list);
    if (json_kind(list) != JSON_ARRAY)
        return osmo_error_set(err, OSMO_EINVAL, "hints must be a list");
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_at(list, i);
        hint_apply(e, hint_parse(json_str(json_at(pair, 0))), json_str(json_at(pair, 1)));
    }
    return 0;
}

int channel_receive(engine_t *e, const char *authorization, const void *body, size_t len, buf_t *answer,
                    osmo_error_t *err) {
    struct channel *c = e->channel;
    _cleanup_json_ json_t *o = NULL;
    if (!c)
        return osmo_error_set(err, OSMO_ENOTFOUND, "this service has no replicas");
    if (!signature_is_good(c, authorization, body, len))
        return osmo_error_set(err, OSMO_EUNAUTH, "the message is not from a replica");
    int rc = json_parse(body, len, &o, err);
    if (rc < 0)
        return rc;
    replicas_heard_of(e, json_get_str(o, "from"));
    const char *question = json_get_str(o, "ask"), *workflow = json_get_str(o, "workflow"), *key = json_get_str(o, "key");
    if (!question) {
        rc = receive_hints(e, json_get(o, "hints"), err);
        return rc < 0 ? rc : buf_puts(answer, "{}");
    }
    if (str_eq(question, "ctrl_connected") && workflow)
        return buf_printf(answer, "{\"connected\":%s}", logs_ctrl_is_here(e, workflow) ? "true" : "false");
    if (str_eq(question, "webserver_alive") && key)
        return buf_printf(answer, "{\"alive\":%s}", router_webserver_here(e, key) ? "true" : "false");
    return osmo_error_set(err, OSMO_EINVAL, "this version does not know the question");
}

/* ---- life ---- */

int channel_open(engine_t *e, osmo_error_t *err) {
    if (!replicas_shared(e))
        return 0;
    struct channel *c = calloc(1, sizeof *c);
    if (!c)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    c->e = e;
    pthread_mutex_init(&c->members_lock, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->ask_lock, NULL);
    crypto_hmac_sha256(e->auth->master, sizeof e->auth->master, KEY_PURPOSE, strlen(KEY_PURPOSE), c->key);
    e->channel = c;
    int rc = looker_start(c, err);
    if (rc >= 0)
        channel_members_changed(e);
    return rc;
}

void channel_stop(engine_t *e) {
    struct channel *c = e->channel;
    if (!c)
        return;
    pthread_mutex_lock(&c->members_lock);
    pthread_mutex_lock(&c->lock);
    c->stopped = true;
    atomic_store(&c->others, false);
    for (struct peer *p = c->peers; p; p = p->next)
        pthread_cond_signal(&p->news);
    while (c->peers) {
        struct peer *p = c->peers;
        c->peers = p->next;
        p->next = c->gone;
        c->gone = p;
    }
    pthread_mutex_unlock(&c->lock);
    reap(c, true);
    pthread_mutex_unlock(&c->members_lock);
    looker_stop(c);
}

void channel_close(engine_t *e) {
    struct channel *c = e->channel;
    if (!c)
        return;
    channel_stop(e);
    looker_free(c);
    http_client_free(c->asker);
    crypto_wipe(c->key, sizeof c->key);
    pthread_mutex_destroy(&c->ask_lock);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->members_lock);
    e->channel = NULL;
    free(c);
}
