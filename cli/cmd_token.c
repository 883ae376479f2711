/* token set, delete, list and roles: access tokens of one's own, and with --user those of others. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli.h"

#define DEFAULT_DAYS 31
#define DAY_US (86400LL * 1000000)

/* "/api/auth[/user/USER]/access_token[/NAME]" */
static void token_path(buf_t *path, const char *user, const char *name) {
    buf_puts(path, "/api/auth/");
    if (user) {
        buf_puts(path, "user/");
        url_encode(user, path);
        buf_puts(path, "/");
    }
    buf_puts(path, "access_token");
    if (name) {
        buf_puts(path, "/");
        url_encode(name, path);
    }
}

/* One call to it; frees the path. */
static int call_and_free(struct api *a, const char *method, buf_t *path, json_t **answer) {
    int code = buf_failed(path) ? api_fail(a->json_errors, 0, "out of memory", EXIT_USER)
                                : api_call(a, method, buf_cstr(path), NULL, answer);
    buf_free(path);
    return code;
}

/* ---- set ---- */

/* The value alone goes to stdout, so that it can be kept by a script. */
static void show_value(const json_t *answer, bool as_json) {
    const char *value = json_str(answer);
    if (!as_json) {
        fprintf(stderr, "Keep it in a safe place: it is shown only now.\n");
        printf("Access token: %s\n", value ? value : "");
        return;
    }
    json_t *o = json_object();
    if (o && json_set_str(o, "token", value) >= 0)
        print_json(o, 2);
    json_free_secret(o);
}

static int token_set(int argc, char **argv) {
    const char *name = NULL, *expires = NULL, *description = "", *user = NULL, *backend = NULL, *format = "text";
    strlist_t roles = { 0 };
    char fallback[16], time[TIME_TEXT_MAX];
    const struct opt opts[] = {
        { "--expires-at -e", OPT_VALUE, &expires, "YYYY-MM-DD", "day (UTC) from which on it is refused; 31 days from now", NULL },
        { "--description -d", OPT_VALUE, &description, "TEXT", "what it is for", NULL },
        { "--user -u", OPT_VALUE, &user, "USER", "whose it will be, for administrators", NULL },
        { "--roles -r", OPT_LIST, &roles, "ROLE", "roles it will have, of those of its user; all of them", NULL },
        { "--backend -b", OPT_VALUE, &backend, "BACKEND", "the only backend it may serve; needs role osmo-backend", NULL },
        FORMAT_OPTION(&format)
    };
    const struct arg args[] = { { "name", "name of the token", &name, NULL, false } };
    const struct usage u = { "token set", "Make an access token.", opts, ARRAY_SIZE(opts), args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        buf_t path = BUF_INIT(1u << 20);
        json_t *answer = NULL;
        snprintf(fallback, sizeof fallback, "%.10s", time_iso(clock_now_us() + DEFAULT_DAYS * DAY_US, time));
        token_path(&path, user, name);
        query_add(&path, "expires_at", expires ? expires : fallback);
        query_add(&path, "description", description);
        query_add_all(&path, "roles", &roles);
        if (backend)
            query_add(&path, "backend", backend);
        code = call_and_free(&a, "POST", &path, &answer);
        if (!code)
            show_value(answer, str_eq(format, "json"));
        json_free_secret(answer);
        api_close(&a);
    }
    strlist_free(&roles);
    return code;
}

/* ---- delete ---- */

static int token_delete(int argc, char **argv) {
    const char *name = NULL, *user = NULL;
    const struct opt opts[] = { { "--user -u", OPT_VALUE, &user, "USER", "whose it is, for administrators", NULL } };
    const struct arg args[] = { { "name", "name of the token", &name, NULL, false } };
    const struct usage u = { "token delete", "Delete an access token. It is refused from then on.", opts, 1, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, false)))
        return code;
    buf_t path = BUF_INIT(1u << 16);
    token_path(&path, user, name);
    code = call_and_free(&a, "DELETE", &path, NULL);
    if (!code)
        printf("Access token %s is deleted.\n", name);
    api_close(&a);
    return code;
}

