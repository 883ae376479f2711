/* A small HTTP(S) server on the loopback that plays an API server: each request takes the next step of a script, over as many
 * connections at once as come. The kinds of discovery are answered beside the script, unless a step asks for them. For tests of the
 * Kubernetes client. */
#ifndef TESTS_KUBE_SERVER_H
#define TESTS_KUBE_SERVER_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum kube_play {
    PLAY_WHOLE,     /* with Content-Length */
    PLAY_CUT,       /* the head promises all of the body, half of it comes, and the connection ends */
    PLAY_NOTHING,   /* the request is read, and the connection ends */
    PLAY_CHUNKS,    /* chunked, in pieces of `piece` bytes, to its end */
    PLAY_HOLD,      /* chunked; the stream stays open until the client leaves */
    PLAY_SILENCE    /* nothing is answered until the client leaves */
};
struct kube_step {
    int status;
    const char *headers;    /* "Name: value\r\n…" or NULL */
    const char *body;
    enum kube_play how;
    size_t piece;
    bool discovery;         /* it is for a GET of /api/v1, /apis/… or /readyz */
};
struct kube_seen { char method[8], path[2048], authorization[256], type[96], body[2048], more[512]; int connection; };

struct kube_server {
    int port;
    char url[64];
    /* private */
    int listen_fd, wake[2], connections, threads;
    void *tls;              /* SSL_CTX */
    const struct kube_step *steps;
    size_t n, next, seen_n;
    struct kube_seen seen[256];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
};

/* cert NULL: plain HTTP. ca: who signs the clients' certificates, which are demanded then; NULL: none is. */
bool kube_server_start(struct kube_server *s, const struct kube_step *steps, size_t n, const char *cert, const char *key, const char *ca);
void kube_server_stop(struct kube_server *s);
/* Another script; what was seen is forgotten. */
void kube_server_play(struct kube_server *s, const struct kube_step *steps, size_t n);
/* Waits until so many requests were seen, discovery not counted. */
void kube_server_wait(struct kube_server *s, size_t seen);
/* The n-th request of the script; NULL when there were fewer. */
const struct kube_seen *kube_server_seen(struct kube_server *s, size_t n);
size_t kube_server_count(struct kube_server *s);
#endif
