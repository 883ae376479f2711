/* Stored credentials as plain data: the three shapes of a request, the scope or address each is kept for, and which of them an image
 * or an address needs. Values are only passed on, never looked at beyond their size. Pure. */
#ifndef MODEL_CREDENTIAL_H
#define MODEL_CREDENTIAL_H
#include <stdbool.h>
#include <stddef.h>
#include "base/json.h"
#include "base/str.h"
#include "osmo/error.h"

/* In the order of upstream's type in the database; lists begin with the last. */
enum credential_kind { CREDENTIAL_GENERIC, CREDENTIAL_REGISTRY, CREDENTIAL_DATA, CREDENTIAL_KINDS };
#define CREDENTIAL_PAIRS_MAX 256
#define CREDENTIAL_VALUE_MAX (512u << 10) /* bytes; what fits into a Secret with its neighbours */
#define CREDENTIAL_TOTAL_MAX (768u << 10)
#define REGISTRY_DOCKER "registry-1.docker.io"

/* REGISTRY, DATA, GENERIC; -1 for anything else. */
const char *credential_kind_name(enum credential_kind kind);
int credential_kind_parse(const char *name);
/* Begins with a letter, ends with a letter or digit, with those, - and _ in between; at most 128 characters. */
bool credential_name_valid(const char *name);

struct credential {
    enum credential_kind kind;
    char *profile;     /* scope of a registry, endpoint without trailing slash; NULL of generic ones */
    json_t *pairs;     /* key → text, in the clear */
};
/* What is wrong with the form of a request (HTTP 422): the member, pydantic's type of error, words. No field when nothing is. */
struct credential_fault { char field[160]; const char *type; char message[160]; };
/* The body of a request. 0; OSMO_EINVAL with *fault filled, OSMO_EUSER (not exactly one kind, limits), OSMO_ECREDENTIAL
 * (an endpoint or scope that is none). Texts name keys, never values. */
int credential_read(const json_t *body, struct credential *out, struct credential_fault *fault, osmo_error_t *err);
void credential_clear(struct credential *c); /* wipes */

/* Trimmed, without scheme, trailing slashes and :443; "", docker.io and index.docker.io are Docker's registry. Malloc'ed; NULL when
 * memory ran out. */
char *registry_scope(const char *text);
bool registry_scope_valid(const char *scope);
/* host[:port]/name of an image reference, spelled as scopes are. Malloc'ed. */
char *registry_image_scope(const char *image);
/* Is the scope equal to it or a prefix that ends where a path component ends? */
bool registry_scope_covers(const char *scope, const char *image_scope);
/* Index of the most specific of the scopes (NULL ones do not count), -1 when none covers it. */
int registry_best_scope(const char *const *scopes, size_t n, const char *image_scope);
/* What to ask a registry for: host[:port], repository, tag or digest. */
struct image_reference { char *host, *repository, *reference; bool pinned; };
int image_reference_parse(const char *image, struct image_reference *out); /* 0, OSMO_EINVAL, OSMO_ENOMEM */
void image_reference_clear(struct image_reference *r);
/* The realm, service and scope of "Bearer realm=…,service=…" of a WWW-Authenticate header; each malloc'ed or NULL. */
struct bearer_challenge { char *realm, *service, *scope; };
int bearer_challenge_parse(const char *header, struct bearer_challenge *out); /* 0, OSMO_EINVAL: another scheme, no realm */
void bearer_challenge_clear(struct bearer_challenge *c);

/* swift://a/b[/…], s3://a[/…], gs://a[/…], tos://a/b[/…], azure://a[/…] */
bool data_endpoint_valid(const char *endpoint, const char **why);
/* The part of a storage address that credentials are kept for: scheme and one component, two for tos and swift. */
size_t data_profile_len(const char *url);
/* Is the stored endpoint for this address: the same profile? */
bool data_profile_covers(const char *profile, const char *url);
/* These are open to nobody: gs, tos, swift. */
bool data_needs_credential(const char *url);
#endif
