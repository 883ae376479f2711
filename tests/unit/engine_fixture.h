/* A running engine on a temporary SQLite store, a transport that records, and a scripted backend made of an
 * operator's listener and worker sessions, driven by calling agent_*. One engine and one workflow at a time. Used by
 * test_engine.c, test_retry.c and test_submit.c. */
#ifndef TESTS_ENGINE_FIXTURE_H
#define TESTS_ENGINE_FIXTURE_H
#include <pthread.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "check.h"
#include "engine/engine.h"
#include "store/repo.h"

#define LISTENER 1 /* connection numbers */
#define WORKER 2

struct sent {
    uint64_t conn;
    char *data;
    size_t len;
    int binary;
    bool taken;
};
struct test_net {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct sent sent[4096];
    size_t n;
    unsigned wakes, closes;
    int close_code;
    struct { uint64_t conn; int code; char reason[128]; } ended[64]; /* the first of them */
    uint64_t full; /* a connection that takes nothing any more; 0: none */
};
extern struct test_net net;
extern char test_dir[64]; /* kept between stop(false) and the next start */
extern bool use_pgsql;    /* the next fresh start is on PostgreSQL, where there is one */
extern bool without_key;  /* the next fresh start is on an empty database, where the service makes its signing key */
extern osmo_auth_mode_t test_auth;
extern engine_t *e;
extern void (*_Atomic on_wake)(void); /* called with every stream_wake; may be NULL */
extern agent_session_t *listener, *worker;
extern char wf_id[80], wf_uuid[33]; /* of the last submit() */

/* A directory and a database, unless there are: start_with() does it too. */
bool prepare(void);
bool fixture_is_pgsql(void); /* what was prepared is on PostgreSQL */
/* config is the text of the configuration file or NULL. */
bool start_with(const char *config);
/* One more on the same PostgreSQL database, with a data directory of this name. The caller closes it before stop(true). */
engine_t *start_another(const char *name, const char *config, osmo_error_t *err);
void stop(bool remove);
db_t *reader(void);

/* Opens a session and sends its INIT. A worker whose backend has never been told of its pools confirms that it is, unless the test
 * does it (knows_pools = false); it is no job of jobs_sent(). */
extern bool knows_pools;
extern bool pulls_images; /* the backend's operator does not say that it needs no registry */
agent_session_t *session(enum agent_socket kind, uint64_t conn, const char *extensions);
void backend_connect(const char *extensions);
void backend_gone(void);
/* Send one message; report() also waits for its acknowledgement: what it caused is committed then. */
void say(agent_session_t *s, const char *type, const char *body);
bool report(const char *type, const char *body);
/* Next message of a connection (binary: an unpacked job) of a type, or NULL when none comes in time. */
json_t *net_take(uint64_t conn, int binary, const char *type);
size_t jobs_sent(void);
/* Take the next job, check type and group, answer with status. */
void job(const char *type, const char *group, const char *status);
void answer(const json_t *job, const char *status);
/* Report a status of a task's pod, of its latest attempt or a named one; run_pod() goes through all of them. code < 0 =
 * none. */
void pod_of(const char *task, int64_t retry_id, const char *status, int code);
void pod(const char *task, const char *status, int code);
void run_pod(const char *task, const char *end, int code);

bool submit(const char *text);
enum status workflow_status(char **message);
enum status task_status(const char *name, char uuid[33]);
enum status group_status(const char *name);
void expect_end(enum status status, const char *cause);
/* Waits for a condition; followers' wake-ups (watch_add) make it look again. */
bool until(bool (*holds)(void));
bool is_archived(void);
bool is_finished(void);
#endif
