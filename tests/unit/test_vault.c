/* Secrets at rest on both databases: sealing, whose key opens what, files of master keys good and bad, and the way to another master
 * key with every possible end half way. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "check.h"
#include "engine/engine.h"
#include "engine/vault_internal.h"
#include "pgsql_fixture.h"
#include "store/repo_auth.h"

static int dirs;

static char *new_dir(void) {
    char *dir = str_printf("%s/vault-%d", fixture_dir(), dirs++);
    if (dir)
        mkdir(dir, 0700);
    return dir;
}

/* An engine with nothing but a store and a vault. */
struct house { engine_t e; char *dir, *file; };

static int house_open(struct house *h, store_t *s, const char *dir, const char *file, osmo_error_t *err) {
    const osmo_service_options_t o = { .size = sizeof o, .data_dir = dir, .master_key_file = file };
    *h = (struct house){ .e = { .store = s, .data_dir = strdup(dir) }, .dir = strdup(dir) };
    h->file = file ? strdup(file) : str_printf("%s/master-key.yaml", dir);
    return vault_open(&h->e, &o, err);
}

static void house_close(struct house *h) {
    vault_close(&h->e);
    free(h->e.data_dir);
    free(h->dir);
    free(h->file);
}

struct sealing { engine_t *e; const char *user, *plain; buf_t out; };

static int seal_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct sealing *s = ctx;
    buf_reset(&s->out);
    return vault_seal_for(s->e, db, s->user, s->plain, strlen(s->plain), &s->out, err);
}

static char *seal_for(engine_t *e, const char *user, const char *plain) {
    struct sealing s = { e, user, plain, BUF_INIT(1u << 20) };
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(e->store, NULL, seal_fn, &s, &err), &err);
    return buf_steal(&s.out, NULL);
}

static int open_for(engine_t *e, const char *user, const char *sealed, const char *plain, osmo_error_t *err) {
    _cleanup_buf_ buf_t out = BUF_SECRET(1u << 20);
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = vault_unseal_for(e, db, user, sealed, strlen(sealed), &out, err);
    if (rc >= 0)
        CHECK_STR(buf_cstr(&out), plain);
    return rc;
}

/* ---- sealing ---- */

static void sealing(store_t *s, const char *url) {
    _cleanup_free_ char *dir = new_dir();
    struct house h;
    struct stat st;
    osmo_error_t err = OSMO_ERROR_INIT;
    (void)url;
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
    CHECK(stat(h.file, &st) == 0 && (st.st_mode & 0777) == 0600);
    _cleanup_free_ char *a = seal_for(&h.e, "maya", "blue"), *b = seal_for(&h.e, "maya", "blue"), *c = seal_for(&h.e, "tom", "");
    CHECK(a && b && strcmp(a, b) != 0);
    CHECK_INT(open_for(&h.e, "maya", a, "blue", &err), 0);
    CHECK_INT(open_for(&h.e, "tom", c, "", &err), 0);
    CHECK_INT(open_for(&h.e, "tom", a, "blue", &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "of user tom is not there any more");
    CHECK_INT(open_for(&h.e, "maya", "a.b.c", "", &err), OSMO_EINVAL);
    _cleanup_buf_ buf_t sealed = BUF_INIT(1u << 16), plain = BUF_SECRET(1u << 16);
    CHECK_OK(vault_seal(&h.e, "service", 7, &sealed, &err), &err);
    house_close(&h);
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err); /* everything is there after a restart */
    CHECK_INT(open_for(&h.e, "maya", b, "blue", &err), 0);
    CHECK_OK(vault_unseal(&h.e, sealed.data, sealed.len, &plain, &err), &err);
    CHECK_STR(buf_cstr(&plain), "service");
    CHECK_INT(vault_unseal(&h.e, a, strlen(a), &plain, &err), OSMO_EDENIED); /* under a key of a user */
    house_close(&h);
}

/* More users than are kept in memory, so that keys are read again. */
static void many_users(store_t *s, const char *url) {
    _cleanup_free_ char *dir = new_dir();
    char *sealed[VAULT_USERS_MAX + 20];
    struct house h;
    osmo_error_t err = OSMO_ERROR_INIT;
    (void)url;
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
    for (size_t i = 0; i < ARRAY_SIZE(sealed); i++) {
        char user[32];
        snprintf(user, sizeof user, "user-%zu", i);
        sealed[i] = seal_for(&h.e, user, user);
    }
    for (size_t i = 0; i < ARRAY_SIZE(sealed); i++) {
        char user[32];
        snprintf(user, sizeof user, "user-%zu", i);
        CHECK_INT(open_for(&h.e, user, sealed[i], user, &err), 0);
        free(sealed[i]);
    }
    house_close(&h);
}

