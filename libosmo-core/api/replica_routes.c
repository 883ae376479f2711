/* The door for other replicas of this service: signed messages instead of a user's identity
 * (engine/replica_channel.c). To everybody else, and where there can be no other replica, it looks as if nothing were
 * here. */
#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/replicas.h"

int post_replica(struct call *c, osmo_error_t *err) {
    _cleanup_buf_ buf_t answer = BUF_INIT(4096);
    const char *signature = request_header(c->rq, "authorization");
    int rc = channel_receive(c->engine, signature, c->rq->body, c->rq->body_len, &answer, err);
    if (rc == OSMO_ENOTFOUND)
        return answer_detail(c, 404, "Not Found");
    if (rc == OSMO_EUNAUTH)
        return answer_detail(c, 401, "Unauthorized");
    return rc < 0 ? rc : answer_text(c, 200, "application/json", buf_cstr(&answer), answer.len);
}
