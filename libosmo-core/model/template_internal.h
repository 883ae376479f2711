/* Inside of the template engine: values, arena, compiled tree, dispatch tables. Included by template*.c and, for
 * compile options and values without JSON, by submission.c. Nobody else. */
#ifndef MODEL_TEMPLATE_INTERNAL_H
#define MODEL_TEMPLATE_INTERNAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/buf.h"
#include "base/json.h"
#include "base/yaml.h"
#include "model/template.h"

#define TPL_MAX_ARGS 64       /* arguments of one call */
#define TPL_MAX_BOUND 8       /* declared parameters of one filter, test, method or function */
#define TPL_MAX_NAMES 65536   /* distinct variable names of one template */
#define TPL_MAX_NESTING 200   /* of expressions and blocks while parsing */
#define TPL_STACK_MAX (224u << 10) /* bytes of stack one rendering may use */
#define TPL_RANGE_MAX 100000  /* as the sandbox upstream uses */

enum tpl_kind {
    V_ABSENT,  /* argument not given; never visible to a template */
    V_UNDEF,   /* u.s: the name (flag NAME) or the whole message */
    V_NONE, V_BOOL, V_INT, V_FLOAT, V_STR, V_LIST, V_TUPLE, V_DICT, V_RANGE,
    V_LOOP, V_NAMESPACE, V_CYCLER, V_JOINER, V_METHOD, V_FUNC,
    V_ITER, /* items made on demand and only once: what map, select, batch … give */
    V_MACRO, V_SELF, V_BLOCK, /* a macro or caller; `self`; a block as `self.name` */
    V_BIG /* an integer that does not fit V_INT; tpl_is_int() and tpl_is_number() do not count it */
};
#define V_FLAG_NAME 1
#define V_FLAG_SAFE 2 /* already escaped text */
#define V_FLAG_SOFT 4 /* undefined, but empty and false without complaint: the missing else of an inline if */

struct tpl_list; struct tpl_dict; struct tpl_range; struct tpl_loop; struct tpl_cycler; struct tpl_joiner;
struct tpl_method; struct tpl_row; struct tpl_args; struct tpl_rt; struct tpl_gen;
struct tpl_macro; struct tpl_block; struct tpl_frame; struct tpl_big; struct tpl_unit; struct tpl_scope; struct tpl_node;

/* Sixteen bytes, passed by value: the hot loop copies and never allocates for scalars. */
typedef struct tpl_value {
    uint8_t kind, flags;
    uint32_t len; /* bytes of a string */
    union {
        int64_t i;
        double f;
        const char *s;
        struct tpl_list *list;
        struct tpl_dict *dict;
        struct tpl_range *range;
        struct tpl_loop *loop;
        struct tpl_cycler *cycler;
        struct tpl_joiner *joiner;
        struct tpl_method *method;
        const struct tpl_row *func;
        struct tpl_gen *gen;
        struct tpl_macro *macro;
        const struct tpl_block *block;
        struct tpl_big *big;
    } u;
} tpl_value_t;

struct tpl_list {
    tpl_value_t *items;
    size_t len, cap;
    const char *view; /* dict_keys … when printed, or NULL */
    bool group;       /* a tuple of groupby, whose items are also the attributes grouper and list */
};
struct tpl_pair { tpl_value_t key, value; };
struct tpl_dict { struct tpl_pair *pairs; size_t len, cap; uint32_t *index; size_t index_cap; };
struct tpl_range { int64_t start, step, len, stop; };
struct tpl_cycler { struct tpl_list items; size_t pos; };
struct tpl_joiner { tpl_value_t sep; bool used; };
struct tpl_method { tpl_value_t self; const struct tpl_row *row; };
struct tpl_macro { const struct tpl_unit *unit; struct tpl_frame *closure; };

/* Walks lists, tuples, dict keys, characters of a string, ranges and V_ITER without allocating. Items of a V_ITER can
 * fail while they are made: then the walk ends with rt->code set, so that the rendering fails (see tpl_iter_step). */
