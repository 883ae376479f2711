/* Logging in by an OpenID provider: the pure parts, the listener for the browser's redirect, the grants against a scripted provider, and
 * the renewal of tokens. A real provider is in tests/oidc/test_oidc.sh. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "capture.h"
#include "check.h"
#include "login.h"
#include "peer.h"

static char dir[] = "/tmp/osmo-login-XXXXXX";

/* ---- pure ---- */

static void test_challenge(void) {
    char out[PKCE_TEXT];
    REQUIRE(pkce_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", out) == 0); /* RFC 7636, appendix B */
    CHECK_STR(out, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

static void test_redirect(void) {
    static const struct {
        const char *target;
        int rc;
        const char *code, *state, *iss, *error;
    } cases[] = {
        { "/?code=a%2Bb&state=s", 0, "a+b", "s", NULL, NULL },
        { "/?state=s&code=c&session_state=x&iss=https%3A%2F%2Fidp.example%2F", 0, "c", "s", "https://idp.example/", NULL },
        { "/?error=access_denied&error_description=no+way&state=s", 0, NULL, "s", NULL, "access_denied" },
        { "/?code=&state=s", 0, "", "s", NULL, NULL },
        { "/?&code=c&&state=s&flag", 0, "c", "s", NULL, NULL },
        { "/?code=c&state=s&code=d", OSMO_EINVAL, NULL, NULL, NULL, NULL },
        { "/?code=c&state=s&state=s", OSMO_EINVAL, NULL, NULL, NULL, NULL },
        { "/?code=c", OSMO_EINVAL, NULL, NULL, NULL, NULL },
        { "/?state=s", OSMO_EINVAL, NULL, NULL, NULL, NULL },
        { "/?code=%zz&state=s", OSMO_EINVAL, NULL, NULL, NULL, NULL },
        { "/?code=%00&state=s", OSMO_EINVAL, NULL, NULL, NULL, NULL },
        { "/", OSMO_EINVAL, NULL, NULL, NULL, NULL },
        { "/favicon.ico", OSMO_ENOTFOUND, NULL, NULL, NULL, NULL },
        { "/x?code=c&state=s", OSMO_ENOTFOUND, NULL, NULL, NULL, NULL },
        { "//?code=c&state=s", OSMO_ENOTFOUND, NULL, NULL, NULL, NULL },
        { "http://localhost/?code=c&state=s", OSMO_ENOTFOUND, NULL, NULL, NULL, NULL },
        { "?code=c&state=s", OSMO_ENOTFOUND, NULL, NULL, NULL, NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct redirect r;
        CHECK_INT(redirect_read(cases[i].target, &r, NULL), cases[i].rc);
        CHECK_STR(r.code, cases[i].code);
        CHECK_STR(r.state, cases[i].state);
        CHECK_STR(r.iss, cases[i].iss);
        CHECK_STR(r.error, cases[i].error);
        redirect_clear(&r);
    }
}

static void test_answers(void) {
    static const struct {
        int status;
        const char *body;
        enum token_answer class;
        const char *problem;
    } cases[] = {
        { 200, "{\"id_token\": \"a.b.c\"}", TOKEN_GRANTED, NULL },
        { 200, "{\"access_token\": \"a\"}", TOKEN_REFUSED, "scope openid" },
        { 200, "[]", TOKEN_REFUSED, "scope openid" },
        { 400, "{\"error\": \"authorization_pending\"}", TOKEN_PENDING, "authorization_pending" },
        { 400, "{\"error\": \"slow_down\"}", TOKEN_SLOW_DOWN, "slow_down" },
        { 429, "null", TOKEN_SLOW_DOWN, "status 429" },
        { 400, "{\"error\": \"expired_token\"}", TOKEN_EXPIRED, "expired_token" },
        { 400, "{\"error\": \"invalid_grant\", \"error_description\": \"used\\u001b[2J twice\"}", TOKEN_REFUSED,
          "invalid_grant: used?[2J twice" },
        { 403, "{\"error\": \"access_denied\"}", TOKEN_REFUSED, "access_denied" },
        { 401, "null", TOKEN_REFUSED, "status 401" },
        { 302, "null", TOKEN_REFUSED, "status 302" },
        { 503, "{\"error\": \"temporarily_unavailable\"}", TOKEN_UNAVAILABLE, "temporarily_unavailable" },
        { 500, "{\"error\": 7}", TOKEN_UNAVAILABLE, "status 500" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *body = NULL;
        REQUIRE(json_parse(cases[i].body, strlen(cases[i].body), &body, NULL) == 0);
        CHECK_INT(token_classify(cases[i].status, body), cases[i].class);
        _cleanup_free_ char *problem = token_problem(cases[i].status, body);
        if (cases[i].problem)
            CHECK_CONTAINS(problem, cases[i].problem);
    }
}

static void test_printable(void) {
    static const struct { const char *text, *clean; } cases[] = {
        { "plain", "plain" }, { "a\nb\x1b[31m", "a?b?[31m" }, { "\xc2\x9b" "31m", "??31m" }, { "na\xc3\xafve", "na\xc3\xafve" },
        { "\xff!", "\xef\xbf\xbd!" },
        { "0123456789abcdef", "0123456789" }, { NULL, NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *clean = printable(cases[i].text, 10);
        CHECK_STR(clean, cases[i].clean);
    }
}

static void test_endpoints(void) {
    static const struct { const char *url; bool good; } cases[] = {
        { "https://idp.example/auth", true },     { "http://localhost:8080/auth", true }, { "http://127.0.0.1:1/t", true },
        { "http://[::1]:1/t", true },             { "http://idp.example/auth", false },   { "http://127.0.0.1.idp.example/t", false },
        { "http://localhost.idp.example/", false }, { "wss://idp.example/", false },      { "ftp://localhost/", false },
        { "javascript:alert(1)", false },         { "/auth", false },                     { "https://user@idp.example/", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CHECK_INT(endpoint_check("it", cases[i].url, NULL) == 0, cases[i].good);
    }
    struct endpoints e;
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *answer = json_object();
    json_set_str(answer, "browser_endpoint", "https://idp.example/auth");
    json_set_str(answer, "token_endpoint", "https://idp.example/token");
    json_set_str(answer, "device_endpoint", NULL);
    REQUIRE(endpoints_read(answer, &e, NULL) == 0);
    CHECK(!e.device && !e.logout);
    CHECK_INT(endpoints_for_browser(&e, &err), OSMO_EINVAL);
    CHECK_CONTAINS(err.text, "browser_client_id");
    e.browser_client = strdup("osmo");
    CHECK_INT(endpoints_for_browser(&e, &err), 0);
    free(e.token);
    e.token = strdup("http://idp.example/token");
    CHECK_INT(endpoints_for_browser(&e, &err), OSMO_EINVAL);
    CHECK_CONTAINS(err.text, "token_endpoint of the service's login_info is not encrypted");
    endpoints_clear(&e);
    CHECK_INT(endpoints_read(NULL, &e, &err), OSMO_EINVAL);
}

/* A JWT that nobody signed: clients read theirs without verifying it. */
static char *make_jwt(const char *claims) {
    _cleanup_buf_ buf_t b = BUF_INIT(8192);
    crypto_base64url("{\"alg\":\"RS256\"}", 15, &b);
    buf_putc(&b, '.');
    crypto_base64url(claims, strlen(claims), &b);
    buf_puts(&b, ".c2ln");
    return buf_steal(&b, NULL);
}

#define IDP "{\"iss\":\"https://idp\","
#define U7 ",\"sub\":\"u7\","

static void test_id_token(void) {
    static const struct expected all = { "osmo", "n1", "https://idp", "u7" };
    static const struct {
        const char *claims, *problem, *user;
    } cases[] = {
        { IDP "\"aud\":\"osmo\",\"nonce\":\"n1\"" U7 "\"exp\":2000,\"preferred_username\":\"maya\"}", NULL, "maya" },
        { IDP "\"aud\":[\"x\",\"osmo\"],\"nonce\":\"n1\"" U7 "\"exp\":1000}", NULL, "u7" },
        { IDP "\"aud\":[\"x\",\"osmo\"],\"azp\":\"osmo\",\"nonce\":\"n1\"" U7 "\"exp\":2000,\"email\":\"m@x\"}", NULL, "m@x" },
        { IDP "\"aud\":[\"x\",\"osmo\"],\"azp\":\"x\",\"nonce\":\"n1\"" U7 "\"exp\":2000}", "another client", NULL },
        { IDP "\"aud\":\"x\",\"nonce\":\"n1\"" U7 "\"exp\":2000}", "another client", NULL },
        { IDP "\"nonce\":\"n1\"" U7 "\"exp\":2000}", "another client", NULL },
        { IDP "\"aud\":\"osmo\",\"nonce\":\"n2\",\"sub\":\"u7\",\"exp\":2000}", "another login", NULL },
        { IDP "\"aud\":\"osmo\",\"sub\":\"u7\",\"exp\":2000}", "another login", NULL },
        { "{\"iss\":\"https://evil\",\"aud\":\"osmo\",\"nonce\":\"n1\"" U7 "\"exp\":2000}", "another issuer", NULL },
        { "{\"aud\":\"osmo\",\"nonce\":\"n1\"" U7 "\"exp\":2000}", "no issuer", NULL },
        { IDP "\"aud\":\"osmo\",\"nonce\":\"n1\",\"sub\":\"u8\",\"exp\":2000}", "another user", NULL },
        { IDP "\"aud\":\"osmo\",\"nonce\":\"n1\"" U7 "\"exp\":940}", "expired", NULL },
        { IDP "\"aud\":\"osmo\",\"nonce\":\"n1\",\"sub\":\"u7\"}", "expired", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *token = make_jwt(cases[i].claims);
        osmo_error_t err = OSMO_ERROR_INIT;
        char *user = NULL;
        CHECK_INT(id_token_check(token, &all, 1000, &user, &err), cases[i].problem ? OSMO_EUNAUTH : 0);
        CHECK_STR(user, cases[i].user);
        if (cases[i].problem)
            CHECK_CONTAINS(err.text, cases[i].problem);
        free(user);
    }
    char *user = NULL;
    CHECK_INT(id_token_check("a.b", &all, 1000, &user, NULL), OSMO_EUNAUTH);
    CHECK_INT(id_token_check("opaque", &all, 1000, &user, NULL), OSMO_EUNAUTH);
}

/* ---- the listener ---- */

static int knock(int port, int family) {
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, family == AF_INET ? sizeof v4 : sizeof v6)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Send it in two pieces and read the whole answer. */
static void ask(int port, const char *request, char *out, size_t size) {
    int fd = knock(port, AF_INET);
    size_t len = 0, half = strlen(request) / 2;
    ssize_t n = 1;
    fd_write_all(fd, request, half);
    fd_write_all(fd, request + half, strlen(request) - half);
    while (len < size - 1 && (n = read(fd, out + len, size - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = '\0';
    close(fd);
}

struct visit { int port; char answers[8][2048]; };

static void visit_one(struct visit *v, size_t i, const char *method, const char *target, const char *host) {
    char request[2048];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: */*\r\n\r\n", method, target, host, v->port);
    ask(v->port, request, v->answers[i], sizeof v->answers[i]);
}

static void *browser(void *arg) {
    struct visit *v = arg;
    int silent[20]; /* a browser's connections for later, more than are kept */
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
        silent[i] = knock(v->port, AF_INET);
    visit_one(v, 0, "GET", "/favicon.ico", "localhost");
    visit_one(v, 1, "GET", "/?code=stolen&state=wrong", "localhost");
    visit_one(v, 2, "POST", "/?code=c&state=right", "localhost");
    visit_one(v, 3, "GET", "/?code=c&state=right", "evil.example");
    visit_one(v, 4, "GET", "/?code=c&code=d&state=right", "localhost");
    ask(v->port, "GET /?code=c&state=right HTTP/1.1\r\n\r\n", v->answers[5], sizeof v->answers[5]);
    visit_one(v, 6, "GET", "/?state=right&code=c0de&iss=me", "localhost");
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
        close(silent[i]);
    return NULL;
}

static void test_listener(void) {
    static const char *const statuses[] = { "404", "400", "405", "403", "400", "403", "200" };
    static struct visit v;
    loopback_t *l = NULL;
    pthread_t thread;
    struct redirect r = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(loopback_open(0, &l, &err) == 0);
    v.port = loopback_port(l);
    REQUIRE(pthread_create(&thread, NULL, browser, &v) == 0);
    CHECK_OK(loopback_wait(l, "right", 60000, &r, &err), &err);
    pthread_join(thread, NULL);
    CHECK_STR(r.code, "c0de");
    CHECK_STR(r.iss, "me");
    redirect_clear(&r);
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        CHECK_CONTAINS(v.answers[i], statuses[i]);
        CHECK(!strstr(v.answers[i], "stolen") && !strstr(v.answers[i], "c0de"));
    }
    CHECK_CONTAINS(v.answers[6], "window may be closed");
    CHECK_CONTAINS(v.answers[6], "Cache-Control: no-store");
    CHECK_INT(loopback_wait(l, "right", 1, &r, &err), OSMO_ETIMEOUT);
    loopback_t *second = NULL;
    CHECK_INT(loopback_open(v.port, &second, &err), OSMO_EUNAVAIL);
    CHECK_CONTAINS(err.text, "--callback-port");
    loopback_close(l);
}

/* ---- the grants ---- */

#define HEAD "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%s"

static char *answer(int status, const char *body) { return str_printf(HEAD, status, strlen(body), body); }

static char *tokens_answer(const char *jwt, const char *refresh) {
    _cleanup_free_ char *body = str_printf("{\"id_token\": \"%s\", \"refresh_token\": \"%s\"}", jwt, refresh);
    return answer(200, body);
}

static char *claims_until(int64_t exp, const char *sub) {
    static const char claims[] = IDP "\"aud\":\"osmo-device\",\"sub\":\"%s\",\"exp\":%lld,\"name\":\"Maya\"}";
    _cleanup_free_ char *text = str_printf(claims, sub, (long long)exp);
    return make_jwt(text);
}

static int64_t now_s(void) { return clock_now_us() / 1000000; }

/* A peer that is service and provider in one: how to log in first, then the answers given (malloc'ed, NULL at the end). */
struct provider { struct peer peer; char *answers[16], url[64]; };

static bool provider_start(struct provider *p, char *const *rest) {
    size_t n = 1;
    if (!peer_listen(&p->peer))
        return false;
    snprintf(p->url, sizeof p->url, "http://127.0.0.1:%d", p->peer.port);
    _cleanup_free_ char *body =
        str_printf("{\"device_endpoint\": \"%s/device\", \"device_client_id\": \"osmo-device\", \"token_endpoint\": \"%s/token\","
                   " \"browser_endpoint\": null, \"logout_endpoint\": \"https://idp/out\"}",
                   p->url, p->url);
    p->answers[0] = answer(200, body);
    for (; *rest; rest++)
        p->answers[n++] = *rest;
    p->answers[n] = NULL;
    return peer_serve(&p->peer, (const char *const *)p->answers);
}

static void provider_end(struct provider *p) {
    peer_end(&p->peer);
    for (size_t i = 0; p->answers[i]; i++)
        free(p->answers[i]);
}

/* Of an address and words separated by blanks, in memory that the command may overwrite. */
static int run_command(int (*command)(int, char **), const char *url, const char *options) {
    static char text[1024];
    char *words[32];
    int n = 0;
    snprintf(text, sizeof text, "%s%s", url, options);
    for (char *p = text, *at; (at = strsep(&p, " "));)
        words[n++] = at;
    capture();
    int code = command(n, words);
    release();
    return code;
}

static void test_password(void) {
    static struct provider p;
    _cleanup_free_ char *jwt = claims_until(now_s() + 300, "u7"), *other = make_jwt("{\"iss\":\"i\",\"aud\":\"x\",\"exp\":99999999999}");
    struct login l;
    REQUIRE(provider_start(&p, (char *[]){ tokens_answer(jwt, "r1"), NULL }));
    CHECK_INT(run_command(cmd_login, p.url, " --method password --username maya --password p&w"), 0);
    CHECK_CONTAINS(captured, "Welcome Maya");
    CHECK(!strstr(captured, "p&w") && !strstr(captured, jwt));
    provider_end(&p);
    CHECK_CONTAINS(p.peer.got, "GET /api/auth/login HTTP/1.1");
    CHECK_CONTAINS(p.peer.got, "POST /token HTTP/1.1");
    CHECK_CONTAINS(p.peer.got, "Content-Type: application/x-www-form-urlencoded");
    CHECK_CONTAINS(p.peer.got, "grant_type=password&client_id=osmo-device&scope=openid%20offline_access%20profile&username=maya&"
                               "password=p%26w");
    REQUIRE(login_load(&l, NULL) == 0);
    CHECK_STR(l.id_token, jwt);
    CHECK_STR(l.refresh_token, "r1");
    CHECK_STR(l.client_id, "osmo-device");
    CHECK(str_starts(l.refresh_url, p.url) && str_ends(l.refresh_url, "/token") && !l.osmo_token);
    login_clear(&l);
    /* what must not come from a provider */
    REQUIRE(provider_start(&p, (char *[]){ tokens_answer(other, "r1"), NULL }));
    CHECK_INT(run_command(cmd_login, p.url, " --method password --username maya --password x"), EXIT_USER);
    CHECK_CONTAINS(captured, "Error message: the identity provider's token is not accepted: it is made for another client\n");
    provider_end(&p);
    REQUIRE(provider_start(&p, (char *[]){ answer(400, "{\"error\": \"invalid_grant\"}"), NULL }));
    CHECK_INT(run_command(cmd_login, p.url, " --method password --username maya --password x"), EXIT_USER);
    CHECK_CONTAINS(captured, "the identity provider gave no token: invalid_grant");
    provider_end(&p);
    REQUIRE(provider_start(&p, (char *[]){ NULL }));
    CHECK_INT(run_command(cmd_login, p.url, ""), EXIT_USER);
    CHECK_CONTAINS(captured, "no identity provider for --method pkce: use --method code\n");
    provider_end(&p);
    CHECK_INT(run_command(cmd_login, "http://127.0.0.1:1", " --method password"), EXIT_USER);
    CHECK_CONTAINS(captured, "--method password needs --username");
    CHECK_INT(run_command(cmd_login, "http://127.0.0.1:1", " --callback-port 65536"), EXIT_USER);
    CHECK_INT(run_command(cmd_login, "http://127.0.0.1:1", " --method token --token-file /dev/null"), EXIT_USER);
    CHECK_INT(run_command(cmd_login, "http://127.0.0.1:1", ""), EXIT_SERVER_DOWN);
}

/* A provider that is down is not mistaken for the service. */
static void test_unreachable(void) {
    http_client_t *http = NULL;
    _cleanup_buf_ buf_t form = FORM_INIT;
    enum token_answer class;
    struct tokens tokens;
    char *problem = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(http_client_new("test", &http, NULL) == 0);
    form_add(&form, "grant_type", "password");
    CHECK_INT(token_ask(http, "http://127.0.0.1:1/token", &form, &class, &tokens, &problem, &err), OSMO_EUNAVAIL);
    CHECK_CONTAINS(err.text, "the identity provider 127.0.0.1:1 cannot be reached");
    http_client_free(http);
}

static void test_device(void) {
    static struct provider p;
    _cleanup_free_ char *jwt = claims_until(now_s() + 300, "u7");
    char *const granted[] = { answer(200, "{\"device_code\": \"d0\", \"user_code\": \"ABCD-EFGH\", \"verification_uri\": \"https://idp/d\","
                                          " \"verification_uri_complete\": \"https://idp/d?c=ABCD\", \"interval\": 1, \"expires_in\": 60}"),
                              answer(400, "{\"error\": \"authorization_pending\"}"), answer(503, "busy"), tokens_answer(jwt, "r1"), NULL };
    REQUIRE(provider_start(&p, granted));
    CHECK_INT(run_command(cmd_login, p.url, " --method code"), 0);
    CHECK_CONTAINS(captured, "Go to https://idp/d and enter the code ABCD-EFGH\n");
    CHECK_CONTAINS(captured, "https://idp/d?c=ABCD");
    provider_end(&p);
    CHECK_CONTAINS(p.peer.got, "client_id=osmo-device&scope=openid%20offline_access%20profile");
    CHECK_CONTAINS(p.peer.got, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d0&client_id=osmo-device");
    static const char start[] = "{\"device_code\": \"d0\", \"user_code\": \"A\", \"verification_uri\": \"https://idp/d\", \"interval\": 1}";
    static const struct { const char *error; int code; const char *text; } ends[] = {
        { "expired_token", EXIT_SERVER_DOWN, "the code has expired" }, { "access_denied", EXIT_USER, "refused the login: access_denied" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        _cleanup_free_ char *body = str_printf("{\"error\": \"%s\"}", ends[i].error);
        REQUIRE(provider_start(&p, (char *[]){ answer(200, start), answer(400, body), NULL }));
        CHECK_INT(run_command(cmd_login, p.url, " --method code"), ends[i].code);
        CHECK_CONTAINS(captured, ends[i].text);
        provider_end(&p);
    }
    REQUIRE(provider_start(&p, (char *[]){ answer(200, "{\"user_code\": \"A\"}"), NULL }));
    CHECK_INT(run_command(cmd_login, p.url, " --method code"), EXIT_USER);
    CHECK_CONTAINS(captured, "lacks device_code");
    provider_end(&p);
}

static void test_logout(void) {
    static struct provider p;
    struct login l = { 0 };
    REQUIRE(provider_start(&p, (char *[]){ NULL }));
    l = (struct login){ .url = strdup(p.url), .name = strdup("maya"), .id_token = claims_until(now_s() + 300, "u7"),
                        .client_id = strdup("c") };
    REQUIRE(login_save(&l, NULL) == 0);
    login_clear(&l);
    CHECK_INT(run_command(cmd_logout, "--", ""), 0);
    CHECK_CONTAINS(captured, "Logged out\nTo log out of the identity provider too, open https://idp/out");
    provider_end(&p);
    CHECK_INT(login_load(&l, NULL), OSMO_ENOTFOUND);
    CHECK_INT(run_command(cmd_logout, "--", ""), 0);
    CHECK_STR(captured, "Logged out\n");
}

/* ---- renewal ---- */

static struct login old_login(const char *url, int64_t exp, bool osmo) {
    struct login l = { .url = strdup("https://osmo.example"), .name = strdup("maya"), .id_token = claims_until(exp, "u7"),
                       .refresh_token = strdup("r1"), .refresh_url = str_printf("%s/token", url), .osmo_token = osmo,
                       .client_id = osmo ? NULL : strdup("osmo-device") };
    return l;
}

/* Renew a login that expired a moment ago; `text`: of the provider's answer, freed. */
static int renew(char *text, bool osmo, int64_t exp, struct login *l, struct peer *peer, osmo_error_t *err) {
    const char *answers[] = { text, NULL };
    http_client_t *http = NULL;
    int rc = peer_start(peer, answers) && http_client_new("test", &http, err) == 0 ? 0 : OSMO_EIO;
    _cleanup_free_ char *url = str_printf("http://127.0.0.1:%d", peer->port);
    *l = old_login(url, exp, osmo);
    if (!rc && (rc = login_save(l, err)) == 0)
        rc = login_refresh(http, l, err);
    http_client_free(http);
    peer_end(peer);
    free(text);
    return rc;
}

static void test_renewal(void) {
    static struct peer peer;
    _cleanup_free_ char *fresh = claims_until(now_s() + 300, "u7"), *foreign = claims_until(now_s() + 300, "u8");
    _cleanup_free_ char *granted = str_printf("{\"id_token\": \"%s\"}", fresh), *osmo = str_printf("{\"token\": \"%s\"}", fresh);
    const struct {
        char *text;
        bool osmo;
        int64_t left;
        int rc;
        const char *sent, *refresh, *problem;
    } cases[] = {
        { tokens_answer(fresh, "r2"), false, -5, 0, "grant_type=refresh_token&refresh_token=r1&client_id=osmo-device", "r2", NULL },
        { answer(200, granted), false, 2, 0, "Content-Type: application/x-www-form-urlencoded", "r1", NULL },
        { answer(200, osmo), true, -5, 0, "{\"token\":\"r1\"}", "r1", NULL },
        { tokens_answer(foreign, "r2"), false, -5, OSMO_EUNAUTH, "POST /token", NULL, "of another user" },
        { answer(400, "{\"error\": \"invalid_grant\"}"), false, -5, OSMO_EUNAUTH, "POST /token", NULL,
          "invalid_grant; run osmo login https://osmo.example again" },
        { answer(503, "{}"), false, -5, OSMO_EUNAVAIL, "POST /token", NULL, "cannot renew" },
        { answer(400, "{\"message\": \"Access token is expired\"}"), true, -5, OSMO_EUNAUTH, "POST /token", NULL,
          "Access token is expired; run osmo login" },
        { answer(429, "{}"), true, -5, OSMO_EBUSY, "POST /token", NULL, "try again later" },
        { answer(500, "{}"), true, -5, OSMO_EUNAVAIL, "POST /token", NULL, "at the moment" },
        { answer(500, "{}"), true, 2, 0, "POST /token", "r1", NULL }, /* good for this once */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct login l, kept;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(renew(cases[i].text, cases[i].osmo, now_s() + cases[i].left, &l, &peer, &err), cases[i].rc);
        CHECK_CONTAINS(peer.got, cases[i].sent);
        if (cases[i].problem)
            CHECK_CONTAINS(err.text, cases[i].problem);
        CHECK(!strstr(err.text, "r1"));
        if (cases[i].refresh) {
            CHECK_STR(l.refresh_token, cases[i].refresh);
            REQUIRE(login_load(&kept, NULL) == 0);
            CHECK_STR(kept.refresh_token, cases[i].refresh);
            CHECK_STR(kept.id_token, l.id_token);
            login_clear(&kept);
        }
        login_clear(&l);
    }
}

/* Several commands find an expired login: the provider is asked once, and all have its answer. */
struct racer { struct login login; int rc; };

static void *race(void *arg) {
    struct racer *r = arg;
    http_client_t *http = NULL;
    r->rc = http_client_new("test", &http, NULL);
    if (!r->rc)
        r->rc = login_refresh(http, &r->login, NULL);
    http_client_free(http);
    return NULL;
}

static void test_race(void) {
    static struct peer peer;
    struct racer racers[4];
    pthread_t threads[ARRAY_SIZE(racers)];
    _cleanup_free_ char *fresh = claims_until(now_s() + 300, "u7");
    _cleanup_free_ char *text = tokens_answer(fresh, "r2");
    const char *answers[] = { text, NULL };
    REQUIRE(peer_start(&peer, answers));
    _cleanup_free_ char *url = str_printf("http://127.0.0.1:%d", peer.port);
    struct login l = old_login(url, now_s() - 5, false);
    REQUIRE(login_save(&l, NULL) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
        REQUIRE(login_load(&racers[i].login, NULL) == 0);
        REQUIRE(pthread_create(&threads[i], NULL, race, &racers[i]) == 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(racers[i].rc, 0);
        CHECK_STR(racers[i].login.refresh_token, "r2");
        login_clear(&racers[i].login);
    }
    peer_end(&peer);
    CHECK(strstr(peer.got, "POST /token") && !strstr(strstr(peer.got, "POST /token") + 1, "POST /token"));
    login_clear(&l);
}

/* A command that logged out, or in elsewhere, meanwhile is not undone. */
static void test_logged_out_meanwhile(void) {
    static struct peer peer;
    _cleanup_free_ char *fresh = claims_until(now_s() + 300, "u7");
    _cleanup_free_ char *text = tokens_answer(fresh, "r2"), *path = login_path();
    const char *answers[] = { text, NULL };
    http_client_t *http = NULL;
    struct login none;
    REQUIRE(peer_start(&peer, answers));
    _cleanup_free_ char *url = str_printf("http://127.0.0.1:%d", peer.port);
    struct login l = old_login(url, now_s() - 5, false);
    unlink(path);
    REQUIRE(http_client_new("test", &http, NULL) == 0);
    CHECK_INT(login_refresh(http, &l, NULL), 0);
    CHECK_STR(l.refresh_token, "r2");
    CHECK_INT(login_load(&none, NULL), OSMO_ENOTFOUND);
    http_client_free(http);
    peer_end(&peer);
    login_clear(&l);
}

/* Keys of a provider that are on their way are no error yet; what writes is not sent twice. */
static void test_not_ready(void) {
    static struct peer peer;
    static const char busy[] = "HTTP/1.1 503 X\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    static const char later[] = "HTTP/1.1 503 X\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n";
    static const char ready[] = "HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}";
    static const struct { const char *method, *answers[4]; int code; } cases[] = {
        { "GET", { busy, busy, ready }, 0 },
        { "GET", { busy, busy, busy }, EXIT_SERVER_DOWN },
        { "GET", { later }, EXIT_SERVER_DOWN },
        { "POST", { busy }, EXIT_SERVER_DOWN },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct api a = { 0 };
        REQUIRE(peer_start(&peer, cases[i].answers) && http_client_new("test", &a.http, NULL) == 0);
        a.login = (struct login){ .url = str_printf("http://127.0.0.1:%d", peer.port), .dev_user = strdup("maya") };
        capture();
        int code = api_call(&a, cases[i].method, "/api/x", NULL, NULL);
        release();
        CHECK_INT(code, cases[i].code);
        peer_end(&peer);
        api_close(&a);
    }
}

static void test_secret_file(void) {
    _cleanup_free_ char *path = str_printf("%s/secret", dir);
    static const struct { const char *text, *want; } cases[] = {
        { "abc\n", "abc" }, { "abc\r\n\n", "abc" }, { " a b ", " a b " }, { "\n", NULL }, { "", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *secret = NULL;
        REQUIRE(file_write_atomic(path, cases[i].text, strlen(cases[i].text), 0600, false, NULL) == 0);
        CHECK_INT(secret_read(path, &secret, NULL), cases[i].want ? 0 : OSMO_EINVAL);
        CHECK_STR(secret, cases[i].want);
        wipe_free(secret);
    }
}

static void test_leaves_nothing(void) { CHECK_INT(dir_remove_tree(dir, NULL), 0); }

static const struct check_test tests[] = {
    { "the challenge of PKCE", test_challenge },
    { "the redirect", test_redirect },
    { "answers of token endpoints", test_answers },
    { "text of others on a terminal", test_printable },
    { "endpoints", test_endpoints },
    { "what an identity token must say", test_id_token },
    { "the listener", test_listener },
    { "a secret in a file", test_secret_file },
    { "the password grant", test_password },
    { "a provider that is down", test_unreachable },
    { "the device grant", test_device },
    { "logging out", test_logout },
    { "renewal", test_renewal },
    { "renewal by several at once", test_race },
    { "a service that is not ready", test_not_ready },
    { "logged out meanwhile", test_logged_out_meanwhile },
    { "leaves nothing behind", test_leaves_nothing },
};

int main(int argc, char **argv) {
    if (!mkdtemp(dir))
        return 99;
    _cleanup_free_ char *config = str_printf("%s/config", dir);
    setenv("OSMO_CONFIG_FILE_DIR", config, 1);
    return check_main("login", tests, ARRAY_SIZE(tests), argc, argv);
}
