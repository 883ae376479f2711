/* Statements of the template language: one row of the tag table and one function per tag. Used by template.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

struct tag {
    const char *name;
    struct tpl_node *(*parse)(struct tpl_parser *p, int line); /* NULL: known to Jinja, refused here */
};

static bool end_tag(struct tpl_parser *p) { return tpl_expect(p, T_BLOCK_END); }

/* True when the tag at the current token ("{%" "name") is one of the NULL-terminated `names`; consumes it and says which. */
static int accept_tag(struct tpl_parser *p, const char *const *names) {
    if (p->tok->type != T_BLOCK_BEGIN)
        return -1;
    for (int i = 0; names[i]; i++) {
        if (tpl_is_name(p->tok + 1, names[i])) {
            p->tok += 2;
            return i;
        }
    }
    return -1;
}

static struct tpl_node *parse_item(struct tpl_parser *p);

/* Statements up to one of `names`; *hit says which one ended them. A body may be empty, hence the bool. */
static bool parse_until(struct tpl_parser *p, const char *opener, int line, const char *const *names,
                        struct tpl_node **body, int *hit) {
    struct tpl_node **last = body;
    *body = NULL;
    while ((*hit = accept_tag(p, names)) < 0) {
        if (p->tok->type == T_EOF) {
            int n = 0;
            while (names[n])
                n++;
            tpl_parse_fail(p, line, "'%s' is not closed: '{%% %s %%}' is missing", opener, names[n - 1]);
            return false;
        }
        struct tpl_node *n = parse_item(p);
        if (!n)
            return false;
        *last = n;
        last = &n->next;
    }
    return true;
}

/* if/elif/else: a chain of N_IF nodes, condition in a, body in b, the rest in c (another N_IF or a body). */
static struct tpl_node *parse_if(struct tpl_parser *p, int line) {
    static const char *const branches[] = { "elif", "else", "endif", NULL }, *const end[] = { "endif", NULL };
    struct tpl_node *first = tpl_node(p, N_IF, line), *n = first;
    int hit;
    while (n) {
        if (!(n->a = tpl_parse_tuple(p, false)) || !end_tag(p) || !parse_until(p, "if", line, branches, &n->b, &hit))
            return NULL;
        if (hit == 0) {
            n->c = tpl_node(p, N_IF, p->tok[-1].line);
            if ((n = n->c))
                n->op = 1; /* an elif, not an if that happens to begin an else body */
            continue;
        }
        if (hit == 1 && (!end_tag(p) || !parse_until(p, "if", line, end, &n->c, &hit)))
            return NULL;
        return end_tag(p) ? first : NULL;
    }
    return NULL;
}

/* Target of for, set and with: a name, a tuple of targets, or namespace.attribute (set only). */
static struct tpl_node *parse_target_name(struct tpl_parser *p, bool with_namespace);

static struct tpl_node *parse_target(struct tpl_parser *p, bool with_namespace) {
    int line = p->tok->line;
    struct tpl_node *first = parse_target_name(p, with_namespace), **last;
    if (!first || p->tok->type != ',')
        return first;
    struct tpl_node *tuple = tpl_node(p, N_TUPLE, line);
    if (!tuple)
        return NULL;
    tuple->items = first;
    tuple->count = 1;
    last = &first->next;
    while (tpl_accept(p, ',')) {
        if (p->tok->type != T_NAME && p->tok->type != '(')
            break;
        if (tpl_is_name(p->tok, "in"))
            break;
        struct tpl_node *n = parse_target_name(p, with_namespace);
        if (!n)
            return NULL;
        *last = n;
        last = &n->next;
        tuple->count++;
    }
    return tuple;
}

static struct tpl_node *parse_target_name(struct tpl_parser *p, bool with_namespace) {
    struct tpl_token *tok = p->tok;
    struct tpl_node *n;
    if (tpl_accept(p, '(')) {
        n = tpl_enter(p) ? parse_target(p, with_namespace) : NULL;
        p->depth--;
        return n && tpl_expect(p, ')') ? n : NULL;
    }
    if (!tpl_expect(p, T_NAME))
        return NULL;
    static const char *const reserved[] = { "true", "false", "none", "True", "False", "None" };
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
        if (tpl_is_name(tok, reserved[i]))
            return tpl_parse_fail(p, tok->line, "cannot assign to '%s'", reserved[i]);
    }
    bool attribute = with_namespace && p->tok->type == '.';
    if (!(n = tpl_node(p, attribute ? N_GETATTR : N_NAME, tok->line)) || (n->slot = tpl_slot(p, tok->value)) < 0)
        return NULL;
    if (attribute) {
        p->tok++;
        n->value = p->tok->value;
        if (!tpl_expect(p, T_NAME))
            return NULL;
    }
    return n;
}

