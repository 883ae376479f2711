/* keys: the service's own keys, for administrators. */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli.h"

/* What could not be opened is an administrator's to look at; the rest is done. */
static int print_left(const json_t *left) {
    for (size_t i = 0; i < json_len(left); i++)
        fprintf(stderr, "left as it is: %s\n", json_str(json_at(left, i)));
    return json_len(left) ? EXIT_USER : 0;
}

static int rotate(struct api *a, const char *what, bool as_json) {
    _cleanup_json_ json_t *body = json_object(), *answer = NULL;
    json_set_str(body, "what", what);
    int code = api_call(a, "POST", "/api/auth/keys/rotate", body, &answer);
    if (code)
        return code;
    if (as_json)
        print_json(answer, 2);
    else if (str_eq(what, "signing"))
        puts("Another key signs tokens from now on. Tokens of the one before it stay good until they end.");
    else
        puts("Everything is sealed under the current master key. Keep its file apart from copies of the database.");
    return print_left(json_get(answer, "left"));
}

static int keys_rotate(int argc, char **argv) {
    const char *what = NULL, *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct arg args[] = { { "signing|master", "the key that signs tokens, or the one under which secrets are sealed", &what, NULL,
                                  false } };
    const struct usage u = { "keys rotate", "Replace a key of the service by a new one, without an interruption.", opts, 1, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && !str_eq(what, "signing") && !str_eq(what, "master"))
        code = opt_error(&u, "the key is signing or master, not '%s'", what);
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        code = rotate(&a, what, str_eq(format, "json"));
        api_close(&a);
    }
    return code;
}

const struct command keys_commands[KEYS_COMMANDS] = { { "rotate", "replace a key of the service", keys_rotate } };
