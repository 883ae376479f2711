/* The schema. Times are microseconds UTC with 0 for "not set"; flags are 0 and 1; statuses are the numbers of
 * model/status.h. What changes with every event (counters, statuses) is kept apart from what is large (specs,
 * files), so that an event rewrites a few hundred bytes.
 *
 * There are no foreign keys. The rows of a workflow are written by one function and removed by one function; groups and
 * tasks of a large one are there before its own row, which makes them visible, and checking each of a hundred thousand
 * rows against a row that the same function has just written would take longer than writing them. */
#include "store/schema.h"
#include "base/cleanup.h"
#include "model/status.h"

/* Partial indexes and queries say `status < 7` for "task not finished". */
_Static_assert(STATUS_RUNNING == 6 && STATUS_COMPLETED == 7, "unfinished task statuses are those below 7");

static const char workflows_sql[] =
    "CREATE TABLE workflows ("
    " uuid TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, job_id BIGINT NOT NULL,"
    " user_name TEXT, cancelled_by TEXT, pool TEXT, backend TEXT, priority TEXT, outputs TEXT, failure_message TEXT,"
    " labels_json TEXT, parent_name TEXT, parent_job_id BIGINT NOT NULL,"
    " submit_us BIGINT NOT NULL, exec_timeout_us BIGINT NOT NULL, queue_timeout_us BIGINT NOT NULL,"
    " status BIGINT NOT NULL, groups_total BIGINT NOT NULL, groups_unfinished BIGINT NOT NULL, groups_running "
    "BIGINT NOT NULL,"
    " groups_canceled BIGINT NOT NULL, groups_server_error BIGINT NOT NULL, groups_exec_timeout BIGINT NOT NULL,"
    " groups_queue_timeout BIGINT NOT NULL, groups_failed BIGINT NOT NULL, groups_failed_upstream BIGINT NOT NULL,"
    " failed_kind BIGINT NOT NULL, failed_mixed BIGINT NOT NULL, start_us BIGINT NOT NULL, end_us BIGINT NOT NULL,"
    " cancel_requested BIGINT NOT NULL, archived BIGINT NOT NULL, groups_uncleaned BIGINT NOT NULL,"
    " UNIQUE (name, job_id)){end};"
    "CREATE INDEX workflows_by_time ON workflows (submit_us, id);"
    "CREATE INDEX workflows_by_status ON workflows (status, submit_us);"
    "CREATE INDEX workflows_by_user ON workflows (user_name, submit_us);"
    "CREATE INDEX workflows_by_pool ON workflows (pool, status, submit_us);"
    "CREATE TABLE workflow_labels ("
    " workflow_uuid TEXT NOT NULL, label_key TEXT NOT NULL, "
    "label_value TEXT NOT NULL,"
    " PRIMARY KEY (workflow_uuid, label_key)){end};"
    "CREATE INDEX workflow_labels_by_value ON workflow_labels (label_key, label_value, workflow_uuid);"
    "CREATE TABLE workflow_files ("
    " workflow_uuid TEXT NOT NULL, path TEXT NOT NULL, content "
    "{blob} NOT NULL,"
    " PRIMARY KEY (workflow_uuid, path)){end};";

