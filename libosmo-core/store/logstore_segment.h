/* Sealed segments: the text and the index of a part of a log in one file that does not change any more. Used by logstore*.c only.
 *
 * The text is cut into blocks of one size, the entries into blocks of one number of them, and every block is compressed by itself, so
 * that any stretch is found by a table and costs the blocks that hold it. All numbers are little-endian:
 *   "OSMOSEG1", 8 bytes of nothing
 *   blocks of text, then blocks of records (as chunks have them, LOG_PACKED_SIZE each)
 *   table: of each block of text its size (4 bytes); of each block of records its size (4), where its text begins within the segment (8),
 *          the latest time in it and before it in the segment (8), lines before it within the segment by kind (4 each);
 *          of each attempt that has written by the end of the segment: task (4), retry (4), last sequence (8), lines by kind (8 each)
 *   footer, of SEALED_FOOTER bytes
 * Lines are entries that have text. */
#ifndef STORE_LOGSTORE_SEGMENT_H
#define STORE_LOGSTORE_SEGMENT_H
#include "store/logstore_int.h"

#define SEALED_MAGIC "OSMOSEG1"
#define SEALED_HEADER 16
#define SEALED_FOOTER 192
#define SEALED_INDEX_ROW (20 + 4 * LOG_KINDS)
#define SEALED_ATTEMPT_ROW (16 + 8 * LOG_KINDS)

/* Of one (task, retry): its last sequence, and its lines. */
struct log_attempt { uint32_t task; int64_t retry; uint64_t seq, lines[LOG_KINDS]; };

struct log_segment {
    uint64_t first_record, records, first_offset, bytes, lines[LOG_KINDS];
    int64_t latest_us; /* INT64_MIN: it has no entries */
    bool sealed;
};

struct sealed_block { uint64_t at; uint32_t size; };
struct sealed_index { uint64_t at; uint32_t size; uint64_t first_offset; int64_t latest_us; uint32_t lines_before[LOG_KINDS]; };
struct sealed {
    struct log_segment segment;
    bool ended;
    uint32_t n_text, n_index, n_attempts, block_bytes, block_entries, table_sum;
    uint64_t table_at;
    struct sealed_block *text;
    struct sealed_index *index;
};

/* A segment that is read and not written to. */
struct log_view {
    size_t segment;            /* SIZE_MAX: none */
    int fd, idx_fd;            /* sealed: idx_fd is -1 */
    struct sealed sealed;
    uint32_t text_block, index_block; /* which are decompressed; UINT32_MAX: none */
    char *text;
    uint8_t *index;
};
void log_view_close(struct log_view *v);

uint32_t log_checksum(const uint8_t *p, size_t len);
/* "ID/workflow_logs.N.KIND"; malloc'ed. */
char *log_segment_path(const char *id, size_t number, const char *kind);
/* The footer of an open file. OSMO_EIO when it is none. */
int sealed_footer(int fd, struct sealed *out, osmo_error_t *err);
void sealed_footer_pack(const struct sealed *s, uint8_t out[SEALED_FOOTER]);
int sealed_attempts(int fd, const struct sealed *s, struct log_attempt **out, osmo_error_t *err);
#endif
