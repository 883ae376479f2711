/* The HTTP half of the task-data storage; see storage_client.h. Wire: GET ?list=true, GET path, PUT
 * path?upload=ID&mode=, POST ?commit=ID. */
#include "data/storage_client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/http.h"
#include "base/json.h"
#include "base/re.h"

#define WALK_DEPTH_MAX 64
#define LIST_BYTES_MAX (256u << 20)

struct storage_client {
    struct storage_options o;
    http_client_t *http;
    char id[33];                    /* random: names what is not finished */
};

bool storage_is_url(const char *url) { return str_starts(url, "http://") || str_starts(url, "https://"); }

int storage_client_new(const struct storage_options *o, storage_client_t **out, osmo_error_t *err) {
    storage_client_t *c = calloc(1, sizeof *c);
    if (!c)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    c->o = *o;
    int rc = crypto_random_hex32(c->id) ? osmo_error_set(err, OSMO_EIO, "no randomness")
                                        : http_client_new("osmo-ctrl/" OSMO_VERSION, &c->http, err);
    if (rc) {
        free(c);
        return rc;
    }
    http_client_set_hints(c->http, "is the storage up?", NULL);
    *out = c;
    return 0;
}

void storage_client_free(storage_client_t *c) {
    if (c)
        http_client_free(c->http);
    free(c);
}

static void pause_ms(int ms) { poll(NULL, 0, ms); }

/* One request with the current token; repeated while the service cannot be reached or asks to come back. */
static int request(storage_client_t *c, http_request_t *rq, http_response_t *rs, osmo_error_t *err) {
    int64_t until = clock_mono_us() + c->o.retry_for_ms * 1000;
    for (int attempt = 0;; attempt++) {
        _cleanup_free_ char *value = c->o.authorization ? c->o.authorization(c->o.ctx) : NULL;
        _cleanup_free_ char *header = value ? str_printf("Authorization: %s", value) : NULL;
        const char *headers[] = { header, NULL };
        rq->headers = header ? headers : NULL;
        if (rq->upload && lseek(rq->upload_fd, 0, SEEK_SET) < 0)
            return osmo_error_set(err, OSMO_EIO, "cannot rewind: %s", strerror(errno));
        memset(rs, 0, sizeof *rs);
        int rc = http_perform(c->http, rq, rs, err);
        bool again = rc == OSMO_EUNAVAIL || rc == OSMO_ETIMEOUT || rc == OSMO_EIO ||
                     (!rc && (rs->status == 503 || rs->status == 429 || rs->status == 401));
        if (!again || clock_mono_us() > until || (rs->status == 401 && attempt > 2))
            return rc;
        http_response_free(rs);
        pause_ms(100 << (attempt < 5 ? attempt : 5));
    }
}

static int refuse(const http_response_t *rs, const char *what, osmo_error_t *err) {
    json_t *body = NULL;
    json_parse(rs->body.data ? rs->body.data : "", rs->body.len, &body, NULL);
    const char *message = json_get_str(body, "message");
    if (!message)
        message = json_get_str(body, "detail");
    int rc = osmo_error_set(err,
                            rs->status == 404   ? OSMO_ENOTFOUND
                            : rs->status == 403 ? OSMO_EDENIED
                                                : OSMO_EIO,
                            "%s: HTTP %d%s%s", what, rs->status, message ? ": " : "", message ? message : "");
    json_free(body);
    return rc;
}

/* "url/encoded path" with the slashes kept. */
static char *url_of(const char *url, const char *path, const char *query) {
    buf_t b = BUF_INIT(64 * 1024);
    buf_puts(&b, url);
    while (*path) {
        size_t n = strcspn(path, "/");
        _cleanup_free_ char *part = strndup(path, n);
        buf_putc(&b, '/');
        if (!part || url_encode(part, &b))
            break;
        path += n + (path[n] == '/');
    }
    buf_puts(&b, query);
    char *text = buf_steal(&b, NULL);
    buf_free(&b);
    return text;
}

static bool safe_path(const char *path) {
    if (!*path || *path == '/')
        return false;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += n + (p[n] == '/');
    }
    return true;
}

struct sink { int fd; bool failed; int status; };

static bool write_piece(void *ctx, const char *data, size_t len) {
    struct sink *s = ctx;
    if (s->status == 200 && fd_write_all(s->fd, data, len))
        s->failed = true;
    return !s->failed;
}

