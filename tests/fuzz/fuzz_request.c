/* Fuzz entry: any bytes as a request to a service in development mode. First line "METHOD PATH?QUERY", then header
 * lines "name: value", an empty line, the body. Nothing may crash or leak, and every request gets a status. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

#define MAX_HEADERS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Cuts the next line out of the text. */
static char *next_line(char **p) {
    char *line = *p, *nl = strchr(line, '\n');
    *p = nl ? nl + 1 : line + strlen(line);
    if (nl)
        *nl = '\0';
    return line;
}

static size_t read_headers(char **p, const char **headers) {
    size_t n = 0;
    headers[n++] = "host";
    headers[n++] = "localhost";
    for (char *line = next_line(p); *line && n < 2 * MAX_HEADERS; line = next_line(p)) {
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        *colon = '\0';
        headers[n++] = line;
        headers[n++] = colon + 1 + strspn(colon + 1, " ");
    }
    headers[n] = NULL;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1), *p = text, chunk[256];
    const char *headers[2 * MAX_HEADERS + 2];
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *method = next_line(&p), *path = strchr(method, ' ');
    if (path) {
        *path++ = '\0';
        char *query = strchr(path, '?');
        if (query)
            *query++ = '\0';
        read_headers(&p, headers);
        osmo_request_t rq = { .size = sizeof rq,
                              .id = 1,
                              .method = method,
                              .path = path,
                              .query = query ? query : "",
                              .headers = headers,
                              .body = p,
                              .body_len = (size_t)(text + size - p),
                              .peer = "127.0.0.1" };
        osmo_response_t rs;
        osmo_service_handle(fuzz_service(), &rq, &rs);
        if (rs.status < 200 || rs.status > 599)
            abort();
        while (rs.stream && osmo_stream_read(rs.stream, chunk, sizeof chunk) > 0)
            ;
        osmo_response_clear(&rs);
    }
    free(text);
    return 0;
}
