/* The decision table of osmo_pod_status(): step by step in a table of fragments, and whole pods with all that is said of them in
 * tests/golden/pod_status.json. OSMO_REGEN=1 rewrites the answers there; read the difference before keeping it. */
#include <stdlib.h>
#include "base/clock.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "check.h"
#include "osmo/backend/pod_status.h"

#define NOW INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */
#define WAIT(name, reason) "{\"name\":\"" name "\",\"state\":{\"waiting\":{\"reason\":\"" reason "\"}}}"
#define RUN(name) "{\"name\":\"" name "\",\"state\":{\"running\":{}}}"
#define END(name, code, reason) "{\"name\":\"" name "\",\"state\":{\"terminated\":{\"exitCode\":" #code "," \
    "\"reason\":\"" reason "\"}}}"
#define ENDM(name, code, message) "{\"name\":\"" name "\",\"state\":{\"terminated\":{\"exitCode\":" #code "," \
    "\"reason\":\"Error\",\"message\":\"" message "\"}}}"
#define INIT(s) ",\"initContainerStatuses\":[" s "]"
#define MAIN(s) ",\"containerStatuses\":[" s "]"
#define COND(type, state, reason, when) ",\"conditions\":[{\"type\":\"" type "\",\"status\":\"" state "\"," \
    "\"reason\":\"" reason \
    "\",\"lastTransitionTime\":\"" when "\"}]"
#define T0 "2025-12-31T23:00:00Z"  /* an hour ago */
#define T5 "2025-12-31T23:55:00Z"  /* five minutes ago */
#define T20 "2025-12-31T23:40:00Z" /* twenty minutes ago */

