/* Envelope and job frames of the operator protocol: what the agent side of the service and libosmo-backend both speak,
 * written once so that neither can drift. Pure: uuids and time come in, bytes go out. */
#include "model/messages.h"
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include "base/cleanup.h"
#include "base/str.h"

#define INFLATED_MAX (256u << 20)
#define SECRET_JOB_MAX (8u << 20) /* the parser takes twice the memory to leave nothing behind: not for the largest */
#define ZLIB_CHUNK 65536u
#define FAST_BELOW (256u << 10) /* smaller jobs are far from every limit: packing them well costs more than it saves */

static const char *const type_names[] = {
    [MSG_INVALID] = "", [MSG_INIT] = "init", [MSG_POD_LOG] = "pod_log", [MSG_UPDATE_POD] = "update_pod",
    [MSG_RESOURCE] = "resource", [MSG_RESOURCE_USAGE] = "resource_usage", [MSG_DELETE_RESOURCE] = "delete_resource",
    [MSG_NODE_HASH] = "node_hash", [MSG_TASK_LIST] = "task_list", [MSG_CONTAINER_NODE] = "container_node",
    [MSG_MONITOR_POD] = "monitor_pod", [MSG_POD_CONDITIONS] = "pod_conditions", [MSG_HEARTBEAT] = "heartbeat",
    [MSG_JOB_STATUS] = "job_status", [MSG_METRICS] = "metrics", [MSG_LOGGING] = "logging",
    [MSG_POD_EVENT] = "pod_event", [MSG_ACK] = "ack", [MSG_NODE_CONDITIONS] = "node_conditions",
};

const char *message_type_name(enum message_type t) {
    return (size_t)t < ARRAY_SIZE(type_names) ? type_names[t] : "";
}

static enum message_type type_parse(const char *name) {
    for (size_t i = MSG_INIT; name && i < ARRAY_SIZE(type_names); i++) {
        if (strcmp(type_names[i], name) == 0)
            return (enum message_type)i;
    }
    return MSG_INVALID;
}

static int check_keys(const json_t *root, osmo_error_t *err) {
    json_iter_t it = json_iter(root);
    while (json_iter_next(&it)) {
        if (strcmp(it.key, "type") != 0 && strcmp(it.key, "body") != 0 && strcmp(it.key, "uuid") != 0)
            return osmo_error_set(err, OSMO_EINVAL, "message has an unknown key \"%.64s\"", it.key);
    }
    return OSMO_OK;
}

static int read_uuid(const json_t *root, char out[33], osmo_error_t *err) {
    out[0] = '\0';
    if (!json_has(root, "uuid"))
        return OSMO_OK;
    const char *uuid = json_get_str(root, "uuid");
    size_t len = uuid ? strlen(uuid) : 0;
    if (!uuid || len > 32)
        return osmo_error_set(err, OSMO_EINVAL, "uuid of a message must be a string of at most 32 characters");
    memcpy(out, uuid, len + 1);
    return OSMO_OK;
}

int message_parse(const char *text, size_t len, struct message *out, osmo_error_t *err) {
    memset(out, 0, sizeof *out);
    _cleanup_json_ json_t *root = NULL;
    int rc = json_parse(text, len, &root, err);
    if (rc < 0)
        return rc;
    if (json_kind(root) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EINVAL, "message must be a JSON object");
    rc = check_keys(root, err);
    if (rc < 0)
        return rc;
    const char *name = json_get_str(root, "type");
    enum message_type type = type_parse(name);
    if (type == MSG_INVALID)
        return osmo_error_set(err, OSMO_EINVAL, "message has an unknown type \"%.64s\"", name ? name : "");
    json_t *body = json_get(root, "body");
    if (json_kind(body) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EINVAL, "body of a %s message must be a JSON object", name);
    rc = read_uuid(root, out->uuid, err);
    if (rc < 0)
        return rc;
    out->type = type;
    out->body = body;
    out->root = STEAL(root);
    return OSMO_OK;
}

void message_clear(struct message *m) {
    json_free(m->root);
    memset(m, 0, sizeof *m);
}

int message_build(enum message_type t, const char *uuid, json_t *body, buf_t *out) {
    _cleanup_json_ json_t *owned = body;
    _cleanup_json_ json_t *root = json_object();
    const char *name = message_type_name(t);
    if (!*name || json_kind(body) != JSON_OBJECT)
        return OSMO_EINVAL;
    if (!root || json_set_str(root, "type", name) < 0 || json_set(root, "body", STEAL(owned)) < 0 ||
        json_set_str(root, "uuid", uuid) < 0)
        return OSMO_ENOMEM;
    return json_print(root, 0, out);
}

int message_build_ack(const char *acked_uuid, const char *uuid, buf_t *out) {
    _cleanup_json_ json_t *body = json_object();
    if (!body || json_set_str(body, "uuid", acked_uuid) < 0)
        return OSMO_ENOMEM;
    return message_build(MSG_ACK, uuid, STEAL(body), out);
}

bool extension_offered(const char *header, const char *token) {
    size_t want = token ? strlen(token) : 0;
    if (!header || !want)
        return false;
    for (const char *p = header; *p;) {
        p += strspn(p, " \t,");
        size_t len = strcspn(p, ",");
        size_t bare = len;
        while (bare && (p[bare - 1] == ' ' || p[bare - 1] == '\t'))
            bare--;
        if (bare == want && strncasecmp(p, token, want) == 0)
            return true;
        p += len;
    }
    return false;
}

