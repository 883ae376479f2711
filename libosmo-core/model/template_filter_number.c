/* Filters on numbers: abs, round, int, float, filesizeformat. A new one is a function and a row. Looked up by
 * template_filter.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

int tpl_to_double(struct tpl_rt *rt, const char *what, const tpl_value_t *v, double *out) {
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    if (!tpl_is_any_number(v))
        return tpl_type_error(rt, "%s needs a number, not a value of type '%s'", what, tpl_type_name(v));
    *out = v->kind == V_FLOAT ? v->u.f : v->kind == V_BIG ? tpl_big_double(v) : (double)v->u.i;
    return v->kind == V_BIG && isinf(*out) ? tpl_type_error(rt, "%s: the integer is too large for a float", what) : 0;
}

static FILTER(f_abs) {
    tpl_value_t zero = tpl_int(0);
    bool negative;
    double f;
    if (c->self.kind == V_FLOAT || !tpl_is_any_number(&c->self)) {
        if (tpl_to_double(rt, "filter 'abs'", &c->self, &f) < 0)
            return -1;
        *out = tpl_float(fabs(f));
        return 0;
    }
    if (tpl_compare(rt, OP_LT, &c->self, &zero, &negative) < 0)
        return -1;
    return tpl_binary(rt, negative ? OP_SUB : OP_ADD, &zero, &c->self, out);
}

/* ---- round ---- */
/* To the nearest multiple of ten to the `digits`, halves to the even one. */
static int round_int(struct tpl_rt *rt, const tpl_value_t *v, int64_t digits, tpl_value_t *out) {
    tpl_value_t ten = tpl_int(10), two = tpl_int(2), zero = tpl_int(0), power, unit, rest, low, times, twice, odd;
    bool more, half, even;
    if (digits >= 0)
        return tpl_binary(rt, OP_ADD, &zero, v, out);
    if (digits < -20000) { /* more digits than an integer can have */
        *out = zero;
        return 0;
    }
    power = tpl_int(-digits);
    if (tpl_binary(rt, OP_POW, &ten, &power, &unit) < 0 || tpl_binary(rt, OP_MOD, v, &unit, &rest) < 0 ||
        tpl_binary(rt, OP_SUB, v, &rest, &low) < 0 || tpl_binary(rt, OP_MUL, &rest, &two, &twice) < 0 ||
        tpl_compare(rt, OP_GT, &twice, &unit, &more) < 0 || tpl_compare(rt, OP_EQ, &twice, &unit, &half) < 0 ||
        tpl_binary(rt, OP_FLOORDIV, &low, &unit, &times) < 0 || tpl_binary(rt, OP_MOD, &times, &two, &odd) < 0 ||
        tpl_compare(rt, OP_EQ, &odd, &zero, &even) < 0)
        return -1;
    return tpl_binary(rt, OP_ADD, &low, more || (half && !even) ? &unit : &zero, out);
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

/* ceil and floor give an integer, which is divided: 42|round(0, 'ceil') is 42.0. */
static int round_to_side(struct tpl_rt *rt, const tpl_value_t *v, int64_t digits, bool up, tpl_value_t *out) {
    tpl_value_t ten = tpl_int(10), power = tpl_int(digits), scale, scaled, whole;
    if (tpl_binary(rt, OP_POW, &ten, &power, &scale) < 0 || tpl_binary(rt, OP_MUL, v, &scale, &scaled) < 0)
        return -1;
    if (scaled.kind == V_FLOAT) {
        if (tpl_double_to_whole(rt, up ? ceil(scaled.u.f) : floor(scaled.u.f), &whole) < 0)
            return -1;
    } else {
        whole = scaled;
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
    double number;
    if (c->self.kind == V_FLOAT || !tpl_is_any_number(&c->self)) {
        if (tpl_to_double(rt, "filter 'round'", &c->self, &number) < 0)
            return -1;
        if (common && c->a[0].kind == V_NONE)
            return tpl_double_to_whole(rt, nearbyint(number), out);
    } else if (common && c->a[0].kind == V_NONE) {
        return round_int(rt, &c->self, 0, out);
    }
    if (!common && c->a[0].kind == V_FLOAT)
        return tpl_type_error(rt, "filter 'round': the precision must be an integer");
    if (tpl_given(&c->a[0]) && tpl_as_int(rt, &c->a[0], "filter 'round': the precision", &digits) < 0)
        return -1;
    if (!common)
        return round_to_side(rt, &c->self, digits, up, out);
    if (c->self.kind == V_FLOAT)
        return round_float(rt, c->self.u.f, digits, out);
    return round_int(rt, &c->self, digits, out);
}

/* ---- int and float ---- */
static int whole_of(struct tpl_rt *rt, double f, tpl_value_t *out) {
    if (isnan(f))
        return 0; /* the default stays */
    if (isinf(f))
        return tpl_type_error(rt, "filter 'int': an infinite value is no integer");
    return tpl_double_to_whole(rt, f, out);
}

static FILTER(f_int) {
    int64_t base = 10;
    int rc = 0;
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
    else if (v->kind == V_BIG)
        *out = *v;
    else if (v->kind == V_FLOAT)
        return whole_of(rt, v->u.f, out);
    else if (v->kind == V_STR && base_ok && (rc = tpl_text_to_whole(rt, v->u.s, v->len, (int)base, out)) != 0)
        return rc < 0 ? -1 : 0;
    else if (v->kind == V_STR && tpl_text_to_float(v->u.s, v->len, &f))
        return whole_of(rt, f, out);
    return tpl_charge(rt, v->kind == V_STR ? v->len / 64 : 0);
}

static FILTER(f_float) {
    double f;
    if (c->self.kind == V_UNDEF)
        return tpl_undefined_error(rt, &c->self);
    *out = tpl_given(&c->a[0]) ? c->a[0] : tpl_float(0);
    if (tpl_is_any_number(&c->self)) {
        if (tpl_to_double(rt, "filter 'float'", &c->self, &f) < 0)
            return -1;
        *out = tpl_float(f);
    } else if (c->self.kind == V_STR && tpl_text_to_float(c->self.u.s, c->self.len, &f))
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
    if (tpl_is_any_number(&c->self) && tpl_to_double(rt, "filter 'filesizeformat'", &c->self, &bytes) < 0)
        return -1;
    if (!tpl_is_any_number(&c->self) && (c->self.kind != V_STR || !tpl_text_to_float(c->self.u.s, c->self.len, &bytes)))
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
