/* What the service asks osmo_ctrl to do, and what a router session says on a control connection. Pure. Used by actions.c, forward.c and
 * tests. */
#ifndef OSMO_CTRL_ACTION_PARSE_H
#define OSMO_CTRL_ACTION_PARSE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/str.h"
#include "osmo/error.h"

#define RSYNC_TASK_PORT 16000
#define KEY_MAX 256

enum action_kind { ACTION_EXEC, ACTION_PORTFORWARD, ACTION_WEBSERVER, ACTION_RSYNC, ACTION_KINDS };
/* Also the word in the paths of the router. */
const char *action_kind_name(enum action_kind k);

struct meeting { char *router_address, *key, *cookie; }; /* cookie "" = none */
struct action {
    enum action_kind kind;
    struct meeting at;
    char *command;          /* of exec */
    int port;               /* else */
    bool udp, telemetry;
};
/* OSMO_ENOTFOUND: no action of a session (barrier, restart, something new). OSMO_EINVAL with what is wrong. */
int action_parse(const json_t *o, struct action *out, osmo_error_t *err);
void action_clear(struct action *a);
void meeting_clear(struct meeting *m);

/* {key, cookie[, type, payload, half_close]}: a connection that the other side of a session announces. */
struct announcement {
    char *key, *cookie;
    bool websocket;         /* type "ws": to a websocket server */
    bool half_close;        /* the end of one direction is told and is not the end of the other */
    char *path;             /* of a websocket */
    strlist_t headers;      /* "Name: value" for it */
};
int announcement_parse(const char *text, size_t len, struct announcement *out, osmo_error_t *err);
void announcement_clear(struct announcement *a);
#endif
