/* Masking what looks like a secret, line by line: see redact.h. */
#include "model/redact.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"

#define BASE64_MIN 16
#define BASE64_DECODED_MAX 4096

struct scan {
    buf_t *out;            /* NULL: only look whether there is a secret */
    bool found;
    /* what goes on over several lines */
    bool in_credentials, in_block, in_pem;
    char quote;            /* open around a masked value; 0 = none */
    size_t column;         /* of the key that began it */
};
struct span { const char *p, *end; };

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }
static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static bool is_name(char c) { return is_lower(lower(c)) || is_digit(c) || c == '_' || c == '-' || c == '.'; }

static void copy(struct scan *s, const char *p, const char *end) {
    if (s->out && end > p)
        buf_append(s->out, p, (size_t)(end - p));
}

static void mask(struct scan *s) {
    s->found = true;
    if (s->out)
        buf_puts(s->out, REDACTED);
}

/* ---- names ---- */

enum secrecy { OPEN, KEYLIKE, PASSWORDLIKE };

static const char *find_word(const char *p, const char *end, const char *word) {
    size_t n = strlen(word);
    for (; (size_t)(end - p) >= n; p++) {
        size_t i = 0;
        while (i < n && lower(p[i]) == word[i])
            i++;
        if (i == n)
            return p;
    }
    return NULL;
}

/* "token" and "tokens", but no "tokenizer". */
static bool has_token(const char *p, const char *end) {
    while ((p = find_word(p, end, "token"))) {
        p += strlen("token");
        const char *after = p < end && lower(*p) == 's' ? p + 1 : p;
        if (after == end || !is_lower(*after))
            return true;
    }
    return false;
}

/* "api_key", "apiKey", "AUTH-KEY", but neither "key" nor "monkey". */
static bool ends_in_key(const char *p, const char *end) {
    if (end - p < 4 || find_word(end - 3, end, "key") == NULL)
        return false;
    char before = end[-4];
    return before == '_' || before == '-' || before == '.' || (end[-3] == 'K' && is_lower(before));
}

static enum secrecy name_secrecy(const char *p, const char *end) {
    static const char *const passwords[] = { "password", "passwd", "passphrase", "secret", "authorization" };
    static const char *const keys[] = { "apikey", "api_key", "api-key", "access_key", "access-key", "accesskey", "private_key",
                                        "privatekey", "private-key" };
    for (size_t i = 0; i < ARRAY_SIZE(passwords); i++)
        if (find_word(p, end, passwords[i]))
            return PASSWORDLIKE;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (find_word(p, end, keys[i]))
            return KEYLIKE;
    return has_token(p, end) || ends_in_key(p, end) ? KEYLIKE : OPEN;
}

/* ---- values ---- */

static bool span_is(struct span v, const char *text) {
    return (size_t)(v.end - v.p) == strlen(text) && memcmp(v.p, text, strlen(text)) == 0;
}

static bool is_number(struct span v) {
    for (const char *p = v.p; p < v.end; p++)
        if (!is_digit(*p) && *p != '.' && *p != '-')
            return false;
    return v.p < v.end;
}

/* $NAME, ${…}, $(…), {{…}}: where a secret comes from, not what it is. */
static bool is_reference(struct span v) {
    size_t n = (size_t)(v.end - v.p);
    if (n >= 4 && !memcmp(v.p, "{{", 2) && !memcmp(v.end - 2, "}}", 2))
        return true;
    if (n < 2 || v.p[0] != '$')
        return false;
    if ((v.p[1] == '{' && v.end[-1] == '}') || (v.p[1] == '(' && v.end[-1] == ')'))
        return true;
    for (const char *p = v.p + 1; p < v.end; p++)
        if (!((*p >= 'A' && *p <= 'Z') || *p == '_' || (is_digit(*p) && p > v.p + 1)))
            return false;
    return true;
}

static bool is_harmless(struct span v, enum secrecy how) {
    return v.p == v.end || span_is(v, REDACTED) || span_is(v, "null") || span_is(v, "~") || span_is(v, "true") ||
           span_is(v, "false") || is_reference(v) || (how == KEYLIKE && is_number(v));
}

/* To the closing quote, without it. */
static const char *quoted_end(const char *p, const char *end, char quote) {
    for (; p < end; p++) {
        bool escape = p + 1 < end && ((quote == '"' && *p == '\\') || (quote == '\'' && *p == quote && p[1] == quote));
        if (!escape && *p == quote)
            return p;
        p += escape;
    }
    return end;
}

static const char *bracket_end(const char *p, const char *end) {
    int depth = 0;
    for (; p < end; p++) {
        depth += *p == '{' || *p == '[';
        depth -= *p == '}' || *p == ']';
        if (depth == 0)
            return p + 1;
    }
    return end;
}

