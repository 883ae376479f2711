#!/bin/bash
# The cluster drivers that need nothing but this machine do what every driver has to: the table of tests/conformance/. The driver for
# Kubernetes does it in tests/kubernetes/test_conformance.py.
. "$(dirname "$0")/lib.sh"
check "the scripted driver conforms" "$bin/tests/conformance/conformance" scripted
check "the local driver conforms" "$bin/tests/conformance/conformance" local "supervisor=$bin/osmo-pod-supervisor"
