/* New interactive sessions: may there be one now, and what its ctrl is to do, in one transaction with the look at the state; then key,
 * address and cookie for the client. See router.h. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "engine/identity_internal.h"
#include "engine/replicas.h"
#include "engine/router_internal.h"

#define GROUP_TASKS_MAX 1024
#define ENTRY_COMMAND_MAX (64u << 10)
#define LONGEST_US (30 * 86400 * SECOND_US) /* of a web server session without a limit: its key needs one */

struct creation {
    engine_t *e;
    const struct router_request *rq;
    struct workflow_row w;          /* as it was when the name was looked up */
    char group_uuid[33];            /* of rq->group */
    char *address;
    uint32_t replica;
    int64_t now_us, key_expires_s;
    bool telemetry;
    struct action_row *rows;        /* what the transaction has added */
    size_t n;
};

static void rows_drop(struct creation *c) {
    action_rows_free(c->rows, c->n);
    c->rows = NULL;
    c->n = 0;
}

/* ---- in the transaction ---- */

static char *payload(const struct creation *c, size_t port) {
    const struct router_request *rq = c->rq;
    _cleanup_json_ json_t *o = json_object();
    int rc = o ? json_set_str(o, "router_address", c->address) : OSMO_ENOMEM;
    if (rc >= 0 && rq->action == ROUTER_EXEC)
        rc = json_set_str(o, "entry_command", rq->entry_command);
    if (rc >= 0 && (rq->action == ROUTER_PORTFORWARD || rq->action == ROUTER_WEBSERVER))
        rc = json_set_int(o, "task_port", rq->ports[port]);
    if (rc >= 0 && rq->action == ROUTER_PORTFORWARD)
        rc = json_set_bool(o, "use_udp", rq->use_udp);
    if (rc >= 0 && rq->action == ROUTER_RSYNC)
        rc = json_set_bool(o, "enable_telemetry", c->telemetry);
    return rc < 0 ? NULL : json_to_text(o);
}

static int fill_row(struct creation *c, const struct task_row *task, size_t port, osmo_error_t *err) {
    struct action_row *r = &c->rows[c->n++];
    uint8_t noise[6];
    if (crypto_random(noise, sizeof noise) < 0)
        return osmo_error_set(err, OSMO_EIO, "no randomness for a key");
    for (size_t i = 0; i < sizeof noise; i++)
        r->nonce = r->nonce << 8 | noise[i];
    memcpy(r->workflow_uuid, c->w.uuid, sizeof r->workflow_uuid);
    memcpy(r->group_uuid, task->group_uuid, sizeof r->group_uuid);
    r->task = str_dup(task->name);
    r->user = str_dup(c->rq->user);
    r->payload_json = payload(c, port);
    r->made_by_json = c->rq->action == ROUTER_WEBSERVER ? identity_to_json(c->rq->who) : str_dup("");
    r->retry_id = task->sm.retry_id;
    r->action = c->rq->action;
    r->replica = c->replica;
    r->key_expires_s = c->key_expires_s;
    r->expires_us = c->rq->action == ROUTER_WEBSERVER ? c->key_expires_s * SECOND_US
                                                      : c->now_us + (ROUTER_WAIT_S + ROUTER_WAIT_MAX_S) * SECOND_US;
    return r->task && r->user && r->payload_json && r->made_by_json ? 0 : no_memory(err);
}

static int add_rows(struct creation *c, db_t *db, const struct task_row *const *tasks, size_t n, osmo_error_t *err) {
    size_t each = c->rq->nports ? c->rq->nports : 1;
    int rc = 0;
    c->rows = calloc(n * each, sizeof *c->rows);
    if (!c->rows)
        return no_memory(err);
    for (size_t i = 0; rc >= 0 && i < n * each; i++) {
        rc = fill_row(c, tasks[i / each], i % each, err);
        if (rc >= 0)
            rc = repo_action_add(db, &c->rows[i], err);
    }
    return rc;
}

static int check_task(const struct creation *c, const struct task_row *t, osmo_error_t *err) {
    if (status_is_task_finished(t->sm.status))
        return osmo_error_set(err, OSMO_ENOTFOUND, "task %s of workflow %s has ended", t->name, c->w.id);
    if (t->sm.status != STATUS_RUNNING)
        return osmo_error_set(err, OSMO_EEARLY, "task %s of workflow %s is not running yet, it is %s", t->name, c->w.id,
                              status_name(t->sm.status));
    return 0;
}

static int add_task(struct creation *c, db_t *db, osmo_error_t *err) {
    struct task_row t = { 0 };
    const struct task_row *one = &t;
    int rc = repo_task_by_name(db, c->w.uuid, c->rq->task, -1, &t, err);
    if (rc == OSMO_ENOTFOUND)
        osmo_error_set(err, rc, "workflow %s has no task %.200s", c->w.id, c->rq->task);
    if (rc >= 0)
        rc = check_task(c, &t, err);
    if (rc >= 0)
        rc = add_rows(c, db, &one, 1, err);
    task_row_clear(&t);
    return rc;
}

