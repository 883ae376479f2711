/* Files to storage; see files.h. Small ones are read once, summed and sent from memory; others are read twice, the
 * second time out of the page cache: their sums go before them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"
#include "data/files.h"
#include "data/session.h"

struct upload_job {
    struct job job;
    char *key, *path;                  /* path in the base */
    struct base *base;
    bool is_link;
    const struct upload_source *given; /* for files that the caller opens */
    size_t index;
};

int file_fail(int e, const char *what, osmo_error_t *err) {
    int code = e == ENOENT ? OSMO_ENOTFOUND : e == EACCES || e == EPERM || e == EROFS ? OSMO_EDENIED
               : e == ENOSPC || e == EDQUOT ? OSMO_ELIMIT : e == ENOMEM ? OSMO_ENOMEM : OSMO_EIO;
    return osmo_error_set(err, code, "%.600s: %s%s", what, strerror(e), e == ENOSPC ? ": make room" : "");
}

static void job_free(struct job *job) {
    struct upload_job *j = (struct upload_job *)job;
    base_unref(j->base);
    free(j->job.name);
    free(j->key);
    free(j->path);
    free(j);
}

static int read_whole(struct data_conn *c, int fd, uint64_t size, osmo_error_t *err) {
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pread(fd, c->buffer + at, (size_t)(size - at), (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return osmo_error_set(err, n ? OSMO_EIO : OSMO_EBUSY, "cannot be read: %s", n ? strerror(errno)
                                  : "it became shorter meanwhile");
        at += (uint64_t)n;
    }
    return 0;
}

static int send_whole(struct run *run, struct data_conn *c, const struct upload_job *j, int fd, uint64_t *size, osmo_error_t *err) {
    struct remote *r = run_remote(run);
    struct source s = { .fd = fd };
    struct stat st;
    if (fstat(fd, &st) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot be read: %s", strerror(errno));
    *size = s.len = (uint64_t)st.st_size;
    s.mode = (int)(st.st_mode & 0777);
    int rc = 0;
    if (s.len <= REMOTE_BUFFER) {
        rc = read_whole(c, fd, s.len, err);
        s.memory = c->buffer;
    }
    if (!rc && (r->driver->md5 || r->signs_payload))
        rc = digests_of(c, fd, s.memory, 0, s.len, !r->signs_payload, r->signs_payload, &s.sums, err);
    return rc ? rc : r->driver->put(c, r, j->key, &s, err);
}

static int send_open(struct run *run, struct data_conn *c, const struct upload_job *j, int fd, osmo_error_t *err) {
    struct remote *r = run_remote(run);
    struct stat st;
    uint64_t size = 0;
    if (fstat(fd, &st) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot be read: %s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return osmo_error_set(err, OSMO_EUSER, "it is no regular file");
    if (r->driver->parts && (uint64_t)st.st_size >= run_options(run)->multipart_from && (uint64_t)st.st_size > r->driver->part_min)
        return upload_in_parts(run, c, j->job.name, j->key, fd, (uint64_t)st.st_size, err);
    int rc = OSMO_EBUSY;
    for (int i = 0; rc == OSMO_EBUSY && i < TRIES_FOR_SAME; i++)
        rc = send_whole(run, c, j, fd, &size, err);
    if (!rc) {
        run_bytes(run, size);
        run_count(run, j->job.name, size, false);
    }
    return rc;
}

static int job_work(struct run *run, struct data_conn *c, struct job *job, osmo_error_t *err) {
    struct upload_job *j = (struct upload_job *)job;
    const char *why = NULL;
    _cleanup_close_ int fd = -1;
    if (j->given) {
        pthread_mutex_lock(&run_remote(run)->session->callbacks);
        fd = j->given->open(j->given->ctx, j->index);
        pthread_mutex_unlock(&run_remote(run)->session->callbacks);
        if (fd < 0)
            return osmo_error_set(err, fd < -1 ? fd : OSMO_EIO, "it cannot be opened");
    } else {
        fd = base_open(run, j->base, j->path, j->is_link, &why);
        if (fd < 0 && why) {
            session_left_out(run_remote(run)->session, j->job.name, why);
            return 0;
        }
        if (fd < 0)
            return osmo_error_set(err, errno == EACCES ? OSMO_EDENIED : OSMO_EIO, "cannot be read: %s", strerror(errno));
    }
    return send_open(run, c, j, fd, err);
}

static int new_job(struct run *run, const char *relative, struct upload_job init, struct upload_job **out, osmo_error_t *err) {
    struct upload_job *j = malloc(sizeof *j);
    if (!j)
        return no_memory(err);
    *j = init;
    j->job.work = job_work;
    j->job.free = job_free;
    j->job.name = strdup(relative);
    j->key = remote_key(run_remote(run), relative);
    *out = j;
    if (j->job.name && j->key)
        return 0;
    job_free(&j->job);
    return no_memory(err);
}

struct feeding { struct run *run; const struct upload_source *source; };

static int found(void *ctx, struct base *b, const char *path, const char *relative, bool is_link, uint64_t size, osmo_error_t *err) {
    struct feeding *f = ctx;
    struct upload_job *j;
    if (f->source->re && !re_match_start(f->source->re, relative, strlen(relative)))
        return 0;
    if (!utf8_valid(relative, strlen(relative))) {
        _cleanup_free_ char *shown = utf8_repair(relative, strlen(relative), NULL);
        return osmo_error_set(err, OSMO_EUSER, "%.300s: the name is no UTF-8, no storage takes it: rename it", shown ? shown : "a file");
    }
    int rc = new_job(f->run, relative, (struct upload_job){ .is_link = is_link }, &j, err);
    if (rc < 0)
        return rc;
    j->base = base_ref(b);
    j->path = strdup(path);
    if (!j->path) {
        job_free(&j->job);
        return no_memory(err);
    }
    return run_push(f->run, &j->job, size, err);
}

static int feed_given(struct run *run, const struct upload_source *source, osmo_error_t *err) {
    for (size_t i = 0; i < source->nfiles; i++) {
        const struct data_file *file = &source->files[i];
        struct upload_job *j;
        if (!data_relative_is_safe(file->relative) || !utf8_valid(file->relative, strlen(file->relative)))
            return osmo_error_set(err, OSMO_EUSER, "a file cannot have this name in a storage: it must be a relative "
                                                   "path in UTF-8, without '..'");
        int rc = new_job(run, file->relative, (struct upload_job){ .given = source, .index = i }, &j, err);
        if (!rc)
            rc = run_push(run, &j->job, file->size, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int upload_feed(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err) {
    struct upload_source *source = ctx;
    struct feeding f = { run, source };
    (void)c;
    int rc = 0;
    for (size_t i = 0; !rc && i < source->npaths; i++)
        rc = walk_path(run, source->paths[i], found, &f, err);
    return rc ? rc : feed_given(run, source, err);
}
