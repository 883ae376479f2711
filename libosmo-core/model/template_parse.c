/* Expressions of the template language: tokens to tree, with Jinja's precedences. Statements are in
 * template_parse_tags.c. Used by template.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/hash.h"
#include "model/template_internal.h"

struct tpl_node *tpl_parse_fail(struct tpl_parser *p, int line, const char *format, ...) {
    if (p->code)
        return NULL;
    va_list args;
    va_start(args, format);
    p->code = osmo_error_setv(p->err, OSMO_EUSAGE, format, args);
    va_end(args);
    if (p->err)
        osmo_error_prefix(p->err, "line %d", line);
    return NULL;
}

struct tpl_node *tpl_parse_nomem(struct tpl_parser *p) {
    if (!p->code)
        p->code = osmo_error_set(p->err, OSMO_ENOMEM, "out of memory while reading a template");
    return NULL;
}

struct tpl_node *tpl_node(struct tpl_parser *p, int type, int line) {
    struct tpl_node *n = tpl_arena_alloc(&p->t->arena, sizeof(*n));
    if (!n) {
        tpl_parse_nomem(p);
        return NULL;
    }
    n->type = (uint8_t)type;
    n->line = line;
    n->slot = -1;
    return n;
}

bool tpl_is_name(const struct tpl_token *tok, const char *name) {
    return tok->type == T_NAME && tok->value.len == strlen(name) && memcmp(tok->value.u.s, name, tok->value.len) == 0;
}

const char *tpl_token_text(const struct tpl_token *tok, char out[64]) {
    switch (tok->type) {
    case T_EOF: return "the end of the template";
    case T_DATA: return "text";
    case T_VAR_BEGIN: return "'{{'";
    case T_VAR_END: return "'}}'";
    case T_BLOCK_BEGIN: return "'{%'";
    case T_BLOCK_END: return "'%}'";
    case T_NAME: snprintf(out, 64, "'%.*s'", (int)(tok->value.len > 50 ? 50 : tok->value.len), tok->value.u.s); return out;
    case T_STRING: return "a string";
    case T_INT: return "an integer";
    case T_FLOAT: return "a number";
    case T_FLOORDIV: return "'//'";
    case T_POW: return "'**'";
    case T_EQ: return "'=='";
    case T_NE: return "'!='";
    case T_LE: return "'<='";
    case T_GE: return "'>='";
    default: snprintf(out, 64, "'%c'", tok->type); return out;
    }
}

bool tpl_accept(struct tpl_parser *p, int type) {
    if (p->tok->type != type)
        return false;
    p->tok++;
    return true;
}

bool tpl_expect(struct tpl_parser *p, int type) {
    char want[64], got[64];
    struct tpl_token wanted = { .type = type, .value = tpl_str("name", 4) };
    if (tpl_accept(p, type))
        return true;
    tpl_parse_fail(p, p->tok->line, "expected %s, got %s", type == T_NAME ? "a name" : tpl_token_text(&wanted, want),
                   tpl_token_text(p->tok, got));
    return false;
}

bool tpl_enter(struct tpl_parser *p) {
    if (++p->depth <= TPL_MAX_NESTING)
        return true;
    tpl_parse_fail(p, p->tok->line, "the template is nested more than %d deep", TPL_MAX_NESTING);
    return false;
}

/* ---- names to slots ---- */
static size_t name_hash(const char *s, size_t len) {
    uint64_t h = hash_bytes(HASH_START, s, len);
    return h ^ (h >> 29);
}