/* Those that run; the group counts as what the others are when none does. */
static int add_running(struct creation *c, db_t *db, const struct task_row *tasks, size_t n, osmo_error_t *err) {
    _cleanup_free_ const struct task_row **running = calloc(n + 1, sizeof *running);
    size_t k = 0, over = 0;
    if (!running)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        over += status_is_task_finished(tasks[i].sm.status);
        if (tasks[i].sm.status == STATUS_RUNNING)
            running[k++] = &tasks[i];
    }
    if (k > GROUP_TASKS_MAX)
        return osmo_error_set(err, OSMO_EUSER, "group %s has %zu running tasks, at most %d are reached at once: name single tasks",
                              c->rq->group, k, GROUP_TASKS_MAX);
    if (!k && over == n)
        return osmo_error_set(err, OSMO_ENOTFOUND, "group %s of workflow %s has ended", c->rq->group, c->w.id);
    if (!k)
        return osmo_error_set(err, OSMO_EEARLY, "group %s of workflow %s is not running yet", c->rq->group, c->w.id);
    return add_rows(c, db, running, k, err);
}

static int add_group(struct creation *c, db_t *db, osmo_error_t *err) {
    struct task_row *tasks = NULL;
    size_t n = 0;
    int rc = repo_tasks_of_group(db, c->group_uuid, false, &tasks, &n, err);
    if (rc >= 0)
        rc = add_running(c, db, tasks, n, err);
    task_rows_free(tasks, n);
    return rc;
}

static int check_workflow(const struct workflow_row *w, const struct router_request *rq, osmo_error_t *err) {
    if (status_is_workflow_finished(w->sm.status))
        return osmo_error_set(err, OSMO_EGONE, "workflow %s has ended, it is %s", w->id, status_name(w->sm.status));
    if (rq->action == ROUTER_RSYNC && !w->rsync)
        return osmo_error_set(err, OSMO_EDENIED, "files cannot be synchronised with workflow %s: rsync was not enabled in "
                                                 "workflow.plugins_config when it was submitted", w->id);
    if (w->sm.status != STATUS_RUNNING)
        return osmo_error_set(err, OSMO_EEARLY, "workflow %s is not running yet, it is %s", w->id, status_name(w->sm.status));
    return 0;
}

/* Under the lock of the workflow, which also puts the rows of the mailbox into the order of their commits. */
static int create_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct creation *c = ctx;
    struct workflow_row w = { 0 };
    rows_drop(c);
    int rc = repo_workflow_lock(db, c->w.uuid, &w, err);
    if (rc >= 0)
        rc = check_workflow(&w, c->rq, err);
    workflow_row_clear(&w);
    if (rc < 0)
        return rc;
    return c->rq->group ? add_group(c, db, err) : add_task(c, db, err);
}

/* ---- before and behind it ---- */

