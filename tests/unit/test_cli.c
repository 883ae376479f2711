/* The client's own parts: options, tables, times, specification files, the paths of its requests, its login file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "capture.h"
#include "check.h"
#include "cli.h"
#include "peer.h"

struct values {
    bool flag;
    const char *text, *choice, *first;
    int64_t number;
    strlist_t list, rest;
};

/* Parse a command line of words separated by blanks. */
static int parse(const char *line, struct values *v) {
    *v = (struct values){ .number = -1 };
    const struct opt opts[] = {
        { "--force -f", OPT_FLAG, &v->flag, NULL, "a flag", NULL },
        { "--pool -p", OPT_VALUE, &v->text, "POOL", "a text", NULL },
        { "--port", OPT_VALUE, &v->text, "PORT", "another text", NULL },
        { "--count -c", OPT_INT, &v->number, "N", "a number", NULL },
        { "--status -s", OPT_LIST, &v->list, "STATUS", "a list", NULL },
        { "--format-type -t", OPT_CHOICE, &v->choice, "FORMAT", "a choice", "text json" },
    };
    const struct arg args[] = { { "ID", "first", &v->first, NULL, false }, { "MORE", "rest", NULL, &v->rest, true } };
    const struct usage u = { "test", "A test.", opts, ARRAY_SIZE(opts), args, 2 };
    static char text[256];
    static char *words[32]; /* the options point into these */
    int n = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *p = text, *at; (at = strsep(&p, " "));) {
        if (*at && n < 32)
            words[n++] = at;
    }
    capture();
    int code = opt_parse(&u, n, words);
    release();
    return code;
}

static void free_values(struct values *v) {
    strlist_free(&v->list);
    strlist_free(&v->rest);
}

static void test_options(void) {
    static const struct {
        const char *line;
        int code;
        const char *first, *text, *choice;
        int64_t number;
        size_t listed, rest;
        bool flag;
    } cases[] = {
        { "a", -1, "a", NULL, NULL, -1, 0, 0, false },
        { "-f a", -1, "a", NULL, NULL, -1, 0, 0, true },
        { "a --pool p1", -1, "a", "p1", NULL, -1, 0, 0, false },
        { "a --pool=p=1", -1, "a", "p=1", NULL, -1, 0, 0, false },
        { "a --pool=", -1, "a", "", NULL, -1, 0, 0, false },
        { "a -p p1 -c -3", -1, "a", "p1", NULL, -3, 0, 0, false },
        { "a -pp1", -1, "a", "p1", NULL, -1, 0, 0, false },
        { "a --poo p1 --co 7", -1, "a", "p1", NULL, 7, 0, 0, false },
        { "a -s X Y -s Z -t json", -1, "a", NULL, "json", -1, 3, 0, false },
        { "--status=X a b c", -1, "a", NULL, NULL, -1, 1, 2, false },
        { "-f -- -a -b", -1, "-a", NULL, NULL, -1, 0, 1, true },
        { "-", -1, "-", NULL, NULL, -1, 0, 0, false },
        { "-h", 0, NULL, NULL, NULL, -1, 0, 0, false },
        { "a -f --help", 0, "a", NULL, NULL, -1, 0, 0, true },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct values v;
        CHECK_INT(parse(cases[i].line, &v), cases[i].code);
        CHECK_STR(v.first, cases[i].first);
        CHECK_STR(v.text, cases[i].text);
        CHECK_STR(v.choice, cases[i].choice);
        CHECK_INT(v.number, cases[i].number);
        CHECK_INT(v.list.len, cases[i].listed);
        CHECK_INT(v.rest.len, cases[i].rest);
        CHECK_INT(v.flag, cases[i].flag);
        free_values(&v);
    }
}

