/* The handlers behind api/routes.c, by the file that holds them, and what these files share. */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H
#include "api/route.h"
#include "store/repo_auth.h"

/* system_routes.c */
int get_health(struct call *c, osmo_error_t *err);
int get_version(struct call *c, osmo_error_t *err);
int get_client_version(struct call *c, osmo_error_t *err);
int get_tags(struct call *c, osmo_error_t *err);
int post_tag(struct call *c, osmo_error_t *err);
int get_users(struct call *c, osmo_error_t *err);
int get_plugin_configs(struct call *c, osmo_error_t *err);
json_t *rsync_config_json(const struct rsync_settings *r); /* NULL: no memory */
/* router_routes.c */
int post_exec_task(struct call *c, osmo_error_t *err);
int post_exec_group(struct call *c, osmo_error_t *err);
int post_portforward(struct call *c, osmo_error_t *err);
int post_webserver(struct call *c, osmo_error_t *err);
int post_rsync_task(struct call *c, osmo_error_t *err);
int get_router_version(struct call *c, osmo_error_t *err);
int get_router_webserver(struct call *c, osmo_error_t *err);
/* auth_routes.c */
int get_login_info(struct call *c, osmo_error_t *err);
int get_keys(struct call *c, osmo_error_t *err);
int post_access_token(struct call *c, osmo_error_t *err);
int get_access_token(struct call *c, osmo_error_t *err);
int post_refresh_token(struct call *c, osmo_error_t *err);
int get_refresh_token(struct call *c, osmo_error_t *err);
/* key_routes.c */
int post_rotate_key(struct call *c, osmo_error_t *err);
/* user_routes.c */
int get_auth_users(struct call *c, osmo_error_t *err);
int post_auth_user(struct call *c, osmo_error_t *err);
int get_auth_user(struct call *c, osmo_error_t *err);
int delete_auth_user(struct call *c, osmo_error_t *err);
int get_user_roles(struct call *c, osmo_error_t *err);
int post_user_role(struct call *c, osmo_error_t *err);
int delete_user_role(struct call *c, osmo_error_t *err);
int get_role_users(struct call *c, osmo_error_t *err);
int post_role_users(struct call *c, osmo_error_t *err);
/* [{role_name, assigned_by, assigned_at}] as member `key`; 0 or OSMO_ENOMEM. */
int assignments_json(json_t *o, const char *key, const struct assignment_row *rows, size_t n);
/* token_routes.c */
int get_own_tokens(struct call *c, osmo_error_t *err);
int post_own_token(struct call *c, osmo_error_t *err);
int delete_own_token(struct call *c, osmo_error_t *err);
int get_own_token_roles(struct call *c, osmo_error_t *err);
int get_user_tokens(struct call *c, osmo_error_t *err);
int post_user_token(struct call *c, osmo_error_t *err);
int delete_user_token(struct call *c, osmo_error_t *err);
/* credential_routes.c */
int get_credentials(struct call *c, osmo_error_t *err);
int post_credential(struct call *c, osmo_error_t *err);
int delete_credential(struct call *c, osmo_error_t *err);
/* profile_routes.c */
int get_profile(struct call *c, osmo_error_t *err);
int post_profile(struct call *c, osmo_error_t *err);
/* pool_routes.c, resource_routes.c, config_routes.c */
int get_pools(struct call *c, osmo_error_t *err);
int get_pool_quota(struct call *c, osmo_error_t *err);
int get_resources(struct call *c, osmo_error_t *err);
int get_resource(struct call *c, osmo_error_t *err);
int get_backends(struct call *c, osmo_error_t *err);
int get_backend(struct call *c, osmo_error_t *err);
int post_backend(struct call *c, osmo_error_t *err);
int delete_backend(struct call *c, osmo_error_t *err);
/* config_test_routes.c */
int get_config_tests(struct call *c, osmo_error_t *err);
int get_config_test(struct call *c, osmo_error_t *err);
int put_config_tests(struct call *c, osmo_error_t *err);
int put_config_test(struct call *c, osmo_error_t *err);
int patch_config_test(struct call *c, osmo_error_t *err);
int delete_config_test(struct call *c, osmo_error_t *err);
/* config_pool_routes.c */
int get_config_pools(struct call *c, osmo_error_t *err);
int put_config_pools(struct call *c, osmo_error_t *err);
int get_config_pool(struct call *c, osmo_error_t *err);
int put_config_pool(struct call *c, osmo_error_t *err);
int patch_config_pool(struct call *c, osmo_error_t *err);
int delete_config_pool(struct call *c, osmo_error_t *err);
int put_config_pool_rename(struct call *c, osmo_error_t *err);
int get_config_platforms(struct call *c, osmo_error_t *err);
int get_config_platform(struct call *c, osmo_error_t *err);
int put_config_platform(struct call *c, osmo_error_t *err);
int put_config_platform_rename(struct call *c, osmo_error_t *err);
/* config_service_routes.c */
int get_config_service(struct call *c, osmo_error_t *err);
int get_config_workflow(struct call *c, osmo_error_t *err);
/* config_role_routes.c */
int get_config_roles(struct call *c, osmo_error_t *err);
int put_config_roles(struct call *c, osmo_error_t *err);
int get_config_role(struct call *c, osmo_error_t *err);
int put_config_role(struct call *c, osmo_error_t *err);
int delete_config_role(struct call *c, osmo_error_t *err);
/* submit_routes.c */
int post_workflow(struct call *c, osmo_error_t *err);
int post_restart(struct call *c, osmo_error_t *err);
/* workflow_routes.c */
int list_workflows(struct call *c, osmo_error_t *err);
int get_workflow(struct call *c, osmo_error_t *err);
int get_workflow_task(struct call *c, osmo_error_t *err);
int post_cancel(struct call *c, osmo_error_t *err);
/* log_routes.c */
int get_logs(struct call *c, osmo_error_t *err);
int get_events(struct call *c, osmo_error_t *err);
int get_error_logs(struct call *c, osmo_error_t *err);
int get_spec(struct call *c, osmo_error_t *err);
int watch_workflow(struct call *c, osmo_error_t *err);
/* explain_routes.c */
int get_explain(struct call *c, osmo_error_t *err);
int get_dead_work(struct call *c, osmo_error_t *err);
int post_dead_retry(struct call *c, osmo_error_t *err);
/* replica_routes.c */
int post_replica(struct call *c, osmo_error_t *err);
/* task_routes.c */
int list_tasks(struct call *c, osmo_error_t *err);
/* storage_routes.c */
int get_storage_list(struct call *c, osmo_error_t *err);
int get_storage_object(struct call *c, osmo_error_t *err);
int put_storage_object(struct call *c, osmo_error_t *err);
int post_storage_commit(struct call *c, osmo_error_t *err);

