/* The login and logout commands: which method, what it needs, and what is kept in the end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "login.h"

#define LOGOUT_TIMEOUT_MS 5000

struct request {
    const char *method, *username, *token, *token_file, *password, *password_file, *device_endpoint, *browser_endpoint;
    int64_t port;
};

static int failed(int rc, const osmo_error_t *err) {
    return api_fail(false, 0, err->text[0] ? err->text : "out of memory", exit_code_of(rc));
}

/* Of the command line, a file or the environment, in that order. 0 with NULL when there is none. What the command line had is overwritten
 * there, so that a list of processes shows it no longer than it takes to read it. */
static int find_secret(const char *value, const char *file, const char *variable, char **out, osmo_error_t *err) {
    const char *text = value ? value : file ? NULL : getenv(variable);
    *out = NULL;
    if (file && !value)
        return secret_read(file, out, err);
    if (text && *text && !(*out = strdup(text)))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (value)
        crypto_wipe((char *)value, strlen(value));
    return OSMO_OK;
}

/* Exchange the access token once, so that a wrong one is noticed now. */
static int exchange_token(struct login *l, const char *secret) {
    struct api a = { .login = { .url = l->url } };
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_secret_ json_t *body = json_object();
    _cleanup_json_secret_ json_t *answer = NULL;
    json_t *claims = NULL;
    int rc = http_client_new("osmo-cli/" CLIENT_VERSION, &a.http, &err);
    int code = rc ? failed(rc, &err) : 0;
    json_set_str(body, "token", secret);
    if (!code)
        code = api_call(&a, "POST", "/api/auth/jwt/access_token", body, &answer);
    const char *jwt = json_get_str(answer, "token");
    if (!code && !jwt)
        code = api_fail(false, 0, "the service answered without a token: is the url right?", EXIT_SERVER_DOWN);
    if (!code) {
        const char *user = jwt_peek(jwt, strlen(jwt), &claims, NULL) ? NULL : json_get_str(claims, "unique_name");
        l->id_token = strdup(jwt);
        l->refresh_token = strdup(secret);
        l->refresh_url = str_printf("%s/api/auth/jwt/access_token", l->url);
        l->osmo_token = true;
        l->name = printable(user ? user : "user", 256);
        if (!l->id_token || !l->refresh_token || !l->refresh_url || !l->name)
            code = api_fail(false, 0, "out of memory", EXIT_USER);
    }
    json_free(claims);
    http_client_free(a.http);
    return code;
}

static int token_login(const struct usage *u, const struct request *rq, struct login *l) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char *secret;
    int rc = find_secret(rq->token, rq->token_file, "OSMO_LOGIN_TOKEN", &secret, &err);
    if (rc)
        return failed(rc, &err);
    if (!secret)
        return opt_error(u, "--method token needs --token-file, --token or OSMO_LOGIN_TOKEN");
    int code = exchange_token(l, secret);
    wipe_free(secret);
    return code;
}

static int dev_login(const struct request *rq, struct login *l) {
    const char *user = rq->username ? rq->username : getenv("USER");
    l->dev_user = strdup(user && *user ? user : "testuser");
    l->name = strdup(user && *user ? user : "testuser");
    return l->dev_user && l->name ? 0 : EXIT_USER;
}

/* The service has no provider for this method: which one would work? */
static int no_endpoint(const struct request *rq, const struct endpoints *e) {
    const char *other = e->device    ? "--method code"
                        : e->browser ? "--method pkce"
                                     : "--method token --token-file FILE, or --method dev if it runs with --auth dev";
    _cleanup_free_ char *text = str_printf("this service has no identity provider for --method %s: use %s", rq->method, other);
    return api_fail(false, 0, text ? text : "out of memory", EXIT_USER);
}

