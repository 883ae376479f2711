/* Credentials, variables and the file of the AWS tools. See data_environment.h. */
#include "data/data_environment.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"

#define SHARED_FILE_MAX (1u << 20)

static void wipe(char *text) {
    if (text)
        crypto_wipe(text, strlen(text));
    free(text);
}

static const char *value_of(data_variable_fn variable, const char *name) {
    const char *v = variable(name);
    return v && *v ? v : NULL;
}

/* ---- the file of the AWS tools ---- */

static char *trimmed(const char *from, const char *to) {
    while (from < to && strchr(" \t\r", *from))
        from++;
    while (to > from && strchr(" \t\r", to[-1]))
        to--;
    return strndup(from, (size_t)(to - from));
}

/* [profile] and lines key = value; what is not understood is passed over, as those tools do. */
static int read_shared_lines(const char *text, const char *profile, struct data_surroundings *a) {
    const struct { const char *name; char **value; } keys[] = {
        { "aws_access_key_id", &a->key_id }, { "aws_secret_access_key", &a->key }, { "aws_session_token", &a->token } };
    bool ours = false;
    for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        const char *equals = memchr(line, '=', (size_t)(end - line));
        if (*line == '[') {
            const char *close = memchr(line, ']', (size_t)(end - line));
            _cleanup_free_ char *name = close ? trimmed(line + 1, close) : NULL;
            ours = name && strcmp(name, profile) == 0;
        } else if (ours && equals && *line != '#' && *line != ';') {
            _cleanup_free_ char *key = trimmed(line, equals);
            for (size_t i = 0; key && i < ARRAY_SIZE(keys); i++)
                if (strcmp(key, keys[i].name) == 0) {
                    wipe(*keys[i].value);
                    *keys[i].value = trimmed(equals + 1, end);
                    if (!*keys[i].value)
                        return OSMO_ENOMEM;
                }
        }
    }
    return 0;
}

static int read_shared_file(data_variable_fn variable, struct data_surroundings *a, osmo_error_t *err) {
    const char *given = value_of(variable, "AWS_SHARED_CREDENTIALS_FILE"), *home = value_of(variable, "HOME");
    const char *profile = value_of(variable, "AWS_PROFILE");
    _cleanup_free_ char *path = given ? strdup(given) : str_printf("%s/.aws/credentials", home ? home : "");
    _cleanup_buf_ buf_t text = BUF_SECRET(SHARED_FILE_MAX);
    if (!path)
        return no_memory(err);
    int rc = given || home ? file_read(path, &text, err) : OSMO_ENOTFOUND;
    if (rc < 0)
        return rc == OSMO_ENOTFOUND ? 0 : rc;
    return read_shared_lines(buf_cstr(&text), profile ? profile : "default", a) < 0 ? no_memory(err) : 0;
}

/* ---- variables ---- */

static int read_addressing(data_variable_fn variable, enum data_addressing *out, osmo_error_t *err) {
    const char *style = value_of(variable, "OSMO_S3_ADDRESSING_STYLE"), *force = value_of(variable, "AWS_S3_FORCE_PATH_STYLE");
    *out = DATA_ADDRESS_AUTO;
    if (str_eq(style, "path") || (!style && (str_eq(force, "true") || str_eq(force, "1"))))
        *out = DATA_ADDRESS_PATH;
    else if (str_eq(style, "virtual"))
        *out = DATA_ADDRESS_VIRTUAL;
    else if (style && strcmp(style, "auto") != 0)
        return osmo_error_set(err, OSMO_EUSER, "OSMO_S3_ADDRESSING_STYLE is none of virtual, path and auto");
    return 0;
}

static int environment_read(data_variable_fn variable, struct data_surroundings *s, osmo_error_t *err) {
    struct data_environment *e = &s->environment;
    const char *region = value_of(variable, "AWS_REGION"), *endpoint = value_of(variable, "AWS_ENDPOINT_URL_S3");
    *e = (struct data_environment){
        .aws_access_key_id = value_of(variable, "AWS_ACCESS_KEY_ID"),
        .aws_secret_access_key = value_of(variable, "AWS_SECRET_ACCESS_KEY"),
        .aws_session_token = value_of(variable, "AWS_SESSION_TOKEN"),
        .aws_region = region ? region : value_of(variable, "AWS_DEFAULT_REGION"),
        .aws_endpoint_url = endpoint ? endpoint : value_of(variable, "AWS_ENDPOINT_URL"),
        .azure_connection_string = value_of(variable, "AZURE_STORAGE_CONNECTION_STRING"),
    };
    if (!e->aws_access_key_id != !e->aws_secret_access_key)
        return osmo_error_set(err, OSMO_ECREDENTIAL, "of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY one is set: set the other too");
    if (!e->aws_access_key_id) {
        int rc = read_shared_file(variable, s, err);
        if (rc < 0)
            return rc;
        if (!s->key_id != !s->key)
            return osmo_error_set(err, OSMO_ECREDENTIAL, "the credentials file of the AWS tools has half of a key pair: complete it");
        e->aws_access_key_id = s->key_id;
        e->aws_secret_access_key = s->key;
        e->aws_session_token = s->token;
    }
    return read_addressing(variable, &e->addressing, err);
}

/* ---- both ---- */

int data_surroundings_read(const char *path, bool may_be_missing, data_variable_fn variable, struct data_surroundings *out,
                           osmo_error_t *err) {
    *out = (struct data_surroundings){ 0 };
    int rc = path ? data_credentials_load(path, &out->credentials, err) : OSMO_ENOTFOUND;
    if (rc == OSMO_ENOTFOUND && (may_be_missing || !path))
        rc = data_credentials_parse("", 0, &out->credentials, err);
    if (rc >= 0)
        rc = environment_read(variable, out, err);
    if (rc < 0)
        data_surroundings_clear(out);
    return rc < 0 ? rc : 0;
}

void data_surroundings_clear(struct data_surroundings *s) {
    data_credentials_free(s->credentials);
    wipe(s->key_id);
    wipe(s->key);
    wipe(s->token);
    *s = (struct data_surroundings){ 0 };
}
