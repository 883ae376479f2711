/* Task data: staging, publishing and reading. See storage.h for the layout and the promises. */
#include "engine/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "engine/storage_internal.h"

bool storage_upload_valid(const char *upload) {
    return upload && strlen(upload) == 32 && strspn(upload, "0123456789abcdef") == 32;
}

static int check_names(const char *workflow, const char *task, osmo_error_t *err) {
    int rc = storage_name_check("workflow", workflow, err);
    return rc < 0 ? rc : storage_name_check("task", task, err);
}

/* ---- paths of objects ---- */

static int split_path(const char *path, strlist_t *parts, osmo_error_t *err) {
    if (!*path || *path == '/' || strlen(path) > 4096)
        return osmo_error_set(err, OSMO_EINVAL, "object path %.64s must be relative and at most 4096 bytes long", path);
    if (strlist_split(parts, path, '/') < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < parts->len; i++) {
        const char *p = parts->items[i];
        if (!*p || !strcmp(p, ".") || !strcmp(p, "..") || strlen(p) > 255)
            return osmo_error_set(err, OSMO_EINVAL,
                                  "object path %.64s must not have empty, '.' or '..' parts, nor parts over 255 bytes",
                                      path);
    }
    if (parts->len > STORAGE_MAX_DEPTH)
        return osmo_error_set(err, OSMO_EINVAL, "object path %.64s has more than %d parts", path, STORAGE_MAX_DEPTH);
    return 0;
}

/* Directory that holds the object, from `dir` (taken). */
static int walk_to_parent(int dir, const strlist_t *parts, bool make) {
    for (size_t i = 0; dir >= 0 && i + 1 < parts->len; i++) {
        int next = storage_dir_at(dir, parts->items[i], make);
        close(dir);
        dir = next;
    }
    return dir;
}

/* ---- reading ---- */

int storage_list(engine_t *e, const char *workflow, const char *task, json_t **out, osmo_error_t *err) {
    const char *const where[] = { workflow, task, STORAGE_DATA_DIR, NULL };
    _cleanup_json_ json_t *list = json_array();
    int64_t count;
    int rc = check_names(workflow, task, err);
    if (rc < 0 || !list)
        return rc < 0 ? rc : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int dir = storage_dir(e, where, false, err);
    if (dir < 0 && dir != OSMO_ENOTFOUND)
        return dir;
    rc = dir < 0 ? 0 : storage_walk(dir, list, &count, err);
    if (rc >= 0)
        *out = STEAL(list);
    return rc;
}

static int open_object(int parent, const char *name, uint64_t *size, mode_t *mode) {
    struct stat st;
    _cleanup_close_ int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return OSMO_ENOTFOUND;
    *size = (uint64_t)st.st_size;
    *mode = st.st_mode & 0777;
    return STEAL_FD(fd);
}

int storage_get(engine_t *e, const char *workflow, const char *task, const char *path, int *fd, uint64_t *size,
                mode_t *mode, osmo_error_t *err) {
    const char *const where[] = { workflow, task, STORAGE_DATA_DIR, NULL };
    strlist_t parts = { 0 };
    int rc = check_names(workflow, task, err), parent = -1;
    if (rc >= 0)
        rc = split_path(path, &parts, err);
    if (rc >= 0)
        rc = parent = walk_to_parent(storage_dir(e, where, false, err), &parts, false);
    if (rc >= 0) {
        rc = open_object(parent, parts.items[parts.len - 1], size, mode);
        close(parent);
    }
    strlist_free(&parts);
    if (rc == OSMO_ENOTFOUND)
        return osmo_error_set(err, rc, "task %s of workflow %s has no object %s", task, workflow, path);
    if (rc < 0)
        return rc;
    *fd = rc;
    return 0;
}

/* ---- writing ---- */

/* The file is ours alone, so mapping it is safe; one pass of the page cache. */
static int hash_file(int fd, uint64_t *size, char sha256[65], osmo_error_t *err) {
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return storage_io_error(err, errno, "reading the uploaded body");
    *size = (uint64_t)st.st_size;
    if (!st.st_size) {
        crypto_sha256_hex("", 0, sha256);
        return 0;
    }
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return storage_io_error(err, errno, "mapping the uploaded body");
    (void)madvise(data, (size_t)st.st_size, MADV_SEQUENTIAL);
    crypto_sha256_hex(data, (size_t)st.st_size, sha256);
    munmap(data, (size_t)st.st_size);
    return 0;
}

