/* The lease that one of several replicas works under, against an API server in memory: who gets it and when, and how its holder learns that
 * it has it no more. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "check.h"
#include "fake_kube.h"
#include "operator/lease.h"

static const logger_t quiet;

/* ---- a replica ---- */

struct replica { lease_t *lease; pthread_mutex_t lock; pthread_cond_t cond; int lost; };

static void on_lost(void *ctx) {
    struct replica *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->lost++;
    pthread_cond_broadcast(&r->cond);
    pthread_mutex_unlock(&r->lock);
}

static bool start(struct replica *r, const char *name, int duration_s) {
    struct lease_options o = { .name = "l", .namespace_ = "ns", .identity = name, .duration_s = duration_s, .renew_ms = 20, .log = &quiet,
                               .ctx = r, .lost = on_lost };
    osmo_error_t err = OSMO_ERROR_INIT;
    *r = (struct replica){ .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
    CHECK_OK(lease_open(fake_kube_client(), &o, &r->lease, &err), &err);
    return r->lease != NULL;
}

static void await_loss(struct replica *r) {
    pthread_mutex_lock(&r->lock);
    while (!r->lost)
        pthread_cond_wait(&r->cond, &r->lock);
    pthread_mutex_unlock(&r->lock);
    CHECK_INT(r->lost, 1);
    CHECK(!lease_is_held(r->lease));
}

static const char *described(struct replica *r) {
    static char text[512];
    lease_describe(r->lease, text, sizeof text);
    return text;
}

static void pause_ms(int ms) { nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL); }

/* The tests' time limit ends a wait for what never comes. */
static void await_description(struct replica *r, const char *text) {
    while (!strstr(described(r), text))
        pause_ms(2);
}

static void await_calls(const char *call, int n) {
    int from = fake_kube_calls(call);
    while (fake_kube_calls(call) < from + n)
        pause_ms(2);
}

static json_t *spec(void) {
    _cleanup_free_ char *text = fake_kube_text("Lease", "l");
    json_t *v = NULL;
    if (!text || json_parse(text, strlen(text), &v, NULL) < 0)
        return NULL;
    json_t *s = json_ref(json_get(v, "spec"));
    json_free(v);
    return s;
}

static void put(const char *holder, int duration_s) {
    char text[256];
    snprintf(text, sizeof text, "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"l\",\"namespace\":"
             "\"ns\"},\"spec\":{\"holderIdentity\":\"%s\",\"leaseDurationSeconds\":%d,\"leaseTransitions\":4}}", holder, duration_s);
    fake_kube_put(text);
}

/* ---- tests ---- */

static void one_works_one_waits(void) {
    struct replica a, b;
    fake_kube_reset(false);
    REQUIRE(start(&a, "a", 60));
    CHECK_INT(lease_wait(a.lease), 0);
    CHECK(lease_is_held(a.lease));
    CHECK_STR(described(&a), "holds the lease l");
    json_t *s = spec();
    CHECK_STR(json_get_str(s, "holderIdentity"), "a");
    CHECK_INT(json_get_int(s, "leaseDurationSeconds", 0), 60);
    CHECK_INT(json_get_int(s, "leaseTransitions", -1), 0);
    CHECK_INT(strlen(json_get_str(s, "renewTime")), strlen("2026-01-01T00:00:00.000000Z"));
    CHECK_STR(json_get_str(s, "acquireTime"), json_get_str(s, "renewTime"));
    json_free(s);
    REQUIRE(start(&b, "b", 60));
    await_description(&b, "stands by: a holds the lease l");
    CHECK(!lease_is_held(b.lease));
    await_calls("replace", 5); /* it is renewed all the time, and stays with a */
    CHECK_STR(described(&b), "stands by: a holds the lease l");
    lease_close(a.lease); /* given back: nobody waits a minute */
    CHECK_INT(lease_wait(b.lease), 0);
    s = spec();
    CHECK_STR(json_get_str(s, "holderIdentity"), "b");
    CHECK_INT(json_get_int(s, "leaseTransitions", -1), 1);
    json_free(s);
    lease_close(b.lease);
    s = spec();
    CHECK_STR(json_get_str(s, "holderIdentity"), "");
    json_free(s);
}

