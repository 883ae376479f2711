/* user create, update, delete, list and get, for administrators. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli.h"

#define USERS "/api/auth/user"
#define PAGE_MAX 1000 /* what the service gives at once */

/* "/api/auth/user/ID" and `what`, then "/ITEM" unless it is NULL; malloc'ed. */
static char *user_path(const char *id, const char *what, const char *item) {
    buf_t b = BUF_INIT(1u << 16);
    buf_puts(&b, USERS "/");
    url_encode(id, &b);
    buf_puts(&b, what);
    if (item) {
        buf_puts(&b, "/");
        url_encode(item, &b);
    }
    char *path = buf_failed(&b) ? NULL : buf_steal(&b, NULL);
    buf_free(&b);
    return path;
}

static int call_user(struct api *a, const char *method, char *path, const json_t *body, json_t **answer) {
    int code = path ? api_call(a, method, path, body, answer) : api_fail(a->json_errors, 0, "out of memory", EXIT_USER);
    free(path);
    return code;
}

/* ---- get ---- */

static void show_user(const json_t *user) {
    char time[48];
    const json_t *roles = json_get(user, "roles");
    const char *by = json_get_str(user, "created_by");
    printf("User ID: %s\n", json_get_str(user, "id"));
    printf("Created At: %s\n", local_time(json_get_str(user, "created_at"), time));
    printf("Created By: %s\n", by ? by : "-");
    printf("Roles:%s\n", json_len(roles) ? "" : " -");
    for (size_t i = 0; i < json_len(roles); i++) {
        const json_t *r = json_at(roles, i);
        by = json_get_str(r, "assigned_by");
        printf("  - %s (by %s, %s)\n", json_get_str(r, "role_name"), by ? by : "-", local_time(json_get_str(r, "assigned_at"), time));
    }
}

static int get_user(struct api *a, const char *id, bool as_json) {
    json_t *answer = NULL;
    int code = call_user(a, "GET", user_path(id, "", NULL), NULL, &answer);
    if (!code && as_json)
        print_json(answer, 2);
    else if (!code)
        show_user(answer);
    json_free(answer);
    return code;
}

static int user_get(int argc, char **argv) {
    const char *id = NULL, *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct arg args[] = { { "user_id", "the user", &id, NULL, false } };
    const struct usage u = { "user get", "Show a user and its roles.", opts, 1, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, str_eq(format, "json"))))
        return code;
    code = get_user(&a, id, str_eq(format, "json"));
    api_close(&a);
    return code;
}

/* ---- list ---- */

struct user_filter { const char *prefix; const strlist_t *roles; };

static int fetch_page(struct api *a, const struct user_filter *f, int64_t start, int64_t count, json_t **out) {
    buf_t path = BUF_INIT(1u << 20);
    char number[32];
    buf_puts(&path, USERS);
    snprintf(number, sizeof number, "%lld", (long long)count);
    query_add(&path, "count", number);
    if (start > 1) {
        snprintf(number, sizeof number, "%lld", (long long)start);
        query_add(&path, "start_index", number);
    }
    if (f->prefix)
        query_add(&path, "id_prefix", f->prefix);
    query_add_all(&path, "roles", f->roles);
    int code = buf_failed(&path) ? api_fail(a->json_errors, 0, "the options are too long", EXIT_USER)
                                 : api_call(a, "GET", buf_cstr(&path), NULL, out);
    buf_free(&path);
    return code;
}

/* The first answer, with the users of further pages in it. */
static int fetch_users(struct api *a, const struct user_filter *f, int64_t count, json_t **out) {
    int64_t limit = count > PAGE_MAX ? PAGE_MAX : count;
    int code = fetch_page(a, f, 1, limit, out);
    json_t *all = json_get(*out, "users");
    int64_t got = (int64_t)json_len(all), last = got;
    while (!code && last == limit && got < count) {
        json_t *page = NULL;
        limit = count - got > PAGE_MAX ? PAGE_MAX : count - got;
        code = fetch_page(a, f, got + 1, limit, &page);
        const json_t *users = json_get(page, "users");
        last = (int64_t)json_len(users);
        for (int64_t i = 0; !code && i < last; i++)
            json_add(all, json_ref(json_at(users, (size_t)i)));
        got += last;
        json_free(page);
    }
    if (!code && got > PAGE_MAX)
        json_set_int(*out, "items_per_page", got);
    return code;
}

static void show_users(const json_t *answer) {
    struct table t = { .columns = 2 };
    const json_t *users = json_get(answer, "users");
    printf("Total users: %lld\n", (long long)json_get_int(answer, "total_results", 0));
    table_add(&t, "User ID");
    table_add(&t, "Created At");
    for (size_t i = 0; i < json_len(users); i++) {
        char date[16];
        const char *created = json_get_str(json_at(users, i), "created_at");
        snprintf(date, sizeof date, "%.10s", created ? created : "-");
        table_add(&t, json_get_str(json_at(users, i), "id"));
        table_add(&t, date);
    }
    table_print(&t, 1);
}

