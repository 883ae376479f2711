/* Inputs in, outputs out. Grammar of -inputs and -outputs: see parse_spec. A transfer that is not complete fails the
 * task and names the file. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "ctrl.h"
#include "data/storage_client.h"

/* task:<index>,<url>,<regex> | url:<index>,<url>,<regex> | task:<url> | url:<url>,<regex> | kpi:<url>,<path> */
struct spec { char *text, *kind, *a, *b, *c; };

/* Split on the first colon, then into at most `fields` comma fields. */
static bool parse_spec(const char *arg, int fields, struct spec *s) {
    *s = (struct spec){ .text = strdup(arg) };
    char *colon = s->text ? strchr(s->text, ':') : NULL;
    if (!colon)
        return false;
    *colon = '\0';
    s->kind = s->text;
    char **slots[] = { &s->a, &s->b, &s->c };
    char *at = colon + 1;
    for (int i = 0; i < fields; i++) {
        *slots[i] = at;
        char *comma = i + 1 < fields ? strchr(at, ',') : NULL;
        if (!comma)
            break;
        *comma = '\0';
        at = comma + 1;
    }
    return true;
}

static char *bearer(void *ctx) { return token_bearer(((struct ctrl *)ctx)->token, NULL, NULL); }

static void left_out(void *ctx, const char *path, const char *why) {
    ctrl_say(ctx, IO_UPLOAD, "%s is not uploaded: %s", path, why);
}

static int open_client(struct ctrl *c, storage_client_t **client, osmo_error_t *err) {
    const char *roots[] = { c->o.output_path, *c->o.input_path ? c->o.input_path : NULL, NULL };
    struct storage_options o = {
        .authorization = bearer, .left_out = left_out, .ctx = c, .retry_for_ms = c->o.data_timeout_min * 60000
    };
    memcpy(c->link_roots, roots, sizeof roots);
    o.link_roots = c->link_roots;
    return storage_client_new(&o, client, err);
}

static void metric(struct ctrl *c, const char *which, int64_t from_us, int64_t to_us) {
    char text[TIME_TEXT_MAX];
    json_t *m = json_object();
    json_set_str(m, "retry_id", c->o.retry_id);
    time_iso(from_us, text);
    if (strchr(text, 'T'))
        *strchr(text, 'T') = ' ';
    json_set_str(m, "start_time", text);
    time_iso(to_us, text);
    if (strchr(text, 'T'))
        *strchr(text, 'T') = ' ';
    json_set_str(m, "end_time", text);
    json_set_str(m, "type_of_metrics", which);
    logger_link_metric(c->link, "group_metrics", m);
}

static int fetch_input(struct ctrl *c, storage_client_t **client, const char *arg) {
    struct spec s;
    int64_t index;
    osmo_error_t err = OSMO_ERROR_INIT;
    int code = CTRL_OK;
    if (!parse_spec(arg, 3, &s) || !s.b || !str_to_i64(s.a, &index)) {
        ctrl_say(c, IO_OSMO_CTRL, "cannot understand -inputs %s", arg);
        free(s.text);
        return CTRL_ARGUMENT;
    }
    _cleanup_free_ char *folder = str_printf("%s%lld", c->o.input_path, (long long)index);
    if (!folder || dir_make(folder, 0777, &err)) {
        ctrl_say(c, IO_OSMO_CTRL, "%s", err.text);
        code = CTRL_FILE;
    } else if (!storage_is_url(s.b)) {
        ctrl_say(c, IO_OSMO_CTRL, "cannot read %s: this runtime has no object storage client", s.b);
        code = CTRL_ACCESS;
    } else {
        struct storage_totals totals = { 0 };
        ctrl_say(c, IO_DOWNLOAD, "Downloading {{input:%lld}}", (long long)index);
        int rc = *client ? 0 : open_client(c, client, &err);
        if (!rc)
            rc = storage_download(*client, s.b, s.c ? s.c : "", folder, &totals, &err);
        if (rc) {
            ctrl_say(c, IO_DOWNLOAD, "download of {{input:%lld}} failed: %s", (long long)index, err.text);
            code = CTRL_DOWNLOAD;
        } else {
            ctrl_say(c, IO_DOWNLOAD, "Downloaded %llu files, %llu bytes to {{input:%lld}}%s",
                     (unsigned long long)totals.files, (unsigned long long)totals.bytes, (long long)index,
                     totals.files ? "" : " (nothing was there)");
        }
    }
    free(s.text);
    return code;
}

