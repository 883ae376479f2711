/* login.yaml: where the client keeps who it is, in upstream's form, mode 0600; and the login and logout commands. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/yaml.h"
#include "cli.h"

char *config_dir(void) {
    const char *dir = getenv("OSMO_CONFIG_FILE_DIR"), *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (dir && *dir)
        return strdup(dir);
    return xdg && *xdg ? str_printf("%s/osmo", xdg) : str_printf("%s/.config/osmo", home && *home ? home : ".");
}

static char *copy_text(const yaml_node_t *n) { return n && n->kind == YAML_STRING ? strdup(n->text) : NULL; }

int login_load(struct login *l, osmo_error_t *err) {
    *l = (struct login){ 0 };
    _cleanup_free_ char *dir = config_dir();
    _cleanup_free_ char *path = dir ? str_printf("%s/login.yaml", dir) : NULL;
    buf_t text = BUF_INIT(1u << 20);
    yaml_node_t *n = NULL;
    int rc = path ? file_read(path, &text, err) : OSMO_ENOMEM;
    if (rc == OSMO_ENOTFOUND)
        osmo_error_set(err, rc, "You are not logged in: run osmo login URL first");
    if (!rc && (rc = yaml_parse(buf_cstr(&text), text.len, NULL, &n, err)))
        osmo_error_prefix(err, "%s", path);
    if (!rc) {
        const yaml_node_t *token = yaml_get(n, "token_login"), *flag = yaml_get(n, "osmo_token");
        l->url = copy_text(yaml_get(n, "url"));
        l->name = copy_text(yaml_get(n, "name"));
        l->id_token = copy_text(yaml_get(token, "id_token"));
        l->refresh_token = copy_text(yaml_get(token, "refresh_token"));
        l->refresh_url = copy_text(yaml_get(token, "refresh_url"));
        l->dev_user = copy_text(yaml_get(yaml_get(n, "dev_login"), "username"));
        l->osmo_token = flag && flag->kind == YAML_BOOL && flag->boolean;
        if (!l->url)
            rc = osmo_error_set(err, OSMO_EINVAL, "%s has no url: run osmo login URL again", path);
    }
    if (rc)
        login_clear(l);
    yaml_free(n);
    buf_free(&text);
    return rc;
}

void login_clear(struct login *l) {
    char **texts[] = { &l->url, &l->name, &l->id_token, &l->refresh_token, &l->refresh_url, &l->dev_user };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (*texts[i])
            crypto_wipe(*texts[i], strlen(*texts[i]));
        free(*texts[i]);
    }
    *l = (struct login){ 0 };
}

int login_save(const struct login *l, osmo_error_t *err) {
    _cleanup_free_ char *dir = config_dir();
    _cleanup_free_ char *path = dir ? str_printf("%s/login.yaml", dir) : NULL;
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    json_t *o = json_object(), *inner = json_object();
    json_set_str(o, "name", l->name);
    json_set_bool(o, "osmo_token", l->osmo_token);
    json_set_str(o, "url", l->url);
    if (l->dev_user) {
        json_set_str(inner, "username", l->dev_user);
        json_set(o, "dev_login", inner);
    } else {
        json_set_str(inner, "id_token", l->id_token);
        json_set_str(inner, "refresh_token", l->refresh_token);
        json_set_str(inner, "refresh_url", l->refresh_url);
        json_set_str(inner, "username", l->name);
        json_set(o, "token_login", inner);
    }
    buf_t text = BUF_INIT(1u << 20);
    int rc = yaml_emit(o, &text);
    json_free(o);
    if (!rc)
        rc = dir_make(dir, 0700, err);
    if (!rc)
        rc = file_write_atomic(path, text.data, text.len, 0600, false, err);
    if (text.data)
        crypto_wipe(text.data, text.len);
    buf_free(&text);
    return rc;
}

static char *read_secret_file(const char *path, osmo_error_t *err) {
    buf_t text = BUF_INIT(64u << 10);
    if (file_read(path, &text, err)) {
        buf_free(&text);
        return NULL;
    }
    while (text.len && strchr("\r\n", text.data[text.len - 1]))
        buf_truncate(&text, text.len - 1);
    return buf_steal(&text, NULL);
}

/* Exchange the access token once, so that a wrong one is noticed now. */
static int token_login(struct login *l, char *secret) {
    struct api a = { .login = { .url = l->url } };
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *body = json_object(), *answer = NULL, *claims = NULL;
    int code = http_client_new("osmo-cli/" CLIENT_VERSION, &a.http, &err)
                   ? api_fail(false, 0, err.text, EXIT_SERVER_DOWN)
                   : 0;
    json_set_str(body, "token", secret);
    if (!code)
        code = api_call(&a, "POST", "/api/auth/jwt/access_token", body, &answer);
    const char *jwt = json_get_str(answer, "token");
    if (!code && !jwt)
        code = api_fail(false, 0, "the service answered without a token", EXIT_SERVER_DOWN);
    if (!code) {
        l->id_token = strdup(jwt);
        l->refresh_token = strdup(secret);
        l->refresh_url = str_printf("%s/api/auth/jwt/access_token", l->url);
        l->osmo_token = true;
        const char *user = jwt_peek(jwt, strlen(jwt), &claims, NULL) ? NULL : json_get_str(claims, "unique_name");
        l->name = strdup(user ? user : "user");
    }
    json_free(claims);
    json_free(answer);
    json_free(body);
    http_client_free(a.http);
    return code;
}

