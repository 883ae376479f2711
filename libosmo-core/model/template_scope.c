/* Scopes of the template language. Jinja decides where a name lives before anything runs: a scope that assigns to a
 * name has a variable of its own, which begins with the value outside; a name nobody assigns comes from the caller's
 * variables. This pass gives every name its slot in an activation, so that rendering never looks a name up, and finds
 * unknown filters and tests. Used by template.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

struct symbols;
struct entry {
    int name, slot, branches, stamp;
    bool defined, stored;
    enum tpl_load load;
    struct symbols *owner;
    struct entry *from; /* LOAD_ALIAS: the variable outside */
    struct entry *next; /* in the order of their making */
};

struct symbols {
    struct symbols *parent;
    struct tpl_unit *unit;
    struct entry **index, *first, **last;
    size_t cap;
    int n;
};

/* State of an entry before a change, to put back behind a branch of an `if`. */
struct change { struct entry *e; struct entry was; };

struct scopes {
    struct template *t;
    struct tpl_parser *p;
    struct tpl_arena arena;
    struct change *log;
    size_t log_len, log_cap;
    int stamp, loops; /* loops: how many enclose the current statement */
    size_t work;
    int loop_name, caller_name, kwargs_name, varargs_name, self_name, super_name;
};

/* Where a statement stands: `soft` below an if, `toplevel` where assignments are seen by blocks. */
struct place { struct symbols *s; bool soft, toplevel; enum tpl_escaping escape, fixed; };

static void *grab(struct scopes *r, size_t size) {
    void *p = tpl_arena_alloc(&r->arena, size);
    if (!p)
        tpl_parse_nomem(r->p);
    return p;
}

static void *keep(struct scopes *r, size_t size) {
    void *p = tpl_arena_alloc(&r->t->arena, size);
    if (!p)
        tpl_parse_nomem(r->p);
    return p;
}

/* ---- symbols of one scope ---- */
static struct symbols *new_symbols(struct scopes *r, struct symbols *parent, struct tpl_unit *unit) {
    struct symbols *s = grab(r, sizeof(*s));
    if (!s)
        return NULL;
    s->parent = parent;
    s->unit = unit;
    s->last = &s->first;
    return s;
}

static size_t home(const struct symbols *s, int name) { return ((size_t)name * 0x9e3779b97f4a7c15u >> 20) & (s->cap - 1); }

static struct entry *lookup(const struct symbols *s, int name) {
    if (!s->cap)
        return NULL;
    for (size_t at = home(s, name); s->index[at]; at = (at + 1) & (s->cap - 1)) {
        if (s->index[at]->name == name)
            return s->index[at];
    }
    return NULL;
}

static void index_entry(struct symbols *s, struct entry *e) {
    size_t at = home(s, e->name);
    while (s->index[at])
        at = (at + 1) & (s->cap - 1);
    s->index[at] = e;
}

static struct entry *entry_of(struct scopes *r, struct symbols *s, int name) {
    struct entry *e = lookup(s, name);
    if (e)
        return e;
    if ((size_t)s->n * 2 >= s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 8;
        struct entry **index = grab(r, cap * sizeof(struct entry *));
        if (!index)
            return NULL;
        s->index = index;
        s->cap = cap;
        for (struct entry *old = s->first; old; old = old->next)
            index_entry(s, old);
    }
    if (!(e = grab(r, sizeof(*e))))
        return NULL;
    e->name = name;
    e->owner = s;
    e->slot = s->unit->n_slots++;
    *s->last = e;
    s->last = &e->next;
    s->n++;
    index_entry(s, e);
    return e;
}

static struct entry *find(const struct symbols *s, int name) {
    for (; s; s = s->parent) {
        struct entry *e = lookup(s, name);
        if (e && e->defined)
            return e;
    }
    return NULL;
}

static bool remember(struct scopes *r, struct entry *e) {
    if (r->log_len == r->log_cap) {
        size_t cap = r->log_cap ? r->log_cap * 2 : 64;
        struct change *grown = realloc(r->log, cap * sizeof(*grown));
        if (!grown) {
            tpl_parse_nomem(r->p);
            return false;
        }
        r->log = grown;
        r->log_cap = cap;
    }
    r->log[r->log_len++] = (struct change){ e, *e };
    return true;
}

