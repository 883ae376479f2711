/* labels_config of the workflow section: the prefix of labels on pods, and the policies a workflow's labels must
 * follow. Called by settings_sections.c and settings.c. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/settings_internal.h"
#include "model/spec_internal.h"

#define POLICIES_MAX 16
#define MESSAGE_MAX 256
#define PREFIX_MAX 253

static void policy_clear(struct label_policy *p)
{
    free(p->key);
    free(p->message);
    strlist_free(&p->allowed);
}

void settings_labels_clear(struct settings *s)
{
    for (size_t i = 0; i < s->nlabel_policies; i++)
        policy_clear(&s->label_policies[i]);
    free(s->label_policies);
    s->label_policies = NULL;
    s->nlabel_policies = 0;
}

static void read_enforcement(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    static const struct { const char *word; enum label_enforcement value; } words[] = {
        { "off", LABEL_OFF }, { "warn", LABEL_WARN }, { "enforce", LABEL_ENFORCE },
    };
    struct label_policy *p = object;

    if (n->kind == YAML_BOOL && !n->boolean) { /* off without quotes */
        p->enforcement = LABEL_OFF;
        return;
    }
    for (size_t i = 0; n->kind == YAML_STRING && i < ARRAY_SIZE(words); i++) {
        if (strcmp(n->text, words[i].word) != 0)
            continue;
        p->enforcement = words[i].value;
        return;
    }
    read_report(r, at, n, "must be off, warn or enforce");
}

static void read_message(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct label_policy *p = object;
    if (!read_text(r, n, at, false, &p->message))
        return;
    char *begin = p->message + strspn(p->message, " \t\r\n"), *end = begin + strlen(begin);
    while (end > begin && strchr(" \t\r\n", end[-1]))
        end--;
    size_t len = (size_t)(end - begin);
    memmove(p->message, begin, len);
    p->message[len] = '\0';
    if (strpbrk(p->message, "\r\n"))
        read_report(r, at, n, "must be a single line");
    if (len > MESSAGE_MAX)
        read_report(r, at, n, "has %zu bytes, at most %d are allowed", len, MESSAGE_MAX);
}

static const struct read_field policy_fields[] = {
    { "key", READ_TEXT, READ_REQUIRED, offsetof(struct label_policy, key), NULL },
    { "allow_list", READ_TEXTS, 0, offsetof(struct label_policy, allowed), NULL },
    { "enforcement", READ_CUSTOM, 0, 0, read_enforcement },
    { "assert_message", READ_CUSTOM, 0, 0, read_message },
};
static const struct read_table policy_table = READ_TABLE(policy_fields, false);

static void read_policy(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct label_policy *p = object;
    struct read_path key = { at, "key", 0 }, list = { at, "allow_list", 0 };

    read_mapping(r, n, at, &policy_table, p);
    if (p->key && !spec_label_key_valid(p->key))
        read_report(r, &key, spec_member(n, "key"), "'%.300s' is no valid label key", p->key);
    for (size_t i = 0; i < p->allowed.len; i++)
        if (!spec_label_value_valid(p->allowed.items[i])) {
            struct read_path item = { &list, NULL, i };
            read_report(r, &item, spec_member(n, "allow_list"), "'%.100s' is no valid label value",
                        p->allowed.items[i]);
        }
}

static void read_policies(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct settings *s = object;

    settings_labels_clear(s);
    if (n->kind == YAML_LIST && n->len > POLICIES_MAX) {
        read_report(r, at, n, "has %zu policies, at most %d are allowed", (size_t)n->len, POLICIES_MAX);
        return;
    }
    s->label_policies = read_list(r, n, at, sizeof(*s->label_policies), &s->nlabel_policies, read_policy);
    for (size_t i = 0; i < s->nlabel_policies; i++)
        for (size_t k = 0; k < i; k++) {
            struct read_path item = { at, NULL, i }, key = { &item, "key", 0 };
            if (s->label_policies[i].key && str_eq(s->label_policies[i].key, s->label_policies[k].key))
                read_report(r, &key, n->values[i], "label '%.300s' has two policies", s->label_policies[i].key);
        }
}

static void read_prefix(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct settings *s = object;
    if (!read_text(r, n, at, false, &s->pod_label_prefix))
        return;
    if (strlen(s->pod_label_prefix) > PREFIX_MAX)
        read_report(r, at, n, "has %zu bytes, at most %d are allowed", strlen(s->pod_label_prefix), PREFIX_MAX);
    for (const char *p = s->pod_label_prefix; *p; p++)
        if (isspace((unsigned char)*p)) {
            read_report(r, at, n, "must not contain blanks");
            break;
        }
}

static const struct read_field label_fields[] = {
    { "policy", READ_CUSTOM, READ_NULLABLE, 0, read_policies },
    { "pod_label_prefix", READ_CUSTOM, 0, 0, read_prefix },
};
static const struct read_table label_table = READ_TABLE(label_fields, false);

void settings_read_labels(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &label_table, object);
}
