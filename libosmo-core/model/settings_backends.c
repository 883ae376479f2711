/* The sections backends and backend_tests of the configuration: which keys exist, what they may be and where they go. A mistake that a
 * cluster would only tell later (a rule that is no pattern, a schedule that is none) is told here. Called by settings.c only. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/re.h"
#include "model/pods.h"
#include "model/settings_internal.h"
#include "model/spec.h"

#define RULES_MAX 256
#define TESTS_MAX 256
#define RULE_TEXT_MAX 1024
#define RULES_BYTES_MAX (256u << 10) /* of all: an operator takes no frame of 1 MiB */
#define CONDITION_MAX 316 /* a domain, a slash, a name */
#define TIMEOUT_LEAST_S 30
#define TIMEOUT_MOST_S (24 * 60 * 60)

void settings_backends_clear(struct settings *s)
{
    for (size_t i = 0; i < s->nbackends; i++) {
        struct backend_settings *b = &s->backends[i];
        char *own[] = { b->name, b->description, b->scheduler_name, b->router_address, b->node_rules_json, b->scheduler_type,
                        b->dashboard_url, b->grafana_url, b->document_json };
        for (size_t k = 0; k < ARRAY_SIZE(own); k++)
            free(own[k]);
        strlist_free(&b->tests);
    }
    for (size_t i = 0; i < s->ntests; i++) {
        struct backend_test *t = &s->tests[i];
        char *own[] = { t->name, t->description, t->cron_schedule, t->test_timeout, t->pod_template_json, t->document_json };
        for (size_t k = 0; k < ARRAY_SIZE(own); k++)
            free(own[k]);
        strlist_free(&t->node_conditions);
        strlist_free(&t->pod_templates);
    }
    free(s->backends);
    free(s->tests);
}

static void fill_text(struct reader *r, char **p, const char *fallback)
{
    if (!*p)
        *p = str_dup(fallback);
    r->oom |= !*p;
}

static char *document_of(struct reader *r, const yaml_node_t *n, const struct read_path *at)
{
    _cleanup_json_ json_t *v = NULL;
    osmo_error_t why = OSMO_ERROR_INIT;
    if (yaml_to_json(n, &v, &why) < 0) {
        read_report(r, at, n, "%s", why.text);
        return NULL;
    }
    char *text = json_to_text(v);
    r->oom |= !text;
    return text;
}

/* Each text once, in the order in which they come first. */
static void drop_repeated(strlist_t *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->len; i++) {
        bool there = false;
        for (size_t k = 0; k < kept && !there; k++)
            there = str_eq(list->items[k], list->items[i]);
        if (there)
            free(list->items[i]);
        else
            list->items[kept++] = list->items[i];
    }
    list->len = kept;
}

/* ---- rules for node conditions ---- */

static void check_pattern(struct reader *r, const yaml_node_t *n, const struct read_path *at, const char *what, const char *text,
                          re_t **out)
{
    osmo_error_t why = OSMO_ERROR_INIT;
    *out = NULL;
    if (strlen(text) > RULE_TEXT_MAX)
        read_report(r, at, n, "%s is longer than %d bytes", what, RULE_TEXT_MAX);
    else if (re_compile(text, out, &why) == OSMO_ENOMEM)
        r->oom = true;
    else if (!*out)
        read_report(r, at, n, "%s is no regular expression: %s", what, why.text);
}

/* An operator refuses its whole rules when one that covers Ready allows anything but True. */
static void check_rule(struct reader *r, const yaml_node_t *key, const yaml_node_t *value, const struct read_path *rules)
{
    _cleanup_free_ char *type = read_text_key(r, key, rules);
    struct read_path at = { rules, type, 0 };
    re_t *type_re = NULL, *status_re = NULL;
    if (!type)
        return;
    if (value->kind != YAML_STRING) {
        read_report(r, &at, value, "must be a pattern of statuses in quotes, such as \"True\" or \"True|Unknown\", not %s",
                    yaml_kind_name(value));
        return;
    }
    check_pattern(r, key, rules, "the condition type", type, &type_re);
    check_pattern(r, value, &at, "the status", value->text, &status_re);
    if (type_re && status_re && re_match_start(type_re, "Ready", strlen("Ready")) && strcmp(value->text, "True") != 0)
        read_report(r, &at, value, "covers the condition Ready, for which only exactly \"True\" may be allowed, not \"%.100s\"",
                    value->text);
    re_free(type_re);
    re_free(status_re);
}

