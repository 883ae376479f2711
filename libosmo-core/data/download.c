/* Files from storage; see files.h. Each is written beside its place and renamed when it is whole and its checksum fits. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"
#include "data/files.h"
#include "data/session.h"

struct download_job { struct job job; struct wanted w; const struct download *d; };

void wanted_clear(struct wanted *w) {
    free(w->name);
    free(w->key);
    free(w->etag);
    free(w->md5);
    free(w->sha256);
    free(w->target);
    memset(w, 0, sizeof *w);
}

static void job_free(struct job *job) {
    struct download_job *j = (struct download_job *)job;
    wanted_clear(&j->w);
    free(j->job.name);
    free(j);
}

/* Never longer than a name may be, whatever the key's length. */
char *aside_name(const struct run *run, const struct wanted *w, const char *prefix) {
    char name[65];
    const char *slash = strrchr(w->target, '/');
    _cleanup_free_ char *what = str_printf("%s\n%s\n%s", run_remote(run)->uri.text, w->key, slash + 1);
    if (!what)
        return NULL;
    crypto_sha256_hex(what, strlen(what), name);
    return str_printf("%.*s/%s%.32s", (int)(slash - w->target), w->target, prefix, name);
}

/* The storage's own rule for objects made of parts: the MD5 of their MD5s. 1, 0, or -1. */
static int same_parts(struct run *run, struct data_conn *c, const struct wanted *w, int fd) {
    struct remote *r = run_remote(run);
    unsigned n = etag_parts(w->etag);
    uint64_t part = n && c->md5 && r->driver->part_size ? r->driver->part_size(c, r, w->key) : 0;
    _cleanup_free_ uint8_t *all = part && (w->size + part - 1) / part == n ? malloc((size_t)n * 16) : NULL;
    char text[33];
    struct digests sums;
    if (!all)
        return -1;
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = (uint64_t)i * part, len = w->size - at < part ? w->size - at : part;
        if (digests_of(c, fd, NULL, at, len, true, false, &sums, NULL) < 0)
            return -1;
        memcpy(all + 16 * i, sums.md5, 16);
    }
    if (digests_of(c, -1, all, 0, (uint64_t)n * 16, true, false, &sums, NULL) < 0)
        return -1;
    hex_text(sums.md5, 16, text);
    return !strncasecmp(text, w->etag, 32);
}

int same_bytes(struct run *run, struct data_conn *c, const struct wanted *w, int fd) {
    struct digests sums;
    char text[65];
    bool md5 = w->md5 && c->md5, sha = w->sha256 != NULL;
    if (!md5 && !sha)
        return same_parts(run, c, w, fd);
    if (digests_of(c, fd, NULL, 0, w->size, md5, sha, &sums, NULL) < 0)
        return -1;
    if (md5)
        hex_text(sums.md5, 16, text);
    else
        hex_text(sums.sha256, 32, text);
    return !strcasecmp(text, md5 ? w->md5 : w->sha256);
}

int give_name(const struct wanted *w, int fd, const char *aside, osmo_error_t *err) {
    mode_t mode = w->mode == REMOTE_MODE_NONE ? 0644 : ((mode_t)w->mode & 0777) | 0444;
    if (fchmod(fd, mode) == 0 && rename(aside, w->target) == 0)
        return 0;
    bool folder = errno == EISDIR || errno == ENOTDIR || errno == ENOTEMPTY;
    return osmo_error_set(err, errno == ENOSPC ? OSMO_ELIMIT : OSMO_EIO, "it cannot be put in place: %s%s", strerror(errno),
                          folder ? ": the storage has a file and a folder of this name" : "");
}

