/* Inputs in, outputs out. Inputs are fetched several at a time and told of in their order; outputs go one after another. A transfer that is
 * not complete fails the task and names the file. Addresses of the specification are used with the credentials of the user, what tasks hand
 * on and KPIs with those of the service. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "transfer.h"

#define ATTEMPTS 5         /* of a transfer in which nothing moved for the data timeout */
#define AT_ONCE 4          /* inputs */
#define CONNECTIONS 16     /* of all of them together */
#define FOLDER_LINES 20    /* of a folder's contents in the log */

typedef int (*attempt_fn)(struct transfer *t, void *ctx, bool again, osmo_error_t *err);

/* Retries what stalled. OSMO_ECONFLICT: it was stopped. */
static int repeat(struct transfer *t, attempt_fn run, void *ctx, osmo_error_t *err) {
    int rc = 0;
    for (int attempt = 1; attempt <= ATTEMPTS; attempt++) {
        rc = run(t, ctx, attempt > 1, err);
        if (rc != OSMO_ETIMEOUT || transfer_cancelled() || attempt == ATTEMPTS)
            break;
        ctrl_say(t->c, t->log, "%s stands still, beginning attempt %d of %d: %s", t->label, attempt + 1, ATTEMPTS, err->text);
    }
    return rc;
}

static enum transfer_owner owner_of(const struct transfer_spec *s) { return s->kind == TRANSFER_URL ? OWNER_USER : OWNER_SERVICE; }

static int setup_code(int rc) { return rc == OSMO_ENOMEM ? CTRL_OTHER : CTRL_ACCESS; }

/* ---- inputs ---- */

struct input {
    struct transfer_spec spec;
    char *label, *folder;
    int code;
    bool done;
    struct data_totals totals;
    osmo_error_t err;
};

struct inputs {
    struct ctrl *c;
    struct input *list;
    size_t n, next;
    int connections;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    atomic_bool stop; /* one has failed: the others need not go on */
};

static int input_run(struct transfer *t, void *ctx, bool again, osmo_error_t *err) {
    struct input *in = ctx;
    in->totals = (struct data_totals){ 0 };
    return data_download(t->session, in->spec.url, in->spec.rest, in->folder, again, &in->totals, err);
}

static int input_fetch(struct inputs *all, struct input *in) {
    struct transfer t = { .label = in->label, .stop = &all->stop };
    int64_t from = clock_now_us();
    int rc = transfer_begin(all->c, owner_of(&in->spec), IO_DOWNLOAD, all->connections, &t, &in->err);
    if (rc < 0)
        return setup_code(rc);
    ctrl_say(all->c, IO_DOWNLOAD, "Downloading %s from %s", in->label, in->spec.url);
    rc = repeat(&t, input_run, in, &in->err);
    transfer_end(&t);
    if (rc < 0)
        return transfer_cancelled() ? CTRL_TERMINATED : CTRL_DOWNLOAD;
    transfer_metric(all->c, "INPUT", in->spec.url, from, clock_now_us(), &in->totals);
    return CTRL_OK;
}

