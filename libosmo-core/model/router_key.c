/* Keys of interactive sessions; see router_key.h. */
#include "model/router_key.h"

#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "base/str.h"

#define RAW (ROUTER_MAC_BYTES + 6 + 4 * 4) /* 32 bytes: 52 characters, of which the last says one bit */
#define HEX 32

static const struct { const char *name, *prefix; } actions[ROUTER_ACTIONS] = {
    [ROUTER_EXEC] = { "exec", "EXEC-" },
    [ROUTER_PORTFORWARD] = { "portforward", "PORTFORWARD-" },
    [ROUTER_WEBSERVER] = { "webserver", "webserver-" },
    [ROUTER_RSYNC] = { "rsync", "RSYNC-" },
};
static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

const char *router_action_name(enum router_action a) { return (unsigned)a < ROUTER_ACTIONS ? actions[a].name : ""; }

bool router_action_parse(const char *text, size_t len, enum router_action *out) {
    for (unsigned i = 0; i < ROUTER_ACTIONS; i++) {
        if (strlen(actions[i].name) != len || memcmp(actions[i].name, text, len) != 0)
            continue;
        *out = (enum router_action)i;
        return true;
    }
    return false;
}

/* ---- bytes and characters ---- */

static void put(uint8_t *to, uint64_t value, size_t bytes) {
    while (bytes--) {
        to[bytes] = (uint8_t)value;
        value >>= 8;
    }
}

static uint64_t get(const uint8_t *from, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | from[i];
    return value;
}

static void encode(const uint8_t raw[RAW], char *out) {
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < RAW; i++) {
        bits = (bits & 0xff) << 8 | raw[i];
        for (have += 8; have >= 5; have -= 5)
            *out++ = alphabet[bits >> (have - 5) & 31];
    }
    *out++ = alphabet[bits << (5 - have) & 31];
    *out = '\0';
}

static int digit(char c) {
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

/* The bits that the last character has too many are 0: of two texts for one key one is none. */
static bool decode(const char *text, uint8_t raw[RAW]) {
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    for (size_t i = 0; i < ROUTER_KEY_TEXT; i++) {
        int d = digit(text[i]);
        if (d < 0)
            return false;
        bits = (bits & 0xff) << 5 | (uint32_t)d;
        have += 5;
        if (have < 8)
            continue;
        have -= 8;
        raw[n++] = (uint8_t)(bits >> have);
    }
    return (bits & ((1u << have) - 1)) == 0;
}

static void pack(const struct router_key *k, uint8_t raw[RAW]) {
    memcpy(raw, k->mac, ROUTER_MAC_BYTES);
    put(raw + 10, k->nonce, 6);
    put(raw + 16, k->replica, 4);
    put(raw + 20, k->expires_s, 4);
    put(raw + 24, k->user, 4);
    put(raw + 28, k->task, 4);
}

static void unpack(const uint8_t raw[RAW], struct router_key *k) {
    memcpy(k->mac, raw, ROUTER_MAC_BYTES);
    k->nonce = get(raw + 10, 6);
    k->replica = (uint32_t)get(raw + 16, 4);
    k->expires_s = (uint32_t)get(raw + 20, 4);
    k->user = (uint32_t)get(raw + 24, 4);
    k->task = (uint32_t)get(raw + 28, 4);
}

/* ---- texts ---- */

/* Without leading zeros, and 1 at least. */
static bool parse_number(const char *text, uint32_t *out) {
    uint64_t n = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 10 || *text == '0')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    *out = (uint32_t)n;
    return n <= UINT32_MAX;
}

static bool parse_signed(const char *text, struct router_key *k) {
    uint8_t raw[RAW];
    if (!decode(text, raw))
        return false;
    unpack(raw, k);
    k->form = text[ROUTER_KEY_TEXT] ? ROUTER_KEY_CONNECTION : ROUTER_KEY_SESSION;
    return !text[ROUTER_KEY_TEXT] || (text[ROUTER_KEY_TEXT] == '-' && parse_number(text + ROUTER_KEY_TEXT + 1, &k->number));
}

