/* A websocket client by hand, for tests of what is on the wire: frames as they are wanted, and as they come. */
#ifndef TESTS_WS_RAW_H
#define TESTS_WS_RAW_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Upgrades `fd`; the answer's status. */
int ws_raw_upgrade(int fd, const char *path, const char *host);
/* A masked frame; false when it cannot be sent. */
bool ws_raw_send(int fd, unsigned op, bool fin, const void *data, size_t len);
void ws_raw_close(int fd, int code, const char *reason); /* code 0: none */

struct ws_raw_message { unsigned op; size_t len, fragments; char *data; /* NUL-terminated */ int code; /* of a close */ };
/* The next whole message or close; pings are answered, pongs passed over. op is 0xff at the end of the connection.
 * data is malloc'ed. Fragments are of at most 64 KiB, as our server sends them. */
struct ws_raw_message ws_raw_read(int fd);
/* The next frame of either side of a connection, of any kind; len of its payload, -1 at the end. */
int64_t ws_raw_frame(int fd, unsigned *op, bool *fin, char *data, size_t max);
bool read_exactly(int fd, void *data, size_t len);
bool write_exactly(int fd, const void *data, size_t len);
#endif
