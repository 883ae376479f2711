/* The halves of the storage server that are not S3: Azure's blobs and the service's own storage. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/json.h"
#include "data/xml.h"
#include "storage_server_int.h"

/* ---- Azure: /account/container/blob ---- */

static struct upload *blocks_of(storage_server_t *s, const char *path) {
    for (size_t i = 0; i < s->nuploads; i++)
        if (!strcmp(s->uploads[i].path, path))
            return &s->uploads[i];
    struct upload *u = &s->uploads[s->nuploads++];
    *u = (struct upload){ .path = strdup(path) };
    return u;
}

static void take_block(storage_server_t *s, const char *path, const struct server_request *rq, const char *name, struct server_answer *a) {
    struct upload *u = blocks_of(s, path);
    size_t i = 0;
    while (i < 63 && u->parts[i].data && strcmp(u->parts[i].name, name) != 0)
        i++;
    free(u->parts[i].data);
    u->parts[i].data = malloc(rq->len + 1);
    memcpy(u->parts[i].data, rq->body, rq->len);
    u->parts[i].len = rq->len;
    snprintf(u->parts[i].name, sizeof u->parts[i].name, "%s", name);
    a->status = 201;
}

static void put_together(storage_server_t *s, const char *path, const struct server_request *rq, struct server_answer *a) {
    struct upload *u = blocks_of(s, path);
    buf_t all = BUF_INIT(64u << 20);
    xml_reader_t x;
    struct xml_name n;
    enum xml_event e;
    a->status = 201;
    xml_begin(&x, rq->body, rq->len);
    while ((e = xml_next(&x, &n)) == XML_OPEN || e == XML_CLOSE) {
        if (e != XML_OPEN || !xml_is(&n, "Latest"))
            continue;
        buf_t name = BUF_INIT(256);
        size_t i = 0;
        xml_text(&x, &name);
        while (i < 64 && (!u->parts[i].data || strcmp(u->parts[i].name, name.data) != 0))
            i++;
        if (i == 64)
            answer_error(a, 400, "InvalidBlockList");
        else
            buf_append(&all, u->parts[i].data, u->parts[i].len);
        buf_free(&name);
    }
    if (a->status == 201) {
        store_object(s, path, all.data, all.len);
        drop_upload(s, u);
    }
    buf_free(&all);
}

static void list_blocks(storage_server_t *s, const char *path, struct server_answer *a) {
    const struct upload *u = blocks_of(s, path);
    a->status = 200;
    buf_puts(&a->body, "\xef\xbb\xbf<?xml version=\"1.0\"?><BlockList><UncommittedBlocks>");
    for (size_t i = 0; i < 64; i++)
        if (u->parts[i].data)
            buf_printf(&a->body, "<Block><Name>%s</Name><Size>%zu</Size></Block>", u->parts[i].name, u->parts[i].len);
    buf_puts(&a->body, "</UncommittedBlocks></BlockList>");
}

static void list_blobs(storage_server_t *s, const char *container, const struct server_request *rq, struct server_answer *a) {
    char *prefix = request_query(rq, "prefix"), *marker = request_query(rq, "marker");
    char *full = str_printf("%s/%s", container, prefix ? prefix : "");
    char *delimiter = request_query(rq, "delimiter"), *common = strdup("");
    size_t n = 0;
    const char *next = NULL;
    a->status = 200;
    buf_puts(&a->body, "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"x\"><Blobs>");
    for (size_t i = 0; i < s->nobjects; i++) {
        const struct object *o = &s->objects[i];
        if (!str_starts(o->path, full) || (marker && strcmp(o->path, marker) < 0) || (*common && str_starts(o->path, common)))
            continue;
        if (n++ == s->page) {
            next = o->path;
            break;
        }
        const char *slash = delimiter ? strchr(o->path + strlen(full), '/') : NULL;
        if (slash) {
            free(common);
            common = strndup(o->path, (size_t)(slash - o->path) + 1);
            buf_puts(&a->body, "<BlobPrefix><Name>");
            xml_escape(common + strlen(container) + 1, &a->body);
            buf_puts(&a->body, "</Name></BlobPrefix>");
            continue;
        }
        buf_puts(&a->body, "<Blob><Name>");
        xml_escape(o->path + strlen(container) + 1, &a->body);
        buf_printf(&a->body, "</Name><Properties><Last-Modified>Fri, 24 May 2013 00:00:00 GMT</Last-Modified><Etag>%s</Etag>"
                             "<Content-Length>%zu</Content-Length></Properties></Blob>", o->etag, o->len);
    }
    buf_printf(&a->body, "</Blobs><NextMarker>%s</NextMarker></EnumerationResults>", next ? next : "");
    free(prefix), free(marker), free(full), free(delimiter), free(common);
}

