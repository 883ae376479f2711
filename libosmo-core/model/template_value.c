/* Values of the template engine: arena, lists, dictionaries, truth, equality, order, iteration. Used by template*.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/hash.h"
#include "model/template_internal.h"

/* ---- arena ---- */
struct tpl_chunk { struct tpl_chunk *next; size_t len, cap; _Alignas(16) char data[]; };
#define CHUNK_SIZE (32u * 1024)

void *tpl_arena_alloc(struct tpl_arena *a, size_t size) {
    size = (size + 15) & ~(size_t)15;
    struct tpl_chunk *c = a->head;
    if (!c || c->cap - c->len < size) {
        size_t cap = size > CHUNK_SIZE / 4 ? size : CHUNK_SIZE;
        if (size > a->max || a->used > a->max - size || !(c = malloc(sizeof(*c) + cap)))
            return NULL;
        a->used += cap;
        c->len = 0;
        c->cap = cap;
        if (cap != CHUNK_SIZE && a->head) { /* a big one goes behind the head, which still has room */
            c->next = a->head->next;
            a->head->next = c;
        } else {
            c->next = a->head;
            a->head = c;
        }
    }
    void *p = c->data + c->len;
    c->len += size;
    return memset(p, 0, size);
}

void tpl_arena_free(struct tpl_arena *a) {
    while (a->head) {
        struct tpl_chunk *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    a->used = 0;
}

void *tpl_alloc(struct tpl_rt *rt, size_t size) {
    void *p = tpl_arena_alloc(&rt->arena, size);
    if (!p && size < rt->arena.max && rt->arena.used < rt->arena.max - size)
        tpl_fail(rt, OSMO_ENOMEM, "out of memory while rendering a template");
    else if (!p)
        tpl_fail(rt, OSMO_EUSAGE, "template needs more than %zu bytes of memory", rt->arena.max);
    return p;
}

static int count_values(struct tpl_rt *rt, size_t n) {
    rt->values += n;
    if (rt->values > rt->limits.max_values)
        return tpl_fail(rt, OSMO_EUSAGE, "template makes more than %zu values", rt->limits.max_values);
    return 0;
}

/* ---- strings ---- */
bool tpl_str_is(const tpl_value_t *v, const char *text) {
    return v->kind == V_STR && v->len == strlen(text) && memcmp(v->u.s, text, v->len) == 0;
}

int tpl_str_copy(struct tpl_rt *rt, const char *s, size_t len, tpl_value_t *out) {
    if (len > UINT32_MAX / 2)
        return tpl_fail(rt, OSMO_EUSAGE, "template makes a text longer than 2 GiB");
    char *copy = tpl_alloc(rt, len + 1);
    if (!copy || tpl_charge(rt, len / 64) < 0)
        return -1;
    if (len)
        memcpy(copy, s, len);
    *out = tpl_str(copy, len);
    return 0;
}

int tpl_buf_check(struct tpl_rt *rt, const buf_t *b) {
    if (!buf_failed(b))
        return 0;
    if (b->code == OSMO_ENOMEM)
        return tpl_fail(rt, OSMO_ENOMEM, "out of memory while rendering a template");
    return tpl_fail(rt, OSMO_EUSAGE, "template makes more than %zu bytes of text", rt->limits.max_output);
}

int tpl_str_take(struct tpl_rt *rt, buf_t *b, tpl_value_t *out) {
    int rc = tpl_buf_check(rt, b);
    if (rc == 0)
        rc = tpl_str_copy(rt, b->data, b->len, out);
    buf_free(b);
    return rc;
}

/* ---- lists ---- */
int tpl_new_list(struct tpl_rt *rt, int kind, size_t cap, tpl_value_t *out) {
    struct tpl_list *l = tpl_alloc(rt, sizeof(*l));
    if (!l || (cap && !(l->items = tpl_alloc(rt, cap * sizeof(*l->items)))))
        return -1;
    l->cap = cap;
    *out = (tpl_value_t){ .kind = (uint8_t)kind, .u.list = l };
    return count_values(rt, 1);
}

int tpl_list_add(struct tpl_rt *rt, struct tpl_list *l, tpl_value_t v) {
    if (l->len == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        tpl_value_t *grown = tpl_alloc(rt, cap * sizeof(*grown));
        if (!grown)
            return -1;
        if (l->len)
            memcpy(grown, l->items, l->len * sizeof(*grown));
        l->items = grown;
        l->cap = cap;
    }
    l->items[l->len++] = v;
    return count_values(rt, 1);
}

/* ---- dictionaries: pairs in order of insertion, hashed once there are more than a few ---- */
#define DICT_LINEAR 8

static uint64_t mix(uint64_t h) {
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    return h ^ (h >> 33);
}

/* Equal values have equal hashes: 1, 1.0 and True are one key. */
static uint64_t hash_value(const tpl_value_t *v) {
    uint64_t h = HASH_START;
    switch (v->kind) {
    case V_STR:
        return mix(hash_bytes(h, v->u.s, v->len));
    case V_BOOL: case V_INT: return mix((uint64_t)v->u.i);
    case V_BIG: return mix(tpl_big_hash(v));
    case V_FLOAT:
        if (v->u.f == floor(v->u.f) && fabs(v->u.f) < 9e18)
            return mix((uint64_t)(int64_t)v->u.f);
        memcpy(&h, &v->u.f, sizeof(h));
        return mix(h);
    case V_TUPLE:
        for (size_t i = 0; i < v->u.list->len; i++)
            h = mix(h ^ hash_value(&v->u.list->items[i]));
        return h;
    default: return v->kind;
    }
}

int tpl_new_dict(struct tpl_rt *rt, tpl_value_t *out) {
    struct tpl_dict *d = tpl_alloc(rt, sizeof(*d));
    if (!d)
        return -1;
    *out = (tpl_value_t){ .kind = V_DICT, .u.dict = d };
    return count_values(rt, 1);
}

static void index_put(struct tpl_dict *d, size_t pair) {
    size_t at = hash_value(&d->pairs[pair].key) & (d->index_cap - 1);
    while (d->index[at])
        at = (at + 1) & (d->index_cap - 1);
    d->index[at] = (uint32_t)pair + 1;
}

static void index_rebuild(struct tpl_dict *d) {
    if (!d->index)
        return;
    memset(d->index, 0, d->index_cap * sizeof(*d->index));
    for (size_t i = 0; i < d->len; i++)
        index_put(d, i);
}

static int dict_grow(struct tpl_rt *rt, struct tpl_dict *d) {
    size_t cap = d->cap ? d->cap * 2 : DICT_LINEAR;
    struct tpl_pair *pairs = tpl_alloc(rt, cap * sizeof(*pairs));
    if (!pairs)
        return -1;
    if (d->len)
        memcpy(pairs, d->pairs, d->len * sizeof(*pairs));
    d->pairs = pairs;
    d->cap = cap;
    if (cap > DICT_LINEAR) {
        d->index = tpl_alloc(rt, cap * 2 * sizeof(*d->index));
        if (!d->index)
            return -1;
        d->index_cap = cap * 2;
        index_rebuild(d);
    }
    return 0;
}

static struct tpl_pair *dict_find(const struct tpl_dict *d, const tpl_value_t *key) {
    if (!d->index) {
        for (size_t i = 0; i < d->len; i++) {
            if (tpl_equal(NULL, &d->pairs[i].key, key))
                return &d->pairs[i];
        }
        return NULL;
    }
    size_t at = hash_value(key) & (d->index_cap - 1);
    for (; d->index[at]; at = (at + 1) & (d->index_cap - 1)) {
        struct tpl_pair *p = &d->pairs[d->index[at] - 1];
        if (tpl_equal(NULL, &p->key, key))
            return p;
    }
    return NULL;
}

const tpl_value_t *tpl_dict_get(const struct tpl_dict *d, const tpl_value_t *key) {
    struct tpl_pair *p = dict_find(d, key);
    return p ? &p->value : NULL;
}

const tpl_value_t *tpl_dict_get_str(const struct tpl_dict *d, const char *key, size_t len) {
    tpl_value_t k = tpl_str(key, len);
    return tpl_dict_get(d, &k);
}

int tpl_dict_set(struct tpl_rt *rt, struct tpl_dict *d, tpl_value_t key, tpl_value_t v) {
    struct tpl_pair *p = dict_find(d, &key);
    if (p) {
        p->value = v;
        return 0;
    }
    if (d->len == d->cap && dict_grow(rt, d) < 0)
        return -1;
    d->pairs[d->len] = (struct tpl_pair){ key, v };
    if (d->index)
        index_put(d, d->len);
    d->len++;
    return count_values(rt, 2);
}

void tpl_dict_remove(struct tpl_dict *d, const tpl_value_t *key) {
    struct tpl_pair *p = dict_find(d, key);
    if (!p)
        return;
    size_t i = (size_t)(p - d->pairs);
    memmove(p, p + 1, (d->len - i - 1) * sizeof(*p));
    d->len--;
    index_rebuild(d);
}

int tpl_undefined_use(struct tpl_rt *rt, const tpl_value_t *v) {
    return v->flags & V_FLAG_SOFT ? 0 : tpl_undefined_error(rt, v);
}

bool tpl_hashable(const tpl_value_t *v) {
    if (v->kind == V_TUPLE) {
        for (size_t i = 0; i < v->u.list->len; i++) {
            if (!tpl_hashable(&v->u.list->items[i]))
                return false;
        }
    }
    return v->kind != V_UNDEF && v->kind != V_LIST && v->kind != V_DICT;
}

int tpl_check_key(struct tpl_rt *rt, const tpl_value_t *v) {
    if (v->kind == V_UNDEF)
        return tpl_undefined_use(rt, v);
    if (v->kind == V_LIST || v->kind == V_DICT)
        return tpl_type_error(rt, "a %s cannot be a key", tpl_type_name(v));
    if (v->kind != V_TUPLE)
        return v->kind == V_STR ? tpl_charge(rt, v->len / 8) : 0; /* it is going to be hashed */
    if (tpl_descend(rt) < 0 || tpl_charge(rt, 1) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < v->u.list->len; i++)
        rc = tpl_check_key(rt, &v->u.list->items[i]);
    rt->depth--;
    return rc;
}

/* ---- kinds ---- */
const char *tpl_type_name(const tpl_value_t *v) {
    static const char *const names[] = {
        [V_ABSENT] = "nothing", [V_UNDEF] = "undefined", [V_NONE] = "NoneType", [V_BOOL] = "bool", [V_INT] = "int",
        [V_FLOAT] = "float", [V_STR] = "str", [V_LIST] = "list", [V_TUPLE] = "tuple", [V_DICT] = "dict",
        [V_RANGE] = "range", [V_LOOP] = "loop", [V_NAMESPACE] = "namespace", [V_CYCLER] = "cycler",
        [V_JOINER] = "joiner", [V_METHOD] = "method", [V_FUNC] = "function", [V_ITER] = "generator",
        [V_MACRO] = "Macro", [V_SELF] = "TemplateReference", [V_BLOCK] = "BlockReference", [V_BIG] = "int",
    };
    if (v->kind == V_LIST && v->u.list->view)
        return v->u.list->view;
    return v->kind == V_ITER ? v->u.gen->type : names[v->kind];
}

int tpl_undefined_error(struct tpl_rt *rt, const tpl_value_t *v) {
    if (v->flags & V_FLAG_NAME)
        return tpl_fail(rt, OSMO_EUSAGE, "'%.*s' is undefined", (int)(v->len > 200 ? 200 : v->len), v->u.s);
    return tpl_fail(rt, OSMO_EUSAGE, "%.*s", (int)(v->len > 400 ? 400 : v->len), v->u.s);
}

int tpl_truth(struct tpl_rt *rt, const tpl_value_t *v, bool *out) {
    switch (v->kind) {
    case V_UNDEF:
        *out = false;
        return tpl_undefined_use(rt, v);
    case V_NONE: case V_ABSENT: *out = false; break;
    case V_BOOL: case V_INT: *out = v->u.i != 0; break;
    case V_FLOAT: *out = v->u.f != 0; break;
    case V_STR: *out = v->len != 0; break;
    case V_LIST: case V_TUPLE: *out = v->u.list->len != 0; break;
    case V_DICT: *out = v->u.dict->len != 0; break;
    case V_RANGE: *out = v->u.range->len != 0; break;
    default: *out = true;
    }
    return 0;
}

/* ---- equality and order ---- */
/* An integer against a float, exactly: -1, 0, 1. The float is not NaN. */
static int compare_mixed(int64_t i, double f) {
    if (f >= 0x1p63)
        return -1;
    if (f < -0x1p63)
        return 1;
    int64_t whole = (int64_t)f;
    double rest = f - (double)whole;
    if (i != whole)
        return i < whole ? -1 : 1;
    return rest > 0 ? -1 : rest < 0;
}

/* Two numbers, none of them big: false when one is NaN, else *sign. */
static bool compare_numbers(const tpl_value_t *a, const tpl_value_t *b, int *sign) {
    bool x = a->kind == V_FLOAT, y = b->kind == V_FLOAT;
    if ((x && isnan(a->u.f)) || (y && isnan(b->u.f)))
        return false;
    if (x && y)
        *sign = (a->u.f > b->u.f) - (a->u.f < b->u.f);
    else if (!x && !y)
        *sign = (a->u.i > b->u.i) - (a->u.i < b->u.i);
    else
        *sign = x ? -compare_mixed(b->u.i, a->u.f) : compare_mixed(a->u.i, b->u.f);
    return true;
}

static bool equal_deep(struct tpl_rt *rt, const tpl_value_t *a, const tpl_value_t *b, int depth);

static bool equal_dicts(struct tpl_rt *rt, const struct tpl_dict *a, const struct tpl_dict *b, int depth) {
    if (a->len != b->len)
        return false;
    for (size_t i = 0; i < a->len; i++) {
        const tpl_value_t *other = tpl_dict_get(b, &a->pairs[i].key);
        if (!other || !equal_deep(rt, &a->pairs[i].value, other, depth))
            return false;
    }
    return true;
}

static bool equal_deep(struct tpl_rt *rt, const tpl_value_t *a, const tpl_value_t *b, int depth) {
    int sign;
    if (depth > TPL_MAX_NESTING || (rt && tpl_charge(rt, 1) < 0))
        return false;
    if (rt && ((a->kind == V_UNDEF && tpl_undefined_use(rt, a) < 0) || (b->kind == V_UNDEF && tpl_undefined_use(rt, b) < 0)))
        return false;
    if (a->kind == V_BIG || b->kind == V_BIG)
        return (a->kind == V_BIG || tpl_is_number(a)) && (b->kind == V_BIG || tpl_is_number(b)) && tpl_big_compare(a, b) == 0 &&
               !(a->kind == V_FLOAT && isnan(a->u.f)) && !(b->kind == V_FLOAT && isnan(b->u.f));
    if (tpl_is_number(a) && tpl_is_number(b))
        return compare_numbers(a, b, &sign) && sign == 0;
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case V_STR:
        if (a->len != b->len || (rt && tpl_charge(rt, a->len / 64) < 0))
            return false;
        return a->u.s == b->u.s || memcmp(a->u.s, b->u.s, a->len) == 0;
    case V_LIST: case V_TUPLE:
        if (a->u.list->len != b->u.list->len)
            return false;
        for (size_t i = 0; i < a->u.list->len; i++) {
            if (!equal_deep(rt, &a->u.list->items[i], &b->u.list->items[i], depth + 1))
                return false;
        }
        return true;
    case V_DICT: return equal_dicts(rt, a->u.dict, b->u.dict, depth + 1);
    case V_RANGE:
        return a->u.range->len == b->u.range->len && (a->u.range->len == 0 || (a->u.range->start == b->u.range->start &&
               (a->u.range->len == 1 || a->u.range->step == b->u.range->step)));
    case V_NONE: case V_UNDEF: case V_ABSENT: return true;
    default: return a->u.s == b->u.s;
    }
}

