/* Filters on numbers: abs, round, int, float, filesizeformat. A new one is a function and a row. Looked up by
 * template_filter.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

static int no_room(struct tpl_rt *rt, const char *filter) {
    return tpl_type_error(rt, "filter '%s': the integer result does not fit 64 bits", filter);
}

static FILTER(f_abs) {
    if (c->self.kind == V_UNDEF)
        return tpl_undefined_error(rt, &c->self);
    if (!tpl_is_number(&c->self))
        return tpl_type_error(rt, "filter 'abs' needs a number, not a value of type '%s'", tpl_type_name(&c->self));
    if (c->self.kind != V_FLOAT && c->self.u.i == INT64_MIN)
        return no_room(rt, "abs");
    *out = c->self.kind == V_FLOAT ? tpl_float(fabs(c->self.u.f)) : tpl_int(c->self.u.i < 0 ? -c->self.u.i : c->self.u.i);
    return 0;
}

/* ---- round ---- */
/* To the nearest multiple of ten to the `digits`, halves to the even one. */
static int round_int(struct tpl_rt *rt, int64_t v, int64_t digits, tpl_value_t *out) {
    __int128 unit = 1, rest, low;
    if (digits < -19) {
        *out = tpl_int(0);
        return 0;
    }
    for (int64_t i = digits; i < 0; i++)
        unit *= 10;
    rest = v % unit;
    if (rest < 0)
        rest += unit;
    low = v - rest;
    if (rest * 2 > unit || (rest * 2 == unit && (low / unit) % 2 != 0))
        low += unit;
    if (low > INT64_MAX || low < INT64_MIN)
        return no_room(rt, "round");
    *out = tpl_int((int64_t)low);
    return 0;
}

/* The C library prints the exact decimal value rounded to the even digit on a tie, which is what Python's round() gives. */
static int round_float(struct tpl_rt *rt, double v, int64_t digits, tpl_value_t *out) {
    char text[800];
    double r;
    if (!isfinite(v) || digits > 323)
        r = v;
    else if (digits < -308)
        r = copysign(0, v);
    else if (digits >= 0) {
        snprintf(text, sizeof(text), "%.*f", (int)digits, v);
        r = strtod(text, NULL);
    } else { /* halves are exact here: both neighbours are whole numbers of the unit */
        char unit[16];
        snprintf(unit, sizeof(unit), "1e%d", (int)-digits);
        double u = strtod(unit, NULL), q = v / u, n = nearbyint(q);
        snprintf(text, sizeof(text), "%.0fe%d", n, (int)-digits);
        r = strtod(text, NULL);
    }
    if (isinf(r) && isfinite(v))
        return tpl_type_error(rt, "filter 'round': the rounded value is too large");
    *out = tpl_float(r);
    return 0;
}

/* round(v): to an integer. */
static int round_whole(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out) {
    if (v->kind != V_FLOAT) {
        *out = tpl_int(v->u.i);
        return 0;
    }
    double r = nearbyint(v->u.f);
    if (!isfinite(r))
        return tpl_type_error(rt, "filter 'round': an infinite value or nan is no integer");
    if (fabs(r) >= 9.2e18)
        return no_room(rt, "round");
    *out = tpl_int((int64_t)r);
    return 0;
}

/* ceil and floor give an integer, which is divided: 42|round(0, 'ceil') is 42.0. */
static int round_to_side(struct tpl_rt *rt, const tpl_value_t *v, int64_t digits, bool up, tpl_value_t *out) {
    tpl_value_t ten = tpl_int(10), power = tpl_int(digits), scale, scaled, whole;
    if (tpl_binary(rt, OP_POW, &ten, &power, &scale) < 0 || tpl_binary(rt, OP_MUL, v, &scale, &scaled) < 0)
        return -1;
    if (scaled.kind == V_FLOAT) {
        double w = up ? ceil(scaled.u.f) : floor(scaled.u.f);
        if (!isfinite(w))
            return tpl_type_error(rt, "filter 'round': an infinite value or nan is no integer");
        whole = fabs(w) < 9.2e18 ? tpl_int((int64_t)w) : tpl_float(w);
    } else {
        whole = tpl_int(scaled.u.i);
    }
    return tpl_binary(rt, OP_DIV, &whole, &scale, out);
}

