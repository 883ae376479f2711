/* Objects in files: whole or not at all, names, what crashes leave; where the archive is configured; and the masking of secrets in
 * what goes there. */
#include <dirent.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "check.h"
#include "data/object_store.h"
#include "model/redact.h"
#include "model/settings.h"
#include "pgsql_fixture.h"

/* ---- objects in files ---- */

static char place[128];

static object_store_t *open_place(const char *name) {
    char url[160];
    object_store_t *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(place, sizeof place, "%s/%s", fixture_dir(), name);
    snprintf(url, sizeof url, "file://%s/", place);
    CHECK_OK(object_store_open(url, NULL, &s, &err), &err);
    return s;
}

static char *content(object_store_t *s, const char *name) {
    object_reader_t *r = NULL;
    uint64_t size = 0;
    char *text = NULL;
    if (object_get(s, name, &r, &size, NULL) == 0 && (text = calloc(1, size + 1)))
        CHECK_INT(object_read(r, 0, text, size + 1, NULL), (long long)size);
    object_done(r);
    return text;
}

struct seen { size_t n; uint64_t bytes; };

static int count_object(void *ctx, const char *name, uint64_t size, osmo_error_t *err) {
    struct seen *s = ctx;
    (void)err;
    CHECK(strncmp(name, "a/b/", 4) == 0 || strncmp(name, "w/", 2) == 0);
    s->n++;
    s->bytes += size;
    return s->n == 3 ? OSMO_EGONE : 0;
}

static void objects(void) {
    object_store_t *s = open_place("deep/er");
    object_writer_t *w = NULL;
    struct seen seen = { 0, 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(s != NULL);
    CHECK_OK(object_put(s, "a/b/one", &w, &err), &err);
    CHECK_OK(object_write(w, "hel", 3, &err), &err);
    CHECK(content(s, "a/b/one") == NULL); /* not yet */
    CHECK_OK(object_write(w, "lo", 2, &err), &err);
    CHECK_OK(object_commit(w, &err), &err);
    char *text = content(s, "a/b/one");
    CHECK_STR(text, "hello");
    free(text);
    CHECK_OK(object_put_bytes(s, "a/b/one", "", 0, &err), &err); /* replaces */
    text = content(s, "a/b/one");
    CHECK_STR(text, "");
    free(text);
    CHECK_OK(object_put(s, "a/b/two", &w, &err), &err);
    CHECK_OK(object_write(w, "x", 1, &err), &err);
    object_discard(w);
    CHECK(content(s, "a/b/two") == NULL);
    CHECK_OK(object_put_bytes(s, "a/b/two", "12", 2, &err), &err);
    CHECK_OK(object_list(s, "a/b", count_object, &seen, &err), &err);
    CHECK_INT(seen.n, 2);
    CHECK_INT(seen.bytes, 2);
    CHECK_OK(object_put_bytes(s, "a/b/three", "345", 3, &err), &err);
    CHECK_INT(object_list(s, "a/b", count_object, &(struct seen){ 0, 0 }, &err), OSMO_EGONE);
    CHECK_OK(object_list(s, "a/nothing", count_object, &seen, &err), &err);
    const char *const all[] = { "a/b/one", "a/b/two", "a/b/three", "a/b/none" };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        CHECK_OK(object_remove(s, all[i], &err), &err);
    CHECK_INT(object_get(s, "a/b/one", &(object_reader_t *){ NULL }, &(uint64_t){ 0 }, &err), OSMO_ENOTFOUND);
    CHECK_OK(object_tidy(s, "a/b", &err), &err);
    char path[200];
    snprintf(path, sizeof path, "%s/a/b", place);
    CHECK(!file_exists(path)); /* nothing was left in it */
    object_store_close(s);
}

static void object_names(void) {
    char part[300], longer[1400] = "";
    memset(part, 'x', sizeof part);
    part[241] = '\0';
    for (int i = 0; i < 600; i++)
        strcat(longer, "a/");
    strcat(longer, "b");
    const char *const bad[] = { "", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a/.osmo-part-0", ".hidden", "a\nb",
                                "a\x7f", part, longer };
    object_store_t *s = open_place("names");
    object_writer_t *w = NULL;
    object_reader_t *r = NULL;
    uint64_t size;
    REQUIRE(s != NULL);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK_INT(object_put(s, bad[i], &w, NULL), OSMO_EINVAL);
        CHECK_INT(object_get(s, bad[i], &r, &size, NULL), OSMO_EINVAL);
        CHECK_INT(object_remove(s, bad[i], NULL), OSMO_EINVAL);
        CHECK_INT(object_list(s, bad[i], count_object, NULL, NULL), OSMO_EINVAL);
        CHECK_INT(object_tidy(s, bad[i], NULL), OSMO_EINVAL);
    }
    part[240] = '\0';
    CHECK_INT(object_put_bytes(s, part, "x", 1, NULL), 0);
    CHECK_INT(object_put_bytes(s, "a b/\xc3\xa4 [1]", "x", 1, NULL), 0);
    object_store_close(s);
}

