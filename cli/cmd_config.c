/* config: pools, roles, backends and their tests as administrators see and write them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/yaml.h"
#include "cli.h"

#define DOCUMENT_MAX (16u << 20)
#define TYPES "POOL, ROLE, BACKEND, BACKEND_TEST, SERVICE, WORKFLOW"
#define WRITABLE "POOL, ROLE, BACKEND or BACKEND_TEST"

enum type_kind { TYPE_POOL, TYPE_ROLE, TYPE_BACKEND, TYPE_TEST, TYPE_SERVICE, TYPE_WORKFLOW, TYPE_COUNT };
static const struct type {
    const char *name, *word, *path;
    const char *member; /* of the answer, when the objects are in one */
    bool named, writable; /* objects with names, not one of settings */
} types[TYPE_COUNT] = {
    [TYPE_POOL] = { "POOL", "Pool", "/api/configs/pool", "pools", true, true },
    [TYPE_ROLE] = { "ROLE", "Role", "/api/configs/role", NULL, true, true },
    [TYPE_BACKEND] = { "BACKEND", "Backend", "/api/configs/backend", "backends", true, true },
    [TYPE_TEST] = { "BACKEND_TEST", "Test", "/api/configs/backend_test", NULL, true, true },
    [TYPE_SERVICE] = { "SERVICE", "Service", "/api/configs/service", NULL, false, false },
    [TYPE_WORKFLOW] = { "WORKFLOW", "Workflow", "/api/configs/workflow", NULL, false, false },
};

/* -1, or the exit code of a mistake. */
static int find_type(const struct usage *u, const char *text, bool write, const struct type **out) {
    if (strchr(text, ':'))
        return opt_error(u, "'%s': this service keeps no revisions of its configuration; leave out ':' and what follows", text);
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (strcasecmp(types[i].name, text) != 0)
            continue;
        *out = &types[i];
        if (write && !types[i].writable)
            return opt_error(u, "%s cannot be written: it is configured in the service's file", types[i].name);
        return -1;
    }
    return opt_error(u, "'%s' is no type of configuration that can be %s here: say %s", text, write ? "written" : "shown",
                     write ? WRITABLE : TYPES);
}

static char *object_path(const struct type *t, const char *name, const char *behind) {
    buf_t b = BUF_INIT(8192);
    buf_printf(&b, "%s/", t->path);
    url_encode(name, &b);
    buf_puts(&b, behind);
    char *path = buf_steal(&b, NULL);
    buf_free(&b);
    return path;
}

/* ---- reading ---- */

/* A list of objects that have names, as an object by name. Takes nothing. */
static json_t *by_name(const json_t *list) {
    json_t *o = json_object();
    for (size_t i = 0; o && i < json_len(list); i++) {
        json_t *one = json_at(list, i);
        const char *name = json_get_str(one, "name");
        if (name && json_set(o, name, json_ref(one)) < 0) {
            json_free(o);
            return NULL;
        }
    }
    return o;
}

/* All objects of a type by name; 0, or an exit code after printing. */
static int fetch(struct api *a, const struct type *t, bool verbose, json_t **out) {
    json_t *answer = NULL;
    _cleanup_free_ char *path = str_printf("%s%s", t->path, verbose ? "?verbose=True" : "");
    int code = api_call(a, "GET", path ? path : t->path, NULL, &answer);
    json_t *objects = t->member ? json_get(answer, t->member) : answer;
    *out = code ? NULL : json_kind(objects) == JSON_ARRAY ? by_name(objects) : json_ref(objects);
    json_free(answer);
    return code;
}

static void list_objects(const struct type *t, const json_t *objects, struct table *table) {
    for (json_iter_t it = json_iter(objects); json_iter_next(&it);) {
        const char *description = json_get_str(it.value, "description");
        table_add(table, t->name);
        table_add(table, it.key);
        table_add(table, description && *description ? description : "-");
    }
}

static int list_types(struct api *a, const struct type *only, bool as_json) {
    struct table table = { .columns = 3 };
    json_t *all = json_object();
    int code = 0;
    table_add(&table, "Config Type");
    table_add(&table, "Name");
    table_add(&table, "Description");
    for (size_t i = 0; !code && i < TYPE_COUNT; i++) {
        json_t *objects = NULL, *names = json_array();
        if (!types[i].named || (only && only != &types[i])) {
            json_free(names);
            continue;
        }
        code = fetch(a, &types[i], false, &objects);
        list_objects(&types[i], objects, &table);
        for (json_iter_t it = json_iter(objects); json_iter_next(&it);)
            json_add_str(names, it.key);
        json_set(all, types[i].name, names);
        json_free(objects);
    }
    if (!code && as_json)
        print_json(all, 2);
    if (!code && !as_json)
        table_print(&table, 1);
    else
        strlist_free(&table.cells);
    json_free(all);
    return code;
}

