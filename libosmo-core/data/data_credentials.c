/* Reads the credentials of config.yaml; see data_credentials.h. Used by osmo_ctrl, `osmo data` and the service. No text of an
 * error quotes what the file says, the names of entries aside. */
#include "data/data_credentials.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "base/yaml.h"

#define FILE_MAX (1u << 20)
#define ENTRIES_MAX 10000

struct entry { char *prefix; struct data_credential c; };
struct data_credentials { struct entry *entries; size_t len; };

static void wipe_text(char *text) {
    if (text)
        crypto_wipe(text, strlen(text));
    free(text);
}

void data_credentials_free(data_credentials_t *c) {
    for (size_t i = 0; c && i < c->len; i++) {
        struct data_credential *e = &c->entries[i].c;
        free(c->entries[i].prefix);
        wipe_text(e->access_key_id);
        wipe_text(e->access_key);
        wipe_text(e->session_token);
        free(e->region);
        free(e->override_url);
    }
    if (c)
        free(c->entries);
    free(c);
}

static int fault(const char *prefix, const char *what, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_ECREDENTIAL, "auth.data['%.200s'] %s", prefix, what);
}

/* As written, whatever YAML takes it for: keys may be all digits. */
static int take_text(const yaml_node_t *map, const char *key, const char *prefix, char **out, osmo_error_t *err) {
    const yaml_node_t *v = yaml_get(map, key);
    if (!v || v->kind == YAML_NULL)
        return 0;
    if (v->kind == YAML_LIST || v->kind == YAML_MAP || !v->text) {
        _cleanup_free_ char *what = str_printf("has a %s that is no text", key);
        return what ? fault(prefix, what, err) : no_memory(err);
    }
    if (!*v->text)
        return 0;
    if (strpbrk(v->text, "\r\n") && strcmp(key, "access_key") != 0)
        return fault(prefix, "has a value with line breaks", err);
    *out = strdup(v->text);
    return *out ? 0 : no_memory(err);
}

static int take_addressing(const yaml_node_t *map, const char *prefix, enum data_addressing *out, osmo_error_t *err) {
    _cleanup_free_ char *text = NULL;
    int rc = take_text(map, "addressing_style", prefix, &text, err);
    if (rc < 0)
        return rc;
    *out = DATA_ADDRESS_AUTO;
    if (str_eq(text, "virtual"))
        *out = DATA_ADDRESS_VIRTUAL;
    else if (str_eq(text, "path"))
        *out = DATA_ADDRESS_PATH;
    else if (text && strcmp(text, "auto") != 0)
        return fault(prefix, "has an addressing_style that is none of virtual, path and auto", err);
    return 0;
}

static int check_entry(const char *prefix, struct data_credential *c, osmo_error_t *err) {
    c->keyless = !c->access_key_id && !c->access_key;
    if (c->access_key_id && !c->access_key)
        return fault(prefix, "has an access_key_id without an access_key: add it", err);
    if (c->access_key && !c->access_key_id && !str_starts(prefix, "azure://"))
        return fault(prefix, "has an access_key without an access_key_id: add it", err);
    if (c->override_url && !str_starts(c->override_url, "http://") && !str_starts(c->override_url, "https://"))
        return fault(prefix, "has an override_url that begins neither with https:// nor with http://", err);
    return 0;
}

static int read_entry(const char *name, const yaml_node_t *map, struct entry *e, osmo_error_t *err) {
    if (map->kind != YAML_MAP)
        return fault(name, "is no mapping with access_key_id and access_key", err);
    e->prefix = strdup(name);
    if (!e->prefix)
        return no_memory(err);
    for (size_t n = strlen(name); n > 1 && e->prefix[n - 1] == '/' && !str_ends(e->prefix, "://"); n--)
        e->prefix[n - 1] = '\0';
    int rc = take_text(map, "access_key_id", name, &e->c.access_key_id, err);
    if (!rc)
        rc = take_text(map, "access_key", name, &e->c.access_key, err);
    if (!rc)
        rc = take_text(map, "session_token", name, &e->c.session_token, err);
    if (!rc)
        rc = take_text(map, "region", name, &e->c.region, err);
    if (!rc)
        rc = take_text(map, "override_url", name, &e->c.override_url, err);
    if (!rc)
        rc = take_addressing(map, name, &e->c.addressing, err);
    return rc ? rc : check_entry(name, &e->c, err);
}

