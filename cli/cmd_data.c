/* data upload, download, list, delete, check: files to and from object storage, without a service. Credentials are those of config.yaml, as
 * `osmo credential set` keeps them, and of the environment. What was not carried completely is a failure that names the file. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "cli.h"
#include "data/data_environment.h"
#include "data/progress.h"
#include "data/transfer.h"

#define CONNECTIONS_MAX 256

/* One command: what its options say, and what it shows meanwhile. */
struct job {
    const char *uri, *regex, *config, *benchmark;
    int64_t processes, threads, retry_for_s;
    bool resume;
    struct data_surroundings around;
    data_session_t *session;
    char *state_dir;
    struct data_meter meter;
    size_t columns;   /* of the terminal; 0: no terminal, whole lines */
    bool drawn;       /* a line that the next one replaces */
};

#define REGEX_OPTION(j, what) { "--regex -x", OPT_VALUE, &(j)->regex, "REGEX", what, NULL }
#define CONFIG_OPTION(j) \
    { "--config-file -c", OPT_VALUE, &(j)->config, "FILE", "credentials, instead of config.yaml of this client", NULL }
#define RETRY_OPTION(j) \
    { "--retry-for", OPT_INT, &(j)->retry_for_s, "SECONDS", "how long storage that is down or busy is waited for (600)", NULL }
#define TRANSFER_OPTIONS(j) \
    { "--processes -p", OPT_INT, &(j)->processes, "N", "multiplies --threads (1)", NULL }, \
    { "--threads -T", OPT_INT, &(j)->threads, "N", "connections at once (20)", NULL }, \
    { "--benchmark-out -b", OPT_VALUE, &(j)->benchmark, "DIRECTORY", "write there how long it took, as JSON", NULL }, \
    RETRY_OPTION(j), CONFIG_OPTION(j)

static volatile sig_atomic_t interrupted;

/* What has begun is put away at the first signal; a second one does not wait for that. */
static void on_signal(int number) {
    (void)number;
    if (interrupted)
        _exit(EXIT_INTERRUPTED);
    interrupted = 1;
}

static bool cancelled(void *ctx) {
    (void)ctx;
    return interrupted;
}

/* ---- what is shown ---- */

static void undraw(struct job *j) {
    if (j->drawn)
        fputs("\r\x1b[K", stdout);
    j->drawn = false;
}

static void progress(void *ctx, const struct data_progress *p) {
    struct job *j = ctx;
    char text[DATA_METER_TEXT_MAX];
    int64_t now = clock_mono_us();
    if (j->columns) {
        printf("\r%s\x1b[K", data_meter_screen(&j->meter, p, now, j->columns - 1, text));
        j->drawn = true;
    } else if (data_meter_due(&j->meter, p, now)) {
        puts(data_meter_log(&j->meter, p, now, text));
    } else {
        return;
    }
    fflush(stdout);
}

static void left_out(void *ctx, const char *path, const char *why) {
    undraw(ctx);
    fflush(stdout);
    fprintf(stderr, "%s is left out: %s\n", path, why);
}

