/* Both ends of interactive sessions over the service's door, with a transport that notes which were joined. For test_router*. */
#ifndef TESTS_ROUTER_FIXTURE_H
#define TESTS_ROUTER_FIXTURE_H
#include "logs_fixture.h"

#define JOINS_MAX 64
/* What join() was asked for; traffic() answers with what the test has put here. */
struct joined { uint64_t client, ctrl; };
extern struct joined joins[JOINS_MAX];
extern size_t njoins;
extern int join_answer;          /* 0, or what join() fails with */
void router_fixture_carried(struct fixture *f, uint64_t in, uint64_t out, int64_t last_us);
/* A service with that transport; config is the text of the configuration file or NULL. */
bool router_fixture_open(struct fixture *f, osmo_auth_mode_t mode, const char *config);
void router_fixture_close(struct fixture *f);
/* For a fixture that is open already. */
void router_fixture_transport(struct fixture *f);

/* As whom; one of both, or neither in development mode: "testuser". */
struct as { const char *user, *token; };
/* A websocket that is open already; NULL: refused with *status. query may be NULL. */
osmo_ws_t *dial(struct fixture *f, struct as as, const char *path, const char *query, uint64_t conn, int *status);
osmo_ws_t *dial_client(struct fixture *f, struct as as, const char *action, const char *workflow, const char *key, uint64_t conn);
osmo_ws_t *dial_ctrl(struct fixture *f, struct as as, const char *action, const char *workflow, const char *key, uint64_t conn);
/* A browser at the host of a key; NULL: refused with *status. */
osmo_ws_t *browse(struct fixture *f, const char *key, uint64_t conn, int *status);
/* POST …/<what>?<query>: a key, malloc'ed; NULL with a message when it is refused. */
char *begin(struct fixture *f, struct as as, const char *workflow, const char *what, const char *query);
struct answer post_as(struct fixture *f, struct as as, const char *workflow, const char *what, const char *query);
/* The n-th message (from 0) for a connection as JSON, waiting for it; NULL: none comes. */
json_t *message_to(struct fixture *f, uint64_t conn, size_t n, int *binary);
size_t messages_to(struct fixture *f, uint64_t conn);
/* Waits for a connection to be closed: its code, 0 when it is not; the reason is malloc'ed in *reason (may be NULL). */
int closed_with(struct fixture *f, uint64_t conn, char **reason);
bool is_closed(struct fixture *f, uint64_t conn); /* now */
/* Is this the last pair that was joined? */
bool joined_last(uint64_t client, uint64_t ctrl);
#endif