static void test_option_mistakes(void) {
    static const struct {
        const char *line, *text;
    } cases[] = {
        { "", "the following arguments are required: ID" },
        { "a --nope", "unrecognized arguments: --nope" },
        { "a --po x", "unrecognized arguments: --po" },
        { "a --pool", "argument --pool -p: expected one argument" },
        { "a --pool --force", "argument --pool -p: expected one argument" },
        { "a -s", "expected at least one argument" },
        { "a -c x", "argument --count -c: invalid int value: 'x'" },
        { "a -c 99999999999999999999", "invalid int value" },
        { "a -t yaml", "argument --format-type -t: invalid choice: 'yaml' (choose from text json)" },
        { "a --force=1", "argument --force -f: takes no value" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct values v;
        CHECK_INT(parse(cases[i].line, &v), EXIT_USER);
        CHECK_CONTAINS(captured, cases[i].text);
        CHECK_CONTAINS(captured, "usage: osmo test [-h] [--force] [--pool POOL]");
        free_values(&v);
    }
}

static void test_help(void) {
    struct values v;
    CHECK_INT(parse("--help", &v), 0);
    CHECK_CONTAINS(captured, " ID [MORE] ...\n\nA test.\n\npositional arguments:\n  ID ");
    CHECK_CONTAINS(captured, "  --force, -f              a flag\n");
    CHECK_CONTAINS(captured, "a choice; one of: text json\n");
    free_values(&v);
}

static void print_table(const char *const *cells, size_t n, struct table t, size_t heads) {
    for (size_t i = 0; i < n; i++)
        table_add(&t, cells[i]);
    capture();
    table_print(&t, heads);
    release();
}

static void test_tables(void) {
    static const char *const rows[] = { "Name", "N", "a", "10", "l\xc3\xa4nger", NULL, "Total", "11" };
    print_table(rows, 6, (struct table){ .columns = 2 }, 1);
    CHECK_STR(captured, "Name     N \n===========\na        10\nl\xc3\xa4nger   - \n");
    print_table(rows, 8, (struct table){ .columns = 2, .summary_rows = 1 }, 1);
    CHECK_STR(captured, "Name     N \n===========\na        10\nl\xc3\xa4nger   - \n===========\nTotal    11\n");
    print_table(rows, 2, (struct table){ .columns = 2 }, 1);
    CHECK_STR(captured, "Name   N\n========\n");
}

static void test_times(void) {
    char out[48];
    setenv("TZ", "UTC", 1);
    tzset();
    CHECK_STR(local_time("2026-11-25T21:20:59.123456", out), "Nov 25, 2026 21:20 UTC");
    CHECK_STR(local_time("2026-01-02T03:04:05", out), "Jan 02, 2026 03:04 UTC");
    setenv("TZ", "XYZ-2", 1);
    tzset();
    CHECK_STR(local_time("2026-12-31T23:30:00", out), "Jan 01, 2027 01:30 XYZ");
    CHECK_STR(local_time("soon", out), "-");
    CHECK_STR(local_time(NULL, out), "-");
    setenv("TZ", "UTC", 1);
    tzset();
}

static void test_what_a_text_is(void) {
    static const struct {
        const char *text;
        bool is;
    } ids[] = { { "train-12", true }, { "a-b-3", true },   { "dir/train-12", true }, { "train", false },
                { "-1", false },      { "train-", false }, { "12-3", false },        { "train-1x", false },
                { "a_-3", false },    { "", false },       { "1a-3", true } },
      templates[] = { { "a: {{ b }}", true },      { "{% if x %}", true }, { "{# c #}", true },
                      { "default-values:", true }, { "a: {b: c}", false }, { "", false } };
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
        CHECK_INT(spec_is_workflow_id(ids[i].text), ids[i].is);
    for (size_t i = 0; i < ARRAY_SIZE(templates); i++)
        CHECK_INT(spec_is_template(templates[i].text), templates[i].is);
}

static char dir[] = "/tmp/test_cli.XXXXXX";

static void put(const char *name, const void *text, size_t len) {
    _cleanup_free_ char *path = str_printf("%s/%s", dir, name);
    CHECK(path && file_write_atomic(path, text, len, 0600, false, NULL) == 0);
}

/* The text of a specification whose `files` entry of a task of a group, or of no group, is `entry`. */
static char *with_file(const char *entry, bool grouped) {
    const char *tasks = grouped ? "  groups:\n  - name: g\n    tasks:\n" : "  tasks:\n";
    return str_printf("workflow:\n  name: w\n%s    - name: t\n      image: i\n      files:\n      - %s\n", tasks,
                      entry);
}

static void test_local_files(void) {
    static const struct {
        const char *entry, *part; /* part of the result, or of the error */
        bool good, grouped;
    } cases[] = {
        { "{path: /a, localpath: hello.txt}", "contents: hello", true, false },
        { "{path: /a, localpath: hello.txt}", "contents: hello", true, true },
        { "{path: /a, localpath: gone.txt}", "gone.txt", false, false },
        { "{path: /a, localpath: hello.txt, contents: x}", "keep one", false, false },
        { "{path: /a, localpath: binary}", "not UTF-8", false, false },
        { "{path: /a, localpath: empty}", "contents: ''", true, false },
    };
    REQUIRE(mkdtemp(dir));
    put("hello.txt", "hello", 5);
    put("binary", "\xff\x00", 2);
    put("empty", "", 0);
    _cleanup_free_ char *spec_path = str_printf("%s/w.yaml", dir);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        _cleanup_free_ char *text = with_file(cases[i].entry, cases[i].grouped);
        _cleanup_free_ char *filled = NULL;
        int rc = spec_inline_files(text, spec_path, &filled, &err);
        CHECK_INT(rc == 0, cases[i].good);
        CHECK_CONTAINS(cases[i].good ? filled : err.text, cases[i].part);
        CHECK(!filled || !strstr(filled, "localpath"));
    }
    _cleanup_free_ char *absolute = str_printf("{path: /a, localpath: %s/hello.txt}", dir);
    _cleanup_free_ char *text = with_file(absolute, false);
    _cleanup_free_ char *filled = NULL;
    CHECK_INT(spec_inline_files(text, "elsewhere/w.yaml", &filled, NULL), 0);
    CHECK_CONTAINS(filled, "contents: hello");
    char *none = NULL;
    CHECK_INT(spec_inline_files("workflow: {name: w}", spec_path, &none, NULL), 0);
    CHECK(none == NULL);
}

