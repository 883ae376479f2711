/* Envelope, extension tokens and job frames of the operator protocol. */
#include "base/cleanup.h"
#include "check.h"
#include "model/messages.h"

static void parses_exactly_three_keys(void) {
    static const struct { const char *text; int rc; enum message_type type; const char *uuid; } cases[] = {
        {"{\"type\":\"init\",\"body\":{},\"uuid\":\"0123456789abcdef0123456789abcdef\"}", 0, MSG_INIT,
            "0123456789abcdef0123456789abcdef"},
        {"{\"type\":\"ack\",\"body\":{\"uuid\":\"x\"}}", 0, MSG_ACK, ""},
        {"{\"body\":{},\"type\":\"container_node\",\"uuid\":\"a\"}", 0, MSG_CONTAINER_NODE, "a"},
        {"{\"type\":\"init\",\"body\":{},\"uuid\":\"a\",\"more\":1}", OSMO_EINVAL, 0, ""},
        {"{\"type\":\"party\",\"body\":{},\"uuid\":\"a\"}", OSMO_EINVAL, 0, ""},
        {"{\"type\":\"\",\"body\":{},\"uuid\":\"a\"}", OSMO_EINVAL, 0, ""},
        {"{\"body\":{},\"uuid\":\"a\"}", OSMO_EINVAL, 0, ""},
        {"{\"type\":\"init\",\"body\":[],\"uuid\":\"a\"}", OSMO_EINVAL, 0, ""},
        {"{\"type\":\"init\",\"uuid\":\"a\"}", OSMO_EINVAL, 0, ""},
        {"{\"type\":\"init\",\"body\":{},\"uuid\":5}", OSMO_EINVAL, 0, ""},
        {"{\"type\":\"init\",\"body\":{},\"uuid\":\"0123456789abcdef0123456789abcdef0\"}", OSMO_EINVAL, 0, ""},
        {"[]", OSMO_EINVAL, 0, ""}, {"", OSMO_EINVAL, 0, ""}, {"{} {}", OSMO_EINVAL, 0, ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct message m;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(message_parse(cases[i].text, strlen(cases[i].text), &m, &err), cases[i].rc);
        if (cases[i].rc == 0) {
            CHECK_INT(m.type, cases[i].type);
            CHECK_STR(m.uuid, cases[i].uuid);
        } else {
            CHECK(err.text[0] != '\0');
        }
        message_clear(&m);
    }
}

static void names_round_trip(void) {
    for (int t = MSG_INIT; t <= MSG_NODE_CONDITIONS; t++) {
        buf_t text = BUF_INIT(4096);
        struct message m;
        CHECK_INT(message_build((enum message_type)t, "u", json_object(), &text), 0);
        CHECK_INT(message_parse(text.data, text.len, &m, NULL), 0);
        CHECK_INT(m.type, t);
        message_clear(&m);
        buf_free(&text);
    }
    buf_t none = BUF_INIT(4096);
    CHECK_INT(message_build(MSG_INVALID, "u", json_object(), &none), OSMO_EINVAL);
    CHECK_STR(message_type_name((enum message_type)99), "");
}

static void ack_is_as_on_the_wire(void) {
    buf_t text = BUF_INIT(4096);
    CHECK_INT(message_build_ack("old", "new", &text), 0);
    CHECK_STR(buf_cstr(&text), "{\"type\":\"ack\",\"body\":{\"uuid\":\"old\"},\"uuid\":\"new\"}");
    buf_free(&text);
}

static void extension_tokens(void) {
    static const struct { const char *header; bool offered; } cases[] = {
        {"jobs", true}, {"logs, jobs", true}, {"logs,jobs , x", true}, {" jobs\t", true}, {"JOBS", true}, {NULL,
            false}, {"", false},
        {"job", false}, {"jobs2", false}, {"logs", false}, {",,,", false}, {"a jobs", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        CHECK_INT(extension_offered(cases[i].header, "jobs"), cases[i].offered);
    CHECK(!extension_offered("jobs", ""));
}

static void job_frames(void) {
    json_t *job = json_object(), *back = NULL;
    buf_t frame = BUF_INIT(JOB_FRAME_MAX + 1024), whole = BUF_INIT(JOB_FRAME_MAX + 1024);
    osmo_error_t err = OSMO_ERROR_INIT;
    json_set_str(job, "job_type", "CreateGroup");
    json_set_int(job, "n", 5);
    CHECK_OK(job_frame_pack(job, &frame, &err), &err);
    CHECK_OK(job_frame_unpack(frame.data, frame.len, &back, &err), &err);
    CHECK(json_equal(job, back));
    json_free(back);
    back = NULL;
    CHECK_INT(job_frame_unpack(frame.data, frame.len - 1, &back, &err), OSMO_EINVAL);
    CHECK_INT(job_frame_unpack(frame.data, 0, &back, &err), OSMO_EINVAL);
    CHECK_INT(job_frame_unpack("{\"a\":1}", 7, &back, &err), OSMO_EINVAL);
    buf_append(&whole, frame.data, frame.len);
    buf_putc(&whole, 'x');
    CHECK_INT(job_frame_unpack(whole.data, whole.len, &back, &err), OSMO_EINVAL);
    CHECK_INT(job_frame_unpack(frame.data, JOB_FRAME_MAX + 1, &back, &err), OSMO_ELIMIT);
    CHECK(back == NULL);
    json_free(job);
    buf_free(&frame);
    buf_free(&whole);
}

static void a_frame_must_hold_an_object(void) {
    json_t *list = json_array(), *back = NULL;
    buf_t frame = BUF_INIT(65536);
    CHECK_INT(job_frame_pack(list, &frame, NULL), 0);
    CHECK_INT(job_frame_unpack(frame.data, frame.len, &back, NULL), OSMO_EINVAL);
    json_free(list);
    buf_free(&frame);
}

static const struct check_test tests[] = {
    {"parses exactly three keys", parses_exactly_three_keys}, {"names round trip", names_round_trip},
    {"ack is as on the wire", ack_is_as_on_the_wire}, {"extension tokens", extension_tokens}, {"job frames",
        job_frames},
    {"a frame must hold an object", a_frame_must_hold_an_object},
};
TEST_MAIN("messages", tests)