static size_t terminal_columns(void) {
    struct winsize size = { 0 };
    const char *term = getenv("TERM");
    if (!isatty(STDOUT_FILENO) || !term || !*term || str_eq(term, "dumb"))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

/* ---- beginning and end ---- */

static int fail(struct job *j, const osmo_error_t *err) {
    undraw(j);
    fflush(stdout);
    if (interrupted) {
        fprintf(stderr, "Interrupted.\n");
        return EXIT_INTERRUPTED;
    }
    int code = err->code == OSMO_EUNAVAIL || err->code == OSMO_ETIMEOUT ? EXIT_SERVER_DOWN : EXIT_USER;
    return api_fail(false, 0, err->text, code);
}

/* Where uploads leave how far they have come. */
static char *state_dir(void) {
    const char *own = getenv("OSMO_LOG_FILE_DIR"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (own && *own)
        return str_printf("%s/transfers", own);
    return state && *state ? str_printf("%s/osmo/transfers", state) : str_printf("%s/.local/state/osmo/transfers", home ? home : "");
}

static uint64_t number_from_environment(const char *name) {
    const char *text = getenv(name);
    int64_t value;
    return text && str_to_i64(text, &value) && value > 0 ? (uint64_t)value : 0;
}

static int open_session(struct job *j, osmo_error_t *err) {
    _cleanup_free_ char *dir = config_dir();
    _cleanup_free_ char *own = dir ? str_printf("%s/config.yaml", dir) : NULL;
    int64_t processes = j->processes > 0 ? j->processes : 1, threads = j->threads > 0 ? j->threads : 20;
    if (!own)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (j->processes < 0 || j->threads < 0 || j->retry_for_s < 0)
        return osmo_error_set(err, OSMO_EUSER, "--processes, --threads and --retry-for must be more than 0");
    int rc = data_surroundings_read(j->config ? j->config : own, !j->config, getenv, &j->around, err);
    if (rc < 0)
        return rc;
    j->state_dir = state_dir();
    if (!j->state_dir)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    uint64_t patience_s = j->retry_for_s ? (uint64_t)j->retry_for_s : number_from_environment("OSMO_S3_TIMEOUT");
    struct data_options o = {
        .credentials = j->around.credentials,
        .environment = &j->around.environment,
        .state_dir = j->state_dir,
        .user_agent = "osmo-cli/" CLIENT_VERSION,
        .connections = threads > CONNECTIONS_MAX / processes ? CONNECTIONS_MAX : (int)(threads * processes),
        .multipart_from = number_from_environment("OSMO_S3_MULTIPART_THRESHOLD_BYTES"),
        .retry_for_ms = patience_s < 1000000000 ? (int64_t)patience_s * 1000 : 0,
        .progress = progress,
        .left_out = left_out,
        .cancelled = cancelled,
        .ctx = j,
    };
    struct sigaction sa = { .sa_handler = on_signal };
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    j->columns = terminal_columns();
    data_meter_start(&j->meter, clock_mono_us());
    return data_session_new(&o, &j->session, err);
}

static void close_job(struct job *j) {
    data_session_free(j->session);
    data_surroundings_clear(&j->around);
    free(j->state_dir);
}

/* DIRECTORY/<operation>_<ms>.json, as OSMO's client writes it. */
static int write_benchmark(const struct job *j, const char *operation, int64_t from_us, const struct data_totals *t, osmo_error_t *err) {
    int64_t from = from_us / 1000, to = clock_now_us() / 1000, took = to > from ? to - from : 0;
    _cleanup_free_ char *path = str_printf("%s/%s_%lld.json", j->benchmark, operation, (long long)from);
    _cleanup_json_ json_t *o = json_object();
    _cleanup_buf_ buf_t text = BUF_INIT(4096);
    json_set_int(o, "start_time_ms", from);
    json_set_int(o, "end_time_ms", to);
    json_set_int(o, "duration_ms", took);
    json_set_double(o, "average_mbps", (double)t->bytes * 8 / 1000 / (double)(took ? took : 1));
    json_set_int(o, "total_bytes_transferred", (int64_t)t->bytes);
    json_set_int(o, "total_number_of_files", (int64_t)t->files);
    if (!path || !o || json_print(o, 2, &text) < 0 || buf_putc(&text, '\n') < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = dir_make(j->benchmark, 0777, err);
    return rc < 0 ? rc : file_write_atomic(path, text.data, text.len, 0644, false, err);
}

/* What was done of it is told too when it did not end well. */
static int finish_transfer(struct job *j, const char *operation, const char *did, int rc, int64_t from_us, const struct data_totals *t,
                           osmo_error_t *err) {
    char size[DATA_SIZE_TEXT_MAX];
    undraw(j);
    printf("%s %llu files, %s", did, (unsigned long long)t->files, data_size_text(t->bytes, size));
    if (t->skipped)
        printf(" (%llu were there already)", (unsigned long long)t->skipped);
    putchar('\n');
    if (rc >= 0 && j->benchmark)
        rc = write_benchmark(j, operation, from_us, t, err);
    int code = rc < 0 ? fail(j, err) : fflush(stdout) ? EXIT_USER : 0;
    close_job(j);
    return code;
}

/* ---- the commands ---- */

static int data_upload_command(int argc, char **argv) {
    struct job j = { 0 };
    strlist_t paths = { 0 };
    const struct opt opts[] = { REGEX_OPTION(&j, "only files whose path from its base matches at its start"), TRANSFER_OPTIONS(&j) };
    const struct arg args[] = { { "URI", "where to, for example s3://bucket/prefix", &j.uri, NULL, false },
                                { "PATH", "a file, a directory, or 'DIRECTORY/*' for what is in it", NULL, &paths, false } };
    const struct usage u = { "data upload", "Copy files into object storage.", opts, ARRAY_SIZE(opts), args, 2 };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals totals = { 0 };
    int64_t from = clock_now_us();
    int code = opt_parse(&u, argc, argv);
    if (code < 0) {
        int rc = open_session(&j, &err);
        if (rc >= 0)
            rc = data_upload(j.session, j.uri, (const char *const *)paths.items, paths.len, j.regex, &totals, &err);
        code = finish_transfer(&j, "upload_objects", "Uploaded", rc, from, &totals, &err);
    }
    strlist_free(&paths);
    return code;
}

static int data_download_command(int argc, char **argv) {
    struct job j = { 0 };
    const char *folder = NULL;
    const struct opt opts[] = {
        REGEX_OPTION(&j, "only objects whose path below the URI matches at its start"),
        { "--resume -r", OPT_FLAG, &j.resume, NULL, "leave what is there whole, and go on with what was begun", NULL },
        TRANSFER_OPTIONS(&j),
    };
    const struct arg args[] = { { "URI", "an object, or what all names begin with", &j.uri, NULL, false },
                                { "DIRECTORY", "where to", &folder, NULL, false } };
    const struct usage u = { "data download", "Copy objects out of object storage.", opts, ARRAY_SIZE(opts), args, 2 };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals totals = { 0 };
    int64_t from = clock_now_us();
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    int rc = open_session(&j, &err);
    if (rc >= 0)
        rc = data_download(j.session, j.uri, j.regex, folder, j.resume, &totals, &err);
    return finish_transfer(&j, "download_objects", "Downloaded", rc, from, &totals, &err);
}

static int data_delete_command(int argc, char **argv) {
    struct job j = { 0 };
    const struct opt opts[] = { REGEX_OPTION(&j, "only objects whose path below the URI matches at its start"), RETRY_OPTION(&j),
                                CONFIG_OPTION(&j) };
    const struct arg args[] = { { "URI", "an object, or what all names begin with", &j.uri, NULL, false } };
    const struct usage u = { "data delete", "Delete objects. They are gone then.", opts, ARRAY_SIZE(opts), args, 1 };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals totals = { 0 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    int rc = open_session(&j, &err);
    if (rc >= 0)
        rc = data_delete(j.session, j.uri, j.regex, &totals, &err);
    undraw(&j);
    printf("Deleted %llu objects\n", (unsigned long long)totals.files);
    code = rc < 0 ? fail(&j, &err) : 0;
    close_job(&j);
    return code;
}

/* ---- list ---- */

struct listing {
    struct job job;
    const char *prefix, *file, *format, *rest; /* rest: what names below the URI that is listed begin with */
    bool recursive, no_pager, json;
    uint64_t count;
    FILE *out;
    bool piped;
};

/* Line breaks and the like would make two lines of one. */
static void put_line_name(FILE *out, const char *name) {
    for (; *name; name++)
        putc((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name, out);
}

static int put_json_object(struct listing *l, const struct data_object *o, const char *time) {
    _cleanup_json_ json_t *v = json_object();
    _cleanup_buf_ buf_t text = BUF_INIT(64u << 10);
    json_set_str(v, o->is_prefix ? "prefix" : "key", o->key);
    if (!o->is_prefix) {
        json_set_int(v, "size", (int64_t)o->size);
        json_set_str(v, "last_modified", time);
        json_set_str(v, "etag", o->etag ? o->etag : "");
    }
    if (!v || json_print(v, 0, &text) < 0)
        return OSMO_ENOMEM;
    fprintf(l->out, "%s\n  %s", l->count ? "," : "[", buf_cstr(&text));
    return 0;
}

static int put_object(void *ctx, const struct data_object *o) {
    struct listing *l = ctx;
    char time[TIME_TEXT_MAX];
    if (*l->rest && !str_starts(o->relative, l->rest))
        return 0;
    time_iso(o->modified_us / 1000000 * 1000000, time);
    if (l->json) {
        if (put_json_object(l, o, time) < 0)
            return OSMO_ENOMEM;
    } else {
        if (o->is_prefix)
            fprintf(l->out, "%19s  %14s  ", "", "PREFIX");
        else
            fprintf(l->out, "%.10s %.8s  %14llu  ", time, strlen(time) > 11 ? time + 11 : "", (unsigned long long)o->size);
        put_line_name(l->out, o->key);
        putc('\n', l->out);
    }
    l->count++;
    return ferror(l->out) ? OSMO_ECONFLICT : 0; /* a pager that has been left */
}

static bool is_installed(const char *program) {
    const char *path = getenv("PATH");
    for (const char *at = path ? path : ""; *at; at += strcspn(at, ":"), at += *at == ':') {
        _cleanup_free_ char *full = str_printf("%.*s/%s", (int)strcspn(at, ":"), at, program);
        if (full && access(full, X_OK) == 0)
            return true;
    }
    return false;
}

static void open_output(struct listing *l) {
    const char *own = getenv("PAGER"), *pager = own && *own ? own : is_installed("less") ? "less -FRX" : NULL;
    l->out = stdout;
    if (l->file) {
        l->out = fopen(l->file, "we");
    } else if (pager && !l->no_pager && !l->json && isatty(STDOUT_FILENO)) {
        FILE *p = popen(pager, "we"); /* ok: the user's own words, as every pager is called */
        l->piped = p != NULL;
        l->out = p ? p : stdout;
    }
}

/* Names below "URI/a/b" for --prefix a/b: what is behind its last slash is compared here. */
static char *listed_uri(struct listing *l) {
    const char *prefix = l->prefix ? l->prefix : "";
    const char *slash = strrchr(prefix, '/');
    size_t n = strlen(l->job.uri);
    while (n && l->job.uri[n - 1] == '/')
        n--;
    l->rest = slash ? slash + 1 : prefix;
    if (!slash)
        return str_dup(l->job.uri);
    return str_printf("%.*s/%.*s", (int)n, l->job.uri, (int)(slash - prefix), prefix);
}

static int list_objects(struct listing *l) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *uri = listed_uri(l);
    int rc = open_session(&l->job, &err);
    if (rc >= 0 && !uri)
        rc = osmo_error_set(&err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0) {
        open_output(l);
        if (!l->out)
            rc = osmo_error_set(&err, OSMO_EIO, "cannot write %s: %s", l->file, strerror(errno));
    }
    bool broken = false;
    if (rc >= 0) {
        rc = data_list(l->job.session, uri, l->job.regex, l->recursive, put_object, l, &err);
        if (l->json)
            fputs(l->count ? "\n]\n" : "[]\n", l->out);
        broken = ferror(l->out) || fflush(l->out);
        if (l->piped)
            pclose(l->out);
        else if (l->out != stdout && fclose(l->out))
            broken = true;
    }
    int code = 0;
    if (broken && !l->piped)
        code = api_fail(false, 0, "the list could not be written: is there room for it?", EXIT_USER);
    else if (rc < 0 && !broken)
        code = fail(&l->job, &err);
    if (!code && !l->count && !l->json)
        fprintf(stderr, "There is nothing.\n");
    close_job(&l->job);
    return code;
}

static int data_list_command(int argc, char **argv) {
    struct listing l = { .format = "text" };
    const struct opt opts[] = {
        REGEX_OPTION(&l.job, "only objects whose path below the URI matches at its start"),
        { "--prefix -p", OPT_VALUE, &l.prefix, "PREFIX", "only names below the URI that begin with it", NULL },
        { "--recursive -r", OPT_FLAG, &l.recursive, NULL, "everything below, not only the first level", NULL },
        { "--no-pager", OPT_FLAG, &l.no_pager, NULL, "do not page on a terminal", NULL },
        FORMAT_OPTION(&l.format), RETRY_OPTION(&l.job), CONFIG_OPTION(&l.job),
    };
    const struct arg args[] = { { "URI", "where", &l.job.uri, NULL, false }, { "FILE", "write the list there", &l.file, NULL, true } };
    const struct usage u = { "data list", "List objects: when they were written, their size, their name.", opts, ARRAY_SIZE(opts),
                             args, 2 };
    int code = opt_parse(&u, argc, argv);
    l.json = str_eq(l.format, "json");
    return code >= 0 ? code : list_objects(&l);
}

/* ---- check ---- */

/* The answer is read by programs: {"status": "pass"}, or "fail" and why. Only what could not be found out is a failure of the command. */
static int data_check_command(int argc, char **argv) {
    struct job j = { 0 };
    const char *access = "READ", *skip = getenv("OSMO_SKIP_DATA_AUTH");
    const struct opt opts[] = { { "--access-type -a", OPT_CHOICE, &access, "ACCESS", "what to ask for", "READ WRITE DELETE" },
                                RETRY_OPTION(&j), CONFIG_OPTION(&j) };
    const struct arg args[] = { { "URI", "where", &j.uri, NULL, false } };
    const struct usage u = { "data check", "Ask whether your credential may do something there.", opts, ARRAY_SIZE(opts), args, 1 };
    osmo_error_t err = OSMO_ERROR_INIT;
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    int rc = 0;
    if (!str_eq(skip, "1") && (rc = open_session(&j, &err)) >= 0)
        rc = data_check(j.session, j.uri, str_eq(access, "READ") ? DATA_READ : str_eq(access, "WRITE") ? DATA_WRITE : DATA_DELETE, &err);
    bool denied = rc == OSMO_EDENIED || rc == OSMO_ECREDENTIAL || rc == OSMO_EUNAUTH || rc == OSMO_ENOTFOUND;
    if (rc >= 0 || denied) {
        _cleanup_json_ json_t *o = json_object();
        json_set_str(o, "status", denied ? "fail" : "pass");
        if (denied)
            json_set_str(o, "error", err.text);
        print_json(o, 0);
    } else {
        code = fail(&j, &err);
    }
    close_job(&j);
    return code < 0 ? 0 : code;
}

const struct command data_commands[DATA_COMMANDS] = {
    { "upload", "copy files into object storage", data_upload_command },
    { "download", "copy objects out of it", data_download_command },
    { "list", "list objects", data_list_command },
    { "delete", "delete objects", data_delete_command },
    { "check", "ask what your credential may do", data_check_command },
};
