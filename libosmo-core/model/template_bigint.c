/* Integers that do not fit 64 bits: Python's have no end, ours end at BITS_MAX. Small results become plain integers again,
 * so that a big one is never equal to a plain one. Used by template_ops.c, template_value.c and template_lex.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

#define BITS_MAX 65536
#define LIMBS_MAX (BITS_MAX / 32)
#define DIGITS_MAX 4300 /* of a text: Python writes and reads no longer ones either */

struct tpl_big { bool negative; uint32_t len; uint32_t limb[]; };

/* A number of either kind to calculate with; `small` holds the limbs of a plain integer. */
struct operand { bool negative; size_t len; const uint32_t *limb; uint32_t small[2]; };

static void open_operand(const tpl_value_t *v, struct operand *o) {
    if (v->kind == V_BIG) {
        o->negative = v->u.big->negative;
        o->len = v->u.big->len;
        o->limb = v->u.big->limb;
        return;
    }
    uint64_t u = v->u.i < 0 ? 0 - (uint64_t)v->u.i : (uint64_t)v->u.i;
    o->negative = v->u.i < 0;
    o->small[0] = (uint32_t)u;
    o->small[1] = (uint32_t)(u >> 32);
    o->len = u >> 32 ? 2 : u ? 1 : 0;
    o->limb = o->small;
}

static size_t trim(const uint32_t *a, size_t n) {
    while (n && !a[n - 1])
        n--;
    return n;
}

static int compare(const uint32_t *a, size_t na, const uint32_t *b, size_t nb) {
    if (na != nb)
        return na < nb ? -1 : 1;
    while (na--) {
        if (a[na] != b[na])
            return a[na] < b[na] ? -1 : 1;
    }
    return 0;
}

static size_t bits_of(const uint32_t *a, size_t n) { return n ? n * 32 - (size_t)__builtin_clz(a[n - 1]) : 0; }

static int too_big(struct tpl_rt *rt) {
    return tpl_fail(rt, OSMO_EUSAGE, "an integer has more than %d bits", BITS_MAX);
}

static struct tpl_big *new_big(struct tpl_rt *rt, size_t limbs) {
    if (limbs > LIMBS_MAX + 2) {
        too_big(rt);
        return NULL;
    }
    return tpl_charge(rt, 1 + limbs / 8) < 0 ? NULL : tpl_alloc(rt, sizeof(struct tpl_big) + (limbs + 1) * sizeof(uint32_t));
}

/* Gives `n` limbs away as a value: a plain integer where they fit. */
static int settle(struct tpl_rt *rt, struct tpl_big *b, size_t n, bool negative, tpl_value_t *out) {
    n = trim(b->limb, n);
    uint64_t low = (n > 0 ? b->limb[0] : 0) | (uint64_t)(n > 1 ? b->limb[1] : 0) << 32;
    if (n <= 2 && low <= (uint64_t)INT64_MAX + negative) {
        *out = tpl_int(negative ? (int64_t)(0 - low) : (int64_t)low);
        return 0;
    }
    if (n > LIMBS_MAX)
        return too_big(rt);
    b->len = (uint32_t)n;
    b->negative = negative;
    *out = (tpl_value_t){ .kind = V_BIG, .u.big = b };
    return 0;
}

/* ---- arithmetic of limbs ---- */
static int add(struct tpl_rt *rt, const struct operand *a, const struct operand *b, bool subtract, tpl_value_t *out) {
    bool negative_b = b->negative != subtract;
    size_t n = (a->len > b->len ? a->len : b->len) + 1;
    struct tpl_big *r = new_big(rt, n);
    if (!r)
        return -1;
    if (a->negative == negative_b) {
        uint64_t carry = 0;
        for (size_t i = 0; i < n; i++) {
            carry += (uint64_t)(i < a->len ? a->limb[i] : 0) + (i < b->len ? b->limb[i] : 0);
            r->limb[i] = (uint32_t)carry;
            carry >>= 32;
        }
        return settle(rt, r, n, a->negative, out);
    }
    bool swap = compare(a->limb, a->len, b->limb, b->len) < 0;
    const struct operand *x = swap ? b : a, *y = swap ? a : b;
    int64_t borrow = 0;
    for (size_t i = 0; i < x->len; i++) {
        int64_t d = (int64_t)x->limb[i] - (i < y->len ? y->limb[i] : 0) - borrow;
        borrow = d < 0;
        r->limb[i] = (uint32_t)d;
    }
    return settle(rt, r, x->len, swap ? negative_b : a->negative, out);
}

