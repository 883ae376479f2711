/* Gateways in front of the service: proxies that have proved who is asking and say so in x-osmo-* headers. Believed from configured
 * addresses only, and only when the request carries no token of its own. Called by auth_identify.c. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/identity_internal.h"

#define GATEWAYS_MAX 256
#define ADDRESS_TEXT_MAX 64

/* IPv4 is kept as the block ::ffff:0:0/96 of IPv6, as a socket that takes both reports it. */
struct block { uint8_t address[16]; unsigned bits; };
struct gateways { struct block *blocks; size_t n; };

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool read_address(const char *text, size_t len, uint8_t out[16], bool *v4) {
    char copy[ADDRESS_TEXT_MAX];
    if (!len || len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    memcpy(out, mapped, sizeof mapped);
    *v4 = inet_pton(AF_INET, copy, out + 12) == 1;
    return *v4 || inet_pton(AF_INET6, copy, out) == 1;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits) {
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole))
        return false;
    return !rest || !((a[whole] ^ b[whole]) & (uint8_t)(0xff << (8 - rest)));
}

static bool read_block(const char *text, struct block *out, osmo_error_t *err) {
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    bool v4 = false;
    int64_t bits = 0;
    if (!read_address(text, len, out->address, &v4)) {
        osmo_error_set(err, OSMO_EINVAL, "trusted gateway '%.80s' is not an address: write for example 10.0.0.5, 10.0.0.0/8 or fd00::/8",
                       text);
        return false;
    }
    int64_t most = v4 ? 32 : 128;
    if (!slash)
        bits = most;
    else if (!str_to_i64(slash + 1, &bits) || bits < 0 || bits > most) {
        osmo_error_set(err, OSMO_EINVAL, "trusted gateway '%.80s': behind the slash there must be 0 to %lld bits", text, (long long)most);
        return false;
    }
    out->bits = (unsigned)bits + (v4 ? 96 : 0);
    uint8_t rest[16] = { 0 };
    for (unsigned i = 0; i < out->bits; i++)
        rest[i / 8] |= (uint8_t)(out->address[i / 8] & (0x80 >> (i % 8)));
    if (memcmp(rest, out->address, 16)) {
        osmo_error_set(err, OSMO_EINVAL, "trusted gateway '%.80s' is an address within the block it names: write the block's first "
                                         "address, or the address without a slash", text);
        return false;
    }
    return true;
}

static char *trimmed(char *text) {
    text += strspn(text, " \t");
    for (size_t n = strlen(text); n && (text[n - 1] == ' ' || text[n - 1] == '\t'); n--)
        text[n - 1] = '\0';
    return text;
}

static int read_blocks(const strlist_t *entries, struct gateways *g, osmo_error_t *err) {
    if (entries->len > GATEWAYS_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "more than %d trusted gateways: name blocks instead", GATEWAYS_MAX);
    g->blocks = calloc(entries->len, sizeof *g->blocks);
    if (!g->blocks)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < entries->len; i++) {
        const char *entry = trimmed(entries->items[i]);
        if (*entry && !read_block(entry, &g->blocks[g->n++], err))
            return OSMO_EINVAL;
    }
    return 0;
}

int gateways_parse(const char *list, struct gateways **out, osmo_error_t *err) {
    strlist_t entries = { 0 };
    *out = NULL;
    if (!list || !*list)
        return 0;
    struct gateways *g = calloc(1, sizeof *g);
    int rc = g ? strlist_split(&entries, list, ',') : OSMO_ENOMEM;
    if (rc < 0)
        osmo_error_set(err, rc, "out of memory");
    else
        rc = read_blocks(&entries, g, err);
    strlist_free(&entries);
    if (rc < 0)
        gateways_free(g);
    else
        *out = g;
    return rc;
}

void gateways_free(struct gateways *g) {
    if (!g)
        return;
    free(g->blocks);
    free(g);
}

