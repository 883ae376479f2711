/* A submitted text taken through the whole of the model: template, YAML, specification, pool, and the objects of every group
 * with ids that are digests of the names. Lines `# golden: key=value` before the first section choose what a request
 * would: pool, priority, user, set, set-string, env, and what the service has: credentials, rsync, images, own-storage,
 * dev, url, prefix, retry, only. */
#ifndef TESTS_GOLDEN_FIXTURE_H
#define TESTS_GOLDEN_FIXTURE_H
#include "base/json.h"
#include "model/pods.h"

struct golden {
    struct settings *settings;
    const struct pool *pool;
    struct spec *spec;
    json_t *groups;        /* group name → its objects */
    osmo_error_t err;
    int rc;                /* of the first step that failed */
};
/* Where the golden files are, below $srcdir. */
#define GOLDEN_TREE "tests/golden"
char *golden_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Whole file, malloc'ed and NUL-terminated; NULL when it cannot be read. */
char *golden_read(const char *path, size_t *len);
void golden_build(struct golden *g, const char *text, size_t len);
void golden_free(struct golden *g);
/* What stands for the uuid of a group or task: 32 hex digits of a digest. */
void golden_uuid(const char *kind, const char *name, char out[33]);

#define GOLDEN_WORKFLOW "00112233445566778899aabbccddeeff"
/* Borrowed look-ups: the nth object of a kind in a group, one with a name, the pod of a task. NULL when absent. */
const json_t *golden_object(const struct golden *g, const char *group, const char *kind, size_t nth);
const json_t *golden_named(const struct golden *g, const char *group, const char *name);
const json_t *golden_pod(const struct golden *g, const char *group, const char *task);
/* A container of a pod: 0 the user's, 1 osmo-ctrl, 2 osmo-init. */
const json_t *golden_container(const json_t *pod, size_t i);
/* Strings of an array joined by blanks; malloc'ed. */
char *golden_words(const json_t *array);
#endif
