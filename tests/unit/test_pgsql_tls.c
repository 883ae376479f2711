/* A PostgreSQL server that is reached over TLS: what the URL says of it is obeyed. */
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "check.h"
#include "store/store.h"
#include "tls_fixture.h"

static char dir[64], server_dir[80];
static int port;

static int command(const char *what) {
    char text[1400];
    const char *top = getenv("top_srcdir");
    static const char here[] = __FILE__, name[] = "unit/test_pgsql_tls.c";
    snprintf(text, sizeof text, "PGSQL_TLS=%s/server.pem:%s/server.key:%d '%.*s%s' %s %s >/dev/null", dir, dir, port,
             top ? (int)strlen(top) : (int)(sizeof here - sizeof name), top ? top : here, top ? "/tests/pgsql-server" : "pgsql-server",
             what, server_dir);
    int rc = system(text);
    return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

static int open_with(const char *host, const char *query, osmo_error_t *err) {
    char *url = str_printf("postgresql://osmo@%s:%d/postgres?%s", host, port, query);
    struct store_options o = { .url = url, .writers = 1 };
    store_t *s = NULL;
    int rc = store_open(&o, &s, err);
    store_close(s);
    free(url);
    return rc;
}

static void test_modes(void) {
    static const struct { const char *host, *mode, *ca; bool good; const char *part; } cases[] = {
        { "localhost", "verify-full", "ca.pem", true, NULL },
        { "localhost", "verify-ca", "ca.pem", true, NULL },
        { "localhost", "require", NULL, true, NULL },
        { "localhost", "verify-full", "other.pem", false, "certificate verify failed" },
        { "127.0.0.1", "verify-full", "ca.pem", false, "does not match host name" },
        { "localhost", "disable", NULL, false, "pg_hba.conf" }, /* the server insists */
    };
    REQUIRE(server_dir[0]);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        char query[300];
        snprintf(query, sizeof query, "sslmode=%s%s%s%s%s", cases[i].mode, cases[i].ca ? "&sslrootcert=" : "", cases[i].ca ? dir : "",
                 cases[i].ca ? "/" : "", cases[i].ca ? cases[i].ca : "");
        int rc = open_with(cases[i].host, query, &err);
        if (cases[i].good)
            CHECK_OK(rc, &err);
        CHECK_INT(rc >= 0, cases[i].good);
        if (!cases[i].good)
            CHECK_CONTAINS(err.text, cases[i].part);
    }
}

static void start(void) {
    char other[80];
    strcpy(dir, "/tmp/test_pgsql_tls_XXXXXX");
    REQUIRE(mkdtemp(dir) != NULL && chmod(dir, 0755) == 0);
    snprintf(other, sizeof other, "%s/other", dir);
    if (!tls_make_ca(dir) || !tls_make_cert(dir, "server", "DNS:localhost", 30) || mkdir(other, 0755) != 0 || !tls_make_ca(other)) {
        fprintf(stderr, "SKIP: the command openssl makes no certificates\n");
        exit(77);
    }
    char from[100], to[100];
    snprintf(from, sizeof from, "%s/ca.pem", other);
    snprintf(to, sizeof to, "%s/other.pem", dir);
    CHECK(rename(from, to) == 0);
    int fd = check_listen(&port);
    close(fd);
    snprintf(server_dir, sizeof server_dir, "%s/server", dir);
    int rc = command("start");
    if (rc == 77) {
        fprintf(stderr, "SKIP: PostgreSQL is not installed\n");
        dir_remove_tree(dir, NULL);
        exit(77);
    }
    CHECK_INT(rc, 0);
}

static void end(void) {
    CHECK_INT(command("stop"), 0);
    CHECK(dir_remove_tree(dir, NULL) == 0);
}

static const struct check_test tests[] = {
    { "a server with a certificate", start },
    { "modes", test_modes },
    { "the end", end },
};
TEST_MAIN("pgsql_tls", tests)
