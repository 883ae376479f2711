/* What an operator counts, for people and their dashboards: names as OSMO's backend operator has them. Any thread. Called by all of the
 * operator; health.c prints it. */
#ifndef OPERATOR_METRICS_H
#define OPERATOR_METRICS_H
#include <pthread.h>
#include <stdint.h>
#include "base/buf.h"

enum metric_counter { METRIC_QUEUED, METRIC_SENT, METRIC_WATCHED, METRIC_WATCH_ERRORS, METRIC_DISCONNECTS, METRIC_COUNTERS };
enum metric_timing { METRIC_EVENT_TIME, METRIC_JOB_TIME, METRIC_TIMINGS };
#define METRIC_KINDS 12    /* values of the label of a metric */
#define METRIC_BUCKETS 14

struct metric_histogram { uint64_t bucket[METRIC_BUCKETS], count; double sum_s; };
struct metrics {
    pthread_mutex_t lock;
    const char *kinds[METRIC_COUNTERS + METRIC_TIMINGS][METRIC_KINDS]; /* literals, in order of arrival */
    uint64_t counters[METRIC_COUNTERS][METRIC_KINDS];
    struct metric_histogram timings[METRIC_TIMINGS][METRIC_KINDS];
};

int metrics_open(struct metrics *m);
void metrics_close(struct metrics *m);
/* `kind` is a string literal: event_type, or job_type. */
void metrics_count(struct metrics *m, enum metric_counter what, const char *kind);
void metrics_time(struct metrics *m, enum metric_timing what, const char *kind, int64_t us);
/* In the text format of Prometheus. */
void metrics_print(struct metrics *m, const char *namespace_, buf_t *out);
/* A label's value, escaped. */
void metrics_print_label(buf_t *out, const char *name, const char *value);
#endif
