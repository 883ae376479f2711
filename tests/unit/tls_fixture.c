/* See tls_fixture.h. */
#include "tls_fixture.h"
#include <stdio.h>
#include <stdlib.h>

#define KEY "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"

static bool run(const char *command) { return system(command) == 0; }

bool tls_make_ca(const char *dir) {
    char command[1024];
    snprintf(command, sizeof command, "openssl req -x509 " KEY " -keyout %s/ca.key -out %s/ca.pem -days 30 -subj '/CN=authority of tests' "
             "2>/dev/null", dir, dir);
    return run(command);
}

bool tls_make_cert(const char *dir, const char *name, const char *names, int days) {
    char command[2048], validity[128];
    snprintf(command, sizeof command, "cd %s && openssl req " KEY " -keyout %s.key -out %s.csr -subj '/CN=%s' 2>/dev/null && "
             "echo 'subjectAltName=%s' > %s.ext", dir, name, name, name, names, name);
    if (!run(command))
        return false;
    /* x509 knows only certificates that begin now, ca needs its files */
    snprintf(validity, sizeof validity, days < 0 ? "-startdate 20200101000000Z -enddate 20200201000000Z" : "-days %d", days);
    snprintf(command, sizeof command,
             "cd %s && : > index.txt && printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index.txt\\nrand_serial=yes\\nnew_certs_dir=.\\n"
             "default_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' > ca.cnf && "
             "openssl ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key %s -extfile %s.ext -in %s.csr -out %s.pem 2>/dev/null",
             dir, validity, name, name, name);
    return run(command);
}
