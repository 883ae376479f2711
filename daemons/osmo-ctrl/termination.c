/* The end that a cluster asks for: see ctrl.h. Every container of a pod gets SIGTERM at the same moment and is killed when the pod's grace
 * period is over (terminationGracePeriodSeconds: 30 s in Kubernetes, 5 s on the local cluster, unless the pod says otherwise; this program
 * is told by OSMO_TERMINATION_GRACE_SECONDS where it is not 30). Whether the pod was cancelled or evicted nothing here says; the service
 * does: it gives no more tokens to an attempt that is over. Of one that still counts the outputs are worth carrying. The exit code is left
 * as termination message at once, since nobody may be there to leave it later. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cond.h"
#include "base/str.h"
#include "ctrl.h"
#include "transfer.h"

#define FLUSH_MS 2000
#define ASK_MS 3000
#define GRACE_DEFAULT_S 30
#define GRACE_MAX_S 3600

struct termination {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum stage stage;
    bool told, asked, over;     /* SIGTERM came; the service answered; the attempt is over */
    int64_t until_us, command_until_us;
};

static pthread_mutex_t message_lock = PTHREAD_MUTEX_INITIALIZER; /* of the termination message; who ends the process keeps it */

/* In place: the file may be a mount of its own, and is read at any moment. */
static void leave_message(const struct ctrl *c, int code) {
    char text[32];
    int len = snprintf(text, sizeof text, "{\"code\":%d}", code);
    int fd = open(c->o.termination_log, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0)
        return;
    if (pwrite(fd, text, (size_t)len, 0) != len || ftruncate(fd, len))
        fprintf(stderr, "osmo_ctrl: cannot leave the code %d in %s\n", code, c->o.termination_log);
    close(fd);
}

void ctrl_exit(const struct ctrl *c, int code) {
    pthread_mutex_lock(&message_lock);
    leave_message(c, code);
    fflush(NULL);
    _exit(code); /* threads may be inside a blocking call; nothing of ours needs unwinding */
}

static int64_t grace_us(void) {
    const char *text = getenv("OSMO_TERMINATION_GRACE_SECONDS");
    int64_t s;
    if (!text || !str_to_i64(text, &s) || s < 0)
        s = GRACE_DEFAULT_S;
    return (s > GRACE_MAX_S ? GRACE_MAX_S : s) * 1000000;
}

static int64_t ms_until(int64_t us) {
    int64_t left = (us - clock_mono_us()) / 1000;
    return left > 0 ? left : 0;
}

/* The signal is there; the thread that waits for it may not have seen it yet. */
static void await_told(struct termination *t) {
    while (!t->told)
        pthread_cond_wait(&t->changed, &t->lock);
}

int64_t termination_left_ms(struct ctrl *c) {
    pthread_mutex_lock(&c->end->lock);
    await_told(c->end);
    int64_t left = ms_until(c->end->until_us);
    pthread_mutex_unlock(&c->end->lock);
    return left;
}

int64_t termination_command_ms(struct ctrl *c) {
    struct termination *t = c->end;
    pthread_mutex_lock(&t->lock);
    await_told(t);
    bool nothing_follows = (t->asked && t->over) || !c->o.outputs.len;
    int64_t left = ms_until(nothing_follows ? t->until_us - FLUSH_MS * 500 : t->command_until_us);
    pthread_mutex_unlock(&t->lock);
    return left;
}

bool termination_is_over(struct ctrl *c) {
    struct termination *t = c->end;
    pthread_mutex_lock(&t->lock);
    while (t->told && !t->asked && cond_wait_until(&t->changed, &t->lock, t->until_us))
        continue;
    bool over = t->told && (t->over || !t->asked);
    pthread_mutex_unlock(&t->lock);
    return over;
}

bool termination_enter(struct ctrl *c, enum stage stage) {
    struct termination *t = c->end;
    struct pollfd p = { .fd = c->signals, .events = POLLIN };
    bool told = poll(&p, 1, 0) > 0; /* also one that the thread has not seen yet */
    pthread_mutex_lock(&t->lock);
    if (told)
        await_told(t);
    t->stage = stage;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    return !told || stage == STAGE_END || (stage == STAGE_OUTPUTS && !termination_is_over(c));
}

static void begin(struct ctrl *c) {
    struct termination *t = c->end;
    int64_t now = clock_mono_us(), grace = grace_us(), spare = grace > 10000000 ? 2000000 : grace / 5;
    pthread_mutex_lock(&message_lock);
    leave_message(c, CTRL_TERMINATED);
    pthread_mutex_unlock(&message_lock);
    pthread_mutex_lock(&t->lock);
    t->told = true;
    t->until_us = now + grace - spare;
    t->command_until_us = now + (grace - spare) * 2 / 3;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    bool over = token_is_over(c->token, grace / 4000 < ASK_MS ? grace / 4000 : ASK_MS);
    pthread_mutex_lock(&t->lock);
    t->asked = true;
    t->over = over;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static void end_now(struct ctrl *c) {
    transfer_cancel(true); /* what was begun in parts is told off, as far as there is time */
    int64_t left = termination_left_ms(c);
    spool_wait_empty(c->spool, left < FLUSH_MS ? left : FLUSH_MS);
    ctrl_exit(c, CTRL_TERMINATED);
}

/* What the stage allows: before the command everything is given up, the command has its time, of the outputs it depends. */
static void *watch(void *arg) {
    struct ctrl *c = arg;
    struct termination *t = c->end;
    struct pollfd p = { .fd = c->signals, .events = POLLIN };
    while (poll(&p, 1, -1) <= 0)
        continue;
    begin(c);
    pthread_mutex_lock(&t->lock);
    for (;;) {
        enum stage stage = t->stage;
        bool in_time = clock_mono_us() < t->until_us;
        if (stage == STAGE_BEFORE)
            break;
        if (stage == STAGE_INPUTS || !in_time || (stage == STAGE_OUTPUTS && t->over)) {
            pthread_mutex_unlock(&t->lock);
            end_now(c); /* transfers wait for nobody, and of what has come so far nothing is published */
        }
        if (stage == STAGE_END && t->over)
            break; /* the logger will not say goodbye to an attempt that is over */
        cond_wait_until(&t->changed, &t->lock, t->until_us);
    }
    pthread_mutex_unlock(&t->lock);
    int64_t left = termination_left_ms(c);
    spool_wait_empty(c->spool, left < FLUSH_MS ? left : FLUSH_MS);
    logger_link_interrupt(c->link);
    return NULL;
}

int termination_watch(struct ctrl *c) {
    struct termination *t = calloc(1, sizeof *t);
    pthread_t thread;
    if (!t)
        return CTRL_OTHER;
    pthread_mutex_init(&t->lock, NULL);
    cond_init(&t->changed);
    c->end = t;
    return pthread_create(&thread, NULL, watch, c) ? CTRL_OTHER : CTRL_OK;
}