struct tpl_iter { tpl_value_t over; size_t pos, len; struct tpl_rt *rt; };
struct tpl_gen {
    int (*next)(struct tpl_rt *rt, struct tpl_gen *g, tpl_value_t *out); /* 1: an item, 0: the end, -1: failed */
    const char *type; /* as Python names it */
    void *state;
    bool done;
};
/* What a loop walks: the items, less those its `if` refuses, which is asked only when an item is wanted. */
struct tpl_source { struct tpl_iter it; const struct tpl_node *test; struct tpl_frame *frame; };
struct tpl_loop {
    struct tpl_source ahead; /* stands behind the current item, or behind `after` */
    tpl_value_t iterable, before, current, after, changed;
    bool has_after, has_changed;
    int64_t index0, len; /* len -1: not asked for yet */
    int depth0;
    const struct tpl_node *node; /* of a recursive loop, else NULL */
    struct tpl_frame *closure;
};

struct tpl_chunk;
struct tpl_arena { struct tpl_chunk *head; size_t used, max; };
void *tpl_arena_alloc(struct tpl_arena *a, size_t size); /* zeroed; NULL when full or out of memory */
void tpl_arena_free(struct tpl_arena *a);

/* ---- compiled form ---- */
enum tpl_node_type {
    N_CONST, N_NAME, N_LIST, N_TUPLE, N_DICT, N_GETATTR, N_GETITEM, N_SLICE, N_CALL, N_FILTER, N_TEST, N_NEG, N_POS,
    N_NOT, N_BINARY, N_CONCAT, N_COMPARE, N_AND, N_OR, N_COND,
    N_DATA, N_PRINT, N_IF, N_FOR, N_SET, N_SET_BLOCK, N_WITH, N_FILTER_BLOCK,
    N_LOCAL, N_OUTER, /* names the scope pass has found in this or an enclosing activation */
    N_GROUP, N_MACRO, N_CALL_BLOCK, N_BLOCK, N_LOADER, N_SCOPE
};
enum tpl_op {
    OP_ADD = 1, OP_SUB, OP_MUL, OP_DIV, OP_FLOORDIV, OP_MOD, OP_POW,
    OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_IN, OP_NOT_IN
};
/* One shape for all: a, b, c, d are operands by type (see the parser); `items` a list linked by `next`. */
struct tpl_node {
    uint8_t type, op;
    int line, slot, count;
    struct tpl_node *a, *b, *c, *d, *items, *next;
    const char *keyword;        /* of an argument given by name */
    const struct tpl_row *row;  /* filter or test */
    tpl_value_t value;          /* constant, data, or name of an attribute */
    int hops, export;           /* name: activations to climb; name index + 1 to tell the context of blocks */
    struct tpl_scope *scope, *scope2, *scope3;
    struct tpl_unit *unit;
    struct tpl_block *block;
};

/* Whether output is escaped at some place: settled by the template, or asked while rendering. */
enum tpl_escaping { ESCAPE_OFF, ESCAPE_ON, ESCAPE_ASK };
/* What entering a scope does to its names. */
enum tpl_load { LOAD_PARAM, LOAD_GLOBAL, LOAD_ALIAS, LOAD_UNDEF };
struct tpl_init { uint8_t how; int slot, from, hops; tpl_value_t name; };
struct tpl_scope { struct tpl_init *inits; int n; };
struct tpl_param { tpl_value_t name; int slot; struct tpl_node *fallback; };
/* Code with an activation of its own: the template, a macro, a caller, a block, a recursive loop. */
struct tpl_unit {
    tpl_value_t name;
    int index, n_slots, line;
    bool captured; /* activations may be held by macros made in them */
    struct tpl_scope scope;
    struct tpl_param *params;
    int n_params, n_defaults;
    int caller, kwargs, varargs, self, super; /* slots, -1 where not used */
    bool explicit_caller;
    struct tpl_node *body;
};
struct tpl_dump { int name, slot, hops; };
struct tpl_block {
    tpl_value_t name;
    struct tpl_node *node; /* N_BLOCK: body in items */
    struct tpl_unit unit;
    bool scoped, required;
    struct tpl_dump *dump; /* names a scoped block sees */
    int n_dump;
    struct tpl_block *next;
};

struct template {
    struct tpl_arena arena;
    struct tpl_node *body;
    tpl_value_t *names; /* slot → variable name */
    int n_names, cap_names;
    int *name_index;    /* hash of names → slot + 1 */
    size_t index_cap;
    struct tpl_unit root;
    int n_units;
    struct tpl_block *blocks;
};

struct tpl_options {
    bool protect_tokens; /* {{output}}, {{input:…}} and the like stay text */
    int first_line;      /* line of the file the text begins at */
};
int tpl_compile(const char *text, size_t len, const struct tpl_options *options, template_t **out, osmo_error_t *err);
/* Length of the protected token that starts at p, or 0. */
size_t tpl_special_token(const char *p, const char *end);

