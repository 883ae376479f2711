/* Option parsing as the OSMO client's users know it: options anywhere, --name value or --name=value, unique prefixes,
 * lists that take several values; usage on stderr and exit 2 on a mistake, help on stdout. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define OPT_TEXT_MAX 256

static void print_usage(const struct usage *u, FILE *to) {
    fprintf(to, "usage: osmo %s [-h]", u->command);
    for (size_t i = 0; i < u->nopts; i++) {
        char first[64];
        snprintf(first, sizeof first, "%.*s", (int)strcspn(u->opts[i].names, " "), u->opts[i].names);
        if (u->opts[i].kind == OPT_FLAG)
            fprintf(to, " [%s]", first);
        else
            fprintf(to, " [%s %s%s]", first, u->opts[i].metavar, u->opts[i].kind == OPT_LIST ? " ..." : "");
    }
    for (size_t i = 0; i < u->nargs; i++)
        fprintf(to, u->args[i].optional ? " [%s]%s" : " %s%s", u->args[i].name, u->args[i].list ? " ..." : "");
    fputc('\n', to);
}

static int print_help(const struct usage *u) {
    print_usage(u, stdout);
    printf("\n%s\n", u->summary);
    if (u->nargs)
        printf("\npositional arguments:\n");
    for (size_t i = 0; i < u->nargs; i++)
        printf("  %-24s %s\n", u->args[i].name, u->args[i].help);
    printf("\noptions:\n  %-24s %s\n", "-h, --help", "show this help and exit");
    for (size_t i = 0; i < u->nopts; i++) {
        char names[OPT_TEXT_MAX] = "";
        const struct opt *o = &u->opts[i];
        size_t at = 0;
        for (const char *p = o->names; *p; p += strspn(p, " ")) {
            size_t n = strcspn(p, " ");
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s%s%s", at ? ", " : "", (int)n, p,
                                   o->kind == OPT_FLAG ? "" : " ", o->kind == OPT_FLAG ? "" : o->metavar);
            p += n;
        }
        printf("  %-24s%s%s%s%s\n", names, strlen(names) > 24 ? "\n                           " : " ", o->help,
               o->choices ? "; one of: " : "", o->choices ? o->choices : "");
    }
    return 0;
}

int opt_error(const struct usage *u, const char *format, ...) {
    print_usage(u, stderr);
    fprintf(stderr, "osmo %s: error: ", u->command);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_USER;
}

static bool has_name(const char *names, const char *name, size_t len) {
    for (const char *p = names; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (n == len && memcmp(p, name, n) == 0)
            return true;
        p += n;
    }
    return false;
}

static const struct opt *find(const struct usage *u, const char *name, size_t len) {
    const struct opt *prefix = NULL;
    for (size_t i = 0; i < u->nopts; i++) {
        if (has_name(u->opts[i].names, name, len))
            return &u->opts[i];
        if (len > 2 && strncmp(name, "--", 2) == 0 && strncmp(u->opts[i].names, name, len) == 0) {
            if (prefix)
                return NULL; /* ambiguous */
            prefix = &u->opts[i];
        }
    }
    return prefix;
}

static bool is_choice(const char *choices, const char *value) { return has_name(choices, value, strlen(value)); }

static int store(const struct usage *u, const struct opt *o, const char *value) {
    switch (o->kind) {
    case OPT_FLAG: *(bool *)o->value = true; return -1;
    case OPT_LIST: return strlist_add(o->value, value) ? EXIT_USER : -1;
    case OPT_INT:
        if (!str_to_i64(value, o->value))
            return opt_error(u, "argument %s: invalid int value: '%s'", o->names, value);
        return -1;
    case OPT_CHOICE:
        if (!is_choice(o->choices, value))
            return opt_error(u, "argument %s: invalid choice: '%s' (choose from %s)", o->names, value, o->choices);
        break;
    case OPT_VALUE: break;
    }
    *(const char **)o->value = value;
    return -1;
}

/* An option at argv[*i]; moves *i to its last word. */
static int take_option(const struct usage *u, int argc, char **argv, int *i) {
    const char *word = argv[*i], *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    const struct opt *o = find(u, word, len);
    const char *value = equals ? equals + 1 : NULL;
    if (!o && word[1] != '-' && len > 2 && (o = find(u, word, 2))) /* -pPOOL */
        value = word + 2;
    if (!o)
        return opt_error(u, "unrecognized arguments: %s", word);
    if (o->kind == OPT_FLAG)
        return value ? opt_error(u, "argument %s: takes no value", o->names) : store(u, o, NULL);
    if (!value) {
        if (*i + 1 >= argc || (argv[*i + 1][0] == '-' && argv[*i + 1][1] && o->kind != OPT_INT))
            return opt_error(u, "argument %s: expected %s", o->names,
                             o->kind == OPT_LIST ? "at least one argument" : "one argument");
        value = argv[++*i];
    }
    int rc = store(u, o, value);
    while (rc < 0 && o->kind == OPT_LIST && !equals && *i + 1 < argc && argv[*i + 1][0] != '-')
        rc = store(u, o, argv[++*i]);
    return rc;
}

int opt_parse(const struct usage *u, int argc, char **argv) {
    size_t next = 0;
    bool only_args = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!only_args && (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0))
            return print_help(u);
        if (!only_args && strcmp(word, "--") == 0) {
            only_args = true;
        } else if (!only_args && word[0] == '-' && word[1]) {
            int rc = take_option(u, argc, argv, &i);
            if (rc >= 0)
                return rc;
        } else if (next < u->nargs && u->args[next].list) {
            if (strlist_add(u->args[next].list, word))
                return EXIT_USER;
        } else if (next < u->nargs) {
            *u->args[next++].value = word;
        } else {
            return opt_error(u, "unrecognized arguments: %s", word);
        }
    }
    for (size_t i = next; i < u->nargs; i++) {
        if (!u->args[i].optional && !(u->args[i].list && u->args[i].list->len))
            return opt_error(u, "the following arguments are required: %s", u->args[i].name);
    }
    return -1;
}
