/* What pods and nodes say, as far as placement asks. In place, without trees. Called by gang.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "cluster/kubernetes/gang_int.h"
#include "operator/quantity.h"

#define MANIFEST_MAX (1u << 20)
#define AMOUNT_MAX (INT64_C(1) << 46)

static bool enter(json_reader_t *r, const json_slice_t *object) {
    json_reader_init(r, object->text ? object->text : "", object->len);
    return object->len && json_reader_object(r);
}

/* ---- pods ---- */

static void read_spec(struct pod_facts *f) {
    json_reader_t r;
    json_slice_t key;
    for (bool in = enter(&r, &f->meta.spec); in && json_reader_key(&r, &key);) {
        if (json_slice_is(&key, "nodeName"))
            json_reader_string(&r, &f->node);
        else if (json_slice_is(&key, "schedulerName"))
            json_reader_string(&r, &f->scheduler);
        else
            json_reader_skip(&r, NULL);
    }
}

static void read_condition(json_reader_t *r, struct pod_facts *f) {
    json_slice_t key, type = { 0 }, status = { 0 }, reason = { 0 }, message = { 0 };
    if (!json_reader_object(r))
        return;
    while (json_reader_key(r, &key)) {
        json_slice_t *to = json_slice_is(&key, "type") ? &type : json_slice_is(&key, "status") ? &status
                         : json_slice_is(&key, "reason") ? &reason : json_slice_is(&key, "message") ? &message : NULL;
        if (to)
            json_reader_string(r, to);
        else
            json_reader_skip(r, NULL);
    }
    if (json_slice_is(&type, "PodScheduled") && json_slice_is(&status, "False") && json_slice_is(&reason, "Unschedulable")) {
        f->unschedulable = true;
        f->why = message;
    } else if (json_slice_is(&type, "DisruptionTarget") && json_slice_is(&status, "True") &&
               json_slice_is(&reason, "PreemptionByScheduler")) {
        f->preempted = true;
        f->preempted_why = message;
    }
}

static void read_status(struct pod_facts *f) {
    json_reader_t r;
    json_slice_t key;
    for (bool in = enter(&r, &f->meta.status); in && json_reader_key(&r, &key);) {
        if (json_slice_is(&key, "phase"))
            json_reader_string(&r, &f->phase);
        else if (!json_slice_is(&key, "conditions"))
            json_reader_skip(&r, NULL);
        else if (json_reader_array(&r))
            while (json_reader_element(&r))
                read_condition(&r, f);
    }
    f->ended = json_slice_is(&f->phase, "Succeeded") || json_slice_is(&f->phase, "Failed");
}

bool gang_read_pod(const char *json, size_t len, struct pod_facts *f) {
    json_reader_t r;
    json_slice_t key;
    *f = (struct pod_facts){ 0 };
    if (!meta_read(json, len, true, &f->meta))
        return false;
    for (bool in = enter(&r, &f->meta.annotations); in && json_reader_key(&r, &key);) {
        if (json_slice_is(&key, GANG_ANNOTATION))
            json_reader_string(&r, &f->group);
        else
            json_reader_skip(&r, NULL);
    }
    read_spec(f);
    read_status(f);
    return true;
}

