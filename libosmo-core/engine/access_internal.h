/* Shared by access.c (decisions), access_picture.c (what they are made from) and access_store.c (where that comes from). */
#ifndef ENGINE_ACCESS_INTERNAL_H
#define ENGINE_ACCESS_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>
#include "base/map.h"
#include "engine/access.h"
#include "engine/engine_internal.h"

#define PICTURE_GRANTS_MAX 4096  /* sets of roles that are kept prepared */

struct picture {
    map_t *roles;                /* name → struct role * */
    map_t *grants;               /* key of a set → grants_t * */
    bool from_file;              /* the configuration file has the roles */
};
struct picture *picture_new(void);
void picture_free(struct picture *p);
/* Takes *r, also when it fails. */
int picture_add(struct picture *p, struct role *r, osmo_error_t *err);
const struct role *picture_role(const struct picture *p, const char *name);
const grants_t *picture_known(const struct picture *p, const char *key); /* NULL: to be prepared */
int picture_prepare(struct picture *p, const char *key, const strlist_t *names, const grants_t **out, osmo_error_t *err);

struct access {
    pthread_rwlock_t lock;       /* the picture; written to when a set is prepared */
    struct picture *picture;
    _Atomic uint64_t generation;
    pthread_mutex_t loading;     /* one read of the roles at a time, so that an older one never replaces a newer */
    pthread_t thread;            /* reads them for those who may not wait */
    bool started;
    struct waker waker;
};
/* access_store.c: all roles as they are now. */
int access_load(engine_t *e, struct picture **out, osmo_error_t *err);
/* The missing default roles, and what is missing in those that are there. */
int access_seed(engine_t *e, osmo_error_t *err);
#endif
