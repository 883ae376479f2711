/* Reader of pods; see pod_facts.h. Texts are collected in a scratch area as large as the JSON (no text is longer than
 * what it is written as) and move together with everything else into the block at the end. */
#include "operator/pod_facts.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json_reader.h"
#include "base/str.h"
#include "operator/quantity.h"

#define ID_MAX 253u         /* names of Kubernetes; labels have 63 */
#define WORD_MAX 1024u      /* reasons, times, addresses */
#define MESSAGE_MAX 12288u /* what Kubernetes lets the containers of a pod leave */
#define CONDITIONS_MAX 32u
#define CONTAINERS_MAX 128u /* of each kind */

const struct use_kind use_kinds[USE_COUNT] = {
    {"cpu", 3}, {"memory", 0}, {"ephemeral-storage", 0}, {"nvidia.com/gpu", 0},
};

const char *const label_names[LABEL_COUNT] = {
    [LABEL_WORKFLOW] = "osmo.workflow_uuid", [LABEL_GROUP] = "osmo.group_uuid", [LABEL_TASK] = "osmo.task_uuid",
    [LABEL_TASK_NAME] = "osmo.task_name", [LABEL_RETRY] = "osmo.retry_id", [LABEL_INSTALLATION] = "osmo.installation",
};

struct draft {
    json_reader_t r;
    char *texts;
    size_t used, size;
    bool metadata;
    pod_facts_t f;
    struct condition_facts conditions[CONDITIONS_MAX];
    struct container_facts init[CONTAINERS_MAX], main[CONTAINERS_MAX];
};

/* ---- texts ---- */

static const char *keep(struct draft *d, const json_slice_t *s, size_t max) {
    size_t room = d->size - d->used, want = s->len < max ? s->len : max;
    char *at = d->texts + d->used;
    if (!room)
        return NULL;
    size_t len = json_slice_copy(s, at, want + 1 < room ? want + 1 : room);
    d->used += len + 1;
    return at;
}

static const char *read_text(struct draft *d, size_t max) {
    json_slice_t s;
    return json_reader_string(&d->r, &s) ? keep(d, &s, max) : NULL;
}

/* Half an id would be another one. */
static const char *read_id(struct draft *d) {
    json_slice_t s;
    return json_reader_string(&d->r, &s) && s.len && s.len <= ID_MAX ? keep(d, &s, ID_MAX) : NULL;
}

/* Members with a text that goes into a field as it is. */
struct field { const char *key; const char **to; size_t max; };

static bool read_field(struct draft *d, const json_slice_t *key, const struct field *fields, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (json_slice_is(key, fields[i].key)) {
            *fields[i].to = fields[i].max == ID_MAX ? read_id(d) : read_text(d, fields[i].max);
            return true;
        }
    }
    return false;
}

/* ---- metadata ---- */

static void read_labels(struct draft *d) {
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    while (json_reader_key(&d->r, &key)) {
        size_t i = key.len > 5 && memcmp(key.text, "osmo.", 5) == 0 ? 0 : LABEL_COUNT;
        while (i < LABEL_COUNT && !json_slice_is(&key, label_names[i]))
            i++;
        if (i < LABEL_COUNT)
            d->f.labels[i] = read_id(d);
        else
            json_reader_skip(&d->r, NULL);
    }
}

static void read_finalizers(struct draft *d) {
    json_slice_t s;
    if (!json_reader_array(&d->r))
        return;
    while (json_reader_element(&d->r)) {
        if (json_reader_string(&d->r, &s) && json_slice_is(&s, POD_FINALIZER))
            d->f.finalizer = true;
    }
}