/* for: target a, iterable b, filter condition c, body items, else d. */
static struct tpl_node *parse_for(struct tpl_parser *p, int line) {
    static const char *const body_end[] = { "else", "endfor", NULL }, *const end[] = { "endfor", NULL };
    struct tpl_node *n = tpl_node(p, N_FOR, line);
    int hit;
    char got[64];
    tpl_value_t loop = tpl_str("loop", 4);
    if (!n || (n->slot = tpl_slot(p, loop)) < 0 || !(n->a = parse_target(p, false)))
        return NULL;
    if (!tpl_is_name(p->tok, "in"))
        return tpl_parse_fail(p, line, "expected 'in' in a 'for' tag, got %s", tpl_token_text(p->tok, got));
    p->tok++;
    if (!(n->b = tpl_parse_tuple(p, false)))
        return NULL;
    if (tpl_is_name(p->tok, "if")) {
        p->tok++;
        if (!(n->c = tpl_parse_expression(p, true)))
            return NULL;
    }
    if (tpl_is_name(p->tok, "recursive"))
        return tpl_parse_fail(p, line, "'for … recursive' is not supported");
    if (!end_tag(p) || !parse_until(p, "for", line, body_end, &n->items, &hit))
        return NULL;
    if (hit == 0 && (!end_tag(p) || !parse_until(p, "for", line, end, &n->d, &hit)))
        return NULL;
    return end_tag(p) ? n : NULL;
}

/* set: target a, value b; the block form has filters in b (or NULL) and its text in items. */
static struct tpl_node *parse_set(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endset", NULL };
    struct tpl_node *target = parse_target(p, true), *n;
    int hit;
    if (!target)
        return NULL;
    bool inline_value = tpl_accept(p, '=');
    if (!(n = tpl_node(p, inline_value ? N_SET : N_SET_BLOCK, line)))
        return NULL;
    n->a = target;
    if (inline_value)
        return (n->b = tpl_parse_tuple(p, true)) && end_tag(p) ? n : NULL;
    if (target->type == N_TUPLE)
        return tpl_parse_fail(p, line, "a 'set' block needs a single name");
    if (p->tok->type == '|' && !(n->b = tpl_parse_filters(p, NULL, false)))
        return NULL;
    return end_tag(p) && parse_until(p, "set", line, end, &n->items, &hit) && end_tag(p) ? n : NULL;
}

/* with: items are N_SET nodes whose values are evaluated outside of the new scope; body in b. */
static struct tpl_node *parse_with(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endwith", NULL };
    struct tpl_node *n = tpl_node(p, N_WITH, line), **last;
    int hit;
    if (!n)
        return NULL;
    for (last = &n->items; p->tok->type != T_BLOCK_END; n->count++) {
        if (n->count && !tpl_expect(p, ','))
            return NULL;
        if (n->count == TPL_MAX_ARGS)
            return tpl_parse_fail(p, line, "a 'with' tag has more than %d names", TPL_MAX_ARGS);
        struct tpl_node *set = tpl_node(p, N_SET, p->tok->line);
        if (!set || !(set->a = parse_target_name(p, false)) || !tpl_expect(p, '=') ||
            !(set->b = tpl_parse_expression(p, true)))
            return NULL;
        *last = set;
        last = &set->next;
    }
    return end_tag(p) && parse_until(p, "with", line, end, &n->b, &hit) && end_tag(p) ? n : NULL;
}

static struct tpl_node *parse_filter_block(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endfilter", NULL };
    struct tpl_node *n = tpl_node(p, N_FILTER_BLOCK, line);
    int hit;
    if (!n || !(n->b = tpl_parse_filters(p, NULL, true)))
        return NULL;
    return end_tag(p) && parse_until(p, "filter", line, end, &n->items, &hit) && end_tag(p) ? n : NULL;
}

static const struct tag tags[] = {
    { "if", parse_if }, { "for", parse_for }, { "set", parse_set }, { "with", parse_with }, { "filter", parse_filter_block },
    { "include", NULL }, { "import", NULL }, { "from", NULL }, { "extends", NULL }, { "block", NULL }, { "macro", NULL },
    { "call", NULL }, { "print", NULL }, { "autoescape", NULL },
};

static struct tpl_node *parse_tag(struct tpl_parser *p) {
    struct tpl_token *tok = ++p->tok;
    char got[64];
    if (tok->type != T_NAME)
        return tpl_parse_fail(p, tok->line, "expected the name of a tag behind '{%%', got %s", tpl_token_text(tok, got));
    p->tok++;
    for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
        if (!tpl_is_name(tok, tags[i].name))
            continue;
        if (!tags[i].parse)
            return tpl_parse_fail(p, tok->line, "tag '%s' is not supported", tags[i].name);
        if (!tpl_enter(p))
            return NULL;
        struct tpl_node *n = tags[i].parse(p, tok->line);
        p->depth--;
        return n;
    }
    return tpl_parse_fail(p, tok->line, "unknown or misplaced tag %s", tpl_token_text(tok, got));
}

static struct tpl_node *parse_item(struct tpl_parser *p) {
    struct tpl_token *tok = p->tok;
    if (tok->type == T_BLOCK_BEGIN)
        return parse_tag(p);
    struct tpl_node *n = tpl_node(p, tok->type == T_DATA ? N_DATA : N_PRINT, tok->line);
    if (!n)
        return NULL;
    p->tok++;
    if (tok->type == T_DATA) {
        n->value = tok->value;
        return n;
    }
    return (n->a = tpl_parse_tuple(p, true)) && tpl_expect(p, T_VAR_END) ? n : NULL;
}

struct tpl_node *tpl_parse_body(struct tpl_parser *p) {
    struct tpl_node *first = NULL, **last = &first;
    while (p->tok->type != T_EOF) {
        struct tpl_node *n = parse_item(p);
        if (!n)
            return NULL;
        *last = n;
        last = &n->next;
    }
    return first;
}