/* ---- list, roles ---- */

static void show_token(struct table *t, const json_t *token, bool bound) {
    const json_t *roles = json_get(token, "roles");
    const char *expires = json_get_str(token, "expires_at");
    int64_t until = 0;
    char date[16];
    buf_t names = BUF_INIT(1u << 20);
    snprintf(date, sizeof date, "%.10s", expires ? expires : "-");
    for (size_t k = 0; k < json_len(roles); k++)
        buf_printf(&names, "%s%s", k ? ", " : "", json_str(json_at(roles, k)));
    table_add(t, json_get_str(token, "token_name"));
    table_add(t, json_get_str(token, "description"));
    table_add(t, expires && time_parse(expires, &until) && until > clock_now_us() ? "True" : "False");
    table_add(t, date);
    table_add(t, buf_cstr(&names));
    if (bound)
        table_add(t, json_get_str(token, "backend"));
    buf_free(&names);
}

/* With a column for backends where a token is for one. */
static void show_tokens(const json_t *answer) {
    static const char *const titles[] = { "Name", "Description", "Active", "Expires At (UTC)", "Roles", "Backend" };
    bool bound = false;
    for (size_t i = 0; i < json_len(answer); i++)
        bound |= json_get_str(json_at(answer, i), "backend") != NULL;
    struct table t = { .columns = bound ? 6 : 5 };
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, titles[i]);
    for (size_t i = 0; i < json_len(answer); i++)
        show_token(&t, json_at(answer, i), bound);
    table_print(&t, 1);
}

static int token_list(int argc, char **argv) {
    const char *user = NULL, *format = "text";
    const struct opt opts[] = { { "--user -u", OPT_VALUE, &user, "USER", "whose to list, for administrators", NULL },
                                FORMAT_OPTION(&format) };
    const struct usage u = { "token list", "List access tokens, also those that have expired.", opts, 2, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, str_eq(format, "json"))))
        return code;
    buf_t path = BUF_INIT(1u << 16);
    json_t *answer = NULL;
    token_path(&path, user, NULL);
    code = call_and_free(&a, "GET", &path, &answer);
    if (!code && str_eq(format, "json"))
        print_json(answer, 2);
    else if (!code)
        show_tokens(answer);
    json_free(answer);
    api_close(&a);
    return code;
}

static void show_roles(const json_t *answer) {
    struct table t = { .columns = 3 };
    const json_t *roles = json_get(answer, "roles");
    printf("Access token %s of %s:\n", json_get_str(answer, "token_name"), json_get_str(answer, "user_name"));
    table_add(&t, "Role");
    table_add(&t, "Assigned By");
    table_add(&t, "Assigned At");
    for (size_t i = 0; i < json_len(roles); i++) {
        char time[48];
        table_add(&t, json_get_str(json_at(roles, i), "role_name"));
        table_add(&t, json_get_str(json_at(roles, i), "assigned_by"));
        table_add(&t, local_time(json_get_str(json_at(roles, i), "assigned_at"), time));
    }
    table_print(&t, 1);
}

static int token_show_roles(int argc, char **argv) {
    const char *name = NULL, *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct arg args[] = { { "name", "name of the token", &name, NULL, false } };
    const struct usage u = { "token roles", "Show the roles of an access token of yours.", opts, 1, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, str_eq(format, "json"))))
        return code;
    buf_t path = BUF_INIT(1u << 16);
    json_t *answer = NULL;
    token_path(&path, NULL, name);
    buf_puts(&path, "/roles");
    code = call_and_free(&a, "GET", &path, &answer);
    if (!code && str_eq(format, "json"))
        print_json(answer, 2);
    else if (!code)
        show_roles(answer);
    json_free(answer);
    api_close(&a);
    return code;
}

const struct command token_commands[TOKEN_COMMANDS] = {
    { "set", "make an access token", token_set },
    { "create", "the same as set", token_set },
    { "delete", "delete an access token", token_delete },
    { "list", "list access tokens", token_list },
    { "roles", "show the roles of an access token", token_show_roles },
};
