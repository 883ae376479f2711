/**
 * @file osmo/service.h
 * @brief The whole control plane as functions from bytes to bytes: no sockets, no loop.
 *
 * A server hands requests in and writes answers out; so do unit tests, fuzzers and embedders. All functions are thread-safe
 * unless said otherwise; a request may block on the store and belongs on a worker thread.
 */
#ifndef OSMO_SERVICE_H
#define OSMO_SERVICE_H

#include <stdint.h>
#include <sys/types.h>
#include <osmo/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The control plane: store, engine and routes. */
typedef struct osmo_service osmo_service_t;

/** Log sink: level is 10 debug, 20 info, 30 warning, 40 error; text is one line without newline. */
typedef void (*osmo_log_fn)(void *ctx, int level, const char *text);

/** How requests prove who they are. */
typedef enum osmo_auth_mode {
    OSMO_AUTH_REQUIRED = 0, /**< every request needs a token except a fixed list of paths */
    OSMO_AUTH_DEV = 1       /**< loopback only: the x-osmo-user header is trusted */
} osmo_auth_mode_t;

struct osmo_traffic;
/**
 * What the service asks of the transport that carries it. Every function may be called from any thread and copies what it is
 * given. Connection and stream numbers are the ones the transport passed in.
 */
typedef struct osmo_transport {
    size_t size; /**< sizeof(osmo_transport_t) */
    void *impl;  /**< first argument of every function */
    /** Queue one websocket message. 0, ::OSMO_ENOTFOUND when the connection is gone, ::OSMO_ELIMIT when its queue is full. */
    int (*ws_send)(void *impl, uint64_t conn, const void *data, size_t len, int binary);
    /** Close a websocket with a code and a reason of at most 120 bytes; queued messages are written first. */
    void (*ws_close)(void *impl, uint64_t conn, int code, const char *reason);
    /** The streaming answer of request @p request has more to read. */
    void (*stream_wake)(void *impl, uint64_t request);
    /**
     * Carry what comes on one of two held sessions (osmo_ws_held()) to the other from now on, what has been held first, whole messages of
     * either kind in order, with bounded memory: whoever is not read from stops whoever sends. A message may get there in other
     * fragments than it came in. When one ends, the other is closed with the same code and reason once it has got everything; 1001 when
     * one is gone without a goodbye, 1011 when it has broken the protocol. At most one of them may be a tunnel
     * (osmo_service_tunnel_open()): its bytes are the payloads of binary messages, and an empty one says that there will be no more.
     * From here on ws_send() is ::OSMO_ECONFLICT. ::OSMO_ENOTFOUND when one of them is gone, ::OSMO_EINVAL when they cannot be joined,
     * ::OSMO_ECONFLICT when one is joined already.
     */
    int (*join)(void *impl, uint64_t a, uint64_t b);
    /** What a held or joined session has carried. ::OSMO_ENOTFOUND when it is gone. */
    int (*traffic)(void *impl, uint64_t conn, struct osmo_traffic *out);
} osmo_transport_t;

/** What a session has carried so far, by transport::traffic. */
typedef struct osmo_traffic {
    size_t size;          /**< sizeof(osmo_traffic_t) */
    uint64_t in;          /**< bytes of payload from it */
    uint64_t out;         /**< bytes of payload to it */
    int64_t last_us;      /**< monotonic clock of the last of them; 0 = none yet */
} osmo_traffic_t;

