/* Statements of the template language: one row of the tag table and one function per tag. Used by template.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

struct tag {
    const char *name;
    struct tpl_node *(*parse)(struct tpl_parser *p, int line);
};

static bool end_tag(struct tpl_parser *p) { return tpl_expect(p, T_BLOCK_END); }

/* The end of a tag that a body follows: there a colon may stand, as Python writers put it. */
static bool begin_body(struct tpl_parser *p) {
    tpl_accept(p, ':');
    return end_tag(p);
}

static bool accept_word(struct tpl_parser *p, const char *word) {
    bool hit = tpl_is_name(p->tok, word);
    p->tok += hit;
    return hit;
}

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
        if (!(n->a = tpl_parse_tuple(p, false)) || !begin_body(p) || !parse_until(p, "if", line, branches, &n->b, &hit))
            return NULL;
        if (hit == 0) {
            n->c = tpl_node(p, N_IF, p->tok[-1].line);
            if ((n = n->c))
                n->op = 1; /* an elif, not an if that happens to begin an else body */
            continue;
        }
        if (hit == 1 && (!begin_body(p) || !parse_until(p, "if", line, end, &n->c, &hit)))
            return NULL;
        return end_tag(p) ? first : NULL;
    }
    return NULL;
}

/* Target of for, set and with: a name, a tuple of targets, or namespace.attribute (set only). */
static struct tpl_node *parse_target_item(struct tpl_parser *p, bool with_namespace);

static bool target_ends(const struct tpl_token *tok) {
    return tok->type == '=' || tok->type == ')' || tok->type == '|' || tok->type == T_BLOCK_END || tpl_is_name(tok, "in");
}

static struct tpl_node *parse_targets(struct tpl_parser *p, bool with_namespace) {
    int line = p->tok->line;
    struct tpl_node *first = NULL, **last = &first;
    int count = 0;
    bool comma = false;
    while (!target_ends(p->tok)) {
        if (!(*last = parse_target_item(p, with_namespace)))
            return NULL;
        last = &(*last)->next;
        count++;
        if (!tpl_accept(p, ','))
            break;
        comma = true;
    }
    if (count == 1 && !comma)
        return first;
    char got[64];
    if (!count && p->tok[-1].type != '(')
        return tpl_parse_fail(p, line, "expected a name to assign to, got %s", tpl_token_text(p->tok, got));
    struct tpl_node *tuple = tpl_node(p, N_TUPLE, line);
    if (tuple) {
        tuple->items = first;
        tuple->count = count;
    }
    return tuple;
}

static struct tpl_node *parse_name_target(struct tpl_parser *p) {
    static const char *const reserved[] = { "true", "false", "none", "True", "False", "None" };
    struct tpl_token *tok = p->tok;
    if (!tpl_expect(p, T_NAME))
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
        if (tpl_is_name(tok, reserved[i]))
            return tpl_parse_fail(p, tok->line, "cannot assign to '%s'", reserved[i]);
    }
    struct tpl_node *n = tpl_node(p, N_NAME, tok->line);
    if (!n || (n->slot = tpl_slot(p, tok->value)) < 0)
        return NULL;
    n->value = tok->value;
    return n;
}

static struct tpl_node *parse_target_item(struct tpl_parser *p, bool with_namespace) {
    struct tpl_node *n;
    if (tpl_accept(p, '(')) {
        n = tpl_enter(p) ? parse_targets(p, with_namespace) : NULL;
        p->depth--;
        return n && tpl_expect(p, ')') ? n : NULL;
    }
    if (!(n = parse_name_target(p)) || !with_namespace || !tpl_accept(p, '.'))
        return n;
    n->type = N_GETATTR;
    n->value = p->tok->value;
    return tpl_expect(p, T_NAME) ? n : NULL;
}

