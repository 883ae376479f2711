/* See action_parse.h. Everything comes over the network: nothing that could end a header, a path or a reason goes on. */
#include "action_parse.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

#define COOKIE_MAX 4096
#define ADDRESS_MAX 1024
#define COMMAND_MAX (64u << 10)
#define PATH_MAX_BYTES 8192
#define HEADERS_MAX 64
#define HEADER_MAX 8192

static const char *const names[ACTION_KINDS] = { "exec", "portforward", "webserver", "rsync" };

const char *action_kind_name(enum action_kind k) { return names[k]; }

static bool is_key(const char *s) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return s && *s && strlen(s) <= KEY_MAX && strspn(s, allowed) == strlen(s);
}

/* Text without control characters. */
static bool is_line(const char *s, size_t max) {
    if (!s || strlen(s) > max)
        return false;
    for (; *s; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return false;
    }
    return true;
}

static bool is_address(const char *s) {
    return is_line(s, ADDRESS_MAX) && !strchr(s, ' ') &&
           (str_starts(s, "ws://") || str_starts(s, "wss://") || str_starts(s, "http://") || str_starts(s, "https://"));
}

void meeting_clear(struct meeting *m) {
    free(m->router_address);
    free(m->key);
    free(m->cookie);
    *m = (struct meeting){ 0 };
}

void action_clear(struct action *a) {
    meeting_clear(&a->at);
    free(a->command);
    *a = (struct action){ 0 };
}

static int parse_kind(const json_t *o, enum action_kind *out) {
    const char *name = json_get_str(o, "action");
    for (size_t i = 0; name && i < ACTION_KINDS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum action_kind)i;
            return 0;
        }
    }
    return OSMO_ENOTFOUND;
}

static const char *cookie_of(const json_t *o) {
    const char *cookie = json_get_str(o, "cookie");
    return cookie ? cookie : "";
}

static int copy_meeting(const json_t *o, struct meeting *out, osmo_error_t *err) {
    const char *address = json_get_str(o, "router_address"), *key = json_get_str(o, "key");
    if (!is_address(address))
        return osmo_error_set(err, OSMO_EINVAL, "router_address is no address of a router");
    if (!is_key(key))
        return osmo_error_set(err, OSMO_EINVAL, "key is no key of a session");
    if (!is_line(cookie_of(o), COOKIE_MAX))
        return osmo_error_set(err, OSMO_EINVAL, "cookie cannot be a header");
    *out = (struct meeting){ strdup(address), strdup(key), strdup(cookie_of(o)) };
    if (out->router_address && out->key && out->cookie)
        return 0;
    return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int copy_exec(const json_t *o, struct action *out, osmo_error_t *err) {
    const char *command = json_get_str(o, "entry_command");
    if (command && strlen(command) > COMMAND_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "entry_command is too long");
    out->command = strdup(command ? command : "");
    return out->command ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int copy_port(const json_t *o, struct action *out, osmo_error_t *err) {
    int64_t port = out->kind == ACTION_RSYNC ? RSYNC_TASK_PORT : json_get_int(o, "task_port", 0);
    if (port < 1 || port > 65535)
        return osmo_error_set(err, OSMO_EINVAL, "task_port is no port");
    out->port = (int)port;
    out->udp = out->kind == ACTION_PORTFORWARD && json_get_bool(o, "use_udp", false);
    out->telemetry = json_get_bool(o, "enable_telemetry", false);
    return 0;
}

int action_parse(const json_t *o, struct action *out, osmo_error_t *err) {
    *out = (struct action){ 0 };
    int rc = parse_kind(o, &out->kind);
    if (!rc)
        rc = copy_meeting(o, &out->at, err);
    if (!rc)
        rc = out->kind == ACTION_EXEC ? copy_exec(o, out, err) : copy_port(o, out, err);
    if (rc)
        action_clear(out);
    return rc;
}

/* ---- announcements ---- */

void announcement_clear(struct announcement *a) {
    free(a->key);
    free(a->cookie);
    free(a->path);
    strlist_free(&a->headers);
    *a = (struct announcement){ 0 };
}

/* What belongs to the connection and not to the request, and what the client library says itself. */
static bool is_hop(const char *name) {
    static const char *const hop[] = { "host",       "connection", "upgrade", "content-length", "transfer-encoding",
                                       "keep-alive", "te",         "trailer" };
    for (size_t i = 0; i < sizeof hop / sizeof hop[0]; i++) {
        if (strcasecmp(name, hop[i]) == 0)
            return true;
    }
    return strncasecmp(name, "sec-websocket-", 14) == 0 || strncasecmp(name, "proxy-", 6) == 0;
}

/* A token of RFC 9110. */
static bool is_name(const char *name) {
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return name && *name && !name[strspn(name, token)];
}

static void add_header(struct announcement *a, const char *name, const json_t *value) {
    const char *text = json_str(value);
    if (!is_name(name) || is_hop(name) || !text || !is_line(text, HEADER_MAX) || a->headers.len >= HEADERS_MAX)
        return;
    char *line = str_printf("%s: %s", name, text);
    if (line)
        strlist_add(&a->headers, line);
    free(line);
}

/* Values are texts or lists of them. */
static void copy_headers(struct announcement *a, const json_t *headers) {
    json_iter_t it = json_iter(headers);
    while (json_kind(headers) == JSON_OBJECT && json_iter_next(&it)) {
        if (json_kind(it.value) == JSON_ARRAY) {
            for (size_t i = 0; i < json_len(it.value); i++)
                add_header(a, it.key, json_at(it.value, i));
        } else {
            add_header(a, it.key, it.value);
        }
    }
}

static int copy_websocket(const json_t *payload, struct announcement *out, osmo_error_t *err) {
    const char *path = json_get_str(payload, "path");
    if (!path || path[0] != '/' || !is_line(path, PATH_MAX_BYTES) || strchr(path, ' ') || strchr(path, '#'))
        return osmo_error_set(err, OSMO_EINVAL, "path is none");
    out->path = strdup(path);
    copy_headers(out, json_get(payload, "headers"));
    return out->path ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

int announcement_parse(const char *text, size_t len, struct announcement *out, osmo_error_t *err) {
    json_t *o = NULL;
    *out = (struct announcement){ 0 };
    int rc = json_parse(text, len, &o, err);
    const char *key = json_get_str(o, "key"), *type = json_get_str(o, "type");
    if (!rc && !is_key(key))
        rc = osmo_error_set(err, OSMO_EINVAL, "key is no key of a connection");
    if (!rc && !is_line(cookie_of(o), COOKIE_MAX))
        rc = osmo_error_set(err, OSMO_EINVAL, "cookie cannot be a header");
    if (!rc) {
        out->key = strdup(key);
        out->cookie = strdup(cookie_of(o));
        out->websocket = type && strcmp(type, "ws") == 0;
        out->half_close = json_get_bool(o, "half_close", false);
        if (!out->key || !out->cookie)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    if (!rc && out->websocket)
        rc = copy_websocket(json_get(o, "payload"), out, err);
    json_free(o);
    if (rc)
        announcement_clear(out);
    return rc;
}
