/* The route table: one row a route. Adding a route is one row here and one handler in the file of its noun. */
#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/replicas.h"

/* A specification of 64 MiB, perhaps with its template beside it, as JSON: clients that escape all but ASCII need up to
 * three times their size. */
#define MAX_SPEC_BODY (256u << 20)
#define MAX_OBJECT (1ULL << 40)
#define MAX_CREDENTIAL_BODY (5u << 20) /* what is kept of one, each byte escaped */
#define MAX_CONFIG_BODY (4u << 20)
#define USERS_BODY_MAX (4u << 20)
#define OPEN_EVERYWHERE ROLE_ALL
#define CORE_LOGGER (ROLE_CORE | ROLE_LOGGER)

const struct route api_routes[] = {
    { "GET", "/health", OPEN_EVERYWHERE, ROUTE_OPEN, get_health, ACTION_SYSTEM_HEALTH, SCOPE_NONE, 0 },
    { "GET", "/api/version", ROLE_CORE, ROUTE_OPEN, get_version, ACTION_SYSTEM_VERSION, SCOPE_NONE, 0 },
    { "GET", "/client/version", ROLE_CORE, ROUTE_OPEN, get_client_version, ACTION_SYSTEM_VERSION, SCOPE_NONE, 0 },

    { "GET", "/api/auth/login", CORE_LOGGER, ROUTE_OPEN, get_login_info, ACTION_AUTH_LOGIN, SCOPE_NONE, 0 },
    { "GET", "/api/auth/keys", CORE_LOGGER, ROUTE_OPEN, get_keys, ACTION_AUTH_LOGIN, SCOPE_NONE, 0 },
    { "POST", "/api/auth/jwt/access_token", CORE_LOGGER, ROUTE_OPEN, post_access_token, ACTION_AUTH_REFRESH, SCOPE_NONE, 0 },
    { "GET", "/api/auth/jwt/access_token", CORE_LOGGER, ROUTE_OPEN, get_access_token, ACTION_AUTH_REFRESH, SCOPE_NONE, 0 },
    { "POST", "/api/auth/jwt/refresh_token", CORE_LOGGER, ROUTE_OPEN, post_refresh_token, ACTION_AUTH_REFRESH, SCOPE_NONE, 0 },
    { "GET", "/api/auth/jwt/refresh_token", CORE_LOGGER, ROUTE_OPEN, get_refresh_token, ACTION_AUTH_REFRESH, SCOPE_NONE, 0 },

    { "POST", "/api/auth/keys/rotate", ROLE_CORE, 0, post_rotate_key, ACTION_NONE, SCOPE_NONE, 0 },

    { "GET", "/api/auth/access_token", ROLE_CORE, 0, get_own_tokens, ACTION_AUTH_TOKEN, SCOPE_NONE, 0 },
    { "POST", "/api/auth/access_token/{}", ROLE_CORE, 0, post_own_token, ACTION_AUTH_TOKEN, SCOPE_NONE, 0 },
    { "DELETE", "/api/auth/access_token/{}", ROLE_CORE, 0, delete_own_token, ACTION_AUTH_TOKEN, SCOPE_NONE, 0 },
    { "GET", "/api/auth/access_token/{}/roles", ROLE_CORE, 0, get_own_token_roles, ACTION_AUTH_TOKEN, SCOPE_NONE, 0 },
    { "GET", "/api/auth/user/{}/access_token", ROLE_CORE, 0, get_user_tokens, ACTION_AUTH_TOKEN, SCOPE_USER, 0 },
    { "POST", "/api/auth/user/{}/access_token/{}", ROLE_CORE, 0, post_user_token, ACTION_AUTH_TOKEN, SCOPE_USER, 0 },
    { "DELETE", "/api/auth/user/{}/access_token/{}", ROLE_CORE, 0, delete_user_token, ACTION_AUTH_TOKEN, SCOPE_USER, 0 },

    { "GET", "/api/auth/user", ROLE_CORE, 0, get_auth_users, ACTION_NONE, SCOPE_NONE, 0 },
    { "POST", "/api/auth/user", ROLE_CORE, 0, post_auth_user, ACTION_NONE, SCOPE_NONE, 0 },
    { "GET", "/api/auth/user/{}", ROLE_CORE, 0, get_auth_user, ACTION_NONE, SCOPE_NONE, 0 },
    { "DELETE", "/api/auth/user/{}", ROLE_CORE, 0, delete_auth_user, ACTION_NONE, SCOPE_NONE, 0 },
    { "GET", "/api/auth/user/{}/roles", ROLE_CORE, 0, get_user_roles, ACTION_NONE, SCOPE_NONE, 0 },
    { "POST", "/api/auth/user/{}/roles", ROLE_CORE, 0, post_user_role, ACTION_NONE, SCOPE_NONE, 0 },
    { "DELETE", "/api/auth/user/{}/roles/{}", ROLE_CORE, 0, delete_user_role, ACTION_NONE, SCOPE_NONE, 0 },
    { "GET", "/api/auth/roles/{}/users", ROLE_CORE, 0, get_role_users, ACTION_NONE, SCOPE_NONE, 0 },
    { "POST", "/api/auth/roles/{}/users", ROLE_CORE, 0, post_role_users, ACTION_NONE, SCOPE_NONE, USERS_BODY_MAX },

    { "GET", "/api/profile/settings", ROLE_CORE, 0, get_profile, ACTION_PROFILE_READ, SCOPE_NONE, 0 },
    { "POST", "/api/profile/settings", ROLE_CORE, 0, post_profile, ACTION_PROFILE_UPDATE, SCOPE_NONE, 0 },

    { "GET", "/api/pool", ROLE_CORE, 0, get_pools, ACTION_POOL_LIST, SCOPE_NONE, 0 },
    { "GET", "/api/pool_quota", ROLE_CORE, 0, get_pool_quota, ACTION_POOL_LIST, SCOPE_NONE, 0 },
    { "GET", "/api/resources", ROLE_CORE, 0, get_resources, ACTION_RESOURCES_READ, SCOPE_NONE, 0 },
    { "GET", "/api/resources/{}", ROLE_CORE, 0, get_resource, ACTION_RESOURCES_READ, SCOPE_NONE, 0 },
    { "POST", "/api/pool/{}/workflow", ROLE_CORE, 0, post_workflow, ACTION_WORKFLOW_CREATE, SCOPE_POOL, MAX_SPEC_BODY },
    { "POST", "/api/pool/{}/workflow/{}/restart", ROLE_CORE, 0, post_restart, ACTION_WORKFLOW_CREATE, SCOPE_POOL, 0 },

    { "GET", "/api/workflow", ROLE_CORE, 0, list_workflows, ACTION_WORKFLOW_LIST, SCOPE_NONE, 0 },
    { "GET", "/api/workflow/{}", ROLE_CORE, 0, get_workflow, ACTION_WORKFLOW_READ, SCOPE_WORKFLOW, 0 },
    { "GET", "/api/workflow/{}/task/{}", ROLE_CORE, 0, get_workflow_task, ACTION_WORKFLOW_READ, SCOPE_WORKFLOW, 0 },
    { "POST", "/api/workflow/{}/cancel", ROLE_CORE, 0, post_cancel, ACTION_WORKFLOW_CANCEL, SCOPE_WORKFLOW, 0 },
    { "POST", "/api/workflow/{}/tag", ROLE_CORE, 0, post_tag, ACTION_WORKFLOW_UPDATE, SCOPE_WORKFLOW, 0 },
    { "GET", "/api/workflow/{}/logs", ROLE_CORE, 0, get_logs, ACTION_WORKFLOW_READ, SCOPE_WORKFLOW, 0 },
    { "GET", "/api/workflow/{}/events", ROLE_CORE, 0, get_events, ACTION_WORKFLOW_READ, SCOPE_WORKFLOW, 0 },
    { "GET", "/api/workflow/{}/error_logs", ROLE_CORE, 0, get_error_logs, ACTION_WORKFLOW_READ, SCOPE_WORKFLOW, 0 },
    { "GET", "/api/workflow/{}/spec", ROLE_CORE, 0, get_spec, ACTION_WORKFLOW_READ, SCOPE_WORKFLOW, 0 },
    { "GET", "/api/workflow/{}/explain", ROLE_CORE, 0, get_explain, ACTION_WORKFLOW_READ, SCOPE_WORKFLOW, 0 },
    { "GET", "/api/workflow/{}/watch", ROLE_CORE, 0, watch_workflow, ACTION_WORKFLOW_READ, SCOPE_WORKFLOW, 0 },
    { "POST", "/api/workflow/{}/exec/task/{}", ROLE_CORE, 0, post_exec_task, ACTION_WORKFLOW_EXEC, SCOPE_WORKFLOW, 0 },
    { "POST", "/api/workflow/{}/exec/group/{}", ROLE_CORE, 0, post_exec_group, ACTION_WORKFLOW_EXEC, SCOPE_WORKFLOW, 0 },
    { "POST", "/api/workflow/{}/portforward/{}", ROLE_CORE, 0, post_portforward, ACTION_WORKFLOW_PORT_FORWARD, SCOPE_WORKFLOW, 0 },
    { "POST", "/api/workflow/{}/webserver/{}", ROLE_CORE, 0, post_webserver, ACTION_WORKFLOW_PORT_FORWARD, SCOPE_WORKFLOW, 0 },
    { "POST", "/api/workflow/{}/rsync/task/{}", ROLE_CORE, 0, post_rsync_task, ACTION_WORKFLOW_RSYNC, SCOPE_WORKFLOW, 0 },
    { "GET", "/api/task", ROLE_CORE, 0, list_tasks, ACTION_WORKFLOW_LIST, SCOPE_NONE, 0 },
    { "GET", "/api/tag", ROLE_CORE, 0, get_tags, ACTION_WORKFLOW_LIST, SCOPE_NONE, 0 },

    { "GET", "/api/work/dead", ROLE_CORE, 0, get_dead_work, ACTION_NONE, SCOPE_NONE, 0 },
    { "POST", "/api/work/dead/{}/retry", ROLE_CORE, 0, post_dead_retry, ACTION_NONE, SCOPE_NONE, 0 },

    { "GET", "/api/users", ROLE_CORE, 0, get_users, ACTION_USER_LIST, SCOPE_NONE, 0 },
    { "GET", "/api/plugins/configs", ROLE_CORE, 0, get_plugin_configs, ACTION_WORKFLOW_RSYNC, SCOPE_SOME_POOL, 0 },
    { "GET", "/api/credentials", ROLE_CORE, 0, get_credentials, ACTION_CREDENTIALS_READ, SCOPE_NONE, 0 },
    { "POST", "/api/credentials/{}", ROLE_CORE, 0, post_credential, ACTION_CREDENTIALS_CREATE, SCOPE_NONE, MAX_CREDENTIAL_BODY },
    { "DELETE", "/api/credentials/{}", ROLE_CORE, 0, delete_credential, ACTION_CREDENTIALS_DELETE, SCOPE_NONE, 0 },
    { "GET", "/api/configs/backend", ROLE_CORE, 0, get_backends, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "GET", "/api/configs/backend/{}", ROLE_CORE, 0, get_backend, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "POST", "/api/configs/backend/{}", ROLE_CORE, 0, post_backend, ACTION_NONE, SCOPE_NONE, MAX_CONFIG_BODY },
    { "DELETE", "/api/configs/backend/{}", ROLE_CORE, 0, delete_backend, ACTION_NONE, SCOPE_NONE, MAX_CONFIG_BODY },
    { "GET", "/api/configs/backend_test", ROLE_CORE, 0, get_config_tests, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "PUT", "/api/configs/backend_test", ROLE_CORE, 0, put_config_tests, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "GET", "/api/configs/backend_test/{}", ROLE_CORE, 0, get_config_test, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "PUT", "/api/configs/backend_test/{}", ROLE_CORE, 0, put_config_test, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "PATCH", "/api/configs/backend_test/{}", ROLE_CORE, 0, patch_config_test, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "DELETE", "/api/configs/backend_test/{}", ROLE_CORE, 0, delete_config_test, ACTION_NONE, SCOPE_NONE, MAX_CONFIG_BODY },
    { "GET", "/api/configs/service", ROLE_CORE, 0, get_config_service, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "GET", "/api/configs/workflow", ROLE_CORE, 0, get_config_workflow, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    /* Taking objects away is for those who may do everything. */
    { "GET", "/api/configs/pool", ROLE_CORE, 0, get_config_pools, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "PUT", "/api/configs/pool", ROLE_CORE, 0, put_config_pools, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "GET", "/api/configs/pool/{}", ROLE_CORE, 0, get_config_pool, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "PUT", "/api/configs/pool/{}", ROLE_CORE, 0, put_config_pool, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "PATCH", "/api/configs/pool/{}", ROLE_CORE, 0, patch_config_pool, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "DELETE", "/api/configs/pool/{}", ROLE_CORE, 0, delete_config_pool, ACTION_NONE, SCOPE_NONE, MAX_CONFIG_BODY },
    { "PUT", "/api/configs/pool/{}/rename", ROLE_CORE, 0, put_config_pool_rename, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "GET", "/api/configs/pool/{}/platform", ROLE_CORE, 0, get_config_platforms, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "GET", "/api/configs/pool/{}/platform/{}", ROLE_CORE, 0, get_config_platform, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "PUT", "/api/configs/pool/{}/platform/{}", ROLE_CORE, 0, put_config_platform, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "PUT", "/api/configs/pool/{}/platform/{}/rename", ROLE_CORE, 0, put_config_platform_rename, ACTION_CONFIG_UPDATE,
        SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "GET", "/api/configs/role", ROLE_CORE, 0, get_config_roles, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "PUT", "/api/configs/role", ROLE_CORE, 0, put_config_roles, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "GET", "/api/configs/role/{}", ROLE_CORE, 0, get_config_role, ACTION_CONFIG_READ, SCOPE_CONFIG, 0 },
    { "PUT", "/api/configs/role/{}", ROLE_CORE, 0, put_config_role, ACTION_CONFIG_UPDATE, SCOPE_CONFIG, MAX_CONFIG_BODY },
    { "DELETE", "/api/configs/role/{}", ROLE_CORE, 0, delete_config_role, ACTION_NONE, SCOPE_NONE, MAX_CONFIG_BODY },

    { "GET", "/api/storage/{}/{}", ROLE_CORE, 0, get_storage_list, ACTION_WORKFLOW_READ, SCOPE_STORAGE, 0 },
    { "GET", "/api/storage/{}/{}/{}", ROLE_CORE, ROUTE_REST, get_storage_object, ACTION_WORKFLOW_READ, SCOPE_STORAGE, 0 },
    { "PUT", "/api/storage/{}/{}/{}", ROLE_CORE, ROUTE_REST | ROUTE_BODY_FILE, put_storage_object, ACTION_NONE, SCOPE_STORAGE, MAX_OBJECT },
    { "POST", "/api/storage/{}/{}", ROLE_CORE, 0, post_storage_commit, ACTION_NONE, SCOPE_STORAGE, 0 },

    /* Other replicas prove themselves by a signature of their own. */
    { "POST", REPLICA_PATH, OPEN_EVERYWHERE, ROUTE_OPEN, post_replica, ACTION_NONE, SCOPE_NONE, REPLICA_BODY_MAX },

    { "GET", "/api/router/version", ROLE_ROUTER, ROUTE_OPEN, get_router_version, ACTION_SYSTEM_VERSION, SCOPE_NONE, 0 },
    { "GET", "/api/router/webserver/{}", ROLE_ROUTER, 0, get_router_webserver, ACTION_WORKFLOW_PORT_FORWARD, SCOPE_NONE, 0 },
};
const size_t api_route_count = ARRAY_SIZE(api_routes);
