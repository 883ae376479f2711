/* What the API server says when something is wrong: its Status object becomes a code of ours and its message the error's text. Answers of
 * proxies in between, which are no Status, are told by their status. Called by kube_client.c and kube_watch.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json_reader.h"
#include "cluster/kubernetes/kube_int.h"

#define RETRY_AFTER_MAX_S 300
#define PLAIN_SHOWN 200

static void read_details(json_reader_t *r, struct kube_status *out) {
    json_slice_t key;
    if (!json_reader_object(r))
        return;
    while (json_reader_key(r, &key)) {
        if (json_slice_is(&key, "retryAfterSeconds"))
            json_reader_int(r, &out->retry_after_s);
        else
            json_reader_skip(r, NULL);
    }
}

bool kube_status_parse(const char *json, size_t len, struct kube_status *out) {
    json_reader_t r;
    json_slice_t key, text;
    int64_t code = 0;
    bool is_status = false;
    memset(out, 0, sizeof *out);
    json_reader_init(&r, json, len);
    if (json_reader_kind(&r) != JSON_OBJECT || !json_reader_object(&r))
        return false;
    while (json_reader_key(&r, &key)) {
        if (json_slice_is(&key, "kind")) {
            is_status = json_reader_string(&r, &text) && json_slice_is(&text, "Status");
        } else if (json_slice_is(&key, "status") && json_reader_kind(&r) == JSON_STRING) {
            out->failure = json_reader_string(&r, &text) && json_slice_is(&text, "Failure");
        } else if (json_slice_is(&key, "reason") && json_reader_kind(&r) == JSON_STRING) {
            if (json_reader_string(&r, &text))
                json_slice_copy(&text, out->reason, sizeof out->reason);
        } else if (json_slice_is(&key, "message") && json_reader_kind(&r) == JSON_STRING) {
            if (json_reader_string(&r, &text))
                json_slice_copy(&text, out->message, sizeof out->message);
        } else if (json_slice_is(&key, "code")) {
            json_reader_int(&r, &code);
        } else if (json_slice_is(&key, "details")) {
            read_details(&r, out);
        } else {
            json_reader_skip(&r, NULL);
        }
    }
    out->code = code >= 100 && code <= 599 ? (int)code : 0;
    return is_status && !json_reader_failed(&r) && json_reader_at_end(&r);
}

int kube_status_code(int http, const char *reason) {
    switch (http) {
    case 400: case 405: case 406: case 415: case 422: return OSMO_EINVAL;
    case 401: return OSMO_EUNAUTH;
    case 403: return OSMO_EDENIED;
    case 404: return OSMO_ENOTFOUND;
    case 409: return strcmp(reason, "AlreadyExists") ? OSMO_ECONFLICT : OSMO_EEXISTS;
    case 410: return OSMO_EGONE;
    case 413: return OSMO_ELIMIT;
    case 408: return OSMO_ETIMEOUT;
    case 429: return OSMO_EBUSY;
    default: return http >= 500 ? OSMO_EUNAVAIL : OSMO_EIO;
    }
}

/* One line; what cannot be printed becomes a blank. */
static void flatten(char *text) {
    for (char *p = text; *p; p++)
        *p = (unsigned char)*p < ' ' || *p == 127 ? ' ' : *p;
}

/* The server's JSON decoder quotes what it stumbled over, and that may be the secret. */
static void cut_quotation(char *message) {
    static const char *const marks[] = {"error found in #", "invalid character", "illegal base64", "cannot unmarshal", "|..."};
    for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
        char *p = strstr(message, marks[i]);
        if (p)
            memcpy(p, "...", 4); /* the mark was no shorter */
    }
}

static int64_t wait_of(int64_t seconds) {
    seconds = seconds < 0 ? 0 : seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : seconds;
    return seconds * 1000000;
}

/* Proxies, and the server itself when it is overloaded, answer in plain text. */
static void plain_message(int http, const char *body, size_t len, bool secret, char out[PLAIN_SHOWN + 64]) {
    char shown[PLAIN_SHOWN + 1];
    size_t n = 0;
    for (; n < len && n < PLAIN_SHOWN && body[n] != '\n' && body[n] != '\r' && body[n] >= ' ' && body[n] < 127; n++)
        shown[n] = body[n];
    shown[n] = '\0';
    bool useful = n && !secret && shown[0] != '<' && shown[0] != '{' && shown[0] != '[';
    snprintf(out, PLAIN_SHOWN + 64, "the Kubernetes API server answered %d%s%s", http, useful ? ": " : "", useful ? shown : "");
}

static int report(int http, const struct kube_status *s, bool secret, osmo_error_t *err) {
    char message[OSMO_ERROR_TEXT_MAX];
    snprintf(message, sizeof message, "%s", s->message);
    flatten(message);
    if (secret && (http == 400 || http == 422 || http == 500))
        cut_quotation(message);
    if (!message[0])
        snprintf(message, sizeof message, "the Kubernetes API server answered %d %s", http, s->reason);
    return osmo_error_set(err, kube_status_code(http, s->reason), "%s", message);
}

int kube_error_of(int http, const char *body, size_t len, const char *retry_after, bool secret, int64_t *wait_us, osmo_error_t *err) {
    struct kube_status s;
    char plain[PLAIN_SHOWN + 64];
    int64_t seconds = 0;
    bool status = kube_status_parse(body ? body : "", len, &s);
    if (!retry_after || !str_to_i64(retry_after, &seconds))
        seconds = retry_after ? 1 : 0; /* a date: clocks differ, so only that we should wait is taken from it */
    *wait_us = wait_of(status && s.retry_after_s > seconds ? s.retry_after_s : seconds);
    if (status)
        return report(http, &s, secret, err);
    plain_message(http, body ? body : "", len, secret, plain);
    return osmo_error_set(err, kube_status_code(http, ""), "%s", plain);
}

int kube_error_of_event(const char *json, size_t len, int64_t *wait_us, osmo_error_t *err) {
    struct kube_status s;
    if (!kube_status_parse(json, len, &s)) {
        *wait_us = 0;
        return osmo_error_set(err, OSMO_EIO, "the Kubernetes API server ended the watch with an error that is no Status");
    }
    *wait_us = wait_of(s.retry_after_s);
    int http = s.code ? s.code : !strcmp(s.reason, "Expired") || !strcmp(s.reason, "Gone") ? 410 : 500;
    return report(http, &s, false, err);
}
