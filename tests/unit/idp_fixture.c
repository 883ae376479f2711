/* See idp_fixture.h. */
#include "idp_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "check.h"

static void send_answer(int fd, int status, const char *cache_control, const char *body) {
    _cleanup_free_ char *text = str_printf("HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s%s%s"
                                           "Connection: close\r\n\r\n%s", status, strlen(body), cache_control ? "Cache-Control: " : "",
                                           cache_control ? cache_control : "", cache_control ? "\r\n" : "", body);
    if (text && send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        fprintf(stderr, "# provider: %s\n", strerror(errno));
}

/* Under the lock. */
static void answer(struct idp *p, int fd, const char *request) {
    bool discovery = strstr(request, "GET /.well-known/openid-configuration ") == request;
    bool keys = strstr(request, "GET /keys ") == request;
    p->discoveries += discovery;
    p->key_requests += keys;
    pthread_cond_broadcast(&p->changed);
    if (p->silent && p->nheld < 64) {
        p->held[p->nheld++] = fd;
        return;
    }
    _cleanup_free_ char *own = str_printf("{\"issuer\":\"%s\",\"jwks_uri\":\"%s/keys\",\"response_types_supported\":[\"code\"]}", p->issuer,
                                          p->issuer);
    if (discovery)
        send_answer(fd, 200, NULL, p->discovery ? p->discovery : own ? own : "");
    else if (keys)
        send_answer(fd, p->status, p->cache_control, p->keys ? p->keys : "{\"keys\":[]}");
    else
        send_answer(fd, 404, NULL, "{}");
    close(fd);
}

static void *idp_main(void *arg) {
    struct idp *p = arg;
    for (;;) {
        char request[8192];
        size_t len = 0;
        ssize_t n = 1;
        int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        request[0] = '\0';
        while (n > 0 && len < sizeof request - 1 && !strstr(request, "\r\n\r\n")) {
            n = read(fd, request + len, sizeof request - 1 - len);
            len += n > 0 ? (size_t)n : 0;
            request[len] = '\0';
        }
        pthread_mutex_lock(&p->lock);
        bool stop = p->stop;
        if (stop || n <= 0)
            close(fd);
        else
            answer(p, fd, request);
        pthread_mutex_unlock(&p->lock);
        if (stop)
            return NULL;
    }
}

bool idp_start(struct idp *p) {
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->status = 200;
    p->listen_fd = check_listen(&p->port);
    snprintf(p->issuer, sizeof p->issuer, "http://127.0.0.1:%d", p->port);
    return p->listen_fd >= 0 && pthread_create(&p->thread, NULL, idp_main, p) == 0;
}

void idp_stop(struct idp *p) {
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_mutex_unlock(&p->lock);
    shutdown(p->listen_fd, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->listen_fd);
    for (size_t i = 0; i < p->nheld; i++)
        close(p->held[i]);
    free(p->keys);
    free(p->discovery);
    free(p->cache_control);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
}

void idp_say(struct idp *p, const char *keys, const char *discovery) {
    pthread_mutex_lock(&p->lock);
    free(p->keys);
    free(p->discovery);
    p->keys = str_dup(keys);
    p->discovery = str_dup(discovery);
    pthread_mutex_unlock(&p->lock);
}

void idp_keys(struct idp *p, const char *a, const char *b) {
    _cleanup_free_ char *text = str_printf("{\"keys\":[%s%s%s]}", a, b ? "," : "", b ? b : "");
    idp_say(p, text, NULL);
}

void idp_status(struct idp *p, int status, bool silent) {
    pthread_mutex_lock(&p->lock);
    p->status = status;
    p->silent = silent;
    pthread_mutex_unlock(&p->lock);
}

bool idp_wait(struct idp *p, unsigned key_requests) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    int rc = 0;
    pthread_mutex_lock(&p->lock);
    while (p->key_requests < key_requests && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&p->changed, &p->lock, &until);
    bool enough = p->key_requests >= key_requests;
    pthread_mutex_unlock(&p->lock);
    return enough;
}
