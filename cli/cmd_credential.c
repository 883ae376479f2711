/* credential set, list, delete: what workflows log in with. Values come from the command line, from files, or are asked for and not shown;
 * those of object storage are kept for this client too, in config.yaml (mode 0600), as `osmo data` reads them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/yaml.h"
#include "login.h"

#define VALUE_MAX (512u << 10)
#define CONFIG_MAX (4u << 20)

static const char *format = "text";

static bool as_json(void) { return str_eq(format, "json"); }

static char *credential_path(const char *name) {
    buf_t path = BUF_INIT(4096);
    buf_puts(&path, "/api/credentials/");
    url_encode(name, &path);
    char *text = buf_steal(&path, NULL);
    buf_free(&path);
    return text;
}

/* ---- config.yaml: the credentials of this client ---- */

static char *config_path(void) {
    _cleanup_free_ char *dir = config_dir();
    return dir ? str_printf("%s/config.yaml", dir) : NULL;
}

/* An object also when there is no such file. */
static int config_read(const char *path, json_t **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(CONFIG_MAX);
    _cleanup_yaml_ yaml_node_t *n = NULL;
    int rc = file_read(path, &text, err);
    *out = NULL;
    if (rc >= 0 && text.len) {
        rc = yaml_parse(buf_cstr(&text), text.len, NULL, &n, err);
        if (rc >= 0 && n->kind == YAML_MAP)
            rc = yaml_to_json(n, out, err);
        if (rc < 0)
            return osmo_error_prefix(err, "%s", path);
    }
    if (rc < 0 && rc != OSMO_ENOTFOUND)
        return rc;
    if (!*out)
        *out = json_object();
    return *out ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static json_t *member_object(json_t *o, const char *key) {
    if (json_kind(json_get(o, key)) != JSON_OBJECT)
        json_set(o, key, json_object());
    return json_get(o, key);
}

/* entry NULL: forgets the endpoint. Another command waits meanwhile. */
static int config_change(const char *endpoint, const json_t *entry, osmo_error_t *err) {
    _cleanup_free_ char *path = config_path(), *dir = config_dir();
    _cleanup_json_secret_ json_t *config = NULL;
    _cleanup_buf_ buf_t text = BUF_SECRET(CONFIG_MAX);
    _cleanup_close_ int lock = path ? login_lock() : -1;
    (void)lock; /* held until the end */
    int rc = path && dir ? config_read(path, &config, err) : OSMO_ENOMEM;
    if (rc < 0)
        return rc;
    json_t *data = member_object(member_object(config, "auth"), "data");
    if (!data)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!entry && !json_has(data, endpoint))
        return 0;
    if (entry)
        json_set(data, endpoint, json_copy(entry));
    else
        json_del(data, endpoint);
    rc = yaml_emit(config, &text);
    if (rc >= 0)
        rc = dir_make(dir, 0700, err);
    return rc < 0 ? rc : file_write_atomic(path, text.data, text.len, 0600, false, err);
}

static bool config_has(const char *endpoint) {
    _cleanup_free_ char *path = config_path();
    _cleanup_json_secret_ json_t *config = NULL;
    return path && endpoint && config_read(path, &config, NULL) >= 0 && json_has(json_path(config, "auth", "data", NULL), endpoint);
}

/* ---- set: the values ---- */

static const char *const registry_keys[] = { "auth", "username", "registry" };
static const char *const data_keys[] = { "access_key_id", "access_key", "endpoint", "region", "override_url", "addressing_style" };

struct kind {
    const char *name, *member;
    const char *const *keys; /* NULL: any */
    size_t nkeys, required;  /* the first ones */
};
static const struct kind kinds[] = {
    { "GENERIC", "generic_credential", NULL, 0, 0 },
    { "REGISTRY", "registry_credential", registry_keys, ARRAY_SIZE(registry_keys), 1 },
    { "DATA", "data_credential", data_keys, ARRAY_SIZE(data_keys), 3 },
};

static bool key_is_known(const struct kind *k, const char *key) {
    for (size_t i = 0; i < k->nkeys; i++)
        if (str_eq(k->keys[i], key))
            return true;
    return !k->keys;
}

