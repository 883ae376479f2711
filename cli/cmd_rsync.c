/* workflow rsync: options, and what the service's settings make of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rsync.h"

#define TIMEOUT_MAX_S 3600
#define LOG_DEFAULT (2 << 20)
#define LOG_MIN 4096
#define INTERVAL_MAX_S 86400

struct wanted {
    const char *workflow, *task, *paths;
    int64_t timeout_s, rate, poll_s, debounce_s, reconcile_s, max_log;
    bool verbose, daemon, no_progress, wait_for_start;
};

/* ---- what there is to do ---- */

struct plan { struct rsync_daemon d; char *task, *local, *remote; };

static void plan_clear(struct plan *p) {
    free(p->task);
    free(p->local);
    free(p->remote);
}

/* Absolute, for a process that runs elsewhere; with its / at the end, which means something to rsync. */
static char *absolute(const char *path) {
    _cleanup_free_ char *real = realpath(path, NULL);
    return real ? str_printf("%s%s", real, str_ends(path, "/") && !str_ends(real, "/") ? "/" : "") : NULL;
}

/* The user may be slower than the service asks for, never faster. */
static double interval(int64_t wanted, const json_t *config, const char *key, double otherwise) {
    double least = json_get_double(config, key, otherwise);
    double s = (double)wanted > least ? (double)wanted : least;
    return s > INTERVAL_MAX_S ? INTERVAL_MAX_S : s < 1 ? 1 : s;
}

static uint64_t rate_of(int64_t wanted, const json_t *config) {
    int64_t most = json_get_int(config, "client_upload_rate_limit", 2 << 20);
    return (uint64_t)(wanted > 0 && (wanted < most || most <= 0) ? wanted : most > 0 ? most : 0);
}

static int plan_paths(struct api *a, const struct wanted *w, bool upload, const json_t *config, struct plan *p) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *first = NULL, *second = NULL;
    int rc = rsync_split(w->paths, &first, &second, &err);
    if (rc == OSMO_OK)
        rc = rsync_locate(config, upload ? second : first, upload, &p->remote, &err);
    if (rc == OSMO_OK)
        p->local = upload ? absolute(first) : str_dup(second);
    if (rc == OSMO_OK && !p->local)
        rc = osmo_error_set(&err, OSMO_ENOTFOUND, "%s: there is no such file or directory", upload ? first : second);
    return rc < 0 ? api_fail(a->json_errors, 0, err.text, EXIT_USER) : 0;
}

static int plan_make(struct api *a, const struct wanted *w, bool upload, struct plan *p) {
    json_t *answer = NULL;
    *p = (struct plan){ 0 };
    int code = api_call(a, "GET", "/api/plugins/configs", NULL, &answer);
    const json_t *config = json_get(answer, "rsync");
    if (!code && !json_get_bool(config, "enabled", false))
        code = api_fail(a->json_errors, 0, "rsync is not enabled on this service: its administrator can set "
                        "plugins_config.rsync.enabled, for workflows submitted afterwards", EXIT_USER);
    if (!code)
        code = plan_paths(a, w, upload, config, p);
    if (!code)
        code = session_task(a, w->workflow, w->task, &p->task);
    p->d = (struct rsync_daemon){
        .job = { .workflow = w->workflow, .task = p->task, .local = p->local, .remote = p->remote, .upload = upload,
                 .progress = !w->no_progress && isatty(STDOUT_FILENO), .verbose = w->verbose, .timeout_s = w->timeout_s,
                 .rate = rate_of(w->rate, config) },
        .debounce_s = interval(w->debounce_s, config, "daemon_debounce_delay", 30),
        .poll_s = interval(w->poll_s, config, "daemon_poll_interval", 120),
        .reconcile_s = interval(w->reconcile_s, config, "daemon_reconcile_interval", 60),
        .max_log = w->max_log, .wait_for_start = w->wait_for_start
    };
    json_free(answer);
    return code;
}

static int run(const struct wanted *w, bool upload) {
    struct api a;
    struct plan p = { 0 };
    int code = api_open(&a, false);
    if (!code)
        code = plan_make(&a, w, upload, &p);
    api_close(&a);
    if (!code && w->daemon) {
        p.d.job.progress = false;
        code = rsync_daemon_start(&p.d);
    } else if (!code) {
        code = rsync_once(&p.d.job);
    }
    plan_clear(&p);
    return code;
}

int rsync_for_submission(struct api *a, const char *workflow, const char *spec) {
    const struct wanted w = { .workflow = workflow, .paths = spec, .timeout_s = 10, .max_log = LOG_DEFAULT, .daemon = true,
        .no_progress = true,
                              .wait_for_start = true };
    struct plan p;
    int code = plan_make(a, &w, true, &p);
    if (!code)
        code = rsync_daemon_start(&p.d);
    plan_clear(&p);
    return code;
}

/* ---- options ---- */

/* ID PATHS, or ID TASK PATHS: names of tasks have no colon. */
static int sort_words(const struct usage *u, struct wanted *w) {
    if (w->paths)
        return -1;
    if (!w->task || !strchr(w->task, ':'))
        return opt_error(u, "the following arguments are required: %s", u->args[2].name);
    w->paths = w->task;
    w->task = NULL;
    return -1;
}

static int check(const struct usage *u, const struct wanted *w) {
    if (w->timeout_s < 1 || w->timeout_s > TIMEOUT_MAX_S)
        return opt_error(u, "--timeout is from 1 to %d seconds", TIMEOUT_MAX_S);
    if (w->rate < 0 || w->poll_s < 0 || w->debounce_s < 0 || w->reconcile_s < 0)
        return opt_error(u, "rates and intervals are not negative");
    if (w->max_log < LOG_MIN)
        return opt_error(u, "--max-log-size is %d bytes at least", LOG_MIN);
    return -1;
}

