/* The oracle of the chaos test: reads workflows with what each attempt of each task will report, lets the pure model
 * (model/sm_workflow.h) take every order of those events, and prints the end states that are possible.
 *
 *     workflow NAME RETRIES CANCEL(no|may|must) TIMEOUT(none|exec|queue) WIPED(0|1) POOL-ACTIONS
 *     group UPSTREAM-BITS IGNORE-NONLEAD(0|1)
 *     task LEAD(0|1) ACTIONS OUTCOMES         ACTIONS: ACTION=codes;… or -; OUTCOMES: STATUS:exit;… one an
 *                                             attempt, NEVER:0 for one that does not end by itself
 *     end
 *
 * answers `NAME STATE` for each possible state, with STATE = workflow status, then group status and
 * status/retry/exit of each task, and `NAME .` after the last. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/sm_workflow.h"

enum { ATTEMPTS_MAX = 8, ACTIONS_MAX = 4, STATES_MAX = 1 << 20, KEY_MAX = 256 };

struct outcome { enum status status; int64_t exit_code; };
struct script { struct sm_exit_action actions[ACTIONS_MAX]; struct outcome ends[ATTEMPTS_MAX]; size_t n; };
struct world {
    struct smw first;
    char name[128];
    struct script scripts[SMW_GROUPS_MAX][SMW_TASKS_MAX];
    int cancel; /* 0 never, 1 may be, 2 was accepted */
    bool exec_timeout, queue_timeout, wiped;
    struct sm_exit_action pool[ACTIONS_MAX];
    struct smw *stack;
    size_t depth, cap;
    char **seen;
    size_t nseen;
};

static void die(const char *what, const char *more) {
    fprintf(stderr, "model: %s: %s\n", what, more);
    exit(2);
}

static void *must(void *p) {
    if (!p)
        die("out of memory", "the model needs more");
    return p;
}

/* ---- states ---- */

static void copy(struct smw *to, const struct smw *from) {
    memcpy(to, from, offsetof(struct smw, groups) + from->ngroups * sizeof from->groups[0]);
}

static size_t key_of(const struct smw *w, char *key) {
    size_t n = 0;
    key[n++] = (char)(w->cancel_requested + 1);
    for (size_t g = 0; g < w->ngroups; g++) {
        key[n++] = (char)(w->groups[g].sm.status + 1);
        for (size_t t = 0; t < w->groups[g].ntasks; t++) {
            key[n++] = (char)(w->groups[g].tasks[t].sm.status + 1);
            key[n++] = (char)(w->groups[g].tasks[t].sm.retry_id + 1);
            int64_t code = w->groups[g].tasks[t].sm.exit_code + 1;
            key[n++] = (char)(1 + (code & 0x3f));
            key[n++] = (char)(1 + (code >> 6 & 0x7f));
        }
    }
    key[n] = '\0';
    return n;
}

static bool visit(struct world *v, const char *key) {
    size_t h = 5381;
    for (const char *p = key; *p; p++)
        h = h * 33 ^ (unsigned char)*p;
    size_t at = h % (2 * STATES_MAX);
    for (; v->seen[at]; at = (at + 1) % (2 * STATES_MAX))
        if (!strcmp(v->seen[at], key))
            return false;
    if (++v->nseen > STATES_MAX)
        die("too many states", v->name);
    v->seen[at] = must(strdup(key));
    return true;
}

/* Each state is visited once; two that differ in what was asked for only look the same. */
static void print_end(const struct world *v, const struct smw *w) {
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof text, "%s", status_name(w->sm.status));
    for (size_t g = 0; g < w->ngroups; g++) {
        n += (size_t)snprintf(text + n, sizeof text - n, " %s", status_name(w->groups[g].sm.status));
        for (size_t t = 0; t < w->groups[g].ntasks; t++) {
            const struct sm_task *k = &w->groups[g].tasks[t].sm;
            n += (size_t)snprintf(text + n, sizeof text - n, ",%s/%d/%d", status_name(k->status), (int)k->retry_id,
                                  (int)k->exit_code);
        }
    }
    printf("%s %s\n", v->name, text);
}

/* Applies an event to a copy. What the backend hears of at once is not worth a state of its own. */
static void try(struct world *v, const struct smw *from, struct smw_event ev) {
    struct smw_effects fx;
    struct smw w;
    char key[KEY_MAX];
    copy(&w, from);
    if (!smw_event(&w, &ev, 1, &fx))
        return;
    for (size_t g = 0; g < w.ngroups; g++)
        if (w.groups[g].sm.status == STATUS_PROCESSING && !w.groups[g].sent)
            smw_event(&w, &(struct smw_event){ .kind = SMW_SENT, .group = (int)g }, 1, &fx);
    key_of(&w, key);
    if (!visit(v, key))
        return;
    if (status_is_workflow_finished(w.sm.status)) {
        if (v->cancel != 2 || w.cancel_requested)
            print_end(v, &w);
        return;
    }
    if (v->depth == v->cap) {
        v->cap = v->cap ? 2 * v->cap : 256;
        v->stack = must(realloc(v->stack, v->cap * sizeof *v->stack));
    }
    copy(&v->stack[v->depth++], &w);
}

