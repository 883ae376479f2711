/* From the specification to rows, a chunk at a time; see submit_rows.h. */
#include "base/error.h"
#include "engine/submit_rows.h"

#include <string.h>

#include "base/crypto.h"
#include "model/pods.h"

#define GIB (1024.0 * 1024 * 1024)

/* ---- chunks ---- */

static size_t room(size_t wanted, size_t most) { return wanted < 1 ? 1 : wanted < most ? wanted : most; }

static size_t edge_count(const struct spec *spec) {
    size_t edges = 0;
    for (size_t g = 0; g < spec->ngroups; g++)
        edges += spec->groups[g].nupstream;
    return edges;
}

/* Room for what the workflow has, because most have little: clearing whole chunks would take longer than filling them. */
int rows_chunk_init(struct rows_chunk *c, const struct spec *spec, osmo_error_t *err) {
    size_t groups = room(spec->ngroups, CHUNK_GROUPS), tasks = room(spec_task_count(spec), CHUNK_TASKS);
    *c = (struct rows_chunk){ 0 };
    buf_init(&c->specs, GROUP_SPEC_MAX + CHUNK_SPEC_BYTES);
    c->groups = calloc(groups, sizeof *c->groups);
    c->spec_at = calloc(groups, sizeof *c->spec_at);
    c->tasks = calloc(tasks, sizeof *c->tasks);
    c->pods = calloc(tasks, sizeof *c->pods);
    c->actions = calloc(tasks, sizeof *c->actions);
    c->edges = calloc(room(edge_count(spec), CHUNK_EDGES), sizeof *c->edges);
    return c->groups && c->spec_at && c->tasks && c->pods && c->actions && c->edges ? 0 : no_memory(err);
}

void rows_chunk_reset(struct rows_chunk *c) {
    for (size_t i = 0; i < c->nactions; i++)
        free(c->actions[i]);
    c->nactions = c->ngroups = c->ntasks = c->nedges = 0;
    buf_reset(&c->specs);
}

void rows_chunk_free(struct rows_chunk *c) {
    rows_chunk_reset(c);
    buf_free(&c->specs);
    free(c->groups);
    free(c->spec_at);
    free(c->tasks);
    free(c->pods);
    free(c->actions);
    free(c->edges);
}

int rows_insert_chunk(db_t *db, const struct rows_chunk *c, const char *workflow_uuid, osmo_error_t *err) {
    int rc = c->ngroups ? repo_groups_insert(db, c->groups, c->ngroups, err) : 0;
    if (rc >= 0 && c->ntasks)
        rc = repo_tasks_insert(db, c->tasks, c->ntasks, err);
    if (rc >= 0 && c->nedges)
        rc = repo_edges_insert(db, workflow_uuid, (const char *const(*)[2])c->edges, c->nedges, err);
    return rc;
}

/* ---- ids ---- */

static const char digits[] = "0123456789abcdef";

static void hex(const uint8_t *from, size_t n, char *out) {
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[from[i] >> 4];
        *out++ = digits[from[i] & 15];
    }
}

/* 40 random bits of the workflow, the number of the row, 64 random bits of its own. Rows that are written one after
 * another lie one after another in every index; the first half, which names of pods and secrets are made of, never
 * repeats within a workflow. */
