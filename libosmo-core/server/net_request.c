/* Requests as the service gets them, and the collection of their bodies. Network thread. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "server/net.h"

#define SECRET_BODY_MAX (1u << 20) /* no body with a secret is larger */
#define FIRST_ROOM (256u << 10)

struct exchange *exchange_new(struct osmo_server *s, struct conn *c) {
    struct exchange *ex = calloc(1, sizeof *ex);
    if (!ex)
        return NULL;
    ex->body_fd = ex->response.body_fd = -1;
    ex->conn = c;
    buf_init(&ex->pending, 2 * NET_STREAM_BUFFER);
    if (!c->peer[0])
        lws_get_peer_simple(c->wsi, c->peer, sizeof c->peer);
    memcpy(ex->peer, c->peer, sizeof ex->peer);
    pthread_mutex_lock(&s->lock);
    ex->id = s->next_id++;
    pthread_mutex_unlock(&s->lock);
    return ex;
}

void request_view(const struct exchange *ex, osmo_request_t *out) {
    *out = (osmo_request_t){ .size = sizeof *out, .id = ex->id, .method = ex->head.method, .path = ex->head.path,
                             .query = ex->head.query, .headers = ex->head.headers, .body = ex->body.data, .body_len = ex->body.len,
                             .body_file = ex->body_file, .peer = ex->peer };
}

int request_body_open(struct osmo_server *s, struct exchange *ex, uint64_t len, bool to_file) {
    ex->body_len = len;
    if (!to_file || !s->spool_dir) {
        buf_init(&ex->body, (size_t)len);
        ex->body.secret = len <= SECRET_BODY_MAX;
        return buf_reserve(&ex->body, len < FIRST_ROOM ? (size_t)len : FIRST_ROOM);
    }
    ex->body_file = str_printf("%s/body-XXXXXX", s->spool_dir);
    ex->body_fd = ex->body_file ? mkostemp(ex->body_file, O_CLOEXEC) : -1;
    if (ex->body_fd >= 0)
        return OSMO_OK;
    log_error(&s->log, "cannot create a file in the spool directory: %m");
    free(ex->body_file);
    ex->body_file = NULL;
    return OSMO_EIO;
}

int request_body_add(struct osmo_server *s, struct exchange *ex, const void *data, size_t len) {
    if (len > ex->body_len - ex->body_got)
        return OSMO_ELIMIT;
    if (!ex->body_file) {
        if (len > NET_MAX_BODIES - s->body_bytes) /* of what is there: announcing much takes nothing from the others */
            return OSMO_EBUSY;
        s->body_bytes += len;
        ex->body_got += len;
        return buf_append(&ex->body, data, len);
    }
    ex->body_got += len;
    int rc = fd_write_all(ex->body_fd, data, len);
    if (rc < 0)
        log_error(&s->log, "cannot write to the spool directory: %m");
    return rc;
}
