/* Identities in the store: who made a session that goes on without a connection of theirs. What was proved is kept, and which credential
 * proved it; what that is worth is asked by auth_confirm() each time. */
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "engine/identity_internal.h"

char *identity_to_json(const struct identity *id) {
    _cleanup_json_ json_t *o = json_object();
    int failed = !o || json_set_int(o, "kind", id->kind) < 0 || json_set_str(o, "user", id->user) < 0 ||
        json_set_str(o, "token_name", id->token_name) < 0 || json_set_int(o, "token_expires_us", id->token_expires_us) < 0 ||
        json_set_int(o, "made_us", id->made_us) < 0 || json_set_int(o, "issued_s", id->issued_s) < 0 ||
        json_set_str(o, "token_id", id->token_id) < 0 || json_set_str(o, "backend", id->backend) < 0 ||
        json_set_str(o, "workflow_id", id->workflow_id) < 0 || json_set_str(o, "group_name", id->group_name) < 0 ||
        json_set_str(o, "task_name", id->task_name) < 0 || json_set_int(o, "retry_id", id->retry_id) < 0 ||
        json_set_strs(o, "roles", &id->roles) < 0 || json_set_strs(o, "external", &id->external) < 0 ||
        json_set_strs(o, "left_out", &id->left_out) < 0;
    return failed ? NULL : json_to_text(o);
}

static int take_list(const json_t *o, const char *name, strlist_t *to) {
    const json_t *list = json_get(o, name);
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < json_len(list); i++)
        rc = strlist_add(to, json_str(json_at(list, i)));
    return rc;
}

int identity_from_json(const char *text, struct identity *out, osmo_error_t *err) {
    _cleanup_json_ json_t *o = NULL;
    memset(out, 0, sizeof *out);
    int rc = json_parse(text, strlen(text), &o, err);
    if (rc < 0)
        return rc;
    const char *token_id = json_get_str(o, "token_id");
    out->stale = true;
    out->kind = (enum identity_kind)json_get_int(o, "kind", IDENTITY_NONE);
    out->token_expires_us = json_get_int(o, "token_expires_us", 0);
    out->made_us = json_get_int(o, "made_us", 0);
    out->issued_s = json_get_int(o, "issued_s", 0);
    out->retry_id = json_get_int(o, "retry_id", 0);
    snprintf(out->token_id, sizeof out->token_id, "%s", token_id ? token_id : "");
    int failed = identity_set_text(&out->user, json_get_str(o, "user"));
    failed |= identity_set_text(&out->token_name, json_get_str(o, "token_name"));
    failed |= identity_set_text(&out->backend, json_get_str(o, "backend"));
    failed |= identity_set_text(&out->workflow_id, json_get_str(o, "workflow_id"));
    failed |= identity_set_text(&out->group_name, json_get_str(o, "group_name"));
    failed |= identity_set_text(&out->task_name, json_get_str(o, "task_name"));
    failed |= take_list(o, "roles", &out->roles) | take_list(o, "external", &out->external) | take_list(o, "left_out", &out->left_out);
    if (!failed)
        return 0;
    identity_clear(out);
    return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}
