/* Words about a transfer under way. See progress.h. */
#include "data/progress.h"

#include <stdio.h>
#include <string.h>

#define PAUSE_US 250000
#define QUIET_US (5LL * 60 * 1000000)
#define STEP_MAX (10ULL << 30)
#define LONGEST_S 359999 /* 99:59:59 */

const char *data_size_text(uint64_t bytes, char out[DATA_SIZE_TEXT_MAX]) {
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    size_t unit = 0;
    double value = (double)bytes;
    while (value >= 1023.995 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    if (!unit)
        snprintf(out, DATA_SIZE_TEXT_MAX, "%llu B", (unsigned long long)bytes);
    else
        snprintf(out, DATA_SIZE_TEXT_MAX, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[unit]);
    return out;
}

void data_meter_start(struct data_meter *m, int64_t now_us) { *m = (struct data_meter){ .started_us = now_us, .shown_us = now_us }; }

bool data_meter_due(struct data_meter *m, const struct data_progress *p, int64_t now_us) {
    uint64_t step = p->bytes_total / 10 && p->bytes_total / 10 < STEP_MAX ? p->bytes_total / 10 : STEP_MAX;
    int64_t since = now_us - m->shown_us;
    if (since < PAUSE_US || (since < QUIET_US && (p->listing || p->bytes_done < m->shown_bytes + step)))
        return false;
    m->shown_us = now_us;
    m->shown_bytes = p->bytes_done;
    return true;
}

/* "01:05", "1:01:05" */
static const char *clock_text(int64_t seconds, char out[16]) {
    unsigned s = (unsigned)(seconds < 0 ? 0 : seconds > LONGEST_S ? LONGEST_S : seconds), h = s / 3600 % 100;
    if (h)
        snprintf(out, 16, "%u:%02u:%02u", h, s / 60 % 60, s % 60);
    else
        snprintf(out, 16, "%02u:%02u", s / 60 % 60, s % 60);
    return out;
}

struct figures {
    char done[DATA_SIZE_TEXT_MAX], total[DATA_SIZE_TEXT_MAX], rate[DATA_SIZE_TEXT_MAX], elapsed[16], left[16];
    unsigned percent;
    bool known; /* the sum */
};

static void count(const struct data_meter *m, const struct data_progress *p, int64_t now_us, struct figures *f) {
    int64_t us = now_us > m->started_us ? now_us - m->started_us : 1;
    double rate = (double)p->bytes_done * 1e6 / (double)us;
    uint64_t missing = p->bytes_total > p->bytes_done ? p->bytes_total - p->bytes_done : 0;
    f->known = !p->listing;
    f->percent = p->bytes_total ? (unsigned)((double)(p->bytes_total - missing) * 100 / (double)p->bytes_total) : 100;
    data_size_text(p->bytes_done, f->done);
    data_size_text(p->bytes_total, f->total);
    data_size_text((uint64_t)rate, f->rate);
    clock_text(us / 1000000, f->elapsed);
    if (rate >= 1 && f->known)
        clock_text((double)missing / rate > LONGEST_S ? LONGEST_S : (int64_t)((double)missing / rate), f->left);
    else
        memcpy(f->left, "?", 2);
}

/* Control characters would break the line or move the cursor. Cuts at a character's beginning. */
static void put_name(char *out, size_t size, const char *name) {
    size_t n = 0;
    for (; name && name[n] && n + 1 < size; n++)
        out[n] = (unsigned char)name[n] < ' ' || name[n] == 0x7f ? '?' : name[n];
    if (name && name[n])
        while (n && ((unsigned char)name[n] & 0xc0) == 0x80)
            n--;
    out[n] = '\0';
}

const char *data_meter_log(const struct data_meter *m, const struct data_progress *p, int64_t now_us, char out[DATA_METER_TEXT_MAX]) {
    struct figures f;
    char name[1025];
    count(m, p, now_us, &f);
    put_name(name, sizeof name, p->current);
    int n = f.known ? snprintf(out, DATA_METER_TEXT_MAX, "%3u%%| ", f.percent) : 0;
    snprintf(out + n, DATA_METER_TEXT_MAX - (size_t)n, "%s/%s%s [%s<%s, %s/s%s%s]", f.done, f.total, f.known ? "" : "+", f.elapsed, f.left,
             f.rate, *name ? ", file_name=" : "", name);
    return out;
}

const char *data_meter_screen(const struct data_meter *m, const struct data_progress *p, int64_t now_us, size_t columns,
                              char out[DATA_METER_TEXT_MAX]) {
    struct figures f;
    count(m, p, now_us, &f);
    size_t size = columns + 1 < DATA_METER_TEXT_MAX ? columns + 1 : DATA_METER_TEXT_MAX;
    int n = f.known ? snprintf(out, size, "%3u%%  ", f.percent) : snprintf(out, size, "      ");
    if (n >= 0 && (size_t)n < size)
        n += snprintf(out + n, size - (size_t)n, "%s of %s%s, %llu of %llu%s files, %s/s, %s left", f.done, f.total,
                      f.known ? "" : " or more", (unsigned long long)p->files_done, (unsigned long long)p->files_total,
                      f.known ? "" : " or more", f.rate, f.left);
    if (p->current && n >= 0 && (size_t)n + 3 < size) {
        memcpy(out + n, "  ", 2);
        put_name(out + n + 2, size - (size_t)n - 2, p->current);
    }
    return out;
}
