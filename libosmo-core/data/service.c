/* The service's own storage of task data as a place of storage: one tree of files for each task, which an upload
 * replaces as a whole when it is published. Wire: GET ?list=true, GET path, PUT path?upload=ID&mode=, POST
 * ?commit=ID. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "data/remote.h"
#include "data/session.h"

#define STORAGE "/api/storage/"
#define LIST_BYTES_MAX (256u << 20)
#define TOKENS_MAX 3 /* refused in a row: the next one will be, too */

struct service {
    char *root;      /* URL of the task's tree */
    char *below;     /* path in it, "" for all */
    char upload[33]; /* random: names what is not published */
    atomic_int refused_tokens;
};

static void service_close(struct remote *r) {
    struct service *s = r->state;
    free(s->root);
    free(s->below);
    free(s);
    r->state = NULL;
}

/* …/api/storage/WORKFLOW/TASK is the tree; what comes behind is a path in it. Other URLs are trees as they stand. */
static size_t root_length(const char *url) {
    const char *p = strstr(url, STORAGE);
    p = p ? p + strlen(STORAGE) : NULL;
    for (int i = 0; p && i < 2; i++) {
        p += strcspn(p, "/");
        if (i == 0 && *p)
            p++;
    }
    return p ? (size_t)(p - url) : strlen(url);
}

static int service_open(struct remote *r, osmo_error_t *err) {
    struct service *s = r->state = calloc(1, sizeof *s);
    if (!s)
        return no_memory(err);
    r->signs_payload = true; /* the service says what it received by its SHA-256 */
    size_t n = root_length(r->uri.path);
    s->root = strndup(r->uri.path, n);
    s->below = str_dup(r->uri.path[n] == '/' ? r->uri.path + n + 1 : "");
    if (!s->root || !s->below)
        return no_memory(err);
    return crypto_random_hex32(s->upload) < 0 ? osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system") : 0;
}

static int service_build(struct remote *r, const struct call *c, buf_t *url, strlist_t *headers, osmo_error_t *err) {
    struct service *s = r->state;
    buf_puts(url, s->root);
    if (c->key) {
        if (*s->below && buf_putc(url, '/') == 0)
            buf_puts(url, s->below);
        buf_putc(url, '/');
        if (remote_encode_path(c->key, url) < 0)
            return osmo_error_set(err, OSMO_ELIMIT, "a part of the name is longer than 1024 bytes");
    }
    if (c->nquery) {
        buf_putc(url, '?');
        sigv4_query(c->query, c->nquery, url);
    }
    char *value = session_authorization(r->session);
    char *line = value ? str_printf("Authorization: %s", value) : NULL;
    int rc = value && !line ? no_memory(err) : 0;
    if (!rc && line && strlist_add(headers, line) < 0)
        rc = no_memory(err);
    for (size_t i = 0; !rc && i < c->nheaders; i++)
        if (strlist_add(headers, c->headers[i]) < 0)
            rc = no_memory(err);
    if (value)
        crypto_wipe(value, strlen(value));
    if (line)
        crypto_wipe(line, strlen(line));
    free(value);
    free(line);
    return rc;
}

static int service_refused(struct remote *r, const struct call *c, const http_response_t *rs, osmo_error_t *err) {
    struct service *s = r->state;
    _cleanup_json_ json_t *body = NULL;
    (void)c;
    json_parse(rs->body.data ? rs->body.data : "", rs->body.len, &body, NULL);
    const char *message = json_get_str(body, "message");
    remote_refusal(r, rs->status, NULL, message ? message : json_get_str(body, "detail"), err);
    if (rs->status == 401 && atomic_fetch_add(&s->refused_tokens, 1) < TOKENS_MAX) /* it may have run out right now */
        return 2;
    return remote_status_passes(rs->status) ? 2 : err ? err->code : OSMO_EIO;
}

static int fetch_list(struct data_conn *c, struct remote *r, json_t **out, osmo_error_t *err) {
    struct call call = { .method = "GET", .max_response = LIST_BYTES_MAX };
    http_response_t rs;
    call_query(&call, "list", "true");
    int rc = remote_call(c, r, &call, &rs, err);
    if (!rc)
        rc = json_parse(rs.body.data ? rs.body.data : "", rs.body.len, out, err);
    http_response_free(&rs);
    return rc;
}