bool tpl_equal(struct tpl_rt *rt, const tpl_value_t *a, const tpl_value_t *b) { return equal_deep(rt, a, b, 0); }

static int order(struct tpl_rt *rt, int op, const tpl_value_t *a, const tpl_value_t *b, bool *out);

static bool ordered(int op, int sign) {
    return op == OP_LT ? sign < 0 : op == OP_LE ? sign <= 0 : op == OP_GT ? sign > 0 : sign >= 0;
}

static int order_lists(struct tpl_rt *rt, int op, const struct tpl_list *a, const struct tpl_list *b, bool *out) {
    for (size_t i = 0; i < a->len && i < b->len; i++) {
        if (!tpl_equal(rt, &a->items[i], &b->items[i]))
            return rt->code ? -1 : order(rt, op, &a->items[i], &b->items[i], out);
    }
    *out = ordered(op, a->len < b->len ? -1 : a->len > b->len);
    return 0;
}

static int order(struct tpl_rt *rt, int op, const tpl_value_t *a, const tpl_value_t *b, bool *out) {
    static const char *const symbols[] = { [OP_LT] = "<", [OP_LE] = "<=", [OP_GT] = ">", [OP_GE] = ">=" };
    if (a->kind == V_UNDEF || b->kind == V_UNDEF)
        return tpl_undefined_error(rt, a->kind == V_UNDEF ? a : b);
    if ((a->kind == V_BIG && (b->kind == V_BIG || tpl_is_number(b))) || (b->kind == V_BIG && tpl_is_number(a))) {
        *out = !(a->kind == V_FLOAT && isnan(a->u.f)) && !(b->kind == V_FLOAT && isnan(b->u.f)) &&
               ordered(op, tpl_big_compare(a, b));
        return 0;
    }
    if (tpl_is_number(a) && tpl_is_number(b)) {
        int sign;
        *out = compare_numbers(a, b, &sign) && ordered(op, sign);
        return 0;
    }
    if (a->kind == V_STR && b->kind == V_STR) {
        size_t n = a->len < b->len ? a->len : b->len;
        int sign = memcmp(a->u.s, b->u.s, n);
        *out = ordered(op, sign ? sign : a->len < b->len ? -1 : a->len > b->len);
        return tpl_charge(rt, n / 64);
    }
    if (tpl_is_list(a) && a->kind == b->kind && !a->u.list->view && !b->u.list->view) {
        if (tpl_descend(rt) < 0)
            return -1;
        int rc = order_lists(rt, op, a->u.list, b->u.list, out);
        rt->depth--;
        return rc;
    }
    return tpl_type_error(rt, "'%s' is not supported between '%s' and '%s'", symbols[op], tpl_type_name(a), tpl_type_name(b));
}

