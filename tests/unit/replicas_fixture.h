/* Two services on one PostgreSQL database, in one process: `e` of engine_fixture.h and `second`. Used by test_replicas*.c. */
#ifndef TESTS_REPLICAS_FIXTURE_H
#define TESTS_REPLICAS_FIXTURE_H
#include "engine_fixture.h"

#define LEASE_US (2500LL * 1000)
#define RENEW_US (100LL * 1000)
#define LOOKS 3000 /* 10 ms apart: patience with what other threads and processes do */

extern engine_t *second;
extern const char single_task[]; /* a workflow of one task t, with an exec_timeout of an hour */

/* Ends a test where there is no PostgreSQL; the fixture says so. */
bool shared_database(void);
#define NEEDS_PGSQL                                                                                                    \
    do {                                                                                                               \
        if (!shared_database())                                                                                        \
            return;                                                                                                    \
    } while (0)

bool start_pair(const char *config);
void stop_pair(void);
/* First column of the first row, read through e; arg may be NULL. */
int64_t count(const char *sql, const char *arg);
bool becomes(const char *sql, const char *arg, int64_t want);
/* How many others with an address this one knows; id of the first. */
size_t others_of(engine_t *of, char id[33]);
bool sees(engine_t *of, size_t want);

/* Jobs of the backend "be", as a session of one of the services would take them. */
struct claim {
    pthread_t thread;
    engine_t *of;
    size_t limit, n, total;
    int64_t ids[8];
    char owner[64];
};
struct claim claimer(engine_t *of, const char *who, size_t limit);
size_t take(struct claim *c); /* how many it got */
int add_many(db_t *db, void *ctx, osmo_error_t *err); /* a store function: 300 jobs of as many groups */
#endif
