/* The server's side of a websocket, by hand and blocking, for tests of those who dial: one thread a connection. */
#ifndef TESTS_WS_PEER_H
#define TESTS_WS_PEER_H
#include <stdbool.h>
#include <stddef.h>

enum { PEER_TEXT = 1, PEER_BINARY = 2, PEER_CLOSE = 8, PEER_PING = 9, PEER_PONG = 10 };

/* Takes the next connection and answers its upgrade; `more` is added to the answer (lines with CRLF, or ""). The
 * request is left in `request`.
 * -1 on failure. */
int ws_peer_accept(int listener, char *request, size_t size, const char *more);
/* The next frame whole, unmasked; its opcode, or -1 at the end. A frame longer than size is an end too. */
int ws_peer_read(int fd, char *data, size_t size, size_t *len);
bool ws_peer_write(int fd, int opcode, const void *data, size_t len);
/* The same, but not the end of its message when !fin; opcode 0 continues. */
bool ws_peer_write_part(int fd, int opcode, const void *data, size_t len, bool fin);
/* Sends a close frame, reads until the answer, closes the socket. */
void ws_peer_close(int fd, int code, const char *reason);
#endif