/* ---- files ---- */

/* The base64 of {"k":"<43 characters of one>","kty":"oct"} */
#define JWK_A "eyJrIjoiQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQSIsImt0eSI6Im9jdCJ9"
#define JWK_RSA "eyJrIjoiQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQSIsImt0eSI6IlJTQSJ9"

static void good_files(store_t *s, const char *url) {
    static const char *const texts[] = {
        "currentMek: key1\nmeks:\n  key1: " JWK_A "\n",
        "meks: {'key1': \"" JWK_A "\", other.name: " JWK_A "}\ncurrentMek: \"key1\"\n",
        "# comment\ncurrentMek: key1\nmeks:\n  key1: >-\n    eyJrIjoiQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\n"
        "    QUFBQUFBQUFBQUFBQUFBQUFBQSIsImt0eSI6Im9jdCJ9\n",
        "currentMek: 0123456789abcdef0123456789abcdef\nmeks:\n  key1: " JWK_A "\n  0123456789abcdef0123456789abcdef: " JWK_A "\n",
    };
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *sealed = NULL;
    (void)url;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_free_ char *dir = new_dir(), *file = str_printf("%s/keys.yaml", dir);
        struct house h;
        CHECK_OK(file_write_atomic(file, texts[i], strlen(texts[i]), 0600, false, &err), &err);
        CHECK_OK(house_open(&h, s, dir, file, &err), &err);
        if (h.e.vault) {
            CHECK_INT(h.e.vault->ring->keys[0].key[31], 0);
            if (!sealed)
                sealed = seal_for(&h.e, "maya", "blue");
            CHECK_INT(open_for(&h.e, "maya", sealed, "blue", &err), 0);
        }
        house_close(&h);
    }
}

static void bad_files(store_t *s, const char *url) {
    static const struct { const char *text, *part; } cases[] = {
        { "", "needs 'currentMek: ID' and 'meks:'" },
        { "currentMek: a\n", "needs" },
        { "currentMek: a\nmeks: {}\n", "needs" },
        { "currentMek: b\nmeks:\n  a: " JWK_A "\n", "line 1: currentMek names none" },
        { "currentMek: a\nmeks:\n  a: secret-words-that-must-not-be-quoted!\n", "line 3: master key a is not base64" },
        { "currentMek: a\nmeks:\n  a: c2VjcmV0IHdvcmRzIHRoYXQgbXVzdCBub3QgYmUgcXVvdGVk\n",
          "line 3: master key a: it is not the base64 of a JWK" },
        { "currentMek: a\nmeks:\n  a: " JWK_RSA "\n", "oct" },
        { "currentMek: a\nmeks:\n  a: [" JWK_A "]\n", "master key a" },
        { "currentMek: [a\n", "line" },
    };
    (void)url;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *dir = new_dir(), *file = str_printf("%s/keys.yaml", dir);
        struct house h;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_OK(file_write_atomic(file, cases[i].text, strlen(cases[i].text), 0600, false, &err), &err);
        CHECK(house_open(&h, s, dir, file, &err) < 0);
        CHECK_CONTAINS(err.text, cases[i].part);
        CHECK_CONTAINS(err.text, file);
        CHECK(!strstr(err.text, "secret") && !strstr(err.text, "c2VjcmV0") && !strstr(err.text, "QUFB"));
        CHECK(h.e.vault == NULL);
        house_close(&h);
    }
    struct house h;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(house_open(&h, s, fixture_dir(), "/nonexistent/keys.yaml", &err), OSMO_ENOTFOUND);
    CHECK_CONTAINS(err.text, "/nonexistent/keys.yaml");
    house_close(&h);
}

