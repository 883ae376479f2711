/* What nearly every question about an object of Kubernetes is about: who it is. Read in place, without a tree; slices point into the text.
 * Used by all of cluster/kubernetes. */
#ifndef KUBERNETES_META_H
#define KUBERNETES_META_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/json_reader.h"

#define META_FINALIZER "osmo.nvidia.com/cleanup"
#define META_KEY_MAX 512 /* "namespace/name" with its NUL; names have at most 253 characters */

struct meta {
    json_slice_t api_version, kind;              /* only when they stand before the metadata, unless `whole` was asked for */
    json_slice_t namespace_, name, uid, version; /* len 0 = there is none */
    json_slice_t labels, annotations;            /* whole objects */
    json_slice_t created;                        /* creationTimestamp */
    json_slice_t deleted;                        /* deletionTimestamp */
    int64_t grace_s;                             /* deletionGracePeriodSeconds; -1 = there is none */
    bool finalizer;                              /* META_FINALIZER is among its finalizers */
    json_slice_t spec, status;                   /* whole objects, only with `whole` */
};
/* False when it is no object with a metadata.name. Without `whole` nothing behind the metadata is looked at. */
bool meta_read(const char *json, size_t len, bool whole, struct meta *out);
/* "namespace/name", or "/name"; false when it does not fit. */
bool meta_key(const struct meta *m, char key[META_KEY_MAX]);
static inline int meta_len(const json_slice_t *s) { return (int)s->len; } /* for "%.*s" */
/* A UUID as 16 bytes; false for anything else. */
bool meta_uuid(const json_slice_t *s, unsigned char out[16]);
uint64_t meta_hash(const char *text, size_t len);
#endif