static int multiply(struct tpl_rt *rt, const struct operand *a, const struct operand *b, tpl_value_t *out) {
    struct tpl_big *r = new_big(rt, a->len + b->len);
    if (!r || tpl_charge(rt, a->len * b->len / 16) < 0)
        return -1;
    for (size_t i = 0; i < a->len; i++) {
        uint64_t carry = 0;
        for (size_t k = 0; k < b->len; k++) {
            carry += (uint64_t)a->limb[i] * b->limb[k] + r->limb[i + k];
            r->limb[i + k] = (uint32_t)carry;
            carry >>= 32;
        }
        r->limb[i + b->len] = (uint32_t)carry;
    }
    return settle(rt, r, a->len + b->len, a->negative != b->negative, out);
}

/* a = a / d; the remainder. */
static uint32_t divide_small(uint32_t *a, size_t n, uint32_t d) {
    uint64_t rest = 0;
    while (n--) {
        rest = rest << 32 | a[n];
        a[n] = (uint32_t)(rest / d);
        rest %= d;
    }
    return (uint32_t)rest;
}

/* Long division, digit by digit of 32 bits. u (nu + 1 limbs) is the dividend and becomes the remainder, v the divisor; both
 * shifted so that the highest bit of v is set. */
static void divide_long(uint32_t *u, size_t nu, const uint32_t *v, size_t nv, uint32_t *q) {
    for (size_t j = nu - nv + 1; j-- > 0;) {
        uint64_t top = (uint64_t)u[j + nv] << 32 | u[j + nv - 1], guess = top / v[nv - 1], rest = top % v[nv - 1];
        while (guess >> 32 || guess * v[nv - 2] > (rest << 32 | u[j + nv - 2])) {
            guess--;
            rest += v[nv - 1];
            if (rest >> 32)
                break;
        }
        int64_t borrow = 0;
        uint64_t carry = 0;
        for (size_t i = 0; i < nv; i++) {
            carry += guess * v[i];
            int64_t d = (int64_t)u[i + j] - (int64_t)(uint32_t)carry - borrow;
            u[i + j] = (uint32_t)d;
            borrow = d < 0;
            carry >>= 32;
        }
        int64_t d = (int64_t)u[j + nv] - (int64_t)carry - borrow;
        u[j + nv] = (uint32_t)d;
        if (d < 0) { /* one too many */
            guess--;
            carry = 0;
            for (size_t i = 0; i < nv; i++) {
                carry += (uint64_t)u[i + j] + v[i];
                u[i + j] = (uint32_t)carry;
                carry >>= 32;
            }
            u[j + nv] += (uint32_t)carry;
        }
        q[j] = (uint32_t)guess;
    }
}

static void shift_left(const uint32_t *a, size_t n, unsigned by, uint32_t *out) { /* n + 1 limbs */
    uint32_t carry = 0;
    for (size_t i = 0; i < n; i++) {
        out[i] = a[i] << by | carry;
        carry = by ? a[i] >> (32 - by) : 0;
    }
    out[n] = carry;
}

/* Quotient (cut towards zero) and remainder of the magnitudes, into new numbers. */
static int divide(struct tpl_rt *rt, const struct operand *a, const struct operand *b, struct tpl_big **q, struct tpl_big **rest) {
    *q = new_big(rt, a->len + 1);
    *rest = new_big(rt, a->len + b->len + 1);
    if (!*q || !*rest || tpl_charge(rt, a->len * b->len / 16) < 0)
        return -1;
    if (compare(a->limb, a->len, b->limb, b->len) < 0) {
        memcpy((*rest)->limb, a->limb, a->len * sizeof(uint32_t));
    } else if (b->len == 1) {
        memcpy((*q)->limb, a->limb, a->len * sizeof(uint32_t));
        (*rest)->limb[0] = divide_small((*q)->limb, a->len, b->limb[0]);
    } else {
        unsigned by = (unsigned)__builtin_clz(b->limb[b->len - 1]);
        struct tpl_big *v = new_big(rt, b->len + 1);
        if (!v)
            return -1;
        shift_left(a->limb, a->len, by, (*rest)->limb);
        shift_left(b->limb, b->len, by, v->limb);
        divide_long((*rest)->limb, a->len, v->limb, b->len, (*q)->limb);
        for (size_t i = 0; i < b->len && by; i++)
            (*rest)->limb[i] = (*rest)->limb[i] >> by | (*rest)->limb[i + 1] << (32 - by);
    }
    (*q)->len = (uint32_t)trim((*q)->limb, a->len);
    (*rest)->len = (uint32_t)trim((*rest)->limb, a->len > b->len ? b->len : a->len);
    return 0;
}

