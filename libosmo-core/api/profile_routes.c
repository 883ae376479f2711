/* The caller's profile: default pool and notification switches, and what it is allowed. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/access.h"

static json_t *profile_json(const char *user, const struct profile_row *p) {
    json_t *o = json_object();
    if (o && json_set_str(o, "username", user) >= 0 &&
        json_set_bool(o, "email_notification", p->email_notification) >= 0 &&
        json_set_bool(o, "slack_notification", p->slack_notification) >= 0 && json_set_text(o, "pool", p->pool) >= 0)
        return o;
    json_free(o);
    return NULL;
}

static json_t *token_json(const struct identity *who) {
    json_t *o = who->token_name ? json_object() : NULL;
    if (o && (json_set_str(o, "name", who->token_name) < 0 ||
              json_set_time(o, "expires_at", who->token_expires_us) < 0)) {
        json_free(o);
        return NULL;
    }
    return o;
}

int get_profile(struct call *c, osmo_error_t *err) {
    struct profile_row p = { 0 };
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_profile_get(db, c->user, &p, err);
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *o = json_object();
    _cleanup_(strlist_free) strlist_t pools = { 0 };
    json_t *profile = profile_json(c->user, &p);
    free(p.pool);
    rc = access_pools(c->engine, &c->who, &pools, err);
    if (rc < 0 || !o || !profile) {
        json_free(profile);
        return rc < 0 ? rc : OSMO_ENOMEM;
    }
    bool failed = json_set(o, "profile", profile) < 0;
    failed |= json_set_strs(o, "roles", &c->who.roles) < 0;
    failed |= json_set_strs(o, "pools", &pools) < 0;
    failed |= json_set(o, "token", token_json(&c->who)) < 0;
    return failed ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

struct profile_change { const char *user; struct profile_row row; bool has_email, has_slack; const char *pool; };

static int write_profile(db_t *db, void *ctx, osmo_error_t *err) {
    struct profile_change *ch = ctx;
    struct profile_row p = { 0 };
    int rc = repo_profile_get(db, ch->user, &p, err);
    if (rc < 0)
        return rc;
    struct profile_row next = p;
    if (ch->has_email)
        next.email_notification = ch->row.email_notification;
    if (ch->has_slack)
        next.slack_notification = ch->row.slack_notification;
    _cleanup_free_ char *pool = ch->pool ? str_dup(ch->pool) : NULL;
    if (pool)
        next.pool = pool;
    rc = repo_profile_set(db, ch->user, &next, err);
    free(p.pool);
    return rc;
}

static bool pool_known(struct call *c, const char *name) {
    const struct settings *s = engine_settings(c->engine);
    bool known = settings_pool(s, name) != NULL;
    engine_settings_put(s);
    return known;
}

/* 0, or OSMO_EINVAL with the 422 filled. */
static int read_switch(struct call *c, const json_t *body, const char *key, bool *has, bool *value) {
    json_t *v = json_get(body, key);
    if (!v)
        return 0;
    if (json_kind(v) != JSON_BOOL) {
        int rc = answer_unprocessable(c, "body", key, "bool_type", "Input should be a valid boolean");
        return rc < 0 ? rc : OSMO_EINVAL;
    }
    *has = true;
    *value = json_as_bool(v, false);
    return 0;
}

static int read_pool(struct call *c, const json_t *body, const char **pool, osmo_error_t *err) {
    if (!json_get(body, "pool"))
        return 0;
    *pool = json_get_str(body, "pool");
    if (!*pool) {
        int rc = answer_unprocessable(c, "body", "pool", "string_type", "Input should be a valid string");
        return rc < 0 ? rc : OSMO_EINVAL;
    }
    if (!pool_known(c, *pool))
        return osmo_error_set(err, OSMO_EUSER, "Pool %s does not exist; osmo pool list shows the pools", *pool);
    return 0;
}

int post_profile(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    struct profile_change ch = { .user = c->user };
    int rc = body_json(c, &body, err);
    if (rc >= 0 && json_get(body, "username"))
        rc = osmo_error_set(err, OSMO_EDATABASE, "username cannot be changed");
    if (rc >= 0)
        rc = read_switch(c, body, "email_notification", &ch.has_email, &ch.row.email_notification);
    if (rc >= 0)
        rc = read_switch(c, body, "slack_notification", &ch.has_slack, &ch.row.slack_notification);
    if (rc >= 0)
        rc = read_pool(c, body, &ch.pool, err);
    if (rc >= 0)
        rc = store_write(c->engine->store, NULL, write_profile, &ch, err);
    return rc < 0 ? rc : answer_null(c);
}
