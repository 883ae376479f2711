/* The scripted agent behind upstream_fixture.h: one thread that accepts, one for each connection, one lock for what they note. */
#include "upstream_fixture.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "check.h"
#include "model/messages.h"
#include "upstream_int.h"

struct upstream U = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static const char *const paths[UP_PATHS] = { "listener/control", "listener/pod", "listener/node", "listener/event", "listener/heartbeat",
                                             "worker" };

/* With the lock held; false after a time that only a bug reaches. */
bool up_wait(const struct timespec *until) { return pthread_cond_timedwait(&U.cond, &U.lock, until) == 0; }

struct timespec up_limit(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += 30;
    return ts;
}

void up_complain(struct up_conn *c, char *text) { /* lock held; takes text */
    fprintf(stderr, "      the agent does not take it (%s): %s\n", c && c->path >= 0 ? paths[c->path] : "HTTP", text);
    if (U.ncomplaints < UP_COMPLAINTS)
        U.complaints[U.ncomplaints++] = text;
    else
        free(text);
    pthread_cond_broadcast(&U.cond);
}

struct up_conn *up_of(int path) { return U.current[path]; }

/* ---- frames ---- */

bool up_write(int fd, const void *data, size_t len) {
    for (const char *p = data; len;) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool read_all(int fd, void *data, size_t len) {
    for (char *p = data; len;) {
        ssize_t n = recv(fd, p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

bool up_frame(struct up_conn *c, int opcode, bool last, const void *data, size_t len) {
    uint8_t head[10] = { (uint8_t)((last ? 0x80 : 0) | opcode), 0 };
    size_t n = 2;
    if (len < 126) {
        head[1] = (uint8_t)len;
    } else if (len < 65536) {
        head[1] = 126;
        head[2] = (uint8_t)(len >> 8), head[3] = (uint8_t)len;
        n = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        n = 10;
    }
    pthread_mutex_lock(&c->write_lock);
    bool good = up_write(c->fd, head, n) && up_write(c->fd, data, len);
    pthread_mutex_unlock(&c->write_lock);
    return good;
}

/* One frame of the client. @return its opcode, -1 at the end, -2 when it breaks the rules */
static int read_frame(int fd, buf_t *out, bool *last) {
    uint8_t head[14];
    if (!read_all(fd, head, 2))
        return -1;
    uint64_t len = head[1] & 0x7f;
    size_t wide = len == 126 ? 2 : len == 127 ? 8 : 0;
    if (wide && !read_all(fd, head + 2, wide))
        return -1;
    for (size_t i = 0, n = 0; i < wide; i++)
        len = n = n << 8 | head[2 + i];
    *last = head[0] & 0x80;
    if (!(head[1] & 0x80) || head[0] & 0x70 || len > 16u << 20)
        return -2; /* not masked, an extension that was not agreed on, or too large */
    uint8_t mask[4];
    size_t from = out->len;
    if (!read_all(fd, mask, 4) || buf_reserve(out, (size_t)len) < 0)
        return -1;
    char *block = malloc(len ? (size_t)len : 1);
    bool good = block && read_all(fd, block, (size_t)len);
    for (size_t i = 0; good && i < len; i++)
        block[i] = (char)(block[i] ^ mask[i % 4]);
    good = good && buf_append(out, block, (size_t)len) == 0;
    free(block);
    (void)from;
    return good ? head[0] & 0x0f : -1;
}

/* ---- what the agent does with a message ---- */

static void note(struct up_conn *c, const char *text, size_t len) { /* lock held */
    if (U.nrecords < UP_RECORDS)
        U.records[U.nrecords++] = (struct up_record){ c->path, c->id, strndup(text, len) };
    pthread_cond_broadcast(&U.cond);
}

static bool acknowledge(struct up_conn *c, const char *uuid) {
    char text[200];
    int n = snprintf(text, sizeof text, "{\"type\":\"ack\",\"body\":{\"uuid\":\"%s\"},\"uuid\":\"%032llx\"}", uuid,
                     (unsigned long long)++U.next_id);
    return up_frame(c, 1, true, text, (size_t)n);
}

static bool task_known(const json_t *body) {
    const char *task = json_get_str(body, "task_uuid");
    char key[128];
    if (!task)
        return true;
    snprintf(key, sizeof key, "%s/%s/%lld", json_get_str(body, "workflow_uuid"), task, (long long)json_get_int(body, "retry_id", -1));
    for (size_t i = 0; i < U.ntasks; i++)
        if (strcmp(U.tasks[i], key) == 0)
            return true;
    return false;
}

/* @return what is wrong with it, as far as the agent's state goes; malloc'ed */
static char *take_message(struct up_conn *c, const char *type, const json_t *body) {
    bool early = strcmp(type, "init") == 0 || strcmp(type, "logging") == 0;
    if (!c->init && !early)
        return str_printf("%s before INIT", type);
    if (strcmp(type, "init") == 0) {
        if (c->init)
            return str_dup("INIT twice");
        c->init = true;
        const char *uid = json_get_str(body, "k8s_uid");
        if (U.uid[0] && strcmp(U.uid, uid) != 0)
            return str_dup("another cluster of the same name");
        snprintf(U.uid, sizeof U.uid, "%s", uid);
    }
    if (strcmp(type, "update_pod") == 0 || strcmp(type, "monitor_pod") == 0 || strcmp(type, "pod_conditions") == 0)
        return task_known(body) ? NULL : str_printf("%s of an unknown task", type);
    if (strcmp(type, "pod_log") == 0 &&
        (U.job_conn != c->id || (strcmp(U.job_type, "CleanupGroup") != 0 && strcmp(U.job_type, "RescheduleTask") != 0)))
        return str_dup("pod_log outside of a job that sends logs");
    if (strcmp(type, "job_status") == 0) {
        if (U.job_conn != c->id)
            return str_dup("job_status without a job");
        U.job_conn = 0;
        U.answered++;
    }
    return NULL;
}

/* @return false when the connection is dropped */
static bool on_text(struct up_conn *c, const char *text, size_t len) {
    json_t *v = NULL;
    pthread_mutex_lock(&U.lock);
    if (len < 1 << 20 && len >= 1)
        note(c, text, len);
    char *wrong = upstream_check(c->path, text, len, &v);
    bool envelope = !wrong; /* what is no message at all is not acknowledged */
    const char *type = json_get_str(v, "type"), *uuid = json_get_str(v, "uuid");
    bool was_init = c->init;
    if (!wrong)
        wrong = take_message(c, type, json_get(v, "body"));
    bool cut = !wrong && c->cut == UP_CUT_INIT && strcmp(type, "init") == 0;
    bool ack = envelope && was_init && c->path != UP_CONTROL && c->path != UP_WORKER && !U.mute[c->path];
    if (ack)
        acknowledge(c, uuid);
    bool good = !wrong && !cut;
    if (wrong)
        up_complain(c, wrong);
    json_free(v);
    pthread_mutex_unlock(&U.lock);
    return good;
}

/* @return false at the end */
static bool on_frame(struct up_conn *c, int opcode, const buf_t *payload) {
    const uint8_t *p = (const uint8_t *)payload->data;
    if (opcode == 1)
        return on_text(c, payload->data ? payload->data : "", payload->len);
    if (opcode == 9)
        return up_frame(c, 10, true, payload->data, payload->len);
    pthread_mutex_lock(&U.lock);
    if (opcode == 10)
        U.pongs[c->path]++;
    if (opcode == 8)
        U.closed[c->path] = payload->len >= 2 ? p[0] << 8 | p[1] : 1005;
    if (opcode == 2)
        up_complain(c, str_dup("a binary message"));
    pthread_cond_broadcast(&U.cond);
    pthread_mutex_unlock(&U.lock);
    if (opcode == 8)
        up_frame(c, 8, true, payload->data, payload->len);
    return opcode == 10;
}

void up_talk(struct up_conn *c) {
    _cleanup_buf_ buf_t whole = BUF_INIT(17u << 20);
    int kind = 0;
    for (;;) {
        _cleanup_buf_ buf_t frame = BUF_INIT(17u << 20);
        bool last;
        int opcode = read_frame(c->fd, &frame, &last);
        if (opcode == -2) {
            pthread_mutex_lock(&U.lock);
            up_complain(c, str_dup("a frame that breaks RFC 6455"));
            pthread_mutex_unlock(&U.lock);
        }
        if (opcode < 0)
            return;
        if (opcode >= 8) {
            if (!on_frame(c, opcode, &frame))
                return;
            continue;
        }
        kind = opcode ? opcode : kind;
        buf_append(&whole, frame.data, frame.len);
        if (last && !on_frame(c, kind, &whole))
            return;
        if (last)
            buf_reset(&whole);
    }
}

/* ---- the test's side ---- */

static bool record_is(const struct up_record *r, int path, const char *part) {
    return r->path == path && (!part || strstr(r->text, part));
}

static size_t count_locked(int path, const char *part) {
    size_t n = 0;
    for (size_t i = 0; i < U.nrecords; i++)
        n += record_is(&U.records[i], path, part);
    return n;
}

size_t upstream_count(int path, const char *part) {
    pthread_mutex_lock(&U.lock);
    size_t n = count_locked(path, part);
    pthread_mutex_unlock(&U.lock);
    return n;
}

const char *upstream_await(int path, const char *part, size_t nth) {
    struct timespec until = up_limit();
    const char *text = NULL;
    pthread_mutex_lock(&U.lock);
    while (count_locked(path, part) < nth && up_wait(&until))
        ;
    for (size_t i = 0, n = 0; i < U.nrecords && !text; i++)
        if (record_is(&U.records[i], path, part) && ++n == nth)
            text = U.records[i].text;
    pthread_mutex_unlock(&U.lock);
    if (!text)
        fprintf(stderr, "no message %zu with %s on %s\n", nth, part ? part : "anything", paths[path]);
    return text;
}

const char *upstream_nth(int path, size_t nth) {
    const char *text = NULL;
    pthread_mutex_lock(&U.lock);
    for (size_t i = 0, n = 0; i < U.nrecords && !text; i++)
        if (U.records[i].path == path && n++ == nth)
            text = U.records[i].text;
    pthread_mutex_unlock(&U.lock);
    return text;
}

size_t upstream_connections(int path) {
    pthread_mutex_lock(&U.lock);
    size_t n = U.upgraded[path];
    pthread_mutex_unlock(&U.lock);
    return n;
}

void upstream_await_connection(int path, size_t nth) {
    struct timespec until = up_limit();
    pthread_mutex_lock(&U.lock);
    while (U.upgraded[path] < nth && up_wait(&until))
        ;
    CHECK(U.upgraded[path] >= nth);
    pthread_mutex_unlock(&U.lock);
}

int upstream_await_close(int path) {
    struct timespec until = up_limit();
    pthread_mutex_lock(&U.lock);
    while (!U.closed[path] && up_wait(&until))
        ;
    int code = U.closed[path];
    U.closed[path] = 0;
    pthread_mutex_unlock(&U.lock);
    return code;
}

size_t upstream_pongs(int path) {
    pthread_mutex_lock(&U.lock);
    size_t n = U.pongs[path];
    pthread_mutex_unlock(&U.lock);
    return n;
}

void upstream_await_pongs(int path, size_t n) {
    struct timespec until = up_limit();
    pthread_mutex_lock(&U.lock);
    while (U.pongs[path] < n && up_wait(&until))
        ;
    CHECK(U.pongs[path] >= n);
    pthread_mutex_unlock(&U.lock);
}

void upstream_send(int path, int opcode, const void *data, size_t len) { upstream_send_parts(path, opcode, data, len, len); }

void upstream_send_parts(int path, int opcode, const void *data, size_t len, size_t part) {
    pthread_mutex_lock(&U.lock);
    struct up_conn *c = up_of(path);
    if (c)
        c->users++;
    pthread_mutex_unlock(&U.lock);
    if (!c)
        return;
    size_t at = 0;
    do {
        size_t n = part && len - at > part ? part : len - at;
        if (!up_frame(c, at ? 0 : opcode, at + n == len, (const char *)data + at, n))
            break;
        at += n;
    } while (at < len);
    pthread_mutex_lock(&U.lock);
    c->users--;
    pthread_cond_broadcast(&U.cond);
    pthread_mutex_unlock(&U.lock);
}

void upstream_say(int path, const char *text) { upstream_send(path, 1, text, strlen(text)); }
void upstream_ping(int path, const char *payload) { upstream_send(path, 9, payload, strlen(payload)); }

void upstream_close(int path, int code, const char *reason) {
    char body[126] = { (char)(code >> 8), (char)code };
    int n = snprintf(body + 2, sizeof body - 2, "%s", reason);
    upstream_send(path, 8, body, (size_t)n + 2);
}

void upstream_drop(int path) {
    pthread_mutex_lock(&U.lock);
    struct up_conn *c = up_of(path);
    if (c) {
        U.current[path] = NULL;
        shutdown(c->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&U.lock);
}

void upstream_mute(int path, bool on) {
    pthread_mutex_lock(&U.lock);
    U.mute[path] = on;
    pthread_mutex_unlock(&U.lock);
}

int upstream_complaints(const char *part) {
    int found = 0;
    pthread_mutex_lock(&U.lock);
    for (size_t i = 0; i < U.ncomplaints; i++) {
        if (!strstr(U.complaints[i], part))
            continue;
        free(U.complaints[i]);
        U.complaints[i--] = U.complaints[--U.ncomplaints];
        found++;
    }
    pthread_mutex_unlock(&U.lock);
    return found;
}

/* ---- jobs ---- */

/* The agent knows the tasks of what it creates. */
static void learn_tasks(const json_t *objects) { /* lock held */
    for (size_t i = 0; i < json_len(objects) && U.ntasks < UP_TASKS; i++) {
        const json_t *labels = json_path(json_at(objects, i), "metadata", "labels", NULL);
        const char *task = json_get_str(labels, "osmo.task_uuid"), *retry = json_get_str(labels, "osmo.retry_id");
        if (task)
            U.tasks[U.ntasks++] = str_printf("%s/%s/%s", json_get_str(labels, "osmo.workflow_uuid"), task, retry ? retry : "0");
    }
}

void upstream_job_raw(const void *frame, size_t len, const char *type) {
    struct timespec until = up_limit();
    pthread_mutex_lock(&U.lock);
    while ((U.job_conn || !up_of(UP_WORKER) || !up_of(UP_WORKER)->init) && up_wait(&until))
        ;
    struct up_conn *c = up_of(UP_WORKER);
    CHECK(c && c->init && !U.job_conn);
    if (c)
        U.job_conn = c->id;
    snprintf(U.job_type, sizeof U.job_type, "%s", type ? type : "");
    pthread_mutex_unlock(&U.lock);
    if (c)
        upstream_send(UP_WORKER, 2, frame, len);
}

bool upstream_deflate(const char *text, size_t len, buf_t *out) {
    uLongf n = compressBound(len);
    Bytef *block = malloc(n);
    bool good = block && compress(block, &n, (const Bytef *)text, len) == Z_OK && buf_append(out, block, n) == 0;
    free(block);
    return good;
}

void upstream_job(const char *json) {
    json_t *v = NULL;
    _cleanup_buf_ buf_t frame = BUF_INIT(17u << 20);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(json_parse(json, strlen(json), &v, &err), &err);
    CHECK_OK(job_frame_pack(v, &frame, &err), &err);
    pthread_mutex_lock(&U.lock);
    learn_tasks(json_get(v, "k8s_resources"));
    learn_tasks(json_path(v, "create_job", "k8s_resources", NULL));
    pthread_mutex_unlock(&U.lock);
    upstream_job_raw(frame.data, frame.len, json_get_str(v, "job_type"));
    json_free(v);
}

size_t upstream_jobs_answered(size_t want) {
    struct timespec until = up_limit();
    pthread_mutex_lock(&U.lock);
    while (U.answered < want && up_wait(&until))
        ;
    size_t n = U.answered;
    pthread_mutex_unlock(&U.lock);
    return n;
}

const char *upstream_status(size_t nth) { return upstream_await(UP_WORKER, "\"job_status\"", nth); }