static bool grow_names(struct template *t) {
    int cap = t->cap_names ? t->cap_names * 2 : 16;
    tpl_value_t *names = tpl_arena_alloc(&t->arena, (size_t)cap * sizeof(*names));
    int *index = tpl_arena_alloc(&t->arena, (size_t)cap * 2 * sizeof(*index));
    if (!names || !index)
        return false;
    if (t->n_names)
        memcpy(names, t->names, (size_t)t->n_names * sizeof(*names));
    t->names = names;
    t->cap_names = cap;
    t->name_index = index;
    t->index_cap = (size_t)cap * 2;
    for (int i = 0; i < t->n_names; i++) {
        size_t at = name_hash(names[i].u.s, names[i].len) & (t->index_cap - 1);
        while (index[at])
            at = (at + 1) & (t->index_cap - 1);
        index[at] = i + 1;
    }
    return true;
}

int tpl_name_find(const struct template *t, const char *name, size_t len) {
    if (!t->n_names)
        return -1;
    size_t at = name_hash(name, len) & (t->index_cap - 1);
    for (; t->name_index[at]; at = (at + 1) & (t->index_cap - 1)) {
        const tpl_value_t *have = &t->names[t->name_index[at] - 1];
        if (have->len == len && memcmp(have->u.s, name, len) == 0)
            return t->name_index[at] - 1;
    }
    return -1;
}

int tpl_slot(struct tpl_parser *p, tpl_value_t name) {
    struct template *t = p->t;
    if (t->n_names == t->cap_names && (t->n_names >= TPL_MAX_NAMES || !grow_names(t))) {
        if (t->n_names >= TPL_MAX_NAMES)
            tpl_parse_fail(p, p->tok->line, "more than %d variable names", TPL_MAX_NAMES);
        tpl_parse_nomem(p);
        return -1;
    }
    int have = tpl_name_find(t, name.u.s, name.len);
    if (have >= 0)
        return have;
    size_t at = name_hash(name.u.s, name.len) & (t->index_cap - 1);
    while (t->name_index[at])
        at = (at + 1) & (t->index_cap - 1);
    t->names[t->n_names] = name;
    t->name_index[at] = ++t->n_names;
    return t->n_names - 1;
}

/* ---- lists of nodes ---- */
struct chain { struct tpl_node *first, **last; int count; };
#define CHAIN(c) struct chain c = { .first = NULL, .last = &c.first, .count = 0 }

static bool chain_add(struct chain *c, struct tpl_node *n) {
    if (!n)
        return false;
    n->next = NULL;
    *c->last = n;
    c->last = &n->next;
    c->count++;
    return true;
}

static struct tpl_node *chain_node(struct tpl_parser *p, int type, int line, const struct chain *c) {
    struct tpl_node *n = tpl_node(p, type, line);
    if (n) {
        n->items = c->first;
        n->count = c->count;
    }
    return n;
}

static struct tpl_node *const_node(struct tpl_parser *p, int line, tpl_value_t v) {
    struct tpl_node *n = tpl_node(p, N_CONST, line);
    if (n)
        n->value = v;
    return n;
}

static const char *name_copy(struct tpl_parser *p, tpl_value_t name) {
    char *s = tpl_arena_alloc(&p->t->arena, name.len + 1);
    if (s)
        memcpy(s, name.u.s, name.len);
    else
        tpl_parse_nomem(p);
    return s;
}

/* ---- calls ---- */
const char tpl_star[] = "*", tpl_star_star[] = "**";

/* What has been seen of a call's arguments: they come as a, b, n=c, *d, **e. */
struct seen { bool keyword, star, star_star; };