static const char groups_sql[] =
    "CREATE TABLE workflow_groups ("
    " uuid TEXT NOT NULL PRIMARY KEY, workflow_uuid TEXT NOT NULL,"
    " name TEXT NOT NULL, ordinal BIGINT NOT NULL, failure_message TEXT, status BIGINT NOT NULL, ignore_nonlead "
    "BIGINT NOT NULL,"
    " tasks_total BIGINT NOT NULL, tasks_unfinished BIGINT NOT NULL, tasks_running BIGINT NOT NULL, "
    "tasks_finished BIGINT NOT NULL,"
    " failed_upstream BIGINT NOT NULL, failed_server_error BIGINT NOT NULL, failed_preempted BIGINT NOT NULL,"
    " considered_evicted BIGINT NOT NULL, considered_failed BIGINT NOT NULL, remaining_upstream BIGINT NOT NULL,"
    " processing_us BIGINT NOT NULL, scheduling_us BIGINT NOT NULL, initializing_us BIGINT NOT NULL,"
    " start_us BIGINT NOT NULL, end_us BIGINT NOT NULL, cleaned_up BIGINT NOT NULL,"
    " exec_generation BIGINT NOT NULL, queue_generation BIGINT NOT NULL){end};"
    "CREATE INDEX workflow_groups_by_ordinal ON workflow_groups (workflow_uuid, ordinal);"
    "CREATE TABLE group_specs ("
    " group_uuid TEXT NOT NULL PRIMARY KEY, spec_json TEXT){end};"
    "CREATE TABLE group_edges ("
    " workflow_uuid TEXT NOT NULL, upstream_uuid TEXT NOT NULL,"
    " downstream_uuid TEXT NOT NULL,"
    " PRIMARY KEY (upstream_uuid, downstream_uuid)){end};"
    "CREATE INDEX group_edges_by_workflow ON group_edges (workflow_uuid);"
    "CREATE TABLE tasks ("
    " task_key TEXT NOT NULL, uuid TEXT NOT NULL, workflow_uuid TEXT NOT NULL,"
    " group_uuid TEXT NOT NULL,"
    " name TEXT NOT NULL, ordinal BIGINT NOT NULL, retry_id BIGINT NOT NULL, is_lead BIGINT NOT NULL,"
    " cpu {real} NOT NULL, gpu {real} NOT NULL, memory_gib {real} NOT NULL, storage_gib {real} NOT NULL, "
    "exit_actions_json TEXT,"
    " status BIGINT NOT NULL, exit_code BIGINT NOT NULL, failure_message TEXT, node_name TEXT, pod_name TEXT, "
    "pod_ip TEXT,"
    " scheduling_us BIGINT NOT NULL, initializing_us BIGINT NOT NULL, start_us BIGINT NOT NULL, end_us BIGINT NOT NULL,"
    " heartbeat_us BIGINT NOT NULL, input_download_start_us BIGINT NOT NULL, input_download_end_us BIGINT NOT NULL,"
    " output_upload_start_us BIGINT NOT NULL, output_upload_end_us BIGINT NOT NULL,"
    " PRIMARY KEY (uuid, retry_id), UNIQUE (workflow_uuid, name, retry_id)){end};"
    "CREATE INDEX tasks_by_group ON tasks (group_uuid, ordinal);"
    "CREATE INDEX tasks_by_pod ON tasks (pod_name) WHERE pod_name IS NOT NULL;"
    "CREATE INDEX tasks_by_node ON tasks (node_name) WHERE node_name IS NOT NULL AND status < 7;";

static const char flow_sql[] =
    "CREATE TABLE history ("
    " id {id}, workflow_uuid TEXT NOT NULL, subject TEXT NOT NULL, from_status BIGINT NOT NULL, to_status "
    "BIGINT NOT NULL,"
    " cause TEXT, at_us BIGINT NOT NULL){end};"
    "CREATE INDEX history_by_workflow ON history (workflow_uuid, id);"
    /* due_us is the later of run_at_us and lease_until_us; backend '' is the worker role */
    "CREATE TABLE work ("
    " id {id}, kind TEXT NOT NULL, work_key TEXT NOT NULL, workflow_uuid TEXT NOT NULL, backend TEXT NOT NULL, "
    "payload_json TEXT,"
    " last_error TEXT, priority BIGINT NOT NULL, run_at_us BIGINT NOT NULL, lease_until_us BIGINT NOT NULL, "
    "due_us BIGINT NOT NULL,"
    " attempts BIGINT NOT NULL, owner TEXT, dead BIGINT NOT NULL, UNIQUE (kind, work_key)){end};"
    "CREATE INDEX work_to_claim ON work (backend, priority, id, due_us) WHERE dead = 0;"
    "CREATE INDEX work_by_due ON work (due_us) WHERE dead = 0;"
    "CREATE INDEX work_by_owner ON work (owner) WHERE owner IS NOT NULL;"
    "CREATE INDEX work_by_workflow ON work (workflow_uuid);"
    "CREATE TABLE timers ("
    " id {id}, kind TEXT NOT NULL, workflow_uuid TEXT NOT NULL, subject TEXT NOT NULL, generation BIGINT NOT "
    "NULL, due_us BIGINT NOT NULL,"
    " UNIQUE (kind, subject)){end};"
    "CREATE INDEX timers_by_due ON timers (due_us, id);"
    "CREATE INDEX timers_by_workflow ON timers (workflow_uuid);"
    "CREATE TABLE events ("
    " id {id}, workflow_uuid TEXT NOT NULL, task TEXT NOT NULL, retry_id BIGINT NOT NULL, at_us BIGINT NOT "
    "NULL, content TEXT NOT NULL){end};"
    "CREATE INDEX events_by_workflow ON events (workflow_uuid, id);"
    "CREATE TABLE barrier_members ("
    " group_uuid TEXT NOT NULL, barrier TEXT NOT NULL, task TEXT NOT NULL, PRIMARY KEY (group_uuid, barrier, "
    "task)){end};";

