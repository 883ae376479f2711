/* An API server in memory behind the functions of osmo/backend/kube.h, for tests of what is built on them: objects with versions, uids,
 * selectors, finalizers and preconditions, watches with their history, and faults on demand. Linked instead of the client. */
#ifndef TESTS_FAKE_KUBE_H
#define TESTS_FAKE_KUBE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "osmo/backend/kube.h"

/* Begin with nothing but the namespace kube-system; the kinds of KAI exist if `kai`. */
void fake_kube_reset(bool kai);
/* A client without the driver. */
osmo_kube_t *fake_kube_client(void);
/* Put an object there, whatever was there before; the server gives uid and version. */
void fake_kube_put(const char *json);
/* Merge a patch into an object, as if somebody else did. */
void fake_kube_merge(const char *kind, const char *name, const char *patch);
/* It vanishes, finalizers or not; with `quiet` no watch is told, as if it happened during a gap. */
void fake_kube_vanish(const char *kind, const char *name, bool quiet);
/* The kubelet is done with a pod: it ends as said, and goes if it was deleted. */
void fake_kube_end(const char *pod, const char *phase);
/* Malloc'ed text of an object, or NULL. */
char *fake_kube_text(const char *kind, const char *name);
size_t fake_kube_count(const char *kind);
/* The next `times` calls of that name ("list", "watch", "create", "patch", "remove", "get", "replace", "bind") end with a code. */
void fake_kube_fail(const char *call, int code, const char *text, int times);
/* So many calls of that name there were. */
int fake_kube_calls(const char *call);
/* Forget the history up to now: watches from before get OSMO_EGONE. */
void fake_kube_compact(void);
/* End all watches that run. */
void fake_kube_cut(void);
/* Tell all watches a bookmark: of now, or of a version. */
void fake_kube_bookmark(const char *version);
/* Half of what matches a list is served, then it expires; once. */
void fake_kube_expire_list(void);
/* A kind is not there any more, or is again. */
void fake_kube_without(const char *kind);
#endif
