/* The file of master keys: YAML in the form of OSMO's (currentMek, meks: an id and the base64 of a JWK each). For vault.c alone.
 *
 * The parser of YAML leaves copies of what it reads in memory that is free again. It therefore gets the text without the keys: in the
 * place of each long word of the base64 alphabet stands another one that only says which word it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/yaml.h"
#include "engine/vault_internal.h"

#define FILE_MAX (1u << 20)
#define WORDS_MAX 4096
#define WORD_MIN 24
#define MASK_PREFIX "osmo-masked-"

const struct seal_key *master_find(const struct master_ring *ring, const char *kid) {
    for (size_t i = 0; i < ring->n; i++)
        if (str_eq(ring->keys[i].kid, kid))
            return &ring->keys[i];
    return NULL;
}

/* ---- words that are kept from the parser ---- */

struct word { size_t at, len; };
struct words { const buf_t *text; struct word items[WORDS_MAX]; size_t n; };

static size_t word_len(const char *p) {
    return strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=");
}

static int mask(struct words *w, buf_t *masked) {
    const char *text = w->text->data;
    for (size_t i = 0; i < w->text->len;) {
        size_t len = word_len(text + i);
        if (len < WORD_MIN) {
            buf_append(masked, text + i, len ? len : 1);
            i += len ? len : 1;
            continue;
        }
        if (w->n == WORDS_MAX)
            return OSMO_ELIMIT;
        char word[WORD_MIN + 1];
        snprintf(word, sizeof word, MASK_PREFIX "%06u", (unsigned)w->n);
        buf_append(masked, word, strlen(word));
        for (size_t k = strlen(word); k < len; k++)
            buf_putc(masked, 'x'); /* columns in messages stay right */
        w->items[w->n++] = (struct word){ i, len };
        i += len;
    }
    return masked->code;
}

/* What a scalar really says. */
static int unmask(const struct words *w, const yaml_node_t *scalar, bool blanks, buf_t *out) {
    _cleanup_free_ char *text = yaml_scalar_text(scalar);
    if (!text)
        return OSMO_EINVAL;
    for (const char *p = text; *p;) {
        size_t len = word_len(p);
        if (!len) {
            if (blanks || !strchr(" \t\r\n", *p))
                buf_putc(out, *p);
            p++;
            continue;
        }
        size_t i = len >= WORD_MIN && str_starts(p, MASK_PREFIX) ? strtoul(p + sizeof MASK_PREFIX - 1, NULL, 10) : WORDS_MAX;
        if (i < w->n)
            buf_append(out, w->text->data + w->items[i].at, w->items[i].len);
        else
            buf_append(out, p, len);
        p += len;
    }
    return out->code;
}

/* ---- reading ---- */

static int read_id(const struct words *w, const yaml_node_t *node, char id[SEAL_KID_MAX]) {
    _cleanup_buf_ buf_t text = BUF_INIT(FILE_MAX);
    if (!node || unmask(w, node, true, &text) < 0 || !text.len || text.len >= SEAL_KID_MAX)
        return OSMO_EINVAL;
    memcpy(id, text.data, text.len + 1);
    return 0;
}