/* Every report about a pod asks what is known of its task; the other index answers for the whole workflow. */
static const char events_by_task_sql[] = "CREATE INDEX events_by_task ON events (workflow_uuid, task, retry_id, id);";

static const char cluster_sql[] =
    "CREATE TABLE backends ("
    " name TEXT NOT NULL PRIMARY KEY, k8s_uid TEXT, k8s_namespace TEXT, version TEXT, node_prefix TEXT,"
    " heartbeat_us BIGINT NOT NULL, created_us BIGINT NOT NULL){end};"
    "CREATE TABLE nodes ("
    " backend TEXT NOT NULL, name TEXT NOT NULL, available BIGINT NOT NULL, allocatable_json TEXT, labels_json "
    "TEXT, taints_json TEXT,"
    " conditions_json TEXT, usage_json TEXT, foreign_usage_json TEXT, PRIMARY KEY (backend, name)){end};";

static const char identity_sql[] =
    "CREATE TABLE kv (name TEXT NOT NULL PRIMARY KEY, content TEXT NOT NULL){end};"
    "CREATE TABLE users (name TEXT NOT NULL PRIMARY KEY, created_by TEXT, created_us BIGINT NOT NULL){end};"
    "CREATE TABLE user_roles ("
    " user_name TEXT NOT NULL, role TEXT NOT NULL, assigned_by TEXT, "
    "assigned_us BIGINT NOT NULL,"
    " PRIMARY KEY (user_name, role)){end};"
    "CREATE TABLE tokens ("
    " user_name TEXT NOT NULL, name TEXT NOT NULL, description TEXT, roles_csv TEXT, hash {blob} NOT NULL UNIQUE,"
    " expires_us BIGINT NOT NULL, created_us BIGINT NOT NULL, PRIMARY KEY (user_name, name)){end};"
    "CREATE TABLE profiles ("
    " user_name TEXT NOT NULL PRIMARY KEY, email_notification BIGINT NOT NULL, slack_notification BIGINT NOT "
    "NULL, pool TEXT){end};";

/* Workflows that are being inserted: a row from the first chunk of groups and tasks until the last, which brings the
 * workflow itself. One that is found at start was cut off; its groups and tasks are removed. */
static const char submissions_sql[] =
    "CREATE TABLE submissions (workflow_uuid TEXT NOT NULL PRIMARY KEY, started_us BIGINT NOT NULL){end};"
    "DROP INDEX IF EXISTS group_edges_by_downstream;";

/* Databases made before the keys were given up. SQLite has no statement for it, its documentation this one: the stored text
 * of the tables is changed, which is safe for a constraint that says nothing about how rows are stored. */
static const char no_foreign_keys_sqlite_sql[] =
    "PRAGMA writable_schema=ON;"
    "UPDATE sqlite_schema SET sql = replace(replace(replace(sql, ' REFERENCES workflows (uuid) ON DELETE CASCADE', ''),"
    " ' REFERENCES workflow_groups (uuid) ON DELETE CASCADE', ''), ' REFERENCES users (name) ON DELETE CASCADE', '')"
    " WHERE type = 'table';"
    "PRAGMA writable_schema=RESET;";