static void read_rules(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct backend_settings *b = object;
    if (n->kind != YAML_MAP) {
        read_report(r, at, n, "must be a mapping of condition types to statuses, not %s", yaml_kind_name(n));
        return;
    }
    if (n->len > RULES_MAX)
        read_report(r, at, n, "has %zu rules; %d is the most", n->len, RULES_MAX);
    for (size_t i = 0; i < n->len && i < RULES_MAX; i++)
        check_rule(r, n->keys[i], n->values[i], at);
    free(b->node_rules_json);
    b->node_rules_json = document_of(r, n, at);
    if (b->node_rules_json && strlen(b->node_rules_json) > RULES_BYTES_MAX)
        read_report(r, at, n, "has %zu bytes; %u is the most", strlen(b->node_rules_json), RULES_BYTES_MAX);
}

static const struct read_field condition_fields[] = {
    { "rules", READ_CUSTOM, READ_NULLABLE, 0, read_rules },
    { "prefix", READ_IGNORE, 0, 0, NULL }, /* what the operator says */
};
static const struct read_table condition_table = READ_TABLE(condition_fields, true);

static void read_conditions(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &condition_table, object);
}

/* ---- backends ---- */

#define AT(member) offsetof(struct backend_settings, member)
static const struct read_field scheduler_fields[] = {
    { "scheduler_type", READ_TEXT, 0, AT(scheduler_type), NULL },
    { "scheduler_name", READ_TEXT, 0, AT(scheduler_name), NULL },
    { "scheduler_timeout", READ_INT, 0, AT(scheduler_timeout), NULL },
};
static const struct read_table scheduler_table = READ_TABLE(scheduler_fields, true);

static void read_scheduler(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &scheduler_table, object);
}

static void read_own_offline(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    settings_read_offline(r, n, at, &((struct backend_settings *)object)->offline);
}

static void read_own_job_timeout(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    settings_read_job_timeout(r, n, at, &((struct backend_settings *)object)->job_timeout_us);
}

static const struct read_field backend_fields[] = {
    { "description", READ_TEXT, 0, AT(description), NULL },
    { "dashboard_url", READ_TEXT, READ_NULLABLE, AT(dashboard_url), NULL },
    { "grafana_url", READ_TEXT, READ_NULLABLE, AT(grafana_url), NULL },
    { "tests", READ_TEXTS, READ_NULLABLE, AT(tests), NULL },
    { "scheduler_settings", READ_CUSTOM, READ_NULLABLE, 0, read_scheduler },
    { "node_conditions", READ_CUSTOM, READ_NULLABLE, 0, read_conditions },
    { "router_address", READ_TEXT, READ_NULLABLE, AT(router_address), NULL },
    { "offline", READ_CUSTOM, READ_NULLABLE, 0, read_own_offline },
    { "job_timeout", READ_CUSTOM, READ_NULLABLE, 0, read_own_job_timeout },
};
static const struct read_table backend_table = READ_TABLE(backend_fields, true);
#undef AT

static void check_tests(struct reader *r, const yaml_node_t *n, const struct read_path *at, const struct settings *s,
                        const strlist_t *tests)
{
    const yaml_node_t *list = n->kind == YAML_MAP ? yaml_get(n, "tests") : NULL;
    struct read_path member = { at, "tests", 0 };
    for (size_t i = 0; i < tests->len; i++) {
        bool twice = false;
        for (size_t k = 0; k < i && !twice; k++)
            twice = str_eq(tests->items[k], tests->items[i]);
        if (twice)
            read_report(r, &member, list ? list : n, "names '%.80s' twice", tests->items[i]);
        else if (!settings_test(s, tests->items[i]))
            read_report(r, &member, list ? list : n, "refers to '%.80s', which is no backend test", tests->items[i]);
    }
}