/* Of two directories of one database only the one with its master key opens. */
static void foreign_directory(store_t *s, const char *url) {
    _cleanup_free_ char *first = new_dir(), *second = new_dir();
    struct house h, other;
    osmo_error_t err = OSMO_ERROR_INIT;
    (void)url;
    CHECK_OK(house_open(&h, s, first, NULL, &err), &err);
    CHECK_INT(house_open(&other, s, second, NULL, &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "--master-key FILE");
    CHECK(!file_exists(other.file)); /* nothing that would be in the way of the right one */
    house_close(&other);
    static const char wrong[] = "currentMek: a\nmeks:\n  a: " JWK_A "\n";
    _cleanup_free_ char *file = str_printf("%s/wrong.yaml", second);
    CHECK_OK(file_write_atomic(file, wrong, sizeof wrong - 1, 0600, false, &err), &err);
    CHECK_INT(house_open(&other, s, second, file, &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "wrong.yaml does not have");
    house_close(&other);
    /* the same name, another key */
    _cleanup_free_ char *impostor = str_printf("currentMek: %s\nmeks:\n  %s: " JWK_A "\n", h.e.vault->ring->keys[0].kid,
                                               h.e.vault->ring->keys[0].kid);
    CHECK_OK(file_write_atomic(file, impostor, strlen(impostor), 0600, false, &err), &err);
    CHECK_INT(house_open(&other, s, second, file, &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "is another one than");
    house_close(&other);
    CHECK_OK(house_open(&other, s, second, h.file, &err), &err);
    _cleanup_free_ char *a = seal_for(&h.e, "maya", "blue");
    CHECK_INT(open_for(&other.e, "maya", a, "blue", &err), 0);
    house_close(&other);
    house_close(&h);
}

/* ---- rotation ---- */

#define USERS 70

static void user_name(size_t i, char out[32]) { snprintf(out, 32, "user-%03zu", i); }

static size_t under(store_t *s, const char *kid) {
    struct user_key_row *rows = NULL;
    size_t n = 0, found = 0;
    db_t *db;
    char have[SEAL_KID_MAX];
    if (store_reader(s, &db, NULL) < 0 || repo_user_keys(db, NULL, &rows, &n, NULL) < 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        found += sealed_kid(rows[i].sealed, strlen(rows[i].sealed), have, NULL) == 0 && str_eq(have, kid);
    user_key_rows_free(rows, n);
    return found;
}

static void check_all(struct house *h, char *const sealed[USERS]) {
    osmo_error_t err = OSMO_ERROR_INIT;
    for (size_t i = 0; i < USERS; i++) {
        char user[32];
        user_name(i, user);
        CHECK_OK(open_for(&h->e, user, sealed[i], user, &err), &err);
    }
}

/* Keeps the current key only, as an operator would. */
static void forget_old_keys(struct house *h) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct master_ring *ring = calloc(1, sizeof *ring);
    CHECK_OK(master_file_read(h->file, ring, &err), &err);
    _cleanup_buf_ buf_t jwk = BUF_SECRET(4096), text = BUF_SECRET(1u << 16);
    CHECK_OK(seal_key_write(&ring->keys[ring->current], &jwk, &err), &err);
    buf_printf(&text, "currentMek: '%s'\nmeks:\n  '%s': ", ring->keys[ring->current].kid, ring->keys[ring->current].kid);
    crypto_base64(jwk.data, jwk.len, &text);
    CHECK_OK(file_write_atomic(h->file, text.data, text.len, 0600, false, &err), &err);
    free(ring);
}

/* It ends before every piece there is, each time in another process as it were, and goes on. */
static void rotation_in_pieces(store_t *s, const char *url) {
    _cleanup_free_ char *dir = new_dir();
    struct house h;
    osmo_error_t err = OSMO_ERROR_INIT;
    strlist_t left = { 0 };
    char *sealed[USERS], first[SEAL_KID_MAX];
    int rc = -1, stops = 0;
    (void)url;
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
    for (size_t i = 0; i < USERS; i++) {
        char user[32];
        user_name(i, user);
        sealed[i] = seal_for(&h.e, user, user);
    }
    _cleanup_buf_ buf_t service = BUF_INIT(1u << 16), plain = BUF_SECRET(1u << 16);
    CHECK_OK(vault_seal(&h.e, "service", 7, &service, &err), &err);
    strcpy(first, h.e.vault->ring->keys[0].kid);
    CHECK_INT(under(s, first), USERS);
    /* an operator names another key; what was begun goes to that one, however often it ends */
    CHECK_OK(master_file_add(h.file, h.e.vault->ring, &err), &err);
    for (unsigned stop = 1; rc < 0 && stop < 20; stop++) {
        vault_rotate_pieces(stop);
        rc = vault_rotate(&h.e, &left, &err);
        vault_rotate_pieces(0);
        stops += rc < 0;
        house_close(&h);
        CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
        check_all(&h, sealed);
    }
    CHECK(stops >= 3);
    CHECK_INT(rc, 0);
    CHECK_INT(left.len, 0);
    CHECK_INT(under(s, first), 0);
    CHECK_INT(h.e.vault->ring->n, 2); /* no further key on the way */
    CHECK_INT(under(s, h.e.vault->ring->keys[1].kid), USERS);
    CHECK_OK(vault_unseal(&h.e, service.data, service.len, &plain, &err), &err); /* not in a row: by its old key */
    forget_old_keys(&h);
    house_close(&h);
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
    check_all(&h, sealed);
    CHECK_INT(vault_unseal(&h.e, service.data, service.len, &plain, &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "put that key back");
    for (size_t i = 0; i < USERS; i++)
        free(sealed[i]);
    house_close(&h);
}

/* Without a word from the operator: the service makes a key in its own file, and asks for one in another's. */
static void whose_file(store_t *s, const char *url) {
    _cleanup_free_ char *dir = new_dir(), *file = NULL;
    struct house h;
    osmo_error_t err = OSMO_ERROR_INIT;
    strlist_t left = { 0 };
    (void)url;
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
    _cleanup_free_ char *a = seal_for(&h.e, "maya", "blue");
    CHECK_OK(vault_rotate(&h.e, &left, &err), &err);
    CHECK_INT(h.e.vault->ring->n, 2);
    CHECK_INT(under(s, h.e.vault->ring->keys[1].kid), 1);
    CHECK_INT(open_for(&h.e, "maya", a, "blue", &err), 0);
    file = strdup(h.file);
    house_close(&h);
    CHECK_OK(house_open(&h, s, dir, file, &err), &err);
    CHECK_INT(vault_rotate(&h.e, &left, &err), OSMO_ECONFLICT);
    CHECK_CONTAINS(err.text, file);
    house_close(&h);
}

struct row_change { const char *user, *sealed; };

static int change_fn(db_t *db, void *ctx, osmo_error_t *err) {
    const struct row_change *c = ctx;
    struct user_key_row *rows = NULL;
    size_t n = 0;
    int rc = repo_user_keys(db, c->user, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        struct user_key_row row = rows[i];
        row.sealed = (char *)c->sealed;
        rc = repo_user_key_put(db, &row, err);
    }
    user_key_rows_free(rows, n);
    return rc;
}

static char *row_of(store_t *s, const char *user) {
    struct user_key_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    if (store_reader(s, &db, NULL) < 0 || repo_user_keys(db, user, &rows, &n, NULL) < 0)
        return NULL;
    char *text = n ? strdup(rows[0].sealed) : NULL;
    user_key_rows_free(rows, n);
    return text;
}

/* One row is damaged, one has the key of another user: both are named, stay as they are, and the others are wrapped. */
static void damaged_rows(store_t *s, const char *url) {
    _cleanup_free_ char *dir = new_dir();
    struct house h;
    osmo_error_t err = OSMO_ERROR_INIT;
    strlist_t left = { 0 };
    (void)url;
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
    _cleanup_free_ char *a = seal_for(&h.e, "maya", "blue"), *b = seal_for(&h.e, "tom", "red"), *c = seal_for(&h.e, "ann", "green");
    _cleanup_free_ char *broken = row_of(s, "maya"), *foreign = row_of(s, "tom");
    REQUIRE(a && b && c && broken && foreign);
    char *last = broken + strlen(broken) - 5;
    *last = *last == 'A' ? 'B' : 'A';
    CHECK_OK(store_write(s, NULL, change_fn, &(struct row_change){ "maya", broken }, &err), &err);
    CHECK_OK(store_write(s, NULL, change_fn, &(struct row_change){ "ann", foreign }, &err), &err);
    house_close(&h);
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
    CHECK_INT(open_for(&h.e, "maya", a, "blue", &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "of user maya cannot be opened");
    CHECK_INT(open_for(&h.e, "ann", c, "green", &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "the key of another one");
    CHECK_OK(vault_rotate(&h.e, &left, &err), &err);
    CHECK_INT(left.len, 1);
    CHECK_CONTAINS(left.len ? left.items[0] : "", "of user maya: the sealed text was changed");
    CHECK_INT(open_for(&h.e, "tom", b, "red", &err), 0);
    _cleanup_free_ char *after = row_of(s, "maya");
    CHECK_STR(after, broken);
    strlist_free(&left);
    house_close(&h);
}

/* Users come and use their secrets while a rotation after the other runs. */
struct traffic { struct house *h; _Atomic bool stop; _Atomic size_t done, failed; };

static void *use(void *arg) {
    struct traffic *t = arg;
    osmo_error_t err = OSMO_ERROR_INIT;
    for (size_t i = 0; !t->stop && i < 500; i++) {
        char user[32];
        user_name(i, user);
        struct sealing s = { &t->h->e, user, user, BUF_INIT(1u << 20) };
        if (store_write(t->h->e.store, NULL, seal_fn, &s, &err) < 0 || open_for(&t->h->e, user, buf_cstr(&s.out), user, &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            t->failed++;
        }
        buf_free(&s.out);
        t->done++;
    }
    return NULL;
}

static void rotation_under_load(store_t *s, const char *url) {
    _cleanup_free_ char *dir = new_dir();
    struct house h;
    osmo_error_t err = OSMO_ERROR_INIT;
    strlist_t left = { 0 };
    pthread_t thread;
    (void)url;
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
    struct traffic t = { .h = &h };
    REQUIRE(pthread_create(&thread, NULL, use, &t) == 0);
    for (int i = 0; i < 8; i++) {
        CHECK_OK(vault_rotate(&h.e, &left, &err), &err);
        CHECK_INT(left.len, 0);
    }
    t.stop = true;
    pthread_join(thread, NULL);
    CHECK_INT(t.failed, 0);
    CHECK_INT(under(s, h.e.vault->ring->keys[h.e.vault->ring->current].kid), t.done);
    house_close(&h);
}

/* Two services with a copy of the file each: the new key is in the one first, and in the other before it is used there. */
static void two_copies(store_t *s, const char *url) {
    _cleanup_free_ char *d1 = new_dir(), *d2 = new_dir(), *f2 = str_printf("%s/master-key.yaml", d2);
    struct house a, b;
    osmo_error_t err = OSMO_ERROR_INIT;
    strlist_t left = { 0 };
    (void)url;
    CHECK_OK(house_open(&a, s, d1, NULL, &err), &err);
    CHECK_OK(file_copy(a.file, f2, 0600, &err), &err);
    CHECK_OK(house_open(&b, s, d2, NULL, &err), &err);
    _cleanup_free_ char *one = seal_for(&a.e, "maya", "blue");
    CHECK_OK(vault_rotate(&a.e, &left, &err), &err);
    CHECK_INT(open_for(&b.e, "maya", one, "blue", &err), OSMO_EDENIED); /* it has the old file only */
    CHECK_CONTAINS(err.text, d2);
    CHECK_OK(file_copy(a.file, f2, 0600, &err), &err);
    CHECK_INT(open_for(&b.e, "maya", one, "blue", &err), 0); /* looks into it without being told */
    _cleanup_free_ char *two = seal_for(&b.e, "tom", "red");
    CHECK_INT(under(s, a.e.vault->ring->keys[1].kid), 2); /* the same current key there */
    CHECK_INT(open_for(&a.e, "tom", two, "red", &err), 0);
    house_close(&a);
    house_close(&b);
}

/* ---- memory ---- */

static bool dumped(const void *p) {
    _cleanup_fclose_ FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool here = false, answer = true;
    while (f && fgets(line, sizeof line, f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = (unsigned long)p >= from && (unsigned long)p < to;
        else if (here && !strncmp(line, "VmFlags:", 8))
            answer = !strstr(line, " dd");
    }
    return answer;
}

static void memory(store_t *s, const char *url) {
    _cleanup_free_ char *dir = new_dir();
    struct house h;
    osmo_error_t err = OSMO_ERROR_INIT;
    (void)url;
    CHECK_OK(house_open(&h, s, dir, NULL, &err), &err);
    CHECK(dumped(&h));
    CHECK(!dumped(h.e.vault->ring) && !dumped(h.e.vault->users));
    house_close(&h);
}

#define EACH(name) static void each_##name(void) { fixture_each(name); }
EACH(sealing) EACH(many_users) EACH(good_files) EACH(bad_files) EACH(foreign_directory) EACH(rotation_in_pieces) EACH(whose_file)
EACH(damaged_rows) EACH(rotation_under_load) EACH(two_copies) EACH(memory)

static const struct check_test tests[] = {
    { "sealing and opening", each_sealing },
    { "more users than memory keeps", each_many_users },
    { "master key files as they come", each_good_files },
    { "master key files that are wrong", each_bad_files },
    { "the directory of another database", each_foreign_directory },
    { "rotation that ends at every piece", each_rotation_in_pieces },
    { "who makes the new key", each_whose_file },
    { "damaged rows", each_damaged_rows },
    { "rotation under load", each_rotation_under_load },
    { "two copies of the file", each_two_copies },
    { "keys are in no core file", each_memory },
};
TEST_MAIN("vault", tests)
