/* Outbox of a listener socket; see outbox.h. A linked list in order of creation: its first `in_flight` members were sent and
 * wait for their acknowledgement, `next` points behind them. */
#include "operator/outbox.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/map.h"
#include "base/str.h"

#define MESSAGE_MAX (16u << 20) /* what the service accepts in one message */

struct item {
    struct item *next, *prev;
    char uuid[33];
    char *key;
    buf_t text;
};

struct outbox {
    struct item head;          /* ring sentinel */
    struct item *unsent;       /* first item that was not sent on this connection; &head when none */
    map_t *keys;               /* key → waiting item, for replacement in O(1) */
    size_t len, in_flight, window, max;
    uint64_t dropped;
};

outbox_t *outbox_new(size_t window, size_t max) {
    outbox_t *o = calloc(1, sizeof *o);
    if (!o || !(o->keys = map_new(NULL))) {
        free(o);
        return NULL;
    }
    o->head.next = o->head.prev = o->unsent = &o->head;
    o->window = window;
    o->max = max;
    return o;
}

static void free_item(struct item *i) {
    if (!i)
        return;
    buf_free(&i->text);
    free(i->key);
    free(i);
}

static void forget_key(outbox_t *o, const struct item *i) {
    if (i->key && map_get(o->keys, i->key) == i)
        map_remove(o->keys, i->key);
}

static void unlink_item(outbox_t *o, struct item *i) {
    if (o->unsent == i)
        o->unsent = i->next;
    i->prev->next = i->next;
    i->next->prev = i->prev;
    o->len--;
    forget_key(o, i);
    free_item(i);
}

void outbox_clear(outbox_t *o) {
    while (o->len)
        unlink_item(o, o->head.next);
    o->in_flight = 0;
}

void outbox_free(outbox_t *o) {
    if (!o)
        return;
    outbox_clear(o);
    map_free(o->keys);
    free(o);
}

static struct item *make_item(enum message_type type, const char *key, json_t *body) {
    struct item *i = calloc(1, sizeof *i);
    if (!i) {
        json_free(body);
        return NULL;
    }
    buf_init(&i->text, MESSAGE_MAX);
    int rc = crypto_random_hex32(i->uuid);
    if (rc == 0)
        rc = message_build(type, i->uuid, body, &i->text);
    else
        json_free(body);
    if (rc == 0 && key)
        rc = (i->key = str_dup(key)) ? 0 : OSMO_ENOMEM;
    if (rc < 0) {
        free_item(i);
        return NULL;
    }
    return i;
}

static void link_before(outbox_t *o, struct item *at, struct item *i) {
    i->next = at;
    i->prev = at->prev;
    at->prev->next = i;
    at->prev = i;
    o->len++;
}

/* The new message takes the place of a waiting one of the same key: what it says is newer, its turn is as old. */
static bool replace(outbox_t *o, struct item *i) {
    struct item *old = i->key ? map_get(o->keys, i->key) : NULL;
    if (!old)
        return false;
    link_before(o, old, i);
    if (o->unsent == old)
        o->unsent = i;
    unlink_item(o, old);
    return true;
}

int outbox_add(outbox_t *o, enum message_type type, const char *key, json_t *body, bool drop_oldest) {
    struct item *i = make_item(type, key, body);
    if (!i)
        return OSMO_ENOMEM;
    if (!replace(o, i)) {
        if (o->len >= o->max && drop_oldest && o->unsent != &o->head) {
            unlink_item(o, o->unsent);
            o->dropped++;
        }
        if (o->len >= o->max) {
            o->dropped++;
            free_item(i);
            return OSMO_ELIMIT;
        }
        link_before(o, &o->head, i);
        if (o->unsent == &o->head)
            o->unsent = i;
    }
    if (i->key && map_set(o->keys, i->key, i) < 0)
        return OSMO_OK; /* it is queued all the same; a newer one will only not replace it */
    return OSMO_OK;
}

void outbox_purge(outbox_t *o, const char *key) {
    struct item *i = map_get(o->keys, key);
    if (i)
        unlink_item(o, i);
}

const buf_t *outbox_next(const outbox_t *o) {
    return o->unsent != &o->head && o->in_flight < o->window ? &o->unsent->text : NULL;
}

void outbox_sent(outbox_t *o) {
    forget_key(o, o->unsent);
    o->unsent = o->unsent->next;
    o->in_flight++;
}

bool outbox_ack(outbox_t *o, const char *uuid) {
    for (struct item *i = o->head.next; i != o->unsent; i = i->next) {
        if (strcmp(i->uuid, uuid) != 0)
            continue;
        o->in_flight--;
        unlink_item(o, i);
        return true;
    }
    return false;
}

void outbox_rewind(outbox_t *o) {
    o->unsent = o->head.next;
    o->in_flight = 0;
}

size_t outbox_len(const outbox_t *o) { return o->len; }
size_t outbox_in_flight(const outbox_t *o) { return o->in_flight; }
uint64_t outbox_dropped(const outbox_t *o) { return o->dropped; }