static int user_list(int argc, char **argv) {
    const char *prefix = NULL, *format = "text";
    int64_t count = 100;
    strlist_t roles = { 0 };
    const struct opt opts[] = { { "--id-prefix -p", OPT_VALUE, &prefix, "PREFIX", "only users whose id begins so", NULL },
                                { "--roles -r", OPT_LIST, &roles, "ROLE", "only users with one of these roles", NULL },
                                { "--count -c", OPT_INT, &count, "N", "how many at most, the newest first; 100", NULL },
                                FORMAT_OPTION(&format) };
    const struct usage u = { "user list", "List users.", opts, 4, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && count < 1)
        code = opt_error(&u, "argument --count: at least 1");
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        const struct user_filter f = { prefix, &roles };
        json_t *answer = NULL;
        code = fetch_users(&a, &f, count, &answer);
        if (!code && str_eq(format, "json"))
            print_json(answer, 2);
        else if (!code)
            show_users(answer);
        json_free(answer);
        api_close(&a);
    }
    strlist_free(&roles);
    return code;
}

/* ---- create ---- */

static int user_create(int argc, char **argv) {
    const char *id = NULL, *format = "text";
    strlist_t roles = { 0 };
    const struct opt opts[] = { { "--roles -r", OPT_LIST, &roles, "ROLE", "roles the user has from the start", NULL },
                                FORMAT_OPTION(&format) };
    const struct arg args[] = { { "user_id", "the new user", &id, NULL, false } };
    const struct usage u = { "user create", "Make a user.", opts, 2, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        json_t *body = json_object(), *answer = NULL;
        if (!body || json_set_str(body, "id", id) < 0 || json_set_strs(body, "roles", &roles) < 0)
            code = api_fail(a.json_errors, 0, "out of memory", EXIT_USER);
        else
            code = api_call(&a, "POST", USERS, body, &answer);
        if (!code && str_eq(format, "json"))
            print_json(answer, 2);
        else if (!code)
            printf("User %s is created.\n", id);
        json_free(body);
        json_free(answer);
        api_close(&a);
    }
    strlist_free(&roles);
    return code;
}

/* ---- update ---- */

static int add_role(struct api *a, const char *id, const char *role) {
    json_t *body = json_object();
    int code = body && json_set_str(body, "role_name", role) >= 0 ? call_user(a, "POST", user_path(id, "/roles", NULL), body, NULL)
                                                                   : api_fail(a->json_errors, 0, "out of memory", EXIT_USER);
    json_free(body);
    return code;
}

/* One call a role; the first that is refused ends it. */
static int change_roles(struct api *a, const char *id, const strlist_t *add, const strlist_t *remove, bool quiet) {
    int code = 0;
    for (size_t i = 0; !code && i < add->len; i++) {
        code = add_role(a, id, add->items[i]);
        if (!code && !quiet)
            printf("User %s has role %s.\n", id, add->items[i]);
    }
    for (size_t i = 0; !code && i < remove->len; i++) {
        code = call_user(a, "DELETE", user_path(id, "/roles", remove->items[i]), NULL, NULL);
        if (!code && !quiet)
            printf("User %s does not have role %s any more.\n", id, remove->items[i]);
    }
    return code;
}

static int user_update(int argc, char **argv) {
    const char *id = NULL, *format = "text";
    strlist_t add = { 0 }, remove = { 0 };
    const struct opt opts[] = { { "--add-roles -a", OPT_LIST, &add, "ROLE", "roles to give", NULL },
                                { "--remove-roles -r", OPT_LIST, &remove, "ROLE", "roles to take, also from the user's tokens", NULL },
                                FORMAT_OPTION(&format) };
    const struct arg args[] = { { "user_id", "the user", &id, NULL, false } };
    const struct usage u = { "user update", "Give roles to a user, or take them.", opts, 3, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && !(add.len + remove.len))
        code = opt_error(&u, "give --add-roles or --remove-roles");
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        bool as_json = str_eq(format, "json");
        code = change_roles(&a, id, &add, &remove, as_json);
        if (!code && as_json)
            code = get_user(&a, id, true);
        api_close(&a);
    }
    strlist_free(&add);
    strlist_free(&remove);
    return code;
}

/* ---- delete ---- */

static bool confirmed(const char *id) {
    char answer[16] = "";
    printf("Delete user %s with its roles, tokens and credentials? [y/N] ", id);
    fflush(stdout);
    bool yes = fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
    if (!yes)
        printf("Nothing is deleted.\n");
    return yes;
}

static int user_delete(int argc, char **argv) {
    const char *id = NULL;
    bool force = false;
    const struct opt opts[] = { { "--force -f", OPT_FLAG, &force, NULL, "do not ask", NULL } };
    const struct arg args[] = { { "user_id", "the user", &id, NULL, false } };
    const struct usage u = { "user delete", "Delete a user with its roles, tokens and credentials; its workflows stay.", opts, 1, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, false)))
        return code;
    if (force || confirmed(id)) {
        code = call_user(&a, "DELETE", user_path(id, "", NULL), NULL, NULL);
        if (!code)
            printf("User %s is deleted.\n", id);
    }
    api_close(&a);
    return code;
}

const struct command user_commands[USER_COMMANDS] = {
    { "create", "make a user", user_create },     { "update", "give or take roles", user_update },
    { "delete", "delete a user", user_delete },   { "list", "list users", user_list },
    { "get", "show a user and its roles", user_get },
};
