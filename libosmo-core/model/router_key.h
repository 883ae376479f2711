/* Keys of interactive sessions: PREFIX-<52 characters>, where the characters are base32 (RFC 4648, lower case) of
 *
 *     MAC 80 bits | nonce 48 | replica 32 | expiry 32 (seconds) | hash of the user 32 | hash of the task 32
 *
 * The MAC is over the prefix, the uuid of the workflow and everything behind it, so a key made for one workflow or action is none for
 * another. The hashes are made with the same secret and the nonce: two keys of one user have nothing in common that could be looked for.
 * A key names the service that made it or was chosen for it: both ends of a session meet there, whichever service they reach first.
 * `webserver` keys are lower case as a whole, because they are the first label of a host name (62 of at most 63 characters).
 *
 * Connections within a session (each TCP connection of a port-forward) have keys that no service makes: ours are the key of the session,
 * '-' and a number; upstream's clients invent PORTFORWARD-<32 hex digits>. Pure: time and randomness come in. Used by engine/router*.c,
 * the client and osmo_ctrl. */
#ifndef MODEL_ROUTER_KEY_H
#define MODEL_ROUTER_KEY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTER_KEY_TEXT 52
#define ROUTER_KEY_MAX 80 /* the longest of all forms with its NUL */
#define ROUTER_MAC_BYTES 10

enum router_action { ROUTER_EXEC, ROUTER_PORTFORWARD, ROUTER_WEBSERVER, ROUTER_RSYNC, ROUTER_ACTIONS };
enum router_key_form {
    ROUTER_KEY_SESSION,    /* made by a service */
    ROUTER_KEY_CONNECTION, /* the same with a number: `number` */
    ROUTER_KEY_INVENTED    /* upstream's 32 hex digits: nothing is known but `action` */
};
struct router_key {
    enum router_action action;
    enum router_key_form form;
    uint64_t nonce; /* 48 bits */
    uint32_t replica, expires_s, user, task;
    uint32_t number;
    uint8_t mac[ROUTER_MAC_BYTES];
};

/* "exec", "portforward", "webserver", "rsync": in paths and messages. */
const char *router_action_name(enum router_action a);
bool router_action_parse(const char *text, size_t len, enum router_action *out);

/* Only the form is looked at. A text has one key at most, and a key one text. */
bool router_key_parse(const char *text, struct router_key *out);
/* The first label of a host name (in any case, "label.rest" or "label") as a key of a web server session; text gets it in lower case. */
bool router_key_of_host(const char *host, struct router_key *out, char text[ROUTER_KEY_MAX]);
/* Completes k->mac; k->form is ROUTER_KEY_SESSION. */
void router_key_make(const uint8_t secret[32], const char *workflow_uuid, struct router_key *k, char text[ROUTER_KEY_MAX]);
/* Of a session, or of a connection within it. */
bool router_key_is_genuine(const uint8_t secret[32], const char *workflow_uuid, const struct router_key *k);
/* text of the session that a connection belongs to. */
void router_key_parent(const char *text, char parent[ROUTER_KEY_MAX]);
uint32_t router_key_user(const uint8_t secret[32], uint64_t nonce, const char *user);
uint32_t router_key_task(const uint8_t secret[32], uint64_t nonce, const char *task, int64_t retry_id);
/* A service by its id of 32 hex digits. */
uint32_t router_key_replica(const char *replica_id);
#endif
