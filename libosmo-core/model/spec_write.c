/* Specifications as text without a tree in between: the stored group as compact JSON, the normalised document as
 * sorted YAML. The same contents as model/spec_json.c makes, for a fraction of its time and memory; large workflows
 * are stored through here. Pure. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/map.h"
#include "model/spec_internal.h"

/* Appending is all that happens here, so it is inlined where there is room. */
static inline void put(buf_t *o, const char *s, size_t n)
{
    if (o->code || o->cap - o->len <= n) {
        buf_append(o, s, n);
        return;
    }
    memcpy(o->data + o->len, s, n);
    o->len += n;
    o->data[o->len] = '\0';
}

static inline void put_char(buf_t *o, char c)
{
    put(o, &c, 1);
}

/* ---- JSON ---- */

/* Characters that stand in a string as they are. */
static size_t json_plain(const char *s)
{
    size_t n = 0;
    while ((unsigned char)s[n] >= 0x20 && s[n] != '"' && s[n] != '\\')
        n++;
    return n;
}

static void json_text(buf_t *o, const char *s)
{
    put_char(o, '"');
    for (;;) {
        size_t n = json_plain(s);
        put(o, s, n);
        s += n;
        if (!*s)
            break;
        if (*s == '"' || *s == '\\') {
            const char pair[2] = { '\\', *s };
            put(o, pair, 2);
        } else if (*s == '\n' || *s == '\t') {
            put(o, *s == '\n' ? "\\n" : "\\t", 2);
        } else {
            buf_printf(o, "\\u%04x", (unsigned)*s);
        }
        s++;
    }
    put_char(o, '"');
}

/* Comma between members: written before every one but the first of its object or list. */
static void next(buf_t *o)
{
    char last = o->len ? o->data[o->len - 1] : '\0';
    if (last != '{' && last != '[' && last != '\0')
        put_char(o, ',');
}

/* Also keys of free maps, so it is escaped. */
static void json_key(buf_t *o, const char *key)
{
    next(o);
    json_text(o, key);
    put_char(o, ':');
}

static void json_member(buf_t *o, const char *key, const char *value)
{
    if (!value)
        return;
    json_key(o, key);
    json_text(o, value);
}

static void json_bool(buf_t *o, const char *key, bool value)
{
    json_key(o, key);
    put(o, value ? "true" : "false", value ? 4 : 5);
}

static void json_true(buf_t *o, const char *key, bool value)
{
    if (!value)
        return;
    json_key(o, key);
    put(o, "true", 4);
}

static void json_texts(buf_t *o, const char *key, const strlist_t *list)
{
    if (list->len == 0)
        return;
    json_key(o, key);
    put_char(o, '[');
    for (size_t i = 0; i < list->len; i++) {
        next(o);
        json_text(o, list->items[i]);
    }
    put_char(o, ']');
}

/* Begins a list under key (n > 0) or the next object in it. */
static bool json_begin(buf_t *o, const char *key, size_t n)
{
    if (n == 0)
        return false;
    json_key(o, key);
    put_char(o, '[');
    return true;
}

static void json_item(buf_t *o)
{
    next(o);
    put_char(o, '{');
}

static const char *some(const char *text)
{
    return text && *text ? text : NULL;
}

static void json_flows(buf_t *o, const struct spec_task *t)
{
    if (json_begin(o, "inputs", t->ninputs)) {
        for (size_t i = 0; i < t->ninputs; i++) {
            const struct spec_input *in = &t->inputs[i];
            json_item(o);
            if (in->task) {
                json_key(o, "task");
                if (in->workflow)
                    buf_printf(o, "\"%s:%s\"", in->workflow, in->task); /* names need no escaping */
                else
                    json_text(o, in->task);
            }
            json_member(o, "url", in->url);
            json_member(o, "regex", some(in->regex));
            put_char(o, '}');
        }
        put_char(o, ']');
    }
    if (json_begin(o, "outputs", t->noutputs)) {
        for (size_t i = 0; i < t->noutputs; i++) {
            json_item(o);
            json_member(o, "url", t->outputs[i].url);
            json_member(o, "regex", some(t->outputs[i].regex));
            put_char(o, '}');
        }
        put_char(o, ']');
    }
    if (json_begin(o, "kpis", t->nkpis)) {
        for (size_t i = 0; i < t->nkpis; i++) {
            json_item(o);
            json_member(o, "index", t->kpis[i].index);
            json_member(o, "path", t->kpis[i].path);
            put_char(o, '}');
        }
        put_char(o, ']');
    }
}

