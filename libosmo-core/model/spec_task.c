/* One task of a specification: its keys, coercions and checks. Called by spec.c and spec_json.c. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "base/map.h"
#include "model/spec_internal.h"

#define AT(type, member) offsetof(type, member)

void spec_task_clear(struct spec_task *t)
{
    free(t->name);
    free(t->image);
    strlist_free(&t->command);
    strlist_free(&t->args);
    for (size_t i = 0; i < t->nenv; i++) {
        free(t->env[i].name);
        free(t->env[i].value);
    }
    for (size_t i = 0; i < t->nfiles; i++) {
        free(t->files[i].path);
        free(t->files[i].contents);
    }
    for (size_t i = 0; i < t->ninputs; i++) {
        free(t->inputs[i].workflow);
        free(t->inputs[i].task);
        free(t->inputs[i].url);
        free(t->inputs[i].regex);
    }
    for (size_t i = 0; i < t->noutputs; i++) {
        free(t->outputs[i].url);
        free(t->outputs[i].regex);
    }
    for (size_t i = 0; i < t->nkpis; i++) {
        free(t->kpis[i].index);
        free(t->kpis[i].path);
    }
    for (size_t i = 0; i < t->nexit_actions; i++) {
        free(t->exit_actions[i].action);
        free(t->exit_actions[i].codes);
    }
    for (size_t i = 0; i < t->ncheckpoints; i++) {
        free(t->checkpoints[i].path);
        free(t->checkpoints[i].url);
        free(t->checkpoints[i].regex);
    }
    free(t->env);
    free(t->files);
    free(t->inputs);
    free(t->outputs);
    free(t->kpis);
    free(t->exit_actions);
    free(t->checkpoints);
    json_free(t->credentials);
    free(t->resource);
    strlist_free(&t->volume_mounts);
    free(t->download_type);
    free(t->cache_size);
    *t = (struct spec_task){ 0 };
}

static void check_regex(struct reader *r, const yaml_node_t *n, const struct read_path *at, char **regex)
{
    struct read_path member = { at, "regex", 0 };
    const char *why;
    size_t where;

    if (!*regex) {
        *regex = str_dup("");
        r->oom |= !*regex;
    } else if (!spec_regex_valid(*regex, &why, &where)) {
        read_report(r, &member, spec_member(n, "regex"), "'%.200s' is no regular expression: %s at position %zu", *regex,
                    why, where);
    }
}

/* ---- inputs, outputs, kpis ---- */

struct raw_input { char *task, *url, *regex; };

static const struct read_field input_fields[] = {
    { "task", READ_TEXT, 0, AT(struct raw_input, task), NULL },
    { "url", READ_TEXT, 0, AT(struct raw_input, url), NULL },
    { "regex", READ_TEXT, 0, AT(struct raw_input, regex), NULL },
};
static const struct read_table input_table = READ_TABLE(input_fields, false);

/* "task" or "workflow:task"; takes the text apart. */
static void split_task(struct reader *r, const yaml_node_t *n, const struct read_path *at, char *text,
    struct spec_input *in)
{
    char *colon = strchr(text, ':');
    if (colon)
        *colon = '\0';
    if (!spec_name_valid(text) || (colon && !spec_name_valid(colon + 1))) {
        if (colon)
            *colon = ':';
        struct read_path member = { at, "task", 0 };
        read_report(r, &member, spec_member(n, "task"),
                    "'%.80s' is neither the name of a task nor <workflow id>:<task>", text);
        return;
    }
    in->workflow = colon ? str_dup(text) : NULL;
    in->task = str_dup(colon ? colon + 1 : text);
    r->oom |= !in->task || (colon && !in->workflow);
}

static void read_input(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_input *in = object;
    struct raw_input raw = { 0 };

    read_mapping(r, n, at, &input_table, &raw);
    bool task = n->kind == YAML_MAP && yaml_get(n, "task"), url = n->kind == YAML_MAP && yaml_get(n, "url");
    if (n->kind == YAML_MAP && task == url)
        read_report(r, at, n, task ? "has both task and url: keep one of them" : "needs either task or url");
    if (raw.task)
        split_task(r, n, at, raw.task, in);
    in->url = STEAL(raw.url);
    in->regex = STEAL(raw.regex);
    check_regex(r, n, at, &in->regex);
    free(raw.task);
}

static const struct read_field output_fields[] = {
    { "url", READ_TEXT, READ_REQUIRED, AT(struct spec_output, url), NULL },
    { "regex", READ_TEXT, 0, AT(struct spec_output, regex), NULL },
};
static const struct read_table output_table = READ_TABLE(output_fields, false);

