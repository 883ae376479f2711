/* A storage server for figures: as much of S3 (path style) as clients need to carry files, as fast as the sockets:
 * nothing is checked, objects are files of a directory, answers are sent by sendfile(), parts are written where they
 * belong (all but the last have 16 MiB). ETags are no MD5, so nobody compares them. storage_peer DIRECTORY: prints
 * its port, serves until its input ends. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART (16u << 20)
#define CHUNK (256u << 10)
#define HEAD_MAX 16384

static const char *dir;

struct request { char method[8], target[4096], path[4096], *query; long long length, from, to; bool expects; };

static bool send_all(int fd, const char *p, size_t n) {
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static bool answer(int fd, int status, const char *headers, const char *body) {
    char text[8192];
    int n = snprintf(text, sizeof text, "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers, strlen(body), body);
    return send_all(fd, text, (size_t)n);
}

/* Slashes of keys are other characters in names of files: there are no directories. */
static void file_name(const char *key, char *out, size_t size) {
    int n = snprintf(out, size, "%s/", dir);
    for (; *key && (size_t)n + 1 < size; key++)
        out[n++] = *key == '/' ? '!' : *key;
    out[n] = '\0';
}

static void decode(const char *in, char *out) {
    for (; *in && *in != '?' && *in != ' '; in++) {
        unsigned c = (unsigned char)*in;
        if (c == '%' && sscanf(in + 1, "%2x", &c) == 1)
            in += 2;
        *out++ = (char)c;
    }
    *out = '\0';
}

static bool parse(char *head, struct request *rq) {
    char *save = NULL;
    memset(rq, 0, sizeof *rq);
    rq->from = rq->to = -1;
    char *line = strtok_r(head, "\r\n", &save);
    if (!line || sscanf(line, "%7s %4095s", rq->method, rq->target) != 2)
        return false;
    decode(rq->target + 1, rq->path);
    rq->query = strchr(rq->target, '?');
    rq->query = rq->query ? rq->query + 1 : rq->target + strlen(rq->target);
    while ((line = strtok_r(NULL, "\r\n", &save))) {
        if (!strncasecmp(line, "content-length:", 15))
            rq->length = atoll(line + 15);
        else if (!strncasecmp(line, "range: bytes=", 13) && sscanf(line + 13, "%lld-%lld", &rq->from, &rq->to) < 1)
            rq->from = -1;
        else if (!strncasecmp(line, "expect:", 7) && strstr(line, "100"))
            rq->expects = true;
    }
    return true;
}

/* The body: `have` bytes of it are in the buffer. */
static bool receive(int fd, struct request *rq, int file, long long at, char *buf, size_t have) {
    long long left = rq->length;
    if (rq->expects && !send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
        return false;
    for (;;) {
        if (file >= 0 && have && pwrite(file, buf, have, at) != (ssize_t)have)
            return false;
        at += (long long)have;
        left -= (long long)have;
        if (left <= 0)
            return true;
        ssize_t n = recv(fd, buf, left < CHUNK ? (size_t)left : CHUNK, 0);
        if (n <= 0)
            return false;
        have = (size_t)n;
    }
}

static bool put(int fd, struct request *rq, char *buf, size_t have) {
    char name[4096];
    const char *part = strstr(rq->query, "partNumber=");
    file_name(rq->path, name, sizeof name);
    int file = open(name, O_WRONLY | O_CREAT | (part ? 0 : O_TRUNC) | O_CLOEXEC, 0644);
    long long at = part ? (atoll(part + 11) - 1) * (long long)PART : 0;
    bool good = receive(fd, rq, file, at, buf, have);
    if (file >= 0)
        close(file);
    return good && answer(fd, 200, "ETag: \"some-tag\"\r\n", "");
}

static bool get(int fd, const struct request *rq) {
    char name[4096], head[512];
    struct stat st;
    file_name(rq->path, name, sizeof name);
    int file = open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &st) < 0) {
        if (file >= 0)
            close(file);
        return answer(fd, 404, "", !strcmp(rq->method, "HEAD") ? "" : "<Error><Code>NoSuchKey</Code></Error>");
    }
    long long from = rq->from >= 0 ? rq->from : 0, to = rq->from >= 0 && rq->to >= 0 && rq->to < st.st_size ? rq->to : st.st_size - 1;
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nETag: \"some-tag\"\r\nLast-Modified: Fri, 24 May 2013 "
                                        "00:00:00 GMT\r\nAccept-Ranges: bytes\r\n"
                                        "Content-Length: %lld\r\n", rq->from >= 0 ? 206 : 200, to - from + 1);
    if (rq->from >= 0)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Range: bytes %lld-%lld/%lld\r\n", from, to, (long long)st.st_size);
    n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    bool more = !strcmp(rq->method, "GET");
    bool good = send(fd, head, (size_t)n, MSG_NOSIGNAL | (more && to >= from ? MSG_MORE : 0)) == n;
    for (off_t at = from; good && more && at <= to;)
        good = sendfile(fd, file, &at, (size_t)(to - at + 1) < CHUNK * 4 ? (size_t)(to - at + 1) : CHUNK * 4) > 0;
    close(file);
    return good;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* All of a prefix in one page. */
