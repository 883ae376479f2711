/* Inside of the template engine: values, arena, compiled tree, dispatch tables. Included by template*.c and, for
 * compile options and values without JSON, by submission.c. Nobody else. */
#ifndef MODEL_TEMPLATE_INTERNAL_H
#define MODEL_TEMPLATE_INTERNAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"
#include "base/yaml.h"
#include "model/template.h"

#define TPL_MAX_ARGS 32       /* arguments of one call */
#define TPL_MAX_BOUND 8       /* declared parameters of one filter, test, method or function */
#define TPL_MAX_NAMES 65536   /* distinct variable names of one template */
#define TPL_MAX_NESTING 200   /* of expressions and blocks while parsing */
#define TPL_RANGE_MAX 100000  /* as the sandbox upstream uses */

enum tpl_kind {
    V_ABSENT,  /* argument not given; never visible to a template */
    V_UNDEF,   /* u.s: the name (flag NAME) or the whole message */
    V_NONE, V_BOOL, V_INT, V_FLOAT, V_STR, V_LIST, V_TUPLE, V_DICT, V_RANGE,
    V_LOOP, V_NAMESPACE, V_CYCLER, V_JOINER, V_METHOD, V_FUNC
};
#define V_FLAG_NAME 1
#define V_FLAG_SAFE 2 /* already escaped text */

struct tpl_list; struct tpl_dict; struct tpl_range; struct tpl_loop; struct tpl_cycler; struct tpl_joiner;
struct tpl_method; struct tpl_row; struct tpl_rt;

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
    } u;
} tpl_value_t;

struct tpl_list { tpl_value_t *items; size_t len, cap; const char *view; /* dict_keys … when printed, or NULL */ };
struct tpl_pair { tpl_value_t key, value; };
struct tpl_dict { struct tpl_pair *pairs; size_t len, cap; uint32_t *index; size_t index_cap; };
struct tpl_range { int64_t start, step, len; };
struct tpl_cycler { struct tpl_list items; size_t pos; };
struct tpl_joiner { tpl_value_t sep; bool used; };
struct tpl_method { tpl_value_t self; const struct tpl_row *row; };

/* Walks lists, tuples, dict keys, characters of a string and ranges without allocating. */
struct tpl_iter { tpl_value_t over; size_t pos; };
struct tpl_loop {
    struct tpl_iter ahead; /* stands behind the current item */
    tpl_value_t prev, current, changed;
    size_t index0, len;
    bool has_prev;
};

struct tpl_chunk;
struct tpl_arena { struct tpl_chunk *head; size_t used, max; };
void *tpl_arena_alloc(struct tpl_arena *a, size_t size); /* zeroed; NULL when full or out of memory */
void tpl_arena_free(struct tpl_arena *a);

/* ---- compiled form ---- */
enum tpl_node_type {
    N_CONST, N_NAME, N_LIST, N_TUPLE, N_DICT, N_GETATTR, N_GETITEM, N_SLICE, N_CALL, N_FILTER, N_TEST, N_NEG, N_POS,
    N_NOT, N_BINARY, N_CONCAT, N_COMPARE, N_AND, N_OR, N_COND,
    N_DATA, N_PRINT, N_IF, N_FOR, N_SET, N_SET_BLOCK, N_WITH, N_FILTER_BLOCK
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
};

struct template {
    struct tpl_arena arena;
    struct tpl_node *body;
    tpl_value_t *names; /* slot → variable name */
    int n_names, cap_names;
    int *name_index;    /* hash of names → slot + 1 */
    size_t index_cap;
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

/* ---- runtime ---- */
struct tpl_undo { int slot; tpl_value_t old; };
struct tpl_rt {
    const struct template *t;
    struct template_limits limits;
    struct tpl_arena arena;
    tpl_value_t *slots;       /* current value of every name (shallow binding) */
    struct tpl_undo *undo;    /* what to put back when a scope ends */
    size_t undo_len, undo_cap;
    buf_t *out;
    uint64_t steps;
    size_t values;
    int depth, line, code;
    osmo_error_t *err;
};
int tpl_fail(struct tpl_rt *rt, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int tpl_type_error(struct tpl_rt *rt, const char *format, ...) __attribute__((format(printf, 2, 3)));
int tpl_steps_exceeded(struct tpl_rt *rt);
int tpl_descend(struct tpl_rt *rt); /* pair with rt->depth-- when it succeeded */
static inline int tpl_charge(struct tpl_rt *rt, size_t n) {
    rt->steps += n;
    return rt->steps > rt->limits.max_steps ? tpl_steps_exceeded(rt) : 0;
}
void *tpl_alloc(struct tpl_rt *rt, size_t size); /* fails the rendering itself */
int tpl_eval(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out);
int tpl_exec(struct tpl_rt *rt, const struct tpl_node *body);
int tpl_assign(struct tpl_rt *rt, int slot, tpl_value_t v);
void tpl_unwind(struct tpl_rt *rt, size_t mark);
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
int tpl_to_list(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out); /* always a fresh list */
int tpl_print(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out);         /* str() */
int tpl_repr(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out);
void tpl_repr_str(const char *s, size_t len, buf_t *out);
int tpl_text(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out);    /* str() as a string value */
int tpl_as_int(struct tpl_rt *rt, const tpl_value_t *v, const char *what, int64_t *out);
int tpl_from_json(struct tpl_rt *rt, const json_t *v, tpl_value_t *out);
int tpl_from_yaml(struct tpl_rt *rt, const yaml_node_t *n, tpl_value_t *out);
int tpl_buf_check(struct tpl_rt *rt, const buf_t *b); /* turns a failed append into the limit error */

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
extern const struct tpl_row tpl_text_filters[], tpl_str_methods[];
/* Items of the attribute path `path` ("a.b.0" or an index); shared by map, select, sort, sum, unique … */
int tpl_attribute_path(struct tpl_rt *rt, const tpl_value_t *item, const tpl_value_t *path, tpl_value_t *out);
static inline bool tpl_given(const tpl_value_t *v) { return v->kind != V_ABSENT; }
static inline bool tpl_set(const tpl_value_t *v) { return v->kind != V_ABSENT && v->kind != V_NONE; }
#endif
