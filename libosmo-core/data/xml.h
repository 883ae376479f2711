/* Reads the XML that storage servers answer with: elements and text, in place, without a tree. No document types, so
 * no entities but the five of XML and numbered ones; attributes and namespace prefixes are passed over. Depth, length
 * and nesting are checked. Used by the drivers of this directory. The first fault ends the walk. */
#ifndef DATA_XML_H
#define DATA_XML_H
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "osmo/error.h"

#define XML_DEPTH_MAX 32

enum xml_event { XML_OPEN, XML_CLOSE, XML_END, XML_FAULT };
struct xml_name { const char *text; size_t len; };
typedef struct xml_reader {
    const char *p, *end;
    struct xml_name names[XML_DEPTH_MAX]; /* of the open elements, with their prefixes */
    int depth;
    bool seen_root, closing;              /* closing: <a/> was opened, its end is to be told */
} xml_reader_t;

void xml_begin(xml_reader_t *r, const char *text, size_t len);
/* Text between elements is passed over; xml_text() takes it. After XML_OPEN and XML_CLOSE *name is the local name. */
enum xml_event xml_next(xml_reader_t *r, struct xml_name *name);
/* After XML_OPEN: what stands in the element up to its end, which is passed; elements within are passed over. Appends. 0, OSMO_EINVAL, or
 * what the buffer says. */
int xml_text(xml_reader_t *r, buf_t *out);
/* After XML_OPEN: passes the element's end. 0 or OSMO_EINVAL. */
int xml_skip(xml_reader_t *r);
bool xml_is(const struct xml_name *n, const char *text);
/* Text of the first element of this name anywhere; malloc'ed, NULL when there is none or the XML is none. */
char *xml_find(const char *text, size_t len, const char *name);
/* Text for an element: what must not stand there is escaped. */
int xml_escape(const char *text, buf_t *out);
#endif