/* for: target a, iterable b, filter condition c, body items, else d; op 1 when recursive. */
static struct tpl_node *parse_for(struct tpl_parser *p, int line) {
    static const char *const body_end[] = { "else", "endfor", NULL }, *const end[] = { "endfor", NULL };
    struct tpl_node *n = tpl_node(p, N_FOR, line);
    int hit;
    char got[64];
    if (!n || !(n->a = parse_targets(p, false)))
        return NULL;
    if (!accept_word(p, "in"))
        return tpl_parse_fail(p, line, "expected 'in' in a 'for' tag, got %s", tpl_token_text(p->tok, got));
    if (!(n->b = tpl_parse_tuple(p, false)))
        return NULL;
    if (accept_word(p, "if") && !(n->c = tpl_parse_expression(p, true)))
        return NULL;
    n->op = accept_word(p, "recursive");
    if (!begin_body(p) || !parse_until(p, "for", line, body_end, &n->items, &hit))
        return NULL;
    if (hit == 0 && (!begin_body(p) || !parse_until(p, "for", line, end, &n->d, &hit)))
        return NULL;
    return end_tag(p) ? n : NULL;
}

/* set: target a, value b; the block form has filters in b (or NULL) and its text in items. */
static struct tpl_node *parse_set(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endset", NULL };
    struct tpl_node *target = parse_targets(p, true), *n;
    int hit;
    if (!target)
        return NULL;
    bool inline_value = tpl_accept(p, '=');
    if (!(n = tpl_node(p, inline_value ? N_SET : N_SET_BLOCK, line)))
        return NULL;
    n->a = target;
    if (inline_value)
        return (n->b = tpl_parse_tuple(p, true)) && end_tag(p) ? n : NULL;
    if (p->tok->type == '|' && !(n->b = tpl_parse_filters(p, NULL, false)))
        return NULL;
    return begin_body(p) && parse_until(p, "set", line, end, &n->items, &hit) && end_tag(p) ? n : NULL;
}

/* with: items are N_SET nodes whose values belong to the scope outside; body in b. */
static struct tpl_node *parse_with(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endwith", NULL };
    struct tpl_node *n = tpl_node(p, N_WITH, line), **last;
    int hit;
    if (!n)
        return NULL;
    for (last = &n->items; p->tok->type != T_BLOCK_END && p->tok->type != ':'; n->count++) {
        if (n->count && !tpl_expect(p, ','))
            return NULL;
        struct tpl_node *set = tpl_node(p, N_SET, p->tok->line);
        if (!set || !(set->a = parse_targets(p, false)) || !tpl_expect(p, '=') ||
            !(set->b = tpl_parse_expression(p, true)))
            return NULL;
        *last = set;
        last = &set->next;
    }
    return begin_body(p) && parse_until(p, "with", line, end, &n->b, &hit) && end_tag(p) ? n : NULL;
}

static struct tpl_node *parse_filter_block(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endfilter", NULL };
    struct tpl_node *n = tpl_node(p, N_FILTER_BLOCK, line);
    int hit;
    if (!n || !(n->b = tpl_parse_filters(p, NULL, true)))
        return NULL;
    return begin_body(p) && parse_until(p, "filter", line, end, &n->items, &hit) && end_tag(p) ? n : NULL;
}

/* ---- macros and blocks ---- */
/* (a, b=1): a is the list of N_SET nodes of macro and call tags, target a and default b (or NULL). */
static bool parse_signature(struct tpl_parser *p, struct tpl_node *n) {
    struct tpl_node **last = &n->a;
    bool defaults = false;
    if (!tpl_expect(p, '('))
        return false;
    for (; p->tok->type != ')'; n->count++) {
        if (n->count && !tpl_expect(p, ','))
            return false;
        int line = p->tok->line;
        struct tpl_node *param = tpl_node(p, N_SET, line);
        if (!param || !(param->a = parse_name_target(p)))
            return false;
        for (const struct tpl_node *other = n->a; other; other = other->next) {
            if (other->a->slot == param->a->slot) {
                tpl_parse_fail(p, line, "the parameter '%.*s' is declared twice", (int)param->a->value.len, param->a->value.u.s);
                return false;
            }
        }
        if (tpl_accept(p, '=')) {
            defaults = true;
            if (!(param->b = tpl_parse_expression(p, true)))
                return false;
        } else if (defaults) {
            tpl_parse_fail(p, line, "a parameter without a default stands behind one with a default");
            return false;
        }
        if (n->count == TPL_MAX_ARGS) {
            tpl_parse_fail(p, line, "more than %d parameters", TPL_MAX_ARGS);
            return false;
        }
        *last = param;
        last = &param->next;
    }
    return tpl_expect(p, ')');
}