static void task_events(struct world *v, const struct smw *w, int g, int t) {
    const struct smw_task *k = &w->groups[g].tasks[t];
    const struct script *s = &v->scripts[g][t];
    if (status_is_task_finished(k->sm.status))
        return;
    size_t attempt = (size_t)k->sm.retry_id < s->n ? (size_t)k->sm.retry_id : s->n - 1;
    struct smw_event ev = { .kind = SMW_REPORT, .group = g, .task = t, .retry_id = k->sm.retry_id,
                            .status = s->ends[attempt].status, .exit_code = s->ends[attempt].exit_code };
    if (ev.status != STATUS_NONE)
        try(v, w, ev);
    ev.exit_code = EXIT_CODE_NONE;
    ev.status = STATUS_SCHEDULING;
    if (v->queue_timeout && k->sm.status < STATUS_SCHEDULING)
        try(v, w, ev);
    ev.status = STATUS_RUNNING;
    if (v->exec_timeout && k->sm.status < STATUS_RUNNING)
        try(v, w, ev);
    ev.status = STATUS_FAILED_BACKEND_ERROR;
    ev.exit_code = EXIT_BACKEND;
    if (v->wiped)
        try(v, w, ev);
}

static void explore(struct world *v) {
    struct smw w;
    v->seen = must(calloc(2 * STATES_MAX, sizeof *v->seen));
    try(v, &v->first, (struct smw_event){ .kind = SMW_ACCEPTED });
    while (v->depth) {
        copy(&w, &v->stack[--v->depth]);
        for (int g = 0; g < (int)w.ngroups; g++) {
            for (int t = 0; w.groups[g].sent && t < (int)w.groups[g].ntasks; t++)
                task_events(v, &w, g, t);
            if (v->exec_timeout)
                try(v, &w, (struct smw_event){ .kind = SMW_EXEC_TIMEOUT, .group = g });
            if (v->queue_timeout)
                try(v, &w, (struct smw_event){ .kind = SMW_QUEUE_TIMEOUT, .group = g });
        }
        if (v->cancel && !w.cancel_requested)
            try(v, &w, (struct smw_event){ .kind = SMW_CANCEL });
    }
    printf("%s .\n", v->name);
    fflush(stdout);
}

/* ---- reading ---- */

static size_t read_actions(char *text, struct sm_exit_action *out) {
    size_t n = 0;
    char *save = NULL;
    for (char *p = strtok_r(text, ";", &save); p && strcmp(p, "-") != 0; p = strtok_r(NULL, ";", &save)) {
        char *eq = strchr(p, '=');
        if (!eq || n == ACTIONS_MAX)
            die("bad actions", p);
        *eq = '\0';
        out[n++] = (struct sm_exit_action){ must(strdup(p)), must(strdup(eq + 1)) };
    }
    return n;
}

static void read_task(struct world *v, int lead, char *actions, char *outcomes) {
    struct smw_group *g = &v->first.groups[v->first.ngroups - 1];
    struct script *s = &v->scripts[v->first.ngroups - 1][g->ntasks];
    struct smw_task *t = &g->tasks[g->ntasks++];
    char *save = NULL;
    t->sm.lead = lead != 0;
    t->nactions = read_actions(actions, s->actions);
    t->actions = s->actions;
    for (char *p = strtok_r(outcomes, ";", &save); p; p = strtok_r(NULL, ";", &save)) {
        char *colon = strchr(p, ':');
        if (!colon || s->n == ATTEMPTS_MAX)
            die("bad outcomes", p);
        *colon = '\0';
        s->ends[s->n++] = (struct outcome){ status_parse(p), strtol(colon + 1, NULL, 10) };
    }
    if (!s->n)
        die("no outcomes", v->name);
}

static void free_actions(struct sm_exit_action *actions) {
    for (size_t i = 0; i < ACTIONS_MAX; i++) {
        free((char *)actions[i].action);
        free((char *)actions[i].codes);
    }
}

static void world_free(struct world *v) {
    for (size_t i = 0; v->seen && i < 2 * STATES_MAX; i++)
        free(v->seen[i]);
    free(v->seen);
    free(v->stack);
    free_actions(v->pool);
    for (size_t g = 0; g < SMW_GROUPS_MAX; g++)
        for (size_t t = 0; t < SMW_TASKS_MAX; t++)
            free_actions(v->scripts[g][t].actions);
    memset(v, 0, sizeof *v);
}

static bool read_line(struct world *v, char *line) {
    char word[16], cancel[8], timeout[8], actions[512], outcomes[1024];
    int retries, wiped, lead, ignore;
    unsigned upstream;
    struct smw *w = &v->first;
    if (sscanf(line, "workflow %127s %d %7s %7s %d %511s", v->name, &retries, cancel, timeout, &wiped, actions) == 6) {
        w->max_retry = retries;
        v->cancel = !strcmp(cancel, "must") ? 2 : !strcmp(cancel, "may");
        v->exec_timeout = !strcmp(timeout, "exec");
        v->queue_timeout = !strcmp(timeout, "queue");
        v->wiped = wiped != 0;
        w->pool_actions = v->pool;
        w->npool_actions = read_actions(actions, v->pool);
    } else if (sscanf(line, "group %u %d", &upstream, &ignore) == 2 && w->ngroups < SMW_GROUPS_MAX) {
        struct smw_group *g = &w->groups[w->ngroups++];
        g->upstream = upstream;
        g->sm.ignore_nonlead_status = ignore != 0;
    } else if (sscanf(line, "task %d %511s %1023s", &lead, actions, outcomes) == 3 && w->ngroups &&
               w->groups[w->ngroups - 1].ntasks < SMW_TASKS_MAX) {
        read_task(v, lead, actions, outcomes);
    } else if (sscanf(line, "%15s", word) == 1 && !strcmp(word, "end") && smw_init(w)) {
        explore(v);
        world_free(v);
    } else {
        return false;
    }
    return true;
}

int main(void) {
    static struct world v;
    static char line[4096];
    while (fgets(line, sizeof line, stdin))
        if (!read_line(&v, line))
            die("cannot read", line);
    return 0;
}