static int files_in(const char *dir) {
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *entry; d && (entry = readdir(d));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (d)
        closedir(d);
    return n;
}

/* A writer that never got to its end, as after kill -9. */
static void leftovers(void) {
    char path[300];
    object_store_t *s = open_place("crash");
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(s != NULL);
    CHECK_OK(object_put_bytes(s, "w/log", "whole", 5, &err), &err);
    snprintf(path, sizeof path, "%s/w/.osmo-part-0123", place);
    CHECK_OK(file_write_atomic(path, "ha", 2, 0600, false, &err), &err);
    snprintf(path, sizeof path, "%s/w", place);
    CHECK_INT(files_in(path), 2);
    struct seen seen = { 0, 0 };
    CHECK_INT(object_list(s, "w", count_object, &seen, NULL) < 0 ? 0 : (long long)seen.n, 1);
    CHECK_OK(object_tidy(s, "w", &err), &err);
    CHECK_INT(files_in(path), 1);
    char *text = content(s, "w/log");
    CHECK_STR(text, "whole");
    free(text);
    /* out of the directory by a link: neither read nor written */
    snprintf(path, sizeof path, "%s/w/link", place);
    CHECK_INT(symlink("/etc/passwd", path), 0);
    CHECK(content(s, "w/link") == NULL);
    snprintf(path, sizeof path, "%s/out", place);
    CHECK_INT(symlink("/tmp", path), 0);
    CHECK(object_put_bytes(s, "out/x", "x", 1, &err) < 0);
    CHECK_CONTAINS(err.text, "no symbolic links");
    object_store_close(s);
}

/* Two that write below the same prefix, as two services with the same work item do: neither takes the other's for left over. */
static void at_once(void) {
    char path[300];
    object_store_t *s = open_place("at-once"), *other = open_place("at-once");
    object_writer_t *w = NULL, *early = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(s != NULL && other != NULL);
    CHECK_OK(object_put(s, "w/log", &w, &err), &err);
    CHECK_OK(object_write(w, "whole", 5, &err), &err);
    CHECK_OK(object_tidy(other, "w", &err), &err);
    CHECK_OK(object_put(other, "w/log", &early, &err), &err);
    CHECK_OK(object_write(early, "whole", 5, &err), &err);
    CHECK_OK(object_commit(early, &err), &err);
    CHECK_OK(object_commit(w, &err), &err);
    char *text = content(s, "w/log");
    CHECK_STR(text, "whole");
    free(text);
    /* what was put there by somebody else does not keep ours from being removed */
    snprintf(path, sizeof path, "%s/w/strange\nname", place);
    CHECK_OK(file_write_atomic(path, "x", 1, 0600, false, &err), &err);
    struct seen seen = { 0, 0 };
    CHECK_OK(object_list(s, "w", count_object, &seen, &err), &err);
    CHECK_INT(seen.n, 1);
    object_store_close(s);
    object_store_close(other);
}

static void stores_that_do_not_open(void) {
    char url[200], file[160];
    snprintf(file, sizeof file, "%s/file", fixture_dir());
    CHECK_INT(file_write_atomic(file, "x", 1, 0600, false, NULL), 0);
    snprintf(url, sizeof url, "file://%s/below", file);
    const struct { const char *url, *text; } cases[] = {
        { "ftp://bucket/x", "ftp:// are not supported" }, { "gs://b", "no credential for gs://b" }, { "/tmp/x", "is not a URL" },
        { "file://host/x", "ABSOLUTE" }, { "file:///tmp/../x", "'..'" }, { "file:///", "does not name a directory" },
        { "file:////", "does not name a directory" }, { url, file },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        object_store_t *s = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK(object_store_open(cases[i].url, NULL, &s, &err) < 0);
        CHECK(s == NULL);
        CHECK_CONTAINS(err.text, cases[i].text);
    }
}

