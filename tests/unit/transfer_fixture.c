/* What tests of transfers share; see transfer_fixture.h. */
#include "transfer_fixture.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"

char root[64];
storage_server_t *server;
data_credentials_t *credentials;
strlist_t left_out;

char *path_of(const char *name) { return str_printf("%s/%s", root, name); }

static char *token(void *ctx) {
    (void)ctx;
    return strdup(STORAGE_TOKEN);
}

static void note_left_out(void *ctx, const char *path, const char *why) {
    (void)ctx;
    char *line = str_printf("%s: %s", path, why);
    strlist_add(&left_out, line);
    free(line);
}

void read_credentials(int port) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char *yaml = str_printf(
        "auth: {data: {'s3://bucket': &a {access_key_id: " STORAGE_KEY_ID ", access_key: " STORAGE_KEY
        ", override_url: 'http://127.0.0.1:%d'},\n"
        " 's3://readonly': *a, 's3://nobucket': *a, 'gs://bucket': *a, 'tos://127.0.0.1:%d/bucket': *a,\n"
        " 's3://wrongid': {access_key_id: other, access_key: x, override_url: 'http://127.0.0.1:%d'},\n"
        " 's3://wrongkey': {access_key_id: " STORAGE_KEY_ID ", access_key: sEcReT, override_url: 'http://127.0.0.1:%d'},\n"
        " 's3://public': {override_url: 'http://127.0.0.1:%d'}, 's3://closed': {override_url: 'http://127.0.0.1:%d'},\n"
        " 'swift://h/AUTH_other': *a,\n"
        " 'azure://account': {access_key: 'BlobEndpoint=http://127.0.0.1:%d/account;AccountName=account;AccountKey=a2V5'},\n"
        " 'azure://shared': {access_key: 'BlobEndpoint=http://127.0.0.1:%d/account;SharedAccessSignature=sv=1&sig=ok%%2B%%2F%%3D'}}}\n",
        port, port, port, port, port, port, port, port);
    if (data_credentials_parse(yaml, strlen(yaml), &credentials, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    free(yaml);
}

void begin(void) {
    snprintf(root, sizeof root, "/tmp/osmo-transfer-XXXXXX");
    if (!mkdtemp(root))
        abort();
    server = storage_server_start();
    read_credentials(storage_server_port(server));
}

void end(void) {
    storage_server_stop(server);
    data_credentials_free(credentials);
    strlist_free(&left_out);
    dir_remove_tree(root, NULL);
}

struct data_options options(void) {
    return (struct data_options){ .credentials = credentials, .connections = 4, .part_size = 5 * MIB,
                                  .multipart_from = 8 * MIB, .retry_for_ms = 20000,
                                  .stall_ms = 10000, .authorization = token, .left_out = note_left_out };
}

data_session_t *session(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_options o = options();
    data_session_t *s = NULL;
    CHECK_OK(data_session_new(&o, &s, &err), &err);
    return s;
}

static void fill(char *data, size_t len, unsigned seed) {
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1103515245u + 12345u;
        data[i] = (char)(seed >> 16);
    }
}

char *make(size_t len, unsigned seed) {
    char *data = malloc(len + 1);
    fill(data, len, seed);
    return data;
}

void write_file(const char *name, const void *data, size_t len) {
    char *path = path_of(name), *slash = strrchr(path, '/');
    *slash = '\0';
    CHECK_INT(dir_make(path, 0755, NULL), 0);
    *slash = '/';
    CHECK_INT(file_write_atomic(path, data, len, 0640, false, NULL), 0);
    free(path);
}

bool file_is(const char *name, const void *data, size_t len) {
    buf_t b = BUF_INIT(64 * MIB);
    char *path = path_of(name);
    bool same = file_read(path, &b, NULL) == 0 && b.len == len && (!len || !memcmp(b.data, data, len));
    free(path);
    buf_free(&b);
    return same;
}

bool object_is(const char *path, const void *data, size_t len) {
    size_t n = 0;
    char *got = storage_server_get(server, path, &n);
    bool same = got && n == len && !memcmp(got, data, len);
    free(got);
    return same;
}

/* Files in a directory, those with a dot in front as well. */
size_t entries(const char *name) {
    char *path = path_of(name);
    DIR *d = opendir(path);
    struct dirent *e;
    size_t n = 0;
    while (d && (e = readdir(d)))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d)
        closedir(d);
    free(path);
    return n;
}

int upload(data_session_t *s, const char *uri, const char *name, const char *regex, struct data_totals *t, osmo_error_t *err) {
    char *path = path_of(name);
    const char *paths[] = { path };
    int rc = data_upload(s, uri, paths, 1, regex, t, err);
    free(path);
    return rc;
}

int download(data_session_t *s, const char *uri, const char *regex, const char *folder, bool resume,
                    struct data_totals *t, osmo_error_t *err) {
    char *path = path_of(folder);
    int rc = data_download(s, uri, regex, path, resume, t, err);
    free(path);
    return rc;
}