bool gateways_trust(const struct gateways *g, const char *peer) {
    uint8_t address[16];
    bool v4;
    if (!g || !peer || !read_address(peer, strcspn(peer, "%"), address, &v4)) /* behind %: the interface */
        return false;
    for (size_t i = 0; i < g->n; i++) {
        if (same_bits(address, g->blocks[i].address, g->blocks[i].bits))
            return true;
    }
    return false;
}

/* ---- what they say ---- */

/* A header that comes twice could mean one thing to the gateway and another to us. */
static int only_header(const osmo_request_t *rq, const char *name, const char **value, osmo_error_t *err) {
    *value = NULL;
    for (const char *const *h = rq->headers; h && h[0] && h[1]; h += 2) {
        if (strcmp(h[0], name))
            continue;
        if (*value)
            return osmo_error_set(err, OSMO_EUNAUTH, "the gateway sent the header %s twice", name);
        *value = h[1];
    }
    if (*value && !**value)
        *value = NULL;
    if (*value && !identity_name_usable(*value) && strcmp(name, "x-osmo-roles"))
        return osmo_error_set(err, OSMO_EUNAUTH, "the gateway's header %s is not a name of at most %d bytes", name, MAX_USER_BYTES);
    return 0;
}

static int add_roles(const char *list, strlist_t *out) {
    strlist_t pieces = { 0 };
    int rc = strlist_split(&pieces, list, ',');
    for (size_t i = 0; rc >= 0 && i < pieces.len; i++) {
        const char *role = trimmed(pieces.items[i]);
        if (identity_role_usable(role) && !strlist_has(out, role))
            rc = out->len == MAX_EXTERNAL ? OSMO_ELIMIT : strlist_add(out, role);
    }
    strlist_free(&pieces);
    return rc;
}

int gateway_identify(const osmo_request_t *rq, struct identity *out, osmo_error_t *err) {
    const char *user, *roles, *token, *workflow;
    int rc = only_header(rq, "x-osmo-user", &user, err);
    if (rc >= 0)
        rc = only_header(rq, "x-osmo-roles", &roles, err);
    if (rc >= 0)
        rc = only_header(rq, "x-osmo-token-name", &token, err);
    if (rc >= 0)
        rc = only_header(rq, "x-osmo-workflow-id", &workflow, err);
    if (rc < 0)
        return rc;
    if (!user)
        return osmo_error_set(err, OSMO_EUNAUTH, "the request carries no token, and the gateway did not say who is asking; " LOGIN_HINT);
    out->kind = IDENTITY_GATEWAY;
    int failed = identity_set_text(&out->user, user);
    failed |= identity_set_text(&out->token_name, token);
    failed |= identity_set_text(&out->workflow_id, workflow);
    rc = failed || !roles ? 0 : add_roles(roles, &out->external);
    if (rc == OSMO_ELIMIT) {
        identity_clear(out);
        return osmo_error_set(err, OSMO_EUNAUTH, "the gateway's header x-osmo-roles names more than %d roles", MAX_EXTERNAL);
    }
    if (failed || rc < 0) {
        identity_clear(out);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return 0;
}

int gateway_digest(const struct identity *who, uint8_t hash[32]) {
    _cleanup_buf_ buf_t text = BUF_INIT(256u << 10);
    const char *const parts[] = { who->user, who->token_name, who->workflow_id };
    buf_putc(&text, '\0'); /* no token begins so */
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        buf_puts(&text, parts[i] ? parts[i] : "");
        buf_putc(&text, '\n'); /* in no name: identity_name_usable */
    }
    for (size_t i = 0; i < who->external.len; i++) {
        buf_puts(&text, who->external.items[i]);
        buf_putc(&text, '\n');
    }
    if (buf_failed(&text))
        return OSMO_ENOMEM;
    crypto_sha256(text.data, text.len, hash);
    return 0;
}
