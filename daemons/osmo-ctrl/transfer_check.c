/* Access to the addresses of the specification, asked for before anything is downloaded: a task that may not write its output need not run
 * for hours first. See transfer.h. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "transfer.h"

/* The storage's own answer, against that it could not be asked. */
static bool is_answer(int rc) { return rc == OSMO_EDENIED || rc == OSMO_ECREDENTIAL || rc == OSMO_EUNAUTH || rc == OSMO_ENOTFOUND; }

static int check(struct ctrl *c, struct transfer *t, const char *arg, bool input) {
    struct transfer_spec s;
    osmo_error_t err = OSMO_ERROR_INIT;
    int code = CTRL_OK, rc = transfer_spec_parse(arg, input, &s, &err);
    if (rc < 0) {
        ctrl_say(c, IO_OSMO_CTRL, "%s", err.text);
        code = rc == OSMO_ENOMEM ? CTRL_OTHER : CTRL_ARGUMENT;
    } else if (s.kind == TRANSFER_URL && !t->session && (rc = transfer_begin(c, OWNER_USER, IO_OSMO_CTRL, 1, t, &err)) < 0) {
        ctrl_say(c, IO_OSMO_CTRL, "the credentials for storage cannot be used: %s", err.text);
        code = CTRL_ACCESS;
    } else if (s.kind == TRANSFER_URL && (rc = data_check(t->session, s.url, input ? DATA_READ : DATA_WRITE, &err)) < 0) {
        code = transfer_cancelled() ? CTRL_TERMINATED : is_answer(rc) ? CTRL_DENIED : CTRL_ACCESS;
        if (code != CTRL_TERMINATED)
            ctrl_say(c, IO_OSMO_CTRL, "%s %s %s: %s", code == CTRL_DENIED ? "no access to" : "cannot find out about access to",
                     input ? "the input" : "the output", s.url, err.text);
    }
    transfer_spec_clear(&s);
    return code;
}

/* The same address is often named more than once. */
static int check_all(struct ctrl *c, struct transfer *t, const strlist_t *args, bool input) {
    int code = CTRL_OK;
    for (size_t i = 0; !code && i < args->len; i++) {
        size_t k = 0;
        while (k < i && !str_eq(args->items[k], args->items[i]))
            k++;
        if (k == i)
            code = check(c, t, args->items[i], input);
    }
    return code;
}

int transfer_validate(struct ctrl *c) {
    struct transfer t = { 0 };
    const char *skip = getenv("OSMO_SKIP_DATA_AUTH");
    bool any = false;
    for (size_t i = 0; i < c->o.inputs.len; i++)
        any = any || str_starts(c->o.inputs.items[i], "url:");
    for (size_t i = 0; i < c->o.outputs.len; i++)
        any = any || str_starts(c->o.outputs.items[i], "url:");
    if (!any || str_eq(skip, "1"))
        return CTRL_OK;
    ctrl_say(c, IO_OSMO_CTRL, "Checking the access to inputs and outputs");
    int code = check_all(c, &t, &c->o.inputs, true);
    if (!code)
        code = check_all(c, &t, &c->o.outputs, false);
    transfer_end(&t);
    return code;
}
