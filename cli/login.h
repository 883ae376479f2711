/* What the files behind `osmo login` share: the login file's lock, the pure parts of OpenID Connect, the conversation with a provider
 * and the listener for the browser's redirect. Only cli/login*.c, cli/oidc.c, cli/loopback.c, cli/api.c and commands that take secrets
 * include it. */
#ifndef OSMO_CLI_LOGIN_H
#define OSMO_CLI_LOGIN_H
#include "cli.h"

/* ---- login.c ---- */
/* Waits until no other command changes the login; a descriptor to close, or -1 where none can be had (a read-only directory). */
int login_lock(void);
char *login_path(void);       /* malloc'ed, NULL when memory is short */
void wipe_free(char *secret); /* NULL is fine */
/* A file's text without the line breaks at its end. */
int secret_read(const char *path, char **out, osmo_error_t *err);

/* ---- login_prompt.c ---- */
/* From the terminal, without echo. OSMO_EUNAVAIL when there is none. A signal that ends the program gives the terminal back first. */
int secret_prompt(const char *prompt, char **out, osmo_error_t *err);

/* ---- oidc.c: pure ---- */
#define OIDC_SCOPE "openid offline_access profile"
#define OIDC_SKEW_S 60
/* Addresses and clients of the provider, as GET /api/auth/login gives them; NULL for what is not configured. */
struct endpoints { char *device, *device_client, *browser, *browser_client, *token, *logout; };
int endpoints_read(const json_t *answer, struct endpoints *out, osmo_error_t *err);
void endpoints_clear(struct endpoints *e);
#define OF_SERVICE " of the service's login_info" /* where its administrator can correct it */
/* https, or http on this machine. `what` names it in the error. */
int endpoint_check(const char *what, const char *url, osmo_error_t *err);
bool url_is_private(const char *url); /* https, or of this machine */

/* What PKCE needs, and the device grant. */
int endpoints_for_browser(const struct endpoints *e, osmo_error_t *err);
int endpoints_for_device(const struct endpoints *e, osmo_error_t *err);

#define PKCE_TEXT 44 /* 43 characters and the NUL: 32 bytes as base64url */
/* The S256 challenge of a verifier (RFC 7636). */
int pkce_challenge(const char *verifier, char out[PKCE_TEXT]);

struct redirect { char *code, *state, *iss, *error, *description; };
/* Of the request target that the browser was sent to. OSMO_ENOTFOUND: another path; OSMO_EINVAL: malformed, or something twice. */
int redirect_read(const char *target, struct redirect *out, osmo_error_t *err);
void redirect_clear(struct redirect *r);

enum token_answer { TOKEN_GRANTED, TOKEN_PENDING, TOKEN_SLOW_DOWN, TOKEN_EXPIRED, TOKEN_REFUSED, TOKEN_UNAVAILABLE };
enum token_answer token_classify(int status, const json_t *body);
/* "error: description", or the status: one line that a terminal may show. malloc'ed. */
char *token_problem(int status, const json_t *body);
/* Control characters and broken bytes replaced, cut at `max` bytes. malloc'ed; NULL stays NULL. */
char *printable(const char *text, size_t max);

/* What the client knows of the identity token; NULL members are not compared. */
struct expected { const char *client_id, *nonce, *issuer, *subject; };
/* It came from the provider by TLS, so that its signature is left to the service. *user: what to call the caller. OSMO_EUNAUTH. */
int id_token_check(const char *token, const struct expected *want, int64_t now_s, char **user, osmo_error_t *err);

/* ---- login_provider.c ---- */
#define ASK_TIMEOUT_MS 30000
struct tokens { char *id_token, *refresh_token; };
void tokens_clear(struct tokens *t);
int provider_endpoints(http_client_t *http, const char *url, long timeout_ms, struct endpoints *out, osmo_error_t *err);
#define FORM_INIT BUF_SECRET(64u << 10)
void form_add(buf_t *form, const char *key, const char *value);
/* POST of what is secret, for an answer that is: 0 when one came, with *status and *answer (NULL when it is no JSON; json_free_secret). */
int post_secret(http_client_t *http, const char *url, const char *type, const buf_t *body, int *status, json_t **answer,
                osmo_error_t *err);
/* The same to a provider. */
int form_post(http_client_t *http, const char *url, const buf_t *form, int *status, json_t **answer, osmo_error_t *err);
/* The same at a token endpoint: the class, the tokens when they were granted, otherwise *problem (malloc'ed). */
int token_ask(http_client_t *http, const char *url, const buf_t *form, enum token_answer *class, struct tokens *out, char **problem,
              osmo_error_t *err);
/* Tokens that were granted are looked at and put into the login. */
int tokens_accept(struct tokens *t, const struct expected *want, const char *token_endpoint, struct login *l, osmo_error_t *err);
int exit_code_of(int rc); /* of a negative osmo_code_t: 10 for what may pass, else 2 */

/* ---- login_pkce.c, login_device.c ---- */
int pkce_login(http_client_t *http, const struct endpoints *e, int port, struct login *l, osmo_error_t *err);
int device_login(http_client_t *http, const struct endpoints *e, struct login *l, osmo_error_t *err);

/* ---- login_refresh.c ---- */
/* A token that expires within moments is exchanged for a fresh one, which is kept in the login file. 0, also when there is nothing to do or
 * the service is to say what is wrong; OSMO_EUNAUTH when the provider refuses: the caller has to log in again. */
int login_refresh(http_client_t *http, struct login *l, osmo_error_t *err);

/* ---- loopback.c ---- */
typedef struct loopback loopback_t;
int loopback_open(int port, loopback_t **out, osmo_error_t *err); /* 0: any that is free */
int loopback_port(const loopback_t *l);
/* Answers browsers until one brings the redirect with this state. OSMO_ETIMEOUT. */
int loopback_wait(loopback_t *l, const char *state, int64_t timeout_ms, struct redirect *out, osmo_error_t *err);
void loopback_close(loopback_t *l);
#endif
