/* Signatures of requests to storage, against published examples, and the XML reader.
 *
 * Sources of the values: Amazon's "Signature Version 4 Test Suite" (General Reference; key AKIDEXAMPLE, 30 August 2015, service "service"),
 * Amazon's "Signature Calculations for the Authorization Header" (S3 API Reference; key AKIAIOSFODNN7EXAMPLE, 24 May 2013), Microsoft's
 * "Authorize with Shared Key" (its example of a string to sign; signed with the emulator's published key by another
 * implementation of HMAC). */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/crypto.h"
#include "check.h"
#include "data/azure_sign.h"
#include "data/remote.h"
#include "data/sigv4.h"
#include "data/xml.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HOST "Host:example.amazonaws.com"
#define DATE "X-Amz-Date:20150830T123600Z"
#define TOKEN \
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/" \
    "qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+" \
    "xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="

struct vector {
    const char *what, *method, *path;
    struct sigv4_pair query[4]; size_t nquery;
    const char *headers[8], *body, *names, *signature;
};

static const struct vector suite[] = {
    { "get-vanilla", "GET", "/", { { 0 } }, 0, { HOST, DATE }, "", "host;x-amz-date",
      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-header-key-duplicate", "GET", "/", { { 0 } }, 0,
      { HOST, "My-Header1:value2", "My-Header1:value2", "My-Header1:value1", DATE }, "",
      "host;my-header1;x-amz-date", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
    { "get-header-value-order", "GET", "/", { { 0 } }, 0,
      { HOST, "My-Header1:value4", "My-Header1:value1", "My-Header1:value3", "My-Header1:value2", DATE }, "", "host;my-header1;x-amz-date",
      "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01" },
    { "get-header-value-trim", "GET", "/", { { 0 } }, 0, { HOST, "My-Header1: value1", "My-Header2: \"a   b   c\"", DATE }, "",
      "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
    { "get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", { { 0 } }, 0, { HOST, DATE }, "",
      "host;x-amz-date", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
    { "get-utf8", "GET", "/%E1%88%B4", { { 0 } }, 0, { HOST, DATE }, "", "host;x-amz-date",
      "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
    { "get-space", "GET", "/example%20space/", { { 0 } }, 0, { HOST, DATE }, "", "host;x-amz-date",
      "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
    { "get-vanilla-query-order-key-case", "GET", "/", { { "Param2", "value2" }, { "Param1", "value1" } }, 2, { HOST, DATE }, "",
      "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
    { "get-vanilla-query-order-value", "GET", "/", { { "Param1", "value2" }, { "Param1", "value1" } }, 2,
      { HOST, DATE }, "", "host;x-amz-date",
      "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694" },
    { "get-vanilla-query-unreserved", "GET", "/",
      { { "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
          "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" } }, 1, { HOST, DATE }, "", "host;x-amz-date",
      "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197" },
    { "get-vanilla-utf8-query", "GET", "/", { { "\xe1\x88\xb4", "bar" } }, 1, { HOST, DATE }, "", "host;x-amz-date",
      "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
    { "post-header-key-sort", "POST", "/", { { 0 } }, 0, { HOST, "My-Header1:value1", DATE }, "", "host;my-header1;x-amz-date",
      "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c" },
    { "post-header-value-case", "POST", "/", { { 0 } }, 0, { HOST, "My-Header1:VALUE1", DATE }, "", "host;my-header1;x-amz-date",
      "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d" },
    { "post-sts-header-before", "POST", "/", { { 0 } }, 0, { HOST, DATE, "X-Amz-Security-Token:" TOKEN }, "",
      "host;x-amz-date;x-amz-security-token", "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead" },
    { "post-vanilla-empty-query-value", "POST", "/", { { "Param1", "value1" } }, 1, { HOST, DATE }, "", "host;x-amz-date",
      "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11" },
    { "post-x-www-form-urlencoded", "POST", "/", { { 0 } }, 0,
      { "Content-Type:application/x-www-form-urlencoded", HOST, DATE }, "Param1=value1",
      "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
};

static void test_suite(void) {
    for (size_t i = 0; i < ARRAY_SIZE(suite); i++) {
        const struct vector *v = &suite[i];
        _cleanup_buf_ buf_t got = BUF_INIT(4096);
        char sha[65], want[512];
        crypto_sha256_hex(v->body, strlen(v->body), sha);
        struct sigv4_input in = { .method = v->method, .path = v->path, .query = v->query, .nquery = v->nquery, .headers = v->headers,
                                  .payload = sha, .date = "20150830T123600Z", .region = "us-east-1", .service = "service",
                                  .access_key_id = "AKIDEXAMPLE", .access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
        snprintf(want, sizeof want, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                                    "SignedHeaders=%s, Signature=%s",
                 v->names, v->signature);
        CHECK_INT(sigv4_authorization(&in, &got), 0);
        if (!got.data || strcmp(got.data, want) != 0)
            fprintf(stderr, "vector %s\n", v->what);
        CHECK_STR(got.data, want);
    }
}

#define S3_HOST "host:examplebucket.s3.amazonaws.com"
#define S3_DATE "x-amz-date:20130524T000000Z"

static const struct vector s3_examples[] = {
    { "GET object", "GET", "/test.txt", { { 0 } }, 0, { S3_HOST, "Range: bytes=0-9", "x-amz-content-sha256:" EMPTY, S3_DATE }, EMPTY,
      "host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
    { "PUT object", "PUT", "/test%24file.text", { { 0 } }, 0,
      { "Date: Fri, 24 May 2013 00:00:00 GMT", S3_HOST,
        "x-amz-content-sha256:44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        S3_DATE, "x-amz-storage-class:REDUCED_REDUNDANCY" },
      "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { "GET lifecycle", "GET", "/", { { "lifecycle", "" } }, 1, { S3_HOST, "x-amz-content-sha256:" EMPTY, S3_DATE }, EMPTY,
      "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
    { "list", "GET", "/", { { "max-keys", "2" }, { "prefix", "J" } }, 2, { S3_HOST, "x-amz-content-sha256:" EMPTY, S3_DATE }, EMPTY,
      "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
};

static void s3_documentation(void) {
    for (size_t i = 0; i < ARRAY_SIZE(s3_examples); i++) {
        const struct vector *v = &s3_examples[i];
        _cleanup_buf_ buf_t got = BUF_INIT(4096);
        char want[512];
        struct sigv4_input in = { .method = v->method, .path = v->path, .query = v->query, .nquery = v->nquery, .headers = v->headers,
                                  .payload = v->body, .date = "20130524T000000Z", .region = "us-east-1", .service = "s3",
                                  .access_key_id = "AKIAIOSFODNN7EXAMPLE", .access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
        snprintf(want, sizeof want, "AWS4-HMAC-SHA256 "
                                    "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=%s, Signature=%s",
                 v->names, v->signature);
        CHECK_INT(sigv4_authorization(&in, &got), 0);
        CHECK_STR(got.data, want);
    }
}

static void dates(void) {
    char text[40];
    sigv4_date(INT64_C(1440938160999999), text);
    CHECK_STR(text, "20150830T123600Z");
    remote_http_date_text(INT64_C(784111777000000), text);
    CHECK_STR(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK_INT(remote_http_date(text), INT64_C(784111777000000));
    CHECK_INT(remote_http_date("Sunday, 06-Nov-94 08:49:37 GMT"), 0);
    CHECK_INT(remote_http_date(""), 0);
    CHECK_INT(remote_http_date(NULL), 0);
}

#define EMULATOR_KEY "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

static void shared_key(void) {
    static const struct sigv4_pair query[] = { { "restype", "container" }, { "comp", "metadata" }, { "timeout", "20" } };
    static const char *const headers[] = { "x-ms-version: 2015-02-21", "X-MS-Date: Fri, 26 Jun 2015 23:39:12 GMT", "Accept: */*", NULL };
    struct azure_input in = { .method = "GET", .account = "myaccount", .key = EMULATOR_KEY, .path = "/mycontainer",
                              .query = query, .nquery = 3,
                              .headers = headers };
    _cleanup_buf_ buf_t text = BUF_INIT(4096), value = BUF_INIT(4096);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(azure_string_to_sign(&in, &text), 0);
    CHECK_STR(text.data, "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
                         "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20");
    CHECK_OK(azure_authorization(&in, &value, &err), &err);
    CHECK_STR(value.data, "SharedKey myaccount:1u9lui2jDxj0+fpbHjQ5m5NnastJRSYM+PSmfi8TXx4=");
    in.key = "!!!";
    CHECK_INT(azure_authorization(&in, &value, &err), OSMO_ECREDENTIAL);
}

static void connection_strings(void) {
    static const struct { const char *text, *account, *endpoint, *sas; } good[] = {
        { "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5==;EndpointSuffix=core.windows.net", "acc",
          "https://acc.blob.core.windows.net", NULL },
        { "AccountName=acc;AccountKey=a2V5;", "acc", "https://acc.blob.core.windows.net", NULL },
        { "accountname=acc;accountkey=a2V5;BlobEndpoint=http://127.0.0.1:10000/acc/", "acc", "http://127.0.0.1:10000/acc", NULL },
        { "BlobEndpoint=https://acc.blob.example/;SharedAccessSignature=?sv=2020&sig=a%2Bb%3D", NULL,
          "https://acc.blob.example", "sv=2020&sig=a%2Bb%3D" },
    };
    static const char *const bad[] = { "", "nonsense", "AccountName=acc", "AccountKey=a2V5", "SharedAccessSignature=sv=1",
                                       "BlobEndpoint=https://x;SharedAccessSignature=a b" };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct azure_connection c;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CHECK_OK(azure_connection_parse(good[i].text, &c, &err), &err);
        CHECK_STR(c.account, good[i].account);
        CHECK_STR(c.endpoint, good[i].endpoint);
        CHECK_STR(c.sas, good[i].sas);
        azure_connection_clear(&c);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK_INT(azure_connection_parse(bad[i], &c, &err), OSMO_ECREDENTIAL);
        CHECK(!c.account && !c.key);
    }
}

/* ---- XML ---- */

static void walk(const char *text, buf_t *out) {
    xml_reader_t r;
    struct xml_name n;
    xml_begin(&r, text, strlen(text));
    for (;;) {
        enum xml_event e = xml_next(&r, &n);
        if (e == XML_OPEN && n.len == 1) { /* names of one letter are read as text */
            buf_printf(out, "%.*s=", (int)n.len, n.text);
            buf_puts(out, xml_text(&r, out) < 0 ? "!" : ";");
        } else if (e == XML_OPEN) {
            buf_printf(out, "<%.*s", (int)n.len, n.text);
        } else if (e == XML_CLOSE) {
            buf_putc(out, '>');
        } else {
            buf_puts(out, e == XML_END ? "." : "!");
            return;
        }
    }
}

static void xml_documents(void) {
    static const struct { const char *in, *out; } cases[] = {
        { "<aa/>", "<aa>." },
        { "\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- x -->\n<aa b='c' d=\"&lt;>\"> text </aa >\n", "<aa>." },
        { "<n:aa xmlns:n=\"x\"><n:b>1</n:b><b/></n:aa>", "<aab=1;b=;>." },
        { "<aa><b>a&amp;b&lt;&gt;&quot;&apos;&#65;&#x20ac;</b></aa>", "<aab=a&b<>\"'A\xe2\x82\xac;>." },
        { "<aa><b>x<![CDATA[<&]]>y<!-- no -->z</b></aa>", "<aab=x<&yz;>." },
        { "<aa><b>x<c>in</c>y</b></aa>", "<aab=xy;>." },
        { "", "!" },
        { "text", "!" },
        { "<aa>", "<aa!" },
        { "<aa></bb>", "<aa!" },
        { "<aa/><bb/>", "<aa>!" },
        { "<aa/>x", "<aa>!" },
        { "</aa>", "!" },
        { "<aa b></aa>", "!" },
        { "<aa b=c></aa>", "!" },
        { "<aa b=\"<\"/>", "!" },
        { "<!DOCTYPE aa [<!ENTITY b \"c\">]><aa/>", "!" },
        { "<aa><b>&b;</b></aa>", "<aab=!!" },
        { "<aa><b>&#0;</b></aa>", "<aab=!!" },
        { "<aa><b>&#xd800;</b></aa>", "<aab=!!" },
        { "<aa><b>&#x110000;</b></aa>", "<aab=!!" },
        { "<aa><b>x", "<aab=!!" },
        { "<aa><!-- </aa>", "<aa!" },
        { "<![CDATA[x]]><aa/>", "!" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(4096);
        walk(cases[i].in, &out);
        CHECK_STR(buf_cstr(&out), cases[i].out);
    }
}

static void xml_limits(void) {
    _cleanup_buf_ buf_t deep = BUF_INIT(1 << 16), out = BUF_INIT(1 << 16), small = BUF_INIT(4);
    for (int i = 0; i < 40; i++)
        buf_puts(&deep, "<aa>");
    walk(deep.data, &out);
    CHECK(out.len == 32 * 3 + 1 && out.data[out.len - 1] == '!');
    xml_reader_t r;
    struct xml_name n;
    xml_begin(&r, "<a>12345</a>", 12);
    CHECK_INT(xml_next(&r, &n), XML_OPEN);
    CHECK_INT(xml_text(&r, &small), OSMO_ELIMIT);
    char *found = xml_find("<x><y><Code>a&lt;b</Code></y></x>", 33, "Code");
    CHECK_STR(found, "a<b");
    free(found);
    CHECK(!xml_find("<x>", 3, "Code"));
    _cleanup_buf_ buf_t escaped = BUF_INIT(256);
    xml_escape("a&<>\"\x01" "b", &escaped);
    CHECK_STR(escaped.data, "a&amp;&lt;&gt;&quot;&#x1;b");
}

/* ---- sums ---- */

static void sums(void) {
    uint8_t zeros[32] = { 0 }, md5[32];
    char text[65];
    CHECK_INT(crc32c(0, "123456789", 9), 0xe3069283u); /* the check value of the polynomial */
    CHECK_INT(crc32c(0, zeros, sizeof zeros), 0x8a9136aau); /* RFC 3720, B.4 */
    CHECK_INT(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
    crypto_digest_t *d = NULL;
    CHECK_INT(crypto_digest_new(CRYPTO_MD5, &d, NULL), 0);
    REQUIRE(d != NULL);
    for (int i = 0; i < 2; i++) { /* it begins anew */
        crypto_digest_add(d, "message ", 8);
        crypto_digest_add(d, "digest", 6);
        CHECK_INT(crypto_digest_take(d, md5), 16);
        hex_text(md5, 16, text);
        CHECK_STR(text, "f96b697d7cb7938d525a2f31aaf161d0"); /* RFC 1321, A.5 */
    }
    crypto_digest_free(d);
    CHECK(etag_is_md5("f96b697d7cb7938d525a2f31aaf161d0") && !etag_is_md5("f96b697d7cb7938d525a2f31aaf161d0-2") && !etag_is_md5("x"));
    CHECK_INT(etag_parts("f96b697d7cb7938d525a2f31aaf161d0-12"), 12);
    CHECK_INT(etag_parts("f96b697d7cb7938d525a2f31aaf161d0"), 0);
    CHECK_INT(etag_parts("f96b697d7cb7938d525a2f31aaf161d0-"), 0);
    CHECK_INT(etag_parts("f96b697d7cb7938d525a2f31aaf161d0-1x"), 0);
}

static const struct check_test tests[] = {
    { "Amazon's test suite of signature version 4", test_suite },
    { "the examples of S3's documentation", s3_documentation },
    { "dates as servers write them", dates },
    { "Azure's shared key", shared_key },
    { "connection strings", connection_strings },
    { "XML is read, or refused", xml_documents },
    { "XML has limits", xml_limits },
    { "checksums", sums },
};
TEST_MAIN("data_sign", tests)
