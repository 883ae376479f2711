/* Kubernetes quantities ("63500m", "1.5Gi", "1e9"): the whole grammar, as integers. Pure. */
#ifndef OPERATOR_QUANTITY_H
#define OPERATOR_QUANTITY_H
#include <stdbool.h>
#include <stdint.h>
/* *out = the quantity times 10^scale (scale 0..9), rounded up (away from less); saturates at the ends of int64.
 * False when the text is not a quantity. */
bool quantity_parse(const char *text, int scale, int64_t *out);
/* The same rounded down. */
bool quantity_parse_floor(const char *text, int scale, int64_t *out);
#endif
