/* A file in parts to storage. What was begun is kept in the state directory of the session: where the upload stands,
 * of which file. The storage says which parts it has; each of them is compared with the file before it is left out. */
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
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "data/files.h"
#include "data/session.h"

#define STATE_MAX (64u << 10)

struct upload {
    struct big big;
    char *key, *state;   /* state: path of what is kept, NULL when nothing is */
    char id[REMOTE_ID_MAX];
    uint64_t size, part_size;
    struct part *parts;
    struct stat st;
    int fd, lock;
    bool begun, finished;
};

uint64_t part_size_for(const struct run *run, uint64_t size) {
    const struct data_driver *d = run_remote(run)->driver;
    uint64_t part = run_options(run)->part_size, least = d->parts_max ? (size + d->parts_max - 1) / d->parts_max : 0;
    if (part < d->part_min)
        part = d->part_min;
    if (part < least)
        part = (least + PART_STEP - 1) / PART_STEP * PART_STEP;
    return part;
}

/* ---- what is kept ---- */

static char *state_path(const struct run *run, const char *key) {
    const char *dir = run_options(run)->state_dir;
    char name[65];
    _cleanup_free_ char *what = dir ? str_printf("%s\n%s", run_remote(run)->uri.text, key) : NULL;
    if (!what)
        return NULL;
    crypto_sha256_hex(what, strlen(what), name);
    return str_printf("%s/upload-%.32s", dir, name);
}

/* For one process at a time; others then keep nothing. */
static void lock_state(struct upload *u) {
    _cleanup_free_ char *path = str_printf("%s.lock", u->state);
    u->lock = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (u->lock >= 0 && flock(u->lock, LOCK_EX | LOCK_NB) == 0)
        return;
    if (u->lock >= 0)
        close(u->lock);
    u->lock = -1;
    free(u->state);
    u->state = NULL;
}

static int64_t changed_at(const struct stat *st) { return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec; }

/* True when an upload of this very file had begun. */
static bool load_state(struct upload *u) {
    _cleanup_buf_ buf_t text = BUF_INIT(STATE_MAX);
    _cleanup_json_ json_t *o = NULL;
    if (!u->state || file_read(u->state, &text, NULL) < 0 || json_parse(text.data, text.len, &o, NULL) < 0)
        return false;
    const char *id = json_get_str(o, "upload");
    int64_t part = json_get_int(o, "part_size", 0);
    if (!id || strlen(id) >= sizeof u->id || part <= 0 || json_get_int(o, "size", -1) != (int64_t)u->size ||
        json_get_int(o, "changed", -1) != changed_at(&u->st) || json_get_int(o, "inode", -1) != (int64_t)u->st.st_ino ||
        !str_eq(json_get_str(o, "key"), u->key))
        return false;
    memcpy(u->id, id, strlen(id) + 1);
    u->part_size = (uint64_t)part;
    return true;
}

static int save_state(const struct upload *u, osmo_error_t *err) {
    _cleanup_json_ json_t *o = json_object();
    _cleanup_buf_ buf_t text = BUF_INIT(STATE_MAX);
    if (!u->state)
        return 0;
    if (!o || json_set_str(o, "upload", u->id) < 0 || json_set_str(o, "key", u->key) < 0 || json_set_int(o, "size", (int64_t)u->size) < 0 ||
        json_set_int(o, "part_size", (int64_t)u->part_size) < 0 || json_set_int(o, "changed", changed_at(&u->st)) < 0 ||
        json_set_int(o, "inode", (int64_t)u->st.st_ino) < 0 || json_print(o, 0, &text) < 0)
        return no_memory(err);
    return file_write_atomic(u->state, text.data, text.len, 0600, false, err);
}

static void drop_state(struct upload *u) {
    _cleanup_free_ char *lock = u->state ? str_printf("%s.lock", u->state) : NULL;
    if (!u->state)
        return;
    unlink(u->state);
    if (lock)
        unlink(lock);
}

/* ---- the upload ---- */

static void upload_free(struct run *run, struct big *b) {
    struct upload *u = (struct upload *)b;
    if (u->begun && !u->finished && !u->state)
        run_orphan(run, u->key, u->id);
    if (u->fd >= 0)
        close(u->fd);
    if (u->lock >= 0)
        close(u->lock);
    free(u->big.name);
    free(u->key);
    free(u->state);
    free(u->parts);
    free(u);
}

