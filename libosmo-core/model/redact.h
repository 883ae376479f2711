/* Secrets in texts that people wrote: specifications are shown and archived without them. Masked are the values of what is
 * named like a secret (…password, …token, …_key …) and runs of base64 that hide such a pair; names stay, so do references to
 * declared credentials and to variables. A guess by its nature: it may mask too much and must not be relied upon to find what
 * nobody would recognise. Pure. */
#ifndef MODEL_REDACT_H
#define MODEL_REDACT_H
#include "base/buf.h"
#define REDACTED "[MASKED]"
/* Appends the text to out, masked. 0 or the buffer's failure. */
int redact_text(const char *text, size_t len, buf_t *out);
#endif