static bool define(struct scopes *r, struct symbols *s, int name, enum tpl_load load, struct entry *from, bool stored) {
    struct entry *e = entry_of(r, s, name);
    if (!e || !remember(r, e))
        return false;
    e->defined = true;
    e->load = load;
    e->from = from;
    e->stored = e->stored || stored;
    return true;
}

static bool load_name(struct scopes *r, struct symbols *s, int name) {
    return find(s, name) ? true : define(r, s, name, LOAD_GLOBAL, NULL, false);
}

static bool store_name(struct scopes *r, struct symbols *s, int name) {
    struct entry *e = lookup(s, name);
    if (e && e->defined) {
        if (e->stored)
            return true;
        if (!remember(r, e))
            return false;
        e->stored = true;
        return true;
    }
    struct entry *outer = s->parent ? find(s->parent, name) : NULL;
    return define(r, s, name, outer ? LOAD_ALIAS : LOAD_UNDEF, outer, true);
}

static int declare(struct scopes *r, struct symbols *s, int name) { /* a parameter: its slot, or -1 */
    return define(r, s, name, LOAD_PARAM, NULL, true) ? lookup(s, name)->slot : -1;
}

/* ---- walking expressions ---- */
typedef bool name_fn(struct scopes *r, void *arg, const struct tpl_node *name);

static bool each_name(struct scopes *r, const struct tpl_node *n, name_fn *fn, void *arg) {
    if (!n)
        return true;
    if (n->type == N_NAME)
        return fn(r, arg, n);
    for (const struct tpl_node *i = n->items; i; i = i->next) {
        if (!each_name(r, i, fn, arg))
            return false;
    }
    return each_name(r, n->a, fn, arg) && each_name(r, n->b, fn, arg) && each_name(r, n->c, fn, arg) &&
           each_name(r, n->d, fn, arg);
}

/* ---- first walk over a scope: what it reads and assigns, without the scopes inside ---- */
static bool note_load(struct scopes *r, void *arg, const struct tpl_node *n) { return load_name(r, arg, n->slot); }
static bool note_expr(struct scopes *r, struct symbols *s, const struct tpl_node *n) { return each_name(r, n, note_load, s); }

static bool note_target(struct scopes *r, struct symbols *s, const struct tpl_node *target, bool param) {
    if (target->type == N_NAME)
        return param ? declare(r, s, target->slot) >= 0 : store_name(r, s, target->slot);
    if (target->type == N_GETATTR)
        return load_name(r, s, target->slot);
    for (const struct tpl_node *i = target->items; i; i = i->next) {
        if (!note_target(r, s, i, param))
            return false;
    }
    return true;
}

static bool note_body(struct scopes *r, struct symbols *s, const struct tpl_node *body);

/* What a branch has changed stays in `changes`, once each and with its last state; the state before is put back. */
static struct change *take_changes(struct scopes *r, size_t mark, size_t *n) {
    *n = r->log_len - mark;
    struct change *changes = grab(r, (*n + 1) * sizeof(*changes));
    for (size_t i = *n; changes && i-- > 0;) {
        struct change *c = &r->log[mark + i];
        struct entry now = *c->e, *e = c->e;
        e->defined = c->was.defined;
        e->stored = c->was.stored;
        e->load = c->was.load;
        e->from = c->was.from;
        changes[i] = (struct change){ e->stamp == r->stamp ? NULL : e, now };
        e->stamp = r->stamp;
    }
    r->stamp++;
    r->log_len = mark;
    return changes;
}

#define BRANCHES 3
static bool note_if(struct scopes *r, struct symbols *s, const struct tpl_node *n, bool alone);

static bool note_elifs(struct scopes *r, struct symbols *s, const struct tpl_node *n) {
    for (; n && n->type == N_IF && n->op; n = n->c) {
        if (!note_if(r, s, n, true))
            return false;
    }
    return true;
}

