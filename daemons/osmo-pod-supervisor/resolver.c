/* Where pods ask for names. Mostly where the host does; but a resolver on the host's loopback address is out of their reach. They
 * get the servers behind it where these are known (systemd-resolved), else the helper's, else they ask it through a relay, over
 * TCP. Used by holder.c. */
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "holder.h"

#define FILE_MAX (64 * 1024)

static const char *const files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};

bool resolver_find(const char *text, bool loopback, size_t i, uint32_t *out)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char address[64];
        size_t skip = strspn(line, " \t"), word = strcspn(line + skip, " \t\n");
        if (word != strlen("nameserver") || strncmp(line + skip, "nameserver", word) != 0)
            continue;
        const char *value = line + skip + word;
        value += strspn(value, " \t");
        snprintf(address, sizeof(address), "%.*s", (int)strcspn(value, " \t\n"), value);
        if (network_address(address, out) == 0 && *out != 0 && (*out >> 24 == 127) == loopback && i-- == 0)
            return true;
    }
    return false;
}

static bool find_in(const char *path, size_t i, uint32_t *out)
{
    _cleanup_buf_ buf_t text = BUF_INIT(FILE_MAX);
    return file_read(path, &text, NULL) == 0 && resolver_find(buf_cstr(&text), false, i, out);
}

bool resolver_address(size_t i, uint32_t *out)
{
    return find_in(files[0], i, out) || (!find_in(files[0], 0, out) && find_in(files[1], i, out));
}

static void add_line(buf_t *out, const char *line, size_t len)
{
    if (strncmp(line, "nameserver", strlen("nameserver")) != 0 && len > 0)
        buf_printf(out, "%.*s\n", (int)len, line);
}

int resolver_write(const char *dir, const char *server, char relay[32], osmo_error_t *err)
{
    _cleanup_free_ char *path = str_printf("%s/resolv.conf", dir);
    _cleanup_buf_ buf_t text = BUF_INIT(FILE_MAX), out = BUF_INIT(2 * FILE_MAX);
    uint32_t a;
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    unlink(path);
    *relay = '\0';
    if (file_read(files[0], &text, NULL) < 0 || find_in(files[0], 0, &a))
        return 0;
    const char *host = buf_cstr(&text);
    for (const char *line = host; *line; line += strcspn(line, "\n"), line += *line == '\n')
        add_line(&out, line, strcspn(line, "\n"));
    for (size_t i = 0; i < 3 && find_in(files[1], i, &a); i++) {
        buf_printf(&out, "nameserver %u.%u.%u.%u\n", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
        server = NULL;
    }
    if (server) {
        buf_printf(&out, "nameserver %s\n", server);
    } else if (!strstr(out.len ? buf_cstr(&out) : "", "nameserver") && resolver_find(host, true, 0, &a)) {
        snprintf(relay, 32, "%u.%u.%u.%u:53", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
        buf_printf(&out, "nameserver %.*s\noptions use-vc\n", (int)strcspn(relay, ":"), relay);
    }
    return buf_failed(&out) ? osmo_error_set(err, OSMO_ENOMEM, "out of memory")
                            : file_write_atomic(path, buf_cstr(&out), out.len, 0644, false, err);
}
