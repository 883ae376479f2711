/* A file in parts from storage: into a preallocated file beside the target. A second small file has a line for each
 * part that arrived, with its sums: what goes on later compares them with what the disk has. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "data/files.h"
#include "data/session.h"

#define LINE 44                      /* "%08x %32s +\n": crc, MD5 or blanks, mark */
#define RANGE_MAX (256u << 20)       /* of other people's parts that are taken as ours */
#define PARTS_MAX 1000000

struct pull {
    struct big big;
    struct wanted w;
    char *aside, *state;
    int fd, state_fd;
    size_t head;                     /* length of the state's first line */
    uint64_t part_size;
    bool whole_parts;                /* ours are those the storage made its ETag of */
    atomic_bool opaque;              /* but it is no MD5 */
    struct digests *sums;
    bool *here;                      /* from before */
    bool again;                      /* it did not fit once */
};

static void pull_free(struct run *run, struct big *b) {
    struct pull *p = (struct pull *)b;
    (void)run;
    if (p->fd >= 0)
        close(p->fd);
    if (p->state_fd >= 0)
        close(p->state_fd);
    wanted_clear(&p->w);
    free(p->big.name);
    free(p->aside);
    free(p->state);
    free(p->sums);
    free(p->here);
    free(p);
}

/* ---- what is kept ---- */

static char *first_line(const struct pull *p) {
    return str_printf("osmo-download 1 %llu %llu %s\n", (unsigned long long)p->w.size, (unsigned long long)p->part_size, p->w.etag);
}

static int note_part(struct pull *p, unsigned i) {
    char line[LINE + 1], md5[33] = "                                ";
    if (p->sums[i].has_md5)
        hex_text(p->sums[i].md5, 16, md5);
    snprintf(line, sizeof line, "%08x %s +\n", p->sums[i].crc, md5);
    return pwrite(p->state_fd, line, LINE, (off_t)(p->head + (size_t)i * LINE)) == LINE ? 0 : -1;
}

static bool read_line(struct pull *p, unsigned i) {
    char line[LINE + 1] = "";
    if (pread(p->state_fd, line, LINE, (off_t)(p->head + (size_t)i * LINE)) != LINE || line[LINE - 2] != '+')
        return false;
    char *end;
    p->sums[i].crc = (uint32_t)strtoul(line, &end, 16);
    p->sums[i].has_md5 = line[9] != ' ';
    for (size_t k = 0; p->sums[i].has_md5 && k < 16; k++) {
        unsigned byte;
        if (sscanf(line + 9 + 2 * k, "%2x", &byte) != 1)
            return false;
        p->sums[i].md5[k] = (uint8_t)byte;
    }
    return end == line + 8;
}

