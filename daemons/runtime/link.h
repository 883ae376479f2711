/* What osmo_ctrl and osmo_exec say on their unix socket.
 *
 * Main connection: concatenated JSON objects of nine members, as OSMO 6.4's runtime has them. What ours add:
 *  - ExecStart has a tenth member "Extensions":"sessions,checkpoints", which others ignore. An osmo_exec that finds it answers with
 *    {"Type":"Extensions", … ,"Extensions":"sessions,checkpoints"} before anything else. Only then is what follows used.
 *  - UserExecStart has "Session":"<number>". A session without it is OSMO's: the new connection carries raw bytes, pairing is by order.
 *
 * Further connections to the same socket (osmo_exec dials). Between ours the first line is a JSON object:
 *  - {"Session":"<number>"}: an interactive session. Frames in both directions: a letter, three bytes of length (big endian), payload.
 *      to osmo_exec:  I input (its first bytes are the size object, escapes come in it), Z end of input (no payload).
 *                     The connection's end is the client's departure.
 *      to osmo_ctrl:  H extensions that the size object asked for and that are granted, comma separated, maybe none; the first frame.
 *                     O output, E error output (pipe mode), X exit status as decimal text; the last frame.
 *  - {"Checkpoint":{"Path","Url","Regex"}}: files for osmo_ctrl to upload. F frames: names (keys below the URL), each
 *    ended by a NUL, with as many descriptors in the ancillary data of the frame's first byte, in the same order. L
 *    frames: a name and why it is left out. A D frame ends. osmo_ctrl answers each F by an A frame when these files are
 *    dealt with (two may be on their way), D by an A frame when it has said how it went. Closing early gives up.
 *
 * What a client's exec websocket carries (osmo_ctrl passes it on):
 *  - first a JSON object {"Rows":n,"Cols":n}; names in any case. Ours may add "Extensions":"exit,pipe,signal" and "Tty":false. Only then:
 *    one TEXT frame {"extensions":"exit,pipe,signal"} comes before any output; at the end the websocket is closed with 1000 and "exit N"
 *    (128+n for signal n; 126, 127 when the command cannot be run, with the reason as output before).
 *  - with "Tty":false (granted "pipe"): output BINARY, error output TEXT {"stderr":"<base64>"}, an empty BINARY frame is end of input.
 *  - in the input: NUL RESIZE:{"Rows":n,"Cols":n}; with "signal" also NUL SIGNAL:{"Signal":n}: to the foreground process group of the
 *    terminal, or to the command's own group in pipe mode. A NUL that begins neither is passed on. */
#ifndef RUNTIME_LINK_H
#define RUNTIME_LINK_H
#include <sys/un.h>

#include "base/buf.h"
#include "base/json.h"

/* Address of a unix socket. A path beyond the 107 bytes an address holds is reached through a descriptor of its
 * directory, left in *dir_fd (else -1) for the caller to close after use. 0 or -1 with errno. */
int link_address(const char *path, struct sockaddr_un *address, int *dir_fd);
/* One object with all nine members; `field` (NULL for none) is the one that carries `text`. Newline-terminated. */
int link_message(buf_t *out, const char *type, const char *field, const char *text, size_t len);
/* The same with one member more, of ours. */
int link_message_with(buf_t *out, const char *type, const char *field, const char *text, size_t len, const char *member, const char *value);
/* UserRsyncStatus. */
int link_rsync_status(buf_t *out, bool running);
/* Take the next complete object from the front of `in`. 1 and *out, 0 when more bytes are needed, negative when the
 * bytes are no JSON object. */
int link_next(buf_t *in, json_t **out);
/* Longest object: a line piece of 32 KiB, escaped six-fold, and the frame around it. */
#define LINK_MESSAGE_MAX (1u << 20)

#define LINK_EXTENSIONS "sessions,checkpoints"
#define LINK_SESSION_EXTENSIONS "exit,pipe,signal"
/* Is it one of the words of a comma separated list? */
bool link_has_word(const char *list, const char *word);

#define LINK_GREETING_MAX 16384 /* of the first line of a further connection */
#define LINK_FRAME_HEAD 4
#define LINK_FRAME_MAX (64u << 10)
struct link_frame { char type; const char *data; size_t len; };
/* Append a frame; more than LINK_FRAME_MAX bytes become several of them. */
int link_frame_put(buf_t *out, char type, const void *data, size_t len);
/* The frame at the front of these bytes: 1, and *used of them are it; 0 when more are needed; negative when it is none. */
int link_frame_next(const char *data, size_t len, struct link_frame *out, size_t *used);
#define LINK_BATCH_FILES 64     /* most descriptors of one F frame */
#endif