int tpl_compare(struct tpl_rt *rt, int op, const tpl_value_t *a, const tpl_value_t *b, bool *out) {
    bool found;
    if (a->kind == V_UNDEF && op != OP_IN && op != OP_NOT_IN && tpl_undefined_use(rt, a) < 0)
        return -1;
    if ((b->kind == V_UNDEF && tpl_undefined_use(rt, b) < 0) || tpl_charge(rt, 1) < 0)
        return -1;
    switch (op) {
    case OP_EQ: case OP_NE:
        *out = tpl_equal(rt, a, b) == (op == OP_EQ);
        return rt->code ? -1 : 0;
    case OP_IN: return tpl_contains(rt, a, b, out);
    case OP_NOT_IN:
        if (tpl_contains(rt, a, b, &found) < 0)
            return -1;
        *out = !found;
        return 0;
    default: return order(rt, op, a, b, out);
    }
}

int tpl_contains(struct tpl_rt *rt, const tpl_value_t *needle, const tpl_value_t *hay, bool *out) {
    struct tpl_iter it;
    tpl_value_t v;
    if (hay->kind == V_STR) {
        if (needle->kind != V_STR)
            return tpl_type_error(rt, "'in <text>' needs a text on its left, not a %s", tpl_type_name(needle));
        *out = tpl_find(hay->u.s, hay->len, needle->u.s, needle->len) != NULL;
        return tpl_charge(rt, hay->len / 64);
    }
    if (hay->kind == V_DICT) {
        if (tpl_check_key(rt, needle) < 0)
            return -1;
        *out = tpl_dict_get(hay->u.dict, needle) != NULL;
        return 0;
    }
    bool hashed = hay->kind == V_LIST && hay->u.list->view && strcmp(hay->u.list->view, "dict_keys") == 0;
    if ((hashed && tpl_check_key(rt, needle) < 0) || tpl_iter_init(rt, hay, &it) < 0)
        return -1;
    *out = false;
    while (!*out && !rt->code && tpl_iter_next(&it, &v))
        *out = tpl_equal(rt, &v, needle);
    return rt->code ? -1 : 0;
}