/* The finished file gets its attributes before it gets its name. */
static int finish_object(int fd, mode_t mode, uint64_t *size, char sha256[65], osmo_error_t *err) {
    int rc = hash_file(fd, size, sha256, err);
    if (rc < 0)
        return rc;
    (void)fsetxattr(fd, STORAGE_XATTR_SHA256, sha256, 64, 0); /* a convenience: not every file system has attributes */
    if (fchmod(fd, (mode & 0777) | 0400) < 0)
        return storage_io_error(err, errno, "setting the mode of an object");
    return 0;
}

static int rename_error(osmo_error_t *err, int error, const char *name) {
    if (error == EISDIR || error == ENOTDIR)
        return osmo_error_set(err, OSMO_EINVAL, "object %.64s is a directory of this upload", name);
    return storage_io_error(err, error, "moving an object into place");
}

static int place_file(int parent, const char *name, const char *file, mode_t mode, uint64_t *size, char sha256[65],
                      osmo_error_t *err) {
    _cleanup_close_ int fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return storage_io_error(err, errno, "opening the uploaded body");
    int rc = finish_object(fd, mode, size, sha256, err);
    if (rc >= 0 && renameat(AT_FDCWD, file, parent, name) < 0)
        rc = rename_error(err, errno, name);
    return rc;
}

