/* TLS contexts; see tls.h. One of the doors to OpenSSL, beside crypto.c. */
#include "base/tls.h"
#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/str.h"

#define PEM_MAX (1u << 20)
#define CHAIN_MAX 10
#define CIPHERS_12 "ECDHE+AESGCM:ECDHE+CHACHA20"

struct pair { X509 *cert; EVP_PKEY *key; STACK_OF(X509) *chain; int64_t expires_s; };
struct tls_server {
    pthread_mutex_t lock; /* pair */
    struct pair pair;
    char *cert_file, *key_file;
    SSL_CTX *placeholder;
};

/* ---- the pair of a server ---- */

static void pair_clear(struct pair *p) {
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
    sk_X509_pop_free(p->chain, X509_free);
    memset(p, 0, sizeof *p);
}

static int read_pem(const char *path, const char *what, buf_t *text, BIO **bio, osmo_error_t *err) {
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = file_read(path, text, &why);
    if (rc < 0)
        return osmo_error_set(err, rc, "the %s cannot be read: %s", what, why.text);
    *bio = BIO_new_mem_buf(text->data ? text->data : "", (int)text->len);
    return *bio ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int read_chain(struct pair *p, const char *path, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(PEM_MAX);
    BIO *bio = NULL;
    X509 *more;
    int rc = read_pem(path, "certificate", &text, &bio, err);
    if (rc < 0)
        return rc;
    p->cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    p->chain = sk_X509_new_null();
    if (!p->cert)
        rc = osmo_error_set(err, OSMO_EINVAL, "there is no PEM certificate in %s", path);
    while (rc == OSMO_OK && p->chain && (more = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (sk_X509_num(p->chain) >= CHAIN_MAX || !sk_X509_push(p->chain, more)) {
            X509_free(more);
            rc = osmo_error_set(err, OSMO_ELIMIT, "there are more than %d certificates in %s: give the server's and its chain only",
                                CHAIN_MAX + 1, path);
        }
    }
    if (rc == OSMO_OK && !p->chain)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    BIO_free(bio);
    return rc;
}

static int no_password(char *to, int size, int writing, void *ctx) {
    (void)to, (void)size, (void)writing;
    *(bool *)ctx = true;
    return -1;
}

static int read_key(struct pair *p, const char *path, osmo_error_t *err) {
    buf_t text = BUF_INIT(PEM_MAX);
    BIO *bio = NULL;
    bool encrypted = false;
    int rc = read_pem(path, "key of the certificate", &text, &bio, err);
    if (rc == OSMO_OK)
        p->key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &encrypted);
    if (rc == OSMO_OK && !p->key)
        rc = osmo_error_set(err, OSMO_EINVAL, encrypted ? "the key in %s is encrypted: give one without a password"
                                                        : "there is no PEM private key in %s", path);
    BIO_free(bio);
    crypto_wipe(text.data, text.cap);
    buf_free(&text);
    return rc;
}

static int64_t epoch_of(const ASN1_TIME *t) {
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int pair_read(const char *cert_file, const char *key_file, struct pair *p, osmo_error_t *err) {
    int rc = read_chain(p, cert_file, err);
    if (rc == OSMO_OK)
        rc = read_key(p, key_file, err);
    if (rc == OSMO_OK && X509_check_private_key(p->cert, p->key) != 1)
        rc = osmo_error_set(err, OSMO_EINVAL, "the key in %s is not the one of the certificate in %s", key_file, cert_file);
    if (rc == OSMO_OK)
        p->expires_s = epoch_of(X509_get0_notAfter(p->cert));
    ERR_clear_error();
    if (rc < 0)
        pair_clear(p);
    return rc;
}

int tls_server_open(const char *cert_file, const char *key_file, tls_server_t **out, osmo_error_t *err) {
    tls_server_t *t = calloc(1, sizeof *t);
    if (!t)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&t->lock, NULL);
    t->cert_file = str_dup(cert_file);
    t->key_file = str_dup(key_file);
    int rc = t->cert_file && t->key_file ? pair_read(cert_file, key_file, &t->pair, err)
                                         : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc < 0)
        tls_server_close(t);
    else
        *out = t;
    return rc;
}