static void read_output(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_output *out = object;
    read_mapping(r, n, at, &output_table, out);
    check_regex(r, n, at, &out->regex);
}

static const struct read_field kpi_fields[] = {
    { "index", READ_TEXT_LAX, READ_REQUIRED, AT(struct spec_kpi, index), NULL },
    { "path", READ_TEXT_LAX, READ_REQUIRED, AT(struct spec_kpi, path), NULL },
};
static const struct read_table kpi_table = READ_TABLE(kpi_fields, false);

static void read_kpi(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &kpi_table, object);
}

/* ---- files ---- */

static const struct read_field file_fields[] = {
    { "path", READ_TEXT_LAX, READ_REQUIRED, AT(struct spec_file, path), NULL },
    { "contents", READ_TEXT_LAX, READ_REQUIRED, AT(struct spec_file, contents), NULL },
    { "base64", READ_BOOL, 0, AT(struct spec_file, base64), NULL },
};
static const struct read_table file_table = READ_TABLE(file_fields, false);

static void read_file(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_file *f = object;
    struct read_path member = { at, "path", 0 };

    read_mapping(r, n, at, &file_table, f);
    if (!f->path || str_starts(f->path, "/osmo/data/output/"))
        return;
    const char *first = f->path + strspn(f->path, "/");
    size_t len = strcspn(first, "/");
    if (len == 0 || str_ends(f->path, "/"))
        read_report(r, &member, spec_member(n, "path"), "'%.80s' names no file", f->path);
    else if (len == 4 && strncmp(first, "osmo", 4) == 0)
        read_report(r, &member, spec_member(n, "path"), "'%.80s' is reserved: only /osmo/data/output/... may be written under /osmo",
            f->path);
}

static void check_file_paths(struct reader *r, const yaml_node_t *n, const struct read_path *at,
    const struct spec_task *t)
{
    map_t *seen = t->nfiles > 1 ? map_new(NULL) : NULL;
    for (size_t i = 0; i < t->nfiles && seen; i++) {
        struct read_path item = { at, NULL, i }, member = { &item, "path", 0 };
        if (!t->files[i].path)
            continue;
        if (map_has(seen, t->files[i].path))
            read_report(r, &member, spec_member(n->values[i], "path"), "'%.80s' is given twice", t->files[i].path);
        else if (map_set(seen, t->files[i].path, NULL) < 0)
            r->oom = true;
    }
    map_free(seen);
}

/* ---- checkpoints ---- */

static void read_frequency(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_checkpoint *c = object;
    if (read_duration(r, n, at, false, &c->frequency_us) && c->frequency_us < 0)
        read_report(r, at, n, "must not be negative");
}

static const struct read_field checkpoint_fields[] = {
    { "path", READ_TEXT, READ_REQUIRED, AT(struct spec_checkpoint, path), NULL },
    { "url", READ_TEXT, READ_REQUIRED, AT(struct spec_checkpoint, url), NULL },
    { "frequency", READ_CUSTOM, READ_REQUIRED, 0, read_frequency },
    { "regex", READ_TEXT, 0, AT(struct spec_checkpoint, regex), NULL },
};
static const struct read_table checkpoint_table = READ_TABLE(checkpoint_fields, false);

static void read_checkpoint(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_checkpoint *c = object;
    read_mapping(r, n, at, &checkpoint_table, c);
    if (c->url && !spec_url_valid(c->url)) {
        struct read_path member = { at, "url", 0 };
        read_report(r, &member, spec_member(n, "url"), SPEC_URL_RULE, c->url);
    }
    check_regex(r, n, at, &c->regex);
}

/* ---- free maps ---- */

/* Calls fn for every key of a free map with its text. */
static void each_member(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct spec_task *t,
                        void (*fn)(struct reader *, const yaml_node_t *, const struct read_path *,
                            struct spec_task *, char *))
{
    if (n->kind != YAML_MAP) {
        read_report(r, at, n, "must be a mapping, not %s", yaml_kind_name(n));
        return;
    }
    for (size_t i = 0; i < n->len; i++) {
        char *key = read_key(r, n->keys[i], at);
        if (!key)
            continue;
        struct read_path member = { at, key, 0 };
        fn(r, n->values[i], &member, t, key);
    }
}