int job_pack(const json_t *job, size_t max, buf_t *out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(INFLATED_MAX);
    int rc = json_print(job, 0, &text);
    if (rc < 0)
        return osmo_error_set(err, rc, "job does not fit into a frame of the worker connection");
    uLongf packed = compressBound(text.len);
    size_t start = out->len;
    rc = buf_reserve(out, packed);
    if (rc < 0)
        return osmo_error_set(err, rc, "no room for a compressed job");
    int z = compress2((Bytef *)out->data + start, &packed, (const Bytef *)text.data, text.len,
                      text.len <= FAST_BELOW ? Z_BEST_SPEED : Z_DEFAULT_COMPRESSION);
    if (z != Z_OK)
        return osmo_error_set(err, OSMO_ENOMEM, "job could not be compressed");
    if (packed > max)
        return osmo_error_set(err, OSMO_ELIMIT, "job takes %lu bytes compressed, the limit is %zu: use fewer or smaller tasks "
                              "in one group", (unsigned long)packed, max);
    out->len = start + packed;
    out->data[out->len] = '\0';
    return OSMO_OK;
}

int job_frame_pack(const json_t *job, buf_t *out, osmo_error_t *err) { return job_pack(job, JOB_FRAME_MAX, out, err); }

static int inflate_all(z_stream *z, buf_t *out, osmo_error_t *err) {
    for (;;) {
        int rc = buf_reserve(out, ZLIB_CHUNK);
        if (rc < 0)
            return osmo_error_set(err, rc, "job is larger than %u bytes when inflated", INFLATED_MAX);
        z->next_out = (Bytef *)out->data + out->len;
        z->avail_out = ZLIB_CHUNK;
        int got = inflate(z, Z_NO_FLUSH);
        out->len += ZLIB_CHUNK - z->avail_out;
        out->data[out->len] = '\0';
        if (got == Z_STREAM_END)
            return z->avail_in ? osmo_error_set(err, OSMO_EINVAL, "job frame has bytes behind its end") : OSMO_OK;
        if (got == Z_MEM_ERROR)
            return osmo_error_set(err, OSMO_ENOMEM, "no memory to inflate a job");
        if (got != Z_OK)
            return osmo_error_set(err, OSMO_EINVAL, "job frame is not a whole zlib stream");
    }
}

int job_unpack(const void *frame, size_t len, size_t max, json_t **job, osmo_error_t *err) {
    if (len > max)
        return osmo_error_set(err, OSMO_ELIMIT, "job frame of %zu bytes is over the limit of %zu", len, max);
    z_stream z = { .next_in = (Bytef *)(uintptr_t)frame, .avail_in = (uInt)len };
    if (inflateInit(&z) != Z_OK)
        return osmo_error_set(err, OSMO_ENOMEM, "no memory to inflate a job");
    _cleanup_buf_ buf_t text = BUF_SECRET(INFLATED_MAX + ZLIB_CHUNK);
    int rc = inflate_all(&z, &text, err);
    inflateEnd(&z);
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *root = NULL;
    rc = (text.len <= SECRET_JOB_MAX ? json_parse_secret : json_parse)(text.data, text.len, &root, err);
    if (rc < 0)
        return rc;
    if (json_kind(root) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EINVAL, "job must be a JSON object");
    *job = STEAL(root);
    return OSMO_OK;
}

int job_frame_unpack(const void *frame, size_t len, json_t **job, osmo_error_t *err) {
    return job_unpack(frame, len, JOB_FRAME_MAX, job, err);
}

/* ---- parts ---- */

/* Four letters that no zlib stream begins with, the length of the whole, the place of this part, the bytes. Numbers are
 * big endian. */
static const char part_mark[4] = { 'O', 'J', 'P', '1' };
#define PART_HEAD 12u

static void put_number(uint8_t *to, size_t v) {
    for (int i = 3; i >= 0; i--, v >>= 8)
        to[i] = (uint8_t)v;
}

static size_t get_number(const uint8_t *from) {
    return (size_t)from[0] << 24 | (size_t)from[1] << 16 | (size_t)from[2] << 8 | from[3];
}

int job_part_write(const buf_t *whole, size_t offset, buf_t *out) {
    size_t n = whole->len - offset < JOB_PART_MAX ? whole->len - offset : JOB_PART_MAX;
    uint8_t head[PART_HEAD];
    memcpy(head, part_mark, sizeof part_mark);
    put_number(head + 4, whole->len);
    put_number(head + 8, offset);
    buf_append(out, head, sizeof head);
    return buf_append(out, whole->data + offset, n);
}

bool job_is_part(const void *frame, size_t len) {
    return len >= PART_HEAD && memcmp(frame, part_mark, sizeof part_mark) == 0;
}

int job_part_add(buf_t *whole, const void *frame, size_t len, osmo_error_t *err) {
    const uint8_t *p = frame;
    if (!job_is_part(frame, len))
        return osmo_error_set(err, OSMO_EINVAL, "frame is not a part of a job");
    size_t total = get_number(p + 4), offset = get_number(p + 8), n = len - PART_HEAD;
    if (offset == 0)
        buf_reset(whole);
    if (total > JOB_TOTAL_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "job of %zu bytes is over the limit of %u", total, JOB_TOTAL_MAX);
    if (offset != whole->len || !n || n > total - offset)
        return osmo_error_set(err, OSMO_EINVAL, "part of a job at %zu does not continue what came before (%zu of %zu bytes)",
                              offset, whole->len, total);
    int rc = buf_append(whole, p + PART_HEAD, n);
    if (rc < 0)
        return osmo_error_set(err, rc, "no room for a job of %zu bytes", total);
    return whole->len == total;
}
