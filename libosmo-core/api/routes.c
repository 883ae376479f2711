/* The route table: one row a route. Adding a route is one row here and one handler in the file of its noun. */
#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/replicas.h"

/* A specification of 64 MiB, perhaps with its template beside it, as JSON: clients that escape all but ASCII need up to
 * three times their size. */
#define MAX_SPEC_BODY (256u << 20)
#define MAX_OBJECT (1ULL << 40)
#define OPEN_EVERYWHERE ROLE_ALL

const struct route api_routes[] = {
    { "GET", "/health", OPEN_EVERYWHERE, ROUTE_OPEN, get_health, "system:Health", 0 },
    { "GET", "/api/version", ROLE_CORE, ROUTE_OPEN, get_version, "system:Version", 0 },
    { "GET", "/client/version", ROLE_CORE, ROUTE_OPEN, get_client_version, "system:Version", 0 },

    { "GET", "/api/auth/login", ROLE_CORE | ROLE_LOGGER, ROUTE_OPEN, get_login_info, "auth:Login", 0 },
    { "GET", "/api/auth/keys", ROLE_CORE | ROLE_LOGGER, ROUTE_OPEN, get_keys, "auth:Login", 0 },
    { "POST", "/api/auth/jwt/access_token", ROLE_CORE | ROLE_LOGGER, ROUTE_OPEN, post_access_token, "auth:Refresh", 0 },
    { "GET", "/api/auth/jwt/access_token", ROLE_CORE | ROLE_LOGGER, ROUTE_OPEN, get_access_token, "auth:Refresh", 0 },
    { "POST", "/api/auth/jwt/refresh_token", ROLE_CORE | ROLE_LOGGER, ROUTE_OPEN, post_refresh_token, "auth:Refresh",
        0 },
    { "GET", "/api/auth/jwt/refresh_token", ROLE_CORE | ROLE_LOGGER, ROUTE_OPEN, get_refresh_token, "auth:Refresh", 0 },

    { "GET", "/api/profile/settings", ROLE_CORE, ROUTE_EVERYONE, get_profile, "profile:Read", 0 },
    { "POST", "/api/profile/settings", ROLE_CORE, ROUTE_EVERYONE, post_profile, "profile:Update", 0 },

    { "GET", "/api/pool", ROLE_CORE, ROUTE_BACKEND, get_pools, "pool:List", 0 },
    { "GET", "/api/pool_quota", ROLE_CORE, ROUTE_BACKEND, get_pool_quota, "pool:List", 0 },
    { "GET", "/api/resources", ROLE_CORE, 0, get_resources, "resources:Read", 0 },
    { "GET", "/api/resources/{}", ROLE_CORE, 0, get_resource, "resources:Read", 0 },
    { "POST", "/api/pool/{}/workflow", ROLE_CORE, 0, post_workflow, "workflow:Create", MAX_SPEC_BODY },
    { "POST", "/api/pool/{}/workflow/{}/restart", ROLE_CORE, 0, post_restart, "workflow:Create", 0 },

    { "GET", "/api/workflow", ROLE_CORE, 0, list_workflows, "workflow:List", 0 },
    { "GET", "/api/workflow/{}", ROLE_CORE, 0, get_workflow, "workflow:Read", 0 },
    { "GET", "/api/workflow/{}/task/{}", ROLE_CORE, 0, get_workflow_task, "workflow:Read", 0 },
    { "POST", "/api/workflow/{}/cancel", ROLE_CORE, 0, post_cancel, "workflow:Cancel", 0 },
    { "POST", "/api/workflow/{}/tag", ROLE_CORE, 0, post_tag, "workflow:Create", 0 },
    { "GET", "/api/workflow/{}/logs", ROLE_CORE, 0, get_logs, "workflow:Read", 0 },
    { "GET", "/api/workflow/{}/events", ROLE_CORE, 0, get_events, "workflow:Read", 0 },
    { "GET", "/api/workflow/{}/error_logs", ROLE_CORE, 0, get_error_logs, "workflow:Read", 0 },
    { "GET", "/api/workflow/{}/spec", ROLE_CORE, 0, get_spec, "workflow:Read", 0 },
    { "GET", "/api/workflow/{}/explain", ROLE_CORE, 0, get_explain, "workflow:Read", 0 },
    { "GET", "/api/workflow/{}/watch", ROLE_CORE, 0, watch_workflow, "workflow:Read", 0 },
    { "GET", "/api/task", ROLE_CORE, 0, list_tasks, "workflow:List", 0 },
    { "GET", "/api/tag", ROLE_CORE, 0, get_tags, "workflow:List", 0 },

    { "GET", "/api/work/dead", ROLE_CORE, ROUTE_ADMIN, get_dead_work, "work:List", 0 },
    { "POST", "/api/work/dead/{}/retry", ROLE_CORE, ROUTE_ADMIN, post_dead_retry, "work:Retry", 0 },

    { "GET", "/api/users", ROLE_CORE, 0, get_users, "user:List", 0 },
    { "GET", "/api/plugins/configs", ROLE_CORE, 0, get_plugin_configs, "workflow:Rsync", 0 },
    { "GET", "/api/credentials", ROLE_CORE, 0, get_credentials, "credentials:Read", 0 },
    { "GET", "/api/configs/backend", ROLE_CORE, ROUTE_ADMIN | ROUTE_BACKEND, get_backends, "config:Read", 0 },
    { "GET", "/api/configs/backend/{}", ROLE_CORE, ROUTE_ADMIN | ROUTE_BACKEND, get_backend, "config:Read", 0 },

    { "GET", "/api/storage/{}/{}", ROLE_CORE, ROUTE_TASK, get_storage_list, "storage:Read", 0 },
    { "GET", "/api/storage/{}/{}/{}", ROLE_CORE, ROUTE_TASK | ROUTE_REST, get_storage_object, "storage:Read", 0 },
    { "PUT", "/api/storage/{}/{}/{}", ROLE_CORE, ROUTE_TASK | ROUTE_REST | ROUTE_BODY_FILE, put_storage_object,
        "storage:Write", MAX_OBJECT },
    { "POST", "/api/storage/{}/{}", ROLE_CORE, ROUTE_TASK, post_storage_commit, "storage:Write", 0 },

    { "POST", REPLICA_PATH, OPEN_EVERYWHERE, ROUTE_OPEN, post_replica, "internal:Replica", REPLICA_BODY_MAX },

    { "GET", "/api/router/{}", ROLE_ROUTER, ROUTE_OPEN | ROUTE_REST, any_router, "internal:Router", 0 },
    { "POST", "/api/router/{}", ROLE_ROUTER, ROUTE_OPEN | ROUTE_REST, any_router, "internal:Router", 0 },
};
const size_t api_route_count = ARRAY_SIZE(api_routes);
