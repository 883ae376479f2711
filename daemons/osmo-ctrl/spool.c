/* Log lines wait here until the logger confirms them: one append-only file, written by the main thread, read by the
 * loop thread. Confirmed bytes are given back to the disk by punching holes, and the file starts over when everything
 * is confirmed. When the disk is full the writer waits for confirmations to make room; when nothing is left to confirm
 * the spool goes on in memory, smaller. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "ctrl.h"

#define PUNCH_STEP (16u << 20)
#define MEMORY_LIMIT (4u << 20)
#define LAST_WORDS_BYTES (1u << 20) /* beyond the limit, once nobody waits any more */

struct record { uint64_t seq; int64_t time_ns; uint32_t type, len; };

struct spool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fd;
    uint64_t written, sent, confirmed, punched; /* offsets */
    uint64_t limit, next_seq;
    bool abandoned, in_memory;
};

int spool_open(const char *path, uint64_t limit, struct spool **out, osmo_error_t *err) {
    struct spool *s = calloc(1, sizeof *s);
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    s->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->fd < 0) {
        free(s);
        return osmo_error_set(err, OSMO_EIO, "cannot create the log spool %s: %s", path, strerror(errno));
    }
    unlink(path); /* nobody else needs its name, and it goes with the process */
    s->limit = limit;
    s->next_seq = 1;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    *out = s;
    return 0;
}

void spool_free(struct spool *s) {
    if (!s)
        return;
    close(s->fd);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int write_at(int fd, const void *data, size_t len, uint64_t at) {
    const char *p = data;
    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return OSMO_EIO;
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_record(const struct spool *s, const struct record *r, const char *text) {
    struct { struct record r; char text[4096]; } block;
    if (r->len > sizeof block.text) {
        int rc = write_at(s->fd, r, sizeof *r, s->written);
        return rc ? rc : write_at(s->fd, text, r->len, s->written + sizeof *r);
    }
    block.r = *r; /* one write for the usual line */
    memcpy(block.text, text, r->len);
    return write_at(s->fd, &block, sizeof block.r + r->len, s->written);
}

/* The disk took nothing more. true when it is worth another try. */
static bool make_room(struct spool *s) {
    if (s->abandoned || s->in_memory)
        return false;
    if (s->confirmed < s->written) {
        pthread_cond_wait(&s->changed, &s->lock);
        return true;
    }
    int fd = memfd_create("osmo_ctrl_spool", MFD_CLOEXEC);
    if (fd < 0)
        return false;
    close(s->fd);
    s->fd = fd;
    s->in_memory = true;
    s->written = s->sent = s->confirmed = s->punched = 0;
    if (s->limit > MEMORY_LIMIT)
        s->limit = MEMORY_LIMIT;
    return true;
}

int spool_append(struct spool *s, enum io_type type, const char *text, size_t len) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct record r = { 0, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, (uint32_t)type, (uint32_t)len };
    pthread_mutex_lock(&s->lock);
    while (s->written - s->confirmed > s->limit && !s->abandoned)
        pthread_cond_wait(&s->changed, &s->lock);
    int rc = s->written - s->confirmed > s->limit + LAST_WORDS_BYTES ? OSMO_ELIMIT : 0;
    r.seq = s->next_seq;
    while (!rc && (rc = write_record(s, &r, text)) && make_room(s))
        rc = 0;
    if (!rc) {
        s->written += sizeof r + len;
        s->next_seq++;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static bool read_at(int fd, void *out, size_t len, uint64_t at) {
    char *p = out;
    while (len) {
        ssize_t n = pread(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return true;
}

size_t spool_send(struct spool *s, size_t max_bytes, bool (*fn)(void *, const struct spool_entry *), void *ctx) {
    _cleanup_free_ char *text = NULL;
    size_t cap = 0, taken = 0, n = 0;
    pthread_mutex_lock(&s->lock);
    while (s->sent < s->written && taken < max_bytes) {
        struct record r;
        if (!read_at(s->fd, &r, sizeof r, s->sent))
            break;
        if (r.len + 1 > cap) {
            char *bigger = realloc(text, r.len + 1);
            if (!bigger)
                break;
            text = bigger;
            cap = r.len + 1;
        }
        if (!read_at(s->fd, text, r.len, s->sent + sizeof r))
            break;
        text[r.len] = '\0';
        struct spool_entry e = { r.seq, r.time_ns, (enum io_type)r.type, text, r.len };
        if (!fn(ctx, &e))
            break;
        s->sent += sizeof r + r.len;
        taken += r.len + sizeof r;
        n++;
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}

void spool_confirm(struct spool *s, uint64_t seq) {
    pthread_mutex_lock(&s->lock);
    while (s->confirmed < s->written) {
        struct record r;
        if (!read_at(s->fd, &r, sizeof r, s->confirmed) || r.seq > seq)
            break;
        s->confirmed += sizeof r + r.len;
    }
    if (s->sent < s->confirmed)
        s->sent = s->confirmed;
    if (s->confirmed == s->written) {
        if (s->written && ftruncate(s->fd, 0) == 0)
            s->written = s->sent = s->confirmed = s->punched = 0;
    } else if (s->confirmed - s->punched > PUNCH_STEP) {
        /* where the file system cannot do this the file only grows until it is empty once */
        if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->punched,
                      (off_t)(s->confirmed - s->punched)) == 0)
            s->punched = s->confirmed;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void spool_rewind(struct spool *s) {
    pthread_mutex_lock(&s->lock);
    s->sent = s->confirmed;
    pthread_mutex_unlock(&s->lock);
}

uint64_t spool_unconfirmed(struct spool *s) {
    pthread_mutex_lock(&s->lock);
    uint64_t n = s->written - s->confirmed;
    pthread_mutex_unlock(&s->lock);
    return n;
}

uint64_t spool_in_flight(struct spool *s) {
    pthread_mutex_lock(&s->lock);
    uint64_t n = s->sent - s->confirmed;
    pthread_mutex_unlock(&s->lock);
    return n;
}

bool spool_wait_empty(struct spool *s, int64_t timeout_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&s->lock);
    int rc = 0;
    while (s->confirmed < s->written && !(s->abandoned && timeout_ms < 0) && rc != ETIMEDOUT)
        rc = timeout_ms < 0 ? pthread_cond_wait(&s->changed, &s->lock)
                            : pthread_cond_timedwait(&s->changed, &s->lock, &until);
    bool empty = s->confirmed == s->written;
    pthread_mutex_unlock(&s->lock);
    return empty;
}

void spool_abandon(struct spool *s) {
    pthread_mutex_lock(&s->lock);
    s->abandoned = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}