static void json_files(buf_t *o, const struct spec_task *t)
{
    char text[32];
    if (json_begin(o, "files", t->nfiles)) {
        for (size_t i = 0; i < t->nfiles; i++) {
            json_item(o);
            json_member(o, "path", t->files[i].path);
            json_member(o, "contents", t->files[i].contents);
            json_true(o, "base64", t->files[i].base64);
            put_char(o, '}');
        }
        put_char(o, ']');
    }
    if (json_begin(o, "checkpoint", t->ncheckpoints)) {
        for (size_t i = 0; i < t->ncheckpoints; i++) {
            const struct spec_checkpoint *c = &t->checkpoints[i];
            json_item(o);
            json_member(o, "path", c->path);
            json_member(o, "url", c->url);
            json_member(o, "frequency", duration_text(c->frequency_us, text));
            json_member(o, "regex", some(c->regex));
            put_char(o, '}');
        }
        put_char(o, ']');
    }
}

static void json_maps(buf_t *o, const struct spec_task *t)
{
    if (t->nenv > 0) {
        json_key(o, "environment");
        put_char(o, '{');
        for (size_t i = 0; i < t->nenv; i++)
            json_member(o, t->env[i].name, t->env[i].value);
        put_char(o, '}');
    }
    if (t->nexit_actions > 0) {
        json_key(o, "exitActions");
        put_char(o, '{');
        for (size_t i = 0; i < t->nexit_actions; i++)
            json_member(o, t->exit_actions[i].action, t->exit_actions[i].codes);
        put_char(o, '}');
    }
    if (json_len(t->credentials) > 0) {
        json_key(o, "credentials");
        json_print(t->credentials, 0, o);
    }
}

static void json_task(buf_t *o, const struct spec_task *t)
{
    json_item(o);
    json_member(o, "name", t->name);
    json_member(o, "image", t->image);
    json_texts(o, "command", &t->command);
    json_texts(o, "args", &t->args);
    json_maps(o, t);
    json_files(o, t);
    json_flows(o, t);
    if (t->resource && strcmp(t->resource, "default") != 0)
        json_member(o, "resource", t->resource);
    json_true(o, "lead", t->lead);
    json_texts(o, "volumeMounts", &t->volume_mounts);
    json_true(o, "privileged", t->privileged);
    json_true(o, "hostNetwork", t->host_network);
    json_member(o, "downloadType", t->download_type);
    json_member(o, "cacheSize", t->cache_size);
    put_char(o, '}');
}

static void json_resource(buf_t *o, const struct spec_resource *x)
{
    json_key(o, x->name);
    put_char(o, '{');
    if (x->has_cpu) {
        json_key(o, "cpu");
        buf_printf(o, "%lld", (long long)x->cpu);
    }
    if (x->has_gpu) {
        json_key(o, "gpu");
        buf_printf(o, "%lld", (long long)x->gpu);
    }
    json_member(o, "memory", x->memory);
    json_member(o, "storage", x->storage);
    json_member(o, "platform", x->platform);
    json_texts(o, "nodesExcluded", &x->nodes_excluded);
    if (json_begin(o, "topology", x->ntopology)) {
        for (size_t i = 0; i < x->ntopology; i++) {
            json_item(o);
            json_member(o, "key", x->topology[i].key);
            if (strcmp(x->topology[i].group, "default") != 0)
                json_member(o, "group", x->topology[i].group);
            if (x->topology[i].preferred)
                json_member(o, "requirementType", "preferred");
            put_char(o, '}');
        }
        put_char(o, ']');
    }
    put_char(o, '}');
}

