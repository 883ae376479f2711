/* Allocations of the code under test that fail on demand. The program is linked with --wrap for every function below,
 * so only calls from our own objects are counted, not those inside libc or a library. */
#ifndef TESTS_OOM_FAILING_ALLOC_H
#define TESTS_OOM_FAILING_ALLOC_H
#include <stdbool.h>
#include <stddef.h>
/* The n-th allocation from now on fails (1 = the next), and with `onwards` all behind it too; 0 lets all succeed. */
void alloc_fail_at(size_t n, bool onwards);
void alloc_stop(void);   /* all succeed from here; alloc_failed() keeps its answer */
bool alloc_failed(void); /* has one failed since alloc_fail_at()? */
#endif
