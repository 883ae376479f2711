/* Fuzz entry: the units of a specification: quantities, durations, names, special tokens, set variables. What parses prints in a form
 * that parses to the same value. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/spec.h"
#include "model/template.h"
#include "operator/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void durations(const char *text) {
    int64_t us, again;
    char written[32];
    if (duration_parse(text, &us, NULL) >= 0 && duration_parse(duration_text(us, written), &again, NULL) >= 0 && again != us)
        abort();
}

/* OSMO's own quantities, and those of Kubernetes rounded up and down. */
static void quantities(const char *text) {
    double bytes = 0;
    if (quantity_bytes(text, &bytes) && (isnan(bytes) || bytes < 0))
        abort();
    for (int scale = 0; scale <= 9; scale += 3) {
        int64_t up, down;
        bool ok = quantity_parse(text, scale, &up);
        if (ok != quantity_parse_floor(text, scale, &down) || (ok && down > up))
            abort();
    }
}

static void names(const char *text) {
    char name[64];
    kube_name(text, name);
    size_t n = strlen(name);
    if (n > 63 || (n && (name[n - 1] == '-' || name[n - 1] == '_')))
        abort();
}

static void tokens(const char *data, size_t size) {
    json_t *values = json_object();
    buf_t out = BUF_INIT(1u << 20);
    if (values && json_set_str(values, "output", "/o") >= 0 && json_set_str(values, "input:0", "/i/0") >= 0 &&
        template_replace_tokens(data, size, values, &out) >= 0 && out.len > size + size / 4)
        abort();
    buf_free(&out);
    json_free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = strndup((const char *)data, size);
    if (!text)
        return 0;
    durations(text);
    quantities(text);
    names(text);
    tokens((const char *)data, size);
    free(text);
    return 0;
}