/* Joins the branches: a name that only some of them assign begins with its value outside. */
static bool join_branches(struct scopes *r, struct symbols *s, struct change *const changes[BRANCHES], const size_t n[BRANCHES]) {
    for (int k = 0; k < BRANCHES; k++) {
        for (size_t i = 0; i < n[k]; i++) {
            if (changes[k][i].e)
                changes[k][i].e->branches = 0;
        }
    }
    for (int k = 0; k < BRANCHES; k++) {
        for (size_t i = 0; i < n[k]; i++) {
            const struct change *c = &changes[k][i];
            if (!c->e)
                continue;
            if (!remember(r, c->e))
                return false;
            if (c->was.stored && (!c->e->stored || c->e->branches))
                c->e->branches |= 1 << k;
            c->e->defined = c->e->defined || c->was.defined;
            c->e->load = c->was.load;
            c->e->from = c->was.from;
            c->e->stored = c->e->stored || c->was.stored;
        }
    }
    for (int k = 0; k < BRANCHES; k++) {
        for (size_t i = 0; i < n[k]; i++) {
            struct entry *e = changes[k][i].e;
            if (!e || !e->branches || e->branches == (1 << BRANCHES) - 1)
                continue;
            e->from = s->parent ? find(s->parent, e->name) : NULL;
            e->load = e->from ? LOAD_ALIAS : LOAD_GLOBAL;
        }
    }
    return true;
}

static bool note_if(struct scopes *r, struct symbols *s, const struct tpl_node *n, bool alone) {
    struct change *changes[BRANCHES];
    size_t count[BRANCHES], mark = r->log_len;
    const struct tpl_node *rest = alone ? NULL : n->c, *otherwise = rest;
    while (otherwise && otherwise->type == N_IF && otherwise->op)
        otherwise = otherwise->c;
    if (!note_expr(r, s, n->a))
        return false;
    mark = r->log_len;
    for (int k = 0; k < BRANCHES; k++) {
        bool ok = k == 0 ? note_body(r, s, n->b) : k == 1 ? note_elifs(r, s, rest) : note_body(r, s, otherwise);
        if (!ok || !(changes[k] = take_changes(r, mark, &count[k])))
            return false;
    }
    return join_branches(r, s, changes, count);
}

static bool note_one(struct scopes *r, struct symbols *s, const struct tpl_node *n) {
    switch (n->type) {
    case N_DATA: case N_BLOCK: case N_SCOPE: return true;
    case N_PRINT: return note_expr(r, s, n->a);
    case N_GROUP: return note_body(r, s, n->items);
    case N_IF: return note_if(r, s, n, false);
    case N_FOR: case N_CALL_BLOCK: case N_FILTER_BLOCK: return note_expr(r, s, n->b);
    case N_SET: return note_expr(r, s, n->b) && note_target(r, s, n->a, false);
    case N_SET_BLOCK: return note_target(r, s, n->a, false);
    case N_WITH:
        for (const struct tpl_node *set = n->items; set; set = set->next) {
            if (!note_expr(r, s, set->b))
                return false;
        }
        return true;
    case N_MACRO: return store_name(r, s, n->slot);
    case N_LOADER:
        if (!note_expr(r, s, n->a))
            return false;
        for (const struct tpl_node *i = n->items; i; i = i->next) {
            if (!store_name(r, s, i->slot))
                return false;
        }
        return true;
    default: return true;
    }
}

static bool note_body(struct scopes *r, struct symbols *s, const struct tpl_node *body) {
    for (; body; body = body->next) {
        if (!note_one(r, s, body))
            return false;
    }
    return true;
}

/* ---- second walk: names to slots ---- */
/* Activations between `from` and the scope of `e`. What lies between is held by the closure, so it is not used again. */
static int climb(const struct symbols *from, const struct entry *e) {
    int hops = 0;
    for (const struct symbols *s = from; s != e->owner; s = s->parent)
        hops += s->unit != s->parent->unit;
    return hops;
}

static void bind(const struct place *at, struct tpl_node *n) {
    struct entry *e = find(at->s, n->slot);
    if (!e || (e->load == LOAD_GLOBAL && !e->stored))
        return; /* stays N_NAME: a variable of the caller */
    n->hops = climb(at->s, e);
    n->type = n->hops ? N_OUTER : N_LOCAL;
    n->slot = e->slot;
}