static const struct { const char *what, *phase, *rest,
    *status; int64_t code; int monitor; const char *says; } cases[] = {
    {"pending", "Pending", "", "SCHEDULING", -1, 0, ""},
    {"no phase yet", "", "", "SCHEDULING", -1, 0, ""},
    {"unknown is ignored", "Unknown", MAIN(END("a", 1, "Error")), NULL, -1, 0, ""},
    {"running", "Running", MAIN(RUN("a") "," RUN("osmo-ctrl")), "RUNNING", -1, 0, ""},
    {"succeeded", "Succeeded", MAIN(END("a", 0, "Completed")), "COMPLETED", 0, 0, ""},
    {"failed without a word", "Failed", "", "FAILED", 4000, 0, ""},
    {"failed with a pod message", "Failed", ",\"reason\":\"OutOfcpu\",\"message\":\"no cpu\"", "FAILED", 4000, 0,
        "no cpu"},
    {"user exit code", "Failed", MAIN(END("a", 3, "Error") "," END("osmo-ctrl", 0, "Completed")), "FAILED", 3, 0,
        "Task a failed with exit code 3"},
    {"ctrl offset", "Failed", MAIN(END("osmo-ctrl", 10, "Error")), "FAILED", 2010, 0,
        "OSMO Control failed with exit code 2010"},
    {"init offset", "Failed", INIT(END("osmo-init", 1, "Error")), "FAILED", 256, 0, "exit code 256"},
    {"preflight offset", "Failed", INIT(END("preflight-test", 1, "Error")), "FAILED", 1001, 0, "OSMO Preflight Test"},
    {"largest code after offsets", "Failed", MAIN(END("a", 137, "Error") "," END("osmo-ctrl", 1, "Error")), "FAILED",
        2001, 0, "Task a"},
    {"code of ctrl's message", "Failed", MAIN(ENDM("osmo-ctrl", 1, "{\\\"code\\\":12}")), "FAILED", 2012, 0, ""},
    {"ctrl's message without code", "Failed", MAIN(ENDM("osmo-ctrl", 1, "{\\\"x\\\":12}")), "FAILED", 2001, 0, ""},
    {"code in a user's message is not used", "Failed", MAIN(ENDM("a", 1, "{\\\"code\\\":12}")), "FAILED", 1, 0, ""},
    {"termination message is shown", "Failed", MAIN(ENDM("a", 1, "disk on fire")), "FAILED", 1, 0, "disk on fire"},
    {"out of memory", "Failed", MAIN(END("a", 137, "OOMKilled")), "FAILED_EVICTED", 3004, 0, "OOMKilled"},
    {"user crashed, ctrl goes on", "Running", MAIN(END("a", 1, "Error") "," RUN("osmo-ctrl")), "RUNNING", -1, 0, ""},
    {"ctrl died", "Running", MAIN(RUN("a") "," END("osmo-ctrl", 5, "Error")), "FAILED", 2005, 0, ""},
    {"ctrl ended well", "Running", MAIN(RUN("a") "," END("osmo-ctrl", 0, "Completed")), "RUNNING", -1, 0, ""},
    {"ctrl ended well, user did not", "Running", MAIN(END("a", 9, "Error") "," END("osmo-ctrl", 0, "Completed")),
        "FAILED", 9, 0, ""},
    {"start error while running", "Running", MAIN(END("a", 128, "StartError") "," RUN("osmo-ctrl")), "FAILED", 128,
        0, "StartError"},
    {"init is being created", "Pending", INIT(WAIT("osmo-init", "ContainerCreating")), "INITIALIZING", -1, 1, ""},
    {"init waits", "Pending", INIT(WAIT("osmo-init", "PodInitializing")), "INITIALIZING", -1, 1, ""},
    {"init runs", "Pending", INIT(RUN("osmo-init")) MAIN(WAIT("a", "PodInitializing")), "SCHEDULING", -1, 0, ""},
    {"main waits only", "Pending", MAIN(WAIT("a", "ContainerCreating")), "SCHEDULING", -1, 0, ""},
    {"image back off", "Pending", MAIN(WAIT("a", "ImagePullBackOff")), "FAILED_IMAGE_PULL", 301, 1, "ImagePullBackOff"},
    {"image error", "Pending", MAIN(WAIT("a", "ErrImagePull")), "FAILED_IMAGE_PULL", 302, 1,
        "Container a cannot start"},
    {"image of ctrl", "Pending", MAIN(WAIT("osmo-ctrl", "ErrImagePull")), "FAILED_IMAGE_PULL", 2302, 1, ""},
    {"image of init", "Pending", INIT(WAIT("osmo-init", "ImagePullBackOff")), "FAILED_IMAGE_PULL", 556, 1, ""},
    {"crash loop", "Running", MAIN(WAIT("a", "CrashLoopBackOff")), "FAILED", 304, 0, ""},
    {"create error", "Pending", MAIN(WAIT("a", "CreateContainerError")), "FAILED", 999, 1, ""},
    {"run error", "Pending", MAIN(WAIT("a", "RunContainerError")), "FAILED", 999, 1, ""},
    {"image without a name", "Pending", MAIN(WAIT("a", "InvalidImageName")), "FAILED_IMAGE_PULL", 302, 1, "InvalidImageName"},
    {"image never pulled", "Pending", MAIN(WAIT("a", "ErrImageNeverPull")), "FAILED_IMAGE_PULL", 302, 1, ""},
    {"regular containers first", "Pending", INIT(WAIT("i", "CrashLoopBackOff")) MAIN(WAIT("a", "ErrImagePull")),
        "FAILED_IMAGE_PULL", 302, 1, ""},
    {"config error, young", "Pending", MAIN(WAIT("a", "CreateContainerConfigError")) COND("Ready", "False", "x", T5),
        "SCHEDULING", -1, 0, "ConfigError"},
    {"config error, old", "Pending", MAIN(WAIT("a", "CreateContainerConfigError")) COND("Ready", "False", "x", T20),
        "FAILED_BACKEND_ERROR", 3001, 1, ""},
    {"config error, no time", "Pending", MAIN(WAIT("a", "CreateContainerConfigError")), "SCHEDULING", -1, 0, ""},
    {"unknown container, young", "Running", MAIN(WAIT("a", "ContainerStatusUnknown")) COND("Ready", "False", "x",
        T20), "SCHEDULING", -1, 0, ""},
    {"unknown container, old", "Running", MAIN(WAIT("a", "ContainerStatusUnknown")) COND("Ready", "False", "x", T0),
        "FAILED_BACKEND_ERROR", 3001, 0, ""},
    {"waiting error over success", "Succeeded", MAIN(WAIT("a", "ErrImagePull")), "FAILED_IMAGE_PULL", 302, 0, ""},
    {"evicted", "Failed", ",\"reason\":\"Evicted\",\"message\":\"disk full\"", "FAILED_EVICTED", 3004, 0, "disk full"},
    {"start error of the pod", "Failed", ",\"reason\":\"StartError\"", "FAILED_START_ERROR", 3003, 0, ""},
    {"not admitted", "Failed", ",\"reason\":\"UnexpectedAdmissionError\"", "FAILED_BACKEND_ERROR", 3001, 0, "admitted"},
    {"disrupted", "Failed", COND("DisruptionTarget", "True", "DeletionByTaintManager", T5), "FAILED_BACKEND_ERROR",
        3001, 0, "DeletionByTaintManager"},
    {"disrupted after success", "Succeeded", COND("DisruptionTarget", "True", "x", T5), "FAILED_BACKEND_ERROR", 3001,
        0, ""},
    {"not disrupted", "Succeeded", COND("DisruptionTarget", "False", "x", T5), "COMPLETED", 0, 0, ""},
    {"reason wins over disruption", "Failed", ",\"reason\":\"Evicted\"" COND("DisruptionTarget", "True", "x", T5),
        "FAILED_EVICTED", 3004, 0, ""},
    {"preempted", "Running", COND("DisruptionTarget", "True", "PreemptionByScheduler", T5), "FAILED_PREEMPTED", 3006,
        0, T5},
    {"preempted, any type", "Unknown", COND("Other", "True", "PreemptionByScheduler", T5), "FAILED_PREEMPTED", 3006,
        0, ""},
    {"preempted before all else", "Succeeded", MAIN(WAIT("a", "ErrImagePull")) COND("A", "True",
        "PreemptionByScheduler", T5), "FAILED_PREEMPTED", 3006, 0, ""},
    {"failed while init waits", "Failed", INIT(WAIT("osmo-init", "PodInitializing")), "FAILED", 4000, 0, ""},
    {"failed while init waits, evicted", "Failed", INIT(WAIT("osmo-init",
        "PodInitializing")) ",\"reason\":\"Evicted\"", "FAILED_EVICTED", 3004, 0, ""},
};

