/* Answers to jobs of a connection that is lost. An operator that speaks no extension does one job at a time, names none in its answers, and
 * answers what it was doing when the connection broke on the next one: there the answer would be taken for that of another job, and the
 * answer of that one for that of a third. So the next connection of its backend gets no job before the late answer has come, or so much
 * time has passed that the operator has been started anew. Where the answer comes, it only says that the operator is free: the job
 * itself was queued again, and jobs may be done twice. */
#include <string.h>

#include "base/clock.h"
#include "engine/agent_internal.h"

#define STRAY_WAIT_US (60LL * 1000 * 1000)

/* Has it sent a job that is not answered, or does it wait for a late answer itself? */
static bool owes_answer(struct agent_session *s) {
    bool owes = s->overdue;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->njobs; i++)
        owes |= s->jobs[i]->sent;
    owes |= s->quiet_until > clock_mono_us();
    pthread_mutex_unlock(&s->lock);
    return owes;
}

/* Of the backend's other workers, those that came before or after it; lock of all held. */
static bool another(struct agents *a, const struct agent_session *s, bool later, bool owing) {
    for (struct agent_session *o = a->sessions; o; o = o->next)
        if (o != s && o->kind == AGENT_WORKER && !o->jobs_extension && later == (o->serial > s->serial) &&
            str_eq(o->backend, s->backend) && (!owing || owes_answer(o)))
            return true;
    return false;
}

/* Where the next connection is there already it has looked at this one. */
void strays_expect(struct agent_session *s) {
    struct agents *a = s->e->agents;
    if (s->kind != AGENT_WORKER || s->jobs_extension || !owes_answer(s))
        return;
    pthread_mutex_lock(&a->lock);
    if (!another(a, s, true, false))
        map_set(a->strays, s->backend, NULL); /* without memory for it: as upstream */
    pthread_mutex_unlock(&a->lock);
}

void strays_begin(struct agent_session *s) {
    struct agents *a = s->e->agents;
    if (s->kind != AGENT_WORKER)
        return;
    pthread_mutex_lock(&a->lock);
    bool owes = map_has(a->strays, s->backend) || another(a, s, false, true);
    map_remove(a->strays, s->backend);
    pthread_mutex_unlock(&a->lock);
    if (!owes || s->jobs_extension)
        return;
    pthread_mutex_lock(&s->lock);
    s->quiet_until = clock_mono_us() + STRAY_WAIT_US;
    pthread_mutex_unlock(&s->lock);
}

void strays_came(struct agent_session *s) {
    pthread_mutex_lock(&s->lock);
    bool waited = s->quiet_until != 0;
    s->quiet_until = 0;
    pthread_mutex_unlock(&s->lock);
    if (waited)
        agents_wake(s->e);
}

int64_t strays_wait(struct agent_session *s, int64_t next) {
    pthread_mutex_lock(&s->lock);
    int64_t until = s->quiet_until;
    if (until && until <= clock_mono_us())
        until = s->quiet_until = 0;
    pthread_mutex_unlock(&s->lock);
    return until && until < next ? until : next;
}

bool strays_quiet(struct agent_session *s) {
    pthread_mutex_lock(&s->lock);
    bool quiet = s->quiet_until != 0;
    pthread_mutex_unlock(&s->lock);
    return quiet;
}
