/* The databases behind pgsql_fixture.h. */
#include "pgsql_fixture.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "check.h"

static char scratch[64];
static char server_url[256]; /* "" unknown, "-" not installed */
static pid_t owner, watcher;
static int watch_fd = -1;
static int made;

/* Below $top_srcdir under make check, else beside this source file. */
static void script(char *out, size_t size) {
    static const char here[] = __FILE__, name[] = "unit/pgsql_fixture.c";
    const char *top = getenv("top_srcdir");
    if (top && *top)
        snprintf(out, size, "%s/tests/pgsql-server", top);
    else
        snprintf(out, size, "%.*spgsql-server", (int)(sizeof(here) - sizeof(name)), here);
}

/* Waits until the test program is gone (its end of the pipe closes), then stops the server. */
static void watch(const char *dir, int fd) {
    char path[1024], c;
    setsid();
    while (read(fd, &c, 1) > 0)
        ;
    script(path, sizeof(path));
    execl(path, path, "stop", dir, (char *)NULL);
    _exit(127);
}

static void at_end(void) {
    if (getpid() != owner)
        return;
    if (watch_fd >= 0) {
        close(watch_fd);
        waitpid(watcher, NULL, 0);
    }
    dir_remove_tree(scratch, NULL);
}

const char *fixture_dir(void) {
    if (!scratch[0]) {
        snprintf(scratch, sizeof(scratch), "/tmp/osmo-test-XXXXXX");
        if (!mkdtemp(scratch) || chmod(scratch, 0755) != 0) {
            perror("mkdtemp");
            exit(99);
        }
        owner = getpid();
        atexit(at_end);
    }
    return scratch;
}

static void start_watcher(void) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        exit(99);
    watcher = fork();
    if (watcher == 0) {
        close(fds[1]);
        watch(scratch, fds[0]);
    }
    close(fds[0]);
    watch_fd = fds[1];
}

static void start_server(void) {
    char command[1400], path[1024];
    script(path, sizeof(path));
    snprintf(command, sizeof(command), "'%s' start '%s'", path, fixture_dir());
    FILE *f = popen(command, "re");
    bool got = f && fgets(server_url, sizeof(server_url), f);
    int rc = f ? pclose(f) : -1;
    if (got && rc == 0) {
        server_url[strcspn(server_url, "\n")] = '\0';
        start_watcher();
        return;
    }
    strcpy(server_url, "-");
    if (WIFEXITED(rc) && WEXITSTATUS(rc) == 77) {
        fprintf(stderr, "SKIP: PostgreSQL is not installed\n");
    } else {
        fprintf(stderr, "the private PostgreSQL did not start\n");
        CHECK(false);
    }
}

static int create_database(db_t *db, void *ctx, osmo_error_t *err) { return db_exec(db, ctx, NULL, 0, NULL, err); }

/* Every database is a schema of its own in the one server: cheaper than databases, just as empty. */
char *pgsql_fixture_url(void) {
    if (!server_url[0])
        start_server();
    if (server_url[0] == '-')
        return NULL;
    char sql[64];
    store_t *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    struct store_options o = { .url = server_url, .writers = 1 };
    snprintf(sql, sizeof(sql), "CREATE SCHEMA test%d", ++made);
    int rc = store_open(&o, &s, &err);
    if (rc == 0)
        rc = store_write(s, NULL, create_database, sql, &err);
    CHECK_OK(rc, &err);
    store_close(s);
    return rc < 0 ? NULL : str_printf("%s?options=-csearch_path%%3Dtest%d", server_url, made);
}

char *sqlite_fixture_url(void) { return str_printf("sqlite:%s/db%d", fixture_dir(), ++made); }

void fixture_each(void (*body)(store_t *s, const char *url)) {
    for (int pass = 0; pass < 2; pass++) {
        char *url = pass ? pgsql_fixture_url() : sqlite_fixture_url();
        store_t *s = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        if (!url)
            continue;
        struct store_options o = { .url = url };
        CHECK_OK(store_open(&o, &s, &err), &err);
        if (s)
            body(s, url);
        store_close(s);
        free(url);
    }
}