/* The entries that the tasks of the group use, each once. */
static int json_resources(buf_t *o, const struct spec *s, const struct spec_group *g)
{
    map_t *seen = g->ntasks > 1 ? map_new(NULL) : NULL;
    int rc = g->ntasks > 1 && !seen ? OSMO_ENOMEM : 0;

    json_key(o, "resources");
    put_char(o, '{');
    for (size_t i = 0; i < g->ntasks && rc == 0; i++) {
        const struct spec_resource *x = spec_find_resource(s, g->tasks[i].resource);
        if (!x || (seen && map_has(seen, x->name)))
            continue;
        if (seen)
            rc = map_set(seen, x->name, NULL);
        json_resource(o, x);
    }
    put_char(o, '}');
    map_free(seen);
    return rc;
}

int spec_group_write(const struct spec *s, size_t group, buf_t *out)
{
    const struct spec_group *g = &s->groups[group];
    put(out, "{\"name\":", 8);
    json_text(out, g->name);
    json_bool(out, "barrier", g->barrier);
    json_bool(out, "ignoreNonleadStatus", g->ignore_nonlead_status);
    json_key(out, "tasks");
    put_char(out, '[');
    for (size_t i = 0; i < g->ntasks; i++)
        json_task(out, &g->tasks[i]);
    put_char(out, ']');
    int rc = json_resources(out, s, g);
    json_bool(out, "hasDownstream", g->has_downstream);
    put_char(out, '}');
    return rc < 0 ? rc : out->code;
}

/* ---- YAML ---- */

/* indent: of keys; first: the next key stands behind a "- " already. */
struct yaml { buf_t *o; int indent; bool first; };

static void spaces(buf_t *o, int n)
{
    static const char blanks[] = "                                ";
    put(o, blanks, (size_t)n);
}

/* Text that needs no quotes, by a narrow rule: a letter or '/', then what paths, images and names are made of; and no
 * word of YAML's own, which are all short. */
static bool is_plain(const char *s, size_t len)
{
    if (!((s[0] | 0x20) >= 'a' && (s[0] | 0x20) <= 'z') && s[0] != '/')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        bool common = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_./", c);
        if (!common && !(c == ' ' && i + 1 < len) && !(c == ':' && i + 1 < len && s[i + 1] != ' '))
            return false;
    }
    if (len > 5)
        return true;
    yaml_node_t n = { .kind = YAML_STRING };
    yaml_resolve(&n, s, len);
    return n.kind == YAML_STRING;
}

/* Length of a character at s that YAML text cannot hold as it is, with its code; 0: it can. */
static size_t special(const char *s, unsigned *code)
{
    const unsigned char *p = (const unsigned char *)s;
    *code = p[0];
    if (p[0] < 0x20 || p[0] == 0x7F)
        return 1;
    if (p[0] == 0xC2 && p[1] < 0xA0) {
        *code = p[1];
        return 2;
    }
    *code = 0;
    if (p[0] == 0xE2 && p[1] == 0x80 && (p[2] == 0xA8 || p[2] == 0xA9))
        *code = p[2] == 0xA8 ? 0x2028 : 0x2029;
    else if (p[0] == 0xEF && p[1] == 0xBB && p[2] == 0xBF)
        *code = 0xFEFF;
    else if (p[0] == 0xEF && p[1] == 0xBF && p[2] >= 0xBE)
        *code = p[2] == 0xBE ? 0xFFFE : 0xFFFF;
    return *code ? 3 : 0;
}

static void quoted(buf_t *o, const char *s)
{
    put_char(o, '"');
    while (*s) {
        size_t n = 0, len = 0;
        unsigned code = 0;
        while (s[n] && s[n] != '"' && s[n] != '\\' && (len = special(s + n, &code)) == 0)
            n++;
        put(o, s, n);
        s += n;
        if (*s == '"' || *s == '\\') {
            const char pair[2] = { '\\', *s++ };
            put(o, pair, 2);
        } else if (*s == '\n' || *s == '\t') {
            put(o, *s++ == '\n' ? "\\n" : "\\t", 2);
        } else if (*s) {
            buf_printf(o, "\\u%04X", code);
            s += len;
        }
    }
    put_char(o, '"');
}

/* Several lines that a literal block holds exactly: printable, and the first one shows the indentation. */
static bool is_literal(const char *s)
{
    unsigned code;
    if (!strchr(s, '\n') || *s == '\n' || *s == ' ')
        return false;
    for (; *s; s++)
        if (*s != '\n' && *s != '\t' && special(s, &code))
            return false;
        else if (*s == '\n' && s[1] == '\t')
            return false;
    return true;
}

