/* What a request pays for being known: verifications of a token a second with a warm key, beside what OpenSSL needs for the signature
 * alone (EVP_PKEY_verify on a digest, everything prepared), for each key size, on one thread and on all; and decisions a second about
 * what callers with a hundred roles may do. Figures for people. */
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "model/policy.h"

#define SECONDS 1
#define ROLES 100
#define ROUNDS 3

struct job {
    const rsa_key_t *key;
    EVP_PKEY *pkey;
    const char *token;
    size_t len;
    const grants_t *grants;
    const char **resources;
    size_t nresources;
    double rate;
};

/* Of the processor, by this thread: the machine may be shared. */
static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double elapsed_s(double since) { return now_s() - since; }

/* ---- verifying ---- */

static void *ours(void *arg) {
    struct job *j = arg;
    size_t n = 0;
    double start = now_s();
    do {
        for (int i = 0; i < 100; i++, n++) {
            json_t *claims = NULL;
            if (jwt_verify(j->key, j->token, j->len, 1000, 5, &claims, NULL) < 0)
                abort();
            json_free(claims);
        }
    } while (elapsed_s(start) < SECONDS);
    j->rate = (double)n / elapsed_s(start);
    return NULL;
}

static void *theirs(void *arg) {
    struct job *j = arg;
    const char *dot = strrchr(j->token, '.');
    _cleanup_buf_ buf_t signature = BUF_INIT(4096);
    uint8_t hash[32];
    size_t n = 0;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(j->pkey, NULL);
    if (!ctx || crypto_base64_decode(dot + 1, strlen(dot + 1), &signature, NULL) < 0 || EVP_PKEY_verify_init(ctx) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 || EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) != 1)
        abort();
    crypto_sha256(j->token, (size_t)(dot - j->token), hash);
    double start = now_s();
    do {
        for (int i = 0; i < 100; i++, n++)
            if (EVP_PKEY_verify(ctx, (const uint8_t *)signature.data, signature.len, hash, sizeof hash) != 1)
                abort();
    } while (elapsed_s(start) < SECONDS);
    j->rate = (double)n / elapsed_s(start);
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

/* Sum over the threads. */
static double measure(void *(*run)(void *), const struct job *j, int threads) {
    pthread_t id[64];
    struct job each[64];
    double sum = 0;
    for (int i = 0; i < threads; i++) {
        each[i] = *j;
        if (pthread_create(&id[i], NULL, run, &each[i]))
            abort();
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(id[i], NULL);
        sum += each[i].rate;
    }
    return sum;
}

/* The claims of a user's token, three roles. */
static void make_token(const rsa_key_t *key, buf_t *out) {
    static const char claims[] =
        "{\"roles\":[\"osmo-user\",\"osmo-admin\",\"team-perception\"],\"iss\":\"osmo\",\"aud\":\"osmo\",\"iat\":1000,\"nbf\":1000,"
        "\"exp\":99999999999,\"unique_name\":\"maya@example.com\",\"osmo_token_name\":\"laptop\",\"osmo_token_expires_at\":99999999999}";
    _cleanup_json_ json_t *o = NULL;
    if (json_parse(claims, sizeof claims - 1, &o, NULL) < 0 || jwt_sign(key, o, out, NULL) < 0)
        abort();
}

static EVP_PKEY *same_key(const rsa_key_t *key) {
    _cleanup_buf_ buf_t pem = BUF_SECRET(65536);
    if (rsa_key_to_pem(key, &pem) < 0)
        abort();
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return pkey;
}

/* The best of some rounds, one after the other, so that both see the same machine. */
static void compare(const struct job *j, unsigned bits, int threads) {
    double best[2] = { 0, 0 };
    for (int i = 0; i < ROUNDS; i++) {
        double a = measure(ours, j, threads), b = measure(theirs, j, threads);
        best[0] = a > best[0] ? a : best[0];
        best[1] = b > best[1] ? b : best[1];
    }
    printf("JWT verifications, RSA-%u, %d thread%s: %.0f/s; OpenSSL's signature check alone: %.0f/s; ratio %.0f %% (aim 70 %%)\n", bits,
           threads, threads == 1 ? "" : "s", best[0], best[1], best[0] * 100 / best[1]);
    fflush(stdout);
}

