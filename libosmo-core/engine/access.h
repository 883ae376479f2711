/* Who may do what: role documents of the store as a picture in memory (model/policy.h decides), read again when somebody changed it, here
 * or in another replica. Thread-safe; nothing here reads the database while the picture is good, so that it may be called on the thread
 * of the connections. */
#ifndef ENGINE_ACCESS_H
#define ENGINE_ACCESS_H
#include "engine/engine.h"
#include "model/policy.h"

/* Seeds the default roles and completes those that are there. After the store and the settings. */
int access_open(engine_t *e, osmo_error_t *err);
void access_stop(engine_t *e); /* its thread, which tells others */
void access_close(engine_t *e);

/* Users, roles, tokens or mappings were changed and committed: the picture and all verified tokens are looked at anew, here and in every
 * other replica. access_changed_here is what the hint of another replica means. */
void access_changed(engine_t *e);
void access_changed_here(engine_t *e);
/* The settings are new: roles of the configuration file. */
void access_settings_changed(engine_t *e);
/* Grows with every such change: what was concluded under another generation counts no more. */
uint64_t access_generation(engine_t *e);

/* Of all roles of the caller together with ROLE_OF_EVERYBODY; of a task's or a backend's identity less, whatever its roles. resource as
 * grants_decide takes it. */
enum policy_verdict access_decide(engine_t *e, const struct identity *who, enum action a, const char *resource);
/* On every resource of a kind ("pool/") there could be, nothing denied: then nobody needs to look up which one it is. */
bool access_allows_all(engine_t *e, const struct identity *who, enum action a, const char *kind);
/* On one at least. */
bool access_allows_some(engine_t *e, const struct identity *who, enum action a, const char *kind);
/* Pools of the settings in which the caller may create workflows; nothing else is to be shown to those who may not see all. */
int access_pools(engine_t *e, const struct identity *who, strlist_t *pools, osmo_error_t *err);

/* Of a caller that an identity provider or a gateway vouches for: `external` are the names of its roles there. Adds the user when it is
 * new, brings its roles up to date (role_sync), and gives all it has. Writes only when something differs. Blocks on the store. */
int access_sync(engine_t *e, const char *user, const strlist_t *external, strlist_t *roles, osmo_error_t *err);
/* The same of one that was vouched for some time ago, as whoever holds a session: gives the roles that the user has now, whoever brought
 * them up to date meanwhile, and writes nothing. */
int access_held(engine_t *e, const char *user, const strlist_t *external, strlist_t *roles, osmo_error_t *err);

/* In one transaction, then access_changed. Roles that are not among them stay. OSMO_EUSER: a built-in role would permit less;
 * OSMO_ECONFLICT: the configuration file has the roles. */
int access_put_roles(engine_t *e, const struct role *const *roles, size_t n, osmo_error_t *err);
int access_delete_role(engine_t *e, const char *name, osmo_error_t *err); /* the same; OSMO_EUSER: immutable, unknown */
/* All roles as JSON documents with their external_roles, sorted by name. */
int access_roles_json(engine_t *e, json_t **out, osmo_error_t *err);
#endif
