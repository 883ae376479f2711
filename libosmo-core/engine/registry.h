/* Asking container registries (the registry API v2 with its token service): is a login good, is an image there for it? Outside of any
 * transaction; it waits for other machines, a few seconds at most. For api/ and submit_images.c. https only, http where the registry
 * is on this machine. Texts of errors name hosts and images, never what was sent. */
#ifndef ENGINE_REGISTRY_H
#define ENGINE_REGISTRY_H
#include "engine/engine.h"

/* Of a scope as model/credential.h spells it. 0 also when the site does not have it checked; OSMO_ECREDENTIAL. */
int registry_check_login(engine_t *e, const char *scope, const char *username, const char *auth, osmo_error_t *err);

#define IMAGE_DIGEST_MAX 160
struct image_check {
    const char *image, *username, *auth; /* username and auth NULL: nobody in particular */
    /* out: 0, OSMO_ECREDENTIAL (the registry refuses it, or has none such), OSMO_EUNAVAIL (it cannot be asked) */
    int rc;
    char digest[IMAGE_DIGEST_MAX];       /* "sha256:…", "" when the registry does not say */
    char why[400];
};
/* Fills the outcome of each, several at a time and within a few seconds together; what is known for certain from a moment ago is not
 * asked again. */
void registry_check_images(engine_t *e, struct image_check *checks, size_t n);
/* Does the site have images of this registry checked? */
bool registry_is_checked(const struct settings *s, const char *image_scope);

/* The same memory for other questions: is `what` known to be good, from a moment ago? */
bool registry_knows(engine_t *e, const char *what);
void registry_note(engine_t *e, const char *what);

int registry_open(engine_t *e, osmo_error_t *err);
void registry_close(engine_t *e);
#endif
