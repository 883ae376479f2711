/* What to do about each problem that libyaml reports, in a few words for the end of the message. For yaml.c only. */
#include "base/yaml_internal.h"

#include <string.h>

#include "base/cleanup.h"

static const struct {
    const char *problem; /* part of libyaml's text */
    const char *context; /* part of its context, or NULL for any */
    const char *remedy;
} remedies[] = {
    { "found a tab", NULL, "indent with spaces" },
    { "mapping values are not allowed", NULL, "quote text that contains \": \", or correct the indentation" },
    { "mapping keys are not allowed", NULL, "begin the key on a line of its own" },
    { "block sequence entries are not allowed", NULL, "begin the \"- \" item on a line of its own" },
    { "could not find expected ':'", NULL, "end the key with \": \", or quote or indent the text that goes on" },
    { "',' or ']'", NULL, "close the [ with ], put a comma between items, or quote the text" },
    { "',' or '}'", NULL, "close the { with }, put a comma between pairs, or quote the text" },
    { "unexpected ':'", NULL, "put a blank behind the colon, or quote the text" },
    { "did not find expected key", NULL, "indent this line as its neighbours, or quote the text" },
    { "did not find expected '-' indicator", NULL, "indent this line as the items before it" },
    { "did not find expected node content", NULL, "remove the stray character, or quote the text" },
    { "did not find expected <document start>", NULL, "remove what follows the document, or correct the indentation" },
    { "unexpected end of stream", "quoted", "close the quote" },
    { "unexpected document indicator", "quoted", "close the quote" },
    { "unknown escape character", NULL, "write \\\\ for a backslash, or use single quotes" },
    { "expected hexdecimal number", NULL, "write \\\\ for a backslash, or use single quotes" },
    { "invalid Unicode character escape", NULL, "write the character itself" },
    { "undefined tag handle", NULL, "quote text that starts with !" },
    { "chomping", NULL, "nothing but - or + and a digit may follow | or >; put the text on the next line" },
    { "indentation indicator", NULL, "nothing but - or + and a digit from 1 to 9 may follow | or >" },
    { "expected comment or line break", "block scalar", "begin the text of | or > on the next line" },
    { "alphabetic or numeric character", "alias", "quote text that starts with *" },
    { "alphabetic or numeric character", "anchor", "quote text that starts with &" },
    { "alphabetic or numeric character", "directive", "quote text that starts with %" },
    { "directive", NULL, "remove the % line, or quote text that starts with %" },
    { "", "directive", "remove the % line, or quote text that starts with %" },
    { "", "tag", "quote text that starts with !" },
    { "control characters", NULL, "remove the character, or write it as an escape in double quotes" },
    { "UTF-8", NULL, "save the text as UTF-8" },
};

const char *yaml_remedy(const char *problem, const char *context, char found) {
    if (strstr(problem, "indentation space is expected"))
        return "indent with spaces, or put the number of blanks behind | or >, as in |2";
    if (found == '\t')
        return "use spaces, not a tab";
    if (strstr(problem, "cannot start any token"))
        return found && strchr("%@`", found) ? "quote text that starts with %, @ or `" : "quote the text";
    for (size_t i = 0; i < ARRAY_SIZE(remedies); i++) {
        if (strstr(problem, remedies[i].problem) && (!remedies[i].context || strstr(context, remedies[i].context)))
            return remedies[i].remedy;
    }
    return "correct or quote the text";
}