/* The JWK need not repeat its id. */
static int read_jwk(const buf_t *jwk, const char *id, struct seal_key *out, osmo_error_t *err) {
    _cleanup_json_secret_ json_t *o = NULL;
    if (json_parse_secret(jwk->data ? jwk->data : "", jwk->len, &o, NULL) < 0 || json_kind(o) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EINVAL, "it is not the base64 of a JWK");
    if (json_set_str(o, "kid", id) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return seal_key_read(o, out, err);
}

static int read_key(const struct words *w, const yaml_node_t *name, const yaml_node_t *value, struct master_ring *out, osmo_error_t *err) {
    char id[SEAL_KID_MAX];
    _cleanup_buf_ buf_t text = BUF_SECRET(FILE_MAX), jwk = BUF_SECRET(FILE_MAX);
    if (out->n == VAULT_MASTERS_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "there are more than %d master keys: remove old ones", VAULT_MASTERS_MAX);
    if (read_id(w, name, id) < 0)
        return osmo_error_set(err, OSMO_EINVAL, "line %d: the id of a master key has 1 to %d characters", name->line, SEAL_KID_MAX - 1);
    int rc = unmask(w, value, false, &text); /* a folded text */
    if (rc >= 0)
        rc = crypto_base64_decode(text.data ? text.data : "", text.len, &jwk, NULL);
    if (rc < 0)
        return osmo_error_set(err, OSMO_EINVAL, "line %d: master key %s is not base64", name->line, id);
    rc = read_jwk(&jwk, id, &out->keys[out->n], err);
    if (rc < 0) {
        osmo_error_prefix(err, "line %d: master key %s", name->line, id);
        return rc;
    }
    out->n++;
    return 0;
}

static int read_tree(const struct words *w, const yaml_node_t *tree, struct master_ring *out, osmo_error_t *err) {
    const yaml_node_t *meks = tree->kind == YAML_MAP ? yaml_get(tree, "meks") : NULL;
    const yaml_node_t *current = tree->kind == YAML_MAP ? yaml_get(tree, "currentMek") : NULL;
    char id[SEAL_KID_MAX];
    if (!meks || meks->kind != YAML_MAP || !meks->len || !current)
        return osmo_error_set(err, OSMO_EINVAL,
                              "it needs 'currentMek: ID' and 'meks:' with a line 'ID: BASE64 OF A JWK' for each key");
    for (size_t i = 0; i < meks->len; i++) {
        int rc = read_key(w, meks->keys[i], meks->values[i], out, err);
        if (rc < 0)
            return rc;
    }
    const struct seal_key *k = read_id(w, current, id) < 0 ? NULL : master_find(out, id);
    if (!k)
        return osmo_error_set(err, OSMO_EINVAL, "line %d: currentMek names none of the keys below meks", current->line);
    out->current = (size_t)(k - out->keys);
    return 0;
}

static int parse(const buf_t *text, struct words *w, struct master_ring *out, osmo_error_t *err) {
    const yaml_limits_t limits = { .max_bytes = FILE_MAX, .max_depth = 16, .max_nodes = 4 * WORDS_MAX };
    _cleanup_buf_ buf_t masked = BUF_INIT(FILE_MAX);
    _cleanup_yaml_ yaml_node_t *tree = NULL;
    w->text = text;
    if (text->len && memchr(text->data, '\0', text->len))
        return osmo_error_set(err, OSMO_EINVAL, "it is no text");
    if (mask(w, &masked) < 0)
        return osmo_error_set(err, OSMO_EINVAL, "it is too long");
    int rc = yaml_parse(buf_cstr(&masked), masked.len, &limits, &tree, err);
    return rc < 0 ? rc : read_tree(w, tree, out, err);
}

int master_file_read(const char *path, struct master_ring *out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(FILE_MAX);
    _cleanup_free_ struct words *w = calloc(1, sizeof *w);
    memset(out, 0, sizeof *out);
    if (!w)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = file_read(path, &text, err);
    if (rc < 0)
        return rc;
    rc = parse(&text, w, out, err);
    if (rc < 0)
        osmo_error_prefix(err, "the master key file %s", path);
    return rc;
}

/* ---- writing ---- */

static void write_id(const char *kid, buf_t *out) {
    buf_putc(out, '"');
    for (const char *p = kid; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_putc(out, '\\');
        buf_putc(out, *p);
    }
    buf_putc(out, '"');
}

static int write_key(const struct seal_key *k, buf_t *out, osmo_error_t *err) {
    _cleanup_buf_ buf_t jwk = BUF_SECRET(FILE_MAX);
    int rc = seal_key_write(k, &jwk, err);
    if (rc < 0)
        return rc;
    buf_puts(out, "  ");
    write_id(k->kid, out);
    buf_puts(out, ": ");
    crypto_base64(jwk.data, jwk.len, out);
    return buf_puts(out, "\n");
}

static int write_ring(const struct master_ring *ring, buf_t *out, osmo_error_t *err) {
    buf_puts(out, "# Keys under which osmo-service seals the secrets in its database. Keep a copy of this file apart from copies of the\n"
                  "# database: without it they cannot be opened, and with both anybody can.\n");
    buf_puts(out, "currentMek: ");
    write_id(ring->keys[ring->current].kid, out);
    buf_puts(out, "\nmeks:\n");
    for (size_t i = 0; i < ring->n; i++) {
        int rc = write_key(&ring->keys[i], out, err);
        if (rc < 0)
            return rc;
    }
    return out->code ? osmo_error_set(err, out->code, "the master keys are too many") : 0;
}

static int add_key(struct master_ring *ring, osmo_error_t *err) {
    if (ring->n == VAULT_MASTERS_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "there are %d master keys already: remove old ones from the file", VAULT_MASTERS_MAX);
    int rc = seal_key_new(&ring->keys[ring->n]);
    if (rc < 0)
        return osmo_error_set(err, rc, "cannot read random bytes from the system");
    ring->current = ring->n++;
    return 0;
}

int master_file_make(const char *path, bool *made, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(FILE_MAX);
    struct master_ring *ring = secret_alloc(sizeof *ring);
    int rc = ring ? add_key(ring, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0)
        rc = write_ring(ring, &text, err);
    secret_free(ring, sizeof *ring);
    if (rc >= 0)
        rc = file_write_new(path, text.data, text.len, 0600, err);
    *made = rc >= 0;
    return rc == OSMO_EEXISTS ? 0 : rc;
}

int master_file_add(const char *path, struct master_ring *ring, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_SECRET(FILE_MAX);
    int rc = add_key(ring, err);
    if (rc >= 0)
        rc = write_ring(ring, &text, err);
    return rc < 0 ? rc : file_write_atomic(path, text.data, text.len, 0600, true, err);
}
