/* Wire messages between the agent and a backend operator (envelope type/body/uuid), and the job frames.
 * Facts: OSMO 6.4 operator protocol. Pure: uuids come in. */
#ifndef MODEL_MESSAGES_H
#define MODEL_MESSAGES_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"
#include "osmo/error.h"

enum message_type {
    MSG_INVALID = 0, MSG_INIT, MSG_POD_LOG, MSG_UPDATE_POD, MSG_RESOURCE, MSG_RESOURCE_USAGE, MSG_DELETE_RESOURCE, MSG_NODE_HASH,
    MSG_TASK_LIST, MSG_CONTAINER_NODE, MSG_MONITOR_POD, MSG_POD_CONDITIONS, MSG_HEARTBEAT, MSG_JOB_STATUS, MSG_METRICS, MSG_LOGGING,
    MSG_POD_EVENT, MSG_ACK, MSG_NODE_CONDITIONS
};
const char *message_type_name(enum message_type t);

struct message { enum message_type type; char uuid[33]; json_t *body; json_t *root; /* root owns body */ };
/* Exactly type, body, uuid (uuid may be absent: then ""); unknown keys or type: OSMO_EINVAL. */
int message_parse(const char *text, size_t len, struct message *out, osmo_error_t *err);
void message_clear(struct message *m);
/* Takes body. Compact JSON text. */
int message_build(enum message_type t, const char *uuid, json_t *body, buf_t *out);
int message_build_ack(const char *acked_uuid, const char *uuid, buf_t *out);

#define OSMO_EXTENSIONS_HEADER "X-Osmo-Extensions"
/* Extension tokens, comma separated in the header; each is used only when offered by the client and accepted by the server.
 * "job-parts": see job_part_write().
 * "snapshot": the agent asks on the socket for pods, by a task_list of its own {"snapshot": N}; the operator then lists all pods it has
 * and answers by task_list messages {"snapshot": N, "last": bool, "pods": [{workflow_uuid, group_uuid, task_uuid, retry_id, pod_name,
 * installation, and what update_pod says: status, exit_code, message, node, pod_ip}]}, acknowledged and repeated like all others.
 * "jobs": job_status carries job_id and job_uuid, several jobs may be in flight. "logs": acknowledged batches of log entries.
 * "restarts": the action restart has an "id", and a ctrl confirms it by {"IOType":"RESTARTED","id":…}; until then it is told again
 * whenever it connects. "own-images": said by an operator whose pods run on what is on its machine, so that no registry need be asked
 * for their images; nothing is agreed on, and it is not in the answer. "status": the body of a heartbeat has "status", one line about how
 * the cluster works or what is wrong with it, "" for nothing. */
bool extension_offered(const char *header, const char *token);

#define JOB_FRAME_MAX (16u << 20)
/* zlib stream of the compact JSON. OSMO_ELIMIT over JOB_FRAME_MAX. */
int job_frame_pack(const json_t *job, buf_t *out, osmo_error_t *err);
int job_frame_unpack(const void *frame, size_t len, json_t **job, osmo_error_t *err);
/* The same with another limit. */
int job_pack(const json_t *job, size_t max, buf_t *out, osmo_error_t *err);
int job_unpack(const void *frame, size_t len, size_t max, json_t **job, osmo_error_t *err);

/* Extension "job-parts": a job larger than a frame comes as binary frames that carry its parts, one after another, and is
 * answered once. */
#define JOB_TOTAL_MAX (60u << 20)
#define JOB_PART_MAX (1u << 20)
/* The part of `whole` at `offset`, as a frame; the next one is JOB_PART_MAX further. */
int job_part_write(const buf_t *whole, size_t offset, buf_t *out);
bool job_is_part(const void *frame, size_t len);
/* 1 when `whole` is complete, 0 when more comes, OSMO_EINVAL, OSMO_ELIMIT. The first part begins anew. */
int job_part_add(buf_t *whole, const void *frame, size_t len, osmo_error_t *err);
#endif
