/* Several services on one PostgreSQL database: who is there, what is taken and by whom, one clock, and the same event from two at the
 * same instant. What becomes of one that dies: test_replicas_dead.c. Does nothing where there is no PostgreSQL. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/engine_internal.h"
#include "engine/reactor_internal.h"
#include "engine/replicas.h"
#include "replicas_fixture.h"
#include "store/repo_explain.h"
#include "store/repo_replica.h"

static const char diamond[] = "workflow:\n  name: diamond\n  tasks:\n"
                              "  - {name: a, image: ubuntu, command: ['true']}\n"
                              "  - {name: b, image: ubuntu, command: ['true']}\n"
                              "  - {name: c, image: ubuntu, command: ['true'], inputs: [{task: a}, {task: b}]}\n";

/* ---- who is there ---- */

static void members(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char id[33];
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    CHECK(replicas_shared(e));
    CHECK_INT(strlen(replicas_id(e)), 32);
    CHECK(strcmp(replicas_id(e), replicas_id(second)) != 0);
    CHECK_INT(count("SELECT COUNT(*) FROM replicas WHERE ended = 0", NULL), 2);
    CHECK_INT(others_of(e, id), 0); /* it has no address yet */
    CHECK_OK(replicas_set_address(second, "http://127.0.0.1:9", &err), &err);
    CHECK(sees(e, 1));
    CHECK_INT(others_of(e, id), 1);
    CHECK_STR(id, replicas_id(second));
    CHECK_INT(others_of(second, id), 0);
    CHECK_OK(replicas_set_address(e, "http://127.0.0.1:9", &err), &err);
    CHECK(sees(second, 1));
    engine_close(second);
    CHECK_INT(count("SELECT COUNT(*) FROM replicas", NULL), 1);
    CHECK(sees(e, 0));
    second = start_another("second", NULL, &err);
    REQUIRE(second != NULL);
    CHECK_INT(count("SELECT COUNT(*) FROM replicas", NULL), 2);
    stop_pair();
}

static void refusals(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char other[128], path[160];
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    CHECK(start_another("second", NULL, &err) == NULL);
    CHECK_INT(err.code, OSMO_EBUSY);
    CHECK_CONTAINS(err.text, "--data-dir");
    /* task data elsewhere */
    snprintf(path, sizeof path, "%s/storage/.storage-id", test_dir);
    snprintf(other, sizeof other, "%s/storage/.kept", test_dir);
    REQUIRE(rename(path, other) == 0);
    CHECK(start_another("third", NULL, &err) == NULL);
    CHECK_INT(err.code, OSMO_ECONFLICT);
    CHECK_CONTAINS(err.text, "--storage");
    REQUIRE(rename(other, path) == 0);
    engine_t *third = start_another("third", NULL, &err);
    CHECK_OK(third ? 0 : err.code, &err);
    engine_close(third);
    stop_pair();
}

/* Both make the schema, the keys and the administrator; one of each stays. */
struct opening {
    pthread_t thread;
    const char *name;
    engine_t *e;
    osmo_error_t err;
};
static pthread_barrier_t gate;

static void *open_one(void *arg) {
    struct opening *o = arg;
    pthread_barrier_wait(&gate);
    o->e = start_another(o->name, NULL, &o->err);
    return NULL;
}

