/* The head of a request, read strictly: what two servers could understand differently is refused, because a proxy may stand before us.
 * No sockets here; called by net_http.c on the network thread, and by the fuzzer of heads. */
#include "server/net_head.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/str.h"

#define URI_MAX (16u << 10)
#define PATH_MAX_BYTES 8192 /* decoded */

static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS" };
/* Headers that mean one thing: twice is no request. What is not among them is a list, as RFC 9110 has it. */
static const char *const single[] = {
    "host", "content-length", "transfer-encoding", "authorization", "content-type", "content-encoding", "content-range", "expect",
    "upgrade", "origin", "referer", "user-agent", "range", "if-range", "if-modified-since", "sec-websocket-key", "sec-websocket-version",
};

int64_t head_size(const char *data, size_t len, size_t *scanned) {
    const char *end;
    if (len && (data[0] < 'A' || data[0] > 'Z'))
        return -400;
    for (size_t i = *scanned; i < len && (end = memchr(data + i, '\n', len - i)); i = (size_t)(end - data) + 1) {
        size_t at = (size_t)(end - data);
        if (at == 0 || data[at - 1] != '\r')
            return -400;
        if (at >= 3 && data[at - 2] == '\n')
            return at < HEAD_MAX ? (int64_t)at + 1 : -431;
    }
    *scanned = len;
    end = memchr(data, '\n', len);
    if ((end ? (size_t)(end - data) : len) > URI_MAX + 64)
        return -414;
    return len >= HEAD_MAX ? -431 : 0;
}

/* ---- the request line ---- */

static int hex_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. False for a bad escape or a NUL. */
static bool decode(char *path) {
    char *to = path;
    for (const char *p = path; *p;) {
        if (*p != '%') {
            *to++ = *p++;
            continue;
        }
        int high = hex_of(p[1]), low = high < 0 ? -1 : hex_of(p[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high << 4 | low);
        p += 3;
    }
    *to = '\0';
    return true;
}

/* In place: one slash between segments, none of them "." or "..". */
static void normalise(char *path) {
    char *to = path;
    const char *p = path;
    bool slash = false;
    while (*p) {
        p += strspn(p, "/");
        size_t n = strcspn(p, "/");
        slash = p[n] == '/' || n == 0;
        if (n == 2 && p[0] == '.' && p[1] == '.') {
            while (to > path && *--to != '/')
                ;
            slash = true;
        } else if (n == 1 && p[0] == '.') {
            slash = true;
        } else if (n) {
            *to++ = '/';
            memmove(to, p, n);
            to += n;
        }
        p += n;
    }
    if (slash || to == path)
        *to++ = '/';
    *to = '\0';
}

static const char *known_method(const char *text) {
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        if (strcmp(text, methods[i]) == 0)
            return methods[i];
    }
    return NULL;
}

static int fail(struct head *h, int status, const char *why) {
    h->why = why;
    return status;
}

/* "http://authority/path": the authority has to be that of the Host header, which is compared later. */
static char *strip_authority(struct head *h, char *target) {
    size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
    if (!scheme)
        return target;
    size_t n = strcspn(target + scheme, "/?");
    memmove(target, target + scheme, n); /* to the front, so that it can end where its path begins */
    char *path = target + scheme + n;
    target[n] = '\0';
    h->authority = target;
    return path;
}

