/* osmo_ctrl: the phases of a task; see ctrl.h. Exit status 0, or the raw code, which is also left as {"code":n} in the
 * termination message. */
#include "ctrl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"
#include "runtime/flags.h"
#include "runtime/link.h"

#define FLUSH_ON_TERM_MS 2000
#define FILES_WANTED 4096

void ctrl_say(struct ctrl *c, enum io_type type, const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "osmo_ctrl: %s\n", text);
    spool_append(c->spool, type, text, strlen(text));
    if (c->link)
        logger_link_pump(c->link);
}

static char *with_slash(const char *path) {
    return *path && !str_ends(path, "/") ? str_printf("%s/", path) : strdup(path);
}

/* <dir of socket>/../benchmarks: an emptyDir of the pod that osmo_ctrl can write to. */
static char *default_spool(const char *socket_path) {
    _cleanup_free_ char *dir = strdup(socket_path);
    for (int i = 0; dir && i < 2; i++) {
        char *slash = strrchr(dir, '/');
        if (!slash)
            return strdup("/tmp/.osmo_ctrl_spool");
        *slash = '\0';
    }
    return dir ? str_printf("%s/benchmarks/.osmo_ctrl_spool", dir) : NULL;
}

static int read_options(struct options *o, int argc, char **argv) {
    const struct flag flags[] = {
        { "inputs", FLAG_LIST, &o->inputs },
        { "outputs", FLAG_LIST, &o->outputs },
        { "workflow", FLAG_TEXT, &o->workflow },
        { "groupName", FLAG_TEXT, &o->group },
        { "retryId", FLAG_TEXT, &o->retry_id },
        { "logSource", FLAG_TEXT, &o->log_source },
        { "barrier", FLAG_TEXT, &o->barrier },
        { "socketPath", FLAG_TEXT, &o->socket_path },
        { "scheme", FLAG_TEXT, &o->scheme },
        { "host", FLAG_TEXT, &o->host },
        { "port", FLAG_TEXT, &o->port },
        { "refreshToken", FLAG_TEXT, &o->refresh_token },
        { "refreshScheme", FLAG_TEXT, &o->refresh_scheme },
        { "tokenHeader", FLAG_TEXT, &o->token_header },
        { "userConfig", FLAG_TEXT, &o->user_config },
        { "serviceConfig", FLAG_TEXT, &o->service_config },
        { "inputPath", FLAG_TEXT, &o->input_path },
        { "outputPath", FLAG_TEXT, &o->output_path },
        { "metadataFile", FLAG_TEXT, &o->metadata_file },
        { "timeout", FLAG_INT, &o->timeout_min },
        { "unixTimeout", FLAG_INT, &o->unix_timeout_min },
        { "execTimeout", FLAG_INT, &o->exec_timeout_min },
        { "dataTimeout", FLAG_INT, &o->data_timeout_min },
        { "logsPeriod", FLAG_INT, &o->logs_period_ms },
        { "logsBufferSize", FLAG_INT, &o->logs_buffer },
        { "loginFile", FLAG_TEXT, &o->login_file },
        { "spoolPath", FLAG_TEXT, &o->spool_path },
        { "spoolLimit", FLAG_INT, &o->spool_limit_mib },
        { "terminationLog", FLAG_TEXT, &o->termination_log },
    };
    if (flags_parse("osmo_ctrl", flags, ARRAY_SIZE(flags), argc, argv))
        return CTRL_ARGUMENT;
    if (!o->workflow[0] || !o->log_source[0] || !o->socket_path[0]) {
        fprintf(stderr, "osmo_ctrl: -workflow, -logSource and -socketPath are needed\n");
        return CTRL_ARGUMENT;
    }
    return CTRL_OK;
}

static int prepare(struct ctrl *c) {
    osmo_error_t err = OSMO_ERROR_INIT;
    const char *config = getenv("OSMO_CONFIG_FILE_DIR");
    if (!c->o.login_file)
        c->o.login_file = str_printf("%s/login.yaml", config ? config : "/osmo/login/config");
    if (!c->o.spool_path)
        c->o.spool_path = default_spool(c->o.socket_path);
    c->o.input_path = with_slash(c->o.input_path);
    c->o.output_path = with_slash(c->o.output_path);
    if (!c->o.login_file || !c->o.spool_path || !c->o.input_path || !c->o.output_path)
        return CTRL_OTHER;
    if (spool_open(c->o.spool_path, (uint64_t)c->o.spool_limit_mib << 20, &c->spool, &err)) {
        fprintf(stderr, "osmo_ctrl: %s\n", err.text);
        return CTRL_FILE;
    }
    int code = token_open(&c->o, &c->token);
    if (!code)
        code = actions_new(c, &c->actions);
    if (!code && logger_link_open(&c->o, c->token, c->spool, c->actions, &c->link, &err)) {
        fprintf(stderr, "osmo_ctrl: %s\n", err.text);
        code = CTRL_LOGGER;
    }
    return code;
}

