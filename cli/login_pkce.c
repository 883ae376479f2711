/* osmo login --method pkce: authorization code with PKCE (RFC 7636, RFC 8252). The browser is opened where there is one, and its redirect
 * comes back to a listener on this machine. */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "login.h"

#define BROWSER_TIMEOUT_MS 300000
#define ADDRESS_MAX (16u << 10)

struct proof { char verifier[PKCE_TEXT], challenge[PKCE_TEXT], state[PKCE_TEXT], nonce[PKCE_TEXT]; };

static int random_text(char out[PKCE_TEXT]) {
    uint8_t bytes[32];
    _cleanup_buf_ buf_t text = BUF_INIT(PKCE_TEXT);
    if (crypto_random(bytes, sizeof bytes) || crypto_base64url(bytes, sizeof bytes, &text) || text.len != PKCE_TEXT - 1)
        return OSMO_EIO;
    memcpy(out, buf_cstr(&text), PKCE_TEXT);
    crypto_wipe(bytes, sizeof bytes);
    crypto_wipe(text.data, text.len);
    return OSMO_OK;
}

static int proof_make(struct proof *p, osmo_error_t *err) {
    if (random_text(p->verifier) || random_text(p->state) || random_text(p->nonce) || pkce_challenge(p->verifier, p->challenge))
        return osmo_error_set(err, OSMO_EIO, "no random numbers are to be had");
    return OSMO_OK;
}

static char *address_of(const struct endpoints *e, const struct proof *p, const char *redirect_uri) {
    buf_t url = BUF_INIT(ADDRESS_MAX);
    buf_puts(&url, e->browser);
    query_add(&url, "response_type", "code");
    query_add(&url, "client_id", e->browser_client);
    query_add(&url, "redirect_uri", redirect_uri);
    query_add(&url, "scope", OIDC_SCOPE);
    query_add(&url, "code_challenge", p->challenge);
    query_add(&url, "code_challenge_method", "S256");
    query_add(&url, "state", p->state);
    query_add(&url, "nonce", p->nonce);
    char *text = buf_steal(&url, NULL);
    buf_free(&url);
    return text;
}

/* The environment without what logs in: a browser lives longer than this command. Borrowed texts in a malloc'ed list. */
static char **environment(void) {
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    char **list = calloc(n + 1, sizeof *list);
    for (size_t i = 0; list && i < n; i++) {
        if (!str_starts(environ[i], "OSMO_LOGIN_"))
            list[kept++] = environ[i];
    }
    return list;
}

/* Only where somebody would see it; failing is fine, for the address is printed. */
static void open_browser(const char *url) {
    static const char *const signs[] = { "DISPLAY", "WAYLAND_DISPLAY", "BROWSER" };
    bool visible = false;
    for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
        visible = visible || (getenv(signs[i]) && *getenv(signs[i]));
    char *argv[] = { "xdg-open", (char *)url, NULL };
    _cleanup_free_ char **env = visible ? environment() : NULL;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    pid_t pid;
    if (!env)
        return;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    for (int fd = 0; fd < 3; fd++)
        posix_spawn_file_actions_addopen(&files, fd, "/dev/null", fd ? O_WRONLY : O_RDONLY, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID); /* Ctrl-C here shall not close it */
    posix_spawnp(&pid, argv[0], &files, &attr, argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
}

static int exchange(http_client_t *http, const struct endpoints *e, const struct proof *p, const struct redirect *r,
                    const char *redirect_uri, struct login *l, osmo_error_t *err) {
    _cleanup_buf_ buf_t form = FORM_INIT;
    form_add(&form, "grant_type", "authorization_code");
    form_add(&form, "code", r->code);
    form_add(&form, "redirect_uri", redirect_uri);
    form_add(&form, "client_id", e->browser_client);
    form_add(&form, "code_verifier", p->verifier);
    enum token_answer class;
    struct tokens tokens;
    _cleanup_free_ char *problem = NULL;
    int rc = token_ask(http, e->token, &form, &class, &tokens, &problem, err);
    if (!rc && class != TOKEN_GRANTED)
        rc = osmo_error_set(err, class == TOKEN_REFUSED ? OSMO_EUNAUTH : OSMO_EUNAVAIL,
                            "the identity provider gave no token: %s; run osmo login again", problem);
    const struct expected want = { .client_id = e->browser_client, .nonce = p->nonce, .issuer = r->iss };
    if (!rc)
        rc = tokens_accept(&tokens, &want, e->token, l, err);
    tokens_clear(&tokens);
    return rc;
}

static int converse(http_client_t *http, const struct endpoints *e, loopback_t *listener, const struct proof *p, struct login *l,
                    osmo_error_t *err) {
    _cleanup_free_ char *redirect_uri = str_printf("http://localhost:%d", loopback_port(listener));
    _cleanup_free_ char *url = redirect_uri ? address_of(e, p, redirect_uri) : NULL;
    struct redirect r = { 0 };
    if (!url)
        return osmo_error_set(err, OSMO_EINVAL, "browser_endpoint" OF_SERVICE " is too long");
    printf("Log in with a browser on this machine; if none opens, go to:\n%s\n", url);
    fflush(stdout);
    open_browser(url);
    int rc = loopback_wait(listener, p->state, BROWSER_TIMEOUT_MS, &r, err);
    if (!rc && r.error) {
        _cleanup_free_ char *why = printable(r.description ? r.description : r.error, 300);
        rc = osmo_error_set(err, OSMO_EUNAUTH, "the identity provider refused the login: %s", why ? why : "no reason given");
    }
    if (!rc)
        rc = exchange(http, e, p, &r, redirect_uri, l, err);
    redirect_clear(&r);
    return rc;
}

int pkce_login(http_client_t *http, const struct endpoints *e, int port, struct login *l, osmo_error_t *err) {
    struct proof p;
    loopback_t *listener = NULL;
    int rc = endpoints_for_browser(e, err);
    if (!rc)
        rc = proof_make(&p, err);
    if (!rc)
        rc = loopback_open(port, &listener, err);
    if (!rc)
        rc = converse(http, e, listener, &p, l, err);
    loopback_close(listener);
    crypto_wipe(&p, sizeof p);
    return rc;
}
