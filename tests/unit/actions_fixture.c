/* See actions_fixture.h. */
#include "actions_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "model/policy.h"

static const struct entry { const char *action, *methods, *patterns; } entries[] = {
    { "workflow:Create", "POST", "/api/pool/*/workflow /api/pool/*/workflow/*" },
    { "workflow:List", "GET", "/api/workflow /api/task /api/tag" },
    { "workflow:Read", "GET", "/api/workflow/*" },
    { "workflow:Update", "PUT PATCH", "/api/workflow/*" },
    { "workflow:Delete", "DELETE", "/api/workflow/*" },
    { "workflow:Cancel", "POST", "/api/workflow/*/cancel" },
    { "workflow:Exec", "POST WEBSOCKET", "/api/workflow/*/exec /api/workflow/*/exec/*" },
    { "workflow:Exec", "*", "/api/router/exec/*/client/*" },
    { "workflow:PortForward", "*", "/api/workflow/*/portforward/* /api/workflow/*/webserver/* /api/router/portforward/*/client/*" },
    { "workflow:PortForward", "GET", "/api/router/webserver/*" },
    { "workflow:Rsync", "GET", "/api/plugins/configs" },
    { "workflow:Rsync", "POST", "/api/workflow/*/rsync /api/workflow/*/rsync/*" },
    { "workflow:Rsync", "*", "/api/router/rsync/*/client/*" },
    { "pool:List", "GET", "/api/pool /api/pool_quota" },
    { "credentials:Create", "POST", "/api/credentials /api/credentials/*" },
    { "credentials:Read", "GET", "/api/credentials /api/credentials/*" },
    { "credentials:Update", "PUT PATCH", "/api/credentials/*" },
    { "credentials:Delete", "DELETE", "/api/credentials/*" },
    { "profile:Read", "GET", "/api/profile/settings" },
    { "profile:Update", "POST", "/api/profile/settings" },
    { "user:List", "GET", "/api/users" },
    { "app:Create", "POST", "/api/app /api/app/*" },
    { "app:Read", "GET", "/api/app /api/app/*" },
    { "app:Update", "PUT PATCH", "/api/app/*" },
    { "app:Delete", "DELETE", "/api/app/*" },
    { "resources:Read", "GET", "/api/resources /api/resources/*" },
    { "config:Read", "GET", "/api/configs /api/configs/*" },
    { "config:Update", "PUT PATCH", "/api/configs/*" },
    { "auth:Login", "GET", "/api/auth/login /api/auth/keys" },
    { "auth:Refresh", "*", "/api/auth/jwt/refresh_token /api/auth/jwt/access_token" },
    { "auth:Token", "*", "/api/auth/access_token /api/auth/access_token/*" },
    { "auth:Token", "*", "/api/auth/user/*/access_token /api/auth/user/*/access_token/*" },
    { "mcp:Access", "GET POST DELETE", "/mcp" },
    { "system:Health", "*", "/health" },
    { "system:Version", "*", "/api/version /api/router/version /client/version" },
    { "internal:Operator", "*", "/api/agent/listener/* /api/agent/worker/*" },
    { "internal:Logger", "*", "/api/logger/workflow/*/osmo_ctrl/*" },
    { "internal:Router", "*", "/api/router/*/*/backend/*" },
};

static bool word_in(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p++)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return true;
    return false;
}

bool registry_entry(size_t i, const char **action, const char **methods, const char **pattern) {
    static char text[200];
    for (size_t k = 0; k < ARRAY_SIZE(entries); k++)
        for (const char *p = entries[k].patterns; *p; p += strspn(p, " ")) {
            size_t n = strcspn(p, " ");
            if (!i--) {
                snprintf(text, sizeof text, "%.*s", (int)n, p);
                *action = entries[k].action;
                *methods = entries[k].methods;
                *pattern = text;
                return true;
            }
            p += n;
        }
    return false;
}

/* ---- resolution ---- */

static bool fits(const char *pattern, const char *path) {
    while (*pattern && *path) {
        if (*pattern == '*') {
            if (!*path || *path == '/')
                return false;
            if (!pattern[1])
                return true; /* one segment or more */
            pattern++;
            path += strcspn(path, "/");
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return !*pattern && !*path;
}

static int weight(const char *pattern, size_t *first_wildcard) {
    int sum = strchr(pattern, '*') ? 0 : 100;
    size_t i = 0;
    *first_wildcard = 1000;
    for (const char *p = pattern; *p; i++) {
        size_t n = strcspn(++p, "/");
        if (n == 1 && *p == '*')
            *first_wildcard = *first_wildcard == 1000 ? i : *first_wildcard;
        else
            sum += 10 - (int)(i + 1);
        p += n;
    }
    return sum;
}

const char *registry_action(const char *method, const char *path) {
    const char *best = NULL, *action, *methods, *pattern;
    int best_weight = -1;
    size_t best_wildcard = 0, wildcard;
    for (size_t i = 0; registry_entry(i, &action, &methods, &pattern); i++) {
        if ((!str_eq(methods, "*") && !word_in(methods, method)) || !fits(pattern, path))
            continue;
        int w = weight(pattern, &wildcard);
        if (w > best_weight || (w == best_weight && wildcard > best_wildcard)) {
            best = action;
            best_weight = w;
            best_wildcard = wildcard;
        }
    }
    return best;
}

/* ---- policies ---- */

static bool any_action(const json_t *actions, const char *action, bool *universal) {
    bool found = false;
    size_t n = json_str(actions) ? 1 : json_len(actions), word = strcspn(action, ":");
    for (size_t i = 0; i < n; i++) {
        const char *p = json_str(actions) ? json_str(actions) : json_str(json_at(actions, i));
        *universal |= str_eq(p, "*:*");
        found |= str_eq(p, "*:*") || (*action && (str_eq(p, action) || (!strncmp(p, action, word + 1) && str_eq(p + word + 1, "*"))));
    }
    return found;
}

static bool any_resource(const json_t *resources, const char *resource, bool star_counts) {
    size_t n = json_str(resources) ? 1 : json_len(resources);
    if (!*resource)
        return true;
    for (size_t i = 0; i < n; i++) {
        const char *p = json_str(resources) ? json_str(resources) : json_str(json_at(resources, i));
        size_t len = strlen(p);
        if (str_eq(p, "*") ? star_counts : str_eq(p, resource) || (p[len - 1] == '*' && !strncmp(p, resource, len - 1)))
            return true;
    }
    return false;
}

/* The default roles deny nothing. */
static bool role_allows(const char *name, const char *action, const char *resource) {
    bool allowed = false;
    for (size_t i = 0; role_default(i); i++) {
        _cleanup_json_ json_t *v = NULL;
        if (json_parse(role_default(i), strlen(role_default(i)), &v, NULL) < 0 || !str_eq(json_get_str(v, "name"), name))
            continue;
        const json_t *policies = json_get(v, "policies");
        for (size_t k = 0; k < json_len(policies); k++) {
            const json_t *p = json_at(policies, k);
            bool universal = false, does = any_action(json_get(p, "actions"), action, &universal);
            bool star = universal || strcmp(action, "auth:Token");
            allowed |= does && any_resource(json_get(p, "resources"), resource, star);
        }
    }
    return allowed;
}

bool plain_allows(const char *roles, const char *action, const char *resource) {
    strlist_t names = { 0 };
    bool allowed = role_allows("osmo-default", action, resource);
    if (strlist_split(&names, roles, ',') < 0)
        return false;
    for (size_t i = 0; i < names.len; i++)
        allowed |= role_allows(names.items[i], action, resource);
    strlist_free(&names);
    return allowed;
}