/* Jinja computes what is constant beforehand, and there it does not ask whether output is escaped. */
static bool is_constant(const struct tpl_node *n, bool with_filters) {
    if (!n)
        return true;
    if (n->type == N_NAME || n->type == N_LOCAL || n->type == N_OUTER || n->type == N_CALL ||
        ((n->type == N_FILTER || n->type == N_TEST) && !with_filters))
        return false;
    for (const struct tpl_node *i = n->items; i; i = i->next) {
        if (!is_constant(i, with_filters))
            return false;
    }
    return is_constant(n->a, with_filters) && is_constant(n->b, with_filters) && is_constant(n->c, with_filters) &&
           is_constant(n->d, with_filters);
}

static bool bind_expr(struct scopes *r, const struct place *at, struct tpl_node *n) {
    struct place inner = *at;
    if (!n)
        return true;
    if (n->type == N_NAME) {
        bind(at, n);
        return true;
    }
    if ((n->type == N_FILTER || n->type == N_TEST) && (!n->row || !n->row->fn) && !at->soft) {
        tpl_parse_fail(r->p, n->line, "%s '%.*s' is not %s", n->type == N_FILTER ? "filter" : "test", (int)n->value.len,
                       n->value.u.s, n->row ? "supported" : "known");
        return false;
    }
    inner.soft = at->soft || n->type == N_COND;
    if (n->type == N_CONCAT)
        n->op = at->escape == ESCAPE_ON && !is_constant(n, true);
    for (struct tpl_node *i = n->items; i; i = i->next) {
        if (!bind_expr(r, &inner, i))
            return false;
    }
    return bind_expr(r, &inner, n->a) && bind_expr(r, &inner, n->b) && bind_expr(r, &inner, n->c) && bind_expr(r, &inner, n->d);
}

static void bind_target(struct scopes *r, const struct place *at, struct tpl_node *target) {
    for (struct tpl_node *i = target->type == N_TUPLE ? target->items : NULL; i; i = i->next)
        bind_target(r, at, i);
    if (target->type == N_TUPLE)
        return;
    if (target->type == N_NAME && at->toplevel && r->t->blocks)
        target->export = target->slot + 1;
    struct entry *e = find(at->s, target->slot);
    bool global = !e || (e->load == LOAD_GLOBAL && !e->stored);
    if (target->type == N_GETATTR)
        target->op = global; /* the namespace is a variable of the caller */
    if (global)
        return;
    target->hops = climb(at->s, e);
    target->slot = e->slot;
    if (target->type == N_NAME)
        target->type = target->hops ? N_OUTER : N_LOCAL;
}

/* What entering the scope has to do. */
static bool fill_scope(struct scopes *r, const struct symbols *s, struct tpl_scope *out) {
    if (!(out->inits = keep(r, ((size_t)s->n + 1) * sizeof(*out->inits))))
        return false;
    for (const struct entry *e = s->first; e; e = e->next) {
        if (!e->defined || e->load == LOAD_PARAM || (e->load == LOAD_GLOBAL && !e->stored))
            continue;
        struct tpl_init *init = &out->inits[out->n++];
        *init = (struct tpl_init){ .how = (uint8_t)e->load, .slot = e->slot, .from = e->name, .name = r->t->names[e->name] };
        if (e->load != LOAD_ALIAS)
            continue;
        if (e->from->load == LOAD_GLOBAL && !e->from->stored) {
            init->how = LOAD_GLOBAL;
            continue;
        }
        init->from = e->from->slot;
        init->hops = climb(s, e->from);
    }
    return true;
}

static struct tpl_scope *scope_of(struct scopes *r, const struct symbols *s) {
    struct tpl_scope *scope = keep(r, sizeof(*scope));
    return scope && fill_scope(r, s, scope) ? scope : NULL;
}

static bool bind_body(struct scopes *r, const struct place *at, struct tpl_node *body);

static struct tpl_unit *new_unit(struct scopes *r, struct symbols *outer, int line) {
    struct tpl_unit *u = keep(r, sizeof(*u));
    if (!u)
        return NULL;
    if (outer)
        outer->unit->captured = true;
    u->index = r->t->n_units++;
    u->line = line;
    u->caller = u->kwargs = u->varargs = u->self = u->super = -1;
    return u;
}

