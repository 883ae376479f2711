/* workflow tag: the tags of this installation, and those of workflows. */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli.h"

static int show_tags(struct api *a, bool as_json) {
    json_t *answer = NULL;
    int code = api_call(a, "GET", "/api/tag", NULL, &answer);
    const json_t *tags = json_get(answer, "tags");
    if (!code && as_json) {
        print_json(answer, 2);
    } else if (!code) {
        for (size_t i = 0; i < json_len(tags); i++)
            puts(json_str(json_at(tags, i)));
        if (!json_len(tags))
            puts("No tags are configured; an administrator lists them in workflow.workflow_info.tags.");
    }
    json_free(answer);
    return code;
}

/* A refused workflow does not keep the others from being tagged. */
static int change_tags(struct api *a, const strlist_t *ids, const strlist_t *add, const strlist_t *remove) {
    int result = 0;
    for (size_t i = 0; i < ids->len; i++) {
        _cleanup_free_ char *base = workflow_path(ids->items[i], "/tag");
        buf_t path = BUF_INIT(1u << 20);
        json_t *answer = NULL;
        buf_puts(&path, base ? base : "");
        query_add_all(&path, "add", add);
        query_add_all(&path, "remove", remove);
        int code = api_call(a, "POST", buf_cstr(&path), NULL, &answer);
        if (!code)
            printf("Tags of workflow %s are changed.\n", ids->items[i]);
        result = result ? result : code;
        json_free(answer);
        buf_free(&path);
    }
    return result;
}

int cmd_tag(int argc, char **argv) {
    strlist_t ids = { 0 }, add = { 0 }, remove = { 0 };
    const char *format = "text";
    const struct opt opts[] = { { "--workflow -w", OPT_LIST, &ids, "ID", "workflows to tag; without, the tags that there are", NULL },
                                { "--add -a", OPT_LIST, &add, "TAG", "tags to add", NULL },
                                { "--remove -r", OPT_LIST, &remove, "TAG", "tags to remove", NULL },
                                FORMAT_OPTION(&format) };
    const struct usage u = { "workflow tag", "Show the tags of this installation, or change those of workflows.", opts, 4, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && !ids.len && add.len + remove.len)
        code = opt_error(&u, "--add and --remove need --workflow");
    if (code < 0 && ids.len && !(add.len + remove.len))
        code = opt_error(&u, "--workflow needs --add or --remove");
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        code = ids.len ? change_tags(&a, &ids, &add, &remove) : show_tags(&a, str_eq(format, "json"));
        api_close(&a);
    }
    strlist_free(&ids);
    strlist_free(&add);
    strlist_free(&remove);
    return code;
}