/* A line of what the client is given, where there is nobody to ask. */
static int read_line_of(FILE *in, char **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t line = BUF_SECRET(VALUE_MAX);
    int c;
    while ((c = getc_unlocked(in)) != EOF && c != '\n')
        if (buf_putc(&line, (char)c) < 0)
            return osmo_error_set(err, OSMO_ELIMIT, "the line is longer than %u bytes", VALUE_MAX);
    if (c == EOF && !line.len)
        return osmo_error_set(err, OSMO_EINVAL, "the input has ended");
    if (line.len && line.data[line.len - 1] == '\r')
        buf_truncate(&line, line.len - 1);
    *out = line.len ? buf_steal(&line, NULL) : strdup("");
    return *out ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int ask_value(const char *name, const char *key, char **out, osmo_error_t *err) {
    if (!isatty(STDIN_FILENO))
        return read_line_of(stdin, out, err);
    _cleanup_free_ char *prompt = str_printf("%s of %s: ", key, name);
    return prompt ? secret_prompt(prompt, out, err) : OSMO_ENOMEM;
}

/* "-" is the input. Logins never end with a line break, what an editor leaves in a file does. */
static int read_value(const struct kind *k, const char *path, char **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(VALUE_MAX);
    int rc = file_read(str_eq(path, "-") ? "/dev/stdin" : path, &text, err);
    if (rc < 0)
        return rc;
    const char *data = buf_cstr(&text);
    if (strlen(data) != text.len || !utf8_valid(data, text.len))
        return osmo_error_set(err, OSMO_EINVAL, "%s is no text: only UTF-8 without NUL can be kept, encode it as base64", path);
    while (k->keys && text.len && strchr("\r\n", text.data[text.len - 1]))
        buf_truncate(&text, text.len - 1);
    *out = text.len ? buf_steal(&text, NULL) : strdup("");
    return *out ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

struct setting {
    const struct kind *kind;
    const char *name;
    json_t *pairs;
};

static int put_value(struct setting *s, const char *key, char *value, osmo_error_t *err) {
    int rc = json_has(s->pairs, key) ? osmo_error_set(err, OSMO_EINVAL, "key %s is given twice", key)
             : key_is_known(s->kind, key)
                 ? json_set_str(s->pairs, key, value)
                 : osmo_error_set(err, OSMO_EINVAL, "%s is no key of a %s credential", key, s->kind->name);
    wipe_free(value);
    return rc;
}

/* "KEY=VALUE", or "KEY" to be asked for it; from_file: "KEY=PATH". */
static int take_word(struct setting *s, const char *word, bool from_file, osmo_error_t *err) {
    const char *equals = strchr(word, '=');
    _cleanup_free_ char *key = strndup(word, equals ? (size_t)(equals - word) : strlen(word));
    char *value = NULL;
    if (!key)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!*key || (from_file && !equals))
        return osmo_error_set(err, OSMO_EINVAL, "'%s' is not KEY=%s", from_file ? word : key, from_file ? "PATH" : "VALUE");
    int rc = 0;
    if (from_file)
        rc = read_value(s->kind, equals + 1, &value, err);
    else if (!equals)
        rc = ask_value(s->name, key, &value, err);
    else if (!(value = strdup(equals + 1)))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return rc < 0 ? rc : put_value(s, key, value, err);
}

static int take_words(struct setting *s, const strlist_t *pairs, const strlist_t *files, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < pairs->len; i++)
        rc = take_word(s, pairs->items[i], false, err);
    for (size_t i = 0; rc >= 0 && i < files->len; i++)
        rc = take_word(s, files->items[i], true, err);
    for (size_t i = 0; rc >= 0 && i < s->kind->required; i++)
        if (!json_has(s->pairs, s->kind->keys[i]))
            rc = osmo_error_set(err, OSMO_EINVAL, "a %s credential needs %s: give it by --payload or --payload-file", s->kind->name,
                                s->kind->keys[i]);
    return rc;
}

/* {"generic_credential": {"credential": …}} and its like; *pairs is in it. */
static json_t *request_body(const struct kind *k, json_t *pairs) {
    json_t *body = json_object(), *inner = k->keys ? NULL : json_object();
    if (inner)
        json_set(inner, "credential", json_ref(pairs));
    json_set(body, k->member, inner ? inner : json_ref(pairs));
    return body;
}

static void keep_locally(json_t *pairs) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *endpoint = str_dup(json_get_str(pairs, "endpoint"));
    for (size_t n = endpoint ? strlen(endpoint) : 0; n && endpoint[n - 1] == '/'; n--)
        endpoint[n - 1] = '\0';
    json_del(pairs, "endpoint");
    if (!endpoint || config_change(endpoint, pairs, &err) < 0)
        fprintf(stderr, "The service has the credential, this client has not: %s\n", err.text);
}

static int set_it(struct setting *s) {
    struct api a;
    int code = api_open(&a, as_json());
    if (code)
        return code;
    _cleanup_free_ char *path = credential_path(s->name);
    _cleanup_json_secret_ json_t *body = request_body(s->kind, s->pairs);
    code = path ? api_call(&a, "POST", path, body, NULL) : EXIT_USER;
    api_close(&a);
    if (code)
        return code;
    if (str_eq(s->kind->name, "DATA"))
        keep_locally(s->pairs);
    if (!as_json())
        printf("Credential %s is set.\n", s->name);
    return 0;
}

static void wipe_words(strlist_t *l) {
    for (size_t i = 0; i < l->len; i++)
        explicit_bzero(l->items[i], strlen(l->items[i]));
    strlist_free(l);
}