/* ---- lexer ---- */
enum tpl_token_type {
    T_EOF = 256, T_DATA, T_VAR_BEGIN, T_VAR_END, T_BLOCK_BEGIN, T_BLOCK_END, T_NAME, T_STRING, T_INT, T_FLOAT,
    T_FLOORDIV, T_POW, T_EQ, T_NE, T_LE, T_GE /* single characters stand for themselves */
};
struct tpl_token { int type, line; tpl_value_t value; };
struct tpl_tokens { struct tpl_token *items; size_t len, cap; };
int tpl_lex(struct tpl_arena *arena, const char *text, size_t len, const struct tpl_options *options,
            struct tpl_tokens *out, osmo_error_t *err);

struct tpl_parser {
    struct template *t;
    struct tpl_token *tok; /* the current one; the last is T_EOF */
    osmo_error_t *err;
    int code, depth;
    struct tpl_block **last_block;
};
struct tpl_node *tpl_parse_fail(struct tpl_parser *p, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
struct tpl_node *tpl_node(struct tpl_parser *p, int type, int line); /* NULL when out of memory */
bool tpl_accept(struct tpl_parser *p, int type);
bool tpl_expect(struct tpl_parser *p, int type);
bool tpl_is_name(const struct tpl_token *tok, const char *name);
const char *tpl_token_text(const struct tpl_token *tok, char out[64]);
bool tpl_enter(struct tpl_parser *p);
int tpl_slot(struct tpl_parser *p, tpl_value_t name); /* -1 on failure */
struct tpl_node *tpl_parse_expression(struct tpl_parser *p, bool with_conditional);
/* One expression or a bare tuple; `for` and `if` tags parse without the inline if. */
struct tpl_node *tpl_parse_tuple(struct tpl_parser *p, bool with_conditional);
struct tpl_node *tpl_parse_filters(struct tpl_parser *p, struct tpl_node *input, bool start_inline);
struct tpl_node *tpl_parse_body(struct tpl_parser *p);
struct tpl_node *tpl_parse_nomem(struct tpl_parser *p);
int tpl_name_find(const struct template *t, const char *name, size_t len); /* -1 when the template does not use it */
extern const char tpl_star[], tpl_star_star[]; /* keyword of `*` and `**` arguments */
/* Gives every name its place, as Jinja's scopes do. */
int tpl_resolve(struct tpl_parser *p);
/* Which of some names a body reads before it assigns to them; `work` counts what all such walks have cost. */
#define TPL_WATCHES 3
struct tpl_watch {
    struct tpl_parser *p;
    size_t *work;
    int name[TPL_WATCHES];
    bool dead[TPL_WATCHES], used[TPL_WATCHES];
};
void tpl_watch_body(struct tpl_watch *w, const struct tpl_node *body);
bool tpl_has_scoped_block(struct tpl_watch *w, const struct tpl_node *body);

/* ---- runtime ---- */
/* One activation of a unit. `globals` are the variables from outside, by name. */
struct tpl_frame { struct tpl_frame *up; tpl_value_t *globals; tpl_value_t slots[]; };
struct tpl_rt {
    const struct template *t;
    struct template_limits limits;
    struct tpl_arena arena;
    tpl_value_t *globals;         /* value of every name as the caller gave it */
    struct tpl_frame *frame, **idle; /* idle: activations to use again, by unit */
    buf_t *out, scratch;          /* scratch: texts being captured, one behind the other */
    struct tpl_args *spare_args;
    const char *stack;            /* where the stack stood when the rendering began */
    uint64_t steps, check_at;     /* check_at: the next look at budgets and clock */
    size_t values;
    int depth, line, code;
    bool autoescape; /* inside of a tag that switched it on: filters that make text ask this */
    tpl_value_t escape; /* what that tag was given: an undefined value fails when it is asked */
    osmo_error_t *err;
};
int tpl_fail(struct tpl_rt *rt, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int tpl_type_error(struct tpl_rt *rt, const char *format, ...) __attribute__((format(printf, 2, 3)));
int tpl_steps_exceeded(struct tpl_rt *rt);
int tpl_stack_check(struct tpl_rt *rt); /* a call inside of a call inside of … must not use up the thread's stack */
int tpl_descend(struct tpl_rt *rt); /* pair with rt->depth-- when it succeeded */
static inline int tpl_charge(struct tpl_rt *rt, size_t n) {
    rt->steps += n;
    return rt->steps > rt->check_at ? tpl_steps_exceeded(rt) : 0;
}
void *tpl_alloc(struct tpl_rt *rt, size_t size); /* fails the rendering itself */
int tpl_eval(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out);
int tpl_exec(struct tpl_rt *rt, const struct tpl_node *body);
int tpl_apply(struct tpl_rt *rt, const struct tpl_node *n, const tpl_value_t *self, tpl_value_t *out); /* filter or test */
/* The arguments of a call, evaluated; they are large, so they live beside the stack. NULL when that failed. */
struct tpl_args *tpl_args_take(struct tpl_rt *rt, const struct tpl_node *n);
void tpl_args_give(struct tpl_rt *rt, struct tpl_args *args);
int tpl_eval_truth(struct tpl_rt *rt, const struct tpl_node *n, bool *out);
int tpl_assign_target(struct tpl_rt *rt, const struct tpl_node *target, const tpl_value_t *v);
void tpl_enter_scope(struct tpl_rt *rt, const struct tpl_scope *scope);
struct tpl_frame *tpl_push(struct tpl_rt *rt, const struct tpl_unit *unit, struct tpl_frame *up, tpl_value_t *globals);
void tpl_pop(struct tpl_rt *rt, const struct tpl_unit *unit, struct tpl_frame *back);
/* Text of everything written between the two, as a value. */
struct tpl_capture { buf_t *out; size_t mark; };
struct tpl_capture tpl_capture_begin(struct tpl_rt *rt);
int tpl_capture_end(struct tpl_rt *rt, struct tpl_capture c, int rc, tpl_value_t *out);
/* A call whose result goes to the output: macros, blocks and recursive loops write there without a text in between. */
int tpl_call_print(struct tpl_rt *rt, const struct tpl_node *n);
int tpl_run_macro(struct tpl_rt *rt, const struct tpl_macro *m, const struct tpl_args *args);
int tpl_run_block(struct tpl_rt *rt, const struct tpl_block *b, tpl_value_t *globals);
int tpl_run_loop(struct tpl_rt *rt, const struct tpl_node *n, const tpl_value_t *over, struct tpl_frame *closure, int depth0);
bool tpl_writes(const tpl_value_t *callee); /* a macro, block or recursive loop */
int tpl_run_writer(struct tpl_rt *rt, const tpl_value_t *callee, const struct tpl_args *args);
int tpl_macro_attribute(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out);
int tpl_loop_attribute(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out);
int tpl_missing(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out);
int tpl_undefined(struct tpl_rt *rt, const char *text, tpl_value_t *out);
bool tpl_hashable(const tpl_value_t *v);
int tpl_escapes(struct tpl_rt *rt, bool *on);
int tpl_undefined_use(struct tpl_rt *rt, const tpl_value_t *v); /* fails unless soft */
int tpl_repr_other(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out); /* repr() of what only the language makes */
/* ---- methods ---- */
int tpl_format(struct tpl_rt *rt, const tpl_value_t *format, const struct tpl_args *args, const tpl_value_t *map, tpl_value_t *out);
/* format(v, spec): the mini language of str.format(). */
int tpl_format_value(struct tpl_rt *rt, const tpl_value_t *v, const char *spec, size_t len, buf_t *out);
static inline int tpl_put(struct tpl_rt *rt, const char *s, size_t len) {
    buf_t *b = rt->out;
    if (b->cap - b->len > len && b->max - b->len >= len && !b->code && b->data) {
        memcpy(b->data + b->len, s, len);
        b->len += len;
        b->data[b->len] = 0;
        return 0;
    }
    return buf_append(b, s, len);
}
int tpl_rt_init(struct tpl_rt *rt, const struct template *t, const struct template_limits *limits, osmo_error_t *err);
int tpl_rt_bind(struct tpl_rt *rt, const char *name, size_t len, tpl_value_t v); /* unused names are dropped */
bool tpl_rt_uses(const struct tpl_rt *rt, const char *name, size_t len);
int tpl_rt_run(struct tpl_rt *rt, buf_t *out);
void tpl_rt_free(struct tpl_rt *rt);

/* ---- values ---- */
static inline tpl_value_t tpl_none(void) { return (tpl_value_t){ .kind = V_NONE }; }
static inline tpl_value_t tpl_bool(bool b) { return (tpl_value_t){ .kind = V_BOOL, .u.i = b }; }
static inline tpl_value_t tpl_int(int64_t i) { return (tpl_value_t){ .kind = V_INT, .u.i = i }; }
static inline tpl_value_t tpl_float(double f) { return (tpl_value_t){ .kind = V_FLOAT, .u.f = f }; }
static inline tpl_value_t tpl_str(const char *s, size_t len) {
    return (tpl_value_t){ .kind = V_STR, .len = (uint32_t)len, .u.s = s };
}
static inline bool tpl_is_int(const tpl_value_t *v) { return v->kind == V_INT || v->kind == V_BOOL; }
static inline bool tpl_is_number(const tpl_value_t *v) { return tpl_is_int(v) || v->kind == V_FLOAT; }
static inline bool tpl_is_list(const tpl_value_t *v) { return v->kind == V_LIST || v->kind == V_TUPLE; }
bool tpl_str_is(const tpl_value_t *v, const char *text);
int tpl_str_copy(struct tpl_rt *rt, const char *s, size_t len, tpl_value_t *out);
int tpl_str_take(struct tpl_rt *rt, buf_t *b, tpl_value_t *out); /* copies the buffer into the arena and frees it */
int tpl_new_list(struct tpl_rt *rt, int kind, size_t cap, tpl_value_t *out);
int tpl_list_add(struct tpl_rt *rt, struct tpl_list *l, tpl_value_t v);
int tpl_new_dict(struct tpl_rt *rt, tpl_value_t *out);
int tpl_dict_set(struct tpl_rt *rt, struct tpl_dict *d, tpl_value_t key, tpl_value_t v);
const tpl_value_t *tpl_dict_get(const struct tpl_dict *d, const tpl_value_t *key);
const tpl_value_t *tpl_dict_get_str(const struct tpl_dict *d, const char *key, size_t len);
void tpl_dict_remove(struct tpl_dict *d, const tpl_value_t *key);
const char *tpl_type_name(const tpl_value_t *v); /* as Python names the type */
int tpl_undefined_error(struct tpl_rt *rt, const tpl_value_t *v);
int tpl_check_key(struct tpl_rt *rt, const tpl_value_t *v); /* hashable and defined */
int tpl_truth(struct tpl_rt *rt, const tpl_value_t *v, bool *out);
bool tpl_equal(struct tpl_rt *rt, const tpl_value_t *a, const tpl_value_t *b);
int tpl_compare(struct tpl_rt *rt, int op, const tpl_value_t *a, const tpl_value_t *b, bool *out);
int tpl_contains(struct tpl_rt *rt, const tpl_value_t *needle, const tpl_value_t *hay, bool *out);
int tpl_length(struct tpl_rt *rt, const tpl_value_t *v, int64_t *out);
int tpl_iter_init(struct tpl_rt *rt, const tpl_value_t *over, struct tpl_iter *it);
bool tpl_iter_next(struct tpl_iter *it, tpl_value_t *out);
size_t tpl_iter_count(const tpl_value_t *over);
/* The next item, charged: 1, 0 at the end, -1 failed. */
static inline int tpl_iter_step(struct tpl_rt *rt, struct tpl_iter *it, tpl_value_t *out) {
    if (tpl_iter_next(it, out))
        return tpl_charge(rt, 1) < 0 ? -1 : 1;
    return rt->code ? -1 : 0;
}
int tpl_to_list(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out); /* always a fresh list */
int tpl_print(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out);         /* str() */
int tpl_repr(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out);
void tpl_repr_str(const char *s, size_t len, buf_t *out);
int tpl_text(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out);    /* str() as a string value, never safe */
int tpl_as_int(struct tpl_rt *rt, const tpl_value_t *v, const char *what, int64_t *out);
int tpl_from_json(struct tpl_rt *rt, const json_t *v, tpl_value_t *out);
int tpl_from_yaml(struct tpl_rt *rt, const yaml_node_t *n, tpl_value_t *out);
int tpl_buf_check(struct tpl_rt *rt, const buf_t *b); /* turns a failed append into the limit error */

/* ---- kinds of characters ---- */
int tpl_number_kind(uint32_t c); /* 'd'ecimal digit, 's'pecial digit, other 'n'umber, 0 */
bool tpl_is_letter(uint32_t c);  /* str.isalpha() */
bool tpl_starts_name(uint32_t c);

/* ---- big integers ---- */
static inline bool tpl_is_any_int(const tpl_value_t *v) { return tpl_is_int(v) || v->kind == V_BIG; }
int tpl_big_op(struct tpl_rt *rt, int op, const tpl_value_t *a, const tpl_value_t *b, tpl_value_t *out); /* of any integers */
double tpl_big_double(const tpl_value_t *v);                   /* infinite when too large */
int tpl_big_compare(const tpl_value_t *a, const tpl_value_t *b); /* one is big, the other any number */
uint64_t tpl_big_hash(const tpl_value_t *v);
int tpl_big_digits(struct tpl_rt *rt, const tpl_value_t *v, unsigned base, buf_t *out, bool *negative);
int tpl_big_print(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out);
bool tpl_big_parse(struct tpl_arena *arena, const char *s, size_t len, unsigned base, tpl_value_t *out);

/* ---- characters ---- */
size_t tpl_char_len(const char *s, const char *end); /* bytes of the character at s, at least 1 */
uint32_t tpl_char_get(const char *s, const char *end, size_t *len);
void tpl_char_put(buf_t *b, uint32_t c);
size_t tpl_char_count(const char *s, size_t len);
size_t tpl_char_offset(const char *s, size_t len, size_t chars);
enum tpl_case { CASE_LOWER, CASE_UPPER };
void tpl_case_append(buf_t *b, const char *s, size_t len, enum tpl_case to);
bool tpl_is_cased(const char *s, size_t len, enum tpl_case as); /* str.islower(), str.isupper() */
static inline bool tpl_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f); }
const char *tpl_find(const char *hay, size_t hay_len, const char *needle, size_t len);

