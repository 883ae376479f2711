/* Configuration that several services share: what one writes the others know. */
#include <string.h>

#include "engine/config_objects.h"
#include "engine/replicas.h"
#include "replicas_fixture.h"

static json_t *document(const char *text) {
    json_t *v = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(json_parse(text, strlen(text), &v, &err), &err);
    return v;
}

static int put_pool(engine_t *at, const char *name, const char *backend, osmo_error_t *err) {
    _cleanup_free_ char *text = str_printf("{\"%s\":{\"backend\":\"%s\"}}", name, backend);
    _cleanup_json_ json_t *v = document(text);
    struct pool_edit edit = { .kind = POOLS_PUT, .document = v };
    return config_edit_pools(at, &edit, err);
}

static bool has_pool(engine_t *at, const char *name) {
    const struct settings *s = engine_settings(at);
    bool there = settings_pool(s, name) != NULL;
    engine_settings_put(s);
    return there;
}

static bool learns(engine_t *at, const char *name, bool there) {
    for (int i = 0; i < LOOKS; i++) {
        if (has_pool(at, name) == there)
            return true;
        usleep(10000);
    }
    return false;
}

static void test_change(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    CHECK(sees(e, 1) && sees(second, 1));
    CHECK_OK(put_pool(e, "east", "default", &err), &err);
    CHECK(has_pool(e, "east")); /* before the answer */
    CHECK(learns(second, "east", true));
    CHECK(has_pool(second, "default"));
    CHECK_OK(put_pool(second, "west", "default", &err), &err);
    CHECK(has_pool(second, "west") && has_pool(second, "east"));
    CHECK(learns(e, "west", true));
    struct pool_edit gone = { .kind = POOL_DELETE, .pool = "east" };
    CHECK_OK(config_edit_pools(second, &gone, &err), &err);
    CHECK(learns(e, "east", false));
    stop_pair();
}

/* Both write at the same time: neither undoes what the other did. */
#define EACH 20
struct writer { pthread_t thread; engine_t *at; const char *prefix; int failed; };

static void *write_many(void *arg) {
    struct writer *w = arg;
    for (int i = 0; i < EACH; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        char name[32];
        snprintf(name, sizeof name, "%s%d", w->prefix, i);
        if (put_pool(w->at, name, "default", &err) < 0) {
            fprintf(stderr, "%s: %s\n", name, err.text);
            w->failed++;
        }
    }
    return NULL;
}

static void test_both(void) {
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    CHECK(sees(e, 1) && sees(second, 1));
    struct writer w[4] = { { .at = e, .prefix = "a" }, { .at = second, .prefix = "b" }, { .at = e, .prefix = "c" }, { .at = second, .prefix = "d" } };
    for (int i = 0; i < 4; i++)
        REQUIRE(pthread_create(&w[i].thread, NULL, write_many, &w[i]) == 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(w[i].thread, NULL);
        CHECK_INT(w[i].failed, 0);
    }
    for (int i = 0; i < 4 * EACH; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%d", w[i / EACH].prefix, i % EACH);
        CHECK(learns(e, name, true) && learns(second, name, true));
    }
    stop_pair();
}

static const struct check_test tests[] = {
    { "a change is known to the other service", test_change },
    { "two services write at once", test_both },
};

int main(int argc, char **argv) {
    use_pgsql = true;
    replicas_times(LEASE_US, RENEW_US);
    return check_main("config_replicas", tests, ARRAY_SIZE(tests), argc, argv);
}
