/* Without a sandbox nothing can be mounted at /osmo or /tmp, so these paths are replaced by directories of the pod wherever
 * they stand at the beginning of a path in arguments, environment and files. Pure. */
#include <ctype.h>
#include <string.h>
#include "cluster/local/local_int.h"

static const char *const prefixes[] = {"/osmo_binaries", "/osmo_runtime", "/osmo", "/tmp"};

static bool name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static size_t prefix_at(const char *p, size_t left)
{
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (left >= n && memcmp(p, prefixes[i], n) == 0 && (left == n || !name_char(p[n])))
            return n;
    }
    return 0;
}

bool rewrite_possible(const char *path)
{
    return prefix_at(path, strlen(path)) > 0;
}

char *rewrite_text(const char *text, size_t len, const char *root, size_t *out_len)
{
    _cleanup_buf_ buf_t out = BUF_INIT(LOCAL_JSON_MAX);
    buf_puts(&out, "");
    for (size_t i = 0; i < len;) {
        bool begins = i == 0 || !(name_char(text[i - 1]) || text[i - 1] == '/' || text[i - 1] == '~');
        size_t n = text[i] == '/' && begins ? prefix_at(text + i, len - i) : 0;
        if (n) {
            buf_puts(&out, root);
            buf_append(&out, text + i, n);
            i += n;
        } else {
            buf_putc(&out, text[i++]);
        }
    }
    return buf_steal(&out, out_len);
}