/* ---- configuration ---- */

static void configuration(void) {
    static const struct { const char *text, *cause; } bad[] = {
        { "credential: {endpoint: 'ftp://bucket/logs'}", "workflow.workflow_log.credential.endpoint" },
        { "credential: {endpoint: 'ftp://bucket/logs'}", "file:///ABSOLUTE/DIRECTORY" },
        { "credential: {endpoint: 'tos://host'}", "s3://BUCKET/PREFIX" },
        { "credential: {endpoint: 'file://relative'}", "file:///ABSOLUTE/DIRECTORY" },
        { "credential: {endpoint: 'file:///a/../b'}", "'..'" },
        { "credential: {endpoint: 'file:///'}", "below the root" },
        { "credential: {endpoint: [file:///x]}", "workflow.workflow_log.credential.endpoint" },
        { "credential: {endpoint: null}", "workflow.workflow_log.credential.endpoint" },
        { "credential: {endpoint: ''}", "workflow.workflow_log.credential.endpoint" },
        { "credential: file:///x", "workflow.workflow_log.credential" },
        { "keep_local: [1h]", "keep_local" }, { "keep_local: soon", "keep_local" }, { "attempts: many", "attempts" },
        { "attempts: 1001", "attempts" }, { "task_logs: 3", "task_logs" },
        { "credential: {region: x}", "endpoint" },
        { "credentials: {}", "credentials" },
        { "keep_local: -1", "keep_local" },
        { "attempts: 0", "attempts" },
        { "delete_with_workflow: sometimes", "delete_with_workflow" },
    };
    char text[400];
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        snprintf(text, sizeof text, "workflow: {workflow_log: {%s}}\n", bad[i].text);
        CHECK(settings_parse(text, strlen(text), "test", &s, &err) < 0);
        CHECK_CONTAINS(err.text, bad[i].cause);
    }
    static const char good[] = "workflow: {workflow_log: {credential: {endpoint: 'file:///var/lib/archive', access_key_id: a,"
                               " access_key: b, region: eu}, keep_local: 2h, task_logs: false, attempts: 3, "
                               "delete_with_workflow: true}}\n";
    CHECK_OK(settings_parse(good, strlen(good), "test", &s, &err), &err);
    REQUIRE(s != NULL);
    CHECK_STR(s->archive_endpoint, "file:///var/lib/archive");
    CHECK_INT(s->archive_keep_local_us, INT64_C(7200000000));
    CHECK_INT(s->archive_attempts, 3);
    CHECK(!s->archive_task_logs && s->archive_delete);
    settings_free(s);
    s = NULL;
    static const char stored[] = "workflow: {workflow_log: {credential: {endpoint: 's3://logs/osmo', access_key_id: a, access_key: b,"
                                 " addressing_style: path, override_url: 'http://h'}}, workflow_data: {base_url: 'https://h/x'}}\n";
    CHECK_OK(settings_parse(stored, strlen(stored), "test", &s, &err), &err);
    REQUIRE(s != NULL);
    CHECK_STR(s->archive_endpoint, "s3://logs/osmo");
    CHECK_STR(s->archive_login.access_key, "b");
    CHECK_STR(s->archive_login.addressing_style, "path");
    CHECK_STR(s->archive_login.override_url, "http://h");
    CHECK(!s->archive_login.region && !s->data_login.access_key);
    CHECK_STR(s->data_base_url, "https://h/x");
    settings_free(s);
    s = NULL;
    static const char none[] = "workflow: {workflow_log: {credential: null}}\n";
    CHECK_OK(settings_parse(none, strlen(none), "test", &s, &err), &err);
    REQUIRE(s != NULL);
    CHECK_STR(s->archive_endpoint, "");
    CHECK(s->archive_task_logs && !s->archive_delete);
    settings_free(s);
}

/* ---- masking ---- */

