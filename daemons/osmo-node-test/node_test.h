/* The parts of osmo-node-test: what each of its modes has to do, and what they share. For its own files only. */
#ifndef OSMO_NODE_TEST_H
#define OSMO_NODE_TEST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/json.h"
#include "base/log.h"
#include "osmo/backend/kube.h"

#define PROGRAM "osmo-node-test"
/* Exit codes. */
enum { EXIT_DONE = 0, EXIT_TROUBLE = 1, EXIT_BAD_USAGE = 2, EXIT_UNFINISHED = 3 };

/* ---- main.c ---- */

extern const logger_t node_test_log;
/* Wait; false when a signal says that this is the end. 0 only looks. */
bool pause_ms(int64_t ms);

/* ---- options.c ---- */

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_BOOL };
/* The command line wins over the variable of the environment, if there is one. */
struct option_row { const char *name, *variable; enum option_kind kind; void *value; /* const char **, int64_t *, bool * */ };
/* 0, or an exit code after the mistake was printed. "--name value" and "--name=value"; bools may be alone. */
int options_parse(const struct option_row *rows, size_t n, int argc, char **argv);
/* How to reach the cluster: the pod's account, else a kubeconfig. 0 or an exit code. */
int open_cluster(const char *kubeconfig, osmo_kube_t **out);

/* ---- conditions.c ---- */

struct condition { const char *type; /* whole name */ const char *status; char *reason, *message; };
/* Writes them to the node's status, those that are there already with their time of transition. Tried again while it may help. */
int conditions_write(osmo_kube_t *k, const char *node, const char *manager, const struct condition *c, size_t n, osmo_error_t *err);
/* The condition of a node, or NULL. Borrowed. */
const json_t *condition_of(const json_t *node, const char *type);
int node_read(osmo_kube_t *k, const char *node, json_t **out, osmo_error_t *err);

/* ---- what validators share (validator.c) ---- */

struct validator {
    const char *node, *prefix, *kubeconfig;
    int64_t max_retries, base_wait_s;
    bool exit_after;
    osmo_kube_t *kube;
};
#define VALIDATOR_ROWS(v) \
    { "node_name", "OSMO_NODE_NAME", OPTION_TEXT, &(v).node }, \
    { "node_condition_prefix", "OSMO_NODE_CONDITION_PREFIX", OPTION_TEXT, &(v).prefix }, \
    { "max_retries", NULL, OPTION_NUMBER, &(v).max_retries }, { "base_wait_seconds", NULL, OPTION_NUMBER, &(v).base_wait_s }, \
    { "exit_after_validation", NULL, OPTION_BOOL, &(v).exit_after }, { "kubeconfig", NULL, OPTION_TEXT, &(v).kubeconfig }
#define VALIDATOR_DEFAULTS { .max_retries = 3, .base_wait_s = 10 }
/* Checks the options and opens the cluster. 0 or an exit code. */
int validator_begin(struct validator *v);
/* `check` says whether all is well, and fills conditions; it is asked again, with pauses that double, while something is wrong. Then the
 * conditions are written, and the pod stays ready until it is ended, unless exit_after. Returns the exit code. */
int validator_run(struct validator *v, bool (*check)(void *ctx), void *ctx, struct condition *conditions, size_t n);
/* The second half of it. */
int validator_write(struct validator *v, const struct condition *conditions, size_t n);
/* A condition that says that all is well (with why), or not. Replaces what it said before. */
void condition_say(struct condition *c, bool problem, const char *reason, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- modes ---- */

int run_runner(int argc, char **argv);
int run_resource(int argc, char **argv);
int run_connection(int argc, char **argv);
int run_lfs(int argc, char **argv);

/* ---- config.c: what a test is ---- */

struct service { const char *host, *method, *username, *token_file, *login_method; };
/* From a file, or asked of the service. */
int config_read_file(const char *path, json_t **out, osmo_error_t *err);
int config_ask(const struct service *s, const char *test, json_t **out, osmo_error_t *err);
#endif