static int make_parent(const char *path, osmo_error_t *err) {
    _cleanup_free_ char *dir = strdup(path);
    if (!dir)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *strrchr(dir, '/') = '\0';
    return dir_make(dir, 0777, err);
}

/* The file is written under a name that no object has and that is never too long. */
static int fetch(storage_client_t *c, const char *url, const char *path, int64_t mode, const char *folder,
                 struct storage_totals *t, osmo_error_t *err) {
    _cleanup_free_ char *target = str_printf("%s/%s", folder, path);
    _cleanup_free_ char *aside = str_printf("%s/.osmo-part-%s", folder, c->id);
    _cleanup_free_ char *from = url_of(url, path, "");
    if (!aside || !from)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = make_parent(target, err);
    if (rc)
        return rc;
    _cleanup_close_ int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot write %s: %s", aside, strerror(errno));
    struct sink sink = { fd, false, 0 };
    http_request_t rq = {
        .method = "GET", .url = from, .on_data = write_piece, .ctx = &sink, .status_out = &sink.status
    };
    http_response_t rs;
    rc = request(c, &rq, &rs, err);
    if (!rc && rs.status != 200)
        rc = refuse(&rs, path, err);
    http_response_free(&rs);
    if (!rc && sink.failed)
        rc = osmo_error_set(err, OSMO_EIO, "cannot write %s: disk full?", aside);
    struct stat st;
    if (!rc && (fchmod(fd, (mode_t)(mode & 0777) | 0444) || fstat(fd, &st) || rename(aside, target)))
        rc = osmo_error_set(err, OSMO_EIO, "cannot finish %s: %s", target, strerror(errno));
    if (rc) {
        unlink(aside);
        return rc;
    }
    t->files++;
    t->bytes += (uint64_t)st.st_size;
    return 0;
}

static int list(storage_client_t *c, const char *url, json_t **objects, osmo_error_t *err) {
    _cleanup_free_ char *at = url_of(url, "", "?list=true");
    if (!at)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    http_request_t rq = { .method = "GET", .url = at, .max_response = LIST_BYTES_MAX, .timeout_ms = 120000 };
    http_response_t rs;
    int rc = request(c, &rq, &rs, err);
    if (!rc && rs.status != 200)
        rc = refuse(&rs, "listing", err);
    if (!rc)
        rc = json_parse(rs.body.data ? rs.body.data : "", rs.body.len, objects, err);
    http_response_free(&rs);
    return rc;
}

int storage_download(storage_client_t *c, const char *url, const char *regex, const char *folder,
                     struct storage_totals *totals, osmo_error_t *err) {
    _cleanup_json_ json_t *answer = NULL;
    re_t *re = NULL;
    int rc = *regex ? re_compile(regex, &re, err) : 0;
    if (!rc)
        rc = list(c, url, &answer, err);
    json_t *objects = json_get(answer, "objects");
    for (size_t i = 0; !rc && i < json_len(objects); i++) {
        json_t *o = json_at(objects, i);
        const char *path = json_get_str(o, "path");
        if (!path || !safe_path(path))
            rc = osmo_error_set(err, OSMO_EIO, "the storage listed an unsafe path");
        else if (!re || re_match_start(re, path, strlen(path)))
            rc = fetch(c, url, path, json_get_int(o, "mode", 0644), folder, totals, err);
    }
    re_free(re);
    return rc;
}

struct upload { storage_client_t *c; const char *url, *id, *root, *only; re_t *re; struct storage_totals *totals; };

static int send_file(struct upload *u, const char *path, int fd, osmo_error_t *err) {
    struct stat st;
    if (fstat(fd, &st))
        return osmo_error_set(err, OSMO_EIO, "cannot read %s: %s", path, strerror(errno));
    char query[96];
    snprintf(query, sizeof query, "?upload=%s&mode=%04o", u->id, st.st_mode & 0777u);
    _cleanup_free_ char *to = url_of(u->url, path, query);
    if (!to)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    http_request_t rq = {
        .method = "PUT", .url = to, .upload = true, .upload_fd = fd, .upload_len = (uint64_t)st.st_size
    };
    http_response_t rs;
    int rc = request(u->c, &rq, &rs, err);
    if (rc)
        osmo_error_prefix(err, "%s", path);
    else if (rs.status != 200)
        rc = refuse(&rs, path, err);
    http_response_free(&rs);
    if (!rc) {
        u->totals->files++;
        u->totals->bytes += (uint64_t)st.st_size;
    }
    return rc;
}