/* ---- iteration ---- */
size_t tpl_iter_count(const tpl_value_t *over) {
    switch (over->kind) {
    case V_LIST: case V_TUPLE: return over->u.list->len;
    case V_DICT: return over->u.dict->len;
    case V_RANGE: return (size_t)over->u.range->len;
    case V_STR: return tpl_char_count(over->u.s, over->len);
    default: return 0;
    }
}

int tpl_length(struct tpl_rt *rt, const tpl_value_t *v, int64_t *out) {
    if (v->kind == V_UNDEF) {
        *out = 0;
        return tpl_undefined_use(rt, v);
    }
    if (v->kind == V_LOOP) {
        tpl_value_t n;
        if (tpl_loop_attribute(rt, v, "length", 6, &n) < 0)
            return -1;
        *out = n.u.i;
        return 0;
    }
    if (v->kind != V_STR && !tpl_is_list(v) && v->kind != V_DICT && v->kind != V_RANGE)
        return tpl_type_error(rt, "a value of type '%s' has no length", tpl_type_name(v));
    *out = (int64_t)tpl_iter_count(v);
    return tpl_charge(rt, v->kind == V_STR ? v->len / 64 : 0);
}

int tpl_iter_init(struct tpl_rt *rt, const tpl_value_t *over, struct tpl_iter *it) {
    if (over->kind == V_UNDEF && tpl_undefined_use(rt, over) < 0)
        return -1;
    if (over->kind != V_STR && !tpl_is_list(over) && over->kind != V_DICT && over->kind != V_RANGE && over->kind != V_ITER &&
        over->kind != V_UNDEF)
        return tpl_type_error(rt, "a value of type '%s' cannot be iterated", tpl_type_name(over));
    *it = (struct tpl_iter){ .over = *over, .rt = rt, .len = over->kind == V_DICT ? over->u.dict->len : 0 };
    return 0;
}

