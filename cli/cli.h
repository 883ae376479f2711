/* The osmo command: a table of nouns and verbs over HTTP. No business rules live here; they are the service's. */
#ifndef OSMO_CLI_H
#define OSMO_CLI_H
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/http.h"
#include "base/json.h"
#include "base/str.h"
#include "osmo/error.h"

/* Exit codes of the OSMO client, and ours behind them. */
enum {
    EXIT_SUBMISSION = 1,
    EXIT_USER = 2,
    EXIT_INTERRUPTED = 3,
    EXIT_SERVER_DOWN = 10,
    EXIT_WORKFLOW_FAILED = 20,
    EXIT_TRY_LATER = 75,
    EXIT_TIMED_OUT = 124
};

#define CLIENT_VERSION "6.4.0"

/* ---- opt.c ---- */
enum opt_kind { OPT_FLAG, OPT_VALUE, OPT_INT, OPT_LIST /* one or more values per use, repeatable */, OPT_CHOICE };
struct opt {
    const char *names; /* "--pool -p" */
    enum opt_kind kind;
    void *value; /* bool *, const char **, int64_t *, strlist_t * */
    const char *metavar, *help;
    const char *choices; /* "text json" */
};
struct arg {
    const char *name, *help;
    const char **value;
    strlist_t *list; /* the last may take many */
    bool optional;
};
struct usage {
    const char *command, *summary;
    const struct opt *opts;
    size_t nopts;
    const struct arg *args;
    size_t nargs;
};
#define FORMAT_OPTION(value) { "--format-type -t", OPT_CHOICE, (value), "FORMAT", "output format", "text json" }
/* -1 to go on; otherwise the exit code (0 after --help, 2 on a usage error). */
int opt_parse(const struct usage *u, int argc, char **argv);
int opt_error(const struct usage *u, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- login.c: login.yaml ---- */
/* client_id: of the identity provider that refresh_url belongs to, NULL for OSMO's own tokens */
struct login { char *url, *name, *id_token, *refresh_token, *refresh_url, *client_id, *dev_user; bool osmo_token; };
char *config_dir(void);                                  /* malloc'ed; made with mode 0700 on writing */
int login_load(struct login *l, osmo_error_t *err);      /* OSMO_ENOTFOUND when nobody is logged in */
int login_save(const struct login *l, osmo_error_t *err);
void login_clear(struct login *l);

/* ---- api.c ---- */
struct api {
    struct login login;
    http_client_t *http;
    bool json_errors;
    bool submission; /* a refused credential ends with EXIT_SUBMISSION, as other faults of a submission do */
    int status;      /* of the last api_call(), 0 when no answer came */
    bool answered;   /* the last api_stream() got an answer from the service before it ended */
};
/* Load the login; prints and returns an exit code when there is none. */
int api_open(struct api *a, bool json_errors);
void api_close(struct api *a);
/* One call; path starts with '/', may carry a query. 0 and *out (may be JSON null), or an exit code after the error was
 * printed. */
int api_call(struct api *a, const char *method, const char *path, const json_t *body, json_t **out);
/* The same without a word: 0 for status 200, otherwise a negative code, err and a->status tell. */
int api_try(struct api *a, const char *method, const char *path, json_t **out, osmo_error_t *err);
/* What a call's headers are (the login among them), for a websocket. 0, or an exit code after printing. */
int api_headers(struct api *a, strlist_t *out);
/* Stream a GET to `on_data`; 0 when it ended, EXIT_SERVER_DOWN when the connection was lost (nothing printed when
 * `quiet`), else an exit code. */
int api_stream(struct api *a, const char *path, bool (*on_data)(void *ctx, const char *data, size_t len), void *ctx,
               long timeout_ms, bool quiet, bool *timed_out);
/* Print an error as the client does and return `code`. */
int api_fail(bool as_json, int status, const char *message, int code);
bool print_data(void *ctx, const char *data, size_t len); /* to stdout, for api_stream */
char *workflow_path(const char *id, const char *what);    /* malloc'ed "/api/workflow/ID" and `what` */
void query_add(buf_t *path, const char *key, const char *value);   /* ?key=value or &key=value, encoded */
void query_add_all(buf_t *path, const char *key, const strlist_t *values);
/* A date, if there is one (cmd_workflow.c). 0, or an exit code after printing. */
int query_add_utc(buf_t *path, const char *key, const char *value);
/* ---- list.c ---- */
#define LIST_PAGE_MAX 1000 /* what the service gives at once */
/* path: of one page, malloc'ed in *out; 0, or an exit code after printing. member: the array in the answer. */
struct list_source {
    int (*path)(const void *listing, int64_t limit, int64_t offset, char **out);
    const void *listing;
    const char *member;
};
/* Up to `count` rows behind the first `offset`, appended to the array. 0, or an exit code after printing. */
int list_fetch(struct api *a, const struct list_source *from, int64_t count, int64_t offset, json_t *rows);

/* The pool to use: `chosen`, the profile's default, the only accessible one. malloc'ed in *pool, or an exit code after
 * printing. */
int api_pool(struct api *a, const char *chosen, char **pool);

/* ---- table.c ---- */
struct table { size_t columns; strlist_t cells; size_t summary_rows; };
void table_add(struct table *t, const char *cell);
void table_print(struct table *t, size_t header_rows);   /* frees the cells */
void print_json(const json_t *v, int indent);
const char *local_time(const char *iso, char out[48]);   /* "Nov 25, 2026 21:20 UTC" in the local zone; "-" for NULL */

/* ---- lines.c: logs and events ---- */
struct lines_request {
    const char *path;               /* with its filters */
    const char *from_line, *last_n; /* where to begin, or NULL */
    bool insist;                    /* a service that cannot be reached at first is waited for, too */
};
/* Prints them to their end, over breaks of the connection. Exit code. */
int lines_print(struct api *a, const struct lines_request *q);

/* ---- follow.c ---- */
/* After a stream broke: is it worth another try? *give_up is 0 before the first. */
bool stream_may_retry(const struct api *a, int64_t *give_up);
int stream_lost(const struct api *a); /* tells of it; the exit code */
/* Print the log until the workflow is finished, then its status line. Exit code 0 or 20. */
int follow_workflow(struct api *a, const char *id);
/* Wait for the end by the status stream. timeout_ms 0 = none. */
int wait_workflow(struct api *a, const char *id, int64_t timeout_ms, bool quiet, bool as_json);

/* ---- cmd_submit.c: looking at a specification ---- */
bool spec_is_template(const char *text);
/* "name-12": an earlier workflow, when there is no such file. */
bool spec_is_workflow_id(const char *text);
/* Replace localpath entries by the files' text; *out stays NULL when there are none. */
int spec_inline_files(const char *text, const char *spec_path, char **out, osmo_error_t *err);

/* ---- edit.c ---- */
/* Opens the user's editor on the text and reads what it left. *path is the file, for the caller to remove (or tell of) and free. */
int edit_text(const char *text, char **path, buf_t *out, osmo_error_t *err);

/* ---- commands ---- */
struct command { const char *name, *summary; int (*run)(int argc, char **argv); };
struct noun {
    const char *name, *summary;
    const struct command *commands;
    size_t ncommands;
    int (*run)(int argc, char **argv);
};
#define WORKFLOW_COMMANDS 16
#define WORK_COMMANDS 2
#define TASK_COMMANDS 1
#define POOL_COMMANDS 1
#define BACKEND_COMMANDS 3
#define RESOURCE_COMMANDS 1
#define PROFILE_COMMANDS 2
#define CONFIG_COMMANDS 6
#define TOKEN_COMMANDS 5
#define KEYS_COMMANDS 1
extern const struct command keys_commands[KEYS_COMMANDS];
#define USER_COMMANDS 5
extern const struct command workflow_commands[WORKFLOW_COMMANDS];
extern const struct command work_commands[WORK_COMMANDS];
extern const struct command task_commands[TASK_COMMANDS];
extern const struct command pool_commands[POOL_COMMANDS];
extern const struct command backend_commands[BACKEND_COMMANDS];
extern const struct command resource_commands[RESOURCE_COMMANDS];
extern const struct command profile_commands[PROFILE_COMMANDS];
extern const struct command config_commands[CONFIG_COMMANDS];
extern const struct command token_commands[TOKEN_COMMANDS];
extern const struct command user_commands[USER_COMMANDS];
#define DATA_COMMANDS 5
extern const struct command data_commands[DATA_COMMANDS];
int cmd_login(int argc, char **argv);
int cmd_logout(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_up(int argc, char **argv);
int cmd_credential(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_submit(int argc, char **argv);
int cmd_validate(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_tag(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_port_forward(int argc, char **argv);
int cmd_webserver(int argc, char **argv);
int cmd_rsync(int argc, char **argv);
#endif