static void test_paths(void) {
    _cleanup_free_ char *path = workflow_path("a/b c-1", "/logs");
    CHECK_STR(path, "/api/workflow/a%2Fb%20c-1/logs");
    strlist_t labels = { 0 };
    strlist_add(&labels, "k=v");
    strlist_add(&labels, "x=&y");
    buf_t b = BUF_INIT(1024);
    buf_puts(&b, "/api/x");
    query_add(&b, "dry_run", "True");
    query_add_all(&b, "label", &labels);
    CHECK_STR(buf_cstr(&b), "/api/x?dry_run=True&label=k%3Dv&label=x%3D%26y");
    buf_free(&b);
    strlist_free(&labels);
}

static void test_failures_are_told(void) {
    capture();
    CHECK_INT(api_fail(false, 404, "no such thing", EXIT_USER), EXIT_USER);
    CHECK_STR(release(), "Error message: no such thing\nError code: 404\n");
    capture();
    CHECK_INT(api_fail(true, 429, "later", EXIT_TRY_LATER), 75);
    CHECK_STR(release(), "{\n  \"message\": \"later\",\n  \"code\": 429\n}\n");
}

static void test_login_file(void) {
    struct login l = { .url = strdup("http://h:1"), .name = strdup("ana"), .id_token = strdup("a.b.c"),
                       .refresh_token = strdup("secret"), .refresh_url = strdup("http://h:1/r"), .osmo_token = true };
    struct login got;
    _cleanup_free_ char *config = str_printf("%s/config", dir);
    _cleanup_free_ char *path = str_printf("%s/login.yaml", config);
    osmo_error_t err = OSMO_ERROR_INIT;
    setenv("OSMO_CONFIG_FILE_DIR", config, 1);
    CHECK_INT(login_load(&got, &err), OSMO_ENOTFOUND);
    CHECK_CONTAINS(err.text, "not logged in");
    REQUIRE(login_save(&l, NULL) == 0);
    struct stat st;
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    REQUIRE(login_load(&got, NULL) == 0);
    CHECK_STR(got.url, "http://h:1");
    CHECK_STR(got.name, "ana");
    CHECK_STR(got.id_token, "a.b.c");
    CHECK_STR(got.refresh_token, "secret");
    CHECK_STR(got.refresh_url, "http://h:1/r");
    CHECK(got.osmo_token && !got.dev_user);
    login_clear(&got);
    login_clear(&l);
    CHECK_INT(file_write_atomic(path, "name: x\n", 8, 0600, false, NULL), 0);
    CHECK_INT(login_load(&got, &err), OSMO_EINVAL);
    CHECK(!got.name);
    CHECK_INT(file_write_atomic(path, "url: {\n", 7, 0600, false, NULL), 0);
    CHECK(login_load(&got, &err) < 0);
    CHECK_CONTAINS(err.text, "login.yaml");
}

#define OK "200 OK"
#define PROFILE http(OK, "{\"profile\":{\"pool\":\"p\"}}")

