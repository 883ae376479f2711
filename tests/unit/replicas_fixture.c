/* See replicas_fixture.h. */
#include <unistd.h>

#include "engine/reactor_internal.h"
#include "engine/replicas.h"
#include "replicas_fixture.h"

const char single_task[] = "workflow:\n  name: one\n  timeout: {exec_timeout: 1h}\n  tasks:\n"
                           "  - {name: t, image: ubuntu, command: ['true']}\n";

engine_t *second;

bool shared_database(void) {
    bool yes = prepare() && fixture_is_pgsql();
    if (!yes)
        stop(true);
    return yes;
}

int64_t count(const char *sql, const char *arg) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    struct db_arg a = DB_T(arg);
    int64_t n = -1;
    int rc = db_query(reader(), sql, &a, arg ? 1 : 0, &rows, &err);
    if (rc >= 0 && db_next(rows, &err) == 1)
        n = db_int(rows, 0);
    CHECK_OK(rc, &err);
    return n;
}

bool becomes(const char *sql, const char *arg, int64_t want) {
    for (int i = 0; i < LOOKS; i++) {
        if (count(sql, arg) == want)
            return true;
        usleep(10000);
    }
    fprintf(stderr, "%s is %lld, not %lld\n", sql, (long long)count(sql, arg), (long long)want);
    return false;
}

size_t others_of(engine_t *of, char id[33]) {
    struct replica *list = NULL;
    size_t n = 0;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(replicas_others(of, &list, &n, &err), &err);
    if (n)
        memcpy(id, list[0].id, 33);
    replica_list_free(list, n);
    return n;
}

bool sees(engine_t *of, size_t want) {
    char id[33];
    for (int i = 0; i < LOOKS; i++) {
        if (others_of(of, id) == want)
            return true;
        usleep(10000);
    }
    return false;
}

bool start_pair(const char *config) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!start_with(config))
        return false;
    second = start_another("second", config, &err);
    CHECK_OK(second ? 0 : err.code, &err);
    return second != NULL;
}

void stop_pair(void) {
    backend_gone();
    engine_close(second);
    second = NULL;
    stop(true);
}

static int claim_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct claim *c = ctx;
    struct work_row *rows = NULL;
    int rc = repo_work_claim(db, "be", c->owner, engine_now(c->of), 3600LL * 1000000, c->limit, &rows, &c->n, err);
    for (size_t i = 0; rc >= 0 && i < c->n; i++)
        c->ids[i] = rows[i].id;
    work_rows_free(rows, rc < 0 ? 0 : c->n);
    return rc;
}

struct claim claimer(engine_t *of, const char *who, size_t limit) {
    struct claim c = { .of = of, .limit = limit };
    snprintf(c.owner, sizeof c.owner, "%s/%s", replicas_id(of), who);
    return c;
}

size_t take(struct claim *c) {
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(c->of->store, NULL, claim_run, c, &err), &err);
    return c->n;
}

int add_many(db_t *db, void *ctx, osmo_error_t *err) {
    int rc = 0;
    (void)ctx;
    for (int i = 0; rc >= 0 && i < 300; i++) {
        char key[40];
        snprintf(key, sizeof key, "%032x", i);
        rc = repo_work_add(db, WORK_CREATE, key, key, "be", 5, "{}", 1, err);
    }
    return rc;
}
