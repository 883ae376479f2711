/* A whole text read by base/json_reader.h and made a tree, to be compared with the one of base/json.h. */
#ifndef TESTS_READER_WALK_H
#define TESTS_READER_WALK_H
#include "base/json.h"
#include "base/json_reader.h"

/* False when the reader refuses the text. */
bool reader_walk(const char *text, size_t len, json_t **tree);
/* The same by passing over the value, which looks at less. */
bool reader_pass(const char *text, size_t len);
#endif
