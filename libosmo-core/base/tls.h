/* TLS as we want it, for the libraries that carry it: they know an SSL_CTX, which is a void pointer here. At least TLS 1.2, ciphers with
 * forward secrecy, no renegotiation, no resumption. Called by base/ws_client*.c and server/. */
#ifndef BASE_TLS_H
#define BASE_TLS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "osmo/error.h"

/* What a server proves itself with, read from PEM files: the certificate with its chain, and the key. */
typedef struct tls_server tls_server_t;
int tls_server_open(const char *cert_file, const char *key_file, tls_server_t **out, osmo_error_t *err);
void tls_server_close(tls_server_t *t);
/* Handshakes of this SSL_CTX use the pair of the moment; `t` outlives it. 0 or -1. */
int tls_server_attach(tls_server_t *t, void *ssl_ctx);
/* Reads the files again. On failure, and when the new certificate has expired, the old pair stays. Any thread. */
int tls_server_reload(tls_server_t *t, osmo_error_t *err);
/* An SSL_CTX of no use, for a library that would make one for clients, with all certificates of the system, and lose it. Lives as long as
 * the server; NULL when memory is short. */
void *tls_server_placeholder(tls_server_t *t);
/* Nothing more will be sent over this SSL (NULL is fine): the peer is told. */
void tls_goodbye(void *ssl);
/* Until when the certificate is good, in seconds since the epoch; 0 = unknown. */
int64_t tls_server_expires_s(tls_server_t *t);

/* Connections of a client, by their sockets: which host (a name or an address) is expected there, NULL when none is; and why it is not
 * believed to be that. Called in the thread of the handshake. */
struct tls_peers { const char *(*host)(void *ctx, int fd); void (*refused)(void *ctx, int fd, const char *why); void *ctx; };
/* An SSL_CTX that believes in the certificates of a file and of a directory; both NULL: those of the system. `peers` outlives it. */
int tls_client_new(const char *ca_file, const char *ca_dir, const struct tls_peers *peers, void **ssl_ctx, osmo_error_t *err);
/* Reads the certificates of authorities again, for handshakes to come; what cannot be read leaves those that were. */
void tls_client_reload(void *ssl_ctx, const char *ca_file, const char *ca_dir);
void tls_client_free(void *ssl_ctx);

/* TLS over a non-blocking socket that is connected, on the client's side; the socket stays the caller's. `host` is
 * asked for by name (SNI); whom to believe is the matter of the peers of tls_client_new(). */
typedef struct tls_stream tls_stream_t;
enum { TLS_WANTS_READ = -1, TLS_WANTS_WRITE = -2, TLS_BROKEN = -3 };
int tls_stream_open(void *ssl_ctx, int fd, const char *host, tls_stream_t **out); /* 0 or OSMO_ENOMEM */
int tls_stream_handshake(tls_stream_t *t, char *why, size_t size);  /* 0 when it is done; why when it is TLS_BROKEN */
/* > 0, 0 at the end, or one of the above. */
ssize_t tls_stream_read(tls_stream_t *t, void *data, size_t len);
ssize_t tls_stream_write(tls_stream_t *t, const void *data, size_t len);
bool tls_stream_waits(const tls_stream_t *t);                       /* has it bytes that were read from the socket already? */
void tls_stream_close(tls_stream_t *t);                             /* NULL is fine */
#endif