static void literal(struct yaml *y, const char *s)
{
    size_t len = strlen(s), newlines = 0;
    while (newlines < len && s[len - 1 - newlines] == '\n')
        newlines++;
    buf_puts(y->o, newlines == 0 ? "|-" : newlines == 1 ? "|" : "|+");
    for (const char *p = s, *end = s + len; p < end;) {
        size_t n = strcspn(p, "\n");
        put_char(y->o, '\n');
        if (n > 0) {
            spaces(y->o, y->indent + 2);
            put(y->o, p, n);
        }
        p += n + 1;
    }
    put_char(y->o, '\n');
}

static void scalar(struct yaml *y, const char *s)
{
    size_t len = strlen(s);
    if (is_plain(s, len)) {
        put(y->o, s, len);
        put_char(y->o, '\n');
    } else if (*s != '\t' && is_literal(s)) {
        literal(y, s);
    } else {
        quoted(y->o, s);
        put_char(y->o, '\n');
    }
}

/* "key:"; readers look for the colon within 1024 characters, so a long key is announced. */
static void yaml_key(struct yaml *y, const char *key)
{
    size_t len = strlen(key);
    if (!y->first)
        spaces(y->o, y->indent);
    y->first = false;
    if (len > 120)
        put(y->o, "? ", 2);
    if (is_plain(key, len))
        put(y->o, key, len);
    else
        quoted(y->o, key);
    if (len > 120) {
        put_char(y->o, '\n');
        spaces(y->o, y->indent);
    }
    put_char(y->o, ':');
}

static void yaml_text(struct yaml *y, const char *key, const char *value)
{
    if (!value)
        return;
    yaml_key(y, key);
    put_char(y->o, ' ');
    scalar(y, value);
}

static void yaml_word(struct yaml *y, const char *key, bool written, const char *word)
{
    if (!written)
        return;
    yaml_key(y, key);
    buf_printf(y->o, " %s\n", word);
}

static void yaml_int(struct yaml *y, const char *key, bool written, int64_t value)
{
    if (!written)
        return;
    yaml_key(y, key);
    buf_printf(y->o, " %lld\n", (long long)value);
}

static void yaml_texts(struct yaml *y, const char *key, const strlist_t *list)
{
    if (list->len == 0)
        return;
    yaml_key(y, key);
    put_char(y->o, '\n');
    for (size_t i = 0; i < list->len; i++) {
        spaces(y->o, y->indent);
        put(y->o, "- ", 2);
        scalar(y, list->items[i]);
    }
}

/* Begins a list or mapping under key; false when it would be empty and is left out. */
static bool yaml_begin(struct yaml *y, const char *key, size_t n)
{
    if (n == 0)
        return false;
    yaml_key(y, key);
    put_char(y->o, '\n');
    return true;
}

static void item_begin(struct yaml *y)
{
    spaces(y->o, y->indent);
    put(y->o, "- ", 2);
    y->indent += 2;
    y->first = true;
}

static void item_end(struct yaml *y)
{
    y->indent -= 2;
}

/* ---- mappings in the order of their keys ---- */

struct pair { const char *key, *text; const void *value; };

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static void yaml_pairs(struct yaml *y, const char *key, struct pair *pairs, size_t n)
{
    if (!yaml_begin(y, key, n))
        return;
    qsort(pairs, n, sizeof(*pairs), by_key);
    y->indent += 2;
    for (size_t i = 0; i < n; i++)
        yaml_text(y, pairs[i].key, pairs[i].text);
    y->indent -= 2;
}

/* Object of texts, or of objects of texts. */
static int yaml_object(struct yaml *y, const char *key, const json_t *object)
{
    size_t n = json_len(object), i = 0;
    int rc = 0;
    if (n == 0) {
        yaml_word(y, key, json_kind(object) == JSON_OBJECT, "{}");
        return 0;
    }
    _cleanup_free_ struct pair *pairs = calloc(n, sizeof(*pairs));
    if (!pairs)
        return OSMO_ENOMEM;
    for (json_iter_t it = json_iter(object); i < n && json_iter_next(&it); i++)
        pairs[i] = (struct pair){ it.key, json_str(it.value), it.value };
    qsort(pairs, n, sizeof(*pairs), by_key);
    yaml_begin(y, key, n);
    y->indent += 2;
    for (i = 0; i < n && rc == 0; i++) {
        if (pairs[i].text)
            yaml_text(y, pairs[i].key, pairs[i].text);
        else
            rc = yaml_object(y, pairs[i].key, pairs[i].value);
    }
    y->indent -= 2;
    return rc;
}