static const char no_foreign_keys_pgsql_sql[] =
    "ALTER TABLE workflow_groups DROP CONSTRAINT IF EXISTS workflow_groups_workflow_uuid_fkey;"
    "ALTER TABLE workflow_groups DROP CONSTRAINT IF EXISTS workflow_groups_workflow_uuid_name_key;"
    "ALTER TABLE group_specs DROP CONSTRAINT IF EXISTS group_specs_group_uuid_fkey;"
    "ALTER TABLE group_edges DROP CONSTRAINT IF EXISTS group_edges_upstream_uuid_fkey;"
    "ALTER TABLE group_edges DROP CONSTRAINT IF EXISTS group_edges_downstream_uuid_fkey;"
    "ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_group_uuid_fkey;"
    "ALTER TABLE workflow_labels DROP CONSTRAINT IF EXISTS workflow_labels_workflow_uuid_fkey;"
    "ALTER TABLE workflow_files DROP CONSTRAINT IF EXISTS workflow_files_workflow_uuid_fkey;"
    "ALTER TABLE user_roles DROP CONSTRAINT IF EXISTS user_roles_user_name_fkey;";

/* Finished workflows by their age, for their retention, and the items that were given up. */
static const char by_end_sql[] =
    "CREATE INDEX IF NOT EXISTS workflows_by_end ON workflows (end_us) WHERE archived = 1;"
    "CREATE INDEX IF NOT EXISTS work_dead ON work (id) WHERE dead = 1;";

/* The lists. What they filter by stands before the time in an index, so that each combination of values is one stretch in
 * the order of time; what stands behind it is looked at without reading the row. Labels carry the time of their workflow.
 * Started and failed tasks have an index each that holds nothing of the tasks still to come. Part of an id is looked for
 * among the names, of which there are fewer. */
static const char lists_sql[] =
    "DROP INDEX workflows_by_time;"
    "DROP INDEX workflows_by_status;"
    "DROP INDEX workflows_by_user;"
    "DROP INDEX workflows_by_pool;"
    "CREATE INDEX workflows_by_time ON workflows (submit_us, id, status);"
    "CREATE INDEX workflows_by_status ON workflows (status, submit_us, id, priority);"
    "CREATE INDEX workflows_by_user ON workflows (user_name, status, submit_us, id, pool, priority);"
    "CREATE INDEX workflows_by_pool ON workflows (pool, status, submit_us, id, priority);"
    "ALTER TABLE workflow_labels ADD COLUMN submit_us BIGINT NOT NULL DEFAULT 0;"
    "UPDATE workflow_labels SET submit_us = COALESCE((SELECT w.submit_us FROM workflows w WHERE w.uuid = workflow_uuid), 0);"
    "DROP INDEX workflow_labels_by_value;"
    "CREATE INDEX workflow_labels_by_value ON workflow_labels (label_key, label_value, submit_us, workflow_uuid);"
    "CREATE INDEX tasks_by_start ON tasks (start_us) WHERE start_us > 0;"
    "CREATE INDEX tasks_by_failure ON tasks (status, start_us) WHERE status > 7;"
    "CREATE TABLE submitters (user_name TEXT NOT NULL PRIMARY KEY){end};"
    "INSERT INTO submitters (user_name) SELECT DISTINCT user_name FROM workflows WHERE user_name IS NOT NULL;"
    "CREATE TABLE workflow_names (name TEXT NOT NULL PRIMARY KEY){end};"
    "INSERT INTO workflow_names (name) SELECT DISTINCT name FROM workflows;";

/* Read by tag in the order of the list, and by workflow. */
static const char tags_sql[] =
    "CREATE TABLE workflow_tags ("
    " workflow_uuid TEXT NOT NULL, tag TEXT NOT NULL, submit_us BIGINT NOT NULL, PRIMARY KEY (workflow_uuid, tag)){end};"
    "CREATE INDEX workflow_tags_by_tag ON workflow_tags (tag, submit_us, workflow_uuid);";

/* What is believed to be in the clusters. The row of a group comes when it is handed out, with snapshot 0 until its creation is
 * confirmed; later attempts of its tasks have rows of their own. `snapshot` numbers the snapshots that a backend was asked for. */
