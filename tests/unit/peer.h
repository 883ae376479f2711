/* A scripted HTTP peer on the loopback: answers each request with the next answer, over as many connections as it
 * takes, and remembers what it got. For unit tests of what speaks HTTP. */
#ifndef TESTS_PEER_H
#define TESTS_PEER_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct peer {
    int listen_fd, port;
    pthread_t thread;
    const char *const *answers;
    char got[1 << 17];
    size_t got_len;
    int connections;
};

/* `answers` ends with NULL. An answer with "Connection: close" ends its connection. */
bool peer_start(struct peer *p, const char *const *answers);
/* The same in two steps, for answers that name the port. */
bool peer_listen(struct peer *p);
bool peer_serve(struct peer *p, const char *const *answers);
/* Wait until every answer was asked for. */
void peer_end(struct peer *p);
#endif
