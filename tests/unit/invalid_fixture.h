/* Runs tables of bad submissions against a service, bytes in, bytes out: what is answered, what the words name, which
 * workflow_id the answer carries, and whether a FAILED_SUBMISSION row is listed afterwards. For test_invalid*.c. */
#ifndef TESTS_INVALID_FIXTURE_H
#define TESTS_INVALID_FIXTURE_H
#include "service_fixture.h"

#define ID_UUID "<uuid>"          /* 32 hex digits */
#define ID_FAILED "failed-<uuid>" /* the same behind failed- */
#define REC true
#define NOT false

struct invalid {
    int row;          /* of the table of invalid inputs in doc/guide/compatibility.md */
    const char *text; /* of the file */
    const char *code; /* NULL: accepted, 200 */
    const char *id;   /* workflow_id of the answer; NULL = null */
    bool recorded;
    const char *names; /* in the message, or in the rendered spec of a dry run */
    const char *query, *pool; /* NULL: none, default */
    const char *set; /* NULL: none; one item of set_variables */
};

#define BAD(row_, text_, code_, id_, recorded_, names_, ...)                                                            \
    { .row = (row_), .text = text_, .code = (code_), .id = (id_), .recorded = (recorded_), .names = (names_), __VA_ARGS__ }

/* A file with one task `t`, and more lines of the workflow or of the task. */
#define WORKFLOW(lines) "workflow:\n  name: w\n" lines
#define IN_WORKFLOW(lines) WORKFLOW("  tasks: [{name: t, image: u, command: [a]}]\n" lines)
#define IN_TASK(lines) WORKFLOW("  tasks:\n  - name: t\n    image: u\n    command: [a]\n" lines)
#define TASKS(items) WORKFLOW("  tasks:\n" items)
#define RESOURCE(members) IN_WORKFLOW("  resources: {default: {" members "}}\n")

/* Opens in development mode with a configuration file (NULL = the one of most rows). */
bool invalid_open(struct fixture *f, const char *config);
/* The same with authentication. */
bool invalid_open_required(struct fixture *f, const char *config);
/* The request of a row. */
struct answer invalid_ask(struct fixture *f, const struct invalid *c);
/* All rows of a table; each failure names its row. */
void invalid_run(struct fixture *f, const struct invalid *cases, size_t n);
/* Rows of this status that the list shows. */
size_t failed_submissions(struct fixture *f);
#endif
