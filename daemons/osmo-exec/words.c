/* Splitting a command as a POSIX shell does with its words: quotes and backslashes, and nothing else of a shell. Pure. */
#include "words.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#define WORDS_MAX 1024
#define WORD_MAX (128u << 10)

static int problem(char *why, size_t cap, const char *what) {
    snprintf(why, cap, "the entry command cannot be split into words: %s", what);
    return -1;
}

/* One word from *p on. 0 or the reason. */
static const char *read_word(const char **p, buf_t *word) {
    const char *s = *p;
    char quote = '\0';
    for (; *s && (quote || !strchr(" \t\r\n", *s)); s++) {
        if (quote == '\'' ? *s == '\'' : quote == '"' ? *s == '"' : *s == '\'' || *s == '"') {
            quote = quote ? '\0' : *s;
        } else if (*s == '\\' && quote != '\'') {
            if (!*++s)
                return "it ends with a backslash";
            if (quote == '"' && !strchr("\"\\$`\n", *s))
                buf_putc(word, '\\');
            if (*s != '\n')
                buf_putc(word, *s);
        } else {
            buf_putc(word, *s);
        }
    }
    *p = s;
    return quote == '"' ? "a \" is not closed" : quote ? "a ' is not closed" : buf_failed(word) ? "a word is too long" : NULL;
}

int words_split(const char *text, strlist_t *out, char *why, size_t cap) {
    const char *trouble = NULL;
    buf_t word = BUF_INIT(WORD_MAX);
    for (;;) {
        text += strspn(text, " \t\r\n");
        if (!*text || trouble)
            break;
        buf_reset(&word);
        trouble = read_word(&text, &word);
        if (!trouble && (out->len == WORDS_MAX || strlist_add(out, buf_cstr(&word))))
            trouble = "there are too many";
    }
    buf_free(&word);
    if (trouble)
        return problem(why, cap, trouble);
    if (!out->len || !*out->items[0]) {
        snprintf(why, cap, "the entry command is empty: give a program to run, for example /bin/bash");
        return -1;
    }
    return 0;
}