static struct tpl_node *parse_arg(struct tpl_parser *p, struct seen *seen, const struct chain *before) {
    struct tpl_token *tok = p->tok;
    bool star = tok->type == '*', star_star = tok->type == T_POW;
    bool keyword = tok->type == T_NAME && tok[1].type == '=';
    if (seen->star_star || (star && seen->star) || (!keyword && !star && !star_star && (seen->keyword || seen->star)))
        return tpl_parse_fail(p, tok->line, "the arguments of a call stand in the wrong order: first those without a name, "
                              "then those with one, then *list and **dict");
    for (const struct tpl_node *n = before->first; keyword && n; n = n->next) {
        if (n->keyword && strlen(n->keyword) == tok->value.len && memcmp(n->keyword, tok->value.u.s, tok->value.len) == 0)
            return tpl_parse_fail(p, tok->line, "the argument '%s' is given twice", n->keyword);
    }
    seen->keyword = seen->keyword || keyword;
    seen->star = seen->star || star;
    seen->star_star = star_star;
    p->tok += keyword ? 2 : star || star_star;
    struct tpl_node *arg = tpl_parse_expression(p, true);
    if (!arg || (keyword && !(arg->keyword = name_copy(p, tok->value))))
        return NULL;
    if (star || star_star)
        arg->keyword = star ? tpl_star : tpl_star_star;
    return arg;
}

static bool parse_call_args(struct tpl_parser *p, struct tpl_node *call) {
    CHAIN(args);
    struct seen seen = { false, false, false };
    int line = p->tok->line;
    if (!tpl_expect(p, '('))
        return false;
    while (!tpl_accept(p, ')')) {
        if (args.count && (!tpl_expect(p, ',')))
            return false;
        if (args.count && tpl_accept(p, ')'))
            break;
        if (args.count == TPL_MAX_ARGS) {
            tpl_parse_fail(p, line, "a call has more than %d arguments", TPL_MAX_ARGS);
            return false;
        }
        if (!chain_add(&args, parse_arg(p, &seen, &args)))
            return false;
    }
    call->items = args.first;
    call->count = args.count;
    return true;
}

/* ---- primaries ---- */
static struct tpl_node *parse_dict(struct tpl_parser *p) {
    CHAIN(pairs);
    int line = p->tok[-1].line;
    while (!tpl_accept(p, '}')) {
        if (pairs.count && !tpl_expect(p, ','))
            return NULL;
        if (tpl_accept(p, '}'))
            break;
        if (!chain_add(&pairs, tpl_parse_expression(p, true)) || !tpl_expect(p, ':') ||
            !chain_add(&pairs, tpl_parse_expression(p, true)))
            return NULL;
    }
    return chain_node(p, N_DICT, line, &pairs);
}

static struct tpl_node *parse_list(struct tpl_parser *p) {
    CHAIN(items);
    int line = p->tok[-1].line;
    while (!tpl_accept(p, ']')) {
        if (items.count && !tpl_expect(p, ','))
            return NULL;
        if (tpl_accept(p, ']'))
            break;
        if (!chain_add(&items, tpl_parse_expression(p, true)))
            return NULL;
    }
    return chain_node(p, N_LIST, line, &items);
}

static bool tuple_ends(const struct tpl_token *tok) {
    return tok->type == ')' || tok->type == T_VAR_END || tok->type == T_BLOCK_END || tok->type == T_EOF;
}

static struct tpl_node *parse_tuple_items(struct tpl_parser *p, bool with_conditional, bool explicit_parens) {
    CHAIN(items);
    int line = p->tok->line;
    bool is_tuple = false;
    char got[64];
    while (!tuple_ends(p->tok)) {
        if (items.count && !tpl_expect(p, ','))
            return NULL;
        if (tuple_ends(p->tok))
            break;
        if (!chain_add(&items, tpl_parse_expression(p, with_conditional)))
            return NULL;
        if (p->tok->type != ',')
            break;
        is_tuple = true;
    }
    if (!items.count && !explicit_parens)
        return tpl_parse_fail(p, line, "expected an expression, got %s", tpl_token_text(p->tok, got));
    return is_tuple || !items.count ? chain_node(p, N_TUPLE, line, &items) : items.first;
}

struct tpl_node *tpl_parse_tuple(struct tpl_parser *p, bool with_conditional) {
    return parse_tuple_items(p, with_conditional, false);
}