static void read_metadata(struct draft *d) {
    const struct field fields[] = {
        {"name", &d->f.name, ID_MAX}, {"namespace", &d->f.namespace_, ID_MAX}, {"uid", &d->f.uid, ID_MAX},
        {"creationTimestamp", &d->f.created, WORD_MAX}, {"deletionTimestamp", &d->f.deleted, WORD_MAX},
    };
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    d->metadata = true;
    while (json_reader_key(&d->r, &key)) {
        if (read_field(d, &key, fields, ARRAY_SIZE(fields)))
            continue;
        if (json_slice_is(&key, "labels"))
            read_labels(d);
        else if (json_slice_is(&key, "finalizers"))
            read_finalizers(d);
        else
            json_reader_skip(&d->r, NULL);
    }
}

/* ---- spec ---- */

static int64_t add_sat(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* Pods of others write what they like: what cannot be read counts as nothing and stops nobody. */
static void read_quantity(struct draft *d, int use) {
    char text[64];
    json_slice_t s;
    int64_t amount;
    if (json_reader_kind(&d->r) != JSON_STRING)
        json_reader_skip(&d->r, &s);
    else if (!json_reader_string(&d->r, &s))
        return;
    if (s.len < sizeof text && json_slice_copy(&s, text, sizeof text) && quantity_parse(text, use_kinds[use].scale,
        &amount) && amount > 0)
        d->f.use[use] = add_sat(d->f.use[use], amount);
}

static void read_requests(struct draft *d) {
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    while (json_reader_key(&d->r, &key)) {
        int use = 0;
        while (use < USE_COUNT && !json_slice_is(&key, use_kinds[use].name))
            use++;
        if (use < USE_COUNT)
            read_quantity(d, use);
        else
            json_reader_skip(&d->r, NULL);
    }
}

static void read_resources(struct draft *d) {
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    while (json_reader_key(&d->r, &key)) {
        if (json_slice_is(&key, "requests"))
            read_requests(d);
        else
            json_reader_skip(&d->r, NULL);
    }
}

static void read_container(struct draft *d, bool first) {
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    while (json_reader_key(&d->r, &key)) {
        if (first && json_slice_is(&key, "name"))
            d->f.container = read_id(d);
        else if (json_slice_is(&key, "resources"))
            read_resources(d);
        else
            json_reader_skip(&d->r, NULL);
    }
}

static void read_containers(struct draft *d) {
    bool first = true;
    memset(d->f.use, 0, sizeof d->f.use);
    if (!json_reader_array(&d->r))
        return;
    for (; json_reader_element(&d->r); first = false)
        read_container(d, first);
}

static void read_spec(struct draft *d) {
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    while (json_reader_key(&d->r, &key)) {
        if (json_slice_is(&key, "nodeName"))
            d->f.node = read_id(d);
        else if (json_slice_is(&key, "hostNetwork"))
            json_reader_bool(&d->r, &d->f.host_network);
        else if (json_slice_is(&key, "containers"))
            read_containers(d);
        else
            json_reader_skip(&d->r, NULL);
    }
}

/* ---- status ---- */

static void read_condition(struct draft *d, struct condition_facts *c) {
    const char *probed = NULL;
    const struct field fields[] = {
        {"type", &c->type, WORD_MAX}, {"status", &c->status, WORD_MAX}, {"reason", &c->reason, WORD_MAX},
        {"message", &c->message, MESSAGE_MAX}, {"lastTransitionTime", &c->time, WORD_MAX}, {"lastProbeTime", &probed,
            WORD_MAX},
    };
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    while (json_reader_key(&d->r, &key)) {
        if (!read_field(d, &key, fields, ARRAY_SIZE(fields)))
            json_reader_skip(&d->r, NULL);
    }
    c->time = c->time ? c->time : probed;
}

static void read_conditions(struct draft *d) {
    d->f.nconditions = 0;
    if (!json_reader_array(&d->r))
        return;
    while (json_reader_element(&d->r)) {
        struct condition_facts c = { 0 };
        read_condition(d, &c);
        if (d->f.nconditions < CONDITIONS_MAX)
            d->conditions[d->f.nconditions++] = c;
    }
}

static void read_state_of(struct draft *d, struct container_facts *c, enum container_state state) {
    const struct field fields[] = { {"reason", &c->reason, WORD_MAX}, {"message", &c->message, MESSAGE_MAX} };
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    c->state = state;
    while (json_reader_key(&d->r, &key)) {
        if (read_field(d, &key, fields, ARRAY_SIZE(fields)))
            continue;
        if (json_slice_is(&key, "exitCode"))
            json_reader_int(&d->r, &c->exit_code);
        else
            json_reader_skip(&d->r, NULL);
    }
}

static void read_state(struct draft *d, struct container_facts *c) {
    static const struct { const char *key; enum container_state state; } states[] = {
        {"waiting", CONTAINER_WAITING}, {"running", CONTAINER_RUNNING}, {"terminated", CONTAINER_TERMINATED},
    };
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    while (json_reader_key(&d->r, &key)) {
        size_t i = 0;
        while (i < ARRAY_SIZE(states) && !json_slice_is(&key, states[i].key))
            i++;
        if (i < ARRAY_SIZE(states))
            read_state_of(d, c, states[i].state);
        else
            json_reader_skip(&d->r, NULL);
    }
}

/* osmo-ctrl leaves {"code":n} as its message when its own exit code says less. */
static void read_ctrl_code(struct container_facts *c) {
    json_reader_t r;
    json_slice_t key;
    int64_t code = 0;
    bool found = false;
    if (c->state != CONTAINER_TERMINATED || !c->message || !str_eq(c->name, "osmo-ctrl"))
        return;
    json_reader_init(&r, c->message, strlen(c->message));
    if (!json_reader_object(&r))
        return;
    while (json_reader_key(&r, &key)) {
        if (json_slice_is(&key, "code"))
            found = json_reader_int(&r, &code);
        else
            json_reader_skip(&r, NULL);
    }
    if (found && json_reader_at_end(&r))
        c->exit_code = code;
}

static void read_container_status(struct draft *d, struct container_facts *c) {
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    while (json_reader_key(&d->r, &key)) {
        if (json_slice_is(&key, "name"))
            c->name = read_id(d);
        else if (json_slice_is(&key, "state"))
            read_state(d, c);
        else
            json_reader_skip(&d->r, NULL);
    }
    read_ctrl_code(c);
}

static void read_container_statuses(struct draft *d, struct container_facts *list, size_t *n) {
    *n = 0;
    if (!json_reader_array(&d->r))
        return;
    while (json_reader_element(&d->r)) {
        struct container_facts c = { 0 };
        read_container_status(d, &c);
        if (*n < CONTAINERS_MAX)
            list[(*n)++] = c;
    }
}

static void read_status(struct draft *d) {
    const struct field fields[] = {
        {"phase", &d->f.phase, WORD_MAX}, {"reason", &d->f.reason, WORD_MAX}, {"message", &d->f.message, MESSAGE_MAX},
        {"podIP", &d->f.ip, WORD_MAX},
    };
    json_slice_t key;
    if (!json_reader_object(&d->r))
        return;
    while (json_reader_key(&d->r, &key)) {
        if (read_field(d, &key, fields, ARRAY_SIZE(fields)))
            continue;
        if (json_slice_is(&key, "conditions"))
            read_conditions(d);
        else if (json_slice_is(&key, "initContainerStatuses"))
            read_container_statuses(d, d->init, &d->f.ninit);
        else if (json_slice_is(&key, "containerStatuses"))
            read_container_statuses(d, d->main, &d->f.nmain);
        else
            json_reader_skip(&d->r, NULL);
    }
}

static int read_pod(struct draft *d, osmo_error_t *err) {
    json_slice_t key;
    if (json_reader_object(&d->r)) {
        while (json_reader_key(&d->r, &key)) {
            if (json_slice_is(&key, "metadata"))
                read_metadata(d);
            else if (json_slice_is(&key, "spec"))
                read_spec(d);
            else if (json_slice_is(&key, "status"))
                read_status(d);
            else
                json_reader_skip(&d->r, NULL);
        }
    }
    if (!json_reader_at_end(&d->r))
        return osmo_error_set(err, OSMO_EINVAL, "not a pod: its JSON is not valid or not complete");
    return d->metadata ? OSMO_OK : osmo_error_set(err, OSMO_EINVAL, "not a pod: an object with metadata and status is "
        "needed");
}

/* ---- the block ---- */

struct move { const char *from; char *to; };

static void moved(const struct move *m, const char **text) {
    if (*text)
        *text = m->to + (*text - m->from);
}

static void move_containers(const struct move *m, struct container_facts *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        moved(m, &list[i].name);
        moved(m, &list[i].reason);
        moved(m, &list[i].message);
    }
}

