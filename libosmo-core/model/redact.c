/* Masking what looks like a secret, line by line: see redact.h. */
#include "model/redact.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"

#define BASE64_MIN 16
#define BASE64_WINDOW 4096  /* decoded at a time */
#define BASE64_OVERLAP 512  /* of it looked at again with the next */
#define ALIASES_MAX 64
#define NAMED_LINES 3       /* a value is that near to its name */
#define API_TOKEN_MIN 20
#define API_TOKEN_LOOK 64   /* so far for its first digit */

struct span { const char *p, *end; };
enum secrecy { OPEN, KEYLIKE, PASSWORDLIKE };

/* Anchors that are used as the value of a secret, anywhere in the text. */
struct aliases { struct span list[ALIASES_MAX]; size_t n; };

struct scan {
    buf_t *out;            /* NULL: only look whether there is a secret */
    bool found;
    struct aliases *aliases;
    /* what goes on over several lines */
    bool in_credentials, in_block, in_pem;
    bool in_text;          /* a block of text that is not masked as a whole */
    bool below;            /* the value is below its key, if it has one */
    bool told;             /* … and was masked with its first line */
    char quote;            /* open around a masked value; 0 = none */
    size_t column;         /* of the key that began it */
    size_t text_column;
    enum secrecy named;    /* "name: DB_PASSWORD": so "value:" is a secret */
    int named_lines;
    enum secrecy flag;     /* "- --password": so the next item is one */
};

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
static bool ends_in(const char *p, const char *end, const char *word) {
    ptrdiff_t n = (ptrdiff_t)strlen(word);
    if (end - p < n + 1 || find_word(end - n, end, word) == NULL)
        return false;
    char before = end[-n - 1];
    return before == '_' || before == '-' || before == '.' || (!is_lower(end[-n]) && is_lower(before));
}

