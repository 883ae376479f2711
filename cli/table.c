/* Plain tables: a header, a line of '=', rows; three blanks between columns, left aligned. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli.h"

static size_t width(const char *s) { /* characters, not bytes */
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

void table_add(struct table *t, const char *cell) { strlist_add(&t->cells, cell ? cell : "-"); }

static void rule(size_t total) {
    for (size_t i = 0; i < total; i++)
        putchar('=');
    putchar('\n');
}

void table_print(struct table *t, size_t header_rows) {
    size_t widths[32] = { 0 }, columns = t->columns < 32 ? t->columns : 32, rows = t->cells.len / columns,
           total = columns ? 3 * (columns - 1) : 0;
    for (size_t i = 0; i < rows * columns; i++) {
        size_t w = width(t->cells.items[i]);
        if (w > widths[i % columns])
            widths[i % columns] = w;
    }
    for (size_t i = 0; i < columns; i++)
        total += widths[i];
    for (size_t r = 0; r < rows; r++) {
        if (r == header_rows || (t->summary_rows && r == rows - t->summary_rows && r > header_rows))
            rule(total);
        for (size_t c = 0; c < columns; c++) {
            const char *cell = t->cells.items[r * columns + c];
            printf("%s%s%*s", c ? "   " : "", cell, (int)(widths[c] - width(cell)), "");
        }
        putchar('\n');
    }
    if (rows == header_rows)
        rule(total);
    strlist_free(&t->cells);
}

void print_json(const json_t *v, int indent) {
    buf_t b = BUF_INIT(1u << 30);
    json_print(v, indent, &b);
    puts(buf_cstr(&b));
    buf_free(&b);
}

const char *local_time(const char *iso, char out[48]) {
    int64_t us;
    if (!iso || !time_parse(iso, &us))
        return strcpy(out, "-");
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(out, 48, "%b %d, %Y %H:%M %Z", &tm);
    return out;
}