int transfer_inputs(struct ctrl *c) {
    if (!c->o.inputs.len)
        return CTRL_OK;
    int64_t from = clock_now_us();
    storage_client_t *client = NULL;
    int code = CTRL_OK;
    for (size_t i = 0; !code && i < c->o.inputs.len; i++)
        code = fetch_input(c, &client, c->o.inputs.items[i]);
    storage_client_free(client);
    if (!code)
        ctrl_say(c, IO_DOWNLOAD, "All inputs gathered");
    metric(c, "input_download", from, clock_now_us());
    return code;
}

static bool output_is_empty(const char *dir) {
    DIR *d = opendir(dir);
    bool empty = true;
    struct dirent *e;
    while (d && (e = readdir(d)))
        empty = empty && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
    if (d)
        closedir(d);
    return empty;
}

/* A KPI's URL is <prefix>/<workflow>/<task>[/<directory of path>]: the root is what remains without the directory. */
static char *kpi_root(const char *url, const char *path) {
    char *root = strdup(url);
    const char *slash = strrchr(path, '/');
    if (root && slash) {
        _cleanup_free_ char *dir = strndup(path, (size_t)(slash - path));
        if (dir && str_ends(root, dir) && strlen(root) > strlen(dir))
            root[strlen(root) - strlen(dir) - 1] = '\0';
    }
    return root;
}

static int send_output(struct ctrl *c, storage_client_t **client, const char *arg, bool *whole_sent) {
    struct spec s;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!parse_spec(arg, str_starts(arg, "task:") ? 1 : 2, &s) || !s.a) {
        ctrl_say(c, IO_OSMO_CTRL, "cannot understand -outputs %s", arg);
        free(s.text);
        return CTRL_ARGUMENT;
    }
    bool kpi = strcmp(s.kind, "kpi") == 0, task = strcmp(s.kind, "task") == 0;
    int code = CTRL_OK;
    if (!storage_is_url(s.a)) {
        ctrl_say(c, IO_OSMO_CTRL, "cannot write %s: this runtime has no object storage client", s.a);
        code = CTRL_ACCESS;
    } else if (!(kpi && *whole_sent)) { /* a KPI lies inside the task's output: when that was sent as a whole, so was
                                           the KPI */
        struct storage_totals totals = { 0 };
        _cleanup_free_ char *root = kpi && s.b ? kpi_root(s.a, s.b) : strdup(s.a);
        int rc = *client ? 0 : open_client(c, client, &err);
        if (!rc && root)
            rc = storage_upload(*client, root, !kpi && !task && s.b ? s.b : "", c->o.output_path, kpi ? s.b : NULL,
                                &totals, &err);
        if (rc) {
            ctrl_say(c, IO_UPLOAD, "upload failed: %s", err.text);
            code = CTRL_UPLOAD;
        } else {
            ctrl_say(c, IO_UPLOAD, "Uploaded %llu files, %llu bytes", (unsigned long long)totals.files,
                     (unsigned long long)totals.bytes);
            *whole_sent = *whole_sent || task;
        }
    }
    free(s.text);
    return code;
}

int transfer_outputs(struct ctrl *c) {
    if (!c->o.outputs.len || output_is_empty(c->o.output_path))
        return CTRL_OK;
    int64_t from = clock_now_us();
    storage_client_t *client = NULL;
    int code = CTRL_OK;
    bool whole_sent = false;
    ctrl_say(c, IO_UPLOAD, "Uploading outputs");
    for (size_t i = 0; !code && i < c->o.outputs.len; i++)
        code = send_output(c, &client, c->o.outputs.items[i], &whole_sent);
    storage_client_free(client);
    if (!code)
        ctrl_say(c, IO_UPLOAD, "All outputs uploaded");
    metric(c, "output_upload", from, clock_now_us());
    return code;
}
