/* What tests of transfers share: a directory, a storage server, credentials for it, and short ways to ask. */
#ifndef TESTS_TRANSFER_FIXTURE_H
#define TESTS_TRANSFER_FIXTURE_H
#include "base/str.h"
#include "data/transfer.h"
#include "storage_server.h"

#define MIB (1u << 20)

extern char root[64];
extern storage_server_t *server;
extern data_credentials_t *credentials;
extern strlist_t left_out; /* "path: why" of what uploads left out */

void begin(void);
void end(void);
void read_credentials(int port);
struct data_options options(void);
data_session_t *session(void);
char *path_of(const char *name); /* in the directory; malloc'ed, as is make() */
char *make(size_t len, unsigned seed);
void write_file(const char *name, const void *data, size_t len);
bool file_is(const char *name, const void *data, size_t len);
bool object_is(const char *path, const void *data, size_t len);
size_t entries(const char *name); /* of a directory, those with a dot in front as well */
int upload(data_session_t *s, const char *uri, const char *name, const char *regex, struct data_totals *t, osmo_error_t *err);
int download(data_session_t *s, const char *uri, const char *regex, const char *folder, bool resume, struct data_totals *t,
             osmo_error_t *err);
#endif