static struct tpl_node *parse_strings(struct tpl_parser *p) {
    struct tpl_token *first = p->tok++;
    tpl_value_t v = first->value;
    while (p->tok->type == T_STRING) { /* adjacent strings are one */
        char *s = tpl_arena_alloc(&p->t->arena, (size_t)v.len + p->tok->value.len + 1);
        if (!s) {
            tpl_parse_nomem(p);
            return NULL;
        }
        memcpy(s, v.u.s, v.len);
        memcpy(s + v.len, p->tok->value.u.s, p->tok->value.len);
        v = tpl_str(s, (size_t)v.len + p->tok->value.len);
        p->tok++;
    }
    return const_node(p, first->line, v);
}

static struct tpl_node *parse_name(struct tpl_parser *p) {
    static const struct { const char *name; tpl_value_t value; } constants[] = {
        { "true", { .kind = V_BOOL, .u.i = 1 } }, { "True", { .kind = V_BOOL, .u.i = 1 } },
        { "false", { .kind = V_BOOL } }, { "False", { .kind = V_BOOL } },
        { "none", { .kind = V_NONE } }, { "None", { .kind = V_NONE } },
    };
    struct tpl_token *tok = p->tok++;
    for (size_t i = 0; i < ARRAY_SIZE(constants); i++) {
        if (tpl_is_name(tok, constants[i].name))
            return const_node(p, tok->line, constants[i].value);
    }
    struct tpl_node *n = tpl_node(p, N_NAME, tok->line);
    if (n && (n->slot = tpl_slot(p, tok->value)) < 0)
        return NULL;
    return n;
}

static struct tpl_node *parse_primary(struct tpl_parser *p) {
    struct tpl_token *tok = p->tok;
    char got[64];
    switch (tok->type) {
    case T_NAME: return parse_name(p);
    case T_STRING: return parse_strings(p);
    case T_INT: case T_FLOAT: p->tok++; return const_node(p, tok->line, tok->value);
    case '[': p->tok++; return parse_list(p);
    case '{': p->tok++; return parse_dict(p);
    case '(': {
        p->tok++;
        struct tpl_node *n = parse_tuple_items(p, true, true);
        return n && tpl_expect(p, ')') ? n : NULL;
    }
    default: return tpl_parse_fail(p, tok->line, "expected an expression, got %s", tpl_token_text(tok, got));
    }
}

/* ---- postfix ---- */
static struct tpl_node *parse_slice_part(struct tpl_parser *p) {
    if (p->tok->type == ':' || p->tok->type == ']' || p->tok->type == ',')
        return const_node(p, p->tok->line, tpl_none());
    return tpl_parse_expression(p, true);
}

static struct tpl_node *parse_slice_rest(struct tpl_parser *p, struct tpl_node *of, struct tpl_node *first, int line) {
    struct tpl_node *n = tpl_node(p, N_SLICE, line);
    if (!n || !(n->c = parse_slice_part(p)))
        return NULL;
    n->a = of;
    n->b = first;
    n->d = tpl_accept(p, ':') ? parse_slice_part(p) : const_node(p, line, tpl_none());
    if (n->d && p->tok->type == ',')
        return tpl_parse_fail(p, line, "an index of several parts cannot hold a slice");
    return n->d && tpl_expect(p, ']') ? n : NULL;
}

/* x[i], x[a:b:c], and x[i, j], which is x[(i, j)]. */
static struct tpl_node *parse_subscript(struct tpl_parser *p, struct tpl_node *of) {
    CHAIN(parts);
    int line = p->tok[-1].line;
    bool comma = false;
    while (p->tok->type != ']') {
        if (parts.count && !tpl_expect(p, ','))
            return NULL;
        comma = parts.count > 0;
        struct tpl_node *part = parse_slice_part(p);
        if (!part)
            return NULL;
        if (!comma && tpl_accept(p, ':'))
            return parse_slice_rest(p, of, part, line);
        if (p->tok->type == ':')
            return tpl_parse_fail(p, line, "an index of several parts cannot hold a slice");
        if (p->tok[-1].type == ',' || p->tok[-1].type == '[')
            return tpl_parse_fail(p, line, "expected an expression between '[' and ']'");
        if (!chain_add(&parts, part))
            return NULL;
    }
    p->tok++;
    struct tpl_node *n = tpl_node(p, N_GETITEM, line);
    if (!n)
        return NULL;
    n->a = of;
    n->b = parts.count == 1 ? parts.first : chain_node(p, N_TUPLE, line, &parts);
    return n->b ? n : NULL;
}

