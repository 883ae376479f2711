/* See capture.h. */
#include "capture.h"

#include <stdio.h>
#include <stdlib.h>

char *captured;
static size_t captured_len;
static FILE *out_before, *err_before, *memory;

void capture(void) {
    capture_end();
    memory = open_memstream(&captured, &captured_len);
    out_before = stdout;
    err_before = stderr;
    stdout = stderr = memory;
}

const char *release(void) {
    stdout = out_before;
    stderr = err_before;
    fclose(memory);
    return captured;
}

void capture_end(void) {
    free(captured);
    captured = NULL;
}