void tls_server_close(tls_server_t *t) {
    if (!t)
        return;
    pair_clear(&t->pair);
    SSL_CTX_free(t->placeholder);
    pthread_mutex_destroy(&t->lock);
    free(t->cert_file);
    free(t->key_file);
    free(t);
}

int tls_server_reload(tls_server_t *t, osmo_error_t *err) {
    struct pair next = { 0 }, old;
    int rc = pair_read(t->cert_file, t->key_file, &next, err);
    if (rc < 0)
        return rc;
    if (next.expires_s && next.expires_s <= (int64_t)time(NULL)) {
        pair_clear(&next);
        return osmo_error_set(err, OSMO_EINVAL, "the certificate in %s has expired", t->cert_file);
    }
    pthread_mutex_lock(&t->lock);
    old = t->pair;
    t->pair = next;
    pthread_mutex_unlock(&t->lock);
    pair_clear(&old);
    return OSMO_OK;
}

int64_t tls_server_expires_s(tls_server_t *t) {
    pthread_mutex_lock(&t->lock);
    int64_t at = t->pair.expires_s;
    pthread_mutex_unlock(&t->lock);
    return at;
}

/* Called in each handshake: connections that are open keep the pair they began with. */
static int give_pair(SSL *ssl, void *server) {
    tls_server_t *t = server;
    pthread_mutex_lock(&t->lock);
    SSL_certs_clear(ssl);
    int given = SSL_use_cert_and_key(ssl, t->pair.cert, t->pair.key, t->pair.chain, 1);
    pthread_mutex_unlock(&t->lock);
    return given == 1;
}

static bool harden(SSL_CTX *c) {
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 && SSL_CTX_set_cipher_list(c, CIPHERS_12) == 1;
}

int tls_server_attach(tls_server_t *t, void *ssl_ctx) {
    SSL_CTX *c = ssl_ctx;
    SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_num_tickets(c, 0); /* clients keep no sessions over processes, and each handshake shows the certificate of the day */
    SSL_CTX_set_cert_cb(c, give_pair, t);
    return harden(c) ? 0 : -1;
}

void *tls_server_placeholder(tls_server_t *t) {
    if (!t->placeholder)
        t->placeholder = SSL_CTX_new(TLS_client_method());
    return t->placeholder;
}

void tls_goodbye(void *ssl) {
    if (ssl && SSL_is_init_finished(ssl))
        SSL_shutdown(ssl);
    ERR_clear_error();
}

/* ---- clients ---- */

static const char *problem_of(X509_STORE_CTX *ctx, const char *host, char *text, size_t size) {
    X509 *cert = X509_STORE_CTX_get0_cert(ctx);
    if (X509_verify_cert(ctx) != 1)
        return X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
    int is_its = X509_check_ip_asc(cert, host, 0);
    if (is_its == -2) /* no address */
        is_its = X509_check_host(cert, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL);
    if (is_its == 1)
        return NULL;
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_HOSTNAME_MISMATCH);
    snprintf(text, size, "the certificate is not the one of %s", host);
    return text;
}

static int as_found(int ok, X509_STORE_CTX *ctx) {
    (void)ctx;
    return ok;
}

/* Instead of OpenSSL's own verification and whatever the library around us has hooked into it: that finds its connection by a number
 * which it draws anew for every context of the process, and knows no addresses in brackets. */
static int verify_peer(X509_STORE_CTX *ctx, void *arg) {
    const struct tls_peers *peers = arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    int fd = ssl ? SSL_get_fd(ssl) : -1;
    const char *host = peers->host(peers->ctx, fd);
    char text[300];
    if (!host) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    X509_STORE_CTX_set_verify_cb(ctx, as_found);
    const char *why = problem_of(ctx, host, text, sizeof text);
    if (why)
        peers->refused(peers->ctx, fd, why);
    return why == NULL;
}

