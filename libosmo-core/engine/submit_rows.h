/* The rows of a workflow made a chunk at a time, so that a hundred thousand tasks never stand in memory as rows together.
 * Used by submit_store.c only. */
#ifndef ENGINE_SUBMIT_ROWS_H
#define ENGINE_SUBMIT_ROWS_H
#include "engine/submit_internal.h"

/* A chunk is one transaction at most: so small that other writers hardly notice it, so large that a commit is cheap. */
#define CHUNK_TASKS 2048
#define CHUNK_GROUPS 2048
#define CHUNK_EDGES 8192
#define CHUNK_SPEC_BYTES (4u << 20)
#define GROUP_SPEC_MAX (256u << 20) /* one group's own specification */
#define EDGES_MAX 1000000           /* dependencies between the groups of a workflow */
#define TASKS_MAX ((size_t)1 << 24) /* what the numbers in ids can hold */

/* Rows whose strings are borrowed: from the specification, or from the chunk itself. */
struct rows_chunk {
    struct group_row *groups;
    struct task_row *tasks;
    const char *(*edges)[2];
    size_t ngroups, ntasks, nedges;
    buf_t specs;               /* of the groups, each with its NUL */
    size_t *spec_at;
    char (*pods)[40];
    char **actions;            /* of those tasks that have exitActions */
    size_t nactions;
};

/* Where the filling stands. */
struct rows_filler {
    const struct spec *spec;
    struct workflow_row *wf;   /* its counters grow while groups are filled */
    char (*groups)[33];        /* uuids of all groups */
    struct group_row group;    /* being filled: its tasks may be spread over chunks, its own row comes with the last */
    size_t g, t, ntasks;
    struct group_place *ready; /* the first groups that may start */
    size_t nready, max_ready;
    bool more_ready;
    const struct spec_resource *resource; /* of the last task, and what it comes to */
    double cpu, gpu, memory_gib, storage_gib;
    uint8_t base[8], noise[2048];
    size_t noise_left;
};

int rows_chunk_init(struct rows_chunk *c, const struct spec *spec, osmo_error_t *err);
void rows_chunk_reset(struct rows_chunk *c);
void rows_chunk_free(struct rows_chunk *c);

/* Checks the sizes. */
int rows_open(struct rows_filler *f, const struct spec *spec, struct workflow_row *wf, size_t max_ready, osmo_error_t *err);
void rows_close(struct rows_filler *f);
/* Fills the empty chunk as far as it goes; false in *more when the workflow is complete. */
int rows_fill(struct rows_filler *f, struct rows_chunk *c, bool *more, osmo_error_t *err);
/* Writes the chunk. */
int rows_insert_chunk(db_t *db, const struct rows_chunk *c, const char *workflow_uuid, osmo_error_t *err);
#endif