static void *input_worker(void *arg) {
    struct inputs *all = arg;
    pthread_mutex_lock(&all->lock);
    while (all->next < all->n && !atomic_load(&all->stop)) {
        struct input *in = &all->list[all->next++];
        pthread_mutex_unlock(&all->lock);
        int code = input_fetch(all, in);
        pthread_mutex_lock(&all->lock);
        /* what ends because another failed is no failure of its own */
        in->code = atomic_load(&all->stop) && code != CTRL_OK ? CTRL_OK : code;
        in->done = true;
        if (in->code)
            atomic_store(&all->stop, true);
        pthread_cond_broadcast(&all->ended);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }
static int is_visible(const struct dirent *e) { return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0; }

/* The first level of what has come. */
static void tell_folder(struct ctrl *c, const char *folder) {
    struct dirent **list = NULL;
    int n = scandir(folder, &list, is_visible, by_name);
    for (int i = 0; i < n; i++) {
        if (i < FOLDER_LINES)
            ctrl_say(c, IO_DOWNLOAD, "  %s%s", list[i]->d_name, list[i]->d_type == DT_DIR ? "/" : "");
        else if (i == FOLDER_LINES)
            ctrl_say(c, IO_DOWNLOAD, "  and %d more", n - FOLDER_LINES);
        free(list[i]);
    }
    free(list);
}

static void input_tell(struct ctrl *c, const struct input *in) {
    char size[DATA_SIZE_TEXT_MAX];
    unsigned long long files = in->totals.files + in->totals.skipped;
    if (in->code && in->code != CTRL_TERMINATED) {
        ctrl_say(c, IO_DOWNLOAD, "Download of %s failed: %s", in->label, in->err.text);
    } else if (!in->code && !files) {
        ctrl_say(c, IO_DOWNLOAD, "Warning: nothing%s is at %s, %s is empty", *in->spec.rest ? " that matches" : "",
                 in->spec.url, in->label);
    } else if (!in->code) {
        ctrl_say(c, IO_DOWNLOAD, "Downloaded %llu files, %s to %s", files, data_size_text(in->totals.bytes, size), in->label);
        tell_folder(c, in->folder);
    }
}

/* In their order, each as soon as it has ended. The first thread that ends with a failure lets the others end too. */
static int inputs_tell(struct inputs *all) {
    int code = CTRL_OK;
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; i < all->n; i++) {
        const struct input *in = &all->list[i];
        while (!in->done && !(atomic_load(&all->stop) && i >= all->next))
            pthread_cond_wait(&all->ended, &all->lock);
        if (!in->done || (!in->code && atomic_load(&all->stop)))
            continue;
        pthread_mutex_unlock(&all->lock);
        input_tell(all->c, in);
        pthread_mutex_lock(&all->lock);
        code = code ? code : in->code;
    }
    pthread_mutex_unlock(&all->lock);
    return code;
}

static int inputs_fetch(struct inputs *all) {
    pthread_t threads[AT_ONCE];
    size_t wanted = all->n < AT_ONCE ? all->n : AT_ONCE, started = 0;
    all->connections = CONNECTIONS / (int)wanted;
    while (started < wanted && pthread_create(&threads[started], NULL, input_worker, all) == 0)
        started++;
    if (!started) {
        ctrl_say(all->c, IO_OSMO_CTRL, "cannot start a thread for the inputs: %s", strerror(errno));
        return CTRL_OTHER;
    }
    int code = inputs_tell(all);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return code;
}

static int input_prepare(struct ctrl *c, const char *arg, struct input *in) {
    int rc = transfer_spec_parse(arg, true, &in->spec, &in->err);
    if (rc < 0) {
        ctrl_say(c, IO_OSMO_CTRL, "%s", in->err.text);
        return rc == OSMO_ENOMEM ? CTRL_OTHER : CTRL_ARGUMENT;
    }
    in->label = str_printf("{{input:%lld}}", (long long)in->spec.index);
    in->folder = str_printf("%s%lld", c->o.input_path, (long long)in->spec.index);
    if (!in->label || !in->folder)
        return CTRL_OTHER;
    if (dir_make(in->folder, 0777, &in->err) >= 0)
        return CTRL_OK;
    ctrl_say(c, IO_OSMO_CTRL, "%s", in->err.text);
    return CTRL_FILE;
}

static void inputs_clear(struct inputs *all) {
    for (size_t i = 0; i < all->n; i++) {
        transfer_spec_clear(&all->list[i].spec);
        free(all->list[i].label);
        free(all->list[i].folder);
    }
    free(all->list);
    pthread_cond_destroy(&all->ended);
    pthread_mutex_destroy(&all->lock);
}

int transfer_inputs(struct ctrl *c) {
    int code = transfer_validate(c);
    if (code || !c->o.inputs.len)
        return code;
    int64_t from = clock_now_us();
    struct inputs all = { .c = c, .list = calloc(c->o.inputs.len, sizeof *all.list), .lock = PTHREAD_MUTEX_INITIALIZER,
                          .ended = PTHREAD_COND_INITIALIZER };
    if (!all.list)
        return CTRL_OTHER;
    for (; !code && all.n < c->o.inputs.len; all.n++)
        code = input_prepare(c, c->o.inputs.items[all.n], &all.list[all.n]);
    if (!code)
        code = inputs_fetch(&all);
    inputs_clear(&all);
    if (!code)
        ctrl_say(c, IO_DOWNLOAD, "All inputs gathered");
    transfer_group_metric(c, "input_download", from, clock_now_us());
    return code;
}

/* ---- outputs ---- */

struct output {
    struct ctrl *c;
    struct transfer_spec spec;
    char *url;               /* of what is sent: a KPI's is its task's */
    struct data_totals totals;
};

