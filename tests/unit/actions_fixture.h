/* What must come out, said once more and in another way than the library says it: the registry of actions as OSMO 6.4 has it, with its
 * resolution of paths, and a plain reading of policies over the documents of the default roles. For test_routes and test_matrix. */
#ifndef TESTS_ACTIONS_FIXTURE_H
#define TESTS_ACTIONS_FIXTURE_H
#include <stdbool.h>
#include <stddef.h>

/* "workflow:Create"; NULL when the registry knows no action. */
const char *registry_action(const char *method, const char *path);
/* The i-th pattern with all that may ask for it; false behind the last. methods: "GET POST", or "*". */
bool registry_entry(size_t i, const char **action, const char **methods, const char **pattern);
/* May somebody with these default roles (a comma list; osmo-default is added) do it? action "" is one outside of the registry, resource
 * "" none. */
bool plain_allows(const char *roles, const char *action, const char *resource);
#endif
