/* osmo_ctrl's spool and the messages between osmo_ctrl and osmo_exec. */
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "osmo-ctrl/ctrl.h"
#include "runtime/link.h"
#include "runtime/link_lines.h"

struct seen { uint64_t seqs[4096]; size_t n, stop_after; char last[64]; };

static bool take(void *ctx, const struct spool_entry *e) {
    struct seen *s = ctx;
    if (s->n >= s->stop_after)
        return false;
    s->seqs[s->n++] = e->seq;
    snprintf(s->last, sizeof s->last, "%.*s", (int)(e->len < 60 ? e->len : 60), e->text);
    return true;
}

static struct spool *open_spool(uint64_t limit) {
    struct spool *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    char path[64];
    snprintf(path, sizeof path, "/tmp/osmo-test-spool-%d", (int)getpid());
    CHECK_OK(spool_open(path, limit, &s, &err), &err);
    CHECK(access(path, F_OK) != 0); /* it has no name */
    return s;
}

static void keeps_order_and_resends_what_is_not_confirmed(void) {
    struct spool *s = open_spool(1u << 20);
    REQUIRE(s != NULL);
    for (int i = 0; i < 100; i++) {
        char line[32];
        int n = snprintf(line, sizeof line, "line %d", i);
        CHECK_INT(spool_append(s, IO_STDOUT, line, (size_t)n), 0);
    }
    struct seen a = { .stop_after = 60 };
    CHECK_INT(spool_send(s, 1u << 20, take, &a), 60);
    CHECK_INT(a.seqs[59], 60);
    spool_confirm(s, 40);
    CHECK(spool_in_flight(s) > 0);
    spool_rewind(s);
    CHECK_INT(spool_in_flight(s), 0);
    struct seen b = { .stop_after = 4096 };
    CHECK_INT(spool_send(s, 1u << 20, take, &b), 60);
    CHECK_INT(b.seqs[0], 41);
    CHECK_STR(b.last, "line 99");
    CHECK(!spool_wait_empty(s, 1));
    spool_confirm(s, 100);
    CHECK(spool_wait_empty(s, 1));
    CHECK_INT(spool_unconfirmed(s), 0);
    CHECK_INT(spool_append(s, IO_STDERR, "more", 4), 0);
    struct seen c = { .stop_after = 10 };
    CHECK_INT(spool_send(s, 10, take, &c), 1);
    CHECK_INT(c.seqs[0], 101); /* numbers go on when the file starts over */
    spool_free(s);
}

/* More than is kept in memory, in records of all sizes, sent and confirmed in pieces, over reconnects: each number comes in order,
 * whole. */
struct check_all { uint64_t next, stop; size_t wrong; };

static size_t length_of(uint64_t seq) {
    return (size_t)(seq % 97 == 0 ? 300000 : seq % 1000 * 7 % 4000);
}

static bool check_one(void *ctx, const struct spool_entry *e) {
    struct check_all *c = ctx;
    if (e->seq > c->stop)
        return false;
    c->wrong += e->seq != c->next || e->len != length_of(e->seq) || e->text[e->len] != '\0' ||
        (e->len && (e->text[0] != (char)('a' + e->seq % 26) || e->text[e->len - 1] != e->text[0]));
    c->next = e->seq + 1;
    return true;
}

static void goes_over_memory_and_disk(void) {
    struct spool *s = open_spool(64u << 20);
    char *text = malloc(300000);
    struct check_all c = { .next = 1 };
    uint64_t written = 0, confirmed = 0;
    unsigned dice = 3;
    REQUIRE(s != NULL && text != NULL);
    while (confirmed < 6000) {
        dice = dice * 1103515245u + 12345u;
        switch (dice / 65536 % 8) {
        case 0: case 1: case 2: case 3:
            for (int i = 0; i < 60 && written < 6000; i++) {
                written++;
                memset(text, (int)('a' + written % 26), length_of(written));
                CHECK_INT(spool_append(s, IO_STDOUT, text, length_of(written)), 0);
            }
            break;
        case 4: case 5:
            c.stop = c.next + dice / 65536 % 90;
            spool_send(s, 1u << 20, check_one, &c);
            break;
        case 6: /* of what was sent, some or all */
            if (dice / 65536 % 3 == 0)
                confirmed = c.next - 1;
            else
                confirmed += (c.next - 1 - confirmed) / 2;
            spool_confirm(s, confirmed);
            break;
        default:
            if (dice / 65536 % 5 == 0) {
                spool_rewind(s);
                c.next = confirmed + 1;
            }
        }
    }
    CHECK_INT(c.wrong, 0);
    CHECK_INT(spool_unconfirmed(s), 0);
    memset(text, 'a' + 6001 % 26, length_of(6001));
    CHECK_INT(spool_append(s, IO_STDOUT, text, length_of(6001)), 0);
    spool_confirm(s, UINT64_MAX); /* what was not sent is not confirmed by that */
    CHECK(spool_unconfirmed(s) > 0);
    free(text);
    spool_free(s);
}