static int make_id(struct rows_filler *f, size_t number, char out[33], osmo_error_t *err) {
    if (f->noise_left < 8) {
        if (crypto_random(f->noise, sizeof f->noise) < 0)
            return osmo_error_set(err, OSMO_EIO, "no randomness for ids");
        f->noise_left = sizeof f->noise;
    }
    const uint8_t place[3] = { (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number };
    hex(f->base, 5, out);
    hex(place, 3, out + 10);
    f->noise_left -= 8;
    hex(f->noise + f->noise_left, 8, out + 16);
    out[32] = '\0';
    return 0;
}

/* ---- open ---- */

static int check_size(const struct spec *spec, osmo_error_t *err) {
    size_t edges = edge_count(spec), tasks = spec_task_count(spec);
    if (edges > EDGES_MAX)
        return osmo_error_set(err, OSMO_EUSER,
                              "the workflow has %zu dependencies between its groups, at most %d are possible: let groups "
                              "depend on a common group in between", edges, EDGES_MAX);
    if (tasks >= TASKS_MAX)
        return osmo_error_set(err, OSMO_EUSER, "the workflow has %zu tasks, at most %zu are possible: split it", tasks,
                              TASKS_MAX - 1);
    return 0;
}

int rows_open(struct rows_filler *f, const struct spec *spec, struct workflow_row *wf, size_t max_ready,
              osmo_error_t *err) {
    *f = (struct rows_filler){ .spec = spec, .wf = wf, .max_ready = max_ready };
    int rc = check_size(spec, err);
    if (rc < 0)
        return rc;
    f->groups = calloc(spec->ngroups + 1, sizeof *f->groups);
    f->ready = calloc(room(spec->ngroups, max_ready), sizeof *f->ready);
    if (!f->groups || !f->ready)
        return no_memory(err);
    if (crypto_random(f->base, sizeof f->base) < 0)
        return osmo_error_set(err, OSMO_EIO, "no randomness for ids");
    for (size_t g = 0; rc >= 0 && g < spec->ngroups; g++)
        rc = make_id(f, g, f->groups[g], err);
    return rc;
}

void rows_close(struct rows_filler *f) {
    free(f->groups);
    free(f->ready);
    crypto_wipe(f->noise, sizeof f->noise);
}

/* ---- tasks ---- */

static double gib(const char *quantity) {
    double bytes = 0;
    return quantity && quantity_bytes(quantity, &bytes) ? bytes / GIB : 0;
}

/* Most tasks of a workflow share an entry. */
static void task_resources(struct rows_filler *f, const struct spec_task *t, struct task_row *row) {
    const struct spec_resource *r = spec_find_resource(f->spec, t->resource);
    if (r && r != f->resource) {
        f->resource = r;
        f->cpu = r->has_cpu ? (double)r->cpu : 0;
        f->gpu = r->has_gpu ? (double)r->gpu : 0;
        f->memory_gib = gib(r->memory);
        f->storage_gib = gib(r->storage);
    }
    if (!r)
        return;
    row->cpu = f->cpu;
    row->gpu = f->gpu;
    row->memory_gib = f->memory_gib;
    row->storage_gib = f->storage_gib;
}

static int exit_actions(struct rows_chunk *c, const struct spec_task *t, struct task_row *row) {
    static char none[] = "{}";
    row->exit_actions_json = none;
    if (!t->nexit_actions)
        return 0;
    _cleanup_json_ json_t *map = json_object();
    for (size_t i = 0; map && i < t->nexit_actions; i++)
        if (json_set_str(map, t->exit_actions[i].action, t->exit_actions[i].codes) < 0)
            return OSMO_ENOMEM;
    row->exit_actions_json = map ? json_to_text(map) : NULL;
    if (!row->exit_actions_json)
        return OSMO_ENOMEM;
    c->actions[c->nactions++] = row->exit_actions_json;
    return 0;
}

static int fill_task(struct rows_filler *f, struct rows_chunk *c, const struct spec_task *t, osmo_error_t *err) {
    struct task_row *row = &c->tasks[c->ntasks];
    *row = (struct task_row){ .name = t->name, .pod_name = c->pods[c->ntasks], .ordinal = (int64_t)f->ntasks };
    int rc = make_id(f, f->ntasks, row->uuid, err);
    if (rc >= 0)
        rc = make_id(f, f->ntasks, row->key, err);
    if (rc < 0)
        return rc;
    memcpy(row->workflow_uuid, f->wf->uuid, sizeof row->workflow_uuid);
    memcpy(row->group_uuid, f->group.uuid, sizeof row->group_uuid);
    pod_name(f->wf->uuid, row->uuid, c->pods[c->ntasks]);
    if (exit_actions(c, t, row) < 0)
        return no_memory(err);
    task_resources(f, t, row);
    row->sm = (struct sm_task){ .status = STATUS_WAITING, .lead = t->lead, .exit_code = EXIT_CODE_NONE };
    if (f->group.sm.status == STATUS_PROCESSING)
        sm_task_apply(&row->sm, STATUS_PROCESSING, EXIT_CODE_NONE, f->wf->submit_us);
    sm_group_count(&f->group.sm, t->lead, STATUS_NONE, row->sm.status);
    c->ntasks++;
    f->ntasks++;
    return 0;
}

/* ---- groups ---- */

static void note_ready(struct rows_filler *f) {
    if (f->nready == f->max_ready) {
        f->more_ready = true;
        return;
    }
    struct group_place *p = &f->ready[f->nready++];
    memcpy(p->uuid, f->group.uuid, sizeof p->uuid);
    p->ordinal = f->group.ordinal;
}

static void begin_group(struct rows_filler *f) {
    const struct spec_group *g = &f->spec->groups[f->g];
    f->group = (struct group_row){ .name = g->name, .ordinal = (int64_t)f->g };
    memcpy(f->group.uuid, f->groups[f->g], sizeof f->group.uuid);
    memcpy(f->group.workflow_uuid, f->wf->uuid, sizeof f->group.workflow_uuid);
    f->group.sm = (struct sm_group){ .status = STATUS_SUBMITTING,
                                     .ignore_nonlead_status = g->ignore_nonlead_status,
                                     .remaining_upstream = (int64_t)g->nupstream };
    sm_group_apply(&f->group.sm, STATUS_WAITING, false, f->wf->submit_us);
    if (g->nupstream)
        return;
    sm_group_apply(&f->group.sm, STATUS_PROCESSING, false, f->wf->submit_us);
    note_ready(f);
}

static int end_group(struct rows_filler *f, struct rows_chunk *c, osmo_error_t *err) {
    size_t at = c->specs.len;
    int rc = spec_group_write(f->spec, f->g, &c->specs);
    if (rc == OSMO_ELIMIT)
        return osmo_error_set(err, rc, "the specification of group %s is larger than %u MiB: split the group",
                              f->group.name, GROUP_SPEC_MAX >> 20);
    if (rc < 0)
        return no_memory(err);
    if (buf_putc(&c->specs, '\0') < 0)
        return no_memory(err);
    c->spec_at[c->ngroups] = at;
    c->groups[c->ngroups++] = f->group;
    sm_workflow_count(&f->wf->sm, STATUS_NONE, f->group.sm.status);
    f->wf->groups_uncleaned++;
    f->g++;
    f->t = 0;
    return 0;
}

static bool full(const struct rows_chunk *c) {
    return c->ngroups == CHUNK_GROUPS || c->ntasks == CHUNK_TASKS || c->nedges == CHUNK_EDGES ||
           c->specs.len >= CHUNK_SPEC_BYTES;
}

/* As much of the group at hand as there is room for: its tasks, its edges, then the group itself. */
static int fill_group(struct rows_filler *f, struct rows_chunk *c, osmo_error_t *err) {
    const struct spec_group *g = &f->spec->groups[f->g];
    if (f->t == 0)
        begin_group(f);
    int rc = 0;
    for (; rc >= 0 && f->t < g->ntasks && !full(c); f->t++)
        rc = fill_task(f, c, &g->tasks[f->t], err);
    for (; rc >= 0 && f->t >= g->ntasks && f->t < g->ntasks + g->nupstream && !full(c); f->t++) {
        c->edges[c->nedges][0] = f->groups[g->upstream[f->t - g->ntasks]];
        c->edges[c->nedges++][1] = f->groups[f->g];
    }
    if (rc >= 0 && f->t == g->ntasks + g->nupstream && c->ngroups < CHUNK_GROUPS)
        rc = end_group(f, c, err);
    return rc;
}

int rows_fill(struct rows_filler *f, struct rows_chunk *c, bool *more, osmo_error_t *err) {
    int rc = 0;
    while (rc >= 0 && f->g < f->spec->ngroups && !full(c))
        rc = fill_group(f, c, err);
    *more = f->g < f->spec->ngroups;
    for (size_t i = 0; i < c->ngroups; i++) /* the buffer has stopped moving */
        c->groups[i].spec_json = c->specs.data + c->spec_at[i];
    return rc;
}