static void masking(void) {
    static const struct { const char *in, *out; } cases[] = {
        { "name: x\nkey: nvidia.com/gpu\n", NULL },
        { "API_TOKEN: abc\n", "API_TOKEN: [MASKED]\n" },
        { "  password: 'it''s' # why\n", "  password: '[MASKED]' # why\n" },
        { "  password: \"a\\\"b\" # why\n", "  password: \"[MASKED]\" # why\n" },
        { "  db_password: 12345678\n", "  db_password: [MASKED]\n" },
        { "max_tokens: 4096\n", NULL }, { "tokenizer: bert\n", NULL }, { "monkey: wrench\n", NULL },
        { "image: nvcr.io/secret:latest\n", NULL },
        { "apiKey: abc # c\n", "apiKey: [MASKED] # c\n" },
        { "HF_TOKEN: '{{hf}}'\nA_TOKEN: $TOKEN\nB_TOKEN: ${X}\nC_TOKEN: {{ x }}\n", NULL },
        { "PASSWORD: $ecret\n", "PASSWORD: [MASKED]\n" },
        { "env: {NGC_API_KEY: abc, HOME: /root}\n", "env: {NGC_API_KEY: [MASKED], HOME: /root}\n" },
        { "env: {\"NGC_API_KEY\": \"abc\", \"n\": 1}\n", "env: {\"NGC_API_KEY\": \"[MASKED]\", \"n\": 1}\n" },
        { "{\"token\":\"abc\",\"x\":\"y\"}", "{\"token\":\"[MASKED]\",\"x\":\"y\"}" },
        { "tokens: [a, b]\nx: y\n", "tokens: [MASKED]\nx: y\n" },
        { "args: [sh, -c, 'export A_TOKEN=abc; run --password=x y']\n",
          "args: [sh, -c, 'export A_TOKEN=[MASKED]; run --password=[MASKED] y']\n" },
        { "curl -H \"Authorization: Bearer abc\" url\n", "curl -H \"Authorization: [MASKED]\" url\n" },
        { "if token == other:\n", NULL },
        { "secret: |\n  one\n\n  two\nnext: x\n", "secret: [MASKED]\nnext: x\n" },
        { "- secret: >-\n    one\n  next: x\n", "- secret: [MASKED]\n  next: x\n" },
        { "credentials:\n  openai:\n    OPENAI_API_KEY: key\nHF_TOKEN: abc\n",
          "credentials:\n  openai:\n    OPENAI_API_KEY: key\nHF_TOKEN: [MASKED]\n" },
        { "- credentials: {a: {B_TOKEN: k}}\n", NULL },
        { "url: https://bob:hunter2@host/x\n", "url: https://bob:[MASKED]@host/x\n" },
        { "url: https://host:8080/x@y\n", NULL },
        { "x: cGFzc3dvcmQ6IGh1bnRlcjI=\n", "x: [MASKED]=\n" },                /* password: hunter2 */
        { "x: bm90aGluZyB0byBzZWUgaGVyZQ==\n", NULL },                        /* nothing to see here */
        { "  -----BEGIN RSA PRIVATE KEY-----\n  abc\n  -----END RSA PRIVATE KEY-----\nx: y\n", "  [MASKED]\nx: y\n" },
        { "  password: abc\n    def\n  x: y\n", "  password: [MASKED]\n  x: y\n" },
        { "password: \"abc\n  def\" # c\nx: y\n", "password: \"[MASKED]\n # c\nx: y\n" },
        { "def f(token: str):\n    return 1\n", "def f(token: [MASKED]\n    return 1\n" },
        { "token:\nx: y", NULL }, { "token", NULL }, { "token:", NULL }, { "token: '", NULL }, { "token: {{", "token: [MASKED]" },
        { "", NULL }, { "\n\n", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1u << 20);
        CHECK_INT(redact_text(cases[i].in, strlen(cases[i].in), &out), 0);
        CHECK_STR(buf_cstr(&out), cases[i].out ? cases[i].out : cases[i].in);
    }
    /* whatever it is given, it gives something back that is about as long */
    static const char *const words[] = { "token", "password: ", "api_key=", "\"", "'", "|", ">-", "\n", "  ", "- ", "{", "}", "[", "]",
                                         "{{", "}}", "$", "credentials:\n", "://u:", "@", "abc", "cGFzc3dvcmQ6IGh1bnRlcjI", ": ", ",",
                                         "#", "\\", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "\xff", "\r" };
    uint32_t random = 1;
    for (int i = 0; i < 20000; i++) {
        _cleanup_buf_ buf_t in = BUF_INIT(1u << 20), out = BUF_INIT(1u << 20);
        for (int n = 0; n < 14; n++) {
            random = random * 1664525u + 1013904223u;
            buf_puts(&in, words[(random >> 16) % ARRAY_SIZE(words)]);
        }
        CHECK_INT(redact_text(buf_cstr(&in), in.len, &out), 0);
        CHECK(out.len <= in.len + 15 * strlen(REDACTED));
    }
    _cleanup_buf_ buf_t small = BUF_INIT(4);
    CHECK_INT(redact_text("a_token: x\n", 11, &small), OSMO_ELIMIT);
}