static int credential_set(int argc, char **argv) {
    const char *name = NULL, *type = "GENERIC";
    strlist_t pairs = { 0 }, files = { 0 };
    const struct opt opts[] = {
        { "--type", OPT_CHOICE, &type, "TYPE", "what it is for", "REGISTRY DATA GENERIC" },
        { "--payload", OPT_LIST, &pairs, "KEY[=VALUE]",
          "what it holds; without a value it is asked for and not shown, or a line of the input", NULL },
        { "--payload-file", OPT_LIST, &files, "KEY=PATH", "the same from a file; - is the input", NULL },
        FORMAT_OPTION(&format),
    };
    const struct arg args[] = { { "NAME", "name of the credential", &name, NULL, false } };
    const struct usage u = { "credential set", "Store what workflows log in with; one of the same name, registry or address is replaced.",
                             opts, ARRAY_SIZE(opts), args, 1 };
    osmo_error_t err = OSMO_ERROR_INIT;
    int code = opt_parse(&u, argc, argv);
    if (code < 0 && !pairs.len && !files.len)
        code = opt_error(&u, "one of the arguments --payload --payload-file is required");
    if (code < 0) {
        struct setting s = { .kind = kinds, .name = name, .pairs = json_object() };
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
            s.kind = str_eq(kinds[i].name, type) ? &kinds[i] : s.kind;
        code = take_words(&s, &pairs, &files, &err) < 0 ? api_fail(as_json(), 0, err.text, EXIT_USER) : set_it(&s);
        json_free_secret(s.pairs);
    }
    wipe_words(&pairs);
    strlist_free(&files);
    return code;
}

/* ---- list and delete ---- */

static void show(const json_t *list) {
    struct table t = { .columns = 4 };
    static const char *const head[] = { "Name", "Type", "Profile", "Local" };
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, head[i]);
    for (size_t i = 0; i < json_len(list); i++) {
        const json_t *c = json_at(list, i);
        const char *type = json_get_str(c, "cred_type"), *profile = json_get_str(c, "profile");
        table_add(&t, json_get_str(c, "cred_name"));
        table_add(&t, type);
        table_add(&t, profile);
        table_add(&t, !str_eq(type, "DATA") ? "N/A" : config_has(profile) ? "Yes" : "No");
    }
    table_print(&t, 1);
}

static int credential_list(int argc, char **argv) {
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct usage u = { "credential list", "Your credentials; what they hold is never shown.", opts, 1, NULL, 0 };
    json_t *answer = NULL;
    struct api a;
    int code = opt_parse(&u, argc, argv);
    if (code >= 0 || (code = api_open(&a, as_json())))
        return code;
    code = api_call(&a, "GET", "/api/credentials", NULL, &answer);
    if (!code && as_json())
        print_json(answer, 2);
    else if (!code)
        show(json_get(answer, "credentials"));
    json_free(answer);
    api_close(&a);
    return code;
}

static void forget_locally(const json_t *removed) {
    const char *profile = json_get_str(removed, "profile");
    osmo_error_t err = OSMO_ERROR_INIT;
    if (profile && str_eq(json_get_str(removed, "cred_type"), "DATA") && config_change(profile, NULL, &err) < 0)
        fprintf(stderr, "The service has forgotten the credential, this client has not: %s\n", err.text);
}

static int credential_delete(int argc, char **argv) {
    const char *name = NULL;
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct arg args[] = { { "NAME", "name of the credential", &name, NULL, false } };
    const struct usage u = { "credential delete", "Forget a credential. Tasks that run have theirs already.", opts, 1, args, 1 };
    json_t *answer = NULL;
    struct api a;
    int code = opt_parse(&u, argc, argv);
    if (code >= 0 || (code = api_open(&a, as_json())))
        return code;
    _cleanup_free_ char *path = credential_path(name);
    code = path ? api_call(&a, "DELETE", path, NULL, &answer) : EXIT_USER;
    if (!code) {
        forget_locally(json_at(json_get(answer, "credentials"), 0));
        if (as_json())
            print_json(answer, 2);
        else
            printf("Credential %s is deleted.\n", name);
    }
    json_free(answer);
    api_close(&a);
    return code;
}

/* ---- the noun, which has an option of its own ---- */

int cmd_credential(int argc, char **argv) {
    static const struct command commands[] = {
        { "set", "store or replace a credential", credential_set },
        { "list", "list your credentials", credential_list },
        { "delete", "forget a credential", credential_delete },
    };
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct usage u = { "credential", "What workflows log in with.\n\ncommands:\n"
                             "  set        store or replace a credential\n  list       list your credentials\n"
                             "  delete     forget a credential", opts, 1, NULL, 0 };
    int words = 0; /* of options before the command */
    while (words < argc && argv[words][0] == '-')
        words += str_eq(argv[words], "-t") || (str_starts(argv[words], "--f") && !strchr(argv[words], '=')) ? 2 : 1;
    int code = opt_parse(&u, words < argc ? words : argc, argv);
    if (code >= 0)
        return code;
    for (size_t i = 0; words < argc && i < ARRAY_SIZE(commands); i++)
        if (str_eq(commands[i].name, argv[words]))
            return commands[i].run(argc - words - 1, argv + words + 1);
    return words < argc ? opt_error(&u, "invalid choice: '%s' (choose from set list delete)", argv[words])
                        : opt_error(&u, "a command is needed: set, list or delete");
}
