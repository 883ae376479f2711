/* Labels of a group's objects and who wins where two write the same key. Called by pods.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/pods_internal.h"

void pods_label_text(const char *text, char out[64])
{
    size_t len = strlen(text);
    if (len > 63) {
        len = 63;
        while (len > 0 && (text[len - 1] == '-' || text[len - 1] == '_'))
            len--;
    }
    memcpy(out, text, len);
    out[len] = '\0';
}

static void put_label(struct pod_build *b, json_t *labels, const char *key, const char *value)
{
    char text[64];
    pods_label_text(value, text);
    pods_put_text(b, labels, key, text);
}

/* ^[a-zA-Z0-9][A-Za-z0-9-_.]{0,61}[a-zA-Z0-9]$ */
static bool submitter_valid(const char *p, size_t len)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    if (len < 2 || len > 63 || !strchr(plain, p[0]) || !strchr(plain, p[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!strchr(plain, p[i]) && !strchr("-_.", p[i]))
            return false;
    return true;
}

/* The user, or what stands before the @ of an address; neither may fit, then there is no label. */
static void put_submitter(struct pod_build *b)
{
    const char *user = b->c->user ? b->c->user : "", *at = strchr(user, '@');
    size_t len = strlen(user);
    char text[64];

    if (!submitter_valid(user, len))
        len = at ? (size_t)(at - user) : 0;
    if (!submitter_valid(user, len))
        return;
    memcpy(text, user, len);
    text[len] = '\0';
    pods_put_text(b, b->labels, "osmo.submitted_by", text);
}

static void workflow_labels(struct pod_build *b)
{
    const char *prefix = b->c->settings->pod_label_prefix;
    b->workflow_labels = pods_object(b);
    for (json_iter_t it = json_iter(b->c->workflow_labels); json_iter_next(&it);) {
        _cleanup_free_ char *key = str_printf("%s%s", prefix ? prefix : "", it.key);
        if (key && json_str(it.value))
            pods_put_text(b, b->workflow_labels, key, json_str(it.value));
        else
            b->oom |= !key;
    }
}

void pods_system_labels(struct pod_build *b)
{
    b->labels = pods_object(b);
    put_label(b, b->labels, "osmo.workflow_id", b->c->workflow_id);
    put_label(b, b->labels, "osmo.workflow_uuid", b->c->workflow_uuid);
    put_label(b, b->labels, "osmo.group_name", b->group->name);
    put_label(b, b->labels, "osmo.group_uuid", b->c->group_uuid);
    put_submitter(b);
    workflow_labels(b);
}

const char *pods_priority(const struct pod_build *b)
{
    return str_eq(b->c->priority, "HIGH") ? "high" : str_eq(b->c->priority, "LOW") ? "low" : "normal";
}

void pods_queue_labels(struct pod_build *b, json_t *labels)
{
    pods_put_text(b, labels, "kai.scheduler/queue", b->queue);
    pods_put_text(b, labels, "runai/queue", b->queue);
}

json_t *pods_pod_labels(struct pod_build *b, const struct pod_task *t)
{
    json_t *labels = json_copy(b->workflow_labels);
    b->oom |= !labels;
    if (labels)
        pods_final_labels(b, t, labels);
    return labels;
}

void pods_final_labels(struct pod_build *b, const struct pod_task *t, json_t *labels)
{
    char retry[24];

    b->oom |= pods_merge(labels, b->labels) < 0;
    put_label(b, labels, "osmo.task_name", t->spec.name);
    put_label(b, labels, "osmo.task_uuid", t->ids->uuid);
    snprintf(retry, sizeof(retry), "%lld", (long long)t->ids->retry_id);
    pods_put_text(b, labels, "osmo.retry_id", retry);
    if (t->spec.lead)
        pods_put_text(b, labels, "osmo.lead_container", "true");
    put_label(b, labels, "osmo.pool", b->c->pool->name);
    put_label(b, labels, "osmo.platform", t->platform->name);
    pods_put_text(b, labels, "osmo.priority", pods_priority(b));
    if (t->shared && t->shared->labels)
        b->oom |= pods_merge(labels, t->shared->labels) < 0;
    pods_queue_labels(b, labels);
    if (t->subgroup)
        pods_put_text(b, labels, "kai.scheduler/subgroup-name", t->subgroup);
}