static void at_once(void) {
    struct opening o[3] = { { .name = "x" }, { .name = "y" }, { .name = "z" } };
    without_key = true;
    NEEDS_PGSQL;
    without_key = false;
    test_auth = OSMO_AUTH_REQUIRED;
    pthread_barrier_init(&gate, NULL, 3);
    for (size_t i = 0; i < 3; i++)
        REQUIRE(pthread_create(&o[i].thread, NULL, open_one, &o[i]) == 0);
    size_t tokens = 0;
    char *token = NULL, *jwt = NULL;
    for (size_t i = 0; i < 3; i++) {
        pthread_join(o[i].thread, NULL);
        CHECK_OK(o[i].e ? 0 : o[i].err.code, &o[i].err);
        char *made = o[i].e ? auth_take_admin_token(o[i].e) : NULL;
        tokens += made != NULL;
        token = made ? made : token;
    }
    CHECK_INT(tokens, 1);
    e = o[0].e;
    CHECK_INT(count("SELECT COUNT(*) FROM replicas", NULL), 3);
    CHECK_INT(count("SELECT COUNT(DISTINCT storage) FROM replicas", NULL), 1);
    for (size_t i = 0; token && i < 3; i++) { /* one token and one signing key for all */
        osmo_error_t err = OSMO_ERROR_INIT;
        int64_t at = 0;
        CHECK_OK(auth_exchange(o[i].e, token, &jwt, &at, &err), &err);
        osmo_request_t rq = { .size = sizeof rq, .method = "GET", .path = "/", .query = "", .peer = "127.0.0.1" };
        char *header = NULL;
        CHECK(asprintf(&header, "Bearer %s", jwt) > 0);
        rq.headers = (const char *const[]){ "authorization", header, NULL };
        for (size_t k = 0; k < 3; k++) {
            struct identity who = { 0 };
            CHECK_OK(auth_identify(o[k].e, &rq, &who, &err), &err);
            CHECK_STR(who.user, "admin");
            identity_clear(&who);
        }
        free(header);
        free(jwt);
    }
    free(token);
    test_auth = OSMO_AUTH_DEV;
    pthread_barrier_destroy(&gate);
    for (size_t i = 1; i < 3; i++)
        engine_close(o[i].e);
    stop(true);
}

/* ---- what is taken ---- */

static void *take_all(void *arg) {
    struct claim *c = arg;
    pthread_barrier_wait(&gate);
    while (take(c))
        c->total += c->n;
    return NULL;
}

static void both(struct claim c[2], void *(*run)(void *)) {
    pthread_barrier_init(&gate, NULL, 2);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&c[i].thread, NULL, run, &c[i]) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(c[i].thread, NULL);
    pthread_barrier_destroy(&gate);
}

static void claims_are_disjoint(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    struct claim c[2] = { claimer(e, "a", 3), claimer(second, "b", 3) };
    REQUIRE(store_write(e->store, NULL, add_many, NULL, &err) >= 0);
    both(c, take_all);
    CHECK_INT(c[0].total + c[1].total, 300);
    CHECK_INT(count("SELECT COUNT(*) FROM work WHERE owner = ?", c[0].owner), (int64_t)c[0].total);
    CHECK_INT(count("SELECT COUNT(*) FROM work WHERE owner = ?", c[1].owner), (int64_t)c[1].total);
    stop_pair();
}

#define ROUNDS 150
static int add_group(db_t *db, void *ctx, osmo_error_t *err) {
    char key[48];
    snprintf(key, sizeof key, "%032x", *(int *)ctx);
    int rc = repo_work_add(db, WORK_CREATE, key, key, "be", 5, "{}", 1, err);
    if (rc >= 0)
        rc = repo_work_add(db, WORK_CLEANUP, key, key, "be", 5, "{}", 1, err);
    snprintf(key, sizeof key, "%032x:force", *(int *)ctx);
    return rc < 0 ? rc : repo_work_add(db, WORK_CLEANUP, key, key, "be", 5, "{}", 1, err);
}

static void *take_once(void *arg) {
    struct claim *c = arg;
    pthread_barrier_wait(&gate);
    c->total += take(c);
    return NULL;
}

static int end_run(db_t *db, void *ctx, osmo_error_t *err) {
    int64_t left;
    return repo_work_release(db, ctx, &left, err);
}

