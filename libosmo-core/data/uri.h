/* Storage URIs: s3, gs, azure, swift, tos, file, and http(s) for the service's own storage. Pure. Grammar and profiles are OSMO's. */
#ifndef DATA_URI_H
#define DATA_URI_H
#include <stdbool.h>
#include "osmo/error.h"

enum data_scheme { DATA_S3, DATA_GS, DATA_AZURE, DATA_SWIFT, DATA_TOS, DATA_FILE, DATA_SERVICE };
struct data_uri {
    enum data_scheme scheme;
    char *text;        /* as given, without trailing and repeated slashes */
    char *host;        /* swift, tos: host; azure: account; else "" */
    char *namespace_;  /* swift; else "" */
    char *bucket;      /* or container; file: "" */
    char *path;        /* key or prefix without leading slash; file: absolute path; service: the whole URL */
    char *profile;     /* by which credentials are kept: s3://bucket, swift://host/namespace, tos://host/bucket, azure://account … */
};
/* OSMO_EUSER with a text that names the URI and what is wrong. */
int data_uri_parse(const char *text, struct data_uri *out, osmo_error_t *err);
void data_uri_clear(struct data_uri *u);
const char *data_scheme_name(enum data_scheme s);
/* A relative name of an object below a prefix that may become a path below a folder: no "..", no empty parts, not absolute. */
bool data_relative_is_safe(const char *relative);
#endif
