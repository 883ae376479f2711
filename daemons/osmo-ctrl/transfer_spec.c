/* The words of -inputs and -outputs; see transfer.h. Pure. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "transfer.h"

/* Up to the next comma, which becomes an end; NULL without one. */
static char *cut(char *at) {
    char *comma = strchr(at, ',');
    if (!comma)
        return NULL;
    *comma = '\0';
    return comma + 1;
}

static int fault(const char *arg, bool input, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUSER, "cannot understand -%s %s", input ? "inputs" : "outputs", arg);
}

/* What is handed on between tasks lies where the service says. Addresses of users are of object storage: not of files, which would be
 * those of this container, and not of the service, which would be given the task's token. */
static int check_place(const struct transfer_spec *s, osmo_error_t *err) {
    if (s->uri.scheme == DATA_FILE || (s->uri.scheme == DATA_SERVICE && s->kind == TRANSFER_URL))
        return osmo_error_set(err, OSMO_EUSER, "%s cannot be used by a task: only s3, gs, azure, swift and tos addresses can", s->url);
    return 0;
}

int transfer_spec_parse(const char *arg, bool input, struct transfer_spec *out, osmo_error_t *err) {
    static const struct { const char *word; enum transfer_kind kind; bool in, out; } kinds[] = {
        { "task:", TRANSFER_TASK, true, true }, { "url:", TRANSFER_URL, true, true }, { "kpi:", TRANSFER_KPI, false, true } };
    size_t k = 0;
    *out = (struct transfer_spec){ .index = -1, .rest = "" };
    while (k < ARRAY_SIZE(kinds) && (!str_starts(arg, kinds[k].word) || !(input ? kinds[k].in : kinds[k].out)))
        k++;
    if (k == ARRAY_SIZE(kinds))
        return fault(arg, input, err);
    out->kind = kinds[k].kind;
    out->text = strdup(arg + strlen(kinds[k].word));
    if (!out->text)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    char *at = out->text, *next = at;
    if (input && (!(next = cut(at)) || !str_to_i64(at, &out->index) || out->index < 0))
        return fault(arg, input, err);
    out->url = next;
    if (input || out->kind != TRANSFER_TASK)
        next = cut(out->url);
    else
        next = NULL;
    out->rest = next ? next : "";
    if (!*out->url || (out->kind == TRANSFER_KPI && !*out->rest))
        return fault(arg, input, err);
    int rc = data_uri_parse(out->url, &out->uri, err);
    return rc < 0 ? rc : check_place(out, err);
}

void transfer_spec_clear(struct transfer_spec *s) {
    data_uri_clear(&s->uri);
    free(s->text);
    *s = (struct transfer_spec){ .index = -1 };
}

char *transfer_kpi_root(const char *url, const char *path) {
    char *root = strdup(url);
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0, len = strlen(url);
    if (root && n && len > n && url[len - n - 1] == '/' && memcmp(url + len - n, path, n) == 0)
        root[len - n - 1] = '\0';
    return root;
}