/* Keys that became equal as text (1 and "1"): the last one counts, in the place of the first. */
static bool repeats(const yaml_node_t *n)
{
    for (size_t i = 0; i < n->len; i++)
        if (n->keys[i]->kind != YAML_STRING)
            return true;
    return false;
}

static void drop_repeated_env(struct reader *r, struct spec_task *t)
{
    map_t *seen = map_new(NULL); /* name → its place + 1 */
    size_t kept = 0;

    for (size_t i = 0; i < t->nenv && seen; i++) {
        uintptr_t k = (uintptr_t)map_get(seen, t->env[i].name);
        if (k > 0) {
            free(t->env[k - 1].value);
            free(t->env[i].name);
            t->env[k - 1].value = t->env[i].value;
            continue;
        }
        t->env[kept++] = t->env[i];
        r->oom |= map_set(seen, t->env[kept - 1].name, (void *)(uintptr_t)kept) < 0;
    }
    if (seen)
        t->nenv = kept;
    r->oom |= !seen;
    map_free(seen);
}

/* Takes key. */
static void add_env(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct spec_task *t, char *key)
{
    char *value = NULL;
    if (!read_loose(r, n, at, &value)) {
        free(key);
        return;
    }
    t->env[t->nenv++] = (struct spec_env){ key, value };
}

static void read_environment(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    if (n->kind == YAML_MAP && n->len > 0) {
        t->env = calloc(n->len, sizeof(*t->env));
        if (!t->env) {
            r->oom = true;
            return;
        }
    }
    each_member(r, n, at, t, add_env);
    if (n->kind == YAML_MAP && repeats(n))
        drop_repeated_env(r, t);
}

/* ^(\d+(-\d+)?)+(,\d+(-\d+)?)*$ without backtracking: the first piece may chain ranges that have at least
 * two digits between their dashes. */
static bool exit_codes_valid(const char *p)
{
    for (bool first = true;; first = false, p++) {
        size_t digits = strspn(p, "0123456789");
        if (digits == 0)
            return false;
        p += digits;
        for (size_t dashes = 0; *p == '-'; dashes++) {
            if (dashes > 0 && (!first || digits < 2))
                return false;
            digits = strspn(++p, "0123456789");
            if (digits == 0)
                return false;
            p += digits;
        }
        if (*p != ',')
            return *p == '\0';
    }
}

static void add_exit_action(struct reader *r, const yaml_node_t *n, const struct read_path *at,
    struct spec_task *t, char *key)
{
    _cleanup_free_ char *action = key;
    _cleanup_free_ char *codes = NULL;

    if (strcasecmp(key, "COMPLETE") != 0 && strcasecmp(key, "FAIL") != 0 && strcasecmp(key, "RESCHEDULE") != 0) {
        read_report(r, at, n, "unknown action: use COMPLETE, FAIL or RESCHEDULE");
        return;
    }
    if (!read_loose(r, n, at, &codes))
        return;
    if (!exit_codes_valid(codes)) {
        read_report(r, at, n, "'%.60s' is no list of exit codes: write 1,3 or 4-9", codes);
        return;
    }
    t->exit_actions[t->nexit_actions++] = (struct spec_exit_action){ STEAL(action), STEAL(codes) };
}

static void read_exit_actions(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    if (n->kind == YAML_MAP && n->len > 0) {
        t->exit_actions = calloc(n->len, sizeof(*t->exit_actions));
        if (!t->exit_actions) {
            r->oom = true;
            return;
        }
    }
    each_member(r, n, at, t, add_exit_action);
}

/* {ENV_NAME: key of the credential} */
static json_t *read_credential_map(struct reader *r, const yaml_node_t *n, const struct read_path *at)
{
    json_t *map = json_object();
    for (size_t i = 0; i < n->len && map; i++) {
        _cleanup_free_ char *key = read_key(r, n->keys[i], at);
        _cleanup_free_ char *value = NULL;
        struct read_path member = { at, key, 0 };
        if (key && read_loose(r, n->values[i], &member, &value) && json_set_str(map, key, value) < 0)
            r->oom = true;
    }
    r->oom |= !map;
    return map;
}

static void add_credential(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct spec_task *t,
    char *key)
{
    _cleanup_free_ char *name = key;
    _cleanup_free_ char *dir = NULL;
    int rc = 0;

    if (n->kind == YAML_MAP)
        rc = json_set(t->credentials, name, read_credential_map(r, n, at));
    else if (read_loose(r, n, at, &dir))
        rc = json_set_str(t->credentials, name, dir);
    r->oom |= rc < 0;
}

