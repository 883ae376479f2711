/* profile list and set. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

/* A YAML list under a key; an empty one is written [], so that the whole block can be read back. */
static void show_names(const char *indent, const char *title, const json_t *list) {
    printf("%s%s:%s\n", indent, title, json_len(list) ? "" : " []");
    for (size_t i = 0; i < json_len(list); i++)
        printf("%s- %s\n", indent, json_str(json_at(list, i)));
}

static void show_profile(const json_t *answer) {
    const json_t *p = json_get(answer, "profile"), *token = json_get(answer, "token");
    const char *pool = json_get_str(p, "pool"), *expires = json_get_str(token, "expires_at");
    printf("user:\n  name: %s\nnotifications:\n  email: %s\n  slack: %s\npool:\n  default: %s\n", json_get_str(p, "username"),
           json_get_bool(p, "email_notification", false) ? "true" : "false",
           json_get_bool(p, "slack_notification", false) ? "true" : "false", pool ? pool : "-");
    show_names("  ", "accessible", json_get(answer, "pools"));
    show_names("", "roles", json_get(answer, "roles"));
    if (token)
        printf("token:\n  name: %s\n  expires_at: %s\n", json_get_str(token, "name"), expires ? expires : "-");
}

static int profile_list(int argc, char **argv) {
    const char *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct usage u = { "profile list", "Show your profile.", opts, 1, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, str_eq(format, "json"))))
        return code;
    json_t *answer = NULL;
    code = api_call(&a, "GET", "/api/profile/settings", NULL, &answer);
    if (!code && str_eq(format, "json"))
        print_json(answer, 4);
    else if (!code)
        show_profile(answer);
    json_free(answer);
    api_close(&a);
    return code;
}

/* -1, or the exit code of a mistake. */
static int read_setting(const struct usage *u, const char *what, const char *value, const char *flag, json_t *body) {
    if (str_eq(what, "pool"))
        return flag ? opt_error(u, "a pool has one name") : json_set_str(body, "pool", value) < 0 ? EXIT_USER : -1;
    if (!str_eq(what, "notifications"))
        return opt_error(u, "'%s' cannot be set: say pool NAME, or notifications email|slack true|false", what);
    if (!str_eq(value, "email") && !str_eq(value, "slack"))
        return opt_error(u, "'%s' is no kind of notification: say email or slack", value);
    if (!str_eq(flag, "true") && !str_eq(flag, "false"))
        return opt_error(u, "say true or false behind %s", value);
    const char *key = value[0] == 'e' ? "email_notification" : "slack_notification";
    return json_set_bool(body, key, flag[0] == 't') < 0 ? EXIT_USER : -1;
}

static int profile_set(int argc, char **argv) {
    const char *what = NULL, *value = NULL, *flag = NULL;
    const struct arg args[] = { { "pool|notifications", "what to set", &what, NULL, false },
                                { "value", "pool name, or email|slack", &value, NULL, false },
                                { "true|false", "for notifications", &flag, NULL, true } };
    const struct usage u = { "profile set", "Change your profile.", NULL, 0, args, 3 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    json_t *body = json_object();
    code = body ? read_setting(&u, what, value, flag, body) : EXIT_USER;
    struct api a;
    if (code < 0 && !(code = api_open(&a, false))) {
        code = api_call(&a, "POST", "/api/profile/settings", body, NULL);
        if (!code && flag)
            printf("Notifications by %s are %s.\n", value, flag[0] == 't' ? "on" : "off");
        else if (!code)
            printf("The default pool is %s.\n", value);
        api_close(&a);
    }
    json_free(body);
    return code;
}

const struct command profile_commands[PROFILE_COMMANDS] = { { "list", "show your profile", profile_list },
                                                            { "set", "change your profile", profile_set } };
