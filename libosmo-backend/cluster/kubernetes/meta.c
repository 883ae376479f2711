#include "base/hash.h"
/* Reading who an object is; see meta.h. */
#include "cluster/kubernetes/meta.h"

#include <stdio.h>
#include <string.h>

static void read_finalizers(json_reader_t *r, struct meta *m) {
    json_slice_t one;
    if (!json_reader_array(r))
        return;
    while (json_reader_element(r))
        if (json_reader_string(r, &one) && json_slice_is(&one, META_FINALIZER))
            m->finalizer = true;
}

static void read_metadata(json_reader_t *r, struct meta *m) {
    json_slice_t key;
    if (!json_reader_object(r))
        return;
    while (json_reader_key(r, &key)) {
        if (json_slice_is(&key, "name"))
            json_reader_string(r, &m->name);
        else if (json_slice_is(&key, "namespace"))
            json_reader_string(r, &m->namespace_);
        else if (json_slice_is(&key, "uid"))
            json_reader_string(r, &m->uid);
        else if (json_slice_is(&key, "resourceVersion"))
            json_reader_string(r, &m->version);
        else if (json_slice_is(&key, "labels"))
            json_reader_skip(r, &m->labels);
        else if (json_slice_is(&key, "annotations"))
            json_reader_skip(r, &m->annotations);
        else if (json_slice_is(&key, "creationTimestamp"))
            json_reader_string(r, &m->created);
        else if (json_slice_is(&key, "deletionTimestamp"))
            json_reader_string(r, &m->deleted);
        else if (json_slice_is(&key, "deletionGracePeriodSeconds"))
            json_reader_int(r, &m->grace_s);
        else if (json_slice_is(&key, "finalizers"))
            read_finalizers(r, m);
        else
            json_reader_skip(r, NULL);
    }
}

bool meta_read(const char *json, size_t len, bool whole, struct meta *m) {
    json_reader_t r;
    json_slice_t key;
    bool found = false;
    *m = (struct meta){ .grace_s = -1 };
    json_reader_init(&r, json, len);
    if (!json_reader_object(&r))
        return false;
    while ((whole || !found) && json_reader_key(&r, &key)) {
        if (json_slice_is(&key, "metadata")) {
            read_metadata(&r, m);
            found = true;
        } else if (json_slice_is(&key, "kind")) {
            json_reader_string(&r, &m->kind);
        } else if (json_slice_is(&key, "apiVersion")) {
            json_reader_string(&r, &m->api_version);
        } else if (json_slice_is(&key, "spec")) {
            json_reader_skip(&r, &m->spec);
        } else if (json_slice_is(&key, "status")) {
            json_reader_skip(&r, &m->status);
        } else {
            json_reader_skip(&r, NULL);
        }
    }
    return !json_reader_failed(&r) && found && m->name.len;
}

bool meta_key(const struct meta *m, char key[META_KEY_MAX]) {
    if (m->namespace_.len + m->name.len + 2 > META_KEY_MAX)
        return false;
    snprintf(key, META_KEY_MAX, "%.*s/%.*s", meta_len(&m->namespace_), m->namespace_.len ? m->namespace_.text : "", meta_len(&m->name),
             m->name.text);
    return true;
}

static int nibble(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

bool meta_uuid(const json_slice_t *s, unsigned char out[16]) {
    size_t n = 0;
    if (s->len != 36)
        return false;
    for (size_t i = 0; i < 36;) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (s->text[i++] != '-')
                return false;
            continue;
        }
        int high = nibble(s->text[i]), low = nibble(s->text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[n++] = (unsigned char)(high << 4 | low);
        i += 2;
    }
    return true;
}

uint64_t meta_hash(const char *text, size_t len) {
    uint64_t h = hash_bytes(HASH_START, text, len);
    return h ^ h >> 32; /* the lower bits choose a place in a table */
}