static void put_containers(json_reader_t *r, const json_slice_t *name, buf_t *out) {
    json_slice_t key, resources;
    bool first = true;
    buf_printf(out, ",\"%.*s\":[", meta_len(name), name->text);
    for (bool in = json_reader_array(r); in && json_reader_element(r); first = false) {
        resources = (json_slice_t){ 0 };
        for (bool one = json_reader_object(r); one && json_reader_key(r, &key);)
            json_reader_skip(r, json_slice_is(&key, "resources") ? &resources : NULL);
        buf_puts(out, first ? "{" : ",{");
        if (resources.len)
            buf_printf(out, "\"resources\":%.*s", meta_len(&resources), resources.text);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

char *gang_read_manifest(const struct pod_facts *f) {
    const struct meta *m = &f->meta;
    json_reader_t r;
    json_slice_t key, value;
    _cleanup_buf_ buf_t out = BUF_INIT(MANIFEST_MAX);
    buf_printf(&out, "{\"metadata\":{\"name\":\"%.*s\"", meta_len(&m->name), m->name.text);
    if (m->labels.len)
        buf_printf(&out, ",\"labels\":%.*s", meta_len(&m->labels), m->labels.text);
    if (f->group.len)
        buf_printf(&out, ",\"annotations\":{\"%s\":\"%.*s\"}", GANG_ANNOTATION, meta_len(&f->group), f->group.text);
    buf_puts(&out, "},\"spec\":{\"of\":\"us\"");
    for (bool in = enter(&r, &m->spec); in && json_reader_key(&r, &key);) {
        if (json_slice_is(&key, "containers") || json_slice_is(&key, "initContainers")) {
            put_containers(&r, &key, &out);
            continue;
        }
        json_reader_skip(&r, &value);
        if (json_slice_is(&key, "nodeSelector") || json_slice_is(&key, "tolerations"))
            buf_printf(&out, ",\"%.*s\":%.*s", meta_len(&key), key.text, meta_len(&value), value.text);
    }
    buf_puts(&out, "}}");
    return buf_failed(&out) ? NULL : buf_steal(&out, NULL);
}

bool gang_read_request(const struct pod_facts *f, osmo_sched_amount_t *out) {
    _cleanup_free_ char *text = gang_read_manifest(f);
    _cleanup_json_ json_t *pod = NULL;
    if (!text || json_parse(text, strlen(text), &pod, NULL) < 0)
        return false;
    place_request(json_get(pod, "spec"), out);
    return true;
}

/* ---- nodes ---- */

static int64_t read_amount(json_reader_t *r, int scale) {
    json_slice_t text;
    char number[64];
    int64_t n = 0;
    json_reader_skip(r, &text);
    if (text.len >= 2 && text.text[0] == '"')
        text = (json_slice_t){ .text = text.text + 1, .len = text.len - 2 };
    if (text.len >= sizeof number)
        return 0;
    memcpy(number, text.text, text.len);
    number[text.len] = '\0';
    return quantity_parse_floor(number, scale, &n) && n > 0 ? (n < AMOUNT_MAX ? n : AMOUNT_MAX) : 0;
}

static void read_room(json_reader_t *r, osmo_sched_amount_t *out) {
    static const struct { const char *name; int scale, at; } kinds[] = {
        { "cpu", 3, OSMO_SCHED_CPU }, { "memory", 0, OSMO_SCHED_MEMORY }, { "ephemeral-storage", 0, OSMO_SCHED_STORAGE },
        { "nvidia.com/gpu", 0, OSMO_SCHED_GPU }, { "pods", 0, OSMO_SCHED_PODS } };
    json_slice_t key;
    if (!json_reader_object(r))
        return;
    while (json_reader_key(r, &key)) {
        size_t i = 0;
        while (i < ARRAY_SIZE(kinds) && !json_slice_is(&key, kinds[i].name))
            i++;
        if (i < ARRAY_SIZE(kinds))
            out->of[kinds[i].at] = read_amount(r, kinds[i].scale);
        else
            json_reader_skip(r, NULL);
    }
}

/* Ready=True, or nothing is said of it. */
static void read_ready(json_reader_t *r, struct node_facts *f) {
    json_slice_t key, type = { 0 }, status = { 0 };
    if (!json_reader_object(r))
        return;
    while (json_reader_key(r, &key)) {
        if (json_slice_is(&key, "type"))
            json_reader_string(r, &type);
        else if (json_slice_is(&key, "status"))
            json_reader_string(r, &status);
        else
            json_reader_skip(r, NULL);
    }
    if (json_slice_is(&type, "Ready") && !json_slice_is(&status, "True"))
        f->cordoned = true;
}

bool gang_read_node(const char *json, size_t len, struct node_facts *f) {
    json_reader_t r;
    json_slice_t key;
    *f = (struct node_facts){ .room = { .of = { [OSMO_SCHED_PODS] = 110 } } };
    if (!meta_read(json, len, true, &f->meta))
        return false;
    for (bool in = enter(&r, &f->meta.spec); in && json_reader_key(&r, &key);) {
        if (json_slice_is(&key, "unschedulable"))
            json_reader_bool(&r, &f->cordoned);
        else
            json_reader_skip(&r, json_slice_is(&key, "taints") ? &f->taints : NULL);
    }
    for (bool in = enter(&r, &f->meta.status); in && json_reader_key(&r, &key);) {
        if (json_slice_is(&key, "allocatable"))
            read_room(&r, &f->room);
        else if (!json_slice_is(&key, "conditions"))
            json_reader_skip(&r, NULL);
        else if (json_reader_array(&r))
            while (json_reader_element(&r))
                read_ready(&r, f);
    }
    return true;
}