static struct tpl_node *copy_target(struct scopes *r, const struct tpl_node *target) {
    struct tpl_node *copy = keep(r, sizeof(*copy)), **last;
    if (!copy)
        return NULL;
    *copy = *target;
    copy->items = copy->next = NULL;
    last = &copy->items;
    for (const struct tpl_node *i = target->items; i; i = i->next) {
        if (!(*last = copy_target(r, i)))
            return NULL;
        last = &(*last)->next;
    }
    return copy;
}

/* The condition of a loop has a scope of its own, since it is asked for items ahead of the body's. */
static bool bind_loop_test(struct scopes *r, const struct place *at, struct tpl_node *n, struct symbols *outer) {
    struct place test = { .s = new_symbols(r, outer, n->unit ? n->unit : at->s->unit), .escape = at->escape, .fixed = at->fixed };
    struct tpl_node *own = keep(r, sizeof(*own));
    if (!test.s || !own || !(own->a = copy_target(r, n->a)))
        return false;
    own->type = N_FOR;
    own->line = n->line;
    own->c = n->c;
    if (!note_target(r, test.s, own->a, true) || !note_expr(r, test.s, own->c) || !(own->scope = scope_of(r, test.s)) ||
        !bind_expr(r, &test, own->c))
        return false;
    bind_target(r, &test, own->a);
    n->c = own;
    return true;
}

/* Inside of loops nobody may assign to `loop`. */
static bool keeps_loop(struct scopes *r, const struct tpl_node *target) {
    bool hit = r->loops && target->type == N_NAME && target->slot == r->loop_name;
    for (const struct tpl_node *i = target->type == N_TUPLE ? target->items : NULL; i && !hit; i = i->next)
        hit = !keeps_loop(r, i);
    if (hit)
        tpl_parse_fail(r->p, target->line, "cannot assign to 'loop', the variable of the loop itself");
    return !hit;
}

static bool bind_for(struct scopes *r, const struct place *at, struct tpl_node *n) {
    struct tpl_watch w = { .p = r->p, .work = &r->work, .name = { r->loop_name, -1, -1 } };
    r->loops++;
    if (!keeps_loop(r, n->a))
        return false;
    tpl_watch_body(&w, n->items);
    if (r->p->code || !bind_expr(r, at, n->b) || (n->op && !(n->unit = new_unit(r, at->s, n->line))))
        return false;
    struct tpl_unit *unit = n->unit ? n->unit : at->s->unit;
    struct place body = { .s = new_symbols(r, at->s, unit), .escape = at->escape, .fixed = at->fixed };
    struct place other = { .s = new_symbols(r, at->s, unit), .escape = at->escape, .fixed = at->fixed };
    if (!body.s || !other.s)
        return false;
    n->slot = -1;
    if ((n->op || w.used[0] || tpl_has_scoped_block(&w, n->items)) && (n->slot = declare(r, body.s, r->loop_name)) < 0)
        return false;
    if (!note_target(r, body.s, n->a, true) || !note_body(r, body.s, n->items) || !note_body(r, other.s, n->d) ||
        !(n->scope = scope_of(r, body.s)) || !(n->scope2 = scope_of(r, other.s)))
        return false;
    if (n->c && !bind_loop_test(r, at, n, at->s))
        return false;
    bind_target(r, &body, n->a);
    if (n->unit)
        n->unit->name = tpl_str("loop", 4);
    bool ok = bind_body(r, &body, n->items) && bind_body(r, &other, n->d);
    r->loops--;
    return ok;
}

