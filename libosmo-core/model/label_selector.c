/* See label_selector.h. A value is read from left to right; each group multiplies the patterns that there are so far. */
#include "model/label_selector.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "model/spec_internal.h"

static int refuse(const char *selector, const char *why, osmo_error_t *err)
{
    return osmo_error_set(err, OSMO_EUSAGE, "label selector %.200s: %s", selector, why);
}

/* Every pattern so far, followed by each of the endings. */
static int multiply(strlist_t *patterns, const strlist_t *endings, const char *selector, osmo_error_t *err)
{
    strlist_t product = { 0 };
    int rc = 0;

    if (patterns->len * endings->len > LABEL_PATTERNS_MAX)
        return refuse(selector, "its groups make more than 32 values; use fewer alternatives", err);
    for (size_t i = 0; i < patterns->len; i++)
        for (size_t j = 0; rc == 0 && j < endings->len; j++) {
            _cleanup_free_ char *both = str_printf("%s%s", patterns->items[i], endings->items[j]);
            rc = both ? strlist_add(&product, both) : OSMO_ENOMEM;
        }
    strlist_free(patterns);
    *patterns = product;
    return rc;
}

/* "(a|b|c)" at *at; moves behind it. */
static int read_group(const char **at, strlist_t *options, const char *selector, osmo_error_t *err)
{
    const char *from = *at + 1, *end = from + strcspn(from, "()");
    _cleanup_free_ char *inside = strndup(from, (size_t)(end - from));
    int rc = inside ? strlist_split(options, inside, '|') : OSMO_ENOMEM;

    if (rc < 0)
        return rc;
    if (*end != ')')
        return refuse(selector, *end ? "groups cannot be nested" : "a group has no ')'", err);
    if (options->len < 2)
        return refuse(selector, "a group needs two or more alternatives: (a|b)", err);
    for (size_t i = 0; i < options->len; i++)
        if (!options->items[i][0])
            return refuse(selector, "an alternative is empty", err);
    *at = end + 1;
    return 0;
}

static int read_value(const char *value, strlist_t *patterns, const char *selector, osmo_error_t *err)
{
    int rc = strlist_add(patterns, "");

    for (const char *p = value; rc == 0 && *p;) {
        strlist_t endings = { 0 };
        if (*p == '(') {
            rc = read_group(&p, &endings, selector, err);
        } else {
            size_t n = strcspn(p, "()|");
            rc = n ? strlist_addn(&endings, p, n) : refuse(selector, "')' or '|' outside of a group", err);
            p += n;
        }
        if (rc == 0)
            rc = multiply(patterns, &endings, selector, err);
        strlist_free(&endings);
    }
    return rc;
}

/* What a pattern stands for must be possible: with a letter for each '*' it is a label value. */
static int check_pattern(const char *pattern, const char *selector, osmo_error_t *err)
{
    _cleanup_free_ char *sample = str_dup(pattern);

    if (!sample)
        return OSMO_ENOMEM;
    for (char *p = sample; (p = strchr(p, '*')) != NULL;)
        *p = 'a';
    if (!spec_label_value_valid(sample))
        return refuse(selector, "a value has 1 to 63 letters, digits, '-', '_' and '.', and begins and ends with a letter "
                                "or digit", err);
    return 0;
}

int label_selector_key(const char *key, osmo_error_t *err)
{
    return spec_label_key_valid(key) ? 0 : refuse(key, "not a label key; write [prefix/]name", err);
}

int label_selector_expand(const char *selector, strlist_t *out, osmo_error_t *err)
{
    const char *equals = strchr(selector, '=');
    strlist_t patterns = { 0 }, seen = { 0 };
    _cleanup_buf_ buf_t text = BUF_INIT(LABEL_SELECTOR_MAX * LABEL_PATTERNS_MAX);

    if (strlen(selector) > LABEL_SELECTOR_MAX)
        return refuse(selector, "longer than 4096 bytes", err);
    if (!equals)
        return refuse(selector, "there is no '='; write key=value", err);
    _cleanup_free_ char *key = strndup(selector, (size_t)(equals - selector));
    int rc = key ? label_selector_key(key, err) : OSMO_ENOMEM;
    if (rc == 0)
        rc = read_value(equals + 1, &patterns, selector, err);
    buf_printf(&text, "%s=", key ? key : "");
    for (size_t i = 0; rc == 0 && i < patterns.len; i++) {
        rc = check_pattern(patterns.items[i], selector, err);
        if (rc < 0 || strlist_has(&seen, patterns.items[i]))
            continue;
        buf_printf(&text, "%s%s", seen.len ? "|" : "", patterns.items[i]);
        rc = strlist_add(&seen, patterns.items[i]);
    }
    if (rc == 0)
        rc = buf_failed(&text) ? text.code : strlist_add(out, buf_cstr(&text));
    strlist_free(&patterns);
    strlist_free(&seen);
    return rc;
}
