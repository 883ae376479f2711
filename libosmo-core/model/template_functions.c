/* Global functions of templates: range, dict, namespace, cycler, joiner. A new one is a function and a row. Used by
 * template.c, which binds their names. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

static FILTER(fn_range) {
    int64_t v[3] = { 0, 0, 1 };
    for (int i = 0; i < 3; i++) {
        if (tpl_given(&c->a[i]) && tpl_as_int(rt, &c->a[i], "an argument of range()", &v[i]) < 0)
            return -1;
    }
    if (!tpl_given(&c->a[1])) {
        v[1] = v[0];
        v[0] = 0;
    }
    if (v[2] == 0)
        return tpl_type_error(rt, "the step of range() cannot be zero");
    __int128 span = v[2] > 0 ? (__int128)v[1] - v[0] : (__int128)v[0] - v[1], step = v[2] > 0 ? v[2] : -(__int128)v[2];
    __int128 count = span > 0 ? (span + step - 1) / step : 0;
    if (count > TPL_RANGE_MAX)
        return tpl_type_error(rt, "range() is limited to %d items", TPL_RANGE_MAX);
    struct tpl_range *r = tpl_alloc(rt, sizeof(*r));
    if (!r)
        return -1;
    *r = (struct tpl_range){ .start = v[0], .step = v[2], .len = (int64_t)count, .stop = v[1] };
    *out = (tpl_value_t){ .kind = V_RANGE, .u.range = r };
    return 0;
}

static int dict_from_pairs(struct tpl_rt *rt, const tpl_value_t *from, struct tpl_dict *d) {
    struct tpl_iter it;
    tpl_value_t item, pair;
    int rc;
    if (tpl_iter_init(rt, from, &it) < 0)
        return -1;
    while ((rc = tpl_iter_step(rt, &it, &item)) > 0) {
        if (tpl_to_list(rt, &item, &pair) < 0)
            return -1;
        if (pair.u.list->len != 2)
            return tpl_type_error(rt, "dict() needs pairs, not an item of length %zu", pair.u.list->len);
        if (tpl_check_key(rt, &pair.u.list->items[0]) < 0 ||
            tpl_dict_set(rt, d, pair.u.list->items[0], pair.u.list->items[1]) < 0)
            return -1;
    }
    return rc;
}

int tpl_dict_from_args(struct tpl_rt *rt, const struct tpl_args *args, tpl_value_t *out) {
    tpl_value_t dict;
    if (tpl_new_dict(rt, &dict) < 0)
        return -1;
    if (args->n_pos > 1)
        return tpl_type_error(rt, "a dictionary is made of at most one mapping and named arguments");
    if (args->n_pos && args->pos[0].kind == V_UNDEF) /* of whatever kind: dict() asks for its attribute `keys` */
        return tpl_undefined_error(rt, &args->pos[0]);
    if (args->n_pos && args->pos[0].kind != V_DICT && dict_from_pairs(rt, &args->pos[0], dict.u.dict) < 0)
        return -1;
    for (size_t k = 0; args->n_pos && args->pos[0].kind == V_DICT && k < args->pos[0].u.dict->len; k++) {
        const struct tpl_pair *p = &args->pos[0].u.dict->pairs[k];
        if (tpl_charge(rt, 1) < 0 || tpl_dict_set(rt, dict.u.dict, p->key, p->value) < 0)
            return -1;
    }
    for (int i = 0; i < args->n_kw; i++) {
        if (tpl_dict_set(rt, dict.u.dict, tpl_str(args->names[i], strlen(args->names[i])), args->kw[i]) < 0)
            return -1;
    }
    *out = dict;
    return 0;
}

static FILTER(fn_dict) { return tpl_dict_from_args(rt, c->args, out); }

static FILTER(fn_namespace) {
    if (tpl_dict_from_args(rt, c->args, out) < 0)
        return -1;
    out->kind = V_NAMESPACE;
    return 0;
}

static FILTER(fn_cycler) {
    struct tpl_cycler *cy = tpl_alloc(rt, sizeof(*cy));
    if (!cy)
        return -1;
    if (!c->args->n_pos || c->args->n_kw)
        return tpl_type_error(rt, "cycler() needs at least one item and takes no named arguments");
    for (int i = 0; i < c->args->n_pos; i++) {
        if (tpl_list_add(rt, &cy->items, c->args->pos[i]) < 0)
            return -1;
    }
    *out = (tpl_value_t){ .kind = V_CYCLER, .u.cycler = cy };
    return 0;
}

static FILTER(fn_joiner) {
    struct tpl_joiner *j = tpl_alloc(rt, sizeof(*j));
    if (!j)
        return -1;
    j->sep = tpl_given(&c->a[0]) ? c->a[0] : tpl_str(", ", 2);
    *out = (tpl_value_t){ .kind = V_JOINER, .u.joiner = j };
    return 0;
}

static FILTER(fn_lipsum) {
    (void)c;
    *out = tpl_none();
    return tpl_type_error(rt, "function 'lipsum' is not supported: its text is random, and a rendering must be repeatable");
}

/* Digits stand for parameters that cannot be given by name. */
static const struct tpl_row functions[] = {
    { "range", fn_range, "0,1,2", 1 }, { "dict", fn_dict, NULL, 0 }, { "namespace", fn_namespace, NULL, 0 },
    { "cycler", fn_cycler, NULL, 0 }, { "joiner", fn_joiner, "sep", 0 }, { "lipsum", fn_lipsum, NULL, 0 }, { 0 },
};
const struct tpl_row *tpl_function_find(const char *name, size_t len) { return tpl_row_find(functions, name, len); }