static void move_texts(const struct move *m, pod_facts_t *f, struct condition_facts *conditions) {
    const char **const single[] = { &f->name, &f->namespace_, &f->uid, &f->created, &f->deleted, &f->node, &f->ip,
        &f->container,
                                    &f->phase, &f->reason, &f->message };
    for (size_t i = 0; i < ARRAY_SIZE(single); i++)
        moved(m, single[i]);
    for (size_t i = 0; i < LABEL_COUNT; i++)
        moved(m, &f->labels[i]);
    for (size_t i = 0; i < f->nconditions; i++) {
        moved(m, &conditions[i].type);
        moved(m, &conditions[i].status);
        moved(m, &conditions[i].reason);
        moved(m, &conditions[i].message);
        moved(m, &conditions[i].time);
    }
}

static pod_facts_t *make_block(const struct draft *d) {
    size_t conditions = d->f.nconditions * sizeof d->conditions[0], init = d->f.ninit * sizeof d->init[0];
    size_t main_ = d->f.nmain * sizeof d->main[0], size = sizeof(pod_facts_t) + conditions + init + main_ + d->used;
    char *block = malloc(size);
    if (!block)
        return NULL;
    pod_facts_t *f = (pod_facts_t *)(void *)block;
    char *p = block + sizeof *f;
    *f = d->f;
    f->refs = 1;
    f->size = size;
    f->conditions = memcpy(p, d->conditions, conditions);
    f->init = memcpy(p + conditions, d->init, init);
    f->main = memcpy(p + conditions + init, d->main, main_);
    struct move m = { .from = d->texts, .to = p + conditions + init + main_ };
    if (d->used)
        memcpy(m.to, d->texts, d->used);
    move_texts(&m, f, (struct condition_facts *)(void *)p);
    move_containers(&m, (struct container_facts *)(void *)(p + conditions), f->ninit + f->nmain);
    return f;
}

int pod_facts_read(const char *json, size_t len, pod_facts_t **out, osmo_error_t *err) {
    *out = NULL;
    struct draft *d = malloc(sizeof *d + len + 1);
    if (!d)
        return osmo_error_set(err, OSMO_ENOMEM, "no memory for a pod");
    json_reader_init(&d->r, json, len);
    d->texts = (char *)(d + 1);
    d->used = 0;
    d->size = len + 1;
    d->metadata = false;
    d->f = (pod_facts_t){ 0 };
    int rc = read_pod(d, err);
    if (rc == 0 && !(*out = make_block(d)))
        rc = osmo_error_set(err, OSMO_ENOMEM, "no memory for a pod");
    free(d);
    return rc;
}

pod_facts_t *pod_facts_ref(pod_facts_t *f) {
    f->refs++;
    return f;
}

void pod_facts_free(pod_facts_t *f) {
    if (f && --f->refs == 0)
        free(f);
}

int64_t pod_facts_retry(const pod_facts_t *f) {
    int64_t retry;
    return f->labels[LABEL_RETRY] && str_to_i64(f->labels[LABEL_RETRY], &retry) ? retry : 0;
}
