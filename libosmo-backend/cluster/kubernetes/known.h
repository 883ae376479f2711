/* The objects that a reflector knows to exist, each in some 130 bytes: name, uid, and which version of it was told. Called by
 * reflector.c. */
#ifndef KUBERNETES_KNOWN_H
#define KUBERNETES_KNOWN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "cluster/kubernetes/meta.h"

struct known_one {
    uint64_t hash, version; /* of the key; of the text of its resourceVersion */
    unsigned char uid[16];
    uint32_t round;         /* in which list it was seen last */
    bool odd;               /* the uid is no UUID and stands behind the key */
    char key[];             /* "namespace/name" */
};
typedef struct known known_t;

known_t *known_new(void);
void known_free(known_t *k);
size_t known_len(const known_t *k);
struct known_one *known_get(const known_t *k, const char *key);
/* It must not be known yet. NULL without memory. */
struct known_one *known_add(known_t *k, const char *key, const struct meta *m, uint32_t round);
void known_remove(known_t *k, const char *key);
bool known_is(const struct known_one *one, const struct meta *m); /* the same uid */
/* {"metadata":{…}} of what is gone. */
void known_text(const struct known_one *one, buf_t *out);
/* Remove one of those that are not of this round and hand it out, for known_drop(); NULL when there is none left. *it begins as 0. */
struct known_one *known_stale(known_t *k, uint32_t round, size_t *it);
void known_drop(struct known_one *one);
#endif
