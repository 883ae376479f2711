/* Resource entries, and the small grammars of names, images and storage addresses. Called by the other files of the
 * specification. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/spec_internal.h"

#define AT(type, member) offsetof(type, member)
#define TOPOLOGY_MAX 32

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool spec_name_valid(const char *name)
{
    size_t len = strlen(name);
    if (!is_letter(name[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_letter(name[i]) && !is_digit(name[i]) && name[i] != '-' && name[i] != '_')
            return false;
    return is_letter(name[len - 1]) || is_digit(name[len - 1]);
}

bool spec_url_valid(const char *url)
{
    static const struct { const char *scheme; int least; } kinds[] = {
        { "s3://", 1 }, { "gs://", 1 }, { "azure://", 2 }, { "tos://", 2 }, { "swift://", 3 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!str_starts(url, kinds[i].scheme))
            continue;
        const char *p = url + strlen(kinds[i].scheme);
        int parts = 0;
        while (*p && *p != '/') {
            size_t len = strcspn(p, "/,;*");
            if (len == 0 || (p[len] && p[len] != '/'))
                return false;
            parts++;
            p += len;
            if (*p == '/' && p[1] && p[1] != '/')
                p++;
        }
        return parts >= kinds[i].least && p[strspn(p, "/")] == '\0';
    }
    return false;
}

/* [0-9a-z]([0-9a-z_.-]*[0-9a-z])? */
static bool image_component_valid(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool plain = is_digit(p[i]) || (p[i] >= 'a' && p[i] <= 'z');
        if (!plain && (i == 0 || i + 1 == len || !strchr("_.-", p[i])))
            return false;
    }
    return len > 0;
}

/* The registry before the first '/': localhost, dotted, or with a port. */
static size_t image_host_len(const char *image)
{
    size_t len = strcspn(image, "/"), name = 0;
    if (!image[len])
        return 0;
    while (name < len && (is_letter(image[name]) || is_digit(image[name]) || image[name] == '.' || image[name] == '-'))
        name++;
    bool port = name > 0 && image[name] == ':' && name + 1 < len && strspn(image + name + 1,
        "0123456789") == len - name - 1;
    if (port)
        return len;
    if (name == len && (memchr(image, '.', len) || (len == 9 && strncmp(image, "localhost", 9) == 0)))
        return len;
    return 0;
}

static bool image_digest_valid(const char *p)
{
    size_t algorithm = 0;
    while (isalnum((unsigned char)p[algorithm]) || (p[algorithm] && strchr("_+.-", p[algorithm])))
        algorithm++;
    if (algorithm == 0 || p[algorithm] != ':')
        return false;
    const char *hex = p + algorithm + 1;
    return *hex && hex[strspn(hex, "0123456789abcdefABCDEF")] == '\0';
}

bool spec_image_valid(const char *image)
{
    size_t host = image_host_len(image);
    const char *p = host ? image + host + 1 : image;

    for (;; p++) {
        size_t len = strcspn(p, "/:@");
        if (!image_component_valid(p, len))
            return false;
        p += len;
        if (*p != '/')
            break;
    }
    if (*p == ':') {
        size_t len = strcspn(++p, "@");
        for (size_t i = 0; i < len; i++)
            if (!is_letter(p[i]) && !is_digit(p[i]) && p[i] != '_' && (i == 0 || (p[i] != '.' && p[i] != '-')))
                return false;
        if (len == 0)
            return false;
        p += len;
    }
    return *p == '\0' || (*p == '@' && image_digest_valid(p + 1));
}

/* ---- resources ---- */

void spec_resource_clear(struct spec_resource *x)
{
    free(x->name);
    free(x->memory);
    free(x->storage);
    free(x->platform);
    strlist_free(&x->nodes_excluded);
    for (size_t i = 0; i < x->ntopology; i++) {
        free(x->topology[i].key);
        free(x->topology[i].group);
    }
    free(x->topology);
    *x = (struct spec_resource){ 0 };
}

/* Nothing could run with it: upstream fails on it with an error of its own while it compares sizes. */
static void read_cpu(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_resource *x = object;
    x->has_cpu = read_int(r, n, at, &x->cpu);
    if (x->has_cpu && x->cpu < 0)
        read_report(r, at, n, "must not be negative, it is %lld", (long long)x->cpu);
}

