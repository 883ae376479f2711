/* Lists, page by page: a page is in memory as it came and is handed out object by object as slices of it, without a tree. Called by the
 * reflectors, the operator's jobs and embedders. */
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json_reader.h"
#include "cluster/kubernetes/kube_int.h"

#define PAGE_SIZE 500
#define PAGE_SIZE_MAX 10000
#define CONTINUE_MAX (64u << 10)
#define LIST_TIMES 4 /* what a page may take, in timeouts of ordinary requests */

static void read_metadata(json_reader_t *r, struct kube_page *out) {
    json_slice_t key, text;
    if (!json_reader_object(r))
        return;
    while (json_reader_key(r, &key)) {
        if (json_slice_is(&key, "resourceVersion")) {
            if (json_reader_string(r, &text) && text.len < sizeof out->version)
                json_slice_copy(&text, out->version, sizeof out->version);
        } else if (json_slice_is(&key, "continue")) {
            if (json_reader_string(r, &text) && text.len && text.len < CONTINUE_MAX && buf_reserve(&out->next, text.len + 1) == 0)
                out->next.len = json_slice_copy(&text, out->next.data, text.len + 1);
        } else {
            json_reader_skip(r, NULL);
        }
    }
}

static void read_items(json_reader_t *r, osmo_kube_object_fn fn, void *ctx, struct kube_page *out) {
    json_slice_t item;
    if (!json_reader_array(r))
        return;
    while (json_reader_element(r)) {
        json_reader_skip(r, &item);
        if (!json_reader_failed(r) && !out->stopped)
            out->stopped = fn(ctx, item.text, item.len) != 0;
    }
}

int kube_page_read(const char *json, size_t len, osmo_kube_object_fn fn, void *ctx, struct kube_page *out, osmo_error_t *err) {
    json_reader_t r;
    json_slice_t key;
    bool items = false;
    memset(out, 0, sizeof *out);
    buf_init(&out->next, CONTINUE_MAX);
    json_reader_init(&r, json, len);
    bool whole = json_reader_kind(&r) == JSON_OBJECT && json_reader_object(&r);
    while (whole && json_reader_key(&r, &key)) { /* custom resources have their metadata behind the items */
        if (json_slice_is(&key, "metadata")) {
            read_metadata(&r, out);
        } else if (json_slice_is(&key, "items")) {
            items = true;
            read_items(&r, fn, ctx, out);
        } else {
            json_reader_skip(&r, NULL);
        }
    }
    if (buf_failed(&out->next))
        return no_memory(err);
    if (out->stopped || (whole && items && !json_reader_failed(&r) && json_reader_at_end(&r)))
        return 0;
    return osmo_error_set(err, OSMO_EIO, "the Kubernetes API server's answer is no list: is something else at its address?");
}

static void page_url(const osmo_kube_target_t *what, const buf_t *path, int page_size, const char *version, const buf_t *next, buf_t *url) {
    char limit[16];
    buf_puts(url, path->data);
    kube_query_selectors(url, what);
    snprintf(limit, sizeof limit, "%d", page_size);
    kube_query(url, "limit", limit);
    if (next->len) {
        kube_query(url, "continue", next->data);
    } else if (version && *version) {
        kube_query(url, "resourceVersion", version);
        kube_query(url, "resourceVersionMatch", strcmp(version, "0") ? "NotOlderThan" : NULL);
    }
}

/* One page; *next is where it goes on. */
static int one_page(osmo_kube_t *k, const osmo_kube_target_t *what, const buf_t *path, int *page_size, const char *version, buf_t *next,
                    struct kube_page *page, osmo_kube_object_fn fn, void *ctx, osmo_error_t *err) {
    _cleanup_buf_ buf_t answer = {0};
    int rc = OSMO_ELIMIT;
    memset(page, 0, sizeof *page);
    for (bool first = true; rc == OSMO_ELIMIT && (first || *page_size > 1); first = false) {
        _cleanup_buf_ buf_t url = BUF_INIT(1u << 20);
        if (!first) /* objects are larger than usual: fewer at a time */
            *page_size = *page_size > 8 ? *page_size / 8 : 1;
        page_url(what, path, *page_size, version, next, &url);
        if ((rc = kube_url_failed(&url, err)) < 0)
            return rc;
        const struct kube_call call = {.method = "GET", .path = url.data, .max = KUBE_PAGE_MAX, .secret = kube_target_secret(what),
                                       .repeatable = true, .total_ms = LIST_TIMES * k->timeout_ms};
        rc = kube_request(k, &call, &answer, err);
    }
    if (rc == 0)
        rc = kube_page_read(answer.data ? answer.data : "", answer.len, fn, ctx, page, err);
    return rc;
}

int osmo_kube_list(osmo_kube_t *k, const osmo_kube_target_t *given, int page_size, char version[OSMO_KUBE_VERSION_MAX],
                   osmo_kube_object_fn fn, void *ctx, osmo_error_t *err) {
    _cleanup_buf_ buf_t path = BUF_INIT(64u << 10), next = BUF_INIT(CONTINUE_MAX);
    struct kube_page page = {.stopped = false};
    osmo_kube_target_t what = {0};
    if (!given || !fn || page_size < 0 || page_size > PAGE_SIZE_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "osmo_kube_list needs a target, a function, and pages of at most %d", PAGE_SIZE_MAX);
    memcpy(&what, given, given->size < sizeof what ? given->size : sizeof what);
    what.name = what.subresource = NULL;
    int rc = kube_target_path(k, &what, KUBE_ALL, &path, err);
    page_size = page_size ? page_size : PAGE_SIZE;
    while (rc == 0) {
        rc = one_page(k, &what, &path, &page_size, version, &next, &page, fn, ctx, err);
        buf_free(&next);
        next = page.next;
        if (rc < 0 || page.stopped || !next.len)
            break;
    }
    if (rc == OSMO_ENOTFOUND)
        kube_discovery_doubt(&k->discovery, what.api_version);
    if (rc == 0 && version && !page.stopped)
        memcpy(version, page.version, OSMO_KUBE_VERSION_MAX);
    return rc;
}
