/* What the files of filters, tests and global functions share. Included by template_filter*.c, template_text.c,
 * template_tests.c, template_functions.c and, for the string methods that are filters too, by template_*.c. */
#ifndef MODEL_TEMPLATE_FILTER_H
#define MODEL_TEMPLATE_FILTER_H
#include "model/template_internal.h"

#define OUT_BUF(b) buf_t b = BUF_INIT(rt->limits.max_output)
#define FILTER(name) int name(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out)

/* Tables of rows, ended by an empty one, by what the filters are about. */
extern const struct tpl_row tpl_list_filters[], tpl_pick_filters[], tpl_sort_filters[], tpl_html_filters[],
    tpl_urlize_filters[], tpl_number_filters[], tpl_wrap_filters[], tpl_dump_filters[], tpl_format_filters[];

/* dict(…): from one mapping or iterable of pairs, and named arguments. */
int tpl_dict_from_args(struct tpl_rt *rt, const struct tpl_args *args, tpl_value_t *out);

/* ---- text ---- */
int tpl_soft_text(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out); /* str(), but safe text stays safe */
/* Text with & < > ' " as entities, marked safe; safe text is left as it is. */
int tpl_escape(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out);
void tpl_unescape(buf_t *b, const char *s, size_t len); /* entities as the characters they stand for */
int tpl_take_like(struct tpl_rt *rt, buf_t *b, const tpl_value_t *like, tpl_value_t *out); /* safe if `like` is */
/* Blanks as str.isspace() sees them: bytes of the one at s, or 0. */
size_t tpl_space_len(const char *s, const char *end);
void tpl_strip(const char **s, const char **end); /* str.strip() */
/* Length of the line at s (without its end), as str.splitlines() cuts; *next: behind the end of the line. */
size_t tpl_line_len(const char *s, const char *end, const char **next);
bool tpl_is_word(uint32_t c);  /* \w */
bool tpl_is_alpha(uint32_t c); /* \w without digits */
int tpl_digit(uint32_t c);     /* value of a decimal digit of any script, or -1 */
bool tpl_is_printable(uint32_t c);
int tpl_char_case(uint32_t c); /* 'l'ower, 'u'pper, 't'itle, 0 */
void tpl_title_append(buf_t *b, const char *s, size_t len); /* the first character of a capitalized word */
int tpl_want_text(struct tpl_rt *rt, const char *what, const tpl_value_t *v); /* fails unless a text */

/* ---- numbers ---- */
static inline bool tpl_is_any_number(const tpl_value_t *v) { return tpl_is_number(v) || v->kind == V_BIG; }
/* int(text, base) of any size: 1, 0 when the text is no integer, -1 failed. */
int tpl_text_to_whole(struct tpl_rt *rt, const char *s, size_t len, int base, tpl_value_t *out);
int tpl_double_to_whole(struct tpl_rt *rt, double v, tpl_value_t *out); /* int(v); infinite and nan fail */
/* float(v) of a number; integers beyond the range of a double fail. */
int tpl_to_double(struct tpl_rt *rt, const char *what, const tpl_value_t *v, double *out);

/* ---- arguments ---- */
int tpl_arg_int(struct tpl_rt *rt, const tpl_value_t *v, const char *what, int64_t absent, int64_t *out);
int tpl_arg_bool(struct tpl_rt *rt, const tpl_value_t *v, bool absent, bool *out);

/* ---- items ---- */
bool tpl_is_iterable(const tpl_value_t *v);
/* The item's attributes along `path`; `fallback`, unless absent or none, replaces what is undefined on the way. */
int tpl_attribute(struct tpl_rt *rt, const tpl_value_t *item, const tpl_value_t *path, const tpl_value_t *fallback,
                  tpl_value_t *out);
/* The same, lower case if a text and not case_sensitive: what items are compared by. */
int tpl_sort_key(struct tpl_rt *rt, const tpl_value_t *item, const tpl_value_t *path, const tpl_value_t *fallback,
                 bool case_sensitive, tpl_value_t *out);
int tpl_lower_text(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out);
int tpl_pair(struct tpl_rt *rt, tpl_value_t a, tpl_value_t b, tpl_value_t *out); /* a tuple of two */
int tpl_undefined_value(struct tpl_rt *rt, const char *message, tpl_value_t *out);     /* a value that is undefined */
/* An iterator over what `next` makes out of `state`. */
int tpl_new_gen(struct tpl_rt *rt, const char *type, int (*next)(struct tpl_rt *, struct tpl_gen *, tpl_value_t *),
                void *state, tpl_value_t *out);
/* Python's sorted(): stable; `keys` decides, the order goes into `order` (n positions). `wrapped` compares keys as lists
 * of one item are compared: equal ones need no order. */
int tpl_sort(struct tpl_rt *rt, const tpl_value_t *keys, size_t n, bool wrapped, bool reverse, uint32_t *order);
#endif
