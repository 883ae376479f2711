/* A signing key for tests, put into the store before the service opens it: making one takes half a minute under an instrumenting tool. It
 * protects nothing. */
#include "signing_key.h"

#include <string.h>

#include "store/repo.h"

static const char pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEugIBADANBgkqhkiG9w0BAQEFAASCBKQwggSgAgEAAoIBAQDxPkHMHXz3X4S8\n"
    "io72WeBVJn3IN0mcTKRswW921C7jDaphwrhgy7fCUg0EhHdse2vTrmd5/YRNWwA6\n"
    "ncDXIWXd9tDsVXuTNZ5OMuo/d5Pf9I96YyxGREIA7lcOCNrc3lNhxzFduF7yWb9w\n"
    "5LlkZXbMDcqeU3GvWGvELVMX1NUE7aAp+vgvRGLHYU1TfERJEWUxZ3LqNX/zCJd7\n"
    "rmAT2fGG1YWHExWhHgAru7xRBrjsTY81juy5HZU62hKCTbpgbXJQ87CiWXv9G8xH\n"
    "pl1ezIy3p7GG24ZFvRSAYAlBaw8w3odqg+8jySlE8Xblh+Ls+1kXhGOePg3gBoe7\n"
    "fPE66nKZAgMBAAECgf965acfajuqHz8VIyvcKcKJnnz1l999gI3t2Z1Z1pO27Sn0\n"
    "zlNKUdM2Fha2S8WLE6pwFv51ZxwUobIRf8wodxsuDfmLwatH6J4nuEhy4g1d9M4j\n"
    "II1YPphhYQojBt/Nz8p/8A92GeGaFPPcz1NNkg2zEP49Khqq+UtCkCnZ5NL1xBtZ\n"
    "g8qqMCzZdGuZ0S0/QR8vE+MxmW/g9NdrPaETFw8OFuyjjHkK1VB2cce1zprVzaBx\n"
    "Qaqnmg1VoqP9VwP+FBinciAXU13VKTH0xBHHosKWfF76KRES1n4Y3a/4TaL2tutR\n"
    "eeZCzgrxMs1z/jI1Csft1hBycOcl1DX+dCX/xf0CgYEA+/jOvSlnE7THmbu/pKXD\n"
    "kxaQMAGq+2ZeKShDljugb/XwEZH6rie13Y0mkY3PKXdcEFDO1a+jBsyr7O+N1IeT\n"
    "pow5aD+AbHD+0Wd1oxZrVhdpY7QaoaowLA9vbwYFd19+Wb4Ilbwhj8IjDsXKUHww\n"
    "Vw+l6CAaZXcbxDKChtggmyUCgYEA9RmK1BtVMt0EznlWAX7MMmj3gn+Mtvl9q0IU\n"
    "fP+LMm+50WcphjY6x0Cr6yd7pRjdnSoCc8vv7URtVjzoyD3B5x7G0gvroNI8AVpL\n"
    "1Nsyg+L9xXi5SEIYzRZufW/sf+bu4obmjm312SYTHrT/h0BlnNUX6VokR4+OnpY7\n"
    "Z17aOWUCgYATWL9G9u7bLH5G54uHcNLbcFgR147xTqLcNiM6Xcmrzw5nyvWceaAV\n"
    "KslTU7gcTvXaqtm2vo2d8AkjYCFbuC02FH4z6uxJZ0OpgHAf3ZDQQ2vsI+AHmbGp\n"
    "MGY1+BhjWgmxik3OcWuCRj263KT0GRT9Gk56zDw6njKbleU/xUh7oQKBgFDoh52R\n"
    "EETkFOwbvbpsoveZEutvM4JLRaK9A4pnyQlzPEHV7i0xxaF0xcuwku5jEPUKoxia\n"
    "n68RQY6QOL+xM0saK8O2z6ec/tXretDfMwO6cM85FOC3gPxihUK/KbDnCMCai41E\n"
    "2z09hl5CnX+GUIS/C0+qxAMjbo8HRMDQ3PTJAoGALxdXXx1g0OPeCIcUunWMLQkV\n"
    "m9cqsllp9SJN0vPIdpl/J/g3DfaJCxW1FelqFKtP8UQbCAVnK0vucfyebWyTWlFO\n"
    "kXHgKPNMzKOJDNEr5AE7Ky318/2GE3uYYfilBANYdb5Hw+IGnw1ePx3fBnbmasRj\n"
    "ZFIQmIPVCqa7ZCGCfMg=\n"
    "-----END PRIVATE KEY-----\n"
    ;

static int put(db_t *db, void *ctx, osmo_error_t *err) {
    return repo_kv_set_if_absent(db, ctx, pem, err);
}

int signing_key_seed(const char *database, osmo_error_t *err) {
    struct store_options o = { .url = database };
    store_t *s = NULL;
    char key[] = "service_auth";
    int rc = store_open(&o, &s, err);
    if (rc < 0)
        return rc;
    rc = store_write(s, NULL, put, key, err);
    store_close(s);
    return rc;
}

const char *signing_key_pem(void) { return pem; }
