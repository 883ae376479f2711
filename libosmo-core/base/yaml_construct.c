/* From composed nodes to values. What is simple has its value already when it has been read; the rest follows here,
 * in the order in which PyYAML's constructors do it: collections are queued and filled one after the other, so
 * nothing recurses but chains of merge keys. Also the look-up in maps. For yaml.c only. */
#include "base/yaml_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEW 12 /* up to so many keys, comparing them all is faster than hashing */

/* Open addressing over the numbers of a map's pairs, plus one; 0 is free. */
struct yaml_index {
    uint64_t seed;
    uint32_t mask;
    uint32_t slots[];
};

/* ---- keys, equal and hashed as Python's ---- */

static uint64_t mix(uint64_t h) {
    h ^= h >> 32;
    h *= 0x9FB21C651E98DF25ULL;
    return h ^ (h >> 29);
}

static uint64_t hash_bytes(uint64_t seed, const char *s, size_t len) {
    uint64_t h = seed ^ len, word;
    for (; len >= 8; s += 8, len -= 8) {
        memcpy(&word, s, 8);
        h = mix(h ^ word) + seed;
    }
    word = 0;
    memcpy(&word, s, len);
    return mix(h ^ word);
}

static bool is_number(const yaml_node_t *n) {
    return n->kind == YAML_BOOL || n->kind == YAML_INT || n->kind == YAML_FLOAT;
}

static double as_double(const yaml_node_t *n) {
    if (n->kind == YAML_FLOAT)
        return n->number + 0.0; /* no negative zero */
    if (n->kind == YAML_BOOL)
        return n->boolean;
    return n->flavour == YAML_BIG ? strtod(n->text, NULL) : (double)n->integer;
}

static uint64_t hash_key(uint64_t seed, const yaml_node_t *n) {
    if (is_number(n)) {
        double d = as_double(n);
        if (isnan(d))
            d = 0;
        return hash_bytes(seed, (const char *)&d, sizeof d);
    }
    if (n->kind == YAML_DATE)
        return hash_bytes(seed, (const char *)&n->integer, sizeof n->integer);
    return n->kind == YAML_NULL ? mix(seed) : hash_bytes(seed, n->text, n->text_len);
}

static bool same_text(const yaml_node_t *a, const yaml_node_t *b) {
    return a->text_len == b->text_len && memcmp(a->text, b->text, a->text_len) == 0;
}

static bool big_is_float(const yaml_node_t *big, double d) {
    char digits[400];
    if (!isfinite(d) || floor(d) < d)
        return false;
    snprintf(digits, sizeof digits, "%.0f", d);
    return strcmp(digits, big->text) == 0;
}

/* PyYAML has one object for all .nan, and any other not-a-number differs from everything. */
static bool is_the_nan(const yaml_node_t *n) { return strpbrk(n->text, ".") != NULL; }

static bool same_number(const yaml_node_t *a, const yaml_node_t *b) {
    if (b->kind == YAML_FLOAT) {
        const yaml_node_t *swap = a;
        a = b;
        b = swap;
    }
    if (a->kind == YAML_FLOAT) {
        if (b->kind == YAML_FLOAT)
            return isnan(a->number) ? isnan(b->number) && is_the_nan(a) && is_the_nan(b)
                                    : !(a->number < b->number || a->number > b->number || isnan(b->number));
        if (b->flavour == YAML_BIG)
            return big_is_float(b, a->number);
        int64_t i = b->kind == YAML_BOOL ? b->boolean : b->integer;
        return a->number >= -0x1p63 && a->number < 0x1p63 && !(floor(a->number) < a->number) && (int64_t)a->number == i;
    }
    if (a->flavour == YAML_BIG || b->flavour == YAML_BIG)
        return a->flavour == b->flavour && same_text(a, b);
    return (a->kind == YAML_BOOL ? a->boolean : a->integer) == (b->kind == YAML_BOOL ? b->boolean : b->integer);
}

static bool same_key(const yaml_node_t *a, const yaml_node_t *b) {
    if (a == b)
        return true;
    if (a->kind == YAML_STRING || b->kind == YAML_STRING)
        return a->kind == b->kind && a->flavour == b->flavour && same_text(a, b);
    if (is_number(a) && is_number(b))
        return same_number(a, b);
    if (a->kind != b->kind)
        return false;
    return a->kind == YAML_NULL || (a->kind == YAML_DATE && a->flavour == b->flavour && a->integer == b->integer);
}