static int upload_part(struct run *run, struct data_conn *c, struct big *b, unsigned i, osmo_error_t *err) {
    struct upload *u = (struct upload *)b;
    struct remote *r = run_remote(run);
    struct part *p = &u->parts[i];
    struct source s = { .fd = u->fd, .offset = (uint64_t)i * u->part_size };
    char ours[33];
    s.len = u->size - s.offset < u->part_size ? u->size - s.offset : u->part_size;
    int rc = OSMO_EBUSY;
    for (int k = 0; rc == OSMO_EBUSY && k < TRIES_FOR_SAME; k++) {
        rc = digests_of(c, s.fd, NULL, s.offset, s.len, !r->signs_payload || p->number, r->signs_payload, &s.sums, err);
        hex_text(s.sums.md5, 16, ours);
        if (!rc && p->number && p->size == s.len && s.sums.has_md5 && !strcasecmp(p->etag, ours))
            break; /* it is there from before */
        if (!rc)
            rc = r->driver->part(c, r, u->key, u->id, i + 1, &s, p->etag, err);
    }
    if (rc < 0)
        return rc;
    p->number = i + 1;
    p->size = s.len;
    run_bytes(run, s.len);
    return 0;
}

static int upload_finish(struct run *run, struct data_conn *c, struct big *b, osmo_error_t *err) {
    struct upload *u = (struct upload *)b;
    struct remote *r = run_remote(run);
    struct stat now;
    if (fstat(u->fd, &now) < 0 || now.st_size != u->st.st_size || changed_at(&now) != changed_at(&u->st))
        return osmo_error_set(err, OSMO_ECONFLICT, "the file changed while it was sent");
    int rc = r->driver->finish(c, r, u->key, u->id, u->parts, u->big.nparts, err);
    if (rc < 0)
        return rc;
    u->finished = true;
    drop_state(u);
    run_count(run, u->big.name, u->size, false);
    return 0;
}

/* The parts that are there from before; none when the storage does not know the upload any more. */
static int look_back(struct remote *r, struct data_conn *c, struct upload *u, osmo_error_t *err) {
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = r->driver->parts_there(c, r, u->key, u->id, u->parts, u->big.nparts, &why);
    if (!rc || rc == OSMO_ENOTFOUND)
        return rc;
    return osmo_error_set(err, rc, "%s", why.text);
}

static int make_parts(struct upload *u, osmo_error_t *err) {
    uint64_t n = (u->size + u->part_size - 1) / u->part_size;
    free(u->parts);
    u->big.nparts = (unsigned)n;
    u->parts = n && n <= 100000 ? calloc(n, sizeof *u->parts) : NULL;
    return u->parts ? 0 : no_memory(err);
}

static int begin(struct run *run, struct data_conn *c, struct upload *u, osmo_error_t *err) {
    struct remote *r = run_remote(run);
    int rc = 0;
    if (load_state(u)) {
        rc = make_parts(u, err);
        if (!rc)
            rc = look_back(r, c, u, err);
        u->begun = !rc;
        if (rc != OSMO_ENOTFOUND)
            return rc;
    }
    u->part_size = part_size_for(run, u->size);
    rc = make_parts(u, err);
    if (!rc)
        rc = r->driver->begin(c, r, u->key, u->id, err);
    u->begun = !rc;
    return rc ? rc : save_state(u, err);
}

int upload_in_parts(struct run *run, struct data_conn *c, const char *name, const char *key, int fd, uint64_t size, osmo_error_t *err) {
    struct upload *u = calloc(1, sizeof *u);
    if (!u)
        return no_memory(err);
    u->big = (struct big){ .name = strdup(name), .part = upload_part, .finish = upload_finish, .free = upload_free };
    u->key = strdup(key);
    u->state = state_path(run, key);
    u->size = size;
    u->lock = -1;
    u->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    int rc = u->fd < 0 || fstat(u->fd, &u->st) < 0 ? file_fail(errno, "it cannot be read", err) : 0;
    if (!rc && (!u->big.name || !u->key))
        rc = no_memory(err);
    if (!rc && u->state)
        rc = dir_make(run_options(run)->state_dir, 0700, err);
    if (!rc && u->state)
        lock_state(u);
    if (!rc)
        rc = begin(run, c, u, err);
    if (!rc)
        return run_push_big(run, &u->big, err);
    upload_free(run, &u->big);
    return rc;
}
