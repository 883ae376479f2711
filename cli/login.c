/* login.yaml: where the client keeps who it is, in upstream's form, mode 0600, changed by one command at a time. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/yaml.h"
#include "login.h"

#define LOGIN_MAX (1u << 20)
#define SECRET_MAX (64u << 10)

char *config_dir(void) {
    const char *dir = getenv("OSMO_CONFIG_FILE_DIR"), *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (dir && *dir)
        return strdup(dir);
    return xdg && *xdg ? str_printf("%s/osmo", xdg) : str_printf("%s/.config/osmo", home && *home ? home : ".");
}

static char *config_path(const char *name) {
    _cleanup_free_ char *dir = config_dir();
    return dir ? str_printf("%s/%s", dir, name) : NULL;
}

char *login_path(void) { return config_path("login.yaml"); }

void wipe_free(char *secret) {
    if (secret)
        crypto_wipe(secret, strlen(secret));
    free(secret);
}

int login_lock(void) {
    _cleanup_free_ char *dir = config_dir();
    _cleanup_free_ char *path = config_path("login.lock");
    int fd = dir && path && dir_make(dir, 0700, NULL) == 0 ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    while (fd >= 0 && flock(fd, LOCK_EX)) {
        if (errno != EINTR) {
            close(fd);
            fd = -1;
        }
    }
    return fd;
}

static char *copy_text(const yaml_node_t *n) { return n && n->kind == YAML_STRING ? strdup(n->text) : NULL; }

/* What the tree holds of tokens is overwritten before its memory is given back. */
static void wipe_text(const yaml_node_t *n) {
    if (n && n->kind == YAML_STRING)
        crypto_wipe(n->text, n->text_len);
}

static void take(struct login *l, const yaml_node_t *n) {
    const yaml_node_t *token = yaml_get(n, "token_login"), *flag = yaml_get(n, "osmo_token");
    l->url = copy_text(yaml_get(n, "url"));
    l->name = copy_text(yaml_get(n, "name"));
    l->id_token = copy_text(yaml_get(token, "id_token"));
    l->refresh_token = copy_text(yaml_get(token, "refresh_token"));
    l->refresh_url = copy_text(yaml_get(token, "refresh_url"));
    l->client_id = copy_text(yaml_get(token, "client_id"));
    l->dev_user = copy_text(yaml_get(yaml_get(n, "dev_login"), "username"));
    l->osmo_token = flag && flag->kind == YAML_BOOL && flag->boolean;
    wipe_text(yaml_get(token, "id_token"));
    wipe_text(yaml_get(token, "refresh_token"));
}

int login_load(struct login *l, osmo_error_t *err) {
    *l = (struct login){ 0 };
    _cleanup_free_ char *path = login_path();
    _cleanup_buf_ buf_t text = BUF_SECRET(LOGIN_MAX);
    _cleanup_yaml_ yaml_node_t *n = NULL;
    int rc = path ? file_read(path, &text, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == OSMO_ENOTFOUND)
        osmo_error_set(err, rc, "You are not logged in: run osmo login URL first");
    if (!rc && (rc = yaml_parse(buf_cstr(&text), text.len, NULL, &n, err)))
        osmo_error_prefix(err, "%s", path);
    if (!rc) {
        take(l, n);
        if (!l->url)
            rc = osmo_error_set(err, OSMO_EINVAL, "%s has no url: run osmo login URL again", path);
    }
    if (rc)
        login_clear(l);
    return rc;
}

void login_clear(struct login *l) {
    char *texts[] = { l->url, l->name, l->id_token, l->refresh_token, l->refresh_url, l->client_id, l->dev_user };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        wipe_free(texts[i]);
    *l = (struct login){ 0 };
}

static json_t *login_json(const struct login *l) {
    json_t *o = json_object(), *inner = json_object();
    json_set_str(o, "name", l->name);
    json_set_bool(o, "osmo_token", l->osmo_token);
    json_set_str(o, "url", l->url);
    if (!l->dev_user) {
        json_set_str(inner, "id_token", l->id_token);
        json_set_str(inner, "refresh_token", l->refresh_token);
        json_set_str(inner, "refresh_url", l->refresh_url);
        if (l->client_id)
            json_set_str(inner, "client_id", l->client_id);
    }
    json_set_str(inner, "username", l->dev_user ? l->dev_user : l->name);
    json_set(o, l->dev_user ? "dev_login" : "token_login", inner);
    return o;
}

int login_save(const struct login *l, osmo_error_t *err) {
    _cleanup_free_ char *dir = config_dir();
    _cleanup_free_ char *path = login_path();
    if (!dir || !path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    _cleanup_json_secret_ json_t *o = login_json(l);
    _cleanup_buf_ buf_t text = BUF_SECRET(LOGIN_MAX);
    int rc = yaml_emit(o, &text);
    if (rc)
        return osmo_error_set(err, rc, "the login cannot be written: it is too large");
    rc = dir_make(dir, 0700, err);
    return rc ? rc : file_write_atomic(path, text.data, text.len, 0600, !l->osmo_token && l->refresh_token, err);
}

int secret_read(const char *path, char **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(SECRET_MAX);
    int rc = file_read(path, &text, err);
    if (rc)
        return rc;
    buf_cstr(&text);
    while (text.len && strchr("\r\n", text.data[text.len - 1]))
        buf_truncate(&text, text.len - 1);
    if (!text.len || strlen(text.data) != text.len)
        return osmo_error_set(err, OSMO_EINVAL, "%s holds no usable text", path);
    return (*out = buf_steal(&text, NULL)) ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}
