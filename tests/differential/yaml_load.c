/* Answers yaml_compare.py: each document on standard input, as its length in bytes, a line break and its text, gives
 * one line: "ok " and its value with types as JSON, or "error " and the message. With --emit the documents are JSON,
 * and each gives what yaml_emit() makes of it in the same form as the input, or "error" when we do not read back what
 * we wrote. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/yaml.h"

static void put_text(const char *s, size_t len, buf_t *out) {
    buf_putc(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '"' || s[i] == '\\' || (unsigned char)s[i] < 0x20)
            buf_printf(out, "\\u%04x", (unsigned char)s[i]);
        else
            buf_putc(out, s[i]);
    }
    buf_putc(out, '"');
}

static void put_value(const yaml_node_t *n, buf_t *out);

static void put_scalar(const yaml_node_t *n, buf_t *out) {
    static const char *const names[] = { [YAML_NULL] = "null", [YAML_BOOL] = "bool", [YAML_INT] = "int",
                                         [YAML_FLOAT] = "float", [YAML_STRING] = "str", [YAML_DATE] = "date" };
    _cleanup_free_ char *text = yaml_scalar_text(n);
    const char *name = n->flavour == YAML_BINARY ? "bytes" : names[n->kind];
    if (n->kind == YAML_DATE && n->flavour != YAML_ORDINARY) {
        name = "datetime";
        if (text)
            text[10] = 'T';
    }
    if (n->kind == YAML_STRING) {
        free(text);
        text = strndup(n->text, n->text_len);
    }
    buf_printf(out, "[\"%s\",", name);
    put_text(text ? text : "", text ? strlen(text) : 0, out);
    buf_putc(out, ']');
}

static void put_value(const yaml_node_t *n, buf_t *out) {
    if (n->kind != YAML_LIST && n->kind != YAML_MAP) {
        put_scalar(n, out);
        return;
    }
    buf_printf(out, "[\"%s\"", n->kind == YAML_LIST ? "list" : n->flavour == YAML_SET ? "set" : "map");
    for (size_t i = 0; i < n->len; i++) {
        buf_putc(out, ',');
        if (n->kind == YAML_MAP) {
            put_value(n->keys[i], out);
            if (n->flavour == YAML_SET)
                continue;
            buf_putc(out, ',');
        }
        put_value(n->values[i], out);
    }
    buf_putc(out, ']');
}

static void load(const char *text, size_t len, buf_t *out) {
    _cleanup_yaml_ yaml_node_t *n = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (yaml_parse(text, len, NULL, &n, &err) < 0) {
        buf_printf(out, "error %s", err.text);
    } else {
        buf_puts(out, "ok ");
        put_value(n, out);
    }
    buf_putc(out, '\n');
}

static int emit(const char *text, size_t len, buf_t *out) {
    _cleanup_json_ json_t *v = NULL, *back = NULL;
    _cleanup_buf_ buf_t yaml = BUF_INIT(64u << 20);
    _cleanup_yaml_ yaml_node_t *n = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = json_parse(text, len, &v, &err);
    if (rc >= 0)
        rc = yaml_emit(v, &yaml);
    if (rc < 0)
        return rc;
    rc = yaml_parse(buf_cstr(&yaml), yaml.len, NULL, &n, &err);
    if (rc >= 0)
        rc = yaml_to_json(n, &back, &err);
    if (rc < 0 || !json_equal(v, back)) {
        buf_printf(out, "error %s\n", rc < 0 ? err.text : "read back differently");
        return 0;
    }
    buf_printf(out, "%zu\n", yaml.len);
    return buf_append(out, buf_cstr(&yaml), yaml.len);
}

int main(int argc, char **argv) {
    size_t len;
    bool emits = argc > 1 && strcmp(argv[1], "--emit") == 0;
    while (scanf("%zu", &len) == 1 && getchar() == '\n' && len < 64u << 20) {
        _cleanup_free_ char *text = malloc(len + 1);
        _cleanup_buf_ buf_t out = BUF_INIT(64u << 20);
        if (!text || fread(text, 1, len, stdin) != len)
            return 1;
        text[len] = '\0';
        if (emits ? emit(text, len, &out) < 0 : (load(text, len, &out), buf_failed(&out)))
            return 1;
        fwrite(buf_cstr(&out), 1, out.len, stdout);
        fflush(stdout);
    }
    return ferror(stdout) || ferror(stdin) ? 1 : 0;
}
