/* Decisions of reconciliation; see reconcile.h. */
#include "model/reconcile.h"

#include <stdlib.h>
#include "model/sm.h"

/* ---- the pods of one snapshot ---- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_half(const char *text, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 16; i++) {
        int v = hex_value(text[i]);
        if (v < 0)
            return false;
        *out = *out << 4 | (uint64_t)v;
    }
    return true;
}

static bool make_key(const char *uuid, int64_t retry_id, struct pod_key *out)
{
    out->retry_id = retry_id;
    return read_half(uuid, &out->high) && read_half(uuid + 16, &out->low) && !uuid[32];
}

int pod_set_add(struct pod_set *s, const char *task_uuid, int64_t retry_id)
{
    struct pod_key key;
    if (!make_key(task_uuid, retry_id, &key))
        return OSMO_EINVAL;
    if (s->n >= POD_SET_MAX)
        return OSMO_ELIMIT;
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        struct pod_key *bigger = realloc(s->keys, cap * sizeof(*bigger));
        if (!bigger)
            return OSMO_ENOMEM;
        s->keys = bigger;
        s->cap = cap;
    }
    s->keys[s->n++] = key;
    s->sorted = false;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct pod_key *x = a, *y = b;
    if (x->high != y->high)
        return x->high < y->high ? -1 : 1;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    return x->retry_id < y->retry_id ? -1 : x->retry_id > y->retry_id;
}

bool pod_set_has(struct pod_set *s, const char *task_uuid, int64_t retry_id)
{
    struct pod_key key;
    if (!s->n || !make_key(task_uuid, retry_id, &key))
        return false;
    if (!s->sorted)
        qsort(s->keys, s->n, sizeof(*s->keys), compare);
    s->sorted = true;
    if (bsearch(&key, s->keys, s->n, sizeof(*s->keys), compare))
        return true;
    key.retry_id = POD_ANY_RETRY;
    return bsearch(&key, s->keys, s->n, sizeof(*s->keys), compare) != NULL;
}

void pod_set_clear(struct pod_set *s)
{
    free(s->keys);
    *s = (struct pod_set){ 0 };
}

/* ---- one pod ---- */

/* What is not marked is ours when we know its workflow. */
static bool is_foreign(const struct pod_facts *f)
{
    return f->owner == POD_OWNER_OTHER || (f->workflow ? !f->this_backend : f->owner != POD_OWNER_US);
}

static enum pod_fate fate_of_attempt(const struct pod_facts *f)
{
    if (f->retry_id < f->latest_retry) /* the job that creates the next attempt removes this one */
        return f->latest_pending ? POD_KEEP : POD_REMOVE;
    if (f->retry_id > f->latest_retry)
        return POD_REMOVE;
    struct sm_task t = { .status = f->status };
    return sm_is_pod_status(f->reported) && sm_task_allows(&t, f->reported) ? POD_REPORT : POD_KEEP;
}

enum pod_fate pod_fate(const struct pod_facts *f)
{
    if (is_foreign(f))
        return POD_FOREIGN;
    if (!f->workflow || !f->group)
        return POD_REMOVE_GROUP;
    if (status_is_group_finished(f->group_status))
        return POD_CLEAN_GROUP;
    if (!f->sent) /* it will be handed out, and its create job finds what is there */
        return POD_KEEP;
    return f->task ? fate_of_attempt(f) : POD_REMOVE;
}

/* ---- a silent backend ---- */

int64_t offline_deadline(const struct offline_policy *p, int64_t heartbeat_us, int64_t listening_us)
{
    if (p->action != OFFLINE_FAIL || p->after_us <= 0)
        return 0;
    return (heartbeat_us > listening_us ? heartbeat_us : listening_us) + p->after_us;
}

int64_t offline_listening(int64_t since_us, int64_t seen_us, int64_t now_us)
{
    bool gap = !since_us || now_us - seen_us > OFFLINE_GAP_US || now_us < since_us;
    return gap ? now_us : since_us;
}
