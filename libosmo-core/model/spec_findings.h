/* What is wrong with a document: every finding with its code, path, place and words, so that a user corrects a file in
 * one go. The first SPEC_FINDINGS_MAX are kept, all are counted. Filled by the readers and checks of specifications
 * and settings; shown by whoever answers the user. Pure. */
#ifndef MODEL_SPEC_FINDINGS_H
#define MODEL_SPEC_FINDINGS_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "osmo/error.h"

#define SPEC_FINDINGS_MAX 100
#define SPEC_FINDING_TEXT_MAX 2000 /* bytes of one finding's words */

struct spec_finding {
    int code;
    int line, column; /* 1-based, of the rendered text; 0: no place */
    char *path;       /* "workflow.tasks.0.command"; "" when the words say it */
    char *text;
    char *nodes;      /* no node will do: a table of the nodes, with what each can give and why it will not; else NULL */
};
struct spec_findings {
    int code;     /* of the answer, an osmo_code_t; 0 while nothing was found */
    size_t total; /* found */
    struct spec_finding *items;
    size_t len;   /* kept */
    bool oom;
};
#define SPEC_FINDINGS_INIT { .code = 0 }

/* The first finding decides the code of the answer; OSMO_ERESOURCE outranks OSMO_EUSAGE while a document is read
 * (outranks = true), as a bad size ends reading at once upstream. path may be NULL. */
void spec_findings_addv(struct spec_findings *f, int code, bool outranks, const char *path, int line, int column,
                        const char *format, va_list args) __attribute__((format(printf, 7, 0)));
void spec_findings_add(struct spec_findings *f, int code, const char *path, int line, int column, const char *format,
                       ...) __attribute__((format(printf, 6, 7)));
/* 0 when nothing was found, else the code, with `what` and as many findings as an error text holds in err. OSMO_ENOMEM
 * when memory ran out on the way. */
int spec_findings_result(const struct spec_findings *f, const char *what, osmo_error_t *err);
/* All kept findings in one line: "3 errors in the workflow: PATH: WORDS (line L, column C); ...; and N more"; tables
 * of nodes follow on lines of their own. */
int spec_findings_write(const struct spec_findings *f, const char *what, buf_t *out);
void spec_findings_clear(struct spec_findings *f);
#define _cleanup_findings_ __attribute__((cleanup(spec_findings_clear)))
#endif