int tls_client_new(const char *ca_file, const char *ca_dir, const struct tls_peers *peers, void **ssl_ctx, osmo_error_t *err) {
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    if (!c || !harden(c)) {
        SSL_CTX_free(c);
        return osmo_error_set(err, OSMO_EUNAVAIL, "TLS cannot be started: OpenSSL refuses its settings");
    }
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(c, verify_peer, (void *)(uintptr_t)peers);
    int ok = ca_file || ca_dir ? SSL_CTX_load_verify_locations(c, ca_file, ca_dir) : SSL_CTX_set_default_verify_paths(c);
    ERR_clear_error();
    if (ok != 1) {
        SSL_CTX_free(c);
        return osmo_error_set(err, OSMO_EINVAL, "the certificates of authorities in %s cannot be read: give a PEM file",
                              ca_file ? ca_file : ca_dir ? ca_dir : "the system's store");
    }
    *ssl_ctx = c;
    return OSMO_OK;
}

void tls_client_reload(void *ssl_ctx, const char *ca_file, const char *ca_dir) {
    X509_STORE *store = ca_file || ca_dir ? X509_STORE_new() : NULL;
    if (store && (!ca_file || X509_STORE_load_file(store, ca_file) == 1) && (!ca_dir || X509_STORE_load_path(store, ca_dir) == 1))
        SSL_CTX_set_cert_store(ssl_ctx, store);
    else
        X509_STORE_free(store);
    ERR_clear_error();
}

void tls_client_free(void *ssl_ctx) { SSL_CTX_free(ssl_ctx); }

/* ---- a client's connection ---- */

struct tls_stream { SSL *ssl; };

int tls_stream_open(void *ssl_ctx, int fd, const char *host, tls_stream_t **out) {
    static const unsigned char alpn[] = "\x08http/1.1";
    struct in6_addr address;
    tls_stream_t *t = calloc(1, sizeof *t);
    bool named = inet_pton(AF_INET, host, &address) != 1 && inet_pton(AF_INET6, host, &address) != 1;
    if (t)
        t->ssl = SSL_new(ssl_ctx);
    bool ok = t && t->ssl && SSL_set_fd(t->ssl, fd) == 1 && (!named || SSL_set_tlsext_host_name(t->ssl, host) == 1) &&
              SSL_set_alpn_protos(t->ssl, alpn, sizeof alpn - 1) == 0;
    ERR_clear_error();
    if (!ok) {
        tls_stream_close(t);
        return OSMO_ENOMEM;
    }
    SSL_set_mode(t->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_set_connect_state(t->ssl);
    *out = t;
    return OSMO_OK;
}

static ssize_t outcome(tls_stream_t *t, int n) {
    int why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, n);
    ERR_clear_error();
    switch (why) {
    case SSL_ERROR_NONE: return n;
    case SSL_ERROR_WANT_READ: return TLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE: return TLS_WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: return TLS_BROKEN;
    }
}

int tls_stream_handshake(tls_stream_t *t, char *why, size_t size) {
    int n = SSL_do_handshake(t->ssl);
    if (n == 1)
        return 0;
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(why, size, "%s", reason ? reason : "the connection was closed");
    ssize_t rc = outcome(t, n);
    return rc == TLS_WANTS_READ || rc == TLS_WANTS_WRITE ? (int)rc : TLS_BROKEN;
}

ssize_t tls_stream_read(tls_stream_t *t, void *data, size_t len) {
    ERR_clear_error();
    return outcome(t, SSL_read(t->ssl, data, len < INT_MAX ? (int)len : INT_MAX));
}

ssize_t tls_stream_write(tls_stream_t *t, const void *data, size_t len) {
    ERR_clear_error();
    return outcome(t, SSL_write(t->ssl, data, len < INT_MAX ? (int)len : INT_MAX));
}

bool tls_stream_waits(const tls_stream_t *t) { return SSL_has_pending(t->ssl); }

void tls_stream_close(tls_stream_t *t) {
    if (!t)
        return;
    if (t->ssl) {
        tls_goodbye(t->ssl);
        SSL_free(t->ssl);
    }
    free(t);
}