static int read_request_line(struct head *h, char *line) {
    char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version)
        return fail(h, 400, "The request line is not METHOD PATH HTTP/1.1");
    *target++ = *version++ = '\0';
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return strncmp(version, "HTTP/", 5) == 0 ? fail(h, 505, "Only HTTP/1.1 is spoken here")
                                                 : fail(h, 400, "The request line is not METHOD PATH HTTP/1.1");
    h->http10 = version[7] == '0';
    h->method = known_method(line);
    h->other_method = !h->method;
    bool word = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == strlen(line);
    if (!h->method && (!word || strcmp(line, "CONNECT") == 0 || strcmp(line, "TRACE") == 0))
        return fail(h, 501, "The method is not known here");
    if (!h->method)
        h->method = line;
    if (strlen(target) > URI_MAX)
        return fail(h, 414, "The address is longer than 16 KiB");
    for (const char *p = target; *p; p++) {
        if (*p <= ' ' || *p >= 0x7f || *p == '#')
            return fail(h, 400, "The address has characters that must be percent-encoded");
    }
    target = strip_authority(h, target);
    char *query = strchr(target, '?');
    if (query)
        *query++ = '\0';
    h->query = query ? query : "";
    if (h->authority && !*target)
        *--target = '/'; /* the byte before it belongs to the scheme or to the authority's old place */
    if (*target != '/' || !decode(target))
        return fail(h, 400, "The address is no path");
    normalise(target);
    if (strlen(target) > PATH_MAX_BYTES)
        return fail(h, 414, "The path is longer than 8 KiB");
    h->path = target;
    return 0;
}

/* ---- headers ---- */

/* Characters of a name: themselves, in lower case. */
static const char token_char[256] = {
    ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*', ['+'] = '+', ['-'] = '-', ['.'] = '.',
    ['^'] = '^', ['_'] = '_', ['`'] = '`', ['|'] = '|', ['~'] = '~', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',
    ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e',
    ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o',
    ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y',
    ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i',
    ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's',
    ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

static bool is_single(const char *name) {
    if (strncmp(name, "x-osmo-", 7) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(single); i++) {
        if (strcmp(name, single[i]) == 0)
            return true;
    }
    return false;
}

static int read_header(struct head *h, char *line) {
    char *p = line;
    for (; *p && *p != ':'; p++) {
        *p = token_char[(unsigned char)*p];
        if (!*p)
            return fail(h, 400, "A header is not NAME: VALUE");
    }
    if (p == line || *p != ':')
        return fail(h, 400, "A header is not NAME: VALUE");
    *p++ = '\0';
    p += strspn(p, " \t");
    size_t n = strlen(p);
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        p[--n] = '\0';
    for (const unsigned char *v = (unsigned char *)p; *v; v++) {
        if ((*v < ' ' && *v != '\t') || *v == 0x7f)
            return fail(h, 400, "A header has a control character in its value");
    }
    if (h->count >= HEAD_MAX_HEADERS)
        return fail(h, 431, "There are too many headers");
    h->headers[2 * h->count] = line;
    h->headers[2 * h->count + 1] = p;
    h->count++;
    return 0;
}

/* Values of a header that comes several times become one list, in the room behind the text; the others of its name go. */
static char *join(struct head *h, size_t first, char *room) {
    const char *name = h->headers[2 * first], *between = strcmp(name, "cookie") == 0 ? "; " : ", ";
    char *start = room;
    size_t kept = first + 1;
    room = stpcpy(room, h->headers[2 * first + 1]);
    for (size_t i = first + 1; i < h->count; i++) {
        if (strcmp(h->headers[2 * i], name) == 0) {
            room = stpcpy(stpcpy(room, between), h->headers[2 * i + 1]);
            continue;
        }
        h->headers[2 * kept] = h->headers[2 * i];
        h->headers[2 * kept + 1] = h->headers[2 * i + 1];
        kept++;
    }
    h->count = kept;
    h->headers[2 * first + 1] = start;
    return room + 1;
}

static int join_all(struct head *h, char *room) {
    for (size_t i = 0; i < h->count; i++) {
        for (size_t j = i + 1; j < h->count; j++) {
            if (strcmp(h->headers[2 * i], h->headers[2 * j]) != 0)
                continue;
            if (is_single(h->headers[2 * i]))
                return fail(h, 400, "A header that has one value comes twice");
            room = join(h, i, room);
            break;
        }
    }
    h->headers[2 * h->count] = NULL;
    return 0;
}

const char *head_header(const struct head *h, const char *name) {
    for (size_t i = 0; i < h->count; i++) {
        if (strcmp(h->headers[2 * i], name) == 0)
            return h->headers[2 * i + 1];
    }
    return NULL;
}

bool head_lists(const char *list, const char *word) {
    size_t len = strlen(word);
    for (const char *p = list; p && *p; p += strcspn(p, ",")) {
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ", \t");
        if (n == len && strncasecmp(p, word, n) == 0)
            return true;
    }
    return false;
}

