/* The archive of finished workflows: log, events, specification and error logs as objects, in upstream's layout, below the
 * place that workflow.workflow_log names. archive.c and archive_tasks.c write it (work item "archive_workflow"),
 * archive_read.c reads it. Everything of workflow W is below W/:
 *
 *     workflow_logs.txt                the log, exactly as it is served
 *     workflow_logs.idx, .tasks        what each entry of it is: ours, so that filters mean the same as before
 *     task_logs_TASK_RETRY.txt         the same text by attempts
 *     workflow_events.txt              the events
 *     workflow_spec.yaml, templated_workflow_spec.yaml    with secrets masked
 *     TASK_error_logs.txt, TASK_RETRY_error_logs.txt      the last lines of containers that failed
 */
#ifndef ENGINE_ARCHIVE_H
#define ENGINE_ARCHIVE_H
#include "data/object_store.h"
#include "engine/engine.h"
#include "store/repo.h"

/* Whose the items are; no backend has such a name. */
#define ARCHIVE_LANE "/archive"
/* How long after the end of a workflow its log stays open for what a backend that does not answer might still bring. */
#define LOG_GRACE_US (60LL * 1000 * 1000)

/* The work item: ends the log, writes the archive. Again from the beginning after any failure; what it wrote is durable when
 * it returns 0. OSMO_EBUSY: not yet, no failure. */
int archive_workflow(engine_t *e, const struct work_row *item, osmo_error_t *err);
/* Everything of the workflow goes; without a configured archive nothing does. */
int archive_remove(engine_t *e, const char *workflow_id, osmo_error_t *err);

/* Does the configured archive have the log of the workflow? Otherwise an error tells what is wrong with it. */
int archive_has_log(engine_t *e, const char *workflow_id, osmo_error_t *err);

/* A log, as logstore_reader has it; `skip` bytes of what it would give were given before. The end is always known. */
typedef struct archive_reader archive_reader_t;
int archive_reader(engine_t *e, const char *workflow_id, const struct log_query *q, uint64_t skip, archive_reader_t **out,
                   osmo_error_t *err);
/* Appends whole entries, up to about max bytes: >0 bytes, OSMO_EGONE at the end. */
int archive_reader_read(archive_reader_t *r, buf_t *out, size_t max, osmo_error_t *err);
/* The same, as log_reader_items() has it: >0 entries, OSMO_EGONE. Of an entry that was given in part the rest counts as one. No times. */
int archive_reader_items(archive_reader_t *r, buf_t *out, size_t max, struct log_item *items, osmo_error_t *err);
void archive_reader_free(archive_reader_t *r);
/* A small object as a whole. OSMO_ENOTFOUND. */
int archive_text(engine_t *e, const char *workflow_id, const char *name, buf_t *out, osmo_error_t *err);

/* ---- shared by archive*.c ---- */
#define ARCHIVE_LOG "workflow_logs.txt"
#define ARCHIVE_INDEX "workflow_logs.idx"
#define ARCHIVE_TASKS "workflow_logs.tasks"
#define ARCHIVE_EVENTS "workflow_events.txt"
#define ARCHIVE_KEY "workflow.workflow_log.credential.endpoint"

/* One record of the index; entries follow each other in the text without gaps. */
#define ARCHIVE_RECORD_SIZE 16
struct archive_record { uint32_t length, task /* line of ARCHIVE_TASKS, from 0 */, retry, type; };
void archive_record_pack(const struct archive_record *r, uint8_t out[ARCHIVE_RECORD_SIZE]);
void archive_record_unpack(const uint8_t in[ARCHIVE_RECORD_SIZE], struct archive_record *r);

/* How long storage that is down or busy is waited for: by readers, who have a worker, and by copies, whose lease lasts a minute. */
#define ARCHIVE_READ_MS 4000
#define ARCHIVE_WRITE_MS 20000
/* The configured place, open. OSMO_EUNAVAIL when there is none. */
int archive_open(engine_t *e, int64_t retry_for_ms, object_store_t **out, osmo_error_t *err);
char *archive_name(const char *workflow_id, const char *name); /* malloc'ed */

/* A copy in progress: the lease of its work item is kept while it goes on. */
struct archive_copy {
    engine_t *e;
    object_store_t *store;
    const struct work_row *item;
    const char *workflow_id, *workflow_uuid;
    int64_t renew_at; /* monotonic */
};
int archive_keep_lease(struct archive_copy *c, osmo_error_t *err);

/* An attempt of a task in the log: where its entries begin and end. */
struct archive_attempt { uint32_t task, retry; uint64_t first_offset, first_record, last_record; };
/* task_logs_TASK_RETRY.txt of all attempts, from the log and the index that are in the archive already. */
int archive_task_logs(struct archive_copy *c, struct archive_attempt *attempts, size_t n, const strlist_t *tasks,
                      osmo_error_t *err);
#endif
