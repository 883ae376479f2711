/* A connection carried with a limit on how fast, each way. Used by rsync.c. */
#ifndef OSMO_EXEC_PACE_H
#define OSMO_EXEC_PACE_H
#include <stddef.h>
#include <stdint.h>

/* A rate of bytes a second, 0 = any; zero-initialise the rest. Pure. */
struct pace { int64_t rate, ready_us; };
size_t pace_piece(const struct pace *p, size_t most); /* how many bytes at a time; at least 1 */
int64_t pace_wait_us(const struct pace *p, int64_t now_us); /* until the next of them */
void pace_took(struct pace *p, int64_t now_us, size_t bytes);

/* Carries both ways until both have ended or one fails: what comes from `client` by one rate, what goes to it by the other. Closes both. */
void pace_carry(int client, int server, int64_t from_client, int64_t to_client);
/* A connected pair of TCP sockets on the loopback, whose ends have addresses. -1: there is none, errno says why. */
int pace_pair(int fds[2]);
#endif
