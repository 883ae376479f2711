/* Opening and closing of the engine: the parts in order, and in reverse. Called by the service object only. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"
#include "engine/access.h"
#include "engine/audit.h"
#include "engine/engine_internal.h"
#include "engine/limits.h"
#include "engine/masks.h"
#include "engine/providers.h"
#include "engine/reactor_internal.h"
#include "engine/registry.h"
#include "engine/replicas.h"
#include "engine/router.h"
#include "engine/submit_internal.h"
#include "engine/vault.h"

static const struct {
    const char *name;
    enum service_role role;
} role_table[] = {
    { "core", ROLE_CORE },     { "worker", ROLE_WORKER }, { "agent", ROLE_AGENT },
    { "logger", ROLE_LOGGER }, { "router", ROLE_ROUTER }, { "delayed-job-monitor", ROLE_MONITOR },
};

int roles_parse(const char *text, unsigned *roles, osmo_error_t *err) {
    *roles = 0;
    if (!text || !*text) {
        *roles = ROLE_ALL;
        return 0;
    }
    strlist_t names = { 0 };
    int rc = strlist_split(&names, text, ',');
    for (size_t i = 0; rc >= 0 && i < names.len; i++) {
        size_t k = 0;
        while (k < ARRAY_SIZE(role_table) && !str_eq(role_table[k].name, names.items[i]))
            k++;
        if (k < ARRAY_SIZE(role_table))
            *roles |= role_table[k].role;
        else
            rc = osmo_error_set(
                err, OSMO_EINVAL,
                "unknown role '%s': use a comma list of core, worker, agent, logger, router, delayed-job-monitor",
                names.items[i]);
    }
    strlist_free(&names);
    return rc;
}

void engine_wake_here(engine_t *e, unsigned what) {
    if (what & WAKE_WORK) {
        agents_wake(e);
        worker_wake(e);
    }
    if (what & WAKE_TIMERS)
        monitor_wake(e);
    if (what & WAKE_ARCHIVE)
        archivers_wake(e);
}

void engine_wake(engine_t *e, unsigned what) {
    engine_wake_here(e, what);
    if (what & WAKE_WORK)
        replicas_hint(e, HINT_WORK, NULL);
    if (what & WAKE_TIMERS)
        replicas_hint(e, HINT_TIMERS, NULL);
    if (what & WAKE_ARCHIVE)
        replicas_hint(e, HINT_ARCHIVE, NULL);
}

/* What others left that are gone is free before anything is claimed. */
static int open_store(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err) {
    _cleanup_free_ char *url = o->database ? str_dup(o->database) : str_printf("sqlite:%s/osmo.db", e->data_dir);
    if (!url)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    struct store_options so = { .url = url, .log = &e->log };
    int rc = store_open(&so, &e->store, err);
    if (rc >= 0)
        rc = replicas_open(e, o, err);
    return rc < 0 ? rc : submissions_recover(e, err);
}

static int open_dirs(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err) {
    if (!o->data_dir || o->data_dir[0] != '/')
        return osmo_error_set(err, OSMO_EINVAL, "the data directory must be an absolute path");
    if (o->storage_dir && o->storage_dir[0] != '/')
        return osmo_error_set(err, OSMO_EINVAL, "the storage directory must be an absolute path");
    e->data_dir = str_dup(o->data_dir);
    e->storage_dir = o->storage_dir ? str_dup(o->storage_dir) : str_printf("%s/storage", o->data_dir);
    e->base_url_option = str_dup(o->base_url);
    if (!e->data_dir || !e->storage_dir || (o->base_url && !e->base_url_option))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (access(e->data_dir, W_OK | X_OK) != 0)
        return osmo_error_set(err, errno == ENOENT ? OSMO_ENOTFOUND : OSMO_EDENIED,
                              "data directory %s cannot be used: %s", e->data_dir, strerror(errno));
    return dir_make(e->storage_dir, 0700, err);
}