/* Keys are paths below the URI. */
static int service_list(struct data_conn *c, struct remote *r, const char *prefix, bool deep, remote_entry_fn fn,
                        void *ctx, osmo_error_t *err) {
    struct service *s = r->state;
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *last = NULL; /* prefix that was told last: lists are sorted */
    int rc = fetch_list(c, r, &answer, err);
    json_t *objects = json_get(answer, "objects");
    size_t below = strlen(s->below), skip = strlen(prefix);
    for (size_t i = 0; !rc && i < json_len(objects); i++) {
        json_t *o = json_at(objects, i);
        const char *path = json_get_str(o, "path");
        if (path && below) {
            if (!str_starts(path, s->below) || path[below] != '/')
                continue;
            path += below + 1;
        }
        if (!path)
            return osmo_error_set(err, OSMO_EIO, "the service listed an object without a path");
        if (!str_starts(path, prefix))
            continue;
        const char *slash = deep ? NULL : strchr(path + skip, '/');
        struct remote_entry e = { .key = path, .etag = "", .sha256 = json_get_str(o, "sha256"),
                                  .size = (uint64_t)json_get_int(o, "size", 0),
                                  .mode = (int)json_get_int(o, "mode", 0644) & 0777 };
        _cleanup_free_ char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;
        if (slash) {
            if (!folder)
                return no_memory(err);
            if (last && !strcmp(last, folder))
                continue;
            e = (struct remote_entry){ .key = folder, .etag = "", .mode = REMOTE_MODE_NONE, .is_prefix = true };
        }
        rc = fn(ctx, &e, err);
        if (folder) {
            free(last);
            last = STEAL(folder);
        }
    }
    return rc > 0 ? 0 : rc;
}

static int service_get(struct data_conn *c, struct remote *r, const char *key, struct sink *s, osmo_error_t *err) {
    struct call call = { .method = "GET", .key = key, .sink = s };
    http_response_t rs;
    int rc = remote_call(c, r, &call, &rs, err);
    http_response_free(&rs);
    return rc;
}

/* The service answers with what it wrote: that is compared. */
static int service_put(struct data_conn *c, struct remote *r, const char *key, const struct source *src, osmo_error_t *err) {
    struct service *s = r->state;
    struct call call = { .method = "PUT", .key = key, .source = src };
    _cleanup_json_ json_t *body = NULL;
    char mode[8], ours[65];
    http_response_t rs;
    snprintf(mode, sizeof mode, "%04o", (unsigned)src->mode & 0777u);
    call_header(&call, "Content-Type: application/octet-stream");
    call_query(&call, "mode", mode);
    call_query(&call, "upload", s->upload);
    int rc = remote_call(c, r, &call, &rs, err);
    if (!rc)
        json_parse(rs.body.data ? rs.body.data : "", rs.body.len, &body, NULL);
    http_response_free(&rs);
    const char *sum = json_get_str(body, "sha256");
    hex_text(src->sums.sha256, 32, ours);
    if (!rc && ((sum && src->sums.has_sha256 && strcasecmp(sum, ours) != 0) ||
                json_get_int(body, "size", (int64_t)src->len) != (int64_t)src->len))
        rc = osmo_error_set(err, OSMO_EBUSY, "%s keeps something else than what was sent", r->uri.profile);
    return rc;
}

static int service_publish(struct data_conn *c, struct remote *r, osmo_error_t *err) {
    struct service *s = r->state;
    struct call call = { .method = "POST" };
    http_response_t rs;
    call_query(&call, "commit", s->upload);
    int rc = remote_call(c, r, &call, &rs, err);
    http_response_free(&rs);
    return rc < 0 ? osmo_error_prefix(err, "publishing the upload") : 0;
}

static int service_remove(struct data_conn *c, struct remote *r, char *const *keys, size_t n, osmo_error_t *err) {
    (void)c;
    (void)keys;
    (void)n;
    return osmo_error_set(err, OSMO_EDENIED, "%s keeps the data of tasks: single objects cannot be removed there", r->uri.profile);
}

/* Writing is tried with an upload that is never published; the service forgets those. */
static int service_check(struct data_conn *c, struct remote *r, enum data_access access, osmo_error_t *err) {
    _cleanup_json_ json_t *answer = NULL;
    static const struct source nothing = { .fd = -1, .memory = "", .mode = 0644 };
    if (access == DATA_DELETE)
        return service_remove(c, r, NULL, 0, err);
    return access == DATA_READ ? fetch_list(c, r, &answer, err) : service_put(c, r, ".osmo-access-check", &nothing, err);
}

static int service_stat(struct data_conn *c, struct remote *r, const char *key, struct remote_info *out, osmo_error_t *err) {
    (void)c;
    memset(out, 0, sizeof *out);
    return osmo_error_set(err, OSMO_ENOTFOUND, "%s has no object %s", r->uri.profile, key); /* a URI names a tree */
}

const struct data_driver service_driver = {
    .schemes = { DATA_SERVICE }, .nschemes = 1, .delete_batch = 1,
    .open = service_open, .close = service_close, .build = service_build, .refused = service_refused,
    .stat = service_stat, .list = service_list, .get = service_get, .put = service_put, .publish = service_publish,
    .remove = service_remove, .check = service_check,
};