void azure_answer(storage_server_t *s, const struct server_request *rq, struct server_answer *a) {
    const char *path = rq->path + 1, *auth = request_header(rq, "Authorization");
    char *comp = request_query(rq, "comp"), *block = request_query(rq, "blockid"), *sig = request_query(rq, "sig");
    struct object *o = find_object(s, path);
    bool put = !strcmp(rq->method, "PUT");
    if (!(auth && str_starts(auth, "SharedKey account:")) && !(sig && !strcmp(sig, "ok+/=")))
        answer_error(a, 403, "AuthenticationFailed");
    else if (comp && !strcmp(comp, "list"))
        list_blobs(s, path, rq, a);
    else if (comp && !strcmp(comp, "block"))
        take_block(s, path, rq, block, a);
    else if (comp && put)
        put_together(s, path, rq, a);
    else if (comp)
        list_blocks(s, path, a);
    else if (put && request_header(rq, "x-ms-blob-type"))
        store_object(s, path, rq->body, rq->len), a->status = 201;
    else if (!o)
        answer_error(a, 404, "BlobNotFound"), answer_text(a, "x-ms-error-code", "BlobNotFound");
    else if (!strcmp(rq->method, "DELETE"))
        drop_object(s, o), a->status = 202;
    else
        send_object(s, rq, o, a);
    free(comp), free(block), free(sig);
}

/* ---- the service: /api/storage/WORKFLOW/TASK/path; what is not published lies below the upload's name ---- */

static void list_tree(storage_server_t *s, const char *tree, struct server_answer *a) {
    json_t *o = json_object(), *objects = json_array();
    char sha[65];
    for (size_t i = 0; i < s->nobjects; i++)
        if (str_starts(s->objects[i].path, tree) && s->objects[i].path[strlen(tree)] == '/') {
            json_t *one = json_object();
            crypto_sha256_hex(s->objects[i].data, s->objects[i].len, sha);
            json_set_str(one, "path", s->objects[i].path + strlen(tree) + 1);
            json_set_int(one, "size", (int64_t)s->objects[i].len);
            json_set_int(one, "mode", s->objects[i].mode);
            json_set_str(one, "sha256", sha);
            json_add(objects, one);
        }
    json_set(o, "objects", objects);
    json_print(o, 0, &a->body);
    json_free(o);
    a->status = 200;
}

static void publish(storage_server_t *s, const char *tree, const char *upload, struct server_answer *a) {
    char *staged = str_printf("staged/%s/%s/", upload, tree), *own = str_printf("%s/", tree);
    for (size_t i = s->nobjects; i-- > 0;)
        if (str_starts(s->objects[i].path, own))
            drop_object(s, &s->objects[i]);
    for (size_t i = 0; i < s->nobjects;) {
        struct object o = s->objects[i];
        if (!str_starts(o.path, staged)) {
            i++;
            continue;
        }
        char *path = str_printf("%s%s", own, o.path + strlen(staged));
        store_object(s, path, o.data, o.len)->mode = o.mode;
        free(path);
        drop_object(s, find_object(s, o.path));
        i = 0;
    }
    free(staged), free(own);
    buf_puts(&a->body, "{\"objects\":1}");
    a->status = 200;
}

void service_answer(storage_server_t *s, const struct server_request *rq, struct server_answer *a) {
    const char *path = rq->path + strlen("/api/storage/"), *auth = request_header(rq, "Authorization");
    char *list = request_query(rq, "list"), *upload = request_query(rq, "upload"), *commit = request_query(rq, "commit");
    char *mode = request_query(rq, "mode"), sha[65];
    struct object *o = find_object(s, path);
    if (!auth || strcmp(auth, STORAGE_TOKEN) != 0) {
        a->status = 401;
        buf_puts(&a->body, "{\"message\":\"no token\"}");
    } else if (list) {
        list_tree(s, path, a);
    } else if (commit) {
        publish(s, path, commit, a);
    } else if (upload) {
        char *staged = str_printf("staged/%s/%s", upload, path);
        store_object(s, staged, rq->body, rq->len)->mode = (int)strtol(mode ? mode : "0", NULL, 8);
        crypto_sha256_hex(rq->body, rq->len, sha);
        buf_printf(&a->body, "{\"size\":%zu,\"sha256\":\"%s\"}", rq->len, sha);
        a->status = 200;
        free(staged);
    } else if (o) {
        a->status = 200;
        buf_append(&a->body, o->data, o->len);
    } else {
        a->status = 404;
        buf_puts(&a->body, "{\"message\":\"nothing of this name\"}");
    }
    free(list), free(upload), free(commit), free(mode);
}
