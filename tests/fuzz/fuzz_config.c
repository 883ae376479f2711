/* Fuzz entry: changes of the configuration. The first line is what there is (pools by name), the second a change that is laid over one of
 * them, or new pools. A change never touches what it is made from, and what is made of pools is either refused or read as settings. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/pool_config.h"
#include "model/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lay_over(const json_t *base, const json_t *patch) {
    json_t *out = NULL, *again = NULL;
    char *before = json_to_text(base), *after;
    int rc = config_patch(base, patch, &out, NULL);
    if (rc < 0 && out)
        abort();
    after = json_to_text(base);
    if (!before || !after || strcmp(before, after))
        abort();
    json_t *none = json_object();
    if (json_kind(base) == JSON_OBJECT && (config_patch(base, none, &again, NULL) < 0 || !json_equal(base, again)))
        abort();
    json_free(none);
    json_free(again);
    json_free(out);
    free(before);
    free(after);
}

static void as_settings(json_t *pools) {
    struct settings *s = NULL;
    json_t *whole = json_object();
    if (json_set(whole, "pools", json_ref(pools)) >= 0 && settings_from_json(whole, "the configuration", &s, NULL) >= 0) {
        if (s->npools != json_len(pools))
            abort();
        settings_free(s);
    }
    json_free(whole);
}

static void change_pools(const json_t *base, const json_t *change) {
    json_iter_t it = json_iter(base);
    const char *first = json_iter_next(&it) ? it.key : "pool";
    const struct pool_edit edits[] = {
        { .kind = POOLS_PUT, .document = change },
        { .kind = POOL_PATCH, .pool = first, .document = change },
        { .kind = PLATFORM_PUT, .pool = first, .platform = "default", .document = change },
        { .kind = PLATFORM_RENAME, .pool = first, .platform = "default", .new_name = "other" },
        { .kind = POOL_RENAME, .pool = first, .new_name = "other" },
        { .kind = POOL_DELETE, .pool = first },
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        json_t *pools = json_copy(base);
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = pools_edit(pools, &edits[i], &err);
        if (rc >= 0)
            as_settings(pools);
        else if (!err.text[0])
            abort();
        json_free(pools);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *nl = size ? memchr(text, '\n', size) : NULL;
    json_t *base = NULL, *change = NULL;
    if (!nl || json_parse(text, (size_t)(nl - text), &base, NULL) < 0 ||
        json_parse(nl + 1, size - (size_t)(nl - text) - 1, &change, NULL) < 0) {
        json_free(base);
        return 0;
    }
    lay_over(base, change);
    if (json_kind(base) == JSON_OBJECT && json_kind(change) == JSON_OBJECT) {
        struct pool_edit all = { .kind = POOLS_PUT, .document = base };
        json_t *pools = json_object();
        if (pools_edit(pools, &all, NULL) >= 0)
            change_pools(pools, change);
        json_free(pools);
    }
    json_free(base);
    json_free(change);
    return 0;
}
