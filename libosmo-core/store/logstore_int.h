/* What logstore.c offers logstore_reader.c: a log held for use. */
#ifndef STORE_LOGSTORE_INT_H
#define STORE_LOGSTORE_INT_H
#include "store/logstore_file.h"

/* Returns with the log's mutex held and its files loaded (or absent, when not `create`). */
int logstore_hold(logstore_t *s, const char *workflow_id, bool create, struct wlog **out, osmo_error_t *err);
void logstore_let_go(logstore_t *s, struct wlog *w);
int logstore_check_id(const char *workflow_id, osmo_error_t *err);
#endif