static bool output_is_empty(const char *dir) {
    DIR *d = opendir(dir);
    bool empty = true;
    struct dirent *e;
    while (d && (e = readdir(d)))
        empty = empty && !is_visible(e);
    if (d)
        closedir(d);
    return empty;
}

/* Links of the task may not lead out of its output. */
static int open_kpi(void *ctx, size_t i) {
    const struct output *out = ctx;
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    (void)i;
    _cleanup_close_ int dir = open(out->c->o.output_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, out->spec.rest, &how, sizeof how);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    if (fd >= 0)
        close(fd);
    return OSMO_ENOTFOUND;
}

static int output_run(struct transfer *t, void *ctx, bool again, osmo_error_t *err) {
    struct output *out = ctx;
    (void)again;
    out->totals = (struct data_totals){ 0 };
    if (out->spec.kind != TRANSFER_KPI) {
        _cleanup_free_ char *all = str_printf("%s*", out->c->o.output_path);
        const char *const paths[] = { all };
        return all ? data_upload(t->session, out->url, paths, 1, out->spec.kind == TRANSFER_URL ? out->spec.rest : "", &out->totals, err)
                   : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    struct stat st;
    _cleanup_close_ int fd = open_kpi(out, 0);
    if (fd < 0 || fstat(fd, &st)) {
        ctrl_say(t->c, IO_UPLOAD, "Warning: the task has not written its KPI %s", out->spec.rest);
        return 0;
    }
    const struct data_file file = { out->spec.rest, (uint64_t)st.st_size };
    return data_upload_files(t->session, out->url, &file, 1, open_kpi, out, &out->totals, err);
}

static int output_send(struct output *out) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct transfer t = { .label = out->spec.url };
    struct ctrl *c = out->c;
    char size[DATA_SIZE_TEXT_MAX];
    int64_t from = clock_now_us();
    int rc = transfer_begin(c, owner_of(&out->spec), IO_UPLOAD, CONNECTIONS, &t, &err);
    int code = rc < 0 ? setup_code(rc) : CTRL_OK;
    if (!code) {
        ctrl_say(c, IO_UPLOAD, "Uploading to %s", out->spec.url);
        if (repeat(&t, output_run, out, &err) < 0)
            code = transfer_cancelled() ? CTRL_TERMINATED : CTRL_UPLOAD;
        transfer_end(&t);
    }
    if (code && code != CTRL_TERMINATED)
        ctrl_say(c, IO_UPLOAD, "Upload to %s failed: %s", out->spec.url, err.text);
    if (code)
        return code;
    ctrl_say(c, IO_UPLOAD, "Uploaded %llu files, %s", (unsigned long long)out->totals.files, data_size_text(out->totals.bytes, size));
    transfer_metric(c, "OUTPUT", out->spec.url, from, clock_now_us(), &out->totals);
    return CTRL_OK;
}

/* whole: the output of the task has been sent, and a KPI is a file of it, under the same name. */
static int output_one(struct ctrl *c, const char *arg, bool *whole) {
    struct output out = { .c = c };
    osmo_error_t err = OSMO_ERROR_INIT;
    int code = CTRL_OK, rc = transfer_spec_parse(arg, false, &out.spec, &err);
    if (rc < 0) {
        ctrl_say(c, IO_OSMO_CTRL, "%s", err.text);
        code = rc == OSMO_ENOMEM ? CTRL_OTHER : CTRL_ARGUMENT;
    } else if (out.spec.kind != TRANSFER_KPI || !*whole) {
        out.url = out.spec.kind == TRANSFER_KPI ? transfer_kpi_root(out.spec.url, out.spec.rest) : strdup(out.spec.url);
        code = out.url ? output_send(&out) : CTRL_OTHER;
        *whole = *whole || out.spec.kind == TRANSFER_TASK;
    }
    free(out.url);
    transfer_spec_clear(&out.spec);
    return code;
}

int transfer_outputs(struct ctrl *c) {
    if (!c->o.outputs.len || output_is_empty(c->o.output_path))
        return CTRL_OK;
    int64_t from = clock_now_us();
    int code = CTRL_OK;
    bool whole = false;
    ctrl_say(c, IO_UPLOAD, "Uploading outputs");
    for (size_t i = 0; !code && i < c->o.outputs.len; i++)
        code = output_one(c, c->o.outputs.items[i], &whole);
    if (!code)
        ctrl_say(c, IO_UPLOAD, "All outputs uploaded");
    transfer_group_metric(c, "output_upload", from, clock_now_us());
    return code;
}
