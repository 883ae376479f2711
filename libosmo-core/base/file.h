/* Files: whole-file reads with a cap, durable atomic writes, trees. Every descriptor is O_CLOEXEC. */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/buf.h"
#include "osmo/error.h"
/* appends; OSMO_ENOTFOUND, OSMO_EDENIED, OSMO_ELIMIT, OSMO_EIO */
int file_read(const char *path, buf_t *out,
              osmo_error_t *err);
/* Write to a temporary neighbour, fsync if `durable`, rename over. */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, bool durable, osmo_error_t *err);
/* The same, durable, unless there is something of this name already: OSMO_EEXISTS. */
int file_write_new(const char *path, const void *data, size_t len, mode_t mode, osmo_error_t *err);
int dir_make(const char *path, mode_t mode, osmo_error_t *err);               /* with parents; existing is fine */
int dir_remove_tree(const char *path, osmo_error_t *err); /* never follows symlinks; absent is fine */
/* reflink/copy_file_range where possible */
int file_copy(const char *from, const char *to, mode_t mode,
              osmo_error_t *err);
bool file_exists(const char *path);
/* Write all bytes to a descriptor, resuming after EINTR and short writes. 0 or OSMO_EIO. */
int fd_write_all(int fd, const void *data, size_t len);
/* The same at an offset; the descriptor's own is left alone. Reading: false when the file ends before (errno is 0), or cannot
 * be read. */
int fd_write_at(int fd, const void *data, size_t len, uint64_t at);
bool fd_read_at(int fd, void *out, size_t len, uint64_t at);
#endif