/* Python rounds quotients down and gives remainders the sign of the divisor. */
static int divide_floor(struct tpl_rt *rt, int op, const struct operand *a, const struct operand *b, tpl_value_t *out) {
    struct tpl_big *q, *rest;
    tpl_value_t v, one = tpl_int(1);
    struct operand x, y;
    if (divide(rt, a, b, &q, &rest) < 0)
        return -1;
    bool down = rest->len && a->negative != b->negative;
    if (op == OP_FLOORDIV) {
        if (settle(rt, q, q->len, a->negative != b->negative, &v) < 0)
            return -1;
        open_operand(&v, &x);
        open_operand(&one, &y);
        *out = v;
        return down ? add(rt, &x, &y, true, out) : 0;
    }
    if (settle(rt, rest, rest->len, a->negative, &v) < 0)
        return -1;
    open_operand(&v, &x);
    *out = v;
    return down ? add(rt, &x, b, false, out) : 0;
}

static double magnitude_double(const uint32_t *a, size_t n, bool sticky) {
    size_t bits = bits_of(a, n);
    if (bits <= 64 && !sticky)
        return (double)((n > 0 ? a[0] : 0) | (uint64_t)(n > 1 ? a[1] : 0) << 32);
    if (bits > 1100)
        return INFINITY;
    uint64_t top = 0;
    size_t drop = bits > 62 ? bits - 62 : 0;
    for (size_t i = bits; i-- > drop;)
        top = top << 1 | (a[i / 32] >> (i % 32) & 1);
    for (size_t i = 0; i < drop && !sticky; i++)
        sticky = a[i / 32] >> (i % 32) & 1;
    return ldexp((double)(top << 1 | sticky), (int)drop - 1);
}

static int divide_true(struct tpl_rt *rt, const struct operand *a, const struct operand *b, tpl_value_t *out) {
    struct tpl_big *q, *rest;
    int64_t have = (int64_t)bits_of(a->limb, a->len) - (int64_t)bits_of(b->limb, b->len), limbs = 0;
    while (have + limbs * 32 < 66)
        limbs++;
    struct operand scaled = *a;
    struct tpl_big *wide = new_big(rt, a->len + (size_t)limbs);
    if (!wide)
        return -1;
    memcpy(wide->limb + limbs, a->limb, a->len * sizeof(uint32_t));
    scaled.limb = wide->limb;
    scaled.len = trim(wide->limb, a->len + (size_t)limbs);
    if (divide(rt, &scaled, b, &q, &rest) < 0)
        return -1;
    double f = ldexp(magnitude_double(q->limb, q->len, rest->len > 0), (int)(-32 * limbs));
    if (isinf(f))
        return tpl_type_error(rt, "integer division result too large for a float");
    *out = tpl_float(a->negative != b->negative ? -f : f);
    return 0;
}

static int power(struct tpl_rt *rt, const tpl_value_t *a, int64_t exponent, tpl_value_t *out) {
    tpl_value_t base = *a, r = tpl_int(1);
    struct operand x, y;
    open_operand(a, &x);
    if (bits_of(x.limb, x.len) > 1 && (uint64_t)exponent > BITS_MAX)
        return too_big(rt);
    while (exponent) {
        if (exponent & 1) {
            open_operand(&r, &x);
            open_operand(&base, &y);
            if (multiply(rt, &x, &y, &r) < 0)
                return -1;
        }
        exponent >>= 1;
        if (!exponent)
            break;
        open_operand(&base, &x);
        if (multiply(rt, &x, &x, &base) < 0)
            return -1;
    }
    *out = r;
    return 0;
}

int tpl_big_op(struct tpl_rt *rt, int op, const tpl_value_t *a, const tpl_value_t *b, tpl_value_t *out) {
    struct operand x, y;
    open_operand(a, &x);
    open_operand(b, &y);
    if (!y.len && (op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD))
        return tpl_type_error(rt, "division by zero");
    switch (op) {
    case OP_ADD: return add(rt, &x, &y, false, out);
    case OP_SUB: return add(rt, &x, &y, true, out);
    case OP_MUL: return multiply(rt, &x, &y, out);
    case OP_DIV: return divide_true(rt, &x, &y, out);
    case OP_FLOORDIV: case OP_MOD: return divide_floor(rt, op, &x, &y, out);
    default:
        if (b->kind == V_BIG)
            return too_big(rt);
        return power(rt, a, b->u.i, out);
    }
}