static FILTER(f_round) {
    int64_t digits = 0;
    bool common = true, up = false;
    if (tpl_given(&c->a[1])) {
        common = tpl_str_is(&c->a[1], "common");
        up = tpl_str_is(&c->a[1], "ceil");
        if (!common && !up && !tpl_str_is(&c->a[1], "floor"))
            return tpl_type_error(rt, "filter 'round': the method must be 'common', 'ceil' or 'floor'");
    }
    if (c->self.kind == V_UNDEF)
        return tpl_undefined_error(rt, &c->self);
    if (!tpl_is_number(&c->self))
        return tpl_type_error(rt, "filter 'round' needs a number, not a value of type '%s'", tpl_type_name(&c->self));
    if (common && c->a[0].kind == V_NONE)
        return round_whole(rt, &c->self, out);
    if (!common && c->a[0].kind == V_FLOAT)
        return tpl_type_error(rt, "filter 'round': the precision must be an integer");
    if (tpl_given(&c->a[0]) && tpl_as_int(rt, &c->a[0], "filter 'round': the precision", &digits) < 0)
        return -1;
    if (!common)
        return round_to_side(rt, &c->self, digits, up, out);
    if (c->self.kind == V_FLOAT)
        return round_float(rt, c->self.u.f, digits, out);
    return round_int(rt, c->self.u.i, digits, out);
}

/* ---- int and float ---- */
static int whole_of(struct tpl_rt *rt, double f, tpl_value_t *out) {
    if (isnan(f))
        return 0; /* the default stays */
    if (isinf(f))
        return tpl_type_error(rt, "filter 'int': an infinite value is no integer");
    if (f >= 9223372036854775808.0 || f < -9223372036854775808.0)
        return no_room(rt, "int");
    *out = tpl_int((int64_t)f);
    return 0;
}

static FILTER(f_int) {
    int64_t base = 10, i;
    double f;
    const tpl_value_t *v = &c->self;
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    bool base_ok = !tpl_given(&c->a[1]) || tpl_is_int(&c->a[1]);
    if (tpl_given(&c->a[1]) && base_ok)
        base = c->a[1].u.i;
    base_ok = base_ok && (base == 0 || (base >= 2 && base <= 36));
    *out = tpl_given(&c->a[0]) ? c->a[0] : tpl_int(0);
    if (tpl_is_int(v))
        *out = tpl_int(v->u.i);
    else if (v->kind == V_FLOAT)
        return whole_of(rt, v->u.f, out);
    else if (v->kind == V_STR && base_ok && tpl_text_to_int(v->u.s, v->len, (int)base, &i))
        *out = tpl_int(i);
    else if (v->kind == V_STR && tpl_text_to_float(v->u.s, v->len, &f))
        return whole_of(rt, f, out);
    return tpl_charge(rt, v->kind == V_STR ? v->len / 64 : 0);
}

static FILTER(f_float) {
    double f;
    if (c->self.kind == V_UNDEF)
        return tpl_undefined_error(rt, &c->self);
    *out = tpl_given(&c->a[0]) ? c->a[0] : tpl_float(0);
    if (tpl_is_int(&c->self))
        *out = tpl_float((double)c->self.u.i);
    else if (c->self.kind == V_FLOAT)
        *out = c->self;
    else if (c->self.kind == V_STR && tpl_text_to_float(c->self.u.s, c->self.len, &f))
        *out = tpl_float(f);
    return 0;
}

/* ---- filesizeformat ---- */
static FILTER(f_filesizeformat) {
    static const char letters[] = "kMGTPEZY";
    double bytes = 0;
    bool binary;
    char text[400];
    if (c->self.kind == V_UNDEF)
        return tpl_undefined_error(rt, &c->self);
    if (tpl_is_number(&c->self))
        bytes = c->self.kind == V_FLOAT ? c->self.u.f : (double)c->self.u.i;
    else if (c->self.kind != V_STR || !tpl_text_to_float(c->self.u.s, c->self.len, &bytes))
        return tpl_type_error(rt, "filter 'filesizeformat' needs a number");
    if (tpl_arg_bool(rt, &c->a[0], false, &binary) < 0)
        return -1;
    double base = binary ? 1024 : 1000, unit = base;
    if (bytes == 1)
        return tpl_str_copy(rt, "1 Byte", 6, out);
    if (bytes < base) {
        if (isinf(bytes))
            return tpl_type_error(rt, "filter 'filesizeformat': an infinite value has no size");
        snprintf(text, sizeof(text), "%.0f Bytes", trunc(bytes) + 0.0);
        return tpl_str_copy(rt, text, strlen(text), out);
    }
    size_t i = 0;
    for (;; i++) {
        unit *= base;
        if (bytes < unit || i == 7)
            break;
    }
    char prefix[4] = { binary && i == 0 ? 'K' : letters[i], binary ? 'i' : 'B', binary ? 'B' : 0, 0 };
    double shown = base * bytes / unit;
    if (isnan(shown) || isinf(shown))
        snprintf(text, sizeof(text), "%s %s", isnan(shown) ? "nan" : "inf", prefix);
    else
        snprintf(text, sizeof(text), "%.1f %s", shown, prefix);
    return tpl_str_copy(rt, text, strlen(text), out);
}

const struct tpl_row tpl_number_filters[] = {
    { "abs", f_abs, "", 0 }, { "round", f_round, "precision,method", 0 }, { "int", f_int, "default,base", 0 },
    { "float", f_float, "default", 0 }, { "filesizeformat", f_filesizeformat, "binary", 0 }, { 0 },
};