static bool is_there(struct run *run, struct data_conn *c, const struct wanted *w) {
    struct stat st;
    _cleanup_close_ int fd = open(w->target, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == w->size && same_bytes(run, c, w, fd) == 1;
}

/* The sums of what arrived, as it arrived. */
static bool fits(const struct sink *s, const struct wanted *w) {
    char text[65];
    if (s->sums.has_sha256 && w->sha256) {
        hex_text(s->sums.sha256, 32, text);
        if (strcasecmp(text, w->sha256) != 0)
            return false;
    }
    if (!s->sums.has_md5 || !w->md5 || s->etag_opaque)
        return true;
    hex_text(s->sums.md5, 16, text);
    return !strcasecmp(text, w->md5);
}

static int fetch(struct run *run, struct data_conn *c, const struct wanted *w, int fd, osmo_error_t *err) {
    struct remote *r = run_remote(run);
    for (int i = 0; i < TRIES_FOR_SAME; i++) {
        struct sink s = { .fd = fd, .len = w->size, .whole = true, .etag = w->etag, .want_md5 = w->md5 != NULL,
                          .want_sha256 = w->sha256 != NULL };
        int rc = r->driver->get(c, r, w->key, &s, err);
        if (rc < 0 || fits(&s, w))
            return rc;
        if (ftruncate(fd, 0) < 0)
            break;
    }
    return osmo_error_set(err, OSMO_EIO, "what arrived is not what the storage keeps: its checksum differs");
}

/* For one process at a time: another one that carries the same object to the same place would write into the same file. */
int open_aside(const char *path, bool empty, osmo_error_t *err) {
    struct stat ours, there;
    for (int i = 0; i < TRIES_FOR_SAME; i++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return file_fail(errno, "it cannot be written", err);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
            close(fd);
            return osmo_error_set(err, OSMO_ECONFLICT, "another process is fetching it to the same place: let it end first");
        }
        /* the one before may have given it its name meanwhile */
        bool same = fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
        if (same && (!empty || ftruncate(fd, 0) == 0))
            return fd;
        close(fd);
    }
    return osmo_error_set(err, OSMO_ECONFLICT, "another process is fetching it to the same place: let it end first");
}

static int download_whole(struct run *run, struct data_conn *c, const struct wanted *w, osmo_error_t *err) {
    _cleanup_free_ char *aside = aside_name(run, w, ASIDE_PART);
    if (!aside)
        return no_memory(err);
    _cleanup_close_ int fd = open_aside(aside, true, err);
    if (fd < 0)
        return fd;
    int rc = fetch(run, c, w, fd, err);
    if (!rc)
        rc = give_name(w, fd, aside, err);
    if (rc < 0) {
        unlink(aside);
        return rc;
    }
    run_bytes(run, w->size);
    run_count(run, w->name, w->size, false);
    return 0;
}

static int job_work(struct run *run, struct data_conn *c, struct job *job, osmo_error_t *err) {
    struct download_job *j = (struct download_job *)job;
    struct wanted *w = &j->w;
    int rc = run_make_parent(run, w->target, err);
    if (rc < 0)
        return rc;
    if (j->d->resume && is_there(run, c, w)) {
        run_bytes(run, w->size);
        run_count(run, w->name, 0, true);
        return 0;
    }
    bool large = w->size >= run_options(run)->multipart_from && w->size > run_options(run)->part_size;
    if (large && run_remote(run)->driver->ranges && run_remote(run)->driver->md5)
        return download_in_parts(run, c, w, j->d->resume, err);
    return download_whole(run, c, w, err);
}

/* ---- what there is ---- */

struct feeding { struct run *run; struct download *d; size_t skip; };

static int queue(struct feeding *f, const struct remote_entry *e, const char *relative, osmo_error_t *err) {
    struct download_job *j = calloc(1, sizeof *j);
    if (!j)
        return no_memory(err);
    j->job.work = job_work;
    j->job.free = job_free;
    j->job.name = strdup(relative);
    j->d = f->d;
    j->w = (struct wanted){ .name = strdup(relative), .key = strdup(e->key), .etag = strdup(e->etag),
                            .md5 = str_dup(e->md5), .sha256 = str_dup(e->sha256),
                            .target = str_printf("%s/%s", f->d->folder, relative), .size = e->size, .mode = e->mode };
    if (!j->job.name || !j->w.name || !j->w.key || !j->w.etag || (e->md5 && !j->w.md5) || (e->sha256 && !j->w.sha256) || !j->w.target) {
        job_free(&j->job);
        return no_memory(err);
    }
    return run_push(f->run, &j->job, e->size, err);
}

static int found(void *ctx, const struct remote_entry *e, osmo_error_t *err) {
    struct feeding *f = ctx;
    size_t n = strlen(e->key);
    if (e->is_prefix || n <= f->skip || e->key[n - 1] == '/') /* markers of folders are no files */
        return 0;
    const char *relative = e->key + f->skip;
    if (f->d->re && !re_match_start(f->d->re, relative, strlen(relative)))
        return 0;
    if (!data_relative_is_safe(relative))
        return osmo_error_set(err, OSMO_EUSER, "the storage has the name '%.300s', which would leave the folder: "
                                               "leave it out by a regex, or rename it",
                              relative);
    return queue(f, e, relative, err);
}

int download_feed(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err) {
    struct feeding f = { run, ctx, 0 };
    return each_object(run_remote(run), c, true, found, &f, &f.skip, err);
}