/* Ways to write a secret down. Nothing of hunter2 may be left, and of the rest what is said to stay. */
static void hidden_secrets(void) {
    static const struct { const char *in, *stays; } cases[] = {
        /* below the key */
        { "passwords:\n  - hunter2\n  - hunter2b\nnext: x\n", "next: x\n" },
        { "passwords:\n- hunter2\n- a: hunter2\nnext: x\n", "next: x\n" },
        { "password:\n  hunter2\nnext: x\n", "next: x\n" },
        { "password: # why\n\n  hunter2\nnext: x\n", "next: x\n" },
        { "a:\n  secret:\n    value: hunter2\n    more: {x: hunter2}\n  next: x\n", "  next: x\n" },
        { "{\n  \"secret\":\n    \"hunter2\",\n  \"next\": 1}\n", "\"next\": 1}" },
        { "{\n \"tokens\": [\n  \"hunter2\"\n ],\n \"next\": 1}\n", "\"next\": 1}" },
        { " \"secret\": |\n  hunter2\n next: x\n", " next: x\n" },
        /* as name and value, and as flags */
        { "- name: DB_PASSWORD\n  value: hunter2\n- name: X\n  value: y\n", "- name: X\n  value: y\n" },
        { "env: [{name: 'A_TOKEN', value: 'hunter2'}, {name: X, value: y}]\n", "{name: X, value: y}]" },
        { "args: [run, --password, hunter2, --name, x]\n", "--name, x]" },
        { "args: [\"--api-key\", \"hunter2\", \"--name\", \"x\"]\n", "\"--name\", \"x\"]" },
        { "- --password\n- hunter2\n- --name\n- x\n", "- --name\n- x\n" },
        { "run --password hunter2 --name x\n", "--name x\n" },
        { "run --password \\\n  hunter2 \\\n  --name x\n", "--name x\n" },
        /* references that have the secret in them */
        { "A_TOKEN: ${X:-hunter2}\nnext: x\n", "next: x\n" },
        { "A_TOKEN: '{{ x | default(\"hunter2\") }}'\nnext: x\n", "next: x\n" },
        { "A_TOKEN: {{a}}hunter2{{b}}\nB_TOKEN: {{a}}hunter2\nnext: x\n", "next: x\n" },
        { "A_TOKEN=$(echo hunter2)\nnext: x\n", "next: x\n" },
        /* words of a shell, and other languages */
        { "PASSWORD=a,hunter2 run\n", " run\n" },
        { "PASSWORD='a'\"hunter2\" run\n", " run\n" },
        { "PASSWORD=\"a\"hunter2 run\n", " run\n" },
        { "PASSWORD=a\\ hunter2 run\n", " run\n" },
        { "PASSWORD=a;hunter2 run\n", " run\n" },
        { "password := \"hunter2\"\nnext\n", "next\n" },
        { "os.environ[\"PASSWORD\"] = \"hunter2\"\nnext\n", "next\n" },
        { "if password == \"hunter2\":\n", "if password == " },
        { "  :password => \"hunter2\", x: 1\n", ", x: 1\n" },
        { "<password>hunter2</password><x>y</x>\n", "</password><x>y</x>\n" },
        { "data: \"{\\\"password\\\": \\\"hunter2\\\", \\\"x\\\": 1}\"\n", "\\\"x\\\": 1}\"\n" },
        { "\"db password\": hunter2\nnext: x\n", "next: x\n" },
        { "curl -H \"X-Api-Key:hunter2\" url\n", " url\n" },
        { "SMTP_PASS: hunter2\nDB_PWD: hunter2\nnext: x\n", "next: x\n" },
        { "passWord: hunter2\nSecretKey: hunter2\nnext: x\n", "next: x\n" },
        /* anchors */
        { "x: &pw hunter2\npassword: *pw\ny: &open stays\nz: *open\n", "y: &open stays\nz: *open\n" },
        { "x: &my_token |\n  hunter2\ny: z\n", "y: z\n" },
        /* addresses, and what is hidden in base64 */
        { "url: https://bob:p@hunter2@host/x\n", "@host/x\n" },
        { "url: redis://:hunter2@host/x\n", "@host/x\n" },
        { "git clone https://ghp_hunter2hunter2hunter2@github.com/x\n", "https://[MASKED]@github.com/x\n" },
        { "key: nvapi-hunter2hunter2hunter2\nurl: x\n", "url: x\n" },
        /* a file that a task gets is no part of the specification */
        { "files:\n- contents: |\n    credentials:\n      aws_secret: hunter2\n  path: /x\n", "  path: /x\n" },
        { "files:\n- path: /x\n  contents: |-\n    credentials: {password: hunter2}\nnext: x\n", "next: x\n" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1u << 20);
        CHECK_INT(redact_text(cases[i].in, strlen(cases[i].in), &out), 0);
        if (strstr(buf_cstr(&out), "hunter2"))
            CHECK_STR(buf_cstr(&out), cases[i].in); /* shows both */
        CHECK(!strstr(buf_cstr(&out), "hunter2"));
        CHECK_CONTAINS(buf_cstr(&out), cases[i].stays);
    }
    /* what is not in the first piece of a long run of base64, and a key in one */
    static const char part[] = "bm90aGluZyB0byBzZWUgaGVyZSwg"; /* "nothing to see here, " */
    static const char *const ends[] = { "CnBhc3N3b3JkOiBodW50ZXIy" /* password: hunter2 */,
                                        "Ci0tLS0tQkVHSU4gUFJJVkFURSBLRVktLS0tLQph" /* BEGIN PRIVATE KEY */ };
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        _cleanup_buf_ buf_t in = BUF_INIT(1u << 20), out = BUF_INIT(1u << 20);
        buf_puts(&in, "x: ");
        for (int n = 0; n < 1000; n++)
            buf_puts(&in, part);
        buf_puts(&in, ends[i]);
        CHECK_INT(redact_text(buf_cstr(&in), in.len, &out), 0);
        CHECK_STR(buf_cstr(&out), "x: [MASKED]");
    }
}