static const char placements_sql[] =
    "CREATE TABLE placements ("
    " group_uuid TEXT NOT NULL, task_uuid TEXT NOT NULL, retry_id BIGINT NOT NULL, workflow_uuid TEXT NOT NULL,"
    " backend TEXT NOT NULL, snapshot BIGINT NOT NULL, confirmed_us BIGINT NOT NULL,"
    " PRIMARY KEY (group_uuid, task_uuid, retry_id)){end};"
    "CREATE INDEX placements_by_backend ON placements (backend, workflow_uuid, group_uuid, task_uuid, retry_id);"
    "ALTER TABLE backends ADD COLUMN snapshot BIGINT NOT NULL DEFAULT 1;"
    "ALTER TABLE backends ADD COLUMN lost_us BIGINT NOT NULL DEFAULT 0;"
    "INSERT INTO placements (group_uuid, task_uuid, retry_id, workflow_uuid, backend, snapshot, confirmed_us)"
    " SELECT g.uuid, '', 0, w.uuid, w.backend, CASE WHEN EXISTS (SELECT 1 FROM work k WHERE k.kind = 'create_group'"
    " AND k.work_key = g.uuid) THEN 0 ELSE 1 END, 0 FROM workflow_groups g JOIN workflows w ON w.uuid = g.workflow_uuid"
    " WHERE g.exec_generation > 0 AND g.cleaned_up = 0 AND w.backend IS NOT NULL;"
    "INSERT INTO placements (group_uuid, task_uuid, retry_id, workflow_uuid, backend, snapshot, confirmed_us)"
    " SELECT p.group_uuid, t.uuid, t.retry_id, p.workflow_uuid, p.backend, 1, 0 FROM placements p JOIN tasks t"
    " ON t.group_uuid = p.group_uuid WHERE t.retry_id > 0 AND t.status < 7 AND NOT EXISTS (SELECT 1 FROM work k"
    " WHERE k.kind = 'reschedule_task' AND k.workflow_uuid = p.workflow_uuid);";

/* Services that share a server database. What one of them has taken bears its id. Items that are taken, by their group: on an
 * embedded database one process has them all. */
static const char replicas_sql[] =
    "CREATE TABLE replicas ("
    " id TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL, storage TEXT NOT NULL, host TEXT NOT NULL, version TEXT NOT NULL,"
    " pid BIGINT NOT NULL, started_us BIGINT NOT NULL, lease_until_us BIGINT NOT NULL, ended BIGINT NOT NULL){end};"
    "ALTER TABLE submissions ADD COLUMN owner TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE backends ADD COLUMN worker TEXT NOT NULL DEFAULT '';";
static const char leased_sql[] = "CREATE INDEX work_leased ON work (substr(work_key, 1, 32)) WHERE owner IS NOT NULL;";

/* Workflows that are in the archive; local_log: 1 = the log store still has its copy, 2 = it is being dropped, 0 = gone.
 * template_kinds_json: kinds of objects that the templates of the pool made for the group, for its cleanup. */
static const char archives_sql[] =
    "CREATE TABLE workflow_archives (workflow_uuid TEXT NOT NULL PRIMARY KEY, workflow_id TEXT NOT NULL,"
    " archived_us BIGINT NOT NULL, local_log BIGINT NOT NULL){end};"
    "CREATE INDEX workflow_archives_local ON workflow_archives (archived_us, workflow_uuid) WHERE local_log > 0;"
    "ALTER TABLE group_specs ADD COLUMN template_kinds_json TEXT;";

/* Logs that several services share: what is known of one, its text in chunks, and what each attempt has stored. A chunk is
 * found by the number of the entry behind its last. lz4, which not every server has, takes half the time of the server's own
 * compression; either makes a quarter of a log. */
static const char logs_sql[] =
    "CREATE TABLE log_state ("
    " workflow_id TEXT NOT NULL PRIMARY KEY, log_id BIGINT GENERATED ALWAYS AS IDENTITY, bytes BIGINT NOT NULL,"
    " entries BIGINT NOT NULL, tasks BIGINT NOT NULL, ended BIGINT NOT NULL) WITH (fillfactor = 50);"
    "CREATE INDEX log_state_hidden ON log_state (log_id) WHERE workflow_id LIKE '!%';"
    "CREATE TABLE log_chunks ("
    " log_id BIGINT NOT NULL, end_entry BIGINT NOT NULL, first_entry BIGINT NOT NULL, first_offset BIGINT NOT NULL,"
    " body BYTEA NOT NULL, entries BYTEA NOT NULL, PRIMARY KEY (log_id, end_entry));"
    "DO $$ BEGIN EXECUTE 'ALTER TABLE log_chunks ALTER COLUMN body SET COMPRESSION lz4,"
    " ALTER COLUMN entries SET COMPRESSION lz4'; EXCEPTION WHEN OTHERS THEN NULL; END $$;"
    "CREATE TABLE log_attempts ("
    " log_id BIGINT NOT NULL, task TEXT NOT NULL, retry_id BIGINT NOT NULL, task_no BIGINT NOT NULL, seq BIGINT NOT NULL,"
    " PRIMARY KEY (log_id, task, retry_id)) WITH (fillfactor = 70);";

