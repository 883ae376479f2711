/* The head of a request: method, address, headers, length of the body. */
#ifndef SERVER_NET_HEAD_H
#define SERVER_NET_HEAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_MAX (32u << 10)
#define HEAD_MAX_HEADERS 100

struct head {
    const char *method, *path, *query; /* path: decoded, without dots and empty segments */
    const char *headers[2 * HEAD_MAX_HEADERS + 1]; /* name in lower case, value, …, NULL */
    size_t count;
    uint64_t body_len;
    bool http10, keep_alive, wants_continue, websocket;
    bool other_method, chunked; /* only from head_read() */
    const char *authority;  /* of an absolute address */
    const char *why;        /* of a refusal */
    char *text; size_t size; /* what all of them point into */
};
/* Bytes of the head that `data` begins with; 0: there is more to come; a negative HTTP status: it is none. *scanned: 0 at first, then
 * where it left off. */
int64_t head_size(const char *data, size_t len, size_t *scanned);
/* 0, or the HTTP status of a refusal, with h->why. head_free() in either case. */
int head_parse(const char *data, size_t len, struct head *h);
/* The same for a request that is not for us to understand: any method, and a body in chunks. head_ours() is the rest of head_parse(). */
int head_read(const char *data, size_t len, struct head *h);
int head_ours(struct head *h);
bool head_lists(const char *list, const char *word); /* is it among the words between commas; list may be NULL */
const char *head_header(const struct head *h, const char *name); /* borrowed or NULL */
void head_free(struct head *h); /* wipes: there are tokens in it */
#endif