/* Shared: a workflow by id or uuid, DATABASE error with a clear text when unknown. */
int call_workflow(struct call *c, const char *id, struct workflow_row *out, osmo_error_t *err);
/* One task's attempt (-1 latest), DATABASE error when unknown. */
int call_task(struct call *c, const struct workflow_row *w, const char *task, int64_t retry_id, struct task_row *out,
              osmo_error_t *err);

/* workflow_filter.c: users, pools, statuses, priority, order, offset, limit of the two list routes. */
int filter_read(struct call *c, struct workflow_filter *f, osmo_error_t *err);
void filter_clear(struct workflow_filter *f);

/* node_view.c: which nodes serve which pools. */
struct node_set {
    struct node_row *nodes; size_t n;
    json_t **labels, **taints;             /* parsed once per node */
};
int node_set_load(struct call *c, struct node_set *out, osmo_error_t *err);
void node_set_clear(struct node_set *s);
bool node_serves_platform(const struct node_set *s, size_t node, const struct pool *p, const struct platform *pl);
bool node_serves_pool(const struct node_set *s, size_t node, const struct pool *p);
#define BACKEND_ONLINE_US (120LL * 1000000) /* without a heartbeat for so long it is offline */
int backends_online(struct call *c, strlist_t *online, osmo_error_t *err);

/* config_pool_routes.c: the body of a write under /api/configs. *payload: what is under `member`, of this kind; beside it there may be a
 * description and tags, which nobody reads. The 422 answer is filled otherwise. The second is for routes without a payload, which may have
 * no body at all. */
int config_payload(struct call *c, const char *member, enum json_kind kind, json_t **body, json_t **payload, osmo_error_t *err);
int config_remark(struct call *c, osmo_error_t *err);
#endif
