/* The scripted peer behind peer.h. */
#include "peer.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "check.h"

static size_t wanted(const char *head) {
    const char *body = strstr(head, "\r\n\r\n"), *len = strstr(head, "Content-Length: ");
    return body ? (size_t)(body + 4 - head) + (len && len < body ? (size_t)atol(len + 16) : 0) : SIZE_MAX;
}

static void *peer_main(void *arg) {
    struct peer *p = arg;
    size_t next = 0;
    while (p->answers[next]) {
        int fd = accept(p->listen_fd, NULL, NULL);
        if (fd < 0)
            break;
        p->connections++;
        while (p->answers[next]) {
            char *start = p->got + p->got_len;
            ssize_t n = 1;
            while (n > 0 && (size_t)(p->got + p->got_len - start) < wanted(start)) {
                n = read(fd, p->got + p->got_len, sizeof p->got - 1 - p->got_len);
                p->got_len += n > 0 ? (size_t)n : 0;
                p->got[p->got_len] = '\0';
            }
            if (n <= 0)
                break;
            const char *answer = p->answers[next++];
            if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0 || strstr(answer, "Connection: close"))
                break;
        }
        close(fd);
    }
    return NULL;
}

bool peer_listen(struct peer *p) {
    memset(p, 0, sizeof *p);
    p->listen_fd = check_listen(&p->port);
    return p->listen_fd >= 0;
}

bool peer_serve(struct peer *p, const char *const *answers) {
    p->answers = answers;
    return pthread_create(&p->thread, NULL, peer_main, p) == 0;
}

bool peer_start(struct peer *p, const char *const *answers) { return peer_listen(p) && peer_serve(p, answers); }

void peer_end(struct peer *p) {
    pthread_join(p->thread, NULL);
    close(p->listen_fd);
}
