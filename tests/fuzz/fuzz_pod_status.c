/* Fuzz entry: any bytes as a Kubernetes pod. Whatever is a pod gets a status name or none, and a message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "osmo/backend/pod_status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_pod_status_t s = { 0 };
    if (osmo_pod_status((const char *)data, size, 1772357400000000, &s, &err) >= 0 && !s.message)
        abort();
    osmo_pod_status_clear(&s);
    return 0;
}