static int place_bytes(int parent, const char *name, const struct storage_body *b, mode_t mode, uint64_t *size,
                       char sha256[65], osmo_error_t *err) {
    char temporary[48], id[33];
    if (crypto_random_hex32(id) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    snprintf(temporary, sizeof temporary, ".put-%s", id);
    _cleanup_close_ int fd = openat(parent, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return storage_io_error(err, errno, "creating an object");
    int rc = b->len && fd_write_all(fd, b->data, b->len) < 0 ? storage_io_error(err, errno, "writing an object") : 0;
    if (rc >= 0)
        rc = finish_object(fd, mode, size, sha256, err);
    if (rc >= 0 && renameat(parent, temporary, parent, name) < 0)
        rc = rename_error(err, errno, name);
    if (rc < 0)
        unlinkat(parent, temporary, 0);
    return rc;
}

int storage_put(engine_t *e, const char *workflow, const char *task, const char *upload, const char *path, mode_t mode,
                const struct storage_body *body, uint64_t *size, char sha256[65], osmo_error_t *err) {
    const char *const where[] = { STORAGE_STAGING, workflow, task, upload, STORAGE_DATA_DIR, NULL };
    strlist_t parts = { 0 };
    int parent = -1, rc = check_names(workflow, task, err);
    if (rc >= 0 && !storage_upload_valid(upload))
        rc = osmo_error_set(err, OSMO_EINVAL, "the upload id must be 32 lower-case hexadecimal digits");
    if (rc >= 0)
        rc = split_path(path, &parts, err);
    if (rc >= 0) {
        parent = walk_to_parent(storage_dir(e, where, true, err), &parts, true);
        rc = parent;
        if (rc == OSMO_ENOTFOUND)
            rc = osmo_error_set(err, OSMO_EINVAL, "part of object path %.64s is a file of this upload", path);
    }
    if (rc >= 0) {
        const char *name = parts.items[parts.len - 1];
        rc = body->file ? place_file(parent, name, body->file, mode, size, sha256, err)
            : place_bytes(parent, name, body, mode, size, sha256, err);
        close(parent);
    }
    strlist_free(&parts);
    return rc < 0 ? rc : 0;
}

/* ---- publishing ---- */

/* Is this upload what is published already? A commit that is repeated after a lost answer must not empty the tree. */
static bool is_published(engine_t *e, const char *workflow, const char *task, const char *upload) {
    const char *const where[] = { workflow, task, NULL };
    char kept[33] = "";
    _cleanup_close_ int dir = storage_dir(e, where, false, NULL);
    _cleanup_close_ int fd = dir >= 0 ? openat(dir, STORAGE_UPLOAD_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    return fd >= 0 && read(fd, kept, 32) == 32 && !strcmp(kept, upload);
}

static int write_upload_id(int dir, const char *upload, osmo_error_t *err) {
    _cleanup_close_ int fd = openat(dir, STORAGE_UPLOAD_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                                    0600);
    if (fd < 0 || fd_write_all(fd, upload, 32) < 0)
        return storage_io_error(err, errno, "writing the upload id");
    return 0;
}

/* Swap in the new tree; what was there ends up under the upload's name in staging and is removed. */
static int swap_in(engine_t *e, int staging, const char *upload, int published, const char *task,
                   const char *staging_path, osmo_error_t *err) {
    if (renameat2(staging, upload, published, task, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST && renameat2(staging, upload, published, task, RENAME_EXCHANGE) == 0) {
        _cleanup_free_ char *old = str_printf("%s/%s/%s", e->storage_dir, staging_path, upload);
        osmo_error_t reason = OSMO_ERROR_INIT;
        if (old && dir_remove_tree(old, &reason) < 0)
            log_warning(&e->log, "storage: cannot remove replaced data: %s", reason.text);
        return 0;
    }
    return storage_io_error(err, errno, "publishing an upload");
}

/* Everything that was uploaded must be on disk before the task may be called complete. */
static int publish(engine_t *e, const char *workflow, const char *task, const char *upload, int64_t *objects,
                   osmo_error_t *err) {
    const char *const tree[] = { STORAGE_STAGING, workflow, task, upload, NULL };
    const char *const from[] = { STORAGE_STAGING, workflow, task, NULL }, *const to[] = { workflow, NULL };
    _cleanup_free_ char *staging_path = str_printf("%s/%s/%s", STORAGE_STAGING, workflow, task);
    _cleanup_close_ int dir = storage_dir(e, tree, true, err);
    int data = dir < 0 ? dir : storage_dir_at(dir, STORAGE_DATA_DIR, true);
    if (data < 0 || !staging_path)
        return data < 0 ? osmo_error_set(err, data, "cannot open the staged upload")
            : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = storage_walk(data, NULL, objects, err);
    if (rc >= 0)
        rc = write_upload_id(dir, upload, err);
    if (rc >= 0 && syncfs(dir) < 0)
        rc = storage_io_error(err, errno, "writing an upload to disk");
    if (rc < 0)
        return rc;
    _cleanup_close_ int staging = storage_dir(e, from, false, err);
    _cleanup_close_ int published = storage_dir(e, to, true, err);
    if (staging < 0 || published < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot open the storage of workflow %s", workflow);
    rc = swap_in(e, staging, upload, published, task, staging_path, err);
    if (rc >= 0 && fsync(published) < 0)
        rc = storage_io_error(err, errno, "publishing an upload");
    return rc;
}

int storage_commit(engine_t *e, const char *workflow, const char *task, const char *upload, int64_t *objects,
                   osmo_error_t *err) {
    const char *const data[] = { workflow, task, STORAGE_DATA_DIR, NULL };
    int rc = check_names(workflow, task, err);
    if (rc >= 0 && !storage_upload_valid(upload))
        rc = osmo_error_set(err, OSMO_EINVAL, "the upload id must be 32 lower-case hexadecimal digits");
    if (rc < 0)
        return rc;
    if (!is_published(e, workflow, task, upload))
        return publish(e, workflow, task, upload, objects, err);
    int dir = storage_dir(e, data, false, err);
    *objects = 0;
    return dir < 0 ? 0 : storage_walk(dir, NULL, objects, err);
}

void storage_forget_uploads(engine_t *e, const char *workflow) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (storage_name_check("workflow", workflow, NULL) < 0)
        return;
    _cleanup_free_ char *path = str_printf("%s/%s/%s", e->storage_dir, STORAGE_STAGING, workflow);
    if (path && dir_remove_tree(path, &err) < 0)
        log_warning(&e->log, "storage: cannot remove unfinished uploads of %s: %s", workflow, err.text);
}
