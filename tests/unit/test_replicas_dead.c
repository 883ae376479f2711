/* Several services on one PostgreSQL database, one of which dies: it is a process of its own that is killed, or stopped for longer
 * than its lease. Does nothing where there is no PostgreSQL. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/replicas.h"
#include "engine/submit_internal.h"
#include "replicas_fixture.h"

#define PARTS "30000000000000000000000000000001"

static int half_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct group_row g = { .uuid = "10000000000000000000000000000001", .workflow_uuid = PARTS, .name = (char *)"g",
                           .spec_json = (char *)"{}" };
    int rc = repo_submission_begin(db, PARTS, replicas_id(ctx), 1, err);
    return rc < 0 ? rc : repo_groups_insert(db, &g, 1, err);
}

static atomic_int to_parent = -1;

static void tell_parent(char what) {
    int fd = atomic_load(&to_parent);
    if (fd >= 0 && write(fd, &what, 1) < 0)
        _exit(3);
}

static void child_closes(void *impl, uint64_t conn, int code, const char *reason) {
    (void)impl;
    (void)code;
    (void)reason;
    if (conn == WORKER)
        tell_parent('C');
}

/* Another service, in a process of its own: has a job with its backend, others claimed, and half a submission. Ends when told to. */
static void child_main(int from_parent) {
    osmo_error_t err = OSMO_ERROR_INIT;
    static osmo_transport_t loud;
    char c;
    e = start_another("child", NULL, &err);
    if (!e) {
        fprintf(stderr, "child: %s\n", err.text);
        _exit(2);
    }
    loud = *e->transport;
    loud.ws_close = child_closes;
    e->transport = &loud;
    replicas_set_address(e, "http://127.0.0.1:9", &err);
    backend_connect("jobs");
    if (!submit(single_task))
        _exit(2);
    json_free(net_take(WORKER, 1, NULL));
    struct claim mine = claimer(e, "worker", 5);
    if (store_write(e->store, NULL, add_many, NULL, &err) < 0 || take(&mine) != 5 || store_write(e->store, NULL, half_run, e, &err) < 0)
        _exit(2);
    tell_parent('R');
    while (read(from_parent, &c, 1) == 1)
        ;
    atomic_store(&to_parent, -1);
    backend_gone();
    engine_close(e);
    _exit(0);
}

static pid_t child;
static int child_out = -1, child_in = -1;

static bool child_says(char want) {
    char c = 0;
    while (child_out >= 0 && read(child_out, &c, 1) == 1)
        if (c == want)
            return true;
    return false;
}

static bool child_start(void) {
    int out[2], in[2];
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(in, O_CLOEXEC) < 0 || (child = fork()) < 0)
        return false;
    if (child == 0) {
        close(out[0]);
        close(in[1]);
        atomic_store(&to_parent, out[1]);
        child_main(in[0]);
    }
    close(out[1]);
    close(in[0]);
    child_out = out[0];
    child_in = in[1];
    return child_says('R');
}

static int child_end(void) {
    int status = -1;
    close(child_in);
    waitpid(child, &status, 0);
    close(child_out);
    return status;
}

/* Everything that the child has, as a living service. */
static void child_lives(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK(sees(e, 1));
    CHECK_INT(count("SELECT COUNT(*) FROM work WHERE owner IS NOT NULL", NULL), 6);
    CHECK_OK(submissions_recover(e, &err), &err);
    CHECK_INT(count("SELECT COUNT(*) FROM submissions", NULL), 1);
    CHECK_INT(count("SELECT COUNT(*) FROM workflow_groups WHERE workflow_uuid = ?", PARTS), 1);
    CHECK_INT(count("SELECT COUNT(*) FROM work WHERE owner IS NOT NULL", NULL), 6);
}

static void child_is_buried(void) {
    CHECK(becomes("SELECT COUNT(*) FROM replicas", NULL, 1));
    CHECK(becomes("SELECT COUNT(*) FROM work WHERE owner IS NOT NULL", NULL, 0));
    CHECK_INT(count("SELECT COUNT(*) FROM work WHERE attempts > 0 OR lease_until_us > 0", NULL), 0);
    CHECK(becomes("SELECT COUNT(*) FROM submissions", NULL, 0));
    CHECK_INT(count("SELECT COUNT(*) FROM workflow_groups WHERE workflow_uuid = ?", PARTS), 0);
    CHECK(sees(e, 0));
}

static void killed(void) {
    NEEDS_PGSQL;
    REQUIRE(child_start());
    REQUIRE(start_with(NULL));
    child_lives();
    CHECK_INT(kill(child, SIGKILL), 0);
    child_end();
    child_is_buried();
    stop(true);
}

/* On its own data directory a service needs no lease to know that the one before it is dead. */
static void killed_and_started_again(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    NEEDS_PGSQL;
    replicas_times(3600LL * 1000 * 1000, RENEW_US); /* nothing is waited for */
    REQUIRE(child_start());
    CHECK_INT(kill(child, SIGKILL), 0);
    child_end();
    e = start_another("child", NULL, &err);
    replicas_times(LEASE_US, RENEW_US);
    CHECK_OK(e ? 0 : err.code, &err);
    if (e)
        child_is_buried();
    stop(true);
}

/* It is stopped for longer than its lease, and others go on; then it goes on too, without what it had. */
static void buried_alive(void) {
    NEEDS_PGSQL;
    REQUIRE(child_start());
    REQUIRE(start_with(NULL));
    child_lives();
    CHECK_INT(kill(child, SIGSTOP), 0);
    child_is_buried();
    struct claim c = claimer(e, "test", 5);
    CHECK_INT(take(&c), 5);
    CHECK_INT(kill(child, SIGCONT), 0);
    CHECK(child_says('C')); /* its operator is asked to connect again */
    CHECK(sees(e, 1));
    CHECK_INT(count("SELECT COUNT(*) FROM work WHERE owner = ?", c.owner), 5);
    CHECK_INT(child_end(), 0);
    CHECK_INT(count("SELECT COUNT(*) FROM replicas", NULL), 1);
    stop(true);
}

static const struct check_test tests[] = {
    { "killed", killed },
    { "killed and started again", killed_and_started_again },
    { "buried alive", buried_alive },
};

int main(int argc, char **argv) {
    use_pgsql = true;
    replicas_times(LEASE_US, RENEW_US);
    return check_main("replicas_dead", tests, sizeof tests / sizeof tests[0], argc, argv);
}
