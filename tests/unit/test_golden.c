/* Accepted specifications against golden files: tests/golden/specs/NAME.yaml gives expected/NAME.normal.yaml, the normalised
 * document, and expected/NAME.pods.json, the objects of every group with sorted keys. OSMO_REGEN=1 rewrites them; read
 * the difference before keeping it. test_pods.c states what must be in them. */
#include <dirent.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "check.h"
#include "golden_fixture.h"

#define SPECS_MIN 45

/* Where two texts part, as a line number. */
static size_t first_difference(const char *a, const char *b)
{
    size_t line = 1;
    for (; *a && *a == *b; a++, b++)
        line += *a == '\n';
    return line;
}

static void check_file(const char *name, const char *suffix, const char *got)
{
    _cleanup_free_ char *path = golden_path("expected/%s.%s", name, suffix);
    REQUIRE(path != NULL);
    if (getenv("OSMO_REGEN")) {
        FILE *f = fopen(path, "we");
        REQUIRE(f != NULL);
        fputs(got, f);
        CHECK_INT(fclose(f), 0);
        return;
    }
    _cleanup_free_ char *want = golden_read(path, NULL);
    bool same = want && strcmp(got, want) == 0;
    if (!same)
        fprintf(stderr, "%s: %s\n", path, want ? "differs" : "is missing");
    if (want && !same)
        fprintf(stderr, "  from line %zu on; OSMO_REGEN=1 rewrites it\n", first_difference(got, want));
    CHECK(same);
}

/* The stored document reads back as itself. */
static void check_stable(const struct golden *g, const json_t *normal)
{
    _cleanup_buf_ buf_t text = BUF_INIT(64u << 20);
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    _cleanup_json_ json_t *again = NULL;
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    struct spec *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    CHECK_INT(yaml_emit(normal, &text), 0);
    CHECK_OK(yaml_parse(buf_cstr(&text), text.len, &limits, &doc, &err), &err);
    int rc = doc ? spec_parse(yaml_get(doc, "workflow"), g->settings, &s, &err) : -1;
    CHECK_OK(rc, &err);
    if (rc == 0)
        CHECK_OK(spec_resolve(s, g->settings, g->pool, &err), &err);
    again = s ? spec_to_json(s) : NULL;
    CHECK(json_equal(normal, again));
    spec_free(s);
}

static void check_spec(const char *file)
{
    _cleanup_free_ char *path = golden_path("specs/%s", file);
    _cleanup_free_ char *name = strndup(file, strlen(file) - strlen(".yaml"));
    size_t len = 0;
    _cleanup_free_ char *text = path ? golden_read(path, &len) : NULL;
    _cleanup_json_ json_t *normal = NULL;
    _cleanup_json_ json_t *sorted = NULL;
    _cleanup_json_ json_t *objects = NULL;
    _cleanup_buf_ buf_t yaml = BUF_INIT(64u << 20), pods = BUF_INIT(64u << 20);
    struct golden g;

    REQUIRE(text && name);
    golden_build(&g, text, len);
    if (g.rc < 0)
        fprintf(stderr, "%s:\n", path);
    CHECK_OK(g.rc, &g.err);
    if (g.rc == 0) {
        normal = spec_to_json(g.spec);
        CHECK_INT(json_sort_keys(normal, &sorted), 0);
        CHECK_INT(json_sort_keys(g.groups, &objects), 0);
        CHECK_INT(yaml_emit(sorted, &yaml), 0);
        CHECK_INT(json_print(objects, 1, &pods), 0);
        buf_putc(&pods, '\n');
        check_file(name, "normal.yaml", buf_cstr(&yaml));
        check_file(name, "pods.json", buf_cstr(&pods));
        check_stable(&g, normal);
    }
    golden_free(&g);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the files ending in .yaml, sorted. */
static void list_specs(const char *dir, strlist_t *names)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        if (str_ends(e->d_name, ".yaml"))
            CHECK_INT(strlist_add(names, e->d_name), 0);
    if (d)
        closedir(d);
    if (names->len > 1)
        qsort(names->items, names->len, sizeof(*names->items), by_name);
}

static void test_specs(void)
{
    _cleanup_free_ char *dir = golden_path("specs");
    strlist_t names = { 0 };

    REQUIRE(dir != NULL);
    list_specs(dir, &names);
    CHECK(names.len >= SPECS_MIN);
    for (size_t i = 0; i < names.len; i++)
        check_spec(names.items[i]);
    strlist_free(&names);
}

/* What the tutorial specifications need beside the pool `tutorial`. */
static const char tutorial_options[] = "# golden: pool=tutorial\n# golden: credentials=yes\n"
    "# golden: set=storage_url=s3://bkt/in\n";

/* The specifications of OSMO's tutorials, where a directory of them is given. */
static void test_tutorials(void)
{
    const char *dir = getenv("OSMO_TUTORIAL_SPECS");
    strlist_t names = { 0 };

    if (!dir || !*dir)
        return;
    list_specs(dir, &names);
    CHECK(names.len > 0);
    for (size_t i = 0; i < names.len; i++) {
        _cleanup_free_ char *path = str_printf("%s/%s", dir, names.items[i]);
        _cleanup_free_ char *text = path ? golden_read(path, NULL) : NULL;
        _cleanup_free_ char *whole = text ? str_printf("%s%s", tutorial_options, text) : NULL;
        struct golden g;
        CHECK(whole != NULL);
        if (!whole)
            continue;
        golden_build(&g, whole, strlen(whole));
        if (g.rc < 0)
            fprintf(stderr, "%s:\n", path);
        CHECK_OK(g.rc, &g.err);
        golden_free(&g);
    }
    strlist_free(&names);
}

static const struct check_test tests[] = {
    { "specifications", test_specs }, { "tutorials", test_tutorials },
};
TEST_MAIN("golden", tests)
