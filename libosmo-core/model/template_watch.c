/* What the bodies of loops, macros and blocks read: whether they need a loop variable, a caller, further arguments. Part of
 * the scope pass, used by template_scope.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

#define WORK_MAX 30000000

/* Bodies are walked once for every loop and macro around them; together that must stay a bounded piece of work. */
static bool spend(struct tpl_watch *w, int line) {
    if (++*w->work > WORK_MAX)
        tpl_parse_fail(w->p, line, "the template has too much text in too many loops");
    return *w->work <= WORK_MAX;
}

/* A name that the body has assigned to before is another one. */
static void watch_expr(struct tpl_watch *w, const struct tpl_node *n) {
    if (!n || !spend(w, n->line))
        return;
    for (int i = 0; i < TPL_WATCHES && n->type == N_NAME; i++) {
        if (n->slot == w->name[i] && !w->dead[i])
            w->used[i] = true;
    }
    for (const struct tpl_node *i = n->items; i; i = i->next)
        watch_expr(w, i);
    watch_expr(w, n->a);
    watch_expr(w, n->b);
    watch_expr(w, n->c);
    watch_expr(w, n->d);
}

static void watch_store(struct tpl_watch *w, const struct tpl_node *target) {
    for (const struct tpl_node *i = target->type == N_TUPLE ? target->items : NULL; i; i = i->next)
        watch_store(w, i);
    for (int i = 0; i < TPL_WATCHES && target->type == N_NAME; i++) {
        if (target->slot == w->name[i])
            w->dead[i] = true;
    }
}

static void watch_signature(struct tpl_watch *w, const struct tpl_node *n) {
    for (const struct tpl_node *param = n->a; param; param = param->next)
        watch_store(w, param->a);
    for (const struct tpl_node *param = n->a; param; param = param->next)
        watch_expr(w, param->b);
    tpl_watch_body(w, n->items);
}

static void watch_with(struct tpl_watch *w, const struct tpl_node *n) {
    for (const struct tpl_node *set = n->items; set; set = set->next)
        watch_store(w, set->a);
    for (const struct tpl_node *set = n->items; set; set = set->next)
        watch_expr(w, set->b);
    tpl_watch_body(w, n->b);
}

static void watch_if(struct tpl_watch *w, const struct tpl_node *n) {
    const struct tpl_node *part = n;
    for (bool more = true; more; part = part->c) {
        watch_expr(w, part->a);
        tpl_watch_body(w, part->b);
        more = part->c && part->c->type == N_IF && part->c->op;
    }
    tpl_watch_body(w, part);
}

static void watch_one(struct tpl_watch *w, const struct tpl_node *n) {
    if (!spend(w, n->line))
        return;
    switch (n->type) {
    case N_DATA: case N_BLOCK: break;
    case N_IF: watch_if(w, n); break;
    case N_FOR:
        watch_store(w, n->a);
        watch_expr(w, n->b);
        tpl_watch_body(w, n->items);
        tpl_watch_body(w, n->d);
        watch_expr(w, n->c);
        break;
    case N_SET:
        watch_store(w, n->a);
        watch_expr(w, n->b);
        break;
    case N_SET_BLOCK:
        watch_store(w, n->a);
        watch_expr(w, n->b);
        tpl_watch_body(w, n->items);
        break;
    case N_WITH: watch_with(w, n); break;
    case N_MACRO: watch_signature(w, n); break;
    case N_CALL_BLOCK:
        watch_expr(w, n->b);
        watch_signature(w, n);
        break;
    case N_FILTER_BLOCK:
        tpl_watch_body(w, n->items);
        watch_expr(w, n->b);
        break;
    case N_GROUP: tpl_watch_body(w, n->items); break;
    case N_SCOPE:
        watch_expr(w, n->a);
        tpl_watch_body(w, n->items);
        break;
    default: watch_expr(w, n->a); break; /* N_PRINT, N_LOADER */
    }
}

void tpl_watch_body(struct tpl_watch *w, const struct tpl_node *body) {
    for (; body; body = body->next)
        watch_one(w, body);
}

bool tpl_has_scoped_block(struct tpl_watch *w, const struct tpl_node *body) {
    for (; body && spend(w, body->line); body = body->next) {
        if (body->type == N_BLOCK && body->block->scoped)
            return true;
        if (body->type != N_DATA && body->type != N_PRINT && body->type != N_SET && body->type != N_LOADER &&
            (tpl_has_scoped_block(w, body->type == N_WITH ? NULL : body->items) ||
             tpl_has_scoped_block(w, body->type == N_IF || body->type == N_WITH ? body->b : NULL) ||
             tpl_has_scoped_block(w, body->type == N_IF ? body->c : NULL) || tpl_has_scoped_block(w, body->type == N_FOR ? body->d : NULL)))
            return true;
    }
    return false;
}
