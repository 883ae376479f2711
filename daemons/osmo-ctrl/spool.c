/* Log lines wait here until the logger confirms them, written by the main thread, read by the loop thread. The newest ones are in
 * memory, so that lines which are confirmed soon cost no system call; when there are too many they go, in order, to one append-only
 * file. Confirmed bytes are given back to the disk by punching holes, and everything starts over when all is confirmed. When the
 * disk is full the writer waits for confirmations to make room; when nothing is left to confirm the spool goes on in memory,
 * smaller. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/file.h"
#include "ctrl.h"

#define PUNCH_STEP (16u << 20)
#define MEMORY_LIMIT (4u << 20)
#define LAST_WORDS_BYTES (1u << 20) /* beyond the limit, once nobody waits any more */
#define TAIL_BYTES (2u << 20)       /* in memory: more than is sent before it is confirmed */
#define READ_BYTES (256u << 10)     /* of the file at once */
#define MARKS 64                    /* ends of what was sent at once; more are found by reading */

/* Followed by the text and a NUL. */
struct record { uint64_t seq; int64_t time_ns; uint32_t type, len; };
struct mark { uint64_t seq, offset; };

struct spool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fd;
    uint64_t written, sent, confirmed, punched; /* offsets */
    uint64_t flushed;                           /* the file holds what is before, the tail what is behind */
    char *tail, *read;
    size_t tail_len, read_len, read_cap;
    uint64_t read_at;
    struct mark marks[MARKS];
    size_t first_mark, nmarks;
    uint64_t limit, next_seq;
    bool abandoned, in_memory;
};

static size_t size_of(const struct record *r) { return sizeof *r + r->len + 1; }

int spool_open(const char *path, uint64_t limit, struct spool **out, osmo_error_t *err) {
    struct spool *s = calloc(1, sizeof *s);
    if (s)
        s->tail = malloc(TAIL_BYTES);
    if (!s || !s->tail) {
        free(s);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    s->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->fd < 0) {
        free(s->tail);
        free(s);
        return osmo_error_set(err, OSMO_EIO, "cannot create the log spool %s: %s", path, strerror(errno));
    }
    unlink(path); /* nobody else needs its name, and it goes with the process */
    s->limit = limit;
    s->next_seq = 1;
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->changed);
    *out = s;
    return 0;
}

void spool_free(struct spool *s) {
    if (!s)
        return;
    close(s->fd);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->tail);
    free(s->read);
    free(s);
}

/* ---- writing; with the lock held ---- */

/* Makes room in the tail: what is confirmed is dropped; when that is little, the rest goes to the file. */
static int flush(struct spool *s) {
    size_t done = s->confirmed > s->flushed ? (size_t)(s->confirmed - s->flushed) : 0;
    if (done >= TAIL_BYTES / 2) {
        s->flushed += done;
        s->tail_len -= done;
        memmove(s->tail, s->tail + done, s->tail_len);
        return 0;
    }
    if (fd_write_at(s->fd, s->tail + done, s->tail_len - done, s->flushed + done))
        return OSMO_EIO;
    s->flushed += s->tail_len;
    s->tail_len = 0;
    return 0;
}

static int put_record(struct spool *s, const struct record *r, const char *text) {
    size_t size = size_of(r);
    while (s->tail_len + size > TAIL_BYTES && s->tail_len)
        if (flush(s))
            return OSMO_EIO;
    if (size <= TAIL_BYTES) {
        char *p = s->tail + s->tail_len;
        memcpy(p, r, sizeof *r);
        memcpy(p + sizeof *r, text, r->len);
        p[size - 1] = '\0';
        s->tail_len += size;
        return 0;
    }
    if (fd_write_at(s->fd, r, sizeof *r, s->written) || fd_write_at(s->fd, text, r->len, s->written + sizeof *r) ||
        fd_write_at(s->fd, "", 1, s->written + sizeof *r + r->len))
        return OSMO_EIO;
    s->flushed += size;
    return 0;
}