/* Where a plain value ends; `quote` is open around it or 0, `flow` means inside of brackets. */
static const char *plain_end(const char *p, const char *end, char separator, char quote, bool flow) {
    const char *q = p;
    for (; q < end; q++) {
        if ((quote && *q == quote) || (separator == '=' && (is_space(*q) || strchr("\"',;)}]&|", *q))) ||
            (flow && strchr(",}]", *q)) || (!quote && *q == '#' && q > p && is_space(q[-1])))
            break;
    }
    while (q > p && is_space(q[-1]))
        q--;
    return q;
}

/* "|", ">-", "|2": the value is on the lines below. */
static bool begins_block(const char *p, const char *end) {
    if (p == end || (*p != '|' && *p != '>'))
        return false;
    for (p++; p < end && (is_digit(*p) || *p == '+' || *p == '-'); p++)
        ;
    while (p < end && is_space(*p))
        p++;
    return p == end || *p == '#';
}

/* ---- base64 ---- */

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (is_lower(c))
        return c - 'a' + 26;
    if (is_digit(c))
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

static void scan_line(struct scan *s, const char *p, const char *end);

static bool hides_secret(const char *p, const char *end) {
    char text[BASE64_DECODED_MAX];
    size_t n = 0;
    uint32_t bits = 0;
    int have = 0;
    for (; p < end && n < sizeof text; p++) {
        bits = bits << 6 | (uint32_t)base64_value(*p);
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        char c = (char)(bits >> have & 0xff);
        if ((unsigned char)c < ' ' && !strchr("\t\r\n", c))
            return false;
        text[n++] = c;
    }
    struct scan look = { .out = NULL };
    for (char *line = text, *nl; line < text + n; line = nl + 1) {
        nl = memchr(line, '\n', (size_t)(text + n - line));
        nl = nl ? nl : text + n;
        scan_line(&look, line, nl);
    }
    return look.found;
}

/* Copies a stretch without pairs, masking what is hidden in it, and passwords in URLs. */
static void copy_open(struct scan *s, const char *p, const char *end) {
    while (s->out && p < end) {
        const char *run = p;
        while (run < end && base64_value(*run) >= 0)
            run++;
        if (run - p >= BASE64_MIN && hides_secret(p, run)) {
            mask(s);
            p = run;
            continue;
        }
        run += run == p;
        copy(s, p, run);
        p = run;
    }
}

/* "://user:password@": returns where the password begins and ends, or NULL. */
static const char *url_password(const char *p, const char *end, const char **stop) {
    if (end - p < 6 || memcmp(p, "://", 3) != 0)
        return NULL;
    const char *q = p + 3;
    while (q < end && *q != ':' && *q != '/' && *q != '@' && !is_space(*q) && *q != '"' && *q != '\'')
        q++;
    if (q == end || *q != ':')
        return NULL;
    const char *start = ++q;
    while (q < end && *q != '@' && *q != '/' && !is_space(*q) && *q != '"' && *q != '\'')
        q++;
    *stop = q;
    return q < end && *q == '@' && q > start && !is_reference((struct span){ start, q }) ? start : NULL;
}

/* Column of the first key of the line, behind blanks and the dashes of list items. */
static size_t key_column(const char *p, const char *end) {
    const char *q = p;
    while (q < end && (*q == ' ' || (*q == '-' && q + 1 < end && q[1] == ' ')))
        q++;
    return (size_t)(q - p);
}

/* ---- pairs ---- */

struct place {
    char quote;   /* open around where we are; 0 = none */
    int depth;    /* of brackets */
};

static void look_at(struct place *at, char c) {
    if (at->quote)
        at->quote = c == at->quote ? 0 : at->quote;
    else if (c == '"' || c == '\'')
        at->quote = c;
    else
        at->depth += (c == '{' || c == '[') - (c == '}' || c == ']');
}

/* Behind a name at [p, name_end): the value's beginning when a separator follows, else NULL. */
static const char *value_of(const char *name, const char *name_end, const char *line, const char *end, char *separator) {
    const char *q = name_end;
    bool quoted = q < end && (*q == '"' || *q == '\'') && name > line && name[-1] == *q;
    q += quoted;
    while (q < end && is_space(*q))
        q++;
    if (q == end || (*q != ':' && *q != '='))
        return NULL;
    *separator = *q++;
    if (*separator == '=' && q < end && *q == '=')
        return NULL;
    if (*separator == ':' && !quoted && q < end && !is_space(*q) && *q != '"' && *q != '\'')
        return NULL; /* an image with a tag, an address with a port */
    while (q < end && is_space(*q))
        q++;
    return q;
}

