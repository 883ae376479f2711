/* The supervisor's path work: resolution inside a root, and mount points that cannot lead out of a volume. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "check.h"
#include "supervisor.h"

static char dir[64];

static const char *at(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s%s", dir, name);
    return path;
}

static void test_resolve(void)
{
    static const struct { const char *path, *want, *missing; } cases[] = {
        {"/etc", "/etc", NULL}, {"/bin/x", "/usr/bin/x", "/x"}, {"/abs/q/r", "/etc/q/r", "/q/r"}, {"/", "/", NULL},
        {"/usr/../etc/./n", "/etc/n", "/n"}, {"/none/a", "/none/a", "/none/a"}, {"/out/passwd", "/passwd", "/passwd"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[PATH_MAX], *missing;
        CHECK_INT(root_resolve(dir, cases[i].path, out, &missing), 0);
        CHECK_STR(out, cases[i].want);
        CHECK_STR(missing, cases[i].missing);
    }
    char out[PATH_MAX], *missing;
    CHECK(root_resolve(dir, "/loop/x", out, &missing) < 0);
}

static void test_sub_path_stays_inside(void)
{
    static const char *const bad[] = {"../x", "escape/passwd", "a/../../x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        char *source = str_dup(dir), *sub = str_dup(bad[i]), target[] = "/t";
        struct mount m = {.source = source, .sub = sub, .target = target, .fd = -1};
        struct container c = {.mounts = &m, .nmounts = 1};
        CHECK(mounts_open(&c, 0, &err) < 0);
        mounts_close(&c);
        free(source), free(sub);
    }
}

static const struct check_test tests[] = { { "resolve", test_resolve },
                                           { "subPath stays inside", test_sub_path_stays_inside } };

int main(int argc, char **argv)
{
    static const char *const dirs[] = {"/etc", "/usr/bin"};
    strcpy(dir, "/tmp/test_supervisor.XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    for (size_t i = 0; i < 2; i++)
        if (dir_make(at(dirs[i]), 0755, NULL) < 0)
            return 1;
    if (symlink("usr/bin", at("/bin")) || symlink("/etc", at("/abs")) || symlink("../../..", at("/out")) ||
        symlink("loop", at("/loop")) || symlink("/etc", at("/escape")))
        return 1;
    int rc = check_main("supervisor", tests, 2, argc, argv);
    dir_remove_tree(dir, NULL);
    return rc;
}
