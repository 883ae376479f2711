/* Backends as administrators change and delete them; see also model/backend_config.h. Called by api/, and by the monitor for deletions that
 * were cut off. */
#ifndef ENGINE_BACKENDS_H
#define ENGINE_BACKENDS_H
#include "engine/engine.h"
#include "model/backend_config.h"

/* Changes the members that `patch` has. What operators must know of it is told to those that are connected, to whichever service. Another
 * k8s_uid hands the name to another cluster: sessions of the present one end. OSMO_EUSER: there is no such backend, for it comes with its
 * operator; OSMO_EUSAGE names what is wrong; OSMO_ECONFLICT: the configuration comes from a file. */
int backend_update(engine_t *e, const char *name, const json_t *patch, osmo_error_t *err);
/* Takes the backend away with its nodes, its configuration, what is owed there and the access tokens that serve it alone; its sessions end.
 * While anything of it is unfinished or not cleaned up that is OSMO_EUSER, unless it is forced: then unfinished workflows fail, and objects
 * in the cluster are left to whoever has the cluster. Waits until all is done. */
int backend_delete(engine_t *e, const char *name, bool force, osmo_error_t *err);

int tests_change(engine_t *e, const struct test_edit *edit, osmo_error_t *err);
#endif
