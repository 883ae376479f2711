/* Certificates for tests, made by the command openssl: an authority and what it signs, as NAME.pem and NAME.key below a directory. */
#ifndef TESTS_TLS_FIXTURE_H
#define TESTS_TLS_FIXTURE_H
#include <stdbool.h>
/* An authority "ca". False when there is no openssl to make it. */
bool tls_make_ca(const char *dir);
/* A certificate of it: names as in "DNS:localhost,IP:127.0.0.1"; days < 0: it has expired. */
bool tls_make_cert(const char *dir, const char *name, const char *names, int days);
#endif