static void the_dead_lose_it(void) {
    struct replica a;
    fake_kube_reset(false);
    put("dead", 1);
    REQUIRE(start(&a, "a", 60));
    await_description(&a, "stands by: dead holds");
    CHECK_INT(lease_wait(a.lease), 0);
    json_t *s = spec();
    CHECK_INT(json_get_int(s, "leaseTransitions", -1), 5);
    json_free(s);
    lease_close(a.lease);
    /* without the right to watch it is asked for */
    put("dead", 1);
    fake_kube_fail("watch", OSMO_EDENIED, "not for you", 1000);
    REQUIRE(start(&a, "a", 60));
    CHECK_INT(lease_wait(a.lease), 0);
    lease_close(a.lease);
    /* one that says who it was before goes on at once */
    put("a", 3600);
    REQUIRE(start(&a, "a", 60));
    CHECK_INT(lease_wait(a.lease), 0);
    lease_close(a.lease);
}

static void taken_by_another(void) {
    struct replica a;
    fake_kube_reset(false);
    REQUIRE(start(&a, "a", 60));
    CHECK_INT(lease_wait(a.lease), 0);
    put("thief", 60);
    await_loss(&a);
    CHECK_STR(described(&a), "stands by: the lease l cannot be had: thief took it");
    CHECK_INT(lease_wait(a.lease), OSMO_EGONE);
    lease_close(a.lease);
    json_t *s = spec();
    CHECK_STR(json_get_str(s, "holderIdentity"), "thief"); /* what is lost is not given back */
    json_free(s);
}

static void without_a_server(void) {
    struct replica a;
    fake_kube_reset(false);
    fake_kube_fail("get", OSMO_EDENIED, "leases is forbidden", 1);
    REQUIRE(start(&a, "a", 2));
    await_description(&a, "stands by: the lease l cannot be had: leases is forbidden");
    CHECK_INT(lease_wait(a.lease), 0);
    fake_kube_fail("replace", OSMO_EUNAVAIL, "nobody is there", 5);
    await_calls("replace", 8); /* it passes in time */
    CHECK(lease_is_held(a.lease));
    CHECK_INT(a.lost, 0);
    fake_kube_fail("replace", OSMO_EUNAVAIL, "nobody is there", 1 << 20);
    await_loss(&a);
    CHECK_CONTAINS(described(&a), "nobody is there");
    lease_close(a.lease);
}

/* Somebody writes into it, which is no reason to lose it; and it is made anew when somebody removes it. */
static void written_by_others(void) {
    struct replica a;
    fake_kube_reset(false);
    REQUIRE(start(&a, "a", 60));
    CHECK_INT(lease_wait(a.lease), 0);
    fake_kube_merge("Lease", "l", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}");
    await_calls("replace", 3);
    CHECK(lease_is_held(a.lease));
    fake_kube_vanish("Lease", "l", false);
    await_calls("create", 1);
    await_calls("replace", 3);
    CHECK(lease_is_held(a.lease));
    CHECK_INT(a.lost, 0);
    lease_close(a.lease);
}

static void an_end_while_waiting(void) {
    struct replica a;
    fake_kube_reset(false);
    put("b", 3600);
    REQUIRE(start(&a, "a", 60));
    await_description(&a, "b holds");
    lease_interrupt(a.lease);
    CHECK_INT(lease_wait(a.lease), OSMO_ECONFLICT);
    lease_close(a.lease);
}

static const struct check_test tests[] = {
    { "one works, one waits", one_works_one_waits }, { "the dead lose it", the_dead_lose_it },
    { "taken by another", taken_by_another },        { "without a server", without_a_server },
    { "written by others", written_by_others },      { "an end while waiting", an_end_while_waiting },
};
TEST_MAIN("lease", tests)
