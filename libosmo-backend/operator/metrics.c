/* See metrics.h. */
#include "operator/metrics.h"
#include <string.h>
#include "base/cleanup.h"
#include "osmo/error.h"

static const double bounds[METRIC_BUCKETS] = { 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300 };
static const struct { const char *name, *label, *help; } rows[METRIC_COUNTERS + METRIC_TIMINGS] = {
    [METRIC_QUEUED] = { "backend_listener_queue_event_count", "event_type", "Messages queued for the service." },
    [METRIC_SENT] = { "backend_message_transmission_count", "event_type", "Messages sent to the service." },
    [METRIC_WATCHED] = { "kb_event_watch_count", "event_type", "Changes that the cluster told." },
    [METRIC_WATCH_ERRORS] = { "event_watch_connection_error_count", "event_type", "Times something was wrong with the cluster." },
    [METRIC_DISCONNECTS] = { "websocket_disconnect_count", "event_type", "Connections to the service that ended or were refused." },
    [METRIC_COUNTERS + METRIC_EVENT_TIME] = { "event_processing_times", "event_type", "Seconds that a change of the cluster took." },
    [METRIC_COUNTERS + METRIC_JOB_TIME] = { "backend_job_execution_time", "job_type", "Seconds that a job of the service took." },
};

int metrics_open(struct metrics *m) { return pthread_mutex_init(&m->lock, NULL) == 0 ? OSMO_OK : OSMO_ENOMEM; }
void metrics_close(struct metrics *m) { pthread_mutex_destroy(&m->lock); }

/* With the lock held. The last place is shared by what does not fit. */
static size_t place_of(struct metrics *m, int row, const char *kind) {
    size_t i = 0;
    while (i < METRIC_KINDS - 1 && m->kinds[row][i] && strcmp(m->kinds[row][i], kind) != 0)
        i++;
    if (!m->kinds[row][i])
        m->kinds[row][i] = i < METRIC_KINDS - 1 ? kind : "other";
    return i;
}

void metrics_count(struct metrics *m, enum metric_counter what, const char *kind) {
    pthread_mutex_lock(&m->lock);
    m->counters[what][place_of(m, (int)what, kind)]++;
    pthread_mutex_unlock(&m->lock);
}

void metrics_time(struct metrics *m, enum metric_timing what, const char *kind, int64_t us) {
    double s = (double)us / 1e6;
    pthread_mutex_lock(&m->lock);
    struct metric_histogram *h = &m->timings[what][place_of(m, METRIC_COUNTERS + (int)what, kind)];
    for (size_t i = 0; i < METRIC_BUCKETS; i++)
        h->bucket[i] += s <= bounds[i];
    h->count++;
    h->sum_s += s;
    pthread_mutex_unlock(&m->lock);
}

void metrics_print_label(buf_t *out, const char *name, const char *value) {
    buf_printf(out, "%s=\"", name);
    for (const char *p = value; *p; p++) {
        if (*p == '\\' || *p == '"')
            buf_putc(out, '\\');
        if (*p == '\n')
            buf_puts(out, "\\n");
        else
            buf_putc(out, *p);
    }
    buf_putc(out, '"');
}

static void labels(buf_t *out, int row, const char *kind, const char *namespace_) {
    metrics_print_label(out, rows[row].label, kind);
    buf_putc(out, ',');
    metrics_print_label(out, "namespace", namespace_);
}

static void print_counter(const struct metrics *m, int row, size_t kind, const char *namespace_, buf_t *out) {
    buf_printf(out, "%s{", rows[row].name);
    labels(out, row, m->kinds[row][kind], namespace_);
    buf_printf(out, "} %llu\n", (unsigned long long)m->counters[row][kind]);
}

static void print_histogram(const struct metrics *m, int row, size_t kind, const char *namespace_, buf_t *out) {
    const struct metric_histogram *h = &m->timings[row - METRIC_COUNTERS][kind];
    for (size_t i = 0; i <= METRIC_BUCKETS; i++) {
        buf_printf(out, "%s_bucket{", rows[row].name);
        labels(out, row, m->kinds[row][kind], namespace_);
        if (i < METRIC_BUCKETS)
            buf_printf(out, ",le=\"%g\"} %llu\n", bounds[i], (unsigned long long)h->bucket[i]);
        else
            buf_printf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)h->count);
    }
    buf_printf(out, "%s_sum{", rows[row].name);
    labels(out, row, m->kinds[row][kind], namespace_);
    buf_printf(out, "} %.6f\n%s_count{", h->sum_s, rows[row].name);
    labels(out, row, m->kinds[row][kind], namespace_);
    buf_printf(out, "} %llu\n", (unsigned long long)h->count);
}

void metrics_print(struct metrics *m, const char *namespace_, buf_t *out) {
    pthread_mutex_lock(&m->lock);
    for (int row = 0; row < (int)ARRAY_SIZE(rows); row++) {
        bool counter = row < METRIC_COUNTERS;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[row].name, rows[row].help, rows[row].name, counter ? "counter" : "histogram");
        for (size_t i = 0; i < METRIC_KINDS && m->kinds[row][i]; i++) {
            if (counter)
                print_counter(m, row, i, namespace_, out);
            else
                print_histogram(m, row, i, namespace_, out);
        }
    }
    pthread_mutex_unlock(&m->lock);
}