/* ---- order, conversions ---- */
double tpl_big_double(const tpl_value_t *v) {
    struct operand o;
    open_operand(v, &o);
    double f = magnitude_double(o.limb, o.len, false);
    return o.negative ? -f : f;
}

#define DOUBLE_LIMBS 34

/* The integer a large finite double stands for. */
static void whole_of_double(double f, struct operand *o, uint32_t limbs[DOUBLE_LIMBS]) {
    int exponent;
    uint64_t m = (uint64_t)ldexp(frexp(fabs(f), &exponent), 53);
    memset(limbs, 0, DOUBLE_LIMBS * sizeof(*limbs));
    for (int bit = 0; bit < 53; bit++) {
        int at = bit + exponent - 53;
        if (at >= 0 && m >> bit & 1)
            limbs[at / 32] |= 1u << (at % 32);
    }
    o->negative = f < 0;
    o->limb = limbs;
    o->len = trim(limbs, DOUBLE_LIMBS);
}

int tpl_big_compare(const tpl_value_t *a, const tpl_value_t *b) {
    struct operand x, y;
    uint32_t limbs[DOUBLE_LIMBS];
    if (a->kind == V_FLOAT)
        return -tpl_big_compare(b, a);
    open_operand(a, &x);
    if (b->kind == V_FLOAT) {
        double f = tpl_big_double(a);
        if (!isfinite(b->u.f) || f != b->u.f)
            return f < b->u.f ? -1 : f > b->u.f;
        whole_of_double(b->u.f, &y, limbs); /* beyond 2^63 a float is an integer: the exact one decides */
    } else {
        open_operand(b, &y);
    }
    if (x.negative != y.negative)
        return x.negative ? -1 : 1;
    int c = compare(x.limb, x.len, y.limb, y.len);
    return x.negative ? -c : c;
}

uint64_t tpl_big_hash(const tpl_value_t *v) { /* as the float it may be equal to */
    double f = tpl_big_double(v);
    uint64_t h;
    memcpy(&h, &f, sizeof(h));
    return h;
}

/* Digits of the magnitude, in `out`; the sign is the caller's. */
int tpl_big_digits(struct tpl_rt *rt, const tpl_value_t *v, unsigned base, buf_t *out, bool *negative) {
    struct operand o;
    open_operand(v, &o);
    *negative = o.negative;
    size_t n = o.len, room = o.len * 32 + 1, at = room;
    _cleanup_free_ uint32_t *a = malloc((n + 1) * sizeof(*a));
    _cleanup_free_ char *text = malloc(room);
    if (!a || !text)
        return tpl_fail(rt, OSMO_ENOMEM, "out of memory while rendering a template");
    memcpy(a, o.limb, n * sizeof(*a));
    uint32_t step = base == 10 ? 1000000000 : base, each = base == 10 ? 9 : 1;
    if (tpl_charge(rt, 1 + n * n / 16) < 0)
        return -1;
    do {
        uint32_t rest = divide_small(a, n, step);
        n = trim(a, n);
        for (uint32_t i = 0; i < each && at && (n || rest || at == room); i++, rest /= base)
            text[--at] = "0123456789abcdef"[rest % base];
    } while (n && at);
    if (base == 10 && room - at > DIGITS_MAX)
        return tpl_fail(rt, OSMO_EUSAGE, "an integer has more than %d digits", DIGITS_MAX);
    buf_append(out, text + at, room - at);
    return tpl_buf_check(rt, out);
}

int tpl_big_print(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    _cleanup_buf_ buf_t digits = BUF_INIT(BITS_MAX + 1);
    bool negative;
    if (tpl_big_digits(rt, v, 10, &digits, &negative) < 0)
        return -1;
    if (negative)
        buf_putc(out, '-');
    buf_append(out, digits.data, digits.len);
    return tpl_buf_check(rt, out);
}

/* Digits of `base` with single underscores between them, as the lexer has found them. */
bool tpl_big_parse(struct tpl_arena *arena, const char *s, size_t len, unsigned base, tpl_value_t *out) {
    if (len > DIGITS_MAX)
        return false;
    struct tpl_big *b = tpl_arena_alloc(arena, sizeof(*b) + (len / 6 + 2) * sizeof(uint32_t));
    if (!b)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '_')
            continue;
        uint64_t carry = (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        for (uint32_t k = 0; k < b->len || carry; k++) {
            carry += (uint64_t)b->limb[k] * base;
            b->limb[k] = (uint32_t)carry;
            carry >>= 32;
            if (k >= b->len)
                b->len = k + 1;
        }
    }
    *out = (tpl_value_t){ .kind = V_BIG, .u.big = b };
    return true;
}