static int config_list(int argc, char **argv) {
    const char *name = NULL, *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct arg args[] = { { "TYPE", "only this type: POOL, ROLE, BACKEND, BACKEND_TEST", &name, NULL, true } };
    const struct usage u = { "config list", "List what is configured.", opts, 1, args, 1 };
    const struct type *only = NULL;
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && name)
        code = find_type(&u, name, false, &only);
    if (code < 0 && only && !only->named)
        code = opt_error(&u, "there is only one %s; osmo config show shows it", only->name);
    if (code >= 0 || (code = api_open(&a, str_eq(format, "json"))))
        return code;
    code = list_types(&a, only, str_eq(format, "json"));
    api_close(&a);
    return code;
}

/* A name that a list is asked for is a place in it. */
static const json_t *step_into(const json_t *v, const char *name) {
    int64_t i;
    if (json_kind(v) == JSON_ARRAY)
        return str_to_i64(name, &i) && i >= 0 ? json_at(v, (size_t)i) : NULL;
    return json_get(v, name);
}

static int config_show(int argc, char **argv) {
    const char *name = NULL;
    strlist_t names = { 0 };
    bool verbose = false;
    const struct opt opts[] = { { "--verbose -v", OPT_FLAG, &verbose, NULL, "with what follows from it", NULL } };
    const struct arg args[] = { { "TYPE", TYPES, &name, NULL, false },
                                { "NAME", "one object, and what is in it", NULL, &names, true } };
    const struct usage u = { "config show", "Show what is configured, as JSON.", opts, 1, args, 2 };
    const struct type *t = NULL;
    json_t *objects = NULL;
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0)
        code = find_type(&u, name, false, &t);
    if (code < 0 && !(code = api_open(&a, false))) {
        code = fetch(&a, t, verbose, &objects);
        api_close(&a);
        const json_t *v = objects;
        for (size_t i = 0; !code && i < names.len; i++) {
            v = step_into(v, names.items[i]);
            if (!v && i == 0)
                code = api_fail(false, 0, "there is no such object; osmo config list shows those there are", EXIT_USER);
            else if (!v)
                code = api_fail(false, 0, "there is nothing of that name in it", EXIT_USER);
        }
        if (!code)
            print_json(v, 2);
    }
    json_free(objects);
    strlist_free(&names);
    return code;
}

/* ---- writing ---- */

struct remark { const char *description; strlist_t tags; };
#define REMARK_OPTIONS(r)                                                                                                                  \
    { "--description -d", OPT_VALUE, &(r).description, "TEXT", "what the change is for", NULL },                                           \
        { "--tags -t", OPT_LIST, &(r).tags, "TAG", "tags of the change", NULL }

/* {member: payload, description, tags}; takes payload, which may be NULL with the member. */
static json_t *make_body(const char *member, json_t *payload, const struct remark *r) {
    json_t *o = json_object();
    if (!o || (member && json_set(o, member, payload) < 0) ||
        (r->description && json_set_str(o, "description", r->description) < 0) ||
        (r->tags.len && json_set_strs(o, "tags", &r->tags) < 0)) {
        json_free(o);
        return NULL;
    }
    return o;
}

static int parse_document(const char *text, size_t len, json_t **out, osmo_error_t *err) {
    _cleanup_yaml_ yaml_node_t *tree = NULL;
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    int rc = yaml_parse(text, len, &limits, &tree, err); /* JSON is YAML */
    if (rc >= 0)
        rc = yaml_to_json(tree, out, err);
    if (rc >= 0 && json_kind(*out) != JSON_OBJECT && json_kind(*out) != JSON_ARRAY)
        rc = osmo_error_set(err, OSMO_EUSER, "the document must be an object");
    return rc;
}

static json_t *as_list(const json_t *objects) {
    json_t *list = json_array();
    for (json_iter_t it = json_iter(objects); list && json_iter_next(&it);) {
        json_t *one = json_copy(it.value);
        if (json_kind(one) == JSON_OBJECT && !json_has(one, "name"))
            json_set_str(one, "name", it.key);
        json_add(list, one);
    }
    return list;
}

struct update {
    const struct type *type;
    const char *name, *file; /* NULL: all, the editor */
    struct remark remark;
    const json_t *current;   /* what there is */
    json_t *document;        /* what shall be */
    char *path;              /* of the edited text */
};

