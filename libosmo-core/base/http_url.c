/* URLs: percent-encoding and taking them apart; declared in http.h. Everybody may call it. */
#include "base/http.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"

int url_encode(const char *text, buf_t *out) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < 128 && isalnum(c)) || strchr("-._~", c))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
    return out->code;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int url_decode(const char *text, size_t len, bool plus_is_blank, buf_t *out) {
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '+' && plus_is_blank) {
            c = ' ';
        } else if (c == '%') {
            int high = len - i > 2 ? hex_value(text[i + 1]) : -1;
            int low = len - i > 2 ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return OSMO_EINVAL;
            c = (char)(uint8_t)(high << 4 | low);
            i += 2;
        }
        buf_putc(out, c);
    }
    return out->code;
}

/* Host and port of the authority [p, end), an IPv6 literal in brackets included. */
static bool parse_authority(const char *p, const char *end, url_parts_t *out) {
    for (const char *q = p; q < end; q++) {
        if (*q == '@') /* credentials in URLs end up in logs */
            return false;
    }
    const char *host_end = end, *colon = NULL;
    if (p < end && *p == '[') {
        const char *bracket = memchr(p, ']', (size_t)(end - p));
        if (!bracket)
            return false;
        p++;
        host_end = bracket;
        if (bracket + 1 < end)
            colon = bracket + 1;
        if (colon && *colon != ':')
            return false;
    } else if ((colon = memchr(p, ':', (size_t)(end - p)))) {
        host_end = colon;
    }
    size_t len = (size_t)(host_end - p);
    if (len == 0 || len >= sizeof out->host)
        return false;
    memcpy(out->host, p, len);
    out->host[len] = '\0';
    if (!colon)
        return true;
    out->port = 0;
    for (colon++; colon < end; colon++) {
        if (!isdigit((unsigned char)*colon) || (out->port = out->port * 10 + (*colon - '0')) > 65535)
            return false;
    }
    return out->port > 0;
}

int url_parse_origin(const char *url, url_parts_t *out, const char **rest, osmo_error_t *err) {
    static const struct {
        const char *name;
        int port;
    } schemes[] = { { "http", 80 }, { "https", 443 }, { "ws", 80 }, { "wss", 443 } };
    const char *sep = strstr(url, "://");
    memset(out, 0, sizeof *out);
    for (size_t i = 0; sep && i < ARRAY_SIZE(schemes); i++) {
        size_t len = strlen(schemes[i].name);
        if ((size_t)(sep - url) == len && strncasecmp(url, schemes[i].name, len) == 0) {
            memcpy(out->scheme, schemes[i].name, len + 1);
            out->port = schemes[i].port;
        }
    }
    if (!out->scheme[0])
        return osmo_error_set(err, OSMO_EINVAL, "the URL must begin with http://, https://, ws:// or wss://");
    const char *p = sep + 3, *end = p + strcspn(p, "/?#");
    if (!parse_authority(p, end, out))
        return osmo_error_set(err, OSMO_EINVAL, "the URL has no usable host and port: write %s://HOST:PORT/",
                              out->scheme);
    for (const char *q = end; *q && *q != '#'; q++) {
        if ((unsigned char)*q <= ' ' || *q == 127)
            return osmo_error_set(err, OSMO_EINVAL,
                                  "the URL contains a blank or a control character: percent-encode it");
    }
    *rest = end;
    return OSMO_OK;
}

int url_parse(const char *url, url_parts_t *out, osmo_error_t *err) {
    const char *end;
    int rc = url_parse_origin(url, out, &end, err);
    if (rc < 0)
        return rc;
    int n = snprintf(out->path, sizeof out->path, "%s%.*s", *end == '/' ? "" : "/", (int)strcspn(end, "#"), end);
    if (n < 0 || (size_t)n >= sizeof out->path)
        return osmo_error_set(err, OSMO_ELIMIT, "the path of the URL is longer than %zu bytes", sizeof out->path - 1);
    return OSMO_OK;
}