/* Jobs of one group are never with two services, however they come. */
static void groups_stay_together(void) {
    static const char split[] = "SELECT COUNT(*) FROM (SELECT 1 FROM work WHERE owner IS NOT NULL GROUP BY substr(work_key, 1, 32)"
                                " HAVING COUNT(DISTINCT owner) > 1) AS x";
    osmo_error_t err = OSMO_ERROR_INIT;
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    struct claim c[2] = { claimer(e, "a", 2), claimer(second, "b", 2) };
    for (int i = 0; i < ROUNDS; i++) {
        REQUIRE(store_write(e->store, NULL, add_group, &i, &err) >= 0);
        both(c, take_once);
        CHECK_INT(count(split, NULL), 0);
    }
    CHECK(c[0].total + c[1].total >= ROUNDS);
    /* one that another has is left, and not any more when it is given back */
    int more = ROUNDS;
    CHECK_OK(store_write(e->store, NULL, end_run, c[0].owner, &err), &err);
    CHECK_OK(store_write(e->store, NULL, end_run, c[1].owner, &err), &err);
    struct claim all = claimer(e, "a", 1);
    CHECK_INT(store_write(e->store, NULL, add_group, &more, &err), 0);
    while (count("SELECT COUNT(*) FROM work WHERE owner IS NOT NULL AND work_key = '00000000000000000000000000000096'", NULL) == 0 &&
           take(&all))
        ;
    CHECK_INT(count("SELECT COUNT(*) FROM work WHERE owner IS NOT NULL AND kind = 'create_group' AND work_key ="
                    " '00000000000000000000000000000096'", NULL), 1);
    CHECK_INT(take(&c[1]), 0);
    CHECK_INT(take(&all), 1);
    CHECK_OK(store_write(e->store, NULL, end_run, all.owner, &err), &err);
    CHECK_INT(take(&c[1]), 2);
    stop_pair();
}

/* What a worker did counts only while the item is its own. */
static int steal_run(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return db_exec(db, "UPDATE work SET owner = 'somebody/else' WHERE owner = 'me/worker'", NULL, 0, NULL, err);
}

static int mine_run(db_t *db, void *ctx, osmo_error_t *err) {
    bool *mine = ctx;
    struct work_row *rows = NULL;
    size_t n = 0;
    int rc = repo_work_add(db, "k", "key", NULL, "", 1, "{}", 1, err);
    if (rc >= 0)
        rc = repo_work_claim(db, NULL, "me/worker", INT64_C(2000000000000000), 10, 1, &rows, &n, err);
    if (rc >= 0)
        rc = n == 1 ? repo_work_is_mine(db, rows[0].id, "me/worker", &mine[0], err) : OSMO_EINTERNAL;
    if (rc >= 0)
        rc = steal_run(db, NULL, err);
    if (rc >= 0)
        rc = repo_work_is_mine(db, rows[0].id, "me/worker", &mine[1], err);
    if (rc >= 0)
        rc = repo_work_done(db, rows[0].id, err);
    work_rows_free(rows, n);
    return rc;
}

static void results_of_the_dead(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool mine[2] = { false, true };
    NEEDS_PGSQL;
    REQUIRE(start_with(NULL));
    CHECK_OK(store_write(e->store, NULL, mine_run, mine, &err), &err);
    CHECK(mine[0]);
    CHECK(!mine[1]);
    stop(true);
}

/* ---- work that comes from another ---- */

/* The backend speaks to the second, everything else happens at the first, which says nothing: the sweep finds it. */
static void work_is_found(void) {
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    engine_t *first = e;
    e = second;
    backend_connect("jobs");
    e = first;
    REQUIRE(submit(single_task));
    watch_add(second, wf_id, 7);
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "COMPLETED", 0);
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(becomes("SELECT archived FROM workflows WHERE uuid = ?", wf_uuid, 1));
    CHECK_INT(workflow_status(NULL), STATUS_COMPLETED);
    stop_pair();
}

#define WORKER_OF_SECOND 4

static bool worker_is(engine_t *of) {
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM backends WHERE worker LIKE '%s/%%'", replicas_id(of));
    return becomes(sql, NULL, 1);
}

static bool gets_job(uint64_t conn) {
    if (!submit(single_task))
        return false;
    _cleanup_json_ json_t *j = net_take(conn, 1, NULL);
    CHECK_STR(json_get_str(j, "workflow_id"), wf_id);
    return j != NULL;
}

/* The worker of the backend connects to the second while the first has not noticed that it is gone: the newer one gets the jobs,
 * until that is gone too. */
