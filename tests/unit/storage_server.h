/* A storage server inside the test: S3 (path style), Azure's blobs below /account/, the service's storage below
 * /api/storage/; with faults on order. What clients send is checked as real servers do: MD5s, SHA-256s, the key, the
 * clock. */
#ifndef TESTS_STORAGE_SERVER_H
#define TESTS_STORAGE_SERVER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct storage_server storage_server_t;
enum storage_fault {
    FAULT_STATUS,  /* answer with `status`, S3's error `code` */
    FAULT_CUT,     /* close in the middle of the answer's body */
    FAULT_DROP,    /* close after the request was read, without an answer */
    FAULT_CORRUPT, /* a byte of the answer's body is another one */
    FAULT_STALL,   /* say nothing any more, in the middle of the body */
    FAULT_SHORT,   /* of what was uploaded, keep another thing than was sent, and say so by its ETag */
    FAULT_REGION,  /* 301 with the region `code`, unless the request is signed for it */
    FAULT_INSIDE,  /* 200 with S3's error `code` as the body, nothing done */
    FAULT_LOST     /* do it, and close without an answer */
};
storage_server_t *storage_server_start(void);
void storage_server_stop(storage_server_t *s);
int storage_server_port(const storage_server_t *s);
void storage_server_put(storage_server_t *s, const char *path, const void *data, size_t len); /* "bucket/key" */
/* A copy, malloc'ed; NULL when there is none. */
char *storage_server_get(storage_server_t *s, const char *path, size_t *len);
size_t storage_server_objects(storage_server_t *s, const char *prefix);
size_t storage_server_uploads(storage_server_t *s); /* in parts, that are neither finished nor abandoned */
/* The next `times` requests of the method ("" = any) whose target contains the text. */
void storage_server_fault(storage_server_t *s, const char *method, const char *contains, enum storage_fault fault, int times, int status,
                          const char *code);
void storage_server_heal(storage_server_t *s); /* no faults any more */
/* Requests that came. */
size_t storage_server_count(storage_server_t *s, const char *method, const char *contains);
void storage_server_page(storage_server_t *s, size_t entries);       /* of lists */
void storage_server_clock(storage_server_t *s, int64_t offset_us);   /* it is that much ahead */
void storage_server_no_batch(storage_server_t *s);
void storage_server_old_uploads(storage_server_t *s);                /* uploads began long ago */
#define STORAGE_KEY_ID "test-key"
#define STORAGE_KEY "test-secret"
#define STORAGE_TOKEN "Bearer good"
#endif
