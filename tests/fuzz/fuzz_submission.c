/* Fuzz entry: any bytes as the text a user submits, through the section split and the template, with variables set. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"
#include "model/submission.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct template_limits limits = {
        .max_steps = 20000, .max_depth = 30, .max_output = 1u << 16, .max_values = 20000
    };
    static char *numbers[] = { (char *)"n=3", (char *)"list=[a, 1, {b: c}]", (char *)"x={{y}}" },
                *texts[] = { (char *)"s=true", (char *)"name=q" };
    strlist_t set = { .items = numbers, .len = 3, .cap = 3 }, set_string = { .items = texts, .len = 2, .cap = 2 };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct sections parts;
    buf_t out = BUF_INIT(1u << 20);
    if (submission_split((const char *)data, size, &parts, &err) >= 0 &&
        (parts.workflow_len > size || parts.defaults_len > size))
        abort();
    submission_render((const char *)data, size, &set, &set_string, &limits, &out, &err);
    buf_free(&out);
    submission_render((const char *)data, size, NULL, NULL, &limits, &out, &err);
    buf_free(&out);
    return 0;
}