static void newest_worker(void) {
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    engine_t *first = e;
    worker = session(AGENT_WORKER, WORKER, "jobs");
    CHECK(worker_is(first));
    CHECK(gets_job(WORKER));
    e = second;
    agent_session_t *newer = session(AGENT_WORKER, WORKER_OF_SECOND, "jobs");
    CHECK(worker_is(second));
    e = first;
    for (int i = 0; i < 3; i++)
        CHECK(gets_job(WORKER_OF_SECOND));
    agent_closed(newer);
    CHECK(becomes("SELECT COUNT(*) FROM backends WHERE worker = ''", NULL, 1));
    for (int i = 0; i < 3; i++) /* which the newer one had */
        json_free(net_take(WORKER, 1, NULL));
    CHECK(gets_job(WORKER));
    CHECK_INT(count("SELECT COUNT(*) FROM work WHERE owner IS NOT NULL", NULL), 5);
    stop_pair();
}

/* As if its pods had been created. */
static int sent_run(db_t *db, void *ctx, osmo_error_t *err) {
    return db_exec(db, "UPDATE workflow_groups SET exec_generation = 1 WHERE workflow_uuid = ?", DB_ARGS(DB_T(ctx)), NULL, err);
}

/* Both monitors see it due; one fires it. */
static void timers_fire_once(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    for (int i = 0; i < 5; i++) {
        REQUIRE(submit("workflow:\n  name: late\n  timeout: {queue_timeout: 1s}\n  tasks:\n"
                       "  - {name: t, image: ubuntu, command: ['true']}\n"));
        struct task_event ev = { .retry_id = 0, .status = STATUS_SCHEDULING, .exit_code = EXIT_CODE_NONE };
        CHECK_OK(store_write(e->store, wf_uuid, sent_run, wf_uuid, &err), &err);
        memcpy(ev.workflow_uuid, wf_uuid, 33);
        task_status("t", ev.task_uuid);
        CHECK(reactor_backend_event(i % 2 ? second : e, NULL, &ev, NULL, NULL) >= 0);
        CHECK(becomes("SELECT status FROM workflows WHERE uuid = ?", wf_uuid, STATUS_FAILED_QUEUE_TIMEOUT));
        CHECK_INT(count("SELECT COUNT(*) FROM history WHERE subject = 'group:t-group' AND to_status = 14 AND workflow_uuid = ?",
                        wf_uuid), 1);
        CHECK_INT(count("SELECT COUNT(*) FROM timers WHERE workflow_uuid = ?", wf_uuid), 0);
    }
    stop_pair();
}

static int cut_run(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return db_exec(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'osmo-service' AND"
                       " pid <> pg_backend_pid()", NULL, 0, NULL, err);
}

/* Every connection to the database is cut again and again: nobody counts as dead for it, and work goes on. */
static void connections_are_cut(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    for (int i = 0; i < 5; i++) {
        CHECK_OK(store_write(i % 2 ? second->store : e->store, NULL, cut_run, NULL, &err), &err);
        REQUIRE(submit(single_task));
        CHECK_INT(count("SELECT COUNT(*) FROM replicas WHERE ended = 0", NULL), 2);
    }
    CHECK_INT(count("SELECT COUNT(*) FROM replicas WHERE id = ?", replicas_id(e)), 1);
    CHECK_INT(count("SELECT COUNT(*) FROM replicas WHERE id = ?", replicas_id(second)), 1);
    stop_pair();
}

/* Finished workflows are deleted by both at once. */
static void retention_by_both(void) {
    NEEDS_PGSQL;
    REQUIRE(start_pair("workflow: {retention: 1ms}\n"));
    backend_connect("jobs");
    for (int i = 0; i < 6; i++) {
        REQUIRE(submit(single_task));
        job("CreateGroup", "t-group", "SUCCESS");
        run_pod("t", "COMPLETED", 0);
        job("CleanupGroup", "t-group", "SUCCESS");
    }
    CHECK(becomes("SELECT COUNT(*) FROM workflows", NULL, 0));
    CHECK(becomes("SELECT (SELECT COUNT(*) FROM tasks) + (SELECT COUNT(*) FROM workflow_groups) + (SELECT COUNT(*) FROM history)"
                  " + (SELECT COUNT(*) FROM submissions)", NULL, 0));
    stop_pair();
}

