/* Lines of a log or of events, printed as they come. The service is asked for them with their numbers, so that after a break the
 * next request goes on behind the last line that was printed: nothing is lost, nothing comes twice. A service that does not number
 * them sends plain text, which is asked for again as a whole, and what was printed is passed over. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_reader.h"
#include "cli.h"

#define NUMBERED "{\"line\":"
#define LINE_BYTES_MAX (512u << 20)
#define RECONNECT_MS 100

struct lines {
    enum { NEW, NUMBERS, PLAIN } kind; /* of this answer; the first bytes tell */
    buf_t partial;
    uint64_t last;                     /* number of the last line that was printed */
    uint64_t printed, seen;            /* bytes of plain text */
    bool answered, failed;             /* some request was; the first was not */
};

static bool print_plain(struct lines *l, const char *data, size_t len) {
    uint64_t from = l->printed > l->seen ? l->printed - l->seen : 0; /* already on the screen before the stream broke */
    l->seen += len;
    if (from >= len)
        return true;
    l->printed = l->seen;
    return print_data(NULL, data + from, len - (size_t)from);
}

/* One record; an empty one keeps the connection alive, and what is no record is nothing of ours. */
static bool print_record(struct lines *l, const char *text, size_t len) {
    json_reader_t r;
    json_slice_t key, line = { 0 };
    int64_t number = 0;
    json_reader_init(&r, text, len);
    if (len && json_reader_object(&r)) {
        while (json_reader_key(&r, &key)) {
            if (json_slice_is(&key, "line"))
                json_reader_int(&r, &number);
            else if (json_slice_is(&key, "text"))
                json_reader_string(&r, &line);
            else
                json_reader_skip(&r, NULL);
        }
    }
    if (!line.text || json_reader_failed(&r))
        return true;
    _cleanup_free_ char *plain = malloc(line.len + 1);
    if (!plain)
        return false;
    size_t n = json_slice_copy(&line, plain, line.len + 1);
    l->last = number > 0 ? (uint64_t)number : l->last;
    return fwrite(plain, 1, n, stdout) == n;
}

static bool print_records(struct lines *l) {
    size_t done = 0;
    bool good = true;
    const char *nl;
    while (good && (nl = memchr(l->partial.data + done, '\n', l->partial.len - done))) {
        size_t len = (size_t)(nl - l->partial.data) - done;
        good = print_record(l, l->partial.data + done, len);
        done += len + 1;
    }
    buf_consume(&l->partial, done);
    return fflush(stdout) == 0 && good;
}

static bool decide(struct lines *l, bool at_end) {
    size_t n = l->partial.len < strlen(NUMBERED) ? l->partial.len : strlen(NUMBERED);
    bool same = memcmp(buf_cstr(&l->partial), NUMBERED, n) == 0 || l->partial.data[0] == '\n';
    if (same && n < strlen(NUMBERED) && l->partial.data[0] != '\n' && !at_end)
        return true; /* not enough of it yet */
    l->kind = same && n ? NUMBERS : PLAIN;
    if (l->kind == NUMBERS)
        return print_records(l);
    buf_t text = l->partial;
    l->partial = (buf_t)BUF_INIT(LINE_BYTES_MAX);
    bool good = print_plain(l, buf_cstr(&text), text.len);
    buf_free(&text);
    return good;
}

static bool on_data(void *ctx, const char *data, size_t len) {
    struct lines *l = ctx;
    if (l->kind == PLAIN)
        return print_plain(l, data, len);
    if (buf_append(&l->partial, data, len) < 0)
        return false;
    return l->kind == NEW ? decide(l, false) : print_records(l);
}

static char *request(const struct lines *l, const struct lines_request *q) {
    buf_t path = BUF_INIT(1u << 16);
    char number[32];
    buf_puts(&path, q->path);
    query_add(&path, "format", "json");
    snprintf(number, sizeof number, "%" PRIu64, l->last + 1);
    if (l->last)
        query_add(&path, "from_line", number);
    else if (q->from_line)
        query_add(&path, "from_line", q->from_line);
    else if (q->last_n)
        query_add(&path, "last_n_lines", q->last_n);
    char *text = buf_steal(&path, NULL);
    buf_free(&path);
    return text;
}

int lines_print(struct api *a, const struct lines_request *q) {
    struct lines l = { .partial = BUF_INIT(LINE_BYTES_MAX) };
    int64_t give_up = 0;
    int code;
    for (;;) {
        bool quiet = q->insist || l.answered || !l.failed;
        _cleanup_free_ char *path = request(&l, q);
        if (!path) {
            code = api_fail(a->json_errors, 0, "out of memory", EXIT_USER);
            break;
        }
        l.kind = NEW;
        l.seen = 0;
        code = api_stream(a, path, on_data, &l, 0, quiet, NULL);
        if (l.kind == NEW && l.partial.len && (code == 0 || !l.last))
            (void)decide(&l, true); /* plain text, or the beginning of it */
        buf_reset(&l.partial);
        l.answered = l.answered || a->answered;
        if (code != EXIT_SERVER_DOWN || !quiet)
            break;
        if (!q->insist && !l.answered) { /* once more, to hear why */
            l.failed = true;
            continue;
        }
        bool counts = l.kind != PLAIN || !q->last_n; /* the last lines of plain text are others by then */
        if (!counts || !stream_may_retry(a, &give_up)) {
            code = stream_lost(a);
            break;
        }
        poll(NULL, 0, RECONNECT_MS);
    }
    buf_free(&l.partial);
    return code;
}
