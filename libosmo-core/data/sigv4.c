/* AWS Signature Version 4, written after Amazon's description of it; see sigv4.h. */
#include "data/sigv4.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/http.h"
#include "base/str.h"

#define HEADERS_MAX 64
#define CANONICAL_MAX (256u << 10)

void sigv4_date(int64_t now_us, char out[SIGV4_DATE_MAX]) {
    char text[TIME_TEXT_MAX];
    time_iso(now_us - now_us % 1000000, text); /* 2015-08-30T12:36:00 */
    size_t n = 0;
    for (const char *p = text; *p && n < SIGV4_DATE_MAX - 2; p++)
        if (*p != '-' && *p != ':')
            out[n++] = *p;
    out[n++] = 'Z';
    out[n] = '\0';
}

/* ---- the query ---- */

struct encoded { char *name, *value; };

static int by_name(const void *a, const void *b) {
    const struct encoded *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->value, y->value);
}

static char *encode(const char *text) {
    buf_t b = BUF_INIT(CANONICAL_MAX);
    url_encode(text, &b);
    buf_cstr(&b);
    char *out = buf_failed(&b) ? NULL : b.data ? buf_steal(&b, NULL) : strdup("");
    buf_free(&b);
    return out;
}

int sigv4_query(const struct sigv4_pair *query, size_t n, buf_t *out) {
    struct encoded *list = calloc(n ? n : 1, sizeof *list);
    bool whole = list != NULL;
    for (size_t i = 0; whole && i < n; i++) {
        list[i].name = encode(query[i].name);
        list[i].value = encode(query[i].value ? query[i].value : "");
        whole = list[i].name && list[i].value;
    }
    if (whole)
        qsort(list, n, sizeof *list, by_name);
    for (size_t i = 0; whole && i < n; i++)
        buf_printf(out, "%s%s=%s", i ? "&" : "", list[i].name, list[i].value);
    for (size_t i = 0; list && i < n; i++) {
        free(list[i].name);
        free(list[i].value);
    }
    free(list);
    return whole ? out->code : OSMO_ENOMEM;
}

/* ---- the headers ---- */

struct header { const char *name, *value; size_t len; int order; };

static int by_header(const void *a, const void *b) {
    const struct header *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = strncasecmp(x->name, y->name, n);
    if (!order)
        order = x->len < y->len ? -1 : x->len > y->len;
    return order ? order : x->order - y->order;
}

static bool same_name(const struct header *a, const struct header *b) {
    return a->len == b->len && !strncasecmp(a->name, b->name, a->len);
}

static size_t collect(const struct sigv4_input *in, struct header out[HEADERS_MAX]) {
    size_t n = 0;
    for (; in->headers[n] && n < HEADERS_MAX; n++) {
        size_t len = strcspn(in->headers[n], ":");
        out[n] = (struct header){ in->headers[n], in->headers[n] + len + (in->headers[n][len] == ':'), len, (int)n };
    }
    qsort(out, n, sizeof *out, by_header);
    return n;
}

static void put_lower(buf_t *out, const struct header *h) {
    for (size_t i = 0; i < h->len; i++)
        buf_putc(out, (char)tolower((unsigned char)h->name[i]));
}

/* Without blanks at the ends, and with one for several in between. */
static void put_trimmed(buf_t *out, const char *value) {
    bool blank = false, first = true;
    for (; *value; value++) {
        if (isspace((unsigned char)*value)) {
            blank = true;
            continue;
        }
        if (blank && !first)
            buf_putc(out, ' ');
        buf_putc(out, *value);
        blank = first = false;
    }
}

static void put_names(buf_t *out, const struct header *h, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i && same_name(&h[i - 1], &h[i]))
            continue;
        if (i)
            buf_putc(out, ';');
        put_lower(out, &h[i]);
    }
}

int sigv4_canonical(const struct sigv4_input *in, buf_t *out) {
    struct header h[HEADERS_MAX];
    size_t n = collect(in, h);
    buf_printf(out, "%s\n%s\n", in->method, in->path);
    int rc = sigv4_query(in->query, in->nquery, out);
    buf_putc(out, '\n');
    for (size_t i = 0; i < n; i++) {
        bool again = i && same_name(&h[i - 1], &h[i]);
        if (i)
            buf_putc(out, again ? ',' : '\n');
        if (!again) {
            put_lower(out, &h[i]);
            buf_putc(out, ':');
        }
        put_trimmed(out, h[i].value);
    }
    buf_puts(out, "\n\n");
    put_names(out, h, n);
    buf_printf(out, "\n%s", in->payload);
    return rc < 0 ? rc : out->code;
}

/* ---- the signature ---- */

static void hmac(const uint8_t *key, size_t len, const char *text, uint8_t out[32]) {
    crypto_hmac_sha256(key, len, text, strlen(text), out);
}

static int derive(const struct sigv4_input *in, const char *day, uint8_t key[32]) {
    buf_t start = BUF_SECRET(CANONICAL_MAX);
    uint8_t a[32], b[32];
    if (buf_printf(&start, "AWS4%s", in->access_key) < 0)
        return OSMO_ENOMEM;
    hmac((const uint8_t *)start.data, start.len, day, a);
    hmac(a, sizeof a, in->region, b);
    hmac(b, sizeof b, in->service, a);
    hmac(a, sizeof a, "aws4_request", key);
    crypto_wipe(a, sizeof a);
    crypto_wipe(b, sizeof b);
    buf_free(&start);
    return 0;
}

static void put_hex(buf_t *out, const uint8_t *data, size_t len) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        buf_putc(out, digits[data[i] >> 4]);
        buf_putc(out, digits[data[i] & 15]);
    }
}

int sigv4_authorization(const struct sigv4_input *in, buf_t *out) {
    _cleanup_buf_ buf_t canonical = BUF_INIT(CANONICAL_MAX), text = BUF_INIT(4096);
    struct header h[HEADERS_MAX];
    char digest[65], day[9] = "";
    uint8_t key[32], mac[32];
    int rc = sigv4_canonical(in, &canonical);
    if (rc < 0)
        return rc;
    memcpy(day, in->date, strnlen(in->date, 8));
    crypto_sha256_hex(canonical.data, canonical.len, digest);
    rc = buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", in->date, day, in->region, in->service, digest);
    if (rc < 0 || (rc = derive(in, day, key)) < 0)
        return rc;
    crypto_hmac_sha256(key, sizeof key, text.data, text.len, mac);
    crypto_wipe(key, sizeof key);
    buf_printf(out, "AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=", in->access_key_id, day,
               in->region, in->service);
    put_names(out, h, collect(in, h));
    buf_puts(out, ", Signature=");
    put_hex(out, mac, sizeof mac);
    return out->code;
}