/* A whole answer; good for the next few calls. */
static const char *http(const char *status, const char *body) {
    static char pool[8][512];
    static size_t next;
    char *out = pool[next++ % ARRAY_SIZE(pool)];
    snprintf(out, sizeof pool[0], "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);
    return out;
}

/* Be logged in at the peer as a user of development mode, with a plain and a templated specification at hand. */
static bool at_peer(struct peer *p, const char *const *answers) {
    char url[64];
    struct login l = { .url = url, .name = strdup("ana"), .dev_user = strdup("ana") };
    bool ok = peer_start(p, answers);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", p->port);
    ok = login_save(&l, NULL) == 0 && ok;
    free(l.name);
    free(l.dev_user);
    put("plain.yaml", "workflow: {name: w}\n", 20);
    put("template.yaml", "workflow: {name: '{{ n }}'}\n", 28);
    return ok;
}

static int submit_file(const char *name, const char *option, const char *value) {
    _cleanup_free_ char *path = str_printf("%s/%s", dir, name);
    char *words[] = { path, (char *)option, (char *)value };
    capture();
    int code = cmd_submit(option ? value ? 3 : 2 : 1, words);
    release();
    return code;
}

static void test_exit_codes(void) {
    static const struct {
        const char *status, *body;
        int code;
        const char *text;
    } cases[] = {
        { "400 Bad Request", "{\"error_code\":\"USAGE\",\"message\":\"why\"}", 1,
          "status 400\nError message: why\nError code: 400\n" },
        { "400 Bad Request", "{\"error_code\":\"RESOURCE\",\"message\":\"why\"}", 1, "why" },
        { "400 Bad Request", "{\"error_code\":\"CREDENTIAL\",\"message\":\"why\"}", 1, "why" },
        { "400 Bad Request", "{\"error_code\":\"USER\",\"message\":\"why\"}", 2, "why" },
        { "404 Not Found", "{\"detail\":\"gone\"}", 2, "Error message: {\"detail\":\"gone\"" },
        { "401 Unauthorized", "no!", 2, "Error message: no!\nError code: 401\n" },
        { "429 Too Many Requests", "", 75, "no message" },
        { "500 Internal Server Error", "", 10, "Error code: 500" },
        { "200 OK", "ok", 10, "no JSON" },
        { "200 OK", "{\"name\":\"w-1\",\"overview\":\"http://o\",\"warnings\":[\"slow\"],\"spec\":null,\"x\":12345}",
          0, "Workflow ID        - w-1\nWorkflow Overview  - http://o\nWARNING: slow\n" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *const answers[] = { http(cases[i].status, cases[i].body), NULL };
        struct peer p;
        REQUIRE(at_peer(&p, answers));
        CHECK_INT(submit_file("plain.yaml", "--pool", "p"), cases[i].code);
        CHECK_CONTAINS(captured, cases[i].text);
        peer_end(&p);
    }
    CHECK_INT(submit_file("plain.yaml", "--pool", "p"), EXIT_SERVER_DOWN); /* the peer is gone */
    CHECK_CONTAINS(captured, "connection refused");
}

/* Parts that must appear in this order. */
static void check_order(const char *text, const char *const *parts) {
    for (; *parts; parts++) {
        const char *at = strstr(text, *parts);
        CHECK_CONTAINS(text, *parts);
        if (at)
            text = at + strlen(*parts);
    }
}

static void test_requests_of_a_submission(void) {
    const char *const plain[] = { PROFILE, http(OK, "{\"name\":\"w-1\"}"), NULL };
    const char *const templated[] = { PROFILE, http(OK, "{\"name\":\"w\",\"spec\":\"rendered\"}"),
                                             http(OK, "{\"name\":\"w-1\"}"), NULL };
    const char *const dry[] = { PROFILE, http(OK, "{\"name\":\"w\",\"spec\":\"rendered\"}"), NULL };
    struct peer p;
    REQUIRE(at_peer(&p, plain));
    CHECK_INT(submit_file("plain.yaml", "--label", "a=b"), 0);
    peer_end(&p);
    check_order(p.got,
                (const char *const[]){ "GET /api/profile/settings HTTP/1.1", "User-Agent: osmo-cli/6.4.0",
                                       "Content-Type: application/json", "x-osmo-client-version: 6.4.0",
                                       "x-osmo-user: ana", "POST /api/pool/p/workflow?label=a%3Db HTTP/1.1",
                                       "\"file\":\"workflow: {name: w}\\n\"", "\"set_variables\":[]",
                                       "\"set_string_variables\":[]", "\"uploaded_templated_spec\":null", NULL });
    REQUIRE(at_peer(&p, templated));
    CHECK_INT(submit_file("template.yaml", "--set", "n=1"), 0);
    peer_end(&p);
    check_order(p.got, (const char *const[]){
                           "POST /api/pool/p/workflow?dry_run=True HTTP/1.1", "\"set_variables\":[\"n=1\"]",
                           "\"uploaded_templated_spec\":null", "POST /api/pool/p/workflow?dry_run=False HTTP/1.1",
                           "\"file\":\"rendered\"", "\"set_variables\":[\"n=1\"]",
                           "\"uploaded_templated_spec\":\"workflow: {name: '{{ n }}'}\\n\"", NULL });
    REQUIRE(at_peer(&p, dry));
    CHECK_INT(submit_file("plain.yaml", "--dry-run", NULL), 0);
    CHECK_STR(captured, "rendered");
    peer_end(&p);
}

static void test_following(void) {
    static const struct {
        const char *end;
        int code;
        const char *printed;
    } cases[] = {
        { "{\"status\":\"COMPLETED\"}\n", 0, "one\ntwo\nStatus: COMPLETED\n" },
        { "{\"status\":\"FAILED\",\"failure_message\":\"a\\nb\"}\n", EXIT_WORKFLOW_FAILED,
          "one\ntwo\nStatus: FAILED (a; b)\n" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        /* The log breaks off in the middle of a line, then the service is there again. */
        const char *const answers[] = { "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\none\nt",
                                        http(OK, "one\ntwo\n"), http(OK, cases[i].end), NULL };
        struct peer p;
        struct api a;
        REQUIRE(at_peer(&p, answers) && api_open(&a, false) == 0);
        capture();
        CHECK_INT(follow_workflow(&a, "w-1"), cases[i].code);
        CHECK_STR(release(), cases[i].printed);
        peer_end(&p);
        check_order(p.got, (const char *const[]){ "GET /api/workflow/w-1/logs", "GET /api/workflow/w-1/logs",
                                                  "GET /api/workflow/w-1/watch", NULL });
        api_close(&a);
    }
}

/* Lines with numbers: what comes behind the last whole one is asked for, filters and all. */
static void test_resuming(void) {
    const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 900\r\n\r\n{\"line\":7,\"text\":\"a\\r\\u00e4\\n\"}\n\n{\"line\":9,\"te",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 900\r\n\r\n\n",
        http(OK, "{\"line\":9,\"text\":\"b\\nc\\n\"}\n"), NULL };
    struct peer p;
    struct api a;
    REQUIRE(at_peer(&p, answers) && api_open(&a, false) == 0);
    capture();
    struct lines_request r = { .path = "/api/workflow/w-1/logs?task_name=t", .from_line = "5" };
    CHECK_INT(lines_print(&a, &r), 0);
    CHECK_STR(release(), "a\r\xc3\xa4\nb\nc\n");
    peer_end(&p);
    check_order(p.got, (const char *const[]){ "GET /api/workflow/w-1/logs?task_name=t&format=json&from_line=5 ",
                                              "GET /api/workflow/w-1/logs?task_name=t&format=json&from_line=8 ",
                                              "GET /api/workflow/w-1/logs?task_name=t&format=json&from_line=8 ", NULL });
    api_close(&a);
}

static void test_leaves_nothing(void) {
    CHECK_INT(dir_remove_tree(dir, NULL), 0);
    capture_end();
}

static const struct check_test tests[] = {
    { "options", test_options },
    { "mistakes in options", test_option_mistakes },
    { "help", test_help },
    { "tables", test_tables },
    { "times", test_times },
    { "ids and templates are told by their text", test_what_a_text_is },
    { "local files are put in", test_local_files },
    { "paths and queries", test_paths },
    { "failures are told", test_failures_are_told },
    { "the login file", test_login_file },
    { "exit codes of a submission", test_exit_codes },
    { "requests of a submission", test_requests_of_a_submission },
    { "following to the end", test_following },
    { "lines go on behind the last", test_resuming },
    { "leaves nothing behind", test_leaves_nothing },
};
TEST_MAIN("cli", tests)