/* What was begun of this very object; false: nothing of use. */
static bool take_up(struct pull *p, const char *line) {
    char old[512];
    struct stat st;
    p->state_fd = open(p->state, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    p->fd = p->state_fd < 0 ? -1 : open_aside(p->aside, false, NULL);
    if (p->fd < 0 || fstat(p->fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != p->w.size ||
        p->head >= sizeof old || !*p->w.etag ||
        pread(p->state_fd, old, p->head, 0) != (ssize_t)p->head || memcmp(old, line, p->head) != 0) {
        if (p->fd >= 0)
            close(p->fd);
        if (p->state_fd >= 0)
            close(p->state_fd);
        p->fd = p->state_fd = -1;
        return false;
    }
    for (unsigned i = 0; i < p->big.nparts; i++)
        p->here[i] = read_line(p, i);
    return true;
}

static int begin_files(struct pull *p, const char *line, osmo_error_t *err) {
    p->fd = open_aside(p->aside, true, err);
    if (p->fd < 0)
        return p->fd;
    unlink(p->state);
    int rc = posix_fallocate(p->fd, 0, (off_t)p->w.size);
    if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG) {
        unlink(p->aside);
        return file_fail(rc, "it cannot be written", err);
    }
    if (rc && ftruncate(p->fd, (off_t)p->w.size) < 0)
        return file_fail(errno, "it cannot be written", err);
    p->state_fd = open(p->state, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (p->state_fd < 0 || fd_write_all(p->state_fd, line, p->head) < 0)
        return file_fail(errno, "what arrived of it cannot be noted", err);
    return 0;
}

/* ---- the download ---- */

static int pull_part(struct run *run, struct data_conn *c, struct big *b, unsigned i, osmo_error_t *err) {
    struct pull *p = (struct pull *)b;
    struct remote *r = run_remote(run);
    struct sink s = { .fd = p->fd, .offset = (uint64_t)i * p->part_size, .etag = p->w.etag, .want_md5 = p->whole_parts };
    s.len = p->w.size - s.offset < p->part_size ? p->w.size - s.offset : p->part_size;
    if (p->here[i]) {
        struct digests now;
        int rc = digests_of(c, p->fd, NULL, s.offset, s.len, p->whole_parts, false, &now, err);
        if (rc < 0)
            return rc;
        if (now.crc == p->sums[i].crc) {
            p->sums[i] = now;
            run_bytes(run, s.len);
            return 0;
        }
    }
    int rc = r->driver->get(c, r, p->w.key, &s, err);
    if (rc < 0)
        return rc;
    p->sums[i] = s.sums;
    if (s.etag_opaque)
        atomic_store(&p->opaque, true);
    run_bytes(run, s.len);
    return note_part(p, i) < 0 ? file_fail(errno, "what arrived of it cannot be noted", err) : 0;
}

static bool sums_fit(struct data_conn *c, const struct pull *p) {
    uint8_t all[32];
    char text[65];
    if (!c->md5)
        return true;
    crypto_digest_take(c->md5, all);
    for (unsigned i = 0; i < p->big.nparts; i++) {
        if (!p->sums[i].has_md5)
            return true;
        crypto_digest_add(c->md5, p->sums[i].md5, 16);
    }
    hex_text(all, crypto_digest_take(c->md5, all), text);
    return !strncasecmp(text, p->w.etag, 32);
}

static int pull_finish(struct run *run, struct data_conn *c, struct big *b, osmo_error_t *err) {
    struct pull *p = (struct pull *)b;
    bool fit = atomic_load(&p->opaque) || (p->whole_parts ? sums_fit(c, p) : same_bytes(run, c, &p->w, p->fd) != 0);
    if (!fit || session_stopped(c->session)) {
        if (session_stopped(c->session))
            return session_cancelled(err);
        if (!p->again) {
            p->again = true;
            memset(p->here, 0, p->big.nparts * sizeof *p->here);
            return 1;
        }
        unlink(p->state);
        unlink(p->aside);
        return osmo_error_set(err, OSMO_EIO, "what arrived is not what the storage keeps: its checksum differs");
    }
    int rc = give_name(&p->w, p->fd, p->aside, err);
    if (rc < 0)
        return rc;
    unlink(p->state);
    run_count(run, p->big.name, p->w.size, false);
    return 0;
}

/* Ranges as the storage's own parts are: then its ETag can be made of ours. */
static void choose_parts(struct run *run, struct data_conn *c, struct pull *p) {
    struct remote *r = run_remote(run);
    unsigned n = etag_parts(p->w.etag);
    uint64_t theirs = n > 1 && r->driver->part_size ? r->driver->part_size(c, r, p->w.key) : 0;
    p->part_size = run_options(run)->part_size;
    if (theirs && theirs <= RANGE_MAX && (p->w.size + theirs - 1) / theirs == n) {
        p->part_size = theirs;
        p->whole_parts = c->md5 != NULL;
    }
    if ((p->w.size + p->part_size - 1) / p->part_size > PARTS_MAX)
        p->part_size = (p->w.size / PARTS_MAX / PART_STEP + 1) * PART_STEP;
    p->big.nparts = (unsigned)((p->w.size + p->part_size - 1) / p->part_size);
}

int download_in_parts(struct run *run, struct data_conn *c, struct wanted *w, bool resume, osmo_error_t *err) {
    struct pull *p = calloc(1, sizeof *p);
    if (!p)
        return no_memory(err);
    p->big = (struct big){ .name = strdup(w->name), .part = pull_part, .finish = pull_finish, .free = pull_free };
    p->w = *w;
    memset(w, 0, sizeof *w);
    p->fd = p->state_fd = -1;
    choose_parts(run, c, p);
    p->aside = aside_name(run, &p->w, ASIDE_PART);
    p->state = aside_name(run, &p->w, ASIDE_STATE);
    p->sums = calloc(p->big.nparts + 1, sizeof *p->sums);
    p->here = calloc(p->big.nparts + 1, sizeof *p->here);
    _cleanup_free_ char *line = first_line(p);
    int rc = p->big.name && p->aside && p->state && p->sums && p->here && line ? 0 : no_memory(err);
    if (!rc) {
        p->head = strlen(line);
        rc = resume && take_up(p, line) ? 0 : begin_files(p, line, err);
    }
    if (!rc)
        return run_push_big(run, &p->big, err);
    pull_free(run, &p->big);
    return rc;
}
