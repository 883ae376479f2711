/* The messages of an OSMO 6.4 operator: exactly these keys with exactly these types, as strict as the agent that reads them,
 * and a little more where only the form of our own messages is at stake (numbers are numbers, timestamps have their form). */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/str.h"
#include "upstream_fixture.h"

enum kind { END, STR, STR_OR_NULL, INT, INT_OR_NULL, BOOL, UTC, ZONED, LEVEL, TASK_STATUS, OUTCOME, CONDITIONS, STRS, TEXTS, EMPTY, TAINTS,
            USAGE, HOST };
struct field { const char *key; enum kind kind; bool optional; };

#define FIELDS_MAX 12
static const struct schema { const char *type; unsigned paths; struct field fields[FIELDS_MAX]; } schemas[] = {
    { "init", 1u << UP_CONTROL | 1u << UP_POD | 1u << UP_NODE | 1u << UP_EVENT | 1u << UP_HEARTBEAT | 1u << UP_WORKER,
      { { "k8s_uid", STR, 0 }, { "k8s_namespace", STR, 0 }, { "version", STR, 0 }, { "node_condition_prefix", STR, 0 } } },
    { "logging", 1u << UP_CONTROL | 1u << UP_POD | 1u << UP_NODE | 1u << UP_EVENT | 1u << UP_HEARTBEAT | 1u << UP_WORKER,
      { { "type", LEVEL, 0 }, { "text", STR, 0 }, { "workflow_uuid", STR_OR_NULL, 0 } } },
    { "update_pod", 1u << UP_POD,
      { { "workflow_uuid", STR, 0 }, { "task_uuid", STR, 0 }, { "retry_id", INT, 0 }, { "container", STR, 0 }, { "node", STR_OR_NULL, 0 },
        { "pod_ip", STR_OR_NULL, 0 }, { "message", STR, 1 }, { "status", TASK_STATUS, 0 }, { "exit_code", INT_OR_NULL, 0 },
        { "backend", STR, 0 }, { "conditions", CONDITIONS, 1 } } },
    { "monitor_pod", 1u << UP_POD,
      { { "workflow_uuid", STR, 0 }, { "task_uuid", STR, 0 }, { "retry_id", INT, 0 }, { "message", STR, 1 } } },
    { "pod_conditions", 1u << UP_EVENT,
      { { "workflow_uuid", STR, 0 }, { "task_uuid", STR, 0 }, { "retry_id", INT, 0 }, { "conditions", CONDITIONS, 0 } } },
    { "pod_event", 1u << UP_EVENT, { { "pod_name", STR, 0 }, { "reason", STR, 0 }, { "message", STR, 0 }, { "timestamp", ZONED, 0 } } },
    { "resource", 1u << UP_NODE,
      { { "hostname", HOST, 0 }, { "available", BOOL, 0 }, { "conditions", STRS, 0 }, { "processed_fields", EMPTY, 0 },
        { "allocatable_fields", TEXTS, 0 }, { "label_fields", TEXTS, 0 }, { "taints", TAINTS, 0 } } },
    { "resource_usage", 1u << UP_NODE,
      { { "hostname", HOST, 0 }, { "usage_fields", USAGE, 0 }, { "non_workflow_usage_fields", USAGE, 0 } } },
    { "delete_resource", 1u << UP_NODE, { { "resource", HOST, 0 } } },
    { "node_hash", 1u << UP_NODE, { { "node_hashes", STRS, 0 } } },
    { "heartbeat", 1u << UP_HEARTBEAT, { { "time", UTC, 0 } } },
    { "pod_log", 1u << UP_WORKER, { { "text", STR, 0 }, { "task", STR, 0 }, { "retry_id", INT, 0 }, { "mask", BOOL, 1 } } },
    { "job_status", 1u << UP_WORKER, { { "status", OUTCOME, 0 }, { "message", STR_OR_NULL, 0 } } },
};

static const struct field condition_fields[] = { { "reason", STR_OR_NULL, 0 }, { "message", STR_OR_NULL, 0 }, { "timestamp", ZONED, 0 },
                                                 { "status", STR, 0 }, { "type", STR, 0 }, { NULL, END, 0 } };
static const struct field taint_fields[] = { { "effect", STR, 0 }, { "key", STR, 0 }, { "time_added", STR_OR_NULL, 0 },
                                             { "value", STR_OR_NULL, 0 }, { NULL, END, 0 } };

static bool one_of(const char *text, const char *const *list) {
    for (; text && *list; list++)
        if (strcmp(text, *list) == 0)
            return true;
    return false;
}

static const char *const statuses[] = { "SCHEDULING", "INITIALIZING", "RUNNING", "COMPLETED", "FAILED", "FAILED_BACKEND_ERROR",
                                        "FAILED_IMAGE_PULL", "FAILED_EVICTED", "FAILED_START_ERROR", "FAILED_PREEMPTED", NULL };
static const char *const outcomes[] = { "SUCCESS", "FAILED_RETRY", "FAILED_NO_RETRY", NULL };