/* Once all parts are there: their threads wake each other. */
static int start_threads(engine_t *e, osmo_error_t *err) {
    int rc = e->worker ? worker_start(e, err) : 0;
    if (rc >= 0 && e->monitor)
        rc = monitor_start(e, err);
    return rc >= 0 && e->agents ? agents_start(e, err) : rc;
}

static int open_parts(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err) {
    int rc = roles_parse(o->roles, &e->roles, err);
    if (rc >= 0)
        rc = open_dirs(e, o, err);
    if (rc >= 0)
        rc = open_store(e, o, err);
    if (rc >= 0)
        rc = vault_open(e, o, err);
    if (rc >= 0)
        rc = config_open(e, o, err);
    if (rc >= 0)
        rc = audit_open(e, o, err);
    if (rc >= 0)
        rc = limits_open(e, err);
    if (rc >= 0)
        rc = registry_open(e, err);
    if (rc >= 0)
        rc = masks_open(e, err);
    if (rc >= 0)
        rc = access_open(e, err);
    if (rc >= 0)
        rc = auth_open(e, o, err);
    if (rc >= 0)
        rc = identities_open(e, o, err);
    if (rc >= 0)
        rc = providers_open(e, err);
    if (rc >= 0)
        rc = watch_open(e, err);
    if (rc >= 0)
        rc = logs_open(e, err);
    if (rc >= 0)
        rc = router_start(e, err);
    if (rc >= 0)
        rc = channel_open(e, err);
    if (rc >= 0)
        rc = reactor_open(e, err);
    if (rc >= 0 && (e->roles & ROLE_AGENT))
        rc = agents_open(e, err);
    if (rc >= 0 && (e->roles & ROLE_WORKER))
        rc = worker_open(e, err);
    if (rc >= 0 && (e->roles & ROLE_MONITOR))
        rc = monitor_open(e, err);
    if (rc >= 0)
        rc = start_threads(e, err);
    if (rc >= 0) {
        config_wakes(e, true);
        replicas_start(e);
    }
    return rc;
}

int engine_open(const osmo_service_options_t *o, engine_t **out, osmo_error_t *err) {
    engine_t *e = calloc(1, sizeof *e);
    if (!e)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    e->log = (logger_t){ .fn = o->log, .ctx = o->log_ctx, .level = o->log_level ? o->log_level : LOG_LEVEL_INFO };
    e->transport = o->transport;
    e->auth_mode = o->auth;
    engine_clock_start(e);
    int rc = o->ca_file || o->ca_dir ? http_trust(o->ca_file, o->ca_dir) : 0;
    if (rc < 0)
        osmo_error_set(err, rc, "out of memory");
    else
        rc = open_parts(e, o, err);
    if (rc < 0) {
        engine_close(e);
        return rc;
    }
    *out = e;
    return 0;
}

/* Producers of events first, then what others learn of them, then what their commits still use, the store last. */
void engine_close(engine_t *e) {
    if (!e)
        return;
    config_wakes(e, false);
    router_stop(e);
    monitor_stop(e);
    worker_stop(e);
    agents_stop(e);
    reactor_close(e);
    channel_stop(e);
    replicas_stop(e);
    monitor_close(e);
    worker_close(e);
    agents_close(e);
    if (e->logs || e->loggers)
        logs_close(e);
    channel_close(e);
    router_free_all(e);
    if (e->watchers)
        watch_close(e);
    access_stop(e);
    providers_close(e);
    identities_close(e);
    if (e->auth)
        auth_close(e);
    access_close(e);
    masks_close(e);
    registry_close(e);
    limits_close(e);
    audit_close(e);
    if (e->config)
        config_close(e);
    vault_close(e);
    store_close(e->store);
    replicas_close(e);
    free(e->data_dir);
    free(e->storage_dir);
    free(e->base_url_option);
    free(e);
}
