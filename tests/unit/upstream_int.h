/* Inside of the scripted agent; for upstream_fixture.c and upstream_http.c only. */
#ifndef TESTS_UPSTREAM_INT_H
#define TESTS_UPSTREAM_INT_H
#include <pthread.h>
#include <time.h>
#include "base/buf.h"
#include "upstream_fixture.h"

#define UP_RECORDS 16384
#define UP_COMPLAINTS 64
#define UP_TASKS 4096

struct up_record { int path; uint64_t conn; char *text; };
struct up_conn {
    struct up_conn *next;
    uint64_t id;
    int fd, path, users;       /* path -1 before the request; users: who writes beside its own thread */
    bool init;
    enum up_cut cut;
    pthread_mutex_t write_lock;
    pthread_t thread;
};
struct upstream {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    pthread_t thread;
    int listen_fd, port;
    bool stop, vanished;
    struct up_conn *conns, *current[UP_PATHS];
    uint64_t next_id;
    struct up_record records[UP_RECORDS];
    size_t nrecords, ncomplaints, ntasks, upgraded[UP_PATHS], pongs[UP_PATHS], answered;
    char *complaints[UP_COMPLAINTS], *tasks[UP_TASKS];
    int closed[UP_PATHS];
    bool mute[UP_PATHS];
    char uid[64], job_type[64], token[128];
    uint64_t job_conn;         /* whose job is not answered yet; 0 = none */
    int logins[32];
    size_t nlogins, asked;     /* answers of the token endpoint, and requests to it */
    int token_lengths[256];
    struct { enum up_cut stage; int http_status; } cuts[UP_PATHS];
};
extern struct upstream U;

bool up_wait(const struct timespec *until);
struct timespec up_limit(void);
void up_complain(struct up_conn *c, char *text);
struct up_conn *up_of(int path);
bool up_write(int fd, const void *data, size_t len);
bool up_frame(struct up_conn *c, int opcode, bool last, const void *data, size_t len);
void up_talk(struct up_conn *c);       /* until the connection ends */
#endif