/* ---- operations ---- */
int tpl_binary(struct tpl_rt *rt, int op, const tpl_value_t *a, const tpl_value_t *b, tpl_value_t *out);
int tpl_getattr(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out);
int tpl_getitem(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t *key, tpl_value_t *out);
int tpl_slice(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t part[3], tpl_value_t *out);
int tpl_percent_format(struct tpl_rt *rt, const tpl_value_t *format, const tpl_value_t *args, tpl_value_t *out);
bool tpl_text_to_int(const char *s, size_t len, int base, int64_t *out);   /* int(text, base) */
bool tpl_text_to_float(const char *s, size_t len, double *out);            /* float(text) */
void tpl_float_repr(double v, char out[40]);

/* ---- calls ---- */
struct tpl_args {
    tpl_value_t pos[TPL_MAX_ARGS], kw[TPL_MAX_ARGS];
    const char *names[TPL_MAX_ARGS];
    int n_pos, n_kw;
    struct tpl_args *next; /* in the rendering's list of spare ones */
};
/* What a row's function gets: `self` is the filtered, tested or method's value; `a` the declared parameters in their
 * order, V_ABSENT where not given; `args` everything, for rows that take any arguments. */
struct tpl_call { tpl_value_t self, a[TPL_MAX_BOUND]; const struct tpl_args *args; };
typedef int tpl_fn(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out);
struct tpl_row {
    const char *name;
    tpl_fn *fn;          /* NULL: known to Jinja but not supported here */
    const char *params;  /* "a,b,c"; NULL takes anything */
    int required;
};
const struct tpl_row *tpl_row_find(const struct tpl_row *rows, const char *name, size_t len);
int tpl_call_row(struct tpl_rt *rt, const char *what, const struct tpl_row *row, const tpl_value_t *self,
                 const struct tpl_args *args, tpl_value_t *out);
int tpl_call_value(struct tpl_rt *rt, const tpl_value_t *callee, const struct tpl_args *args, tpl_value_t *out);
const struct tpl_row *tpl_filter_find(const char *name, size_t len);
const struct tpl_row *tpl_test_find(const char *name, size_t len);
const struct tpl_row *tpl_method_find(const tpl_value_t *self, const char *name, size_t len);
const struct tpl_row *tpl_function_find(const char *name, size_t len);
extern const struct tpl_row tpl_str_methods[];
static inline bool tpl_given(const tpl_value_t *v) { return v->kind != V_ABSENT; }
static inline bool tpl_set(const tpl_value_t *v) { return v->kind != V_ABSENT && v->kind != V_NONE; }
#endif
