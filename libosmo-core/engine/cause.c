/* The words of a failure: one line that says each thing once, with the reason the task itself gave where there is
 * one. Called by the rules of the reactor. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine/reactor_internal.h"

#define LAST_LINE_MAX 300
#define CAUSE_MAX 8192 /* more than a row keeps */
#define LOG_SCAN_MAX 4096 /* entries looked at, whatever the size of the log */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

/* "- Task NAME failed with exit code 3: words" → "exit code 3: words"; the name is said by whoever quotes this. */
static const char *clause_begin(const char *line, size_t *len, const char *task) {
    static const char bullet[] = "- ", head[] = "Task ", tail[] = " failed with ";
    const char *p = line, *end = line + *len;
    size_t name = strlen(task);
    if (*len > sizeof bullet - 1 && !memcmp(p, bullet, sizeof bullet - 1))
        p += sizeof bullet - 1;
    const char *rest = p + sizeof head - 1 + name;
    if (rest + sizeof tail - 1 < end && !memcmp(p, head, sizeof head - 1) &&
        !memcmp(p + sizeof head - 1, task, name) && !memcmp(rest, tail, sizeof tail - 1))
        p = rest + sizeof tail - 1;
    *len = (size_t)(end - p);
    return p;
}

char *cause_line(const char *message, const char *task) {
    _cleanup_buf_ buf_t out = BUF_INIT(4 * CAUSE_MAX);
    for (const char *p = message; p && *p && out.len < CAUSE_MAX;) {
        size_t line = strcspn(p, "\r\n"), len = line;
        const char *clause = clause_begin(p, &len, task);
        if (len) {
            buf_puts(&out, out.len ? "; " : "");
            buf_append(&out, clause, len < CAUSE_MAX ? len : CAUSE_MAX);
        }
        p += line + (p[line] != '\0');
    }
    return buf_failed(&out) ? NULL : str_dup(buf_cstr(&out));
}

/* What follows "exit code N" in a text that begins with it; else the whole text. */
static const char *after_code(const char *text, int64_t code) {
    char said[48];
    if (!text || code == EXIT_CODE_NONE)
        return text;
    size_t n = (size_t)snprintf(said, sizeof said, "exit code %lld", (long long)code);
    if (strncmp(text, said, n) != 0 || (text[n] && !strchr(":; ", text[n])))
        return text;
    text += n;
    return text + strspn(text, ":; ");
}

/* A command that a signal has ended reports 128 and the signal. */
static const char *signal_of(int64_t code) { return code > 128 && code < 128 + NSIG ? sigabbrev_np((int)code - 128) : NULL; }

char *task_failure_text(const struct task_row *t) {
    char code[64] = "", kind[48] = "";
    const char *why = after_code(t->failure_message, t->sm.exit_code), *signal = signal_of(t->sm.exit_code);
    if (t->sm.exit_code != EXIT_CODE_NONE)
        snprintf(code, sizeof code, signal ? " with exit code %lld (128 + SIG%s)" : " with exit code %lld", (long long)t->sm.exit_code,
                 signal);
    if (t->sm.status != STATUS_FAILED)
        snprintf(kind, sizeof kind, " (%s)", status_name(t->sm.status));
    bool has = why && *why;
    return str_printf("task %s failed%s%s%s%s", t->name, kind, code, has ? ": " : "", has ? why : "");
}

/* "2026/03/01 09:30:00 [task] words\n" → "words", shortened. */
static char *line_words(char *line) {
    char *p = strstr(line, "] "), *words = p ? p + 2 : line;
    size_t n = strcspn(words, "\r\n");
    while (n && (words[n - 1] == ' ' || words[n - 1] == '\t'))
        n--;
    if (n > LAST_LINE_MAX)
        for (n = LAST_LINE_MAX; n && ((unsigned char)words[n] & 0xC0) == 0x80;)
            n--;
    words[n] = '\0';
    words += strspn(words, " \t");
    return *words ? str_dup(words) : NULL;
}

/* The last thing the attempt wrote to its error output, NULL when there is none. */
static char *last_error_line(engine_t *e, const char *workflow_id, const struct task_row *t) {
    struct log_query q = {
        .task = t->name, .retry_id = t->sm.retry_id, .last_n = 1, .scan_max = LOG_SCAN_MAX, .error_only = true
    };
    _cleanup_buf_ buf_t text = BUF_INIT(1u << 20);
    log_reader_t *reader = NULL;
    char *words = NULL;
    if (e->logs && logstore_reader(e->logs, workflow_id, &q, &reader, NULL) >= 0 &&
        log_reader_read(reader, &text, 1, NULL) > 0 && buf_cstr(&text))
        words = line_words(text.data);
    log_reader_free(reader);
    return words;
}

/* Only where nothing but the exit code is known: what the user's program said last is its best explanation. */
int cause_explain(engine_t *e, const char *workflow_id, const struct task_row *t, enum status status,
                  int64_t exit_code, char **message) {
    const char *why = after_code(*message, exit_code);
    if (status != STATUS_FAILED || exit_code <= 0 || exit_code > 255 || (why && *why))
        return 0;
    _cleanup_free_ char *words = last_error_line(e, workflow_id, t);
    if (!words)
        return 0;
    bool exec = exit_code == EXIT_NOT_FOUND || exit_code == EXIT_NOT_EXECUTABLE;
    char *text = str_printf("exit code %lld: %s%s", (long long)exit_code, exec ? "" : "last error output: ", words);
    if (!text)
        return OSMO_ENOMEM;
    free(*message);
    *message = text;
    return 0;
}
