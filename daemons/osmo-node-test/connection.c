/* Mode connection: can this node reach what it needs to? Asks each of the URLs of a file; any answer that is no server error says that it
 * can. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"
#include "base/str.h"
#include "base/yaml.h"
#include "node_test.h"

#define FILE_MAX (1u << 20)
#define URLS_MAX 100u
#define DEFAULT_CONDITION "ServiceConnectionTestFailure"

struct connection {
    struct validator v;
    const char *file, *condition;
    json_t *urls;
    http_client_t *http;
    struct condition *conditions; /* one a name */
    size_t n;
};

static bool has_number(const json_t *list, int64_t n) {
    for (size_t i = 0; i < json_len(list); i++)
        if (json_as_int(json_at(list, i), -1) == n)
            return true;
    return false;
}

/* The statuses that are asked for again: 429 and 503, or those of the entry. */
static bool is_retriable(const json_t *url, int status) {
    const json_t *list = json_get(url, "retriable_status_codes");
    return list ? has_number(list, status) : status == 429 || status == 503;
}

/* 0 = reachable, 1 = not, perhaps later, 2 = not. *why is malloc'ed. */
static int ask_once(struct connection *c, const json_t *url, char **why) {
    const char *address = json_get_str(url, "url"), *method = json_get_str(url, "method");
    int64_t timeout = json_get_int(url, "timeout", 30), expected = json_get_int(url, "expected_status_code", 0);
    http_response_t rs = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    timeout = timeout < 1 ? 1 : timeout > 3600 ? 3600 : timeout;
    http_request_t rq = { .method = method ? method : "GET", .url = address, .timeout_ms = (long)timeout * 1000,
                          .max_response = 16u << 20 };
    int rc = http_perform(c->http, &rq, &rs, &err);
    int status = rs.status;
    http_response_free(&rs);
    if (rc < 0) {
        *why = str_dup(err.text);
        return 1;
    }
    bool good = expected ? status == expected : status < 500;
    *why = str_printf("HTTP %d", status);
    return good ? 0 : is_retriable(url, status) ? 1 : 2;
}

/* Each URL has its own attempts. */
static bool ask(struct connection *c, const json_t *url, char **why) {
    int64_t wait_s = c->v.base_wait_s;
    for (int64_t attempt = 0;; attempt++, wait_s = wait_s < 1800 ? wait_s * 2 : 3600) {
        free(*why);
        *why = NULL;
        int rc = ask_once(c, url, why);
        if (rc != 1 || attempt >= c->v.max_retries || !pause_ms(wait_s * 1000))
            return rc == 0;
        log_info(&node_test_log, "%s: %s, trying again", json_get_str(url, "url"), *why ? *why : "");
    }
}

static struct condition *condition_named(struct connection *c, const char *name) {
    _cleanup_free_ char *type = str_printf("%s%s", c->v.prefix, name);
    for (size_t i = 0; type && i < c->n; i++)
        if (strcmp(c->conditions[i].type, type) == 0)
            return &c->conditions[i];
    if (!type)
        return NULL;
    c->conditions[c->n] = (struct condition){ .type = STEAL(type) };
    condition_say(&c->conditions[c->n], false, "AllReachable", "all can be reached");
    return &c->conditions[c->n++];
}

static void check(struct connection *c) {
    for (size_t i = 0; i < json_len(c->urls); i++) {
        const json_t *url = json_at(c->urls, i);
        const char *name = json_get_str(url, "condition_name");
        _cleanup_free_ char *why = NULL;
        struct condition *condition = condition_named(c, name ? name : c->condition);
        bool good = ask(c, url, &why);
        log_info(&node_test_log, "%s: %s", json_get_str(url, "url"), good ? "reached" : why ? why : "not reached");
        if (condition && !good)
            condition_say(condition, true, "NotReachable", "%s cannot be reached: %s", json_get_str(url, "url"), why ? why : "");
    }
}

static int read_urls(struct connection *c, osmo_error_t *err) {
    static const yaml_limits_t limits = { .max_bytes = FILE_MAX, .max_depth = 20, .max_nodes = 10000 };
    _cleanup_buf_ buf_t text = BUF_INIT(FILE_MAX);
    _cleanup_yaml_ yaml_node_t *tree = NULL;
    _cleanup_json_ json_t *v = NULL;
    int rc = file_read(c->file, &text, err);
    if (rc == 0)
        rc = yaml_parse(buf_cstr(&text), text.len, &limits, &tree, err);
    if (rc == 0)
        rc = yaml_to_json(tree, &v, err);
    if (rc < 0)
        return rc;
    json_t *list = json_kind(v) == JSON_ARRAY ? v : json_get(v, "urls");
    if (json_kind(list) != JSON_ARRAY || json_len(list) == 0 || json_len(list) > URLS_MAX)
        return osmo_error_set(err, OSMO_EUSAGE, "%s must be a list of 1 to %u URLs", c->file, URLS_MAX);
    for (size_t i = 0; i < json_len(list); i++)
        if (!json_get_str(json_at(list, i), "url"))
            return osmo_error_set(err, OSMO_EUSAGE, "%s: entry %zu has no url", c->file, i + 1);
    c->urls = json_ref(list);
    c->conditions = calloc(json_len(list) + 1, sizeof *c->conditions);
    return c->conditions ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int prepare(struct connection *c) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!c->file) {
        fprintf(stderr, PROGRAM ": --config_file is needed: a list of URLs\n");
        return EXIT_BAD_USAGE;
    }
    int rc = read_urls(c, &err);
    if (rc == 0)
        rc = http_client_new(PROGRAM, &c->http, &err);
    if (rc == 0)
        return 0;
    fprintf(stderr, PROGRAM ": %s\n", err.text);
    return rc == OSMO_EUSAGE || rc == OSMO_ENOTFOUND ? EXIT_BAD_USAGE : EXIT_TROUBLE;
}

static void forget(struct connection *c) {
    for (size_t i = 0; i < c->n; i++) {
        free((char *)(uintptr_t)c->conditions[i].type);
        free(c->conditions[i].reason);
        free(c->conditions[i].message);
    }
    free(c->conditions);
    json_free(c->urls);
    http_client_free(c->http);
    osmo_kube_free(c->v.kube);
}

int run_connection(int argc, char **argv) {
    struct connection c = { .v = VALIDATOR_DEFAULTS, .condition = DEFAULT_CONDITION };
    const struct option_row options[] = {
        VALIDATOR_ROWS(c.v),
        { "config_file", "OSMO_CONNECTION_CONFIG_FILE", OPTION_TEXT, &c.file },
        { "condition_name", NULL, OPTION_TEXT, &c.condition },
    };
    int rc = options_parse(options, ARRAY_SIZE(options), argc, argv);
    if (rc == 0)
        rc = validator_begin(&c.v);
    if (rc == 0)
        rc = prepare(&c);
    if (rc == 0) {
        check(&c);
        rc = validator_write(&c.v, c.conditions, c.n);
    }
    forget(&c);
    return rc;
}