/* Masks the value at p of the key at `column`, `first` on its line; returns what comes behind it. */
static const char *mask_value(struct scan *s, const char *p, const char *end, char separator, enum secrecy how, size_t column,
                              bool first, const struct place *at) {
    if (separator == ':' && begins_block(p, end)) {
        mask(s);
        s->in_block = true;
        s->column = column;
        return end;
    }
    struct span v = { p, p };
    bool quoted = p < end && (*p == '"' || *p == '\'') && *p != at->quote;
    if (quoted) {
        copy(s, p, p + 1);
        v.p = p + 1;
        v.end = quoted_end(v.p, end, *p);
    } else if (p < end && (*p == '[' || (*p == '{' && !(p + 1 < end && p[1] == '{')))) {
        v.end = bracket_end(p, end);
    } else if (end - p >= 4 && !memcmp(p, "{{", 2)) {
        const char *q = p;
        while (end - q > 2 && memcmp(q, "}}", 2) != 0)
            q++;
        v.end = q + 2;
    } else {
        v.end = plain_end(p, end, separator, at->quote, at->depth > 0 && !at->quote);
    }
    bool harmless = is_harmless(v, how);
    if (harmless)
        copy(s, v.p, v.end);
    else
        mask(s);
    if (!harmless && quoted && v.end == end) {
        s->quote = *p;
    } else if (!harmless && !quoted && separator == ':' && first && v.end > v.p) {
        s->in_block = true; /* a plain value may go on below, further to the right */
        s->column = column;
    }
    if (!quoted || v.end == end)
        return v.end;
    copy(s, v.end, v.end + 1);
    return v.end + 1;
}

static void scan_line(struct scan *s, const char *line, const char *end) {
    struct place at = { 0, 0 };
    const char *p = line, *open = line, *stop = NULL; /* open: not copied yet */
    while (p < end) {
        const char *password = url_password(p, end, &stop);
        if (password) {
            copy_open(s, open, password);
            mask(s);
            p = open = stop;
            continue;
        }
        if (!is_name(*p)) {
            look_at(&at, *p++);
            continue;
        }
        const char *name = p;
        while (p < end && is_name(*p))
            p++;
        char separator = 0;
        const char *value = value_of(name, p, line, end, &separator);
        enum secrecy how = value ? name_secrecy(name, p) : OPEN;
        if (how == OPEN)
            continue;
        for (const char *q = p; q < value; q++)
            look_at(&at, *q);
        copy_open(s, open, value);
        size_t column = (size_t)(name - line);
        p = open = mask_value(s, value, end, separator, how, column, column == key_column(line, end), &at);
    }
    copy_open(s, open, end);
}

/* ---- lines ---- */

static bool goes_on(const struct scan *s, const char *p, const char *end) {
    size_t indent = 0;
    while (p + indent < end && is_space(p[indent]))
        indent++;
    return p + indent == end || indent > s->column;
}

static bool is_credentials(const char *p, const char *end) {
    static const char key[] = "credentials:";
    return (size_t)(end - p) >= sizeof key - 1 && memcmp(p, key, sizeof key - 1) == 0;
}

static bool pem_line(const char *p, const char *end, const char *which) {
    const char *dashes = find_word(p, end, which);
    return dashes && find_word(dashes, end, "private key");
}

/* One line without its end; true when its end is to be kept. */
static bool take_line(struct scan *s, const char *p, const char *end) {
    if (s->in_pem) {
        s->in_pem = !pem_line(p, end, "-----end ");
        return false;
    }
    if (s->quote) {
        const char *close = quoted_end(p, end, s->quote);
        if (close == end)
            return false;
        s->quote = 0;
        scan_line(s, close + 1, end);
        return true;
    }
    if (s->in_block) {
        s->in_block = goes_on(s, p, end);
        if (s->in_block)
            return false;
    }
    if (s->in_credentials) {
        s->in_credentials = goes_on(s, p, end);
        if (s->in_credentials) {
            copy(s, p, end);
            return true;
        }
    }
    size_t column = key_column(p, end);
    if (is_credentials(p + column, end)) {
        s->in_credentials = true; /* they are named here, not told */
        s->column = column;
        copy(s, p, end);
        return true;
    }
    if (pem_line(p, end, "-----begin ")) {
        copy(s, p, p + column);
        mask(s);
        s->in_pem = !pem_line(p, end, "-----end ");
        return true;
    }
    scan_line(s, p, end);
    return true;
}

int redact_text(const char *text, size_t len, buf_t *out) {
    struct scan s = { .out = out };
    const char *p = text, *end = text + len;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;
        if (take_line(&s, p, stop) && nl)
            buf_putc(out, '\n');
        p = nl ? nl + 1 : end;
    }
    return out->code;
}
