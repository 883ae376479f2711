/* Fuzz entry: lines of JSON as the Kubernetes objects a backend is asked to create. Pods go as far as the plan of what
 * to run, in a temporary state directory, and all of it is placed on one node; nothing is started. */
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cluster/local/local_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan(struct local *l, json_t *v) {
    struct pod *p = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (pod_new(l, v, &p, &err) < 0)
        return;
    p->address = 0x010203;
    if (plan_build(l, p, &err) >= 0 && hosts_write(l, p, &err) < 0)
        abort();
    pod_free(p);
}

/* As the driver does: names first, then a pod needs containers. */
static void create(struct local *l, const char *text, size_t len) {
    json_t *v = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (json_parse(text, len, &v, &err) >= 0) {
        const char *kind = json_get_str(v, "kind"), *name = json_get_str(json_get(v, "metadata"), "name");
        if (name_ok(kind) && name_ok(name)) {
            if (!str_eq(kind, "Pod"))
                object_put(l, kind, name, v, false, &err);
            else if (json_len(json_path(v, "spec", "containers", NULL)) && place_pod(l->place, v, (int64_t)len, NULL, &err) >= 0)
                plan(l, v);
        }
    }
    json_free(v);
}

static void on_bind(void *ctx, const char *pod, const char *node) { (void)ctx, (void)pod, (void)node; }
static void on_words(void *ctx, const char *pod, const char *words) { (void)ctx, (void)pod, (void)words; }

static void place_everything(struct local *l) {
    static const char node[] = "{\"metadata\":{\"name\":\"local\"},"
                               "\"status\":{\"allocatable\":{\"cpu\":\"4\",\"memory\":\"8Gi\",\"pods\":\"8\"}}}";
    const struct place_sink sink = { .bind = on_bind, .preempt = on_words, .wait = on_words };
    json_t *v = NULL;
    if (json_parse(node, strlen(node), &v, NULL) < 0 || place_node(l->place, v, NULL) < 0 || place_run(l->place, &sink, NULL) < 0)
        abort();
    json_free(v);
}

static char dir[] = "/tmp/osmo-fuzz-XXXXXX";

static void remove_state(void) {
    dir_remove_tree(dir, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const isolations[] = { "plain", "user" };
    static bool ready;
    if (!ready && (!mkdtemp(dir) || atexit(remove_state)))
        abort();
    ready = true;
    struct local l = { .state_dir = dir,
                       .namespace_ = (char *)"default",
                       .node_name = (char *)"local",
                       .bwrap = (char *)"",
                       .isolation = (char *)isolations[size % 2],
                       .objects = map_new(object_free),
                       .pods = map_new(NULL) };
    char *hosts = str_printf("%s/hosts", dir);
    if (!l.objects || !hosts || dir_make(hosts, 0700, NULL) < 0)
        abort();
    if (place_new(&(struct place_options){ .any_node = true, .strict_order = true }, &l.place, NULL) < 0)
        abort();
    const char *text = (const char *)data, *end = text + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        create(&l, text, (size_t)((newline ? newline : end) - text));
        text = newline ? newline + 1 : end;
    }
    place_everything(&l);
    place_free(l.place);
    map_free(l.objects);
    map_free(l.pods);
    free(hosts);
    return 0;
}