static int read_host(struct head *h) {
    const char *host = head_header(h, "host");
    if (!host)
        return h->http10 ? 0 : fail(h, 400, "The request has no Host header");
    if (strpbrk(host, " \t/@?#,\\") || (h->authority && strcasecmp(h->authority, host) != 0))
        return fail(h, 400, "The Host header is not the host of the address");
    return 0;
}

static int read_length(struct head *h) {
    const char *text = head_header(h, "content-length"), *coding = head_header(h, "transfer-encoding");
    if (coding && text)
        return fail(h, 400, "Content-Length and Transfer-Encoding exclude each other");
    if (coding && (h->http10 || strcasecmp(coding, "chunked") != 0))
        return fail(h, 411, "The transfer coding of the body is not supported: send Content-Length");
    h->chunked = coding;
    if (!text)
        return 0;
    if (!*text || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text))
        return fail(h, 400, "Content-Length is malformed");
    h->body_len = strtoull(text, NULL, 10);
    return 0;
}

static int read_connection(struct head *h) {
    const char *connection = head_header(h, "connection"), *expect = head_header(h, "expect"), *upgrade = head_header(h, "upgrade");
    h->keep_alive = !head_lists(connection, "close") && (!h->http10 || head_lists(connection, "keep-alive"));
    h->wants_continue = expect && strcasecmp(expect, "100-continue") == 0 && !h->http10;
    h->websocket = upgrade && strcasecmp(upgrade, "websocket") == 0 && head_lists(connection, "upgrade") && !h->http10;
    if (expect && strcasecmp(expect, "100-continue") != 0)
        return fail(h, 417, "Only 100-continue can be expected");
    return 0;
}

int head_read(const char *data, size_t len, struct head *h) {
    memset(h, 0, sizeof *h);
    h->size = 2 * len + 4 * HEAD_MAX_HEADERS;
    h->text = malloc(h->size);
    if (!h->text)
        return fail(h, 503, "There is no memory for the request");
    memcpy(h->text, data, len);
    h->text[len - 2] = '\0'; /* the empty line */
    if (strlen(h->text) != len - 2)
        return fail(h, 400, "There is a NUL in the head of the request");
    int rc = 0;
    bool first = true;
    for (char *line = h->text, *next; rc == 0 && *line; line = next) {
        char *end = strstr(line, "\r\n");
        size_t n = end ? (size_t)(end - line) : strlen(line);
        next = line + n + (end ? 2 : 0);
        line[n] = '\0';
        if (strchr(line, '\r') || (!first && (*line == ' ' || *line == '\t')))
            return fail(h, 400, "A header goes on over the end of its line");
        rc = first ? read_request_line(h, line) : read_header(h, line);
        first = false;
    }
    if (rc == 0)
        rc = join_all(h, h->text + len);
    if (rc == 0)
        rc = read_host(h);
    if (rc == 0)
        rc = read_connection(h);
    return rc == 0 ? read_length(h) : rc;
}

int head_ours(struct head *h) {
    if (h->other_method)
        return fail(h, 501, "The method is not known here");
    return h->chunked ? fail(h, 411, "Chunked request bodies are not supported: send Content-Length") : 0;
}

int head_parse(const char *data, size_t len, struct head *h) {
    int rc = head_read(data, len, h);
    return rc ? rc : head_ours(h);
}

void head_free(struct head *h) {
    if (h->text)
        crypto_wipe(h->text, h->size);
    free(h->text);
    memset(h, 0, sizeof *h);
}
