/* Between transfer.c, upload.c, download.c and run.c alone: many files at once. A feeder finds out what there is to
 * do and queues it; workers, started as they are needed, each with its connection, do it; a large file is cut into
 * parts that whoever is free takes. The caller's thread watches: cancellation, progress. The first failure ends all. */
#ifndef DATA_RUN_H
#define DATA_RUN_H
#include "data/remote.h"

struct run;
struct job {
    struct job *next;
    char *name;                    /* for people: relative path */
    int (*work)(struct run *run, struct data_conn *c, struct job *j, osmo_error_t *err);
    void (*free)(struct job *j);   /* what is in it and itself */
};
struct big {
    struct big *next;
    char *name;
    unsigned nparts, taken, done;  /* under the run's lock */
    int (*part)(struct run *run, struct data_conn *c, struct big *b, unsigned i, osmo_error_t *err);
    int (*finish)(struct run *run, struct data_conn *c, struct big *b, osmo_error_t *err); /* after the last part, in one
                                      * thread; 1: all parts once more */
    void (*free)(struct run *run, struct big *b);
};
/* Finds what there is to do. */
typedef int (*run_feed)(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err);

/* Does it all; the error names the file. */
int run_all(data_session_t *s, struct remote *r, run_feed feed, void *ctx, struct data_totals *totals, osmo_error_t *err);
struct remote *run_remote(const struct run *run);
const struct data_options *run_options(const struct run *run);
/* From the feeder: takes the job, waits for room. The size is for progress. OSMO_ECONFLICT when all ends. */
int run_push(struct run *run, struct job *j, uint64_t size, osmo_error_t *err);
/* From work(): takes it. */
int run_push_big(struct run *run, struct big *b, osmo_error_t *err);
/* A file is there: its size, what of it was carried now, and whether it was there before. */
void run_count(struct run *run, const char *name, uint64_t carried, bool skipped);
/* Bytes that are done with. */
void run_bytes(struct run *run, uint64_t bytes);
/* An upload in parts that will not be finished: forgotten at the end. */
void run_orphan(struct run *run, const char *key, const char *id);
/* For names in a folder: one that holds directories which were made already. Makes the parents of the path. */
int run_make_parent(struct run *run, const char *path, osmo_error_t *err);
#endif