/* macro: parameters a, body items, name in value and slot. */
static struct tpl_node *parse_macro(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endmacro", NULL };
    struct tpl_node *n = tpl_node(p, N_MACRO, line), *name;
    int hit;
    if (!n || !(name = parse_name_target(p)))
        return NULL;
    n->value = name->value;
    n->slot = name->slot;
    return parse_signature(p, n) && begin_body(p) && parse_until(p, "macro", line, end, &n->items, &hit) && end_tag(p) ? n : NULL;
}

/* call: parameters of the caller a, call b, body items. */
static struct tpl_node *parse_call_block(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endcall", NULL };
    struct tpl_node *n = tpl_node(p, N_CALL_BLOCK, line);
    int hit;
    if (!n || (p->tok->type == '(' && !parse_signature(p, n)) || !(n->b = tpl_parse_expression(p, true)))
        return NULL;
    if (n->b->type != N_CALL)
        return tpl_parse_fail(p, line, "a 'call' tag needs a call such as name()");
    return begin_body(p) && parse_until(p, "call", line, end, &n->items, &hit) && end_tag(p) ? n : NULL;
}

static bool only_blanks(const struct tpl_node *body) {
    for (; body; body = body->next) {
        if (body->type != N_DATA)
            return false;
        for (uint32_t i = 0; i < body->value.len; i++) {
            if (!tpl_space(body->value.u.s[i]))
                return false;
        }
    }
    return true;
}

/* block: body items. It is one of the template's blocks too, since `self` and other blocks reach it. */
static struct tpl_node *parse_block(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endblock", NULL };
    struct tpl_node *n = tpl_node(p, N_BLOCK, line);
    struct tpl_block *b = tpl_arena_alloc(&p->t->arena, sizeof(*b));
    int hit;
    char got[64];
    if (!n || !b)
        return tpl_parse_nomem(p);
    b->name = p->tok->value;
    b->node = n;
    if (!tpl_expect(p, T_NAME))
        return NULL;
    for (const struct tpl_block *other = p->t->blocks; other; other = other->next) {
        if (other->name.len == b->name.len && memcmp(other->name.u.s, b->name.u.s, b->name.len) == 0)
            return tpl_parse_fail(p, line, "block '%.*s' is defined twice", (int)b->name.len, b->name.u.s);
    }
    b->scoped = accept_word(p, "scoped");
    b->required = accept_word(p, "required");
    if (p->tok->type == '-')
        return tpl_parse_fail(p, line, "the name of a block cannot hold %s", tpl_token_text(p->tok, got));
    *p->last_block = b;
    p->last_block = &b->next;
    n->value = b->name;
    n->block = b;
    if (!begin_body(p) || !parse_until(p, "block", line, end, &n->items, &hit))
        return NULL;
    if (b->required && !only_blanks(n->items))
        return tpl_parse_fail(p, line, "a required block can hold only comments and blanks");
    if (p->tok->type == T_NAME && p->tok->value.len == b->name.len && memcmp(p->tok->value.u.s, b->name.u.s, b->name.len) == 0)
        p->tok++;
    return end_tag(p) ? n : NULL;
}

/* ---- other templates: there are none to load, but only running into the tag fails ---- */
static bool parse_context(struct tpl_parser *p) {
    if ((!tpl_is_name(p->tok, "with") && !tpl_is_name(p->tok, "without")) || !tpl_is_name(p->tok + 1, "context"))
        return false;
    p->tok += 2;
    return true;
}

/* Template expression a, tag in value, names that it would set in items; op 1 for `ignore missing`. */
static struct tpl_node *parse_loader(struct tpl_parser *p, int line) {
    struct tpl_node *n = tpl_node(p, N_LOADER, line);
    if (!n)
        return NULL;
    n->value = p->tok[-1].value;
    if (!(n->a = tpl_parse_expression(p, true)))
        return NULL;
    return n;
}