static void read_credentials(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    if (n->kind == YAML_MAP && n->len > 0) {
        t->credentials = json_object();
        if (!t->credentials) {
            r->oom = true;
            return;
        }
    }
    each_member(r, n, at, t, add_credential);
}

/* ---- the task ---- */

static void read_inputs(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    t->inputs = read_list(r, n, at, sizeof(*t->inputs), &t->ninputs, read_input);
}

static void read_outputs(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    t->outputs = read_list(r, n, at, sizeof(*t->outputs), &t->noutputs, read_output);
}

static void read_kpis(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    t->kpis = read_list(r, n, at, sizeof(*t->kpis), &t->nkpis, read_kpi);
}

static void read_files(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    t->files = read_list(r, n, at, sizeof(*t->files), &t->nfiles, read_file);
    check_file_paths(r, n, at, t);
}

static void read_checkpoints(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    t->checkpoints = read_list(r, n, at, sizeof(*t->checkpoints), &t->ncheckpoints, read_checkpoint);
}

/* Accepted inside a task and checked, but the named resource is what counts. */
static void read_inline_resource(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_resource unused = { 0 };
    (void)object;
    spec_read_resource(r, n, at, &unused);
    spec_resource_clear(&unused);
}

static void read_unused_text(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    _cleanup_free_ char *unused = NULL;
    (void)object;
    read_text(r, n, at, true, &unused);
}

static void read_download_type(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    if (n->kind == YAML_STRING && strcmp(n->text, "download") == 0)
        read_text(r, n, at, false, &t->download_type);
    else
        read_report(r, at, n, "must be 'download'");
}

static const struct read_field task_fields[] = {
    { "name", READ_TEXT, READ_REQUIRED, AT(struct spec_task, name), NULL },
    { "image", READ_TEXT_LAX, READ_REQUIRED, AT(struct spec_task, image), NULL },
    { "command", READ_TEXTS, READ_REQUIRED, AT(struct spec_task, command), NULL },
    { "args", READ_TEXTS, 0, AT(struct spec_task, args), NULL },
    { "environment", READ_CUSTOM, 0, 0, read_environment },
    { "files", READ_CUSTOM, 0, 0, read_files },
    { "inputs", READ_CUSTOM, 0, 0, read_inputs },
    { "outputs", READ_CUSTOM, 0, 0, read_outputs },
    { "kpis", READ_CUSTOM, 0, 0, read_kpis },
    { "credentials", READ_CUSTOM, 0, 0, read_credentials },
    { "resource", READ_TEXT_LAX, 0, AT(struct spec_task, resource), NULL },
    { "lead", READ_BOOL, 0, AT(struct spec_task, lead), NULL },
    { "volumeMounts", READ_TEXTS, 0, AT(struct spec_task, volume_mounts), NULL },
    { "privileged", READ_BOOL, 0, AT(struct spec_task, privileged), NULL },
    { "hostNetwork", READ_BOOL, 0, AT(struct spec_task, host_network), NULL },
    { "exitActions", READ_CUSTOM, 0, 0, read_exit_actions },
    { "checkpoint", READ_CUSTOM, 0, 0, read_checkpoints },
    { "downloadType", READ_CUSTOM, READ_NULLABLE, 0, read_download_type },
    { "cacheSize", READ_TEXT_LAX, READ_NULLABLE, AT(struct spec_task, cache_size), NULL },
    { "backend", READ_CUSTOM, 0, 0, read_unused_text },
    { "resources", READ_CUSTOM, 0, 0, read_inline_resource },
};
static const struct read_table task_table = READ_TABLE(task_fields, false);

void spec_read_task(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_task *t = object;
    struct read_path name = { at, "name", 0 }, command = { at, "command", 0 };
    char kube[64];

    t->line = n->line;
    t->column = n->column;
    t->resource = str_dup("default");
    r->oom |= !t->resource;
    read_mapping(r, n, at, &task_table, t);
    if (n->kind == YAML_MAP) {
        const yaml_node_t *words = yaml_get(n, "command");
        if (words && words->kind == YAML_LIST && words->len == 0)
            read_report(r, &command, words, "must not be empty");
    }
    if (!t->name)
        return;
    kube_name(t->name, kube);
    if (!spec_name_valid(t->name))
        read_report(r, &name, spec_member(n, "name"), SPEC_NAME_RULE, t->name);
    else if (strcmp(kube, "osmo-ctrl") == 0)
        read_report(r, &name, spec_member(n, "name"), "'%.80s' is reserved: give the task another name", t->name);
}