bool router_key_parse(const char *text, struct router_key *out) {
    size_t len = text ? strnlen(text, ROUTER_KEY_MAX) : 0;
    if (len == 0 || len >= ROUTER_KEY_MAX)
        return false;
    for (unsigned i = 0; i < ROUTER_ACTIONS; i++) {
        size_t prefix = strlen(actions[i].prefix);
        if (strncmp(text, actions[i].prefix, prefix) != 0)
            continue;
        *out = (struct router_key){ .action = (enum router_action)i };
        if (len - prefix >= ROUTER_KEY_TEXT)
            return parse_signed(text + prefix, out);
        /* Nobody but a client has reason to invent one, and only for connections of these. */
        out->form = ROUTER_KEY_INVENTED;
        return (i == ROUTER_PORTFORWARD || i == ROUTER_RSYNC) && len - prefix == HEX &&
            strspn(text + prefix, "0123456789abcdef") == HEX;
    }
    return false;
}

bool router_key_of_host(const char *host, struct router_key *out, char text[ROUTER_KEY_MAX]) {
    size_t len = host ? strcspn(host, ".:") : 0;
    if (len != strlen(actions[ROUTER_WEBSERVER].prefix) + ROUTER_KEY_TEXT)
        return false;
    for (size_t i = 0; i < len; i++)
        text[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] - 'A' + 'a') : host[i];
    text[len] = '\0';
    return router_key_parse(text, out) && out->action == ROUTER_WEBSERVER && out->form == ROUTER_KEY_SESSION;
}

void router_key_parent(const char *text, char parent[ROUTER_KEY_MAX]) {
    size_t len = strcspn(text, "-") + 1 + ROUTER_KEY_TEXT;
    snprintf(parent, ROUTER_KEY_MAX, "%.*s", (int)len, text);
}

/* ---- what only services can make ---- */

static void sign(const uint8_t secret[32], const char *workflow_uuid, const struct router_key *k, uint8_t mac[ROUTER_MAC_BYTES]) {
    uint8_t raw[RAW], whole[32];
    char text[128];
    pack(k, raw);
    int n = snprintf(text, sizeof text, "key\n%s\n%.40s\n", actions[k->action].prefix, workflow_uuid);
    memcpy(text + n, raw + ROUTER_MAC_BYTES, RAW - ROUTER_MAC_BYTES);
    crypto_hmac_sha256(secret, 32, text, (size_t)n + RAW - ROUTER_MAC_BYTES, whole);
    memcpy(mac, whole, ROUTER_MAC_BYTES);
    crypto_wipe(whole, sizeof whole);
}

void router_key_make(const uint8_t secret[32], const char *workflow_uuid, struct router_key *k, char text[ROUTER_KEY_MAX]) {
    uint8_t raw[RAW];
    k->form = ROUTER_KEY_SESSION;
    k->number = 0;
    sign(secret, workflow_uuid, k, k->mac);
    pack(k, raw);
    int n = snprintf(text, ROUTER_KEY_MAX, "%s", actions[k->action].prefix);
    encode(raw, text + n);
}

bool router_key_is_genuine(const uint8_t secret[32], const char *workflow_uuid, const struct router_key *k) {
    uint8_t mac[ROUTER_MAC_BYTES];
    if (k->form == ROUTER_KEY_INVENTED)
        return false;
    sign(secret, workflow_uuid, k, mac);
    return crypto_equal(mac, k->mac, sizeof mac);
}

static uint32_t hash(const uint8_t secret[32], const char *what, uint64_t nonce, const char *name, int64_t number) {
    uint8_t digest[32], whole[32];
    char head[64];
    crypto_sha256(name, strlen(name), digest); /* names may be long */
    int n = snprintf(head, sizeof head, "%s\n%llx\n%lld\n", what, (unsigned long long)nonce, (long long)number);
    uint8_t text[sizeof head + sizeof digest];
    memcpy(text, head, (size_t)n);
    memcpy(text + n, digest, sizeof digest);
    crypto_hmac_sha256(secret, 32, text, (size_t)n + sizeof digest, whole);
    return (uint32_t)get(whole, 4);
}

uint32_t router_key_user(const uint8_t secret[32], uint64_t nonce, const char *user) {
    return hash(secret, "user", nonce, user ? user : "", 0);
}

uint32_t router_key_task(const uint8_t secret[32], uint64_t nonce, const char *task, int64_t retry_id) {
    return hash(secret, "task", nonce, task ? task : "", retry_id);
}

uint32_t router_key_replica(const char *replica_id) {
    uint32_t value = 0;
    for (size_t i = 0; i < 8 && replica_id[i]; i++) {
        const char *at = strchr("0123456789abcdef", replica_id[i]);
        value = value << 4 | (at ? (uint32_t)(at - "0123456789abcdef") : 0);
    }
    return value;
}
