/* Configuration as shared snapshots: readers take a reference, a reload swaps the pointer. It is a file's, or else what the store has
 * over the built-in one (config_objects.c). The file's directory is watched, so an editor's or a ConfigMap's rename is seen; a file that
 * does not parse leaves the old snapshot in place. Called by everybody in engine/ and api/. */
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/access.h"
#include "engine/config_objects.h"
#include "engine/engine_internal.h"
#include "engine/providers.h"

#define CONFIG_MAX_BYTES (16u << 20)
#define DEBOUNCE_MS 300

/* `shown` is first: a reader's pointer leads back to its snapshot. It borrows every string from `owned`. */
struct snapshot {
    struct settings shown;
    struct settings *owned;
    atomic_int refs;
};

struct config {
    engine_t *e;
    pthread_mutex_t reload; /* one at a time, so that what was read last is what stays */
    pthread_mutex_t lock;
    struct snapshot *current;
    char *path, *base_url;
    pthread_t thread;
    bool watching;
    bool wakes; /* all parts are there: they learn of a reload */
    int inotify_fd, stop_fd;
};

static int file_settings(const char *path, struct settings **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(CONFIG_MAX_BYTES);
    int rc = file_read(path, &text, err);
    return rc < 0 ? rc : settings_parse(buf_cstr(&text), text.len, path, out, err);
}

static int snapshot_new(const struct config *c, struct snapshot **out, osmo_error_t *err) {
    struct settings *s = NULL;
    int rc = c->path ? file_settings(c->path, &s, err) : config_stored(c->e, &s, err);
    if (rc < 0)
        return rc;
    struct snapshot *snap = calloc(1, sizeof *snap);
    if (!snap) {
        settings_free(s);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    snap->shown = *s;
    snap->owned = s;
    atomic_init(&snap->refs, 1);
    *out = snap;
    return 0;
}

void engine_settings_put(const struct settings *s) {
    struct snapshot *snap = (struct snapshot *)(void *)s;
    if (!snap || atomic_fetch_sub(&snap->refs, 1) != 1)
        return;
    settings_free(snap->owned);
    free(snap);
}

const struct settings *engine_settings(engine_t *e) {
    pthread_mutex_lock(&e->config->lock);
    struct snapshot *snap = e->config->current;
    atomic_fetch_add(&snap->refs, 1);
    pthread_mutex_unlock(&e->config->lock);
    return &snap->shown;
}

int engine_reload(engine_t *e, osmo_error_t *err) {
    struct config *c = e->config;
    struct snapshot *next;
    pthread_mutex_lock(&c->reload);
    int rc = snapshot_new(c, &next, err);
    if (rc < 0) {
        pthread_mutex_unlock(&c->reload);
        return rc;
    }
    pthread_mutex_lock(&c->lock);
    struct snapshot *old = c->current;
    c->current = next;
    if (c->wakes)
        engine_wake_here(e, WAKE_TIMERS | WAKE_WORK); /* how long things are kept may be new, and what backends know of pools */
    bool running = c->wakes;
    pthread_mutex_unlock(&c->lock);
    if (running && c->path)
        access_settings_changed(e); /* a file may have roles */
    pthread_mutex_unlock(&c->reload);
    engine_settings_put(&old->shown);
    if (running)
        providers_follow(e);
    log_info(&e->log, "configuration loaded from %s", c->path ? c->path : "the database");
    return 0;
}

int config_follow(engine_t *e) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = e->config->path ? 0 : engine_reload(e, &err);
    if (rc < 0)
        log_error(&e->log, "the changed configuration was not taken, the previous one stays: %s", err.text);
    return rc;
}

void config_wakes(engine_t *e, bool yes) {
    if (!e->config)
        return;
    pthread_mutex_lock(&e->config->reload); /* after this none is under way that began before */
    pthread_mutex_lock(&e->config->lock);
    e->config->wakes = yes;
    pthread_mutex_unlock(&e->config->lock);
    pthread_mutex_unlock(&e->config->reload);
    if (yes)
        providers_follow(e); /* of a reload while the parts were being opened */
}