static int leave_out(const struct upload *u, const char *path, const char *why) {
    if (u->c->o.left_out)
        u->c->o.left_out(u->c->o.ctx, path, why);
    return 0;
}

/* Whoever made a link saw another file system than we do: it must lead to data, not to what only we can see. The real
 * path is opened without following anything, so that nobody can put another link in its place meanwhile. */
static int open_link(const struct upload *u, const char *full) {
    char real[PATH_MAX];
    if (!u->c->o.link_roots)
        return open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (!realpath(full, real))
        return -1;
    for (const char *const *root = u->c->o.link_roots; *root; root++) {
        char base[PATH_MAX];
        if (!realpath(*root, base) || !str_starts(real, base) || real[strlen(base)] != '/')
            continue;
        struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
        _cleanup_close_ int dir = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, real + strlen(base) + 1, &how, sizeof how);
    }
    errno = EXDEV;
    return -1;
}

static int walk(struct upload *u, const char *relative, int depth, osmo_error_t *err);

static int visit(struct upload *u, const char *relative, const char *name, int depth, osmo_error_t *err) {
    _cleanup_free_ char *path = *relative ? str_printf("%s/%s", relative, name) : strdup(name);
    _cleanup_free_ char *full = path ? str_printf("%s/%s", u->root, path) : NULL;
    if (!full)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    struct stat link, st;
    if (lstat(full, &link))
        return osmo_error_set(err, OSMO_EIO, "cannot read %s: %s", path, strerror(errno));
    if (S_ISDIR(link.st_mode))
        return walk(u, path, depth + 1, err);
    if ((u->only && strcmp(u->only, path) != 0) || (u->re && !re_match_start(u->re, path, strlen(path))))
        return 0;
    if (!S_ISREG(link.st_mode) && !S_ISLNK(link.st_mode))
        return leave_out(u, path, "it is no regular file");
    _cleanup_close_ int fd = S_ISLNK(link.st_mode) ? open_link(u, full)
                                                   : open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && S_ISLNK(link.st_mode))
        return leave_out(u, path,
                         errno == EXDEV ? "it is a link that leads outside the data of this task"
                                        : "it is a link that leads nowhere");
    if (fd < 0 || fstat(fd, &st))
        return osmo_error_set(err, OSMO_EIO, "cannot read %s: %s", path, strerror(errno));
    return S_ISREG(st.st_mode) ? send_file(u, path, fd, err)
                               : leave_out(u, path, "it is a link to something that is no regular file");
}

static int walk(struct upload *u, const char *relative, int depth, osmo_error_t *err) {
    if (depth > WALK_DEPTH_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "%s is nested deeper than %d directories", relative, WALK_DEPTH_MAX);
    _cleanup_free_ char *dir = str_printf("%s/%s", u->root, relative);
    struct dirent **entries = NULL;
    int n = dir ? scandir(dir, &entries, NULL, alphasort) : -1;
    if (n < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read %s: %s", *relative ? relative : u->root, strerror(errno));
    int rc = 0;
    for (int i = 0; i < n; i++) {
        if (!rc && strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0)
            rc = visit(u, relative, entries[i]->d_name, depth, err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int commit(storage_client_t *c, const char *url, const char *id, osmo_error_t *err) {
    char query[64];
    snprintf(query, sizeof query, "?commit=%s", id);
    _cleanup_free_ char *to = url_of(url, "", query);
    if (!to)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    http_request_t rq = { .method = "POST", .url = to, .timeout_ms = 600000 };
    http_response_t rs;
    int rc = request(c, &rq, &rs, err);
    if (!rc && rs.status != 200)
        rc = refuse(&rs, "publishing the upload", err);
    http_response_free(&rs);
    return rc;
}

int storage_upload(storage_client_t *c, const char *url, const char *regex, const char *folder, const char *only,
                   struct storage_totals *totals, osmo_error_t *err) {
    char id[33];
    struct upload u = { c, url, id, folder, only, NULL, totals };
    int rc = crypto_random_hex32(id) ? osmo_error_set(err, OSMO_EIO, "no randomness") : 0;
    if (!rc && *regex)
        rc = re_compile(regex, &u.re, err);
    if (!rc)
        rc = walk(&u, "", 0, err);
    if (!rc && totals->files)
        rc = commit(c, url, id, err);
    re_free(u.re);
    return rc;
}