/* A part of a pool or a test in a file changes just that part, as every document of a backend does; others replace what was there. */
static int send_update(struct api *a, struct update *up) {
    bool role = up->type == &types[TYPE_ROLE], backend = up->type == &types[TYPE_BACKEND];
    bool known = up->name && json_has(up->current, up->name);
    bool patch = !role && !backend && up->name && up->file && known;
    const char *method = backend ? "POST" : patch ? "PATCH" : "PUT";
    _cleanup_free_ char *path = up->name ? object_path(up->type, up->name, "") : str_dup(up->type->path);
    json_t *payload = role && !up->name && json_kind(up->document) == JSON_OBJECT ? as_list(up->document) : json_ref(up->document);
    json_t *body = make_body(patch ? "configs_dict" : "configs", payload, &up->remark);
    int code = body && path ? api_call(a, method, path, body, NULL) : EXIT_USER;
    if (!code && up->name)
        printf("%s %s is %s.\n", up->type->word, up->name, known ? "changed" : "made");
    else if (!code)
        printf("%zu %ss are written.\n", json_len(up->document), role ? "role" : up->type == &types[TYPE_POOL] ? "pool" : "test");
    json_free(body);
    return code;
}

static int read_update_file(struct update *up) {
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t text = BUF_INIT(DOCUMENT_MAX);
    int rc = file_read(str_eq(up->file, "-") ? "/dev/stdin" : up->file, &text, &err);
    if (rc >= 0) {
        rc = parse_document(buf_cstr(&text), text.len, &up->document, &err);
        if (rc < 0)
            osmo_error_prefix(&err, "%s", up->file);
    }
    buf_free(&text);
    return rc < 0 ? api_fail(false, 0, err.text, EXIT_USER) : 0;
}

/* What stands in the editor at first. */
static json_t *draft(const struct update *up) {
    const json_t *there = up->name ? json_get(up->current, up->name) : up->current;
    if (there)
        return json_copy(there);
    static const char pool[] = "{\"description\":\"\",\"backend\":\"default\",\"default_platform\":\"default\","
                               "\"common_default_variables\":{\"USER_CPU\":1,\"USER_GPU\":0,\"USER_MEMORY\":\"1Gi\","
                               "\"USER_STORAGE\":\"1Gi\"},"
                               "\"common_resource_validations\":[\"default_cpu\",\"default_memory\",\"default_storage\"],"
                               "\"common_pod_template\":[\"default_ctrl\",\"default_user\"],\"platforms\":{\"default\":{}}}";
    static const char role[] = "{\"description\":\"\","
                               "\"policies\":[{\"effect\":\"Allow\",\"actions\":[\"workflow:*\"],\"resources\":[\"pool/NAME\"]}]}";
    static const char test[] = "{\"description\":\"\",\"cron_schedule\":\"0 3 * * *\",\"test_timeout\":\"300s\","
                               "\"node_conditions\":[\"NAME\"],\"common_pod_template\":[\"NAME\"]}";
    const char *text = up->type == &types[TYPE_POOL] ? pool : up->type == &types[TYPE_TEST] ? test : role;
    json_t *v = NULL;
    json_parse(text, strlen(text), &v, NULL);
    return v;
}

/* 0 with a document; without one nothing was changed. */
static int edit_update(struct update *up) {
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t before = BUF_INIT(DOCUMENT_MAX), after = BUF_INIT(DOCUMENT_MAX);
    json_t *first = draft(up);
    bool known = !up->name || json_has(up->current, up->name);
    json_print(first, 2, &before);
    buf_putc(&before, '\n');
    int rc = edit_text(buf_cstr(&before), &up->path, &after, &err);
    if (rc >= 0)
        rc = parse_document(buf_cstr(&after), after.len, &up->document, &err);
    if (rc >= 0 && known && json_equal(first, up->document)) {
        json_free(up->document);
        up->document = NULL;
        puts("Nothing was changed.");
    }
    json_free(first);
    buf_free(&before);
    buf_free(&after);
    return rc < 0 ? api_fail(false, 0, err.text, EXIT_USER) : 0;
}

/* Writing leaves alone what is not mentioned. */
static void tell_left_out(const struct update *up) {
    for (json_iter_t it = json_iter(up->current); !up->name && json_iter_next(&it);)
        if (json_kind(up->document) == JSON_OBJECT && !json_has(up->document, it.key))
            printf("%s %s stays; osmo config delete %s %s takes it away.\n", up->type->word, it.key, up->type->name, it.key);
}