static void table(void) {
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[4096];
        int n = snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"p\"},\"status\":{\"phase\":\"%s\"%s}}",
            cases[i].phase, cases[i].rest);
        osmo_pod_status_t s;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_OK(osmo_pod_status(text, (size_t)n, NOW, &s, &err), &err);
        bool same = s.exit_code == cases[i].code && s.monitor == cases[i].monitor &&
                    (s.status && cases[i].status ? strcmp(s.status,
                        cases[i].status) == 0 : s.status == cases[i].status);
        if (!same)
            fprintf(stderr, "case \"%s\"\n", cases[i].what);
        CHECK_STR(s.status, cases[i].status);
        CHECK_INT(s.exit_code, cases[i].code);
        CHECK_INT(s.monitor, cases[i].monitor);
        if (s.status)
            CHECK_CONTAINS(s.message, cases[i].says);
        osmo_pod_status_clear(&s);
    }
}

/* ---- whole pods ---- */

static char *golden_path(void) {
    const char *top = getenv("srcdir");
    return str_printf("%s/tests/golden/pod_status.json", top ? top : ".");
}

/* A case with the answer of today. */
static json_t *answered(const json_t *c) {
    const char *now = json_get_str(c, "now");
    int64_t now_us = 0;
    osmo_pod_status_t s = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *pod = json_to_text(json_get(c, "pod"));
    json_t *out = json_copy(c);
    CHECK(pod && out && now && time_parse(now, &now_us));
    if (!pod || !out)
        return out;
    CHECK_OK(osmo_pod_status(pod, strlen(pod), now_us, &s, &err), &err);
    int rc = json_set_str(out, "status", s.status);
    rc |= json_set(out, "exit_code", s.exit_code < 0 ? NULL : json_int(s.exit_code));
    rc |= json_set_int(out, "monitor", s.monitor);
    rc |= json_set_str(out, "message", s.message ? s.message : "");
    CHECK_INT(rc, 0);
    osmo_pod_status_clear(&s);
    return out;
}

/* One line for the name, the time, the pod, the answer and its words. */
static void put_case(buf_t *b, const json_t *c, bool last) {
    static const char *const keys[] = {"what", "now", "pod", "status", "exit_code", "monitor", "message"};
    static const char *const ends[] = {",\n ", ",\n ", ",\n ", ",", ",", ",\n ", "}"};
    buf_putc(b, '{');
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        buf_printf(b, "\"%s\":", keys[i]);
        json_print(json_get(c, keys[i]), 0, b);
        buf_puts(b, ends[i]);
    }
    buf_puts(b, last ? "\n" : ",\n");
}

static void golden_pods(void) {
    _cleanup_free_ char *path = golden_path();
    _cleanup_json_ json_t *cases_ = NULL;
    _cleanup_buf_ buf_t text = BUF_INIT(1u << 20), again = BUF_INIT(1u << 20);
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(path != NULL);
    CHECK_OK(file_read(path, &text, &err), &err);
    int rc = json_parse(buf_cstr(&text), text.len, &cases_, &err);
    CHECK_OK(rc, &err);
    CHECK(json_len(cases_) >= 80);
    buf_puts(&again, "[\n");
    for (size_t i = 0; i < json_len(cases_); i++) {
        const json_t *c = json_at(cases_, i);
        _cleanup_json_ json_t *today = answered(c);
        if (!json_equal(c, today) && !getenv("OSMO_REGEN")) {
            _cleanup_free_ char *got = json_to_text(today);
            fprintf(stderr, "case \"%s\" gives %s\n", json_get_str(c, "what"), got);
        }
        CHECK(json_equal(c, today) || getenv("OSMO_REGEN"));
        put_case(&again, today, i + 1 == json_len(cases_));
    }
    buf_puts(&again, "]\n");
    if (getenv("OSMO_REGEN"))
        CHECK_OK(file_write_atomic(path, buf_cstr(&again), again.len, 0644, false, &err), &err);
}

static void refuses_what_is_no_pod(void) {
    static const char *const texts[] = {"", "[]", "{}", "{\"metadata\":5}",
        "{\"metadata\":{},\"status\":{\"phase\":\"Odd\"}}", "{"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        osmo_pod_status_t s;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(osmo_pod_status(texts[i], strlen(texts[i]), NOW, &s, &err), OSMO_EINVAL);
        CHECK(err.text[0] != '\0');
        osmo_pod_status_clear(&s);
    }
}

static const struct check_test tests[] = {{"table", table}, {"golden pods", golden_pods}, {"refuses what is no pod",
    refuses_what_is_no_pod}};
TEST_MAIN("pod_status", tests)