static int find_group(struct creation *c, db_t *db, osmo_error_t *err) {
    struct group_row *groups = NULL;
    size_t n = 0;
    int rc = repo_groups_of(db, c->w.uuid, false, &groups, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        if (str_eq(groups[i].name, c->rq->group))
            memcpy(c->group_uuid, groups[i].uuid, sizeof c->group_uuid);
    group_rows_free(groups, n);
    if (rc >= 0 && !*c->group_uuid)
        rc = osmo_error_set(err, OSMO_ENOTFOUND, "workflow %s has no group %.200s", c->w.id, c->rq->group);
    return rc;
}

/* Where both ends connect: what the backend is configured to, else what clients reach this service by. */
static char *find_address(engine_t *e, const struct settings *s, const char *backend) {
    const struct backend_settings *b = settings_backend(s, backend);
    _cleanup_free_ char *base = b && b->router_address && *b->router_address ? str_dup(b->router_address) : engine_base_url(e);
    if (!base)
        return NULL;
    size_t len = strlen(base);
    while (len && base[len - 1] == '/')
        base[--len] = '\0';
    if (str_starts(base, "http://") || str_starts(base, "https://"))
        return str_printf("ws%s", base + strlen("http"));
    return STEAL(base);
}

static int prepare(struct creation *c, bool *unroutable, osmo_error_t *err) {
    const struct settings *s = engine_settings(c->e);
    struct replica_found to;
    int64_t lasts = c->rq->action == ROUTER_WEBSERVER ? s->interactive.webserver.total_us : ROUTER_WAIT_S * SECOND_US;
    c->now_us = engine_now(c->e);
    c->key_expires_s = (c->now_us + (lasts ? lasts : LONGEST_US)) / SECOND_US + 1;
    c->address = find_address(c->e, s, c->w.backend);
    c->telemetry = s->rsync.enable_telemetry;
    engine_settings_put(s);
    if (!c->address)
        return no_memory(err);
    *unroutable = !*c->address;
    if (*unroutable)
        return osmo_error_set(err, OSMO_EUSER, "backend %s of workflow %s has no router_address, and this service does not know its own: "
                                               "set service.service_base_url", c->w.backend, c->w.id);
    if (replicas_with_role(c->e, ROLE_ROUTER, &to) == REPLICA_GONE)
        return osmo_error_set(err, OSMO_EUNAVAIL, "no service with the role router runs now: try again");
    c->replica = router_key_replica(to.id);
    return 0;
}

static int fill_answer(const struct creation *c, const struct action_row *r, struct router_answer *a) {
    const uint8_t *secret = c->e->router->secret;
    char key[ROUTER_KEY_MAX];
    struct router_key k = { .action = (enum router_action)r->action, .nonce = (uint64_t)r->nonce, .replica = c->replica,
                            .expires_s = (uint32_t)r->key_expires_s };
    k.user = router_key_user(secret, k.nonce, r->user);
    k.task = router_key_task(secret, k.nonce, r->task, r->retry_id);
    router_key_make(secret, r->workflow_uuid, &k, key);
    *a = (struct router_answer){ str_dup(r->task), str_dup(c->address), str_dup(key), router_cookie_of(c->e, c->replica) };
    return a->task && a->router_address && a->key && a->cookie ? 0 : OSMO_ENOMEM;
}

void router_answers_free(struct router_answer *a, size_t n) {
    for (size_t i = 0; a && i < n; i++) {
        free(a[i].task);
        free(a[i].router_address);
        if (a[i].key)
            crypto_wipe(a[i].key, strlen(a[i].key));
        free(a[i].key);
        free(a[i].cookie);
    }
    free(a);
}

static int fill_answers(const struct creation *c, struct router_answer **out, size_t *n, osmo_error_t *err) {
    struct router_answer *list = calloc(c->n + 1, sizeof *list);
    int rc = list ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < c->n; i++)
        rc = fill_answer(c, &c->rows[i], &list[i]);
    if (rc < 0) {
        router_answers_free(list, c->n);
        return no_memory(err);
    }
    *out = list;
    *n = c->n;
    return 0;
}

static int check_request(const struct router_request *rq, osmo_error_t *err) {
    if (rq->action == ROUTER_EXEC && (!rq->entry_command || !rq->entry_command[strspn(rq->entry_command, " \t\r\n")]))
        return osmo_error_set(err, OSMO_EUSER, "entry_command must name a command");
    if (rq->action == ROUTER_EXEC && strlen(rq->entry_command) > ENTRY_COMMAND_MAX)
        return osmo_error_set(err, OSMO_EUSER, "entry_command is longer than %u bytes", ENTRY_COMMAND_MAX);
    for (size_t i = 0; i < rq->nports; i++)
        if (rq->ports[i] < 1 || rq->ports[i] > ROUTER_PORTS_MAX)
            return osmo_error_set(err, OSMO_EUSER, "%lld is no port: use 1 to %d", (long long)rq->ports[i], ROUTER_PORTS_MAX);
    return 0;
}

static int find_workflow(struct creation *c, bool *unroutable, osmo_error_t *err) {
    db_t *db;
    int rc = store_reader(c->e->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, c->rq->workflow, &c->w, err);
    if (rc == OSMO_ENOTFOUND)
        return osmo_error_set(err, OSMO_EDATABASE, "Workflow %.200s does not exist", c->rq->workflow);
    *unroutable = rc >= 0 && (!c->w.backend || !*c->w.backend);
    if (*unroutable)
        return osmo_error_set(err, OSMO_EUSER, "workflow %s has no backend: its pool had none when it was submitted", c->w.id);
    if (rc >= 0)
        rc = check_workflow(&c->w, c->rq, err);
    if (rc >= 0)
        rc = prepare(c, unroutable, err);
    return rc >= 0 && c->rq->group ? find_group(c, db, err) : rc;
}

/* Each group once: those of one request follow each other. */
static void tell(const struct creation *c) {
    for (size_t i = 0; i < c->n; i++)
        if (i == 0 || !str_eq(c->rows[i].group_uuid, c->rows[i - 1].group_uuid))
            actions_changed(c->e, c->w.uuid, c->rows[i].group_uuid);
}

int router_create(engine_t *e, const struct router_request *rq, struct router_answer **out, size_t *n, bool *unroutable,
                  char **workflow_id, osmo_error_t *err) {
    struct creation c = { .e = e, .rq = rq };
    *unroutable = false;
    int rc = find_workflow(&c, unroutable, err);
    if (rc >= 0)
        rc = check_request(rq, err);
    if (rc >= 0)
        rc = store_write(e->store, c.w.uuid, create_run, &c, err);
    if (rc >= 0)
        rc = fill_answers(&c, out, n, err);
    if (rc >= 0)
        tell(&c);
    if (c.w.id)
        *workflow_id = str_dup(c.w.id);
    rows_drop(&c);
    free(c.address);
    workflow_row_clear(&c.w);
    return rc;
}