static int run_update(struct api *a, struct update *up) {
    json_t *current = NULL;
    int code = fetch(a, up->type, false, &current);
    up->current = current;
    if (!code && up->type == &types[TYPE_BACKEND] && !json_has(current, up->name))
        code = api_fail(false, 0, "there is no such backend: one appears when its operator first connects", EXIT_USER);
    if (!code)
        code = up->file ? read_update_file(up) : edit_update(up);
    if (!code && up->document) {
        code = send_update(a, up);
        if (!code && !up->file)
            tell_left_out(up);
    }
    if (up->path && code)
        fprintf(stderr, "Your text is in %s; correct it and give it with --file.\n", up->path);
    else if (up->path)
        unlink(up->path);
    json_free(current);
    json_free(up->document);
    free(up->path);
    return code;
}

static int config_update(int argc, char **argv) {
    struct update up = { 0 };
    const char *type = NULL;
    const struct opt opts[] = { { "--file -f", OPT_VALUE, &up.file, "FILE", "JSON or YAML, - for standard input; else the editor opens",
                                  NULL },
                                REMARK_OPTIONS(up.remark) };
    const struct arg args[] = { { "TYPE", WRITABLE, &type, NULL, false },
                                { "NAME", "one object; made when there is none", &up.name, NULL, true } };
    const struct usage u = { "config update", "Change pools, roles, tests or a backend, or make new ones. A file with a part of a pool, "
        "a test "
                             "or a backend changes that part; an edited document replaces the one before.", opts, ARRAY_SIZE(opts), args,
                             2 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0)
        code = find_type(&u, type, true, &up.type);
    if (code < 0 && up.type == &types[TYPE_BACKEND] && !up.name)
        code = opt_error(&u, "backends are changed one by one: name one; osmo backend list shows them");
    if (code < 0 && !(code = api_open(&a, false))) {
        code = run_update(&a, &up);
        api_close(&a);
    }
    strlist_free(&up.remark.tags);
    return code;
}

/* ---- roles by a word ---- */

static json_t *policy(const char *const *actions, const char *const *resources) {
    json_t *o = json_object(), *a = json_array(), *r = json_array();
    for (; *actions; actions++)
        json_add_str(a, *actions);
    for (; *resources; resources++)
        json_add_str(r, *resources);
    json_set_str(o, "effect", "Allow");
    json_set(o, "actions", a);
    json_set(o, "resources", r);
    return o;
}

/* What a role for a pool, or for the operator of a backend, permits. */
static json_t *make_role(const char *name, bool pool, const char *target) {
    json_t *o = json_object(), *policies = json_array();
    _cleanup_free_ char *resource = str_printf("%s/%s", pool ? "pool" : "backend", target);
    _cleanup_free_ char *description = str_printf("%s %s", pool ? "Workflows in pool" : "Operator of backend", target);
    const char *const own[] = { resource, NULL }, *const work[] = { "workflow:*", NULL };
    const char *const operate[] = { "internal:Operator", NULL }, *const look[] = { "config:Read", "pool:List", NULL };
    const char *const around[] = { "config/backend", "config/backend_test", "pool/*", NULL };
    json_set_str(o, "name", name);
    json_set_str(o, "description", description);
    json_add(policies, policy(pool ? work : operate, own));
    if (!pool)
        json_add(policies, policy(look, around));
    json_set(o, "policies", policies);
    return o;
}

static int send_role(struct api *a, const char *name, bool pool, const char *target, const struct remark *r) {
    const struct type *t = &types[TYPE_ROLE];
    _cleanup_free_ char *path = object_path(t, name, "");
    json_t *roles = NULL;
    int code = fetch(a, t, false, &roles);
    if (!code && json_has(roles, name)) {
        char text[512];
        snprintf(text, sizeof text, "role %.200s exists already; osmo config update ROLE %.200s changes it", name, name);
        code = api_fail(false, 0, text, EXIT_USER);
    }
    json_free(roles);
    if (code)
        return code;
    json_t *body = make_body("configs", make_role(name, pool, target), r);
    code = path && body ? api_call(a, "PUT", path, body, NULL) : EXIT_USER;
    if (!code)
        printf("Role %s permits %s %s.\n", name, pool ? "workflows in pool" : "to be the operator of backend", target);
    json_free(body);
    return code;
}