void settings_read_backends(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct settings *s)
{
    if (n->kind != YAML_MAP) {
        read_report(r, at, n, "must be a mapping, not %s", yaml_kind_name(n));
        return;
    }
    s->backends = n->len ? calloc(n->len, sizeof(*s->backends)) : NULL;
    r->oom |= n->len && !s->backends;
    for (size_t i = 0; i < n->len && s->backends; i++) {
        char *name = read_key(r, n->keys[i], at);
        if (!name)
            continue;
        struct backend_settings *b = &s->backends[s->nbackends++];
        struct read_path member = { at, name, 0 };
        b->name = name;
        b->scheduler_timeout = 30;
        read_mapping(r, n->values[i], &member, &backend_table, b);
        check_tests(r, n->values[i], &member, s, &b->tests);
        b->document_json = document_of(r, n->values[i], &member);
        fill_text(r, &b->description, "");
        fill_text(r, &b->dashboard_url, "");
        fill_text(r, &b->grafana_url, "");
        fill_text(r, &b->scheduler_type, "kai");
        fill_text(r, &b->scheduler_name, "kai-scheduler");
        fill_text(r, &b->router_address, "");
        fill_text(r, &b->node_rules_json, "{\"Ready\":\"True\"}");
    }
}

/* ---- tests ---- */

#define AT(member) offsetof(struct backend_test, member)
static const struct read_field test_fields[] = {
    { "name", READ_IGNORE, 0, 0, NULL },
    { "description", READ_TEXT, READ_REQUIRED, AT(description), NULL },
    { "cron_schedule", READ_TEXT, READ_REQUIRED, AT(cron_schedule), NULL },
    { "test_timeout", READ_TEXT, READ_NULLABLE, AT(test_timeout), NULL },
    { "node_conditions", READ_TEXTS, READ_REQUIRED, AT(node_conditions), NULL },
    { "common_pod_template", READ_TEXTS, READ_REQUIRED, AT(pod_templates), NULL },
    { "parsed_pod_template", READ_IGNORE, 0, 0, NULL }, /* what follows from the one above */
};
static const struct read_table test_table = READ_TABLE(test_fields, true);
#undef AT

/* RFC 1123: the name becomes that of objects in the cluster. */
static bool subdomain_valid(const char *name)
{
    size_t n = strlen(name);
    bool edge = true; /* here a letter or digit must stand */
    if (!n || n > 253)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool letter = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9');
        if (!letter && (edge || (name[i] != '-' && name[i] != '.')))
            return false;
        if (name[i] == '.' && !isalnum((unsigned char)name[i - 1]))
            return false;
        edge = i == 0 ? false : name[i] == '.';
    }
    return isalnum((unsigned char)name[n - 1]);
}

/* One field of a schedule: the characters that schedules have, and every number in its range. */
static bool cron_field_valid(const char *p, size_t n, int least, int most)
{
    for (size_t i = 0; i < n;) {
        if (!isdigit((unsigned char)p[i])) {
            if (!strchr("*-,/?LW#", p[i]))
                return false;
            i++;
            continue;
        }
        bool step = i > 0 && p[i - 1] == '/';
        int number = 0;
        for (; i < n && isdigit((unsigned char)p[i]); i++)
            number = number > 1000 ? number : number * 10 + (p[i] - '0');
        if (step ? number < 1 || number > most : number < least || number > most)
            return false;
    }
    return n > 0;
}

static void check_schedule(struct reader *r, const yaml_node_t *n, const struct read_path *at, const char *text)
{
    static const struct { const char *what; int least, most; } fields[] = {
        { "minute", 0, 59 }, { "hour", 0, 23 }, { "day of month", 1, 31 }, { "month", 1, 12 }, { "day of week", 0, 7 },
    };
    struct read_path member = { at, "cron_schedule", 0 };
    size_t count = 0;
    for (const char *p = text + strspn(text, " \t"); *p; count++) {
        size_t len = strcspn(p, " \t");
        if (count < ARRAY_SIZE(fields) && !cron_field_valid(p, len, fields[count].least, fields[count].most)) {
            read_report(r, &member, n, "'%.100s': the %s '%.*s' must be of numbers from %d to %d, '*', '-', ',' and '/'", text,
                        fields[count].what, (int)(len > 40 ? 40 : len), p, fields[count].least, fields[count].most);
            return;
        }
        p += len;
        p += strspn(p, " \t");
    }
    if (count != ARRAY_SIZE(fields))
        read_report(r, &member, n, "'%.100s' must have five fields (minute, hour, day of month, month, day of week), it has %zu", text,
                    count);
}