static int password_grant(http_client_t *http, const struct endpoints *e, const char *username, const char *password, struct login *l,
                          osmo_error_t *err) {
    _cleanup_buf_ buf_t form = FORM_INIT;
    enum token_answer class;
    struct tokens tokens;
    _cleanup_free_ char *problem = NULL;
    form_add(&form, "grant_type", "password");
    form_add(&form, "client_id", e->device_client);
    form_add(&form, "scope", OIDC_SCOPE);
    form_add(&form, "username", username);
    form_add(&form, "password", password);
    int rc = token_ask(http, e->token, &form, &class, &tokens, &problem, err);
    if (!rc && class != TOKEN_GRANTED)
        rc = osmo_error_set(err, class == TOKEN_REFUSED ? OSMO_EUNAUTH : OSMO_EUNAVAIL, "the identity provider gave no token: %s", problem);
    const struct expected want = { .client_id = e->device_client };
    if (!rc)
        rc = tokens_accept(&tokens, &want, e->token, l, err);
    tokens_clear(&tokens);
    return rc;
}

static int password_login(http_client_t *http, const struct endpoints *e, const struct request *rq, struct login *l, osmo_error_t *err) {
    char *password = NULL;
    if (!e->device_client)
        return osmo_error_set(err, OSMO_EINVAL, "the service's login_info has no device_client_id: its administrator can add it");
    int rc = endpoint_check("token_endpoint" OF_SERVICE, e->token, err);
    if (!rc && !url_is_private(l->url))
        rc = osmo_error_set(err, OSMO_EINVAL, "a password is asked for by https:// services only: somebody on the way could answer for %s",
                            l->url);
    if (!rc)
        rc = find_secret(rq->password, rq->password_file, "OSMO_LOGIN_PASSWORD", &password, err);
    if (!rc && !password && (rc = secret_prompt("Password: ", &password, err)) == OSMO_EUNAVAIL)
        rc = osmo_error_set(err, OSMO_EINVAL, "no terminal to ask for the password at: use --password-file or OSMO_LOGIN_PASSWORD");
    if (!rc)
        rc = password_grant(http, e, rq->username, password, l, err);
    wipe_free(password);
    return rc;
}

static int put_endpoint(char **endpoint, const char *given, osmo_error_t *err) {
    if (!given)
        return OSMO_OK;
    free(*endpoint);
    return (*endpoint = strdup(given)) ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int provider_login(const struct usage *u, const struct request *rq, struct login *l) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct endpoints e = { 0 };
    http_client_t *http = NULL;
    bool browser = str_eq(rq->method, "pkce"), device = str_eq(rq->method, "code");
    if (!browser && !device && !rq->username)
        return opt_error(u, "--method password needs --username");
    int code = 0, rc = http_client_new("osmo-cli/" CLIENT_VERSION, &http, &err);
    if (!rc)
        rc = provider_endpoints(http, l->url, ASK_TIMEOUT_MS, &e, &err);
    if (!rc)
        rc = put_endpoint(&e.browser, rq->browser_endpoint, &err);
    if (!rc)
        rc = put_endpoint(&e.device, rq->device_endpoint, &err);
    if (!rc && !(browser ? e.browser : device ? e.device : e.token))
        code = no_endpoint(rq, &e);
    else if (!rc)
        rc = browser  ? pkce_login(http, &e, (int)rq->port, l, &err)
             : device ? device_login(http, &e, l, &err)
                      : password_login(http, &e, rq, l, &err);
    if (rc)
        code = failed(rc, &err);
    if (!code && !l->refresh_token)
        fprintf(stderr, "The identity provider gave no refresh token: the login ends when its token expires\n");
    endpoints_clear(&e);
    http_client_free(http);
    return code;
}

static char *base_url(const char *url) {
    char *copy = strstr(url, "://") ? strdup(url) : str_printf("https://%s", url);
    while (copy && str_ends(copy, "/"))
        copy[strlen(copy) - 1] = '\0';
    return copy;
}

static int keep(const struct login *l) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_close_ int lock = login_lock();
    (void)lock; /* held until the end */
    int rc = login_save(l, &err);
    if (rc)
        return api_fail(false, 0, err.text, EXIT_USER);
    printf("Welcome %s\n", l->name);
    return 0;
}

