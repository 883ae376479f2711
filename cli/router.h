/* What the commands with interactive sessions share: where the service says that a session is, and how it is dialled. */
#ifndef OSMO_CLI_ROUTER_H
#define OSMO_CLI_ROUTER_H
#include "base/ws_client.h"
#include "cli.h"

/* Of the answer to a POST, or of one element of it. */
struct session { char *address, *key, *cookie; };
/* 0, or an exit code after printing. */
int session_read(struct api *a, const json_t *answer, struct session *out);
void session_clear(struct session *s);
/* Was the key made by a service that understands keys below it (KEY-1, KEY-2 …) and half-closed connections? */
bool session_is_ours(const char *key);

/* name=value pairs of Set-Cookie texts (joined by ", "), as they belong into a Cookie header; malloc'ed, "" without any. */
char *cookie_pairs(const char *set_cookie);
/* GET /api/router/version at this router: the cookie that leads back to the same one, malloc'ed; NULL when there is none. */
char *router_cookie(struct api *a, const char *address);

/* Everything that ws_connect needs for one end of a session. */
struct dial { char *url; strlist_t headers; const char **list; ws_options_t options; };
/* family: exec, portforward, rsync; cookie may be NULL. 0, or an exit code after printing. */
int dial_make(struct dial *d, struct api *a, const struct session *s, const char *family, const char *workflow, const char *key,
              const char *cookie, int64_t timeout_s);
void dial_clear(struct dial *d);

/* TASK, or the lead task of the workflow's first group when it is NULL; malloc'ed. 0, or an exit code after printing. */
int session_task(struct api *a, const char *workflow, const char *task, char **out);
/* POST /api/workflow/ID/WHAT/NAME with a query that is ready, "" without. 0, or an exit code after printing. */
int session_post(struct api *a, const char *workflow, const char *what, const char *name, const char *query, json_t **answer);
/* Its path alone; malloc'ed. */
char *session_path(const char *workflow, const char *what, const char *name, const char *query);
/* What an exit code follows from how a session ended: HTTP status of a refused upgrade, close code. */
int session_exit_code(int code, int http_status);
/* Is it of use to try again? By status of the last call. */
bool status_is_passing(int status);

/* ---- cmd_forward.c: pure ---- */
/* http://KEY.HOST[:PORT]/ of ws://HOST[:PORT]; malloc'ed, NULL when the address has no host name. */
char *webserver_url(const char *address, const char *key);

/* SIGINT, SIGTERM and SIGHUP become calls in the loop, from before the loop runs; -1 when memory is short. */
int loop_signals(ws_loop_t *l, void (*fn)(void *ctx, int number), void *ctx);
#endif