/* ---- maps ---- */

/* The slot that has pair `key`, or the free one where it belongs. */
static uint32_t *slot_of(struct yaml_index *x, const yaml_node_t *n, const yaml_node_t *key) {
    for (uint64_t s = hash_key(x->seed, key);; s++) {
        uint32_t *slot = &x->slots[s & x->mask];
        if (!*slot || same_key(n->keys[*slot - 1], key))
            return slot;
    }
}

static struct yaml_index *new_index(struct yaml_reader *r, size_t len) {
    size_t slots = 32;
    while (slots < len * 2)
        slots *= 2;
    struct yaml_index *x = yaml_arena_block(r, sizeof *x + slots * sizeof x->slots[0]);
    if (!x)
        return NULL;
    memset(x->slots, 0, slots * sizeof x->slots[0]);
    x->seed = mix((uint64_t)(uintptr_t)x); /* nobody outside knows which texts collide */
    x->mask = (uint32_t)slots - 1;
    return x;
}

/* Of equal keys the first one's place and the last one's value stay, as in a Python dict. `early`: *equal tells that
 * there are some, and the map stays as it is. */
static int drop_equal_keys(struct yaml_reader *r, yaml_node_t *n, bool early, bool *equal) {
    size_t kept = 0;
    n->index = n->len > FEW ? new_index(r, n->len) : NULL;
    if (n->len > FEW && !n->index)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < n->len; i++) {
        size_t at = 0;
        if (n->index) {
            uint32_t *slot = slot_of(n->index, n, n->keys[i]);
            at = *slot ? *slot - 1 : kept;
            *slot = (uint32_t)at + 1;
        } else {
            while (at < kept && !same_key(n->keys[at], n->keys[i]))
                at++;
        }
        if (at < kept && early) {
            *equal = true;
            return 0;
        }
        if (at == kept)
            n->keys[kept++] = n->keys[i];
        n->values[at] = n->values[i];
    }
    n->len = kept;
    return 0;
}

int yaml_settle_early(struct yaml_reader *r, yaml_node_t *n) {
    bool equal = false;
    enum yaml_tag tag = yaml_tag_of(n);
    if (tag != (n->kind == YAML_LIST ? TAG_SEQ : TAG_MAP))
        return 0;
    for (size_t i = 0; n->kind == YAML_MAP && i < n->len; i++) {
        if (n->keys[i]->kind == YAML_LIST || n->keys[i]->kind == YAML_MAP)
            return 0;
    }
    int rc = n->kind == YAML_MAP ? drop_equal_keys(r, n, true, &equal) : 0;
    if (!equal)
        n->inner |= INNER_DONE | INNER_SETTLED;
    return rc;
}

static int settle(struct yaml_reader *r, yaml_node_t *n);

static int settle_source(struct yaml_reader *r, yaml_node_t *source, size_t *pairs) {
    if (source->kind == YAML_MAP) {
        int rc = settle(r, source);
        *pairs += source->len;
        return rc;
    }
    return yaml_fail(r, source,
                     "the merge key << needs a mapping or a list of mappings, not %s; quote \"<<\" to mean text",
                     yaml_kind_name(source));
}

static void take_pairs(yaml_node_t *to, const yaml_node_t *from) {
    if (!from->len)
        return;
    memcpy(to->keys + to->len, from->keys, from->len * sizeof(*to->keys));
    memcpy(to->values + to->len, from->values, from->len * sizeof(*to->values));
    to->len += from->len;
}