static int config_set(int argc, char **argv) {
    const char *type = NULL, *name = NULL, *what = NULL, *field = NULL;
    struct remark remark = { 0 };
    const struct opt opts[] = { { "--field", OPT_VALUE, &field, "NAME",
                                  "the pool or backend, a * at its end for all that begin so; else what follows osmo- in the name of the"
                                  " role, and *", NULL },
                                REMARK_OPTIONS(remark) };
    const struct arg args[] = { { "TYPE", "ROLE", &type, NULL, false },
                                { "NAME", "name of the new role", &name, NULL, false },
                                { "pool|backend", "what it is for", &what, NULL, false } };
    const struct usage u = { "config set", "Make a role for a pool, or for the operator of a backend.", opts, ARRAY_SIZE(opts), args,
                             3 };
    _cleanup_free_ char *target = NULL;
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && strcasecmp(type, "ROLE") != 0)
        code = opt_error(&u, "only a ROLE can be set; osmo config update writes pools");
    if (code < 0 && !str_eq(what, "pool") && !str_eq(what, "backend"))
        code = opt_error(&u, "'%s': say pool or backend", what);
    if (code < 0 && !field && (!str_starts(name, "osmo-") || !name[5]))
        code = opt_error(&u, "'%s' names no %s: call the role osmo-NAME, or name it with --field", name, what);
    if (code < 0) {
        target = field ? str_dup(field) : str_printf("%s*", name + 5);
        code = target ? api_open(&a, false) : EXIT_USER;
        if (!code) {
            code = send_role(&a, name, str_eq(what, "pool"), target, &remark);
            api_close(&a);
        }
    }
    strlist_free(&remark.tags);
    return code;
}

/* ---- taking away and renaming ---- */

static int config_delete(int argc, char **argv) {
    const char *type = NULL, *name = NULL;
    struct remark remark = { 0 };
    const struct opt opts[] = { REMARK_OPTIONS(remark) };
    const struct arg args[] = { { "TYPE", WRITABLE, &type, NULL, false }, { "NAME", "which", &name, NULL, false } };
    const struct usage u = { "config delete", "Take away a pool, a test, a role with all its assignments, or a backend (osmo backend "
        "delete "
                             "says what goes with it).", opts, ARRAY_SIZE(opts), args, 2 };
    const struct type *t = NULL;
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0)
        code = find_type(&u, type, true, &t);
    if (code < 0 && !(code = api_open(&a, false))) {
        _cleanup_free_ char *path = object_path(t, name, "");
        json_t *body = make_body(NULL, NULL, &remark), *objects = NULL;
        code = path && body ? fetch(&a, t, false, &objects) : EXIT_USER;
        if (!code && !json_has(objects, name))
            code = api_fail(false, 0, "there is no such object; osmo config list shows those there are", EXIT_USER);
        if (!code && !(code = api_call(&a, "DELETE", path, body, NULL)))
            printf("%s %s is deleted.\n", t->word, name);
        json_free(objects);
        json_free(body);
        api_close(&a);
    }
    strlist_free(&remark.tags);
    return code;
}

static int config_rename(int argc, char **argv) {
    const char *type = NULL, *name = NULL, *new_name = NULL;
    struct remark remark = { 0 };
    const struct opt opts[] = { REMARK_OPTIONS(remark) };
    const struct arg args[] = { { "TYPE", "POOL", &type, NULL, false },
                                { "NAME", "which", &name, NULL, false },
                                { "NEW", "its new name", &new_name, NULL, false } };
    const struct usage u = { "config rename", "Give a pool another name. Roles that name it are not changed.", opts, ARRAY_SIZE(opts),
                             args, 3 };
    const struct type *t = NULL;
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0)
        code = find_type(&u, type, true, &t);
    if (code < 0 && t != &types[TYPE_POOL])
        code = opt_error(&u, "a %s keeps its name: make a new one, and delete the other", t->name);
    if (code < 0 && !(code = api_open(&a, false))) {
        _cleanup_free_ char *path = object_path(t, name, "/rename");
        json_t *body = make_body("new_name", json_string(new_name), &remark);
        code = path && body ? api_call(&a, "PUT", path, body, NULL) : EXIT_USER;
        if (!code)
            printf("%s %s is %s now.\n", t->word, name, new_name);
        json_free(body);
        api_close(&a);
    }
    strlist_free(&remark.tags);
    return code;
}

const struct command config_commands[CONFIG_COMMANDS] = {
    { "list", "list what is configured", config_list },
    { "show", "show it as JSON", config_show },
    { "update", "change it, or make new objects", config_update },
    { "set", "make a role for a pool or backend", config_set },
    { "delete", "take something away", config_delete },
    { "rename", "give a pool another name", config_rename },
};