/* ---- base URL ---- */

static char *url_trimmed(const char *url) {
    char *copy = str_dup(url ? url : "");
    for (size_t n = copy ? strlen(copy) : 0; n && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    return copy;
}

int engine_set_base_url(engine_t *e, const char *url, osmo_error_t *err) {
    if (url && *url && !str_starts(url, "http://") && !str_starts(url, "https://"))
        return osmo_error_set(err, OSMO_EINVAL, "base URL '%s' must begin with http:// or https://", url);
    char *copy = url_trimmed(url);
    if (!copy)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_lock(&e->config->lock);
    free(e->config->base_url);
    e->config->base_url = copy;
    pthread_mutex_unlock(&e->config->lock);
    engine_wake(e, WAKE_WORK); /* jobs need it */
    return 0;
}

/* The configured public URL stands above the address the listener happens to have. */
char *engine_base_url(engine_t *e) {
    struct config *c = e->config;
    pthread_mutex_lock(&c->lock);
    const char *configured = c->current->shown.service_base_url;
    char *copy = url_trimmed(configured && *configured ? configured : c->base_url);
    pthread_mutex_unlock(&c->lock);
    return copy;
}

/* ---- watching the file ---- */

static void drain(int fd) {
    char events[4096] __attribute__((aligned(8)));
    while (read(fd, events, sizeof events) > 0)
        ;
}

static void *watch_main(void *arg) {
    struct config *c = arg;
    struct pollfd fds[2] = { { .fd = c->inotify_fd, .events = POLLIN }, { .fd = c->stop_fd, .events = POLLIN } };
    bool changed = false;
    for (;;) {
        int n = poll(fds, 2, changed ? DEBOUNCE_MS : -1);
        if (n < 0 && errno != EINTR)
            return NULL;
        if (n > 0 && fds[1].revents)
            return NULL;
        if (n > 0 && fds[0].revents) {
            drain(c->inotify_fd);
            changed = true; /* wait until it is quiet */
        } else if (n == 0) {
            osmo_error_t err = OSMO_ERROR_INIT;
            changed = false;
            if (engine_reload(c->e, &err) < 0)
                log_error(&c->e->log, "the changed configuration was refused, the previous one stays: %s", err.text);
        }
    }
}

static int watch_start(struct config *c, osmo_error_t *err) {
    _cleanup_free_ char *copy = str_dup(c->path);
    if (!copy)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    const char *dir = dirname(copy);
    c->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    c->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (c->inotify_fd < 0 || c->stop_fd < 0 ||
        inotify_add_watch(c->inotify_fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot watch %s for configuration changes: %s", dir, strerror(errno));
    if (pthread_create(&c->thread, NULL, watch_main, c) != 0)
        return osmo_error_set(err, OSMO_EUNAVAIL, "cannot start the configuration thread: too many threads");
    c->watching = true;
    return 0;
}

int config_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err) {
    struct config *c = calloc(1, sizeof *c);
    if (!c)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    c->e = e;
    c->inotify_fd = c->stop_fd = -1;
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->reload, NULL);
    e->config = c;
    c->path = str_dup(o->config_file);
    c->base_url = url_trimmed(o->base_url);
    if (!c->base_url || (o->config_file && !c->path))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = snapshot_new(c, &c->current, err);
    return rc < 0 || !c->path ? rc : watch_start(c, err);
}

void config_close(engine_t *e) {
    struct config *c = e->config;
    if (!c)
        return;
    if (c->watching) {
        uint64_t one = 1;
        if (fd_write_all(c->stop_fd, &one, sizeof one) == 0)
            pthread_join(c->thread, NULL);
    }
    if (c->inotify_fd >= 0)
        close(c->inotify_fd);
    if (c->stop_fd >= 0)
        close(c->stop_fd);
    if (c->current)
        engine_settings_put(&c->current->shown);
    free(c->path);
    free(c->base_url);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->reload);
    free(c);
    e->config = NULL;
}
