/* Building and splitting of ctrl/exec messages; see link.h. */
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const text_fields[] = { "MessageOut", "MessageErr", "MessageOps", "OutputFolder", "RouterAddress", "Command" };

static void quoted(buf_t *out, const char *text, size_t len) {
    buf_putc(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_append(out, text + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\t')
            buf_puts(out, "\\t");
        else if (c == '\n')
            buf_puts(out, "\\n");
        else
            buf_printf(out, "\\u%04x", c);
    }
    buf_append(out, text + from, len - from);
    buf_putc(out, '"');
}

int link_message(buf_t *out, const char *type, const char *field, const char *text, size_t len) {
    buf_printf(out, "{\"Type\":\"%s\"", type);
    for (size_t i = 0; i < sizeof text_fields / sizeof text_fields[0]; i++) {
        bool mine = field && strcmp(field, text_fields[i]) == 0;
        buf_printf(out, ",\"%s\":", text_fields[i]);
        quoted(out, mine ? text : "", mine ? len : 0);
    }
    return buf_puts(out, ",\"TaskPort\":0,\"RsyncRunning\":false}\n");
}

int link_next(buf_t *in, json_t **out) {
    size_t start = 0;
    while (start < in->len && memchr(" \t\r\n", in->data[start], 4))
        start++;
    buf_consume(in, start);
    if (!in->len)
        return 0;
    if (in->data[0] != '{')
        return OSMO_EINVAL;
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < in->len; i++) {
        char c = in->data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{') {
            depth++;
        } else if (c == '}' && --depth == 0) {
            int rc = json_parse(in->data, i + 1, out, NULL);
            buf_consume(in, i + 1);
            return rc < 0 ? rc : 1;
        }
    }
    return in->len > LINK_MESSAGE_MAX ? OSMO_ELIMIT : 0;
}

int link_address(const char *path, struct sockaddr_un *address, int *dir_fd) {
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    *dir_fd = -1;
    if (strlen(path) < sizeof address->sun_path) {
        strcpy(address->sun_path, path);
        return 0;
    }
    const char *name = strrchr(path, '/');
    char *dir = name ? strndup(path, (size_t)(name - path)) : NULL;
    if (dir)
        *dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(dir);
    if (*dir_fd < 0)
        return -1;
    int n = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d%s", *dir_fd, name);
    if (n < 0 || (size_t)n >= sizeof address->sun_path) {
        close(*dir_fd);
        *dir_fd = -1;
        errno = ENAMETOOLONG;
        return -1;
    }
    return 0;
}