static void read_gpu(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_resource *x = object;
    x->has_gpu = read_int(r, n, at, &x->gpu);
}

/* A quantity without a unit is bytes and is rewritten to Ki, as it will stand in the pod. */
static void read_quantity(struct reader *r, const yaml_node_t *n, const struct read_path *at, char **out)
{
    _cleanup_free_ char *text = NULL;
    double bytes;
    char number[32];

    if (!read_text(r, n, at, true, &text))
        return;
    if (!quantity_bytes(text, &bytes)) {
        read_report_code(r, OSMO_ERESOURCE, at, n, "'%.60s' is no size: write a number and one of B, Ki, Mi, Gi, "
                         "Ti (8Gi)", text);
        return;
    }
    free(*out);
    if (!is_digit(text[strlen(text) - 1]))
        *out = STEAL(text);
    else if (strchr(double_repr(bytes / 1024, number), 'e')) /* sizes have no exponent */
        *out = str_printf("%.20fKi", bytes / 1024);
    else
        *out = str_printf("%sKi", number);
    r->oom |= !*out;
}

static void read_memory(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_quantity(r, n, at, &((struct spec_resource *)object)->memory);
}

static void read_storage(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_quantity(r, n, at, &((struct spec_resource *)object)->storage);
}

static void read_requirement(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_topology *t = object;
    _cleanup_free_ char *text = NULL;
    if (!read_text(r, n, at, false, &text))
        return;
    t->preferred = strcmp(text, "preferred") == 0;
    if (!t->preferred && strcmp(text, "required") != 0)
        read_report(r, at, n, "must be 'required' or 'preferred'");
}

static const struct read_field topology_fields[] = {
    { "key", READ_TEXT, READ_REQUIRED, AT(struct spec_topology, key), NULL },
    { "group", READ_TEXT, 0, AT(struct spec_topology, group), NULL },
    { "requirementType", READ_CUSTOM, 0, 0, read_requirement },
};
static const struct read_table topology_table = READ_TABLE(topology_fields, false);

static void read_topology_item(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_topology *t = object;
    read_mapping(r, n, at, &topology_table, t);
    if (!t->group)
        t->group = str_dup("default");
    r->oom |= !t->group;
}

static void read_topology(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_resource *x = object;
    if (n->kind == YAML_LIST && n->len > TOPOLOGY_MAX) {
        read_report(r, at, n, "has %zu items, at most %d are allowed", (size_t)n->len, TOPOLOGY_MAX);
        return;
    }
    x->topology = read_list(r, n, at, sizeof(*x->topology), &x->ntopology, read_topology_item);
}

static const struct read_field resource_fields[] = {
    { "cpu", READ_CUSTOM, READ_NULLABLE, 0, read_cpu },
    { "gpu", READ_CUSTOM, READ_NULLABLE, 0, read_gpu },
    { "memory", READ_CUSTOM, READ_NULLABLE, 0, read_memory },
    { "storage", READ_CUSTOM, READ_NULLABLE, 0, read_storage },
    { "platform", READ_TEXT_LAX, READ_NULLABLE, AT(struct spec_resource, platform), NULL },
    { "nodesExcluded", READ_TEXTS, 0, AT(struct spec_resource, nodes_excluded), NULL },
    { "topology", READ_CUSTOM, 0, 0, read_topology },
};
static const struct read_table resource_table = READ_TABLE(resource_fields, false);

void spec_read_resource(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct spec_resource *x = object;
    x->line = n->line;
    x->column = n->column;
    read_mapping(r, n, at, &resource_table, x);
}

void spec_read_resources(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct spec *s)
{
    if (n->kind != YAML_MAP) {
        read_report(r, at, n, "must be a mapping, not %s", yaml_kind_name(n));
        return;
    }
    s->resources = n->len ? calloc(n->len, sizeof(*s->resources)) : NULL;
    if (n->len && !s->resources) {
        r->oom = true;
        return;
    }
    for (size_t i = 0; i < n->len; i++) {
        char *name = read_text_key(r, n->keys[i], at);
        if (!name)
            continue;
        struct spec_resource *x = &s->resources[s->nresources++];
        struct read_path member = { at, name, 0 };
        x->name = name;
        spec_read_resource(r, n->values[i], &member, x);
    }
}