static int yaml_maps(struct yaml *y, const struct spec_task *t, bool environment)
{
    size_t n = environment ? t->nenv : t->nexit_actions;
    if (n == 0)
        return 0;
    _cleanup_free_ struct pair *pairs = calloc(n, sizeof(*pairs));
    if (!pairs)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < n; i++)
        pairs[i] = environment ? (struct pair){ t->env[i].name, t->env[i].value, NULL }
                               : (struct pair){ t->exit_actions[i].action, t->exit_actions[i].codes, NULL };
    yaml_pairs(y, environment ? "environment" : "exitActions", pairs, n);
    return 0;
}

/* ---- the document ---- */

static void yaml_files(struct yaml *y, const struct spec_task *t)
{
    if (!yaml_begin(y, "files", t->nfiles))
        return;
    for (size_t i = 0; i < t->nfiles; i++) {
        item_begin(y);
        yaml_word(y, "base64", t->files[i].base64, "true");
        yaml_text(y, "contents", t->files[i].contents);
        yaml_text(y, "path", t->files[i].path);
        item_end(y);
    }
}

static void yaml_checkpoints(struct yaml *y, const struct spec_task *t)
{
    char text[32];
    if (!yaml_begin(y, "checkpoint", t->ncheckpoints))
        return;
    for (size_t i = 0; i < t->ncheckpoints; i++) {
        item_begin(y);
        yaml_text(y, "frequency", duration_text(t->checkpoints[i].frequency_us, text));
        yaml_text(y, "path", t->checkpoints[i].path);
        yaml_text(y, "regex", some(t->checkpoints[i].regex));
        yaml_text(y, "url", t->checkpoints[i].url);
        item_end(y);
    }
}

static int yaml_inputs(struct yaml *y, const struct spec_task *t)
{
    if (!yaml_begin(y, "inputs", t->ninputs))
        return 0;
    for (size_t i = 0; i < t->ninputs; i++) {
        const struct spec_input *in = &t->inputs[i];
        _cleanup_free_ char *whole = in->workflow ? str_printf("%s:%s", in->workflow, in->task) : NULL;
        if (in->workflow && !whole)
            return OSMO_ENOMEM;
        item_begin(y);
        yaml_text(y, "regex", some(in->regex));
        yaml_text(y, "task", whole ? whole : in->task);
        yaml_text(y, "url", in->url);
        item_end(y);
    }
    return 0;
}

static void yaml_outputs(struct yaml *y, const struct spec_task *t)
{
    if (!yaml_begin(y, "outputs", t->noutputs))
        return;
    for (size_t i = 0; i < t->noutputs; i++) {
        item_begin(y);
        yaml_text(y, "regex", some(t->outputs[i].regex));
        yaml_text(y, "url", t->outputs[i].url);
        item_end(y);
    }
}

static void yaml_kpis(struct yaml *y, const struct spec_task *t)
{
    if (!yaml_begin(y, "kpis", t->nkpis))
        return;
    for (size_t i = 0; i < t->nkpis; i++) {
        item_begin(y);
        yaml_text(y, "index", t->kpis[i].index);
        yaml_text(y, "path", t->kpis[i].path);
        item_end(y);
    }
}

static int yaml_task(struct yaml *y, const struct spec_task *t)
{
    int rc = 0;
    item_begin(y);
    yaml_texts(y, "args", &t->args);
    yaml_text(y, "cacheSize", t->cache_size);
    yaml_checkpoints(y, t);
    yaml_texts(y, "command", &t->command);
    if (json_len(t->credentials) > 0)
        rc = yaml_object(y, "credentials", t->credentials);
    yaml_text(y, "downloadType", t->download_type);
    rc = rc ? rc : yaml_maps(y, t, true);
    rc = rc ? rc : yaml_maps(y, t, false);
    yaml_files(y, t);
    yaml_word(y, "hostNetwork", t->host_network, "true");
    yaml_text(y, "image", t->image);
    rc = rc ? rc : yaml_inputs(y, t);
    yaml_kpis(y, t);
    yaml_word(y, "lead", t->lead, "true");
    yaml_text(y, "name", t->name);
    yaml_outputs(y, t);
    yaml_word(y, "privileged", t->privileged, "true");
    if (strcmp(t->resource, "default") != 0)
        yaml_text(y, "resource", t->resource);
    yaml_texts(y, "volumeMounts", &t->volume_mounts);
    item_end(y);
    return rc;
}