/* Ids of history are no cursor and need not stay unique when rows are gone. An index of what runs on a node must not be written
 * with every status. */
static const char history_ids_sql[] =
    "PRAGMA writable_schema=ON;"
    "UPDATE sqlite_schema SET sql = replace(sql, ' AUTOINCREMENT', '') WHERE type = 'table' AND name = 'history';"
    "PRAGMA writable_schema=RESET;";
static const char by_node_sql[] =
    "DROP INDEX tasks_by_node;"
    "CREATE INDEX tasks_by_node ON tasks (node_name) WHERE node_name IS NOT NULL AND end_us = 0;";

/* Who may do what. Roles of a token are those of its owner that were given to it; a name stood among them before without being
 * the owner's, which gave nothing. What is secret is sealed text. */
static const char roles_sql[] =
    "CREATE TABLE token_roles ("
    " user_name TEXT NOT NULL, token_name TEXT NOT NULL, role TEXT NOT NULL, assigned_by TEXT, assigned_us BIGINT NOT NULL,"
    " PRIMARY KEY (user_name, token_name, role)){end};"
    "INSERT INTO token_roles (user_name, token_name, role, assigned_by, assigned_us)"
    " SELECT t.user_name, t.name, r.role, t.user_name, t.created_us FROM tokens t JOIN user_roles r ON r.user_name = t.user_name"
    " WHERE replace(',' || t.roles_csv || ',', ',' || r.role || ',', '') <> ',' || t.roles_csv || ',';"
    "ALTER TABLE tokens DROP COLUMN roles_csv;"
    "ALTER TABLE tokens ADD COLUMN backend TEXT;"
    "CREATE INDEX users_by_time ON users (created_us, name);"
    "CREATE INDEX user_roles_by_role ON user_roles (role, user_name);"
    "CREATE TABLE roles (name TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL){end};"
    "CREATE TABLE role_external (role TEXT NOT NULL, external_role TEXT NOT NULL, PRIMARY KEY (role, external_role)){end};";
static const char secrets_sql[] =
    "CREATE TABLE user_keys ("
    " user_name TEXT NOT NULL, kid TEXT NOT NULL, sealed TEXT NOT NULL, is_current BIGINT NOT NULL, PRIMARY KEY (user_name, kid)){end};"
    "CREATE TABLE signing_keys ("
    " kid TEXT NOT NULL PRIMARY KEY, sealed TEXT NOT NULL, created_us BIGINT NOT NULL, retired_us BIGINT NOT NULL){end};"
    "CREATE TABLE credentials ("
    " user_name TEXT NOT NULL, name TEXT NOT NULL, cred_type TEXT NOT NULL, profile TEXT, payload TEXT NOT NULL,"
    " created_us BIGINT NOT NULL, PRIMARY KEY (user_name, name)){end};"
    "CREATE UNIQUE INDEX credentials_by_profile ON credentials (user_name, profile) WHERE profile IS NOT NULL;"
    "CREATE TABLE config_objects (kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, name)){end};";

/* Whether registries have to be asked for the images of a backend. */
static const char pulls_images_sql[] = "ALTER TABLE backends ADD COLUMN pulls_images BIGINT NOT NULL DEFAULT 1;";

/* What the operator of a backend says about its cluster, one line. A backend that is being deleted takes nothing any more. */
static const char backend_life_sql[] =
    "ALTER TABLE backends ADD COLUMN status TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE backends ADD COLUMN ending BIGINT NOT NULL DEFAULT 0;";

/* What the ctrls of tasks are to do for interactive sessions, until nobody waits for it; who may be chosen for carrying those; whether
 * files may be synchronised with the tasks of a workflow, as it was when it was submitted. */
