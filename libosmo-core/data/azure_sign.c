/* Shared Key, after Microsoft's "Authorize with Shared Key"; see azure_sign.h. */
#include "data/azure_sign.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/str.h"

#define HEADERS_MAX 64
#define TEXT_MAX (64u << 10)

/* ---- connection strings ---- */

static void wipe(char **text) {
    if (*text)
        crypto_wipe(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void azure_connection_clear(struct azure_connection *c) {
    wipe(&c->account);
    wipe(&c->key);
    wipe(&c->sas);
    wipe(&c->endpoint);
}

struct fields { char *protocol, *suffix; };

static char **slot_of(struct azure_connection *c, struct fields *f, const char *name, size_t len) {
    const struct { const char *name; char **slot; } known[] = {
        { "AccountName", &c->account }, { "AccountKey", &c->key }, { "SharedAccessSignature", &c->sas }, { "BlobEndpoint", &c->endpoint },
        { "DefaultEndpointsProtocol", &f->protocol }, { "EndpointSuffix", &f->suffix },
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strlen(known[i].name) == len && !strncasecmp(known[i].name, name, len))
            return known[i].slot;
    return NULL;
}

static int read_fields(const char *p, struct azure_connection *c, struct fields *f) {
    while (*p) {
        size_t n = strcspn(p, ";"), name = 0;
        while (name < n && p[name] != '=')
            name++;
        if (n && name == n)
            return OSMO_EINVAL;
        char **slot = n ? slot_of(c, f, p, name) : NULL;
        if (slot) {
            free(*slot);
            if (!(*slot = strndup(p + name + 1, n - name - 1)))
                return OSMO_ENOMEM;
        }
        p += n + (p[n] == ';');
    }
    return 0;
}

int azure_connection_parse(const char *text, struct azure_connection *out, osmo_error_t *err) {
    struct fields f = { NULL, NULL };
    memset(out, 0, sizeof *out);
    int rc = read_fields(text, out, &f);
    if (!rc && out->sas && out->sas[0] == '?')
        memmove(out->sas, out->sas + 1, strlen(out->sas));
    if (!rc && !out->endpoint && out->account) {
        out->endpoint = str_printf("%s://%s.blob.%s", f.protocol ? f.protocol : "https", out->account,
                                   f.suffix ? f.suffix : "core.windows.net");
        rc = out->endpoint ? 0 : OSMO_ENOMEM;
    }
    for (size_t n = !rc && out->endpoint ? strlen(out->endpoint) : 0; n && out->endpoint[n - 1] == '/'; n--)
        out->endpoint[n - 1] = '\0';
    bool usable = !rc && out->endpoint && ((out->account && out->key) || out->sas);
    for (const char *p = out->sas; usable && p && *p; p++)
        usable = (unsigned char)*p > ' ' && *p != 0x7f && *p != '#';
    free(f.protocol);
    free(f.suffix);
    if (usable)
        return 0;
    azure_connection_clear(out);
    return rc == OSMO_ENOMEM ? no_memory(err)
                             : osmo_error_set(err, OSMO_ECREDENTIAL,
                                              "the access_key is no connection string of Azure: it has AccountName=…;AccountKey=…, "
                                                                     "or BlobEndpoint=…;SharedAccessSignature=…");
}

/* ---- the text that is signed ---- */

static const char *header_value(const struct azure_input *in, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; in->headers[i]; i++)
        if (!strncasecmp(in->headers[i], name, n) && in->headers[i][n] == ':') {
            const char *v = in->headers[i] + n + 1;
            return v + strspn(v, " \t");
        }
    return "";
}

static int by_text(const void *a, const void *b) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    size_t n = strcspn(x, ":"), m = strcspn(y, ":");
    int order = strncasecmp(x, y, n < m ? n : m);
    return order ? order : n < m ? -1 : n > m;
}

static void put_own_headers(const struct azure_input *in, buf_t *out) {
    const char *list[HEADERS_MAX];
    size_t n = 0;
    for (size_t i = 0; in->headers[i] && n < HEADERS_MAX; i++)
        if (!strncasecmp(in->headers[i], "x-ms-", 5) && strchr(in->headers[i], ':'))
            list[n++] = in->headers[i];
    qsort(list, n, sizeof *list, by_text);
    for (size_t i = 0; i < n; i++) {
        const char *colon = strchr(list[i], ':');
        for (const char *p = list[i]; p < colon; p++)
            buf_putc(out, (char)tolower((unsigned char)*p));
        buf_printf(out, ":%s\n", colon + 1 + strspn(colon + 1, " \t"));
    }
}

static int by_pair(const void *a, const void *b) {
    const struct sigv4_pair *x = a, *y = b;
    return strcasecmp(x->name, y->name);
}

static int put_resource(const struct azure_input *in, buf_t *out) {
    struct sigv4_pair *sorted = calloc(in->nquery + 1, sizeof *sorted);
    if (!sorted)
        return OSMO_ENOMEM;
    if (in->nquery)
        memcpy(sorted, in->query, in->nquery * sizeof *sorted);
    qsort(sorted, in->nquery, sizeof *sorted, by_pair);
    buf_printf(out, "/%s%s", in->account, in->path);
    for (size_t i = 0; i < in->nquery; i++) {
        buf_putc(out, '\n');
        for (const char *p = sorted[i].name; *p; p++)
            buf_putc(out, (char)tolower((unsigned char)*p));
        buf_printf(out, ":%s", sorted[i].value);
    }
    free(sorted);
    return out->code;
}

int azure_string_to_sign(const struct azure_input *in, buf_t *out) {
    static const char *const before[] = { "Content-Encoding", "Content-Language" };
    static const char *const after[] = { "Content-MD5", "Content-Type", "Date", "If-Modified-Since", "If-Match", "If-None-Match",
                                         "If-Unmodified-Since", "Range" };
    buf_printf(out, "%s\n", in->method);
    for (size_t i = 0; i < ARRAY_SIZE(before); i++)
        buf_printf(out, "%s\n", header_value(in, before[i]));
    if (in->length)
        buf_printf(out, "%llu", (unsigned long long)in->length);
    buf_putc(out, '\n');
    for (size_t i = 0; i < ARRAY_SIZE(after); i++)
        buf_printf(out, "%s\n", header_value(in, after[i]));
    put_own_headers(in, out);
    return put_resource(in, out);
}

int azure_authorization(const struct azure_input *in, buf_t *out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(TEXT_MAX), key = BUF_SECRET(1024);
    uint8_t mac[32];
    if (crypto_base64_decode(in->key, strlen(in->key), &key, NULL) < 0)
        return osmo_error_set(err, OSMO_ECREDENTIAL, "the AccountKey of the connection string is no base64: copy it again");
    if (azure_string_to_sign(in, &text) < 0)
        return no_memory(err);
    crypto_hmac_sha256(key.data ? key.data : "", key.len, text.data, text.len, mac);
    buf_printf(out, "SharedKey %s:", in->account);
    return crypto_base64(mac, sizeof mac, out) < 0 ? no_memory(err) : 0;
}