static void check_timeout(struct reader *r, const yaml_node_t *n, const struct read_path *at, const char *text)
{
    struct read_path member = { at, "test_timeout", 0 };
    int64_t seconds = duration_seconds(text);
    if (seconds < 0)
        read_report(r, &member, n, "'%.60s' is no duration: say 90s, 5m, 1h30m", text);
    else if (seconds < TIMEOUT_LEAST_S || seconds > TIMEOUT_MOST_S)
        read_report(r, &member, n, "'%.60s' must be at least 30s and at most 24h", text);
}

static void check_condition(struct reader *r, const yaml_node_t *n, const struct read_path *at, const char *text)
{
    const char *slash = strchr(text, '/');
    bool shape = *text && *text != '/' && text[strlen(text) - 1] != '/' && (!slash || !strchr(slash + 1, '/'));
    if (strlen(text) > CONDITION_MAX)
        read_report(r, at, n, "'%.40s…' is longer than %d characters", text, CONDITION_MAX);
    else if (!shape)
        read_report(r, at, n, "'%.80s' is no node condition: a name, with a domain and one '/' before it where it has one", text);
}

static void check_test(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct backend_test *t,
                       const struct settings_parts *parts)
{
    struct read_path conditions = { at, "node_conditions", 0 }, templates = { at, "common_pod_template", 0 };
    const yaml_node_t *name = yaml_get(n, "name");
    _cleanup_json_ json_t *template = json_object();
    if (!subdomain_valid(t->name))
        read_report(r, at, n, "'%.100s' is no name for a test: lower-case letters, digits, '-' and '.', a letter or digit at both ends",
                    t->name);
    if (name && name->kind != YAML_NULL && (name->kind != YAML_STRING || strcmp(name->text, t->name) != 0))
        read_report(r, at, name, "has another name in it than that by which it is stored");
    if (t->cron_schedule)
        check_schedule(r, yaml_get(n, "cron_schedule"), at, t->cron_schedule);
    if (t->test_timeout)
        check_timeout(r, yaml_get(n, "test_timeout"), at, t->test_timeout);
    drop_repeated(&t->node_conditions);
    if (yaml_get(n, "node_conditions") && !t->node_conditions.len)
        read_report(r, &conditions, yaml_get(n, "node_conditions"), "must name at least one node condition");
    for (size_t i = 0; i < t->node_conditions.len; i++)
        check_condition(r, yaml_get(n, "node_conditions"), &conditions, t->node_conditions.items[i]);
    if (yaml_get(n, "common_pod_template") && !t->pod_templates.len)
        read_report(r, &templates, yaml_get(n, "common_pod_template"), "must name at least one pod template");
    if (template)
        settings_merge_templates(r, n, at, template, "common_pod_template", &t->pod_templates, parts->pod_templates);
    t->pod_template_json = template ? json_to_text(template) : NULL;
    r->oom |= !t->pod_template_json;
}

void settings_read_tests(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct settings *s,
                         const struct settings_parts *parts)
{
    if (n->kind != YAML_MAP) {
        read_report(r, at, n, "must be a mapping, not %s", yaml_kind_name(n));
        return;
    }
    if (n->len > TESTS_MAX) {
        read_report(r, at, n, "has %zu tests; %d is the most", n->len, TESTS_MAX);
        return;
    }
    s->tests = n->len ? calloc(n->len, sizeof(*s->tests)) : NULL;
    r->oom |= n->len && !s->tests;
    for (size_t i = 0; i < n->len && s->tests; i++) {
        char *name = read_key(r, n->keys[i], at);
        if (!name)
            continue;
        struct backend_test *t = &s->tests[s->ntests++];
        struct read_path member = { at, name, 0 };
        t->name = name;
        read_mapping(r, n->values[i], &member, &test_table, t);
        if (n->values[i]->kind == YAML_MAP)
            check_test(r, n->values[i], &member, t, parts);
        t->document_json = document_of(r, n->values[i], &member);
        fill_text(r, &t->description, "");
        fill_text(r, &t->cron_schedule, "");
        fill_text(r, &t->test_timeout, "300s");
    }
}