static const char interactive_sql[] =
    "CREATE TABLE ctrl_actions ("
    " id {id}, workflow_uuid TEXT NOT NULL, group_uuid TEXT NOT NULL, task TEXT NOT NULL, retry_id BIGINT NOT NULL,"
    " user_name TEXT NOT NULL, action BIGINT NOT NULL, nonce BIGINT NOT NULL, replica BIGINT NOT NULL,"
    " key_expires_s BIGINT NOT NULL, payload_json TEXT NOT NULL, made_by_json TEXT NOT NULL, expires_us BIGINT NOT NULL,"
    " done BIGINT NOT NULL){end};"
    "CREATE INDEX ctrl_actions_by_workflow ON ctrl_actions (workflow_uuid, id);"
    "CREATE INDEX ctrl_actions_by_nonce ON ctrl_actions (nonce);"
    "CREATE INDEX ctrl_actions_by_expiry ON ctrl_actions (expires_us);"
    "ALTER TABLE workflows ADD COLUMN rsync BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE replicas ADD COLUMN roles BIGINT NOT NULL DEFAULT 63;";

/* What tasks carried in and out. Told more than once it is one row. */
static const char task_io_sql[] =
    "CREATE TABLE task_io ("
    " workflow_uuid TEXT NOT NULL, group_name TEXT NOT NULL, task TEXT NOT NULL, retry_id BIGINT NOT NULL, io_type TEXT NOT NULL,"
    " url TEXT NOT NULL, start_us BIGINT NOT NULL, end_us BIGINT NOT NULL, bytes BIGINT NOT NULL, files BIGINT NOT NULL,"
    " operation_type TEXT NOT NULL, download_type TEXT NOT NULL,"
    " PRIMARY KEY (workflow_uuid, task, retry_id, io_type, url, start_us)){end};";

/* Lines by their number: how many are before a chunk, and in the log when it had so many entries; -1 where nobody has counted. A service
 * of an older version that still runs adds entries and does not count. And how many of each attempt are before an entry. */
static const char log_lines_sql[] =
    "ALTER TABLE log_state ADD COLUMN lines BIGINT NOT NULL DEFAULT -1, ADD COLUMN lines_entries BIGINT NOT NULL DEFAULT 0;"
    "ALTER TABLE log_chunks ADD COLUMN lines BIGINT NOT NULL DEFAULT -1;"
    "CREATE TABLE log_marks ("
    " log_id BIGINT NOT NULL, entry BIGINT NOT NULL, text_offset BIGINT NOT NULL, latest_us BIGINT NOT NULL, tallies BYTEA NOT NULL,"
    " PRIMARY KEY (log_id, entry));"
    "DO $$ BEGIN EXECUTE 'ALTER TABLE log_marks ALTER COLUMN tallies SET COMPRESSION lz4'; EXCEPTION WHEN OTHERS THEN NULL; END $$;";

/* One step a row: a migration may be several rows of the same version. */
const struct migration store_migrations[] = {
    { 1, workflows_sql, ON_BOTH }, { 1, groups_sql, ON_BOTH }, { 1, flow_sql, ON_BOTH }, { 1, cluster_sql, ON_BOTH },
    { 1, identity_sql, ON_BOTH },
    { 2, events_by_task_sql, ON_BOTH },
    { 3, submissions_sql, ON_BOTH }, { 3, no_foreign_keys_sqlite_sql, ON_SQLITE },
    { 3, no_foreign_keys_pgsql_sql, ON_PGSQL },
    { 4, lists_sql, ON_BOTH },
    { 4, by_end_sql, ON_BOTH },
    { 5, archives_sql, ON_BOTH },
    { 5, tags_sql, ON_BOTH },
    { 5, placements_sql, ON_BOTH },
    { 5, replicas_sql, ON_BOTH }, { 5, leased_sql, ON_PGSQL },
    { 5, logs_sql, ON_PGSQL },
    { 5, history_ids_sql, ON_SQLITE }, { 5, by_node_sql, ON_BOTH },
    { 6, roles_sql, ON_BOTH }, { 6, secrets_sql, ON_BOTH }, { 6, pulls_images_sql, ON_BOTH },
    { 7, backend_life_sql, ON_BOTH },
    { 8, interactive_sql, ON_BOTH }, { 8, task_io_sql, ON_BOTH },
    { 9, log_lines_sql, ON_PGSQL },
};
const size_t store_migrations_len = ARRAY_SIZE(store_migrations);
