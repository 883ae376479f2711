/* A ctrl of a task, and the text its readers get. For test_logs, test_logs_lines. */
#ifndef TESTS_LOGS_FIXTURE_H
#define TESTS_LOGS_FIXTURE_H
#include "pgsql_fixture.h"
#include "service_fixture.h"

#define DONE "{\"action\":\"log_done\"}"
#define LINE(type, text)                                                                                               \
    "{\"Source\":\"t0\",\"Time\":\"2026-03-01T09:31:12.123456789Z\",\"IOType\":\"" type "\",\"Text\":\"" text "\"}"

extern bool on_pgsql; /* the next fixture is: on a new database each time */
bool open_fixture(struct fixture *f, osmo_auth_mode_t mode, const char *admin_token);

/* Opens the session of a task, or tells with what status it was refused. */
osmo_ws_t *connect_ctrl(struct fixture *f, const char *workflow, const char *task, int retry, uint64_t conn,
                        const char *offer, const char **extensions, int *status);
/* One that offers nothing. */
osmo_ws_t *plain(struct fixture *f, const struct seed *s, const char *task, uint64_t conn);
void send_single(osmo_ws_t *ws, const char *json);
/* As upstream's ctrl sends: a JSON string that holds the object. */
void send_double(osmo_ws_t *ws, const char *json);
/* What there is now; malloc'ed. *ended: there will be no more. */
char *logs_of(struct fixture *f, const struct seed *s, const char *query, bool *ended);
/* store_fn: the workflow of this uuid has ended just now. */
int end_now(db_t *db, void *uuid, osmo_error_t *err);
#endif
