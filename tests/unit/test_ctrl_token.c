/* The task's token: taken from the login file, exchanged when it is old, and what the service's refusals mean. */
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"
#include "osmo-ctrl/ctrl.h"
#include "peer.h"

#define ANSWER(status, body) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" body

static char dir[64], login[96], refresh[96], port[8];
static struct options options;

static void put(const char *path, const char *text) { CHECK(file_write_atomic(path, text, strlen(text), 0600, false, NULL) == 0); }

static void prepare(int to_port) {
    strcpy(dir, "/tmp/osmo-test-token-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(login, sizeof login, "%s/login.yaml", dir);
    snprintf(refresh, sizeof refresh, "%s/refresh", dir);
    snprintf(port, sizeof port, "%d", to_port);
    put(refresh, "secret\n");
    options = (struct options){ .workflow = "wf 1", .group = "g", .retry_id = "2", .log_source = "task", .refresh_scheme = "http",
                                .host = "127.0.0.1", .port = port, .login_file = login, .refresh_token = refresh };
}

static void exchanged_when_it_is_old(void) {
    static const char *const answers[] = { ANSWER("200 OK", "{\"token\":\"new.token\",\"expires_at\":9999999999}"), NULL };
    static struct peer p;
    struct token *t;
    char *bearer;
    REQUIRE(peer_start(&p, answers));
    prepare(p.port);
    put(login, "token_login:\n  id_token: eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2ln\n"); /* expired in 1970 */
    CHECK_INT(token_open(&options, &t), 0);
    CHECK(!token_at_hand(t, &bearer) && !bearer);
    bearer = token_bearer(t, NULL, NULL);
    CHECK_STR(bearer, "Bearer new.token");
    free(bearer);
    peer_end(&p);
    CHECK_CONTAINS(p.got, "POST /api/auth/jwt/refresh_token?workflow_id=wf%201&group_name=g&task_name=task&retry_id=2 ");
    CHECK_CONTAINS(p.got, "{\"token\":\"secret\"}");
    CHECK(token_at_hand(t, &bearer)); /* now without asking anybody */
    CHECK_STR(bearer, "Bearer new.token");
    free(bearer);
    token_free(t);
    dir_remove_tree(dir, NULL);
}

static void refusals(void) {
    static const struct { const char *answers[2]; int code; bool gone; } cases[] = {
        { { ANSWER("400 Bad", "{\"detail\":{\"token\":null,\"error\":\"FINISHED\"}}") }, OSMO_EUNAUTH, true },
        { { ANSWER("400 Bad", "{\"error\":\"FINISHED\"}") }, OSMO_EUNAUTH, true },
        { { ANSWER("400 Bad", "{\"detail\":{\"token\":null,\"error\":\"PENDING\"}}") }, OSMO_EUNAVAIL, false },
        { { ANSWER("400 Bad", "{\"message\":\"no such token\"}") }, OSMO_EUNAUTH, false },
        { { ANSWER("503 Busy", "{}") }, OSMO_EUNAVAIL, false },
        { { ANSWER("429 Slowly", "{}") }, OSMO_EUNAVAIL, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int over = 0; over < 2; over++) {
            static struct peer p;
            struct token *t;
            osmo_error_t err = OSMO_ERROR_INIT;
            bool gone = false;
            REQUIRE(peer_start(&p, cases[i].answers));
            prepare(p.port);
            CHECK_INT(token_open(&options, &t), 0);
            if (over) { /* the same question, as a termination asks it */
                CHECK_INT(token_is_over(t, 5000), cases[i].gone);
            } else {
                CHECK(token_bearer(t, &gone, &err) == NULL);
                CHECK_INT(err.code, cases[i].code);
                CHECK_INT(gone, cases[i].gone);
            }
            peer_end(&p);
            token_free(t);
            dir_remove_tree(dir, NULL);
        }
    }
}

static void a_task_without_a_token(void) {
    struct token *t;
    char *bearer;
    prepare(1);
    unlink(refresh);
    CHECK_INT(token_check(&options), CTRL_OK);
    CHECK_INT(token_open(&options, &t), 0);
    CHECK(token_at_hand(t, &bearer) && !bearer); /* there is nothing to wait for */
    CHECK(!token_is_over(t, 1000));
    token_free(t);
    put(refresh, "");
    CHECK_INT(token_check(&options), CTRL_TOKEN);
    dir_remove_tree(dir, NULL);
}

static const struct check_test tests[] = {
    { "exchanged when it is old", exchanged_when_it_is_old },
    { "refusals", refusals },
    { "a task without a token", a_task_without_a_token },
};
TEST_MAIN("ctrl_token", tests)