static struct tpl_node *parse_dot(struct tpl_parser *p, struct tpl_node *of) {
    struct tpl_token *tok = p->tok++;
    if (tok->type != T_NAME && tok->type != T_INT)
        return tpl_parse_fail(p, tok->line, "expected a name or a number behind '.'");
    struct tpl_node *n = tpl_node(p, tok->type == T_NAME ? N_GETATTR : N_GETITEM, tok->line);
    if (!n)
        return NULL;
    n->a = of;
    if (tok->type == T_NAME)
        n->value = tok->value;
    else if (!(n->b = const_node(p, tok->line, tok->value)))
        return NULL;
    return n;
}

static struct tpl_node *parse_call(struct tpl_parser *p, struct tpl_node *callee) {
    struct tpl_node *n = tpl_node(p, N_CALL, p->tok->line);
    if (!n || !parse_call_args(p, n))
        return NULL;
    n->a = callee;
    return n;
}

/* Chains such as a.b.c.d count towards the nesting, because evaluation descends them. */
static struct tpl_node *parse_postfix(struct tpl_parser *p, struct tpl_node *n) {
    int depth = p->depth;
    while (n) {
        if (p->tok->type != '(' && p->tok->type != '.' && p->tok->type != '[')
            break;
        if (!tpl_enter(p))
            return NULL;
        if (p->tok->type == '(')
            n = parse_call(p, n);
        else if (tpl_accept(p, '.'))
            n = parse_dot(p, n);
        else if (tpl_accept(p, '['))
            n = parse_subscript(p, n);
    }
    p->depth = depth;
    return n;
}

/* Name of a filter or test. Whether it is known is settled by the scope pass: below `if` only running into it fails. */
static struct tpl_node *parse_row_name(struct tpl_parser *p, int type,
                                       const struct tpl_row *(*find)(const char *, size_t)) {
    struct tpl_token *tok = p->tok;
    if (!tpl_expect(p, T_NAME))
        return NULL;
    struct tpl_node *n = tpl_node(p, type, tok->line);
    if (!n)
        return NULL;
    n->value = tok->value;
    bool dotted = false;
    while (tpl_accept(p, '.')) {
        dotted = true;
        if (!tpl_expect(p, T_NAME))
            return NULL;
    }
    if (dotted) /* no name has a dot */
        n->value.len = (uint32_t)(p->tok[-1].value.u.s + p->tok[-1].value.len - n->value.u.s);
    n->row = find(n->value.u.s, n->value.len);
    return n;
}

struct tpl_node *tpl_parse_filters(struct tpl_parser *p, struct tpl_node *input, bool start_inline) {
    int depth = p->depth;
    while (start_inline || tpl_accept(p, '|')) {
        struct tpl_node *n = tpl_enter(p) ? parse_row_name(p, N_FILTER, tpl_filter_find) : NULL;
        if (!n || (p->tok->type == '(' && !parse_call_args(p, n)))
            return NULL;
        n->a = input;
        input = n;
        start_inline = false;
    }
    p->depth = depth;
    return input;
}

static bool starts_test_argument(const struct tpl_token *tok) {
    switch (tok->type) {
    case T_NAME: return !tpl_is_name(tok, "else") && !tpl_is_name(tok, "or") && !tpl_is_name(tok, "and");
    case T_STRING: case T_INT: case T_FLOAT: case '(': case '[': case '{': return true;
    default: return false;
    }
}