/* ---- macros, callers, blocks ---- */
static bool bind_macro(struct scopes *r, const struct place *at, struct tpl_node *n) {
    struct tpl_watch w = { .p = r->p, .work = &r->work, .name = { r->caller_name, r->kwargs_name, r->varargs_name } };
    struct tpl_unit *u = n->unit = new_unit(r, at->s, n->line);
    struct place in = { .s = u ? new_symbols(r, at->s, u) : NULL, .escape = at->escape, .fixed = at->fixed };
    if (!u || !in.s || !(u->params = keep(r, ((size_t)n->count + 1) * sizeof(*u->params))))
        return false;
    bool given[TPL_WATCHES] = { false, false, false }, optional_caller = false;
    u->name = n->value;
    tpl_watch_body(&w, n->items);
    for (struct tpl_node *param = n->a; param; param = param->next) {
        struct tpl_param *out = &u->params[u->n_params++];
        int name = param->a->slot;
        if ((out->slot = declare(r, in.s, name)) < 0)
            return false;
        out->name = r->t->names[name];
        out->fallback = param->b;
        u->n_defaults += param->b != NULL;
        for (int i = 0; i < TPL_WATCHES; i++)
            given[i] = given[i] || name == w.name[i];
        optional_caller = optional_caller || (name == r->caller_name && param->b);
    }
    if (w.used[0] && given[0] && !optional_caller) {
        tpl_parse_fail(r->p, n->line, "the parameter 'caller' of a macro needs a default");
        return false;
    }
    u->explicit_caller = given[0];
    int *const special[TPL_WATCHES] = { &u->caller, &u->kwargs, &u->varargs };
    for (int i = 0; i < TPL_WATCHES; i++) {
        if (w.used[i] && !given[i] && (*special[i] = declare(r, in.s, w.name[i])) < 0)
            return false;
    }
    for (struct tpl_node *param = n->a; param; param = param->next) {
        if (!note_expr(r, in.s, param->b))
            return false;
    }
    if (!note_body(r, in.s, n->items) || !fill_scope(r, in.s, &u->scope))
        return false;
    for (struct tpl_node *param = n->a; param; param = param->next) {
        if (!bind_expr(r, &in, param->b))
            return false;
    }
    u->body = n->items;
    return bind_body(r, &in, n->items);
}

/* Binds a unit that is called without arguments: the template itself and its blocks. */
static bool bind_root(struct scopes *r, struct tpl_unit *u, struct tpl_node *body, bool toplevel) {
    struct tpl_watch w = { .p = r->p, .work = &r->work, .name = { r->self_name, toplevel ? -1 : r->super_name, -1 } };
    struct place at = { .s = new_symbols(r, NULL, u), .toplevel = toplevel };
    u->index = r->t->n_units++;
    u->caller = u->kwargs = u->varargs = u->self = u->super = -1;
    u->body = body;
    tpl_watch_body(&w, body);
    if (!at.s || (w.used[0] && (u->self = declare(r, at.s, r->self_name)) < 0) ||
        (w.used[1] && (u->super = declare(r, at.s, r->super_name)) < 0))
        return false;
    return note_body(r, at.s, body) && fill_scope(r, at.s, &u->scope) && bind_body(r, &at, body);
}

/* A scoped block sees the variables around it; they are copied over the caller's. */
static bool bind_block_call(struct scopes *r, const struct place *at, struct tpl_node *n) {
    struct tpl_block *b = n->block;
    int count = 0;
    for (const struct symbols *s = at->s; b->scoped && s; s = s->parent)
        count += s->n;
    if (!count)
        return true;
    if (!(b->dump = keep(r, (size_t)count * sizeof(*b->dump))))
        return false;
    for (const struct symbols *s = at->s; s; s = s->parent) {
        for (const struct entry *e = s->first; e; e = e->next) {
            if (e->defined && e->stored && find(at->s, e->name) == e)
                b->dump[b->n_dump++] = (struct tpl_dump){ e->name, e->slot, climb(at->s, e) };
        }
    }
    return true;
}

