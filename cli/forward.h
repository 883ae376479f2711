/* Forwarding of local ports to a task: what port-forward and rsync share. One loop carries everything; only the calls
 * to the service that a new session takes are made by a thread, so that what is carried does not wait for them. */
#ifndef OSMO_CLI_FORWARD_H
#define OSMO_CLI_FORWARD_H
#include "base/ws_client.h"
#include "router.h"

#define FORWARD_PORTS_MAX 1024

/* ---- forward_spec.c: pure ---- */
struct port_pair { int local, remote; };
/* "8000", "8000:80", "9000-9010:80-90", and lists of these with commas. *out is malloc'ed. OSMO_EINVAL says what is wrong and with what. */
int forward_spec_parse(const char *spec, struct port_pair **out, size_t *n, osmo_error_t *err);

/* ---- forward.c ---- */
struct forward;
struct forward_options {
    ws_loop_t *loop;
    const char *workflow, *task;
    const char *family;        /* "portforward" or "rsync": in paths */
    const char *host;          /* to listen on */
    const struct port_pair *ports; size_t nports; /* rsync: one, whose remote port is of no account */
    bool udp;
    int64_t timeout_s;         /* how long the task may take to answer */
    uint64_t rate;             /* bytes a second towards the task, each connection; 0 = all that go */
    bool quiet;                /* no lines about sessions that come and go */
    bool once;                 /* a session that is lost is the end, and not to be had anew */
    bool patient;              /* the task need not run yet: the first session is asked for until there is one */
    /* The first time, of each port: this local port is open, and so is the session behind it. */
    void (*ready)(void *ctx, int local_port);
    /* It cannot go on: an exit code, after printing. */
    void (*failed)(void *ctx, int code);
    void *ctx;
};
/* Asks for the sessions (blocks, prints) and listens. 0, or an exit code after printing. */
int forward_start(const struct forward_options *o, struct forward **out);
/* NULL is fine for both. Stopped before the loop is freed, freed after it. */
void forward_stop(struct forward *f);
void forward_free(struct forward *f);
/* ---- what the files behind it share; forward_session.c: the sessions behind the ports ---- */
struct port;
struct forward {
    struct forward_options o;
    struct api api;            /* of the loop's thread: headers of connections */
    struct port *ports;
    size_t connections, max_connections;
    char *cookie;              /* that leads to the same router; shared by its ports */
    bool stopping, full;
    int64_t told_ms;           /* when a failed connection was last reported */
};

/* What a thread asks the service for, for one port. */
struct renewal;
struct port {
    struct forward *f;
    struct port_pair pair;
    int listeners[4], nlisteners;
    struct session session;
    bool ours, open, was_ready;
    uint64_t control, timer;   /* websocket of the session; when the next is asked for */
    uint32_t connections;      /* made so far: names them */
    int failures;              /* in a row */
    struct renewal *renewal;
    struct udp_side *udp;
};
/* The websocket of a session that the port has; `closed` leads to the next. 0, or an exit code after printing. */
int port_connect(struct port *p);
int port_renew(struct port *p);        /* asks for a session and connects then; the same */
void port_end(struct port *p);         /* the session and what waits for the next */
/* "portforward/TASK?task_ports=…" behind the workflow's path; malloc'ed */
char *forward_path(const struct forward *f, const struct port_pair *ports, size_t n);
/* How long to wait after so many failures in a row: 2^failures seconds, 32 at most, and up to five more. */
int64_t port_wait_ms(int failures, unsigned random);

/* ---- forward_tcp.c, forward_udp.c: listeners ---- */
int tcp_listen(struct port *p);        /* 0, or an exit code after printing; the local port is known then */
void tcp_accept(struct port *p);       /* takes connections while there is a session, and room */
void tcp_end(struct port *p);
int udp_listen(struct port *p);
void udp_received(struct port *p, const char *data, size_t len); /* of the session */
void udp_ready(struct port *p);        /* reads while there is a session */
void udp_end(struct port *p);
#endif