static void yaml_resource(struct yaml *y, const struct spec_resource *x)
{
    bool empty = !x->has_cpu && !x->has_gpu && !x->memory && !x->storage && !x->platform && !x->nodes_excluded.len &&
                 !x->ntopology;
    yaml_word(y, x->name, empty, "{}");
    if (empty)
        return;
    yaml_begin(y, x->name, 1);
    y->indent += 2;
    yaml_int(y, "cpu", x->has_cpu, x->cpu);
    yaml_int(y, "gpu", x->has_gpu, x->gpu);
    yaml_text(y, "memory", x->memory);
    yaml_texts(y, "nodesExcluded", &x->nodes_excluded);
    yaml_text(y, "platform", x->platform);
    yaml_text(y, "storage", x->storage);
    if (yaml_begin(y, "topology", x->ntopology)) {
        for (size_t i = 0; i < x->ntopology; i++) {
            item_begin(y);
            yaml_text(y, "group", strcmp(x->topology[i].group, "default") ? x->topology[i].group : NULL);
            yaml_text(y, "key", x->topology[i].key);
            yaml_text(y, "requirementType", x->topology[i].preferred ? "preferred" : NULL);
            item_end(y);
        }
    }
    y->indent -= 2;
}

static int yaml_resources(struct yaml *y, const struct spec *s)
{
    _cleanup_free_ struct pair *pairs = calloc(s->nresources + 1, sizeof(*pairs));
    if (!pairs)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < s->nresources; i++)
        pairs[i] = (struct pair){ s->resources[i].name, NULL, &s->resources[i] };
    qsort(pairs, s->nresources, sizeof(*pairs), by_key);
    yaml_word(y, "resources", s->nresources == 0, "{}");
    yaml_begin(y, "resources", s->nresources);
    y->indent += 2;
    for (size_t i = 0; i < s->nresources; i++)
        yaml_resource(y, pairs[i].value);
    y->indent -= 2;
    return 0;
}

static void yaml_timeout(struct yaml *y, const struct spec *s)
{
    char text[32];
    yaml_begin(y, "timeout", 1);
    y->indent += 2;
    yaml_word(y, "exec_timeout", true, s->given_exec_us ? duration_text(s->given_exec_us, text) : "null");
    yaml_word(y, "queue_timeout", true, s->given_queue_us ? duration_text(s->given_queue_us, text) : "null");
    y->indent -= 2;
}

static int yaml_groups(struct yaml *y, const struct spec *s)
{
    int rc = 0;
    yaml_begin(y, "groups", s->ngroups);
    for (size_t i = 0; i < s->ngroups && rc == 0; i++) {
        const struct spec_group *g = &s->groups[i];
        item_begin(y);
        yaml_word(y, "barrier", !g->barrier, "false");
        yaml_word(y, "ignoreNonleadStatus", !g->ignore_nonlead_status, "false");
        yaml_text(y, "name", g->name);
        yaml_begin(y, "tasks", g->ntasks);
        for (size_t k = 0; k < g->ntasks && rc == 0; k++)
            rc = yaml_task(y, &g->tasks[k]);
        item_end(y);
    }
    return rc;
}

int spec_write_yaml(const struct spec *s, buf_t *out)
{
    struct yaml y = { .o = out, .indent = 2 };
    buf_puts(out, "version: 2\nworkflow:\n");
    int rc = yaml_groups(&y, s);
    if (rc == 0 && json_len(s->labels) > 0)
        rc = yaml_object(&y, "labels", s->labels);
    yaml_text(&y, "name", s->name);
    rc = rc ? rc : yaml_resources(&y, s);
    if (s->has_timeout)
        yaml_timeout(&y, s);
    return rc < 0 ? rc : out->code;
}
