/* Leases that are given back while somebody settles one of the items: nothing stays leased, and nothing is waited for with others in
 * hand. On both databases. */
#include <semaphore.h>

#include "base/cleanup.h"
#include "check.h"
#include "pgsql_fixture.h"
#include "store/repo.h"

#define OWNER "replica/agent-1"
#define ITEMS 3

static store_t *st;
static osmo_error_t err;
static int64_t ids[ITEMS], left;
static size_t claimed;
static sem_t settling, go_on, settled;

static int add_run(db_t *db, void *ctx, osmo_error_t *e) {
    int rc = 0;
    (void)ctx;
    for (int i = 0; rc >= 0 && i < ITEMS; i++) {
        _cleanup_free_ char *key = str_printf("%032d", i);
        rc = repo_work_add(db, "create_group", key, key, "east", i, "{}", 100, e);
    }
    return rc;
}

static int claim_run(db_t *db, void *ctx, osmo_error_t *e) {
    struct work_row *rows = NULL;
    size_t n = 0;
    int rc = repo_work_claim(db, "east", ctx, 200, 50, ITEMS, &rows, &n, e);
    claimed = n;
    for (size_t i = 0; rc >= 0 && i < n; i++)
        ids[i] = rows[i].id;
    work_rows_free(rows, n);
    return rc;
}

static int release_run(db_t *db, void *ctx, osmo_error_t *e) { return repo_work_release(db, ctx, &left, e); }
static int release_one_run(db_t *db, void *ctx, osmo_error_t *e) { return repo_work_release_one(db, ctx, &left, e); }

static int settle_slowly(db_t *db, void *ctx, osmo_error_t *e) {
    bool mine = false;
    int rc = repo_work_is_mine(db, *(int64_t *)ctx, OWNER, &mine, e);
    CHECK(mine);
    sem_post(&settling);
    sem_wait(&go_on);
    return rc;
}

static void settle_done(void *ctx, int rc, const osmo_error_t *e) {
    (void)ctx, (void)e;
    CHECK_INT(rc, 0);
    sem_post(&settled);
}

#define WRITE(fn, ctx) CHECK_OK(store_write(st, NULL, fn, (void *)(uintptr_t)(ctx), &err), &err)

static void expect_claim(const char *owner, size_t n) {
    WRITE(claim_run, owner);
    CHECK_INT(claimed, n);
}

static void body(store_t *s, const char *url) {
    (void)url;
    st = s;
    WRITE(add_run, NULL);
    expect_claim(OWNER, ITEMS);
    if (!store_is_pgsql(s)) { /* one writer: nobody has anything locked */
        WRITE(release_run, OWNER);
        CHECK_INT(left, 0);
        expect_claim("replica/agent-2", ITEMS);
        return;
    }
    CHECK_INT(store_post(s, NULL, settle_slowly, settle_done, &ids[1]), 0);
    sem_wait(&settling);
    WRITE(release_run, OWNER);
    CHECK_INT(left, 1);
    expect_claim("replica/agent-2", ITEMS - 1);
    sem_post(&go_on);
    while (left)
        WRITE(release_one_run, OWNER); /* waits for who settles it */
    sem_wait(&settled);
    expect_claim("replica/agent-2", 1);
}

static void giving_back(void) {
    sem_init(&settling, 0, 0);
    sem_init(&go_on, 0, 0);
    sem_init(&settled, 0, 0);
    fixture_each(body);
}

static const struct check_test tests[] = { { "giving back", giving_back } };
TEST_MAIN("leases", tests)