static void verifications(unsigned bits, int threads) {
    rsa_key_t *key = NULL;
    _cleanup_buf_ buf_t token = BUF_INIT(16384);
    if (rsa_key_generate(bits, &key, NULL) < 0 || rsa_key_set_kid(key, "01234567-89ab-cdef-0123-456789abcdef") < 0)
        abort();
    make_token(key, &token);
    struct job j = { .key = key, .pkey = same_key(key), .token = token.data, .len = token.len };
    if (!j.pkey)
        abort();
    compare(&j, bits, 1);
    if (threads > 1)
        compare(&j, bits, threads);
    EVP_PKEY_free(j.pkey);
    rsa_key_free(key);
}

/* ---- deciding ---- */

static const enum action asked[] = { ACTION_WORKFLOW_CREATE, ACTION_WORKFLOW_READ, ACTION_POOL_LIST, ACTION_CONFIG_UPDATE,
                                     ACTION_CREDENTIALS_READ, ACTION_WORKFLOW_EXEC, ACTION_NONE, ACTION_INTERNAL_OPERATOR };

static void *decide(void *arg) {
    struct job *j = arg;
    size_t n = 0, allowed = 0;
    double start = now_s();
    do {
        for (size_t i = 0; i < 10000; i++, n++)
            allowed += grants_allow(j->grants, asked[(n >> 2) % ARRAY_SIZE(asked)], j->resources[n % j->nresources]);
    } while (elapsed_s(start) < SECONDS);
    j->rate = (double)n / elapsed_s(start);
    if (!allowed || allowed == n)
        abort();
    return NULL;
}

/* Each team has pools of its own, some by prefix, and is kept from some; every tenth role may look at everything. */
static void make_role(size_t i, struct role *out) {
    _cleanup_free_ char *text = str_printf(
        "{\"name\":\"team-%zu\",\"description\":\"\",\"policies\":["
        "{\"actions\":[\"workflow:*\",\"pool:List\"],\"resources\":[\"pool/team-%zu\",\"pool/team-%zu-*\",\"pool/shared-%zu\"]},"
        "{\"effect\":\"Deny\",\"actions\":[\"workflow:Exec\"],\"resources\":[\"pool/team-%zu-locked*\"]},"
        "{\"actions\":[\"credentials:*\",\"profile:*\"]},{\"actions\":[\"%s\"],\"resources\":[\"%s\"]}]}",
        i, i, i, i % 7, i, i % 10 ? "config:Read" : "workflow:Read", i % 10 ? "config/*" : "pool/public-*");
    _cleanup_json_ json_t *o = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!text || json_parse(text, strlen(text), &o, &err) < 0 || role_read(o, out, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
}

static void decisions(int threads) {
    struct role roles[ROLES];
    const struct role *all[ROLES];
    const char *resources[64];
    grants_t *grants = NULL;
    for (size_t i = 0; i < ROLES; i++) {
        make_role(i, &roles[i]);
        all[i] = &roles[i];
    }
    for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
        static const struct { const char *prefix, *suffix; } forms[] = {
            { "pool/team-", "" }, { "pool/team-", "-big" }, { "pool/team-", "-locked-9" }, { "pool/nobody-", "" }, { "config/", "" },
            { "pool/public-", "" }, { "user/maya-", "" }, { "pool/shared-", "" },
        };
        char text[64];
        snprintf(text, sizeof text, "%s%zu%s", forms[i % ARRAY_SIZE(forms)].prefix, i * 3, forms[i % ARRAY_SIZE(forms)].suffix);
        resources[i] = strdup(text);
    }
    if (grants_new(all, ROLES, &grants, NULL) < 0)
        abort();
    struct job j = { .grants = grants, .resources = resources, .nresources = ARRAY_SIZE(resources) };
    for (int t = 1; t <= threads; t += threads > 1 ? threads - 1 : 1) {
        double best = 0;
        for (int i = 0; i < ROUNDS; i++) {
            double rate = measure(decide, &j, t);
            best = rate > best ? rate : best;
        }
        printf("authorization decisions, %d roles, %d thread%s: %.0f/s (aim 1000000/s)\n", ROLES, t, t == 1 ? "" : "s", best);
    }
    grants_free(grants);
    for (size_t i = 0; i < ARRAY_SIZE(resources); i++)
        free((char *)resources[i]);
    for (size_t i = 0; i < ROLES; i++)
        role_clear(&roles[i]);
}

int main(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = cores > 64 ? 64 : (int)cores;
    verifications(2048, threads);
    verifications(3072, 1);
    verifications(4096, 1);
    decisions(threads);
    return 0;
}
