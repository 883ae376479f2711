/* Which group consumes which: derived from task inputs. Groups must stand after everything they consume, so there is
 * no cycle to search for. Called by spec_parse() only. */
#include <stdlib.h>
#include <string.h>
#include "base/map.h"
#include "model/spec_internal.h"

struct graph {
    struct reader *r;
    struct spec *s;
    map_t *owners;              /* task name → its group */
    const struct read_path *at;
};

static void report_order(struct graph *g, const struct read_path *at, const yaml_node_t *place, size_t mine,
    const char *task,
                         const char *other, size_t theirs)
{
    if (strcmp(task, other) == 0)
        read_report(g->r, at, place, "task '%.80s' takes input from itself: remove this input", task);
    else if (mine == theirs)
        read_report(g->r, at, place, "task '%.80s' takes input from task '%.80s' of its own group '%.80s', which "
            "runs at the "
                    "same time: move '%.80s' to a group declared earlier", task, other, g->s->groups[mine].name, other);
    else
        read_report(g->r, at, place, "task '%.80s' takes input from task '%.80s', which is declared later: declare "
            "'%.80s' "
                    "earlier (no task may depend on itself through others)", task, other, other);
}

static int compare_index(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static void sort_unique(size_t *list, size_t *n)
{
    size_t kept = 0;
    if (*n == 0)
        return;
    qsort(list, *n, sizeof(*list), compare_index);
    for (size_t i = 0; i < *n; i++)
        if (i == 0 || list[i] != list[kept - 1])
            list[kept++] = list[i];
    *n = kept;
}

static void link_task(struct graph *g, size_t mine, size_t k)
{
    struct spec_group *group = &g->s->groups[mine];
    const struct spec_task *t = &group->tasks[k];
    struct read_path list = { g->at, g->s->implicit_groups ? "tasks" : "groups", 0 }, item = { &list, NULL, mine };
    struct read_path tasks = { &item, "tasks", 0 }, task = { &tasks, NULL, k };
    struct read_path inputs = { g->s->implicit_groups ? &item : &task, "inputs", 0 };
    yaml_node_t place = { .line = t->line, .column = t->column };

    for (size_t i = 0; i < t->ninputs; i++) {
        const struct spec_input *in = &t->inputs[i];
        struct read_path at = { &inputs, NULL, i };
        if (!in->task || in->workflow)
            continue;
        const struct spec_group *owner = map_get(g->owners, in->task);
        size_t theirs = owner ? (size_t)(owner - g->s->groups) : 0;
        if (!owner)
            read_report_code(g->r, OSMO_ESUBMISSION, &at, &place, "task '%.80s' takes input from task '%.80s', "
                "which this workflow "
                             "does not have: correct the name, or write <workflow id>:<task> for a task of an earlier "
                             "workflow", t->name, in->task);
        else if (theirs >= mine)
            report_order(g, &at, &place, mine, t->name, in->task, theirs);
        else
            group->upstream[group->nupstream++] = theirs;
    }
}

/* Room for every task input of the group. */
static bool reserve_upstream(struct spec_group *group)
{
    size_t most = 0;
    for (size_t k = 0; k < group->ntasks; k++)
        for (size_t i = 0; i < group->tasks[k].ninputs; i++)
            most += group->tasks[k].inputs[i].task && !group->tasks[k].inputs[i].workflow;
    group->upstream = most ? calloc(most, sizeof(*group->upstream)) : NULL;
    return most == 0 || group->upstream;
}

/* Upstream lists turned round; ascending because groups are visited in order. */
static bool link_downstream(struct spec *s)
{
    for (size_t i = 0; i < s->ngroups; i++)
        for (size_t k = 0; k < s->groups[i].nupstream; k++)
            s->groups[s->groups[i].upstream[k]].ndownstream++;
    for (size_t i = 0; i < s->ngroups; i++) {
        struct spec_group *g = &s->groups[i];
        g->has_downstream = g->ndownstream > 0;
        g->downstream = g->ndownstream ? calloc(g->ndownstream, sizeof(*g->downstream)) : NULL;
        if (g->ndownstream && !g->downstream)
            return false;
        g->ndownstream = 0;
    }
    for (size_t i = 0; i < s->ngroups; i++)
        for (size_t k = 0; k < s->groups[i].nupstream; k++) {
            struct spec_group *up = &s->groups[s->groups[i].upstream[k]];
            up->downstream[up->ndownstream++] = i;
        }
    return true;
}

void spec_link_groups(struct reader *r, struct spec *s, const struct read_path *at)
{
    struct graph g = { r, s, map_new(NULL), at };

    r->oom |= !g.owners;
    for (size_t i = 0; i < s->ngroups && !r->oom; i++) {
        r->oom |= !reserve_upstream(&s->groups[i]);
        for (size_t k = 0; k < s->groups[i].ntasks && !r->oom; k++)
            r->oom |= map_set(g.owners, s->groups[i].tasks[k].name, &s->groups[i]) < 0;
    }
    for (size_t i = 0; i < s->ngroups && !r->oom; i++) {
        for (size_t k = 0; k < s->groups[i].ntasks; k++)
            link_task(&g, i, k);
        sort_unique(s->groups[i].upstream, &s->groups[i].nupstream);
    }
    if (!r->oom && r->f->total == 0)
        r->oom |= !link_downstream(s);
    map_free(g.owners);
}