/* 2025-11-02T10:00:00 with an optional fraction, and what follows. */
static const char *date_time(const char *s) {
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    int64_t us;
    if (!s || !time_parse(s, &us))
        return NULL;
    for (const char *f = form; *f; f++, s++)
        if (*f == 'd' ? !isdigit((unsigned char)*s) : *s != *f)
            return NULL;
    if (*s == '.')
        do
            s++;
        while (isdigit((unsigned char)*s));
    return s;
}

/* <digits> for whole units, <digits>Ki for bytes */
static bool is_amount(const char *s, bool kibi) {
    size_t n = s ? strspn(s, "0123456789") : 0;
    return n > 0 && strcmp(s + n, kibi ? "Ki" : "") == 0;
}

static bool is_usage(const json_t *v) {
    return json_kind(v) == JSON_OBJECT && json_len(v) == 4 && is_amount(json_get_str(v, "cpu"), false) &&
           is_amount(json_get_str(v, "memory"), true) && is_amount(json_get_str(v, "ephemeral-storage"), true) &&
           is_amount(json_get_str(v, "nvidia.com/gpu"), false);
}

static char *check_fields(const json_t *v, const struct field *fields, const char *what);

static bool are_objects(const json_t *v, const struct field *fields) {
    bool good = json_kind(v) == JSON_ARRAY;
    for (size_t i = 0; good && i < json_len(v); i++) {
        char *wrong = check_fields(json_at(v, i), fields, "");
        good = !wrong;
        free(wrong);
    }
    return good;
}

static bool are_texts(const json_t *v, enum json_kind container) {
    bool good = json_kind(v) == container;
    for (size_t i = 0; good && container == JSON_ARRAY && i < json_len(v); i++)
        good = json_kind(json_at(v, i)) == JSON_STRING;
    for (json_iter_t it = json_iter(v); good && container == JSON_OBJECT && json_iter_next(&it);)
        good = json_kind(it.value) == JSON_STRING;
    return good;
}

static bool is_kind(const json_t *v, enum kind kind) {
    const char *text = json_str(v), *rest = date_time(text);
    int64_t level = json_as_int(v, -1);
    switch (kind) {
    case STR: return text != NULL;
    case HOST: return text && *text && strcmp(text, "-") != 0;
    case STR_OR_NULL: return text || json_kind(v) == JSON_NULL;
    case INT: return json_kind(v) == JSON_INT;
    case INT_OR_NULL: return json_kind(v) == JSON_INT || json_kind(v) == JSON_NULL;
    case BOOL: return json_kind(v) == JSON_BOOL;
    case UTC: return rest && (!*rest || strcmp(rest, "Z") == 0);
    case ZONED: return rest && (strcmp(rest, "Z") == 0 || *rest == '+' || *rest == '-');
    case LEVEL: return json_kind(v) == JSON_INT && level >= 10 && level <= 40 && level % 10 == 0;
    case TASK_STATUS: return one_of(text, statuses);
    case OUTCOME: return one_of(text, outcomes);
    case CONDITIONS: return are_objects(v, condition_fields);
    case STRS: return are_texts(v, JSON_ARRAY);
    case TEXTS: return are_texts(v, JSON_OBJECT);
    case EMPTY: return json_kind(v) == JSON_OBJECT && json_len(v) == 0;
    case TAINTS: return are_objects(v, taint_fields);
    case USAGE: return is_usage(v);
    case END: break;
    }
    return false;
}

static char *check_fields(const json_t *v, const struct field *fields, const char *what) {
    size_t known = 0;
    if (json_kind(v) != JSON_OBJECT)
        return str_printf("%s is not an object", what);
    for (const struct field *f = fields; f->key; f++) {
        if (!json_has(v, f->key)) {
            if (!f->optional)
                return str_printf("%s: %s is missing", what, f->key);
            continue;
        }
        known++;
        if (!is_kind(json_get(v, f->key), f->kind))
            return str_printf("%s: %s has another type or form", what, f->key);
    }
    if (known == json_len(v))
        return NULL;
    for (json_iter_t it = json_iter(v); json_iter_next(&it);) {
        const struct field *f = fields;
        while (f->key && strcmp(f->key, it.key) != 0)
            f++;
        if (!f->key)
            return str_printf("%s: %s is unknown", what, it.key);
    }
    return str_printf("%s has a key twice", what);
}

static bool is_uuid(const char *s) { return s && strlen(s) == 32 && strspn(s, "0123456789abcdef") == 32; }

char *upstream_check(int path, const char *text, size_t len, json_t **message) {
    json_t *v = NULL;
    *message = NULL;
    if (len > 16u << 20)
        return str_printf("message of %zu bytes", len);
    if (json_parse(text, len, &v, NULL) < 0 || json_kind(v) != JSON_OBJECT) {
        json_free(v);
        return str_dup("not a JSON object");
    }
    *message = v;
    const char *type = json_get_str(v, "type");
    if (json_len(v) != 3 || !type || !is_uuid(json_get_str(v, "uuid")) || json_kind(json_get(v, "body")) != JSON_OBJECT)
        return str_dup("envelope is not exactly type, body and uuid");
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++)
        if (strcmp(schemas[i].type, type) == 0)
            return schemas[i].paths & 1u << path ? check_fields(json_get(v, "body"), schemas[i].fields, type)
                                                 : str_printf("%s does not belong on this socket", type);
    return str_printf("type %s is unknown", type);
}