/** Options of osmo_service_open(). Zero-initialise and set size. */
typedef struct osmo_service_options {
    size_t size;                 /**< sizeof(osmo_service_options_t) */
    const char *data_dir;        /**< absolute; must exist and be writable */
    const char *database;        /**< sqlite:PATH or postgresql://…; NULL = sqlite in data_dir */
    const char *config_file;     /**< YAML in ConfigMap form; NULL = built-in defaults */
    const char *roles;           /**< comma list; NULL = all roles */
    const char *base_url;        /**< http(s)://host:port for clients and tasks; may be set later */
    osmo_auth_mode_t auth;       /**< how requests prove who they are */
    /** 43 characters, or NULL: kept from the store, or made and reported by osmo_service_take_admin_token() */
    const char *admin_token;
    const char *admin_user;      /**< NULL = "admin" */
    /** Borrowed for the life of the service; NULL = no websockets, streams never wake. */
    const osmo_transport_t *transport;
    osmo_log_fn log;             /**< where log lines go; NULL = nowhere */
    void *log_ctx;               /**< first argument of log */
    int log_level;               /**< lines below this level are not made */
    /** Task data, absolute; NULL = below data_dir. Services that share a PostgreSQL database need one directory in common. */
    const char *storage_dir;
    /** http://HOST:PORT under which other services of the same database reach this one; NULL = they do not. */
    const char *replica_address;
    /** YAML with currentMek and meks, by which stored secrets are sealed; NULL = made at the first start in data_dir. */
    const char *master_key_file;
    /** Where the audit log goes; NULL = audit.jsonl in data_dir. */
    const char *audit_file;
    /** One directory a backend, with the files `token` and `previous-token` in it; NULL = none. */
    const char *backend_token_dir;
    /** Comma list of addresses or CIDR blocks of gateways whose x-osmo-* headers are believed; NULL = none. */
    const char *trusted_gateways;
    /**
     * Whose certificates the requests of the service itself believe in (identity providers, other services): this PEM file, and those in
     * ca_dir; NULL for both = those of the system. For the whole process.
     */
    const char *ca_file;
    const char *ca_dir;          /**< directory of certificates by their hashes, or NULL; see ca_file */
} osmo_service_options_t;

/** Open the store, migrate it, start the engine. @return 0 or a negative code with text. */
OSMO_API int osmo_service_open(const osmo_service_options_t *options, osmo_service_t **out, osmo_error_t *err);
/** Stop the engine: return leases, drain the writers, close the store. NULL is fine. */
OSMO_API void osmo_service_close(osmo_service_t *service);
/**
 * Reload the configuration file and open the audit log anew; on failure the old configuration stays.
 * @return 0 or a negative code with text
 */
OSMO_API int osmo_service_reload(osmo_service_t *service, osmo_error_t *err);
/** Set the base URL once the listener knows its port. */
OSMO_API int osmo_service_set_base_url(osmo_service_t *service, const char *url, osmo_error_t *err);
/** The administrator token that this open made (43 characters), once; NULL afterwards or when none was made. Caller frees. */
OSMO_API char *osmo_service_take_admin_token(osmo_service_t *service);

/** One HTTP request. All pointers are borrowed for the call. */
typedef struct osmo_request {
    size_t size;                 /**< sizeof(osmo_request_t) */
    uint64_t id;                 /**< names the stream of the answer; unique while the answer lasts */
    const char *method;          /**< "GET" … */
    const char *path;            /**< decoded path without the query; leading slashes may repeat */
    const char *query;           /**< raw query string without '?', or "" */
    const char *const *headers;  /**< name, value, name, value …, NULL; names in lower case */
    const void *body;            /**< whole body, or NULL */
    size_t body_len;             /**< bytes of body */
    const char *body_file;       /**< large bodies arrive in this file instead (it may be renamed away); or NULL */
    const char *peer;            /**< address text of the peer */
} osmo_request_t;

/** A response body that is produced over time (log follow). Created by the service, owned by the transport. */
typedef struct osmo_stream osmo_stream_t;

/** One HTTP answer. Release with osmo_response_clear(). */
typedef struct osmo_response {
    size_t size;                 /**< sizeof(osmo_response_t) */
    int status;                  /**< HTTP status */
    char *content_type;          /**< NULL when there is no body */
    char **headers;              /**< name, value, …, NULL; or NULL */
    char *body;                  /**< whole body, unless body_fd or stream is used */
    size_t body_len;             /**< bytes of body */
    int body_fd;                 /**< body from a descriptor when >= 0 */
    uint64_t body_fd_offset;     /**< where it starts in body_fd */
    uint64_t body_fd_len;        /**< its length */
    osmo_stream_t *stream;       /**< chunked body when not NULL */
} osmo_response_t;