/* A submission whose service seems to be gone is another's to remove, and not to be added to. */
static int taken_run(db_t *db, void *ctx, osmo_error_t *err) {
    bool *mine = ctx, taken = false;
    static const char wf[] = "30000000000000000000000000000002";
    int rc = repo_submission_begin(db, wf, "gone", 1, err);
    if (rc >= 0)
        rc = repo_submission_is_mine(db, wf, "gone", &mine[0], err);
    if (rc >= 0)
        rc = repo_submission_take(db, wf, replicas_id(e), &taken, err);
    if (rc >= 0)
        rc = repo_submission_is_mine(db, wf, "gone", &mine[1], err);
    mine[2] = taken;
    if (rc >= 0)
        rc = repo_submission_take(db, wf, "third", &taken, err);
    mine[3] = taken;
    return rc < 0 ? rc : repo_submission_end(db, wf, err);
}

static void submission_is_taken(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool mine[4] = { 0 };
    NEEDS_PGSQL;
    REQUIRE(start_with(NULL));
    CHECK_OK(store_write(e->store, NULL, taken_run, mine, &err), &err);
    CHECK(mine[0] && !mine[1]);
    CHECK(mine[2] && !mine[3]);
    stop(true);
}

/* ---- one clock ---- */

static atomic_llong ahead;

static int64_t clock_of(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
static int64_t wall(void) { return clock_of(CLOCK_REALTIME) + atomic_load(&ahead); }
static int64_t steady(void) { return clock_of(CLOCK_MONOTONIC); }

#define HOUR INT64_C(3600000000)

static bool near(int64_t a, int64_t b) { return a - b < HOUR / 2 && b - a < HOUR / 2; }

static bool both_follow(void) {
    for (int i = 0; i < LOOKS; i++) {
        if (near(engine_now(e), wall()) && near(engine_now(second), wall()))
            return true;
        usleep(10000);
    }
    return false;
}

/* The clock of the database is set: every deadline is moved once, and both go by the new time. */
static void clock_is_set(void) {
    static const int64_t steps[] = { 5 * HOUR, -12 * HOUR, 2 * HOUR };
    int64_t sum = 0;
    NEEDS_PGSQL;
    engine_clock_source(wall, steady);
    REQUIRE(start_pair(NULL));
    REQUIRE(submit(single_task));
    osmo_error_t err = OSMO_ERROR_INIT;
    struct work_row *rows = NULL;
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        atomic_fetch_add(&ahead, steps[i]);
        sum += steps[i];
        engine_wake_here(e, WAKE_TIMERS);
        engine_wake_here(second, WAKE_TIMERS);
        CHECK(both_follow());
        CHECK_OK(repo_work_of_workflow(reader(), wf_uuid, 10, &rows, &n, &err), &err);
        CHECK_INT(n, 1);
        CHECK(n == 1 && near(rows[0].run_at_us, wall()));
        work_rows_free(rows, n);
        int64_t stored = 0;
        CHECK_OK(repo_clock_steps(reader(), false, &stored, &err), &err);
        CHECK(near(stored, sum));
    }
    stop_pair();
    engine_clock_source(NULL, NULL);
    atomic_store(&ahead, 0);
}

/* ---- the same instant ---- */

#define PAIRS 200

struct side {
    pthread_t thread;
    engine_t *e;
    char task[PAIRS][33];
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int open, failed;
};
static char workflows[PAIRS][33];