/* The address given, or the one of the last login. */
static int choose_url(const struct usage *u, const char *url, struct login *l) {
    osmo_error_t err = OSMO_ERROR_INIT;
    url_parts_t parts;
    struct login old = { 0 };
    if (!url && login_load(&old, NULL))
        return opt_error(u, "a url is needed for the first login");
    l->url = base_url(url ? url : old.url);
    login_clear(&old);
    int rc = l->url ? url_parse(l->url, &parts, &err) : OSMO_ENOMEM;
    if (rc)
        return failed(rc, &err);
    if (!url_is_private(l->url))
        fprintf(stderr, "Warning: %s is not encrypted: whoever is on the way can read the login\n", l->url);
    printf("Logging in to %s\n", l->url);
    fflush(stdout);
    return 0;
}

int cmd_login(int argc, char **argv) {
    const char *url = NULL;
    struct request rq = { .method = "pkce" };
    const struct opt opts[] = {
        { "--method", OPT_CHOICE, &rq.method, "METHOD", "how to prove who you are (default pkce)", "pkce code password token dev" },
        { "--username", OPT_VALUE, &rq.username, "NAME", "user name for --method password and dev", NULL },
        { "--token", OPT_VALUE, &rq.token, "TOKEN", "access token for --method token", NULL },
        { "--token-file", OPT_VALUE, &rq.token_file, "FILE", "file that holds the access token", NULL },
        { "--password", OPT_VALUE, &rq.password, "P", "password for --method password; asked for when left out", NULL },
        { "--password-file", OPT_VALUE, &rq.password_file, "FILE", "file that holds the password", NULL },
        { "--device-endpoint", OPT_VALUE, &rq.device_endpoint, "URL", "for --method code, instead of the service's", NULL },
        { "--browser-endpoint", OPT_VALUE, &rq.browser_endpoint, "URL", "for --method pkce, instead of the service's", NULL },
        { "--callback-port", OPT_INT, &rq.port, "PORT", "where --method pkce waits for the browser; 0: any", NULL },
    };
    const struct arg args[] = { { "url", "address of the service; the last one when left out", &url, NULL, true } };
    const struct usage u = { "login", "Log in to an OSMO service.", opts, ARRAY_SIZE(opts), args, 1 };
    struct login l = { 0 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    if (rq.port < 0 || rq.port > 65535)
        return opt_error(&u, "argument --callback-port: a port is a number from 0 to 65535");
    code = choose_url(&u, url, &l);
    if (!code)
        code = str_eq(rq.method, "dev")     ? dev_login(&rq, &l)
               : str_eq(rq.method, "token") ? token_login(&u, &rq, &l)
                                            : provider_login(&u, &rq, &l);
    if (!code)
        code = keep(&l);
    login_clear(&l);
    return code;
}

/* The session at the provider is the browser's: we can only say where it ends. */
static void say_where_to_log_out(const struct login *l) {
    if (l->osmo_token || !l->id_token)
        return;
    http_client_t *http = NULL;
    struct endpoints e = { 0 };
    if (http_client_new("osmo-cli/" CLIENT_VERSION, &http, NULL) == 0 &&
        provider_endpoints(http, l->url, LOGOUT_TIMEOUT_MS, &e, NULL) == 0 && e.logout &&
        endpoint_check("logout_endpoint", e.logout, NULL) == 0) {
        _cleanup_free_ char *where = printable(e.logout, 2048);
        if (where)
            printf("To log out of the identity provider too, open %s in your browser\n", where);
    }
    endpoints_clear(&e);
    http_client_free(http);
}

int cmd_logout(int argc, char **argv) {
    const struct usage u = { "logout", "Forget the login.", NULL, 0, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    _cleanup_free_ char *path = login_path();
    struct login l = { 0 };
    int lock = login_lock();
    login_load(&l, NULL);
    bool gone = path && (unlink(path) == 0 || errno == ENOENT);
    if (!gone)
        code = api_fail(false, 0, path ? strerror(errno) : "out of memory", EXIT_USER);
    if (lock >= 0)
        close(lock);
    if (gone) {
        puts("Logged out");
        say_where_to_log_out(&l);
        code = 0;
    }
    login_clear(&l);
    return code;
}