static struct tpl_node *parse_test(struct tpl_parser *p, struct tpl_node *of) {
    int line = p->tok[-1].line;
    bool negated = tpl_is_name(p->tok, "not");
    if (negated)
        p->tok++;
    struct tpl_node *n = parse_row_name(p, N_TEST, tpl_test_find);
    if (!n)
        return NULL;
    n->a = of;
    if (p->tok->type == '(') {
        if (!parse_call_args(p, n))
            return NULL;
    } else if (starts_test_argument(p->tok)) {
        if (tpl_is_name(p->tok, "is"))
            return tpl_parse_fail(p, line, "tests cannot be chained with 'is'");
        n->items = parse_primary(p);
        n->items = n->items ? parse_postfix(p, n->items) : NULL;
        n->count = 1;
        if (!n->items)
            return NULL;
    }
    struct tpl_node *outer = negated ? tpl_node(p, N_NOT, line) : n;
    if (outer && negated)
        outer->a = n;
    return outer;
}

static struct tpl_node *parse_unary(struct tpl_parser *p, bool with_filter);

static struct tpl_node *parse_unary_operand(struct tpl_parser *p) {
    struct tpl_token *tok = p->tok;
    if (tok->type != '-' && tok->type != '+')
        return parse_primary(p);
    p->tok++;
    struct tpl_node *n = tpl_node(p, tok->type == '-' ? N_NEG : N_POS, tok->line);
    return n && (n->a = parse_unary(p, false)) ? n : NULL;
}

static struct tpl_node *parse_unary(struct tpl_parser *p, bool with_filter) {
    int depth = p->depth;
    if (!tpl_enter(p))
        return NULL;
    struct tpl_node *n = parse_postfix(p, parse_unary_operand(p));
    while (n && with_filter) {
        if (p->tok->type == '|')
            n = tpl_parse_filters(p, n, false);
        else if (p->tok->type == '(')
            n = parse_call(p, n);
        else if (!tpl_is_name(p->tok, "is"))
            break;
        else if (p->tok++, tpl_enter(p))
            n = parse_test(p, n);
        else
            n = NULL;
    }
    p->depth = depth;
    return n;
}

/* ---- binary operators by level ---- */
struct infix { int token, op; };
static const struct infix level_pow[] = { { T_POW, OP_POW }, { 0, 0 } };
static const struct infix level_mul[] = { { '*', OP_MUL }, { '/', OP_DIV }, { T_FLOORDIV, OP_FLOORDIV }, { '%', OP_MOD }, { 0, 0 } };
static const struct infix level_add[] = { { '+', OP_ADD }, { '-', OP_SUB }, { 0, 0 } };
static const struct infix comparisons[] = {
    { T_EQ, OP_EQ }, { T_NE, OP_NE }, { '<', OP_LT }, { T_LE, OP_LE }, { '>', OP_GT }, { T_GE, OP_GE }, { 0, 0 },
};

static int infix_op(const struct infix *level, int token) {
    for (; level->token; level++) {
        if (level->token == token)
            return level->op;
    }
    return 0;
}

static struct tpl_node *parse_concat(struct tpl_parser *p);
static struct tpl_node *parse_operand(struct tpl_parser *p) { return parse_unary(p, true); }

/* A long chain 1+1+1+… leans left; its length counts as nesting, because evaluation descends it. */
static struct tpl_node *parse_infix(struct tpl_parser *p, const struct infix *level,
                                    struct tpl_node *(*operand)(struct tpl_parser *)) {
    struct tpl_node *left = operand(p);
    int op, depth = p->depth;
    while (left && (op = infix_op(level, p->tok->type))) {
        struct tpl_node *n = tpl_enter(p) ? tpl_node(p, N_BINARY, p->tok->line) : NULL;
        if (!n)
            return NULL;
        p->tok++;
        n->op = (uint8_t)op;
        n->a = left;
        n->b = operand(p);
        left = n->b ? n : NULL;
    }
    p->depth = depth;
    return left;
}