static enum secrecy name_secrecy(const char *p, const char *end) {
    static const char *const passwords[] = { "password", "passwd", "passphrase", "passcode", "secret", "authorization" };
    static const char *const keys[] = { "apikey", "api_key", "api-key", "access_key", "access-key", "accesskey", "private_key",
                                        "privatekey", "private-key" };
    for (size_t i = 0; i < ARRAY_SIZE(passwords); i++)
        if (find_word(p, end, passwords[i]))
            return PASSWORDLIKE;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (find_word(p, end, keys[i]))
            return PASSWORDLIKE;
    return has_token(p, end) || ends_in(p, end, "key") || ends_in(p, end, "pass") || ends_in(p, end, "pwd") ? KEYLIKE : OPEN;
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

static bool is_word(const char *p, const char *end, bool upper) {
    for (const char *q = p; q < end; q++)
        if (!((*q >= 'A' && *q <= 'Z') || *q == '_' || (is_digit(*q) && q > p) || (!upper && is_lower(*q))))
            return false;
    return p < end;
}

static bool has_any(const char *p, const char *end, const char *chars) {
    for (; p < end; p++)
        if (*p && strchr(chars, *p))
            return true;
    return false;
}

/* $NAME, ${NAME}, $(…), {{…}}: where a secret comes from, not what it is. Without literals, which may be the secret itself. */
static bool is_reference(struct span v) {
    size_t n = (size_t)(v.end - v.p);
    if (n >= 5 && !memcmp(v.p, "{{", 2) && !memcmp(v.end - 2, "}}", 2))
        return !has_any(v.p + 2, v.end - 2, "{}\"'");
    if (n < 2 || v.p[0] != '$')
        return false;
    if (n > 3 && v.p[1] == '{' && v.end[-1] == '}')
        return is_word(v.p + 2, v.end - 1, false);
    if (n > 3 && v.p[1] == '(' && v.end[-1] == ')')
        return !has_any(v.p + 2, v.end - 1, "()\"'|") && find_word(v.p + 2, v.end, "echo") == NULL &&
               find_word(v.p + 2, v.end, "printf") == NULL;
    return is_word(v.p + 1, v.end, true);
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

struct place {
    char quote;   /* open around where we are; 0 = none */
    int depth;    /* of brackets */
};

/* A word as a shell takes it: quoted pieces and escapes belong to it, separators do where another word does not follow. */
static const char *word_end(const char *p, const char *end, const struct place *at) {
    bool flow = at->depth > 0 && !at->quote;
    while (p < end && !is_space(*p) && *p != at->quote) {
        bool last = p + 1 == end || is_space(p[1]) || p[1] == at->quote;
        if ((flow && strchr(",}]", *p)) || (last && strchr(",;&|)", *p)))
            break;
        if (*p == '"' || *p == '\'') {
            const char *close = quoted_end(p + 1, end, *p);
            p = close < end ? close + 1 : end;
        } else if (*p == '$' && p + 1 < end && p[1] == '(') {
            const char *close = memchr(p, ')', (size_t)(end - p));
            p = close ? close + 1 : end;
        } else {
            p += *p == '\\' && p + 1 < end && p[1] != at->quote ? 2 : 1;
        }
    }
    return p;
}

/* Where a plain value ends, in brackets or not. */
static const char *plain_end(const char *p, const char *end, char separator, const struct place *at) {
    const char *q = p;
    if (separator == '=')
        return word_end(p, end, at);
    for (; q < end; q++) {
        if ((at->quote && *q == at->quote) || (separator == '<' && *q == '<') ||
            (at->depth > 0 && !at->quote && strchr(",}]", *q)) || (!at->quote && *q == '#' && q > p && is_space(q[-1])))
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

static bool pem_line(const char *p, const char *end, const char *which) {
    const char *dashes = find_word(p, end, which);
    return dashes && find_word(dashes, end, "private key");
}

static bool lines_hide_secret(const char *text, const char *end) {
    struct scan look = { .out = NULL };
    for (const char *line = text, *nl; line < end; line = nl + 1) {
        nl = memchr(line, '\n', (size_t)(end - line));
        nl = nl ? nl : end;
        if (pem_line(line, nl, "-----begin "))
            return true;
        scan_line(&look, line, nl);
    }
    return look.found;
}

static bool hides_secret(const char *p, const char *end) {
    char text[BASE64_WINDOW];
    size_t n = 0;
    uint32_t bits = 0;
    int have = 0;
    for (; p < end; p++) {
        bits = bits << 6 | (uint32_t)base64_value(*p);
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        char c = (char)(bits >> have & 0xff);
        if ((unsigned char)c < ' ' && !strchr("\t\r\n", c))
            return false;
        text[n++] = c;
        if (n == sizeof text) {
            if (lines_hide_secret(text, text + n))
                return true;
            memmove(text, text + n - BASE64_OVERLAP, BASE64_OVERLAP);
            n = BASE64_OVERLAP;
        }
    }
    return lines_hide_secret(text, text + n);
}

/* Tokens of well-known services, whatever they are the value of. */
static bool is_api_token(const char *p, const char *end) {
    static const char *const prefixes[] = { "ghp_", "gho_", "ghu_", "ghs_", "github_pat_", "glpat-", "nvapi-", "hf_", "sk-",
                                            "xoxb-", "xoxp-" };
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if ((size_t)(end - p) < n + API_TOKEN_MIN || memcmp(p, prefixes[i], n) != 0)
            continue;
        for (const char *q = p + n; q < end && q < p + API_TOKEN_LOOK; q++)
            if (is_digit(*q))
                return true;
    }
    return false;
}

static const char *api_token(const char *p, const char *end) {
    for (const char *q = p; q < end; q++)
        if ((q == p || q[-1] == '/' || q[-1] == '+') && is_api_token(q, end))
            return q;
    return NULL;
}

/* Copies a stretch without pairs, masking what is hidden in it, and passwords in URLs. */
static void copy_open(struct scan *s, const char *p, const char *end) {
    while (s->out && p < end) {
        const char *run = p;
        while (run < end && base64_value(*run) >= 0)
            run++;
        const char *token = run - p >= BASE64_MIN ? api_token(p, run) : NULL;
        if (token || (run - p >= BASE64_MIN && hides_secret(p, run))) {
            copy(s, p, token ? token : p);
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
    *stop = NULL;
    for (; q < end && *q != '/' && !is_space(*q) && *q != '"' && *q != '\''; q++)
        if (*q == '@') /* the last one: a password may have some, too */
            *stop = q;
    return *stop && *stop > start && !is_reference((struct span){ start, *stop }) ? start : NULL;
}

/* Column of the first key of the line, behind blanks and the dashes of list items. */
static size_t key_column(const char *p, const char *end) {
    const char *q = p;
    while (q < end && (*q == ' ' || (*q == '-' && q + 1 < end && q[1] == ' ')))
        q++;
    return (size_t)(q - p);
}

/* ---- pairs ---- */

static void look_at(struct place *at, char c) {
    if (at->quote)
        at->quote = c == at->quote ? 0 : at->quote;
    else if (c == '"' || c == '\'')
        at->quote = c;
    else
        at->depth += (c == '{' || c == '[') - (c == '}' || c == ']');
}

/* Behind the quote that ends the name, if one does: around it, around more than it, or escaped in a text of its own. */
static const char *behind_quote(const char *name, const char *q, const char *line, const char *end, const struct place *at) {
    const char *r = q + (q < end && *q == '\\');
    if (r == end || (*r != '"' && *r != '\'') || !((name > line && name[-1] == *r) || at->quote == *r))
        return q;
    for (r++; r < end && (*r == ']' || *r == ')'); r++)
        ;
    return r;
}

/* "X-Api-Key:abc" is a pair without a blank, other than an image with its tag. */
static bool is_header(const char *p, const char *end) {
    static const char *const headers[] = { "x-", "authorization", "private-token", "api-key", "apikey" };
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
        if (find_word(p, end, headers[i]) == p)
            return true;
    return false;
}

static const char *skip_space(const char *p, const char *end) {
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* Behind a name at [p, name_end): the value's beginning when a separator follows, else NULL. */
static const char *value_of(const char *name, const char *name_end, const char *line, const char *end, const struct place *at,
                            char *separator) {
    const char *q = behind_quote(name, name_end, line, end, at);
    bool quoted = q > name_end;
    if (q < end && *q == '>' && name > line && name[-1] == '<') {
        *separator = '<';
        return q + 1;
    }
    q = skip_space(q, end);
    if (end - q >= 2 && strchr("+?:", *q) && q[1] == '=')
        q++;
    if (q == end || (*q != ':' && *q != '='))
        return NULL;
    *separator = *q++;
    if (*separator == '=' && q < end && *q == '=') { /* compared, which tells something only of a literal */
        while (q < end && *q == '=')
            q++;
        q = skip_space(q, end);
        return q < end && (*q == '"' || *q == '\'') && *q != at->quote ? q : NULL;
    }
    if (*separator == '=' && q < end && *q == '>')
        q++;
    if (*separator == ':' && !quoted && q < end && !is_space(*q) && *q != '"' && *q != '\'' && !is_header(name, name_end))
        return NULL; /* an image with a tag, an address with a port */
    return skip_space(q, end);
}

static void remember_alias(struct scan *s, struct span v) {
    if (!s->aliases || s->out || s->aliases->n == ALIASES_MAX || v.end - v.p < 2 || *v.p != '*')
        return;
    s->aliases->list[s->aliases->n++] = (struct span){ v.p + 1, v.end };
}

/* The value that an anchor names, if it is used as a secret somewhere or named like one; else NULL. */
static const char *anchored(const struct scan *s, const char *p, const char *line, const char *end) {
    const char *name = p + 1, *q = name;
    if (*p != '&' || (p > line && !is_space(p[-1])))
        return NULL;
    while (q < end && is_name(*q))
        q++;
    if (q == name || q == end || !is_space(*q))
        return NULL;
    bool secret = name_secrecy(name, q) != OPEN;
    for (size_t i = 0; s->aliases && i < s->aliases->n; i++) {
        struct span a = s->aliases->list[i];
        secret |= a.end - a.p == q - name && memcmp(a.p, name, (size_t)(q - name)) == 0;
    }
    return secret ? skip_space(q, end) : NULL;
}

/* Where a value goes that has its own marks: sets v, and how many characters of the mark there are on both sides. */
static size_t value_span(const char *p, const char *end, char separator, const struct place *at, struct span *v) {
    *v = (struct span){ p, p };
    bool escaped = end - p >= 2 && *p == '\\' && (p[1] == '"' || p[1] == '\'');
    if (escaped) {
        for (v->p = v->end = p + 2; v->end < end && !(*v->end == '\\' && v->end + 1 < end && v->end[1] == p[1]) &&
             *v->end != at->quote; v->end++)
            ;
        return 2;
    }
    if (p < end && (*p == '"' || *p == '\'') && *p != at->quote) {
        *v = (struct span){ p + 1, quoted_end(p + 1, end, *p) };
        const char *word = v->end < end && separator == '=' ? word_end(v->end + 1, end, at) : end;
        if (v->end == end || separator != '=' || word == v->end + 1)
            return 1;
        *v = (struct span){ p, word }; /* pieces of a word, this one quoted */
        return 0;
    }
    if (p < end && (*p == '[' || (*p == '{' && !(p + 1 < end && p[1] == '{')))) {
        v->end = bracket_end(p, end);
        return 0;
    }
    const char *q = p;
    if (end - p >= 4 && !memcmp(p, "{{", 2)) {
        while (end - q > 2 && memcmp(q, "}}", 2) != 0)
            q++;
        q += 2;
    }
    v->end = plain_end(q, end, separator, at);
    return 0;
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
    if (separator == ':' && first && !at->quote && (p == end || *p == '#')) {
        s->below = true;
        s->told = false;
        s->column = column;
        return p;
    }
    struct span v;
    size_t marks = value_span(p, end, separator, at, &v);
    copy(s, p, p + marks);
    bool harmless = is_harmless(v, how);
    if (harmless)
        copy(s, v.p, v.end);
    else
        mask(s);
    remember_alias(s, v);
    if (!harmless && marks == 1 && v.end == end) {
        s->quote = *p;
    } else if (!harmless && !marks && separator == ':' && first && v.end > v.p) {
        s->in_block = true; /* a plain value may go on below, further to the right */
        s->column = column;
    }
    if (marks != 1 || v.end == end)
        return v.end;
    copy(s, v.end, v.end + 1);
    return v.end + 1;
}

/* "--password VALUE", "'--password', 'VALUE'": the value, or NULL; on the next line when this one ends. */
static const char *flag_value(struct scan *s, const char *q, const char *end, enum secrecy how, const struct place *at) {
    bool quoted = q < end && at->quote && *q == at->quote;
    const char *r = skip_space(q + quoted, end);
    if (r < end && *r == ',' && (quoted || at->depth > 0))
        r = skip_space(r + 1, end);
    else if (r == q + quoted && r < end)
        return NULL;
    if (r == end || (*r == '\\' && r + 1 == end)) {
        s->flag = how;
        return NULL;
    }
    return *r == '-' ? NULL : r;
}

static bool name_is(const char *name, const char *end, const char *word) {
    return (size_t)(end - name) == strlen(word) && find_word(name, end, word) == name;
}

/* A list of variables says "name: DB_PASSWORD" and then "value: …". */
static void note_name(struct scan *s, const char *p, const char *end) {
    p += p < end && (*p == '"' || *p == '\'' || *p == '\\');
    p += p < end && *p == '"';
    const char *q = p;
    while (q < end && is_name(*q))
        q++;
    s->named = name_secrecy(p, q);
    s->named_lines = NAMED_LINES;
}

/* What the name at [name, name_end) says of what follows it; OPEN: nothing to mask. */
static enum secrecy secret_at(struct scan *s, const char *line, struct span name, const char *end, const struct place *at,
                              const char **value, char *separator) {
    *value = value_of(name.p, name.end, line, end, at, separator);
    enum secrecy how = name_secrecy(name.p, name.end);
    if (*value) {
        if (how == OPEN && s->named != OPEN && name_is(name.p, name.end, "value")) {
            how = s->named;
            s->named = OPEN;
        } else if (how == OPEN && (name_is(name.p, name.end, "name") || name_is(name.p, name.end, "key"))) {
            note_name(s, *value, end);
        }
        return how;
    }
    if (how == OPEN || name.end - name.p < 3 || name.p[0] != '-' || name.p[1] != '-')
        return OPEN;
    *separator = '=';
    *value = flag_value(s, name.end, end, how, at);
    return *value ? how : OPEN;
}

/* The item behind a "--password" that ended its line. */
static const char *flagged_item(struct scan *s, const char *line, const char *end) {
    enum secrecy how = s->flag;
    const char *p = line + key_column(line, end);
    s->flag = OPEN;
    if (how == OPEN || p == end || *p == '-')
        return line;
    copy(s, line, p);
    return mask_value(s, p, end, *p == '"' || *p == '\'' ? ':' : '=', how, 0, false, &(struct place){ 0, 0 });
}

static void scan_line(struct scan *s, const char *line, const char *end) {
    struct place at = { 0, 0 };
    const char *p = flagged_item(s, line, end), *open = p, *stop = NULL; /* open: not copied yet */
    size_t first = key_column(line, end);
    while (p < end) {
        const char *value = url_password(p, end, &stop);
        if (value) {
            copy_open(s, open, value);
            mask(s);
            p = open = stop;
            continue;
        }
        value = anchored(s, p, line, end);
        if (value) {
            copy_open(s, open, value);
            p = open = mask_value(s, value, end, ':', PASSWORDLIKE, first, true, &at);
            continue;
        }
        if (!is_name(*p)) {
            bool escape = *p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\'');
            if (!escape)
                look_at(&at, *p);
            p += 1 + escape;
            continue;
        }
        struct span name = { p, p };
        while (name.end < end && is_name(*name.end))
            name.end++;
        char separator = 0;
        p = name.end;
        enum secrecy how = secret_at(s, line, name, end, &at, &value, &separator);
        if (how == OPEN)
            continue;
        for (const char *q = p; q < value; q++)
            if (*q == '\\')
                q++;
            else
                look_at(&at, *q);
        copy_open(s, open, value);
        size_t column = (size_t)(name.p - line);
        column -= column && (name.p[-1] == '"' || name.p[-1] == '\'');
        p = open = mask_value(s, value, end, separator, how, column, column == first, &at);
    }
    copy_open(s, open, end);
}

/* ---- lines ---- */

static size_t indent_of(const char *p, const char *end) { return (size_t)(skip_space(p, end) - p); }

static bool goes_on(size_t column, const char *p, const char *end) {
    size_t indent = indent_of(p, end);
    return p + indent == end || indent > column;
}

static bool is_credentials(const char *p, const char *end) {
    static const char key[] = "credentials:";
    return (size_t)(end - p) >= sizeof key - 1 && memcmp(p, key, sizeof key - 1) == 0;
}

/* Does the line begin a block of text that is not masked as a whole? What is named in it is no part of the specification. */
static void look_for_text(struct scan *s, const char *p, const char *end) {
    size_t column = key_column(p, end);
    if (begins_block(p + column, end)) {
        s->in_text = true;
        s->text_column = indent_of(p, end);
    }
    for (const char *q = p + column; !s->in_text && q < end; q++) {
        if (*q != ':' || !begins_block(skip_space(q + 1, end), end))
            continue;
        s->in_text = true;
        s->text_column = column;
    }
}

/* A line below a key whose value was not on its line: the first one is masked, the others are dropped. false: it is none. */
static bool take_below(struct scan *s, const char *p, const char *end, bool *keep) {
    size_t indent = indent_of(p, end);
    bool item = indent == s->column && p + indent < end && p[indent] == '-' &&
        (p + indent + 1 == end || is_space(p[indent + 1]));
    s->below = goes_on(s->column, p, end) || item;
    if (!s->below)
        return false;
    bool blank = p + indent == end;
    *keep = !s->told;
    if (!s->told && !blank) {
        copy(s, p, p + indent);
        mask(s);
        s->told = true;
    }
    return true;
}

/* The line goes on with something that began above; *keep is then whether its end is to be kept. */
static bool take_more(struct scan *s, const char *p, const char *end, bool *keep) {
    *keep = false;
    if (s->in_pem) {
        s->in_pem = !pem_line(p, end, "-----end ");
        return true;
    }
    if (s->quote) {
        const char *close = quoted_end(p, end, s->quote);
        if (close == end)
            return true;
        s->quote = 0;
        scan_line(s, close + 1, end);
        *keep = true;
        return true;
    }
    if (s->in_block && (s->in_block = goes_on(s->column, p, end)))
        return true;
    if (s->below && take_below(s, p, end, keep))
        return true;
    if (s->in_credentials && (s->in_credentials = goes_on(s->column, p, end))) {
        copy(s, p, end);
        *keep = true;
        return true;
    }
    return false;
}

/* One line without its end; true when its end is to be kept. */
static bool take_line(struct scan *s, const char *p, const char *end) {
    bool keep;
    if (take_more(s, p, end, &keep))
        return keep;
    if (s->named_lines && --s->named_lines == 0)
        s->named = OPEN;
    size_t column = key_column(p, end);
    s->in_text = s->in_text && goes_on(s->text_column, p, end);
    if (!s->in_text && is_credentials(p + column, end)) {
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
    if (!s->in_text && !s->in_block && !s->below && !s->quote)
        look_for_text(s, p, end);
    return true;
}

static void scan_text(struct scan *s, const char *p, const char *end) {
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;
        if (take_line(s, p, stop) && nl && s->out)
            buf_putc(s->out, '\n');
        p = nl ? nl + 1 : end;
    }
}

/* Twice: an anchor comes before the alias that tells what it is. */
int redact_text(const char *text, size_t len, buf_t *out) {
    struct aliases aliases = { .n = 0 };
    struct scan look = { .aliases = &aliases }, s = { .out = out, .aliases = &aliases };
    scan_text(&look, text, text + len);
    scan_text(&s, text, text + len);
    return out->code;
}