/* ---- statements ---- */
static bool bind_inner(struct scopes *r, const struct place *at, struct tpl_node *n) {
    struct place in = { .s = new_symbols(r, at->s, at->s->unit), .escape = at->escape, .fixed = at->fixed };
    if (!in.s)
        return false;
    for (struct tpl_node *set = n->type == N_WITH ? n->items : NULL; set; set = set->next) {
        if (!bind_expr(r, at, set->b) || !note_target(r, in.s, set->a, true))
            return false;
    }
    struct tpl_node *body = n->type == N_WITH ? n->b : n->items;
    if ((n->type == N_SET_BLOCK && !keeps_loop(r, n->a)) || (n->type == N_SCOPE && !note_expr(r, in.s, n->a)) ||
        !note_body(r, in.s, body))
        return false;
    if ((n->type == N_FILTER_BLOCK || n->type == N_SET_BLOCK) && !note_expr(r, in.s, n->b))
        return false;
    if (!(n->scope = scope_of(r, in.s)))
        return false;
    for (struct tpl_node *set = n->type == N_WITH ? n->items : NULL; set; set = set->next)
        bind_target(r, &in, set->a);
    if (n->type == N_SET_BLOCK)
        bind_target(r, at, n->a);
    n->op = (uint8_t)at->escape;
    if (n->type == N_SCOPE) {
        if (!bind_expr(r, &in, n->a))
            return false;
        bool on = n->a->type == N_CONST && n->a->value.kind != V_NONE && (n->a->value.kind == V_STR ? n->a->value.len : n->a->value.u.i);
        in.fixed = n->a->type != N_CONST ? at->fixed : on ? ESCAPE_ON : ESCAPE_OFF;
        in.escape = at->escape == ESCAPE_ASK || n->a->type != N_CONST ? ESCAPE_ASK : in.fixed;
    }
    return bind_body(r, &in, body) && (n->type == N_WITH || n->type == N_SCOPE || bind_expr(r, &in, n->b));
}

static bool bind_if(struct scopes *r, const struct place *at, struct tpl_node *n) {
    struct place soft = *at;
    soft.soft = true;
    for (;; n = n->c) {
        if (!bind_expr(r, &soft, n->a) || !bind_body(r, &soft, n->b))
            return false;
        if (!n->c || n->c->type != N_IF || !n->c->op)
            return bind_body(r, &soft, n->c);
    }
}

static bool bind_one(struct scopes *r, const struct place *at, struct tpl_node *n) {
    struct tpl_node name = { .type = N_NAME, .slot = n->slot };
    switch (n->type) {
    case N_DATA: return true;
    case N_PRINT:
        n->op = (uint8_t)(at->escape == ESCAPE_ASK && is_constant(n->a, false) ? at->fixed : at->escape);
        return bind_expr(r, at, n->a);
    case N_GROUP: return bind_body(r, at, n->items);
    case N_IF: return bind_if(r, at, n);
    case N_FOR: return bind_for(r, at, n);
    case N_SET:
        if (!bind_expr(r, at, n->b) || !keeps_loop(r, n->a))
            return false;
        bind_target(r, at, n->a);
        return true;
    case N_SET_BLOCK: case N_WITH: case N_FILTER_BLOCK: case N_SCOPE: return bind_inner(r, at, n);
    case N_MACRO:
        bind_target(r, at, &name);
        n->slot = name.slot;
        n->export = name.export;
        return bind_macro(r, at, n);
    case N_CALL_BLOCK: return bind_expr(r, at, n->b) && bind_macro(r, at, n);
    case N_BLOCK: return bind_block_call(r, at, n);
    case N_LOADER:
        if (!at->toplevel && n->value.len == 7 && memcmp(n->value.u.s, "extends", 7) == 0) {
            tpl_parse_fail(r->p, n->line, "tag 'extends' can stand only at the top of a template");
            return false;
        }
        return bind_expr(r, at, n->a);
    default: return true;
    }
}

static bool bind_body(struct scopes *r, const struct place *at, struct tpl_node *body) {
    for (; body; body = body->next) {
        if (!bind_one(r, at, body))
            return false;
    }
    return true;
}

int tpl_resolve(struct tpl_parser *p) {
    static const char *const special[] = { "loop", "caller", "kwargs", "varargs", "self", "super" };
    struct scopes r = { .t = p->t, .p = p, .arena = { .max = (size_t)1 << 32 }, .stamp = 1 };
    int *const names[] = { &r.loop_name, &r.caller_name, &r.kwargs_name, &r.varargs_name, &r.self_name, &r.super_name };
    for (size_t i = 0; i < ARRAY_SIZE(special); i++) {
        if ((*names[i] = tpl_slot(p, tpl_str(special[i], strlen(special[i])))) < 0)
            break;
    }
    if (!p->code && bind_root(&r, &p->t->root, p->t->body, true)) {
        for (struct tpl_block *b = p->t->blocks; b && bind_root(&r, &b->unit, b->node->items, false); b = b->next)
            b->unit.name = b->name;
    }
    free(r.log);
    tpl_arena_free(&r.arena);
    return p->code;
}