static bool list(int fd, const struct request *rq) {
    char bucket[4096], prefix[4096] = "", *names[20000];
    size_t n = 0, len;
    const char *p = strstr(rq->query, "prefix=");
    char *body = NULL, encoded[4096] = "";
    FILE *out = open_memstream(&body, &len);
    snprintf(bucket, sizeof bucket, "%.*s", (int)strcspn(rq->path, "/"), rq->path);
    snprintf(encoded, sizeof encoded, "%.*s", p ? (int)strcspn(p + 7, "&") : 0, p ? p + 7 : "");
    decode(encoded, prefix);
    fprintf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>%s</Name><IsTruncated>false</IsTruncated>", bucket);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) && n < 20000;)
        if (e->d_name[0] != '.')
            names[n++] = strdup(e->d_name);
    if (d)
        closedir(d);
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        char name[4096];
        struct stat st;
        snprintf(name, sizeof name, "%s/%s", dir, names[i]);
        for (char *q = names[i]; *q; q++)
            *q = *q == '!' ? '/' : *q;
        const char *key = names[i] + strlen(bucket) + 1;
        if (!strncmp(names[i], bucket, strlen(bucket)) && !strncmp(key, prefix, strlen(prefix)) && stat(name, &st) == 0)
            fprintf(out, "<Contents><Key>%s</Key><LastModified>2013-05-24T00:00:00.000Z</LastModified><ETag>&quot;some-tag&quot;</ETag>"
                         "<Size>%lld</Size><StorageClass>STANDARD</StorageClass></Contents>", key, (long long)st.st_size);
        free(names[i]);
    }
    fprintf(out, "</ListBucketResult>");
    fclose(out);
    char head[256];
    int k = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %zu\r\n\r\n", len);
    bool good = send_all(fd, head, (size_t)k) && send_all(fd, body, len);
    free(body);
    return good;
}

static bool post(int fd, struct request *rq, char *buf, size_t have) {
    static const char begun[] = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
    static const char done[] = "<CompleteMultipartUploadResult><ETag>&quot;some-tag&quot;</ETag></CompleteMultipartUploadResult>";
    return receive(fd, rq, -1, 0, buf, have) && answer(fd, 200, "", strstr(rq->query, "uploadId=") ? done : begun);
}

static bool serve_one(int fd, char *buf, size_t *have) {
    char head[HEAD_MAX + 1], *end;
    struct request rq;
    while (buf[*have] = '\0', !(end = strstr(buf, "\r\n\r\n"))) {
        ssize_t n = *have < HEAD_MAX ? recv(fd, buf + *have, CHUNK - *have, 0) : -1;
        if (n <= 0)
            return false;
        *have += (size_t)n;
    }
    size_t len = (size_t)(end - buf);
    memcpy(head, buf, len);
    head[len] = '\0';
    *have -= len + 4;
    memmove(buf, end + 4, *have);
    if (!parse(head, &rq))
        return false;
    size_t body = (long long)*have < rq.length ? *have : (size_t)rq.length;
    *have = 0; /* clients do not pipeline */
    const char *slash = strchr(rq.path, '/');
    if (!strcmp(rq.method, "PUT") && (!slash || !slash[1]))
        return answer(fd, 200, "", "");
    if (!strcmp(rq.method, "PUT"))
        return put(fd, &rq, buf, body);
    if (!strcmp(rq.method, "POST"))
        return post(fd, &rq, buf, body);
    if (!strcmp(rq.method, "DELETE"))
        return answer(fd, 200, "", "");
    return slash && slash[1] ? get(fd, &rq) : !strcmp(rq.method, "HEAD") ? answer(fd, 200, "", "") : list(fd, &rq);
}

static void *serve(void *arg) {
    int fd = (int)(intptr_t)arg, yes = 1;
    char *buf = malloc(CHUNK + 1);
    size_t have = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    while (buf && serve_one(fd, buf, &have))
        ;
    free(buf);
    close(fd);
    return NULL;
}

static void *accept_all(void *arg) {
    int listener = *(int *)arg, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_t t;
        if (pthread_create(&t, NULL, serve, (void *)(intptr_t)fd) == 0)
            pthread_detach(t);
        else
            close(fd);
    }
    return NULL;
}

int main(int argc, char **argv) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    pthread_t t;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (argc != 2 || bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 256) ||
        getsockname(listener, (struct sockaddr *)&a, &len) ||
        pthread_create(&t, NULL, accept_all, &listener)) {
        fprintf(stderr, "usage: storage_peer DIRECTORY\n");
        return 2;
    }
    dir = argv[1];
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}