/* Merged pairs first, own pairs behind them. Of a list of mappings the later ones come first: the earlier ones win. */
static int merge(struct yaml_reader *r, yaml_node_t *n) {
    size_t pairs = 0;
    int rc = 0;
    for (size_t i = 0; !rc && i < n->len; i++) {
        yaml_node_t *v = n->values[i];
        if (yaml_tag_of(n->keys[i]) != TAG_MERGE)
            pairs++;
        else if (v->kind != YAML_LIST)
            rc = settle_source(r, v, &pairs);
        for (size_t k = 0; !rc && yaml_tag_of(n->keys[i]) == TAG_MERGE && v->kind == YAML_LIST && k < v->len; k++)
            rc = settle_source(r, v->values[k], &pairs);
    }
    yaml_node_t **array = rc ? NULL : yaml_arena_block(r, 2 * pairs * sizeof(*array));
    if (!array)
        return rc ? rc : OSMO_ENOMEM;
    yaml_node_t merged = { .keys = array, .values = array + pairs };
    for (size_t i = 0; i < n->len; i++) {
        const yaml_node_t *v = n->values[i];
        if (yaml_tag_of(n->keys[i]) != TAG_MERGE)
            continue;
        for (size_t k = v->kind == YAML_LIST ? v->len : 0; k > 0; k--)
            take_pairs(&merged, v->values[k - 1]);
        if (v->kind == YAML_MAP)
            take_pairs(&merged, v);
    }
    for (size_t i = 0; i < n->len; i++) {
        if (yaml_tag_of(n->keys[i]) == TAG_MERGE)
            continue;
        merged.keys[merged.len] = n->keys[i];
        merged.values[merged.len++] = n->values[i];
    }
    n->keys = merged.keys;
    n->values = merged.values;
    n->len = merged.len;
    return 0;
}

static int construct(struct yaml_reader *r, yaml_node_t *n);

static int settle(struct yaml_reader *r, yaml_node_t *n) {
    bool merges = false;
    if (n->inner & INNER_SETTLED)
        return 0;
    n->inner |= INNER_SETTLED;
    for (size_t i = 0; i < n->len; i++) {
        if (yaml_tag_of(n->keys[i]) == TAG_MERGE)
            merges = true;
        else if (yaml_tag_of(n->keys[i]) == TAG_VALUE)
            yaml_set_tag(n->keys[i], TAG_STR);
    }
    int rc = merges ? merge(r, n) : 0;
    for (size_t i = 0; !rc && i < n->len; i++) {
        rc = construct(r, n->keys[i]);
        if (!rc && (n->keys[i]->kind == YAML_LIST || n->keys[i]->kind == YAML_MAP))
            rc = yaml_fail(r, n->keys[i], "%s cannot be a key; quote text that starts with { or [",
                           yaml_kind_name(n->keys[i]));
        if (!rc)
            rc = construct(r, n->values[i]);
    }
    return rc ? rc : drop_equal_keys(r, n, false, NULL);
}

/* ---- the queue ---- */

/* !!omap and !!pairs: each item is a mapping of one pair, and becomes a list of its key and value. */
static int make_pairs(struct yaml_reader *r, yaml_node_t *n) {
    int rc = 0;
    n->flavour = YAML_PAIRS;
    for (size_t i = 0; !rc && i < n->len; i++) {
        const yaml_node_t *item = n->values[i];
        if (item->kind != YAML_MAP || item->len != 1)
            return yaml_fail(r, item,
                             "the items of !!omap and !!pairs must be mappings of one key each, such as \"- a: 1\"");
        yaml_node_t *pair = yaml_arena_block(r, sizeof *pair);
        yaml_node_t **two = pair ? yaml_arena_block(r, 2 * sizeof(*two)) : NULL;
        if (!two)
            return OSMO_ENOMEM;
        two[0] = item->keys[0];
        two[1] = item->values[0];
        *pair = (yaml_node_t){ .kind = YAML_LIST, .values = two, .len = 2, .line = item->line,
                               .column = item->column, .height = item->height, .weight = item->weight };
        n->values[i] = pair;
        rc = construct(r, two[0]);
        if (!rc)
            rc = construct(r, two[1]);
    }
    return rc;
}

static int fill(struct yaml_reader *r, yaml_node_t *n) {
    if (n->kind == YAML_MAP)
        return settle(r, n);
    if (n->kind != YAML_LIST)
        return 0;
    if (yaml_tag_of(n) == TAG_OMAP || yaml_tag_of(n) == TAG_PAIRS)
        return make_pairs(r, n);
    int rc = 0;
    for (size_t i = 0; !rc && i < n->len; i++)
        rc = construct(r, n->values[i]);
    return rc;
}