static struct tpl_node *parse_extends(struct tpl_parser *p, int line) {
    struct tpl_node *n = parse_loader(p, line);
    return n && end_tag(p) ? n : NULL;
}

static struct tpl_node *parse_include(struct tpl_parser *p, int line) {
    struct tpl_node *n = parse_loader(p, line);
    if (n && tpl_is_name(p->tok, "ignore") && tpl_is_name(p->tok + 1, "missing")) {
        p->tok += 2;
        n->op = 1;
    }
    if (n)
        parse_context(p);
    return n && end_tag(p) ? n : NULL;
}

static struct tpl_node *parse_import(struct tpl_parser *p, int line) {
    struct tpl_node *n = parse_loader(p, line);
    char got[64];
    if (n && !accept_word(p, "as"))
        return tpl_parse_fail(p, line, "expected 'as' in an 'import' tag, got %s", tpl_token_text(p->tok, got));
    if (!n || !(n->items = parse_name_target(p)))
        return NULL;
    parse_context(p);
    return end_tag(p) ? n : NULL;
}

static struct tpl_node *parse_from(struct tpl_parser *p, int line) {
    struct tpl_node *n = parse_loader(p, line), **last;
    char got[64];
    if (n && !accept_word(p, "import"))
        return tpl_parse_fail(p, line, "expected 'import' in a 'from' tag, got %s", tpl_token_text(p->tok, got));
    if (!n)
        return NULL;
    for (last = &n->items; !parse_context(p);) {
        if (n->items && !tpl_expect(p, ','))
            return NULL;
        if (n->items && parse_context(p))
            break;
        struct tpl_node *name = parse_name_target(p);
        if (!name)
            return NULL;
        if (name->value.u.s[0] == '_')
            return tpl_parse_fail(p, line, "names that begin with '_' cannot be imported");
        if (accept_word(p, "as") && !(name = parse_name_target(p)))
            return NULL;
        *last = name;
        last = &name->next;
        if (parse_context(p) || p->tok->type != ',')
            break;
    }
    return end_tag(p) ? n : NULL;
}

/* print: N_PRINT nodes in items. */
static struct tpl_node *parse_print(struct tpl_parser *p, int line) {
    struct tpl_node *n = tpl_node(p, N_GROUP, line), **last;
    if (!n)
        return NULL;
    for (last = &n->items; p->tok->type != T_BLOCK_END; last = &(*last)->next) {
        if (n->items && !tpl_expect(p, ','))
            return NULL;
        if (!(*last = tpl_node(p, N_PRINT, p->tok->line)) || !((*last)->a = tpl_parse_expression(p, true)))
            return NULL;
    }
    return end_tag(p) ? n : NULL;
}

/* autoescape: the switch a, body items. */
static struct tpl_node *parse_autoescape(struct tpl_parser *p, int line) {
    static const char *const end[] = { "endautoescape", NULL };
    struct tpl_node *n = tpl_node(p, N_SCOPE, line);
    int hit;
    if (!n || !(n->a = tpl_parse_expression(p, true)))
        return NULL;
    return begin_body(p) && parse_until(p, "autoescape", line, end, &n->items, &hit) && end_tag(p) ? n : NULL;
}

static const struct tag tags[] = {
    { "if", parse_if }, { "for", parse_for }, { "set", parse_set }, { "with", parse_with }, { "filter", parse_filter_block },
    { "macro", parse_macro }, { "call", parse_call_block }, { "block", parse_block }, { "print", parse_print },
    { "include", parse_include }, { "import", parse_import }, { "from", parse_from }, { "extends", parse_extends },
    { "autoescape", parse_autoescape },
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
    p->last_block = &p->t->blocks;
    while (p->tok->type != T_EOF) {
        struct tpl_node *n = parse_item(p);
        if (!n)
            return NULL;
        *last = n;
        last = &n->next;
    }
    return first;
}