static int gen_next(struct tpl_rt *rt, struct tpl_gen *g, tpl_value_t *out) {
    if (g->done || tpl_descend(rt) < 0) /* chains of generators are deep, but not deeper than values may be */
        return 0;
    int rc = g->next(rt, g, out);
    g->done = g->done || rc <= 0;
    rt->depth--;
    return rc;
}

bool tpl_iter_next(struct tpl_iter *it, tpl_value_t *out) {
    const tpl_value_t *v = &it->over;
    size_t n;
    switch (v->kind) {
    case V_LIST: case V_TUPLE:
        if (it->pos >= v->u.list->len)
            return false;
        *out = v->u.list->items[it->pos++];
        return true;
    case V_DICT:
        if (it->rt && v->u.dict->len != it->len) {
            tpl_type_error(it->rt, "a dictionary has changed its size while it was walked");
            return false;
        }
        if (it->pos >= v->u.dict->len)
            return false;
        *out = v->u.dict->pairs[it->pos++].key;
        return true;
    case V_RANGE:
        if (it->pos >= (size_t)v->u.range->len)
            return false;
        *out = tpl_int(v->u.range->start + (int64_t)it->pos++ * v->u.range->step);
        return true;
    case V_STR:
        if (it->pos >= v->len)
            return false;
        n = tpl_char_len(v->u.s + it->pos, v->u.s + v->len);
        *out = tpl_str(v->u.s + it->pos, n);
        it->pos += n;
        return true;
    case V_ITER: return gen_next(it->rt, v->u.gen, out) == 1;
    default: return false;
    }
}

int tpl_to_list(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out) {
    struct tpl_iter it;
    tpl_value_t item, list;
    if (tpl_iter_init(rt, v, &it) < 0 || tpl_new_list(rt, V_LIST, tpl_iter_count(v), &list) < 0)
        return -1;
    while (tpl_iter_next(&it, &item)) {
        if (tpl_charge(rt, 1) < 0 || tpl_list_add(rt, list.u.list, item) < 0)
            return -1;
    }
    if (rt->code)
        return -1;
    *out = list;
    return 0;
}

int tpl_as_int(struct tpl_rt *rt, const tpl_value_t *v, const char *what, int64_t *out) {
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    if (v->kind == V_BIG)
        return tpl_type_error(rt, "%s does not fit 64 bits", what);
    if (!tpl_is_int(v))
        return tpl_type_error(rt, "%s must be an integer, not a value of type '%s'", what, tpl_type_name(v));
    *out = v->u.i;
    return 0;
}