static void *confirm_later(void *arg) {
    usleep(50000);
    spool_confirm(arg, 1);
    return NULL;
}

static void blocks_the_writer_at_its_limit(void) {
    struct spool *s = open_spool(1000);
    REQUIRE(s != NULL);
    static char big[5000];
    memset(big, 'x', sizeof big);
    CHECK_INT(spool_append(s, IO_STDOUT, big, sizeof big), 0); /* over the limit, so the next has to wait */
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, confirm_later, s) == 0);
    CHECK_INT(spool_append(s, IO_STDOUT, "after", 5), 0);
    CHECK(spool_unconfirmed(s) < 100); /* it waited for the confirmation */
    pthread_join(t, NULL);
    spool_append(s, IO_STDOUT, big, sizeof big);
    spool_abandon(s);
    CHECK_INT(spool_append(s, IO_STDOUT, "end", 3), 0); /* nobody waits at the end */
    spool_free(s);
}

static void messages_survive_any_cut(void) {
    buf_t out = BUF_INIT(1u << 20);
    link_message(&out, "MessageOut", "MessageOut", "a \"b\" \\ \t \x01 \n{}", 15);
    link_message(&out, "ExecFinished", NULL, "", 0);
    buf_puts(&out, "{\"Type\":\"CtrlFailed\"}"); /* without a newline, as OSMO's runtime sends it */
    for (size_t cut = 1; cut < out.len; cut++) {
        buf_t in = BUF_INIT(1u << 20);
        size_t n = 0;
        char types[64] = "";
        for (size_t at = 0; at < out.len;) {
            size_t step = at == 0 ? cut : out.len - at;
            buf_append(&in, out.data + at, step);
            at += step;
            json_t *m;
            while (link_next(&in, &m) == 1) {
                if (n++ == 0)
                    CHECK_STR(json_get_str(m, "MessageOut"), "a \"b\" \\ \t \x01 \n{}");
                CHECK(n > 2 || json_len(m) == 9);
                strncat(types, json_get_str(m, "Type"), 20);
                json_free(m);
            }
        }
        CHECK_STR(types, "MessageOutExecFinishedCtrlFailed");
        buf_free(&in);
    }
    json_t *m;
    buf_t bad = BUF_INIT(100);
    buf_puts(&bad, "hello");
    CHECK(link_next(&bad, &m) < 0);
    buf_free(&bad);
    buf_free(&out);
}

struct lines { char text[256]; size_t n; };

static void on_line(void *ctx, const char *type, const char *text, size_t len) {
    struct lines *l = ctx;
    l->n++;
    snprintf(l->text + strlen(l->text), sizeof l->text - strlen(l->text), "%s:%.*s;", type, (int)len, text);
}

static void lines_are_taken_first(void) {
    buf_t in = BUF_INIT(1u << 20);
    struct lines l = { "", 0 };
    json_t *m = NULL;
    link_message(&in, "MessageOut", "MessageOut", "a \"\xc3\xa4\"", 6);
    link_message(&in, "MessageErr", "MessageErr", "", 0);
    buf_puts(&in, " {\"MessageOps\":\"c\\n\",\"Type\":\"MessageOps\"}\n");
    link_message(&in, "ExecFinished", NULL, "", 0);
    link_message(&in, "MessageOut", "MessageOut", "behind", 6);
    link_take_lines(&in, on_line, &l);
    CHECK_STR(l.text, "MessageOut:a \"\xc3\xa4\";MessageErr:;MessageOps:c\n;");
    CHECK_INT(link_next(&in, &m), 1);
    CHECK_STR(json_get_str(m, "Type"), "ExecFinished");
    json_free(m);
    buf_truncate(&in, in.len - 1); /* not whole yet */
    link_take_lines(&in, on_line, &l);
    CHECK_INT(l.n, 3);
    buf_puts(&in, "\nwhat is this\n");
    link_take_lines(&in, on_line, &l);
    CHECK_INT(l.n, 4);
    CHECK(link_next(&in, &m) < 0);
    buf_free(&in);
}

static const struct check_test tests[] = {
    { "goes over memory and disk", goes_over_memory_and_disk },
    { "lines are taken first", lines_are_taken_first },
    { "keeps order and resends what is not confirmed", keeps_order_and_resends_what_is_not_confirmed },
    { "blocks the writer at its limit", blocks_the_writer_at_its_limit },
    { "messages survive any cut", messages_survive_any_cut },
};
TEST_MAIN("spool", tests)
