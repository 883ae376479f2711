/* Configuration without a file: the built-in one with the objects over it that were written through the API and are kept in the store.
 * Every change is made of all of them, checked as a whole, and committed before anybody sees it. Called by config.c and api/. */
#ifndef ENGINE_CONFIG_OBJECTS_H
#define ENGINE_CONFIG_OBJECTS_H
#include "engine/engine.h"
#include "model/pool_config.h"

/* The settings as the store has them now. */
int config_stored(engine_t *e, struct settings **out, osmo_error_t *err);
/* Makes a change in `document` ({pools, backends, backend_tests}, each name → document): objects are replaced, never changed. May be
 * called twice. */
typedef int (*config_edit_fn)(db_t *db, json_t *document, void *ctx, osmo_error_t *err);
/* Makes the change and takes it over, here and in the other replicas. OSMO_ECONFLICT when the configuration comes from a file, OSMO_EUSER
 * when a pool would vanish that has unfinished workflows, OSMO_EUSAGE names what is wrong. */
int config_edit(engine_t *e, config_edit_fn edit, void *ctx, osmo_error_t *err);
int config_edit_pools(engine_t *e, const struct pool_edit *edit, osmo_error_t *err);
/* OSMO_ECONFLICT when the configuration comes from a file. */
int config_writable(engine_t *e, osmo_error_t *err);
#endif