static int read_entries(const yaml_node_t *data, data_credentials_t *c, osmo_error_t *err) {
    if (data->len > ENTRIES_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "there are more than %d credentials for storage", ENTRIES_MAX);
    c->entries = calloc(data->len ? data->len : 1, sizeof *c->entries);
    if (!c->entries)
        return no_memory(err);
    for (size_t i = 0; i < data->len; i++) {
        if (data->keys[i]->kind != YAML_STRING)
            return osmo_error_set(err, OSMO_ECREDENTIAL, "auth.data has a name that is no storage address, such as s3://BUCKET");
        c->len++;
        int rc = read_entry(data->keys[i]->text, data->values[i], &c->entries[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int data_credentials_parse(const char *yaml, size_t len, data_credentials_t **out, osmo_error_t *err) {
    static const yaml_limits_t limits = { .max_bytes = FILE_MAX, .max_depth = 20, .max_nodes = 200000 };
    _cleanup_yaml_ yaml_node_t *root = NULL;
    *out = NULL;
    int rc = yaml_parse(yaml, len, &limits, &root, NULL);
    if (rc < 0)
        return rc == OSMO_ENOMEM ? no_memory(err)
                                 : osmo_error_set(err, OSMO_ECREDENTIAL,
                                                  "the credentials for storage are no usable YAML: check their file");
    const yaml_node_t *auth = root->kind == YAML_MAP ? yaml_get(root, "auth") : NULL;
    const yaml_node_t *data = auth && auth->kind == YAML_MAP ? yaml_get(auth, "data") : NULL;
    data_credentials_t *c = calloc(1, sizeof *c);
    if (!c)
        return no_memory(err);
    if ((root->kind != YAML_MAP && root->kind != YAML_NULL) || (auth && auth->kind != YAML_MAP && auth->kind != YAML_NULL) ||
        (data && data->kind != YAML_MAP && data->kind != YAML_NULL))
        rc = osmo_error_set(err, OSMO_ECREDENTIAL, "the credentials for storage must be a mapping auth, in it data, "
                                                   "in it storage addresses");
    else
        rc = data && data->kind == YAML_MAP ? read_entries(data, c, err) : 0;
    if (rc < 0) {
        data_credentials_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

static bool copy_text(char **to, const char *from) {
    *to = from ? strdup(from) : NULL;
    return *to || !from;
}

int data_credentials_copy(const data_credentials_t *from, data_credentials_t **out, osmo_error_t *err) {
    data_credentials_t *c = calloc(1, sizeof *c);
    bool whole = c != NULL;
    *out = NULL;
    for (size_t i = 0; from && whole && i < from->len; i++) {
        const struct data_credential *a = &from->entries[i].c;
        struct data_credential *b = data_credentials_add(c, from->entries[i].prefix);
        whole = b && copy_text(&b->access_key_id, a->access_key_id) && copy_text(&b->access_key, a->access_key) &&
                copy_text(&b->session_token, a->session_token) && copy_text(&b->region, a->region) &&
                copy_text(&b->override_url, a->override_url);
        if (whole) {
            b->addressing = a->addressing;
            b->keyless = a->keyless;
        }
    }
    if (!whole) {
        data_credentials_free(c);
        return no_memory(err);
    }
    *out = c;
    return 0;
}

int data_credentials_load(const char *path, data_credentials_t **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(FILE_MAX);
    *out = NULL;
    int rc = file_read(path, &text, err);
    if (rc < 0)
        return rc;
    rc = data_credentials_parse(text.data ? text.data : "", text.len, out, err);
    return rc < 0 ? osmo_error_prefix(err, "%s", path) : 0;
}

struct data_credential *data_credentials_add(data_credentials_t *c, const char *prefix) {
    struct entry *grown = realloc(c->entries, (c->len + 1) * sizeof *grown);
    char *copy = strdup(prefix);
    if (grown)
        c->entries = grown;
    if (!grown || !copy) {
        free(copy);
        return NULL;
    }
    grown[c->len] = (struct entry){ .prefix = copy, .c.keyless = true };
    return &grown[c->len++].c;
}

/* A prefix ends where a part of the address ends. */
static bool covers(const char *prefix, const char *text) {
    size_t n = strlen(prefix);
    return str_starts(text, prefix) && (text[n] == '\0' || text[n] == '/' || (n && prefix[n - 1] == '/'));
}

const struct data_credential *data_credentials_find(const data_credentials_t *c, const struct data_uri *u) {
    const struct entry *best = NULL;
    for (size_t i = 0; c && i < c->len; i++) {
        const struct entry *e = &c->entries[i];
        if (covers(e->prefix, u->text) && (!best || strlen(e->prefix) > strlen(best->prefix)))
            best = e;
    }
    return best ? &best->c : NULL;
}