static int cmd_upload(int argc, char **argv) {
    struct wanted w = { .timeout_s = 10, .max_log = LOG_DEFAULT };
    const struct opt opts[] = {
        { "--timeout", OPT_INT, &w.timeout_s, "SECONDS", "how long to wait for the task to answer; default 10", NULL },
        { "--upload-rate-limit", OPT_INT, &w.rate, "BYTES", "bytes a second; at most what the service allows, which is the default", NULL },
        { "--no-progress", OPT_FLAG, &w.no_progress, NULL, "do not show how far each file is", NULL },
        { "--verbose", OPT_FLAG, &w.verbose, NULL, "name what is left alone, too", NULL },
        { "--daemon", OPT_FLAG, &w.daemon, NULL, "in the background, again after each change, until the task ends", NULL },
        { "--debounce-delay", OPT_INT, &w.debounce_s, "SECONDS",
            "how long changes have to rest; at least what the service asks for", NULL },
        { "--reconcile-interval", OPT_INT, &w.reconcile_s, "SECONDS", "when to look at everything without a change; the same", NULL },
        { "--poll-interval", OPT_INT, &w.poll_s, "SECONDS", "when to ask whether the task still runs; the same", NULL },
        { "--max-log-size", OPT_INT, &w.max_log, "BYTES", "of the daemon's log, before a new one begins; default 2 MiB", NULL },
    };
    const struct arg args[] = { { "ID", "workflow id", &w.workflow, NULL, false },
                                { "TASK", "a task of it; else the lead task of its first group", &w.task, NULL, true },
                                { "LOCAL:REMOTE", "what, and where in the task", &w.paths, NULL, true } };
    const struct usage u = { "workflow rsync upload", "Copy files into a running task with rsync(1).", opts, ARRAY_SIZE(opts), args, 3 };
    int code = opt_parse(&u, argc, argv);
    if (code < 0)
        code = sort_words(&u, &w);
    if (code < 0)
        code = check(&u, &w);
    return code < 0 ? run(&w, true) : code;
}

static int cmd_download(int argc, char **argv) {
    struct wanted w = { .timeout_s = 10, .max_log = LOG_DEFAULT };
    const struct opt opts[] = {
        { "--timeout", OPT_INT, &w.timeout_s, "SECONDS", "how long to wait for the task to answer; default 10", NULL },
        { "--no-progress", OPT_FLAG, &w.no_progress, NULL, "do not show how far each file is", NULL },
    };
    const struct arg args[] = { { "ID", "workflow id", &w.workflow, NULL, false },
                                { "TASK", "a task of it; else the lead task of its first group", &w.task, NULL, true },
                                { "REMOTE:LOCAL", "what in the task, and where to", &w.paths, NULL, true } };
    const struct usage u = { "workflow rsync download", "Copy files out of a running task with rsync(1).", opts, ARRAY_SIZE(opts),
        args, 3 };
    int code = opt_parse(&u, argc, argv);
    if (code < 0)
        code = sort_words(&u, &w);
    if (code < 0)
        code = check(&u, &w);
    return code < 0 ? run(&w, false) : code;
}

static int cmd_status(int argc, char **argv) {
    const struct usage u = { "workflow rsync status", "List the rsync daemons of this user on this machine.", NULL, 0, NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    return code < 0 ? rsync_daemon_status() : code;
}

static int cmd_stop(int argc, char **argv) {
    const char *workflow = NULL, *task = NULL;
    bool yes = false;
    const struct opt opts[] = { { "--task", OPT_VALUE, &task, "TASK", "only the daemon of this task", NULL },
                                { "--yes -y", OPT_FLAG, &yes, NULL, "do not ask", NULL } };
    const struct arg args[] = { { "ID", "only the daemons of this workflow", &workflow, NULL, true } };
    const struct usage u = { "workflow rsync stop", "Stop rsync daemons.", opts, ARRAY_SIZE(opts), args, 1 };
    int code = opt_parse(&u, argc, argv);
    return code < 0 ? rsync_daemon_stop(workflow, task, yes) : code;
}

static int help(FILE *to, const char *wrong) {
    fprintf(to, "usage: osmo workflow rsync [-h] COMMAND ...\n\ncommands:\n"
                "  upload     copy files into a running task, once or after each change\n"
                "  download   copy files out of a running task\n"
                "  status     list the daemons\n"
                "  stop       stop daemons\n");
    if (to == stdout)
        return 0;
    if (wrong)
        fprintf(to, "osmo workflow rsync: error: invalid choice: '%s'\n", wrong);
    else
        fprintf(to, "osmo workflow rsync: error: a command is needed\n");
    return EXIT_USER;
}

int cmd_rsync(int argc, char **argv) {
    static const struct { const char *name; int (*run)(int argc, char **argv); } verbs[] = {
        { "upload", cmd_upload }, { "download", cmd_download }, { "status", cmd_status }, { "stop", cmd_stop }
    };
    if (argc && (str_eq(argv[0], "-h") || str_eq(argv[0], "--help")))
        return help(stdout, NULL);
    for (size_t i = 0; argc && i < ARRAY_SIZE(verbs); i++) {
        if (str_eq(argv[0], verbs[i].name))
            return verbs[i].run(argc - 1, argv + 1);
    }
    return help(stderr, argc ? argv[0] : NULL);
}
