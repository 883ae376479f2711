/* Carries files for figures: transfer up|down ENDPOINT s3://BUCKET/PREFIX PATH [CONNECTIONS]. Prints seconds,
 * processor seconds, peak memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/str.h"
#include "data/transfer.h"

int main(int argc, char **argv) {
    osmo_error_t err = OSMO_ERROR_INIT;
    data_session_t *s = NULL;
    struct data_totals t = { 0 };
    if (argc < 5) {
        fprintf(stderr, "usage: transfer up|down ENDPOINT URI PATH [CONNECTIONS]\n");
        return 2;
    }
    struct data_environment e = { .aws_access_key_id = "bench", .aws_secret_access_key = "bench", .aws_endpoint_url = argv[2],
                                  .addressing = DATA_ADDRESS_PATH };
    struct data_options o = { .environment = &e, .connections = argc > 5 ? atoi(argv[5]) : 0 };
    const char *paths[] = { argv[4] };
    int64_t from = clock_mono_us();
    int rc = data_session_new(&o, &s, &err);
    if (!rc)
        rc = strcmp(argv[1], "up") ? data_download(s, argv[3], NULL, argv[4], false, &t, &err)
            : data_upload(s, argv[3], paths, 1, NULL, &t, &err);
    double seconds = (double)(clock_mono_us() - from) / 1e6;
    data_session_free(s);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    if (rc < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    double processor = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    printf("%.3f %.3f %ld\n", seconds, processor, use.ru_maxrss);
    return 0;
}
