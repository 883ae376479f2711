/* Fuzz entry: any bytes as an operator message, as a compressed job frame, and as an offer of extensions. A message
 * that is understood can be written and read again, a JSON value survives the frame. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void message(const char *text, size_t len) {
    struct message m = { 0 }, back = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t out = BUF_INIT(16u << 20);
    if (message_parse(text, len, &m, &err) < 0)
        return;
    if (message_build(m.type, m.uuid, json_copy(m.body), &out) < 0 ||
        message_parse(buf_cstr(&out), out.len, &back, &err) < 0 || back.type != m.type || strcmp(back.uuid, m.uuid) ||
        !json_equal(back.body, m.body))
        abort();
    message_clear(&back);
    message_clear(&m);
    buf_free(&out);
}

static void frame(const char *text, size_t len) {
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *job = NULL, *back = NULL;
    buf_t out = BUF_INIT(16u << 20);
    if (job_frame_unpack(text, len, &job, &err) >= 0)
        json_free(job);
    job = NULL;
    if (json_parse(text, len, &job, &err) >= 0 && json_kind(job) == JSON_OBJECT) {
        if (job_frame_pack(job, &out, &err) < 0 || job_frame_unpack(out.data, out.len, &back, &err) < 0 ||
            !json_equal(job, back))
            abort();
    }
    json_free(back);
    json_free(job);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = strndup((const char *)data, size);
    message((const char *)data, size);
    frame((const char *)data, size);
    if (text) {
        extension_offered(text, "jobs");
        extension_offered(text, text);
    }
    free(text);
    return 0;
}
