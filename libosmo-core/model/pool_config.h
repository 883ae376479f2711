/* Documents of pools as the configuration routes take them: which members there are, what a change makes of those that exist. What is
 * in the members is checked by model/settings.h when the whole is read. Called by engine/config_objects.c and api/. Pure. */
#ifndef MODEL_POOL_CONFIG_H
#define MODEL_POOL_CONFIG_H
#include <stdbool.h>
#include <stddef.h>
#include "base/json.h"
#include "osmo/error.h"

#define POOL_NAME_MAX 200
#define POOLS_MAX 4096

/* Of pools and platforms: begins with a letter, ends with a letter or digit, letters, digits, '.', '_' and '-' between. */
bool config_name_valid(const char *name);

/* A change laid over what is there: objects are merged member by member, {"$action": "delete"} takes the member away, {"$action":
 * "replace", …} merges nothing. Lists of objects are merged item by item: an item with "$index" changes the one of that place (or deletes
 * or replaces it by its "$action"), the others are appended. Everything else replaces what was there. base may be NULL; *out is new.
 * OSMO_EUSAGE. */
int config_patch(const json_t *base, const json_t *patch, json_t **out, osmo_error_t *err);

enum pool_edit_kind {
    POOLS_PUT,      /* document: name → pool; the others stay */
    POOL_PATCH,     /* pool, document */
    POOL_DELETE,    /* pool; nothing when it is not there */
    POOL_RENAME,    /* pool, new_name */
    PLATFORM_PUT,   /* pool, platform, document */
    PLATFORM_RENAME /* pool, platform, new_name; the default platform stays the default */
};
struct pool_edit {
    enum pool_edit_kind kind;
    const char *pool, *platform, *new_name;
    const json_t *document;
};
/* Changes `pools` (name → document). Members that no pool has are dropped, the name among them. On failure nothing of the object counts
 * any more. OSMO_EUSER, OSMO_EEXISTS, OSMO_EUSAGE, OSMO_ELIMIT. */
int pools_edit(json_t *pools, const struct pool_edit *edit, osmo_error_t *err);

/* What a pool and a platform have, in order, and what each is when it was not given (JSON text): what is shown of one. NULL ends. */
struct config_member { const char *key, *fallback; };
extern const struct config_member pool_members[], platform_members[];
#endif