/** Answer a request. Always fills @p response (errors are answers too). */
OSMO_API void osmo_service_handle(osmo_service_t *service, const osmo_request_t *request, osmo_response_t *response);
/** Free what the answer holds, including its stream and descriptor. */
OSMO_API void osmo_response_clear(osmo_response_t *response);
/**
 * How the body of a request to this path should be delivered.
 * @return the largest accepted size in bytes; @p to_file tells whether the body goes to a file
 */
OSMO_API uint64_t osmo_service_body_limit(osmo_service_t *service, const char *method, const char *path, int *to_file);

/**
 * Read from a stream into @p data. @return bytes (> 0), 0 when nothing is there now (stream_wake follows), ::OSMO_EGONE at its
 * end, another negative code on failure. One caller at a time.
 */
OSMO_API ssize_t osmo_stream_read(osmo_stream_t *stream, char *data, size_t max);

/** A websocket session. */
typedef struct osmo_ws osmo_ws_t;
/**
 * Ask to upgrade. On success *ws is the session and *extensions (static or owned by the session) the value of the
 * X-Osmo-Extensions answer header or NULL. Otherwise *response is the refusal and *ws is NULL. Nothing may be sent to
 * @p conn before osmo_ws_opened(). Does not block: it may be called on the thread of the connections.
 */
OSMO_API void osmo_service_ws_open(osmo_service_t *service, const osmo_request_t *request, uint64_t conn, osmo_ws_t **ws,
                                   const char **extensions, osmo_response_t *response);
/**
 * The upgrade answer is on its way: the session may send now. First call for it; like the next two it may block on the store and
 * belongs on a worker thread. What the store then refuses is refused by a close.
 */
OSMO_API void osmo_ws_opened(osmo_ws_t *ws);
/** One whole message. Calls for one session are made one after another, in order. */
OSMO_API void osmo_ws_message(osmo_ws_t *ws, const void *data, size_t len, int binary);
/** The connection is gone; the session is freed. Last call for it. */
OSMO_API void osmo_ws_closed(osmo_ws_t *ws);
/**
 * Asked once, when there is a session: 1 when its messages are not for osmo_ws_message() but wait, a bounded number of bytes of them, until
 * the service has it joined with another. That its client leaves is noticed meanwhile, unless there is more before its goodbye than is
 * held. 2: the same, and a goodbye that comes before the other is there waits, too, as long as its client stays connected: so the other
 * learns what there was to say.
 */
OSMO_API int osmo_ws_held(const osmo_ws_t *ws);
/** Of a tunnel: the address of its client, which is not the request's peer where another replica carries the connection. Borrowed. */
OSMO_API const char *osmo_ws_peer(const osmo_ws_t *ws);

/** Where a connection belongs, by its first request. */
typedef enum osmo_place {
    OSMO_PLACE_HERE = 0,    /**< answer it, or ask osmo_service_ws_open() */
    OSMO_PLACE_TUNNEL = 1,  /**< osmo_service_tunnel_open(): it is for the web server of a task */
    OSMO_PLACE_ELSEWHERE = 2 /**< for another replica: connect there and carry all bytes both ways, this head first */
} osmo_place_t;
/** The other replica of ::OSMO_PLACE_ELSEWHERE. */
typedef struct osmo_elsewhere {
    size_t size;       /**< sizeof(osmo_elsewhere_t) */
    char host[256];    /**< name or address */
    int port;          /**< its port */
    char header[512];  /**< "name: value", to be added to the head so that the other believes who the peer is */
} osmo_elsewhere_t;
/** Does not block; for the thread of the connections. */
OSMO_API osmo_place_t osmo_service_place(osmo_service_t *service, const osmo_request_t *request, osmo_elsewhere_t *where);
/**
 * A held session for a connection whose bytes, from the head of its request on, are for the web server of a task. NULL in *ws: *response is
 * the refusal. A close by the service before anything was sent to the client is an HTTP status (the code, when it is one of 400 to 599;
 * 503 for 1001, otherwise 502) with the reason as its text. One connection is one request: what the client sends behind it is not passed
 * on.
 */
OSMO_API void osmo_service_tunnel_open(osmo_service_t *service, const osmo_request_t *request, uint64_t conn, osmo_ws_t **ws,
                                       osmo_response_t *response);

#ifdef __cplusplus
}
#endif
#endif
