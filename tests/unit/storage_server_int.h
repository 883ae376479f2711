/* Between storage_server*.c alone. */
#ifndef TESTS_STORAGE_SERVER_INT_H
#define TESTS_STORAGE_SERVER_INT_H
#include <pthread.h>

#include "base/buf.h"
#include "base/str.h"
#include "storage_server.h"

#define OBJECTS_MAX 4096
#define FAULTS_MAX 16
struct object { char *path; char *data; size_t len; char etag[64]; int mode; };
struct upload { char *path; char id[40]; struct { char *data; size_t len; char etag[40], name[64]; } parts[64]; };
struct fault { char method[8], contains[64], code[40]; enum storage_fault fault; int times, status; };
struct storage_server {
    int listener, port;
    pthread_t thread;
    pthread_mutex_t lock;
    bool stopping, no_batch, old_uploads;
    int open[256]; size_t nopen;
    pthread_cond_t closed;
    struct object objects[OBJECTS_MAX]; size_t nobjects;
    struct upload uploads[64]; size_t nuploads;
    struct fault faults[FAULTS_MAX]; size_t nfaults;
    strlist_t log;
    size_t page;
    int64_t clock_offset_us;
};
struct server_request {
    char method[8], *path, *query; /* path decoded; query as it came */
    char *target;
    strlist_t headers;
    char *body; size_t len;
};
struct server_answer { int status; strlist_t headers; buf_t body; bool head; };

const char *request_header(const struct server_request *rq, const char *name);
char *request_query(const struct server_request *rq, const char *name); /* decoded, malloc'ed; NULL */
void answer_text(struct server_answer *a, const char *name, const char *value);
void answer_error(struct server_answer *a, int status, const char *code);
struct object *find_object(storage_server_t *s, const char *path);
struct object *store_object(storage_server_t *s, const char *path, const void *data, size_t len);
void drop_object(storage_server_t *s, struct object *o);
void send_object(storage_server_t *s, const struct server_request *rq, const struct object *o, struct server_answer *a);
void md5_hex(const void *data, size_t len, char out[33]);
void s3_answer(storage_server_t *s, const struct server_request *rq, struct server_answer *a);
void azure_answer(storage_server_t *s, const struct server_request *rq, struct server_answer *a);
void service_answer(storage_server_t *s, const struct server_request *rq, struct server_answer *a);
struct upload *find_upload(storage_server_t *s, const char *id);
void drop_upload(storage_server_t *s, struct upload *u);
int by_path(const void *a, const void *b);
#endif