static void event_done(void *ctx, int rc, const osmo_error_t *err) {
    struct side *s = ctx;
    (void)err;
    pthread_mutex_lock(&s->lock);
    s->failed += rc < 0;
    s->open--;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static void report_status(struct side *s, int round, enum status status) {
    struct task_event ev = { .retry_id = 0, .status = status, .exit_code = status == STATUS_COMPLETED ? 0 : EXIT_CODE_NONE };
    memcpy(ev.workflow_uuid, workflows[round], 33);
    memcpy(ev.task_uuid, s->task[round], 33);
    pthread_mutex_lock(&s->lock);
    s->open++;
    pthread_mutex_unlock(&s->lock);
    if (reactor_backend_event(s->e, NULL, &ev, event_done, s) < 0)
        event_done(s, OSMO_EBUSY, NULL);
}

static void settle(struct side *s) {
    pthread_mutex_lock(&s->lock);
    while (s->open)
        pthread_cond_wait(&s->cond, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void *complete_all(void *arg) {
    struct side *s = arg;
    for (int i = 0; i < PAIRS; i++) {
        pthread_barrier_wait(&gate);
        report_status(s, i, STATUS_COMPLETED);
        settle(s);
    }
    return NULL;
}

static void prepare_pair(struct side s[2], int round) {
    static const char *const names[] = { "a", "b" };
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!submit(diamond))
        return;
    memcpy(workflows[round], wf_uuid, 33);
    CHECK_OK(store_write(e->store, wf_uuid, sent_run, wf_uuid, &err), &err);
    for (int i = 0; i < 2; i++) {
        task_status(names[i], s[i].task[round]);
        report_status(&s[i], round, STATUS_RUNNING);
        settle(&s[i]);
    }
}

static int64_t deadlocks(void) {
    return count("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()", NULL);
}

static void last_two(void) {
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    static struct side s[2];
    int64_t before = deadlocks();
    for (int i = 0; i < 2; i++) {
        s[i].e = i ? second : e;
        pthread_mutex_init(&s[i].lock, NULL);
        pthread_cond_init(&s[i].cond, NULL);
    }
    for (int i = 0; i < PAIRS; i++)
        prepare_pair(s, i);
    pthread_barrier_init(&gate, NULL, 2);
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&s[i].thread, NULL, complete_all, &s[i]) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(s[i].thread, NULL);
    pthread_barrier_destroy(&gate);
    for (int i = 0; i < 2; i++)
        CHECK_INT(s[i].failed, 0);
    for (int i = 0; i < PAIRS; i++) {
        const char *wf = workflows[i];
        CHECK_INT(count("SELECT COUNT(*) FROM workflow_groups WHERE name = 'c-group' AND status = 3 AND remaining_upstream = 0 AND"
                        " workflow_uuid = ?", wf), 1);
        CHECK_INT(count("SELECT COUNT(*) FROM work w JOIN workflow_groups g ON g.uuid = w.work_key WHERE w.kind = 'create_group' AND"
                        " g.name = 'c-group' AND w.workflow_uuid = ?", wf), 1);
        CHECK_INT(count("SELECT COUNT(*) FROM history WHERE subject = 'group:c-group' AND to_status = 3 AND workflow_uuid = ?", wf), 1);
        CHECK_INT(count("SELECT groups_unfinished FROM workflows WHERE uuid = ?", wf), 1);
    }
    engine_close(second); /* what a server process counted is told at its end */
    second = NULL;
    stop(false);
    REQUIRE(start_with(NULL));
    CHECK_INT(deadlocks(), before);
    stop(true);
}

static const struct check_test tests[] = {
    { "members", members },
    { "refusals", refusals },
    { "at once", at_once },
    { "claims are disjoint", claims_are_disjoint },
    { "groups stay together", groups_stay_together },
    { "results of the dead", results_of_the_dead },
    { "work is found", work_is_found },
    { "newest worker", newest_worker },
    { "timers fire once", timers_fire_once },
    { "connections are cut", connections_are_cut },
    { "retention by both", retention_by_both },
    { "submission is taken", submission_is_taken },
    { "clock is set", clock_is_set },
    { "the last two", last_two },
};

int main(int argc, char **argv) {
    use_pgsql = true;
    replicas_times(LEASE_US, RENEW_US);
    return check_main("replicas", tests, ARRAY_SIZE(tests), argc, argv);
}