/* PyYAML takes the value of the key "=" of a mapping that is tagged as a scalar. */
static int scalar_of_map(struct yaml_reader *r, yaml_node_t *n) {
    const yaml_node_t *v = n;
    while (v && v->kind == YAML_MAP) {
        const yaml_node_t *next = NULL;
        for (size_t i = 0; !next && i < v->len; i++) {
            if (yaml_tag_of(v->keys[i]) == TAG_VALUE)
                next = v->values[i];
        }
        v = next;
    }
    if (!v || v->kind == YAML_LIST || yaml_tag_of(v) == TAG_OTHER || yaml_tag_of(n) == TAG_TIMESTAMP)
        return yaml_fail(r, n, "a mapping has a tag for scalars; remove the tag");
    n->text = v->text;
    n->text_len = v->text_len;
    n->keys = n->values = NULL;
    n->len = 0;
    n->kind = YAML_STRING;
    return yaml_scalar_value(r, n);
}

static int wrong_tag(struct yaml_reader *r, const yaml_node_t *n) {
    switch (yaml_tag_of(n)) {
    case TAG_OTHER:
        return yaml_fail(r, n, "unsupported tag %.100s; remove it, or quote text that starts with !", n->text);
    case TAG_MERGE:
        return yaml_fail(r, n, "<< has a meaning as a key only; quote it to mean text");
    case TAG_VALUE:
        return yaml_fail(r, n, "a lone = has a meaning of its own in YAML 1.1; quote it to mean text");
    default:
        return yaml_fail(r, n, "%s does not fit its tag; remove the tag", yaml_kind_name(n));
    }
}

/* The value of a scalar at once, a collection through the queue. */
static int construct(struct yaml_reader *r, yaml_node_t *n) {
    if (n->inner & INNER_DONE)
        return 0;
    n->inner |= INNER_DONE;
    enum yaml_tag tag = yaml_tag_of(n);
    if (tag == TAG_MERGE || tag == TAG_VALUE || tag == TAG_OTHER)
        return wrong_tag(r, n);
    if (n->kind == YAML_STRING)
        return tag < TAG_MERGE ? yaml_scalar_value(r, n) : wrong_tag(r, n);
    if (n->kind == YAML_MAP && tag < TAG_MERGE)
        return scalar_of_map(r, n);
    if (n->kind == YAML_LIST ? tag != TAG_SEQ && tag != TAG_OMAP && tag != TAG_PAIRS : tag != TAG_MAP && tag != TAG_SET)
        return wrong_tag(r, n);
    return yaml_list_add(r, n);
}

/* A set keeps no values; only now, as it may have been merged into a map. */
static int clear_set(struct yaml_reader *r, yaml_node_t *n) {
    yaml_node_t *null = NULL;
    n->flavour = YAML_SET;
    for (size_t i = 0; i < n->len; i++) {
        if (n->values[i]->kind == YAML_NULL)
            continue;
        if (!null) {
            null = yaml_arena_block(r, sizeof *null);
            char *text = null ? yaml_arena_text(r, 1) : NULL;
            if (!text)
                return OSMO_ENOMEM;
            *text = '\0';
            *null = (yaml_node_t){ .kind = YAML_NULL, .text = text, .line = n->line, .column = n->column,
                                   .height = 1, .weight = 1 };
        }
        n->values[i] = null;
    }
    return 0;
}

int yaml_construct(struct yaml_reader *r, yaml_node_t *root) {
    bool sets = false;
    int rc = construct(r, root);
    for (size_t i = 0; !rc && i < r->list_len; i++) {
        sets |= yaml_tag_of(r->list[i]) == TAG_SET;
        rc = fill(r, r->list[i]);
    }
    for (size_t i = 0; sets && !rc && i < r->list_len; i++) {
        if (r->list[i]->kind == YAML_MAP && yaml_tag_of(r->list[i]) == TAG_SET)
            rc = clear_set(r, r->list[i]);
    }
    return rc;
}

const yaml_node_t *yaml_get(const yaml_node_t *map, const char *key) {
    if (!map || map->kind != YAML_MAP)
        return NULL;
    size_t len = strlen(key);
    if (map->index) {
        yaml_node_t wanted = { .kind = YAML_STRING, .text = (char *)key, .text_len = (uint32_t)len };
        uint32_t at = *slot_of(map->index, map, &wanted);
        return at ? map->values[at - 1] : NULL;
    }
    for (size_t i = 0; i < map->len; i++) {
        const yaml_node_t *k = map->keys[i];
        if (k->kind == YAML_STRING && k->text_len == len && k->flavour == YAML_ORDINARY &&
            memcmp(k->text, key, len) == 0)
            return map->values[i];
    }
    return NULL;
}
