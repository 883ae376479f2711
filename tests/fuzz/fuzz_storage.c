/* Fuzz entry: what storage and users say about storage. The first byte chooses: a page of a list, XML alone, an address, credentials, a
 * connection string, what is signed. Names that a list tells are not empty and have no NUL; an address that was read reads again as itself;
 * a relative name that is safe stays below its folder. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "data/azure_sign.h"
#include "data/data_credentials.h"
#include "data/s3.h"
#include "data/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void relative(const char *name) {
    int depth = 0;
    if (!data_relative_is_safe(name))
        return;
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, "/");
        depth += n == 2 && !memcmp(p, "..", 2) ? -1 : 1;
        if (!n || depth <= 0)
            abort();
        p += n + (p[n] == '/');
    }
}

static int entry(void *ctx, const struct remote_entry *e, osmo_error_t *err) {
    (void)err;
    if (e && (!e->key || !*e->key || !e->etag || strlen(e->etag) >= REMOTE_ETAG_MAX))
        abort();
    if (e)
        relative(e->key);
    return ++*(int *)ctx > 10000;
}

static void address(const char *text) {
    struct data_uri u, again;
    osmo_error_t err = OSMO_ERROR_INIT;
    relative(text);
    if (data_uri_parse(text, &u, &err) < 0) {
        if (!err.text[0] || strpbrk(err.text, "\r\n"))
            abort();
        return;
    }
    if (data_uri_parse(u.text, &again, &err) < 0 || strcmp(u.text, again.text) != 0 || strcmp(u.path, again.path) != 0 ||
        strcmp(u.profile, again.profile) != 0 || !str_starts(u.text, u.profile))
        abort();
    data_uri_clear(&u);
    data_uri_clear(&again);
}

static void xml(const char *text, size_t len) {
    xml_reader_t r;
    struct xml_name n;
    enum xml_event e;
    int depth = 0;
    xml_begin(&r, text, len);
    while ((e = xml_next(&r, &n)) == XML_OPEN || e == XML_CLOSE) {
        depth += e == XML_OPEN ? 1 : -1;
        if (depth < 0 || depth > XML_DEPTH_MAX || n.text < text || n.text + n.len > text + len)
            abort();
    }
    if (e == XML_END && depth)
        abort();
    free(xml_find(text, len, "Code"));
}

static void credentials(const char *text, size_t len) {
    data_credentials_t *c = NULL, *copy = NULL;
    struct data_uri u;
    if (data_credentials_parse(text, len, &c, NULL) < 0)
        return;
    if (data_credentials_copy(c, &copy, NULL) == 0 && data_uri_parse("s3://bucket/a/b", &u, NULL) == 0) {
        if (!data_credentials_find(c, &u) != !data_credentials_find(copy, &u))
            abort();
        data_uri_clear(&u);
    }
    data_credentials_free(copy);
    data_credentials_free(c);
}

static void connection(const char *text) {
    struct azure_connection c;
    if (azure_connection_parse(text, &c, NULL) == 0) {
        if (!c.endpoint || (!c.key && !c.sas))
            abort();
        azure_connection_clear(&c);
    }
}

static void signature(const char *text) {
    const char *headers[] = { "Host: h", text, NULL };
    struct sigv4_pair query[] = { { text, "" }, { "b", text } };
    struct sigv4_input in = { .method = "GET", .path = "/", .query = query, .nquery = 2, .headers = headers, .payload = SIGV4_UNSIGNED,
                              .date = text, .region = "r", .service = "s3", .access_key_id = text, .access_key = text };
    struct azure_input azure = { .method = "GET", .account = "a", .key = text, .path = "/", .query = query, .nquery = 2,
                                 .headers = headers };
    buf_t out = BUF_INIT(1u << 20);
    sigv4_authorization(&in, &out);
    buf_reset(&out);
    azure_authorization(&azure, &out, NULL);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int entries = 0;
    if (!size)
        return 0;
    char *text = strndup((const char *)data + 1, size - 1);
    if (!text)
        return 0;
    switch (data[0]) {
    case 'l': s3_read_list((const char *)data + 1, size - 1, entry, &entries, NULL); break;
    case 'x': xml((const char *)data + 1, size - 1); break;
    case 'u': address(text); break;
    case 'c': credentials((const char *)data + 1, size - 1); break;
    case 'a': connection(text); break;
    case 's': signature(text); break;
    default: break;
    }
    free(text);
    return 0;
}
