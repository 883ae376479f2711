/* Reading plan.json, which the driver wrote before it started this process. Used by main.c only. */
#include <errno.h>
#include <string.h>
#include "base/file.h"
#include "supervisor.h"

#define PLAN_MAX (32 * 1024 * 1024)

static const char *const isolation_names[] = {"mapped", "root", "user", "plain"};

const char *isolation_name(enum isolation i)
{
    return isolation_names[i];
}

int isolation_parse(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_SIZE(isolation_names); i++)
        if (str_eq(name, isolation_names[i]))
            return (int)i;
    return -1;
}

static int load_list(const json_t *array, strlist_t *out)
{
    for (size_t i = 0; i < json_len(array); i++) {
        const char *text = json_str(json_at(array, i));
        if (text && strlist_add(out, text) < 0)
            return OSMO_ENOMEM;
    }
    return 0;
}

static int load_mounts(const json_t *array, struct container *c)
{
    size_t n = json_len(array);
    if (n > SUP_MAX_MOUNTS)
        return OSMO_ELIMIT;
    c->mounts = calloc(n + 1, sizeof(*c->mounts));
    if (!c->mounts)
        return OSMO_ENOMEM;
    c->nmounts = n;
    for (size_t i = 0; i < n; i++)
        c->mounts[i].fd = -1;
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_at(array, i);
        struct mount *out = &c->mounts[i];
        out->source = str_dup(json_get_str(m, "source"));
        out->sub = str_dup(json_get_str(m, "sub"));
        out->target = str_dup(json_get_str(m, "target"));
        out->ro = json_get_bool(m, "ro", false);
        if (!out->source || !out->target || out->source[0] != '/' || out->target[0] != '/')
            return OSMO_EINVAL;
    }
    return 0;
}

static int load_container(const struct supervisor *s, const json_t *v, struct container *c)
{
    const char *rootfs = json_get_str(v, "rootfs"), *cwd = json_get_str(v, "cwd");
    c->inner_pidfd = c->out_fd = c->report_fd = c->log_fd = -1;
    c->wait_reason = "PodInitializing";
    buf_init(&c->report, 64 * 1024);
    c->name = str_dup(json_get_str(v, "name"));
    if (!c->name || strchr(c->name, '/'))
        return OSMO_EINVAL;
    c->image = str_dup(json_get_str(v, "image"));
    c->rootfs = str_dup(rootfs && !str_eq(rootfs, "/") ? rootfs : "");
    c->cwd = str_dup(cwd ? cwd : "/");
    c->init = json_get_bool(v, "init", false);
    c->term_path = str_printf("%s/term/%s", s->pod_dir, c->name);
    c->log_path = str_printf("%s/logs/%s.log", s->pod_dir, c->name);
    if (!c->rootfs || !c->cwd || !c->term_path || !c->log_path)
        return OSMO_ENOMEM;
    int rc = load_list(json_get(v, "argv"), &c->argv);
    if (rc == 0)
        rc = load_list(json_get(v, "env"), &c->env);
    if (rc == 0)
        rc = load_mounts(json_get(v, "mounts"), c);
    if (rc == 0 && c->argv.len == 0)
        rc = OSMO_EINVAL;
    return rc;
}

int plan_load(struct supervisor *s, osmo_error_t *err)
{
    _cleanup_free_ char *path = str_printf("%s/plan.json", s->pod_dir);
    _cleanup_buf_ buf_t text = BUF_INIT(PLAN_MAX);
    _cleanup_json_ json_t *plan = NULL;
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = file_read(path, &text, err);
    if (rc == 0)
        rc = json_parse(buf_cstr(&text), text.len, &plan, err);
    if (rc < 0)
        return rc;
    const json_t *list = json_get(plan, "containers");
    int isolation = isolation_parse(json_get_str(plan, "isolation"));
    size_t n = json_len(list);
    if (isolation < 0 || n == 0 || n > SUP_MAX_CONTAINERS)
        return osmo_error_set(err, OSMO_EINVAL, "%s: not a plan of a pod", path);
    s->isolation = (enum isolation)isolation;
    s->uid = (uid_t)json_get_int(plan, "uid", 0);
    s->grace_us = json_get_int(plan, "grace", 5) * 1000000;
    s->pod_name = str_dup(json_get_str(plan, "name"));
    s->hostname = str_dup(json_get_str(plan, "hostname"));
    s->bwrap = str_dup(json_get_str(plan, "bwrap"));
    s->base_status = json_copy(json_get(plan, "status"));
    s->containers = calloc(n, sizeof(*s->containers));
    if (!s->containers || !s->pod_name || !s->hostname || (isolation != ISO_PLAIN && !s->bwrap))
        return osmo_error_set(err, OSMO_EINVAL, "%s: not a plan of a pod", path);
    rc = load_list(json_get(plan, "hide"), &s->hide);
    if (rc == 0 && json_has(plan, "network")) {
        rc = network_load(&s->net, json_get(plan, "network"), err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        s->ncontainers = i + 1;
        rc = load_container(s, json_at(list, i), &s->containers[i]);
    }
    return rc < 0 ? osmo_error_set(err, rc, "%s: %s", path, osmo_error_name(rc)) : 0;
}

void plan_free(struct supervisor *s)
{
    for (size_t i = 0; i < s->ncontainers; i++) {
        struct container *c = &s->containers[i];
        for (size_t m = 0; m < c->nmounts; m++) {
            free(c->mounts[m].source), free(c->mounts[m].sub), free(c->mounts[m].target), free(c->mounts[m].dest);
            cleanup_close_p(&c->mounts[m].fd);
        }
        free(c->mounts);
        free(c->name), free(c->image), free(c->rootfs), free(c->cwd), free(c->term_path), free(c->log_path), free(c->message);
        strlist_free(&c->argv);
        strlist_free(&c->env);
        buf_free(&c->report);
    }
    free(s->containers);
    network_free(&s->net);
    free(s->pod_dir), free(s->status_path), free(s->pod_name), free(s->hostname), free(s->bwrap), free(s->reason), free(s->message);
    strlist_free(&s->hide);
    json_free(s->base_status);
}
