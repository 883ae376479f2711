/* Credentials for storage as a program is given them: a file in the form of config.yaml, and the variables that the tools of the providers
 * read. The library reads no environment: a function gives the variables. For cli/cmd_data.c and osmo_ctrl. */
#ifndef DATA_DATA_ENVIRONMENT_H
#define DATA_DATA_ENVIRONMENT_H
#include "data/data_credentials.h"
#include "data/transfer.h"

/* Of getenv()'s form. */
typedef char *(*data_variable_fn)(const char *name);
struct data_surroundings {
    data_credentials_t *credentials;
    struct data_environment environment;
    char *key_id, *key, *token; /* what the environment points to, when they come from a file */
};
/* path: NULL is none. may_be_missing: no file is an empty one. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
 * AWS_SESSION_TOKEN, AWS_REGION or AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL,
 * AZURE_STORAGE_CONNECTION_STRING; without keys there, those of the profile AWS_PROFILE in
 * AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials; OSMO_S3_ADDRESSING_STYLE, or path where AWS_S3_FORCE_PATH_STYLE
 * is true or 1. What the variables say is borrowed. */
int data_surroundings_read(const char *path, bool may_be_missing, data_variable_fn variable, struct data_surroundings *out,
                           osmo_error_t *err);
void data_surroundings_clear(struct data_surroundings *s);
#endif