/* A termination that arrives between two stages must not start the next. */
static int move_data(struct ctrl *c, enum stage stage, int (*run)(struct ctrl *)) {
    return termination_enter(c, stage) ? run(c) : CTRL_TERMINATED;
}

int group_barrier(struct ctrl *c) {
    if (!*c->o.barrier) {
        logger_link_restart_clear(c->link); /* what has not begun need not begin again */
        return CTRL_OK;
    }
    ctrl_say(c, IO_OSMO_CTRL, "Waiting for the other tasks of the group");
    int code = logger_link_barrier(c->link, c->o.barrier);
    if (!code)
        ctrl_say(c, IO_OSMO_CTRL, "The group is ready");
    return code;
}

static int run_command(struct ctrl *c) {
    int code = exec_start(c);
    if (!code)
        code = exec_relay(c);
    /* of a command that was told to end, what it left is worth as much as its attempt still counts */
    if (!code || (code == CTRL_TERMINATED && c->exec_started)) {
        int moved = move_data(c, STAGE_OUTPUTS, transfer_outputs);
        code = code ? code : moved;
    }
    return code;
}

static int phases(struct ctrl *c) {
    int code = exec_accept(c);
    if (!code)
        code = logger_link_wait_connected(c->link);
    if (!code)
        code = move_data(c, STAGE_INPUTS, transfer_inputs);
    if (!code && !termination_enter(c, STAGE_BEFORE))
        code = CTRL_TERMINATED;
    if (!code)
        code = group_barrier(c);
    return code ? code : move_data(c, STAGE_RUN, run_command);
}

/* Everything that is said reaches the logger, as far as there is time. */
static int say_goodbye(struct ctrl *c, int code) {
    if (code)
        ctrl_say(c, IO_OSMO_CTRL, "osmo_ctrl ends with code %d", code);
    termination_enter(c, STAGE_END);
    if (code == CTRL_TERMINATED) {
        int64_t left = termination_left_ms(c);
        spool_wait_empty(c->spool, left < FLUSH_ON_TERM_MS ? left : FLUSH_ON_TERM_MS);
        return code;
    }
    int finished = code == CTRL_LOGGER ? CTRL_OK : logger_link_finish(c->link);
    return code ? code : finished;
}

/* Two descriptors for each connection of a session. */
static void raise_limits(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max < FILES_WANTED ? l.rlim_max : FILES_WANTED;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

int main(int argc, char **argv) {
    static struct ctrl c = { .listener = -1, .exec_fd = -1, .exec_lock = PTHREAD_MUTEX_INITIALIZER };
    if (http_trust(getenv("SSL_CERT_FILE"), getenv("SSL_CERT_DIR")) < 0)
        return CTRL_OTHER;
    c.o = (struct options){
        .workflow = "",
        .group = "",
        .retry_id = "0",
        .log_source = "",
        .barrier = "",
        .socket_path = "",
        .scheme = "ws",
        .host = "localhost",
        .port = "8000",
        .refresh_token = "/osmo/.refresh_token",
        .refresh_scheme = "http",
        .token_header = "Authorization",
        .user_config = "/osmo/user_config.yaml",
        .service_config = "/osmo/service_config.yaml",
        .input_path = "",
        .output_path = "",
        .metadata_file = "",
        .termination_log = "/dev/termination-log",
        .timeout_min = 60,
        .unix_timeout_min = 120,
        .exec_timeout_min = 5,
        .data_timeout_min = 10,
        .logs_period_ms = 100,
        .logs_buffer = 10000,
        .spool_limit_mib = 256,
    };
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    buf_init(&c.exec_in, 2 * LINK_MESSAGE_MAX);
    raise_limits();
    int code = read_options(&c.o, argc, argv);
    c.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!code)
        code = token_check(&c.o);
    if (!code)
        code = exec_listen(&c);
    if (!code)
        code = prepare(&c);
    if (!code)
        code = termination_watch(&c);
    if (!code) {
        code = phases(&c);
        if (code && c.exec_fd >= 0 && !c.exec_started)
            exec_send(&c, "CtrlFailed", NULL, NULL);
        code = say_goodbye(&c, code);
    }
    ctrl_exit(&c, code);
}