/* What looks a little like a secret and is needed by those who read the specification. */
static void open_texts(void) {
    static const char *const texts[] = {
        "image: nvcr.io/my-secret:1.2\n", "image: 'a/token:latest'\n", "args: [--max-tokens, 4096, --tokenizer, bert]\n",
        "run --num-tokens 10000000 --x y\n", "A_TOKEN: ${TOKEN}\nB: $(cat /run/token)\n", "password: '{{ pw }}'\nx: {{ y }}\n",
        "name: my-secret-job\ntasks:\n- name: a\n  image: x\n", "- name: X\n  value: y\n", "x: &a\n  b: c\nd: *a\n",
        "workflow:\n  tasks:\n  - credentials:\n      my:\n        DB_PASSWORD: key\n    image: x\n", "token:\nnext: x\n",
        "scikit: sk-learn-extended-package-for-models\n", "if [ \"$TOKEN\" == \"\" ]; then\n", "tokens: 512\n",
        "url: https://host/a:b@c\n", "bypass: yes\ncompass: north\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1u << 20);
        CHECK_INT(redact_text(texts[i], strlen(texts[i]), &out), 0);
        CHECK_STR(buf_cstr(&out), texts[i]);
    }
}

static const struct check_test tests[] = {
    { "objects", objects },
    { "names of objects", object_names },
    { "leftovers of writers", leftovers },
    { "two writers at once", at_once },
    { "stores that do not open", stores_that_do_not_open },
    { "configuration", configuration },
    { "masking", masking },
    { "secrets that are hidden", hidden_secrets },
    { "texts without secrets", open_texts },
};
TEST_MAIN("objects", tests)
