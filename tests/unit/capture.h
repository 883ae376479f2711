/* What a command of the client prints. For the tests of cli/. */
#ifndef TESTS_CAPTURE_H
#define TESTS_CAPTURE_H
/* What was written to stdout and stderr between capture() and release(), NUL-terminated; NULL before. */
extern char *captured;
void capture(void);
const char *release(void); /* captured */
void capture_end(void);    /* frees it */
#endif