static struct tpl_node *parse_pow(struct tpl_parser *p) { return parse_infix(p, level_pow, parse_operand); }
static struct tpl_node *parse_mul(struct tpl_parser *p) { return parse_infix(p, level_mul, parse_pow); }
static struct tpl_node *parse_add(struct tpl_parser *p) { return parse_infix(p, level_add, parse_concat); }

static struct tpl_node *parse_concat(struct tpl_parser *p) {
    CHAIN(parts);
    int line = p->tok->line;
    do {
        if (!chain_add(&parts, parse_mul(p)))
            return NULL;
    } while (tpl_accept(p, '~'));
    return parts.count == 1 ? parts.first : chain_node(p, N_CONCAT, line, &parts);
}

static struct tpl_node *parse_compare(struct tpl_parser *p) {
    CHAIN(rest);
    int line = p->tok->line;
    struct tpl_node *first = parse_add(p);
    while (first) {
        int op = infix_op(comparisons, p->tok->type), width = 1;
        if (!op && tpl_is_name(p->tok, "in")) {
            op = OP_IN;
        } else if (!op && tpl_is_name(p->tok, "not") && tpl_is_name(p->tok + 1, "in")) {
            op = OP_NOT_IN;
            width = 2;
        }
        if (!op)
            break;
        p->tok += width;
        struct tpl_node *part = tpl_node(p, N_COMPARE, line);
        if (!part || !(part->a = parse_add(p)) || !chain_add(&rest, part))
            return NULL;
        part->op = (uint8_t)op;
    }
    if (!first || !rest.count)
        return first;
    struct tpl_node *n = chain_node(p, N_COMPARE, line, &rest);
    if (n)
        n->a = first;
    return n;
}

static struct tpl_node *parse_not(struct tpl_parser *p) {
    if (!tpl_is_name(p->tok, "not"))
        return parse_compare(p);
    struct tpl_node *n = tpl_enter(p) ? tpl_node(p, N_NOT, p->tok->line) : NULL;
    if (!n)
        return NULL;
    p->tok++;
    n->a = parse_not(p);
    p->depth--;
    return n->a ? n : NULL;
}

static struct tpl_node *parse_logic(struct tpl_parser *p, const char *word, int type,
                                    struct tpl_node *(*operand)(struct tpl_parser *)) {
    CHAIN(parts);
    int line = p->tok->line;
    for (;;) {
        if (!chain_add(&parts, operand(p)))
            return NULL;
        if (!tpl_is_name(p->tok, word))
            break;
        p->tok++;
    }
    return parts.count == 1 ? parts.first : chain_node(p, type, line, &parts);
}

static struct tpl_node *parse_and(struct tpl_parser *p) { return parse_logic(p, "and", N_AND, parse_not); }
static struct tpl_node *parse_or(struct tpl_parser *p) { return parse_logic(p, "or", N_OR, parse_and); }

struct tpl_node *tpl_parse_expression(struct tpl_parser *p, bool with_conditional) {
    int depth = p->depth;
    struct tpl_node *n = tpl_enter(p) ? parse_or(p) : NULL;
    while (n && with_conditional && tpl_is_name(p->tok, "if")) {
        struct tpl_node *cond = tpl_enter(p) ? tpl_node(p, N_COND, p->tok->line) : NULL;
        if (!cond)
            return NULL;
        p->tok++;
        cond->b = n;
        if (!(cond->a = parse_or(p)))
            return NULL;
        if (tpl_is_name(p->tok, "else")) {
            p->tok++;
            if (!(cond->c = tpl_parse_expression(p, true)))
                return NULL;
        }
        n = cond;
    }
    p->depth = depth;
    return n;
}