static void start_over(struct spool *s) {
    s->written = s->sent = s->confirmed = s->punched = s->flushed = 0;
    s->tail_len = s->read_len = s->nmarks = 0;
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
    start_over(s);
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
    while (!rc && (rc = put_record(s, &r, text)) && make_room(s))
        rc = 0;
    if (!rc) {
        s->written += size_of(&r);
        s->next_seq++;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- reading; with the lock held ---- */

/* So many bytes of the file at this offset, read ahead. NULL when that fails. */
static const char *from_file(struct spool *s, uint64_t at, size_t len) {
    if (at >= s->read_at && at + len <= s->read_at + s->read_len)
        return s->read + (at - s->read_at);
    if (len > s->read_cap) {
        size_t cap = len > READ_BYTES ? len : READ_BYTES;
        char *bigger = realloc(s->read, cap);
        if (!bigger)
            return NULL;
        s->read = bigger;
        s->read_cap = cap;
    }
    uint64_t left = s->flushed - at;
    s->read_len = 0;
    size_t n = left < s->read_cap ? (size_t)left : s->read_cap;
    if (n < len || !fd_read_at(s->fd, s->read, n, at))
        return NULL;
    s->read_at = at;
    s->read_len = n;
    return s->read;
}

static bool record_at(struct spool *s, uint64_t at, struct record *r, const char **text) {
    if (at >= s->flushed) {
        const char *p = s->tail + (at - s->flushed);
        memcpy(r, p, sizeof *r);
        *text = p + sizeof *r;
        return true;
    }
    const char *p = from_file(s, at, sizeof *r);
    if (!p)
        return false;
    memcpy(r, p, sizeof *r);
    p = from_file(s, at, size_of(r));
    *text = p ? p + sizeof *r : NULL;
    return p != NULL;
}

static void mark_sent(struct spool *s, uint64_t seq) {
    if (s->nmarks == MARKS)
        return; /* those behind are found by reading */
    s->marks[(s->first_mark + s->nmarks++) % MARKS] = (struct mark){ seq, s->sent };
}

size_t spool_send(struct spool *s, size_t max_bytes, bool (*fn)(void *, const struct spool_entry *), void *ctx) {
    size_t taken = 0, n = 0;
    uint64_t last = 0;
    pthread_mutex_lock(&s->lock);
    while (s->sent < s->written && taken < max_bytes) {
        struct record r;
        const char *text;
        if (!record_at(s, s->sent, &r, &text))
            break;
        struct spool_entry e = { r.seq, r.time_ns, (enum io_type)r.type, text, r.len };
        if (!fn(ctx, &e))
            break;
        s->sent += size_of(&r);
        taken += size_of(&r);
        last = r.seq;
        n++;
    }
    if (n)
        mark_sent(s, last);
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- confirming ---- */

static void confirm_to(struct spool *s, uint64_t seq) {
    while (s->nmarks && s->marks[s->first_mark].seq <= seq) {
        s->confirmed = s->marks[s->first_mark].offset;
        s->first_mark = (s->first_mark + 1) % MARKS;
        s->nmarks--;
    }
    while (s->confirmed < s->written) { /* usually that was all, and the next one is not */
        struct record r;
        if (s->confirmed >= s->flushed)
            memcpy(&r, s->tail + (s->confirmed - s->flushed), sizeof r);
        else if (!fd_read_at(s->fd, &r, sizeof r, s->confirmed))
            break;
        if (r.seq > seq)
            break;
        s->confirmed += size_of(&r);
    }
}

void spool_confirm(struct spool *s, uint64_t seq) {
    pthread_mutex_lock(&s->lock);
    if (seq == UINT64_MAX) {
        s->confirmed = s->sent;
        s->nmarks = 0;
    } else {
        confirm_to(s, seq);
    }
    if (s->sent < s->confirmed)
        s->sent = s->confirmed;
    if (s->confirmed == s->written) {
        if (!s->flushed || ftruncate(s->fd, 0) == 0)
            start_over(s);
    } else if (s->confirmed < s->flushed && s->confirmed - s->punched > PUNCH_STEP) {
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
    s->nmarks = 0; /* it is cut otherwise the next time */
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
    int64_t until = timeout_ms < 0 ? COND_FOR_EVER : clock_mono_us() + timeout_ms * 1000;
    pthread_mutex_lock(&s->lock);
    while (s->confirmed < s->written && !(s->abandoned && timeout_ms < 0) && cond_wait_until(&s->changed, &s->lock, until))
        ;
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
