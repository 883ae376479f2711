/**
 * @file osmo/server.h
 * @brief The network front of a service: one port, HTTP/1.1 and websockets.
 */
#ifndef OSMO_SERVER_H
#define OSMO_SERVER_H
#include <osmo/service.h>
#ifdef __cplusplus
extern "C" {
#endif
/** A listener with its network thread and its request workers. */
typedef struct osmo_server osmo_server_t;
/** Options of osmo_server_open(). Zero-initialise and set size. */
typedef struct osmo_server_options {
    size_t size;                 /**< sizeof(osmo_server_options_t) */
    const char *listen;          /**< ADDR:PORT, port 0 = any free one; NULL = 127.0.0.1:8000 */
    int workers;                 /**< request threads, at most; 0 = 64 */
    size_t max_queue;            /**< requests waiting for a worker before 503 + Retry-After; 0 = 4096 */
    const char *spool_dir;       /**< where large bodies go; on the same file system as the service's storage */
    osmo_log_fn log;             /**< where log lines go; NULL = nowhere */
    void *log_ctx;               /**< first argument of log */
    int log_level;               /**< lines below this level are not made */
    const char *cert_file;       /**< PEM certificate of the server and its chain: HTTPS only; NULL = plain HTTP */
    const char *key_file;        /**< PEM key of the certificate, not encrypted */
} osmo_server_options_t;
/**
 * Bind and prepare; nothing is served yet. ::OSMO_EBUSY port in use, ::OSMO_EDENIED, ::OSMO_EINVAL with the remedy in
 * the text.
 */
OSMO_API int osmo_server_open(const osmo_server_options_t *options, osmo_server_t **out, osmo_error_t *err);
/** The transport to give to osmo_service_open(); lives as long as the server. */
OSMO_API const osmo_transport_t *osmo_server_transport(osmo_server_t *server);
/** The port that was bound. */
OSMO_API int osmo_server_port(const osmo_server_t *server);
/** Serve @p service on own threads until osmo_server_stop(). /health answers 200 from here on. */
OSMO_API int osmo_server_start(osmo_server_t *server, osmo_service_t *service, osmo_error_t *err);
/** Stop accepting, let running requests end (at most @p drain_ms), close websockets with 1001, join the threads. */
OSMO_API void osmo_server_stop(osmo_server_t *server, int drain_ms);
/**
 * Read the certificate and its key again: new connections get them, open ones go on. When they cannot be used the old pair stays.
 * Any thread. @return 0, also for a server without TLS, or a negative code with text.
 */
OSMO_API int osmo_server_reload_tls(osmo_server_t *server, osmo_error_t *err);
/** Free a stopped server. NULL is fine. */
OSMO_API void osmo_server_free(osmo_server_t *server);
#ifdef __cplusplus
}
#endif
#endif