static char *base_url(const char *url) {
    char *copy = strstr(url, "://") ? strdup(url) : str_printf("https://%s", url);
    while (copy && str_ends(copy, "/"))
        copy[strlen(copy) - 1] = '\0';
    return copy;
}

static int dev_login(struct login *l, const char *username) {
    const char *user = username ? username : getenv("USER");
    l->dev_user = strdup(user && *user ? user : "testuser");
    l->name = strdup(user && *user ? user : "testuser");
    return l->dev_user && l->name ? 0 : EXIT_USER;
}

static int secret_login(const struct usage *u, struct login *l, const char *token, const char *file) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!token && !file)
        token = getenv("OSMO_LOGIN_TOKEN");
    if (!token && !file)
        return opt_error(u, "--method token needs --token, --token-file or OSMO_LOGIN_TOKEN");
    _cleanup_free_ char *secret = token ? strdup(token) : read_secret_file(file, &err);
    if (!secret)
        return api_fail(false, 0, err.text[0] ? err.text : "out of memory", EXIT_USER);
    int code = token_login(l, secret);
    crypto_wipe(secret, strlen(secret));
    return code;
}

int cmd_login(int argc, char **argv) {
    const char *url = NULL, *method = "pkce", *username = NULL, *token = NULL, *token_file = NULL, *ignored[5] = { 0 };
    const struct opt opts[] = {
        { "--method", OPT_CHOICE, &method, "METHOD", "how to prove who you are", "pkce code password token dev" },
        { "--username", OPT_VALUE, &username, "NAME", "user name for --method dev", NULL },
        { "--token", OPT_VALUE, &token, "TOKEN", "access token for --method token", NULL },
        { "--token-file", OPT_VALUE, &token_file, "FILE", "file that holds the access token", NULL },
        { "--password", OPT_VALUE, &ignored[0], "P", "password for --method password", NULL },
        { "--password-file", OPT_VALUE, &ignored[1], "FILE", "file that holds the password", NULL },
        { "--device-endpoint", OPT_VALUE, &ignored[2], "URL", "identity provider endpoint for --method code", NULL },
        { "--browser-endpoint", OPT_VALUE, &ignored[3], "URL", "identity provider endpoint for --method pkce", NULL },
        { "--callback-port", OPT_VALUE, &ignored[4], "PORT", "loopback port for --method pkce", NULL },
    };
    const struct arg args[] = { { "url", "address of the service; the last one when left out", &url, NULL, true } };
    const struct usage u = { "login", "Log in to an OSMO service.", opts, ARRAY_SIZE(opts), args, 1 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    osmo_error_t err = OSMO_ERROR_INIT;
    struct login old = { 0 }, l = { 0 };
    if (strcmp(method, "token") && strcmp(method, "dev"))
        return opt_error(&u,
                         "--method %s needs an identity provider, which this service is not configured for: "
                         "use --method token or --method dev",
                         method);
    if (!url && login_load(&old, &err))
        return opt_error(&u, "a url is needed for the first login");
    l.url = base_url(url ? url : old.url);
    login_clear(&old);
    printf("Logging in to %s\n", l.url);
    code = strcmp(method, "dev") == 0 ? dev_login(&l, username) : secret_login(&u, &l, token, token_file);
    if (!code && login_save(&l, &err))
        code = api_fail(false, 0, err.text, EXIT_USER);
    if (!code)
        printf("Welcome %s\n", l.name);
    login_clear(&l);
    return code;
}

int cmd_logout(int argc, char **argv) {
    const struct usage u = { "logout", "Forget the login.", NULL, 0, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    _cleanup_free_ char *dir = config_dir();
    _cleanup_free_ char *path = dir ? str_printf("%s/login.yaml", dir) : NULL;
    if (path && unlink(path) && errno != ENOENT)
        return api_fail(false, 0, strerror(errno), EXIT_USER);
    puts("Logged out");
    return 0;
}
