/* Between s3.c, s3_ops.c and their fuzz target alone. */
#ifndef DATA_S3_H
#define DATA_S3_H
#include "data/remote.h"

struct s3 {
    char *scheme, *host, *base;  /* base: path of the endpoint, "" or "/…" */
    const char *key_id, *key, *token;
    char region[64];
    bool path_style, aws, no_batch;
};
int s3_stat(struct data_conn *c, struct remote *r, const char *key, struct remote_info *out, osmo_error_t *err);
int s3_list(struct data_conn *c, struct remote *r, const char *prefix, bool deep, remote_entry_fn fn, void *ctx, osmo_error_t *err);
uint64_t s3_part_size(struct data_conn *c, struct remote *r, const char *key);
int s3_get(struct data_conn *c, struct remote *r, const char *key, struct sink *s, osmo_error_t *err);
int s3_put(struct data_conn *c, struct remote *r, const char *key, const struct source *s, osmo_error_t *err);
int s3_begin(struct data_conn *c, struct remote *r, const char *key, char id[REMOTE_ID_MAX], osmo_error_t *err);
int s3_part(struct data_conn *c, struct remote *r, const char *key, const char *id, unsigned number, const struct source *s,
            char etag[REMOTE_ETAG_MAX], osmo_error_t *err);
int s3_finish(struct data_conn *c, struct remote *r, const char *key, const char *id, const struct part *parts,
              size_t n, osmo_error_t *err);
int s3_abandon(struct data_conn *c, struct remote *r, const char *key, const char *id, osmo_error_t *err);
int s3_parts_there(struct data_conn *c, struct remote *r, const char *key, const char *id, struct part *parts, size_t n, osmo_error_t *err);
int s3_remove(struct data_conn *c, struct remote *r, char *const *keys, size_t n, osmo_error_t *err);
int s3_tidy(struct data_conn *c, struct remote *r, const char *prefix, int64_t before_us, osmo_error_t *err);
int s3_read_list(const char *text, size_t len, remote_entry_fn fn, void *ctx, osmo_error_t *err); /* one page */
int s3_check(struct data_conn *c, struct remote *r, enum data_access access, osmo_error_t *err);
#endif
