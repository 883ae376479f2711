/* Lists that come in pages: asked for until there are as many rows as wanted. Used by the commands that list. */
#include "base/cleanup.h"
#include "cli.h"

int list_fetch(struct api *a, const struct list_source *from, int64_t count, int64_t offset, json_t *rows) {
    for (int64_t left = count;;) {
        int64_t limit = left > LIST_PAGE_MAX ? LIST_PAGE_MAX : left;
        _cleanup_free_ char *path = NULL;
        json_t *page = NULL;
        int code = from->path(from->listing, limit, offset, &path);
        if (!code)
            code = api_call(a, "GET", path, NULL, &page);
        const json_t *items = json_get(page, from->member);
        int64_t n = (int64_t)json_len(items);
        for (int64_t i = 0; !code && i < n; i++)
            json_add(rows, json_ref(json_at(items, (size_t)i)));
        json_free(page);
        left -= n;
        offset += n;
        if (code || n < limit || left <= 0)
            return code;
    }
}
