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

static int message(buf_t *out, const char *type, const char *field, const char *text, size_t len, bool running, const char *member,
                   const char *value) {
    buf_printf(out, "{\"Type\":\"%s\"", type);
    for (size_t i = 0; i < sizeof text_fields / sizeof text_fields[0]; i++) {
        bool mine = field && strcmp(field, text_fields[i]) == 0;
        buf_printf(out, ",\"%s\":", text_fields[i]);
        quoted(out, mine ? text : "", mine ? len : 0);
    }
    buf_printf(out, ",\"TaskPort\":0,\"RsyncRunning\":%s", running ? "true" : "false");
    if (member) {
        buf_printf(out, ",\"%s\":", member);
        quoted(out, value, strlen(value));
    }
    return buf_puts(out, "}\n");
}

int link_message(buf_t *out, const char *type, const char *field, const char *text, size_t len) {
    return message(out, type, field, text, len, false, NULL, NULL);
}

int link_message_with(buf_t *out, const char *type, const char *field, const char *text, size_t len, const char *member,
                      const char *value) {
    return message(out, type, field, text, len, false, member, value);
}

int link_rsync_status(buf_t *out, bool running) { return message(out, "UserRsyncStatus", NULL, "", 0, running, NULL, NULL); }

bool link_has_word(const char *list, const char *word) {
    size_t len = strlen(word);
    for (const char *p = list; p && *p; p += strcspn(p, ", "), p += strspn(p, ", ")) {
        if (strcspn(p, ", ") == len && memcmp(p, word, len) == 0)
            return true;
    }
    return false;
}

int link_frame_put(buf_t *out, char type, const void *data, size_t len) {
    size_t at = 0;
    do {
        size_t n = len - at < LINK_FRAME_MAX ? len - at : LINK_FRAME_MAX;
        const unsigned char head[LINK_FRAME_HEAD] = { (unsigned char)type, (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                                                      (unsigned char)n };
        buf_append(out, head, sizeof head);
        if (n)
            buf_append(out, (const char *)data + at, n);
        at += n;
    } while (at < len);
    return out->code;
}

int link_frame_next(const char *data, size_t len, struct link_frame *out, size_t *used) {
    if (len < LINK_FRAME_HEAD)
        return 0;
    const unsigned char *head = (const unsigned char *)data;
    size_t n = (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    if (n > LINK_FRAME_MAX || head[0] < 'A' || head[0] > 'Z')
        return OSMO_EINVAL;
    if (len < LINK_FRAME_HEAD + n)
        return 0;
    *out = (struct link_frame){ .type = data[0], .data = data + LINK_FRAME_HEAD, .len = n };
    *used = LINK_FRAME_HEAD + n;
    return 1;
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
